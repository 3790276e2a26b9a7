// A full collection finds what is dead in old space, its memory serves again, and empty segments go back.
#include "tests/gc/objects.h"

static size_t old_used(const WorkerVm *vm) { return pn_gc_stats(vm).old_bytes_used; }
static size_t old_held(const WorkerVm *vm) { return pn_gc_stats(vm).old_bytes_held; }

// A list of count arrays of so many slots, old.
static void fill_list(WorkerVm *vm, Root *list, size_t count, size_t slots) {
    for (size_t i = 0; i < count; i++) {
        Oop link = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots);
        oop_init_slot(link, 0, list->ref);
        list->ref = ref_of(link);
    }
}

static void dead_objects_are_freed(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    size_t used = old_used(vm), held = old_held(vm);
    Root list;
    pn_root_push(vm, &list, vm->nil);
    fill_list(vm, &list, 100000, 5);
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(old_used(vm), used + 100000 * pn_object_bytes(5));
    list.ref = vm->nil;
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(old_used(vm), used);
    assert_true(old_held(vm) <= held + (1 << 20));
    pn_worker_free(vm);
}

static void large_objects_go_back_at_once(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    size_t held = old_held(vm);
    Root large;
    pn_root_push(vm, &large, ref_of(object_array(vm, 1 << 19)));
    assert_true(old_held(vm) >= held + (4 << 20));
    pn_collect_full(vm);
    assert_true(old_held(vm) >= held + (4 << 20));
    large.ref = vm->nil;
    pn_collect_full(vm);
    assert_int_equal(old_held(vm), held);
    test_verify(vm);
    pn_worker_free(vm);
}

static void freed_memory_serves_again(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root even, odd;
    pn_root_push(vm, &even, vm->nil);
    pn_root_push(vm, &odd, vm->nil);
    for (int i = 0; i < 20000; i++) fill_list(vm, i % 2 ? &odd : &even, 1, 5);
    odd.ref = vm->nil;
    pn_collect_full(vm);
    size_t held = old_held(vm);
    fill_list(vm, &odd, 10000, 5);
    assert_true(old_held(vm) <= held + (1 << 20));
    pn_collect_full(vm);
    test_verify(vm);
    size_t count = 0;
    for (Ref r = even.ref; !ref_same(r, vm->nil); r = oop_slot(ref_raw(r), 0)) count++;
    assert_int_equal(count, 10000);
    pn_worker_free(vm);
}

// Cycles between generations die in one full collection.
static void cycle_through_both_generations_dies(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    size_t used = old_used(vm);
    Oop old = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1);
    Oop young = object_array(vm, 1);
    object_put(vm, old, 0, ref_of(young));
    object_put(vm, young, 0, ref_of(old));
    pn_collect_full(vm);
    assert_int_equal(old_used(vm), used);
    assert_int_equal(object_remembered_count(vm), 0);
    test_verify(vm);
    pn_worker_free(vm);
}

static void old_space_is_collected_when_it_has_grown(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root list;
    pn_root_push(vm, &list, vm->nil);
    for (int round = 0; round < 40; round++) {
        list.ref = vm->nil;
        fill_list(vm, &list, 10000, 5);
        pn_collect_young(vm);
    }
    PnGcStats stats = pn_gc_stats(vm);
    assert_in_range(stats.full_collections, 3, 20);
    assert_true(stats.old_bytes_held < 8 << 20);
    assert_int_equal(pn_old_state(vm), PN_OLD_IDLE);
    pn_worker_free(vm);
}

static void forwarders_disappear(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    size_t used = old_used(vm);
    Root holder;
    pn_root_push(vm, &holder, ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1)));
    Oop forwarder = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1);
    Oop target = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1);
    object_put_in(vm, &holder, 0, ref_of(forwarder));
    oop_set_header(forwarder, pn_header(1, 0, PN_FMT_FORWARDED, PN_CLASS_FORWARDED) | PN_HDR_IMMUTABLE);
    oop_init_slot(forwarder, 0, ref_of(target));
    pn_collect_full(vm);
    assert_true(ref_same(oop_slot(ref_raw(holder.ref), 0), ref_of(target)));
    assert_int_equal(old_used(vm), used + 2 * pn_object_bytes(1));
    test_verify(vm);
    pn_worker_free(vm);
}

// A class lives as long as it has an instance; its index comes back after it.
static void class_lives_as_long_as_an_instance(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    uint32_t index = object_class(vm, "ShortLived", PN_FMT_FIXED, 2);
    object_put(vm, pn_global(vm, "ShortLived"), PN_BINDING_VALUE, vm->nil);
    object_put(vm, test_global(vm, "Object"), PN_CLASS_SUBCLASSES, vm->nil);
    Root instance;
    pn_root_push(vm, &instance, ref_of(object_of(vm, index, PN_FMT_FIXED, 2)));
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(class_format_slots((int64_t)pn_class_shapes[index] - 1), 2);
    assert_false(oop_is_none(pn_class_of(vm, ref_raw(instance.ref))));
    instance.ref = vm->nil;
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(pn_class_shapes[index], 0);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dead_objects_are_freed),
        cmocka_unit_test(large_objects_go_back_at_once),
        cmocka_unit_test(freed_memory_serves_again),
        cmocka_unit_test(cycle_through_both_generations_dies),
        cmocka_unit_test(old_space_is_collected_when_it_has_grown),
        cmocka_unit_test(forwarders_disappear),
        cmocka_unit_test(class_lives_as_long_as_an_instance),
    };
    return test_run(tests);
}
