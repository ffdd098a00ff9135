/* Heaps, settings, codes and their texts; memory given back; hooks. */

#include "check.h"

static char logged[4096];
static void log_line(void *data, const char *line, size_t length) {
    CHECK(length < 1000);
    strncat((char *)data, line, length);
}

static void texts(void) {
    CHECK(mallocgc_version() == MALLOCGC_VERSION);
    for (int32_t code = 0; code <= MALLOCGC_ERROR_BAD_HANDLE; code++) {
        const char *text = mallocgc_error_text(code);
        CHECK(*text && text[strlen(text) - 1] != '.' && strcmp(text, "an unknown error"));
        for (int32_t other = 0; other < code; other++) CHECK(strcmp(text, mallocgc_error_text(other)));
    }
    CHECK(!strcmp(mallocgc_error_text(MALLOCGC_ERROR_NONE), "no error"));
    CHECK(!strcmp(mallocgc_error_text(12345), "an unknown error"));
    CHECK(!strcmp(mallocgc_error_text(INT32_MIN), "an unknown error"));
}

static void *last_error_of_a_thread(void *unused) {
    CHECK(mallocgc_last_error() == MALLOCGC_ERROR_NONE);
    return unused;
}

static void last_errors(void) {
    pthread_t thread;
    FAILS(BAD_ARGUMENT, mallocgc_config_init(NULL));
    /* Success leaves it, and it is the thread's. */
    mallocgc_heap_free(NULL);
    CHECK(mallocgc_last_error() == MALLOCGC_ERROR_BAD_ARGUMENT);
    CHECK(pthread_create(&thread, NULL, last_error_of_a_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Each setting that has a range is refused outside it. */
static void bad_settings(void) {
    mallocgc_config config;
    mallocgc_heap *another;
    OK(mallocgc_config_init(&config));
    CHECK(config.gc_percent == 100 && config.min_heap_bytes == 4 << 20 && config.background == 1);
    CHECK(config.heap_limit_bytes == UINT64_MAX && config.memory_limit_bytes == UINT64_MAX);
    CHECK(config.concurrent_from_bytes == UINT64_MAX && config.stop_limit_nanos == 1000000000);
    CHECK(config.cgroup_percent == 0 && !config.cgroup_root && !config.log && config.huge_pages == 1);
    CHECK(config.profile_max_buckets == 16384 && config.profile_max_frames == 64);
    FAILS(BAD_ARGUMENT, mallocgc_heap_new(&config, NULL));
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        mallocgc_config bad = config;                                                              \
        bad.field = value;                                                                         \
        FAILS(BAD_ARGUMENT, mallocgc_heap_new(&bad, &another));                                    \
    } while (0)
    REFUSED(background, 2);
    REFUSED(huge_pages, 7);
    REFUSED(verify, UINT32_MAX);
    REFUSED(gc_percent, -2);
    REFUSED(gc_percent, INT64_MIN);
    REFUSED(gc_percent, (int64_t)1 << 32);
    REFUSED(workers, 257);
    REFUSED(profile_max_frames, 129);
    /* More than there are addresses: it takes what it can get. */
    config.reserve_bytes = UINT64_MAX;
    OK(mallocgc_heap_new(&config, &another));
    mallocgc_heap_free(another);
}

static void a_log(void) {
    mallocgc_config config = manual();
    config.trace_level = 1;
    config.log = log_line;
    config.log_data = logged;
    open_heap(&config);
    collect();
    CHECK(strstr(logged, "gc 1 "));
    close_heap();
}

static int hooked;
static void hook(void *data) {
    ++*(int *)data;
    NOTES(REENTRANT, mallocgc_alloc(mutator, NULL, 5000, 0));
    CHECK(mallocgc_release_memory(heap) == 0);
}

static void hooks(void) {
    mallocgc_hook *name;
    mallocgc_heap *another;
    OK(mallocgc_clear_hook_add(heap, hook, &hooked, &name));
    collect();
    CHECK(hooked == 1);
    OK(mallocgc_heap_new(NULL, &another));
    FAILS(WRONG_HEAP, mallocgc_clear_hook_remove(another, name));
    mallocgc_heap_free(another);
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_remove(heap, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_remove(NULL, name));
    OK(mallocgc_clear_hook_remove(heap, name));
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_add(heap, NULL, NULL, &name));
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_add(heap, hook, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_clear_hook_add(NULL, hook, NULL, &name));
    collect();
    CHECK(hooked == 1);
}

static void changes(void) {
    int64_t percent;
    OK(mallocgc_set_gc_percent(heap, 50, &percent));
    CHECK(percent == -1);
    OK(mallocgc_set_gc_percent(heap, -1, &percent));
    CHECK(percent == 50);
    OK(mallocgc_set_gc_percent(heap, -1, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_gc_percent(heap, -2, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_gc_percent(heap, INT64_MAX, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_gc_percent(NULL, 100, NULL));
    OK(mallocgc_set_min_heap_bytes(heap, UINT64_MAX));
    OK(mallocgc_set_min_heap_bytes(heap, 1 << 20));
    FAILS(BAD_ARGUMENT, mallocgc_set_min_heap_bytes(NULL, 1));
    CHECK(mallocgc_alloc(mutator, NULL, 8 << 20, 0));
    collect();
    CHECK(mallocgc_release_memory(heap) >= 8 << 20);
    NOTES(BAD_ARGUMENT, mallocgc_release_memory(NULL));
}

/* What is left keeps a heap, in whatever order the rest goes. */
static void ends(void) {
    mallocgc_config config = manual();
    mallocgc_heap *first, *second;
    mallocgc_mutator *its;
    mallocgc_root *root;
    void *object;
    OK(mallocgc_heap_new(&config, &first));
    OK(mallocgc_attach(first, &its));
    mallocgc_heap_free(first);
    CHECK((object = mallocgc_alloc(its, NULL, 64, 0)));
    OK(mallocgc_mutator_heap(its, &second));
    OK(mallocgc_root_new(second, object, &root));
    OK(mallocgc_detach(its));
    mallocgc_heap_free(second);
    memset(mallocgc_root_get(root), 7, 64);
    mallocgc_root_free(root);
    /* Many, one after the other and beside each other. */
    mallocgc_heap *many[20];
    for (int round = 0; round < 3; round++) {
        for (int at = 0; at < 20; at++) {
            OK(mallocgc_heap_new(at % 2 ? &config : NULL, &many[at]));
            OK(mallocgc_attach(many[at], &its));
            CHECK(mallocgc_alloc(its, NULL, 1000, 0));
            OK(mallocgc_detach(its));
        }
        for (int at = 0; at < 20; at++) mallocgc_heap_free(many[at]);
    }
}

int main(void) {
    mallocgc_config config = manual();
    texts();
    last_errors();
    bad_settings();
    a_log();
    open_heap(&config);
    hooks();
    changes();
    close_heap();
    ends();
    puts("ok");
    return 0;
}
