// gc/roots.c: where a worker's references begin: stack, special objects, C roots, Code records, classes, overlay, and
// the remembered set.
//
// Owns nothing. Visitors take whole ranges of slots, so that a deep stack costs one call for each chunk.
#include "gc/gc_int.h"

// ---- Stack ------------------------------------------------------------------------------------------------------

typedef struct ChunkRange {
    Ref *operands_end;
    Link *links;
} ChunkRange;

// What of a chunk is in use. The newest one's bounds are in the registers.
static ChunkRange range_of(const WorkerVm *vm, const StackChunk *chunk) {
    if (chunk == vm->chunk) return (ChunkRange){vm->sp, vm->cp};
    return (ChunkRange){chunk->saved_sp, chunk->saved_cp};
}

static bool visit_chunk(StackChunk *chunk, ChunkRange range, PnVisitRange visit, void *context) {
    bool has_young = visit(context, chunk_base(chunk), range.operands_end);
    for (Link *link = range.links; link < chunk->end; link++)
        if (link->flags & (PN_LINK_MARRIED | PN_LINK_BASE)) has_young |= visit(context, &link->aux, &link->aux + 1);
    return has_young;
}

void pn_gc_visit_stack(WorkerVm *vm, bool for_young, PnVisitRange visit, void *context) {
    for (StackChunk *chunk = vm->chunk; chunk != NULL; chunk = chunk->prev) {
        if (for_young && chunk->is_clean && chunk != vm->chunk) continue;
        bool has_young = visit_chunk(chunk, range_of(vm, chunk), visit, context);
        if (for_young) chunk->is_clean = !has_young && chunk != vm->chunk;
    }
}

// ---- The rest ---------------------------------------------------------------------------------------------------

void pn_gc_visit_globals(WorkerVm *vm, PnVisitRange visit, void *context) {
    visit(context, &vm->special_objects, &vm->special_objects + 1);
    visit(context, &vm->result, &vm->result + 1);
    WorkerMore *more = vm->more;
    if (more == NULL) return;
    for (Root *root = more->roots; root != NULL; root = root->prev) visit(context, &root->ref, &root->ref + 1);
    for (size_t i = 0; i < more->obsolete_count; i++)
        visit(context, &more->obsolete[i].class_ref, &more->obsolete[i].class_ref + 1);
}

static bool visit_code(Code *code, PnVisitRange visit, void *context) {
    bool has_young = visit(context, &code->method, &code->method + 1);
    has_young |= visit(context, &code->selector, &code->selector + 1);
    code->literals = oop_slots(ref_raw(code->method)) + 1;
    return has_young;
}

bool pn_gc_visit_codes(WorkerVm *vm, Code *stop, PnVisitRange visit, void *context) {
    if (vm->more == NULL) return false;
    bool has_young = false;
    for (Code *code = vm->more->codes; code != NULL && code != stop; code = code->next)
        has_young |= visit_code(code, visit, context);
    return has_young;
}

void pn_gc_visit_own_classes(WorkerVm *vm, PnVisitRange visit, void *context) {
    if (vm->more == NULL) return;
    for (size_t i = 0; i < vm->more->own_index_count; i++) {
        uint32_t index = vm->more->own_indices[i];
        Ref entry = pn_gc_class_entry(index), before = entry;
        visit(context, &entry, &entry + 1);
        if (!ref_same(entry, before)) pn_gc_set_class_entry(index, entry);
    }
}

void pn_gc_visit_overlay(WorkerVm *vm, PnVisitRange visit, void *context) {
    if (vm->overlay == NULL || vm->overlay->count == 0) return;
    for (size_t i = 0; i <= vm->overlay->mask; i++) {
        uint64_t *entry = vm->overlay->entries + 2 * i;
        if (entry[0] != 0) visit(context, (Ref *)(void *)(entry + 1), (Ref *)(void *)(entry + 2));
    }
}

Ref pn_gc_through_overlays(const WorkerVm *vm, Ref r) {
    Ref current = vm->layer == NULL ? PN_NO_REF : pn_overlay_get(&vm->layer->overlay, r);
    if (!ref_is_none(current)) r = current;
    current = vm->overlay == NULL ? PN_NO_REF : pn_overlay_get(vm->overlay, r);
    return ref_is_none(current) ? r : current;
}

// ---- Remembered set ---------------------------------------------------------------------------------------------

// Where the next entry to keep goes while the set is thinned out in place.
typedef struct Keeper {
    RememberedChunk *chunk;
    uint32_t count;
} Keeper;

static void keep(Keeper *keeper, Oop o) {
    if (keeper->count == PN_COUNT_OF(keeper->chunk->entries)) {
        keeper->chunk->count = keeper->count;
        keeper->chunk = keeper->chunk->next;
        keeper->count = 0;
    }
    keeper->chunk->entries[keeper->count++] = o;
}

// The chunks after the keeper's are empty now; its own, the only one with room, goes to the front.
static void close_set(RememberedSet *set, Keeper keeper, size_t kept) {
    RememberedChunk *rest = keeper.chunk->next;
    while (rest != NULL) {
        RememberedChunk *next = rest->next;
        pn_mem_free(rest);
        rest = next;
    }
    keeper.chunk->count = keeper.count;
    keeper.chunk->next = NULL;
    set->count = kept;
    if (keeper.chunk == set->chunks) return;
    RememberedChunk *last = set->chunks;
    while (last->next != keeper.chunk) last = last->next;
    last->next = NULL;
    keeper.chunk->next = set->chunks;
    set->chunks = keeper.chunk;
}

// Only the newest chunk is partly filled, so an entry is written at or behind the place where it was read.
void pn_gc_thin_remembered(WorkerVm *vm, PnKeeps keeps, void *context) {
    RememberedSet *set = vm->remembered;
    if (set == NULL || set->chunks == NULL) return;
    Keeper keeper = {set->chunks, 0};
    size_t kept = 0;
    for (RememberedChunk *chunk = set->chunks; chunk != NULL; chunk = chunk->next) {
        uint32_t count = chunk->count;
        for (uint32_t i = 0; i < count; i++) {
            Oop o = chunk->entries[i];
            if (keeps(context, o)) {
                keep(&keeper, o);
                kept++;
            } else {
                oop_set_header(o, oop_header(o) & ~PN_HDR_REMEMBERED);
            }
        }
    }
    close_set(set, keeper, kept);
}

// ---- One slot at a time, for others -----------------------------------------------------------------------------

typedef struct SlotVisit {
    WorkerVm *vm;
    PnVisit visit;
    void *context;
} SlotVisit;

static bool visit_each(void *context, Ref *from, Ref *to) {
    const SlotVisit *v = context;
    bool has_young = false;
    for (Ref *slot = from; slot < to; slot++) {
        if (ref_is_none(*slot)) continue;
        v->visit(v->context, slot);
        has_young |= ref_is_young(v->vm, *slot);
    }
    return has_young;
}

void pn_visit_roots(WorkerVm *vm, PnVisit visit, void *context) {
    SlotVisit v = {vm, visit, context};
    pn_gc_visit_stack(vm, false, visit_each, &v);
    pn_gc_visit_globals(vm, visit_each, &v);
    pn_gc_visit_codes(vm, NULL, visit_each, &v);
    pn_gc_visit_own_classes(vm, visit_each, &v);
    pn_gc_visit_overlay(vm, visit_each, &v);
}
