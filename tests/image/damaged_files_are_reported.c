// A damaged or hostile file is answered with an error that says where and what, never with a crash. What is not
// reported does no harm: the file can be mapped, and all that is in it can be walked.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/image/hand_made.h"

#include <sys/mman.h>

#define ROUNDS (PN_SANITIZED ? 600 : 3000)

typedef struct Original {
    uint8_t *bytes;
    size_t count;
} Original;
static Original base_file, child_file;
static Layer *base_layer;

static void make_files(void) {
    Layer *base = hand_made_base(20);
    hand_save(base, hand_path("base.image"));
    pn_layer_release(base);
    Layer *again = hand_map(hand_path("base.image"), NULL, NULL);
    hand_save(hand_made_child(again, 5), hand_path("child.image"));
}

static int check_bytecodes(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error) {
    (void)literals;
    (void)temps;
    if (count == 2 && bytes[0] == 0x4C && bytes[1] == 0x5C) return 1;
    pn_error(error, PN_BAD_IMAGE, 1, "not push self, return top");
    return -1;
}

static PnStatus check(const Original *o, const uint8_t *bytes, size_t count, PnError *error) {
    *error = (PnError){0};
    PnImageChecks checks = {.parent = o == &child_file ? base_layer : NULL, .check_bytecodes = check_bytecodes};
    return pn_image_check(bytes, count, &checks, error);
}

// ---- Where things are in a copy of a file ----------------------------------------------------------------------

typedef struct Copy {
    const Original *original;
    uint8_t *bytes; // ends at the end of a page, with nothing behind it
    size_t count;
    uint8_t *mapping;
    size_t mapping_bytes;
    ImageHeader *header;
    ImageTables tables;
} Copy;

