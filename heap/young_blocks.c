// heap/young_blocks.c: memory for young blocks of workers, ranges of addresses for all of the process.
//
// Owns: the ranges (4 GiB each, without memory until touched) and their free lists, one for each power of two, behind a mutex that is taken once in a collection that
// changes its block's size or has none to spare. Called by gc/young.c, and by worker.c for a worker that ends.
//
// Why not the allocator: the range is asked of the system at start and so lies above what the allocator hands out for old
// segments, and above the window. So pn_store_plain may take "below the worker's young block" for "not young" with one
// comparison. Where that does not hold (an allocator that hands out higher addresses) stores are slower, never wrong.
#include <pthread.h>
#include <sys/mman.h>

#include "heap/heap_int.h"

#define PN_YOUNG_RANGE_BYTES (4 * PN_GIB)
#define PN_LEAST_BLOCK_SHIFT 9
#define PN_BLOCK_SIZES 28
#define PN_RESIDENT_BLOCKS 16 // of each large size stay in memory when free; the pages of others go back
#define PN_LARGE_BLOCK_BYTES ((size_t)64 << 10)

typedef struct FreeBlock {
    struct FreeBlock *next;
} FreeBlock;

static uint8_t *range_next, *range_end; // of the newest range
static struct {
    FreeBlock *blocks;
    size_t count;
} free_lists[PN_BLOCK_SIZES];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool take_range(void) {
    uint8_t *range = pn_zero_pages(PN_YOUNG_RANGE_BYTES, true);
    if (range == NULL) return false;
    range_next = range;
    range_end = range + PN_YOUNG_RANGE_BYTES;
    return true;
}

PnStatus pn_young_blocks_init(PnError *error) {
    if (take_range()) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "cannot reserve addresses for young objects");
}

static unsigned size_index(size_t bytes) { return (unsigned)__builtin_ctzl(bytes) - PN_LEAST_BLOCK_SHIFT; }

void *pn_young_block_take(size_t bytes) {
    PN_ASSERT((bytes & (bytes - 1)) == 0 && size_index(bytes) < PN_BLOCK_SIZES, "%zu is no size of a block", bytes);
    unsigned i = size_index(bytes);
    pthread_mutex_lock(&mutex);
    FreeBlock *block = free_lists[i].blocks;
    if (block != NULL) {
        free_lists[i].blocks = block->next;
        free_lists[i].count--;
    } else if ((size_t)(range_end - range_next) >= bytes || take_range()) {
        block = (FreeBlock *)(void *)range_next;
        range_next += bytes;
    }
    pthread_mutex_unlock(&mutex);
    return block;
}

void pn_young_block_give(void *memory, size_t bytes) {
    if (memory == NULL) return;
    FreeBlock *block = memory;
    unsigned i = size_index(bytes);
    pthread_mutex_lock(&mutex);
    bool is_plenty = free_lists[i].count >= PN_RESIDENT_BLOCKS;
    pthread_mutex_unlock(&mutex);
    // Failure leaves the pages where they are, which is only less good.
    if (is_plenty && bytes >= PN_LARGE_BLOCK_BYTES) (void)madvise(memory, bytes, MADV_DONTNEED);
    pthread_mutex_lock(&mutex);
    block->next = free_lists[i].blocks;
    free_lists[i].blocks = block;
    free_lists[i].count++;
    pthread_mutex_unlock(&mutex);
}
