/* Every function of mallocgc.h, and what each answers to bad arguments. Prints "ok". */

#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(int line, const char *what) {
    printf("line %d: %s (last error: %s)\n", line, what, mallocgc_error_text(mallocgc_last_error()));
    exit(1);
}

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))
#define OK(call) CHECK((call) == MALLOCGC_ERROR_NONE)
#define FAILS(error, call) CHECK((call) == MALLOCGC_ERROR_##error)
#define NOTES(error, call) (CHECK(!(call)), CHECK(mallocgc_last_error() == MALLOCGC_ERROR_##error))
#define SWEEP MALLOCGC_FORCE_NOW_AND_SWEEP

static mallocgc_heap *heap;
static mallocgc_mutator *mutator;

struct pair {
    void *first, *second;
    long number;
};

static int lives(const void *object) {
    return mallocgc_find_object(heap, object, NULL, NULL) == MALLOCGC_ERROR_NONE;
}

static void collect(void) { OK(mallocgc_gc(mutator, SWEEP)); }

/* --- layouts ---------------------------------------------------------------- */

static int traced;

static void trace_pair(void *object, size_t size, mallocgc_tracer *tracer) {
    struct pair *pair = object;
    CHECK(size >= sizeof *pair);
    traced++;
    /* Inside a callback the heap answers with an error. */
    NOTES(REENTRANT, mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    mallocgc_trace(tracer, pair->first);
    mallocgc_trace(tracer, NULL);
}

/* Which of the words of an object with this layout are references. */
static unsigned long references(const mallocgc_layout *layout, size_t words) {
    void **object = mallocgc_alloc(mutator, layout, 8 * words, 0), *leaves[64];
    unsigned long mask = 0;
    CHECK(object);
    OK(mallocgc_push(mutator, object, NULL));
    for (size_t at = 0; at < words; at++) {
        CHECK((leaves[at] = mallocgc_alloc(mutator, NULL, 32, 0)));
        mallocgc_write(mutator, &object[at], leaves[at]);
    }
    collect();
    for (size_t at = 0; at < words; at++) mask |= (unsigned long)lives(leaves[at]) << at;
    OK(mallocgc_pop_to(mutator, mallocgc_pushed(mutator) - 1));
    return mask;
}

static void layouts(void) {
    const mallocgc_layout *layout, *same, *other;
    uint64_t mask = 5, all = 1, none = 0, beyond = 16;
    uint8_t program[] = {1 << 2 | 0, 2 << 2 | 1, 0 << 2 | 3, 2, 2, 1 << 2 | 1, 1 << 2 | 0};
    uint8_t malformed[] = {3};
    OK(mallocgc_layout_mask(heap, 3, &mask, &layout));
    CHECK(mallocgc_layout_bytes(layout) == 24 && mallocgc_layout_bytes(NULL) == 0);
    OK(mallocgc_layout_mask(heap, 3, &mask, &same));
    CHECK(layout == same);
    CHECK(references(layout, 3) == 5);
    FAILS(BAD_LAYOUT, mallocgc_layout_mask(heap, 3, &beyond, &other));
    FAILS(BAD_LAYOUT, mallocgc_layout_mask(heap, 0, &mask, &other));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(heap, 3, NULL, &other));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(heap, 3, &mask, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(NULL, 3, &mask, &other));
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, 1, &none, 2, &mask, &layout));
    OK(mallocgc_layout_array(heap, 1, &none, 2, &all, &layout));
    CHECK(references(layout, 7) == 42);
    NOTES(NOT_REPEATING, mallocgc_new_array(mutator, layout, 2));
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, 0, NULL, 0, NULL, &layout));
    OK(mallocgc_layout_program(heap, program, sizeof program, &layout));
    /* One plain word, two references, then one and one in turn. */
    CHECK(references(layout, 9) == 0xae);
    FAILS(BAD_LAYOUT, mallocgc_layout_program(heap, malformed, 1, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_program(heap, NULL, 1, &layout));
    OK(mallocgc_layout_trace(heap, sizeof(struct pair), 0, trace_pair, &layout));
    CHECK(references(layout, 3) == 1 && traced > 0);
    OK(mallocgc_layout_trace(heap, sizeof(struct pair), sizeof(struct pair), trace_pair, &layout));
    CHECK(references(layout, 6) == 9);
    CHECK(mallocgc_new_array(mutator, layout, 3));
    FAILS(BAD_LAYOUT, mallocgc_layout_trace(heap, 24, 16, trace_pair, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_trace(heap, 24, 0, NULL, &layout));
    OK(mallocgc_layout_conservative(heap, 32, &layout));
    CHECK(references(layout, 4) == 15);
    FAILS(BAD_ARGUMENT, mallocgc_layout_conservative(NULL, 32, &layout));
    OK(mallocgc_layout_noscan(heap, 40, &layout));
    CHECK(references(layout, 4) == 0 && mallocgc_layout_bytes(layout) == 40);
    FAILS(BAD_ARGUMENT, mallocgc_layout_noscan(NULL, 40, &layout));
}

/* --- allocation --------------------------------------------------------------- */

static void allocation(void) {
    const mallocgc_layout *layout, *foreign;
    mallocgc_heap *another;
    mallocgc_site *site;
    uint64_t mask = 1, old_cycles;
    mallocgc_stats stats;
    void *base;
    size_t bytes;
    unsigned char *object = mallocgc_alloc(mutator, NULL, 100, 0);
    CHECK(object && (uintptr_t)object % 8 == 0);
    for (int at = 0; at < 100; at++) CHECK(object[at] == 0);
    OK(mallocgc_find_object(heap, object + 50, &base, &bytes));
    CHECK(base == object && bytes == 112);
    FAILS(NOT_ALLOCATED, mallocgc_find_object(heap, &mask, &base, &bytes));
    FAILS(BAD_ARGUMENT, mallocgc_find_object(NULL, object, &base, &bytes));
    CHECK(mallocgc_alloc(mutator, NULL, 0, 0) == mallocgc_alloc(mutator, NULL, 0, 0));
    CHECK(mallocgc_alloc(mutator, NULL, 1000, MALLOCGC_FLAGS_NO_ZERO | MALLOCGC_FLAGS_NO_TINY));
    NOTES(BAD_ARGUMENT, mallocgc_alloc(NULL, NULL, 8, 0));
    NOTES(BAD_ARGUMENT, mallocgc_alloc(mutator, NULL, 8, 8));
    NOTES(TOO_LARGE, mallocgc_alloc(mutator, NULL, SIZE_MAX / 2, 0));
    OK(mallocgc_layout_mask(heap, 1, &mask, &layout));
    NOTES(UNZEROED_REFERENCES, mallocgc_alloc(mutator, layout, 8, MALLOCGC_FLAGS_NO_ZERO));
    OK(mallocgc_heap_new(NULL, &another));
    OK(mallocgc_layout_mask(another, 1, &mask, &foreign));
    NOTES(WRONG_HEAP, mallocgc_new(mutator, foreign));
    FAILS(WRONG_HEAP, mallocgc_site_new(mutator, foreign, 8, &site));
    mallocgc_heap_free(another);
    CHECK((uintptr_t)mallocgc_alloc_aligned(mutator, layout, 24, 256, 0) % 256 == 0);
    CHECK(mallocgc_alloc_aligned(mutator, NULL, 24, 1, 0));
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 48, 0));
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 0, 0));
    NOTES(BAD_ARGUMENT, mallocgc_alloc_aligned(NULL, NULL, 24, 8, 0));
    CHECK(mallocgc_new(mutator, layout));
    NOTES(BAD_ARGUMENT, mallocgc_new(NULL, layout));
    CHECK(mallocgc_new_array(mutator, layout, 1));
    NOTES(NOT_REPEATING, mallocgc_new_array(mutator, layout, 2));
    NOTES(BAD_ARGUMENT, mallocgc_new_array(NULL, layout, 1));
    OK(mallocgc_site_new(mutator, layout, 8, &site));
    void *one = mallocgc_site_alloc(mutator, site), *two = mallocgc_site_alloc(mutator, site);
    CHECK(one && two && one != two);
    NOTES(BAD_ARGUMENT, mallocgc_site_alloc(mutator, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_site_alloc(NULL, site));
    CHECK(mallocgc_site_window(mutator, site));
    mallocgc_site_free(site);
    mallocgc_site_free(NULL);
    FAILS(BAD_ARGUMENT, mallocgc_site_new(mutator, layout, 0, &site));
    FAILS(TOO_LARGE, mallocgc_site_new(mutator, layout, 32769, &site));
    FAILS(BAD_ARGUMENT, mallocgc_site_new(mutator, layout, 8, NULL));
    /* The limit, and what helps against it. */
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    old_cycles = stats.cycles;
    OK(mallocgc_set_heap_limit_bytes(heap, stats.heap_inuse_bytes + (8 << 20)));
    CHECK(mallocgc_alloc(mutator, NULL, 6 << 20, 0));
    NOTES(LIMIT_REACHED, mallocgc_alloc(mutator, NULL, 6 << 20, 0));
    CHECK(mallocgc_alloc(mutator, NULL, 6 << 20, MALLOCGC_FLAGS_SAFEPOINT));
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.cycles > old_cycles);
    OK(mallocgc_set_heap_limit_bytes(heap, UINT64_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_set_heap_limit_bytes(NULL, 1));
}

