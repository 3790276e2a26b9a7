// Every point where a reference is followed: a shared object is copied by a write through one path, then reached through
// another that still names the original. Each test fails if its point is left out (poison mode makes it fail at once).
//
// The world: T, a class with slots x and y and accessors; globals Shared (a T), Holder (an Array: Shared, Table), Table (an Array).
#include "tests/support.h"
#include "tests/support/programs.h"

static void set_global(WorkerVm *vm, const char *name, Oop value) {
    pn_store(vm, pn_global(vm, name), PN_BINDING_VALUE, ref_of(value));
}

// T >> poke: n  |self x: n through the global|, then reads its own slot: the running frame's receiver was copied under it.
static void build_poke(WorkerVm *vm, Oop t) {
    Asm *a = pn_asm(vm, 1, 0);
    pn_asm_push_global(a, pn_global(vm, "Shared"));
    pn_asm_push_temp(a, 0);
    pn_asm_send(a, "x:", 1);
    pn_asm_pop(a);
    pn_asm_push_inst(a, 0);
    pn_asm_return_top(a);
    pn_asm_install(a, t, "poke:");
    // pokeDeep: n  ^n = 0 ifTrue: [ self poke: 99 ] ifFalse: [ (self pokeDeep: n - 1) + x - x ]: every frame reads x after the return
    Asm *b = pn_asm(vm, 1, 0);
    AsmLabel deeper = pn_asm_label(b);
    pn_asm_push_temp(b, 0);
    pn_asm_push_int(b, 0);
    pn_asm_send(b, "=", 1);
    pn_asm_jump_false(b, deeper);
    pn_asm_push_self(b);
    pn_asm_push_int(b, 99);
    pn_asm_send(b, "poke:", 1);
    pn_asm_return_top(b);
    pn_asm_bind(b, deeper);
    pn_asm_push_self(b);
    pn_asm_push_temp(b, 0);
    pn_asm_push_int(b, 1);
    pn_asm_send(b, "-", 1);
    pn_asm_send(b, "pokeDeep:", 1);
    pn_asm_push_inst(b, 0);
    pn_asm_send(b, "+", 1);
    pn_asm_return_top(b);
    pn_asm_install(b, t, "pokeDeep:");
}

// T >> viaBlock  ^[ Shared x: 31. x ] value: the closure's receiver is followed when it runs, and while it runs.
// T >> viaHome  [ Shared x: 32. ^5 ] value: a non-local return; T >> afterHome ^self viaHome + x
static void build_blocks(WorkerVm *vm, Oop t) {
    Asm *a = pn_asm(vm, 0, 0);
    Asm *b = pn_asm_block(a, 0, 0, 0);
    pn_asm_push_global(b, pn_global(vm, "Shared"));
    pn_asm_push_int(b, 31);
    pn_asm_send(b, "x:", 1);
    pn_asm_pop(b);
    pn_asm_push_inst(b, 0);
    pn_asm_block_return(b);
    uint32_t literal = pn_asm_block_end(b);
    pn_asm_push_closure(a, literal, 0, true, false);
    pn_asm_send(a, "value", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, t, "viaBlock");

    Asm *c = pn_asm(vm, 0, 0);
    Asm *d = pn_asm_block(c, 0, 0, 0);
    pn_asm_push_global(d, pn_global(vm, "Shared"));
    pn_asm_push_int(d, 32);
    pn_asm_send(d, "x:", 1);
    pn_asm_pop(d);
    pn_asm_push_int(d, 5);
    pn_asm_return_top(d);
    literal = pn_asm_block_end(d);
    pn_asm_push_closure(c, literal, 0, true, false);
    pn_asm_send(c, "value", 0);
    pn_asm_return_top(c);
    pn_asm_install(c, t, "viaHome");
    Asm *e = pn_asm(vm, 0, 0);
    pn_asm_push_self(e);
    pn_asm_send(e, "viaHome", 0);
    pn_asm_push_inst(e, 0);
    pn_asm_send(e, "+", 1);
    pn_asm_return_top(e);
    pn_asm_install(e, t, "afterHome");
    // reader ^[ x ]: a closure that is kept
    Asm *f = pn_asm(vm, 0, 0);
    Asm *g = pn_asm_block(f, 0, 0, 0);
    pn_asm_push_inst(g, 0);
    pn_asm_block_return(g);
    literal = pn_asm_block_end(g);
    pn_asm_push_closure(f, literal, 0, false, false);
    pn_asm_return_top(f);
    pn_asm_install(f, t, "reader");
    // counter | n | n := 0. ^[ n := n + 1 ]
    Asm *h = pn_asm(vm, 0, 1);
    Asm *i = pn_asm_block(h, 0, 1, 1);
    pn_asm_push_vector_temp(i, 0, 0);
    pn_asm_push_int(i, 1);
    pn_asm_send(i, "+", 1);
    pn_asm_store_vector_temp(i, 0, 0, false);
    pn_asm_block_return(i);
    literal = pn_asm_block_end(i);
    pn_asm_push_array(h, 1, false);
    pn_asm_store_temp(h, 0, true);
    pn_asm_push_int(h, 0);
    pn_asm_store_vector_temp(h, 0, 0, true);
    pn_asm_push_temp(h, 0);
    pn_asm_push_closure(h, literal, 1, false, false);
    pn_asm_return_top(h);
    pn_asm_install(h, t, "counter");
}

