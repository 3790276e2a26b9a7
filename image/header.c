// image/header.c: the header of an image file: where things are in the file, and whether that can be true.
//
// Reads nothing but the header. Called by everything in image/.
#include "image/image_int.h"

ImageTables pn_image_tables(const ImageHeader *header, void *memory) {
    ImageTables t;
    t.head = memory;
    t.overlay = (uint64_t *)(t.head + 1);
    t.filter = t.overlay + 2 * header->overlay_capacity;
    t.symbols = t.filter + header->filter_words;
    t.classes = t.symbols + header->symbol_capacity;
    t.indices = (uint32_t *)(t.classes + header->class_count);
    t.shapes = t.indices + header->class_count;
    return t;
}

uint64_t pn_image_metadata_bytes(const ImageHeader *header) {
    uint64_t words = 2 * header->overlay_capacity + header->filter_words + header->symbol_capacity;
    return sizeof(ImageMetadata) + 8 * words + 16 * header->class_count;
}

uint64_t pn_image_header_sum(const ImageHeader *header) {
    ImageHeader copy = *header;
    copy.header_sum = 0;
    return pn_hash_bytes(&copy, sizeof copy, 0);
}

uint64_t pn_image_data_sum(const ImageHeader *header, const uint8_t *memory) {
    uint64_t sum = pn_hash_bytes(memory, header->objects_bytes, 0);
    return pn_hash_bytes(memory + header->first_segment_bytes, header->code_bytes, sum);
}

// ---- Checking --------------------------------------------------------------------------------------------------

static PnStatus wrong(PnError *error, size_t offset, const char *text, uint64_t value) {
    return pn_error(error, PN_BAD_IMAGE, offset, "byte %zu: %s (0x%llx)", offset, text, (unsigned long long)value);
}
#define WRONG_UNLESS(condition, field, text)                                                                           \
    do {                                                                                                               \
        if (!(condition)) return wrong(error, offsetof(ImageHeader, field), text, (uint64_t)h->field);                 \
    } while (0)

static bool power_of_two_or_zero(uint64_t n) { return (n & (n - 1)) == 0 || n == 0; }

// Whether [address, address + bytes) lies in a part of the window, at a granule.
static bool fits_in_part(uint64_t address, uint64_t bytes, uint64_t part, uint64_t part_bytes) {
    return address % PN_WINDOW_GRANULE == 0 && address >= part && bytes <= part_bytes &&
           address - part <= part_bytes - bytes;
}

static PnStatus check_spur_fields(const ImageHeader *h, PnError *error) {
    WRONG_UNLESS(h->format == PN_IMAGE_FORMAT, format, "not an image in the 64-bit Spur format");
    WRONG_UNLESS(h->header_bytes == PN_IMAGE_PAGE, header_bytes, "not an image that Pando wrote: size of the header");
    WRONG_UNLESS(h->magic == PN_IMAGE_MAGIC, magic, "not an image that Pando wrote");
    WRONG_UNLESS(h->version == PN_IMAGE_VERSION, version, "written by another version of Pando");
    WRONG_UNLESS(h->header_sum == pn_image_header_sum(h), header_sum, "the header is damaged: hash");
    WRONG_UNLESS(h->flags == PN_IMAGE_FLAG_FLOATS_LITTLE_ENDIAN, flags, "unknown flags");
    WRONG_UNLESS(h->last_hash != 0, last_hash, "no seed for identity hashes");
    uint64_t rest = h->screen_size | h->extra_memory | h->stack_pages | h->code_zone_kib | h->eden_bytes |
                    h->semaphore_table | h->image_version | h->free_bytes;
    for (size_t i = 0; i < PN_COUNT_OF(h->padding); i++) rest |= h->padding[i];
    WRONG_UNLESS(rest == 0, screen_size, "a field that is 0 in our files is not");
    return PN_OK;
}

