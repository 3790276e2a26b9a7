// heap/old_space.c: a worker's old space: segments of objects that do not move.
//
// Owns: segments, free lists, the counts of bytes held and used. Nothing here collects or moves; gc/ sweeps (and
// fills the free lists), asks for collections at collect_at, and frees segments.
// Called by promotion, copy on write and by whoever makes an object that must stay where it is.
// Invariants: G3 (segments can be walked), O1, O2 (heap/object.h).
//
// Note [Walkable segments]. Objects of a segment lie without gaps in [start, top). The current segment has room
// behind top; in all others top is end. At least two words stay free at a segment's end unless it is filled exactly,
// and no chunk is split so that one word remains: what is left can always be written as a free chunk, of two words or
// more. A chunk of exactly 256 words is written as two, since no slot count gives that size (254 slots take 255
// words, 255 slots 257).
#include <sys/mman.h>

#include "heap/heap_int.h"

#define PN_FIRST_SEGMENT_BYTES ((size_t)4 << 10)
#define PN_LAST_SEGMENT_BYTES ((size_t)1 << 20)
#define PN_FIRST_COLLECT_BYTES ((size_t)1 << 20)
#define PN_SEGMENT_ALIGNMENT 64
#define PN_UNWRITABLE_WORDS 256

_Static_assert(sizeof(OldSegment) % PN_SEGMENT_ALIGNMENT == 0, "objects begin behind the segment's own record");

static inline size_t words_between(const uint64_t *start, const uint64_t *end) { return (size_t)(end - start); }

OldSpace *pn_old_space(WorkerVm *vm) {
    if (vm->old == NULL) {
        vm->old = pn_mem_alloc_zeroed(sizeof(OldSpace));
        if (vm->old != NULL) vm->old->collect_at = PN_FIRST_COLLECT_BYTES;
    }
    return vm->old;
}

// ---- Free chunks --------------------------------------------------------------------------------

static uint64_t *write_chunk(uint64_t *start, size_t words) {
    if (words - 1 < PN_OVERFLOW_SLOTS) {
        start[0] = pn_header(words - 1, 0, PN_FMT_EMPTY, PN_CLASS_FREE);
        return start;
    }
    start[0] = (UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT) | (words - 2);
    start[1] = pn_header(PN_OVERFLOW_SLOTS, 0, PN_FMT_EMPTY, PN_CLASS_FREE);
    return start + 1;
}

void pn_write_free_chunk(uint64_t *start, uint64_t *end) {
    size_t words = words_between(start, end);
    if (words == PN_UNWRITABLE_WORDS) {
        write_chunk(start, 2);
        start += 2;
        words -= 2;
    }
    write_chunk(start, words);
}

static void list_chunk(OldSpace *old, uint64_t *start, size_t words) {
    uint64_t *header = write_chunk(start, words);
    uint64_t **list = &old->free[pn_min(words, PN_FREE_LISTS - 1)];
    header[1] = (uint64_t)(uintptr_t)*list;
    *list = header;
}

void pn_free_list_add(OldSpace *old, uint64_t *start, uint64_t *end) {
    size_t words = words_between(start, end);
    if (words == 0) return;
    PN_ASSERT(words >= 2, "a free chunk of one word at %p", (void *)start);
    if (words == PN_UNWRITABLE_WORDS) {
        list_chunk(old, start, 2);
        start += 2;
        words -= 2;
    }
    list_chunk(old, start, words);
}

// Unlink the chunk that *list names and give what is behind its first words back; answers where it begins.
static uint64_t *take_from(OldSpace *old, uint64_t **list, size_t words) {
    Oop chunk = oop_at_address(*list);
    *list = (uint64_t *)(uintptr_t)oop_slot(chunk, 0).bits;
    uint64_t *start = oop_start(chunk);
    pn_free_list_add(old, start + words, oop_end(chunk));
    return start;
}

