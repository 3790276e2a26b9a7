// become:, in all its forms, for private objects and objects of layers: what references mean afterwards, what is
// refused.
#include "tests/interp/prims.h"

static int begin(void **state) {
    *state = prim_boot();
    return 0;
}
static int end(void **state) {
    test_verify(*state);
    pn_worker_free(*state);
    return 0;
}

// A plain object with one number in it.
static Ref numbered(WorkerVm *vm, int64_t n) {
    Ref o = prim_instance(vm, "Plain");
    prim_set_slot(vm, o, 0, I(n));
    return o;
}
static int64_t number_of(WorkerVm *vm, Ref o) { return prim_int(vm, 73, o, I(1)); }

static void forward(WorkerVm *vm, uint32_t primitive, Ref from, Ref to) {
    prim(vm, primitive, prim_array_with(vm, from), prim_array_with(vm, to));
}
static void forward_fails(WorkerVm *vm, uint32_t code, uint32_t primitive, Ref from, Ref to) {
    prim_fails(vm, code, primitive, prim_array_with(vm, from), prim_array_with(vm, to));
}

// Two objects, in a layer as number says: bit 0 the first, bit 1 the second.
typedef struct Pair {
    Ref a, b;
} Pair;
static Pair pair(WorkerVm *vm, int shared, const char *class_b) {
    Ref a = numbered(vm, 1), b = prim_instance(vm, class_b);
    prim_set_slot(vm, b, 0, I(2));
    Ref kept[2] = {a, b};
    if (shared) prim_freeze(vm, kept, 2);
    Pair p = {shared & 1 ? kept[0] : numbered(vm, 1), kept[1]};
    if (!(shared & 2)) {
        p.b = prim_instance(vm, class_b);
        prim_set_slot(vm, p.b, 0, I(2));
    }
    return p;
}

// ---- One-way ----------------------------------------------------------------------------------------------

static void one_way_makes_the_source_mean_the_target(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 4; shared++) {
        Pair p = pair(vm, shared, "Wide");
        Root holder;
        pn_root_push(vm, &holder, prim_array_with(vm, p.a));
        forward(vm, 248, p.a, p.b);
        prim_true(vm, 110, p.a, p.b);
        prim_true(vm, 110, prim_slot(vm, holder.ref, 0), p.b);
        assert_int_equal(number_of(vm, p.a), 2);
        prim(vm, 74, p.a, I(5), I(9)); // the target has five slots
        assert_int_equal(prim_int(vm, 73, p.b, I(5)), 9);
        assert_int_equal(prim(vm, 111, p.a).bits, ref_of(test_global(vm, "Wide")).bits);
        test_verify(vm);
        pn_collect_full(vm);
        assert_int_equal(number_of(vm, prim_slot(vm, holder.ref, 0)), 2);
        test_verify(vm);
        pn_root_pop(vm, &holder);
    }
}

static void one_way_takes_the_hash_along_if_asked(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 4; shared++)
        for (int copy = 0; copy < 2; copy++) {
            Pair p = pair(vm, shared, "Wide");
            int64_t hash_a = prim_int(vm, 75, p.a), hash_b = prim_int(vm, 75, p.b);
            prim(vm, 249, prim_array_with(vm, p.a), prim_array_with(vm, p.b), vm_bool(vm, copy));
            assert_int_equal(prim_int(vm, 75, p.a), copy ? hash_a : hash_b);
            p = pair(vm, shared, "Wide");
            hash_a = prim_int(vm, 75, p.a), hash_b = prim_int(vm, 75, p.b);
            forward(vm, copy ? 72 : 248, p.a, p.b);
            assert_int_equal(prim_int(vm, 75, p.b), copy ? hash_a : hash_b);
        }
}

// A source that nobody has asked for its hash has none to give.
static void no_hash_is_no_hash_to_take_along(void **state) {
    WorkerVm *vm = *state;
    Ref a = numbered(vm, 1), b = numbered(vm, 2);
    int64_t hash = prim_int(vm, 75, b);
    forward(vm, 72, a, b);
    assert_int_equal(prim_int(vm, 75, a), hash);
}

