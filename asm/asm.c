// asm/asm.c: the assembler: instructions, labels and literals of one method or block, and the code object made of them.
//
// An Asm is plain memory outside the heap; what it makes is old and private. A misuse (a label not bound, an operand
// out of range, bytecodes that the checker refuses) stops the process: it is a fault of the C code that assembles.
// Literals handed in must not move until the code is finished: no collection while an assembler is open, unless they
// are old, shared or immediate.
//
// Note [Jumps]. Jumps are not in the byte buffer. Each is a record that says before which byte of the buffer it stands.
// Their sizes are found at the end: all start in their shortest form, and those that do not reach grow, until none
// does.
#include "asm/asm.h"

typedef struct Jump {
    uint32_t offset; // in the buffer: it stands before this byte
    uint32_t label;
    uint8_t base; // short form: 176, 184 or 192
    uint8_t size; // 1, 2 or 4 bytes; 0 in an assembler still open
} Jump;

typedef struct Label {
    uint32_t offset;       // in the buffer
    uint32_t jumps_before; // number of jump records that stand before it
    bool is_bound;
} Label;

// Growing arrays; capacity doubles.
typedef struct Bytes {
    uint8_t *items;
    uint32_t count, capacity;
} Bytes;
typedef struct Jumps {
    Jump *items;
    uint32_t count, capacity;
} Jumps;
typedef struct Labels {
    Label *items;
    uint32_t count, capacity;
} Labels;
typedef struct Refs {
    Ref *items;
    uint32_t count, capacity;
} Refs;

struct Asm {
    WorkerVm *vm;
    Asm *parent;               // NULL for a method
    uint32_t arguments, temps; // temps: all of them, as in the header
    bool has_primitive;
    bool has_open_block;
    Bytes bytes;
    Jumps jumps;
    Labels labels;
    Refs literals;
    Refs blocks; // code of blocks whose last literal this code will be
};

enum { JUMP_ALWAYS = 176, JUMP_TRUE = 184, JUMP_FALSE = 192 };
enum { EXT_A = 224, EXT_B = 225 };
enum { SMALL_FRAME_SLOTS = 16, MAX_TEMPS = 63, MAX_ARGUMENTS = 15, MAX_LITERALS = 0x7FFF };

static void *grow(void *items, uint32_t count, uint32_t *capacity, size_t item_bytes) {
    if (count < *capacity) return items;
    *capacity = *capacity ? *capacity * 2 : 16;
    void *grown = pn_mem_realloc(items, *capacity * item_bytes);
    PN_CHECK(grown != NULL, "no memory for the assembler");
    return grown;
}
#define APPEND(array, item)                                                                                            \
    do {                                                                                                               \
        (array)->items = grow((array)->items, (array)->count, &(array)->capacity, sizeof *(array)->items);             \
        (array)->items[(array)->count++] = (item);                                                                     \
    } while (0)

// ---- Beginning ----------------------------------------------------------------------------------

static Asm *asm_new(WorkerVm *vm, Asm *parent, uint32_t arguments, uint32_t temps) {
    PN_CHECK(arguments <= MAX_ARGUMENTS, "%u arguments are too many", arguments);
    PN_CHECK(temps <= MAX_TEMPS, "%u temps are too many", temps);
    Asm *a = pn_mem_alloc_zeroed(sizeof *a);
    PN_CHECK(a != NULL, "no memory for the assembler");
    a->vm = vm;
    a->parent = parent;
    a->arguments = arguments;
    a->temps = temps;
    return a;
}

Asm *pn_asm(WorkerVm *vm, uint32_t arguments, uint32_t temps) {
    return asm_new(vm, NULL, arguments, arguments + temps);
}

Asm *pn_asm_block(Asm *parent, uint32_t arguments, uint32_t copied, uint32_t temps) {
    PN_CHECK(temps >= copied, "temps of a block count its copied values: %u are fewer than %u", temps, copied);
    PN_CHECK(!parent->has_open_block, "the block before this one is not finished");
    parent->has_open_block = true;
    return asm_new(parent->vm, parent, arguments, arguments + temps);
}

