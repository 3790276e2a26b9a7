// interp/control.c: primitives that change frames: perform:, execution of methods, closures with an argument array, contexts.
//
// Each gets its receiver and arguments on the stack and answers a cell to enter (the stack holding what that expects),
// PN_GO_ON (result pushed, registers set), PN_ENTER_CLOSURE, or PN_FAILED with vm->prim_error: then nothing has changed.
#include "interp/loop_int.h"

static const PnCell *fail(WorkerVm *vm, PnPrimError code) {
    vm->prim_error = code;
    return PN_FAILED;
}
static const PnCell *answer_over(WorkerVm *vm, uint32_t arg_count, Ref result) {
    vm->sp -= arg_count;
    vm->sp[-1] = result;
    return PN_GO_ON;
}
static bool is_array(Oop o) { return !oop_is_immediate(o) && oop_format(o) == PN_FMT_ARRAY; }
static bool is_context(Oop o) { return !oop_is_immediate(o) && oop_class_index(o) == PN_CLASS_CONTEXT; }
static bool is_code(Oop o) { return !oop_is_immediate(o) && oop_is_code(o); }

// Room for words more operands above sp; may move the stack.
static bool reserve(WorkerVm *vm, size_t words) { return pn_stack_reserve(vm, words * sizeof(Ref)); }

// ---- perform: ---------------------------------------------------------------------------------------------------

// Enter method on the receiver below arg_count arguments, if it takes that many.
static const PnCell *enter_method(WorkerVm *vm, Oop method, uint32_t arg_count) {
    Code *code = pn_code_for(vm, method);
    if (code != NULL && code->arg_count == arg_count) return &code->plain;
    pn_worker_fail(vm, code == NULL ? "out of memory while preparing a method"
                                    : "a method is installed under a selector with another number of arguments");
    return PN_FAILED;
}
static uint32_t selector_arguments(Oop selector) {
    const uint8_t *bytes = oop_bytes(selector);
    size_t count = oop_byte_count(selector);
    uint32_t colons = 0;
    for (size_t i = 0; i < count; i++) colons += bytes[i] == ':';
    bool is_binary = count > 0 && !((bytes[0] | 32) >= 'a' && (bytes[0] | 32) <= 'z') && bytes[0] != '_';
    return is_binary ? 1 : colons;
}
static bool is_selector(Oop o) {
    return !oop_is_immediate(o) && oop_is_bytes(o) && oop_class_index(o) == PN_CLASS_BYTE_SYMBOL;
}

// Receiver and count arguments are in place: send selector, searched from class_object, or from the receiver's class if none.
static const PnCell *send_prepared(WorkerVm *vm, Ref selector, uint32_t count, Oop class_object) {
    if (oop_is_none(class_object)) return pn_send_without_site(vm, selector, count);
    Oop method = pn_lookup(vm, class_object, selector);
    if (oop_is_none(method) || !is_code(method)) return pn_send_without_site(vm, selector, count);
    Ref *receiver = vm->sp - 1 - count;
    *receiver = ref_of(pn_deref(vm, *receiver));
    return enter_method(vm, method, count);
}

static const PnCell *perform(WorkerVm *vm, uint32_t arg_count) { // 83: receiver selector arg1 ... argn
    Oop selector = pn_deref(vm, *(vm->sp - arg_count));
    if (!is_selector(selector)) return fail(vm, PN_PRIM_ARGUMENT);
    if (selector_arguments(selector) != arg_count - 1) return fail(vm, PN_PRIM_NUM_ARGS);
    for (Ref *at = vm->sp - arg_count; at < vm->sp - 1; at++) at[0] = at[1];
    vm->sp--;
    return pn_send_without_site(vm, ref_of(selector), arg_count - 1);
}

// Whether class_object is the class of receiver or one of its superclasses.
static bool is_in_chain(WorkerVm *vm, Oop class_object, Oop receiver) {
    Oop at = pn_class_of(vm, receiver);
    while (!oop_is_immediate(at) && !ref_same(ref_of(at), vm->nil)) {
        if (ref_same(ref_of(at), ref_of(class_object))) return true;
        at = pn_slot(vm, at, PN_BEHAVIOR_SUPERCLASS);
    }
    return false;
}

