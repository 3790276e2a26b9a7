// heap/object.c: what of an object holds values, and identity hashes.
//
// Called by everybody who scans objects. The accessors themselves are in heap/object.h.
// Invariants: O3 (heap/object.h).
#include "heap/heap.h"

// A context's slots above its stack pointer are left over from sends.
static size_t context_value_slots(Oop context, size_t slots) {
    if (slots <= PN_CONTEXT_STACKP) return slots;
    Ref stackp = oop_slot(context, PN_CONTEXT_STACKP);
    size_t used = PN_CONTEXT_FIRST_TEMP;
    if (ref_is_int(stackp) && ref_int(stackp) > 0) used += pn_min((size_t)ref_int(stackp), slots);
    return pn_min(used, slots);
}

// The header word and the literals; a header that is damaged counts for one slot.
static size_t code_value_slots(Oop code, size_t slots) {
    if (slots == 0) return 0;
    Ref header = oop_slot(code, 0);
    return ref_is_int(header) ? pn_min(1 + code_header_literals(ref_int(header)), slots) : 1;
}

size_t pn_value_slots(Oop o) {
    uint64_t h = oop_header(o);
    uint32_t format = hdr_format(h);
    if (hdr_class_index(h) == PN_CLASS_FREE) return 0;
    if (format <= PN_FMT_LAST_POINTERS) {
        size_t slots = oop_slot_count(o);
        return hdr_class_index(h) == PN_CLASS_CONTEXT ? context_value_slots(o, slots) : slots;
    }
    if (format >= PN_FMT_CODE) return code_value_slots(o, oop_slot_count(o));
    return format == PN_FMT_FORWARDED ? 1 : 0;
}

// xorshift32, each worker with a seed of its own; 0 means that there is none yet.
uint32_t pn_new_hash(WorkerVm *vm) {
    WorkerMore *more = pn_more(vm);
    uint32_t x = more->hash_seed;
    if (x == 0) x = (uint32_t)pn_options.seed * UINT32_C(0x85EBCA6B) ^ (vm->id + 1) * UINT32_C(0x9E3779B1) ^ 1;
    if (x == 0) x = 1;
    uint32_t hash;
    do {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        hash = x >> 10;
    } while (hash == 0);
    more->hash_seed = x;
    return hash;
}
