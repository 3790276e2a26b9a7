// heap/code.c: Code records, the memory of private bytecodes, and worlds with their site words.
//
// Owns: the region of the layers' Code records (filled once each, by whichever worker comes first); each worker's
// private Codes and the extents of the window that hold their bytecodes; companions (the memory of site words) and
// world ids. Called by lookup and block activation, by freeze, by whoever changes behaviour. Invariants: C1-C4
// (heap/code.h), H9 (slot_limit).
//
// Note [Layer records]. The record of a layer's code object lies at four times its distance from the beginning of the
// layers' code, rounded up to 128. No two objects share one, since none is shorter than 32 bytes; damaged ones are
// refused.
//
// Note [Last byte of an extent]. The site word of a pc lies at 8 * pc, and the pc after a send at the end of the last
// code would belong to the next extent, perhaps another worker's. So the last byte of an extent stays unused.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "heap/heap_int.h"

#define PN_RECORD_BYTES (sizeof(Code))
#define PN_LEAST_CODE_OBJECT_BYTES ((size_t)32)
#define PN_EXTENT_BYTES ((size_t)4 << 10)
#define PN_FIRST_CODE_SLOTS 16
#define PN_SMALL_FRAME_WORDS 16
#define PN_LARGE_FRAME_WORDS 56
#define PN_EVENT_WORDS 4 // receiver and arguments of a message that the machine itself sends, on the deepest stack
#define PN_COMPANION_BYTES (8 * PN_CODE_AREA_BYTES)
#define PN_PAGE ((size_t)4 << 10)
#define PN_MOST_BLOCKS_SCANNED 4096

enum { // bytecodes that matter here
    BC_EXTEND_A = 224,
    BC_EXTEND_B = 225,
    BC_PUSH_INST = 226,
    BC_JUMP = 237,
    BC_JUMP_TRUE = 238,
    BC_JUMP_FALSE = 239,
    BC_POP_INTO_INST = 240,
    BC_STORE_INST = 243,
    BC_STORE_TEMP = 245,
    BC_CALL_PRIMITIVE = 248,
    BC_PUSH_CLOSURE = 249,
};

typedef struct CodeEntry {
    Code *code; // NULL: free
    uint32_t hash;
} CodeEntry;

struct CodeTable {
    size_t mask; // number of entries - 1
    size_t count;
    CodeEntry entries[];
};

struct CodeExtent {
    struct CodeExtent *next;
    uint64_t start;
    size_t bytes;
    size_t used;
};

uintptr_t pn_empty_site_base;
void (*pn_code_bind)(Code *code);

static uint8_t *layer_records; // constant after start
static pthread_mutex_t fill_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(uint64_t) next_world_id = 1;

PnStatus pn_code_init(PnError *error) {
    layer_records = pn_zero_pages(PN_LAYER_CODE_BYTES * 4, true);
    void *empty = pn_zero_pages(PN_COMPANION_BYTES, false);
    if (layer_records == NULL || empty == NULL)
        return pn_error(error, PN_NO_MEMORY, 0, "cannot reserve addresses for code: %s", strerror(errno));
    pn_empty_site_base = (uintptr_t)empty - 8 * PN_CODE_AREA;
    return PN_OK;
}

// ---- Reading bytecodes --------------------------------------------------------------------------
// Only as much as is needed for the highest slot of the receiver that code touches, in itself and in blocks that it
// makes. What lies behind the last instruction that can be reached (a method's trailer) is not looked at.

typedef struct SlotScan {
    WorkerVm *vm;
    uint32_t limit;
    uint32_t blocks_left; // damaged code could nest in itself
} SlotScan;

typedef struct Instruction {
    uint8_t byte;
    uint8_t operand;
    uint64_t ext_a;
    int64_t ext_b;
} Instruction;

static size_t instruction_length(uint8_t byte) { return byte < BC_EXTEND_A ? 1 : byte < BC_CALL_PRIMITIVE ? 2 : 3; }

// Read the instruction at *at with its extensions; false at the end of the bytes.
static bool next_instruction(const uint8_t *bytes, size_t count, size_t *at, Instruction *i) {
    bool has_ext_b = false;
    *i = (Instruction){0};
    while (*at < count && count - *at >= instruction_length(bytes[*at])) {
        i->byte = bytes[*at];
        i->operand = instruction_length(i->byte) > 1 ? bytes[*at + 1] : 0;
        *at += instruction_length(i->byte);
        if (i->byte == BC_EXTEND_A) {
            i->ext_a = i->ext_a << 8 | i->operand;
        } else if (i->byte == BC_EXTEND_B) {
            i->ext_b = has_ext_b ? (int64_t)((uint64_t)i->ext_b << 8 | i->operand) : (int8_t)i->operand;
            has_ext_b = true;
        } else {
            return true;
        }
    }
    return false;
}

