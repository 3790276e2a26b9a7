// interp/loop.c: the interpreter's loop: registers, dispatch, how it is entered and left.
//
// The bytecodes themselves are in interp/ops.inc, once. They are compiled in one of two ways:
//   tail calls (clang 19: musttail, preserve_none): each is a function that ends in a jump to the next; the registers
//   below are machine registers all the time, and a slow path cannot make a fast one worse;
//   one function with computed goto: gcc, and the sanitizers.
// State lives in the worker: the loop can be left at any safepoint and entered for another worker on the same C frame.
//
// Registers of the loop (saved by SAVE, taken back by LOAD):
//   pc  next bytecode       sp  first free operand      fp  argument 0 of the running frame; its receiver is fp[-1]
//   cp  its link            b   the bytecode being executed, or the cell being entered
//   r   the receiver, while a send is looking for its cell and in entries reached through a site or the cache
#include "interp/loop_int.h"

#if defined(__clang__) && defined(__has_attribute) && !PN_SANITIZED && !defined(PN_NO_TAIL_CALLS)
#if __has_attribute(musttail) && __has_attribute(preserve_none)
#define PN_TAIL_CALLS 1
#endif
#endif
#ifndef PN_TAIL_CALLS
#define PN_TAIL_CALLS 0
#endif

#define SAVE()                                                                                                         \
    do {                                                                                                               \
        vm->pc = pc;                                                                                                   \
        vm->sp = sp;                                                                                                   \
        vm->fp = fp;                                                                                                   \
        vm->cp = cp;                                                                                                   \
    } while (0)
#define LOAD()                                                                                                         \
    do {                                                                                                               \
        pc = vm->pc;                                                                                                   \
        sp = vm->sp;                                                                                                   \
        fp = vm->fp;                                                                                                   \
        cp = vm->cp;                                                                                                   \
    } while (0)

// Take one from the budget; at 0 a safepoint is due.
#define COUNT_DOWN() __builtin_usub_overflow(vm->budget, 1, &vm->budget)

// ---- Small pieces that ops.inc is made of -----------------------------------------------------------

static inline uint64_t *site_word(const WorkerVm *vm, const uint8_t *pc) {
    return (uint64_t *)(vm->site_base + 8 * (uintptr_t)pc);
}
// The cell for a class key, if the site knows it; otherwise bits of PN_CLASS_KEY_MASK remain (Note [Site words]).
static inline uint64_t site_match(const WorkerVm *vm, const uint8_t *pc, uint64_t key) {
    // acquire: pairs with the release in site_write (interp/send.c); the Code behind the word was written before it.
    return __atomic_load_n(site_word(vm, pc), __ATOMIC_ACQUIRE) ^ key;
}
static inline bool site_hits(uint64_t match) { return (match & PN_CLASS_KEY_MASK) == 0; }
static inline uint64_t header_key(Ref receiver) { return (uint32_t)oop_header(ref_raw(receiver)) & PN_CLASS_KEY_MASK; }
// Two ways to go on shall stay two: a conditional move would make the next bytecode wait for the condition.
#define KEEP_BRANCH() __asm__ volatile("")

// Test one bit of the filter: filter_may_hold in one instruction after the index, for the one place where each counts.
// (The operand of bt may lie any number of words away.)
static inline bool filter_bit(const uint64_t *bits, uint64_t bit) {
#if defined(__x86_64__) && !PN_SANITIZED
    bool is_set;
    __asm__("btq %2, (%1)" : "=@ccc"(is_set) : "r"(bits), "r"(bit) : "memory");
    return is_set;
#else
    return (bits[bit >> 6] >> (bit & 63) & 1) != 0;
#endif
}
// Take reference, known to name an object, in hand: its header's bit says whether there is anything to follow.
#define FOLLOW(oop, reference)                                                                                         \
    do {                                                                                                               \
        Ref followed_ = (reference);                                                                                   \
        (oop) = ref_raw(followed_);                                                                                    \
        if (PN_UNLIKELY(ref_needs_follow_check(followed_))) {                                                          \
            SAVE();                                                                                                    \
            (oop) = pn_deref(vm, followed_);                                                                           \
        }                                                                                                              \
    } while (0)
