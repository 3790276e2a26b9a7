// tests/heap/code_records_stay_where_they_are.c: lookup's answer for a code object: one record, filled once, its
// bytecodes in the code area; what it needs of the receiver; worlds and their site words.
#include "tests/support.h"

#include <pthread.h>

// ---- Making code --------------------------------------------------------------------------------

typedef struct Recipe {
    uint32_t arguments, temps; // temps count arguments
    bool is_large, has_primitive;
    const Ref *literals;
    uint32_t literal_count;
    const uint8_t *bytes;
    size_t count;
} Recipe;

static size_t code_object_slots(const Recipe *r) { return 1 + r->literal_count + pn_slots_for_bytes(r->count); }

static uint64_t code_object_header(const Recipe *r, uint32_t class_index) {
    return pn_header(code_object_slots(r), 0, pn_format_for_code(8 * (1 + r->literal_count) + r->count), class_index);
}

static void write_body(uint64_t *slots, const Recipe *r) {
    int64_t header = PN_CODE_HEADER_SISTA | (int64_t)r->arguments << 24 | (int64_t)r->temps << 18 |
                     (int64_t)r->is_large << 17 | (int64_t)r->has_primitive << 16 | r->literal_count;
    slots[0] = ref_from_int(header).bits;
    for (size_t i = 0; i < r->literal_count; i++) slots[1 + i] = r->literals[i].bits;
    memcpy(slots + 1 + r->literal_count, r->bytes, r->count);
}

static Oop make_code(WorkerVm *vm, uint32_t class_index, const Recipe *r) {
    uint64_t header = code_object_header(r, class_index);
    Oop o = pn_old_new(vm, class_index, hdr_format(header), code_object_slots(r));
    assert_false(oop_is_none(o));
    write_body(oop_address(o) + 1, r);
    return o;
}

static Oop make_method(WorkerVm *vm, const uint8_t *bytes, size_t count) {
    Ref literals[] = {pn_symbol_z("selector"), ref_from_int(0)};
    return make_code(vm, PN_CLASS_COMPILED_METHOD,
                     &(Recipe){.literals = literals, .literal_count = 2, .bytes = bytes, .count = count});
}
#define METHOD(vm, ...) make_method(vm, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#define EVENT_WORDS 4 // a frame has room for a message that the machine itself sends

// ---- Private code -------------------------------------------------------------------------------

static void a_private_method_has_one_record(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    const uint8_t bytes[] = {64, 92};
    Ref literals[] = {ref_from_int(7), pn_symbol_z("foo:"), ref_from_int(0)};
    Recipe r = {.arguments = 1, .temps = 3, .literals = literals, .literal_count = 3, .bytes = bytes, .count = 2};
    Oop method = make_code(vm, PN_CLASS_COMPILED_METHOD, &r);
    Code *c = pn_code_for(vm, method);
    assert_non_null(c);
    assert_ptr_equal(pn_code_for(vm, method), c);
    assert_true((uintptr_t)c % 128 == 0 && (uintptr_t)c >> 47 == 0);
    assert_true(ref_same(c->method, ref_of(method)));
    assert_ptr_equal(c->literals, oop_slots(method) + 1);
    assert_true(ref_same(c->literals[0], ref_from_int(7)));
    assert_int_equal(c->literal_count, 3);
    assert_int_equal(c->arg_count, 1);
    assert_int_equal(c->temp_count, 3);
    assert_int_equal(c->frame_bytes, 8 * (3 + 16 + EVENT_WORDS));
    assert_true((uint64_t)(uintptr_t)c->bytecodes - PN_PRIVATE_CODE < PN_PRIVATE_CODE_BYTES);
    assert_memory_equal(c->bytecodes, bytes, sizeof bytes);
    assert_ptr_equal(c->start, c->bytecodes);
    assert_int_equal(c->bytecode_count, 2);
    assert_true(c->is_private && !c->is_block && c->owner == vm);
    assert_true(ref_same(c->selector, pn_symbol_z("foo:")));
    assert_true(hdr_hash(oop_header(method)) != 0);
    pn_worker_free(vm);
}

