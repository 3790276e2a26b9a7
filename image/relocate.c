// image/relocate.c: layers at other addresses than their file was linked for.
//
// Owns: translation of references, also used to write files (image/write.c), and retired symbols. A relocated layer
// is a copy in memory that nobody shares: slower to make and dearer to have than a mapping, otherwise the same. It is
// made when the window is taken where the file wants to be, when symbols of the file exist elsewhere already, and
// when an ancestor was rewritten in this way.
#include "image/image_int.h"

#include <sys/mman.h>

// ---- Retired symbols -------------------------------------------------------------------------------------------

void pn_retire_symbol(Oop symbol, Ref successor) {
    uint64_t keep = oop_header(symbol) & (UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT);
    oop_set_header(symbol, keep | PN_HDR_IMMUTABLE | pn_header(0, PN_HIDDEN_HASH, PN_FMT_64, PN_CLASS_HIDDEN_WORDS));
    oop_init_slot(symbol, 0, successor);
}

uint64_t pn_retired_successor(uint64_t address) {
    Oop o = {address};
    return oop_class_index(o) == PN_CLASS_HIDDEN_WORDS ? oop_slot(o, 0).bits : 0;
}

// ---- Translation -----------------------------------------------------------------------------------------------

bool pn_translation_add(Translation *t, uint64_t from, uint64_t bytes, uint64_t to) {
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        MoveRange *ranges = pn_mem_realloc(t->ranges, capacity * sizeof *ranges);
        if (!ranges) return false;
        t->ranges = ranges;
        t->capacity = capacity;
    }
    t->ranges[t->count++] = (MoveRange){.from = from, .bytes = bytes, .by = to - from};
    return true;
}

bool pn_translation_add_layer(Translation *t, const Layer *layer, bool to_file) {
    uint64_t here = layer->objects.start, code_here = layer->code.start;
    uint64_t there = layer_linked_objects(layer), code_there = layer_linked_code(layer);
    bool added = to_file ? pn_translation_add(t, here, layer->objects.bytes, there) &&
                               pn_translation_add(t, code_here, layer->code.bytes, code_there)
                         : pn_translation_add(t, there, layer->objects.bytes, here) &&
                               pn_translation_add(t, code_there, layer->code.bytes, code_here);
    if (added) t->ranges[t->count - 2].may_be_retired = !to_file && layer_is_rewritten(layer);
    return added;
}

bool pn_translation_add_ancestors(Translation *t, const Layer *layer, bool to_file) {
    for (const Layer *l = layer->parent; l; l = l->parent)
        if (!pn_translation_add_layer(t, l, to_file)) return false;
    return true;
}

bool pn_translation_add_retired(Translation *t, const Layer *layer) {
    for (const Layer *l = layer->parent; l; l = l->parent)
        for (Oop o = pn_layer_next(l, PN_NO_OOP); layer_is_rewritten(l) && !oop_is_none(o); o = pn_layer_next(l, o)) {
            uint64_t successor = pn_retired_successor(o.bits);
            uint64_t linked = layer_linked_objects(l) + (o.bits - l->objects.start);
            if (successor && !pn_overlay_put(&t->exceptions, (Ref){successor}, (Ref){linked})) return false;
        }
    return true;
}

void pn_translation_free(Translation *t) {
    pn_mem_free(t->ranges);
    pn_overlay_clear(&t->exceptions);
    *t = (Translation){0};
}

static const MoveRange *range_holding(const Translation *t, uint64_t address) {
    for (size_t i = 0; i < t->count; i++)
        if (address - t->ranges[i].from < t->ranges[i].bytes) return &t->ranges[i];
    return NULL;
}

bool pn_translate(Translation *t, uint64_t *bits) {
    if (ref_is_immediate((Ref){*bits})) return true;
    Ref other = pn_overlay_get(&t->exceptions, (Ref){*bits});
    if (!ref_is_none(other)) {
        *bits = other.bits;
        return true;
    }
    const MoveRange *range = range_holding(t, *bits);
    if (!range) {
        t->failed = *bits;
        return false;
    }
    *bits += range->by;
    uint64_t successor = range->may_be_retired ? pn_retired_successor(*bits) : 0;
    if (successor) *bits = successor;
    return true;
}

