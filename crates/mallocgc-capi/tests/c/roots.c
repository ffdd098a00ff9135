/* Roots: handles, the mutator's stack, ranges, callbacks. */

#include "check.h"

static void handles(void) {
    mallocgc_root *root, *other_root;
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    void *other = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_root_new(heap, object, &root));
    OK(mallocgc_root_new(heap, object, &other_root));
    collect();
    CHECK(lives(object) && !lives(other) && mallocgc_root_get(root) == object);
    other = mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_root_set(root, other));
    mallocgc_root_free(other_root);
    collect();
    CHECK(!lives(object) && lives(other));
    FAILS(BAD_ARGUMENT, mallocgc_root_set(root, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_root_set(NULL, other));
    FAILS(BAD_ARGUMENT, mallocgc_root_new(heap, NULL, &root));
    FAILS(BAD_ARGUMENT, mallocgc_root_new(heap, other, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_root_new(NULL, other, &root));
    NOTES(BAD_ARGUMENT, mallocgc_root_get(NULL));
    mallocgc_root_free(root);
    mallocgc_root_free(NULL);
    collect();
    CHECK(!lives(other));
}

static void the_stack(void) {
    size_t place, before = mallocgc_pushed(mutator);
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    char *other = (char *)mallocgc_alloc(mutator, NULL, 64, 0);
    OK(mallocgc_push(mutator, object, &place));
    CHECK(place == before && mallocgc_pushed(mutator) == before + 1);
    CHECK(mallocgc_at(mutator, place) == object);
    /* A reference into an object will do. */
    OK(mallocgc_put(mutator, place, other + 40));
    collect();
    CHECK(!lives(object) && lives(other));
    FAILS(NOT_FOUND, mallocgc_put(mutator, place + 1, other));
    FAILS(NOT_FOUND, mallocgc_put(mutator, SIZE_MAX, other));
    FAILS(BAD_ARGUMENT, mallocgc_put(mutator, place, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_put(NULL, place, other));
    FAILS(BAD_ARGUMENT, mallocgc_push(mutator, NULL, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_push(NULL, other, NULL));
    NOTES(NOT_FOUND, mallocgc_at(mutator, place + 1));
    NOTES(NOT_FOUND, mallocgc_at(mutator, SIZE_MAX));
    NOTES(BAD_ARGUMENT, mallocgc_at(NULL, place));
    FAILS(NOT_FOUND, mallocgc_pop_to(mutator, place + 2));
    FAILS(BAD_ARGUMENT, mallocgc_pop_to(NULL, 0));
    OK(mallocgc_pop_to(mutator, place));
    NOTES(BAD_ARGUMENT, mallocgc_pushed(NULL));
    collect();
    CHECK(!lives(other));
}

/* The stack of roots holds 16 Mi. */
static void a_full_stack(void) {
    void *object = mallocgc_alloc(mutator, NULL, 64, 0);
    size_t count = 0;
    while (mallocgc_push(mutator, object, NULL) == MALLOCGC_ERROR_NONE) CHECK(++count <= 16 << 20);
    CHECK(count == 16 << 20 && mallocgc_last_error() == MALLOCGC_ERROR_OUT_OF_MEMORY);
    OK(mallocgc_pop_to(mutator, 0));
    OK(mallocgc_push(mutator, object, NULL));
    OK(mallocgc_pop_to(mutator, 0));
}

static void *visited[3];

static void visit_them(mallocgc_visitor *visitor, void *data) {
    CHECK(data == visited);
    FAILS(REENTRANT, mallocgc_set_roots(mutator, NULL, NULL));
    mallocgc_visit(visitor, visited[0]);
    mallocgc_visit(visitor, NULL);
    mallocgc_visit_ambiguous(visitor, (size_t)visited[1]);
    mallocgc_visit_ambiguous(visitor, 0x1234567);
    mallocgc_visit_range(visitor, &visited[2], 1, MALLOCGC_RANGE_KIND_AMBIGUOUS);
    mallocgc_visit_range(visitor, &visited[2], 1, 77);
    mallocgc_visit_range(visitor, &visited[2], 0, MALLOCGC_RANGE_KIND_REFERENCES);
}

static void make_visited(void) {
    for (int at = 0; at < 3; at++) CHECK((visited[at] = mallocgc_alloc(mutator, NULL, 64, 0)));
}

static void check_visited(int alive) {
    collect();
    for (int at = 0; at < 3; at++) CHECK(lives(visited[at]) == alive);
}

static void ranges(void) {
    uint64_t id, other;
    make_visited();
    OK(mallocgc_range_add(heap, visited, 3, MALLOCGC_RANGE_KIND_REFERENCES, &id));
    check_visited(1);
    OK(mallocgc_range_add(heap, visited, 3, MALLOCGC_RANGE_KIND_AMBIGUOUS, &other));
    CHECK(id != other);
    OK(mallocgc_range_remove(heap, id));
    check_visited(1);
    OK(mallocgc_range_remove(heap, other));
    FAILS(NOT_FOUND, mallocgc_range_remove(heap, id));
    FAILS(NOT_FOUND, mallocgc_range_remove(heap, UINT64_MAX));
    FAILS(BAD_ARGUMENT, mallocgc_range_remove(NULL, id));
    check_visited(0);
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, visited, 3, 2, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, (char *)visited + 1, 1, 0, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, NULL, 1, 0, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, visited, SIZE_MAX, 0, &id));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(heap, visited, 3, 0, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_range_add(NULL, visited, 3, 0, &id));
}

static void callbacks(void) {
    uint64_t id;
    make_visited();
    OK(mallocgc_roots_add(heap, visit_them, visited, &id));
    check_visited(1);
    OK(mallocgc_roots_remove(heap, id));
    FAILS(NOT_FOUND, mallocgc_roots_remove(heap, id));
    FAILS(BAD_ARGUMENT, mallocgc_roots_remove(NULL, id));
    FAILS(BAD_ARGUMENT, mallocgc_roots_add(heap, NULL, visited, &id));
    FAILS(BAD_ARGUMENT, mallocgc_roots_add(heap, visit_them, visited, NULL));
    FAILS(BAD_ARGUMENT, mallocgc_roots_add(NULL, visit_them, visited, &id));
    check_visited(0);
    make_visited();
    OK(mallocgc_set_roots(mutator, visit_them, visited));
    check_visited(1);
    OK(mallocgc_set_roots(mutator, NULL, NULL));
    check_visited(0);
    FAILS(BAD_ARGUMENT, mallocgc_set_roots(NULL, NULL, NULL));
}

int main(void) {
    mallocgc_config config = manual();
    open_heap(&config);
    handles();
    the_stack();
    a_full_stack();
    ranges();
    callbacks();
    close_heap();
    puts("ok");
    return 0;
}
