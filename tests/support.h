// tests/support.h: what a test program needs. Include it first: cmocka wants its own headers in a certain order.
//
// A test program ends with
//     int main(void) {
//         const struct CMUnitTest tests[] = {cmocka_unit_test(write_to_shared_copies_once), ...};
//         return test_run(tests);
//     }
// test_run starts the process (window, tables, interpreter), runs the tests (those that TEST_FILTER matches), and when one fails prints the seed, if
// test_seed was asked for one. All functions here fail the running test when what they do does not work.
// cmocka can only be called from the thread that runs the test: other threads leave what they found for it to check.
#ifndef PN_TEST_SUPPORT_H
#define PN_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "asm/asm.h"

#define test_run(tests) test_run_group(#tests, tests, sizeof(tests) / sizeof((tests)[0]))
int test_run_group(const char *name, const struct CMUnitTest *tests, size_t count);

// Fail the running test with a text.
_Noreturn void test_fail(const char *format, ...) PN_PRINTF(1, 2);
#define test_check(condition, ...)                                                                                     \
    do {                                                                                                               \
        if (!(condition)) test_fail(__VA_ARGS__);                                                                      \
    } while (0)

// ---- Workers ------------------------------------------------------------------------------------------------

// A worker on no layer, as pn_boot makes it; test_boot_kernel has the methods of pn_asm_kernel as well.
WorkerVm *test_boot(void);
WorkerVm *test_boot_kernel(void);
// Freeze what vm has; the layer has a count for the caller (pn_layer_release).
Layer *test_freeze(WorkerVm *vm);
// A new worker on layer; in a build without copy on write all of the layer is copied into it.
WorkerVm *test_worker_on(Layer *layer);

// What most tests begin with: a kernel and what build (may be NULL) adds, frozen into a layer, and a new worker on it.
typedef struct TestWorld {
    Layer *layer;
    WorkerVm *vm;
} TestWorld;
TestWorld test_world(void (*build)(WorkerVm *vm));
void test_world_end(TestWorld *world);

// The lookup cache of the thread that runs the test.
PnThread *test_thread(void);

// Send and run to the end; the arguments are Refs, as many as the selector says: test_send(vm, r, "at:put:", one, two).
Ref test_send(WorkerVm *vm, Ref receiver, const char *selector, ...);
// The same, but must fail; answers the text of the failure, good until the next call.
const char *test_send_failing(WorkerVm *vm, Ref receiver, const char *selector, ...);
int64_t test_send_int(WorkerVm *vm, Ref receiver, const char *selector, ...);
// How many arguments a selector takes.
size_t test_selector_arguments(const char *selector);

// The value of a global, in hand.
Oop test_global(WorkerVm *vm, const char *name);
void test_set_global(WorkerVm *vm, const char *name, Ref value);

// Every invariant holds, or the test fails naming the one that does not.
void test_verify(WorkerVm *vm);
// pn_verify finds this rule broken.
void test_verify_reports(WorkerVm *vm, const char *rule);

// ---- Switches and chance --------------------------------------------------------------------------------------

// Set pn_options as PANDO_DEBUG=text would, on top of what it says; answers what was there, for test_options_restore.
PnOptions test_options(const char *text);
void test_options_restore(PnOptions saved);

// The seed of this run (PANDO_DEBUG=seed=N, else one that differs from run to run), never 0. Printed if a test fails.
uint64_t test_seed(void);
// How many rounds a stress test does: STRESS_ROUNDS of the environment, else 1.
size_t test_rounds(void);

#endif
