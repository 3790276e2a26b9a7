// gc/old.c: the collector of old space: marks, then sweeps. Its state is in GcState, its work comes in steps.
//
// Owns: the state machine of gc/gc.h, free lists while they are rebuilt, OldSpace.collect_at.
// Called by gc/ when a young collection has left old space too full, by pn_collect_full, and by freeze.
//
//   from      to        function         when
//   IDLE      MARKING   begin_marking    a step is asked for
//   MARKING   SWEEPING  finish_marking   the mark stack is empty; roots are scanned once more
//   SWEEPING  IDLE      finish_sweeping  no segment is left
//
// In MARKING an object once traced may be stored into: the store test fails for all objects then, and pn_mark_barrier
// marks what is stored. New old objects are born marked; who fills one without stores says so with pn_gc_mark_again.
// Today no Smalltalk code runs between the steps: pn_collect_full runs them all.
//
// Weak objects and ephemerons: as in young.c. An ephemeron's key or a weak referent that is young counts as alive.
#include "gc/mark.h"

#define PN_COLLECT_HEADROOM ((size_t)1 << 20) // at least so many bytes are allocated between two collections
#define PN_STEP_OBJECTS ((size_t)1 << 16)

// ---- The barrier ------------------------------------------------------------------------------------------------

static void mark_stored(WorkerVm *vm, Oop object, Ref new_value) {
    (void)object;
    Marker m = pn_gc_marker(vm);
    pn_gc_mark_slot(&m, &new_value);
}

// What heap/ calls. Before main: the same for all workers, and never changed again.
__attribute__((constructor)) static void install_in_heap(void) {
    pn_mark_barrier = mark_stored;
    pn_gc_release = pn_gc_free;
}

static void switch_barrier(WorkerVm *vm, bool on) {
    vm->store_mask = on ? PN_STORE_MASK_MARKING : PN_STORE_MASK;
    vm->store_want = on ? PN_STORE_WANT_MARKING : PN_STORE_WANT;
    vm->old->birth_bits = on ? PN_HDR_MARKED : 0;
}

// ---- Weak things ------------------------------------------------------------------------------------------------

static void mark_all_slots(Marker *m, Oop o) {
    for (size_t i = 0, n = oop_slot_count(o); i < n; i++) pn_gc_mark_slot(m, oop_slots(o) + i);
}

// Trace the ephemerons whose keys turned out to be alive; answers whether there was one.
static bool trace_living_ephemerons(Marker *m) {
    OopList *list = &m->gc->ephemerons;
    size_t waiting = list->count, left = 0;
    for (size_t i = 0; i < waiting; i++) {
        Oop o = list->items[i];
        if (pn_gc_is_alive(m, oop_slots(o))) mark_all_slots(m, o);
        else list->items[left++] = o;
    }
    list->count = left;
    return left < waiting;
}

static void fire_ephemerons(Marker *m) {
    OopList fired = m->gc->ephemerons;
    m->gc->ephemerons = (OopList){0};
    for (size_t i = 0; i < fired.count; i++) {
        Oop o = fired.items[i];
        uint64_t format = UINT64_C(31) << PN_HDR_FORMAT_SHIFT;
        oop_set_header(o, (oop_header(o) & ~format) | (uint64_t)PN_FMT_FIXED << PN_HDR_FORMAT_SHIFT);
        mark_all_slots(m, o);
    }
    pn_gc_list_free(&fired);
}

static void finish_ephemerons(Marker *m) {
    while (m->gc->ephemerons.count > 0) {
        if (!trace_living_ephemerons(m)) fire_ephemerons(m);
        pn_gc_trace_all(m);
    }
}

static void clear_dead_referents(Marker *m, Oop o) {
    for (size_t i = pn_gc_named_slots(o), n = oop_slot_count(o); i < n; i++)
        if (!pn_gc_is_alive(m, oop_slots(o) + i)) oop_init_slot(o, i, m->vm->nil);
}

