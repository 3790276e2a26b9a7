// tests/support/random_method.c: the generator behind random_method.h.
//
// Programs are typed, so that every message is understood: each variable, argument, slot and result has one Type, and
// an expression is made for a type. They end because each method takes a unit of fuel from a global, and answers at
// once when there is none; loops have counters of their own.
// What may differ between the ways to run (identity hashes, addresses, class indices) is kept out of the values. All
// else is the same by the definition of the language.
#include "tests/support/random_method.h"

typedef enum Type {
    INT,     // 0 to MODULUS - 1
    OBJECT,  // an instance of one of the classes below
    INTS,    // an Array of ELEMENTS of type INT
    OBJECTS, // an Array of ELEMENTS of type OBJECT
    TYPES,
    COUNTER, // of a loop: read as INT, not to be stored into
    VECTOR,  // temp vector: an INT, an OBJECT, an INTS
} Type;

enum {
    CLASSES = 6,
    ROOT_SLOTS = 3,
    MAX_SLOTS = 40,
    SELECTORS = 10,
    MAX_ARGUMENTS_HERE = 3,
    GLOBALS = RANDOM_GLOBALS, // of each type
    ELEMENTS = 4,
    MODULUS = 65521,
    FUEL = 45, // for each message that start: sends
    MAX_SCOPE_TEMPS = 24,
    VECTOR_ELEMENTS = 3,
};
_Static_assert((int)TYPES == (int)RANDOM_KINDS, "each type has globals");
static const Type vector_types[VECTOR_ELEMENTS] = {INT, OBJECT, INTS};

typedef struct ClassInfo {
    Oop class_object;
    Oop binding;
    uint32_t slot_count;
    Type slot_types[MAX_SLOTS];
} ClassInfo;

typedef struct Signature {
    char name[40];
    uint32_t arguments;
    Type argument_types[MAX_ARGUMENTS_HERE];
    Type result;
} Signature;

typedef struct Gen {
    WorkerVm *vm;
    uint64_t seed;
    ClassInfo classes[CLASSES];
    Signature signatures[SELECTORS];
    Oop globals[TYPES][GLOBALS]; // bindings
    Oop fuel, trace, string;     // bindings
} Gen;

// A method or block being generated.
typedef struct Scope {
    Gen *g;
    Asm *a;
    const ClassInfo *self_class;
    const struct Scope *outer; // NULL in a method
    Type method_result;
    uint32_t temp_count;
    Type temp_types[MAX_SCOPE_TEMPS];
    uint32_t loop_depth;
    uint32_t free_counters[2]; // temps reserved for loops
    uint32_t block_depth;
} Scope;

// ---- Chance -------------------------------------------------------------------------------------

static uint32_t below(Gen *g, uint32_t limit) { return (uint32_t)(pn_random(&g->seed) >> 33) % limit; }
static bool one_in(Gen *g, uint32_t n) { return below(g, n) == 0; }
static Type any_type(Gen *g) { return (Type)below(g, TYPES); }

// ---- Places: what can be read and stored into ---------------------------------------------------

typedef enum PlaceKind { IN_TEMP, IN_SLOT, IN_VECTOR, IN_GLOBAL } PlaceKind;
typedef struct Place {
    PlaceKind kind;
    uint32_t index;
    uint32_t vector; // IN_VECTOR: the temp
} Place;

enum { MAX_PLACES = MAX_SCOPE_TEMPS + MAX_SLOTS + VECTOR_ELEMENTS + GLOBALS };

static uint32_t vector_places(uint32_t temp, Type type, Place *places, uint32_t count) {
    for (uint32_t i = 0; i < VECTOR_ELEMENTS; i++)
        if (vector_types[i] == type) places[count++] = (Place){IN_VECTOR, i, temp};
    return count;
}

static uint32_t temp_places(const Scope *s, Type type, bool to_store, Place *places) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->temp_count; i++) {
        Type t = s->temp_types[i];
        bool fits = t == type || (t == COUNTER && type == INT && !to_store);
        if (fits) places[count++] = (Place){IN_TEMP, i, 0};
        else if (t == VECTOR) count = vector_places(i, type, places, count);
    }
    return count;
}

static Place choose_place(Scope *s, Type type, bool to_store) {
    Place places[MAX_PLACES];
    uint32_t count = temp_places(s, type, to_store, places);
    for (uint32_t i = 0; i < s->self_class->slot_count; i++)
        if (s->self_class->slot_types[i] == type) places[count++] = (Place){IN_SLOT, i, 0};
    places[count++] = (Place){IN_GLOBAL, below(s->g, GLOBALS), 0};
    return places[below(s->g, count)];
}

