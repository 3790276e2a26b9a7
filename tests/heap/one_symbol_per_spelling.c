// tests/heap/one_symbol_per_spelling.c: a spelling has one address in the process (H8), whoever makes it, and loaded
// layers keep it so.
#include "tests/support.h"

#include <pthread.h>

static void a_symbol_has_its_bits(void **state) {
    (void)state;
    Ref r = pn_symbol_z("at:put:");
    Oop o = ref_raw(r);
    uint64_t h = oop_header(o);
    assert_true(ref_is_symbol_region(r) && r.bits % 8 == 0);
    assert_int_equal(hdr_class_index(h), PN_CLASS_BYTE_SYMBOL);
    assert_int_equal(hdr_hash(h), pn_symbol_hash("at:put:", 7));
    assert_int_equal(oop_byte_count(o), 7);
    assert_memory_equal(oop_bytes(o), "at:put:", 8); // padded with 0
    uint64_t bits = PN_HDR_IMMUTABLE | PN_HDR_USER_READ_ONLY | PN_HDR_DEEPLY_READ_ONLY;
    assert_true((h & bits) == bits && (h & (PN_HDR_MARKED | PN_HDR_PINNED)) == 0);
}

static void the_same_spelling_is_the_same_symbol(void **state) {
    (void)state;
    size_t before = pn_symbol_count();
    Ref a = pn_symbol_z("something new");
    char copy[] = "something newer";
    assert_true(ref_same(a, pn_symbol(copy, strlen("something new"))));
    assert_true(ref_same(a, pn_symbol_find("something new", 13)));
    assert_false(ref_same(a, pn_symbol_z(copy)));
    assert_int_equal(pn_symbol_count(), before + 2);
    assert_true(ref_is_none(pn_symbol_find("nobody said this", 16)));
    assert_int_equal(pn_symbol_count(), before + 2);
}

static void any_length_will_do(void **state) {
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof text);
    const size_t lengths[] = {0, 1, 7, 8, 9, 254 * 8, 254 * 8 + 1, 255 * 8, 5000};
    for (size_t i = 0; i < PN_COUNT_OF(lengths); i++) {
        Ref r = pn_symbol(text, lengths[i]);
        assert_int_equal(oop_byte_count(ref_raw(r)), lengths[i]);
        assert_memory_equal(oop_bytes(ref_raw(r)), text, lengths[i]);
        assert_true(ref_same(r, pn_symbol(text, lengths[i])));
    }
    assert_true(ref_same(pn_symbol(NULL, 0), pn_symbol_z("")));
}

static void the_region_is_walked_symbol_by_symbol(void **state) {
    (void)state;
    size_t count = 0;
    Ref wanted = pn_symbol_z("walk over me");
    bool found = false;
    for (Oop o = pn_symbol_region_next(PN_NO_OOP); !oop_is_none(o); o = pn_symbol_region_next(o)) {
        assert_int_equal(oop_class_index(o), PN_CLASS_BYTE_SYMBOL);
        assert_true(ref_same(ref_of(o), pn_symbol_find((const char *)oop_bytes(o), oop_byte_count(o))));
        found |= ref_same(ref_of(o), wanted);
        count++;
    }
    assert_true(found);
    assert_int_equal(count, pn_symbol_count());
}

// ---- Threads ------------------------------------------------------------------------------------

#define THREADS 4
#define SPELLINGS 3000

typedef struct Maker {
    size_t number;
    Ref made[SPELLINGS];
    size_t walked_wrong;
} Maker;
static Maker makers[THREADS];

static size_t spell(char *text, size_t bytes, size_t i) { return (size_t)snprintf(text, bytes, "made by all %zu", i); }

// Each thread begins elsewhere, so that each is sometimes first and sometimes later, and walks while others make.
static void *make_all(void *which) {
    Maker *m = which;
    char text[40];
    for (size_t i = 0; i < SPELLINGS; i++) {
        size_t n = (i + m->number * SPELLINGS / THREADS / 8) % SPELLINGS;
        m->made[n] = pn_symbol(text, spell(text, sizeof text, n));
        if (i % 1000 != 0) continue;
        for (Oop o = pn_symbol_region_next(PN_NO_OOP); !oop_is_none(o); o = pn_symbol_region_next(o))
            m->walked_wrong += !ref_same(ref_of(o), pn_symbol_find((const char *)oop_bytes(o), oop_byte_count(o)));
    }
    return NULL;
}

static void threads_make_one_symbol_per_spelling(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    size_t before = pn_symbol_count();
    for (size_t i = 0; i < THREADS; i++) {
        makers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, make_all, &makers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(pn_symbol_count(), before + SPELLINGS);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(makers[i].walked_wrong, 0);
        for (size_t n = 0; n < SPELLINGS; n++) assert_true(ref_same(makers[i].made[n], makers[0].made[n]));
    }
    the_region_is_walked_symbol_by_symbol(NULL);
}

