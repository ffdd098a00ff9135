/* mallocgc.h: Go's garbage-collected heap as a library, for C and C++.
 *
 * Generated from the sources of crates/mallocgc-capi; do not edit.
 *
 * A heap is a value with memory, settings and statistics of its own. A thread attaches to it, gets a
 * mutator, and allocates objects, which never move. Objects have no header: a layout says where their
 * references are. Nothing is collected but at boundaries (mallocgc_poll, mallocgc_gc, mallocgc_blocking,
 * mallocgc_run_finalizers and their kin, allocations with MALLOCGC_FLAGS_SAFEPOINT). What a thread still needs
 * behind a boundary must be reachable from a root before it: the mutator's stack of roots, a mallocgc_root, a
 * range, a callback, or a scanned stack. References may point anywhere into an object.
 *
 * Errors. Functions answer with a mallocgc_error, or with null or 0 and note it for mallocgc_last_error. Nothing
 * has happened then, and the heap works on. A null handle is an error everywhere but where it is said to be
 * allowed. A handle that was freed, or is one of another kind, is answered with BAD_HANDLE by every function, also
 * if it is freed again; but that is for finding mistakes: after thousands of others it is forgotten. Layouts are not
 * looked at.
 *
 * Threads. A mutator is used on the thread that attached it; most functions say so with WRONG_THREAD, those
 * that allocate or write do not look. All else may be used on any thread.
 *
 * Ownership. What a function writes to a pointer to a pointer belongs to the program until it gives it to the
 * function named there. Layouts belong to their heap. Functions and words that the program registers
 * must stay until they are taken back and the heap has ended.
 *
 * Sizes are in bytes unless a name ends otherwise; a word is 8 bytes; times are in nanoseconds.
 *
 * Nothing unwinds from here into the program, and nothing may unwind from its functions into the library.
 */


#ifndef MALLOCGC_H
#define MALLOCGC_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header, as mallocgc_version gives the library's.
 */
#define MALLOCGC_VERSION 256

/**
 * What a function answers: 0, or why it did nothing.
 */
enum mallocgc_error
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Done.
   */
  MALLOCGC_ERROR_NONE = 0,
  /**
   * A pointer that must not be null is, or a number is out of range.
   */
  MALLOCGC_ERROR_BAD_ARGUMENT = 1,
  /**
   * The system or the heap's address range has no more memory. A collection
   * may help.
   */
  MALLOCGC_ERROR_OUT_OF_MEMORY = 2,
  /**
   * The heap's limit would be exceeded. A collection may help.
   */
  MALLOCGC_ERROR_LIMIT_REACHED = 3,
  /**
   * No heap of these settings could hold the object, or the product of an
   * array's size and length overflows.
   */
  MALLOCGC_ERROR_TOO_LARGE = 4,
  /**
   * A layout, site, weak handle or cleanup of another heap.
   */
  MALLOCGC_ERROR_WRONG_HEAP = 5,
  /**
   * Called inside a callback in which the heap must not be entered: a trace
   * function, a root callback, a clear hook, a listener, the log.
   */
  MALLOCGC_ERROR_REENTRANT = 6,
  /**
   * The thread is a mutator of this heap already.
   */
  MALLOCGC_ERROR_ALREADY_ATTACHED = 7,
  /**
   * The address is in no object of this heap.
   */
  MALLOCGC_ERROR_NOT_ALLOCATED = 8,
  /**
   * The address is not an object's first byte.
   */
  MALLOCGC_ERROR_NOT_AT_BEGINNING = 9,
  /**
   * The object has a finalizer that was not set by this interface.
   */
  MALLOCGC_ERROR_ALREADY_SET = 10,
  /**
   * A thread did not come to a boundary in time; the log names it.
   */
  MALLOCGC_ERROR_STOP_TIMED_OUT = 11,
  /**
   * The layout says something impossible.
   */
  MALLOCGC_ERROR_BAD_LAYOUT = 12,
  /**
   * There is no number left for one more layout: a heap has 65534.
   */
  MALLOCGC_ERROR_NO_ROOM = 13,
  /**
   * The mutator is in mallocgc_blocking or runs finalizers or cleanups, which are
   * given a mutator of their own.
   */
  MALLOCGC_ERROR_BUSY = 14,
  /**
   * The mutator belongs to another thread.
   */
  MALLOCGC_ERROR_WRONG_THREAD = 15,
  /**
   * The key of the ephemeron is gone.
   */
  MALLOCGC_ERROR_CLEARED = 16,
  /**
   * The cleanup's argument would keep its object alive for ever.
   */
  MALLOCGC_ERROR_KEEPS_ITSELF = 17,
  /**
   * The system has no thread to give.
   */
  MALLOCGC_ERROR_NO_THREAD = 18,
  /**
   * There is nothing of this number or address.
   */
  MALLOCGC_ERROR_NOT_FOUND = 19,
  /**
   * The program's write function failed.
   */
  MALLOCGC_ERROR_IO = 20,
  /**
   * An object with references cannot be left unzeroed.
   */
  MALLOCGC_ERROR_UNZEROED_REFERENCES = 21,
  /**
   * An array of a layout that does not repeat; mallocgc_layout_array makes one that does.
   */
  MALLOCGC_ERROR_NOT_REPEATING = 22,
  /**
   * An alignment that is no power of two or above 4096.
   */
  MALLOCGC_ERROR_BAD_ALIGNMENT = 23,
  /**
   * mallocgc_verify found a fault; the log says which.
   */
  MALLOCGC_ERROR_CORRUPT = 24,
  /**
   * Not on this processor.
   */
  MALLOCGC_ERROR_UNSUPPORTED = 25,
  /**
   * The library failed, which is a mistake in it; the message is on standard error.
   */
  MALLOCGC_ERROR_PANIC = 26,
  /**
   * A handle that was freed, or is one of another kind.
   */
  MALLOCGC_ERROR_BAD_HANDLE = 27,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_error mallocgc_error;
#else
typedef int32_t mallocgc_error;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which limit is near.
 */
enum mallocgc_limit_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The heap limit: allocation will fail.
   */
  MALLOCGC_LIMIT_KIND_HEAP = 0,
  /**
   * The memory limit: cycles will follow each other.
   */
  MALLOCGC_LIMIT_KIND_MEMORY = 1,
  /**
   * Of a kind that this header does not know.
   */
  MALLOCGC_LIMIT_KIND_OTHER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_limit_kind mallocgc_limit_kind;
#else
typedef uint32_t mallocgc_limit_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How far a step has brought a collection.
 */
enum mallocgc_progress
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * None is due.
   */
  MALLOCGC_PROGRESS_IDLE = 0,
  /**
   * A cycle is open: there is more to mark.
   */
  MALLOCGC_PROGRESS_MARKING = 1,
  /**
   * A cycle has ended.
   */
  MALLOCGC_PROGRESS_FINISHED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_progress mallocgc_progress;
#else
typedef uint32_t mallocgc_progress;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What happened.
 */
enum mallocgc_event_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * An object was allocated.
   */
  MALLOCGC_EVENT_KIND_ALLOC = 0,
  /**
   * An object was found dead; told before its cell can be handed out again.
   */
  MALLOCGC_EVENT_KIND_FREE = 1,
  /**
   * A cycle began.
   */
  MALLOCGC_EVENT_KIND_CYCLE_BEGIN = 2,
  /**
   * A cycle that had begun was given up, because a mutator reached no boundary in time.
   */
  MALLOCGC_EVENT_KIND_CYCLE_PUT_OFF = 3,
  /**
   * A cycle ended.
   */
  MALLOCGC_EVENT_KIND_CYCLE_END = 4,
  /**
   * Of a kind that this header does not know.
   */
  MALLOCGC_EVENT_KIND_OTHER = 5,
  /**
   * A mutator was attached; the listener is called on its thread.
   */
  MALLOCGC_EVENT_KIND_ATTACHED = 6,
  /**
   * A mutator is about to be detached, by its thread.
   */
  MALLOCGC_EVENT_KIND_DETACHED = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_event_kind mallocgc_event_kind;