static void push_place(Scope *s, Type type) {
    Place p = choose_place(s, type, false);
    switch (p.kind) {
    case IN_TEMP: pn_asm_push_temp(s->a, p.index); return;
    case IN_SLOT: pn_asm_push_inst(s->a, p.index); return;
    case IN_VECTOR: pn_asm_push_vector_temp(s->a, p.index, p.vector); return;
    case IN_GLOBAL: pn_asm_push_global(s->a, s->g->globals[type][p.index]); return;
    }
}

// Store the top somewhere; sometimes by storing and popping apart.
static void store_place(Scope *s, Type type) {
    Place p = choose_place(s, type, true);
    bool pop = !one_in(s->g, 4);
    switch (p.kind) {
    case IN_TEMP: pn_asm_store_temp(s->a, p.index, pop); break;
    case IN_SLOT: pn_asm_store_inst(s->a, p.index, pop); break;
    case IN_VECTOR: pn_asm_store_vector_temp(s->a, p.index, p.vector, pop); break;
    case IN_GLOBAL: pn_asm_store_global(s->a, s->g->globals[type][p.index], pop); break;
    }
    if (!pop) pn_asm_pop(s->a);
}

// ---- Expressions --------------------------------------------------------------------------------

static void push_value(Scope *s, Type type, uint32_t depth);
static void push_condition(Scope *s, uint32_t depth);
static void push_block(Scope *s, uint32_t arguments, Type result, uint32_t depth);
static void add_statement(Scope *s, uint32_t depth);

static void send(Scope *s, const char *selector, uint32_t arguments) { pn_asm_send(s->a, selector, arguments); }

static void reduce(Scope *s) {
    pn_asm_push_int(s->a, MODULUS);
    send(s, "\\\\", 1);
}

// An index from 1 to ELEMENTS.
static void push_index(Scope *s, uint32_t depth) {
    push_value(s, INT, depth);
    pn_asm_push_int(s->a, ELEMENTS);
    send(s, "\\\\", 1);
    pn_asm_push_int(s->a, 1);
    send(s, "+", 1);
}

static void push_arithmetic(Scope *s, uint32_t depth) {
    static const char *const binary[] = {"+", "-", "*", "bitAnd:", "bitOr:", "bitXor:"};
    static const char *const by_constant[] = {"//", "\\\\", "quo:"};
    push_value(s, INT, depth);
    if (one_in(s->g, 3)) {
        pn_asm_push_int(s->a, 1 + below(s->g, 300));
        send(s, by_constant[below(s->g, PN_COUNT_OF(by_constant))], 1);
    } else {
        push_value(s, INT, depth);
        send(s, binary[below(s->g, PN_COUNT_OF(binary))], 1);
    }
    reduce(s);
}

// What may leave the SmallIntegers on the way: a + (largest - 70000) + (b + 5) \\ MODULUS
static void push_large_arithmetic(Scope *s, uint32_t depth) {
    push_value(s, INT, depth);
    pn_asm_push_int(s->a, PN_INT_MAX - 70000);
    send(s, "+", 1);
    push_value(s, INT, depth);
    pn_asm_push_int(s->a, 5);
    send(s, "+", 1);
    send(s, "+", 1);
    reduce(s);
}

// Floats: (a asFloat * 1.5 + 0.25) truncated \\ MODULUS
static void push_float_arithmetic(Scope *s, uint32_t depth) {
    Ref factor, summand;
    PN_CHECK(ref_from_float(1.5, &factor) && ref_from_float(0.25, &summand), "small floats");
    push_value(s, INT, depth);
    send(s, "asFloat", 0);
    pn_asm_push_literal(s->a, factor);
    send(s, "*", 1);
    pn_asm_push_literal(s->a, summand);
    send(s, "+", 1);
    send(s, "truncated", 0);
    reduce(s);
}

static void push_shift(Scope *s, uint32_t depth) {
    push_value(s, INT, depth);
    pn_asm_push_int(s->a, (int64_t)below(s->g, 9) - 4);
    send(s, "bitShift:", 1);
    reduce(s);
}

static void push_element(Scope *s, Type array_type, uint32_t depth) {
    push_value(s, array_type, depth);
    push_index(s, depth);
    send(s, "at:", 1);
}

static void push_literal_element(Scope *s, uint32_t depth) {
    Oop array = pn_old_new(s->g->vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, ELEMENTS);
    for (size_t i = 0; i < ELEMENTS; i++) oop_init_slot(array, i, ref_from_int(below(s->g, MODULUS)));
    pn_asm_push_literal(s->a, ref_of(array));
    push_index(s, depth);
    send(s, "at:", 1);
}

