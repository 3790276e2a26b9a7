// tests/support/random_trace.c: runs the programs of random_method.c and says what they did.
//
// The globals' object graph is summed up in a way that knows of identity, class names and contents, but of no address,
// identity hash or class index.
#include "tests/support/random_method.h"

enum { STARTS = 6 };

// ---- Checksum of an object graph ----------------------------------------------------------------

// Objects met so far, numbered in the order of meeting: sharing and cycles count, addresses do not.
typedef struct Visited {
    uint64_t *addresses; // open addressing; 0: free
    uint32_t *numbers;
    size_t capacity, count;
} Visited;

typedef struct Summer {
    WorkerVm *vm;
    Visited visited;
    uint64_t sum;
} Summer;

static void add_word(Summer *m, uint64_t word) { m->sum = pn_hash_bytes(&word, sizeof word, m->sum); }

static size_t visited_cell(const Visited *v, uint64_t address) {
    size_t at = (address >> 3) * UINT64_C(0x9E3779B97F4A7C15) & (v->capacity - 1);
    while (v->addresses[at] != 0 && v->addresses[at] != address) at = (at + 1) & (v->capacity - 1);
    return at;
}

static void visited_init(Visited *v, size_t capacity) {
    *v = (Visited){.addresses = pn_mem_alloc_zeroed(8 * capacity),
                   .numbers = pn_mem_alloc_zeroed(4 * capacity),
                   .capacity = capacity};
    PN_CHECK(v->addresses != NULL && v->numbers != NULL, "no memory for a checksum");
}
static void visited_free(Visited *v) {
    pn_mem_free(v->addresses);
    pn_mem_free(v->numbers);
}

static void visited_grow(Visited *v) {
    Visited larger;
    visited_init(&larger, v->capacity * 2);
    for (size_t i = 0; i < v->capacity; i++) {
        if (v->addresses[i] == 0) continue;
        size_t at = visited_cell(&larger, v->addresses[i]);
        larger.addresses[at] = v->addresses[i];
        larger.numbers[at] = v->numbers[i];
    }
    larger.count = v->count;
    visited_free(v);
    *v = larger;
}

// The number of the object; *is_new tells whether it is met for the first time.
static uint32_t visit(Visited *v, Oop o, bool *is_new) {
    if (v->count * 2 >= v->capacity) visited_grow(v);
    size_t at = visited_cell(v, o.bits);
    *is_new = v->addresses[at] == 0;
    if (*is_new) {
        v->addresses[at] = o.bits;
        v->numbers[at] = (uint32_t)v->count++;
    }
    return v->numbers[at];
}

static void add_bytes(Summer *m, Oop o) { m->sum = pn_hash_bytes(oop_bytes(o), oop_byte_count(o), m->sum); }

static void add_value(Summer *m, Ref value) {
    if (ref_is_immediate(value)) {
        add_word(m, value.bits);
        return;
    }
    Oop o = pn_deref(m->vm, value);
    bool is_new;
    add_word(m, visit(&m->visited, o, &is_new));
    if (!is_new) return;
    if (!oop_is_pointers(o)) {
        if (oop_is_bytes(o)) add_bytes(m, o);
        return;
    }
    Oop class_object = pn_class_of(m->vm, o);
    if (oop_slot_count(class_object) > PN_CLASS_NAME) add_bytes(m, pn_slot(m->vm, class_object, PN_CLASS_NAME));
    add_word(m, oop_slot_count(o));
    for (size_t i = 0; i < oop_slot_count(o); i++) add_value(m, oop_slot(o, i));
}

static uint64_t globals_sum(WorkerVm *vm) {
    Summer m = {.vm = vm, .sum = 1};
    visited_init(&m.visited, 1024);
    for (uint32_t kind = 0; kind < RANDOM_KINDS; kind++) {
        for (uint32_t i = 0; i < RANDOM_GLOBALS; i++) {
            char name[32];
            snprintf(name, sizeof name, "Random%s%u", random_kinds[kind], i);
            add_value(&m, oop_slot(pn_global(vm, name), PN_BINDING_VALUE));
        }
    }
    add_value(&m, oop_slot(pn_global(vm, "RandomString0"), PN_BINDING_VALUE));
    visited_free(&m.visited);
    return m.sum;
}

// ---- Running ------------------------------------------------------------------------------------

bool random_program_run(PnThread *thread, WorkerVm *vm, char trace[RANDOM_TRACE_BYTES]) {
    size_t used = 0;
    for (uint32_t i = 0; i < STARTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "RandomObject%u", i % RANDOM_GLOBALS);
        Ref receiver = oop_slot(pn_global(vm, name), PN_BINDING_VALUE);
        Ref argument = ref_from_int(i);
        Ref result;
        PnError error = {0};
        if (pn_send(thread, vm, receiver, pn_symbol_z("start:"), &argument, 1, &result, &error) != PN_OK) {
            snprintf(trace + used, RANDOM_TRACE_BYTES - used, "start %u failed: %s", i, error.text);
            return false;
        }
        used += (size_t)snprintf(trace + used, RANDOM_TRACE_BYTES - used, "%lld ", (long long)ref_int(result));
    }
    snprintf(trace + used, RANDOM_TRACE_BYTES - used, "%016llx", (unsigned long long)globals_sum(vm));
    return true;
}
