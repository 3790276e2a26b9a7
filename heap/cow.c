// heap/cow.c: first write to a shared object, and the slow side of every store.
//
// Owns: the decision whether an object may be written, and how a private copy comes to be.
// Called on slow paths only: a header did not pass the store test. Nothing here collects or moves an object: copies
// are old objects, limits are noticed and raised at the next safepoint.
// Invariants: H4, H5, H6, F1, G2 (heap/heap.h).
//
// Note [Guarded objects]. A worker has to leave its world when something changes that a lookup has read: superclass or
// dictionary of a class, a method dictionary, its array. What lies in a layer is immutable anyway, so its first write
// comes here; but a private one, young or remembered, would pass the store test. So these carry one more bit of the
// store test: a copy of a class or dictionary gets it here, any other private object when a lookup reads it
// (pn_guard). An object that no lookup has read cannot have anything to do with what caches hold. The one gap is the
// copy of a layer's array of methods, which does not know what it is: its dictionary is changed by pn_method_install
// and by primitives only, which report that themselves, as does the flush primitive that Smalltalk code sends after
// it has written such an array.
#include <sys/mman.h>
#include <unistd.h>

#include "heap/heap_int.h"

static void no_mark_barrier(WorkerVm *vm, Oop object, Ref new_value) { (void)vm, (void)object, (void)new_value; }
void (*pn_mark_barrier)(WorkerVm *vm, Oop object, Ref new_value) = no_mark_barrier;

// ---- What may be written ------------------------------------------------------------------------

bool pn_is_never_copied(Oop o) {
    if (pn_address_is_shared(o.bits) && o.bits >= PN_SYMBOLS) return true; // symbols made at run time, graphs
    uint64_t h = oop_header(o);
    if (hdr_format(h) >= PN_FMT_CODE) return true;
    switch (hdr_class_index(h)) {
    case PN_CLASS_LARGE_NEGATIVE:
    case PN_CLASS_LARGE_POSITIVE:
    case PN_CLASS_BOXED_FLOAT:
    case PN_CLASS_BYTE_SYMBOL:
    case PN_CLASS_UNDEFINED_OBJECT:
    case PN_CLASS_FALSE:
    case PN_CLASS_TRUE: return true;
    default: return hdr_class_index(h) <= PN_CLASS_LAST_HIDDEN;
    }
}

bool pn_is_read_only(WorkerVm *vm, Oop o) {
    (void)vm;
    if (oop_is_immediate(o)) return true;
    if (!pn_address_is_shared(o.bits)) return hdr_is_immutable(oop_header(o));
    return (oop_header(o) & PN_HDR_USER_READ_ONLY) != 0 || pn_is_never_copied(o);
}

// ---- Making the copy ----------------------------------------------------------------------------

bool pn_copy_is_faithful(Oop original, Oop copy) {
    uint64_t same = PN_HDR_CLASS_MASK | PN_HDR_HASH_MASK | UINT64_C(31) << PN_HDR_FORMAT_SHIFT;
    return ((oop_header(original) ^ oop_header(copy)) & same) == 0 && oop_slot_count(original) == oop_slot_count(copy);
}

// A class: superclass, dictionary and format are where they belong. An object that only looks like one is told apart
// by its dictionary or, where that is nil, by its place in the class table.
bool pn_has_class_shape(WorkerVm *vm, Oop o) {
    if (oop_slot_count(o) <= PN_BEHAVIOR_FORMAT || !ref_is_int(oop_slot(o, PN_BEHAVIOR_FORMAT))) return false;
    Ref dictionary = oop_slot(o, PN_BEHAVIOR_METHOD_DICT);
    if (ref_is_immediate(dictionary) || ref_is_immediate(oop_slot(o, PN_BEHAVIOR_SUPERCLASS))) return false;
    Oop current = pn_current(vm, dictionary);
    if (!oop_is_immediate(current) && oop_class_index(current) == PN_CLASS_METHOD_DICTIONARY) return true;
    Ref entered = pn_class_table[hdr_hash(oop_header(o))];
    return ref_same(dictionary, vm->nil) && ref_same(entered, ref_of(o));
}

