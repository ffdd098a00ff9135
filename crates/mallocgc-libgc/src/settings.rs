//! Settings and hooks: functions that store a value, return one, or apply it.
//!
//! Those without an effect here are listed in `docs/libgc.md`: the harmless
//! ones only keep their value; the others say so on standard error when a
//! program turns them on.
//!
//! Protection: words, written and read whole.

use crate::data::{self, Hook, ResizeFn, Word};
use crate::state::{heap, is_ready, state};
use crate::{init, lock, say};
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicUsize};
use libc::{c_char, c_int, c_uint, c_ulong};

/// Pairs of functions that set and return an exported variable.
macro_rules! variables {
    ($($set:ident, $get:ident: $variable:ident, $type:ty;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(value: $type) {
            set!($variable, value);
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get() -> $type {
            read!($variable)
        }
    )* };
}

variables! {
    GC_set_find_leak, GC_get_find_leak: GC_find_leak, c_int;
    GC_set_finalize_on_demand, GC_get_finalize_on_demand: GC_finalize_on_demand, c_int;
    GC_set_java_finalization, GC_get_java_finalization: GC_java_finalization, c_int;
    GC_set_finalizer_notifier, GC_get_finalizer_notifier: GC_finalizer_notifier, Hook;
    GC_set_dont_expand, GC_get_dont_expand: GC_dont_expand, c_int;
    GC_set_full_freq, GC_get_full_freq: GC_full_freq, c_int;
    GC_set_non_gc_bytes, GC_get_non_gc_bytes: GC_non_gc_bytes, Word;
    GC_set_no_dls, GC_get_no_dls: GC_no_dls, c_int;
    GC_set_max_retries, GC_get_max_retries: GC_max_retries, Word;
    GC_set_dont_precollect, GC_get_dont_precollect: GC_dont_precollect, c_int;
    GC_set_time_limit, GC_get_time_limit: GC_time_limit, c_ulong;
    GC_set_on_heap_resize, GC_get_on_heap_resize: GC_on_heap_resize, ResizeFn;
    GC_set_abort_func, GC_get_abort_func: GC_on_abort, data::AbortFn;
}

/// Pairs of functions that set and return a hook or value kept here.
macro_rules! kept {
    ($($set:ident, $get:ident: $place:path;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(value: usize) {
            $place.store(value, Relaxed);
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get() -> usize {
            $place.load(Relaxed)
        }
    )* };
}

static BYTES_PER_FINALIZER: AtomicUsize = AtomicUsize::new(10000);
static MIN_BYTES: AtomicUsize = AtomicUsize::new(1);

kept! {
    GC_set_start_callback, GC_get_start_callback: data::START_CALLBACK;
    GC_set_on_collection_event, GC_get_on_collection_event: data::COLLECTION_EVENT;
    GC_set_on_thread_event, GC_get_on_thread_event: data::THREAD_EVENT;
    GC_set_stop_func, GC_get_stop_func: data::STOP_FUNC;
    GC_set_toggleref_func, GC_get_toggleref_func: data::TOGGLEREF_FUNC;
    GC_set_await_finalize_proc, GC_get_await_finalize_proc: data::AWAIT_FINALIZE_PROC;
    GC_set_allocd_bytes_per_finalizer, GC_get_allocd_bytes_per_finalizer: BYTES_PER_FINALIZER;
    GC_set_min_bytes_allocd, GC_get_min_bytes_allocd: MIN_BYTES;
}

/// Pairs that only keep a number.
macro_rules! numbers {
    ($($set:ident, $get:ident = $value:literal;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(value: c_int) {
            $get::VALUE.store(value as usize, Relaxed);
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get() -> c_int {
            $get::VALUE.load(Relaxed) as c_int
        }

        mod $get {
            pub static VALUE: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new($value);
        }
    )* };
}

numbers! {
    GC_set_rate, GC_get_rate = 10;
    GC_set_max_prior_attempts, GC_get_max_prior_attempts = 1;
    GC_set_pages_executable, GC_get_pages_executable = 0;
    GC_set_manual_vdb_allowed, GC_get_manual_vdb_allowed = 0;
}

/// `struct GC_timeval_s`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TimeLimit {
    pub millis: c_ulong,
    pub nanos: c_ulong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_time_limit_tv(limit: TimeLimit) {
    set!(GC_time_limit, limit.millis);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_time_limit_tv() -> TimeLimit {
    TimeLimit { millis: read!(GC_time_limit), nanos: 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_version() -> c_uint {
    0x0008_0202
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_all_interior_pointers(on: c_int) {
    let on = c_int::from(on != 0);
    let _held = lock::lock();
    set!(GC_all_interior_pointers, on);
    if is_ready() {
        heap().ambiguous().set_interior(on != 0);
        crate::alloc::EXTRA_BYTES.store(on as usize, Relaxed);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_all_interior_pointers() -> c_int {
    read!(GC_all_interior_pointers)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_displacement(distance: usize) {
    init::ensure();
    if !heap().ambiguous().register(distance) {
        say::abort(format_args!("GC_register_displacement: {distance} is too far"));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_free_space_divisor(divisor: Word) {
    set!(GC_free_space_divisor, divisor);
    init::pace_again();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_free_space_divisor() -> Word {
    read!(GC_free_space_divisor)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_max_heap_size(bytes: Word) {
    let _held = lock::lock();
    state().max_heap_bytes = bytes;
    if is_ready() {
        heap().set_heap_limit_bytes(if bytes == 0 { usize::MAX } else { bytes });
    }
}

/// Whether a collection that is asked for gives memory back.
pub static UNMAP: AtomicI32 = AtomicI32::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_force_unmap_on_gcollect(force: c_int) {
    UNMAP.store(force, Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_force_unmap_on_gcollect() -> c_int {
    UNMAP.load(Relaxed)
}

/// Whether allocation collects only when it fails otherwise.
pub static NOT_AUTOMATIC: AtomicI32 = AtomicI32::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_disable_automatic_collection(disabled: c_int) {
    NOT_AUTOMATIC.store(disabled, Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_disable_automatic_collection() -> c_int {
    NOT_AUTOMATIC.load(Relaxed)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_disable() {
    let _held = lock::lock();
    set!(GC_dont_gc, read!(GC_dont_gc) + 1);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_enable() {
    let _held = lock::lock();
    set!(GC_dont_gc, read!(GC_dont_gc) - 1);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_disabled() -> c_int {
    c_int::from(read!(GC_dont_gc) != 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_enable_incremental() {
    init::ensure();
    // May be refused: `GC_is_incremental_mode` tells.
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_incremental_mode() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_incremental_protection_needs() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_parallel() -> c_int {
    if is_ready() { heap().markers() as c_int - 1 } else { 0 }
}

/// Threads that mark, as the program asked for; 0 if it has not.
pub static MARKERS: AtomicUsize = AtomicUsize::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_markers_count(count: c_uint) {
    if !is_ready() {
        MARKERS.store(count as usize, Relaxed);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_suspend_signal(signal: c_int) {
    if !is_ready() {
        data::SUSPEND_SIGNAL.store(signal, Relaxed);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_thr_restart_signal(signal: c_int) {
    if !is_ready() {
        data::RESTART_SIGNAL.store(signal, Relaxed);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_suspend_signal() -> c_int {
    data::SUSPEND_SIGNAL.load(Relaxed)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_thr_restart_signal() -> c_int {
    data::RESTART_SIGNAL.load(Relaxed)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_warn_proc(hook: usize) {
    init::ensure();
    data::WARN_PROC.store(hook, Relaxed);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_warn_proc() -> usize {
    match data::WARN_PROC.load(Relaxed) {
        0 => GC_default_warn as *const () as usize,
        hook => hook,
    }
}

unsafe extern "C" fn GC_default_warn(message: *mut c_char, word: Word) {
    crate::variadic::GC_err_printf_word(message, word);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_ignore_warn_proc(_message: *mut c_char, _word: Word) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_log_fd(fd: c_int) {
    say::LOG_FD.store(fd, Relaxed);
}

// --- no effect by nature --------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_noop1(_word: Word) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_clear_stack(word: *mut c_void) -> *mut c_void {
    word
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_change_stubborn(_: *const c_void) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_end_stubborn_change(_: *const c_void) {}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_ptr_store_and_dirty(slot: *mut c_void, value: *const c_void) {
    *slot.cast::<*const c_void>() = value;
}

// --- checks ---------------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_same_obj(first: *mut c_void, second: *mut c_void) -> *mut c_void {
    init::ensure();
    let (one, other) = (heap().cell(first as usize), heap().cell(second as usize));
    let same = match (one, other) {
        (Some(one), Some(other)) => one.base == other.base,
        // One past the end counts as inside.
        (None, None) => true,
        (Some(one), None) => second as usize == one.base + one.bytes,
        (None, Some(other)) => first as usize == other.base + other.bytes,
    };
    if !same && let Some(hook) = read!(GC_same_obj_print_proc) {
        hook(first, second);
    }
    first
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_valid_displacement(place: *mut c_void) -> *mut c_void {
    init::ensure();
    if let Some(cell) = heap().cell(place as usize)
        && !heap().ambiguous().takes(place as usize - cell.base)
        && let Some(hook) = read!(GC_is_valid_displacement_print_proc)
    {
        hook(place);
    }
    place
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_visible(place: *mut c_void) -> *mut c_void {
    init::ensure();
    crate::threads::register_current();
    let at = place as usize;
    if at.is_multiple_of(8)
        && !crate::statistics::is_visible(at)
        && let Some(hook) = read!(GC_is_visible_print_proc)
    {
        hook(place);
    }
    place
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pre_incr(slot: *mut *mut c_void, bytes: isize) -> *mut c_void {
    let old = *slot;
    let new = old.cast::<u8>().offset(bytes).cast();
    GC_same_obj(new, old);
    *slot = new;
    new
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_post_incr(slot: *mut *mut c_void, bytes: isize) -> *mut c_void {
    let old = *slot;
    GC_pre_incr(slot, bytes);
    old
}

// --- objects of gcj --------------------------------------------------------

static GCJ_KIND: AtomicUsize = AtomicUsize::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_init_gcj_malloc(index: c_int, procedure: *mut c_void) {
    init::ensure();
    let _held = lock::lock();
    if GCJ_KIND.load(Relaxed) != 0 {
        return;
    }
    while state().procs.len() <= index as usize {
        state().procs.push(crate::typed::mark_big as *const () as usize);
    }
    if !procedure.is_null() {
        state().procs.as_mut_slice()[index as usize] = procedure as usize;
    }
    // The first word names a table whose second word is the descriptor.
    const DESCRIPTOR: isize = 8;
    let descriptor = crate::kinds::PER_OBJECT as isize - 0x10 - DESCRIPTOR;
    let kind = crate::kinds::GC_new_kind(null_mut(), descriptor as usize, 0, 1);
    GCJ_KIND.store(kind as usize, Relaxed);
    set!(GC_gcj_kind, kind as c_int);
    set!(GC_gcj_debug_kind, kind as c_int);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_gcj_malloc(bytes: usize, table: *mut c_void) -> *mut c_void {
    let object = crate::kinds::GC_generic_malloc(bytes, GCJ_KIND.load(Relaxed) as c_int);
    if !object.is_null() {
        *object.cast::<*mut c_void>() = table;
    }
    object
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_gcj_malloc_ignore_off_page(
    bytes: usize,
    table: *mut c_void,
) -> *mut c_void {
    GC_gcj_malloc(bytes, table)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_debug_gcj_malloc(
    bytes: usize,
    table: *mut c_void,
    _file: *const c_char,
    _line: c_int,
) -> *mut c_void {
    // Without the header: the collector must find the table first.
    GC_gcj_malloc(bytes, table)
}
