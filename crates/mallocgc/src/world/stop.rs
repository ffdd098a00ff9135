//! Stopping the world, and the mutators of a heap.
//!
//! A mutator is *active* while it may touch the heap and *safe* otherwise: in
//! a blocking section, parked, or detached. To stop the world the collector
//! raises the stop bit of the poll word and waits until every mutator is
//! safe; a mutator that becomes active looks at the bit afterwards and steps
//! back if it is up (`gate`).
//!
//! A mutator that does not come to a boundary in time is named, the attempt
//! is given up, and the others go on: a collection is late, nobody hangs.
//!
//! Protection: the list is behind the world lock, which the collector keeps
//! while the world is stopped. The argument is in `docs/design/stopping.md`,
//! the model in `gate`.

use crate::base::sync::{AtomicPtr, AtomicUsize, Lock, LockGuard, Ordering, Rank, Signal};
use crate::heap::cache::CacheCounts;
use crate::heap::meta::{MetaError, MetaStat};
use crate::heap::space::Space;
use crate::os;
use crate::world::callback;
use crate::world::gate::{ABANDONED, CYCLE_DUE, Gate, STOP};
use crate::world::mutator::{MutatorRecord, RootCallback, ThreadLabel};
use crate::world::roots::{RootSink, RootVisitor, Roots};
use crate::world::shade::Shades;
use Ordering::{Acquire, Relaxed, Release};
use core::ptr::NonNull;
use std::time::Duration;

#[derive(Debug)]
struct Mutators {
    head: Option<NonNull<MutatorRecord>>,
    attached: usize,
    seed: u64,
}

// SAFETY: records are reached through the list under the world lock, or by
// the thread that attached.
unsafe impl Send for Mutators {}

/// The mutators of one heap.
#[derive(Debug)]
pub struct World {
    gate: Gate,
    mutators: Lock<Mutators>,
    /// As `Mutators::head`, for readers without the lock: records are added
    /// in front and stay.
    records: AtomicPtr<MutatorRecord>,
    /// As `Mutators::attached`, for readers without the lock.
    attached: AtomicUsize,
    /// A mutator has become safe while the world was stopping.
    arrived: Signal,
    resumed: Signal,
    /// What mutators noted for the marker.
    pub(crate) shades: Shades,
}

