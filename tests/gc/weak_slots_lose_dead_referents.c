// Weak slots become nil when what they name dies, in young and in full collections; ephemerons keep their value for
// their key only.
#include "tests/gc/objects.h"

static Oop weak_array(WorkerVm *vm, size_t slots) {
    return object_of(vm, object_class(vm, "WeakThing", PN_FMT_WEAK, 1), PN_FMT_WEAK, slots);
}

static void dead_referents_become_nil(WorkerVm *vm, void (*collect)(WorkerVm *vm), bool weak_is_old) {
    Root weak, kept;
    pn_root_push(vm, &weak, ref_of(weak_array(vm, 5)));
    if (weak_is_old) object_age(vm, &weak);
    pn_root_push(vm, &kept, ref_of(object_array(vm, 1)));
    object_put_in(vm, &weak, 0, ref_of(object_array(vm, 1))); // named: strong
    object_put_in(vm, &weak, 1, ref_of(object_array(vm, 1)));
    object_put_in(vm, &weak, 2, kept.ref);
    object_put_in(vm, &weak, 3, ref_from_int(3));
    object_put_in(vm, &weak, 4, weak.ref);
    for (int i = 0; i < 3; i++) {
        collect(vm);
        test_verify(vm);
        Oop o = ref_raw(weak.ref);
        assert_false(ref_same(oop_slot(o, 0), vm->nil));
        assert_true(ref_same(oop_slot(o, 1), vm->nil));
        assert_true(ref_same(oop_slot(o, 2), kept.ref));
        assert_int_equal(ref_int(oop_slot(o, 3)), 3);
        assert_true(ref_same(oop_slot(o, 4), weak.ref));
    }
    kept.ref = vm->nil;
    pn_collect_full(vm);
    assert_true(ref_same(oop_slot(ref_raw(weak.ref), 2), vm->nil));
    test_verify(vm);
}

static void young_collection_clears_young_weak_objects(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    dead_referents_become_nil(vm, pn_collect_young, false);
    pn_worker_free(vm);
}

static void young_collection_clears_old_weak_objects(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    dead_referents_become_nil(vm, pn_collect_young, true);
    pn_worker_free(vm);
}

static void full_collection_clears_weak_objects(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    dead_referents_become_nil(vm, pn_collect_full, true);
    pn_worker_free(vm);
}

static void ephemeron_lives_with_its_key(WorkerVm *vm, void (*collect)(WorkerVm *vm)) {
    uint32_t index = object_class(vm, "Ephemeron", PN_FMT_EPHEMERON, 2);
    Root ephemeron, key;
    pn_root_push(vm, &ephemeron, ref_of(object_of(vm, index, PN_FMT_EPHEMERON, 2)));
    pn_root_push(vm, &key, ref_of(object_array(vm, 1)));
    object_put_in(vm, &ephemeron, 0, key.ref);
    Oop value = object_array(vm, 1); // refers to the key: would keep it alive if it were strong
    oop_init_slot(value, 0, key.ref);
    object_put_in(vm, &ephemeron, 1, ref_of(value));
    for (int i = 0; i < 3; i++) {
        collect(vm);
        test_verify(vm);
        assert_int_equal(oop_format(ref_raw(ephemeron.ref)), PN_FMT_EPHEMERON);
        assert_true(ref_same(oop_slot(ref_raw(ephemeron.ref), 0), key.ref));
        assert_true(ref_same(oop_slot(ref_raw(oop_slot(ref_raw(ephemeron.ref), 1)), 0), key.ref));
    }
    key.ref = vm->nil;
    pn_collect_full(vm);
    assert_int_equal(oop_format(ref_raw(ephemeron.ref)), PN_FMT_FIXED); // it has fired, and keeps its key
    assert_int_equal(oop_slot_count(ref_raw(oop_slot(ref_raw(ephemeron.ref), 0))), 1);
    test_verify(vm);
}

static void young_ephemeron_lives_with_its_key(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    ephemeron_lives_with_its_key(vm, pn_collect_young);
    pn_worker_free(vm);
}

static void old_ephemeron_lives_with_its_key(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    ephemeron_lives_with_its_key(vm, pn_collect_full);
    pn_worker_free(vm);
}

static void young_ephemeron_fires_when_its_key_dies(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    uint32_t index = object_class(vm, "Ephemeron", PN_FMT_EPHEMERON, 2);
    Root ephemeron;
    pn_root_push(vm, &ephemeron, ref_of(object_of(vm, index, PN_FMT_EPHEMERON, 2)));
    object_put_in(vm, &ephemeron, 0, ref_of(object_array(vm, 1)));
    pn_collect_young(vm);
    assert_int_equal(oop_format(ref_raw(ephemeron.ref)), PN_FMT_FIXED);
    assert_int_equal(oop_slot_count(ref_raw(oop_slot(ref_raw(ephemeron.ref), 0))), 1);
    test_verify(vm);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(young_collection_clears_young_weak_objects),
        cmocka_unit_test(young_collection_clears_old_weak_objects),
        cmocka_unit_test(full_collection_clears_weak_objects),
        cmocka_unit_test(young_ephemeron_lives_with_its_key),
        cmocka_unit_test(old_ephemeron_lives_with_its_key),
        cmocka_unit_test(young_ephemeron_fires_when_its_key_dies),
    };
    return test_run(tests);
}
