// interp/become.c: become: of many objects at once, two-way or one-way.
//
// Owns nothing beyond a call. Does not collect; moves nothing but the identities it was asked to.
// Invariants: H4, H5, H9, G2 (heap/heap.h); forwarders: heap/object.h.
//
// Note [Become]. All objects that take part are made private first (a shared one gets its copy, which changes nothing
// that a program can see), so only private objects are ever forwarded:
//   one-way  the object becomes a forwarder to the target. A target that could still be copied is copied first, so that
//            no value of an overlay becomes a key (H4).
//   two-way  both contents are cloned, and each object becomes a forwarder to the clone of the other's contents.
//            Identity hashes stay with the references.
// For an object of a layer the worker's overlay then says the same as the forwarder that its copy has become.
// Everything that can fail (checks, memory) comes before the first effect that can be seen.
//
// What is refused as a source: immediates; what is pinned; what is read-only, by the user's wish or because it is never
// copied; a context that stands for a frame; a class, by what is no class; an object that is named twice.
#include "interp/interp_int.h"

// References to one object will mean something else. A two-way pair is two changes.
typedef struct Change {
    Oop object;   // private from make_all_private on
    Ref original; // where it lies in the window, or none
    Oop other;    // one-way: what they will mean; two-way: the object whose contents they will mean
    Oop clone;    // two-way: those contents
} Change;

typedef struct Become {
    WorkerVm *vm;
    bool two_way;
    bool copy_hash;
    Change *changes;
    size_t count;
} Become;

// ---- Frames (H9) ------------------------------------------------------------------------------------

bool pn_frames_allow(WorkerVm *vm, Oop o, size_t named_slots) {
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w))
        if (w.link->code->slot_limit > named_slots && pn_same(vm, w.fp[-1], ref_of(o))) return false;
    return true;
}

static size_t named_slots(Oop o) { return oop_is_immediate(o) ? 0 : pn_named_slots(o); }

static int by_object(const void *a, const void *b) {
    const Change *x = a, *y = b;
    return (x->object.bits > y->object.bits) - (x->object.bits < y->object.bits);
}

static Change *find_change(const Become *b, Oop object) {
    Change key = {.object = object};
    return bsearch(&key, b->changes, b->count, sizeof key, by_object);
}

// No frame would touch more named slots than what its receiver turns into has.
static bool frames_allow(const Become *b) {
    for (FrameWalk w = pn_frames(b->vm); w.link != NULL; pn_frame_next(&w)) {
        if (w.link->code->slot_limit == 0) continue;
        const Change *c = find_change(b, pn_deref(b->vm, w.fp[-1]));
        if (c != NULL && w.link->code->slot_limit > named_slots(c->other)) return false;
    }
    return true;
}

// ---- Classes (H9) -------------------------------------------------------------------------------------

// Named slots of the instances that have object, a class, through their class index.
static size_t instance_slots(Oop class_object) {
    uint32_t shape = pn_class_shapes[hdr_hash(oop_header(class_object))];
    return shape == 0 ? SIZE_MAX : class_format_slots((int64_t)shape - 1);
}

static bool method_allows(WorkerVm *vm, Oop method, size_t limit) {
    if (oop_is_immediate(method) || !oop_is_code(method)) return true;
    const Code *code = pn_code_for(vm, method);
    return code != NULL && code->slot_limit <= limit;
}

// No method of one class touches more than limit named slots.
static bool dictionary_allows(WorkerVm *vm, Oop class_object, size_t limit) {
    Oop dictionary = pn_slot(vm, class_object, PN_BEHAVIOR_METHOD_DICT);
    if (oop_is_immediate(dictionary) || oop_class_index(dictionary) != PN_CLASS_METHOD_DICTIONARY) return true;
    Oop methods = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    if (oop_is_immediate(methods) || !oop_is_pointers(methods)) return true;
    for (size_t i = 0, n = oop_slot_count(methods); i < n; i++)
        if (!method_allows(vm, pn_slot(vm, methods, i), limit)) return false;
    return true;
}

// No method that instances would understand if their class were class_object touches more than limit named slots.
static bool class_allows(WorkerVm *vm, Oop class_object, size_t limit) {
    while (pn_is_class(vm, class_object)) {
        // A class's own methods touch what its instances have: enough slots settle it, and superclasses have no more.
        if (class_format_slots(ref_int(oop_slot(class_object, PN_BEHAVIOR_FORMAT))) <= limit) return true;
        if (!dictionary_allows(vm, class_object, limit)) return false;
        class_object = pn_slot(vm, class_object, PN_BEHAVIOR_SUPERCLASS);
    }
    return true;
}

static bool classes_allow(const Become *b) {
    for (size_t i = 0; i < b->count; i++) {
        const Change *c = &b->changes[i];
        if (!pn_is_class(b->vm, c->object)) continue;
        if (!pn_is_class(b->vm, c->other) || !class_allows(b->vm, c->other, instance_slots(c->object))) return false;
    }
    return true;
}

