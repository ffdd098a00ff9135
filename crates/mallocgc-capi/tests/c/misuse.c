/* Handles that were freed, are of another kind, or are another heap's: each is known as such. */

#include "check.h"

static void no_hook(void *data) { (void)data; }
static void no_pressure(void *data, const mallocgc_pressure *pressure) { (void)data, (void)pressure; }
static void no_finalizer(mallocgc_mutator *lent, void *object, void *data) {
    (void)lent, (void)object, (void)data;
}
static void see_nothing(void *data, const mallocgc_walked *walked) { (void)data, (void)walked; }
static int write_nothing(void *data, const void *bytes, size_t length) {
    (void)data, (void)bytes;
    return length == 0;
}

/* Every function that takes a heap refuses this one with this code. */
#define HEAP(error, bad)                                                                           \
    do {                                                                                           \
        mallocgc_mutator *m;                                                                       \
        const mallocgc_layout *layout;                                                             \
        uint64_t id, mask = 1;                                                                     \
        mallocgc_stats stats;                                                                      \
        mallocgc_root *root;                                                                       \
        mallocgc_stack *stack;                                                                     \
        mallocgc_external *external;                                                               \
        mallocgc_hook *hook;                                                                       \
        mallocgc_pressure_hook *pressure;                                                          \
        FAILS(error, mallocgc_attach(bad, &m));                                                    \
        FAILS(error, mallocgc_heap_gc(bad, 1));                                                    \
        FAILS(error, mallocgc_heap_verify(bad));                                                   \
        FAILS(error, mallocgc_heap_walk(bad, see_nothing, NULL));                                  \
        FAILS(error, mallocgc_set_gc_percent(bad, 100, NULL));                                     \
        FAILS(error, mallocgc_set_min_heap_bytes(bad, 100));                                       \
        FAILS(error, mallocgc_set_heap_limit_bytes(bad, 100));                                     \
        FAILS(error, mallocgc_set_memory_limit_bytes(bad, 100));                                   \
        NOTES(error, mallocgc_memory_limit_bytes(bad));                                            \
        FAILS(error, mallocgc_update_cgroup_limit(bad, NULL));                                     \
        NOTES(error, mallocgc_release_memory(bad));                                                \
        FAILS(error, mallocgc_layout_noscan(bad, 8, &layout));                                     \
        FAILS(error, mallocgc_layout_mask(bad, 1, &mask, &layout));                                \
        FAILS(error, mallocgc_clear_hook_add(bad, no_hook, NULL, &hook));                          \
        FAILS(error, mallocgc_pressure_hook_add(bad, no_pressure, NULL, &pressure));               \
        FAILS(error, mallocgc_external_new(bad, 1, &external));                                    \
        FAILS(error, mallocgc_external_try_new(bad, 1, &external));                                \
        FAILS(error, mallocgc_find_object(bad, &mask, NULL, NULL));                                \
        FAILS(error, mallocgc_root_new(bad, &mask, &root));                                        \
        FAILS(error, mallocgc_range_add(bad, &mask, 1, 0, &id));                                   \
        FAILS(error, mallocgc_range_remove(bad, 1));                                               \
        FAILS(error, mallocgc_static_range_add(bad, &mask, 1));                                    \
        FAILS(error, mallocgc_roots_remove(bad, 1));                                               \
        FAILS(error, mallocgc_stack_add(bad, &mask, &stack));                                      \
        FAILS(error, mallocgc_due(bad, NULL, NULL));                                               \
        FAILS(error, mallocgc_read_stats(bad, &stats, sizeof stats));                              \
        NOTES(error, mallocgc_pause_quantile(bad, 0.5));                                           \
        NOTES(error, mallocgc_delay_quantile(bad, 0, 0.5));                                        \
        FAILS(error, mallocgc_set_profile_rate(bad, 1, NULL));                                     \
        FAILS(error, mallocgc_write_profile(bad, write_nothing, NULL));                            \
        FAILS(error, mallocgc_set_listener(bad, NULL, NULL));                                      \
        FAILS(error, mallocgc_set_cycle_listener(bad, NULL, NULL));                                \
    } while (0)

