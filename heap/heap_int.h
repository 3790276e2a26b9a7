// heap/heap_int.h: what the files of heap/ ask of each other and nobody else may.
#ifndef PN_HEAP_INT_H
#define PN_HEAP_INT_H

#include "heap/heap.h"

// ---- overlay.c ----------------------------------------------------------------------------------

// What r means in this worker, as pn_deref, but without copying anything in copy-everything mode.
Oop pn_current(WorkerVm *vm, Ref r);
// pn_overlay_enter in two steps: room for one more entry (false: no memory), then the entry.
bool pn_overlay_reserve(WorkerVm *vm);
void pn_overlay_enter_reserved(WorkerVm *vm, Ref original, Ref current);

// ---- symbol.c -----------------------------------------------------------------------------------

// Walk the layers whose symbols have joined (verifier): first call with NULL. None of them may leave meanwhile.
const Layer *pn_symbols_next_joined(const Layer *layer);

// ---- cow.c --------------------------------------------------------------------------------------

// H6: whether copy has hash, class, format and size of original, as it must at the moment of the copy.
bool pn_copy_is_faithful(Oop original, Oop copy);
// Whether o, a pointer object in hand, is a class (or metaclass) as far as the machine is concerned.
bool pn_has_class_shape(WorkerVm *vm, Oop o);
#define PN_POISON_BODY UINT64_C(0x5050505050505057) // what poison mode writes over an original; tag 7: no value at all

// ---- remembered.c -------------------------------------------------------------------------------

PnAccess pn_remember_in_new_chunk(WorkerVm *vm, Oop o);
// pn_remember, in line; answers PN_WRITABLE, so that a store can end with it.
static inline PnAccess remember(WorkerVm *vm, Oop o) {
    RememberedSet *set = vm->remembered;
    if (PN_UNLIKELY(set == NULL || set->chunks->count == PN_COUNT_OF(set->chunks->entries)))
        return pn_remember_in_new_chunk(vm, o);
    oop_set_header(o, oop_header(o) | PN_HDR_REMEMBERED);
    set->chunks->entries[set->chunks->count++] = o;
    set->count++;
    return PN_WRITABLE;
}

// ---- old_space.c --------------------------------------------------------------------------------

// Make memory that was mapped for one object, at [start, end) of it, a segment of old space. False: no memory.
bool pn_old_adopt_mapping(WorkerVm *vm, void *mapping, size_t mapping_bytes, uint64_t *start, uint64_t *end);

// ---- window.c -----------------------------------------------------------------------------------

// Address space that reads as 0 and takes memory only where it is written; readable only, if so asked. NULL: there is none.
void *pn_zero_pages(size_t bytes, bool writable);
// Give a memfd the pages of [offset, offset + bytes), so that writing there cannot fail. False: no memory.
bool pn_reserve_file(int fd, uint64_t offset, uint64_t bytes);

// ---- What pn_process_init calls, once ---------------------------------------------------------------

PnStatus pn_class_table_init(PnError *error);
PnStatus pn_symbols_init(PnError *error);
PnStatus pn_code_init(PnError *error);
PnStatus pn_blocks_init(PnError *error);

// ---- code.c -------------------------------------------------------------------------------------

// The Code records of a layer that is being unmapped read 0 again.
void pn_code_forget_layer(const Layer *layer);
// Whether c, any address, is the filled Code record of a layer's code object (verifier).
bool pn_code_is_layer_record(const Code *c);
size_t pn_code_bytes(const WorkerVm *vm); // memory of a worker's private Codes

// Codes for vm->prim_error, as interp/interp.h has them.
enum { PN_ERROR_RECEIVER = 2, PN_ERROR_NO_MEMORY = 9, PN_ERROR_BAD_METHOD = 12, PN_ERROR_LIMIT = 15 };

#endif
