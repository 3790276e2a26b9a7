# scripts/pando-gdb.py: gdb commands that know Pando's objects. In gdb: source scripts/pando-gdb.py
#
#   oop VALUE       what a Ref, Oop or number is: immediate or object, header bits, class, slots
#   pando-frames    frames of the worker `vm` of the selected C frame (or: pando-frames VM), newest first; needs a live process
#   Refs and Oops in printed values show what they are.
# Works on core files too (pando-frames excepted). Classes are named as the process's class table has them: a worker may
# have a copy of a class with another name.
import gdb

CLASS_MASK = 0x3FFFFF
FORWARDED = 8
FORMATS = {0: "no slots", 1: "fixed", 2: "array", 3: "fixed+array", 4: "weak", 5: "ephemeron", 7: "forwarder"}


def word(address):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, 8).tobytes(), "little")


def slot_count(address):
    count = word(address) >> 56
    return word(address - 8) & ((1 << 56) - 1) if count == 255 else count


def slot(address, index):
    return word(address + 8 + 8 * index)


def text_of(address, limit=60):
    header = word(address)
    count = 8 * slot_count(address) - (header >> 24 & 7)
    data = gdb.selected_inferior().read_memory(address + 8, min(count, limit)).tobytes()
    return data.decode("latin-1") + ("..." if count > limit else "")


def is_bytes(address):
    return 16 <= (word(address) >> 24 & 31) < 24


def class_name(index):
    try:
        entry = int(gdb.parse_and_eval("pn_class_table[%d].bits" % index))
        if entry == 0:
            return "class %d" % index
        name = slot(entry, 6) if slot_count(entry) > 6 else 0
        if name and not name & 7 and is_bytes(name):
            return text_of(name)
        this_class = slot(entry, 5)
        return text_of(slot(this_class, 6)) + " class"
    except (gdb.error, ValueError):
        return "class %d" % index


def small_float(bits):
    import struct

    t = bits >> 3
    if t > 1:
        t += 896 << 53
    t = (t >> 1 | t << 63) & (1 << 64) - 1
    return struct.unpack("<d", struct.pack("<Q", t))[0]


def describe(bits):
    """One line for a value."""
    if bits == 0:
        return "none"
    if bits & 1:
        return "%d" % ((bits >> 3) - (1 << 61 if bits >> 63 else 0))
    if bits & 2:
        return "$%s" % chr(bits >> 3 & 0x3FFFFFFF) if bits >> 3 < 0x110000 else "character %d" % (bits >> 3)
    if bits & 4:
        return "%r" % small_float(bits)
    try:
        index = word(bits) & CLASS_MASK
        if index == FORWARDED:
            return "0x%x forwarder to 0x%x" % (bits, slot(bits, 0))
        name = class_name(index)
        return "0x%x %s%s" % (bits, name, " '%s'" % text_of(bits) if is_bytes(bits) else "")
    except gdb.MemoryError:
        return "0x%x (not mapped)" % bits


def bits_of(value):
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        value = value["bits"]
    return int(value.cast(gdb.lookup_type("unsigned long")))


def place_of(bits):
    window = 0x550000000000
    return "shared window + 0x%x" % (bits - window) if 0 <= bits - window < 1 << 38 else "private"


class OopCommand(gdb.Command):
    """oop VALUE: what a Ref, an Oop or a number is."""

    def __init__(self):
        super().__init__("oop", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        bits = bits_of(gdb.parse_and_eval(argument))
        print(describe(bits))
        if bits & 7 == 0 and bits != 0:
            self.object(bits)

    def object(self, bits):
        header = word(bits)
        kind = header >> 24 & 31
        flags = [name for bit, name in ((22, "remembered"), (23, "immutable"), (29, "guarded, or deeply read-only in a layer"), (30, "pinned"), (31, "grey"), (55, "marked"))
                 if header >> bit & 1]
        print("  header 0x%016x: class index %d, format %d (%s), hash %d%s; %s" % (
            header, header & CLASS_MASK, kind, FORMATS.get(kind, "code" if kind >= 24 else "raw"),
            header >> 32 & CLASS_MASK, "".join(", " + f for f in flags), place_of(bits)))
        count = slot_count(bits)
        if kind >= 24:
            values = 1 + ((slot(bits, 0) >> 3) & 0x7FFF)
        else:
            values = count if kind <= 5 else 0
        for i in range(min(values, 40)):
            print("  %d: %s" % (i, describe(slot(bits, i))))
        if count > min(values, 40):
            print("  %d slots in all" % count)


class FramesCommand(gdb.Command):
    """pando-frames [VM]: the Smalltalk frames of a worker, newest first. Registers must be saved."""

    def __init__(self):
        super().__init__("pando-frames", gdb.COMMAND_STACK, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        gdb.execute("call (void)pn_print_stack(%s, stderr)" % (argument or "vm"))


class ValuePrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        return describe(int(self.value["bits"]))


def printer_for(value):
    return ValuePrinter(value) if value.type.strip_typedefs().tag in ("Ref", "Oop") else None


gdb.pretty_printers.append(printer_for)
OopCommand()
FramesCommand()
