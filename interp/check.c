// interp/check.c: whether bytecodes are fit to be run, and how deep an operand stack they need.
//
// Any byte string is safe input. Called by the assembler on what it made, and when images are verified.
//
// Follows control flow from byte 0 with a worklist, so bytes that no path reaches (a method's trailer) may be anything.
// K1. Each instruction reached is whole, and no two reached instructions overlap.
// K2. Each is reached with one depth of the operand stack only, never below 0, and together with the temps within a
//     context of PN_CONTEXT_LARGE slots.
// K3. Literals and temps exist. What a literal is, and which slots the receiver has, is not looked at here.
#include "interp/decode.h"
#include "interp/interp.h"

#define PN_CONTEXT_LARGE 56

enum { UNSEEN = -1, INSIDE = -2 };

typedef struct Check {
    const uint8_t *bytes;
    size_t count;
    uint32_t literals, temps;
    int deepest;
    int16_t *depths;   // for each byte: depth before the instruction that starts there, or UNSEEN, or INSIDE one
    uint32_t *waiting; // instructions reached and not yet followed; each is entered once
    size_t waiting_count;
    PnError *error;
} Check;

// Note that control reaches `at` with this depth.
static bool reach(Check *c, int64_t at, int depth) {
    if (at < 0 || (uint64_t)at >= c->count) {
        pn_error(c->error, PN_BAD_IMAGE, c->count, "control leaves the bytecodes, to %lld", (long long)at);
        return false;
    }
    int known = c->depths[at];
    if (known == depth) return true;
    if (known != UNSEEN) {
        pn_error(c->error, PN_BAD_IMAGE, (uint64_t)at,
                 known == INSIDE ? "a jump lands inside an instruction" : "two paths meet with different depths");
        return false;
    }
    c->depths[at] = (int16_t)depth;
    c->waiting[c->waiting_count++] = (uint32_t)at;
    return true;
}

static bool claim_bytes(Check *c, const Instruction *in) {
    for (size_t i = in->at + 1; i < in->at + in->length; i++) {
        if (c->depths[i] != UNSEEN) {
            pn_error(c->error, PN_BAD_IMAGE, i, "two instructions overlap");
            return false;
        }
        c->depths[i] = INSIDE;
    }
    return true;
}

static const char *fault_of_send(const Instruction *in) {
    if (in->b < 0 || in->b > 15) return "a send has more than 15 arguments";
    return NULL;
}

static const char *fault_of_primitive(const Instruction *in) {
    if (in->at != 0) return "callPrimitive is not the first instruction";
    if (in->flags & PN_IN_INLINE) return "inlined primitives are not supported";
    return NULL;
}

// What is wrong with an instruction by itself, or NULL.
static const char *fault_of(const Check *c, const Instruction *in) {
    if (in->flags & PN_IN_OVERLONG) return "too many extension bytes";
    if (in->flags & PN_IN_USELESS_EXT) return "an extension before an instruction that takes none";
    OperandKind kind = pn_operand_kind(in->op);
    bool is_literal = kind != PN_OPERAND_OTHER && kind != PN_OPERAND_TEMP;
    if (is_literal && (in->a < 0 || in->a >= c->literals)) return "a literal does not exist";
    if (pn_instruction_temp(in) >= (int64_t)c->temps) return "a temp does not exist";
    switch ((int)in->op) {
    case PN_OP_trap: return "the trap bytecode is the machine's own";
    case PN_OP_push_context:
        return in->a == 0 || in->a == 1 ? NULL : "thisContext with an extension that is not assigned";
    case PN_OP_push_char: return in->a >= 0 && in->a <= PN_CHAR_MAX ? NULL : "a character is out of range";
    case PN_OP_jump_true_long:
    case PN_OP_jump_false_long: return in->a >= 0 ? NULL : "a conditional jump goes backward";
    case PN_OP_send_long:
    case PN_OP_send_super_long: return fault_of_send(in);
    case PN_OP_call_primitive: return fault_of_primitive(in);
    default: return NULL;
    }
}

// The store of a primitive's error code: right after callPrimitive, it takes the last temp if it is run at all.
static bool is_error_store(const Check *c, const Instruction *in) {
    return in->at == 3 && in->op == PN_OP_store_temp_long && c->bytes[0] == PN_OP_call_primitive;
}

// The depth after an instruction, or -1 with the error filled.
static int depth_after(Check *c, const Instruction *in, int depth) {
    if (is_error_store(c, in)) return depth;
    if (depth < in->pops) {
        pn_error(c->error, PN_BAD_IMAGE, in->at, "the operand stack is too short");
        return -1;
    }
    int after = depth - in->pops + in->pushes;
    if ((uint32_t)after + c->temps > PN_CONTEXT_LARGE) {
        pn_error(c->error, PN_BAD_IMAGE, in->at, "temps and operands need more than %d slots", PN_CONTEXT_LARGE);
        return -1;
    }
    if (after > c->deepest) c->deepest = after;
    return after;
}

static bool follow_instruction(Check *c, uint32_t at) {
    Instruction in;
    if (!pn_decode(c->bytes, c->count, at, &in)) {
        pn_error(c->error, PN_BAD_IMAGE, at, "the bytecodes end inside an instruction");
        return false;
    }
    const char *fault = fault_of(c, &in);
    if (fault != NULL) {
        pn_error(c->error, PN_BAD_IMAGE, at, "%s", fault);
        return false;
    }
    if (!claim_bytes(c, &in)) return false;
    int depth = depth_after(c, &in, c->depths[at]);
    if (depth < 0) return false;
    int64_t next = (int64_t)(at + in.length);
    if (op_is_return(in.op) || op_is_unused(in.op)) return true;
    if (op_is_jump(in.op) && !reach(c, next + in.a, depth)) return false;
    bool goes_on = !op_is_jump(in.op) || op_is_conditional_jump(in.op);
    return !goes_on || reach(c, next, depth);
}

static int check_flow(Check *c) {
    memset(c->depths, UNSEEN, c->count * sizeof *c->depths);
    if (!reach(c, 0, 0)) return -1;
    while (c->waiting_count > 0) {
        if (!follow_instruction(c, c->waiting[--c->waiting_count])) return -1;
    }
    return c->deepest;
}

int pn_bytecodes_check(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error) {
    if (error != NULL) *error = (PnError){0};
    if (temps > PN_CONTEXT_LARGE || count > INT32_MAX) {
        pn_error(error, PN_BAD_IMAGE, 0, "%u temps or %zu bytes are too many", temps, count);
        return -1;
    }
    uint32_t *memory = pn_mem_alloc(count * (sizeof(uint32_t) + sizeof(int16_t)) + 1);
    if (memory == NULL) {
        pn_error(error, PN_NO_MEMORY, 0, "no memory to check %zu bytecodes", count);
        return -1;
    }
    Check c = {.bytes = bytes,
               .count = count,
               .literals = literals,
               .temps = temps,
               .error = error,
               .waiting = memory,
               .depths = (int16_t *)(memory + count)};
    int deepest = check_flow(&c);
    pn_mem_free(memory);
    return deepest;
}
