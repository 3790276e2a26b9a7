// heap/verify_worker.c: checks of what is private to one worker: its heap, remembered set, stack, Code records.
//
// Order matters: each check may rely on those before it in the table at the end, and on all of verify_layers.c.
#include "heap/verify_int.h"

static bool is_old(const Extent *e) { return e->kind == EXTENT_OLD; }
static bool is_young(const Extent *e) { return e->kind == EXTENT_YOUNG; }
static bool is_code_segment(const Extent *e) { return e->kind == EXTENT_LAYER && e->start == e->layer->code.start; }
static bool is_private(const Extent *e) { return extent_is_private(e); }

// ---- Y1, Y2, G4: the young block --------------------------------------------------------------------

bool pn_verify_young_bounds(Verify *v) {
    const WorkerVm *vm = v->vm;
    const uint64_t *end = vm->young_start + vm->young_bytes / 8;
    if (vm->young_start > vm->age_mark || vm->age_mark > vm->next || vm->limit > end)
        return pn_verify_fails(v, "Y1", "young block %p to %p, age mark %p, next %p, limit %p", (void *)vm->young_start,
                               (const void *)end, (void *)vm->age_mark, (void *)vm->next, (void *)vm->limit);
    if (vm->next <= vm->limit && vm->next <= end) return true;
    return pn_verify_fails(v, "G4", "eden's next word %p is behind its limit %p", (void *)vm->next, (void *)vm->limit);
}

static bool is_marking(const WorkerVm *vm) { return vm->store_mask == PN_STORE_MASK_MARKING; }

static bool verify_store_test(Verify *v) {
    const WorkerVm *vm = v->vm;
    if (vm->store_mask == PN_STORE_MASK && vm->store_want == PN_STORE_WANT) return true;
    if (is_marking(vm) && vm->store_want == PN_STORE_WANT_MARKING) return true;
    return pn_verify_fails(v, "Y2", "the store test is (header & %#x) == %#x", vm->store_mask, vm->store_want);
}

// An object that begins below the age mark has survived; none lies across it.
static bool verify_age_mark(Verify *v) {
    const WorkerVm *vm = v->vm;
    uint64_t *p = vm->young_start;
    while (p < vm->age_mark) p = oop_end(oop_from_start(p));
    return p == vm->age_mark || pn_verify_fails(v, "G4", "an object lies across the age mark %p", (void *)vm->age_mark);
}

// ---- O3, H3: references -----------------------------------------------------------------------------

static bool verify_value(Verify *v, Ref r, const char *where, unsigned long which, uint64_t holder) {
    VerifyRef found = pn_verify_ref(v, r);
    if (!found.is_value)
        return pn_verify_fails(v, "O3", "%s %lu of %#lx is %#lx", where, which, (unsigned long)holder,
                               (unsigned long)r.bits);
    if (!found.is_object || found.target != NULL) return true;
    return pn_verify_fails(v, "H3", "%s %lu of %#lx refers to %#lx, where no object of this worker is", where, which,
                           (unsigned long)holder, (unsigned long)r.bits);
}

static bool verify_private_object(Verify *v, const Extent *e, Oop o) {
    (void)e;
    size_t slots = pn_min(pn_value_slots(o), pn_max(oop_slot_count(o), 1));
    for (size_t i = 0; i < slots; i++)
        if (!verify_value(v, oop_slot(o, i), "slot", i, o.bits)) return false;
    return true;
}

static bool verify_private_references(Verify *v) { return pn_verify_each(v, is_private, verify_private_object); }

static bool verify_root(Verify *v, Ref r, const char *name, unsigned long which) {
    return ref_is_none(r) || verify_value(v, r, name, which, 0);
}

