/* A runtime on Whippet's interface, which is whippet.h on mallocgc.h: every operation of it. */

#include "check.h"
#include "whippet.h"

/* --- the embedder ------------------------------------------------------------------- */

enum tag { FREE, NODE, VECTOR, QUAD };

/* Every tagged object begins with its tag: one trace function for all kinds. */
struct node {
    uintptr_t tag;
    struct node *left, *right;
};
/* Its elements follow. */
struct vector {
    uintptr_t tag;
    size_t length;
};

static void **elements(struct vector *vector) { return (void **)(void *)(vector + 1); }

static void trace_object(void *object, struct gc_edge edge) {
    switch (*(uintptr_t *)object & 7) {
    case NODE:
        gc_visit(edge, ((struct node *)object)->left);
        gc_visit(edge, ((struct node *)object)->right);
        break;
    case VECTOR:
    case QUAD:
        for (size_t at = 0; at < ((struct vector *)object)->length; at++)
            gc_visit(edge, elements((struct vector *)object)[at]);
        break;
    case FREE: /* Zero: it was not filled in yet. */
        break;
    default:
        fail(__FILE__, __LINE__, "no such tag");
    }
}

struct roots {
    size_t count;
    void *all[64];
};

static void trace_roots(void *roots, struct gc_edge edge) {
    struct roots *mine = (struct roots *)roots;
    for (size_t at = 0; at < mine->count; at++) gc_visit(edge, mine->all[at]);
}

static int seen_begin, seen_end;
static uint64_t live_bytes, stopped_nanos;

static void on_event(void *data, const mallocgc_event *event) {
    CHECK(data == &seen_begin);
    if (event->kind == MALLOCGC_EVENT_KIND_CYCLE_BEGIN) seen_begin++;
    if (event->kind == MALLOCGC_EVENT_KIND_CYCLE_END) {
        seen_end++;
        live_bytes = event->record.live_bytes;
        stopped_nanos += event->record.stopped_nanos;
    }
}

static struct gc_heap *world;
static struct gc_mutator *self;

/* --- trees ---------------------------------------------------------------------- */

static struct node *make_tree(struct gc_mutator *on, int depth) {
    struct node *node = (struct node *)gc_allocate(on, sizeof *node, GC_TAGGED);
    CHECK(node && !node->tag && !node->left);
    node->tag = NODE;
    if (depth) {
        /* Held by this frame of the stack alone. */
        struct node *left = make_tree(on, depth - 1), *right = make_tree(on, depth - 1);
        gc_write_barrier(on, (void **)&node->left);
        __atomic_store_n(&node->left, left, __ATOMIC_RELEASE);
        gc_write_barrier(on, (void **)&node->right);
        __atomic_store_n(&node->right, right, __ATOMIC_RELEASE);
    }
    return node;
}

static int count_nodes(const struct node *node) {
    CHECK(node->tag == NODE);
    return node->left ? 1 + count_nodes(node->left) + count_nodes(node->right) : 1;
}

static void trees(struct gc_mutator *on, int rounds) {
    struct node *kept = make_tree(on, 12);
    for (int round = 0; round < rounds; round++) {
        for (int depth = 4; depth <= 12; depth += 4) CHECK(count_nodes(make_tree(on, depth)) == (2 << depth) - 1);
        gc_safepoint(on);
    }
    CHECK(count_nodes(kept) == (2 << 12) - 1);
}

static struct vector *make_quads(int depth) {
    struct vector *quad = (struct vector *)gc_allocate(self, sizeof *quad + 4 * sizeof(void *), GC_TAGGED);
    quad->length = 4;
    quad->tag = QUAD;
    for (int at = 0; depth && at < 4; at++) {
        struct vector *made = make_quads(depth - 1);
        gc_write_barrier(self, &elements(quad)[at]);
        __atomic_store_n(&elements(quad)[at], (void *)made, __ATOMIC_RELEASE);
    }
    return quad;
}

static int count_quads(struct vector *quad) {
    int count = 1;
    CHECK(quad->tag == QUAD && quad->length == 4);
    for (int at = 0; at < 4; at++)
        if (elements(quad)[at]) count += count_quads((struct vector *)elements(quad)[at]);
    return count;
}

static void quads(void) {
    struct roots roots = {1, {make_quads(6)}};
    gc_heap_set_roots(world, &roots);
    for (int round = 0; round < 20; round++) CHECK(count_quads(make_quads(4)) == 341);
    CHECK(count_quads((struct vector *)roots.all[0]) == 5461);
    gc_heap_set_roots(world, NULL);
}

