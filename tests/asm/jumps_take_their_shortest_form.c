// A jump has one byte up to a distance of 8, two up to 255, four beyond, also where jumps stretch each other.
#include "tests/support.h"

#include "interp/decode.h"

// Bytecodes of `jump over distance bytes; filler; ^self`, with a jump of the given kind.
static size_t first_jump_length(WorkerVm *vm, void (*jump)(Asm *, AsmLabel), uint32_t distance, Instruction *in) {
    Asm *a = pn_asm(vm, 0, 0);
    AsmLabel target = pn_asm_label(a);
    if (jump != pn_asm_jump) pn_asm_push_true(a);
    jump(a, target);
    for (uint32_t i = 0; i < distance; i++) pn_asm_byte(a, 0x5F); // nop
    pn_asm_bind(a, target);
    pn_asm_return_self(a);
    Oop method = pn_asm_method(a, pn_asm_class_named(vm, "Object"), "jumping");
    size_t first = 8 * (code_header_literals(ref_int(oop_slot(method, 0))) + (size_t)1);
    size_t at = jump != pn_asm_jump;
    assert_true(pn_decode(oop_bytes(method) + first, oop_byte_count(method) - first, at, in));
    assert_int_equal(in->a, distance);
    return in->length;
}

static void forward_jumps_grow_with_distance(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    static const struct {
        uint32_t distance, length;
    } cases[] = {
        {0, 2}, {1, 1}, {8, 1}, {9, 2}, {255, 2}, {256, 4}, {32767, 4},
    };
    void (*const jumps[])(Asm *, AsmLabel) = {pn_asm_jump, pn_asm_jump_true, pn_asm_jump_false};
    for (size_t i = 0; i < PN_COUNT_OF(cases); i++) {
        for (size_t j = 0; j < PN_COUNT_OF(jumps); j++) {
            Instruction in;
            size_t length = first_jump_length(vm, jumps[j], cases[i].distance, &in);
            test_check(length == cases[i].length, "jump over %u has %zu bytes", cases[i].distance, length);
            test_check(op_is_conditional_jump(in.op) == (j > 0), "jump %zu over %u", j, cases[i].distance);
        }
    }
    pn_worker_free(vm);
}

enum { JUMPS = 60 };

// Jump to a label not later than here, which a conditional jump cannot.
static void add_conditional_jump_back(Asm *a, AsmLabel target) {
    AsmLabel over = pn_asm_label(a);
    pn_asm_push_false(a);
    pn_asm_jump_true(a, over);
    pn_asm_jump(a, target);
    pn_asm_bind(a, over);
}

// A chain of jumps forward and back between filler. After label i comes pushInteger: 2 + i, so that where a jump lands
// can be told. targets[i] is the label that the jump after label i leads to.
static Oop build_chain(WorkerVm *vm, uint64_t *seed, uint32_t *targets) {
    Asm *a = pn_asm(vm, 0, 0);
    AsmLabel labels[JUMPS];
    for (uint32_t i = 0; i < JUMPS; i++) labels[i] = pn_asm_label(a);
    for (uint32_t i = 0; i < JUMPS; i++) {
        pn_asm_bind(a, labels[i]);
        pn_asm_push_int(a, 2 + i);
        pn_asm_pop(a);
        for (uint64_t n = (pn_random(seed) >> 32) % 12; n > 0; n--) pn_asm_byte(a, 0x5F);
        targets[i] = (uint32_t)(pn_random(seed) >> 33) % JUMPS;
        if (targets[i] > i) {
            pn_asm_push_true(a);
            pn_asm_jump_true(a, labels[targets[i]]);
        } else {
            add_conditional_jump_back(a, labels[targets[i]]);
        }
    }
    pn_asm_return_self(a);
    return pn_asm_method(a, pn_asm_class_named(vm, "Object"), "jumping");
}

static void check_chain(const uint8_t *bytes, size_t count, const uint32_t *targets) {
    uint32_t current = 0, jumps = 0;
    for (size_t at = 0; at < count;) {
        Instruction in, target;
        assert_true(pn_decode(bytes, count, at, &in));
        at += in.length;
        if (in.op == PN_OP_push_int) current = (uint32_t)in.a - 2;
        // A conditional jump in front of a jump back only leads over that.
        bool leads_over = op_is_conditional_jump(in.op) && targets[current] <= current;
        if (!op_is_jump(in.op) || leads_over) continue;
        assert_true(pn_decode(bytes, count, (size_t)((int64_t)at + in.a), &target));
        test_check(target.op == PN_OP_push_int && target.a == 2 + (int64_t)targets[current],
                   "jump %u lands at %lld instead of label %u", current, (long long)target.a, targets[current]);
        jumps++;
    }
    assert_int_equal(jumps, JUMPS);
}

static void stretched_jumps_still_land_on_their_labels(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    uint64_t seed = test_seed();
    for (int round = 0; round < 50; round++) {
        uint32_t targets[JUMPS];
        Oop method = build_chain(vm, &seed, targets);
        size_t first = 8 * (code_header_literals(ref_int(oop_slot(method, 0))) + (size_t)1);
        check_chain(oop_bytes(method) + first, oop_byte_count(method) - first, targets);
    }
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_jumps_grow_with_distance),
        cmocka_unit_test(stretched_jumps_still_land_on_their_labels),
    };
    return test_run(tests);
}