#else
typedef uint32_t mallocgc_event_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a walk comes by.
 */
enum mallocgc_walked_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * A root; several may lead to one object, or into it.
   */
  MALLOCGC_WALKED_KIND_ROOT = 0,
  /**
   * An object.
   */
  MALLOCGC_WALKED_KIND_OBJECT = 1,
  /**
   * A reference of the object that came last.
   */
  MALLOCGC_WALKED_KIND_REFERENCE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_walked_kind mallocgc_walked_kind;
#else
typedef uint32_t mallocgc_walked_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How strongly a collection is asked for.
 */
enum mallocgc_force
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Only if the heap has reached its trigger.
   */
  MALLOCGC_FORCE_IF_NEEDED = 0,
  /**
   * Whatever the heap's size, also with automatic collection off.
   */
  MALLOCGC_FORCE_NOW = 1,
  /**
   * As NOW, and everything is swept on return.
   */
  MALLOCGC_FORCE_NOW_AND_SWEEP = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_force mallocgc_force;
#else
typedef uint32_t mallocgc_force;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How an object is allocated. Combine with |.
 */
enum mallocgc_flags
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Zeroed, and no collection.
   */
  MALLOCGC_FLAGS_NONE = 0,
  /**
   * The contents are unspecified. Objects without references only.
   */
  MALLOCGC_FLAGS_NO_ZERO = 1,
  /**
   * The allocation is a boundary: it may collect first, and when memory is short it does and
   * tries again. Every reference the thread still needs must be in a root.
   */
  MALLOCGC_FLAGS_SAFEPOINT = 2,
  /**
   * The object does not share a block of 16 bytes with others, so that a finalizer, cleanup or
   * weak handle on it depends on nothing else.
   */
  MALLOCGC_FLAGS_NO_TINY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_flags mallocgc_flags;
#else
typedef uint32_t mallocgc_flags;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What the words of a range are.
 */
enum mallocgc_range_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * References or null.
   */
  MALLOCGC_RANGE_KIND_REFERENCES = 0,
  /**
   * Anything; words that name allocated objects keep them alive.
   */
  MALLOCGC_RANGE_KIND_AMBIGUOUS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_range_kind mallocgc_range_kind;
#else
typedef uint32_t mallocgc_range_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What mutators wait for.
 */
enum mallocgc_delay
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The world standing, stopping included, in each cycle.
   */
  MALLOCGC_DELAY_PAUSE = 0,
  /**
   * The last mutator to stop, in each cycle.
   */
  MALLOCGC_DELAY_TIME_TO_STOP = 1,
  /**
   * The world to go on: each time one of them did.
   */
  MALLOCGC_DELAY_BLOCKED = 2,
  /**
   * Marking for what they allocated: each time one of them did.
   */
  MALLOCGC_DELAY_ASSIST = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum mallocgc_delay mallocgc_delay;
#else
typedef uint32_t mallocgc_delay;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Names a cleanup, to stop it. It keeps nothing alive.
 */
typedef struct mallocgc_cleanup mallocgc_cleanup;

/**
 * Says that so many bytes outside the heap go when an object goes: the buffer of a vector, a
 * texture, a mapped file. They count wherever bytes of objects do: to the next cycle and
 * to both limits. It does not keep the heap.
 */
typedef struct mallocgc_external mallocgc_external;

/**
 * A heap: memory, the objects in it, its settings and statistics.
 */
typedef struct mallocgc_heap mallocgc_heap;

/**
 * Names a clear hook.
 */
typedef struct mallocgc_hook mallocgc_hook;

/**
 * Where the references of a type are, and its size. Belongs to its heap and is
 * freed with it; equal layouts of equal size have one handle. Null stands for the layout of objects without
 * references, in every heap.
 */
typedef struct mallocgc_layout mallocgc_layout;

/**
 * One thread's side of a heap.
 */
typedef struct mallocgc_mutator mallocgc_mutator;

/**
 * Names a pressure hook.
 */
typedef struct mallocgc_pressure_hook mallocgc_pressure_hook;

/**
 * A root: keeps its object alive. Any thread may use it.
 */
typedef struct mallocgc_root mallocgc_root;

/**
 * A layout and a size, resolved for a place in the program that allocates the same
 * again and again.
 */
typedef struct mallocgc_site mallocgc_site;

/**
 * Another stack, of a fiber or a coroutine.
 */
typedef struct mallocgc_stack mallocgc_stack;

/**
 * What a trace function reports references to, with mallocgc_trace. Valid
 * during the call.
 */
typedef struct mallocgc_tracer mallocgc_tracer;

/**
 * Receives roots in a root callback. Valid during the call.
 */
typedef struct mallocgc_visitor mallocgc_visitor;

/**
 * A weak handle: names an object, or a place in it, without keeping it alive. It
 * keeps the heap.
 */
typedef struct mallocgc_weak mallocgc_weak;

/**
 * Takes one line of a heap's log, `length` bytes without the newline, not ended by
 * a zero. Called on any thread, perhaps on several at once; it must not enter a heap.
 */
typedef void (*mallocgc_log_fn)(void *data, const char *line, size_t length);

/**
 * Settings of a heap. Fill it with mallocgc_config_init and change fields.
 */
typedef struct {
  /**
   * Growth over live bytes, in percent, that starts a cycle; -1 turns automatic
   * collection off. Default 100.
   */
  int64_t gc_percent;
  /**
   * Bytes below which no cycle starts at 100 percent. Default 4 MiB.
   */
  uint64_t min_heap_bytes;
  /**
   * Bytes in spans, and external ones, that allocation never exceeds. Default UINT64_MAX: none.
   */
  uint64_t heap_limit_bytes;
  /**
   * Bytes of memory, free pages, tables and external bytes included, that the heap tries not to exceed: it
   * collects more often before. Default UINT64_MAX: none.
   */
  uint64_t memory_limit_bytes;
  /**
   * A heap with at least so many bytes of objects is marked beside its mutators, which then must use
   * the write barrier. Heaps with objects of a conservative layout are marked in a stop nevertheless. Default UINT64_MAX: none.
   */
  uint64_t concurrent_from_bytes;
  /**
   * Bytes of address range; 0, the default, lets the heap choose.
   */
  uint64_t reserve_bytes;
  /**
   * How long a cycle waits for a thread that reaches no boundary, in
   * nanoseconds. Default 1 s.
   */
  uint64_t stop_limit_nanos;
  /**
   * Mean bytes between samples of the heap profile; 0, the default, is none, 1
   * every allocation.
   */
  uint64_t profile_rate;
  /**
   * Word by which the cells of dead objects are overwritten; 0, the default, for none.
   */
  uint64_t clobber;
  /**
   * Seeds delays in marking beside the program, for tests; 0, the default, is none.
   */
  uint64_t mark_delay_seed;
  /**
   * Percent of the memory limit of the process's control group that are this heap's memory
   * limit, if that is smaller than memory_limit_bytes; more than 100 count as 100. 0, the default, does not look.
   */
  uint32_t cgroup_percent;
  /**
   * Buckets of the heap profile, one for each stack and size; samples beyond are counted by size
   * alone. Default 16384.
   */
  uint32_t profile_max_buckets;
  /**
   * Frames of a stack that the heap profile tells apart, at most 128. Default 64.
   */
  uint32_t profile_max_frames;
  /**
   * Threads that mark, at most 256; 0, the default, lets the heap choose.
   */
  uint32_t workers;
  /**
   * Collect at every n-th boundary, for debugging; 0, the default, is never.
   */
  uint32_t collect_every;
  /**
   * 1 prints a line for each cycle, 2 statistics of the spans as well. Default 0.
   */
  uint32_t trace_level;
  /**
   * Whether the heap may start threads of its own: to sweep, to give memory back, to run
   * finalizers and cleanups. 1 is the default. With 0 the program calls
   * mallocgc_run_finalizers and mallocgc_run_cleanups.
   */
  uint32_t background;
  /**
   * Whether to ask the system for huge pages. Default 1.
   */
  uint32_t huge_pages;
  /**
   * Whether to check the whole heap after each phase of a cycle. Default 0.
   */
  uint32_t verify;
  /**
   * Where the files of control groups are looked for; null, the default, is "/". Read by mallocgc_heap_new only.
   */
  const char *cgroup_root;
  /**
   * Where messages go; null, the default, is standard error.
   */
  mallocgc_log_fn log;
  /**
   * Passed to `log`.
   */
  void *log_data;
} mallocgc_config;