static Copy copy_of(const Original *original) {
    Copy c = {.original = original, .count = original->count};
    c.mapping_bytes = pn_round_up(c.count, 4096) + 4096;
    c.mapping = mmap(NULL, c.mapping_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(c.mapping, MAP_FAILED);
    assert_int_equal(mprotect(c.mapping + c.mapping_bytes - 4096, 4096, PROT_NONE), 0);
    c.bytes = c.mapping + c.mapping_bytes - 4096 - c.count;
    memcpy(c.bytes, original->bytes, c.count);
    c.header = (ImageHeader *)(void *)c.bytes;
    c.tables = pn_image_tables(c.header, c.bytes + c.header->metadata_offset);
    return c;
}

static void end_copy(Copy *c) { munmap(c->mapping, c->mapping_bytes); }

static Oop at_address(const Copy *c, uint64_t address) {
    const ImageHeader *h = c->header;
    bool is_code = address - h->code_address < h->code_bytes;
    size_t offset = is_code ? h->first_segment_bytes + (address - h->code_address) : address - h->objects_address;
    return oop_at_address(c->bytes + PN_IMAGE_PAGE + offset);
}

static Oop class_at(const Copy *c, uint32_t index) {
    for (size_t i = 0; i < c->header->class_count; i++)
        if (c->tables.indices[i] == index) return at_address(c, c->tables.classes[i]);
    fail_msg("no class %u", index);
    return PN_NO_OOP;
}

// The first object of a class; of the code segment for compiled methods.
static Oop instance_of(const Copy *c, uint32_t class_index) {
    bool is_code = class_index == PN_CLASS_COMPILED_METHOD;
    uint8_t *start = c->bytes + PN_IMAGE_PAGE + (is_code ? c->header->first_segment_bytes : 0);
    uint64_t *p = (uint64_t *)(void *)start;
    for (;;) {
        Oop o = oop_from_start(p);
        if (oop_class_index(o) == class_index) return o;
        p = oop_end(o);
    }
}

static Oop special_slot(const Copy *c, size_t index) {
    return at_address(c, oop_slot(at_address(c, c->header->special_objects), index).bits);
}

static void set(Oop o, size_t index, uint64_t bits) { oop_init_slot(o, index, (Ref){bits}); }

// ---- Damage on purpose -----------------------------------------------------------------------------------------

static void slot_between_objects(Copy *c) { set(special_slot(c, 4), 0, c->header->objects_address + 8); }
static void slot_outside(Copy *c) { set(special_slot(c, 4), 0, PN_SYMBOLS + 64); }
static void slot_with_bad_tag(Copy *c) { set(special_slot(c, 4), 0, 6); }
static void slot_of_large_character(Copy *c) { set(special_slot(c, 4), 0, ~UINT64_C(7) | PN_TAG_CHAR); }
static void slot_of_hidden_object(Copy *c) { set(special_slot(c, 4), 0, c->header->objects_address + 48); }
static void change_header(Oop o, uint64_t off, uint64_t on) { oop_set_header(o, (oop_header(o) & ~off) | on); }
static void not_immutable(Copy *c) { change_header(special_slot(c, 4), PN_HDR_IMMUTABLE, 0); }
static void marked(Copy *c) { change_header(special_slot(c, 4), 0, PN_HDR_MARKED); }
static void without_hash(Copy *c) { change_header(instance_of(c, PN_CLASS_ARRAY), PN_HDR_HASH_MASK, 0); }
static void forwarder(Copy *c) {
    change_header(special_slot(c, 4), PN_HDR_CLASS_MASK | UINT64_C(31) << 24, PN_CLASS_FORWARDED | UINT64_C(7) << 24);
}
static void free_chunk(Copy *c) { change_header(special_slot(c, 4), PN_HDR_CLASS_MASK, 0); }
static void unknown_class(Copy *c) { change_header(special_slot(c, 4), PN_HDR_CLASS_MASK, 777); }
static void other_format(Copy *c) { change_header(special_slot(c, 4), UINT64_C(31) << 24, UINT64_C(2) << 24); }
static void too_large(Copy *c) { change_header(instance_of(c, PN_CLASS_BYTE_STRING), 0, UINT64_C(254) << 56); }
static void fake_overflow(Copy *c) { change_header(special_slot(c, 4), 0, UINT64_C(255) << 56); }
static void overflow_too_large(Copy *c) {
    uint64_t *roots = (uint64_t *)(void *)(c->bytes + PN_IMAGE_PAGE + 48 + pn_object_bytes(PN_FREE_LIST_SLOTS));
    roots[0] = UINT64_C(0xFF) << 56 | (UINT64_C(1) << 55);
}
static void code_among_objects(Copy *c) {
    change_header(special_slot(c, 4), UINT64_C(31) << 24 | PN_HDR_CLASS_MASK,
                  UINT64_C(24) << 24 | PN_CLASS_COMPILED_METHOD);
}
static void code_header_no_integer(Copy *c) { set(instance_of(c, PN_CLASS_COMPILED_METHOD), 0, c->header->nil); }
static void code_with_many_literals(Copy *c) {
    set(instance_of(c, PN_CLASS_COMPILED_METHOD), 0, ref_from_int(PN_CODE_HEADER_SISTA | 0x7FFF).bits);
}
static void code_not_sista(Copy *c) { set(instance_of(c, PN_CLASS_COMPILED_METHOD), 0, ref_from_int(2).bits); }
static void code_bad_bytecodes(Copy *c) { oop_bytes(instance_of(c, PN_CLASS_COMPILED_METHOD))[25] = 0xFF; }
static void code_without_primitive(Copy *c) {
    set(instance_of(c, PN_CLASS_COMPILED_METHOD), 0, ref_from_int(PN_CODE_HEADER_SISTA | 1 << 16 | 2).bits);
}
static void context_stack_pointer(Copy *c) {
    set(instance_of(c, PN_CLASS_CONTEXT), PN_CONTEXT_STACKP, ref_from_int(17).bits);
}
static void context_pc(Copy *c) { set(instance_of(c, PN_CLASS_CONTEXT), PN_CONTEXT_PC, ref_from_int(1).bits); }
static void context_sender(Copy *c) { set(instance_of(c, PN_CLASS_CONTEXT), PN_CONTEXT_SENDER, ref_from_int(8).bits); }
static void context_method(Copy *c) { set(instance_of(c, PN_CLASS_CONTEXT), PN_CONTEXT_METHOD, c->header->nil); }
static void closure_block(Copy *c) {
    set(instance_of(c, PN_CLASS_FULL_BLOCK_CLOSURE), PN_CLOSURE_BLOCK, c->header->nil);
}
static Oop full_dictionary(const Copy *c) {
    return at_address(c, oop_slot(special_slot(c, PN_SPECIAL_PROCESSOR), PN_BEHAVIOR_METHOD_DICT).bits);
}
static void dictionary_tally(Copy *c) { set(full_dictionary(c), PN_METHOD_DICT_TALLY, ref_from_int(2).bits); }
static void dictionary_methods(Copy *c) { set(full_dictionary(c), PN_METHOD_DICT_METHODS, c->header->special_objects); }
static void dictionary_misplaced(Copy *c) {
    Oop d = full_dictionary(c);
    Ref one = oop_slot(d, PN_METHOD_DICT_FIRST_KEY), two = oop_slot(d, PN_METHOD_DICT_FIRST_KEY + 1);
    set(d, PN_METHOD_DICT_FIRST_KEY, two.bits);
    set(d, PN_METHOD_DICT_FIRST_KEY + 1, one.bits);
}
static void superclass_cycle(Copy *c) {
    set(class_at(c, PN_CLASS_ARRAY), PN_BEHAVIOR_SUPERCLASS,
        oop_slot(at_address(c, c->header->special_objects), 3).bits);
    Oop class_class = at_address(c, oop_slot(special_slot(c, PN_SPECIAL_PROCESSOR), PN_BEHAVIOR_SUPERCLASS).bits);
    set(class_class, PN_BEHAVIOR_SUPERCLASS, oop_slot(at_address(c, c->header->special_objects), 3).bits);
}
static void superclass_no_class(Copy *c) {
    set(class_at(c, PN_CLASS_ARRAY), PN_BEHAVIOR_SUPERCLASS,
        oop_slot(at_address(c, c->header->special_objects), 4).bits);
}
static void class_without_dictionary(Copy *c) {
    set(class_at(c, PN_CLASS_ARRAY), PN_BEHAVIOR_METHOD_DICT, c->header->special_objects);
}
static void class_hash(Copy *c) { change_header(class_at(c, PN_CLASS_ARRAY), 0, UINT64_C(1) << 40); }
static void class_shape(Copy *c) {
    set(special_slot(c, PN_SPECIAL_PROCESSOR), PN_BEHAVIOR_FORMAT, ref_from_int(pn_class_format(PN_FMT_FIXED, 9)).bits);
}
static void kernel_class_shape(Copy *c) {
    for (size_t i = 0; i < c->header->class_count; i++)
        if (c->tables.indices[i] == PN_CLASS_ASSOCIATION)
            c->tables.shapes[i] = (uint32_t)pn_class_format(PN_FMT_FIXED, 1) + 1;
}
static void class_index_of_run_time(Copy *c) { c->tables.indices[c->header->class_count - 1] = PN_FIRST_RUN_INDEX; }
static void class_indices_not_ascending(Copy *c) { c->tables.indices[5] = 40; }
static void class_entry(Copy *c) { c->tables.classes[5] = c->header->special_objects; }
static void class_page(Copy *c) {
    size_t page = 48 + pn_object_bytes(PN_FREE_LIST_SLOTS) + pn_object_bytes(PN_HIDDEN_ROOT_SLOTS) + 16;
    uint64_t *slots = (uint64_t *)(void *)(c->bytes + PN_IMAGE_PAGE + page);
    slots[PN_CLASS_ARRAY] = c->header->nil;
}
static void symbol_hash(Copy *c) { change_header(instance_of(c, PN_CLASS_BYTE_SYMBOL), 0, PN_HDR_HASH_MASK); }
static void symbol_spelling(Copy *c) { oop_bytes(instance_of(c, PN_CLASS_BYTE_SYMBOL))[0] ^= 1; }
static size_t some_symbol(const Copy *c) {
    size_t i = 0;
    while (c->tables.symbols[i] == 0) i++;
    return i;
}
static void symbol_missing(Copy *c) { c->tables.symbols[some_symbol(c)] = 0; }
static void symbol_twice(Copy *c) {
    size_t one = some_symbol(c), two = one + 1;
    while (c->tables.symbols[two] == 0) two++;
    c->tables.symbols[two] = c->tables.symbols[one];
}
static void special_objects_no_array(Copy *c) { c->header->special_objects = c->header->nil; }
static void special_objects_without_true(Copy *c) {
    set(at_address(c, c->header->special_objects), PN_SPECIAL_TRUE, c->header->nil);
}
static void bridge(Copy *c) { c->bytes[PN_IMAGE_PAGE + c->header->objects_bytes] ^= 1; }
static void bridge_size(Copy *c) { c->bytes[PN_IMAGE_PAGE + c->header->objects_bytes + 8] ^= 8; }
static void last_bridge(Copy *c) { c->bytes[PN_IMAGE_PAGE + c->header->data_bytes - 8] ^= 8; }
static void between_parts(Copy *c) { c->bytes[c->header->metadata_offset - 1] = 1; }
static uint64_t *some_pair(Copy *c) {
    uint64_t *pair = c->tables.overlay;
    while (pair[0] == 0) pair += 2;
    return pair;
}
static void overlay_key_own(Copy *c) { some_pair(c)[0] = some_pair(c)[1]; }
static void overlay_key_moved(Copy *c) {
    uint64_t *pair = some_pair(c);
    size_t other = (size_t)((pair - c->tables.overlay) / 2 + 8) % c->header->overlay_capacity;
    memcpy(c->tables.overlay + 2 * other, pair, 16);
    pair[0] = pair[1] = 0;
}
static void overlay_value_nothing(Copy *c) { some_pair(c)[1] = c->header->objects_address + 8; }
static void filter_empty(Copy *c) { memset(c->tables.filter, 0, 8 * c->header->filter_words); }
static void reference_into_parent(Copy *c) { set(at_address(c, some_pair(c)[1]), 0, base_layer->objects.start + 8); }
static void class_of_parent(Copy *c) { c->tables.indices[0] = PN_CLASS_POINT; }

static const struct Damage {
    const char *name;
    void (*make)(Copy *c);
    const char *text; // must be in the message
    bool in_child;
} damages[] = {
#define DAMAGE(name, text) {#name, name, text, false}
#define CHILD_DAMAGE(name, text) {#name, name, text, true}
    DAMAGE(slot_between_objects, "not a reference"),
    DAMAGE(slot_outside, "not a reference"),
    DAMAGE(slot_with_bad_tag, "not a reference"),
    DAMAGE(slot_of_large_character, "not a reference"),
    DAMAGE(slot_of_hidden_object, "not a reference"),
    DAMAGE(not_immutable, "not read-only"),
    DAMAGE(marked, "a bit that a collector uses"),
    DAMAGE(without_hash, "without identity hash"),
    DAMAGE(forwarder, "format 7"),
    DAMAGE(free_chunk, "class index 0"),
    DAMAGE(unknown_class, "class index 777"),
    DAMAGE(other_format, "no instance of class"),
    DAMAGE(too_large, ""),
    DAMAGE(fake_overflow, "large object"),
    DAMAGE(overflow_too_large, "does not end in its segment"),
    DAMAGE(code_among_objects, "among the objects"),
    DAMAGE(code_header_no_integer, "no SmallInteger"),
    DAMAGE(code_with_many_literals, "more literals"),
    DAMAGE(code_not_sista, "not Sista"),
    DAMAGE(code_bad_bytecodes, "push self, return top"),
    DAMAGE(code_without_primitive, "does not begin with its primitive"),
    DAMAGE(context_stack_pointer, "stack pointer"),
    DAMAGE(context_pc, "pc is outside"),
    DAMAGE(context_sender, "sender"),
    DAMAGE(context_method, "method"),
    DAMAGE(closure_block, "block"),
    DAMAGE(dictionary_tally, "counts its selectors"),
    DAMAGE(dictionary_methods, "array of methods"),
    DAMAGE(dictionary_misplaced, "would not be found"),
    DAMAGE(superclass_cycle, "its own superclass"),
    DAMAGE(superclass_no_class, "superclass"),
    DAMAGE(class_without_dictionary, "without method dictionary"),
    DAMAGE(class_hash, "another identity hash"),
    DAMAGE(class_shape, "another shape"),
    DAMAGE(kernel_class_shape, "kernel class of another shape"),
    DAMAGE(class_index_of_run_time, "not a class index of a file"),
    DAMAGE(class_indices_not_ascending, "do not ascend"),
    DAMAGE(class_entry, "class"),
    DAMAGE(class_page, "contradict each other"),
    DAMAGE(symbol_hash, "another hash"),
    DAMAGE(symbol_spelling, "another hash"),
    DAMAGE(symbol_missing, "another number of symbols"),
    DAMAGE(symbol_twice, "symbol"),
    DAMAGE(special_objects_no_array, "special objects"),
    DAMAGE(special_objects_without_true, "special objects"),
    DAMAGE(bridge, "bridge"),
    DAMAGE(bridge_size, "bridge"),
    DAMAGE(last_bridge, "bridge"),
    DAMAGE(between_parts, "between data and metadata"),
    CHILD_DAMAGE(overlay_key_own, "key of the overlay"),
    CHILD_DAMAGE(overlay_key_moved, "would not be found"),
    CHILD_DAMAGE(overlay_value_nothing, "value of the overlay"),
    CHILD_DAMAGE(filter_empty, "filter"),
    CHILD_DAMAGE(reference_into_parent, "not a reference"),
    CHILD_DAMAGE(class_of_parent, "an ancestor has"),
};

static void each_damage_is_named_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < PN_COUNT_OF(damages); i++) {
        Copy c = copy_of(damages[i].in_child ? &child_file : &base_file);
        damages[i].make(&c);
        hand_forge(c.bytes);
        PnError error;
        PnStatus status = check(c.original, c.bytes, c.count, &error);
        if (status != PN_BAD_IMAGE || !strstr(error.text, damages[i].text) || error.offset >= c.count)
            fail_msg("%s: status %d, byte %llu, '%s'", damages[i].name, status, (unsigned long long)error.offset,
                     error.text);
        end_copy(&c);
    }
}

