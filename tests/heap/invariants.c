// Every numbered invariant of heap/, broken on purpose, is found by pn_verify and named. Each test breaks one rule in a
// world that was sound, sees the report, and mends what would otherwise stop the worker from ending.
#include <stdatomic.h>
#include <sys/mman.h>

#include "heap/heap_int.h"
#include "tests/heap/hand_layer.h"
#include "tests/support/programs.h"

enum { DEPTH = 8 };

static TestWorld world;
static Ref probe; // an instance of Probe in the layer, x = 1
static Ref list;  // an Array in the layer

// run: ^[ self down: 20 ] value
static void program_block(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 0, 0), *block = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_self(block);
    pn_asm_push_int(block, 20);
    pn_asm_send(block, "down:", 1);
    pn_asm_block_return(block);
    uint32_t literal = pn_asm_block_end(block);
    pn_asm_push_closure(a, literal, 0, true, false);
    pn_asm_send(a, "value", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "run");
}

static void build(WorkerVm *vm) {
    Oop class_object = pn_asm_class(vm, "Probe", pn_asm_class_named(vm, "Object"), 1);
    program_down(vm, class_object);
    program_accessors(vm, class_object);
    program_block(vm, class_object);
    Root kept;
    pn_root_push(vm, &kept, ref_of(class_object));
    test_set_global(vm, "TheProbe", ref_of(pn_asm_instance(vm, pn_deref(vm, kept.ref))));
    test_set_global(vm, "TheList", ref_of(pn_new_array(vm, 4)));
    pn_root_pop(vm, &kept);
    pn_store(vm, test_global(vm, "TheProbe"), 0, ref_from_int(1));
}

static int begin(void **state) {
    world = test_world(build);
    PnOptions saved = pn_options;
    pn_options.copy_everything = false; // what is found here shall be the original, unless a test copies it
    probe = ref_of(test_global(world.vm, "TheProbe"));
    list = ref_of(test_global(world.vm, "TheList"));
    pn_options = saved;
    *state = world.vm;
    return 0;
}
static int end(void **state) {
    (void)state;
    test_world_end(&world);
    return 0;
}

// Leave the worker at a safepoint with some frames: run's, the block's, and down:'s.
static void run_into_depth(WorkerVm *vm) {
    PnOptions saved = test_options("yield");
    assert_int_equal(pn_start_send(vm, probe, pn_symbol_z("run"), NULL, 0), PN_OK);
    for (size_t frames = 0; frames < DEPTH;) {
        assert_int_equal(pn_run(test_thread(), vm), PN_LEAVE_SAFEPOINT);
        test_verify(vm);
        frames = 0;
        for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) frames++;
    }
    test_options_restore(saved);
}

static FrameWalk frame_at(WorkerVm *vm, size_t depth) {
    FrameWalk w = pn_frames(vm);
    while (depth-- > 0) pn_frame_next(&w);
    assert_non_null(w.link);
    return w;
}

static FrameWalk block_frame(WorkerVm *vm) {
    FrameWalk w = pn_frames(vm);
    while (!w.link->code->is_block) pn_frame_next(&w);
    return w;
}

static Oop old_array(WorkerVm *vm, size_t slots) { return pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots); }

static Oop copy_of_probe(WorkerVm *vm) {
    Oop o = pn_current(vm, probe);
    if (!ref_is_shared(ref_of(o))) return o;
    assert_int_equal(pn_make_writable(vm, &o), PN_WRITABLE);
    return o;
}

// Break *place, see the rule named, put back what was there.
#define BREAK(vm, rule, place, value)                                                                                  \
    do {                                                                                                               \
        __typeof__(place) was = (place);                                                                               \
        (place) = (value);                                                                                             \
        test_verify_reports(vm, rule);                                                                                 \
        (place) = was;                                                                                                 \
    } while (0)

// ---- Layers --------------------------------------------------------------------------------------------------

