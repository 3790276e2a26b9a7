// heap/overlay.c: overlays (what stands for an object of a layer), filters, and deref.
//
// Owns: the format of overlay tables and filters, which freeze writes and image files carry; each worker's own
// overlay and filter (made together at its first copy: vm->overlay is NULL as long as vm->filter is the top layer's).
// Called on slow paths only: the filter has said perhaps, or something is copied.
// Invariants: H4, F1 (heap/heap.h).
//
// Note [Table format]. A table has a power of two of pairs (key, value); a key's first place is overlay_place, the next
// places follow it; key 0 is a free place; nothing is ever removed. At most 3/4 of the places are used.
#include "heap/heap_int.h"

#define PN_OVERLAY_FIRST_PAIRS 16
#define PN_FILTER_FIRST_BITS 512
#define PN_FILTER_LEAST_BITS_PER_ENTRY 8

// ---- Tables -------------------------------------------------------------------------------------

// Fibonacci hashing: addresses come in arithmetic progressions, whose low bits would pile up.
static inline size_t overlay_place(const Overlay *o, uint64_t key) {
    return (size_t)((key >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 24) & o->mask;
}

// Where key is, or the free place where it belongs.
static uint64_t *find_pair(const Overlay *o, uint64_t key) {
    size_t at = overlay_place(o, key);
    for (;;) {
        uint64_t *pair = o->entries + 2 * at;
        if (pair[0] == key || pair[0] == 0) return pair;
        at = (at + 1) & o->mask;
    }
}

Ref pn_overlay_get(const Overlay *o, Ref key) {
    if (o->entries == NULL) return PN_NO_REF;
    const uint64_t *pair = find_pair(o, key.bits);
    return pair[0] == 0 ? PN_NO_REF : (Ref){pair[1]};
}

static bool resize(Overlay *o, size_t pairs) {
    Overlay bigger = {.mask = pairs - 1, .count = o->count};
    bigger.entries = pn_mem_alloc_zeroed(pairs * 2 * sizeof(uint64_t));
    if (bigger.entries == NULL) return false;
    for (size_t at = 0; o->entries != NULL && at <= o->mask; at++) {
        const uint64_t *from = o->entries + 2 * at;
        if (from[0] == 0) continue;
        uint64_t *to = find_pair(&bigger, from[0]);
        to[0] = from[0];
        to[1] = from[1];
    }
    pn_mem_free(o->entries);
    *o = bigger;
    return true;
}

static bool overlay_reserve(Overlay *o) {
    if (o->entries == NULL) return resize(o, PN_OVERLAY_FIRST_PAIRS);
    if (PN_LIKELY(4 * (o->count + 1) <= 3 * (o->mask + 1))) return true;
    return resize(o, 2 * (o->mask + 1));
}

static void put_pair(Overlay *o, Ref key, Ref value) {
    uint64_t *pair = find_pair(o, key.bits);
    o->count += pair[0] == 0;
    pair[0] = key.bits;
    pair[1] = value.bits;
}

bool pn_overlay_put(Overlay *o, Ref key, Ref value) {
    if (!overlay_reserve(o)) return false;
    put_pair(o, key, value);
    return true;
}

void pn_overlay_clear(Overlay *o) {
    pn_mem_free(o->entries);
    *o = (Overlay){0};
}

// ---- Filters ------------------------------------------------------------------------------------

static inline void filter_add(Filter *f, uint64_t key) {
    uint64_t bit = (key >> 3) & f->mask;
    f->bits[bit >> 6] |= UINT64_C(1) << (bit & 63);
}

static void filter_add_all(Filter *f, const Overlay *o) {
    if (o == NULL || o->entries == NULL) return;
    for (size_t at = 0; at <= o->mask; at++) {
        uint64_t key = o->entries[2 * at];
        if (key != 0) filter_add(f, key);
    }
}

static bool filter_build_for(Filter *f, const Overlay *a, const Overlay *b, size_t entries) {
    size_t bits = PN_FILTER_FIRST_BITS;
    while (bits < PN_FILTER_LEAST_BITS_PER_ENTRY * entries) bits *= 2;
    Filter built = {.bits = pn_mem_alloc_zeroed(bits / 8), .mask = bits - 1};
    if (built.bits == NULL) return false;
    filter_add_all(&built, a);
    filter_add_all(&built, b);
    *f = built;
    return true;
}

bool pn_filter_build(Filter *f, const Overlay *a, const Overlay *b) {
    return filter_build_for(f, a, b, (a == NULL ? 0 : a->count) + (b == NULL ? 0 : b->count));
}

// ---- A worker's own overlay ---------------------------------------------------------------------

static const Overlay *layer_overlay(const WorkerVm *vm) { return vm->layer == NULL ? NULL : &vm->layer->overlay; }

static size_t known_entries(const WorkerVm *vm) {
    const Overlay *below = layer_overlay(vm);
    return (below == NULL ? 0 : below->count) + (vm->overlay == NULL ? 0 : vm->overlay->count);
}

// In copy-everything mode the filter says perhaps to everything, and always will.
static bool filter_is_all(const WorkerVm *vm) { return vm->filter.bits == pn_filter_all.bits; }

// The first copy: a table, and a filter of the worker's own. Until then vm->filter belongs to the layer, which is
// never written.
static bool make_own(WorkerVm *vm) {
    Overlay *own = pn_mem_alloc_zeroed(sizeof *own);
    if (own == NULL) return false;
    if (!resize(own, PN_OVERLAY_FIRST_PAIRS)) goto no_table;
    if (!filter_is_all(vm) && !filter_build_for(&vm->filter, layer_overlay(vm), NULL, known_entries(vm) + 1))
        goto no_filter;
    vm->overlay = own;
    return true;
no_filter:
    pn_overlay_clear(own);
no_table:
    pn_mem_free(own);
    return false;
}

// From less than 8 bits for each entry to almost 16, built anew: single bits cannot be moved to a larger filter.
static bool grow_filter(WorkerVm *vm, size_t entries) {
    Filter old = vm->filter;
    if (!filter_build_for(&vm->filter, layer_overlay(vm), vm->overlay, entries)) return false;
    pn_filter_free(&old);
    return true;
}

bool pn_overlay_reserve(WorkerVm *vm) {
    if (PN_UNLIKELY(vm->overlay == NULL)) return make_own(vm);
    size_t entries = known_entries(vm) + 1;
    bool filter_is_full = entries * PN_FILTER_LEAST_BITS_PER_ENTRY > vm->filter.mask + 1 && !filter_is_all(vm);
    if (PN_UNLIKELY(filter_is_full) && !grow_filter(vm, entries)) return false;
    return overlay_reserve(vm->overlay);
}

void pn_overlay_enter_reserved(WorkerVm *vm, Ref original, Ref current) {
    put_pair(vm->overlay, original, current);
    if (!filter_is_all(vm)) filter_add(&vm->filter, original.bits);
}

bool pn_overlay_enter(WorkerVm *vm, Ref original, Ref current) {
    if (!pn_overlay_reserve(vm)) return false;
    pn_overlay_enter_reserved(vm, original, current);
    return true;
}

void pn_overlay_drop(WorkerVm *vm) {
    if (vm->overlay != NULL) {
        pn_overlay_clear(vm->overlay);
        pn_mem_free(vm->overlay);
        pn_filter_free(&vm->filter);
        vm->overlay = NULL;
    }
    if (pn_options.copy_everything) vm->filter = pn_filter_all;
    else vm->filter = vm->layer != NULL ? vm->layer->filter : pn_filter_none;
}

// ---- Deref --------------------------------------------------------------------------------------

// r means a shared object or is one: what the overlays say, the layer's first.
static Ref through_overlays(const WorkerVm *vm, Ref r) {
    if (vm->layer != NULL) {
        Ref current = pn_overlay_get(&vm->layer->overlay, r);
        if (!ref_is_none(current)) r = current;
    }
    if (vm->overlay != NULL) {
        Ref current = pn_overlay_get(vm->overlay, r);
        if (!ref_is_none(current)) r = current;
    }
    return r;
}

static inline bool names_forwarder(Ref r) {
    return !ref_is_immediate(r) && !ref_is_shared(r) && oop_is_forwarder(ref_raw(r));
}

static Ref past_forwarders(Ref r) {
    while (names_forwarder(r)) r = oop_slot(ref_raw(r), 0);
    return r;
}

Oop pn_current(WorkerVm *vm, Ref r) {
    r = past_forwarders(r);
    if (ref_is_immediate(r) || !ref_is_shared(r) || !filter_may_hold(&vm->filter, r.bits)) return ref_raw(r);
    return ref_raw(past_forwarders(through_overlays(vm, r)));
}

// Copies nothing, so that collectors may ask too.
Oop pn_deref_shared(WorkerVm *vm, Ref r) {
    r = through_overlays(vm, r);
    return PN_LIKELY(!names_forwarder(r)) ? ref_raw(r) : pn_current(vm, r);
}

// A forwarder may name another, and in the end a shared object.
Oop pn_deref_forwarder(WorkerVm *vm, Ref r) { return pn_options.copy_everything ? pn_touch(vm, r) : pn_current(vm, r); }

// Identity asks who an object is and does not look into it: nothing is copied here in copy-everything mode either.
bool pn_same_slow(WorkerVm *vm, Ref a, Ref b) { return pn_current(vm, a).bits == pn_current(vm, b).bits; }
