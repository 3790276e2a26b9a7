// heap/window.c: the shared window: its reservation, and which parts of it are taken.
//
// Owns: the mapping of the whole window; for each of three parts a bitmap of the units that are taken, under one mutex.
// The pages behind taken addresses belong to whoever took them (heap/layer.c, heap/code.c, image/); symbols are mapped
// by heap/symbol.c. Any thread.
// Invariants: W1, W2 (heap/window.h).
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "heap/heap_int.h"

// Private code is short: its part is given out in pages, so that as many workers as possible can have some.
#define PN_PRIVATE_CODE_UNIT ((size_t)4 << 10)

typedef struct PartMap {
    uint64_t start;
    size_t unit;       // bytes
    size_t unit_count; // a multiple of 64
    uint64_t *taken;   // one bit for each unit
    size_t first_free; // no unit below is free
} PartMap;

static uint64_t objects_taken[PN_LAYER_OBJECTS_BYTES / PN_WINDOW_GRANULE / 64];
static uint64_t code_taken[PN_LAYER_CODE_BYTES / PN_WINDOW_GRANULE / 64];
static uint64_t private_code_taken[PN_PRIVATE_CODE_BYTES / PN_PRIVATE_CODE_UNIT / 64];

static pthread_mutex_t parts_mutex = PTHREAD_MUTEX_INITIALIZER;
static PartMap parts[] = {
    // under parts_mutex
    [PN_PART_OBJECTS] = {PN_LAYER_OBJECTS, PN_WINDOW_GRANULE, 64 * PN_COUNT_OF(objects_taken), objects_taken, 0},
    [PN_PART_CODE] = {PN_LAYER_CODE, PN_WINDOW_GRANULE, 64 * PN_COUNT_OF(code_taken), code_taken, 0},
    [PN_PART_PRIVATE_CODE] = {PN_PRIVATE_CODE, PN_PRIVATE_CODE_UNIT, 64 * PN_COUNT_OF(private_code_taken),
                              private_code_taken, 0},
};

// ---- Bitmaps ------------------------------------------------------------------------------------

static bool unit_is_taken(const PartMap *p, size_t unit) { return (p->taken[unit / 64] >> unit % 64 & 1) != 0; }

// The first unit from `from` on that is taken (or free), or the end of the part.
static size_t next_unit(const PartMap *p, size_t from, bool taken) {
    uint64_t flip = taken ? 0 : ~UINT64_C(0);
    for (size_t word = from / 64; word < p->unit_count / 64; word++) {
        uint64_t found = p->taken[word] ^ flip;
        if (word == from / 64) found &= ~UINT64_C(0) << from % 64;
        if (found != 0) return 64 * word + (size_t)__builtin_ctzll(found);
    }
    return p->unit_count;
}

static bool units_are_free(const PartMap *p, size_t first, size_t count) {
    return count <= p->unit_count && first <= p->unit_count - count && next_unit(p, first, true) >= first + count;
}

// First fit. The end of the part if nothing fits.
static size_t find_free(PartMap *p, size_t count) {
    size_t first = p->first_free = next_unit(p, p->first_free, false);
    while (first < p->unit_count && !units_are_free(p, first, count))
        first = next_unit(p, next_unit(p, first, true), false);
    return first;
}

static void mark_units(PartMap *p, size_t first, size_t count, bool taken) {
    for (size_t unit = first; unit < first + count; unit++) {
        PN_CHECK(unit_is_taken(p, unit) != taken, "window: unit %zu of the part at %#lx is %s already", unit,
                 (unsigned long)p->start, taken ? "taken" : "free");
        p->taken[unit / 64] ^= UINT64_C(1) << unit % 64;
    }
}

static size_t unit_of(const PartMap *p, uint64_t address) {
    uint64_t offset = address - p->start;
    bool starts_unit = offset % p->unit == 0 && offset / p->unit < p->unit_count;
    return starts_unit ? (size_t)(offset / p->unit) : p->unit_count;
}

