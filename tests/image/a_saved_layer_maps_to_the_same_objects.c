// A layer that is written to a file and mapped again has the same objects: mapped in place in a process that has none
// of its symbols, relocated and redirected otherwise.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/image/hand_made.h"

#define THINGS 1000

// ---- Made in another process, so that this one has none of the symbols -----------------------------------------

static void make_files(void) {
    Layer *base = hand_made_base(THINGS);
    hand_save(base, hand_path("base.image"));
    pn_layer_release(base);
    Layer *again = hand_map(hand_path("base.image"), NULL, NULL);
    Layer *child = hand_made_child(again, 10);
    hand_save(child, hand_path("child.image"));
}

// ---- Walking two objects at once -------------------------------------------------------------------------------

typedef struct Pairs {
    Overlay met; // object of one side -> object of the other
    uint64_t *todo;
    size_t count, room;
    uint32_t indices[HAND_MADE_CLASSES]; // classes of the first side: two layers cannot have an index at once
    Ref classes[HAND_MADE_CLASSES];
    size_t class_count;
} Pairs;

static void meet(Pairs *p, Ref a, Ref b) {
    if (ref_is_immediate(a) || ref_is_immediate(b)) {
        assert_int_equal(a.bits, b.bits);
        return;
    }
    Ref known = pn_overlay_get(&p->met, a);
    if (!ref_is_none(known)) {
        assert_int_equal(known.bits, b.bits);
        return;
    }
    assert_true(pn_overlay_put(&p->met, a, b));
    if (p->count + 2 > p->room) {
        p->room = p->room ? 2 * p->room : 1024;
        p->todo = pn_mem_realloc(p->todo, p->room * sizeof *p->todo);
    }
    p->todo[p->count++] = a.bits;
    p->todo[p->count++] = b.bits;
}

static Ref first_class(const Pairs *p, uint32_t index) {
    for (size_t i = 0; i < p->class_count; i++)
        if (p->indices[i] == index) return p->classes[i];
    fail_msg("class index %u", index);
    return PN_NO_REF;
}

static void compare(Pairs *p, Oop a, Oop b) {
    const uint64_t shape = UINT64_C(31) << PN_HDR_FORMAT_SHIFT;
    assert_int_equal(oop_header(a) & shape, oop_header(b) & shape);
    assert_int_equal(oop_slot_count(a), oop_slot_count(b));
    meet(p, first_class(p, oop_class_index(a)), pn_class_table[oop_class_index(b)]);
    size_t values = pn_value_slots(a);
    for (size_t i = 0; i < values; i++) meet(p, oop_slot(a, i), oop_slot(b, i));
    if (!oop_is_pointers(a))
        assert_memory_equal(oop_slots(a) + values, oop_slots(b) + values, 8 * (oop_slot_count(a) - values));
}

static size_t compare_all(Pairs *p) {
    while (p->count) {
        Oop b = {p->todo[--p->count]}, a = {p->todo[--p->count]};
        compare(p, a, b);
    }
    size_t objects = p->met.count;
    pn_overlay_clear(&p->met);
    pn_mem_free(p->todo);
    return objects;
}

// ---- Tests -----------------------------------------------------------------------------------------------------

static void new_file_is_checked_and_then_mapped_where_it_was_linked(void **state) {
    (void)state;
    PnImageMapping how;
    Layer *layer = hand_map(hand_path("base.image"), NULL, &how);
    assert_false(how.relocated || how.redirected || how.was_mapped);
    assert_int_equal(layer->objects.start, layer_linked_objects(layer));
    assert_int_equal(layer->sum, pn_layer_sum(layer));
    size_t things = 0;
    for (Oop o = ref_raw(oop_slot(ref_raw(layer->special_objects), 4)); o.bits != layer->nil.bits; things++) {
        assert_int_equal(ref_int(oop_slot(o, 0)), THINGS - 1 - things);
        o = ref_raw(oop_slot(o, 1));
    }
    assert_int_equal(things, THINGS);
    pn_layer_release(layer);
}

static void checked_file_is_not_read_again(void **state) {
    (void)state;
    PnImageMapping how;
    pn_layer_release(hand_map(hand_path("base.image"), NULL, NULL));
    pn_layer_release(hand_map(hand_path("base.image"), NULL, &how));
    assert_true(how.was_checked);
    assert_false(how.relocated);
}

static void mapping_twice_answers_the_same_layer(void **state) {
    (void)state;
    PnImageMapping how;
    Layer *one = hand_map(hand_path("base.image"), NULL, NULL);
    Layer *two = hand_map(hand_path("base.image"), NULL, &how);
    assert_ptr_equal(one, two);
    assert_true(how.was_mapped);
    pn_layer_release(one);
    assert_int_not_equal(0, oop_header(ref_raw(two->nil))); // still mapped
    pn_layer_release(two);
}

