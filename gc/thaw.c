// gc/thaw.c: the opposite of freeze: a worker takes private copies of all its layers and stands on none.
//
// Owns nothing beyond a call. For comparing shared with private runs of the same code, and for builds without copy on
// write.
//
// Note [Thawed classes]. Copies keep their class index and identity hash, so that the fixed indices stay fixed and
// identity- hashed collections stay right. The class table goes on naming the layers' classes, for the other workers
// that stand on them; this worker has an entry in WorkerMore.obsolete for each of its classes instead, which
// pn_class_at asks first. So a thaw disturbs nobody. The indices belong to the layer, and symbols that lie in a layer
// stay there (H8): therefore the worker keeps its count of the layer, in the state of its collector. It cannot be
// frozen: what it has is no base.
#include "gc/gc_int.h"

typedef struct Thaw {
    WorkerVm *vm;
    Overlay copies;  // object of a layer -> its private copy
    OopList classes; // copies that are classes
} Thaw;

#define PN_CONSTANTS_SLOTS 5 // nil, false and true lie in what was one object of so many slots: 48 bytes

static PnStatus no_memory(PnError *error) {
    return pn_error(error, PN_NO_MEMORY, 0, "there is no memory to copy a worker's layers");
}

static uint64_t thawed_header(Oop original) {
    uint64_t h = oop_header(original);
    uint64_t header = h & (PN_HDR_CLASS_MASK | PN_HDR_HASH_MASK | UINT64_C(31) << PN_HDR_FORMAT_SHIFT);
    return h & PN_HDR_USER_READ_ONLY ? header | PN_HDR_IMMUTABLE : header;
}

// ---- Copying ----------------------------------------------------------------------------------------------------

static bool copy_constants(Thaw *t) {
    Oop place = pn_old_raw(t->vm, pn_header(0, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY), PN_CONSTANTS_SLOTS);
    if (oop_is_none(place)) return false;
    for (size_t i = 0; i < 3; i++) {
        Oop original = {t->vm->nil.bits + 16 * i}, copy = {place.bits + 16 * i};
        oop_set_header(copy, thawed_header(original));
        oop_init_slot(copy, 0, PN_NO_REF);
        if (!pn_overlay_put(&t->copies, ref_of(original), ref_of(copy))) return false;
    }
    return true;
}

static bool stays(const Thaw *t, Oop o) {
    uint32_t index = oop_class_index(o);
    return index <= PN_CLASS_LAST_HIDDEN || index == PN_CLASS_BYTE_SYMBOL ||
           o.bits - t->vm->nil.bits < 8 * (PN_CONSTANTS_SLOTS + 1);
}

static bool copy_one(Thaw *t, Oop o) {
    size_t slots = oop_slot_count(o);
    Oop copy = pn_old_raw(t->vm, thawed_header(o), slots);
    if (oop_is_none(copy)) return false;
    memcpy(oop_slots(copy), oop_slots(o), 8 * pn_max(slots, 1));
    if (pn_gc_is_class(o) && !pn_gc_list_add(&t->classes, copy)) return false;
    return pn_overlay_put(&t->copies, ref_of(o), ref_of(copy));
}

static bool add_object(Thaw *t, Oop o) {
    if (stays(t, o)) return true;
    Ref current = pn_gc_through_overlays(t->vm, ref_of(o));
    if (ref_same(current, ref_of(o))) return copy_one(t, o);
    // It has a copy: one of a younger layer, whose turn comes or was, or a private one.
    bool is_private = !pn_gc_is_nothing(current) && !pn_gc_is_outside(current);
    return !is_private || !pn_gc_is_class(o) || pn_gc_list_add(&t->classes, ref_raw(current));
}

static bool copy_layers(Thaw *t) {
    if (!copy_constants(t)) return false;
    for (const Layer *layer = t->vm->layer; layer != NULL; layer = layer->parent)
        for (Oop o = pn_layer_next(layer, PN_NO_OOP); !oop_is_none(o); o = pn_layer_next(layer, o))
            if (!add_object(t, o)) return false;
    return true;
}

// ---- Renaming ---------------------------------------------------------------------------------------------------