// ---- Any damage ------------------------------------------------------------------------------------------------

static void originals_are_good(void **state) {
    (void)state;
    PnError error;
    if (check(&base_file, base_file.bytes, base_file.count, &error) != PN_OK) fail_msg("base: %s", error.text);
    if (check(&child_file, child_file.bytes, child_file.count, &error) != PN_OK) fail_msg("child: %s", error.text);
    PnImageChecks without_parent = {0};
    if (pn_image_check(child_file.bytes, child_file.count, &without_parent, &error) != PN_OK)
        fail_msg("%s", error.text);
}

static void bytes_that_are_not_aligned_can_be_checked(void **state) {
    (void)state;
    uint8_t *shifted = pn_mem_alloc(base_file.count + 1);
    memcpy(shifted + 1, base_file.bytes, base_file.count);
    PnError error;
    assert_int_equal(check(&base_file, shifted + 1, base_file.count, &error), PN_OK);
    pn_mem_free(shifted);
}

static void file_cut_off_anywhere_is_reported(void **state) {
    (void)state;
    PnError error;
    for (size_t count = 0; count < base_file.count; count += count < PN_IMAGE_PAGE ? 1 : 56)
        assert_int_equal(check(&base_file, base_file.bytes, count, &error), PN_BAD_IMAGE);
    uint8_t *longer = pn_mem_alloc_zeroed(base_file.count + 8);
    memcpy(longer, base_file.bytes, base_file.count);
    assert_int_equal(check(&base_file, longer, base_file.count + 8, &error), PN_BAD_IMAGE);
    pn_mem_free(longer);
}

