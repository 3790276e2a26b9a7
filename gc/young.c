// gc/young.c: the young collector: copies what lives in the young block to a new one, or promotes it to old space.
//
// Owns: the young block of a worker and one spare. Called by gc/ only, but for pn_collect_young and pn_gc_idle.
//
// One block: survivors of the last collection below age_mark, eden above it (Y1). A collection promotes the former
// and copies what lives of the latter into the lower part of another block. That block is as large as all that is in
// use in the old one, so copying cannot fail: what cannot be promoted for want of memory stays young.
//
// Each object that was moved leaves a corpse that looks like a forwarder: class index 8, slot 0 its new place. The
// upper half of the corpse's header links the corpses of promoted objects whose slots have not been visited yet, so
// that list needs no memory.
//
// Weak objects: the named slots are strong; of the others, those whose referent has not survived become nil. An
// ephemeron whose key is kept by nothing else fires: it turns into an ordinary object (format 1) and keeps its key.
// There are no queues of finalization yet that would hear of either.
#include "gc/gc_int.h"

typedef struct Scavenge {
    WorkerVm *vm;
    GcState *gc;
    uint64_t from_start, from_bytes; // the block that is left
    uint64_t promote_below;          // objects at lower addresses of it are promoted
    uint64_t to_start, to_bytes;
    uint64_t *next;    // first free word of the new block
    uint64_t *scanned; // objects of the new block below this have been visited
    uint64_t promoted; // 1 + word offset of the corpse of the newest promoted object not yet visited, or 0
    size_t promoted_bytes;
} Scavenge;

static inline bool is_from(const Scavenge *s, Ref r) { return r.bits - s->from_start < s->from_bytes; }
static inline bool is_to(const Scavenge *s, Ref r) { return r.bits - s->to_start < s->to_bytes; }

// ---- Moving one object ------------------------------------------------------------------------------------------

static void leave_corpse(Oop o, Oop copy, uint64_t link) {
    oop_set_header(o, link << 32 | (uint64_t)PN_FMT_FORWARDED << PN_HDR_FORMAT_SHIFT | PN_CLASS_FORWARDED);
    oop_init_slot(o, 0, ref_of(copy));
}

static inline void copy_words(uint64_t *to, const uint64_t *from, size_t words) {
    if (PN_UNLIKELY(words > 16)) {
        memcpy(to, from, words * 8);
        return;
    }
    for (size_t i = 0; i < words; i++) to[i] = from[i];
}

static Oop copy_young(Scavenge *s, Oop o, size_t slots) {
    size_t words = pn_object_bytes(slots) / 8;
    bool overflows = slots >= PN_OVERFLOW_SLOTS;
    Oop copy = oop_at_address(s->next + overflows);
    copy_words(s->next, oop_address(o) - overflows, words);
    s->next += words;
    leave_corpse(o, copy, 0);
    return copy;
}

// PN_NO_OOP if there is no memory.
static Oop promote(Scavenge *s, Oop o, size_t slots) {
    uint64_t header = oop_header(o) & ~(PN_HDR_REMEMBERED | UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT);
    Oop copy = pn_old_raw(s->vm, header, slots);
    if (oop_is_none(copy)) return copy;
    copy_words(oop_address(copy) + 1, oop_address(o) + 1, pn_max(slots, 1));
    s->promoted_bytes += pn_object_bytes(slots);
    leave_corpse(o, copy, s->promoted);
    s->promoted = (o.bits - s->from_start) / 8 + 1;
    if (PN_UNLIKELY(s->gc->old_state == PN_OLD_MARKING)) pn_gc_mark_again(s->vm, copy);
    return copy;
}

static Ref move(Scavenge *s, Oop o) {
    size_t slots = oop_slot_count(o);
    Oop copy = PN_NO_OOP;
    if (o.bits < s->promote_below) copy = promote(s, o, slots);
    if (oop_is_none(copy)) copy = copy_young(s, o, slots);
    return ref_of(copy);
}

// Follow r to the end: out of corpses, forwarders, superseded originals. The answer is an immediate, or good, or
// names an object that has not been moved (is_from).
static Ref settle(Scavenge *s, Ref r) {
    while (!ref_is_immediate(r)) {
        Ref next;
        if (is_from(s, r)) next = oop_is_forwarder(ref_raw(r)) ? oop_slot(ref_raw(r), 0) : r;
        else next = pn_gc_step(s->vm, r);
        if (ref_same(next, r)) break;
        r = next;
    }
    return r;
}

