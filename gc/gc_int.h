// gc/gc_int.h: what the files of gc/ share: the collector's state in a worker, walkers of roots, following of
// references.
//
// Owns: GcState (behind WorkerMore.gc_state, made at the first collection), MarkStack, PauseStats.
// Only gc/ includes it, and tests that look at the collector's state.
#ifndef PN_GC_INT_H
#define PN_GC_INT_H

#include "gc/gc.h"

// What dead memory is overwritten with in poison mode; neither is a reference (tag 7).
#define PN_POISON_YOUNG UINT64_C(0xDEADDEADDEADDEA7)
#define PN_POISON_OLD UINT64_C(0xDEAD01D5DEAD01DF)

#define PN_YOUNG_HABIT_BYTES ((size_t)64 << 10) // a busy worker's block grows to here whatever survives

// A list of objects that grows. add answers false when memory is short.
typedef struct OopList {
    Oop *items;
    size_t count, capacity;
} OopList;
bool pn_gc_list_add(OopList *list, Oop o);
void pn_gc_list_free(OopList *list);

// ---- Mark stack: objects whose slots from `slot` on have not been looked at -------------------------------------

#define PN_MARK_ENTRIES 255
typedef struct MarkEntry {
    Oop object;
    size_t slot;
} MarkEntry;
typedef struct MarkChunk {
    struct MarkChunk *older;
    MarkEntry entries[PN_MARK_ENTRIES];
} MarkChunk;
typedef struct MarkStack {
    MarkChunk *chunk; // the newest
    MarkChunk *spare;
    uint32_t used; // entries in the newest
    uint32_t chunks;
    uint32_t chunk_limit; // 0: none. Tests set it, to run out of memory on purpose
    bool overflowed;      // an entry was lost: marked objects have to be looked through again
} MarkStack;

// ---- State ------------------------------------------------------------------------------------------------------

typedef struct GcState {
    uint64_t *spare; // a young block that is not in use, or NULL
    size_t spare_bytes;
    size_t wanted_bytes; // size of the next young block
    uint32_t calm;       // collections in a row that left next to nothing
    uint32_t stress_runs;
    Code *known_codes;  // the methods of this Code record and of those after it are not young
    OopList weak;       // weak objects met in this collection, indexed part not looked at
    OopList ephemerons; // ephemerons met whose key has not been reached
    PnOldState old_state;
    OldSegment **sweep_link; // the segment to sweep next
    size_t swept_live_bytes;
    Layer *thawed_from; // holds the symbols and class indices that a thawed worker uses
} GcState;

struct PauseStats {
    PnGcStats counts;
};

GcState *pn_gc_state(WorkerVm *vm); // made if need be; dies if there is no memory for it
struct PauseStats *pn_gc_pauses(WorkerVm *vm);
uint64_t pn_gc_now(void); // nanoseconds
void pn_gc_note_young(WorkerVm *vm, uint64_t began, size_t copied, size_t promoted);
void pn_gc_note_full(WorkerVm *vm, uint64_t began);
// Verify if asked to; dies with the report.
void pn_gc_check(WorkerVm *vm, const char *when);

// ---- Following --------------------------------------------------------------------------------------------------

// Whether r, not an immediate, names something outside the private heap. True for symbols also without copy on write.
static inline bool pn_gc_is_outside(Ref r) { return r.bits >> PN_WINDOW_SHIFT == PN_WINDOW >> PN_WINDOW_SHIFT; }

// What the overlays say that r, an object outside, means; r itself if nothing.
Ref pn_gc_through_overlays(const WorkerVm *vm, Ref r);
// One step of following: what r, not an immediate, means here. Copies nothing, unlike pn_deref in copy-everything
// mode, and stops at each forwarder.
static inline Ref pn_gc_step(WorkerVm *vm, Ref r) {
    if (pn_gc_is_outside(r)) return PN_COW && filter_may_hold(&vm->filter, r.bits) ? pn_gc_through_overlays(vm, r) : r;
    return oop_is_forwarder(ref_raw(r)) ? oop_slot(ref_raw(r), 0) : r;
}
static inline bool pn_gc_is_nothing(Ref r) { return ref_is_immediate(r) || ref_is_none(r); }

// The class table is read by all threads, whoever owns an entry. Relaxed: an entry that is written belongs to this
// worker, the only one to rely on it.
static inline Ref pn_gc_class_entry(uint32_t index) {
    return (Ref){__atomic_load_n(&pn_class_table[index].bits, __ATOMIC_RELAXED)};
}
static inline void pn_gc_set_class_entry(uint32_t index, Ref class_ref) {
    __atomic_store_n(&pn_class_table[index].bits, class_ref.bits, __ATOMIC_RELAXED);
}

