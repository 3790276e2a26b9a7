// heap/heap.h: the object world of workers: layers, symbols, classes, overlay and deref, stores, old space, verifier.
//
// This is the only header of heap/ that other folders include (it includes the four below). May include base/ only.
//
// The invariants. pn_verify checks each and names the one that is broken; tests/heap/invariants.c breaks each on purpose.
// H1. Nothing in a layer is written after mapping. (In poison mode the bodies of copied originals are.)
// H2. A layer refers only to itself, to its ancestors, to symbols and to graphs it holds.
// H3. A private heap refers to itself, to the worker's layers, to symbols and to its graphs.
// H4. A layer's overlay is complete (flattened over its ancestors'); no value is a key of the same map; no key of a
//     worker's overlay is a key of its top layer's.
// H5. The receiver of the running frame is what deref answers for it; so are those of all frames above the return trap.
// H6. (Asked at the copy itself, always on; later nothing can be seen of it.) At the moment of a copy hash, class and size equal the original's; a copy keeps the identity hash its original had.
// H7. One class index, one shape: every instance has the format and the named slots recorded for its index.
// H8. One symbol per spelling in the process.
// H9. A method never runs on a receiver with fewer named slots than it touches.
// G1. A young object has isRemembered set, an old one has it set exactly when it is in the remembered set.
// G2. An old object that refers to a young one is in the remembered set. Copies are old objects.
// G3. Between collections no object is marked. Old segments can be walked object by object.
// G4. Memory below age_mark and between age_mark and next is walkable objects; next <= limit.
// L1. Every object of a layer is immutable, has an identity hash (code objects and class: as given), is no forwarder and no
//     free chunk; its class index is one the process knows; nothing in it is marked or pinned.
// F1. The filter has a bit for each key of the top layer's overlay and of the worker's own.
// S1-S5 (stack): heap/worker.h. C1-C4 (code): heap/code.h. O1-O3 (objects): heap/object.h. W1, W2: heap/window.h. Y1, Y2.
#ifndef PN_HEAP_H
#define PN_HEAP_H

#include "heap/worker.h"

// ---- Layers ---------------------------------------------------------------------------------------

typedef struct Segment {
    uint64_t start; // window address
    size_t bytes;   // of objects; the mapping is rounded up to pages. A bridge (16 bytes) follows inside the mapping
} Segment;

// Immutable after pn_layer_publish, but for the count. Objects lie in one segment, compiled code in another.
struct Layer {
    Layer *parent;            // NULL for a base image
    uint32_t depth;           // 0 for a base image
    _Atomic(uint32_t) xcount; // workers, child layers, parcels that need it; any thread
    Segment objects;
    Segment code;
    Overlay overlay; // complete (H4); entries NULL when empty
    Filter filter;   // of overlay
    World *world;
    Ref nil;
    Ref special_objects;
    Ref *symbols;           // frozen hash table of the symbols that lie in this layer, or NULL; see heap/symbol.c
    size_t symbol_capacity; // power of two
    uint32_t *indices;      // class indices first used by classes of this layer
    size_t index_count;
    PnIndexShape *obsolete; // complete: index -> class of the shape that old instances have (H7); or NULL
    size_t obsolete_count;
    uint64_t sum; // pn_hash_bytes over both segments when it was made (H1)
    uint64_t parent_sum;
    int fd;                  // memfd or file behind it; -1 when private
    uint64_t file_offset[2]; // where objects and code lie in fd
    bool is_private_mapping; // poison mode: writable, not shared
    void *metadata;          // mapping that holds overlay, filter, symbols, indices of a file layer, or NULL: allocated
    size_t metadata_bytes;
    Layer *next_joined;           // heap/symbol.c: list of the layers whose symbols have joined
    void (*forget)(void *record); // image/map.c: called with record when nothing is left of the layer, or NULL
    void *record;
};

// A layer in the making: both segments are mapped writable somewhere else and not yet visible in the window.
typedef struct LayerDraft {
    Layer *layer;
    uint8_t *objects; // write here what shall appear at layer->objects.start
    uint8_t *code;
} LayerDraft;

