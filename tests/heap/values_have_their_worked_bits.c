// tests/heap/values_have_their_worked_bits.c: immediates and headers are Spur's, bit for bit, as in its published
// examples.
#include "tests/support.h"

#include <float.h>
#include <math.h>

// ---- Immediates ---------------------------------------------------------------------------------

static void small_integers(void **state) {
    (void)state;
    const struct {
        int64_t value;
        uint64_t bits;
    } samples[] = {
        {0, 0x1},
        {1, 0x9},
        {-1, 0xFFFFFFFFFFFFFFF9},
        {PN_INT_MAX, 0x7FFFFFFFFFFFFFF9},
        {PN_INT_MIN, 0x8000000000000001},
    };
    for (size_t i = 0; i < PN_COUNT_OF(samples); i++) {
        assert_true(ref_from_int(samples[i].value).bits == samples[i].bits);
        assert_true(ref_int(ref_from_int(samples[i].value)) == samples[i].value);
        assert_true(ref_is_int(ref_from_int(samples[i].value)) && ref_is_immediate(ref_from_int(samples[i].value)));
    }
    assert_true(int_fits(PN_INT_MAX) && int_fits(PN_INT_MIN));
    assert_false(int_fits(PN_INT_MAX + 1) || int_fits(PN_INT_MIN - 1));
}

static void characters(void **state) {
    (void)state;
    assert_true(ref_from_char('a').bits == 0x30A);
    assert_true(ref_char(ref_from_char(PN_CHAR_MAX)) == PN_CHAR_MAX);
    assert_true(ref_is_char(ref_from_char(0)) && !ref_is_int(ref_from_char(0)));
}

static void small_floats(void **state) {
    (void)state;
    const struct {
        double value;
        uint64_t bits;
    } samples[] = {
        {0.0, 0x4},
        {-0.0, 0xC},
        {1.0, 0x7F00000000000004},
        {-1.0, 0x7F0000000000000C},
        {2.0, 0x8000000000000004},
        {0.5, 0x7E00000000000004},
        {3.14159, 0x80921F9F01B866E4},
        {6.8056473384187685e38, 0xFFFFFFFFFFFFFFF4},
        {5.877471754111439e-39, 0x14},
    };
    for (size_t i = 0; i < PN_COUNT_OF(samples); i++) {
        Ref r = PN_NO_REF;
        assert_true(ref_from_float(samples[i].value, &r));
        assert_true(r.bits == samples[i].bits);
        double back = ref_float(r);
        assert_memory_equal(&back, &samples[i].value, sizeof back);
        assert_true(ref_is_small_float(r) && !ref_is_int(r));
    }
}

static void other_floats_are_boxed(void **state) {
    (void)state;
    const double boxed[] = {0x1p-127, -0x1p-127, DBL_MIN,  DBL_TRUE_MIN, -DBL_TRUE_MIN,
                            DBL_MAX,  0x1p129,   INFINITY, -INFINITY,    (double)NAN};
    for (size_t i = 0; i < PN_COUNT_OF(boxed); i++) {
        Ref r = PN_NO_REF;
        assert_false(ref_from_float(boxed[i], &r));
        assert_true(ref_is_none(r));
    }
}

// ---- Headers ------------------------------------------------------------------------------------

static void headers(void **state) {
    (void)state;
    assert_true(pn_header(3, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY) == 0x0300000002000033);
    assert_true((pn_header(3, 0x12345, PN_FMT_ARRAY, PN_CLASS_ARRAY) | PN_HDR_IMMUTABLE) == 0x0301234502800033);
    assert_true(pn_header(300, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY) == 0xFF00000002000033);
    assert_true(pn_header(1, 0, pn_format_for_bytes(5), PN_CLASS_BYTE_STRING) == 0x0100000013000034);
    assert_true(pn_header(0, 0, pn_format_for_bytes(0), PN_CLASS_BYTE_STRING) == 0x0000000010000034);
    assert_true(pn_header(1, 0, PN_FMT_32, PN_CLASS_BOXED_FLOAT) == 0x010000000A000022);
    assert_true(pn_header(2, 0, pn_format_for_bytes(9), PN_CLASS_LARGE_POSITIVE) == 0x0200000017000021);
    assert_true(pn_header(22, 0, PN_FMT_FIXED_ARRAY, PN_CLASS_CONTEXT) == 0x1600000003000024);
    assert_true(pn_header(6, 0, PN_FMT_FIXED_ARRAY, PN_CLASS_FULL_BLOCK_CLOSURE) == 0x0600000003000026);
    assert_true(pn_header(1, 0, PN_FMT_FORWARDED, PN_CLASS_FORWARDED) == 0x0100000007000008);
    assert_true(pn_header(7, 0, PN_FMT_EMPTY, PN_CLASS_FREE) == 0x0700000000000000);
    assert_true(pn_header(64, 0, PN_FMT_64, PN_CLASS_HIDDEN_WORDS) == 0x4000000009000013);
    assert_true(pn_header(4104, 0, PN_FMT_ARRAY, PN_CLASS_HIDDEN_ARRAY) == 0xFF00000002000010);
    assert_true(pn_header(6, 0, pn_format_for_code(44), 0) == 0x060000001C000000);
}

