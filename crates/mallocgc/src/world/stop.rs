//! Stopping the world, and the mutators of a heap.
//!
//! A mutator is *active* while it may touch the heap and *safe* otherwise: in
//! a blocking section, parked, or detached. To stop the world the collector
//! raises the stop bit of the poll word and waits until every mutator is
//! safe; a mutator that becomes active looks at the bit afterwards and steps
//! back if it is up. Each side writes its own word and then reads the
//! other's, so that at least one of them sees the other; the mutator's fence
//! between the two is a compiler fence only, and the collector makes up for
//! it with a barrier executed by every running thread (`os::heavy_fence`).
//!
//! ```text
//! mutator                         collector
//! state = ACTIVE                  poll_word |= STOP
//! light_fence                     heavy_fence
//! poll_word & STOP ? step back    state == SAFE ? stopped : wait for it
//! ```
//!
//! A mutator that does not come to a boundary in time is named, the attempt
//! is given up, and the others go on: a collection is late, nobody hangs.
//!
//! Protection: the list is behind the world lock, which the collector keeps
//! while the world is stopped. The argument is in `docs/design/stopping.md`,
//! the model in `tests::loom_*`.

use crate::base::sync::{AtomicU32, Lock, LockGuard, Ordering, Rank, Signal};
use crate::heap::cache::CacheCounts;
use crate::heap::meta::{MetaError, MetaStat};
use crate::heap::space::Space;
use crate::os;
use crate::world::callback;
use crate::world::mutator::{ACTIVE, MutatorRecord, SAFE, ThreadLabel};
use Ordering::{Acquire, Relaxed, Release};
use core::ptr::NonNull;
use std::time::Duration;

/// Bit of the poll word: the world is stopping or stopped.
pub(crate) const STOP: u32 = 1;
/// Bit of the poll word: the heap has grown to its trigger.
pub(crate) const CYCLE_DUE: u32 = 2;

#[derive(Debug)]
struct Mutators {
    head: Option<NonNull<MutatorRecord>>,
    attached: usize,
    /// What detached mutators had allocated.
    retired: CacheCounts,
    seed: u64,
}

// SAFETY: records are reached through the list under the world lock, or by
// the thread that attached.
unsafe impl Send for Mutators {}

/// The mutators of one heap.
#[derive(Debug)]
pub struct World {
    poll_word: AtomicU32,
    mutators: Lock<Mutators>,
    /// A mutator has become safe while the world was stopping.
    arrived: Signal,
    resumed: Signal,
}

/// A mutator kept the world from stopping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopTimedOut {
    /// The thread that did not come to a boundary.
    pub thread: ThreadLabel,
    /// How long it was waited for.
    pub waited: Duration,
}

