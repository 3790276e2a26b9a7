// interp/prim_object.c: primitives that make and copy objects, and those about identity and class.
#include "interp/interp_int.h"

// ---- Shapes --------------------------------------------------------------------------------------

// The recorded format word of instances with a class index (H7): kind in the upper part, named slots in the lower.
static int64_t index_shape(uint32_t class_index) { return (int64_t)pn_class_shapes[class_index] - 1; }

size_t pn_named_slots(Oop o) {
    switch (oop_format(o)) {
    case PN_FMT_FIXED:
    case PN_FMT_EPHEMERON: return oop_slot_count(o);
    case PN_FMT_FIXED_ARRAY:
    case PN_FMT_WEAK: return pn_min(class_format_slots(index_shape(oop_class_index(o))), oop_slot_count(o));
    default: return 0;
    }
}

size_t pn_context_used_slots(WorkerVm *vm, Oop context) {
    Ref stackp = pn_context_slot(vm, context, PN_CONTEXT_STACKP);
    size_t room = oop_slot_count(context) - PN_CONTEXT_FIRST_TEMP;
    bool is_sound = ref_is_int(stackp) && (uint64_t)ref_int(stackp) <= room;
    return PN_CONTEXT_FIRST_TEMP + (is_sound ? (size_t)ref_int(stackp) : 0);
}

// A dictionary tells a class from other objects whose third slot is an integer; where there is none, the class table
// does.
bool pn_is_class(WorkerVm *vm, Oop o) {
    if (oop_is_immediate(o) || !oop_is_pointers(o) || oop_slot_count(o) <= PN_BEHAVIOR_FORMAT) return false;
    if (!ref_is_int(oop_slot(o, PN_BEHAVIOR_FORMAT))) return false;
    Oop dictionary = pn_slot(vm, o, PN_BEHAVIOR_METHOD_DICT);
    if (oop_is_immediate(dictionary)) return false;
    if (oop_class_index(dictionary) == PN_CLASS_METHOD_DICTIONARY) return true;
    uint32_t hash = hdr_hash(oop_header(o));
    if (hash == 0 || dictionary.bits != vm->nil.bits) return false;
    // The slot may be another worker's that is just writing it: only its bits are compared.
    return __atomic_load_n(&pn_class_table[hash].bits, __ATOMIC_RELAXED) == o.bits;
}

// ---- new, new: --------------------------------------------------------------------------------------

// What instances of a class look like.
typedef struct Shape {
    uint32_t kind;
    uint32_t named;
} Shape;

// False: not a class, or one that nothing can be made of.
static bool class_shape(WorkerVm *vm, Oop class_object, Shape *shape) {
    if (!pn_is_class(vm, class_object)) return false;
    int64_t format = ref_int(oop_slot(class_object, PN_BEHAVIOR_FORMAT));
    *shape = (Shape){class_format_kind(format), class_format_slots(format)};
    bool may_name = shape->kind == PN_FMT_FIXED ||
                    (shape->kind >= PN_FMT_FIXED_ARRAY && shape->kind <= PN_FMT_EPHEMERON);
    return may_name || shape->named == 0;
}

static Ref make(WorkerVm *vm, Oop class_object, uint32_t format, size_t slots) {
    uint32_t class_index = pn_class_index(vm, class_object);
    if (class_index == 0) return PN_NO_REF;
    if (class_index == PN_CLASS_BYTE_SYMBOL)
        return pn_fail(vm, PN_PRIM_RECEIVER); // only the process makes symbols (H8)
    pn_charge(vm, slots / 16);
    return ref_of(pn_new(vm, class_index, format, slots));
}

Ref pn_prim_new(WorkerVm *vm, Ref *arguments) {
    Oop class_object = pn_deref(vm, arguments[0]);
    Shape shape;
    if (!class_shape(vm, class_object, &shape)) return pn_fail(vm, PN_PRIM_RECEIVER);
    bool is_fixed = shape.kind <= PN_FMT_FIXED || (shape.kind == PN_FMT_EPHEMERON && shape.named > 0);
    return is_fixed ? make(vm, class_object, shape.kind, shape.named) : pn_fail(vm, PN_PRIM_RECEIVER);
}

