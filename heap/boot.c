// heap/boot.c: the kernel objects that the machine itself relies on, made from nothing; classes, globals, methods by
// name.
//
// Owns nothing. All that is made here is old and private. pn_boot is the beginning of every base image; the other
// functions also work in a worker above a layer, where they copy what they change like any other store.
//
// Note [Globals]. Special object 8 is the table of globals: an object with slots tally and array. The array, whose
// size is a power of two, holds bindings (Associations), each at or after the place that its name's identity hash
// says.
//
// Note [Boot indices]. A base in the making takes its class indices from the lowest that are free, so that the class
// table of its image file is dense. Only one base can be in the making, or in use without a file, in a process: the
// fixed indices can be taken once.
#include "heap/heap_int.h"

enum { PN_SPECIAL_SMALLTALK = 8, PN_GLOBALS_TALLY = 0, PN_GLOBALS_ARRAY = 1 };

#define PN_BOOT_METACLASS PN_CLASS_FIRST_FREE // index of class Metaclass
#define PN_METACLASS_SLOTS 6
#define PN_CLASS_SLOTS 11
#define PN_FIRST_GLOBALS 128
#define PN_FIRST_METHODS 4
#define PN_ERROR_TABLE_SIZE 21

// ---- Small things -----------------------------------------------------------------------------------------------

static Oop new_array(WorkerVm *vm, size_t slots) { return pn_old_new(vm, PN_CLASS_ARRAY, PN_FMT_ARRAY, slots); }

static bool is_nil(const WorkerVm *vm, Oop o) { return ref_same(ref_of(o), vm->nil); }

static bool store(WorkerVm *vm, Oop o, size_t index, Ref value) { return pn_store(vm, o, index, value) == PN_WRITABLE; }

static uint32_t name_hash(Ref name) {
    return ref_is_immediate(name) ? (uint32_t)(name.bits >> 3) : hdr_hash(oop_header(ref_raw(name)));
}

// ---- Globals (Note [Globals]) -----------------------------------------------------------------------------------

static Oop globals(WorkerVm *vm) { return pn_slot(vm, pn_deref(vm, vm->special_objects), PN_SPECIAL_SMALLTALK); }

// The place of name in the array, or the free place where it belongs. There always is a free one.
static size_t global_place(WorkerVm *vm, Oop array, Ref name) {
    size_t mask = oop_slot_count(array) - 1;
    for (size_t at = name_hash(name) & mask;; at = (at + 1) & mask) {
        Oop binding = pn_slot(vm, array, at);
        if (is_nil(vm, binding) || ref_same(oop_slot(binding, PN_BINDING_KEY), name)) return at;
    }
}

static Oop grown_globals(WorkerVm *vm, Oop array) {
    Oop bigger = new_array(vm, 2 * oop_slot_count(array));
    if (oop_is_none(bigger)) return bigger;
    for (size_t i = 0, n = oop_slot_count(array); i < n; i++) {
        Oop binding = pn_slot(vm, array, i);
        if (is_nil(vm, binding)) continue;
        oop_init_slot(bigger, global_place(vm, bigger, oop_slot(binding, PN_BINDING_KEY)), ref_of(binding));
    }
    return bigger;
}

static Oop new_binding(WorkerVm *vm, Ref name) {
    Oop binding = pn_old_new(vm, PN_CLASS_ASSOCIATION, PN_FMT_FIXED, 2);
    if (!oop_is_none(binding)) oop_init_slot(binding, PN_BINDING_KEY, name);
    return binding;
}

static Oop add_global(WorkerVm *vm, Oop table, Ref name) {
    Oop array = pn_slot(vm, table, PN_GLOBALS_ARRAY);
    int64_t tally = ref_int(oop_slot(table, PN_GLOBALS_TALLY)) + 1;
    if (4 * (size_t)tally > 3 * oop_slot_count(array)) array = grown_globals(vm, array);
    Oop binding = new_binding(vm, name);
    if (oop_is_none(array) || oop_is_none(binding) || pn_make_writable(vm, &table) != PN_WRITABLE ||
        pn_make_writable(vm, &array) != PN_WRITABLE)
        return PN_NO_OOP;
    bool stored = store(vm, array, global_place(vm, array, name), ref_of(binding)) &&
                  store(vm, table, PN_GLOBALS_ARRAY, ref_of(array)) &&
                  store(vm, table, PN_GLOBALS_TALLY, ref_from_int(tally));
    return stored ? binding : PN_NO_OOP;
}

