// Freeze: everything private lies in the new layer, with its contents, hashes and classes; overlays are flattened
// (A8).
#include "tests/gc/objects.h"

#if PN_COW

static bool is_in(const Layer *layer, Ref r) { return layer_holds(layer, r.bits); }
// What deref answers lies in the layer, unless everything is copied at its first touch.
static bool stays_in(const Layer *layer, Oop o) { return pn_options.copy_everything || is_in(layer, ref_of(o)); }

static Oop now(WorkerVm *vm, const Root *root) { return pn_deref(vm, root->ref); }

static void worker_goes_on_above_an_empty_heap(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Root array, bytes;
    pn_root_push(vm, &array, ref_of(object_array(vm, 300)));
    pn_root_push(vm, &bytes, ref_of(pn_new_bytes(vm, PN_CLASS_BYTE_STRING, 5)));
    memcpy(oop_bytes(ref_raw(bytes.ref)), "abcde", 5);
    object_put_in(vm, &array, 0, bytes.ref);
    object_put_in(vm, &array, 299, vm_true(vm));
    Layer *layer = test_freeze(vm);
    test_verify(vm);
    assert_null(vm->old);
    assert_null(vm->overlay);
    assert_null(vm->remembered);
    assert_null(vm->more->codes);
    assert_ptr_equal(vm->next, vm->young_start);
    assert_int_equal(vm->more->own_index_count, 0);
    assert_false(vm->more->behavior_changed);
    assert_ptr_equal(vm->world, layer->world);
    assert_true(ref_same(vm->nil, layer->nil));
    assert_true(is_in(layer, array.ref) && is_in(layer, bytes.ref));
    assert_int_equal(oop_slot_count(ref_raw(array.ref)), 300);
    assert_true(ref_same(oop_slot(ref_raw(array.ref), 0), bytes.ref));
    assert_true(ref_same(oop_slot(ref_raw(array.ref), 1), vm_nil(vm)));
    assert_true(ref_same(oop_slot(ref_raw(array.ref), 299), vm_true(vm)));
    assert_memory_equal(oop_bytes(ref_raw(bytes.ref)), "abcde", 5);
    assert_int_equal(test_send_int(vm, ref_from_int(3), "+", ref_from_int(4)), 7);
    pn_worker_free(vm);
    pn_layer_release(layer);
    assert_int_equal(pn_class_shapes[PN_CLASS_ARRAY], 0);
}

