// interp/send.c: the slow side of sends: full lookup, the thread's cache, site words, messages nobody understands.
//
// Called by the loop with registers saved. Invariants kept here: C3, C4 (heap/code.h).
#include "interp/loop_int.h"

const uint8_t pn_special_arg_counts[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                           1, 2, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0};

Ref pn_special_selector(WorkerVm *vm, uint32_t index) {
    Oop special = pn_deref(vm, vm->special_objects);
    Oop selectors = pn_slot(vm, special, PN_SPECIAL_SELECTORS);
    return oop_slot(selectors, 2 * (size_t)index);
}

void pn_worker_fail(WorkerVm *vm, const char *format, ...) {
    PnError *failure = &pn_more(vm)->failure;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof failure->text, format, arguments);
    va_end(arguments);
    failure->status = PN_REFUSED;
    failure->offset = 0;
    vm->state = PN_WORKER_FAILED;
}

// ---- Full lookup ---------------------------------------------------------------------------------------

// What a lookup has read is guarded: a later change of it is a change of behaviour (Note [Guarded objects], heap/cow.c).
static void guard_read(WorkerVm *vm, Oop class_object, Oop dictionary) {
    pn_guard(class_object);
    pn_guard(dictionary);
    if (oop_slot_count(dictionary) <= PN_METHOD_DICT_METHODS) return;
    Oop methods = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    if (!oop_is_immediate(methods)) pn_guard(methods);
}

// The search stops at a class whose method dictionary is nil and puts that class into *unreadable.
static Oop lookup_from(WorkerVm *vm, Oop class_object, Ref selector, Oop *unreadable) {
    *unreadable = PN_NO_OOP;
    while (!oop_is_none(class_object) && !ref_same(ref_of(class_object), vm->nil)) {
        // What is no class ends the search: a program may put anything into a superclass slot.
        if (oop_is_immediate(class_object) || !oop_is_pointers(class_object)) break;
        if (oop_slot_count(class_object) < PN_BEHAVIOR_SLOTS) break;
        Oop dictionary = pn_slot(vm, class_object, PN_BEHAVIOR_METHOD_DICT);
        bool is_dictionary = !oop_is_immediate(dictionary) && oop_class_index(dictionary) == PN_CLASS_METHOD_DICTIONARY;
        if (!is_dictionary) {
            pn_guard(class_object);
            *unreadable = class_object;
            return PN_NO_OOP;
        }
        guard_read(vm, class_object, dictionary);
        Oop method = pn_method_dict_at(vm, dictionary, selector);
        if (!oop_is_none(method)) return method;
        class_object = pn_slot(vm, class_object, PN_BEHAVIOR_SUPERCLASS);
    }
    return PN_NO_OOP;
}

Oop pn_lookup(WorkerVm *vm, Oop class_object, Ref selector) {
    Oop unreadable;
    return lookup_from(vm, class_object, selector, &unreadable);
}

// ---- The thread's cache and site words --------------------------------------------------------------------

static bool index_is_of_layer(uint32_t key) {
    uint32_t index = key & (uint32_t)PN_HDR_CLASS_MASK;
    Ref class_ref = pn_class_table[index];
    return !ref_is_immediate(class_ref) && ref_is_shared(class_ref);
}

// C4: what stands in a word that other workers read must mean the same to them.
static bool site_may_hold(const WorkerVm *vm, const uint8_t *pc, uint32_t key, const Code *code) {
    uint64_t address = (uint64_t)(uintptr_t)pc;
    if (address - PN_CODE_AREA >= PN_CODE_AREA_BYTES) return false;
    bool is_shared_site = address < PN_PRIVATE_CODE && vm->world->layer != NULL;
    return !is_shared_site || (!code->is_private && index_is_of_layer(key));
}

// Instead of a key: the send is not that of the bytecode before vm->pc, whose site must not hear of it.
#define NO_SITE UINT32_MAX

