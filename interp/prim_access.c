// interp/prim_access.c: reading and writing parts of objects: elements, slots, literals, the read-only bit.
//
// Everything is checked before the first effect: operands first, then whether the object may be written. Only then it
// is written, through pn_store for values, and for raw elements after pn_make_writable, which answers another object
// if it copies. Contexts that stand for a frame are read and written through interp/context.c.
#include "interp/interp_int.h"

// ---- Indexed part of any object -----------------------------------------------------------------------

// Where the elements of an object lie: values in slots from `first` on, or raw elements, the first `first` of them
// not to be touched (header and literals of compiled code).
typedef struct Elements {
    size_t first;
    size_t count;
    size_t element_bytes; // 0: values
} Elements;

static size_t code_literal_bytes(Oop code) {
    return 8 * ((size_t)code_header_literals(ref_int(oop_slot(code, 0))) + 1);
}

// False: o has no indexed part.
static bool elements_of(WorkerVm *vm, Oop o, Elements *e) {
    uint32_t format = oop_format(o);
    *e = (Elements){0};
    if (oop_is_context(o)) {
        size_t used = pn_context_used_slots(vm, o);
        *e = (Elements){.first = PN_CONTEXT_FIRST_TEMP, .count = used - PN_CONTEXT_FIRST_TEMP};
        return true;
    }
    if (format >= PN_FMT_ARRAY && format <= PN_FMT_WEAK) {
        size_t named = pn_named_slots(o);
        *e = (Elements){.first = named, .count = oop_slot_count(o) - named};
        return true;
    }
    if (format >= PN_FMT_CODE) {
        *e = (Elements){.first = code_literal_bytes(o), .count = oop_byte_count(o), .element_bytes = 1};
        return true;
    }
    e->element_bytes = oop_element_bytes(o);
    if (e->element_bytes != 0) e->count = oop_element_count(o, e->element_bytes);
    return e->element_bytes != 0;
}

// Turn a 1-based index into a 0-based one below count.
static PnPrimError index_below(WorkerVm *vm, Ref r, size_t count, size_t *index) {
    r = ref_of(pn_deref(vm, r));
    if (!ref_is_int(r)) return PN_PRIM_ARGUMENT;
    *index = (size_t)ref_int(r) - 1;
    return *index < count ? 0 : PN_PRIM_INDEX;
}

// Receiver and index of at: and at:put:.
static PnPrimError find_element(WorkerVm *vm, Ref *arguments, Oop *o, Elements *e, size_t *index) {
    *o = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(*o)) return PN_PRIM_INAPPROPRIATE;
    bool is_indexable = elements_of(vm, *o, e);
    PnPrimError error = index_below(vm, arguments[1], e->count, index);
    if (error == PN_PRIM_ARGUMENT) return error;
    if (!is_indexable) return PN_PRIM_RECEIVER;
    if (!error && oop_is_code(*o) && *index < e->first) return PN_PRIM_INDEX;
    return error;
}

Ref pn_prim_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    Elements e;
    size_t index;
    PnPrimError error = find_element(vm, arguments, &o, &e, &index);
    if (error) return pn_fail(vm, error);
    if (e.element_bytes != 0) return pn_uint64_new(vm, oop_element(o, index, e.element_bytes));
    return oop_is_context(o) ? pn_context_slot(vm, o, e.first + index) : oop_slot(o, e.first + index);
}

// Store value, which must fit, as a raw element of o.
static Ref put_raw(WorkerVm *vm, Oop o, size_t index, size_t element_bytes, uint64_t value, Ref answer) {
    PnAccess access = pn_make_writable(vm, &o);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    oop_set_element(o, index, element_bytes, value);
    return answer;
}

static Ref put_value(WorkerVm *vm, Oop o, size_t index, Ref value) {
    PnAccess access = pn_store(vm, o, index, value);
    return access == PN_WRITABLE ? value : pn_fail_access(vm, access);
}