/**
 * A function of the program without arguments but its word.
 */
typedef void (*mallocgc_hook_fn)(void *data);

/**
 * A limit that is near, and what counts against it. Valid during the call of the hook.
 */
typedef struct {
  /**
   * The limit.
   */
  mallocgc_limit_kind kind;
  /**
   * Bytes that count against it.
   */
  uint64_t current_bytes;
  /**
   * Its bytes.
   */
  uint64_t limit_bytes;
} mallocgc_pressure;

/**
 * Is told that a limit is near: the place to drop what can be made again. On a mutator's thread, at a
 * boundary, or before an allocation with MALLOCGC_FLAGS_SAFEPOINT fails; at most once for each cycle. It may read objects and free roots; it
 * must not enter a heap.
 */
typedef void (*mallocgc_pressure_fn)(void *data, const mallocgc_pressure *pressure);

/**
 * Reports every reference of the object at `object`, of which it may read
 * `size` bytes, to `tracer`. See mallocgc_layout_trace.
 */
typedef void (*mallocgc_trace_fn)(void *object, size_t size, mallocgc_tracer *tracer);

/**
 * Free cells at hand: zero, of the site's cell_bytes each, side by side from `next` up to `limit`. Who
 * takes one adds its bytes to `next`; when the two are equal, mallocgc_site_alloc opens the next window. The
 * library may change it whenever it is called with the mutator. Other threads read `next`: it
 * is written by an atomic store, of relaxed order.
 */
typedef struct {
  /**
   * The next object.
   */
  char *next;
  /**
   * Where the cells end.
   */
  char *limit;
} mallocgc_window;

/**
 * Visits roots with mallocgc_visit and its kin. Called at every cycle with the
 * world stopped, perhaps on another thread; it must not enter a heap.
 */
typedef void (*mallocgc_roots_fn)(mallocgc_visitor *visitor, void *data);

/**
 * A finalizer: gets a mutator for the call, the object, and its word. It may
 * allocate, collect, set finalizers, and make the object reachable again. It runs on a thread of the
 * heap, or in mallocgc_run_finalizers.
 */
typedef void (*mallocgc_finalizer_fn)(mallocgc_mutator *mutator, void *object, void *data);

/**
 * A cleanup: gets a mutator for the call, the argument, and its word.
 */
typedef mallocgc_finalizer_fn mallocgc_cleanup_fn;

/**
 * Statistics of a heap. Fields are only ever added, at the end.
 */
typedef struct {
  /**
   * Bytes in objects, dead ones not swept yet included.
   */
  uint64_t heap_alloc_bytes;
  /**
   * Objects, dead ones not swept yet included.
   */
  uint64_t heap_objects;
  /**
   * Bytes in all objects ever allocated, and ever freed.
   */
  uint64_t total_alloc_bytes;
  /**
   * See total_alloc_bytes.
   */
  uint64_t total_freed_bytes;
  /**
   * Objects ever allocated, and ever freed.
   */
  uint64_t mallocs;
  /**
   * See mallocs.
   */
  uint64_t frees;
  /**
   * Bytes obtained from the system, for everything.
   */
  uint64_t sys_bytes;
  /**
   * Bytes of pages in spans.
   */
  uint64_t heap_inuse_bytes;
  /**
   * Bytes of pages in no span.
   */
  uint64_t heap_idle_bytes;
  /**
   * Those of heap_idle_bytes that take no memory.
   */
  uint64_t heap_released_bytes;
  /**
   * Bytes the last cycle found alive.
   */
  uint64_t live_bytes;
  /**
   * Heap bytes at which the next cycle begins; UINT64_MAX when there is none.
   */
  uint64_t trigger_bytes;
  /**
   * Hard limit; UINT64_MAX when there is none.
   */
  uint64_t heap_limit_bytes;
  /**
   * Cycles completed.
   */
  uint64_t cycles;
  /**
   * Those of cycles that somebody asked for.
   */
  uint64_t forced_cycles;
  /**
   * Nanoseconds the world stood, over all cycles, and at most.
   */
  uint64_t pause_total_nanos;
  /**
   * See pause_total_nanos.
   */
  uint64_t pause_max_nanos;
  /**
   * CPU nanoseconds the collector used, over all threads.
   */
  uint64_t gc_cpu_nanos;
  /**
   * Mutators attached.
   */
  uint64_t mutators;
  /**
   * Objects whose finalizers became due, and those of them whose finalizers have run.
   */
  uint64_t finalizers_due;
  /**
   * See finalizers_due.
   */
  uint64_t finalizers_run;
  /**
   * Cleanups that became due, and those of them that have run.
   */
  uint64_t cleanups_due;
  /**
   * See cleanups_due.
   */
  uint64_t cleanups_run;
  /**
   * Weak handles cleared because their object died.
   */
  uint64_t weak_cleared;
  /**
   * Ephemerons cleared because their key died.
   */
  uint64_t ephemerons_cleared;
  /**
   * Allocations that the profile sampled.
   */
  uint64_t profile_samples;
  /**
   * Bytes at which the next cycle should end; UINT64_MAX when there is none.
   */
  uint64_t goal_bytes;
  /**
   * The soft limit in force; UINT64_MAX when there is none.
   */
  uint64_t memory_limit_bytes;
  /**
   * Bytes obtained from the system and not given back: what counts against the soft limit.
   */
  uint64_t mapped_bytes;
  /**
   * Bytes outside the heap, as the program told.
   */
  uint64_t external_bytes;
  /**
   * Times the hard limit refused a span or external bytes.
   */
  uint64_t limit_errors;
  /**
   * Cycles that were due by the soft limit and held, because cycles had taken half of the time.
   */
  uint64_t held_cycles;
  /**
   * Calls of pressure hooks.
   */
  uint64_t pressure_calls;
  /**
   * Bytes given back to the system.
   */
  uint64_t scavenged_bytes;
  /**
   * Weak handles that still lead to an object.
   */
  uint64_t weak_handles;
  /**
   * Those of profile_samples that found no bucket.
   */
  uint64_t profile_overflows;
} mallocgc_stats;

/**
 * Takes `length` bytes; 0 if they were written, anything else to give up.
 */
typedef int32_t (*mallocgc_output_fn)(void *data, const void *bytes, size_t length);

/**
 * What a cycle did.
 */
