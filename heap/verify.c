// heap/verify.c: the verifier: makes a map of the objects a worker can refer to, and runs every check over it.
//
// Owns nothing beyond a call. Reads only; always on (PANDO_DEBUG=verify asks for it after each collection and
// freeze), in release builds too. The checks are in verify_layers.c and verify_worker.c; the rules are numbered in
// the headers.
#include <stdarg.h>

#include "heap/verify_int.h"

bool pn_verify_fails(Verify *v, const char *rule, const char *format, ...) {
    v->violation->rule = rule;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(v->violation->text, sizeof v->violation->text, format, arguments);
    va_end(arguments);
    return false;
}

// ---- The map ------------------------------------------------------------------------------------

const Extent *pn_verify_extent(const Verify *v, uint64_t address) {
    size_t low = 0, high = v->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const Extent *e = &v->extents[middle];
        if (address < e->start) high = middle;
        else if (address >= e->end) low = middle + 1;
        else return e;
    }
    return NULL;
}

static bool head_is_set(const Extent *e, uint64_t address) {
    size_t word = (address - e->start) / 8;
    return (e->heads[word / 64] >> word % 64 & 1) != 0;
}

static void set_head(const Extent *e, const uint64_t *header) {
    size_t word = ((uint64_t)(uintptr_t)header - e->start) / 8;
    e->heads[word / 64] |= UINT64_C(1) << word % 64;
}

const Extent *pn_verify_object(const Verify *v, uint64_t address) {
    const Extent *e = address % 8 == 0 ? pn_verify_extent(v, address) : NULL;
    return e != NULL && head_is_set(e, address) ? e : NULL;
}

// The rule that says that memory of this kind can be walked.
static const char *const walking_rules[] = {
    [EXTENT_LAYER] = "O1", [EXTENT_JOINED] = "O1", [EXTENT_SYMBOLS] = "O1", [EXTENT_OLD] = "G3", [EXTENT_YOUNG] = "G4",
};

// Go over the object at p; answers where the next one begins, NULL after a failure.
static uint64_t *walk_one(Verify *v, Extent *e, uint64_t *p, const uint64_t *end) {
    const char *rule = walking_rules[e->kind];
    bool has_overflow = *p >> PN_HDR_SLOTS_SHIFT == PN_OVERFLOW_SLOTS;
    uint64_t *header = p + has_overflow;
    if (header >= end) {
        pn_verify_fails(v, rule, "memory ends between slot count and header at %p", (void *)p);
        return NULL;
    }
    uint64_t slots = has_overflow ? *p & PN_OVERFLOW_COUNT_MASK : *header >> PN_HDR_SLOTS_SHIFT;
    if (has_overflow && (*header >> PN_HDR_SLOTS_SHIFT != PN_OVERFLOW_SLOTS || slots < PN_OVERFLOW_SLOTS)) {
        pn_verify_fails(v, "O2", "the word at %p counts %llu slots, the header %016llx after it does not ask for it",
                        (void *)p, (unsigned long long)slots, (unsigned long long)*header);
        return NULL;
    }
    if (slots > PN_MAX_SLOTS || pn_object_bytes(slots) / 8 > (size_t)(end - p)) {
        pn_verify_fails(v, rule, "the object at %p, header %016llx, has %llu slots and runs past the end %p", (void *)p,
                        (unsigned long long)*header, (unsigned long long)slots, (const void *)end);
        return NULL;
    }
    if (hdr_class_index(*header) != PN_CLASS_FREE) set_head(e, header);
    return p + pn_object_bytes(slots) / 8;
}

static bool walk_all(Verify *v, Extent *e) {
    uint64_t *end = (uint64_t *)(uintptr_t)e->end;
    for (uint64_t *p = (uint64_t *)(uintptr_t)e->start; p < end;)
        if ((p = walk_one(v, e, p, end)) == NULL) return false;
    return true;
}

// Symbols are made by other threads meanwhile: take those that are complete.
static bool walk_symbols(Verify *v, Extent *e) {
    (void)v;
    for (Oop o = pn_symbol_region_next(PN_NO_OOP); !oop_is_none(o) && o.bits < e->end; o = pn_symbol_region_next(o))
        set_head(e, oop_address(o));
    return true;
}

static Extent *new_extent(Verify *v) {
    if (v->count == v->capacity) {
        v->capacity = v->capacity ? 2 * v->capacity : 16;
        v->extents = pn_mem_realloc(v->extents, v->capacity * sizeof *v->extents);
        PN_CHECK(v->extents != NULL, "no memory to verify the heap");
    }
    return &v->extents[v->count++];
}

bool pn_verify_add(Verify *v, ExtentKind kind, const Layer *layer, uint64_t start, uint64_t end) {
    if (start % 8 != 0 || end % 8 != 0 || end < start)
        return pn_verify_fails(v, "O1", "objects from %p to %p", (void *)(uintptr_t)start, (void *)(uintptr_t)end);
    if (start == end) return true;
    Extent *e = new_extent(v);
    *e = (Extent){.start = start, .end = end, .layer = layer, .kind = kind};
    e->heads = pn_mem_alloc_zeroed((((end - start) / 8 + 63) / 64) * 8);
    PN_CHECK(e->heads != NULL, "no memory to verify the heap");
    return kind == EXTENT_SYMBOLS ? walk_symbols(v, e) : walk_all(v, e);
}