// ---- Visiting slots ---------------------------------------------------------------------------------------------

static inline bool visit_slot(Scavenge *s, Ref *slot) {
    Ref r = *slot;
    if (pn_gc_is_nothing(r)) return false;
    r = settle(s, r);
    if (ref_is_immediate(r)) {
        *slot = r;
        return false;
    }
    if (is_from(s, r)) r = move(s, ref_raw(r));
    *slot = r;
    return is_to(s, r);
}

static bool visit_range(void *context, Ref *from, Ref *to) {
    Scavenge *s = context;
    bool has_young = false;
    for (Ref *slot = from; slot < to; slot++) has_young |= visit_slot(s, slot);
    return has_young;
}

static bool visit_slots(Scavenge *s, Oop o, size_t count) { return visit_range(s, oop_slots(o), oop_slots(o) + count); }

static bool key_is_alive(Scavenge *s, Oop ephemeron) {
    Ref key = oop_slot(ephemeron, 0);
    if (pn_gc_is_nothing(key)) return true;
    key = settle(s, key);
    return ref_is_immediate(key) || !is_from(s, key);
}

// Visit what keeps others alive in a weak object or ephemeron; the rest is for later. With no memory to remember
// that, all of it is strong this time.
static bool visit_weak_kind(Scavenge *s, Oop o) {
    if (oop_format(o) == PN_FMT_WEAK) {
        if (pn_gc_list_add(&s->gc->weak, o)) return visit_slots(s, o, pn_gc_named_slots(o));
    } else if (!key_is_alive(s, o) && pn_gc_list_add(&s->gc->ephemerons, o)) {
        return false;
    }
    return visit_slots(s, o, oop_slot_count(o));
}

// Answers whether o refers to young objects, as far as that is known yet.
static bool visit_object(Scavenge *s, Oop o) {
    uint64_t h = oop_header(o);
    uint32_t format = hdr_format(h);
    if (PN_UNLIKELY(format == PN_FMT_WEAK || format == PN_FMT_EPHEMERON)) return visit_weak_kind(s, o);
    return visit_slots(s, o, pn_gc_value_slots(o, h));
}

// An old object refers to young ones.
static void remember(Scavenge *s, Oop o) {
    if (is_to(s, ref_of(o)) || oop_header(o) & PN_HDR_REMEMBERED) return;
    pn_remember(s->vm, o);
}

static Oop next_promoted(Scavenge *s) {
    uint64_t *corpse = (uint64_t *)s->from_start + (s->promoted - 1);
    s->promoted = *corpse >> 32;
    return oop_at_address((uint64_t *)corpse[1]);
}

static void drain(Scavenge *s) {
    for (;;) {
        while (s->scanned < s->next) {
            Oop o = oop_from_start(s->scanned);
            s->scanned = oop_end(o);
            visit_object(s, o);
        }
        if (s->promoted == 0) return;
        Oop o = next_promoted(s);
        if (visit_object(s, o)) remember(s, o);
    }
}

// ---- Roots ------------------------------------------------------------------------------------------------------

static bool visit_remembered(void *context, Oop o) { return visit_object(context, o); }

// Code records and the class table are many and rarely new: what they name is promoted at once, so that no later
// collection has to ask them.
static void visit_promoted_roots(Scavenge *s) {
    uint64_t promote_below = s->promote_below;
    s->promote_below = UINT64_MAX;
    pn_gc_visit_own_classes(s->vm, visit_range, s);
    if (!pn_gc_visit_codes(s->vm, s->gc->known_codes, visit_range, s)) s->gc->known_codes = s->vm->more->codes;
    s->promote_below = promote_below;
}

// ---- Weak things ------------------------------------------------------------------------------------------------

// Visit the ephemerons whose keys turned out to be alive; answers whether there was one.
static bool visit_living_ephemerons(Scavenge *s) {
    OopList *list = &s->gc->ephemerons;
    size_t waiting = list->count, left = 0;
    for (size_t i = 0; i < waiting; i++) {
        Oop o = list->items[i];
        if (!key_is_alive(s, o)) list->items[left++] = o;
        else if (visit_slots(s, o, oop_slot_count(o))) remember(s, o);
    }
    list->count = left;
    return left < waiting;
}