/* --- barrier ------------------------------------------------------------------ */

static void barrier(void) {
    const mallocgc_layout *layout;
    uint64_t mask = 15;
    OK(mallocgc_layout_mask(heap, 4, &mask, &layout));
    void **one = mallocgc_new(mutator, layout), **two = mallocgc_new(mutator, layout);
    mallocgc_write(mutator, &one[0], two);
    CHECK(one[0] == two);
    mallocgc_pre_write(mutator, &one[1]);
    one[1] = one;
    mallocgc_pre_write_range(mutator, one, 4);
    memset(one + 2, 0, 16);
    mallocgc_write_range(mutator, one + 1, (void *const *)one, 3);
    CHECK(one[1] == two && one[2] == one && one[3] == NULL);
    mallocgc_write_range(mutator, NULL, NULL, 0);
    mallocgc_write(NULL, &one[0], NULL);
    CHECK(one[0] == two && mallocgc_last_error() == MALLOCGC_ERROR_BAD_ARGUMENT);
    mallocgc_write(mutator, NULL, NULL);
    mallocgc_write_range(mutator, one, NULL, 1);
    mallocgc_pre_write_range(mutator, NULL, 1);
    OK(mallocgc_pre_write_object(mutator, one, 8, 32));
    memset(one + 1, 0, 24);
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    FAILS(NOT_ALLOCATED, mallocgc_pre_write_object(mutator, &mask, 0, 8));
    FAILS(BAD_ARGUMENT, mallocgc_pre_write_object(mutator, one, 8, 0));
    FAILS(BAD_ARGUMENT, mallocgc_pre_write_object(NULL, one, 0, 8));
    mallocgc_pre_write(NULL, &one[0]);
}

