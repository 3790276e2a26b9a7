// image/check.c: whether a file is an image that can be mapped and run: the whole of it, once.
//
// Any bytes are safe input. Nothing is believed: sizes before they are added to, objects before they are looked into,
// addresses before they are followed. Order: header, hashes, metadata's size, the class list (it says which shapes
// there are), headers and sizes of all objects (a bit for each word where one starts), then references and what
// kernel classes ask for, then the tables. Called by image/checked.c and by whoever verifies images.
// Checks what H2, H4, H7, H8, L1, F1, O1-O3 (heap/) mean for a file.
#include "image/check_int.h"

#include <stdarg.h>

// With the interpreter in the program its check of bytecodes is used where a caller names none; image/ does not
// depend on it.
extern int pn_bytecodes_check(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error)
    __attribute__((weak));

PnImageChecks pn_image_default_checks(Layer *parent) {
    return (PnImageChecks){.parent = parent, .check_bytecodes = pn_bytecodes_check};
}

PnStatus pn_check_failed(ImageCheck *c, size_t offset, const char *format, ...) {
    char cause[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cause, sizeof cause, format, arguments);
    va_end(arguments);
    return pn_error(c->error, PN_BAD_IMAGE, offset, "byte %zu: %s", offset, cause);
}

size_t pn_check_offset(const ImageCheck *c, const void *at) { return (size_t)((const uint8_t *)at - c->file); }

// ---- Addresses -------------------------------------------------------------------------------------------------

static Area *area_holding(ImageCheck *c, uint64_t address) {
    for (size_t i = 0; i < c->area_count; i++)
        if (address - c->areas[i].start < c->areas[i].bytes) return &c->areas[i];
    return NULL;
}

static bool starts_object(const Area *area, uint64_t address) {
    uint64_t word = (address - area->start) / 8;
    return (area->object_starts[word / 64] >> (word % 64) & 1) != 0;
}

uint64_t *pn_check_bitmap(const Area *area) { return pn_mem_alloc_zeroed((area->bytes / 8 / 64 + 1) * 8); }

static void mark_start(Area *area, uint64_t word) { area->object_starts[word / 64] |= UINT64_C(1) << (word % 64); }

// An ancestor has been checked when it was mapped: its objects need only be counted off.
static bool find_object_starts(Area *area) {
    area->object_starts = pn_check_bitmap(area);
    if (!area->object_starts) return false;
    uint64_t *memory = (uint64_t *)(uintptr_t)area->memory;
    for (uint64_t *p = memory; p < memory + area->bytes / 8;) {
        Oop o = oop_from_start(p);
        mark_start(area, (uint64_t)(oop_address(o) - memory));
        p = oop_end(o);
    }
    return true;
}

Oop pn_check_object(ImageCheck *c, uint64_t address) {
    Area *area = address % 8 == 0 ? area_holding(c, address) : NULL;
    if (!area) return PN_NO_OOP;
    if (!area->object_starts && !find_object_starts(area)) return PN_NO_OOP;
    return starts_object(area, address) ? oop_at_address(area->memory + (address - area->start)) : PN_NO_OOP;
}

bool pn_check_is_own(const ImageCheck *c, uint64_t address) {
    return address - c->areas[0].start < c->areas[0].bytes || address - c->areas[1].start < c->areas[1].bytes;
}

bool pn_check_is_unknown(const ImageCheck *c, uint64_t address) {
    return !c->knows_ancestors && address % 8 == 0 && !pn_check_is_own(c, address) &&
           address - PN_LAYER_OBJECTS < PN_LAYER_OBJECTS_BYTES + PN_LAYER_CODE_BYTES;
}

static bool is_valid_immediate(uint64_t bits) {
    switch (bits & PN_TAG_MASK) {
    case PN_TAG_INT:
    case PN_TAG_FLOAT: return true;
    case PN_TAG_CHAR: return bits >> 3 <= PN_CHAR_MAX;
    default: return false;
    }
}

