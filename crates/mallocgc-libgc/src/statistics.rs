//! Counts, dumps, the trace line, and what is written at exit.
//!
//! Protection: the lock for the tables; the heap's counts are its own.

use crate::state::{heap, is_ready, state};
use crate::{alloc, lock, say};
use core::ffi::{CStr, c_void};
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::{c_char, c_int, c_ulong};

/// Whether each cycle prints a line.
pub static PRINT: AtomicUsize = AtomicUsize::new(0);

/// The heap's size as `GC_expand_hp` has made it.
pub static EXPANDED_BYTES: AtomicUsize = AtomicUsize::new(0);

pub unsafe fn open_log() {
    let path = libc::getenv(c"GC_LOG_FILE".as_ptr());
    if !path.is_null() {
        let fd = libc::open(
            path,
            libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC,
            0o644,
        );
        if fd >= 0 {
            say::LOG_FD.store(fd, Relaxed);
        }
    }
}

pub unsafe fn print_cycle(before: usize, nanos: u64) {
    if PRINT.load(Relaxed) == 0 {
        return;
    }
    let heap = heap();
    say::log(format_args!(
        "gc {} @{} KiB -> {} KiB live, {} KiB in use, {}.{:03} ms",
        heap.cycles(),
        before >> 10,
        heap.marked_bytes() >> 10,
        heap.used_bytes() >> 10,
        nanos / 1_000_000,
        nanos / 1_000 % 1_000
    ));
}

/// Tells the hook of a new size.
pub unsafe fn tell_size() {
    let bytes = GC_get_heap_size();
    if core::mem::replace(&mut state().last_heap_bytes, bytes) != bytes
        && let Some(hook) = read!(GC_on_heap_resize)
    {
        hook(bytes);
    }
}

/// Whether a word here would be seen: in an object, on a stack, in data.
pub unsafe fn is_visible(at: usize) -> bool {
    if heap().cell(at).is_some() {
        return true;
    }
    let _held = lock::lock();
    crate::roots::refresh();
    let here = &raw const at as usize;
    let thread = &*crate::tls::current();
    let base = if thread.is_main { read!(GC_stackbottom) as usize } else { thread.base.get() };
    let state = state();
    let mut segments = state.loaded.as_slice().iter().chain(state.added.as_slice());
    (here..base).contains(&at) || segments.any(|range| (range.start..range.end).contains(&at))
}

