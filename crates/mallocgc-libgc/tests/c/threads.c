/* Threads of the wrapper, threads registered by hand, blocking sections. */
#include "interface.h"
#include <unistd.h>

static __thread tree *local;
static pthread_key_t key;
/* The original has forgotten the thread by then, and its key's value. */
static int with_keys;
static _Atomic int ended;

static void at_end(void *value) {
  /* Destructors of keys may allocate. */
  CHECK(*(long *)value == 77);
  for (int i = 0; i < 100; i++) GC_malloc(100);
  ended++;
}

static void *inside(void *arg) { CHECK(count_tree(make_tree(8), 8) == 511); return arg; }
static void *blocked(void *arg) {
  usleep(2000);
  return GC_call_with_gc_active(inside, arg);
}

static void *work(void *arg) {
  tree *keep = make_tree(10);
  if (with_keys) {
    /* Only the key has it. */
    long *value = GC_malloc(sizeof(long));
    *value = 77;
    pthread_setspecific(key, value);
  }
  for (int i = 0; i < 40; i++) {
    CHECK(count_tree(make_tree(9), 9) == 1023);
    tree *held = make_tree(4);
    CHECK(GC_do_blocking(blocked, arg) == arg);
    CHECK(count_tree(held, 4) == 31);
  }
  CHECK(count_tree(keep, 10) == 2047);
  return arg;
}

static void *by_hand(void *arg) {
  struct GC_stack_base base;
  CHECK(GC_get_stack_base(&base) == 0);
  CHECK(GC_register_my_thread(&base) == 0 && GC_register_my_thread(&base) == 1);
  /* The original does not look at thread-local variables. */
  tree *volatile own = make_tree(6);
  if (with_keys) { local = own; own = 0; }
  for (int i = 0; i < 50; i++) CHECK(count_tree(make_tree(9), 9) == 1023);
  CHECK(count_tree(with_keys ? local : own, 6) == 127);
  CHECK(GC_unregister_my_thread() == 0);
  return arg;
}

int main(int argc, char **argv) {
  (void)argv;
  with_keys = argc > 1;
  GC_init();
  GC_allow_register_threads();
  pthread_key_create(&key, at_end);
  pthread_t threads[12];
  for (int round = 0; round < 3; round++) {
    for (long i = 0; i < 12; i++) {
      void *arg = GC_malloc(16);
      if (i % 3 == 2) CHECK(pthread_create(&threads[i], 0, by_hand, 0) == 0);
      else CHECK(GC_pthread_create(&threads[i], 0, work, arg) == 0);
    }
    for (int i = 0; i < 12; i++) {
      void *result;
      /* Who was not created by the wrapper is not joined by it. */
      if (i % 3 == 2) CHECK(pthread_join(threads[i], &result) == 0);
      else CHECK(GC_pthread_join(threads[i], &result) == 0);
      CHECK(i % 3 == 2 || GC_base(result) == result);
    }
  }
  CHECK(GC_get_gc_no() > 0);
  CHECK(ended == (with_keys ? 3 * 8 : 0));
  puts("threads");
  return 0;
}
