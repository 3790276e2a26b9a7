// gc/mark.h: marking, for the old collector and for freeze (see gc/mark.c).
#ifndef PN_GC_MARK_H
#define PN_GC_MARK_H

#include "gc/gc_int.h"

typedef struct Marker {
    WorkerVm *vm;
    GcState *gc;
    MarkStack *stack;
    bool all_is_strong; // weak references count as well
} Marker;
Marker pn_gc_marker(WorkerVm *vm);

// Mark what *slot names, and replace it if it is stale.
void pn_gc_mark_slot(Marker *m, Ref *slot);
// Whether *slot names something that is known to live by now, or that is not marked at all. Replaces it if it is
// stale.
bool pn_gc_is_alive(Marker *m, Ref *slot);
// Mark from all roots but Code records and own classes above the fixed ones.
void pn_gc_mark_roots(Marker *m);
void pn_gc_mark_codes(Marker *m);
void pn_gc_mark_own_classes(Marker *m);
// Trace at most budget objects (slices of large ones); answers how many there were.
size_t pn_gc_trace(Marker *m, size_t budget);
// Trace to the end, making good what a full mark stack lost.
void pn_gc_trace_all(Marker *m);

#endif
