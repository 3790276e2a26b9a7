// interp/prim_bulk.c: primitives on whole contents: replace, fill, compare, hash, copy from.
//
// Work is charged by the words that are moved or compared.
#include "interp/interp_int.h"

#define PN_HASH_MULTIPLIER UINT32_C(1664525)
#define PN_HASH_MASK 0x0FFFFFFF

// ---- Copying contents -------------------------------------------------------------------------------

void pn_copy_values(WorkerVm *vm, Oop to, size_t to_index, Oop from, size_t from_index, size_t count) {
    bool is_plain = ((uint32_t)oop_header(to) & vm->store_mask) == vm->store_want;
    for (size_t i = 0; i < count; i++) {
        Ref value = oop_slot(from, from_index + i);
        if (is_plain) oop_init_slot(to, to_index + i, value);
        else pn_store(vm, to, to_index + i, value);
    }
}

void pn_copy_body(WorkerVm *vm, Oop to, Oop from) {
    size_t values = pn_value_slots(from), slots = oop_slot_count(from);
    pn_copy_values(vm, to, 0, from, 0, values);
    memcpy(oop_slots(to) + values, oop_slots(from) + values, (slots - values) * sizeof(Ref));
}

// ---- replaceFrom:to:with:startingAt: ------------------------------------------------------------------

// Elements [to_index, to_index + count) of `to` get those of `from` from from_index on; raw elements or, 0, values.
typedef struct Move {
    Oop to, from;
    size_t to_index, from_index, count;
    size_t element_bytes;
} Move;

// Formats but for the bits that count unused elements of the last word.
static bool same_kind(Oop a, Oop b) {
    size_t element_bytes = oop_element_bytes(a);
    if (element_bytes != 0) return element_bytes == oop_element_bytes(b);
    return oop_format(a) == oop_format(b);
}

// Contexts and compiled code are left out: their contents are the machine's.
static bool is_replaceable(Oop o) {
    if (oop_is_context(o)) return false;
    return oop_element_bytes(o) != 0 || (oop_format(o) >= PN_FMT_ARRAY && oop_format(o) <= PN_FMT_WEAK);
}

static size_t indexed_count(Oop o, size_t element_bytes) {
    return element_bytes ? oop_element_count(o, element_bytes) : oop_slot_count(o) - pn_named_slots(o);
}

// Operands: receiver, start, stop, source, start in source. Answers 0 or the failure.
static PnPrimError plan_move(WorkerVm *vm, Ref *arguments, Move *move) {
    Ref start = ref_of(pn_deref(vm, arguments[1])), stop = ref_of(pn_deref(vm, arguments[2]));
    Ref source_start = ref_of(pn_deref(vm, arguments[4]));
    *move = (Move){.to = pn_deref(vm, arguments[0]), .from = pn_deref(vm, arguments[3])};
    if (!ref_is_int(start) || !ref_is_int(stop) || !ref_is_int(source_start)) return PN_PRIM_ARGUMENT;
    if (oop_is_immediate(move->from)) return PN_PRIM_ARGUMENT;
    if (oop_is_immediate(move->to) || !is_replaceable(move->to) || !is_replaceable(move->from) ||
        !same_kind(move->to, move->from))
        return PN_PRIM_INAPPROPRIATE;
    int64_t first = ref_int(start), count = ref_int(stop) - first + 1, source_first = ref_int(source_start);
    move->element_bytes = oop_element_bytes(move->to);
    int64_t to_count = (int64_t)indexed_count(move->to, move->element_bytes);
    int64_t from_count = (int64_t)indexed_count(move->from, move->element_bytes);
    if (first < 1 || count < 0 || count > to_count - (first - 1)) return PN_PRIM_INDEX;
    if (source_first < 1 || count > from_count - (source_first - 1)) return PN_PRIM_INDEX;
    move->to_index = (size_t)first - 1;
    move->from_index = (size_t)source_first - 1;
    move->count = (size_t)count;
    return 0;
}

