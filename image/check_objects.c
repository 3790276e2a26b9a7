// image/check_objects.c: one object of an image file: what it refers to, and what the machine expects of objects of
// kernel classes.
//
// Called by image/check.c, after all headers and sizes and the tables have been found right. O3, H7.
#include "image/check_int.h"

static PnStatus slot_failed(ImageCheck *c, Oop o, size_t index, const char *text) {
    return pn_check_failed(c, pn_check_offset(c, oop_slots(o) + index), "%s: 0x%llx", text,
                           (unsigned long long)oop_slot(o, index).bits);
}

static PnStatus object_failed(ImageCheck *c, Oop o, const char *text) {
    return pn_check_failed(c, pn_check_offset(c, oop_address(o)), "%s", text);
}

static bool is_nil(const ImageCheck *c, uint64_t bits) { return bits == c->header->nil; }

// The object that a slot means; none: an immediate, or one of an ancestor that is not given.
static Oop meant_object(ImageCheck *c, Oop o, size_t index) {
    return pn_check_object(c, pn_check_meaning(c, oop_slot(o, index).bits));
}

static bool is_unknown_slot(const ImageCheck *c, Oop o, size_t index) {
    return pn_check_is_unknown(c, oop_slot(o, index).bits);
}

static PnStatus check_references(ImageCheck *c, Oop o, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!pn_check_is_reference(c, oop_slot(o, i).bits)) return slot_failed(c, o, i, "not a reference");
    return PN_OK;
}

// ---- Code ------------------------------------------------------------------------------------------------------

#define BYTECODE_CALL_PRIMITIVE 248
#define LEAST_CODE_SLOTS 3 // so that no two Code records share an address (heap/code.c, Note [Layer records])

static PnStatus check_bytecodes(ImageCheck *c, Oop o, int64_t header) {
    size_t start = 8 * (1 + (size_t)code_header_literals(header)), end = oop_byte_count(o);
    if (start >= end) return object_failed(c, o, "compiled code without bytecodes");
    const uint8_t *bytes = oop_bytes(o) + start;
    size_t count = end - start;
    if (code_header_has_primitive(header) && (count < 3 || bytes[0] != BYTECODE_CALL_PRIMITIVE))
        return object_failed(c, o, "a primitive method that does not begin with its primitive");
    if (!c->checks->check_bytecodes) return PN_OK;
    PnError inner = {0};
    if (c->checks->check_bytecodes(bytes, count, code_header_literals(header), code_header_temps(header), &inner) >= 0)
        return PN_OK;
    size_t at = pn_check_offset(c, bytes) + pn_min((size_t)inner.offset, count);
    return pn_check_failed(c, at, "bytecodes: %.150s", inner.text);
}

static PnStatus check_code(ImageCheck *c, Oop o) {
    Ref first = oop_slot(o, 0);
    if (!ref_is_int(first)) return slot_failed(c, o, 0, "the header of compiled code is no SmallInteger");
    int64_t header = ref_int(first);
    size_t literals = code_header_literals(header);
    if (oop_slot_count(o) < LEAST_CODE_SLOTS) return object_failed(c, o, "compiled code that is too short");
    if (literals >= oop_slot_count(o)) return slot_failed(c, o, 0, "more literals than compiled code has slots");
    if (!code_header_is_sista(header)) return slot_failed(c, o, 0, "compiled code that is not Sista V1");
    if (code_header_args(header) > code_header_temps(header)) return slot_failed(c, o, 0, "more arguments than temps");
    PnStatus status = check_references(c, o, 1 + literals);
    return status == PN_OK ? check_bytecodes(c, o, header) : status;
}

static bool refers_to_code(ImageCheck *c, Oop o, size_t index) {
    Oop code = meant_object(c, o, index);
    return oop_is_none(code) ? is_unknown_slot(c, o, index) : oop_is_code(code);
}

// ---- Contexts and closures -------------------------------------------------------------------------------------

