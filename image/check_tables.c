// image/check_tables.c: the tables of an image file: classes, symbols, overlay, filter, and the objects at the
// beginning.
//
// Called by image/check.c: the class list before anything else, the rest when all objects are known. H4, H7, H8, F1.
#include "image/check_int.h"

static PnStatus entry_failed(ImageCheck *c, const void *entry, const char *text, uint64_t value) {
    return pn_check_failed(c, pn_check_offset(c, entry), "%s: 0x%llx", text, (unsigned long long)value);
}

static bool is_nil(const ImageCheck *c, uint64_t bits) { return bits == c->header->nil; }

// ---- Class list ------------------------------------------------------------------------------------------------

// What the machine relies on without looking: kind and named slots of instances. For kinds with indexed slots: at
// least.
static const struct {
    uint32_t index, kind, named;
} kernel_shapes[] = {
    {PN_CLASS_SMALL_INTEGER, PN_FMT_FORWARDED, 0},
    {PN_CLASS_CHARACTER, PN_FMT_FORWARDED, 0},
    {PN_CLASS_SMALL_FLOAT, PN_FMT_FORWARDED, 0},
    {PN_CLASS_LARGE_NEGATIVE, PN_FMT_8, 0},
    {PN_CLASS_LARGE_POSITIVE, PN_FMT_8, 0},
    {PN_CLASS_BOXED_FLOAT, PN_FMT_32, 0},
    {PN_CLASS_MESSAGE, PN_FMT_FIXED, PN_MESSAGE_LOOKUP_CLASS + 1},
    {PN_CLASS_CONTEXT, PN_FMT_FIXED_ARRAY, PN_CONTEXT_FIRST_TEMP},
    {PN_CLASS_FULL_BLOCK_CLOSURE, PN_FMT_FIXED_ARRAY, PN_CLOSURE_FIRST_COPIED},
    {PN_CLASS_BYTE_ARRAY, PN_FMT_8, 0},
    {PN_CLASS_ARRAY, PN_FMT_ARRAY, 0},
    {PN_CLASS_BYTE_STRING, PN_FMT_8, 0},
    {PN_CLASS_BITMAP, PN_FMT_32, 0},
    {PN_CLASS_POINT, PN_FMT_FIXED, 2},
    {PN_CLASS_BYTE_SYMBOL, PN_FMT_8, 0},
    {PN_CLASS_METHOD_DICTIONARY, PN_FMT_FIXED_ARRAY, PN_METHOD_DICT_FIRST_KEY},
    {PN_CLASS_COMPILED_METHOD, PN_FMT_CODE, 0},
    {PN_CLASS_COMPILED_BLOCK, PN_FMT_CODE, 0},
    {PN_CLASS_ASSOCIATION, PN_FMT_FIXED, PN_BINDING_VALUE + 1},
    {PN_CLASS_UNDEFINED_OBJECT, PN_FMT_EMPTY, 0},
    {PN_CLASS_FALSE, PN_FMT_EMPTY, 0},
    {PN_CLASS_TRUE, PN_FMT_EMPTY, 0},
};

static bool fits_kernel(uint32_t index, uint32_t shape) {
    for (size_t i = 0; i < PN_COUNT_OF(kernel_shapes); i++) {
        if (kernel_shapes[i].index != index) continue;
        return class_format_kind((int64_t)shape - 1) == kernel_shapes[i].kind &&
               class_format_slots((int64_t)shape - 1) >= kernel_shapes[i].named;
    }
    return true;
}

static bool is_index_of_file(uint32_t index) {
    if (index == PN_CLASS_SMALL_INTEGER || index == PN_CLASS_CHARACTER || index == PN_CLASS_SMALL_FLOAT) return true;
    return index > PN_CLASS_LAST_HIDDEN && index < PN_FIRST_RUN_INDEX;
}