typedef struct {
  /**
   * Nanoseconds the mutators stood.
   */
  uint64_t stopped_nanos;
  /**
   * Those of stopped_nanos until the last had stopped.
   */
  uint64_t time_to_stop_nanos;
  /**
   * Nanoseconds of marking.
   */
  uint64_t mark_nanos;
  /**
   * CPU nanoseconds of all threads that marked.
   */
  uint64_t mark_cpu_nanos;
  /**
   * Bytes in objects before.
   */
  uint64_t heap_start_bytes;
  /**
   * Bytes in objects that are alive.
   */
  uint64_t live_bytes;
  /**
   * Objects that are alive.
   */
  uint64_t marked_objects;
  /**
   * Bytes at which the next cycle should end.
   */
  uint64_t next_goal_bytes;
  /**
   * Whether somebody asked for it: 1 or 0.
   */
  uint32_t forced;
  /**
   * Threads that marked.
   */
  uint32_t workers;
  /**
   * Nanoseconds of sweeping what the cycle before had left.
   */
  uint64_t finish_sweep_nanos;
  /**
   * Nanoseconds of deciding finalizers, cleanups, weak handles and ephemerons.
   */
  uint64_t finalize_nanos;
  /**
   * Bytes at which it should have ended.
   */
  uint64_t goal_bytes;
  /**
   * Bytes reached from roots directly.
   */
  uint64_t root_bytes;
  /**
   * Bytes outside the heap, as the program told.
   */
  uint64_t external_bytes;
  /**
   * Finalizers that became due.
   */
  uint64_t finalizers_due;
  /**
   * Cleanups that became due.
   */
  uint64_t cleanups_due;
  /**
   * Weak handles that were cleared.
   */
  uint64_t weak_cleared;
  /**
   * Of a cycle beside the mutators: nanoseconds of its first and of its last stop. Else 0.
   */
  uint64_t first_stop_nanos;
  /**
   * See first_stop_nanos.
   */
  uint64_t last_stop_nanos;
  /**
   * Of a cycle beside the mutators: CPU nanoseconds of mutators that marked for what they allocated.
   */
  uint64_t assist_nanos;
  /**
   * Whether it marked beside the mutators: 1 or 0.
   */
  uint32_t beside;
  /**
   * Mutators attached.
   */
  uint32_t mutators;
} mallocgc_cycle;

/**
 * Something that happened in a heap. Valid during the call of the listener.
 */
typedef struct {
  /**
   * What; fields that are not said to be for it are 0.
   */
  mallocgc_event_kind kind;
  /**
   * ALLOC: the number of the layout.
   */
  uint32_t layout;
  /**
   * ALLOC, FREE: the object's first byte.
   */
  const void *address;
  /**
   * ALLOC, FREE: bytes from there to the end of its cell.
   */
  size_t bytes;
  /**
   * ALLOC: return addresses, innermost first.
   */
  const size_t *stack;
  /**
   * ALLOC: how many.
   */
  size_t stack_depth;
  /**
   * CYCLE_BEGIN, CYCLE_PUT_OFF, CYCLE_END: its number, from 1.
   */
  uint64_t cycle;
  /**
   * CYCLE_END: what it did.
   */
  mallocgc_cycle record;
  /**
   * ATTACHED, DETACHED: how many there are now, or will be.
   */
  uint64_t mutators;
} mallocgc_event;

/**
 * Is told of events, on any thread, perhaps on several at once. It must not enter a heap.
 */
typedef void (*mallocgc_listener_fn)(void *data, const mallocgc_event *event);

/**
 * Something that a walk comes by. Valid during the call.
 */
typedef struct {
  /**
   * What; fields that are not said to be for it are 0.
   */
  mallocgc_walked_kind kind;
  /**
   * OBJECT, REFERENCE: the number of the object's layout, as events tell it.
   */
  uint32_t layout;
  /**
   * OBJECT, REFERENCE: the object's first byte.
   */
  void *object;
  /**
   * OBJECT, REFERENCE: the object's usable bytes.
   */
  size_t bytes;
  /**
   * REFERENCE: where in the object it is; 0 if a trace function reported it.
   */
  size_t offset;
  /**
   * ROOT, REFERENCE: where it leads: to or into an object.
   */
  void *target;
} mallocgc_walked;

/**
 * Is told of what a walk comes by: all roots, then the objects in the order of their addresses, each followed by its
 * references. The world is stopped; it must not enter a heap.
 */
typedef void (*mallocgc_walk_fn)(void *data, const mallocgc_walked *walked);

/**
 * What every mutator handle begins with, for the inline functions and for code that a program generates.
 *
 * The window of a site lies `window_offset` bytes behind `windows`. All three change only in
 * calls of this library on the mutator's thread.
 */
typedef struct {
  /**
   * Where the windows are; while the mutator is busy, some that are always empty.
   */
  char *windows;
  /**
   * Not 0 while mallocgc_pre_write has something to do.
   */
  const uint32_t *marking;
  /**
   * Not 0 while mallocgc_poll has something to do. Other threads write it.
   */
  const uint32_t *poll;
} mallocgc_mutator_head;

/**
 * What every site begins with, for the inline functions and for code that a program generates.
 */
typedef struct {
  /**
   * Where the site's window lies behind `windows` of a mutator. That of cells above 512 bytes, which are
   * cleared when they are handed out, is always empty.
   */
  size_t window_offset;
  /**
   * Bytes of a cell.
   */
  size_t cell_bytes;
} mallocgc_site_head;



#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The text of a code: one line of English, without a full stop, for ever. Any number may be
 * asked about.
 */
const char *mallocgc_error_text(int32_t error);

/**
 * Why the last function of this thread that failed did so: for those that
 * answer with a pointer or a number and not with a code. Functions that succeed leave it.
 */
mallocgc_error mallocgc_last_error(void);

/**
 * Reports a reference to the tracer. Null and addresses outside the heap are ignored; any
 * address in an object will do.
 */
void mallocgc_trace(mallocgc_tracer *tracer, const void *reference);

/**
 * Fills `config` with the default settings.
 *
 * @return mallocgc_error: BAD_ARGUMENT if it is null.
 */
mallocgc_error mallocgc_config_init(mallocgc_config *config);

/**
 * The interface's version: major in the upper 16 bits, then minor, then patch, 8
 * bits each. Compare with MALLOCGC_VERSION.
 */
uint32_t mallocgc_version(void);

/**
 * Makes a heap with the settings of `config`, or the default ones if it is null,
 * and writes its handle to `*heap`. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT for a null `heap` or a setting out of range, OUT_OF_MEMORY.
 */
mallocgc_error mallocgc_heap_new(const mallocgc_config *config, mallocgc_heap **heap);

/**
 * Gives a handle back; null is allowed. The heap ends, with all its objects, when
 * its handles, mutators, roots and weak handles are gone; no finalizer
 * runs because of that. Any thread.
 */
void mallocgc_heap_free(mallocgc_heap *heap);

/**
 * Runs a collection from a thread that is no mutator of this heap; `force` is a mallocgc_force.
 *
 * @return mallocgc_error: BAD_ARGUMENT, STOP_TIMED_OUT, REENTRANT.
 */
mallocgc_error mallocgc_heap_gc(const mallocgc_heap *heap, uint32_t force);

/**
 * Stops the world and checks every structure of the heap, from a thread that is no mutator of
 * it. A fault is written to the log.
 *
 * @return mallocgc_error: CORRUPT if there is one; BAD_ARGUMENT, STOP_TIMED_OUT, REENTRANT.
 */
mallocgc_error mallocgc_heap_verify(const mallocgc_heap *heap);

/**
 * Sets the growth over live bytes that starts a cycle, in percent; -1 turns automatic collection
 * off. The old setting goes to `*old` unless that is null. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_gc_percent(const mallocgc_heap *heap, int64_t percent, int64_t *old);

/**
 * Sets the bytes below which no cycle starts at 100 percent. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_min_heap_bytes(const mallocgc_heap *heap, uint64_t bytes);

/**
 * Sweeps what is unswept and gives every free page back to the system; returns the
 * bytes given back, 0 for a null heap. Collect first to free what is dead. Any thread.
 */