static bool verify_rare_roots(Verify *v, const WorkerMore *more) {
    unsigned long number = 0;
    for (const Root *root = more->roots; root != NULL; root = root->prev)
        if (!verify_root(v, root->ref, "root", number++)) return false;
    for (size_t i = 0; i < more->obsolete_count; i++)
        if (!verify_root(v, more->obsolete[i].class_ref, "obsolete class", more->obsolete[i].index)) return false;
    for (size_t i = 0; i < more->own_index_count; i++)
        if (!verify_root(v, pn_class_table[more->own_indices[i]], "class", more->own_indices[i])) return false;
    return true;
}

static bool verify_roots(Verify *v) {
    const WorkerVm *vm = v->vm;
    return verify_root(v, vm->nil, "nil", 0) && verify_root(v, vm->special_objects, "special objects", 0) &&
           verify_root(v, vm->result, "result", 0) && (vm->more == NULL || verify_rare_roots(v, vm->more));
}

// ---- G1, G2, G3: generations -------------------------------------------------------------------------

static bool verify_young_header(Verify *v, const Extent *e, Oop o) {
    (void)e;
    uint64_t h = oop_header(o);
    if ((h & PN_HDR_REMEMBERED) == 0)
        return pn_verify_fails(v, "G1", "the young object %#lx is not born remembered", (unsigned long)o.bits);
    return (h & PN_HDR_MARKED) == 0 ||
           pn_verify_fails(v, "G3", "the young object %#lx is marked", (unsigned long)o.bits);
}

static bool verify_young_headers(Verify *v) { return pn_verify_each(v, is_young, verify_young_header); }

static int by_bits(const void *a, const void *b) {
    const Oop *x = a, *y = b;
    return (x->bits > y->bits) - (x->bits < y->bits);
}

// The remembered set as a sorted array, to be freed; NULL with *count 0 if it is empty.
static Oop *sorted_remembered(const RememberedSet *set, size_t *count) {
    *count = 0;
    for (const RememberedChunk *c = set == NULL ? NULL : set->chunks; c != NULL; c = c->next) *count += c->count;
    if (*count == 0) return NULL;
    Oop *all = pn_mem_alloc(*count * sizeof *all);
    PN_CHECK(all != NULL, "no memory to verify the heap");
    size_t at = 0;
    for (const RememberedChunk *c = set->chunks; c != NULL; c = c->next)
        for (uint32_t i = 0; i < c->count; i++) all[at++] = c->entries[i];
    qsort(all, *count, sizeof *all, by_bits);
    return all;
}

static bool verify_remembered_entries(Verify *v, const Oop *all, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const Extent *e = pn_verify_object(v, all[i].bits);
        const char *wrong = NULL;
        if (e == NULL || !is_old(e)) wrong = "is no old object";
        else if ((oop_header(all[i]) & PN_HDR_REMEMBERED) == 0) wrong = "does not have the bit";
        else if (i > 0 && all[i].bits == all[i - 1].bits) wrong = "is there twice";
        if (wrong != NULL)
            return pn_verify_fails(v, "G1", "%#lx in the remembered set %s", (unsigned long)all[i].bits, wrong);
    }
    return true;
}

// All entries have the bit, so there is an old object with the bit that is no entry if and only if there are more of
// them.
static bool verify_remembered(Verify *v) {
    const RememberedSet *set = v->vm->remembered;
    size_t count, bits = 0;
    Oop *all = sorted_remembered(set, &count);
    bool holds = verify_remembered_entries(v, all, count);
    pn_mem_free(all);
    if (!holds) return false;
    for (size_t i = 0; i < v->count; i++) {
        const Extent *e = &v->extents[i];
        for (size_t word = 0; is_old(e) && word < (e->end - e->start) / 8; word++)
            bits += (e->heads[word / 64] >> word % 64 & 1) != 0 &&
                    (*(uint64_t *)(e->start + 8 * word) & PN_HDR_REMEMBERED);
    }
    if (bits == count && count == (set == NULL ? 0 : set->count)) return true;
    return pn_verify_fails(v, "G1", "%zu old objects have the remembered bit, the set has %zu entries, %zu counted",
                           bits, count, set == NULL ? 0 : set->count);
}

