
/* --- Inline functions ---------------------------------------------------------------------------
 *
 * The paths that programs take most, without a call while there is nothing to do. Handles are not
 * checked here: null, a freed handle, another thread's mutator and another heap's site are mistakes that nobody
 * notices. A mutator that is busy is noticed. All else is as in the function that is called in the end.
 */

#if defined(__GNUC__) || defined(__clang__)
#define MALLOCGC_LOAD(place) __atomic_load_n(place, __ATOMIC_RELAXED)
#define MALLOCGC_STORE(place, value, order) __atomic_store_n(place, value, __ATOMIC_##order)
#define MALLOCGC_RARELY(condition) __builtin_expect(!!(condition), 0)
/* Slots may be of any type in the program: numbers with tags, for one. */
#define MALLOCGC_ANY __attribute__((may_alias))
#else
/* Compilers for which a volatile access of a word is a relaxed atomic one, and a store has release order. */
#define MALLOCGC_LOAD(place) (*(place))
#define MALLOCGC_STORE(place, value, order) (void)(*(place) = (value))
#define MALLOCGC_RARELY(condition) (condition)
#define MALLOCGC_ANY
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * As mallocgc_site_alloc, without a call while the site's window has a cell.
 */
static inline void *mallocgc_fast_alloc(const mallocgc_mutator *mutator, const mallocgc_site *site) {
  const mallocgc_mutator_head *head = (const mallocgc_mutator_head *)mutator;
  const mallocgc_site_head *kind = (const mallocgc_site_head *)site;
  mallocgc_window *window = (mallocgc_window *)(void *)(head->windows + kind->window_offset);
  char *object = MALLOCGC_LOAD((char *volatile *)&window->next);
  if (MALLOCGC_RARELY(object == window->limit)) {
    return mallocgc_site_alloc(mutator, site);
  }
  MALLOCGC_STORE((char *volatile *)&window->next, object + kind->cell_bytes, RELAXED);
  return object;
}

/**
 * As mallocgc_pre_write, without a call unless marking runs beside the program.
 */
static inline void mallocgc_fast_pre_write(const mallocgc_mutator *mutator, void **slot) {
  const mallocgc_mutator_head *head = (const mallocgc_mutator_head *)mutator;
  if (MALLOCGC_RARELY(MALLOCGC_LOAD((const volatile uint32_t *)head->marking))) {
    mallocgc_pre_write(mutator, slot);
  }
}

/**
 * As mallocgc_write, without a call unless marking runs beside the program.
 */
static inline void mallocgc_fast_write(const mallocgc_mutator *mutator, void **slot, void *value) {
  typedef void *volatile MALLOCGC_ANY any_slot;
  mallocgc_fast_pre_write(mutator, slot);
  MALLOCGC_STORE((any_slot *)slot, value, RELEASE);
}

/**
 * As mallocgc_poll, without a call while there is nothing to do.
 */
static inline mallocgc_error mallocgc_fast_poll(const mallocgc_mutator *mutator) {
  const mallocgc_mutator_head *head = (const mallocgc_mutator_head *)mutator;
  if (MALLOCGC_RARELY(MALLOCGC_LOAD((const volatile uint32_t *)head->poll))) {
    return mallocgc_poll(mutator);
  }
  return MALLOCGC_ERROR_NONE;
}

#ifdef __cplusplus
}  /* extern "C" */
#endif

#undef MALLOCGC_LOAD
#undef MALLOCGC_STORE
#undef MALLOCGC_RARELY
#undef MALLOCGC_ANY