static uint64_t *take_from_last_list(OldSpace *old, size_t words) {
    uint64_t **list = &old->free[PN_FREE_LISTS - 1];
    while (*list != NULL) {
        Oop chunk = oop_at_address(*list);
        size_t found = oop_bytes_occupied(chunk) / 8;
        if (found == words || found >= words + 2) return take_from(old, list, words);
        list = (uint64_t **)(void *)(*list + 1);
    }
    return NULL;
}

static uint64_t *take_free_chunk(OldSpace *old, size_t words) {
    if (words < PN_FREE_LISTS - 1) {
        if (old->free[words] != NULL) return take_from(old, &old->free[words], words);
        for (size_t i = words + 2; i < PN_FREE_LISTS - 1; i++)
            if (old->free[i] != NULL) return take_from(old, &old->free[i], words);
    }
    return take_from_last_list(old, words);
}

// ---- Segments -----------------------------------------------------------------------------------

// A limit never makes an allocation fail here: it is noticed, and raised at the next safepoint.
static void note_limit(WorkerVm *vm) {
    WorkerMore *more = vm->more;
    if (more != NULL && more->memory_limit != 0 && vm->old->bytes_held > more->memory_limit) {
        more->limit_noticed = true;
        vm->budget = 0; // the next safepoint is near
    }
}

static void link_segment(WorkerVm *vm, OldSegment *s, size_t bytes_held) {
    s->next = vm->old->segments;
    vm->old->segments = s;
    vm->old->bytes_held += bytes_held;
    note_limit(vm);
}

// A segment with room for so many bytes of objects.
static OldSegment *add_segment(WorkerVm *vm, size_t bytes, bool is_large) {
    size_t total = sizeof(OldSegment) + bytes;
    OldSegment *s = is_large ? pn_mem_alloc_aligned(total, PN_SEGMENT_ALIGNMENT) : pn_block_take(PN_BLOCK_OLD, total);
    if (s == NULL) return NULL;
    uint64_t *start = (uint64_t *)(void *)(s + 1);
    *s = (OldSegment){.start = start, .top = start, .end = start + bytes / 8, .is_large = is_large};
    link_segment(vm, s, sizeof *s + bytes);
    return s;
}

// What is left of the current segment becomes a free chunk; the next one is twice as large as all there is, within
// bounds.
static bool next_segment(WorkerVm *vm, size_t object_bytes) {
    OldSpace *old = vm->old;
    size_t bytes = PN_FIRST_SEGMENT_BYTES;
    while (bytes < PN_LAST_SEGMENT_BYTES && bytes <= old->bytes_held) bytes *= 2;
    while (bytes < sizeof(OldSegment) + object_bytes + 2 * sizeof(uint64_t)) bytes *= 2;
    bytes -= sizeof(OldSegment);
    OldSegment *retired = old->current;
    OldSegment *s = add_segment(vm, bytes, false);
    if (s == NULL) return false;
    if (retired != NULL) {
        pn_free_list_add(old, retired->top, retired->end);
        retired->top = retired->end;
    }
    old->current = s;
    return true;
}

bool pn_old_adopt_mapping(WorkerVm *vm, void *mapping, size_t mapping_bytes, uint64_t *start, uint64_t *end) {
    OldSegment *s = pn_old_space(vm) == NULL ? NULL : pn_mem_alloc(sizeof *s);
    if (s == NULL) return false;
    *s = (OldSegment){.start = start,
                      .top = end,
                      .end = end,
                      .is_large = true,
                      .is_mapped = true,
                      .mapping = mapping,
                      .mapping_bytes = mapping_bytes};
    link_segment(vm, s, sizeof *s + mapping_bytes);
    vm->old->bytes_used += words_between(start, end) * 8;
    return true;
}

OldSegment *pn_old_segment_of(WorkerVm *vm, uint64_t address) {
    if (vm->old == NULL) return NULL;
    for (OldSegment *s = vm->old->segments; s != NULL; s = s->next)
        if (address - (uint64_t)(uintptr_t)s->start < words_between(s->start, s->end) * 8) return s;
    return NULL;
}

static size_t segment_bytes_held(const OldSegment *s) {
    return sizeof *s + (s->is_mapped ? s->mapping_bytes : words_between(s->start, s->end) * 8);
}

