// new, new:, copies, identity hashes, ==, class, change of class, immediates: results and failures.
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
static Ref class_named(WorkerVm *vm, const char *name) { return ref_of(test_global(vm, name)); }

// ---- new, new: ------------------------------------------------------------------------------------------

static void new_makes_fixed_objects(void **state) {
    WorkerVm *vm = *state;
    Oop plain = ref_raw(prim(vm, 70, class_named(vm, "Plain")));
    assert_int_equal(oop_slot_count(plain), 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(oop_slot(plain, i).bits, vm->nil.bits);
    assert_int_equal(oop_slot_count(ref_raw(prim(vm, 70, class_named(vm, "Empty")))), 0);
    assert_int_equal(oop_format(ref_raw(prim(vm, 70, class_named(vm, "Ephemeron")))), PN_FMT_EPHEMERON);
    static const char *const variable[] = {"Array", "Listed",       "Weak",        "Words64",
                                           "Bytes", "BoxedFloat64", "SmallInteger"};
    for (size_t i = 0; i < PN_COUNT_OF(variable); i++)
        prim_fails(vm, PN_PRIM_RECEIVER, 70, class_named(vm, variable[i]));
    prim_fails(vm, PN_PRIM_RECEIVER, 70, I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 70, vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 70, prim_instance(vm, "Plain"));
}

static void new_with_makes_variable_objects(void **state) {
    WorkerVm *vm = *state;
    static const struct {
        const char *name;
        int64_t count;
        uint32_t format;
        size_t slots;
    } cases[] = {{"Array", 3, PN_FMT_ARRAY, 3},     {"Listed", 3, PN_FMT_FIXED_ARRAY, 5},
                 {"Weak", 2, PN_FMT_WEAK, 3},       {"Words64", 3, PN_FMT_64, 3},
                 {"Words32", 3, PN_FMT_32 + 1, 2},  {"Words32", 4, PN_FMT_32, 2},
                 {"Words16", 5, PN_FMT_16 + 3, 2},  {"Words16", 4, PN_FMT_16, 1},
                 {"Bytes", 0, PN_FMT_8, 0},         {"Bytes", 9, PN_FMT_8 + 7, 2},
                 {"Bytes", 8, PN_FMT_8, 1},         {"Array", 300, PN_FMT_ARRAY, 300},
                 {"BoxedFloat64", 2, PN_FMT_32, 1}, {"Array", 9000, PN_FMT_ARRAY, 9000}};
    for (size_t i = 0; i < PN_COUNT_OF(cases); i++) {
        Oop o = ref_raw(prim(vm, 71, class_named(vm, cases[i].name), I(cases[i].count)));
        assert_int_equal(oop_format(o), cases[i].format);
        assert_int_equal(oop_slot_count(o), cases[i].slots);
        if (strcmp(cases[i].name, "BoxedFloat64") != 0) assert_int_equal(prim_int(vm, 62, ref_of(o)), cases[i].count);
    }
    prim_fails(vm, PN_PRIM_ARGUMENT, 71, class_named(vm, "Array"), I(-1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 71, class_named(vm, "Array"), vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 71, class_named(vm, "BoxedFloat64"), I(3));
    prim_fails(vm, PN_PRIM_RECEIVER, 71, class_named(vm, "Plain"), I(0));
    prim_fails(vm, PN_PRIM_RECEIVER, 71, class_named(vm, "ByteSymbol"), I(3));
    prim_fails(vm, PN_PRIM_RECEIVER, 71, class_named(vm, "SmallInteger"), I(3));
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 71, class_named(vm, "Array"), I((INT64_C(1) << 40) + 1));
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 71, class_named(vm, "Bytes"), I(INT64_C(1) << 44));
}

static void memory_limit_fails_with_its_code(void **state) {
    WorkerVm *vm = *state;
    pn_more(vm)->memory_limit = 1 << 20;
    prim_fails(vm, PN_PRIM_NO_MEMORY, 71, class_named(vm, "Bytes"), I(INT64_C(1) << 24));
    pn_more(vm)->memory_limit = 0;
    prim(vm, 71, class_named(vm, "Bytes"), I(INT64_C(1) << 24));
}

// ---- Copies ---------------------------------------------------------------------------------------------------

