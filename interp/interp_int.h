// interp/interp_int.h: what the files of interp/ ask of each other, the loop's slow paths left out (interp/loop_int.h).
#ifndef PN_INTERP_INT_H
#define PN_INTERP_INT_H

#include "interp/interp.h"

// ---- Primitives: every C function that interp/primitives.def names ------------------------------------

#define PN_DECLARE_FUNCTION(function) Ref function(WorkerVm *vm, Ref *arguments);
#define PN_DECLARE_CONTROL(function)
#define PN_DECLARE_MARK(function)
#define PRIMITIVE(number, arg_count, kind, function, meaning) PN_DECLARE_##kind(function)
#include "interp/primitives.def"
#undef PRIMITIVE

// How many arguments the running primitive was given; for those that take a varying number.
static inline size_t prim_arg_count(const WorkerVm *vm, const Ref *arguments) {
    return (size_t)(vm->sp - arguments) - 1;
}
// The failure that an access which was refused stands for.
static inline Ref pn_fail_access(WorkerVm *vm, PnAccess access) {
    return pn_fail(vm, access == PN_READ_ONLY ? PN_PRIM_NO_MODIFICATION : PN_PRIM_NO_MEMORY);
}

// ---- Numbers (interp/prim_int.c, interp/prim_float.c) --------------------------------------------------
// Values of references as they lie on a stack; false if r is not such a number, or outside the type's range.

bool pn_uint64_value(WorkerVm *vm, Ref r, uint64_t *result);
bool pn_int64_value(WorkerVm *vm, Ref r, int64_t *result);
// SmallFloat64 or BoxedFloat64, no integers.
bool pn_float_value(WorkerVm *vm, Ref r, double *result);
// SmallInteger whenever it fits, else a large integer. May collect. PN_NO_REF with vm->prim_error set: no memory.
Ref pn_uint64_new(WorkerVm *vm, uint64_t magnitude);
Ref pn_int64_new(WorkerVm *vm, int64_t n);
// SmallFloat64 whenever it can be encoded, else BoxedFloat64. May collect, as above.
Ref pn_float_new(WorkerVm *vm, double d);

// ---- Shapes (interp/prim_object.c) ----------------------------------------------------------------------

// Named slots of o, in hand. Raw objects and compiled code have none.
size_t pn_named_slots(Oop o);
// Whether o, in hand, can be used as a class: superclass, method dictionary and format are where they belong.
bool pn_is_class(WorkerVm *vm, Oop o);
// What is read-only in every worker for ever, and so never a key of an overlay: the kinds that are never copied, and
// literals, which others may know by reference.
static inline bool oop_is_read_only_for_good(Oop o) {
    if (oop_is_immediate(o) || !pn_address_is_shared(o.bits)) return false;
    return pn_is_never_copied(o) || (oop_header(o) & PN_HDR_DEEPLY_READ_ONLY) != 0;
}
// Slots of a context, frame or not, that hold values: its six named ones, arguments, temps, stack.
size_t pn_context_used_slots(WorkerVm *vm, Oop context);
static inline bool oop_is_context(Oop o) { return !oop_is_immediate(o) && oop_class_index(o) == PN_CLASS_CONTEXT; }

// ---- Elements of raw objects ------------------------------------------------------------------------------

// Bytes of an element, 0 if o holds no raw elements. Compiled code is not raw.
static inline size_t oop_element_bytes(Oop o) {
    uint32_t format = oop_format(o);
    if (format == PN_FMT_64) return 8;
    if (format < PN_FMT_64 || format >= PN_FMT_CODE) return 0;
    return format < PN_FMT_16 ? 4 : format < PN_FMT_8 ? 2 : 1;
}
// The low bits of a raw format count the elements that its last word does not use.
static inline size_t oop_element_count(Oop o, size_t element_bytes) {
    size_t in_word = 8 / element_bytes;
    return in_word * oop_slot_count(o) - (in_word > 1 ? oop_format(o) & (in_word - 1) : 0);
}
static inline uint64_t oop_element(Oop o, size_t index, size_t element_bytes) {
    uint64_t value = 0;
    memcpy(&value, oop_bytes(o) + index * element_bytes, element_bytes);
    return value;
}
static inline void oop_set_element(Oop o, size_t index, size_t element_bytes, uint64_t value) {
    memcpy(oop_bytes(o) + index * element_bytes, &value, element_bytes);
}
// Whether value fits an unsigned element.
static inline bool element_takes(size_t element_bytes, uint64_t value) {
    return element_bytes == 8 || value >> (8 * element_bytes) == 0;
}

// ---- Copying contents (interp/prim_bulk.c) -----------------------------------------------------------------

// Copy count values from slot from_index on into to, which is writable and in hand, ascending.
void pn_copy_values(WorkerVm *vm, Oop to, size_t to_index, Oop from, size_t from_index, size_t count);
// Copy the whole body of from into to, which has the same format and size. Not for contexts.
void pn_copy_body(WorkerVm *vm, Oop to, Oop from);

// ---- Become (interp/become.c) --------------------------------------------------------------------------------

// Whether no frame that runs on o would touch more than so many named slots (H9).
bool pn_frames_allow(WorkerVm *vm, Oop o, size_t named_slots);

#endif