void pn_old_segment_free(WorkerVm *vm, OldSegment **link) {
    OldSegment *s = *link;
    *link = s->next;
    vm->old->bytes_held -= segment_bytes_held(s);
    if (vm->old->current == s) vm->old->current = NULL;
    if (s->is_mapped) munmap(s->mapping, s->mapping_bytes);
    if (s->is_large) pn_mem_free(s);
    else pn_block_give(PN_BLOCK_OLD, s, segment_bytes_held(s));
}

void pn_old_space_free(WorkerVm *vm) {
    if (vm->old == NULL) return;
    while (vm->old->segments != NULL) pn_old_segment_free(vm, &vm->old->segments);
    pn_mem_free(vm->old);
    vm->old = NULL;
}

// ---- Allocation ---------------------------------------------------------------------------------

static Oop place_with_overflow(uint64_t *at, uint64_t header, size_t slots) {
    at[0] = (UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT) | slots;
    at[1] = header | (uint64_t)PN_OVERFLOW_SLOTS << PN_HDR_SLOTS_SHIFT;
    return oop_at_address(at + 1);
}

static Oop place(uint64_t *at, uint64_t header, size_t slots) {
    if (slots >= PN_OVERFLOW_SLOTS) return place_with_overflow(at, header, slots);
    at[0] = header | (uint64_t)slots << PN_HDR_SLOTS_SHIFT;
    return oop_at_address(at);
}

static uint64_t *bump(OldSegment *s, size_t words) {
    if (s == NULL) return NULL;
    size_t room = words_between(s->top, s->end);
    if (room != words && room < words + 2) return NULL;
    uint64_t *at = s->top;
    s->top += words;
    return at;
}

static uint64_t *find_room(WorkerVm *vm, size_t bytes) {
    if (bytes >= PN_LARGE_BYTES) return bump(add_segment(vm, bytes, true), bytes / 8);
    uint64_t *at = bump(vm->old->current, bytes / 8);
    if (at == NULL) at = take_free_chunk(vm->old, bytes / 8);
    if (at == NULL && next_segment(vm, bytes)) at = bump(vm->old->current, bytes / 8);
    return at;
}

static PN_NOINLINE Oop old_raw_slow(WorkerVm *vm, uint64_t header, size_t slots) {
    if (slots > PN_MAX_SLOTS || pn_old_space(vm) == NULL) return PN_NO_OOP;
    size_t bytes = pn_object_bytes(slots);
    uint64_t *at = find_room(vm, bytes);
    if (at == NULL) return PN_NO_OOP;
    vm->old->bytes_used += bytes;
    return place(at, header | vm->old->birth_bits, slots);
}

// The common case, a few slots and room in the current segment, in some 20 instructions: it is part of each first
// write.
Oop pn_old_raw(WorkerVm *vm, uint64_t header, size_t slots) {
    OldSpace *old = vm->old;
    if (PN_UNLIKELY(old == NULL || old->current == NULL || slots >= PN_OVERFLOW_SLOTS))
        return old_raw_slow(vm, header, slots);
    OldSegment *s = old->current;
    uint64_t *at = s->top;
    uint64_t *end = at + 1 + slots + (slots == 0);
    if (PN_UNLIKELY(end + 2 > s->end)) return old_raw_slow(vm, header, slots);
    s->top = end;
    old->bytes_used += (size_t)((char *)end - (char *)at);
    *at = header | old->birth_bits | (uint64_t)slots << PN_HDR_SLOTS_SHIFT;
    return oop_at_address(at);
}

Oop pn_old_new(WorkerVm *vm, uint32_t class_index, uint32_t format, size_t slots) {
    Oop o = pn_old_raw(vm, pn_header(0, 0, format, class_index), slots);
    if (oop_is_none(o)) return o;
    uint64_t filler = format <= PN_FMT_LAST_POINTERS && slots > 0 ? vm->nil.bits : 0;
    uint64_t *body = oop_address(o) + 1;
    for (size_t i = 0, n = slots > 0 ? slots : 1; i < n; i++) body[i] = filler;
    return o;
}