static void targets_can_be_what_sources_cannot(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 2; shared++) {
        Ref targets[] = {I(5), C('a'), vm->nil, pn_symbol_z("zork"), prim_float(vm, 1e300), vm_true(vm)};
        for (size_t i = 0; i < PN_COUNT_OF(targets); i++) {
            Ref source = numbered(vm, 1);
            if (shared) {
                prim_freeze(vm, &source, 1);
                targets[2] = vm->nil;
                targets[5] = vm_true(vm);
                targets[4] = prim_float(vm, 1e300);
            }
            forward(vm, 248, source, targets[i]);
            prim_true(vm, 110, source, targets[i]);
            prim_true(vm, 110, targets[i], source);
            test_verify(vm);
            pn_collect_full(vm);
            targets[4] = prim_float(vm, 1e300);
        }
    }
}

// What arithmetic gets may be a reference that has come to mean an immediate.
static void references_that_mean_numbers_are_numbers(void **state) {
    WorkerVm *vm = *state;
    Ref seven = numbered(vm, 1), half = numbered(vm, 1);
    forward(vm, 248, seven, I(7));
    forward(vm, 248, half, prim_float(vm, 0.5));
    assert_int_equal(prim_int(vm, 1, seven, seven), 14);
    assert_int_equal(prim_int(vm, 29, seven, I(2)), 14);
    assert_int_equal(ref_float(prim(vm, 541, half, seven)) == 7.5, true);
    assert_int_equal(prim_int(vm, 60, prim_array_with(vm, I(3)), ref_of(pn_deref(vm, I(1)))), 3);
    prim_fails(vm, PN_PRIM_INDEX, 60, prim_array(vm, 2), seven);
    assert_int_equal(prim_int(vm, 171, seven), 7);
}

static void a_young_target_is_kept_alive(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 2; shared++) {
        Root kept, target;
        Ref source = numbered(vm, 1);
        if (shared) prim_freeze(vm, &source, 1);
        pn_root_push(vm, &kept, prim_array_with(vm, source));
        pn_root_push(vm, &target, prim(vm, 71, ref_of(test_global(vm, "Array")), I(4)));
        forward(vm, 248, prim_slot(vm, kept.ref, 0), target.ref);
        pn_root_pop(vm, &target);
        test_verify(vm);
        for (int i = 0; i < 3; i++) {
            pn_collect_young(vm);
            assert_int_equal(prim_int(vm, 62, prim_slot(vm, kept.ref, 0)), 4);
            if (shared) assert_int_equal(prim_int(vm, 62, source), 4);
            test_verify(vm);
        }
        pn_root_pop(vm, &kept);
    }
}

// Many at once, shared and private mixed, many sources for one target.
static void many_at_once(void **state) {
    WorkerVm *vm = *state;
    enum { MANY = 500 };
    Ref from = prim_array(vm, MANY);
    for (size_t i = 0; i < MANY; i++) prim_set_slot(vm, from, i, numbered(vm, (int64_t)i));
    prim_freeze(vm, &from, 1);
    Ref to = prim_array(vm, MANY), sources = prim_array(vm, MANY), target = numbered(vm, 1000);
    for (size_t i = 0; i < MANY; i++) {
        prim_set_slot(vm, to, i, i % 3 == 0 ? target : numbered(vm, (int64_t)(2 * i)));
        prim_set_slot(vm, sources, i, i % 2 == 0 ? prim_slot(vm, from, i) : numbered(vm, -1));
    }
    prim(vm, 72, sources, to);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(number_of(vm, prim_slot(vm, sources, i)), i % 3 == 0 ? 1000 : (int64_t)(2 * i));
    for (size_t i = 0; i < MANY; i += 2) prim_true(vm, 110, prim_slot(vm, from, i), prim_slot(vm, to, i));
}

// ---- Two-way ---------------------------------------------------------------------------------------------------