Oop pn_global(WorkerVm *vm, const char *name) {
    Ref symbol = pn_symbol_z(name);
    if (ref_is_none(symbol)) return PN_NO_OOP;
    Oop table = globals(vm);
    Oop array = pn_slot(vm, table, PN_GLOBALS_ARRAY);
    Oop binding = pn_slot(vm, array, global_place(vm, array, symbol));
    return is_nil(vm, binding) ? add_global(vm, table, symbol) : binding;
}

static bool set_global(WorkerVm *vm, const char *name, Oop value) {
    Oop binding = pn_global(vm, name);
    return !oop_is_none(binding) && store(vm, binding, PN_BINDING_VALUE, ref_of(value));
}

// ---- Method dictionaries ----------------------------------------------------------------------------------------

static size_t dictionary_capacity(Oop dictionary) {
    size_t slots = oop_slot_count(dictionary);
    return slots > PN_METHOD_DICT_FIRST_KEY ? slots - PN_METHOD_DICT_FIRST_KEY : 0;
}

// Where selector is, or the free place where it belongs; capacity if there is neither.
static size_t method_place(const WorkerVm *vm, Oop dictionary, Ref selector) {
    size_t capacity = dictionary_capacity(dictionary);
    size_t at = capacity == 0 ? 0 : name_hash(selector) & (capacity - 1);
    for (size_t i = 0; i < capacity; i++, at = (at + 1) & (capacity - 1)) {
        Ref key = oop_slot(dictionary, PN_METHOD_DICT_FIRST_KEY + at);
        if (ref_same(key, selector) || ref_same(key, vm->nil)) return at;
    }
    return capacity;
}

Oop pn_method_dict_at(WorkerVm *vm, Oop dictionary, Ref selector) {
    size_t at = method_place(vm, dictionary, selector);
    if (at >= dictionary_capacity(dictionary)) return PN_NO_OOP;
    if (!ref_same(oop_slot(dictionary, PN_METHOD_DICT_FIRST_KEY + at), selector)) return PN_NO_OOP;
    Oop methods = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    if (oop_is_immediate(methods) || at >= oop_slot_count(methods)) return PN_NO_OOP;
    return pn_slot(vm, methods, at);
}

static Oop new_dictionary(WorkerVm *vm, size_t capacity) {
    Oop methods = new_array(vm, capacity);
    Oop dictionary = pn_old_new(vm, PN_CLASS_METHOD_DICTIONARY, PN_FMT_FIXED_ARRAY,
                                PN_METHOD_DICT_FIRST_KEY + capacity);
    if (oop_is_none(methods) || oop_is_none(dictionary)) return PN_NO_OOP;
    oop_init_slot(dictionary, PN_METHOD_DICT_TALLY, ref_from_int(0));
    oop_init_slot(dictionary, PN_METHOD_DICT_METHODS, ref_of(methods));
    return dictionary;
}

// Enter in a dictionary that has room; it and its array are writable.
static bool enter_method(WorkerVm *vm, Oop dictionary, Oop methods, Ref selector, Ref method) {
    size_t at = method_place(vm, dictionary, selector);
    bool is_new = !ref_same(oop_slot(dictionary, PN_METHOD_DICT_FIRST_KEY + at), selector);
    int64_t tally = ref_int(oop_slot(dictionary, PN_METHOD_DICT_TALLY)) + is_new;
    return store(vm, methods, at, method) && store(vm, dictionary, PN_METHOD_DICT_FIRST_KEY + at, selector) &&
           store(vm, dictionary, PN_METHOD_DICT_TALLY, ref_from_int(tally));
}

static bool is_absent(const WorkerVm *vm, Ref key) { return ref_same(key, vm->nil); }

static Oop grown_dictionary(WorkerVm *vm, Oop dictionary) {
    size_t capacity = dictionary_capacity(dictionary);
    Oop bigger = new_dictionary(vm, pn_max(PN_FIRST_METHODS, 2 * capacity));
    if (oop_is_none(bigger)) return bigger;
    Oop from = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    Oop to = pn_slot(vm, bigger, PN_METHOD_DICT_METHODS);
    for (size_t i = 0; i < capacity; i++) {
        Ref key = oop_slot(dictionary, PN_METHOD_DICT_FIRST_KEY + i);
        if (!is_absent(vm, key) && !enter_method(vm, bigger, to, key, oop_slot(from, i))) return PN_NO_OOP;
    }
    return bigger;
}

