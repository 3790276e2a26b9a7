// interp/primitives.c: from a primitive's number to its C function. interp/primitives.def is the list.
//
// Asked once for each Code record, when it is bound; so a search from the front will do.
#include "interp/interp_int.h"

typedef struct Primitive {
    uint16_t number;
    int16_t arg_count; // -1: any
    PnPrimFn function; // NULL: not done by a function
} Primitive;

static const Primitive primitives[] = {
#define PRIMITIVE(number, arg_count, kind, function, meaning) {number, arg_count, function},
#include "interp/primitives.def"
#undef PRIMITIVE
};

PnPrimFn pn_primitive(uint32_t number, uint32_t arg_count) {
    for (size_t i = 0; i < PN_COUNT_OF(primitives); i++) {
        const Primitive *p = &primitives[i];
        if (p->number == number && (p->arg_count < 0 || (uint32_t)p->arg_count == arg_count)) return p->function;
    }
    return NULL;
}

// What some numbers are for: a method that declares one always runs its bytecodes.
Ref pn_prim_fails(WorkerVm *vm, Ref *arguments) {
    (void)arguments;
    return pn_fail(vm, PN_PRIM_GENERIC);
}
