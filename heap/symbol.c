// heap/symbol.c: one address per spelling in the process.
//
// Owns: the symbol region of the window and the table of the symbols made there; the list of layers whose frozen tables
// have joined. A lookup asks the run-time table first, without any lock, then the layers. Any thread.
// Invariants: H8 (heap/heap.h).
//
// Note [Symbol region]. A memfd mapped twice, readable in the window and writable elsewhere. A symbol is a ByteSymbol
// with the three bits that say immutable, read-only by the user's wish, deeply read-only. It is preceded by a free
// chunk of 16 bytes whose slot is the next symbol of the same bucket: so the region can be walked like a segment, and
// the table's chains need no memory elsewhere. Room is taken with one atomic addition, filled, entered in its bucket,
// and only then the first word of the link chunk is written: what a walker meets is complete, and is in the table or a
// free chunk.
//
// Note [Joining]. Whoever makes a symbol, or looks into the frozen tables, holds joined_lock for reading; a layer that
// joins or leaves holds it for writing. So no spelling can be made while a layer that brings it along joins, and no
// layer goes away under a reader.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/heap_int.h"

#define PN_SYMBOL_BUCKETS ((size_t)1 << 16)
#define PN_SYMBOL_STEP ((uint64_t)256 << 10) // the region's pages are reserved in steps, so that writing cannot fail
#define PN_SYMBOL_LINK_BYTES ((size_t)16)
#define PN_LINK_HEADER (UINT64_C(1) << PN_HDR_SLOTS_SHIFT) // a free chunk of one slot

static struct {
    uint8_t *writable;         // constant after start: the second mapping, and the file of both
    int fd;                    //
    _Atomic(uint64_t) xtop;    // bytes taken
    _Atomic(uint64_t) xbacked; // bytes that have pages; grows under backing_mutex
    _Atomic(size_t) xcount;
} region = {.fd = -1};
static pthread_mutex_t backing_mutex = PTHREAD_MUTEX_INITIALIZER;

static _Atomic(uint64_t) buckets[PN_SYMBOL_BUCKETS]; // address of the newest symbol, 0: none

static pthread_rwlock_t joined_lock = PTHREAD_RWLOCK_INITIALIZER;
static Layer *joined; // under joined_lock

typedef struct Spelling {
    const char *bytes;
    size_t count;
    uint32_t hash;
} Spelling;

// ---- Spellings ----------------------------------------------------------------------------------

// Files depend on it: frozen tables are in the order of these hashes.
uint32_t pn_symbol_hash(const char *bytes, size_t count) {
    uint64_t h = pn_hash_bytes(bytes, count, 0);
    uint32_t folded = (uint32_t)(h ^ h >> 22 ^ h >> 44) & 0x3FFFFF;
    return folded != 0 ? folded : 1;
}

static Spelling spelling_of(Oop symbol) {
    return (Spelling){(const char *)oop_bytes(symbol), oop_byte_count(symbol), hdr_hash(oop_header(symbol))};
}

static bool symbol_is_spelled(Oop symbol, const Spelling *s) {
    return hdr_hash(oop_header(symbol)) == s->hash && oop_byte_count(symbol) == s->count &&
           memcmp(oop_bytes(symbol), s->bytes, s->count) == 0;
}

// ---- The run-time table -------------------------------------------------------------------------

static _Atomic(uint64_t) *bucket_of(const Spelling *s) { return &buckets[s->hash % PN_SYMBOL_BUCKETS]; }

static Ref next_in_bucket(Ref symbol) { return (Ref){oop_start(ref_raw(symbol))[-1]}; }

// Look through a chain down to end.
static Ref find_in_chain(Ref first, Ref end, const Spelling *s) {
    for (Ref r = first; !ref_same(r, end); r = next_in_bucket(r))
        if (symbol_is_spelled(ref_raw(r), s)) return r;
    return PN_NO_REF;
}

