// bench/budget/budget.c: see bench/budget/budget.h.
#include "bench/budget/budget.h"

#include <time.h>

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t bench_now(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }
uint64_t bench_clock(void) { return read_clock(CLOCK_MONOTONIC); }

void bench_result(uint64_t units, uint64_t ns) {
    printf("units %llu ns %llu\n", (unsigned long long)units, (unsigned long long)ns);
}

int bench_main(int argc, char **argv, const BenchCase *cases, size_t count) {
    PnError error = {0};
    bench_check(pn_process_init(&error) == PN_OK, "%s", error.text);
    pn_interp_init();
    for (size_t i = 0; argc == 3 && i < count; i++) {
        if (strcmp(argv[1], cases[i].name) != 0) continue;
        cases[i].run(strtoull(argv[2], NULL, 10));
        return 0;
    }
    fprintf(stderr, "usage: %s CASE N, the cases being", argv[0]);
    for (size_t i = 0; i < count; i++) fprintf(stderr, " %s", cases[i].name);
    fprintf(stderr, "\n");
    return 2;
}

// ---- Worlds ---------------------------------------------------------------------------------------------------

BenchWorld bench_private(void (*build)(WorkerVm *vm)) {
    PnError error = {0};
    BenchWorld world = {.vm = pn_boot(&error), .thread = pn_thread_new()};
    bench_check(world.vm != NULL && world.thread != NULL, "no worker: %s", error.text);
    pn_asm_kernel(world.vm);
    build(world.vm);
    return world;
}

BenchWorld bench_frozen(void (*build)(WorkerVm *vm)) {
    PnError error = {0};
    BenchWorld world = bench_private(build);
    bench_check(pn_freeze(world.vm, &world.layer, &error) == PN_OK, "%s", error.text);
    pn_worker_free(world.vm);
    world.vm = pn_worker_new(world.layer);
    bench_check(world.vm != NULL, "no worker");
    if (!PN_COW) bench_check(pn_thaw(world.vm, &error) == PN_OK, "%s", error.text);
    return world;
}

void bench_end(BenchWorld *world) {
    pn_worker_free(world->vm);
    pn_thread_free(world->thread);
    if (world->layer != NULL) pn_layer_release(world->layer);
}

Ref bench_send(BenchWorld *world, Ref receiver, const char *selector, size_t count, const Ref *arguments) {
    PnError error = {0};
    Ref result = PN_NO_REF;
    PnStatus status = pn_send(world->thread, world->vm, receiver, pn_symbol_z(selector), arguments, count, &result,
                              &error);
    bench_check(status == PN_OK, "%s: %s", selector, error.text);
    return result;
}

Oop bench_class(BenchWorld *world, const char *name) {
    Oop class_object = pn_asm_class_named(world->vm, name);
    bench_check(!oop_is_none(class_object), "no class %s", name);
    return class_object;
}

Oop bench_global(WorkerVm *vm, const char *name) { return pn_slot(vm, pn_global(vm, name), PN_BINDING_VALUE); }

void bench_set_global(WorkerVm *vm, const char *name, Ref value) {
    Oop binding = pn_global(vm, name);
    bool writable = pn_make_writable(vm, &binding) == PN_WRITABLE;
    bench_check(writable && pn_store(vm, binding, PN_BINDING_VALUE, value) == PN_WRITABLE, "cannot set %s", name);
}

// ---- Objects --------------------------------------------------------------------------------------------------

void bench_build_instances(WorkerVm *vm, const char *global, Oop class_object, size_t count) {
    bench_set_global(vm, global, ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, count)));
    for (size_t i = 0; i < count; i++) {
        Oop instance = pn_asm_instance(vm, class_object);
        pn_store(vm, bench_global(vm, global), i, ref_of(instance));
    }
}

void bench_build_unrelated(WorkerVm *vm, size_t count) {
    Oop class_object = pn_asm_class(vm, "Unrelated", pn_asm_class_named(vm, "Object"), 2);
    bench_build_instances(vm, "UnrelatedOnes", class_object, count);
}

void bench_copy_unrelated(WorkerVm *vm, size_t count) {
    Oop all = bench_global(vm, "UnrelatedOnes");
    for (size_t i = 0; i < count; i++) {
        Oop one = pn_slot(vm, all, i);
        bench_check(pn_make_writable(vm, &one) == PN_WRITABLE, "cannot copy");
    }
    bench_check(!PN_COW || pn_more(vm)->copies >= count, "only %llu copies", (unsigned long long)pn_more(vm)->copies);
}

// ---- Loops ----------------------------------------------------------------------------------------------------

BenchLoop bench_loop_begin(Asm *a, uint32_t counter_temp, uint32_t limit_temp) {
    BenchLoop loop = {.counter = counter_temp, .limit = limit_temp, .top = pn_asm_label(a), .end = pn_asm_label(a)};
    pn_asm_push_int(a, 1);
    pn_asm_store_temp(a, loop.counter, true);
    pn_asm_bind(a, loop.top);
    pn_asm_push_temp(a, loop.counter);
    pn_asm_push_temp(a, loop.limit);
    pn_asm_send(a, "<=", 1);
    pn_asm_jump_false(a, loop.end);
    return loop;
}

void bench_loop_end(Asm *a, BenchLoop loop) {
    pn_asm_push_temp(a, loop.counter);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, loop.counter, true);
    pn_asm_jump(a, loop.top);
    pn_asm_bind(a, loop.end);
}
