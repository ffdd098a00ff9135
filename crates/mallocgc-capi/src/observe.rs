//! Seeing inside: statistics, the heap profile, a listener of events.

use crate::error::{Outcome, guard, guard_or, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Data, mallocgc_heap};
use crate::slot::checked;
use mallocgc::observe::{CycleRecord, Event, Interest, Listener};
use std::ffi::c_void;
use std::io;
use std::sync::Arc;

/// Statistics of a heap. Fields are only ever added, at the end.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mallocgc_stats {
    /// Bytes in objects, dead ones not swept yet included.
    pub heap_alloc_bytes: u64,
    /// Objects, dead ones not swept yet included.
    pub heap_objects: u64,
    /// Bytes in all objects ever allocated, and ever freed.
    pub total_alloc_bytes: u64,
    /// See total_alloc_bytes.
    pub total_freed_bytes: u64,
    /// Objects ever allocated, and ever freed.
    pub mallocs: u64,
    /// See mallocs.
    pub frees: u64,
    /// Bytes obtained from the system, for everything.
    pub sys_bytes: u64,
    /// Bytes of pages in spans.
    pub heap_inuse_bytes: u64,
    /// Bytes of pages in no span.
    pub heap_idle_bytes: u64,
    /// Those of heap_idle_bytes that take no memory.
    pub heap_released_bytes: u64,
    /// Bytes the last cycle found alive.
    pub live_bytes: u64,
    /// Heap bytes at which the next cycle begins; UINT64_MAX when there is none.
    pub trigger_bytes: u64,
    /// Hard limit; UINT64_MAX when there is none.
    pub heap_limit_bytes: u64,
    /// Cycles completed.
    pub cycles: u64,
    /// Those of cycles that somebody asked for.
    pub forced_cycles: u64,
    /// Nanoseconds the world stood, over all cycles, and at most.
    pub pause_total_nanos: u64,
    /// See pause_total_nanos.
    pub pause_max_nanos: u64,
    /// CPU nanoseconds the collector used, over all threads.
    pub gc_cpu_nanos: u64,
    /// Mutators attached.
    pub mutators: u64,
    /// Objects whose finalizers became due, and those of them whose finalizers have run.
    pub finalizers_due: u64,
    /// See finalizers_due.
    pub finalizers_run: u64,
    /// Cleanups that became due, and those of them that have run.
    pub cleanups_due: u64,
    /// See cleanups_due.
    pub cleanups_run: u64,
    /// Weak handles cleared because their object died.
    pub weak_cleared: u64,
    /// Ephemerons cleared because their key died.
    pub ephemerons_cleared: u64,
    /// Allocations that the profile sampled.
    pub profile_samples: u64,
    /// Bytes at which the next cycle should end; UINT64_MAX when there is none.
    pub goal_bytes: u64,
    /// The soft limit in force; UINT64_MAX when there is none.
    pub memory_limit_bytes: u64,
    /// Bytes obtained from the system and not given back: what counts against the soft limit.
    pub mapped_bytes: u64,
    /// Bytes outside the heap, as the program told.
    pub external_bytes: u64,
    /// Times the hard limit refused a span or external bytes.
    pub limit_errors: u64,
    /// Cycles that were due by the soft limit and held, because cycles had taken half of the time.
    pub held_cycles: u64,
    /// Calls of pressure hooks.
    pub pressure_calls: u64,
    /// Bytes given back to the system.
    pub scavenged_bytes: u64,
    /// Weak handles that still lead to an object.
    pub weak_handles: u64,
    /// Those of profile_samples that found no bucket.
    pub profile_overflows: u64,
}

