//! A heap whose users write no barrier and name no roots: the C interface of
//! the Boehm collector stands on it.
//!
//! A thread is active only inside the allocator: it [enters](Mutator::enter)
//! and [leaves](Mutator::leave) around each allocation. What it holds between
//! is on its stack, so a cycle closes the gate, waits for those inside, and has
//! its [client](ConservativeClient) stop the threads wherever they are and hand
//! over their stacks. Words of objects are ambiguous too, by the rules of
//! `heap::ambiguous`.
//!
//! Protection: as the heap's; the client's functions run on the collecting
//! thread with the world stopped.

use crate::base::Address;
use crate::heap::ambiguous::Ambiguous;
use crate::heap::span_class::{Scan, SpanClassId};
use crate::raw::heap::{Heap, Inner};
use crate::raw::mutator::{AllocClass, Mutator};
use crate::world::gate::{CYCLE_DUE, STOP};
use crate::world::stop::Stopped;
use core::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::compiler_fence;

pub use crate::collect::ambiguous::AmbiguousMarker;

/// Who stops the threads of a conservative heap and knows its roots.
///
/// All of it runs during a cycle, on the thread that collects. None of it may
/// allocate, from this heap or the system's, nor take a lock that a stopped
/// thread may hold.
pub trait ConservativeClient: Sync {
    /// No thread is inside the allocator: stops them where they are.
    fn stop(&self);
    /// Visits all roots.
    fn roots(&self, marker: &mut dyn AmbiguousMarker);
    /// Everything reachable is marked: decides about the rest.
    fn reached(&self, marker: &mut dyn AmbiguousMarker);
    /// Lets the threads go on.
    fn resume(&self);
}

/// No thread is inside the allocator, and no cycle runs, until this is dropped.
pub struct Pause<'h> {
    inner: &'h Inner,
    stopped: Option<Stopped<'h>>,
    _cycle: crate::base::sync::LockGuard<'h, ()>,
}

impl core::fmt::Debug for Pause<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pause")
    }
}

impl Pause<'_> {
    /// Calls `visit` with the address and size of each allocated object.
    pub fn for_each_object(&self, mut visit: impl FnMut(usize, usize)) {
        let space = &self.inner.space;
        space.for_each_span(|_, span| {
            let mut index = 0;
            while index < span.cells() {
                let cells = space.object_cells(span, index);
                if space.is_allocated(span, index) {
                    visit(span.cell(index).as_usize(), cells.len() * span.cell_bytes());
                }
                index = cells.end.max(index + 1);
            }
        });
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.inner.space.open_sweep();
        drop(self.stopped.take());
    }
}

impl Heap {
    /// Makes words of objects ambiguous and names the client. To be called
    /// once, before the first allocation.
    ///
    /// # Panics
    ///
    /// When the heap has a client.
    pub fn set_conservative(&self, client: &'static dyn ConservativeClient) {
        let set = self.inner().client.set(client);
        assert!(set.is_ok(), "the heap has a client");
        self.inner().space.ambiguous.turn_on();
    }

    /// Starts the threads that will help to mark, if one more mutator means more of them. A client
    /// calls this where threads may be started, since a collection it asks for may come where a
    /// thread holds the system allocator's lock. No collection may begin meanwhile: who is stopped in here
    /// keeps it waiting for ever.
    pub fn prepare_workers(&self) {
        let inner = self.inner();
        let mutators = inner.world.attached() + 1;
        inner.collector.prepare_workers(inner.workers, mutators, u64::MAX);
    }

    /// Threads that may mark at most, the one that asks for a collection among them.
    pub fn markers(&self) -> usize {
        self.inner().workers.in_stop(usize::MAX, u64::MAX, true)
    }

    /// Which words of objects count.
    pub fn ambiguous(&self) -> &Ambiguous {
        &self.inner().space.ambiguous
    }

