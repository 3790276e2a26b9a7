// heap/worker.h: a worker's block: the hot part of its struct, its first stack, its first young space.
//
//   offset  bytes  what
//        0    256  WorkerVm, the hot part (four cache lines)
//      256    512  first stack chunk (its header of 56 bytes included)
//      768    512  first young block
//     1280         end; PN_WORKER_BYTES is at most 1,536
// Everything else (old space, overlay, remembered set, mark stack, private code, histograms) is behind pointers that are
// NULL in an idle worker.
#ifndef PN_WORKER_H
#define PN_WORKER_H

#include <stdatomic.h>

#include "heap/code.h"

// ---- Stack: two stacks that grow towards each other in one chunk ----------------------------------
//
//   base                                                                      end
//   | operands: receiver, args, temps, stack, receiver, args, ... sp>   <cp links |
//
// S1. Operands are values only, so a collector scans [base, sp) without knowing of frames.
// S2. The frame of link l has its receiver at fp[-1], arguments, (copied values,) temps from fp[0]; a block's closure at
//     fp[temp_count]; its operand stack above. The caller's operand stack ends where the callee's receiver is: a return
//     stores the result there.
// S3. A link's fp_delta is the distance to the caller's fp: frames hold no addresses of the stack, a chunk moves by memcpy.
// S4. A link's pc is where it goes on; true while another frame is above it or the registers are saved, and
//     replaced by &pn_trap_bytecode while the return trap is planted there (vm->trap holds the true one).
// S5. The oldest link of a chunk is PN_LINK_BASE (of a process) or PN_LINK_UNDERFLOW (goes on in chunk->prev). Its pc is
//     always the trap bytecode, its code NULL.
//
// Note [Return trap]. A copy makes receivers of frames stale. It follows the top frame's receiver itself and replaces
// the caller's pc by the trap bytecode. A return into that frame runs the trap, which follows the frame's receiver, puts
// the true pc back, and plants itself one frame down. So a return tests nothing and a copy costs the same at any depth.
// The trap may only move up when a newer copy plants it: on its way down it passes the older place.

typedef enum PnLinkFlags {
    PN_LINK_MARRIED = 1,   // aux is the frame's context
    PN_LINK_BASE = 2,      // oldest of a process; aux is the context to return to, or nil
    PN_LINK_UNDERFLOW = 4, // oldest of a chunk that is not the first
} PnLinkFlags;
// The sign bit of flags: the frame of a block. Method returns in it are non-local; one test of the sign tells.
#define PN_LINK_BLOCK (UINT32_C(1) << 31)

typedef struct Link {
    const uint8_t *pc;
    Code *code;
    uint32_t fp_delta; // bytes; written together with flags by one 64-bit store
    uint32_t flags;
    Ref aux; // meaningful only when flags is not 0
} Link;
_Static_assert(sizeof(Link) == 32, "see interp/");

typedef struct StackChunk StackChunk;
struct StackChunk {
    StackChunk *prev; // older one, or NULL
    Link *end;        // one past the oldest link
    Ref *saved_sp; // while a newer chunk is in use: registers as they were, receiver and arguments of the callee popped
    Ref *saved_fp;
    Link *saved_cp;
    uint64_t position; // number of links in all older chunks: position + (end - link) numbers a frame for its context
    uint32_t bytes;    // of the whole chunk, this header included
    bool is_embedded;  // in the worker block; not to be freed
    bool is_clean;     // holds no reference to a young object and has not been on top since that was found
    uint8_t unused[2];
};
static inline Ref *chunk_base(StackChunk *c) { return (Ref *)(void *)(c + 1); }

#define PN_STACK_COPY_LIMIT ((size_t)32 << 10) // a chunk grows by copying up to here, then a new one is linked

// The byte that the pc of S4 and S5 points at.
extern const uint8_t pn_trap_bytecode[8];
// Where a frame goes on that must not: one that could not return (interp/context.c).
#define pn_parked_pc (pn_trap_bytecode + 2)

// ---- Young space ----------------------------------------------------------------------------------
// Y1. One contiguous block [young_start, young_start + young_bytes): survivors below age_mark, eden above, next free word
//     vm->next. An object below the age mark has survived one collection and is promoted by the next.
// Y2. A young object has isRemembered set from birth; promotion clears it. So (header & mask) == want is the store test.

// ---- Overlay and filter ---------------------------------------------------------------------------
// A map from the address of a shared object to what stands for it. Open addressing, linear probing, at most 3/4 full.
typedef struct Overlay {
    uint64_t *entries; // pairs key, value; key 0 is free
    size_t mask;       // capacity - 1 (in pairs)
    size_t count;
} Overlay;

// One bit for each (address / 8) & mask; a set bit means: perhaps in an overlay.
typedef struct Filter {
    uint64_t *bits;
    uint64_t mask; // number of bits - 1
} Filter;

typedef struct RememberedSet RememberedSet;
typedef struct OldSpace OldSpace;
typedef struct WorkerMore WorkerMore;
typedef struct PnThread PnThread;

typedef enum PnWorkerState { // who moves it: interp/loop.c
    PN_WORKER_READY,         // can run: new, or left at a safepoint
    PN_WORKER_RUNNING,       // a thread is in the loop with it
    PN_WORKER_FINISHED,      // its base frame has returned; the result is vm->result
    PN_WORKER_FAILED,        // an error nobody handles; vm->more->failure says what
} PnWorkerState;

