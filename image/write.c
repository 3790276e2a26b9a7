// image/write.c: a layer becomes a file (I1).
//
// Owns: the file while it is written, beside its final name. What is in it is the layer, moved: to addresses chosen
// from the content, so that files made apart rarely want the same; to class indices below those given out at run
// time, chosen likewise; and with the symbols that no ancestor has, which lie in the process's symbol region, behind
// the objects. The layer itself is not touched. The file is filled through a mapping whose blocks have been reserved,
// so that a full disk is noticed before.
//
// Note [New class indices]. A class's identity hash is its index, so classes get new identity hashes in the file.
// Method dictionaries do not notice, their keys are symbols. A hashed collection of the image that has classes as
// keys does: it must be rehashed by who loads it, as after any change of hashes.
#define _GNU_SOURCE // mkostemp
#include "image/image_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Where files are linked for: layers made in memory are placed from the bottom of the window upward.
#define LINK_OBJECTS (PN_LAYER_OBJECTS + 16 * PN_GIB)
#define LINK_OBJECTS_BYTES (64 * PN_GIB)
#define NIL_FALSE_TRUE_BYTES ((size_t)48)

typedef struct ClassEntry {
    uint32_t index;         // in the file
    uint32_t old_index;     // in the process
    uint64_t class_address; // in the process
} ClassEntry;

typedef struct Writer {
    Layer *layer;
    PnError *error;
    ImageHeader header;
    Translation translation;   // process -> file
    uint64_t body, body_bytes; // of the layer's objects, without nil, false, true, class table and filler
    size_t body_offset;        // in segment 0
    size_t data_end;           // in segment 0: behind the last symbol
    ClassEntry *classes;
    size_t class_count;
    uint32_t *new_index; // class index -> class index in the file; 0: the same
    Oop *symbols;        // that are added
    size_t symbol_count, symbol_room;
    Overlay overlay; // as it will be in the file
    Filter filter;
    uint8_t *file; // mapped
    ImageTables tables;
} Writer;

static PnStatus no_memory(Writer *w) { return pn_error(w->error, PN_NO_MEMORY, 0, "no memory to write an image"); }
static bool is_base(const Writer *w) { return w->layer->parent == NULL; }
static uint64_t choice(const Writer *w, uint64_t seed) { return pn_hash_bytes(&w->layer->sum, 8, seed); }

// ---- What is to be written -------------------------------------------------------------------------------------

static bool is_hidden(Oop o) { return oop_class_index(o) <= PN_CLASS_LAST_HIDDEN; }

// A layer that came from a file has a class table and a filler already: they are made anew.
static PnStatus find_body(Writer *w) {
    const Segment *s = &w->layer->objects;
    uint64_t *start = (uint64_t *)(uintptr_t)s->start, *end = start + s->bytes / 8, *body = start, *body_end;
    if (is_base(w)) {
        if (w->layer->nil.bits != s->start || s->bytes < NIL_FALSE_TRUE_BYTES)
            return pn_error(w->error, PN_REFUSED, 0,
                            "a base that does not begin with nil cannot be written as an image");
        body += NIL_FALSE_TRUE_BYTES / 8;
        while (body < end && is_hidden(oop_from_start(body))) body = oop_end(oop_from_start(body));
    }
    body_end = body;
    for (uint64_t *p = body; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (!is_hidden(o)) body_end = p;
    }
    w->body = (uint64_t)(uintptr_t)body;
    w->body_bytes = (uint64_t)(body_end - body) * 8;
    return PN_OK;
}

static int compare_classes(const void *a, const void *b) {
    uint32_t x = ((const ClassEntry *)a)->index, y = ((const ClassEntry *)b)->index;
    return (x > y) - (x < y);
}

static bool block_is_free(const Writer *w, uint32_t first, uint32_t count) {
    for (const Layer *l = w->layer; l; l = l->parent)
        for (size_t i = 0; i < l->index_count; i++)
            if (l->indices[i] - first < count) return false;
    return true;
}

