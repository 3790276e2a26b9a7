// Integer primitives answer the exact result, normalized, or fail and leave it to the image; each failure has its code.
#include "tests/interp/prims.h"

static int begin(void **state) {
    *state = prim_boot();
    return 0;
}
static int end(void **state) {
    test_verify(*state);
    pn_worker_free(*state);
    return 0;
}

// Answers the magnitude of a large integer, checking class and normal form.
static uint64_t magnitude(Ref r, uint32_t class_index) {
    assert_false(ref_is_immediate(r));
    Oop o = ref_raw(r);
    assert_int_equal(oop_class_index(o), class_index);
    assert_int_equal(oop_slot_count(o), 1);
    uint64_t word = oop_slot(o, 0).bits;
    assert_int_equal(oop_byte_count(o), 8 - __builtin_clzll(word) / 8);
    return word;
}

static void small_results_that_fit_are_answered(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 1, I(3), I(4)), 7);
    assert_int_equal(prim_int(vm, 2, I(3), I(4)), -1);
    assert_int_equal(prim_int(vm, 9, I(-3), I(4)), -12);
    assert_int_equal(prim_int(vm, 10, I(-12), I(4)), -3);
    assert_int_equal(prim_int(vm, 1, I(PN_INT_MAX - 1), I(1)), PN_INT_MAX);
}

static void small_results_that_do_not_fit_fail(void **state) {
    WorkerVm *vm = *state;
    prim_fails(vm, PN_PRIM_GENERIC, 1, I(PN_INT_MAX), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 2, I(PN_INT_MIN), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 9, I(PN_INT_MAX), I(2));
    prim_fails(vm, PN_PRIM_GENERIC, 9, I(PN_INT_MAX), I(PN_INT_MAX));
    prim_fails(vm, PN_PRIM_GENERIC, 10, I(PN_INT_MIN), I(-1));
    prim_fails(vm, PN_PRIM_GENERIC, 12, I(PN_INT_MIN), I(-1));
    prim_fails(vm, PN_PRIM_GENERIC, 13, I(PN_INT_MIN), I(-1));
}

static void operands_that_are_no_small_integers_fail(void **state) {
    WorkerVm *vm = *state;
    for (uint32_t number = 1; number <= 13; number++) {
        prim_fails(vm, PN_PRIM_GENERIC, number, I(1), vm->nil);
        prim_fails(vm, PN_PRIM_GENERIC, number, C('a'), I(1));
        prim_fails(vm, PN_PRIM_GENERIC, number, I(1), prim_float(vm, 1.0));
    }
}

static void division_rounds_as_its_name_says(void **state) {
    WorkerVm *vm = *state;
    static const int64_t cases[][5] = {// a, b, \\, //, quo:
                                       {7, 2, 1, 3, 3},    {-7, 2, 1, -4, -3}, {7, -2, -1, -4, -3}, {-7, -2, -1, 3, 3},
                                       {-8, 2, 0, -4, -4}, {0, 5, 0, 0, 0},    {8, -2, 0, -4, -4}};
    for (size_t i = 0; i < PN_COUNT_OF(cases); i++) {
        Ref a = I(cases[i][0]), b = I(cases[i][1]);
        for (uint32_t k = 0; k < 3; k++) {
            assert_int_equal(prim_int(vm, 11 + k, a, b), cases[i][2 + k]);
            assert_int_equal(prim_int(vm, 31 + k, a, b), cases[i][2 + k]);
        }
        assert_int_equal(prim_int(vm, 20, a, b), cases[i][0] % cases[i][1]);
    }
    for (uint32_t number = 10; number <= 13; number++) prim_fails(vm, PN_PRIM_GENERIC, number, I(1), I(0));
    for (uint32_t number = 30; number <= 33; number++) prim_fails(vm, PN_PRIM_GENERIC, number, I(1), I(0));
    prim_fails(vm, PN_PRIM_GENERIC, 20, I(1), I(0));
    prim_fails(vm, PN_PRIM_GENERIC, 10, I(7), I(2));
    prim_fails(vm, PN_PRIM_GENERIC, 30, I(7), I(2));
}

static void comparisons_compare(void **state) {
    WorkerVm *vm = *state;
    static const bool expected[6][3] = {// less, equal, greater operand first
                                        {1, 0, 0}, {0, 0, 1}, {1, 1, 0}, {0, 1, 1}, {0, 1, 0}, {1, 0, 1}};
    Ref low[2] = {I(-5), prim_large(vm, true, UINT64_MAX)}, high[2] = {I(4), prim_large(vm, false, UINT64_C(1) << 63)};
    for (uint32_t k = 0; k < 6; k++)
        for (int large = 0; large < 2; large++) {
            uint32_t number = (large ? 23 : 3) + k;
            Ref a[3] = {low[large], high[large], high[large]}, b[3] = {high[large], high[large], low[large]};
            for (int i = 0; i < 3; i++)
                assert_int_equal(prim(vm, number, a[i], b[i]).bits, vm_bool(vm, expected[k][i]).bits);
        }
}

