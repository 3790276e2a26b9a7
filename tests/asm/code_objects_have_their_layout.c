// Header word, literals and links of the code objects that the assembler makes; literals are read-only.
#include "tests/support.h"

static int64_t header_of(Oop code) { return ref_int(oop_slot(code, 0)); }
static Ref last_literal(Oop code) { return oop_slot(code, code_header_literals(header_of(code))); }

static void header_is_that_of_the_reference(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 1, 1); // 1 argument, 2 temps in all, 3 literals, primitive, 12 bytes of code
    pn_asm_primitive_error(a, 60, 1);
    pn_asm_push_literal(a, ref_from_int(1000000));
    pn_asm_pop(a);
    for (int i = 0; i < 4; i++) pn_asm_byte(a, 0x5F); // nop
    pn_asm_return_self(a);
    Oop method = pn_asm_method(a, pn_asm_class_named(vm, "Object"), "at:");
    assert_int_equal(oop_slot(method, 0).bits, UINT64_C(0x8000000008480019));
    assert_int_equal(oop_byte_count(method), 44);
    assert_int_equal(oop_slot_count(method), 6);
    assert_int_equal(oop_format(method), PN_FMT_CODE + 4);
    assert_int_equal(oop_class_index(method), PN_CLASS_COMPILED_METHOD);
    assert_true(code_header_is_sista(header_of(method)));
    pn_worker_free(vm);
}

static void method_ends_with_selector_and_class_binding(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Oop class_object = pn_asm_class(vm, "Tree", pn_asm_class_named(vm, "Object"), 2);
    Oop owners[2] = {class_object, pn_asm_metaclass(vm, class_object)};
    for (int i = 0; i < 2; i++) {
        Asm *a = pn_asm(vm, 0, 0);
        pn_asm_return_self(a);
        Oop method = pn_asm_install(a, owners[i], "grow");
        uint32_t literals = code_header_literals(header_of(method));
        assert_int_equal(literals, 2);
        assert_true(ref_same(oop_slot(method, literals - 1), pn_symbol_z("grow")));
        Oop binding = pn_deref(vm, last_literal(method));
        assert_int_equal(oop_class_index(binding), PN_CLASS_ASSOCIATION);
        assert_true(ref_same(oop_slot(binding, PN_BINDING_VALUE), ref_of(owners[i])));
        assert_true(ref_same(ref_of(pn_lookup(vm, owners[i], pn_symbol_z("grow"))), ref_of(method)));
    }
    Oop global = pn_global(vm, "Tree");
    assert_true(ref_same(oop_slot(global, PN_BINDING_KEY), pn_symbol_z("Tree")));
    test_verify(vm);
    pn_worker_free(vm);
}

static void blocks_end_with_the_code_around_them(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 1);
    Asm *outer = pn_asm_block(a, 2, 1, 1);
    Asm *inner = pn_asm_block(outer, 0, 0, 0);
    pn_asm_block_return_nil(inner);
    uint32_t inner_literal = pn_asm_block_end(inner);
    pn_asm_push_closure(outer, inner_literal, 0, true, false);
    pn_asm_block_return(outer);
    uint32_t outer_literal = pn_asm_block_end(outer);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, outer_literal, 1, true, false);
    pn_asm_return_top(a);
    Oop method = pn_asm_method(a, pn_asm_class_named(vm, "Object"), "blocks");
    Oop outer_code = ref_raw(oop_slot(method, 1 + outer_literal));
    Oop inner_code = ref_raw(oop_slot(outer_code, 1 + inner_literal));
    assert_int_equal(oop_class_index(outer_code), PN_CLASS_COMPILED_BLOCK);
    assert_true(ref_same(last_literal(outer_code), ref_of(method)));
    assert_true(ref_same(last_literal(inner_code), ref_of(outer_code)));
    assert_int_equal(code_header_args(header_of(outer_code)), 2);
    assert_int_equal(code_header_temps(header_of(outer_code)), 3); // two arguments and the copied value
    pn_worker_free(vm);
}

