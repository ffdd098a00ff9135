/* Layouts: which words of an object are references, by each way to say so. */

#include "check.h"

struct pair {
    void *first, *second;
    long number;
};

static int traced;

static void trace_pair(void *object, size_t size, mallocgc_tracer *tracer) {
    struct pair *pair = (struct pair *)object;
    CHECK(size >= sizeof *pair);
    traced++;
    /* Inside a callback the heap answers with an error. */
    NOTES(REENTRANT, mallocgc_alloc(mutator, NULL, 1 << 20, 0));
    mallocgc_trace(tracer, pair->first);
    mallocgc_trace(tracer, NULL);
    mallocgc_trace(tracer, &traced);
}

/* Which of the words of an object with this layout are references. */
static uint64_t references(const mallocgc_layout *layout, size_t words) {
    void **object = (void **)mallocgc_alloc(mutator, layout, 8 * words, 0), *leaves[64];
    uint64_t mask = 0;
    CHECK(object);
    OK(mallocgc_push(mutator, object, NULL));
    for (size_t at = 0; at < words; at++) {
        CHECK((leaves[at] = mallocgc_alloc(mutator, NULL, 32, 0)));
        mallocgc_write(mutator, &object[at], leaves[at]);
    }
    collect();
    for (size_t at = 0; at < words; at++) mask |= (uint64_t)lives(leaves[at]) << at;
    OK(mallocgc_pop_to(mutator, mallocgc_pushed(mutator) - 1));
    return mask;
}

static void masks(void) {
    const mallocgc_layout *layout, *same, *other;
    uint64_t mask = 5, beyond = 16, long_mask[2] = {1, 0x8000};
    OK(mallocgc_layout_mask(heap, 3, &mask, &layout));
    CHECK(mallocgc_layout_bytes(layout) == 24 && mallocgc_layout_bytes(NULL) == 0);
    OK(mallocgc_layout_mask(heap, 3, &mask, &same));
    CHECK(layout == same);
    CHECK(references(layout, 3) == 5);
    /* The same references in a longer object: another handle, for another size. */
    OK(mallocgc_layout_mask(heap, 5, &mask, &other));
    CHECK(other != layout && mallocgc_layout_bytes(other) == 40 && references(other, 5) == 5);
    /* Without references it is any such layout. */
    mask = 0;
    OK(mallocgc_layout_mask(heap, 3, &mask, &other));
    CHECK(references(other, 3) == 0);
    mask = 5;
    OK(mallocgc_layout_mask(heap, 80, long_mask, &other));
    CHECK(mallocgc_layout_bytes(other) == 640 && references(other, 64) == 1);
    FAILS(BAD_LAYOUT, mallocgc_layout_mask(heap, 3, &beyond, &other));
    FAILS(BAD_LAYOUT, mallocgc_layout_mask(heap, 0, &mask, &other));
    FAILS(BAD_LAYOUT, mallocgc_layout_mask(heap, SIZE_MAX, &mask, &other));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(heap, 3, NULL, &other));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(heap, 3, &mask, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_layout_mask(NULL, 3, &mask, &other));
}

