// Programs that no compiler makes, but that messages to classes, dictionaries, closures and contexts can: they end in an
// error of the worker, never in memory that is not theirs, and never in another worker.
#include "tests/support.h"

static Oop class_c(WorkerVm *vm) { return pn_asm_class_named(vm, "C"); }
static Ref new_c(WorkerVm *vm) { return test_send(vm, ref_of(class_c(vm)), "new"); }

// C >> foo ^1; C >> callFoo and callFooAgain ^self foo; C >> adder: n ^[:x | x + n]; C >> both: b with: a, through an array
static void build(WorkerVm *vm) {
    Oop c = pn_asm_class(vm, "C", pn_asm_class_named(vm, "Object"), 2);
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, 1);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "foo");
    const char *callers[] = {"callFoo", "callFooAgain"};
    for (int i = 0; i < 2; i++) {
        a = pn_asm(vm, 0, 0);
        pn_asm_push_self(a);
        pn_asm_send(a, "foo", 0);
        pn_asm_return_top(a);
        pn_asm_install(a, c, callers[i]);
    }
    a = pn_asm(vm, 1, 0);
    Asm *b = pn_asm_block(a, 1, 1, 1);
    pn_asm_push_temp(b, 0);
    pn_asm_push_temp(b, 1);
    pn_asm_send(b, "+", 1);
    pn_asm_block_return(b);
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, literal, 1, false, false);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "adder:");
    // down: n with: block with: array  n times (block valueWithArguments: array), added up on the way back
    a = pn_asm(vm, 3, 0);
    AsmLabel deeper = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, deeper);
    pn_asm_push_int(a, 0);
    pn_asm_return_top(a);
    pn_asm_bind(a, deeper);
    pn_asm_push_temp(a, 1);
    pn_asm_push_temp(a, 2);
    pn_asm_send(a, "valueWithArguments:", 1);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_push_temp(a, 1);
    pn_asm_push_temp(a, 2);
    pn_asm_send(a, "down:with:with:", 3);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "down:with:with:");
    // loop: n  n times a jump on no Boolean, whose handler answers; mustBeBoolean ^self
    a = pn_asm(vm, 0, 0);
    pn_asm_return_self(a);
    pn_asm_install(a, pn_asm_class_named(vm, "Object"), "mustBeBoolean");
    a = pn_asm(vm, 1, 0);
    AsmLabel head = pn_asm_label(a), out = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_true(a, done);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_store_temp(a, 0, true);
    pn_asm_push_self(a);
    pn_asm_jump_true(a, out);
    pn_asm_bind(a, out);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_int(a, 5);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "loop:");
}

// What a Smalltalk program can do without telling the machine: a method put into the array of C's dictionary.
static void put_method(WorkerVm *vm, Oop method, const char *selector) {
    Oop dictionary = pn_slot(vm, class_c(vm), PN_BEHAVIOR_METHOD_DICT);
    Ref symbol = pn_symbol_z(selector);
    for (size_t i = 0; i < oop_slot_count(dictionary) - PN_METHOD_DICT_FIRST_KEY; i++)
        if (ref_same(oop_slot(dictionary, PN_METHOD_DICT_FIRST_KEY + i), symbol))
            test_send(vm, oop_slot(dictionary, PN_METHOD_DICT_METHODS), "at:put:", ref_from_int((int64_t)i + 1),
                      ref_of(method));
}
static Oop constant_method(WorkerVm *vm, Oop class_object, const char *selector, int64_t value) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_int(a, value);
    pn_asm_return_top(a);
    return pn_asm_method(a, class_object, selector);
}

static void a_method_put_into_a_dictionary_stays_with_its_worker(void **state) {
    (void)state;
    if (!PN_COW || pn_options.poison) return;
    TestWorld w = test_world(build);
    WorkerVm *other = test_worker_on(w.layer);
    put_method(w.vm, constant_method(w.vm, class_c(w.vm), "foo", 2), "foo");
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "callFoo"), 2);
    assert_int_equal(test_send_int(other, new_c(other), "callFoo"), 1);
    pn_worker_free(w.vm);
    assert_int_equal(test_send_int(other, new_c(other), "callFooAgain"), 1);
    w.vm = other;
    test_verify(w.vm);
    test_world_end(&w);
}

