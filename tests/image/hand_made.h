// tests/image/hand_made.h: small layers built word by word, so that tests of image files need neither kernel nor
// collector.
//
// hand_made_base: nil, false, true, the classes that the machine relies on, special objects, a class Thing with two
// slots and a method, a chain of so many Things. hand_made_child: above such a base, with a class, symbol and chain
// of its own, and an overlay in which the base's first Thing is replaced. Used by test programs and by a fuzzer, so
// it does not need cmocka: what does not work ends the program.
#ifndef PN_TEST_HAND_MADE_H
#define PN_TEST_HAND_MADE_H

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image_int.h"

#define HAND_MADE_CLASSES 48

typedef struct HandMade {
    LayerDraft draft;
    uint8_t *objects, *code; // where to write: the draft, or scratch memory to find out the sizes
    uint64_t objects_address, code_address;
    size_t objects_used, code_used;
    Layer *parent;
    uint64_t nil;
    uint64_t class_class; // class of all classes
    uint32_t class_class_index, thing_index;
    uint32_t indices[HAND_MADE_CLASSES];
    uint64_t classes[HAND_MADE_CLASSES];
    uint32_t shapes[HAND_MADE_CLASSES];
    size_t class_count;
    uint64_t special_objects;
    uint64_t first_thing;
    Overlay overlay;
    uint32_t hash; // counts objects
} HandMade;

static inline uint64_t *hand_word(HandMade *m, uint64_t address) {
    bool is_code = address >= PN_LAYER_CODE;
    uint8_t *at = is_code ? m->code + (address - m->code_address) : m->objects + (address - m->objects_address);
    return (uint64_t *)(void *)at;
}

static inline void hand_set(HandMade *m, uint64_t address, size_t slot, uint64_t bits) {
    hand_word(m, address)[1 + slot] = bits;
}

