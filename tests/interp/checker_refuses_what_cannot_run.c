// The bytecode checker: what it accepts and the depth it finds, what it refuses and where, and that any bytes are safe.
#include "tests/support.h"

typedef struct Good {
    int deepest;
    uint32_t literals, temps;
    size_t count;
    uint8_t bytes[16];
} Good;
static const Good good[] = {
    {0, 0, 0, 1, {0x58}},                                                 // ^self
    {2, 0, 0, 4, {0x50, 0x51, 0x60, 0x5C}},                               // ^0 + 1
    {1, 0, 2, 7, {0xF8, 0x3C, 0x00, 0xF5, 0x01, 0x41, 0x5C}},             // primitive with error code
    {1, 0, 1, 6, {0x40, 0xD8, 0xE1, 0xFF, 0xED, 0xFA}},                   // endless loop
    {1, 0, 0, 6, {0x4D, 0xC1, 0x50, 0xB0, 0x51, 0x5C}},                   // two paths meet at one depth
    {4, 0, 0, 7, {0x50, 0x50, 0x50, 0x50, 0xE7, 0x84, 0x5C}},             // array from the stack
    {3, 0, 1, 9, {0x40, 0x40, 0x40, 0xD8, 0xD8, 0xD8, 0x5B, 0xF8, 0x00}}, // trailer bytes that nothing reaches
    {8, 35, 0, 15, {0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0x4F, 0xE0, 0x01, 0xE1, 0x00, 0xEA, 0x17, 0x5C}},
    {1, 0, 0, 2, {0x54, 0x00}},             // unassigned: a send that does not come back
    {1, 0, 0, 4, {0xE1, 0x01, 0x52, 0x5C}}, // the active process
};

static void runnable_code_has_its_deepest_stack(void **state) {
    (void)state;
    for (size_t i = 0; i < PN_COUNT_OF(good); i++) {
        PnError error;
        int deepest = pn_bytecodes_check(good[i].bytes, good[i].count, good[i].literals, good[i].temps, &error);
        test_check(deepest == good[i].deepest, "case %zu: %d %s", i, deepest, error.text);
    }
}

typedef struct Bad {
    const char *why;
    uint64_t offset;
    uint32_t literals, temps;
    size_t count;
    uint8_t bytes[12];
} Bad;
static const Bad bad[] = {
    {"no bytecodes", 0, 0, 0, 0, {0}},
    {"falls off the end", 1, 0, 0, 1, {0x4C}},
    {"cut operand", 0, 1, 0, 1, {0xE4}},
    {"cut extension", 0, 0, 0, 3, {0xE1, 0x01, 0xE1}},
    {"stack too short", 0, 0, 0, 2, {0xD8, 0x58}},
    {"stack too short for a send", 1, 0, 0, 3, {0x4C, 0x60, 0x5C}},
    {"temp that does not exist", 0, 0, 1, 2, {0x41, 0x5C}},
    {"vector temp that does not exist", 0, 0, 1, 4, {0xFB, 0x00, 0x01, 0x5C}},
    {"literal that does not exist", 0, 1, 0, 2, {0x21, 0x5C}},
    {"selector that does not exist", 1, 0, 0, 3, {0x4C, 0x80, 0x5C}},
    {"block that does not exist", 0, 2, 0, 4, {0xF9, 0x02, 0x00, 0x5C}},
    {"jump behind the end", 2, 0, 0, 2, {0xB7, 0x58}},
    {"jump before the beginning", 5, 0, 0, 5, {0xE1, 0xFF, 0xED, 0xFB, 0x58}},
    {"jump forward into an instruction", 3, 0, 0, 5, {0x4D, 0xC0, 0xE8, 0x5C, 0x5C}},
    {"jump back into an instruction", 1, 0, 0, 7, {0xE8, 0x50, 0xD8, 0xE1, 0xFF, 0xED, 0xFA}},
    {"jump behind an extension", 4, 0, 0, 8, {0x4D, 0xC1, 0xE1, 0x01, 0xE8, 0x00, 0xD8, 0x58}},
    {"paths of different depth", 4, 0, 0, 5, {0x4D, 0xC1, 0x50, 0x5F, 0x58}},
    {"conditional jump backward", 1, 0, 0, 6, {0x4D, 0xE1, 0xFF, 0xEE, 0xFB, 0x58}},
    {"primitive not at the beginning", 1, 0, 0, 5, {0x5F, 0xF8, 0x01, 0x00, 0x58}},
    {"inlined primitive", 0, 0, 0, 4, {0xF8, 0x01, 0x80, 0x58}},
    {"the machine's own bytecode", 0, 0, 0, 2, {0xD9, 0x58}},
    {"useless extension", 0, 0, 0, 4, {0xE0, 0x01, 0x4C, 0x5C}},
    {"too many extensions", 0, 0, 0, 11, {0xE1, 0, 0xE1, 0, 0xE1, 0, 0xE1, 0, 0xE8, 0, 0x5C}},
    {"negative argument count", 1, 1, 0, 6, {0x4C, 0xE1, 0xFF, 0xEA, 0x00, 0x5C}},
    {"negative character", 0, 0, 0, 5, {0xE1, 0xFF, 0xE9, 0x00, 0x5C}},
    {"unknown kind of context", 0, 0, 0, 4, {0xE1, 0x02, 0x52, 0x5C}},
};

