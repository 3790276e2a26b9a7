// image/image_int.h: what an image file looks like, and what the files of image/ share. For image/ only.
//
//   file offset                what
//   0                          header, one page: ImageHeader
//   4096                       segment 0: objects, then a long bridge; a multiple of a page in all
//   4096 + firstSegmentBytes   segment 1: compiled code (perhaps none), then a short bridge
//   next page                  metadata, to the end of the file
//
// The second word of a bridge is the size in bytes of the next segment with its bridge, 0 after the last. Both
// segments can be mapped where they were linked for. Every reference in the file is such an address: of the file
// itself or of an ancestor.
//
// Objects of a base, in this order: nil, false, true, free lists (class index 19, all 0), hidden roots (class index
// 16, 4104 slots), pages of the class table (16, 1024 slots each), everything else, symbols that were not in the
// layer, a filler (class index 19) up to the page. Pages of the class table that hold no class are one and the same
// object. A layer above a parent has none of the first six: there the class list of the metadata counts, which a base
// has as well.
//
//   metadata offset  bytes          what
//   0                64             ImageMetadata
//   64               16 * overlay   pairs key, value: the layer's overlay as it lies in memory
//   ...               8 * filter    words of its filter, at least one
//   ...               8 * symbols   frozen symbol table
//   ...               8 * classes   addresses of the classes whose indices the layer brings along
//   ...               4 * classes   their indices, ascending
//   ...               4 * classes   the format words + 1 of their instances
#ifndef PN_IMAGE_INT_H
#define PN_IMAGE_INT_H

#include "image/image.h"

#define PN_IMAGE_FORMAT 68021
#define PN_IMAGE_MAGIC UINT64_C(0x676D496F646E6150) // "PandoImg"
#define PN_IMAGE_VERSION 1
#define PN_IMAGE_PAGE ((size_t)4096)
#define PN_IMAGE_FLAG_FLOATS_LITTLE_ENDIAN 2
#define PN_BRIDGE_BYTES ((size_t)16)
#define PN_BRIDGE_SHORT UINT64_C(0x0080000049000003)
#define PN_HIDDEN_ROOT_SLOTS 4104
#define PN_CLASS_PAGES 4096
#define PN_CLASS_PAGE_SLOTS 1024
#define PN_FREE_LIST_SLOTS 64
#define PN_HIDDEN_HASH 1 // of objects that are no one's: free lists, roots, pages, fillers, retired symbols

typedef struct ImageHeader {
    uint32_t format;                   //   0 PN_IMAGE_FORMAT. Spur's own header begins here
    uint32_t header_bytes;             //   4 PN_IMAGE_PAGE
    uint64_t data_bytes;               //   8 both segments with their bridges
    uint64_t base_address;             //  16 = objects_address
    uint64_t special_objects;          //  24 address; of a layer perhaps in an ancestor
    uint64_t last_hash;                //  32 not 0
    uint64_t screen_size;              //  40 0
    uint64_t flags;                    //  48 bit 1
    uint32_t extra_memory;             //  56 0, like all of Spur's that follow but firstSegmentBytes
    uint16_t stack_pages;              //  60
    uint16_t code_zone_kib;            //  62
    uint32_t eden_bytes;               //  64
    uint16_t semaphore_table;          //  68
    uint16_t image_version;            //  70
    uint64_t first_segment_bytes;      //  72 objects_bytes and a bridge
    uint64_t free_bytes;               //  80
    uint64_t padding[5];               //  88
    uint64_t magic;                    // 128 PN_IMAGE_MAGIC. Pando's extension begins here
    uint32_t version;                  // 136 PN_IMAGE_VERSION
    uint32_t depth;                    // 140 number of ancestors
    uint64_t header_sum;               // 144 hash of this page, this field being 0
    uint64_t sum;                      // 152 content hash: of the data
    uint64_t metadata_sum;             // 160 hash of the metadata
    uint64_t parent_sum;               // 168 content hash of the parent, 0 for a base
    uint64_t file_bytes;               // 176
    uint64_t objects_address;          // 184 window address of segment 0
    uint64_t objects_bytes;            // 192 without the bridge
    uint64_t code_address;             // 200 window address of segment 1
    uint64_t code_bytes;               // 208 without the bridge
    uint64_t nil;                      // 216 address; of a layer in its base
    uint64_t metadata_offset;          // 224 a multiple of a page
    uint64_t metadata_bytes;           // 232
    uint64_t overlay_capacity;         // 240 in pairs; 0 or a power of two
    uint64_t overlay_count;            // 248
    uint64_t filter_words;             // 256 a power of two
    uint64_t symbol_capacity;          // 264 0 or a power of two
    uint64_t symbol_count;             // 272
    uint64_t class_count;              // 280
    uint8_t rest[PN_IMAGE_PAGE - 288]; // 0
} ImageHeader;
_Static_assert(offsetof(ImageHeader, magic) == 128 && sizeof(ImageHeader) == PN_IMAGE_PAGE, "see the byte table");

// The beginning of the metadata, and of layer->metadata of every layer that came from a file.
typedef struct ImageMetadata {
    uint64_t magic;           //  0 PN_IMAGE_MAGIC
    uint64_t sum;             //  8 as in the header
    uint64_t parent_sum;      // 16
    uint64_t objects_address; // 24 addresses that the file was linked for
    uint64_t code_address;    // 32
    uint64_t
        is_rewritten;   // 40 0 in a file; 1 in memory, if addresses or symbols of the layer are not those of its file
    uint64_t unused[2]; // 48
} ImageMetadata;
_Static_assert(sizeof(ImageMetadata) == 64, "see the byte table");