/// Reads the statistics: `size` bytes of them to `*stats`, which is sizeof(mallocgc_stats) where the
/// program was compiled; fields this library does not know are zero. Stops nobody, and is exact
/// while the heap is at rest. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_read_stats(
    heap: *const mallocgc_heap,
    stats: *mut mallocgc_stats,
    size: usize,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        if stats.is_null() || size == 0 {
            return Err(Code::BadArgument);
        }
        let known = heap.heap.stats();
        let filled = mallocgc_stats {
            heap_alloc_bytes: known.heap_alloc,
            heap_objects: known.heap_objects,
            total_alloc_bytes: known.total_alloc,
            total_freed_bytes: known.total_freed,
            mallocs: known.mallocs,
            frees: known.frees,
            sys_bytes: known.sys,
            heap_inuse_bytes: known.heap_inuse,
            heap_idle_bytes: known.heap_idle,
            heap_released_bytes: known.heap_released,
            live_bytes: known.live_bytes,
            trigger_bytes: known.trigger,
            heap_limit_bytes: known.heap_limit,
            cycles: known.num_gc,
            forced_cycles: known.num_forced_gc,
            pause_total_nanos: known.pause_total_nanos,
            pause_max_nanos: heap.heap.pause_histogram().max(),
            gc_cpu_nanos: known.gc_cpu_nanos,
            mutators: known.mutators,
            finalizers_due: known.finalizers_queued,
            finalizers_run: known.finalizers_executed,
            cleanups_due: known.cleanups_queued,
            cleanups_run: known.cleanups_executed,
            weak_cleared: known.weak_cleared,
            ephemerons_cleared: heap.heap.special_counts().ephemerons_cleared,
            profile_samples: known.profile_samples,
            goal_bytes: known.next_gc,
            memory_limit_bytes: known.memory_limit,
            mapped_bytes: known.mapped_bytes,
            external_bytes: known.external_bytes,
            limit_errors: known.limit_errors,
            held_cycles: known.limiter_held_cycles,
            pressure_calls: known.pressure_calls,
            scavenged_bytes: known.scavenged_bytes,
            weak_handles: known.weak_handles,
            profile_overflows: known.profile_overflows,
        };
        let bytes = size.min(size_of::<mallocgc_stats>());
        // SAFETY: the caller's promise: `size` bytes may be written.
        unsafe {
            stats.cast::<u8>().write_bytes(0, size);
            std::ptr::copy_nonoverlapping((&raw const filled).cast::<u8>(), stats.cast(), bytes);
        }
        Ok(())
    })
}

/// The pause in nanoseconds that the share `quantile`, 0 to 1, of all pauses does not exceed; at
/// most an eighth too much. 0 before the first, and for arguments out of range. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_pause_quantile(heap: *const mallocgc_heap, quantile: f64) -> u64 {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        if !(0.0..=1.0).contains(&quantile) {
            return Err(Code::BadArgument);
        }
        Ok(heap.heap.pause_histogram().quantile(quantile))
    })
}

/// What mutators wait for.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_delay {
    /// The world standing, stopping included, in each cycle.
    Pause = 0,
    /// The last mutator to stop, in each cycle.
    TimeToStop = 1,
    /// The world to go on: each time one of them did.
    Blocked = 2,
    /// Marking for what they allocated: each time one of them did.
    Assist = 3,
}

/// As mallocgc_pause_quantile, of any mallocgc_delay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_delay_quantile(
    heap: *const mallocgc_heap,
    delay: u32,
    quantile: f64,
) -> u64 {
    guard_or(0, || {
        // SAFETY: the caller's promise.
        let heap = &unsafe { checked(heap) }?.heap;
        if !(0.0..=1.0).contains(&quantile) {
            return Err(Code::BadArgument);
        }
        let histogram = match delay {
            0 => heap.pause_histogram(),
            1 => heap.time_to_stop_histogram(),
            2 => heap.blocking_histogram(),
            3 => heap.assist_histogram(),
            _ => return Err(Code::BadArgument),
        };
        Ok(histogram.quantile(quantile))
    })
}

/// Sets the mean bytes between samples of the heap profile: 0 for none, 1 for every allocation. The old
/// rate goes to `*old` unless that is null. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_profile_rate(
    heap: *const mallocgc_heap,
    bytes: u64,
    old: *mut u64,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let before = unsafe { checked(heap) }?.heap.set_profile_rate(bytes);
        if !old.is_null() {
            // SAFETY: the caller's promise.
            unsafe { old.write(before) };
        }
        Ok(())
    })
}

/// Takes `length` bytes; 0 if they were written, anything else to give up.
pub type mallocgc_output_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, bytes: *const c_void, length: usize) -> i32>;

/// Bytes that go to the program's function.
pub(crate) struct Output {
    write: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> i32,
    data: Data,
}