static void a_method_that_reaches_too_far_does_not_run(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Oop wide = pn_asm_class(w.vm, "Wide", pn_asm_class_named(w.vm, "Object"), 2000);
    Asm *a = pn_asm(w.vm, 0, 0);
    pn_asm_push_inst(a, 1999);
    pn_asm_return_top(a);
    put_method(w.vm, pn_asm_method(a, wide, "foo"), "foo");
    test_send(w.vm, ref_of(class_c(w.vm)), "flushCache");
    assert_non_null(strstr(test_send_failing(w.vm, new_c(w.vm), "foo"), "slots"));
    test_verify(w.vm);
    test_world_end(&w);
}

static void bytecodes_that_run_off_their_end_do_not_run(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root c;
    pn_root_push(w.vm, &c, new_c(w.vm));
    Ref header = ref_from_int(PN_CODE_HEADER_SISTA | 2);
    Ref method = test_send(w.vm, ref_of(pn_asm_class_named(w.vm, "CompiledMethod")),
                           "newMethod:header:", ref_from_int(100), header);
    test_send_failing(w.vm, c.ref, "executeMethod:", method);
    pn_root_pop(w.vm, &c);
    test_verify(w.vm);
    test_world_end(&w);
}

static void a_class_whose_superclass_is_no_class_ends_the_search(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root c;
    pn_root_push(w.vm, &c, new_c(w.vm));
    test_send(w.vm, ref_of(class_c(w.vm)), "instVarAt:put:", ref_from_int(1), ref_from_int(3));
    assert_non_null(strstr(test_send_failing(w.vm, c.ref, "zork"), "zork"));
    pn_root_pop(w.vm, &c);
    test_world_end(&w);
}

static void a_closure_with_too_many_copied_values_does_not_run(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root real, forged;
    pn_root_push(w.vm, &real, test_send(w.vm, new_c(w.vm), "adder:", ref_from_int(40)));
    Oop made = pn_new(w.vm, PN_CLASS_FULL_BLOCK_CLOSURE, PN_FMT_FIXED_ARRAY, 400);
    pn_root_push(w.vm, &forged, ref_of(made));
    for (size_t i = 0; i < PN_CLOSURE_FIRST_COPIED; i++)
        pn_store(w.vm, pn_deref(w.vm, forged.ref), i, oop_slot(pn_deref(w.vm, real.ref), i));
    test_send_failing(w.vm, forged.ref, "value:", ref_from_int(1));
    assert_int_equal(test_send_int(w.vm, real.ref, "value:", ref_from_int(2)), 42);
    pn_root_pop(w.vm, &forged);
    pn_root_pop(w.vm, &real);
    test_verify(w.vm);
    test_world_end(&w);
}

static void arguments_from_an_array_fit_at_any_depth(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root adder, array;
    pn_root_push(w.vm, &adder, test_send(w.vm, new_c(w.vm), "adder:", ref_from_int(40)));
    pn_root_push(w.vm, &array, ref_of(pn_new_array(w.vm, 1)));
    pn_store(w.vm, pn_deref(w.vm, array.ref), 0, ref_from_int(2));
    for (int64_t n = 10; n <= 3000; n *= 17)
        assert_int_equal(test_send_int(w.vm, new_c(w.vm), "down:with:with:", ref_from_int(n), adder.ref, array.ref),
                         42 * n);
    pn_root_pop(w.vm, &array);
    pn_root_pop(w.vm, &adder);
    test_verify(w.vm);
    test_world_end(&w);
}

static void handlers_that_answer_too_often_end_the_worker(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "loop:", ref_from_int(100)), 5);
    assert_non_null(strstr(test_send_failing(w.vm, new_c(w.vm), "loop:", ref_from_int(100000)), "too often"));
    test_verify(w.vm);
    test_world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_put_into_a_dictionary_stays_with_its_worker),
        cmocka_unit_test(a_method_that_reaches_too_far_does_not_run),
        cmocka_unit_test(bytecodes_that_run_off_their_end_do_not_run),
        cmocka_unit_test(a_class_whose_superclass_is_no_class_ends_the_search),
        cmocka_unit_test(a_closure_with_too_many_copied_values_does_not_run),
        cmocka_unit_test(arguments_from_an_array_fit_at_any_depth),
        cmocka_unit_test(handlers_that_answer_too_often_end_the_worker),
    };
    return test_run(tests);
}
