// tests/heap/layers_are_mapped_read_only.c: a layer is drafted elsewhere, appears in the window when it is published,
// cannot be written there (H1), and goes when nobody needs it.
#include "tests/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// Three objects (one with an overflow word) and one piece of code, as freeze would write them.
#define OBJECT_BYTES (16 + 16 + 8 * 300 + 24)
#define CODE_BYTES 40

static void write_objects(uint64_t *memory) {
    memory[0] = pn_header(0, 0, PN_FMT_EMPTY, PN_CLASS_UNDEFINED_OBJECT) | PN_HDR_IMMUTABLE;
    memory[2] = UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | 300;
    memory[3] = pn_header(300, 17, PN_FMT_ARRAY, PN_CLASS_ARRAY) | PN_HDR_IMMUTABLE;
    for (size_t i = 0; i < 300; i++) memory[4 + i] = ref_from_int((int64_t)i).bits;
    memory[304] = pn_header(2, 18, pn_format_for_bytes(13), PN_CLASS_BYTE_STRING) | PN_HDR_IMMUTABLE;
    memcpy(memory + 305, "hello, layer!", 13);
}

static void write_code(uint64_t *memory) {
    memory[0] = pn_header(4, 0, pn_format_for_code(29), PN_CLASS_COMPILED_METHOD) | PN_HDR_IMMUTABLE;
    memory[1] = ref_from_int(PN_CODE_HEADER_SISTA | 2).bits;
    memory[2] = memory[3] = ref_from_int(0).bits;
}

static LayerDraft draft_layer(Layer *parent, size_t object_bytes, size_t code_bytes) {
    LayerDraft draft;
    PnError error = {0};
    PnStatus status = pn_layer_draft(parent, object_bytes, code_bytes, &draft, &error);
    test_check(status == PN_OK, "pn_layer_draft: %s", error.text);
    return draft;
}

static Layer *publish(LayerDraft *draft) {
    Layer *layer = draft->layer;
    PnError error = {0};
    PnStatus status = pn_layer_publish(draft, &error);
    test_check(status == PN_OK, "pn_layer_publish: %s", error.text);
    return layer;
}

static Layer *small_layer(Layer *parent) {
    LayerDraft draft = draft_layer(parent, OBJECT_BYTES, CODE_BYTES);
    write_objects((uint64_t *)(void *)draft.objects);
    write_code((uint64_t *)(void *)draft.code);
    return publish(&draft);
}

// ---- Faults -------------------------------------------------------------------------------------

typedef void (*Touch)(uint64_t *word);
static void read_word(uint64_t *word) { *(volatile uint64_t *)word; }
static void write_word(uint64_t *word) { *(volatile uint64_t *)word = 0; }

// No core file, no report of a sanitizer, no leak check of valgrind's: the process is just gone.
static void end_at_once(int signal_number) {
    (void)signal_number;
    kill(getpid(), SIGKILL);
}

// Whether a process that does this is ended by a fault.
static bool faults(Touch touch, uint64_t address) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, end_at_once);
        signal(SIGBUS, end_at_once);
        touch((uint64_t *)(uintptr_t)address);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status);
}

static void a_draft_cannot_be_seen_in_the_window(void **state) {
    (void)state;
    LayerDraft draft = draft_layer(NULL, OBJECT_BYTES, CODE_BYTES);
    write_objects((uint64_t *)(void *)draft.objects);
    uint64_t objects = draft.layer->objects.start;
    assert_true(objects - PN_LAYER_OBJECTS < PN_LAYER_OBJECTS_BYTES && objects % PN_WINDOW_GRANULE == 0);
    assert_true(draft.layer->code.start - PN_LAYER_CODE < PN_LAYER_CODE_BYTES);
    assert_true(faults(read_word, objects));
    pn_layer_discard(&draft);
    assert_null(draft.layer);
    LayerDraft again = draft_layer(NULL, OBJECT_BYTES, CODE_BYTES);
    assert_true(again.layer->objects.start == objects); // the addresses came back
    pn_layer_discard(&again);
}