static const PnCell *perform_array(WorkerVm *vm, uint32_t arg_count) { // 84: receiver selector array; 100: ... class
    if (arg_count != 2 && arg_count != 3) return fail(vm, PN_PRIM_NUM_ARGS);
    Ref *arguments = vm->sp - arg_count;
    Oop selector = pn_deref(vm, arguments[0]), array = pn_deref(vm, arguments[1]);
    Oop class_object = arg_count == 3 ? pn_deref(vm, arguments[2]) : PN_NO_OOP;
    if (!is_selector(selector) || !is_array(array)) return fail(vm, PN_PRIM_ARGUMENT);
    size_t count = oop_slot_count(array);
    if (count > 15 || selector_arguments(selector) != count) return fail(vm, PN_PRIM_NUM_ARGS);
    if (arg_count == 3 && !is_in_chain(vm, class_object, pn_deref(vm, arguments[-1])))
        return fail(vm, PN_PRIM_ARGUMENT);
    if (!reserve(vm, count)) return fail(vm, PN_PRIM_NO_MEMORY);
    vm->sp -= arg_count;
    for (size_t i = 0; i < count; i++) *vm->sp++ = oop_slot(array, i);
    return send_prepared(vm, ref_of(selector), (uint32_t)count, class_object);
}

// ---- Execution of a method handed over ---------------------------------------------------------------------------------

// H9: a method never runs on a receiver with fewer named slots than it touches.
static bool receiver_fits(WorkerVm *vm, const Code *code, Oop receiver) {
    if (code->slot_limit == 0) return true;
    if (oop_is_immediate(receiver) || !oop_is_pointers(receiver)) return false;
    Oop format = pn_slot(vm, pn_class_of(vm, receiver), PN_BEHAVIOR_FORMAT);
    return ref_is_int(ref_of(format)) && class_format_slots(ref_int(ref_of(format))) >= code->slot_limit;
}

static const PnCell *execute(WorkerVm *vm, Ref *receiver, Oop method, uint32_t count) {
    Code *code = pn_code_for(vm, method);
    if (code == NULL) return fail(vm, PN_PRIM_NO_C_MEMORY);
    if (code->is_block) return fail(vm, PN_PRIM_ARGUMENT);
    if (code->arg_count != count) return fail(vm, PN_PRIM_NUM_ARGS);
    Oop followed = pn_deref(vm, *receiver);
    if (!receiver_fits(vm, code, followed)) return fail(vm, PN_PRIM_INAPPROPRIATE);
    *receiver = ref_of(followed);
    return &code->plain;
}

static const PnCell *execute_array(WorkerVm *vm, uint32_t arg_count) { // 188: receiver array method
    if (arg_count != 2) return fail(vm, PN_PRIM_NUM_ARGS);
    Oop array = pn_deref(vm, vm->sp[-2]), method = pn_deref(vm, vm->sp[-1]);
    if (!is_array(array) || !is_code(method)) return fail(vm, PN_PRIM_ARGUMENT);
    size_t count = oop_slot_count(array);
    if (count > 15) return fail(vm, PN_PRIM_NUM_ARGS);
    if (!reserve(vm, count)) return fail(vm, PN_PRIM_NO_MEMORY);
    const PnCell *cell = execute(vm, vm->sp - 3, method, (uint32_t)count);
    if (cell == PN_FAILED) return cell;
    vm->sp -= 2;
    for (size_t i = 0; i < count; i++) *vm->sp++ = oop_slot(array, i);
    return cell;
}

static const PnCell *execute_stack(WorkerVm *vm, uint32_t arg_count) { // 189: receiver args... method
    if (arg_count == 0) return fail(vm, PN_PRIM_NUM_ARGS);
    Oop method = pn_deref(vm, vm->sp[-1]);
    if (!is_code(method)) return fail(vm, PN_PRIM_ARGUMENT);
    const PnCell *cell = execute(vm, vm->sp - 1 - arg_count, method, arg_count - 1);
    if (cell != PN_FAILED) vm->sp--;
    return cell;
}

