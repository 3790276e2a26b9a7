// Primitives that look into contexts see the frame behind one while it runs, and its copy stays when the frame is gone.
#include "interp/loop_int.h"
#include "tests/interp/prims.h"

static void begin_method(WorkerVm *vm, Asm **a, uint32_t arguments) { *a = pn_asm(vm, arguments, 0); }
static void end_method(WorkerVm *vm, Asm *a, const char *selector) {
    pn_asm_return_top(a);
    pn_asm_install(a, test_global(vm, "Caller"), selector);
}

// selector: argument  ^thisContext message: k
static void ask_context(WorkerVm *vm, const char *selector, const char *message, int64_t k) {
    Asm *a;
    begin_method(vm, &a, 1);
    pn_asm_push_context(a);
    if (test_selector_arguments(message) == 1) pn_asm_push_int(a, k);
    pn_asm_send(a, message, (uint32_t)test_selector_arguments(message));
    end_method(vm, a, selector);
}

// selector: argument  ^thisContext message: k put: argument
static void tell_context(WorkerVm *vm, const char *selector, const char *message, int64_t k) {
    Asm *a;
    begin_method(vm, &a, 1);
    pn_asm_push_context(a);
    pn_asm_push_int(a, k);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, message, 2);
    end_method(vm, a, selector);
}

static Ref caller;

static int begin(void **state) {
    WorkerVm *vm = test_boot_kernel();
    pn_asm_class(vm, "Caller", test_global(vm, "Object"), 3);
    ask_context(vm, "copy:", "shallowCopy", 0);
    ask_context(vm, "size:", "basicSize", 0);
    ask_context(vm, "element:", "basicAt:", 1);
    ask_context(vm, "beyond:", "tryBasicAt:", 57);
    ask_context(vm, "receiver:", "instVarAt:", PN_CONTEXT_RECEIVER + 1);
    ask_context(vm, "sender:", "instVarAt:", PN_CONTEXT_SENDER + 1);
    ask_context(vm, "slot:", "slotAt:", PN_CONTEXT_FIRST_TEMP + 1);
    ask_context(vm, "beyondSlot:", "trySlotAt:", PN_CONTEXT_FIRST_TEMP + 57);
    tell_context(vm, "put:", "tryBasicAt:put:", 1);
    tell_context(vm, "putSender:", "tryInstVarAt:put:", PN_CONTEXT_SENDER + 1);
    Asm *a; // putTemp: argument  thisContext slotAt: 7 put: 99. ^argument
    begin_method(vm, &a, 1);
    pn_asm_push_context(a);
    pn_asm_push_int(a, PN_CONTEXT_FIRST_TEMP + 1);
    pn_asm_push_int(a, 99);
    pn_asm_send(a, "slotAt:put:", 2);
    pn_asm_pop(a);
    pn_asm_push_temp(a, 0);
    end_method(vm, a, "putTemp:");
    begin_method(vm, &a, 1); // read-only: ^thisContext trySetIsReadOnlyObject: true
    pn_asm_push_context(a);
    pn_asm_push_true(a);
    pn_asm_send(a, "trySetIsReadOnlyObject:", 1);
    end_method(vm, a, "readOnly:");
    begin_method(vm, &a, 1); // become: ^{thisContext} tryElementsForwardIdentityTo: argument
    pn_asm_push_context(a);
    pn_asm_push_array(a, 1, true);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "tryElementsForwardIdentityTo:", 1);
    end_method(vm, a, "become:");
    begin_method(vm, &a, 1); // adopt: class  class tryAdoptInstance: self. ^third slot
    pn_asm_push_temp(a, 0);
    pn_asm_push_self(a);
    pn_asm_send(a, "adoptInstance:", 1);
    pn_asm_pop(a);
    pn_asm_push_inst(a, 2);
    end_method(vm, a, "adopt:");
    caller = prim_instance(vm, "Caller");
    test_set_global(vm, "TheCaller", caller);
    *state = vm;
    return 0;
}
static int end(void **state) {
    test_verify(*state);
    pn_worker_free(*state);
    return 0;
}

