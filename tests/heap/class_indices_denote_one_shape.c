// tests/heap/class_indices_denote_one_shape.c: an index is given out once, comes back late, and never changes its shape
// (H7).
#include "tests/support.h"

#include <stdatomic.h>

// A class as far as indices are concerned: old, private, instances with so many named slots.
static Oop new_class(WorkerVm *vm, uint32_t slots) {
    Oop c = pn_old_new(vm, PN_CLASS_LAST_HIDDEN, PN_FMT_FIXED, 7);
    assert_false(oop_is_none(c));
    for (size_t i = 0; i < 7; i++) oop_init_slot(c, i, ref_from_int((int64_t)i));
    oop_init_slot(c, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, slots)));
    return c;
}

static uint32_t shape_of(uint32_t slots) { return (uint32_t)pn_class_format(PN_FMT_FIXED, slots) + 1; }

static void a_class_gets_its_index_when_it_is_asked_for(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    Oop c = new_class(vm, 3);
    uint32_t index = pn_class_index(vm, c);
    assert_true(index >= PN_CLASS_FIRST_FREE);
    assert_int_equal(hdr_hash(oop_header(c)), index);
    assert_int_equal(pn_class_index(vm, c), index);
    assert_int_equal(pn_class_shapes[index], shape_of(3));
    assert_true(pn_class_at(vm, index).bits == c.bits);
    Oop instance = pn_old_new(vm, index, PN_FMT_FIXED, 3);
    assert_true(pn_class_of(vm, instance).bits == c.bits);
    assert_true(pn_class_of(vm, c).bits == c.bits); // the index that says: its own class
    pn_worker_free(vm);
    assert_int_equal(pn_class_shapes[index], 0);
    assert_true(ref_is_none(pn_class_table[index]));
}

static void a_hash_from_elsewhere_is_no_index(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    Oop other = new_class(vm, 3);
    uint32_t taken = pn_class_index(vm, other);
    Oop c = new_class(vm, 3);
    oop_set_header(c, oop_header(c) | (uint64_t)taken << PN_HDR_HASH_SHIFT);
    uint32_t index = pn_class_index(vm, c);
    assert_true(index != taken && index != 0);
    assert_true(pn_class_at(vm, taken).bits == other.bits);
    assert_int_equal(pn_class_enter(vm, new_class(vm, 1), taken), PN_INDEX_CLASH);
    pn_worker_free(vm);
}

static void another_shape_takes_another_index(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    Oop c = new_class(vm, 2);
    uint32_t before = pn_class_index(vm, c);
    Oop old_instance = pn_old_new(vm, before, PN_FMT_FIXED, 2);
    pn_store(vm, c, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 3)));
    uint32_t after = pn_class_index(vm, c);
    assert_true(after != before && after != 0);
    assert_int_equal(pn_class_index(vm, c), after);
    assert_int_equal(pn_class_shapes[before], shape_of(2));
    assert_int_equal(pn_class_shapes[after], shape_of(3));
    Oop obsolete = pn_class_of(vm, old_instance);
    assert_true(obsolete.bits != c.bits && pn_class_at(vm, after).bits == c.bits);
    assert_int_equal(hdr_hash(oop_header(obsolete)), before);
    assert_true(ref_same(oop_slot(obsolete, PN_BEHAVIOR_FORMAT), ref_from_int(pn_class_format(PN_FMT_FIXED, 2))));
    assert_true(ref_same(oop_slot(obsolete, PN_CLASS_NAME), oop_slot(c, PN_CLASS_NAME)));
    assert_int_equal(pn_class_index(vm, obsolete), before); // the clone makes what the class made
    pn_worker_free(vm);
}

