// tests/support/programs.c: see tests/support/programs.h.
#include "tests/support/programs.h"

void program_fib(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel recurse = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 2);
    pn_asm_send(a, "<", 1);
    pn_asm_jump_false(a, recurse);
    pn_asm_push_temp(a, 0);
    pn_asm_return_top(a);
    pn_asm_bind(a, recurse);
    for (int back = 1; back <= 2; back++) {
        pn_asm_push_self(a);
        pn_asm_push_temp(a, 0);
        pn_asm_push_int(a, back);
        pn_asm_send(a, "-", 1);
        pn_asm_send(a, "fib:", 1);
    }
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "fib:");
}

void program_down(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 0);
    AsmLabel recurse = pn_asm_label(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, "=", 1);
    pn_asm_jump_false(a, recurse);
    pn_asm_push_int(a, 0);
    pn_asm_return_top(a);
    pn_asm_bind(a, recurse);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_send(a, "down:", 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "down:");
}

void program_sum_to(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 2); // n, i, sum
    AsmLabel head = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_push_int(a, 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 2, true);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 1);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "<=", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_temp(a, 2);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 2, true);
    pn_asm_push_temp(a, 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_temp(a, 2);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "sumTo:");
}

void program_sum_array(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 1, 2); // array, i, sum
    AsmLabel head = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_push_int(a, 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_push_int(a, 0);
    pn_asm_store_temp(a, 2, true);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 1);
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "size", 0);
    pn_asm_send(a, "<=", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_temp(a, 2);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "at:", 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 2, true);
    pn_asm_push_temp(a, 1);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "+", 1);
    pn_asm_store_temp(a, 1, true);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_temp(a, 2);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "sum:");
}

void program_accessors(WorkerVm *vm, Oop class_object) {
    Asm *getter = pn_asm(vm, 0, 0);
    pn_asm_push_inst(getter, 0);
    pn_asm_return_top(getter);
    pn_asm_install(getter, class_object, "x");
    Asm *setter = pn_asm(vm, 1, 0);
    pn_asm_push_temp(setter, 0);
    pn_asm_store_inst(setter, 0, true);
    pn_asm_return_self(setter);
    pn_asm_install(setter, class_object, "x:");
}

void program_repeat(WorkerVm *vm, Oop class_object) {
    Asm *a = pn_asm(vm, 2, 0);
    AsmLabel head = pn_asm_label(a), done = pn_asm_label(a);
    pn_asm_bind(a, head);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 0);
    pn_asm_send(a, ">", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_self(a);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "x:", 1);
    pn_asm_pop(a);
    pn_asm_push_temp(a, 0);
    pn_asm_push_int(a, 1);
    pn_asm_send(a, "-", 1);
    pn_asm_store_temp(a, 0, true);
    pn_asm_jump(a, head);
    pn_asm_bind(a, done);
    pn_asm_push_self(a);
    pn_asm_send(a, "x", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, "repeat:value:");
}