// The file says of itself that it is as short as it is.
static void file_cut_off_on_purpose_is_reported(void **state) {
    (void)state;
    PnError error;
    for (size_t count = PN_IMAGE_PAGE; count < base_file.count; count += 512) {
        Copy c = copy_of(&base_file);
        c.header->file_bytes = count;
        if (count < c.header->metadata_offset + sizeof(ImageMetadata)) c.header->metadata_offset = PN_IMAGE_PAGE;
        c.header->metadata_bytes = count - c.header->metadata_offset;
        c.header->header_sum = pn_image_header_sum(c.header);
        assert_int_equal(check(&base_file, c.bytes, count, &error), PN_BAD_IMAGE);
        end_copy(&c);
    }
}

static void every_changed_bit_is_noticed(void **state) {
    (void)state;
    uint64_t seed = 20251, failures = 0;
    Copy c = copy_of(&base_file);
    for (int i = 0; i < ROUNDS; i++) {
        size_t at = pn_random(&seed) % c.count;
        uint8_t bit = (uint8_t)(1u << pn_random(&seed) % 8);
        PnError error;
        c.bytes[at] ^= bit;
        failures += check(&base_file, c.bytes, c.count, &error) != PN_BAD_IMAGE;
        c.bytes[at] ^= bit;
    }
    end_copy(&c);
    assert_int_equal(failures, 0);
}

