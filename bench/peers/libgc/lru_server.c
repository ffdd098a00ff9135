/* lru-server on libgc: see docs/workloads.md. */
#include "peer.h"

typedef struct Entry Entry;
struct Entry {
    Entry *chain, *prev, *next;
    uint64_t *value;
    uint64_t key, words;
};

typedef struct Part Part;
struct Part {
    Part *next;
    uint64_t *text;
    uint64_t offset, words;
};

typedef struct {
    Entry **buckets;
    Entry *head, *tail;
    uint64_t mask, count, most;
} Cache;

static uint64_t hash_of(uint64_t key) {
    struct rng r = {key};
    return rng_next(&r);
}

static Entry **bucket(Cache *c, uint64_t hash) {
    return &c->buckets[(hash >> 32) & c->mask];
}

static void unlink_entry(Cache *c, Entry *e) {
    if (e->prev)
        e->prev->next = e->next;
    else
        c->head = e->next;
    if (e->next)
        e->next->prev = e->prev;
    else
        c->tail = e->prev;
}

static void push_front(Cache *c, Entry *e) {
    e->prev = NULL;
    e->next = c->head;
    if (c->head)
        c->head->prev = e;
    else
        c->tail = e;
    c->head = e;
}

static Entry *find(Cache *c, uint64_t key, uint64_t hash) {
    Entry *e = *bucket(c, hash);
    while (e && e->key != key)
        e = e->chain;
    return e;
}

static void evict(Cache *c) {
    Entry *e = c->tail;
    unlink_entry(c, e);
    Entry **link = bucket(c, hash_of(e->key));
    while (*link != e)
        link = &(*link)->chain;
    *link = e->chain;
    c->count--;
}

static Entry *insert(Cache *c, uint64_t key, uint64_t hash) {
    if (c->count == c->most)
        evict(c);
    uint64_t words = 32 + (hash & 63);
    uint64_t *value = GC_MALLOC_ATOMIC(words * 8);
    for (uint64_t i = 0; i < words; i++)
        value[i] = hash + i;
    Entry *e = GC_MALLOC(sizeof *e);
    e->value = value;
    e->key = key;
    e->words = words;
    Entry **b = bucket(c, hash);
    e->chain = *b;
    *b = e;
    push_front(c, e);
    c->count++;
    return e;
}

/* Six parts with six texts copied from the value, built from the last one. */
static Part *respond(Entry *e, uint64_t seed) {
    Part *first = NULL;
    for (int i = 5; i >= 0; i--) {
        uint64_t count = 2 + ((seed >> (4 * i)) & 7);
        uint64_t offset = (seed >> (24 + 4 * i)) & 15;
        uint64_t *text = GC_MALLOC_ATOMIC(count * 8);
        memcpy(text, e->value + offset, count * 8);
        Part *part = GC_MALLOC(sizeof *part);
        part->next = first;
        part->text = text;
        part->offset = offset;
        part->words = count;
        first = part;
    }
    return first;
}

static uint64_t serve(Cache *c, uint64_t key, uint64_t seed, uint64_t *hits) {
    uint64_t hash = hash_of(key), answer = 0;
    Entry *e = find(c, key, hash);
    if (e) {
        unlink_entry(c, e);
        push_front(c, e);
        ++*hits;
    } else {
        e = insert(c, key, hash);
    }
    for (Part *part = respond(e, seed); part; part = part->next) {
        for (uint64_t i = 0; i < part->words; i++)
            answer = answer * 31 + part->text[i];
        answer += part->offset;
    }
    return answer;
}

/* Times in buckets of a 32nd of a power of two. */
typedef struct {
    uint64_t counts[2048], total, max;
} Histogram;

static void note(Histogram *h, uint64_t value) {
    uint64_t index = value;
    if (value >= 64) {
        unsigned shift = 58 - __builtin_clzll(value);
        index = (shift + 1) * 32 + ((value >> shift) - 32);
    }
    h->counts[index]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

static double quantile(Histogram *h, uint64_t per_million) {
    uint64_t rank = (h->total * per_million + 999999) / 1000000, seen = 0;
    for (uint64_t i = 0; i < 2048; i++) {
        seen += h->counts[i];
        if (seen >= rank)
            return i < 64 ? i : (i % 32 + 32) << (i / 32 - 1);
    }
    return h->max;
}

/* A single server that requests reach at fixed intervals. */
typedef struct {
    uint64_t interval, arrival, free;
    Histogram latency;
} Queue;

static void enqueue(Queue *q, uint64_t service) {
    q->free = (q->free > q->arrival ? q->free : q->arrival) + service;
    note(&q->latency, q->free - q->arrival);
    q->arrival += q->interval;
}

static void run(const struct run *r, struct outcome *o) {
    static Histogram service;
    static Queue fast = {.interval = 4000}, slow = {.interval = 10000};
    uint64_t entries = number(r, "entries"), requests = number(r, "requests");
    uint64_t buckets = 1, hits = 0, check = DIGEST;
    while (buckets < entries)
        buckets *= 2;
    Cache *c = GC_MALLOC(sizeof *c);
    c->buckets = GC_MALLOC(buckets * sizeof(Entry *));
    c->mask = buckets - 1;
    c->most = entries;
    for (uint64_t key = 0; key < entries; key++)
        insert(c, key, hash_of(key));
    struct rng rnd = {6};
    uint64_t cpu = cpu_nanos(), last = wall_nanos();
    for (uint64_t i = 0; i < requests; i++) {
        uint64_t key = rng_below(&rnd, entries + entries / 3);
        uint64_t seed = rng_next(&rnd);
        digest_add(&check, serve(c, key, seed, &hits));
        uint64_t now = wall_nanos();
        note(&service, now - last);
        enqueue(&fast, now - last);
        enqueue(&slow, now - last);
        last = now;
    }
    metric(o, "request_cpu_nanos", (double)(cpu_nanos() - cpu) / requests);
    digest_add(&check, hits);
    for (Entry *e = c->head; e; e = e->next)
        digest_add(&check, e->key);
    metric(o, "service_p50_nanos", quantile(&service, 500000));
    metric(o, "service_p99_nanos", quantile(&service, 990000));
    metric(o, "service_p999_nanos", quantile(&service, 999000));
    metric(o, "service_max_nanos", service.max);
    metric(o, "open_4us_p99_nanos", quantile(&fast.latency, 990000));
    metric(o, "open_4us_max_nanos", fast.latency.max);
    metric(o, "open_10us_p99_nanos", quantile(&slow.latency, 990000));
    metric(o, "open_10us_max_nanos", slow.latency.max);
    o->check = check;
}
WORKLOAD("lru-server", run)