static void a_layer_can_be_read_and_not_written(void **state) {
    (void)state;
    PnOptions saved = pn_options;
    pn_options.poison = false;
    Layer *layer = small_layer(NULL);
    uint64_t object = layer->objects.start + 24;
    uint64_t code = layer->code.start + 8;
    assert_false(faults(read_word, object));
    assert_false(faults(read_word, code));
    assert_true(faults(write_word, object));
    assert_true(faults(write_word, code));
    assert_false(layer->is_private_mapping);
    // Nor through the file, by whatever way.
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, layer->fd, 0) == MAP_FAILED);
    assert_int_equal(pwrite(layer->fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(layer->fd, 0), -1);
    pn_layer_release(layer);
    assert_true(faults(read_word, object));
    assert_true(faults(read_word, code));
    pn_options = saved;
}

static void in_poison_mode_a_layer_is_private(void **state) {
    (void)state;
    PnOptions saved = pn_options;
    pn_options.poison = true;
    Layer *layer = small_layer(NULL);
    uint64_t *word = (uint64_t *)(uintptr_t)(layer->objects.start + 32);
    assert_true(layer->is_private_mapping);
    assert_true(*word == ref_from_int(0).bits);
    *word = 0;
    uint64_t in_file = 0;
    assert_int_equal(pread(layer->fd, &in_file, 8, (off_t)layer->file_offset[0] + 32), 8);
    assert_true(in_file == ref_from_int(0).bits);
    pn_layer_release(layer);
    pn_options = saved;
}

// ---- Contents -----------------------------------------------------------------------------------

static void all_objects_are_walked(void **state) {
    (void)state;
    Layer *layer = small_layer(NULL);
    const uint64_t wanted[] = {layer->objects.start, layer->objects.start + 24, layer->objects.start + 16 + 16 + 2400,
                               layer->code.start};
    Oop o = PN_NO_OOP;
    for (size_t i = 0; i < PN_COUNT_OF(wanted); i++) {
        o = pn_layer_next(layer, o);
        assert_true(o.bits == wanted[i]);
    }
    assert_true(oop_is_none(pn_layer_next(layer, o)));
    assert_true(pn_layer_sum(layer) == layer->sum);
    pn_layer_release(layer);
}

static void segments_may_be_empty(void **state) {
    (void)state;
    LayerDraft draft = draft_layer(NULL, 0, 0);
    Layer *nothing = publish(&draft);
    assert_true(oop_is_none(pn_layer_next(nothing, PN_NO_OOP)));
    assert_false(layer_holds(nothing, nothing->objects.start) || layer_holds(nothing, nothing->code.start));
    draft = draft_layer(nothing, 0, CODE_BYTES);
    write_code((uint64_t *)(void *)draft.code);
    Layer *code = publish(&draft);
    Oop o = pn_layer_next(code, PN_NO_OOP);
    assert_true(o.bits == code->code.start && oop_is_none(pn_layer_next(code, o)));
    draft = draft_layer(code, 16, 0);
    *(uint64_t *)(void *)draft.objects = pn_header(0, 1, PN_FMT_EMPTY, 2000) | PN_HDR_IMMUTABLE;
    Layer *object = publish(&draft);
    o = pn_layer_next(object, PN_NO_OOP);
    assert_true(o.bits == object->objects.start && oop_is_none(pn_layer_next(object, o)));
    pn_layer_release(code);
    pn_layer_release(nothing);
    pn_layer_release(object);
}

// The memory of both segments is what a Spur image file would hold, bridges included.
static void segments_end_with_bridges(void **state) {
    (void)state;
    Layer *layer = small_layer(NULL);
    const uint64_t *bridge = (const uint64_t *)(uintptr_t)(layer->objects.start + layer->objects.bytes);
    assert_true(bridge[0] >> PN_HDR_SLOTS_SHIFT == 0xFF);
    uint64_t gap = 8 * (bridge[0] & PN_OVERFLOW_COUNT_MASK);
    assert_true(layer->objects.start + layer->objects.bytes + 16 + gap == layer->code.start);
    assert_true(bridge[1] == layer->code.bytes + 16);
    bridge = (const uint64_t *)(uintptr_t)(layer->code.start + layer->code.bytes);
    assert_true(bridge[0] == UINT64_C(0x0080000049000003) && bridge[1] == 0);
    uint64_t file[OBJECT_BYTES / 8];
    assert_int_equal(pread(layer->fd, file, sizeof file, (off_t)layer->file_offset[0]), (ssize_t)sizeof file);
    assert_memory_equal(file, (const void *)(uintptr_t)layer->objects.start, sizeof file);
    pn_layer_release(layer);
}

