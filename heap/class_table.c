// heap/class_table.c: which class an index denotes, and who may use which index.
//
// Owns: the process-wide table and the shapes beside it; the indices given out at run time, and those that came back.
// The slot of an index is written by its owner only (heap/heap.h), so tables need no lock; giving out indices does.
// Indices below PN_CLASS_FIRST_FREE are fixed, those below PN_FIRST_RUN_INDEX belong to layer files, which claim them.
// Invariants: H7 (heap/heap.h).
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "heap/heap_int.h"

#define PN_INDEX_COUNT ((size_t)PN_MAX_CLASS_INDEX + 1)
#define PN_FIRST_RUN_INDEX UINT32_C(0x100000)
#define PN_SHAPE_MASK UINT32_C(0x1FFFFF) // of a class's format word: named slots and kind

Ref *pn_class_table;
uint32_t *pn_class_shapes;
_Atomic(uint32_t) pn_index_epoch;

static _Atomic(uint32_t) next_index = PN_FIRST_RUN_INDEX; // PN_INDEX_COUNT: none left that was never used

// Indices that came back. They are used again only when all others are gone; then all that wait become available at
// once, and the epoch tells the lookup caches.
static pthread_mutex_t reuse_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t waiting[PN_INDEX_COUNT / 64];   // under reuse_mutex, one bit for each index
static uint64_t available[PN_INDEX_COUNT / 64]; // under reuse_mutex
static size_t available_from;                   // under reuse_mutex: no word below has a bit

PnStatus pn_class_table_init(PnError *error) {
    pn_class_table = pn_zero_pages(PN_INDEX_COUNT * sizeof(Ref), true);
    pn_class_shapes = pn_zero_pages(PN_INDEX_COUNT * sizeof(uint32_t), true);
    if (pn_class_table != NULL && pn_class_shapes != NULL) return PN_OK;
    return pn_error(error, PN_NO_MEMORY, 0, "cannot map the class table: %s", strerror(errno));
}

// ---- Entries ------------------------------------------------------------------------------------
// Relaxed atomics: a hash that is no index may make somebody look at an entry that its owner is just writing. Only who
// has an instance of the class relies on what is there, and whatever brought it the instance has ordered that.

static Ref class_entry(uint32_t index) { return (Ref){__atomic_load_n(&pn_class_table[index].bits, __ATOMIC_RELAXED)}; }
static uint32_t shape_entry(uint32_t index) { return __atomic_load_n(&pn_class_shapes[index], __ATOMIC_RELAXED); }

// release: pairs with whoever takes an index by seeing that its shape is 0 (image/).
static void set_entry(uint32_t index, Ref class_ref, uint32_t shape) {
    __atomic_store_n(&pn_class_table[index].bits, class_ref.bits, __ATOMIC_RELAXED);
    __atomic_store_n(&pn_class_shapes[index], shape, __ATOMIC_RELEASE);
}

// ---- Giving out indices -------------------------------------------------------------------------

static uint32_t take_unused(uint32_t count) {
    uint32_t first = atomic_load_explicit(&next_index, memory_order_relaxed);
    do {
        if (count > PN_INDEX_COUNT - first) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&next_index, &first, first + count, memory_order_relaxed,
                                                    memory_order_relaxed));
    return first;
}

static bool index_is_available(size_t index) { return (available[index / 64] >> index % 64 & 1) != 0; }

static size_t next_available(size_t index) {
    while (index < PN_INDEX_COUNT && !index_is_available(index))
        index = available[index / 64] >> index % 64 == 0 ? pn_round_up(index + 1, 64) : index + 1;
    return index;
}

static size_t run_length(size_t first, size_t limit) {
    size_t length = 0;
    while (length < limit && first + length < PN_INDEX_COUNT && index_is_available(first + length)) length++;
    return length;
}

// Take count consecutive available indices; 0 if there are none.
static uint32_t take_available(uint32_t count) {
    size_t first = next_available(64 * available_from);
    available_from = first / 64;
    while (first < PN_INDEX_COUNT) {
        size_t length = run_length(first, count);
        if (length == count) break;
        first = next_available(first + length);
    }
    if (first >= PN_INDEX_COUNT) return 0;
    for (size_t i = first; i < first + count; i++) available[i / 64] &= ~(UINT64_C(1) << i % 64);
    return (uint32_t)first;
}

