// bench/budget/sends.c: a send from one site to receivers of 1, 4 and 64 classes, private and shared. A unit is one send.
//
// The loop fetches receivers from an array of 64 and sends #step to each; in the case `none` it only fetches them.
//   step   ^count: as little as can be, so that it is the send that is measured
#include "bench/budget/budget.h"

enum { RECEIVERS = 64 };

static void build_step(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_inst(a, 0);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "step");
}

// run: receivers times: n    n times, for each of the receivers: send it #step (or not), add 1 to the answer.
static void build_run(WorkerVm *vm, const char *selector, bool sends) {
    Asm *a = pn_asm(vm, 2, 4); // receivers, n; outer counter, inner counter, inner limit, answer
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 5, true);
    pn_asm_push_int(a, RECEIVERS);
    pn_asm_store_temp(a, 4, true);
    BenchLoop outer = bench_loop_begin(a, 2, 1);
    BenchLoop inner = bench_loop_begin(a, 3, 4);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 3);
    pn_asm_send(a, "at:", 1);
    if (sends) pn_asm_send(a, "step", 0);
    pn_asm_store_temp(a, 5, true);
    bench_loop_end(a, inner);
    bench_loop_end(a, outer);
    pn_asm_push_temp(a, 5);
    pn_asm_return_top(a);
    pn_asm_install(a, pn_asm_class_named(vm, "Object"), selector);
}

static void build(WorkerVm *vm) {
    Oop object_class = pn_asm_class_named(vm, "Object");
    bench_set_global(vm, "Receivers", ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, RECEIVERS)));
    for (size_t i = 0; i < RECEIVERS; i++) {
        char name[20];
        snprintf(name, sizeof name, "Receiver%zu", i);
        Oop class_object = pn_asm_class(vm, name, object_class, 1);
        build_step(vm, class_object);
        Oop receiver = pn_asm_instance(vm, class_object);
        pn_store(vm, receiver, 0, ref_from_int(42));
        pn_store(vm, bench_global(vm, "Receivers"), i, ref_of(receiver));
    }
    build_run(vm, "run:times:", true);
    build_run(vm, "fetch:times:", false);
    bench_build_unrelated(vm, 1000);
}

// A private array of receivers of so many classes, private instances or those of the layer.
static void fill(WorkerVm *vm, Root *array, size_t classes, bool shared) {
    pn_root_push(vm, array, ref_of(pn_new_array(vm, RECEIVERS)));
    for (size_t i = 0; i < RECEIVERS; i++) {
        Oop model = pn_slot(vm, bench_global(vm, "Receivers"), i % classes);
        Oop receiver = shared ? model : pn_asm_instance(vm, pn_class_of(vm, model));
        if (!shared) pn_store(vm, receiver, 0, ref_from_int(42));
        pn_store(vm, pn_deref(vm, array->ref), i, ref_of(receiver));
    }
}

static void measure(uint64_t n, const char *selector, size_t classes, bool shared, size_t copies) {
    BenchWorld world = bench_frozen(build);
    bench_copy_unrelated(world.vm, copies);
    Root array;
    fill(world.vm, &array, classes, shared);
    Ref arguments[] = {array.ref, ref_from_int((int64_t)n)};
    uint64_t start = bench_now();
    Ref result = bench_send(&world, vm_nil(world.vm), selector, 2, arguments);
    uint64_t ns = bench_now() - start;
    bool sends = selector[0] == 'r';
    bench_check(ref_is_int(result) == sends && (!sends || ref_int(result) == 42), "wrong answer of %s", selector);
    bench_result(n * RECEIVERS, ns);
    pn_root_pop(world.vm, &array);
    bench_end(&world);
}

static void run_none(uint64_t n) { measure(n, "fetch:times:", 1, false, 0); }
static void run_mono(uint64_t n) { measure(n, "run:times:", 1, false, 0); }
static void run_poly(uint64_t n) { measure(n, "run:times:", 4, false, 0); }
static void run_mega(uint64_t n) { measure(n, "run:times:", 64, false, 0); }
static void run_shared(uint64_t n) { measure(n, "run:times:", 1, true, 0); }
static void run_shared_copies(uint64_t n) { measure(n, "run:times:", 1, true, 1000); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {
        {"none", run_none}, {"mono", run_mono},     {"poly", run_poly},
        {"mega", run_mega}, {"shared", run_shared}, {"shared-copies", run_shared_copies},
    };
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