// Format and slots of an instance with count indexed elements; false if the shape has none.
static bool indexed_shape(Shape shape, size_t count, uint32_t *format, size_t *slots) {
    size_t element_bytes;
    switch (shape.kind) {
    case PN_FMT_ARRAY:
    case PN_FMT_FIXED_ARRAY:
    case PN_FMT_WEAK: *format = shape.kind, *slots = shape.named + count; return true;
    case PN_FMT_64: element_bytes = 8; break;
    case PN_FMT_32: element_bytes = 4; break;
    case PN_FMT_16: element_bytes = 2; break;
    case PN_FMT_8: element_bytes = 1; break;
    default: return false;
    }
    size_t in_word = 8 / element_bytes;
    *slots = (count + in_word - 1) / in_word;
    *format = shape.kind + (uint32_t)(*slots * in_word - count);
    return true;
}

Ref pn_prim_new_with(WorkerVm *vm, Ref *arguments) {
    Oop class_object = pn_deref(vm, arguments[0]);
    Ref count = ref_of(pn_deref(vm, arguments[1]));
    Shape shape;
    uint32_t format;
    size_t slots;
    if (!ref_is_int(count) || ref_int(count) < 0) return pn_fail(vm, PN_PRIM_ARGUMENT);
    if (!class_shape(vm, class_object, &shape) || !indexed_shape(shape, (size_t)ref_int(count), &format, &slots))
        return pn_fail(vm, PN_PRIM_RECEIVER);
    if (slots > PN_MAX_SLOTS) return pn_fail(vm, PN_PRIM_UNSUPPORTED);
    bool is_float = hdr_hash(oop_header(class_object)) == PN_CLASS_BOXED_FLOAT;
    if (is_float && ref_int(count) != 2) return pn_fail(vm, PN_PRIM_ARGUMENT);
    return make(vm, class_object, format, slots);
}

Ref pn_prim_new_method(WorkerVm *vm, Ref *arguments) {
    Oop class_object = pn_deref(vm, arguments[0]);
    Ref bytes = ref_of(pn_deref(vm, arguments[1])), header = ref_of(pn_deref(vm, arguments[2]));
    Shape shape;
    if (!refs_are_ints(bytes, header) || ref_int(bytes) < 0 || (uint64_t)ref_int(bytes) > 8 * PN_MAX_SLOTS)
        return pn_fail(vm, PN_PRIM_ARGUMENT);
    if (!class_shape(vm, class_object, &shape) || shape.kind != PN_FMT_CODE) return pn_fail(vm, PN_PRIM_RECEIVER);
    size_t values = code_header_literals(ref_int(header)) + 1;
    size_t total = 8 * values + (size_t)ref_int(bytes);
    Ref code = make(vm, class_object, pn_format_for_code(total), pn_slots_for_bytes(total));
    if (ref_is_none(code)) return code;
    oop_init_slot(ref_raw(code), 0, header);
    for (size_t i = 1; i < values; i++) oop_init_slot(ref_raw(code), i, vm->nil);
    return code;
}

// ---- Copies -------------------------------------------------------------------------------------------

// There is one symbol for each spelling, one nil, one true, one false: each is its own copy.
static bool is_unique(Oop o) {
    if (oop_is_immediate(o)) return true;
    uint32_t class_index = oop_class_index(o);
    return class_index == PN_CLASS_BYTE_SYMBOL ||
           (class_index >= PN_CLASS_UNDEFINED_OBJECT && class_index <= PN_CLASS_TRUE);
}