static bool translate_object(Translation *t, Oop o) {
    size_t values = pn_value_slots(o);
    uint64_t *slots = oop_address(o) + 1;
    for (size_t i = 0; i < values; i++)
        if (!pn_translate(t, &slots[i])) return false;
    if (!oop_is_pointers(o)) return true;
    size_t count = oop_slot_count(o);
    for (size_t i = values; i < count; i++) slots[i] = t->nil;
    return true;
}

bool pn_translate_objects(Translation *t, uint64_t *start, size_t bytes) {
    uint64_t *end = start + bytes / 8;
    for (uint64_t *p = start; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (!translate_object(t, o)) return false;
    }
    return true;
}

// ---- A relocated layer -----------------------------------------------------------------------------------------

typedef struct Relocation {
    const ImageHeader *header;
    const uint8_t *file;
    ImageTables tables; // of the file
    LayerDraft draft;
    Translation translation;
    size_t redirected; // symbols that exist elsewhere
} Relocation;

static PnStatus no_memory(PnError *error) { return pn_error(error, PN_NO_MEMORY, 0, "no memory to relocate an image"); }

// The object of the draft that the file has at this linked address of its first segment.
static Oop draft_object(const Relocation *r, uint64_t linked) {
    return oop_at_address(r->draft.objects + (linked - r->header->objects_address));
}

// The symbol that the process has with this spelling. It outlives the layer that will refer to it: symbols made at
// run time and those of ancestors do so anyway.
static Ref lasting_symbol(const Relocation *r, Oop spelled_alike) {
    for (;;) {
        Ref known = pn_symbol_find((const char *)oop_bytes(spelled_alike), oop_byte_count(spelled_alike));
        bool lasts = ref_is_none(known) || ref_is_symbol_region(known) ||
                     pn_layer_of(r->draft.layer->parent, known.bits);
        if (lasts || pn_image_pin_owner(known.bits)) return known;
    }
}

// Symbols that the process has elsewhere become exceptions.
static bool redirect_symbols(Relocation *r) {
    for (size_t i = 0; i < r->header->symbol_capacity; i++) {
        uint64_t linked = r->tables.symbols[i];
        if (linked == 0) continue;
        Ref known = lasting_symbol(r, draft_object(r, linked));
        if (ref_is_none(known)) continue;
        if (!pn_overlay_put(&r->translation.exceptions, (Ref){linked}, known)) return false;
        r->redirected++;
    }
    return true;
}

static void retire_redirected(Relocation *r) {
    if (r->redirected == 0) return;
    for (size_t i = 0; i < r->header->symbol_capacity; i++) {
        Ref known = pn_overlay_get(&r->translation.exceptions, (Ref){r->tables.symbols[i]});
        if (!ref_is_none(known)) pn_retire_symbol(draft_object(r, r->tables.symbols[i]), known);
    }
}

static bool prepare_translation(Relocation *r) {
    const ImageHeader *h = r->header;
    const Layer *to = r->draft.layer;
    Translation *t = &r->translation;
    if (!pn_translation_add(t, h->objects_address, h->objects_bytes, to->objects.start)) return false;
    if (!pn_translation_add(t, h->code_address, h->code_bytes, to->code.start)) return false;
    if (!pn_translation_add_ancestors(t, r->draft.layer, false)) return false;
    t->nil = h->nil;
    return pn_translate(t, &t->nil) && redirect_symbols(r);
}

// The file's overlay with its addresses translated: places depend on addresses, so it is a new table.
static bool rebuild_overlay(Relocation *r, Overlay *overlay) {
    for (size_t i = 0; i < r->header->overlay_capacity; i++) {
        uint64_t key = r->tables.overlay[2 * i], value = r->tables.overlay[2 * i + 1];
        if (key == 0) continue;
        if (!pn_translate(&r->translation, &key) || !pn_translate(&r->translation, &value)) return false;
        if (!pn_overlay_put(overlay, (Ref){key}, (Ref){value})) return false;
    }
    return true;
}

// Fill the tables that have the same places as in the file.
static bool translate_tables(Relocation *r, const ImageHeader *h, ImageTables *to) {
    *to->head = *r->tables.head;
    to->head->is_rewritten = 1;
    memcpy(to->indices, r->tables.indices, h->class_count * sizeof *to->indices);
    memcpy(to->shapes, r->tables.shapes, h->class_count * sizeof *to->shapes);
    bool translated = true;
    for (size_t i = 0; i < h->class_count; i++) {
        to->classes[i] = r->tables.classes[i];
        translated &= pn_translate(&r->translation, &to->classes[i]);
    }
    for (size_t i = 0; i < h->symbol_capacity; i++) {
        to->symbols[i] = r->tables.symbols[i];
        if (to->symbols[i] != 0) translated &= pn_translate(&r->translation, &to->symbols[i]);
    }
    return translated;
}