// acquire: pairs with the release in enter_in_bucket; the symbol and its link have been written.
static Ref newest_in_bucket(const Spelling *s) {
    return (Ref){atomic_load_explicit(bucket_of(s), memory_order_acquire)};
}

static Ref find_made(const Spelling *s) { return find_in_chain(newest_in_bucket(s), PN_NO_REF, s); }

// ---- Making one ---------------------------------------------------------------------------------

// Where the window address lies in the writable mapping.
static uint64_t *writable_at(uint64_t address) {
    return (uint64_t *)(void *)(region.writable + (address - PN_SYMBOLS));
}

static bool back_region(uint64_t end) {
    if (PN_LIKELY(end <= atomic_load_explicit(&region.xbacked, memory_order_acquire))) return true;
    pthread_mutex_lock(&backing_mutex);
    uint64_t backed = atomic_load_explicit(&region.xbacked, memory_order_relaxed);
    uint64_t wanted = pn_round_up(end, PN_SYMBOL_STEP);
    bool has_pages = wanted <= backed || pn_reserve_file(region.fd, backed, wanted - backed);
    // release: pairs with the load above, on another thread.
    if (has_pages && wanted > backed) atomic_store_explicit(&region.xbacked, wanted, memory_order_release);
    pthread_mutex_unlock(&backing_mutex);
    return has_pages;
}