// ---- Closures -------------------------------------------------------------------------------------------------------------

static const PnCell *value_with_arguments(WorkerVm *vm, uint32_t arg_count) { // 206, 208: closure array
    if (arg_count != 1) return fail(vm, PN_PRIM_NUM_ARGS);
    Oop closure = pn_deref(vm, vm->sp[-2]), array = pn_deref(vm, vm->sp[-1]);
    if (!is_array(array)) return fail(vm, PN_PRIM_ARGUMENT);
    size_t count = oop_slot_count(array);
    if (count > 15 || !pn_closure_takes(closure, (uint32_t)count)) return fail(vm, PN_PRIM_GENERIC);
    if (!reserve(vm, count)) return fail(vm, PN_PRIM_NO_MEMORY);
    vm->sp--;
    vm->sp[-1] = ref_of(closure);
    for (size_t i = 0; i < count; i++) *vm->sp++ = oop_slot(array, i);
    vm->prim_error = (uint32_t)count;
    return PN_ENTER_CLOSURE;
}

// ---- Contexts -----------------------------------------------------------------------------------------------------------------

// The nearest context from start (itself if inclusive) up the senders whose method has this primitive, not reaching end; nil if none.
static Ref find_marked(WorkerVm *vm, Oop start, bool inclusive, Oop end, uint32_t primitive) {
    Root at;
    Root limit;
    pn_root_push(vm, &at, inclusive ? ref_of(start) : pn_context_slot(vm, start, PN_CONTEXT_SENDER));
    pn_root_push(vm, &limit, oop_is_none(end) ? PN_NO_REF : ref_of(end));
    Ref found = vm->nil;
    for (;;) {
        Oop context = pn_deref(vm, at.ref);
        if (!is_context(context) || ref_same(ref_of(context), limit.ref)) break;
        if (pn_context_primitive(vm, context) == primitive) {
            found = ref_of(context);
            break;
        }
        at.ref = pn_context_slot(vm, context, PN_CONTEXT_SENDER);
        if (ref_is_none(at.ref)) {
            found = PN_NO_REF;
            break;
        }
    }
    pn_root_pop(vm, &limit);
    pn_root_pop(vm, &at);
    return found;
}

static const PnCell *find_unwind(WorkerVm *vm, uint32_t arg_count) { // 195: context findNextUnwindContextUpTo: context
    Oop context = pn_deref(vm, *(vm->sp - 1 - arg_count));
    Oop end = arg_count == 1 ? pn_deref(vm, vm->sp[-1]) : PN_NO_OOP;
    if (!is_context(context)) return fail(vm, PN_PRIM_RECEIVER);
    Ref found = find_marked(vm, context, false, end, 198);
    return ref_is_none(found) ? fail(vm, PN_PRIM_NO_MEMORY) : answer_over(vm, arg_count, found);
}

static const PnCell *find_handler(WorkerVm *vm, uint32_t arg_count) { // 197: context findNextHandler
    Oop context = pn_deref(vm, *(vm->sp - 1 - arg_count));
    if (!is_context(context)) return fail(vm, PN_PRIM_RECEIVER);
    Ref found = find_marked(vm, context, true, PN_NO_OOP, 199);
    return ref_is_none(found) ? fail(vm, PN_PRIM_NO_MEMORY) : answer_over(vm, arg_count, found);
}

// Whether to is on the sender chain of from; both single contexts.
static bool has_sender(WorkerVm *vm, Oop from, Oop to) {
    for (Oop at = from; is_context(at); at = pn_slot(vm, at, PN_CONTEXT_SENDER))
        if (ref_same(ref_of(at), ref_of(to))) return true;
    return false;
}

// Kill the contexts strictly between context and end (all single).
static void kill_between(WorkerVm *vm, Oop context, Oop end) {
    Oop at = pn_slot(vm, context, PN_CONTEXT_SENDER);
    while (is_context(at) && !ref_same(ref_of(at), ref_of(end))) {
        Oop next = pn_slot(vm, at, PN_CONTEXT_SENDER);
        pn_store(vm, at, PN_CONTEXT_SENDER, vm->nil);
        pn_store(vm, at, PN_CONTEXT_PC, vm->nil);
        at = next;
    }
}

