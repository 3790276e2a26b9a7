// gc/evacuate.c: copies a private world, compacted, into the draft of a layer.
//
// Owns nothing beyond a freeze. Called by gc/freeze.c only. The private world is read, not changed: until the layer
// is published a freeze can be given up.
//
// Objects keep their order. The new address of an object is that of its segment's first living object plus the number
// of living words before it, which a bitmap and a count for each 64 words give: no table of addresses, no word
// written into an original. Compiled code is the exception: it goes to a segment of its own, by a table.
//
// A base begins as a Spur image does (nil, false, true, free lists, hidden roots, class table pages), so that an
// image file of it can be written from memory as it is.
#include "gc/evacuate.h"

#define PN_FREE_LISTS_SLOTS 64
#define PN_HIDDEN_ROOTS_SLOTS 4104
#define PN_PAGE_SLOTS 1024
#define PN_PAGES 4096
#define PN_CONSTANTS_BYTES 48
#define PN_LAYER_HEADER_KEPT                                                                                           \
    (PN_HDR_CLASS_MASK | PN_HDR_HASH_MASK | UINT64_C(31) << PN_HDR_FORMAT_SHIFT | UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT)

// ---- Layout -----------------------------------------------------------------------------------------------------

// nil, false, true of a base: at the very beginning, wherever they were.
static bool is_constant(const Evacuation *e, uint64_t address) {
    return e->is_base && address - e->vm->nil.bits < PN_CONSTANTS_BYTES;
}

static size_t live_groups(const LiveSegment *s) { return (s->end - s->start) / 8 / 64 + 1; }

static void set_live(LiveSegment *s, const uint64_t *from, const uint64_t *to) {
    size_t first = ((uint64_t)from - s->start) / 8, last = ((uint64_t)to - s->start) / 8;
    for (size_t word = first; word < last; word++) s->live[word / 64] |= UINT64_C(1) << word % 64;
}

static void count_live(LiveSegment *s) {
    uint32_t words = 0;
    for (size_t group = 0; group < live_groups(s); group++) {
        s->before[group] = words;
        words += (uint32_t)__builtin_popcountll(s->live[group]);
    }
}

static bool plan_code(Evacuation *e, Oop o) {
    size_t header_offset = e->code_bytes + (oop_has_overflow(o) ? 8 : 0);
    if (!pn_overlay_put(&e->code, ref_of(o), (Ref){header_offset + 1})) return false;
    e->code_bytes += oop_bytes_occupied(o);
    return true;
}

static bool plan_object(Evacuation *e, LiveSegment *s, Oop o) {
    if (oop_is_code(o)) return plan_code(e, o);
    if (s->live != NULL) set_live(s, oop_start(o), oop_end(o));
    e->object_bytes += oop_bytes_occupied(o);
    return true;
}

static bool plan_segment(Evacuation *e, LiveSegment *s, const OldSegment *from) {
    *s = (LiveSegment){
        .from = from, .start = (uint64_t)from->start, .end = (uint64_t)from->top, .offset = e->object_bytes};
    if (!from->is_large) {
        s->live = pn_mem_alloc_zeroed(live_groups(s) * sizeof *s->live);
        s->before = pn_mem_alloc(live_groups(s) * sizeof *s->before);
        if (s->live == NULL || s->before == NULL) return false;
    }
    bool has_live = false;
    for (uint64_t *p = from->start; p < from->top;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        bool is_live = (oop_header(o) & PN_HDR_MARKED) != 0 && !is_constant(e, o.bits);
        if (is_live && !plan_object(e, s, o)) return false;
        has_live |= is_live;
    }
    if (!has_live) s->end = s->start; // nothing moves from here, and nothing refers here
    if (s->live != NULL) count_live(s);
    return true;
}