size_t mallocgc_release_memory(const mallocgc_heap *heap);

/**
 * Lets `hook` run at the start of every cycle with the world stopped, before roots
 * are read: the place to drop what pools keep. On any thread; it must not enter a heap.
 * Its name, for mallocgc_clear_hook_remove, goes to `*name`.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_clear_hook_add(const mallocgc_heap *heap,
                                       mallocgc_hook_fn hook,
                                       void *data,
                                       mallocgc_hook **name);

/**
 * Forgets a clear hook and frees its name.
 *
 * @return mallocgc_error: BAD_ARGUMENT; WRONG_HEAP, and nothing is freed.
 */
mallocgc_error mallocgc_clear_hook_remove(const mallocgc_heap *heap, mallocgc_hook *name);

/**
 * The object that an address points at or into: its first byte goes to `*base`, its
 * usable bytes to `*bytes`, each unless null. Any address may be asked about, on any thread.
 *
 * @return mallocgc_error: NOT_ALLOCATED if there is none; BAD_ARGUMENT for a null heap.
 */
mallocgc_error mallocgc_find_object(const mallocgc_heap *heap,
                                    const void *address,
                                    void **base,
                                    size_t *bytes);

/**
 * Sets the bytes in spans, and external ones, that allocation never exceeds, UINT64_MAX for none. A limit below
 * what is in use makes allocation fail until enough has been freed. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_heap_limit_bytes(const mallocgc_heap *heap,
                                             uint64_t bytes);

/**
 * Sets the bytes of memory, free pages, tables and external bytes included, that the heap tries not to exceed, UINT64_MAX for
 * none. No allocation fails by it; cycles begin earlier, but take no more than half of the time for it, and free pages are given
 * back. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_memory_limit_bytes(const mallocgc_heap *heap,
                                               uint64_t bytes);

/**
 * The memory limit in force: what was set, or the control group's part if that is smaller; UINT64_MAX for
 * none, 0 for a null heap. Any thread.
 */
uint64_t mallocgc_memory_limit_bytes(const mallocgc_heap *heap);

/**
 * Reads the control group's limit again, which may change while a program runs, if `cgroup_percent` of the
 * settings asks for it. The memory limit in force goes to `*bytes` unless that is null. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_update_cgroup_limit(const mallocgc_heap *heap,
                                            uint64_t *bytes);

/**
 * Counts `bytes` outside the heap, which exist already: they count whatever the limits are, and allocation
 * fails first when they are too many. Any thread, as for all functions of external bytes: in finalizers
 * and callbacks, and after the heap.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_external_new(const mallocgc_heap *heap,
                                     size_t bytes,
                                     mallocgc_external **external);

/**
 * Counts `bytes` outside the heap that are about to be made, if the heap limit leaves room for them.
 *
 * @return mallocgc_error: LIMIT_REACHED, and nothing is counted; BAD_ARGUMENT.
 */
mallocgc_error mallocgc_external_try_new(const mallocgc_heap *heap,
                                         size_t bytes,
                                         mallocgc_external **external);

/**
 * The bytes stated last; 0 for null.
 */
size_t mallocgc_external_bytes(const mallocgc_external *external);

/**
 * States another number of bytes, which are there already.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_external_resize(const mallocgc_external *external, size_t bytes);

/**
 * States another number of bytes: more are about to be made, fewer are gone.
 *
 * @return mallocgc_error: LIMIT_REACHED when the heap limit leaves no room for the difference, and the old number
 * stands; BAD_ARGUMENT.
 */
mallocgc_error mallocgc_external_try_resize(const mallocgc_external *external,
                                            size_t bytes);

/**
 * The bytes are gone: they count no more. Null is allowed.
 */
void mallocgc_external_free(mallocgc_external *external);

/**
 * Registers a pressure hook, until its name, which goes to `*name`, is given to mallocgc_pressure_hook_remove. Any
 * thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_pressure_hook_add(const mallocgc_heap *heap,
                                          mallocgc_pressure_fn hook,
                                          void *data,
                                          mallocgc_pressure_hook **name);

/**
 * Forgets a pressure hook and frees its name. It may still run on another thread when this returns. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT; WRONG_HEAP, and nothing is freed.
 */
mallocgc_error mallocgc_pressure_hook_remove(const mallocgc_heap *heap,
                                             mallocgc_pressure_hook *name);

/**
 * Makes the calling thread a mutator of the heap and writes the handle to `*mutator`. It is
 * used on this thread only, and keeps the heap.
 *
 * @return mallocgc_error: BAD_ARGUMENT, ALREADY_ATTACHED, OUT_OF_MEMORY, REENTRANT.
 */
mallocgc_error mallocgc_attach(const mallocgc_heap *heap, mallocgc_mutator **mutator);

/**
 * Detaches the thread and frees the handle; null is allowed.
 *
 * @return mallocgc_error: BAD_ARGUMENT for the mutator that a finalizer or a cleanup was given, WRONG_THREAD, BUSY; nothing has happened then.
 */
mallocgc_error mallocgc_detach(mallocgc_mutator *mutator);

/**
 * A handle to the mutator's heap goes to `*heap`, to be given back by mallocgc_heap_free.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_mutator_heap(const mallocgc_mutator *mutator, mallocgc_heap **heap);

/**
 * A boundary: runs a cycle that is due, and waits while others have stopped the world.
 * Every reference the thread still needs must be in a root. Cheap enough for
 * every turn of a loop.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_poll(const mallocgc_mutator *mutator);

/**
 * Runs a collection; a boundary. `force` is a mallocgc_force.
 *
 * @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_gc(const mallocgc_mutator *mutator, uint32_t force);

/**
 * A boundary at which the owner of a heap without threads gives the collector some time: begins a cycle that is
 * due, or that `force`, a mallocgc_force, asks for; goes on with an open one until about `budget_bytes` of objects were scanned; ends it when
 * everything is marked. A heap that is not marked beside its mutators (concurrent_from_bytes) does a whole
 * cycle in one step. How far it came, a mallocgc_progress, goes to `*progress` unless that is null.
 *
 * @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_step(const mallocgc_mutator *mutator,
                             uint32_t force,
                             size_t budget_bytes,
                             mallocgc_progress *progress);

/**
 * Checks the heap as mallocgc_heap_verify does; a boundary.
 *
 * @return mallocgc_error: CORRUPT, STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_verify(const mallocgc_mutator *mutator);

/**
 * Calls `function`, which touches neither the heap nor its objects, while the thread counts as
 * stopped: for system calls, waiting, long computations. A boundary.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY; the function was not called then.
 */
mallocgc_error mallocgc_blocking(const mallocgc_mutator *mutator,
                                 mallocgc_hook_fn function,
                                 void *data);

/**
 * Stores a reference into a word of an object or of a root range: with the write
 * barrier. `value` is null, or leads into an object of this heap, or out of it. With a
 * mutator that cannot be used or a null slot nothing is stored, and the code is noted.
 */
void mallocgc_write(const mallocgc_mutator *mutator, void **slot, void *value);

/**
 * Must be called before the program itself writes a reference word: the first half
 * of mallocgc_write, for who stores in another way. The store is atomic, with release order, and there is no
 * boundary in between.
 */
void mallocgc_pre_write(const mallocgc_mutator *mutator,
                        void **slot);

/**
 * As mallocgc_pre_write, for `count` words side by side.
 */
void mallocgc_pre_write_range(const mallocgc_mutator *mutator, void **slots, size_t count);