static void scan_inst_var(SlotScan *scan, const Instruction *i) {
    uint64_t slot;
    if (i->byte < 16) slot = i->byte & 15;
    else if (i->byte >= 200 && i->byte < 208) slot = i->byte & 7;
    else if (i->byte == BC_PUSH_INST || i->byte == BC_POP_INTO_INST || i->byte == BC_STORE_INST)
        slot = i->ext_a * 256 + i->operand;
    else return;
    scan->limit = (uint32_t)pn_max(scan->limit, pn_min(slot, UINT16_MAX - 1) + 1);
}

// Where a jump that begins before at goes forward to, or 0.
static size_t forward_target(const Instruction *i, size_t at) {
    if (i->byte >= 176 && i->byte < 200) return at + (i->byte & 7) + 1;
    bool is_long = i->byte == BC_JUMP || i->byte == BC_JUMP_TRUE || i->byte == BC_JUMP_FALSE;
    int64_t distance = is_long ? (int64_t)((uint64_t)i->ext_b * 256 + i->operand) : -1;
    return distance >= 0 ? at + (size_t)distance : 0;
}

static bool falls_through(const Instruction *i) {
    bool returns = i->byte >= 88 && i->byte <= 94;
    bool jumps = i->byte == BC_JUMP || (i->byte >= 176 && i->byte < 184);
    return !returns && !jumps;
}

static void scan_block(SlotScan *scan, Oop outer, const Instruction *i);

static void scan_bytes(SlotScan *scan, Oop code_object, const uint8_t *bytes, size_t count) {
    size_t at = 0;
    size_t furthest = 0;
    Instruction i;
    while (next_instruction(bytes, count, &at, &i)) {
        scan_inst_var(scan, &i);
        if (i.byte == BC_PUSH_CLOSURE) scan_block(scan, code_object, &i);
        furthest = pn_max(furthest, forward_target(&i, at));
        if (!falls_through(&i) && furthest < at) return;
    }
}

// Whether o is code of the kind this machine runs, its literals within its bytes.
static bool code_is_sound(Oop o) {
    if (oop_is_immediate(o) || !oop_is_code(o) || oop_slot_count(o) == 0) return false;
    Ref header = oop_slot(o, 0);
    if (!ref_is_int(header) || !code_header_is_sista(ref_int(header))) return false;
    if (code_header_args(ref_int(header)) > code_header_temps(ref_int(header))) return false;
    return 8 * (1 + (size_t)code_header_literals(ref_int(header))) < oop_byte_count(o);
}

static size_t code_first_byte(Oop code) { return 8 * (1 + (size_t)code_header_literals(ref_int(oop_slot(code, 0)))); }

static void scan_block(SlotScan *scan, Oop outer, const Instruction *i) {
    uint64_t literal = i->ext_a * 256 + i->operand;
    if (scan->blocks_left == 0) {
        scan->limit = UINT16_MAX; // no receiver will do
        return;
    }
    if (literal >= code_header_literals(ref_int(oop_slot(outer, 0)))) return;
    Oop block = pn_current(scan->vm, oop_slot(outer, 1 + literal));
    if (!code_is_sound(block)) return;
    scan->blocks_left--;
    size_t first = code_first_byte(block);
    scan_bytes(scan, block, oop_bytes(block) + first, oop_byte_count(block) - first);
}

static uint16_t slot_limit(WorkerVm *vm, const Code *c) {
    SlotScan scan = {.vm = vm, .blocks_left = PN_MOST_BLOCKS_SCANNED};
    scan_bytes(&scan, ref_raw(c->method), c->bytecodes, c->bytecode_count);
    bool is_quick_slot = c->primitive_number >= 264 && c->primitive_number < 520;
    return (uint16_t)pn_max(scan.limit, is_quick_slot ? c->primitive_number - 263U : 0);
}

// ---- Filling a record ---------------------------------------------------------------------------

// A symbol that the stack traces of all who run the code can name: it lives at least as long.
static Ref lasting_symbol(const WorkerVm *vm, const Code *c, Oop o) {
    if (oop_is_immediate(o) || oop_class_index(o) != PN_CLASS_BYTE_SYMBOL) return PN_NO_REF;
    Layer *home = c->is_private ? vm->layer : pn_layer_of(vm->layer, c->method.bits);
    bool lasts = ref_is_symbol_region(ref_of(o)) || pn_layer_of(home, o.bits) != NULL;
    return lasts ? ref_of(o) : PN_NO_REF;
}