// Take room; 0 if the region is full. The order of takers does not matter: relaxed.
static uint64_t take_room(size_t bytes) {
    uint64_t top = atomic_load_explicit(&region.xtop, memory_order_relaxed);
    do {
        if (bytes > PN_SYMBOLS_BYTES - top || !back_region(top + bytes)) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&region.xtop, &top, top + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return PN_SYMBOLS + top;
}

static uint64_t symbol_header(const Spelling *s) {
    return pn_header(pn_slots_for_bytes(s->count), s->hash, pn_format_for_bytes(s->count), PN_CLASS_BYTE_SYMBOL) |
           PN_HDR_IMMUTABLE | PN_HDR_USER_READ_ONLY | PN_HDR_DEEPLY_READ_ONLY;
}

// Write the object behind the link chunk at `chunk`; answers the symbol, which nobody can see yet.
static Ref write_symbol(uint64_t chunk, const Spelling *s) {
    size_t slots = pn_slots_for_bytes(s->count);
    uint64_t at = chunk + PN_SYMBOL_LINK_BYTES;
    if (slots >= PN_OVERFLOW_SLOTS) {
        *writable_at(at) = UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT | slots;
        at += 8;
    }
    uint64_t *header = writable_at(at);
    header[0] = symbol_header(s);
    memcpy(header + 1, s->bytes, s->count); // the rest of the last word reads 0
    return (Ref){at};
}

// Put the symbol in front of its bucket, unless another thread has made the same since `seen` was the newest: then
// answer that.
static Ref enter_in_bucket(Ref symbol, uint64_t chunk, Ref seen, const Spelling *s) {
    for (;;) {
        writable_at(chunk)[1] = seen.bits;
        uint64_t newest = seen.bits;
        // release: publishes the symbol and its link; acquire: we look at what another has put there.
        if (atomic_compare_exchange_strong_explicit(bucket_of(s), &newest, symbol.bits, memory_order_acq_rel,
                                                    memory_order_acquire))
            return symbol;
        Ref made = find_in_chain((Ref){newest}, seen, s);
        if (!ref_is_none(made)) return made;
        seen = (Ref){newest};
    }
}

// From now on walkers go past the chunk. release: pairs with the acquire in first_word.
static void finish_chunk(uint64_t chunk) {
    _Atomic(uint64_t) *word = (_Atomic(uint64_t) *)(void *)writable_at(chunk);
    atomic_store_explicit(word, PN_LINK_HEADER, memory_order_release);
}

static Ref make_symbol(const Spelling *s) {
    Ref seen = newest_in_bucket(s);
    Ref made = find_in_chain(seen, PN_NO_REF, s);
    if (!ref_is_none(made)) return made;
    if (s->count > PN_SYMBOLS_BYTES) return PN_NO_REF;
    uint64_t chunk = take_room(PN_SYMBOL_LINK_BYTES + pn_object_bytes(pn_slots_for_bytes(s->count)));
    if (chunk == 0) return PN_NO_REF;
    Ref symbol = write_symbol(chunk, s);
    made = enter_in_bucket(symbol, chunk, seen, s);
    if (ref_same(made, symbol)) {
        atomic_fetch_add_explicit(&region.xcount, 1, memory_order_relaxed);
    } else { // another thread was first: leave a free chunk
        *writable_at(symbol.bits) &= UINT64_C(0xFF) << PN_HDR_SLOTS_SHIFT;
    }
    finish_chunk(chunk);
    return made;
}

// ---- Frozen tables of layers --------------------------------------------------------------------
// An array of Ref, linear probing from the hash, 0 is free; never full.

static Ref find_frozen(const Layer *layer, const Spelling *s) {
    size_t mask = layer->symbol_capacity - 1;
    for (size_t at = s->hash & mask, left = mask + 1; left > 0; at = (at + 1) & mask, left--) {
        Ref r = layer->symbols[at];
        if (ref_is_none(r)) return PN_NO_REF;
        if (symbol_is_spelled(ref_raw(r), s)) return r;
    }
    return PN_NO_REF;
}

static Ref find_joined(const Spelling *s) {
    for (const Layer *layer = joined; layer != NULL; layer = layer->next_joined) {
        Ref r = find_frozen(layer, s);
        if (!ref_is_none(r)) return r;
    }
    return PN_NO_REF;
}

// How many symbols of from exist elsewhere: in to, or, if to is NULL, among those made at run time.
static size_t count_clashes(const Layer *from, const Layer *to) {
    size_t clashes = 0;
    for (size_t at = 0; at < from->symbol_capacity; at++) {
        Ref r = from->symbols[at];
        if (ref_is_none(r)) continue;
        Spelling s = spelling_of(ref_raw(r));
        Ref other = to != NULL ? find_frozen(to, &s) : find_made(&s);
        clashes += !ref_is_none(other) && !ref_same(other, r);
    }
    return clashes;
}

static size_t count_made_in(const Layer *layer) {
    size_t clashes = 0;
    for (Oop o = pn_symbol_region_next(PN_NO_OOP); !oop_is_none(o); o = pn_symbol_region_next(o)) {
        Spelling s = spelling_of(o);
        Ref other = find_frozen(layer, &s);
        clashes += !ref_is_none(other) && !ref_same(other, ref_of(o));
    }
    return clashes;
}

// The smaller side is walked, the other one asked.
static size_t count_all_clashes(const Layer *layer) {
    size_t clashes = pn_symbol_count() < layer->symbol_capacity ? count_made_in(layer) : count_clashes(layer, NULL);
    for (const Layer *other = joined; other != NULL; other = other->next_joined) {
        bool other_is_smaller = other->symbol_capacity < layer->symbol_capacity;
        clashes += other_is_smaller ? count_clashes(other, layer) : count_clashes(layer, other);
    }
    return clashes;
}

static Layer **joined_link(const Layer *layer) {
    Layer **link = &joined;
    while (*link != NULL && *link != layer) link = &(*link)->next_joined;
    return link;
}

size_t pn_symbols_join(Layer *layer) {
    if (layer->symbol_capacity == 0) return 0;
    size_t clashes = 0;
    pthread_rwlock_wrlock(&joined_lock);
    if (*joined_link(layer) == NULL && (clashes = count_all_clashes(layer)) == 0) {
        layer->next_joined = joined;
        joined = layer;
    }
    pthread_rwlock_unlock(&joined_lock);
    return clashes;
}

void pn_symbols_leave(Layer *layer) {
    if (layer->symbol_capacity == 0) return;
    pthread_rwlock_wrlock(&joined_lock);
    Layer **link = joined_link(layer);
    if (*link != NULL) *link = layer->next_joined;
    pthread_rwlock_unlock(&joined_lock);
}

const Layer *pn_symbols_next_joined(const Layer *layer) {
    pthread_rwlock_rdlock(&joined_lock);
    const Layer *next = layer == NULL ? joined : layer->next_joined;
    pthread_rwlock_unlock(&joined_lock);
    return next;
}

// ---- Interning ----------------------------------------------------------------------------------

// What the run-time table does not have: look into the layers, then make it, if so asked.
static Ref find_or_make(const Spelling *s, bool make) {
    pthread_rwlock_rdlock(&joined_lock);
    Ref r = find_joined(s);
    if (ref_is_none(r) && make) r = make_symbol(s);
    pthread_rwlock_unlock(&joined_lock);
    return r;
}

static Ref intern(const char *bytes, size_t count, bool make) {
    Spelling s = {count != 0 ? bytes : "", count, pn_symbol_hash(bytes, count)};
    Ref r = find_made(&s);
    return PN_LIKELY(!ref_is_none(r)) ? r : find_or_make(&s, make);
}

Ref pn_symbol(const char *bytes, size_t count) { return intern(bytes, count, true); }

Ref pn_symbol_z(const char *zero_terminated) { return pn_symbol(zero_terminated, strlen(zero_terminated)); }

Ref pn_symbol_find(const char *bytes, size_t count) { return intern(bytes, count, false); }

size_t pn_symbol_count(void) { return atomic_load_explicit(&region.xcount, memory_order_relaxed); }

// ---- Walking ------------------------------------------------------------------------------------

// The first word of a link chunk. It is 0 for the moment that another thread needs to fill its room: wait for it.
static void wait_for_chunk(uint64_t chunk) {
    const _Atomic(uint64_t) *word = (const _Atomic(uint64_t) *)(uintptr_t)chunk;
    while (atomic_load_explicit(word, memory_order_acquire) == 0) sched_yield();
}

Oop pn_symbol_region_next(Oop o) {
    uint64_t chunk = oop_is_none(o) ? PN_SYMBOLS : (uint64_t)(uintptr_t)oop_end(o);
    uint64_t end = PN_SYMBOLS + atomic_load_explicit(&region.xtop, memory_order_relaxed);
    while (chunk < end) {
        wait_for_chunk(chunk);
        Oop behind = oop_from_start((uint64_t *)(uintptr_t)(chunk + PN_SYMBOL_LINK_BYTES));
        if (oop_class_index(behind) != PN_CLASS_FREE) return behind;
        chunk = (uint64_t)(uintptr_t)oop_end(behind);
    }
    return PN_NO_OOP;
}

// ---- Start --------------------------------------------------------------------------------------

static void *map_region(void *address, int protection, int how) {
    return mmap(address, PN_SYMBOLS_BYTES, protection, MAP_SHARED | MAP_NORESERVE | how, region.fd, 0);
}

PnStatus pn_symbols_init(PnError *error) {
    region.fd = memfd_create("pando-symbols", MFD_CLOEXEC);
    if (region.fd < 0) return pn_error(error, PN_NO_MEMORY, 0, "cannot make the symbol region: %s", strerror(errno));
    void *writable = map_region(NULL, PROT_READ | PROT_WRITE, 0);
    void *readable = map_region((void *)(uintptr_t)PN_SYMBOLS, PROT_READ, MAP_FIXED);
    if (writable == MAP_FAILED || readable == MAP_FAILED) {
        int why = errno;
        if (writable != MAP_FAILED) munmap(writable, PN_SYMBOLS_BYTES);
        close(region.fd);
        return pn_error(error, PN_NO_MEMORY, 0, "cannot map the symbol region: %s", strerror(why));
    }
    region.writable = writable;
    return PN_OK;
}
