// The object world made from nothing is the one the machine expects: classes and metaclasses, special objects, globals,
// method dictionaries.
#include "tests/support.h"

static Oop slot(WorkerVm *vm, Oop o, size_t index) { return pn_slot(vm, o, index); }
static Oop superclass_of(WorkerVm *vm, Oop o) { return slot(vm, o, PN_BEHAVIOR_SUPERCLASS); }
static Oop special(WorkerVm *vm, size_t index) { return slot(vm, pn_deref(vm, vm->special_objects), index); }
static void assert_same(Oop a, Oop b) { assert_int_equal(a.bits, b.bits); }

static void metaclasses_close_the_loop(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Oop object = test_global(vm, "Object"), class_class = test_global(vm, "Class");
    Oop metaclass = test_global(vm, "Metaclass");
    Oop object_class = pn_class_of(vm, object);
    assert_same(slot(vm, object_class, PN_METACLASS_THIS_CLASS), object);
    assert_same(pn_class_of(vm, object_class), metaclass);
    assert_same(pn_class_of(vm, pn_class_of(vm, metaclass)), metaclass);
    assert_same(superclass_of(vm, superclass_of(vm, object_class)), class_class); // over ProtoObject class
    assert_same(superclass_of(vm, superclass_of(vm, object)), ref_raw(vm->nil));  // over ProtoObject
    assert_same(slot(vm, object, PN_CLASS_NAME), ref_raw(pn_symbol_z("Object")));
    test_verify(vm);
    pn_worker_free(vm);
}

static void immediates_and_constants_have_their_classes(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Ref small_float = PN_NO_REF;
    assert_true(ref_from_float(1.5, &small_float));
    assert_same(pn_class_of(vm, ref_raw(ref_from_int(3))), test_global(vm, "SmallInteger"));
    assert_same(pn_class_of(vm, ref_raw(ref_from_char('a'))), test_global(vm, "Character"));
    assert_same(pn_class_of(vm, ref_raw(small_float)), test_global(vm, "SmallFloat64"));
    assert_same(pn_class_of(vm, ref_raw(vm_nil(vm))), test_global(vm, "UndefinedObject"));
    assert_same(pn_class_of(vm, ref_raw(vm_false(vm))), test_global(vm, "False"));
    assert_same(pn_class_of(vm, ref_raw(vm_true(vm))), test_global(vm, "True"));
    assert_same(pn_class_of(vm, ref_raw(pn_symbol_z("foo"))), test_global(vm, "ByteSymbol"));
    pn_worker_free(vm);
}

static void special_objects_are_in_their_places(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    assert_int_equal(oop_slot_count(pn_deref(vm, vm->special_objects)), PN_SPECIAL_COUNT);
    assert_same(special(vm, PN_SPECIAL_TRUE), ref_raw(vm_true(vm)));
    assert_same(special(vm, 7), test_global(vm, "Array"));
    assert_same(special(vm, PN_SPECIAL_CANNOT_RETURN), ref_raw(pn_symbol_z("cannotReturn:")));
    Oop selectors = special(vm, PN_SPECIAL_SELECTORS);
    assert_int_equal(oop_slot_count(selectors), 64);
    assert_same(slot(vm, selectors, 2 * 17), ref_raw(pn_symbol_z("at:put:")));
    assert_int_equal(ref_int(oop_slot(selectors, 2 * 17 + 1)), 2);
    assert_same(slot(vm, special(vm, PN_SPECIAL_ERROR_TABLE), 3), ref_raw(pn_symbol_z("bad index")));
    assert_same(special(vm, 8), test_global(vm, "Smalltalk"));
    assert_same(pn_class_of(vm, special(vm, 8)), test_global(vm, "SystemDictionary"));
    pn_worker_free(vm);
}

static void globals_are_bound_once(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    char name[32];
    for (int64_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "Global%lld", (long long)i);
        test_set_global(vm, name, ref_from_int(i));
    }
    for (int64_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "Global%lld", (long long)i);
        assert_int_equal(ref_int(ref_of(test_global(vm, name))), i);
    }
    assert_same(pn_global(vm, "Global7"), pn_global(vm, "Global7"));
    test_verify(vm);
    pn_worker_free(vm);
}

