// What a reference means: the top layer's overlay, then the worker's own, then a private forwarder, once each (A8,
// B10).
#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"

static Layer *base, *above;
static Ref a, b, a1; // above's overlay says that a means a1

static int begin(void **state) {
    HandLayer h = hand_begin(NULL, 1024);
    a = hand_instance(&h);
    b = hand_instance(&h);
    base = hand_end(&h);
    h = hand_begin(base, 1024);
    a1 = hand_instance(&h);
    assert_true(pn_overlay_put(&h.draft.layer->overlay, a, a1));
    above = hand_end(&h);
    *state = pn_worker_new(above);
    return *state == NULL;
}
static int end(void **state) {
    pn_worker_free(*state);
    pn_layer_release(above);
    pn_layer_release(base);
    return 0;
}

static void test_heap_holds(WorkerVm *vm) {
    PnViolation violation;
    test_check(pn_verify(vm, &violation), "%s: %s", violation.rule, violation.text);
}

static Oop private_array(WorkerVm *vm) { return pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 2); }

// As one-way become: leaves a private object.
static void forward(Oop from, Ref to) {
    uint64_t keep = PN_HDR_HASH_MASK | UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT;
    oop_set_header(from, (oop_header(from) & keep) | PN_CLASS_FORWARDED | PN_HDR_IMMUTABLE |
                             (uint64_t)PN_FMT_FORWARDED << PN_HDR_FORMAT_SHIFT);
    oop_init_slot(from, 0, to);
}

static void layer_overlay_comes_first(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(pn_current(vm, a).bits, a1.bits);
    assert_int_equal(pn_current(vm, b).bits, b.bits);
    assert_true(pn_same(vm, a, a1));
    test_heap_holds(vm);
}

// The second write to a, after a freeze: the worker's key is what the layer's overlay gives, never a itself.
static void own_overlay_is_keyed_by_what_the_layer_gives(void **state) {
    WorkerVm *vm = *state;
    Oop o = pn_deref(vm, a);
    assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
    assert_false(ref_is_shared(ref_of(o)));
    assert_int_equal(pn_deref(vm, a).bits, o.bits);
    assert_int_equal(pn_deref(vm, a1).bits, o.bits);
    assert_true(ref_is_none(pn_overlay_get(vm->overlay, a)));
    assert_int_equal(pn_overlay_get(vm->overlay, a1).bits, o.bits);
    assert_int_equal(vm->overlay->count, 1);
    test_heap_holds(vm);
}

static void writing_through_a_stale_original_copies_what_it_means(void **state) {
    WorkerVm *vm = *state;
    Oop stale = ref_raw(a);
    assert_int_equal(pn_make_writable(vm, &stale), PN_WRITABLE);
    assert_int_equal(pn_overlay_get(vm->overlay, a1).bits, stale.bits);
    assert_int_equal(hdr_hash(oop_header(stale)), hdr_hash(oop_header(ref_raw(a1))));
    test_heap_holds(vm);
}

static void forwarder_comes_last(void **state) {
    WorkerVm *vm = *state;
    Oop copy = pn_deref(vm, a);
    assert_int_equal(pn_make_writable(vm, &copy), PN_WRITABLE);
    Oop other = private_array(vm), third = private_array(vm);
    forward(copy, ref_of(other));
    assert_int_equal(pn_deref(vm, a).bits, other.bits);
    assert_int_equal(pn_deref(vm, ref_of(copy)).bits, other.bits);
    forward(other, ref_of(third)); // a later become: of its target
    assert_int_equal(pn_deref(vm, a1).bits, third.bits);
    assert_true(pn_same(vm, ref_of(copy), ref_of(third)));
    assert_true(pn_same(vm, a, ref_of(other)));
    assert_false(pn_same(vm, a, b));
    assert_false(pn_same(vm, a, ref_from_int(1)));
    test_heap_holds(vm);
}

// One-way become: of a shared object to an immediate: only the table knows.
static void entry_may_be_an_immediate(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_overlay_enter(vm, b, ref_from_int(7)));
    assert_int_equal(pn_deref(vm, b).bits, ref_from_int(7).bits);
    Oop o = ref_raw(b);
    assert_int_equal(pn_make_writable(vm, &o), PN_READ_ONLY);
    assert_true(oop_is_immediate(o));
    test_heap_holds(vm);
}

static void dropping_the_overlay_forgets_the_copies(void **state) {
    WorkerVm *vm = *state;
    Oop o = pn_deref(vm, b);
    assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
    assert_ptr_not_equal(vm->filter.bits, above->filter.bits);
    pn_overlay_drop(vm);
    assert_null(vm->overlay);
    assert_int_equal(pn_current(vm, b).bits, b.bits);
    assert_int_equal(pn_current(vm, a).bits, a1.bits);
    if (!pn_options.copy_everything) assert_ptr_equal(vm->filter.bits, above->filter.bits);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(layer_overlay_comes_first),
        TEST(own_overlay_is_keyed_by_what_the_layer_gives),
        TEST(writing_through_a_stale_original_copies_what_it_means),
        TEST(forwarder_comes_last),
        TEST(entry_may_be_an_immediate),
        TEST(dropping_the_overlay_forgets_the_copies),
    };
    return PN_COW ? test_run(tests) : 0; // the layer written by hand is of no use without
}