impl core::fmt::Display for StopTimedOut {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} reached no boundary in {:?}", self.thread, self.waited)
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mutators = Mutators { head: None, attached: 0, retired: CacheCounts::default(), seed };
        World {
            poll_word: AtomicU32::new(0),
            mutators: Lock::new(Rank::World, mutators),
            arrived: Signal::new(),
            resumed: Signal::new(),
        }
    }

    /// Whether a mutator at a boundary has something to do. One load.
    #[inline(always)]
    pub(crate) fn poll_word(&self) -> u32 {
        // Relaxed: the slow path that follows takes the lock.
        self.poll_word.load(Relaxed)
    }

    /// Address of the poll word, for generated code.
    pub(crate) fn poll_word_address(&self) -> *const u32 {
        core::ptr::from_ref(&self.poll_word).cast()
    }

    /// Asks the next mutator at a boundary to run a cycle.
    pub(crate) fn announce_cycle(&self) {
        self.poll_word.fetch_or(CYCLE_DUE, Relaxed);
    }

    pub(crate) fn withdraw_cycle(&self) {
        self.poll_word.fetch_and(!CYCLE_DUE, Relaxed);
    }

    /// A record for this thread, active.
    pub(crate) fn attach(&self, space: &Space) -> Result<NonNull<MutatorRecord>, MetaError> {
        let mut mutators = self.mutators.lock();
        let mut at = mutators.head;
        let mut found = None;
        while let Some(record) = at {
            // SAFETY: records live as long as the heap.
            let record_ref = unsafe { record.as_ref() };
            // Relaxed: read and written under the lock.
            if !record_ref.in_use.load(Relaxed) {
                found = Some(record);
                break;
            }
            at = NonNull::new(record_ref.next.load(Relaxed));
        }
        let record = match found {
            Some(record) => record,
            None => {
                mutators.seed = mutators.seed.wrapping_add(1);
                let fresh = MutatorRecord::new(mutators.seed).map_err(MetaError::OutOfMemory)?;
                let place = space.meta().alloc(
                    size_of::<MutatorRecord>(),
                    align_of::<MutatorRecord>(),
                    MetaStat::Caches,
                )?;
                let record = place.cast::<MutatorRecord>();
                // SAFETY: fresh memory of this size and alignment.
                unsafe { record.write(fresh) };
                // SAFETY: just written.
                let next = mutators.head.map_or(core::ptr::null_mut(), NonNull::as_ptr);
                unsafe { record.as_ref() }.next.store(next, Relaxed);
                mutators.head = Some(record);
                record
            }
        };
        // SAFETY: as above.
        let record_ref = unsafe { record.as_ref() };
        record_ref.in_use.store(true, Relaxed);
        record_ref.thread.set_current();
        mutators.attached += 1;
        drop(mutators);
        self.enter(record_ref);
        Ok(record)
    }

    /// Ends a mutator: its spans go back, its counts are kept.
    pub(crate) fn detach(&self, space: &Space, record: &MutatorRecord) {
        record.cache.flush(space);
        record.roots.truncate(0);
        // SAFETY: the owner's thread; the collector looks only when stopped.
        let callback = unsafe { &mut *record.callback.0.get() }.take();
        record.blocking_depth.set(0);
        self.leave(record);
        let mut mutators = self.mutators.lock();
        let counts = record.cache.reset_counts();
        mutators.retired.add(&counts);
        mutators.attached -= 1;
        record.in_use.store(false, Relaxed);
        drop(mutators);
        // User code, so not under the lock.
        drop(callback);
    }

    /// Makes a mutator active; waits while the world is stopped.
    #[inline]
    pub(crate) fn enter(&self, record: &MutatorRecord) {
        record.state.store(ACTIVE, Relaxed);
        // Pairs with `heavy_fence` in `stop`.
        os::light_fence();
        // Acquire: pairs with the Release in `Stopped::drop`, so that what
        // the collector did is seen.
        if self.poll_word.load(Acquire) & STOP != 0 {
            self.step_back(record);
        }
    }

    /// Makes a mutator safe.
    #[inline]
    pub(crate) fn leave(&self, record: &MutatorRecord) {
        // Release: pairs with the Acquire in `stop`, so that the collector
        // sees what the mutator wrote.
        record.state.store(SAFE, Release);
        os::light_fence();
        if self.poll_word.load(Relaxed) & STOP != 0 {
            self.report_arrival();
        }
    }

    #[cold]
    fn report_arrival(&self) {
        if callback::is_inside() {
            // The collector's own thread holds the lock.
            return;
        }
        // Under the lock, so that the collector is not between its look at
        // our state and its wait.
        let _guard = self.mutators.lock();
        self.arrived.notify_all();
    }

    /// Lets a stop happen, then becomes active again.
    #[cold]
    fn step_back(&self, record: &MutatorRecord) {
        loop {
            record.state.store(SAFE, Release);
            let mut mutators = self.mutators.lock();
            self.arrived.notify_all();
            while self.poll_word.load(Relaxed) & STOP != 0 {
                self.resumed.wait(&mut mutators);
            }
            drop(mutators);
            record.state.store(ACTIVE, Relaxed);
            os::light_fence();
            if self.poll_word.load(Acquire) & STOP == 0 {
                return;
            }
        }
    }

    /// A boundary of an active mutator: parks while the world is stopped.
    pub(crate) fn park_if_stopping(&self, record: &MutatorRecord) {
        if self.poll_word() & STOP != 0 {
            self.step_back(record);
        }
    }

    /// Stops every mutator but `own`, which the calling thread has made safe.
    ///
    /// # Errors
    ///
    /// When a mutator reaches no boundary in `limit`; everyone goes on then.
    pub(crate) fn stop(
        &self,
        own: Option<&MutatorRecord>,
        limit: Duration,
    ) -> Result<Stopped<'_>, StopTimedOut> {
        let mut mutators = self.mutators.lock();
        self.poll_word.fetch_or(STOP, Relaxed);
        let others = mutators.attached > usize::from(own.is_some());
        if others {
            // Pairs with the light fences in `enter` and `leave`.
            os::heavy_fence();
        }
        let begin = os::now_nanos();
        while let Some(label) = first_active(&mutators) {
            let waited = Duration::from_nanos(os::now_nanos() - begin);
            if waited >= limit {
                self.poll_word.fetch_and(!STOP, Release);
                drop(mutators);
                self.resumed.notify_all();
                return Err(StopTimedOut { thread: label, waited });
            }
            self.arrived.wait_for(&mut mutators, limit - waited);
        }
        Ok(Stopped { world: self, mutators, nanos: os::now_nanos() - begin })
    }

    /// Mutators attached.
    pub fn attached(&self) -> usize {
        self.mutators.lock().attached
    }

    /// What all mutators, present and past, have allocated.
    pub(crate) fn counts(&self, space: &Space) -> CacheCounts {
        let mutators = self.mutators.lock();
        let mut counts = mutators.retired;
        for_each(&mutators, |record| counts.add(&record.cache.counts(space)));
        counts
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut at = self.mutators.get_mut().head;
        while let Some(record) = at {
            // SAFETY: nobody has the heap any more; the memory itself belongs
            // to the space and is not freed here.
            unsafe {
                at = NonNull::new(record.as_ref().next.load(Relaxed));
                record.drop_in_place();
            }
        }
    }
}