/* --- roots -------------------------------------------------------------------- */

static void *visited[5];

static void visit_them(mallocgc_visitor *visitor, void *data) {
    CHECK(data == visited);
    mallocgc_visit(visitor, visited[0]);
    mallocgc_visit_ambiguous(visitor, (size_t)visited[1]);
    mallocgc_visit_range(visitor, &visited[2], 1, MALLOCGC_RANGE_KIND_AMBIGUOUS);
}

static void make_visited(void) {
    for (int at = 0; at < 3; at++) CHECK((visited[at] = mallocgc_alloc(mutator, NULL, 64, 0)));
}

static void check_visited(int alive) {
    collect();
    for (int at = 0; at < 3; at++) CHECK(lives(visited[at]) == alive);
}

/* Not inlined, so that its frame lies below its caller's. */
static void __attribute__((noinline)) only_on_the_stack(const void *base, int scanned) {
    void *volatile object = mallocgc_alloc(mutator, NULL, 4096, 0);
    volatile uintptr_t hidden = ~(uintptr_t)object;
    OK(mallocgc_scan_own_stack(mutator, scanned ? base : NULL));
    if (!scanned) object = NULL;
    collect();
    CHECK(lives((void *)~hidden) == scanned);
    OK(mallocgc_scan_own_stack(mutator, NULL));
}