static Ref put_unsigned(WorkerVm *vm, Oop o, size_t index, size_t element_bytes, Ref value) {
    uint64_t bits;
    if (!pn_uint64_value(vm, value, &bits) || !element_takes(element_bytes, bits)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    return put_raw(vm, o, index, element_bytes, bits, value);
}

Ref pn_prim_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    Elements e;
    size_t index;
    PnPrimError error = find_element(vm, arguments, &o, &e, &index);
    if (error) return pn_fail(vm, error);
    if (oop_is_context(o)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (e.element_bytes == 0) return put_value(vm, o, e.first + index, arguments[2]);
    return put_unsigned(vm, o, index, e.element_bytes, arguments[2]);
}

Ref pn_prim_size(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    Elements e;
    if (oop_is_immediate(o) || !elements_of(vm, o, &e)) return pn_fail(vm, PN_PRIM_RECEIVER);
    return ref_from_int((int64_t)e.count);
}

Ref pn_prim_at_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_at(vm, arguments + 1); }
Ref pn_prim_at_put_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_at_put(vm, arguments + 1); }
Ref pn_prim_size_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_size(vm, arguments + 1); }

// ---- Strings ---------------------------------------------------------------------------------------------

// Strings have elements of 8, 16 or 32 bits.
static PnPrimError find_character(WorkerVm *vm, Ref *arguments, Oop *o, Elements *e, size_t *index) {
    PnPrimError error = find_element(vm, arguments, o, e, index);
    if (error == PN_PRIM_INAPPROPRIATE || error == PN_PRIM_ARGUMENT) return error;
    bool is_string = e->element_bytes != 0 && e->element_bytes != 8 && !oop_is_code(*o);
    return is_string ? error : PN_PRIM_RECEIVER;
}

Ref pn_prim_string_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    Elements e;
    size_t index;
    PnPrimError error = find_character(vm, arguments, &o, &e, &index);
    if (error) return pn_fail(vm, error);
    uint64_t character = oop_element(o, index, e.element_bytes);
    return character <= PN_CHAR_MAX ? ref_from_char((uint32_t)character) : pn_fail(vm, PN_PRIM_RECEIVER);
}

Ref pn_prim_string_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    Elements e;
    size_t index;
    PnPrimError error = find_character(vm, arguments, &o, &e, &index);
    if (error) return pn_fail(vm, error);
    Ref character = ref_of(pn_deref(vm, arguments[2]));
    if (!ref_is_char(character) || !element_takes(e.element_bytes, ref_char(character)))
        return pn_fail(vm, PN_PRIM_ARGUMENT);
    return put_raw(vm, o, index, e.element_bytes, ref_char(character), arguments[2]);
}

// ---- Header and literals of compiled code ------------------------------------------------------------------

static PnPrimError find_literal(WorkerVm *vm, Ref *arguments, Oop *code, size_t *index) {
    *code = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(*code) || !oop_is_code(*code)) return PN_PRIM_RECEIVER;
    return index_below(vm, arguments[1], code_literal_bytes(*code) / 8, index);
}

Ref pn_prim_object_at(WorkerVm *vm, Ref *arguments) {
    Oop code;
    size_t index;
    PnPrimError error = find_literal(vm, arguments, &code, &index);
    return error ? pn_fail(vm, error) : oop_slot(code, index);
}

// A header must leave the number of literals as it is: what lies behind them are bytes, no values.
static bool header_may_follow(Oop code, Ref header) {
    return ref_is_int(header) &&
           code_header_literals(ref_int(header)) == code_header_literals(ref_int(oop_slot(code, 0)));
}

Ref pn_prim_object_at_put(WorkerVm *vm, Ref *arguments) {
    Oop code;
    size_t index;
    PnPrimError error = find_literal(vm, arguments, &code, &index);
    if (error) return pn_fail(vm, error);
    Ref value = arguments[2];
    if (index == 0) {
        value = ref_of(pn_deref(vm, value));
        if (!header_may_follow(code, value)) return pn_fail(vm, PN_PRIM_ARGUMENT);
    }
    return put_value(vm, code, index, value);
}

// ---- Named slots -------------------------------------------------------------------------------------------