/// Why a thread did not become a mutator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttachError {
    /// No memory for its record or its cache.
    OutOfMemory(MetaError),
    /// The thread is a mutator of this heap. It would wait for itself: no
    /// boundary of one mutator is one of the other.
    AlreadyAttached,
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
        let mutators = Mutators { head: None, attached: 0, seed };
        World {
            gate: Gate::new(),
            mutators: Lock::new(Rank::World, mutators),
            records: AtomicPtr::new(core::ptr::null_mut()),
            attached: AtomicUsize::new(0),
            arrived: Signal::new(),
            resumed: Signal::new(),
            shades: Shades::new(),
        }
    }

    /// Whether a mutator at a boundary has something to do. One load.
    #[inline(always)]
    pub(crate) fn poll_word(&self) -> u32 {
        self.gate.poll_word()
    }

    /// Address of the poll word, for generated code.
    pub(crate) fn poll_word_address(&self) -> *const u32 {
        core::ptr::from_ref(self.gate.word()).cast()
    }

    /// Asks the next mutator at a boundary to run a cycle.
    pub(crate) fn announce_cycle(&self) {
        self.gate.raise(CYCLE_DUE);
    }

    pub(crate) fn withdraw_cycle(&self) {
        self.gate.lower(CYCLE_DUE);
    }

    /// A record for this thread, active.
    pub(crate) fn attach(&self, space: &Space) -> Result<NonNull<MutatorRecord>, AttachError> {
        if self.has_abandoned() {
            self.detach_abandoned(space);
        }
        let mut mutators = self.mutators.lock();
        let own = os::thread_id();
        if is_attached(&mutators, own) {
            return Err(AttachError::AlreadyAttached);
        }
        let record = self.add(&mut mutators, space)?;
        drop(mutators);
        // SAFETY: records live as long as the heap.
        self.enter(unsafe { record.as_ref() });
        Ok(record)
    }

    /// A record for a thread that works inside the section of another mutator, active. It does not wait for a stop that
    /// waits for that mutator.
    ///
    /// # Safety
    ///
    /// `outer` is this thread's, and stays active until the record is detached, which happens before for all threads.
    pub(crate) unsafe fn attach_within(
        &self,
        space: &Space,
        outer: &MutatorRecord,
    ) -> Result<NonNull<MutatorRecord>, AttachError> {
        assert!(outer.state.is_active(), "a thread is added to a mutator that is not active");
        let mut mutators = self.mutators.lock();
        let record = self.add(&mut mutators, space)?;
        // SAFETY: records live as long as the heap.
        self.gate.enter_within(&unsafe { record.as_ref() }.state);
        Ok(record)
    }

    /// A record that is in use, of this thread.
    fn add(
        &self,
        mutators: &mut Mutators,
        space: &Space,
    ) -> Result<NonNull<MutatorRecord>, AttachError> {
        let mut at = mutators.head;
        let mut found = None;
        while let Some(record) = at {
            // SAFETY: records live as long as the heap.
            let record_ref = unsafe { record.as_ref() };
            // Relaxed: read and written under the lock.
            if !record_ref.in_use.load(Relaxed) {
                found = Some(record);
            }
            at = NonNull::new(record_ref.next.load(Relaxed));
        }
        let record = match found {
            Some(record) => record,
            None => {
                mutators.seed = mutators.seed.wrapping_add(1);
                let fresh = MutatorRecord::new(mutators.seed)
                    .map_err(|error| AttachError::OutOfMemory(MetaError::OutOfMemory(error)))?;
                let place = space
                    .meta()
                    .alloc(
                        size_of::<MutatorRecord>(),
                        align_of::<MutatorRecord>(),
                        MetaStat::Caches,
                    )
                    .map_err(AttachError::OutOfMemory)?;
                let record = place.cast::<MutatorRecord>();
                // SAFETY: fresh memory of this size and alignment.
                unsafe { record.write(fresh) };
                let next = mutators.head.map_or(core::ptr::null_mut(), NonNull::as_ptr);
                // SAFETY: just written.
                unsafe { record.as_ref() }.next.store(next, Relaxed);
                mutators.head = Some(record);
                // Release: pairs with the Acquire in `counts`.
                self.records.store(record.as_ptr(), Release);
                record
            }
        };
        // SAFETY: as above.
        let record_ref = unsafe { record.as_ref() };
        record_ref.in_use.store(true, Relaxed);
        record_ref.thread.set_current();
        mutators.attached += 1;
        self.attached.store(mutators.attached, Relaxed);
        Ok(record)
    }

    /// Ends a mutator: its spans go back, its counts are kept.
    pub(crate) fn detach(&self, space: &Space, record: &MutatorRecord) {
        let callback = self.strip(space, record);
        self.leave(record);
        self.free(&mut self.mutators.lock(), record);
        // User code, so not under the lock.
        drop(callback);
    }

    /// Ends a mutator inside a callback. The world may be stopped by this very
    /// thread, which holds its lock; so the record is only made safe, and the
    /// next boundary of another mutator, attaching, or cycle detaches it.
    pub(crate) fn abandon(&self, record: &MutatorRecord) {
        record.roots.clear();
        if self.gate.leave(&record.state) & STOP != 0 {
            // Not under the lock, so the collector may be between its look and
            // its wait, and learn of it when its time is up.
            self.arrived.notify_all();
        }
        // Release: pairs with the Acquire in `first_abandoned`. The last thing
        // this thread does with the record.
        record.abandoned.store(true, Release);
        self.gate.raise(ABANDONED);
    }

    /// Whether a mutator was abandoned and not yet detached.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.poll_word() & ABANDONED != 0
    }

    /// Detaches the mutators that were dropped inside callbacks.
    #[cold]
    pub(crate) fn detach_abandoned(&self, space: &Space) {
        loop {
            let mut mutators = self.mutators.lock();
            self.gate.lower(ABANDONED);
            let Some(record) = first_abandoned(&mutators) else { return };
            // SAFETY: records live as long as the heap.
            let record = unsafe { record.as_ref() };
            // The lock keeps the world from being stopped, and others away.
            let callback = self.strip(space, record);
            record.abandoned.store(false, Relaxed);
            self.free(&mut mutators, record);
            drop(mutators);
            // User code, so not under the lock.
            drop(callback);
        }
    }

    /// Takes from a mutator's record what it holds. Its thread's, or under the
    /// lock that of one that was abandoned.
    fn strip(&self, space: &Space, record: &MutatorRecord) -> Option<RootCallback> {
        record.cache.flush(space);
        record.roots.clear();
        record.shades.hand_over(&self.shades);
        // SAFETY: the owner's thread or its heir; the collector looks only when
        // the world is stopped.
        unsafe { &mut *record.callback.0.get() }.take()
    }

    /// Whether this thread is attached, with this record.
    pub(crate) fn is_attached_here(&self, record: &MutatorRecord) -> bool {
        let _mutators = self.mutators.lock();
        // Relaxed: read and written under the lock.
        record.in_use.load(Relaxed)
            && !record.abandoned.load(Relaxed)
            && record.thread.get().id() == os::thread_id()
    }

    /// Lets the next thread that attaches have a record.
    fn free(&self, mutators: &mut Mutators, record: &MutatorRecord) {
        mutators.attached -= 1;
        self.attached.store(mutators.attached, Relaxed);
        record.in_use.store(false, Relaxed);
    }

    /// Makes a mutator active; waits while the world is stopped. Nanoseconds
    /// waited.
    #[inline]
    pub(crate) fn enter(&self, record: &MutatorRecord) -> u64 {
        if self.gate.try_enter(&record.state) { 0 } else { self.wait_to_enter(record) }
    }

    /// Makes a mutator active if no cycle is due and none stops the world.
    #[inline(always)]
    pub(crate) fn enter_idle(&self, record: &MutatorRecord) -> bool {
        self.gate.try_enter_idle(&record.state)
    }

    /// Makes a mutator safe.
    #[inline]
    pub(crate) fn leave(&self, record: &MutatorRecord) {
        if self.gate.leave(&record.state) & STOP != 0 {
            self.report_arrival();
        }
    }

    /// The words that mutators meet at.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A mutator has become safe while the world is stopping.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_arrival(&self) {
        if callback::is_inside() {
            // The collector's own thread holds the lock.
            return;
        }
        // Under the lock, so that the collector is not between its look at
        // our state and its wait.
        let _guard = self.mutators.lock();
        self.arrived.notify_all();
    }

    /// Lets a stop happen, then becomes active. Nanoseconds waited.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait_to_enter(&self, record: &MutatorRecord) -> u64 {
        let begin = os::now_nanos();
        loop {
            let mut mutators = self.mutators.lock();
            self.arrived.notify_all();
            while self.gate.poll_word() & STOP != 0 {
                self.resumed.wait(&mut mutators);
            }
            drop(mutators);
            if self.gate.try_enter(&record.state) {
                return os::now_nanos() - begin;
            }
        }
    }

    /// A boundary of an active mutator: parks while the world is stopped.
    /// Nanoseconds waited.
    pub(crate) fn park_if_stopping(&self, record: &MutatorRecord) -> u64 {
        if self.poll_word() & STOP == 0 {
            return 0;
        }
        self.gate.leave(&record.state);
        self.wait_to_enter(record)
    }

    /// Whether every mutator is safe this moment. Stops nobody.
    pub(crate) fn is_at_rest(&self) -> bool {
        first_active(&self.mutators.lock()).is_none()
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
        self.gate.close(mutators.attached <= usize::from(own.is_some()));
        let begin = os::now_nanos();
        while let Some(label) = first_active(&mutators) {
            let waited = Duration::from_nanos(os::now_nanos() - begin);
            if waited >= limit {
                self.gate.open();
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
        // Relaxed: a count for statistics.
        self.attached.load(Relaxed)
    }

    /// What all mutators, present and past, have allocated. Takes no lock, so
    /// that callbacks may ask while the world is stopped.
    pub(crate) fn counts(&self, space: &Space) -> CacheCounts {
        let mut counts = CacheCounts::default();
        // Acquire: pairs with the Release in `attach`. Records that are free
        // count too: what a mutator has allocated stays in its record.
        let mut at = NonNull::new(self.records.load(Acquire));
        while let Some(record) = at {
            // SAFETY: records live as long as the heap; caches count in atomics.
            let record = unsafe { record.as_ref() };
            counts.add(&record.cache.counts(space));
            at = NonNull::new(record.next.load(Relaxed));
        }
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

fn first_abandoned(mutators: &Mutators) -> Option<NonNull<MutatorRecord>> {
    let mut at = mutators.head;
    while let Some(record) = at {
        // SAFETY: records live as long as the heap.
        let record_ref = unsafe { record.as_ref() };
        // Acquire: pairs with the Release in `abandon`.
        if record_ref.abandoned.load(Acquire) {
            return Some(record);
        }
        at = NonNull::new(record_ref.next.load(Relaxed));
    }
    None
}

/// Whether a thread has a record.
fn is_attached(mutators: &Mutators, thread: u32) -> bool {
    let mut found = false;
    for_each(mutators, |record| found |= record.thread.get().id() == thread);
    found
}

fn first_active(mutators: &Mutators) -> Option<ThreadLabel> {
    let mut at = mutators.head;
    while let Some(record) = at {
        // SAFETY: records live as long as the heap.
        let record = unsafe { record.as_ref() };
        if record.in_use.load(Relaxed) && record.state.is_active() {
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

    /// Passes the roots of the mutators and of the heap to `sink`.
    pub(crate) fn visit_roots(&self, roots: &Roots, sink: &mut impl RootSink) {
        self.for_each_mutator(|mutator| {
            // Acquire: pairs with the Release in `abandon`.
            if mutator.abandoned.load(Acquire) {
                return;
            }
            mutator.roots.for_each(|value| sink.reference(value));
            // SAFETY: the world is stopped, so the mutator's thread does not
            // touch its callback.
            if let Some(callback) = unsafe { &mut *mutator.callback.0.get() } {
                callback(&mut RootVisitor::new(sink));
            }
        });
        roots.visit_all(sink);
    }

    /// Calls `visit` with every reference that a mutator noted.
    pub(crate) fn take_shades(&self, mut visit: impl FnMut(usize)) {
        let shades = &self.world.shades;
        self.for_each_mutator(|mutator| mutator.shades.hand_over(shades));
        while shades.take(&mut visit) {}
    }

    /// Calls `visit` with each mutator.
    pub(crate) fn for_each_mutator(&self, visit: impl FnMut(&MutatorRecord)) {
        for_each(&self.mutators, visit);
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.world.gate.open();
        self.world.resumed.notify_all();
        // The guard goes after this; waiters wake to a free lock.
    }
}
