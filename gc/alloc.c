// gc/alloc.c: new objects for code that may collect: eden first, then a collection, then old space; limits.
//
// Owns nothing. Called by primitives and the interpreter; every function may move young objects.
//
// In stress mode (pn_options.stress_gc) eden is kept closed (vm->limit == vm->next) between allocations, so that also
// those paths that bump vm->next themselves come here, where allocations are counted.
#include "gc/gc_int.h"

#define PN_INSUFFICIENT_MEMORY 9 // the primitive error code
#define PN_STRESS_FULL_EVERY 64  // of the collections in stress mode one in so many is a full one

static Oop fail(WorkerVm *vm) {
    vm->prim_error = PN_INSUFFICIENT_MEMORY;
    return PN_NO_OOP;
}

// ---- Limit ------------------------------------------------------------------------------------------------------

static size_t stack_bytes(const WorkerVm *vm) {
    size_t bytes = 0;
    for (const StackChunk *chunk = vm->chunk; chunk != NULL; chunk = chunk->prev) bytes += chunk->bytes;
    return bytes;
}

static bool is_over_limit(const WorkerVm *vm, size_t more_bytes) {
    if (vm->more == NULL || vm->more->memory_limit == 0) return false;
    size_t old_bytes = vm->old == NULL ? 0 : vm->old->bytes_used;
    return vm->young_bytes + old_bytes + stack_bytes(vm) + more_bytes > vm->more->memory_limit;
}

// Whether so many bytes more are allowed, if need be after giving back what can be.
static bool fits_limit(WorkerVm *vm, size_t bytes) {
    if (PN_LIKELY(!is_over_limit(vm, bytes))) return true;
    pn_collect_full(vm);
    pn_gc_idle(vm);
    return !is_over_limit(vm, bytes);
}

// ---- Eden -------------------------------------------------------------------------------------------------------

static PN_COLD void collect_for_stress(WorkerVm *vm) {
    if (vm->stress_count > 1) {
        vm->stress_count--;
        return;
    }
    vm->stress_count = pn_options.stress_gc;
    if (++pn_gc_state(vm)->stress_runs % PN_STRESS_FULL_EVERY == 0) pn_collect_full(vm);
    else pn_collect_young(vm);
}

// Collect until bytes fit: a second collection promotes what the first left; the block grows with what it has to
// hold.
static PN_NOINLINE bool make_room(WorkerVm *vm, size_t bytes) {
    for (int i = 0; i < 4 && pn_gc_eden_room(vm) < bytes; i++) {
        if (!pn_gc_scavenge(vm, bytes, GC_AGE_NORMAL)) return false;
        if (pn_gc_old_is_due(vm, 0)) pn_collect_full(vm);
        if (!fits_limit(vm, 0)) return false;
    }
    return pn_gc_eden_room(vm) >= bytes;
}

bool pn_young_reserve(WorkerVm *vm, size_t bytes) {
    bytes = pn_round_up(bytes, 8);
    if (PN_UNLIKELY(pn_options.stress_gc != 0)) {
        collect_for_stress(vm);
        if (!fits_limit(vm, 0)) return false;
    }
    if (pn_gc_eden_room(vm) < bytes && !make_room(vm, bytes)) return false;
    if (PN_UNLIKELY(pn_options.stress_gc != 0)) vm->limit = vm->next + bytes / 8;
    return true;
}

// ---- Objects ----------------------------------------------------------------------------------------------------

// A code object begins with a header that counts no literals: it can be walked from the start (O3).
static void fill_raw(Oop o, uint32_t format, size_t slots) {
    for (size_t i = 0; i < slots; i++) oop_init_slot(o, i, PN_NO_REF);
    if (format >= PN_FMT_CODE && slots > 0) oop_init_slot(o, 0, ref_from_int(0));
}

static inline void fill(const WorkerVm *vm, Oop o, uint32_t format, size_t slots) {
    if (PN_UNLIKELY(format > PN_FMT_LAST_POINTERS)) {
        fill_raw(o, format, slots);
        return;
    }
    Ref nil = vm->nil;
    for (size_t i = 0; i < slots; i++) oop_init_slot(o, i, nil);
}

// Eden has room.
static Oop place(WorkerVm *vm, uint64_t header, size_t slots) {
    if (slots < PN_OVERFLOW_SLOTS) return pn_young_try(vm, header, slots);
    uint64_t *at = vm->next;
    vm->next = at + 2 + slots;
    at[0] = (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | slots;
    at[1] = header | PN_HDR_REMEMBERED;
    return oop_at_address(at + 1);
}

static Oop new_old(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    size_t bytes = pn_object_bytes(slots);
    if (PN_UNLIKELY(pn_options.stress_gc != 0)) collect_for_stress(vm);
    if (pn_gc_old_is_due(vm, bytes)) pn_collect_full(vm);
    if (!fits_limit(vm, bytes)) return fail(vm);
    Oop o = pn_old_new(vm, class_index, format, slots);
    return PN_LIKELY(!oop_is_none(o)) ? o : fail(vm);
}

static PN_NOINLINE Oop new_slow(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    if (slots > PN_MAX_SLOTS) return fail(vm);
    size_t bytes = pn_object_bytes(slots);
    bool is_too_large = bytes >= PN_LARGE_BYTES || 2 * bytes > pn_gc_largest_block(vm);
    if (is_too_large || !pn_young_reserve(vm, bytes)) return new_old(vm, class_index, format, slots);
    Oop o = place(vm, pn_header(slots, 0, format, class_index), slots);
    fill(vm, o, format, slots);
    return o;
}

Oop pn_new(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    if (PN_UNLIKELY(slots >= PN_OVERFLOW_SLOTS || pn_options.stress_gc != 0))
        return new_slow(vm, class_index, format, slots);
    Oop o = pn_young_try(vm, pn_header(slots, 0, format, class_index), slots);
    if (PN_UNLIKELY(oop_is_none(o))) return new_slow(vm, class_index, format, slots);
    fill(vm, o, format, slots);
    return o;
}

Oop pn_new_bytes(WorkerVm *vm, uint32_t class_index, size_t bytes) {
    return pn_new(vm, class_index, pn_format_for_bytes(bytes), pn_slots_for_bytes(bytes));
}

Oop pn_new_array(WorkerVm *vm, size_t slots) { return pn_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots); }