static bool verify_old_object(Verify *v, const Extent *e, Oop o) {
    (void)e;
    uint64_t h = oop_header(o);
    if ((h & PN_HDR_MARKED) && v->vm->old->birth_bits == 0)
        return pn_verify_fails(v, "G3", "the old object %#lx is marked", (unsigned long)o.bits);
    if (h & PN_HDR_REMEMBERED) return true;
    size_t slots = pn_value_slots(o);
    for (size_t i = 0; i < slots; i++)
        if (ref_is_young(v->vm, oop_slot(o, i)))
            return pn_verify_fails(v, "G2", "slot %zu of the old object %#lx refers to the young %#lx, not remembered",
                                   i, (unsigned long)o.bits, (unsigned long)oop_slot(o, i).bits);
    return true;
}

static bool verify_copies_are_old(Verify *v) {
    const Overlay *o = v->vm->overlay;
    for (size_t at = 0; o != NULL && at <= o->mask; at++)
        if (o->entries[2 * at] != 0 && ref_is_young(v->vm, (Ref){o->entries[2 * at + 1]}))
            return pn_verify_fails(v, "G2", "what stands for %#lx is young", (unsigned long)o->entries[2 * at]);
    return true;
}

static bool verify_generations(Verify *v) {
    return pn_verify_each(v, is_old, verify_old_object) && verify_copies_are_old(v);
}

// ---- C1-C4: Code records, site words --------------------------------------------------------------------

// Whether code is the address of a Code record that this worker may run.
static bool code_is_known(const WorkerVm *vm, const Code *code) {
    for (const Code *c = vm->more == NULL ? NULL : vm->more->codes; c != NULL; c = c->next)
        if (c == code) return true;
    return pn_code_is_layer_record(code) && pn_layer_of(vm->layer, code->method.bits) != NULL;
}

static bool bytecodes_are_in_place(const Code *code) {
    uint64_t at = (uint64_t)(uintptr_t)code->bytecodes;
    return at - PN_CODE_AREA < PN_CODE_AREA_BYTES && code->bytecode_count <= PN_CODE_AREA + PN_CODE_AREA_BYTES - at;
}

static bool verify_code(Verify *v, const Code *code) {
    if ((uintptr_t)code % sizeof(Code) != 0 || !bytecodes_are_in_place(code))
        return pn_verify_fails(v, "C1", "Code %p has its bytecodes at %p", (const void *)code,
                               (const void *)code->bytecodes);
    if (!verify_value(v, code->method, "method of Code", 0, (uint64_t)(uintptr_t)code)) return false;
    if (!verify_root(v, code->selector, "selector of Code", 0)) return false;
    Oop method = ref_raw(code->method);
    bool is_code = !oop_is_immediate(method) && oop_is_code(method);
    if (is_code && code->literals == oop_slots(method) + 1) return true;
    return pn_verify_fails(v, "C2", "Code %p of %#lx has its literals at %p", (const void *)code,
                           (unsigned long)method.bits, (void *)code->literals);
}

static bool verify_codes(Verify *v) {
    for (const Code *c = v->vm->more == NULL ? NULL : v->vm->more->codes; c != NULL; c = c->next)
        if (!verify_code(v, c)) return false;
    return true;
}

