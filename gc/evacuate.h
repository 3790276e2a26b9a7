// gc/evacuate.h: where each object of a private world goes in a new layer, and the copying (see gc/evacuate.c).
#ifndef PN_GC_EVACUATE_H
#define PN_GC_EVACUATE_H

#include "gc/gc_int.h"

// A segment of old space whose living objects move.
typedef struct LiveSegment {
    const OldSegment *from;
    uint64_t start, end;
    size_t offset;    // of its first living word in the new object segment
    uint64_t *live;   // a bit for each word of a living object that is no code; NULL: one large object
    uint32_t *before; // living words before each 64 words
} LiveSegment;

typedef struct Evacuation {
    WorkerVm *vm;
    LiveSegment *segments; // by address
    size_t segment_count;
    LiveSegment *latest; // where the last address was found
    Overlay code;        // code object -> 1 + offset of its copy's header in the new code segment
    size_t object_bytes, code_bytes;
    bool is_base;
    size_t page_count; // of the class table, in a base
    LayerDraft draft;
    uint64_t hash_state;
} Evacuation;

// All that lives is marked: lay it out. Answers false when memory is short. Clears no marks.
bool pn_evacuation_plan(Evacuation *e, WorkerVm *vm);
void pn_evacuation_free(Evacuation *e);
// e->draft has been made: copy everything, references rewritten, headers as they are in a layer.
void pn_evacuation_copy(Evacuation *e);
// What r, current in the worker, is called in the new layer. Immediates and what lies outside keep their name.
Ref pn_evacuated(Evacuation *e, Ref r);
// Find out which read-only objects of the draft are deeply so, and say so in their headers. False: no memory.
bool pn_evacuation_mark_deeply_read_only(Evacuation *e);

#endif