static void asm_free(Asm *a) {
    pn_mem_free(a->bytes.items);
    pn_mem_free(a->jumps.items);
    pn_mem_free(a->labels.items);
    pn_mem_free(a->literals.items);
    pn_mem_free(a->blocks.items);
    pn_mem_free(a);
}

// ---- Literals -----------------------------------------------------------------------------------

static bool is_read_only_kind(Oop o) {
    switch (oop_class_index(o)) {
    case PN_CLASS_ARRAY:
    case PN_CLASS_BYTE_STRING:
    case PN_CLASS_BYTE_ARRAY:
    case PN_CLASS_BOXED_FLOAT:
    case PN_CLASS_LARGE_POSITIVE:
    case PN_CLASS_LARGE_NEGATIVE: return true;
    default: return false;
    }
}

// Literals are read-only, arrays with all that is in them. A shared one has the bit already, as do those met twice.
static void make_literal_read_only(WorkerVm *vm, Ref value) {
    if (ref_is_immediate(value)) return;
    Oop o = pn_deref(vm, value);
    if (!is_read_only_kind(o) || hdr_is_immutable(oop_header(o))) return;
    oop_set_header(o, oop_header(o) | PN_HDR_IMMUTABLE);
    if (!oop_is_pointers(o)) return;
    for (size_t i = 0; i < oop_slot_count(o); i++) make_literal_read_only(vm, oop_slot(o, i));
}

static uint32_t append_literal(Asm *a, Ref value) {
    PN_CHECK(a->literals.count < MAX_LITERALS, "too many literals");
    make_literal_read_only(a->vm, value);
    APPEND(&a->literals, value);
    return a->literals.count - 1;
}

uint32_t pn_asm_literal(Asm *a, Ref value) {
    for (uint32_t i = 0; i < a->literals.count; i++) {
        if (ref_same(a->literals.items[i], value)) return i;
    }
    return append_literal(a, value);
}

static uint32_t selector_literal(Asm *a, const char *selector) {
    Ref symbol = pn_symbol_z(selector);
    PN_CHECK(!ref_is_none(symbol), "no room for symbol %s", selector);
    return pn_asm_literal(a, symbol);
}

// ---- Bytes --------------------------------------------------------------------------------------

void pn_asm_byte(Asm *a, uint8_t byte) { APPEND(&a->bytes, byte); }

static void emit2(Asm *a, uint8_t operation, uint32_t operand) {
    PN_CHECK(operand <= 255, "operand %u of bytecode %u is out of range", operand, operation);
    pn_asm_byte(a, operation);
    pn_asm_byte(a, (uint8_t)operand);
}
static void emit3(Asm *a, uint8_t operation, uint32_t first, uint32_t second) {
    emit2(a, operation, first);
    PN_CHECK(second <= 255, "operand %u of bytecode %u is out of range", second, operation);
    pn_asm_byte(a, (uint8_t)second);
}

// Extensions, left out when 0. One byte of each is enough for all that this assembler makes.
static void emit_ext_a(Asm *a, uint32_t value) {
    if (value > 0) emit2(a, EXT_A, value);
}
static void emit_ext_b(Asm *a, int64_t value) {
    PN_CHECK(value >= INT8_MIN && value <= INT8_MAX, "extension %lld is out of range", (long long)value);
    if (value != 0) emit2(a, EXT_B, (uint8_t)value);
}
static void emit_indexed(Asm *a, uint8_t operation, uint32_t index) {
    emit_ext_a(a, index >> 8);
    emit2(a, operation, index & 255);
}
// The short form, base + index, for an index below limit, else the long one.
static void emit_short_or_indexed(Asm *a, uint8_t base, uint32_t limit, uint8_t operation, uint32_t index) {
    if (index < limit) pn_asm_byte(a, (uint8_t)(base + index));
    else emit_indexed(a, operation, index);
}