// The class's dictionary with room for one more, itself and its array writable; made or grown if need be.
static Oop roomy_dictionary(WorkerVm *vm, Oop class_object, Oop *methods) {
    Oop dictionary = pn_slot(vm, class_object, PN_BEHAVIOR_METHOD_DICT);
    bool is_missing = is_nil(vm, dictionary);
    size_t needed = is_missing ? 0 : 4 * ((size_t)ref_int(oop_slot(dictionary, PN_METHOD_DICT_TALLY)) + 1);
    if (is_missing || needed > 3 * dictionary_capacity(dictionary)) {
        dictionary = is_missing ? new_dictionary(vm, PN_FIRST_METHODS) : grown_dictionary(vm, dictionary);
        if (oop_is_none(dictionary)) return dictionary;
        if (!store(vm, class_object, PN_BEHAVIOR_METHOD_DICT, ref_of(dictionary))) return PN_NO_OOP;
    }
    if (pn_make_writable(vm, &dictionary) != PN_WRITABLE) return PN_NO_OOP;
    *methods = pn_slot(vm, dictionary, PN_METHOD_DICT_METHODS);
    return pn_make_writable(vm, methods) == PN_WRITABLE ? dictionary : PN_NO_OOP;
}

// H9: whether method touches no slot of its receiver that instances of class_object do not have.
static bool method_fits(WorkerVm *vm, Oop class_object, Oop method) {
    const Code *code = pn_code_for(vm, method);
    Ref format = oop_slot(class_object, PN_BEHAVIOR_FORMAT);
    return code != NULL && ref_is_int(format) && code->slot_limit <= class_format_slots(ref_int(format));
}

PnStatus pn_method_install(WorkerVm *vm, Oop class_object, Ref selector, Oop method) {
    class_object = pn_current(vm, ref_of(class_object));
    if (!method_fits(vm, class_object, method)) return PN_REFUSED;
    Oop methods;
    Oop dictionary = roomy_dictionary(vm, class_object, &methods);
    if (oop_is_none(dictionary)) return PN_NO_MEMORY;
    if (!enter_method(vm, dictionary, methods, selector, ref_of(method))) return PN_NO_MEMORY;
    return pn_behavior_changed(vm);
}

// ---- Classes ----------------------------------------------------------------------------------------------------

// Instances of Metaclass have the class index that the class of an existing class has.
static uint32_t metaclass_index(WorkerVm *vm) {
    Oop array_class = pn_class_at(vm, PN_CLASS_ARRAY);
    return oop_is_none(array_class) ? PN_BOOT_METACLASS : oop_class_index(pn_class_of(vm, array_class));
}

// Note [Boot indices]. 0 if there is none. One is kept for class Metaclass.
static uint32_t new_class_index(WorkerVm *vm) {
    if (vm->layer != NULL) return pn_indices_take(1);
    uint32_t index = PN_BOOT_METACLASS + 1;
    while (index <= PN_MAX_CLASS_INDEX && pn_class_shapes[index] != 0) index++;
    return index <= PN_MAX_CLASS_INDEX ? index : pn_indices_take(1);
}

static Oop new_behavior(WorkerVm *vm, uint32_t class_index, size_t slots, Ref superclass, int64_t format) {
    Oop o = pn_old_new(vm, class_index, PN_FMT_FIXED, slots);
    Oop dictionary = new_dictionary(vm, PN_FIRST_METHODS);
    if (oop_is_none(o) || oop_is_none(dictionary)) return PN_NO_OOP;
    oop_init_slot(o, PN_BEHAVIOR_SUPERCLASS, superclass);
    oop_init_slot(o, PN_BEHAVIOR_METHOD_DICT, ref_of(dictionary));
    oop_init_slot(o, PN_BEHAVIOR_FORMAT, ref_from_int(format));
    return o;
}

