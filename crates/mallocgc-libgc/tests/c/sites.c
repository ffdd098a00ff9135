/* Allocates at known places: 48 MB, 24 MB and 12 MB, and the same again in a child that is forked. */
#include "interface.h"
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) void make_most(int count) {
  for (int i = 0; i < count; i++) *(volatile long *)GC_malloc(48) = i;
}

__attribute__((noinline)) void make_much(int count) {
  for (int i = 0; i < count; i++) *(volatile char *)GC_malloc_atomic(24000) = 1;
}

__attribute__((noinline)) void make_some(int count) {
  for (int i = 0; i < count; i++) *(volatile char *)GC_malloc(1200000) = 1;
}

static void make(void) {
  make_most(1000000);
  make_much(1000);
  make_some(10);
}

int main(int argc, char **argv) {
  (void)argv;
  GC_init();
  make();
  if (argc > 1) {
    int status;
    pid_t child = fork();
    if (!child) {
      make();
      exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  puts("sites ok");
  return 0;
}