static void the_primitive_is_decoded_and_skipped(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    const uint8_t with_error[] = {0xF8, 0x3C, 0x01, 0xF5, 0x01, 0x41, 0x5C};
    Recipe r = {.arguments = 1, .temps = 2, .has_primitive = true, .is_large = true, .bytes = with_error, .count = 7};
    Code *c = pn_code_for(vm, make_code(vm, PN_CLASS_COMPILED_METHOD, &r));
    assert_int_equal(c->primitive_number, 60 + 256);
    assert_int_equal(c->error_temp, 2);
    assert_ptr_equal(c->start, c->bytecodes + 5);
    assert_int_equal(c->frame_bytes, 8 * (2 + 56 + EVENT_WORDS));
    const uint8_t plain[] = {0xF8, 0x3C, 0x00, 0x58};
    r.bytes = plain;
    r.count = sizeof plain;
    c = pn_code_for(vm, make_code(vm, PN_CLASS_COMPILED_METHOD, &r));
    assert_int_equal(c->primitive_number, 60);
    assert_int_equal(c->error_temp, 0);
    assert_ptr_equal(c->start, c->bytecodes + 3);
    r.has_primitive = false; // then 248 is no primitive's
    c = pn_code_for(vm, make_code(vm, PN_CLASS_COMPILED_METHOD, &r));
    assert_int_equal(c->primitive_number, 0);
    assert_ptr_equal(c->start, c->bytecodes);
    pn_worker_free(vm);
}

static void damaged_code_has_no_record(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    Oop method = METHOD(vm, 88);
    oop_init_slot(method, 0, ref_from_int(PN_CODE_HEADER_SISTA | 200)); // literals behind the end
    assert_null(pn_code_for(vm, method));
    assert_int_equal(vm->prim_error, 12);
    oop_init_slot(method, 0, ref_from_int(2)); // another bytecode set
    assert_null(pn_code_for(vm, method));
    oop_init_slot(method, 0, ref_from_char('x'));
    assert_null(pn_code_for(vm, method));
    assert_null(pn_code_for(vm, pn_old_new(vm, PN_CLASS_BYTE_STRING, PN_FMT_8, 5)));
    pn_worker_free(vm);
}

static void the_highest_slot_is_found(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 88))->slot_limit, 0);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 5, 92))->slot_limit, 6);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 77, 207, 88))->slot_limit, 8);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 226, 20, 92))->slot_limit, 21);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 224, 1, 226, 4, 92))->slot_limit, 261);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 77, 240, 9, 88))->slot_limit, 10);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 77, 224, 1, 243, 0, 92))->slot_limit, 257);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 224, 255, 224, 255, 224, 255, 226, 255, 92))->slot_limit, UINT16_MAX);
    // Operands are not instructions.
    assert_int_equal(pn_code_for(vm, METHOD(vm, 232, 5, 92))->slot_limit, 0);
    // What lies behind the end is not looked at (a trailer), what a jump reaches is.
    assert_int_equal(pn_code_for(vm, METHOD(vm, 88, 5, 6, 7, 8))->slot_limit, 0);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 77, 192, 88, 3, 92, 9, 9))->slot_limit, 4);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 77, 239, 1, 88, 3, 92, 9))->slot_limit, 4);
    assert_int_equal(pn_code_for(vm, METHOD(vm, 176, 95, 2, 225, 255, 237, 250, 9))->slot_limit, 3);
    pn_worker_free(vm);
}