static void large_frames_have_their_bit(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    for (uint32_t depth = 14; depth <= 16; depth++) {
        Asm *a = pn_asm(vm, 1, 0);
        for (uint32_t i = 0; i < depth; i++) pn_asm_push_self(a);
        pn_asm_return_top(a);
        Oop method = pn_asm_method(a, pn_asm_class_named(vm, "Object"), "deep:");
        assert_int_equal(code_header_is_large(header_of(method)), depth + 1 > 16);
    }
    pn_worker_free(vm);
}

static Oop array_of(WorkerVm *vm, Ref one, Ref two) {
    Oop array = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, 2);
    pn_store(vm, array, 0, one);
    pn_store(vm, array, 1, two);
    return array;
}

static void literals_are_read_only_all_the_way_down(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Oop string = pn_asm_string(vm, "leaf"), object = pn_asm_instance(vm, pn_asm_class_named(vm, "Object"));
    Oop inner = array_of(vm, ref_of(string), ref_of(object));
    Oop array = array_of(vm, ref_of(inner), ref_from_int(3));
    pn_store(vm, inner, 1, ref_of(array)); // a cycle must not hurt
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_literal(a, ref_of(array));
    pn_asm_push_global(a, pn_global(vm, "Anything"));
    pn_asm_return_top(a);
    pn_asm_method(a, pn_asm_class_named(vm, "Object"), "literal");
    assert_true(hdr_is_immutable(oop_header(array)));
    assert_true(hdr_is_immutable(oop_header(inner)));
    assert_true(hdr_is_immutable(oop_header(string)));
    assert_true(pn_is_read_only(vm, array));
    assert_false(hdr_is_immutable(oop_header(object)));
    assert_false(hdr_is_immutable(oop_header(pn_global(vm, "Anything"))));
    pn_worker_free(vm);
}

static void equal_literals_are_shared(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    assert_int_equal(pn_asm_literal(a, ref_from_int(70000)), 0);
    assert_int_equal(pn_asm_literal(a, ref_from_char('a')), 1);
    assert_int_equal(pn_asm_literal(a, ref_from_int(70000)), 0);
    pn_asm_return_self(a);
    pn_asm_method(a, pn_asm_class_named(vm, "Object"), "literals");
    pn_worker_free(vm);
}

// ---- The kernel's own methods ------------------------------------------------------------------------

static void check_code(Oop code) {
    int64_t header = header_of(code);
    size_t first = 8 * (code_header_literals(header) + (size_t)1);
    PnError error = {0};
    int deepest = pn_bytecodes_check(oop_bytes(code) + first, oop_byte_count(code) - first,
                                     code_header_literals(header), code_header_temps(header), &error);
    test_check(deepest >= 0, "%s", error.text);
    assert_int_equal(code_header_is_large(header), code_header_temps(header) + (uint32_t)deepest > 16);
    assert_int_equal(code_header_has_primitive(header), oop_bytes(code)[first] == 0xF8);
}

static size_t check_methods_of(WorkerVm *vm, const char *class_name) {
    Oop dictionary = pn_slot(vm, pn_asm_class_named(vm, class_name), PN_BEHAVIOR_METHOD_DICT);
    Oop methods = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    size_t checked = 0;
    for (size_t i = 0; i < oop_slot_count(methods); i++) {
        Oop method = pn_slot(vm, methods, i);
        if (oop_is_immediate(method) || !oop_is_code(method)) continue;
        check_code(method);
        checked++;
    }
    return checked;
}

static void kernel_methods_pass_the_checker(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    static const char *const names[] = {"ProtoObject", "Object",           "Behavior", "SmallInteger", "BoxedFloat64",
                                        "Context",     "FullBlockClosure", "Array",    "Point"};
    for (size_t i = 0; i < PN_COUNT_OF(names); i++)
        test_check(check_methods_of(vm, names[i]) > 0, "%s has no methods", names[i]);
    test_verify(vm);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_is_that_of_the_reference),
        cmocka_unit_test(method_ends_with_selector_and_class_binding),
        cmocka_unit_test(blocks_end_with_the_code_around_them),
        cmocka_unit_test(large_frames_have_their_bit),
        cmocka_unit_test(literals_are_read_only_all_the_way_down),
        cmocka_unit_test(equal_literals_are_shared),
        cmocka_unit_test(kernel_methods_pass_the_checker),
    };
    return test_run(tests);
}
