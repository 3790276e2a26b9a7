// tests/interp/prims.h: primitives called directly, without a method around them.
//
// Operands are pushed as a send would push them. What a test keeps must be old (the PRIM_ functions below make such),
// or be asked for again: each call may collect.
#ifndef PN_TEST_PRIMS_H
#define PN_TEST_PRIMS_H

#include "interp/interp_int.h"
#include "tests/support.h"

#define PRIM_OPERANDS(...)                                                                                             \
    (sizeof((Ref[]){__VA_ARGS__}) / sizeof(Ref)), (Ref[]) { __VA_ARGS__ }
// The answer of a primitive that must succeed.
#define prim(vm, number, ...) prim_call(vm, number, __LINE__, PRIM_OPERANDS(__VA_ARGS__))
#define prim_int(vm, number, ...) prim_call_int(vm, number, __LINE__, PRIM_OPERANDS(__VA_ARGS__))
#define prim_true(vm, number, ...)                                                                                     \
    test_check(ref_same(prim(vm, number, __VA_ARGS__), vm_true(vm)), "line %d: not true", __LINE__)
#define prim_false(vm, number, ...)                                                                                    \
    test_check(ref_same(prim(vm, number, __VA_ARGS__), vm_false(vm)), "line %d: not false", __LINE__)
// It must fail with this code.
#define prim_fails(vm, code, number, ...) prim_call_failing(vm, code, number, __LINE__, PRIM_OPERANDS(__VA_ARGS__))

static inline Ref prim_run(WorkerVm *vm, uint32_t number, int line, size_t count, const Ref *operands) {
    PnPrimFn function = pn_primitive(number, (uint32_t)count - 1);
    test_check(function != NULL, "line %d: primitive %u does not take %zu arguments", line, number, count - 1);
    Ref *base = vm->sp;
    for (size_t i = 0; i < count; i++) *vm->sp++ = operands[i];
    vm->prim_error = 0;
    Ref result = function(vm, base);
    test_check(vm->sp == base + count, "line %d: primitive %u has moved the stack pointer", line, number);
    vm->sp = base;
    return result;
}

static inline Ref prim_call(WorkerVm *vm, uint32_t number, int line, size_t count, const Ref *operands) {
    Ref result = prim_run(vm, number, line, count, operands);
    test_check(!ref_is_none(result), "line %d: primitive %u fails with %u", line, number, vm->prim_error);
    return result;
}

static inline int64_t prim_call_int(WorkerVm *vm, uint32_t number, int line, size_t count, const Ref *operands) {
    Ref result = prim_call(vm, number, line, count, operands);
    test_check(ref_is_int(result), "line %d: primitive %u answers no SmallInteger", line, number);
    return ref_int(result);
}

static inline void prim_call_failing(WorkerVm *vm, uint32_t code, uint32_t number, int line, size_t count,
                                     const Ref *operands) {
    Ref result = prim_run(vm, number, line, count, operands);
    test_check(ref_is_none(result), "line %d: primitive %u should fail", line, number);
    test_check(vm->prim_error == code, "line %d: primitive %u fails with %u, not %u", line, number, vm->prim_error,
               code);
}

// ---- Old objects to try them on ---------------------------------------------------------------------------

#define I(n) ref_from_int(n)
#define C(c) ref_from_char(c)

