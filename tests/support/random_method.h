// tests/support/random_method.h: random programs, made with the assembler, that always end and never fail.
//
// The same seed makes the same program and the same trace, however objects lie: in a layer, in a private heap, copied
// at each touch, moved by each allocation. A trace that differs, or a failure, is a fault of the machine.
#ifndef PN_TEST_RANDOM_METHOD_H
#define PN_TEST_RANDOM_METHOD_H

#include "asm/asm.h"

// Give vm, a worker with the methods of pn_asm_kernel, the program of a seed: classes with named slots, methods that
// send, loop, make and evaluate blocks, leave them by ^, store everywhere and become:, and the globals they share.
// All of it is old and private; freeze it, or run it where it is. Collects nothing.
void random_program_build(WorkerVm *vm, uint64_t seed);

// Its globals: RandomInt0, RandomInt1, ..., likewise for the other kinds, and RandomString0.
enum { RANDOM_KINDS = 4, RANDOM_GLOBALS = 3 };
extern const char *const random_kinds[RANDOM_KINDS];

#define RANDOM_TRACE_BYTES 1024

// Run the program of vm (of vm itself or of its layer) and write what it did: a number for each start, and one for the
// object graph that the globals hold in the end. False: a start failed; the trace says how, and vm is of no more use.
bool random_program_run(PnThread *thread, WorkerVm *vm, char trace[RANDOM_TRACE_BYTES]);

#endif
