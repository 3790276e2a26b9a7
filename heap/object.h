// heap/object.h: what a value is, to the bit (64-bit Spur), and the only accessors to it.
//
// A value is 64 bits. Its low three bits are a tag: 001 SmallInteger, 010 Character, 100 SmallFloat64, 000 the
// address of a heap object. There are two C types for it, so that a forgotten deref does not compile:
//
//   Ref   a value as it lies in a slot, on a stack or in an argument. It may be stale: name an object of a layer
//         that this worker has copied, or a forwarder. It can be moved around, stored and compared by bits, and
//         nothing else.
//   Oop   a value in hand: an immediate, or an object that is current in this worker. Only pn_deref (heap/heap.h)
//         makes one from a Ref. An Oop is good until the next call that may copy, collect or become.
//
// ref_raw() takes a Ref in hand without following it. It is for heap/ and gc/, and for the interpreter's paths
// that compare a header which includes the immutable bit (see Note [Shared receivers] in heap/code.h).
//
// O1. Every object starts at a multiple of 8 and has at least one body word, so that it can become a forwarder.
// O2. A slot count of 255 in the header means: the true count is in the word before it, whose top byte is 0xFF too.
// O3. A pointer object's slots are all values; a raw object has none; a code object has its header and literals.
#ifndef PN_OBJECT_H
#define PN_OBJECT_H

#include "base/base.h"

typedef struct Ref {
    uint64_t bits;
} Ref;
typedef struct Oop {
    uint64_t bits;
} Oop;

#define PN_NO_REF ((Ref){0}) // no value at all; never a valid reference
#define PN_NO_OOP ((Oop){0})

static inline Ref ref_of(Oop o) { return (Ref){o.bits}; }
static inline Oop ref_raw(Ref r) { return (Oop){r.bits}; }
static inline bool ref_same(Ref a, Ref b) { return a.bits == b.bits; }
static inline bool ref_is_none(Ref r) { return r.bits == 0; }
static inline bool oop_is_none(Oop o) { return o.bits == 0; }

// ---- Immediates ---------------------------------------------------------------------------------

enum { PN_TAG_MASK = 7, PN_TAG_INT = 1, PN_TAG_CHAR = 2, PN_TAG_FLOAT = 4 };

#define PN_INT_MAX ((INT64_C(1) << 60) - 1)
#define PN_INT_MIN (-(INT64_C(1) << 60))
#define PN_CHAR_MAX ((UINT32_C(1) << 30) - 1)

static inline bool ref_is_immediate(Ref r) { return (r.bits & PN_TAG_MASK) != 0; }
static inline bool ref_is_int(Ref r) { return (r.bits & PN_TAG_INT) != 0; }
static inline bool ref_is_char(Ref r) { return (r.bits & PN_TAG_CHAR) != 0; }
static inline bool ref_is_small_float(Ref r) { return (r.bits & PN_TAG_FLOAT) != 0; }
static inline bool refs_are_ints(Ref a, Ref b) { return (a.bits & b.bits & PN_TAG_INT) != 0; }
static inline int64_t ref_int(Ref r) { return (int64_t)r.bits >> 3; }
static inline uint32_t ref_char(Ref r) { return (uint32_t)(r.bits >> 3); }
static inline bool int_fits(int64_t n) { return n >= PN_INT_MIN && n <= PN_INT_MAX; }
static inline Ref ref_from_int(int64_t n) { return (Ref){((uint64_t)n << 3) | PN_TAG_INT}; }
static inline Ref ref_from_char(uint32_t c) { return (Ref){((uint64_t)c << 3) | PN_TAG_CHAR}; }

// SmallFloat64: the double rotated left by one, exponent rebased by 896, shifted over the tag.
#define PN_FLOAT_REBASE (UINT64_C(896) << 53)
static inline double ref_float(Ref r) {
    uint64_t t = r.bits >> 3;
    if (t > 1) t += PN_FLOAT_REBASE;
    t = (t >> 1) | (t << 63);
    double d;
    memcpy(&d, &t, sizeof d);
    return d;
}
// Answer whether d can be an immediate, and if so put it into *result. Must be used whenever it can.
static inline bool ref_from_float(double d, Ref *result) {
    uint64_t raw;
    memcpy(&raw, &d, sizeof raw);
    uint64_t t = (raw << 1) | (raw >> 63);
    if (t > 1) {
        // Encodable: 896 < exponent <= 1151, or exponent 896 with a mantissa that is not 0.
        uint64_t u = t - PN_FLOAT_REBASE;
        if (u <= 1 || u >= (UINT64_C(1) << 61)) return false;
        t = u;
    }
    *result = (Ref){(t << 3) | PN_TAG_FLOAT};
    return true;
}