// The last literal but one is the selector, or a method state whose slot 1 is.
static Ref selector_of(WorkerVm *vm, const Code *c) {
    if (c->is_block || c->literal_count < 2) return PN_NO_REF;
    Oop o = pn_current(vm, c->literals[c->literal_count - 2]);
    if (!oop_is_immediate(o) && oop_is_pointers(o) && oop_slot_count(o) >= 2) o = pn_current(vm, oop_slot(o, 1));
    return lasting_symbol(vm, c, o);
}

// callPrimitive at the beginning, and the store of the error code behind it, are not run but noted.
static void fill_primitive(Code *c) {
    const uint8_t *b = c->bytecodes;
    if (c->bytecode_count < 3 || b[0] != BC_CALL_PRIMITIVE) return;
    c->primitive_number = (uint16_t)(b[1] | b[2] << 8);
    c->start += 3;
    if (c->bytecode_count < 5 || b[3] != BC_STORE_TEMP || b[4] >= c->temp_count) return;
    c->error_temp = b[4] + 1U;
    c->start += 2;
}

// All fields but the entries, which the interpreter binds. method and bytecodes are set; method is sound.
static void fill_code(WorkerVm *vm, Code *c, WorkerVm *owner) {
    Oop method = ref_raw(c->method);
    int64_t header = ref_int(oop_slot(method, 0));
    c->literals = oop_slots(method) + 1;
    c->literal_count = (uint16_t)code_header_literals(header);
    c->bytecode_count = (uint32_t)(oop_byte_count(method) - code_first_byte(method));
    c->start = c->bytecodes;
    c->arg_count = (uint8_t)code_header_args(header);
    c->temp_count = (uint8_t)code_header_temps(header);
    c->is_block = oop_class_index(method) == PN_CLASS_COMPILED_BLOCK;
    c->is_private = owner != NULL;
    c->owner = owner;
    if (code_header_has_primitive(header)) fill_primitive(c);
    uint32_t operand_words = code_header_is_large(header) ? PN_LARGE_FRAME_WORDS : PN_SMALL_FRAME_WORDS;
    c->frame_bytes = (uint16_t)(8 * (c->temp_count + c->is_block + operand_words + PN_EVENT_WORDS));
    c->slot_limit = slot_limit(vm, c);
    c->selector = selector_of(vm, c);
    if (pn_code_bind != NULL) pn_code_bind(c);
}

static Code *code_failed(WorkerVm *vm, uint32_t error) {
    vm->prim_error = error;
    return NULL;
}

// ---- Code of layers -----------------------------------------------------------------------------

static Code *layer_record(uint64_t address) {
    return (Code *)(void *)(layer_records + pn_round_up((address - PN_LAYER_CODE) * 4, PN_RECORD_BYTES));
}

// acquire: pairs with the release in fill_layer_record; all other fields can be seen.
static bool record_is_ready(const Code *c) { return __atomic_load_n(&c->ready, __ATOMIC_ACQUIRE) != 0; }

static void fill_layer_record(WorkerVm *vm, Code *c, Oop code_object) {
    pthread_mutex_lock(&fill_mutex);
    if (!record_is_ready(c)) {
        c->method = ref_of(code_object);
        c->bytecodes = oop_bytes(code_object) + code_first_byte(code_object);
        fill_code(vm, c, NULL);
        __atomic_store_n(&c->ready, 1, __ATOMIC_RELEASE); // publishes the rest
    }
    pthread_mutex_unlock(&fill_mutex);
}

static Code *code_of_layer_object(WorkerVm *vm, Oop code_object) {
    Code *c = layer_record(code_object.bits);
    if (PN_LIKELY(record_is_ready(c))) return c;
    if (!code_is_sound(code_object) || oop_bytes_occupied(code_object) < PN_LEAST_CODE_OBJECT_BYTES)
        return code_failed(vm, PN_ERROR_BAD_METHOD);
    fill_layer_record(vm, c, code_object);
    return c;
}

bool pn_code_is_layer_record(const Code *c) {
    uint64_t at = (uint64_t)((uintptr_t)c - (uintptr_t)layer_records);
    return at < PN_LAYER_CODE_BYTES * 4 && at % PN_RECORD_BYTES == 0 && record_is_ready(c);
}