// Begin a layer of so many bytes above parent (NULL: a base), in memory. Takes window addresses and a memfd whose pages are
// reserved, so that filling it cannot fail. draft->layer->objects.start and code.start are known at once.
PnStatus pn_layer_draft(Layer *parent, size_t object_bytes, size_t code_bytes, LayerDraft *draft, PnError *error);
// Give up: nothing remains.
void pn_layer_discard(LayerDraft *draft);
// Everything has been written, layer's other fields (nil, special objects, overlay, filter, symbols, indices) are set: writes
// the bridges, computes sum, unmaps the writable mappings, seals the memfd, maps it in the window (PROT_READ; private and writable in poison mode), makes
// its world, takes a count of the parent. The layer has count 1.
PnStatus pn_layer_publish(LayerDraft *draft, PnError *error);
void pn_layer_retain(Layer *layer);
// Give a count back; with the last the layer is unmapped, its indices go back, its parent is released.
void pn_layer_release(Layer *layer);
// The layer that holds address, searching from top downwards, or NULL. Not for fast paths.
Layer *pn_layer_of(Layer *top, uint64_t address);
static inline bool layer_holds(const Layer *l, uint64_t a) {
    return a - l->objects.start < l->objects.bytes || a - l->code.start < l->code.bytes;
}
// What layer->sum was when it was made: hash of the objects, seed 0, which seeds that of the code. No bridges.
uint64_t pn_layer_sum(const Layer *layer);
// Walk all objects of a layer: first call with PN_NO_OOP; answers PN_NO_OOP at the end.
Oop pn_layer_next(const Layer *layer, Oop o);

// ---- Symbols ----------------------------------------------------------------------------------------
// One table for the process: the symbols of loaded layers, and those made at run time in a region of the window.

// The symbol with this spelling; any thread, without a lock if it was made at run time. PN_NO_REF when the region is full.
Ref pn_symbol(const char *bytes, size_t count);
Ref pn_symbol_z(const char *zero_terminated);
// The symbol if it exists, else PN_NO_REF.
Ref pn_symbol_find(const char *bytes, size_t count);
// The identity hash of a spelling: 22 bits, never 0.
uint32_t pn_symbol_hash(const char *bytes, size_t count);
size_t pn_symbol_count(void); // made at run time
// A layer's frozen table joins or leaves. Joining needs all its spellings to be new to the process or at the same address:
// answers the number of spellings that are elsewhere already (the loader then redirects them and asks again). 0: joined.
size_t pn_symbols_join(Layer *layer);
void pn_symbols_leave(Layer *layer);
// Walk what was made at run time (verifier).
Oop pn_symbol_region_next(Oop o);

// ---- Class table ------------------------------------------------------------------------------------
// One flat array for the process, index -> class as its maker knows it. The slot of an index is written only by the owner of the
// index: the worker whose class it is, then (once, in freeze) the layer. Others see it only through objects that reached them.

extern Ref *pn_class_table;       // PN_MAX_CLASS_INDEX + 1 slots
extern uint32_t *pn_class_shapes; // index -> format word + 1 of its instances, 0: index not in use (H7)

// The class of o in this worker. o must be in hand.
Oop pn_class_of(WorkerVm *vm, Oop o);
Oop pn_class_at(WorkerVm *vm, uint32_t index);
// The index that a new instance of class gets: its identity hash if the class still has that index's shape, else
// a new one (the old index keeps an obsolete clone of the class, H7). 0 with vm->prim_error set if there is none.
uint32_t pn_class_index(WorkerVm *vm, Oop class_object);
// Indices below this one are fixed or belong to layer files, which claim them; indices from here on are given out at run time.
#define PN_FIRST_RUN_INDEX UINT32_C(0x100000)
// Take count consecutive indices. 0 when the process has no more.
uint32_t pn_indices_take(uint32_t count);
void pn_indices_give(const uint32_t *indices, size_t count);
// Bumped when indices are reused: lookup caches of threads empty themselves when they see another value.
extern _Atomic(uint32_t) pn_index_epoch;
// Enter class (old, private, hash 0 or fixed) at index as owned by vm.
PnStatus pn_class_enter(WorkerVm *vm, Oop class_object, uint32_t index);

// ---- Deref: what a reference means in this worker ------------------------------------------------------

static inline bool filter_may_hold(const Filter *f, uint64_t address) {
    uint64_t bit = (address >> 3) & f->mask;
    return (f->bits[bit >> 6] >> (bit & 63) & 1) != 0;
}
// Filters of one word that nobody writes: no bit set (of what holds nothing), all bits set (copy-everything mode).
extern const Filter pn_filter_none, pn_filter_all;
// Free what pn_filter_build made; no effect on the two above. *f is pn_filter_none afterwards.
void pn_filter_free(Filter *f);
Oop pn_deref_shared(WorkerVm *vm, Ref r);    // the filter has said perhaps
Oop pn_deref_forwarder(WorkerVm *vm, Ref r); // r names a forwarder
Oop pn_touch(WorkerVm *vm, Ref r);           // copy-everything mode: a shared object is looked into

