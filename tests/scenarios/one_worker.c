// The ways in which copy on write went wrong on paper, as far as one worker (or two that never talk) can show them.
// Each test tells its story first. All run in the copy-everything and poison modes too (make stress).
#include "tests/support.h"
#include "tests/support/programs.h"

static void set_global(WorkerVm *vm, const char *name, Oop value) {
    pn_store(vm, pn_global(vm, name), PN_BINDING_VALUE, ref_of(value));
}
static Ref global(WorkerVm *vm, const char *name) { return ref_of(test_global(vm, name)); }

static void build(WorkerVm *vm) {
    Oop object = pn_asm_class_named(vm, "Object");
    Oop config = pn_asm_class(vm, "Config", object, 2);
    program_accessors(vm, config);
    Oop wide = pn_asm_class(vm, "Wide", object, 5);
    Asm *a = pn_asm(vm, 0, 0); // Wide >> last ^its fifth slot
    pn_asm_push_inst(a, 4);
    pn_asm_return_top(a);
    pn_asm_install(a, wide, "last");
    Root one;
    pn_root_push(vm, &one, ref_of(pn_asm_instance(vm, config)));
    pn_store(vm, pn_deref(vm, one.ref), 0, ref_from_int(0));
    set_global(vm, "Setting", pn_deref(vm, one.ref));
    Oop holder = pn_new_array(vm, 2);
    pn_store(vm, holder, 0, one.ref);
    set_global(vm, "Holder", holder);
    set_global(vm, "Other", pn_asm_instance(vm, config));
    set_global(vm, "Broad", pn_asm_instance(vm, wide));
    pn_root_pop(vm, &one);
    Oop boxed = pn_new(vm, PN_CLASS_BOXED_FLOAT, PN_FMT_32, 1); // 5e-324: no immediate
    oop_bytes(boxed)[0] = 1;
    set_global(vm, "Tiny", boxed);
    Oop large = pn_new_bytes(vm, PN_CLASS_LARGE_POSITIVE, 9);
    oop_bytes(large)[8] = 1;
    set_global(vm, "Huge", large);
}

static Ref array_of(WorkerVm *vm, Ref value) {
    Root kept;
    pn_root_push(vm, &kept, value);
    Oop array = pn_new_array(vm, 1);
    oop_init_slot(array, 0, kept.ref);
    pn_root_pop(vm, &kept);
    return ref_of(array);
}
static Ref forward(WorkerVm *vm, Ref from, Ref to) {
    Root source, target;
    pn_root_push(vm, &target, to);
    pn_root_push(vm, &source, array_of(vm, from));
    target.ref = array_of(vm, target.ref);
    Ref answer = test_send(vm, source.ref, "elementsForwardIdentityTo:", target.ref);
    pn_root_pop(vm, &source);
    pn_root_pop(vm, &target);
    return answer;
}
static const char *forward_failing(WorkerVm *vm, Ref from, Ref to) {
    Root source, target;
    pn_root_push(vm, &target, to);
    pn_root_push(vm, &source, array_of(vm, from));
    target.ref = array_of(vm, target.ref);
    const char *text = test_send_failing(vm, source.ref, "elementsForwardIdentityTo:", target.ref);
    pn_root_pop(vm, &source);
    pn_root_pop(vm, &target);
    return text;
}
static void define_constant(WorkerVm *vm, const char *class_name, const char *selector, int64_t value) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, value);
    pn_asm_return_top(a);
    pn_asm_install(a, test_global(vm, class_name), selector);
}

// A1. A method that one worker adds is not understood by another on the same layer, whose caches and sites are shared.
static void methods_of_one_worker_are_not_those_of_another(void **state) {
    (void)state;
    if (!PN_COW || pn_options.poison) return; // a poisoned layer serves one worker only
    TestWorld w = test_world(build);
    WorkerVm *other = test_worker_on(w.layer);
    define_constant(w.vm, "Config", "tag", 1);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "tag"), 1);
    test_send_failing(other, global(other, "Setting"), "tag");
    define_constant(other, "Config", "tag", 2);
    assert_int_equal(test_send_int(other, global(other, "Setting"), "tag"), 2);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "tag"), 1);
    // A redefinition in the same worker is seen at once.
    define_constant(w.vm, "Config", "tag", 3);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "tag"), 3);
    test_verify(other);
    pn_worker_free(other);
    test_verify(w.vm);
    test_world_end(&w);
}

