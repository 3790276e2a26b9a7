// interp/prim_int.c: integer primitives: SmallIntegers (1-18), integers of a magnitude below 2^64 (20-37).
//
// Also makes large integers for whoever has a 64-bit result. Whatever does not fit fails: the image's own code then
// goes on. Operands are followed: one-way become: can have made a reference mean an immediate.
#include "interp/interp_int.h"

typedef __int128 Wide; // holds any sum, difference, quotient of magnitudes below 2^64

// ---- Values -------------------------------------------------------------------------------------

// A large integer of at most 8 bytes, in hand. Padding after the last byte is zero, so the first word is the magnitude.
static bool large_value(Oop o, Wide *result) {
    uint32_t class_index = oop_class_index(o);
    if (class_index != PN_CLASS_LARGE_POSITIVE && class_index != PN_CLASS_LARGE_NEGATIVE) return false;
    if (!oop_is_bytes(o) || oop_slot_count(o) > 1) return false;
    uint64_t magnitude = 0;
    memcpy(&magnitude, oop_bytes(o), oop_byte_count(o));
    *result = class_index == PN_CLASS_LARGE_POSITIVE ? (Wide)magnitude : -(Wide)magnitude;
    return true;
}

static bool wide_value(WorkerVm *vm, Ref r, Wide *result) {
    Oop o = pn_deref(vm, r);
    if (!oop_is_immediate(o)) return large_value(o, result);
    if (!ref_is_int(ref_of(o))) return false;
    *result = ref_int(ref_of(o));
    return true;
}

bool pn_uint64_value(WorkerVm *vm, Ref r, uint64_t *result) {
    Wide wide;
    if (!wide_value(vm, r, &wide) || wide < 0) return false;
    *result = (uint64_t)wide;
    return true;
}

bool pn_int64_value(WorkerVm *vm, Ref r, int64_t *result) {
    Wide wide;
    if (!wide_value(vm, r, &wide) || wide < INT64_MIN || wide > INT64_MAX) return false;
    *result = (int64_t)wide;
    return true;
}

static size_t bytes_in_magnitude(uint64_t magnitude) {
    return magnitude == 0 ? 0 : 8 - (size_t)__builtin_clzll(magnitude) / 8;
}

static Ref wide_new(WorkerVm *vm, Wide n) {
    if (n >= PN_INT_MIN && n <= PN_INT_MAX) return ref_from_int((int64_t)n);
    uint64_t magnitude = (uint64_t)(n < 0 ? -n : n);
    uint32_t class_index = n < 0 ? PN_CLASS_LARGE_NEGATIVE : PN_CLASS_LARGE_POSITIVE;
    Oop large = pn_new_bytes(vm, class_index, bytes_in_magnitude(magnitude));
    if (oop_is_none(large)) return PN_NO_REF;
    memcpy(oop_bytes(large), &magnitude, sizeof magnitude);
    return ref_of(large);
}

Ref pn_uint64_new(WorkerVm *vm, uint64_t magnitude) { return wide_new(vm, (Wide)magnitude); }
Ref pn_int64_new(WorkerVm *vm, int64_t n) { return wide_new(vm, (Wide)n); }

// ---- Small integers -------------------------------------------------------------------------------

static bool small_operands(WorkerVm *vm, const Ref *arguments, int64_t *a, int64_t *b) {
    Ref x = ref_of(pn_deref(vm, arguments[0]));
    Ref y = ref_of(pn_deref(vm, arguments[1]));
    *a = ref_int(x);
    *b = ref_int(y);
    return refs_are_ints(x, y);
}

static Ref small_answer(WorkerVm *vm, int64_t n) {
    return PN_LIKELY(int_fits(n)) ? ref_from_int(n) : pn_fail(vm, PN_PRIM_GENERIC);
}

static int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a ^ b) < 0); }