static void copies_are_new_mutable_and_equal(void **state) {
    WorkerVm *vm = *state;
    Ref originals[] = {prim_instance(vm, "Plain"),
                       prim_bytes(vm, PN_CLASS_BYTE_STRING, "abc"),
                       prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 300),
                       prim_array(vm, 0),
                       prim_indexed(vm, "Words32", PN_FMT_32 + 1, 2),
                       prim_array(vm, 10000)};
    size_t count = PN_COUNT_OF(originals);
    prim_set_slot(vm, originals[0], 1, I(4));
    for (size_t i = 0; i < count; i++) {
        prim(vm, 75, originals[i]);
        prim(vm, 164, originals[i], vm_true(vm));
    }
    for (int frozen = 0; frozen < 2; frozen++) {
        for (size_t i = 0; i < count; i++) {
            Oop copy = ref_raw(prim(vm, 148, originals[i])), o = pn_deref(vm, originals[i]);
            assert_int_equal(oop_format(copy), oop_format(o));
            assert_int_equal(oop_slot_count(copy), oop_slot_count(o));
            assert_int_equal(oop_class_index(copy), oop_class_index(o));
            assert_int_equal(hdr_hash(oop_header(copy)), 0);
            assert_false(hdr_is_immutable(oop_header(copy)));
            assert_memory_equal(oop_slots(copy), oop_slots(o), 8 * oop_slot_count(o));
        }
        if (!frozen) prim_freeze(vm, originals, count);
    }
}

static void what_is_unique_is_its_own_copy(void **state) {
    WorkerVm *vm = *state;
    Ref unique[] = {I(1), C('a'), vm->nil, vm_true(vm), pn_symbol_z("zork"), prim_float(vm, 1.0)};
    for (size_t i = 0; i < PN_COUNT_OF(unique); i++) assert_int_equal(prim(vm, 148, unique[i]).bits, unique[i].bits);
    assert_int_equal(prim(vm, 148, vm->nil, I(7)).bits, I(7).bits);
}

static void code_is_copied_with_its_literals(void **state) {
    WorkerVm *vm = *state;
    Root method, copy;
    pn_root_push(vm, &method, prim(vm, 79, class_named(vm, "CompiledMethod"), I(5), I(2)));
    prim(vm, 69, method.ref, I(2), I(7));
    prim(vm, 61, method.ref, I(29), I(9));
    pn_root_push(vm, &copy, prim(vm, 148, method.ref));
    assert_int_equal(prim_int(vm, 68, copy.ref, I(2)), 7);
    assert_int_equal(prim_int(vm, 60, copy.ref, I(29)), 9);
    pn_root_pop(vm, &copy);
    pn_root_pop(vm, &method);
}

// ---- Identity hash -----------------------------------------------------------------------------------------------

static void hashes_are_assigned_once(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain");
    prim_false(vm, 161, plain);
    int64_t hash = prim_int(vm, 75, plain);
    assert_in_range(hash, 1, 0x3FFFFF);
    prim_true(vm, 161, plain);
    assert_int_equal(prim_int(vm, 75, vm->nil, plain), hash);
    assert_int_equal(prim_int(vm, 161, plain, I(77)), hash);
    assert_int_equal(prim_int(vm, 75, plain), 77);
    prim_freeze(vm, &plain, 1);
    assert_int_equal(prim_int(vm, 75, plain), 77);
    assert_int_equal(prim_int(vm, 161, plain, I(78)), 77);
    assert_int_equal(prim_int(vm, 75, plain), 78);
    prim_fails(vm, PN_PRIM_GENERIC, 75, I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 161, plain, I(0));
    prim_fails(vm, PN_PRIM_ARGUMENT, 161, plain, I(0x400000));
    prim_fails(vm, PN_PRIM_ARGUMENT, 161, plain, vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 161, plain, I(1), vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 161, I(1), I(1));
    prim_false(vm, 161, I(1));
    assert_int_equal(prim_int(vm, 176, plain), 0x3FFFFF);
}

static void the_hash_of_a_class_is_its_index(void **state) {
    WorkerVm *vm = *state;
    Ref plain = class_named(vm, "Plain");
    uint32_t index = pn_class_index(vm, ref_raw(plain));
    assert_int_equal(prim_int(vm, 175, plain), index);
    assert_int_equal(prim_int(vm, 175, vm->nil, plain), index);
    assert_int_equal(prim_int(vm, 75, plain), index);
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 161, plain, I(5));
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 161, prim_instance(vm, "Plain"), I(5), vm_true(vm));
    prim_fails(vm, PN_PRIM_RECEIVER, 175, prim_instance(vm, "Plain"));
    prim_fails(vm, PN_PRIM_RECEIVER, 175, I(1));
}