/* Every function that takes a mutator. */
#define MUTATOR(error, bad, site)                                                                  \
    do {                                                                                           \
        mallocgc_heap *h;                                                                          \
        mallocgc_site *made;                                                                       \
        mallocgc_weak *weak;                                                                       \
        void *object = NULL, *slot = NULL;                                                         \
        CHECK(!mallocgc_is_usable(bad));                                                           \
        FAILS(error, mallocgc_poll(bad));                                                          \
        FAILS(error, mallocgc_gc(bad, 1));                                                         \
        FAILS(error, mallocgc_step(bad, 1, 1, NULL));                                              \
        FAILS(error, mallocgc_verify(bad));                                                        \
        FAILS(error, mallocgc_walk(bad, see_nothing, NULL));                                       \
        FAILS(error, mallocgc_write_dump(bad, write_nothing, NULL));                               \
        FAILS(error, mallocgc_mutator_heap(bad, &h));                                              \
        FAILS(error, mallocgc_blocking(bad, no_hook, NULL));                                       \
        NOTES(error, mallocgc_alloc(bad, NULL, 8, 0));                                             \
        NOTES(error, mallocgc_alloc(bad, NULL, 8, MALLOCGC_FLAGS_SAFEPOINT));                      \
        NOTES(error, mallocgc_alloc_aligned(bad, NULL, 8, 64, 0));                                 \
        NOTES(error, mallocgc_new(bad, NULL));                                                     \
        NOTES(error, mallocgc_new_array(bad, NULL, 2));                                            \
        FAILS(error, mallocgc_site_new(bad, NULL, 8, &made));                                      \
        NOTES(error, mallocgc_site_alloc(bad, site));                                              \
        NOTES(error, mallocgc_site_window(bad, site));                                             \
        TELLS(error, mallocgc_write(bad, &slot, NULL));                                            \
        NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));                                              \
        TELLS(error, mallocgc_pre_write(bad, &slot));                                              \
        NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));                                              \
        TELLS(error, mallocgc_pre_write_range(bad, &slot, 1));                                     \
        NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));                                              \
        TELLS(error, mallocgc_write_range(bad, &slot, &slot, 1));                                  \
        FAILS(error, mallocgc_pre_write_object(bad, &slot, 0, 8));                                 \
        FAILS(error, mallocgc_push(bad, &slot, NULL));                                             \
        NOTES(error, mallocgc_pushed(bad));                                                        \
        NOTES(error, mallocgc_at(bad, 0));                                                         \
        FAILS(error, mallocgc_put(bad, 0, &slot));                                                 \
        FAILS(error, mallocgc_pop_to(bad, 0));                                                     \
        FAILS(error, mallocgc_set_roots(bad, NULL, NULL));                                         \
        FAILS(error, mallocgc_scan_own_stack(bad, NULL));                                          \
        FAILS(error, mallocgc_finalizer_set(bad, &slot, 0, no_finalizer, NULL));                   \
        FAILS(error, mallocgc_finalizer_clear(bad, &slot, NULL));                                  \
        FAILS(error, mallocgc_finalizer_pop(bad, &object, NULL, NULL));                            \
        FAILS(error, mallocgc_run_finalizers(bad, 1, NULL));                                       \
        FAILS(error, mallocgc_run_cleanups(bad, 1, NULL));                                         \
        FAILS(error, mallocgc_wait(bad, 1));                                                       \
        FAILS(error, mallocgc_cleanup_add(bad, &slot, NULL, no_finalizer, NULL, NULL));            \
        FAILS(error, mallocgc_weak_new(bad, &slot, &weak));                                        \
        NOTES(error, mallocgc_ephemeron_new(bad, &slot, NULL));                                    \
        NOTES(error, mallocgc_ephemeron_key(bad, &slot));                                          \
        NOTES(error, mallocgc_ephemeron_value(bad, &slot));                                        \
        FAILS(error, mallocgc_ephemeron_set_value(bad, &slot, NULL));                              \
        FAILS(error, mallocgc_ephemeron_clear(bad, &slot));                                        \
    } while (0)

static void heaps_and_mutators(void) {
    mallocgc_config config = manual();
    mallocgc_heap *its;
    mallocgc_mutator *own;
    mallocgc_site *site;
    mallocgc_root *handle;
    void *slot = NULL;
    OK(mallocgc_heap_new(&config, &its));
    OK(mallocgc_attach(its, &own));
    OK(mallocgc_site_new(own, NULL, 48, &site));
    CHECK(mallocgc_fast_alloc(own, site));
    OK(mallocgc_root_new(its, mallocgc_alloc(own, NULL, 8, 0), &handle));
    OK(mallocgc_detach(own));
    MUTATOR(BAD_HANDLE, own, site);
    FAILS(BAD_HANDLE, mallocgc_poll((mallocgc_mutator *)(void *)handle));
    MUTATOR(BAD_ARGUMENT, (mallocgc_mutator *)NULL, site);
    FAILS(BAD_HANDLE, mallocgc_detach(own));
    /* Inline functions do not look, but come to a function that does. */
    NOTES(BAD_HANDLE, mallocgc_fast_alloc(own, site));
    FAILS(BAD_HANDLE, mallocgc_fast_poll(own));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_fast_write(own, &slot, NULL));
    mallocgc_site_free(site);
    mallocgc_root_free(handle);
    mallocgc_heap_free(its);
    HEAP(BAD_HANDLE, its);
    HEAP(BAD_HANDLE, (mallocgc_heap *)(void *)handle);
    HEAP(BAD_ARGUMENT, (mallocgc_heap *)NULL);
    TELLS(BAD_HANDLE, mallocgc_heap_free(its));
}

