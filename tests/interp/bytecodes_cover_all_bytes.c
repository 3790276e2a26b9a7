// The list of bytecodes has each of the 256 bytes exactly once, with the length its value says.
#include "tests/support.h"

#include "interp/decode.h"

typedef struct Range {
    unsigned first, last, operand_bytes;
    const char *name;
} Range;
static const Range ranges[] = {
#define BYTECODE(first, last, name, operand_bytes, ext, pops, pushes, text, meaning)                                   \
    {first, last, operand_bytes, #name},
#include "interp/bytecodes.def"
#undef BYTECODE
};

static void ranges_follow_each_other_without_gap(void **state) {
    (void)state;
    unsigned next = 0;
    for (size_t i = 0; i < PN_COUNT_OF(ranges); i++) {
        test_check(ranges[i].first == next, "%s begins at %u, not at %u", ranges[i].name, ranges[i].first, next);
        test_check(ranges[i].last >= next, "%s ends before it begins", ranges[i].name);
        next = ranges[i].last + 1;
    }
    assert_int_equal(next, 256);
}

static void length_follows_from_the_first_byte(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned length = byte < 224 ? 1 : byte < 248 ? 2 : 3;
        test_check(pn_op_info[byte].operand_bytes + 1u == length, "byte %u has %u operand bytes", byte,
                   pn_op_info[byte].operand_bytes);
    }
}

static void unassigned_bytes_are_those_of_the_reference(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool unassigned = (byte >= 84 && byte <= 87) || (byte >= 218 && byte <= 223) || byte == 230 || byte == 246 ||
                          byte == 247 || byte >= 254;
        test_check((pn_op_info[byte].op == PN_OP_unused) == unassigned, "byte %u", byte);
    }
}

static void every_operation_has_text_and_meaning(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        const OpInfo *info = &pn_op_info[byte];
        test_check(info->text != NULL && *info->text && info->meaning != NULL && *info->meaning, "byte %u", byte);
        test_check(info->pops >= PN_STACK_VARIES && info->pops <= 3 && info->pushes <= 2, "byte %u", byte);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_follow_each_other_without_gap),
        cmocka_unit_test(length_follows_from_the_first_byte),
        cmocka_unit_test(unassigned_bytes_are_those_of_the_reference),
        cmocka_unit_test(every_operation_has_text_and_meaning),
    };
    return test_run(tests);
}
