// image/map.c: an image file becomes a layer.
//
// Owns: the table of the layers that came from files, so that a file is mapped once in a process. A file that has
// been checked before is not read: its segments and metadata are mapped, its class indices entered, its symbols
// joined. The layer is then counted and unmapped like any other (heap/layer.c). Any thread; one file is mapped at a
// time.
//
//   wanted --open--> header known --(check, if never checked)--> to be mapped --> already mapped: counted once more
//                                                                    +--> addresses free, symbols new: mapped
//                                                                    +--> else: relocated (image/relocate.c)
#include "image/image_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

// ---- Layers that came from files -------------------------------------------------------------------------------

typedef struct MappedFile MappedFile;
struct MappedFile {
    MappedFile *next;
    Layer *layer; // may be on its way out: then its count is 0
    Layer *parent;
    uint64_t sum;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t forgotten;
    MappedFile *files;
} mapped = {.mutex = PTHREAD_MUTEX_INITIALIZER, .forgotten = PTHREAD_COND_INITIALIZER};

// Nothing is left of the layer: heap/layer.c, any thread.
static void forget_mapped_file(void *record) {
    pthread_mutex_lock(&mapped.mutex);
    MappedFile **link = &mapped.files;
    while (*link != record) link = &(*link)->next;
    *link = (*link)->next;
    pthread_cond_broadcast(&mapped.forgotten);
    pthread_mutex_unlock(&mapped.mutex);
    pn_mem_free(record);
}

static void remember_mapped_file(MappedFile *file, Layer *layer) {
    *file = (MappedFile){.next = mapped.files, .layer = layer, .parent = layer->parent, .sum = pn_image_sum(layer)};
    mapped.files = file;
    layer->record = file;
    layer->forget = forget_mapped_file;
}

// Count the layer once more, unless its last count is gone already.
static bool retain_if_alive(Layer *layer) {
    uint32_t count = atomic_load_explicit(&layer->xcount, memory_order_relaxed);
    // relaxed: the mutex orders us behind whoever made the layer; 0 is final.
    while (count != 0 && !atomic_compare_exchange_weak_explicit(&layer->xcount, &count, count + 1, memory_order_relaxed,
                                                                memory_order_relaxed)) {}
    return count != 0;
}

// The layer of a file with this content above parent, if there is one; waits for one that is being unmapped.
static Layer *find_mapped(const ImageHeader *header, const Layer *parent) {
    MappedFile *file = mapped.files;
    while (file) {
        if (file->sum != header->sum || file->parent != parent) {
            file = file->next;
        } else if (retain_if_alive(file->layer)) {
            return file->layer;
        } else {
            pthread_cond_wait(&mapped.forgotten, &mapped.mutex);
            file = mapped.files;
        }
    }
    return NULL;
}

bool pn_image_pin_owner(uint64_t address) {
    for (MappedFile *file = mapped.files; file; file = file->next) {
        if (!layer_holds(file->layer, address)) continue;
        if (retain_if_alive(file->layer)) return true;
        pthread_cond_wait(&mapped.forgotten, &mapped.mutex);
        return false;
    }
    return true;
}

uint64_t pn_image_sum(const Layer *layer) { return layer->metadata ? layer_metadata(layer)->sum : layer->sum; }

// ---- Class indices ---------------------------------------------------------------------------------------------

// Name what lies at a window address, for a message: a file, or memory of this process.
static void name_owner(uint64_t address, char *name, size_t bytes) {
    snprintf(name, bytes, "a worker or layer of this process");
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long long start, end;
    int at;
    while (maps && fgets(line, sizeof line, maps)) {
        at = 0;
        if (sscanf(line, "%llx-%llx %*s %*s %*s %*s %n", &start, &end, &at) < 2 || at == 0) continue;
        if (address - start >= end - start || line[at] != '/' || strncmp(line + at, "/memfd:", 7) == 0) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, bytes, "%s", line + at);
    }
    if (maps) fclose(maps);
}

static PnStatus index_clash(const char *path, uint32_t index, PnError *error) {
    char owner[120];
    name_owner(pn_class_table[index].bits, owner, sizeof owner);
    return pn_error(error, PN_INDEX_CLASH, 0, "%.90s cannot be loaded: its class index %u belongs to %.110s", path,
                    index, owner);
}