static void symbols_of_a_mapped_file_are_the_process_s(void **state) {
    (void)state;
    Layer *layer = hand_map(hand_path("base.image"), NULL, NULL);
    Ref symbol = pn_symbol_find("doesNotUnderstand:", 18);
    assert_int_equal(symbol.bits, oop_slot(ref_raw(layer->special_objects), PN_SPECIAL_DOES_NOT_UNDERSTAND).bits);
    assert_true(layer_holds(layer, symbol.bits));
    pn_layer_release(layer);
    assert_true(ref_is_none(pn_symbol_find("doesNotUnderstand:", 18)));
}

static void child_is_mapped_above_its_parent(void **state) {
    (void)state;
    PnImageMapping how;
    Layer *base = hand_map(hand_path("base.image"), NULL, NULL);
    Layer *child = hand_map(hand_path("child.image"), base, &how);
    assert_false(how.relocated);
    assert_int_equal(child->overlay.count, 1);
    Ref old = oop_slot(ref_raw(base->special_objects), 4);
    assert_true(filter_may_hold(&child->filter, old.bits));
    Ref new = pn_overlay_get(&child->overlay, old);
    assert_true(layer_holds(child, new.bits));
    assert_int_equal(pn_class_table[hand_index_of(child, "Other")].bits, oop_slot(ref_raw(new), 1).bits);
    pn_layer_release(base);
    pn_layer_release(child);
}

static void taken_addresses_make_it_relocated(void **state) {
    (void)state;
    Layer *linked = hand_map(hand_path("base.image"), NULL, NULL);
    uint64_t address = linked->objects.start;
    pn_layer_release(linked);
    assert_int_equal(pn_window_take(PN_PART_OBJECTS, address, 1), address);
    PnImageMapping how;
    Layer *base = hand_map(hand_path("base.image"), NULL, &how);
    assert_true(how.relocated);
    assert_false(how.redirected);
    assert_int_not_equal(base->objects.start, address);
    assert_int_equal(pn_layer_sum(base), base->sum);
    Layer *child = hand_map(hand_path("child.image"), base, &how); // refers to where the base should have been
    assert_true(how.relocated);
    Ref new = pn_overlay_get(&child->overlay, oop_slot(ref_raw(base->special_objects), 4));
    assert_true(layer_holds(child, new.bits));
    assert_true(filter_may_hold(&child->filter, oop_slot(ref_raw(base->special_objects), 4).bits));
    pn_layer_release(child);
    pn_layer_release(base);
    pn_window_give(PN_PART_OBJECTS, address, 1);
}

static void wrong_parent_is_refused_with_both_hashes(void **state) {
    (void)state;
    PnError error = {0};
    Layer *layer = NULL, *base = hand_map(hand_path("base.image"), NULL, NULL);
    ImageFile file;
    assert_int_equal(pn_image_open(hand_path("child.image"), &file, &error), PN_OK);
    pn_image_close(&file);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%016llx", (unsigned long long)file.header.parent_sum);
    assert_int_equal(pn_image_map(hand_path("child.image"), NULL, &layer, &error), PN_WRONG_BASE);
    assert_non_null(strstr(error.text, wanted));
    assert_non_null(strstr(error.text, "0000000000000000"));
    assert_int_equal(pn_image_map(hand_path("base.image"), base, &layer, &error), PN_WRONG_BASE);
    pn_layer_release(base);
}

static void two_bases_with_the_same_indices_clash_and_are_named(void **state) {
    (void)state;
    PnError error = {0};
    Layer *layer = NULL, *base = hand_map(hand_path("base.image"), NULL, NULL);
    size_t count;
    uint8_t *bytes = hand_read(hand_path("base.image"), &count);
    hand_write(hand_path("same.image"), bytes, count); // the same content under another name is the same layer
    assert_ptr_equal(hand_map(hand_path("same.image"), NULL, NULL), base);
    pn_layer_release(base);
    for (size_t i = 0; i + 5 < count; i++) // another content: the name of a class
        if (memcmp(bytes + i, "Thing", 5) == 0) bytes[i] = 't';
    hand_forge(bytes);
    hand_write(hand_path("other.image"), bytes, count);
    pn_mem_free(bytes);
    assert_int_equal(pn_image_map(hand_path("other.image"), NULL, &layer, &error), PN_INDEX_CLASH);
    assert_non_null(strstr(error.text, "other.image"));
    assert_non_null(strstr(error.text, "base.image"));
    pn_layer_release(base);
    base = hand_map(hand_path("other.image"), NULL, NULL); // nothing was left behind
    pn_layer_release(base);
}

