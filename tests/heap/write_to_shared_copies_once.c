// The first write to an object of a layer copies it, for this worker and for good; what must never be copied is
// refused.
#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"

enum { INSTANCES = 3000, LARGE_SLOTS = 3 * 8192 + 100 };

static Layer *layer;
static Ref instances[INSTANCES];
static Ref read_only, boxed, bytes, small_array, large, neighbour;

static void make_layer(void) {
    HandLayer h = hand_begin(NULL, INSTANCES * pn_object_bytes(HAND_SLOTS) + pn_object_bytes(LARGE_SLOTS) + 4096);
    for (size_t i = 0; i < INSTANCES; i++) instances[i] = hand_instance(&h);
    for (size_t i = 1; i < INSTANCES; i++) hand_store(&h, instances[i], 0, instances[i - 1]);
    read_only = hand_object(&h, PN_CLASS_ARRAY, PN_FMT_ARRAY, 2, PN_HDR_USER_READ_ONLY);
    boxed = hand_object(&h, PN_CLASS_BOXED_FLOAT, PN_FMT_32, 1, PN_HDR_USER_READ_ONLY);
    bytes = hand_object(&h, PN_CLASS_BYTE_ARRAY, PN_FMT_8 + 3, 2, 0);
    small_array = hand_object(&h, PN_CLASS_ARRAY, PN_FMT_ARRAY, 0, 0);
    large = hand_object(&h, PN_CLASS_ARRAY, PN_FMT_ARRAY, LARGE_SLOTS, 0);
    neighbour = hand_object(&h, PN_CLASS_ARRAY, PN_FMT_ARRAY, 3, 0);
    layer = hand_end(&h);
}

static int begin(void **state) {
    make_layer();
    *state = pn_worker_new(layer);
    return *state == NULL;
}
static int end(void **state) {
    pn_worker_free(*state);
    pn_layer_release(layer);
    return 0;
}

static void test_heap_holds(WorkerVm *vm) {
    PnViolation violation;
    test_check(pn_verify(vm, &violation), "%s: %s", violation.rule, violation.text);
}

static void copy_keeps_hash_class_and_size(void **state) {
    WorkerVm *vm = *state;
    const Ref originals[] = {instances[7], bytes, small_array, large};
    for (size_t i = 0; i < PN_COUNT_OF(originals); i++) {
        Oop o = ref_raw(originals[i]);
        uint64_t header = oop_header(o);
        assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
        assert_false(ref_is_shared(ref_of(o)));
        assert_true(pn_copy_is_faithful(ref_raw(originals[i]), o));
        assert_int_equal(oop_header(o), header & ~PN_HDR_IMMUTABLE);
        assert_int_equal(pn_deref(vm, originals[i]).bits, o.bits);
    }
    assert_int_equal(vm->more->copies, PN_COUNT_OF(originals));
    test_heap_holds(vm);
}

static void second_write_copies_nothing(void **state) {
    WorkerVm *vm = *state;
    Oop original = ref_raw(instances[5]);
    assert_int_equal(pn_store(vm, original, 1, ref_from_int(1)), PN_WRITABLE);
    Oop copy = pn_deref(vm, instances[5]);
    assert_int_equal(oop_slot(copy, 1).bits, ref_from_int(1).bits);
    assert_int_equal(oop_slot(copy, 0).bits, instances[4].bits);
    assert_int_equal(pn_store(vm, copy, 2, ref_from_int(2)), PN_WRITABLE);
    assert_int_equal(pn_store(vm, original, 3, ref_from_int(3)), PN_WRITABLE); // a stale Oop is followed: step 0
    assert_int_equal(vm->more->copies, 1);
    assert_int_equal(vm->more->copied_bytes, pn_object_bytes(HAND_SLOTS));
    assert_int_equal(oop_slot(copy, 2).bits, ref_from_int(2).bits);
    assert_int_equal(oop_slot(copy, 3).bits, ref_from_int(3).bits);
    if (!layer->is_private_mapping) assert_int_equal(oop_slot(original, 1).bits, vm->nil.bits);
    test_heap_holds(vm);
}

static void each_worker_has_copies_of_its_own(void **state) {
    WorkerVm *vm = *state;
    if (pn_options.poison) return; // there a copy by one worker destroys the original for all
    WorkerVm *other = pn_worker_new(layer);
    assert_int_equal(pn_store(vm, ref_raw(instances[1]), 0, ref_from_int(1)), PN_WRITABLE);
    assert_int_equal(pn_slot(other, pn_current(other, instances[1]), 0).bits, pn_deref(other, instances[0]).bits);
    assert_int_equal(pn_store(other, pn_deref(other, instances[1]), 0, ref_from_int(2)), PN_WRITABLE);
    assert_int_equal(pn_slot(vm, pn_deref(vm, instances[1]), 0).bits, ref_from_int(1).bits);
    assert_int_equal(pn_slot(other, pn_deref(other, instances[1]), 0).bits, ref_from_int(2).bits);
    pn_worker_free(other);
}