static const PnCell *terminate_to(WorkerVm *vm, uint32_t arg_count) { // 196: context terminateTo: context or nil
    if (arg_count != 1) return fail(vm, PN_PRIM_NUM_ARGS);
    Oop context = pn_deref(vm, vm->sp[-2]);
    if (!is_context(context)) return fail(vm, PN_PRIM_RECEIVER);
    // As chains of contexts both are simple; the running frame comes back on top, with the operands as they were.
    Oop newest = pn_contexts_divorce_all(vm);
    if (oop_is_none(newest)) return fail(vm, PN_PRIM_NO_MEMORY);
    size_t stackp = (size_t)ref_int(oop_slot(newest, PN_CONTEXT_STACKP));
    context = pn_slot(vm, newest, PN_CONTEXT_FIRST_TEMP + stackp - 2);
    Oop end = pn_slot(vm, newest, PN_CONTEXT_FIRST_TEMP + stackp - 1);
    if (is_context(end) && has_sender(vm, context, end)) kill_between(vm, context, end);
    pn_store(vm, context, PN_CONTEXT_SENDER, is_context(end) ? ref_of(end) : vm->nil);
    if (!pn_frame_of_context(vm, newest)) {
        pn_worker_fail(vm, "the running context cannot go on after terminateTo:");
        return PN_FAILED;
    }
    return answer_over(vm, arg_count, vm->sp[-2]);
}

// Live operands of a context, and whether index (1-based) names one.
static bool context_operand(WorkerVm *vm, Ref context_ref, Ref index_ref, Oop *context, size_t *slot) {
    *context = pn_deref(vm, context_ref);
    if (!is_context(*context) || !ref_is_int(index_ref)) return false;
    Ref stackp = pn_context_slot(vm, *context, PN_CONTEXT_STACKP);
    uint64_t i = (uint64_t)ref_int(index_ref) - 1;
    *slot = PN_CONTEXT_FIRST_TEMP + i;
    return ref_is_int(stackp) && i < (uint64_t)ref_int(stackp);
}

static const PnCell *context_at(WorkerVm *vm, uint32_t arg_count) { // 210
    Oop context;
    size_t slot;
    if (!context_operand(vm, vm->sp[-2], vm->sp[-1], &context, &slot)) return fail(vm, PN_PRIM_INDEX);
    return answer_over(vm, arg_count, pn_context_slot(vm, context, slot));
}

static const PnCell *context_at_put(WorkerVm *vm, uint32_t arg_count) { // 211
    Oop context;
    size_t slot;
    if (!context_operand(vm, vm->sp[-3], vm->sp[-2], &context, &slot)) return fail(vm, PN_PRIM_INDEX);
    if (pn_context_store(vm, context, slot, vm->sp[-1]) != PN_WRITABLE) return fail(vm, PN_PRIM_NO_MODIFICATION);
    return answer_over(vm, arg_count, vm->sp[-1]);
}

static const PnCell *context_size(WorkerVm *vm, uint32_t arg_count) { // 212
    Oop context = pn_deref(vm, *(vm->sp - 1 - arg_count));
    if (!is_context(context)) return fail(vm, PN_PRIM_RECEIVER);
    return answer_over(vm, arg_count, pn_context_slot(vm, context, PN_CONTEXT_STACKP));
}

