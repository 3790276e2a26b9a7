// asm/asm_kernel.c: a kernel of primitive methods on the classes that pn_boot makes, for tests and benchmarks.
//
// Each method is a primitive and what it does when the primitive fails. A few that the machine relies on (ensure:,
// unwinding, become:) are bytecode as Pharo compiles them. Nothing here defines doesNotUnderstand:, so a message that
// nobody understands ends the process with class and selector in its failure; #primitiveFailed is such a message.
//
// A method whose selector begins with `try` answers the error code of its primitive instead of ending the process.
#include "asm/asm.h"

// What a method does after its primitive has failed, besides sending another message with the same arguments.
#define FAIL "primitiveFailed" // ^self primitiveFailed
#define FAIL_OR_TRY "try"      // FAIL, and the same once more under a selector with `try`, which answers the error code
#define FALSE "false"          // ^false
#define TRUE "true"            // ^true

typedef struct KernelMethod {
    const char *class_name;
    const char *selector;
    uint16_t primitive;
    const char *fallback;
} KernelMethod;

static const KernelMethod kernel_methods[] = {
    // Small integers; what is too large goes on with the primitives for large ones.
    {"SmallInteger", "+", 1, "largeAdd:"},
    {"SmallInteger", "-", 2, "largeSubtract:"},
    {"SmallInteger", "<", 3, "largeLess:"},
    {"SmallInteger", ">", 4, "largeGreater:"},
    {"SmallInteger", "<=", 5, "largeLessEqual:"},
    {"SmallInteger", ">=", 6, "largeGreaterEqual:"},
    {"SmallInteger", "=", 7, "largeEqual:"},
    {"SmallInteger", "~=", 8, "largeNotEqual:"},
    {"SmallInteger", "*", 9, "largeMultiply:"},
    {"SmallInteger", "/", 10, "largeDivide:"},
    {"SmallInteger", "\\\\", 11, "largeModulo:"},
    {"SmallInteger", "//", 12, "largeIntDivide:"},
    {"SmallInteger", "quo:", 13, "largeQuo:"},
    {"SmallInteger", "bitAnd:", 14, "largeBitAnd:"},
    {"SmallInteger", "bitOr:", 15, "largeBitOr:"},
    {"SmallInteger", "bitXor:", 16, "largeBitXor:"},
    {"SmallInteger", "bitShift:", 17, "largeBitShift:"},
    {"SmallInteger", "@", 18, FAIL_OR_TRY},
    {"SmallInteger", "largeAdd:", 21, FAIL},
    {"SmallInteger", "largeSubtract:", 22, FAIL},
    {"SmallInteger", "largeLess:", 23, FAIL},
    {"SmallInteger", "largeGreater:", 24, FAIL},
    {"SmallInteger", "largeLessEqual:", 25, FAIL},
    {"SmallInteger", "largeGreaterEqual:", 26, FAIL},
    {"SmallInteger", "largeEqual:", 27, FALSE},
    {"SmallInteger", "largeNotEqual:", 28, TRUE},
    {"SmallInteger", "largeMultiply:", 29, FAIL},
    {"SmallInteger", "largeDivide:", 30, FAIL},
    {"SmallInteger", "largeModulo:", 31, FAIL},
    {"SmallInteger", "largeIntDivide:", 32, FAIL},
    {"SmallInteger", "largeQuo:", 33, FAIL},
    {"SmallInteger", "largeBitAnd:", 34, FAIL},
    {"SmallInteger", "largeBitOr:", 35, FAIL},
    {"SmallInteger", "largeBitXor:", 36, FAIL},
    {"SmallInteger", "largeBitShift:", 37, FAIL},
    {"SmallInteger", "rem:", 20, FAIL},
    {"SmallInteger", "asFloat", 40, FAIL},
    {"SmallInteger", "hashMultiply", 159, FAIL},
    {"SmallInteger", "asCharacter", 170, FAIL_OR_TRY},
    {"SmallInteger", "asInteger", 256, FAIL},
    {"Character", "asInteger", 171, FAIL},
    {"Character", "value", 171, FAIL},

    // Large integers: Large stands for both classes.
    {"Large", "rem:", 20, FAIL},
    {"Large", "+", 21, FAIL},
    {"Large", "-", 22, FAIL},
    {"Large", "<", 23, FAIL},
    {"Large", ">", 24, FAIL},
    {"Large", "<=", 25, FAIL},
    {"Large", ">=", 26, FAIL},
    {"Large", "=", 27, FALSE},
    {"Large", "~=", 28, TRUE},
    {"Large", "*", 29, FAIL},
    {"Large", "/", 30, FAIL},
    {"Large", "\\\\", 31, FAIL},
    {"Large", "//", 32, FAIL},
    {"Large", "quo:", 33, FAIL},
    {"Large", "bitAnd:", 34, FAIL},
    {"Large", "bitOr:", 35, FAIL},
    {"Large", "bitXor:", 36, FAIL},
    {"Large", "bitShift:", 37, FAIL},
    {"Large", "hashMultiply", 159, FAIL},

    // Floats: Float stands for both classes; for small ones the number is 500 higher.
    {"Float", "+", 41, FAIL},
    {"Float", "-", 42, FAIL},
    {"Float", "<", 43, FAIL},
    {"Float", ">", 44, FAIL},
    {"Float", "<=", 45, FAIL},
    {"Float", ">=", 46, FAIL},
    {"Float", "=", 47, FALSE},
    {"Float", "~=", 48, TRUE},
    {"Float", "*", 49, FAIL},
    {"Float", "/", 50, FAIL_OR_TRY},
    {"Float", "truncated", 51, FAIL_OR_TRY},
    {"Float", "fractionPart", 52, FAIL},
    {"Float", "exponent", 53, FAIL},
    {"Float", "timesTwoPower:", 54, FAIL},
    {"Float", "sqrt", 55, FAIL_OR_TRY},
    {"Float", "sin", 56, FAIL},
    {"Float", "arctan", 57, FAIL},
    {"Float", "ln", 58, FAIL},
    {"Float", "exp", 59, FAIL},
    {"BoxedFloat64", "basicAt:", 38, FAIL_OR_TRY},
    {"BoxedFloat64", "basicAt:put:", 39, FAIL_OR_TRY},

    // Indexing, size, slots.
    {"Object", "at:", 60, FAIL_OR_TRY},
    {"Object", "basicAt:", 60, FAIL_OR_TRY},
    {"Object", "at:put:", 61, FAIL_OR_TRY},
    {"Object", "basicAt:put:", 61, FAIL_OR_TRY},
    {"Object", "size", 62, FAIL_OR_TRY},
    {"Object", "basicSize", 62, FAIL_OR_TRY},
    {"ByteString", "at:", 63, FAIL_OR_TRY},
    {"ByteString", "at:put:", 64, FAIL_OR_TRY},
    {"ByteSymbol", "at:", 63, FAIL_OR_TRY},
    {"ByteSymbol", "at:put:", 64, FAIL_OR_TRY},
    {"Code", "objectAt:", 68, FAIL_OR_TRY},
    {"Code", "objectAt:put:", 69, FAIL_OR_TRY},
    {"Object", "instVarAt:", 73, FAIL_OR_TRY},
    {"Object", "instVarAt:put:", 74, FAIL_OR_TRY},
    {"Object", "slotAt:", 173, FAIL_OR_TRY},
    {"Object", "slotAt:put:", 174, FAIL_OR_TRY},
    {"Object", "shortAt:", 143, FAIL_OR_TRY},
    {"Object", "shortAt:put:", 144, FAIL_OR_TRY},
    {"Object", "integerAt:", 165, FAIL_OR_TRY},
    {"Object", "integerAt:put:", 166, FAIL_OR_TRY},
    {"Object", "replaceFrom:to:with:startingAt:", 105, FAIL_OR_TRY},
    {"Object", "fill:", 145, FAIL_OR_TRY},
    {"Object", "compareBytes:", 156, FAIL_OR_TRY},
    {"Object", "compareWith:", 158, FAIL_OR_TRY},
    {"Object", "compareWith:collated:", 158, FAIL_OR_TRY},

    // Creation and copying.
    {"Behavior", "new", 70, FAIL_OR_TRY},
    {"Behavior", "basicNew", 70, FAIL_OR_TRY},
    {"Behavior", "new:", 71, FAIL_OR_TRY},
    {"Behavior", "basicNew:", 71, FAIL_OR_TRY},
    {"Behavior", "newMethod:header:", 79, FAIL_OR_TRY},
    {"Object", "shallowCopy", 148, FAIL_OR_TRY},
    {"Object", "copyFrom:", 168, FAIL_OR_TRY},
    {"Behavior", "basicNewTenured", 596, FAIL_OR_TRY},
    {"Behavior", "basicNewTenured:", 597, FAIL_OR_TRY},
    {"Behavior", "basicNewPinned", 598, FAIL_OR_TRY},
    {"Behavior", "basicNewPinned:", 599, FAIL_OR_TRY},

    // Identity, classes, become.
    {"ProtoObject", "==", 110, FAIL},
    {"ProtoObject", "~~", 169, FAIL},
    {"ProtoObject", "class", 111, FAIL},
    {"ProtoObject", "identityHash", 75, FAIL_OR_TRY},
    {"Behavior", "identityHash", 175, FAIL_OR_TRY},
    {"Object", "=", 110, FAIL},
    {"Object", "~=", 169, FAIL},
    {"Object", "hash", 75, FAIL},
    {"Behavior", "hash", 175, FAIL},
    {"SmallInteger", "identityHash", 256, FAIL},
    {"SmallInteger", "hash", 256, FAIL},
    {"Object", "maxIdentityHash", 176, FAIL},
    {"Object", "hasIdentityHash", 161, FAIL},
    {"Object", "setIdentityHash:", 161, FAIL_OR_TRY},
    {"Object", "primitiveChangeClassTo:", 115, FAIL_OR_TRY},
    {"Behavior", "adoptInstance:", 160, FAIL_OR_TRY},
    {"Array", "elementsForwardIdentityTo:", 72, FAIL_OR_TRY},
    {"Array", "elementsExchangeIdentityWith:", 128, FAIL_OR_TRY},
    {"Array", "elementsForwardIdentityWithoutHashTo:", 248, FAIL_OR_TRY},
    {"Array", "elementsForwardIdentityTo:copyHash:", 249, FAIL_OR_TRY},
    {"Object", "pointsTo:", 132, FAIL},
    {"Object", "isReadOnlyObject", 163, FAIL},
    {"Object", "setIsReadOnlyObject:", 164, FAIL_OR_TRY},

    // Control.
    {"Object", "perform:", 83, FAIL_OR_TRY},
    {"Object", "perform:with:", 83, FAIL_OR_TRY},
    {"Object", "perform:with:with:", 83, FAIL_OR_TRY},
    {"Object", "perform:with:with:with:", 83, FAIL_OR_TRY},
    {"Object", "perform:with:with:with:with:", 83, FAIL_OR_TRY},
    {"Object", "perform:withArguments:", 84, FAIL_OR_TRY},
    {"Object", "perform:withArguments:inSuperclass:", 100, FAIL_OR_TRY},
    {"Object", "withArgs:executeMethod:", 188, FAIL_OR_TRY},
    {"Object", "executeMethod:", 189, FAIL_OR_TRY},
    {"Object", "with:executeMethod:", 189, FAIL_OR_TRY},
    {"Object", "with:with:executeMethod:", 189, FAIL_OR_TRY},
    {"Object", "tryPrimitive:withArgs:", 118, FAIL},
    {"FullBlockClosure", "value", 207, FAIL_OR_TRY},
    {"FullBlockClosure", "value:", 207, FAIL_OR_TRY},
    {"FullBlockClosure", "value:value:", 207, FAIL_OR_TRY},
    {"FullBlockClosure", "value:value:value:", 207, FAIL_OR_TRY},
    {"FullBlockClosure", "value:value:value:value:", 207, FAIL_OR_TRY},
    {"FullBlockClosure", "valueWithArguments:", 208, FAIL_OR_TRY},
    {"FullBlockClosure", "valueNoContextSwitch", 209, FAIL_OR_TRY},
    {"FullBlockClosure", "outerContext", 264, FAIL},
    {"FullBlockClosure", "numArgs", 266, FAIL},
    {"FullBlockClosure", "receiver", 267, FAIL},
    {"Context", "findNextUnwindContextUpTo:", 195, FAIL_OR_TRY},
    {"Context", "terminateTo:", 196, FAIL_OR_TRY},
    {"Context", "findNextHandlerContext", 197, FAIL_OR_TRY},
    {"Context", "stackp:", 76, FAIL_OR_TRY},
    {"Context", "at:", 210, FAIL_OR_TRY},
    {"Context", "at:put:", 211, FAIL_OR_TRY},
    {"Context", "tempAt:", 210, FAIL_OR_TRY},
    {"Context", "tempAt:put:", 211, FAIL_OR_TRY},
    {"Context", "size", 212, FAIL_OR_TRY},
    {"Context", "xray", 213, FAIL},
    {"Object", "voidVMState", 214, FAIL},
    {"Behavior", "flushCache", 89, FAIL},
    {"CompiledMethod", "flushCache", 116, FAIL},
    {"ByteSymbol", "flushCache", 119, FAIL},

    // Accessors.
    {"Object", "yourself", 256, FAIL},
    {"ProtoObject", "isNil", 258, FAIL},
    {"UndefinedObject", "isNil", 257, FAIL},
    {"ProtoObject", "notNil", 257, FAIL},
    {"UndefinedObject", "notNil", 258, FAIL},
    {"True", "not", 258, FAIL},
    {"False", "not", 257, FAIL},
    {"Point", "x", 264, FAIL},
    {"Point", "y", 265, FAIL},
    {"Association", "key", 264, FAIL},
    {"Association", "value", 265, FAIL},
    {"Message", "selector", 264, FAIL},
    {"Message", "arguments", 265, FAIL},
    {"Message", "lookupClass", 266, FAIL},
    {"Behavior", "superclass", 264, FAIL},
    {"Behavior", "methodDict", 265, FAIL},
    {"Behavior", "format", 266, FAIL},
};

