#include "peer.h"

struct node {
    struct node *left, *right;
};

static struct node *new_tree(int depth) {
    struct node *n = GC_MALLOC(sizeof *n);
    if (depth > 0) {
        n->left = new_tree(depth - 1);
        n->right = new_tree(depth - 1);
    }
    return n;
}

static uint64_t count(const struct node *n) {
    return n->left ? 1 + count(n->left) + count(n->right) : 1;
}

struct level {
    int depth, threads;
    uint64_t trees, *counts;
};

static void build(void *argument, int thread) {
    struct level *l = argument;
    uint64_t sum = 0;
    for (uint64_t i = (uint64_t)thread; i < l->trees; i += (uint64_t)l->threads)
        sum += count(new_tree(l->depth));
    l->counts[thread] = sum;
}

static void binary_trees(const struct run *r, struct outcome *o) {
    int depth = (int)number(r, "depth");
    uint64_t check = DIGEST;
    digest_add(&check, count(new_tree(depth + 1)));
    struct node *long_lived = new_tree(depth);
    struct level l = {.threads = r->threads};
    l.counts = GC_MALLOC_ATOMIC((size_t)r->threads * 8);
    for (int d = 4; d <= depth; d += 2) {
        l.depth = d;
        l.trees = 1ull << (depth - d + 4);
        if (r->threads == 1)
            build(&l, 0);
        else
            parallel(r->threads, build, &l);
        uint64_t sum = 0;
        for (int i = 0; i < r->threads; i++) sum += l.counts[i];
        digest_add(&check, sum);
    }
    digest_add(&check, count(long_lived));
    o->check = check;
}
WORKLOAD("binary-trees", binary_trees)
