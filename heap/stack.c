// heap/stack.c: the stack of a worker: chunks that grow, walking frames, the return trap.
//
// Owns: StackChunks, vm->chunk and vm->trap, and while the loop is away the registers vm->pc, sp, fp, cp.
// Called by the interpreter when a frame does not fit or the trap is met, by copy on write, by collectors that walk
// frames.
// Nothing here collects. Invariants: S1-S5 (heap/worker.h), H5 (heap/heap.h).
//
// Note [Chunks]. A chunk grows by copying into one twice its size, up to PN_STACK_COPY_LIMIT; frames hold distances, so
// nothing in them changes but addresses kept outside: registers and trap. Then a new chunk is linked. Receiver and
// arguments of the callee move to its base; its oldest link is the underflow link, which stands for the caller's
// frame there: operands from base, fp at base, pc the trap. A return into it leaves the result at base, and
// pn_stack_underflow carries that over.
// The first chunk lies in the worker's block; it lies idle while a larger one has taken its place, and serves again
// after a reset.
#include "heap/heap_int.h"

#define PN_TRAP 217 // a bytecode that no method contains

const uint8_t pn_trap_bytecode[8] = {PN_TRAP, PN_TRAP, PN_TRAP, PN_TRAP, PN_TRAP, PN_TRAP, PN_TRAP, PN_TRAP};

// ---- Chunks -------------------------------------------------------------------------------------

static StackChunk *embedded_chunk(WorkerVm *vm) { return (StackChunk *)(void *)(vm + 1); }

static bool link_is_frame(const StackChunk *chunk, const Link *link) { return link < chunk->end && link->code != NULL; }

static void chunk_init(StackChunk *c, size_t bytes, bool is_embedded, StackChunk *prev) {
    *c = (StackChunk){.prev = prev, .bytes = (uint32_t)bytes, .is_embedded = is_embedded};
    c->end = (Link *)(void *)((char *)c + bytes);
}

static void chunk_free(StackChunk *c) {
    if (c != NULL && !c->is_embedded) pn_mem_free(c);
}

static StackChunk *chunk_new(WorkerVm *vm, size_t bytes, StackChunk *prev) {
    WorkerMore *more = vm->more;
    StackChunk *c = more != NULL ? more->spare_chunk : NULL;
    if (c != NULL && c->bytes == bytes) {
        more->spare_chunk = NULL;
    } else {
        bool is_over = more != NULL && more->memory_limit != 0 && pn_worker_bytes(vm) + bytes > more->memory_limit;
        c = is_over ? NULL : pn_mem_alloc(bytes);
    }
    if (c != NULL) chunk_init(c, bytes, false, prev);
    return c;
}

// An emptied chunk is kept, so that a loop that calls back and forth across its boundary does not allocate each time.
static void chunk_retire(WorkerVm *vm, StackChunk *c) {
    WorkerMore *more = pn_more(vm);
    chunk_free(more->spare_chunk);
    more->spare_chunk = c;
}

static void push_pseudo_link(WorkerVm *vm, PnLinkFlags flag) {
    vm->cp--;
    *vm->cp = (Link){.pc = pn_trap_bytecode, .flags = flag, .aux = vm->nil};
}

static void registers_to_empty_chunk(WorkerVm *vm) {
    vm->sp = vm->fp = chunk_base(vm->chunk);
    vm->cp = vm->chunk->end;
    vm->pc = pn_trap_bytecode;
}

void pn_stack_reset(WorkerVm *vm) {
    vm->trap.link = NULL;
    for (StackChunk *c = vm->chunk, *prev; c != NULL; c = prev) {
        prev = c->prev;
        chunk_free(c);
    }
    if (vm->more != NULL) {
        chunk_free(vm->more->spare_chunk);
        vm->more->spare_chunk = NULL;
    }
    vm->chunk = embedded_chunk(vm);
    chunk_init(vm->chunk, PN_FIRST_STACK_BYTES, true, NULL);
    registers_to_empty_chunk(vm);
}

void pn_stack_begin(WorkerVm *vm) {
    vm->trap.link = NULL;
    registers_to_empty_chunk(vm);
    push_pseudo_link(vm, PN_LINK_BASE);
}

// ---- Growth -------------------------------------------------------------------------------------

static size_t operand_bytes(const WorkerVm *vm) { return (size_t)((char *)vm->sp - (char *)chunk_base(vm->chunk)); }
static size_t link_bytes(const WorkerVm *vm) { return (size_t)((char *)vm->chunk->end - (char *)vm->cp); }

// The newest chunk's contents move to a chunk of so many bytes: operands to its low end, links to its high end.
static bool grow_by_copying(WorkerVm *vm, size_t bytes) {
    StackChunk *from = vm->chunk;
    StackChunk *to = chunk_new(vm, bytes, from->prev);
    if (to == NULL) return false;
    size_t operands = operand_bytes(vm), links = link_bytes(vm);
    to->position = from->position;
    memcpy(chunk_base(to), chunk_base(from), operands);
    memcpy((char *)to->end - links, vm->cp, links);
    if (vm->trap.link >= vm->cp && vm->trap.link < from->end) vm->trap.link = to->end - (from->end - vm->trap.link);
    vm->fp = chunk_base(to) + (vm->fp - chunk_base(from));
    vm->sp = chunk_base(to) + operands / sizeof(Ref);
    vm->cp = (Link *)(void *)((char *)to->end - links);
    vm->chunk = to;
    chunk_free(from);
    return true;
}