static void push_string_element(Scope *s, uint32_t depth) {
    pn_asm_push_global(s->a, s->g->string);
    push_index(s, depth);
    send(s, "at:", 1);
    send(s, "asInteger", 0);
}

static void push_choice(Scope *s, Type type, uint32_t depth) {
    AsmLabel other = pn_asm_label(s->a), end = pn_asm_label(s->a);
    push_condition(s, depth);
    if (one_in(s->g, 2)) pn_asm_jump_false(s->a, other);
    else pn_asm_jump_true(s->a, other);
    push_value(s, type, depth);
    pn_asm_jump(s->a, end);
    pn_asm_bind(s->a, other);
    push_value(s, type, depth);
    pn_asm_bind(s->a, end);
}

static const Signature *signature_answering(Gen *g, Type type) {
    uint32_t start = below(g, SELECTORS);
    for (uint32_t i = 0; i < SELECTORS; i++) {
        const Signature *signature = &g->signatures[(start + i) % SELECTORS];
        if (signature->result == type) return signature;
    }
    return NULL;
}

static void push_arguments(Scope *s, const Signature *signature, uint32_t depth) {
    for (uint32_t i = 0; i < signature->arguments; i++) push_value(s, signature->argument_types[i], depth);
}

static void push_perform(Scope *s, const Signature *signature, uint32_t depth) {
    static const char *const performs[] = {
        "perform:", "perform:with:", "perform:with:with:", "perform:with:with:with:"};
    push_value(s, OBJECT, depth);
    pn_asm_push_literal(s->a, pn_symbol_z(signature->name));
    push_arguments(s, signature, depth);
    send(s, performs[signature->arguments], signature->arguments + 1);
}

static void push_super_send(Scope *s, const Signature *signature, uint32_t depth) {
    pn_asm_push_self(s->a);
    push_arguments(s, signature, depth);
    if (s->outer == NULL) {
        pn_asm_send_super(s->a, signature->name, signature->arguments);
    } else {
        pn_asm_push_global(s->a, s->self_class->binding);
        pn_asm_send_directed_super(s->a, signature->name, signature->arguments);
    }
}

static void push_send(Scope *s, Type type, uint32_t depth) {
    const Signature *signature = signature_answering(s->g, type);
    bool has_super = s->self_class != &s->g->classes[0];
    uint32_t way = below(s->g, 8);
    if (way == 0) {
        push_perform(s, signature, depth);
    } else if (way <= 2 && has_super) {
        push_super_send(s, signature, depth);
    } else {
        push_value(s, OBJECT, depth);
        push_arguments(s, signature, depth);
        send(s, signature->name, signature->arguments);
    }
}

static void push_block_value(Scope *s, Type type, uint32_t depth) {
    uint32_t arguments = below(s->g, 3);
    push_block(s, arguments, type, depth);
    for (uint32_t i = 0; i < arguments; i++) push_value(s, INT, depth);
    send(s, arguments == 0 ? "value" : arguments == 1 ? "value:" : "value:value:", arguments);
}

// A block handed to another method, which evaluates it: apply:to: twice, protect: under ensure:.
static void push_block_passed_on(Scope *s, uint32_t depth) {
    push_value(s, OBJECT, depth);
    if (one_in(s->g, 2)) {
        push_block(s, 1, INT, depth);
        push_value(s, INT, depth);
        send(s, "apply:to:", 2);
    } else {
        push_block(s, 0, INT, depth);
        send(s, "protect:", 1);
    }
}

static void push_int(Scope *s, uint32_t depth) {
    switch (below(s->g, 14)) {
    case 0:
    case 1:
    case 2: push_arithmetic(s, depth); return;
    case 3: push_shift(s, depth); return;
    case 4:
    case 5: push_element(s, INTS, depth); return;
    case 6: push_literal_element(s, depth); return;
    case 7: push_string_element(s, depth); return;
    case 8: push_large_arithmetic(s, depth); return;
    case 9: push_float_arithmetic(s, depth); return;
    case 10:
        push_value(s, one_in(s->g, 2) ? INTS : OBJECTS, depth);
        send(s, "size", 0);
        return;
    case 11: push_block_passed_on(s, depth); return;
    case 12: push_choice(s, INT, depth); return;
    default: push_send(s, INT, depth); return;
    }
}