static bool is_behavior(WorkerVm *vm, Oop o) {
    if (!oop_is_pointers(o)) return false;
    return oop_class_index(o) == PN_CLASS_METHOD_DICTIONARY || pn_has_class_shape(vm, o);
}

// The header of o's copy: no bit that is the layer's or the collector's, immutable only by the user's wish; without
// count.
static uint64_t copy_header(WorkerVm *vm, Oop o) {
    uint64_t h = oop_header(o);
    uint64_t copy = h & (PN_HDR_CLASS_MASK | PN_HDR_HASH_MASK | UINT64_C(31) << PN_HDR_FORMAT_SHIFT);
    if (h & PN_HDR_USER_READ_ONLY) copy |= PN_HDR_IMMUTABLE;
    if (is_behavior(vm, o)) copy |= PN_HDR_GUARDED;
    return copy;
}

// The body is copied as words whatever it holds; a body without slots has one filler word.
static Oop plain_copy(WorkerVm *vm, Oop o, uint64_t header, size_t slots) {
    Oop copy = pn_old_raw(vm, header, slots);
    if (oop_is_none(copy)) return copy;
    const uint64_t *from = oop_address(o) + 1;
    uint64_t *to = oop_address(copy) + 1;
    for (size_t i = 0, n = slots > 0 ? slots : 1; i < n; i++) to[i] = from[i];
    return copy;
}

// A large object: its pages in the layer's file are mapped once more, private and writable, at an address of the
// kernel's choice; what is written there later the kernel copies, page by page. What else lies on its first and last
// page comes along but is no object of the segment: that is exactly this one. PN_NO_OOP where it cannot be done.
static Oop mapped_copy(WorkerVm *vm, Oop o, uint64_t header) {
    const Layer *layer = pn_layer_of(vm->layer, o.bits);
    if (layer == NULL || layer->fd < 0) return PN_NO_OOP;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t begin = (uint64_t)(uintptr_t)oop_start(o), end = (uint64_t)(uintptr_t)oop_end(o);
    uint64_t first_page = begin & ~(page - 1);
    uint64_t offset = layer->file_offset[0] + (first_page - layer->objects.start);
    if (begin - layer->objects.start >= layer->objects.bytes || offset % page != 0) return PN_NO_OOP;
    size_t bytes = pn_round_up(end - first_page, page);
    uint8_t *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, layer->fd, (off_t)offset);
    if (mapping == MAP_FAILED) return PN_NO_OOP;
    uint64_t *start = (uint64_t *)(void *)(mapping + (begin - first_page));
    if (!pn_old_adopt_mapping(vm, mapping, bytes, start, start + (end - begin) / 8)) {
        munmap(mapping, bytes);
        return PN_NO_OOP;
    }
    Oop copy = oop_at_address(start + (o.bits - begin) / 8);
    uint64_t count = oop_header(o) >> PN_HDR_SLOTS_SHIFT << PN_HDR_SLOTS_SHIFT;
    oop_set_header(copy, header | vm->old->birth_bits | count);
    return copy;
}

// Poison mode: nobody shall look into the original any more. Its header stays, layers can still be walked.
static void poison(WorkerVm *vm, Oop original) {
    const Layer *layer = pn_layer_of(vm->layer, original.bits);
    if (layer == NULL || !layer->is_private_mapping) return;
    for (size_t i = 0, n = oop_slot_count(original); i < n; i++) oop_address(original)[1 + i] = PN_POISON_BODY;
}

// Make the copy of *o, a shared object in hand, enter it and put it into *o. False: no memory, nothing has changed.
static bool copy_shared(WorkerVm *vm, Oop *o) {
    if (!pn_overlay_reserve(vm)) return false;
    Oop original = *o;
    size_t slots = oop_slot_count(original);
    size_t bytes = pn_object_bytes(slots);
    uint64_t header = copy_header(vm, original);
    Oop copy = bytes >= PN_LARGE_BYTES ? mapped_copy(vm, original, header) : PN_NO_OOP;
    if (oop_is_none(copy)) copy = plain_copy(vm, original, header, slots);
    if (oop_is_none(copy)) return false;
    PN_CHECK(pn_copy_is_faithful(original, copy), "H6: %p is no copy of %p", (void *)copy.bits, (void *)original.bits);
    pn_overlay_enter_reserved(vm, ref_of(original), ref_of(copy));
    WorkerMore *more = pn_more(vm);
    more->copies++;
    more->copied_bytes += bytes;
    if (PN_UNLIKELY(pn_options.poison)) poison(vm, original);
    *o = copy;
    pn_stack_receivers_stale(vm);
    return true;
}