void pn_asm_primitive(Asm *a, uint32_t number) {
    PN_CHECK(a->bytes.count == 0 && a->jumps.count == 0, "a primitive must be the first instruction");
    PN_CHECK(number < 0x8000, "primitive %u is out of range", number);
    a->has_primitive = true;
    emit3(a, 248, number & 255, number >> 8);
}
void pn_asm_primitive_error(Asm *a, uint32_t number, uint32_t temp) {
    pn_asm_primitive(a, number);
    emit2(a, 245, temp);
}

// ---- Push and store -----------------------------------------------------------------------------

void pn_asm_push_temp(Asm *a, uint32_t i) {
    if (i < 12) pn_asm_byte(a, (uint8_t)(64 + i));
    else emit2(a, 229, i);
}
void pn_asm_push_inst(Asm *a, uint32_t i) { emit_short_or_indexed(a, 0, 16, 226, i); }
void pn_asm_push_literal(Asm *a, Ref value) { emit_short_or_indexed(a, 32, 32, 228, pn_asm_literal(a, value)); }
void pn_asm_push_global(Asm *a, Oop binding) {
    emit_short_or_indexed(a, 16, 16, 227, pn_asm_literal(a, ref_of(binding)));
}
void pn_asm_push_int(Asm *a, int64_t n) {
    PN_CHECK(int_fits(n), "%lld is no SmallInteger", (long long)n);
    if (n == 0 || n == 1) {
        pn_asm_byte(a, (uint8_t)(80 + n));
    } else if (n >= INT16_MIN && n <= INT16_MAX) {
        emit_ext_b(a, n >> 8);
        emit2(a, 232, (uint32_t)n & 255);
    } else {
        pn_asm_push_literal(a, ref_from_int(n));
    }
}
void pn_asm_push_char(Asm *a, uint32_t c) {
    if (c > INT16_MAX) {
        pn_asm_push_literal(a, ref_from_char(c));
        return;
    }
    emit_ext_b(a, c >> 8);
    emit2(a, 233, c & 255);
}
void pn_asm_push_self(Asm *a) { pn_asm_byte(a, 76); }
void pn_asm_push_true(Asm *a) { pn_asm_byte(a, 77); }
void pn_asm_push_false(Asm *a) { pn_asm_byte(a, 78); }
void pn_asm_push_nil(Asm *a) { pn_asm_byte(a, 79); }
void pn_asm_push_context(Asm *a) { pn_asm_byte(a, 82); }
void pn_asm_push_array(Asm *a, uint32_t count, bool from_stack) {
    PN_CHECK(count < 128, "an array of %u elements is too large for one bytecode", count);
    emit2(a, 231, count | (from_stack ? 128u : 0u));
}
void pn_asm_push_vector_temp(Asm *a, uint32_t index, uint32_t vector_temp) { emit3(a, 251, index, vector_temp); }
void pn_asm_store_vector_temp(Asm *a, uint32_t index, uint32_t vector_temp, bool pop) {
    emit3(a, pop ? 253 : 252, index, vector_temp);
}
void pn_asm_push_closure(Asm *a, uint32_t block_literal, uint32_t copied, bool needs_outer, bool receiver_on_stack) {
    PN_CHECK(copied < 64, "%u copied values are too many", copied);
    emit_ext_a(a, block_literal >> 8);
    emit3(a, 249, block_literal & 255, copied | (needs_outer ? 0u : 64u) | (receiver_on_stack ? 128u : 0u));
}
void pn_asm_dup(Asm *a) { pn_asm_byte(a, 83); }
void pn_asm_pop(Asm *a) { pn_asm_byte(a, 216); }

void pn_asm_store_temp(Asm *a, uint32_t i, bool pop) {
    if (pop && i < 8) pn_asm_byte(a, (uint8_t)(208 + i));
    else emit2(a, pop ? 242 : 245, i);
}
void pn_asm_store_inst(Asm *a, uint32_t i, bool pop) { emit_short_or_indexed(a, 200, pop ? 8 : 0, pop ? 240 : 243, i); }
void pn_asm_store_global(Asm *a, Oop binding, bool pop) {
    emit_indexed(a, pop ? 241 : 244, pn_asm_literal(a, ref_of(binding)));
}