static int by_address(const void *a, const void *b) {
    const LiveSegment *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static size_t count_segments(const WorkerVm *vm) {
    size_t count = 0;
    for (const OldSegment *s = vm->old == NULL ? NULL : vm->old->segments; s != NULL; s = s->next) count++;
    return count;
}

static bool plan_segments(Evacuation *e) {
    size_t count = count_segments(e->vm);
    e->segments = pn_mem_alloc_zeroed(pn_max(count, 1) * sizeof *e->segments);
    if (e->segments == NULL) return false;
    for (const OldSegment *s = count == 0 ? NULL : e->vm->old->segments; s != NULL; s = s->next)
        if (!plan_segment(e, &e->segments[e->segment_count++], s)) return false;
    qsort(e->segments, e->segment_count, sizeof *e->segments, by_address);
    return true;
}

// ---- What a base begins with ------------------------------------------------------------------------------------

// Which pages of the class table have classes; the first two are always there.
static void find_pages(const Evacuation *e, bool has_page[PN_PAGES]) {
    memset(has_page, 0, PN_PAGES);
    has_page[0] = has_page[1] = true;
    for (size_t i = 0; i < e->vm->more->own_index_count; i++) has_page[e->vm->more->own_indices[i] >> 10] = true;
}

static size_t prefix_bytes(Evacuation *e) {
    if (!e->is_base) return 0;
    bool has_page[PN_PAGES];
    find_pages(e, has_page);
    e->page_count = 0;
    for (size_t i = 0; i < PN_PAGES; i++) e->page_count += has_page[i];
    return PN_CONSTANTS_BYTES + pn_object_bytes(PN_FREE_LISTS_SLOTS) + pn_object_bytes(PN_HIDDEN_ROOTS_SLOTS) +
           e->page_count * pn_object_bytes(PN_PAGE_SLOTS);
}

bool pn_evacuation_plan(Evacuation *e, WorkerVm *vm) {
    *e = (Evacuation){.vm = vm, .is_base = vm->layer == NULL};
    e->hash_state = UINT64_C(0x9E3779B97F4A7C15) + (vm->layer == NULL ? 0 : vm->layer->sum | 1);
    if (e->hash_state == 0) e->hash_state = 1;
    e->object_bytes = prefix_bytes(e);
    return plan_segments(e);
}

void pn_evacuation_free(Evacuation *e) {
    for (size_t i = 0; i < e->segment_count; i++) {
        pn_mem_free(e->segments[i].live);
        pn_mem_free(e->segments[i].before);
    }
    pn_mem_free(e->segments);
    pn_overlay_clear(&e->code);
}

// ---- From old names to new ones ---------------------------------------------------------------------------------

static LiveSegment *segment_of(Evacuation *e, uint64_t address) {
    LiveSegment *s = e->latest;
    if (s != NULL && address - s->start < s->end - s->start) return s;
    size_t low = 0, high = e->segment_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (address < e->segments[middle].start) high = middle;
        else low = middle;
    }
    s = &e->segments[low];
    PN_CHECK(low < high && address - s->start < s->end - s->start,
             "H3: worker %u refers to %p, which is in no heap of its own", e->vm->id, (void *)address);
    e->latest = s;
    return s;
}

static bool is_live_data(const LiveSegment *s, uint64_t address) {
    if (s->live == NULL) return true;
    size_t word = (address - s->start) / 8;
    return (s->live[word / 64] >> word % 64 & 1) != 0;
}

static size_t new_offset(const LiveSegment *s, uint64_t address) {
    if (s->live == NULL) return s->offset + (address - s->start);
    size_t word = (address - s->start) / 8;
    uint64_t below = s->live[word / 64] & ((UINT64_C(1) << word % 64) - 1);
    return s->offset + 8 * (s->before[word / 64] + (size_t)__builtin_popcountll(below));
}

static Ref new_nil(const Evacuation *e) { return e->is_base ? (Ref){e->draft.layer->objects.start} : e->vm->nil; }

static Ref evacuated_code(const Evacuation *e, Ref r) {
    Ref offset = pn_overlay_get(&e->code, r);
    PN_CHECK(!ref_is_none(offset), "worker %u: %p is referred to, but was not found to live", e->vm->id,
             (void *)r.bits);
    return (Ref){e->draft.layer->code.start + offset.bits - 1};
}

Ref pn_evacuated(Evacuation *e, Ref r) {
    if (ref_is_none(r)) return new_nil(e);
    if (ref_is_immediate(r) || pn_gc_is_outside(r)) return r;
    if (is_constant(e, r.bits)) return (Ref){new_nil(e).bits + (r.bits - e->vm->nil.bits)};
    LiveSegment *s = segment_of(e, r.bits);
    if (oop_is_code(ref_raw(r)) || !is_live_data(s, r.bits)) return evacuated_code(e, r);
    return (Ref){e->draft.layer->objects.start + new_offset(s, r.bits)};
}

// ---- Copying ----------------------------------------------------------------------------------------------------

static uint64_t with_hash(Evacuation *e, uint64_t header) {
    while (hdr_hash(header) == 0) header |= pn_random(&e->hash_state) >> 42 << PN_HDR_HASH_SHIFT;
    return header;
}

// Read-only by the user's wish is what was so in the private heap, and all that is never copied.
static uint64_t layer_header(Evacuation *e, Oop o) {
    uint64_t h = oop_header(o);
    uint64_t header = (h & PN_LAYER_HEADER_KEPT) | PN_HDR_IMMUTABLE;
    if (h & PN_HDR_IMMUTABLE || pn_is_never_copied(o)) header |= PN_HDR_USER_READ_ONLY;
    return with_hash(e, header);
}

