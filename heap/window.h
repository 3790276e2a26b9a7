// heap/window.h: the shared window, one fixed range of addresses that every worker of the process sees alike.
//
// W1. An address in [PN_WINDOW, PN_WINDOW + 2^38) means the same object to every worker, or nothing.
// W2. Nothing there is written through a window address, symbols and private bytecodes excepted (through other
//     mappings, or by their only owner); poison mode maps layers privately instead.
//
//   offset          what
//   0               object segments of layers
//   112 GiB         code segments of layers                       (512 MiB)  \ together the code area: one site word
//   112.5 GiB       bytecodes of private methods, never an object (512 MiB)  / for each of its bytes, see heap/code.h
//   120 GiB         symbols made at run time                      (8 GiB)
//   128 GiB         graphs (beShared)                             (128 GiB)
#ifndef PN_WINDOW_H
#define PN_WINDOW_H

#include "heap/object.h"

#define PN_WINDOW_SHIFT 38
#define PN_WINDOW UINT64_C(0x550000000000)
#define PN_WINDOW_BYTES (UINT64_C(1) << PN_WINDOW_SHIFT)
#define PN_GIB (UINT64_C(1) << 30)
#define PN_LAYER_OBJECTS PN_WINDOW
#define PN_LAYER_OBJECTS_BYTES (112 * PN_GIB)
#define PN_LAYER_CODE (PN_WINDOW + 112 * PN_GIB)
#define PN_LAYER_CODE_BYTES (PN_GIB / 2)
#define PN_PRIVATE_CODE (PN_LAYER_CODE + PN_LAYER_CODE_BYTES)
#define PN_PRIVATE_CODE_BYTES (PN_GIB / 2)
#define PN_CODE_AREA PN_LAYER_CODE
#define PN_CODE_AREA_BYTES (PN_LAYER_CODE_BYTES + PN_PRIVATE_CODE_BYTES)
#define PN_SYMBOLS (PN_WINDOW + 120 * PN_GIB)
#define PN_SYMBOLS_BYTES (8 * PN_GIB)
#define PN_WINDOW_GRANULE ((size_t)64 << 10) // segments start at multiples of this

static inline bool pn_address_is_shared(uint64_t address) {
    return PN_COW && address >> PN_WINDOW_SHIFT == PN_WINDOW >> PN_WINDOW_SHIFT;
}
// Whether r, a reference to a heap object, names an object in the window. Immediates can hold any bits: test the tag first.
static inline bool ref_is_shared(Ref r) { return pn_address_is_shared(r.bits); }
static inline bool ref_is_symbol_region(Ref r) { return r.bits - PN_SYMBOLS < PN_SYMBOLS_BYTES; }

// Reserve the window, read PANDO_DEBUG, make the process-wide tables. Called once, before anything else; calling it
// again does nothing. Answers PN_NO_MEMORY if the addresses are taken.
PnStatus pn_process_init(PnError *error);

typedef enum PnWindowPart { PN_PART_OBJECTS, PN_PART_CODE, PN_PART_PRIVATE_CODE } PnWindowPart;

// Take bytes (rounded up to granules) of a part of the window. wanted is the address the caller would like, or 0.
// Answers the address, which differs from wanted if that is taken, or 0 when the part is full. Any thread.
uint64_t pn_window_take(PnWindowPart part, uint64_t wanted, size_t bytes);
// Give it back; it is mapped PROT_NONE again.
void pn_window_give(PnWindowPart part, uint64_t address, size_t bytes);

#endif