static bool add_segments(Verify *v, ExtentKind kind, const Layer *l) {
    return pn_verify_add(v, kind, l, l->objects.start, l->objects.start + l->objects.bytes) &&
           pn_verify_add(v, kind, l, l->code.start, l->code.start + l->code.bytes);
}

static bool add_layers(Verify *v) {
    for (const Layer *l = v->vm->layer; l != NULL; l = l->parent)
        if (!add_segments(v, EXTENT_LAYER, l)) return false;
    if (v->vm->layer != NULL) return true;
    for (const Layer *l = pn_symbols_next_joined(NULL); l != NULL; l = pn_symbols_next_joined(l))
        if (!add_segments(v, EXTENT_JOINED, l)) return false;
    return true;
}

static bool add_symbols(Verify *v) {
    uint64_t end = PN_SYMBOLS;
    for (Oop o = pn_symbol_region_next(PN_NO_OOP); !oop_is_none(o); o = pn_symbol_region_next(o))
        end = (uint64_t)(uintptr_t)oop_end(o);
    return pn_verify_add(v, EXTENT_SYMBOLS, NULL, PN_SYMBOLS, end);
}

static bool add_old_space(Verify *v) {
    for (const OldSegment *s = v->vm->old == NULL ? NULL : v->vm->old->segments; s != NULL; s = s->next) {
        bool is_full = s == v->vm->old->current || s->top == s->end;
        if (s->top < s->start || s->top > s->end || !is_full)
            return pn_verify_fails(v, "G3", "the old segment at %p ends at %p, its objects at %p", (void *)s->start,
                                   (void *)s->end, (void *)s->top);
        if (!pn_verify_add(v, EXTENT_OLD, NULL, (uint64_t)(uintptr_t)s->start, (uint64_t)(uintptr_t)s->top))
            return false;
    }
    return true;
}

static bool add_young_space(Verify *v) {
    return pn_verify_add(v, EXTENT_YOUNG, NULL, (uint64_t)(uintptr_t)v->vm->young_start,
                         (uint64_t)(uintptr_t)v->vm->next);
}

static int by_address(const void *a, const void *b) {
    const Extent *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static bool make_map(Verify *v) {
    bool walked = pn_verify_layer_bounds(v) && pn_verify_young_bounds(v) && add_layers(v) && add_symbols(v) &&
                  add_old_space(v) && add_young_space(v);
    if (v->count > 1) qsort(v->extents, v->count, sizeof *v->extents, by_address);
    return walked;
}

// ---- What the checks use --------------------------------------------------------------------------

bool pn_verify_each(Verify *v, bool (*wanted)(const Extent *e), VerifyObject check) {
    for (size_t i = 0; i < v->count; i++) {
        const Extent *e = &v->extents[i];
        if (!wanted(e)) continue;
        size_t words = (e->end - e->start) / 8;
        for (size_t group = 0; group * 64 < words; group++)
            for (uint64_t heads = e->heads[group]; heads != 0; heads &= heads - 1)
                if (!check(v, e, (Oop){e->start + (group * 64 + (size_t)__builtin_ctzll(heads)) * 8})) return false;
    }
    return true;
}

VerifyRef pn_verify_ref(const Verify *v, Ref r) {
    uint64_t tag = r.bits & PN_TAG_MASK;
    if (tag != 0) return (VerifyRef){.is_value = tag == PN_TAG_INT || tag == PN_TAG_CHAR || tag == PN_TAG_FLOAT};
    const Extent *target = pn_verify_object(v, r.bits);
    if (target != NULL && target->kind == EXTENT_JOINED && oop_class_index(ref_raw(r)) != PN_CLASS_BYTE_SYMBOL)
        target = NULL;
    return (VerifyRef){.is_value = !ref_is_none(r), .is_object = true, .target = target};
}

bool pn_verify_is_poisoned(const Extent *e, Oop o) {
    return e->kind == EXTENT_LAYER && e->layer->is_private_mapping && oop_slot(o, 0).bits == PN_POISON_BODY;
}

// ---- Running it all -------------------------------------------------------------------------------

static bool run_checks(Verify *v, const VerifyCheck *checks) {
    for (; *checks != NULL; checks++)
        if (!(*checks)(v)) return false;
    return true;
}

bool pn_verify(WorkerVm *vm, PnViolation *violation) {
    *violation = (PnViolation){0};
    Verify v = {.vm = vm, .violation = violation};
    bool holds = make_map(&v) && run_checks(&v, pn_verify_layer_checks) && run_checks(&v, pn_verify_worker_checks);
    for (size_t i = 0; i < v.count; i++) pn_mem_free(v.extents[i].heads);
    pn_mem_free(v.extents);
    return holds;
}