static Oop answering(WorkerVm *vm, Oop class_object, const char *selector, int64_t n) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, n);
    pn_asm_return_top(a);
    return pn_asm_method(a, class_object, selector);
}

static void methods_are_found_where_they_were_installed(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Oop object = test_global(vm, "Object");
    Oop methods[100];
    char selector[32];
    for (int i = 0; i < 100; i++) {
        snprintf(selector, sizeof selector, "method%d", i);
        methods[i] = answering(vm, object, selector, i);
        assert_int_equal(pn_method_install(vm, object, pn_symbol_z(selector), methods[i]), PN_OK);
    }
    Oop dictionary = slot(vm, object, PN_BEHAVIOR_METHOD_DICT);
    size_t capacity = oop_slot_count(dictionary) - PN_METHOD_DICT_FIRST_KEY;
    assert_int_equal(capacity & (capacity - 1), 0);
    assert_true(4 * 100 <= 3 * capacity);
    assert_int_equal(ref_int(oop_slot(dictionary, PN_METHOD_DICT_TALLY)), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(selector, sizeof selector, "method%d", i);
        assert_same(pn_method_dict_at(vm, dictionary, pn_symbol_z(selector)), methods[i]);
    }
    assert_true(oop_is_none(pn_method_dict_at(vm, dictionary, pn_symbol_z("absent"))));
    Oop newer = answering(vm, object, "method5", 500);
    assert_int_equal(pn_method_install(vm, object, pn_symbol_z("method5"), newer), PN_OK);
    assert_same(pn_method_dict_at(vm, dictionary, pn_symbol_z("method5")), newer);
    assert_int_equal(ref_int(oop_slot(dictionary, PN_METHOD_DICT_TALLY)), 100);
    pn_worker_free(vm);
}

// H9
static void method_that_touches_too_much_is_refused(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_inst(a, 2);
    pn_asm_return_top(a);
    Oop point = test_global(vm, "Point");
    Oop method = pn_asm_method(a, point, "third");
    assert_int_equal(pn_method_install(vm, point, pn_symbol_z("third"), method), PN_REFUSED);
    assert_int_equal(pn_method_install(vm, test_global(vm, "Message"), pn_symbol_z("third"), method), PN_OK);
    pn_worker_free(vm);
}

#if PN_COW

// In poison mode what one worker has copied is gone for all others on the layer.
static void classes_of_layers_can_be_extended(void **state) {
    (void)state;
    if (pn_options.poison) return;
    TestWorld w = test_world(NULL);
    WorkerVm *other = test_worker_on(w.layer);
    Oop object = test_global(w.vm, "Object");
    Ref selector = pn_symbol_z("aNewMethod");
    assert_int_equal(pn_method_install(w.vm, object, selector, answering(w.vm, object, "aNewMethod", 9)), PN_OK);
    assert_int_equal(test_send_int(w.vm, vm_nil(w.vm), "aNewMethod"), 9);
    test_send_failing(other, vm_nil(other), "aNewMethod");
    Oop mine = pn_boot_class(w.vm, "Mine", test_global(w.vm, "Object"), PN_FMT_FIXED, 1, 0);
    assert_same(test_global(w.vm, "Mine"), mine);
    assert_same(ref_raw(oop_slot(pn_global(other, "Mine"), PN_BINDING_VALUE)), ref_raw(other->nil));
    test_verify(w.vm);
    test_verify(other);
    pn_worker_free(other);
    test_world_end(&w);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metaclasses_close_the_loop),
        cmocka_unit_test(immediates_and_constants_have_their_classes),
        cmocka_unit_test(special_objects_are_in_their_places),
        cmocka_unit_test(globals_are_bound_once),
        cmocka_unit_test(methods_are_found_where_they_were_installed),
        cmocka_unit_test(method_that_touches_too_much_is_refused),
#if PN_COW
        cmocka_unit_test(classes_of_layers_can_be_extended),
#endif
    };
    return test_run(tests);
}
