/* Limits, external bytes, pressure; collections that the owner of the heap drives. */

#include "check.h"
#include <sys/stat.h>
#include <unistd.h>

static mallocgc_stats stats(void) {
    mallocgc_stats read;
    OK(mallocgc_read_stats(heap, &read, sizeof read));
    return read;
}

/* --- the hard limit ---------------------------------------------------------------- */

static void heap_limit(void) {
    uint64_t cycles = stats().cycles;
    OK(mallocgc_set_heap_limit_bytes(heap, stats().heap_inuse_bytes + (8 << 20)));
    CHECK(mallocgc_alloc(mutator, NULL, 6 << 20, 0));
    NOTES(LIMIT_REACHED, mallocgc_alloc(mutator, NULL, 6 << 20, 0));
    CHECK(stats().limit_errors > 0 && stats().cycles == cycles);
    CHECK(mallocgc_alloc(mutator, NULL, 6 << 20, MALLOCGC_FLAGS_SAFEPOINT));
    CHECK(stats().cycles > cycles);
    OK(mallocgc_set_heap_limit_bytes(heap, UINT64_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_set_heap_limit_bytes(NULL, 1));
    collect();
}

/* --- memory elsewhere ---------------------------------------------------------------- */

static void external(void) {
    mallocgc_external *bytes, *more;
    uint64_t limit = stats().heap_inuse_bytes + (16 << 20);
    OK(mallocgc_external_new(heap, 3 << 20, &bytes));
    CHECK(mallocgc_external_bytes(bytes) == 3 << 20 && stats().external_bytes == 3 << 20);
    OK(mallocgc_external_resize(bytes, 1 << 20));
    CHECK(mallocgc_external_bytes(bytes) == 1 << 20 && stats().external_bytes == 1 << 20);
    OK(mallocgc_set_heap_limit_bytes(heap, limit));
    FAILS(LIMIT_REACHED, mallocgc_external_try_new(heap, 17 << 20, &more));
    OK(mallocgc_external_try_new(heap, 2 << 20, &more));
    CHECK(stats().external_bytes == 3 << 20);
    FAILS(LIMIT_REACHED, mallocgc_external_try_resize(more, 17 << 20));
    CHECK(mallocgc_external_bytes(more) == 2 << 20);
    OK(mallocgc_external_try_resize(more, 4 << 20));
    /* What is there already counts whatever the limit is, and objects find less room. */
    OK(mallocgc_external_resize(bytes, 100 << 20));
    NOTES(LIMIT_REACHED, mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    mallocgc_external_free(bytes);
    mallocgc_external_free(more);
    mallocgc_external_free(NULL);
    CHECK(stats().external_bytes == 0);
    CHECK(mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    /* The largest number is one, too. */
    OK(mallocgc_set_heap_limit_bytes(heap, UINT64_MAX));
    OK(mallocgc_external_new(heap, SIZE_MAX, &bytes));
    CHECK(mallocgc_external_bytes(bytes) == SIZE_MAX);
    OK(mallocgc_external_new(heap, SIZE_MAX, &more));
    mallocgc_external_free(bytes);
    mallocgc_external_free(more);
    CHECK(stats().external_bytes == 0);
    FAILS(BAD_ARGUMENT, mallocgc_external_new(NULL, 1, &bytes));
    FAILS(BAD_ARGUMENT, mallocgc_external_new(heap, 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_external_try_new(NULL, 1, &bytes));
    FAILS(BAD_ARGUMENT, mallocgc_external_try_new(heap, 1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_external_resize(NULL, 1));
    FAILS(BAD_ARGUMENT, mallocgc_external_try_resize(NULL, 1));
    NOTES(BAD_ARGUMENT, mallocgc_external_bytes(NULL));
    collect();
}

/* A finalizer that gives back what its object kept. */
static void give_back(mallocgc_mutator *lent, void *object, void *data) {
    (void)lent, (void)object;
    mallocgc_external_free((mallocgc_external *)data);
}

/* Small objects that keep much elsewhere are collected in time. */
static void external_bytes_make_cycles_due(void) {
    uint64_t most = 0, cycles = stats().cycles;
    OK(mallocgc_set_gc_percent(heap, 100, NULL));
    for (int round = 0; round < 200; round++) {
        mallocgc_external *bytes;
        void *object = mallocgc_alloc(mutator, NULL, 64, 0);
        OK(mallocgc_external_new(heap, 1 << 20, &bytes));
        OK(mallocgc_finalizer_set(mutator, object, 0, give_back, bytes));
        OK(mallocgc_poll(mutator));
        OK(mallocgc_run_finalizers(mutator, 1000, NULL));
        if (stats().external_bytes > most) most = stats().external_bytes;
    }
    CHECK(stats().cycles - cycles >= 10 && most < 40 << 20);
    OK(mallocgc_set_gc_percent(heap, -1, NULL));
    collect();
    OK(mallocgc_run_finalizers(mutator, 1000, NULL));
    CHECK(stats().external_bytes == 0);
}

/* An external that outlives its heap. */
static void external_outlives(void) {
    mallocgc_heap *its;
    mallocgc_external *bytes;
    OK(mallocgc_heap_new(NULL, &its));
    OK(mallocgc_external_new(its, 1000, &bytes));
    mallocgc_heap_free(its);
    OK(mallocgc_external_resize(bytes, 2000));
    OK(mallocgc_external_try_resize(bytes, 3000));
    CHECK(mallocgc_external_bytes(bytes) == 3000);
    mallocgc_external_free(bytes);
}

/* --- pressure -------------------------------------------------------------------- */

static struct {
    int calls;
    mallocgc_pressure last;
    mallocgc_root *cache;
} pressed;

static void drop_the_cache(void *data, const mallocgc_pressure *pressure) {
    CHECK(data == &pressed);
    pressed.calls++;
    pressed.last = *pressure;
    NOTES(REENTRANT, mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    FAILS(REENTRANT, mallocgc_gc(mutator, MALLOCGC_FORCE_NOW));
    mallocgc_root_free(pressed.cache);
    pressed.cache = NULL;
}

static void pressure(void) {
    mallocgc_pressure_hook *hook;
    mallocgc_heap *another;
    uint64_t limit = stats().heap_inuse_bytes + (16 << 20);
    OK(mallocgc_pressure_hook_add(heap, drop_the_cache, &pressed, &hook));
    OK(mallocgc_root_new(heap, mallocgc_alloc(mutator, NULL, 10 << 20, 0), &pressed.cache));
    OK(mallocgc_set_heap_limit_bytes(heap, limit));
    CHECK(pressed.calls == 0);
    /* There is room only once the hook has dropped something. */
    CHECK(mallocgc_alloc(mutator, NULL, 12 << 20, MALLOCGC_FLAGS_SAFEPOINT));
    CHECK(pressed.calls >= 1 && pressed.cache == NULL && stats().pressure_calls == (uint64_t)pressed.calls);
    CHECK(pressed.last.kind == MALLOCGC_LIMIT_KIND_HEAP && pressed.last.limit_bytes == limit);
    OK(mallocgc_set_heap_limit_bytes(heap, UINT64_MAX));
    collect();
    OK(mallocgc_poll(mutator));
    /* The soft limit is one, too. */
    int calls = pressed.calls;
    void *kept = mallocgc_alloc(mutator, NULL, 10 << 20, 0);
    OK(mallocgc_push(mutator, kept, NULL));
    collect();
    OK(mallocgc_set_memory_limit_bytes(heap, 8 << 20));
    CHECK(mallocgc_memory_limit_bytes(heap) == 8 << 20);
    OK(mallocgc_poll(mutator));
    CHECK(pressed.calls == calls + 1 && pressed.last.kind == MALLOCGC_LIMIT_KIND_MEMORY);
    CHECK(pressed.last.limit_bytes == 8 << 20 && pressed.last.current_bytes >= 10 << 20);
    OK(mallocgc_set_memory_limit_bytes(heap, UINT64_MAX));
    OK(mallocgc_pop_to(mutator, 0));
    OK(mallocgc_heap_new(NULL, &another));
    FAILS(WRONG_HEAP, mallocgc_pressure_hook_remove(another, hook));
    mallocgc_heap_free(another);
    OK(mallocgc_pressure_hook_remove(heap, hook));
    FAILS(BAD_ARGUMENT, mallocgc_pressure_hook_remove(heap, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_pressure_hook_add(heap, NULL, NULL, &hook));
    FAILS(BAD_ARGUMENT, mallocgc_pressure_hook_add(heap, drop_the_cache, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_pressure_hook_add(NULL, drop_the_cache, NULL, &hook));
    collect();
}

/* --- the soft limit ---------------------------------------------------------------- */

static void memory_limit(void) {
    uint64_t cycles = stats().cycles;
    FAILS(BAD_ARGUMENT, mallocgc_set_memory_limit_bytes(NULL, 1));
    NOTES(BAD_ARGUMENT, mallocgc_memory_limit_bytes(NULL));
    CHECK(mallocgc_memory_limit_bytes(heap) == UINT64_MAX && stats().memory_limit_bytes == UINT64_MAX);
    /* Holds with automatic collection off. */
    OK(mallocgc_set_memory_limit_bytes(heap, 32 << 20));
    for (int round = 0; round < 2000; round++) {
        CHECK(mallocgc_alloc(mutator, NULL, 64 << 10, 0));
        OK(mallocgc_poll(mutator));
    }
    CHECK(stats().cycles > cycles + 2 && stats().mapped_bytes < 40 << 20);
    OK(mallocgc_set_memory_limit_bytes(heap, UINT64_MAX));
}

static void write_file(const char *root, const char *path, const char *text) {
    char name[300];
    snprintf(name, sizeof name, "%s/%s", root, path);
    for (char *at = name + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(name, 0755);
        *at = '/';
    }
    FILE *file = fopen(name, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void cgroup_limit(void) {
    char root[] = "/tmp/mallocgc-cgroup-XXXXXX", command[64];
    mallocgc_config config = manual();
    mallocgc_heap *its;
    uint64_t limit;
    CHECK(mkdtemp(root));
    write_file(root, "proc/self/cgroup", "0::/job\n");
    write_file(root, "proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    write_file(root, "sys/fs/cgroup/job/memory.max", "268435456\n");
    config.cgroup_root = root;
    OK(mallocgc_heap_new(&config, &its));
    CHECK(mallocgc_memory_limit_bytes(its) == UINT64_MAX);
    mallocgc_heap_free(its);
    config.cgroup_percent = 50;
    OK(mallocgc_heap_new(&config, &its));
    CHECK(mallocgc_memory_limit_bytes(its) == 128 << 20);
    OK(mallocgc_set_memory_limit_bytes(its, 64 << 20));
    CHECK(mallocgc_memory_limit_bytes(its) == 64 << 20);
    OK(mallocgc_set_memory_limit_bytes(its, UINT64_MAX));
    write_file(root, "sys/fs/cgroup/job/memory.max", "max\n");
    CHECK(mallocgc_memory_limit_bytes(its) == 128 << 20);
    OK(mallocgc_update_cgroup_limit(its, &limit));
    CHECK(limit == UINT64_MAX);
    OK(mallocgc_update_cgroup_limit(its, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_update_cgroup_limit(NULL, &limit));
    mallocgc_heap_free(its);
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(system(command) == 0);
}

/* --- steps ---------------------------------------------------------------------- */

static void step_in_a_callback(mallocgc_visitor *visitor, void *data) {
    (void)visitor, (void)data;
    FAILS(REENTRANT, mallocgc_step(mutator, MALLOCGC_FORCE_NOW, 1000, NULL));
}

static void steps(void) {
    enum { LENGTH = 100000 };
    mallocgc_config config = manual();
    mallocgc_progress progress;
    const mallocgc_layout *layout;
    uint64_t first = 1, id;
    int taken = 0;
    /* A heap that is marked in a stop does a cycle in one step. */
    OK(mallocgc_step(mutator, MALLOCGC_FORCE_IF_NEEDED, 1000, &progress));
    CHECK(progress == MALLOCGC_PROGRESS_IDLE);
    OK(mallocgc_roots_add(heap, step_in_a_callback, NULL, &id));
    OK(mallocgc_step(mutator, MALLOCGC_FORCE_NOW, 1000, &progress));
    CHECK(progress == MALLOCGC_PROGRESS_FINISHED);
    OK(mallocgc_roots_remove(heap, id));
    OK(mallocgc_step(mutator, MALLOCGC_FORCE_NOW, 1000, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_step(mutator, 3, 1000, &progress));
    FAILS(BAD_ARGUMENT, mallocgc_step(NULL, MALLOCGC_FORCE_NOW, 1000, &progress));
    close_heap();
    /* One that is marked beside the program takes several, between which the program runs. */
    config.concurrent_from_bytes = 0;
    config.mark_delay_seed = 7;
    open_heap(&config);
    OK(mallocgc_layout_mask(heap, 2, &first, &layout));
    void **list = NULL, **garbage = (void **)mallocgc_new(mutator, layout);
    OK(mallocgc_push(mutator, garbage, NULL));
    for (int length = 0; length < LENGTH; length++) {
        void **node = (void **)mallocgc_new(mutator, layout);
        node[0] = list;
        list = node;
        OK(mallocgc_put(mutator, 0, list));
    }
    for (;;) {
        OK(mallocgc_step(mutator, SWEEP, 16384, &progress));
        if (progress == MALLOCGC_PROGRESS_FINISHED) break;
        CHECK(progress == MALLOCGC_PROGRESS_MARKING);
        taken++;
        /* Cut in two and joined at the front: what was reachable stays. */
        void **rest = (void **)list[0];
        mallocgc_fast_write(mutator, list, NULL);
        void **node = (void **)mallocgc_new(mutator, layout);
        mallocgc_fast_write(mutator, node, rest);
        mallocgc_fast_write(mutator, list, node);
    }
    CHECK(taken > 10 && !lives(garbage));
    int length = 0;
    for (void **node = list; node; node = (void **)node[0], length++) CHECK(lives(node));
    CHECK(length == LENGTH + taken);
    OK(mallocgc_pop_to(mutator, 0));
    while (mallocgc_step(mutator, SWEEP, 1 << 20, &progress) == MALLOCGC_ERROR_NONE &&
           progress != MALLOCGC_PROGRESS_FINISHED) {
    }
    CHECK(stats().heap_objects == 0);
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    heap_limit();
    external();
    external_bytes_make_cycles_due();
    external_outlives();
    pressure();
    memory_limit();
    cgroup_limit();
    steps();
    close_heap();
    puts("ok");
    return 0;
}