struct WorkerVm {
    // Owner only, line 0: the interpreter's registers while it is away, allocation.
    const uint8_t *pc;
    Ref *sp; // first free operand word
    Ref *fp;
    Link *cp;                // newest link
    uint64_t *next;          // first free word of eden
    uint64_t *limit;         // end of eden
    Ref nil;                 // false is 16 bytes on, true 32
    uint32_t budget;         // real sends and backward jumps until the next safepoint is taken
    _Atomic(uint32_t) xstop; // any thread: asks for the next safepoint to be taken, see pn_request_stop
    // Owner only, line 1: stores, sends.
    uint32_t store_mask, store_want; // Y2; marking switches its barrier on here
    uint64_t *young_start;
    uint64_t young_bytes;
    uint64_t *age_mark;
    uintptr_t site_base; // of world, see Note [Site words]
    uint64_t world_key;  // world id << 24: or-ed with a class key it is the key of the thread's lookup cache
    Filter filter;       // of the top layer, or the worker's own
    // Owner only, line 2: copy on write, stack.
    Layer *layer; // top of its stack of layers; NULL while a base is being built
    World *world;
    Overlay *overlay;  // its own; NULL until the first copy
    StackChunk *chunk; // the newest
    struct {
        Link *link;
        const uint8_t *pc;
    } trap;        // where the return trap is planted; link NULL: nowhere
    OldSpace *old; // NULL until something is promoted, copied or allocated there
    RememberedSet *remembered;
    // Owner only, line 3.
    PnThread *thread;    // while running: lookup cache of the thread
    WorkerMore *more;    // everything rare; NULL until needed, see pn_more
    Ref special_objects; // array; the layer's until it is written
    Ref result;
    uint32_t state;       // PnWorkerState
    uint32_t prim_error;  // code of the last primitive that failed
    uint32_t budget_full; // what budget is reset to
    uint32_t id;
    void *run_link;        // scheduler: next in a run queue
    uint32_t stress_count; // allocations until the next collection in stress mode
    uint32_t gc_count;
};
_Static_assert(sizeof(WorkerVm) == 256, "the hot part is four cache lines");

#define PN_FIRST_STACK_BYTES 512
#define PN_FIRST_YOUNG_BYTES 512
#define PN_WORKER_BYTES (sizeof(WorkerVm) + PN_FIRST_STACK_BYTES + PN_FIRST_YOUNG_BYTES)
_Static_assert(PN_WORKER_BYTES <= 1536, "an idle worker is one block of at most 1,536 bytes");

// A root held by C code: pn_root_push(vm, &root), root.ref is updated by every collection and freeze; pop in reverse order.
typedef struct Root Root;
struct Root {
    Ref ref;
    Root *prev;
};

typedef struct PnIndexShape {
    uint32_t index;
    Ref class_ref;
} PnIndexShape;

// The rare part of a worker.
struct WorkerMore {
    Root *roots;
    Code *codes;                  // private Code records
    struct CodeTable *code_table; // code object's identity hash -> Code; heap/code.c
    struct CodeExtent *extents;   // memory of private bytecodes; heap/code.c
    uint32_t *own_indices;        // class indices this worker has taken (its private classes)
    size_t own_index_count, own_index_capacity;
    PnIndexShape *obsolete; // indices whose shape this worker has left: index -> obsolete class of that shape (H7)
    size_t obsolete_count;
    struct MarkStack *mark_stack;
    struct PauseStats *pauses;
    StackChunk *spare_chunk;    // emptied stack chunk, kept against thrashing at its boundary
    struct LargeMapping *large; // page-mapped copies of large shared objects
    PnError failure;
    World *own_world; // once behaviour has changed
    uint64_t copies;  // shared objects copied so far
    uint64_t copied_bytes;
    uint64_t memory_limit; // bytes, 0: none
    bool limit_noticed;    // asked for more than the limit; raised at the next safepoint
    bool behavior_changed; // since the last freeze
    uint32_t hash_seed;
    void *gc_state; // gc/: state machine of the old collector
};

static inline Ref vm_nil(const WorkerVm *vm) { return vm->nil; }
static inline Ref vm_false(const WorkerVm *vm) { return (Ref){vm->nil.bits + 16}; }
static inline Ref vm_true(const WorkerVm *vm) { return (Ref){vm->nil.bits + 32}; }
static inline Ref vm_bool(const WorkerVm *vm, bool b) { return (Ref){vm->nil.bits + 16 + 16 * (uint64_t)b}; }

static inline bool vm_is_young(const WorkerVm *vm, uint64_t address) {
    return address - (uint64_t)(uintptr_t)vm->young_start < vm->young_bytes;
}
static inline bool ref_is_young(const WorkerVm *vm, Ref r) { return !ref_is_immediate(r) && vm_is_young(vm, r.bits); }

// A worker standing on layer (NULL: on nothing, to build a base; see heap/boot.c), without a process. Takes one count of
// the layer. NULL when memory is short. One allocation, from slabs.
WorkerVm *pn_worker_new(Layer *layer);
// It ends: its memory, copies, code, class indices go back.
void pn_worker_free(WorkerVm *vm);
// Bytes a worker holds: its block, and everything made since.
size_t pn_worker_bytes(const WorkerVm *vm);
// The rare part, made if it is not there yet. Never NULL: dies if not even that can be had.
WorkerMore *pn_more(WorkerVm *vm);

void pn_root_push(WorkerVm *vm, Root *root, Ref ref);
void pn_root_pop(WorkerVm *vm, Root *root);

#endif
