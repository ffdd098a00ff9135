/* A program that checks itself while everything happens at once: threads allocate, come and go,
   signals arrive, libraries are opened and closed, and the process forks.

     soak PLUGIN SECONDS THREADS

   Compiled with -DPLUGIN it is the library, which keeps a list in its data. */
#include "interface.h"
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct node {
  struct node *next;
  uint64_t value, check;
} node;

#ifdef PLUGIN
static node *kept = 0;
void plugin_set(node *list) { kept = list; }
node *plugin_get(void) { return kept; }
#else

#define SLOTS 128
#define MAGIC 0x9e3779b97f4a7c15u


enum { EMPTY, LIST, BYTES, MANUAL, GROWN, WEAK, FINAL, LARGE, KINDS };

typedef struct {
  int kind;
  uint32_t size, seed;
  void *object;
} slot;

static atomic_int stop_now;
static atomic_ulong finalized, registered, refused, alarms, started, forks, plugins;
static const char *plugin;
static int threads;

static uint64_t next_random(uint64_t *s) {
  *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
  return *s;
}

static node *make_list(unsigned count, uint64_t seed) {
  node *list = 0;
  for (unsigned i = 0; i < count; i++) {
    node *n = GC_malloc(sizeof(node));
    if (!n) {
      atomic_fetch_add(&refused, 1);
      return 0;
    }
    CHECK(!n->next && !n->value && !n->check);
    n->value = seed + i;
    n->check = (seed + i) * MAGIC;
    n->next = list;
    list = n;
  }
  return list;
}

static void check_list(node *list, unsigned count, uint64_t seed) {
  for (; list; list = list->next) {
    count--;
    CHECK(list->value == seed + count && list->check == list->value * MAGIC);
  }
  CHECK(count == 0);
}

static void fill(unsigned char *bytes, unsigned count, unsigned seed) {
  for (unsigned i = 0; i < count; i++) bytes[i] = (unsigned char)(seed + i * 7);
}

static void check_bytes(const unsigned char *bytes, unsigned count, unsigned seed) {
  for (unsigned i = 0; i < count; i++) CHECK(bytes[i] == (unsigned char)(seed + i * 7));
}

static void on_final(void *object, void *data) {
  node *n = object;
  CHECK(n->check == n->value * MAGIC && n->value == (uintptr_t)data);
  n->check = 0;
  atomic_fetch_add(&finalized, 1);
}

/* The link is in an object without references. */
typedef struct {
  void *link;
  uint64_t value;
} weak;

static void check_slot(slot *s) {
  switch (s->kind) {
  case LIST: check_list(s->object, s->size, s->seed); break;
  case BYTES: case MANUAL: case GROWN: case LARGE: check_bytes(s->object, s->size, s->seed); break;
  case FINAL: CHECK(((node *)s->object)->check == ((node *)s->object)->value * MAGIC); break;
  case WEAK: {
    node *n = ((void **)s->object)[1];
    weak *w = ((void **)s->object)[0];
    CHECK((GC_word)w->link == HIDE(n) && n->check == n->value * MAGIC);
    break;
  }
  }
}

static void end_slot(slot *s) {
  check_slot(s);
  if (s->kind == MANUAL || (s->kind == GROWN && s->seed % 2)) GC_free(s->object);
  s->object = 0;
  s->kind = EMPTY;
}

static void fill_slot(slot *s, uint64_t r) {
  int kind = 1 + r % (KINDS - 1);
  unsigned seed = (unsigned)(r >> 20), size = 1 + (r >> 40) % 300;
  void *object = 0;
  switch (kind) {
  case LIST: object = make_list(size %= 40, seed); if (!object && size) return; break;
  case BYTES: object = GC_malloc_atomic(size); break;
  case MANUAL: object = GC_malloc_uncollectable(size); break;
  case LARGE: size = (1 + size % 20) * 9000; object = GC_malloc_atomic(size); break;
  case GROWN:
    object = GC_malloc_atomic(16);
    if (object) {
      fill(object, 16, seed);
      void *grown = GC_realloc(object, size + 16);
      if (!grown) {
        atomic_fetch_add(&refused, 1);
        return;
      }
      check_bytes(grown, 16, seed);
      object = grown, size += 16;
    }
    break;
  case FINAL: case WEAK: {
    node *n = GC_malloc(sizeof(node));
    if (!n) break;
    n->value = seed, n->check = seed * MAGIC;
    object = n;
    if (kind == FINAL) {
      GC_register_finalizer_no_order(n, on_final, (void *)(uintptr_t)n->value, 0, 0);
      atomic_fetch_add(&registered, 1);
    } else {
      void **pair = GC_malloc(2 * sizeof(void *));
      weak *w = pair ? GC_malloc_atomic(sizeof(weak)) : 0;
      if (!w) {
        atomic_fetch_add(&refused, 1);
        return;
      }
      w->link = (void *)HIDE(n);
      CHECK(GC_general_register_disappearing_link(&w->link, n) == 0);
      pair[0] = w, pair[1] = n;
      object = pair;
    }
    break;
  }
  }
  if (!object && !(kind == LIST && !size)) {
    atomic_fetch_add(&refused, 1);
    return;
  }
  if (kind == BYTES || kind == MANUAL || kind == GROWN || kind == LARGE) fill(object, size, seed);
  *s = (slot){kind, size, seed, object};
}

