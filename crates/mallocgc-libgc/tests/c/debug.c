/* An overrun is reported at the next collection; absurd requests fail. */
#include "interface.h"

int main(void) {
  GC_init();
  char *p = GC_debug_malloc(20, "debug.c", 9);
  GC_gcollect();
  p[20] = 1;
  GC_gcollect();
  CHECK(GC_malloc((size_t)-1) == 0 && GC_malloc((size_t)-1 - 4096) == 0);
  CHECK(GC_malloc((size_t)1 << 62) == 0);
  CHECK(GC_realloc(GC_malloc(10), (size_t)-1 / 2) == 0);
  CHECK(p[19] == 0 && GC_malloc(10) != 0);
  puts("debug");
  return 0;
}