// What lies in a context above its stack pointer is left over from sends.
static void clear_rest(const Evacuation *e, Oop copy, size_t from) {
    if (oop_class_index(copy) != PN_CLASS_CONTEXT) return;
    for (size_t i = from, n = oop_slot_count(copy); i < n; i++) oop_init_slot(copy, i, new_nil(e));
}

// to: where in the draft the memory of o's copy begins.
static void copy_object(Evacuation *e, Oop o, uint8_t *to) {
    memcpy(to, oop_start(o), oop_bytes_occupied(o));
    Oop copy = oop_at_address(to + (oop_has_overflow(o) ? 8 : 0));
    size_t values = pn_gc_value_slots(o, oop_header(o));
    for (size_t i = 0; i < values; i++) oop_init_slot(copy, i, pn_evacuated(e, oop_slot(o, i)));
    oop_set_header(copy, layer_header(e, o));
    clear_rest(e, copy, values);
}

static void copy_code(Evacuation *e, Oop o) {
    Ref offset = pn_overlay_get(&e->code, ref_of(o));
    if (ref_is_none(offset)) return;
    copy_object(e, o, e->draft.code + (offset.bits - 1) - (oop_has_overflow(o) ? 8 : 0));
}

static void copy_segment(Evacuation *e, const LiveSegment *s) {
    for (uint64_t *p = (uint64_t *)s->start; (uint64_t)p < s->end;) {
        Oop o = oop_from_start(p);
        uint64_t *start = p;
        p = oop_end(o);
        if (oop_class_index(o) == PN_CLASS_FREE) continue;
        if (oop_is_code(o)) copy_code(e, o);
        else if (is_live_data(s, o.bits)) copy_object(e, o, e->draft.objects + new_offset(s, (uint64_t)start));
    }
}

