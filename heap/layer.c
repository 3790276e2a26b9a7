// heap/layer.c: layers in memory: made, published, counted, unmapped.
//
// Owns: the memfd and window addresses of a layer. A draft is written through a mapping elsewhere; what appears in the
// window is mapped readable from the start, so no page ever changes its protection. Layers of files are mapped by
// image/, which fills the same struct; from then on they are counted and unmapped here. Called by freeze, by image/,
// and for counts by everybody. A draft belongs to one thread; counts are for any. Invariants: H1 (heap/heap.h), W1, W2
// (heap/window.h).
//
// Note [Bridges]. Each segment ends with the 16 bytes that end a segment of a Spur image file: how far it is to the
// next segment, and that one's size. So the memory of a layer is what an image file of it holds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/heap_int.h"

#define PN_PAGE ((size_t)4 << 10)
#define PN_BRIDGE_BYTES ((size_t)16)
#define PN_SHORT_BRIDGE UINT64_C(0x0080000049000003)

// ---- Filters that hold nothing, or everything ---------------------------------------------------

static const uint64_t no_bits = 0;
static const uint64_t all_bits = ~UINT64_C(0);
const Filter pn_filter_none = {.bits = (uint64_t *)&no_bits, .mask = 0};
const Filter pn_filter_all = {.bits = (uint64_t *)&all_bits, .mask = 63};

void pn_filter_free(Filter *f) {
    if (f->bits != pn_filter_none.bits && f->bits != pn_filter_all.bits) pn_mem_free(f->bits);
    *f = pn_filter_none;
}

// ---- Drafts -------------------------------------------------------------------------------------

static size_t mapped_bytes(const Segment *s) { return pn_round_up(s->bytes + PN_BRIDGE_BYTES, PN_PAGE); }

static size_t layer_file_bytes(const Layer *layer) {
    return mapped_bytes(&layer->objects) + mapped_bytes(&layer->code);
}

static PnStatus take_addresses(Layer *layer, PnError *error) {
    layer->objects.start = pn_window_take(PN_PART_OBJECTS, 0, mapped_bytes(&layer->objects));
    layer->code.start = pn_window_take(PN_PART_CODE, 0, mapped_bytes(&layer->code));
    if (layer->objects.start != 0 && layer->code.start != 0) return PN_OK;
    return pn_error(error, PN_LIMIT, 0,
                    "the shared window has no room for a layer of %zu bytes of objects and %zu of code",
                    layer->objects.bytes, layer->code.bytes);
}

static PnStatus make_file(Layer *layer, PnError *error) {
    layer->fd = memfd_create("pando-layer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (layer->fd < 0)
        return pn_error(error, errno == EMFILE || errno == ENFILE ? PN_LIMIT : PN_NO_MEMORY, 0,
                        "cannot make memory for a layer: %s", strerror(errno));
    layer->file_offset[1] = mapped_bytes(&layer->objects);
    if (pn_reserve_file(layer->fd, 0, layer_file_bytes(layer))) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "there is no memory for a layer of %zu bytes", layer_file_bytes(layer));
}

static PnStatus map_writable(LayerDraft *draft, PnError *error) {
    const Layer *layer = draft->layer;
    void *memory = mmap(NULL, layer_file_bytes(layer), PROT_READ | PROT_WRITE, MAP_SHARED, layer->fd, 0);
    if (memory == MAP_FAILED) return pn_error(error, PN_NO_MEMORY, 0, "cannot map a new layer: %s", strerror(errno));
    draft->objects = memory;
    draft->code = draft->objects + layer->file_offset[1];
    return PN_OK;
}

static void unmap_writable(LayerDraft *draft) {
    if (draft->objects != NULL) munmap(draft->objects, layer_file_bytes(draft->layer));
    draft->objects = draft->code = NULL;
}

static Layer *new_layer(Layer *parent, size_t object_bytes, size_t code_bytes) {
    Layer *layer = pn_mem_alloc_zeroed(sizeof *layer);
    if (layer == NULL) return NULL;
    layer->parent = parent;
    layer->depth = parent != NULL ? parent->depth + 1 : 0;
    layer->parent_sum = parent != NULL ? parent->sum : 0;
    layer->objects.bytes = object_bytes;
    layer->code.bytes = code_bytes;
    layer->filter = pn_filter_none;
    layer->fd = -1;
    return layer;
}

PnStatus pn_layer_draft(Layer *parent, size_t object_bytes, size_t code_bytes, LayerDraft *draft, PnError *error) {
    PN_CHECK(object_bytes % 8 == 0 && code_bytes % 8 == 0, "segments of %zu and %zu bytes", object_bytes, code_bytes);
    PnStatus status;
    *draft = (LayerDraft){.layer = new_layer(parent, object_bytes, code_bytes)};
    if (draft->layer == NULL) return pn_error(error, PN_NO_MEMORY, 0, "there is no memory for a layer");
    if ((status = take_addresses(draft->layer, error)) == PN_OK && (status = make_file(draft->layer, error)) == PN_OK)
        status = map_writable(draft, error);
    if (status != PN_OK) pn_layer_discard(draft);
    return status;
}

// ---- The end of a layer -------------------------------------------------------------------------

static void free_tables(Layer *layer) {
    pn_mem_free(layer->obsolete);
    if (layer->metadata != NULL) {
        munmap(layer->metadata, layer->metadata_bytes);
        return;
    }
    pn_overlay_clear(&layer->overlay);
    pn_filter_free(&layer->filter);
    pn_mem_free(layer->symbols);
    pn_mem_free(layer->indices);
}

