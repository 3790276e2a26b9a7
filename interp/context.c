// interp/context.c: contexts on demand. A context that stands for a living frame is married to it.
//
// X1. A married context's sender slot is a SmallInteger: the number of its frame (pn_link_number). Its link has PN_LINK_MARRIED
//     and names it in aux. Its stack pointer is 0, so that collectors look at its first six slots only.
// X2. If the frame of that number is gone, or belongs to another context, the context is widowed: it reads as dead
//     (sender and pc nil). Nothing is done when a frame returns.
// X3. A single context (sender a context or nil) holds its whole state.
// A return therefore never asks whether its frame has a context.
#include "interp/loop_int.h"

enum { CONTEXT_SMALL = 16, CONTEXT_LARGE = 56 };

static bool is_context(Oop o) { return !oop_is_immediate(o) && oop_class_index(o) == PN_CLASS_CONTEXT; }

// ---- Program counters: 1-based byte index in the method's body, or an address in its Code ----------------------

static int64_t pc_index(const Code *code, const uint8_t *pc) {
    return pc - code->bytecodes + 8 * (int64_t)(code->literal_count + 1) + 1;
}
static const uint8_t *pc_address(const Code *code, int64_t index) {
    int64_t at = index - 1 - 8 * (int64_t)(code->literal_count + 1);
    return at < 0 || at >= (int64_t)code->bytecode_count ? NULL : code->bytecodes + at;
}

// ---- Frames by number ---------------------------------------------------------------------------------------------

static bool find_frame(WorkerVm *vm, uint64_t number, FrameWalk *walk) {
    StackChunk *chunk;
    Link *link = pn_link_at(vm, number, &chunk);
    if (link == NULL) return false;
    for (*walk = pn_frames(vm); walk->link != NULL; pn_frame_next(walk))
        if (walk->link == link) return true;
    return false;
}
static const uint8_t *frame_pc(const WorkerVm *vm, const FrameWalk *w) {
    return w->link == vm->cp ? vm->pc : pn_link_pc(vm, w->link);
}
// Operands of a frame as contexts count them: arguments, temps, stack; a block's closure word left out.
static size_t frame_operands(const FrameWalk *w) { return (size_t)(w->sp - w->fp) - (w->link->code->is_block ? 1 : 0); }
static Ref *frame_operand(const FrameWalk *w, size_t index) {
    const Code *code = w->link->code;
    return w->fp + index + (code->is_block && index >= code->temp_count ? 1 : 0);
}
static Ref frame_closure(const WorkerVm *vm, const FrameWalk *w) {
    const Code *code = w->link->code;
    return code->is_block ? w->fp[code->temp_count] : vm->nil;
}
// The link this frame returns into, looking through underflow links; the base link when it is the oldest frame.
static Link *caller_link(const FrameWalk *w) {
    Link *link = w->link + 1;
    StackChunk *chunk = w->chunk;
    while (link->flags & PN_LINK_UNDERFLOW) {
        chunk = chunk->prev;
        link = chunk->saved_cp;
    }
    return link;
}

bool pn_context_frame(WorkerVm *vm, Oop context, FrameWalk *walk) {
    Ref sender = oop_slot(context, PN_CONTEXT_SENDER);
    if (!ref_is_int(sender)) return false;
    if (!find_frame(vm, (uint64_t)ref_int(sender), walk)) return false;
    return walk->link->flags & PN_LINK_MARRIED && ref_same(walk->link->aux, ref_of(context));
}

// ---- Marriage --------------------------------------------------------------------------------------------------------

static size_t context_slots(const FrameWalk *w) {
    const Code *code = w->link->code;
    int64_t header = ref_int(oop_slot(ref_raw(code->method), 0));
    size_t room = code_header_is_large(header) ? CONTEXT_LARGE : CONTEXT_SMALL;
    return PN_CONTEXT_FIRST_TEMP + pn_max(room, frame_operands(w));
}