// ---- Sends and returns --------------------------------------------------------------------------

typedef struct SpecialSend {
    const char *selector;
    uint32_t arguments;
} SpecialSend;
static const SpecialSend special_sends[32] = {
    {"+", 1},       {"-", 1},      {"<", 1},     {">", 1},       {"<=", 1},    {">=", 1},        {"=", 1},
    {"~=", 1},      {"*", 1},      {"/", 1},     {"\\\\", 1},    {"@", 1},     {"bitShift:", 1}, {"//", 1},
    {"bitAnd:", 1}, {"bitOr:", 1}, {"at:", 1},   {"at:put:", 2}, {"size", 0},  {"next", 0},      {"nextPut:", 1},
    {"atEnd", 0},   {"==", 1},     {"class", 0}, {"~~", 1},      {"value", 0}, {"value:", 1},    {"do:", 1},
    {"new", 0},     {"new:", 1},   {"x", 0},     {"y", 0},
};

// The bytecode of a special send, or 0.
static uint8_t special_send_bytecode(const char *selector, uint32_t arguments) {
    for (size_t i = 0; i < PN_COUNT_OF(special_sends); i++) {
        if (strcmp(special_sends[i].selector, selector) == 0 && special_sends[i].arguments == arguments)
            return (uint8_t)(96 + i);
    }
    return 0;
}

static void emit_long_send(Asm *a, uint8_t operation, uint32_t literal, uint32_t arguments, uint32_t ext_b_flag) {
    PN_CHECK(arguments <= MAX_ARGUMENTS, "%u arguments are too many", arguments);
    emit_ext_a(a, literal >> 5);
    emit_ext_b(a, (arguments >> 3) + ext_b_flag);
    emit2(a, operation, (literal & 31) << 3 | (arguments & 7));
}

void pn_asm_send(Asm *a, const char *selector, uint32_t arguments) {
    uint8_t special = special_send_bytecode(selector, arguments);
    if (special != 0) {
        pn_asm_byte(a, special);
        return;
    }
    uint32_t literal = selector_literal(a, selector);
    if (literal < 16 && arguments <= 2) pn_asm_byte(a, (uint8_t)(128 + 16 * arguments + literal));
    else emit_long_send(a, 234, literal, arguments, 0);
}
void pn_asm_send_super(Asm *a, const char *selector, uint32_t arguments) {
    PN_CHECK(a->parent == NULL, "a super send in a block needs the directed form");
    emit_long_send(a, 235, selector_literal(a, selector), arguments, 0);
}
void pn_asm_send_directed_super(Asm *a, const char *selector, uint32_t arguments) {
    emit_long_send(a, 235, selector_literal(a, selector), arguments, 64);
}

void pn_asm_return_self(Asm *a) { pn_asm_byte(a, 88); }
void pn_asm_return_true(Asm *a) { pn_asm_byte(a, 89); }
void pn_asm_return_false(Asm *a) { pn_asm_byte(a, 90); }
void pn_asm_return_nil(Asm *a) { pn_asm_byte(a, 91); }
void pn_asm_return_top(Asm *a) { pn_asm_byte(a, 92); }
void pn_asm_block_return_nil(Asm *a) { pn_asm_byte(a, 93); }
void pn_asm_block_return(Asm *a) { pn_asm_byte(a, 94); }

// ---- Labels and jumps (Note [Jumps]) ------------------------------------------------------------

AsmLabel pn_asm_label(Asm *a) {
    APPEND(&a->labels, (Label){0});
    return (AsmLabel){a->labels.count - 1};
}
void pn_asm_bind(Asm *a, AsmLabel l) {
    PN_CHECK(l.id < a->labels.count, "a label of another assembler");
    Label *label = &a->labels.items[l.id];
    PN_CHECK(!label->is_bound, "a label is bound twice");
    *label = (Label){.offset = a->bytes.count, .jumps_before = a->jumps.count, .is_bound = true};
}

