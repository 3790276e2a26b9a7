// interp/return.c: returns that are more than a return: out of a block's home, through the trap, off the end of a process.
#include "interp/loop_int.h"

// ---- The return trap (Note [Return trap], heap/worker.h) --------------------------------------------------

// The base frame has returned: to the context it goes on in, or the process ends.
static const PnCell *return_from_base(WorkerVm *vm) {
    Ref value = *--vm->sp;
    Ref sender = vm->cp->aux;
    if (ref_is_none(sender) || ref_same(sender, vm->nil)) {
        vm->result = value;
        vm->state = PN_WORKER_FINISHED;
        return PN_FAILED;
    }
    Root kept;
    pn_root_push(vm, &kept, value);
    bool made = pn_frame_of_context(vm, pn_deref(vm, sender));
    value = kept.ref;
    pn_root_pop(vm, &kept);
    if (!made) {
        pn_worker_fail(vm, "a process returns into a context that cannot go on");
        return PN_FAILED;
    }
    *vm->sp++ = value;
    return PN_GO_ON;
}

const PnCell *pn_return_trap(WorkerVm *vm) {
    Link *link = vm->cp;
    if (link->flags & PN_LINK_BASE) return return_from_base(vm);
    if (link->flags & PN_LINK_UNDERFLOW) {
        pn_stack_underflow(vm);
        vm->pc = vm->cp->pc;
        return PN_GO_ON;
    }
    PN_CHECK(link == vm->trap.link, "the return trap was met where none is planted");
    vm->pc = vm->trap.pc;
    pn_trap_lift(vm);
    pn_stack_receivers_stale(vm);
    return PN_GO_ON;
}

// ---- Non-local return (sista-v1, section 5) ------------------------------------------------------------------

static bool is_context(Oop o) { return !oop_is_immediate(o) && oop_class_index(o) == PN_CLASS_CONTEXT; }

// The context of the method activation in which the running block was made; PN_NO_OOP: it has none.
static Oop home_context(WorkerVm *vm) {
    Oop closure = pn_deref(vm, vm->fp[vm->cp->code->temp_count]);
    for (;;) {
        if (oop_is_immediate(closure) || oop_slot_count(closure) < PN_CLOSURE_FIRST_COPIED) return PN_NO_OOP;
        Oop outer = pn_slot(vm, closure, PN_CLOSURE_OUTER);
        if (!is_context(outer)) return PN_NO_OOP;
        closure = pn_slot(vm, outer, PN_CONTEXT_CLOSURE);
        if (ref_same(ref_of(closure), vm->nil)) return outer;
    }
}

static const PnCell *cannot_return(WorkerVm *vm, Ref value) {
    Root kept;
    pn_root_push(vm, &kept, value);
    bool parked = pn_park_top_frame(vm);
    value = kept.ref;
    pn_root_pop(vm, &kept);
    if (!parked) {
        pn_worker_fail(vm, "out of memory");
        return PN_FAILED;
    }
    return pn_send_event(vm, PN_SPECIAL_CANNOT_RETURN, vm->cp->aux, &value, 1);
}

// through is the marked context.
static const PnCell *about_to_return(WorkerVm *vm, Ref value, Oop through) {
    Root kept_value, kept_context;
    pn_root_push(vm, &kept_value, value);
    pn_root_push(vm, &kept_context, ref_of(through));
    bool parked = !oop_is_none(through) && pn_park_top_frame(vm);
    Ref arguments[2] = {kept_value.ref, kept_context.ref};
    pn_root_pop(vm, &kept_context);
    pn_root_pop(vm, &kept_value);
    if (!parked) {
        pn_worker_fail(vm, "out of memory");
        return PN_FAILED;
    }
    return pn_send_event(vm, PN_SPECIAL_ABOUT_TO_RETURN, vm->cp->aux, arguments, 2);
}

// The same, where the mark is a frame.
static const PnCell *about_to_return_through_frame(WorkerVm *vm, Ref value, uint64_t number) {
    Root kept;
    pn_root_push(vm, &kept, value);
    Oop through = pn_context_of_link(vm, number);
    value = kept.ref;
    pn_root_pop(vm, &kept);
    return about_to_return(vm, value, through);
}

// Leave all frames of newer chunks than chunk.
static void drop_newer_chunks(WorkerVm *vm, StackChunk *chunk) {
    while (vm->chunk != chunk) {
        vm->sp = chunk_base(vm->chunk);
        *vm->sp++ = vm->nil;
        vm->fp = chunk_base(vm->chunk);
        vm->cp = vm->chunk->end - 1;
        pn_stack_underflow(vm);
    }
}