static bool is_shape(uint32_t shape) {
    static const uint32_t kinds = 1u << PN_FMT_EMPTY | 1u << PN_FMT_FIXED | 1u << PN_FMT_ARRAY |
                                  1u << PN_FMT_FIXED_ARRAY | 1u << PN_FMT_WEAK | 1u << PN_FMT_EPHEMERON |
                                  1u << PN_FMT_FORWARDED | 1u << PN_FMT_ELSEWHERE | 1u << PN_FMT_64 | 1u << PN_FMT_32 |
                                  1u << PN_FMT_16 | 1u << PN_FMT_8 | 1u << PN_FMT_CODE;
    return shape != 0 && shape - 1 < 1u << 21 && (kinds >> class_format_kind((int64_t)shape - 1) & 1) != 0;
}

PnStatus pn_check_class_list(ImageCheck *c) {
    for (size_t i = 0; i < c->header->class_count; i++) {
        const uint32_t *index = &c->tables.indices[i], *shape = &c->tables.shapes[i];
        if (!is_index_of_file(*index)) return entry_failed(c, index, "not a class index of a file", *index);
        if (i > 0 && index[-1] >= *index) return entry_failed(c, index, "class indices do not ascend", *index);
        if (check_shape(c, *index) != 0) return entry_failed(c, index, "a class index that an ancestor has", *index);
        if (!is_shape(*shape)) return entry_failed(c, shape, "not a class's shape", *shape);
        if (!fits_kernel(*index, *shape)) return entry_failed(c, shape, "a kernel class of another shape", *shape);
        c->shapes[*index] = *shape;
    }
    for (size_t i = 0; i < PN_COUNT_OF(kernel_shapes) && c->knows_ancestors; i++)
        if (check_shape(c, kernel_shapes[i].index) == 0)
            return entry_failed(c, c->tables.indices, "a kernel class is missing", kernel_shapes[i].index);
    return PN_OK;
}

// ---- Classes ---------------------------------------------------------------------------------------------------

static bool could_be_class(Oop o) { return oop_is_pointers(o) && oop_slot_count(o) > PN_BEHAVIOR_FORMAT; }

static PnStatus check_method_dictionary_of(ImageCheck *c, Oop class_object, const uint64_t *entry) {
    uint64_t bits = pn_check_meaning(c, pn_check_slot(c, class_object, PN_BEHAVIOR_METHOD_DICT));
    Oop dictionary = pn_check_object(c, bits);
    bool is_one = oop_is_none(dictionary) ? pn_check_is_unknown(c, bits)
                                          : oop_class_index(dictionary) == PN_CLASS_METHOD_DICTIONARY;
    if (is_one || is_nil(c, bits)) return PN_OK;
    return entry_failed(c, entry, "a class without method dictionary", bits);
}

// Follow superclasses until nil, or a class that has been followed. walked: class -> number of the walk that came by.
static PnStatus check_superclasses(ImageCheck *c, Overlay *walked, const uint64_t *entry, int64_t walk) {
    uint64_t bits = *entry;
    while (!is_nil(c, bits)) {
        Ref seen = pn_overlay_get(walked, (Ref){bits});
        if (!ref_is_none(seen) && ref_int(seen) != walk) return PN_OK;
        if (!ref_is_none(seen)) return entry_failed(c, entry, "a class that is its own superclass", bits);
        Oop class_object = pn_check_object(c, bits);
        if (oop_is_none(class_object) && pn_check_is_unknown(c, bits)) return PN_OK;
        if (oop_is_none(class_object) || !could_be_class(class_object))
            return entry_failed(c, entry, "a superclass that is no class", bits);
        PnStatus status = check_method_dictionary_of(c, class_object, entry);
        if (status != PN_OK) return status;
        if (!pn_overlay_put(walked, (Ref){bits}, ref_from_int(walk)))
            return pn_error(c->error, PN_NO_MEMORY, 0, "no memory to check an image");
        bits = pn_check_meaning(c, pn_check_slot(c, class_object, PN_BEHAVIOR_SUPERCLASS));
    }
    return PN_OK;
}