static void push_new_object(Scope *s) {
    pn_asm_push_global(s->a, s->g->classes[below(s->g, CLASSES)].binding);
    send(s, "make", 0);
}

static void push_copy(Scope *s, Type type, uint32_t depth) {
    push_value(s, type, depth);
    send(s, "shallowCopy", 0);
}

static void push_object(Scope *s, uint32_t depth) {
    switch (below(s->g, 7)) {
    case 0:
    case 1: push_new_object(s); return;
    case 2: push_copy(s, OBJECT, depth); return;
    case 3: push_element(s, OBJECTS, depth); return;
    case 4: push_choice(s, OBJECT, depth); return;
    default: push_send(s, OBJECT, depth); return;
    }
}

static void push_array(Scope *s, Type type, uint32_t depth) {
    switch (below(s->g, 6)) {
    case 0: push_copy(s, type, depth); return;
    case 1: push_choice(s, type, depth); return;
    case 2:
    case 3:
        for (uint32_t i = 0; i < ELEMENTS; i++) push_value(s, type == INTS ? INT : OBJECT, depth);
        pn_asm_push_array(s->a, ELEMENTS, true);
        return;
    default: push_send(s, type, depth); return;
    }
}

static void push_leaf(Scope *s, Type type) {
    if (type == INT && one_in(s->g, 2)) pn_asm_push_int(s->a, below(s->g, one_in(s->g, 3) ? 40000 : 10));
    else if (type == OBJECT && one_in(s->g, 3)) pn_asm_push_self(s->a);
    else push_place(s, type);
}

static void push_value(Scope *s, Type type, uint32_t depth) {
    if (depth == 0 || one_in(s->g, 2)) push_leaf(s, type);
    else if (one_in(s->g, 9)) push_block_value(s, type, depth - 1);
    else if (type == INT) push_int(s, depth - 1);
    else if (type == OBJECT) push_object(s, depth - 1);
    else push_array(s, type, depth - 1);
}

// ---- Conditions ---------------------------------------------------------------------------------

static void push_comparison(Scope *s, uint32_t depth) {
    static const char *const comparisons[] = {"<", ">", "<=", ">=", "=", "~="};
    push_value(s, INT, depth);
    push_value(s, INT, depth);
    send(s, comparisons[below(s->g, PN_COUNT_OF(comparisons))], 1);
}

static void push_condition(Scope *s, uint32_t depth) {
    Type type = one_in(s->g, 3) ? OBJECTS : OBJECT;
    switch (below(s->g, 6)) {
    case 0: // x == y
    case 1: // x ~~ y
        push_value(s, type, depth);
        push_value(s, type, depth);
        send(s, one_in(s->g, 2) ? "==" : "~~", 1);
        return;
    case 2: // x class == C
        push_value(s, OBJECT, depth);
        send(s, "class", 0);
        pn_asm_push_global(s->a, s->g->classes[below(s->g, CLASSES)].binding);
        send(s, "==", 1);
        return;
    case 3: // x identityHash = x identityHash
        push_value(s, OBJECT, depth);
        pn_asm_dup(s->a);
        send(s, "identityHash", 0);
        send(s, "hasHash:", 1);
        return;
    default: push_comparison(s, depth); return;
    }
}

// ---- Blocks -------------------------------------------------------------------------------------

// Push what the block copies and answer its scope: arguments, copied values, two counters.
static Scope begin_block(Scope *s, uint32_t arguments, uint32_t *copied_temps, uint32_t *copied) {
    *copied = 0;
    for (uint32_t i = 0; i < s->temp_count; i++) {
        bool wanted = s->temp_types[i] == VECTOR || one_in(s->g, 3);
        if (wanted && *copied < 8) copied_temps[(*copied)++] = i;
    }
    Scope b = {.g = s->g,
               .self_class = s->self_class,
               .outer = s,
               .method_result = s->method_result,
               .block_depth = s->block_depth + 1};
    for (uint32_t i = 0; i < arguments; i++) b.temp_types[b.temp_count++] = INT;
    for (uint32_t i = 0; i < *copied; i++) b.temp_types[b.temp_count++] = s->temp_types[copied_temps[i]];
    for (uint32_t i = 0; i < 2; i++) {
        b.free_counters[i] = b.temp_count;
        b.temp_types[b.temp_count++] = COUNTER;
    }
    b.a = pn_asm_block(s->a, arguments, *copied, *copied + 2);
    for (uint32_t i = 0; i < 2; i++) {
        pn_asm_push_int(b.a, 0);
        pn_asm_store_temp(b.a, b.free_counters[i], true);
    }
    return b;
}

