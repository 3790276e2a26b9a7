// tests/support/programs.h: small programs for the assembler that tests and benchmarks share.
#ifndef PN_TEST_PROGRAMS_H
#define PN_TEST_PROGRAMS_H

#include "asm/asm.h"

// SmallInteger >> fib: ^self < 2 ifTrue: [ self ] ifFalse: [ (self - 1) fib + (self - 2) fib ] is not what is measured elsewhere;
// this one sends to the same receiver, as a method does: Fib >> fib: n
// n < 2 ifTrue: [ ^n ]. ^(self fib: n - 1) + (self fib: n - 2)
void program_fib(WorkerVm *vm, Oop class_object);
// down: n: n = 0 ifTrue: [ ^0 ]. ^(self down: n - 1) + 1
void program_down(WorkerVm *vm, Oop class_object);
// sumTo: n with a backward jump
void program_sum_to(WorkerVm *vm, Oop class_object);
// sum: an Array, by at: and size, with a backward jump
void program_sum_array(WorkerVm *vm, Oop class_object);
// Accessors x and x: of named slot 0.
void program_accessors(WorkerVm *vm, Oop class_object);
// repeat: n value: x: calls (self x: x) n times, then ^self x
void program_repeat(WorkerVm *vm, Oop class_object);

#endif