// A3. A reshaped class takes a new index; instances of the old shape keep an obsolete class of that shape on the old one.
static void a_reshaped_class_takes_a_new_index(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Oop class_object = test_global(w.vm, "Config");
    uint32_t before = oop_class_index(pn_deref(w.vm, global(w.vm, "Setting")));
    assert_int_equal(pn_store(w.vm, class_object, PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 3))),
                     PN_WRITABLE);
    Ref made = test_send(w.vm, global(w.vm, "Config"), "new");
    Oop instance = pn_deref(w.vm, made);
    assert_int_equal(oop_slot_count(instance), 3);
    assert_int_not_equal(oop_class_index(instance), before);
    assert_int_equal(pn_class_of(w.vm, instance).bits, test_global(w.vm, "Config").bits);
    Oop old = pn_deref(w.vm, global(w.vm, "Setting"));
    assert_int_equal(oop_slot_count(old), 2);
    Oop obsolete = pn_class_of(w.vm, old);
    assert_int_equal(class_format_slots(ref_int(ref_of(pn_slot(w.vm, obsolete, PN_BEHAVIOR_FORMAT)))), 2);
    test_verify(w.vm);
    test_world_end(&w);
}

// A3 over a freeze: a worker that begins on the new layer sees old instances with the class of their own shape.
static void an_obsolete_shape_is_known_to_workers_of_later_layers(void **state) {
    (void)state;
    if (!PN_COW || pn_options.poison) return;
    TestWorld w = test_world(build);
    Oop class_object = test_global(w.vm, "Config");
    Ref format = ref_from_int(pn_class_format(PN_FMT_FIXED, 3));
    assert_int_equal(pn_store(w.vm, class_object, PN_BEHAVIOR_FORMAT, format), PN_WRITABLE);
    test_send(w.vm, global(w.vm, "Config"), "new");
    Layer *first = test_freeze(w.vm), *second = test_freeze(w.vm);
    for (int i = 0; i < 2; i++) {
        WorkerVm *child = test_worker_on(i == 0 ? first : second);
        Oop old = pn_deref(child, global(child, "Setting"));
        Oop obsolete = pn_class_of(child, old);
        assert_int_equal(class_format_slots(ref_int(ref_of(pn_slot(child, obsolete, PN_BEHAVIOR_FORMAT)))), 2);
        Oop made = pn_deref(child, test_send(child, global(child, "Config"), "new"));
        assert_int_equal(oop_slot_count(made), 3);
        assert_int_equal(pn_class_of(child, made).bits, test_global(child, "Config").bits);
        test_verify(child);
        pn_worker_free(child);
    }
    pn_layer_release(second);
    pn_layer_release(first);
    test_world_end(&w);
}

// A4. A symbol is one object in the whole process, before and after freezes, in workers that share no layer.
static void a_symbol_is_one_object_everywhere(void **state) {
    (void)state;
    if (!PN_COW) return; // what a worker has thawed cannot be frozen
    TestWorld w = test_world(build);
    WorkerVm *other = PN_COW && !pn_options.poison ? test_worker_on(w.layer) : NULL;
    Ref symbol = pn_symbol_z("zorkOfScenarioA4");
    set_global(w.vm, "Setting", ref_raw(symbol));
    Layer *layer = test_freeze(w.vm);
    assert_int_equal(global(w.vm, "Setting").bits, symbol.bits);
    assert_int_equal(pn_symbol_z("zorkOfScenarioA4").bits, symbol.bits);
    if (other != NULL) {
        Layer *rival = test_freeze(other);
        assert_int_equal(pn_symbol_z("zorkOfScenarioA4").bits, symbol.bits);
        pn_layer_release(rival);
        pn_worker_free(other);
    }
    if (layer != NULL) pn_layer_release(layer);
    test_world_end(&w);
}