// Overlay of the top layer, then the worker's own, then a private forwarder; once each.
static inline Oop pn_deref(WorkerVm *vm, Ref r) {
    if (ref_is_immediate(r)) return ref_raw(r);
    if (PN_COW && ref_is_shared(r)) {
        if (PN_UNLIKELY(pn_options.copy_everything)) return pn_touch(vm, r);
        return PN_LIKELY(!filter_may_hold(&vm->filter, r.bits)) ? ref_raw(r) : pn_deref_shared(vm, r);
    }
    return PN_LIKELY(!oop_is_forwarder(ref_raw(r))) ? ref_raw(r) : pn_deref_forwarder(vm, r);
}
// Slot index of o, in hand.
static inline Oop pn_slot(WorkerVm *vm, Oop o, size_t index) { return pn_deref(vm, oop_slot(o, index)); }
// Identity: whether two references mean the same object here.
bool pn_same_slow(WorkerVm *vm, Ref a, Ref b);
static inline bool pn_same(WorkerVm *vm, Ref a, Ref b) {
    if (ref_same(a, b)) return true;
    if (ref_is_immediate(a) || ref_is_immediate(b)) return false;
    return pn_same_slow(vm, a, b);
}
// The header's class key: what lookup caches compare. Raw: the immutable bit in it is what makes that right.
static inline uint32_t ref_class_key(Ref r) {
    return ref_is_immediate(r) ? (uint32_t)(r.bits & PN_TAG_MASK)
                               : (uint32_t)oop_header(ref_raw(r)) & PN_CLASS_KEY_MASK;
}

// Overlay tables. put answers false when memory is short.
Ref pn_overlay_get(const Overlay *o, Ref key); // PN_NO_REF if absent
bool pn_overlay_put(Overlay *o, Ref key, Ref value);
void pn_overlay_clear(Overlay *o);
// The filter for an overlay, 8 to 16 bits for each entry. False when memory is short.
bool pn_filter_build(Filter *f, const Overlay *a, const Overlay *b);
// Enter in the worker's own overlay that original, an object of a layer that is no key of the top layer's overlay, means
// current from now on; the filter follows. False, with nothing changed, when memory is short.
bool pn_overlay_enter(WorkerVm *vm, Ref original, Ref current);
// Forget the worker's own overlay and filter: vm->filter is that of vm->layer again (none without a layer).
void pn_overlay_drop(WorkerVm *vm);

// ---- Copy on write ------------------------------------------------------------------------------------

typedef enum PnAccess { PN_WRITABLE, PN_READ_ONLY, PN_OUT_OF_MEMORY } PnAccess;
// Make *o writable: as it is, or its private copy (made now, if need be), put into *o. Never collects and moves nothing
// else. Registers must be saved (receivers of frames are followed). PN_READ_ONLY: by the user's wish, or never copied.
PnAccess pn_make_writable(WorkerVm *vm, Oop *o);
// The private copy of a shared object whatever its bits say, user-read-only ones keep being that; for become and setting hashes.
PnAccess pn_make_private(WorkerVm *vm, Oop *o);
// Whether o is of a kind that is never copied: nil, true, false, symbols, code, boxed floats, large integers.
bool pn_is_never_copied(Oop o);
// Read-only by the user's wish (primitive 163).
bool pn_is_read_only(WorkerVm *vm, Oop o);
// Plant the return trap at the caller of the top frame and follow the top frame's receiver. Registers must be saved.
void pn_stack_receivers_stale(WorkerVm *vm);
// Put the true pc back where the trap is; no effect if there is none.
void pn_trap_lift(WorkerVm *vm);

// ---- Stores -------------------------------------------------------------------------------------------