// ---- Primitive methods -----------------------------------------------------------------------------

static Oop kernel_class(WorkerVm *vm, const char *name) {
    Oop class_object = pn_asm_class_named(vm, name);
    PN_CHECK(!oop_is_none(class_object), "the base has no class %s", name);
    return class_object;
}

static bool is_keyword_or_unary(const char *selector) {
    return (*selector >= 'a' && *selector <= 'z') || (*selector >= 'A' && *selector <= 'Z');
}
static uint32_t selector_arguments(const char *selector) {
    if (!is_keyword_or_unary(selector)) return 1;
    uint32_t colons = 0;
    for (; *selector != 0; selector++) colons += *selector == ':';
    return colons;
}

// The bytecodes that a quick primitive stands for.
static void add_quick_body(Asm *a, uint32_t primitive) {
    switch (primitive) {
    case 256: pn_asm_return_self(a); return;
    case 257: pn_asm_return_true(a); return;
    case 258: pn_asm_return_false(a); return;
    case 259: pn_asm_return_nil(a); return;
    default:
        if (primitive < 264) pn_asm_push_int(a, (int64_t)primitive - 261);
        else pn_asm_push_inst(a, primitive - 264);
        pn_asm_return_top(a);
    }
}

static void add_fallback(Asm *a, const char *fallback, uint32_t arguments) {
    if (strcmp(fallback, FALSE) == 0) {
        pn_asm_return_false(a);
        return;
    }
    if (strcmp(fallback, TRUE) == 0) {
        pn_asm_return_true(a);
        return;
    }
    bool forwards = strcmp(fallback, FAIL) != 0 && strcmp(fallback, FAIL_OR_TRY) != 0;
    pn_asm_push_self(a);
    for (uint32_t i = 0; forwards && i < arguments; i++) pn_asm_push_temp(a, i);
    pn_asm_send(a, forwards ? fallback : FAIL, forwards ? arguments : 0);
    pn_asm_return_top(a);
}

