-- bench/budget/fib.lua: the twin of fib.c. `lua5.4 fib.lua CASE N` prints the same line.
-- method: a method of an object, as in Smalltalk; function: a local function, which has no receiver and no lookup.
local case, n = arg[1], tonumber(arg[2])

local Fibber = {}
Fibber.__index = Fibber
function Fibber:fib(n)
  if n < 2 then return n end
  return self:fib(n - 1) + self:fib(n - 2)
end

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

local value, next_value, calls, next_calls = 0, 1, 1, 1
for _ = 1, n do
  value, next_value = next_value, value + next_value
  calls, next_calls = next_calls, calls + next_calls + 1
end

local object = setmetatable({}, Fibber)
local start = os.clock()
local result
if case == "method" then result = object:fib(n) else result = fib(n) end
local seconds = os.clock() - start
assert(result == value, "wrong answer")
print(string.format("units %d ns %.0f", calls, seconds * 1e9))
