// heap/verify_layers.c: checks of what is shared: layers, symbols, overlays, filters, classes, site words.
//
// Order matters: each check may rely on those before it in the table at the end.
#include "heap/verify_int.h"

static bool is_layer(const Extent *e) { return e->kind == EXTENT_LAYER; }
static bool is_any(const Extent *e) { return e != NULL; }

// ---- W1, W2: the window ---------------------------------------------------------------------------

static bool range_is_in(uint64_t start, uint64_t bytes, uint64_t part, uint64_t part_bytes) {
    return start >= part && bytes <= part_bytes && start - part <= part_bytes - bytes;
}

bool pn_verify_layer_bounds(Verify *v) {
    for (const Layer *l = v->vm->layer; l != NULL; l = l->parent) {
        if (!range_is_in(l->objects.start, l->objects.bytes, PN_LAYER_OBJECTS, PN_LAYER_OBJECTS_BYTES))
            return pn_verify_fails(v, "W1", "objects of layer %u at %#lx", l->depth, (unsigned long)l->objects.start);
        if (!range_is_in(l->code.start, l->code.bytes, PN_LAYER_CODE, PN_LAYER_CODE_BYTES))
            return pn_verify_fails(v, "W1", "code of layer %u at %#lx", l->depth, (unsigned long)l->code.start);
    }
    return true;
}

// Private memory lies outside the window, and nothing over anything else.
static bool verify_window(Verify *v) {
    for (size_t i = 0; i < v->count; i++) {
        const Extent *e = &v->extents[i];
        if (extent_is_private(e) && e->start >> PN_WINDOW_SHIFT == PN_WINDOW >> PN_WINDOW_SHIFT)
            return pn_verify_fails(v, "W1", "private objects at %#lx lie in the window", (unsigned long)e->start);
        if (i > 0 && e->start < v->extents[i - 1].end)
            return pn_verify_fails(v, "W1", "memory at %#lx is used twice", (unsigned long)e->start);
    }
    return true;
}

static bool may_be_writable(const Verify *v, uint64_t start, uint64_t end) {
    for (size_t i = 0; i < v->count; i++) {
        const Extent *e = &v->extents[i];
        if (extent_is_private(e) || (e->layer != NULL && e->layer->is_private_mapping)) continue;
        if (start < e->end && e->start < end) return false;
    }
    return true;
}

static bool verify_protection(Verify *v) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL) return true; // a system that does not say
    char line[512], access[5];
    unsigned long start, end;
    bool holds = true;
    while (holds && fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %4s", &start, &end, access) == 3 && access[1] == 'w' &&
            !may_be_writable(v, start, end))
            holds = pn_verify_fails(v, "W2", "shared objects between %#lx and %#lx are writable", start, end);
    fclose(maps);
    return holds;
}

// ---- H1 ---------------------------------------------------------------------------------------------

// Copies overwrite their originals in poison mode, so nothing can be said of a private mapping.
static bool verify_unwritten(Verify *v) {
    for (const Layer *l = v->vm->layer; l != NULL; l = l->parent)
        if (!l->is_private_mapping && pn_layer_sum(l) != l->sum)
            return pn_verify_fails(v, "H1", "layer %u at %#lx has been written", l->depth,
                                   (unsigned long)l->objects.start);
    return true;
}

// ---- O3, H2: references in layers --------------------------------------------------------------------

static bool layer_may_refer_to(const Extent *from, const Extent *to) {
    if (to == NULL) return false;
    return to->kind == EXTENT_SYMBOLS || (to->kind == EXTENT_LAYER && to->layer->depth <= from->layer->depth);
}

static bool verify_layer_object(Verify *v, const Extent *e, Oop o) {
    if (pn_verify_is_poisoned(e, o)) return true;
    size_t slots = pn_min(pn_value_slots(o), oop_slot_count(o));
    for (size_t i = 0; i < slots; i++) {
        VerifyRef r = pn_verify_ref(v, oop_slot(o, i));
        unsigned long bits = (unsigned long)oop_slot(o, i).bits;
        if (!r.is_value)
            return pn_verify_fails(v, "O3", "slot %zu of %#lx in layer %u is %#lx", i, (unsigned long)o.bits,
                                   e->layer->depth, bits);
        if (r.is_object && !layer_may_refer_to(e, r.target))
            return pn_verify_fails(v, "H2", "slot %zu of %#lx in layer %u refers to %#lx", i, (unsigned long)o.bits,
                                   e->layer->depth, bits);
    }
    return true;
}

static bool verify_layer_references(Verify *v) { return pn_verify_each(v, is_layer, verify_layer_object); }

// ---- H4, F1: overlays and filters ----------------------------------------------------------------------

// What an overlay belongs to: a layer, or the worker (layer NULL).
typedef struct OverlayOf {
    const Overlay *overlay;
    const Layer *layer;
    const char *name;
} OverlayOf;

