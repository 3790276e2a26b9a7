// interp/loop_int.h: what the loop (interp/loop.c, interp/ops.inc) asks of its slow paths, and they of each other.
//
// Convention: before a call of any function here the loop has saved its registers (vm->pc, sp, fp, cp); afterwards it takes
// them back. So each may collect, copy, move the stack and push frames.
#ifndef PN_LOOP_INT_H
#define PN_LOOP_INT_H

#include <stdarg.h>

#include "interp/interp.h"

// Answers of control functions besides a cell to enter.
#define PN_FAILED ((const PnCell *)0)        // control: the primitive fails; send: the worker has failed
#define PN_GO_ON ((const PnCell *)1)         // registers are set, the next bytecode is at vm->pc
#define PN_ENTER_CLOSURE ((const PnCell *)2) // evaluate the closure below vm->prim_error arguments on the stack
static inline bool cell_is_code(const PnCell *c) { return (uintptr_t)c > 2; }

// H9 where a receiver reaches code without a lookup: whether it has the slots that the code touches.
static inline bool pn_code_fits(const Code *code, Oop receiver) {
    if (PN_LIKELY(code->slot_limit == 0)) return true;
    return !oop_is_immediate(receiver) && oop_is_pointers(receiver) && oop_slot_count(receiver) >= code->slot_limit;
}

// Header and slot count of a new instance of class_object, if it has named slots only and is still what its index stands for.
static inline bool pn_fixed_shape(Oop class_object, uint64_t *header, size_t *slots) {
    if (oop_is_immediate(class_object) || !oop_is_pointers(class_object)) return false;
    if (oop_slot_count(class_object) < PN_BEHAVIOR_SLOTS) return false;
    Ref format = oop_slot(class_object, PN_BEHAVIOR_FORMAT);
    uint64_t shape = format.bits >> 3; // a SmallInteger, or too large by far
    if (shape >= (uint64_t)(PN_FMT_FIXED + 1) << 16 || (shape & 0xFFFF) >= PN_OVERFLOW_SLOTS) return false;
    uint32_t index = hdr_hash(oop_header(class_object));
    // relaxed: the entries of an index are written before anybody else can hold an instance (heap/class_table.c).
    if (__atomic_load_n(&pn_class_shapes[index], __ATOMIC_RELAXED) != shape + 1) return false;
    if (__atomic_load_n(&pn_class_table[index].bits, __ATOMIC_RELAXED) != class_object.bits) return false;
    *slots = shape & 0xFFFF;
    *header = pn_header(*slots, 0, (uint32_t)(shape >> 16), index);
    return true;
}

// ---- Sends (interp/send.c) --------------------------------------------------------------------------
// Receiver and arg_count arguments are on the stack. The plain cell of the code to run, receiver and perhaps arguments on the
// stack changed to what it expects (followed; a Message for doesNotUnderstand:). PN_FAILED: nobody understands.
const PnCell *pn_send_slow(WorkerVm *vm, Ref selector, uint32_t arg_count);
// The same for a message that is not the send of the bytecode before vm->pc (perform:, events): its site stays as it is.
const PnCell *pn_send_without_site(WorkerVm *vm, Ref selector, uint32_t arg_count);
// The same for a super send; class_object is where the search starts (superclass already taken), or none for nil.
const PnCell *pn_send_super_slow(WorkerVm *vm, Ref selector, uint32_t arg_count, Oop method_class);
// An entry for shared receivers has found that its receiver has a copy: takes it, and answers what to run then.
const PnCell *pn_send_stale(WorkerVm *vm, Code *code);
// Selector and argument count of special send index (0-31).
Ref pn_special_selector(WorkerVm *vm, uint32_t index);
extern const uint8_t pn_special_arg_counts[32];
// Push receiver and arguments and answer the cell for sending the special object's selector; for events the machine raises.
const PnCell *pn_send_event(WorkerVm *vm, enum PnSpecial selector, Ref receiver, const Ref *arguments, uint32_t count);
// Class whose superclass a super send in code starts from.
Oop pn_method_class(WorkerVm *vm, const Code *code);
// The worker stops for good: state PN_WORKER_FAILED, text in more->failure.
void pn_worker_fail(WorkerVm *vm, const char *format, ...) PN_PRINTF(2, 3);