// A layer of one damaged object: word by word what lies behind nil, false and true.
static void hand_layer_reports(const char *rule, uint64_t first, uint64_t second) {
    HandLayer h = hand_begin(NULL, 128);
    hand_object(&h, PN_CLASS_BYTE_ARRAY, PN_FMT_8, 1, 0);
    Layer *layer = hand_end(&h);
    // Sealed and published: change it through a private mapping, as only a broken machine could.
    void *page = (void *)(uintptr_t)layer->objects.start;
    assert_ptr_equal(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, layer->fd, 0), page);
    uint64_t *words = (uint64_t *)page + 6;
    words[0] = first;
    words[1] = second;
    if (!layer->is_private_mapping) assert_int_equal(mprotect(page, 4096, PROT_READ), 0);
    layer->sum = pn_layer_sum(layer);
    WorkerVm *vm = pn_worker_new(layer);
    test_verify_reports(vm, rule);
    pn_worker_free(vm);
    pn_layer_release(layer);
}

static uint64_t sound_header(uint32_t class_index, uint32_t format, size_t slots) {
    return pn_header(slots, 7, format, class_index) | PN_HDR_IMMUTABLE;
}

static void o1_object_runs_past_its_segment(void **state) {
    (void)state;
    hand_layer_reports("O1", sound_header(PN_CLASS_BYTE_ARRAY, PN_FMT_8, 200), 0);
    hand_layer_reports("O1", UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | 100000,
                       sound_header(PN_CLASS_BYTE_ARRAY, PN_FMT_8, PN_OVERFLOW_SLOTS));
}

static void o2_slot_counts_disagree(void **state) {
    (void)state;
    hand_layer_reports("O2", UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | 300,
                       sound_header(PN_CLASS_BYTE_ARRAY, PN_FMT_8, 2));
    hand_layer_reports("O2", UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | 3,
                       sound_header(PN_CLASS_BYTE_ARRAY, PN_FMT_8, PN_OVERFLOW_SLOTS));
}

static void o3_slot_is_no_value(void **state) {
    WorkerVm *vm = *state;
    hand_layer_reports("O3", sound_header(PN_CLASS_ARRAY, PN_FMT_ARRAY, 1), 0xABCDE7);
    oop_init_slot(old_array(vm, 3), 1, (Ref){0xABCDE7});
    test_verify_reports(vm, "O3");
}

static void l1_object_of_a_layer_is_not_sound(void **state) {
    (void)state;
    uint64_t sound = sound_header(PN_CLASS_BYTE_ARRAY, PN_FMT_8, 1);
    hand_layer_reports("L1", sound & ~PN_HDR_IMMUTABLE, 1);
    hand_layer_reports("L1", sound & ~PN_HDR_HASH_MASK, 1);
    hand_layer_reports("L1", sound | PN_HDR_MARKED, 1);
    hand_layer_reports("L1", sound | PN_HDR_PINNED, 1);
    hand_layer_reports("L1", sound_header(PN_CLASS_FREE, PN_FMT_EMPTY, 1), 1);
    hand_layer_reports("L1", sound_header(PN_CLASS_FORWARDED, PN_FMT_FORWARDED, 1), PN_TAG_INT);
    hand_layer_reports("L1", sound_header(PN_MAX_CLASS_INDEX, PN_FMT_8, 1), 1);
}

static void h1_layer_was_written(void **state) {
    WorkerVm *vm = *state;
    if (world.layer->is_private_mapping) return; // poison mode writes there
    uint64_t *page = (uint64_t *)(uintptr_t)world.layer->objects.start;
    assert_ptr_equal(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, world.layer->fd, 0), page);
    page[1] ^= 8; // in nil's body
    assert_int_equal(mprotect(page, 4096, PROT_READ), 0);
    test_verify_reports(vm, "H1");
}

static void w1_memory_is_where_it_must_not_be(void **state) {
    WorkerVm *vm = *state;
    BREAK(vm, "W1", world.layer->code.start, PN_LAYER_OBJECTS + PN_LAYER_OBJECTS_BYTES / 2);
    old_array(vm, 1);
    OldSegment *s = vm->old->segments, saved = *s;
    s->start = (uint64_t *)(uintptr_t)world.layer->objects.start;
    s->top = s->end = s->start + 2;
    test_verify_reports(vm, "W1");
    *s = saved;
}