// The first of count indices that neither the layer nor an ancestor has; 0 if none is found.
static uint32_t choose_indices(const Writer *w, uint32_t count) {
    uint32_t room = PN_FIRST_RUN_INDEX - PN_CLASS_FIRST_FREE;
    for (uint64_t attempt = 0; attempt < 1000 && count < room; attempt++) {
        uint32_t first = PN_CLASS_FIRST_FREE + (uint32_t)(choice(w, 2 + attempt) % (room - count));
        if (block_is_free(w, first, count)) return first;
    }
    return 0;
}

static PnStatus note_class(Writer *w, ClassEntry *entry, uint32_t old_index) {
    uint64_t address = pn_class_table[old_index].bits;
    if (address - w->layer->objects.start >= w->layer->objects.bytes)
        return pn_error(w->error, PN_REFUSED, 0, "the class with index %u is not in the layer", old_index);
    *entry = (ClassEntry){.index = old_index, .old_index = old_index, .class_address = address};
    return PN_OK;
}

// See Note [New class indices]. Old indices ascend, so that the new ones depend on nothing else.
static PnStatus renumber_classes(Writer *w) {
    uint32_t count = 0;
    qsort(w->classes, w->class_count, sizeof *w->classes, compare_classes);
    for (size_t i = 0; i < w->class_count; i++) count += w->classes[i].old_index >= PN_FIRST_RUN_INDEX;
    if (count == 0) return PN_OK;
    uint32_t next = choose_indices(w, count);
    if (next == 0) return pn_error(w->error, PN_LIMIT, 0, "no room for %u class indices of an image", count);
    for (size_t i = 0; i < w->class_count; i++) {
        ClassEntry *entry = &w->classes[i];
        if (entry->old_index < PN_FIRST_RUN_INDEX) continue;
        entry->index = next++;
        w->new_index[entry->old_index] = entry->index;
    }
    qsort(w->classes, w->class_count, sizeof *w->classes, compare_classes);
    return PN_OK;
}

static PnStatus choose_classes(Writer *w) {
    w->class_count = w->layer->index_count;
    w->classes = pn_mem_alloc((w->class_count + 1) * sizeof *w->classes);
    w->new_index = pn_mem_alloc_zeroed((PN_MAX_CLASS_INDEX + 1) * sizeof *w->new_index);
    if (!w->classes || !w->new_index) return no_memory(w);
    for (size_t i = 0; i < w->class_count; i++) {
        PnStatus status = note_class(w, &w->classes[i], w->layer->indices[i]);
        if (status != PN_OK) return status;
    }
    return renumber_classes(w);
}

// ---- The class table of a base ---------------------------------------------------------------------------------

typedef struct ClassTable {
    size_t pages;   // of the hidden roots
    size_t objects; // those with classes, and one for all without
} ClassTable;

static bool page_has_class(const Writer *w, size_t page, size_t *next) {
    size_t before = *next;
    while (*next < w->class_count && w->classes[*next].index / PN_CLASS_PAGE_SLOTS == page) (*next)++;
    return *next > before;
}

static ClassTable class_table_of(const Writer *w) {
    uint32_t last = w->class_count ? w->classes[w->class_count - 1].index : 0;
    ClassTable t = {.pages = pn_max(2, last / PN_CLASS_PAGE_SLOTS + 1)};
    bool has_empty = false;
    size_t next = 0;
    for (size_t page = 0; page < t.pages; page++) {
        if (page_has_class(w, page, &next)) t.objects++;
        else has_empty = true;
    }
    t.objects += has_empty;
    return t;
}

static size_t beginning_bytes(const Writer *w) {
    if (!is_base(w)) return 0;
    return NIL_FALSE_TRUE_BYTES + pn_object_bytes(PN_FREE_LIST_SLOTS) + pn_object_bytes(PN_HIDDEN_ROOT_SLOTS) +
           class_table_of(w).objects * pn_object_bytes(PN_CLASS_PAGE_SLOTS);
}

