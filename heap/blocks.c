// heap/blocks.c: memory for objects: blocks of powers of two, from two ranges of addresses, old below young.
//
// Owns: the ranges (no memory behind them until touched) and their free lists, under one mutex. It is taken when a worker
// gets or gives back a segment of old space or a young block of another size, never in an allocation of an object.
// Called by old_space.c, worker.c (slabs) and gc/young.c.
//
// Why not the allocator: because all young blocks lie above all old segments and above the window, pn_store_plain takes
// "below the worker's young block" for "not young" with one comparison. Large objects come from the allocator and may lie
// higher: a store of a reference to one is slower, never wrong. Under the sanitizers everything does, so that they see
// what is used after its end.
#include <pthread.h>
#include <sys/mman.h>

#include "heap/heap_int.h"

#define PN_LEAST_BLOCK_SHIFT 9
#define PN_BLOCK_SIZES 20     // 512 bytes to 256 MiB
#define PN_RESIDENT_BLOCKS 16 // of each large size stay in memory when free; the pages of others go back
#define PN_LARGE_BLOCK_BYTES ((size_t)64 << 10)
#define PN_MOST_RANGE_BYTES (256 * PN_GIB) // asked for, and halved until the system agrees
#define PN_LEAST_RANGE_BYTES (PN_GIB / 4)

#if PN_SANITIZED

PnStatus pn_blocks_init(PnError *error) {
    (void)error;
    return PN_OK;
}
void *pn_block_take(PnBlockKind kind, size_t bytes) {
    (void)kind;
    return pn_mem_alloc_aligned(bytes, 64);
}
void pn_block_give(PnBlockKind kind, void *block, size_t bytes) {
    (void)kind, (void)bytes;
    pn_mem_free(block);
}

#else

typedef struct FreeBlock {
    struct FreeBlock *next;
} FreeBlock;

typedef struct Range {
    uint8_t *next, *end;
    struct {
        FreeBlock *blocks;
        size_t count;
    } free[PN_BLOCK_SIZES];
} Range;

static Range ranges[PN_BLOCK_KINDS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

PnStatus pn_blocks_init(PnError *error) {
    for (size_t bytes = PN_MOST_RANGE_BYTES; bytes >= PN_LEAST_RANGE_BYTES; bytes /= 2) {
        uint8_t *both = pn_zero_pages(2 * bytes, true);
        if (both == NULL) continue;
        ranges[PN_BLOCK_OLD] = (Range){.next = both, .end = both + bytes};
        ranges[PN_BLOCK_YOUNG] = (Range){.next = both + bytes, .end = both + 2 * bytes};
        return PN_OK;
    }
    return pn_error(error, PN_NO_MEMORY, 0, "cannot reserve addresses for objects");
}

static unsigned size_index(size_t bytes) { return (unsigned)__builtin_ctzl(bytes) - PN_LEAST_BLOCK_SHIFT; }

// A block never used before, at a multiple of its size up to 2 MiB.
static void *cut_block(Range *range, size_t bytes) {
    size_t alignment = pn_min(bytes, (size_t)2 << 20);
    uint8_t *block = (uint8_t *)pn_round_up((uintptr_t)range->next, alignment);
    if (block > range->end || (size_t)(range->end - block) < bytes) return NULL;
    range->next = block + bytes;
    return block;
}

void *pn_block_take(PnBlockKind kind, size_t bytes) {
    PN_ASSERT((bytes & (bytes - 1)) == 0 && size_index(bytes) < PN_BLOCK_SIZES, "%zu is no size of a block", bytes);
    Range *range = &ranges[kind];
    unsigned i = size_index(bytes);
    pthread_mutex_lock(&mutex);
    FreeBlock *block = range->free[i].blocks;
    if (block != NULL) {
        range->free[i].blocks = block->next;
        range->free[i].count--;
    } else {
        block = cut_block(range, bytes);
    }
    pthread_mutex_unlock(&mutex);
    return block;
}

void pn_block_give(PnBlockKind kind, void *memory, size_t bytes) {
    if (memory == NULL) return;
    Range *range = &ranges[kind];
    FreeBlock *block = memory;
    unsigned i = size_index(bytes);
    pthread_mutex_lock(&mutex);
    bool is_plenty = range->free[i].count >= PN_RESIDENT_BLOCKS;
    pthread_mutex_unlock(&mutex);
    // Refusal leaves the pages where they are, which is only less good.
    if (is_plenty && bytes >= PN_LARGE_BLOCK_BYTES) (void)madvise(memory, bytes, MADV_DONTNEED);
    pthread_mutex_lock(&mutex);
    block->next = range->free[i].blocks;
    range->free[i].blocks = block;
    range->free[i].count++;
    pthread_mutex_unlock(&mutex);
}

#endif