static void build_odds(WorkerVm *vm, Oop t) {
    // same: a as: b ^a == b ; different: a as: b ^a ~~ b ; classOf: a ^a class (bytecode)
    Asm *a = pn_asm(vm, 2, 0);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "==", 1);
    pn_asm_return_top(a);
    pn_asm_install(a, t, "same:as:");
    Asm *b = pn_asm(vm, 2, 0);
    pn_asm_push_temp(b, 0);
    pn_asm_push_temp(b, 1);
    pn_asm_send(b, "~~", 1);
    pn_asm_return_top(b);
    pn_asm_install(b, t, "different:as:");
    Asm *c = pn_asm(vm, 1, 0);
    pn_asm_push_temp(c, 0);
    pn_asm_send(c, "class", 0);
    pn_asm_return_top(c);
    pn_asm_install(c, t, "classOf:");
    Asm *d = pn_asm(vm, 2, 0);
    pn_asm_push_temp(d, 0);
    pn_asm_push_temp(d, 1);
    pn_asm_send(d, "at:", 1);
    pn_asm_return_top(d);
    pn_asm_install(d, t, "element:at:");
    Asm *e = pn_asm(vm, 1, 0);
    pn_asm_push_temp(e, 0);
    pn_asm_send(e, "size", 0);
    pn_asm_return_top(e);
    pn_asm_install(e, t, "sizeOf:");
    // swap: n  Shared2 := n, read back through the binding
    Asm *f = pn_asm(vm, 1, 0);
    pn_asm_push_temp(f, 0);
    pn_asm_store_global(f, pn_global(vm, "Shared2"), true);
    pn_asm_push_global(f, pn_global(vm, "Shared2"));
    pn_asm_return_top(f);
    pn_asm_install(f, t, "setGlobal:");
    Asm *g = pn_asm(vm, 0, 0);
    pn_asm_push_global(g, pn_global(vm, "Shared2"));
    pn_asm_return_top(g);
    pn_asm_install(g, t, "getGlobal");
    // who ^1, overridden in U by ^super who + 10
    Asm *h = pn_asm(vm, 0, 0);
    pn_asm_push_int(h, 1);
    pn_asm_return_top(h);
    pn_asm_install(h, t, "who");
    Oop u = pn_asm_class(vm, "U", t, 0);
    Asm *i = pn_asm(vm, 0, 0);
    pn_asm_push_self(i);
    pn_asm_send_super(i, "who", 0);
    pn_asm_push_int(i, 10);
    pn_asm_send(i, "+", 1);
    pn_asm_return_top(i);
    pn_asm_install(i, u, "who");
    // whoAfter: n  ^super who with the receiver pushed before an argument copied it: super plus: (Shared x: n)
    Asm *j = pn_asm(vm, 1, 0);
    pn_asm_push_inst(j, 0);
    pn_asm_return_top(j);
    pn_asm_install(j, t, "xIgnoring:");
    Asm *k = pn_asm(vm, 1, 0);
    pn_asm_push_self(k);
    pn_asm_push_global(k, pn_global(vm, "SharedU"));
    pn_asm_push_temp(k, 0);
    pn_asm_send(k, "x:", 1);
    pn_asm_send_super(k, "xIgnoring:", 1);
    pn_asm_return_top(k);
    pn_asm_install(k, u, "superAfter:");
}