static void work(uint64_t seed, unsigned rounds) {
  slot *slots = GC_malloc(SLOTS * sizeof(slot));
  uint64_t random = seed * MAGIC + 1;
  if (!slots) return;
  for (unsigned i = 0; i < rounds; i++) {
    slot *s = &slots[next_random(&random) % SLOTS];
    end_slot(s);
    fill_slot(s, next_random(&random));
  }
  for (int i = 0; i < SLOTS; i++) end_slot(&slots[i]);
}

static void *worker(void *number) {
  for (uint64_t i = 0; !atomic_load(&stop_now); i++) work((uintptr_t)number * 1000003 + i, 2000);
  return number;
}

static void *short_lived(void *seed) {
  work((uintptr_t)seed, 300);
  return make_list(5, (uintptr_t)seed);
}

/* Starts itself and says so by hand. */
static void *by_hand(void *seed) {
  struct GC_stack_base base;
  CHECK(GC_get_stack_base(&base) == 0);
  CHECK(GC_register_my_thread(&base) == 0);
  work((uintptr_t)seed, 300);
  CHECK(GC_unregister_my_thread() == 0);
  return 0;
}

static void *spawner(void *unused) {
  for (uintptr_t i = 0; !atomic_load(&stop_now); i++) {
    pthread_t one, other;
    void *result;
    CHECK(GC_pthread_create(&one, 0, short_lived, (void *)i) == 0);
    CHECK(pthread_create(&other, 0, by_hand, (void *)i) == 0);
    CHECK(GC_pthread_join(one, &result) == 0);
    if (result) check_list(result, 5, i);
    CHECK(pthread_join(other, 0) == 0);
    atomic_fetch_add(&started, 2);
  }
  return unused;
}

static void *opener(void *unused) {
  for (unsigned i = 0; !atomic_load(&stop_now); i++) {
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    void (*set)(node *) = (void (*)(node *))dlsym(library, "plugin_set");
    node *(*get)(void) = (node * (*)(void)) dlsym(library, "plugin_get");
    node *list = make_list(20, i);
    int made = list != 0;
    set(list);
    list = 0;
    clear_stack();
    if (i % 4 == 0) GC_gcollect();
    else usleep(500);
    if (made) check_list(get(), 20, i);
    set(0);
    CHECK(dlclose(library) == 0);
    atomic_fetch_add(&plugins, 1);
  }
  return unused;
}

static void *forker(void *unused) {
  while (!atomic_load(&stop_now)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(60);
      work(99, 300);
      GC_gcollect();
      work(100, 300);
      _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
    if (status != 0) fprintf(stderr, "the child ended with %x\n", status);
    CHECK(status == 0);
    atomic_fetch_add(&forks, 1);
    usleep(50000);
  }
  return unused;
}

static void on_alarm(int signal) {
  (void)signal;
  atomic_fetch_add(&alarms, 1);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  plugin = argv[1];
  int seconds = atoi(argv[2]);
  threads = atoi(argv[3]);
  GC_init();
  GC_allow_register_threads();
  signal(SIGUSR1, on_alarm);
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, 0);
  struct itimerval timer = {{0, 3000}, {0, 3000}};
  setitimer(ITIMER_REAL, &timer, 0);
  pthread_t all[64];
  int count = 0;
  void *(*others[])(void *) = {spawner, opener, forker};
  for (int i = 0; i < 3; i++) CHECK(GC_pthread_create(&all[count++], 0, others[i], 0) == 0);
  for (int i = 0; i < threads && count < 64; i++)
    CHECK(GC_pthread_create(&all[count++], 0, worker, (void *)(uintptr_t)(i + 1)) == 0);
  time_t end = time(0) + seconds;
  for (unsigned i = 0; time(0) < end; i++) {
    usleep(2000);
    /* Not to one that is being joined: these live until the end. */
    pthread_kill(all[3 + i % (unsigned)threads], SIGUSR1);
  }
  atomic_store(&stop_now, 1);
  for (int i = 0; i < count; i++) CHECK(GC_pthread_join(all[i], 0) == 0);
  setitimer(ITIMER_REAL, &(struct itimerval){0}, 0);
  for (int i = 0; i < 4; i++) {
    clear_stack();
    GC_gcollect();
    GC_invoke_finalizers();
  }
  unsigned long made = atomic_load(&registered), run = atomic_load(&finalized);
  /* Stale words on stacks may keep a few. */
  CHECK(run <= made && run + made / 50 + 50 >= made);
  CHECK(atomic_load(&started) && atomic_load(&forks) && atomic_load(&plugins) && atomic_load(&alarms));
  fprintf(stderr, "%lu collections, %lu threads, %lu forks, %lu libraries, %lu signals, %lu of %lu finalizers, %lu refused\n",
          (unsigned long)GC_get_gc_no(), atomic_load(&started), atomic_load(&forks), atomic_load(&plugins),
          atomic_load(&alarms), run, made, atomic_load(&refused));
  puts("ok");
  return 0;
}
#endif
