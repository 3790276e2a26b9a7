// bench/budget/idle.c: workers that do nothing. A unit is one worker made and ended.
//
// bytes: n workers; prints what one holds as ns. together: n made, then all ended. each: one after the other.
#include "bench/budget/budget.h"

#include <stdatomic.h>

static void build(WorkerVm *vm) { (void)vm; }

static void run_bytes(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    size_t bytes = 0;
    for (uint64_t i = 0; i < n; i++) {
        WorkerVm *vm = pn_worker_new(world.layer);
        bench_check(vm != NULL, "no memory");
        bytes = pn_max(bytes, pn_worker_bytes(vm));
        pn_worker_free(vm);
    }
    bench_result(1, bytes);
    bench_end(&world);
}

static void run_together(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    WorkerVm **workers = pn_mem_alloc(n * sizeof *workers);
    bench_check(workers != NULL, "no memory");
    uint64_t start = bench_now();
    for (uint64_t i = 0; i < n; i++) workers[i] = pn_worker_new(world.layer);
    for (uint64_t i = 0; i < n; i++) pn_worker_free(workers[i]);
    uint64_t ns = bench_now() - start;
    bench_check(atomic_load(&world.layer->xcount) == 2, "a worker has not given the layer back");
    bench_result(n, ns);
    pn_mem_free(workers);
    bench_end(&world);
}

static void run_each(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    uint64_t start = bench_now();
    for (uint64_t i = 0; i < n; i++) pn_worker_free(pn_worker_new(world.layer));
    bench_result(n, bench_now() - start);
    bench_end(&world);
}

int main(int argc, char **argv) {
    static const BenchCase cases[] = {{"bytes", run_bytes}, {"together", run_together}, {"each", run_each}};
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