// Classes of metaclasses have the slots of Class; the superclass of a topmost metaclass is Class itself.
static Oop new_metaclass(WorkerVm *vm, Oop superclass, uint32_t *index) {
    Ref super = oop_is_none(superclass) ? oop_slot(pn_global(vm, "Class"), PN_BINDING_VALUE)
                                        : ref_of(pn_class_of(vm, superclass));
    Oop metaclass = new_behavior(vm, metaclass_index(vm), PN_METACLASS_SLOTS, super,
                                 pn_class_format(PN_FMT_FIXED, PN_CLASS_SLOTS));
    *index = oop_is_none(metaclass) ? 0 : new_class_index(vm);
    return *index != 0 && pn_class_enter(vm, metaclass, *index) == PN_OK ? metaclass : PN_NO_OOP;
}

static bool add_subclass(WorkerVm *vm, Oop superclass, Oop class_object) {
    Oop known = pn_slot(vm, superclass, PN_CLASS_SUBCLASSES);
    size_t count = is_nil(vm, known) ? 0 : oop_slot_count(known);
    Oop array = new_array(vm, count + 1);
    if (oop_is_none(array)) return false;
    for (size_t i = 0; i < count; i++) store(vm, array, i, oop_slot(known, i));
    oop_init_slot(array, count, ref_of(class_object));
    return store(vm, superclass, PN_CLASS_SUBCLASSES, ref_of(array));
}

Oop pn_boot_class(WorkerVm *vm, const char *name, Oop superclass, uint32_t kind, uint32_t slots, uint32_t index) {
    if (is_nil(vm, superclass)) superclass = PN_NO_OOP;
    Ref symbol = pn_symbol_z(name);
    uint32_t class_class_index;
    Oop metaclass = new_metaclass(vm, superclass, &class_class_index);
    if (oop_is_none(metaclass) || ref_is_none(symbol)) return PN_NO_OOP;
    Oop class_object = new_behavior(vm, class_class_index, PN_CLASS_SLOTS,
                                    oop_is_none(superclass) ? vm->nil : ref_of(superclass),
                                    pn_class_format(kind, slots));
    if (oop_is_none(class_object)) return PN_NO_OOP;
    oop_init_slot(class_object, PN_CLASS_NAME, symbol);
    oop_init_slot(metaclass, PN_METACLASS_THIS_CLASS, ref_of(class_object));
    if (index == 0) index = new_class_index(vm);
    if (index == 0 || pn_class_enter(vm, class_object, index) != PN_OK) return PN_NO_OOP;
    if (!set_global(vm, name, class_object)) return PN_NO_OOP;
    return oop_is_none(superclass) || add_subclass(vm, superclass, class_object) ? class_object : PN_NO_OOP;
}

// ---- The kernel's classes ---------------------------------------------------------------------------------------

typedef struct BootClass {
    const char *name, *superclass;
    uint32_t kind, slots, index; // index 0: any
} BootClass;

