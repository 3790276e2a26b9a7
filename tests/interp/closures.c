// Closures: copied values, temp vectors, receivers, non-local return, unwinding marks, activation with wrong counts.
#include "tests/support.h"

static Oop define(WorkerVm *vm, const char *name) {
    return pn_asm_class(vm, name, pn_asm_class_named(vm, "Object"), 2);
}

// adder: n ^[:x | x + n]
static void build_adder(WorkerVm *vm, Oop thing) {
    Asm *a = pn_asm(vm, 1, 0);
    Asm *b = pn_asm_block(a, 1, 1, 1);
    pn_asm_push_temp(b, 0);
    pn_asm_push_temp(b, 1);
    pn_asm_send(b, "+", 1);
    pn_asm_block_return(b);
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, literal, 1, false, false);
    pn_asm_return_top(a);
    pn_asm_install(a, thing, "adder:");
}

// counter | n | n := 0. ^[ n := n + 1 ]
static void build_counter(WorkerVm *vm, Oop thing) {
    Asm *a = pn_asm(vm, 0, 1);
    Asm *b = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_vector_temp(b, 0, 0);
    pn_asm_push_int(b, 1);
    pn_asm_send(b, "+", 1);
    pn_asm_store_vector_temp(b, 0, 0, false);
    pn_asm_block_return(b);
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_array(a, 1, false);
    pn_asm_store_temp(a, 0, true);
    pn_asm_push_int(a, 0);
    pn_asm_store_vector_temp(a, 0, 0, true);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, literal, 1, true, false);
    pn_asm_return_top(a);
    pn_asm_install(a, thing, "counter");
}

// find: x in: array: array do it with a block that returns from here: ^9 when equal; falls off: ^-1
// call: aBlock with: x ^aBlock value: x
static void build_non_local(WorkerVm *vm, Oop thing) {
    Asm *call = pn_asm(vm, 2, 0);
    pn_asm_push_temp(call, 0);
    pn_asm_push_temp(call, 1);
    pn_asm_send(call, "value:", 1);
    pn_asm_return_top(call);
    pn_asm_install(call, thing, "call:with:");

    Asm *a = pn_asm(vm, 1, 0);
    Asm *b = pn_asm_block(a, 1, 0, 0);
    pn_asm_push_temp(b, 0);
    pn_asm_return_top(b); // non-local
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_self(a);
    pn_asm_push_closure(a, literal, 0, true, false);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "call:with:", 2);
    pn_asm_pop(a);
    pn_asm_push_int(a, -1);
    pn_asm_return_top(a);
    pn_asm_install(a, thing, "through:");

    // block ^[:x | ^x]: its home is gone when it runs
    Asm *c = pn_asm(vm, 0, 0);
    Asm *d = pn_asm_block(c, 1, 0, 0);
    pn_asm_push_temp(d, 0);
    pn_asm_return_top(d);
    literal = pn_asm_block_end(d);
    pn_asm_push_closure(c, literal, 0, true, false);
    pn_asm_return_top(c);
    pn_asm_install(c, thing, "escaping");

    Asm *cannot = pn_asm(vm, 1, 0);
    pn_asm_push_int(cannot, 4711);
    pn_asm_return_top(cannot);
    pn_asm_install(cannot, pn_asm_class_named(vm, "Context"), "cannotReturn:");
}

static void build(WorkerVm *vm) {
    Oop thing = define(vm, "Thing");
    build_adder(vm, thing);
    build_counter(vm, thing);
    build_non_local(vm, thing);
}
static Ref new_thing(WorkerVm *vm) { return ref_of(pn_asm_instance(vm, test_global(vm, "Thing"))); }

static void copied_values_are_temps(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Ref adder = test_send(w.vm, new_thing(w.vm), "adder:", ref_from_int(40));
    assert_int_equal(test_send_int(w.vm, adder, "value:", ref_from_int(2)), 42);
    test_world_end(&w);
}

static void temp_vectors_are_shared_by_their_closures(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root counter;
    pn_root_push(w.vm, &counter, test_send(w.vm, new_thing(w.vm), "counter"));
    for (int i = 1; i <= 5; i++) assert_int_equal(test_send_int(w.vm, counter.ref, "value"), i);
    pn_root_pop(w.vm, &counter);
    test_verify(w.vm);
    test_world_end(&w);
}