// A single context with the state that the receiver has now, wherever it is kept.
static Ref copy_context(WorkerVm *vm, Ref *arguments) {
    Oop context = pn_deref(vm, arguments[0]);
    // The sender's context, if it has to be made, is made first: afterwards nothing is allocated but the copy.
    if (ref_is_none(pn_context_slot(vm, context, PN_CONTEXT_SENDER))) return PN_NO_REF;
    context = pn_deref(vm, arguments[0]);
    Oop copy = pn_new(vm, PN_CLASS_CONTEXT, PN_FMT_FIXED_ARRAY, oop_slot_count(context));
    if (oop_is_none(copy)) return PN_NO_REF;
    context = pn_deref(vm, arguments[0]);
    size_t used = pn_context_used_slots(vm, context);
    for (size_t i = 0; i < used; i++) pn_store(vm, copy, i, pn_context_slot(vm, context, i));
    return ref_of(copy);
}

Ref pn_prim_shallow_copy(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    if (is_unique(o)) return arguments[0];
    if (oop_is_context(o)) return copy_context(vm, arguments);
    pn_charge(vm, oop_slot_count(o) / 8);
    Oop copy = pn_new(vm, oop_class_index(o), oop_format(o), oop_slot_count(o));
    if (oop_is_none(copy)) return PN_NO_REF;
    pn_copy_body(vm, copy, pn_deref(vm, arguments[0]));
    return ref_of(copy);
}

Ref pn_prim_shallow_copy_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_shallow_copy(vm, arguments + 1); }

// ---- Identity hash ----------------------------------------------------------------------------------------

static void set_hash(Oop o, uint32_t hash) {
    oop_set_header(o, (oop_header(o) & ~PN_HDR_HASH_MASK) | (uint64_t)hash << PN_HDR_HASH_SHIFT);
}

// For what lies in a layer without a hash: any worker works out the same, from the address.
static uint32_t address_hash(Oop o) {
    uint32_t hash = (uint32_t)((o.bits >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 42);
    return hash != 0 ? hash : 1;
}

// The hash, assigned now if there is none; a class's is its index. 0 with vm->prim_error set if that cannot be had.
static uint32_t identity_hash(WorkerVm *vm, Oop o) {
    uint32_t hash = hdr_hash(oop_header(o));
    if (PN_LIKELY(hash != 0)) return hash;
    if (pn_is_class(vm, o)) return pn_class_index(vm, o);
    if (pn_address_is_shared(o.bits)) return address_hash(o);
    hash = pn_new_hash(vm);
    set_hash(o, hash);
    return hash;
}

static Ref hash_answer(uint32_t hash) { return hash == 0 ? PN_NO_REF : ref_from_int(hash); }

Ref pn_prim_identity_hash(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    return oop_is_immediate(o) ? pn_fail(vm, PN_PRIM_GENERIC) : hash_answer(identity_hash(vm, o));
}

Ref pn_prim_behavior_hash(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    return pn_is_class(vm, o) ? hash_answer(identity_hash(vm, o)) : pn_fail(vm, PN_PRIM_RECEIVER);
}

Ref pn_prim_has_hash(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    return vm_bool(vm, !oop_is_immediate(o) && hdr_hash(oop_header(o)) != 0);
}

// A class has its index for a hash: neither can be chosen.
Ref pn_prim_set_hash(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    Ref hash = ref_of(pn_deref(vm, arguments[1]));
    bool enters = prim_arg_count(vm, arguments) == 2 && !ref_same(arguments[2], vm_false(vm));
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!ref_is_int(hash) || ref_int(hash) < 1 || ref_int(hash) > PN_MAX_CLASS_INDEX)
        return pn_fail(vm, PN_PRIM_ARGUMENT);
    if (enters && !ref_same(arguments[2], vm_true(vm))) return pn_fail(vm, PN_PRIM_ARGUMENT);
    if (enters || pn_is_class(vm, o)) return pn_fail(vm, PN_PRIM_UNSUPPORTED);
    if (oop_is_read_only_for_good(o)) return pn_fail(vm, PN_PRIM_NO_MODIFICATION);
    PnAccess access = pn_make_private(vm, &o);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    uint32_t before = hdr_hash(oop_header(o));
    set_hash(o, (uint32_t)ref_int(hash));
    return ref_from_int(before);
}