static void arrays(void) {
    const mallocgc_layout *layout;
    uint64_t mask = 5, all = 1, none = 0;
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, 1, &none, 2, &mask, &layout));
    OK(mallocgc_layout_array(heap, 1, &none, 2, &all, &layout));
    CHECK(mallocgc_layout_bytes(layout) == 24 && references(layout, 7) == 42);
    NOTES(NOT_REPEATING, mallocgc_new_array(mutator, layout, 2));
    OK(mallocgc_layout_array(heap, 0, NULL, 2, &all, &layout));
    CHECK(mallocgc_new_array(mutator, layout, 10) && references(layout, 6) == 21);
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, 0, NULL, 0, NULL, &layout));
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, SIZE_MAX / 8, &none, 2, &all, &layout));
    FAILS(BAD_LAYOUT, mallocgc_layout_array(heap, 0, NULL, SIZE_MAX, &all, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_array(heap, 1, NULL, 2, &all, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_array(heap, 1, &none, 2, NULL, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_array(heap, 1, &none, 2, &all, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_layout_array(NULL, 1, &none, 2, &all, &layout));
}

static void programs(void) {
    const mallocgc_layout *layout;
    uint8_t program[] = {1 << 2 | 0, 2 << 2 | 1, 0 << 2 | 3, 2, 2, 1 << 2 | 1, 1 << 2 | 0};
    uint8_t malformed[] = {3};
    OK(mallocgc_layout_program(heap, program, sizeof program, &layout));
    /* One plain word, two references, then one and one in turn. */
    CHECK(references(layout, 9) == 0xae);
    FAILS(BAD_LAYOUT, mallocgc_layout_program(heap, malformed, 1, &layout));
    OK(mallocgc_layout_program(heap, program, 0, &layout));
    CHECK(references(layout, 4) == 0);
    OK(mallocgc_layout_program(heap, program, sizeof program, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_program(heap, NULL, 1, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_program(heap, program, SIZE_MAX, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_program(heap, program, sizeof program, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_layout_program(NULL, program, sizeof program, &layout));
}

static void others(void) {
    const mallocgc_layout *layout;
    OK(mallocgc_layout_trace(heap, sizeof(struct pair), 0, trace_pair, &layout));
    CHECK(references(layout, 3) == 1 && traced > 0);
    NOTES(NOT_REPEATING, mallocgc_new_array(mutator, layout, 2));
    OK(mallocgc_layout_trace(heap, sizeof(struct pair), sizeof(struct pair), trace_pair, &layout));
    CHECK(references(layout, 6) == 9);
    CHECK(mallocgc_new_array(mutator, layout, 3));
    FAILS(BAD_LAYOUT, mallocgc_layout_trace(heap, 24, 16, trace_pair, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_trace(heap, 24, 0, NULL, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_trace(heap, 24, 0, trace_pair, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_layout_trace(NULL, 24, 0, trace_pair, &layout));
    OK(mallocgc_layout_conservative(heap, 32, &layout));
    CHECK(references(layout, 4) == 15);
    FAILS(BAD_ARGUMENT, mallocgc_layout_conservative(NULL, 32, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_conservative(heap, 32, NULL));
    OK(mallocgc_layout_noscan(heap, 40, &layout));
    CHECK(references(layout, 4) == 0 && mallocgc_layout_bytes(layout) == 40);
    OK(mallocgc_layout_noscan(heap, 0, &layout));
    CHECK(mallocgc_new(mutator, layout) == mallocgc_alloc(mutator, NULL, 0, 0));
    FAILS(BAD_ARGUMENT, mallocgc_layout_noscan(NULL, 40, &layout));
    FAILS(BAD_ARGUMENT, mallocgc_layout_noscan(heap, 40, NULL));
}

/* --- any number of trace functions ------------------------------------------------------ */

static int calls[512];

#define TRACER(n)                                                                                  \
    static void trace_##n(void *object, size_t size, mallocgc_tracer *tracer) {                    \
        CHECK(size >= 16);                                                                         \
        calls[n]++;                                                                                \
        mallocgc_trace(tracer, ((void **)object)[(n) % 2]);                                        \
    }
#define TEN(of, n) of(n##0) of(n##1) of(n##2) of(n##3) of(n##4) of(n##5) of(n##6) of(n##7) of(n##8) of(n##9)
#define HUNDRED(of, n)                                                                             \
    TEN(of, n##0) TEN(of, n##1) TEN(of, n##2) TEN(of, n##3) TEN(of, n##4)                          \
    TEN(of, n##5) TEN(of, n##6) TEN(of, n##7) TEN(of, n##8) TEN(of, n##9)
#define ALL(of) HUNDRED(of, 1) HUNDRED(of, 2) HUNDRED(of, 3) HUNDRED(of, 4)
ALL(TRACER)

static void many_trace_functions(void) {
#define NAME(n) trace_##n,
    mallocgc_trace_fn functions[] = {ALL(NAME)};
    int count = (int)(sizeof functions / sizeof *functions);
    const mallocgc_layout *layouts[400];
    CHECK(count == 400);
    for (int at = 0; at < count; at++) {
        OK(mallocgc_layout_trace(heap, 16, 0, functions[at], &layouts[at]));
        CHECK(at == 0 || layouts[at] != layouts[at - 1]);
    }
    void *leaves[400][2];
    for (int at = 0; at < count; at++) {
        void **object = (void **)mallocgc_new(mutator, layouts[at]);
        OK(mallocgc_push(mutator, object, NULL));
        for (int word = 0; word < 2; word++)
            object[word] = leaves[at][word] = mallocgc_alloc(mutator, NULL, 16, 0);
    }
    collect();
    for (int at = 0; at < count; at++) {
        int word = (100 + at) % 2;
        CHECK(calls[100 + at] > 0 && lives(leaves[at][word]) && !lives(leaves[at][!word]));
    }
    OK(mallocgc_pop_to(mutator, 0));
}

/* The numbers of a heap's layouts run out, and the heap works on. */
static void many_layouts(void) {
    const mallocgc_layout *layout, *last = NULL;
    mallocgc_heap *its;
    mallocgc_config config = manual();
    uint64_t mask = 1;
    mallocgc_error error = MALLOCGC_ERROR_NONE;
    size_t made = 0;
    OK(mallocgc_heap_new(&config, &its));
    for (mask = 1; !error; mask += 2) {
        error = mallocgc_layout_mask(its, 20, &mask, &layout);
        if (!error) last = layout, made++;
    }
    CHECK(made == 65534);
    FAILS(NO_ROOM, mallocgc_layout_mask(its, 20, &mask, &layout));
    mask = 1;
    OK(mallocgc_layout_mask(its, 20, &mask, &layout));
    CHECK(layout != last && mallocgc_layout_bytes(last) == 160);
    mallocgc_heap_free(its);
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    masks();
    arrays();
    programs();
    others();
    many_trace_functions();
    many_layouts();
    close_heap();
    puts("ok");
    return 0;
}
