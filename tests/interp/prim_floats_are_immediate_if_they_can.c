// Float primitives: IEEE results, as immediates whenever these can hold them, else boxed; each failure has its code.
#include "tests/interp/prims.h"

#include <math.h>

static int begin(void **state) {
    *state = prim_boot();
    return 0;
}
static int end(void **state) {
    test_verify(*state);
    pn_worker_free(*state);
    return 0;
}

static double value(WorkerVm *vm, Ref r) {
    double d, again;
    Ref small;
    assert_true(pn_float_value(vm, r, &d));
    assert_int_equal(ref_is_small_float(r), ref_from_float(d, &small));
    again = d;
    return again;
}
#define F(d) prim_float(vm, d)
#define prim_double(number, ...) value(vm, prim(vm, number, __VA_ARGS__))

static void results_are_immediate_exactly_when_they_can(void **state) {
    WorkerVm *vm = *state;
    assert_true(prim_double(541, F(1.5), F(2.0)) == 3.5);
    assert_true(prim_double(549, F(1e200), F(1e100)) == 1e300);
    assert_true(prim_double(550, F(1e300), F(1e299)) == 1e300 / 1e299);
    assert_true(isinf(prim_double(549, F(1e300), F(1e300))));
    assert_true(prim_double(542, F(1e300), F(1e300)) == 0.0);
}

static void small_and_boxed_numbers_do_the_same(void **state) {
    WorkerVm *vm = *state;
    for (uint32_t base = 0; base <= 500; base += 500)
        for (int i = 0; i < 2; i++) {
            double a = i ? 1e300 : 2.5, b = i ? -1e299 : 0.5;
            assert_true(prim_double(base + 41, F(a), F(b)) == a + b);
            assert_true(prim_double(base + 42, F(a), F(b)) == a - b);
            assert_true(prim_double(base + 49, F(a), F(b)) == a * b);
            assert_true(prim_double(base + 50, F(a), F(b)) == a / b);
        }
}

static void arguments_are_floats_or_exact_integers(void **state) {
    WorkerVm *vm = *state;
    assert_true(prim_double(41, F(0.5), I(2)) == 2.5);
    assert_true(prim_double(41, F(0.5), I((INT64_C(1) << 51) - 1)) == 0.5 + (double)((INT64_C(1) << 51) - 1));
    prim_fails(vm, PN_PRIM_GENERIC, 41, F(0.5), I(INT64_C(1) << 51));
    prim_fails(vm, PN_PRIM_GENERIC, 43, F(0.5), I(-(INT64_C(1) << 51) - 1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 41, F(0.5), vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 47, F(0.5), C('a'));
    prim_fails(vm, PN_PRIM_RECEIVER, 41, I(1), F(0.5));
    prim_fails(vm, PN_PRIM_GENERIC, 50, F(0.5), I(0));
    prim_fails(vm, PN_PRIM_GENERIC, 550, F(0.5), F(-0.0));
}

static void comparisons_follow_ieee(void **state) {
    WorkerVm *vm = *state;
    prim_true(vm, 43, F(1.0), F(2.0));
    prim_false(vm, 44, F(1.0), F(2.0));
    prim_true(vm, 45, F(2.0), I(2));
    prim_true(vm, 46, F(1e300), F(1e300));
    prim_true(vm, 47, F(0.0), F(-0.0));
    for (uint32_t number = 43; number <= 47; number++) prim_false(vm, number, F((double)NAN), F((double)NAN));
    prim_true(vm, 548, F((double)NAN), F((double)NAN));
}

static void functions_of_one_number(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 51, F(-3.7)), -3);
    assert_int_equal(prim_int(vm, 51, F(-0x1p60)), PN_INT_MIN);
    prim_fails(vm, PN_PRIM_GENERIC, 51, F(0x1p60));
    prim_fails(vm, PN_PRIM_GENERIC, 551, F((double)NAN));
    assert_true(prim_double(52, F(-3.75)) == -0.75);
    assert_int_equal(prim_int(vm, 53, F(8.0)), 3);
    assert_int_equal(prim_int(vm, 53, F(0.75)), -1);
    prim_fails(vm, PN_PRIM_GENERIC, 53, F((double)INFINITY));
    assert_true(prim_double(54, F(1.5), I(10)) == 1536.0);
    assert_true(isinf(prim_double(54, F(1.5), I(PN_INT_MAX))));
    assert_true(prim_double(54, F(1.5), I(PN_INT_MIN)) == 0.0);
    prim_fails(vm, PN_PRIM_ARGUMENT, 54, F(1.5), F(1.0));
    assert_true(prim_double(55, F(6.25)) == 2.5);
    prim_fails(vm, PN_PRIM_GENERIC, 55, F(-1.0));
    assert_true(prim_double(56, F(1.0)) == sin(1.0));
    assert_true(prim_double(57, F(1.0)) == atan(1.0));
    assert_true(prim_double(558, F(2.0)) == log(2.0));
    assert_true(prim_double(559, F(700.0)) == exp(700.0));
    for (uint32_t number = 51; number <= 59; number++)
        if (number != 54) prim_fails(vm, PN_PRIM_RECEIVER, number, vm->nil);
    assert_true(prim_double(40, I(-7)) == -7.0);
    prim_fails(vm, PN_PRIM_RECEIVER, 40, vm->nil);
}