// A class of the list: in the file, its identity hash its index, and of the shape that is recorded.
static PnStatus check_class(ImageCheck *c, size_t i) {
    const uint64_t *entry = &c->tables.classes[i];
    uint32_t index = c->tables.indices[i];
    Oop class_object = pn_check_is_own(c, *entry) ? pn_check_object(c, *entry) : PN_NO_OOP;
    if (oop_is_none(class_object) || !could_be_class(class_object) ||
        oop_class_index(class_object) <= PN_CLASS_LAST_HIDDEN)
        return entry_failed(c, entry, "an entry of the class list that is no class", *entry);
    size_t at = pn_check_offset(c, oop_address(class_object));
    if (hdr_hash(oop_header(class_object)) != index)
        return pn_check_failed(c, at, "the class with index %u has another identity hash", index);
    Ref format = oop_slot(class_object, PN_BEHAVIOR_FORMAT);
    if (!ref_is_int(format) || ((uint64_t)ref_int(format) & 0x1FFFFF) + 1 != c->tables.shapes[i])
        return pn_check_failed(c, at, "the class with index %u has another shape than the class list says", index);
    return PN_OK;
}

static PnStatus check_classes(ImageCheck *c) {
    Overlay walked = {0};
    PnStatus status = PN_OK;
    for (size_t i = 0; i < c->header->class_count && status == PN_OK; i++) status = check_class(c, i);
    for (size_t i = 0; i < c->header->class_count && status == PN_OK; i++)
        status = check_superclasses(c, &walked, &c->tables.classes[i], (int64_t)i);
    pn_overlay_clear(&walked);
    return status;
}

// ---- The beginning of a base -----------------------------------------------------------------------------------

// Takes the next object, which must be this one; *at is its address and moves on.
static PnStatus take_object(ImageCheck *c, uint64_t *at, uint32_t class_index, size_t slots, Oop *object) {
    size_t overflow = slots >= PN_OVERFLOW_SLOTS ? 8 : 0;
    Oop o = pn_check_object(c, *at + overflow);
    if (oop_is_none(o) || oop_class_index(o) != class_index || oop_slot_count(o) != slots)
        return pn_check_failed(c, c->areas[0].file_offset + (*at - c->areas[0].start),
                               "here should be an object of class index %u with %zu slots", class_index, slots);
    *at += pn_object_bytes(slots);
    if (object) *object = o;
    return PN_OK;
}

// Reading the pages of the class table along with the class list, which is in the same order.
typedef struct PageReader {
    uint64_t at;    // address behind the pages so far
    uint64_t empty; // address of the page that stands for all without classes, once met
    size_t next;    // first class of the list that no page has had
} PageReader;

static bool next_class_is_in(const ImageCheck *c, const PageReader *r, uint32_t page) {
    return r->next < c->header->class_count && c->tables.indices[r->next] / PN_CLASS_PAGE_SLOTS == page;
}

// The class that the list has for index, or nil.
static uint64_t take_listed_class(const ImageCheck *c, PageReader *r, uint32_t index) {
    if (r->next >= c->header->class_count || c->tables.indices[r->next] != index) return c->header->nil;
    return c->tables.classes[r->next++];
}

// Page `number` of the roots: the object behind those before it, or the empty one again.
static PnStatus check_class_page(ImageCheck *c, PageReader *r, uint64_t bits, uint32_t number) {
    bool has_class = next_class_is_in(c, r, number);
    if (bits == r->empty && !has_class) return PN_OK;
    if (bits != r->at + 8)
        return pn_check_failed(c, c->areas[0].file_offset, "page %u of the class table is elsewhere", number);
    Oop page = PN_NO_OOP;
    PnStatus status = take_object(c, &r->at, PN_CLASS_HIDDEN_ARRAY, PN_CLASS_PAGE_SLOTS, &page);
    if (status != PN_OK) return status;
    if (!has_class) r->empty = bits;
    for (uint32_t i = 0; i < PN_CLASS_PAGE_SLOTS; i++) {
        uint32_t index = number * PN_CLASS_PAGE_SLOTS + i;
        if (oop_slot(page, i).bits != take_listed_class(c, r, index))
            return pn_check_failed(c, pn_check_offset(c, oop_slots(page) + i),
                                   "class table and class list contradict each other at index %u", index);
    }
    return PN_OK;
}