// B5: made read-only after the copy, the copy's own bit decides, also for who holds the original.
static void read_only_copy_refuses_stores(void **state) {
    WorkerVm *vm = *state;
    Oop o = ref_raw(instances[9]);
    assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
    oop_set_header(o, oop_header(o) | PN_HDR_IMMUTABLE);
    assert_true(pn_is_read_only(vm, o));
    assert_int_equal(pn_store(vm, o, 0, ref_from_int(1)), PN_READ_ONLY);
    assert_int_equal(pn_store(vm, ref_raw(instances[9]), 0, ref_from_int(1)), PN_READ_ONLY);
    assert_int_equal(vm->more->copies, 1);
    oop_set_header(o, oop_header(o) & ~PN_HDR_IMMUTABLE);
    assert_int_equal(pn_store(vm, ref_raw(instances[9]), 0, ref_from_int(1)), PN_WRITABLE);
    assert_int_equal(oop_slot(o, 0).bits, ref_from_int(1).bits);
}

// B7: what the user froze before it was baked stays so, and a private copy of it, made for become, too.
static void user_read_only_is_refused_and_kept(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_is_read_only(vm, ref_raw(read_only)));
    assert_false(pn_is_read_only(vm, ref_raw(instances[0])));
    assert_int_equal(pn_store(vm, ref_raw(read_only), 0, ref_from_int(1)), PN_READ_ONLY);
    assert_null(vm->overlay);
    Oop o = ref_raw(read_only);
    assert_int_equal(pn_make_private(vm, &o), PN_WRITABLE);
    assert_false(ref_is_shared(ref_of(o)));
    assert_true(pn_is_read_only(vm, o));
    assert_int_equal(pn_store(vm, o, 0, ref_from_int(1)), PN_READ_ONLY);
    assert_int_equal(pn_store(vm, ref_raw(read_only), 0, ref_from_int(1)), PN_READ_ONLY);
    test_heap_holds(vm);
}

// B6
static void some_kinds_are_never_copied(void **state) {
    WorkerVm *vm = *state;
    const Ref refused[] = {vm_nil(vm), vm_true(vm), vm_false(vm), boxed, pn_symbol_z("aSymbol"), ref_from_int(3)};
    for (size_t i = 0; i < PN_COUNT_OF(refused); i++) {
        Oop o = ref_raw(refused[i]);
        if (!oop_is_immediate(o)) assert_true(pn_is_never_copied(o));
        assert_int_equal(pn_make_writable(vm, &o), PN_READ_ONLY);
        assert_int_equal(pn_make_private(vm, &o), PN_READ_ONLY);
        assert_int_equal(o.bits, refused[i].bits);
    }
    assert_null(vm->overlay);
}

static void copying_everything_spares_what_is_never_copied(void **state) {
    WorkerVm *vm = *state;
    PnOptions saved = test_options("copy-all");
    Oop touched = pn_deref(vm, instances[3]);
    assert_false(ref_is_shared(ref_of(touched)));
    assert_int_equal(pn_deref(vm, instances[3]).bits, touched.bits);
    assert_int_equal(vm->more->copies, 1);
    assert_int_equal(pn_deref(vm, vm->nil).bits, vm->nil.bits);
    assert_int_equal(pn_deref(vm, boxed).bits, boxed.bits);
    assert_true(pn_same(vm, instances[3], ref_of(touched)));
    assert_false(pn_same(vm, instances[3], instances[2]));
    assert_int_equal(vm->more->copies, 1); // asking who somebody is copies nothing
    test_heap_holds(vm);
    test_options_restore(saved);
}

static void filter_grows_with_the_copies(void **state) {
    WorkerVm *vm = *state;
    Filter layers = layer->filter;
    for (size_t i = 0; i < INSTANCES; i++) {
        assert_int_equal(pn_store(vm, ref_raw(instances[i]), 1, ref_from_int((int64_t)i)), PN_WRITABLE);
        assert_true(filter_may_hold(&vm->filter, instances[i].bits));
        if (vm->filter.bits != pn_filter_all.bits) assert_true(vm->filter.mask + 1 >= 8 * (i + 1));
    }
    assert_int_equal(vm->overlay->count, INSTANCES);
    for (size_t i = 0; i < INSTANCES; i++)
        assert_int_equal(pn_slot(vm, pn_deref(vm, instances[i]), 1).bits, ref_from_int((int64_t)i).bits);
    assert_ptr_equal(layer->filter.bits, layers.bits);
    assert_false(filter_may_hold(&layer->filter, instances[0].bits));
    test_heap_holds(vm);
}

static OldSegment *segment_of(WorkerVm *vm, Oop o) { return pn_old_segment_of(vm, o.bits); }