static void slots_that_blocks_touch_count(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    const uint8_t inner_bytes[] = {11, 94};
    const uint8_t outer_bytes[] = {3, 216, 249, 0, 0, 94};
    const uint8_t method_bytes[] = {249, 1, 0, 92};
    Ref none = ref_from_int(0);
    Recipe inner = {.literals = &none, .literal_count = 1, .bytes = inner_bytes, .count = sizeof inner_bytes};
    Oop inner_block = make_code(vm, PN_CLASS_COMPILED_BLOCK, &inner);
    Ref outer_literals[] = {ref_of(inner_block), none};
    Recipe outer = {
        .temps = 2, .literals = outer_literals, .literal_count = 2, .bytes = outer_bytes, .count = sizeof outer_bytes};
    Oop outer_block = make_code(vm, PN_CLASS_COMPILED_BLOCK, &outer);
    Ref literals[] = {none, ref_of(outer_block), pn_symbol_z("blocks"), none};
    Recipe method = {.literals = literals, .literal_count = 4, .bytes = method_bytes, .count = sizeof method_bytes};
    assert_int_equal(pn_code_for(vm, make_code(vm, PN_CLASS_COMPILED_METHOD, &method))->slot_limit, 12);
    Code *c = pn_code_for(vm, outer_block);
    assert_int_equal(c->slot_limit, 12);
    assert_true(c->is_block && ref_is_none(c->selector));
    assert_int_equal(c->frame_bytes, 8 * (2 + 1 + 16 + EVENT_WORDS));
    // Damaged code that makes itself: no receiver is large enough.
    oop_init_slot(inner_block, 1, ref_of(inner_block));
    memcpy(oop_address(inner_block) + 3, (const uint8_t[]){249, 0, 0, 94, 0, 0, 0, 0}, 8);
    Recipe again = {.literals = literals, .literal_count = 4, .bytes = method_bytes, .count = sizeof method_bytes};
    literals[1] = ref_of(inner_block);
    oop_set_header(inner_block, pn_header(3, 1, pn_format_for_code(20), PN_CLASS_COMPILED_BLOCK));
    assert_int_equal(pn_code_for(vm, make_code(vm, PN_CLASS_COMPILED_METHOD, &again))->slot_limit, UINT16_MAX);
    pn_worker_free(vm);
}

static void many_private_methods_keep_apart(void **state) {
    (void)state;
    enum { METHODS = 1000 };
    static Code *codes[METHODS];
    static Oop methods[METHODS];
    WorkerVm *vm = pn_worker_new(NULL);
    for (size_t i = 0; i < METHODS; i++) {
        methods[i] = METHOD(vm, 232, (uint8_t)i, 232, (uint8_t)(i >> 8), 92);
        codes[i] = pn_code_for(vm, methods[i]);
    }
    for (size_t i = 0; i < METHODS; i++) {
        assert_ptr_equal(pn_code_for(vm, methods[i]), codes[i]);
        assert_int_equal(codes[i]->bytecodes[1] | codes[i]->bytecodes[3] << 8, i);
    }
    size_t with_code = pn_worker_bytes(vm);
    assert_true(with_code > METHODS * 128);
    pn_code_free_all(vm);
    assert_true(pn_worker_bytes(vm) < with_code - METHODS * 128);
    assert_non_null(pn_code_for(vm, methods[0]));
    pn_worker_free(vm);
    uint64_t all = pn_window_take(PN_PART_PRIVATE_CODE, 0, PN_PRIVATE_CODE_BYTES);
    assert_true(all == PN_PRIVATE_CODE); // all extents came back
    pn_window_give(PN_PART_PRIVATE_CODE, all, PN_PRIVATE_CODE_BYTES);
}

static void a_method_longer_than_an_extent(void **state) {
    (void)state;
    WorkerVm *vm = pn_worker_new(NULL);
    static uint8_t bytes[20000];
    memset(bytes, 95, sizeof bytes);
    bytes[sizeof bytes - 1] = 88;
    Code *c = pn_code_for(vm, make_method(vm, bytes, sizeof bytes));
    assert_int_equal(c->bytecode_count, sizeof bytes);
    assert_memory_equal(c->bytecodes, bytes, sizeof bytes);
    Code *next = pn_code_for(vm, METHOD(vm, 88));
    assert_int_equal(next->bytecodes[0], 88);
    pn_worker_free(vm);
}