static void a_running_context_shows_its_frame(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(test_send_int(vm, caller, "element:", I(42)), 42);
    assert_int_equal(test_send_int(vm, caller, "slot:", I(42)), 42);
    assert_true(pn_same(vm, test_send(vm, caller, "receiver:", I(42)), caller));
    assert_int_equal(test_send(vm, caller, "sender:", I(42)).bits, vm->nil.bits);
    assert_true(test_send_int(vm, caller, "size:", I(42)) >= 1);
    assert_int_equal(test_send_int(vm, caller, "putTemp:", I(42)), 99);
}

static void copies_are_single_contexts(void **state) {
    WorkerVm *vm = *state;
    Root copy;
    pn_root_push(vm, &copy, test_send(vm, caller, "copy:", I(42)));
    FrameWalk frame;
    assert_false(pn_context_frame(vm, pn_deref(vm, copy.ref), &frame));
    assert_int_equal(prim_slot(vm, copy.ref, PN_CONTEXT_SENDER).bits, vm->nil.bits);
    assert_true(ref_is_int(prim_slot(vm, copy.ref, PN_CONTEXT_PC)));
    assert_true(pn_same(vm, prim_slot(vm, copy.ref, PN_CONTEXT_RECEIVER), caller));
    assert_true(oop_is_code(pn_deref(vm, prim_slot(vm, copy.ref, PN_CONTEXT_METHOD))));
    assert_int_equal(prim_slot(vm, copy.ref, PN_CONTEXT_FIRST_TEMP).bits, I(42).bits);
    assert_int_equal(prim_int(vm, 60, copy.ref, I(1)), 42);
    prim_fails(vm, PN_PRIM_RECEIVER, 61, copy.ref, I(1), I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, copy.ref, vm_true(vm));
    assert_int_equal(prim_int(vm, 74, copy.ref, I(PN_CONTEXT_SENDER + 1), I(1)), 1); // single: a slot like others
    prim(vm, 74, copy.ref, I(PN_CONTEXT_SENDER + 1), vm->nil);
    prim_fails(vm, PN_PRIM_INDEX, 73, copy.ref, I(PN_CONTEXT_FIRST_TEMP + 1));
    pn_root_pop(vm, &copy);
}

// The error code of a failed primitive, or the symbol that the error table has for it.
static void assert_error(WorkerVm *vm, Ref error, PnPrimError code) {
    assert_true(pn_same(vm, error, pn_error_object(vm, code)));
}

static void bounds_are_those_of_the_stack(void **state) {
    WorkerVm *vm = *state;
    assert_error(vm, test_send(vm, caller, "beyond:", I(42)), PN_PRIM_INDEX);
    assert_error(vm, test_send(vm, caller, "beyondSlot:", I(42)), PN_PRIM_INDEX);
}

static void what_would_change_frames_is_refused(void **state) {
    WorkerVm *vm = *state;
    assert_error(vm, test_send(vm, caller, "put:", I(1)), PN_PRIM_RECEIVER);
    assert_error(vm, test_send(vm, caller, "putSender:", vm->nil), PN_PRIM_UNSUPPORTED);
    assert_error(vm, test_send(vm, caller, "readOnly:", I(1)), PN_PRIM_INAPPROPRIATE);
    assert_error(vm, test_send(vm, caller, "become:", prim_array_with(vm, caller)), PN_PRIM_INAPPROPRIATE);
}

// B11 for change of class: the method goes on to read the third slot, which an Array has for no named one.
static void a_running_method_keeps_its_slots(void **state) {
    WorkerVm *vm = *state;
    test_send_failing(vm, caller, "adopt:", ref_of(test_global(vm, "Array")));
    assert_true(pn_same(vm, prim(vm, 111, caller), ref_of(test_global(vm, "Caller"))));
    pn_asm_class(vm, "Alike", test_global(vm, "Object"), 3);
    prim_set_slot(vm, caller, 2, I(3));
    assert_int_equal(test_send_int(vm, caller, "adopt:", ref_of(test_global(vm, "Alike"))), 3);
    assert_true(pn_same(vm, prim(vm, 111, caller), ref_of(test_global(vm, "Alike"))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_running_context_shows_its_frame, begin, end),
        cmocka_unit_test_setup_teardown(bounds_are_those_of_the_stack, begin, end),
        cmocka_unit_test_setup_teardown(copies_are_single_contexts, begin, end),
        cmocka_unit_test_setup_teardown(what_would_change_frames_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_running_method_keeps_its_slots, begin, end),
    };
    return test_run(tests);
}
