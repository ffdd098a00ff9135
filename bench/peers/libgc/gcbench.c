#include "peer.h"

struct node {
    struct node *left, *right;
    uint32_t i, j;
};

static uint64_t tree_size(int depth) { return (2ull << depth) - 1; }

/* Builds top-down, into a node that exists. */
static void populate(int depth, struct node *n) {
    n->i = (uint32_t)depth;
    if (depth == 0) return;
    n->left = GC_MALLOC(sizeof *n);
    n->right = GC_MALLOC(sizeof *n);
    populate(depth - 1, n->left);
    populate(depth - 1, n->right);
}

/* Builds the children before their parent. */
static struct node *bottom_up(int depth) {
    if (depth == 0) return GC_MALLOC(sizeof(struct node));
    struct node *left = bottom_up(depth - 1), *right = bottom_up(depth - 1);
    struct node *n = GC_MALLOC(sizeof *n);
    n->left = left, n->right = right, n->i = (uint32_t)depth;
    return n;
}

/* Adds up a tree's left edge. */
static uint64_t spine(const struct node *n) {
    uint64_t sum = 0;
    for (; n; n = n->left) sum += (uint64_t)n->i + 1;
    return sum;
}

static uint64_t count(const struct node *n) {
    return n ? 1 + count(n->left) + count(n->right) : 0;
}

static void gcbench(const struct run *r, struct outcome *o) {
    int depth = (int)number(r, "depth");
    uint64_t doubles = number(r, "doubles"), check = DIGEST;
    digest_add(&check, spine(bottom_up(depth + 2)));
    struct node *long_lived = GC_MALLOC(sizeof *long_lived);
    populate(depth, long_lived);
    double *array = GC_MALLOC_ATOMIC(doubles * sizeof *array);
    memset(array, 0, doubles * sizeof *array);
    for (uint64_t i = 0; i < doubles / 2; i++) array[i] = 1 / (double)(i + 1);
    for (int d = 4; d <= depth; d += 2) {
        uint64_t trees = 2 * tree_size(depth + 2) / tree_size(d), sum = 0;
        for (uint64_t i = 0; i < trees; i++) {
            struct node *root = GC_MALLOC(sizeof *root);
            populate(d, root);
            sum += spine(root);
        }
        for (uint64_t i = 0; i < trees; i++) sum += spine(bottom_up(d));
        digest_add(&check, sum);
    }
    digest_add(&check, count(long_lived));
    digest_add(&check, (uint64_t)(1 / array[doubles / 4]));
    o->check = check;
}
WORKLOAD("gcbench", gcbench)