static bool verify_table(Verify *v, OverlayOf of) {
    const Overlay *o = of.overlay;
    if (o->entries == NULL) return o->count == 0 || pn_verify_fails(v, "H4", "%s overlay has no table", of.name);
    size_t used = 0;
    for (size_t at = 0; at <= o->mask; at++) used += o->entries[2 * at] != 0;
    if (((o->mask + 1) & o->mask) == 0 && used == o->count && used <= o->mask) return true;
    return pn_verify_fails(v, "H4", "%s overlay of %zu places has %zu entries, %zu counted", of.name, o->mask + 1, used,
                           o->count);
}

static bool key_may_be(const OverlayOf *of, const Extent *e) {
    if (e == NULL || e->kind != EXTENT_LAYER) return false;
    return of->layer == NULL || e->layer->depth < of->layer->depth;
}

static bool value_may_be(const OverlayOf *of, VerifyRef value) {
    if (!value.is_value || !value.is_object) return value.is_value;
    if (value.target == NULL) return false;
    if (of->layer == NULL || value.target->kind == EXTENT_SYMBOLS) return true;
    return value.target->kind == EXTENT_LAYER && value.target->layer->depth <= of->layer->depth;
}

static bool verify_entry(Verify *v, const OverlayOf *of, Ref key, Ref value) {
    unsigned long k = (unsigned long)key.bits, c = (unsigned long)value.bits;
    if (!key_may_be(of, pn_verify_object(v, key.bits)))
        return pn_verify_fails(v, "H4", "%s overlay has key %#lx, which no layer below holds", of->name, k);
    if (pn_is_never_copied(ref_raw(key)))
        return pn_verify_fails(v, "H4", "%s overlay has key %#lx, which is never copied", of->name, k);
    if (!value_may_be(of, pn_verify_ref(v, value)))
        return pn_verify_fails(v, "H4", "%s overlay: %#lx means %#lx, which is no object there", of->name, k, c);
    if (!ref_same(pn_overlay_get(of->overlay, key), value))
        return pn_verify_fails(v, "H4", "%s overlay: key %#lx is not found where it lies", of->name, k);
    if (!ref_is_immediate(value) && !ref_is_none(pn_overlay_get(of->overlay, value)))
        return pn_verify_fails(v, "H4", "%s overlay: value %#lx of %#lx is a key as well", of->name, c, k);
    return true;
}

static bool verify_entries(Verify *v, OverlayOf of) {
    const Overlay *o = of.overlay;
    for (size_t at = 0; o->entries != NULL && at <= o->mask; at++)
        if (o->entries[2 * at] != 0 && !verify_entry(v, &of, (Ref){o->entries[2 * at]}, (Ref){o->entries[2 * at + 1]}))
            return false;
    return true;
}

// Whether inner's keys are all keys of outer (wanted true), or none is (false).
static bool verify_keys(Verify *v, const Overlay *inner, const Overlay *outer, bool wanted, const char *text) {
    for (size_t at = 0; inner->entries != NULL && at <= inner->mask; at++) {
        Ref key = {inner->entries[2 * at]};
        if (ref_is_none(key) || !ref_is_none(pn_overlay_get(outer, key)) == wanted) continue;
        return pn_verify_fails(v, "H4", text, (unsigned long)key.bits);
    }
    return true;
}

static bool verify_layer_overlays(Verify *v) {
    for (const Layer *l = v->vm->layer; l != NULL; l = l->parent) {
        OverlayOf of = {&l->overlay, l, "a layer's"};
        if (!verify_table(v, of) || !verify_entries(v, of)) return false;
        if (l->parent != NULL &&
            !verify_keys(v, &l->parent->overlay, &l->overlay, true, "a layer's overlay lacks key %#lx of its parent's"))
            return false;
    }
    return true;
}

static bool verify_own_overlay(Verify *v) {
    OverlayOf of = {v->vm->overlay, NULL, "the worker's"};
    if (of.overlay == NULL) return true;
    if (!verify_table(v, of) || !verify_entries(v, of)) return false;
    return v->vm->layer == NULL || verify_keys(v, of.overlay, &v->vm->layer->overlay, false,
                                               "key %#lx of the worker's overlay is one of its layer's as well");
}

static bool filter_holds_all(const Filter *f, const Overlay *o, Ref *missing) {
    for (size_t at = 0; o != NULL && o->entries != NULL && at <= o->mask; at++) {
        *missing = (Ref){o->entries[2 * at]};
        if (!ref_is_none(*missing) && !filter_may_hold(f, missing->bits)) return false;
    }
    return true;
}

static bool verify_filters(Verify *v) {
    const WorkerVm *vm = v->vm;
    Ref missing;
    for (const Layer *l = vm->layer; l != NULL; l = l->parent)
        if (!filter_holds_all(&l->filter, &l->overlay, &missing))
            return pn_verify_fails(v, "F1", "the filter of layer %u lacks key %#lx", l->depth,
                                   (unsigned long)missing.bits);
    const Overlay *below = vm->layer == NULL ? NULL : &vm->layer->overlay;
    if (filter_holds_all(&vm->filter, below, &missing) && filter_holds_all(&vm->filter, vm->overlay, &missing))
        return true;
    return pn_verify_fails(v, "F1", "the worker's filter lacks key %#lx", (unsigned long)missing.bits);
}