static void file_replaced_while_mapped_stays_as_it_was(void **state) {
    (void)state;
    size_t count;
    uint8_t *bytes = hand_read(hand_path("base.image"), &count);
    hand_write(hand_path("replaced.image"), bytes, count);
    pn_mem_free(bytes);
    Layer *base = hand_map(hand_path("replaced.image"), NULL, NULL);
    uint64_t sum = pn_layer_sum(base);
    hand_save(base, hand_path("replaced.image"));
    assert_int_equal(pn_layer_sum(base), sum);
    pn_layer_release(base);
    pn_layer_release(hand_map(hand_path("replaced.image"), NULL, NULL)); // the new one is good as well
}

static void saving_a_mapped_layer_keeps_its_world(void **state) {
    (void)state;
    Layer *base = hand_map(hand_path("base.image"), NULL, NULL);
    hand_save(base, hand_path("again.image"));
    size_t one, two;
    pn_mem_free(hand_read(hand_path("base.image"), &one));
    pn_mem_free(hand_read(hand_path("again.image"), &two));
    assert_int_equal(one, two); // no second class table, no second filler
    pn_layer_release(base);
    PnImageMapping how;
    base = hand_map(hand_path("again.image"), NULL, &how);
    assert_false(how.redirected);
    pn_layer_release(base);
}

// Last: from here on the process has the symbols.
static void known_symbols_make_it_redirected(void **state) {
    (void)state;
    Ref symbol = pn_symbol_z("doesNotUnderstand:"), other = pn_symbol_z("onlyInTheChild");
    PnImageMapping how;
    Layer *base = hand_map(hand_path("base.image"), NULL, &how);
    assert_true(how.relocated && how.redirected);
    Ref in_image = oop_slot(ref_raw(base->special_objects), PN_SPECIAL_DOES_NOT_UNDERSTAND);
    assert_int_equal(in_image.bits, symbol.bits);
    assert_true(layer_holds(base, pn_symbol_find("yourself", 8).bits)); // the others are still the file's
    Layer *child = hand_map(hand_path("child.image"), base, &how);
    assert_true(how.redirected);
    assert_int_equal(pn_symbol_find("onlyInTheChild", 14).bits, other.bits);
    for (Oop o = pn_layer_next(child, PN_NO_OOP); !oop_is_none(o); o = pn_layer_next(child, o))
        assert_int_not_equal(oop_class_index(o), PN_CLASS_BYTE_SYMBOL); // retired
    hand_save(child, hand_path("child-of-rewritten.image"));
    pn_layer_release(child);
    child = hand_map(hand_path("child-of-rewritten.image"), base, NULL);
    pn_layer_release(child);
    pn_layer_release(base);
}

static void layer_made_in_memory_comes_back_equal(void **state) {
    (void)state;
    Layer *made = hand_made_base(THINGS);
    hand_save(made, hand_path("made.image"));
    Pairs p = {.class_count = made->index_count};
    for (size_t i = 0; i < p.class_count; i++) {
        p.indices[i] = made->indices[i];
        p.classes[i] = pn_class_table[made->indices[i]];
    }
    pn_indices_give(made->indices, made->index_count); // the file needs those that are fixed
    made->index_count = 0;
    Layer *back = hand_map(hand_path("made.image"), NULL, NULL);
    meet(&p, made->nil, back->nil);
    meet(&p, made->special_objects, back->special_objects);
    assert_true(compare_all(&p) > THINGS + PN_SPECIAL_COUNT / 2);
    pn_layer_release(back);
    pn_layer_release(made);
}

static int start(void **state) {
    (void)state;
    PnError error = {0};
    if (pn_process_init(&error) == PN_OK) return 0;
    fprintf(stderr, "%s\n", error.text);
    return -1;
}

int main(void) {
    if (!hand_make_directory() || !hand_elsewhere(make_files)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_file_is_checked_and_then_mapped_where_it_was_linked),
        cmocka_unit_test(checked_file_is_not_read_again),
        cmocka_unit_test(mapping_twice_answers_the_same_layer),
        cmocka_unit_test(symbols_of_a_mapped_file_are_the_process_s),
        cmocka_unit_test(child_is_mapped_above_its_parent),
        cmocka_unit_test(taken_addresses_make_it_relocated),
        cmocka_unit_test(wrong_parent_is_refused_with_both_hashes),
        cmocka_unit_test(two_bases_with_the_same_indices_clash_and_are_named),
        cmocka_unit_test(file_replaced_while_mapped_stays_as_it_was),
        cmocka_unit_test(saving_a_mapped_layer_keeps_its_world),
        cmocka_unit_test(known_symbols_make_it_redirected),
        cmocka_unit_test(layer_made_in_memory_comes_back_equal),
    };
    int failed = cmocka_run_group_tests(tests, start, NULL);
    hand_remove_directory();
    return failed;
}
