/* Whippet's interface on mallocgc.h, as a back end of it would be: what each of its operations is here. The embedder
 * gives trace_object and trace_roots. Counted by the test that builds it. */

#ifndef WHIPPET_H
#define WHIPPET_H

#include <mallocgc.h>
#include <stdlib.h>
#include <string.h>

enum gc_kind { GC_TAGGED, GC_TAGGED_POINTERLESS, GC_UNTAGGED_POINTERLESS, GC_UNTAGGED_CONSERVATIVE };
enum { GC_KINDS = 4, GC_GRANULE = 16, GC_FAST_MAX = 512, GC_SITES = GC_FAST_MAX / GC_GRANULE + 1 };

struct gc_edge { mallocgc_tracer *tracer; mallocgc_visitor *visitor; };
static void trace_object(void *object, struct gc_edge edge);
static void trace_roots(void *roots, struct gc_edge edge);

struct gc_heap {
    mallocgc_heap *heap;
    const mallocgc_layout *layouts[GC_KINDS], *links;
    mallocgc_site *sites[GC_KINDS][GC_SITES];
    void (*on_finalizable)(struct gc_heap *, size_t);
    void (*on_event)(void *, const mallocgc_event *);
    void *roots, *event_data;
};
struct gc_mutator { mallocgc_mutator *mutator; struct gc_heap *heap; void *roots; };
struct gc_options { mallocgc_config config; };
struct gc_ephemeron { void *pair; struct gc_ephemeron *next; };
struct gc_finalizer { void *object, *closure; };

static inline void gc_visit(struct gc_edge edge, const void *reference) {
    edge.tracer ? mallocgc_trace(edge.tracer, reference) : mallocgc_visit(edge.visitor, reference);
}
static void gc_trace_tagged(void *object, size_t size, mallocgc_tracer *tracer) {
    struct gc_edge edge = {tracer, NULL};
    (void)size;
    trace_object(object, edge);
}
static void gc_visit_roots(mallocgc_visitor *visitor, void *place) {
    struct gc_edge edge = {NULL, visitor};
    if (*(void **)place) trace_roots(*(void **)place, edge);
}
static void gc_event(void *data, const mallocgc_event *event) {
    struct gc_heap *heap = (struct gc_heap *)data;
    if (heap->on_event) heap->on_event(heap->event_data, event);
}

/* Options: fixed, growable and adaptive heaps by what may be collected when. */
static inline int gc_option_set(struct gc_options *options, const char *name, uint64_t value) {
    if (!strcmp(name, "heap-size")) options->config.heap_limit_bytes = value;
    else if (!strcmp(name, "maximum-heap-size")) options->config.memory_limit_bytes = value;
    else if (!strcmp(name, "heap-size-multiplier")) options->config.gc_percent = (int64_t)value - 100;
    else if (!strcmp(name, "parallelism")) options->config.workers = (uint32_t)value;
    else return 0;
    return 1;
}
static inline int gc_attach(struct gc_heap *heap, const void *base, struct gc_mutator **mutator) {
    struct gc_mutator *made = (struct gc_mutator *)calloc(1, sizeof *made);
    made->heap = heap;
    *mutator = made;
    return !mallocgc_attach(heap->heap, &made->mutator) &&
           !mallocgc_set_roots(made->mutator, gc_visit_roots, &made->roots) &&
           !mallocgc_scan_own_stack(made->mutator, base);
}
static inline int gc_init(const struct gc_options *options, const void *base, struct gc_heap **heap,
                          struct gc_mutator **mutator, void (*on_event)(void *, const mallocgc_event *),
                          void *data) {
    struct gc_heap *made = *heap = (struct gc_heap *)calloc(1, sizeof *made);
    uint64_t both = 3, id;
    made->on_event = on_event, made->event_data = data;
    if (mallocgc_heap_new(options ? &options->config : NULL, &made->heap) ||
        mallocgc_set_cycle_listener(made->heap, gc_event, made) ||
        mallocgc_roots_add(made->heap, gc_visit_roots, &made->roots, &id) ||
        mallocgc_layout_mask(made->heap, 2, &both, &made->links) ||
        mallocgc_layout_trace(made->heap, 8, 0, gc_trace_tagged, &made->layouts[GC_TAGGED]) ||
        mallocgc_layout_conservative(made->heap, 8, &made->layouts[GC_UNTAGGED_CONSERVATIVE]) ||
        !gc_attach(made, base, mutator)) return 0;
    for (int kind = 0; kind < GC_KINDS; kind++)
        for (size_t size = 1; size < GC_SITES; size++)
            if (mallocgc_site_new((*mutator)->mutator, made->layouts[kind], size * GC_GRANULE,
                                  &made->sites[kind][size])) return 0;
    return 1;
}
static inline struct gc_mutator *gc_init_for_thread(const void *base, struct gc_heap *heap) {
    struct gc_mutator *mutator;
    return gc_attach(heap, base, &mutator) ? mutator : NULL;
}
static inline void gc_finish_for_thread(struct gc_mutator *mutator) {
    mallocgc_detach(mutator->mutator);
    free(mutator);
}
static inline void gc_finish(struct gc_heap *heap) {
    for (int kind = 0; kind < GC_KINDS; kind++)
        for (int size = 0; size < GC_SITES; size++) mallocgc_site_free(heap->sites[kind][size]);
    mallocgc_heap_free(heap->heap);
    free(heap);
}
static inline void gc_mutator_set_roots(struct gc_mutator *mutator, void *roots) { mutator->roots = roots; }
static inline void gc_heap_set_roots(struct gc_heap *heap, void *roots) { heap->roots = roots; }