static void release_waiting(void) {
    for (size_t word = 0; word < PN_COUNT_OF(waiting); word++) {
        available[word] |= waiting[word];
        waiting[word] = 0;
    }
    available_from = 0;
    // release: pairs with the acquire of a thread that looks whether its lookup cache is too old.
    atomic_fetch_add_explicit(&pn_index_epoch, 1, memory_order_release);
}

static uint32_t take_again(uint32_t count) {
    pthread_mutex_lock(&reuse_mutex);
    uint32_t first = take_available(count);
    if (first == 0) {
        release_waiting();
        first = take_available(count);
    }
    pthread_mutex_unlock(&reuse_mutex);
    return first;
}

uint32_t pn_indices_take(uint32_t count) {
    uint32_t first = take_unused(count);
    return PN_LIKELY(first != 0) ? first : take_again(count);
}

void pn_indices_give(const uint32_t *indices, size_t count) {
    if (count == 0) return;
    pthread_mutex_lock(&reuse_mutex);
    for (size_t i = 0; i < count; i++) {
        uint32_t index = indices[i];
        set_entry(index, PN_NO_REF, 0);
        if (index >= PN_FIRST_RUN_INDEX) waiting[index / 64] |= UINT64_C(1) << index % 64;
    }
    pthread_mutex_unlock(&reuse_mutex);
}

// ---- From index to class ------------------------------------------------------------------------

// What stands for an index that this worker has given another shape; PN_NO_REF if it has not. The one found comes to
// the front: the same class is asked for again and again.
static Ref obsolete_class(WorkerMore *more, uint32_t index) {
    PnIndexShape *all = more->obsolete;
    size_t i = 0;
    while (i < more->obsolete_count && all[i].index != index) i++;
    if (i == more->obsolete_count) return PN_NO_REF;
    PnIndexShape found = all[i];
    all[i] = all[0];
    all[0] = found;
    return found.class_ref;
}

static Ref obsolete_class_of_layer(const Layer *layer, uint32_t index) {
    for (size_t i = 0; i < layer->obsolete_count; i++)
        if (layer->obsolete[i].index == index) return layer->obsolete[i].class_ref;
    return PN_NO_REF;
}

Oop pn_class_at(WorkerVm *vm, uint32_t index) {
    Ref class_ref = PN_NO_REF;
    if (PN_UNLIKELY(vm->more != NULL && vm->more->obsolete_count != 0)) class_ref = obsolete_class(vm->more, index);
    if (PN_UNLIKELY(vm->layer != NULL && vm->layer->obsolete_count != 0) && ref_is_none(class_ref))
        class_ref = obsolete_class_of_layer(vm->layer, index);
    if (ref_is_none(class_ref)) class_ref = class_entry(index);
    return ref_is_none(class_ref) ? PN_NO_OOP : pn_deref(vm, class_ref);
}

Oop pn_class_of(WorkerVm *vm, Oop o) {
    if (oop_is_immediate(o)) return pn_class_at(vm, (uint32_t)(o.bits & PN_TAG_MASK));
    uint32_t index = oop_class_index(o);
    return index != PN_CLASS_LAST_HIDDEN ? pn_class_at(vm, index) : o; // that index: the object is its own class
}

// ---- From class to index ------------------------------------------------------------------------

// What pn_class_shapes says of instances that a class would make now; 0 if it is not a class.
static uint32_t class_shape(Oop class_object) {
    if (oop_is_immediate(class_object) || !oop_is_pointers(class_object)) return 0;
    if (oop_slot_count(class_object) < PN_BEHAVIOR_SLOTS) return 0;
    Ref format = oop_slot(class_object, PN_BEHAVIOR_FORMAT);
    return ref_is_int(format) ? ((uint32_t)ref_int(format) & PN_SHAPE_MASK) + 1 : 0;
}

static bool own_index(const WorkerMore *more, uint32_t index) {
    for (size_t i = 0; i < more->own_index_count; i++)
        if (more->own_indices[i] == index) return true;
    return false;
}

static bool add_own_index(WorkerMore *more, uint32_t index) {
    if (more->own_index_count == more->own_index_capacity) {
        size_t capacity = pn_max(8, 2 * more->own_index_capacity);
        uint32_t *bigger = pn_mem_realloc(more->own_indices, capacity * sizeof *bigger);
        if (bigger == NULL) return false;
        more->own_indices = bigger;
        more->own_index_capacity = capacity;
    }
    more->own_indices[more->own_index_count++] = index;
    return true;
}