// ---- Header word --------------------------------------------------------------------------------
// bits 0-21 class index | 22 remembered | 23 immutable | 24-28 format | 29 guarded | 30 pinned | 31 grey | 32-53 hash | 55 marked
// | 56-63 slot count. In an object of a layer three bits mean something else, since no collector looks there:
// immutable is always set; grey: read-only by the user's wish; 29: deeply read-only.
// Remembered is below immutable and guarded (and not at 29, where Spur has it and images never set it), so that the store
// test tells three cases by one comparison: see pn_store_plain in heap/heap.h.

#define PN_HDR_CLASS_MASK UINT64_C(0x3FFFFF)
#define PN_HDR_REMEMBERED (UINT64_C(1) << 22)
#define PN_HDR_GUARDED (UINT64_C(1) << 29) // see Note [Guarded objects] in heap/cow.c
#define PN_HDR_IMMUTABLE (UINT64_C(1) << 23)
#define PN_HDR_FORMAT_SHIFT 24
#define PN_HDR_PINNED (UINT64_C(1) << 30)
#define PN_HDR_GREY (UINT64_C(1) << 31)
#define PN_HDR_HASH_SHIFT 32
#define PN_HDR_HASH_MASK (UINT64_C(0x3FFFFF) << PN_HDR_HASH_SHIFT)
#define PN_HDR_MARKED (UINT64_C(1) << 55)
#define PN_HDR_SLOTS_SHIFT 56
#define PN_HDR_USER_READ_ONLY PN_HDR_GREY           // in a layer
#define PN_HDR_DEEPLY_READ_ONLY (UINT64_C(1) << 29) // in a layer
#define PN_OVERFLOW_SLOTS 255
#define PN_OVERFLOW_COUNT_MASK ((UINT64_C(1) << 56) - 1)
#define PN_MAX_SLOTS (UINT64_C(1) << 40)
#define PN_MAX_CLASS_INDEX 0x3FFFFF

// A class key is what lookup caches compare: class index and immutable bit of a heap object, the tag of an immediate.
#define PN_CLASS_KEY_MASK UINT32_C(0xBFFFFF)

enum PnFormat {
    PN_FMT_EMPTY = 0,
    PN_FMT_FIXED = 1,
    PN_FMT_ARRAY = 2,
    PN_FMT_FIXED_ARRAY = 3,
    PN_FMT_WEAK = 4,
    PN_FMT_EPHEMERON = 5,
    PN_FMT_LAST_POINTERS = 5,
    PN_FMT_FORWARDED = 7, // as the format of a class: its instances are immediates
    PN_FMT_ELSEWHERE = 8, // pointer and size of bytes that lie elsewhere (counted buffers; reserved)
    PN_FMT_64 = 9,
    PN_FMT_32 = 10,
    PN_FMT_16 = 12,
    PN_FMT_8 = 16,
    PN_FMT_CODE = 24,
};

// Class indices with a fixed meaning. 1-55 are Spur's; 56-63 are Pando's.
enum PnClassIndex {
    PN_CLASS_FREE = 0,
    PN_CLASS_SMALL_INTEGER = 1,
    PN_CLASS_CHARACTER = 2,
    PN_CLASS_BRIDGE = 3, // bridge between segments; as a pun it is no class
    PN_CLASS_SMALL_FLOAT = 4,
    PN_CLASS_FORWARDED = 8,
    PN_CLASS_HIDDEN_ARRAY = 16,
    PN_CLASS_HIDDEN_WORDS = 19,
    PN_CLASS_LAST_HIDDEN = 31,
    PN_CLASS_LARGE_NEGATIVE = 32,
    PN_CLASS_LARGE_POSITIVE = 33,
    PN_CLASS_BOXED_FLOAT = 34,
    PN_CLASS_MESSAGE = 35,
    PN_CLASS_CONTEXT = 36,
    PN_CLASS_FULL_BLOCK_CLOSURE = 38,
    PN_CLASS_SEMAPHORE = 48,
    PN_CLASS_BYTE_ARRAY = 50,
    PN_CLASS_ARRAY = 51,
    PN_CLASS_BYTE_STRING = 52,
    PN_CLASS_BITMAP = 53,
    PN_CLASS_POINT = 54,
    PN_CLASS_BYTE_SYMBOL = 56,
    PN_CLASS_METHOD_DICTIONARY = 57,
    PN_CLASS_COMPILED_METHOD = 58,
    PN_CLASS_COMPILED_BLOCK = 59,
    PN_CLASS_ASSOCIATION = 60,
    PN_CLASS_UNDEFINED_OBJECT = 61,
    PN_CLASS_FALSE = 62,
    PN_CLASS_TRUE = 63,
    PN_CLASS_FIRST_FREE = 1024,
};

