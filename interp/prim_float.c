// interp/prim_float.c: Float primitives (38-59, 541-559).
//
// A Float is a SmallFloat64 or, outside its exponent range, a BoxedFloat64: what a result becomes depends on its
// value alone, so the numbers for boxed and for small receivers share their functions. SmallIntegers count as
// arguments as long as the conversion is exact, so that comparisons are.
#include <math.h>

#include "interp/interp_int.h"

#define PN_EXACT_INT_LIMIT (INT64_C(1) << 51)
#define PN_EXPONENT_CLIP 4096 // twice the range of exponents: whatever is beyond gives zero or infinity just the same

// ---- Values ---------------------------------------------------------------------------------------

static bool is_boxed_float(Oop o) {
    return oop_class_index(o) == PN_CLASS_BOXED_FLOAT && oop_format(o) == PN_FMT_32 && oop_slot_count(o) == 1;
}

static double boxed_value(Oop o) {
    double d;
    memcpy(&d, oop_bytes(o), sizeof d);
    return d;
}

bool pn_float_value(WorkerVm *vm, Ref r, double *result) {
    if (!ref_is_small_float(r)) {
        Oop o = pn_deref(vm, r);
        if (!oop_is_immediate(o)) {
            if (!is_boxed_float(o)) return false;
            *result = boxed_value(o);
            return true;
        }
        r = ref_of(o);
    }
    if (!ref_is_small_float(r)) return false;
    *result = ref_float(r);
    return true;
}

Ref pn_float_new(WorkerVm *vm, double d) {
    Ref small;
    if (PN_LIKELY(ref_from_float(d, &small))) return small;
    Oop boxed = pn_new(vm, PN_CLASS_BOXED_FLOAT, PN_FMT_32, 1);
    if (oop_is_none(boxed)) return PN_NO_REF;
    memcpy(oop_bytes(boxed), &d, sizeof d);
    return ref_of(boxed);
}

// The argument of mixed arithmetic. Answers 0, or why not.
static PnPrimError number_value(WorkerVm *vm, Ref r, double *result) {
    if (pn_float_value(vm, r, result)) return 0;
    r = ref_of(pn_deref(vm, r));
    if (!ref_is_int(r)) return PN_PRIM_ARGUMENT;
    int64_t n = ref_int(r);
    if (n < -PN_EXACT_INT_LIMIT || n >= PN_EXACT_INT_LIMIT) return PN_PRIM_GENERIC;
    *result = (double)n;
    return 0;
}

static PnPrimError operands(WorkerVm *vm, const Ref *arguments, double *a, double *b) {
    return pn_float_value(vm, arguments[0], a) ? number_value(vm, arguments[1], b) : PN_PRIM_RECEIVER;
}

// ---- Arithmetic, comparison ---------------------------------------------------------------------------

#define PN_FLOAT_ARITHMETIC(name, operator)                                                                            \
    Ref pn_prim_float_##name(WorkerVm *vm, Ref *arguments) {                                                           \
        double a, b;                                                                                                   \
        PnPrimError error = operands(vm, arguments, &a, &b);                                                           \
        return error ? pn_fail(vm, error) : pn_float_new(vm, a operator b);                                            \
    }
PN_FLOAT_ARITHMETIC(add, +)
PN_FLOAT_ARITHMETIC(subtract, -)
PN_FLOAT_ARITHMETIC(multiply, *)

Ref pn_prim_float_divide(WorkerVm *vm, Ref *arguments) {
    double a, b;
    PnPrimError error = operands(vm, arguments, &a, &b);
    if (!error && b == 0) error = PN_PRIM_GENERIC;
    return error ? pn_fail(vm, error) : pn_float_new(vm, a / b);
}

#define PN_FLOAT_COMPARISON(name, operator)                                                                            \
    Ref pn_prim_float_##name(WorkerVm *vm, Ref *arguments) {                                                           \
        double a, b;                                                                                                   \
        PnPrimError error = operands(vm, arguments, &a, &b);                                                           \
        return error ? pn_fail(vm, error) : vm_bool(vm, a operator b);                                                 \
    }
PN_FLOAT_COMPARISON(less, <)
PN_FLOAT_COMPARISON(greater, >)
PN_FLOAT_COMPARISON(less_or_equal, <=)
PN_FLOAT_COMPARISON(greater_or_equal, >=)
PN_FLOAT_COMPARISON(equal, ==)
PN_FLOAT_COMPARISON(not_equal, !=)