static void finish_weak(Marker *m) {
    for (size_t i = 0; i < m->gc->weak.count; i++) clear_dead_referents(m, m->gc->weak.items[i]);
    m->gc->weak.count = 0;
}

// ---- End of marking ---------------------------------------------------------------------------------------------

// Give back the indices of own classes that nothing kept. Sites and caches of the worker's world may still know them,
// where they belong to its private code.
static void drop_dead_classes(Marker *m) {
    WorkerMore *more = m->vm->more;
    size_t left = 0, count = more->own_index_count;
    for (size_t i = 0; i < count; i++) {
        uint32_t index = more->own_indices[i];
        Ref entry = pn_gc_class_entry(index), before = entry;
        if (!pn_gc_is_alive(m, &entry)) {
            pn_indices_give(&index, 1);
            continue;
        }
        more->own_indices[left++] = index;
        if (!ref_same(entry, before)) pn_gc_set_class_entry(index, entry);
    }
    more->own_index_count = left;
    if (left == count || (more->own_world == NULL && more->codes == NULL)) return;
    bool had_changed = more->behavior_changed;
    pn_behavior_changed(m->vm);
    more->behavior_changed = had_changed;
}

static bool is_marked(void *context, Oop o) {
    (void)context;
    return (oop_header(o) & PN_HDR_MARKED) != 0;
}

static void mark_from_roots(Marker *m) {
    pn_gc_mark_roots(m);
    pn_gc_mark_codes(m);
}

static void finish_marking(Marker *m) {
    mark_from_roots(m);
    pn_gc_trace_all(m);
    finish_ephemerons(m);
    finish_weak(m);
    drop_dead_classes(m);
    pn_gc_thin_remembered(m->vm, is_marked, NULL);
    switch_barrier(m->vm, false);
    memset(m->vm->old->free, 0, sizeof m->vm->old->free);
    m->gc->sweep_link = &m->vm->old->segments;
    m->gc->swept_live_bytes = 0;
    m->gc->old_state = PN_OLD_SWEEPING;
}

// ---- Sweeping ---------------------------------------------------------------------------------------------------

static void poison(uint64_t *from, uint64_t *to) {
    for (uint64_t *p = from; p < to; p++) *p = PN_POISON_OLD;
}

// Dead objects lie in [from, to). The end of the current segment becomes room to bump into, anything else a free
// chunk.
static void free_run(OldSpace *old, OldSegment *s, uint64_t *from, uint64_t *to) {
    if (pn_options.poison_dead) poison(from, to);
    if (s == old->current && to == s->top) s->top = from;
    else pn_free_list_add(old, from, to);
}

static bool has_marked(const OldSegment *s) {
    for (uint64_t *p = s->start; p < s->top;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (oop_header(o) & PN_HDR_MARKED) return true;
    }
    return false;
}

// Clear marks, collect runs of dead objects; answers the number of objects.
static size_t sweep_segment(OldSpace *old, OldSegment *s) {
    uint64_t *dead = NULL;
    size_t objects = 0;
    s->live_bytes = 0;
    for (uint64_t *p = s->start, *end = s->top, *after; p < end; p = after, objects++) {
        Oop o = oop_from_start(p);
        after = oop_end(o);
        if ((oop_header(o) & PN_HDR_MARKED) == 0) {
            if (dead == NULL) dead = p;
            continue;
        }
        oop_set_header(o, oop_header(o) & ~PN_HDR_MARKED);
        s->live_bytes += (size_t)(after - p) * 8;
        if (dead != NULL) free_run(old, s, dead, p);
        dead = NULL;
    }
    if (dead != NULL) free_run(old, s, dead, s->top);
    return objects;
}