bool pn_check_is_reference(ImageCheck *c, uint64_t bits) {
    if ((bits & PN_TAG_MASK) != 0) return is_valid_immediate(bits);
    Oop o = pn_check_object(c, bits);
    if (oop_is_none(o)) return pn_check_is_unknown(c, bits);
    bool is_hidden = oop_class_index(o) <= PN_CLASS_LAST_HIDDEN;
    return !is_hidden || (!pn_check_is_own(c, bits) && pn_retired_successor(o.bits) != 0);
}

uint64_t pn_check_meaning(const ImageCheck *c, uint64_t bits) {
    Ref other = pn_overlay_get(&c->overlay, (Ref){bits});
    return ref_is_none(other) ? bits : other.bits;
}

uint64_t pn_check_slot(ImageCheck *c, Oop o, size_t index) {
    uint64_t bits = oop_slot(o, index).bits;
    bool is_own = o.bits - (uint64_t)(uintptr_t)c->file < c->header->file_bytes;
    if (!is_own) pn_translate(&c->to_file, &bits);
    return bits;
}

// ---- Segments --------------------------------------------------------------------------------------------------

static PnStatus check_bridge(ImageCheck *c, size_t offset, uint64_t header, uint64_t next_bytes) {
    const uint64_t *bridge = (const uint64_t *)(const void *)(c->file + offset);
    if (bridge[0] != header)
        return pn_check_failed(c, offset, "bridge is 0x%llx instead of 0x%llx", (unsigned long long)bridge[0],
                               (unsigned long long)header);
    if (bridge[1] != next_bytes) return pn_check_failed(c, offset + 8, "bridge has another size for the next segment");
    return PN_OK;
}

