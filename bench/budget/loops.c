// bench/budget/loops.c: field access and array access in loops, for copy on write against COW=0. A unit is one round.
//
//   fields: n          1 to: n do: [:i | a := a + i. b := a]. ^b
//   array: array times: n   n times: 1 to: 64 do: [:i | array at: i put: (array at: i) + 1]. ^array at: 64
#include "bench/budget/budget.h"

enum { ELEMENTS = 64 };

static void build_fields(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 1);
    BenchLoop loop = bench_loop_begin(a, 1, 0);
    pn_asm_push_inst(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_inst(a, 0, true);
    pn_asm_push_inst(a, 0);
    pn_asm_store_inst(a, 1, true);
    bench_loop_end(a, loop);
    pn_asm_push_inst(a, 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "fields:");
}

static void build_arrays(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 2, 3);
    pn_asm_push_int(a, ELEMENTS);
    pn_asm_store_temp(a, 4, true);
    BenchLoop outer = bench_loop_begin(a, 2, 1);
    BenchLoop inner = bench_loop_begin(a, 3, 4);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 3);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 3);
    pn_asm_send(a, "at:", 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_send(a, "at:put:", 2);
    pn_asm_pop(a);
    bench_loop_end(a, inner);
    bench_loop_end(a, outer);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 4);
    pn_asm_send(a, "at:", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "array:times:");
}

static void build(WorkerVm *vm) {
    Oop class_object = pn_asm_class(vm, "Looper", pn_asm_class_named(vm, "Object"), 2);
    build_fields(vm, class_object);
    build_arrays(vm, class_object);
    bench_build_unrelated(vm, 1000);
}

static BenchWorld begin(size_t copies, Root *looper) {
    BenchWorld world = bench_frozen(build);
    bench_copy_unrelated(world.vm, copies);
    Oop instance = pn_asm_instance(world.vm, bench_class(&world, "Looper"));
    pn_store(world.vm, instance, 0, ref_from_int(0));
    pn_root_push(world.vm, looper, ref_of(instance));
    return world;
}

static void finish(BenchWorld *world, Root *looper, int64_t expected, Ref result, uint64_t units, uint64_t ns) {
    bench_check(ref_is_int(result) && ref_int(result) == expected, "wrong answer");
    bench_result(units, ns);
    pn_root_pop(world->vm, looper);
    bench_end(world);
}

static void fields(uint64_t n, size_t copies) {
    Root looper;
    BenchWorld world = begin(copies, &looper);
    Ref argument = ref_from_int((int64_t)n);
    uint64_t start = bench_now();
    Ref result = bench_send(&world, looper.ref, "fields:", 1, &argument);
    finish(&world, &looper, (int64_t)(n * (n + 1) / 2), result, n, bench_now() - start);
}

static void arrays(uint64_t n, size_t copies) {
    Root looper;
    BenchWorld world = begin(copies, &looper);
    Oop array = pn_new_array(world.vm, ELEMENTS);
    for (size_t i = 0; i < ELEMENTS; i++) pn_store(world.vm, array, i, ref_from_int(0));
    Ref arguments[] = {ref_of(array), ref_from_int((int64_t)n)};
    uint64_t start = bench_now();
    Ref result = bench_send(&world, looper.ref, "array:times:", 2, arguments);
    finish(&world, &looper, (int64_t)n, result, n * ELEMENTS, bench_now() - start);
}

static void run_fields(uint64_t n) { fields(n, 0); }
static void run_fields_copies(uint64_t n) { fields(n, 1000); }
static void run_arrays(uint64_t n) { arrays(n, 0); }
static void run_arrays_copies(uint64_t n) { arrays(n, 1000); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {
        {"fields", run_fields},
        {"fields-copies", run_fields_copies},
        {"arrays", run_arrays},
        {"arrays-copies", run_arrays_copies},
    };
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
