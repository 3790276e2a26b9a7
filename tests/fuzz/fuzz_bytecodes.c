// libFuzzer target: the bytecode checker and the disassembler on any bytes.
//
// The first two bytes of the input are the numbers of literals and temps, the rest are bytecodes.
// What the checker accepts must also disassemble from the beginning, as far as control goes straight.
#include "interp/interp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const uint8_t *bytes = data + 2;
    size_t count = size - 2;
    PnError error;
    int deepest = pn_bytecodes_check(bytes, count, data[0], data[1], &error);
    PN_CHECK(deepest >= -1 && deepest <= 56, "the deepest stack is %d", deepest);
    PN_CHECK((deepest < 0) == (error.status != PN_OK), "answer %d and status %d", deepest, (int)error.status);
    char text[80];
    for (size_t at = 0; at < count;) {
        size_t length = pn_disassemble_one(bytes, count, at, text, sizeof text);
        PN_CHECK(at + length <= count, "an instruction of %zu bytes at %zu of %zu", length, at, count);
        PN_CHECK(length > 0 || at > 0 || deepest < 0, "the checker accepts what does not disassemble");
        at += length > 0 ? length : 1;
    }
    return 0;
}
