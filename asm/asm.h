// asm/asm.h: a small assembler for classes and methods, from C, for tests and benchmarks.
//
// All it makes is old and private, and does not move until a freeze: Oops from here stay good, but register what must
// outlive a freeze with pn_root_push, or reach it by name.
#ifndef PN_ASM_H
#define PN_ASM_H

#include "interp/interp.h"

typedef struct Asm Asm;

// A method (or, with a parent, a block of it) of so many arguments and further temps. For a block temps counts copied values too.
Asm *pn_asm(WorkerVm *vm, uint32_t arguments, uint32_t temps);
// A block inside parent; after pn_asm_end its literal index in the parent is the answer of pn_asm_block_end.
Asm *pn_asm_block(Asm *parent, uint32_t arguments, uint32_t copied, uint32_t temps);
uint32_t pn_asm_block_end(Asm *block);
void pn_asm_primitive(Asm *a, uint32_t number); // first instruction
void pn_asm_primitive_error(Asm *a, uint32_t number, uint32_t temp);
// Finish: the CompiledMethod, installed in class under selector. The assembler is freed.
Oop pn_asm_install(Asm *a, Oop class_object, const char *selector);
// Finish without installing.
Oop pn_asm_method(Asm *a, Oop class_object, const char *selector);

uint32_t pn_asm_literal(Asm *a, Ref value); // index; equal bits are shared

// Instructions; each picks the shortest encoding.
void pn_asm_byte(Asm *a, uint8_t byte); // raw
void pn_asm_push_temp(Asm *a, uint32_t i);
void pn_asm_push_inst(Asm *a, uint32_t i);
void pn_asm_push_literal(Asm *a, Ref value);
void pn_asm_push_global(Asm *a, Oop binding);
void pn_asm_push_int(Asm *a, int64_t n); // short form where there is one, else literal
void pn_asm_push_char(Asm *a, uint32_t c);
void pn_asm_push_self(Asm *a);
void pn_asm_push_nil(Asm *a);
void pn_asm_push_true(Asm *a);
void pn_asm_push_false(Asm *a);
void pn_asm_push_context(Asm *a);
void pn_asm_push_array(Asm *a, uint32_t count, bool from_stack);
void pn_asm_push_vector_temp(Asm *a, uint32_t index, uint32_t vector_temp);
void pn_asm_store_vector_temp(Asm *a, uint32_t index, uint32_t vector_temp, bool pop);
void pn_asm_push_closure(Asm *a, uint32_t block_literal, uint32_t copied, bool needs_outer, bool receiver_on_stack);
void pn_asm_dup(Asm *a);
void pn_asm_pop(Asm *a);
void pn_asm_store_temp(Asm *a, uint32_t i, bool pop);
void pn_asm_store_inst(Asm *a, uint32_t i, bool pop);
void pn_asm_store_global(Asm *a, Oop binding, bool pop);
void pn_asm_send(Asm *a, const char *selector, uint32_t arguments); // special selectors get their own bytecode
void pn_asm_send_super(Asm *a, const char *selector, uint32_t arguments);
void pn_asm_send_directed_super(Asm *a, const char *selector, uint32_t arguments); // class on top of the stack
void pn_asm_return_top(Asm *a);
void pn_asm_return_self(Asm *a);
void pn_asm_return_nil(Asm *a);
void pn_asm_return_true(Asm *a);
void pn_asm_return_false(Asm *a);
void pn_asm_block_return(Asm *a); // top, to the caller of the block
void pn_asm_block_return_nil(Asm *a);

// Labels and jumps. A label is bound once; jumps to it may come before. pn_asm_jump_back needs a bound label.
typedef struct AsmLabel {
    uint32_t id;
} AsmLabel;
AsmLabel pn_asm_label(Asm *a);
void pn_asm_bind(Asm *a, AsmLabel l);
void pn_asm_jump(Asm *a, AsmLabel l);      // forward or backward
void pn_asm_jump_true(Asm *a, AsmLabel l); // forward
void pn_asm_jump_false(Asm *a, AsmLabel l);

// Classes by name. A new class has named slots slots besides those of its superclass, and is a global.
Oop pn_asm_class(WorkerVm *vm, const char *name, Oop superclass, uint32_t slots);
Oop pn_asm_class_of_kind(WorkerVm *vm, const char *name, Oop superclass, uint32_t kind, uint32_t slots);
Oop pn_asm_class_named(WorkerVm *vm, const char *name); // value of the global, in hand; PN_NO_OOP if absent
Oop pn_asm_metaclass(WorkerVm *vm, Oop class_object);
// A new instance, slots nil. May collect.
Oop pn_asm_instance(WorkerVm *vm, Oop class_object);
Oop pn_asm_string(WorkerVm *vm, const char *text);

// A kernel of a few methods on the classes that pn_boot makes: arithmetic, at:, at:put:, new, new:, value..., ==, class, size,
// identityHash, perform:..., become:..., ensure:, ifCurtailed:, instVarAt:..., doesNotUnderstand: (ends the process with its Message as failure). Enough for the tests.
void pn_asm_kernel(WorkerVm *vm);

#endif