static inline uint64_t pn_header(size_t slots, uint32_t hash, uint32_t format, uint32_t class_index) {
    uint64_t count = slots < PN_OVERFLOW_SLOTS ? slots : PN_OVERFLOW_SLOTS;
    return count << PN_HDR_SLOTS_SHIFT | (uint64_t)hash << PN_HDR_HASH_SHIFT | (uint64_t)format << PN_HDR_FORMAT_SHIFT |
           class_index;
}
static inline uint32_t hdr_class_index(uint64_t h) { return (uint32_t)(h & PN_HDR_CLASS_MASK); }
static inline uint32_t hdr_format(uint64_t h) { return (uint32_t)(h >> PN_HDR_FORMAT_SHIFT) & 31; }
static inline uint32_t hdr_hash(uint64_t h) { return (uint32_t)(h >> PN_HDR_HASH_SHIFT) & 0x3FFFFF; }
static inline bool hdr_is_immutable(uint64_t h) { return (h & PN_HDR_IMMUTABLE) != 0; }

// ---- Objects ------------------------------------------------------------------------------------

static inline uint64_t *oop_address(Oop o) { return (uint64_t *)o.bits; }
static inline Oop oop_at_address(const void *header) { return (Oop){(uint64_t)(uintptr_t)header}; }
static inline uint64_t oop_header(Oop o) { return *oop_address(o); }
static inline void oop_set_header(Oop o, uint64_t h) { *oop_address(o) = h; }
static inline uint32_t oop_class_index(Oop o) { return hdr_class_index(oop_header(o)); }
static inline uint32_t oop_format(Oop o) { return hdr_format(oop_header(o)); }
static inline bool oop_is_immediate(Oop o) { return (o.bits & PN_TAG_MASK) != 0; }
static inline bool oop_is_pointers(Oop o) { return oop_format(o) <= PN_FMT_LAST_POINTERS; }
static inline bool oop_is_code(Oop o) { return oop_format(o) >= PN_FMT_CODE; }
static inline bool oop_is_bytes(Oop o) { return (oop_format(o) & 24) == PN_FMT_8; }
// Forwarders made by become: have the immutable bit set too, so that one bit says "do not touch without following".
static inline bool oop_is_forwarder(Oop o) { return oop_class_index(o) == PN_CLASS_FORWARDED; }
static inline bool ref_needs_follow_check(Ref r) { return (oop_header(ref_raw(r)) & PN_HDR_IMMUTABLE) != 0; }

static inline size_t oop_slot_count(Oop o) {
    size_t n = oop_header(o) >> PN_HDR_SLOTS_SHIFT;
    return PN_LIKELY(n < PN_OVERFLOW_SLOTS) ? n : oop_address(o)[-1] & PN_OVERFLOW_COUNT_MASK;
}
static inline bool oop_has_overflow(Oop o) { return oop_header(o) >> PN_HDR_SLOTS_SHIFT == PN_OVERFLOW_SLOTS; }
// Bytes occupied, overflow word included.
static inline size_t pn_object_bytes(size_t slots) {
    return slots < PN_OVERFLOW_SLOTS ? 8 + 8 * (slots ? slots : 1) : 16 + 8 * slots;
}
static inline size_t oop_bytes_occupied(Oop o) { return pn_object_bytes(oop_slot_count(o)); }
// Where the object's memory begins: its overflow word, or its header.
static inline uint64_t *oop_start(Oop o) { return oop_address(o) - (oop_has_overflow(o) ? 1 : 0); }
// The object whose memory begins at p, and the beginning of the memory after it: for walking a segment upward.
static inline Oop oop_from_start(uint64_t *p) {
    return oop_at_address(*p >> PN_HDR_SLOTS_SHIFT == PN_OVERFLOW_SLOTS ? p + 1 : p);
}
static inline uint64_t *oop_end(Oop o) { return oop_start(o) + oop_bytes_occupied(o) / 8; }