// Superclasses first.
static const BootClass boot_classes[] = {
    {"ProtoObject", NULL, PN_FMT_EMPTY, 0, 0},
    {"Object", "ProtoObject", PN_FMT_EMPTY, 0, 0},
    {"Behavior", "Object", PN_FMT_FIXED, PN_BEHAVIOR_SLOTS, 0},
    {"ClassDescription", "Behavior", PN_FMT_FIXED, PN_CLASS_SUBCLASSES, 0},
    {"Class", "ClassDescription", PN_FMT_FIXED, PN_CLASS_SLOTS, 0},
    {"Metaclass", "ClassDescription", PN_FMT_FIXED, PN_METACLASS_SLOTS, PN_BOOT_METACLASS},
    {"UndefinedObject", "Object", PN_FMT_EMPTY, 0, PN_CLASS_UNDEFINED_OBJECT},
    {"Boolean", "Object", PN_FMT_EMPTY, 0, 0},
    {"True", "Boolean", PN_FMT_EMPTY, 0, PN_CLASS_TRUE},
    {"False", "Boolean", PN_FMT_EMPTY, 0, PN_CLASS_FALSE},
    {"Magnitude", "Object", PN_FMT_EMPTY, 0, 0},
    {"Character", "Magnitude", PN_FMT_FORWARDED, 0, PN_CLASS_CHARACTER},
    {"Association", "Magnitude", PN_FMT_FIXED, 2, PN_CLASS_ASSOCIATION},
    {"Number", "Magnitude", PN_FMT_EMPTY, 0, 0},
    {"Integer", "Number", PN_FMT_EMPTY, 0, 0},
    {"SmallInteger", "Integer", PN_FMT_FORWARDED, 0, PN_CLASS_SMALL_INTEGER},
    {"LargePositiveInteger", "Integer", PN_FMT_8, 0, PN_CLASS_LARGE_POSITIVE},
    {"LargeNegativeInteger", "LargePositiveInteger", PN_FMT_8, 0, PN_CLASS_LARGE_NEGATIVE},
    {"Float", "Number", PN_FMT_EMPTY, 0, 0},
    {"BoxedFloat64", "Float", PN_FMT_32, 0, PN_CLASS_BOXED_FLOAT},
    {"SmallFloat64", "Float", PN_FMT_FORWARDED, 0, PN_CLASS_SMALL_FLOAT},
    {"Collection", "Object", PN_FMT_EMPTY, 0, 0},
    {"SequenceableCollection", "Collection", PN_FMT_EMPTY, 0, 0},
    {"ArrayedCollection", "SequenceableCollection", PN_FMT_EMPTY, 0, 0},
    {"Array", "ArrayedCollection", PN_FMT_ARRAY, 0, PN_CLASS_ARRAY},
    {"ByteArray", "ArrayedCollection", PN_FMT_8, 0, PN_CLASS_BYTE_ARRAY},
    {"Bitmap", "ArrayedCollection", PN_FMT_32, 0, PN_CLASS_BITMAP},
    {"String", "ArrayedCollection", PN_FMT_EMPTY, 0, 0},
    {"ByteString", "String", PN_FMT_8, 0, PN_CLASS_BYTE_STRING},
    {"Symbol", "String", PN_FMT_EMPTY, 0, 0},
    {"ByteSymbol", "Symbol", PN_FMT_8, 0, PN_CLASS_BYTE_SYMBOL},
    {"HashedCollection", "Collection", PN_FMT_FIXED, 2, 0},
    {"Dictionary", "HashedCollection", PN_FMT_FIXED, 2, 0},
    {"SystemDictionary", "Dictionary", PN_FMT_FIXED, 2, 0},
    {"MethodDictionary", "Dictionary", PN_FMT_FIXED_ARRAY, PN_METHOD_DICT_FIRST_KEY, PN_CLASS_METHOD_DICTIONARY},
    {"CompiledCode", "ByteArray", PN_FMT_CODE, 0, 0},
    {"CompiledMethod", "CompiledCode", PN_FMT_CODE, 0, PN_CLASS_COMPILED_METHOD},
    {"CompiledBlock", "CompiledCode", PN_FMT_CODE, 0, PN_CLASS_COMPILED_BLOCK},
    {"BlockClosure", "Object", PN_FMT_FIXED_ARRAY, 3, 0},
    {"FullBlockClosure", "BlockClosure", PN_FMT_FIXED_ARRAY, PN_CLOSURE_FIRST_COPIED, PN_CLASS_FULL_BLOCK_CLOSURE},
    {"Context", "Object", PN_FMT_FIXED_ARRAY, PN_CONTEXT_FIRST_TEMP, PN_CLASS_CONTEXT},
    {"Message", "Object", PN_FMT_FIXED, 3, PN_CLASS_MESSAGE},
    {"Point", "Object", PN_FMT_FIXED, 2, PN_CLASS_POINT},
    {"Semaphore", "Object", PN_FMT_FIXED, 3, PN_CLASS_SEMAPHORE},
};

static Oop class_named(WorkerVm *vm, const char *name) {
    Oop binding = pn_global(vm, name);
    return oop_is_none(binding) ? binding : pn_slot(vm, binding, PN_BINDING_VALUE);
}

static PnStatus make_class(WorkerVm *vm, const BootClass *c, PnError *error) {
    if (c->index != 0 && pn_class_shapes[c->index] != 0)
        return pn_error(error, PN_INDEX_CLASH, 0, "class index %u of %s is in use: the process has a base already",
                        c->index, c->name);
    Oop superclass = c->superclass == NULL ? PN_NO_OOP : class_named(vm, c->superclass);
    Oop class_object = pn_boot_class(vm, c->name, superclass, c->kind, c->slots, c->index);
    return oop_is_none(class_object) ? pn_error(error, PN_NO_MEMORY, 0, "there is no memory for class %s", c->name)
                                     : PN_OK;
}

// The topmost metaclass was made before class Class.
static void close_metaclass_loop(WorkerVm *vm) {
    Oop topmost = pn_class_of(vm, class_named(vm, "ProtoObject"));
    Oop class_class = class_named(vm, "Class");
    store(vm, topmost, PN_BEHAVIOR_SUPERCLASS, ref_of(class_class));
    add_subclass(vm, class_class, topmost);
}