static void build(WorkerVm *vm) {
    Oop t = pn_asm_class(vm, "T", pn_asm_class_named(vm, "Object"), 2);
    program_accessors(vm, t);
    Root shared, table, holder;
    pn_root_push(vm, &shared, ref_of(pn_asm_instance(vm, t)));
    pn_root_push(vm, &table, ref_of(pn_new_array(vm, 3)));
    pn_root_push(vm, &holder, ref_of(pn_new_array(vm, 4)));
    pn_store(vm, pn_deref(vm, shared.ref), 0, ref_from_int(1));
    for (size_t i = 0; i < 3; i++) pn_store(vm, pn_deref(vm, table.ref), i, ref_from_int((int64_t)i + 1));
    pn_store(vm, pn_deref(vm, holder.ref), 0, shared.ref);
    pn_store(vm, pn_deref(vm, holder.ref), 1, table.ref);
    set_global(vm, "Shared", pn_deref(vm, shared.ref));
    set_global(vm, "Table", pn_deref(vm, table.ref));
    set_global(vm, "Holder", pn_deref(vm, holder.ref));
    set_global(vm, "Shared2", ref_raw(ref_from_int(0)));
    build_poke(vm, t);
    build_blocks(vm, t);
    build_odds(vm, t);
    Oop u = pn_asm_instance(vm, pn_asm_class_named(vm, "U"));
    set_global(vm, "SharedU", u);
    pn_store(vm, pn_deref(vm, holder.ref), 2, ref_of(u));
    Oop second = pn_asm_instance(vm, pn_asm_class_named(vm, "U"));
    pn_store(vm, pn_deref(vm, holder.ref), 3, ref_of(second));
    // Closures that are frozen with the world.
    Ref reader = test_send(vm, shared.ref, "reader");
    set_global(vm, "Reader", pn_deref(vm, reader));
    Ref counter = test_send(vm, shared.ref, "counter");
    set_global(vm, "Counter", pn_deref(vm, counter));
    pn_root_pop(vm, &holder);
    pn_root_pop(vm, &table);
    pn_root_pop(vm, &shared);
}

static Ref global(WorkerVm *vm, const char *name) { return ref_of(test_global(vm, name)); }
// The raw reference in a slot of Holder: it names the original for ever.
static Ref held(WorkerVm *vm, size_t index) { return oop_slot(test_global(vm, "Holder"), index); }

#define WITH_WORLD(w)                                                                                                  \
    (void)state;                                                                                                       \
    TestWorld w = test_world(build)
#define END_WORLD(w)                                                                                                   \
    test_verify(w.vm);                                                                                                 \
    test_world_end(&w)

static void a_send_to_a_stale_reference_reaches_the_copy(void **state) {
    WITH_WORLD(w);
    Ref stale = held(w.vm, 0);
    test_send(w.vm, stale, "x:", ref_from_int(7));
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "x"), 7);
    assert_int_equal(test_send_int(w.vm, stale, "x"), 7);
    END_WORLD(w);
}

static void at_and_size_look_into_the_copy(void **state) {
    WITH_WORLD(w);
    Ref stale = held(w.vm, 1);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Shared"), "element:at:", stale, ref_from_int(1)), 1);
    test_send(w.vm, stale, "at:put:", ref_from_int(1), ref_from_int(90));
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Shared"), "element:at:", stale, ref_from_int(1)), 90);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Shared"), "sizeOf:", stale), 3);
    END_WORLD(w);
}

static void the_running_receiver_is_followed(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "poke:", ref_from_int(55)), 55);
    END_WORLD(w);
}

static void receivers_below_are_followed_by_the_return_trap(void **state) {
    WITH_WORLD(w);
    // n frames each add x (99 once copied) to what the deepest answers.
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "pokeDeep:", ref_from_int(10)), 99 * 11);
    END_WORLD(w);
}

static void the_trap_crosses_stack_chunks(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "pokeDeep:", ref_from_int(20000)), 99 * 20001);
    END_WORLD(w);
}

static void a_closure_follows_its_receiver(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "viaBlock"), 31);
    // A closure of the layer whose receiver has a copy.
    assert_int_equal(test_send_int(w.vm, global(w.vm, "Reader"), "value"), 31);
    END_WORLD(w);
}

static void a_non_local_return_follows_the_receiver_it_returns_to(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "afterHome"), 5 + 32);
    END_WORLD(w);
}

static void a_temp_vector_of_a_layer_is_followed(void **state) {
    WITH_WORLD(w);
    for (int i = 1; i <= 4; i++) assert_int_equal(test_send_int(w.vm, global(w.vm, "Counter"), "value"), i);
    END_WORLD(w);
}

static void a_global_variable_is_followed(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "setGlobal:", ref_from_int(12)), 12);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "getGlobal"), 12);
    END_WORLD(w);
}