static PnPrimError find_named(WorkerVm *vm, Ref *arguments, PnPrimError if_immediate, Oop *o, size_t *index) {
    *o = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(*o)) return if_immediate;
    return index_below(vm, arguments[1], pn_named_slots(*o), index);
}

// A slot of a context whose write would change frames, under the feet of the sender: its stack of operands alone does
// not. The Context class has its own ways (stores of its inst vars, 76, 211).
static Ref put_context_slot(WorkerVm *vm, Oop context, size_t index, Ref value) {
    FrameWalk frame;
    if (index < PN_CONTEXT_FIRST_TEMP && pn_context_frame(vm, context, &frame)) return pn_fail(vm, PN_PRIM_UNSUPPORTED);
    PnAccess access = pn_context_store(vm, context, index, value);
    return access == PN_WRITABLE ? value : pn_fail_access(vm, access);
}

Ref pn_prim_inst_var_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_named(vm, arguments, PN_PRIM_INAPPROPRIATE, &o, &index);
    if (error) return pn_fail(vm, error);
    return oop_is_context(o) ? pn_context_slot(vm, o, index) : oop_slot(o, index);
}

Ref pn_prim_inst_var_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_named(vm, arguments, PN_PRIM_RECEIVER, &o, &index);
    if (error) return pn_fail(vm, error);
    if (oop_is_context(o)) return put_context_slot(vm, o, index, arguments[2]);
    return put_value(vm, o, index, arguments[2]);
}

Ref pn_prim_inst_var_at_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_inst_var_at(vm, arguments + 1); }
Ref pn_prim_inst_var_at_put_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_inst_var_at_put(vm, arguments + 1); }

// ---- Slots of any object, named ones first --------------------------------------------------------------------

static PnPrimError find_slot(WorkerVm *vm, Ref *arguments, Oop *o, size_t *index) {
    *o = pn_deref(vm, arguments[0]);
    if (oop_is_immediate(*o)) return PN_PRIM_RECEIVER;
    if (oop_is_code(*o)) return PN_PRIM_UNSUPPORTED;
    size_t element_bytes = oop_element_bytes(*o), count = 0;
    if (oop_is_context(*o)) count = pn_context_used_slots(vm, *o);
    else if (oop_is_pointers(*o)) count = oop_slot_count(*o);
    else if (element_bytes != 0) count = oop_element_count(*o, element_bytes);
    return index_below(vm, arguments[1], count, index);
}

Ref pn_prim_slot_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_slot(vm, arguments, &o, &index);
    if (error) return pn_fail(vm, error);
    if (oop_is_context(o)) return pn_context_slot(vm, o, index);
    if (oop_is_pointers(o)) return oop_slot(o, index);
    return pn_uint64_new(vm, oop_element(o, index, oop_element_bytes(o)));
}

Ref pn_prim_slot_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_slot(vm, arguments, &o, &index);
    if (error) return pn_fail(vm, error);
    if (oop_is_context(o)) return put_context_slot(vm, o, index, arguments[2]);
    if (oop_is_pointers(o)) return put_value(vm, o, index, arguments[2]);
    return put_unsigned(vm, o, index, oop_element_bytes(o), arguments[2]);
}

Ref pn_prim_slot_at_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_slot_at(vm, arguments + 1); }
Ref pn_prim_slot_at_put_mirror(WorkerVm *vm, Ref *arguments) { return pn_prim_slot_at_put(vm, arguments + 1); }

// ---- Signed elements ------------------------------------------------------------------------------------------

static int64_t sign_extended(uint64_t bits, size_t element_bytes) {
    size_t unused = 64 - 8 * element_bytes;
    return (int64_t)(bits << unused) >> unused;
}

static Ref put_signed(WorkerVm *vm, Oop o, size_t index, size_t element_bytes, Ref value) {
    int64_t n;
    if (!pn_int64_value(vm, value, &n) || sign_extended((uint64_t)n, element_bytes) != n)
        return pn_fail(vm, PN_PRIM_ARGUMENT);
    return put_raw(vm, o, index, element_bytes, (uint64_t)n, value);
}

