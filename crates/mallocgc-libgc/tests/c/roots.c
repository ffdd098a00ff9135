/* Added and excluded ranges, uncollectable objects, pushed roots, a copied
   variable of the library, and thread-local data where the library scans it. */
#include "interface.h"
#include <sys/mman.h>

static void *excluded[4] __attribute__((aligned(64)));
static void *kept;
static __thread void *volatile local;
/* Links in memory that nobody scans: cleared when their object is gone. */
static void **probe;
static void **pushed;

static void push(void) { GC_push_all_eager(pushed, pushed + 1); }

static void watch(int i, void *object) {
  probe[i] = object;
  CHECK(GC_general_register_disappearing_link(&probe[i], object) == 0);
}
static __attribute__((noinline)) void fill(void **mapped, void **own) {
  mapped[0] = GC_malloc(48); watch(0, mapped[0]);
  excluded[1] = GC_malloc(48); watch(1, excluded[1]);
  kept = GC_malloc_uncollectable(48);
  *(void **)kept = GC_malloc(48); watch(2, *(void **)kept);
  kept = (void *)HIDE(kept);
  own[0] = GC_malloc(48); watch(3, own[0]);
  local = GC_malloc(48); watch(4, local);
}
static int alive(int i) { return probe[i] != 0; }
static void collect(void) {
  for (int i = 0; i < 2; i++) { clear_stack(); GC_gcollect(); }
}

int main(int argc, char **argv) {
  GC_init();
  (void)argv;
  probe = malloc(5 * sizeof *probe);
  void **mapped = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pushed = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GC_add_roots(mapped, mapped + 512);
  GC_exclude_static_roots(excluded, excluded + 4);
  GC_set_push_other_roots(push);
  fill(mapped, pushed);
  collect();
  CHECK(alive(0) && alive(2) && alive(3));
  CHECK(!alive(1));
  /* The original does not promise it: asked for by an argument. */
  CHECK(argc == 1 || alive(4));
  GC_remove_roots(mapped, mapped + 512);
  GC_free((void *)HIDE(kept));
  GC_set_push_other_roots(0);
  collect();
  CHECK(!alive(0) && !alive(3));
  CHECK(GC_gc_no == GC_get_gc_no() && GC_gc_no >= 4);
  puts("roots");
  return 0;
}