Ref pn_prim_max_identity_hash(WorkerVm *vm, Ref *arguments) {
    (void)vm, (void)arguments;
    return ref_from_int(PN_MAX_CLASS_INDEX);
}

Ref pn_prim_identity_hash_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_identity_hash(vm, arguments + 1); }
Ref pn_prim_behavior_hash_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_behavior_hash(vm, arguments + 1); }

// ---- Identity, class -----------------------------------------------------------------------------------------

// Identity of what two references mean; unlike pn_same also when one was made to mean an immediate.
Ref pn_prim_identical(WorkerVm *vm, Ref *arguments) {
    if (pn_same(vm, arguments[0], arguments[1])) return vm_true(vm);
    return vm_bool(vm, pn_deref(vm, arguments[0]).bits == pn_deref(vm, arguments[1]).bits);
}

Ref pn_prim_not_identical(WorkerVm *vm, Ref *arguments) {
    return vm_bool(vm, ref_same(pn_prim_identical(vm, arguments), vm_false(vm)));
}

Ref pn_prim_class(WorkerVm *vm, Ref *arguments) { return ref_of(pn_class_of(vm, pn_deref(vm, arguments[0]))); }

Ref pn_prim_identical_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_identical(vm, arguments + 1); }
Ref pn_prim_class_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_class(vm, arguments + 1); }

Ref pn_prim_points_to(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    Ref target = ref_of(pn_deref(vm, arguments[1]));
    if (oop_is_immediate(o)) return vm_false(vm);
    size_t values = pn_value_slots(o);
    pn_charge(vm, values / 8);
    for (size_t i = 0; i < values; i++)
        if (pn_same(vm, oop_slot(o, i), target)) return vm_true(vm);
    return vm_false(vm);
}

// ---- Change of class --------------------------------------------------------------------------------------------

// What only the machine makes, or knows by its class: nothing turns into it or out of it.
static bool class_is_fixed(uint32_t class_index) {
    switch (class_index) {
    case PN_CLASS_CONTEXT:
    case PN_CLASS_BYTE_SYMBOL:
    case PN_CLASS_UNDEFINED_OBJECT:
    case PN_CLASS_FALSE:
    case PN_CLASS_TRUE: return true;
    default: return class_index <= PN_CLASS_LAST_HIDDEN;
    }
}

static PnPrimError pointer_format(Oop o, Shape shape, uint32_t *format) {
    bool is_fixed = shape.kind <= PN_FMT_FIXED || shape.kind == PN_FMT_EPHEMERON;
    size_t slots = oop_slot_count(o);
    if (!oop_is_pointers(o)) return PN_PRIM_INAPPROPRIATE;
    if (slots < shape.named || (is_fixed && slots != shape.named)) return PN_PRIM_RECEIVER;
    *format = shape.kind;
    return 0;
}

static PnPrimError raw_format(Oop o, Shape shape, uint32_t *format) {
    size_t old_bytes = oop_element_bytes(o);
    if (old_bytes == 0) return PN_PRIM_INAPPROPRIATE;
    size_t new_bytes = shape.kind == PN_FMT_64 ? 8 : shape.kind == PN_FMT_32 ? 4 : shape.kind == PN_FMT_16 ? 2 : 1;
    size_t total = oop_element_count(o, old_bytes) * old_bytes;
    if (total % new_bytes != 0) return PN_PRIM_RECEIVER;
    *format = shape.kind + (uint32_t)((8 * oop_slot_count(o) - total) / new_bytes);
    return 0;
}

