#include "peer.h"

/* A string of length bytes with number i in it. */
static inline uint8_t *new_string(uint64_t length, uint64_t i) {
    uint8_t *p = GC_MALLOC_ATOMIC(length);
    p[length - 1] = (uint8_t)(i >> 8);
    p[0] = (uint8_t)i;
    return p;
}

static uint64_t sum_strings(uint8_t **slots, uint64_t n) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        if (slots[i]) sum += *slots[i];
    return sum;
}

static void window(const struct run *r, struct outcome *o, uint64_t window, int at_random) {
    uint64_t n = number(r, "strings"), sum = 0;
    uint8_t **slots = GC_MALLOC(window * sizeof *slots);
    struct rng lengths = {1}, places = {2};
    uint64_t cpu = cpu_nanos();
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = new_string(1 + rng_below(&lengths, 15), i);
        uint64_t place = at_random ? rng_below(&places, window) : i % window;
        if (slots[place]) sum += *slots[place];
        slots[place] = p;
    }
    metric(o, "ns_per_object", (double)(cpu_nanos() - cpu) / (double)n);
    o->check = sum + sum_strings(slots, window);
}

static void hold(const struct run *r, struct outcome *o) {
    uint64_t n = number(r, "strings"), payload = 0;
    uint8_t **slots = GC_MALLOC(n * sizeof *slots);
    for (uint64_t i = 0; i < n; i++) *(uint8_t *volatile *)&slots[i] = NULL;
    uint64_t before = resident_bytes(), cpu = cpu_nanos();
    struct rng lengths = {1};
    for (uint64_t i = 0; i < n; i++) {
        uint64_t length = 1 + rng_below(&lengths, 15);
        payload += length;
        slots[i] = new_string(length, i);
    }
    metric(o, "ns_per_object", (double)(cpu_nanos() - cpu) / (double)n);
    o->resident_end = resident_bytes();
    metric(o, "resident_bytes_per_payload_byte",
           (double)(o->resident_end - before) / (double)payload);
    o->check = sum_strings(slots, n) + payload;
}

static void tiny_strings(const struct run *r, struct outcome *o) {
    if (!strcmp(r->variant, "garbage"))
        window(r, o, 64, 0);
    else if (!strcmp(r->variant, "churn"))
        window(r, o, number(r, "window"), 1);
    else if (!strcmp(r->variant, "hold"))
        hold(r, o);
    else
        fail("there is no variant %s", r->variant);
}
WORKLOAD("tiny-strings", tiny_strings)
