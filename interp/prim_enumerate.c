// interp/prim_enumerate.c: all objects of a worker, one after the other: layers from the top down, symbols made at
// run time, old space, young space (so that what is made meanwhile comes last).
//
// What a worker has: not the originals that it has copies of, nor what is hidden (class index up to 31), nor
// forwarders and free chunks, which are hidden too. An instance of a class is what this worker's table gives the
// class for, followed: two indices may mean one class here, and one index a class that has become another.
//
// A loop over the primitives for "the next one" (78, 139) must neither collect nor write to objects of layers between
// two steps: both change the order. Those that answer an Array (177, 178) collect nothing.
#include "interp/interp_int.h"

// ---- Walking in order -----------------------------------------------------------------------------

static Oop after_in_young(const WorkerVm *vm, const uint64_t *at) {
    return at < vm->next ? oop_from_start((uint64_t *)(uintptr_t)at) : PN_NO_OOP;
}

static Oop first_in_old(const WorkerVm *vm, const OldSegment *segment) {
    for (; segment != NULL; segment = segment->next)
        if (segment->start < segment->top) return oop_from_start(segment->start);
    return after_in_young(vm, vm->young_start);
}

static Oop first_private(const WorkerVm *vm) { return first_in_old(vm, vm->old == NULL ? NULL : vm->old->segments); }

static Oop first_symbol(const WorkerVm *vm) {
    Oop symbol = pn_symbol_region_next(PN_NO_OOP);
    return oop_is_none(symbol) ? first_private(vm) : symbol;
}

static Oop first_in_layers(const WorkerVm *vm, const Layer *layer) {
    for (; layer != NULL; layer = layer->parent) {
        Oop o = pn_layer_next(layer, PN_NO_OOP);
        if (!oop_is_none(o)) return o;
    }
    return first_symbol(vm);
}

// Where a walk is. Layer or segment are those that the object lies in.
typedef struct Walk {
    WorkerVm *vm;
    Oop object;
    const Layer *layer;
    const OldSegment *segment;
    size_t steps;
} Walk;

static Oop next_shared(Walk *w) {
    if (ref_is_symbol_region(ref_of(w->object))) {
        Oop next = pn_symbol_region_next(w->object);
        return oop_is_none(next) ? first_private(w->vm) : next;
    }
    if (w->layer == NULL || !layer_holds(w->layer, w->object.bits))
        w->layer = pn_layer_of(w->vm->layer, w->object.bits);
    if (w->layer == NULL) return first_symbol(w->vm);
    Oop next = pn_layer_next(w->layer, w->object);
    return oop_is_none(next) ? first_in_layers(w->vm, w->layer->parent) : next;
}

static bool segment_holds(const OldSegment *s, uint64_t address) {
    return s != NULL && address >= (uint64_t)(uintptr_t)s->start && address < (uint64_t)(uintptr_t)s->end;
}

static Oop next_private(Walk *w) {
    uint64_t *at = oop_end(w->object);
    if (vm_is_young(w->vm, w->object.bits)) return after_in_young(w->vm, at);
    if (!segment_holds(w->segment, w->object.bits)) w->segment = pn_old_segment_of(w->vm, w->object.bits);
    if (w->segment == NULL) return after_in_young(w->vm, w->vm->young_start);
    return at < w->segment->top ? oop_from_start(at) : first_in_old(w->vm, w->segment->next);
}

// A window without sharing still holds the symbols.
static bool lies_in_window(Oop o) { return o.bits >> PN_WINDOW_SHIFT == PN_WINDOW >> PN_WINDOW_SHIFT; }

static bool is_superseded(const WorkerVm *vm, Oop o) {
    if (!pn_address_is_shared(o.bits) || !filter_may_hold(&vm->filter, o.bits)) return false;
    if (vm->layer != NULL && !ref_is_none(pn_overlay_get(&vm->layer->overlay, ref_of(o)))) return true;
    return vm->overlay != NULL && !ref_is_none(pn_overlay_get(vm->overlay, ref_of(o)));
}

static bool is_visible(const WorkerVm *vm, Oop o) {
    return oop_class_index(o) > PN_CLASS_LAST_HIDDEN && !is_superseded(vm, o);
}

static Walk walk_begin(WorkerVm *vm) { return (Walk){.vm = vm}; }
static Walk walk_after(WorkerVm *vm, Oop o) { return (Walk){.vm = vm, .object = o}; }