// ---- Returns, frames (interp/return.c) ------------------------------------------------------------------
// ^value in a block: PN_GO_ON in the home's sender, or a cell (cannotReturn:, aboutToReturn:through:).
const PnCell *pn_return_non_local(WorkerVm *vm, Ref value);
// The trap bytecode was reached. PN_GO_ON, or PN_FAILED with vm->state FINISHED when the process's base frame has returned.
const PnCell *pn_return_trap(WorkerVm *vm);
// Return value from frame, which may lie anywhere on the stack: all newer frames are gone, receivers followed as need be.
void pn_return_from_frame(WorkerVm *vm, const FrameWalk *frame, Ref value);
// ^value when home is no frame of this stack.
const PnCell *pn_return_to_context(WorkerVm *vm, Oop home, Ref value);
// Forget all frames and go on in context with value as what its last send answered.
const PnCell *pn_continue_in_context(WorkerVm *vm, Oop context, Ref value);
// The budget is used up: true if the worker shall leave the loop.
bool pn_safepoint(WorkerVm *vm);

// The top frame has met an event after which it must not simply go on (cannotReturn:, aboutToReturn:through:): behind the
// instruction there may be none. Its context keeps the true pc; a return into the frame ends the worker. False: no memory.
bool pn_park_top_frame(WorkerVm *vm);
// Number of the primitive of a context's method, 0 for a block's.
uint32_t pn_context_primitive(WorkerVm *vm, Oop context);

// ---- Control primitives (interp/control.c) -----------------------------------------------------------------
typedef const PnCell *(*PnControlFn)(WorkerVm *vm, uint32_t arg_count);
PnControlFn pn_control(uint32_t number);

// ---- Odds and ends of bytecodes (interp/slow_ops.c) -----------------------------------------------------------
Ref pn_make_closure(WorkerVm *vm, uint32_t literal,
                    uint32_t flags); // operands popped from vm->sp; PN_NO_REF: no memory
Ref pn_make_array(WorkerVm *vm, uint32_t count, bool from_stack);
Ref pn_error_object(WorkerVm *vm, uint32_t code);
// Named slot of the running frame's receiver by the long instructions, which reach into contexts too.
Ref pn_inst_var(WorkerVm *vm, uint32_t index);
PnAccess pn_inst_var_put(WorkerVm *vm, uint32_t index, Ref value);
static inline Ref pn_quick_constant(const WorkerVm *vm, uint32_t primitive) {
    switch (primitive) {
    case 257: return vm_true(vm);
    case 258: return vm_false(vm);
    case 259: return vm_nil(vm);
    default: return ref_from_int((int64_t)primitive - 261); // 260-263: -1, 0, 1, 2
    }
}
// Whether closure, the receiver of a value message, is a closure over compiled code with so many arguments.
static inline bool pn_closure_takes(Oop closure, uint32_t arg_count) {
    if (oop_is_immediate(closure) || oop_slot_count(closure) < PN_CLOSURE_FIRST_COPIED) return false;
    if (oop_format(closure) != PN_FMT_FIXED_ARRAY) return false;
    Ref block = oop_slot(closure, PN_CLOSURE_BLOCK);
    return ref_same(oop_slot(closure, PN_CLOSURE_NUM_ARGS), ref_from_int(arg_count)) && !ref_is_immediate(block) &&
           oop_is_code(ref_raw(block));
}
// Whether the code's own method may answer to primitive 198: no process switch at its activation.
static inline bool code_is_unwind(const Code *c) { return c->primitive_number == 198; }

// Operands of one frame beyond which it is stopped, see pn_send_event.
#define PN_MOST_LEFT_OPERANDS 4096
// Sends that miss in a world of a worker's own before it gets site words: a script that defines classes changes its world often.
#define PN_MISSES_BEFORE_SITES 256

// Class indices are dense and symbols lie at multiples of 16: a sum spreads both. The world is compared, not hashed.
static inline PnCacheEntry *pn_cache_entry(PnThread *thread, uint64_t key, Ref selector) {
    return &thread->cache[((selector.bits >> 4) + key * 8) & (PN_CACHE_ENTRIES - 1)];
}

#define PN_SLICE 1000 // real sends and backward jumps between two looks at stop requests

#endif
