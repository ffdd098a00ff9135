/* What the test programs share: checks, settings, random numbers. Each is C11 and C++17 at once. */

#ifndef CHECK_H
#define CHECK_H

#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long seed = 1;

static inline void fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s (last error: %s; seed %llu)\n", file, line, what,
            mallocgc_error_text(mallocgc_last_error()), seed);
    exit(1);
}

#define CHECK(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))
#define OK(call) CHECK((call) == MALLOCGC_ERROR_NONE)
/* The function answers with this error, and has noted it. */
#define FAILS(error, call)                                                                         \
    (CHECK((call) == MALLOCGC_ERROR_##error), CHECK(mallocgc_last_error() == MALLOCGC_ERROR_##error))
/* The function answers with null or 0, and has noted this error. */
#define NOTES(error, call) (CHECK(!(call)), CHECK(mallocgc_last_error() == MALLOCGC_ERROR_##error))
/* The function answers nothing, and has noted this error. */
#define TELLS(error, call) ((call), CHECK(mallocgc_last_error() == MALLOCGC_ERROR_##error))

#define SWEEP MALLOCGC_FORCE_NOW_AND_SWEEP
#define CLOBBER 0xdeadbeefdeadbeef

static mallocgc_heap *heap;
static mallocgc_mutator *mutator;

static inline int is_zeal(void) { return getenv("MALLOCGC_ZEAL") != NULL; }

/* How often a test repeats itself: far fewer times where every third boundary looks at everything. */
static inline int scaled(int times) { return is_zeal() ? times / 20 + 1 : times; }

/* A heap without threads that is collected when the test says so, checks itself and overwrites the dead. */
static inline mallocgc_config manual(void) {
    mallocgc_config config;
    OK(mallocgc_config_init(&config));
    config.gc_percent = -1;
    config.background = 0;
    config.verify = 1;
    config.clobber = CLOBBER;
    config.stop_limit_nanos = 60000000000;
    return config;
}

/* Makes the heap and the mutator that the checks use. */
static inline void open_heap(const mallocgc_config *config) {
    OK(mallocgc_heap_new(config, &heap));
    OK(mallocgc_attach(heap, &mutator));
}

static inline void close_heap(void) {
    OK(mallocgc_verify(mutator));
    OK(mallocgc_detach(mutator));
    mallocgc_heap_free(heap);
}

static inline int lives(const void *object) {
    return mallocgc_find_object(heap, object, NULL, NULL) == MALLOCGC_ERROR_NONE;
}

static inline void collect(void) { OK(mallocgc_gc(mutator, SWEEP)); }

static inline unsigned long long next_random(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}

static inline unsigned long long below(unsigned long long limit) { return next_random() % limit; }

#endif
