// tests/heap/hand_layer.h: a small base layer written by hand, for tests of heap/ that need no classes and no code.
//
// nil, false and true come first; objects are entered one after the other, immutable, with hashes 1, 2, 3, ...
#ifndef PN_TEST_HAND_LAYER_H
#define PN_TEST_HAND_LAYER_H

#include "tests/support.h"

#define HAND_CLASS 2000u // instances have five named slots
#define HAND_SLOTS 5u

typedef struct HandLayer {
    LayerDraft draft;
    size_t used;
    uint32_t hash;
} HandLayer;

static inline uint64_t *hand_at(const HandLayer *h, Ref r) {
    return (uint64_t *)(void *)(h->draft.objects + (r.bits - h->draft.layer->objects.start));
}

static inline void hand_store(const HandLayer *h, Ref object, size_t slot, Ref value) {
    hand_at(h, object)[1 + slot] = value.bits;
}

// more: further header bits, PN_HDR_USER_READ_ONLY for instance. Slots are nil in pointer formats, else counted from
// 0 up.
static inline Ref hand_object(HandLayer *h, uint32_t class_index, uint32_t format, size_t slots, uint64_t more) {
    size_t bytes = pn_object_bytes(slots);
    assert_true(h->used + bytes <= h->draft.layer->objects.bytes);
    uint64_t *at = (uint64_t *)(void *)(h->draft.objects + h->used);
    if (slots >= PN_OVERFLOW_SLOTS) *at++ = UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | slots;
    Ref r = {h->draft.layer->objects.start + (uint64_t)((uint8_t *)at - h->draft.objects)};
    *at = pn_header(slots, ++h->hash, format, class_index) | PN_HDR_IMMUTABLE | more;
    for (size_t i = 0; i < slots; i++) at[1 + i] = format <= PN_FMT_LAST_POINTERS ? h->draft.layer->nil.bits : i;
    h->used += bytes;
    return r;
}

static inline Ref hand_instance(HandLayer *h) { return hand_object(h, HAND_CLASS, PN_FMT_FIXED, HAND_SLOTS, 0); }

static inline void hand_shapes(void) {
    pn_class_shapes[PN_CLASS_UNDEFINED_OBJECT] = (uint32_t)pn_class_format(PN_FMT_EMPTY, 0) + 1;
    pn_class_shapes[PN_CLASS_FALSE] = (uint32_t)pn_class_format(PN_FMT_EMPTY, 0) + 1;
    pn_class_shapes[PN_CLASS_TRUE] = (uint32_t)pn_class_format(PN_FMT_EMPTY, 0) + 1;
    pn_class_shapes[PN_CLASS_ARRAY] = (uint32_t)pn_class_format(PN_FMT_ARRAY, 0) + 1;
    pn_class_shapes[PN_CLASS_BYTE_ARRAY] = (uint32_t)pn_class_format(PN_FMT_8, 0) + 1;
    pn_class_shapes[PN_CLASS_BOXED_FLOAT] = (uint32_t)pn_class_format(PN_FMT_32, 0) + 1;
    pn_class_shapes[PN_CLASS_METHOD_DICTIONARY] = (uint32_t)pn_class_format(PN_FMT_FIXED_ARRAY, 2) + 1;
    pn_class_shapes[PN_CLASS_BYTE_SYMBOL] = (uint32_t)pn_class_format(PN_FMT_8, 0) + 1;
    pn_class_shapes[HAND_CLASS] = (uint32_t)pn_class_format(PN_FMT_FIXED, HAND_SLOTS) + 1;
}

// A draft with room for so many bytes besides nil, false and true; above parent nil is the base's.
static inline HandLayer hand_begin(Layer *parent, size_t bytes) {
    HandLayer h = {0};
    PnError error = {0};
    hand_shapes();
    test_check(pn_layer_draft(parent, bytes + 48, 0, &h.draft, &error) == PN_OK, "%s", error.text);
    h.draft.layer->nil = parent != NULL ? parent->nil : (Ref){h.draft.layer->objects.start};
    if (parent != NULL) return h;
    hand_object(&h, PN_CLASS_UNDEFINED_OBJECT, PN_FMT_EMPTY, 0, PN_HDR_USER_READ_ONLY);
    hand_object(&h, PN_CLASS_FALSE, PN_FMT_EMPTY, 0, PN_HDR_USER_READ_ONLY);
    hand_object(&h, PN_CLASS_TRUE, PN_FMT_EMPTY, 0, PN_HDR_USER_READ_ONLY);
    h.draft.layer->special_objects = h.draft.layer->nil;
    return h;
}

// What is left of the draft becomes a byte array; then the layer is in the window.
static inline Layer *hand_end(HandLayer *h) {
    PnError error = {0};
    Layer *layer = h->draft.layer;
    size_t left = layer->objects.bytes - h->used;
    assert_true(left == 0 || left >= 16);
    size_t slots = left >= 16 + 8 * PN_OVERFLOW_SLOTS ? left / 8 - 2 : left / 8 - 1;
    if (left != 0) hand_object(h, PN_CLASS_BYTE_ARRAY, PN_FMT_8, slots, 0);
    if (layer->overlay.count != 0) assert_true(pn_filter_build(&layer->filter, &layer->overlay, NULL));
    if (layer->parent != NULL) layer->special_objects = layer->parent->special_objects;
    test_check(pn_layer_publish(&h->draft, &error) == PN_OK, "%s", error.text);
    return layer;
}

#endif