static void two_way_exchanges_contents_but_not_hashes(void **state) {
    WorkerVm *vm = *state;
    static const char *const classes[] = {"Other", "Wide"};
    for (int shared = 0; shared < 4; shared++)
        for (size_t i = 0; i < PN_COUNT_OF(classes); i++) {
            Pair p = pair(vm, shared, classes[i]);
            int64_t hash_a = prim_int(vm, 75, p.a), hash_b = prim_int(vm, 75, p.b);
            Root holder;
            pn_root_push(vm, &holder, prim_array_with(vm, p.b));
            forward(vm, 128, p.a, p.b);
            assert_int_equal(number_of(vm, p.a), 2);
            assert_int_equal(number_of(vm, prim_slot(vm, holder.ref, 0)), 1);
            assert_int_equal(prim(vm, 111, p.a).bits, ref_of(test_global(vm, classes[i])).bits);
            assert_int_equal(prim(vm, 111, p.b).bits, ref_of(test_global(vm, "Plain")).bits);
            assert_int_equal(prim_int(vm, 75, p.a), hash_a);
            assert_int_equal(prim_int(vm, 75, p.b), hash_b);
            prim_false(vm, 110, p.a, p.b);
            test_verify(vm);
            forward(vm, 128, p.a, p.b); // and back
            assert_int_equal(number_of(vm, p.a), 1);
            assert_int_equal(number_of(vm, p.b), 2);
            pn_collect_full(vm);
            assert_int_equal(number_of(vm, prim_slot(vm, holder.ref, 0)), 2);
            test_verify(vm);
            pn_root_pop(vm, &holder);
        }
}

static void two_way_exchanges_raw_and_empty_objects(void **state) {
    WorkerVm *vm = *state;
    Ref bytes = prim_bytes(vm, PN_CLASS_BYTE_STRING, "hello, world"), empty = prim_instance(vm, "Empty");
    Root kept;
    pn_root_push(vm, &kept, prim_array_with(vm, bytes));
    forward(vm, 128, bytes, empty);
    assert_int_equal(prim_int(vm, 62, empty), 12);
    assert_int_equal(prim(vm, 63, empty, I(5)).bits, C('o').bits);
    assert_int_equal(prim(vm, 111, bytes).bits, ref_of(test_global(vm, "Empty")).bits);
    pn_collect_full(vm);
    assert_int_equal(prim(vm, 111, prim_slot(vm, kept.ref, 0)).bits, ref_of(test_global(vm, "Empty")).bits);
    pn_root_pop(vm, &kept);
}

// What all who meet one rely on: the class index that nothing has, the bit that makes them look, a slot for the target.
static void forwarders_can_be_told(void **state) {
    WorkerVm *vm = *state;
    Ref sources[] = {numbered(vm, 1), prim_instance(vm, "Empty"), prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "bytes"),
                     prim_array(vm, 300)};
    for (size_t i = 0; i < PN_COUNT_OF(sources); i++) {
        size_t bytes = oop_bytes_occupied(ref_raw(sources[i]));
        Ref target = numbered(vm, 2);
        forward(vm, 248, sources[i], target);
        Oop forwarder = ref_raw(sources[i]);
        assert_true(oop_is_forwarder(forwarder) && ref_needs_follow_check(sources[i]));
        assert_int_equal(oop_format(forwarder), PN_FMT_FORWARDED);
        assert_int_equal(oop_bytes_occupied(forwarder), bytes);
        assert_true(oop_slot_count(forwarder) >= 1);
        assert_int_equal(oop_slot(forwarder, 0).bits, target.bits);
    }
}

static void an_object_becoming_itself_stays(void **state) {
    WorkerVm *vm = *state;
    Ref a = numbered(vm, 1);
    forward(vm, 128, a, a);
    forward(vm, 72, a, a);
    assert_int_equal(number_of(vm, a), 1);
    prim(vm, 72, prim_array(vm, 0), prim_array(vm, 0));
}

// ---- Refusals -----------------------------------------------------------------------------------------------------

static void operands_must_be_arrays_of_one_size(void **state) {
    WorkerVm *vm = *state;
    Ref one = prim_array(vm, 1), two = prim_array(vm, 2), plain = numbered(vm, 1);
    static const uint32_t primitives[] = {72, 128, 248};
    for (size_t i = 0; i < 3; i++) {
        prim_fails(vm, PN_PRIM_RECEIVER, primitives[i], plain, one);
        prim_fails(vm, PN_PRIM_RECEIVER, primitives[i], I(1), one);
        prim_fails(vm, PN_PRIM_ARGUMENT, primitives[i], one, plain);
        prim_fails(vm, PN_PRIM_ARGUMENT, primitives[i], one, two);
    }
    prim_fails(vm, PN_PRIM_ARGUMENT, 249, one, one, vm->nil);
}