// ---- Code of layers -----------------------------------------------------------------------------

enum { METHODS_IN_LAYER = 50, LAYER_METHOD_BYTES = 40 };

// Methods of the least size there is, side by side: i-th pushes slot i modulo 16.
static Layer *layer_of_methods(void) {
    LayerDraft draft;
    PnError error = {0};
    assert_int_equal(pn_layer_draft(NULL, 0, METHODS_IN_LAYER * LAYER_METHOD_BYTES, &draft, &error), PN_OK);
    Ref literals[] = {pn_symbol_z("selector"), ref_from_int(0)};
    for (size_t i = 0; i < METHODS_IN_LAYER; i++) {
        const uint8_t bytes[] = {(uint8_t)(i % 16), 92};
        Recipe r = {.literals = literals, .literal_count = 2, .bytes = bytes, .count = 2};
        uint64_t *at = (uint64_t *)(void *)(draft.code + i * LAYER_METHOD_BYTES);
        at[0] = code_object_header(&r, PN_CLASS_COMPILED_METHOD) | PN_HDR_IMMUTABLE;
        write_body(at + 1, &r);
    }
    Layer *layer = draft.layer;
    assert_int_equal(pn_layer_publish(&draft, &error), PN_OK);
    return layer;
}

static Oop layer_method(const Layer *layer, size_t i) { return (Oop){layer->code.start + i * LAYER_METHOD_BYTES}; }

static void code_of_a_layer_is_run_in_place(void **state) {
    (void)state;
    Layer *layer = layer_of_methods();
    WorkerVm *a = pn_worker_new(layer);
    WorkerVm *b = pn_worker_new(layer);
    Code *last = NULL;
    for (size_t i = 0; i < METHODS_IN_LAYER; i++) {
        Oop method = layer_method(layer, i);
        Code *c = pn_code_for(a, method);
        test_check(c != NULL, "no record for method %zu", i);
        assert_ptr_equal(pn_code_for(b, method), c);
        assert_true(c > last && (uintptr_t)c % 128 == 0);
        assert_true(ref_same(c->method, ref_of(method)) && !c->is_private && c->owner == NULL);
        assert_ptr_equal(c->bytecodes, oop_bytes(method) + 24);
        assert_int_equal(c->slot_limit, i % 16 + 1);
        assert_true(ref_same(c->selector, pn_symbol_z("selector")));
        last = c;
    }
    assert_null(a->more); // a worker that runs shared code only makes nothing of its own
    pn_worker_free(a);
    pn_worker_free(b);
    uint64_t where = layer->code.start;
    pn_layer_release(layer);
    // The next layer there has records of its own.
    Layer *next = layer_of_methods();
    WorkerVm *c = pn_worker_new(next);
    assert_true(next->code.start == where);
    assert_int_equal(last->ready, 0);
    assert_int_equal(pn_code_for(c, layer_method(next, 3))->slot_limit, 4);
    pn_worker_free(c);
    pn_layer_release(next);
}

typedef struct Looker {
    Layer *layer;
    Code *found[METHODS_IN_LAYER];
    size_t wrong;
} Looker;

static void *look_at_all(void *which) {
    Looker *l = which;
    WorkerVm *vm = pn_worker_new(l->layer);
    for (size_t i = 0; i < METHODS_IN_LAYER; i++) {
        l->found[i] = pn_code_for(vm, layer_method(l->layer, i));
        l->wrong += l->found[i]->slot_limit != i % 16 + 1 || l->found[i]->start != l->found[i]->bytecodes;
    }
    pn_worker_free(vm);
    return NULL;
}