/* --- kinds of memory --------------------------------------------------------------- */

static void each_kind(void) {
    static struct roots roots;
    struct vector *vector = (struct vector *)gc_allocate(self, sizeof *vector + 4000 * sizeof(void *), GC_TAGGED);
    uintptr_t *plain = (uintptr_t *)gc_allocate(self, 100, GC_UNTAGGED_POINTERLESS);
    uintptr_t *tagged = (uintptr_t *)gc_allocate(self, 48, GC_TAGGED_POINTERLESS);
    uintptr_t *anything = (uintptr_t *)gc_allocate(self, 4096, GC_UNTAGGED_CONSERVATIVE);
    uintptr_t hidden[5];
    vector->tag = VECTOR;
    vector->length = 4000;
    roots.count = 3;
    roots.all[0] = vector, roots.all[1] = plain, roots.all[2] = tagged;
    gc_mutator_set_roots(self, &roots);
    /* By the vector, through interior and tagged words of what is ambiguous, and not by plain memory. */
    elements(vector)[3999] = anything;
    anything[500] = (uintptr_t)gc_allocate(self, 600, GC_UNTAGGED_POINTERLESS) + 100;
    anything[7] = (uintptr_t)gc_allocate(self, 32, GC_UNTAGGED_POINTERLESS) | 5;
    plain[3] = (uintptr_t)gc_allocate(self, 600, GC_UNTAGGED_POINTERLESS);
    tagged[2] = (uintptr_t)gc_allocate(self, 600, GC_UNTAGGED_POINTERLESS);
    hidden[0] = ~anything[500], hidden[1] = ~anything[7], hidden[2] = ~plain[3], hidden[3] = ~tagged[2];
    /* No stack, which may hold any of them, is looked at here. */
    OK(mallocgc_scan_own_stack(self->mutator, NULL));
    gc_collect(self);
    CHECK(gc_resolve_conservative(world, ~hidden[0]) == (char *)~hidden[0] - 100);
    CHECK(gc_resolve_conservative(world, ~hidden[1]) && !gc_resolve_conservative(world, ~hidden[2]));
    CHECK(!gc_resolve_conservative(world, ~hidden[3]) && !gc_resolve_conservative(world, 77));
    /* What is pinned has not moved, like everything. */
    gc_pin_object(self, vector);
    CHECK(elements(vector)[3999] == anything);
    gc_mutator_set_roots(self, NULL);
}

/* --- ephemerons -------------------------------------------------------------------- */

static void ephemerons(void) {
    enum { LINKS = 1000 };
    static struct roots roots;
    static uintptr_t hidden[LINKS];
    static struct gc_ephemeron *chain;
    uint64_t id;
    int dead = 0;
    /* Each value is the next one's key; the first key alone is held. */
    OK(mallocgc_range_add(world->heap, &chain, 1, MALLOCGC_RANGE_KIND_REFERENCES, &id));
    roots.count = 1;
    gc_mutator_set_roots(self, &roots);
    void *key = roots.all[0] = gc_allocate(self, 16, GC_UNTAGGED_POINTERLESS);
    for (int at = 0; at < LINKS; at++) {
        struct roots now = {2, {key, NULL}};
        gc_heap_set_roots(world, &now);
        void *value = now.all[1] = gc_allocate(self, 16, GC_UNTAGGED_POINTERLESS);
        struct gc_ephemeron *made = gc_allocate_ephemeron(self);
        CHECK(made && gc_ephemeron_init(self, made, key, value));
        gc_ephemeron_chain_push(self, &chain, made);
        hidden[at] = ~(uintptr_t)key;
        key = value;
    }
    gc_heap_set_roots(world, NULL);
    gc_collect(self);
    int length = 0;
    for (struct gc_ephemeron *at = gc_ephemeron_chain_head(self, &chain); at; at = gc_ephemeron_chain_next(self, at))
        CHECK(gc_ephemeron_key(self, at) == (void *)~hidden[LINKS - ++length] && gc_ephemeron_value(self, at));
    CHECK(length == LINKS);
    /* In the middle the chain of keys is cut: what comes behind it dies. */
    struct gc_ephemeron *middle = gc_ephemeron_chain_head(self, &chain);
    for (int at = 0; at < LINKS / 2; at++) middle = gc_ephemeron_chain_next(self, middle);
    gc_ephemeron_mark_dead(self, middle);
    middle = NULL;
    key = NULL;
    gc_collect(self);
    for (int at = 0; at < LINKS; at++) dead += !gc_resolve_conservative(world, ~hidden[at]);
    for (length = 0, middle = gc_ephemeron_chain_head(self, &chain); middle; length++)
        middle = gc_ephemeron_chain_next(self, middle);
    CHECK(dead == LINKS / 2 && length == LINKS / 2 - 1);
    chain = NULL;
    OK(mallocgc_range_remove(world->heap, id));
    gc_mutator_set_roots(self, NULL);
}