static void w2_layer_is_writable(void **state) {
    WorkerVm *vm = *state;
    if (world.layer->is_private_mapping) return;
    void *page = (void *)(uintptr_t)world.layer->objects.start;
    assert_ptr_equal(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, world.layer->fd, 0), page);
    test_verify_reports(vm, "W2");
    assert_int_equal(mprotect(page, 4096, PROT_READ), 0);
    test_verify(vm);
}

static void h2_layer_refers_to_private_memory(void **state) {
    WorkerVm *vm = *state;
    hand_layer_reports("H2", sound_header(PN_CLASS_ARRAY, PN_FMT_ARRAY, 1), old_array(vm, 1).bits);
    hand_layer_reports("H2", sound_header(PN_CLASS_ARRAY, PN_FMT_ARRAY, 1),
                       list.bits); // a layer that is none of its own
}

static void h8_symbol_exists_twice(void **state) {
    WorkerVm *vm = *state;
    Oop known = ref_raw(pn_symbol_z("doesNotUnderstand:"));
    Oop twin = pn_old_new(vm, PN_CLASS_BYTE_SYMBOL, oop_format(known), oop_slot_count(known));
    memcpy(oop_bytes(twin), oop_bytes(known), 8 * oop_slot_count(known));
    test_verify_reports(vm, "H8");
}

static void h7_instance_has_another_shape(void **state) {
    WorkerVm *vm = *state;
    Oop copy = copy_of_probe(vm);
    uint32_t index = oop_class_index(copy);
    test_verify(vm);
    BREAK(vm, "H7", pn_class_shapes[index], (uint32_t)pn_class_format(PN_FMT_FIXED, 2) + 1);
    BREAK(vm, "H7", pn_class_shapes[index], (uint32_t)pn_class_format(PN_FMT_8, 0) + 1);
    pn_old_new(vm, index, PN_FMT_FIXED, 4);
    test_verify_reports(vm, "H7");
}

// ---- Overlays and filters ----------------------------------------------------------------------------------------

static void h4_value_is_a_key(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_overlay_enter(vm, probe, list));
    assert_true(pn_overlay_enter(vm, list, ref_of(old_array(vm, 1))));
    test_verify_reports(vm, "H4");
}

static void h4_key_is_never_copied(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_overlay_enter(vm, vm->nil, ref_of(old_array(vm, 1))));
    test_verify_reports(vm, "H4");
}

static void h4_key_is_private(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_overlay_enter(vm, ref_of(old_array(vm, 1)), ref_of(old_array(vm, 1))));
    test_verify_reports(vm, "H4");
}

static void h4_value_is_no_object(void **state) {
    WorkerVm *vm = *state;
    assert_true(pn_overlay_enter(vm, probe, (Ref){0x10000}));
    test_verify_reports(vm, "H4");
    pn_overlay_drop(vm);
}

// Layers above the world's: key of both maps; a map that is not complete.
static void h4_maps_of_layers_do_not_fit(void **state) {
    (void)state;
    HandLayer h = hand_begin(world.layer, 512);
    Ref mine = hand_instance(&h);
    assert_true(pn_overlay_put(&h.draft.layer->overlay, list, mine));
    Layer *above = hand_end(&h);
    WorkerVm *vm = pn_worker_new(above);
    test_verify(vm);
    assert_true(pn_overlay_enter(vm, list, ref_of(old_array(vm, 4))));
    test_verify_reports(vm, "H4");
    pn_worker_free(vm);

    h = hand_begin(above, 512);
    Layer *incomplete = hand_end(&h);
    vm = pn_worker_new(incomplete);
    test_verify_reports(vm, "H4");
    pn_worker_free(vm);
    pn_layer_release(incomplete);
    pn_layer_release(above);
}

static void f1_filter_lacks_a_key(void **state) {
    WorkerVm *vm = *state;
    copy_of_probe(vm);
    test_verify(vm);
    BREAK(vm, "F1", vm->filter, pn_filter_none);
}