static void threads_find_the_same_filled_records(void **state) {
    (void)state;
    enum { THREADS = 4 };
    static Looker lookers[THREADS];
    pthread_t threads[THREADS];
    Layer *layer = layer_of_methods();
    for (size_t i = 0; i < THREADS; i++) {
        lookers[i] = (Looker){.layer = layer};
        assert_int_equal(pthread_create(&threads[i], NULL, look_at_all, &lookers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(lookers[i].wrong, 0);
        assert_memory_equal(lookers[i].found, lookers[0].found, sizeof lookers[0].found);
    }
    pn_layer_release(layer);
}

// ---- Worlds -------------------------------------------------------------------------------------

static uint64_t *site(const World *world, const Code *c, size_t offset) {
    return (uint64_t *)(world->site_base + 8 * (uintptr_t)(c->bytecodes + offset));
}

static void a_change_of_behaviour_leaves_the_layers_world(void **state) {
    (void)state;
    Layer *layer = layer_of_methods();
    WorkerVm *vm = pn_worker_new(layer);
    assert_ptr_equal(vm->world, layer->world);
    assert_true(vm->site_base == layer->world->site_base && vm->world_key == layer->world->id << 24);
    assert_int_equal(pn_behavior_changed(vm), PN_OK);
    World *own = vm->world;
    assert_ptr_not_equal(own, layer->world);
    assert_true(vm->more->behavior_changed && vm->site_base == pn_empty_site_base && vm->world_key == own->id << 24);
    Code *c = pn_code_for(vm, layer_method(layer, 0));
    assert_true(*site(own, c, 1) == 0);
    pn_world_attach_companion(own);
    assert_true(own->site_base != pn_empty_site_base);
    *site(own, c, 1) = 17;
    uint64_t id = own->id;
    own->misses = 5;
    assert_int_equal(pn_behavior_changed(vm), PN_OK);
    assert_ptr_equal(vm->world, own);
    assert_true(own->id != id && own->misses == 0 && own->companion == NULL);
    assert_true(vm->site_base == pn_empty_site_base && vm->world_key == own->id << 24);
    pn_world_attach_companion(own);
    assert_true(*site(own, c, 1) == 0); // nothing of before is left
    pn_worker_free(vm);
    pn_layer_release(layer);
}

// Private code leaves no site words behind for the next who gets its addresses, in neither world that it has run in.
static void sites_of_dead_code_read_0(void **state) {
    (void)state;
    Layer *layer = layer_of_methods();
    static uint8_t bytes[3000];
    memset(bytes, 95, sizeof bytes);
    for (size_t count = 10; count <= sizeof bytes; count += sizeof bytes - 10) {
        WorkerVm *vm = pn_worker_new(layer);
        Code *c = pn_code_for(vm, make_method(vm, bytes, count));
        const uint8_t *where = c->bytecodes;
        uint64_t *of_layer[] = {site(layer->world, c, 1), site(layer->world, c, count)};
        *of_layer[0] = *of_layer[1] = 17;
        pn_behavior_changed(vm);
        pn_world_attach_companion(vm->world);
        *site(vm->world, c, count) = 17;
        pn_code_free_all(vm);
        assert_true(*of_layer[0] == 0 && *of_layer[1] == 0);
        c = pn_code_for(vm, make_method(vm, bytes, count));
        assert_ptr_equal(c->bytecodes, where);
        assert_true(*site(vm->world, c, count) == 0);
        pn_worker_free(vm);
    }
    pn_layer_release(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_private_method_has_one_record),
        cmocka_unit_test(the_primitive_is_decoded_and_skipped),
        cmocka_unit_test(damaged_code_has_no_record),
        cmocka_unit_test(the_highest_slot_is_found),
        cmocka_unit_test(slots_that_blocks_touch_count),
        cmocka_unit_test(many_private_methods_keep_apart),
        cmocka_unit_test(a_method_longer_than_an_extent),
        cmocka_unit_test(code_of_a_layer_is_run_in_place),
        cmocka_unit_test(threads_find_the_same_filled_records),
        cmocka_unit_test(a_change_of_behaviour_leaves_the_layers_world),
        cmocka_unit_test(sites_of_dead_code_read_0),
    };
    return test_run(tests);
}
