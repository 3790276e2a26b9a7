// Frames survive the growth of the stack, by copying and by chunks; the return trap reaches each frame below a copy
// once.
// Frames are made by hand here, as PUSH_FRAME and RETURN of the interpreter make and leave them.
#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"

enum { TEMPS = 3, FRAME_BYTES = 80 };

static Layer *layer;
static Ref receiver;
static Code code;

static int begin(void **state) {
    HandLayer h = hand_begin(NULL, 256);
    receiver = hand_instance(&h);
    layer = hand_end(&h);
    WorkerVm *vm = pn_worker_new(layer);
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    static const uint8_t bytecodes[256];
    code = (Code){.temp_count = TEMPS, .arg_count = 1, .frame_bytes = FRAME_BYTES, .bytecodes = bytecodes};
    *state = vm;
    return vm == NULL;
}
static int end(void **state) {
    pn_worker_free(*state);
    pn_layer_release(layer);
    return 0;
}

// A frame of depth n has n as its argument and second temp, and its pc is bytecodes + n % 256.
static void call(WorkerVm *vm, Ref self, int64_t n) {
    *vm->sp++ = self;
    *vm->sp++ = ref_from_int(n);
    if ((char *)(vm->sp - 1) + FRAME_BYTES > (char *)(vm->cp - 1)) {
        vm->cp->pc = vm->pc;
        assert_true(pn_stack_grow(vm, FRAME_BYTES + sizeof(Link), 2));
    }
    Ref *callee = vm->sp - 1;
    vm->cp->pc = vm->pc;
    vm->cp--;
    *vm->cp = (Link){.code = &code, .fp_delta = (uint32_t)((char *)callee - (char *)vm->fp)};
    vm->fp = callee;
    vm->pc = code.bytecodes + n % 256;
    *vm->sp++ = vm->nil;
    *vm->sp++ = ref_from_int(n);
}

// Leave the top frame with n as its result; as in the interpreter, the trap is only seen by running into it.
static void leave(WorkerVm *vm, int64_t n) {
    assert_int_equal(vm->fp[0].bits, ref_from_int(n).bits);
    assert_int_equal(vm->fp[2].bits, ref_from_int(n).bits);
    vm->fp[-1] = ref_from_int(-n);
    vm->sp = vm->fp;
    vm->fp = (Ref *)(void *)((char *)vm->fp - vm->cp->fp_delta);
    vm->cp++;
    vm->pc = vm->cp->pc;
    if (vm->pc == pn_trap_bytecode && vm->cp->flags & PN_LINK_UNDERFLOW) pn_stack_underflow(vm);
    if (vm->pc == pn_trap_bytecode && vm->trap.link == vm->cp) {
        vm->pc = vm->trap.pc;
        pn_trap_lift(vm);
        pn_stack_receivers_stale(vm);
    }
    assert_int_equal(vm->sp[-1].bits, ref_from_int(-n).bits);
    vm->sp--;
    if (n > 1) assert_ptr_equal(vm->pc, code.bytecodes + (n - 1) % 256);
}

static size_t chunk_count(WorkerVm *vm) {
    size_t count = 0;
    for (StackChunk *c = vm->chunk; c != NULL; c = c->prev) count++;
    return count;
}

static void frames_survive_growth_and_underflow(void **state) {
    WorkerVm *vm = *state;
    const int64_t depth = 5000;
    size_t copies_until = 0;
    assert_true(vm->chunk->is_embedded);
    for (int64_t n = 1; n <= depth; n++) {
        call(vm, receiver, n);
        if (chunk_count(vm) == 1) copies_until = (size_t)n;
    }
    assert_true(copies_until * (4 * sizeof(Ref) + sizeof(Link)) < PN_STACK_COPY_LIMIT && copies_until > 300);
    assert_true(chunk_count(vm) > 5);
    int64_t expected = depth;
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w), expected--) {
        assert_int_equal(w.fp[0].bits, ref_from_int(expected).bits);
        assert_int_equal(w.fp[-1].bits, receiver.bits);
        assert_ptr_equal(w.sp, w.fp + TEMPS);
    }
    assert_int_equal(expected, 0);
    for (int64_t n = depth; n >= 1; n--) leave(vm, n);
    assert_int_equal(chunk_count(vm), 1);
    assert_true(vm->cp->flags & PN_LINK_BASE);
    pn_stack_reset(vm);
    assert_true(vm->chunk->is_embedded);
}

