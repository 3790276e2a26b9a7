// interp/disassemble.c: bytecodes as text.
//
// pn_disassemble_one knows bytes only; pn_disassemble also prints the literals and the blocks in them. Neither
// allocates, and both take damaged code: what cannot be read is printed as such. For debuggers and tests.
#include "interp/decode.h"
#include "interp/interp.h"

#include <inttypes.h>
#include <stdarg.h>

// ---- Text of one instruction --------------------------------------------------------------------

// Text that grows in a buffer of fixed size and is cut off at its end.
typedef struct Text {
    char *at;
    size_t room; // with the terminating zero
} Text;

static PN_PRINTF(2, 3) void add_text(Text *text, const char *format, ...) {
    if (text->room == 0) return;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text->at, text->room, format, arguments);
    va_end(arguments);
    size_t written = wanted < 0 ? 0 : pn_min((size_t)wanted, text->room - 1);
    text->at += written;
    text->room -= written;
}

static void add_char(Text *text, char c) {
    if (text->room <= 1) return;
    *text->at++ = c;
    *text->at = 0;
    text->room--;
}

// The operation's text with its operands in place of %d. origin is added to jump targets.
static void add_operation(Text *text, const Instruction *in, const char *format, int64_t origin) {
    int64_t operands[2] = {in->a, in->b};
    if (op_is_jump(in->op)) operands[0] += origin + (int64_t)(in->at + in->length);
    size_t used = 0;
    for (const char *p = format; *p != 0; p++) {
        if (p[0] == '%' && p[1] == 'd' && used < PN_COUNT_OF(operands)) {
            add_text(text, "%" PRId64, operands[used++]);
            p++;
        } else {
            add_char(text, *p);
        }
    }
}

static void add_flags(Text *text, uint32_t flags) {
    if (flags & PN_IN_DIRECTED) add_text(text, " directed");
    if (flags & PN_IN_INLINE) add_text(text, " inline");
    if (flags & PN_IN_FROM_STACK) add_text(text, " fromStack");
    if (flags & PN_IN_NO_OUTER) add_text(text, " noOuter");
    if (flags & PN_IN_RECEIVER) add_text(text, " receiverOnStack");
    if (flags & PN_IN_OVERLONG) add_text(text, " (too many extensions)");
    if (flags & PN_IN_USELESS_EXT) add_text(text, " (useless extension)");
}

// The last byte before the operands: the one that names the operation.
static uint8_t operation_byte(const uint8_t *bytes, const Instruction *in) {
    size_t at = in->at;
    while (bytes[at] == PN_OP_ext_a || bytes[at] == PN_OP_ext_b) at += 2;
    return bytes[at];
}

static void add_instruction(Text *text, const uint8_t *bytes, const Instruction *in, int64_t origin) {
    add_operation(text, in, pn_op_info[operation_byte(bytes, in)].text, origin);
    add_flags(text, in->flags);
}

size_t pn_disassemble_one(const uint8_t *bytes, size_t count, size_t at, char *text, size_t text_bytes) {
    if (text_bytes > 0) *text = 0;
    Instruction in;
    if (!pn_decode(bytes, count, at, &in)) return 0;
    Text out = {.at = text, .room = text_bytes};
    add_instruction(&out, bytes, &in, 0);
    return in.length;
}

// ---- Values -------------------------------------------------------------------------------------

enum { MAX_PRINTED_BYTES = 60, MAX_PRINTED_ELEMENTS = 10, MAX_DEPTH = 4, MAX_BLOCK_DEPTH = 16 };

static bool is_byte_text(Oop o) { return !oop_is_none(o) && !oop_is_immediate(o) && oop_is_bytes(o); }

// Bytes of a string or symbol; what is not printable as a dot.
static void print_bytes(Oop o, FILE *out) {
    size_t count = oop_byte_count(o);
    for (size_t i = 0; i < pn_min(count, MAX_PRINTED_BYTES); i++) {
        uint8_t byte = oop_bytes(o)[i];
        fputc(byte >= ' ' && byte < 127 ? byte : '.', out);
    }
    if (count > MAX_PRINTED_BYTES) fputs("...", out);
}

// Slot index of o if o has such a slot that holds a heap object, else none.
static Oop object_in_slot(WorkerVm *vm, Oop o, size_t index) {
    if (oop_is_none(o) || oop_is_immediate(o) || !oop_is_pointers(o) || oop_slot_count(o) <= index) return PN_NO_OOP;
    Oop value = pn_slot(vm, o, index);
    return oop_is_immediate(value) ? PN_NO_OOP : value;
}

