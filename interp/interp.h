// interp/interp.h: runs Sista V1 bytecode. Lookup, frames, contexts, primitives.
//
// May include heap/, gc/ (and later compiler/).
#ifndef PN_INTERP_H
#define PN_INTERP_H

#include "gc/gc.h"

// Must be called once, after pn_process_init. Binds Code records to entries and primitives.
void pn_interp_init(void);

// A system thread's own: one lookup cache for all workers that it runs.
typedef struct PnCacheEntry {
    uint64_t key; // world id << 24 | class key
    Ref selector; // 0: free
    const PnCell *cell;
} PnCacheEntry;
#define PN_CACHE_ENTRIES 2048
struct PnThread {
    PnCacheEntry cache[PN_CACHE_ENTRIES];
    uint32_t index_epoch;
    uint64_t lookups; // full lookups done
};
PnThread *pn_thread_new(void);
void pn_thread_free(PnThread *thread);

// Why a worker left the loop.
typedef enum PnLeave {
    PN_LEAVE_FINISHED,  // vm->result
    PN_LEAVE_SAFEPOINT, // a stop request, or PANDO_DEBUG=yield; can be entered again
    PN_LEAVE_FAILED,    // vm->more->failure
} PnLeave;

// Start a process in vm: it will send selector to receiver. The worker must have none.
PnStatus pn_start_send(WorkerVm *vm, Ref receiver, Ref selector, const Ref *arguments, size_t count);
// Run vm on this thread until it leaves.
PnLeave pn_run(PnThread *thread, WorkerVm *vm);
// Run many: each time a worker leaves, next(context, worker, why) answers the worker to go on with (on the same C frame), or NULL to return.
typedef WorkerVm *(*PnNext)(void *context, WorkerVm *vm, PnLeave why);
void pn_run_many(PnThread *thread, WorkerVm *vm, PnNext next, void *context);
// Start and run to the end, through safepoints. PN_REFUSED with text when the worker fails.
PnStatus pn_send(PnThread *thread, WorkerVm *vm, Ref receiver, Ref selector, const Ref *arguments, size_t count,
                 Ref *result, PnError *error);
// Any thread: vm leaves at its next safepoint. Pairs with the acquire in the loop's safepoint.
void pn_request_stop(WorkerVm *vm);

// ---- Lookup -----------------------------------------------------------------------------------------------
// The method that selector finds from class_object upward; PN_NO_OOP when none. Follows at every step.
Oop pn_lookup(WorkerVm *vm, Oop class_object, Ref selector);

// ---- Primitives --------------------------------------------------------------------------------------------
// A primitive gets receiver and arguments in place on the operand stack (references: deref before looking inside), answers its
// result, or PN_NO_REF after pn_fail. It fails without side effect. Registers are saved: it may collect; then it must read its
// arguments again from the stack.
typedef enum PnPrimError {
    PN_PRIM_GENERIC = 1,
    PN_PRIM_RECEIVER,
    PN_PRIM_ARGUMENT,
    PN_PRIM_INDEX,
    PN_PRIM_NUM_ARGS,
    PN_PRIM_INAPPROPRIATE,
    PN_PRIM_UNSUPPORTED,
    PN_PRIM_NO_MODIFICATION,
    PN_PRIM_NO_MEMORY,
    PN_PRIM_NO_C_MEMORY,
    PN_PRIM_NOT_FOUND,
    PN_PRIM_BAD_METHOD,
    PN_PRIM_LIMIT = 15,
    PN_PRIM_PINNED = 16,
} PnPrimError;
static inline Ref pn_fail(WorkerVm *vm, PnPrimError code) {
    vm->prim_error = code;
    return PN_NO_REF;
}
// The C function of a numbered primitive with so many arguments, or NULL. interp/primitives.def is the list.
PnPrimFn pn_primitive(uint32_t number, uint32_t arg_count);
// Charge work units against the budget, so that long primitives count as running.
static inline void pn_charge(WorkerVm *vm, size_t units) {
    vm->budget = vm->budget > units ? vm->budget - (uint32_t)units : 0;
}

// become:, both arrays already checked to be Arrays of equal size by the primitive. Answers 0 or a primitive error.
uint32_t pn_become(WorkerVm *vm, Oop from, Oop to, bool two_way, bool copy_hash);

// ---- Contexts ------------------------------------------------------------------------------------------------
// The context of the newest frame, made and married to it if there is none. May collect. PN_NO_OOP: no memory.
Oop pn_context_of_top(WorkerVm *vm);
Oop pn_context_of_link(WorkerVm *vm, uint64_t link_number);
// Whether a context is married to a living frame; then *walk describes it.
bool pn_context_frame(WorkerVm *vm, Oop context, FrameWalk *walk);
// Slot index (0-based, as in the object layout) of a context, looking at the frame if it is married. Sender: makes the context of the caller.
Ref pn_context_slot(WorkerVm *vm, Oop context, size_t index);
PnAccess pn_context_store(WorkerVm *vm, Oop context, size_t index, Ref value);
// All frames of the process become contexts without a frame; answers the newest (nil if no frame). Afterwards there is no frame.
Oop pn_contexts_divorce_all(WorkerVm *vm);
// All frames become contexts, and the newest gets a frame again, alone over a base link that goes on in its sender. False: no memory.
bool pn_contexts_reframe_top(WorkerVm *vm);
// Make the frame of a single context the top frame, over a base link that goes on in the context's sender. False: no memory.
bool pn_frame_of_context(WorkerVm *vm, Oop context);

// ---- Disassembler ----------------------------------------------------------------------------------------------
// Write the bytecodes of a method or block as text, one instruction a line: `  41 <E8 05> pushInteger: 5`.
void pn_disassemble(WorkerVm *vm, Oop code_object, FILE *out);
// One instruction at bytes[at], at < count. Writes its text (no newline) and answers its length in bytes, extensions included;
// 0 if bytes end in the middle of it.
size_t pn_disassemble_one(const uint8_t *bytes, size_t count, size_t at, char *text, size_t text_bytes);
// Check that bytecodes decode, jumps land on instructions, literals, temps and stack depth stay within bounds. Answers the
// deepest operand stack, or -1 with error filled (offset: of the offending byte within bytecodes).
int pn_bytecodes_check(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error);

// Print the frames of vm, newest first, for a debugger.
void pn_print_stack(WorkerVm *vm, FILE *out);

#endif
