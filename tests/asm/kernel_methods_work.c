// The kernel of the assembler, run: primitives and their fallbacks, error codes, unwinding, become:.
#include "tests/support.h"

// Install a method without arguments on Object; emit writes its instructions.
static void object_method(WorkerVm *vm, const char *selector, uint32_t temps, void (*emit)(WorkerVm *, Asm *)) {
    Asm *a = pn_asm(vm, 0, temps);
    emit(vm, a);
    pn_asm_install(a, pn_asm_class_named(vm, "Object"), selector);
}

static void integers_go_on_as_large_ones(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Ref large = test_send(vm, ref_from_int(PN_INT_MAX), "+", ref_from_int(1));
    assert_false(ref_is_immediate(large));
    Root kept;
    pn_root_push(vm, &kept, large);
    assert_int_equal(test_send_int(vm, kept.ref, "-", ref_from_int(1)), PN_INT_MAX);
    assert_true(ref_same(test_send(vm, ref_from_int(1), "<", kept.ref), vm_true(vm)));
    assert_true(ref_same(test_send(vm, ref_from_int(1), "=", pn_symbol_z("one")), vm_false(vm)));
    pn_root_pop(vm, &kept);
    assert_int_equal(test_send_int(vm, ref_from_int(-7), "\\\\", ref_from_int(2)), 1);
    pn_worker_free(vm);
}

static void failing_primitives_end_the_process_or_answer_a_code(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Root array;
    pn_root_push(vm, &array, test_send(vm, ref_of(test_global(vm, "Array")), "new:", ref_from_int(3)));
    assert_true(ref_same(test_send(vm, array.ref, "at:put:", ref_from_int(2), ref_from_int(5)), ref_from_int(5)));
    assert_int_equal(test_send_int(vm, array.ref, "at:", ref_from_int(2)), 5);
    assert_int_equal(test_send_int(vm, array.ref, "size"), 3);
    Ref code = test_send(vm, array.ref, "tryAt:", ref_from_int(4));
    assert_true(ref_same(code, pn_symbol_z("bad index")) || ref_same(code, ref_from_int(PN_PRIM_INDEX)));
    const char *text = test_send_failing(vm, array.ref, "at:", ref_from_int(4));
    test_check(strstr(text, "primitiveFailed") != NULL, "the failure is: %s", text);
    pn_root_pop(vm, &array);
    pn_worker_free(vm);
}

// | trace | trace := Array new: 1. [3] ensure: [trace at: 1 put: 4]. ^(trace at: 1) + ...: 34
static void emit_ensure(WorkerVm *vm, Asm *a) {
    (void)vm;
    enum { VECTOR };
    pn_asm_push_array(a, 1, false);
    pn_asm_store_temp(a, VECTOR, true);
    Asm *body = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_int(body, 30);
    pn_asm_block_return(body);
    uint32_t body_literal = pn_asm_block_end(body);
    Asm *handler = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_int(handler, 4);
    pn_asm_store_vector_temp(handler, 0, 0, false);
    pn_asm_block_return(handler);
    uint32_t handler_literal = pn_asm_block_end(handler);
    pn_asm_push_closure(a, body_literal, 0, true, false);
    pn_asm_push_temp(a, VECTOR);
    pn_asm_push_closure(a, handler_literal, 1, true, false);
    pn_asm_send(a, "ensure:", 1);
    pn_asm_push_vector_temp(a, 0, VECTOR);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
}

// leaveIn: vector: [^30] ensure/ifCurtailed: [vector at: 1 put: 4]. ^99
static void install_leave(WorkerVm *vm, const char *selector, const char *marked) {
    Asm *a = pn_asm(vm, 1, 0);
    Asm *body = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_int(body, 30);
    pn_asm_return_top(body);
    uint32_t body_literal = pn_asm_block_end(body);
    Asm *handler = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_int(handler, 4);
    pn_asm_store_vector_temp(handler, 0, 0, false);
    pn_asm_block_return(handler);
    uint32_t handler_literal = pn_asm_block_end(handler);
    pn_asm_push_closure(a, body_literal, 0, true, false);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, handler_literal, 1, true, false);
    pn_asm_send(a, marked, 1);
    pn_asm_pop(a);
    pn_asm_push_int(a, 99);
    pn_asm_return_top(a);
    pn_asm_install(a, pn_asm_class_named(vm, "Object"), selector);
}

// ^(self <selector> vector) + (vector at: 1)
static void install_leave_caller(WorkerVm *vm, const char *selector, const char *callee) {
    Asm *a = pn_asm(vm, 0, 1);
    pn_asm_push_array(a, 1, false);
    pn_asm_store_temp(a, 0, true);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, callee, 1);
    pn_asm_push_vector_temp(a, 0, 0);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, pn_asm_class_named(vm, "Object"), selector);
}

static void unwinding_runs_handlers(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    object_method(vm, "ensureNormally", 1, emit_ensure);
    assert_int_equal(test_send_int(vm, vm_nil(vm), "ensureNormally"), 34);
    install_leave(vm, "leaveEnsured:", "ensure:");
    install_leave_caller(vm, "leaveEnsured", "leaveEnsured:");
    assert_int_equal(test_send_int(vm, vm_nil(vm), "leaveEnsured"), 34);
    install_leave(vm, "leaveCurtailed:", "ifCurtailed:");
    install_leave_caller(vm, "leaveCurtailed", "leaveCurtailed:");
    assert_int_equal(test_send_int(vm, vm_nil(vm), "leaveCurtailed"), 34);
    test_verify(vm);
    pn_worker_free(vm);
}

static void become_swaps_identities(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Root one, two;
    Oop point = pn_asm_class_named(vm, "Point");
    pn_root_push(vm, &one, ref_of(pn_asm_instance(vm, point)));
    pn_root_push(vm, &two, ref_of(pn_asm_instance(vm, point)));
    test_send(vm, one.ref, "instVarAt:put:", ref_from_int(1), ref_from_int(11));
    test_send(vm, two.ref, "instVarAt:put:", ref_from_int(1), ref_from_int(22));
    test_send(vm, one.ref, "become:", two.ref);
    assert_int_equal(test_send_int(vm, one.ref, "x"), 22);
    assert_int_equal(test_send_int(vm, two.ref, "x"), 11);
    test_send(vm, one.ref, "becomeForward:", two.ref);
    assert_int_equal(test_send_int(vm, one.ref, "x"), 11);
    assert_true(ref_same(test_send(vm, one.ref, "==", two.ref), vm_true(vm)));
    pn_root_pop(vm, &two);
    pn_root_pop(vm, &one);
    test_verify(vm);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_go_on_as_large_ones),
        cmocka_unit_test(failing_primitives_end_the_process_or_answer_a_code),
        cmocka_unit_test(unwinding_runs_handlers),
        cmocka_unit_test(become_swaps_identities),
    };
    return test_run(tests);
}
