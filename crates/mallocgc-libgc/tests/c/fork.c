/* Threads allocate while the process forks; each child collects. */
#include "interface.h"
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;
static void *work(void *arg) {
  while (!stop) CHECK(count_tree(make_tree(7), 7) == 255);
  return arg;
}
int main(void) {
  GC_init();
  pthread_t threads[4];
  tree *keep = make_tree(10);
  for (int i = 0; i < 4; i++) CHECK(GC_pthread_create(&threads[i], 0, work, 0) == 0);
  for (int i = 0; i < 10; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      GC_gcollect();
      for (int j = 0; j < 20; j++) CHECK(count_tree(make_tree(9), 9) == 1023);
      GC_gcollect();
      CHECK(count_tree(keep, 10) == 2047);
      _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  stop = 1;
  for (int i = 0; i < 4; i++) CHECK(GC_pthread_join(threads[i], 0) == 0);
  CHECK(count_tree(keep, 10) == 2047);
  puts("fork");
  return 0;
}