void pn_code_forget_layer(const Layer *layer) {
    if (layer->code.bytes == 0) return;
    size_t bytes = pn_round_up(layer->code.bytes * 4 + PN_RECORD_BYTES / 2, PN_PAGE);
    int failed = madvise(layer_record(layer->code.start), bytes, MADV_DONTNEED);
    PN_CHECK(!failed, "cannot forget the code of a layer: %s", strerror(errno));
}

// ---- Private code: the table --------------------------------------------------------------------

static CodeEntry *entry_for(struct CodeTable *t, uint32_t hash, Ref method) {
    size_t at = hash & t->mask;
    while (t->entries[at].code != NULL && !ref_same(t->entries[at].code->method, method)) at = (at + 1) & t->mask;
    return &t->entries[at];
}

static struct CodeTable *table_of_size(size_t slots) {
    struct CodeTable *t = pn_mem_alloc_zeroed(sizeof *t + slots * sizeof t->entries[0]);
    if (t != NULL) t->mask = slots - 1;
    return t;
}

static bool grow_table(WorkerMore *more) {
    struct CodeTable *old = more->code_table;
    struct CodeTable *bigger = table_of_size(old != NULL ? 2 * (old->mask + 1) : PN_FIRST_CODE_SLOTS);
    if (bigger == NULL) return false;
    for (size_t at = 0; old != NULL && at <= old->mask; at++) {
        CodeEntry entry = old->entries[at];
        if (entry.code != NULL) *entry_for(bigger, entry.hash, entry.code->method) = entry;
    }
    if (old != NULL) bigger->count = old->count;
    pn_mem_free(old);
    more->code_table = bigger;
    return true;
}

// Room for one more, at most 3/4 full.
static bool reserve_entry(WorkerMore *more) {
    const struct CodeTable *t = more->code_table;
    return (t != NULL && 4 * (t->count + 1) <= 3 * (t->mask + 1)) || grow_table(more);
}

static uint32_t identity_hash(WorkerVm *vm, Oop o) {
    uint32_t hash = hdr_hash(oop_header(o));
    if (hash != 0) return hash;
    hash = pn_new_hash(vm);
    oop_set_header(o, oop_header(o) | (uint64_t)hash << PN_HDR_HASH_SHIFT);
    return hash;
}

static Code *find_private(const WorkerVm *vm, Oop code_object) {
    if (vm->more == NULL || vm->more->code_table == NULL) return NULL;
    return entry_for(vm->more->code_table, hdr_hash(oop_header(code_object)), ref_of(code_object))->code;
}

// ---- Private code: the bytecodes ----------------------------------------------------------------

static struct CodeExtent *add_extent(WorkerMore *more, size_t bytes) {
    struct CodeExtent *e = pn_mem_alloc(sizeof *e);
    if (e == NULL) return NULL;
    *e = (struct CodeExtent){.next = more->extents, .bytes = pn_round_up(bytes, PN_EXTENT_BYTES)};
    e->start = pn_window_take(PN_PART_PRIVATE_CODE, 0, e->bytes);
    if (e->start == 0) {
        pn_mem_free(e);
        return NULL;
    }
    return more->extents = e;
}

// Memory for bytecodes, in the newest extent or a new one. See Note [Last byte of an extent]. NULL: the window is full.
static uint8_t *take_code_bytes(WorkerMore *more, size_t count) {
    struct CodeExtent *e = more->extents;
    if (e == NULL || e->bytes - e->used <= count) e = add_extent(more, count + 1);
    if (e == NULL) return NULL;
    uint8_t *bytes = (uint8_t *)(uintptr_t)(e->start + e->used);
    e->used += count;
    return bytes;
}

static Code *make_private(WorkerVm *vm, Oop code_object) {
    WorkerMore *more = pn_more(vm);
    size_t first = code_first_byte(code_object);
    size_t count = oop_byte_count(code_object) - first;
    if (!reserve_entry(more)) return NULL;
    Code *c = pn_mem_alloc_aligned(sizeof *c, PN_RECORD_BYTES);
    if (c == NULL) return NULL;
    uint8_t *bytes = take_code_bytes(more, count);
    if (bytes == NULL) {
        pn_mem_free(c);
        return NULL;
    }
    memcpy(bytes, oop_bytes(code_object) + first, count);
    *c = (Code){.method = ref_of(code_object), .bytecodes = bytes, .ready = 1, .next = more->codes};
    fill_code(vm, c, vm);
    uint32_t hash = identity_hash(vm, code_object);
    *entry_for(more->code_table, hash, c->method) = (CodeEntry){c, hash};
    more->code_table->count++;
    return more->codes = c;
}

