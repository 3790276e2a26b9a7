// asm/asm_class.c: classes, instances and strings by name, for what is built with the assembler.
//
// Classes are made by heap/boot.c; here they get the slots of their superclass and a global binding.
#include "asm/asm.h"

static int64_t format_of_class(WorkerVm *vm, Oop class_object) {
    Oop format = pn_slot(vm, class_object, PN_BEHAVIOR_FORMAT);
    PN_CHECK(ref_is_int(ref_of(format)), "a class has no format");
    return ref_int(ref_of(format));
}

Oop pn_asm_class_of_kind(WorkerVm *vm, const char *name, Oop superclass, uint32_t kind, uint32_t slots) {
    uint32_t all_slots = slots + class_format_slots(format_of_class(vm, superclass));
    uint32_t index = pn_indices_take(1);
    PN_CHECK(index != 0, "the process has no more class indices");
    Oop class_object = pn_boot_class(vm, name, superclass, kind, all_slots, index);
    PN_CHECK(!oop_is_none(class_object), "no memory for class %s", name);
    Oop binding = pn_global(vm, name);
    PN_CHECK(pn_store(vm, binding, PN_BINDING_VALUE, ref_of(class_object)) == PN_WRITABLE, "%s is read-only", name);
    return class_object;
}

Oop pn_asm_class(WorkerVm *vm, const char *name, Oop superclass, uint32_t slots) {
    int64_t inherited = format_of_class(vm, superclass);
    uint32_t kind = class_format_kind(inherited);
    bool has_slots = slots + class_format_slots(inherited) > 0;
    if (kind == PN_FMT_EMPTY && has_slots) kind = PN_FMT_FIXED;
    if (kind == PN_FMT_ARRAY && has_slots) kind = PN_FMT_FIXED_ARRAY;
    return pn_asm_class_of_kind(vm, name, superclass, kind, slots);
}

Oop pn_asm_class_named(WorkerVm *vm, const char *name) {
    // A spelling that no symbol has names no global; asking for its binding would make one.
    if (ref_is_none(pn_symbol_find(name, strlen(name)))) return PN_NO_OOP;
    Oop value = pn_slot(vm, pn_global(vm, name), PN_BINDING_VALUE);
    return ref_same(ref_of(value), vm_nil(vm)) ? PN_NO_OOP : value;
}

Oop pn_asm_metaclass(WorkerVm *vm, Oop class_object) { return pn_class_of(vm, class_object); }

Oop pn_asm_instance(WorkerVm *vm, Oop class_object) {
    int64_t format = format_of_class(vm, class_object);
    PN_CHECK(class_format_kind(format) <= PN_FMT_LAST_POINTERS, "instances of this class have no pointer slots");
    uint32_t index = pn_class_index(vm, class_object);
    PN_CHECK(index != 0, "no class index for an instance");
    Oop instance = pn_new(vm, index, class_format_kind(format), class_format_slots(format));
    PN_CHECK(!oop_is_none(instance), "no memory for an instance");
    return instance;
}

Oop pn_asm_string(WorkerVm *vm, const char *text) {
    size_t count = strlen(text);
    Oop string = pn_old_new(vm, PN_CLASS_BYTE_STRING, pn_format_for_bytes(count), pn_slots_for_bytes(count));
    PN_CHECK(!oop_is_none(string), "no memory for a string");
    memcpy(oop_bytes(string), text, count);
    return string;
}
