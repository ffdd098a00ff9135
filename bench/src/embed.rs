//! What every program on the raw interface writes for itself once: a heap with its layouts, errors that end
//! the program, and the heap's own figures at the end. Of these the ones on the safe interface use the settings and
//! the figures.
//!
//! The workloads follow one rule: allocation never collects, so references in local variables are safe
//! from one poll to the next; what must live longer is on the root stack or in a handle.

use crate::case::RunError;
use crate::host::resident_bytes;
use crate::report::Outcome;
use mallocgc::raw::{AllocError, Config, Force, Heap, Layout, Mutator, TypeLayout};
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// The settings a user gets.
///
/// The environment's `MALLOCGC_TRACE` is the trace level, as `GODEBUG=gctrace=1` is for Go, and
/// `MALLOCGC_CONCURRENT` the bytes from which on a heap is marked beside its mutators.
pub(crate) fn settings(config: Config) -> Config {
    fn number<N: std::str::FromStr>(name: &str) -> Option<N> {
        std::env::var(name).ok().and_then(|text| text.parse().ok())
    }
    Config {
        trace_level: number("MALLOCGC_TRACE").unwrap_or(0),
        concurrent_from_bytes: number("MALLOCGC_CONCURRENT")
            .unwrap_or(config.concurrent_from_bytes),
        ..config
    }
}

/// The answer and a heap's own figures, while it is still there.
pub(crate) fn outcome_of(heap: &Heap, check: u64) -> Outcome {
    let resident_end_bytes = Some(resident_bytes());
    let stops = heap.pause_histogram();
    Outcome {
        check,
        collections: heap.stats().num_gc,
        stop_max_nanos: stops.max(),
        stop_p99_nanos: stops.quantile(0.99),
        resident_end_bytes,
        metrics: BTreeMap::new(),
    }
}

/// A heap with the settings a user gets.
pub(crate) struct Session {
    pub(crate) heap: Heap,
}

impl Session {
    /// See [`settings`].
    pub(crate) fn new() -> Result<Session, RunError> {
        Session::with(Config::default())
    }

    /// As [`new`](Session::new), for a program that wants short stops.
    pub(crate) fn concurrent() -> Result<Session, RunError> {
        Session::with(Config { concurrent_from_bytes: 4 << 20, ..Config::default() })
    }

    fn with(config: Config) -> Result<Session, RunError> {
        let heap = Heap::new(settings(config)).map_err(RunError::failed("heap"))?;
        Ok(Session { heap })
    }

    pub(crate) fn attach(&self) -> Result<Mutator, RunError> {
        self.heap.attach().map_err(RunError::failed("attach"))
    }

    pub(crate) fn layout(&self, layout: &TypeLayout) -> Result<Layout, RunError> {
        self.heap.layout(layout).map_err(RunError::failed("layout"))
    }

    /// Layout of an array of references.
    pub(crate) fn references(&self) -> Result<Layout, RunError> {
        self.layout(&TypeLayout::repeat(1, 1))
    }

    /// The answer and the heap's own figures.
    pub(crate) fn outcome(&self, check: u64) -> Outcome {
        outcome_of(&self.heap, check)
    }

    /// Runs `work` on `threads` threads, each a mutator; on this thread, as `own`, when one is
    /// enough. The results come in the order of the threads.
    pub(crate) fn on_threads<R: Send>(
        &self,
        own: &mut Mutator,
        threads: u32,
        work: impl Fn(&mut Mutator, u32) -> R + Sync,
    ) -> Vec<R> {
        if threads == 1 {
            return vec![work(own, 0)];
        }
        let work = &work;
        // This thread only waits; to the heap it counts as stopped.
        own.blocking(|| {
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|thread| {
                        scope.spawn(move || {
                            let mut mutator = self.heap.attach().expect("one more mutator");
                            work(&mut mutator, thread)
                        })
                    })
                    .collect();
                running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            })
        })
    }
}

impl From<AllocError> for RunError {
    fn from(error: AllocError) -> RunError {
        RunError::failed("allocation")(error)
    }
}

/// Stores a reference into a field of an object.
///
/// # Safety
///
/// As for [`Mutator::write`].
#[inline(always)]
pub(crate) unsafe fn set<T>(mutator: &Mutator, slot: *mut *mut T, value: *mut T) {
    // SAFETY: the caller's promise.
    unsafe { mutator.write(slot.cast(), value.cast()) }
}

/// Collects and sweeps.
pub(crate) fn collect(mutator: &Mutator) -> Result<(), RunError> {
    mutator.gc(Force::NowAndSweep).map_err(RunError::failed("collection"))
}

/// Objects as the workloads see them. A benchmark without memory has nothing to go on with.
pub(crate) trait OrExhausted<T> {
    /// The object, as what it is.
    fn or_exhausted(self) -> *mut T;
}

impl<T> OrExhausted<T> for Result<NonNull<u8>, AllocError> {
    #[inline(always)]
    fn or_exhausted(self) -> *mut T {
        match self {
            Ok(object) => object.as_ptr().cast(),
            Err(error) => exhausted(error),
        }
    }
}

#[cold]
#[inline(never)]
fn exhausted(error: AllocError) -> ! {
    panic!("no memory for the workload: {error}")
}

/// An object as the root functions want it.
///
/// # Panics
///
/// When it is null.
pub(crate) fn object<T>(object: *mut T) -> NonNull<u8> {
    NonNull::new(object.cast()).expect("an object is not null")
}
