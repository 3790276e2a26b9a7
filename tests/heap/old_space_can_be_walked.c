// Whatever is allocated and freed in old space, each segment can be walked object by object, and nothing lies over
// anything.
#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"

static Layer *layer;

static int begin(void **state) {
    HandLayer h = hand_begin(NULL, 64);
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

// Few are large: most of what is allocated is small.
static size_t random_slots(uint64_t *random) {
    static const size_t limits[] = {4, 16, 64, 300, 9000};
    size_t which = pn_random(random) % 64;
    return pn_random(random) % limits[which < 40 ? 0 : which < 52 ? 1 : which < 60 ? 2 : which < 63 ? 3 : 4];
}

static Oop new_array(WorkerVm *vm, size_t slots) {
    Oop o = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots);
    assert_false(oop_is_none(o));
    assert_int_equal(oop_slot_count(o), slots);
    for (size_t i = 0; i < slots; i++) assert_int_equal(oop_slot(o, i).bits, vm->nil.bits);
    return o;
}

static size_t walked_bytes(WorkerVm *vm, size_t *objects) {
    size_t bytes = 0;
    *objects = 0;
    for (OldSegment *s = vm->old->segments; s != NULL; s = s->next)
        for (uint64_t *p = s->start; p < s->top; p = oop_end(oop_from_start(p))) {
            Oop o = oop_from_start(p);
            bool is_object = oop_class_index(o) != PN_CLASS_FREE;
            *objects += is_object;
            bytes += is_object ? oop_bytes_occupied(o) : 0;
        }
    return bytes;
}

static void segments_grow_and_hold_what_was_made(void **state) {
    WorkerVm *vm = *state;
    uint64_t random = test_seed();
    size_t made = 0, bytes = 0, walked;
    for (int i = 0; i < 4000; i++) {
        size_t slots = random_slots(&random);
        new_array(vm, slots);
        made++;
        bytes += pn_object_bytes(slots);
        assert_int_equal(vm->old->bytes_used, bytes);
    }
    assert_int_equal(walked_bytes(vm, &walked), bytes);
    assert_int_equal(walked, made);
    assert_true(vm->old->bytes_held >= bytes);
    test_heap_holds(vm);
}

static void an_idle_worker_has_no_old_space(void **state) {
    WorkerVm *vm = *state;
    assert_null(vm->old);
    new_array(vm, 1);
    assert_true(vm->old->bytes_held <= 4096);
    pn_old_space_free(vm);
    assert_null(vm->old);
}

static void large_objects_have_segments_of_their_own(void **state) {
    WorkerVm *vm = *state;
    Oop small = new_array(vm, 3);
    Oop large = new_array(vm, PN_LARGE_BYTES / 8);
    OldSegment *s = pn_old_segment_of(vm, large.bits);
    assert_true(s->is_large && !s->is_mapped);
    assert_ptr_equal(s->start, oop_start(large));
    assert_ptr_equal(s->top, oop_end(large));
    assert_ptr_not_equal(s, pn_old_segment_of(vm, small.bits));
    assert_null(pn_old_segment_of(vm, vm->nil.bits));
    test_heap_holds(vm);
}

// Make every object in turn with a body that says who it is, free some at random, fill the holes, and look whether
// all are intact.
static void free_chunks_are_used_again(void **state) {
    WorkerVm *vm = *state;
    enum { COUNT = 2000 };
    static Oop kept[COUNT];
    uint64_t random = test_seed();
    for (size_t i = 0; i < COUNT; i++) kept[i] = PN_NO_OOP;
    for (size_t step = 0; step < 30000; step++) {
        size_t i = pn_random(&random) % COUNT;
        if (oop_is_none(kept[i])) {
            size_t slots = random_slots(&random) % 1000;
            kept[i] = new_array(vm, slots);
            for (size_t k = 0; k < slots; k++) oop_init_slot(kept[i], k, ref_from_int((int64_t)i));
        } else {
            for (size_t k = 0, n = oop_slot_count(kept[i]); k < n; k++)
                assert_int_equal(oop_slot(kept[i], k).bits, ref_from_int((int64_t)i).bits);
            pn_free_list_add(vm->old, oop_start(kept[i]), oop_end(kept[i]));
            kept[i] = PN_NO_OOP;
        }
    }
    test_heap_holds(vm);
    assert_true(vm->old->bytes_held < (size_t)16 << 20);
}

// 256 words are the one size that no single chunk can have.
static void free_chunks_of_every_size_can_be_walked(void **state) {
    WorkerVm *vm = *state;
    for (size_t words = 2; words < 600; words++) {
        Oop o = new_array(vm, 700);
        uint64_t *p = oop_start(o), *hole_end = p + words, *after = oop_end(o);
        pn_write_free_chunk(p, hole_end);
        pn_write_free_chunk(hole_end, after);
        while (p < after) {
            assert_int_equal(oop_class_index(oop_from_start(p)), PN_CLASS_FREE);
            uint64_t *next = oop_end(oop_from_start(p));
            assert_true(next <= hole_end || p >= hole_end);
            p = next;
        }
        assert_ptr_equal(p, after);
    }
    test_heap_holds(vm);
}

static void a_limit_is_noticed_but_nothing_fails(void **state) {
    WorkerVm *vm = *state;
    pn_more(vm)->memory_limit = 10000;
    new_array(vm, 100);
    assert_false(vm->more->limit_noticed);
    new_array(vm, 2000);
    assert_true(vm->more->limit_noticed);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(segments_grow_and_hold_what_was_made),     TEST(an_idle_worker_has_no_old_space),
        TEST(large_objects_have_segments_of_their_own), TEST(free_chunks_are_used_again),
        TEST(free_chunks_of_every_size_can_be_walked),  TEST(a_limit_is_noticed_but_nothing_fails),
    };
    return PN_COW ? test_run(tests) : 0; // the layer written by hand is of no use without
}
