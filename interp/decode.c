// interp/decode.c: takes bytecode instructions apart.
//
// Owns: the table made from bytecodes.def. Called by the checker and the disassembler; any bytes are safe input.
#include "interp/decode.h"

const OpInfo pn_op_info[256] = {
#define VARIES PN_STACK_VARIES
#define BYTECODE(first, last, name, operand_bytes, ext, pops, pushes, text, meaning)                                   \
    [first... last] = {PN_OP_##name, first, operand_bytes, PN_EXT_##ext, pops, pushes, text, meaning},
#include "interp/bytecodes.def"
#undef BYTECODE
#undef VARIES
};

// Together with the compiler's warning about a byte initialised twice: each byte occurs exactly once.
enum {
    BYTES_LISTED = 0
#define BYTECODE(first, last, name, operand_bytes, ext, pops, pushes, text, meaning) +((last) - (first) + 1)
#include "interp/bytecodes.def"
#undef BYTECODE
};
_Static_assert(BYTES_LISTED == 256, "bytecodes.def must list all 256 bytes");

typedef struct Extensions {
    uint64_t a;
    int64_t b;
    unsigned count_a, count_b;
} Extensions;

// Read the extension bytes at *at and step over them. False if bytes end in one.
static bool read_extensions(const uint8_t *bytes, size_t count, size_t *at, Extensions *ext) {
    *ext = (Extensions){0};
    while (*at < count && (bytes[*at] == PN_OP_ext_a || bytes[*at] == PN_OP_ext_b)) {
        if (count - *at < 2) return false;
        uint8_t byte = bytes[*at + 1];
        if (bytes[*at] == PN_OP_ext_a) {
            ext->a = (ext->a << 8 | byte) & UINT32_MAX;
            ext->count_a++;
        } else {
            // Only the first byte of a run has a sign. Wrapping to 32 bits keeps overlong runs harmless.
            int64_t widened = (int64_t)(int32_t)((uint32_t)ext->b << 8 | byte);
            ext->b = ext->count_b == 0 ? (int8_t)byte : widened;
            ext->count_b++;
        }
        *at += 2;
    }
    return true;
}

static uint32_t extension_flags(const Extensions *ext, const OpInfo *info) {
    uint32_t flags = 0;
    if (ext->count_a > PN_EXT_RUN_LIMIT || ext->count_b > PN_EXT_RUN_LIMIT) flags |= PN_IN_OVERLONG;
    if ((ext->count_a && !(info->ext & PN_EXT_A)) || (ext->count_b && !(info->ext & PN_EXT_B)))
        flags |= PN_IN_USELESS_EXT;
    return flags;
}

static void decode_one_byte(Instruction *in, const OpInfo *info, uint8_t byte, const Extensions *ext) {
    in->a = byte - info->first;
    if (op_is_jump(in->op)) in->a++;
    if (in->op == PN_OP_push_context) in->a = ext->b;
}

static void decode_send(Instruction *in, uint8_t byte, const Extensions *ext) {
    bool directed = in->op == PN_OP_send_super_long && ext->b >= 64;
    in->a = (byte >> 3) + (int64_t)ext->a * 32;
    in->b = (byte & 7) + (ext->b - (directed ? 64 : 0)) * 8;
    if (directed) in->flags |= PN_IN_DIRECTED;
    // Counts out of range are the checker's to refuse; here they must only stay small enough for an int.
    int arguments = in->b >= 0 && in->b <= 255 ? (int)in->b : 255;
    in->pops = 1 + arguments + directed;
}

static void decode_two_bytes(Instruction *in, const OpInfo *info, uint8_t byte, const Extensions *ext) {
    in->a = byte;
    switch (in->op) {
    case PN_OP_push_array:
        in->a = byte & 127;
        in->pops = byte > 127 ? byte & 127 : 0;
        if (byte > 127) in->flags |= PN_IN_FROM_STACK;
        return;
    case PN_OP_send_long:
    case PN_OP_send_super_long: decode_send(in, byte, ext); return;
    default:
        if (info->ext == PN_EXT_A) in->a += (int64_t)ext->a * 256;
        if (info->ext == PN_EXT_B) in->a += ext->b * 256;
    }
}

static void decode_three_bytes(Instruction *in, uint8_t byte, uint8_t second, const Extensions *ext) {
    in->a = byte;
    in->b = second;
    if (in->op == PN_OP_call_primitive) {
        in->a = byte + second * 256;
        if (second > 127) in->flags |= PN_IN_INLINE;
    } else if (in->op == PN_OP_push_closure) {
        in->a = byte + (int64_t)ext->a * 256;
        in->b = second & 63;
        in->pops = (second & 63) + (second >> 7);
        if (second & 64) in->flags |= PN_IN_NO_OUTER;
        if (second & 128) in->flags |= PN_IN_RECEIVER;
    }
}

bool pn_decode(const uint8_t *bytes, size_t count, size_t at, Instruction *in) {
    Extensions ext;
    size_t next = at;
    if (!read_extensions(bytes, count, &next, &ext) || next >= count) return false;
    const OpInfo *info = &pn_op_info[bytes[next]];
    if (count - next <= info->operand_bytes) return false;
    *in = (Instruction){.op = (PnOp)info->op,
                        .at = at,
                        .length = next - at + 1 + info->operand_bytes,
                        .pops = info->pops,
                        .pushes = info->pushes,
                        .flags = extension_flags(&ext, info)};
    if (info->operand_bytes == 0) {
        decode_one_byte(in, info, bytes[next], &ext);
    } else if (info->operand_bytes == 1) {
        decode_two_bytes(in, info, bytes[next + 1], &ext);
    } else {
        decode_three_bytes(in, bytes[next + 1], bytes[next + 2], &ext);
    }
    return true;
}

OperandKind pn_operand_kind(PnOp op) {
    switch ((int)op) {
    case PN_OP_push_literal:
    case PN_OP_push_literal_long: return PN_OPERAND_LITERAL;
    case PN_OP_push_literal_variable:
    case PN_OP_push_literal_variable_long:
    case PN_OP_pop_store_literal_variable_long:
    case PN_OP_store_literal_variable_long: return PN_OPERAND_BINDING;
    case PN_OP_send_0:
    case PN_OP_send_1:
    case PN_OP_send_2:
    case PN_OP_send_long:
    case PN_OP_send_super_long: return PN_OPERAND_SELECTOR;
    case PN_OP_push_closure: return PN_OPERAND_BLOCK;
    case PN_OP_push_temp:
    case PN_OP_push_temp_long:
    case PN_OP_pop_store_temp:
    case PN_OP_pop_store_temp_long:
    case PN_OP_store_temp_long: return PN_OPERAND_TEMP;
    default: return PN_OPERAND_OTHER;
    }
}

int64_t pn_instruction_temp(const Instruction *in) {
    if (in->op == PN_OP_push_vector_temp || in->op == PN_OP_store_vector_temp || in->op == PN_OP_pop_store_vector_temp)
        return in->b;
    return pn_operand_kind(in->op) == PN_OPERAND_TEMP ? in->a : -1;
}
