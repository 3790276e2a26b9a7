// Marking finds everything although its stack may not grow beyond one chunk: on a long list, in a wide array, in a
// deep tree.
#include "tests/gc/objects.h"

static void limit_mark_stack(WorkerVm *vm) { pn_gc_mark_stack(vm)->chunk_limit = 1; }

static void collect(WorkerVm *vm) {
    size_t used = pn_gc_stats(vm).old_bytes_used;
    limit_mark_stack(vm);
    pn_collect_full(vm);
    test_verify(vm);
    assert_int_equal(pn_gc_stats(vm).old_bytes_used, used);
}

static Oop old_array(WorkerVm *vm, size_t slots) { return pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots); }

static void long_list(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    Root list;
    pn_root_push(vm, &list, vm->nil);
    for (int i = 0; i < 300000; i++) {
        Oop link = old_array(vm, 1);
        oop_init_slot(link, 0, list.ref);
        list.ref = ref_of(link);
    }
    collect(vm);
    pn_worker_free(vm);
}

static void wide_array(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    Root wide;
    pn_root_push(vm, &wide, ref_of(old_array(vm, 100000)));
    for (size_t i = 0; i < 100000; i++) {
        Oop element = old_array(vm, 1);
        oop_init_slot(ref_raw(wide.ref), i, ref_of(element));
        oop_init_slot(element, 0, ref_of(old_array(vm, 1)));
    }
    collect(vm);
    pn_worker_free(vm);
}

// Each node has 60 leaves and then the next node: the stack would need an entry for each leaf not yet looked at.
static void comb(void **state) {
    (void)state;
    WorkerVm *vm = test_boot();
    pn_collect_full(vm);
    Root spine;
    pn_root_push(vm, &spine, vm->nil);
    for (int i = 0; i < 1000; i++) {
        Oop node = old_array(vm, 61);
        for (size_t leaf = 0; leaf < 60; leaf++) oop_init_slot(node, leaf, ref_of(old_array(vm, 1)));
        oop_init_slot(node, 60, spine.ref);
        spine.ref = ref_of(node);
    }
    collect(vm);
    assert_null(vm->more->mark_stack);
    pn_worker_free(vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_list),
        cmocka_unit_test(wide_array),
        cmocka_unit_test(comb),
    };
    return test_run(tests);
}
