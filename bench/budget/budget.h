// bench/budget/budget.h: what the programs of bench/budget share: worlds to run in, sends, time, the command line.
//
// Each program is called as `program case n`, does about n units of work, checks its own answer, and prints one line
//     units <how many> ns <how long>
// bench/budget/table.lua runs them, under callgrind for instruction counts, and makes the table. Instructions for one
// unit are the difference of two runs with different n, divided by the difference of units; a case may have a base case
// that is subtracted, which does the same without the thing to be measured.
#ifndef PN_BUDGET_H
#define PN_BUDGET_H

#include "asm/asm.h"

// Stop the program with a text if condition does not hold.
#define bench_check(condition, ...) PN_CHECK(condition, __VA_ARGS__)

// ns of this process's own: what is measured never waits, so on a machine at rest it is the time that passes, and on
// a busy one still the time it takes. bench_clock is the time that passes, for spans too short for a system call.
uint64_t bench_now(void);
uint64_t bench_clock(void);
void bench_result(uint64_t units, uint64_t ns);

typedef struct BenchCase {
    const char *name;
    void (*run)(uint64_t n);
} BenchCase;
int bench_main(int argc, char **argv, const BenchCase *cases, size_t count);

typedef struct BenchWorld {
    Layer *layer; // NULL: all private
    WorkerVm *vm;
    PnThread *thread;
} BenchWorld;
// A kernel and what build adds, frozen, and a new worker on it. Without copy on write: copied into the worker.
BenchWorld bench_frozen(void (*build)(WorkerVm *vm));
// The same without the freeze: classes and code are private.
BenchWorld bench_private(void (*build)(WorkerVm *vm));
void bench_end(BenchWorld *world);

Ref bench_send(BenchWorld *world, Ref receiver, const char *selector, size_t count, const Ref *arguments);
Oop bench_class(BenchWorld *world, const char *name);
// The value of a global, in hand.
Oop bench_global(WorkerVm *vm, const char *name);
void bench_set_global(WorkerVm *vm, const char *name, Ref value);

// Objects that the worker can copy and that nobody uses: made while a world is built, copied when it runs.
void bench_build_unrelated(WorkerVm *vm, size_t count);
void bench_copy_unrelated(WorkerVm *vm, size_t count);

// An Array global of so many instances of a class.
void bench_build_instances(WorkerVm *vm, const char *global, Oop class_object, size_t count);

// Begin and end of `1 to: limit do:` in an assembled method, with a counter temp and a limit temp.
typedef struct BenchLoop {
    uint32_t counter, limit;
    AsmLabel top, end;
} BenchLoop;
BenchLoop bench_loop_begin(Asm *a, uint32_t counter_temp, uint32_t limit_temp);
void bench_loop_end(Asm *a, BenchLoop loop);

#endif