static void add_jump(Asm *a, AsmLabel l, uint8_t base) {
    PN_CHECK(l.id < a->labels.count, "a label of another assembler");
    Jump jump = {.offset = a->bytes.count, .label = l.id, .base = base};
    APPEND(&a->jumps, jump);
}
void pn_asm_jump(Asm *a, AsmLabel l) { add_jump(a, l, JUMP_ALWAYS); }
void pn_asm_jump_true(Asm *a, AsmLabel l) { add_jump(a, l, JUMP_TRUE); }
void pn_asm_jump_false(Asm *a, AsmLabel l) { add_jump(a, l, JUMP_FALSE); }

static uint8_t size_for_distance(int64_t distance) {
    if (distance >= 1 && distance <= 8) return 1;
    return distance >= 0 && distance <= 255 ? 2 : 4;
}

// Distance from the end of jump i to its label, with sizes as they are now.
static int64_t jump_distance(const Asm *a, uint32_t i) {
    const Jump *jump = &a->jumps.items[i];
    const Label *label = &a->labels.items[jump->label];
    PN_CHECK(label->is_bound, "label %u is not bound", jump->label);
    int64_t distance = (int64_t)label->offset - jump->offset;
    for (uint32_t j = i + 1; j < label->jumps_before; j++) distance += a->jumps.items[j].size;
    for (uint32_t j = label->jumps_before; j <= i; j++) distance -= a->jumps.items[j].size;
    return distance;
}

// Let jumps grow to what they need; answer whether one did.
static bool grow_jumps(Asm *a) {
    bool has_grown = false;
    for (uint32_t i = 0; i < a->jumps.count; i++) {
        uint8_t needed = size_for_distance(jump_distance(a, i));
        if (needed <= a->jumps.items[i].size) continue;
        a->jumps.items[i].size = needed;
        has_grown = true;
    }
    return has_grown;
}

static void write_jump(const Jump *jump, int64_t distance, Bytes *out) {
    PN_CHECK(distance >= INT16_MIN && distance <= INT16_MAX, "a jump over %lld bytes", (long long)distance);
    PN_CHECK(distance >= 0 || jump->base == JUMP_ALWAYS, "a conditional jump goes backward");
    if (jump->size == 1) {
        APPEND(out, (uint8_t)(jump->base + distance - 1));
        return;
    }
    if (jump->size == 4) {
        APPEND(out, EXT_B);
        APPEND(out, (uint8_t)(distance >> 8));
    }
    APPEND(out, (uint8_t)(237 + (jump->base - JUMP_ALWAYS) / 8));
    APPEND(out, (uint8_t)distance);
}

// The bytecodes as they will be, in memory of their own.
static Bytes lay_out(Asm *a) {
    for (uint32_t i = 0; i < a->jumps.count; i++) a->jumps.items[i].size = 1;
    while (grow_jumps(a)) {}
    Bytes out = {0};
    uint32_t next_jump = 0;
    for (uint32_t offset = 0; offset <= a->bytes.count; offset++) {
        for (; next_jump < a->jumps.count && a->jumps.items[next_jump].offset == offset; next_jump++)
            write_jump(&a->jumps.items[next_jump], jump_distance(a, next_jump), &out);
        if (offset < a->bytes.count) APPEND(&out, a->bytes.items[offset]);
    }
    return out;
}

// ---- Finishing ----------------------------------------------------------------------------------

static int64_t code_header(const Asm *a, int deepest) {
    bool is_large = a->temps + (uint32_t)deepest > SMALL_FRAME_SLOTS;
    return PN_CODE_HEADER_SISTA | (int64_t)a->literals.count | (int64_t)a->has_primitive << 16 |
           (int64_t)is_large << 17 | (int64_t)a->temps << 18 | (int64_t)a->arguments << 24;
}

