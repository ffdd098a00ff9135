#include "peer.h"

#include <pthread.h>

enum { PACKET_SLOTS = 4096, TURN_REPLACEMENTS = 10000 };

struct packet {
    uint64_t **slots;
    struct rng random;
    uint64_t sum, turns_left;
};

/* Hands packets from thread to thread. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting, left; /* packets in the queue; packets that still have turns */
    struct packet **packets;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Replaces blocks of the packet by new ones of 16 to 512 bytes. */
static void turn(struct packet *p) {
    for (int i = 0; i < TURN_REPLACEMENTS; i++) {
        uint64_t tag = rng_next(&p->random), size = 16 + ((tag >> 32) * 497 >> 32);
        uint64_t *block = GC_MALLOC_ATOMIC(size), **slot = &p->slots[tag % PACKET_SLOTS];
        memset(block, 0, size);
        if (*slot) p->sum += **slot;
        *block += tag;
        *slot = block;
    }
    p->turns_left--;
}

/* Waits for a packet; NULL when no turns are left. */
static struct packet *take(void) {
    struct packet *p = NULL;
    pthread_mutex_lock(&queue.lock);
    while (!queue.waiting && queue.left) pthread_cond_wait(&queue.changed, &queue.lock);
    if (queue.left) {
        p = queue.packets[0];
        memmove(queue.packets, queue.packets + 1, (size_t)--queue.waiting * sizeof p);
    }
    pthread_mutex_unlock(&queue.lock);
    return p;
}

static void give_back(struct packet *p) {
    pthread_mutex_lock(&queue.lock);
    if (p->turns_left)
        queue.packets[queue.waiting++] = p;
    else
        queue.left--;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

static void work(void *argument, int thread) {
    (void)argument, (void)thread;
    for (struct packet *p; (p = take());) {
        turn(p);
        give_back(p);
    }
}

static void larson(const struct run *r, struct outcome *o) {
    int count = 2 * r->threads;
    uint64_t turns = number(r, "turns") / (uint64_t)count, check = DIGEST;
    struct packet **packets = GC_MALLOC((size_t)count * sizeof *packets);
    queue.packets = GC_MALLOC((size_t)count * sizeof *packets);
    queue.left = queue.waiting = count;
    for (int i = 0; i < count; i++) {
        struct packet *p = GC_MALLOC(sizeof *p);
        p->slots = GC_MALLOC(PACKET_SLOTS * sizeof *p->slots);
        p->random.state = (uint64_t)i;
        p->turns_left = turns;
        packets[i] = queue.packets[i] = p;
    }
    uint64_t cpu = cpu_nanos();
    parallel(r->threads, work, NULL);
    metric(o, "ns_per_replacement",
           (double)(cpu_nanos() - cpu) / (double)(turns * (uint64_t)count * TURN_REPLACEMENTS));
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < PACKET_SLOTS; k++)
            if (packets[i]->slots[k]) packets[i]->sum += *packets[i]->slots[k];
        digest_add(&check, packets[i]->sum);
    }
    o->check = check;
}
WORKLOAD("larson", larson)