static void add_return_out_of_method(Scope *s) {
    AsmLabel stay = pn_asm_label(s->a);
    push_condition(s, 1);
    pn_asm_jump_false(s->a, stay);
    push_value(s, s->method_result, 1);
    pn_asm_return_top(s->a);
    pn_asm_bind(s->a, stay);
}

static void push_block(Scope *s, uint32_t arguments, Type result, uint32_t depth) {
    uint32_t copied_temps[MAX_SCOPE_TEMPS], copied;
    uint32_t inner_depth = s->block_depth < 2 ? depth : 0;
    Scope b = begin_block(s, arguments, copied_temps, &copied);
    if (b.block_depth < 3)
        for (uint32_t n = below(s->g, 3); n > 0; n--) add_statement(&b, inner_depth);
    if (one_in(s->g, 4)) add_return_out_of_method(&b);
    push_value(&b, result, inner_depth);
    pn_asm_block_return(b.a);
    uint32_t literal = pn_asm_block_end(b.a);
    for (uint32_t i = 0; i < copied; i++) pn_asm_push_temp(s->a, copied_temps[i]);
    pn_asm_push_closure(s->a, literal, copied, true, false);
}

// ---- Statements ---------------------------------------------------------------------------------

static void add_assignment(Scope *s, uint32_t depth) {
    Type type = any_type(s->g);
    push_value(s, type, depth);
    store_place(s, type);
}

static void add_element_store(Scope *s, uint32_t depth) {
    Type type = one_in(s->g, 2) ? INTS : OBJECTS;
    push_value(s, type, depth);
    push_index(s, depth);
    push_value(s, type == INTS ? INT : OBJECT, depth);
    send(s, "at:put:", 2);
    pn_asm_pop(s->a);
}

static void add_string_store(Scope *s, uint32_t depth) {
    pn_asm_push_global(s->a, s->g->string);
    push_index(s, depth);
    push_value(s, INT, depth);
    pn_asm_push_int(s->a, 127);
    send(s, "bitAnd:", 1);
    send(s, "asCharacter", 0);
    send(s, "at:put:", 2);
    pn_asm_pop(s->a);
}

// Slots of the root class, which every object has.
static void add_slot_store(Scope *s, uint32_t depth) {
    uint32_t slot = below(s->g, ROOT_SLOTS);
    push_value(s, OBJECT, depth);
    pn_asm_push_int(s->a, slot + 1);
    push_value(s, s->g->classes[0].slot_types[slot], depth);
    send(s, "instVarAt:put:", 2);
    pn_asm_pop(s->a);
}

static void add_replace(Scope *s, uint32_t depth) {
    Type type = one_in(s->g, 2) ? INTS : OBJECTS;
    push_value(s, type, depth);
    pn_asm_push_int(s->a, 1);
    pn_asm_push_int(s->a, 2);
    push_value(s, type, depth);
    pn_asm_push_int(s->a, 2);
    send(s, "replaceFrom:to:with:startingAt:", 4);
    pn_asm_pop(s->a);
}

static void add_become(Scope *s, uint32_t depth) {
    push_value(s, OBJECT, depth);
    push_value(s, OBJECT, depth);
    send(s, one_in(s->g, 3) ? "forwardIfAlike:" : "becomeIfAlike:", 1);
    pn_asm_pop(s->a);
}

// trace := trace * 31 + value \\ 1000000007
static void add_trace(Asm *a, const Gen *g) {
    pn_asm_push_global(a, g->trace);
    pn_asm_push_int(a, 31);
    pn_asm_send(a, "*", 1);
    pn_asm_send(a, "+", 1);
    pn_asm_push_int(a, 1000000007);
    pn_asm_send(a, "\\\\", 1);
    pn_asm_store_global(a, g->trace, true);
}

static void add_traced_value(Scope *s, uint32_t depth) {
    push_value(s, INT, depth);
    add_trace(s->a, s->g);
}

static void add_loop(Scope *s, uint32_t depth) {
    uint32_t counter = s->free_counters[s->loop_depth++];
    AsmLabel again = pn_asm_label(s->a), end = pn_asm_label(s->a);
    pn_asm_push_int(s->a, 1 + below(s->g, 4));
    pn_asm_store_temp(s->a, counter, true);
    pn_asm_bind(s->a, again);
    pn_asm_push_temp(s->a, counter);
    pn_asm_push_int(s->a, 0);
    send(s, ">", 1);
    pn_asm_jump_false(s->a, end);
    for (uint32_t n = 1 + below(s->g, 2); n > 0; n--) add_statement(s, depth);
    pn_asm_push_temp(s->a, counter);
    pn_asm_push_int(s->a, 1);
    send(s, "-", 1);
    pn_asm_store_temp(s->a, counter, true);
    pn_asm_jump(s->a, again);
    pn_asm_bind(s->a, end);
    s->loop_depth--;
}