static void site_write(WorkerVm *vm, uint32_t key, Code *code) {
    if (key == NO_SITE) return;
    World *world = vm->world;
    if (vm->site_base == pn_empty_site_base) {
        if (++world->misses < PN_MISSES_BEFORE_SITES) return;
        pn_world_attach_companion(world);
        vm->site_base = world->site_base;
        if (vm->site_base == pn_empty_site_base) return;
    }
    if (!site_may_hold(vm, vm->pc, key, code)) return;
    PnCell *cell = key & PN_HDR_IMMUTABLE ? &code->shared : &code->plain;
    uint64_t word = (uint64_t)(uintptr_t)cell << 17 | key;
    uint64_t *site = (uint64_t *)(vm->site_base + 8 * (uintptr_t)vm->pc);
    uint64_t unwritten = 0;
    // release: pairs with the acquire in site_match. Only the first writer succeeds (C3).
    __atomic_compare_exchange_n(site, &unwritten, word, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static void cache_write(WorkerVm *vm, uint64_t key, Ref selector, Code *code) {
    PnCell *cell = key & PN_HDR_IMMUTABLE ? &code->shared : &code->plain;
    *pn_cache_entry(vm->thread, key, selector) = (PnCacheEntry){.key = key, .selector = selector, .cell = cell};
}

// ---- Messages that the machine sends itself -------------------------------------------------------------------

static Ref special_object(WorkerVm *vm, enum PnSpecial index) {
    return oop_slot(pn_deref(vm, vm->special_objects), index);
}

// Replace the arguments by one Message made of them. False: no memory.
static bool push_message(WorkerVm *vm, Ref selector, uint32_t arg_count) {
    Oop array = pn_new_array(vm, arg_count);
    if (oop_is_none(array)) return false;
    for (uint32_t i = 0; i < arg_count; i++) (void)pn_store(vm, array, i, *(vm->sp - arg_count + i));
    vm->sp -= arg_count;
    *vm->sp++ = ref_of(array); // there is room: the frame's operands, or at least one word above the receiver
    Oop message = pn_new(vm, PN_CLASS_MESSAGE, PN_FMT_FIXED, 3);
    if (oop_is_none(message)) return false;
    (void)pn_store(vm, message, PN_MESSAGE_SELECTOR, selector);
    (void)pn_store(vm, message, PN_MESSAGE_ARGUMENTS, vm->sp[-1]);
    Oop receiver = pn_deref(vm, vm->sp[-2]);
    (void)pn_store(vm, message, PN_MESSAGE_LOOKUP_CLASS, ref_of(pn_class_of(vm, receiver)));
    vm->sp[-1] = ref_of(message);
    return true;
}

static void describe_receiver(WorkerVm *vm, Oop receiver, char *text, size_t bytes) {
    Oop class_object = pn_class_of(vm, receiver);
    Oop name = oop_slot_count(class_object) > PN_CLASS_NAME ? pn_slot(vm, class_object, PN_CLASS_NAME) : PN_NO_OOP;
    if (!oop_is_none(name) && !oop_is_immediate(name) && oop_is_bytes(name))
        snprintf(text, bytes, "%.*s", (int)pn_min(oop_byte_count(name), 80), (const char *)oop_bytes(name));
    else snprintf(text, bytes, "a class (index %u)", oop_class_index(receiver));
}

static void fail_not_understood(WorkerVm *vm, Oop receiver, Ref selector) {
    char name[96] = "a SmallInteger, Character or Float";
    if (!oop_is_immediate(receiver)) describe_receiver(vm, receiver, name, sizeof name);
    Oop symbol = ref_raw(selector);
    pn_worker_fail(vm, "%s does not understand #%.*s, nor doesNotUnderstand:", name,
                   (int)pn_min(oop_byte_count(symbol), 80), (const char *)oop_bytes(symbol));
}

// ---- Sends ---------------------------------------------------------------------------------------------------------

static const PnCell *cell_of_method(WorkerVm *vm, Oop method, Ref selector, uint32_t arg_count);

// Nobody has a method for selector: doesNotUnderstand:, or cannotInterpret: above the class without dictionary.
static const PnCell *not_understood(WorkerVm *vm, Ref selector, uint32_t arg_count, Oop unreadable) {
    bool is_unreadable = !oop_is_none(unreadable);
    Ref event = special_object(vm, is_unreadable ? PN_SPECIAL_CANNOT_INTERPRET : PN_SPECIAL_DOES_NOT_UNDERSTAND);
    Oop receiver = pn_deref(vm, *(vm->sp - 1 - arg_count));
    Oop start = is_unreadable ? pn_slot(vm, unreadable, PN_BEHAVIOR_SUPERCLASS) : pn_class_of(vm, receiver);
    Oop method = pn_lookup(vm, start, event);
    if (oop_is_none(method) || !oop_is_code(method) || ref_same(selector, event)) {
        fail_not_understood(vm, receiver, selector);
        return PN_FAILED;
    }
    Root kept;
    pn_root_push(vm, &kept, ref_of(method));
    bool made = push_message(vm, selector, arg_count);
    method = ref_raw(kept.ref);
    pn_root_pop(vm, &kept);
    if (!made) {
        pn_worker_fail(vm, "out of memory while a message was not understood");
        return PN_FAILED;
    }
    return cell_of_method(vm, method, event, 1);
}

// Another object stands where a method should: it is sent run: selector with: arguments in: receiver.
static const PnCell *run_object(WorkerVm *vm, Oop object, Ref selector, uint32_t arg_count) {
    Root kept;
    pn_root_push(vm, &kept, ref_of(object));
    Oop array = pn_new_array(vm, arg_count);
    Ref target = kept.ref;
    pn_root_pop(vm, &kept);
    if (oop_is_none(array)) return PN_FAILED;
    for (uint32_t i = 0; i < arg_count; i++) (void)pn_store(vm, array, i, *(vm->sp - arg_count + i));
    vm->sp -= arg_count;
    Ref receiver = *--vm->sp;
    Ref arguments[3] = {selector, ref_of(array), receiver};
    return pn_send_event(vm, PN_SPECIAL_RUN_WITH_IN, target, arguments, 3);
}

static const PnCell *cell_of_method(WorkerVm *vm, Oop method, Ref selector, uint32_t arg_count) {
    if (oop_is_immediate(method) || !oop_is_code(method)) return run_object(vm, method, selector, arg_count);
    Code *code = pn_code_for(vm, method);
    if (code == NULL) {
        pn_worker_fail(vm, "out of memory while preparing a method");
        return PN_FAILED;
    }
    if (code->arg_count != arg_count) {
        pn_worker_fail(vm, "a method with %u arguments is installed under a selector with %u", code->arg_count,
                       arg_count);
        return PN_FAILED;
    }
    return &code->plain;
}

// Put what a lookup has found where the next send looks first. C4 also holds for the thread's cache: a method of this worker in
// a class of a layer is a change of behaviour that nobody has reported (a store into a dictionary's array), so the worker
// leaves the layer's world now, and other workers of the thread never see the method.
static const PnCell *remember_cell(WorkerVm *vm, const PnCell *cell, uint64_t key, uint32_t site_key, Ref selector,
                                   uint32_t arg_count) {
    Code *code = code_of_cell(cell);
    if (!pn_code_fits(code, pn_deref(vm, *(vm->sp - 1 - arg_count)))) {
        pn_worker_fail(vm, "a method touches slots that its receiver does not have (H9)");
        return PN_FAILED;
    }
    if (vm->world->layer != NULL && code->is_private && index_is_of_layer(site_key)) {
        if (pn_behavior_changed(vm) == PN_OK) return cell;
        pn_worker_fail(vm, "out of memory when the worker's methods changed");
        return PN_FAILED;
    }
    cache_write(vm, key, selector, code);
    site_write(vm, site_key, code);
    return cell;
}

// What all sends have in common: key is what the cache is asked for, site_key what the site compares.
static const PnCell *send_from(WorkerVm *vm, Oop start, uint64_t key, uint32_t site_key, Ref selector,
                               uint32_t arg_count) {
    const PnCacheEntry *entry = pn_cache_entry(vm->thread, key, selector);
    if (entry->key == key && ref_same(entry->selector, selector)) {
        Code *code = code_of_cell(entry->cell);
        site_write(vm, site_key, code);
        return &code->plain;
    }
    vm->thread->lookups++;
    Oop unreadable;
    Oop method = lookup_from(vm, start, selector, &unreadable);
    if (oop_is_none(method)) return not_understood(vm, selector, arg_count, unreadable);
    const PnCell *cell = cell_of_method(vm, method, selector, arg_count);
    if (!cell_is_code(cell) || oop_is_immediate(method) || !oop_is_code(method)) return cell;
    return remember_cell(vm, cell, key, site_key, selector, arg_count);
}

static Oop follow_receiver(WorkerVm *vm, uint32_t arg_count) {
    Ref *receiver = vm->sp - 1 - arg_count;
    Oop followed = pn_deref(vm, *receiver);
    *receiver = ref_of(followed);
    return followed;
}

static const PnCell *send_from_site(WorkerVm *vm, Ref selector, uint32_t arg_count, bool has_site) {
    Oop receiver = follow_receiver(vm, arg_count);
    uint32_t key = ref_class_key(ref_of(receiver));
    uint32_t site_key = has_site ? key : NO_SITE;
    uint64_t cache_key = vm->world_key | key;
    const PnCacheEntry *entry = pn_cache_entry(vm->thread, cache_key, selector);
    if (entry->key == cache_key && ref_same(entry->selector, selector)) {
        Code *code = code_of_cell(entry->cell);
        site_write(vm, site_key, code);
        return &code->plain;
    }
    return send_from(vm, pn_class_of(vm, receiver), cache_key, site_key, selector, arg_count);
}

const PnCell *pn_send_slow(WorkerVm *vm, Ref selector, uint32_t arg_count) {
    return send_from_site(vm, selector, arg_count, true);
}
const PnCell *pn_send_without_site(WorkerVm *vm, Ref selector, uint32_t arg_count) {
    return send_from_site(vm, selector, arg_count, false);
}

// Bit 22 is free in a class key: it marks the cache entries of super sends, whose key is the class that has the method.
#define PN_SUPER_KEY (UINT64_C(1) << 22)

const PnCell *pn_send_super_slow(WorkerVm *vm, Ref selector, uint32_t arg_count, Oop method_class) {
    Oop receiver = follow_receiver(vm, arg_count);
    if (oop_is_none(method_class) || oop_is_immediate(method_class) || oop_slot_count(method_class) < PN_BEHAVIOR_SLOTS)
        return not_understood(vm, selector, arg_count, PN_NO_OOP);
    Oop start = pn_slot(vm, method_class, PN_BEHAVIOR_SUPERCLASS);
    uint32_t class_hash = hdr_hash(oop_header(method_class));
    uint32_t key = ref_class_key(ref_of(receiver));
    if (class_hash == 0) { // a class that never had an instance has no index that could name it in the cache
        Oop unreadable;
        Oop method = lookup_from(vm, start, selector, &unreadable);
        if (oop_is_none(method)) return not_understood(vm, selector, arg_count, unreadable);
        return cell_of_method(vm, method, selector, arg_count);
    }
    return send_from(vm, start, vm->world_key | PN_SUPER_KEY | class_hash, key, selector, arg_count);
}

// The selector and argument count of the send that ends at vm->pc, found by decoding from the start of the running code.
static bool selector_before(WorkerVm *vm, Ref *selector, uint32_t *arg_count) {
    const Code *code = vm->cp->code;
    uint32_t ext_a = 0, ext_b = 0;
    for (const uint8_t *at = code->bytecodes; at < vm->pc;) {
        uint8_t byte = *at;
        const uint8_t *next = at + (byte < 224 ? 1 : byte < 248 ? 2 : 3);
        if (next == vm->pc) {
            if (byte == 234) {
                *selector = code->literals[(at[1] >> 3) + ext_a * 32];
                *arg_count = (at[1] & 7u) + ext_b * 8;
                return true;
            }
            if (byte >= 96 && byte < 128) {
                *selector = pn_special_selector(vm, byte - 96u);
                *arg_count = pn_special_arg_counts[byte - 96];
                return true;
            }
            if (byte < 128 || byte >= 176) return false;
            *selector = code->literals[byte & 15];
            *arg_count = (byte - 128u) >> 4;
            return true;
        }
        if (byte == 224) ext_a = ext_a << 8 | at[1];
        else if (byte == 225) ext_b = ext_b << 8 | at[1];
        else ext_a = ext_b = 0;
        at = next;
    }
    return false;
}

const PnCell *pn_send_stale(WorkerVm *vm, Code *code) {
    uint32_t arg_count = code->arg_count;
    Ref before = *(vm->sp - 1 - arg_count);
    Oop receiver = follow_receiver(vm, arg_count);
    // A copy is of its original's class, unless become: or a class change has come since: then the search begins anew.
    if (!oop_is_immediate(receiver) && oop_class_index(receiver) == oop_class_index(ref_raw(before)))
        return &code->plain;
    Ref selector;
    if (!selector_before(vm, &selector, &arg_count)) return &code->plain;
    return pn_send_slow(vm, selector, arg_count);
}

const PnCell *pn_send_event(WorkerVm *vm, enum PnSpecial event, Ref receiver, const Ref *arguments, uint32_t count) {
    size_t bytes = (count + 1) * sizeof(Ref);
    Ref selector = special_object(vm, event);
    if (ref_same(selector, vm->nil)) {
        pn_worker_fail(vm, "the image names no selector for event %d of the machine", (int)event);
        return PN_FAILED;
    }
    // A handler that answers where it should not leaves a word behind: after many of them the frame outgrows what was checked
    // when it began. So here there is always room for the deepest stack that code can have.
    size_t most = bytes + 64 * sizeof(Ref);
    if (vm->sp - vm->fp > PN_MOST_LEFT_OPERANDS || !pn_stack_reserve(vm, most)) {
        pn_worker_fail(vm,
                       "handlers of the machine's events have answered too often, or there is no memory for another");
        return PN_FAILED;
    }
    *vm->sp++ = receiver;
    for (uint32_t i = 0; i < count; i++) *vm->sp++ = arguments[i];
    return pn_send_without_site(vm, selector, count);
}

Oop pn_method_class(WorkerVm *vm, const Code *code) {
    Oop method = ref_raw(code->method);
    for (int depth = 0; depth < 64; depth++) {
        size_t literals = code_header_literals(ref_int(oop_slot(method, 0)));
        if (literals == 0) return PN_NO_OOP;
        Oop last = pn_slot(vm, method, literals);
        if (oop_is_immediate(last)) return PN_NO_OOP;
        if (!oop_is_code(last)) return oop_slot_count(last) > 1 ? pn_slot(vm, last, PN_BINDING_VALUE) : PN_NO_OOP;
        method = last; // a block: its outer code
    }
    return PN_NO_OOP;
}