static void large_object_is_mapped_again(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(pn_store(vm, ref_raw(large), LARGE_SLOTS / 2, ref_from_int(5)), PN_WRITABLE);
    Oop copy = pn_deref(vm, large);
    OldSegment *s = segment_of(vm, copy);
    assert_true(s->is_mapped && s->is_large);
    assert_ptr_equal(s->start, oop_start(copy));
    assert_ptr_equal(s->top, oop_end(copy));
    assert_ptr_equal(s->end, oop_end(copy));
    for (size_t i = 0; i < LARGE_SLOTS; i++)
        assert_int_equal(oop_slot(copy, i).bits, i == LARGE_SLOTS / 2 ? ref_from_int(5).bits : vm->nil.bits);
    test_heap_holds(vm);
    size_t held = vm->old->bytes_held;
    OldSegment **link = &vm->old->segments;
    while (*link != s) link = &(*link)->next;
    pn_overlay_drop(vm);
    pn_old_segment_free(vm, link);
    assert_true(vm->old->bytes_held < held);
}

static void large_object_without_a_file_is_copied(void **state) {
    WorkerVm *vm = *state;
    int fd = layer->fd;
    layer->fd = -1;
    Oop o = ref_raw(large);
    assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
    layer->fd = fd;
    assert_false(segment_of(vm, o)->is_mapped);
    assert_int_equal(oop_slot(o, LARGE_SLOTS - 1).bits, vm->nil.bits);
    test_heap_holds(vm);
}

// A copy of a class or dictionary is guarded: a store that changes behaviour takes the worker out of its layer's world.
static void only_behaviour_changes_the_world(void **state) {
    WorkerVm *vm = *state;
    HandLayer h = hand_begin(layer, 4096);
    Ref dictionary = hand_object(&h, PN_CLASS_METHOD_DICTIONARY, PN_FMT_FIXED_ARRAY, 4, 0);
    Ref class_ref = hand_object(&h, HAND_CLASS, PN_FMT_FIXED, HAND_SLOTS, 0);
    Ref list_node = hand_object(&h, HAND_CLASS, PN_FMT_FIXED, HAND_SLOTS, 0);
    hand_store(&h, class_ref, PN_BEHAVIOR_METHOD_DICT, dictionary);
    hand_store(&h, class_ref, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 0)));
    hand_store(&h, list_node, PN_BEHAVIOR_FORMAT, ref_from_int(1));
    Layer *above = hand_end(&h);
    WorkerVm *worker = pn_worker_new(above);
    assert_int_equal(pn_store(worker, ref_raw(list_node), 0, class_ref), PN_WRITABLE);
    assert_int_equal(pn_store(worker, ref_raw(class_ref), 4, ref_from_int(1)), PN_WRITABLE);
    assert_ptr_equal(worker->world, above->world);
    assert_int_equal(pn_store(worker, pn_deref(worker, class_ref), PN_BEHAVIOR_SUPERCLASS, list_node), PN_WRITABLE);
    assert_ptr_not_equal(worker->world, above->world);
    uint64_t id = worker->world->id;
    assert_int_equal(pn_store(worker, pn_deref(worker, list_node), 0, ref_from_int(1)), PN_WRITABLE);
    assert_int_equal(worker->world->id, id);
    assert_int_equal(pn_store(worker, ref_raw(dictionary), 3, ref_from_int(1)), PN_WRITABLE);
    assert_int_not_equal(worker->world->id, id);
    assert_ptr_equal(vm->world, layer->world);
    pn_worker_free(worker);
    pn_layer_release(above);
}

// Poison mode: nobody can look into an original that has a copy.
static void poison_overwrites_the_original(void **state) {
    (void)state;
    PnOptions saved = test_options("poison");
    HandLayer h = hand_begin(NULL, 4096);
    Ref r = hand_instance(&h);
    Layer *poisoned = hand_end(&h);
    WorkerVm *vm = pn_worker_new(poisoned);
    uint64_t header = oop_header(ref_raw(r));
    assert_int_equal(pn_store(vm, ref_raw(r), 0, ref_from_int(1)), PN_WRITABLE);
    for (size_t i = 0; i < HAND_SLOTS; i++) assert_int_equal(oop_slot(ref_raw(r), i).bits, PN_POISON_BODY);
    assert_int_equal(oop_header(ref_raw(r)), header);
    assert_int_equal(oop_slot(pn_deref(vm, r), 1).bits, vm->nil.bits);
    test_heap_holds(vm);
    pn_worker_free(vm);
    pn_layer_release(poisoned);
    test_options_restore(saved);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(copy_keeps_hash_class_and_size),
        TEST(second_write_copies_nothing),
        TEST(each_worker_has_copies_of_its_own),
        TEST(read_only_copy_refuses_stores),
        TEST(user_read_only_is_refused_and_kept),
        TEST(some_kinds_are_never_copied),
        TEST(copying_everything_spares_what_is_never_copied),
        TEST(filter_grows_with_the_copies),
        TEST(large_object_is_mapped_again),
        TEST(large_object_without_a_file_is_copied),
        TEST(only_behaviour_changes_the_world),
        cmocka_unit_test(poison_overwrites_the_original),
    };
    return PN_COW ? test_run(tests) : 0; // the layer written by hand is of no use without
}
