// tests/fuzz/fuzz_image.c: any bytes given to the image checker: it must not crash, nor read outside of them.
//
// The input is taken as a list of changes to a good file: offset (4 bytes) and value (8 bytes) each, with the hashes
// made right again, so that what lies behind them is reached. An input that begins with the magic of an image is
// checked as it is.
#include "tests/image/hand_made.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *good;
static size_t good_bytes;

static void prepare(void) {
    PnError error = {0};
    PN_CHECK(hand_make_directory(), "no directory for a file");
    PN_CHECK(pn_process_init(&error) == PN_OK, "%s", error.text);
    Layer *base = hand_made_base(8);
    hand_save(base, hand_path("good.image"));
    pn_layer_release(base);
    good = hand_read(hand_path("good.image"), &good_bytes);
    hand_remove_directory();
}

static void check(uint8_t *bytes, size_t count) {
    PnError error = {0};
    PnImageChecks checks = {0};
    PnStatus status = pn_image_check(bytes, count, &checks, &error);
    PN_CHECK(status == PN_OK || error.text[0] != 0, "status %d without a text", status);
}

static void check_changed(const uint8_t *data, size_t size) {
    uint8_t *bytes = pn_mem_alloc(good_bytes);
    memcpy(bytes, good, good_bytes);
    for (; size >= 12; data += 12, size -= 12) {
        uint32_t offset;
        memcpy(&offset, data, 4);
        memcpy(bytes + offset % (good_bytes / 8) * 8, data + 4, 8);
    }
    ImageHeader *h = (ImageHeader *)(void *)bytes;
    bool has_header = h->first_segment_bytes == ((const ImageHeader *)(const void *)good)->first_segment_bytes &&
                      h->data_bytes < good_bytes && h->objects_bytes < h->first_segment_bytes &&
                      h->code_bytes < good_bytes - h->first_segment_bytes - PN_IMAGE_PAGE &&
                      h->metadata_offset <= good_bytes - sizeof(ImageMetadata) && h->metadata_offset % 8 == 0 &&
                      h->metadata_bytes <= good_bytes - h->metadata_offset;
    if (has_header) hand_forge(bytes);
    else h->header_sum = pn_image_header_sum(h);
    check(bytes, good_bytes);
    pn_mem_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!good) prepare();
    uint32_t magic = 0;
    if (size >= 4) memcpy(&magic, data, 4);
    if (magic == PN_IMAGE_FORMAT) {
        uint8_t *copy = pn_mem_alloc(size); // so that a sanitizer sees its end
        memcpy(copy, data, size);
        check(copy, size);
        pn_mem_free(copy);
    } else {
        check_changed(data, size);
    }
    return 0;
}
