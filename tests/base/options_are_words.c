// tests/base/options_are_words.c: PANDO_DEBUG is read word by word; a word that is not known is named.
#include "tests/support.h"

static void each_word_sets_its_switch(void **state) {
    (void)state;
    PnOptions o = {0};
    assert_true(
        pn_options_parse("verify,stress-gc=3,copy-all,poison,poison-dead,yield,trace=gc+image,seed=42", &o, NULL));
    assert_true(o.verify && o.copy_everything && o.poison && o.poison_dead && o.yield && o.trace_gc && o.trace_image);
    assert_int_equal(o.stress_gc, 3);
    assert_int_equal(o.seed, 42);
}

static void no_text_changes_nothing(void **state) {
    (void)state;
    PnOptions o = {.seed = 7};
    assert_true(pn_options_parse(NULL, &o, NULL));
    assert_true(pn_options_parse("", &o, NULL));
    assert_int_equal(o.seed, 7);
    assert_false(o.verify);
}

static void unknown_words_are_named_and_earlier_ones_taken(void **state) {
    (void)state;
    const char *bad[] = {"verify,verified",    "verify,stress-gc=",
                         "verify,stress-gc=x", "verify,stress-gc=4294967296",
                         "verify,seed=0",      "verify,seed=18446744073709551616",
                         "verify,trace=",      "verify,trace=gc+nothing"};
    for (size_t i = 0; i < PN_COUNT_OF(bad); i++) {
        PnOptions o = {0};
        PnError error = {0};
        assert_false(pn_options_parse(bad[i], &o, &error));
        assert_int_equal(error.status, PN_REFUSED);
        assert_non_null(strstr(error.text, strchr(bad[i], ',') + 1));
        assert_true(o.verify);
    }
}

static void errors_carry_status_place_and_text(void **state) {
    (void)state;
    PnError error = {0};
    assert_int_equal(pn_error(&error, PN_BAD_IMAGE, 17, "%s at %d", "bits", 17), PN_BAD_IMAGE);
    assert_int_equal(error.status, PN_BAD_IMAGE);
    assert_int_equal(error.offset, 17);
    assert_string_equal(error.text, "bits at 17");
    pn_error(&error, PN_IO, 0, "again: %s", error.text);
    assert_string_equal(error.text, "again: bits at 17");
    assert_int_equal(pn_error(NULL, PN_IO, 0, "nobody reads this"), PN_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_word_sets_its_switch),
        cmocka_unit_test(no_text_changes_nothing),
        cmocka_unit_test(unknown_words_are_named_and_earlier_ones_taken),
        cmocka_unit_test(errors_carry_status_place_and_text),
    };
    return test_run(tests);
}