static PnStatus check_class_table(ImageCheck *c, Oop roots, uint64_t *at) {
    PageReader r = {.at = *at};
    uint32_t pages = 0;
    while (pages < PN_CLASS_PAGES && !is_nil(c, oop_slot(roots, pages).bits)) {
        PnStatus status = check_class_page(c, &r, oop_slot(roots, pages).bits, pages);
        if (status != PN_OK) return status;
        pages++;
    }
    size_t offset = pn_check_offset(c, oop_address(roots));
    if (pages < 2 || r.next != c->header->class_count)
        return pn_check_failed(c, offset, "pages of the class table are missing");
    for (size_t i = pages; i < PN_HIDDEN_ROOT_SLOTS; i++)
        if (!is_nil(c, oop_slot(roots, i).bits))
            return pn_check_failed(c, pn_check_offset(c, oop_slots(roots) + i),
                                   "a hidden root that Pando does not use");
    *at = r.at;
    return PN_OK;
}

static PnStatus check_beginning(ImageCheck *c) {
    if (c->header->depth != 0) {
        c->hidden_end = (const uint64_t *)(const void *)c->areas[0].memory;
        return PN_OK;
    }
    uint64_t at = c->areas[0].start;
    Oop roots = PN_NO_OOP;
    PnStatus status = take_object(c, &at, PN_CLASS_UNDEFINED_OBJECT, 0, NULL);
    if (status == PN_OK) status = take_object(c, &at, PN_CLASS_FALSE, 0, NULL);
    if (status == PN_OK) status = take_object(c, &at, PN_CLASS_TRUE, 0, NULL);
    if (status == PN_OK) status = take_object(c, &at, PN_CLASS_HIDDEN_WORDS, PN_FREE_LIST_SLOTS, NULL);
    if (status == PN_OK) status = take_object(c, &at, PN_CLASS_HIDDEN_ARRAY, PN_HIDDEN_ROOT_SLOTS, &roots);
    if (status == PN_OK) status = check_class_table(c, roots, &at);
    c->hidden_end = (const uint64_t *)(const void *)(c->areas[0].memory + (at - c->areas[0].start));
    return status;
}

static PnStatus check_special_objects(ImageCheck *c) {
    uint64_t bits = c->header->special_objects, nil = c->header->nil;
    Oop array = pn_check_object(c, bits);
    size_t offset = offsetof(ImageHeader, special_objects);
    if (oop_is_none(array) && pn_check_is_unknown(c, bits)) return PN_OK;
    if (oop_is_none(array) || oop_class_index(array) != PN_CLASS_ARRAY || oop_slot_count(array) < PN_SPECIAL_COUNT)
        return pn_check_failed(c, offset, "the special objects are no array that is large enough");
    if (pn_check_slot(c, array, PN_SPECIAL_NIL) != nil || pn_check_slot(c, array, PN_SPECIAL_FALSE) != nil + 16 ||
        pn_check_slot(c, array, PN_SPECIAL_TRUE) != nil + 32)
        return pn_check_failed(c, offset, "the special objects do not begin with nil, false and true");
    return PN_OK;
}

// ---- Open-addressed tables -------------------------------------------------------------------------------------

// A search ends at a free place, so it costs at most the length of a run of used ones. The sum of the squares of
// these lengths bounds what it costs to look for all that is in the table; well-filled tables have about 20 for each
// place.
#define RUNS_LIMIT 1024

static bool runs_are_short(const uint64_t *places, size_t capacity, size_t words, uint64_t *used) {
    uint64_t run = 0, squares = 0;
    *used = 0;
    for (size_t i = 0; i < capacity; i++) {
        run = places[i * words] != 0 ? run + 1 : 0;
        *used += places[i * words] != 0;
        squares += 2 * run; // sum of 1 .. n, twice, is n squared and n
        if (squares > RUNS_LIMIT * (capacity + 64)) return false;
    }
    return true;
}

// ---- Symbols ---------------------------------------------------------------------------------------------------