// Slots from 0 that hold values; h is o's header.
static inline size_t pn_gc_value_slots(Oop o, uint64_t h) {
    uint32_t format = hdr_format(h);
    if (format <= PN_FMT_LAST_POINTERS && hdr_class_index(h) != PN_CLASS_CONTEXT) return oop_slot_count(o);
    if (format == PN_FMT_FORWARDED) return 1;
    if (format > PN_FMT_FORWARDED && format < PN_FMT_CODE) return 0;
    return pn_value_slots(o);
}
// Named slots of a weak object: they are strong.
static inline size_t pn_gc_named_slots(Oop o) {
    uint32_t shape = pn_class_shapes[oop_class_index(o)];
    size_t named = shape == 0 ? 0 : class_format_slots((int64_t)shape - 1);
    return pn_min(named, oop_slot_count(o));
}

// ---- Roots (gc/roots.c) -----------------------------------------------------------------------------------------

// Looks at the slots [from, to), which may hold no reference at all; answers whether one of them now names a young
// object.
typedef bool (*PnVisitRange)(void *context, Ref *from, Ref *to);
// Stack operands and marriages. Young collections leave clean chunks out, and find new ones.
void pn_gc_visit_stack(WorkerVm *vm, bool for_young, PnVisitRange visit, void *context);
// Special objects, roots of C code, result, classes of shapes that were left.
void pn_gc_visit_globals(WorkerVm *vm, PnVisitRange visit, void *context);
// Methods of private Code records, the newest up to but not including stop; sets their literals (C2). Answers whether
// one of them is young.
bool pn_gc_visit_codes(WorkerVm *vm, Code *stop, PnVisitRange visit, void *context);
void pn_gc_visit_own_classes(WorkerVm *vm, PnVisitRange visit, void *context);
void pn_gc_visit_overlay(WorkerVm *vm, PnVisitRange visit, void *context);

// Ask about each remembered object whether it stays in the set; those that do not lose their bit.
typedef bool (*PnKeeps)(void *context, Oop o);
void pn_gc_thin_remembered(WorkerVm *vm, PnKeeps keeps, void *context);

// ---- Young (gc/young.c) -----------------------------------------------------------------------------------------

typedef enum GcAge {
    GC_AGE_NORMAL, // what has survived before is promoted
    GC_AGE_ALL,    // everything is promoted
    GC_AGE_NONE,   // nothing is: the block only moves into one that just holds it
} GcAge;
// Collect the young block. need: bytes that eden should have room for afterwards. False: no memory, nothing has
// changed.
bool pn_gc_scavenge(WorkerVm *vm, size_t need, GcAge age);
// Bytes that are free in eden; in stress mode its limit is kept down at vm->next.
size_t pn_gc_eden_room(const WorkerVm *vm);
uint64_t *pn_gc_embedded_block(WorkerVm *vm);
// How far the young block grows by itself: a small part of the memory limit, if there is one.
size_t pn_gc_largest_block(const WorkerVm *vm);

// ---- Old (gc/old.c) ---------------------------------------------------------------------------------------------

// About budget units of an old collection; starts one when there is none. Answers whether it is still under way.
bool pn_gc_old_step(WorkerVm *vm, size_t budget);
bool pn_gc_old_is_due(const WorkerVm *vm, size_t more_bytes);
// o, old and just made, has been filled without a store: marking has to look through it.
void pn_gc_mark_again(WorkerVm *vm, Oop o);
// For freeze: mark all that is reachable otherwise than through Code records, weak references counting as strong.
void pn_gc_mark_for_freeze(WorkerVm *vm);
void pn_gc_clear_marks(WorkerVm *vm);
struct MarkStack *pn_gc_mark_stack(WorkerVm *vm); // made if need be; dies if there is no memory for it
void pn_gc_mark_stack_free(WorkerVm *vm);

// ---- Thawed classes (gc/thaw.c) ---------------------------------------------------------------------------------

// From now on this worker's class for index is class_ref, whatever the class table says; room has been reserved.
bool pn_gc_reserve_class_entries(WorkerVm *vm, size_t count);
void pn_gc_add_class_entry(WorkerVm *vm, uint32_t index, Ref class_ref);
// A class: its class is an instance of Metaclass, or Metaclass itself. Class table entries say enough, whosever they
// are.
bool pn_gc_is_class(Oop o);

#endif
