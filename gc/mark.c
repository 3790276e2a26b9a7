// gc/mark.c: marking what is reachable in old space.
//
// Owns: the mark stack (WorkerMore.mark_stack, made when a marking begins). Called by old.c and freeze.c.
//
// Only old private objects are marked and traced. Layers are outside; young objects are taken as roots, all of them.
// So a forwarder to a young object stays (a reference to it could not be replaced without remembering its holder);
// all other stale references met are replaced by what they mean.
//
// Class indices are references too: an object keeps its class. The class table itself keeps none, but for the fixed
// indices.
//
// When the mark stack cannot grow, an object that was to be pushed stays marked without having been traced; at the
// end all marked objects are traced again, until nothing is lost.
#include "gc/gc_int.h"
#include "gc/mark.h"

#define PN_MARK_SLICE 128 // slots of an object that are traced at once

// ---- The stack --------------------------------------------------------------------------------------------------

struct MarkStack *pn_gc_mark_stack(WorkerVm *vm) {
    WorkerMore *more = pn_more(vm);
    if (more->mark_stack != NULL) return more->mark_stack;
    more->mark_stack = pn_mem_alloc_zeroed(sizeof *more->mark_stack);
    PN_CHECK(more->mark_stack != NULL, "no memory for a mark stack");
    return more->mark_stack;
}

void pn_gc_mark_stack_free(WorkerVm *vm) {
    MarkStack *stack = vm->more->mark_stack;
    if (stack == NULL) return;
    while (stack->chunk != NULL) {
        MarkChunk *older = stack->chunk->older;
        pn_mem_free(stack->chunk);
        stack->chunk = older;
    }
    pn_mem_free(stack->spare);
    pn_mem_free(stack);
    vm->more->mark_stack = NULL;
}

static bool add_chunk(MarkStack *stack) {
    MarkChunk *chunk = stack->spare;
    stack->spare = NULL;
    if (chunk == NULL && (stack->chunk_limit == 0 || stack->chunks < stack->chunk_limit)) {
        chunk = pn_mem_alloc(sizeof *chunk);
        stack->chunks += chunk != NULL;
    }
    if (chunk == NULL) return false;
    chunk->older = stack->chunk;
    stack->chunk = chunk;
    stack->used = 0;
    return true;
}

static void push(MarkStack *stack, Oop o, size_t slot) {
    if (PN_UNLIKELY(stack->chunk == NULL || stack->used == PN_MARK_ENTRIES) && !add_chunk(stack)) {
        stack->overflowed = true;
        return;
    }
    stack->chunk->entries[stack->used++] = (MarkEntry){o, slot};
}

static void drop_chunk(MarkStack *stack) {
    MarkChunk *chunk = stack->chunk;
    stack->chunk = chunk->older;
    stack->used = PN_MARK_ENTRIES;
    stack->chunks -= stack->spare != NULL;
    pn_mem_free(stack->spare);
    stack->spare = chunk;
}

static bool pop(MarkStack *stack, MarkEntry *entry) {
    if (stack->chunk == NULL) return false;
    if (stack->used == 0) {
        if (stack->chunk->older == NULL) return false;
        drop_chunk(stack);
    }
    *entry = stack->chunk->entries[--stack->used];
    return true;
}

// ---- One reference ----------------------------------------------------------------------------------------------

static bool is_young(const Marker *m, Ref r) { return vm_is_young(m->vm, r.bits); }

// Follow r as far as it can be replaced: not to a young object.
static Ref settle(Marker *m, Ref r) {
    while (!ref_is_immediate(r)) {
        Ref next = pn_gc_step(m->vm, r);
        if (ref_same(next, r) || (!ref_is_immediate(next) && is_young(m, next))) break;
        r = next;
    }
    return r;
}

// Whether r, settled, names an object that marking is about.
static bool is_markable(const Marker *m, Ref r) {
    return !pn_gc_is_nothing(r) && !pn_gc_is_outside(r) && !is_young(m, r);
}

bool pn_gc_is_alive(Marker *m, Ref *slot) {
    if (pn_gc_is_nothing(*slot)) return true;
    Ref r = settle(m, *slot);
    if (!ref_same(r, *slot)) *slot = r;
    return !is_markable(m, r) || (oop_header(ref_raw(r)) & PN_HDR_MARKED) != 0;
}

static void mark(Marker *m, Oop o);

static void mark_class_of(Marker *m, uint32_t class_index) {
    Ref class_ref = pn_gc_class_entry(class_index);
    if (pn_gc_is_nothing(class_ref) || pn_gc_is_outside(class_ref)) return;
    class_ref = settle(m, class_ref);
    if (is_markable(m, class_ref)) mark(m, ref_raw(class_ref));
}

static void mark(Marker *m, Oop o) {
    uint64_t h = oop_header(o);
    if (h & PN_HDR_MARKED) return;
    oop_set_header(o, h | PN_HDR_MARKED);
    mark_class_of(m, hdr_class_index(h));
    uint32_t format = hdr_format(h);
    if (format <= PN_FMT_FORWARDED || format >= PN_FMT_CODE) push(m->stack, o, 0);
}