static bool pc_is_in_method(ImageCheck *c, Oop context) {
    Oop method = meant_object(c, context, PN_CONTEXT_METHOD);
    if (oop_is_none(method)) return true;
    int64_t pc = ref_int(oop_slot(context, PN_CONTEXT_PC));
    int64_t first = 8 * (1 + (int64_t)code_header_literals(ref_int(oop_slot(method, 0)))) + 1;
    return pc >= first && pc <= (int64_t)oop_byte_count(method);
}

static bool refers_to_class_index(ImageCheck *c, Oop o, size_t index, uint32_t class_index) {
    Oop other = meant_object(c, o, index);
    return oop_is_none(other) ? is_unknown_slot(c, o, index) : oop_class_index(other) == class_index;
}

static PnStatus check_context(ImageCheck *c, Oop o) {
    size_t slots = oop_slot_count(o);
    if (slots < PN_CONTEXT_FIRST_TEMP) return object_failed(c, o, "a context with too few slots");
    Ref stackp = oop_slot(o, PN_CONTEXT_STACKP), pc = oop_slot(o, PN_CONTEXT_PC);
    if (!ref_is_int(stackp) || ref_int(stackp) < 0 || (uint64_t)ref_int(stackp) > slots - PN_CONTEXT_FIRST_TEMP)
        return slot_failed(c, o, PN_CONTEXT_STACKP, "a context's stack pointer is outside of it");
    PnStatus status = check_references(c, o, slots);
    if (status != PN_OK) return status;
    if (!is_nil(c, oop_slot(o, PN_CONTEXT_SENDER).bits) &&
        !refers_to_class_index(c, o, PN_CONTEXT_SENDER, PN_CLASS_CONTEXT))
        return slot_failed(c, o, PN_CONTEXT_SENDER, "a context's sender is neither context nor nil");
    if (!refers_to_code(c, o, PN_CONTEXT_METHOD))
        return slot_failed(c, o, PN_CONTEXT_METHOD, "a context's method is not compiled code");
    if (!is_nil(c, oop_slot(o, PN_CONTEXT_CLOSURE).bits) &&
        !refers_to_class_index(c, o, PN_CONTEXT_CLOSURE, PN_CLASS_FULL_BLOCK_CLOSURE))
        return slot_failed(c, o, PN_CONTEXT_CLOSURE, "a context's closure is neither closure nor nil");
    if (is_nil(c, pc.bits)) return PN_OK;
    if (ref_is_int(pc) && pc_is_in_method(c, o)) return PN_OK;
    return slot_failed(c, o, PN_CONTEXT_PC, "a context's pc is outside of its method");
}

static PnStatus check_closure(ImageCheck *c, Oop o) {
    if (oop_slot_count(o) < PN_CLOSURE_FIRST_COPIED) return object_failed(c, o, "a closure with too few slots");
    if (!refers_to_code(c, o, PN_CLOSURE_BLOCK))
        return slot_failed(c, o, PN_CLOSURE_BLOCK, "a closure's block is not compiled code");
    if (!ref_is_int(oop_slot(o, PN_CLOSURE_NUM_ARGS)))
        return slot_failed(c, o, PN_CLOSURE_NUM_ARGS, "a closure's number of arguments is no SmallInteger");
    return PN_OK;
}

// ---- Method dictionaries ---------------------------------------------------------------------------------------

// Where the search for a selector begins. False: in an ancestor that is not given.
static bool selector_hash(ImageCheck *c, Ref selector, uint64_t *hash) {
    if (ref_is_immediate(selector)) {
        *hash = (uint64_t)ref_int(selector);
        return true;
    }
    Oop o = pn_check_object(c, selector.bits);
    if (oop_is_none(o)) return false;
    uint64_t successor = pn_check_is_own(c, selector.bits) ? 0 : pn_retired_successor(o.bits);
    if (successor) o = (Oop){successor};
    *hash = hdr_hash(oop_header(o));
    return true;
}