static void other_code_is_refused_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < PN_COUNT_OF(bad); i++) {
        PnError error = {0};
        int deepest = pn_bytecodes_check(bad[i].bytes, bad[i].count, bad[i].literals, bad[i].temps, &error);
        test_check(deepest == -1, "%s is accepted", bad[i].why);
        test_check(error.status == PN_BAD_IMAGE && error.text[0] != 0, "%s has no text", bad[i].why);
        test_check(error.offset == bad[i].offset, "%s: found at %u", bad[i].why, (unsigned)error.offset);
    }
}

static void frames_end_at_the_size_of_a_large_context(void **state) {
    (void)state;
    uint8_t bytes[60];
    memset(bytes, 0x4C, sizeof bytes);
    bytes[56] = 0x5C;
    assert_int_equal(pn_bytecodes_check(bytes, 57, 0, 0, NULL), 56);
    assert_int_equal(pn_bytecodes_check(bytes, 57, 0, 1, NULL), -1);
    assert_int_equal(pn_bytecodes_check((const uint8_t[]){0x58}, 1, 0, 57, NULL), -1);
}

// ---- Random bytes -----------------------------------------------------------------------------------

// Bytes that keep the stack filled and jumps near, so that a good part of the cases goes deep into the code.
static uint8_t likely_byte(uint64_t *seed) {
    static const uint8_t likely[] = {0x4C, 0x50, 0x40, 0x20, 0x10, 0x53, 0xD8, 0xB0, 0xC1, 0xB9,
                                     0xE1, 0xE0, 0xED, 0xEF, 0x60, 0x76, 0x80, 0x90, 0xE7, 0xE8,
                                     0xEA, 0xF9, 0xFB, 0x5C, 0x00, 0x01, 0x02, 0xFF};
    uint64_t r = pn_random(seed);
    return (r & 7) == 0 ? (uint8_t)(r >> 8) : likely[(r >> 16) % sizeof likely];
}

// Exactly count bytes on the heap, so that a sanitizer sees a read behind the end.
static void check_random_bytes(uint64_t *seed, size_t count, bool any_byte, size_t *accepted) {
    uint8_t *bytes = pn_mem_alloc(count + (count == 0));
    for (size_t i = 0; i < count; i++) bytes[i] = any_byte ? (uint8_t)(pn_random(seed) >> 32) : likely_byte(seed);
    PnError error;
    int deepest = pn_bytecodes_check(bytes, count, 3, 3, &error);
    bool is_answer = deepest >= 0 ? deepest <= 53 : deepest == -1 && error.text[0] != 0;
    char text[64];
    for (size_t at = 0; at < count && is_answer; at++) {
        size_t length = pn_disassemble_one(bytes, count, at, text, sizeof text);
        is_answer = at + length <= count;
    }
    *accepted += deepest >= 0;
    pn_mem_free(bytes);
    test_check(is_answer, "deepest %d of %zu bytes", deepest, count);
}

static void random_bytes_are_safe(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    size_t accepted = 0;
    for (size_t i = 0; i < 100000; i++) check_random_bytes(&seed, pn_random(&seed) >> 32 & 63, i % 4 == 0, &accepted);
    test_check(accepted > 500, "only %zu random cases were accepted: they test nothing", accepted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runnable_code_has_its_deepest_stack),
        cmocka_unit_test(other_code_is_refused_with_its_place),
        cmocka_unit_test(frames_end_at_the_size_of_a_large_context),
        cmocka_unit_test(random_bytes_are_safe),
    };
    return test_run(tests);
}
