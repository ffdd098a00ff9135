/* fragmentation on libgc: see docs/workloads.md. */
#include "peer.h"

static void run(const struct run *r, struct outcome *o) {
    uint64_t target = number(r, "live_bytes"), rounds = number(r, "rounds");
    uint64_t check = DIGEST, count = 0, live = 0, peak = 0, number = 0;
    double overhead = 0;
    struct rng rnd = {11};
    uint64_t **table = GC_MALLOC((target / 64 + 1) * sizeof *table);
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t least = (uint64_t)64 << round;
        while (live < target) {
            uint64_t size = (least + rng_below(&rnd, least)) & ~(uint64_t)7;
            uint64_t *object = GC_MALLOC_ATOMIC(size);
            memset(object, 0, size);
            object[0] = size;
            object[1] = object[size / 8 - 1] = number++;
            table[count++] = object;
            live += size;
        }
        if (live > peak)
            peak = live;
        uint64_t kept = 0;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t *object = table[i];
            table[i] = NULL;
            if (rng_below(&rnd, 10) == 0) {
                table[kept++] = object;
                continue;
            }
            digest_add(&check, object[1] ^ object[object[0] / 8 - 1] << 32);
            live -= object[0];
        }
        count = kept;
        digest_add(&check, live);
        GC_gcollect();
        overhead += (double)resident_bytes() / live;
    }
    metric(o, "peak_over_live", (double)peak_resident_bytes() / peak);
    metric(o, "freed_over_live", overhead / rounds);
    GC_reachable_here(table);
    o->check = check;
}
WORKLOAD("fragmentation", run)