void pn_gc_mark_slot(Marker *m, Ref *slot) {
    Ref r = *slot;
    if (pn_gc_is_nothing(r)) return;
    r = settle(m, r);
    if (!ref_same(r, *slot)) *slot = r;
    if (is_markable(m, r)) mark(m, ref_raw(r));
}

static void mark_slots(Marker *m, Oop o, size_t from, size_t to) {
    Ref *slots = oop_slots(o);
    for (size_t i = from; i < to; i++) pn_gc_mark_slot(m, &slots[i]);
}

// ---- One object -------------------------------------------------------------------------------------------------

// Named slots of a weak object, no slot of an ephemeron whose key is not known to live: the rest waits in a list.
// With no memory for the list all of it is strong this time.
static void trace_weak_kind(Marker *m, Oop o) {
    size_t count = oop_slot_count(o);
    if (m->all_is_strong) {
        mark_slots(m, o, 0, count);
    } else if (oop_format(o) == PN_FMT_WEAK) {
        bool waits = pn_gc_list_add(&m->gc->weak, o);
        mark_slots(m, o, 0, waits ? pn_gc_named_slots(o) : count);
    } else if (count > 0 && (pn_gc_is_alive(m, oop_slots(o)) || !pn_gc_list_add(&m->gc->ephemerons, o))) {
        mark_slots(m, o, 0, count);
    }
}

static void trace(Marker *m, MarkEntry entry) {
    uint64_t h = oop_header(entry.object);
    uint32_t format = hdr_format(h);
    if (PN_UNLIKELY(format == PN_FMT_WEAK || format == PN_FMT_EPHEMERON)) {
        trace_weak_kind(m, entry.object);
        return;
    }
    size_t end = pn_gc_value_slots(entry.object, h);
    if (end - entry.slot > PN_MARK_SLICE) {
        end = entry.slot + PN_MARK_SLICE;
        push(m->stack, entry.object, end);
    }
    mark_slots(m, entry.object, entry.slot, end);
}

size_t pn_gc_trace(Marker *m, size_t budget) {
    MarkEntry entry;
    size_t done = 0;
    for (; done < budget && pop(m->stack, &entry); done++) trace(m, entry);
    return done;
}

static void trace_marked_of(Marker *m, const OldSegment *s) {
    for (uint64_t *p = s->start; p < s->top;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if ((oop_header(o) & PN_HDR_MARKED) == 0) continue;
        trace(m, (MarkEntry){o, 0});
        pn_gc_trace(m, SIZE_MAX);
    }
}

void pn_gc_trace_all(Marker *m) {
    pn_gc_trace(m, SIZE_MAX);
    while (m->stack->overflowed) {
        m->stack->overflowed = false;
        for (OldSegment *s = m->vm->old->segments; s != NULL; s = s->next) trace_marked_of(m, s);
    }
}

// ---- Roots ------------------------------------------------------------------------------------------------------

static bool mark_range(void *context, Ref *from, Ref *to) {
    for (Ref *slot = from; slot < to; slot++) pn_gc_mark_slot(context, slot);
    return false;
}

static void mark_fixed_classes(Marker *m) {
    for (size_t i = 0; i < m->vm->more->own_index_count; i++) {
        uint32_t index = m->vm->more->own_indices[i];
        Ref entry = pn_gc_class_entry(index);
        if (index < PN_CLASS_FIRST_FREE) pn_gc_mark_slot(m, &entry);
    }
}

void pn_gc_mark_roots(Marker *m) {
    WorkerVm *vm = m->vm;
    Ref constants[] = {vm_nil(vm), vm_false(vm), vm_true(vm)};
    mark_range(m, constants, constants + PN_COUNT_OF(constants));
    pn_gc_visit_stack(vm, false, mark_range, m);
    pn_gc_visit_globals(vm, mark_range, m);
    pn_gc_visit_overlay(vm, mark_range, m);
    mark_fixed_classes(m);
    for (uint64_t *p = vm->young_start; p < vm->next;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        mark_class_of(m, oop_class_index(o));
        trace(m, (MarkEntry){o, 0});
    }
}

void pn_gc_mark_codes(Marker *m) { pn_gc_visit_codes(m->vm, NULL, mark_range, m); }
void pn_gc_mark_own_classes(Marker *m) { pn_gc_visit_own_classes(m->vm, mark_range, m); }

void pn_gc_mark_again(WorkerVm *vm, Oop o) {
    Marker m = pn_gc_marker(vm);
    mark_class_of(&m, oop_class_index(o));
    push(m.stack, o, 0);
}

Marker pn_gc_marker(WorkerVm *vm) { return (Marker){.vm = vm, .gc = pn_gc_state(vm), .stack = pn_gc_mark_stack(vm)}; }