// A set of spellings, to find two that are equal. Its hash is seeded, so that nobody can choose spellings that collide.
typedef struct SpellingSet {
    Oop *places;
    size_t mask, count;
    uint64_t seed;
} SpellingSet;

static bool spelled_alike(Oop a, Oop b) {
    return oop_byte_count(a) == oop_byte_count(b) && memcmp(oop_bytes(a), oop_bytes(b), oop_byte_count(a)) == 0;
}

// False if it is there already.
static bool add_spelling(SpellingSet *set, Oop symbol) {
    uint64_t at = pn_hash_bytes(oop_bytes(symbol), oop_byte_count(symbol), set->seed) & set->mask;
    for (; !oop_is_none(set->places[at]); at = (at + 1) & set->mask)
        if (spelled_alike(set->places[at], symbol)) return false;
    set->places[at] = symbol;
    set->count++;
    return true;
}

static PnStatus check_symbol(ImageCheck *c, SpellingSet *set, Oop symbol) {
    size_t at = pn_check_offset(c, oop_address(symbol));
    if (!oop_is_bytes(symbol)) return pn_check_failed(c, at, "a symbol that is not bytes");
    if (hdr_hash(oop_header(symbol)) != pn_symbol_hash((const char *)oop_bytes(symbol), oop_byte_count(symbol)))
        return pn_check_failed(c, at, "a symbol with another hash than its spelling has");
    if (set->count > set->mask / 4 * 3) return pn_check_failed(c, at, "more symbols than the symbol table has");
    if (!add_spelling(set, symbol)) return pn_check_failed(c, at, "two symbols with the same spelling");
    return PN_OK;
}

static PnStatus check_symbol_objects(ImageCheck *c, SpellingSet *set) {
    const Area *area = &c->areas[0];
    uint64_t *start = (uint64_t *)(uintptr_t)area->memory, *end = start + area->bytes / 8;
    for (uint64_t *p = start; p < end;) {
        Oop o = oop_from_start(p);
        PnStatus status = oop_class_index(o) == PN_CLASS_BYTE_SYMBOL ? check_symbol(c, set, o) : PN_OK;
        if (status != PN_OK) return status;
        p = oop_end(o);
    }
    if (set->count != c->header->symbol_count)
        return pn_check_failed(c, offsetof(ImageHeader, symbol_count), "%zu symbols in the file instead of %llu",
                               set->count, (unsigned long long)c->header->symbol_count);
    return PN_OK;
}

// Whether all places from where a search for hash begins up to `at` are used; run: used places up to and including
// `at`.
static bool is_reachable(uint64_t hash, size_t at, uint64_t run, size_t mask) { return ((at - hash) & mask) < run; }

// The used places that end at the table's last one; a run goes on at its beginning.
static uint64_t run_at_end(const uint64_t *places, size_t capacity) {
    uint64_t run = 0;
    while (run < capacity && places[capacity - 1 - run] != 0) run++;
    return run;
}

static PnStatus check_symbol_places(ImageCheck *c, uint64_t *seen) {
    const uint64_t *places = c->tables.symbols;
    size_t capacity = c->header->symbol_capacity;
    uint64_t run = run_at_end(places, capacity);
    for (size_t at = 0; at < capacity; at++) {
        run = places[at] != 0 ? run + 1 : 0;
        if (places[at] == 0) continue;
        Oop o = places[at] - c->areas[0].start < c->areas[0].bytes ? pn_check_object(c, places[at]) : PN_NO_OOP;
        if (oop_is_none(o) || oop_class_index(o) != PN_CLASS_BYTE_SYMBOL)
            return entry_failed(c, &places[at], "an entry of the symbol table that is no symbol", places[at]);
        if (!is_reachable(hdr_hash(oop_header(o)), at, run, capacity - 1))
            return entry_failed(c, &places[at], "a symbol where it would not be found", places[at]);
        uint64_t word = (places[at] - c->areas[0].start) / 8, bit = UINT64_C(1) << (word % 64);
        if ((seen[word / 64] & bit) != 0)
            return entry_failed(c, &places[at], "a symbol twice in the table", places[at]);
        seen[word / 64] |= bit;
    }
    return PN_OK;
}

