// base/base.c: errors, assertions, switches, hashing of bytes.
//
// Owns pn_options. Called by everybody.
#include "base/base.h"

#include <stdarg.h>

PnOptions pn_options;

// ---- Errors and assertions ----------------------------------------------------------------------

PnStatus pn_error(PnError *error, PnStatus status, uint64_t offset, const char *format, ...) {
    if (error == NULL) return status;
    // The text may be made from the one that is replaced.
    PnError made = {.status = status, .offset = offset};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(made.text, sizeof made.text, format, arguments);
    va_end(arguments);
    *error = made;
    return status;
}

_Noreturn void pn_die(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "pando: %s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

// ---- Switches -----------------------------------------------------------------------------------

typedef struct Word {
    const char *text;
    size_t length;
} Word;

static bool word_is(Word w, const char *name) {
    return w.length == strlen(name) && memcmp(w.text, name, w.length) == 0;
}

static bool word_begins(Word *w, const char *prefix) {
    size_t length = strlen(prefix);
    if (w->length < length || memcmp(w->text, prefix, length) != 0) return false;
    w->text += length;
    w->length -= length;
    return true;
}

// Cut the word that ends at the first of the separators, or at the end, off the text.
static Word next_word(const char **text, const char *separators) {
    Word w = {*text, strcspn(*text, separators)};
    *text += w.length;
    if (**text != '\0') (*text)++;
    return w;
}

static bool word_number(Word w, uint64_t limit, uint64_t *number) {
    uint64_t n = 0;
    for (size_t i = 0; i < w.length; i++) {
        if (w.text[i] < '0' || w.text[i] > '9') return false;
        uint64_t digit = (uint64_t)(w.text[i] - '0');
        if (n > (limit - digit) / 10) return false;
        n = 10 * n + digit;
    }
    *number = n;
    return w.length > 0;
}

static bool take_trace(Word what, PnOptions *options) {
    const char *text = what.text;
    while (text < what.text + what.length) {
        Word w = next_word(&text, "+,");
        if (word_is(w, "gc")) options->trace_gc = true;
        else if (word_is(w, "image")) options->trace_image = true;
        else return false;
    }
    return what.length > 0;
}

static bool take_number(Word w, PnOptions *options) {
    uint64_t n;
    if (word_begins(&w, "stress-gc=") && word_number(w, UINT32_MAX, &n)) {
        options->stress_gc = (uint32_t)n;
        return true;
    }
    if (word_begins(&w, "seed=") && word_number(w, UINT64_MAX, &n) && n != 0) {
        options->seed = n;
        return true;
    }
    return false;
}

static bool take_word(Word w, PnOptions *options) {
    const struct {
        const char *name;
        bool *option;
    } flags[] = {
        {"verify", &options->verify}, {"copy-all", &options->copy_everything},
        {"poison", &options->poison}, {"poison-dead", &options->poison_dead},
        {"yield", &options->yield},
    };
    for (size_t i = 0; i < PN_COUNT_OF(flags); i++) {
        if (!word_is(w, flags[i].name)) continue;
        *flags[i].option = true;
        return true;
    }
    if (word_begins(&w, "trace=")) return take_trace(w, options);
    return take_number(w, options);
}

bool pn_options_parse(const char *text, PnOptions *options, PnError *error) {
    while (text != NULL && *text != '\0') {
        Word w = next_word(&text, ",");
        if (w.length == 0 || take_word(w, options)) continue;
        pn_error(error, PN_REFUSED, 0,
                 "PANDO_DEBUG: '%.*s' is not known; the words are verify, copy-all, poison, poison-dead, yield, "
                 "stress-gc=N, trace=gc+image, seed=N, separated by commas",
                 (int)pn_min(w.length, 60), w.text);
        return false;
    }
    return true;
}

// ---- xxHash64 (Yann Collet's algorithm) ----------------------------------------------------------

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t rotate_left(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline uint64_t read_64(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint32_t read_32(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t hash_round(uint64_t lane, uint64_t word) {
    return rotate_left(lane + word * PRIME_2, 31) * PRIME_1;
}

static inline uint64_t hash_merge(uint64_t h, uint64_t lane) { return (h ^ hash_round(0, lane)) * PRIME_1 + PRIME_4; }

// Four lanes over as many stripes of 32 bytes as there are; *at is left behind the last.
static uint64_t hash_stripes(const uint8_t **at, const uint8_t *end, uint64_t seed) {
    const uint8_t *p = *at;
    uint64_t lane[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
    for (; end - p >= 32; p += 32) {
        for (int i = 0; i < 4; i++) lane[i] = hash_round(lane[i], read_64(p + 8 * i));
    }
    *at = p;
    uint64_t h = rotate_left(lane[0], 1) + rotate_left(lane[1], 7) + rotate_left(lane[2], 12) +
                 rotate_left(lane[3], 18);
    for (int i = 0; i < 4; i++) h = hash_merge(h, lane[i]);
    return h;
}

// The bytes behind the last stripe, fewer than 32.
static uint64_t hash_tail(uint64_t h, const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) h = rotate_left(h ^ hash_round(0, read_64(p)), 27) * PRIME_1 + PRIME_4;
    if (end - p >= 4) {
        h = rotate_left(h ^ read_32(p) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        p += 4;
    }
    for (; p < end; p++) h = rotate_left(h ^ *p * PRIME_5, 11) * PRIME_1;
    return h;
}

uint64_t pn_hash_bytes(const void *bytes, size_t count, uint64_t seed) {
    if (count == 0) bytes = ""; // a NULL without bytes is as good
    const uint8_t *p = bytes;
    const uint8_t *end = p + count;
    uint64_t h = count >= 32 ? hash_stripes(&p, end, seed) : seed + PRIME_5;
    h = hash_tail(h + count, p, end);
    h = (h ^ h >> 33) * PRIME_2;
    h = (h ^ h >> 29) * PRIME_3;
    return h ^ h >> 32;
}