static bool grow_by_linking(WorkerVm *vm, size_t bytes, size_t callee_words) {
    StackChunk *from = vm->chunk;
    StackChunk *to = chunk_new(vm, bytes, from);
    if (to == NULL) return false;
    if (link_is_frame(from, vm->cp) && vm->cp != vm->trap.link) vm->cp->pc = vm->pc;
    from->saved_sp = vm->sp - callee_words;
    from->saved_fp = vm->fp;
    from->saved_cp = vm->cp;
    to->position = from->position + (uint64_t)(from->end - vm->cp);
    memcpy(chunk_base(to), from->saved_sp, callee_words * sizeof(Ref));
    vm->chunk = to;
    registers_to_empty_chunk(vm);
    push_pseudo_link(vm, PN_LINK_UNDERFLOW);
    vm->sp += callee_words;
    return true;
}

bool pn_stack_grow(WorkerVm *vm, size_t bytes, size_t callee_words) {
    size_t wanted = bytes + sizeof(Link);
    size_t used = sizeof(StackChunk) + operand_bytes(vm) + link_bytes(vm);
    if (used + wanted <= vm->chunk->bytes) return true;
    size_t doubled = vm->chunk->bytes;
    while (doubled < used + wanted) doubled *= 2;
    if (doubled <= PN_STACK_COPY_LIMIT) return grow_by_copying(vm, doubled);
    size_t linked = PN_STACK_COPY_LIMIT;
    while (linked < sizeof(StackChunk) + callee_words * sizeof(Ref) + sizeof(Link) + wanted) linked *= 2;
    return linked <= UINT32_MAX && grow_by_linking(vm, linked, callee_words);
}

bool pn_stack_reserve(WorkerVm *vm, size_t bytes) {
    size_t wanted = bytes + sizeof(Link);
    size_t used = sizeof(StackChunk) + operand_bytes(vm) + link_bytes(vm);
    size_t doubled = vm->chunk->bytes;
    while (doubled < used + wanted) doubled *= 2;
    return doubled == vm->chunk->bytes || (doubled <= UINT32_MAX && grow_by_copying(vm, doubled));
}

void pn_stack_underflow(WorkerVm *vm) {
    StackChunk *emptied = vm->chunk;
    PN_ASSERT(emptied->prev != NULL && vm->cp->flags & PN_LINK_UNDERFLOW, "the oldest chunk cannot underflow");
    Ref result = vm->sp[-1];
    StackChunk *older = emptied->prev;
    vm->chunk = older;
    vm->sp = older->saved_sp;
    vm->fp = older->saved_fp;
    vm->cp = older->saved_cp;
    vm->pc = vm->cp->pc;
    *vm->sp++ = result;
    older->is_clean = false;
    chunk_retire(vm, emptied);
}

// ---- Walking ------------------------------------------------------------------------------------

// Move w on to the newest frame at or below its link: out of chunks through their underflow links, to NULL at the
// base link.
static void settle(FrameWalk *w) {
    while (w->link < w->chunk->end && w->link->flags & PN_LINK_UNDERFLOW) {
        w->chunk = w->chunk->prev;
        w->link = w->chunk->saved_cp;
        w->fp = w->chunk->saved_fp;
        w->sp = w->chunk->saved_sp;
    }
    if (!link_is_frame(w->chunk, w->link)) w->link = NULL;
}

FrameWalk pn_frames(WorkerVm *vm) {
    FrameWalk w = {.chunk = vm->chunk, .link = vm->cp, .fp = vm->fp, .sp = vm->sp};
    settle(&w);
    return w;
}

void pn_frame_next(FrameWalk *w) {
    w->sp = w->fp - 1;
    w->fp = (Ref *)(void *)((char *)w->fp - w->link->fp_delta);
    w->link++;
    settle(w);
}

// The newest link of a chunk.
static Link *newest_link(const WorkerVm *vm, const StackChunk *c) { return c == vm->chunk ? vm->cp : c->saved_cp; }

Link *pn_link_at(WorkerVm *vm, uint64_t number, StackChunk **chunk) {
    StackChunk *c = vm->chunk;
    while (c != NULL && number <= c->position) c = c->prev;
    if (c == NULL || number - c->position > (uint64_t)(c->end - newest_link(vm, c))) return NULL;
    if (chunk != NULL) *chunk = c;
    return c->end - (number - c->position);
}

uint64_t pn_link_number(WorkerVm *vm, const Link *link) {
    for (StackChunk *c = vm->chunk; c != NULL; c = c->prev)
        if (link >= newest_link(vm, c) && link < c->end) return c->position + (uint64_t)(c->end - link);
    return 0;
}

const uint8_t *pn_link_pc(const WorkerVm *vm, const Link *link) {
    return link == vm->trap.link ? vm->trap.pc : link->pc;
}

// ---- The return trap (Note [Return trap] in heap/worker.h) ----------------------------------------

void pn_trap_lift(WorkerVm *vm) {
    if (vm->trap.link == NULL) return;
    vm->trap.link->pc = vm->trap.pc;
    vm->trap.link = NULL;
}

// In the frame of link; a base link's pc is the trap anyway.
static void plant(WorkerVm *vm, StackChunk *chunk, Link *link) {
    while (link < chunk->end && link->flags & PN_LINK_UNDERFLOW) {
        chunk = chunk->prev;
        link = chunk->saved_cp;
    }
    if (link == vm->trap.link) return;
    pn_trap_lift(vm);
    if (!link_is_frame(chunk, link)) return;
    vm->trap.link = link;
    vm->trap.pc = link->pc;
    link->pc = pn_trap_bytecode;
}

// The receiver is replaced by what it means and nothing more: in copy-everything mode too, else a copy would ask for
// a copy.
void pn_stack_receivers_stale(WorkerVm *vm) {
    Link *below = vm->cp;
    if (link_is_frame(vm->chunk, below)) {
        vm->fp[-1] = ref_of(pn_current(vm, vm->fp[-1]));
        below++;
    }
    plant(vm, vm->chunk, below);
}
