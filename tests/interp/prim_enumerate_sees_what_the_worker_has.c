// allInstances and friends: each object that this worker has, once, by the class it has here (scenario B12).
// In copy-everything mode asking for the next object copies the one before, which then lies elsewhere: no such loops
// there.
#include "tests/interp/prims.h"

enum { INSTANCES = 6 };

static Ref plain_class, plain[INSTANCES];

// Six instances of Plain, three of them in a layer; one of those has a copy.
static int begin(void **state) {
    WorkerVm *vm = prim_boot();
    Ref holder = prim_array(vm, 3);
    for (size_t i = 0; i < 3; i++) prim_set_slot(vm, holder, i, prim_instance(vm, "Plain"));
    prim_freeze(vm, &holder, 1);
    for (size_t i = 0; i < INSTANCES; i++) plain[i] = i < 3 ? prim_slot(vm, holder, i) : prim_instance(vm, "Plain");
    prim(vm, 74, plain[1], I(1), I(1));
    plain_class = ref_of(test_global(vm, "Plain"));
    *state = vm;
    return 0;
}
static int end(void **state) {
    test_verify(*state);
    pn_worker_free(*state);
    return 0;
}

static size_t occurrences(WorkerVm *vm, Ref array, Ref o) {
    size_t count = 0, slots = oop_slot_count(ref_raw(array));
    for (size_t i = 0; i < slots; i++) count += pn_same(vm, prim_slot(vm, array, i), o);
    return count;
}

static void all_instances_are_there_once(void **state) {
    WorkerVm *vm = *state;
    Ref all = prim(vm, 177, plain_class);
    assert_int_equal(oop_slot_count(ref_raw(all)), INSTANCES);
    for (size_t i = 0; i < INSTANCES; i++) assert_int_equal(occurrences(vm, all, plain[i]), 1);
}

static void young_instances_are_found(void **state) {
    WorkerVm *vm = *state;
    prim(vm, 70, plain_class);
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 177, plain_class))), INSTANCES + 1);
    prim_fails(vm, PN_PRIM_GENERIC, 77, ref_of(test_global(vm, "Wide")));
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 177, ref_of(test_global(vm, "Wide"))))), 0);
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 177, ref_of(test_global(vm, "SmallInteger"))))), 0);
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 177, I(5)))), 0);
}

// The answer to allInstances is an Array, but made after them all.
static void the_answer_is_not_in_itself(void **state) {
    WorkerVm *vm = *state;
    Ref all = prim(vm, 177, ref_of(test_global(vm, "Array")));
    assert_int_equal(occurrences(vm, all, all), 0);
    assert_int_equal(occurrences(vm, all, vm->nil), 0);
}

static void one_leads_to_the_next(void **state) {
    WorkerVm *vm = *state;
    if (pn_options.copy_everything) return;
    Ref all = prim(vm, 177, plain_class), o = prim(vm, 77, plain_class);
    for (size_t i = 0; i < INSTANCES; i++) {
        assert_int_equal(o.bits, prim_slot(vm, all, i).bits);
        if (i < INSTANCES - 1) o = prim(vm, 78, o);
    }
    prim_fails(vm, PN_PRIM_GENERIC, 78, o);
    prim_fails(vm, PN_PRIM_GENERIC, 78, I(1));
}

static void all_objects_are_those_one_after_the_other(void **state) {
    WorkerVm *vm = *state;
    Ref symbol = pn_symbol_z("enumerated"), all = prim(vm, 178, vm->nil), o = prim(vm, 138, vm->nil);
    size_t count = oop_slot_count(ref_raw(all)), seen = 0;
    for (; !ref_is_immediate(o) && !pn_options.copy_everything; o = prim(vm, 139, o)) {
        if (o.bits == all.bits) continue; // made after it was counted
        assert_true(oop_class_index(ref_raw(o)) > PN_CLASS_LAST_HIDDEN);
        assert_int_equal(prim_current(vm, o).bits, o.bits);
        assert_int_equal(prim_slot(vm, all, seen).bits, o.bits);
        seen++;
    }
    if (!pn_options.copy_everything) assert_int_equal(seen, count);
    for (size_t i = 0; i < INSTANCES; i++) assert_int_equal(occurrences(vm, all, plain[i]), 1);
    assert_int_equal(occurrences(vm, all, vm->nil), 1);
    assert_int_equal(occurrences(vm, all, symbol), 1);
    prim_fails(vm, PN_PRIM_GENERIC, 139, I(1));
}

// B12. After Plain becomeForward: Other the index of Plain in layers means Other: its instances are Other's.
static void instances_follow_their_class(void **state) {
    WorkerVm *vm = *state;
    Ref other = ref_of(test_global(vm, "Other"));
    Ref instance = prim_instance(vm, "Other");
    prim(vm, 248, prim_array_with(vm, plain_class), prim_array_with(vm, other));
    Ref all = prim(vm, 177, other);
    assert_int_equal(oop_slot_count(ref_raw(all)), INSTANCES + 1);
    for (size_t i = 0; i < INSTANCES; i++) assert_int_equal(occurrences(vm, all, plain[i]), 1);
    assert_int_equal(occurrences(vm, all, instance), 1);
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 177, plain_class))), INSTANCES + 1);
}

static void what_became_another_is_gone(void **state) {
    WorkerVm *vm = *state;
    prim(vm, 248, prim_array_with(vm, plain[0]), prim_array_with(vm, plain[4]));
    prim(vm, 248, prim_array_with(vm, plain[3]), prim_array_with(vm, plain[4]));
    Ref all = prim(vm, 177, plain_class);
    assert_int_equal(oop_slot_count(ref_raw(all)), INSTANCES - 2);
    assert_int_equal(occurrences(vm, all, plain[0]), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_instances_are_there_once, begin, end),
        cmocka_unit_test_setup_teardown(young_instances_are_found, begin, end),
        cmocka_unit_test_setup_teardown(the_answer_is_not_in_itself, begin, end),
        cmocka_unit_test_setup_teardown(one_leads_to_the_next, begin, end),
        cmocka_unit_test_setup_teardown(all_objects_are_those_one_after_the_other, begin, end),
        cmocka_unit_test_setup_teardown(instances_follow_their_class, begin, end),
        cmocka_unit_test_setup_teardown(what_became_another_is_gone, begin, end),
    };
    return test_run(tests);
}
