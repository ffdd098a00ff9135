/* What the C peer's workloads share. Each workload is a file of its own that registers itself:
 *
 *     static void run(const struct run *r, struct outcome *o) { ... }
 *     WORKLOAD("binary-trees", run)
 *
 * Work, sizes and check values are those of bench/src/workloads. */
#ifndef PEER_H
#define PEER_H

#define GC_THREADS
#include <gc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One request. */
struct run {
    const char *workload;
    const char *variant; /* behind the slash of the workload's name, or "" */
    int threads;
    int argc;
    char **argv;
};

/* The parameter `name`; the program fails without it. */
const char *text(const struct run *r, const char *name);
uint64_t number(const struct run *r, const char *name);

#define METRICS_MAX 64
/* What a workload hands back; all zero to begin with. */
struct outcome {
    uint64_t check;
    uint64_t resident_end; /* 0: measured when the workload returns */
    int metrics;
    struct {
        char name[48];
        double value;
    } metric[METRICS_MAX];
};
void metric(struct outcome *o, const char *name, double value);

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs work(argument, i) for i = 0..threads in threads of its own, known to the collector. */
void parallel(int threads, void (*work)(void *argument, int thread), void *argument);

typedef void (*workload_fn)(const struct run *, struct outcome *);
void register_workload(const char *name, workload_fn f);
#define WORKLOAD(name, f) \
    __attribute__((constructor)) static void register_##f(void) { register_workload(name, f); }

/* splitmix64 */
struct rng {
    uint64_t state;
};
static inline uint64_t rng_next(struct rng *r) {
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static inline uint64_t rng_below(struct rng *r, uint64_t bound) {
    return (rng_next(r) >> 32) * bound >> 32;
}

/* A running digest of numbers, in order. */
#define DIGEST 0xCBF29CE484222325u
static inline void digest_add(uint64_t *digest, uint64_t value) {
    uint64_t x = *digest ^ value;
    *digest = (x << 29 | x >> 35) * 0x9E3779B97F4A7C15u;
}

/* CPU time of the whole process, and wall time. */
uint64_t cpu_nanos(void);
uint64_t wall_nanos(void);
uint64_t resident_bytes(void);
uint64_t peak_resident_bytes(void);

#endif
