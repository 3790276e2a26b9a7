// tests/support/support.c: see tests/support.h. Linked with every test program.
#include "tests/support.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed;    // 0: nobody has asked
static PnThread *thread; // made when first asked for

static void print_seed(void) {
    if (seed != 0)
        fprintf(stderr, "seed=%llu (again with PANDO_DEBUG=seed=%llu)\n", (unsigned long long)seed,
                (unsigned long long)seed);
}

// pn_die aborts; cmocka does not see that. Say the seed, then die as before: the handler is set to run once.
static void at_abort(int signal_number) {
    print_seed();
    raise(signal_number);
}

static int start_process(void **state) {
    (void)state;
    PnError error = {0};
    if (pn_process_init(&error) != PN_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    pn_interp_init();
    return 0;
}

static int end_process(void **state) {
    (void)state;
    if (thread != NULL) pn_thread_free(thread);
    thread = NULL;
    return 0;
}

int test_run_group(const char *name, const struct CMUnitTest *tests, size_t count) {
    struct sigaction action = {.sa_handler = at_abort, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    sigaction(SIGABRT, &action, NULL);
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    int failed = _cmocka_run_group_tests(name, tests, count, start_process, end_process);
    if (failed != 0) print_seed();
    return failed != 0;
}

void test_fail(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error("%s\n", text);
    fail();
    abort(); // not reached: fail() leaves the test
}

// ---- Workers ------------------------------------------------------------------------------------------------

WorkerVm *test_boot(void) {
    PnError error = {0};
    WorkerVm *vm = pn_boot(&error);
    test_check(vm != NULL, "pn_boot: %s", error.text);
    return vm;
}

WorkerVm *test_boot_kernel(void) {
    WorkerVm *vm = test_boot();
    pn_asm_kernel(vm);
    return vm;
}

Layer *test_freeze(WorkerVm *vm) {
    PnError error = {0};
    Layer *layer = NULL;
    PnStatus status = pn_freeze(vm, &layer, &error);
    test_check(status == PN_OK, "pn_freeze: %s", error.text);
    return layer;
}

WorkerVm *test_worker_on(Layer *layer) {
    WorkerVm *vm = pn_worker_new(layer);
    test_check(vm != NULL, "pn_worker_new: no memory");
    PnError error = {0};
    if (!PN_COW) test_check(pn_thaw(vm, &error) == PN_OK, "pn_thaw: %s", error.text);
    return vm;
}

TestWorld test_world(void (*build)(WorkerVm *vm)) {
    WorkerVm *builder = test_boot_kernel();
    if (build != NULL) build(builder);
    TestWorld world = {.layer = test_freeze(builder)};
    pn_worker_free(builder);
    world.vm = test_worker_on(world.layer);
    return world;
}

void test_world_end(TestWorld *world) {
    pn_worker_free(world->vm);
    pn_layer_release(world->layer);
    *world = (TestWorld){0};
}

PnThread *test_thread(void) {
    if (thread == NULL) thread = pn_thread_new();
    test_check(thread != NULL, "pn_thread_new: no memory");
    return thread;
}

size_t test_selector_arguments(const char *selector) {
    size_t colons = 0;
    for (const char *at = selector; *at != 0; at++) colons += *at == ':';
    bool is_word = (*selector | 32) >= 'a' && (*selector | 32) <= 'z';
    return colons > 0 || is_word || *selector == '_' ? colons : 1;
}

static PnStatus send_list(WorkerVm *vm, Ref receiver, const char *selector, va_list list, Ref *result, PnError *error) {
    Ref arguments[16];
    size_t count = test_selector_arguments(selector);
    test_check(count <= 16, "%s has too many arguments", selector);
    for (size_t i = 0; i < count; i++) arguments[i] = va_arg(list, Ref);
    Ref symbol = pn_symbol_z(selector);
    test_check(!ref_is_none(symbol), "no room for the symbol %s", selector);
    return pn_send(test_thread(), vm, receiver, symbol, arguments, count, result, error);
}

Ref test_send(WorkerVm *vm, Ref receiver, const char *selector, ...) {
    PnError error = {0};
    Ref result = PN_NO_REF;
    va_list list;
    va_start(list, selector);
    PnStatus status = send_list(vm, receiver, selector, list, &result, &error);
    va_end(list);
    test_check(status == PN_OK, "%s: %s", selector, error.text);
    return result;
}

int64_t test_send_int(WorkerVm *vm, Ref receiver, const char *selector, ...) {
    PnError error = {0};
    Ref result = PN_NO_REF;
    va_list list;
    va_start(list, selector);
    PnStatus status = send_list(vm, receiver, selector, list, &result, &error);
    va_end(list);
    test_check(status == PN_OK, "%s: %s", selector, error.text);
    test_check(ref_is_int(result), "%s answers no SmallInteger", selector);
    return ref_int(result);
}

const char *test_send_failing(WorkerVm *vm, Ref receiver, const char *selector, ...) {
    static PnError error;
    Ref result = PN_NO_REF;
    va_list list;
    va_start(list, selector);
    error = (PnError){0};
    PnStatus status = send_list(vm, receiver, selector, list, &result, &error);
    va_end(list);
    test_check(status != PN_OK, "%s should fail", selector);
    return error.text;
}

Oop test_global(WorkerVm *vm, const char *name) {
    Oop binding = pn_global(vm, name);
    test_check(!oop_is_none(binding), "no global %s", name);
    return pn_slot(vm, binding, PN_BINDING_VALUE);
}

void test_set_global(WorkerVm *vm, const char *name, Ref value) {
    Oop binding = pn_global(vm, name);
    test_check(pn_make_writable(vm, &binding) == PN_WRITABLE, "global %s cannot be written", name);
    test_check(pn_store(vm, binding, PN_BINDING_VALUE, value) == PN_WRITABLE, "global %s cannot be written", name);
}

void test_verify(WorkerVm *vm) {
    PnViolation violation = {0};
    test_check(pn_verify(vm, &violation), "%s: %s", violation.rule, violation.text);
}

void test_verify_reports(WorkerVm *vm, const char *rule) {
    PnViolation violation = {0};
    test_check(!pn_verify(vm, &violation), "%s is broken and nothing is reported", rule);
    test_check(strcmp(violation.rule, rule) == 0, "%s is broken, reported is %s: %s", rule, violation.rule,
               violation.text);
}

// ---- Switches and chance --------------------------------------------------------------------------------------

PnOptions test_options(const char *text) {
    PnOptions saved = pn_options;
    PnError error = {0};
    test_check(pn_options_parse(text, &pn_options, &error), "%s", error.text);
    return saved;
}

void test_options_restore(PnOptions saved) { pn_options = saved; }

uint64_t test_seed(void) {
    if (seed == 0) seed = pn_options.seed;
    if (seed == 0) seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    return seed;
}

size_t test_rounds(void) {
    const char *text = getenv("STRESS_ROUNDS");
    size_t rounds = text != NULL ? strtoul(text, NULL, 10) : 1;
    return rounds > 0 ? rounds : 1;
}