// A8. x: 1, freeze, x: 2, freeze: an object of the first layer still names the original and must mean the newest copy.
static void references_reach_the_newest_copy_over_two_freezes(void **state) {
    (void)state;
    if (!PN_COW) return; // what a worker has thawed cannot be frozen
    TestWorld w = test_world(build);
    Layer *layers[3] = {NULL};
    for (int i = 1; i <= 3; i++) {
        test_send(w.vm, global(w.vm, "Setting"), "x:", ref_from_int(i));
        assert_int_equal(test_send_int(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x"), i);
        test_verify(w.vm);
        layers[i - 1] = test_freeze(w.vm);
        test_verify(w.vm);
        assert_int_equal(test_send_int(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x"), i);
    }
    test_send(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x:", ref_from_int(9));
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "x"), 9);
    test_verify(w.vm);
    for (int i = 0; i < 3; i++)
        if (layers[i] != NULL) pn_layer_release(layers[i]);
    test_world_end(&w);
}

// A8. x becomeForward: y, both of a layer, then y x: 1: no chain may arise, and every reference means y's copy.
static void become_of_shared_objects_makes_no_chain(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Ref stale = oop_slot(test_global(w.vm, "Holder"), 0);
    forward(w.vm, global(w.vm, "Setting"), global(w.vm, "Other"));
    test_verify(w.vm);
    test_send(w.vm, global(w.vm, "Other"), "x:", ref_from_int(1));
    assert_int_equal(test_send_int(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x"), 1);
    if (PN_COW) assert_int_equal(pn_deref(w.vm, stale).bits, test_global(w.vm, "Other").bits);
    test_verify(w.vm);
    Layer *layer = PN_COW ? test_freeze(w.vm) : NULL;
    assert_int_equal(test_send_int(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x"), 1);
    test_verify(w.vm);
    if (layer != NULL) pn_layer_release(layer);
    test_world_end(&w);
}

// A8. x become: y as two entries x -> y, y -> x would never end.
static void two_way_become_of_shared_objects_ends(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    test_send(w.vm, global(w.vm, "Setting"), "x:", ref_from_int(10));
    test_send(w.vm, global(w.vm, "Other"), "x:", ref_from_int(20));
    Root from, to;
    pn_root_push(w.vm, &from, array_of(w.vm, global(w.vm, "Setting")));
    pn_root_push(w.vm, &to, array_of(w.vm, global(w.vm, "Other")));
    for (int i = 0; i < 2; i++) {
        test_send(w.vm, from.ref, "elementsExchangeIdentityWith:", to.ref);
        assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "x"), i == 0 ? 20 : 10);
        assert_int_equal(test_send_int(w.vm, global(w.vm, "Other"), "x"), i == 0 ? 10 : 20);
        test_verify(w.vm);
    }
    pn_root_pop(w.vm, &to);
    pn_root_pop(w.vm, &from);
    test_world_end(&w);
}

// B5. A store through the original of an object whose copy the user made read-only is refused, and copies nothing again.
static void a_store_asks_the_copy_first(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Ref stale = oop_slot(test_global(w.vm, "Holder"), 0);
    test_send(w.vm, stale, "instVarAt:put:", ref_from_int(1), ref_from_int(1));
    test_send(w.vm, stale, "setIsReadOnlyObject:", vm_true(w.vm));
    stale = oop_slot(test_global(w.vm, "Holder"), 0);
    test_send_failing(w.vm, stale, "instVarAt:put:", ref_from_int(1), ref_from_int(2));
    stale = oop_slot(test_global(w.vm, "Holder"), 0);
    assert_int_equal(test_send_int(w.vm, stale, "x"), 1);
    test_send(w.vm, stale, "setIsReadOnlyObject:", vm_false(w.vm));
    test_send(w.vm, stale, "instVarAt:put:", ref_from_int(1), ref_from_int(2));
    assert_int_equal(test_send_int(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x"), 2);
    test_verify(w.vm);
    test_world_end(&w);
}

// B6. nil, true, false, symbols, code, boxed floats and large integers are never copied, nor the source of a become:.
static void some_kinds_are_never_copied(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Oop method = pn_lookup(w.vm, test_global(w.vm, "Config"), pn_symbol_z("x"));
    Ref kinds[] = {vm_nil(w.vm),   vm_true(w.vm),        vm_false(w.vm),      pn_symbol_z("x"),
                   ref_of(method), global(w.vm, "Tiny"), global(w.vm, "Huge")};
    for (size_t i = 0; i < PN_COUNT_OF(kinds); i++) {
        Oop o = pn_deref(w.vm, kinds[i]);
        if (PN_COW) assert_int_equal(pn_make_writable(w.vm, &o), PN_READ_ONLY);
        if (PN_COW) assert_int_equal(o.bits, kinds[i].bits);
        if (PN_COW) forward_failing(w.vm, kinds[i], global(w.vm, "Other"));
    }
    test_verify(w.vm);
    test_world_end(&w);
}

// B10. a becomeForward: b; a stale temp of a is the same object as b.
static void identity_sees_through_private_forwarders(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root a, b;
    pn_root_push(w.vm, &a, test_send(w.vm, global(w.vm, "Config"), "new"));
    pn_root_push(w.vm, &b, test_send(w.vm, global(w.vm, "Config"), "new"));
    assert_int_equal(test_send(w.vm, a.ref, "==", b.ref).bits, vm_false(w.vm).bits);
    forward(w.vm, a.ref, b.ref);
    assert_int_equal(test_send(w.vm, a.ref, "==", b.ref).bits, vm_true(w.vm).bits);
    assert_int_equal(test_send(w.vm, b.ref, "==", a.ref).bits, vm_true(w.vm).bits);
    test_verify(w.vm);
    pn_root_pop(w.vm, &b);
    pn_root_pop(w.vm, &a);
    test_world_end(&w);
}

// B11. A method never runs on a receiver with fewer slots than it touches: executing it by hand and installing it are refused.
static void a_method_does_not_run_on_a_smaller_receiver(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root method;
    pn_root_push(w.vm, &method, ref_of(pn_lookup(w.vm, test_global(w.vm, "Wide"), pn_symbol_z("last"))));
    test_send_failing(w.vm, global(w.vm, "Setting"), "executeMethod:", method.ref);
    test_send(w.vm, global(w.vm, "Broad"), "executeMethod:", method.ref);
    PnStatus status = pn_method_install(w.vm, test_global(w.vm, "Config"), pn_symbol_z("last"),
                                        pn_deref(w.vm, method.ref));
    assert_int_not_equal(status, PN_OK);
    pn_root_pop(w.vm, &method);
    test_verify(w.vm);
    test_world_end(&w);
}

// B15. Copying a class for another reason than its methods keeps the worker in its layer's world; writing a dictionary does not.
static void only_a_change_of_behaviour_leaves_the_world(void **state) {
    (void)state;
    if (!PN_COW) return;
    TestWorld w = test_world(build);
    World *shared = w.vm->world;
    assert_ptr_equal(shared->layer, w.layer);
    Oop class_object = test_global(w.vm, "Config");
    assert_int_equal(pn_store(w.vm, class_object, PN_CLASS_SUBCLASSES, vm_nil(w.vm)), PN_WRITABLE);
    assert_ptr_equal(w.vm->world, shared);
    define_constant(w.vm, "Config", "tag", 1);
    assert_ptr_not_equal(w.vm->world, shared);
    World *own = w.vm->world;
    uint64_t id = own->id;
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "tag"), 1);
    define_constant(w.vm, "Config", "tag", 2);
    assert_int_not_equal(w.vm->world->id, id);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "tag"), 2);
    test_verify(w.vm);
    test_world_end(&w);
}

// C1. A private object that the user made read-only has the same class key as a shared one: its sends work all the same.
static void private_read_only_receivers_share_the_entries_of_shared_ones(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root mine;
    pn_root_push(w.vm, &mine, test_send(w.vm, global(w.vm, "Config"), "new"));
    test_send(w.vm, mine.ref, "x:", ref_from_int(8));
    test_send(w.vm, mine.ref, "setIsReadOnlyObject:", vm_true(w.vm));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(test_send_int(w.vm, mine.ref, "x"), 8);
        assert_int_equal(test_send_int(w.vm, global(w.vm, "Setting"), "x"), 0);
    }
    pn_root_pop(w.vm, &mine);
    test_verify(w.vm);
    test_world_end(&w);
}

// C3. Superseded originals stay strong roots: what only a copy's original names is still there after full collections.
static void copies_survive_full_collections(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    test_send(w.vm, global(w.vm, "Setting"), "x:", array_of(w.vm, ref_from_int(77)));
    pn_collect_full(w.vm);
    pn_collect_full(w.vm);
    Ref kept = test_send(w.vm, oop_slot(test_global(w.vm, "Holder"), 0), "x");
    assert_int_equal(oop_slot(pn_deref(w.vm, kept), 0).bits, ref_from_int(77).bits);
    test_verify(w.vm);
    test_world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_of_one_worker_are_not_those_of_another),
        cmocka_unit_test(a_reshaped_class_takes_a_new_index),
        cmocka_unit_test(an_obsolete_shape_is_known_to_workers_of_later_layers),
        cmocka_unit_test(a_symbol_is_one_object_everywhere),
        cmocka_unit_test(references_reach_the_newest_copy_over_two_freezes),
        cmocka_unit_test(become_of_shared_objects_makes_no_chain),
        cmocka_unit_test(two_way_become_of_shared_objects_ends),
        cmocka_unit_test(a_store_asks_the_copy_first),
        cmocka_unit_test(some_kinds_are_never_copied),
        cmocka_unit_test(identity_sees_through_private_forwarders),
        cmocka_unit_test(a_method_does_not_run_on_a_smaller_receiver),
        cmocka_unit_test(only_a_change_of_behaviour_leaves_the_world),
        cmocka_unit_test(private_read_only_receivers_share_the_entries_of_shared_ones),
        cmocka_unit_test(copies_survive_full_collections),
    };
    return test_run(tests);
}