// Nobody can see it later: classes, hashes and contents change. So it is checked when a copy is made.
static void h6_copy_differs_from_its_original(void **state) {
    WorkerVm *vm = *state;
    Oop copy = copy_of_probe(vm), original = ref_raw(probe);
    const uint64_t bits[] = {UINT64_C(1) << PN_HDR_HASH_SHIFT, 1, UINT64_C(1) << PN_HDR_FORMAT_SHIFT,
                             UINT64_C(1) << PN_HDR_SLOTS_SHIFT};
    assert_true(pn_copy_is_faithful(original, copy));
    uint64_t header = oop_header(copy);
    for (size_t i = 0; i < PN_COUNT_OF(bits); i++) {
        oop_set_header(copy, header ^ bits[i]);
        assert_false(pn_copy_is_faithful(original, copy));
    }
    oop_set_header(copy, header);
}

// ---- The private heap ----------------------------------------------------------------------------------------------

static void h3_private_heap_refers_elsewhere(void **state) {
    WorkerVm *vm = *state;
    Oop holder = old_array(vm, 1);
    WorkerVm *other = pn_worker_new(world.layer);
    oop_init_slot(holder, 0, ref_of(old_array(other, 1)));
    test_verify_reports(vm, "H3");
    oop_init_slot(holder, 0, (Ref){list.bits + 8}); // the middle of an object
    test_verify_reports(vm, "H3");
    oop_init_slot(holder, 0, vm->nil);
    Root root;
    pn_root_push(vm, &root, (Ref){0x10000});
    test_verify_reports(vm, "H3");
    pn_root_pop(vm, &root);
    pn_worker_free(other);
}

static Oop young_array(WorkerVm *vm) {
    Oop o = pn_new_array(vm, 1);
    assert_true(vm_is_young(vm, o.bits));
    return o;
}

static void g1_remembered_bit_and_set_disagree(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm, 1), young = young_array(vm);
    oop_set_header(young, oop_header(young) & ~PN_HDR_REMEMBERED);
    test_verify_reports(vm, "G1");
    oop_set_header(young, oop_header(young) | PN_HDR_REMEMBERED);
    oop_set_header(old, oop_header(old) | PN_HDR_REMEMBERED);
    test_verify_reports(vm, "G1");
    oop_set_header(old, oop_header(old) & ~PN_HDR_REMEMBERED);
    pn_remember(vm, old);
    test_verify(vm);
    oop_set_header(old, oop_header(old) & ~PN_HDR_REMEMBERED);
    test_verify_reports(vm, "G1");
    pn_remember(vm, old); // twice
    test_verify_reports(vm, "G1");
}

static void g2_old_object_refers_to_young(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm, 1);
    oop_init_slot(old, 0, ref_of(young_array(vm)));
    test_verify_reports(vm, "G2");
    oop_init_slot(old, 0, vm->nil);
    test_verify(vm);
    assert_true(pn_overlay_enter(vm, probe, ref_of(young_array(vm))));
    test_verify_reports(vm, "G2");
    pn_overlay_drop(vm);
}

static void g3_old_object_is_marked_or_not_walkable(void **state) {
    WorkerVm *vm = *state;
    Oop old = old_array(vm, 3);
    uint64_t header = oop_header(old);
    oop_set_header(old, header | PN_HDR_MARKED);
    test_verify_reports(vm, "G3");
    oop_set_header(old, header | UINT64_C(200) << PN_HDR_SLOTS_SHIFT);
    test_verify_reports(vm, "G3");
    oop_set_header(old, header);
    BREAK(vm, "G3", vm->old->current->top, vm->old->current->end + 1);
}

static void g4_young_memory_is_not_walkable(void **state) {
    WorkerVm *vm = *state;
    Oop young = young_array(vm);
    uint64_t header = oop_header(young);
    oop_set_header(young, header | UINT64_C(200) << PN_HDR_SLOTS_SHIFT);
    test_verify_reports(vm, "G4");
    oop_set_header(young, header);
    BREAK(vm, "G4", vm->age_mark, oop_address(young) + 1);
    BREAK(vm, "G4", vm->limit, vm->next - 1);
}

static void y1_young_block_is_out_of_order(void **state) {
    WorkerVm *vm = *state;
    young_array(vm);
    BREAK(vm, "Y1", vm->age_mark, vm->next + 1);
    BREAK(vm, "Y1", vm->limit, vm->young_start + vm->young_bytes / 8 + 1);
}