// ---- Addresses and symbols -------------------------------------------------------------------------------------

static bool prepare_translation(Writer *w) {
    const Layer *layer = w->layer;
    Translation *t = &w->translation;
    w->body_offset = beginning_bytes(w);
    uint64_t code_slots = (PN_LAYER_CODE_BYTES - pn_round_up(layer->code.bytes + PN_BRIDGE_BYTES, PN_WINDOW_GRANULE)) /
                          PN_WINDOW_GRANULE;
    w->header.objects_address = LINK_OBJECTS +
                                choice(w, 0) % (LINK_OBJECTS_BYTES / PN_WINDOW_GRANULE) * PN_WINDOW_GRANULE;
    w->header.code_address = PN_LAYER_CODE + choice(w, 1) % (code_slots + 1) * PN_WINDOW_GRANULE;
    if (!pn_translation_add(t, w->body, w->body_bytes, w->header.objects_address + w->body_offset)) return false;
    if (!pn_translation_add(t, layer->code.start, layer->code.bytes, w->header.code_address)) return false;
    if (is_base(w) && !pn_translation_add(t, layer->objects.start, NIL_FALSE_TRUE_BYTES, w->header.objects_address))
        return false;
    return pn_translation_add_ancestors(t, layer, true) && pn_translation_add_retired(t, layer);
}

static PnStatus add_symbol(Writer *w, Oop symbol) {
    if (w->symbol_count == w->symbol_room) {
        size_t room = w->symbol_room ? 2 * w->symbol_room : 64;
        Oop *symbols = pn_mem_realloc(w->symbols, room * sizeof *symbols);
        if (!symbols) return no_memory(w);
        w->symbols = symbols;
        w->symbol_room = room;
    }
    w->symbols[w->symbol_count++] = symbol;
    size_t bytes = oop_bytes_occupied(symbol);
    uint64_t address = w->header.objects_address + w->data_end + (oop_has_overflow(symbol) ? 8 : 0);
    w->data_end += bytes;
    return pn_overlay_put(&w->translation.exceptions, ref_of(symbol), (Ref){address}) ? PN_OK : no_memory(w);
}

// A reference that leads out of the layer and its ancestors can only be to a symbol.
static PnStatus note_reference(Writer *w, Ref r) {
    uint64_t translated = r.bits;
    if (pn_translate(&w->translation, &translated)) return PN_OK;
    if (oop_class_index(ref_raw(r)) == PN_CLASS_BYTE_SYMBOL) return add_symbol(w, ref_raw(r));
    return pn_error(w->error, PN_REFUSED, 0, "the layer refers to 0x%llx, which is neither in it nor in an ancestor",
                    (unsigned long long)r.bits);
}

static PnStatus note_references(Writer *w, uint64_t start, uint64_t bytes) {
    uint64_t *end = (uint64_t *)(uintptr_t)(start + bytes);
    for (uint64_t *p = (uint64_t *)(uintptr_t)start; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        w->header.symbol_count += oop_class_index(o) == PN_CLASS_BYTE_SYMBOL;
        size_t values = pn_value_slots(o);
        for (size_t i = 0; i < values; i++) {
            PnStatus status = note_reference(w, oop_slot(o, i));
            if (status != PN_OK) return status;
        }
    }
    return PN_OK;
}

// An object of an ancestor can have become a symbol.
static PnStatus note_overlay(Writer *w) {
    const Overlay *o = &w->layer->overlay;
    PnStatus status = PN_OK;
    for (size_t i = 0; o->entries && i <= o->mask && status == PN_OK; i++)
        if (o->entries[2 * i] != 0) status = note_reference(w, (Ref){o->entries[2 * i + 1]});
    return status;
}