static PN_NOINLINE Code *make_private_code(WorkerVm *vm, Oop code_object) {
    if (!code_is_sound(code_object)) return code_failed(vm, PN_ERROR_BAD_METHOD);
    Code *c = make_private(vm, code_object);
    return c != NULL ? c : code_failed(vm, PN_ERROR_NO_MEMORY);
}

Code *pn_code_for(WorkerVm *vm, Oop code_object) {
    if (code_object.bits - PN_LAYER_CODE < PN_LAYER_CODE_BYTES) return code_of_layer_object(vm, code_object);
    Code *c = find_private(vm, code_object);
    return PN_LIKELY(c != NULL) ? c : make_private_code(vm, code_object);
}

// The site words of an extent read 0 again, for the next who gets its addresses. Below some pages writing is cheaper
// than asking the system, which interrupts other cores.
static void clear_sites(const World *world, const struct CodeExtent *e) {
    if (world == NULL || world->companion == NULL) return;
    uint8_t *words = (uint8_t *)(world->site_base + 8 * e->start);
    if (e->used <= PN_EXTENT_BYTES / 4) {
        memset(words, 0, 8 * (e->used + 1));
    } else {
        int failed = madvise(words, 8 * e->bytes, MADV_DONTNEED);
        PN_CHECK(!failed, "cannot clear site words: %s", strerror(errno));
    }
}

static void free_extents(WorkerVm *vm) {
    for (struct CodeExtent *e = vm->more->extents, *next; e != NULL; e = next) {
        next = e->next;
        if (vm->layer != NULL) clear_sites(vm->layer->world, e);
        clear_sites(vm->more->own_world, e);
        pn_window_give(PN_PART_PRIVATE_CODE, e->start, e->bytes);
        pn_mem_free(e);
    }
    vm->more->extents = NULL;
}

// To be called while vm still stands on the layer that its code has run on.
void pn_code_free_all(WorkerVm *vm) {
    if (vm->more == NULL) return;
    for (Code *c = vm->more->codes, *next; c != NULL; c = next) {
        next = c->next;
        pn_mem_free(c);
    }
    free_extents(vm);
    pn_mem_free(vm->more->code_table);
    vm->more->codes = NULL;
    vm->more->code_table = NULL;
}

size_t pn_code_bytes(const WorkerVm *vm) {
    const WorkerMore *more = vm->more;
    size_t bytes = 0;
    if (more == NULL) return 0;
    for (const struct CodeExtent *e = more->extents; e != NULL; e = e->next) bytes += sizeof *e + e->bytes;
    if (more->code_table == NULL) return bytes;
    bytes += sizeof *more->code_table + (more->code_table->mask + 1) * sizeof(CodeEntry);
    return bytes + more->code_table->count * sizeof(Code);
}

// ---- Worlds -------------------------------------------------------------------------------------

// Forget everything that caches know of the world: nobody has seen the new id.
static void renew_world(World *world) {
    if (world->companion != NULL) munmap(world->companion, PN_COMPANION_BYTES);
    world->companion = NULL;
    world->site_base = pn_empty_site_base;
    world->misses = 0;
    world->id = atomic_fetch_add_explicit(&next_world_id, 1, memory_order_relaxed);
}

World *pn_world_new(Layer *layer) {
    World *world = pn_mem_alloc_zeroed(sizeof *world);
    if (world == NULL) return NULL;
    renew_world(world);
    world->layer = layer;
    if (layer != NULL) pn_world_attach_companion(world);
    return world;
}

void pn_world_free(World *world) {
    if (world == NULL) return;
    if (world->companion != NULL) munmap(world->companion, PN_COMPANION_BYTES);
    pn_mem_free(world);
}

void pn_world_attach_companion(World *world) {
    if (world->companion != NULL) return;
    world->companion = pn_zero_pages(PN_COMPANION_BYTES, true);
    if (world->companion != NULL) world->site_base = (uintptr_t)world->companion - 8 * PN_CODE_AREA;
}

PnStatus pn_behavior_changed(WorkerVm *vm) {
    WorkerMore *more = pn_more(vm);
    if (more->own_world != NULL) renew_world(more->own_world);
    else more->own_world = pn_world_new(NULL);
    if (more->own_world == NULL) return PN_NO_MEMORY;
    more->behavior_changed = true;
    vm->world = more->own_world;
    vm->site_base = vm->world->site_base;
    vm->world_key = vm->world->id << 24;
    return PN_OK;
}