static bool bytes_equal(Oop o, const char *text) {
    return is_byte_text(o) && oop_byte_count(o) == strlen(text) && memcmp(oop_bytes(o), text, strlen(text)) == 0;
}

// A metaclass is known by the name of its own class.
static bool is_metaclass(WorkerVm *vm, Oop o) {
    Oop class_of = pn_class_of(vm, o);
    return bytes_equal(object_in_slot(vm, class_of, PN_CLASS_NAME), "Metaclass");
}
static bool is_class(WorkerVm *vm, Oop o) {
    Oop class_of = pn_class_of(vm, o);
    return !oop_is_none(class_of) && !oop_is_immediate(class_of) && is_metaclass(vm, class_of);
}

static void print_class_name(WorkerVm *vm, Oop class_object, FILE *out) {
    bool meta = is_metaclass(vm, class_object);
    Oop named = meta ? object_in_slot(vm, class_object, PN_METACLASS_THIS_CLASS) : class_object;
    Oop name = object_in_slot(vm, named, PN_CLASS_NAME);
    if (is_byte_text(name)) print_bytes(name, out);
    else fputs("(class without name)", out);
    if (meta) fputs(" class", out);
}

static void print_value(WorkerVm *vm, Ref value, unsigned depth, FILE *out);

static void print_array(WorkerVm *vm, Oop array, unsigned depth, FILE *out) {
    fputs("#(", out);
    size_t count = oop_slot_count(array);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) fputc(' ', out);
        if (depth == MAX_DEPTH || i == MAX_PRINTED_ELEMENTS) {
            fputs("...", out);
            break;
        }
        print_value(vm, oop_slot(array, i), depth + 1, out);
    }
    fputc(')', out);
}

static void print_large_integer(Oop o, FILE *out) {
    fputs(oop_class_index(o) == PN_CLASS_LARGE_NEGATIVE ? "-16r" : "16r", out);
    for (size_t i = oop_byte_count(o); i-- > 0;) fprintf(out, "%02X", oop_bytes(o)[i]);
}

static void print_immediate(Ref value, FILE *out) {
    if (ref_is_int(value)) fprintf(out, "%" PRId64, ref_int(value));
    else if (ref_is_small_float(value)) fprintf(out, "%.17g", ref_float(value));
    else if (ref_char(value) > ' ' && ref_char(value) < 127) fprintf(out, "$%c", (char)ref_char(value));
    else fprintf(out, "(Character value: %" PRIu32 ")", ref_char(value));
}

static void print_boxed_float(Oop o, FILE *out) {
    double d = 0;
    if (oop_slot_count(o) > 0) memcpy(&d, oop_bytes(o), sizeof d);
    fprintf(out, "%.17g", d);
}

static void print_other(WorkerVm *vm, Oop o, FILE *out) {
    if (is_metaclass(vm, o) || is_class(vm, o)) {
        print_class_name(vm, o, out);
        return;
    }
    Oop class_of = pn_class_of(vm, o);
    fputs("a ", out);
    bool known = !oop_is_none(class_of) && !oop_is_immediate(class_of);
    if (known) print_class_name(vm, class_of, out);
    else fprintf(out, "(object of class index %u)", oop_class_index(o));
}

static void print_object(WorkerVm *vm, Oop o, unsigned depth, FILE *out) {
    switch (oop_class_index(o)) {
    case PN_CLASS_UNDEFINED_OBJECT: fputs("nil", out); return;
    case PN_CLASS_TRUE: fputs("true", out); return;
    case PN_CLASS_FALSE: fputs("false", out); return;
    case PN_CLASS_BYTE_SYMBOL:
        fputc('#', out);
        print_bytes(o, out);
        return;
    case PN_CLASS_BYTE_STRING:
        fputc('\'', out);
        print_bytes(o, out);
        fputc('\'', out);
        return;
    case PN_CLASS_ARRAY: print_array(vm, o, depth, out); return;
    case PN_CLASS_LARGE_NEGATIVE:
    case PN_CLASS_LARGE_POSITIVE: print_large_integer(o, out); return;
    case PN_CLASS_BOXED_FLOAT: print_boxed_float(o, out); return;
    default: print_other(vm, o, out);
    }
}