static Oop marry(WorkerVm *vm, const FrameWalk *frame) {
    FrameWalk w = *frame;
    if (w.link->flags & PN_LINK_MARRIED) return pn_deref(vm, w.link->aux);
    int64_t number = (int64_t)pn_link_number(vm, w.link);
    Oop context = pn_new(vm, PN_CLASS_CONTEXT, PN_FMT_FIXED_ARRAY, context_slots(&w)); // moves no frame
    if (oop_is_none(context)) return PN_NO_OOP;
    oop_init_slot(context, PN_CONTEXT_SENDER, ref_from_int(number));
    oop_init_slot(context, PN_CONTEXT_STACKP, ref_from_int(0));
    if (vm_is_young(vm, context.bits)) {
        oop_init_slot(context, PN_CONTEXT_METHOD, w.link->code->method);
        oop_init_slot(context, PN_CONTEXT_CLOSURE, frame_closure(vm, &w));
        oop_init_slot(context, PN_CONTEXT_RECEIVER, w.fp[-1]);
        w.chunk->is_clean = false;
    } else {
        pn_store(vm, context, PN_CONTEXT_METHOD, w.link->code->method);
        pn_store(vm, context, PN_CONTEXT_CLOSURE, frame_closure(vm, &w));
        pn_store(vm, context, PN_CONTEXT_RECEIVER, w.fp[-1]);
    }
    w.link->flags |= PN_LINK_MARRIED;
    w.link->aux = ref_of(context);
    return context;
}

Oop pn_context_of_link(WorkerVm *vm, uint64_t number) {
    FrameWalk w;
    return find_frame(vm, number, &w) ? marry(vm, &w) : PN_NO_OOP;
}

Oop pn_context_of_top(WorkerVm *vm) { return pn_context_of_link(vm, pn_link_number(vm, vm->cp)); }

// The context of the frame that w's frame returns into, or what the base link goes on in.
static Ref sender_of(WorkerVm *vm, const FrameWalk *w) {
    Link *caller = caller_link(w);
    if (caller->flags & PN_LINK_BASE) return ref_is_none(caller->aux) ? vm->nil : caller->aux;
    FrameWalk next = *w;
    pn_frame_next(&next);
    Oop context = marry(vm, &next);
    if (oop_is_none(context)) vm->prim_error = PN_PRIM_NO_MEMORY;
    return ref_of(context);
}

// ---- Frames that must not go on ------------------------------------------------------------------------------------------

static bool is_parked(const uint8_t *pc) { return pc == pn_parked_pc; }

bool pn_park_top_frame(WorkerVm *vm) {
    Oop context = pn_context_of_top(vm);
    if (oop_is_none(context)) return false;
    pn_store(vm, context, PN_CONTEXT_PC, ref_from_int(pc_index(vm->cp->code, vm->pc)));
    vm->pc = pn_parked_pc;
    return true;
}

// ---- Access ------------------------------------------------------------------------------------------------------------

static bool is_widowed(WorkerVm *vm, Oop context) {
    FrameWalk w;
    return ref_is_int(oop_slot(context, PN_CONTEXT_SENDER)) && !pn_context_frame(vm, context, &w);
}

static Ref frame_pc_value(const WorkerVm *vm, Oop context, const FrameWalk *w) {
    const uint8_t *pc = frame_pc(vm, w);
    return is_parked(pc) ? oop_slot(context, PN_CONTEXT_PC) : ref_from_int(pc_index(w->link->code, pc));
}

Ref pn_context_slot(WorkerVm *vm, Oop context, size_t index) {
    FrameWalk w;
    if (!pn_context_frame(vm, context, &w)) {
        if (index <= PN_CONTEXT_PC && is_widowed(vm, context)) return vm->nil;
        return oop_slot(context, index);
    }
    switch (index) {
    case PN_CONTEXT_SENDER: return sender_of(vm, &w);
    case PN_CONTEXT_PC: return frame_pc_value(vm, context, &w);
    case PN_CONTEXT_STACKP: return ref_from_int((int64_t)frame_operands(&w));
    case PN_CONTEXT_RECEIVER: return w.fp[-1];
    case PN_CONTEXT_METHOD:
    case PN_CONTEXT_CLOSURE: return oop_slot(context, index);
    default: break;
    }
    size_t operand = index - PN_CONTEXT_FIRST_TEMP;
    return operand < frame_operands(&w) ? *frame_operand(&w, operand) : vm->nil;
}