static void sites(void) {
    mallocgc_site *site;
    OK(mallocgc_site_new(mutator, NULL, 48, &site));
    CHECK(mallocgc_fast_alloc(mutator, site) && mallocgc_fast_alloc(mutator, site));
    mallocgc_site_free(site);
    NOTES(BAD_HANDLE, mallocgc_fast_alloc(mutator, site));
    NOTES(BAD_HANDLE, mallocgc_site_alloc(mutator, site));
    NOTES(BAD_HANDLE, mallocgc_site_window(mutator, site));
    TELLS(BAD_HANDLE, mallocgc_site_free(site));
}

static void all_others(void) {
    mallocgc_root *root;
    mallocgc_weak *weak, *alive;
    mallocgc_stack *stack, *other_stack;
    mallocgc_external *external;
    mallocgc_hook *hook;
    mallocgc_pressure_hook *pressure;
    mallocgc_cleanup *cleanup;
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_root_new(heap, object, &root));
    mallocgc_root_free(root);
    NOTES(BAD_HANDLE, mallocgc_root_get(root));
    FAILS(BAD_HANDLE, mallocgc_root_set(root, object));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_root_free(root));

    OK(mallocgc_weak_new(mutator, object, &weak));
    OK(mallocgc_weak_new(mutator, object, &alive));
    mallocgc_weak_free(weak);
    NOTES(BAD_HANDLE, mallocgc_weak_get(mutator, weak));
    NOTES(BAD_HANDLE, mallocgc_weak_equal(weak, alive));
    NOTES(BAD_HANDLE, mallocgc_weak_equal(alive, weak));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_weak_free(weak));
    NOTES(BAD_HANDLE, mallocgc_root_get((mallocgc_root *)(void *)alive));
    mallocgc_weak_free(alive);

    OK(mallocgc_stack_add(heap, &object, &stack));
    OK(mallocgc_stack_add(heap, &object, &other_stack));
    mallocgc_stack_remove(stack);
    FAILS(BAD_HANDLE, mallocgc_stack_set_top(stack, NULL));
    FAILS(BAD_HANDLE, mallocgc_stack_switch(mutator, stack, other_stack, no_hook, NULL));
    FAILS(BAD_HANDLE, mallocgc_stack_switch(mutator, other_stack, stack, no_hook, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_stack_remove(stack));
    mallocgc_stack_remove(other_stack);

    OK(mallocgc_external_new(heap, 100, &external));
    mallocgc_external_free(external);
    NOTES(BAD_HANDLE, mallocgc_external_bytes(external));
    FAILS(BAD_HANDLE, mallocgc_external_resize(external, 1));
    FAILS(BAD_HANDLE, mallocgc_external_try_resize(external, 1));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_external_free(external));

    OK(mallocgc_clear_hook_add(heap, no_hook, NULL, &hook));
    OK(mallocgc_clear_hook_remove(heap, hook));
    FAILS(BAD_HANDLE, mallocgc_clear_hook_remove(heap, hook));
    OK(mallocgc_pressure_hook_add(heap, no_pressure, NULL, &pressure));
    OK(mallocgc_pressure_hook_remove(heap, pressure));
    FAILS(BAD_HANDLE, mallocgc_pressure_hook_remove(heap, pressure));

    OK(mallocgc_cleanup_add(mutator, object, NULL, no_finalizer, NULL, &cleanup));
    mallocgc_cleanup_free(cleanup);
    FAILS(BAD_HANDLE, mallocgc_cleanup_stop(heap, cleanup));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    TELLS(BAD_HANDLE, mallocgc_cleanup_free(cleanup));
}

/* A finalizer keeps the mutator it is lent, or wants to end it. */
static mallocgc_mutator *kept;

static void keep(mallocgc_mutator *lent, void *object, void *data) {
    (void)object, (void)data;
    FAILS(BAD_ARGUMENT, mallocgc_detach(lent));
    CHECK(mallocgc_is_usable(lent));
    kept = lent;
}

static void lent_mutators(void) {
    mallocgc_site *site;
    OK(mallocgc_site_new(mutator, NULL, 48, &site));
    OK(mallocgc_finalizer_set(mutator, mallocgc_alloc(mutator, NULL, 64, 0), 0, keep, NULL));
    collect();
    OK(mallocgc_run_finalizers(mutator, 1, NULL));
    MUTATOR(BAD_HANDLE, kept, site);
    NOTES(BAD_HANDLE, mallocgc_fast_alloc(kept, site));
    kept = NULL;
    OK(mallocgc_cleanup_add(mutator, mallocgc_alloc(mutator, NULL, 64, 0), NULL, keep, NULL, NULL));
    collect();
    OK(mallocgc_run_cleanups(mutator, 10, NULL));
    MUTATOR(BAD_HANDLE, kept, site);
    mallocgc_site_free(site);
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    heaps_and_mutators();
    sites();
    all_others();
    lent_mutators();
    close_heap();
    puts("ok");
    return 0;
}
