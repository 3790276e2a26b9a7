// interp/decode.h: one bytecode instruction taken apart, for the checker and the disassembler.
//
// For interp/ only. The interpreter itself decodes in its own way; both come from interp/bytecodes.def.
#ifndef PN_DECODE_H
#define PN_DECODE_H

#include "base/base.h"

// An operation is numbered by the first byte of its range.
typedef enum PnOp {
#define BYTECODE(first, last, name, operand_bytes, ext, pops, pushes, text, meaning) PN_OP_##name = first,
#define BYTECODE_UNUSED(first, last, operand_bytes)
#include "interp/bytecodes.def"
#undef BYTECODE
    PN_OP_unused = 256,
} PnOp;

enum { PN_EXT_NONE = 0, PN_EXT_A = 1, PN_EXT_B = 2, PN_EXT_AB = 3 };
enum { PN_STACK_VARIES = -1 };

typedef struct OpInfo {
    uint16_t op;
    uint8_t first;
    uint8_t operand_bytes;
    uint8_t ext;
    int8_t pops, pushes; // PN_STACK_VARIES: see Instruction
    const char *text;
    const char *meaning;
} OpInfo;
extern const OpInfo pn_op_info[256];

typedef enum InstructionFlags {
    PN_IN_DIRECTED = 1,     // super send whose class is on top of the stack
    PN_IN_INLINE = 2,       // call_primitive in its inline form
    PN_IN_FROM_STACK = 4,   // push_array takes its elements from the stack
    PN_IN_NO_OUTER = 8,     // push_closure without outer context
    PN_IN_RECEIVER = 16,    // push_closure with the receiver below the copied values
    PN_IN_OVERLONG = 32,    // more extension bytes than any operand can need
    PN_IN_USELESS_EXT = 64, // an extension that the instruction does not take
} InstructionFlags;

typedef struct Instruction {
    PnOp op;
    size_t at;        // index of its first byte, which may be an extension's
    size_t length;    // extensions included
    int64_t a, b;     // operands in the order of the operation's text; jumps: a is the distance from its end
    int pops, pushes; // here never PN_STACK_VARIES
    uint32_t flags;
} Instruction;

// Extension bytes of one kind that an instruction may have.
#define PN_EXT_RUN_LIMIT 3

// Take apart the instruction at bytes[at]. False if the bytes end in the middle of it.
bool pn_decode(const uint8_t *bytes, size_t count, size_t at, Instruction *instruction);

static inline bool op_is_conditional_jump(PnOp op) {
    return op == PN_OP_jump_true || op == PN_OP_jump_false || op == PN_OP_jump_true_long || op == PN_OP_jump_false_long;
}
static inline bool op_is_jump(PnOp op) {
    return op == PN_OP_jump || op == PN_OP_jump_long || op_is_conditional_jump(op);
}
static inline bool op_is_return(PnOp op) { return op >= PN_OP_return_self && op <= PN_OP_block_return_top; }
// Bytes for which the machine sends #unusedBytecode. The sender of that does not come back to the next instruction.
static inline bool op_is_unused(PnOp op) {
    return op == PN_OP_unused || op == PN_OP_inlined_primitive || op == PN_OP_embedded_closure;
}

typedef enum OperandKind {
    PN_OPERAND_OTHER,
    PN_OPERAND_LITERAL, // a constant
    PN_OPERAND_BINDING, // a literal whose value is read or written
    PN_OPERAND_SELECTOR,
    PN_OPERAND_BLOCK,
    PN_OPERAND_TEMP,
} OperandKind;
// What operand a of an operation names.
OperandKind pn_operand_kind(PnOp op);
// The index of the temp an instruction reads or writes, or -1.
int64_t pn_instruction_temp(const Instruction *instruction);

#endif