static void y2_store_test_is_another(void **state) {
    WorkerVm *vm = *state;
    BREAK(vm, "Y2", vm->store_want, 0);
    BREAK(vm, "Y2", vm->store_mask, (uint32_t)PN_HDR_IMMUTABLE);
}

// ---- The stack ----------------------------------------------------------------------------------

static void h5_running_frame_has_a_stale_receiver(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    FrameWalk top = pn_frames(vm);
    Ref receiver = top.fp[-1];
    Oop copy = copy_of_probe(vm);
    test_verify(vm); // the copy has reached the top frame, the trap is below it
    assert_int_equal(top.fp[-1].bits, copy.bits);
    top.fp[-1] = probe;
    test_verify_reports(vm, "H5");
    top.fp[-1] = ref_of(copy);
    if (ref_is_shared(receiver)) { // frames below still run on the original; without the trap that is an error
        Link *trap = vm->trap.link;
        assert_non_null(trap);
        pn_trap_lift(vm);
        test_verify_reports(vm, "H5");
    }
}

static void h9_receiver_is_too_small_for_its_code(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    Code *code = pn_frames(vm).link->code;
    BREAK(vm, "H9", code->slot_limit, 2);
}

static void s1_operand_is_no_value(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    BREAK(vm, "S1", vm->fp[0].bits, 0x707);
    BREAK(vm, "S1", vm->fp[0].bits, 0x10000);
    BREAK(vm, "S1", vm->sp, (Ref *)(void *)(vm->cp + 1));
}

static void s2_frame_is_not_laid_out(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    FrameWalk block = block_frame(vm);
    BREAK(vm, "S2", block.fp[block.link->code->temp_count], vm->nil);
    Code *code = vm->cp->code;
    BREAK(vm, "S2", code->temp_count, 200);
}

static void s3_distance_to_the_caller_is_wrong(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    BREAK(vm, "S3", vm->cp->fp_delta, vm->cp->fp_delta + 4);
    BREAK(vm, "S3", vm->cp->fp_delta, UINT32_C(1) << 30);
    BREAK(vm, "S3", vm->cp->fp_delta, 0);
}

static void s4_link_goes_on_nowhere(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    pn_trap_lift(vm);
    Link *link = frame_at(vm, 2).link;
    BREAK(vm, "S4", link->pc, link->code->bytecodes + link->code->bytecode_count + 1);
    BREAK(vm, "S4", link->pc, NULL);
    BREAK(vm, "S4", link->pc, pn_trap_bytecode);
    pn_stack_receivers_stale(vm);
    test_verify(vm);
    BREAK(vm, "S4", vm->trap.link->pc, vm->trap.pc);
    BREAK(vm, "S4", vm->trap.link, vm->cp - 1);
}

static void s5_oldest_link_is_another(void **state) {
    WorkerVm *vm = *state;
    run_into_depth(vm);
    Link *oldest = vm->chunk->end - 1;
    BREAK(vm, "S5", oldest->flags, 0);
    BREAK(vm, "S5", oldest->flags, PN_LINK_UNDERFLOW);
    BREAK(vm, "S5", oldest->pc, vm->cp->code->bytecodes);
    BREAK(vm, "S5", oldest->code, vm->cp->code);
    BREAK(vm, "S5", vm->chunk->position, 7);
    BREAK(vm, "S5", vm->cp->flags, PN_LINK_BASE);
}

// ---- Code records, site words -------------------------------------------------------------------

// A method of its own: with it the worker has a private Code, and after a send through a site, a world with site words.
static Code *private_code(WorkerVm *vm) {
    program_accessors(vm, pn_asm_class(vm, "Own", pn_asm_class_named(vm, "Object"), 1));
    Oop own = pn_asm_instance(vm, pn_asm_class_named(vm, "Own"));
    test_send(vm, ref_of(own), "x");
    assert_non_null(vm->more->codes);
    return vm->more->codes;
}

static void c1_bytecodes_are_out_of_the_code_area(void **state) {
    WorkerVm *vm = *state;
    Code *code = private_code(vm);
    test_verify(vm);
    BREAK(vm, "C1", code->bytecodes, (const uint8_t *)(uintptr_t)world.layer->objects.start);
    BREAK(vm, "C1", code->bytecode_count, UINT32_MAX);
}