uint64_t pn_window_take(PnWindowPart part, uint64_t wanted, size_t bytes) {
    PartMap *p = &parts[part];
    size_t count = (pn_max(bytes, 1) - 1) / p->unit + 1;
    pthread_mutex_lock(&parts_mutex);
    size_t first = unit_of(p, wanted);
    if (!units_are_free(p, first, count)) first = find_free(p, count);
    bool found = first < p->unit_count;
    if (found) mark_units(p, first, count, true);
    pthread_mutex_unlock(&parts_mutex);
    return found ? p->start + first * p->unit : 0;
}

// ---- Mapping ------------------------------------------------------------------------------------

static void *map_nothing(uint64_t address, size_t bytes, int how) {
    return mmap((void *)(uintptr_t)address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0);
}

// Pages of private code stay mapped: they are written again soon, and giving them back would interrupt other cores.
static void unmap_units(PnWindowPart part, uint64_t address, size_t bytes) {
    if (part == PN_PART_PRIVATE_CODE) return;
    void *at = map_nothing(address, bytes, MAP_FIXED);
    PN_CHECK(at != MAP_FAILED, "cannot unmap %zu bytes at %#lx: %s", bytes, (unsigned long)address, strerror(errno));
}

void pn_window_give(PnWindowPart part, uint64_t address, size_t bytes) {
    PartMap *p = &parts[part];
    size_t first = unit_of(p, address);
    size_t count = (pn_max(bytes, 1) - 1) / p->unit + 1;
    unmap_units(part, address, count * p->unit);
    pthread_mutex_lock(&parts_mutex);
    mark_units(p, first, count, false);
    p->first_free = pn_min(p->first_free, first);
    pthread_mutex_unlock(&parts_mutex);
}

void *pn_zero_pages(size_t bytes, bool writable) {
    void *pages = mmap(NULL, bytes, PROT_READ | (writable ? PROT_WRITE : 0),
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages != MAP_FAILED ? pages : NULL;
}

bool pn_reserve_file(int fd, uint64_t offset, uint64_t bytes) {
    int why;
    do { why = posix_fallocate(fd, (off_t)offset, (off_t)bytes); } while (why == EINTR);
    return why == 0;
}

// ---- Start --------------------------------------------------------------------------------------

static PnStatus reserve_window(PnError *error) {
    void *wanted = (void *)(uintptr_t)PN_WINDOW;
    void *got = map_nothing(PN_WINDOW, PN_WINDOW_BYTES, MAP_FIXED_NOREPLACE);
    if (got == wanted) return PN_OK;
    int why = got == MAP_FAILED ? errno : EEXIST;
    if (got != MAP_FAILED) munmap(got, PN_WINDOW_BYTES); // kernels before 4.17 take the address for a hint
    return pn_error(
        error, PN_NO_MEMORY, 0,
        "cannot reserve %lu GiB of addresses at %p for the shared window: %s (is the address space limited? "
        "see ulimit -v)",
        (unsigned long)(PN_WINDOW_BYTES / PN_GIB), wanted, strerror(why));
}

// W2: private bytecodes are written by their only owner, at their window address.
static PnStatus map_private_code(PnError *error) {
    void *at = mmap((void *)(uintptr_t)PN_PRIVATE_CODE, PN_PRIVATE_CODE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (at != MAP_FAILED) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "cannot map memory for private code: %s", strerror(errno));
}

static PnStatus start_process(PnError *error) {
    PnStatus status = PN_OK;
    if (!pn_options_parse(getenv("PANDO_DEBUG"), &pn_options, error)) return PN_REFUSED;
    if ((status = reserve_window(error)) != PN_OK) return status;
    if ((status = map_private_code(error)) != PN_OK || (status = pn_class_table_init(error)) != PN_OK ||
        (status = pn_symbols_init(error)) != PN_OK || (status = pn_code_init(error)) != PN_OK ||
        (status = pn_blocks_init(error)) != PN_OK)
        munmap((void *)(uintptr_t)PN_WINDOW, PN_WINDOW_BYTES);
    return status;
}

PnStatus pn_process_init(PnError *error) {
    static pthread_mutex_t start_mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool has_started; // under start_mutex
    pthread_mutex_lock(&start_mutex);
    PnStatus status = has_started ? PN_OK : start_process(error);
    has_started = status == PN_OK;
    pthread_mutex_unlock(&start_mutex);
    return status;
}