// Each index is taken from all who want it at once by exchanging its shape for 0. All, or none.
static PnStatus claim_indices(const ImageTables *t, size_t count, const char *path, PnError *error) {
    for (size_t i = 0; i < count; i++) {
        uint32_t index = t->indices[i], free_shape = 0;
        // relaxed: this only decides who has the index; the layer comes later.
        if (__atomic_compare_exchange_n(&pn_class_shapes[index], &free_shape, t->shapes[i], false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            continue;
        PnStatus status = index_clash(path, index, error);
        pn_indices_give(t->indices, i);
        return status;
    }
    return PN_OK;
}

// From now on the layer has its indices, and gives them back.
static void enter_classes(Layer *layer, size_t count) {
    const uint64_t *classes = (const uint64_t *)(const void *)layer->indices - count; // see the table of the metadata
    for (size_t i = 0; i < count; i++) pn_class_table[layer->indices[i]] = (Ref){classes[i]};
    layer->index_count = count;
}

// ---- Mapping ---------------------------------------------------------------------------------------------------

void pn_image_attach_metadata(Layer *layer, const ImageHeader *header, void *metadata, size_t bytes) {
    ImageTables t = pn_image_tables(header, metadata);
    layer->metadata = metadata;
    layer->metadata_bytes = bytes;
    if (header->overlay_count)
        layer->overlay = (Overlay){
            .entries = t.overlay, .mask = header->overlay_capacity - 1, .count = header->overlay_count};
    layer->filter = (Filter){.bits = t.filter, .mask = 64 * header->filter_words - 1};
    layer->symbols = header->symbol_capacity ? (Ref *)(void *)t.symbols : NULL;
    layer->symbol_capacity = header->symbol_capacity;
    layer->indices = t.indices;
    layer->index_count = 0;
}

static Layer *new_layer(const ImageFile *file, Layer *parent) {
    const ImageHeader *h = &file->header;
    Layer *layer = pn_mem_alloc_zeroed(sizeof *layer);
    if (!layer) return NULL;
    layer->parent = parent;
    layer->depth = h->depth;
    layer->objects.bytes = h->objects_bytes;
    layer->code.bytes = h->code_bytes;
    layer->nil = (Ref){h->nil};
    layer->special_objects = (Ref){h->special_objects};
    layer->sum = h->sum;
    layer->parent_sum = parent ? parent->sum : 0;
    layer->file_offset[0] = h->header_bytes;
    layer->file_offset[1] = h->header_bytes + h->first_segment_bytes;
    layer->is_private_mapping = pn_options.poison;
    layer->fd = -1;
    return layer;
}

static size_t segment_bytes(const Segment *s) { return s->bytes + PN_BRIDGE_BYTES; }

// Give back what a layer has that nobody has seen yet; its metadata and class indices are make_layer's.
static void discard_layer(Layer *layer) {
    pn_symbols_leave(layer);
    pn_world_free(layer->world);
    if (layer->objects.start) pn_window_give(PN_PART_OBJECTS, layer->objects.start, segment_bytes(&layer->objects));
    if (layer->code.start) pn_window_give(PN_PART_CODE, layer->code.start, segment_bytes(&layer->code));
    if (layer->fd >= 0) close(layer->fd);
    pn_mem_free(layer);
}

// Take the addresses that the file was linked for; false if others have them.
static bool take_linked_addresses(Layer *layer, const ImageHeader *h) {
    layer->objects.start = pn_window_take(PN_PART_OBJECTS, h->objects_address, segment_bytes(&layer->objects));
    layer->code.start = pn_window_take(PN_PART_CODE, h->code_address, segment_bytes(&layer->code));
    return layer->objects.start == h->objects_address && layer->code.start == h->code_address;
}

static bool map_segment(const Layer *layer, const Segment *s, uint64_t offset) {
    int protection = layer->is_private_mapping ? PROT_READ | PROT_WRITE : PROT_READ;
    int sharing = layer->is_private_mapping ? MAP_PRIVATE : MAP_SHARED;
    return mmap((void *)(uintptr_t)s->start, segment_bytes(s), protection, sharing | MAP_FIXED, layer->fd,
                (off_t)offset) != MAP_FAILED;
}

static PnStatus map_parts(Layer *layer, const ImageFile *file, PnError *error) {
    layer->fd = dup(file->fd);
    if (layer->fd >= 0 && map_segment(layer, &layer->objects, layer->file_offset[0]) &&
        map_segment(layer, &layer->code, layer->file_offset[1]))
        return PN_OK;
    return pn_error(error, errno == ENOMEM ? PN_NO_MEMORY : PN_IO, 0, "cannot map %s: %s", file->path, strerror(errno));
}

// A parent that was rewritten is not where, or not what, the file was linked for.
static bool family_is_as_linked(const Layer *parent) {
    for (const Layer *l = parent; l; l = l->parent)
        if (layer_is_rewritten(l)) return false;
    return true;
}

// Map the file where it was linked for. *layer stays NULL if that is not possible and the file must be relocated.
static PnStatus map_as_linked(const ImageFile *file, Layer *parent, void *metadata, Layer **layer, PnError *error) {
    if (!family_is_as_linked(parent)) return PN_OK;
    Layer *l = new_layer(file, parent);
    if (!l) return pn_error(error, PN_NO_MEMORY, 0, "no memory for a layer");
    PnStatus status = PN_OK;
    pn_image_attach_metadata(l, &file->header, metadata, file->header.metadata_bytes);
    bool is_linked = take_linked_addresses(l, &file->header);
    if (is_linked) status = map_parts(l, file, error);
    if (is_linked && status == PN_OK) is_linked = pn_symbols_join(l) == 0;
    if (!is_linked || status != PN_OK) {
        discard_layer(l);
        return status;
    }
    l->world = pn_world_new(l);
    if (!l->world) {
        discard_layer(l);
        return pn_error(error, PN_NO_MEMORY, 0, "no memory for the world of a layer");
    }
    if (parent) pn_layer_retain(parent);
    atomic_store_explicit(&l->xcount, 1, memory_order_relaxed);
    *layer = l;
    return PN_OK;
}

// ---- All of it -------------------------------------------------------------------------------------------------

static PnStatus check_parent(const ImageFile *file, const Layer *parent, PnError *error) {
    uint64_t wanted = file->header.parent_sum, given = parent ? pn_image_sum(parent) : 0;
    bool fits = (file->header.depth == 0) == (parent == NULL) && wanted == given;
    if (fits) return PN_OK;
    if (file->header.depth == 0)
        return pn_error(error, PN_WRONG_BASE, 0, "%.120s is a base, and not a layer above %016llx", file->path,
                        (unsigned long long)given);
    return pn_error(error, PN_WRONG_BASE, 0, "%.120s was made above %016llx, not above %016llx", file->path,
                    (unsigned long long)wanted, (unsigned long long)given);
}

static PnStatus check_once(const ImageFile *file, const PnImageChecks *checks, PnImageMapping *how, PnError *error) {
    how->was_checked = pn_image_is_checked(file, checks->check_bytecodes != NULL);
    return how->was_checked ? PN_OK : pn_image_check_and_remember(file, checks, error);
}

static PnStatus place_layer(const ImageFile *file, Layer *parent, void *metadata, Layer **layer, PnImageMapping *how,
                            PnError *error) {
    PnStatus status = map_as_linked(file, parent, metadata, layer, error);
    if (status != PN_OK || *layer) return status;
    how->relocated = true;
    return pn_image_relocate(file, parent, layer, &how->redirected, error);
}

// What can be refused is asked for first: the class indices.
static PnStatus make_layer(const ImageFile *file, Layer *parent, Layer **layer, PnImageMapping *how, PnError *error) {
    const ImageHeader *h = &file->header;
    MappedFile *record = pn_mem_alloc(sizeof *record);
    void *metadata = mmap(NULL, h->metadata_bytes, PROT_READ, MAP_SHARED, file->fd, (off_t)h->metadata_offset);
    if (!record || metadata == MAP_FAILED) {
        pn_mem_free(record);
        if (metadata != MAP_FAILED) munmap(metadata, h->metadata_bytes);
        return pn_error(error, PN_NO_MEMORY, 0, "%s: no memory for a layer", file->path);
    }
    ImageTables t = pn_image_tables(h, metadata);
    PnStatus status = claim_indices(&t, h->class_count, file->path, error);
    if (status == PN_OK) {
        status = place_layer(file, parent, metadata, layer, how, error);
        if (status != PN_OK) pn_indices_give(t.indices, h->class_count);
    }
    if (status == PN_OK) {
        enter_classes(*layer, h->class_count);
        remember_mapped_file(record, *layer);
    } else {
        pn_mem_free(record);
    }
    bool is_used = status == PN_OK && (*layer)->metadata == metadata;
    if (!is_used) munmap(metadata, h->metadata_bytes);
    return status;
}

static PnStatus map_file(const ImageFile *file, Layer *parent, Layer **layer, PnImageMapping *how, PnError *error) {
    PnStatus status = PN_OK;
    pthread_mutex_lock(&mapped.mutex);
    *layer = find_mapped(&file->header, parent);
    how->was_mapped = *layer != NULL;
    if (!*layer) status = make_layer(file, parent, layer, how, error);
    pthread_mutex_unlock(&mapped.mutex);
    return status;
}

PnStatus pn_image_map_with(const char *path, const PnImageChecks *checks, Layer **layer, PnImageMapping *how,
                           PnError *error) {
    ImageFile file = {0};
    PnImageMapping mapping = {0};
    PnStatus status = pn_image_open(path, &file, error);
    if (status != PN_OK) return status;
    status = check_parent(&file, checks->parent, error);
    if (status == PN_OK) status = check_once(&file, checks, &mapping, error);
    if (status == PN_OK) status = map_file(&file, checks->parent, layer, &mapping, error);
    pn_image_close(&file);
    if (status != PN_OK) return status;
    PN_CHECK(*layer != NULL, "%s is mapped, but there is no layer", path);
    pn_image_trace("%s: %s%s%s at %p\n", path, mapping.was_checked ? "" : "checked, ",
                   mapping.was_mapped  ? "mapped already"
                   : mapping.relocated ? "relocated"
                                       : "mapped",
                   mapping.redirected ? ", symbols redirected" : "", (void *)(uintptr_t)(*layer)->objects.start);
    if (how) *how = mapping;
    return PN_OK;
}

PnStatus pn_image_map(const char *path, Layer *parent, Layer **layer, PnError *error) {
    PnImageChecks checks = pn_image_default_checks(parent);
    return pn_image_map_with(path, &checks, layer, NULL, error);
}
