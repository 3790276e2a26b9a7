// bench/budget/stores.c: pn_store of a pointer from C. A unit is one store.
//
// none, bare: the loop without a store, and with one that asks nothing. young: into a young object. old: a pointer to an
// old object into an old one. remembered: a young pointer into an old object that is in the remembered set already.
// first: a young pointer into an old object for the first time, a different one each time; first-none is its loop.
#include "bench/budget/budget.h"

static void build(WorkerVm *vm) { pn_asm_class(vm, "Pair", pn_asm_class_named(vm, "Object"), 2); }

// Keep the compiler from knowing anything about memory, value or object.
static inline Oop opaque(Oop o) {
    __asm__ volatile("" : "+r"(o.bits) : : "memory");
    return o;
}

typedef enum Kind { NONE, BARE, YOUNG, OLD, REMEMBERED } Kind;

static Oop new_pair(BenchWorld *world, bool old) {
    uint32_t index = pn_class_index(world->vm, bench_class(world, "Pair"));
    return old ? pn_old_new(world->vm, index, PN_FMT_FIXED, 2) : pn_new(world->vm, index, PN_FMT_FIXED, 2);
}

// One loop for all kinds, compiled for each, so that a kind and its base differ by the store only.
static inline __attribute__((always_inline)) void loop(WorkerVm *vm, Oop object, Oop value, uint64_t n, Kind kind) {
#pragma GCC unroll 1
    for (uint64_t i = 0; i < n; i++) {
        Oop o = opaque(object);
        if (kind == BARE) oop_init_slot(o, 1, ref_of(value));
        if (kind > BARE) pn_store(vm, o, 1, ref_of(value));
    }
}

static uint64_t timed_loop(WorkerVm *vm, Oop object, Oop value, uint64_t n, Kind kind) {
    uint64_t start = bench_now();
    if (kind == NONE) loop(vm, object, value, n, NONE);
    if (kind == BARE) loop(vm, object, value, n, BARE);
    if (kind > BARE) loop(vm, object, value, n, YOUNG);
    return bench_now() - start;
}

static inline __attribute__((always_inline)) void loop_over(WorkerVm *vm, const Oop *objects, Oop value, uint64_t n,
                                                            bool stores) {
#pragma GCC unroll 1
    for (uint64_t i = 0; i < n; i++) {
        Oop o = opaque(objects[i]);
        if (stores) pn_store(vm, o, 1, ref_of(value));
    }
}

static void repeated(uint64_t n, Kind kind) {
    BenchWorld world = bench_frozen(build);
    pn_young_reserve(world.vm, 256);
    Oop object = new_pair(&world, kind == OLD || kind == REMEMBERED);
    Oop value = new_pair(&world, kind == OLD);
    uint64_t ns = timed_loop(world.vm, object, value, n, kind);
    bench_check(kind == NONE || ref_same(oop_slot(object, 1), ref_of(value)), "not stored");
    bench_result(n, ns);
    bench_end(&world);
}

static void first(uint64_t n, bool stores) {
    BenchWorld world = bench_frozen(build);
    pn_young_reserve(world.vm, 256);
    Oop *objects = pn_mem_alloc(n * sizeof *objects);
    bench_check(objects != NULL, "no memory");
    for (uint64_t i = 0; i < n; i++) objects[i] = new_pair(&world, true);
    Oop value = new_pair(&world, false);
    uint64_t start = bench_now();
    if (stores) loop_over(world.vm, objects, value, n, true);
    if (!stores) loop_over(world.vm, objects, value, n, false);
    uint64_t ns = bench_now() - start;
    bench_check(!stores || world.vm->remembered->count >= n, "not remembered");
    bench_result(n, ns);
    pn_mem_free(objects);
    bench_end(&world);
}

static void run_none(uint64_t n) { repeated(n, NONE); }
static void run_bare(uint64_t n) { repeated(n, BARE); }
static void run_young(uint64_t n) { repeated(n, YOUNG); }
static void run_old(uint64_t n) { repeated(n, OLD); }
static void run_remembered(uint64_t n) { repeated(n, REMEMBERED); }
static void run_first(uint64_t n) { first(n, true); }
static void run_first_none(uint64_t n) { first(n, false); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {
        {"none", run_none},
        {"bare", run_bare},
        {"young", run_young},
        {"old", run_old},
        {"first", run_first},
        {"first-none", run_first_none},
        {"remembered", run_remembered},
    };
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
