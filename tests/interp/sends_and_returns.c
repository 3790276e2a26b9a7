// Sends, frames, recursion, loops: what a program sees, in a layer and as private code.
#include "tests/support.h"
#include "tests/support/programs.h"

static void build(WorkerVm *vm) {
    Oop object = pn_asm_class_named(vm, "Object");
    Oop fib = pn_asm_class(vm, "Fib", object, 2);
    program_fib(vm, fib);
    program_down(vm, fib);
    program_sum_to(vm, fib);
    program_sum_array(vm, fib);
    program_accessors(vm, fib);
    program_repeat(vm, fib);
}

static Ref new_fib(WorkerVm *vm) { return ref_of(pn_asm_instance(vm, test_global(vm, "Fib"))); }

static void fib_in_a_layer(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_fib(w.vm), "fib:", ref_from_int(20)), 6765);
    test_verify(w.vm);
    test_world_end(&w);
}

static void fib_as_private_code(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    build(vm);
    assert_int_equal(test_send_int(vm, new_fib(vm), "fib:", ref_from_int(20)), 6765);
    test_verify(vm);
    pn_worker_free(vm);
}

static void recursion_goes_deep_and_comes_back(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_fib(w.vm), "down:", ref_from_int(100000)), 100000);
    test_verify(w.vm);
    // Once more, over chunks that were used before.
    assert_int_equal(test_send_int(w.vm, new_fib(w.vm), "down:", ref_from_int(1000)), 1000);
    test_world_end(&w);
}

static void loops_count(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_fib(w.vm), "sumTo:", ref_from_int(10000)), 50005000);
    test_world_end(&w);
}

static void arrays_are_read(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Root array;
    pn_root_push(w.vm, &array, ref_of(pn_new_array(w.vm, 100)));
    for (size_t i = 0; i < 100; i++) pn_store(w.vm, pn_deref(w.vm, array.ref), i, ref_from_int((int64_t)i));
    Ref receiver = new_fib(w.vm);
    assert_int_equal(test_send_int(w.vm, receiver, "sum:", array.ref), 4950);
    pn_root_pop(w.vm, &array);
    test_world_end(&w);
}

static void slots_are_written_and_read(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    assert_int_equal(test_send_int(w.vm, new_fib(w.vm), "repeat:value:", ref_from_int(5000), ref_from_int(42)), 42);
    test_world_end(&w);
}

// Each of two workers on one layer runs to a safepoint, in turns, on the same C frame.
typedef struct Turns {
    WorkerVm *vms[2];
    int finished, switches;
} Turns;
static WorkerVm *next_worker(void *context, WorkerVm *vm, PnLeave why) {
    Turns *turns = context;
    turns->switches++;
    WorkerVm *other = turns->vms[vm == turns->vms[0]];
    if (why == PN_LEAVE_FINISHED) turns->finished++;
    if (turns->finished == 2) return NULL;
    return other->state == PN_WORKER_FINISHED ? vm : other;
}
static void two_workers_take_turns(void **state) {
    (void)state;
    if (pn_options.poison) return; // a poisoned layer serves one worker only
    PnOptions saved = test_options("yield");
    TestWorld w = test_world(build);
    WorkerVm *second = test_worker_on(w.layer);
    Turns turns = {.vms = {w.vm, second}};
    Ref ten = ref_from_int(10), twelve = ref_from_int(12);
    assert_int_equal(pn_start_send(w.vm, new_fib(w.vm), pn_symbol_z("fib:"), &ten, 1), PN_OK);
    assert_int_equal(pn_start_send(second, new_fib(second), pn_symbol_z("fib:"), &twelve, 1), PN_OK);
    pn_run_many(test_thread(), w.vm, next_worker, &turns);
    assert_int_equal(ref_int(w.vm->result), 55);
    assert_int_equal(ref_int(second->result), 144);
    assert_true(turns.switches > 100);
    pn_worker_free(second);
    test_world_end(&w);
    test_options_restore(saved);
}

static void a_stop_request_is_seen_at_the_next_safepoint(void **state) {
    (void)state;
    TestWorld w = test_world(build);
    Ref n = ref_from_int(1000000);
    assert_int_equal(pn_start_send(w.vm, new_fib(w.vm), pn_symbol_z("sumTo:"), &n, 1), PN_OK);
    pn_request_stop(w.vm);
    assert_int_equal(pn_run(test_thread(), w.vm), PN_LEAVE_SAFEPOINT);
    assert_int_equal(w.vm->state, PN_WORKER_READY);
    PnLeave why;
    while ((why = pn_run(test_thread(), w.vm)) == PN_LEAVE_SAFEPOINT) {}
    assert_int_equal(why, PN_LEAVE_FINISHED);
    assert_int_equal(ref_int(w.vm->result), INT64_C(500000500000));
    test_world_end(&w);
}