static const PnCell *context_stackp(WorkerVm *vm, uint32_t arg_count) { // 76: context stackp: n
    Oop context = pn_deref(vm, *(vm->sp - 1 - arg_count));
    Ref wanted = vm->sp[-1];
    if (!is_context(context) || !ref_is_int(wanted) || ref_int(wanted) < 0) return fail(vm, PN_PRIM_GENERIC);
    if ((size_t)ref_int(wanted) + PN_CONTEXT_FIRST_TEMP > oop_slot_count(context)) return fail(vm, PN_PRIM_GENERIC);
    Root kept;
    pn_root_push(vm, &kept, ref_of(context));
    bool ok = pn_contexts_reframe_top(vm);
    context = pn_deref(vm, kept.ref);
    pn_root_pop(vm, &kept);
    FrameWalk w;
    if (!ok || pn_context_frame(vm, context, &w)) return fail(vm, PN_PRIM_GENERIC); // the running frame's own: no
    for (int64_t i = ref_int(oop_slot(context, PN_CONTEXT_STACKP)); i < ref_int(wanted); i++)
        pn_store(vm, context, PN_CONTEXT_FIRST_TEMP + (size_t)i, vm->nil);
    pn_store(vm, context, PN_CONTEXT_STACKP, wanted);
    return answer_over(vm, arg_count, ref_of(context));
}

static const PnCell *context_xray(WorkerVm *vm, uint32_t arg_count) { // 213: bit 0 was or is married, bit 1 still is
    Oop context = pn_deref(vm, *(vm->sp - 1 - arg_count));
    if (!is_context(context)) return fail(vm, PN_PRIM_RECEIVER);
    FrameWalk w;
    int64_t bits = ref_is_int(oop_slot(context, PN_CONTEXT_SENDER)) ? 1 : 0;
    if (pn_context_frame(vm, context, &w)) bits |= 2;
    return answer_over(vm, arg_count, ref_from_int(bits));
}

static const PnCell *flush_contexts(WorkerVm *vm, uint32_t arg_count) { // 214
    if (!pn_contexts_reframe_top(vm)) return fail(vm, PN_PRIM_NO_MEMORY);
    return answer_over(vm, arg_count, *(vm->sp - 1 - arg_count));
}

// ---- Caches, other primitives -----------------------------------------------------------------------------------------------------

static const PnCell *flush_caches(WorkerVm *vm,
                                  uint32_t arg_count) { // 89, 116, 119, 215: the worker's methods may have changed
    if (pn_behavior_changed(vm) != PN_OK) return fail(vm, PN_PRIM_NO_C_MEMORY);
    return answer_over(vm, arg_count, *(vm->sp - 1 - arg_count));
}

static const PnCell *try_primitive(WorkerVm *vm, uint32_t arg_count) { // 118: receiver number array
    if (arg_count != 2 || !ref_is_int(vm->sp[-2])) return fail(vm, PN_PRIM_ARGUMENT);
    Oop array = pn_deref(vm, vm->sp[-1]);
    if (!is_array(array)) return fail(vm, PN_PRIM_ARGUMENT);
    size_t count = oop_slot_count(array);
    int64_t number = ref_int(vm->sp[-2]);
    PnPrimFn primitive = number > 0 && number < 1024 ? pn_primitive((uint32_t)number, (uint32_t)count) : NULL;
    if (primitive == NULL || count > 15 || !reserve(vm, count + 1)) return fail(vm, PN_PRIM_UNSUPPORTED);
    // The operands of the wrapped primitive are pushed above ours, which so stay as they are if it fails.
    Ref receiver = vm->sp[-3];
    Ref *arguments = vm->sp;
    *vm->sp++ = receiver;
    for (size_t i = 0; i < count; i++) *vm->sp++ = oop_slot(array, i);
    Ref result = primitive(vm, arguments);
    vm->sp = arguments;
    if (ref_is_none(result)) return PN_FAILED;
    return answer_over(vm, arg_count, result);
}

PnControlFn pn_control(uint32_t number) {
    switch (number) {
    case 76: return context_stackp;
    case 83: return perform;
    case 84:
    case 100: return perform_array;
    case 89:
    case 116:
    case 119:
    case 215: return flush_caches;
    case 118: return try_primitive;
    case 188: return execute_array;
    case 189: return execute_stack;
    case 195: return find_unwind;
    case 196: return terminate_to;
    case 197: return find_handler;
    case 206:
    case 208: return value_with_arguments;
    case 210: return context_at;
    case 211: return context_at_put;
    case 212: return context_size;
    case 213: return context_xray;
    case 214: return flush_contexts;
    default: return NULL;
    }
}