// ---- L1: objects of a layer ---------------------------------------------------------------------------

static bool is_hidden(uint32_t class_index) { return class_index <= PN_CLASS_LAST_HIDDEN; }

static bool verify_layer_header(Verify *v, const Extent *e, Oop o) {
    uint64_t h = oop_header(o);
    const char *wrong = NULL;
    if (!hdr_is_immutable(h)) wrong = "is not immutable";
    if (h & (PN_HDR_MARKED | PN_HDR_PINNED)) wrong = "is marked or pinned";
    if (hdr_class_index(h) == PN_CLASS_FORWARDED) wrong = "is a forwarder";
    if (!is_hidden(hdr_class_index(h)) && pn_class_shapes[hdr_class_index(h)] == 0) wrong = "has a class nobody knows";
    bool may_lack_hash = oop_is_code(o) || pn_verify_is_poisoned(e, o) ||
                         (oop_is_pointers(o) && pn_has_class_shape(v->vm, o));
    if (hdr_hash(h) == 0 && !may_lack_hash) wrong = "has no identity hash";
    if (wrong == NULL) return true;
    return pn_verify_fails(v, "L1", "%#lx in layer %u, header %016lx, %s", (unsigned long)o.bits, e->layer->depth,
                           (unsigned long)h, wrong);
}

// Free chunks are no objects to the map: see that no memory of a layer is one.
static bool verify_no_free_chunks(Verify *v) {
    for (const Layer *l = v->vm->layer; l != NULL; l = l->parent)
        for (Oop o = pn_layer_next(l, PN_NO_OOP); !oop_is_none(o); o = pn_layer_next(l, o))
            if (oop_class_index(o) == PN_CLASS_FREE)
                return pn_verify_fails(v, "L1", "%#lx in layer %u is a free chunk", (unsigned long)o.bits, l->depth);
    return true;
}

static bool verify_layer_headers(Verify *v) {
    return verify_no_free_chunks(v) && pn_verify_each(v, is_layer, verify_layer_header);
}

// ---- H7: one index, one shape ---------------------------------------------------------------------------

static bool format_fits(uint32_t format, uint32_t kind) {
    if (format >= PN_FMT_8) return (format & ~7u) == kind;
    if (format >= PN_FMT_16) return (format & ~3u) == kind;
    if (format >= PN_FMT_32) return (format & ~1u) == kind;
    if (kind == PN_FMT_EPHEMERON && format == PN_FMT_FIXED) return true; // it has fired
    return format == kind || (format <= PN_FMT_FIXED && kind <= PN_FMT_FIXED);
}

static bool slots_fit(size_t slots, uint32_t named, uint32_t kind) {
    bool is_indexable = kind >= PN_FMT_ARRAY && kind != PN_FMT_EPHEMERON;
    return is_indexable ? slots >= named : slots == named;
}

static bool verify_shape(Verify *v, const Extent *e, Oop o) {
    (void)e;
    uint32_t index = oop_class_index(o);
    if (is_hidden(index)) return true;
    uint32_t shape = pn_class_shapes[index];
    if (shape == 0)
        return pn_verify_fails(v, "H7", "%#lx has class index %u, not in use", (unsigned long)o.bits, index);
    uint32_t kind = class_format_kind((int64_t)shape - 1), named = class_format_slots((int64_t)shape - 1);
    if (format_fits(oop_format(o), kind) && slots_fit(oop_slot_count(o), named, kind)) return true;
    return pn_verify_fails(v, "H7", "%#lx, format %u, %zu slots: index %u stands for kind %u with %u slots",
                           (unsigned long)o.bits, oop_format(o), oop_slot_count(o), index, kind, named);
}

static bool verify_shapes(Verify *v) { return pn_verify_each(v, is_any, verify_shape); }

// ---- H8: one symbol per spelling --------------------------------------------------------------------------

static bool verify_symbol(Verify *v, const Extent *e, Oop o) {
    (void)e;
    if (oop_class_index(o) != PN_CLASS_BYTE_SYMBOL) return true;
    Ref known = pn_symbol_find((const char *)oop_bytes(o), oop_byte_count(o));
    if (ref_same(known, ref_of(o))) return true;
    return pn_verify_fails(v, "H8", "#%.*s lies at %#lx, the process knows it at %#lx",
                           (int)pn_min(oop_byte_count(o), 80), (const char *)oop_bytes(o), (unsigned long)o.bits,
                           (unsigned long)known.bits);
}

static bool verify_symbols(Verify *v) { return pn_verify_each(v, is_any, verify_symbol); }

const VerifyCheck pn_verify_layer_checks[] = {
    verify_window,
    verify_protection,
    verify_unwritten,
    verify_layer_references,
    verify_layer_overlays,
    verify_own_overlay,
    verify_filters,
    verify_layer_headers,
    verify_shapes,
    verify_symbols,
    NULL,
};
