// at:, at:put:, size, slots, literals: every format, every failure code, and what a write does to an object of a layer.
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

// ---- Reading and writing each format --------------------------------------------------------------------

static void values_are_indexed_after_named_slots(void **state) {
    WorkerVm *vm = *state;
    Ref objects[] = {prim_array(vm, 3), prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 5),
                     prim_indexed(vm, "Weak", PN_FMT_WEAK, 4)};
    const size_t named[] = {0, 2, 1};
    for (size_t i = 0; i < PN_COUNT_OF(objects); i++) {
        assert_int_equal(prim_int(vm, 62, objects[i]), 3);
        assert_int_equal(prim_int(vm, 61, objects[i], I(3), I(77)), 77);
        assert_int_equal(prim_int(vm, 60, objects[i], I(3)), 77);
        assert_int_equal(prim_int(vm, 173, objects[i], I((int64_t)named[i] + 3)), 77);
        assert_int_equal(prim_slot(vm, objects[i], named[i] + 2).bits, I(77).bits);
        prim_fails(vm, PN_PRIM_INDEX, 60, objects[i], I(0));
        prim_fails(vm, PN_PRIM_INDEX, 60, objects[i], I(4));
        prim_fails(vm, PN_PRIM_INDEX, 61, objects[i], I(-1), I(1));
        prim_fails(vm, PN_PRIM_ARGUMENT, 61, objects[i], vm->nil, I(1));
    }
}

static void raw_elements_are_unsigned(void **state) {
    WorkerVm *vm = *state;
    static const struct {
        const char *name;
        uint32_t format;
        size_t slots;
        int64_t count;
        uint64_t largest;
    } cases[] = {{"Words64", PN_FMT_64, 2, 2, UINT64_MAX},
                 {"Words32", PN_FMT_32 + 1, 2, 3, UINT32_MAX},
                 {"Words16", PN_FMT_16 + 3, 2, 5, UINT16_MAX},
                 {"Bytes", PN_FMT_8 + 7, 2, 9, UINT8_MAX}};
    for (size_t i = 0; i < PN_COUNT_OF(cases); i++) {
        Ref o = prim_indexed(vm, cases[i].name, cases[i].format, cases[i].slots);
        Ref last = I(cases[i].count);
        Ref largest = i == 0 ? prim_large(vm, false, UINT64_MAX) : I((int64_t)cases[i].largest);
        Ref too_large = i == 0 ? prim_object(vm, PN_CLASS_LARGE_POSITIVE, PN_FMT_8, 2)
                               : I((int64_t)cases[i].largest + 1);
        uint64_t read;
        assert_int_equal(prim_int(vm, 62, o), cases[i].count);
        prim(vm, 61, o, last, largest);
        assert_true(pn_uint64_value(vm, prim(vm, 60, o, last), &read) && read == cases[i].largest);
        assert_true(pn_uint64_value(vm, prim(vm, 173, o, last), &read) && read == cases[i].largest);
        assert_int_equal(prim_int(vm, 165, o, last), -1);
        prim_fails(vm, PN_PRIM_ARGUMENT, 61, o, last, too_large);
        prim_fails(vm, PN_PRIM_ARGUMENT, 174, o, last, I(-1));
        prim_fails(vm, PN_PRIM_INDEX, 60, o, I(cases[i].count + 1));
        prim_fails(vm, PN_PRIM_INDEX, 61, o, I(cases[i].count + 1), I(0));
        prim_fails(vm, PN_PRIM_INDEX, 174, o, I(0), I(0));
    }
}

static void what_has_no_elements_is_refused(void **state) {
    WorkerVm *vm = *state;
    Ref plain[] = {prim_instance(vm, "Plain"), prim_instance(vm, "Ephemeron"), vm->nil};
    for (size_t i = 0; i < PN_COUNT_OF(plain); i++) {
        prim_fails(vm, PN_PRIM_RECEIVER, 60, plain[i], I(1));
        prim_fails(vm, PN_PRIM_RECEIVER, 61, plain[i], I(1), I(1));
        prim_fails(vm, PN_PRIM_RECEIVER, 62, plain[i]);
        prim_fails(vm, PN_PRIM_RECEIVER, 63, plain[i], I(1));
        prim_fails(vm, PN_PRIM_ARGUMENT, 60, plain[i], vm->nil);
    }
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 60, I(1), I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 61, C('a'), I(1), I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 63, I(1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 62, I(1));
}