static void links_are_found_by_number(void **state) {
    WorkerVm *vm = *state;
    for (int64_t n = 1; n <= 3000; n++) call(vm, receiver, n);
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) {
        StackChunk *chunk = NULL;
        uint64_t number = pn_link_number(vm, w.link);
        assert_ptr_equal(pn_link_at(vm, number, &chunk), w.link);
        assert_ptr_equal(chunk, w.chunk);
    }
    uint64_t top = pn_link_number(vm, vm->cp);
    assert_null(pn_link_at(vm, top + 1, NULL));
    leave(vm, 3000);
    assert_null(pn_link_at(vm, top, NULL));
}

// A loop that calls back and forth across the boundary of a chunk allocates once.
static void emptied_chunk_is_kept(void **state) {
    WorkerVm *vm = *state;
    int64_t n = 0;
    while (chunk_count(vm) < 3) call(vm, receiver, ++n);
    StackChunk *newest = vm->chunk;
    for (int i = 0; i < 100; i++) {
        leave(vm, n);
        assert_int_equal(chunk_count(vm), 2);
        assert_ptr_equal(vm->more->spare_chunk, newest);
        assert_false(vm->chunk->is_clean);
        call(vm, receiver, n);
        assert_ptr_equal(vm->chunk, newest);
    }
}

static void limit_stops_growth(void **state) {
    WorkerVm *vm = *state;
    pn_more(vm)->memory_limit = 100000;
    for (int64_t n = 1; n < 1000; n++) call(vm, receiver, n);
    assert_false(pn_stack_grow(vm, 100000, 0));
    while (chunk_count(vm) < 3) {
        vm->sp = (Ref *)(void *)vm->cp; // full
        if (!pn_stack_grow(vm, 64, 0)) break;
    }
    assert_true(chunk_count(vm) < 4);
}

// H5: the running frame, and each frame when it is returned into, runs on the copy.
static void copy_reaches_all_frames_through_the_trap(void **state) {
    WorkerVm *vm = *state;
    const int64_t depth = 2000;
    for (int64_t n = 1; n <= depth; n++) call(vm, receiver, n);
    assert_int_equal(pn_store(vm, ref_raw(receiver), 0, ref_from_int(1)), PN_WRITABLE);
    Ref copy = ref_of(pn_deref(vm, receiver));
    assert_int_equal(vm->fp[-1].bits, copy.bits);
    assert_non_null(vm->trap.link);
    for (int64_t n = depth; n >= 2; n--) {
        leave(vm, n);
        assert_int_equal(vm->fp[-1].bits, copy.bits);
        FrameWalk w = pn_frames(vm);
        pn_frame_next(&w);
        assert_ptr_equal(w.link, vm->trap.link);
        if (w.link != NULL) {
            assert_ptr_equal(pn_link_pc(vm, w.link), code.bytecodes + (n - 2) % 256);
            assert_int_equal(w.fp[-1].bits, receiver.bits);
        }
    }
    leave(vm, 1);
    assert_null(vm->trap.link);
}

// While the stack grows and frames come and go above the trap it stays where it is; a newer copy moves it up.
static void trap_moves_with_its_chunk_and_up_with_new_copies(void **state) {
    WorkerVm *vm = *state;
    for (int64_t n = 1; n <= 3; n++) call(vm, receiver, n);
    pn_stack_receivers_stale(vm);
    uint64_t low = pn_link_number(vm, vm->trap.link);
    for (int64_t n = 4; n <= 1000; n++) call(vm, receiver, n);
    assert_int_equal(pn_link_number(vm, vm->trap.link), low);
    assert_ptr_equal(vm->trap.link->pc, pn_trap_bytecode);
    pn_stack_receivers_stale(vm);
    assert_int_equal(pn_link_number(vm, vm->trap.link) > low, true);
    assert_ptr_equal(pn_link_pc(vm, vm->trap.link), code.bytecodes + 999 % 256);
    for (int64_t n = 1000; n >= 1; n--) leave(vm, n);
    assert_null(vm->trap.link);
    assert_true(vm->cp->flags & PN_LINK_BASE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(frames_survive_growth_and_underflow),
        TEST(links_are_found_by_number),
        TEST(emptied_chunk_is_kept),
        TEST(limit_stops_growth),
        TEST(copy_reaches_all_frames_through_the_trap),
        TEST(trap_moves_with_its_chunk_and_up_with_new_copies),
    };
    return PN_COW ? test_run(tests) : 0; // the layer written by hand is of no use without
}
