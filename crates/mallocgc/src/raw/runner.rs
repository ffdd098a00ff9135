//! Running what is queued: finalizers by one thread, cleanups by another, or
//! both by the heap's owner.
//!
//! The first finalizer starts the thread `mallocgc-fin`, the first cleanup
//! `mallocgc-clean`, so that a finalizer that takes long delays no cleanup. A
//! thread holds the heap itself only while it runs something: it becomes a
//! mutator when work comes and detaches when there is none. With
//! `Config::background` off no thread is started and
//! [`Mutator::run_finalizers`] does the work.
//!
//! Records are taken in small batches. What they keep alive moves from the
//! queue to the mutator's root stack, last first, so that after each call the
//! stack is cut by one and the object can be collected.
//!
//! Protection: user code runs with no lock held. A panic ends with its call.

use crate::base::Address;
use crate::heap::special::queue::Queue;
use crate::heap::special::record::{Kind, RecordId};
use crate::os::OsError;
use crate::raw::action;
use crate::raw::heap::{Heap, Inner, Owner, SafeSection};
use crate::raw::mutator::Mutator;
use crate::world::callback;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Records taken from a queue at a time.
const BATCH: usize = 32;

/// How long a thread waits that got no memory to attach.
const RETRY: Duration = Duration::from_millis(10);

/// Which queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Duty {
    Finalizers,
    Cleanups,
}

/// Which threads have been started.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    finalizers: AtomicBool,
    cleanups: AtomicBool,
}

impl Inner {
    fn queue(&self, duty: Duty) -> &Queue {
        match duty {
            Duty::Finalizers => &self.space.specials.finalizers,
            Duty::Cleanups => &self.space.specials.cleanups,
        }
    }

    /// Ends the wait of the threads that run things. The heap ends.
    pub(crate) fn close_queues(&self) {
        self.queue(Duty::Finalizers).close();
        self.queue(Duty::Cleanups).close();
    }

    /// Drops the closures of everything that has not run. The heap ends.
    pub(crate) fn discard_specials(&self) {
        self.space.specials.drain(|_, payload| {
            // SAFETY: finalizers and cleanups carry packed closures, and
            // `drain` passes each once.
            unsafe { action::discard(payload) };
        });
    }
}

impl Heap {
    /// Starts the thread of a duty, if it is to have one and has none.
    #[inline]
    pub(crate) fn ensure_runner(&self, duty: Duty) -> Result<(), OsError> {
        let inner = self.inner();
        let started = match duty {
            Duty::Finalizers => &inner.runners.finalizers,
            Duty::Cleanups => &inner.runners.cleanups,
        };
        // Relaxed: only whether to try; the queue's lock orders the rest.
        if started.load(Ordering::Relaxed) || !inner.config.background {
            return Ok(());
        }
        self.start_runner(duty, started)
    }

    #[cold]
    fn start_runner(&self, duty: Duty, started: &AtomicBool) -> Result<(), OsError> {
        if started.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let name = match duty {
            Duty::Finalizers => "mallocgc-fin",
            Duty::Cleanups => "mallocgc-clean",
        };
        let owner = std::sync::Arc::downgrade(&self.owner);
        let inner = self.inner();
        let spawned = inner.threads.spawn(inner, name, move |inner| run(inner, &owner, duty));
        if spawned.is_err() {
            started.store(false, Ordering::Relaxed);
        }
        spawned
    }

    /// Waits until every finalizer that is due has run; `false` when `limit`
    /// passes first. The thread must not be an active mutator of this heap:
    /// a mutator has a method of its own.
    pub fn wait_finalizers(&self, limit: Duration) -> bool {
        !callback::is_inside() && self.inner().queue(Duty::Finalizers).wait_until_idle(limit)
    }

    /// As [`wait_finalizers`](Heap::wait_finalizers), for cleanups.
    pub fn wait_cleanups(&self, limit: Duration) -> bool {
        !callback::is_inside() && self.inner().queue(Duty::Cleanups).wait_until_idle(limit)
    }
}