/**
 * As mallocgc_pre_write, for the references in the bytes `from` to `to` of an object, wherever its layout has
 * them: before memset, memcpy and the like. `object` is its first byte. Where a trace function tells, all of the object
 * may be changed until the next boundary.
 *
 * @return mallocgc_error: NOT_ALLOCATED, NOT_AT_BEGINNING, BAD_ARGUMENT for `from` behind `to`, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_pre_write_object(const mallocgc_mutator *mutator,
                                         void *object,
                                         size_t from,
                                         size_t to);

/**
 * Copies `count` references from one place to another, which may overlap, with the
 * write barrier.
 */
void mallocgc_write_range(const mallocgc_mutator *mutator,
                          void **to,
                          void *const *from,
                          size_t count);

/**
 * Whether the calling thread may use this mutator now: it is its own, and not in use
 * further up the stack. 1 or 0.
 */
int32_t mallocgc_is_usable(const mallocgc_mutator *mutator);

/**
 * Objects of `bytes` bytes without references, for mallocgc_new and mallocgc_new_array.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_layout_noscan(const mallocgc_heap *heap,
                                      size_t bytes,
                                      const mallocgc_layout **layout);

/**
 * Objects of `words` words (8 bytes each), any number, with references where the bits of
 * `mask` are set: 64 words to an element, the first in the lowest bit.
 *
 * @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
 */
mallocgc_error mallocgc_layout_mask(const mallocgc_heap *heap,
                                    size_t words,
                                    const uint64_t *mask,
                                    const mallocgc_layout **layout);

/**
 * Objects of a head of `head_words` words, perhaps none, and then elements of
 * `element_words` words up to the object's end; masks as for mallocgc_layout_mask. The size
 * is that of the head and one element.
 *
 * @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
 */
mallocgc_error mallocgc_layout_array(const mallocgc_heap *heap,
                                     size_t head_words,
                                     const uint64_t *head_mask,
                                     size_t element_words,
                                     const uint64_t *element_mask,
                                     const mallocgc_layout **layout);

/**
 * Huge types, by a program of up to 65536 bytes: instructions, each a
 * number `n << 2 | kind`, seven bits a byte, lowest first, the high bit set if more follow. Kind 0: n words without
 * references. Kind 1: n references. Kind 2: n words, 1 to 64, told by (n + 7) / 8 bytes of mask that
 * follow, lowest first. Kind 3: n times, or for n = 0 to the object's end, what follows: the words and the bytes of a
 * body, as such numbers, and the body.
 *
 * @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
 */
mallocgc_error mallocgc_layout_program(const mallocgc_heap *heap,
                                       const uint8_t *program,
                                       size_t bytes,
                                       const mallocgc_layout **layout);

/**
 * Objects of `bytes` bytes whose references `trace` reports. It is called at every
 * cycle, on any thread, perhaps on several at once with different objects; with the world stopped, or, in a heap that
 * is marked beside its mutators, while they run. Such an object is then changed after mallocgc_pre_write_object, once
 * after each boundary, and a new one as it is. It may be given an object of zeroes, and a cell longer than the object; it must not write, nor enter a
 * heap. With a `stride` other than 0 it is called for each `stride` bytes of an object, as
 * for an array's elements.
 *
 * @return mallocgc_error: BAD_ARGUMENT, BAD_LAYOUT, NO_ROOM.
 */
mallocgc_error mallocgc_layout_trace(const mallocgc_heap *heap,
                                     size_t bytes,
                                     size_t stride,
                                     mallocgc_trace_fn trace,
                                     const mallocgc_layout **layout);

/**
 * Objects of `bytes` bytes any aligned word of which may be a reference.
 *
 * @return mallocgc_error: BAD_ARGUMENT, NO_ROOM.
 */
mallocgc_error mallocgc_layout_conservative(const mallocgc_heap *heap,
                                            size_t bytes,
                                            const mallocgc_layout **layout);

/**
 * The bytes of one object of a layout; 0 for null.
 */
size_t mallocgc_layout_bytes(const mallocgc_layout *layout);

/**
 * Allocates `bytes` bytes with references where `layout` says, null for none; `flags` are
 * mallocgc_flags. The memory is zero. Zero bytes have one shared
 * address. Objects without references of less than 16 bytes may share a block of 16; from 8 bytes on the
 * alignment is at least 8.
 *
 * Null on failure, see mallocgc_last_error: OUT_OF_MEMORY, LIMIT_REACHED, TOO_LARGE, WRONG_HEAP, REENTRANT,
 * UNZEROED_REFERENCES, BUSY, BAD_ARGUMENT. Nothing has been allocated then, and the heap works on.
 */
void *mallocgc_alloc(const mallocgc_mutator *mutator,
                     const mallocgc_layout *layout,
                     size_t bytes,
                     uint32_t flags);

/**
 * As mallocgc_alloc, at an address that is a multiple of `align`, a power of two up to 4096.
 *
 * Null on failure; BAD_ALIGNMENT beside those of mallocgc_alloc.
 */
void *mallocgc_alloc_aligned(const mallocgc_mutator *mutator,
                             const mallocgc_layout *layout,
                             size_t bytes,
                             size_t align,
                             uint32_t flags);

/**
 * Allocates one zeroed object of the layout's size.
 *
 * Null on failure, as mallocgc_alloc.
 */
void *mallocgc_new(const mallocgc_mutator *mutator, const mallocgc_layout *layout);

/**
 * Allocates `count` zeroed objects of the layout's size side by side. For more than one the layout must
 * be an array's.
 *
 * Null on failure; NOT_REPEATING beside those of mallocgc_alloc.
 */
void *mallocgc_new_array(const mallocgc_mutator *mutator,
                         const mallocgc_layout *layout,
                         size_t count);

/**
 * Resolves `layout` and `bytes`, 1 to 32768, for mallocgc_site_alloc with any mutator of the
 * heap; free it with mallocgc_site_free.
 *
 * @return mallocgc_error: BAD_ARGUMENT, TOO_LARGE, WRONG_HEAP, OUT_OF_MEMORY, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_site_new(const mallocgc_mutator *mutator,
                                 const mallocgc_layout *layout,
                                 size_t bytes,
                                 mallocgc_site **site);

/**
 * The window from which a mutator allocates for a site, for generated code that knows both. It stays where
 * it is as long as the mutator is attached. Sites of equal layout and cell have one.
 *
 * Null on failure, see mallocgc_last_error: BAD_ARGUMENT, WRONG_HEAP, WRONG_THREAD, BUSY.
 */
mallocgc_window *mallocgc_site_window(const mallocgc_mutator *mutator,
                                      const mallocgc_site *site);

/**
 * Allocates a zeroed object of a site: the shortest path.
 *
 * Null on failure, as mallocgc_alloc.
 */
void *mallocgc_site_alloc(const mallocgc_mutator *mutator, const mallocgc_site *site);

/**
 * Frees a site; null is allowed.
 */
void mallocgc_site_free(mallocgc_site *site);

/**
 * Makes `object` a root until the handle is freed. A root keeps its heap.
 *
 * @return mallocgc_error: BAD_ARGUMENT, OUT_OF_MEMORY.
 */
mallocgc_error mallocgc_root_new(const mallocgc_heap *heap, void *object, mallocgc_root **root);

/**
 * The object of a root; null for null.
 */
void *mallocgc_root_get(const mallocgc_root *root);

/**
 * Lets a root keep another object alive instead.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_root_set(mallocgc_root *root, void *object);

/**
 * Frees a root; null is allowed. Its object may be collected from the next cycle on.
 */
void mallocgc_root_free(mallocgc_root *root);