// ---- Checks -----------------------------------------------------------------------------------------------

static PnPrimError source_error(WorkerVm *vm, Oop o) {
    FrameWalk frame;
    if (oop_is_immediate(o)) return PN_PRIM_INAPPROPRIATE;
    if (oop_header(o) & PN_HDR_PINNED) return PN_PRIM_PINNED;
    if (pn_is_never_copied(o) || pn_is_read_only(vm, o)) return PN_PRIM_NO_MODIFICATION;
    if (oop_is_context(o) && pn_context_frame(vm, o, &frame)) return PN_PRIM_INAPPROPRIATE;
    return 0;
}

// Only a target that takes over a hash is changed.
static PnPrimError target_error(const Become *b, Oop o) {
    if (b->two_way || !b->copy_hash) return 0;
    bool can_change = !oop_is_immediate(o) && !pn_is_never_copied(o) && !pn_is_read_only(b->vm, o);
    return can_change ? 0 : PN_PRIM_INAPPROPRIATE;
}

static PnPrimError check_each(const Become *b) {
    for (size_t i = 0; i < b->count; i++) {
        PnPrimError error = source_error(b->vm, b->changes[i].object);
        if (!error) error = target_error(b, b->changes[i].other);
        if (error) return error;
    }
    return 0;
}

// The order of pairs must not matter: nothing is a source twice, no source is a target.
static bool is_unambiguous(const Become *b) {
    for (size_t i = 0; i < b->count; i++) {
        const Change *c = &b->changes[i];
        if (i > 0 && c->object.bits == c[-1].object.bits) return false;
        if (!b->two_way && find_change(b, c->other) != NULL) return false;
    }
    return true;
}

static PnPrimError check_all(Become *b) {
    PnPrimError error = check_each(b);
    if (error) return error;
    qsort(b->changes, b->count, sizeof *b->changes, by_object);
    bool allowed = is_unambiguous(b) && frames_allow(b) && classes_allow(b);
    return allowed ? 0 : PN_PRIM_INAPPROPRIATE;
}

// ---- Preparation --------------------------------------------------------------------------------------------

static void collect_changes(Become *b, Oop from, Oop to) {
    for (size_t i = 0, n = oop_slot_count(from); i < n; i++) {
        Oop x = pn_slot(b->vm, from, i), y = pn_slot(b->vm, to, i);
        if (x.bits == y.bits) continue;
        b->changes[b->count++] = (Change){.object = x, .other = y};
        if (b->two_way) b->changes[b->count++] = (Change){.object = y, .other = x};
    }
}

// Objects of layers give way to their copies: all sources, and the targets that could get one later.
static bool make_all_private(Become *b) {
    for (size_t i = 0; i < b->count; i++) {
        Change *c = &b->changes[i];
        if (pn_address_is_shared(c->object.bits)) c->original = ref_of(c->object);
        if (pn_make_private(b->vm, &c->object) != PN_WRITABLE) return false;
    }
    for (size_t i = 0; i < b->count; i++) {
        Oop *other = &b->changes[i].other;
        if (oop_is_immediate(*other)) continue;
        *other = pn_deref(b->vm, ref_of(*other));
        if (!pn_address_is_shared(other->bits) || oop_is_read_only_for_good(*other)) continue;
        if (pn_make_private(b->vm, other) != PN_WRITABLE) return false;
    }
    return true;
}

// The contents of o under the identity hash of identity; or under its own, if hashes go along.
static Oop clone_for(const Become *b, Oop o, Oop identity) {
    Oop clone = pn_old_new(b->vm, oop_class_index(o), oop_format(o), oop_slot_count(o));
    if (oop_is_none(clone)) return clone;
    pn_copy_body(b->vm, clone, o);
    uint64_t hash = oop_header(b->copy_hash ? o : identity) & PN_HDR_HASH_MASK;
    oop_set_header(clone, (oop_header(clone) & ~PN_HDR_HASH_MASK) | hash | (oop_header(o) & PN_HDR_GUARDED));
    return clone;
}

static bool make_clones(Become *b) {
    for (size_t i = 0; b->two_way && i < b->count; i++) {
        Change *c = &b->changes[i];
        c->clone = clone_for(b, c->other, c->object);
        if (oop_is_none(c->clone)) return false;
    }
    return true;
}

static bool is_behavior(WorkerVm *vm, Oop o) {
    if (oop_is_immediate(o)) return false;
    return oop_class_index(o) == PN_CLASS_METHOD_DICTIONARY || (oop_header(o) & PN_HDR_GUARDED) != 0 ||
           pn_is_class(vm, o);
}

static bool changes_behavior(const Become *b) {
    for (size_t i = 0; i < b->count; i++)
        if (is_behavior(b->vm, b->changes[i].object) || is_behavior(b->vm, b->changes[i].other)) return true;
    return false;
}