// As many entries as symbols, no entry twice: then each symbol is in the table.
static PnStatus check_symbol_table(ImageCheck *c) {
    uint64_t used = 0;
    if (!runs_are_short(c->tables.symbols, c->header->symbol_capacity, 1, &used))
        return entry_failed(c, c->tables.symbols, "a symbol table that is slow to search", used);
    if (used != c->header->symbol_count)
        return entry_failed(c, c->tables.symbols, "the symbol table has another number of symbols", used);
    uint64_t *seen = pn_check_bitmap(&c->areas[0]);
    if (!seen) return pn_error(c->error, PN_NO_MEMORY, 0, "no memory to check an image");
    PnStatus status = check_symbol_places(c, seen);
    pn_mem_free(seen);
    return status;
}

static PnStatus check_symbols(ImageCheck *c) {
    size_t capacity = 16;
    while (capacity < 2 * c->header->symbol_count) capacity *= 2;
    SpellingSet set = {.mask = capacity - 1, .seed = (uint64_t)(uintptr_t)c ^ c->header->sum};
    set.places = pn_mem_alloc_zeroed(capacity * sizeof *set.places);
    if (!set.places) return pn_error(c->error, PN_NO_MEMORY, 0, "no memory to check an image");
    PnStatus status = check_symbol_objects(c, &set);
    pn_mem_free(set.places);
    return status == PN_OK ? check_symbol_table(c) : status;
}

// ---- Overlay and filter ----------------------------------------------------------------------------------------

static bool is_key(ImageCheck *c, uint64_t bits) {
    if ((bits & PN_TAG_MASK) != 0 || pn_check_is_own(c, bits)) return false;
    return pn_check_is_reference(c, bits);
}

static PnStatus check_overlay_pair(ImageCheck *c, const Overlay *overlay, const Filter *filter, const uint64_t *pair) {
    if (!is_key(c, pair[0])) return entry_failed(c, pair, "a key of the overlay is no object of an ancestor", pair[0]);
    if (!pn_check_is_reference(c, pair[1]))
        return entry_failed(c, pair + 1, "a value of the overlay is no reference", pair[1]);
    if (!ref_is_none(pn_overlay_get(overlay, (Ref){pair[1]})))
        return entry_failed(c, pair + 1, "a value of the overlay is a key as well", pair[1]);
    if (pn_overlay_get(overlay, (Ref){pair[0]}).bits != pair[1])
        return entry_failed(c, pair, "a key of the overlay where it would not be found", pair[0]);
    if (!filter_may_hold(filter, pair[0]))
        return entry_failed(c, pair, "the filter lacks a key of the overlay", pair[0]);
    return PN_OK;
}

// Values lie in the file, or, where it has taken over its parent's entry, in an ancestor.
static PnStatus check_overlay(ImageCheck *c) {
    const ImageHeader *h = c->header;
    uint64_t used = 0, *entries = c->tables.overlay;
    if (!runs_are_short(entries, h->overlay_capacity, 2, &used))
        return entry_failed(c, entries, "an overlay that is slow to search", used);
    if (used != h->overlay_count) return entry_failed(c, entries, "the overlay has another number of entries", used);
    if (used == 0) return PN_OK;
    const Overlay overlay = {.entries = entries, .mask = h->overlay_capacity - 1, .count = used};
    const Filter filter = {.bits = c->tables.filter, .mask = 64 * h->filter_words - 1};
    for (size_t i = 0; i < h->overlay_capacity; i++) {
        if (entries[2 * i] == 0) continue;
        PnStatus status = check_overlay_pair(c, &overlay, &filter, &entries[2 * i]);
        if (status != PN_OK) return status;
    }
    c->overlay = overlay;
    return PN_OK;
}

PnStatus pn_check_tables(ImageCheck *c) {
    PnStatus status = check_overlay(c);
    if (status == PN_OK) status = check_beginning(c);
    if (status == PN_OK) status = check_classes(c);
    if (status == PN_OK) status = check_special_objects(c);
    if (status == PN_OK) status = check_symbols(c);
    return status;
}
