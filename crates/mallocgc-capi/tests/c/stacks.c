/* Stacks whose words may be anything: the thread's own, registered ones, fibers that migrate. */

#include "check.h"
#include <ucontext.h>

static void *words[5];

static void make_words(void) {
    for (int at = 0; at < 3; at++) CHECK((words[at] = mallocgc_alloc(mutator, NULL, 64, 0)));
}

static void check_words(int alive) {
    collect();
    for (int at = 0; at < 3; at++) CHECK(lives(words[at]) == alive);
}

static void another_stack(void) {
    mallocgc_stack *stack;
    make_words();
    OK(mallocgc_stack_add(heap, words + 3, &stack));
    check_words(0);
    make_words();
    OK(mallocgc_stack_set_top(stack, words));
    check_words(1);
    OK(mallocgc_stack_set_top(stack, words + 1));
    collect();
    CHECK(!lives(words[0]) && lives(words[1]) && lives(words[2]));
    OK(mallocgc_stack_set_top(stack, NULL));
    check_words(0);
    FAILS(BAD_ARGUMENT, mallocgc_stack_set_top(stack, words + 4));
    FAILS(BAD_ARGUMENT, mallocgc_stack_set_top(NULL, words));
    FAILS(BAD_ARGUMENT, mallocgc_stack_add(heap, NULL, &stack));
    FAILS(BAD_ARGUMENT, mallocgc_stack_add(heap, words, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_stack_add(NULL, words, &stack));
    make_words();
    OK(mallocgc_stack_set_top(stack, words));
    mallocgc_stack_remove(stack);
    mallocgc_stack_remove(NULL);
    check_words(0);
}

/* Not inlined, so that its frame lies below its caller's. */
static void __attribute__((noinline)) only_on_the_stack(const void *base, int scanned) {
    void *volatile object = mallocgc_alloc(mutator, NULL, 4096, 0);
    volatile uintptr_t hidden = ~(uintptr_t)object;
    OK(mallocgc_scan_own_stack(mutator, scanned ? base : NULL));
    if (!scanned) object = NULL;
    collect();
    CHECK(lives((void *)~hidden) == scanned);
    OK(mallocgc_scan_own_stack(mutator, NULL));
}

static void visit_first(mallocgc_visitor *visitor, void *data) { mallocgc_visit(visitor, *(void **)data); }

/* The program's callback and the scanned stack are both there, whichever came first. */
static void __attribute__((noinline)) both_kinds_of_roots(const void *base, int callback_first) {
    void *volatile on_stack = mallocgc_alloc(mutator, NULL, 4096, 0);
    volatile uintptr_t hidden;
    words[0] = mallocgc_alloc(mutator, NULL, 4096, 0);
    hidden = ~(uintptr_t)words[0];
    if (callback_first) OK(mallocgc_set_roots(mutator, visit_first, words));
    OK(mallocgc_scan_own_stack(mutator, base));
    if (!callback_first) OK(mallocgc_set_roots(mutator, visit_first, words));
    collect();
    CHECK(lives((void *)on_stack) && lives((void *)~hidden));
    OK(mallocgc_set_roots(mutator, NULL, NULL));
    OK(mallocgc_scan_own_stack(mutator, NULL));
}

static void own_stack(const void *base) {
    only_on_the_stack(base, 1);
    only_on_the_stack(base, 0);
    both_kinds_of_roots(base, 0);
    both_kinds_of_roots(base, 1);
    FAILS(BAD_ARGUMENT, mallocgc_scan_own_stack(mutator, (void *)8));
    FAILS(BAD_ARGUMENT, mallocgc_scan_own_stack(NULL, base));
}

/* --- fibers ---------------------------------------------------------------------- */

enum { FIBERS = 8, TURNS = 40, STACK_BYTES = 256 << 10, DEPTH = 6 };

struct fiber {
    ucontext_t context;
    char *memory;
    mallocgc_stack *stack;
    int turns, done;
};

static struct fiber fibers[FIBERS];

/* What runs fibers: a thread with its mutator. */
struct thread {
    ucontext_t context;
    mallocgc_mutator *mutator;
    mallocgc_stack *stack;
    struct fiber *running;
};

static __thread struct thread *here;

/* The thread may be another after a switch: its address must be asked for anew. */
static struct thread *__attribute__((noinline)) this_thread(void) {
    __asm__ volatile("");
    return here;
}

struct transfer {
    ucontext_t *from, *to;
};

static void swap(void *data) {
    struct transfer *transfer = (struct transfer *)data;
    CHECK(swapcontext(transfer->from, transfer->to) == 0);
}

static void run_fiber(struct thread *thread, struct fiber *fiber) {
    struct transfer transfer = {&thread->context, &fiber->context};
    thread->running = fiber;
    OK(mallocgc_stack_switch(thread->mutator, thread->stack, fiber->stack, swap, &transfer));
}

static void yield_fiber(void) {
    struct thread *thread = this_thread();
    struct transfer transfer = {&thread->running->context, &thread->context};
    OK(mallocgc_stack_switch(thread->mutator, thread->running->stack, thread->stack, swap, &transfer));
}

/* Each frame has an object that nothing else keeps, across collections on every thread. */
static void __attribute__((noinline)) descend(int depth, unsigned number) {
    unsigned *volatile object = (unsigned *)mallocgc_alloc(this_thread()->mutator, NULL, 48, 0);
    CHECK(object);
    object[5] = number;
    if (depth) descend(depth - 1, number * 31 + 7);
    else yield_fiber();
    OK(mallocgc_poll(this_thread()->mutator));
    CHECK(lives(object) && object[5] == number && object[0] == 0);
}

static void fiber_main(void) {
    struct fiber *self = this_thread()->running;
    for (self->turns = 0; self->turns < TURNS; self->turns++)
        descend(DEPTH, (unsigned)(self - fibers) * 1000 + (unsigned)self->turns);
    self->done = 1;
    yield_fiber();
}

/* Runs fibers in turn; `step` 2 of two threads, which then exchange them. */
static void run_fibers(const void *base, unsigned from, unsigned step, int rounds) {
    struct thread thread;
    memset(&thread, 0, sizeof thread);
    OK(mallocgc_attach(heap, &thread.mutator));
    OK(mallocgc_stack_add(heap, base, &thread.stack));
    OK(mallocgc_scan_own_stack(thread.mutator, base));
    here = &thread;
    for (int round = 0; round < rounds; round++) {
        for (unsigned at = from; at < FIBERS; at += step) {
            if (!fibers[at].done) run_fiber(&thread, &fibers[at]);
            OK(mallocgc_poll(thread.mutator));
        }
        if (round % 8 == 0) OK(mallocgc_gc(thread.mutator, SWEEP));
    }
    mallocgc_stack_remove(thread.stack);
    OK(mallocgc_detach(thread.mutator));
    here = NULL;
}

static void *other_thread(void *base) {
    int here_is_a_base;
    (void)base;
    run_fibers((char *)&here_is_a_base + sizeof here_is_a_base, 1, 2, TURNS / 2);
    return NULL;
}

static void run_here(const void *base) {
    pthread_t thread;
    /* Half on another thread, then all here, where they were left. */
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    run_fibers(base, 0, 2, TURNS / 2);
    CHECK(pthread_join(thread, NULL) == 0);
    run_fibers(base, 0, 1, TURNS);
}

static void no_switch(void *data) { ++*(int *)data; }

static void fibers_and_threads(const void *base) {
    mallocgc_config config = manual();
    mallocgc_stack *one, *two, *foreign;
    mallocgc_heap *another;
    int calls = 0;
    config.collect_every = 5;
    config.verify = is_zeal();
    OK(mallocgc_heap_new(&config, &heap));
    for (int at = 0; at < FIBERS; at++) {
        struct fiber *fiber = &fibers[at];
        CHECK((fiber->memory = (char *)malloc(STACK_BYTES)));
        CHECK(getcontext(&fiber->context) == 0);
        fiber->context.uc_stack.ss_sp = fiber->memory;
        fiber->context.uc_stack.ss_size = STACK_BYTES;
        makecontext(&fiber->context, fiber_main, 0);
        OK(mallocgc_stack_add(heap, fiber->memory + STACK_BYTES, &fiber->stack));
    }
    run_here(base);
    for (int at = 0; at < FIBERS; at++) {
        CHECK(fibers[at].done);
        mallocgc_stack_remove(fibers[at].stack);
        free(fibers[at].memory);
    }
    OK(mallocgc_attach(heap, &mutator));
    OK(mallocgc_stack_add(heap, base, &one));
    OK(mallocgc_stack_add(heap, (char *)base + 64, &two));
    OK(mallocgc_stack_switch(mutator, one, two, no_switch, &calls));
    CHECK(calls == 1);
    FAILS(BAD_ARGUMENT, mallocgc_stack_switch(NULL, one, two, no_switch, &calls));
    FAILS(BAD_ARGUMENT, mallocgc_stack_switch(mutator, NULL, two, no_switch, &calls));
    FAILS(BAD_ARGUMENT, mallocgc_stack_switch(mutator, one, NULL, no_switch, &calls));
    FAILS(BAD_ARGUMENT, mallocgc_stack_switch(mutator, one, two, NULL, &calls));
    OK(mallocgc_heap_new(NULL, &another));
    OK(mallocgc_stack_add(another, base, &foreign));
    FAILS(WRONG_HEAP, mallocgc_stack_switch(mutator, one, foreign, no_switch, &calls));
    FAILS(WRONG_HEAP, mallocgc_stack_switch(mutator, foreign, two, no_switch, &calls));
    mallocgc_stack_remove(foreign);
    mallocgc_heap_free(another);
    mallocgc_stack_remove(one);
    OK(mallocgc_stack_add(heap, (void *)64, &one));
    FAILS(BAD_ARGUMENT, mallocgc_stack_switch(mutator, one, two, no_switch, &calls));
    CHECK(calls == 1);
    mallocgc_stack_remove(one);
    mallocgc_stack_remove(two);
    OK(mallocgc_scan_own_stack(mutator, NULL));
    collect();
    CHECK(mallocgc_due(heap, NULL, NULL) == 0);
    close_heap();
}

int main(void) {
    mallocgc_config config = manual();
    int base;
    open_heap(&config);
    another_stack();
    own_stack(&base);
    close_heap();
    fibers_and_threads(&base + 1);
    puts("ok");
    return 0;
}
