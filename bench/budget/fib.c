// bench/budget/fib.c: calls. A unit is one call of fib:, which is one real send and eleven bytecodes on average.
//
//   fib: n   n < 2 ifTrue: [^n]. ^(self fib: n - 1) + (self fib: n - 2)
//
// frozen: code in a layer; private: code of the worker; shared: frozen, and the receiver lies in the layer too;
// copies: frozen, 1,000 unrelated objects have been copied.
#include "bench/budget/budget.h"

static void build(WorkerVm *vm) {
    Oop class_object = pn_asm_class(vm, "Fibber", pn_asm_class_named(vm, "Object"), 0);
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel recur = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 2);
    pn_asm_send(a, "<", 1);
    pn_asm_jump_false(a, recur);
    pn_asm_push_temp(a, 0);
    pn_asm_return_top(a);
    pn_asm_bind(a, recur);
    for (int less = 1; less <= 2; less++) {
        pn_asm_push_self(a);
        pn_asm_push_temp(a, 0);
        pn_asm_push_int(a, less);
        pn_asm_send(a, "-", 1);
        pn_asm_send(a, "fib:", 1);
    }
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "fib:");
    bench_build_instances(vm, "Fibbers", class_object, 1);
    bench_build_unrelated(vm, 1000);
}

typedef struct Expected {
    uint64_t value, calls;
} Expected;

static Expected expected(uint64_t n) {
    Expected one = {0, 1}, next = {1, 1};
    for (uint64_t i = 0; i < n; i++) {
        Expected sum = {one.value + next.value, one.calls + next.calls + 1};
        one = next;
        next = sum;
    }
    return one;
}

static void measure(BenchWorld *world, Ref receiver, uint64_t n) {
    Ref argument = ref_from_int((int64_t)n);
    uint64_t start = bench_now();
    Ref result = bench_send(world, receiver, "fib:", 1, &argument);
    uint64_t ns = bench_now() - start;
    bench_check(ref_int(result) == (int64_t)expected(n).value, "fib: %llu", (unsigned long long)n);
    bench_result(expected(n).calls, ns);
    bench_end(world);
}

static void run_private(uint64_t n) {
    BenchWorld world = bench_private(build);
    measure(&world, ref_of(pn_asm_instance(world.vm, bench_class(&world, "Fibber"))), n);
}

static void run_frozen(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    measure(&world, ref_of(pn_asm_instance(world.vm, bench_class(&world, "Fibber"))), n);
}

static void run_shared(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    measure(&world, ref_of(pn_slot(world.vm, bench_global(world.vm, "Fibbers"), 0)), n);
}

static void run_copies(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    bench_copy_unrelated(world.vm, 1000);
    measure(&world, ref_of(pn_asm_instance(world.vm, bench_class(&world, "Fibber"))), n);
}

int main(int argc, char **argv) {
    static const BenchCase cases[] = {
        {"private", run_private},
        {"frozen", run_frozen},
        {"shared", run_shared},
        {"copies", run_copies},
    };
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
