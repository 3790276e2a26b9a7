// heap/remembered.c: the remembered set of a worker: old objects that may refer to young ones.
//
// Owns: the set's chunks, made from the first entry on. Stores and promotion add; young collections (gc/young.c)
// rebuild it.
// Invariants: G1, G2 (heap/heap.h).
#include "heap/heap_int.h"

// A set that exists has a chunk.
static void add_chunk(WorkerVm *vm) {
    RememberedSet *set = vm->remembered;
    if (set == NULL) set = pn_mem_alloc_zeroed(sizeof *set);
    RememberedChunk *chunk = pn_mem_alloc(sizeof *chunk);
    // Without the entry the next collection would lose a living object: there is nothing to go on with.
    PN_CHECK(set != NULL && chunk != NULL, "worker %u: no memory for the remembered set", vm->id);
    chunk->next = set->chunks;
    chunk->count = 0;
    set->chunks = chunk;
    vm->remembered = set;
}

PN_NOINLINE PnAccess pn_remember_in_new_chunk(WorkerVm *vm, Oop o) {
    add_chunk(vm);
    return remember(vm, o);
}

void pn_remember(WorkerVm *vm, Oop o) { remember(vm, o); }

void pn_remembered_free(WorkerVm *vm) {
    if (vm->remembered == NULL) return;
    for (RememberedChunk *chunk = vm->remembered->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        pn_mem_free(chunk);
    }
    pn_mem_free(vm->remembered);
    vm->remembered = NULL;
}