static void base_begins_like_a_spur_image(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Layer *layer = test_freeze(vm);
    Oop o = pn_layer_next(layer, PN_NO_OOP);
    const uint32_t classes[] = {PN_CLASS_UNDEFINED_OBJECT, PN_CLASS_FALSE,        PN_CLASS_TRUE,
                                PN_CLASS_HIDDEN_WORDS,     PN_CLASS_HIDDEN_ARRAY, PN_CLASS_HIDDEN_ARRAY,
                                PN_CLASS_HIDDEN_ARRAY};
    const size_t slots[] = {0, 0, 0, 64, 4104, 1024, 1024};
    assert_int_equal(o.bits, layer->nil.bits);
    Oop roots = PN_NO_OOP;
    for (size_t i = 0; i < PN_COUNT_OF(classes); i++) {
        assert_int_equal(oop_class_index(o), classes[i]);
        assert_int_equal(oop_slot_count(o), slots[i]);
        if (i == 4) roots = o;
        if (i > 4) assert_true(ref_same(oop_slot(roots, i - 5), ref_of(o)));
        o = pn_layer_next(layer, o);
    }
    Oop page = ref_raw(oop_slot(roots, 0));
    assert_true(ref_same(oop_slot(page, PN_CLASS_ARRAY), pn_class_table[PN_CLASS_ARRAY]));
    assert_true(is_in(layer, pn_class_table[PN_CLASS_ARRAY]));
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void classes_keep_their_index(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    uint32_t index = object_class(vm, "Thing", PN_FMT_FIXED, 2);
    Root thing;
    pn_root_push(vm, &thing, ref_of(object_of(vm, index, PN_FMT_FIXED, 2)));
    Layer *layer = test_freeze(vm);
    assert_int_equal(oop_class_index(ref_raw(thing.ref)), index);
    Oop class_object = pn_class_of(vm, ref_raw(thing.ref));
    assert_true(stays_in(layer, class_object));
    assert_int_equal(class_object.bits, test_global(vm, "Thing").bits);
    assert_int_equal(hdr_hash(oop_header(class_object)), index);
    assert_int_equal(pn_class_index(vm, class_object), index);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

// A class that never had an instance has no index; in a layer it must have one.
static void class_without_index_gets_one(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    object_class(vm, "Thing", PN_FMT_FIXED, 2);
    Oop class_object = test_global(vm, "Thing");
    size_t slots = oop_slot_count(class_object);
    Oop twin = pn_old_new(vm, oop_class_index(class_object), PN_FMT_FIXED, slots);
    for (size_t i = 0; i < slots; i++) object_put(vm, twin, i, oop_slot(class_object, i));
    Root root;
    pn_root_push(vm, &root, ref_of(twin));
    Layer *layer = test_freeze(vm);
    test_verify(vm);
    uint32_t index = hdr_hash(oop_header(ref_raw(root.ref)));
    assert_true(ref_same(pn_class_table[index], root.ref));
    assert_int_equal(pn_class_index(vm, ref_raw(root.ref)), index);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void hashes_are_kept_and_all_are_assigned(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root root;
    pn_root_push(vm, &root, ref_of(object_array(vm, 1)));
    oop_set_header(ref_raw(root.ref), oop_header(ref_raw(root.ref)) | UINT64_C(0x2BCDE) << PN_HDR_HASH_SHIFT);
    Layer *first = test_freeze(vm);
    assert_int_equal(hdr_hash(oop_header(ref_raw(root.ref))), 0x2BCDE);
    for (Oop o = pn_layer_next(first, PN_NO_OOP); !oop_is_none(o); o = pn_layer_next(first, o))
        assert_int_not_equal(hdr_hash(oop_header(o)), 0);
    object_put(vm, now(vm, &root), 0, ref_from_int(1));
    Layer *second = test_freeze(vm);
    assert_true(is_in(second, root.ref));
    assert_int_equal(hdr_hash(oop_header(ref_raw(root.ref))), 0x2BCDE);
    pn_worker_free(vm);
    pn_layer_release(second);
    pn_layer_release(first);
}

// a in the first layer, its copy a1 in the second, the copy's copy a2 in the third: all names mean a2, in one step.
static void second_freeze_flattens_overlays(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root a, holder, untouched;
    pn_root_push(vm, &a, ref_of(object_array(vm, 1)));
    pn_root_push(vm, &untouched, ref_of(object_array(vm, 1)));
    pn_root_push(vm, &holder, ref_of(object_array(vm, 2)));
    object_put_in(vm, &holder, 0, a.ref);
    object_put_in(vm, &holder, 1, untouched.ref);
    Layer *layers[3];
    Ref names[3];
    for (int i = 0; i < 3; i++) {
        layers[i] = test_freeze(vm);
        test_verify(vm);
        names[i] = a.ref;
        assert_true(is_in(layers[i], a.ref));
        object_put(vm, now(vm, &a), 0, ref_from_int(i));
        if (i == 0) object_put(vm, now(vm, &untouched), 0, ref_from_int(77));
    }
    assert_int_equal(layers[1]->overlay.count, 2);
    assert_int_equal(layers[2]->overlay.count, 3);
    assert_true(ref_same(pn_overlay_get(&layers[1]->overlay, names[0]), names[1]));
    assert_true(ref_same(pn_overlay_get(&layers[2]->overlay, names[0]), names[2]));
    assert_true(ref_same(pn_overlay_get(&layers[2]->overlay, names[1]), names[2]));
    for (int i = 0; i < 3; i++) assert_int_equal(ref_int(oop_slot(pn_deref(vm, names[i]), 0)), 2);
    assert_true(stays_in(layers[1], now(vm, &untouched)));
    assert_int_equal(ref_int(oop_slot(now(vm, &untouched), 0)), 77);
    assert_true(ref_same(oop_slot(now(vm, &holder), 0), names[0])); // a stale name in the first layer
    assert_int_equal(ref_int(oop_slot(pn_slot(vm, now(vm, &holder), 0), 0)), 2);
    test_verify(vm);
    pn_worker_free(vm);
    for (int i = 2; i >= 0; i--) pn_layer_release(layers[i]);
}

static void make_read_only(Oop o) { oop_set_header(o, oop_header(o) | PN_HDR_IMMUTABLE); }
static bool is_deep(Ref r) { return (oop_header(ref_raw(r)) & PN_HDR_DEEPLY_READ_ONLY) != 0; }
static bool is_user_read_only(Ref r) { return (oop_header(ref_raw(r)) & PN_HDR_USER_READ_ONLY) != 0; }

static void deeply_read_only_is_found_through_cycles(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    enum { RING_A, RING_B, LITERAL, STRING, TAINTED_A, TAINTED_B, TAINTED_C, MUTABLE, COUNT };
    Root r[COUNT];
    for (size_t i = 0; i < COUNT; i++) pn_root_push(vm, &r[i], ref_of(pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 2)));
    r[STRING].ref = ref_of(pn_asm_string(vm, "read only"));
    static const struct {
        uint8_t from, to;
    } edges[] = {{RING_A, RING_B},       {RING_B, RING_A},       {LITERAL, STRING},
                 {TAINTED_A, TAINTED_B}, {TAINTED_B, TAINTED_C}, {TAINTED_C, TAINTED_A}};
    for (size_t i = 0; i < PN_COUNT_OF(edges); i++)
        object_put(vm, ref_raw(r[edges[i].from].ref), 0, r[edges[i].to].ref);
    object_put(vm, ref_raw(r[LITERAL].ref), 1, pn_symbol_z("aSymbol"));
    object_put(vm, ref_raw(r[TAINTED_C].ref), 1, r[MUTABLE].ref);
    for (size_t i = 0; i < MUTABLE; i++) make_read_only(ref_raw(r[i].ref));
    Layer *layer = test_freeze(vm);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(is_user_read_only(r[i].ref), i != MUTABLE);
        assert_int_equal(is_deep(r[i].ref), i < TAINTED_A);
    }
    assert_true(is_deep(vm->nil));
    Oop literal = ref_raw(r[LITERAL].ref);
    assert_int_equal(pn_store(vm, literal, 0, vm->nil), PN_READ_ONLY);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void worker_with_a_process_is_refused(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    assert_int_equal(pn_start_send(vm, ref_from_int(1), pn_symbol_z("+"), (Ref[]){ref_from_int(2)}, 1), PN_OK);
    if (pn_frames(vm).link != NULL) {
        PnError error = {0};
        assert_int_equal(pn_freeze(vm, NULL, &error), PN_REFUSED);
        assert_string_not_equal(error.text, "");
    }
    pn_worker_free(vm);
}

static void install_constant(WorkerVm *vm, Ref constant) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_literal(a, constant);
    pn_asm_return_top(a);
    pn_asm_install(a, test_global(vm, "Object"), "constant");
}

// A method that was replaced, and its large literal, are known to a Code record only: they stay behind.
static void replaced_methods_stay_behind(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Layer *without = test_freeze(vm);
    install_constant(vm, ref_of(object_array(vm, 2 * PN_LARGE_BYTES / 8)));
    test_send(vm, vm->nil, "constant");
    install_constant(vm, ref_from_int(5));
    assert_int_equal(test_send_int(vm, vm->nil, "constant"), 5);
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    vm->result = vm->nil;
    Layer *with = test_freeze(vm);
    assert_true(with->objects.bytes < PN_LARGE_BYTES);
    assert_int_equal(test_send_int(vm, vm->nil, "constant"), 5);
    test_verify(vm);
    pn_worker_free(vm);
    pn_layer_release(with);
    pn_layer_release(without);
}

static void forwarders_and_stale_names_do_not_reach_the_layer(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Root holder, target;
    pn_root_push(vm, &holder, ref_of(object_array(vm, 3)));
    pn_root_push(vm, &target, ref_of(object_array(vm, 1)));
    Layer *first = test_freeze(vm);
    Ref stale = target.ref;
    Oop copy = ref_raw(stale);
    assert_int_equal(pn_make_writable(vm, &copy), PN_WRITABLE);
    Oop forwarder = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 1);
    object_put(vm, now(vm, &holder), 0, stale);
    object_put(vm, now(vm, &holder), 1, ref_of(forwarder));
    oop_set_header(forwarder, pn_header(1, 0, PN_FMT_FORWARDED, PN_CLASS_FORWARDED) | PN_HDR_IMMUTABLE);
    oop_init_slot(forwarder, 0, stale);
    Layer *second = test_freeze(vm);
    test_verify(vm);
    Oop o = now(vm, &holder);
    assert_true(stays_in(second, o));
    assert_true(is_in(second, oop_slot(o, 0)));
    assert_true(ref_same(oop_slot(o, 0), oop_slot(o, 1)));
    assert_true(pn_same(vm, oop_slot(o, 0), stale));
    pn_worker_free(vm);
    pn_layer_release(second);
    pn_layer_release(first);
}