static inline bool frame_has_room(const Code *code, const Ref *callee, const Link *cp) {
    return (const char *)callee + code->frame_bytes <= (const char *)(cp - 1);
}
static inline bool floats_of(Ref a, Ref b, double *x, double *y) {
    if (!(a.bits & b.bits & PN_TAG_FLOAT)) return false;
    *x = ref_float(a);
    *y = ref_float(b);
    return true;
}

// ---- The two ways of compiling ops.inc ------------------------------------------------------------------

#if PN_TAIL_CALLS

#define REGISTERS WorkerVm *vm, const uint8_t *pc, Ref *sp, Ref *fp, Link *cp, const void *table, uint64_t b, uint64_t r
#define PASS vm, pc, sp, fp, cp, table, b, r
typedef __attribute__((preserve_none)) void (*OpFn)(REGISTERS);
#define OP(name) static __attribute__((preserve_none)) void op_##name(REGISTERS)
#define ENTRY_POINT(name) static __attribute__((preserve_none)) void entry_##name(REGISTERS)
#define NEXT()                                                                                                         \
    do {                                                                                                               \
        b = *pc++;                                                                                                     \
        __attribute__((musttail)) return ((const OpFn *)table)[b](PASS);                                               \
    } while (0)
#define GO(name)                                                                                                       \
    do { __attribute__((musttail)) return op_##name(PASS); } while (0)
#define GO_ENTRY(name)                                                                                                 \
    do { __attribute__((musttail)) return entry_##name(PASS); } while (0)
#define ENTER(cell_bits)                                                                                               \
    do {                                                                                                               \
        b = (cell_bits);                                                                                               \
        __attribute__((musttail)) return ((OpFn)((const PnCell *)b)->function)(PASS);                                  \
    } while (0)
#define LEAVE()                                                                                                        \
    do {                                                                                                               \
        (void)table, (void)b, (void)r;                                                                                 \
        SAVE();                                                                                                        \
        return;                                                                                                        \
    } while (0)

#define BYTECODE(first, last, name, operands, ext, pops, pushes, text, meaning) OP(name);
#include "interp/bytecodes.def"
#undef BYTECODE
#define ENTRY(name) ENTRY_POINT(name);
#include "heap/entries.def"
#undef ENTRY
#define INNER(name) OP(name);
#include "interp/inner_ops.def"
#undef INNER
#include "interp/ops.inc"

static const OpFn op_table[256] = {
#define BYTECODE(first, last, name, operands, ext, pops, pushes, text, meaning) [first... last] = op_##name,
#include "interp/bytecodes.def"
#undef BYTECODE
};

static const PnEntryFn entry_functions[PN_ENTRY_COUNT] = {
#define ENTRY(name) [PN_ENTRY_##name] = (PnEntryFn)(void *)entry_##name,
#include "heap/entries.def"
#undef ENTRY
};
static void set_cell(PnCell *cell, PnEntry entry) {
    *cell = (PnCell){.function = entry_functions[entry], .entry = entry};
}

static void loop(WorkerVm *vm) {
    const uint8_t *pc = vm->pc + 1;
    uint64_t b = vm->pc[0];
    op_table[b](vm, pc, vm->sp, vm->fp, vm->cp, op_table, b, 0);
}

#else // one function, computed goto

#define OP(name) op_##name:
#define ENTRY_POINT(name) entry_##name:
#define NEXT()                                                                                                         \
    do {                                                                                                               \
        b = *pc++;                                                                                                     \
        goto *op_labels[b];                                                                                            \
    } while (0)
#define GO(name) goto op_##name
#define GO_ENTRY(name) goto entry_##name
#define ENTER(cell_bits)                                                                                               \
    do {                                                                                                               \
        b = (cell_bits);                                                                                               \
        goto *entry_labels[((const PnCell *)b)->entry];                                                                \
    } while (0)
#define LEAVE()                                                                                                        \
    do {                                                                                                               \
        SAVE();                                                                                                        \
        return;                                                                                                        \
    } while (0)

static void set_cell(PnCell *cell, PnEntry entry) { *cell = (PnCell){.function = NULL, .entry = entry}; }

static void loop(WorkerVm *vm) {
    static const void *const op_labels[256] = {
#define BYTECODE(first, last, name, operands, ext, pops, pushes, text, meaning) [first... last] = &&op_##name,
#include "interp/bytecodes.def"
#undef BYTECODE
    };
    static const void *const entry_labels[PN_ENTRY_COUNT] = {
#define ENTRY(name) [PN_ENTRY_##name] = &&entry_##name,
#include "heap/entries.def"
#undef ENTRY
    };
    const uint8_t *pc;
    Ref *sp, *fp;
    Link *cp;
    uint64_t b, r = 0;
    LOAD();
    NEXT();
#include "interp/ops.inc"
}

#endif

// ---- Binding Code records to entries ----------------------------------------------------------------------

// Code made at run time may hold anything; that of layers was made by a worker, or checked with its file.
static bool runs_off_its_bytes(const Code *code) {
    if (!code->is_private) return false;
    int depth = pn_bytecodes_check(code->bytecodes, code->bytecode_count, code->literal_count, code->temp_count, NULL);
    uint32_t room = code->frame_bytes / (uint32_t)sizeof(Ref) - code->temp_count - code->is_block;
    return depth < 0 || (uint32_t)depth > room;
}

static PnEntry entry_for(const Code *code) {
    uint32_t n = code->primitive_number;
    if (runs_off_its_bytes(code)) return PN_ENTRY_refused;
    if (n == 256 && code->arg_count == 0) return PN_ENTRY_quick_self;
    if (n > 256 && n < 264 && code->arg_count == 0) return PN_ENTRY_quick_constant;
    if (n >= 264 && n < 520 && code->arg_count == 0) return PN_ENTRY_quick_slot;
    if ((n == 60 || n == 63) && code->arg_count == 1) return PN_ENTRY_at;
    if ((n == 61 || n == 64) && code->arg_count == 2) return PN_ENTRY_at_put;
    if (n == 70 && code->arg_count == 0) return PN_ENTRY_new;
    if ((n >= 201 && n <= 205) || n == 207 || n == 209 || n == 221 || n == 222) return PN_ENTRY_block_value;
    if (pn_control(n) != NULL) return PN_ENTRY_control;
    if (code->primitive != NULL) return PN_ENTRY_primitive;
    return code->temp_count == code->arg_count && !code->is_block ? PN_ENTRY_activate_args : PN_ENTRY_activate;
}

static void bind_code(Code *code) {
    code->primitive = code->primitive_number ? pn_primitive(code->primitive_number, code->arg_count) : NULL;
    set_cell(&code->plain, entry_for(code));
    set_cell(&code->shared, PN_ENTRY_shared);
}

void pn_interp_init(void) { pn_code_bind = bind_code; }

// ---- Entering and leaving ------------------------------------------------------------------------------------

static PnLeave run_once(PnThread *thread, WorkerVm *vm) {
    PN_CHECK(vm->state == PN_WORKER_READY, "worker %u is run in state %u", vm->id, vm->state);
    vm->thread = thread;
    uint32_t epoch = atomic_load_explicit(&pn_index_epoch, memory_order_acquire);
    if (thread->index_epoch != epoch) {
        memset(thread->cache, 0, sizeof thread->cache);
        thread->index_epoch = epoch;
    }
    vm->state = PN_WORKER_RUNNING;
    loop(vm);
    vm->thread = NULL;
    if (vm->state == PN_WORKER_FINISHED) return PN_LEAVE_FINISHED;
    if (vm->state == PN_WORKER_FAILED) return PN_LEAVE_FAILED;
    vm->state = PN_WORKER_READY;
    return PN_LEAVE_SAFEPOINT;
}

PnLeave pn_run(PnThread *thread, WorkerVm *vm) { return run_once(thread, vm); }

void pn_run_many(PnThread *thread, WorkerVm *vm, PnNext next, void *context) {
    while (vm != NULL) {
        PnLeave why = run_once(thread, vm);
        vm = next(context, vm, why);
    }
}

void pn_request_stop(WorkerVm *vm) {
    // release: pairs with the acquire in pn_safepoint.
    atomic_store_explicit(&vm->xstop, 1, memory_order_release);
}

// Copies of shared objects never fail for a limit; it was noticed then (heap/old_space.c) and is looked at here.
static bool limit_is_kept(WorkerVm *vm) {
    vm->more->limit_noticed = false;
    if (vm->old == NULL || vm->old->bytes_held <= vm->more->memory_limit) return true;
    pn_collect_full(vm);
    if (vm->old->bytes_held <= vm->more->memory_limit) return true;
    pn_worker_fail(vm, "the memory limit of %llu bytes is exceeded", (unsigned long long)vm->more->memory_limit);
    return false;
}

bool pn_safepoint(WorkerVm *vm) {
    // A method marked 198 (ensure:) begins: no switch before its receiver runs, the next safepoint is near.
    if (vm->cp->code != NULL && code_is_unwind(vm->cp->code) && vm->pc == vm->cp->code->start) {
        vm->budget = 0;
        return false;
    }
    vm->budget = vm->budget_full;
    if (PN_UNLIKELY(vm->more != NULL && vm->more->limit_noticed) && !limit_is_kept(vm)) return true;
    if (pn_options.yield) return true;
    // acquire: pairs with the release in pn_request_stop.
    if (PN_LIKELY(!atomic_load_explicit(&vm->xstop, memory_order_acquire))) return false;
    atomic_store_explicit(&vm->xstop, 0, memory_order_relaxed);
    return true;
}

PnThread *pn_thread_new(void) { return pn_mem_alloc_zeroed(sizeof(PnThread)); }
void pn_thread_free(PnThread *thread) { pn_mem_free(thread); }

PnStatus pn_start_send(WorkerVm *vm, Ref receiver, Ref selector, const Ref *arguments, size_t count) {
    if (vm->state == PN_WORKER_RUNNING) return PN_REFUSED;
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    vm->state = PN_WORKER_READY;
    vm->budget_full = vm->budget = pn_options.yield ? 0 : PN_SLICE;
    if ((char *)(vm->sp + count + 1) > (char *)(vm->cp - 1) && !pn_stack_grow(vm, (count + 1) * sizeof(Ref), 0))
        return PN_NO_MEMORY;
    *vm->sp++ = receiver;
    for (size_t i = 0; i < count; i++) *vm->sp++ = arguments[i];
    // The first frame cannot be built here: entering a cell is the loop's business. So the process begins with an
    // instruction of the machine that sends the selector it finds in vm->result.
    vm->result = selector;
    vm->prim_error = (uint32_t)count;
    vm->pc = pn_trap_bytecode + 1;
    return PN_OK;
}

PnStatus pn_send(PnThread *thread, WorkerVm *vm, Ref receiver, Ref selector, const Ref *arguments, size_t count,
                 Ref *result, PnError *error) {
    PnStatus status = pn_start_send(vm, receiver, selector, arguments, count);
    if (status != PN_OK) return pn_error(error, status, 0, "worker %u cannot start another process now", vm->id);
    PnLeave why;
    do { why = pn_run(thread, vm); } while (why == PN_LEAVE_SAFEPOINT);
    if (why == PN_LEAVE_FAILED) {
        if (error != NULL) *error = vm->more->failure;
        return vm->more->failure.status;
    }
    if (result != NULL) *result = vm->result;
    return PN_OK;
}
