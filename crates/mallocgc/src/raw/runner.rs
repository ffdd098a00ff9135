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
//! Records are taken in small batches. What they keep alive stays a root of the
//! queue until its call has ended. A call gets a frame of the root stack, which
//! looks empty to it and is gone after it, however it ended.
//!
//! A function may put another mutator in the place of the one it is given; the
//! two are then exchanged, as safe code may do with any values. The call counts
//! as one that panicked, the rest of the batch is queued again, and this run is
//! over: what is left runs when the heap's thread has attached anew, or when the
//! owner calls again, on a mutator of this heap.
//!
//! Inside a function nothing else is run and nothing is waited for: it would be
//! waiting for itself.
//!
//! Protection: user code runs with no lock held. A panic ends with its call.

use crate::base::Address;
use crate::heap::special::queue::Queue;
use crate::heap::special::record::{Kind, RecordId};
use crate::os::OsError;
use crate::raw::heap::{Heap, HeapError, Inner, Owner, SafeSection};
use crate::raw::mutator::Mutator;
use crate::raw::{action, drop_in_place};
use crate::world::callback;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Records taken from a queue at a time.
pub(crate) const BATCH: usize = 32;

/// How long a thread waits that got no memory to attach.
const RETRY: Duration = Duration::from_millis(10);

