/* Finalizers with priorities, run by the heap or popped by the program; cleanups. */

#include "check.h"

static char story[256];
static char ONE[] = "1", TWO[] = "2", SMALL_A[] = "a", BIG_A[] = "A", SMALL_B[] = "b", SMALL_C[] = "c",
            SMALL_O[] = "o", NEVER[] = "never";

static void tell(mallocgc_mutator *lent, void *object, void *data) {
    CHECK(mallocgc_is_usable(lent) && mallocgc_alloc(lent, NULL, 8, 0));
    CHECK(object != NULL);
    strcat(story, (char *)data);
}

static mallocgc_root *revived;

static void revive(mallocgc_mutator *lent, void *object, void *data) {
    mallocgc_heap *its;
    mallocgc_site *site;
    tell(lent, object, data);
    OK(mallocgc_mutator_heap(lent, &its));
    OK(mallocgc_root_new(its, object, &revived));
    mallocgc_heap_free(its);
    /* The mutator that runs this is not to be used meanwhile. */
    CHECK(!mallocgc_is_usable(mutator));
    NOTES(BUSY, mallocgc_alloc(mutator, NULL, 8, 0));
    FAILS(BUSY, mallocgc_gc(mutator, 1));
    FAILS(BUSY, mallocgc_detach(mutator));
    FAILS(BUSY, mallocgc_run_finalizers(mutator, 1, NULL));
    OK(mallocgc_gc(lent, SWEEP));
    /* But its windows are the lent one's. */
    OK(mallocgc_site_new(lent, NULL, 64, &site));
    CHECK(mallocgc_fast_alloc(lent, site) && mallocgc_fast_alloc(lent, site));
    NOTES(BUSY, mallocgc_fast_alloc(mutator, site));
    OK(mallocgc_fast_poll(lent));
    mallocgc_site_free(site);
    /* Nothing is run inside. */
    size_t ran = 7;
    OK(mallocgc_run_finalizers(lent, 10, &ran));
    CHECK(ran == 0);
    FAILS(NOT_FOUND, mallocgc_finalizer_pop(lent, &object, NULL, NULL));
}

static const mallocgc_layout *pairs(void) {
    const mallocgc_layout *layout;
    uint64_t mask = 1;
    OK(mallocgc_layout_mask(heap, 3, &mask, &layout));
    return layout;
}

/* What the next test wants to be due: an object with four finalizers and another behind it. */
static void **set_up(void **behind) {
    void **object = (void **)mallocgc_new(mutator, pairs()), **other = (void **)mallocgc_new(mutator, pairs());
    *story = 0;
    OK(mallocgc_finalizer_set(mutator, object, 2, tell, SMALL_C));
    OK(mallocgc_finalizer_set(mutator, object, 0, revive, SMALL_A));
    OK(mallocgc_finalizer_set(mutator, object, 1, tell, SMALL_B));
    OK(mallocgc_finalizer_set(mutator, object, 0, tell, BIG_A));
    /* One that is referred to comes after who refers to it. */
    mallocgc_write(mutator, object, other);
    OK(mallocgc_finalizer_set(mutator, other, UINT32_MAX, tell, SMALL_O));
    *behind = other;
    return object;
}

static void run_by_the_heap(void) {
    uint64_t due, cleanups;
    size_t count;
    void *other, **object = set_up(&other);
    collect();
    OK(mallocgc_due(heap, &due, &cleanups));
    CHECK(due == 1 && cleanups == 0);
    OK(mallocgc_run_finalizers(mutator, 0, &count));
    CHECK(count == 0);
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
}

/* Calls what was popped, as a loop of the program's own would. */
static int pop_and_call(void) {
    void *object, *data;
    mallocgc_finalizer_fn finalizer;
    mallocgc_error error = mallocgc_finalizer_pop(mutator, &object, &finalizer, &data);
    if (error == MALLOCGC_ERROR_NOT_FOUND) return 0;
    OK(error);
    OK(mallocgc_push(mutator, object, NULL));
    /* What has not been popped yet is alive, whatever happens. */
    collect();
    CHECK(lives(object));
    if (finalizer == revive) {
        strcat(story, (char *)data);
        OK(mallocgc_root_new(heap, object, &revived));
    } else {
        finalizer(mutator, object, data);
    }
    OK(mallocgc_pop_to(mutator, 0));
    return 1;
}