static inline void *gc_allocate_slow(struct gc_mutator *mutator, size_t bytes, enum gc_kind kind) {
    return mallocgc_alloc(mutator->mutator, mutator->heap->layouts[kind], bytes, MALLOCGC_FLAGS_SAFEPOINT);
}
static inline void *gc_allocate_fast(struct gc_mutator *mutator, size_t bytes, enum gc_kind kind) {
    return mallocgc_fast_alloc(mutator->mutator, mutator->heap->sites[kind][(bytes + GC_GRANULE - 1) / GC_GRANULE]);
}
static inline void *gc_allocate(struct gc_mutator *mutator, size_t bytes, enum gc_kind kind) {
    if (bytes - 1 >= GC_FAST_MAX) return gc_allocate_slow(mutator, bytes, kind);
    mallocgc_fast_poll(mutator->mutator);
    void *made = gc_allocate_fast(mutator, bytes, kind);
    return made ? made : gc_allocate_slow(mutator, bytes, kind);
}
static inline void gc_write_barrier(struct gc_mutator *mutator, void **slot) {
    mallocgc_fast_pre_write(mutator->mutator, slot);
}
static inline void gc_safepoint(struct gc_mutator *mutator) { mallocgc_fast_poll(mutator->mutator); }
static inline void gc_collect(struct gc_mutator *mutator) {
    mallocgc_gc(mutator->mutator, MALLOCGC_FORCE_NOW_AND_SWEEP);
}
static inline void gc_call_without_gc(struct gc_mutator *mutator, void (*function)(void *), void *data) {
    mallocgc_blocking(mutator->mutator, function, data);
}
static inline void gc_pin_object(struct gc_mutator *mutator, void *object) { (void)mutator, (void)object; }
static inline void *gc_resolve_conservative(struct gc_heap *heap, uintptr_t word) {
    void *base = NULL;
    return mallocgc_find_object(heap->heap, (void *)word, &base, NULL) ? NULL : base;
}

static inline struct gc_ephemeron *gc_allocate_ephemeron(struct gc_mutator *mutator) {
    return (struct gc_ephemeron *)mallocgc_alloc(mutator->mutator, mutator->heap->links, 16, MALLOCGC_FLAGS_SAFEPOINT);
}
static inline int gc_ephemeron_init(struct gc_mutator *mutator, struct gc_ephemeron *ephemeron, void *key, void *value) {
    mallocgc_fast_write(mutator->mutator, &ephemeron->pair, mallocgc_ephemeron_new(mutator->mutator, key, value));
    return ephemeron->pair != NULL;
}
static inline void *gc_ephemeron_key(struct gc_mutator *mutator, const struct gc_ephemeron *ephemeron) {
    return mallocgc_ephemeron_key(mutator->mutator, ephemeron->pair);
}
static inline void *gc_ephemeron_value(struct gc_mutator *mutator, const struct gc_ephemeron *ephemeron) {
    return mallocgc_ephemeron_value(mutator->mutator, ephemeron->pair);
}
static inline void gc_ephemeron_mark_dead(struct gc_mutator *mutator, struct gc_ephemeron *ephemeron) {
    mallocgc_ephemeron_clear(mutator->mutator, ephemeron->pair);
}
static inline struct gc_ephemeron *gc_ephemeron_chain_head(struct gc_mutator *mutator, struct gc_ephemeron **place) {
    while (*place && !gc_ephemeron_key(mutator, *place))
        mallocgc_fast_write(mutator->mutator, (void **)place, (*place)->next);
    return *place;
}
static inline struct gc_ephemeron *gc_ephemeron_chain_next(struct gc_mutator *mutator, struct gc_ephemeron *ephemeron) {
    return gc_ephemeron_chain_head(mutator, &ephemeron->next);
}
static inline void gc_ephemeron_chain_push(struct gc_mutator *mutator, struct gc_ephemeron **place, struct gc_ephemeron *made) {
    mallocgc_fast_write(mutator->mutator, (void **)&made->next, *place);
    mallocgc_fast_write(mutator->mutator, (void **)place, made);
}

/* A finalizer is an object with a closure; a root keeps it until it is popped. */
static void gc_finalizer_is_popped(mallocgc_mutator *m, void *object, void *root) { (void)m, (void)object, (void)root; }
static inline struct gc_finalizer *gc_allocate_finalizer(struct gc_mutator *mutator) {
    return (struct gc_finalizer *)mallocgc_alloc(mutator->mutator, mutator->heap->links, 16, MALLOCGC_FLAGS_SAFEPOINT);
}
static inline int gc_finalizer_attach(struct gc_mutator *mutator, struct gc_finalizer *finalizer, unsigned priority,
                                      void *object, void *closure) {
    mallocgc_root *root;
    mallocgc_fast_write(mutator->mutator, &finalizer->closure, closure);
    return !mallocgc_root_new(mutator->heap->heap, finalizer, &root) &&
           !mallocgc_finalizer_set(mutator->mutator, object, priority, gc_finalizer_is_popped, root);
}
static inline struct gc_finalizer *gc_pop_finalizable(struct gc_mutator *mutator) {
    void *object, *root;
    if (mallocgc_finalizer_pop(mutator->mutator, &object, NULL, &root)) return NULL;
    struct gc_finalizer *finalizer = (struct gc_finalizer *)mallocgc_root_get((mallocgc_root *)root);
    mallocgc_fast_write(mutator->mutator, &finalizer->object, object);
    mallocgc_root_free((mallocgc_root *)root);
    return finalizer;
}

#endif