static void mirror_forms_take_the_subject_as_argument(void **state) {
    WorkerVm *vm = *state;
    Ref array = prim_array(vm, 1), plain = prim_instance(vm, "Plain");
    assert_int_equal(prim_int(vm, 61, vm->nil, array, I(1), I(5)), 5);
    assert_int_equal(prim_int(vm, 60, vm->nil, array, I(1)), 5);
    assert_int_equal(prim_int(vm, 62, vm->nil, array), 1);
    assert_int_equal(prim_int(vm, 74, vm->nil, plain, I(2), I(6)), 6);
    assert_int_equal(prim_int(vm, 73, vm->nil, plain, I(2)), 6);
    assert_int_equal(prim_int(vm, 174, vm->nil, plain, I(1), I(7)), 7);
    assert_int_equal(prim_int(vm, 173, vm->nil, plain, I(1)), 7);
    prim_fails(vm, PN_PRIM_INDEX, 60, vm->nil, array, I(2));
}

static void strings_hold_characters(void **state) {
    WorkerVm *vm = *state;
    Ref string = prim_bytes(vm, PN_CLASS_BYTE_STRING, "abc"), wide = prim_indexed(vm, "Words32", PN_FMT_32, 1);
    Ref middle = prim_indexed(vm, "Words16", PN_FMT_16, 1);
    assert_int_equal(prim(vm, 63, string, I(2)).bits, C('b').bits);
    assert_int_equal(prim(vm, 64, string, I(2), C('x')).bits, C('x').bits);
    assert_int_equal(prim(vm, 63, string, I(2)).bits, C('x').bits);
    prim(vm, 64, wide, I(1), C(0x3FFFFFFF));
    assert_int_equal(prim(vm, 63, wide, I(1)).bits, C(0x3FFFFFFF).bits);
    prim(vm, 64, middle, I(4), C(0xFFFF));
    prim_fails(vm, PN_PRIM_ARGUMENT, 64, string, I(1), C(256));
    prim_fails(vm, PN_PRIM_ARGUMENT, 64, middle, I(1), C(0x10000));
    prim_fails(vm, PN_PRIM_ARGUMENT, 64, string, I(1), I(65));
    prim_fails(vm, PN_PRIM_INDEX, 63, string, I(4));
    prim_fails(vm, PN_PRIM_ARGUMENT, 63, string, C('a'));
    prim(vm, 61, wide, I(1), I(0x40000000));
    prim_fails(vm, PN_PRIM_RECEIVER, 63, wide, I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 63, prim_array(vm, 1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 63, prim_indexed(vm, "Words64", PN_FMT_64, 1), I(1));
}

static void named_slots_end_where_indexed_ones_begin(void **state) {
    WorkerVm *vm = *state;
    Ref listed = prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 5), plain = prim_instance(vm, "Plain");
    prim(vm, 74, listed, I(2), I(9));
    assert_int_equal(prim_int(vm, 73, listed, I(2)), 9);
    prim_fails(vm, PN_PRIM_INDEX, 73, listed, I(3));
    prim_fails(vm, PN_PRIM_INDEX, 74, plain, I(4), I(1));
    prim_fails(vm, PN_PRIM_INDEX, 73, prim_array(vm, 2), I(1));
    prim_fails(vm, PN_PRIM_INDEX, 73, prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "ab"), I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 73, plain, vm->nil);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 73, I(1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 74, I(1), I(1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 173, I(1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 174, C('a'), I(1), I(1));
    prim_fails(vm, PN_PRIM_INDEX, 173, plain, I(4));
    prim_fails(vm, PN_PRIM_ARGUMENT, 174, plain, C('a'), I(1));
}

static void signed_elements(void **state) {
    WorkerVm *vm = *state;
    Ref bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abcde"), quad = prim_indexed(vm, "Words64", PN_FMT_64, 1);
    prim(vm, 166, bytes, I(1), I(-128));
    assert_int_equal(prim_int(vm, 165, bytes, I(1)), -128);
    assert_int_equal(prim_int(vm, 60, bytes, I(1)), 128);
    prim_fails(vm, PN_PRIM_ARGUMENT, 166, bytes, I(1), I(128));
    prim(vm, 166, quad, I(1), prim_large(vm, true, UINT64_C(1) << 63));
    assert_int_equal(oop_class_index(ref_raw(prim(vm, 165, quad, I(1)))), PN_CLASS_LARGE_NEGATIVE);
    prim_fails(vm, PN_PRIM_ARGUMENT, 166, quad, I(1), prim_large(vm, false, UINT64_C(1) << 63));
    prim_fails(vm, PN_PRIM_INDEX, 165, bytes, I(6));
    prim_fails(vm, PN_PRIM_ARGUMENT, 165, bytes, vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 165, prim_array(vm, 1), I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 166, I(1), I(1), I(1));

    assert_int_equal(prim_int(vm, 144, bytes, I(2), I(-2)), -2);
    assert_int_equal(prim_int(vm, 143, bytes, I(2)), -2);
    assert_int_equal(prim_int(vm, 60, bytes, I(3)), 0xFE);
    prim_fails(vm, PN_PRIM_INDEX, 143, bytes, I(3)); // five bytes are two shorts
    prim_fails(vm, PN_PRIM_ARGUMENT, 144, bytes, I(1), I(0x8000));
    prim_fails(vm, PN_PRIM_ARGUMENT, 143, bytes, C('a'));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 143, prim_array(vm, 1), I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 144, I(1), I(1), I(1));
}

