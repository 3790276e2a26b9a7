// image/info.c: what is in an image file, as text.
//
// Reads a file that has been checked just before, without loading it. Called by command lines and by people with a
// debugger.
#include "image/image_int.h"

#include <sys/mman.h>

#define TOP_CLASSES 20

typedef struct ClassBytes {
    uint32_t index;
    size_t objects, bytes;
} ClassBytes;

typedef struct Census {
    const uint8_t *file;
    const ImageHeader *header;
    ImageTables tables;
    uint32_t *place; // class index -> 1 + its place in classes
    ClassBytes *classes;
    size_t count, room;
} Census;

// ---- Counting --------------------------------------------------------------------------------------------------

static bool count_object(Census *c, Oop o) {
    uint32_t index = oop_class_index(o);
    if (c->place[index] == 0) {
        if (c->count == c->room) {
            size_t room = c->room ? 2 * c->room : 64;
            ClassBytes *classes = pn_mem_realloc(c->classes, room * sizeof *classes);
            if (!classes) return false;
            c->classes = classes;
            c->room = room;
        }
        c->classes[c->count++] = (ClassBytes){.index = index};
        c->place[index] = (uint32_t)c->count;
    }
    ClassBytes *class_bytes = &c->classes[c->place[index] - 1];
    class_bytes->objects++;
    class_bytes->bytes += oop_bytes_occupied(o);
    return true;
}

static bool count_segment(Census *c, size_t offset, size_t bytes) {
    uint64_t *start = (uint64_t *)(uintptr_t)(c->file + offset), *end = start + bytes / 8;
    for (uint64_t *p = start; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (!count_object(c, o)) return false;
    }
    return true;
}

static bool count_all(Census *c) {
    const ImageHeader *h = c->header;
    return count_segment(c, h->header_bytes, h->objects_bytes) &&
           count_segment(c, h->header_bytes + h->first_segment_bytes, h->code_bytes);
}

// ---- Names -----------------------------------------------------------------------------------------------------

// The object of the file at an address; none for immediates and objects of ancestors.
static Oop object_in_file(const Census *c, uint64_t address) {
    uint64_t offset = address - c->header->objects_address;
    bool is_in_file = (address & PN_TAG_MASK) == 0 && offset < c->header->objects_bytes;
    return is_in_file ? oop_at_address(c->file + c->header->header_bytes + offset) : PN_NO_OOP;
}

static Oop slot_in_file(const Census *c, Oop o, size_t index) {
    bool has_slot = !oop_is_none(o) && oop_is_pointers(o) && index < oop_slot_count(o);
    return has_slot ? object_in_file(c, oop_slot(o, index).bits) : PN_NO_OOP;
}

static Oop class_in_file(const Census *c, uint32_t index) {
    for (size_t i = 0; i < c->header->class_count; i++)
        if (c->tables.indices[i] == index) return object_in_file(c, c->tables.classes[i]);
    return PN_NO_OOP;
}

static bool is_text(Oop o) { return !oop_is_none(o) && oop_is_bytes(o); }

// A class's name, or that of a metaclass's only instance.
static void print_class_name(const Census *c, uint32_t index, FILE *out) {
    Oop class_object = class_in_file(c, index);
    Oop name = slot_in_file(c, class_object, PN_CLASS_NAME);
    bool is_metaclass = !is_text(name);
    if (is_metaclass) name = slot_in_file(c, slot_in_file(c, class_object, PN_METACLASS_THIS_CLASS), PN_CLASS_NAME);
    if (index == PN_CLASS_HIDDEN_ARRAY) fprintf(out, "(class table)");
    else if (index == PN_CLASS_HIDDEN_WORDS) fprintf(out, "(fillers)");
    else if (!is_text(name)) fprintf(out, "(class %u)", index);
    else
        fprintf(out, "%.*s%s", (int)pn_min(oop_byte_count(name), 80), (const char *)oop_bytes(name),
                is_metaclass ? " class" : "");
}

// ---- Printing --------------------------------------------------------------------------------------------------

static void print_header(const char *path, const ImageHeader *h, FILE *out) {
    fprintf(out, "%s: %s of %llu bytes, content %016llx", path, h->depth ? "layer" : "base image",
            (unsigned long long)h->file_bytes, (unsigned long long)h->sum);
    if (h->depth) fprintf(out, ", depth %u, above %016llx", h->depth, (unsigned long long)h->parent_sum);
    fprintf(out, "\n  objects   %12llu bytes at 0x%llx\n", (unsigned long long)h->objects_bytes,
            (unsigned long long)h->objects_address);
    fprintf(out, "  code      %12llu bytes at 0x%llx\n", (unsigned long long)h->code_bytes,
            (unsigned long long)h->code_address);
    fprintf(out, "  metadata  %12llu bytes: %llu classes, %llu symbols, %llu superseded objects\n",
            (unsigned long long)h->metadata_bytes, (unsigned long long)h->class_count,
            (unsigned long long)h->symbol_count, (unsigned long long)h->overlay_count);
}

static int compare_bytes(const void *a, const void *b) {
    const ClassBytes *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static void print_classes(Census *c, FILE *out) {
    if (c->count) qsort(c->classes, c->count, sizeof *c->classes, compare_bytes);
    fprintf(out, "  %12s %12s  class\n", "bytes", "objects");
    size_t objects = 0;
    for (size_t i = 0; i < c->count; i++) {
        objects += c->classes[i].objects;
        if (i >= TOP_CLASSES) continue;
        fprintf(out, "  %12zu %12zu  ", c->classes[i].bytes, c->classes[i].objects);
        print_class_name(c, c->classes[i].index, out);
        fputc('\n', out);
    }
    size_t bytes = c->header->objects_bytes + c->header->code_bytes;
    fprintf(out, "  %12zu %12zu  of %zu classes in all\n", bytes, objects, c->count);
}

static PnStatus print_contents(const ImageFile *file, const uint8_t *contents, FILE *out, PnError *error) {
    Census c = {.file = contents, .header = &file->header};
    c.tables = pn_image_tables(c.header, (uint8_t *)(uintptr_t)contents + c.header->metadata_offset);
    c.place = pn_mem_alloc_zeroed((PN_MAX_CLASS_INDEX + 1) * sizeof *c.place);
    bool counted = c.place && count_all(&c);
    if (counted) print_classes(&c, out);
    pn_mem_free(c.classes);
    pn_mem_free(c.place);
    return counted ? PN_OK : pn_error(error, PN_NO_MEMORY, 0, "no memory to count objects");
}

// What a damaged file's header says is printed before the damage is found.
PnStatus pn_image_info(const char *path, FILE *out, PnError *error) {
    ImageFile file = {0};
    PnStatus status = pn_image_open(path, &file, error);
    if (status != PN_OK) return status;
    print_header(path, &file.header, out);
    void *contents = pn_image_contents(&file);
    if (contents) {
        status = pn_image_check(contents, file.header.file_bytes, NULL, error);
        if (status == PN_OK) status = print_contents(&file, contents, out, error);
        munmap(contents, file.header.file_bytes);
    } else {
        status = pn_error(error, PN_NO_MEMORY, 0, "%s: no memory to read it", path);
    }
    pn_image_close(&file);
    return status;
}