static void add_conditional(Scope *s, uint32_t depth) {
    AsmLabel end = pn_asm_label(s->a);
    push_condition(s, depth);
    pn_asm_jump_false(s->a, end);
    add_statement(s, depth);
    pn_asm_bind(s->a, end);
}

// Make a context of the frame, or of all frames; both must change nothing.
static void add_context_use(Scope *s) {
    if (one_in(s->g, 2)) {
        pn_asm_push_context(s->a);
    } else {
        pn_asm_push_self(s->a);
        send(s, "voidVMState", 0);
    }
    pn_asm_pop(s->a);
}

static void add_statement(Scope *s, uint32_t depth) {
    uint32_t inner = depth > 0 ? depth - 1 : 0;
    switch (below(s->g, 16)) {
    case 0:
    case 1: add_element_store(s, depth); return;
    case 2: add_string_store(s, inner); return;
    case 3: add_slot_store(s, depth); return;
    case 4: add_replace(s, inner); return;
    case 5: add_become(s, inner); return;
    case 6:
    case 7: add_traced_value(s, depth); return;
    case 8:
    case 9:
        if (s->loop_depth < 2 && depth > 0) {
            add_loop(s, inner);
            return;
        }
        break;
    case 10:
        if (depth > 0) {
            add_conditional(s, inner);
            return;
        }
        break;
    case 11:
        if (one_in(s->g, 3)) {
            add_context_use(s);
            return;
        }
        break;
    default: break;
    }
    add_assignment(s, depth);
}

// ---- Methods ------------------------------------------------------------------------------------

// fuel > 0 ifFalse: [^aGlobal]. fuel := fuel - 1
static void add_fuel_check(Scope *s) {
    Asm *a = s->a;
    AsmLabel go_on = pn_asm_label(a);
    pn_asm_push_global(a, s->g->fuel);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, ">", 1);
    pn_asm_jump_true(a, go_on);
    pn_asm_push_global(a, s->g->globals[s->method_result][0]);
    pn_asm_return_top(a);
    pn_asm_bind(a, go_on);
    pn_asm_push_global(a, s->g->fuel);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_store_global(a, s->g->fuel, true);
}

// A temp of this type, filled from a global.
static void add_temp(Scope *s, uint32_t temp, Type type) {
    if (type == COUNTER) {
        pn_asm_push_int(s->a, 0);
    } else if (type == VECTOR) {
        for (uint32_t i = 0; i < VECTOR_ELEMENTS; i++)
            pn_asm_push_global(s->a, s->g->globals[vector_types[i]][below(s->g, GLOBALS)]);
        pn_asm_push_array(s->a, VECTOR_ELEMENTS, true);
    } else {
        pn_asm_push_global(s->a, s->g->globals[type][below(s->g, GLOBALS)]);
    }
    pn_asm_store_temp(s->a, temp, true);
    s->temp_types[temp] = type;
    s->temp_count = temp + 1;
}

static void make_method(Gen *g, const ClassInfo *class_info, const Signature *signature) {
    uint32_t further = 1 + below(g, 4);
    bool has_vector = one_in(g, 2);
    Scope s = {.g = g, .self_class = class_info, .method_result = signature->result};
    s.a = pn_asm(g->vm, signature->arguments, further + has_vector + 2);
    for (uint32_t i = 0; i < signature->arguments; i++) s.temp_types[s.temp_count++] = signature->argument_types[i];
    add_fuel_check(&s);
    for (uint32_t i = 0; i < further; i++) add_temp(&s, s.temp_count, any_type(g));
    if (has_vector) add_temp(&s, s.temp_count, VECTOR);
    for (uint32_t i = 0; i < 2; i++) {
        s.free_counters[i] = s.temp_count;
        add_temp(&s, s.temp_count, COUNTER);
    }
    for (uint32_t n = 2 + below(g, 4); n > 0; n--) add_statement(&s, 3);
    push_value(&s, signature->result, 3);
    pn_asm_return_top(s.a);
    pn_asm_install(s.a, class_info->class_object, signature->name);
}

// The root understands everything; the others override about half.
static void make_methods(Gen *g) {
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t i = 0; i < SELECTORS; i++)
            if (c == 0 || one_in(g, 2)) make_method(g, &g->classes[c], &g->signatures[i]);
}