static void a_code_header_is_taken_apart(void **state) {
    (void)state;
    Ref header = {0x8000000008480019}; // 1 argument, 2 temps in all, 3 literals, has a primitive, Sista
    int64_t h = ref_int(header);
    assert_true(ref_is_int(header) && code_header_is_sista(h) && code_header_has_primitive(h) &&
                !code_header_is_large(h));
    assert_int_equal(code_header_literals(h), 3);
    assert_int_equal(code_header_temps(h), 2);
    assert_int_equal(code_header_args(h), 1);
}

static void header_fields_do_not_overlap(void **state) {
    (void)state;
    uint64_t h = pn_header(254, 0x3FFFFF, 31, PN_MAX_CLASS_INDEX);
    assert_int_equal(hdr_class_index(h), PN_MAX_CLASS_INDEX);
    assert_int_equal(hdr_format(h), 31);
    assert_int_equal(hdr_hash(h), 0x3FFFFF);
    uint64_t bits = PN_HDR_IMMUTABLE | PN_HDR_REMEMBERED | PN_HDR_PINNED | PN_HDR_GREY | PN_HDR_MARKED | PN_HDR_GUARDED;
    assert_true((h & bits) == 0);
    assert_true(h + bits == UINT64_C(0xFEBFFFFFFFFFFFFF)); // only bit 54 is unused; 254 slots are not 255
}

// ---- Sizes and walking --------------------------------------------------------------------------

static void objects_are_walked_over_their_overflow_words(void **state) {
    (void)state;
    assert_int_equal(pn_object_bytes(0), 16);
    assert_int_equal(pn_object_bytes(1), 16);
    assert_int_equal(pn_object_bytes(254), 8 + 8 * 254);
    assert_int_equal(pn_object_bytes(255), 16 + 8 * 255);
    uint64_t memory[2 + 2 + 300 + 2] = {0};
    memory[0] = pn_header(0, 0, PN_FMT_EMPTY, PN_CLASS_TRUE);
    memory[2] = UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | 300;
    memory[3] = pn_header(300, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY);
    memory[304] = pn_header(1, 0, pn_format_for_bytes(3), PN_CLASS_BYTE_STRING);
    Oop nothing = oop_from_start(memory);
    Oop array = oop_from_start(oop_end(nothing));
    Oop string = oop_from_start(oop_end(array));
    assert_ptr_equal(oop_address(array), memory + 3);
    assert_int_equal(oop_slot_count(array), 300);
    assert_true(oop_has_overflow(array));
    assert_ptr_equal(oop_start(array), memory + 2);
    assert_ptr_equal(oop_address(string), memory + 304);
    assert_int_equal(oop_byte_count(string), 3);
    assert_ptr_equal(oop_end(string), memory + PN_COUNT_OF(memory));
}

// How many slots hold values, of an object with this header and these first slots.
static size_t value_slots(uint64_t header, Ref first, Ref third) {
    uint64_t memory[64] = {header, first.bits, 0, third.bits};
    return pn_value_slots(oop_at_address(memory));
}

static void slots_that_hold_values(void **state) {
    (void)state;
    Ref none = ref_from_int(0);
    assert_int_equal(value_slots(pn_header(5, 0, PN_FMT_FIXED, 2000), none, none), 5);
    assert_int_equal(value_slots(pn_header(5, 0, PN_FMT_WEAK, 2000), none, none), 5);
    assert_int_equal(value_slots(pn_header(5, 0, PN_FMT_64, 2000), none, none), 0);
    assert_int_equal(value_slots(pn_header(5, 0, pn_format_for_bytes(37), 2000), none, none), 0);
    assert_int_equal(value_slots(pn_header(5, 0, PN_FMT_FORWARDED, PN_CLASS_FORWARDED), none, none), 1);
    assert_int_equal(value_slots(pn_header(5, 0, PN_FMT_EMPTY, PN_CLASS_FREE), none, none), 0);
    assert_int_equal(value_slots(pn_header(6, 0, pn_format_for_code(44), 58), (Ref){0x8000000008480019}, none), 4);
    assert_int_equal(value_slots(pn_header(2, 0, pn_format_for_code(16), 58), (Ref){0x8000000008480019}, none), 2);
    uint64_t context = pn_header(22, 0, PN_FMT_FIXED_ARRAY, PN_CLASS_CONTEXT);
    assert_int_equal(value_slots(context, none, ref_from_int(0)), 6);
    assert_int_equal(value_slots(context, none, ref_from_int(4)), 10);
    assert_int_equal(value_slots(context, none, ref_from_int(1000)), 22);
    assert_int_equal(value_slots(context, none, ref_from_int(-1)), 6);
    assert_int_equal(value_slots(context, none, ref_from_char('x')), 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_integers),
        cmocka_unit_test(characters),
        cmocka_unit_test(small_floats),
        cmocka_unit_test(other_floats_are_boxed),
        cmocka_unit_test(headers),
        cmocka_unit_test(a_code_header_is_taken_apart),
        cmocka_unit_test(header_fields_do_not_overlap),
        cmocka_unit_test(objects_are_walked_over_their_overflow_words),
        cmocka_unit_test(slots_that_hold_values),
    };
    return test_run(tests);
}