static void install_primitive(WorkerVm *vm, Oop class_object, const KernelMethod *m, uint32_t primitive) {
    uint32_t arguments = selector_arguments(m->selector);
    Asm *a = pn_asm(vm, arguments, 0);
    pn_asm_primitive(a, primitive);
    if (primitive >= 256 && primitive < 520) add_quick_body(a, primitive);
    else add_fallback(a, m->fallback, arguments);
    pn_asm_install(a, class_object, m->selector);
}

// The same primitive under `try` and the selector, answering the error code.
static void install_try(WorkerVm *vm, Oop class_object, const KernelMethod *m, uint32_t primitive) {
    char selector[80];
    snprintf(selector, sizeof selector, "try%s", m->selector);
    if (selector[3] >= 'a' && selector[3] <= 'z') selector[3] = (char)(selector[3] - 'a' + 'A');
    uint32_t arguments = selector_arguments(m->selector);
    Asm *a = pn_asm(vm, arguments, 1);
    pn_asm_primitive_error(a, primitive, arguments);
    pn_asm_push_temp(a, arguments);
    pn_asm_return_top(a);
    pn_asm_install(a, class_object, selector);
}

static void install_on(WorkerVm *vm, const char *class_name, const KernelMethod *m, uint32_t primitive) {
    Oop class_object = kernel_class(vm, class_name);
    install_primitive(vm, class_object, m, primitive);
    bool wants_try = strcmp(m->fallback, FAIL_OR_TRY) == 0 && is_keyword_or_unary(m->selector);
    if (wants_try) install_try(vm, class_object, m, primitive);
}