// Look into everything that an accepted file has, as a worker would.
static void walk_all(const Copy *c) {
    const ImageHeader *h = c->header;
    uint64_t sum = 0;
    for (int segment = 0; segment < 2; segment++) {
        uint64_t *p = (uint64_t *)(void *)(c->bytes + PN_IMAGE_PAGE + (segment ? h->first_segment_bytes : 0));
        for (uint64_t *end = p + (segment ? h->code_bytes : h->objects_bytes) / 8; p < end;) {
            Oop o = oop_from_start(p);
            p = oop_end(o);
            size_t values = oop_class_index(o) > PN_CLASS_LAST_HIDDEN ? pn_value_slots(o) : 0;
            for (size_t i = 0; i < values; i++) {
                Ref r = oop_slot(o, i);
                bool is_own = r.bits - h->objects_address < h->objects_bytes ||
                              r.bits - h->code_address < h->code_bytes;
                if (!ref_is_immediate(r)) sum += oop_header(is_own ? at_address(c, r.bits) : ref_raw(r));
            }
        }
    }
    assert_int_not_equal(sum, 0);
}

static void flip_and_forge(const Original *original, uint64_t seed, int rounds, int flips) {
    for (int i = 0; i < rounds; i++) {
        Copy c = copy_of(original);
        for (int k = 0; k < flips; k++) {
            // Not in the header: that is for hostile_headers_are_reported. Mostly where objects are that have rules.
            size_t at = PN_IMAGE_PAGE + pn_random(&seed) % (c.count - PN_IMAGE_PAGE);
            if (pn_random(&seed) % 4 != 0)
                at = PN_IMAGE_PAGE + c.header->objects_bytes - pn_random(&seed) % 8192 % c.header->objects_bytes;
            c.bytes[at] ^= (uint8_t)(1u << pn_random(&seed) % 8);
        }
        hand_forge(c.bytes);
        PnError error;
        PnStatus status = check(original, c.bytes, c.count, &error);
        if (status == PN_OK) walk_all(&c);
        else assert_true(error.text[0] != 0 && error.offset < c.count);
        end_copy(&c);
    }
}