static inline Ref oop_slot(Oop o, size_t index) { return (Ref){oop_address(o)[1 + index]}; }
static inline Ref *oop_slots(Oop o) { return (Ref *)(void *)(oop_address(o) + 1); }
static inline uint8_t *oop_bytes(Oop o) { return (uint8_t *)(oop_address(o) + 1); }
// Store without asking anything: only into an object just made, or inside heap/ and gc/.
static inline void oop_init_slot(Oop o, size_t index, Ref value) { oop_address(o)[1 + index] = value.bits; }
// Length in bytes of a byte object or code object.
static inline size_t oop_byte_count(Oop o) { return 8 * oop_slot_count(o) - (oop_format(o) & 7); }

static inline uint32_t pn_format_for_bytes(size_t bytes) { return PN_FMT_8 + ((8 - bytes) & 7); }
static inline uint32_t pn_format_for_code(size_t bytes) { return PN_FMT_CODE + ((8 - bytes) & 7); }
static inline size_t pn_slots_for_bytes(size_t bytes) { return (bytes + 7) / 8; }

// How many slots of o, from slot 0, hold values (O3). Contexts count only what is below their stack pointer.
size_t pn_value_slots(Oop o);

// ---- Layouts of kernel objects the machine relies on (slot numbers) ------------------------------

enum {
    PN_BEHAVIOR_SUPERCLASS,
    PN_BEHAVIOR_METHOD_DICT,
    PN_BEHAVIOR_FORMAT,
    PN_BEHAVIOR_SLOTS,
    PN_CLASS_SUBCLASSES = 5,
    PN_CLASS_NAME = 6,
    PN_METACLASS_THIS_CLASS = 5
};
enum { PN_METHOD_DICT_TALLY, PN_METHOD_DICT_METHODS, PN_METHOD_DICT_FIRST_KEY };
enum { PN_BINDING_KEY, PN_BINDING_VALUE };
enum { PN_MESSAGE_SELECTOR, PN_MESSAGE_ARGUMENTS, PN_MESSAGE_LOOKUP_CLASS };
enum { PN_CLOSURE_OUTER, PN_CLOSURE_BLOCK, PN_CLOSURE_NUM_ARGS, PN_CLOSURE_RECEIVER, PN_CLOSURE_FIRST_COPIED };
enum {
    PN_CONTEXT_SENDER,
    PN_CONTEXT_PC,
    PN_CONTEXT_STACKP,
    PN_CONTEXT_METHOD,
    PN_CONTEXT_CLOSURE,
    PN_CONTEXT_RECEIVER,
    PN_CONTEXT_FIRST_TEMP
};

// A class's format word: bits 0-15 named slots, 16-20 instance format.
static inline uint32_t class_format_slots(int64_t f) { return (uint32_t)f & 0xFFFF; }
static inline uint32_t class_format_kind(int64_t f) { return (uint32_t)(f >> 16) & 31; }
static inline int64_t pn_class_format(uint32_t kind, uint32_t slots) { return (int64_t)kind << 16 | slots; }

// A code object's header word (slot 0, a SmallInteger).
static inline uint32_t code_header_literals(int64_t h) { return (uint32_t)h & 0x7FFF; }
static inline bool code_header_has_primitive(int64_t h) { return (h >> 16 & 1) != 0; }
static inline bool code_header_is_large(int64_t h) { return (h >> 17 & 1) != 0; }
static inline uint32_t code_header_temps(int64_t h) { return (uint32_t)(h >> 18) & 63; }
static inline uint32_t code_header_args(int64_t h) { return (uint32_t)(h >> 24) & 15; }
static inline bool code_header_is_sista(int64_t h) { return h < 0; }
#define PN_CODE_HEADER_SISTA PN_INT_MIN

// Index into the special objects array.
enum PnSpecial {
    PN_SPECIAL_NIL,
    PN_SPECIAL_FALSE,
    PN_SPECIAL_TRUE,
    PN_SPECIAL_PROCESSOR,
    PN_SPECIAL_DOES_NOT_UNDERSTAND = 20,
    PN_SPECIAL_CANNOT_RETURN = 21,
    PN_SPECIAL_SELECTORS = 23,
    PN_SPECIAL_MUST_BE_BOOLEAN = 25,
    PN_SPECIAL_CANNOT_INTERPRET = 34,
    PN_SPECIAL_ABOUT_TO_RETURN = 48,
    PN_SPECIAL_RUN_WITH_IN = 49,
    PN_SPECIAL_ATTEMPT_TO_ASSIGN = 50,
    PN_SPECIAL_ERROR_TABLE = 51,
    PN_SPECIAL_UNUSED_BYTECODE = 57,
    PN_SPECIAL_COUNT = 60,
};

#endif
