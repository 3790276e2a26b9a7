// The store path: what is remembered and when, what the marking barrier sees, what counts as a change of behaviour.
#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"

static Layer *layer;
static Ref shared;

static int begin(void **state) {
    HandLayer h = hand_begin(NULL, 1024);
    shared = hand_instance(&h);
    layer = hand_end(&h);
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

static Oop old_array(WorkerVm *vm) { return pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 4); }

static Oop young_array(WorkerVm *vm) {
    Oop o = pn_young_try(vm, pn_header(2, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY), 2);
    assert_false(oop_is_none(o));
    for (size_t i = 0; i < 2; i++) oop_init_slot(o, i, vm->nil);
    return o;
}

static size_t remembered(WorkerVm *vm) { return vm->remembered == NULL ? 0 : vm->remembered->count; }

static void only_the_first_young_value_is_remembered(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm), young = young_array(vm);
    assert_int_equal(pn_store(vm, old, 0, ref_of(old_array(vm))), PN_WRITABLE);
    assert_int_equal(pn_store(vm, young, 0, ref_of(old)), PN_WRITABLE);
    assert_int_equal(pn_store(vm, young, 1, ref_of(young)), PN_WRITABLE);
    assert_int_equal(remembered(vm), 0);
    assert_int_equal(pn_store(vm, old, 1, ref_of(young)), PN_WRITABLE);
    assert_int_equal(pn_store(vm, old, 2, ref_of(young)), PN_WRITABLE);
    assert_int_equal(remembered(vm), 1);
    assert_int_equal(oop_slot(old, 1).bits, young.bits);
    test_heap_holds(vm);
}

// An immediate can have any bits, those of a young address as well.
static void immediate_that_looks_young_is_not_remembered(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm);
    Ref looks_young = {(uint64_t)(uintptr_t)vm->young_start | PN_TAG_INT};
    assert_int_equal(pn_store(vm, old, 0, looks_young), PN_WRITABLE);
    assert_int_equal(oop_slot(old, 0).bits, looks_young.bits);
    assert_int_equal(remembered(vm), 0);
}

static void young_value_in_a_copy_is_remembered(void **state) {
    WorkerVm *vm = *state;
    Oop young = young_array(vm);
    assert_int_equal(pn_store(vm, ref_raw(shared), 3, ref_of(young)), PN_WRITABLE);
    assert_int_equal(remembered(vm), 1);
    assert_int_equal(vm->remembered->chunks->entries[0].bits, pn_deref(vm, shared).bits);
    test_heap_holds(vm);
}

static void many_are_remembered_in_chunks(void **state) {
    WorkerVm *vm = *state;
    Oop young = young_array(vm);
    for (size_t i = 0; i < 1000; i++) assert_int_equal(pn_store(vm, old_array(vm), 0, ref_of(young)), PN_WRITABLE);
    assert_int_equal(remembered(vm), 1000);
    test_heap_holds(vm);
}

static struct {
    size_t calls;
    Oop object;
    Ref value;
} seen;
static void note_store(WorkerVm *vm, Oop object, Ref new_value) {
    (void)vm;
    seen.calls++;
    seen.object = object;
    seen.value = new_value;
}

static void barrier_sees_every_store_while_marking(void **state) {
    WorkerVm *vm = *state;
    void (*saved)(WorkerVm *, Oop, Ref) = pn_mark_barrier;
    Oop old = old_array(vm), young = young_array(vm);
    pn_mark_barrier = note_store;
    vm->store_mask = PN_STORE_MASK_MARKING;
    vm->store_want = PN_STORE_WANT_MARKING;
    const Oop targets[] = {old, young, old};
    const Ref values[] = {ref_of(old), ref_of(young), ref_of(young)};
    for (size_t i = 0; i < PN_COUNT_OF(targets); i++) {
        assert_int_equal(pn_store(vm, targets[i], 0, values[i]), PN_WRITABLE);
        assert_int_equal(seen.calls, i + 1);
        assert_int_equal(seen.object.bits, targets[i].bits);
        assert_int_equal(seen.value.bits, values[i].bits);
    }
    assert_int_equal(remembered(vm), 1);
    assert_int_equal(pn_store(vm, ref_raw(shared), 0, ref_of(old)), PN_WRITABLE);
    assert_int_equal(seen.object.bits, pn_deref(vm, shared).bits);
    vm->store_mask = PN_STORE_MASK;
    vm->store_want = PN_STORE_WANT;
    pn_mark_barrier = saved;
}

static void private_read_only_object_refuses(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm);
    oop_set_header(old, oop_header(old) | PN_HDR_IMMUTABLE);
    assert_int_equal(pn_store(vm, old, 0, ref_from_int(1)), PN_READ_ONLY);
    assert_int_equal(oop_slot(old, 0).bits, vm->nil.bits);
    assert_null(vm->overlay);
}

// Whatever its age: what a lookup has read is reported when it changes, and only then.
static void guarded_object_reports_changes(void **state) {
    WorkerVm *vm = *state;
    Oop young = young_array(vm), old = old_array(vm), class_like = pn_old_new(vm, HAND_CLASS, PN_FMT_FIXED, HAND_SLOTS);
    const Oop all[] = {young, old, class_like};
    for (size_t i = 0; i < PN_COUNT_OF(all); i++) {
        uint64_t id = vm->world->id;
        assert_int_equal(pn_store(vm, all[i], 0, vm->nil), PN_WRITABLE);
        assert_int_equal(vm->world->id, id);
        pn_guard(all[i]);
        assert_int_equal(pn_store(vm, all[i], 0, ref_of(young)), PN_WRITABLE);
        assert_int_not_equal(vm->world->id, id);
        assert_int_equal(oop_slot(all[i], 0).bits, young.bits);
    }
    uint64_t id = vm->world->id;
    assert_int_equal(pn_store(vm, class_like, PN_BEHAVIOR_SLOTS, ref_of(young)), PN_WRITABLE);
    assert_int_equal(vm->world->id, id);
    assert_int_equal(remembered(vm), 2);
    test_heap_holds(vm);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(only_the_first_young_value_is_remembered), TEST(immediate_that_looks_young_is_not_remembered),
        TEST(young_value_in_a_copy_is_remembered),      TEST(many_are_remembered_in_chunks),
        TEST(barrier_sees_every_store_while_marking),   TEST(private_read_only_object_refuses),
        TEST(guarded_object_reports_changes),
    };
    return PN_COW ? test_run(tests) : 0; // the layer written by hand is of no use without
}