static void sources_that_cannot_change_are_refused(void **state) {
    WorkerVm *vm = *state;
    static const uint32_t primitives[] = {72, 128, 248};
    Ref plain = numbered(vm, 1), pinned = numbered(vm, 1), frozen = numbered(vm, 1);
    oop_set_header(ref_raw(pinned), oop_header(ref_raw(pinned)) | PN_HDR_PINNED);
    prim(vm, 164, frozen, vm_true(vm));
    Ref code = prim(vm, 79, ref_of(test_global(vm, "CompiledMethod")), I(5), I(2));
    Ref never[] = {vm->nil,
                   vm_true(vm),
                   vm_false(vm),
                   pn_symbol_z("zork"),
                   prim_float(vm, 1e300),
                   prim_large(vm, false, UINT64_MAX),
                   frozen,
                   code};
    for (size_t i = 0; i < 3; i++) {
        forward_fails(vm, PN_PRIM_INAPPROPRIATE, primitives[i], I(1), plain);
        forward_fails(vm, PN_PRIM_INAPPROPRIATE, primitives[i], C('a'), plain);
        forward_fails(vm, PN_PRIM_PINNED, primitives[i], pinned, plain);
        for (size_t k = 0; k < PN_COUNT_OF(never); k++)
            forward_fails(vm, PN_PRIM_NO_MODIFICATION, primitives[i], never[k], plain);
    }
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 128, plain, I(1));
    forward_fails(vm, PN_PRIM_PINNED, 128, plain, pinned);
    forward_fails(vm, PN_PRIM_NO_MODIFICATION, 128, plain, frozen);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 72, plain, I(1));
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 72, plain, frozen);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 72, plain, vm->nil);
    oop_set_header(ref_raw(pinned), oop_header(ref_raw(pinned)) & ~PN_HDR_PINNED);
}

static void user_read_only_objects_of_layers_are_refused(void **state) {
    WorkerVm *vm = *state;
    Ref o[2] = {numbered(vm, 1), prim_array(vm, 1)};
    prim_set_slot(vm, o[1], 0, o[0]);
    prim(vm, 164, o[0], vm_true(vm));
    prim_freeze(vm, o, 2);
    Ref plain = numbered(vm, 2);
    forward_fails(vm, PN_PRIM_NO_MODIFICATION, 248, o[0], plain);
    forward_fails(vm, PN_PRIM_NO_MODIFICATION, 128, plain, o[0]);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 72, plain, o[0]);
    forward(vm, 248, plain, o[0]); // as a target it serves
    prim_true(vm, 110, plain, o[0]);
    prim_true(vm, 163, plain);
}

static void failure_changes_nothing(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 2; shared++) {
        Ref from = prim_array(vm, 3), to = prim_array(vm, 3);
        for (size_t i = 0; i < 3; i++) {
            prim_set_slot(vm, from, i, numbered(vm, (int64_t)i));
            prim_set_slot(vm, to, i, numbered(vm, 10));
        }
        Ref kept[2] = {from, to};
        if (shared) prim_freeze(vm, kept, 2);
        prim(vm, 61, kept[0], I(3), vm->nil);
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 72, kept[0], kept[1]);
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 128, kept[0], kept[1]);
        for (size_t i = 0; i < 2; i++) assert_int_equal(number_of(vm, prim_slot(vm, kept[0], i)), i);
    }
}

static void an_object_takes_part_once(void **state) {
    WorkerVm *vm = *state;
    Ref a = numbered(vm, 1), b = numbered(vm, 2), c = numbered(vm, 3), from = prim_array(vm, 2), to = prim_array(vm, 2);
    prim_set_slot(vm, from, 0, a);
    prim_set_slot(vm, from, 1, a);
    prim_set_slot(vm, to, 0, b);
    prim_set_slot(vm, to, 1, c);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 72, from, to);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 128, from, to);
    prim_set_slot(vm, from, 1, b);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 248, from, to); // a becomes b, b becomes c
    assert_int_equal(number_of(vm, a), 1);
}

// ---- Classes
// ---------------------------------------------------------------------------------------------------------