// The format o gets as an instance of a class with this index.
static PnPrimError adopted_format(Oop o, uint32_t class_index, Shape shape, uint32_t *format) {
    if (class_is_fixed(class_index) || class_is_fixed(oop_class_index(o))) return PN_PRIM_INAPPROPRIATE;
    if (shape.kind <= PN_FMT_LAST_POINTERS) return pointer_format(o, shape, format);
    bool is_raw = shape.kind == PN_FMT_64 || shape.kind == PN_FMT_32 || shape.kind == PN_FMT_16 ||
                  shape.kind == PN_FMT_8;
    return is_raw ? raw_format(o, shape, format) : PN_PRIM_INAPPROPRIATE;
}

// o, no immediate, becomes an instance of the class with this index. Answers 0 or the failure.
static PnPrimError adopt(WorkerVm *vm, Oop o, uint32_t class_index) {
    int64_t word = index_shape(class_index);
    Shape shape = {class_format_kind(word), class_format_slots(word)};
    uint32_t format;
    PnPrimError error = adopted_format(o, class_index, shape, &format);
    if (error) return error;
    if (!pn_frames_allow(vm, o, shape.named)) return PN_PRIM_INAPPROPRIATE;
    PnAccess access = pn_make_writable(vm, &o);
    if (access != PN_WRITABLE) return access == PN_READ_ONLY ? PN_PRIM_NO_MODIFICATION : PN_PRIM_NO_MEMORY;
    uint64_t kept = oop_header(o) & ~(PN_HDR_CLASS_MASK | UINT64_C(31) << PN_HDR_FORMAT_SHIFT);
    oop_set_header(o, kept | (uint64_t)format << PN_HDR_FORMAT_SHIFT | class_index);
    return 0;
}

Ref pn_prim_change_class(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]), instance = pn_deref(vm, arguments[1]);
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (oop_is_immediate(instance)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    PnPrimError error = adopt(vm, o, oop_class_index(instance));
    return error ? pn_fail(vm, error) : arguments[0];
}

Ref pn_prim_adopt_instance(WorkerVm *vm, Ref *arguments) {
    Oop class_object = pn_deref(vm, arguments[0]), o = pn_deref(vm, arguments[1]);
    if (!pn_is_class(vm, class_object)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    uint32_t class_index = pn_class_index(vm, class_object);
    if (class_index == 0) return PN_NO_REF;
    PnPrimError error = adopt(vm, pn_deref(vm, arguments[1]), class_index);
    return error ? pn_fail(vm, error) : arguments[0];
}

Ref pn_prim_adopt_instance_mirror(WorkerVm *vm, Ref *arguments) {
    Ref adopted = pn_prim_adopt_instance(vm, arguments + 1);
    return ref_is_none(adopted) ? adopted : arguments[0];
}

// ---- Immediates ---------------------------------------------------------------------------------------------------

static Ref character(WorkerVm *vm, Ref code, PnPrimError error) {
    code = ref_of(pn_deref(vm, code));
    bool fits = ref_is_int(code) && ref_int(code) >= 0 && ref_int(code) <= PN_CHAR_MAX;
    return fits ? ref_from_char((uint32_t)ref_int(code)) : pn_fail(vm, error);
}

Ref pn_prim_as_character(WorkerVm *vm, Ref *arguments) { return character(vm, arguments[0], PN_PRIM_RECEIVER); }
Ref pn_prim_character_value(WorkerVm *vm, Ref *arguments) { return character(vm, arguments[1], PN_PRIM_ARGUMENT); }

// A SmallFloat64's exponent and mantissa without their sign bit, which lies lowest, as an integer of that sign.
static int64_t small_float_bits(Ref r) {
    int64_t magnitude = (int64_t)(r.bits >> 4);
    return (r.bits >> 3 & 1) != 0 ? magnitude + PN_INT_MIN : magnitude;
}

Ref pn_prim_immediate_as_integer(WorkerVm *vm, Ref *arguments) {
    Ref r = ref_of(pn_deref(vm, arguments[0]));
    if (ref_is_int(r)) return r;
    if (ref_is_char(r)) return ref_from_int(ref_char(r));
    return ref_is_small_float(r) ? ref_from_int(small_float_bits(r)) : pn_fail(vm, PN_PRIM_RECEIVER);
}
