/* Seeing inside: statistics, delays, events, the profile, walks, dumps. */

#include "check.h"

static int events[8];

static void *come_and_go(void *unused) {
    mallocgc_mutator *own;
    (void)unused;
    OK(mallocgc_attach(heap, &own));
    OK(mallocgc_detach(own));
    return NULL;
}

static void listen(void *data, const mallocgc_event *event) {
    CHECK(data == events);
    events[event->kind]++;
    switch (event->kind) {
    case MALLOCGC_EVENT_KIND_ALLOC:
        CHECK(event->bytes == 128 && event->address && event->stack_depth > 0 && event->stack[0]);
        break;
    case MALLOCGC_EVENT_KIND_FREE:
        CHECK(event->bytes && event->address && !event->stack);
        break;
    case MALLOCGC_EVENT_KIND_CYCLE_END:
        CHECK(event->record.forced && event->cycle && event->record.stopped_nanos);
        CHECK(event->record.mutators == 1 && !event->record.beside);
        break;
    case MALLOCGC_EVENT_KIND_ATTACHED:
        CHECK(event->mutators == 2);
        return;
    case MALLOCGC_EVENT_KIND_DETACHED:
        CHECK(event->mutators == 1);
        return;
    default:
        CHECK(event->cycle && !event->address);
    }
    NOTES(REENTRANT, mallocgc_alloc(mutator, NULL, 4000, 0));
}

static void listeners(void) {
    pthread_t thread;
    OK(mallocgc_set_listener(heap, listen, events));
    /* The first may come out of a chunk that is open; told is from the next refill on. */
    for (int at = 0; at < 1000; at++) CHECK(mallocgc_alloc(mutator, NULL, 128, 0));
    collect();
    OK(mallocgc_set_listener(heap, NULL, NULL));
    CHECK(events[MALLOCGC_EVENT_KIND_ALLOC] > 100 && events[MALLOCGC_EVENT_KIND_FREE] >= 1000);
    CHECK(events[MALLOCGC_EVENT_KIND_CYCLE_BEGIN] == 1 && events[MALLOCGC_EVENT_KIND_CYCLE_END] == 1);
    FAILS(BAD_ARGUMENT, mallocgc_set_listener(NULL, listen, NULL));
    /* Of cycles only. */
    memset(events, 0, sizeof events);
    OK(mallocgc_set_cycle_listener(heap, listen, events));
    for (int at = 0; at < 1000; at++) CHECK(mallocgc_alloc(mutator, NULL, 128, 0));
    collect();
    collect();
    CHECK(pthread_create(&thread, NULL, come_and_go, NULL) == 0 && pthread_join(thread, NULL) == 0);
    OK(mallocgc_set_cycle_listener(heap, NULL, NULL));
    collect();
    CHECK(events[MALLOCGC_EVENT_KIND_ALLOC] == 0 && events[MALLOCGC_EVENT_KIND_FREE] == 0);
    CHECK(events[MALLOCGC_EVENT_KIND_CYCLE_BEGIN] == 2 && events[MALLOCGC_EVENT_KIND_CYCLE_END] == 2);
    CHECK(events[MALLOCGC_EVENT_KIND_ATTACHED] == 1 && events[MALLOCGC_EVENT_KIND_DETACHED] == 1);
    FAILS(BAD_ARGUMENT, mallocgc_set_cycle_listener(NULL, listen, NULL));
}

static int output(void *data, const void *bytes, size_t length) {
    CHECK(bytes && length);
    *(size_t *)data += length;
    return 0;
}

static int refuse(void *data, const void *bytes, size_t length) {
    (void)bytes, (void)length;
    if (data) ++*(int *)data;
    return 1;
}

