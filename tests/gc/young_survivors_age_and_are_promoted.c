// What survives a young collection keeps identity hash and contents; it moves, and the second one promotes it.
#include "tests/gc/objects.h"

static uint32_t hash_of(Ref r) { return hdr_hash(oop_header(ref_raw(r))); }

static void set_hash(Ref r, uint32_t hash) {
    oop_set_header(ref_raw(r), oop_header(ref_raw(r)) | (uint64_t)hash << PN_HDR_HASH_SHIFT);
}

static void survivors_keep_identity_and_contents(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root array, bytes;
    pn_root_push(vm, &array, ref_of(object_array(vm, 3)));
    pn_root_push(vm, &bytes, ref_of(pn_new_bytes(vm, PN_CLASS_BYTE_ARRAY, 13)));
    memcpy(oop_bytes(ref_raw(bytes.ref)), "thirteen byte", 13);
    object_put_in(vm, &array, 0, bytes.ref);
    object_put_in(vm, &array, 1, array.ref);
    object_put_in(vm, &array, 2, ref_from_int(42));
    set_hash(array.ref, 0x1234);
    for (int i = 0; i < 4; i++) {
        Ref before = array.ref;
        bool was_young = object_is_young(vm, before);
        pn_collect_young(vm);
        assert_true(!was_young || !ref_same(before, array.ref));
        Oop o = ref_raw(array.ref);
        assert_true(ref_same(oop_slot(o, 0), bytes.ref));
        assert_true(ref_same(oop_slot(o, 1), array.ref));
        assert_int_equal(ref_int(oop_slot(o, 2)), 42);
        assert_int_equal(hash_of(array.ref), 0x1234);
        assert_memory_equal(oop_bytes(ref_raw(bytes.ref)), "thirteen byte", 13);
        assert_int_equal(oop_byte_count(ref_raw(bytes.ref)), 13);
        test_verify(vm);
    }
    pn_worker_free(vm);
}

static void ageing_promotes_after_two_collections(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_young(vm);
    Root kept;
    pn_root_push(vm, &kept, ref_of(object_array(vm, 5)));
    assert_true(object_is_young(vm, kept.ref));
    assert_true(object_is_remembered(kept.ref)); // Y2
    pn_collect_young(vm);
    assert_true(object_is_young(vm, kept.ref));
    assert_true(kept.ref.bits < (uint64_t)vm->age_mark);
    pn_collect_young(vm);
    assert_false(object_is_young(vm, kept.ref));
    assert_false(object_is_remembered(kept.ref));
    Ref place = kept.ref;
    pn_collect_young(vm);
    assert_true(ref_same(place, kept.ref));
    pn_worker_free(vm);
}

static void arrays_with_a_slot_count_word_survive(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root kept;
    pn_root_push(vm, &kept, ref_of(object_array(vm, 1000)));
    assert_true(object_is_young(vm, kept.ref));
    for (size_t i = 0; i < 1000; i++) object_put_in(vm, &kept, i, ref_from_int((int64_t)i));
    for (int round = 0; round < 3; round++) {
        pn_collect_young(vm);
        test_verify(vm);
        assert_int_equal(oop_slot_count(ref_raw(kept.ref)), 1000);
        for (size_t i = 0; i < 1000; i++) assert_int_equal(ref_int(oop_slot(ref_raw(kept.ref), i)), i);
    }
    pn_worker_free(vm);
}

static void large_objects_are_old_from_birth(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Oop large = object_array(vm, PN_LARGE_BYTES / 8);
    assert_false(object_is_young(vm, ref_of(large)));
    assert_false(object_is_remembered(ref_of(large)));
    assert_true(ref_same(oop_slot(large, 77), vm->nil));
    pn_worker_free(vm);
}

// A list that is longer than many edens: the block grows, nothing is lost.
static void block_grows_with_what_survives(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root list;
    pn_root_push(vm, &list, vm->nil);
    int64_t count = (int64_t)object_count(50000);
    for (int64_t i = 0; i < count; i++) {
        Oop link = object_array(vm, 2);
        oop_init_slot(link, 0, ref_from_int(i));
        oop_init_slot(link, 1, list.ref);
        list.ref = ref_of(link);
    }
    assert_true(pn_options.stress_gc != 0 || vm->young_bytes > 4 * PN_FIRST_YOUNG_BYTES);
    assert_true(vm->young_bytes <= 2 * PN_YOUNG_MAX_BYTES);
    int64_t expected = count - 1;
    for (Ref r = list.ref; !ref_same(r, vm->nil); r = oop_slot(ref_raw(r), 1), expected--)
        assert_int_equal(ref_int(oop_slot(ref_raw(r), 0)), expected);
    assert_int_equal(expected, -1);
    test_verify(vm);
    pn_worker_free(vm);
}