static void c2_literals_are_not_those_of_the_method(void **state) {
    WorkerVm *vm = *state;
    Code *code = private_code(vm);
    BREAK(vm, "C2", code->literals, code->literals + 1);
    BREAK(vm, "C2", code->method, list);
}

static uint64_t *some_layer_site(WorkerVm *vm) {
    Oop code_object = ref_raw((Ref){world.layer->code.start});
    const uint8_t *pc = oop_bytes(code_object) + 8 * pn_value_slots(code_object) + 1;
    return (uint64_t *)(vm->world->site_base + 8 * (uintptr_t)pc);
}

static void c3_site_word_names_nothing(void **state) {
    WorkerVm *vm = *state;
    uint64_t *word = some_layer_site(vm);
    BREAK(vm, "C3", *word, UINT64_C(0x123456789ABC0000) | PN_CLASS_ARRAY);
    Code *code = pn_code_for(vm, ref_raw((Ref){world.layer->code.start}));
    uint64_t sound = (uint64_t)(uintptr_t)code << 17 | PN_CLASS_ARRAY;
    BREAK(vm, "C3", *word, sound + (UINT64_C(8) << 17)); // no entry of the Code
    BREAK(vm, "C3", *word, (uint64_t)(uintptr_t)code << 17 | (PN_CLASS_FIRST_FREE - 1));
    *word = sound;
    test_verify(vm);
    *word = 0;
}

static void c4_site_of_a_layer_names_private_code(void **state) {
    WorkerVm *vm = *state;
    Code *code = private_code(vm);
    World *own = vm->world;
    if (own->layer == NULL) { // defining a class has changed behaviour: look at the layer's world again
        vm->world = world.layer->world;
        vm->site_base = vm->world->site_base;
    }
    uint64_t *word = some_layer_site(vm);
    BREAK(vm, "C4", *word, (uint64_t)(uintptr_t)code << 17 | PN_CLASS_ARRAY);
    Code *shared = pn_code_for(vm, ref_raw((Ref){world.layer->code.start}));
    uint32_t private_class = vm->more->own_indices[0];
    BREAK(vm, "C4", *word, (uint64_t)(uintptr_t)shared << 17 | private_class);
    vm->world = own;
    vm->site_base = own->site_base;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(o1_object_runs_past_its_segment),
        TEST(o2_slot_counts_disagree),
        TEST(o3_slot_is_no_value),
        TEST(l1_object_of_a_layer_is_not_sound),
        TEST(h1_layer_was_written),
        TEST(w1_memory_is_where_it_must_not_be),
        TEST(w2_layer_is_writable),
        TEST(h2_layer_refers_to_private_memory),
        TEST(h3_private_heap_refers_elsewhere),
        TEST(h4_value_is_a_key),
        TEST(h4_key_is_never_copied),
        TEST(h4_key_is_private),
        TEST(h4_value_is_no_object),
        TEST(h4_maps_of_layers_do_not_fit),
        TEST(h5_running_frame_has_a_stale_receiver),
        TEST(h6_copy_differs_from_its_original),
        TEST(h7_instance_has_another_shape),
        TEST(h8_symbol_exists_twice),
        TEST(h9_receiver_is_too_small_for_its_code),
        TEST(g1_remembered_bit_and_set_disagree),
        TEST(g2_old_object_refers_to_young),
        TEST(g3_old_object_is_marked_or_not_walkable),
        TEST(g4_young_memory_is_not_walkable),
        TEST(f1_filter_lacks_a_key),
        TEST(s1_operand_is_no_value),
        TEST(s2_frame_is_not_laid_out),
        TEST(s3_distance_to_the_caller_is_wrong),
        TEST(s4_link_goes_on_nowhere),
        TEST(s5_oldest_link_is_another),
        TEST(c1_bytecodes_are_out_of_the_code_area),
        TEST(c2_literals_are_not_those_of_the_method),
        TEST(c3_site_word_names_nothing),
        TEST(c4_site_of_a_layer_names_private_code),
        TEST(y1_young_block_is_out_of_order),
        TEST(y2_store_test_is_another),
    };
    return PN_COW ? test_run(tests) : 0; // without layers most of this cannot be broken
}
