// Contexts on demand, and back: marriage, walking senders, widows, divorce of whole chains, frames made of contexts again.
#include "tests/support.h"

// C >> here: n  |at depth n: ^thisContext|, through frames that wait:  n = 0 ifTrue: [ ^thisContext ]. ^self here: n - 1
static void build_here(WorkerVm *vm, Oop c) {
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel deeper = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, deeper);
    pn_asm_push_context(a);
    pn_asm_return_top(a);
    pn_asm_bind(a, deeper);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_send(a, "here:", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "here:");
}

// Context >> depth: how many senders there are below, self counted, walked in Smalltalk.
static void build_depth(WorkerVm *vm) {
    Oop context = pn_asm_class_named(vm, "Context");
    Asm *a = pn_asm(vm, 0, 2); // at, count
    AsmLabel head = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_push_self(a);
    pn_asm_store_temp(a, 0, true);
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 1, true);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 0);
    pn_asm_push_nil(a);
    pn_asm_send(a, "~~", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_temp(a, 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "sender", 0);
    pn_asm_store_temp(a, 0, true);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_temp(a, 1);
    pn_asm_return_top(a);
    pn_asm_install(a, context, "depth");
    // sender: the long form, which asks the frame
    Asm *b = pn_asm(vm, 0, 0);
    pn_asm_byte(b, 226);
    pn_asm_byte(b, PN_CONTEXT_SENDER);
    pn_asm_return_top(b);
    pn_asm_install(b, context, "sender");
    Asm *p = pn_asm(vm, 0, 0);
    pn_asm_byte(p, 226);
    pn_asm_byte(p, PN_CONTEXT_PC);
    pn_asm_return_top(p);
    pn_asm_install(p, context, "pc");
}

// C >> depthAt: n: with n frames of itself below: ^thisContext depth
// C >> flushAt: n: the same, but all frames become contexts at the deepest point; the answers come back through them: sum of n
static void build_deep(WorkerVm *vm, Oop c, const char *selector, void (*deepest)(Asm *)) {
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel deeper = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, deeper);
    deepest(a);
    pn_asm_return_top(a);
    pn_asm_bind(a, deeper);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_send(a, selector, 1);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, c, selector);
}
static void ask_depth(Asm *a) {
    pn_asm_push_context(a);
    pn_asm_send(a, "depth", 0);
}
static void flush(Asm *a) {
    pn_asm_push_self(a);
    pn_asm_send(a, "voidVMState", 0);
    pn_asm_pop(a);
    pn_asm_push_int(a, 1000);
}

// C >> viaBlock: n  [ self voidVMState. n + 1 ] value + 1: a block's frame is divorced and comes back
static void build_block(WorkerVm *vm, Oop c) {
    Asm *a = pn_asm(vm, 1, 0);
    Asm *b = pn_asm_block(a, 0, 1, 1);
    pn_asm_push_self(b);
    pn_asm_send(b, "voidVMState", 0);
    pn_asm_pop(b);
    pn_asm_push_temp(b, 0);
    pn_asm_push_int(b, 1);
    pn_asm_send(b, "+", 1);
    pn_asm_block_return(b);
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_temp(a, 0);
    pn_asm_push_closure(a, literal, 1, true, false);
    pn_asm_send(a, "value", 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "viaBlock:");
    // C >> homeGone: n  [ self voidVMState. ^n ] value. -1: the home is a single context by then
    Asm *d = pn_asm(vm, 1, 0);
    Asm *e = pn_asm_block(d, 0, 1, 1);
    pn_asm_push_self(e);
    pn_asm_send(e, "voidVMState", 0);
    pn_asm_pop(e);
    pn_asm_push_temp(e, 0);
    pn_asm_return_top(e);
    literal = pn_asm_block_end(e);
    pn_asm_push_temp(d, 0);
    pn_asm_push_closure(d, literal, 1, true, false);
    pn_asm_send(d, "value", 0);
    pn_asm_pop(d);
    pn_asm_push_int(d, -1);
    pn_asm_return_top(d);
    pn_asm_install(d, c, "homeFlushed:");
    Asm *f = pn_asm(vm, 1, 0);
    pn_asm_push_self(f);
    pn_asm_push_temp(f, 0);
    pn_asm_send(f, "homeFlushed:", 1);
    pn_asm_push_int(f, 100);
    pn_asm_send(f, "+", 1);
    pn_asm_return_top(f);
    pn_asm_install(f, c, "aroundHome:");
}