// An object; slots nil in pointer formats, else 0.
static inline uint64_t hand_object(HandMade *m, uint32_t class_index, uint32_t format, size_t slots) {
    bool is_code = format >= PN_FMT_CODE;
    size_t *used = is_code ? &m->code_used : &m->objects_used;
    uint64_t address = (is_code ? m->code_address : m->objects_address) + *used;
    if (slots >= PN_OVERFLOW_SLOTS) {
        *hand_word(m, address) = (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | slots;
        address += 8;
    }
    *used += pn_object_bytes(slots);
    *hand_word(m, address) = pn_header(slots, m->hash++ % 0x3FFFFF + 1, format, class_index) | PN_HDR_IMMUTABLE;
    for (size_t i = 0; i < slots || i == 0; i++)
        hand_set(m, address, i, format != PN_FMT_EMPTY && format <= PN_FMT_LAST_POINTERS ? m->nil : 0);
    return address;
}

static inline uint64_t hand_text(HandMade *m, const char *text) {
    size_t count = strlen(text);
    uint64_t o = hand_object(m, PN_CLASS_BYTE_STRING, pn_format_for_bytes(count), pn_slots_for_bytes(count));
    memcpy(hand_word(m, o) + 1, text, count);
    return o;
}

static inline uint64_t hand_array(HandMade *m, size_t slots) {
    return hand_object(m, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots);
}

// A method dictionary of two places with one method, or none if selector is NULL.
static inline uint64_t hand_dictionary(HandMade *m, const char *selector, uint64_t method) {
    uint64_t methods = hand_array(m, 2), o = hand_object(m, PN_CLASS_METHOD_DICTIONARY, PN_FMT_FIXED_ARRAY, 4);
    hand_set(m, o, PN_METHOD_DICT_TALLY, ref_from_int(selector != NULL).bits);
    hand_set(m, o, PN_METHOD_DICT_METHODS, methods);
    if (!selector) return o;
    size_t place = pn_symbol_hash(selector, strlen(selector)) & 1;
    hand_set(m, o, PN_METHOD_DICT_FIRST_KEY + place, pn_symbol_z(selector).bits);
    hand_set(m, methods, place, method);
    return o;
}

// A method that answers self: one literal besides the selector.
static inline uint64_t hand_method(HandMade *m, const char *selector) {
    uint64_t o = hand_object(m, PN_CLASS_COMPILED_METHOD, PN_FMT_CODE + 6, 4);
    hand_set(m, o, 0, ref_from_int(PN_CODE_HEADER_SISTA | 2).bits);
    hand_set(m, o, 1, pn_symbol_z(selector).bits);
    hand_set(m, o, 2, m->nil);
    memcpy(hand_word(m, o) + 4, "\x4C\x5C", 2); // push self, return top
    return o;
}

static inline uint64_t hand_class(HandMade *m, const char *name, uint32_t index, uint32_t kind, uint32_t named,
                                  uint64_t superclass, uint64_t dictionary) {
    int64_t format = pn_class_format(kind, named);
    uint64_t o = hand_object(m, m->class_class_index, PN_FMT_FIXED, 7);
    uint64_t header = *hand_word(m, o);
    *hand_word(m, o) = (header & ~PN_HDR_HASH_MASK) | (uint64_t)index << PN_HDR_HASH_SHIFT;
    hand_set(m, o, PN_BEHAVIOR_SUPERCLASS, superclass);
    hand_set(m, o, PN_BEHAVIOR_METHOD_DICT, dictionary);
    hand_set(m, o, PN_BEHAVIOR_FORMAT, ref_from_int(format).bits);
    hand_set(m, o, PN_CLASS_NAME, hand_text(m, name));
    m->indices[m->class_count] = index;
    m->classes[m->class_count] = o;
    m->shapes[m->class_count++] = (uint32_t)format + 1;
    return o;
}

static inline uint64_t hand_things(HandMade *m, size_t count, uint32_t thing_index) {
    uint64_t last = m->nil;
    for (size_t i = 0; i < count; i++) {
        uint64_t o = hand_object(m, thing_index, PN_FMT_FIXED, 2);
        hand_set(m, o, 0, ref_from_int((int64_t)i).bits);
        hand_set(m, o, 1, last);
        last = o;
    }
    return last;
}

static inline void hand_kernel_classes(HandMade *m) {
    static const struct {
        const char *name;
        uint32_t index, kind, named;
    } kernel[] = {
        {"SmallInteger", 1, 7, 0},
        {"Character", 2, 7, 0},
        {"SmallFloat64", 4, 7, 0},
        {"LargeNegative", 32, 16, 0},
        {"LargePositive", 33, 16, 0},
        {"BoxedFloat64", 34, 10, 0},
        {"Message", 35, 1, 3},
        {"Context", 36, 3, 6},
        {"FullBlockClosure", 38, 3, 4},
        {"ByteArray", 50, 16, 0},
        {"Array", 51, 2, 0},
        {"ByteString", 52, 16, 0},
        {"Bitmap", 53, 10, 0},
        {"Point", 54, 1, 2},
        {"ByteSymbol", 56, 16, 0},
        {"MethodDictionary", 57, 3, 2},
        {"CompiledMethod", 58, 24, 0},
        {"CompiledBlock", 59, 24, 0},
        {"Association", 60, 1, 2},
        {"UndefinedObject", 61, 0, 0},
        {"False", 62, 0, 0},
        {"True", 63, 0, 0},
    };
    for (size_t i = 0; i < PN_COUNT_OF(kernel); i++)
        hand_class(m, kernel[i].name, kernel[i].index, kernel[i].kind, kernel[i].named, m->nil, m->nil);
}

static inline void hand_special_objects(HandMade *m) {
    m->special_objects = hand_array(m, PN_SPECIAL_COUNT);
    for (size_t i = 0; i < 3; i++) hand_set(m, m->special_objects, i, m->nil + 16 * i);
    hand_set(m, m->special_objects, PN_SPECIAL_DOES_NOT_UNDERSTAND, pn_symbol_z("doesNotUnderstand:").bits);
}

// Objects of kinds that have rules of their own.
static inline void hand_one_of_each(HandMade *m, uint64_t method) {
    uint64_t all = hand_array(m, 8);
    uint64_t context = hand_object(m, PN_CLASS_CONTEXT, PN_FMT_FIXED_ARRAY, 22);
    hand_set(m, context, PN_CONTEXT_PC, ref_from_int(8 * 3 + 1).bits);
    hand_set(m, context, PN_CONTEXT_STACKP, ref_from_int(1).bits);
    hand_set(m, context, PN_CONTEXT_METHOD, method);
    uint64_t closure = hand_object(m, PN_CLASS_FULL_BLOCK_CLOSURE, PN_FMT_FIXED_ARRAY, 5);
    hand_set(m, closure, PN_CLOSURE_BLOCK, method);
    hand_set(m, closure, PN_CLOSURE_NUM_ARGS, ref_from_int(0).bits);
    hand_set(m, all, 0, context);
    hand_set(m, all, 1, closure);
    hand_set(m, all, 2, hand_object(m, PN_CLASS_BOXED_FLOAT, PN_FMT_32, 1));
    hand_set(m, all, 3, hand_object(m, PN_CLASS_BYTE_ARRAY, PN_FMT_8, 0));
    hand_set(m, all, 4, hand_array(m, 300));
    hand_set(m, all, 5, pn_symbol_z("all").bits);
    hand_set(m, all, 6, ref_from_char('a').bits);
    hand_set(m, m->special_objects, 8, all);
}

static inline void hand_fill_base(HandMade *m, size_t things) {
    m->nil = m->objects_address;
    for (uint32_t i = 0; i < 3; i++) hand_object(m, PN_CLASS_UNDEFINED_OBJECT + i, PN_FMT_EMPTY, 0);
    uint64_t method = hand_method(m, "yourself");
    m->class_class = hand_class(m, "Class", m->class_class_index, PN_FMT_FIXED, 7, m->nil, hand_dictionary(m, NULL, 0));
    hand_kernel_classes(m);
    uint64_t thing = hand_class(m, "Thing", m->thing_index, PN_FMT_FIXED, 2, m->class_class,
                                hand_dictionary(m, "yourself", method));
    hand_special_objects(m);
    hand_set(m, m->special_objects, PN_SPECIAL_PROCESSOR, thing);
    m->first_thing = hand_things(m, things, m->thing_index);
    hand_set(m, m->special_objects, 4, m->first_thing);
    hand_one_of_each(m, method);
}

// The class list of a file layer, by name; its Thing's index has been chosen when it was written.
static inline uint32_t hand_index_of(Layer *layer, const char *name) {
    for (size_t i = 0; i < layer->index_count; i++) {
        Oop class_object = ref_raw(pn_class_table[layer->indices[i]]);
        Oop text = ref_raw(oop_slot(class_object, PN_CLASS_NAME));
        if (oop_byte_count(text) == strlen(name) && memcmp(oop_bytes(text), name, strlen(name)) == 0)
            return layer->indices[i];
    }
    pn_die(__FILE__, __LINE__, "no class %s", name);
}

static inline void hand_fill_child(HandMade *m, size_t things) {
    Layer *base = m->parent;
    uint32_t base_thing = hand_index_of(base, "Thing");
    uint64_t old_thing = oop_slot(ref_raw(base->special_objects), 4).bits;
    m->class_class_index = hand_index_of(base, "Class");
    m->nil = base->nil.bits;
    uint64_t method = hand_method(m, "onlyInTheChild");
    uint64_t class_object = hand_class(m, "Other", m->thing_index, PN_FMT_FIXED, 2, pn_class_table[base_thing].bits,
                                       hand_dictionary(m, "onlyInTheChild", method));
    m->special_objects = base->special_objects.bits;
    m->first_thing = hand_things(m, things, m->thing_index);
    uint64_t copy = hand_object(m, base_thing, PN_FMT_FIXED, 2);
    hand_set(m, copy, 0, m->first_thing);
    hand_set(m, copy, 1, class_object);
    PN_CHECK(pn_overlay_put(&m->overlay, (Ref){old_thing}, (Ref){copy}), "no memory");
}

static inline void hand_fill(HandMade *m, size_t things) {
    m->objects_used = m->code_used = m->class_count = 0;
    m->hash = 0;
    pn_overlay_clear(&m->overlay);
    if (m->parent) hand_fill_child(m, things);
    else hand_fill_base(m, things);
}

// Fill scratch memory first: the sizes are needed before the draft is made.
static inline Layer *hand_make(Layer *parent, size_t things) {
    HandMade m = {.parent = parent};
    PnError error = {0};
    m.class_class_index = parent ? 0 : pn_indices_take(1);
    m.thing_index = pn_indices_take(1);
    size_t room = ((size_t)64 << 10) + 24 * things;
    m.objects = pn_mem_alloc_zeroed(room);
    m.code = pn_mem_alloc_zeroed(4096);
    m.objects_address = PN_LAYER_OBJECTS;
    m.code_address = PN_LAYER_CODE;
    hand_fill(&m, things);
    pn_mem_free(m.objects);
    pn_mem_free(m.code);
    if (pn_layer_draft(parent, m.objects_used, m.code_used, &m.draft, &error) != PN_OK)
        pn_die(__FILE__, __LINE__, "%s", error.text);
    Layer *layer = m.draft.layer;
    m.objects = m.draft.objects;
    m.code = m.draft.code;
    m.objects_address = layer->objects.start;
    m.code_address = layer->code.start;
    hand_fill(&m, things);
    layer->nil = (Ref){m.nil};
    layer->special_objects = (Ref){m.special_objects};
    layer->overlay = m.overlay;
    if (m.overlay.count) PN_CHECK(pn_filter_build(&layer->filter, &layer->overlay, NULL), "no memory");
    layer->indices = pn_mem_alloc(m.class_count * sizeof *layer->indices);
    memcpy(layer->indices, m.indices, m.class_count * sizeof *layer->indices);
    layer->index_count = m.class_count;
    if (pn_layer_publish(&m.draft, &error) != PN_OK) pn_die(__FILE__, __LINE__, "%s", error.text);
    for (size_t i = 0; i < m.class_count; i++) {
        pn_class_table[m.indices[i]] = (Ref){m.classes[i]};
        pn_class_shapes[m.indices[i]] = m.shapes[i];
    }
    return layer;
}

static inline Layer *hand_made_base(size_t things) { return hand_make(NULL, things); }
static inline Layer *hand_made_child(Layer *base, size_t things) { return hand_make(base, things); }

// ---- Files -----------------------------------------------------------------------------------------------------

static inline void hand_save(Layer *layer, const char *path) {
    PnError error = {0};
    if (pn_image_save(layer, path, &error) != PN_OK) pn_die(__FILE__, __LINE__, "saving %s: %s", path, error.text);
}

static inline Layer *hand_map(const char *path, Layer *parent, PnImageMapping *how) {
    PnError error = {0};
    Layer *layer = NULL;
    PnImageChecks checks = {.parent = parent};
    if (pn_image_map_with(path, &checks, &layer, how, &error) != PN_OK)
        pn_die(__FILE__, __LINE__, "mapping %s: %s", path, error.text);
    return layer;
}

// Do work in a process of its own that has not started the machine yet: it makes symbols that this process shall not
// have.
static inline bool hand_elsewhere(void (*work)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        PnError error = {0};
        if (pn_process_init(&error) != PN_OK) {
            fprintf(stderr, "%s\n", error.text);
            _exit(2);
        }
        work();
        _exit(0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && status == 0;
}

// A directory for this program's files; it is also where the list of checked images lies.
static char hand_directory[64];

static inline const char *hand_path(const char *name) {
    static char paths[8][128];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", hand_directory, name);
    return path;
}

static inline bool hand_make_directory(void) {
    snprintf(hand_directory, sizeof hand_directory, "/tmp/pando-image-XXXXXX");
    return mkdtemp(hand_directory) && setenv("XDG_CACHE_HOME", hand_directory, 1) == 0;
}

static inline void hand_remove_directory(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", hand_directory);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", hand_directory);
}

// The whole of a file; *count is its size.
static inline uint8_t *hand_read(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    PN_CHECK(file, "cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *count = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = pn_mem_alloc(*count + 1);
    PN_CHECK(fread(bytes, 1, *count, file) == *count, "cannot read %s", path);
    fclose(file);
    return bytes;
}

static inline void hand_write(const char *path, const uint8_t *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    PN_CHECK(file, "cannot open %s", path);
    PN_CHECK(fwrite(bytes, 1, count, file) == count && fclose(file) == 0, "cannot write %s", path);
}

// Make the hashes of a changed file right again, as somebody would who means harm.
static inline void hand_forge(uint8_t *bytes) {
    ImageHeader *h = (ImageHeader *)(void *)bytes;
    h->sum = pn_image_data_sum(h, bytes + PN_IMAGE_PAGE);
    ImageMetadata *m = (ImageMetadata *)(void *)(bytes + h->metadata_offset);
    m->sum = h->sum;
    h->metadata_sum = pn_hash_bytes(m, h->metadata_bytes, 0);
    h->header_sum = pn_image_header_sum(h);
}

#endif