static void unmap_layer(Layer *layer) {
    if (layer->objects.start != 0) pn_window_give(PN_PART_OBJECTS, layer->objects.start, mapped_bytes(&layer->objects));
    if (layer->code.start != 0) pn_window_give(PN_PART_CODE, layer->code.start, mapped_bytes(&layer->code));
    if (layer->fd >= 0) close(layer->fd);
    free_tables(layer);
}

void pn_layer_discard(LayerDraft *draft) {
    unmap_writable(draft);
    unmap_layer(draft->layer);
    pn_mem_free(draft->layer);
    draft->layer = NULL;
}

// Nobody knows the layer any more: what the process knows of it goes first, then its memory.
static void unload_layer(Layer *layer) {
    pn_symbols_leave(layer);
    pn_indices_give(layer->indices, layer->index_count);
    pn_world_free(layer->world);
    pn_code_forget_layer(layer);
    unmap_layer(layer);
    // Now its addresses and indices can be had again. Until it is forgotten other threads may look at its count.
    if (layer->forget != NULL) layer->forget(layer->record);
    pn_mem_free(layer);
}

// ---- Publishing ---------------------------------------------------------------------------------

static void write_bridge(uint8_t *segment_end, uint64_t gap_bytes, uint64_t next_bytes) {
    uint64_t words[2] = {gap_bytes != 0 ? UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | gap_bytes / 8 : PN_SHORT_BRIDGE,
                         next_bytes};
    memcpy(segment_end, words, sizeof words);
}

static void write_bridges(const LayerDraft *draft) {
    const Layer *layer = draft->layer;
    uint64_t objects_end = layer->objects.start + layer->objects.bytes + PN_BRIDGE_BYTES;
    write_bridge(draft->objects + layer->objects.bytes, layer->code.start - objects_end,
                 layer->code.bytes + PN_BRIDGE_BYTES);
    write_bridge(draft->code + layer->code.bytes, 0, 0);
}

static uint64_t sum_of(const void *objects, const void *code, const Layer *layer) {
    return pn_hash_bytes(code, layer->code.bytes, pn_hash_bytes(objects, layer->objects.bytes, 0));
}

uint64_t pn_layer_sum(const Layer *layer) {
    return sum_of((const void *)(uintptr_t)layer->objects.start, (const void *)(uintptr_t)layer->code.start, layer);
}

// H1, also against whoever else gets hold of the file: no way of writing it is left.
static PnStatus seal(const Layer *layer, PnError *error) {
    if (fcntl(layer->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "cannot seal a new layer: %s", strerror(errno));
}

static bool map_segment(const Layer *layer, const Segment *s, int which) {
    int protection = PROT_READ | (layer->is_private_mapping ? PROT_WRITE : 0);
    int how = MAP_FIXED | (layer->is_private_mapping ? MAP_PRIVATE : MAP_SHARED);
    return mmap((void *)(uintptr_t)s->start, mapped_bytes(s), protection, how, layer->fd,
                (off_t)layer->file_offset[which]) != MAP_FAILED;
}

static PnStatus map_in_window(Layer *layer, PnError *error) {
    layer->is_private_mapping = pn_options.poison;
    if (map_segment(layer, &layer->objects, 0) && map_segment(layer, &layer->code, 1)) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "cannot map a new layer: %s", strerror(errno));
}

PnStatus pn_layer_publish(LayerDraft *draft, PnError *error) {
    Layer *layer = draft->layer;
    PnStatus status;
    write_bridges(draft);
    layer->sum = sum_of(draft->objects, draft->code, layer);
    unmap_writable(draft);
    if ((status = seal(layer, error)) != PN_OK || (status = map_in_window(layer, error)) != PN_OK) return status;
    layer->world = pn_world_new(layer);
    if (layer->world == NULL) return pn_error(error, PN_NO_MEMORY, 0, "there is no memory for a layer's world");
    if (layer->parent != NULL) pn_layer_retain(layer->parent);
    atomic_store_explicit(&layer->xcount, 1, memory_order_relaxed);
    return PN_OK;
}

// ---- Counting -----------------------------------------------------------------------------------

void pn_layer_retain(Layer *layer) {
    // relaxed: who can retain has a count that keeps the layer, or knows someone who has.
    atomic_fetch_add_explicit(&layer->xcount, 1, memory_order_relaxed);
}

void pn_layer_release(Layer *layer) {
    // release: what this thread did with the layer comes first; acquire: the last one sees what all have done.
    while (layer != NULL && atomic_fetch_sub_explicit(&layer->xcount, 1, memory_order_acq_rel) == 1) {
        Layer *parent = layer->parent;
        unload_layer(layer);
        layer = parent;
    }
}

// ---- Finding and walking ------------------------------------------------------------------------

Layer *pn_layer_of(Layer *top, uint64_t address) {
    while (top != NULL && !layer_holds(top, address)) top = top->parent;
    return top;
}

static bool segment_holds(const Segment *s, uint64_t address) { return address - s->start < s->bytes; }

static Oop first_of(const Segment *s) {
    return s->bytes != 0 ? oop_from_start((uint64_t *)(uintptr_t)s->start) : PN_NO_OOP;
}

Oop pn_layer_next(const Layer *layer, Oop o) {
    if (oop_is_none(o)) return layer->objects.bytes != 0 ? first_of(&layer->objects) : first_of(&layer->code);
    uint64_t *end = oop_end(o);
    uint64_t address = (uint64_t)(uintptr_t)end;
    if (segment_holds(&layer->objects, address) || segment_holds(&layer->code, address)) return oop_from_start(end);
    return segment_holds(&layer->objects, o.bits) ? first_of(&layer->code) : PN_NO_OOP;
}
