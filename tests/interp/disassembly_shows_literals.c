// A whole method as text: pcs as contexts count them, hex, literals, bindings, blocks indented below their closure.
#include "tests/support.h"

#include <stdio.h>

static void check_text(WorkerVm *vm, Oop code, const char *expected) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    pn_disassemble(vm, code, out);
    fclose(out);
    bool equal = strcmp(text, expected) == 0;
    if (!equal) print_error("is:\n%s\nshould be:\n%s\n", text, expected);
    free(text); // open_memstream's
    assert_true(equal);
}

static void method_with_a_block(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 1, 0);
    pn_asm_push_int(a, 5);
    pn_asm_push_literal(a, ref_of(pn_asm_string(vm, "abc")));
    pn_asm_push_global(a, pn_global(vm, "Object"));
    AsmLabel end = pn_asm_label(a);
    pn_asm_jump(a, end);
    pn_asm_pop(a);
    pn_asm_bind(a, end);
    Asm *b = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_temp(b, 0);
    pn_asm_send(b, "grow", 0);
    pn_asm_block_return(b);
    uint32_t block = pn_asm_block_end(b);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, block, 1, true, false);
    pn_asm_send(a, "grow:by:", 2);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    Oop method = pn_asm_method(a, pn_asm_class_named(vm, "Object"), "test:");
    check_text(vm, method,
               "  57 <E8 05> pushInteger: 5\n"
               "  59 <20> pushLiteral: 0  'abc'\n"
               "  60 <11> pushLiteralVariable: 1  Object\n"
               "  61 <B0> jumpTo: 63\n"
               "  62 <D8> pop\n"
               "  63 <40> pushTemp: 0\n"
               "  64 <F9 02 01> pushClosure: 2 copied: 1  a CompiledBlock\n"
               "      25 <40> pushTemp: 0\n"
               "      26 <80> send: 0 arguments: 0  #grow\n"
               "      27 <5E> blockReturnTop\n"
               "  67 <A3> send: 3 arguments: 2  #grow:by:\n"
               "  68 <60> send: +\n"
               "  69 <5C> returnTop\n");
    pn_worker_free(vm);
}

static Oop array_of(WorkerVm *vm, size_t count, const Ref *values) {
    Oop array = pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, count);
    for (size_t i = 0; i < count; i++) pn_store(vm, array, i, values[i]);
    return array;
}

static void literals_of_every_kind(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Ref small_float;
    assert_true(ref_from_float(0.5, &small_float));
    Oop class_object = pn_asm_class_named(vm, "Point");
    Ref values[] = {vm_nil(vm), vm_true(vm), ref_from_int(-3), ref_from_char('a'), ref_from_char(955), small_float};
    Oop nested = array_of(vm, PN_COUNT_OF(values), values);
    Ref outer[] = {ref_of(nested), pn_symbol_z("at:put:")};
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_literal(a, ref_of(array_of(vm, 2, outer)));
    pn_asm_push_literal(a, ref_of(class_object));
    pn_asm_push_literal(a, ref_of(pn_asm_metaclass(vm, class_object)));
    pn_asm_push_literal(a, ref_from_int(PN_INT_MIN));
    pn_asm_push_literal(a, ref_of(pn_global(vm, "Point")));
    pn_asm_return_top(a);
    Oop method = pn_asm_method(a, class_object, "test");
    check_text(vm, method,
               "  65 <20> pushLiteral: 0  #(#(nil true -3 $a (Character value: 955) 0.5) #at:put:)\n"
               "  66 <21> pushLiteral: 1  Point\n"
               "  67 <22> pushLiteral: 2  Point class\n"
               "  68 <23> pushLiteral: 3  -1152921504606846976\n"
               "  69 <24> pushLiteral: 4  a Association\n"
               "  70 <5C> returnTop\n");
    pn_worker_free(vm);
}

// A code object with any bytecodes.
static Oop code_of(WorkerVm *vm, int64_t header, const uint8_t *bytes, size_t count) {
    Oop code = pn_old_new(vm, PN_CLASS_COMPILED_METHOD, pn_format_for_code(8 + count), 1 + pn_slots_for_bytes(count));
    oop_init_slot(code, 0, ref_from_int(header));
    memcpy(oop_bytes(code) + 8, bytes, count);
    return code;
}

static void damaged_code_is_shown_as_such(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    const uint8_t bytes[] = {0x4C, 0x25, 0xF8, 0x01};
    check_text(vm, code_of(vm, PN_CODE_HEADER_SISTA, bytes, sizeof bytes),
               "   9 <4C> pushSelf\n"
               "  10 <25> pushLiteral: 5\n"
               "  11 <F8 01> (incomplete)\n");
    check_text(vm, code_of(vm, PN_CODE_HEADER_SISTA | 9, bytes, sizeof bytes), "(damaged code)\n");
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(method_with_a_block),
        cmocka_unit_test(literals_of_every_kind),
        cmocka_unit_test(damaged_code_is_shown_as_such),
    };
    return test_run(tests);
}