static bool key_is_nil(const ImageCheck *c, Oop o, size_t index) {
    return is_nil(c, oop_slot(o, PN_METHOD_DICT_FIRST_KEY + index).bits);
}

// Each selector must be found: between where its search begins and where it is there is no nil. One round, beginning
// behind some nil; `run` counts the selectors since the last nil.
static PnStatus check_selector_places(ImageCheck *c, Oop o, size_t capacity, size_t some_nil) {
    size_t run = 0;
    for (size_t step = 1; step <= capacity; step++) {
        size_t at = (some_nil + step) & (capacity - 1);
        if (key_is_nil(c, o, at)) {
            run = 0;
            continue;
        }
        uint64_t hash = 0;
        Ref key = oop_slot(o, PN_METHOD_DICT_FIRST_KEY + at);
        if (selector_hash(c, key, &hash) && ((at - hash) & (capacity - 1)) > run)
            return slot_failed(c, o, PN_METHOD_DICT_FIRST_KEY + at, "a selector where it would not be found");
        run++;
    }
    return PN_OK;
}

static PnStatus check_method_dictionary(ImageCheck *c, Oop o) {
    size_t slots = oop_slot_count(o);
    size_t capacity = slots > PN_METHOD_DICT_FIRST_KEY ? slots - PN_METHOD_DICT_FIRST_KEY : 0;
    if (capacity == 0 || (capacity & (capacity - 1)) != 0)
        return object_failed(c, o, "a method dictionary whose capacity is no power of two");
    Oop methods = meant_object(c, o, PN_METHOD_DICT_METHODS);
    bool is_array = !oop_is_none(methods) && oop_format(methods) == PN_FMT_ARRAY && oop_slot_count(methods) == capacity;
    if (!is_array && !is_unknown_slot(c, o, PN_METHOD_DICT_METHODS))
        return slot_failed(c, o, PN_METHOD_DICT_METHODS, "a method dictionary without an array of methods of its size");
    size_t used = 0, some_nil = 0;
    for (size_t i = 0; i < capacity; i++) {
        if (key_is_nil(c, o, i)) some_nil = i;
        else used++;
    }
    Ref tally = oop_slot(o, PN_METHOD_DICT_TALLY);
    if (!ref_is_int(tally) || ref_int(tally) != (int64_t)used)
        return slot_failed(c, o, PN_METHOD_DICT_TALLY, "a method dictionary that counts its selectors wrong");
    return used < capacity ? check_selector_places(c, o, capacity, some_nil) : PN_OK;
}

// ---- Any object ------------------------------------------------------------------------------------------------

// The class table is checked as a whole (image/check_tables.c) and is nowhere but at the beginning.
static PnStatus check_hidden(ImageCheck *c, Oop o) {
    bool is_class_table = oop_class_index(o) == PN_CLASS_HIDDEN_ARRAY;
    if (is_class_table && oop_address(o) >= c->hidden_end) return object_failed(c, o, "a second class table");
    return PN_OK;
}

PnStatus pn_check_one_object(ImageCheck *c, Oop o) {
    uint32_t class_index = oop_class_index(o);
    if (class_index <= PN_CLASS_LAST_HIDDEN) return check_hidden(c, o);
    if (oop_is_code(o)) return check_code(c, o);
    if (class_index == PN_CLASS_BOXED_FLOAT && oop_slot_count(o) != 1)
        return object_failed(c, o, "a float that is not one word");
    if (!oop_is_pointers(o)) return PN_OK;
    if (class_index == PN_CLASS_CONTEXT) return check_context(c, o);
    PnStatus status = check_references(c, o, oop_slot_count(o));
    if (status != PN_OK) return status;
    if (class_index == PN_CLASS_FULL_BLOCK_CLOSURE) return check_closure(c, o);
    if (class_index == PN_CLASS_METHOD_DICTIONARY) return check_method_dictionary(c, o);
    return PN_OK;
}