static void popped_by_the_program(void) {
    uint64_t due;
    void *other, **object = set_up(&other);
    CHECK(!pop_and_call());
    collect();
    OK(mallocgc_due(heap, &due, NULL));
    CHECK(due == 1);
    CHECK(pop_and_call() && !strcmp(story, "a"));
    OK(mallocgc_due(heap, &due, NULL));
    CHECK(due == 1);
    CHECK(pop_and_call() && !strcmp(story, "aA"));
    CHECK(!pop_and_call() && lives(object));
    mallocgc_root_free(revived);
    for (int round = 0; round < 6; round++) {
        collect();
        while (pop_and_call()) {
        }
    }
    CHECK(!strcmp(story, "aAbco") && !lives(object) && !lives(other));
    /* With nowhere to put function and word; and an object popped in part when the heap ends. */
    object = set_up(&other);
    void *found;
    collect();
    OK(mallocgc_finalizer_pop(mutator, &found, NULL, NULL));
    CHECK(found == object);
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_pop(mutator, NULL, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_pop(NULL, &found, NULL, NULL));
}

/* A program without threads pops a hundred thousand, with roots of its own in between. */
static void many_popped(void) {
    enum { MANY = 20000 };
    static long seen[MANY];
    void *object, *data;
    mallocgc_finalizer_fn finalizer;
    for (int at = 0; at < MANY; at++) {
        long *made = (long *)mallocgc_alloc(mutator, NULL, 32, 0);
        made[0] = at;
        OK(mallocgc_finalizer_set(mutator, made, (uint32_t)below(3), tell, seen + at));
    }
    collect();
    for (int popped = 0; popped < MANY; popped++) {
        OK(mallocgc_finalizer_pop(mutator, &object, &finalizer, &data));
        CHECK(finalizer == tell && data == seen + *(long *)object);
        seen[*(long *)object]++;
    }
    FAILS(NOT_FOUND, mallocgc_finalizer_pop(mutator, &object, NULL, NULL));
    for (int at = 0; at < MANY; at++) CHECK(seen[at] == 1);
}