static Oop make_code_object(Asm *a, uint32_t class_index, int64_t header, const Bytes *bytecodes) {
    size_t first = 8 * ((size_t)a->literals.count + 1);
    size_t bytes = first + bytecodes->count;
    Oop code = pn_old_new(a->vm, class_index, pn_format_for_code(bytes), pn_slots_for_bytes(bytes));
    PN_CHECK(!oop_is_none(code), "no memory for a code object of %zu bytes", bytes);
    oop_init_slot(code, 0, ref_from_int(header));
    // The slots are no values yet: a store that looks at the old value must find one.
    for (uint32_t i = 0; i < a->literals.count; i++) oop_init_slot(code, 1 + i, vm_nil(a->vm));
    for (uint32_t i = 0; i < a->literals.count; i++) pn_store(a->vm, code, 1 + i, a->literals.items[i]);
    memcpy(oop_bytes(code) + first, bytecodes->items, bytecodes->count);
    return code;
}

// All literals are there. The code object; the blocks in it get it as their last literal.
static Oop finish(Asm *a, uint32_t class_index) {
    PN_CHECK(!a->has_open_block, "a block is not finished");
    Bytes bytecodes = lay_out(a);
    PnError error;
    int deepest = pn_bytecodes_check(bytecodes.items, bytecodes.count, a->literals.count, a->temps, &error);
    PN_CHECK(deepest >= 0, "bytecodes are wrong at %llu: %s", (unsigned long long)error.offset, error.text);
    Oop code = make_code_object(a, class_index, code_header(a, deepest), &bytecodes);
    for (uint32_t i = 0; i < a->blocks.count; i++) {
        Oop block = ref_raw(a->blocks.items[i]);
        pn_store(a->vm, block, code_header_literals(ref_int(oop_slot(block, 0))), ref_of(code));
    }
    pn_mem_free(bytecodes.items);
    asm_free(a);
    return code;
}

uint32_t pn_asm_block_end(Asm *block) {
    Asm *parent = block->parent;
    PN_CHECK(parent != NULL, "the end of a block in a method");
    APPEND(&block->literals, vm_nil(block->vm)); // the outer code, once it exists
    Oop code = finish(block, PN_CLASS_COMPILED_BLOCK);
    parent->has_open_block = false;
    APPEND(&parent->blocks, ref_of(code));
    return append_literal(parent, ref_of(code));
}

// The binding of a class: the global of its name if it is there, else (metaclasses, hidden classes) one of its own.
static Oop class_binding(WorkerVm *vm, Oop class_object) {
    bool has_name = oop_slot_count(class_object) > PN_CLASS_NAME;
    Oop name = has_name ? pn_slot(vm, class_object, PN_CLASS_NAME) : ref_raw(vm_nil(vm));
    if (!oop_is_immediate(name) && oop_is_bytes(name)) {
        char text[256];
        size_t count = pn_min(oop_byte_count(name), sizeof text - 1);
        memcpy(text, oop_bytes(name), count);
        text[count] = 0;
        Oop global = pn_global(vm, text);
        if (pn_same(vm, oop_slot(global, PN_BINDING_VALUE), ref_of(class_object))) return global;
    }
    Oop binding = pn_old_new(vm, PN_CLASS_ASSOCIATION, PN_FMT_FIXED, 2);
    PN_CHECK(!oop_is_none(binding), "no memory for a binding");
    pn_store(vm, binding, PN_BINDING_KEY, ref_of(name));
    pn_store(vm, binding, PN_BINDING_VALUE, ref_of(class_object));
    return binding;
}

Oop pn_asm_method(Asm *a, Oop class_object, const char *selector) {
    PN_CHECK(a->parent == NULL, "a block is finished as a method");
    append_literal(a, pn_symbol_z(selector));
    append_literal(a, ref_of(class_binding(a->vm, class_object)));
    return finish(a, PN_CLASS_COMPILED_METHOD);
}

Oop pn_asm_install(Asm *a, Oop class_object, const char *selector) {
    WorkerVm *vm = a->vm;
    Oop method = pn_asm_method(a, class_object, selector);
    PnStatus status = pn_method_install(vm, class_object, pn_symbol_z(selector), method);
    PN_CHECK(status == PN_OK, "#%s cannot be installed (status %d)", selector, (int)status);
    return method;
}