static PnStatus collect_symbols(Writer *w) {
    w->data_end = w->body_offset + w->body_bytes;
    PnStatus status = note_references(w, w->body, w->body_bytes);
    if (status == PN_OK) status = note_references(w, w->layer->code.start, w->layer->code.bytes);
    if (status == PN_OK) status = note_overlay(w);
    w->header.symbol_count += w->symbol_count;
    return status;
}

static PnStatus translate_overlay(Writer *w) {
    const Overlay *from = &w->layer->overlay;
    for (size_t i = 0; from->entries && i <= from->mask; i++) {
        uint64_t key = from->entries[2 * i], value = from->entries[2 * i + 1];
        if (key == 0) continue;
        if (!pn_translate(&w->translation, &key) || !pn_translate(&w->translation, &value))
            return pn_error(w->error, PN_REFUSED, 0, "the overlay names 0x%llx, which is in no layer below",
                            (unsigned long long)w->translation.failed);
        if (!pn_overlay_put(&w->overlay, (Ref){key}, (Ref){value})) return no_memory(w);
    }
    return pn_filter_build(&w->filter, &w->overlay, NULL) ? PN_OK : no_memory(w);
}

// ---- Layout ----------------------------------------------------------------------------------------------------

// What an object can fill: there are none of 8 and of 2048 bytes.
static bool can_be_filled(size_t bytes) { return bytes % 8 == 0 && bytes != 8 && bytes != 2048; }

static size_t objects_bytes_with_filler(size_t used) {
    size_t total = pn_round_up(used + PN_BRIDGE_BYTES, PN_IMAGE_PAGE);
    while (!can_be_filled(total - PN_BRIDGE_BYTES - used)) total += PN_IMAGE_PAGE;
    return total - PN_BRIDGE_BYTES;
}

static size_t symbol_capacity_for(uint64_t count) {
    size_t capacity = 16;
    while (capacity < 2 * count) capacity *= 2;
    return count ? capacity : 0;
}

static PnStatus lay_out(Writer *w) {
    ImageHeader *h = &w->header;
    h->objects_bytes = objects_bytes_with_filler(w->data_end);
    h->first_segment_bytes = h->objects_bytes + PN_BRIDGE_BYTES;
    h->code_bytes = w->layer->code.bytes;
    h->data_bytes = h->first_segment_bytes + h->code_bytes + PN_BRIDGE_BYTES;
    h->overlay_count = w->overlay.count;
    h->overlay_capacity = w->overlay.entries ? w->overlay.mask + 1 : 0;
    h->filter_words = (w->filter.mask + 64) / 64;
    h->symbol_capacity = symbol_capacity_for(h->symbol_count);
    h->class_count = w->class_count;
    h->metadata_offset = pn_round_up(PN_IMAGE_PAGE + h->data_bytes, PN_IMAGE_PAGE);
    h->metadata_bytes = pn_image_metadata_bytes(h);
    h->file_bytes = h->metadata_offset + h->metadata_bytes;
    if (h->first_segment_bytes <= PN_LAYER_OBJECTS + PN_LAYER_OBJECTS_BYTES - h->objects_address) return PN_OK;
    return pn_error(w->error, PN_LIMIT, 0, "a layer of %llu bytes is too large for an image",
                    (unsigned long long)h->objects_bytes);
}

static PnStatus plan(Writer *w) {
    PnStatus status = find_body(w);
    if (status == PN_OK) status = choose_classes(w);
    if (status == PN_OK && !prepare_translation(w)) status = no_memory(w);
    if (status == PN_OK) status = collect_symbols(w);
    if (status == PN_OK) status = translate_overlay(w);
    if (status == PN_OK) status = lay_out(w);
    return status;
}

// ---- Filling the file ------------------------------------------------------------------------------------------

static uint8_t *segment_at(const Writer *w, size_t offset) { return w->file + PN_IMAGE_PAGE + offset; }
static uint8_t *code_segment(const Writer *w) { return segment_at(w, w->header.first_segment_bytes); }
static uint64_t translated(Writer *w, uint64_t bits) {
    bool known = pn_translate(&w->translation, &bits);
    PN_CHECK(known, "image: 0x%llx was there and is gone", (unsigned long long)bits);
    return bits;
}

