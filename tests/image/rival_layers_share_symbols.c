// Two layers above the same base that nobody can stand on at once bring the same symbol along: the process has one of
// it (H8), and it stays when the layer that it came with is released.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/image/hand_made.h"

static void make_base(void) {
    Layer *base = hand_made_base(10);
    hand_save(base, hand_path("base.image"));
    pn_layer_release(base);
}

// The base is mapped in place here, so children refer to its symbols and not to those of this process.
static void make_children(void) {
    Layer *base = hand_map(hand_path("base.image"), NULL, NULL);
    Layer *child = hand_made_child(base, 10);
    hand_save(child, hand_path("child.image"));
    pn_layer_release(child);
    child = hand_made_child(base, 11);
    hand_save(child, hand_path("rival.image"));
    pn_layer_release(child);
    pn_layer_release(base);
}

static void symbol_outlives_the_layer_it_came_with(void **state) {
    (void)state;
    PnImageMapping how;
    Layer *base = hand_map(hand_path("base.image"), NULL, &how);
    assert_false(how.redirected);
    Layer *child = hand_map(hand_path("child.image"), base, &how);
    assert_false(how.redirected);
    Ref symbol = pn_symbol_find("onlyInTheChild", 14);
    assert_true(layer_holds(child, symbol.bits));
    Layer *rival = hand_map(hand_path("rival.image"), base, &how);
    assert_true(how.redirected);
    assert_int_equal(rival->symbol_capacity, child->symbol_capacity);
    pn_layer_release(child);
    assert_int_equal(pn_symbol_find("onlyInTheChild", 14).bits, symbol.bits);
    assert_memory_equal(oop_bytes(ref_raw(symbol)), "onlyInTheChild", 14);
    pn_layer_release(rival);
    pn_layer_release(base);
    assert_ptr_equal(hand_map(hand_path("base.image"), NULL, &how), base);
    assert_true(how.was_mapped); // for the child, which is there for good
    pn_layer_release(base);
}

static int start(void **state) {
    (void)state;
    PnError error = {0};
    return pn_process_init(&error) == PN_OK ? 0 : -1;
}

int main(void) {
    if (!hand_make_directory() || !hand_elsewhere(make_base) || !hand_elsewhere(make_children)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(symbol_outlives_the_layer_it_came_with)};
    int failed = cmocka_run_group_tests(tests, start, NULL);
    hand_remove_directory();
    return failed;
}