static void identity_holds_between_original_and_copy(void **state) {
    WITH_WORLD(w);
    Ref stale = held(w.vm, 0);
    Ref other = global(w.vm, "SharedU");
    test_send(w.vm, stale, "x:", ref_from_int(7));
    Ref copy = ref_of(pn_deref(w.vm, stale));
    Ref receiver = other;
    assert_int_equal(test_send(w.vm, receiver, "same:as:", stale, copy).bits, vm_true(w.vm).bits);
    assert_int_equal(test_send(w.vm, receiver, "same:as:", copy, stale).bits, vm_true(w.vm).bits);
    assert_int_equal(test_send(w.vm, receiver, "different:as:", stale, copy).bits, vm_false(w.vm).bits);
    assert_int_equal(test_send(w.vm, receiver, "same:as:", stale, other).bits, vm_false(w.vm).bits);
    assert_int_equal(test_send(w.vm, receiver, "same:as:", stale, vm_nil(w.vm)).bits, vm_false(w.vm).bits);
    END_WORLD(w);
}

static void a_copied_class_is_the_class_of_its_instances(void **state) {
    WITH_WORLD(w);
    Ref stale_class = global(w.vm, "T");
    Oop t = pn_deref(w.vm, stale_class);
    assert_int_equal(pn_store(w.vm, t, PN_CLASS_SUBCLASSES, vm_nil(w.vm)), PN_WRITABLE);
    Ref class_now = test_send(w.vm, global(w.vm, "SharedU"), "classOf:", held(w.vm, 0));
    assert_int_equal(class_now.bits, pn_deref(w.vm, stale_class).bits);
    if (PN_COW) assert_true(class_now.bits != stale_class.bits || pn_options.copy_everything);
    END_WORLD(w);
}

static void lookup_follows_superclass_and_dictionary(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "SharedU"), "who"), 11);
    // T >> who is redefined: T's dictionary and its array are copied, U and its dictionary are not.
    Asm *a = pn_asm(w.vm, 0, 0);
    pn_asm_push_int(a, 2);
    pn_asm_return_top(a);
    pn_asm_install(a, test_global(w.vm, "T"), "who");
    assert_int_equal(test_send_int(w.vm, global(w.vm, "SharedU"), "who"), 12);
    assert_int_equal(test_send_int(w.vm, held(w.vm, 0), "who"), 2);
    // U gets another superclass: V, whose who answers 5.
    Oop v = pn_asm_class(w.vm, "V", pn_asm_class_named(w.vm, "Object"), 2);
    Asm *b = pn_asm(w.vm, 0, 0);
    pn_asm_push_int(b, 5);
    pn_asm_return_top(b);
    pn_asm_install(b, v, "who");
    assert_int_equal(pn_store(w.vm, test_global(w.vm, "U"), PN_BEHAVIOR_SUPERCLASS, ref_of(v)), PN_WRITABLE);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "SharedU"), "who"), 15);
    END_WORLD(w);
}

static void a_super_send_follows_a_receiver_copied_by_its_argument(void **state) {
    WITH_WORLD(w);
    assert_int_equal(test_send_int(w.vm, global(w.vm, "SharedU"), "superAfter:", ref_from_int(66)), 66);
    END_WORLD(w);
}

// The same once the site word holds the shared key (another worker's receiver had no copy): then nothing but the follow
// before the site finds the copy.
static void a_super_send_follows_also_where_its_site_is_known(void **state) {
    (void)state;
    if (!PN_COW || pn_options.poison) return; // a poisoned layer serves one worker only
    TestWorld w = test_world(build);
    assert_int_equal(test_send(w.vm, held(w.vm, 3), "superAfter:", ref_from_int(66)).bits, vm_nil(w.vm).bits);
    WorkerVm *other = test_worker_on(w.layer);
    assert_int_equal(test_send_int(other, held(other, 2), "superAfter:", ref_from_int(71)), 71);
    pn_worker_free(other);
    END_WORLD(w);
}

// After a become: only deref tells what the reference's class is.
static void class_follows_what_became_another(void **state) {
    WITH_WORLD(w);
    Root from, to;
    pn_root_push(w.vm, &from, ref_of(pn_new_array(w.vm, 1)));
    pn_root_push(w.vm, &to, ref_of(pn_new_array(w.vm, 1)));
    pn_store(w.vm, pn_deref(w.vm, from.ref), 0, held(w.vm, 0));
    pn_store(w.vm, pn_deref(w.vm, to.ref), 0, global(w.vm, "SharedU"));
    Ref stale = held(w.vm, 0);
    test_send(w.vm, from.ref, "elementsForwardIdentityTo:", to.ref);
    Ref class_now = test_send(w.vm, global(w.vm, "SharedU"), "classOf:", stale);
    assert_int_equal(pn_deref(w.vm, class_now).bits, test_global(w.vm, "U").bits);
    pn_root_pop(w.vm, &to);
    pn_root_pop(w.vm, &from);
    END_WORLD(w);
}