    /// Waits until no thread is inside the allocator, sweeps, and keeps
    /// everyone out. The calling thread is no mutator, or has left. `None`
    /// when a thread does not leave in time.
    pub fn pause(&self) -> Option<Pause<'_>> {
        let inner = self.inner();
        let cycle = inner.cycle.lock();
        inner.space.finish_sweep();
        let stopped = inner.world.stop(None, inner.config.stop_limit).ok()?;
        inner.space.close_sweep();
        stopped.for_each_mutator(|mutator| mutator.cache.flush(&inner.space));
        Some(Pause { inner, stopped: Some(stopped), _cycle: cycle })
    }

    /// Bytes in spans.
    pub fn used_bytes(&self) -> usize {
        self.inner().space.used_bytes()
    }

    /// Bytes of address range in use or ready to be used.
    pub fn committed_bytes(&self) -> usize {
        self.inner().space.committed_bytes()
    }

    /// First byte of the heap's range, and the bytes reserved.
    pub fn range(&self) -> (Address, usize) {
        (self.inner().space.base(), self.inner().space.reserved_bytes())
    }

    /// Bytes of free pages that are in memory.
    pub fn free_bytes(&self) -> usize {
        self.inner().space.free_dirty_bytes()
    }

    /// Bytes that survived the last cycle.
    pub fn marked_bytes(&self) -> u64 {
        self.inner().history.live_bytes()
    }

    /// Cycles completed.
    pub fn cycles(&self) -> u64 {
        self.inner().collector.cycles()
    }

    /// Whether the heap has grown to its trigger.
    pub fn is_collection_due(&self) -> bool {
        self.inner().is_due()
    }

    /// Counts bytes from elsewhere as if they had been allocated here.
    pub fn count_foreign_bytes(&self, bytes: usize) {
        // Relaxed: a sum, compared with the trigger by the next refill.
        self.inner().space.live_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// An [`AllocClass`] of a mutator's heap for [`Mutator::quick`].
#[derive(Clone, Copy, Debug)]
pub struct QuickClass(SpanClassId);

impl QuickClass {
    /// The class whose cells can only be had by [`Mutator::alloc`].
    pub const NONE: QuickClass = QuickClass(SpanClassId::new(0));

    /// For cells of at most 512 bytes; else [`NONE`](QuickClass::NONE).
    pub fn of(class: AllocClass) -> QuickClass {
        QuickClass(class.quick())
    }
}

impl Mutator {
    /// As [`enter`](Mutator::enter), but never waits: `false` when a cycle is due
    /// or the world is being stopped. Then the thread is out, and has to enter
    /// by `enter` next: a collector may be waiting to hear of it.
    ///
    /// # Safety
    ///
    /// As `enter`.
    #[inline(always)]
    pub unsafe fn enter_idle(&self) -> bool {
        self.inner().world.enter_idle(self.record())
    }

    /// A zeroed cell, if there is one at hand.
    ///
    /// # Safety
    ///
    /// The class is of this mutator's heap, and the thread is in the allocator.
    #[inline(always)]
    pub unsafe fn quick(&self, class: QuickClass) -> Option<NonNull<u8>> {
        self.bump(class.0).and_then(|cell| NonNull::new(cell.as_ptr()))
    }

    /// Lets the thread into the allocator; waits while the world is stopped.
    /// Whether a cycle is due.
    ///
    /// # Safety
    ///
    /// The mutator is out of the allocator, by [`leave`](Mutator::leave).
    #[inline(always)]
    pub unsafe fn enter(&self) -> bool {
        let world = &self.inner().world;
        world.enter(self.record());
        world.poll_word() & (CYCLE_DUE | STOP) != 0
    }

    /// The thread is out of the allocator, and may be stopped wherever it is.
    ///
    /// # Safety
    ///
    /// Until [`enter`](Mutator::enter) nothing else of the mutator is used: a
    /// collector may be at work on its cache.
    #[inline(always)]
    pub unsafe fn leave(&self) {
        self.inner().world.leave(self.record());
    }
}

/// What the words of a cell are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellWords {
    /// None is a reference.
    Plain,
    /// Any may be one.
    Ambiguous,
    /// A layout says so.
    Described,
}

/// An allocated cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellInfo {
    /// First byte.
    pub base: usize,
    /// Its bytes.
    pub bytes: usize,
    /// What its words are.
    pub words: CellWords,
}

impl Heap {
    /// The allocated cell that `word` points into. For a cell that the asker
    /// has the answer is exact, whatever other threads do.
    pub fn cell(&self, word: usize) -> Option<CellInfo> {
        let space = &self.inner().space;
        loop {
            let generation = space.sweep_generation();
            let found = self.cell_at_once(word);
            // The thread may have been stopped in between, for a cycle that has made the
            // other bitmap the survivors'. It is this thread that stood, so the order of
            // the program is all that counts.
            compiler_fence(SeqCst);
            if space.sweep_generation() == generation {
                return found;
            }
        }
    }

    fn cell_at_once(&self, word: usize) -> Option<CellInfo> {
        compiler_fence(SeqCst);
        let space = &self.inner().space;
        let found = space.find_object(Address::new(word))?;
        let words = match space.class_info(space.span(found.span).class()).scan {
            Scan::None => CellWords::Plain,
            Scan::Conservative => CellWords::Ambiguous,
            _ => CellWords::Described,
        };
        Some(CellInfo { base: found.object.as_usize(), bytes: found.bytes, words })
    }
}