impl Output {
    pub(crate) fn new(write: mallocgc_output_fn, data: Data) -> Outcome<Output> {
        Ok(Output { write: write.ok_or(Code::BadArgument)?, data })
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the program's function, with the word it gave.
        match unsafe { (self.write)(self.data.get(), bytes.as_ptr().cast(), bytes.len()) } {
            0 => Ok(bytes.len()),
            _ => Err(io::Error::other("the write function failed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the sampled heap profile, as of the last collections, in the format of `go tool pprof`. An object
/// appears two collections after its allocation, or one with MALLOCGC_FORCE_NOW_AND_SWEEP. Any thread.
///
/// @return mallocgc_error: BAD_ARGUMENT, IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_write_profile(
    heap: *const mallocgc_heap,
    write: mallocgc_output_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        let mut output = Output::new(write, Data(data))?;
        heap.heap.profile().write_pprof(&mut output).map_err(|_| Code::Io)
    })
}

/// What happened.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_event_kind {
    /// An object was allocated.
    Alloc = 0,
    /// An object was found dead; told before its cell can be handed out again.
    Free = 1,
    /// A cycle began.
    CycleBegin = 2,
    /// A cycle that had begun was given up, because a mutator reached no boundary in time.
    CyclePutOff = 3,
    /// A cycle ended.
    CycleEnd = 4,
    /// Of a kind that this header does not know.
    Other = 5,
    /// A mutator was attached; the listener is called on its thread.
    Attached = 6,
    /// A mutator is about to be detached, by its thread.
    Detached = 7,
}

/// Something that happened in a heap. Valid during the call of the listener.
#[repr(C)]
pub struct mallocgc_event {
    /// What; fields that are not said to be for it are 0.
    pub kind: mallocgc_event_kind,
    /// ALLOC: the number of the layout.
    pub layout: u32,
    /// ALLOC, FREE: the object's first byte.
    pub address: *const c_void,
    /// ALLOC, FREE: bytes from there to the end of its cell.
    pub bytes: usize,
    /// ALLOC: return addresses, innermost first.
    pub stack: *const usize,
    /// ALLOC: how many.
    pub stack_depth: usize,
    /// CYCLE_BEGIN, CYCLE_PUT_OFF, CYCLE_END: its number, from 1.
    pub cycle: u64,
    /// CYCLE_END: what it did.
    pub record: mallocgc_cycle,
    /// ATTACHED, DETACHED: how many there are now, or will be.
    pub mutators: u64,
}

/// What a cycle did.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mallocgc_cycle {
    /// Nanoseconds the mutators stood.
    pub stopped_nanos: u64,
    /// Those of stopped_nanos until the last had stopped.
    pub time_to_stop_nanos: u64,
    /// Nanoseconds of marking.
    pub mark_nanos: u64,
    /// CPU nanoseconds of all threads that marked.
    pub mark_cpu_nanos: u64,
    /// Bytes in objects before.
    pub heap_start_bytes: u64,
    /// Bytes in objects that are alive.
    pub live_bytes: u64,
    /// Objects that are alive.
    pub marked_objects: u64,
    /// Bytes at which the next cycle should end.
    pub next_goal_bytes: u64,
    /// Whether somebody asked for it: 1 or 0.
    pub forced: u32,
    /// Threads that marked.
    pub workers: u32,
    /// Nanoseconds of sweeping what the cycle before had left.
    pub finish_sweep_nanos: u64,
    /// Nanoseconds of deciding finalizers, cleanups, weak handles and ephemerons.
    pub finalize_nanos: u64,
    /// Bytes at which it should have ended.
    pub goal_bytes: u64,
    /// Bytes reached from roots directly.
    pub root_bytes: u64,
    /// Bytes outside the heap, as the program told.
    pub external_bytes: u64,
    /// Finalizers that became due.
    pub finalizers_due: u64,
    /// Cleanups that became due.
    pub cleanups_due: u64,
    /// Weak handles that were cleared.
    pub weak_cleared: u64,
    /// Of a cycle beside the mutators: nanoseconds of its first and of its last stop. Else 0.
    pub first_stop_nanos: u64,
    /// See first_stop_nanos.
    pub last_stop_nanos: u64,
    /// Of a cycle beside the mutators: CPU nanoseconds of mutators that marked for what they allocated.
    pub assist_nanos: u64,
    /// Whether it marked beside the mutators: 1 or 0.
    pub beside: u32,
    /// Mutators attached.
    pub mutators: u32,
}

