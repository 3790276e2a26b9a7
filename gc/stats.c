// gc/stats.c: the collector's state in a worker, its counts, and what is checked after a collection.
//
// Owns: GcState and PauseStats, both made at the first collection. Called by gc/ only, but for the functions of
// gc/gc.h.
#include "gc/gc_int.h"

#include <time.h>

GcState *pn_gc_state(WorkerVm *vm) {
    WorkerMore *more = pn_more(vm);
    if (PN_LIKELY(more->gc_state != NULL)) return more->gc_state;
    GcState *gc = pn_mem_alloc_zeroed(sizeof *gc);
    PN_CHECK(gc != NULL, "no memory for the state of a collector");
    gc->wanted_bytes = 4 * PN_FIRST_YOUNG_BYTES;
    more->gc_state = gc;
    return gc;
}

struct PauseStats *pn_gc_pauses(WorkerVm *vm) {
    WorkerMore *more = pn_more(vm);
    if (PN_LIKELY(more->pauses != NULL)) return more->pauses;
    more->pauses = pn_mem_alloc_zeroed(sizeof *more->pauses);
    PN_CHECK(more->pauses != NULL, "no memory for the pause counts of a worker");
    return more->pauses;
}

void pn_gc_free(WorkerVm *vm) {
    if (vm->more == NULL) return;
    GcState *gc = vm->more->gc_state;
    pn_gc_mark_stack_free(vm);
    pn_mem_free(vm->more->pauses);
    vm->more->pauses = NULL;
    if (gc == NULL) return;
    uint64_t *embedded = pn_gc_embedded_block(vm);
    if (vm->young_start != embedded) pn_block_give(PN_BLOCK_YOUNG, vm->young_start, vm->young_bytes);
    vm->young_start = vm->age_mark = vm->next = embedded;
    vm->young_bytes = PN_FIRST_YOUNG_BYTES;
    vm->limit = embedded + PN_FIRST_YOUNG_BYTES / 8;
    pn_block_give(PN_BLOCK_YOUNG, gc->spare, gc->spare_bytes);
    pn_gc_list_free(&gc->weak);
    pn_gc_list_free(&gc->ephemerons);
    Layer *layer = gc->thawed_from;
    pn_mem_free(gc);
    vm->more->gc_state = NULL;
    if (layer != NULL) pn_layer_release(layer);
}

bool pn_gc_list_add(OopList *list, Oop o) {
    if (list->count == list->capacity) {
        size_t capacity = pn_max(16, 2 * list->capacity);
        Oop *items = pn_mem_realloc(list->items, capacity * sizeof *items);
        if (items == NULL) return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = o;
    return true;
}

void pn_gc_list_free(OopList *list) {
    pn_mem_free(list->items);
    *list = (OopList){0};
}

// ---- Pauses -----------------------------------------------------------------------------------------------------

uint64_t pn_gc_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t old_used(const WorkerVm *vm) { return vm->old == NULL ? 0 : vm->old->bytes_used; }

static void trace(const WorkerVm *vm, const char *kind, uint64_t ns) {
    if (PN_LIKELY(!pn_options.trace_gc)) return;
    fprintf(stderr, "gc: worker %u %s %u: %llu ns, young %zu of %zu bytes, old %zu of %zu bytes, remembered %zu\n",
            vm->id, kind, vm->gc_count, (unsigned long long)ns, (size_t)(vm->next - vm->young_start) * 8,
            (size_t)vm->young_bytes, old_used(vm), vm->old == NULL ? 0 : vm->old->bytes_held,
            vm->remembered == NULL ? 0 : vm->remembered->count);
}

void pn_gc_note_young(WorkerVm *vm, uint64_t began, size_t copied, size_t promoted) {
    uint64_t ns = pn_gc_now() - began;
    PnGcStats *c = &pn_gc_pauses(vm)->counts;
    c->young_collections++;
    c->young_ns_total += ns;
    if (ns > c->young_ns_max) c->young_ns_max = ns;
    c->bytes_copied += copied;
    c->bytes_promoted += promoted;
    trace(vm, "young", ns);
}

void pn_gc_note_full(WorkerVm *vm, uint64_t began) {
    uint64_t ns = pn_gc_now() - began;
    PnGcStats *c = &pn_gc_pauses(vm)->counts;
    c->full_collections++;
    c->full_ns_total += ns;
    if (ns > c->full_ns_max) c->full_ns_max = ns;
    trace(vm, "full", ns);
}

PnGcStats pn_gc_stats(const WorkerVm *vm) {
    PnGcStats stats = {0};
    if (vm->more != NULL && vm->more->pauses != NULL) stats = vm->more->pauses->counts;
    stats.young_bytes = (size_t)vm->young_bytes;
    stats.old_bytes_used = old_used(vm);
    stats.old_bytes_held = vm->old == NULL ? 0 : vm->old->bytes_held;
    return stats;
}

void pn_gc_check(WorkerVm *vm, const char *when) {
    if (PN_LIKELY(!pn_options.verify)) return;
    PnViolation violation;
    PN_CHECK(pn_verify(vm, &violation), "worker %u after %s: %s is broken: %s", vm->id, when, violation.rule,
             violation.text);
}
