// A program that makes, links, drops, becomes and freezes objects at random, and a graph in plain C that it must
// agree with at any time: same shape, same contents, same identities.
#include "tests/gc/objects.h"

enum { ROOTS = 24, STEPS = 6000, MAX_SLOTS = 40 };

// An object as it should be. Slot 0 of the object in the heap is its number.
typedef struct Shadow {
    struct Shadow *becomes; // it was made to forward to another
    struct ShadowSlot *slots;
    size_t count;
    uint32_t number;
    uint32_t seen; // number of the comparison that met it last
    Ref name;      // what it was called then
} Shadow;

typedef struct ShadowSlot {
    Shadow *object; // or NULL: a number
    int64_t number;
} ShadowSlot;

typedef struct Mutator {
    WorkerVm *vm;
    uint64_t random;
    Shadow **all;
    size_t count;
    uint32_t comparison;
    Root roots[ROOTS];
    Shadow *shadows[ROOTS]; // NULL: nil
    Layer *layers[16];
    size_t layer_count;
} Mutator;

static size_t pick(Mutator *m, size_t limit) { return (size_t)(pn_random(&m->random) >> 20) % limit; }

static Shadow *current(Shadow *s) {
    while (s != NULL && s->becomes != NULL) s = s->becomes;
    return s;
}

static Shadow *new_shadow(Mutator *m, size_t slots) {
    if ((m->count & (m->count - 1)) == 0) {
        Shadow **bigger = realloc(m->all, (m->count == 0 ? 1 : 2 * m->count) * sizeof *bigger);
        assert_non_null(bigger);
        m->all = bigger;
    }
    Shadow *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->slots = calloc(slots, sizeof *s->slots);
    assert_non_null(s->slots);
    s->count = slots;
    s->number = (uint32_t)m->count;
    return m->all[m->count++] = s;
}

// ---- Steps ------------------------------------------------------------------------------------------------------

// Mostly small, sometimes with a slot count word, rarely large.
static size_t random_size(Mutator *m) {
    size_t kind = pick(m, 200);
    if (kind == 0) return PN_LARGE_BYTES / 8 + pick(m, 1000);
    if (kind < 4) return 255 + pick(m, 300);
    return 1 + pick(m, MAX_SLOTS);
}

static void make(Mutator *m) {
    size_t root = pick(m, ROOTS), slots = random_size(m);
    Oop o = object_array(m->vm, slots);
    Shadow *s = new_shadow(m, slots);
    oop_init_slot(o, 0, ref_from_int((int64_t)s->number));
    for (size_t i = 1; i < slots; i++) {
        s->slots[i].number = (int64_t)i;
        oop_init_slot(o, i, ref_from_int((int64_t)i));
    }
    m->roots[root].ref = ref_of(o);
    m->shadows[root] = s;
}

// An object reached by some random steps from a root; PN_NO_OOP if the root is empty.
static Oop walk(Mutator *m, Shadow **shadow) {
    size_t root = pick(m, ROOTS);
    *shadow = current(m->shadows[root]);
    if (*shadow == NULL) return PN_NO_OOP;
    Oop o = pn_deref(m->vm, m->roots[root].ref);
    for (size_t steps = pick(m, 8); steps > 0; steps--) {
        size_t slot = pick(m, (*shadow)->count);
        Shadow *next = current((*shadow)->slots[slot].object);
        if (slot == 0 || next == NULL) continue;
        o = pn_slot(m->vm, o, slot);
        *shadow = next;
    }
    return o;
}

static void store_number(Mutator *m) {
    Shadow *s;
    Oop o = walk(m, &s);
    if (s == NULL || s->count < 2) return;
    size_t slot = 1 + pick(m, s->count - 1);
    s->slots[slot] = (ShadowSlot){NULL, (int64_t)pick(m, 1000)};
    object_put(m->vm, o, slot, ref_from_int(s->slots[slot].number));
}

static void store_reference(Mutator *m) {
    Shadow *s, *value;
    Oop o = walk(m, &s), v = walk(m, &value);
    if (s == NULL || value == NULL || s->count < 2) return;
    o = pn_deref(m->vm, ref_of(o)); // the second walk may have copied it
    size_t slot = 1 + pick(m, s->count - 1);
    s->slots[slot] = (ShadowSlot){value, 0};
    object_put(m->vm, o, slot, ref_of(v));
}

static void drop_root(Mutator *m) {
    size_t root = pick(m, ROOTS);
    m->roots[root].ref = m->vm->nil;
    m->shadows[root] = NULL;
}

static void copy_root(Mutator *m) {
    size_t root = pick(m, ROOTS);
    Shadow *s;
    Oop o = walk(m, &s);
    if (s == NULL) return;
    m->roots[root].ref = ref_of(o);
    m->shadows[root] = s;
}

static void become(Mutator *m) {
    Shadow *from, *to;
    Root a, b;
    pn_root_push(m->vm, &a, ref_of(walk(m, &from)));
    pn_root_push(m->vm, &b, ref_of(walk(m, &to)));
    if (from != NULL && to != NULL && from != to) {
        Root list;
        pn_root_push(m->vm, &list, ref_of(object_array(m->vm, 1)));
        object_put(m->vm, pn_deref(m->vm, list.ref), 0, a.ref);
        Oop targets = object_array(m->vm, 1);
        object_put(m->vm, targets, 0, b.ref);
        uint32_t failed = pn_become(m->vm, pn_deref(m->vm, list.ref), targets, false, false);
        pn_root_pop(m->vm, &list);
        assert_int_equal(failed, 0);
        from->becomes = to;
    }
    pn_root_pop(m->vm, &b);
    pn_root_pop(m->vm, &a);
}

