// The assembler makes the bytes of every worked encoding of the Sista V1 reference, and shortest forms everywhere.
#include "tests/support.h"

#define OWNER(vm) pn_asm_class_named(vm, "Object")

static const uint8_t *bytecodes_of(Oop code, size_t *count) {
    size_t first = 8 * (code_header_literals(ref_int(oop_slot(code, 0))) + (size_t)1);
    *count = oop_byte_count(code) - first;
    return oop_bytes(code) + first;
}

static void check_bytes(Oop code, const uint8_t *expected, size_t expected_count) {
    size_t count;
    const uint8_t *bytes = bytecodes_of(code, &count);
    for (size_t i = 0; i < expected_count && i < count; i++)
        test_check(bytes[i] == expected[i], "byte %zu is %02X, not %02X", i, bytes[i], expected[i]);
    assert_int_equal(count, expected_count);
}
// Finish the method; its bytecodes are exactly these.
#define CHECK_METHOD(a, ...)                                                                                           \
    do {                                                                                                               \
        const uint8_t expected[] = {__VA_ARGS__};                                                                      \
        check_bytes(pn_asm_method(a, OWNER(vm), "encoded"), expected, sizeof expected);                                \
    } while (0)

static void primitives(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 1, 1); // at: i <primitive: 60 error: ec> ^ec
    pn_asm_primitive_error(a, 60, 1);
    pn_asm_push_temp(a, 1);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0xF8, 0x3C, 0x00, 0xF5, 0x01, 0x41, 0x5C);
    a = pn_asm(vm, 0, 0); // named primitive
    pn_asm_primitive(a, 117);
    pn_asm_return_self(a);
    CHECK_METHOD(a, 0xF8, 0x75, 0x00, 0x58);
    a = pn_asm(vm, 0, 0); // quick getter
    pn_asm_primitive(a, 266);
    pn_asm_push_inst(a, 2);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0xF8, 0x0A, 0x01, 0x02, 0x5C);
    pn_worker_free(vm);
}

static void integers_and_characters(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    int64_t integers[] = {-1, 300, 0, 1, 2, 255, 256, 32767, -32768};
    for (size_t i = 0; i < PN_COUNT_OF(integers); i++) pn_asm_push_int(a, integers[i]);
    pn_asm_push_char(a, 'a');
    pn_asm_push_char(a, 955);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0xE1, 0xFF, 0xE8, 0xFF, 0xE1, 0x01, 0xE8, 0x2C, 0x50, 0x51, 0xE8, 0x02, 0xE8, 0xFF, 0xE1, 0x01,
                 0xE8, 0x00, 0xE1, 0x7F, 0xE8, 0xFF, 0xE1, 0x80, 0xE8, 0x00, 0xE9, 0x61, 0xE1, 0x03, 0xE9, 0xBB, 0x5C);
    a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, 32768);
    pn_asm_push_int(a, -32769);
    pn_asm_push_char(a, 32768);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x20, 0x21, 0x22, 0x5C);
    pn_worker_free(vm);
}

// Take count literals that no instruction uses.
static void fill_literals(Asm *a, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) assert_int_equal(pn_asm_literal(a, ref_from_int(100000 + i)), i);
}

static void sends(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    fill_literals(a, 40);
    for (int i = 0; i < 10; i++) pn_asm_push_nil(a);
    pn_asm_send(a, "a:b:c:d:e:f:g:h:i:", 9);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0xE0, 0x01, 0xE1, 0x01, 0xEA, 0x41,
                 0x5C);
    a = pn_asm(vm, 0, 0);
    for (int i = 0; i < 5; i++) pn_asm_push_self(a);
    pn_asm_send(a, "one", 0);
    pn_asm_send(a, "two:", 1);
    pn_asm_send(a, "three:four:", 2);
    pn_asm_send(a, "two:", 1);
    pn_asm_send_super(a, "one", 0);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x4C, 0x4C, 0x4C, 0x4C, 0x4C, 0x80, 0x91, 0xA2, 0x91, 0xEB, 0x00, 0x5C);
    pn_worker_free(vm);
}

