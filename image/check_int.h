// image/check_int.h: what the files that check an image share (check.c, check_objects.c, check_tables.c).
//
// All addresses here are those of the files: what the file checked and its ancestors were linked for. Nothing is
// looked into before it is known to be an object, from its first to its last byte (check_segments).
#ifndef PN_CHECK_INT_H
#define PN_CHECK_INT_H

#include "image/image_int.h"

// A segment of the file or of an ancestor.
typedef struct Area {
    uint64_t start, bytes;   // linked
    const uint8_t *memory;   // where it can be read
    uint64_t *object_starts; // one bit for each word; of an ancestor NULL until asked for
    size_t file_offset;      // of the file's own
} Area;

typedef struct ImageCheck {
    const uint8_t *file;
    const ImageHeader *header;
    ImageTables tables;
    const PnImageChecks *checks;
    bool knows_ancestors; // it is a base, or the parent has been given
    Area *areas;          // objects and code of the file, then of its ancestors, parent first
    size_t area_count;
    Translation to_file; // addresses of ancestors in this process -> linked ones
    uint32_t *shapes;    // class index -> format word + 1, of the file and its ancestors
    size_t shape_count;
    Overlay overlay;            // the file's; empty until it has been checked
    const uint64_t *hidden_end; // end of the class table's pages, which are at the beginning of a base
    PnError *error;
} ImageCheck;

static inline uint32_t check_shape(const ImageCheck *c, uint32_t class_index) {
    return class_index < c->shape_count ? c->shapes[class_index] : 0;
}

// Fill the error, naming the offset in the file, and answer PN_BAD_IMAGE.
PnStatus pn_check_failed(ImageCheck *c, size_t offset, const char *format, ...) PN_PRINTF(3, 4);
// Offset in the file of something in it.
size_t pn_check_offset(const ImageCheck *c, const void *at);

// The object at an address, in memory that can be read; none if there is no object, or if that lies in an ancestor
// not given.
Oop pn_check_object(ImageCheck *c, uint64_t address);
// Whether a reference may stand in the file: an immediate with a tag, or an object.
bool pn_check_is_reference(ImageCheck *c, uint64_t bits);
// Whether an address lies in no segment of the file, and nothing can be said about it since the ancestors are not
// given.
bool pn_check_is_unknown(const ImageCheck *c, uint64_t address);
// What bits means: the overlay's answer, if it has one.
uint64_t pn_check_meaning(const ImageCheck *c, uint64_t bits);
bool pn_check_is_own(const ImageCheck *c, uint64_t address);
// A slot of an object from pn_check_object, as a linked address; a symbol that no ancestor has stays as it is.
uint64_t pn_check_slot(ImageCheck *c, Oop o, size_t index);
// Memory for a bit for each word of an area.
uint64_t *pn_check_bitmap(const Area *area);

// Headers, sizes and ends of all objects; afterwards object_starts of the file's own segments are known.
PnStatus pn_check_segments(ImageCheck *c);
// One object: its references, and what its class asks for.
PnStatus pn_check_one_object(ImageCheck *c, Oop o);
// Class list, class table, symbol table, overlay, filter, special objects.
PnStatus pn_check_class_list(ImageCheck *c);
PnStatus pn_check_tables(ImageCheck *c);

#endif
