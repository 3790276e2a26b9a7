// An old object is in the remembered set exactly as long as it refers to a young one.
#include "tests/gc/objects.h"

static void old_object_is_remembered_while_it_refers_to_a_young_one(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root old;
    pn_root_push(vm, &old, ref_of(object_array(vm, 2)));
    object_age(vm, &old);
    assert_int_equal(object_remembered_count(vm), 0);
    object_put_in(vm, &old, 0, ref_of(object_array(vm, 1)));
    assert_int_equal(object_remembered_count(vm), 1);
    object_put_in(vm, &old, 1, oop_slot(ref_raw(old.ref), 0));
    assert_int_equal(object_remembered_count(vm), 1);
    pn_collect_young(vm);
    assert_true(object_is_remembered(old.ref)); // its referent is young still
    assert_int_equal(object_remembered_count(vm), 1);
    test_verify(vm);
    pn_collect_young(vm);
    assert_false(object_is_remembered(old.ref));
    assert_int_equal(object_remembered_count(vm), 0);
    assert_false(object_is_young(vm, oop_slot(ref_raw(old.ref), 0)));
    test_verify(vm);
    pn_worker_free(vm);
}

static void overwritten_reference_is_forgotten(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root old;
    pn_root_push(vm, &old, ref_of(object_array(vm, 1)));
    object_age(vm, &old);
    object_put_in(vm, &old, 0, ref_of(object_array(vm, 1)));
    object_put_in(vm, &old, 0, vm->nil);
    pn_collect_young(vm);
    assert_int_equal(object_remembered_count(vm), 0);
    test_verify(vm);
    pn_worker_free(vm);
}

// 1,000 old objects, every third one referring to something young: the set spans many chunks and keeps the right
// ones.
static void set_of_many_chunks_keeps_the_right_ones(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root all;
    pn_root_push(vm, &all, ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1000)));
    for (size_t i = 0; i < 1000; i++)
        object_put_in(vm, &all, i, ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1)));
    assert_int_equal(object_remembered_count(vm), 0);
    for (size_t i = 0; i < 1000; i++) {
        Oop young = object_array(vm, 1);
        oop_init_slot(young, 0, ref_from_int((int64_t)i));
        object_put(vm, ref_raw(oop_slot(ref_raw(all.ref), i)), 0, ref_of(young));
        if (i % 3 != 0) object_put(vm, ref_raw(oop_slot(ref_raw(all.ref), i)), 0, vm->nil);
    }
    pn_collect_young(vm);
    test_verify(vm);
    for (size_t i = 0; i < 1000; i += 3) {
        Ref young = oop_slot(ref_raw(oop_slot(ref_raw(all.ref), i)), 0);
        assert_int_equal(ref_int(oop_slot(ref_raw(young), 0)), i);
    }
    pn_collect_young(vm);
    pn_collect_young(vm);
    assert_int_equal(object_remembered_count(vm), 0);
    test_verify(vm);
    pn_worker_free(vm);
}

// A promoted object that refers to a younger one is remembered at once.
static void promoted_object_is_remembered(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_young(vm);
    Root older;
    pn_root_push(vm, &older, ref_of(object_array(vm, 1)));
    pn_collect_young(vm);
    object_put_in(vm, &older, 0, ref_of(object_array(vm, 1)));
    pn_collect_young(vm);
    assert_false(object_is_young(vm, older.ref));
    assert_true(object_is_young(vm, oop_slot(ref_raw(older.ref), 0)));
    assert_true(object_is_remembered(older.ref));
    test_verify(vm);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_object_is_remembered_while_it_refers_to_a_young_one),
        cmocka_unit_test(overwritten_reference_is_forgotten),
        cmocka_unit_test(set_of_many_chunks_keeps_the_right_ones),
        cmocka_unit_test(promoted_object_is_remembered),
    };
    return test_run(tests);
}