// Names that stand for two classes.
static void install_kernel_method(WorkerVm *vm, const KernelMethod *m) {
    if (strcmp(m->class_name, "Large") == 0) {
        install_on(vm, "LargePositiveInteger", m, m->primitive);
        install_on(vm, "LargeNegativeInteger", m, m->primitive);
    } else if (strcmp(m->class_name, "Float") == 0) {
        install_on(vm, "BoxedFloat64", m, m->primitive);
        install_on(vm, "SmallFloat64", m, m->primitive + 500u);
    } else if (strcmp(m->class_name, "Code") == 0) {
        install_on(vm, "CompiledMethod", m, m->primitive);
        install_on(vm, "CompiledBlock", m, m->primitive);
    } else {
        install_on(vm, m->class_name, m, m->primitive);
    }
}

// ---- Become: on single objects -----------------------------------------------------------------------

static void install_become(WorkerVm *vm, const char *selector, const char *of_arrays) {
    Asm *a = pn_asm(vm, 1, 0);
    pn_asm_push_self(a);
    pn_asm_push_array(a, 1, true);
    pn_asm_push_temp(a, 0);
    pn_asm_push_array(a, 1, true);
    pn_asm_send(a, of_arrays, 1);
    pn_asm_pop(a);
    pn_asm_return_self(a);
    pn_asm_install(a, kernel_class(vm, "ProtoObject"), selector);
}

