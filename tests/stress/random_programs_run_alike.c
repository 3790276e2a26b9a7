// Random programs leave the same trace however their objects lie: on a layer, in a private heap, with every shared
// object copied at its first touch, with a collection at every allocation.
#include "tests/support.h"

#include "tests/support/random_method.h"

static void run_on(WorkerVm *vm, uint64_t seed, const char *way, char trace[RANDOM_TRACE_BYTES]) {
    bool ended = random_program_run(test_thread(), vm, trace);
    test_check(ended, "program %llu, %s: %s", (unsigned long long)seed, way, trace);
    test_verify(vm);
}

static void run_private(uint64_t seed, const char *options, char trace[RANDOM_TRACE_BYTES]) {
    WorkerVm *vm = test_boot_kernel();
    random_program_build(vm, seed);
    PnOptions saved = test_options(options);
    run_on(vm, seed, options, trace);
    test_options_restore(saved);
    pn_worker_free(vm);
}

static void run_on_layer(uint64_t seed, const char *options, char trace[RANDOM_TRACE_BYTES]) {
    WorkerVm *builder = test_boot_kernel();
    random_program_build(builder, seed);
    Layer *layer = test_freeze(builder);
    pn_worker_free(builder);
    PnOptions saved = test_options(options);
    WorkerVm *vm = test_worker_on(layer);
    run_on(vm, seed, options, trace);
    test_options_restore(saved);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void compare(uint64_t seed, const char *way, const char *expected, const char *trace) {
    test_check(strcmp(trace, expected) == 0, "program %llu, %s:\n%s\ninstead of\n%s", (unsigned long long)seed, way,
               trace, expected);
}

static void compare_all_ways(uint64_t seed) {
    char expected[RANDOM_TRACE_BYTES], trace[RANDOM_TRACE_BYTES];
    run_private(seed, "", expected);
    run_private(seed, "stress-gc=1", trace);
    compare(seed, "private, collecting always", expected, trace);
    run_on_layer(seed, "", trace);
    compare(seed, "on a layer", expected, trace);
    run_on_layer(seed, "copy-all", trace);
    compare(seed, "on a layer, copying everything", expected, trace);
    run_on_layer(seed, "stress-gc=1", trace);
    compare(seed, "on a layer, collecting always", expected, trace);
}

static void programs_run_alike(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (size_t i = 0; i < 4 * test_rounds(); i++) compare_all_ways(seed + i);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(programs_run_alike)};
    return test_run(tests);
}
