// interp/slow_ops.c: the parts of bytecodes that allocate or reach into contexts. Called by the loop, registers saved.
#include "interp/loop_int.h"

Ref pn_make_array(WorkerVm *vm, uint32_t count, bool from_stack) {
    Oop array = pn_new_array(vm, count);
    if (oop_is_none(array)) return PN_NO_REF;
    if (from_stack)
        for (uint32_t i = 0; i < count; i++) (void)pn_store(vm, array, i, *(vm->sp - count + i));
    return ref_of(array);
}

// flags as in the bytecode: bits 0-5 copied values, 6 no outer context, 7 receiver on the stack below the copied values.
Ref pn_make_closure(WorkerVm *vm, uint32_t literal, uint32_t flags) {
    uint32_t copied = flags & 63;
    bool needs_outer = !(flags & 64), receiver_on_stack = (flags & 128) != 0;
    if (needs_outer && oop_is_none(pn_context_of_top(vm))) return PN_NO_REF;
    Oop closure = pn_new(vm, PN_CLASS_FULL_BLOCK_CLOSURE, PN_FMT_FIXED_ARRAY, PN_CLOSURE_FIRST_COPIED + copied);
    if (oop_is_none(closure)) return PN_NO_REF;
    Ref block = vm->cp->code->literals[literal];
    int64_t header = ref_int(oop_slot(ref_raw(block), 0));
    (void)pn_store(vm, closure, PN_CLOSURE_OUTER, needs_outer ? vm->cp->aux : vm->nil);
    (void)pn_store(vm, closure, PN_CLOSURE_BLOCK, block);
    (void)pn_store(vm, closure, PN_CLOSURE_NUM_ARGS, ref_from_int(code_header_args(header)));
    vm->sp -= copied;
    for (uint32_t i = 0; i < copied; i++) (void)pn_store(vm, closure, PN_CLOSURE_FIRST_COPIED + i, vm->sp[i]);
    (void)pn_store(vm, closure, PN_CLOSURE_RECEIVER, receiver_on_stack ? *--vm->sp : vm->fp[-1]);
    return ref_of(closure);
}

Ref pn_error_object(WorkerVm *vm, uint32_t code) {
    Oop table = pn_slot(vm, pn_deref(vm, vm->special_objects), PN_SPECIAL_ERROR_TABLE);
    bool is_table = !oop_is_immediate(table) && oop_is_pointers(table);
    return is_table && code - 1 < oop_slot_count(table) ? oop_slot(table, code - 1) : ref_from_int(code);
}

Ref pn_inst_var(WorkerVm *vm, uint32_t index) {
    Oop self = ref_raw(vm->fp[-1]);
    return oop_class_index(self) == PN_CLASS_CONTEXT ? pn_context_slot(vm, self, index) : oop_slot(self, index);
}

PnAccess pn_inst_var_put(WorkerVm *vm, uint32_t index, Ref value) {
    Oop self = ref_raw(vm->fp[-1]);
    if (oop_class_index(self) == PN_CLASS_CONTEXT) return pn_context_store(vm, self, index, value);
    return pn_store(vm, self, index, value);
}
