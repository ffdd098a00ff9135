/* Mark procedures, typed objects with a weak word, displacements without
   interior pointers. */
#include "interface.h"

typedef struct pair { void *strong; void *weak; } pair;
static struct GC_ms_entry *mark(GC_word *object, struct GC_ms_entry *sp,
                                struct GC_ms_entry *limit, GC_word environment) {
  pair *p = (pair *)object;
  CHECK(environment == 3);
  if (p->strong) sp = GC_mark_and_push(p->strong, sp, limit, &p->strong);
  return sp;
}
#define N 100
static pair *marked[N], *typed[N];
static void *tagged[N];
static GC_word probes[4][N];
static int alive(int row) {
  int count = 0;
  for (int i = 0; i < N; i++) count += GC_base(REVEAL(probes[row][i])) != 0;
  return count;
}
static __attribute__((noinline)) void fill(int kind, GC_word descriptor) {
  for (int i = 0; i < N; i++) {
    marked[i] = GC_generic_malloc(sizeof(pair), kind);
    typed[i] = GC_malloc_explicitly_typed(sizeof(pair), descriptor);
    for (int t = 0; t < 2; t++) {
      pair *p = t ? typed[i] : marked[i];
      p->strong = GC_malloc(32);
      /* Another size, so that no neighbour's old words count. */
      p->weak = GC_malloc(200);
      probes[2 * t][i] = HIDE(p->strong);
      probes[2 * t + 1][i] = HIDE(p->weak);
    }
    tagged[i] = (char *)GC_malloc(16) + 1;
    *((char *)tagged[i] - 1) = i;
  }
}
int main(void) {
  GC_set_all_interior_pointers(0);
  GC_init();
  GC_register_displacement(1);
  CHECK(GC_size(GC_malloc(16)) == 16);
  int proc = GC_new_proc(mark);
  GC_word descriptor = ((3 << 6 | proc) << 2) | 2;
  int kind = GC_new_kind(GC_new_free_list(), descriptor, 0, 1);
  GC_word bits = 1;
  GC_word first = GC_make_descriptor(&bits, 2);
  bits = 2;
  CHECK((GC_make_descriptor(&bits, 2) & 3) == 1 && (first & 3) == 0 && first == 8);
  fill(kind, first);
  for (int i = 0; i < 2; i++) { clear_stack(); GC_gcollect(); }
  CHECK(alive(0) == N && alive(2) == N);
  CHECK(alive(1) <= N / 10 && alive(3) <= N / 10);
  for (int i = 0; i < N; i++) {
    CHECK(GC_base(tagged[i]) == (char *)tagged[i] - 1);
    CHECK(*((char *)tagged[i] - 1) == (char)i);
  }
  puts("kinds");
  return 0;
}
