// base/mem.c: the one allocator interface for memory outside the object heap.
//
// Chosen when building (`make MALLOC=`): mimalloc, jemalloc, or the C library's, which sanitizers and valgrind can
// watch. Called by everybody, from any thread; memory may be freed on another thread than the one that took it.
#include "base/base.h"

#if defined(PN_MALLOC_MIMALLOC)

#include <mimalloc.h>

void *pn_mem_alloc(size_t bytes) { return mi_malloc(bytes); }
void *pn_mem_alloc_zeroed(size_t bytes) { return mi_zalloc(bytes); }
void *pn_mem_alloc_aligned(size_t bytes, size_t alignment) { return mi_malloc_aligned(bytes, alignment); }
void *pn_mem_realloc(void *memory, size_t bytes) { return mi_realloc(memory, bytes); }
void pn_mem_free(void *memory) { mi_free(memory); }

#elif defined(PN_MALLOC_JEMALLOC)

#include <jemalloc/jemalloc.h>

// The functions with flags do not take 0 bytes or NULL.
static size_t at_least_one(size_t bytes) { return bytes != 0 ? bytes : 1; }

void *pn_mem_alloc(size_t bytes) { return mallocx(at_least_one(bytes), 0); }
void *pn_mem_alloc_zeroed(size_t bytes) { return mallocx(at_least_one(bytes), MALLOCX_ZERO); }
void *pn_mem_alloc_aligned(size_t bytes, size_t alignment) {
    return mallocx(at_least_one(bytes), MALLOCX_ALIGN(alignment));
}
void *pn_mem_realloc(void *memory, size_t bytes) {
    return memory != NULL ? rallocx(memory, at_least_one(bytes), 0) : pn_mem_alloc(bytes);
}
void pn_mem_free(void *memory) {
    if (memory != NULL) dallocx(memory, 0);
}

#else

void *pn_mem_alloc(size_t bytes) { return malloc(bytes != 0 ? bytes : 1); }
void *pn_mem_alloc_zeroed(size_t bytes) { return calloc(1, bytes != 0 ? bytes : 1); }
void *pn_mem_alloc_aligned(size_t bytes, size_t alignment) {
    return aligned_alloc(alignment, pn_round_up(bytes, alignment));
}
void *pn_mem_realloc(void *memory, size_t bytes) { return realloc(memory, bytes != 0 ? bytes : 1); }
void pn_mem_free(void *memory) { free(memory); }

#endif