// The next visible object, none at the end.
static Oop walk_next(Walk *w) {
    do {
        if (oop_is_none(w->object)) w->object = first_in_layers(w->vm, w->vm->layer);
        else w->object = lies_in_window(w->object) ? next_shared(w) : next_private(w);
        w->steps++;
    } while (!oop_is_none(w->object) && !is_visible(w->vm, w->object));
    return w->object;
}

// ---- Instances ----------------------------------------------------------------------------------------

// Which class is asked for, and what is known of the class index met last: neighbours are often alike.
typedef struct Wanted {
    Oop class_object; // none: any object
    uint32_t known_index;
    bool known_answer;
} Wanted;

static bool is_wanted(WorkerVm *vm, Wanted *wanted, Oop o) {
    if (oop_is_none(wanted->class_object)) return true;
    uint32_t index = oop_class_index(o);
    if (index != wanted->known_index) {
        wanted->known_index = index;
        wanted->known_answer = pn_class_at(vm, index).bits == wanted->class_object.bits;
    }
    return wanted->known_answer;
}

static Oop next_wanted(Walk *w, Wanted *wanted) {
    Oop o;
    do { o = walk_next(w); } while (!oop_is_none(o) && !is_wanted(w->vm, wanted, o));
    return o;
}

static Ref found(WorkerVm *vm, const Walk *w, Oop o) {
    pn_charge(vm, w->steps / 4);
    return oop_is_none(o) ? pn_fail(vm, PN_PRIM_GENERIC) : ref_of(o);
}

Ref pn_prim_some_instance(WorkerVm *vm, Ref *arguments) {
    Wanted wanted = {.class_object = pn_deref(vm, arguments[0])};
    Walk w = walk_begin(vm);
    Oop o = next_wanted(&w, &wanted);
    return found(vm, &w, o);
}

Ref pn_prim_next_instance(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_GENERIC);
    Wanted wanted = {.class_object = pn_class_of(vm, o)};
    Walk w = walk_after(vm, o);
    Oop next = next_wanted(&w, &wanted);
    return found(vm, &w, next);
}

Ref pn_prim_some_object(WorkerVm *vm, Ref *arguments) {
    (void)arguments;
    Walk w = walk_begin(vm);
    Oop o = walk_next(&w);
    return found(vm, &w, o);
}

Ref pn_prim_next_object(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_GENERIC);
    Walk w = walk_after(vm, o);
    Oop next = walk_next(&w);
    return oop_is_none(next) ? ref_from_int(0) : found(vm, &w, next);
}

// ---- All of them -------------------------------------------------------------------------------------------

static size_t count_wanted(WorkerVm *vm, Wanted *wanted) {
    Walk w = walk_begin(vm);
    size_t count = 0;
    while (!oop_is_none(next_wanted(&w, wanted))) count++;
    pn_charge(vm, w.steps / 4);
    return count;
}

// Fill the array; it is not one of them itself. Other workers may have made symbols since they were counted: those
// are left out.
static void collect_wanted(WorkerVm *vm, Wanted *wanted, Oop array, size_t count) {
    Walk w = walk_begin(vm);
    size_t filled = 0;
    while (filled < count) {
        Oop o = next_wanted(&w, wanted);
        if (oop_is_none(o)) return;
        if (o.bits != array.bits) pn_store(vm, array, filled++, ref_of(o));
    }
}

static uint64_t copies_so_far(const WorkerVm *vm) { return vm->more == NULL ? 0 : vm->more->copies; }

// The array is old, for which nothing has to be collected: what has been counted is still there. But in
// copy-everything mode asking for classes copies them, so that some are counted twice at first.
static Ref all_wanted(WorkerVm *vm, Oop class_object) {
    Wanted wanted = {.class_object = class_object};
    size_t count;
    uint64_t copies;
    do {
        copies = copies_so_far(vm);
        count = count_wanted(vm, &wanted);
    } while (copies_so_far(vm) != copies);
    Oop array = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, count);
    if (oop_is_none(array)) return pn_fail(vm, PN_PRIM_NO_MEMORY);
    collect_wanted(vm, &wanted, array, count);
    return ref_of(array);
}

Ref pn_prim_all_instances(WorkerVm *vm, Ref *arguments) { return all_wanted(vm, pn_deref(vm, arguments[0])); }

Ref pn_prim_all_objects(WorkerVm *vm, Ref *arguments) {
    (void)arguments;
    return all_wanted(vm, PN_NO_OOP);
}
