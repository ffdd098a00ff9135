/* Weak handles and ephemerons. */

#include "check.h"

static void weak_handles(void) {
    mallocgc_weak *weak, *same, *inner, *of_key;
    char *object = (char *)mallocgc_alloc(mutator, NULL, 64, 0);
    void *key = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_weak_new(mutator, object, &weak));
    OK(mallocgc_weak_new(mutator, object, &same));
    OK(mallocgc_weak_new(mutator, object + 8, &inner));
    OK(mallocgc_weak_new(mutator, key, &of_key));
    CHECK(mallocgc_weak_equal(weak, same) == 1 && mallocgc_weak_equal(weak, of_key) == 0);
    CHECK(mallocgc_weak_equal(weak, inner) == 0);
    NOTES(BAD_ARGUMENT, mallocgc_weak_equal(weak, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_weak_equal(NULL, weak));
    FAILS(NOT_ALLOCATED, mallocgc_weak_new(mutator, &weak, &same));
    FAILS(BAD_ARGUMENT, mallocgc_weak_new(mutator, NULL, &same));
    FAILS(BAD_ARGUMENT, mallocgc_weak_new(mutator, object, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_weak_new(NULL, object, &same));
    NOTES(BAD_ARGUMENT, mallocgc_weak_get(mutator, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_weak_get(NULL, weak));
    OK(mallocgc_push(mutator, object, NULL));
    collect();
    CHECK(mallocgc_weak_get(mutator, weak) == object && mallocgc_weak_get(mutator, inner) == object + 8);
    CHECK(mallocgc_weak_get(mutator, of_key) == NULL);
    OK(mallocgc_pop_to(mutator, 0));
    collect();
    CHECK(mallocgc_weak_get(mutator, weak) == NULL && mallocgc_weak_get(mutator, inner) == NULL);
    CHECK(mallocgc_weak_equal(weak, same));
    mallocgc_weak_free(weak);
    mallocgc_weak_free(same);
    mallocgc_weak_free(inner);
    mallocgc_weak_free(of_key);
    mallocgc_weak_free(NULL);
}

/* A weak handle keeps its heap, and is no other heap's. */
static void other_heaps(void) {
    mallocgc_heap *another;
    mallocgc_mutator *its;
    mallocgc_weak *weak;
    OK(mallocgc_heap_new(NULL, &another));
    OK(mallocgc_attach(another, &its));
    OK(mallocgc_weak_new(its, mallocgc_alloc(its, NULL, 64, 0), &weak));
    NOTES(WRONG_HEAP, mallocgc_weak_get(mutator, weak));
    OK(mallocgc_detach(its));
    mallocgc_heap_free(another);
    CHECK(mallocgc_weak_equal(weak, weak));
    mallocgc_weak_free(weak);
}

static void ephemerons(void) {
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    void *key = mallocgc_alloc(mutator, NULL, 64, 0), *value = mallocgc_alloc(mutator, NULL, 64, 0);
    void *ephemeron = mallocgc_ephemeron_new(mutator, key, value);
    CHECK(ephemeron);
    OK(mallocgc_push(mutator, ephemeron, NULL));
    OK(mallocgc_push(mutator, key, NULL));
    OK(mallocgc_push(mutator, object, NULL));
    collect();
    CHECK(mallocgc_ephemeron_key(mutator, ephemeron) == key);
    CHECK(mallocgc_ephemeron_value(mutator, ephemeron) == value);
    OK(mallocgc_ephemeron_set_value(mutator, ephemeron, object));
    FAILS(NOT_ALLOCATED, mallocgc_ephemeron_set_value(mutator, ephemeron, &object));
    OK(mallocgc_pop_to(mutator, 2));
    collect();
    CHECK(lives(object) && !lives(value));
    /* The value leads back to the key, which it does not keep. */
    OK(mallocgc_ephemeron_set_value(mutator, ephemeron, key));
    OK(mallocgc_pop_to(mutator, 1));
    collect();
    CHECK(mallocgc_ephemeron_key(mutator, ephemeron) == NULL);
    CHECK(mallocgc_ephemeron_value(mutator, ephemeron) == NULL);
    CHECK(!lives(object) && !lives(key));
    FAILS(CLEARED, mallocgc_ephemeron_set_value(mutator, ephemeron, ephemeron));
    OK(mallocgc_ephemeron_clear(mutator, ephemeron));
    ephemeron = mallocgc_ephemeron_new(mutator, ephemeron, NULL);
    CHECK(mallocgc_ephemeron_value(mutator, ephemeron) == NULL);
    OK(mallocgc_ephemeron_clear(mutator, ephemeron));
    CHECK(mallocgc_ephemeron_key(mutator, ephemeron) == NULL);
    OK(mallocgc_pop_to(mutator, 0));
}

static void errors(void) {
    void *none = mallocgc_alloc(mutator, NULL, 24, 0);
    void *ephemeron = mallocgc_ephemeron_new(mutator, none, none);
    NOTES(NOT_FOUND, mallocgc_ephemeron_key(mutator, none));
    NOTES(NOT_FOUND, mallocgc_ephemeron_key(mutator, NULL));
    NOTES(NOT_FOUND, mallocgc_ephemeron_key(mutator, (char *)ephemeron + 8));
    NOTES(BAD_ARGUMENT, mallocgc_ephemeron_key(NULL, ephemeron));
    NOTES(NOT_FOUND, mallocgc_ephemeron_value(mutator, &none));
    NOTES(BAD_ARGUMENT, mallocgc_ephemeron_value(NULL, ephemeron));
    FAILS(NOT_FOUND, mallocgc_ephemeron_set_value(mutator, none, none));
    FAILS(BAD_ARGUMENT, mallocgc_ephemeron_set_value(NULL, ephemeron, none));
    FAILS(NOT_FOUND, mallocgc_ephemeron_clear(mutator, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_ephemeron_clear(NULL, ephemeron));
    NOTES(BAD_ARGUMENT, mallocgc_ephemeron_new(mutator, NULL, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_ephemeron_new(NULL, none, none));
    NOTES(NOT_ALLOCATED, mallocgc_ephemeron_new(mutator, &none, NULL));
    NOTES(NOT_ALLOCATED, mallocgc_ephemeron_new(mutator, none, &none));
}

/* A weak table of chained ephemerons against what must live by its keys. */
static void a_table(void) {
    enum { KEYS = 300, BUCKETS = 16 };
    const mallocgc_layout *links, *buckets;
    uint64_t two = 3, one = 1;
    void *keys[KEYS], *values[KEYS];
    int kept[KEYS];
    OK(mallocgc_layout_mask(heap, 2, &two, &links));
    OK(mallocgc_layout_array(heap, 0, NULL, 1, &one, &buckets));
    void **table = (void **)mallocgc_new_array(mutator, buckets, BUCKETS);
    OK(mallocgc_push(mutator, table, NULL));
    for (int at = 0; at < KEYS; at++) {
        keys[at] = mallocgc_alloc(mutator, NULL, 32, 0);
        values[at] = mallocgc_alloc(mutator, NULL, 32, 0);
        void **link = (void **)mallocgc_new(mutator, links);
        mallocgc_fast_write(mutator, &link[0], mallocgc_ephemeron_new(mutator, keys[at], values[at]));
        mallocgc_fast_write(mutator, &link[1], table[at % BUCKETS]);
        mallocgc_fast_write(mutator, &table[at % BUCKETS], link);
        kept[at] = below(2) == 0;
        if (kept[at]) OK(mallocgc_push(mutator, keys[at], NULL));
    }
    collect();
    int found = 0, dead = 0;
    for (int at = 0; at < KEYS; at++) CHECK(lives(keys[at]) == kept[at] && lives(values[at]) == kept[at]);
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        for (void **link = (void **)table[bucket]; link; link = (void **)link[1])
            mallocgc_ephemeron_key(mutator, link[0]) ? found++ : dead++;
    CHECK(found + dead == KEYS && (size_t)found == mallocgc_pushed(mutator) - 1);
    OK(mallocgc_pop_to(mutator, 0));
}

static void in_a_callback(mallocgc_visitor *visitor, void *object) {
    mallocgc_weak *weak;
    mallocgc_visit(visitor, object);
    FAILS(REENTRANT, mallocgc_weak_new(mutator, object, &weak));
    NOTES(REENTRANT, mallocgc_ephemeron_new(mutator, object, object));
}

int main(void) {
    mallocgc_config config = manual();
    mallocgc_stats stats;
    uint64_t id;
    open_heap(&config);
    weak_handles();
    other_heaps();
    ephemerons();
    errors();
    a_table();
    OK(mallocgc_roots_add(heap, in_a_callback, mallocgc_alloc(mutator, NULL, 64, 0), &id));
    collect();
    OK(mallocgc_roots_remove(heap, id));
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.weak_cleared == 3 && stats.weak_handles == 0 && stats.ephemerons_cleared > 50);
    close_heap();
    puts("ok");
    return 0;
}