void pn_return_from_frame(WorkerVm *vm, const FrameWalk *frame, Ref value) {
    bool trap_is_newer = vm->trap.link != NULL && pn_link_number(vm, vm->trap.link) >= pn_link_number(vm, frame->link);
    if (trap_is_newer) pn_trap_lift(vm);
    Link *link = frame->link;
    drop_newer_chunks(vm, frame->chunk);
    Ref *fp = frame->fp;
    fp[-1] = value;
    vm->sp = fp;
    vm->fp = (Ref *)(void *)((char *)fp - link->fp_delta);
    vm->cp = link + 1;
    while (trap_is_newer && vm->cp->flags & PN_LINK_UNDERFLOW) pn_stack_underflow(vm);
    vm->pc = vm->cp->pc;
    if (trap_is_newer) pn_stack_receivers_stale(vm);
}

const PnCell *pn_return_non_local(WorkerVm *vm, Ref value) {
    Oop home = home_context(vm);
    FrameWalk home_frame;
    if (oop_is_none(home) || !pn_context_frame(vm, home, &home_frame)) return pn_return_to_context(vm, home, value);
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) {
        const Code *code = w.link->code;
        if (!code->is_block && code_is_unwind(code))
            return about_to_return_through_frame(vm, value, pn_link_number(vm, w.link));
        if (w.link == home_frame.link) break;
    }
    pn_return_from_frame(vm, &home_frame, value);
    return PN_GO_ON;
}

// The newest frame marked for unwinding; 0: none. *base is the process's base link.
static uint64_t newest_marked_frame(WorkerVm *vm, Link **base) {
    uint64_t marked = 0;
    *base = NULL;
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) {
        if (marked == 0 && !w.link->code->is_block && code_is_unwind(w.link->code)) marked = pn_link_number(vm, w.link);
        *base = w.link + 1;
    }
    return marked;
}

// Return from home, a context without frame that is on the chain below the base link.
static const PnCell *return_from_context(WorkerVm *vm, Oop home, Ref value) {
    Oop sender = pn_slot(vm, home, PN_CONTEXT_SENDER);
    if (ref_same(ref_of(sender), vm->nil)) { // the process's first method: it ends, as when a frame of it returns
        vm->result = value;
        vm->state = PN_WORKER_FINISHED;
        return PN_FAILED;
    }
    if (!is_context(sender) || !ref_is_int(pn_context_slot(vm, sender, PN_CONTEXT_PC))) return cannot_return(vm, value);
    return pn_continue_in_context(vm, sender, value);
}

// The home is no frame of this stack: it may be a context further down the chain that the base link goes on in.
const PnCell *pn_return_to_context(WorkerVm *vm, Oop home, Ref value) {
    Link *base;
    uint64_t marked = newest_marked_frame(vm, &base);
    if (oop_is_none(home) || base == NULL || !(base->flags & PN_LINK_BASE) || ref_is_none(base->aux))
        return cannot_return(vm, value);
    Oop through = PN_NO_OOP;
    for (Oop at = pn_deref(vm, base->aux); is_context(at); at = pn_slot(vm, at, PN_CONTEXT_SENDER)) {
        if (oop_is_none(through) && pn_context_primitive(vm, at) == 198) through = at;
        if (!ref_same(ref_of(at), ref_of(home))) continue;
        if (marked != 0) return about_to_return_through_frame(vm, value, marked);
        return oop_is_none(through) ? return_from_context(vm, home, value) : about_to_return(vm, value, through);
    }
    return cannot_return(vm, value);
}

const PnCell *pn_continue_in_context(WorkerVm *vm, Oop context, Ref value) {
    Root kept_value, kept_context;
    pn_root_push(vm, &kept_value, value);
    pn_root_push(vm, &kept_context, ref_of(context));
    pn_trap_lift(vm);
    pn_stack_reset(vm);
    pn_stack_begin(vm);
    bool made = pn_frame_of_context(vm, pn_deref(vm, kept_context.ref));
    value = kept_value.ref;
    pn_root_pop(vm, &kept_context);
    pn_root_pop(vm, &kept_value);
    if (!made) {
        pn_worker_fail(vm, "a context that cannot go on was to be continued");
        return PN_FAILED;
    }
    *vm->sp++ = value;
    return PN_GO_ON;
}