// A site word of the worker's world, at the pc after a send. Other workers of a layer's world may be writing it: once.
static bool verify_site(Verify *v, const World *world, const uint8_t *pc) {
    uint64_t word = __atomic_load_n((const uint64_t *)(world->site_base + 8 * (uintptr_t)pc), __ATOMIC_ACQUIRE);
    if (word == 0) return true;
    uint64_t cell = (word & ~(uint64_t)PN_CLASS_KEY_MASK) >> 17;
    const Code *code = code_of_cell((const PnCell *)(uintptr_t)cell);
    uint32_t index = (uint32_t)word & PN_MAX_CLASS_INDEX;
    bool is_entry = cell % sizeof(Code) == offsetof(Code, plain) || cell % sizeof(Code) == offsetof(Code, shared);
    if (!is_entry || !code_is_known(v->vm, code) || ref_is_none(pn_class_table[index]))
        return pn_verify_fails(v, "C3", "the site word of pc %p is %#lx: class %u, entry %#lx", (const void *)pc,
                               (unsigned long)word, index, (unsigned long)cell);
    bool is_layers = (uint64_t)(uintptr_t)pc - PN_LAYER_CODE <= PN_LAYER_CODE_BYTES && world->layer != NULL;
    if (!is_layers || (code->owner == NULL && ref_is_shared(pn_class_table[index]))) return true;
    return pn_verify_fails(v, "C4", "the site word of pc %p in a layer names class %u and Code %p, private ones",
                           (const void *)pc, index, (const void *)code);
}

static bool verify_sites_between(Verify *v, const uint8_t *start, size_t count) {
    const World *world = v->vm->world;
    for (size_t i = 1; i <= count; i++)
        if (!verify_site(v, world, start + i)) return false;
    return true;
}

static bool verify_layer_sites(Verify *v, const Extent *e, Oop o) {
    if (!oop_is_code(o)) return true;
    size_t first = 8 * pn_value_slots(o), bytes = oop_byte_count(o);
    (void)e;
    return first >= bytes || verify_sites_between(v, oop_bytes(o) + first, bytes - first);
}

static bool verify_sites(Verify *v) {
    const WorkerVm *vm = v->vm;
    if (vm->world == NULL || vm->world->companion == NULL) return true;
    for (const Code *c = vm->more == NULL ? NULL : vm->more->codes; c != NULL; c = c->next)
        if (!verify_sites_between(v, c->bytecodes, c->bytecode_count)) return false;
    return pn_verify_each(v, is_code_segment, verify_layer_sites);
}

// ---- S1-S5: the stack ----------------------------------------------------------------------------------

typedef struct ChunkUse {
    const Ref *sp, *fp;
    const Link *cp;
} ChunkUse;

static ChunkUse use_of(const WorkerVm *vm, const StackChunk *c) {
    return c == vm->chunk ? (ChunkUse){vm->sp, vm->fp, vm->cp} : (ChunkUse){c->saved_sp, c->saved_fp, c->saved_cp};
}

static bool verify_chunk_bounds(Verify *v, StackChunk *c) {
    ChunkUse use = use_of(v->vm, c);
    const Ref *base = chunk_base(c), *limit = (const Ref *)(const void *)use.cp;
    bool holds = (char *)c->end == (char *)c + c->bytes && use.sp >= base && use.sp <= limit && use.fp >= base &&
                 use.fp <= use.sp && use.cp <= c->end;
    if (holds) return true;
    return pn_verify_fails(v, "S1", "stack chunk %p of %u bytes: operands to %p, frame at %p, links from %p to %p",
                           (void *)c, c->bytes, (const void *)use.sp, (const void *)use.fp, (const void *)use.cp,
                           (void *)c->end);
}

static bool verify_operands(Verify *v, StackChunk *c) {
    ChunkUse use = use_of(v->vm, c);
    for (const Ref *at = chunk_base(c); at < use.sp; at++) {
        VerifyRef r = pn_verify_ref(v, *at);
        if (!r.is_value || (r.is_object && r.target == NULL))
            return pn_verify_fails(v, "S1", "operand %zu of stack chunk %p is %#lx", (size_t)(at - chunk_base(c)),
                                   (void *)c, (unsigned long)at->bits);
        if (c->is_clean && c != v->vm->chunk && ref_is_young(v->vm, *at))
            return pn_verify_fails(v, "G2", "the clean stack chunk %p refers to the young %#lx", (void *)c,
                                   (unsigned long)at->bits);
    }
    return true;
}