static void special_sends_have_their_own_bytecodes(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    static const char *const selectors[] = {
        "+",  "-",         "<",  ">",       "<=",     ">=",  "=",       "~=",   "*",    "/",        "\\\\",
        "@",  "bitShift:", "//", "bitAnd:", "bitOr:", "at:", "at:put:", "size", "next", "nextPut:", "atEnd",
        "==", "class",     "~~", "value",   "value:", "do:", "new",     "new:", "x",    "y",
    };
    for (size_t i = 0; i < 32; i++) {
        Asm *a = pn_asm(vm, 0, 0);
        size_t arguments = test_selector_arguments(selectors[i]);
        for (size_t j = 0; j <= arguments; j++) pn_asm_push_self(a);
        pn_asm_send(a, selectors[i], (uint32_t)arguments);
        pn_asm_return_top(a);
        Oop method = pn_asm_method(a, OWNER(vm), "encoded");
        size_t count;
        const uint8_t *bytes = bytecodes_of(method, &count);
        test_check(bytes[arguments + 1] == 96 + i, "%s is %u", selectors[i], bytes[arguments + 1]);
        assert_int_equal(code_header_literals(ref_int(oop_slot(method, 0))), 2);
    }
    pn_worker_free(vm);
}

static void super_sends(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    Asm *b = pn_asm_block(a, 0, 0, 0); // a directed super send: selector literal 3, class binding literal 16
    fill_literals(b, 3);
    assert_int_equal(pn_asm_literal(b, pn_symbol_z("upward")), 3);
    for (uint32_t i = 4; i < 16; i++) pn_asm_literal(b, ref_from_int(200000 + i));
    pn_asm_push_self(b);
    pn_asm_push_global(b, pn_global(vm, "Object"));
    pn_asm_send_directed_super(b, "upward", 0);
    pn_asm_block_return(b);
    Oop binding = pn_global(vm, "Object");
    uint32_t block = pn_asm_block_end(b);
    pn_asm_push_closure(a, block, 0, true, false);
    pn_asm_return_top(a);
    Oop method = pn_asm_method(a, OWNER(vm), "encoded");
    Oop code = ref_raw(oop_slot(method, 1 + block));
    const uint8_t in_block[] = {0x4C, 0xE3, 0x10, 0xE1, 0x40, 0xEB, 0x18, 0x5E};
    check_bytes(code, in_block, sizeof in_block);
    assert_true(ref_same(oop_slot(code, 1 + 16), ref_of(binding)));
    a = pn_asm(vm, 1, 0);
    fill_literals(a, 3);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_send_super(a, "upward:", 1);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x4C, 0x40, 0xEB, 0x19, 0x5C);
    pn_worker_free(vm);
}

static void jump_back_six_bytes(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    AsmLabel again = pn_asm_label(a);
    pn_asm_bind(a, again);
    pn_asm_push_self(a);
    pn_asm_pop(a);
    pn_asm_jump(a, again);
    CHECK_METHOD(a, 0x4C, 0xD8, 0xE1, 0xFF, 0xED, 0xFA);
    pn_worker_free(vm);
}

// A block with so many copied values, as literal of a; answers its index.
static uint32_t empty_block(Asm *a, uint32_t copied) {
    Asm *b = pn_asm_block(a, 0, copied, copied);
    pn_asm_block_return_nil(b);
    return pn_asm_block_end(b);
}

