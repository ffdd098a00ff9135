/* libgc-peer: the workloads of the mallocgc benchmarks in C on the Boehm collector.
 *
 *     libgc-peer WORKLOAD --threads N name=value...
 *
 * It prints one line of JSON. */
#include "peer.h"

#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *name;
    workload_fn f;
} workloads[64];
static int workload_count;

void register_workload(const char *name, workload_fn f) {
    workloads[workload_count].name = name;
    workloads[workload_count++].f = f;
}

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

const char *text(const struct run *r, const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < r->argc; i++)
        if (!strncmp(r->argv[i], name, length) && r->argv[i][length] == '=')
            return r->argv[i] + length + 1;
    fail("parameter %s is missing", name);
}

uint64_t number(const struct run *r, const char *name) {
    const char *value = text(r, name);
    char *end;
    uint64_t n = strtoull(value, &end, 10);
    if (end == value || *end) fail("parameter %s=%s is not usable", name, value);
    return n;
}

void metric(struct outcome *o, const char *name, double value) {
    if (o->metrics == METRICS_MAX) fail("too many metrics");
    snprintf(o->metric[o->metrics].name, sizeof o->metric[0].name, "%s", name);
    o->metric[o->metrics++].value = value;
}

static uint64_t nanos(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t cpu_nanos(void) { return nanos(CLOCK_PROCESS_CPUTIME_ID); }
uint64_t wall_nanos(void) { return nanos(CLOCK_MONOTONIC); }

uint64_t resident_bytes(void) {
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t peak_resident_bytes(void) {
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lu", &kib) == 1) break;
    fclose(f);
    return kib * 1024;
}

struct part {
    void (*work)(void *, int);
    void *argument;
    int thread;
};

static void *do_part(void *p) {
    struct part *part = p;
    part->work(part->argument, part->thread);
    return NULL;
}

void parallel(int threads, void (*work)(void *, int), void *argument) {
    /* In the collector's memory: it holds the only reference to argument for some time. */
    struct part *parts = GC_MALLOC((size_t)threads * sizeof *parts);
    pthread_t *ids = malloc((size_t)threads * sizeof *ids);
    for (int i = 0; i < threads; i++) {
        parts[i] = (struct part){work, argument, i};
        if (pthread_create(&ids[i], NULL, do_part, &parts[i])) fail("no thread");
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    free(ids);
}

/* Stops: from before the world is stopped until it runs again. The collector's lock is held, and the memory
 * is not its own. */
static uint64_t stop_start, *stop_list;
static size_t stop_count, stop_room;

static void GC_CALLBACK on_event(GC_EventType event) {
    if (event == GC_EVENT_PRE_STOP_WORLD) stop_start = wall_nanos();
    if (event != GC_EVENT_POST_START_WORLD) return;
    if (stop_count == stop_room) {
        stop_room = stop_room ? stop_room * 2 : 4096;
        stop_list = realloc(stop_list, stop_room * sizeof *stop_list);
        if (!stop_list) fail("no memory");
    }
    stop_list[stop_count++] = wall_nanos() - stop_start;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    struct run r = {.workload = "", .variant = "", .threads = 1, .argc = argc, .argv = argv};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            r.threads = atoi(argv[++i]);
        else if (!strchr(argv[i], '=') && !*r.workload)
            r.workload = argv[i];
        else if (!strchr(argv[i], '='))
            fail("unexpected argument %s", argv[i]);
    }
    if (r.threads < 1) fail("--threads is not usable");
    const char *slash = strchr(r.workload, '/');
    size_t length = slash ? (size_t)(slash - r.workload) : strlen(r.workload);
    if (slash) r.variant = slash + 1;
    workload_fn f = NULL;
    for (int i = 0; i < workload_count; i++)
        if (strlen(workloads[i].name) == length && !strncmp(workloads[i].name, r.workload, length))
            f = workloads[i].f;
    if (!f) fail("there is no workload %s", r.workload);

    GC_INIT();
    GC_set_on_collection_event(on_event);
    static struct outcome o;
    uint64_t cpu = cpu_nanos(), wall = wall_nanos();
    f(&r, &o);
    cpu = cpu_nanos() - cpu, wall = wall_nanos() - wall;
    if (!o.resident_end) o.resident_end = resident_bytes();

    qsort(stop_list, stop_count, sizeof *stop_list, by_value);
    uint64_t longest = stop_count ? stop_list[stop_count - 1] : 0;
    uint64_t p99 = stop_count ? stop_list[(stop_count * 99 - 1) / 100] : 0;
    printf("{\"workload\":\"%s\",\"runtime\":\"libgc\",\"check\":\"%016lx\",\"cpu_nanos\":%lu,\"wall_nanos\":%lu,"
           "\"peak_rss_bytes\":%lu,\"resident_end_bytes\":%lu,\"collections\":%lu,\"stop_max_nanos\":%lu,"
           "\"stop_p99_nanos\":%lu,\"metrics\":{",
           r.workload, o.check, cpu, wall, peak_resident_bytes(), o.resident_end,
           (unsigned long)GC_get_gc_no(), longest, p99);
    for (int i = 0; i < o.metrics; i++)
        printf("%s\"%s\":%.9g", i ? "," : "", o.metric[i].name, o.metric[i].value);
    printf("}}\n");
    return 0;
}