static void halves_are_read_high_first(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 38, F(1.0), I(1)), 0x3FF00000);
    assert_int_equal(prim_int(vm, 38, F(1.0), I(2)), 0);
    assert_int_equal(prim_int(vm, 38, F(1e300), I(1)), 0x7E37E43C);
    prim_fails(vm, PN_PRIM_INDEX, 38, F(1.0), I(3));
    prim_fails(vm, PN_PRIM_INDEX, 38, F(1.0), I(0));
    prim_fails(vm, PN_PRIM_ARGUMENT, 38, F(1.0), vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 38, I(1), I(1));
}

static void halves_of_boxed_floats_are_written(void **state) {
    WorkerVm *vm = *state;
    Ref boxed = F(1e300);
    assert_int_equal(prim_int(vm, 39, boxed, I(1), I(0x40000000)), 0x40000000);
    assert_int_equal(prim_int(vm, 39, boxed, I(2), I(0)), 0);
    assert_int_equal(prim_int(vm, 38, boxed, I(1)), 0x40000000);
    prim_fails(vm, PN_PRIM_RECEIVER, 39, F(1.0), I(1), I(0));
    prim_fails(vm, PN_PRIM_ARGUMENT, 39, boxed, I(1), I(-1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 39, boxed, I(1), I(INT64_C(1) << 32));
    prim_fails(vm, PN_PRIM_INDEX, 39, boxed, I(3), I(0));
}

static void boxed_floats_of_a_layer_are_never_written(void **state) {
    WorkerVm *vm = *state;
    if (!PN_COW) return;
    Ref boxed = F(1e300);
    prim_freeze(vm, &boxed, 1);
    prim_fails(vm, PN_PRIM_NO_MODIFICATION, 39, boxed, I(1), I(0));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, boxed, vm_false(vm));
    assert_true(prim_double(41, boxed, I(0)) == 1e300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(results_are_immediate_exactly_when_they_can, begin, end),
        cmocka_unit_test_setup_teardown(small_and_boxed_numbers_do_the_same, begin, end),
        cmocka_unit_test_setup_teardown(arguments_are_floats_or_exact_integers, begin, end),
        cmocka_unit_test_setup_teardown(comparisons_follow_ieee, begin, end),
        cmocka_unit_test_setup_teardown(functions_of_one_number, begin, end),
        cmocka_unit_test_setup_teardown(halves_are_read_high_first, begin, end),
        cmocka_unit_test_setup_teardown(halves_of_boxed_floats_are_written, begin, end),
        cmocka_unit_test_setup_teardown(boxed_floats_of_a_layer_are_never_written, begin, end),
    };
    return test_run(tests);
}
