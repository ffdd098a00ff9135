/* finalizers on libgc: see docs/workloads.md. Cleanups are finalizers without order that get the number as
 * client data; weak references are disappearing links in words the collector does not look through. */
#include "peer.h"

typedef struct Mortal Mortal;
struct Mortal {
    Mortal *group;
    uint64_t number, spare[2];
};

typedef struct {
    uint64_t sum, count;
} Deaths;

static Deaths finalized, cleaned;

static void finalize(void *object, void *data) {
    (void)data;
    finalized.sum += ((Mortal *)object)->number;
    finalized.count++;
}

static void clean(void *object, void *data) {
    (void)object;
    cleaned.sum += (uintptr_t)data;
    cleaned.count++;
}

static __attribute__((noinline)) void make(Mortal **table, Mortal *group, uint64_t n, int cleanup) {
    for (uint64_t i = 0; i < n; i++) {
        Mortal *m = GC_MALLOC(sizeof *m);
        m->group = group;
        m->number = i;
        if (cleanup)
            GC_REGISTER_FINALIZER_NO_ORDER(m, clean, (void *)(uintptr_t)i, NULL, NULL);
        else
            GC_REGISTER_FINALIZER(m, finalize, NULL, NULL, NULL);
        table[i] = m;
    }
}

/* Overwrites what calls have left on the stack. */
static __attribute__((noinline)) void clear_stack(void) {
    volatile char frame[65536];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 0;
}

static void mortals(struct outcome *o, const char *name, uint64_t n, Deaths *told, int cleanup) {
    char label[64];
    Mortal **table = GC_MALLOC(n * sizeof *table);
    Mortal *group = GC_MALLOC(sizeof *group);
    uint64_t cpu = cpu_nanos();
    make(table, group, n, cleanup);
    snprintf(label, sizeof label, "%s_register_nanos", name);
    metric(o, label, (double)(cpu_nanos() - cpu) / n);
    uint64_t begin = wall_nanos();
    GC_gcollect();
    snprintf(label, sizeof label, "%s_alive_nanos", name);
    metric(o, label, wall_nanos() - begin);
    memset(table, 0, n * sizeof *table);
    clear_stack();
    begin = wall_nanos();
    GC_gcollect();
    snprintf(label, sizeof label, "%s_dead_nanos", name);
    metric(o, label, wall_nanos() - begin);
    /* A stray word may keep some for another collection. */
    for (int attempt = 0; attempt < 10; attempt++) {
        GC_invoke_finalizers();
        if (told->count == n)
            break;
        clear_stack();
        GC_gcollect();
    }
    snprintf(label, sizeof label, "%s_told_nanos", name);
    metric(o, label, wall_nanos() - begin);
    GC_reachable_here(table);
    GC_gcollect();
}

typedef struct {
    uint64_t words[3];
} Text;

typedef struct Node Node;
struct Node {
    Node *next;
    GC_hidden_pointer text;
    uint64_t hash;
};

static Text *intern(Node **buckets, uint64_t mask, Text text) {
    Node **link = &buckets[(text.words[0] >> 32) & mask];
    while (*link) {
        Node *node = *link;
        if (!node->text) {
            *link = node->next;
            continue;
        }
        Text *object = GC_REVEAL_POINTER(node->text);
        if (node->hash == text.words[0] && !memcmp(object, &text, sizeof text))
            return object;
        link = &node->next;
    }
    Text *object = GC_MALLOC_ATOMIC(sizeof *object);
    *object = text;
    Node *node = GC_MALLOC(sizeof *node);
    node->text = GC_HIDE_POINTER(object);
    node->hash = text.words[0];
    GC_GENERAL_REGISTER_DISAPPEARING_LINK((void **)&node->text, object);
    *link = node;
    return object;
}

static __attribute__((noinline)) void operate(Node **buckets, uint64_t mask, uint64_t keys, uint64_t operations,
                                              uint64_t *check) {
    uint64_t size = keys / 8;
    Text **window = GC_MALLOC(size * sizeof *window);
    struct rng rnd = {10};
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t key = rng_below(&rnd, keys);
        struct rng hash = {key};
        Text text = {{rng_next(&hash), key, ~key}};
        Text *object = intern(buckets, mask, text);
        digest_add(check, object->words[1]);
        if (i % 16 == 0 && intern(buckets, mask, text) != object)
            digest_add(check, i);
        window[i % size] = object;
        if (i % (operations / 4) == operations / 8)
            GC_gcollect();
    }
    memset(window, 0, size * sizeof *window);
}

static void run(const struct run *r, struct outcome *o) {
    uint64_t n = number(r, "objects"), keys = number(r, "keys"), operations = number(r, "operations");
    uint64_t check = DIGEST, mask = 1;
    GC_set_finalize_on_demand(1);
    mortals(o, "finalizer", n, &finalized, 0);
    digest_add(&check, finalized.sum);
    mortals(o, "cleanup", n, &cleaned, 1);
    digest_add(&check, cleaned.sum);
    while (mask < keys)
        mask *= 2;
    Node **buckets = GC_MALLOC(mask * sizeof *buckets);
    uint64_t cpu = cpu_nanos();
    operate(buckets, mask - 1, keys, operations, &check);
    metric(o, "weak_operation_nanos", (double)(cpu_nanos() - cpu) / operations);
    clear_stack();
    GC_gcollect();
    uint64_t survivors = 0;
    for (uint64_t i = 0; i < mask; i++)
        for (Node *node = buckets[i]; node; node = node->next)
            survivors += node->text != 0;
    metric(o, "weak_survivors", survivors);
    o->check = check;
}
WORKLOAD("finalizers", run)