static PnStatus make_classes(WorkerVm *vm, PnError *error) {
    PnStatus status = PN_OK;
    for (size_t i = 0; i < PN_COUNT_OF(boot_classes) && status == PN_OK; i++)
        status = make_class(vm, &boot_classes[i], error);
    if (status == PN_OK) close_metaclass_loop(vm);
    return status;
}

// ---- Special objects --------------------------------------------------------------------------------------------

static const struct {
    uint8_t index;
    const char *name;
} special_classes[] = {
    {4, "Bitmap"},
    {5, "SmallInteger"},
    {6, "ByteString"},
    {7, "Array"},
    {9, "BoxedFloat64"},
    {10, "Context"},
    {12, "Point"},
    {13, "LargePositiveInteger"},
    {15, "Message"},
    {16, "CompiledMethod"},
    {18, "Semaphore"},
    {19, "Character"},
    {26, "ByteArray"},
    {37, "FullBlockClosure"},
    {42, "LargeNegativeInteger"},
};

static const struct {
    uint8_t index;
    const char *name;
} special_symbols[] = {
    {PN_SPECIAL_DOES_NOT_UNDERSTAND, "doesNotUnderstand:"},
    {PN_SPECIAL_CANNOT_RETURN, "cannotReturn:"},
    {PN_SPECIAL_MUST_BE_BOOLEAN, "mustBeBoolean"},
    {PN_SPECIAL_CANNOT_INTERPRET, "cannotInterpret:"},
    {PN_SPECIAL_ABOUT_TO_RETURN, "aboutToReturn:through:"},
    {PN_SPECIAL_RUN_WITH_IN, "run:with:in:"},
    {PN_SPECIAL_ATTEMPT_TO_ASSIGN, "attemptToAssign:withIndex:"},
    {PN_SPECIAL_UNUSED_BYTECODE, "unusedBytecode"},
};

// Bytecodes 96 to 127.
static const struct {
    const char *name;
    uint8_t arguments;
} special_selectors[] = {
    {"+", 1},       {"-", 1},      {"<", 1},     {">", 1},       {"<=", 1},    {">=", 1},        {"=", 1},
    {"~=", 1},      {"*", 1},      {"/", 1},     {"\\\\", 1},    {"@", 1},     {"bitShift:", 1}, {"//", 1},
    {"bitAnd:", 1}, {"bitOr:", 1}, {"at:", 1},   {"at:put:", 2}, {"size", 0},  {"next", 0},      {"nextPut:", 1},
    {"atEnd", 0},   {"==", 1},     {"class", 0}, {"~~", 1},      {"value", 0}, {"value:", 1},    {"do:", 1},
    {"new", 0},     {"new:", 1},   {"x", 0},     {"y", 0},
};
_Static_assert(PN_COUNT_OF(special_selectors) == 32, "one for each bytecode from 96 to 127");

// What the error temp of a failed primitive gets: entry i - 1 for code i.
static const char *const error_names[PN_ERROR_TABLE_SIZE] = {
    NULL,
    "bad receiver",
    "bad argument",
    "bad index",
    "bad number of arguments",
    "inappropriate operation",
    "unsupported operation",
    "no modification",
    "insufficient object memory",
    "insufficient C memory",
    "not found",
    "bad method",
    "internal error in named primitive machinery",
    "object may move",
    "resource limit exceeded",
    "object is pinned",
    "primitive write beyond end of object",
    "object moved",
    "object not pinned",
    "callback error",
    "operating system error",
};

// nil, false and true in what is made as one object: their distances are fixed (vm_true).
static bool make_constants(WorkerVm *vm) {
    Oop place = pn_old_raw(vm, pn_header(0, 0, PN_FMT_ARRAY, PN_CLASS_ARRAY), 5);
    if (oop_is_none(place)) return false;
    static const uint32_t classes[] = {PN_CLASS_UNDEFINED_OBJECT, PN_CLASS_FALSE, PN_CLASS_TRUE};
    for (size_t i = 0; i < PN_COUNT_OF(classes); i++) {
        Oop constant = {place.bits + 16 * i};
        oop_set_header(constant, pn_header(0, 0, PN_FMT_EMPTY, classes[i]));
        oop_init_slot(constant, 0, PN_NO_REF);
    }
    vm->nil = ref_of(place);
    return true;
}