// Write header and, if there is one, overflow word of an object of no class whose memory begins at p; answers its
// slots.
static uint64_t *write_hidden(uint8_t *p, size_t slots, uint32_t format, uint32_t class_index) {
    uint64_t *word = (uint64_t *)(void *)p;
    if (slots >= PN_OVERFLOW_SLOTS) *word++ = (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | slots;
    *word++ = pn_header(slots, PN_HIDDEN_HASH, format, class_index) | PN_HDR_IMMUTABLE;
    return word;
}

// Write a page behind the others and answer its address in the file. *next: the first class that is not in a page yet.
static uint64_t write_class_page(Writer *w, size_t page, size_t *offset, size_t *next) {
    uint64_t address = w->header.objects_address + *offset + 8;
    uint64_t *slots = write_hidden(segment_at(w, *offset), PN_CLASS_PAGE_SLOTS, PN_FMT_ARRAY, PN_CLASS_HIDDEN_ARRAY);
    for (size_t i = 0; i < PN_CLASS_PAGE_SLOTS; i++) {
        bool is_next = *next < w->class_count && w->classes[*next].index == page * PN_CLASS_PAGE_SLOTS + i;
        slots[i] = is_next ? translated(w, w->classes[(*next)++].class_address) : w->header.nil;
    }
    *offset += pn_object_bytes(PN_CLASS_PAGE_SLOTS);
    return address;
}

static void write_class_table(Writer *w, uint64_t *roots, size_t offset) {
    ClassTable t = class_table_of(w);
    size_t next = 0;
    uint64_t empty = 0;
    for (size_t i = 0; i < PN_HIDDEN_ROOT_SLOTS; i++) roots[i] = w->header.nil;
    for (size_t page = 0; page < t.pages; page++) {
        bool is_empty = next >= w->class_count || w->classes[next].index / PN_CLASS_PAGE_SLOTS != page;
        roots[page] = is_empty && empty ? empty : write_class_page(w, page, &offset, &next);
        if (is_empty) empty = roots[page];
    }
}

static void write_beginning(Writer *w) {
    if (!is_base(w)) return;
    memcpy(segment_at(w, 0), (const void *)(uintptr_t)w->layer->objects.start, NIL_FALSE_TRUE_BYTES);
    size_t offset = NIL_FALSE_TRUE_BYTES;
    write_hidden(segment_at(w, offset), PN_FREE_LIST_SLOTS, PN_FMT_64, PN_CLASS_HIDDEN_WORDS);
    offset += pn_object_bytes(PN_FREE_LIST_SLOTS);
    uint64_t *roots = write_hidden(segment_at(w, offset), PN_HIDDEN_ROOT_SLOTS, PN_FMT_ARRAY, PN_CLASS_HIDDEN_ARRAY);
    write_class_table(w, roots, offset + pn_object_bytes(PN_HIDDEN_ROOT_SLOTS));
}

static void write_symbols(Writer *w) {
    size_t offset = w->body_offset + w->body_bytes;
    for (size_t i = 0; i < w->symbol_count; i++) {
        size_t bytes = oop_bytes_occupied(w->symbols[i]);
        memcpy(segment_at(w, offset), oop_start(w->symbols[i]), bytes);
        offset += bytes;
    }
}

static void write_filler(Writer *w) {
    size_t bytes = w->header.objects_bytes - w->data_end;
    if (bytes == 0) return;
    size_t slots = bytes < 2048 ? bytes / 8 - 1 : bytes / 8 - 2;
    write_hidden(segment_at(w, w->data_end), slots, PN_FMT_64, PN_CLASS_HIDDEN_WORDS);
}

static void write_bridge(uint8_t *end, uint64_t header, uint64_t next_bytes) {
    uint64_t words[2] = {header, next_bytes};
    memcpy(end, words, sizeof words);
}

static void write_bridges(Writer *w) {
    const ImageHeader *h = &w->header;
    uint64_t gap = h->code_address - (h->objects_address + h->first_segment_bytes);
    write_bridge(segment_at(w, h->objects_bytes), (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | gap / 8,
                 h->code_bytes + PN_BRIDGE_BYTES);
    write_bridge(code_segment(w) + h->code_bytes, PN_BRIDGE_SHORT, 0);
}

// Class indices of the file; retired symbols are emptied.
static void finish_headers(const Writer *w, uint8_t *start, size_t bytes) {
    uint64_t *end = (uint64_t *)(void *)(start + bytes);
    for (uint64_t *p = (uint64_t *)(void *)start; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        uint32_t class_index = oop_class_index(o), other = w->new_index[class_index];
        if (other) oop_set_header(o, (oop_header(o) & ~PN_HDR_CLASS_MASK) | other);
        if (class_index == PN_CLASS_HIDDEN_WORDS) memset(oop_slots(o), 0, 8 * oop_slot_count(o));
    }
}

static Oop written_object(Writer *w, uint64_t address) {
    return oop_at_address(segment_at(w, translated(w, address) - w->header.objects_address));
}

static void write_class_list(Writer *w) {
    for (size_t i = 0; i < w->class_count; i++) {
        const ClassEntry *entry = &w->classes[i];
        Oop class_object = written_object(w, entry->class_address);
        uint64_t rest = oop_header(class_object) & ~PN_HDR_HASH_MASK;
        oop_set_header(class_object, rest | (uint64_t)entry->index << PN_HDR_HASH_SHIFT);
        w->tables.classes[i] = translated(w, entry->class_address);
        w->tables.indices[i] = entry->index;
        w->tables.shapes[i] = pn_class_shapes[entry->old_index];
    }
}

static void enter_symbol(Writer *w, Oop symbol, uint64_t address) {
    size_t mask = w->header.symbol_capacity - 1, at = hdr_hash(oop_header(symbol)) & mask;
    while (w->tables.symbols[at] != 0) at = (at + 1) & mask;
    w->tables.symbols[at] = address;
}

static void write_symbol_table(Writer *w) {
    uint8_t *start = segment_at(w, 0);
    uint64_t *end = (uint64_t *)(void *)(start + w->header.objects_bytes);
    for (uint64_t *p = (uint64_t *)(void *)start; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (oop_class_index(o) == PN_CLASS_BYTE_SYMBOL)
            enter_symbol(w, o, w->header.objects_address + (uint64_t)((uint8_t *)oop_address(o) - start));
    }
}

static void write_metadata(Writer *w) {
    const ImageHeader *h = &w->header;
    w->tables = pn_image_tables(h, w->file + h->metadata_offset);
    if (w->overlay.entries) memcpy(w->tables.overlay, w->overlay.entries, h->overlay_capacity * 16);
    memcpy(w->tables.filter, w->filter.bits, h->filter_words * 8);
    write_class_list(w);
    write_symbol_table(w);
}

static void write_header(Writer *w) {
    ImageHeader *h = &w->header;
    h->format = PN_IMAGE_FORMAT;
    h->header_bytes = (uint32_t)PN_IMAGE_PAGE;
    h->base_address = h->objects_address;
    h->special_objects = translated(w, w->layer->special_objects.bits);
    h->flags = PN_IMAGE_FLAG_FLOATS_LITTLE_ENDIAN;
    h->magic = PN_IMAGE_MAGIC;
    h->version = PN_IMAGE_VERSION;
    h->depth = w->layer->depth;
    h->sum = pn_image_data_sum(h, segment_at(w, 0));
    h->parent_sum = is_base(w) ? 0 : pn_image_sum(w->layer->parent);
    h->last_hash = (uint32_t)h->sum | 1;
    *w->tables.head = (ImageMetadata){.magic = h->magic,
                                      .sum = h->sum,
                                      .parent_sum = h->parent_sum,
                                      .objects_address = h->objects_address,
                                      .code_address = h->code_address};
    h->metadata_sum = pn_hash_bytes(w->file + h->metadata_offset, h->metadata_bytes, 0);
    h->header_sum = pn_image_header_sum(h);
    memcpy(w->file, h, sizeof *h);
}

static PnStatus fill(Writer *w) {
    Translation *t = &w->translation;
    w->header.nil = t->nil = translated(w, w->layer->nil.bits);
    write_beginning(w);
    memcpy(segment_at(w, w->body_offset), (const void *)(uintptr_t)w->body, w->body_bytes);
    memcpy(code_segment(w), (const void *)(uintptr_t)w->layer->code.start, w->layer->code.bytes);
    uint64_t *body = (uint64_t *)(void *)segment_at(w, w->body_offset), *code = (uint64_t *)(void *)code_segment(w);
    if (!pn_translate_objects(t, body, w->body_bytes) || !pn_translate_objects(t, code, w->layer->code.bytes))
        return pn_error(w->error, PN_REFUSED, 0, "0x%llx is in no layer", (unsigned long long)t->failed);
    finish_headers(w, (uint8_t *)body, w->body_bytes);
    finish_headers(w, (uint8_t *)code, w->layer->code.bytes);
    write_symbols(w);
    write_filler(w);
    write_bridges(w);
    write_metadata(w);
    write_header(w);
    return PN_OK;
}

// ---- The file --------------------------------------------------------------------------------------------------

static PnStatus file_error(Writer *w, const char *path, int code) {
    return pn_error(w->error, PN_IO, 0, "cannot write %s: %s", path, strerror(code));
}

static PnStatus fill_file(Writer *w, int fd, const char *path) {
    size_t bytes = w->header.file_bytes;
    int code = posix_fallocate(fd, 0, (off_t)bytes);
    if (code != 0) return file_error(w, path, code);
    w->file = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w->file == MAP_FAILED) return file_error(w, path, errno);
    PnStatus status = fill(w);
    munmap(w->file, bytes);
    if (status != PN_OK) return status;
    if (fchmod(fd, 0644) != 0 || fsync(fd) != 0) return file_error(w, path, errno);
    return PN_OK;
}

// So that the new name survives a loss of power as well. The image is there even if this cannot be done.
static void sync_directory(const char *path) {
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash) slash[slash == directory ? 1 : 0] = 0;
    int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static PnStatus write_beside(Writer *w, const char *path) {
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.XXXXXX", path) >= (int)sizeof beside)
        return file_error(w, path, ENAMETOOLONG);
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) return file_error(w, path, errno);
    PnStatus status = fill_file(w, fd, path);
    if (close(fd) != 0 && status == PN_OK) status = file_error(w, path, errno);
    if (status == PN_OK && rename(beside, path) != 0) status = file_error(w, path, errno);
    if (status != PN_OK) unlink(beside);
    else sync_directory(path);
    return status;
}

PnStatus pn_image_save(Layer *layer, const char *path, PnError *error) {
    if (layer->obsolete_count != 0)
        return pn_error(
            error, PN_REFUSED, 0,
            "class index %u has instances of a shape its class no longer has: convert or drop them, freeze again",
            layer->obsolete[0].index);
    Writer w = {.layer = layer, .error = error};
    PnStatus status = plan(&w);
    if (status == PN_OK) status = write_beside(&w, path);
    if (status == PN_OK) pn_image_trace("wrote %s, %llu bytes\n", path, (unsigned long long)w.header.file_bytes);
    pn_translation_free(&w.translation);
    pn_overlay_clear(&w.overlay);
    pn_filter_free(&w.filter);
    pn_mem_free(w.classes);
    pn_mem_free(w.new_index);
    pn_mem_free(w.symbols);
    return status;
}
