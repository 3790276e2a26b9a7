// tests/base/hash_is_xxhash64.c: pn_hash_bytes is xxHash64, which image files depend on.
#include "tests/support.h"

static uint64_t hash_text(const char *text, uint64_t seed) { return pn_hash_bytes(text, strlen(text), seed); }

static void published_values_come_out(void **state) {
    (void)state;
    assert_true(hash_text("", 0) == UINT64_C(0xEF46DB3751D8E999));
    assert_true(hash_text("a", 0) == UINT64_C(0xD24EC4F1A98C6E5B));
    assert_true(hash_text("abc", 0) == UINT64_C(0x44BC2CF5AD770999));
    assert_true(hash_text("xxhash", 20141025) == UINT64_C(13067679811253438005));
    assert_true(hash_text("Nobody inspects the spammish repetition", 0) == UINT64_C(0xFBCEA83C8A378BF1));
}

// Every length takes another way through stripes, words and bytes; the last byte must count in each.
static void every_byte_counts(void **state) {
    (void)state;
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37);
    for (size_t count = 1; count <= sizeof bytes; count++) {
        uint64_t before = pn_hash_bytes(bytes, count, 1);
        assert_true(before != pn_hash_bytes(bytes, count, 2));
        assert_true(before != pn_hash_bytes(bytes, count - 1, 1));
        for (size_t i = 0; i < count; i++) {
            bytes[i] ^= 0x80;
            assert_true(before != pn_hash_bytes(bytes, count, 1));
            bytes[i] ^= 0x80;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_come_out),
        cmocka_unit_test(every_byte_counts),
    };
    return test_run(tests);
}
