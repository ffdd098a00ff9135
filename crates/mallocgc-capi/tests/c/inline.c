/* The inline functions: allocation from windows, the barrier, the poll. */

#include "check.h"

enum { KINDS = 5, HELD = 512 };

static void trace_words(void *object, size_t size, mallocgc_tracer *tracer) {
    void **words = (void **)object;
    for (size_t at = 0; at < size / 8; at += 2) mallocgc_trace(tracer, words[at]);
}

/* Layouts in which the first word of two is a reference, but for the first, without any. */
static const mallocgc_layout *layout_of(mallocgc_heap *its, int kind) {
    const mallocgc_layout *layout = NULL;
    uint64_t first = 1;
    switch (kind) {
    case 1: OK(mallocgc_layout_mask(its, 1, &first, &layout)); break;
    case 2: OK(mallocgc_layout_array(its, 0, NULL, 2, &first, &layout)); break;
    case 3: OK(mallocgc_layout_trace(its, 16, 0, trace_words, &layout)); break;
    case 4: OK(mallocgc_layout_conservative(its, 16, &layout)); break;
    }
    return layout;
}

static uint64_t objects_made(void) {
    mallocgc_stats stats;
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    return stats.mallocs;
}

static void check_zero(const void *object, size_t bytes) {
    const char *all = (const char *)object;
    for (size_t at = 0; at < bytes; at++) CHECK(all[at] == 0);
}

/* An object by either way, which is what its site says. */
static void *make(const mallocgc_site *site, size_t bytes) {
    size_t usable;
    void *base, *object = below(4) ? mallocgc_fast_alloc(mutator, site) : mallocgc_site_alloc(mutator, site);
    CHECK(object);
    OK(mallocgc_find_object(heap, object, &base, &usable));
    CHECK(base == object && usable >= bytes && usable == ((mallocgc_site_head *)site)->cell_bytes);
    check_zero(object, usable);
    return object;
}

/* Of every size and layout: each object is one of its own, zero, and counted. */
static void every_kind(void) {
    uint64_t before = objects_made(), made = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        const mallocgc_layout *layout = layout_of(heap, kind);
        for (size_t bytes = 16; bytes <= 1100; bytes += 28) {
            mallocgc_site *site;
            char *last = NULL;
            OK(mallocgc_site_new(mutator, layout, bytes, &site));
            for (int count = 0; count < 40; count++, made++) {
                char *object = (char *)make(site, bytes);
                CHECK(object != last);
                memset(object + 8, 0xab, bytes - 8);
                if (kind) memset(object, 0, bytes);
                last = object;
            }
            mallocgc_site_free(site);
        }
        /* Sooner or later cells that were somebody's. */
        collect();
    }
    CHECK(objects_made() - before == made);
}

/* A graph that is made, cut and collected at random, by the inline functions alone. */
static void a_random_program(mallocgc_config config) {
    struct node {
        struct node *next;
        size_t check;
    };
    mallocgc_site *sites[KINDS];
    struct node *held[HELD];
    uint64_t id;
    memset(held, 0, sizeof held);
    open_heap(&config);
    OK(mallocgc_range_add(heap, held, HELD, MALLOCGC_RANGE_KIND_REFERENCES, &id));
    for (int kind = 1; kind < KINDS; kind++)
        OK(mallocgc_site_new(mutator, layout_of(heap, kind), sizeof(struct node), &sites[kind]));
    for (int round = 0; round < scaled(200000); round++) {
        size_t at = below(HELD), from = below(HELD);
        struct node *node = (struct node *)mallocgc_fast_alloc(mutator, sites[1 + below(KINDS - 1)]);
        CHECK(node && !node->next && !node->check);
        node->check = ~(size_t)node;
        if (below(2)) mallocgc_fast_write(mutator, (void **)&node->next, held[from]);
        mallocgc_fast_write(mutator, (void **)&held[at], node);
        if (below(3) == 0 && held[from]) {
            mallocgc_fast_pre_write(mutator, (void **)&held[from]->next);
            held[from]->next = NULL;
        }
        OK(mallocgc_fast_poll(mutator));
        if (round % 20000 == 0) collect();
    }
    for (size_t at = 0; at < HELD; at++) {
        int length = 0;
        for (struct node *node = held[at]; node && length < 1000; node = node->next, length++)
            CHECK(node->check == ~(size_t)node);
    }
    for (int kind = 1; kind < KINDS; kind++) mallocgc_site_free(sites[kind]);
    close_heap();
}

static int told;
static void count_allocations(void *data, const mallocgc_event *event) {
    if (event->kind == MALLOCGC_EVENT_KIND_ALLOC) ++*(int *)data;
}