static void primitives_follow_what_they_look_into(void **state) {
    WITH_WORLD(w);
    // perform:withArguments: with an array of the layer that has a copy.
    Ref stale = held(w.vm, 1);
    Root arguments;
    pn_root_push(w.vm, &arguments, ref_of(pn_new_array(w.vm, 1)));
    pn_store(w.vm, pn_deref(w.vm, arguments.ref), 0, ref_from_int(3));
    test_send(w.vm, stale, "at:put:", ref_from_int(3), ref_from_int(44));
    assert_int_equal(test_send_int(w.vm, stale, "perform:withArguments:", pn_symbol_z("at:"), arguments.ref), 44);
    pn_root_pop(w.vm, &arguments);
    END_WORLD(w);
}

static void special_objects_are_followed(void **state) {
    WITH_WORLD(w);
    // A write to the special objects array itself: the machine's own root names the original.
    Oop special = pn_deref(w.vm, w.vm->special_objects);
    Ref must_be = pn_symbol_z("zorkBoolean");
    assert_int_equal(pn_store(w.vm, special, PN_SPECIAL_MUST_BE_BOOLEAN, must_be), PN_WRITABLE);
    Oop now = pn_deref(w.vm, w.vm->special_objects);
    assert_int_equal(oop_slot(now, PN_SPECIAL_MUST_BE_BOOLEAN).bits, must_be.bits);
    END_WORLD(w);
}

static void a_collection_replaces_stale_references(void **state) {
    WITH_WORLD(w);
    Root array;
    pn_root_push(w.vm, &array, ref_of(pn_new_array(w.vm, 1)));
    pn_store(w.vm, pn_deref(w.vm, array.ref), 0, held(w.vm, 0));
    test_send(w.vm, held(w.vm, 0), "x:", ref_from_int(3));
    pn_collect_young(w.vm);
    Ref now = oop_slot(pn_deref(w.vm, array.ref), 0);
    assert_int_equal(now.bits, pn_deref(w.vm, now).bits);
    pn_root_pop(w.vm, &array);
    END_WORLD(w);
}

static void a_copy_keeps_class_hash_and_size(void **state) {
    WITH_WORLD(w);
    if (PN_COW) {
        Oop original = ref_raw(held(w.vm, 0));
        uint64_t header = oop_header(original);
        test_send(w.vm, held(w.vm, 0), "x:", ref_from_int(3));
        Oop copy = pn_deref(w.vm, held(w.vm, 0));
        assert_int_equal(oop_class_index(copy), hdr_class_index(header));
        assert_int_equal(hdr_hash(oop_header(copy)), hdr_hash(header));
        assert_int_equal(oop_slot_count(copy), header >> PN_HDR_SLOTS_SHIFT);
        test_send(w.vm, held(w.vm, 0), "x:", ref_from_int(4));
        assert_int_equal(pn_deref(w.vm, held(w.vm, 0)).bits, copy.bits);
    }
    END_WORLD(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_to_a_stale_reference_reaches_the_copy),
        cmocka_unit_test(at_and_size_look_into_the_copy),
        cmocka_unit_test(the_running_receiver_is_followed),
        cmocka_unit_test(receivers_below_are_followed_by_the_return_trap),
        cmocka_unit_test(the_trap_crosses_stack_chunks),
        cmocka_unit_test(a_closure_follows_its_receiver),
        cmocka_unit_test(a_non_local_return_follows_the_receiver_it_returns_to),
        cmocka_unit_test(a_temp_vector_of_a_layer_is_followed),
        cmocka_unit_test(a_global_variable_is_followed),
        cmocka_unit_test(identity_holds_between_original_and_copy),
        cmocka_unit_test(a_copied_class_is_the_class_of_its_instances),
        cmocka_unit_test(lookup_follows_superclass_and_dictionary),
        cmocka_unit_test(a_super_send_follows_a_receiver_copied_by_its_argument),
        cmocka_unit_test(a_super_send_follows_also_where_its_site_is_known),
        cmocka_unit_test(class_follows_what_became_another),
        cmocka_unit_test(primitives_follow_what_they_look_into),
        cmocka_unit_test(special_objects_are_followed),
        cmocka_unit_test(a_collection_replaces_stale_references),
        cmocka_unit_test(a_copy_keeps_class_hash_and_size),
    };
    return test_run(tests);
}
