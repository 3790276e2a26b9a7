// bench/budget/allocation.c: a 3-slot object that dies young, from C and from bytecode. A unit is one object.
//
// none is the empty loop around `c`; loop the empty loop around `new`.
#include "bench/budget/budget.h"

static void build(WorkerVm *vm) {
    pn_asm_class(vm, "Triple", pn_asm_class_named(vm, "Object"), 3);
    for (int allocates = 0; allocates <= 1; allocates++) {
        Asm *a = pn_asm(vm, 2, 2); // class, n; counter, newest
        BenchLoop loop = bench_loop_begin(a, 2, 1);
        pn_asm_push_temp(a, 0);
        if (allocates) pn_asm_send(a, "new", 0);
        pn_asm_store_temp(a, 3, true);
        bench_loop_end(a, loop);
        pn_asm_push_temp(a, 3);
        pn_asm_return_top(a);
        pn_asm_install(a, pn_asm_class_named(vm, "Object"), allocates ? "new:times:" : "loop:times:");
    }
}

// What an allocation site in C is: the bump, the slots, and the general function when eden is full.
static inline Oop allocate(WorkerVm *vm, uint64_t header, uint32_t index, Ref nil) {
    Oop o = pn_young_try(vm, header, 3);
    if (PN_UNLIKELY(oop_is_none(o))) return pn_new(vm, index, PN_FMT_FIXED, 3);
    for (size_t i = 0; i < 3; i++) oop_init_slot(o, i, nil);
    return o;
}

static inline __attribute__((always_inline)) Oop loop(WorkerVm *vm, uint32_t index, uint64_t n, bool allocates) {
    uint64_t header = pn_header(3, 0, PN_FMT_FIXED, index);
    Ref nil = vm_nil(vm);
    Oop newest = PN_NO_OOP;
#pragma GCC unroll 1
    for (uint64_t i = 0; i < n; i++) {
        if (allocates) newest = allocate(vm, header, index, nil);
        __asm__ volatile("" : "+r"(newest.bits) : : "memory");
    }
    return newest;
}

static void from_c(uint64_t n, bool allocates) {
    BenchWorld world = bench_frozen(build);
    uint32_t index = pn_class_index(world.vm, bench_class(&world, "Triple"));
    uint64_t start = bench_now();
    Oop newest = allocates ? loop(world.vm, index, n, true) : loop(world.vm, index, n, false);
    uint64_t ns = bench_now() - start;
    bench_check(!allocates || (oop_class_index(newest) == index && ref_same(oop_slot(newest, 2), vm_nil(world.vm))),
                "wrong object");
    bench_result(n, ns);
    bench_end(&world);
}

static void from_bytecode(uint64_t n, bool allocates) {
    BenchWorld world = bench_frozen(build);
    Ref arguments[] = {ref_of(bench_class(&world, "Triple")), ref_from_int((int64_t)n)};
    uint64_t start = bench_now();
    Ref result = bench_send(&world, vm_nil(world.vm), allocates ? "new:times:" : "loop:times:", 2, arguments);
    uint64_t ns = bench_now() - start;
    bench_check(allocates == (oop_slot_count(pn_deref(world.vm, result)) == 3), "wrong object");
    bench_result(n, ns);
    bench_end(&world);
}

static void run_none(uint64_t n) { from_c(n, false); }
static void run_c(uint64_t n) { from_c(n, true); }
static void run_loop(uint64_t n) { from_bytecode(n, false); }
static void run_new(uint64_t n) { from_bytecode(n, true); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {{"none", run_none}, {"c", run_c}, {"loop", run_loop}, {"new", run_new}};
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