static bool store_frame_pc(WorkerVm *vm, const FrameWalk *w, Ref value) {
    const uint8_t *pc = ref_is_int(value) ? pc_address(w->link->code, ref_int(value)) : NULL;
    if (pc == NULL) return false;
    if (w->link == vm->cp) vm->pc = pc;
    else if (w->link == vm->trap.link) vm->trap.pc = pc;
    else w->link->pc = pc;
    return true;
}

// Slots that become live hold nil: above the stack pointer no collector has looked.
static PnAccess store_stackp(WorkerVm *vm, Oop context, Ref value) {
    size_t room = oop_slot_count(context) - PN_CONTEXT_FIRST_TEMP;
    Ref before = oop_slot(context, PN_CONTEXT_STACKP);
    if (!ref_is_int(value) || (uint64_t)ref_int(value) > room || !ref_is_int(before)) return PN_READ_ONLY;
    for (int64_t i = ref_int(before); i < ref_int(value); i++) {
        PnAccess access = pn_store(vm, context, PN_CONTEXT_FIRST_TEMP + (size_t)i, vm->nil);
        if (access != PN_WRITABLE) return access;
    }
    return pn_store(vm, context, PN_CONTEXT_STACKP, value);
}

PnAccess pn_context_store(WorkerVm *vm, Oop context, size_t index, Ref value) {
    FrameWalk w;
    if (pn_context_frame(vm, context, &w)) {
        if (index >= PN_CONTEXT_FIRST_TEMP && index - PN_CONTEXT_FIRST_TEMP < frame_operands(&w)) {
            *frame_operand(&w, index - PN_CONTEXT_FIRST_TEMP) = value;
            w.chunk->is_clean = false;
            return PN_WRITABLE;
        }
        if (index == PN_CONTEXT_PC && store_frame_pc(vm, &w, value)) return PN_WRITABLE;
        // Anything else changes what the chain of frames says: it becomes a chain of contexts, the running one gets a frame again.
        Root kept_context, kept_value;
        pn_root_push(vm, &kept_context, ref_of(context));
        pn_root_push(vm, &kept_value, value);
        bool ok = pn_contexts_reframe_top(vm);
        context = pn_deref(vm, kept_context.ref);
        value = kept_value.ref;
        pn_root_pop(vm, &kept_value);
        pn_root_pop(vm, &kept_context);
        if (!ok) return PN_OUT_OF_MEMORY;
        if (pn_context_frame(vm, context, &w)) { // it is the running one
            if (index != PN_CONTEXT_SENDER) return PN_READ_ONLY;
            caller_link(&w)->aux = value;
            return PN_WRITABLE;
        }
    }
    return index == PN_CONTEXT_STACKP ? store_stackp(vm, context, value) : pn_store(vm, context, index, value);
}

uint32_t pn_context_primitive(WorkerVm *vm, Oop context) {
    Oop method = pn_slot(vm, context, PN_CONTEXT_METHOD);
    bool is_method = !oop_is_immediate(method) && oop_is_code(method);
    if (!is_method || !ref_same(oop_slot(context, PN_CONTEXT_CLOSURE), vm->nil)) return 0;
    const Code *code = pn_code_for(vm, method);
    return code == NULL ? 0 : code->primitive_number;
}

// ---- Frames to contexts and back --------------------------------------------------------------------------------------------

// Fill a married context with its frame's state: it becomes single. All contexts of the chain exist, so nothing is allocated.
static void divorce(WorkerVm *vm, const FrameWalk *w) {
    Oop context = pn_deref(vm, w->link->aux);
    size_t operands = frame_operands(w);
    pn_store(vm, context, PN_CONTEXT_SENDER, sender_of(vm, w));
    pn_store(vm, context, PN_CONTEXT_PC, frame_pc_value(vm, context, w));
    for (size_t i = 0; i < operands; i++) pn_store(vm, context, PN_CONTEXT_FIRST_TEMP + i, *frame_operand(w, i));
    pn_store(vm, context, PN_CONTEXT_STACKP, ref_from_int((int64_t)operands));
    pn_store(vm, context, PN_CONTEXT_RECEIVER, w->fp[-1]);
}

