// heap/verify_int.h: what the parts of the verifier share: a map of all memory this worker may refer to.
//
// Nothing is dereferenced before the map says that an object begins there, so a broken heap is reported, not run into.
// verify.c makes the map and runs the checks; verify_layers.c and verify_worker.c have them. Included by these three
// only.
#ifndef PN_VERIFY_INT_H
#define PN_VERIFY_INT_H

#include "heap/heap_int.h"

// EXTENT_JOINED: a layer that a worker without layers (thawed, or building a base) uses for its symbols, nothing else.
typedef enum ExtentKind { EXTENT_LAYER, EXTENT_JOINED, EXTENT_SYMBOLS, EXTENT_OLD, EXTENT_YOUNG } ExtentKind;

// A range of memory filled with objects.
typedef struct Extent {
    uint64_t start, end;
    uint64_t *heads;    // one bit for each word: set where the header of an object lies that is no free chunk
    const Layer *layer; // of EXTENT_LAYER
    ExtentKind kind;
} Extent;

typedef struct Verify {
    WorkerVm *vm;
    PnViolation *violation;
    Extent *extents; // sorted by address
    size_t count, capacity;
} Verify;

// Record the violation of a rule. Answers false, so that a check can return it.
bool pn_verify_fails(Verify *v, const char *rule, const char *format, ...) PN_PRINTF(3, 4);
// The extent that address lies in, or NULL.
const Extent *pn_verify_extent(const Verify *v, uint64_t address);
// The extent of the object that address is the header of, or NULL if no object is there.
const Extent *pn_verify_object(const Verify *v, uint64_t address);
// Add the objects between start and end to the map; fails if they cannot be walked.
bool pn_verify_add(Verify *v, ExtentKind kind, const Layer *layer, uint64_t start, uint64_t end);

static inline bool extent_is_private(const Extent *e) { return e->kind == EXTENT_OLD || e->kind == EXTENT_YOUNG; }
static inline bool extent_is_shared(const Extent *e) { return !extent_is_private(e); }

// Look at each object of the extents that are wanted, until a check fails.
typedef bool (*VerifyObject)(Verify *v, const Extent *e, Oop o);
bool pn_verify_each(Verify *v, bool (*wanted)(const Extent *e), VerifyObject check);

// Whether r is a value (O3); if it names an object, *target is its extent, else NULL. NULL as well when it names
// none: then *is_object is true.
typedef struct VerifyRef {
    bool is_value;
    bool is_object;       // tag 000
    const Extent *target; // where the object lies; NULL: there is no such object
} VerifyRef;
VerifyRef pn_verify_ref(const Verify *v, Ref r);

// In poison mode: the body of an original that has a copy, to be left alone.
bool pn_verify_is_poisoned(const Extent *e, Oop o);

typedef bool (*VerifyCheck)(Verify *v);
bool pn_verify_layer_bounds(Verify *v); // these two before the map is made
bool pn_verify_young_bounds(Verify *v);
extern const VerifyCheck pn_verify_layer_checks[];  // NULL at the end
extern const VerifyCheck pn_verify_worker_checks[]; // NULL at the end

#endif