// ---- Compiled code ------------------------------------------------------------------------------------------

static void code_has_literals_and_bytes(void **state) {
    WorkerVm *vm = *state;
    Root method;
    pn_root_push(vm, &method, prim(vm, 79, ref_of(test_global(vm, "CompiledMethod")), I(5), I(2)));
    assert_int_equal(oop_format(ref_raw(method.ref)), pn_format_for_code(29));
    assert_int_equal(prim_int(vm, 62, method.ref), 29);
    assert_int_equal(prim_int(vm, 68, method.ref, I(1)), 2);
    assert_int_equal(prim(vm, 68, method.ref, I(3)).bits, vm->nil.bits);
    assert_int_equal(prim_int(vm, 69, method.ref, I(3), I(42)), 42);
    assert_int_equal(prim_int(vm, 68, method.ref, I(3)), 42);
    assert_int_equal(prim_int(vm, 61, method.ref, I(25), I(0x58)), 0x58);
    assert_int_equal(prim_int(vm, 60, method.ref, I(25)), 0x58);
    prim_fails(vm, PN_PRIM_INDEX, 60, method.ref, I(24)); // a literal's bytes
    prim_fails(vm, PN_PRIM_INDEX, 61, method.ref, I(30), I(0));
    prim_fails(vm, PN_PRIM_INDEX, 68, method.ref, I(4));
    prim_fails(vm, PN_PRIM_ARGUMENT, 68, method.ref, vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 69, method.ref, I(1), vm->nil);
    prim_fails(vm, PN_PRIM_ARGUMENT, 69, method.ref, I(1), I(3)); // more literals than there are
    assert_int_equal(prim_int(vm, 69, method.ref, I(1), I(2 | 1 << 24)), 2 | 1 << 24);
    prim_fails(vm, PN_PRIM_RECEIVER, 68, prim_array(vm, 1), I(1));
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 173, method.ref, I(1));
    prim_fails(vm, PN_PRIM_UNSUPPORTED, 165, method.ref, I(25));
    pn_root_pop(vm, &method);
}

static void methods_are_made_of_code_classes_only(void **state) {
    WorkerVm *vm = *state;
    Ref methods = ref_of(test_global(vm, "CompiledMethod"));
    prim_fails(vm, PN_PRIM_RECEIVER, 79, ref_of(test_global(vm, "Bytes")), I(5), I(2));
    prim_fails(vm, PN_PRIM_ARGUMENT, 79, methods, I(-1), I(2));
    prim_fails(vm, PN_PRIM_ARGUMENT, 79, methods, I(1), vm->nil);
    prim_fails(vm, PN_PRIM_RECEIVER, 70, methods);
    prim_fails(vm, PN_PRIM_RECEIVER, 71, methods, I(3));
}