Ref pn_prim_add(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    return small_operands(vm, arguments, &a, &b) ? small_answer(vm, a + b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_subtract(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    return small_operands(vm, arguments, &a, &b) ? small_answer(vm, a - b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_multiply(WorkerVm *vm, Ref *arguments) {
    int64_t a, b, product;
    if (!small_operands(vm, arguments, &a, &b) || __builtin_mul_overflow(a, b, &product))
        return pn_fail(vm, PN_PRIM_GENERIC);
    return small_answer(vm, product);
}

Ref pn_prim_divide(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    if (!small_operands(vm, arguments, &a, &b) || b == 0 || a % b != 0) return pn_fail(vm, PN_PRIM_GENERIC);
    return small_answer(vm, a / b);
}

Ref pn_prim_modulo(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    if (!small_operands(vm, arguments, &a, &b) || b == 0) return pn_fail(vm, PN_PRIM_GENERIC);
    return ref_from_int(a - b * floor_quotient(a, b));
}

Ref pn_prim_floor_divide(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    if (!small_operands(vm, arguments, &a, &b) || b == 0) return pn_fail(vm, PN_PRIM_GENERIC);
    return small_answer(vm, floor_quotient(a, b));
}

Ref pn_prim_quo(WorkerVm *vm, Ref *arguments) {
    int64_t a, b;
    if (!small_operands(vm, arguments, &a, &b) || b == 0) return pn_fail(vm, PN_PRIM_GENERIC);
    return small_answer(vm, a / b);
}

// ---- Comparisons, of both kinds ---------------------------------------------------------------------

#define PN_COMPARISON(name, operator)                                                                                  \
    Ref pn_prim_##name(WorkerVm *vm, Ref *arguments) {                                                                 \
        int64_t a, b;                                                                                                  \
        if (!small_operands(vm, arguments, &a, &b)) return pn_fail(vm, PN_PRIM_GENERIC);                               \
        return vm_bool(vm, a operator b);                                                                              \
    }                                                                                                                  \
    Ref pn_prim_large_##name(WorkerVm *vm, Ref *arguments) {                                                           \
        Wide a, b;                                                                                                     \
        if (!wide_value(vm, arguments[0], &a) || !wide_value(vm, arguments[1], &b))                                    \
            return pn_fail(vm, PN_PRIM_GENERIC);                                                                       \
        return vm_bool(vm, a operator b);                                                                              \
    }
PN_COMPARISON(less, <)
PN_COMPARISON(greater, >)
PN_COMPARISON(less_or_equal, <=)
PN_COMPARISON(greater_or_equal, >=)
PN_COMPARISON(equal, ==)
PN_COMPARISON(not_equal, !=)

// ---- Bits ---------------------------------------------------------------------------------------------
// Both operands SmallIntegers of any sign; or, as for 34-36, both non-negative and below 2^64.

#define PN_BITWISE(name, operator)                                                                                     \
    Ref pn_prim_large_##name(WorkerVm *vm, Ref *arguments) {                                                           \
        uint64_t a, b;                                                                                                 \
        if (!pn_uint64_value(vm, arguments[0], &a) || !pn_uint64_value(vm, arguments[1], &b))                          \
            return pn_fail(vm, PN_PRIM_GENERIC);                                                                       \
        return pn_uint64_new(vm, a operator b);                                                                        \
    }                                                                                                                  \
    Ref pn_prim_##name(WorkerVm *vm, Ref *arguments) {                                                                 \
        int64_t a, b;                                                                                                  \
        if (small_operands(vm, arguments, &a, &b)) return ref_from_int(a operator b);                                  \
        return pn_prim_large_##name(vm, arguments);                                                                    \
    }
PN_BITWISE(bit_and, &)
PN_BITWISE(bit_or, |)
PN_BITWISE(bit_xor, ^)