static size_t sweep_next(WorkerVm *vm, GcState *gc) {
    OldSegment *s = *gc->sweep_link;
    if (!has_marked(s)) {
        if (pn_options.poison_dead && !s->is_mapped) poison(s->start, s->top);
        pn_old_segment_free(vm, gc->sweep_link);
        return 1;
    }
    size_t objects = sweep_segment(vm->old, s);
    gc->swept_live_bytes += s->live_bytes;
    gc->sweep_link = &s->next;
    return objects;
}

// The next collection comes when there is twice as much as now, in a large heap one and a half times.
static size_t next_threshold(size_t live) {
    size_t growth = live < ((size_t)64 << 20) ? live : live / 2;
    return live + pn_max(growth, PN_COLLECT_HEADROOM);
}

static void finish_sweeping(WorkerVm *vm, GcState *gc) {
    vm->old->bytes_used = gc->swept_live_bytes;
    vm->old->collect_at = next_threshold(gc->swept_live_bytes);
    gc->sweep_link = NULL;
    gc->old_state = PN_OLD_IDLE;
    pn_gc_mark_stack_free(vm);
}

// ---- Steps ------------------------------------------------------------------------------------------------------

static void begin_marking(WorkerVm *vm, GcState *gc) {
    Marker m = pn_gc_marker(vm);
    gc->old_state = PN_OLD_MARKING;
    switch_barrier(vm, true);
    mark_from_roots(&m);
}

static void step_marking(WorkerVm *vm, size_t budget) {
    Marker m = pn_gc_marker(vm);
    if (pn_gc_trace(&m, budget) < budget) finish_marking(&m);
}

static void step_sweeping(WorkerVm *vm, GcState *gc, size_t budget) {
    for (size_t done = 0; done < budget;) {
        if (*gc->sweep_link == NULL) {
            finish_sweeping(vm, gc);
            return;
        }
        done += sweep_next(vm, gc);
    }
}

bool pn_gc_old_step(WorkerVm *vm, size_t budget) {
    GcState *gc = pn_gc_state(vm);
    if (vm->old == NULL) return false;
    switch (gc->old_state) {
    case PN_OLD_IDLE: begin_marking(vm, gc); break;
    case PN_OLD_MARKING: step_marking(vm, budget); break;
    case PN_OLD_SWEEPING: step_sweeping(vm, gc, budget); break;
    }
    return gc->old_state != PN_OLD_IDLE;
}

PnOldState pn_old_state(const WorkerVm *vm) {
    if (vm->more == NULL || vm->more->gc_state == NULL) return PN_OLD_IDLE;
    return ((const GcState *)vm->more->gc_state)->old_state;
}

bool pn_gc_old_is_due(const WorkerVm *vm, size_t more_bytes) {
    return vm->old != NULL && vm->old->bytes_used + more_bytes >= vm->old->collect_at;
}

void pn_collect_full(WorkerVm *vm) {
    uint64_t began = pn_gc_now();
    pn_gc_scavenge(vm, 0, GC_AGE_ALL);
    while (pn_gc_old_step(vm, PN_STEP_OBJECTS)) continue;
    pn_gc_note_full(vm, began);
    pn_gc_check(vm, "a full collection");
}

// ---- For freeze -------------------------------------------------------------------------------------------------

void pn_gc_mark_for_freeze(WorkerVm *vm) {
    Marker m = pn_gc_marker(vm);
    m.all_is_strong = true;
    pn_gc_mark_roots(&m);
    pn_gc_mark_own_classes(&m);
    pn_gc_trace_all(&m);
    pn_gc_mark_stack_free(vm);
}

void pn_gc_clear_marks(WorkerVm *vm) {
    if (vm->old == NULL) return;
    for (OldSegment *s = vm->old->segments; s != NULL; s = s->next)
        for (uint64_t *p = s->start; p < s->top;) {
            Oop o = oop_from_start(p);
            p = oop_end(o);
            oop_set_header(o, oop_header(o) & ~PN_HDR_MARKED);
        }
}
