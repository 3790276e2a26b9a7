// tests/heap/an_idle_worker_is_one_block.c: a worker begins as one block with everything set, and gives back all it has
// taken, on whichever thread it ends.
#include "tests/support.h"

#include <pthread.h>

static Layer *empty_layer(void) {
    LayerDraft draft;
    PnError error = {0};
    assert_int_equal(pn_layer_draft(NULL, 48, 0, &draft, &error), PN_OK);
    uint64_t *memory = (uint64_t *)(void *)draft.objects;
    const uint32_t classes[] = {PN_CLASS_UNDEFINED_OBJECT, PN_CLASS_FALSE, PN_CLASS_TRUE};
    for (size_t i = 0; i < 3; i++) memory[2 * i] = pn_header(0, 1, PN_FMT_EMPTY, classes[i]) | PN_HDR_IMMUTABLE;
    Layer *layer = draft.layer;
    layer->nil = (Ref){layer->objects.start};
    assert_int_equal(pn_layer_publish(&draft, &error), PN_OK);
    return layer;
}

static void a_new_worker_needs_nothing_but_its_block(void **state) {
    (void)state;
    Layer *layer = empty_layer();
    WorkerVm *vm = pn_worker_new(layer);
    assert_true((uintptr_t)vm % 64 == 0);
    assert_int_equal(pn_worker_bytes(vm), PN_WORKER_BYTES);
    assert_null(vm->more);
    assert_null(vm->overlay);
    assert_null(vm->old);
    assert_null(vm->remembered);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void its_registers_are_set(void **state) {
    (void)state;
    Layer *layer = empty_layer();
    WorkerVm *vm = pn_worker_new(layer);
    uint8_t *block = (uint8_t *)vm;
    assert_ptr_equal(vm->chunk, block + 256);
    assert_true(vm->chunk->is_embedded && vm->chunk->bytes == PN_FIRST_STACK_BYTES);
    assert_ptr_equal(vm->chunk->end, block + 768);
    assert_ptr_equal(vm->young_start, block + 768);
    assert_ptr_equal(vm->next, block + 768);
    assert_ptr_equal(vm->age_mark, block + 768);
    assert_ptr_equal(vm->limit, block + 1280);
    assert_ptr_equal(vm->sp, chunk_base(vm->chunk));
    assert_ptr_equal(vm->cp, vm->chunk->end - 1);
    assert_int_equal(vm->cp->flags, PN_LINK_BASE);
    assert_true(ref_same(vm_nil(vm), layer->nil) && ref_same(vm_true(vm), (Ref){layer->nil.bits + 32}));
    assert_int_equal(vm->store_mask, PN_STORE_MASK);
    assert_int_equal(vm->store_want, PN_STORE_WANT);
    assert_int_equal(vm->state, PN_WORKER_READY);
    assert_ptr_equal(vm->layer, layer);
    assert_int_equal(filter_may_hold(&vm->filter, layer->nil.bits), pn_options.copy_everything);
    WorkerVm *other = pn_worker_new(layer);
    assert_true(other->id != vm->id && other->id != 0 && vm->id != 0);
    pn_worker_free(other);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static void a_worker_holds_its_layer(void **state) {
    (void)state;
    Layer *layer = empty_layer();
    WorkerVm *vm = pn_worker_new(layer);
    pn_layer_release(layer);
    assert_int_equal(oop_class_index(ref_raw(vm->nil)), PN_CLASS_UNDEFINED_OBJECT); // still mapped
    pn_worker_free(vm);
}

static void on_no_layer_it_has_a_world_of_its_own(void **state) {
    (void)state;
    WorkerVm *a = pn_worker_new(NULL);
    WorkerVm *b = pn_worker_new(NULL);
    assert_null(a->layer);
    assert_ptr_equal(a->world, a->more->own_world);
    assert_true(a->world_key != b->world_key);
    pn_worker_free(a);
    pn_worker_free(b);
}

static void ended_workers_make_room_for_new_ones(void **state) {
    (void)state;
    enum { MANY = 5000 };
    static WorkerVm *first[MANY];
    static uintptr_t blocks[MANY];
    Layer *layer = empty_layer();
    for (size_t i = 0; i < MANY; i++) {
        first[i] = pn_worker_new(layer);
        assert_non_null(first[i]);
        blocks[i] = (uintptr_t)first[i];
        memset((uint8_t *)first[i]->young_start, 0xAA, first[i]->young_bytes); // blocks do not overlap
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(first[i]->chunk->bytes, PN_FIRST_STACK_BYTES);
        pn_worker_free(first[i]);
    }
#if !PN_SANITIZED
    uintptr_t lowest = UINTPTR_MAX, highest = 0;
    for (size_t i = 0; i < MANY; i++) {
        lowest = pn_min(lowest, blocks[i]);
        highest = pn_max(highest, blocks[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        first[i] = pn_worker_new(layer);
        assert_true((uintptr_t)first[i] >= lowest && (uintptr_t)first[i] <= highest);
    }
    for (size_t i = 0; i < MANY; i++) pn_worker_free(first[i]);
#endif
    pn_layer_release(layer);
}

// ---- Threads ------------------------------------------------------------------------------------

enum { BATCH = 500 };
static WorkerVm *handed_over[BATCH];

static void *make_workers(void *layer) {
    for (size_t i = 0; i < BATCH; i++) handed_over[i] = pn_worker_new(layer);
    return NULL;
}

static void *end_workers(void *unused) {
    (void)unused;
    for (size_t i = 0; i < BATCH; i++) pn_worker_free(handed_over[i]);
    return NULL;
}

static void run_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    pthread_join(thread, NULL);
}

static void a_worker_may_end_on_another_thread(void **state) {
    (void)state;
    Layer *layer = empty_layer();
    for (size_t round = 0; round < 10; round++) {
        run_thread(make_workers, layer);
        run_thread(end_workers, NULL);
    }
    uintptr_t slab = (uintptr_t)handed_over[0] >> 21;
    run_thread(make_workers, layer);
    bool uses_slab_again = false;
    for (size_t i = 0; i < BATCH; i++) uses_slab_again |= (uintptr_t)handed_over[i] >> 21 == slab;
    assert_true(uses_slab_again || PN_SANITIZED); // the blocks of threads that ended
    run_thread(end_workers, NULL);
    pn_layer_release(layer);
}

static void roots_are_a_stack(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    Root a, b;
    pn_root_push(vm, &a, ref_from_int(1));
    pn_root_push(vm, &b, ref_from_int(2));
    assert_ptr_equal(vm->more->roots, &b);
    assert_ptr_equal(b.prev, &a);
    pn_root_pop(vm, &b);
    assert_ptr_equal(vm->more->roots, &a);
    pn_root_pop(vm, &a);
    assert_null(vm->more->roots);
    pn_worker_free(vm);
}

static void hashes_are_never_0(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    uint32_t last = 0;
    size_t repeated = 0;
    for (size_t i = 0; i < 100000; i++) {
        uint32_t hash = pn_new_hash(vm);
        assert_true(hash != 0 && hash <= 0x3FFFFF);
        repeated += hash == last;
        last = hash;
    }
    assert_true(repeated < 5);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_worker_needs_nothing_but_its_block),
        cmocka_unit_test(its_registers_are_set),
        cmocka_unit_test(a_worker_holds_its_layer),
        cmocka_unit_test(on_no_layer_it_has_a_world_of_its_own),
        cmocka_unit_test(ended_workers_make_room_for_new_ones),
        cmocka_unit_test(a_worker_may_end_on_another_thread),
        cmocka_unit_test(roots_are_a_stack),
        cmocka_unit_test(hashes_are_never_0),
    };
    return test_run(tests);
}
