// gc/freeze.c: everything private becomes a layer; the worker goes on above it.
//
// Owns nothing beyond a call. Called without a safepoint, by a worker without frames. All that can fail (memory,
// addresses, indices) is done before the private world is changed; publishing the layer decides.
//
// Without copy on write nobody can stand on a layer: the worker keeps its private world as it is, and the layer is
// what others thaw; see Note [Thawed classes] in gc/thaw.c for whose the class indices are then.
//
// What is kept: all that the worker's roots reach. Methods that only a Code record knows are not: no frame runs them.
// Weak objects and ephemerons go into the layer as they are and are strong there; that pinned objects, semaphores,
// processes and live contexts are left behind privately comes with those.
#include "gc/evacuate.h"

// ---- Before -----------------------------------------------------------------------------------------------------

static PnStatus no_memory(PnError *error) {
    return pn_error(error, PN_NO_MEMORY, 0, "there is no memory to freeze a worker; nothing has changed");
}

static PnStatus enter_class(WorkerVm *vm, Oop o, PnError *error) {
    uint32_t index = pn_indices_take(1);
    if (index == 0) return pn_error(error, PN_LIMIT, 0, "the process has no class indices left");
    if (pn_class_enter(vm, o, index) == PN_OK) return PN_OK;
    pn_indices_give(&index, 1);
    return no_memory(error);
}

// A class that never had an instance has no index yet. In a layer its hash could not be set any more, and an ordinary
// hash would be taken for an index.
static PnStatus enter_all_classes(WorkerVm *vm, PnError *error) {
    PnStatus status = PN_OK;
    for (OldSegment *s = vm->old == NULL ? NULL : vm->old->segments; s != NULL; s = s->next)
        for (uint64_t *p = s->start; p < s->top && status == PN_OK;) {
            Oop o = oop_from_start(p);
            p = oop_end(o);
            bool may_be_class = oop_class_index(o) != PN_CLASS_FREE && hdr_hash(oop_header(o)) == 0;
            if (may_be_class && pn_gc_is_class(o)) status = enter_class(vm, o, error);
        }
    return status;
}

// Everything private is old after this.
static PnStatus prepare(WorkerVm *vm, PnError *error) {
    if (pn_frames(vm).link != NULL)
        return pn_error(error, PN_REFUSED, 0, "worker %u has a process: it cannot be frozen", vm->id);
    if (pn_gc_state(vm)->thawed_from != NULL)
        return pn_error(error, PN_REFUSED, 0, "worker %u has thawed its layers: it cannot be frozen", vm->id);
    pn_collect_full(vm);
    if (vm->next != vm->young_start) return no_memory(error);
    PnStatus status = enter_all_classes(vm, error);
    bool has_room = PN_COW || pn_gc_reserve_class_entries(vm, vm->more->own_index_count);
    return status == PN_OK && !has_room ? no_memory(error) : status;
}

// ---- The layer's tables -----------------------------------------------------------------------------------------

// What a value of the worker's overlay means: forwarders are gone in the layer.
static Ref settled(WorkerVm *vm, Ref r) {
    while (!ref_is_immediate(r)) {
        Ref next = pn_gc_step(vm, r);
        if (ref_same(next, r)) break;
        r = next;
    }
    return r;
}

// A8: the parent's entries, the values followed through the worker's; then the worker's own.
static bool flatten(Evacuation *e, const Overlay *from, Overlay *to) {
    for (size_t i = 0; from != NULL && from->entries != NULL && i <= from->mask; i++) {
        Ref key = {from->entries[2 * i]}, value = {from->entries[2 * i + 1]};
        if (!ref_is_none(key) && !pn_overlay_put(to, key, pn_evacuated(e, settled(e->vm, value)))) return false;
    }
    return true;
}

static bool make_overlay(Evacuation *e, Layer *layer) {
    const Overlay *below = layer->parent == NULL ? NULL : &layer->parent->overlay;
    if (!flatten(e, below, &layer->overlay) || !flatten(e, e->vm->overlay, &layer->overlay)) return false;
    return layer->overlay.count == 0 || pn_filter_build(&layer->filter, &layer->overlay, NULL);
}

static bool make_indices(const WorkerVm *vm, Layer *layer) {
    size_t count = vm->more->own_index_count;
    if (count == 0) return true;
    layer->indices = pn_mem_alloc(count * sizeof *layer->indices);
    if (layer->indices == NULL) return false;
    memcpy(layer->indices, vm->more->own_indices, count * sizeof *layer->indices);
    layer->index_count = count;
    return true;
}

static size_t add_shapes(Evacuation *e, Layer *layer, const PnIndexShape *shapes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        PnIndexShape shape = {shapes[i].index, pn_evacuated(e, settled(e->vm, shapes[i].class_ref))};
        size_t at = 0;
        while (at < layer->obsolete_count && layer->obsolete[at].index != shape.index) at++;
        layer->obsolete[at] = shape;
        if (at == layer->obsolete_count) layer->obsolete_count++;
    }
    return layer->obsolete_count;
}

