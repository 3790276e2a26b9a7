// A thawed worker has copies of all that its layers hold, as it saw it, and disturbs nobody who stands on them.
#include "tests/gc/objects.h"

static void build(WorkerVm *vm) {
    pn_asm_class(vm, "Thing", test_global(vm, "Object"), 2);
    Oop thing = pn_asm_instance(vm, test_global(vm, "Thing"));
    object_put(vm, thing, 0, ref_from_int(10));
    test_set_global(vm, "TheThing", ref_of(thing));
}

static WorkerVm *thawed_worker(Layer *layer) {
    WorkerVm *vm = pn_worker_new(layer);
    PnError error = {0};
    test_check(vm != NULL && pn_thaw(vm, &error) == PN_OK, "pn_thaw: %s", error.text);
    test_verify(vm);
    return vm;
}

static Layer *frozen_world(void) {
    WorkerVm *vm = test_boot_kernel();
    build(vm);
    Layer *layer = test_freeze(vm);
    pn_worker_free(vm);
    return layer;
}

static void everything_is_private(void **state) {
    (void)state;
    Layer *layer = frozen_world();
    WorkerVm *vm = thawed_worker(layer);
    assert_null(vm->layer);
    Oop thing = test_global(vm, "TheThing");
    assert_false(layer_holds(layer, thing.bits));
    assert_false(layer_holds(layer, vm->nil.bits));
    assert_false(layer_holds(layer, vm->special_objects.bits));
    Oop class_object = pn_class_of(vm, thing);
    assert_int_equal(class_object.bits, test_global(vm, "Thing").bits);
    assert_int_equal(pn_class_index(vm, class_object), oop_class_index(thing));
    assert_int_equal(oop_header(thing) & PN_HDR_IMMUTABLE, 0);
    object_put(vm, thing, 1, ref_from_int(5));
    assert_int_equal(vm->more->copies, 0);
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(test_send_int(vm, ref_from_int(3), "+", ref_from_int(4)), 7);
    assert_int_equal(test_send_int(vm, ref_of(test_global(vm, "TheThing")), "instVarAt:", ref_from_int(1)), 10);
    PnError error = {0};
    assert_int_equal(pn_freeze(vm, NULL, &error), PN_REFUSED);
    pn_worker_free(vm);
    pn_layer_release(layer);
    assert_int_equal(pn_class_shapes[PN_CLASS_ARRAY], 0);
}

// The class gets a new index; instances made before keep the old one, which now stands for a class of the old shape.
static void reshaped_class_leaves_its_index(void **state) {
    (void)state;
    Layer *layer = frozen_world();
    WorkerVm *vm = thawed_worker(layer);
    Oop thing = test_global(vm, "TheThing"), class_object = test_global(vm, "Thing");
    uint32_t before = oop_class_index(thing);
    object_put(vm, class_object, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 3)));
    uint32_t after = pn_class_index(vm, class_object);
    assert_int_not_equal(after, before);
    assert_int_equal(pn_class_at(vm, after).bits, class_object.bits);
    Oop obsolete = pn_class_of(vm, thing);
    assert_int_not_equal(obsolete.bits, class_object.bits);
    assert_int_equal(class_format_slots(ref_int(oop_slot(obsolete, PN_BEHAVIOR_FORMAT))), 2);
    pn_collect_full(vm);
    test_verify(vm);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

#if PN_COW

static void others_on_the_layer_are_not_disturbed(void **state) {
    (void)state;
    Layer *layer = frozen_world();
    WorkerVm *standing = pn_worker_new(layer);
    WorkerVm *thawed = thawed_worker(layer);
    object_put(thawed, test_global(thawed, "TheThing"), 0, ref_from_int(1));
    assert_int_equal(ref_int(oop_slot(test_global(standing, "TheThing"), 0)), 10);
    assert_int_equal(test_send_int(standing, ref_from_int(3), "+", ref_from_int(4)), 7);
    if (!pn_options.copy_everything)
        assert_true(layer_holds(layer, pn_class_of(standing, test_global(standing, "TheThing")).bits));
    test_verify(standing);
    test_verify(thawed);
    pn_worker_free(thawed);
    assert_int_equal(test_send_int(standing, ref_from_int(3), "+", ref_from_int(4)), 7);
    pn_worker_free(standing);
    pn_layer_release(layer);
}

static void overlays_are_applied(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    build(vm);
    Layer *first = test_freeze(vm);
    object_put(vm, test_global(vm, "TheThing"), 0, ref_from_int(20));
    Layer *second = test_freeze(vm);
    pn_worker_free(vm);
    WorkerVm *thawed = thawed_worker(second);
    assert_int_equal(ref_int(oop_slot(test_global(thawed, "TheThing"), 0)), 20);
    pn_worker_free(thawed);
    pn_layer_release(second);
    pn_layer_release(first);
}

static void read_only_objects_stay_so(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    build(vm);
    Oop thing = test_global(vm, "TheThing");
    oop_set_header(thing, oop_header(thing) | PN_HDR_IMMUTABLE);
    Layer *layer = test_freeze(vm);
    pn_worker_free(vm);
    WorkerVm *thawed = thawed_worker(layer);
    assert_int_equal(pn_store(thawed, test_global(thawed, "TheThing"), 0, vm_nil(thawed)), PN_READ_ONLY);
    pn_worker_free(thawed);
    pn_layer_release(layer);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_private),
        cmocka_unit_test(reshaped_class_leaves_its_index),
#if PN_COW
        cmocka_unit_test(others_on_the_layer_are_not_disturbed),
        cmocka_unit_test(overlays_are_applied),
        cmocka_unit_test(read_only_objects_stay_so),
#endif
    };
    return test_run(tests);
}
