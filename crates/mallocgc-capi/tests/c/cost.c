/* The inline functions, each in a function of its own, for callgrind to count. */

#include "check.h"

enum { COUNT = 100000 };

__attribute__((noinline)) void *path_alloc(mallocgc_mutator *with, mallocgc_site *site) {
    return mallocgc_fast_alloc(with, site);
}

/* As a compiler at run time would: the window and the bytes are constants. */
__attribute__((noinline)) void *path_window(mallocgc_window *window, mallocgc_mutator *with, mallocgc_site *site) {
    char *object = window->next;
    if (object == window->limit) return mallocgc_site_alloc(with, site);
    window->next = object + 48;
    return object;
}

__attribute__((noinline)) void path_write(mallocgc_mutator *with, void **slot, void *value) {
    mallocgc_fast_write(with, slot, value);
}

__attribute__((noinline)) mallocgc_error path_poll(mallocgc_mutator *with) {
    return mallocgc_fast_poll(with);
}

int main(void) {
    mallocgc_config config = manual();
    mallocgc_site *site;
    void *slot = NULL;
    config.verify = 0;
    config.clobber = 0;
    config.reserve_bytes = 1 << 30;
    open_heap(&config);
    OK(mallocgc_site_new(mutator, NULL, 48, &site));
    mallocgc_window *window = mallocgc_site_window(mutator, site);
    for (int count = 0; count < COUNT; count++) {
        CHECK(path_alloc(mutator, site));
        CHECK(path_window(window, mutator, site));
        path_write(mutator, &slot, site);
        OK(path_poll(mutator));
    }
    mallocgc_site_free(site);
    close_heap();
    puts("ok");
    return 0;
}