// H7: obsolete classes of the parent's indices, then the worker's own, which win.
static bool make_obsolete(Evacuation *e, Layer *layer) {
    const WorkerMore *more = e->vm->more;
    size_t below = layer->parent == NULL ? 0 : layer->parent->obsolete_count;
    if (below + more->obsolete_count == 0) return true;
    layer->obsolete = pn_mem_alloc((below + more->obsolete_count) * sizeof *layer->obsolete);
    if (layer->obsolete == NULL) return false;
    if (below != 0) add_shapes(e, layer, layer->parent->obsolete, below);
    add_shapes(e, layer, more->obsolete, more->obsolete_count);
    return true;
}

static PnStatus fill_draft(Evacuation *e, PnError *error) {
    Layer *layer = e->draft.layer;
    if (!make_overlay(e, layer) || !make_indices(e->vm, layer) || !make_obsolete(e, layer)) return no_memory(error);
    pn_evacuation_copy(e);
    if (!pn_evacuation_mark_deeply_read_only(e)) return no_memory(error);
    layer->nil = pn_evacuated(e, e->vm->nil);
    layer->special_objects = pn_evacuated(e, settled(e->vm, e->vm->special_objects));
    return pn_layer_publish(&e->draft, error);
}

static PnStatus make_layer(Evacuation *e, PnError *error) {
    PnStatus status = pn_layer_draft(e->vm->layer, e->object_bytes, e->code_bytes, &e->draft, error);
    if (status != PN_OK) return status;
    status = fill_draft(e, error);
    if (status == PN_OK) return PN_OK;
    pn_layer_discard(&e->draft);
    return status;
}

// ---- After ------------------------------------------------------------------------------------------------------

static bool rename_range(void *context, Ref *from, Ref *to) {
    Evacuation *e = context;
    for (Ref *slot = from; slot < to; slot++)
        if (!ref_is_none(*slot)) *slot = pn_evacuated(e, settled(e->vm, *slot));
    return false;
}

static void forget_private_heap(WorkerVm *vm) {
    pn_code_free_all(vm);
    pn_gc_state(vm)->known_codes = NULL;
    pn_remembered_free(vm);
    pn_old_space_free(vm);
    vm->next = vm->age_mark = vm->young_start;
}

static void enter_world_of_layer(WorkerVm *vm, Layer *layer) {
    World *own = vm->more->own_world;
    vm->world = layer->world;
    vm->site_base = layer->world->site_base;
    vm->world_key = layer->world->id << 24;
    vm->more->own_world = NULL;
    vm->more->behavior_changed = false;
    if (own != NULL) pn_world_free(own);
}

// Nothing can fail from here on.
static void move_onto(Evacuation *e, Layer *layer) {
    WorkerVm *vm = e->vm;
    Layer *below = vm->layer;
    pn_gc_visit_stack(vm, false, rename_range, e);
    pn_gc_visit_globals(vm, rename_range, e);
    pn_gc_visit_own_classes(vm, rename_range, e);
    vm->more->own_index_count = 0;
    vm->more->obsolete_count = 0; // the layer's serve now
    forget_private_heap(vm);
    vm->nil = layer->nil;
    vm->layer = layer;
    pn_overlay_drop(vm);
    enter_world_of_layer(vm, layer);
    if (below != NULL) pn_layer_release(below);
}

// In a build without copy on write: the indices are the layer's from now on, the worker's own classes stand for them
// here.
static void stay(Evacuation *e, Layer *layer) {
    WorkerVm *vm = e->vm;
    for (size_t i = 0; i < vm->more->own_index_count; i++) {
        uint32_t index = vm->more->own_indices[i];
        Ref class_ref = pn_gc_class_entry(index);
        pn_gc_add_class_entry(vm, index, class_ref);
        pn_gc_set_class_entry(index, pn_evacuated(e, class_ref));
    }
    vm->more->own_index_count = 0;
    pn_gc_state(vm)->thawed_from = layer;
}

static PnStatus evacuate(WorkerVm *vm, Layer **layer, PnError *error) {
    Evacuation e;
    pn_gc_mark_for_freeze(vm);
    bool planned = pn_evacuation_plan(&e, vm);
    pn_gc_clear_marks(vm);
    PnStatus status = planned ? make_layer(&e, error) : no_memory(error);
    if (status == PN_OK) {
        if (layer != NULL) {
            *layer = e.draft.layer;
            pn_layer_retain(e.draft.layer);
        }
        if (PN_COW) move_onto(&e, e.draft.layer);
        else stay(&e, e.draft.layer);
        pn_gc_check(vm, "a freeze");
    }
    pn_evacuation_free(&e);
    return status;
}

PnStatus pn_freeze(WorkerVm *vm, Layer **layer, PnError *error) {
    PnStatus status = prepare(vm, error);
    return status == PN_OK ? evacuate(vm, layer, error) : status;
}