// C >> cut: n  |unwinds| thisContext terminateTo: thisContext sender sender, from a method two below: returns to the outermost
static void build_terminate(WorkerVm *vm, Oop c) {
    Asm *a = pn_asm(
        vm, 0, 0); // inner: thisContext terminateTo: (thisContext sender sender). ^7: answered to outer, not to middle
    pn_asm_push_context(a);
    pn_asm_push_context(a);
    pn_asm_send(a, "sender", 0);
    pn_asm_send(a, "sender", 0);
    pn_asm_send(a, "terminateTo:", 1);
    pn_asm_pop(a);
    pn_asm_push_int(a, 7);
    pn_asm_return_top(a);
    pn_asm_install(a, c, "inner");
    Asm *b = pn_asm(vm, 0, 0);
    pn_asm_push_self(b);
    pn_asm_send(b, "inner", 0);
    pn_asm_push_int(b, 1000);
    pn_asm_send(b, "+", 1);
    pn_asm_return_top(b);
    pn_asm_install(b, c, "middle");
    Asm *d = pn_asm(vm, 0, 0);
    pn_asm_push_self(d);
    pn_asm_send(d, "middle", 0);
    pn_asm_push_int(d, 1);
    pn_asm_send(d, "+", 1);
    pn_asm_return_top(d);
    pn_asm_install(d, c, "outer");
}

static void build(WorkerVm *vm) {
    Oop c = pn_asm_class(vm, "C", pn_asm_class_named(vm, "Object"), 1);
    build_here(vm, c);
    build_depth(vm);
    build_deep(vm, c, "depthAt:", ask_depth);
    build_deep(vm, c, "flushAt:", flush);
    build_block(vm, c);
    build_terminate(vm, c);
}
static Ref new_c(WorkerVm *vm) { return ref_of(pn_asm_instance(vm, test_global(vm, "C"))); }

#define WITH_WORLD(w)                                                                                                  \
    (void)state;                                                                                                       \
    TestWorld w = test_world(build)
#define END_WORLD(w)                                                                                                   \
    test_verify(w.vm);                                                                                                 \
    test_world_end(&w)

static void a_context_of_a_frame_that_is_gone_reads_as_dead(void **state) {
    WITH_WORLD(w);
    Root context;
    pn_root_push(w.vm, &context, test_send(w.vm, new_c(w.vm), "here:", ref_from_int(3)));
    assert_int_equal(test_send(w.vm, context.ref, "sender").bits, vm_nil(w.vm).bits);
    assert_int_equal(test_send(w.vm, context.ref, "pc").bits, vm_nil(w.vm).bits);
    pn_root_pop(w.vm, &context);
    END_WORLD(w);
}

static void senders_lead_down_to_the_process(void **state) {
    WITH_WORLD(w);
    // n + 1 frames of depthAt:; the sums on the way back add n.
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "depthAt:", ref_from_int(0)), 1);
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "depthAt:", ref_from_int(10)), 11 + 55);
    END_WORLD(w);
}

static void senders_lead_across_stack_chunks(void **state) {
    WITH_WORLD(w);
    int64_t n = 1500;
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "depthAt:", ref_from_int(n)), n + 1 + n * (n + 1) / 2);
    END_WORLD(w);
}

static void frames_come_back_from_their_contexts(void **state) {
    WITH_WORLD(w);
    for (int64_t n = 0; n <= 40; n += 8)
        assert_int_equal(test_send_int(w.vm, new_c(w.vm), "flushAt:", ref_from_int(n)), 1000 + n * (n + 1) / 2);
    END_WORLD(w);
}

static void a_block_comes_back_from_its_context(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "viaBlock:", ref_from_int(5)), 7);
    END_WORLD(w);
}

static void a_non_local_return_finds_a_home_that_is_a_context(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "aroundHome:", ref_from_int(5)), 105);
    END_WORLD(w);
}

static void terminate_to_leaves_out_what_is_between(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, new_c(w.vm), "outer"), 8);
    END_WORLD(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_of_a_frame_that_is_gone_reads_as_dead),
        cmocka_unit_test(senders_lead_down_to_the_process),
        cmocka_unit_test(senders_lead_across_stack_chunks),
        cmocka_unit_test(frames_come_back_from_their_contexts),
        cmocka_unit_test(a_block_comes_back_from_its_context),
        cmocka_unit_test(a_non_local_return_finds_a_home_that_is_a_context),
        cmocka_unit_test(terminate_to_leaves_out_what_is_between),
    };
    return test_run(tests);
}