static void a_class_that_became_another_takes_its_instances_along(void **state) {
    WorkerVm *vm = *state;
    for (int shared = 0; shared < 2; shared++) {
        Ref o[3] = {ref_of(test_global(vm, "Plain")), ref_of(test_global(vm, "Other")), numbered(vm, 4)};
        if (shared) prim_freeze(vm, o, 3);
        uint64_t world = vm->world_key;
        forward(vm, shared ? 248 : 128, o[0], o[1]);
        assert_int_not_equal(vm->world_key, world);
        prim_true(vm, 110, prim(vm, 111, o[2]), shared ? o[1] : o[0]);
        assert_int_equal(number_of(vm, o[2]), 4);
        prim(vm, 70, o[0]);
        test_verify(vm);
        pn_collect_full(vm);
        Ref changed = ref_of(test_global(vm, "Plain"));
        prim_true(vm, 110, prim(vm, 111, prim(vm, 70, changed)), changed);
    }
}

static void a_class_only_becomes_a_class(void **state) {
    WorkerVm *vm = *state;
    Ref class_object = ref_of(test_global(vm, "Plain")), plain = numbered(vm, 1);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 248, class_object, plain);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 128, plain, class_object);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 248, class_object, vm->nil);
}

static void add_method_touching(WorkerVm *vm, const char *class_name, uint32_t slot) {
    Asm *a = pn_asm(vm, 0, 0);
    pn_asm_push_inst(a, slot);
    pn_asm_return_top(a);
    pn_asm_install(a, test_global(vm, class_name), "touch");
}

// H9 for classes: instances of the old one would run methods of the new one.
static void a_class_whose_methods_touch_more_is_refused(void **state) {
    WorkerVm *vm = *state;
    Ref plain = ref_of(test_global(vm, "Plain")), wide = ref_of(test_global(vm, "Wide"));
    add_method_touching(vm, "Wide", 4);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 248, plain, wide);
    forward_fails(vm, PN_PRIM_INAPPROPRIATE, 128, wide, plain);
    forward(vm, 248, wide, plain); // the other way round they have slots to spare
}

// ---- Scenarios
// ---------------------------------------------------------------------------------------------------------

// A8. Copies of copies, entries whose value is a key, cycles: the overlay says what an object means in one step.
static void become_survives_a_second_freeze(void **state) {
    WorkerVm *vm = *state;
    if (!PN_COW) return;
    Ref o[3] = {numbered(vm, 1), numbered(vm, 2), numbered(vm, 3)};
    Ref holder = prim_array(vm, 3);
    for (size_t i = 0; i < 3; i++) prim_set_slot(vm, holder, i, o[i]);
    test_set_global(vm, "Holder", holder);
    prim_freeze(vm, o, 3); // first layer
    prim(vm, 74, o[0], I(1), I(10));
    pn_layer_release(test_freeze(vm)); // the copy lies in a second one
    test_verify(vm);
    prim(vm, 74, o[0], I(1), I(11)); // a copy of the copy
    forward(vm, 248, o[0], o[1]);    // which becomes another object of the first layer
    prim(vm, 74, o[1], I(1), I(12));
    assert_int_equal(number_of(vm, o[0]), 12);
    test_verify(vm);
    forward(vm, 128, o[1], o[2]);
    assert_int_equal(number_of(vm, o[0]), 3);
    assert_int_equal(number_of(vm, o[2]), 12);
    test_verify(vm);
    pn_layer_release(test_freeze(vm));
    test_verify(vm);
    assert_int_equal(number_of(vm, o[0]), 3);
    assert_int_equal(number_of(vm, o[1]), 3);
    assert_int_equal(number_of(vm, o[2]), 12);
    prim(vm, 74, o[0], I(1), I(5));
    assert_int_equal(number_of(vm, o[1]), 5);
}

// A8. x becomes y, y becomes x: no reference may go round in circles.
static void exchanging_twice_ends_where_it_began(void **state) {
    WorkerVm *vm = *state;
    Pair p = pair(vm, 3, "Wide");
    for (int i = 1; i <= 4; i++) {
        forward(vm, 128, i % 2 ? p.a : p.b, i % 2 ? p.b : p.a);
        assert_int_equal(number_of(vm, p.a), i % 2 ? 2 : 1);
        test_verify(vm);
    }
}

