// heap/code.h: what the interpreter runs: Code records, worlds, site words.
//
// Lookup answers a Code record, never a method. A layer's code objects have their records in a region of the process
// at a distance that is computed (code_of_layer_object); a private code object gets one at its first activation,
// with a copy of its bytecodes in the code area, so that no collection moves a pc.
//
// C1. A Code record lies at a multiple of 128 and does not move; its bytecodes lie in the code area and do not move.
// C2. code->literals is the address of literal 0 of code->method; a collection that moves a method sets both.
// C3. A site word is 0, or names one class key and the entry cell of one Code; it is written once.
// C4. The site word of a pc in a layer, seen by workers whose world is a layer's, names classes and code of layers only.
//
// Note [Site words]. The site word of a send is at siteBase + 8 * (pc after the send), siteBase belonging to the world.
// Its low 24 bits are the class key (class index, immutable bit 23; bit 22, remembered, is masked). Code records are
// multiples of 128, so bits 7-46 of an address are left to store: they lie in bits 24-63. word XOR key is therefore an
// address shifted by 17, when and only when all bits of PN_CLASS_KEY_MASK are 0 in it. One load, three operations.
//
// Note [Shared receivers]. Bit 22, free in the key, comes out as bit 5 of the address: 0 is the Code's plain entry, 1 its
// entry for receivers that may be stale, 32 bytes on. Words for keys with the immutable bit have it set. So a send to a
// private receiver pays nothing for copy on write, and one to a shared receiver asks the filter, nothing else.
#ifndef PN_CODE_H
#define PN_CODE_H

#include "heap/window.h"

typedef struct WorkerVm WorkerVm;
typedef struct Code Code;
typedef struct Layer Layer;

// How an activation begins. The interpreter (interp/entry.h) has one function, or label, for each.
typedef enum PnEntry {
#define ENTRY(name) PN_ENTRY_##name,
#include "heap/entries.def"
#undef ENTRY
    PN_ENTRY_COUNT
} PnEntry;

typedef void (*PnEntryFn)(void);                       // its true type is the interpreter's own
typedef Ref (*PnPrimFn)(WorkerVm *vm, Ref *arguments); // arguments[0] is the receiver; see interp/interp.h

typedef struct PnCell {
    PnEntryFn function; // where tail calls are used
    uint32_t entry;     // PnEntry, where they are not
    uint32_t unused;
} PnCell;

struct Code {
    PnCell plain;              //   0
    const uint8_t *start;      //  16 first bytecode to run; after a callPrimitive
    Ref *literals;             //  24
    PnCell shared;             //  32 checks the receiver, then does what plain does
    PnPrimFn primitive;        //  48 or NULL
    uint16_t primitive_number; //  56
    uint8_t arg_count;         //  58
    uint8_t temp_count;        //  59 arguments, copied values and temps
    uint16_t frame_bytes;      //  60 temps and the deepest operand stack
    uint16_t slot_limit;       //  62 1 + highest named slot of the receiver that the code touches (H9)
    Ref method;                //  64 the code object
    const uint8_t *bytecodes;  //  72 behind the literals in the body; of a private method: their copy
    uint32_t bytecode_count;   //  80
    uint8_t is_private;        //  84
    uint8_t is_block;          //  85
    uint16_t literal_count;    //  86
    WorkerVm *owner;           //  88 or NULL for a layer's
    Code *next;                //  96 the owner's list
    uint32_t error_temp;       // 104 1 + temp that takes the error code of a failed primitive, or 0
    uint32_t ready;            // 108 (layers) 1 once all other fields are written; release/acquire
    Ref selector;              // 112 for stack traces; PN_NO_REF in a block
    uint64_t unused;           // 120
};
_Static_assert(sizeof(Code) == 128, "Code records are 128 bytes, see Note [Site words]");
_Static_assert(offsetof(Code, shared) == 32, "Note [Shared receivers]");

static inline Code *code_of_cell(const PnCell *cell) { return (Code *)((uintptr_t)cell & ~(uintptr_t)127); }

// A world: what methods classes have. A layer is one; a worker that changes behaviour gets one of its own.
typedef struct World {
    uint64_t id;         // never used again within the life of a thread's lookup cache
    uintptr_t site_base; // a site word is at site_base + 8 * pc; the empty companion until sites are worth it
    void *companion;     // the mapping behind site_base, or NULL
    Layer *layer;        // whose it is, or NULL for a worker's own
    uint32_t misses;     // sends that missed since the last change; a private world gets its companion after some
} World;

// The companion that every world starts with: reads as all zero, must not be written.
extern uintptr_t pn_empty_site_base;

World *pn_world_new(Layer *layer); // NULL when out of memory. A layer's world has its companion at once
void pn_world_free(World *world);
void pn_world_attach_companion(World *world); // no effect if addresses run out
// The worker's methods change (a superclass or method-dictionary slot, a dictionary, its array, a cache flush):
// it leaves its world for one of its own, or renews the one it has. Answers PN_NO_MEMORY if there is no memory.
PnStatus pn_behavior_changed(WorkerVm *vm);

// The Code record of a code object in hand; made if there is none yet. NULL with vm->prim_error set when memory is short.
Code *pn_code_for(WorkerVm *vm, Oop code_object);
// All private Codes of vm die (its worker ends, or it was frozen).
void pn_code_free_all(WorkerVm *vm);
// Set by the interpreter at start: fills plain, shared and primitive of a record from its other fields.
extern void (*pn_code_bind)(Code *code);

#endif