// Raw memory as elements of 16 bits, whatever the object's own are.
static PnPrimError find_short(WorkerVm *vm, Ref *arguments, Oop *o, size_t *index) {
    *o = pn_deref(vm, arguments[0]);
    size_t element_bytes = oop_is_immediate(*o) ? 0 : oop_element_bytes(*o);
    if (element_bytes == 0) return PN_PRIM_INAPPROPRIATE;
    return index_below(vm, arguments[1], oop_element_count(*o, element_bytes) * element_bytes / 2, index);
}

Ref pn_prim_short_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_short(vm, arguments, &o, &index);
    return error ? pn_fail(vm, error) : ref_from_int(sign_extended(oop_element(o, index, 2), 2));
}

Ref pn_prim_short_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t index;
    PnPrimError error = find_short(vm, arguments, &o, &index);
    return error ? pn_fail(vm, error) : put_signed(vm, o, index, 2, arguments[2]);
}

static PnPrimError find_integer(WorkerVm *vm, Ref *arguments, Oop *o, size_t *element_bytes, size_t *index) {
    *o = pn_deref(vm, arguments[0]);
    if (!oop_is_immediate(*o) && oop_is_code(*o)) return PN_PRIM_UNSUPPORTED;
    *element_bytes = oop_is_immediate(*o) ? 0 : oop_element_bytes(*o);
    size_t count = *element_bytes == 0 ? 0 : oop_element_count(*o, *element_bytes);
    PnPrimError error = index_below(vm, arguments[1], count, index);
    return *element_bytes == 0 && error != PN_PRIM_ARGUMENT ? PN_PRIM_RECEIVER : error;
}

Ref pn_prim_integer_at(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t element_bytes, index;
    PnPrimError error = find_integer(vm, arguments, &o, &element_bytes, &index);
    if (error) return pn_fail(vm, error);
    return pn_int64_new(vm, sign_extended(oop_element(o, index, element_bytes), element_bytes));
}

Ref pn_prim_integer_at_put(WorkerVm *vm, Ref *arguments) {
    Oop o;
    size_t element_bytes, index;
    PnPrimError error = find_integer(vm, arguments, &o, &element_bytes, &index);
    return error ? pn_fail(vm, error) : put_signed(vm, o, index, element_bytes, arguments[2]);
}

// ---- Read-only objects ----------------------------------------------------------------------------------------

Ref pn_prim_is_read_only(WorkerVm *vm, Ref *arguments) {
    return vm_bool(vm, pn_is_read_only(vm, pn_deref(vm, arguments[0])));
}

// What the machine itself writes to cannot be read-only.
static bool can_be_read_only(Oop o) {
    uint32_t class_index = oop_class_index(o);
    if (class_index == PN_CLASS_CONTEXT || class_index == PN_CLASS_SEMAPHORE) return false;
    return oop_format(o) != PN_FMT_WEAK && oop_format(o) != PN_FMT_EPHEMERON;
}

Ref pn_prim_set_read_only(WorkerVm *vm, Ref *arguments) {
    Oop o = pn_deref(vm, arguments[0]);
    bool wanted = ref_same(arguments[1], vm_true(vm));
    if (oop_is_immediate(o)) return pn_fail(vm, PN_PRIM_RECEIVER);
    if (!wanted && !ref_same(arguments[1], vm_false(vm))) return pn_fail(vm, PN_PRIM_ARGUMENT);
    bool before = pn_is_read_only(vm, o);
    if (wanted == before) return vm_bool(vm, before);
    if (wanted ? !can_be_read_only(o) : oop_is_read_only_for_good(o)) return pn_fail(vm, PN_PRIM_INAPPROPRIATE);
    PnAccess access = pn_make_private(vm, &o);
    if (access != PN_WRITABLE) return pn_fail_access(vm, access);
    uint64_t others = oop_header(o) & ~PN_HDR_IMMUTABLE;
    oop_set_header(o, wanted ? others | PN_HDR_IMMUTABLE : others);
    return vm_bool(vm, before);
}