static void fire_ephemerons(Scavenge *s) {
    OopList *list = &s->gc->ephemerons;
    for (size_t i = 0; i < list->count; i++) {
        Oop o = list->items[i];
        uint64_t format = UINT64_C(31) << PN_HDR_FORMAT_SHIFT;
        oop_set_header(o, (oop_header(o) & ~format) | (uint64_t)PN_FMT_FIXED << PN_HDR_FORMAT_SHIFT);
        if (visit_slots(s, o, oop_slot_count(o))) remember(s, o);
    }
    list->count = 0;
}

static void finish_ephemerons(Scavenge *s) {
    while (s->gc->ephemerons.count > 0) {
        if (!visit_living_ephemerons(s)) fire_ephemerons(s);
        drain(s);
    }
}

static void clear_dead_referents(Scavenge *s, Oop o) {
    bool has_young = false;
    for (size_t i = pn_gc_named_slots(o), n = oop_slot_count(o); i < n; i++) {
        Ref r = oop_slot(o, i);
        if (pn_gc_is_nothing(r)) continue;
        r = settle(s, r);
        if (!ref_is_immediate(r) && is_from(s, r)) r = s->vm->nil;
        oop_init_slot(o, i, r);
        has_young |= !ref_is_immediate(r) && is_to(s, r);
    }
    if (has_young) remember(s, o);
}

static void finish_weak(Scavenge *s) {
    for (size_t i = 0; i < s->gc->weak.count; i++) clear_dead_referents(s, s->gc->weak.items[i]);
    s->gc->weak.count = 0;
}

// ---- Blocks -----------------------------------------------------------------------------------------------------

uint64_t *pn_gc_embedded_block(WorkerVm *vm) {
    return (uint64_t *)(void *)((char *)vm + sizeof(WorkerVm) + PN_FIRST_STACK_BYTES);
}

static uint64_t *take_block(WorkerVm *vm, GcState *gc, size_t bytes) {
    uint64_t *embedded = pn_gc_embedded_block(vm);
    if (bytes == PN_FIRST_YOUNG_BYTES && vm->young_start != embedded) return embedded;
    uint64_t *spare = gc->spare;
    gc->spare = NULL;
    if (spare != NULL && gc->spare_bytes == bytes) return spare;
    pn_block_give(PN_BLOCK_YOUNG, spare, gc->spare_bytes);
    return pn_block_take(PN_BLOCK_YOUNG, bytes);
}

static void poison(uint64_t *at, size_t bytes) {
    for (size_t i = 0; i < bytes / 8; i++) at[i] = PN_POISON_YOUNG;
}

// A block is left: kept for the next collection if that wants its size.
static void leave_block(WorkerVm *vm, GcState *gc, uint64_t *block, size_t bytes) {
    if (pn_options.poison_dead) poison(block, bytes);
    if (block == pn_gc_embedded_block(vm)) return;
    if (bytes == gc->wanted_bytes && gc->spare == NULL) {
        gc->spare = block;
        gc->spare_bytes = bytes;
    } else {
        pn_block_give(PN_BLOCK_YOUNG, block, bytes);
    }
}

// The new block holds all that is in use in the old one, and needed bytes twice (rather than fill it at once).
static size_t next_block_bytes(const GcState *gc, size_t used, size_t need, GcAge age) {
    size_t bytes = age == GC_AGE_NONE ? PN_FIRST_YOUNG_BYTES : gc->wanted_bytes;
    while (bytes < used || bytes < 2 * need) bytes *= 2;
    return bytes;
}

size_t pn_gc_largest_block(const WorkerVm *vm) {
    if (vm->more == NULL || vm->more->memory_limit == 0) return PN_YOUNG_MAX_BYTES;
    size_t bytes = PN_YOUNG_MAX_BYTES;
    while (bytes > PN_FIRST_YOUNG_BYTES && bytes > vm->more->memory_limit / 16) bytes /= 2;
    return bytes;
}