// The special objects array and the table of globals, whose class comes later.
static bool make_tables(WorkerVm *vm) {
    Oop special = new_array(vm, PN_SPECIAL_COUNT);
    Oop table = pn_old_new(vm, PN_CLASS_FIRST_FREE, PN_FMT_FIXED, 2);
    Oop array = new_array(vm, PN_FIRST_GLOBALS);
    if (oop_is_none(special) || oop_is_none(table) || oop_is_none(array)) return false;
    oop_init_slot(table, PN_GLOBALS_TALLY, ref_from_int(0));
    oop_init_slot(table, PN_GLOBALS_ARRAY, ref_of(array));
    oop_init_slot(special, PN_SPECIAL_NIL, vm_nil(vm));
    oop_init_slot(special, PN_SPECIAL_FALSE, vm_false(vm));
    oop_init_slot(special, PN_SPECIAL_TRUE, vm_true(vm));
    oop_init_slot(special, PN_SPECIAL_SMALLTALK, ref_of(table));
    vm->special_objects = ref_of(special);
    return true;
}

static bool set_symbol(Oop array, size_t index, const char *name) {
    Ref symbol = pn_symbol_z(name);
    oop_init_slot(array, index, symbol);
    return !ref_is_none(symbol);
}

static bool fill_selectors(WorkerVm *vm, Oop special) {
    Oop array = new_array(vm, 2 * PN_COUNT_OF(special_selectors));
    if (oop_is_none(array)) return false;
    for (size_t i = 0; i < PN_COUNT_OF(special_selectors); i++) {
        if (!set_symbol(array, 2 * i, special_selectors[i].name)) return false;
        oop_init_slot(array, 2 * i + 1, ref_from_int(special_selectors[i].arguments));
    }
    oop_init_slot(special, PN_SPECIAL_SELECTORS, ref_of(array));
    return true;
}

static bool fill_error_table(WorkerVm *vm, Oop special) {
    Oop array = new_array(vm, PN_ERROR_TABLE_SIZE);
    if (oop_is_none(array)) return false;
    for (size_t i = 0; i < PN_ERROR_TABLE_SIZE; i++)
        if (error_names[i] != NULL && !set_symbol(array, i, error_names[i])) return false;
    oop_init_slot(special, PN_SPECIAL_ERROR_TABLE, ref_of(array));
    return true;
}

// The classes are there. The globals table gets its own class, and its name.
static bool fill_special_objects(WorkerVm *vm) {
    Oop special = ref_raw(vm->special_objects);
    Oop table = globals(vm);
    uint32_t index = hdr_hash(oop_header(class_named(vm, "SystemDictionary")));
    oop_set_header(table, (oop_header(table) & ~PN_HDR_CLASS_MASK) | index);
    Oop processor = pn_global(vm, "Processor");
    if (oop_is_none(processor) || !set_global(vm, "Smalltalk", table)) return false;
    oop_init_slot(special, PN_SPECIAL_PROCESSOR, ref_of(processor));
    for (size_t i = 0; i < PN_COUNT_OF(special_classes); i++)
        oop_init_slot(special, special_classes[i].index, ref_of(class_named(vm, special_classes[i].name)));
    for (size_t i = 0; i < PN_COUNT_OF(special_symbols); i++)
        if (!set_symbol(special, special_symbols[i].index, special_symbols[i].name)) return false;
    return fill_selectors(vm, special) && fill_error_table(vm, special);
}

static PnStatus boot(WorkerVm *vm, PnError *error) {
    bool made = make_constants(vm) && make_tables(vm);
    PnStatus status = made ? make_classes(vm, error) : PN_NO_MEMORY;
    if (status == PN_OK && !fill_special_objects(vm)) status = PN_NO_MEMORY;
    if (status == PN_NO_MEMORY) return pn_error(error, status, 0, "there is no memory for the kernel's objects");
    if (status == PN_OK) pn_stack_begin(vm); // its base link names nil, which is there only now
    return status;
}

WorkerVm *pn_boot(PnError *error) {
    WorkerVm *vm = pn_worker_new(NULL);
    if (vm == NULL) {
        pn_error(error, PN_NO_MEMORY, 0, "there is no memory for a worker");
        return NULL;
    }
    if (boot(vm, error) == PN_OK) return vm;
    pn_worker_free(vm);
    return NULL;
}