// 64 classes with a method answering their number, one call site that sees them all.
enum { SPECIES = 64 };
static void build_zoo(WorkerVm *vm) {
    Oop object = pn_asm_class_named(vm, "Object");
    for (int i = 0; i < SPECIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "Animal%d", i);
        Oop animal = pn_asm_class(vm, name, object, 1);
        Asm *a = pn_asm(vm, 0, 0);
        pn_asm_push_int(a, i + 1);
        pn_asm_return_top(a);
        pn_asm_install(a, animal, "number");
    }
    // Zoo >> total: animals, sum of number of each
    Oop zoo = pn_asm_class(vm, "Zoo", object, 0);
    Asm *a = pn_asm(vm, 1, 2);
    AsmLabel head = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 1, true);
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 2, true);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 1);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "size", 0);
    pn_asm_send(a, "<", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_temp(a, 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_push_temp(a, 2);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "at:", 1);
    pn_asm_send(a, "number", 0);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 2, true);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_temp(a, 2);
    pn_asm_return_top(a);
    pn_asm_install(a, zoo, "total:");
}

static void one_site_sees_many_classes(void **state) {
    (void)state;
    TestWorld w = test_world(build_zoo);
    Root animals;
    pn_root_push(w.vm, &animals, ref_of(pn_new_array(w.vm, SPECIES)));
    for (int i = 0; i < SPECIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "Animal%d", i);
        Oop animal = pn_asm_instance(w.vm, test_global(w.vm, name));
        pn_store(w.vm, pn_deref(w.vm, animals.ref), (size_t)i, ref_of(animal));
    }
    for (int round = 0; round < 3; round++) {
        Ref zoo = ref_of(pn_asm_instance(w.vm, test_global(w.vm, "Zoo")));
        assert_int_equal(test_send_int(w.vm, zoo, "total:", animals.ref), SPECIES * (SPECIES + 1) / 2);
    }
    pn_root_pop(w.vm, &animals);
    test_verify(w.vm);
    test_world_end(&w);
}

static void a_message_nobody_understands_is_an_error(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    const char *text = test_send_failing(vm, ref_from_int(3), "zork");
    assert_non_null(strstr(text, "zork"));
    pn_worker_free(vm);
}

static void a_jump_on_no_boolean_sends_must_be_boolean(void **state) {
    (void)state;
    WorkerVm *vm = test_boot_kernel();
    Oop object = pn_asm_class_named(vm, "Object");
    Asm *must = pn_asm(vm, 0, 0);
    pn_asm_push_int(must, 77);
    pn_asm_return_top(must);
    pn_asm_install(must, object, "mustBeBoolean");
    // test: x ^x ifTrue: [ 1 ] ifFalse: [ 2 ], then the stack has the answer of mustBeBoolean below: a second value
    Oop thing = pn_asm_class(vm, "Thing", object, 0);
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel no = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_jump_false(a, no);
    pn_asm_push_int(a, 1);
    pn_asm_return_top(a);
    pn_asm_bind(a, no);
    pn_asm_push_int(a, 2);
    pn_asm_return_top(a);
    pn_asm_install(a, thing, "test:");
    Ref receiver = ref_of(pn_asm_instance(vm, thing));
    assert_int_equal(test_send_int(vm, receiver, "test:", vm_true(vm)), 1);
    assert_int_equal(test_send_int(vm, receiver, "test:", vm_false(vm)), 2);
    // Its answer stays on the stack and the method goes on behind the jump.
    assert_int_equal(test_send_int(vm, receiver, "test:", ref_from_int(5)), 1);
    assert_int_equal(test_send_int(vm, receiver, "test:", vm_nil(vm)), 1);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fib_in_a_layer),
        cmocka_unit_test(fib_as_private_code),
        cmocka_unit_test(recursion_goes_deep_and_comes_back),
        cmocka_unit_test(loops_count),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(slots_are_written_and_read),
        cmocka_unit_test(two_workers_take_turns),
        cmocka_unit_test(a_stop_request_is_seen_at_the_next_safepoint),
        cmocka_unit_test(one_site_sees_many_classes),
        cmocka_unit_test(a_message_nobody_understands_is_an_error),
        cmocka_unit_test(a_jump_on_no_boolean_sends_must_be_boolean),
    };
    return test_run(tests);
}