// All that can run out of memory.
static bool prepare(Become *b) {
    if (!make_all_private(b) || !make_clones(b)) return false;
    return !changes_behavior(b) || pn_behavior_changed(b->vm) == PN_OK;
}

// ---- Effect ---------------------------------------------------------------------------------------------------

// The target takes over the source's hash, if there is one: nobody has seen a hash that was never assigned. A class
// keeps its own: it is the index that its instances have.
static void copy_hash(WorkerVm *vm, Oop from, Oop to) {
    uint64_t hash = oop_header(from) & PN_HDR_HASH_MASK;
    if (hash == 0 || pn_is_class(vm, to)) return;
    oop_set_header(to, (oop_header(to) & ~PN_HDR_HASH_MASK) | hash);
}

// o, private, becomes a forwarder; it keeps its size, so that its space can be walked, and the bits of the collectors.
static void forward(WorkerVm *vm, Oop o, Oop target) {
    uint64_t kept = oop_header(o) & (PN_HDR_REMEMBERED | PN_HDR_MARKED | PN_HDR_HASH_MASK);
    uint64_t count = pn_max(oop_header(o) >> PN_HDR_SLOTS_SHIFT, 1) << PN_HDR_SLOTS_SHIFT;
    uint64_t header = count | kept | (uint64_t)PN_FMT_FORWARDED << PN_HDR_FORMAT_SHIFT | PN_CLASS_FORWARDED;
    oop_set_header(o, header);
    oop_init_slot(o, 0, vm->nil);
    pn_store(vm, o, 0, ref_of(target)); // needs a header without the immutable bit
    oop_set_header(o, oop_header(o) | PN_HDR_IMMUTABLE);
}

static void commit(Become *b) {
    for (size_t i = 0; i < b->count; i++) {
        Change *c = &b->changes[i];
        Oop target = b->two_way ? c->clone : c->other;
        if (b->copy_hash && !b->two_way) copy_hash(b->vm, c->object, target);
        forward(b->vm, c->object, target);
        // The key is there since the copy was made, so this cannot fail. What stands for an original is never young
        // (G2): there the copy stays, a forwarder.
        if (!ref_is_none(c->original) && !ref_is_young(b->vm, ref_of(target)))
            pn_overlay_put(b->vm->overlay, c->original, ref_of(target));
    }
}

// References that are used without being followed each time: receivers of frames (H5) and the special objects.
static void follow_roots(WorkerVm *vm) {
    vm->special_objects = ref_of(pn_deref(vm, vm->special_objects));
    pn_stack_receivers_stale(vm);
}

uint32_t pn_become(WorkerVm *vm, Oop from, Oop to, bool two_way, bool copy_hash) {
    size_t pairs = oop_slot_count(from);
    Become b = {.vm = vm, .two_way = two_way, .copy_hash = copy_hash};
    if (pairs == 0) return 0;
    b.changes = pn_mem_alloc(pairs * (two_way ? 2 : 1) * sizeof(Change));
    if (b.changes == NULL) return PN_PRIM_NO_C_MEMORY;
    collect_changes(&b, from, to);
    uint32_t error = check_all(&b);
    if (!error && !prepare(&b)) error = PN_PRIM_NO_MEMORY;
    if (!error) {
        commit(&b);
        follow_roots(vm);
    }
    pn_mem_free(b.changes);
    pn_charge(vm, pairs * 4);
    return error;
}

// ---- Primitives ---------------------------------------------------------------------------------------------------

static bool is_array(Oop o) { return !oop_is_immediate(o) && oop_format(o) == PN_FMT_ARRAY; }

static Ref become_arrays(WorkerVm *vm, Ref *arguments, bool two_way, bool copy_hash) {
    Oop from = pn_deref(vm, arguments[0]), to = pn_deref(vm, arguments[1]);
    if (!is_array(from)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!is_array(to) || oop_slot_count(from) != oop_slot_count(to)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    uint32_t error = pn_become(vm, from, to, two_way, copy_hash);
    return error ? pn_fail(vm, error) : arguments[0];
}

Ref pn_prim_become_forward(WorkerVm *vm, Ref *arguments) { return become_arrays(vm, arguments, false, true); }
Ref pn_prim_become(WorkerVm *vm, Ref *arguments) { return become_arrays(vm, arguments, true, false); }
Ref pn_prim_become_forward_keeping_hash(WorkerVm *vm, Ref *arguments) {
    return become_arrays(vm, arguments, false, false);
}

Ref pn_prim_become_forward_with(WorkerVm *vm, Ref *arguments) {
    bool copy_hash = ref_same(arguments[2], vm_true(vm));
    if (!copy_hash && !ref_same(arguments[2], vm_false(vm))) return pn_fail(vm, PN_PRIM_ARGUMENT);
    return become_arrays(vm, arguments, false, copy_hash);
}
