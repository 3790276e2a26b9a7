// bench/budget/first_write.c: the first write to a shared 5-slot object. A unit is one write to an object not yet copied.
//
// sequential, random: in which order the objects of the layer are written; deep: in order, under 1,000,000 frames.
//   poke          last := 7
//   pokeAll: a    1 to: a size do: [:i | (a at: i) poke]
//   descend: n    n = 0 ifTrue: [^self wait]. ^1 + (self descend: n - 1)
//   wait          [Stage == 0] whileTrue: [self yourself]. self pokeAll: Objects. Stage := 2. [Stage == 2] whileTrue: [...]. ^0
// The program steps the worker from safepoint to safepoint and sets Stage, so that only pokeAll: is timed.
#include "bench/budget/budget.h"

enum { DEPTH = 1000000 };

static void build_poke(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, 7);
    pn_asm_store_inst(a, 4, true);
    pn_asm_return_self(a);
    pn_asm_install(a, class_object, "poke");
}

static void build_poke_all(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 2);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "size", 0);
    pn_asm_store_temp(a, 2, true);
    BenchLoop loop = bench_loop_begin(a, 1, 2);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "at:", 1);
    pn_asm_send(a, "poke", 0);
    pn_asm_pop(a);
    bench_loop_end(a, loop);
    pn_asm_return_self(a);
    pn_asm_install(a, class_object, "pokeAll:");
}

static void while_stage(WorkerVm *vm, Asm *a, int stage) {
    AsmLabel top = pn_asm_label(a), end = pn_asm_label(a);
    pn_asm_bind(a, top);
    pn_asm_push_global(a, pn_global(vm, "Stage"));
    pn_asm_push_int(a, stage);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, end);
    pn_asm_jump(a, top);
    pn_asm_bind(a, end);
}

static void build_wait(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, 0);
    pn_asm_store_global(a, pn_global(vm, "Stage"), true); // the binding is copied now, not in the measured part
    while_stage(vm, a, 0);
    pn_asm_push_self(a);
    pn_asm_push_global(a, pn_global(vm, "Objects"));
    pn_asm_send(a, "pokeAll:", 1);
    pn_asm_pop(a);
    pn_asm_push_int(a, 2);
    pn_asm_store_global(a, pn_global(vm, "Stage"), true);
    while_stage(vm, a, 2);
    pn_asm_push_int(a, 0);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "wait");
}

static void build_descend(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel recur = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, recur);
    pn_asm_push_self(a);
    pn_asm_send(a, "wait", 0);
    pn_asm_return_top(a);
    pn_asm_bind(a, recur);
    pn_asm_push_int(a, 1);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_send(a, "descend:", 1);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "descend:");
}

static size_t object_count;
static bool shuffled;

static void shuffle(WorkerVm *vm, Oop array, size_t count) {
    uint64_t state = 42;
    for (size_t i = count; i > 1; i--) {
        size_t other = pn_random(&state) % i;
        Ref r = oop_slot(array, i - 1);
        pn_store(vm, array, i - 1, oop_slot(array, other));
        pn_store(vm, array, other, r);
    }
}

static void build(WorkerVm *vm) {
    Oop five = pn_asm_class(vm, "Five", pn_asm_class_named(vm, "Object"), 5);
    Oop writer = pn_asm_class(vm, "Writer", pn_asm_class_named(vm, "Object"), 0);
    build_poke(vm, five);
    build_poke_all(vm, writer);
    build_wait(vm, writer);
    build_descend(vm, writer);
    bench_build_instances(vm, "Objects", five, object_count);
    if (shuffled) shuffle(vm, bench_global(vm, "Objects"), object_count);
}

static void check_written(WorkerVm *vm) {
    Oop objects = bench_global(vm, "Objects");
    for (size_t i = 0; i < object_count; i++) {
        bench_check(ref_same(oop_slot(pn_slot(vm, objects, i), 4), ref_from_int(7)), "object %zu was not written", i);
    }
    bench_check(!PN_COW || pn_more(vm)->copies >= object_count, "too few copies");
}

static int64_t stage(WorkerVm *vm) {
    Ref value = ref_of(bench_global(vm, "Stage"));
    return ref_is_int(value) ? ref_int(value) : -1;
}

static void run_until(BenchWorld *world, int64_t wanted) {
    while (stage(world->vm) != wanted) {
        pn_request_stop(world->vm);
        bench_check(pn_run(world->thread, world->vm) == PN_LEAVE_SAFEPOINT, "left before stage %d", (int)wanted);
    }
}

static void measure(uint64_t n, bool random, uint64_t depth) {
    object_count = n;
    shuffled = random;
    BenchWorld world = bench_frozen(build);
    WorkerVm *vm = world.vm;
    Ref argument = ref_from_int((int64_t)depth);
    Oop writer = pn_asm_instance(vm, bench_class(&world, "Writer"));
    bench_check(pn_start_send(vm, ref_of(writer), pn_symbol_z("descend:"), &argument, 1) == PN_OK, "cannot start");
    run_until(&world, 0);
    bench_set_global(vm, "Stage", ref_from_int(1));
    uint64_t start = bench_now();
    run_until(&world, 2);
    uint64_t ns = bench_now() - start;
    check_written(vm);
    bench_set_global(vm, "Stage", ref_from_int(3));
    while (pn_run(world.thread, vm) == PN_LEAVE_SAFEPOINT) {}
    bench_check(vm->state == PN_WORKER_FINISHED && ref_same(vm->result, argument), "wrong answer");
    bench_result(n, ns);
    bench_end(&world);
}

static void run_sequential(uint64_t n) { measure(n, false, 0); }
static void run_random(uint64_t n) { measure(n, true, 0); }
static void run_deep(uint64_t n) { measure(n, false, DEPTH); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {{"sequential", run_sequential}, {"random", run_random}, {"deep", run_deep}};
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