/**
 * Pushes `object` onto the mutator's stack of roots; its place there goes to `*index`
 * unless that is null.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY; OUT_OF_MEMORY with 16 Mi roots.
 */
mallocgc_error mallocgc_push(const mallocgc_mutator *mutator, void *object, size_t *index);

/**
 * The number of roots on the mutator's stack; 0 for a mutator that cannot be used.
 */
size_t mallocgc_pushed(const mallocgc_mutator *mutator);

/**
 * The object at a place of the stack; null when there is no such place.
 */
void *mallocgc_at(const mallocgc_mutator *mutator, size_t index);

/**
 * Puts another object at a place of the stack.
 *
 * @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_put(const mallocgc_mutator *mutator, size_t index, void *object);

/**
 * Cuts the mutator's stack to `count` roots.
 *
 * @return mallocgc_error: NOT_FOUND when there are fewer, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_pop_to(const mallocgc_mutator *mutator, size_t count);

/**
 * Makes the `words` words from `start` on, aligned to words, roots until mallocgc_range_remove is
 * given the number that goes to `*id`. `kind` is a mallocgc_range_kind. The range stays readable, and only mutators of
 * this heap write it, between boundaries. What lies in it counts as a place that never dies.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_range_add(const mallocgc_heap *heap,
                                  const void *start,
                                  size_t words,
                                  uint32_t kind,
                                  uint64_t *id);

/**
 * Forgets a root range.
 *
 * @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT.
 */
mallocgc_error mallocgc_range_remove(const mallocgc_heap *heap, uint64_t id);

/**
 * Declares that what lies in a range never dies, such as a program's data: finalizers, cleanups and
 * weak handles on it are accepted and do nothing, or never clear. It is not scanned.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_static_range_add(const mallocgc_heap *heap,
                                         const void *start,
                                         size_t bytes);

/**
 * Visits one reference; null and addresses outside the heap are ignored.
 */
void mallocgc_visit(mallocgc_visitor *visitor, const void *reference);

/**
 * Visits a word that may be a reference.
 */
void mallocgc_visit_ambiguous(mallocgc_visitor *visitor, size_t word);

/**
 * Visits `words` words from `start` on, which is aligned to words; `kind` is a mallocgc_range_kind,
 * any other number counting as AMBIGUOUS.
 */
void mallocgc_visit_range(mallocgc_visitor *visitor,
                          const void *start,
                          size_t words,
                          uint32_t kind);

/**
 * Registers a callback that visits roots of the heap, until mallocgc_roots_remove is given the
 * number that goes to `*id`.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_roots_add(const mallocgc_heap *heap,
                                  mallocgc_roots_fn roots,
                                  void *data,
                                  uint64_t *id);

/**
 * Forgets a root callback.
 *
 * @return mallocgc_error: NOT_FOUND, BAD_ARGUMENT.
 */
mallocgc_error mallocgc_roots_remove(const mallocgc_heap *heap, uint64_t id);

/**
 * Sets the callback that visits this mutator's other roots; null removes it.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY, REENTRANT.
 */
mallocgc_error mallocgc_set_roots(const mallocgc_mutator *mutator,
                                  mallocgc_roots_fn roots,
                                  void *data);

/**
 * Lets every boundary of this mutator scan its thread's own stack and registers, up to
 * `base`: the address of a variable of a function that calls all others that hold references. Any word
 * there that names an allocated object keeps it alive. Null ends it.
 *
 * @return mallocgc_error: BAD_ARGUMENT for a base above which this call's stack does not lie,
 * UNSUPPORTED, WRONG_THREAD, BUSY, REENTRANT.
 */
mallocgc_error mallocgc_scan_own_stack(const mallocgc_mutator *mutator,
                                       const void *base);

/**
 * Adds a stack that grows down from `base`, behind its oldest word. While it is not its thread's own stack it is scanned
 * at every cycle from its top on, which mallocgc_stack_switch and mallocgc_stack_set_top tell; at first there is none.
 * Any word there that names an allocated object keeps it alive.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_stack_add(const mallocgc_heap *heap,
                                  const void *base,
                                  mallocgc_stack **stack);

/**
 * Leaves the stack `from`, on which this is called, for the stack `to`: `function` is called with `data` and switches. What `from` holds, the
 * callers' registers included, is scanned from now on at every cycle; `to` is this thread's own stack, which
 * boundaries scan as mallocgc_scan_own_stack says. It returns when `function` does: once somebody has switched back,
 * on whatever thread, with that thread's mutator.
 *
 * @return mallocgc_error: BAD_ARGUMENT, also for a `from` below this call; WRONG_HEAP, UNSUPPORTED, WRONG_THREAD, BUSY, REENTRANT; `function` was not called then.
 */
mallocgc_error mallocgc_stack_switch(const mallocgc_mutator *mutator,
                                     const mallocgc_stack *from,
                                     const mallocgc_stack *to,
                                     mallocgc_hook_fn function,
                                     void *data);

/**
 * Tells the address of a stack's newest word, when it is switched away from, its registers
 * pushed; null when it is switched to, and is its thread's own stack, or ends. On the thread that
 * switches, between boundaries. For programs that switch in other ways than mallocgc_stack_switch, which also need to say which
 * is the thread's own stack now, with mallocgc_scan_own_stack.
 *
 * @return mallocgc_error: BAD_ARGUMENT, also for a top above the base.
 */
mallocgc_error mallocgc_stack_set_top(const mallocgc_stack *stack,
                                      const void *top);

/**
 * Forgets a stack and frees the handle, before the stack's memory is given back; null is allowed.
 */
void mallocgc_stack_remove(mallocgc_stack *stack);

/**
 * Lets `finalizer` run once `object` is unreachable; `data` is the program's, and no
 * reference. An object may have several. When it is found unreachable those of the
 * least `priority` run, in the order in which they were set; the others when it is found
 * unreachable again. While something else with a finalizer refers to it, none
 * runs; objects that refer to themselves are never finalized.
 *
 * @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, NOT_AT_BEGINNING, ALREADY_SET, OUT_OF_MEMORY, NO_THREAD, REENTRANT,
 * WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_finalizer_set(const mallocgc_mutator *mutator,
                                      void *object,
                                      uint32_t priority,
                                      mallocgc_finalizer_fn finalizer,
                                      void *data);

/**
 * Takes all finalizers off an object; how many goes to `*count` unless that is null.
 *
 * @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, NOT_AT_BEGINNING, REENTRANT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_finalizer_clear(const mallocgc_mutator *mutator,
                                        void *object,
                                        size_t *count);

/**
 * Runs up to `most` finalizers that are due, on this thread; how many goes to `*ran` unless that is
 * null. Each is a boundary. Those of one object count as one.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_run_finalizers(const mallocgc_mutator *mutator, size_t most, size_t *ran);

/**
 * Takes the next finalizer that is due, for a program that calls it when and where it likes: its object goes to
 * `*object`, which must be in a root before the next boundary if it is still needed, and function
 * and word to `*finalizer` and `*data`, each unless that is null. A boundary. For heaps whose `background` is 0, since
 * others run their finalizers themselves. Of an object's finalizers that mallocgc_run_finalizers would run together each is popped; once
 * the first was, the others are no more for mallocgc_run_finalizers.
 *
 * @return mallocgc_error: NOT_FOUND if none is due; BAD_ARGUMENT, WRONG_THREAD, BUSY; REENTRANT.
 */
mallocgc_error mallocgc_finalizer_pop(const mallocgc_mutator *mutator,
                                      void **object,
                                      mallocgc_finalizer_fn *finalizer,
                                      void **data);