/* --- finalizers -------------------------------------------------------------------- */

static size_t told;
static void on_finalizable(struct gc_heap *heap, size_t count) {
    CHECK(heap == world);
    told = count;
}

static void finalizers(void) {
    enum { OBJECTS = 1000, PRIORITIES = 3 };
    static int popped[OBJECTS];
    uint64_t due;
    world->on_finalizable = on_finalizable;
    for (int at = 0; at < OBJECTS; at++) {
        struct roots now = {2, {gc_allocate(self, 32, GC_UNTAGGED_POINTERLESS), NULL}};
        gc_heap_set_roots(world, &now);
        *(int *)now.all[0] = at;
        for (unsigned priority = 0; priority < PRIORITIES; priority++) {
            int *closure = (int *)(now.all[1] = gc_allocate(self, 16, GC_UNTAGGED_POINTERLESS));
            closure[0] = (int)priority;
            struct gc_finalizer *made = gc_allocate_finalizer(self);
            CHECK(made && gc_finalizer_attach(self, made, priority, now.all[0], closure));
        }
    }
    gc_heap_set_roots(world, NULL);
    /* One priority at a time: an object is due again once it is unreachable again. */
    for (int count = 0; count < OBJECTS * PRIORITIES;) {
        gc_collect(self);
        OK(mallocgc_due(world->heap, &due, NULL));
        CHECK(due && due <= OBJECTS);
        world->on_finalizable(world, due);
        CHECK(told == due);
        for (struct gc_finalizer *finalizer; (finalizer = gc_pop_finalizable(self)); count++)
            CHECK(popped[*(int *)finalizer->object]++ % PRIORITIES == *(int *)finalizer->closure);
    }
    gc_collect(self);
    CHECK(!gc_pop_finalizable(self));
}

/* --- threads ---------------------------------------------------------------------- */

static void *other_thread(void *base) {
    int here;
    (void)base;
    struct gc_mutator *own = gc_init_for_thread(&here + 1, world);
    CHECK(own);
    trees(own, scaled(5));
    gc_finish_for_thread(own);
    return NULL;
}

static void join(void *thread) { CHECK(pthread_join(*(pthread_t *)thread, NULL) == 0); }

static void threads(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    trees(self, scaled(5));
    gc_call_without_gc(self, join, &thread);
}

static void run(const struct gc_options *options, const void *base) {
    mallocgc_stats stats;
    seen_begin = seen_end = 0;
    CHECK(gc_init(options, base, &world, &self, on_event, &seen_begin));
    trees(self, scaled(5));
    threads();
    quads();
    OK(mallocgc_scan_own_stack(self->mutator, NULL));
    ephemerons();
    finalizers();
    each_kind();
    OK(mallocgc_read_stats(world->heap, &stats, sizeof stats));
    CHECK(seen_end == seen_begin && stats.cycles == (uint64_t)seen_end && stopped_nanos && live_bytes);
    OK(mallocgc_verify(self->mutator));
    gc_finish_for_thread(self);
    gc_finish(world);
}

int main(void) {
    struct gc_options options;
    int base;
    options.config = manual();
    options.config.gc_percent = 100;
    options.config.collect_every = is_zeal() ? 500 : 0;
    options.config.min_heap_bytes = 1 << 20;
    /* Growable, then fixed. */
    CHECK(gc_option_set(&options, "heap-size-multiplier", 250) && options.config.gc_percent == 150);
    CHECK(gc_option_set(&options, "parallelism", 2) && !gc_option_set(&options, "no-such-option", 1));
    run(&options, &base + 1);
    options.config.gc_percent = -1;
    CHECK(gc_option_set(&options, "heap-size", 8 << 20) && gc_option_set(&options, "maximum-heap-size", 32 << 20));
    run(&options, &base + 1);
    puts("ok");
    return 0;
}