static void forged_files_are_reported_or_harmless(void **state) {
    (void)state;
    flip_and_forge(&base_file, 4711, ROUNDS, 1);
    flip_and_forge(&base_file, 4712, ROUNDS / 3, 5);
    flip_and_forge(&child_file, 4713, ROUNDS, 1);
}

static void hostile_headers_are_reported(void **state) {
    (void)state;
    static const uint64_t values[] = {0,
                                      1,
                                      7,
                                      8,
                                      4096,
                                      1u << 31,
                                      UINT64_C(1) << 32,
                                      UINT64_C(1) << 33,
                                      UINT64_C(1) << 47,
                                      UINT64_C(1) << 62,
                                      INT64_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_MAX - 4095};
    for (size_t field = 0; field < 288; field += 8)
        for (size_t i = 0; i < PN_COUNT_OF(values); i++) {
            Copy c = copy_of(&base_file);
            uint64_t *word = (uint64_t *)(void *)(c.bytes + field);
            if (*word != values[i]) {
                *word = values[i];
                c.header->header_sum = pn_image_header_sum(c.header);
                PnError error;
                bool is_free = field == offsetof(ImageHeader, last_hash); // any seed will do
                bool is_sum = field == offsetof(ImageHeader, header_sum); // made right again
                if (check(&base_file, c.bytes, c.count, &error) != PN_BAD_IMAGE && !is_free && !is_sum)
                    fail_msg("header field %zu = 0x%llx was accepted", field, (unsigned long long)values[i]);
            }
            end_copy(&c);
        }
}