static PnStatus check_segment_fields(const ImageHeader *h, PnError *error) {
    WRONG_UNLESS(h->objects_bytes % 8 == 0 && h->objects_bytes <= PN_LAYER_OBJECTS_BYTES, objects_bytes,
                 "impossible size of objects");
    WRONG_UNLESS(h->code_bytes % 8 == 0 && h->code_bytes <= PN_LAYER_CODE_BYTES, code_bytes, "impossible size of code");
    WRONG_UNLESS(h->first_segment_bytes == h->objects_bytes + PN_BRIDGE_BYTES &&
                     h->first_segment_bytes % PN_IMAGE_PAGE == 0,
                 first_segment_bytes, "the first segment is not objects and a bridge, in pages");
    WRONG_UNLESS(h->data_bytes == h->first_segment_bytes + h->code_bytes + PN_BRIDGE_BYTES, data_bytes,
                 "the segments do not add up");
    WRONG_UNLESS(fits_in_part(h->objects_address, h->first_segment_bytes, PN_LAYER_OBJECTS, PN_LAYER_OBJECTS_BYTES),
                 objects_address, "objects are linked for an impossible address");
    WRONG_UNLESS(fits_in_part(h->code_address, h->code_bytes + PN_BRIDGE_BYTES, PN_LAYER_CODE, PN_LAYER_CODE_BYTES),
                 code_address, "code is linked for an impossible address");
    WRONG_UNLESS(h->base_address == h->objects_address, base_address, "two addresses for the objects");
    return PN_OK;
}

static PnStatus check_table_fields(const ImageHeader *h, uint64_t file_bytes, PnError *error) {
    const uint64_t most = UINT64_C(1) << 32;
    WRONG_UNLESS(power_of_two_or_zero(h->overlay_capacity) && h->overlay_capacity <= most, overlay_capacity,
                 "impossible size of the overlay");
    WRONG_UNLESS(h->overlay_count <= h->overlay_capacity / 4 * 3, overlay_count, "the overlay is too full");
    WRONG_UNLESS(power_of_two_or_zero(h->filter_words) && h->filter_words != 0 && h->filter_words <= most, filter_words,
                 "impossible size of the filter");
    WRONG_UNLESS(power_of_two_or_zero(h->symbol_capacity) && h->symbol_capacity <= most, symbol_capacity,
                 "impossible size of the symbol table");
    WRONG_UNLESS(h->symbol_count < h->symbol_capacity || h->symbol_count == 0, symbol_count,
                 "the symbol table is too full");
    WRONG_UNLESS(h->class_count <= PN_MAX_CLASS_INDEX, class_count, "more classes than there are indices");
    WRONG_UNLESS(h->metadata_offset == pn_round_up(PN_IMAGE_PAGE + h->data_bytes, PN_IMAGE_PAGE), metadata_offset,
                 "metadata are not behind the data");
    WRONG_UNLESS(h->metadata_bytes == pn_image_metadata_bytes(h), metadata_bytes, "metadata have another size");
    WRONG_UNLESS(h->file_bytes == h->metadata_offset + h->metadata_bytes, file_bytes, "the parts do not add up");
    if (file_bytes != h->file_bytes)
        return pn_error(error, PN_BAD_IMAGE, pn_min(file_bytes, h->file_bytes),
                        "the file has %llu bytes instead of %llu: %s", (unsigned long long)file_bytes,
                        (unsigned long long)h->file_bytes,
                        file_bytes < h->file_bytes ? "cut off" : "something follows");
    return PN_OK;
}

static PnStatus check_family_fields(const ImageHeader *h, PnError *error) {
    if (h->depth == 0) {
        WRONG_UNLESS(h->parent_sum == 0, parent_sum, "a base with a parent");
        WRONG_UNLESS(h->nil == h->objects_address, nil, "nil is not the first object of a base");
        WRONG_UNLESS(h->overlay_count == 0, overlay_count, "a base with an overlay");
    } else {
        WRONG_UNLESS(h->nil - h->objects_address >= h->objects_bytes, nil, "a layer with a nil of its own");
    }
    return PN_OK;
}

PnStatus pn_image_check_header(const ImageHeader *h, uint64_t file_bytes, PnError *error) {
    if (file_bytes < PN_IMAGE_PAGE)
        return pn_error(error, PN_BAD_IMAGE, file_bytes, "too short for an image: %llu bytes",
                        (unsigned long long)file_bytes);
    PnStatus status = check_spur_fields(h, error);
    if (status == PN_OK) status = check_segment_fields(h, error);
    if (status == PN_OK) status = check_table_fields(h, file_bytes, error);
    if (status == PN_OK) status = check_family_fields(h, error);
    return status;
}