impl From<&CycleRecord> for mallocgc_cycle {
    fn from(record: &CycleRecord) -> mallocgc_cycle {
        mallocgc_cycle {
            stopped_nanos: record.stopped_nanos,
            time_to_stop_nanos: record.time_to_stop_nanos,
            mark_nanos: record.mark_nanos,
            mark_cpu_nanos: record.mark_cpu_nanos,
            heap_start_bytes: record.heap_start_bytes,
            live_bytes: record.live_bytes,
            marked_objects: record.marked_objects,
            next_goal_bytes: record.next_goal_bytes,
            forced: u32::from(record.forced),
            workers: record.workers,
            finish_sweep_nanos: record.finish_sweep_nanos,
            finalize_nanos: record.finalize_nanos,
            goal_bytes: record.goal_bytes,
            root_bytes: record.root_bytes,
            external_bytes: record.external_bytes,
            finalizers_due: record.finalizers_queued,
            cleanups_due: record.cleanups_queued,
            weak_cleared: record.weak_cleared,
            first_stop_nanos: record.beside.map_or(0, |beside| beside.flip_nanos),
            last_stop_nanos: record.beside.map_or(0, |beside| beside.end_nanos),
            assist_nanos: record.beside.map_or(0, |beside| beside.assist_nanos),
            beside: u32::from(record.beside.is_some()),
            mutators: record.mutators,
        }
    }
}

/// Is told of events, on any thread, perhaps on several at once. It must not enter a heap.
pub type mallocgc_listener_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, event: *const mallocgc_event)>;

type ListenerFn = unsafe extern "C" fn(*mut c_void, *const mallocgc_event);

fn tell(listener: ListenerFn, data: Data, event: &Event<'_>) {
    let mut told = mallocgc_event {
        kind: mallocgc_event_kind::Other,
        layout: 0,
        address: std::ptr::null(),
        bytes: 0,
        stack: std::ptr::null(),
        stack_depth: 0,
        cycle: 0,
        record: mallocgc_cycle::default(),
        mutators: 0,
    };
    match *event {
        Event::Alloc { address, size, layout, stack } => {
            told.kind = mallocgc_event_kind::Alloc;
            told.layout = layout.0;
            told.address = address.as_ptr();
            told.bytes = size;
            told.stack = stack.as_ptr();
            told.stack_depth = stack.len();
        }
        Event::Free { address, size } => {
            told.kind = mallocgc_event_kind::Free;
            told.address = address.as_ptr();
            told.bytes = size;
        }
        Event::CycleBegin { number } => {
            told.kind = mallocgc_event_kind::CycleBegin;
            told.cycle = number;
        }
        Event::CyclePutOff { number } => {
            told.kind = mallocgc_event_kind::CyclePutOff;
            told.cycle = number;
        }
        Event::CycleEnd(record) => {
            told.kind = mallocgc_event_kind::CycleEnd;
            told.cycle = record.number;
            told.record = record.into();
        }
        Event::Attached { mutators } => {
            told.kind = mallocgc_event_kind::Attached;
            told.mutators = mutators;
        }
        Event::Detached { mutators } => {
            told.kind = mallocgc_event_kind::Detached;
            told.mutators = mutators;
        }
        _ => {}
    }
    // SAFETY: the program's function, with the word it gave.
    unsafe { listener(data.get(), &told) };
}

/// Sets who is told of every allocation, death, cycle and mutator; null ends it. While there is one every allocation is
/// slow. To miss nothing, set it before threads attach. Any thread; one told of before may still be
/// called on other threads when this returns.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_listener(
    heap: *const mallocgc_heap,
    listener: mallocgc_listener_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(heap) }?
            .heap
            .set_listener_for(Interest::All, self::listener(listener, data));
        Ok(())
    })
}

/// As mallocgc_set_listener, for a listener that is told of cycles and mutators only, which costs allocation nothing. A heap has
/// one listener of either kind.
///
/// @return mallocgc_error: BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_set_cycle_listener(
    heap: *const mallocgc_heap,
    listener: mallocgc_listener_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { checked(heap) }?
            .heap
            .set_listener_for(Interest::Cycles, self::listener(listener, data));
        Ok(())
    })
}

fn listener(listener: mallocgc_listener_fn, data: *mut c_void) -> Option<Listener> {
    let data = Data(data);
    listener
        .map(|listener| Arc::new(move |event: &Event<'_>| tell(listener, data, event)) as Listener)
}