// ---- Layers -------------------------------------------------------------------------------------

static uint64_t symbol_header(const char *spelling) {
    size_t count = strlen(spelling);
    return pn_header(pn_slots_for_bytes(count), pn_symbol_hash(spelling, count), pn_format_for_bytes(count),
                     PN_CLASS_BYTE_SYMBOL) |
           PN_HDR_IMMUTABLE | PN_HDR_USER_READ_ONLY | PN_HDR_DEEPLY_READ_ONLY;
}

static void put_frozen(Layer *layer, Ref r, uint32_t hash) {
    size_t at = hash & (layer->symbol_capacity - 1);
    while (!ref_is_none(layer->symbols[at])) at = (at + 1) & (layer->symbol_capacity - 1);
    layer->symbols[at] = r;
}

// A layer that holds symbols, each of at most 16 bytes, with a table of so many places.
static Layer *layer_of_symbols(const char *const *spellings, size_t count, size_t capacity) {
    LayerDraft draft;
    PnError error = {0};
    assert_int_equal(pn_layer_draft(NULL, count * 24, 0, &draft, &error), PN_OK);
    draft.layer->symbol_capacity = capacity;
    draft.layer->symbols = pn_mem_alloc_zeroed(capacity * sizeof(Ref));
    uint64_t *memory = (uint64_t *)(void *)draft.objects;
    uint64_t at = draft.layer->objects.start;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(spellings[i]);
        assert_true(length > 8 && length <= 16);
        memory[3 * i] = symbol_header(spellings[i]);
        memcpy(memory + 3 * i + 1, spellings[i], length);
        put_frozen(draft.layer, (Ref){at + 24 * i}, pn_symbol_hash(spellings[i], length));
    }
    Layer *layer = draft.layer;
    assert_int_equal(pn_layer_publish(&draft, &error), PN_OK);
    return layer;
}

static void symbols_of_a_layer_are_found_while_it_is_there(void **state) {
    (void)state;
    const char *spellings[] = {"frozen one", "frozen two", "frozen three"};
    Layer *layer = layer_of_symbols(spellings, 3, 4);
    assert_true(ref_is_none(pn_symbol_find("frozen one", 10)));
    assert_int_equal(pn_symbols_join(layer), 0);
    assert_int_equal(pn_symbols_join(layer), 0); // once more is no harm
    size_t before = pn_symbol_count();
    for (size_t i = 0; i < 3; i++) {
        Ref r = pn_symbol_z(spellings[i]);
        assert_true(layer_holds(layer, r.bits));
        assert_memory_equal(oop_bytes(ref_raw(r)), spellings[i], strlen(spellings[i]));
    }
    assert_int_equal(pn_symbol_count(), before);
    pn_layer_release(layer); // leaves
    assert_true(ref_is_none(pn_symbol_find("frozen one", 10)));
}

static void a_spelling_that_exists_keeps_a_layer_out(void **state) {
    (void)state;
    const char *spellings[] = {"early bird", "early worm", "late birds"};
    Ref bird = pn_symbol_z("early bird");
    pn_symbol_z("early worm");
    Layer *small = layer_of_symbols(spellings, 3, 4);               // smaller than what was made: it is walked
    Layer *large = layer_of_symbols(spellings, 3, (size_t)1 << 20); // larger: what was made is
    assert_int_equal(pn_symbols_join(small), 2);
    assert_int_equal(pn_symbols_join(large), 2);
    assert_true(ref_same(pn_symbol_z("early bird"), bird));
    assert_true(ref_is_none(pn_symbol_find("late birds", 10)));
    pn_layer_release(small);
    pn_layer_release(large);
}

static void two_layers_with_one_spelling_do_not_both_join(void **state) {
    (void)state;
    const char *first[] = {"in layers 1", "in layers 1+2"};
    const char *second[] = {"in layers 1+2", "in layers 2"};
    Layer *a = layer_of_symbols(first, 2, 4);
    Layer *b = layer_of_symbols(second, 2, 64);
    assert_int_equal(pn_symbols_join(a), 0);
    assert_int_equal(pn_symbols_join(b), 1);
    pn_layer_release(a);
    assert_int_equal(pn_symbols_join(b), 0);
    assert_true(layer_holds(b, pn_symbol_z("in layers 1+2").bits));
    pn_layer_release(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_symbol_has_its_bits),
        cmocka_unit_test(the_same_spelling_is_the_same_symbol),
        cmocka_unit_test(any_length_will_do),
        cmocka_unit_test(the_region_is_walked_symbol_by_symbol),
        cmocka_unit_test(threads_make_one_symbol_per_spelling),
        cmocka_unit_test(symbols_of_a_layer_are_found_while_it_is_there),
        cmocka_unit_test(a_spelling_that_exists_keeps_a_layer_out),
        cmocka_unit_test(two_layers_with_one_spelling_do_not_both_join),
    };
    return test_run(tests);
}