// Two workers on one layer, each with its own copy. In poison mode what one has copied is gone for the other.
static void layer_serves_several_workers(void **state) {
    (void)state;
    if (pn_options.poison) return;
    WorkerVm *vm = test_boot_kernel();
    Root shared;
    pn_root_push(vm, &shared, ref_of(object_array(vm, 1)));
    Layer *layer = test_freeze(vm);
    Ref name = shared.ref;
    WorkerVm *other = test_worker_on(layer);
    object_put(vm, pn_deref(vm, name), 0, ref_from_int(1));
    object_put(other, pn_deref(other, name), 0, ref_from_int(2));
    pn_collect_full(vm);
    pn_collect_full(other);
    assert_int_equal(ref_int(oop_slot(pn_deref(vm, name), 0)), 1);
    assert_int_equal(ref_int(oop_slot(pn_deref(other, name), 0)), 2);
    test_verify(vm);
    test_verify(other);
    pn_worker_free(vm);
    pn_worker_free(other);
    pn_layer_release(layer);
}

#endif

int main(void) {
#if PN_COW
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worker_goes_on_above_an_empty_heap),
        cmocka_unit_test(base_begins_like_a_spur_image),
        cmocka_unit_test(classes_keep_their_index),
        cmocka_unit_test(class_without_index_gets_one),
        cmocka_unit_test(hashes_are_kept_and_all_are_assigned),
        cmocka_unit_test(second_freeze_flattens_overlays),
        cmocka_unit_test(deeply_read_only_is_found_through_cycles),
        cmocka_unit_test(worker_with_a_process_is_refused),
        cmocka_unit_test(replaced_methods_stay_behind),
        cmocka_unit_test(forwarders_and_stale_names_do_not_reach_the_layer),
        cmocka_unit_test(layer_serves_several_workers),
    };
    return test_run(tests);
#else
    return 0;
#endif
}
