#include "peer.h"

struct list {
    struct list *next;
    uint64_t value;
};
struct graph {
    struct graph *edges[4];
    uint64_t value;
};
struct wide {
    struct wide *children[15];
    uint64_t value;
};
struct box {
    uint64_t value, key;
};
struct entry {
    struct entry *next;
    uint64_t key;
    struct box *box;
};

#define MAP_MULTIPLIER 0x9E3779B97F4A7C15u

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The measurement: the median of all collections but the first. */
static void force_collections(const struct run *r, struct outcome *o, uint64_t objects) {
    uint64_t n = number(r, "collections"), cpu[64], wall[64];
    if (n < 2 || n > 64) fail("collections=%lu is not usable", n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t c = cpu_nanos(), w = wall_nanos();
        GC_gcollect();
        cpu[i] = cpu_nanos() - c, wall[i] = wall_nanos() - w;
    }
    qsort(cpu + 1, n - 1, sizeof *cpu, by_value);
    qsort(wall + 1, n - 1, sizeof *wall, by_value);
    metric(o, "mark_cpu_ns_per_object", (double)cpu[1 + (n - 1) / 2] / (double)objects);
    metric(o, "collection_wall_ms", (double)wall[1 + (n - 1) / 2] / 1e6);
}

static struct list *build_list(uint64_t n) {
    struct list *head = NULL;
    for (uint64_t i = 0; i < n; i++) {
        struct list *p = GC_MALLOC(sizeof *p);
        p->next = head, p->value = i;
        head = p;
    }
    return head;
}

static struct list *build_shuffled_list(uint64_t n) {
    struct list **nodes = GC_MALLOC(n * sizeof *nodes);
    for (uint64_t i = 0; i < n; i++) {
        nodes[i] = GC_MALLOC(sizeof **nodes);
        nodes[i]->value = i;
    }
    struct rng order = {1};
    for (uint64_t i = n - 1; i > 0; i--) {
        uint64_t j = rng_below(&order, i + 1);
        struct list *t = nodes[i];
        nodes[i] = nodes[j], nodes[j] = t;
    }
    for (uint64_t i = 0; i + 1 < n; i++) nodes[i]->next = nodes[i + 1];
    struct list *head = nodes[0];
    GC_FREE(nodes); /* or a stale word on the stack might keep it */
    return head;
}

/* Links node i to 2i+1 and 2i+2, so that all are reachable, and to two random ones. */
static struct graph *build_graph(uint64_t n) {
    struct graph **nodes = GC_MALLOC(n * sizeof *nodes);
    for (uint64_t i = 0; i < n; i++) {
        nodes[i] = GC_MALLOC(sizeof **nodes);
        nodes[i]->value = i;
    }
    struct rng edges = {1};
    for (uint64_t i = 0; i < n; i++) {
        struct graph *p = nodes[i];
        if (2 * i + 1 < n) p->edges[0] = nodes[2 * i + 1];
        if (2 * i + 2 < n) p->edges[1] = nodes[2 * i + 2];
        p->edges[2] = nodes[rng_below(&edges, n)];
        p->edges[3] = nodes[rng_below(&edges, n)];
    }
    struct graph *root = nodes[0];
    GC_FREE(nodes);
    return root;
}

static void traverse_graph(const struct graph *p, uint64_t *check) {
    digest_add(check, p->value);
    digest_add(check, p->edges[2]->value ^ p->edges[3]->value << 32);
    if (p->edges[0]) traverse_graph(p->edges[0], check);
    if (p->edges[1]) traverse_graph(p->edges[1], check);
}

/* Gives node i the children 15i+1 .. 15i+15. */
static struct wide *build_wide_tree(uint64_t n) {
    struct wide **nodes = GC_MALLOC(n * sizeof *nodes);
    for (uint64_t i = 0; i < n; i++) {
        nodes[i] = GC_MALLOC(sizeof **nodes);
        nodes[i]->value = i;
    }
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < 15 && 15 * i + 1 + k < n; k++)
            nodes[i]->children[k] = nodes[15 * i + 1 + k];
    struct wide *root = nodes[0];
    GC_FREE(nodes);
    return root;
}

static void traverse_wide(const struct wide *p, uint64_t *check) {
    digest_add(check, p->value);
    for (int k = 0; k < 15; k++)
        if (p->children[k]) traverse_wide(p->children[k], check);
}

/* A hash table with chains: entries with a boxed value each. */
static struct entry **build_map(uint64_t n, uint64_t size) {
    struct entry **buckets = GC_MALLOC(size * sizeof *buckets);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t key = i * MAP_MULTIPLIER;
        struct entry **bucket = &buckets[key >> 32 & (size - 1)];
        struct box *box = GC_MALLOC_ATOMIC(sizeof *box);
        box->value = i, box->key = key;
        struct entry *entry = GC_MALLOC(sizeof *entry);
        entry->next = *bucket, entry->key = key, entry->box = box;
        *bucket = entry;
    }
    return buckets;
}

static void full_mark(const struct run *r, struct outcome *o) {
    uint64_t n = number(r, "objects"), check = DIGEST;
    if (!strcmp(r->variant, "list") || !strcmp(r->variant, "shuffled-list")) {
        struct list *head = *r->variant == 'l' ? build_list(n) : build_shuffled_list(n);
        force_collections(r, o, n);
        for (; head; head = head->next) digest_add(&check, head->value);
    } else if (!strcmp(r->variant, "graph")) {
        struct graph *root = build_graph(n);
        force_collections(r, o, n);
        traverse_graph(root, &check);
    } else if (!strcmp(r->variant, "wide-tree")) {
        struct wide *root = build_wide_tree(n);
        force_collections(r, o, n);
        traverse_wide(root, &check);
    } else if (!strcmp(r->variant, "map")) {
        uint64_t size = 1;
        while (size < n) size *= 2;
        struct entry **buckets = build_map(n, size);
        force_collections(r, o, 2 * n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t key = i * MAP_MULTIPLIER;
            struct entry *entry = buckets[key >> 32 & (size - 1)];
            while (entry->key != key) entry = entry->next;
            digest_add(&check, entry->box->value);
        }
    } else {
        fail("there is no variant %s", r->variant);
    }
    o->check = check;
}
WORKLOAD("full-mark", full_mark)