// The class lies in a layer: its index goes on meaning the old shape for everybody else.
static void a_class_of_a_layer_is_left_to_the_others(void **state) {
    (void)state;
    if (!PN_COW) skip();
    PnOptions saved = pn_options;
    pn_options.poison = false; // it is for one worker on a layer
    LayerDraft draft;
    assert_int_equal(pn_layer_draft(NULL, 64, 0, &draft, NULL), PN_OK);
    uint32_t index = pn_indices_take(1);
    uint64_t *memory = (uint64_t *)(void *)draft.objects;
    memory[0] = pn_header(7, index, PN_FMT_FIXED, 2000) | PN_HDR_IMMUTABLE; // index of some metaclass
    for (size_t i = 0; i < 7; i++) memory[1 + i] = ref_from_int((int64_t)i).bits;
    memory[1 + PN_BEHAVIOR_FORMAT] = ref_from_int(pn_class_format(PN_FMT_FIXED, 2)).bits;
    Layer *layer = draft.layer;
    Ref c = {layer->objects.start};
    draft.layer->nil = c; // whatever: nobody asks here
    draft.layer->indices = pn_mem_alloc(sizeof index);
    draft.layer->indices[0] = index;
    draft.layer->index_count = 1;
    pn_class_table[index] = c;
    pn_class_shapes[index] = shape_of(2);
    assert_int_equal(pn_layer_publish(&draft, NULL), PN_OK);
    WorkerVm *changer = pn_worker_new(layer);
    WorkerVm *other = pn_worker_new(layer);
    Oop copy = pn_deref(changer, c);
    assert_int_equal(pn_class_index(changer, copy), index);
    copy = pn_deref(changer, c);
    assert_int_equal(pn_make_writable(changer, &copy), PN_WRITABLE);
    pn_store(changer, copy, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 3)));
    uint32_t after = pn_class_index(changer, pn_deref(changer, c));
    assert_true(after != index && after != 0);
    assert_int_equal(pn_class_shapes[index], shape_of(2));
    assert_true(pn_class_at(changer, after).bits == pn_deref(changer, c).bits);
    assert_true(pn_class_at(changer, index).bits != pn_deref(changer, c).bits);
    assert_true(pn_class_at(other, index).bits == pn_deref(other, c).bits);
    assert_int_equal(pn_class_index(other, pn_deref(other, c)), index);
    pn_worker_free(changer);
    assert_int_equal(pn_class_shapes[index], shape_of(2));
    pn_worker_free(other);
    pn_layer_release(layer);
    pn_options = saved;
}

static void what_is_no_class_has_no_index(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    assert_int_equal(pn_class_index(vm, ref_raw(ref_from_int(3))), 0);
    assert_true(vm->prim_error != 0);
    assert_int_equal(pn_class_index(vm, pn_old_new(vm, 2000, PN_FMT_FIXED, 2)), 0);
    assert_int_equal(pn_class_index(vm, pn_old_new(vm, 2000, PN_FMT_64, 7)), 0);
    Oop no_format = pn_old_new(vm, 2000, PN_FMT_FIXED, 7);
    oop_init_slot(no_format, PN_BEHAVIOR_FORMAT, ref_from_char('x'));
    assert_int_equal(pn_class_index(vm, no_format), 0);
    pn_worker_free(vm);
}

// Last, because it uses up all indices of the process.
static void indices_come_back_when_all_others_are_gone(void **state) {
    (void)state;
    uint32_t first = pn_indices_take(3);
    assert_true(first >= UINT32_C(0x100000)); // below: fixed ones, and those of files
    uint32_t epoch = atomic_load(&pn_index_epoch);
    const uint32_t given[] = {first, first + 1, first + 2, 2000};
    pn_class_shapes[2000] = 5;
    pn_indices_give(given, PN_COUNT_OF(given));
    assert_int_equal(pn_class_shapes[2000], 0);
    assert_true(pn_indices_take(1) > first + 2); // not yet
    assert_int_equal(pn_indices_take(PN_MAX_CLASS_INDEX), 0);
    uint32_t last = pn_indices_take(1);
    uint32_t rest = PN_MAX_CLASS_INDEX - last;
    assert_int_equal(pn_indices_take(rest), last + 1);
    uint32_t again = pn_indices_take(2);
    assert_true(again != 0 && again <= first + 1);
    assert_true(atomic_load(&pn_index_epoch) != epoch);
    for (uint32_t index; (index = pn_indices_take(1)) != 0;) assert_true(index != 2000 && index <= last);
    const uint32_t two_apart[] = {last, last - 2};
    pn_indices_give(two_apart, 2);
    assert_int_equal(pn_indices_take(2), 0);
    assert_int_equal(pn_indices_take(1), last - 2);
    assert_int_equal(pn_indices_take(1), last);
    WorkerVm *vm = pn_worker_new(NULL);
    assert_int_equal(pn_class_index(vm, new_class(vm, 1)), 0);
    assert_true(vm->prim_error != 0);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_gets_its_index_when_it_is_asked_for),
        cmocka_unit_test(a_hash_from_elsewhere_is_no_index),
        cmocka_unit_test(another_shape_takes_another_index),
        cmocka_unit_test(a_class_of_a_layer_is_left_to_the_others),
        cmocka_unit_test(what_is_no_class_has_no_index),
        cmocka_unit_test(indices_come_back_when_all_others_are_gone),
    };
    return test_run(tests);
}
