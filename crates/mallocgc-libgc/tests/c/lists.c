/* Threads with lists of their own, which they are told to forget when a collection begins. */
#include "interface.h"
#include <stdatomic.h>

#define THREADS 4
#define POST_STOP 7
enum { ATOMIC, NORMAL };

static void *lists[THREADS][2];
static atomic_int empty, stop_now;
static atomic_long taken;

static void on_event(int event) {
  if (event == POST_STOP) memset(lists, 0, sizeof(lists));
}

static void *work(void *number) {
  void **own = lists[(GC_word)number];
  while (!stop_now)
    for (int kind = ATOMIC; kind <= NORMAL; kind++) {
      size_t words = 2 + taken % 3;
      GC_generic_malloc_many(words * 8, kind, &own[kind]);
      void *cell = own[kind];
      /* A stop between the two lines empties the list, and hardly ever is there one. */
      if (!cell) empty++;
      /* The rest may be anything by now if its cells have no references. */
      for (int i = 0; cell && i < (kind == NORMAL ? 1000 : 1); i++) {
        GC_word *cells = cell;
        void *next = *(void **)cell;
        if (kind == NORMAL)
          for (size_t word = 1; word < (words & ~(size_t)1); word++) CHECK(cells[word] == 0);
        for (size_t word = 1; word < words; word++) cells[word] = ~(GC_word)cell;
        taken++;
        cell = next;
      }
      own[kind] = 0;
    }
  return 0;
}

int main(void) {
  GC_init();
  GC_allow_register_threads();
  GC_set_on_collection_event(on_event);
  pthread_t threads[THREADS];
  for (GC_word i = 0; i < THREADS; i++) GC_pthread_create(&threads[i], 0, work, (void *)i);
  for (int i = 0; i < 1000; i++) {
    long before = taken;
    GC_gcollect();
    while (taken < before + 1000);
  }
  stop_now = 1;
  for (int i = 0; i < THREADS; i++) GC_pthread_join(threads[i], 0);
  CHECK(taken > 1000 * 1000 && empty < 5);
  printf("lists ok\n");
  return 0;
}