static void print_value(WorkerVm *vm, Ref value, unsigned depth, FILE *out) {
    if (ref_is_none(value)) fputs("(nothing)", out);
    else if (ref_is_immediate(value)) print_immediate(value, out);
    else print_object(vm, pn_deref(vm, value), depth, out);
}

// ---- Code objects -------------------------------------------------------------------------------

typedef struct Listing {
    WorkerVm *vm;
    FILE *out;
    Oop code;
    size_t literals;
    const uint8_t *bytes;
    size_t count;
    int64_t origin; // pc of bytes[0], counted as contexts do
    unsigned depth; // of blocks
} Listing;

static void print_code(WorkerVm *vm, Oop code, unsigned depth, FILE *out);

// The literal that the instruction names, or no value.
static Ref literal_of(const Listing *l, const Instruction *in) {
    OperandKind kind = pn_operand_kind(in->op);
    if (kind == PN_OPERAND_OTHER || kind == PN_OPERAND_TEMP) return PN_NO_REF;
    if (in->a < 0 || (uint64_t)in->a >= l->literals) return PN_NO_REF;
    return oop_slot(l->code, 1 + (size_t)in->a);
}

static void print_binding(const Listing *l, Ref literal) {
    Oop binding = ref_is_immediate(literal) ? PN_NO_OOP : pn_deref(l->vm, literal);
    Oop key = object_in_slot(l->vm, binding, PN_BINDING_KEY);
    if (is_byte_text(key)) print_bytes(key, l->out);
    else print_value(l->vm, literal, 0, l->out);
}

static void print_literal(const Listing *l, const Instruction *in) {
    Ref literal = literal_of(l, in);
    if (ref_is_none(literal)) return;
    fputs("  ", l->out);
    if (pn_operand_kind(in->op) == PN_OPERAND_BINDING) print_binding(l, literal);
    else print_value(l->vm, literal, 0, l->out);
}

static void print_hex(const Listing *l, size_t at, size_t length) {
    fprintf(l->out, "%*s%4" PRId64 " <", (int)(4 * l->depth), "", l->origin + (int64_t)at);
    for (size_t i = 0; i < length; i++) fprintf(l->out, i ? " %02X" : "%02X", l->bytes[at + i]);
    fputs("> ", l->out);
}

// The block that an instruction makes a closure of, printed below it.
static void print_block(const Listing *l, const Instruction *in) {
    Ref literal = in->op == PN_OP_push_closure ? literal_of(l, in) : PN_NO_REF;
    if (ref_is_none(literal) || ref_is_immediate(literal) || l->depth == MAX_BLOCK_DEPTH) return;
    Oop block = pn_deref(l->vm, literal);
    if (oop_is_code(block)) print_code(l->vm, block, l->depth + 1, l->out);
}

// Print the instruction at `at` and answer where the next begins.
static size_t print_instruction(const Listing *l, size_t at) {
    Instruction in;
    if (!pn_decode(l->bytes, l->count, at, &in)) {
        print_hex(l, at, l->count - at);
        fputs("(incomplete)\n", l->out);
        return l->count;
    }
    char text[120];
    add_instruction(&(Text){.at = text, .room = sizeof text}, l->bytes, &in, l->origin);
    print_hex(l, at, in.length);
    fputs(text, l->out);
    print_literal(l, &in);
    fputc('\n', l->out);
    print_block(l, &in);
    return at + in.length;
}

static void print_code(WorkerVm *vm, Oop code, unsigned depth, FILE *out) {
    Ref header = oop_slot_count(code) > 0 ? oop_slot(code, 0) : PN_NO_REF;
    size_t literals = ref_is_int(header) ? code_header_literals(ref_int(header)) : 0;
    size_t body = oop_slot_count(code) > 0 ? oop_byte_count(code) : 0;
    if (!ref_is_int(header) || 8 * (literals + 1) > body) {
        fputs("(damaged code)\n", out);
        return;
    }
    size_t first = 8 * (literals + 1);
    Listing l = {.vm = vm,
                 .out = out,
                 .code = code,
                 .literals = literals,
                 .bytes = oop_bytes(code) + first,
                 .count = body - first,
                 .origin = (int64_t)first + 1,
                 .depth = depth};
    for (size_t at = 0; at < l.count;) at = print_instruction(&l, at);
}

void pn_disassemble(WorkerVm *vm, Oop code_object, FILE *out) { print_code(vm, code_object, 0, out); }