static bool verify_oldest_link(Verify *v, const StackChunk *c) {
    ChunkUse use = use_of(v->vm, c);
    if (use.cp == c->end && c == v->vm->chunk && c->prev == NULL) return true; // no process
    const Link *oldest = c->end - 1;
    uint32_t wanted = c->prev == NULL ? PN_LINK_BASE : PN_LINK_UNDERFLOW;
    bool holds = use.cp < c->end && (oldest->flags & (PN_LINK_BASE | PN_LINK_UNDERFLOW)) == wanted &&
                 oldest->pc == pn_trap_bytecode && oldest->code == NULL;
    if (!holds)
        return pn_verify_fails(v, "S5", "the oldest link of stack chunk %p has flags %#x, pc %p, code %p",
                               (const void *)c, oldest->flags, (const void *)oldest->pc, (void *)oldest->code);
    const StackChunk *prev = c->prev;
    uint64_t position = prev == NULL ? 0 : prev->position + (uint64_t)(prev->end - prev->saved_cp);
    if (c->position == position) return true;
    return pn_verify_fails(v, "S5", "stack chunk %p counts %lu older links instead of %lu", (const void *)c,
                           (unsigned long)c->position, (unsigned long)position);
}

static bool pc_is_in(const Code *code, const uint8_t *pc) {
    return (pc >= code->bytecodes && pc <= code->bytecodes + code->bytecode_count) || pc == pn_parked_pc;
}

// The links of a chunk but its oldest one, newest first: distances, codes, where they go on.
static bool verify_link(Verify *v, const StackChunk *c, const Link *link, const Ref *fp, const Ref *sp) {
    const WorkerVm *vm = v->vm;
    const Ref *base = chunk_base((StackChunk *)(uintptr_t)c);
    if (link->flags & (PN_LINK_BASE | PN_LINK_UNDERFLOW) || !code_is_known(vm, link->code))
        return pn_verify_fails(v, "S5", "link %p has flags %#x and code %p in the middle of its chunk",
                               (const void *)link, link->flags, (void *)link->code);
    size_t temps = link->code->temp_count + (link->code->is_block ? 1u : 0u);
    if (fp <= base || fp + temps > sp)
        return pn_verify_fails(v, "S2", "the frame of link %p has %zu temps at %p, its operands end at %p",
                               (const void *)link, temps, (const void *)fp, (const void *)sp);
    if (link->fp_delta % 8 != 0 || link->fp_delta > (size_t)((const char *)fp - (const char *)base))
        return pn_verify_fails(v, "S3", "link %p puts its caller's frame %u bytes below %p", (const void *)link,
                               link->fp_delta, (const void *)fp);
    bool is_top = link == vm->cp && c == vm->chunk;
    const uint8_t *pc = is_top ? vm->pc : pn_link_pc(vm, link);
    if (pc_is_in(link->code, pc)) return true;
    return pn_verify_fails(v, "S4", "link %p goes on at %p, outside its code %p", (const void *)link, (const void *)pc,
                           (void *)link->code);
}

static bool verify_links(Verify *v, const StackChunk *c) {
    ChunkUse use = use_of(v->vm, c);
    const Ref *fp = use.fp, *sp = use.sp;
    for (const Link *link = use.cp; link < c->end - 1; link++) {
        if (!verify_link(v, c, link, fp, sp)) return false;
        sp = fp - 1;
        fp = (const Ref *)(const void *)((const char *)fp - link->fp_delta);
        if (fp > sp)
            return pn_verify_fails(v, "S3", "link %p puts its caller's frame above its own receiver",
                                   (const void *)link);
    }
    return true;
}