// An object that only a base has, its slots unset; *to moves behind it.
static Oop make_hidden(Evacuation *e, uint8_t **to, uint32_t class_index, uint32_t format, size_t slots) {
    uint64_t *at = (uint64_t *)(void *)*to;
    *to += pn_object_bytes(slots);
    if (slots >= PN_OVERFLOW_SLOTS) *at++ = (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT | slots;
    *at = with_hash(e, pn_header(slots, 0, format, class_index) | PN_HDR_IMMUTABLE | PN_HDR_USER_READ_ONLY);
    return oop_at_address(at);
}

static void fill_slots(Oop o, Ref value) {
    for (size_t i = 0, n = oop_slot_count(o); i < n; i++) oop_init_slot(o, i, value);
}

// Where in the window a place in the draft's object segment will be.
static Ref window_name(const Evacuation *e, Oop in_draft) {
    return (Ref){e->draft.layer->objects.start + (in_draft.bits - (uint64_t)e->draft.objects)};
}

static void copy_constants(Evacuation *e) {
    for (size_t i = 0; i < 3; i++)
        copy_object(e, oop_at_address((uint8_t *)e->vm->nil.bits + 16 * i), e->draft.objects + 16 * i);
}

static void make_class_table(Evacuation *e, Oop roots, uint8_t *to) {
    bool has_page[PN_PAGES];
    find_pages(e, has_page);
    fill_slots(roots, new_nil(e));
    Oop pages[PN_PAGES];
    for (size_t i = 0; i < PN_PAGES; i++) {
        if (!has_page[i]) continue;
        pages[i] = make_hidden(e, &to, PN_CLASS_HIDDEN_ARRAY, PN_FMT_ARRAY, PN_PAGE_SLOTS);
        fill_slots(pages[i], new_nil(e));
        oop_init_slot(roots, i, window_name(e, pages[i]));
    }
    for (size_t i = 0; i < e->vm->more->own_index_count; i++) {
        uint32_t index = e->vm->more->own_indices[i];
        oop_init_slot(pages[index >> 10], index & (PN_PAGE_SLOTS - 1), pn_evacuated(e, pn_gc_class_entry(index)));
    }
}

static void make_prefix(Evacuation *e) {
    copy_constants(e);
    uint8_t *to = e->draft.objects + PN_CONSTANTS_BYTES;
    fill_slots(make_hidden(e, &to, PN_CLASS_HIDDEN_WORDS, PN_FMT_64, PN_FREE_LISTS_SLOTS), PN_NO_REF);
    Oop roots = make_hidden(e, &to, PN_CLASS_HIDDEN_ARRAY, PN_FMT_ARRAY, PN_HIDDEN_ROOTS_SLOTS);
    make_class_table(e, roots, to);
}

void pn_evacuation_copy(Evacuation *e) {
    if (e->is_base) make_prefix(e);
    for (size_t i = 0; i < e->segment_count; i++) copy_segment(e, &e->segments[i]);
}

// ---- Deeply read-only -------------------------------------------------------------------------------------------
// An object is deeply read-only if it is read-only by the user's wish and all its slots name what is deeply
// read-only: the greatest set of which that is true, so cycles belong to it. All read-only objects are taken for
// deeply so at first; then those with a slot that is not lose the bit, and with them, backwards along references, all
// that refer to them.

typedef struct Edge {
    Ref source;  // in the draft
    size_t next; // 1 + index of the next edge to the same target
} Edge;

typedef struct Closure {
    Evacuation *e;
    Overlay incoming; // target in the draft -> index + 1 of its first edge
    Edge *edges;
    size_t edge_count, edge_capacity;
    OopList refuted; // have lost the bit; those that refer to them have not been looked at
} Closure;

// The place in the draft of what will be at a window address; PN_NO_OOP if it will not be in this layer.
static Oop in_draft(const Evacuation *e, Ref r) {
    const Layer *layer = e->draft.layer;
    if (r.bits - layer->objects.start < layer->objects.bytes)
        return oop_at_address(e->draft.objects + (r.bits - layer->objects.start));
    if (r.bits - layer->code.start < layer->code.bytes)
        return oop_at_address(e->draft.code + (r.bits - layer->code.start));
    return PN_NO_OOP;
}

static bool add_edge(Closure *c, Oop target, Oop source) {
    if (c->edge_count == c->edge_capacity) {
        size_t capacity = pn_max(64, 2 * c->edge_capacity);
        Edge *edges = pn_mem_realloc(c->edges, capacity * sizeof *edges);
        if (edges == NULL) return false;
        c->edges = edges;
        c->edge_capacity = capacity;
    }
    c->edges[c->edge_count++] = (Edge){ref_of(source), pn_overlay_get(&c->incoming, ref_of(target)).bits};
    return pn_overlay_put(&c->incoming, ref_of(target), (Ref){c->edge_count});
}

static bool is_deep(Oop o) { return (oop_header(o) & PN_HDR_DEEPLY_READ_ONLY) != 0; }

static bool refute(Closure *c, Oop o) {
    if (!is_deep(o)) return true;
    oop_set_header(o, oop_header(o) & ~PN_HDR_DEEPLY_READ_ONLY);
    return pn_gc_list_add(&c->refuted, o);
}

// Symbols are; what lies in an older layer says so itself.
static bool outside_is_deep(Ref r) { return ref_is_symbol_region(r) || is_deep(ref_raw(r)); }

static bool look_at_slots(Closure *c, Oop o) {
    for (size_t i = 0, n = pn_gc_value_slots(o, oop_header(o)); i < n && is_deep(o); i++) {
        Ref r = oop_slot(o, i);
        if (ref_is_immediate(r)) continue;
        Oop target = in_draft(c->e, r);
        bool may_be_deep = oop_is_none(target) ? outside_is_deep(r) : is_deep(target);
        if (!may_be_deep && !refute(c, o)) return false;
        if (may_be_deep && !oop_is_none(target) && !add_edge(c, target, o)) return false;
    }
    return true;
}

typedef bool (*DraftVisit)(Closure *c, Oop o);

static bool each_in(Closure *c, uint8_t *start, size_t bytes, DraftVisit visit) {
    for (uint64_t *p = (uint64_t *)(void *)start, *end = p + bytes / 8; p < end;) {
        Oop o = oop_from_start(p);
        p = oop_end(o);
        if (!visit(c, o)) return false;
    }
    return true;
}

static bool each_in_draft(Closure *c, DraftVisit visit) {
    const LayerDraft *d = &c->e->draft;
    return each_in(c, d->objects, d->layer->objects.bytes, visit) && each_in(c, d->code, d->layer->code.bytes, visit);
}

static bool assume_deep(Closure *c, Oop o) {
    (void)c;
    uint64_t h = oop_header(o);
    if (h & PN_HDR_USER_READ_ONLY && hdr_class_index(h) > PN_CLASS_LAST_HIDDEN)
        oop_set_header(o, h | PN_HDR_DEEPLY_READ_ONLY);
    return true;
}

static bool spread_refutation(Closure *c) {
    while (c->refuted.count > 0) {
        Oop o = c->refuted.items[--c->refuted.count];
        for (size_t i = pn_overlay_get(&c->incoming, ref_of(o)).bits; i != 0; i = c->edges[i - 1].next)
            if (!refute(c, ref_raw(c->edges[i - 1].source))) return false;
    }
    return true;
}

bool pn_evacuation_mark_deeply_read_only(Evacuation *e) {
    Closure c = {.e = e};
    bool ok = each_in_draft(&c, assume_deep) && each_in_draft(&c, look_at_slots) && spread_refutation(&c);
    pn_overlay_clear(&c.incoming);
    pn_gc_list_free(&c.refuted);
    pn_mem_free(c.edges);
    return ok;
}
