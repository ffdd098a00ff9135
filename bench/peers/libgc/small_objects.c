#include "peer.h"

#include <math.h>

#define SIZES(X) \
    X(8) X(16) X(24) X(32) X(48) X(64) X(96) X(128) X(256) X(512) X(1024) X(2048) X(8192) X(32768)

/* A loop per size, so that sizes are constants for the compiler. Pointer-free memory is not zeroed by
 * the collector; the workload wants zeroed objects. The ring is written through a volatile pointer: it
 * is on the heap for everybody. */
#define LOOPS(S)                                                        \
    static uint64_t free_##S(uint64_t n) {                              \
        uint64_t *volatile *ring = GC_MALLOC(64 * sizeof *ring);        \
        uint64_t sum = 0;                                               \
        for (uint64_t i = 0; i < n; i++) {                              \
            uint64_t *p = GC_MALLOC_ATOMIC(S);                          \
            memset(p, 0, S);                                            \
            sum += p[S / 8 - 1];                                        \
            p[0] = i + 1;                                               \
            uint64_t *old = ring[i & 63];                               \
            if (old) sum += old[0];                                     \
            ring[i & 63] = p;                                           \
        }                                                               \
        for (int i = 0; i < 64; i++)                                    \
            if (ring[i]) sum += ring[i][0];                             \
        return sum;                                                     \
    }                                                                   \
    static uint64_t refs_##S(uint64_t n) {                              \
        uint64_t **volatile *ring = GC_MALLOC(64 * sizeof *ring);       \
        uint64_t *anchor = GC_MALLOC_ATOMIC(8);                         \
        *anchor = 3;                                                    \
        uint64_t sum = 0;                                               \
        for (uint64_t i = 0; i < n; i++) {                              \
            uint64_t **p = GC_MALLOC(S);                                \
            sum += (uint64_t)p[S / 8 - 1];                              \
            p[0] = anchor;                                              \
            uint64_t **old = ring[i & 63];                              \
            if (old) sum += *old[0];                                    \
            ring[i & 63] = p;                                           \
        }                                                               \
        for (int i = 0; i < 64; i++)                                    \
            if (ring[i]) sum += *ring[i][0];                            \
        return sum;                                                     \
    }
SIZES(LOOPS)

static const struct {
    uint64_t bytes;
    uint64_t (*free)(uint64_t), (*refs)(uint64_t);
} sizes[] = {
#define ENTRY(S) {S, free_##S, refs_##S},
    SIZES(ENTRY)};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

struct job {
    uint64_t (*work)(uint64_t);
    uint64_t n, *sums;
};

static void do_job(void *argument, int thread) {
    struct job *job = argument;
    job->sums[thread] = job->work(job->n);
}

static void small_objects(const struct run *r, struct outcome *o) {
    static const char *const group_names[] = {"8_to_32", "48_to_128", "256_to_2k", "8k_to_32k"};
    uint64_t objects = number(r, "objects"), bytes = number(r, "bytes"), check = DIGEST;
    int pointerful = !strncmp(r->variant, "pointerful", 10);
    char *volatile live = NULL, name[48];
    if (strstr(r->variant, "-live")) live = GC_MALLOC_ATOMIC(number(r, "live_bytes"));
    double logs = 0, group_logs[4] = {0}, group_counts[4] = {0};
    struct job job = {.sums = GC_MALLOC_ATOMIC((size_t)r->threads * 8)};
    for (int k = 0; k < SIZE_COUNT; k++) {
        uint64_t size = sizes[k].bytes;
        job.work = pointerful ? sizes[k].refs : sizes[k].free;
        job.n = objects < bytes / size ? objects : bytes / size;
        uint64_t cpu = cpu_nanos();
        if (r->threads == 1)
            do_job(&job, 0);
        else
            parallel(r->threads, do_job, &job);
        double nanos = (double)(cpu_nanos() - cpu) / (double)(job.n * (uint64_t)r->threads);
        for (int i = 0; i < r->threads; i++) digest_add(&check, job.sums[i]);
        snprintf(name, sizeof name, "ns_per_object_%lu", size);
        metric(o, name, nanos);
        int group = size <= 32 ? 0 : size <= 128 ? 1 : size <= 2048 ? 2 : 3;
        logs += log(nanos), group_logs[group] += log(nanos), group_counts[group]++;
    }
    metric(o, "ns_per_object_geomean", exp(logs / SIZE_COUNT));
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "ns_per_object_%s", group_names[i]);
        metric(o, name, exp(group_logs[i] / group_counts[i]));
    }
    (void)live;
    o->check = check;
}
WORKLOAD("small-objects", small_objects)