// ---- Unwinding, as Pharo compiles it ---------------------------------------------------------------------
// The temps of a marked method (primitive 198): 1 its argument, 2 the handler, 3 whether it has been run.

static void install_ensure(WorkerVm *vm) {
    enum { ARGUMENT, HANDLER, COMPLETE, RESULT };
    Asm *a = pn_asm(vm, 1, 3);
    pn_asm_primitive(a, 198);
    pn_asm_push_temp(a, ARGUMENT);
    pn_asm_store_temp(a, HANDLER, true);
    pn_asm_push_self(a);
    pn_asm_send(a, "valueNoContextSwitch", 0);
    pn_asm_store_temp(a, RESULT, true);
    AsmLabel done = pn_asm_label(a);
    pn_asm_push_temp(a, COMPLETE);
    pn_asm_push_nil(a);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_true(a);
    pn_asm_store_temp(a, COMPLETE, true);
    pn_asm_push_temp(a, HANDLER);
    pn_asm_send(a, "value", 0);
    pn_asm_pop(a);
    pn_asm_bind(a, done);
    pn_asm_push_temp(a, RESULT);
    pn_asm_return_top(a);
    pn_asm_install(a, kernel_class(vm, "FullBlockClosure"), "ensure:");
}

static void install_if_curtailed(WorkerVm *vm) {
    enum { ARGUMENT, HANDLER, COMPLETE, RESULT };
    Asm *a = pn_asm(vm, 1, 3);
    pn_asm_primitive(a, 198);
    pn_asm_push_temp(a, ARGUMENT);
    pn_asm_store_temp(a, HANDLER, true);
    pn_asm_push_self(a);
    pn_asm_send(a, "valueNoContextSwitch", 0);
    pn_asm_store_temp(a, RESULT, true);
    pn_asm_push_true(a);
    pn_asm_store_temp(a, COMPLETE, true);
    pn_asm_push_temp(a, RESULT);
    pn_asm_return_top(a);
    pn_asm_install(a, kernel_class(vm, "FullBlockClosure"), "ifCurtailed:");
}

static void install_on_do(WorkerVm *vm) {
    enum { EXCEPTION, ACTION, HANDLER_ACTIVE };
    Asm *a = pn_asm(vm, 2, 1);
    pn_asm_primitive(a, 199);
    pn_asm_push_true(a);
    pn_asm_store_temp(a, HANDLER_ACTIVE, true);
    pn_asm_push_self(a);
    pn_asm_send(a, "value", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, kernel_class(vm, "FullBlockClosure"), "on:do:");
}

// Slots of contexts are reached by the long form only.
static void push_context_slot(Asm *a, uint8_t slot) {
    pn_asm_byte(a, 226);
    pn_asm_byte(a, slot);
}