/// Appends the block that `mallocgc exec` reads (`docs/exec.md`), if it asked for a file. One
/// write, so that processes do not mix.
pub unsafe fn at_exit() {
    if !is_ready() {
        return;
    }
    let mut sites = String::new();
    crate::profile::at_exit(&mut sites);
    let path = libc::getenv(c"MALLOCGC_EXEC_STATS".as_ptr());
    if path.is_null() {
        return;
    }
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC;
    let fd = libc::open(path, flags, 0o600);
    if fd < 0 {
        return;
    }
    let (stats, pauses) = (heap().stats(), heap().pause_histogram());
    let text = say::Text::new(format_args!(
        "process {}\ncycles {}\nstops {}\nstopped_total_nanos {}\nstopped_max_nanos {}\n\
         peak_bytes {}\nlive_bytes {}\nallocated_bytes {}\ngc_cpu_nanos {}\ncpu_nanos {}\n",
        libc::getpid(),
        stats.num_gc,
        pauses.count(),
        stats.pause_total_nanos,
        pauses.max(),
        stats.heap_sys,
        stats.live_bytes,
        stats.total_alloc,
        stats.gc_cpu_nanos,
        mallocgc::os::process_cpu_nanos(),
    ));
    let block = [text.as_bytes(), sites.as_bytes()].concat();
    say::write(fd, &block);
    libc::close(fd);
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_gc_no() -> usize {
    read!(GC_gc_no)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_heap_size() -> usize {
    if !is_ready() {
        return 0;
    }
    // Relaxed: a count.
    (heap().used_bytes() + heap().free_bytes()).max(EXPANDED_BYTES.load(Relaxed))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_free_bytes() -> usize {
    if !is_ready() {
        return 0;
    }
    GC_get_heap_size().saturating_sub(heap().heap_bytes() as usize)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_unmapped_bytes() -> usize {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_bytes_since_gc() -> usize {
    if !is_ready() {
        return 0;
    }
    let _held = lock::lock();
    heap().stats().total_alloc.saturating_sub(state().bytes_before) as usize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_expl_freed_bytes_since_gc() -> usize {
    alloc::FREED_BYTES.load(Relaxed)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_total_bytes() -> usize {
    if is_ready() { heap().stats().total_alloc as usize } else { 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_obtained_from_os_bytes() -> usize {
    if is_ready() { heap().committed_bytes() } else { 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_memory_use() -> usize {
    GC_get_heap_size()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_heap_usage_safe(
    size: *mut usize,
    free: *mut usize,
    unmapped: *mut usize,
    since: *mut usize,
    total: *mut usize,
) {
    let values = [
        (size, GC_get_heap_size as unsafe extern "C" fn() -> usize),
        (free, GC_get_free_bytes),
        (unmapped, GC_get_unmapped_bytes),
        (since, GC_get_bytes_since_gc),
        (total, GC_get_total_bytes),
    ];
    for (place, get) in values {
        if !place.is_null() {
            *place = get();
        }
    }
}

/// `struct GC_prof_stats_s`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProfStats {
    heapsize_full: usize,
    free_bytes_full: usize,
    unmapped_bytes: usize,
    bytes_allocd_since_gc: usize,
    allocd_bytes_before_gc: usize,
    non_gc_bytes: usize,
    gc_no: usize,
    markers_m1: usize,
    bytes_reclaimed_since_gc: usize,
    reclaimed_bytes_before_gc: usize,
    expl_freed_bytes_since_gc: usize,
    obtained_from_os_bytes: usize,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_prof_stats(out: *mut c_void, bytes: usize) -> usize {
    let since = GC_get_bytes_since_gc();
    let stats = ProfStats {
        heapsize_full: GC_get_heap_size(),
        free_bytes_full: GC_get_free_bytes(),
        unmapped_bytes: 0,
        bytes_allocd_since_gc: since,
        allocd_bytes_before_gc: GC_get_total_bytes() - since,
        non_gc_bytes: read!(GC_non_gc_bytes),
        gc_no: read!(GC_gc_no),
        expl_freed_bytes_since_gc: GC_get_expl_freed_bytes_since_gc(),
        obtained_from_os_bytes: GC_get_obtained_from_os_bytes(),
        ..ProfStats::default()
    };
    let known = size_of::<ProfStats>().min(bytes);
    core::ptr::copy_nonoverlapping((&raw const stats).cast::<u8>(), out.cast(), known);
    core::ptr::write_bytes(out.cast::<u8>().add(known), 0xff, bytes - known);
    known
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_prof_stats_unsafe(out: *mut c_void, bytes: usize) -> usize {
    GC_get_prof_stats(out, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_size_map_at(at: c_int) -> usize {
    // Granules of 16 bytes for a request.
    if !(0..=2048).contains(&at) {
        return usize::MAX;
    }
    (at as usize).div_ceil(16).max(1)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_start_performance_measurement() {
    let _held = lock::lock();
    state().measure = true;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_full_gc_total_time() -> c_ulong {
    let _held = lock::lock();
    state().full_gc_nanos / 1_000_000
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_incr_bytes_allocd(bytes: usize) {
    if is_ready() {
        heap().count_foreign_bytes(bytes);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_incr_bytes_freed(bytes: usize) {
    alloc::FREED_BYTES.fetch_add(bytes, Relaxed);
}

// --- dumps -----------------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dump() {
    GC_dump_named(core::ptr::null());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dump_named(name: *const c_char) {
    if !is_ready() {
        return;
    }
    if name.is_null() {
        say::log(format_args!("***Dump of the heap"));
    } else {
        say::log(format_args!("***Dump {}", CStr::from_ptr(name).to_str().unwrap_or("?")));
    }
    let stats = heap().stats();
    say::log(format_args!(
        "cycles {}, live {} bytes, in use {} bytes, allocated {} bytes, stopped {} ns",
        stats.num_gc,
        stats.live_bytes,
        heap().used_bytes(),
        stats.total_alloc,
        stats.pause_total_nanos
    ));
    GC_dump_regions();
    GC_dump_finalization();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dump_regions() {
    if !is_ready() {
        return;
    }
    let _held = lock::lock();
    let state = state();
    for range in state.loaded.as_slice().iter().chain(state.added.as_slice()) {
        say::log(format_args!("roots {:#x} to {:#x}", range.start, range.end));
    }
    let mut at = state.threads;
    while !at.is_null() {
        say::log(format_args!("thread {}, stack to {:#x}", (*at).tid, (*at).base.get()));
        at = (*at).next;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dump_finalization() {
    if !is_ready() {
        return;
    }
    let _held = lock::lock();
    let state = state();
    state.finalizers.for_each(|object, _| say::log(format_args!("finalizer on {object:#x}")));
    state.short_links.for_each(|place, link| {
        say::log(format_args!("link {place:#x} to {:#x}", link.object));
    });
    state.long_links.for_each(|place, link| {
        say::log(format_args!("long link {place:#x} to {:#x}", link.object));
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_print_free_list(_kind: c_int, _granules: usize) {
    say::unsupported("GC_print_free_list");
}