static void make_signatures(Gen *g) {
    static const char *const endings[] = {"", ":", ":and:", ":and:also:"};
    for (uint32_t i = 0; i < SELECTORS; i++) {
        Signature *signature = &g->signatures[i];
        signature->result = i < TYPES ? (Type)i : any_type(g);
        signature->arguments = below(g, MAX_ARGUMENTS_HERE + 1);
        for (uint32_t j = 0; j < signature->arguments; j++) signature->argument_types[j] = any_type(g);
        snprintf(signature->name, sizeof signature->name, "random%u%s", i, endings[signature->arguments]);
    }
}

// ---- Methods that are always there --------------------------------------------------------------

// apply: block to: n: ^block value: (block value: n)
static void make_apply(Gen *g) {
    Asm *a = pn_asm(g->vm, 2, 0);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "value:", 1);
    pn_asm_send(a, "value:", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, g->classes[0].class_object, "apply:to:");
}

// protect: block: ^block ensure: [trace := ... + 7]
static void make_protect(Gen *g) {
    Asm *a = pn_asm(g->vm, 1, 0);
    Asm *handler = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_int(handler, 7);
    add_trace(handler, g);
    pn_asm_block_return_nil(handler);
    uint32_t literal = pn_asm_block_end(handler);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, literal, 0, true, false);
    pn_asm_send(a, "ensure:", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, g->classes[0].class_object, "protect:");
}

// becomeIfAlike: other: self class == other class ifTrue: [self == other ifFalse: [self become: other]]
static void make_become(Gen *g, const char *selector, const char *become) {
    Asm *a = pn_asm(g->vm, 1, 0);
    AsmLabel end = pn_asm_label(a);
    pn_asm_push_self(a);
    pn_asm_send(a, "class", 0);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "class", 0);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_false(a, end);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_true(a, end);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, become, 1);
    pn_asm_pop(a);
    pn_asm_bind(a, end);
    pn_asm_return_self(a);
    pn_asm_install(a, g->classes[0].class_object, selector);
}

// hasHash: n: ^self identityHash = n
static void make_has_hash(Gen *g) {
    Asm *a = pn_asm(g->vm, 1, 0);
    pn_asm_push_self(a);
    pn_asm_send(a, "identityHash", 0);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, g->classes[0].class_object, "hasHash:");
}

// fill: every slot from a global; make, on the class side: ^self new fill
static void make_creation(Gen *g, const ClassInfo *class_info) {
    Asm *a = pn_asm(g->vm, 0, 0);
    for (uint32_t i = 0; i < class_info->slot_count; i++) {
        pn_asm_push_global(a, g->globals[class_info->slot_types[i]][below(g, GLOBALS)]);
        pn_asm_store_inst(a, i, true);
    }
    pn_asm_return_self(a);
    pn_asm_install(a, class_info->class_object, "fill");
    a = pn_asm(g->vm, 0, 0);
    pn_asm_push_self(a);
    pn_asm_send(a, "new", 0);
    pn_asm_send(a, "fill", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, pn_asm_metaclass(g->vm, class_info->class_object), "make");
}

// start: n: trace := n; then each selector once, with new fuel. ^trace. It has no blocks, since a return out of a
// process's first method has nowhere to go once its frame has become a context.
static void make_start(Gen *g) {
    Asm *a = pn_asm(g->vm, 1, 2);
    Scope s = {.g = g, .a = a, .self_class = &g->classes[0], .temp_count = 1, .temp_types = {INT}};
    pn_asm_push_temp(a, 0);
    pn_asm_store_global(a, g->trace, true);
    for (uint32_t i = 0; i < SELECTORS; i++) {
        pn_asm_push_int(a, FUEL);
        pn_asm_store_global(a, g->fuel, true);
        pn_asm_push_self(a);
        push_arguments(&s, &g->signatures[i], 0);
        pn_asm_send(a, g->signatures[i].name, g->signatures[i].arguments);
        if (g->signatures[i].result == INT) add_trace(a, g);
        else pn_asm_pop(a);
    }
    pn_asm_push_global(a, g->trace);
    pn_asm_return_top(a);
    pn_asm_install(a, g->classes[0].class_object, "start:");
}

// ---- Classes and globals ------------------------------------------------------------------------