// ---- Counts -------------------------------------------------------------------------------------

static void a_layer_stays_while_it_is_needed(void **state) {
    (void)state;
    Layer *base = small_layer(NULL);
    Layer *middle = small_layer(base);
    Layer *top = small_layer(middle);
    uint64_t in_base = base->objects.start;
    assert_int_equal(top->depth, 2);
    assert_ptr_equal(pn_layer_of(top, in_base), base);
    assert_ptr_equal(pn_layer_of(top, top->code.start), top);
    assert_null(pn_layer_of(middle, top->code.start));
    assert_true(middle->parent_sum == base->sum);
    pn_layer_release(base);
    pn_layer_release(middle);
    pn_layer_retain(top);
    pn_layer_release(top);
    assert_false(faults(read_word, in_base)); // top needs it still
    pn_layer_release(top);
    assert_true(faults(read_word, in_base));
}

static void a_layer_takes_its_indices_with_it(void **state) {
    (void)state;
    LayerDraft draft = draft_layer(NULL, 0, 0);
    uint32_t index = pn_indices_take(1);
    draft.layer->indices = pn_mem_alloc(sizeof index);
    draft.layer->indices[0] = index;
    draft.layer->index_count = 1;
    pn_class_shapes[index] = 1;
    pn_class_table[index] = ref_from_int(1);
    Layer *layer = publish(&draft);
    assert_int_equal(pn_class_shapes[index], 1);
    pn_layer_release(layer);
    assert_int_equal(pn_class_shapes[index], 0);
    assert_true(ref_is_none(pn_class_table[index]));
}

static void each_layer_has_a_world_with_sites(void **state) {
    (void)state;
    Layer *a = small_layer(NULL);
    Layer *b = small_layer(a);
    assert_true(a->world->id != b->world->id);
    assert_ptr_equal(a->world->layer, a);
    uint64_t *site = (uint64_t *)(a->world->site_base + 8 * (a->code.start + 30));
    assert_true(*site == 0);
    *site = 17;
    assert_true(*(uint64_t *)(b->world->site_base + 8 * (a->code.start + 30)) == 0);
    assert_true(*(uint64_t *)(pn_empty_site_base + 8 * (a->code.start + 30)) == 0);
    pn_layer_release(a);
    pn_layer_release(b);
}

// Threads that count one layer up and down; whoever is last unmaps it.
#define THREADS 4
static void *count_up_and_down(void *which) {
    Layer *layer = which;
    for (size_t i = 0; i < 10000; i++) {
        pn_layer_retain(layer);
        pn_layer_release(layer);
    }
    pn_layer_release(layer);
    return NULL;
}

static void the_last_of_many_threads_unmaps(void **state) {
    (void)state;
    Layer *layer = small_layer(NULL);
    uint64_t address = layer->objects.start;
    pthread_t threads[THREADS];
    for (size_t i = 1; i < THREADS; i++) pn_layer_retain(layer);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up_and_down, layer), 0);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_true(faults(read_word, address));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_draft_cannot_be_seen_in_the_window),
        cmocka_unit_test(a_layer_can_be_read_and_not_written),
        cmocka_unit_test(in_poison_mode_a_layer_is_private),
        cmocka_unit_test(all_objects_are_walked),
        cmocka_unit_test(segments_may_be_empty),
        cmocka_unit_test(segments_end_with_bridges),
        cmocka_unit_test(a_layer_stays_while_it_is_needed),
        cmocka_unit_test(a_layer_takes_its_indices_with_it),
        cmocka_unit_test(each_layer_has_a_world_with_sites),
        cmocka_unit_test(the_last_of_many_threads_unmaps),
    };
    return test_run(tests);
}