static inline Ref prim_object(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    Oop o = pn_old_new(vm, class_index, format, slots);
    test_check(!oop_is_none(o), "no memory");
    return ref_of(o);
}
static inline Ref prim_instance(WorkerVm *vm, const char *class_name) {
    Oop class_object = test_global(vm, class_name);
    int64_t format = ref_int(oop_slot(class_object, PN_BEHAVIOR_FORMAT));
    return prim_object(vm, pn_class_index(vm, class_object), class_format_kind(format), class_format_slots(format));
}
static inline Ref prim_indexed(WorkerVm *vm, const char *class_name, uint32_t format, size_t slots) {
    return prim_object(vm, pn_class_index(vm, test_global(vm, class_name)), format, slots);
}
static inline Ref prim_array(WorkerVm *vm, size_t slots) {
    return prim_object(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots);
}
static inline Ref prim_array_with(WorkerVm *vm, Ref element) {
    Ref array = prim_array(vm, 1);
    pn_store(vm, ref_raw(array), 0, element);
    return array;
}
static inline Ref prim_bytes(WorkerVm *vm, uint32_t class_index, const char *text) {
    size_t count = strlen(text);
    Ref bytes = prim_object(vm, class_index, pn_format_for_bytes(count), pn_slots_for_bytes(count));
    memcpy(oop_bytes(ref_raw(bytes)), text, count);
    return bytes;
}
static inline Ref prim_large(WorkerVm *vm, bool negative, uint64_t magnitude) {
    size_t count = 8 - (size_t)__builtin_clzll(magnitude) / 8;
    uint32_t class_index = negative ? PN_CLASS_LARGE_NEGATIVE : PN_CLASS_LARGE_POSITIVE;
    Ref large = prim_object(vm, class_index, pn_format_for_bytes(count), 1);
    memcpy(oop_bytes(ref_raw(large)), &magnitude, 8);
    return large;
}
static inline Ref prim_float(WorkerVm *vm, double d) {
    Ref small;
    if (ref_from_float(d, &small)) return small;
    Ref boxed = prim_object(vm, PN_CLASS_BOXED_FLOAT, PN_FMT_32, 1);
    memcpy(oop_bytes(ref_raw(boxed)), &d, 8);
    return boxed;
}

static inline Ref prim_current(WorkerVm *vm, Ref r) { return ref_of(pn_deref(vm, r)); }
static inline Ref prim_slot(WorkerVm *vm, Ref r, size_t index) { return oop_slot(pn_deref(vm, r), index); }
static inline void prim_set_slot(WorkerVm *vm, Ref r, size_t index, Ref value) {
    test_check(pn_store(vm, pn_deref(vm, r), index, value) == PN_WRITABLE, "slot %zu cannot be written", index);
}

// ---- Classes of every kind, and freezing -------------------------------------------------------------------

static inline WorkerVm *prim_boot(void) {
    WorkerVm *vm = test_boot();
    Oop object = test_global(vm, "Object");
    static const struct {
        const char *name;
        uint32_t kind, slots;
    } kinds[] = {{"Plain", PN_FMT_FIXED, 3},
                 {"Other", PN_FMT_FIXED, 3},
                 {"Wide", PN_FMT_FIXED, 5},
                 {"Empty", PN_FMT_EMPTY, 0},
                 {"Listed", PN_FMT_FIXED_ARRAY, 2},
                 {"Weak", PN_FMT_WEAK, 1},
                 {"Ephemeron", PN_FMT_EPHEMERON, 2},
                 {"Words64", PN_FMT_64, 0},
                 {"Words32", PN_FMT_32, 0},
                 {"Words16", PN_FMT_16, 0},
                 {"Bytes", PN_FMT_8, 0}};
    for (size_t i = 0; i < PN_COUNT_OF(kinds); i++)
        pn_asm_class_of_kind(vm, kinds[i].name, object, kinds[i].kind, kinds[i].slots);
    return vm;
}

// Freeze what vm has made; objects in kept[] are named as they are in the layer from then on. Where there are no
// layers: collect, so that all else is gone just the same.
static inline void prim_freeze(WorkerVm *vm, Ref *kept, size_t count) {
    Root roots[16];
    test_check(count <= PN_COUNT_OF(roots), "too many objects to keep");
    for (size_t i = 0; i < count; i++) pn_root_push(vm, &roots[i], kept[i]);
    if (PN_COW) pn_layer_release(test_freeze(vm));
    else pn_collect_full(vm);
    for (size_t i = count; i-- > 0;) {
        kept[i] = roots[i].ref;
        pn_root_pop(vm, &roots[i]);
    }
}

#endif