static void profile(void) {
    size_t written = 0;
    uint64_t rate;
    mallocgc_stats stats;
    OK(mallocgc_set_profile_rate(heap, 1, &rate));
    CHECK(rate == 0);
    for (int at = 0; at < 100; at++) CHECK(mallocgc_alloc(mutator, NULL, 40000, 0));
    collect();
    OK(mallocgc_write_profile(heap, output, &written));
    CHECK(written > 50);
    FAILS(IO, mallocgc_write_profile(heap, refuse, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_write_profile(heap, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_write_profile(NULL, output, &written));
    OK(mallocgc_set_profile_rate(heap, 0, &rate));
    CHECK(rate == 1);
    OK(mallocgc_set_profile_rate(heap, 0, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_set_profile_rate(NULL, 0, NULL));
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.profile_samples >= 99);
}

static void statistics(void) {
    mallocgc_stats stats;
    char larger[sizeof stats + 16];
    OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    CHECK(stats.cycles && stats.forced_cycles == stats.cycles && stats.mutators == 1);
    CHECK(stats.mallocs - stats.frees == stats.heap_objects);
    CHECK(stats.total_alloc_bytes - stats.total_freed_bytes == stats.heap_alloc_bytes);
    CHECK(stats.sys_bytes >= stats.heap_inuse_bytes + stats.heap_idle_bytes);
    CHECK(stats.heap_released_bytes <= stats.heap_idle_bytes && stats.mapped_bytes <= stats.sys_bytes);
    CHECK(stats.trigger_bytes == UINT64_MAX && stats.goal_bytes == UINT64_MAX);
    CHECK(stats.heap_limit_bytes == UINT64_MAX && stats.pause_total_nanos >= stats.pause_max_nanos);
    CHECK(stats.pause_max_nanos >= mallocgc_pause_quantile(heap, 0.5));
    CHECK(mallocgc_pause_quantile(heap, 1) == stats.pause_max_nanos);
    NOTES(BAD_ARGUMENT, mallocgc_pause_quantile(heap, 2));
    NOTES(BAD_ARGUMENT, mallocgc_pause_quantile(heap, -0.1));
    NOTES(BAD_ARGUMENT, mallocgc_pause_quantile(NULL, 0.5));
    CHECK(mallocgc_delay_quantile(heap, MALLOCGC_DELAY_PAUSE, 1) == stats.pause_max_nanos);
    CHECK(mallocgc_delay_quantile(heap, MALLOCGC_DELAY_TIME_TO_STOP, 1) <= stats.pause_max_nanos);
    CHECK(mallocgc_delay_quantile(heap, MALLOCGC_DELAY_ASSIST, 1) == 0);
    mallocgc_delay_quantile(heap, MALLOCGC_DELAY_BLOCKED, 1);
    NOTES(BAD_ARGUMENT, mallocgc_delay_quantile(heap, 4, 0.5));
    NOTES(BAD_ARGUMENT, mallocgc_delay_quantile(heap, MALLOCGC_DELAY_PAUSE, 1.5));
    NOTES(BAD_ARGUMENT, mallocgc_delay_quantile(NULL, MALLOCGC_DELAY_PAUSE, 0.5));
    /* A program of an earlier header, and one of a later. */
    memset(&stats, 1, sizeof stats);
    OK(mallocgc_read_stats(heap, &stats, 8));
    CHECK(stats.heap_objects == 0x0101010101010101);
    memset(larger, 1, sizeof larger);
    OK(mallocgc_read_stats(heap, (mallocgc_stats *)(void *)larger, sizeof larger));
    for (size_t at = sizeof stats; at < sizeof larger; at++) CHECK(larger[at] == 0);
    FAILS(BAD_ARGUMENT, mallocgc_read_stats(heap, NULL, 8));
    FAILS(BAD_ARGUMENT, mallocgc_read_stats(heap, &stats, 0));
    FAILS(BAD_ARGUMENT, mallocgc_read_stats(NULL, &stats, 8));
}

/* --- walks -------------------------------------------------------------------- */

struct seen {
    int roots, objects, references;
    void *object, *target;
    size_t offset, bytes;
};

static void see(void *data, const mallocgc_walked *walked) {
    struct seen *seen = (struct seen *)data;
    FAILS(REENTRANT, mallocgc_heap_gc(heap, SWEEP));
    switch (walked->kind) {
    case MALLOCGC_WALKED_KIND_ROOT:
        seen->roots++;
        CHECK(!walked->object && walked->target);
        break;
    case MALLOCGC_WALKED_KIND_OBJECT:
        seen->objects++;
        CHECK(walked->object && !walked->target);
        break;
    case MALLOCGC_WALKED_KIND_REFERENCE:
        seen->references++;
        seen->object = walked->object, seen->target = walked->target;
        seen->offset = walked->offset, seen->bytes = walked->bytes;
        CHECK(walked->layout != 0);
    }
}

static char dump[1 << 16];

static int append(void *data, const void *bytes, size_t length) {
    size_t *used = (size_t *)data;
    CHECK(*used + length < sizeof dump);
    memcpy(dump + *used, bytes, length);
    *used += length;
    return 0;
}

static void walks(void) {
    const mallocgc_layout *layout;
    uint64_t mask = 4;
    struct seen seen = {0, 0, 0, NULL, NULL, 0, 0};
    size_t used = 0;
    char expected[200];
    int calls = 0;
    collect();
    OK(mallocgc_layout_mask(heap, 3, &mask, &layout));
    void **one = (void **)mallocgc_new(mutator, layout), *other = mallocgc_alloc(mutator, NULL, 64, 0);
    mallocgc_write(mutator, &one[2], (char *)other + 8);
    OK(mallocgc_push(mutator, one, NULL));
    OK(mallocgc_walk(mutator, see, &seen));
    CHECK(seen.roots == 1 && seen.objects == 2 && seen.references == 1);
    CHECK(seen.object == one && seen.target == (char *)other + 8 && seen.offset == 16 && seen.bytes >= 24);
    OK(mallocgc_write_dump(mutator, append, &used));
    dump[used] = 0;
    CHECK(strncmp(dump, "mallocgc dump 1\n", 16) == 0);
    snprintf(expected, sizeof expected, "\nroot %zx\n", (size_t)one);
    CHECK(strstr(dump, expected));
    snprintf(expected, sizeof expected, "\nobject %zx 64 0\n", (size_t)other);
    CHECK(strstr(dump, expected));
    snprintf(expected, sizeof expected, "\n 16 %zx\n", (size_t)other + 8);
    CHECK(strstr(dump, expected));
    FAILS(IO, mallocgc_write_dump(mutator, refuse, &calls));
    CHECK(calls == 1);
    FAILS(BAD_ARGUMENT, mallocgc_write_dump(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_write_dump(NULL, append, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_walk(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_walk(NULL, see, &seen));
    FAILS(BAD_ARGUMENT, mallocgc_heap_walk(heap, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_heap_walk(NULL, see, &seen));
    /* From outside there is no root any more, but still the objects. */
    OK(mallocgc_detach(mutator));
    memset(&seen, 0, sizeof seen);
    OK(mallocgc_heap_walk(heap, see, &seen));
    CHECK(seen.roots == 0 && seen.objects == 2 && seen.references == 1);
    OK(mallocgc_attach(heap, &mutator));
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    listeners();
    profile();
    statistics();
    walks();
    close_heap();
    puts("ok");
    return 0;
}