static void a_block_returns_from_its_home(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_thing(w.vm), "through:", ref_from_int(9)), 9);
    test_verify(w.vm);
    test_world_end(&w);
}

static void a_home_that_is_gone_cannot_be_returned_from(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    // cannotReturn: answers 4711 here: a mistake of the image, and the block must not run off its end.
    Ref block = test_send(w.vm, new_thing(w.vm), "escaping");
    const char *text = test_send_failing(w.vm, block, "value:", ref_from_int(1));
    assert_non_null(strstr(text, "cannotReturn:"));
    test_world_end(&w);
}

static void value_with_arguments_counts(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root adder, arguments;
    pn_root_push(w.vm, &adder, test_send(w.vm, new_thing(w.vm), "adder:", ref_from_int(40)));
    pn_root_push(w.vm, &arguments, ref_of(pn_new_array(w.vm, 1)));
    pn_store(w.vm, pn_deref(w.vm, arguments.ref), 0, ref_from_int(3));
    assert_int_equal(test_send_int(w.vm, adder.ref, "valueWithArguments:", arguments.ref), 43);
    // A wrong count does not run the block.
    test_send_failing(w.vm, adder.ref, "value");
    pn_root_pop(w.vm, &arguments);
    pn_root_pop(w.vm, &adder);
    test_world_end(&w);
}

// ensured: b: [ b value ] ensure: [ Log := Log + 1 ], with a non-local return from b going through it.
static void build_ensure(WorkerVm *vm) {
    build(vm);
    Oop thing = pn_asm_class_named(vm, "Thing");
    Oop log = pn_global(vm, "Log");
    pn_store(vm, log, PN_BINDING_VALUE, ref_from_int(0));
    // count Log := Log + 1
    Asm *count = pn_asm(vm, 0, 0);
    pn_asm_push_global(count, log);
    pn_asm_push_int(count, 1);
    pn_asm_send(count, "+", 1);
    pn_asm_store_global(count, log, true);
    pn_asm_return_self(count);
    pn_asm_install(count, thing, "count");
    // leave: x | [ ^x ] ensure: [ self count ] |. ^-1
    Asm *a = pn_asm(vm, 1, 0);
    Asm *body = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_temp(body, 0);
    pn_asm_return_top(body);
    uint32_t body_literal = pn_asm_block_end(body);
    Asm *ensured = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_self(ensured);
    pn_asm_send(ensured, "count", 0);
    pn_asm_block_return(ensured);
    uint32_t ensured_literal = pn_asm_block_end(ensured);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, body_literal, 1, true, false);
    pn_asm_push_closure(a, ensured_literal, 0, true, false);
    pn_asm_send(a, "ensure:", 1);
    pn_asm_pop(a);
    pn_asm_push_int(a, -1);
    pn_asm_return_top(a);
    pn_asm_install(a, thing, "leave:");
    // Context >> aboutToReturn: value through: context. The image unwinds; here: answer 1000 + value from the block's frame.
    Asm *about = pn_asm(vm, 2, 0);
    pn_asm_push_temp(about, 0);
    pn_asm_push_int(about, 1000);
    pn_asm_send(about, "+", 1);
    pn_asm_return_top(about);
    pn_asm_install(about, pn_asm_class_named(vm, "Context"), "aboutToReturn:through:");
}

// The mark is found: the image is asked (here it answers, so the worker ends), and the ensured block has not run.
static void a_return_through_ensure_asks_the_image(void **state) {
    (void)state;
    TestWorld w = test_world(build_ensure);
    const char *text = test_send_failing(w.vm, new_thing(w.vm), "leave:", ref_from_int(5));
    assert_non_null(strstr(text, "aboutToReturn:through:"));
    assert_int_equal(test_global(w.vm, "Log").bits, ref_from_int(0).bits);
    test_world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copied_values_are_temps),       cmocka_unit_test(temp_vectors_are_shared_by_their_closures),
        cmocka_unit_test(a_block_returns_from_its_home), cmocka_unit_test(a_home_that_is_gone_cannot_be_returned_from),
        cmocka_unit_test(value_with_arguments_counts),   cmocka_unit_test(a_return_through_ensure_asks_the_image),
    };
    return test_run(tests);
}