// ---- Objects of a layer, read-only objects -----------------------------------------------------------------------

enum { ARRAY, PLAIN, BYTES, STRING, LISTED, OBJECTS };

static void make_objects(WorkerVm *vm, Ref *objects) {
    objects[ARRAY] = prim_array(vm, 3);
    objects[PLAIN] = prim_instance(vm, "Plain");
    objects[BYTES] = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "bytes");
    objects[STRING] = prim_bytes(vm, PN_CLASS_BYTE_STRING, "string");
    objects[LISTED] = prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 5);
    Ref holder = prim_array(vm, OBJECTS);
    for (size_t i = 0; i < OBJECTS; i++) prim_set_slot(vm, holder, i, objects[i]);
    test_set_global(vm, "Holder", holder);
}

static void writes_to_a_layer_go_to_the_copy(void **state) {
    WorkerVm *vm = *state;
    Ref o[OBJECTS];
    make_objects(vm, o);
    prim_freeze(vm, o, OBJECTS);
    for (size_t i = 0; i < OBJECTS; i++) prim_false(vm, 163, o[i]);
    prim(vm, 61, o[ARRAY], I(1), I(1));
    prim(vm, 74, o[PLAIN], I(1), I(2));
    prim(vm, 61, o[BYTES], I(1), I(3));
    prim(vm, 64, o[STRING], I(1), C('S'));
    prim(vm, 174, o[LISTED], I(5), I(5));
    for (size_t i = 0; PN_COW && i < OBJECTS; i++) assert_false(ref_is_shared(prim_current(vm, o[i])));
    assert_int_equal(prim_int(vm, 60, o[ARRAY], I(1)), 1);
    assert_int_equal(prim_int(vm, 73, o[PLAIN], I(1)), 2);
    assert_int_equal(prim_int(vm, 60, o[BYTES], I(1)), 3);
    assert_int_equal(prim(vm, 63, o[STRING], I(1)).bits, C('S').bits);
    assert_int_equal(prim_int(vm, 60, o[LISTED], I(3)), 5);
}

static void failures_copy_nothing(void **state) {
    WorkerVm *vm = *state;
    if (!PN_COW || pn_options.copy_everything) return;
    Ref o[OBJECTS];
    make_objects(vm, o);
    prim_freeze(vm, o, OBJECTS);
    prim_fails(vm, PN_PRIM_INDEX, 61, o[ARRAY], I(4), I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 61, o[BYTES], I(1), I(256));
    prim_fails(vm, PN_PRIM_ARGUMENT, 64, o[STRING], I(1), C(256));
    prim_fails(vm, PN_PRIM_INDEX, 74, o[PLAIN], I(4), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 145, o[BYTES], I(256));
    prim_fails(vm, PN_PRIM_INDEX, 105, o[ARRAY], I(1), I(4), o[ARRAY], I(1));
    for (size_t i = 0; i < OBJECTS; i++) assert_int_equal(prim_current(vm, o[i]).bits, o[i].bits);
}

static void read_only_objects_refuse_writes(void **state) {
    WorkerVm *vm = *state;
    Ref o[OBJECTS];
    make_objects(vm, o);
    for (size_t i = 0; i < OBJECTS; i++) {
        prim_false(vm, 164, o[i], vm_true(vm));
        prim_true(vm, 163, o[i]);
    }
    for (int frozen = 0; frozen < 2; frozen++) {
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 61, o[ARRAY], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 74, o[PLAIN], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 174, o[PLAIN], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 61, o[BYTES], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 64, o[STRING], I(1), C('a'));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 144, o[BYTES], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 166, o[BYTES], I(1), I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 145, o[BYTES], I(1));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 105, o[ARRAY], I(1), I(1), o[ARRAY], I(2));
        prim_fails(vm, PN_PRIM_NO_MODIFICATION, 168, o[ARRAY], prim_array(vm, 3));
        prim(vm, 105, o[ARRAY], I(1), I(0), o[ARRAY], I(2)); // nothing to move
        if (!frozen) prim_freeze(vm, o, OBJECTS);
    }
}

