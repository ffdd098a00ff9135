//! Faults injected in place of the system's: support for tests, always compiled.
//!
//! Every fallible call of this layer asks `check` first. While no [`Guard`] lives that
//! is one relaxed load. A guard counts the calls in its scope and refuses the
//! n-th, or all from the n-th on, with the error the system would give. A test runs
//! one scenario under n = 1, 2, 3, … until no call was left to refuse:
//!
//! ```
//! use mallocgc::os::{Reservation, fault};
//!
//! for n in 1.. {
//!     let guard = fault::fail_nth(n);
//!     let result = Reservation::reserve(1 << 20, 4096).and_then(|r| r.commit(0, 4096));
//!     if guard.failed() == 0 {
//!         assert!(result.is_ok());
//!         break;
//!     }
//!     assert!(result.is_err());
//! }
//! ```
//!
//! Two scopes: the calling thread ([`fail_nth`]), which leaves other tests of the
//! process alone, and the whole process ([`fail_nth_in_process`]), for calls
//! that background threads make. One guard per scope at a time.
//!
//! Protection: the thread's plan is a thread-local cell; the process's is two
//! atomics, whose order against other memory does not matter.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::OsError;

// These are `core`'s atomics and not `base::sync`'s: loom has no statics, and
// has nothing to find here.

/// How many guards live. Zero is the normal state.
static GUARDS: AtomicU32 = AtomicU32::new(0);

/// The plan of the process.
static PROCESS_FROM: AtomicU64 = AtomicU64::new(u64::MAX);
static PROCESS_COUNT: AtomicU64 = AtomicU64::new(0);
static PROCESS_CALLS: AtomicU64 = AtomicU64::new(0);
static PROCESS_FAILED: AtomicU64 = AtomicU64::new(0);

/// Held by the guard of the process, so that two tests take turns.
static PROCESS_TURN: Mutex<()> = Mutex::new(());

/// What a thread refuses.
#[derive(Clone, Copy)]
struct Plan {
    /// The first call to refuse, counting from 1; 0 when there is no guard.
    from: u64,
    /// How many to refuse.
    count: u64,
    calls: u64,
    failed: u64,
}

impl Plan {
    const NONE: Plan = Plan { from: 0, count: 0, calls: 0, failed: 0 };
}

thread_local! {
    static THREAD: Cell<Plan> = const { Cell::new(Plan::NONE) };
}

/// Fails in place of the system when a guard says so; every fallible call begins with it.
#[inline]
pub(super) fn check(call: &'static str, errno: i32) -> Result<(), OsError> {
    // Relaxed: a guard concerns the calls of its own thread, or those of threads
    // that its test started or waits for, which orders them.
    if GUARDS.load(Relaxed) == 0 {
        return Ok(());
    }
    check_slow(call, errno)
}

#[cold]
fn check_slow(call: &'static str, errno: i32) -> Result<(), OsError> {
    let mut refuse = false;
    // The cell has no destructor, so a dying thread has it too.
    THREAD.with(|cell| {
        let mut plan = cell.get();
        if plan.from != 0 {
            plan.calls += 1;
            if plan.calls >= plan.from && plan.calls - plan.from < plan.count {
                plan.failed += 1;
                refuse = true;
            }
            cell.set(plan);
        }
    });
    // Relaxed, all of these: counts, which order nothing.
    let from = PROCESS_FROM.load(Relaxed);
    if from != u64::MAX {
        let number = PROCESS_CALLS.fetch_add(1, Relaxed) + 1;
        if number >= from && number - from < PROCESS_COUNT.load(Relaxed) {
            PROCESS_FAILED.fetch_add(1, Relaxed);
            refuse = true;
        }
    }
    if refuse { Err(OsError { call, errno }) } else { Ok(()) }
}

/// Refuses the `n`-th fallible call (from 1) that this thread makes while the
/// guard lives; 0 refuses none and only counts.
///
/// # Panics
///
/// When this thread has such a guard already.
pub fn fail_nth(n: u64) -> Guard {
    Guard::of_thread(n, 1)
}

/// Refuses the `n`-th fallible call of this thread and all after it: a machine
/// that has run out of memory and stays so.
///
/// # Panics
///
/// When this thread has such a guard already.
pub fn fail_from(n: u64) -> Guard {
    Guard::of_thread(n, u64::MAX)
}

/// As [`fail_nth`], for the calls of all threads. Waits while another such guard lives.
pub fn fail_nth_in_process(n: u64) -> Guard {
    Guard::of_process(n, 1)
}

/// As [`fail_from`], for the calls of all threads. Waits while another such guard lives.
pub fn fail_from_in_process(n: u64) -> Guard {
    Guard::of_process(n, u64::MAX)
}

/// Faults are injected until this is dropped.
#[derive(Debug)]
pub struct Guard {
    /// `None`: the scope is the thread.
    turn: Option<MutexGuard<'static, ()>>,
    /// The plan of a thread must be cleared on that thread.
    _not_send: PhantomData<*mut ()>,
}

impl Guard {
    fn of_thread(from: u64, count: u64) -> Guard {
        let (from, count) = if from == 0 { (1, 0) } else { (from, count) };
        let old = THREAD.replace(Plan { from, count, ..Plan::NONE });
        assert_eq!(old.from, 0, "this thread injects faults already");
        GUARDS.fetch_add(1, Relaxed);
        Guard { turn: None, _not_send: PhantomData }
    }

    fn of_process(from: u64, count: u64) -> Guard {
        let (from, count) = if from == 0 { (1, 0) } else { (from, count) };
        let turn = PROCESS_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        PROCESS_CALLS.store(0, Relaxed);
        PROCESS_FAILED.store(0, Relaxed);
        PROCESS_COUNT.store(count, Relaxed);
        PROCESS_FROM.store(from, Relaxed);
        GUARDS.fetch_add(1, Relaxed);
        Guard { turn: Some(turn), _not_send: PhantomData }
    }

    /// Fallible calls made in the guard's scope so far, refused ones included.
    pub fn calls(&self) -> u64 {
        if self.turn.is_some() { PROCESS_CALLS.load(Relaxed) } else { THREAD.get().calls }
    }

    /// How many of them were refused.
    pub fn failed(&self) -> u64 {
        if self.turn.is_some() { PROCESS_FAILED.load(Relaxed) } else { THREAD.get().failed }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDS.fetch_sub(1, Relaxed);
        if self.turn.is_some() {
            PROCESS_FROM.store(u64::MAX, Relaxed);
        } else {
            THREAD.set(Plan::NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Result<(), OsError> {
        check("test", libc::ENOMEM)
    }

    #[test]
    fn the_nth_call_of_the_thread_fails_and_no_other() {
        assert!(call().is_ok());
        let guard = fail_nth(3);
        assert_eq!([call(), call(), call(), call()].map(|r| r.is_ok()), [true, true, false, true]);
        assert_eq!((guard.calls(), guard.failed()), (4, 1));
        std::thread::scope(|s| {
            s.spawn(|| assert!((0..5).all(|_| call().is_ok()), "another thread's plan"));
        });
        drop(guard);
        assert!(call().is_ok());
        let guard = fail_from(2);
        assert_eq!([call(), call(), call()].map(|r| r.is_ok()), [true, false, false]);
        drop(guard);
        let guard = fail_nth(0);
        assert!(call().is_ok());
        assert_eq!((guard.calls(), guard.failed()), (1, 0));
    }
}