// A class that was only just copied, as a class builder does, is entered by whoever asks for its hash first.
static void a_class_without_index_gets_one(void **state) {
    WorkerVm *vm = *state;
    Root made;
    pn_root_push(vm, &made, prim(vm, 148, class_named(vm, "Plain")));
    int64_t hash = prim_int(vm, 75, made.ref);
    assert_int_not_equal(hash, prim_int(vm, 75, class_named(vm, "Plain")));
    Ref instance = prim(vm, 70, made.ref);
    assert_int_equal(oop_class_index(ref_raw(instance)), hash);
    prim_true(vm, 110, prim(vm, 111, prim(vm, 70, made.ref)), made.ref);
    pn_root_pop(vm, &made);
}

// ---- Identity and class -------------------------------------------------------------------------------------------

static void identity_and_class(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain"), other = prim_instance(vm, "Plain");
    prim_true(vm, 110, plain, plain);
    prim_false(vm, 110, plain, other);
    prim_true(vm, 169, plain, other);
    prim_false(vm, 169, plain, plain);
    prim_true(vm, 110, vm->nil, I(3), I(3));
    prim_false(vm, 110, I(3), plain);
    assert_int_equal(prim(vm, 111, plain).bits, class_named(vm, "Plain").bits);
    assert_int_equal(prim(vm, 111, vm->nil, I(3)).bits, class_named(vm, "SmallInteger").bits);
    assert_int_equal(prim(vm, 111, C('a')).bits, class_named(vm, "Character").bits);
    assert_int_equal(prim(vm, 111, prim_float(vm, 1.0)).bits, class_named(vm, "SmallFloat64").bits);
}

static void original_and_copy_are_identical(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain");
    prim_freeze(vm, &plain, 1);
    prim(vm, 74, plain, I(1), I(1));
    Ref copy = prim_current(vm, plain);
    assert_int_equal(copy.bits != plain.bits, PN_COW);
    prim_true(vm, 110, plain, copy);
    prim_false(vm, 169, copy, plain);
    assert_int_equal(prim_int(vm, 75, plain), prim_int(vm, 75, copy));
}

static void an_object_points_to_what_its_slots_hold(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain"), list = prim_array_with(vm, plain);
    prim_true(vm, 132, list, plain);
    prim_false(vm, 132, plain, list);
    prim_false(vm, 132, I(1), plain);
    prim_false(vm, 132, prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abc"), plain);
    Ref method = prim(vm, 79, class_named(vm, "CompiledMethod"), I(5), I(2));
    prim_true(vm, 132, method, vm->nil);
}

// ---- Change of class ------------------------------------------------------------------------------------------------

static void objects_adopt_classes_of_their_shape(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain"), other = prim_instance(vm, "Other");
    prim_set_slot(vm, plain, 0, I(5));
    prim(vm, 115, plain, other);
    assert_int_equal(prim(vm, 111, plain).bits, class_named(vm, "Other").bits);
    prim(vm, 160, class_named(vm, "Plain"), plain);
    assert_int_equal(prim(vm, 111, plain).bits, class_named(vm, "Plain").bits);
    assert_int_equal(ref_int(prim_slot(vm, plain, 0)), 5);
    assert_int_equal(prim(vm, 160, vm->nil, class_named(vm, "Other"), plain).bits, vm->nil.bits);
    prim(vm, 160, class_named(vm, "Listed"), plain); // two named, one indexed
    assert_int_equal(oop_format(ref_raw(plain)), PN_FMT_FIXED_ARRAY);
    assert_int_equal(prim_int(vm, 62, plain), 1);
    prim_freeze(vm, &plain, 1);
    prim(vm, 160, class_named(vm, "Array"), plain);
    assert_int_equal(prim_int(vm, 62, plain), 3);
}

static void raw_objects_adopt_what_divides_them(void **state) {
    WorkerVm *vm = *state;
    Ref bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abcdefghijkl");
    prim(vm, 160, class_named(vm, "Words32"), bytes);
    assert_int_equal(prim_int(vm, 62, bytes), 3);
    prim(vm, 160, class_named(vm, "Words16"), bytes);
    assert_int_equal(prim_int(vm, 62, bytes), 6);
    prim_fails(vm, PN_PRIM_RECEIVER, 160, class_named(vm, "Words64"), bytes);
    prim(vm, 160, class_named(vm, "ByteString"), bytes);
    assert_int_equal(prim_int(vm, 62, bytes), 12);
    prim_fails(vm, PN_PRIM_RECEIVER, 160, class_named(vm, "Words32"), prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abc"));
}

static void classes_of_other_shapes_are_refused(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain"), bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abcdefgh");
    prim_fails(vm, PN_PRIM_RECEIVER, 115, plain, prim_instance(vm, "Wide"));
    prim_fails(vm, PN_PRIM_RECEIVER, 115, prim_instance(vm, "Wide"), plain);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "Bytes"), plain);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "Plain"), bytes);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "ByteSymbol"), bytes);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "SmallInteger"), bytes);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "CompiledMethod"), bytes);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "Context"), prim_array(vm, 22));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 160, class_named(vm, "Empty"), vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 115, I(1), plain);
    prim_fails(vm, PN_PRIM_ARGUMENT, 115, plain, I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 160, plain, plain);
    prim_fails(vm, PN_PRIM_ARGUMENT, 160, class_named(vm, "Plain"), I(1));
    prim(vm, 164, plain, vm_true(vm));
    prim_fails(vm, PN_PRIM_NO_MODIFICATION, 115, plain, prim_instance(vm, "Other"));
}

