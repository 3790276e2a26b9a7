// One instruction as text: every first byte has one, its length is right, and nothing is read or written out of bounds.
#include "tests/support.h"

#define LINE 100

static void every_byte_has_a_text(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t bytes[8] = {(uint8_t)byte, 0, 0x4C}; // an extension byte needs an instruction: pushSelf
        bool is_extension = byte == 224 || byte == 225;
        char text[LINE];
        size_t length = pn_disassemble_one(bytes, sizeof bytes, 0, text, sizeof text);
        size_t expected = is_extension ? 3 : byte < 224 ? 1 : byte < 248 ? 2 : 3;
        test_check(length == expected, "byte %u has length %zu", byte, length);
        test_check(text[0] != 0 && strchr(text, '%') == NULL && strchr(text, '\n') == NULL, "byte %u: %s", byte, text);
    }
}

static void cut_instructions_have_no_text(void **state) {
    (void)state;
    for (unsigned byte = 224; byte < 256; byte++) {
        for (size_t count = 1; count < (byte < 248 ? 2u : 3u); count++) {
            uint8_t *bytes = pn_mem_alloc(count); // so that a sanitizer sees a read behind the end
            memset(bytes, (int)byte, count);
            char text[LINE];
            size_t length = pn_disassemble_one(bytes, count, 0, text, sizeof text);
            pn_mem_free(bytes);
            test_check(length == 0 && text[0] == 0, "byte %u cut to %zu bytes", byte, count);
        }
    }
}

static void text_is_cut_at_the_end_of_its_buffer(void **state) {
    (void)state;
    const uint8_t bytes[] = {0xE0, 0x01, 0xF9, 0x02, 0xC3};
    char whole[LINE];
    assert_int_equal(pn_disassemble_one(bytes, sizeof bytes, 0, whole, sizeof whole), sizeof bytes);
    for (size_t room = 1; room < sizeof whole; room++) {
        char text[LINE + 1];
        memset(text, '#', sizeof text);
        pn_disassemble_one(bytes, sizeof bytes, 0, text, room);
        test_check(strncmp(text, whole, room - 1) == 0 && strlen(text) < room, "in %zu bytes: %s", room, text);
        assert_int_equal(text[room], '#');
    }
    assert_int_equal(pn_disassemble_one(bytes, sizeof bytes, 0, whole, 0), sizeof bytes);
}

typedef struct Case {
    const char *text;
    size_t at, count;
    uint8_t bytes[12];
} Case;
static const Case cases[] = {
    {"pushInstVar: 7", 0, 1, {7}},
    {"pushLiteralVariable: 3", 0, 1, {19}},
    {"pushLiteral: 31", 0, 1, {63}},
    {"pushTemp: 11", 0, 1, {75}},
    {"send: \\\\", 0, 1, {106}},
    {"send: at:put:", 0, 1, {113}},
    {"send: 15 arguments: 2", 0, 1, {175}},
    {"popIntoInstVar: 7", 0, 1, {207}},
    {"pushInteger: -1", 0, 4, {0xE1, 0xFF, 0xE8, 0xFF}},
    {"pushInteger: 300", 0, 4, {0xE1, 0x01, 0xE8, 0x2C}},
    {"pushInteger: -32768", 0, 4, {0xE1, 0x80, 0xE8, 0x00}},
    {"pushInteger: 32768", 0, 6, {0xE1, 0x00, 0xE1, 0x80, 0xE8, 0x00}}, // only the first byte of a run has a sign
    {"pushCharacter: 955", 0, 4, {0xE1, 0x03, 0xE9, 0xBB}},
    {"pushLiteral: 65793", 0, 6, {0xE0, 0x01, 0xE0, 0x01, 0xE4, 0x01}},
    {"send: 40 arguments: 9", 0, 6, {0xE0, 0x01, 0xE1, 0x01, 0xEA, 0x41}},
    {"superSend: 3 arguments: 0", 0, 2, {0xEB, 0x18}},
    {"superSend: 3 arguments: 0 directed", 0, 4, {0xE1, 0x40, 0xEB, 0x18}},
    {"superSend: 3 arguments: 9 directed", 0, 4, {0xE1, 0x41, 0xEB, 0x19}},
    {"jumpTo: 4", 2, 3, {0, 0, 176}},
    {"jumpFalse: 11", 2, 3, {0, 0, 199}},
    {"jumpTo: 0", 2, 6, {0, 0, 0xE1, 0xFF, 0xED, 0xFA}},
    {"jumpTrue: 260", 0, 4, {0xE1, 0x01, 0xEE, 0x00}},
    {"pushArray: 3", 0, 2, {0xE7, 0x03}},
    {"pushArray: 3 fromStack", 0, 2, {0xE7, 0x83}},
    {"callPrimitive: 60", 0, 3, {0xF8, 0x3C, 0x00}},
    {"callPrimitive: 266", 0, 3, {0xF8, 0x0A, 0x01}},
    {"pushClosure: 2 copied: 1", 0, 3, {0xF9, 0x02, 0x01}},
    {"pushClosure: 2 copied: 0 noOuter", 0, 3, {0xF9, 0x02, 0x40}},
    {"pushClosure: 258 copied: 3 noOuter receiverOnStack", 0, 5, {0xE0, 0x01, 0xF9, 0x02, 0xC3}},
    {"pushTemp: 1 inVectorAt: 2", 0, 3, {0xFB, 0x01, 0x02}},
    {"popIntoTemp: 1 inVectorAt: 2", 0, 3, {0xFD, 0x01, 0x02}},
    {"pushThisContext: 1", 0, 3, {0xE1, 0x01, 0x52}},
    {"pushSelf (useless extension)", 0, 3, {0xE1, 0x01, 0x4C}},
    {"unused", 0, 3, {0xFE, 0x01, 0x52}},
};

static void operands_are_shown_decoded(void **state) {
    (void)state;
    for (size_t i = 0; i < PN_COUNT_OF(cases); i++) {
        char text[LINE];
        size_t length = pn_disassemble_one(cases[i].bytes, cases[i].count, cases[i].at, text, sizeof text);
        test_check(length == cases[i].count - cases[i].at, "%s has length %zu", cases[i].text, length);
        test_check(strcmp(text, cases[i].text) == 0, "\"%s\" instead of \"%s\"", text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_has_a_text),
        cmocka_unit_test(cut_instructions_have_no_text),
        cmocka_unit_test(text_is_cut_at_the_end_of_its_buffer),
        cmocka_unit_test(operands_are_shown_decoded),
    };
    return test_run(tests);
}