PnStatus pn_class_enter(WorkerVm *vm, Oop class_object, uint32_t index) {
    PN_CHECK(!ref_is_shared(ref_of(class_object)), "class at %#lx of a layer entered at index %u",
             (unsigned long)class_object.bits, index);
    bool is_taken = shape_entry(index) != 0 && !ref_same(class_entry(index), ref_of(class_object));
    if (is_taken) return PN_INDEX_CLASH;
    WorkerMore *more = pn_more(vm);
    if (!own_index(more, index) && !add_own_index(more, index)) return PN_NO_MEMORY;
    uint64_t h = oop_header(class_object) & ~PN_HDR_HASH_MASK;
    oop_set_header(class_object, h | (uint64_t)index << PN_HDR_HASH_SHIFT);
    set_entry(index, ref_of(class_object), class_shape(class_object));
    return PN_OK;
}

// A private, old object like class_object, for instances of the shape that index has.
static Oop make_obsolete_clone(WorkerVm *vm, Oop class_object, uint32_t index) {
    size_t slots = oop_slot_count(class_object);
    Oop clone = pn_old_new(vm, oop_class_index(class_object), oop_format(class_object), slots);
    if (oop_is_none(clone)) return clone;
    oop_set_header(clone, (oop_header(clone) & ~PN_HDR_HASH_MASK) | (uint64_t)index << PN_HDR_HASH_SHIFT);
    for (size_t i = 0; i < slots; i++) pn_store(vm, clone, i, oop_slot(class_object, i));
    pn_store(vm, clone, PN_BEHAVIOR_FORMAT, ref_from_int(shape_entry(index) - 1));
    return clone;
}

static bool add_obsolete(WorkerMore *more, uint32_t index, Oop clone) {
    if (!ref_is_none(obsolete_class(more, index))) { // it is in front now
        more->obsolete[0].class_ref = ref_of(clone);
        return true;
    }
    PnIndexShape *bigger = pn_mem_realloc(more->obsolete, (more->obsolete_count + 1) * sizeof *bigger);
    if (bigger == NULL) return false;
    more->obsolete = bigger;
    bigger[more->obsolete_count++] = (PnIndexShape){index, ref_of(clone)};
    return true;
}

// The class goes on under another index: its instances so far belong to a clone of the shape they have (H7).
static bool leave_index(WorkerVm *vm, Oop class_object, uint32_t index) {
    Oop clone = make_obsolete_clone(vm, class_object, index);
    if (oop_is_none(clone)) return false;
    WorkerMore *more = pn_more(vm);
    if (!own_index(more, index)) return add_obsolete(more, index, clone); // others go on with the table's entry
    set_entry(index, ref_of(clone), shape_entry(index));
    return true;
}

static uint32_t index_failed(WorkerVm *vm, uint32_t code) {
    vm->prim_error = code;
    return 0;
}

// A new index for a class that has none, or whose instances shall have another shape than those it has at old_index.
static PN_COLD uint32_t renew_index(WorkerVm *vm, Oop class_object, uint32_t old_index) {
    bool leaves_old = old_index != 0 && shape_entry(old_index) != 0 &&
                      pn_class_at(vm, old_index).bits == class_object.bits;
    if (ref_is_shared(ref_of(class_object)) && pn_make_private(vm, &class_object) != PN_WRITABLE)
        return index_failed(vm, PN_ERROR_NO_MEMORY);
    uint32_t index = pn_indices_take(1);
    if (index == 0) return index_failed(vm, PN_ERROR_LIMIT);
    if ((!leaves_old || leave_index(vm, class_object, old_index)) && pn_class_enter(vm, class_object, index) == PN_OK)
        return index;
    pn_indices_give(&index, 1);
    return index_failed(vm, PN_ERROR_NO_MEMORY);
}

uint32_t pn_class_index(WorkerVm *vm, Oop class_object) {
    uint32_t shape = class_shape(class_object);
    if (PN_UNLIKELY(shape == 0)) return index_failed(vm, PN_ERROR_RECEIVER);
    uint32_t index = hdr_hash(oop_header(class_object));
    // A hash may also be that of an object that became a class later: then the table has another class there, or none.
    if (PN_LIKELY(shape_entry(index) == shape) && (PN_LIKELY(ref_same(class_entry(index), ref_of(class_object))) ||
                                                   pn_class_at(vm, index).bits == class_object.bits))
        return index;
    return renew_index(vm, class_object, index);
}
