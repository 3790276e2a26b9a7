// bench/budget/map.c: mapping a layer file that was checked before. A unit is one mapping; prints the median.
//
// 1mb, 100mb: n mappings of a file of that size. Another process (case write) makes the file, so that nothing of it is
// known here but what checking it has left. The file lies in a folder of its own in TMPDIR and is removed.
#include "bench/budget/budget.h"

#include <sys/wait.h>
#include <unistd.h>

#include "image/image.h"

enum { SLOTS = 127 }; // 1 KiB an object

static const char *file_name;
static size_t mega_bytes;

static void build(WorkerVm *vm) {
    size_t count = mega_bytes << 10;
    bench_set_global(vm, "Data", ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, count)));
    Oop data = bench_global(vm, "Data"); // old: stays where it is
    for (size_t i = 0; i < count; i++) {
        Oop o = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, SLOTS);
        pn_store(vm, o, 0, ref_from_int((int64_t)i));
        pn_store(vm, o, 1, i == 0 ? vm_nil(vm) : oop_slot(data, i - 1));
        pn_store(vm, data, i, ref_of(o));
    }
}

// n: mega bytes. The file's name comes from the process that asks.
static void run_write(uint64_t n) {
    mega_bytes = n;
    file_name = getenv("BENCH_FILE");
    bench_check(file_name != NULL, "BENCH_FILE is not set");
    PnError error = {0};
    BenchWorld world = bench_frozen(build);
    bench_check(pn_image_save(world.layer, file_name, &error) == PN_OK, "%s", error.text);
    bench_end(&world);
}

static void write_elsewhere(void) {
    char argument[20];
    snprintf(argument, sizeof argument, "%zu", mega_bytes);
    setenv("BENCH_FILE", file_name, 1);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "map", "write", argument, (char *)NULL);
        _exit(1);
    }
    int status = -1;
    bench_check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "no file was written");
}

static uint64_t map_once(bool must_be_checked) {
    PnImageChecks checks = {.check_bytecodes = pn_bytecodes_check};
    PnImageMapping how = {0};
    PnError error = {0};
    Layer *layer = NULL;
    uint64_t start = bench_clock();
    PnStatus status = pn_image_map_with(file_name, &checks, &layer, &how, &error);
    uint64_t ns = bench_clock() - start;
    bench_check(status == PN_OK, "%s", error.text);
    bench_check(!how.was_mapped && !how.relocated, "not mapped as it is");
    bench_check(!must_be_checked || how.was_checked, "checked again");
    bench_check(layer->objects.bytes >= mega_bytes << 20, "too small");
    pn_layer_release(layer);
    return ns;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// A folder of its own, which is also where image/ remembers what was checked.
static void make_folder(char *folder, size_t bytes) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, bytes, "%s/pando-bench-XXXXXX", parent != NULL ? parent : "/tmp");
    bench_check(mkdtemp(folder) != NULL, "no folder for the file");
    setenv("XDG_CACHE_HOME", folder, 1);
}

static void remove_folder(const char *folder) {
    static const char *const names[] = {"/layer.image", "/pando/checked", "/pando", ""};
    for (size_t i = 0; i < PN_COUNT_OF(names); i++) {
        char name[240];
        snprintf(name, sizeof name, "%s%s", folder, names[i]);
        remove(name);
    }
}

static void measure(uint64_t n, size_t mega) {
    char folder[200], name[220];
    make_folder(folder, sizeof folder);
    snprintf(name, sizeof name, "%s/layer.image", folder);
    file_name = name;
    mega_bytes = mega;
    write_elsewhere();
    uint64_t *times = pn_mem_alloc(n * sizeof *times);
    bench_check(times != NULL && n > 0, "no memory");
    map_once(false);
    for (uint64_t i = 0; i < n; i++) times[i] = map_once(true);
    qsort(times, n, sizeof *times, compare);
    bench_result(1, times[n / 2]);
    pn_mem_free(times);
    remove_folder(folder);
}

static void run_1mb(uint64_t n) { measure(n, 1); }
static void run_100mb(uint64_t n) { measure(n, 100); }

int main(int argc, char **argv) {
    static const BenchCase cases[] = {{"write", run_write}, {"1mb", run_1mb}, {"100mb", run_100mb}};
    return bench_main(argc, argv, cases, PN_COUNT_OF(cases));
}
