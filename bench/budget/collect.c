// bench/budget/collect.c: a young collection with 64 KiB of eden of which 5 % survive. A unit is one collection.
//
// Prints the median of n collections. A new array holds every twentieth object; it dies before the next round.
#include "bench/budget/budget.h"

enum { EDEN_BYTES = 64 << 10, OBJECT_BYTES = 32, OBJECTS = EDEN_BYTES / OBJECT_BYTES, KEPT = OBJECTS / 20 };
enum { ROUND_BYTES = EDEN_BYTES + 8 * (KEPT + 2) };

static void build(WorkerVm *vm) { pn_asm_class(vm, "Triple", pn_asm_class_named(vm, "Object"), 3); }

static void fill(WorkerVm *vm, uint32_t index, Root *kept) {
    kept->ref = ref_of(pn_new_array(vm, KEPT));
    for (size_t i = 0; i < OBJECTS; i++) {
        Oop o = pn_new(vm, index, PN_FMT_FIXED, 3);
        pn_store(vm, o, 0, ref_from_int((int64_t)i));
        if (i % 20 == 0 && i / 20 < KEPT) pn_store(vm, pn_deref(vm, kept->ref), i / 20, ref_of(o));
    }
}

static void check(WorkerVm *vm, Ref kept) {
    for (size_t i = 0; i < KEPT; i++) {
        Oop o = pn_slot(vm, pn_deref(vm, kept), i);
        bench_check(ref_int(oop_slot(o, 0)) == (int64_t)i * 20, "object %zu is lost", i);
    }
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void run_median(uint64_t n) {
    BenchWorld world = bench_frozen(build);
    uint32_t index = pn_class_index(world.vm, bench_class(&world, "Triple"));
    uint64_t *times = pn_mem_alloc(n * sizeof *times);
    bench_check(times != NULL && n > 0, "no memory");
    Root kept;
    pn_root_push(world.vm, &kept, vm_nil(world.vm));
    for (uint64_t i = 0; i < n; i++) {
        bench_check(pn_young_reserve(world.vm, ROUND_BYTES), "no memory");
        uint64_t before = pn_gc_stats(world.vm).young_collections;
        fill(world.vm, index, &kept);
        uint64_t start = bench_clock();
        pn_collect_young(world.vm);
        times[i] = bench_clock() - start;
        bench_check(pn_gc_stats(world.vm).young_collections == before + 1, "collected while eden was filled");
        check(world.vm, kept.ref);
    }
    qsort(times, n, sizeof *times, compare);
    bench_result(1, times[n / 2]);
    pn_mem_free(times);
    pn_root_pop(world.vm, &kept);
    bench_end(&world);
}

int main(int argc, char **argv) {
    static const BenchCase cases[] = {{"median", run_median}};
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