static bool verify_marriages(Verify *v, const StackChunk *c) {
    for (const Link *link = use_of(v->vm, c).cp; link < c->end; link++) {
        if ((link->flags & (PN_LINK_MARRIED | PN_LINK_BASE)) == 0) continue;
        if (!verify_root(v, link->aux, "context of link", (unsigned long)(uintptr_t)link)) return false;
        if (c->is_clean && c != v->vm->chunk && ref_is_young(v->vm, link->aux))
            return pn_verify_fails(v, "G2", "the clean stack chunk %p refers to a young context", (const void *)c);
    }
    return true;
}

static bool verify_stack(Verify *v) {
    for (StackChunk *c = v->vm->chunk; c != NULL; c = c->prev)
        if (!verify_chunk_bounds(v, c) || !verify_oldest_link(v, c) || !verify_operands(v, c) || !verify_links(v, c) ||
            !verify_marriages(v, c))
            return false;
    return true;
}

// A block's frame has its closure behind its temps.
static bool verify_closures(Verify *v) {
    for (FrameWalk w = pn_frames(v->vm); w.link != NULL; pn_frame_next(&w)) {
        if (!w.link->code->is_block) continue;
        Oop closure = pn_current(v->vm, w.fp[w.link->code->temp_count]);
        if (!oop_is_immediate(closure) && oop_class_index(closure) == PN_CLASS_FULL_BLOCK_CLOSURE) continue;
        return pn_verify_fails(v, "S2", "the block's frame of link %p has %#lx for its closure", (void *)w.link,
                               (unsigned long)closure.bits);
    }
    return true;
}

static bool verify_trap(Verify *v) {
    const WorkerVm *vm = v->vm;
    bool is_met = vm->trap.link == NULL;
    for (FrameWalk w = pn_frames(v->vm); w.link != NULL; pn_frame_next(&w)) {
        is_met |= w.link == vm->trap.link;
        // The top frame goes on at vm->pc; its link holds what an earlier frame left there.
        if (w.link != vm->cp && w.link != vm->trap.link && w.link->pc == pn_trap_bytecode)
            return pn_verify_fails(v, "S4", "the trap is planted at link %p, unknown to the worker", (void *)w.link);
    }
    if (is_met && (vm->trap.link == NULL || vm->trap.link->pc == pn_trap_bytecode)) return true;
    return pn_verify_fails(v, "S4", "the trap should be at link %p", (void *)vm->trap.link);
}

// ---- H5, H9: receivers -----------------------------------------------------------------------------------

static size_t named_slots(Oop receiver) {
    if (oop_is_immediate(receiver)) return 0;
    uint32_t shape = pn_class_shapes[oop_class_index(receiver)];
    size_t slots = oop_slot_count(receiver);
    return shape == 0 ? slots : pn_min(slots, class_format_slots((int64_t)shape - 1));
}

static bool verify_receivers(Verify *v) {
    WorkerVm *vm = v->vm;
    bool is_above_trap = true;
    for (FrameWalk w = pn_frames(vm); w.link != NULL; pn_frame_next(&w)) {
        is_above_trap &= w.link != vm->trap.link;
        Oop receiver = pn_current(vm, w.fp[-1]);
        if (is_above_trap && w.fp[-1].bits != receiver.bits)
            return pn_verify_fails(v, "H5", "link %p runs on %#lx, which means %#lx", (void *)w.link,
                                   (unsigned long)w.fp[-1].bits, (unsigned long)receiver.bits);
        if (w.link->code->slot_limit > named_slots(receiver))
            return pn_verify_fails(v, "H9", "link %p touches %u slots of %#lx, which has %zu", (void *)w.link,
                                   w.link->code->slot_limit, (unsigned long)receiver.bits, named_slots(receiver));
    }
    return true;
}

const VerifyCheck pn_verify_worker_checks[] = {
    verify_store_test,
    verify_age_mark,
    verify_private_references,
    verify_roots,
    verify_young_headers,
    verify_remembered,
    verify_generations,
    verify_codes,
    verify_stack,
    verify_closures,
    verify_trap,
    verify_receivers,
    verify_sites,
    NULL,
};