// One after the other, ascending, so that an overlapping move to the right repeats elements, as in other machines.
static void move_raw(const Move *move) {
    uint8_t *to = oop_bytes(move->to) + move->to_index * move->element_bytes;
    const uint8_t *from = oop_bytes(move->from) + move->from_index * move->element_bytes;
    size_t bytes = move->count * move->element_bytes;
    if (to <= from || from + bytes <= to) {
        memmove(to, from, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i += move->element_bytes) memmove(to + i, from + i, move->element_bytes);
}

Ref pn_prim_replace(WorkerVm *vm, Ref *arguments) {
    Move move;
    PnPrimError error = plan_move(vm, arguments, &move);
    if (error) return pn_fail(vm, error);
    if (move.count == 0) return arguments[0];
    PnAccess access = pn_make_writable(vm, &move.to);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    move.from = pn_deref(vm, arguments[3]); // perhaps the same object, which has just been copied
    if (move.element_bytes != 0) move_raw(&move);
    else
        pn_copy_values(vm, move.to, pn_named_slots(move.to) + move.to_index, move.from,
                       pn_named_slots(move.from) + move.from_index, move.count);
    pn_charge(vm, move.count / 8);
    return arguments[0];
}

// ---- Fill ------------------------------------------------------------------------------------------------

Ref pn_prim_fill(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    uint64_t value;
    size_t element_bytes = oop_is_immediate(o) ? 0 : oop_element_bytes(o);
    if (element_bytes == 0 || !pn_uint64_value(vm, arguments[1], &value) || !element_takes(element_bytes, value))
        return pn_fail(vm, PN_PRIM_GENERIC);
    PnAccess access = pn_make_writable(vm, &o);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    size_t count = oop_element_count(o, element_bytes);
    for (size_t i = 0; i < count; i++) oop_set_element(o, i, element_bytes, value);
    pn_charge(vm, oop_slot_count(o) / 8);
    return arguments[0];
}

// ---- Comparing ---------------------------------------------------------------------------------------------

Ref pn_prim_same_contents(WorkerVm *vm, Ref *arguments) {
    Oop a = pn_deref(vm, arguments[0]), b = pn_deref(vm, arguments[1]);
    if (oop_is_immediate(a) || oop_is_immediate(b)) return pn_fail(vm, PN_PRIM_GENERIC);
    if (a.bits == b.bits) return vm_true(vm);
    size_t element_bytes = oop_element_bytes(a);
    if (element_bytes == 0 || oop_format(a) != oop_format(b)) return pn_fail(vm, PN_PRIM_GENERIC);
    size_t slots = oop_slot_count(a);
    if (slots != oop_slot_count(b)) return vm_false(vm);
    pn_charge(vm, slots / 8);
    size_t bytes = oop_element_count(a, element_bytes) * element_bytes;
    return vm_bool(vm, memcmp(oop_bytes(a), oop_bytes(b), bytes) == 0);
}

static bool is_byte_object(Oop o) { return !oop_is_immediate(o) && oop_is_bytes(o); }

// order maps each byte to its rank; NULL: bytes rank as they are.
static int64_t difference(Oop a, Oop b, const uint8_t *order) {
    size_t a_count = oop_byte_count(a), b_count = oop_byte_count(b);
    const uint8_t *x = oop_bytes(a), *y = oop_bytes(b);
    for (size_t i = 0, n = pn_min(a_count, b_count); i < n; i++) {
        int rank_x = order ? order[x[i]] : x[i], rank_y = order ? order[y[i]] : y[i];
        if (rank_x != rank_y) return rank_x - rank_y;
    }
    return (int64_t)a_count - (int64_t)b_count;
}

Ref pn_prim_compare_strings(WorkerVm *vm, Ref *arguments) {
    size_t count = prim_arg_count(vm, arguments);
    if (count < 1 || count > 2) return pn_fail(vm, PN_PRIM_NUM_ARGS);
    Oop a = pn_deref(vm, arguments[0]), b = pn_deref(vm, arguments[1]);
    if (!is_byte_object(a) || !is_byte_object(b)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    const uint8_t *order = NULL;
    if (count == 2) {
        Oop map = pn_deref(vm, arguments[2]);
        if (!is_byte_object(map) || oop_byte_count(map) != 256) return pn_fail(vm, PN_PRIM_ARGUMENT);
        order = oop_bytes(map);
    }
    pn_charge(vm, pn_min(oop_slot_count(a), oop_slot_count(b)) / 8);
    return ref_from_int(difference(a, b, order));
}

// ---- Hash ---------------------------------------------------------------------------------------------------

// The low 32 bits of a SmallInteger, or of a large integer of any length.
static bool low_bits(Oop o, uint32_t *bits) {
    if (ref_is_int(ref_of(o))) {
        *bits = (uint32_t)ref_int(ref_of(o));
        return true;
    }
    if (oop_is_immediate(o) || oop_class_index(o) != PN_CLASS_LARGE_POSITIVE || !oop_is_bytes(o)) return false;
    *bits = 0;
    memcpy(bits, oop_bytes(o), pn_min(oop_byte_count(o), sizeof *bits));
    return true;
}

Ref pn_prim_hash_multiply(WorkerVm *vm, Ref *arguments) {
    uint32_t bits;
    if (!low_bits(pn_deref(vm, arguments[0]), &bits)) return pn_fail(vm, PN_PRIM_RECEIVER);
    return ref_from_int((bits * PN_HASH_MULTIPLIER) & PN_HASH_MASK);
}

// ---- Copying from another object -------------------------------------------------------------------------------

static bool is_copyable(Oop o) {
    return !oop_is_immediate(o) && !oop_is_code(o) && !oop_is_context(o) &&
           (oop_is_pointers(o) || oop_element_bytes(o));
}

Ref pn_prim_copy_from(WorkerVm *vm, Ref *arguments) {
    Oop to = pn_deref(vm, arguments[0]), from = pn_deref(vm, arguments[1]);
    if (!is_copyable(to)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!is_copyable(from) || pn_class_of(vm, to).bits != pn_class_of(vm, from).bits ||
        oop_format(to) != oop_format(from) || oop_slot_count(to) != oop_slot_count(from))
        return pn_fail(vm, PN_PRIM_ARGUMENT);
    PnAccess access = pn_make_writable(vm, &to);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    pn_copy_body(vm, to, pn_deref(vm, arguments[1]));
    pn_charge(vm, oop_slot_count(to) / 8);
    return arguments[0];
}
