// heap/worker.c: how a worker begins and ends; the memory of worker blocks; roots held by C code.
//
// Owns: slabs of worker blocks, the process's free blocks and each thread's few; WorkerMore. A worker may end on
// another thread than the one that made it. Not here: what a worker does (interp/), the collector's own state (gc/
// frees it through pn_gc_release).
//
// Note [Blocks]. Blocks come from slabs of 2 MiB that are never given back. A thread keeps some free blocks and some
// unused worker ids for itself, so that making and ending a worker takes no lock and writes no shared line most of the
// time. The first slab has small pages, since many processes have few workers; later ones have huge pages, at a quarter
// of the price.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "heap/heap_int.h"

#define PN_SLAB_BYTES ((size_t)2 << 20)
#define PN_BATCH_BLOCKS 64 // a thread keeps at most twice as many
#define PN_BATCH_IDS 256
#define PN_FIRST_BUDGET 1000 // sends and backward jumps between two looks at stop requests

_Static_assert(PN_WORKER_BYTES % 64 == 0, "blocks begin on cache lines");

void (*pn_gc_release)(WorkerVm *vm);

// ---- Blocks -------------------------------------------------------------------------------------

#if PN_SANITIZED // let the sanitizer see blocks that are used after their end, or never ended

static void *take_block(void) { return pn_mem_alloc_aligned(PN_WORKER_BYTES, 64); }
static void give_block(void *block) { pn_mem_free(block); }

#else

typedef struct FreeBlock {
    struct FreeBlock *next;
} FreeBlock;

typedef struct BlockList {
    FreeBlock *first;
    size_t count;
} BlockList;

static pthread_mutex_t blocks_mutex = PTHREAD_MUTEX_INITIALIZER;
static BlockList free_blocks; // under blocks_mutex
static uint8_t *slab;         // under blocks_mutex: the newest, cut from its beginning
static size_t slab_used;      // under blocks_mutex

// A thread's own.
typedef struct ThreadBlocks {
    BlockList blocks;
    bool is_known; // its end gives the blocks back
} ThreadBlocks;
static _Thread_local ThreadBlocks mine;

static void push_block(BlockList *list, void *block) {
    FreeBlock *b = block;
    b->next = list->first;
    list->first = b;
    list->count++;
}

static void *pop_block(BlockList *list) {
    FreeBlock *b = list->first;
    list->first = b->next;
    list->count--;
    return b;
}

static void move_blocks(BlockList *from, BlockList *to, size_t count) {
    while (count > 0 && from->count > 0) {
        push_block(to, pop_block(from));
        count--;
    }
}

// A block of that size is aligned, so that the kernel can use one huge page for it.
static bool add_slab(void) {
    uint8_t *memory = pn_block_take(PN_BLOCK_YOUNG, PN_SLAB_BYTES);
    if (memory == NULL) return false;
    bool is_first = slab == NULL;
    if (!is_first) madvise(memory, PN_SLAB_BYTES, MADV_HUGEPAGE); // advice: a kernel without them may refuse
    slab = memory;
    slab_used = 0;
    return true;
}

static void cut_blocks(BlockList *to, size_t count) {
    while (count > 0 && (slab != NULL || add_slab())) {
        if (slab_used + PN_WORKER_BYTES > PN_SLAB_BYTES && !add_slab()) return;
        push_block(to, slab + slab_used);
        slab_used += PN_WORKER_BYTES;
        count--;
    }
}

static void give_all_back(void *thread_blocks) {
    ThreadBlocks *t = thread_blocks;
    pthread_mutex_lock(&blocks_mutex);
    move_blocks(&t->blocks, &free_blocks, t->blocks.count);
    pthread_mutex_unlock(&blocks_mutex);
}

static pthread_key_t end_of_thread;
static void make_key(void) {
    int failed = pthread_key_create(&end_of_thread, give_all_back);
    PN_CHECK(!failed, "cannot make a thread key: %s", strerror(failed));
}

static void know_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (PN_LIKELY(mine.is_known)) return;
    pthread_once(&once, make_key);
    mine.is_known = pthread_setspecific(end_of_thread, &mine) == 0;
}

static PN_NOINLINE void fetch_blocks(void) {
    know_thread();
    pthread_mutex_lock(&blocks_mutex);
    move_blocks(&free_blocks, &mine.blocks, PN_BATCH_BLOCKS);
    if (mine.blocks.count == 0) cut_blocks(&mine.blocks, PN_BATCH_BLOCKS);
    pthread_mutex_unlock(&blocks_mutex);
}

static PN_NOINLINE void return_blocks(void) {
    know_thread();
    pthread_mutex_lock(&blocks_mutex);
    move_blocks(&mine.blocks, &free_blocks, PN_BATCH_BLOCKS);
    pthread_mutex_unlock(&blocks_mutex);
}

static void *take_block(void) {
    if (PN_UNLIKELY(mine.blocks.count == 0)) fetch_blocks();
    return PN_LIKELY(mine.blocks.count != 0) ? pop_block(&mine.blocks) : NULL;
}

static void give_block(void *block) {
    push_block(&mine.blocks, block);
    if (PN_UNLIKELY(mine.blocks.count >= 2 * PN_BATCH_BLOCKS)) return_blocks();
}

#endif

static uint32_t take_id(void) {
    static _Atomic(uint32_t) next_batch = 1;
    static _Thread_local uint32_t next_id, ids_left;
    if (PN_UNLIKELY(ids_left == 0)) {
        next_id = atomic_fetch_add_explicit(&next_batch, PN_BATCH_IDS, memory_order_relaxed);
        ids_left = PN_BATCH_IDS;
    }
    ids_left--;
    return next_id++;
}