// Idle: back in the block that the worker was born with, what survived still there.
static void idle_worker_shrinks_to_its_first_block(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    uint64_t *first = vm->young_start;
    for (size_t i = object_count(20000); i > 0; i--) object_array(vm, 4);
    assert_true(pn_options.stress_gc != 0 || vm->young_bytes >= PN_YOUNG_HABIT_BYTES / 4);
    Root kept;
    pn_root_push(vm, &kept, ref_of(object_array(vm, 4)));
    object_put_in(vm, &kept, 3, ref_from_int(7));
    pn_gc_idle(vm);
    assert_ptr_equal(vm->young_start, first);
    assert_int_equal(vm->young_bytes, PN_FIRST_YOUNG_BYTES);
    assert_int_equal(ref_int(oop_slot(ref_raw(kept.ref), 3)), 7);
    test_verify(vm);
    for (size_t i = object_count(2000); i > 0; i--) object_array(vm, 4);
    assert_int_equal(ref_int(oop_slot(ref_raw(kept.ref), 3)), 7);
    pn_worker_free(vm);
}

static void reserved_room_is_there(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    for (size_t bytes = 16; bytes < PN_LARGE_BYTES; bytes = bytes * 3 / 2 + 8) {
        assert_true(pn_young_reserve(vm, bytes));
        size_t count = bytes / 32;
        for (size_t i = 0; i < count; i++) {
            Oop o = pn_young_try(vm, pn_header(3, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY), 3);
            assert_false(oop_is_none(o));
            for (size_t slot = 0; slot < 3; slot++) oop_init_slot(o, slot, vm->nil);
        }
    }
    test_verify(vm);
    pn_worker_free(vm);
}

static void memory_limit_fails_the_allocation(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    size_t budget = object_count(4 << 20);
    pn_collect_full(vm);
    pn_more(vm)->memory_limit = pn_gc_stats(vm).old_bytes_used + 2048 + budget;
    Root list;
    pn_root_push(vm, &list, vm->nil);
    size_t count = 0;
    for (;; count++) {
        Oop link = pn_new_array(vm, 6);
        if (oop_is_none(link)) break;
        oop_init_slot(link, 0, list.ref);
        list.ref = ref_of(link);
    }
    assert_int_equal(vm->prim_error, 9);
    assert_in_range(count, budget / pn_object_bytes(6) / 2, (budget + 2048) / pn_object_bytes(6));
    assert_true(oop_is_none(pn_new_array(vm, 1 << 20)));
    list.ref = vm->nil;
    assert_false(oop_is_none(pn_new_array(vm, 6)));
    assert_false(oop_is_none(pn_new_array(vm, budget / 16)));
    test_verify(vm);
    pn_worker_free(vm);
}

static void stale_references_are_replaced(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root holder, target;
    pn_root_push(vm, &holder, ref_of(object_array(vm, 2)));
    pn_root_push(vm, &target, ref_of(object_array(vm, 1)));
    Oop forwarder = object_array(vm, 1);
    object_put_in(vm, &holder, 0, ref_of(forwarder));
    oop_set_header(forwarder,
                   pn_header(1, 0, PN_FMT_FORWARDED, PN_CLASS_FORWARDED) | PN_HDR_IMMUTABLE | PN_HDR_REMEMBERED);
    oop_init_slot(forwarder, 0, target.ref);
    pn_collect_young(vm);
    assert_true(ref_same(oop_slot(ref_raw(holder.ref), 0), target.ref));
    test_verify(vm);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survivors_keep_identity_and_contents),
        cmocka_unit_test(ageing_promotes_after_two_collections),
        cmocka_unit_test(arrays_with_a_slot_count_word_survive),
        cmocka_unit_test(large_objects_are_old_from_birth),
        cmocka_unit_test(block_grows_with_what_survives),
        cmocka_unit_test(idle_worker_shrinks_to_its_first_block),
        cmocka_unit_test(reserved_room_is_there),
        cmocka_unit_test(memory_limit_fails_the_allocation),
        cmocka_unit_test(stale_references_are_replaced),
    };
    return test_run(tests);
}