// Choose the size of the next block from the habits of the worker: how much of the last one it used, how much
// survived.
static void adapt(const WorkerVm *vm, GcState *gc, size_t old_bytes, size_t used, size_t bytes, size_t survived) {
    bool is_busy = 2 * used >= old_bytes;
    gc->calm = survived < bytes / 32 ? gc->calm + 1 : 0;
    gc->wanted_bytes = bytes;
    if (!is_busy) return;
    if (bytes < PN_YOUNG_HABIT_BYTES) gc->wanted_bytes = bytes < PN_YOUNG_HABIT_BYTES / 16 ? 4 * bytes : 2 * bytes;
    else if (survived > bytes / 4 && bytes < PN_YOUNG_MAX_BYTES) gc->wanted_bytes = 2 * bytes;
    else if (bytes > PN_YOUNG_HABIT_BYTES && gc->calm >= 8) gc->wanted_bytes = bytes / 2;
    gc->wanted_bytes = pn_min(gc->wanted_bytes, pn_gc_largest_block(vm));
}

// Use the new block. When a smaller one is wanted next time, eden ends early: what is in use must fit into that one.
static void use_block(Scavenge *s, size_t need) {
    WorkerVm *vm = s->vm;
    vm->young_start = (uint64_t *)s->to_start;
    vm->young_bytes = s->to_bytes;
    vm->age_mark = vm->next = s->next;
    size_t survived = (size_t)((uint64_t)s->next - s->to_start);
    size_t end = pn_min(s->to_bytes, pn_max(s->gc->wanted_bytes, survived + need));
    vm->limit = pn_options.stress_gc != 0 ? vm->next : vm->young_start + end / 8;
}

size_t pn_gc_eden_room(const WorkerVm *vm) {
    uint64_t *end = pn_options.stress_gc != 0 ? vm->young_start + vm->young_bytes / 8 : vm->limit;
    return (size_t)(end - vm->next) * 8;
}

// ---- A collection -----------------------------------------------------------------------------------------------

static uint64_t promotion_bound(const WorkerVm *vm, GcAge age) {
    if (age == GC_AGE_NONE) return 0;
    return age == GC_AGE_ALL ? UINT64_MAX : (uint64_t)vm->age_mark;
}

static void visit_roots(Scavenge *s) {
    pn_gc_visit_stack(s->vm, true, visit_range, s);
    pn_gc_visit_globals(s->vm, visit_range, s);
    visit_promoted_roots(s);
    pn_gc_thin_remembered(s->vm, visit_remembered, s);
}

bool pn_gc_scavenge(WorkerVm *vm, size_t need, GcAge age) {
    uint64_t began = pn_gc_now();
    GcState *gc = pn_gc_state(vm);
    size_t used = (size_t)(vm->next - vm->young_start) * 8;
    size_t bytes = next_block_bytes(gc, used, need, age);
    uint64_t *to = take_block(vm, gc, bytes);
    if (to == NULL) return false;
    Scavenge s = {.vm = vm,
                  .gc = gc,
                  .from_start = (uint64_t)vm->young_start,
                  .from_bytes = vm->young_bytes,
                  .promote_below = promotion_bound(vm, age),
                  .to_start = (uint64_t)to,
                  .to_bytes = bytes,
                  .next = to,
                  .scanned = to};
    visit_roots(&s);
    drain(&s);
    finish_ephemerons(&s);
    finish_weak(&s);
    size_t survived = (size_t)(s.next - to) * 8;
    adapt(vm, gc, s.from_bytes, used, bytes, survived + s.promoted_bytes);
    leave_block(vm, gc, (uint64_t *)s.from_start, s.from_bytes);
    use_block(&s, need);
    vm->gc_count++;
    pn_gc_note_young(vm, began, survived, s.promoted_bytes);
    pn_gc_check(vm, "a young collection");
    return true;
}

void pn_collect_young(WorkerVm *vm) {
    if (pn_gc_scavenge(vm, 0, GC_AGE_NORMAL) && pn_gc_old_is_due(vm, 0)) pn_collect_full(vm);
}

void pn_gc_idle(WorkerVm *vm) {
    if (vm->more == NULL || vm->more->gc_state == NULL) return;
    GcState *gc = vm->more->gc_state;
    if (vm->next != vm->age_mark) pn_gc_scavenge(vm, 0, GC_AGE_NORMAL);
    size_t used = (size_t)(vm->next - vm->young_start) * 8;
    if (vm->young_bytes > next_block_bytes(gc, used, 0, GC_AGE_NONE)) pn_gc_scavenge(vm, 0, GC_AGE_NONE);
    gc->wanted_bytes = 4 * PN_FIRST_YOUNG_BYTES;
    pn_block_give(PN_BLOCK_YOUNG, gc->spare, gc->spare_bytes);
    gc->spare = NULL;
}