// ---- Functions of one number ----------------------------------------------------------------------------

#define PN_FLOAT_FUNCTION(name, expression)                                                                            \
    Ref pn_prim_float_##name(WorkerVm *vm, Ref *arguments) {                                                           \
        double a;                                                                                                      \
        if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);                               \
        return pn_float_new(vm, expression);                                                                           \
    }
PN_FLOAT_FUNCTION(sin, sin(a))
PN_FLOAT_FUNCTION(arctan, atan(a))
PN_FLOAT_FUNCTION(ln, log(a))
PN_FLOAT_FUNCTION(exp, exp(a))
PN_FLOAT_FUNCTION(fraction, a - trunc(a))

Ref pn_prim_float_sqrt(WorkerVm *vm, Ref *arguments) {
    double a;
    if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);
    return a < 0 ? pn_fail(vm, PN_PRIM_GENERIC) : pn_float_new(vm, sqrt(a));
}

Ref pn_prim_float_truncated(WorkerVm *vm, Ref *arguments) {
    double a;
    if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);
    // The bounds are powers of two, so exact; not-a-number passes neither comparison.
    bool fits = a >= (double)PN_INT_MIN && a < -(double)PN_INT_MIN;
    return fits ? ref_from_int((int64_t)a) : pn_fail(vm, PN_PRIM_GENERIC);
}

Ref pn_prim_float_exponent(WorkerVm *vm, Ref *arguments) {
    double a;
    int power = 0;
    if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!isfinite(a)) return pn_fail(vm, PN_PRIM_GENERIC);
    (void)frexp(a, &power);
    return ref_from_int(power - 1);
}

Ref pn_prim_float_times_power(WorkerVm *vm, Ref *arguments) {
    double a;
    Ref power = ref_of(pn_deref(vm, arguments[1]));
    if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!ref_is_int(power)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    int64_t n = ref_int(power);
    if (n > PN_EXPONENT_CLIP) n = PN_EXPONENT_CLIP;
    if (n < -PN_EXPONENT_CLIP) n = -PN_EXPONENT_CLIP;
    return pn_float_new(vm, ldexp(a, (int)n));
}

Ref pn_prim_as_float(WorkerVm *vm, Ref *arguments) {
    Ref n = ref_of(pn_deref(vm, arguments[0]));
    return ref_is_int(n) ? pn_float_new(vm, (double)ref_int(n)) : pn_fail(vm, PN_PRIM_RECEIVER);
}

// ---- Bits -------------------------------------------------------------------------------------------------

// 1 is the more significant half, which lies second in memory. Answers 0, or why it is no index.
static PnPrimError half_index(WorkerVm *vm, Ref r, size_t *half) {
    r = ref_of(pn_deref(vm, r));
    if (!ref_is_int(r)) return PN_PRIM_ARGUMENT;
    if (ref_int(r) != 1 && ref_int(r) != 2) return PN_PRIM_INDEX;
    *half = ref_int(r) == 1 ? 1 : 0;
    return 0;
}

Ref pn_prim_float_at(WorkerVm *vm, Ref *arguments) {
    double a;
    size_t half;
    uint64_t bits;
    if (!pn_float_value(vm, arguments[0], &a)) return pn_fail(vm, PN_PRIM_RECEIVER);
    PnPrimError error = half_index(vm, arguments[1], &half);
    if (error) return pn_fail(vm, error);
    memcpy(&bits, &a, sizeof bits);
    return ref_from_int((uint32_t)(bits >> 32 * half));
}

Ref pn_prim_float_at_put(WorkerVm *vm, Ref *arguments) {
    Oop boxed = pn_deref(vm, arguments[0]);
    size_t half;
    uint64_t value;
    if (oop_is_immediate(boxed) || !is_boxed_float(boxed)) return pn_fail(vm, PN_PRIM_RECEIVER);
    PnPrimError error = half_index(vm, arguments[1], &half);
    if (error) return pn_fail(vm, error);
    if (!pn_uint64_value(vm, arguments[2], &value) || !element_takes(4, value)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    PnAccess access = pn_make_writable(vm, &boxed);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    oop_set_element(boxed, half, 4, value);
    return arguments[2];
}