static Ref renamed(const Thaw *t, Ref r) {
    if (pn_gc_is_nothing(r) || !pn_gc_is_outside(r)) return r;
    r = pn_gc_through_overlays(t->vm, r);
    if (ref_is_immediate(r)) return r;
    Ref copy = pn_overlay_get(&t->copies, r);
    return ref_is_none(copy) ? r : copy;
}

static bool rename_range(void *context, Ref *from, Ref *to) {
    for (Ref *slot = from; slot < to; slot++) *slot = renamed(context, *slot);
    return false;
}

static void rename_heap(Thaw *t) {
    for (OldSegment *s = t->vm->old->segments; s != NULL; s = s->next)
        for (uint64_t *p = s->start; p < s->top;) {
            Oop o = oop_from_start(p);
            p = oop_end(o);
            if (oop_class_index(o) == PN_CLASS_FREE) continue;
            Ref *slots = oop_slots(o);
            rename_range(t, slots, slots + pn_gc_value_slots(o, oop_header(o)));
        }
}

// ---- Classes (Note [Thawed classes]) ----------------------------------------------------------------------------

static uint32_t metaclass_index(void) {
    Ref array_class = pn_gc_class_entry(PN_CLASS_ARRAY);
    if (pn_gc_is_nothing(array_class)) return 0;
    Ref its_class = pn_gc_class_entry(oop_class_index(ref_raw(array_class)));
    return pn_gc_is_nothing(its_class) ? 0 : oop_class_index(ref_raw(its_class));
}

bool pn_gc_is_class(Oop o) {
    if (!oop_is_pointers(o) || oop_slot_count(o) < PN_BEHAVIOR_SLOTS) return false;
    uint32_t index = oop_class_index(o), of_metaclasses = metaclass_index();
    if (index == of_metaclasses) return true;
    Ref class_ref = pn_gc_class_entry(index);
    return !pn_gc_is_nothing(class_ref) && oop_class_index(ref_raw(class_ref)) == of_metaclasses;
}

bool pn_gc_reserve_class_entries(WorkerVm *vm, size_t count) {
    WorkerMore *more = pn_more(vm);
    PnIndexShape *bigger = pn_mem_realloc(more->obsolete, (more->obsolete_count + count + 1) * sizeof *bigger);
    if (bigger != NULL) more->obsolete = bigger;
    return bigger != NULL;
}

void pn_gc_add_class_entry(WorkerVm *vm, uint32_t index, Ref class_ref) {
    vm->more->obsolete[vm->more->obsolete_count++] = (PnIndexShape){index, class_ref};
}

static void add_entries(Thaw *t) {
    for (size_t i = 0; i < t->classes.count; i++) {
        Oop copy = t->classes.items[i];
        pn_gc_add_class_entry(t->vm, hdr_hash(oop_header(copy)), ref_of(copy));
    }
}

// ---- All of it --------------------------------------------------------------------------------------------------

static void leave_layers(Thaw *t) {
    WorkerVm *vm = t->vm;
    pn_gc_visit_globals(vm, rename_range, t);
    pn_gc_visit_stack(vm, false, rename_range, t);
    rename_heap(t);
    add_entries(t);
    vm->nil = renamed(t, vm->nil);
    pn_gc_state(vm)->thawed_from = vm->layer;
    vm->layer = NULL;
    pn_overlay_drop(vm);
    vm->old->collect_at = pn_max(vm->old->collect_at, 2 * vm->old->bytes_used);
}

PnStatus pn_thaw(WorkerVm *vm, PnError *error) {
    if (vm->layer == NULL) return PN_OK;
    if (pn_frames(vm).link != NULL)
        return pn_error(error, PN_REFUSED, 0, "worker %u has a process: its layers cannot be thawed", vm->id);
    pn_collect_full(vm);
    Thaw t = {.vm = vm};
    bool ok = vm->next == vm->young_start && copy_layers(&t) && pn_gc_reserve_class_entries(vm, t.classes.count) &&
              pn_behavior_changed(vm) == PN_OK;
    if (ok) leave_layers(&t);
    pn_overlay_clear(&t.copies);
    pn_gc_list_free(&t.classes);
    if (!ok) return no_memory(error);
    pn_gc_check(vm, "a thaw");
    return PN_OK;
}
