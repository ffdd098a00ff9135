/* The part of the interface that the tests use, as its users declare it. */
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef size_t GC_word;
typedef void (*GC_finalization_proc)(void *, void *);
struct GC_stack_base { void *mem_base; };
struct GC_ms_entry;

extern GC_word GC_gc_no;
extern int GC_all_interior_pointers;
extern void *GC_least_plausible_heap_addr;

void GC_init(void);
unsigned GC_get_version(void);
void *GC_malloc(size_t);
void *GC_malloc_atomic(size_t);
void *GC_malloc_uncollectable(size_t);
void *GC_memalign(size_t, size_t);
void *GC_realloc(void *, size_t);
char *GC_strdup(const char *);
void GC_free(void *);
void *GC_base(void *);
size_t GC_size(const void *);
int GC_is_heap_ptr(const void *);
void GC_gcollect(void);
void GC_disable(void);
void GC_enable(void);
GC_word GC_get_gc_no(void);
size_t GC_get_heap_size(void);
int GC_expand_hp(size_t);
void GC_set_disable_automatic_collection(int);
int GC_get_disable_automatic_collection(void);
void GC_generic_malloc_many(size_t, int, void **);
void GC_set_on_collection_event(void (*)(int));
void GC_add_roots(void *, void *);
void GC_remove_roots(void *, void *);
void GC_exclude_static_roots(void *, void *);
void GC_set_all_interior_pointers(int);
void GC_register_displacement(size_t);
void GC_register_finalizer(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
void GC_register_finalizer_no_order(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
void GC_register_finalizer_ignore_self(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
int GC_invoke_finalizers(void);
int GC_should_invoke_finalizers(void);
void GC_set_finalize_on_demand(int);
void GC_set_finalizer_notifier(void (*)(void));
int GC_general_register_disappearing_link(void **, const void *);
int GC_unregister_disappearing_link(void **);
int GC_move_disappearing_link(void **, void **);
int GC_register_long_link(void **, const void *);
void **GC_new_free_list(void);
unsigned GC_new_kind(void **, GC_word, int, int);
unsigned GC_new_proc(struct GC_ms_entry *(*)(GC_word *, struct GC_ms_entry *, struct GC_ms_entry *, GC_word));
void *GC_generic_malloc(size_t, int);
struct GC_ms_entry *GC_mark_and_push(void *, struct GC_ms_entry *, struct GC_ms_entry *, void **);
GC_word GC_make_descriptor(const GC_word *, size_t);
void *GC_malloc_explicitly_typed(size_t, GC_word);
void GC_set_push_other_roots(void (*)(void));
void GC_push_all_eager(void *, void *);
void GC_allow_register_threads(void);
int GC_register_my_thread(const struct GC_stack_base *);
int GC_unregister_my_thread(void);
int GC_get_stack_base(struct GC_stack_base *);
int GC_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int GC_pthread_join(pthread_t, void **);
void *GC_do_blocking(void *(*)(void *), void *);
void *GC_call_with_gc_active(void *(*)(void *), void *);
void *GC_call_with_alloc_lock(void *(*)(void *), void *);
void GC_printf(const char *, ...);
void *GC_debug_malloc(size_t, const char *, int);
void GC_debug_free(void *);
void GC_set_max_heap_size(GC_word);

/* Fails with the place: the tests are run with assertions of their own. */
#define CHECK(x) ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), exit(1)))

/* Overwrites the dead part of the stack, so that no stale word there counts. */
static __attribute__((noinline, unused)) void clear_stack(void) {
  volatile char dead[16384];
  memset((char *)dead, 0, sizeof dead);
}

/* A word that the collector does not take for a pointer. */
#define HIDE(p) (~(GC_word)(p))
#define REVEAL(p) ((void *)~(GC_word)(p))

typedef struct tree { struct tree *left, *right; long a, b; } tree;
static __attribute__((unused)) tree *make_tree(int depth) {
  tree *t = GC_malloc(sizeof(tree));
  CHECK(t && !t->left && !t->right && !t->a && !t->b);
  t->a = depth; t->b = -depth;
  if (depth) { t->left = make_tree(depth - 1); t->right = make_tree(depth - 1); }
  return t;
}
static __attribute__((unused)) long count_tree(tree *t, int depth) {
  if (!t) return 0;
  CHECK(t->a == depth && t->b == -depth);
  return 1 + count_tree(t->left, depth - 1) + count_tree(t->right, depth - 1);
}