// ---- Beginning ----------------------------------------------------------------------------------

static uint64_t *embedded_young(WorkerVm *vm) {
    return (uint64_t *)(void *)((uint8_t *)vm + sizeof *vm + PN_FIRST_STACK_BYTES);
}

static void begin_young(WorkerVm *vm) {
    vm->young_start = vm->next = vm->age_mark = embedded_young(vm);
    vm->young_bytes = PN_FIRST_YOUNG_BYTES;
    vm->limit = vm->young_start + PN_FIRST_YOUNG_BYTES / 8;
    vm->store_mask = PN_STORE_MASK;
    vm->store_want = PN_STORE_WANT;
    vm->stress_count = pn_options.stress_gc;
}

static void stand_on(WorkerVm *vm, Layer *layer) {
    pn_layer_retain(layer);
    vm->layer = layer;
    vm->world = layer->world;
    vm->nil = layer->nil;
    vm->special_objects = layer->special_objects;
}

// On no layer: a world of its own, whose methods are all its own.
static bool stand_alone(WorkerVm *vm) {
    vm->world = pn_more(vm)->own_world = pn_world_new(NULL);
    return vm->world != NULL;
}

WorkerVm *pn_worker_new(Layer *layer) {
    WorkerVm *vm = take_block();
    if (vm == NULL) return NULL;
    *vm = (WorkerVm){
        .id = take_id(), .state = PN_WORKER_READY, .budget = PN_FIRST_BUDGET, .budget_full = PN_FIRST_BUDGET};
    begin_young(vm);
    if (layer != NULL) {
        stand_on(vm, layer);
    } else if (!stand_alone(vm)) {
        pn_worker_free(vm);
        return NULL;
    }
    pn_overlay_drop(vm); // it has none yet: sets the filter
    vm->site_base = vm->world->site_base;
    vm->world_key = vm->world->id << 24;
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    return vm;
}

WorkerMore *pn_more(WorkerVm *vm) {
    if (PN_LIKELY(vm->more != NULL)) return vm->more;
    vm->more = pn_mem_alloc_zeroed(sizeof *vm->more);
    PN_CHECK(vm->more != NULL, "no memory for the rare part of worker %u", vm->id);
    return vm->more;
}

// ---- Ending -------------------------------------------------------------------------------------

static void free_more(WorkerVm *vm) {
    WorkerMore *more = vm->more;
    if (more == NULL) return;
    if (pn_gc_release != NULL) pn_gc_release(vm);
    pn_code_free_all(vm);
    pn_world_free(more->own_world);
    pn_indices_give(more->own_indices, more->own_index_count);
    pn_mem_free(more->own_indices);
    pn_mem_free(more->obsolete);
}

void pn_worker_free(WorkerVm *vm) {
    free_more(vm);
    pn_stack_reset(vm);
    if (vm->young_start != embedded_young(vm)) pn_block_give(PN_BLOCK_YOUNG, vm->young_start, vm->young_bytes);
    pn_old_space_free(vm);
    pn_remembered_free(vm);
    pn_overlay_drop(vm);
    pn_mem_free(vm->more);
    if (vm->layer != NULL) pn_layer_release(vm->layer);
    give_block(vm);
}

// ---- Counting -----------------------------------------------------------------------------------

static size_t stack_bytes(const WorkerVm *vm) {
    size_t bytes = vm->more != NULL && vm->more->spare_chunk != NULL ? vm->more->spare_chunk->bytes : 0;
    for (const StackChunk *c = vm->chunk; c != NULL; c = c->prev) bytes += c->is_embedded ? 0 : c->bytes;
    return bytes;
}

static size_t young_bytes(const WorkerVm *vm) {
    bool is_embedded = (const uint8_t *)vm->young_start == (const uint8_t *)vm + sizeof *vm + PN_FIRST_STACK_BYTES;
    return is_embedded ? 0 : vm->young_bytes;
}

static size_t remembered_bytes(const WorkerVm *vm) {
    if (vm->remembered == NULL) return 0;
    size_t bytes = sizeof *vm->remembered;
    for (const RememberedChunk *c = vm->remembered->chunks; c != NULL; c = c->next) bytes += sizeof *c;
    return bytes;
}

static size_t overlay_bytes(const WorkerVm *vm) {
    if (vm->overlay == NULL) return 0;
    size_t table = vm->overlay->entries != NULL ? 16 * (vm->overlay->mask + 1) : 0;
    return sizeof *vm->overlay + table + (vm->filter.mask + 1) / 8;
}

static size_t more_bytes(const WorkerVm *vm) {
    const WorkerMore *more = vm->more;
    if (more == NULL) return 0;
    return sizeof *more + more->own_index_capacity * sizeof *more->own_indices +
           more->obsolete_count * sizeof *more->obsolete + (more->own_world != NULL ? sizeof *more->own_world : 0);
}

size_t pn_worker_bytes(const WorkerVm *vm) {
    size_t old = vm->old != NULL ? sizeof *vm->old + vm->old->bytes_held : 0;
    return PN_WORKER_BYTES + stack_bytes(vm) + young_bytes(vm) + old + remembered_bytes(vm) + overlay_bytes(vm) +
           more_bytes(vm) + pn_code_bytes(vm);
}

// ---- Roots --------------------------------------------------------------------------------------

void pn_root_push(WorkerVm *vm, Root *root, Ref ref) {
    WorkerMore *more = pn_more(vm);
    *root = (Root){.ref = ref, .prev = more->roots};
    more->roots = root;
}

void pn_root_pop(WorkerVm *vm, Root *root) {
    PN_ASSERT(vm->more->roots == root, "worker %u: roots are not popped in reverse order", vm->id);
    vm->more->roots = root->prev;
}