static void read_only_is_taken_back_where_others_cannot_know(void **state) {
    WorkerVm *vm = *state;
    Ref plain = prim_instance(vm, "Plain"), list = prim_array_with(vm, plain);
    prim_false(vm, 164, list, vm_true(vm));
    Ref kept[] = {list, plain};
    prim_freeze(vm, kept, 2);
    prim_true(vm, 164, kept[0], vm_false(vm)); // read-only, but what it holds is not
    prim(vm, 61, kept[0], I(1), I(1));
    prim_false(vm, 164, kept[1], vm_true(vm));
    prim_true(vm, 164, kept[1], vm_false(vm));
    prim(vm, 74, kept[1], I(1), I(1));
    prim_true(vm, 163, I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 164, I(1), vm_true(vm));
    prim_fails(vm, PN_PRIM_ARGUMENT, 164, kept[0], vm->nil);
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, prim_indexed(vm, "Weak", PN_FMT_WEAK, 2), vm_true(vm));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, prim_instance(vm, "Ephemeron"), vm_true(vm));
}

static void literals_stay_read_only(void **state) {
    WorkerVm *vm = *state;
    Ref literal = prim_bytes(vm, PN_CLASS_BYTE_STRING, "literal"), symbol = pn_symbol_z("zork");
    prim_false(vm, 164, literal, vm_true(vm));
    prim_freeze(vm, &literal, 1);
    if (PN_COW) prim_true(vm, 163, symbol);
    if (!PN_COW || pn_options.copy_everything) return;
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, literal, vm_false(vm));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, vm->nil, vm_false(vm));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 164, symbol, vm_false(vm));
    prim_fails(vm, PN_PRIM_NO_MODIFICATION, 64, symbol, I(1), C('a'));
    prim_fails(vm, PN_PRIM_NO_MODIFICATION, 161, literal, I(1));
}

// ---- Whole contents -----------------------------------------------------------------------------------------------

static void fill_array(WorkerVm *vm, Ref array) {
    for (size_t i = 0; i < oop_slot_count(ref_raw(array)); i++) prim_set_slot(vm, array, i, I((int64_t)i));
}

static void replacing_copies_ascending(void **state) {
    WorkerVm *vm = *state;
    Ref array = prim_array(vm, 5), listed = prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 5);
    fill_array(vm, array);
    prim(vm, 105, array, I(1), I(3), array, I(3));
    for (int i = 0; i < 3; i++) assert_int_equal(ref_int(prim_slot(vm, array, (size_t)i)), i + 2);
    fill_array(vm, array);
    prim(vm, 105, array, I(2), I(5), array, I(1)); // the first one repeats
    for (size_t i = 0; i < 5; i++) assert_int_equal(ref_int(prim_slot(vm, array, i)), 0);
    Ref bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abcdef"), source = prim_bytes(vm, PN_CLASS_BYTE_STRING, "xyz");
    prim(vm, 105, bytes, I(2), I(4), source, I(1));
    assert_memory_equal(oop_bytes(ref_raw(bytes)), "axyzef", 6);
    prim(vm, 105, bytes, I(2), I(6), bytes, I(1));
    assert_memory_equal(oop_bytes(ref_raw(bytes)), "aaaaaa", 6);
    Ref other = prim_indexed(vm, "Listed", PN_FMT_FIXED_ARRAY, 4);
    prim_set_slot(vm, other, 3, I(8));
    prim(vm, 105, listed, I(3), I(3), other, I(2));
    assert_int_equal(ref_int(prim_slot(vm, listed, 4)), 8);
}