static void bits_take_negative_small_integers_and_positive_large_ones(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 14, I(-4), I(7)), 4);
    assert_int_equal(prim_int(vm, 15, I(-4), I(3)), -1);
    assert_int_equal(prim_int(vm, 16, I(-1), I(5)), -6);
    Ref large = prim_large(vm, false, UINT64_C(0xF000000000000001));
    assert_int_equal(prim_int(vm, 14, large, I(3)), 1);
    assert_int_equal(magnitude(prim(vm, 15, I(2), large), PN_CLASS_LARGE_POSITIVE), UINT64_C(0xF000000000000003));
    assert_int_equal(prim_int(vm, 36, large, large), 0);
    for (uint32_t number = 34; number <= 36; number++) prim_fails(vm, PN_PRIM_GENERIC, number, I(-1), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 14, large, I(-1));
    prim_fails(vm, PN_PRIM_GENERIC, 14, prim_large(vm, true, UINT64_C(1) << 62), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 14, I(1), prim_object(vm, PN_CLASS_LARGE_POSITIVE, PN_FMT_8, 2));
}

static void shifts_lose_no_bits(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 17, I(3), I(4)), 48);
    assert_int_equal(prim_int(vm, 17, I(-1), I(-61)), -1);
    assert_int_equal(prim_int(vm, 17, I(-9), I(-1)), -5);
    assert_int_equal(magnitude(prim(vm, 17, I(1), I(61)), PN_CLASS_LARGE_POSITIVE), UINT64_C(1) << 61);
    assert_int_equal(magnitude(prim(vm, 17, I(-3), I(61)), PN_CLASS_LARGE_NEGATIVE), UINT64_C(3) << 61);
    prim_fails(vm, PN_PRIM_GENERIC, 17, I(4), I(61));
    prim_fails(vm, PN_PRIM_GENERIC, 17, I(1), I(62));
    prim_fails(vm, PN_PRIM_GENERIC, 17, I(1), I(-62));
    prim_fails(vm, PN_PRIM_GENERIC, 17, I(1), vm->nil);
    assert_int_equal(magnitude(prim(vm, 37, I(1), I(63)), PN_CLASS_LARGE_POSITIVE), UINT64_C(1) << 63);
    prim_fails(vm, PN_PRIM_GENERIC, 37, I(2), I(63));
    prim_fails(vm, PN_PRIM_GENERIC, 37, I(2), I(1000));
    assert_int_equal(prim_int(vm, 37, prim_large(vm, false, UINT64_C(1) << 63), I(-63)), 1);
    assert_int_equal(prim_int(vm, 37, prim_large(vm, true, UINT64_MAX), I(-1000)), -1);
}

static void large_results_are_normalized_and_end_at_64_bits(void **state) {
    WorkerVm *vm = *state;
    Ref top = prim_large(vm, false, UINT64_MAX), bottom = prim_large(vm, true, UINT64_MAX);
    assert_int_equal(magnitude(prim(vm, 21, I(PN_INT_MAX), I(1)), PN_CLASS_LARGE_POSITIVE), (uint64_t)PN_INT_MAX + 1);
    assert_int_equal(magnitude(prim(vm, 22, I(PN_INT_MIN), I(1)), PN_CLASS_LARGE_NEGATIVE), (uint64_t)PN_INT_MAX + 2);
    assert_int_equal(prim_int(vm, 21, top, bottom), 0);
    assert_int_equal(magnitude(prim(vm, 29, I(INT64_C(1) << 32), I(-(INT64_C(1) << 31))), PN_CLASS_LARGE_NEGATIVE),
                     UINT64_C(1) << 63);
    assert_int_equal(prim_int(vm, 30, top, I(INT64_C(0xFFFFFFFF))), INT64_C(0x100000001));
    assert_int_equal(prim_int(vm, 33, bottom, top), -1);
    prim_fails(vm, PN_PRIM_GENERIC, 21, top, I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 22, bottom, I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 29, top, I(2));
    prim_fails(vm, PN_PRIM_GENERIC, 29, top, top);
    prim_fails(vm, PN_PRIM_GENERIC, 21, I(1), prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "a"));
}

static void points_take_numbers(void **state) {
    WorkerVm *vm = *state;
    Oop point = ref_raw(prim(vm, 18, I(3), prim_float(vm, 1e300)));
    assert_int_equal(oop_class_index(point), PN_CLASS_POINT);
    assert_int_equal(oop_slot(point, 0).bits, I(3).bits);
    prim_fails(vm, PN_PRIM_ARGUMENT, 18, I(3), vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 18, I(3), C('a'));
}

static void numbers_that_guard_always_fail(void **state) {
    WorkerVm *vm = *state;
    prim_fails(vm, PN_PRIM_GENERIC, 19, I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 66, I(1), I(2));
    assert_null(pn_primitive(198, 1));
    assert_null(pn_primitive(207, 0));
    assert_null(pn_primitive(1, 0));
    assert_null(pn_primitive(9999, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_results_that_fit_are_answered, begin, end),
        cmocka_unit_test_setup_teardown(small_results_that_do_not_fit_fail, begin, end),
        cmocka_unit_test_setup_teardown(operands_that_are_no_small_integers_fail, begin, end),
        cmocka_unit_test_setup_teardown(division_rounds_as_its_name_says, begin, end),
        cmocka_unit_test_setup_teardown(comparisons_compare, begin, end),
        cmocka_unit_test_setup_teardown(bits_take_negative_small_integers_and_positive_large_ones, begin, end),
        cmocka_unit_test_setup_teardown(shifts_lose_no_bits, begin, end),
        cmocka_unit_test_setup_teardown(large_results_are_normalized_and_end_at_64_bits, begin, end),
        cmocka_unit_test_setup_teardown(points_take_numbers, begin, end),
        cmocka_unit_test_setup_teardown(numbers_that_guard_always_fail, begin, end),
    };
    return test_run(tests);
}