/* Whatever must happen at an allocation happens at those from windows too. */
static void nothing_is_missed(void) {
    mallocgc_config config = manual();
    mallocgc_stats stats;
    mallocgc_site *site;
    config.profile_rate = 1;
    OK(mallocgc_heap_new(&config, &heap));
    OK(mallocgc_set_listener(heap, count_allocations, &told));
    OK(mallocgc_attach(heap, &mutator));
    OK(mallocgc_site_new(mutator, NULL, 48, &site));
    for (int count = 0; count < 1000; count++) CHECK(mallocgc_fast_alloc(mutator, site));
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(told == 1000 && stats.profile_samples == 1000 && stats.mallocs == 1000);
    OK(mallocgc_set_listener(heap, NULL, NULL));
    OK(mallocgc_set_profile_rate(heap, 0, NULL));
    OK(mallocgc_set_heap_limit_bytes(heap, stats.heap_inuse_bytes + (1 << 20)));
    int count = 0;
    while (mallocgc_fast_alloc(mutator, site)) CHECK(++count < 1 << 16);
    CHECK(count > 1 << 14 && mallocgc_last_error() == MALLOCGC_ERROR_LIMIT_REACHED);
    mallocgc_site_free(site);
    close_heap();
    /* A collection at every boundary, of an inline poll as well. */
    config.profile_rate = 0;
    config.collect_every = 1;
    open_heap(&config);
    OK(mallocgc_site_new(mutator, NULL, 48, &site));
    for (uint64_t round = 1; round < 20; round++) {
        CHECK(mallocgc_fast_alloc(mutator, site));
        OK(mallocgc_fast_poll(mutator));
        OK(mallocgc_read_stats(heap, &stats, sizeof stats));
        CHECK(stats.cycles == round);
    }
    mallocgc_site_free(site);
    close_heap();
}

static void use_while_busy(void *site) {
    NOTES(BUSY, mallocgc_fast_alloc(mutator, (mallocgc_site *)site));
    FAILS(BUSY, mallocgc_fast_poll(mutator));
    NOTES(BUSY, mallocgc_site_window(mutator, (mallocgc_site *)site));
}

static void *on_another_thread(void *site) {
    mallocgc_mutator *own;
    NOTES(WRONG_THREAD, mallocgc_site_window(mutator, (mallocgc_site *)site));
    OK(mallocgc_attach(heap, &own));
    for (int count = 0; count < 10000; count++) {
        char *object = (char *)mallocgc_fast_alloc(own, (mallocgc_site *)site);
        check_zero(object, 64);
        memset(object, 1, 64);
        OK(mallocgc_fast_poll(own));
    }
    OK(mallocgc_detach(own));
    return NULL;
}

static void windows(void) {
    mallocgc_site *site, *same, *large, *foreign;
    mallocgc_heap *another;
    mallocgc_mutator *its;
    pthread_t thread;
    OK(mallocgc_site_new(mutator, NULL, 64, &site));
    OK(mallocgc_site_new(mutator, NULL, 60, &same));
    OK(mallocgc_site_new(mutator, NULL, 513, &large));
    mallocgc_window *window = mallocgc_site_window(mutator, site);
    CHECK(window && mallocgc_site_window(mutator, same) == window);
    char *first = (char *)mallocgc_site_alloc(mutator, site);
    CHECK(window->next != window->limit && (window->limit - window->next) % 64 == 0);
    char *second = (char *)mallocgc_fast_alloc(mutator, same);
    CHECK(second == first + 64 && window->next == second + 64);
    CHECK(mallocgc_fast_alloc(mutator, large));
    window = mallocgc_site_window(mutator, large);
    CHECK(window->next == window->limit);
    NOTES(BAD_ARGUMENT, mallocgc_site_window(mutator, NULL));
    NOTES(BAD_ARGUMENT, mallocgc_site_window(NULL, site));
    OK(mallocgc_heap_new(NULL, &another));
    OK(mallocgc_attach(another, &its));
    OK(mallocgc_site_new(its, NULL, 64, &foreign));
    NOTES(WRONG_HEAP, mallocgc_site_window(mutator, foreign));
    NOTES(WRONG_HEAP, mallocgc_site_alloc(mutator, foreign));
    mallocgc_site_free(foreign);
    OK(mallocgc_detach(its));
    mallocgc_heap_free(another);
    OK(mallocgc_blocking(mutator, use_while_busy, site));
    CHECK(mallocgc_fast_alloc(mutator, site));
    OK(mallocgc_fast_poll(mutator));
    CHECK(pthread_create(&thread, NULL, on_another_thread, site) == 0);
    for (int count = 0; count < 10000; count++) {
        char *object = (char *)mallocgc_fast_alloc(mutator, site);
        check_zero(object, 64);
        memset(object, 2, 64);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    mallocgc_site_free(site);
    mallocgc_site_free(same);
    mallocgc_site_free(large);
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    every_kind();
    windows();
    close_heap();
    nothing_is_missed();
    config.collect_every = is_zeal() ? 3 : 0;
    a_random_program(config);
    config.verify = is_zeal();
    config.gc_percent = 100;
    config.min_heap_bytes = 256 << 10;
    config.concurrent_from_bytes = 0;
    config.background = 1;
    a_random_program(config);
    puts("ok");
    return 0;
}