// Every frame gets a context that is large enough; false: no memory (nothing has changed but marriages).
static bool marry_all(WorkerVm *vm) {
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) {
        if (oop_is_none(marry(vm, &w))) return false;
        Oop context = pn_deref(vm, w.link->aux);
        if (oop_slot_count(context) < PN_CONTEXT_FIRST_TEMP + frame_operands(&w)) return false; // outgrown by events
    }
    return true;
}

Oop pn_contexts_divorce_all(WorkerVm *vm) {
    FrameWalk top = pn_frames(vm);
    if (top.link == NULL) return ref_raw(vm->nil);
    if (!marry_all(vm)) return PN_NO_OOP;
    // Oldest last: sender_of a frame looks at the marriage of its caller, which is still there.
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) divorce(vm, &w);
    Ref newest = pn_frames(vm).link->aux;
    pn_trap_lift(vm);
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    return pn_deref(vm, newest);
}

bool pn_contexts_reframe_top(WorkerVm *vm) {
    const uint8_t *pc = vm->pc;
    Oop newest = pn_contexts_divorce_all(vm);
    if (oop_is_none(newest)) return false;
    bool ok = pn_frame_of_context(vm, newest);
    if (ok) vm->pc = pc;
    return ok;
}

// Receiver, operands (a block's closure between temps and stack): pushed above the base link.
static void push_operands(WorkerVm *vm, Oop context, const Code *code, size_t operands) {
    *vm->sp++ = ref_of(pn_slot(vm, context, PN_CONTEXT_RECEIVER));
    Ref *fp = vm->sp;
    for (size_t i = 0; i < operands || i < code->temp_count; i++) {
        if (code->is_block && i == code->temp_count) *vm->sp++ = oop_slot(context, PN_CONTEXT_CLOSURE);
        *vm->sp++ = i < operands ? oop_slot(context, PN_CONTEXT_FIRST_TEMP + i) : vm->nil;
    }
    if (code->is_block && operands <= code->temp_count) *vm->sp++ = oop_slot(context, PN_CONTEXT_CLOSURE);
    vm->fp = fp;
}

bool pn_frame_of_context(WorkerVm *vm, Oop context) {
    if (!is_context(context) || !ref_is_int(oop_slot(context, PN_CONTEXT_PC))) return false;
    if (ref_is_int(oop_slot(context, PN_CONTEXT_SENDER))) return false; // married elsewhere, or widowed
    if (pn_make_writable(vm, &context) != PN_WRITABLE) return false;
    Oop method = pn_slot(vm, context, PN_CONTEXT_METHOD);
    if (oop_is_immediate(method) || !oop_is_code(method)) return false;
    Code *code = pn_code_for(vm, method);
    if (code == NULL) return false;
    if (!pn_code_fits(code, pn_slot(vm, context, PN_CONTEXT_RECEIVER))) return false;
    const uint8_t *pc = pc_address(code, ref_int(oop_slot(context, PN_CONTEXT_PC)));
    int64_t stackp = ref_is_int(oop_slot(context, PN_CONTEXT_STACKP)) ? ref_int(oop_slot(context, PN_CONTEXT_STACKP))
                                                                      : -1;
    if (pc == NULL || stackp < 0 || (size_t)stackp + PN_CONTEXT_FIRST_TEMP > oop_slot_count(context)) return false;
    size_t words = (size_t)stackp + code->temp_count + 2;
    if ((char *)(vm->sp + words) + code->frame_bytes > (char *)(vm->cp - 1) &&
        !pn_stack_grow(vm, words * sizeof(Ref) + code->frame_bytes, 0))
        return false;
    Ref *caller_fp = vm->fp;
    vm->cp->aux = oop_slot(context, PN_CONTEXT_SENDER);
    push_operands(vm, context, code, (size_t)stackp);
    Link *link = --vm->cp;
    *link = (Link){.code = code,
                   .fp_delta = (uint32_t)((char *)vm->fp - (char *)caller_fp),
                   .flags = PN_LINK_MARRIED | (code->is_block ? PN_LINK_BLOCK : 0),
                   .aux = ref_of(context)};
    vm->pc = pc;
    int64_t number = (int64_t)pn_link_number(vm, link);
    pn_store(vm, context, PN_CONTEXT_SENDER, ref_from_int(number));
    pn_store(vm, context, PN_CONTEXT_STACKP, ref_from_int(0));
    return true;
}
