// gc/gc.h: collectors of one worker: young, old; and freeze, which evacuates its whole private world into a layer.
//
// No collection stops, waits for, or looks at another worker. A layer is never visited. May include heap/ only.
// All functions need the worker's registers saved; every one of them may move young objects unless it says otherwise.
#ifndef PN_GC_H
#define PN_GC_H

#include "heap/heap.h"

// A new object: slots nil in pointer formats, else 0. May collect. PN_NO_OOP with vm->prim_error set (9, insufficient object
// memory) when the worker's limit or the system's memory is reached.
Oop pn_new(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots);
Oop pn_new_bytes(WorkerVm *vm, uint32_t class_index, size_t bytes);
Oop pn_new_array(WorkerVm *vm, size_t slots);
// Make sure that eden has room for so many bytes, collecting or growing if need be. False: no memory.
bool pn_young_reserve(WorkerVm *vm, size_t bytes);

void pn_collect_young(WorkerVm *vm);
// Full collection of old space (begins with a young one), run to its end.
void pn_collect_full(WorkerVm *vm);

// The worker is about to wait: its young block shrinks to what just holds the survivors, down to the one it was born with.
void pn_gc_idle(WorkerVm *vm);

// The old collector's state machine. pn_old_step does about budget units of work (one object marked or one swept is one)
// and answers whether a cycle is still under way.
//
//   IDLE --start--> MARKING --mark stack empty, roots scanned again--> SWEEPING --last segment swept--> IDLE
//
// In MARKING the store barrier is on (vm->store_mask, store_want changed); new old objects are born marked.
typedef enum PnOldState { PN_OLD_IDLE, PN_OLD_MARKING, PN_OLD_SWEEPING } PnOldState;
PnOldState pn_old_state(const WorkerVm *vm);

// Visit every root slot of the worker: stack, special objects, roots of C code, codes, overlay values, class-table slots it owns.
// visit may change the slot. skip_clean_chunks: leave out stack chunks without young references.
typedef void (*PnVisit)(void *context, Ref *slot);
void pn_visit_roots(WorkerVm *vm, PnVisit visit, void *context);

typedef struct PnGcStats {
    uint64_t young_collections, full_collections;
    uint64_t young_ns_total, young_ns_max, full_ns_total, full_ns_max;
    uint64_t bytes_promoted, bytes_copied;
    size_t young_bytes, old_bytes_used, old_bytes_held;
} PnGcStats;
PnGcStats pn_gc_stats(const WorkerVm *vm);
void pn_gc_free(WorkerVm *vm); // at the worker's end

// Largest size of the young block, bytes. A worker's block starts at 512 and grows towards it.
#define PN_YOUNG_MAX_BYTES ((size_t)256 << 10)

// Freeze: everything private becomes a new layer; the worker goes on above it with an empty private heap. Without safepoint;
// all of it or nothing. The worker must have no frames (PN_REFUSED otherwise). Roots held by C code are updated.
// On success *layer (may be NULL) has a count for the caller as well. Without copy on write the worker keeps its private heap,
// and the layer is for others to thaw. A worker that has thawed its layers cannot be frozen (PN_REFUSED).
PnStatus pn_freeze(WorkerVm *vm, Layer **layer, PnError *error);
// The opposite, for comparison and for COW=0: copy the layer's objects (and those of its ancestors) into the private heap of vm,
// a worker just made on it that has run nothing; from then on it stands on no layer.
PnStatus pn_thaw(WorkerVm *vm, PnError *error);

#endif