static void not_a_file_is_an_error(void **state) {
    (void)state;
    PnError error = {0};
    Layer *layer = NULL;
    assert_int_equal(pn_image_map(hand_path("missing.image"), NULL, &layer, &error), PN_IO);
    assert_non_null(strstr(error.text, "missing.image"));
    assert_int_equal(pn_image_map(hand_directory, NULL, &layer, &error), PN_IO);
    assert_int_equal(pn_image_save(base_layer, hand_path("no/such/directory.image"), &error), PN_IO);
    hand_write(hand_path("text.image"), (const uint8_t *)"not an image", 12);
    assert_int_equal(pn_image_map(hand_path("text.image"), NULL, &layer, &error), PN_BAD_IMAGE);
}

static void damaged_file_is_not_mapped_and_not_remembered(void **state) {
    (void)state;
    PnError error = {0};
    Layer *layer = NULL;
    Copy c = copy_of(&base_file);
    slot_outside(&c);
    hand_forge(c.bytes);
    hand_write(hand_path("damaged.image"), c.bytes, c.count);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pn_image_map(hand_path("damaged.image"), NULL, &layer, &error), PN_BAD_IMAGE);
        assert_non_null(strstr(error.text, "damaged.image"));
        assert_int_not_equal(error.offset, 0);
    }
    end_copy(&c);
}

static void info_describes_and_survives_damage(void **state) {
    (void)state;
    char text[8192] = {0};
    PnError error = {0};
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_int_equal(pn_image_info(hand_path("base.image"), out, &error), PN_OK);
    assert_int_equal(pn_image_info(hand_path("damaged.image"), out, &error), PN_BAD_IMAGE);
    assert_int_equal(pn_image_info(hand_path("text.image"), out, &error), PN_BAD_IMAGE);
    fclose(out);
    assert_non_null(strstr(text, "Thing"));
    assert_non_null(strstr(text, "20  Thing")); // as many as there are
}

static int start(void **state) {
    (void)state;
    PnError error = {0};
    if (pn_process_init(&error) != PN_OK) return -1;
    base_layer = hand_map(hand_path("base.image"), NULL, NULL);
    base_file.bytes = hand_read(hand_path("base.image"), &base_file.count);
    child_file.bytes = hand_read(hand_path("child.image"), &child_file.count);
    return 0;
}

static int end(void **state) {
    (void)state;
    pn_layer_release(base_layer);
    pn_mem_free(base_file.bytes);
    pn_mem_free(child_file.bytes);
    return 0;
}

int main(void) {
    if (!hand_make_directory() || !hand_elsewhere(make_files)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(originals_are_good),
        cmocka_unit_test(bytes_that_are_not_aligned_can_be_checked),
        cmocka_unit_test(each_damage_is_named_with_its_place),
        cmocka_unit_test(file_cut_off_anywhere_is_reported),
        cmocka_unit_test(file_cut_off_on_purpose_is_reported),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(forged_files_are_reported_or_harmless),
        cmocka_unit_test(hostile_headers_are_reported),
        cmocka_unit_test(not_a_file_is_an_error),
        cmocka_unit_test(damaged_file_is_not_mapped_and_not_remembered),
        cmocka_unit_test(info_describes_and_survives_damage),
    };
    int failed = cmocka_run_group_tests(tests, start, end);
    hand_remove_directory();
    return failed;
}
