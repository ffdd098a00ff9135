/* Orders of finalizers, links, long links, finalization on demand. */
#include "interface.h"

#define N 200
typedef struct node { struct node *next; long id; char pad[40]; } node;
static int ran, ran_in_cycle, order_broken, notified;
static long last;

static void finalize(void *object, void *data) {
  CHECK(GC_base(object) == object);
  ++*(int *)data;
}
/* Of a chain the first is finalized first. */
static void in_order(void *object, void *data) {
  node *n = object;
  (void)data;
  if (n->id < last) order_broken = 1;
  last = n->id;
  ran++;
}
static void notify(void) { notified++; }

static __attribute__((noinline)) void make_chain(void) {
  node *next = 0;
  for (long id = 4; id >= 1; id--) {
    node *n = GC_malloc(sizeof *n);
    n->next = next; n->id = id;
    GC_register_finalizer(n, in_order, 0, 0, 0);
    next = n;
  }
}
static GC_word cycle[2];
static __attribute__((noinline)) void make_cycle(void) {
  node *a = GC_malloc(sizeof *a), *b = GC_malloc(sizeof *b);
  a->next = b; b->next = a;
  GC_register_finalizer(a, finalize, &ran_in_cycle, 0, 0);
  GC_register_finalizer(b, finalize, &ran_in_cycle, 0, 0);
  cycle[0] = HIDE(a); cycle[1] = HIDE(b);
}
static __attribute__((noinline)) void make_many(int own) {
  for (int i = 0; i < N; i++) {
    node *n = GC_malloc(sizeof *n);
    n->next = n;
    if (own) GC_register_finalizer_ignore_self(n, finalize, &ran, 0, 0);
    else GC_register_finalizer_no_order(n, finalize, &ran, 0, 0);
  }
}
static void *short_links[N], *long_links[N];
static void **moved;
static __attribute__((noinline)) void make_links(void) {
  GC_word *hidden = GC_malloc_atomic(sizeof(GC_word) * N);
  moved = (void **)hidden;
  for (int i = 0; i < N; i++) {
    node *n = GC_malloc(sizeof *n);
    GC_register_finalizer_no_order(n, finalize, &ran, 0, 0);
    short_links[i] = (void *)1; long_links[i] = (void *)1;
    CHECK(GC_general_register_disappearing_link(&short_links[i], n) == 0);
    CHECK(GC_general_register_disappearing_link(&short_links[i], n) == 1);
    CHECK(GC_register_long_link(&long_links[i], n) == 0);
  }
  CHECK(GC_move_disappearing_link(&short_links[0], &moved[0]) == 0);
  moved[0] = (void *)1;
  CHECK(GC_move_disappearing_link(&short_links[0], &moved[1]) == 4);
  CHECK(GC_unregister_disappearing_link(&short_links[1]) == 1);
  CHECK(GC_unregister_disappearing_link(&short_links[1]) == 0);
}
static int cleared(void **links) {
  int count = 0;
  for (int i = 0; i < N; i++) count += links[i] == 0;
  return count;
}
static void collect(void) { clear_stack(); GC_gcollect(); }

int main(void) {
  GC_init();
  GC_set_finalize_on_demand(1);
  GC_set_finalizer_notifier(notify);
  make_many(1);
  collect();
  CHECK(notified == 1 && GC_should_invoke_finalizers() && ran == 0);
  GC_invoke_finalizers();
  CHECK(ran >= N * 9 / 10 && ran <= N);
  GC_invoke_finalizers();
  collect();
  GC_invoke_finalizers();
  ran = 0;
  make_many(0);
  collect();
  GC_invoke_finalizers();
  CHECK(ran >= N * 9 / 10);
  /* A chain takes one cycle for each object, in its order; a stale word may
     keep a part of it. */
  ran = 0;
  make_chain();
  for (int i = 0; i < 8; i++) { collect(); GC_invoke_finalizers(); }
  CHECK(ran >= 1 && !order_broken);
  /* A cycle is never finalized, and lives. */
  make_cycle();
  for (int i = 0; i < 4; i++) { collect(); GC_invoke_finalizers(); }
  CHECK(ran_in_cycle == 0);
  CHECK(GC_base(REVEAL(cycle[0])) == REVEAL(cycle[0]) && GC_base(REVEAL(cycle[1])));
  /* Links go before finalizers run, long ones after the object has gone. */
  make_links();
  collect();
  CHECK(cleared(short_links) >= N * 8 / 10 && cleared(long_links) == 0);
  CHECK(moved[0] == 0 && short_links[1] == (void *)1);
  GC_invoke_finalizers();
  collect();
  CHECK(cleared(long_links) >= N * 8 / 10);
  puts("finalize");
  return 0;
}
