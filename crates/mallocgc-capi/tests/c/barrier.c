/* The write barrier, in its forms; marking beside the program. */

#include "check.h"

static void each_form(void) {
    const mallocgc_layout *layout;
    uint64_t mask = 15;
    OK(mallocgc_layout_mask(heap, 4, &mask, &layout));
    void **one = (void **)mallocgc_new(mutator, layout), **two = (void **)mallocgc_new(mutator, layout);
    mallocgc_write(mutator, &one[0], two);
    CHECK(one[0] == two);
    mallocgc_pre_write(mutator, &one[1]);
    one[1] = one;
    mallocgc_pre_write_range(mutator, one, 4);
    memset(one + 2, 0, 16);
    mallocgc_write_range(mutator, one + 1, (void *const *)one, 3);
    CHECK(one[1] == two && one[2] == one && one[3] == NULL);
    mallocgc_write_range(mutator, one, (void *const *)one + 1, 3);
    CHECK(one[0] == two && one[1] == one && one[2] == NULL);
    mallocgc_write_range(mutator, NULL, NULL, 0);
    mallocgc_pre_write_range(mutator, NULL, 0);
    OK(mallocgc_pre_write_object(mutator, one, 8, 32));
    memset(one + 1, 0, 24);
    OK(mallocgc_pre_write_object(mutator, one, 0, SIZE_MAX));
    OK(mallocgc_pre_write_object(mutator, one, SIZE_MAX, SIZE_MAX));
    TELLS(BAD_ARGUMENT, mallocgc_write(NULL, &one[0], NULL));
    CHECK(one[0] == two);
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_write(mutator, NULL, NULL));
    FAILS(NOT_ALLOCATED, mallocgc_pre_write_object(mutator, &mask, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_write_range(mutator, one, NULL, 1));
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_write_range(NULL, one, one, 1));
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_pre_write_range(mutator, NULL, 1));
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_pre_write_range(NULL, one, 1));
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_pre_write(NULL, &one[0]));
    FAILS(NOT_AT_BEGINNING, mallocgc_pre_write_object(mutator, one + 1, 0, 8));
    TELLS(BAD_ARGUMENT, mallocgc_pre_write(mutator, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_pre_write_object(mutator, one, 8, 0));
    FAILS(BAD_ARGUMENT, mallocgc_pre_write_object(mutator, NULL, 0, 8));
    FAILS(BAD_ARGUMENT, mallocgc_pre_write_object(NULL, one, 0, 8));
}

/* Lists are cut and joined while the heap is marked: every form of the barrier must tell what it
 * overwrites. The heap verifies itself after each phase. */
static void beside(void) {
    /* So many that marking takes a while. */
    enum { SLOTS = 1 << 17, COPIED = 8 };
    const mallocgc_layout *slots, *node;
    mallocgc_stats stats;
    uint64_t all = 1, first = 1;
    OK(mallocgc_layout_array(heap, 0, NULL, 1, &all, &slots));
    OK(mallocgc_layout_mask(heap, 2, &first, &node));
    void **table = (void **)mallocgc_new_array(mutator, slots, SLOTS);
    OK(mallocgc_push(mutator, table, NULL));
    stats.cycles = 0;
    /* At least so long, and until cycles have begun and ended. */
    for (int round = 0; round < (is_zeal() ? 100000 : 300000) || stats.cycles < 3; round++) {
        size_t at = below(SLOTS - COPIED), other = below(SLOTS - COPIED);
        void **made = (void **)mallocgc_new(mutator, node);
        CHECK(made);
        made[1] = (void *)0x5a5a;
        if (below(4)) mallocgc_write(mutator, &made[0], table[at]);
        switch (below(8)) {
        case 0:
            mallocgc_pre_write(mutator, &table[at]);
            __atomic_store_n(&table[at], (void *)made, __ATOMIC_RELEASE);
            break;
        case 1:
            OK(mallocgc_pre_write_object(mutator, table, at * 8, (at + 1) * 8));
            __atomic_store_n(&table[at], (void *)made, __ATOMIC_RELEASE);
            break;
        case 2:
            mallocgc_write_range(mutator, &table[at], &table[other], COPIED);
            break;
        case 3:
            mallocgc_fast_pre_write(mutator, &table[at]);
            __atomic_store_n(&table[at], (void *)made, __ATOMIC_RELEASE);
            break;
        case 4:
        case 5:
            mallocgc_fast_write(mutator, &table[at], made);
            break;
        default:
            mallocgc_write(mutator, &table[at], made);
        }
        OK(mallocgc_poll(mutator));
        if (round % 1024 == 0) OK(mallocgc_read_stats(heap, &stats, sizeof stats));
    }
    for (size_t at = 0; at < SLOTS; at++) {
        int length = 0;
        for (void **node = (void **)table[at]; node && length < 1000; node = (void **)node[0], length++)
            CHECK(node[1] == (void *)0x5a5a);
    }
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    each_form();
    close_heap();
    config.background = 1;
    config.gc_percent = 100;
    config.min_heap_bytes = 1 << 20;
    config.concurrent_from_bytes = 0;
    config.collect_every = is_zeal() ? 1000 : 0;
    open_heap(&config);
    beside();
    close_heap();
    puts("ok");
    return 0;
}