static void closures_and_vectors(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 1);
    fill_literals(a, 2);
    pn_asm_push_array(a, 1, false);
    pn_asm_store_temp(a, 0, true);
    pn_asm_push_vector_temp(a, 0, 0);
    pn_asm_store_vector_temp(a, 0, 0, false);
    pn_asm_store_vector_temp(a, 0, 0, true);
    pn_asm_push_temp(a, 0);
    uint32_t block = empty_block(a, 1);
    assert_int_equal(block, 2);
    pn_asm_push_closure(a, block, 1, true, false);
    pn_asm_push_closure(a, block, 0, false, false);
    pn_asm_push_self(a);
    pn_asm_push_closure(a, block, 0, false, true);
    pn_asm_push_array(a, 3, true);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0xE7, 0x01, 0xD0, 0xFB, 0x00, 0x00, 0xFC, 0x00, 0x00, 0xFD, 0x00, 0x00, 0x40, 0xF9, 0x02, 0x01,
                 0xF9, 0x02, 0x40, 0x4C, 0xF9, 0x02, 0xC0, 0xE7, 0x83, 0x5C);
    pn_worker_free(vm);
}

static void variables_in_short_and_long_form(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 20);
    for (uint32_t i = 0; i < 16; i += 5) pn_asm_push_temp(a, i);        // 0 5 10 15
    for (uint32_t i = 7; i < 20; i += 8) pn_asm_store_temp(a, i, true); // 7 15
    pn_asm_store_temp(a, 3, false);
    pn_asm_push_inst(a, 15);
    pn_asm_push_inst(a, 16);
    pn_asm_push_inst(a, 300);
    pn_asm_store_inst(a, 7, true);
    pn_asm_store_inst(a, 8, true);
    pn_asm_store_inst(a, 300, false);
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x40, 0x45, 0x4A, 0xE5, 0x0F, 0xD7, 0xF2, 0x0F, 0xF5, 0x03, 0x0F, 0xE2, 0x10, 0xE0, 0x01, 0xE2,
                 0x2C, 0xCF, 0xF0, 0x08, 0xE0, 0x01, 0xF3, 0x2C, 0x5C);
    pn_worker_free(vm);
}

static void literals_in_short_and_long_form(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    Oop binding = pn_global(vm, "SomeGlobal");
    pn_asm_push_global(a, binding);
    pn_asm_store_global(a, binding, false);
    pn_asm_store_global(a, binding, true);
    for (uint32_t i = 1; i < 300; i++) pn_asm_literal(a, ref_from_int(100000 + i));
    pn_asm_push_literal(a, ref_from_int(100031));
    pn_asm_push_literal(a, ref_from_int(100032));
    pn_asm_push_literal(a, ref_from_int(100258));
    pn_asm_push_global(a, pn_global(vm, "OtherGlobal")); // literal 300
    pn_asm_return_top(a);
    CHECK_METHOD(a, 0x10, 0xF4, 0x00, 0xF1, 0x00, 0x3F, 0xE4, 0x20, 0xE0, 0x01, 0xE4, 0x02, 0xE0, 0x01, 0xE3, 0x2C,
                 0x5C);
    pn_worker_free(vm);
}

static void the_rest(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_self(a);
    pn_asm_push_true(a);
    pn_asm_push_false(a);
    pn_asm_push_nil(a);
    pn_asm_push_context(a);
    pn_asm_byte(a, 0xE1); // thisProcess
    pn_asm_byte(a, 0x01);
    pn_asm_push_context(a);
    pn_asm_dup(a);
    pn_asm_pop(a);
    pn_asm_return_true(a);
    CHECK_METHOD(a, 0x4C, 0x4D, 0x4E, 0x4F, 0x52, 0xE1, 0x01, 0x52, 0x53, 0xD8, 0x59);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primitives),
        cmocka_unit_test(integers_and_characters),
        cmocka_unit_test(sends),
        cmocka_unit_test(special_sends_have_their_own_bytecodes),
        cmocka_unit_test(super_sends),
        cmocka_unit_test(jump_back_six_bytes),
        cmocka_unit_test(closures_and_vectors),
        cmocka_unit_test(variables_in_short_and_long_form),
        cmocka_unit_test(literals_in_short_and_long_form),
        cmocka_unit_test(the_rest),
    };
    return test_run(tests);
}