/**
 * Runs up to `most` cleanups that are due, as mallocgc_run_finalizers.
 *
 * @return mallocgc_error: BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_run_cleanups(const mallocgc_mutator *mutator, size_t most, size_t *ran);

/**
 * Waits until the heap's threads have run every finalizer and cleanup that is due, at most `nanos`
 * nanoseconds. A boundary.
 *
 * @return mallocgc_error: STOP_TIMED_OUT if that passes first; BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_wait(const mallocgc_mutator *mutator, uint64_t nanos);

/**
 * How many objects' finalizers are due and have not run, those that mallocgc_finalizer_pop has begun counted one by one,
 * and how many cleanups; each pointer may be null. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_due(const mallocgc_heap *heap,
                            uint64_t *finalizers,
                            uint64_t *cleanups);

/**
 * Lets `cleanup` run after the object that `object` points at or into is gone; any number can be
 * added. It does not get the object. `argument` is null, or points into another object, which lives until the
 * cleanup has run or is stopped. Its name goes to `*name`, to be freed by mallocgc_cleanup_free,
 * unless that is null.
 *
 * @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, KEEPS_ITSELF, OUT_OF_MEMORY, NO_THREAD, REENTRANT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_cleanup_add(const mallocgc_mutator *mutator,
                                    void *object,
                                    void *argument,
                                    mallocgc_cleanup_fn cleanup,
                                    void *data,
                                    mallocgc_cleanup **name);

/**
 * Keeps a cleanup from running. Any thread.
 *
 * @return mallocgc_error: NOT_FOUND if it is due, has run or was stopped; BAD_ARGUMENT; WRONG_HEAP.
 */
mallocgc_error mallocgc_cleanup_stop(const mallocgc_heap *heap, const mallocgc_cleanup *name);

/**
 * Frees the name of a cleanup, which runs all the same; null is allowed.
 */
void mallocgc_cleanup_free(mallocgc_cleanup *name);

/**
 * Makes a weak handle to the object that `object` points at or into, to be freed by mallocgc_weak_free. It is
 * cleared when the object is gone, and before that when its finalizer is due.
 *
 * @return mallocgc_error: BAD_ARGUMENT, NOT_ALLOCATED, OUT_OF_MEMORY, REENTRANT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_weak_new(const mallocgc_mutator *mutator,
                                 void *object,
                                 mallocgc_weak **weak);

/**
 * The object of a weak handle, with a mutator of its heap; null when it is gone. Put it into a
 * root before the next boundary.
 */
void *mallocgc_weak_get(const mallocgc_mutator *mutator, const mallocgc_weak *weak);

/**
 * Whether two weak handles name the same place, also after its object's death: 1 or 0. Any thread.
 */
int32_t mallocgc_weak_equal(const mallocgc_weak *one, const mallocgc_weak *other);

/**
 * Frees a weak handle; null is allowed. Any thread.
 */
void mallocgc_weak_free(mallocgc_weak *weak);

/**
 * Makes an ephemeron, an object of the heap: as long as it and `key` live, so does `value`,
 * which may be null. What only the value reaches does not keep the key. When the key is found dead, both are
 * cleared. The ephemeron may be stored and rooted as any object.
 *
 * Null on failure, see mallocgc_last_error: BAD_ARGUMENT, NOT_ALLOCATED, OUT_OF_MEMORY, LIMIT_REACHED, REENTRANT, WRONG_THREAD, BUSY.
 */
void *mallocgc_ephemeron_new(const mallocgc_mutator *mutator,
                             void *key,
                             void *value);

/**
 * The key; null when it is gone, or when there is no ephemeron at the address. Put
 * it into a root before the next boundary.
 */
void *mallocgc_ephemeron_key(const mallocgc_mutator *mutator, const void *ephemeron);

/**
 * The value; null when there is none, and as mallocgc_ephemeron_key.
 */
void *mallocgc_ephemeron_value(const mallocgc_mutator *mutator, const void *ephemeron);

/**
 * Exchanges the value, which may be null.
 *
 * @return mallocgc_error: NOT_FOUND if there is no ephemeron, CLEARED, NOT_ALLOCATED, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_ephemeron_set_value(const mallocgc_mutator *mutator,
                                            void *ephemeron,
                                            void *value);

/**
 * Takes key and value away, as if the key had died.
 *
 * @return mallocgc_error: NOT_FOUND if there is no ephemeron, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_ephemeron_clear(const mallocgc_mutator *mutator, void *ephemeron);

/**
 * Reads the statistics: `size` bytes of them to `*stats`, which is sizeof(mallocgc_stats) where the
 * program was compiled; fields this library does not know are zero. Stops nobody, and is exact
 * while the heap is at rest. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_read_stats(const mallocgc_heap *heap, mallocgc_stats *stats, size_t size);

/**
 * The pause in nanoseconds that the share `quantile`, 0 to 1, of all pauses does not exceed; at
 * most an eighth too much. 0 before the first, and for arguments out of range. Any thread.
 */
uint64_t mallocgc_pause_quantile(const mallocgc_heap *heap, double quantile);

/**
 * As mallocgc_pause_quantile, of any mallocgc_delay.
 */
uint64_t mallocgc_delay_quantile(const mallocgc_heap *heap, uint32_t delay, double quantile);

/**
 * Sets the mean bytes between samples of the heap profile: 0 for none, 1 for every allocation. The old
 * rate goes to `*old` unless that is null. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_profile_rate(const mallocgc_heap *heap,
                                         uint64_t bytes,
                                         uint64_t *old);

/**
 * Writes the sampled heap profile, as of the last collections, in the format of `go tool pprof`. An object
 * appears two collections after its allocation, or one with MALLOCGC_FORCE_NOW_AND_SWEEP. Any thread.
 *
 * @return mallocgc_error: BAD_ARGUMENT, IO.
 */
mallocgc_error mallocgc_write_profile(const mallocgc_heap *heap,
                                      mallocgc_output_fn write,
                                      void *data);

/**
 * Sets who is told of every allocation, death, cycle and mutator; null ends it. While there is one every allocation is
 * slow. To miss nothing, set it before threads attach. Any thread; one told of before may still be
 * called on other threads when this returns.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_listener(const mallocgc_heap *heap,
                                     mallocgc_listener_fn listener,
                                     void *data);

/**
 * As mallocgc_set_listener, for a listener that is told of cycles and mutators only, which costs allocation nothing. A heap has
 * one listener of either kind.
 *
 * @return mallocgc_error: BAD_ARGUMENT.
 */
mallocgc_error mallocgc_set_cycle_listener(const mallocgc_heap *heap,
                                           mallocgc_listener_fn listener,
                                           void *data);

/**
 * Stops the world and tells `visit` of every root, every object and every reference that leads to an object. What has died since the last
 * cycle is still there: collect first to see what lives. A boundary.
 *
 * @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_walk(const mallocgc_mutator *mutator,
                             mallocgc_walk_fn visit,
                             void *data);

/**
 * As mallocgc_walk, from a thread that is no mutator of this heap.
 *
 * @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT.
 */
mallocgc_error mallocgc_heap_walk(const mallocgc_heap *heap, mallocgc_walk_fn visit, void *data);

/**
 * Writes a dump of the heap, a line of text for each root, object and reference, numbers of addresses in
 * hexadecimal digits:
 *
 *     mallocgc dump 1
 *     root TARGET
 *     object ADDRESS BYTES LAYOUT
 *      OFFSET TARGET
 *
 * The last are references of the object above. Collect first to see only what lives. The world stands until
 * all is written; `write` must not enter a heap. A boundary.
 *
 * @return mallocgc_error: IO, STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
 */
mallocgc_error mallocgc_write_dump(const mallocgc_mutator *mutator,
                                   mallocgc_output_fn write,
                                   void *data);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

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

#endif  /* MALLOCGC_H */