static PnStatus check_bridges(ImageCheck *c) {
    const ImageHeader *h = c->header;
    uint64_t gap = h->code_address - (h->objects_address + h->first_segment_bytes);
    uint64_t long_bridge = (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | gap / 8;
    uint64_t code_bytes = h->code_bytes + PN_BRIDGE_BYTES;
    PnStatus status = check_bridge(c, h->header_bytes + h->objects_bytes, long_bridge, code_bytes);
    if (status != PN_OK) return status;
    size_t data_end = h->header_bytes + h->data_bytes;
    status = check_bridge(c, data_end - PN_BRIDGE_BYTES, PN_BRIDGE_SHORT, 0);
    for (size_t i = data_end; i < h->metadata_offset && status == PN_OK; i++)
        if (c->file[i] != 0) status = pn_check_failed(c, i, "something lies between data and metadata");
    return status;
}

// Format fields that leave no room for a wrong size: unused units in the last word need a word.
static bool format_fits_slots(uint32_t format, size_t slots) {
    switch (format) {
    case 6:
    case PN_FMT_FORWARDED:
    case PN_FMT_ELSEWHERE: return false;
    case PN_FMT_EMPTY: return slots == 0;
    case PN_FMT_EPHEMERON: return slots > 0;
    case PN_FMT_32:
    case PN_FMT_16:
    case PN_FMT_8: return true;
    default: return format <= PN_FMT_64 || slots > 0;
    }
}

// H7. Whether an object of this format and size is an instance of a class with this format word.
static bool conforms(uint32_t shape, uint32_t format, size_t slots) {
    uint32_t kind = class_format_kind((int64_t)shape - 1), named = class_format_slots((int64_t)shape - 1);
    switch (kind) {
    case PN_FMT_EMPTY:
    case PN_FMT_FIXED: return format <= PN_FMT_FIXED && slots == named;
    case PN_FMT_EPHEMERON: return (format == PN_FMT_EPHEMERON || format == PN_FMT_FIXED) && slots >= named;
    case PN_FMT_ARRAY:
    case PN_FMT_FIXED_ARRAY:
    case PN_FMT_WEAK: return format == kind && slots >= named;
    case PN_FMT_64: return format == kind;
    case PN_FMT_32: return (format & ~1u) == kind;
    case PN_FMT_16: return (format & ~3u) == kind;
    case PN_FMT_8:
    case PN_FMT_CODE: return (format & ~7u) == kind;
    default: return false;
    }
}

static bool is_hidden_kind(uint32_t class_index, uint32_t format) {
    return (class_index == PN_CLASS_HIDDEN_ARRAY && format == PN_FMT_ARRAY) ||
           (class_index == PN_CLASS_HIDDEN_WORDS && format == PN_FMT_64);
}

// Only a class may have no identity hash yet, and code, where nobody asks for it.
static bool may_lack_hash(Oop o, uint32_t format) {
    if (format >= PN_FMT_CODE) return true;
    return format == PN_FMT_FIXED && oop_slot_count(o) > PN_BEHAVIOR_FORMAT &&
           ref_is_int(oop_slot(o, PN_BEHAVIOR_FORMAT));
}

#define HEADER_BITS_CLEAR (PN_HDR_MARKED | PN_HDR_PINNED | UINT64_C(1) << 22 | UINT64_C(1) << 54)

// L1, H7 and where it lies, for an object that ends within its segment.
static PnStatus check_header_word(ImageCheck *c, Oop o, size_t slots, bool is_code_segment) {
    uint64_t header = oop_header(o);
    uint32_t class_index = hdr_class_index(header), format = hdr_format(header);
    size_t at = pn_check_offset(c, oop_address(o));
    if ((header & HEADER_BITS_CLEAR) != 0 || !hdr_is_immutable(header))
        return pn_check_failed(c, at, "object header 0x%llx: a bit that a collector uses, or not read-only",
                               (unsigned long long)header);
    if (!format_fits_slots(format, slots))
        return pn_check_failed(c, at, "an object of format %u cannot have %zu slots", format, slots);
    if ((format >= PN_FMT_CODE) != is_code_segment)
        return pn_check_failed(c, at, is_code_segment ? "not compiled code" : "compiled code among the objects");
    if (hdr_hash(header) == 0 && !may_lack_hash(o, format))
        return pn_check_failed(c, at, "an object without identity hash");
    if (is_hidden_kind(class_index, format)) return PN_OK;
    if (class_index <= PN_CLASS_LAST_HIDDEN) return pn_check_failed(c, at, "class index %u is no class's", class_index);
    uint32_t shape = check_shape(c, class_index);
    if (shape == 0)
        return c->knows_ancestors ? pn_check_failed(c, at, "class index %u is unknown", class_index) : PN_OK;
    if (!conforms(shape, format, slots))
        return pn_check_failed(c, at, "an object of format %u with %zu slots is no instance of class %u", format, slots,
                               class_index);
    return PN_OK;
}

// The number of slots of the object whose memory begins at p, or a failure: it must end at or before end.
static PnStatus check_extent(ImageCheck *c, const uint64_t *p, const uint64_t *end, size_t *slots) {
    size_t left = (size_t)(end - p), at = pn_check_offset(c, p), count = *p >> PN_HDR_SLOTS_SHIFT;
    bool has_overflow = count == PN_OVERFLOW_SLOTS;
    if (has_overflow) {
        count = *p & PN_OVERFLOW_COUNT_MASK;
        if (left < 2 || p[1] >> PN_HDR_SLOTS_SHIFT != PN_OVERFLOW_SLOTS)
            return pn_check_failed(c, at, "a large object whose header is not that of one");
        if (count < PN_OVERFLOW_SLOTS) return pn_check_failed(c, at, "a large object of only %zu slots", count);
    }
    if (count > left || pn_object_bytes(count) / 8 > left)
        return pn_check_failed(c, at, "an object of %zu slots does not end in its segment", count);
    *slots = count;
    return PN_OK;
}

static PnStatus check_segment(ImageCheck *c, Area *area, bool is_code) {
    area->object_starts = pn_check_bitmap(area);
    if (!area->object_starts) return pn_error(c->error, PN_NO_MEMORY, 0, "no memory to check an image");
    uint64_t *start = (uint64_t *)(uintptr_t)area->memory, *end = start + area->bytes / 8;
    for (uint64_t *p = start; p < end;) {
        size_t slots = 0;
        PnStatus status = check_extent(c, p, end, &slots);
        if (status != PN_OK) return status;
        Oop o = oop_from_start(p);
        status = check_header_word(c, o, slots, is_code);
        if (status != PN_OK) return status;
        mark_start(area, (uint64_t)(oop_address(o) - start));
        p += pn_object_bytes(slots) / 8;
    }
    return PN_OK;
}

PnStatus pn_check_segments(ImageCheck *c) {
    PnStatus status = check_bridges(c);
    if (status == PN_OK) status = check_segment(c, &c->areas[0], false);
    if (status == PN_OK) status = check_segment(c, &c->areas[1], true);
    return status;
}

static PnStatus check_objects(ImageCheck *c, const Area *area) {
    uint64_t *start = (uint64_t *)(uintptr_t)area->memory, *end = start + area->bytes / 8;
    for (uint64_t *p = start; p < end;) {
        Oop o = oop_from_start(p);
        PnStatus status = pn_check_one_object(c, o);
        if (status != PN_OK) return status;
        p = oop_end(o);
    }
    return PN_OK;
}

// ---- All of it -------------------------------------------------------------------------------------------------

static PnStatus check_sums(ImageCheck *c) {
    const ImageHeader *h = c->header;
    if (pn_image_data_sum(h, c->file + h->header_bytes) != h->sum)
        return pn_check_failed(c, h->header_bytes, "the data are damaged: another hash than in the header");
    if (pn_hash_bytes(c->file + h->metadata_offset, h->metadata_bytes, 0) != h->metadata_sum)
        return pn_check_failed(c, h->metadata_offset, "the metadata are damaged: another hash than in the header");
    const ImageMetadata *m = c->tables.head;
    if (m->magic != h->magic || m->sum != h->sum || m->parent_sum != h->parent_sum ||
        m->objects_address != h->objects_address || m->code_address != h->code_address || m->is_rewritten != 0)
        return pn_check_failed(c, h->metadata_offset, "header and metadata contradict each other");
    return PN_OK;
}

static PnStatus check_family(ImageCheck *c) {
    const Layer *parent = c->checks->parent;
    if (!c->knows_ancestors) return PN_OK;
    if (c->header->depth != (parent ? parent->depth + 1 : 0))
        return pn_check_failed(c, offsetof(ImageHeader, depth), "depth %u is not that of the parent and 1",
                               c->header->depth);
    if (!parent) return PN_OK;
    uint64_t nil = parent->nil.bits;
    if (pn_translate(&c->to_file, &nil) && nil == c->header->nil) return PN_OK;
    return pn_check_failed(c, offsetof(ImageHeader, nil), "another nil than the parent's");
}

static size_t count_ancestors(const Layer *parent) {
    size_t n = 0;
    for (const Layer *l = parent; l; l = l->parent) n++;
    return n;
}

static Area area_of_segment(const Segment *s, uint64_t linked) {
    return (Area){.start = linked, .bytes = s->bytes, .memory = (const uint8_t *)(uintptr_t)s->start};
}

// 1 + the highest class index that the file or an ancestor has; what the file says is not believed yet.
static size_t count_shapes(const ImageCheck *c) {
    uint32_t highest = PN_CLASS_FIRST_FREE;
    for (const Layer *l = c->checks->parent; l; l = l->parent)
        for (size_t i = 0; i < l->index_count; i++) highest = (uint32_t)pn_max(highest, l->indices[i]);
    for (size_t i = 0; i < c->header->class_count; i++) highest = (uint32_t)pn_max(highest, c->tables.indices[i]);
    return pn_min(highest, PN_MAX_CLASS_INDEX) + 1;
}

static bool set_up(ImageCheck *c) {
    const ImageHeader *h = c->header;
    Layer *parent = c->checks->parent;
    c->areas = pn_mem_alloc_zeroed((2 + 2 * count_ancestors(parent)) * sizeof *c->areas);
    c->shape_count = count_shapes(c);
    c->shapes = pn_mem_alloc_zeroed(c->shape_count * sizeof *c->shapes);
    if (!c->areas || !c->shapes) return false;
    size_t code = h->header_bytes + h->first_segment_bytes;
    c->areas[0] = (Area){h->objects_address, h->objects_bytes, c->file + h->header_bytes, NULL, h->header_bytes};
    c->areas[1] = (Area){h->code_address, h->code_bytes, c->file + code, NULL, code};
    c->area_count = 2;
    for (Layer *l = parent; l; l = l->parent) {
        if (!pn_translation_add_layer(&c->to_file, l, true)) return false;
        c->areas[c->area_count++] = area_of_segment(&l->objects, layer_linked_objects(l));
        c->areas[c->area_count++] = area_of_segment(&l->code, layer_linked_code(l));
        for (size_t i = 0; i < l->index_count; i++) c->shapes[l->indices[i]] = pn_class_shapes[l->indices[i]];
    }
    return true;
}

static void tear_down(ImageCheck *c) {
    for (size_t i = 0; i < c->area_count; i++) pn_mem_free(c->areas[i].object_starts);
    pn_mem_free(c->areas);
    pn_mem_free(c->shapes);
    pn_translation_free(&c->to_file);
}

static PnStatus check_all(ImageCheck *c) {
    PnStatus status = check_sums(c);
    if (status == PN_OK) status = check_family(c);
    if (status == PN_OK) status = pn_check_class_list(c);
    if (status == PN_OK) status = pn_check_segments(c);
    if (status == PN_OK) status = pn_check_tables(c);
    if (status == PN_OK)
        status = check_objects(c, &c->areas[1]); // contexts are compared with their methods: code first
    if (status == PN_OK) status = check_objects(c, &c->areas[0]);
    return status;
}

static PnStatus check_aligned(const uint8_t *file, size_t count, const PnImageChecks *checks, PnError *error) {
    const ImageHeader *header = (const ImageHeader *)(const void *)file;
    PnStatus status = pn_image_check_header(header, count, error);
    if (status != PN_OK) return status;
    ImageCheck c = {.file = file, .header = header, .checks = checks, .error = error};
    c.tables = pn_image_tables(header, (uint8_t *)(uintptr_t)file + header->metadata_offset);
    c.knows_ancestors = header->depth == 0 || checks->parent != NULL;
    status = set_up(&c) ? check_all(&c) : pn_error(error, PN_NO_MEMORY, 0, "no memory to check an image");
    tear_down(&c);
    return status;
}

// Words are read as words: bytes that are not aligned are copied first.
PnStatus pn_image_check(const uint8_t *file_bytes, size_t count, const PnImageChecks *checks, PnError *error) {
    PnImageChecks defaults = pn_image_default_checks(NULL);
    if (!checks) checks = &defaults;
    if ((uintptr_t)file_bytes % 8 == 0 && count >= PN_IMAGE_PAGE)
        return check_aligned(file_bytes, count, checks, error);
    uint8_t *copy = pn_mem_alloc_zeroed(pn_max(count, PN_IMAGE_PAGE));
    if (!copy) return pn_error(error, PN_NO_MEMORY, 0, "no memory to check an image");
    memcpy(copy, file_bytes, count);
    PnStatus status = check_aligned(copy, count, checks, error);
    pn_mem_free(copy);
    return status;
}