static void freeze(Mutator *m) {
    if (!PN_COW || m->layer_count == PN_COUNT_OF(m->layers)) return;
    m->layers[m->layer_count++] = test_freeze(m->vm);
}

static void waste(Mutator *m) {
    for (size_t i = pick(m, 2000); i > 0; i--) object_array(m->vm, pick(m, 6));
}

static void step(Mutator *m) {
    size_t kind = pick(m, 1000);
    if (kind < 350) make(m);
    else if (kind < 600) store_reference(m);
    else if (kind < 750) store_number(m);
    else if (kind < 830) copy_root(m);
    else if (kind < 900) drop_root(m);
    else if (kind < 930) waste(m);
    else if (kind < 960) become(m);
    else if (kind < 985) pn_collect_young(m->vm);
    else if (kind < 993) pn_collect_full(m->vm);
    else if (kind < 997) pn_gc_idle(m->vm);
    else freeze(m);
}

// ---- Comparing --------------------------------------------------------------------------------------------------

static void compare_object(Mutator *m, Ref r, Shadow *s, OopList *waiting) {
    Oop o = pn_deref(m->vm, r);
    if (s->seen == m->comparison) {
        test_check(pn_same(m->vm, s->name, r), "object %u has two identities", s->number);
        return;
    }
    s->seen = m->comparison;
    s->name = ref_of(o);
    test_check(!oop_is_immediate(o) && oop_slot_count(o) == s->count, "object %u has not %zu slots", s->number,
               s->count);
    test_check(ref_int(oop_slot(o, 0)) == (int64_t)s->number, "object %u calls itself %lld", s->number,
               (long long)ref_int(oop_slot(o, 0)));
    test_check(pn_gc_list_add(waiting, (Oop){(uint64_t)(uintptr_t)s}), "no memory");
}

static void compare_slots(Mutator *m, Shadow *s, OopList *waiting) {
    for (size_t i = 1; i < s->count; i++) {
        Ref r = oop_slot(pn_deref(m->vm, s->name), i);
        Shadow *value = current(s->slots[i].object);
        if (value != NULL) compare_object(m, r, value, waiting);
        else
            test_check(ref_is_int(r) && ref_int(r) == s->slots[i].number, "slot %zu of object %u is wrong", i,
                       s->number);
    }
}

static void compare(Mutator *m) {
    OopList waiting = {0};
    m->comparison++;
    for (size_t i = 0; i < ROOTS; i++)
        if (current(m->shadows[i]) != NULL) compare_object(m, m->roots[i].ref, current(m->shadows[i]), &waiting);
    while (waiting.count > 0) {
        Shadow *s = (Shadow *)(uintptr_t)waiting.items[--waiting.count].bits;
        compare_slots(m, s, &waiting);
    }
    pn_gc_list_free(&waiting);
}

// ---- Runs -------------------------------------------------------------------------------------------------------

static void run(const char *options, size_t steps) {
    PnOptions saved = test_options(options);
    Mutator m = {.vm = test_boot(), .random = test_seed()};
    if (pn_options.verify && pn_options.stress_gc != 0) steps = pn_min(steps, 100 * pn_options.stress_gc);
    for (size_t i = 0; i < ROOTS; i++) pn_root_push(m.vm, &m.roots[i], m.vm->nil);
    for (size_t i = 0; i < steps; i++) {
        step(&m);
        if (i % 64 == 0) compare(&m);
        if (i % 256 == 0) test_verify(m.vm);
    }
    pn_collect_full(m.vm);
    compare(&m);
    test_verify(m.vm);
    pn_worker_free(m.vm);
    while (m.layer_count > 0) pn_layer_release(m.layers[--m.layer_count]);
    for (size_t i = 0; i < m.count; i++) {
        free(m.all[i]->slots);
        free(m.all[i]);
    }
    free(m.all);
    test_options_restore(saved);
}

static void plainly(void **state) {
    (void)state;
    run("", STEPS);
}
static void collecting_at_each_allocation(void **state) {
    (void)state;
    run("stress-gc=1,poison-dead", STEPS / 6);
}
static void collecting_now_and_then(void **state) {
    (void)state;
    run("stress-gc=37,poison-dead", STEPS / 2);
}
static void copying_everything(void **state) {
    (void)state;
    run("copy-all,poison-dead", STEPS / 3);
}
static void with_poisoned_originals(void **state) {
    (void)state;
    run("poison,poison-dead,stress-gc=100", STEPS / 3);
}
static void verifying_all_the_time(void **state) {
    (void)state;
    run("verify,stress-gc=50", STEPS / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plainly),
        cmocka_unit_test(collecting_at_each_allocation),
        cmocka_unit_test(collecting_now_and_then),
        cmocka_unit_test(copying_everything),
        cmocka_unit_test(with_poisoned_originals),
        cmocka_unit_test(verifying_all_the_time),
    };
    return test_run(tests);
}
