-- bench/budget/table.lua: measures everything of bench/budget and prints the table of what Pando's core may cost.
--
--   lua5.4 bench/budget/table.lua PROGRAMS PROGRAMS_WITHOUT_COW OUTPUT
--
-- Instructions are callgrind's, as differences of two runs (see budget.h): exact, and the same on every machine with this
-- compiler. Times are medians of runs that take turns, so that what the machine does meanwhile hits all alike; they are
-- the process's own (Lua's os.clock as well), so that waiting for a processor does not count.
local programs, programs_nocow, output = arg[1], arg[2], arg[3]
local ROUNDS = 9

local function capture(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  if not pipe:close() then error(command .. "\n" .. text, 0) end
  return text
end

local function parse(text)
  local units, ns = text:match("units (%d+) ns (%d+)")
  return tonumber(units), tonumber(ns)
end

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

-- ---- Instructions ---------------------------------------------------------------------------------------------

local function counted(folder, program, case, n)
  local text = capture(string.format("valgrind --tool=callgrind --callgrind-out-file=/dev/null %s/%s %s %d",
    folder, program, case, n))
  return tonumber((text:match("Collected : (%d+)"))), (parse(text))
end

local known = {}
-- Instructions for one unit of program's case, from runs with n and m; without those of the base case, if there is one.
local function instructions(folder, program, case, n, m, base)
  local key = table.concat({ folder, program, case, n, m }, " ")
  if not known[key] then
    local few, few_units = counted(folder, program, case, n)
    local many, many_units = counted(folder, program, case, m)
    known[key] = (many - few) / (many_units - few_units)
  end
  return known[key] - (base and instructions(folder, program, base, n, m) or 0)
end

-- ---- Times ----------------------------------------------------------------------------------------------------

local function ours(program, case, n) return string.format("%s/%s %s %d", programs, program, case, n) end

-- ns for one unit of each command, medians of rounds in which all of them take their turn.
local function times(commands, rounds)
  local all = {}
  for name in pairs(commands) do all[name] = {} end
  for _ = 1, rounds or ROUNDS do
    for name, command in pairs(commands) do
      local units, ns = parse(capture(command))
      table.insert(all[name], ns / units)
    end
  end
  for name, list in pairs(all) do all[name] = median(list) end
  return all
end

-- ---- The table ------------------------------------------------------------------------------------------------

local lines, failures = {}, 0
local function say(line)
  print(line)
  table.insert(lines, line)
end
local function row(what, to_reach, measured, ok)
  if not ok then failures = failures + 1 end
  say(string.format("| %s | %s | %s | %s |", what, to_reach, measured, ok and "yes" or "**no**"))
end
local function f(...) return string.format(...) end
-- The differences have some noise behind the point: hash seeds, collections that fall into one run and not the other.
local function tenth(x) return math.floor(10 * x + 0.5) / 10 end
local function percent(a, b) return (a / b - 1) * 100 end

-- Rows that fail to run are rows too.
local function measure(what, body)
  local done, problem = pcall(body)
  if not done then row(what, "", "could not be measured: " .. tostring(problem):gsub("%s+", " "):sub(-200), false) end
end

say("# What the core costs")
say("")
say("Made by `make bench-budget`. Instructions are callgrind's; times are medians of " .. ROUNDS ..
  " runs that take turns, in the process's own time.")
say("")
local cpu = capture("grep -m1 'model name' /proc/cpuinfo"):match(": (.-)%s*$") or "unknown processor"
say(f("Machine: %s, %s cores, Linux %s. Compiler: %s.", cpu, capture("nproc"):match("%d+"),
  capture("uname -r"):match("%d+%.%d+"), os.getenv("BENCH_COMPILER") or "unknown"))
say("")
say("| what | to reach | measured | ok |")
say("|---|---|---|---|")

measure("idle worker", function()
  local _, bytes = parse(capture(ours("idle", "bytes", 100)))
  row("idle worker, all it holds", "at most 1,536 bytes", f("%d bytes", bytes), bytes <= 1536)
  local t = times({ together = ours("idle", "together", 100000), each = ours("idle", "each", 100000) })
  row("worker made and ended: 100,000 at once; one after the other", "at most 1 µs each",
    f("%.0f ns; %.0f ns", t.together, t.each), t.together <= 1000 and t.each <= 1000)
end)

measure("fib", function()
  local frozen = instructions(programs, "fib", "frozen", 14, 22)
  row("`fib:`, instructions for a call (one real send, eleven bytecodes)", "at most 140", f("%.1f", frozen), frozen <= 140)
  local t = times({
    frozen = ours("fib", "frozen", 27), private = ours("fib", "private", 27),
    method = "lua5.4 bench/budget/fib.lua method 27", plain = "lua5.4 bench/budget/fib.lua function 27",
  })
  row("`fib:`, time for a call, against the same method in Lua 5.4", "at most 1.0, aim 0.6",
    f("%.1f ns, Lua %.1f ns: %.2f (Lua's plain function %.1f ns: %.2f)", t.frozen, t.method, t.frozen / t.method, t.plain,
      t.frozen / t.plain), t.frozen <= t.method)
  local private = instructions(programs, "fib", "private", 14, 22)
  row("`fib:` frozen into a layer against private code", "within 3 %",
    f("%.1f and %.1f instructions: %+.1f %%; %.1f and %.1f ns", frozen, private, percent(frozen, private), t.frozen,
      t.private), math.abs(percent(frozen, private)) <= 3)
end)

measure("polymorphic and megamorphic sends", function()
  local t = times({ mono = ours("sends", "mono", 20000),
    poly = ours("sends", "poly", 20000), mega = ours("sends", "mega", 20000) })
  local mono = instructions(programs, "sends", "mono", 100, 1000, "none")
  local function against(what, case, limit)
    local cost = instructions(programs, "sends", case, 100, 1000, "none")
    row(what .. " against a monomorphic send", f("at most %.1f times", limit),
      f("%.1f and %.1f instructions: %.2f (a round of the loop: %.1f and %.1f ns)", cost, mono, cost / mono, t[case], t.mono),
      cost <= limit * mono)
  end
  against("send from a site with 4 classes", "poly", 1.3)
  against("send from a site with 64 classes", "mega", 2)
end)

measure("allocation", function()
  local path = instructions(programs, "allocation", "c", 20000, 100000, "none")
  row("3-slot object that dies young, from C, its collections included", "at most 12 instructions", f("%.1f", path),
    path <= 12)
  local t = times({ c = ours("allocation", "c", 50000000), new = ours("allocation", "new", 5000000),
    loop = ours("allocation", "loop", 5000000) })
  row("the same, objects in a second", "100 million", f("%.0f million (`Triple new` in bytecode: %.0f million)",
    1000 / t.c, 1000 / (t.new - t.loop)), t.c <= 10)
end)

measure("stores", function()
  local function store(what, case, base, limit)
    local cost = instructions(programs, "stores", case, 4000, 20000, base)
    local path = tenth(cost - 1)
    row(what, f("at most %d instructions", limit), f("%.1f and the store itself", path), path <= limit)
  end
  store("store of a pointer into a young object", "young", "none", 4)
  store("store of an old pointer into an old object", "old", "none", 8)
  store("store of a young pointer into a remembered object", "remembered", "none", 8)
  store("store of a young pointer into an old object, first time", "first", "first-none", 40)
end)

measure("send to a shared receiver", function()
  local mono = instructions(programs, "sends", "mono", 100, 1000, "none")
  local function more(what, case)
    local extra = tenth(instructions(programs, "sends", case, 100, 1000, "none") - mono)
    row(what, "at most 8 instructions over a private one", f("%.1f", extra), extra <= 8)
  end
  more("send to a shared receiver, nothing copied", "shared")
  more("send to a shared receiver, 1,000 unrelated copies", "shared-copies")
end)

measure("copy on write against COW=0", function()
  local function price(what, program, case, copies_case, n, m)
    local without = instructions(programs_nocow, program, case, n, m)
    local empty = instructions(programs, program, case, n, m)
    local copies = instructions(programs, program, copies_case, n, m)
    row(what .. ": copy on write against `COW=0`; with 1,000 unrelated copies", "at most 3 % more instructions",
      f("%.1f against %.1f: %+.1f %%; %.1f: %+.1f %%", empty, without, percent(empty, without), copies,
        percent(copies, without)), percent(empty, without) <= 3 and percent(copies, without) <= 3)
  end
  price("`fib:`", "fib", "frozen", "copies", 14, 22)
  price("field access", "loops", "fields", "fields-copies", 2000, 20000)
  price("array loop", "loops", "arrays", "arrays-copies", 50, 500)
end)

measure("first write", function()
  local t = times({ sequential = ours("first_write", "sequential", 100000), random = ours("first_write", "random", 100000),
    deep = ours("first_write", "deep", 100000) })
  local function write(what, case) row(what, "under 200 ns", f("%.0f ns", t[case]), t[case] < 200) end
  write("first write to a shared 5-slot object, 100,000 of them, in order", "sequential")
  write("the same under 1,000,000 frames", "deep")
  say(f("| the same in random order | no figure was set | %.0f ns | - |", t.random))
end)

measure("young collection", function()
  local t = times({ median = ours("collect", "median", 1001) })
  row("young collection, 64 KiB of eden, 5 % survive", "under 15 µs", f("%.1f µs", t.median / 1000), t.median < 15000)
end)

measure("mapping a layer file", function()
  local t = times({ small = ours("map", "1mb", 101), large = ours("map", "100mb", 101) }, 3)
  row("mapping a checked layer file of 1 MB; of 100 MB", "the same, under 100 µs",
    f("%.0f µs; %.0f µs", t.small / 1000, t.large / 1000),
    t.small < 100000 and t.large < 100000 and t.large < 1.25 * t.small)
end)

local file = assert(io.open(output, "w"))
file:write(table.concat(lines, "\n"), "\n")
file:close()
if failures > 0 then
  print(f("%d of the rows are not reached.", failures))
  os.exit(1)
end
