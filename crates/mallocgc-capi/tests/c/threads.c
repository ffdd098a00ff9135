/* Mutators and threads: attached, stopped, blocked, in the wrong place. */

#include "check.h"
#include <unistd.h>

static void no_hook(void *data) { fail(__FILE__, __LINE__, (char *)data); }

static void no_cleanup(mallocgc_mutator *lent, void *argument, void *data) {
    (void)lent, (void)argument;
    fail(__FILE__, __LINE__, (char *)data);
}

static void no_walk(void *data, const mallocgc_walked *walked) {
    (void)data, (void)walked;
    fail(__FILE__, __LINE__, "a walk");
}

static int no_output(void *data, const void *bytes, size_t length) {
    (void)data, (void)bytes;
    return length != 0;
}

static void *other_thread(void *unused) {
    mallocgc_mutator *own, *twice;
    mallocgc_heap *its;
    mallocgc_site *site;
    mallocgc_cleanup *name;
    mallocgc_weak *weak;
    mallocgc_finalizer_fn none = NULL;
    void *object;
    (void)unused;
    FAILS(WRONG_THREAD, mallocgc_gc(mutator, 1));
    FAILS(WRONG_THREAD, mallocgc_poll(mutator));
    FAILS(WRONG_THREAD, mallocgc_step(mutator, 1, 1, NULL));
    FAILS(WRONG_THREAD, mallocgc_verify(mutator));
    FAILS(WRONG_THREAD, mallocgc_detach(mutator));
    FAILS(WRONG_THREAD, mallocgc_walk(mutator, no_walk, NULL));
    FAILS(WRONG_THREAD, mallocgc_write_dump(mutator, no_output, NULL));
    FAILS(WRONG_THREAD, mallocgc_finalizer_set(mutator, heap, 0, no_cleanup, NULL));
    FAILS(WRONG_THREAD, mallocgc_ephemeron_clear(mutator, heap));
    FAILS(WRONG_THREAD, mallocgc_ephemeron_set_value(mutator, heap, NULL));
    NOTES(WRONG_THREAD, mallocgc_ephemeron_key(mutator, heap));
    NOTES(WRONG_THREAD, mallocgc_ephemeron_value(mutator, heap));
    FAILS(WRONG_THREAD, mallocgc_blocking(mutator, no_hook, NULL));
    FAILS(WRONG_THREAD, mallocgc_mutator_heap(mutator, &its));
    FAILS(WRONG_THREAD, mallocgc_site_new(mutator, NULL, 8, &site));
    FAILS(WRONG_THREAD, mallocgc_push(mutator, heap, NULL));
    FAILS(WRONG_THREAD, mallocgc_put(mutator, 0, heap));
    FAILS(WRONG_THREAD, mallocgc_pop_to(mutator, 0));
    NOTES(WRONG_THREAD, mallocgc_pushed(mutator));
    NOTES(WRONG_THREAD, mallocgc_at(mutator, 0));
    FAILS(WRONG_THREAD, mallocgc_set_roots(mutator, NULL, NULL));
    FAILS(WRONG_THREAD, mallocgc_scan_own_stack(mutator, NULL));
    FAILS(WRONG_THREAD, mallocgc_finalizer_clear(mutator, heap, NULL));
    FAILS(WRONG_THREAD, mallocgc_finalizer_pop(mutator, &object, &none, NULL));
    FAILS(WRONG_THREAD, mallocgc_run_finalizers(mutator, 1, NULL));
    FAILS(WRONG_THREAD, mallocgc_run_cleanups(mutator, 1, NULL));
    FAILS(WRONG_THREAD, mallocgc_wait(mutator, 1));
    FAILS(WRONG_THREAD, mallocgc_cleanup_add(mutator, heap, NULL, no_cleanup, NULL, &name));
    FAILS(WRONG_THREAD, mallocgc_weak_new(mutator, heap, &weak));
    NOTES(WRONG_THREAD, mallocgc_ephemeron_new(mutator, heap, NULL));
    FAILS(WRONG_THREAD, mallocgc_pre_write_object(mutator, heap, 0, 0));
    CHECK(!mallocgc_is_usable(mutator));
    CHECK(!mallocgc_is_usable(NULL));
    OK(mallocgc_attach(heap, &own));
    CHECK(mallocgc_is_usable(own));
    FAILS(ALREADY_ATTACHED, mallocgc_attach(heap, &twice));
    for (int round = 0; round < scaled(2000); round++) {
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
    void *object;
    NOTES(BUSY, mallocgc_alloc(mutator, NULL, 8, 0));
    NOTES(BUSY, mallocgc_alloc_aligned(mutator, NULL, 8, 64, 0));
    NOTES(BUSY, mallocgc_new(mutator, NULL));
    NOTES(BUSY, mallocgc_new_array(mutator, NULL, 3));
    NOTES(BUSY, mallocgc_site_alloc(mutator, NULL));
    NOTES(BUSY, mallocgc_ephemeron_new(mutator, heap, NULL));
    FAILS(BUSY, mallocgc_poll(mutator));
    FAILS(BUSY, mallocgc_push(mutator, heap, NULL));
    FAILS(BUSY, mallocgc_finalizer_pop(mutator, &object, NULL, NULL));
    FAILS(BUSY, mallocgc_blocking(mutator, wait_for_thread, NULL));
    FAILS(BUSY, mallocgc_detach(mutator));
    CHECK(pthread_join(*(pthread_t *)thread, NULL) == 0);
}

static void in_order(void) {
    pthread_t thread;
    mallocgc_heap *its;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    OK(mallocgc_blocking(mutator, wait_for_thread, &thread));
    FAILS(BAD_ARGUMENT, mallocgc_blocking(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_blocking(NULL, wait_for_thread, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_poll(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_gc(mutator, 3));
    FAILS(BAD_ARGUMENT, mallocgc_gc(mutator, UINT32_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_gc(NULL, 1));
    FAILS(BAD_ARGUMENT, mallocgc_verify(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_heap_gc(NULL, 1));
    FAILS(BAD_ARGUMENT, mallocgc_heap_gc(heap, 3));
    FAILS(BAD_ARGUMENT, mallocgc_heap_verify(NULL));
    FAILS(BAD_ARGUMENT, mallocgc_attach(NULL, &mutator));
    FAILS(BAD_ARGUMENT, mallocgc_attach(heap, NULL));
    OK(mallocgc_verify(mutator));
    OK(mallocgc_mutator_heap(mutator, &its));
    OK(mallocgc_find_object(its, mallocgc_alloc(mutator, NULL, 8, 0), NULL, NULL));
    mallocgc_heap_free(its);
    FAILS(BAD_ARGUMENT, mallocgc_mutator_heap(mutator, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_mutator_heap(NULL, &its));
    OK(mallocgc_detach(NULL));
}

/* --- a thread that reaches no boundary --------------------------------------------------- */

static volatile int is_attached, may_go;

static void *stubborn(void *unused) {
    mallocgc_mutator *own;
    (void)unused;
    OK(mallocgc_attach(heap, &own));
    __atomic_store_n(&is_attached, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&may_go, __ATOMIC_SEQ_CST)) usleep(1000);
    OK(mallocgc_detach(own));
    return NULL;
}

static int put_off;
static char logged[1024];

static void note_put_off(void *data, const mallocgc_event *event) {
    if (event->kind == MALLOCGC_EVENT_KIND_CYCLE_PUT_OFF) ++*(int *)data;
}

static void log_line(void *data, const char *line, size_t length) {
    strncat((char *)data, line, length < 500 ? length : 500);
}

static void a_stubborn_thread(mallocgc_config config) {
    pthread_t thread;
    config.stop_limit_nanos = 20000000;
    config.log = log_line;
    config.log_data = logged;
    config.collect_every = 0;
    open_heap(&config);
    OK(mallocgc_set_cycle_listener(heap, note_put_off, &put_off));
    CHECK(pthread_create(&thread, NULL, stubborn, NULL) == 0);
    while (!__atomic_load_n(&is_attached, __ATOMIC_SEQ_CST)) usleep(1000);
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    FAILS(STOP_TIMED_OUT, mallocgc_gc(mutator, SWEEP));
    FAILS(STOP_TIMED_OUT, mallocgc_verify(mutator));
    FAILS(STOP_TIMED_OUT, mallocgc_step(mutator, SWEEP, 1, NULL));
    CHECK(lives(object) && put_off >= 1 && strstr(logged, "boundary"));
    __atomic_store_n(&may_go, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0);
    collect();
    CHECK(!lives(object));
    close_heap();
}

/* --- many threads, one heap --------------------------------------------------------------- */

enum { THREADS = 4, SHARED = 64 };
static void *shared[SHARED];
static const mallocgc_layout *node_layout;

static void *churn(void *number) {
    mallocgc_mutator *own;
    mallocgc_site *site;
    unsigned long state = (unsigned long)(size_t)number + 1;
    for (int life = 0; life < 3; life++) {
        OK(mallocgc_attach(heap, &own));
        OK(mallocgc_site_new(own, node_layout, 24, &site));
        for (int round = 0; round < scaled(20000); round++) {
            void **made = (void **)mallocgc_fast_alloc(own, site);
            CHECK(made && !made[0]);
            made[1] = (void *)~(uintptr_t)made;
            state = state * 6364136223846793005u + 1442695040888963407u;
            void **slot = &shared[(state >> 40) % SHARED], **old = (void **)__atomic_load_n(slot, __ATOMIC_ACQUIRE);
            if (old) CHECK(old[1] == (void *)~(uintptr_t)old);
            if (state >> 61) mallocgc_fast_write(own, &made[0], old);
            mallocgc_fast_write(own, slot, made);
            OK(mallocgc_fast_poll(own));
        }
        mallocgc_site_free(site);
        OK(mallocgc_detach(own));
    }
    return NULL;
}

static void wait_for_all(void *threads) {
    for (int at = 0; at < THREADS; at++) CHECK(pthread_join(((pthread_t *)threads)[at], NULL) == 0);
}

static void many_threads(mallocgc_config config) {
    pthread_t threads[THREADS];
    mallocgc_stats stats;
    uint64_t id, first = 1;
    config.gc_percent = 100;
    config.min_heap_bytes = 1 << 20;
    config.background = 1;
    config.concurrent_from_bytes = 0;
    config.collect_every = is_zeal() ? 50 : 0;
    config.verify = is_zeal();
    memset(shared, 0, sizeof shared);
    open_heap(&config);
    OK(mallocgc_layout_mask(heap, 3, &first, &node_layout));
    OK(mallocgc_range_add(heap, shared, SHARED, MALLOCGC_RANGE_KIND_REFERENCES, &id));
    for (size_t at = 0; at < THREADS; at++)
        CHECK(pthread_create(&threads[at], NULL, churn, (void *)at) == 0);
    OK(mallocgc_blocking(mutator, wait_for_all, threads));
    OK(mallocgc_range_remove(heap, id));
    /* Perhaps a cycle was open that began while they were reachable. */
    collect();
    collect();
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.cycles >= 3 && stats.heap_objects == 0 && stats.mutators == 1);
    close_heap();
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    in_order();
    close_heap();
    a_stubborn_thread(config);
    many_threads(config);
    puts("ok");
    return 0;
}
