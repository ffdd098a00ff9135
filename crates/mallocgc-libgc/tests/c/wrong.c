/* Wrong frees are told apart, and end the process. */
#include "interface.h"

int main(int argc, char **argv) {
  GC_init();
  CHECK(argc == 2);
  char *p = GC_malloc(64);
  GC_free(GC_malloc(64));
  switch (argv[1][0]) {
  case 't': GC_free(p); GC_free(p); break;
  case 'l': p = GC_malloc(100000), GC_free(p), GC_free(p); break;
  case 'i': GC_free(p + 8); break;
  case 's': GC_free(&argc); break;
  case 'r': GC_realloc(p + 16, 100); break;
  }
  puts("went on");
  return 0;
}