static void replacing_checks_bounds_and_kinds(void **state) {
    WorkerVm *vm = *state;
    Ref array = prim_array(vm, 3), bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abc");
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(0), I(1), array, I(1));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(1), I(4), array, I(1));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(1), I(3), array, I(2));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(3), I(1), array, I(1));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(1), I(1), array, I(0));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(PN_INT_MAX), I(PN_INT_MAX), array, I(1));
    prim_fails(vm, PN_PRIM_INDEX, 105, array, I(PN_INT_MIN), I(PN_INT_MAX), array, I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 105, array, vm->nil, I(1), array, I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 105, array, I(1), I(1), I(5), I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 105, array, I(1), I(1), bytes, I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 105, prim_instance(vm, "Plain"), I(1), I(1), array, I(1));
    prim_fails(vm, PN_PRIM_INAPPROPRIATE, 105, I(1), I(1), I(1), array, I(1));
}

// An old object that gets young ones must be known to the collector.
static void young_values_are_moved_into_old_objects(void **state) {
    WorkerVm *vm = *state;
    Root old, young;
    pn_root_push(vm, &old, prim_array(vm, 2));
    pn_root_push(vm, &young, prim(vm, 71, ref_of(test_global(vm, "Array")), I(1)));
    prim_set_slot(vm, young.ref, 0, young.ref);
    prim(vm, 105, old.ref, I(2), I(2), young.ref, I(1));
    test_verify(vm);
    pn_collect_young(vm);
    prim_true(vm, 110, prim_slot(vm, old.ref, 1), young.ref);
    prim(vm, 168, old.ref, prim(vm, 148, old.ref));
    test_verify(vm);
    pn_root_pop(vm, &young);
    pn_root_pop(vm, &old);
}

static void an_object_of_a_layer_can_be_moved_within(void **state) {
    WorkerVm *vm = *state;
    Ref array = prim_array(vm, 4);
    fill_array(vm, array);
    prim_freeze(vm, &array, 1);
    prim(vm, 105, array, I(2), I(4), array, I(1));
    for (size_t i = 0; i < 4; i++) assert_int_equal(ref_int(prim_slot(vm, array, i)), 0);
}

static void filling_takes_what_fits(void **state) {
    WorkerVm *vm = *state;
    Ref words = prim_indexed(vm, "Words32", PN_FMT_32 + 1, 2);
    prim(vm, 145, words, I(UINT32_MAX));
    for (int64_t i = 1; i <= 3; i++) assert_int_equal(prim_int(vm, 60, words, I(i)), UINT32_MAX);
    assert_int_equal(oop_slot(ref_raw(words), 1).bits, UINT32_MAX); // padding stays zero
    prim_fails(vm, PN_PRIM_GENERIC, 145, words, I(-1));
    prim_fails(vm, PN_PRIM_GENERIC, 145, words, I(INT64_C(1) << 32));
    prim_fails(vm, PN_PRIM_GENERIC, 145, prim_array(vm, 1), I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 145, I(1), I(1));
}

static void contents_are_compared(void **state) {
    WorkerVm *vm = *state;
    Ref abc = prim_bytes(vm, PN_CLASS_BYTE_STRING, "abc"), abd = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abd");
    prim_true(vm, 156, abc, abc);
    prim_true(vm, 156, abc, prim_bytes(vm, PN_CLASS_BYTE_STRING, "abc"));
    prim_false(vm, 156, abc, abd);
    prim_false(vm, 156, abc, prim_bytes(vm, PN_CLASS_BYTE_STRING, "abcdefghijk"));
    prim_fails(vm, PN_PRIM_GENERIC, 156, abc, prim_bytes(vm, PN_CLASS_BYTE_STRING, "abcd"));
    prim_fails(vm, PN_PRIM_GENERIC, 156, abc, I(1));
    prim_fails(vm, PN_PRIM_GENERIC, 156, prim_array(vm, 1), prim_array(vm, 1));

    assert_int_equal(prim_int(vm, 158, abc, abd), -1);
    assert_int_equal(prim_int(vm, 158, abd, abc), 1);
    assert_int_equal(prim_int(vm, 158, abc, prim_bytes(vm, PN_CLASS_BYTE_STRING, "abcde")), -2);
    Ref order = prim_object(vm, PN_CLASS_BYTE_ARRAY, PN_FMT_8, 32); // all bytes rank alike
    assert_int_equal(prim_int(vm, 158, abc, abd, order), 0);
    prim_fails(vm, PN_PRIM_ARGUMENT, 158, abc, abd, abc);
    prim_fails(vm, PN_PRIM_ARGUMENT, 158, abc, I(1));
    prim_fails(vm, PN_PRIM_ARGUMENT, 158, prim_array(vm, 1), abc);
    prim_fails(vm, PN_PRIM_NUM_ARGS, 158, abc);
    prim_fails(vm, PN_PRIM_NUM_ARGS, 158, abc, abd, order, order);
}