// Where the tables are: in a file being checked, in a mapping, in a file being written.
typedef struct ImageTables {
    ImageMetadata *head;
    uint64_t *overlay;
    uint64_t *filter;
    uint64_t *symbols;
    uint64_t *classes;
    uint32_t *indices;
    uint32_t *shapes;
} ImageTables;

// Place the tables of a header whose metadata lie at memory.
ImageTables pn_image_tables(const ImageHeader *header, void *memory);
// Bytes the metadata of a header need, from its counts (each at most 2^32).
uint64_t pn_image_metadata_bytes(const ImageHeader *header);
uint64_t pn_image_header_sum(const ImageHeader *header);
// Hash of the data, data lying at memory.
uint64_t pn_image_data_sum(const ImageHeader *header, const uint8_t *memory);
// The parent, and the interpreter's check of bytecodes if the program has it.
PnImageChecks pn_image_default_checks(Layer *parent);
// All that can be said of a header without reading on; file_bytes is the true size of the file.
PnStatus pn_image_check_header(const ImageHeader *header, uint64_t file_bytes, PnError *error);

// ---- Files and their identity (image/checked.c) ----------------------------------------------------------------

// I2. Two files with equal identity have equal contents, but for a header sum that lies.
typedef struct ImageIdentity {
    uint64_t device, inode, bytes;
    int64_t modified_seconds, modified_nanoseconds;
    int64_t changed_seconds, changed_nanoseconds;
    uint64_t sum;
} ImageIdentity;

// An open image file.
typedef struct ImageFile {
    const char *path;
    int fd;
    ImageIdentity identity;
    ImageHeader header;
} ImageFile;

// Open path and read and check its header. Nothing is left open on failure.
PnStatus pn_image_open(const char *path, ImageFile *file, PnError *error);
void pn_image_close(ImageFile *file);
// Map all of it, private and read-only; NULL if there is no memory.
void *pn_image_contents(const ImageFile *file);
// Whether the file is one of those that were checked, bytecodes included if so asked.
bool pn_image_is_checked(const ImageFile *file, bool with_bytecodes);
// Check the file in full and remember it. PN_BAD_IMAGE also if it changes meanwhile.
PnStatus pn_image_check_and_remember(const ImageFile *file, const PnImageChecks *checks, PnError *error);

// ---- Moving references (image/relocate.c) ----------------------------------------------------------------------

// [from, from + bytes) lies at from + by.
typedef struct MoveRange {
    uint64_t from, bytes;
    uint64_t by;
    bool may_be_retired; // what lies there may be a retired symbol: then its successor is meant
} MoveRange;

// What becomes of each reference: exceptions first, then the range that holds it.
typedef struct Translation {
    MoveRange *ranges;
    size_t count, capacity;
    Overlay exceptions; // address -> address
    uint64_t nil;       // as translated: fills what is not a value in contexts
    uint64_t failed;    // reference that nothing holds, after a failure
} Translation;

bool pn_translation_add(Translation *t, uint64_t from, uint64_t bytes, uint64_t to); // false: no memory
void pn_translation_free(Translation *t);
// Translate *bits in place; false: nothing holds it, and t->failed is set.
bool pn_translate(Translation *t, uint64_t *bits);
// Translate all values of the objects in [start, start + bytes), memory that is being filled. What a context has above
// its stack pointer becomes nil. False as above.
bool pn_translate_objects(Translation *t, uint64_t *start, size_t bytes);
// The addresses that layer, or all its ancestors, have in their files become those in this process, or the other way
// round.
bool pn_translation_add_layer(Translation *t, const Layer *layer, bool to_file);
bool pn_translation_add_ancestors(Translation *t, const Layer *layer, bool to_file);

// What stands for retired symbols of layer's ancestors becomes the retired symbols, as which the ancestors' files
// have them.
bool pn_translation_add_retired(Translation *t, const Layer *layer);

// A symbol that is elsewhere already leaves a retired one behind: a hidden object whose first word is the successor.
// So a child that was linked for the symbol finds what is meant.
void pn_retire_symbol(Oop symbol, Ref successor);
uint64_t pn_retired_successor(uint64_t address); // 0: at address there is no retired symbol

// Read a file into memory as a layer at other addresses, its symbols joined, some perhaps redirected. The layer is
// published, has no class indices yet and is not in the table of mapped files.
PnStatus pn_image_relocate(const ImageFile *file, Layer *parent, Layer **layer, bool *redirected, PnError *error);

// ---- Mapping (image/map.c) -------------------------------------------------------------------------------------

// Set the fields of layer that refer to its metadata. It has no class indices until they have been claimed.
void pn_image_attach_metadata(Layer *layer, const ImageHeader *header, void *metadata, size_t bytes);
// Another layer than its descendants will refer to a symbol of the file layer that holds address: that layer stays
// for good, as symbols do. Answers false, after having waited, if the layer was just being unmapped. Only while a
// file is being mapped.
bool pn_image_pin_owner(uint64_t address);
#define pn_image_trace(...)                                                                                            \
    do {                                                                                                               \
        if (PN_UNLIKELY(pn_options.trace_image)) fprintf(stderr, "image: " __VA_ARGS__);                               \
    } while (0)

// Addresses in the file's own terms: where layer's file was linked for, or where it is if it was made in memory.
static inline const ImageMetadata *layer_metadata(const Layer *layer) { return (const ImageMetadata *)layer->metadata; }
static inline uint64_t layer_linked_objects(const Layer *layer) {
    return layer->metadata ? layer_metadata(layer)->objects_address : layer->objects.start;
}
static inline uint64_t layer_linked_code(const Layer *layer) {
    return layer->metadata ? layer_metadata(layer)->code_address : layer->code.start;
}
static inline bool layer_is_rewritten(const Layer *layer) {
    return layer->metadata != NULL && layer_metadata(layer)->is_rewritten != 0;
}

#endif