// B10. A stale reference in a temp is the same object as what it means.
static void stale_references_are_identical_to_what_they_mean(void **state) {
    WorkerVm *vm = *state;
    Ref a = numbered(vm, 1), b = numbered(vm, 2);
    forward(vm, 248, a, b);
    assert_int_not_equal(a.bits, b.bits);
    prim_true(vm, 110, a, b);
    prim_true(vm, 110, b, a);
    prim_false(vm, 169, a, b);
    prim_true(vm, 132, prim_array_with(vm, a), b);
}

// B11. self becomeForward: an object with fewer slots, in a method that goes on to read one of them.
static void a_running_method_keeps_the_slots_it_touches(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        WorkerVm *vm = test_boot_kernel();
        Oop five = pn_asm_class(vm, "Five", test_global(vm, "Object"), 5);
        Oop one = pn_asm_class(vm, "One", test_global(vm, "Object"), 1);
        Asm *a = pn_asm(vm, 1, 0); // changeInto: other; {self} elementsForwardIdentityTo: {other}. ^fifth slot
        pn_asm_push_self(a);
        pn_asm_push_array(a, 1, true);
        pn_asm_push_temp(a, 0);
        pn_asm_push_array(a, 1, true);
        pn_asm_send(a, "elementsForwardIdentityTo:", 1);
        pn_asm_pop(a);
        pn_asm_push_inst(a, 4);
        pn_asm_return_top(a);
        pn_asm_install(a, five, "changeInto:");
        Ref o[3] = {prim_object(vm, pn_class_index(vm, five), PN_FMT_FIXED, 5),
                    prim_object(vm, pn_class_index(vm, one), PN_FMT_FIXED, 1),
                    prim_object(vm, pn_class_index(vm, five), PN_FMT_FIXED, 5)};
        prim_set_slot(vm, o[0], 4, I(50));
        prim_set_slot(vm, o[2], 4, I(55));
        if (shared) prim_freeze(vm, o, 3);
        test_send_failing(vm, o[0], "changeInto:", o[1]);
        assert_int_equal(prim_int(vm, 73, o[0], I(5)), 50);                 // still itself
        assert_int_equal(test_send_int(vm, o[0], "changeInto:", o[2]), 55); // the frame goes on on the new object (H5)
        test_verify(vm);
        pn_worker_free(vm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_way_makes_the_source_mean_the_target, begin, end),
        cmocka_unit_test_setup_teardown(one_way_takes_the_hash_along_if_asked, begin, end),
        cmocka_unit_test_setup_teardown(no_hash_is_no_hash_to_take_along, begin, end),
        cmocka_unit_test_setup_teardown(targets_can_be_what_sources_cannot, begin, end),
        cmocka_unit_test_setup_teardown(references_that_mean_numbers_are_numbers, begin, end),
        cmocka_unit_test_setup_teardown(a_young_target_is_kept_alive, begin, end),
        cmocka_unit_test_setup_teardown(many_at_once, begin, end),
        cmocka_unit_test_setup_teardown(two_way_exchanges_contents_but_not_hashes, begin, end),
        cmocka_unit_test_setup_teardown(two_way_exchanges_raw_and_empty_objects, begin, end),
        cmocka_unit_test_setup_teardown(forwarders_can_be_told, begin, end),
        cmocka_unit_test_setup_teardown(an_object_becoming_itself_stays, begin, end),
        cmocka_unit_test_setup_teardown(operands_must_be_arrays_of_one_size, begin, end),
        cmocka_unit_test_setup_teardown(sources_that_cannot_change_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(user_read_only_objects_of_layers_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(failure_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(an_object_takes_part_once, begin, end),
        cmocka_unit_test_setup_teardown(a_class_that_became_another_takes_its_instances_along, begin, end),
        cmocka_unit_test_setup_teardown(a_class_only_becomes_a_class, begin, end),
        cmocka_unit_test_setup_teardown(a_class_whose_methods_touch_more_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(become_survives_a_second_freeze, begin, end),
        cmocka_unit_test_setup_teardown(exchanging_twice_ends_where_it_began, begin, end),
        cmocka_unit_test_setup_teardown(stale_references_are_identical_to_what_they_mean, begin, end),
        cmocka_unit_test(a_running_method_keeps_the_slots_it_touches),
    };
    return test_run(tests);
}