static void hashes_multiply_low_bits(void **state) {
    WorkerVm *vm = *state;
    assert_int_equal(prim_int(vm, 159, I(3)), 3 * 1664525);
    assert_int_equal(prim_int(vm, 159, I(-1)), -INT64_C(1664525) & 0x0FFFFFFF);
    assert_int_equal(prim_int(vm, 159, prim_large(vm, false, (UINT64_C(1) << 63) + 3)), 3 * 1664525);
    prim_fails(vm, PN_PRIM_RECEIVER, 159, prim_large(vm, true, UINT64_C(1) << 63));
    prim_fails(vm, PN_PRIM_RECEIVER, 159, vm->nil);
}

static void contents_are_copied_between_likes(void **state) {
    WorkerVm *vm = *state;
    Ref to = prim_instance(vm, "Plain"), from = prim_instance(vm, "Plain");
    prim_set_slot(vm, from, 2, I(3));
    prim(vm, 168, to, from);
    assert_int_equal(ref_int(prim_slot(vm, to, 2)), 3);
    Ref bytes = prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abc");
    prim(vm, 168, bytes, prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "xyz"));
    assert_memory_equal(oop_bytes(ref_raw(bytes)), "xyz", 3);
    prim_fails(vm, PN_PRIM_ARGUMENT, 168, to, prim_instance(vm, "Other"));
    prim_fails(vm, PN_PRIM_ARGUMENT, 168, bytes, prim_bytes(vm, PN_CLASS_BYTE_ARRAY, "abcd"));
    prim_fails(vm, PN_PRIM_ARGUMENT, 168, to, I(1));
    prim_fails(vm, PN_PRIM_RECEIVER, 168, I(1), to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_are_indexed_after_named_slots, begin, end),
        cmocka_unit_test_setup_teardown(raw_elements_are_unsigned, begin, end),
        cmocka_unit_test_setup_teardown(what_has_no_elements_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(mirror_forms_take_the_subject_as_argument, begin, end),
        cmocka_unit_test_setup_teardown(strings_hold_characters, begin, end),
        cmocka_unit_test_setup_teardown(named_slots_end_where_indexed_ones_begin, begin, end),
        cmocka_unit_test_setup_teardown(signed_elements, begin, end),
        cmocka_unit_test_setup_teardown(code_has_literals_and_bytes, begin, end),
        cmocka_unit_test_setup_teardown(methods_are_made_of_code_classes_only, begin, end),
        cmocka_unit_test_setup_teardown(writes_to_a_layer_go_to_the_copy, begin, end),
        cmocka_unit_test_setup_teardown(failures_copy_nothing, begin, end),
        cmocka_unit_test_setup_teardown(read_only_objects_refuse_writes, begin, end),
        cmocka_unit_test_setup_teardown(read_only_is_taken_back_where_others_cannot_know, begin, end),
        cmocka_unit_test_setup_teardown(literals_stay_read_only, begin, end),
        cmocka_unit_test_setup_teardown(replacing_copies_ascending, begin, end),
        cmocka_unit_test_setup_teardown(replacing_checks_bounds_and_kinds, begin, end),
        cmocka_unit_test_setup_teardown(young_values_are_moved_into_old_objects, begin, end),
        cmocka_unit_test_setup_teardown(an_object_of_a_layer_can_be_moved_within, begin, end),
        cmocka_unit_test_setup_teardown(filling_takes_what_fits, begin, end),
        cmocka_unit_test_setup_teardown(contents_are_compared, begin, end),
        cmocka_unit_test_setup_teardown(hashes_multiply_low_bits, begin, end),
        cmocka_unit_test_setup_teardown(contents_are_copied_between_likes, begin, end),
    };
    return test_run(tests);
}
