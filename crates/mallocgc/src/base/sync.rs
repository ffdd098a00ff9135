//! Atomics and locks, so that loom can replace them, and the ranks of locks.
//!
//! A thread takes locks in rising rank only; debug builds check it.
//!
//! Types with a loom model, which are small and stand alone, take their atomics
//! from [`model`]: under `--cfg loom` those are loom's. All others stay as they are
//! there, because they lie in zeroed memory, in statics, or in records whose size
//! matters; such a build compiles everything and runs the models only.

pub use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering, compiler_fence, fence,
};

/// Atomics and locks that loom replaces, and how to wait for another thread
/// under it.
pub mod model {
    #[cfg(not(loom))]
    pub use super::{Lock, LockGuard, Signal};
    #[cfg(not(loom))]
    pub use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
    };
    #[cfg(loom)]
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
    };

    #[cfg(loom)]
    pub use locks::{Lock, LockGuard, Signal};

    /// The lock and the signal of `sync` on loom's. Ranks are not checked:
    /// loom's threads share one thread's locals.
    #[cfg(loom)]
    mod locks {
        #![allow(missing_docs, reason = "they are told at the types these stand for")]

        use crate::base::sync::Rank;
        use loom::sync::{Condvar, Mutex, MutexGuard};

        #[derive(Debug)]
        pub struct Lock<T>(Mutex<T>);

        impl<T> Lock<T> {
            pub fn new(_rank: Rank, value: T) -> Lock<T> {
                Lock(Mutex::new(value))
            }

            pub fn lock(&self) -> LockGuard<'_, T> {
                LockGuard(Some(self.0.lock().unwrap()))
            }
        }

        #[derive(Debug)]
        pub struct LockGuard<'a, T>(Option<MutexGuard<'a, T>>);

        impl<T> core::ops::Deref for LockGuard<'_, T> {
            type Target = T;
            fn deref(&self) -> &T {
                self.0.as_ref().unwrap()
            }
        }

        impl<T> core::ops::DerefMut for LockGuard<'_, T> {
            fn deref_mut(&mut self) -> &mut T {
                self.0.as_mut().unwrap()
            }
        }

        #[derive(Debug)]
        pub struct Signal(Condvar);

        impl Signal {
            pub fn new() -> Signal {
                Signal(Condvar::new())
            }

            pub fn notify_all(&self) {
                self.0.notify_all();
            }

            pub fn notify_one(&self) {
                self.0.notify_one();
            }

            pub fn wait<T>(&self, guard: &mut LockGuard<'_, T>) {
                let inner = guard.0.take().unwrap();
                guard.0 = Some(self.0.wait(inner).unwrap());
            }
        }
    }

    /// Waits a little for another thread, longer at each `attempt`.
    pub fn pause(attempt: u32) {
        #[cfg(loom)]
        {
            let _ = attempt;
            loom::thread::yield_now();
        }
        #[cfg(not(loom))]
        match attempt {
            // A cache line takes some 100 ns to come over; a pause some 10 to 40.
            0..6 => (0..1u32 << attempt).for_each(|_| core::hint::spin_loop()),
            6..64 => std::thread::yield_now(),
            _ => std::thread::sleep(std::time::Duration::from_micros(100)),
        }
    }
}

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The order in which locks are taken: a thread holding one takes only locks
/// further down this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// One cycle at a time (the origin's `worldsema`).
    Cycle,
    /// One marker beside the mutators.
    Marker,
    /// The list of mutators and their stopping.
    World,
    /// Root tables.
    Roots,
    /// The registry of layouts.
    Layouts,
    /// The list of span classes.
    SpanClasses,
    /// Spans of one span class.
    Central,
    /// Specials of a span.
    Specials,
    /// Queue of finalizers and cleanups.
    Queue,
    /// Free records of specials, and free tables of them.
    Records,
    /// Mark work shared between workers.
    Work,
    /// References that mutators noted for the marker.
    Shades,
    /// Profile buckets and event sinks.
    Observe,
    /// Span records, page bitmap, growth of the heap.
    Pages,
    /// Memory for the heap's own records.
    Meta,
}

#[cfg(debug_assertions)]
mod held {
    use super::Rank;
    use std::cell::Cell;

    thread_local! {
        /// One bit per rank this thread holds.
        static HELD: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn take(rank: Rank) {
        let bit = 1u32 << rank as u8;
        // A thread in its last moments has no thread-local; nothing to check.
        let _ = HELD.try_with(|held| {
            let now = held.get();
            assert!(now < bit, "lock {rank:?} taken while holding ranks {now:#b}");
            held.set(now | bit);
        });
    }

    pub(super) fn give(rank: Rank) {
        let _ = HELD.try_with(|held| held.set(held.get() & !(1u32 << rank as u8)));
    }
}

/// A mutual-exclusion lock with a [`Rank`]; poisoning is ignored, since no
/// user code runs under a lock.
#[derive(Debug)]
pub struct Lock<T> {
    rank: Rank,
    mutex: Mutex<T>,
}

impl<T> Lock<T> {
    /// A lock of the given rank around `value`.
    pub const fn new(rank: Rank, value: T) -> Lock<T> {
        Lock { rank, mutex: Mutex::new(value) }
    }

    /// Takes the lock.
    ///
    /// # Panics
    ///
    /// In debug builds when this thread holds a lock of the same or a higher rank.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        #[cfg(debug_assertions)]
        held::take(self.rank);
        let inner = self.mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        LockGuard { rank: self.rank, inner: Some(inner) }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        let inner = match self.mutex.try_lock() {
            Ok(inner) => inner,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        #[cfg(debug_assertions)]
        held::take(self.rank);
        Some(LockGuard { rank: self.rank, inner: Some(inner) })
    }

    /// The value, when no one else can hold the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Access to the value of a [`Lock`] until dropped.
#[derive(Debug)]
pub struct LockGuard<'a, T> {
    #[cfg_attr(not(debug_assertions), allow(dead_code, reason = "checked in debug builds"))]
    rank: Rank,
    /// `None` only while a [`Signal`] waits.
    inner: Option<MutexGuard<'a, T>>,
}

impl<T> core::ops::Deref for LockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("a guard in use holds its lock")
    }
}

impl<T> core::ops::DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("a guard in use holds its lock")
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        held::give(self.rank);
    }
}

/// A condition variable for a [`Lock`].
#[derive(Debug, Default)]
pub struct Signal(Condvar);

impl Signal {
    /// A signal nobody waits for.
    pub const fn new() -> Signal {
        Signal(Condvar::new())
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Gives the lock up, waits for a notification, and takes it again.
    pub fn wait<T>(&self, guard: &mut LockGuard<'_, T>) {
        let inner = guard.inner.take().expect("a guard in use holds its lock");
        guard.inner = Some(self.0.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// As [`wait`](Signal::wait), for at most `limit`; `false` when the time ran out.
    pub fn wait_for<T>(&self, guard: &mut LockGuard<'_, T>, limit: Duration) -> bool {
        let inner = guard.inner.take().expect("a guard in use holds its lock");
        let (inner, result) =
            self.0.wait_timeout(inner, limit).unwrap_or_else(|poisoned| poisoned.into_inner());
        guard.inner = Some(inner);
        !result.timed_out()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn taking_locks_against_their_rank_panics() {
        let outer = Lock::new(Rank::Meta, ());
        let inner = Lock::new(Rank::Central, ());
        let _held = outer.lock();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(inner.lock())));
        assert!(result.is_err(), "Central was taken while holding Meta");
    }
}