thread_local! {
    /// Whether a finalizer or cleanup runs on this thread.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may neither run what is queued nor wait for it.
fn is_inside() -> bool {
    // A thread past its thread-locals runs nothing.
    callback::is_inside() || RUNNING.try_with(Cell::get).unwrap_or(false)
}

/// What a run came to.
#[derive(Clone, Copy, Default)]
struct Ran {
    count: usize,
    /// The mutator is another's now.
    exchanged: bool,
}

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

    /// Drops the closures of everything that has not run, and the payloads of
    /// objects that are to be dropped. The heap ends.
    pub(crate) fn discard_specials(&self) {
        self.space.specials.drain(|kind, object, payload| {
            if kind == Kind::Drop {
                // SAFETY: attached by `add_drop`; `drain` passes each once.
                unsafe { drop_in_place::run(payload, object) };
            } else {
                // SAFETY: finalizers and cleanups carry packed closures, and
                // `drain` passes each once.
                unsafe { action::discard(payload) };
            }
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
        let spawned = self.spawn_runner(duty);
        if spawned.is_err() {
            started.store(false, Ordering::Relaxed);
        }
        spawned
    }

    fn spawn_runner(&self, duty: Duty) -> Result<(), OsError> {
        let name = match duty {
            Duty::Finalizers => "mallocgc-fin",
            Duty::Cleanups => "mallocgc-clean",
        };
        let owner = std::sync::Arc::downgrade(&self.owner);
        let inner = self.inner();
        inner.threads.spawn(inner, name, move |inner| run(inner, &owner, duty))
    }

    /// Waits until every finalizer that is due has run; `false` when `limit`
    /// passes first, and at once inside a finalizer, cleanup or callback. The
    /// thread must not be an active mutator of this heap: a mutator has a
    /// method of its own. [`Duration::MAX`] is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// use std::time::Duration;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.set_finalizer(object, |_, _| ())?;
    /// drop(mutator);
    /// heap.gc(Force::Now)?;
    /// assert!(heap.wait_finalizers(Duration::from_secs(60)));
    /// assert_eq!(heap.special_counts().finalizers.executed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_finalizers(&self, limit: Duration) -> bool {
        !is_inside() && self.inner().queue(Duty::Finalizers).wait_until_idle(limit)
    }

    /// As [`wait_finalizers`](Heap::wait_finalizers), for cleanups.
    pub fn wait_cleanups(&self, limit: Duration) -> bool {
        !is_inside() && self.inner().queue(Duty::Cleanups).wait_until_idle(limit)
    }
}

/// The body of a thread that runs what is queued.
fn run(inner: &Inner, owner: &Weak<Owner>, duty: Duty) {
    // After an exchange at once: perhaps the thread is still attached, and
    // must not wait for work so.
    let mut exchanged = false;
    while exchanged || inner.queue(duty).wait_for_work() {
        let Some(owner) = owner.upgrade() else { return };
        let heap = Heap { owner };
        match heap.attach() {
            Ok(mut mutator) => {
                drop(heap);
                loop {
                    let ran = mutator.run_queue(duty, usize::MAX);
                    exchanged = ran.exchanged;
                    if ran.count == 0 || exchanged {
                        break;
                    }
                }
                // Perhaps the last hold on the heap, which then ends here. A
                // mutator that was left in its place is detached.
                drop(mutator);
            }
            // A finalizer has kept the mutator it was given, in a thread-local
            // perhaps. This thread is of no use any more; it detaches by ending.
            Err(HeapError::AlreadyAttached) if heap.spawn_runner(duty).is_ok() => return,
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
    /// must be in a root. Inside a callback, a finalizer or a cleanup nothing is
    /// run.
    ///
    /// To a finalizer the root stack of the mutator it is given looks empty, and
    /// what it pushes is gone when it returns or panics. A finalizer that puts
    /// another mutator in the place of the one it is given counts as one that
    /// panicked; the two mutators stay exchanged, and what has not run stays
    /// queued for the next call on a mutator of this heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// let heap = Heap::new(Config { background: false, ..Config::default() })?;
    /// let mut mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.set_finalizer(object, |mutator, _| mutator.truncate_roots(0))?;
    /// let kept = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.push_root(kept);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(mutator.run_finalizers(usize::MAX), 1);
    /// assert_eq!(mutator.root(0), kept);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_finalizers(&mut self, max: usize) -> usize {
        self.run_queue(Duty::Finalizers, max).count
    }

    /// Runs up to `max` cleanups that are due, as
    /// [`run_finalizers`](Mutator::run_finalizers).
    pub fn run_cleanups(&mut self, max: usize) -> usize {
        self.run_queue(Duty::Cleanups, max).count
    }

    /// Waits until every finalizer that is due has run; `false` when `limit`
    /// passes first, and at once inside a finalizer, cleanup or callback.
    /// [`Duration::MAX`] is no limit. A boundary.
    pub fn wait_finalizers(&mut self, limit: Duration) -> bool {
        self.wait_queue(Duty::Finalizers, limit)
    }

    /// As [`wait_finalizers`](Mutator::wait_finalizers), for cleanups.
    pub fn wait_cleanups(&mut self, limit: Duration) -> bool {
        self.wait_queue(Duty::Cleanups, limit)
    }

    fn wait_queue(&mut self, duty: Duty, limit: Duration) -> bool {
        if is_inside() {
            return false;
        }
        let inner = self.inner();
        let _safe = SafeSection::begin(inner, self.record());
        inner.queue(duty).wait_until_idle(limit)
    }

    fn run_queue(&mut self, duty: Duty, max: usize) -> Ran {
        let mut all = Ran::default();
        if is_inside() {
            return all;
        }
        while all.count < max && !all.exchanged {
            let ran = self.run_batch(duty, BATCH.min(max - all.count));
            if ran.count == 0 {
                break;
            }
            all = Ran { count: all.count + ran.count, exchanged: ran.exchanged };
        }
        all
    }

    fn run_batch(&mut self, duty: Duty, max: usize) -> Ran {
        let mut batch = [None::<RecordId>; BATCH];
        // Keeps the heap and its records, whatever becomes of this mutator.
        let heap = self.heap().clone();
        let inner = heap.inner();
        let records = &inner.space.specials.records;
        let taken = inner.queue(duty).take(records, &mut batch[..max]);
        let mut ran = Ran::default();
        if taken == 0 {
            return ran;
        }
        let mut panicked = 0;
        for &id in batch[..taken].iter().flatten() {
            let failed = self.run_one(inner, id);
            // What it kept alive is collectable from here on.
            records.get(id).set_through();
            ran.count += 1;
            ran.exchanged = self.heap().inner().id != inner.id;
            panicked += usize::from(failed || ran.exchanged);
            if ran.exchanged {
                break;
            }
            self.poll();
        }
        inner.queue(duty).finish(records, &batch[..taken], ran.count, panicked);
        records.recycle(batch[..ran.count].iter().flatten().copied());
        ran
    }

    /// Runs what a record carries, in a frame of the root stack; whether it
    /// panicked. The mutator may be another's afterwards.
    fn run_one(&mut self, inner: &Inner, id: RecordId) -> bool {
        let payload = inner.space.specials.records.get(id).payload();
        let subject = subject(inner, id).as_ptr();
        let record = self.record_pointer();
        let frame = self.record().roots.begin_frame();
        // False before: nothing is run inside.
        let _ = RUNNING.try_with(|running| running.set(true));
        let panicked = contains_panic(|| {
            // SAFETY: records in these queues carry packed closures, and this
            // one was taken once.
            unsafe { action::run(payload, self, subject) };
        });
        let _ = RUNNING.try_with(|running| running.set(false));
        // SAFETY: records live as long as their heap, which the caller keeps.
        let record = unsafe { record.as_ref() };
        // An exchanged mutator that is still this thread's gets its stack back.
        // Was it detached, the frame went with it, and the record may be
        // another thread's.
        if self.record_pointer().as_ptr().cast_const() == core::ptr::from_ref(record)
            || inner.world.is_attached_here(record)
        {
            record.roots.end_frame(&frame);
        }
        panicked
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
pub(crate) fn contains_panic(call: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { return false };
    // Dropping what was thrown may panic in turn.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        core::mem::forget(second);
    }
    true
}