// Shift by at most 64 either way; shifts right round down. False if bits are lost on the left.
static bool shift(Wide a, int64_t by, Wide *result) {
    if (by <= 0) {
        *result = a >> -by;
        return true;
    }
    *result = (Wide)((unsigned __int128)a << by);
    return *result >> by == a;
}

Ref pn_prim_bit_shift(WorkerVm *vm, Ref *arguments) {
    int64_t a, by;
    Wide result;
    if (!small_operands(vm, arguments, &a, &by) || by < -61 || by > 61 || !shift(a, by, &result))
        return pn_fail(vm, PN_PRIM_GENERIC);
    if (result < INT64_MIN || result > INT64_MAX) return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_new(vm, result);
}

// ---- Points ---------------------------------------------------------------------------------------------

Ref pn_prim_make_point(WorkerVm *vm, Ref *arguments) {
    double unused;
    Ref y = ref_of(pn_deref(vm, arguments[1]));
    if (!ref_is_int(y) && !pn_float_value(vm, y, &unused)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    Oop point = pn_new(vm, PN_CLASS_POINT, PN_FMT_FIXED, 2);
    if (oop_is_none(point)) return PN_NO_REF;
    pn_store(vm, point, 0, arguments[0]);
    pn_store(vm, point, 1, arguments[1]);
    return ref_of(point);
}

// ---- Integers below 2^64 -----------------------------------------------------------------------------------

static bool wide_operands(WorkerVm *vm, const Ref *arguments, Wide *a, Wide *b) {
    return wide_value(vm, arguments[0], a) && wide_value(vm, arguments[1], b);
}
static bool wide_division(WorkerVm *vm, const Ref *arguments, Wide *a, Wide *b) {
    return wide_operands(vm, arguments, a, b) && *b != 0;
}

static Ref wide_answer(WorkerVm *vm, Wide n) {
    bool fits = n >= -(Wide)UINT64_MAX && n <= (Wide)UINT64_MAX;
    return fits ? wide_new(vm, n) : pn_fail(vm, PN_PRIM_GENERIC);
}

static Wide wide_floor_quotient(Wide a, Wide b) { return a / b - (a % b != 0 && (a ^ b) < 0); }

Ref pn_prim_large_add(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    return wide_operands(vm, arguments, &a, &b) ? wide_answer(vm, a + b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_large_subtract(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    return wide_operands(vm, arguments, &a, &b) ? wide_answer(vm, a - b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_large_multiply(WorkerVm *vm, Ref *arguments) {
    Wide a, b, product;
    if (!wide_operands(vm, arguments, &a, &b) || __builtin_mul_overflow(a, b, &product))
        return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_answer(vm, product);
}

Ref pn_prim_large_divide(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    if (!wide_division(vm, arguments, &a, &b) || a % b != 0) return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_answer(vm, a / b);
}

Ref pn_prim_large_modulo(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    if (!wide_division(vm, arguments, &a, &b)) return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_answer(vm, a - b * wide_floor_quotient(a, b));
}

Ref pn_prim_large_floor_divide(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    if (!wide_division(vm, arguments, &a, &b)) return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_answer(vm, wide_floor_quotient(a, b));
}

Ref pn_prim_large_quo(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    return wide_division(vm, arguments, &a, &b) ? wide_answer(vm, a / b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_large_rem(WorkerVm *vm, Ref *arguments) {
    Wide a, b;
    return wide_division(vm, arguments, &a, &b) ? wide_answer(vm, a % b) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_large_bit_shift(WorkerVm *vm, Ref *arguments) {
    Wide a, by, result;
    if (!wide_operands(vm, arguments, &a, &by) || by > 64 || !ref_is_int(ref_of(pn_deref(vm, arguments[1]))))
        return pn_fail(vm, PN_PRIM_GENERIC);
    if (!shift(a, by < -64 ? -64 : (int64_t)by, &result)) return pn_fail(vm, PN_PRIM_GENERIC);
    return wide_answer(vm, result);
}