static void roots(void) {
    mallocgc_root *root;
    mallocgc_stack *stack;
    uint64_t id;
    size_t place, before = mallocgc_pushed(mutator);
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    void *other = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_root_new(heap, object, &root));
    collect();
    CHECK(lives(object) && !lives(other) && mallocgc_root_get(root) == object);
    other = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_root_set(root, other));
    collect();
    CHECK(!lives(object) && lives(other));
    FAILS(BAD_ARGUMENT, mallocgc_root_set(root, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_root_set(NULL, other));
    FAILS(BAD_ARGUMENT, mallocgc_root_new(heap, NULL, &root));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    mallocgc_root_free(root);
    mallocgc_root_free(NULL);
    collect();
    CHECK(!lives(other));

    object = mallocgc_alloc(mutator, NULL, 64, 0);
    other = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_push(mutator, object, &place));
    CHECK(place == before && mallocgc_pushed(mutator) == before + 1);
    CHECK(mallocgc_at(mutator, place) == object);
    OK(mallocgc_put(mutator, place, other));
    collect();
    CHECK(!lives(object) && lives(other));
    FAILS(NOT_FOUND, mallocgc_put(mutator, place + 1, other));
    FAILS(BAD_ARGUMENT, mallocgc_put(mutator, place, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_push(mutator, NULL, NULL));
    NOTES(NOT_FOUND, mallocgc_at(mutator, place + 1));
    FAILS(NOT_FOUND, mallocgc_pop_to(mutator, place + 2));
    OK(mallocgc_pop_to(mutator, place));
    CHECK(mallocgc_pushed(NULL) == 0);

    make_visited();
    OK(mallocgc_range_add(heap, visited, 3, MALLOCGC_RANGE_KIND_REFERENCES, &id));
    check_visited(1);
    OK(mallocgc_range_remove(heap, id));
    FAILS(NOT_FOUND, mallocgc_range_remove(heap, id));
    check_visited(0);
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, visited, 3, 2, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, (char *)visited + 1, 1, 0, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, NULL, 1, 0, &id));

    make_visited();
    OK(mallocgc_roots_add(heap, visit_them, visited, &id));
    check_visited(1);
    OK(mallocgc_roots_remove(heap, id));
    FAILS(NOT_FOUND, mallocgc_roots_remove(heap, id));
    FAILS(BAD_ARGUMENT, mallocgc_roots_add(heap, NULL, visited, &id));
    check_visited(0);
    make_visited();
    OK(mallocgc_set_roots(mutator, visit_them, visited));
    check_visited(1);
    OK(mallocgc_set_roots(mutator, NULL, NULL));
    check_visited(0);
    FAILS(BAD_ARGUMENT, mallocgc_set_roots(NULL, NULL, NULL));

    make_visited();
    OK(mallocgc_stack_add(heap, visited + 3, &stack));
    check_visited(0);
    make_visited();
    OK(mallocgc_stack_set_top(stack, visited));
    check_visited(1);
    OK(mallocgc_stack_set_top(stack, visited + 1));
    collect();
    CHECK(!lives(visited[0]) && lives(visited[1]) && lives(visited[2]));
    FAILS(BAD_ARGUMENT, mallocgc_stack_set_top(stack, visited + 4));
    FAILS(BAD_ARGUMENT, mallocgc_stack_set_top(NULL, visited));
    FAILS(BAD_ARGUMENT, mallocgc_stack_add(heap, NULL, &stack));
    mallocgc_stack_remove(stack);
    mallocgc_stack_remove(NULL);
    check_visited(0);

    int base;
    only_on_the_stack(&base, 1);
    only_on_the_stack(&base, 0);
    FAILS(BAD_ARGUMENT, mallocgc_scan_own_stack(mutator, (void *)8));
    FAILS(BAD_ARGUMENT, mallocgc_scan_own_stack(NULL, &base));
}

/* --- life stories --------------------------------------------------------------- */

static char story[64];

static void tell(mallocgc_mutator *lent, void *object, void *data) {
    CHECK(mallocgc_is_usable(lent) && mallocgc_alloc(lent, NULL, 8, 0));
    CHECK(object != NULL);
    strcat(story, data);
}

static mallocgc_root *revived;

static void revive(mallocgc_mutator *lent, void *object, void *data) {
    tell(lent, object, data);
    mallocgc_heap *its;
    OK(mallocgc_mutator_heap(lent, &its));
    OK(mallocgc_root_new(its, object, &revived));
    mallocgc_heap_free(its);
    /* The mutator that runs this is not to be used meanwhile. */
    CHECK(!mallocgc_is_usable(mutator));
    NOTES(BUSY, mallocgc_alloc(mutator, NULL, 8, 0));
    FAILS(BUSY, mallocgc_gc(mutator, 1));
    OK(mallocgc_gc(lent, SWEEP));
}

static void told_cleanup(mallocgc_mutator *lent, void *argument, void *data) {
    CHECK(mallocgc_is_usable(lent));
    strcat(story, argument ? "a" : "-");
    strcat(story, data);
}