static void errors(void) {
    static int outside;
    size_t count;
    uint64_t due;
    void **object = (void **)mallocgc_new(mutator, pairs());
    OK(mallocgc_finalizer_set(mutator, object, 0, tell, ONE));
    OK(mallocgc_finalizer_set(mutator, object, 1, tell, TWO));
    OK(mallocgc_finalizer_clear(mutator, object, &count));
    CHECK(count == 2);
    OK(mallocgc_finalizer_clear(mutator, object, &count));
    CHECK(count == 0);
    FAILS(NOT_AT_BEGINNING, mallocgc_finalizer_set(mutator, object + 1, 0, tell, ONE));
    FAILS(NOT_ALLOCATED, mallocgc_finalizer_set(mutator, &due, 0, tell, ONE));
    FAILS(NOT_ALLOCATED, mallocgc_finalizer_clear(mutator, &due, NULL));
    FAILS(NOT_AT_BEGINNING, mallocgc_finalizer_clear(mutator, object + 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_clear(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_clear(NULL, object, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_set(mutator, object, 0, NULL, ONE));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_set(mutator, NULL, 0, tell, ONE));
    FAILS(BAD_ARGUMENT, mallocgc_finalizer_set(NULL, object, 0, tell, ONE));
    OK(mallocgc_static_range_add(heap, &outside, sizeof outside));
    FAILS(BAD_ARGUMENT, mallocgc_static_range_add(heap, NULL, 1));
    FAILS(BAD_ARGUMENT, mallocgc_static_range_add(heap, &outside, SIZE_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_static_range_add(NULL, &outside, 1));
    OK(mallocgc_finalizer_set(mutator, &outside, 0, tell, NEVER));
    OK(mallocgc_finalizer_set(mutator, mallocgc_alloc(mutator, NULL, 0, 0), 0, tell, NEVER));
    FAILS(BAD_ARGUMENT, mallocgc_due(NULL, &due, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_run_finalizers(NULL, 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_run_cleanups(NULL, 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_wait(NULL, 0));
    OK(mallocgc_wait(mutator, 0));
}

static void told_cleanup(mallocgc_mutator *lent, void *argument, void *data) {
    CHECK(mallocgc_is_usable(lent));
    strcat(story, argument ? "a" : "-");
    strcat(story, (char *)data);
}

static void cleanups(void) {
    mallocgc_cleanup *name;
    mallocgc_heap *another;
    size_t count;
    uint64_t due;
    void **object = (void **)mallocgc_new(mutator, pairs()), **other = (void **)mallocgc_new(mutator, pairs());
    *story = 0;
    OK(mallocgc_cleanup_add(mutator, object, other, told_cleanup, ONE, NULL));
    OK(mallocgc_cleanup_add(mutator, object, NULL, told_cleanup, TWO, &name));
    OK(mallocgc_heap_new(NULL, &another));
    FAILS(WRONG_HEAP, mallocgc_cleanup_stop(another, name));
    mallocgc_heap_free(another);
    OK(mallocgc_cleanup_stop(heap, name));
    FAILS(NOT_FOUND, mallocgc_cleanup_stop(heap, name));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_stop(NULL, name));
    mallocgc_cleanup_free(name);
    mallocgc_cleanup_free(NULL);
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_stop(heap, NULL));
    FAILS(KEEPS_ITSELF, mallocgc_cleanup_add(mutator, object, object, told_cleanup, ONE, NULL));
    FAILS(KEEPS_ITSELF, mallocgc_cleanup_add(mutator, object, object + 1, told_cleanup, ONE, NULL));
    FAILS(NOT_ALLOCATED, mallocgc_cleanup_add(mutator, &due, NULL, told_cleanup, ONE, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_add(mutator, NULL, NULL, told_cleanup, ONE, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_add(mutator, object, NULL, NULL, ONE, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_cleanup_add(NULL, object, NULL, told_cleanup, ONE, NULL));
    collect();
    CHECK(!lives(object) && lives(other));
    OK(mallocgc_due(heap, NULL, &due));
    CHECK(due == 1);
    FAILS(STOP_TIMED_OUT, mallocgc_wait(mutator, 1000));
    OK(mallocgc_run_cleanups(mutator, 10, &count));
    CHECK(count == 1 && !strcmp(story, "a1"));
    OK(mallocgc_wait(mutator, 0));
}

static void finalizer_in_a_callback(mallocgc_visitor *visitor, void *object) {
    (void)visitor;
    FAILS(REENTRANT, mallocgc_finalizer_set(mutator, object, 0, tell, ONE));
    FAILS(REENTRANT, mallocgc_finalizer_clear(mutator, object, NULL));
    FAILS(REENTRANT, mallocgc_cleanup_add(mutator, object, NULL, told_cleanup, ONE, NULL));
}

static void reentrant(void) {
    uint64_t id;
    void *object = mallocgc_new(mutator, pairs());
    OK(mallocgc_roots_add(heap, finalizer_in_a_callback, object, &id));
    collect();
    OK(mallocgc_roots_remove(heap, id));
}

static volatile int ran_elsewhere;
static void elsewhere(mallocgc_mutator *lent, void *object, void *data) {
    (void)object, (void)data;
    mallocgc_site *site;
    OK(mallocgc_site_new(lent, NULL, 64, &site));
    for (int at = 0; at < 1000; at++) CHECK(mallocgc_fast_alloc(lent, site));
    mallocgc_site_free(site);
    OK(mallocgc_poll(lent));
    __atomic_add_fetch(&ran_elsewhere, 1, __ATOMIC_SEQ_CST);
}

/* With threads of the heap that run what is due. */
static void in_the_background(mallocgc_config config) {
    config.background = 1;
    open_heap(&config);
    for (int at = 0; at < 100; at++) {
        OK(mallocgc_finalizer_set(mutator, mallocgc_alloc(mutator, NULL, 64, 0), 0, elsewhere, NULL));
        OK(mallocgc_cleanup_add(mutator, mallocgc_alloc(mutator, NULL, 64, 0), NULL, elsewhere, NULL, NULL));
    }
    collect();
    OK(mallocgc_wait(mutator, 60000000000));
    CHECK(__atomic_load_n(&ran_elsewhere, __ATOMIC_SEQ_CST) == 200);
    close_heap();
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    run_by_the_heap();
    popped_by_the_program();
    close_heap();
    open_heap(&config);
    many_popped();
    errors();
    cleanups();
    reentrant();
    close_heap();
    in_the_background(config);
    puts("ok");
    return 0;
}