static void make_class(Gen *g, uint32_t c) {
    static const Type root_types[ROOT_SLOTS] = {INT, OBJECT, INTS};
    char name[32];
    snprintf(name, sizeof name, "Random%u", c);
    ClassInfo *class_info = &g->classes[c];
    const ClassInfo *superclass = c == 0 ? NULL : &g->classes[below(g, c)];
    if (superclass != NULL) *class_info = *superclass;
    // One class has slots beyond the reach of short bytecodes.
    uint32_t added = c == 0 ? ROOT_SLOTS : c == 1 ? 15 : below(g, 4);
    for (uint32_t i = 0; i < added; i++)
        class_info->slot_types[class_info->slot_count++] = c == 0 ? root_types[i] : any_type(g);
    Oop above = superclass != NULL ? superclass->class_object : pn_asm_class_named(g->vm, "Object");
    class_info->class_object = pn_asm_class(g->vm, name, above, added);
    class_info->binding = pn_global(g->vm, name);
}

static Oop make_global(Gen *g, const char *kind, uint32_t i, Ref value) {
    char name[32];
    snprintf(name, sizeof name, "Random%s%u", kind, i);
    Oop binding = pn_global(g->vm, name);
    PN_CHECK(pn_store(g->vm, binding, PN_BINDING_VALUE, value) == PN_WRITABLE, "%s cannot be set", name);
    return binding;
}

static Oop old_instance(Gen *g, const ClassInfo *class_info) {
    uint32_t index = pn_class_index(g->vm, class_info->class_object);
    Oop o = pn_old_new(g->vm, index, PN_FMT_FIXED, class_info->slot_count);
    PN_CHECK(!oop_is_none(o), "no memory for a random object");
    return o;
}
static Oop old_array(Gen *g) {
    Oop o = pn_old_new(g->vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, ELEMENTS);
    PN_CHECK(!oop_is_none(o), "no memory for a random array");
    return o;
}

static Ref global_value(Gen *g, Type type) { return oop_slot(g->globals[type][below(g, GLOBALS)], PN_BINDING_VALUE); }

const char *const random_kinds[RANDOM_KINDS] = {"Int", "Object", "Ints", "Objects"}; // by Type

// First all objects, then what is in them, since they refer to each other.
static void make_globals(Gen *g) {
    const ClassInfo *classes[GLOBALS];
    for (uint32_t i = 0; i < GLOBALS; i++) {
        classes[i] = &g->classes[below(g, CLASSES)];
        g->globals[INT][i] = make_global(g, random_kinds[INT], i, ref_from_int(below(g, MODULUS)));
        g->globals[OBJECT][i] = make_global(g, random_kinds[OBJECT], i, ref_of(old_instance(g, classes[i])));
        g->globals[INTS][i] = make_global(g, random_kinds[INTS], i, ref_of(old_array(g)));
        g->globals[OBJECTS][i] = make_global(g, random_kinds[OBJECTS], i, ref_of(old_array(g)));
    }
    for (uint32_t i = 0; i < GLOBALS; i++) {
        Oop object = ref_raw(oop_slot(g->globals[OBJECT][i], PN_BINDING_VALUE));
        for (uint32_t j = 0; j < classes[i]->slot_count; j++)
            pn_store(g->vm, object, j, global_value(g, classes[i]->slot_types[j]));
        for (uint32_t j = 0; j < ELEMENTS; j++) {
            pn_store(g->vm, ref_raw(oop_slot(g->globals[INTS][i], PN_BINDING_VALUE)), j, global_value(g, INT));
            pn_store(g->vm, ref_raw(oop_slot(g->globals[OBJECTS][i], PN_BINDING_VALUE)), j, global_value(g, OBJECT));
        }
    }
    g->fuel = make_global(g, "Fuel", 0, ref_from_int(0));
    g->trace = make_global(g, "Trace", 0, ref_from_int(0));
    g->string = make_global(g, "String", 0, ref_of(pn_asm_string(g->vm, "text")));
}

void random_program_build(WorkerVm *vm, uint64_t seed) {
    Gen *g = pn_mem_alloc_zeroed(sizeof *g);
    PN_CHECK(g != NULL, "no memory for the generator");
    g->vm = vm;
    g->seed = seed * UINT64_C(0x9E3779B97F4A7C15) | 1; // neighbouring seeds shall not begin alike
    for (uint32_t c = 0; c < CLASSES; c++) make_class(g, c);
    make_globals(g);
    make_signatures(g);
    make_apply(g);
    make_protect(g);
    make_become(g, "becomeIfAlike:", "become:");
    make_become(g, "forwardIfAlike:", "becomeForward:");
    make_has_hash(g);
    for (uint32_t c = 0; c < CLASSES; c++) make_creation(g, &g->classes[c]);
    make_methods(g);
    make_start(g);
    pn_mem_free(g);
}
