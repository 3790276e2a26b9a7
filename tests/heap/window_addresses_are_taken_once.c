// tests/heap/window_addresses_are_taken_once.c: each part of the window gives out its addresses, once, and takes them
// back.
#include "tests/support.h"

#include <pthread.h>
#include <sys/mman.h>

static void starting_again_does_nothing(void **state) {
    (void)state;
    PnError error = {0};
    uint64_t taken = pn_window_take(PN_PART_OBJECTS, 0, 1);
    assert_int_equal(pn_process_init(&error), PN_OK);
    uint64_t next = pn_window_take(PN_PART_OBJECTS, 0, 1);
    assert_true(taken != next && pn_address_is_shared(taken) == PN_COW);
    pn_window_give(PN_PART_OBJECTS, taken, 1);
    pn_window_give(PN_PART_OBJECTS, next, 1);
}

static void first_fit_and_what_was_wanted(void **state) {
    (void)state;
    size_t granule = PN_WINDOW_GRANULE;
    uint64_t a = pn_window_take(PN_PART_CODE, 0, 1);
    uint64_t b = pn_window_take(PN_PART_CODE, 0, granule + 1);
    uint64_t c = pn_window_take(PN_PART_CODE, 0, granule);
    assert_true(a % granule == 0 && b == a + granule && c == b + 2 * granule);
    assert_true(pn_window_take(PN_PART_CODE, a, 1) == c + granule); // wanted, but taken
    pn_window_give(PN_PART_CODE, c + granule, 1);
    uint64_t far_away = c + 100 * granule;
    assert_true(pn_window_take(PN_PART_CODE, far_away, granule) == far_away);
    assert_true(pn_window_take(PN_PART_CODE, far_away - granule, 2 * granule) == c + granule); // overlaps
    pn_window_give(PN_PART_CODE, c + granule, 2 * granule);
    pn_window_give(PN_PART_CODE, b, granule + 1);
    assert_true(pn_window_take(PN_PART_CODE, 0, 3 * granule) == c + granule); // the gap is too small
    assert_true(pn_window_take(PN_PART_CODE, 0, 2 * granule) == b);
    pn_window_give(PN_PART_CODE, a, 1);
    pn_window_give(PN_PART_CODE, b, 2 * granule);
    pn_window_give(PN_PART_CODE, c, 4 * granule);
    pn_window_give(PN_PART_CODE, far_away, granule);
}

static void a_full_part_answers_0(void **state) {
    (void)state;
    uint64_t all = pn_window_take(PN_PART_CODE, 0, PN_LAYER_CODE_BYTES);
    assert_true(all == PN_LAYER_CODE);
    assert_true(pn_window_take(PN_PART_CODE, 0, 1) == 0);
    assert_true(pn_window_take(PN_PART_CODE, PN_LAYER_CODE, 1) == 0);
    pn_window_give(PN_PART_CODE, all, PN_LAYER_CODE_BYTES);
    assert_true(pn_window_take(PN_PART_CODE, 0, PN_LAYER_CODE_BYTES + 1) == 0);
    assert_true(pn_window_take(PN_PART_OBJECTS, 0, PN_LAYER_OBJECTS_BYTES + 1) == 0);
}

static void given_addresses_hold_nothing(void **state) {
    (void)state;
    uint64_t at = pn_window_take(PN_PART_OBJECTS, 0, PN_WINDOW_GRANULE);
    void *pages = (void *)(uintptr_t)at;
    assert_true(mmap(pages, 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == pages);
    *(uint64_t *)pages = 17;
    pn_window_give(PN_PART_OBJECTS, at, PN_WINDOW_GRANULE);
    assert_true(pn_window_take(PN_PART_OBJECTS, at, 1) == at);
    assert_int_equal(mprotect(pages, 4096, PROT_READ), 0);
    assert_true(*(uint64_t *)pages == 0);
    pn_window_give(PN_PART_OBJECTS, at, 1);
}

static void private_code_is_writable_at_once(void **state) {
    (void)state;
    uint64_t a = pn_window_take(PN_PART_PRIVATE_CODE, 0, 100);
    uint64_t b = pn_window_take(PN_PART_PRIVATE_CODE, 0, 4097);
    assert_true(b == a + 4096); // in pages, so that many workers can have some
    *(uint64_t *)(uintptr_t)(b + 4096) = 17;
    pn_window_give(PN_PART_PRIVATE_CODE, a, 100);
    pn_window_give(PN_PART_PRIVATE_CODE, b, 4097);
}

// Each thread takes and gives; what it holds carries its number, and nobody else's.
#define THREADS 4
#define ROUNDS 2000
#define HELD 16

static void *take_and_give(void *number) {
    uint64_t held[HELD] = {0};
    uint64_t random = (uint64_t)(uintptr_t)number;
    uintptr_t clashes = 0;
    for (size_t round = 0; round < ROUNDS + HELD; round++) {
        uint64_t *slot = &held[round % HELD];
        if (*slot != 0) {
            clashes += *(uint64_t *)(uintptr_t)*slot != (uint64_t)(uintptr_t)number;
            pn_window_give(PN_PART_PRIVATE_CODE, *slot, 4096);
        }
        *slot = round < ROUNDS
                    ? pn_window_take(PN_PART_PRIVATE_CODE, PN_PRIVATE_CODE + pn_random(&random) % 64 * 4096, 1)
                    : 0;
        if (*slot != 0) *(uint64_t *)(uintptr_t)*slot = (uint64_t)(uintptr_t)number;
    }
    return (void *)clashes;
}

static void threads_take_different_addresses(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *clashes;
        pthread_join(threads[i], &clashes);
        assert_null(clashes);
    }
    uint64_t all = pn_window_take(PN_PART_PRIVATE_CODE, 0, PN_PRIVATE_CODE_BYTES);
    assert_true(all == PN_PRIVATE_CODE); // everything came back
    pn_window_give(PN_PART_PRIVATE_CODE, all, PN_PRIVATE_CODE_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starting_again_does_nothing),
        cmocka_unit_test(first_fit_and_what_was_wanted),
        cmocka_unit_test(a_full_part_answers_0),
        cmocka_unit_test(given_addresses_hold_nothing),
        cmocka_unit_test(private_code_is_writable_at_once),
        cmocka_unit_test(threads_take_different_addresses),
    };
    return test_run(tests);
}
