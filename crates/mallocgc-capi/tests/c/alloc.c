/* Allocation: every function, every flag, every error, sizes up to the largest number. */

#include "check.h"

static const size_t SIZES[] = {0,       1,       7,          8,        15,           16,          24,
                               100,     512,     513,        4096,     32768,        32769,       1 << 20,
                               1u << 31, (size_t)1 << 40, (size_t)1 << 47, SIZE_MAX / 2, SIZE_MAX - 15,
                               SIZE_MAX};
enum { SIZES_COUNT = sizeof SIZES / sizeof *SIZES };

static void check_zero(const void *object, size_t bytes) {
    for (size_t at = 0; at < bytes; at++) CHECK(((const char *)object)[at] == 0);
}

/* Succeeds for what fits, fails with a code for what cannot, and the heap works on. */
static void all_sizes(const mallocgc_layout *layout) {
    for (size_t at = 0; at < SIZES_COUNT; at++) {
        for (uint32_t flags = 0; flags < 8; flags++) {
            for (size_t align = 1; align <= 4096; align *= 8) {
                size_t bytes = SIZES[at];
                void *object = align == 1 ? mallocgc_alloc(mutator, layout, bytes, flags)
                                          : mallocgc_alloc_aligned(mutator, layout, bytes, align, flags);
                mallocgc_error error = mallocgc_last_error();
                if (object && bytes) {
                    size_t usable;
                    void *base;
                    CHECK((uintptr_t)object % align == 0 && bytes < 1u << 31);
                    OK(mallocgc_find_object(heap, object, &base, &usable));
                    CHECK(base <= object && (char *)base + usable >= (char *)object + bytes);
                    if (!(flags & MALLOCGC_FLAGS_NO_ZERO)) check_zero(object, bytes);
                    if (!layout) memset(object, 0xee, bytes);
                } else if (!object) {
                    int unzeroed = layout && flags & MALLOCGC_FLAGS_NO_ZERO;
                    if (unzeroed) CHECK(error == MALLOCGC_ERROR_UNZEROED_REFERENCES);
                    else CHECK(bytes > 1 << 20 && (error == MALLOCGC_ERROR_TOO_LARGE ||
                                                   error == MALLOCGC_ERROR_OUT_OF_MEMORY ||
                                                   error == MALLOCGC_ERROR_LIMIT_REACHED));
                }
            }
        }
        collect();
    }
}

