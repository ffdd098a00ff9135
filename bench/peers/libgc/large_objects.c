/* large-objects on libgc: see docs/workloads.md. Pointer-free blocks are not zeroed by the collector, so the
 * program does it. */
#include "peer.h"
#include <unistd.h>

enum { SLOTS = 16, PAGE_WORDS = 4096 / 8 };

typedef struct {
    uint64_t *words;
    uint64_t pages;
} Block;

static void drop_block(Block *b, uint64_t *check) {
    uint64_t sum = 0;
    for (uint64_t page = 0; page < b->pages; page++)
        sum += b->words[page * PAGE_WORDS];
    digest_add(check, sum);
    b->words = NULL;
}

static __attribute__((noinline)) void churn(Block *slots, uint64_t operations, uint64_t *check) {
    struct rng rnd = {8};
    for (uint64_t op = 0; op < operations; op++) {
        Block *b = &slots[rng_below(&rnd, SLOTS)];
        uint64_t base = (uint64_t)65536 << rng_below(&rnd, 10);
        uint64_t pages = base / 4096 + rng_below(&rnd, base / 4096 + 1);
        if (b->words)
            drop_block(b, check);
        b->words = GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(pages * 4096);
        b->pages = pages;
        memset(b->words, 0, pages * 4096);
        uint64_t dirt = 0;
        for (uint64_t page = 0; page < pages; page++) {
            b->words[page * PAGE_WORDS] = (op << 20) + page;
            dirt |= b->words[page * PAGE_WORDS + PAGE_WORDS / 2];
        }
        digest_add(check, dirt);
    }
}

static void run(const struct run *r, struct outcome *o) {
    uint64_t check = DIGEST;
    Block *slots = GC_MALLOC(SLOTS * sizeof(Block));
    churn(slots, number(r, "operations"), &check);
    metric(o, "resident_live_bytes", resident_bytes());
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].words)
            drop_block(&slots[i], &check);
    GC_gcollect();
    metric(o, "resident_collected_bytes", resident_bytes());
    usleep(number(r, "idle_millis") * 1000);
    metric(o, "resident_idle_bytes", resident_bytes());
    GC_gcollect_and_unmap();
    metric(o, "resident_trimmed_bytes", resident_bytes());
    o->check = check;
}
WORKLOAD("large-objects", run)
