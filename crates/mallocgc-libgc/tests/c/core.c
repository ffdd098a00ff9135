/* Allocation, sizes, interior pointers, freeing, reallocation; trees survive. */
#include "interface.h"

int main(void) {
  GC_init();
  CHECK(GC_get_version() == 0x080202);
  CHECK(GC_size(GC_malloc(0)) == 16 && GC_size(GC_malloc(15)) == 16);
  for (size_t size = 1; size < 200000; size += size / 3 + 1) {
    char *p = GC_malloc(size);
    CHECK((GC_word)p % 16 == 0 && GC_size(p) > size);
    CHECK(GC_base(p + size) == p && GC_is_heap_ptr(p));
    for (size_t i = 0; i < size; i++) CHECK(p[i] == 0);
    memset(p, 0xee, size);
    if (size % 2) GC_free(p);
  }
  CHECK(GC_base((void *)main) == 0 && !GC_is_heap_ptr(&main));
  GC_free(0);
  CHECK(((GC_word)GC_memalign(1024, 100) & 1023) == 0);
  char *text = GC_strdup("a text that is copied");
  for (size_t size = 32; size < 3000000; size = size * 2 + 5) {
    text = GC_realloc(text, size);
    CHECK(strcmp(text, "a text that is copied") == 0);
  }
  text = GC_realloc(text, 30);
  CHECK(strcmp(text, "a text that is copied") == 0);
  /* A freed cell is handed out again, and reads as zero. */
  long *freed = GC_malloc(64);
  freed[3] = 7;
  GC_free(freed);
  long *again = GC_malloc(64);
  for (int i = 0; i < 8; i++) CHECK(again[i] == 0);
  tree *keep = make_tree(14);
  for (int i = 0; i < 60; i++) CHECK(count_tree(make_tree(11), 11) == 4095);
  CHECK(count_tree(keep, 14) == 32767);
  CHECK(GC_get_gc_no() > 3 && GC_gc_no == GC_get_gc_no());
  /* Only a pointer into the middle of a large object. */
  char *large = (char *)GC_malloc(100000) + 60000;
  *large = 5;
  GC_gcollect();
  CHECK(*large == 5 && GC_base(large) == large - 60000);
  /* Nothing is collected while that is turned off. */
  GC_disable();
  GC_word cycles = GC_get_gc_no();
  for (int i = 0; i < 200000; i++) GC_malloc(100);
  CHECK(GC_get_gc_no() == cycles);
  GC_enable();
  /* A heap made larger is filled before it is collected. */
  GC_gcollect();
  CHECK(GC_expand_hp(40 << 20) == 1 && GC_get_heap_size() >= 40 << 20);
  cycles = GC_get_gc_no();
  for (int i = 0; i < 200000; i++) GC_malloc(100);
  CHECK(GC_get_gc_no() == cycles);
  CHECK(GC_expand_hp((size_t)1 << 60) == 0);
  /* Automatic collection off is not all collection off. */
  GC_set_disable_automatic_collection(1);
  CHECK(GC_get_disable_automatic_collection() == 1);
  cycles = GC_get_gc_no();
  for (int i = 0; i < 900000; i++) GC_malloc(100);
  CHECK(GC_get_gc_no() == cycles);
  GC_gcollect();
  CHECK(GC_get_gc_no() == cycles + 1);
  GC_set_disable_automatic_collection(0);
  for (int i = 0; i < 10000000 && GC_get_gc_no() == cycles + 1; i++) GC_malloc(100);
  CHECK(GC_get_gc_no() == cycles + 2);
  /* Large objects that are freed are used again, with or without collections. */
  GC_disable();
  size_t heap_size = GC_get_heap_size();
  for (int i = 0; i < 3000; i++) {
    size_t size = 3000 << i % 10;
    char *one = GC_malloc(size), *two = GC_malloc_atomic(size);
    for (size_t at = 0; at < size; at += 999) CHECK(one[at] == 0);
    memset(one, 1, size), memset(two, 2, size);
    GC_free(one), GC_free(two);
  }
  CHECK(GC_get_heap_size() < heap_size + (64 << 20));
  GC_enable();
  GC_printf("core %d %s %.2f %ld\n", 1, "two", 3.25, 4L);
  return 0;
}
