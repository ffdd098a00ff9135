//! A collection, from the interface's side: hooks, the stop, roots, verdicts.
//!
//! ```text
//! lock → hooks → ask the loader → registers to the stack → the heap's cycle
//!      [gate closed → threads stopped by signal → roots → marked → decided → resumed]
//! → counts → unlock → finalizers
//! ```
//!
//! Protection: the lock, from begin to end.

use crate::state::{heap, is_ready, state};
use crate::threads::register_current;
use crate::{alloc, data, debug, disclaim, finalize, init, lock, roots, stop, tls};
use core::ffi::c_void;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_int;
use mallocgc::raw::{AmbiguousMarker, ConservativeClient, Force};

/// Why a collection is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The heap may have grown to its trigger.
    Due,
    /// An allocation failed.
    Short,
    /// The program says so.
    Asked,
}

/// What the heap asks of us during a cycle.
pub struct Client;

impl ConservativeClient for Client {
    fn stop(&self) {
        // SAFETY: `run` has the lock, and nobody is inside the heap.
        unsafe {
            tell(Event::PreStop);
            stop::stop();
            tell(Event::PostStop);
            alloc::drop_free_cells();
        }
    }

    fn roots(&self, marker: &mut dyn AmbiguousMarker) {
        // SAFETY: as above; threads stand.
        unsafe {
            tell(Event::MarkStart);
            roots::visit_all(marker);
        }
    }

    fn reached(&self, marker: &mut dyn AmbiguousMarker) {
        // SAFETY: as above.
        unsafe {
            finalize::decide(marker);
            disclaim::decide(marker);
            debug::decide(marker);
            tell(Event::MarkEnd);
        }
    }

    fn resume(&self) {
        // SAFETY: as above.
        unsafe {
            tell(Event::PreStart);
            stop::resume();
            tell(Event::PostStart);
        }
    }
}

/// `GC_EventType` up to the threads' own.
#[derive(Clone, Copy)]
enum Event {
    Start = 0,
    MarkStart = 1,
    MarkEnd = 2,
    ReclaimStart = 3,
    ReclaimEnd = 4,
    End = 5,
    PreStop = 6,
    PostStop = 7,
    PreStart = 8,
    PostStart = 9,
}

unsafe fn tell(event: Event) {
    let hook = data::COLLECTION_EVENT.load(Relaxed);
    if hook != 0 {
        let hook: unsafe extern "C" fn(c_int) = core::mem::transmute(hook);
        hook(event as c_int);
    }
}

struct Run {
    why: Why,
    collected: bool,
}

/// Runs a collection if `why` says so; whether it did. Without the lock, or with
/// it: then finalizers wait for the next time.
pub unsafe fn collect(why: Why) -> bool {
    if !is_ready() || read!(GC_dont_gc) != 0 {
        return false;
    }
    let nested = lock::is_mine();
    if nested && roots::marker().is_some() {
        return false;
    }
    register_current();
    let mut run = Run { why, collected: false };
    stop::with_registers(run_with_registers, (&raw mut run).cast());
    if run.collected && !nested {
        disclaim::run_queue();
        debug::report();
        finalize::notify();
    }
    run.collected
}

unsafe extern "C" fn run_with_registers(run: *mut c_void, sp: usize) {
    let run = &mut *run.cast::<Run>();
    let _held = lock::lock();
    let heap = heap();
    if run.why == Why::Due && !heap.is_collection_due() {
        // Someone else has collected while this thread waited; the request
        // is withdrawn by asking once more.
        let mutator = (*tls::current()).mutator.assume_init_ref();
        mutator.enter();
        let _ = mutator.gc(Force::IfNeeded);
        mutator.leave();
        return;
    }
    stop::remove_buried();
    let start = data::START_CALLBACK.load(Relaxed);
    if start != 0 {
        let start: unsafe extern "C" fn() = core::mem::transmute(start);
        start();
    }
    tell(Event::Start);
    roots::refresh();
    let before = heap.used_bytes();
    let thread = tls::current();
    (*thread).sp.store(sp, Relaxed);
    let begin = mallocgc::os::now_nanos();
    state().bytes_before = heap.stats().total_alloc;
    let mutator = (*thread).mutator.assume_init_ref();
    mutator.enter();
    let force = if run.why == Why::Short { Force::NowAndSweep } else { Force::Now };
    let cycles = heap.cycles();
    let _ = mutator.gc(force);
    mutator.leave();
    run.collected = heap.cycles() != cycles;
    set!(GC_gc_no, heap.cycles() as usize);
    alloc::FREED_BYTES.store(0, Relaxed);
    tell(Event::ReclaimStart);
    tell(Event::ReclaimEnd);
    tell(Event::End);
    if state().measure {
        state().full_gc_nanos += mallocgc::os::now_nanos() - begin;
    }
    crate::statistics::print_cycle(before, mallocgc::os::now_nanos() - begin);
    crate::statistics::tell_size();
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_gcollect() {
    init::ensure();
    collect(Why::Asked);
    unmap_if_set();
}

unsafe fn unmap_if_set() {
    // Relaxed: a setting.
    if crate::settings::UNMAP.load(Relaxed) != 0 {
        heap().release_memory();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_gcollect_and_unmap() {
    init::ensure();
    collect(Why::Asked);
    heap().release_memory();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_try_to_collect(
    stop_func: Option<unsafe extern "C" fn() -> c_int>,
) -> c_int {
    init::ensure();
    // A cycle is short and is not given up once it has begun.
    if stop_func.is_some_and(|stop_func| stop_func() != 0) {
        return 0;
    }
    let collected = collect(Why::Asked);
    unmap_if_set();
    c_int::from(collected)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_collect_a_little() -> c_int {
    init::ensure();
    collect(Why::Due);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_start_incremental_collection() {
    // There is no incremental mode.
}