// ---- Immediates -----------------------------------------------------------------------------------------------------

static void immediates_are_converted(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim(vm, 170, I(97)).bits, C('a').bits);
    assert_int_equal(prim(vm, 170, vm->nil, I(97)).bits, C('a').bits);
    prim_fails(vm, PN_PRIM_RECEIVER, 170, I(-1));
    prim_fails(vm, PN_PRIM_RECEIVER, 170, I(INT64_C(1) << 30));
    prim_fails(vm, PN_PRIM_ARGUMENT, 170, vm->nil, I(-1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 170, vm->nil, vm->nil);
    assert_int_equal(prim_int(vm, 171, C('a')), 97);
    assert_int_equal(prim_int(vm, 171, I(-5)), -5);
    assert_int_equal(prim_int(vm, 171, prim_float(vm, 1.0)), INT64_C(0x7F00000000000004) >> 4);
    assert_int_equal(prim_int(vm, 171, prim_float(vm, -1.0)), (INT64_C(0x7F0000000000000C) >> 4) + PN_INT_MIN);
    prim_fails(vm, PN_PRIM_RECEIVER, 171, vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 171, prim_float(vm, 1e300));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_makes_fixed_objects, begin, end),
        cmocka_unit_test_setup_teardown(new_with_makes_variable_objects, begin, end),
        cmocka_unit_test_setup_teardown(memory_limit_fails_with_its_code, begin, end),
        cmocka_unit_test_setup_teardown(copies_are_new_mutable_and_equal, begin, end),
        cmocka_unit_test_setup_teardown(what_is_unique_is_its_own_copy, begin, end),
        cmocka_unit_test_setup_teardown(code_is_copied_with_its_literals, begin, end),
        cmocka_unit_test_setup_teardown(hashes_are_assigned_once, begin, end),
        cmocka_unit_test_setup_teardown(the_hash_of_a_class_is_its_index, begin, end),
        cmocka_unit_test_setup_teardown(a_class_without_index_gets_one, begin, end),
        cmocka_unit_test_setup_teardown(identity_and_class, begin, end),
        cmocka_unit_test_setup_teardown(original_and_copy_are_identical, begin, end),
        cmocka_unit_test_setup_teardown(an_object_points_to_what_its_slots_hold, begin, end),
        cmocka_unit_test_setup_teardown(objects_adopt_classes_of_their_shape, begin, end),
        cmocka_unit_test_setup_teardown(raw_objects_adopt_what_divides_them, begin, end),
        cmocka_unit_test_setup_teardown(classes_of_other_shapes_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(immediates_are_converted, begin, end),
    };
    return test_run(tests);
}