/// The body of a thread that runs what is queued.
fn run(inner: &Inner, owner: &Weak<Owner>, duty: Duty) {
    while inner.queue(duty).wait_for_work() {
        let Some(owner) = owner.upgrade() else { return };
        let heap = Heap { owner };
        match heap.attach() {
            Ok(mut mutator) => {
                drop(heap);
                while mutator.run_queue(duty, usize::MAX) != 0 {}
                // Perhaps the last hold on the heap, which then ends here.
                drop(mutator);
            }
            Err(_) => {
                drop(heap);
                std::thread::sleep(RETRY);
            }
        }
    }
}

impl Mutator {
    /// Runs up to `max` finalizers that are due, on this thread; returns how
    /// many. Each call is a boundary: every reference the thread still needs
    /// must be in a root. Inside a callback nothing is run.
    pub fn run_finalizers(&mut self, max: usize) -> usize {
        self.run_queue(Duty::Finalizers, max)
    }

    /// Runs up to `max` cleanups that are due, as
    /// [`run_finalizers`](Mutator::run_finalizers).
    pub fn run_cleanups(&mut self, max: usize) -> usize {
        self.run_queue(Duty::Cleanups, max)
    }

    /// Waits until every finalizer that is due has run; `false` when `limit`
    /// passes first. A boundary.
    pub fn wait_finalizers(&mut self, limit: Duration) -> bool {
        self.wait_queue(Duty::Finalizers, limit)
    }

    /// As [`wait_finalizers`](Mutator::wait_finalizers), for cleanups.
    pub fn wait_cleanups(&mut self, limit: Duration) -> bool {
        self.wait_queue(Duty::Cleanups, limit)
    }

    fn wait_queue(&mut self, duty: Duty, limit: Duration) -> bool {
        if callback::is_inside() {
            return false;
        }
        let inner = self.inner();
        let _safe = SafeSection::begin(inner, self.record());
        inner.queue(duty).wait_until_idle(limit)
    }

    fn run_queue(&mut self, duty: Duty, max: usize) -> usize {
        if callback::is_inside() {
            return 0;
        }
        let mut done = 0;
        while done < max {
            let ran = self.run_batch(duty, BATCH.min(max - done));
            if ran == 0 {
                break;
            }
            done += ran;
        }
        done
    }

    fn run_batch(&mut self, duty: Duty, max: usize) -> usize {
        let mut batch = [None::<RecordId>; BATCH];
        let heap = self.heap().clone();
        let inner = heap.inner();
        let base = self.root_count();
        // Room first, so that nothing that was taken is left without a root.
        let room = (0..max).take_while(|_| self.record().roots.push(Address::NULL)).count();
        let records = &inner.space.specials.records;
        let taken = inner.queue(duty).take(records, &mut batch[..room]);
        self.truncate_roots(base + taken);
        for (index, id) in batch[..taken].iter().flatten().enumerate() {
            self.record().roots.set(base + taken - 1 - index, subject(inner, *id));
        }
        let mut panicked = 0;
        for (index, &id) in batch[..taken].iter().flatten().enumerate() {
            let last = base + taken - 1 - index;
            let subject = self.record().roots.get(last).as_ptr();
            let payload = records.get(id).payload();
            let call = || {
                // SAFETY: records in these queues carry packed closures, and
                // this one was taken once.
                unsafe { action::run(payload, self, subject) };
                let count = self.root_count();
                assert!(count > last, "a finalizer cut {count} of the runner's roots");
            };
            panicked += usize::from(contains_panic(call));
            if self.root_count() > last {
                self.truncate_roots(last);
            }
            self.poll();
        }
        if taken != 0 {
            records.recycle(batch[..taken].iter().flatten().copied());
            inner.queue(duty).finish(taken, panicked);
        }
        taken
    }
}

/// What a record keeps alive: the object of a finalizer, the argument of a
/// cleanup, or nothing.
fn subject(inner: &Inner, id: RecordId) -> Address {
    let record = inner.space.specials.records.get(id);
    match record.place().is(Kind::Finalizer) {
        true => record.place().object(),
        false => record.argument().unwrap_or(Address::NULL),
    }
}

/// Calls a function; whether it panicked. The panic's hook has printed what
/// it was.
fn contains_panic(call: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { return false };
    // Dropping what was thrown may panic in turn.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        core::mem::forget(second);
    }
    true
}