// Memory for the metadata of header, which has the counts of overlay and filter; filled and read-only.
static bool make_metadata(Relocation *r, const ImageHeader *header, const Overlay *overlay, const Filter *filter) {
    size_t bytes = header->metadata_bytes;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    ImageTables to = pn_image_tables(header, memory);
    if (overlay->entries) memcpy(to.overlay, overlay->entries, header->overlay_capacity * 16);
    memcpy(to.filter, filter->bits, header->filter_words * 8);
    if (!translate_tables(r, header, &to)) {
        munmap(memory, bytes);
        return false;
    }
    mprotect(memory, bytes, PROT_READ);
    pn_image_attach_metadata(r->draft.layer, header, memory, bytes);
    return true;
}

static bool relocate_metadata(Relocation *r) {
    Overlay overlay = {0};
    Filter filter = {0};
    bool made = rebuild_overlay(r, &overlay) && pn_filter_build(&filter, &overlay, NULL);
    if (made) {
        ImageHeader header = *r->header;
        header.overlay_capacity = overlay.entries ? overlay.mask + 1 : 0;
        header.filter_words = (filter.mask + 64) / 64;
        header.metadata_bytes = pn_image_metadata_bytes(&header);
        made = make_metadata(r, &header, &overlay, &filter);
    }
    pn_filter_free(&filter);
    pn_overlay_clear(&overlay);
    return made;
}

static bool fill_draft(Relocation *r) {
    const ImageHeader *h = r->header;
    const uint8_t *data = r->file + h->header_bytes;
    memcpy(r->draft.objects, data, h->objects_bytes);
    memcpy(r->draft.code, data + h->first_segment_bytes, h->code_bytes);
    if (!prepare_translation(r)) return false;
    if (!pn_translate_objects(&r->translation, (uint64_t *)(void *)r->draft.objects, h->objects_bytes)) return false;
    if (!pn_translate_objects(&r->translation, (uint64_t *)(void *)r->draft.code, h->code_bytes)) return false;
    if (!relocate_metadata(r)) return false;
    uint64_t special = h->special_objects;
    if (!pn_translate(&r->translation, &special)) return false;
    r->draft.layer->nil = (Ref){r->translation.nil};
    r->draft.layer->special_objects = (Ref){special};
    retire_redirected(r);
    return true;
}

static void drop_metadata(Layer *layer) {
    if (layer->metadata) munmap(layer->metadata, layer->metadata_bytes);
    layer->metadata = NULL;
    layer->overlay = (Overlay){0};
    layer->filter = (Filter){0};
    layer->symbols = NULL;
    layer->indices = NULL;
}

// One attempt: a published layer, its symbols not yet joined.
static PnStatus relocate_once(Relocation *r, Layer *parent, PnError *error) {
    const ImageHeader *h = r->header;
    PnStatus status = pn_layer_draft(parent, h->objects_bytes, h->code_bytes, &r->draft, error);
    if (status != PN_OK) return status;
    status = fill_draft(r) ? pn_layer_publish(&r->draft, error) : no_memory(error);
    if (status != PN_OK) {
        drop_metadata(r->draft.layer);
        pn_layer_discard(&r->draft);
    }
    pn_translation_free(&r->translation);
    return status;
}

// Another thread can make one of the symbols between the redirection and the joining: then begin again.
PnStatus pn_image_relocate(const ImageFile *file, Layer *parent, Layer **layer, bool *redirected, PnError *error) {
    void *contents = pn_image_contents(file);
    if (!contents) return no_memory(error);
    Relocation r = {.header = &file->header, .file = contents};
    r.tables = pn_image_tables(r.header, (uint8_t *)contents + r.header->metadata_offset);
    PnStatus status;
    for (;;) {
        r.redirected = 0;
        status = relocate_once(&r, parent, error);
        if (status != PN_OK || pn_symbols_join(r.draft.layer) == 0) break;
        r.draft.layer->symbols = NULL; // has not joined, so must not leave
        pn_layer_release(r.draft.layer);
    }
    munmap(contents, file->header.file_bytes);
    if (status != PN_OK) return status;
    *layer = r.draft.layer;
    *redirected = r.redirected != 0;
    return PN_OK;
}