// methodReturnContext: the receiver, or for a block the method activation it belongs to.
static void install_method_return_context(WorkerVm *vm, Oop context_class) {
    Asm *a = pn_asm(vm, 0, 0);
    AsmLabel is_block = pn_asm_label(a);
    push_context_slot(a, PN_CONTEXT_CLOSURE);
    pn_asm_push_nil(a);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_false(a, is_block);
    pn_asm_return_self(a);
    pn_asm_bind(a, is_block);
    push_context_slot(a, PN_CONTEXT_CLOSURE);
    pn_asm_send(a, "outerContext", 0);
    pn_asm_send(a, "methodReturnContext", 0);
    pn_asm_return_top(a);
    pn_asm_install(a, context_class, "methodReturnContext");
}

static void install_about_to_return(WorkerVm *vm, Oop context_class) {
    Asm *a = pn_asm(vm, 2, 0);
    pn_asm_push_self(a);
    pn_asm_send(a, "methodReturnContext", 0);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "return:through:", 2);
    pn_asm_return_top(a);
    pn_asm_install(a, context_class, "aboutToReturn:through:");

    a = pn_asm(vm, 2, 0);
    push_context_slot(a, PN_CONTEXT_SENDER);
    pn_asm_push_temp(a, 0);
    pn_asm_push_temp(a, 1);
    pn_asm_send(a, "resume:through:", 2);
    pn_asm_return_top(a);
    pn_asm_install(a, context_class, "return:through:");
}

// Run the handler of the marked context in temp `context`, unless it has been run.
static void add_unwind_of_context(Asm *a, uint32_t context, uint32_t block) {
    AsmLabel done = pn_asm_label(a);
    pn_asm_push_temp(a, context);
    pn_asm_push_int(a, 3);
    pn_asm_send(a, "tempAt:", 1);
    pn_asm_push_nil(a);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_false(a, done);
    pn_asm_push_temp(a, context);
    pn_asm_push_int(a, 3);
    pn_asm_push_true(a);
    pn_asm_send(a, "tempAt:put:", 2);
    pn_asm_pop(a);
    pn_asm_push_temp(a, context);
    pn_asm_push_int(a, 2);
    pn_asm_send(a, "tempAt:", 1);
    pn_asm_store_temp(a, block, true);
    pn_asm_push_context(a);
    pn_asm_push_temp(a, context);
    pn_asm_send(a, "terminateTo:", 1);
    pn_asm_pop(a);
    pn_asm_push_temp(a, block);
    pn_asm_send(a, "value", 0);
    pn_asm_pop(a);
    pn_asm_bind(a, done);
}

// resume: value through: firstMarked: unwind up to the receiver, then answer value to it.
static void install_resume_through(WorkerVm *vm, Oop context_class) {
    enum { VALUE, FIRST, CONTEXT, BLOCK };
    Asm *a = pn_asm(vm, 2, 2);
    AsmLabel next = pn_asm_label(a), end = pn_asm_label(a);
    pn_asm_push_temp(a, FIRST);
    pn_asm_store_temp(a, CONTEXT, true);
    pn_asm_bind(a, next);
    pn_asm_push_temp(a, CONTEXT);
    pn_asm_push_nil(a);
    pn_asm_send(a, "==", 1);
    pn_asm_jump_true(a, end);
    add_unwind_of_context(a, CONTEXT, BLOCK);
    pn_asm_push_temp(a, CONTEXT);
    pn_asm_push_self(a);
    pn_asm_send(a, "findNextUnwindContextUpTo:", 1);
    pn_asm_store_temp(a, CONTEXT, true);
    pn_asm_jump(a, next);
    pn_asm_bind(a, end);
    pn_asm_push_context(a);
    pn_asm_push_self(a);
    pn_asm_send(a, "terminateTo:", 1);
    pn_asm_pop(a);
    pn_asm_push_temp(a, VALUE);
    pn_asm_return_top(a);
    pn_asm_install(a, context_class, "resume:through:");
}

void pn_asm_kernel(WorkerVm *vm) {
    for (size_t i = 0; i < PN_COUNT_OF(kernel_methods); i++) install_kernel_method(vm, &kernel_methods[i]);
    install_become(vm, "become:", "elementsExchangeIdentityWith:");
    install_become(vm, "becomeForward:", "elementsForwardIdentityTo:");
    install_ensure(vm);
    install_if_curtailed(vm);
    install_on_do(vm);
    Oop context_class = kernel_class(vm, "Context");
    install_method_return_context(vm, context_class);
    install_about_to_return(vm, context_class);
    install_resume_through(vm, context_class);
}
