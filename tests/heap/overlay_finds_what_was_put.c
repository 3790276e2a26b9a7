// Overlay tables answer the last value put under a key, whatever the keys; filters hold every key of both overlays.
#include "heap/heap_int.h"
#include "tests/support.h"

enum { COUNT = 20000 };

static Ref key_of(size_t i, size_t stride) { return (Ref){PN_LAYER_OBJECTS + stride * i}; }

static void check_table(size_t stride) {
    Overlay o = {0};
    assert_true(ref_is_none(pn_overlay_get(&o, key_of(1, stride))));
    for (size_t i = 0; i < COUNT; i++) assert_true(pn_overlay_put(&o, key_of(i, stride), (Ref){8 * i + 8}));
    for (size_t i = 0; i < COUNT; i += 2) assert_true(pn_overlay_put(&o, key_of(i, stride), (Ref){16 * i + 8}));
    assert_int_equal(o.count, COUNT);
    assert_true(4 * o.count <= 3 * (o.mask + 1));
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(pn_overlay_get(&o, key_of(i, stride)).bits, i % 2 ? 8 * i + 8 : 16 * i + 8);
    assert_true(ref_is_none(pn_overlay_get(&o, key_of(COUNT, stride))));
    pn_overlay_clear(&o);
    assert_null(o.entries);
}

static void table_finds_keys_of_any_stride(void **state) {
    (void)state;
    for (size_t stride = 16; stride <= 1 << 16; stride *= 2) {
        check_table(stride);
        check_table(3 * stride);
    }
}

static void filter_holds_both_overlays(void **state) {
    (void)state;
    Overlay a = {0}, b = {0};
    Filter f;
    uint64_t random = test_seed();
    for (size_t n = 1; n < 5000; n = n * 3 / 2 + 1) {
        while (a.count < n) assert_true(pn_overlay_put(&a, key_of(pn_random(&random) % (1 << 28), 16), (Ref){9}));
        while (b.count < n / 2) assert_true(pn_overlay_put(&b, key_of(pn_random(&random) % (1 << 28), 16), (Ref){9}));
        assert_true(pn_filter_build(&f, &a, &b));
        size_t bits = f.mask + 1, entries = a.count + b.count;
        assert_true(bits >= 8 * entries && (bits <= 512 || bits < 16 * entries));
        for (size_t at = 0; at <= a.mask; at++)
            if (a.entries[2 * at] != 0) assert_true(filter_may_hold(&f, a.entries[2 * at]));
        for (size_t at = 0; b.entries != NULL && at <= b.mask; at++)
            if (b.entries[2 * at] != 0) assert_true(filter_may_hold(&f, b.entries[2 * at]));
        pn_filter_free(&f);
    }
    pn_overlay_clear(&a);
    pn_overlay_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_finds_keys_of_any_stride),
        cmocka_unit_test(filter_holds_both_overlays),
    };
    return test_run(tests);
}