fn first_active(mutators: &Mutators) -> Option<ThreadLabel> {
    let mut at = mutators.head;
    while let Some(record) = at {
        // SAFETY: records live as long as the heap.
        let record = unsafe { record.as_ref() };
        // Acquire: pairs with the Release in `leave` and `step_back`.
        if record.in_use.load(Relaxed) && record.state.load(Acquire) == ACTIVE {
            return Some(record.thread.get());
        }
        at = NonNull::new(record.next.load(Relaxed));
    }
    None
}

fn for_each(mutators: &Mutators, mut visit: impl FnMut(&MutatorRecord)) {
    let mut at = mutators.head;
    while let Some(record) = at {
        // SAFETY: records live as long as the heap.
        let record = unsafe { record.as_ref() };
        if record.in_use.load(Relaxed) {
            visit(record);
        }
        at = NonNull::new(record.next.load(Relaxed));
    }
}

/// Proof that no mutator runs. Dropping it lets them go on.
#[derive(Debug)]
pub struct Stopped<'w> {
    world: &'w World,
    mutators: LockGuard<'w, Mutators>,
    nanos: u64,
}

impl Stopped<'_> {
    /// How long stopping took.
    pub(crate) fn stop_nanos(&self) -> u64 {
        self.nanos
    }

    /// Mutators attached.
    pub(crate) fn attached(&self) -> usize {
        self.mutators.attached
    }

    /// Calls `visit` with each mutator.
    pub(crate) fn for_each_mutator(&self, visit: impl FnMut(&MutatorRecord)) {
        for_each(&self.mutators, visit);
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `enter`.
        self.world.poll_word.fetch_and(!STOP, Release);
        self.world.resumed.notify_all();
        // The guard goes after this; waiters wake to a free lock.
    }
}