PnAccess pn_make_writable(WorkerVm *vm, Oop *o) {
    *o = pn_current(vm, ref_of(*o));
    if (oop_is_immediate(*o)) return PN_READ_ONLY;
    if (!hdr_is_immutable(oop_header(*o))) return PN_WRITABLE;
    if (pn_is_read_only(vm, *o)) return PN_READ_ONLY;
    return copy_shared(vm, o) ? PN_WRITABLE : PN_OUT_OF_MEMORY;
}

PnAccess pn_make_private(WorkerVm *vm, Oop *o) {
    *o = pn_current(vm, ref_of(*o));
    if (oop_is_immediate(*o)) return PN_READ_ONLY;
    if (!pn_address_is_shared(o->bits)) return PN_WRITABLE;
    if (pn_is_never_copied(*o)) return PN_READ_ONLY;
    return copy_shared(vm, o) ? PN_WRITABLE : PN_OUT_OF_MEMORY;
}

// Where memory is short the original serves: this is a way of testing, not of running.
Oop pn_touch(WorkerVm *vm, Ref r) {
    Oop o = pn_current(vm, r);
    if (!oop_is_immediate(o) && pn_address_is_shared(o.bits) && !pn_is_never_copied(o)) copy_shared(vm, &o);
    return o;
}

// ---- Stores -------------------------------------------------------------------------------------

static bool is_marking(const WorkerVm *vm) {
    return vm->store_mask != PN_STORE_MASK || vm->store_want != PN_STORE_WANT;
}

// Whether a store into slot index of o, which is guarded, changes behaviour: of a class only two slots do.
static bool slot_is_behavior(Oop o, size_t index) {
    if (index <= PN_BEHAVIOR_METHOD_DICT) return true;
    uint32_t class_index = oop_class_index(o);
    return class_index == PN_CLASS_METHOD_DICTIONARY || class_index == PN_CLASS_ARRAY;
}

// Everything that is asked once a store is not plain. o is mutable.
static PN_NOINLINE PnAccess store_asking(WorkerVm *vm, Oop o, size_t index, Ref value) {
    uint64_t h = oop_header(o);
    if (PN_UNLIKELY((h & PN_HDR_GUARDED) != 0) && slot_is_behavior(o, index) && pn_behavior_changed(vm) != PN_OK)
        return PN_OUT_OF_MEMORY;
    if (PN_UNLIKELY(is_marking(vm))) pn_mark_barrier(vm, o, value);
    oop_init_slot(o, index, value);
    if ((h & PN_HDR_REMEMBERED) == 0 && ref_is_young(vm, value)) pn_remember(vm, o);
    return PN_WRITABLE;
}

static PN_NOINLINE PnAccess store_into_immutable(WorkerVm *vm, Oop o, size_t index, Ref value) {
    PnAccess access = pn_make_writable(vm, &o);
    return access == PN_WRITABLE ? store_asking(vm, o, index, value) : access;
}

// First what comes most often: a young value for an old object that holds none yet. pn_store has found the rest of
// the test out.
PnAccess pn_store_slow(WorkerVm *vm, Oop o, size_t index, Ref value) {
    uint32_t h = (uint32_t)oop_header(o);
    if (PN_LIKELY((h & vm->store_mask) == 0)) {
        oop_init_slot(o, index, value);
        return ref_is_young(vm, value) ? remember(vm, o) : PN_WRITABLE;
    }
    return hdr_is_immutable(h) ? store_into_immutable(vm, o, index, value) : store_asking(vm, o, index, value);
}
