// base/base.h: what every part of Pando stands on: status codes, assertions, memory, switches.
//
// Depends on nothing of ours. Every other folder may include it.
#ifndef PN_BASE_H
#define PN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Build switches (see `make help`) -----------------------------------------------------------

#ifndef PN_COW // 0: no sharing at all; layers are loaded as private objects. Only to measure its price.
#define PN_COW 1
#endif
#ifndef PN_DEBUG // 1: assertions on, small first sizes.
#define PN_DEBUG 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PN_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PN_SANITIZED 1
#endif
#endif
#ifndef PN_SANITIZED
#define PN_SANITIZED 0
#endif

#define PN_LIKELY(x) __builtin_expect(!!(x), 1)
#define PN_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PN_NOINLINE __attribute__((noinline))
#define PN_COLD __attribute__((noinline, cold))
#define PN_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define PN_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// ---- Status: the machine's fault (memory, files, bad images) ------------------------------------

typedef enum PnStatus {
    PN_OK = 0,
    PN_NO_MEMORY,   // the system gives no more memory or address space
    PN_LIMIT,       // a limit of this worker or of the process is reached
    PN_IO,          // a file cannot be opened, read, written or mapped
    PN_BAD_IMAGE,   // a file is not an image, or is damaged
    PN_WRONG_BASE,  // a layer file was made above another base
    PN_INDEX_CLASH, // two layer files claim the same class indices
    PN_REFUSED,     // asked for at a moment when it cannot be done
} PnStatus;

// A status with its text: what happened, where, and what to try. `text` is empty when status is PN_OK.
typedef struct PnError {
    PnStatus status;
    uint64_t offset; // for PN_BAD_IMAGE: byte offset in the file
    char text[240];
} PnError;

// Fill error (may be NULL) and answer status, so that a caller can write `return pn_error(...)`.
PnStatus pn_error(PnError *error, PnStatus status, uint64_t offset, const char *format, ...) PN_PRINTF(4, 5);

// ---- Assertions: our own fault ------------------------------------------------------------------

// Print the text with file and line and abort. Never returns.
_Noreturn void pn_die(const char *file, int line, const char *format, ...) PN_PRINTF(3, 4);

// Always on, also in release builds: where going on would corrupt an image.
#define PN_CHECK(condition, ...)                                                                                       \
    do {                                                                                                               \
        if (PN_UNLIKELY(!(condition))) pn_die(__FILE__, __LINE__, __VA_ARGS__);                                        \
    } while (0)
#if PN_DEBUG
#define PN_ASSERT(condition, ...) PN_CHECK(condition, __VA_ARGS__)
#else
#define PN_ASSERT(condition, ...)                                                                                      \
    do { (void)sizeof(!(condition)); } while (0)
#endif

// ---- Memory outside the object heap: one allocator interface ------------------------------------
// mimalloc by default, jemalloc or libc chosen by `make MALLOC=`. All answer NULL when out of memory.

void *pn_mem_alloc(size_t bytes);
void *pn_mem_alloc_zeroed(size_t bytes);
void *pn_mem_alloc_aligned(size_t bytes, size_t alignment);
void *pn_mem_realloc(void *memory, size_t bytes);
void pn_mem_free(void *memory);

// ---- Switches read once from PANDO_DEBUG ---------------------------------------------------------
// In words, separated by commas: PANDO_DEBUG=verify,stress-gc=1,copy-all,poison,yield,seed=42

typedef struct PnOptions {
    bool verify;          // verify: check the whole heap after each collection and each freeze
    bool copy_everything; // copy-all: copy every shared object at its first touch
    bool poison;          // poison: layers are mapped private; a copy overwrites its original
    bool poison_dead;     // poison-dead: memory that dies in a collection is overwritten
    bool yield;           // yield: leave the interpreter at every safepoint
    uint32_t stress_gc;   // stress-gc=N: collect at every Nth allocation (0: off)
    bool trace_gc;        // trace=gc: one line on stderr for each collection
    bool trace_image;     // trace=image: what was mapped, read or relocated
    uint64_t seed;        // seed=N: for everything that chooses at random
} PnOptions;

extern PnOptions pn_options; // constant after pn_process_init, except in tests

// Parse text (as in PANDO_DEBUG; NULL means none) into options. Answers false, with the offending word
// in error, if a word is not known; the words before it have been taken.
bool pn_options_parse(const char *text, PnOptions *options, PnError *error);

// ---- Arithmetic ---------------------------------------------------------------------------------

static inline size_t pn_round_up(size_t n, size_t power_of_two) { return (n + power_of_two - 1) & ~(power_of_two - 1); }
static inline size_t pn_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t pn_max(size_t a, size_t b) { return a > b ? a : b; }

// xorshift64*: the generator of tests and stress modes. *state must not be 0.
static inline uint64_t pn_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

// Seedable 64-bit hash of bytes (xxHash64, Yann Collet). Used for content hashes and checksums.
uint64_t pn_hash_bytes(const void *bytes, size_t count, uint64_t seed);

#endif
