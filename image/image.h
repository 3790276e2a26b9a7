// image/image.h: layers as files: write, map, check, describe.
//
// The format is Spur's 64-bit image format (magic 68021) with a header of one page, whose part behind Spur's 128
// bytes is Pando's own; the byte tables are in image/image_int.h. May include heap/ and gc/.
//
// I1. A file is written beside and renamed, never in place. Whoever writes into a mapped image file breaks W2.
// I2. A file is mapped only after all of it has been checked once; what was checked is remembered by device, inode,
// size,
//     both times and content hash, for the process and in a file of the user's (image/checked.c).
// I3. A layer file stands on the one parent it was made above, known by the parent's content hash.
// I4. Addresses of a file can be changed while loading, class indices cannot.
#ifndef PN_IMAGE_H
#define PN_IMAGE_H

#include "heap/heap.h"

// Write layer as a file at path. Its symbols become part of it; it is linked for addresses chosen from its content.
// PN_REFUSED if the layer refers to what a file cannot name.
PnStatus pn_image_save(Layer *layer, const char *path, PnError *error);

// What to compare a file with while it is checked. All may be NULL.
typedef struct PnImageChecks {
    Layer *parent; // what the file was made above. Without it, references out of the file are not looked at
    // Whether bytecodes are well formed: the deepest operand stack, or -1 with error filled (pn_bytecodes_check).
    int (*check_bytecodes)(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error);
} PnImageChecks;

// How a file became a layer.
typedef struct PnImageMapping {
    bool was_mapped;  // the process had it already: the same layer, counted once more
    bool was_checked; // remembered: nothing of its contents has been read
    bool relocated;   // its addresses were taken: it has been read into memory and rewritten, not mapped
    bool redirected;  // the same, because some of its symbols exist elsewhere in the process
} PnImageMapping;

// Map the file at path as a layer above parent (NULL: a base). *layer has a count for the caller. A file that was
// checked before costs a time that grows with its classes only: entering them is one store each, their pages are
// mapped like the rest. PN_WRONG_BASE: made above another parent. PN_INDEX_CLASH: its class indices are taken. Any
// thread.
PnStatus pn_image_map(const char *path, Layer *parent, Layer **layer, PnError *error);
// The same with all there is to say: checks->parent is the parent; how (may be NULL) is filled on success.
PnStatus pn_image_map_with(const char *path, const PnImageChecks *checks, Layer **layer, PnImageMapping *how,
                           PnError *error);

// Check everything about a file: error->offset is where in the file, the text says what. Time and memory grow with the
// size of the file (and of its ancestors, if it refers to them); never reads outside of the bytes given.
PnStatus pn_image_check(const uint8_t *file_bytes, size_t count, const PnImageChecks *checks, PnError *error);
PnStatus pn_image_check_file(const char *path, const PnImageChecks *checks, PnError *error);

// Write what is in a file as text: header, segments, the twenty classes with most bytes.
PnStatus pn_image_info(const char *path, FILE *out, PnError *error);

// The content hash a child of layer has to name: that of its file, or of its segments when it was made in memory.
uint64_t pn_image_sum(const Layer *layer);

#endif
