// tests/gc/objects.h: objects for the tests of gc/, and questions about where they are.
#ifndef PN_TESTS_GC_OBJECTS_H
#define PN_TESTS_GC_OBJECTS_H

#include "tests/support.h"

#include "gc/gc_int.h"

static inline Oop object_array(WorkerVm *vm, size_t slots) {
    Oop o = pn_new_array(vm, slots);
    test_check(!oop_is_none(o), "no memory for an array of %zu", slots);
    return o;
}

static inline Oop object_of(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    Oop o = pn_new(vm, class_index, format, slots);
    test_check(!oop_is_none(o), "no memory for an object of %zu slots", slots);
    return o;
}

// The class index of a new class of this kind.
static inline uint32_t object_class(WorkerVm *vm, const char *name, uint32_t kind, uint32_t slots) {
    Oop class_object = pn_boot_class(vm, name, test_global(vm, "Object"), kind, slots, 0);
    test_check(!oop_is_none(class_object), "no memory for class %s", name);
    return pn_class_index(vm, class_object);
}

static inline void object_put(WorkerVm *vm, Oop o, size_t index, Ref value) {
    test_check(pn_store(vm, o, index, value) == PN_WRITABLE, "slot %zu cannot be written", index);
}

// The same for what root names after value has been made, which may have moved it.
static inline void object_put_in(WorkerVm *vm, const Root *root, size_t index, Ref value) {
    object_put(vm, pn_deref(vm, root->ref), index, value);
}

static inline bool object_is_young(const WorkerVm *vm, Ref r) { return ref_is_young(vm, r); }
static inline bool object_is_remembered(Ref r) { return (oop_header(ref_raw(r)) & PN_HDR_REMEMBERED) != 0; }
static inline size_t object_remembered_count(const WorkerVm *vm) {
    return vm->remembered == NULL ? 0 : vm->remembered->count;
}

// How many of something a test makes: fewer when each one costs a collection of all the others.
static inline size_t object_count(size_t wanted) { return pn_options.stress_gc != 0 ? wanted / 100 : wanted; }

// Make sure that what root names is old.
static inline void object_age(WorkerVm *vm, const Root *root) {
    for (int i = 0; i < 2 && object_is_young(vm, root->ref); i++) pn_collect_young(vm);
    test_check(!object_is_young(vm, root->ref), "%p is young after two collections", (void *)root->ref.bits);
}

#endif