static void errors(void) {
    const mallocgc_layout *layout, *foreign;
    mallocgc_heap *another;
    mallocgc_site *site;
    uint64_t mask = 1;
    NOTES(BAD_ARGUMENT, mallocgc_alloc(NULL, NULL, 8, 0));
    NOTES(BAD_ARGUMENT, mallocgc_alloc(mutator, NULL, 8, 8));
    NOTES(BAD_ARGUMENT, mallocgc_alloc(mutator, NULL, 8, UINT32_MAX));
    NOTES(TOO_LARGE, mallocgc_alloc(mutator, NULL, SIZE_MAX / 2, 0));
    NOTES(TOO_LARGE, mallocgc_alloc(mutator, NULL, SIZE_MAX, MALLOCGC_FLAGS_SAFEPOINT));
    OK(mallocgc_layout_mask(heap, 1, &mask, &layout));
    NOTES(UNZEROED_REFERENCES, mallocgc_alloc(mutator, layout, 8, MALLOCGC_FLAGS_NO_ZERO));
    OK(mallocgc_heap_new(NULL, &another));
    OK(mallocgc_layout_mask(another, 1, &mask, &foreign));
    NOTES(WRONG_HEAP, mallocgc_new(mutator, foreign));
    NOTES(WRONG_HEAP, mallocgc_alloc(mutator, foreign, 1 << 20, 0));
    NOTES(WRONG_HEAP, mallocgc_alloc_aligned(mutator, foreign, 8, 64, 0));
    FAILS(WRONG_HEAP, mallocgc_site_new(mutator, foreign, 8, &site));
    mallocgc_heap_free(another);
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 48, 0));
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 0, 0));
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 8192, 0));
    NOTES(BAD_ALIGNMENT, mallocgc_alloc_aligned(mutator, NULL, 24, SIZE_MAX, 0));
    NOTES(BAD_ARGUMENT, mallocgc_alloc_aligned(mutator, NULL, 24, 8, 8));
    NOTES(BAD_ARGUMENT, mallocgc_alloc_aligned(NULL, NULL, 24, 8, 0));
    NOTES(BAD_ARGUMENT, mallocgc_new(NULL, layout));
    NOTES(NOT_REPEATING, mallocgc_new_array(mutator, layout, 2));
    NOTES(BAD_ARGUMENT, mallocgc_new_array(NULL, layout, 1));
    NOTES(BAD_ARGUMENT, mallocgc_site_alloc(mutator, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_site_new(mutator, layout, 0, &site));
    FAILS(TOO_LARGE, mallocgc_site_new(mutator, layout, 32769, &site));
    FAILS(TOO_LARGE, mallocgc_site_new(mutator, layout, SIZE_MAX, &site));
    FAILS(BAD_ARGUMENT, mallocgc_site_new(mutator, layout, 8, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_site_new(NULL, layout, 8, &site));
    OK(mallocgc_site_new(mutator, layout, 8, &site));
    NOTES(BAD_ARGUMENT, mallocgc_site_alloc(NULL, site));
    mallocgc_site_free(site);
    mallocgc_site_free(NULL);
}

static void objects(void) {
    const mallocgc_layout *layout, *array;
    uint64_t mask = 1;
    void *base;
    size_t bytes;
    mallocgc_site *site;
    unsigned char *object = (unsigned char *)mallocgc_alloc(mutator, NULL, 100, 0);
    CHECK(object && (uintptr_t)object % 8 == 0);
    OK(mallocgc_find_object(heap, object + 50, &base, &bytes));
    CHECK(base == object && bytes == 112);
    OK(mallocgc_find_object(heap, object + 50, NULL, NULL));
    FAILS(NOT_ALLOCATED, mallocgc_find_object(heap, &mask, &base, &bytes));
    FAILS(NOT_ALLOCATED, mallocgc_find_object(heap, NULL, &base, &bytes));
    FAILS(NOT_ALLOCATED, mallocgc_find_object(heap, (void *)UINTPTR_MAX, &base, &bytes));
    FAILS(BAD_ARGUMENT, mallocgc_find_object(NULL, object, &base, &bytes));
    CHECK(mallocgc_alloc(mutator, NULL, 0, 0) == mallocgc_alloc(mutator, NULL, 0, 0));
    /* Small objects share a block of 16 bytes, unless they are to have one. */
    char *first = (char *)mallocgc_alloc(mutator, NULL, 4, 0);
    char *second = (char *)mallocgc_alloc(mutator, NULL, 4, 0);
    OK(mallocgc_find_object(heap, second, &base, NULL));
    CHECK(base == first || base == second);
    second = (char *)mallocgc_alloc(mutator, NULL, 4, MALLOCGC_FLAGS_NO_TINY);
    OK(mallocgc_find_object(heap, second, &base, NULL));
    CHECK(base == second);
    OK(mallocgc_layout_mask(heap, 1, &mask, &layout));
    OK(mallocgc_layout_array(heap, 0, NULL, 1, &mask, &array));
    CHECK(mallocgc_new(mutator, layout) && mallocgc_new_array(mutator, layout, 1));
    CHECK(mallocgc_new_array(mutator, layout, 0) == mallocgc_alloc(mutator, NULL, 0, 0));
    CHECK(mallocgc_new_array(mutator, array, 1000));
    NOTES(TOO_LARGE, mallocgc_new_array(mutator, array, SIZE_MAX / 4));
    NOTES(TOO_LARGE, mallocgc_new_array(mutator, array, SIZE_MAX));
    OK(mallocgc_site_new(mutator, layout, 8, &site));
    void *one = mallocgc_site_alloc(mutator, site), *two = mallocgc_site_alloc(mutator, site);
    CHECK(one && two && one != two);
    mallocgc_site_free(site);
    OK(mallocgc_site_new(mutator, NULL, 32768, &site));
    for (int round = 0; round < 20; round++) {
        CHECK((object = (unsigned char *)mallocgc_site_alloc(mutator, site)));
        check_zero(object, 32768);
        memset(object, 1, 32768);
        if (round % 7 == 6) collect();
    }
    mallocgc_site_free(site);
}

/* The system or the address range has no more. */
static void no_memory(void) {
    mallocgc_config config = manual();
    config.reserve_bytes = 64 << 20;
    close_heap();
    open_heap(&config);
    int count = 0;
    while (mallocgc_alloc(mutator, NULL, 1 << 20, 0)) CHECK(++count <= 64);
    CHECK(count > 40);
    NOTES(OUT_OF_MEMORY, mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    /* At a safepoint it collects and tries again. */
    CHECK(mallocgc_alloc(mutator, NULL, 1 << 20, MALLOCGC_FLAGS_SAFEPOINT));
    NOTES(TOO_LARGE, mallocgc_alloc(mutator, NULL, 65 << 20, 0));
}

int main(void) {
    mallocgc_config config = manual();
    const mallocgc_layout *layout;
    uint64_t mask = 1;
    config.reserve_bytes = 256 << 20;
    open_heap(&config);
    objects();
    errors();
    all_sizes(NULL);
    OK(mallocgc_layout_array(heap, 0, NULL, 1, &mask, &layout));
    all_sizes(layout);
    no_memory();
    close_heap();
    puts("ok");
    return 0;
}