PnAccess pn_store_slow(WorkerVm *vm, Oop o, size_t index, Ref value);
// Of the header's bits that mask leaves, remembered is the lowest: equal to want is a young or remembered object; below it an
// old one with nothing special, where only the value is still to be looked at; above it something that asks.
// The store comes before the look at the value, which so need not be kept. False: pn_store_slow decides, and stores again.
static inline bool pn_store_plain(WorkerVm *vm, Oop o, size_t index, Ref value) {
    uint32_t bits = (uint32_t)oop_header(o) & vm->store_mask;
    if (PN_LIKELY(bits == vm->store_want)) {
        oop_init_slot(o, index, value);
        return true;
    }
    if (PN_UNLIKELY(bits > vm->store_want)) return false;
    oop_init_slot(o, index, value);
    return PN_LIKELY(value.bits < (uint64_t)(uintptr_t)vm->young_start); // see heap/blocks.c; not sure: ask
}
// Store value into slot index of o, which is in hand: the one way to write a pointer (design section 6).
static inline PnAccess pn_store(WorkerVm *vm, Oop o, size_t index, Ref value) {
    return PN_LIKELY(pn_store_plain(vm, o, index, value)) ? PN_WRITABLE : pn_store_slow(vm, o, index, value);
}
#define PN_STORE_MASK ((uint32_t)(PN_HDR_IMMUTABLE | PN_HDR_REMEMBERED | PN_HDR_GUARDED))
#define PN_STORE_WANT ((uint32_t)PN_HDR_REMEMBERED)
// While gc/ marks: no header passes, and none looks plainly old, so that every store comes to pn_mark_barrier.
#define PN_STORE_MASK_MARKING UINT32_MAX
#define PN_STORE_WANT_MARKING UINT32_C(0)
// Set by gc/ at start. Called before new_value is stored into object while the store mask is not the one above.
extern void (*pn_mark_barrier)(WorkerVm *vm, Oop object, Ref new_value);

// Stores into o are to be reported as changes of behaviour from now on: lookup has read it, see Note [Guarded objects].
static inline void pn_guard(Oop o) {
    uint64_t h = oop_header(o);
    if (!pn_address_is_shared(o.bits) && (h & PN_HDR_GUARDED) == 0) oop_set_header(o, h | PN_HDR_GUARDED);
}

void pn_remember(WorkerVm *vm, Oop o); // o is old, not yet remembered
// Set by gc/ at start: frees what it holds for a worker that ends (gc_state, pauses, mark_stack in vm->more).
extern void (*pn_gc_release)(WorkerVm *vm);
// A new identity hash, never 0.
uint32_t pn_new_hash(WorkerVm *vm);

// ---- Allocation that never collects ---------------------------------------------------------------------
// Callers that may collect use pn_new (gc/gc.h), which tries these first.

// A young object with its slots unset (uninitialised memory!), or none if eden is full. slots < 255.
static inline Oop pn_young_try(WorkerVm *vm, uint64_t header, size_t slots) {
    uint64_t *at = vm->next;
    uint64_t *end = at + 1 + (slots | (slots == 0));
    if (PN_UNLIKELY(end > vm->limit)) return PN_NO_OOP;
    vm->next = end;
    *at = header | PN_HDR_REMEMBERED;
    return oop_at_address(at);
}
// An old object, slots nil in pointer formats, else 0. PN_NO_OOP only when the system has no memory. class_index as is.
Oop pn_old_new(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots);
// The same, body not initialised: the caller fills all of it at once.
Oop pn_old_raw(WorkerVm *vm, uint64_t header_without_count, size_t slots);
#define PN_LARGE_BYTES ((size_t)64 << 10) // objects from here on have segments of their own

// Memory for objects (heap/blocks.c): bytes is a power of two from 512. NULL: no memory. give takes NULL too.
typedef enum PnBlockKind { PN_BLOCK_OLD, PN_BLOCK_YOUNG, PN_BLOCK_KINDS } PnBlockKind;
void *pn_block_take(PnBlockKind kind, size_t bytes);
void pn_block_give(PnBlockKind kind, void *block, size_t bytes);

// ---- Old space (heap/old_space.c); what gc/ needs of it ----------------------------------------------------