static void finalizers(void) {
    static int outside;
    uint64_t due, cleanups;
    size_t count;
    mallocgc_cleanup *name;
    const mallocgc_layout *layout;
    uint64_t mask = 1;
    OK(mallocgc_layout_mask(heap, 3, &mask, &layout));
    void **object = mallocgc_new(mutator, layout), **other = mallocgc_new(mutator, layout);
    *story = 0;
    OK(mallocgc_finalizer_set(mutator, object, 2, tell, "c"));
    OK(mallocgc_finalizer_set(mutator, object, 0, revive, "a"));
    OK(mallocgc_finalizer_set(mutator, object, 1, tell, "b"));
    OK(mallocgc_finalizer_set(mutator, object, 0, tell, "A"));
    /* One that is referred to comes after who refers to it. */
    mallocgc_write(mutator, object, other);
    OK(mallocgc_finalizer_set(mutator, other, 0, tell, "o"));
    collect();
    OK(mallocgc_due(heap, &due, &cleanups));
    CHECK(due == 1 && cleanups == 0);
    OK(mallocgc_run_finalizers(mutator, 10, &count));
    CHECK(count == 1 && !strcmp(story, "aA"));
    collect();
    CHECK(lives(object));
    mallocgc_root_free(revived);
    for (int round = 0; round < 4; round++) {
        collect();
        OK(mallocgc_run_finalizers(mutator, 10, NULL));
    }
    CHECK(!strcmp(story, "aAbco"));
    collect();
    CHECK(!lives(object) && !lives(other));

    object = mallocgc_new(mutator, layout);
    OK(mallocgc_finalizer_set(mutator, object, 0, tell, "x"));
    OK(mallocgc_finalizer_set(mutator, object, 1, tell, "y"));
    OK(mallocgc_finalizer_clear(mutator, object, &count));
    CHECK(count == 2);
    OK(mallocgc_finalizer_clear(mutator, object, &count));
    CHECK(count == 0);
    FAILS(NOT_AT_BEGINNING, mallocgc_finalizer_set(mutator, object + 1, 0, tell, ""));
    FAILS(NOT_ALLOCATED, mallocgc_finalizer_set(mutator, &mask, 0, tell, ""));
    FAILS(NOT_ALLOCATED, mallocgc_finalizer_clear(mutator, &mask, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_set(mutator, object, 0, NULL, ""));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_set(mutator, NULL, 0, tell, ""));
    OK(mallocgc_static_range_add(heap, &outside, sizeof outside));
    FAILS(BAD_ARGUMENT, mallocgc_static_range_add(heap, NULL, 1));
    OK(mallocgc_finalizer_set(mutator, &outside, 0, tell, "never"));

    *story = 0;
    other = mallocgc_new(mutator, layout);
    OK(mallocgc_cleanup_add(mutator, object, other, told_cleanup, "1", NULL));
    OK(mallocgc_cleanup_add(mutator, object, NULL, told_cleanup, "2", &name));
    OK(mallocgc_cleanup_stop(heap, name));
    FAILS(NOT_FOUND, mallocgc_cleanup_stop(heap, name));
    mallocgc_cleanup_free(name);
    mallocgc_cleanup_free(NULL);
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_stop(heap, NULL));
    FAILS(KEEPS_ITSELF, mallocgc_cleanup_add(mutator, object, object, told_cleanup, "", NULL));
    FAILS(NOT_ALLOCATED, mallocgc_cleanup_add(mutator, &mask, NULL, told_cleanup, "", NULL));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_add(mutator, NULL, NULL, told_cleanup, "", NULL));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_add(mutator, object, NULL, NULL, "", NULL));
    collect();
    CHECK(!lives(object) && lives(other));
    OK(mallocgc_run_cleanups(mutator, 10, &count));
    CHECK(count == 1 && !strcmp(story, "a1"));
    OK(mallocgc_wait(mutator, 0));
    FAILS(BAD_ARGUMENT, mallocgc_wait(NULL, 0));
    FAILS(BAD_ARGUMENT, mallocgc_due(NULL, &due, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_run_finalizers(NULL, 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_run_cleanups(NULL, 1, NULL));
}

static void weak_references(void) {
    mallocgc_weak *weak, *same, *another;
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    void *key = mallocgc_alloc(mutator, NULL, 64, 0), *value = mallocgc_alloc(mutator, NULL, 64, 0);
    void *ephemeron = mallocgc_ephemeron_new(mutator, key, value);
    size_t before = mallocgc_pushed(mutator);
    OK(mallocgc_weak_new(mutator, object, &weak));
    OK(mallocgc_weak_new(mutator, object, &same));
    OK(mallocgc_weak_new(mutator, key, &another));
    CHECK(mallocgc_weak_equal(weak, same) && !mallocgc_weak_equal(weak, another));
    CHECK(!mallocgc_weak_equal(weak, NULL));
    FAILS(NOT_ALLOCATED, mallocgc_weak_new(mutator, &weak, &same));
    FAILS(BAD_ARGUMENT, mallocgc_weak_new(mutator, NULL, &same));
    OK(mallocgc_push(mutator, ephemeron, NULL));
    OK(mallocgc_push(mutator, key, NULL));
    OK(mallocgc_push(mutator, object, NULL));
    collect();
    CHECK(mallocgc_weak_get(mutator, weak) == object);
    CHECK(mallocgc_ephemeron_key(mutator, ephemeron) == key);
    CHECK(mallocgc_ephemeron_value(mutator, ephemeron) == value);
    OK(mallocgc_ephemeron_set_value(mutator, ephemeron, object));
    OK(mallocgc_pop_to(mutator, before + 2));
    collect();
    CHECK(lives(object) && !lives(value));
    OK(mallocgc_pop_to(mutator, before + 1));
    collect();
    CHECK(mallocgc_weak_get(mutator, weak) == NULL && mallocgc_weak_equal(weak, same));
    CHECK(mallocgc_ephemeron_key(mutator, ephemeron) == NULL);
    CHECK(mallocgc_ephemeron_value(mutator, ephemeron) == NULL);
    CHECK(!lives(object) && !lives(key));
    FAILS(CLEARED, mallocgc_ephemeron_set_value(mutator, ephemeron, ephemeron));
    OK(mallocgc_ephemeron_clear(mutator, ephemeron));
    void *none = mallocgc_alloc(mutator, NULL, 24, 0);
    NOTES(NOT_FOUND, mallocgc_ephemeron_key(mutator, none));
    NOTES(NOT_FOUND, mallocgc_ephemeron_value(mutator, &none));
    FAILS(NOT_FOUND, mallocgc_ephemeron_set_value(mutator, none, none));
    FAILS(NOT_FOUND, mallocgc_ephemeron_clear(mutator, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_ephemeron_new(mutator, NULL, NULL));
    NOTES(NOT_ALLOCATED, mallocgc_ephemeron_new(mutator, &none, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_weak_get(mutator, NULL));
    mallocgc_weak_free(weak);
    mallocgc_weak_free(same);
    mallocgc_weak_free(another);
    mallocgc_weak_free(NULL);
    OK(mallocgc_pop_to(mutator, before));
}

/* --- threads --------------------------------------------------------------------- */

static void *other_thread(void *unused) {
    mallocgc_mutator *own, *twice;
    (void)unused;
    FAILS(WRONG_THREAD, mallocgc_gc(mutator, 1));
    FAILS(WRONG_THREAD, mallocgc_detach(mutator));
    CHECK(!mallocgc_is_usable(mutator));
    OK(mallocgc_attach(heap, &own));
    FAILS(ALREADY_ATTACHED, mallocgc_attach(heap, &twice));
    for (int round = 0; round < 2000; round++) {
        CHECK(mallocgc_alloc(own, NULL, 2000, MALLOCGC_FLAGS_SAFEPOINT));
        OK(mallocgc_poll(own));
    }
    OK(mallocgc_gc(own, MALLOCGC_FORCE_NOW));
    OK(mallocgc_detach(own));
    OK(mallocgc_heap_gc(heap, SWEEP));
    OK(mallocgc_heap_verify(heap));
    return NULL;
}

static void wait_for_thread(void *thread) {
    NOTES(BUSY, mallocgc_alloc(mutator, NULL, 8, 0));
    CHECK(pthread_join(*(pthread_t *)thread, NULL) == 0);
}

static void threads(void) {
    pthread_t thread;
    mallocgc_heap *its;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    OK(mallocgc_blocking(mutator, wait_for_thread, &thread));
    FAILS(BAD_ARGUMENT, mallocgc_blocking(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_poll(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_gc(mutator, 3));
    FAILS(BAD_ARGUMENT, mallocgc_heap_gc(NULL, 1));
    FAILS(BAD_ARGUMENT, mallocgc_heap_verify(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_attach(NULL, &mutator));
    OK(mallocgc_verify(mutator));
    OK(mallocgc_mutator_heap(mutator, &its));
    CHECK(mallocgc_find_object(its, mallocgc_alloc(mutator, NULL, 8, 0), NULL, NULL) == 0);
    mallocgc_heap_free(its);
    FAILS(BAD_ARGUMENT, mallocgc_mutator_heap(mutator, NULL));
}

/* --- seeing inside ------------------------------------------------------------------ */

static int events[6];

static void listen(void *data, const mallocgc_event *event) {
    CHECK(data == events);
    events[event->kind]++;
    if (event->kind == MALLOCGC_EVENT_KIND_ALLOC) CHECK(event->bytes == 128 && event->address);
    if (event->kind == MALLOCGC_EVENT_KIND_CYCLE_END) CHECK(event->record.forced && event->cycle);
}

static int output(void *data, const void *bytes, size_t length) {
    CHECK(bytes && length);
    *(size_t *)data += length;
    return 0;
}

static int refuse(void *data, const void *bytes, size_t length) {
    (void)data, (void)bytes, (void)length;
    return 1;
}

static int hooked;
static void hook(void *data) { ++*(int *)data; }

static void observation(void) {
    mallocgc_stats stats;
    mallocgc_hook *name;
    size_t written = 0;
    uint64_t rate;
    int64_t percent;
    OK(mallocgc_set_listener(heap, listen, events));
    /* The first may come out of a chunk that is open; told is from the next refill on. */
    for (int at = 0; at < 1000; at++) CHECK(mallocgc_alloc(mutator, NULL, 128, 0));
    collect();
    OK(mallocgc_set_listener(heap, NULL, NULL));
    CHECK(events[MALLOCGC_EVENT_KIND_ALLOC] > 100 && events[MALLOCGC_EVENT_KIND_FREE] >= 1000);
    CHECK(events[MALLOCGC_EVENT_KIND_CYCLE_BEGIN] == 1 && events[MALLOCGC_EVENT_KIND_CYCLE_END] == 1);
    FAILS(BAD_ARGUMENT, mallocgc_set_listener(NULL, listen, NULL));

    OK(mallocgc_set_profile_rate(heap, 1, &rate));
    CHECK(rate == 0);
    for (int at = 0; at < 100; at++) CHECK(mallocgc_alloc(mutator, NULL, 40000, 0));
    collect();
    OK(mallocgc_write_profile(heap, output, &written));
    CHECK(written > 50);
    FAILS(IO, mallocgc_write_profile(heap, refuse, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_write_profile(heap, NULL, NULL));
    OK(mallocgc_set_profile_rate(heap, 0, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_profile_rate(NULL, 0, NULL));

    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.cycles && stats.forced_cycles && stats.profile_samples >= 99);
    CHECK(stats.mallocs - stats.frees == stats.heap_objects);
    CHECK(stats.ephemerons_cleared == 1 && stats.weak_cleared == 2 && stats.mutators == 1);
    CHECK(stats.pause_max_nanos >= mallocgc_pause_quantile(heap, 0.5));
    CHECK(mallocgc_pause_quantile(heap, 1) == stats.pause_max_nanos);
    CHECK(mallocgc_pause_quantile(heap, 2) == 0 && mallocgc_pause_quantile(NULL, 0.5) == 0);
    memset(&stats, 1, sizeof stats);
    OK(mallocgc_read_stats(heap, &stats, 8));
    CHECK(stats.heap_objects == 0x0101010101010101);
    FAILS(BAD_ARGUMENT, mallocgc_read_stats(heap, NULL, 8));
    FAILS(BAD_ARGUMENT, mallocgc_read_stats(NULL, &stats, 8));

    OK(mallocgc_clear_hook_add(heap, hook, &hooked, &name));
    collect();
    CHECK(hooked == 1);
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_remove(heap, NULL));
    OK(mallocgc_clear_hook_remove(heap, name));
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_add(heap, NULL, NULL, &name));
    collect();
    CHECK(hooked == 1);

    OK(mallocgc_set_gc_percent(heap, 50, &percent));
    CHECK(percent == -1);
    OK(mallocgc_set_gc_percent(heap, -1, &percent));
    CHECK(percent == 50);
    FAILS(BAD_ARGUMENT, mallocgc_set_gc_percent(heap, -2, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_gc_percent(NULL, 100, NULL));
    OK(mallocgc_set_memory_limit_bytes(heap, UINT64_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_set_memory_limit_bytes(NULL, 1));
    OK(mallocgc_set_min_heap_bytes(heap, 1 << 20));
    FAILS(BAD_ARGUMENT, mallocgc_set_min_heap_bytes(NULL, 1));
    CHECK(mallocgc_release_memory(heap) > 0);
    NOTES(BAD_ARGUMENT, mallocgc_release_memory(NULL));
}

/* --- marking beside the program --------------------------------------------------- */

/* Lists are cut and joined while the heap is marked: every form of the barrier must tell what it
 * overwrites. The heap verifies itself after each phase. */
static void beside(mallocgc_config config) {
    /* So many that marking takes a while. */
    enum { SLOTS = 1 << 17, ROUNDS = 1000000, COPIED = 8 };
    mallocgc_heap *own;
    mallocgc_mutator *its;
    const mallocgc_layout *slots, *node;
    mallocgc_stats stats;
    uint64_t all = 1, first = 1;
    unsigned long seed = 1;
    config.background = 1;
    config.gc_percent = 100;
    config.min_heap_bytes = 1 << 20;
    config.concurrent_from_bytes = 0;
    OK(mallocgc_heap_new(&config, &own));
    OK(mallocgc_attach(own, &its));
    OK(mallocgc_layout_array(own, 0, NULL, 1, &all, &slots));
    OK(mallocgc_layout_mask(own, 2, &first, &node));
    void **table = mallocgc_new_array(its, slots, SLOTS);
    OK(mallocgc_push(its, table, NULL));
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t at = (seed >> 40) % (SLOTS - COPIED), other = (seed >> 20) % (SLOTS - COPIED);
        void **made = mallocgc_new(its, node);
        CHECK(made);
        made[1] = (void *)0x5a5a;
        if (seed >> 62) mallocgc_write(its, &made[0], table[at]);
        switch (seed >> 36 & 7) {
        case 0:
            mallocgc_pre_write(its, &table[at]);
            __atomic_store_n(&table[at], (void *)made, __ATOMIC_RELEASE);
            break;
        case 1:
            OK(mallocgc_pre_write_object(its, table, at * 8, (at + 1) * 8));
            __atomic_store_n(&table[at], (void *)made, __ATOMIC_RELEASE);
            break;
        case 2:
            mallocgc_write_range(its, &table[at], &table[other], COPIED);
            break;
        default:
            mallocgc_write(its, &table[at], made);
        }
        OK(mallocgc_poll(its));
    }
    for (size_t at = 0; at < SLOTS; at++) {
        int length = 0;
        for (void **node = table[at]; node && length < 1000; node = node[0], length++)
            CHECK(node[1] == (void *)0x5a5a);
    }
    OK(mallocgc_read_stats(own, &stats, sizeof stats));
    CHECK(stats.cycles > 2);
    OK(mallocgc_verify(its));
    OK(mallocgc_detach(its));
    mallocgc_heap_free(own);
}

static char logged[4096];
static void log_line(void *data, const char *line, size_t length) { strncat(data, line, length); }

int main(void) {
    mallocgc_config config;
    mallocgc_heap *another;
    CHECK(mallocgc_version() == MALLOCGC_VERSION);
    CHECK(!strcmp(mallocgc_error_text(MALLOCGC_ERROR_NONE), "no error"));
    CHECK(!strcmp(mallocgc_error_text(12345), "an unknown error"));
    OK(mallocgc_config_init(&config));
    CHECK(config.gc_percent == 100 && config.min_heap_bytes == 4 << 20 && config.background == 1);
    FAILS(BAD_ARGUMENT, mallocgc_config_init(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_heap_new(&config, NULL));
    config.background = 2;
    FAILS(BAD_ARGUMENT, mallocgc_heap_new(&config, &another));
    config.background = 0;
    config.gc_percent = -5;
    FAILS(BAD_ARGUMENT, mallocgc_heap_new(&config, &another));
    config.gc_percent = -1;
    config.trace_level = 1;
    config.verify = 1;
    config.clobber = 0xdeadbeefdeadbeef;
    config.log = log_line;
    config.log_data = logged;
    OK(mallocgc_heap_new(&config, &heap));
    OK(mallocgc_attach(heap, &mutator));
    collect();
    CHECK(strstr(logged, "gc 1 "));
    *logged = 0;
    config.log = NULL;
    config.trace_level = 0;
    OK(mallocgc_detach(mutator));
    mallocgc_heap_free(heap);
    OK(mallocgc_heap_new(&config, &heap));
    OK(mallocgc_attach(heap, &mutator));
    layouts();
    allocation();
    barrier();
    roots();
    finalizers();
    weak_references();
    threads();
    observation();
    beside(config);
    OK(mallocgc_detach(mutator));
    OK(mallocgc_detach(NULL));
    mallocgc_heap_free(heap);
    mallocgc_heap_free(NULL);
    puts("ok");
    return 0;
}