typedef struct OldSegment OldSegment;
struct OldSegment {
    OldSegment *next;
    uint64_t *start, *top, *end; // objects in [start, top); top moves in the current segment only
    size_t live_bytes;           // as of the last marking
    bool is_large;               // holds one large object
    bool is_mapped;              // pages of a layer mapped again (copy of a large shared object): munmap, not free
    void *mapping;               // is_mapped: what to unmap
    size_t mapping_bytes;
};
#define PN_FREE_LISTS 64 // chunks of i * 8 bytes for i < 63; the last list holds all larger ones
struct OldSpace {
    OldSegment *segments;
    OldSegment *current;           // where allocation bumps
    uint64_t *free[PN_FREE_LISTS]; // chunk: header (class index 0), slot 0 = next
    size_t bytes_held;             // all segments
    size_t bytes_used;             // objects, as allocated; corrected by each sweep
    size_t collect_at;             // bytes_used that asks for a full collection
    uint64_t birth_bits;           // header bits of every new object: gc/ sets PN_HDR_MARKED while it marks
};
OldSpace *pn_old_space(WorkerVm *vm);                          // made if need be; NULL: no memory
OldSegment *pn_old_segment_of(WorkerVm *vm, uint64_t address); // slow; verifier
void pn_old_segment_free(WorkerVm *vm, OldSegment **link);     // unlinks and frees *link
void pn_old_space_free(WorkerVm *vm);
// Write a free chunk over [start, end); walkable. Not put on a list.
void pn_write_free_chunk(uint64_t *start, uint64_t *end);
void pn_free_list_add(OldSpace *old, uint64_t *start, uint64_t *end);

// The remembered set: chunks, from the first entry on.
typedef struct RememberedChunk RememberedChunk;
struct RememberedChunk {
    RememberedChunk *next;
    uint32_t count;
    Oop entries[61];
};
struct RememberedSet {
    RememberedChunk *chunks; // newest first; only the first may have room
    size_t count;
};
void pn_remembered_free(WorkerVm *vm);

// ---- Stack (heap/stack.c) ---------------------------------------------------------------------------------

// Make room for bytes more operands and one more link. Registers must be saved. May move the chunk, or link a new one: then the
// callee_words topmost operands (receiver and arguments) move along. False: memory limit.
bool pn_stack_grow(WorkerVm *vm, size_t bytes, size_t callee_words);
// Make room for bytes more operands of the frame that is running, which stays in one piece: only by copying, to any size.
bool pn_stack_reserve(WorkerVm *vm, size_t bytes);
// The underflow link of the newest chunk has been returned into: the result is on top of the operands. Back to the older chunk.
void pn_stack_underflow(WorkerVm *vm);
// Forget all frames but make none: the worker has no process. Frees all but the first chunk.
void pn_stack_reset(WorkerVm *vm);
// Push a base link; registers are set so that operands can be pushed.
void pn_stack_begin(WorkerVm *vm);
// Frames by number (chunk position + distance from chunk end); NULL if that frame is gone.
Link *pn_link_at(WorkerVm *vm, uint64_t number, StackChunk **chunk);
uint64_t pn_link_number(WorkerVm *vm, const Link *link);
// Walk frames, newest first. fp and the operands' end are worked out on the way.
typedef struct FrameWalk {
    StackChunk *chunk;
    Link *link; // NULL at the end
    Ref *fp;
    Ref *sp; // end of this frame's operands
} FrameWalk;
FrameWalk pn_frames(WorkerVm *vm); // registers must be saved
void pn_frame_next(FrameWalk *w);
// The true pc of a frame, looking behind the trap.
const uint8_t *pn_link_pc(const WorkerVm *vm, const Link *link);

// ---- Building a base from nothing (heap/boot.c) ---------------------------------------------------------------

// A worker on no layer with the classes, special objects and literals that the machine itself needs, all private.
// Every class is reachable from the global dictionary (see asm/ for reaching them by name). Freeze makes a base of it.
WorkerVm *pn_boot(PnError *error);
// A class with metaclass, named, entered in the class table. slots counts inherited ones too. Private, old.
Oop pn_boot_class(WorkerVm *vm, const char *name, Oop superclass, uint32_t kind, uint32_t slots, uint32_t index);
// A global: its binding (Association) in the global dictionary, made with value nil if absent.
Oop pn_global(WorkerVm *vm, const char *name);
// Install method under selector in class's method dictionary (grown when needed). Behaviour changes.
PnStatus pn_method_install(WorkerVm *vm, Oop class_object, Ref selector, Oop method);
// The method of class for selector, in its own dictionary only; PN_NO_OOP if absent.
Oop pn_method_dict_at(WorkerVm *vm, Oop dictionary, Ref selector);

// ---- Verifier -------------------------------------------------------------------------------------------------

typedef struct PnViolation {
    const char *rule; // "H2"; NULL: none
    char text[240];   // what, where
} PnViolation;
// Check every invariant for this worker and its layers. Works in release builds; registers must be saved. True: all hold.
bool pn_verify(WorkerVm *vm, PnViolation *violation);

#endif
