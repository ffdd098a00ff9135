//! Roots that belong to the heap and not to one mutator: handles, ranges,
//! callbacks.
//!
//! A handle is a slot in a table that only grows. Dropping a handle touches
//! nothing but its slot's state, so it may happen on any thread at any time;
//! the slot counts as a root until the next cycle begins, and is reused then.
//!
//! Protection: the table and the ranges are behind the roots lock; a slot's
//! words are atomic.

use crate::base::sync::{Lock, Ordering, Rank, model::AtomicU32, model::AtomicUsize};
use crate::base::{Address, WORD_SIZE};
use crate::heap::meta::{Meta, MetaError, MetaStat};
use Ordering::{Acquire, Relaxed, Release};
use core::ptr::NonNull;

/// Receives roots. `visit` takes references, `visit_ambiguous` words that may
/// be references.
pub struct RootVisitor<'v> {
    sink: &'v mut dyn RootSink,
}

/// What the collector does with roots.
pub(crate) trait RootSink {
    fn reference(&mut self, value: usize);
    fn ambiguous(&mut self, value: usize);
}

impl core::fmt::Debug for RootVisitor<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RootVisitor")
    }
}

impl<'v> RootVisitor<'v> {
    pub(crate) fn new(sink: &'v mut dyn RootSink) -> RootVisitor<'v> {
        RootVisitor { sink }
    }

    /// Visits one reference. Null and pointers outside the heap are ignored.
    #[inline]
    pub fn visit(&mut self, reference: *const u8) {
        self.sink.reference(reference.addr());
    }

    /// Visits a word that may be a reference: it keeps what it points into
    /// alive if that is an allocated object.
    #[inline]
    pub fn visit_ambiguous(&mut self, word: usize) {
        self.sink.ambiguous(word);
    }

    /// Visits the words of a range.
    ///
    /// # Safety
    ///
    /// The range is readable, aligned to words, and nobody writes it meanwhile.
    pub unsafe fn visit_range(&mut self, start: *const usize, words: usize, kind: RangeKind) {
        for index in 0..words {
            // SAFETY: the caller's promise. Volatile: what lies there may be
            // uninitialised as far as the language knows.
            let word = unsafe { start.add(index).read_volatile() };
            match kind {
                RangeKind::References => self.sink.reference(word),
                RangeKind::Ambiguous => self.sink.ambiguous(word),
            }
        }
    }
}

/// What the words of a root range are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeKind {
    /// References or null.
    References,
    /// Anything; words that name allocated objects keep them alive.
    Ambiguous,
}

const SLOT_FREE: u32 = 0;
const SLOT_USED: u32 = 1;
/// Dropped, but a root until the next cycle begins.
const SLOT_DEAD: u32 = 2;

/// The place of one handle.
#[derive(Debug)]
pub struct RootSlot {
    value: AtomicUsize,
    state: AtomicU32,
}

impl RootSlot {
    /// The reference.
    #[inline]
    pub(crate) fn get(&self) -> Address {
        // Acquire: pairs with the Release in `set`, so that the object is
        // seen as its maker left it.
        Address::new(self.value.load(Acquire))
    }

    #[inline]
    pub(crate) fn set(&self, value: Address) {
        self.value.store(value.as_usize(), Release);
    }

    /// Ends the handle.
    pub(crate) fn release(&self) {
        // Release: pairs with the Acquire in `free_if_dead`, so that nobody
        // else has the slot before the handle's last use of it.
        self.state.store(SLOT_DEAD, Release);
    }

    /// Whether a handle has the slot.
    fn is_used(&self) -> bool {
        // Relaxed: a handle that is dropped this moment may count or not.
        self.state.load(Relaxed) == SLOT_USED
    }

    /// Makes the slot of a dropped handle free; whether it was one. The caller
    /// holds the table's lock.
    fn free_if_dead(&self) -> bool {
        // Acquire: pairs with the Release in `release`.
        let dead = self.state.load(Acquire) == SLOT_DEAD;
        if dead {
            // Relaxed: read under the lock only, until it is used again.
            self.state.store(SLOT_FREE, Relaxed);
        }
        dead
    }
}

const CHUNK_SLOTS: usize = 256;

#[derive(Debug)]
struct Chunk {
    slots: [RootSlot; CHUNK_SLOTS],
    next: Option<NonNull<Chunk>>,
}

/// A registered range.
#[derive(Clone, Copy, Debug)]
struct Range {
    id: u64,
    start: Address,
    words: usize,
    kind: RangeKind,
}

/// A heap-wide root callback.
pub(crate) type HeapCallback = std::sync::Arc<dyn Fn(&mut RootVisitor<'_>) + Send + Sync>;

struct Tables {
    chunks: Option<NonNull<Chunk>>,
    free: Option<NonNull<RootSlot>>,
    ranges: Vec<Range>,
    callbacks: Vec<(u64, HeapCallback)>,
    next_id: u64,
}

// SAFETY: chunks are reached under the lock; slots are atomic.
unsafe impl Send for Tables {}

/// Handles, ranges and callbacks of one heap.
pub struct Roots {
    tables: Lock<Tables>,
    /// Handles dropped since slots were last freed.
    dead: AtomicUsize,
}

impl core::fmt::Debug for Roots {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Roots")
    }
}

impl Roots {
    /// No roots yet. The numbers of ranges and callbacks begin with the heap's, so
    /// that one heap's name nothing in another.
    pub(crate) fn new(heap: u64) -> Roots {
        let tables = Tables {
            chunks: None,
            free: None,
            ranges: Vec::new(),
            callbacks: Vec::new(),
            next_id: heap << 32 | 1,
        };
        Roots { tables: Lock::new(Rank::Roots, tables), dead: AtomicUsize::new(0) }
    }

    /// A slot holding `value`.
    pub(crate) fn add(&self, meta: &Meta, value: Address) -> Result<NonNull<RootSlot>, MetaError> {
        let mut tables = self.tables.lock();
        if tables.free.is_none() && self.dead.load(Relaxed) >= CHUNK_SLOTS {
            self.trim(&mut tables);
        }
        if tables.free.is_none() {
            let place = meta.alloc(size_of::<Chunk>(), align_of::<Chunk>(), MetaStat::Other)?;
            let chunk = place.cast::<Chunk>();
            // SAFETY: fresh zeroed memory of this size and alignment; zero is
            // a valid chunk of free slots.
            unsafe { (*chunk.as_ptr()).next = tables.chunks };
            tables.chunks = Some(chunk);
            for index in 0..CHUNK_SLOTS {
                // SAFETY: as above.
                let slot = unsafe { &(*chunk.as_ptr()).slots[index] };
                push_free(&mut tables.free, slot);
            }
        }
        let slot = tables.free.expect("refilled above");
        // SAFETY: chunks live as long as the heap.
        let slot_ref = unsafe { slot.as_ref() };
        tables.free = NonNull::new(Address::new(slot_ref.value.load(Relaxed)).as_ptr());
        slot_ref.set(value);
        // Relaxed: read under the lock only, but for `release`.
        slot_ref.state.store(SLOT_USED, Relaxed);
        Ok(slot)
    }

    /// Ends the handle that has this slot. Takes no lock: handles are dropped
    /// anywhere.
    pub(crate) fn release(&self, slot: &RootSlot) {
        slot.release();
        // Relaxed: a hint when trimming is worth it.
        self.dead.fetch_add(1, Relaxed);
    }

    /// Lets a handle keep another object alive. Under the lock, so that a
    /// cycle that reads the table sees the old object or the new one.
    pub(crate) fn set(&self, slot: &RootSlot, value: Address) {
        let _tables = self.tables.lock();
        slot.set(value);
    }

    /// Frees the slots of dropped handles. No cycle is reading the table: its
    /// lock is held, and marking with the world stopped needs no dead slot.
    fn trim(&self, tables: &mut Tables) {
        self.dead.store(0, Relaxed);
        let mut at = tables.chunks;
        while let Some(chunk) = at {
            // SAFETY: chunks live as long as the heap.
            let chunk = unsafe { chunk.as_ref() };
            for slot in &chunk.slots {
                if slot.free_if_dead() {
                    push_free(&mut tables.free, slot);
                }
            }
            at = chunk.next;
        }
    }

    /// Registers a range; the number removes it again.
    pub(crate) fn add_range(&self, start: Address, words: usize, kind: RangeKind) -> u64 {
        let mut tables = self.tables.lock();
        let id = tables.next_id;
        tables.next_id += 1;
        tables.ranges.push(Range { id, start, words, kind });
        id
    }

    /// Whether an address is in a registered range.
    pub(crate) fn contains(&self, address: Address) -> bool {
        let tables = self.tables.lock();
        let mut ranges = tables.ranges.iter();
        ranges.any(|range| address.offset_from(range.start) < range.words * WORD_SIZE)
    }

    /// Removes a range; `false` when there is none of this number.
    pub(crate) fn remove_range(&self, id: u64) -> bool {
        let mut tables = self.tables.lock();
        let before = tables.ranges.len();
        tables.ranges.retain(|range| range.id != id);
        tables.ranges.len() != before
    }

    /// Registers a callback.
    pub(crate) fn add_callback(&self, callback: HeapCallback) -> u64 {
        let mut tables = self.tables.lock();
        let id = tables.next_id;
        tables.next_id += 1;
        tables.callbacks.push((id, callback));
        id
    }

    /// Removes a callback.
    pub(crate) fn remove_callback(&self, id: u64) -> bool {
        let mut tables = self.tables.lock();
        let Some(at) = tables.callbacks.iter().position(|entry| entry.0 == id) else {
            return false;
        };
        let removed = tables.callbacks.swap_remove(at);
        drop(tables);
        // User code, so not under the lock.
        drop(removed);
        true
    }

    /// Visits every root and frees the slots of dead handles. The world is
    /// stopped. Callbacks run with no lock of this table held.
    pub(crate) fn visit_all(&self, sink: &mut dyn RootSink) {
        let mut tables = self.tables.lock();
        let mut at = tables.chunks;
        while let Some(chunk) = at {
            // SAFETY: chunks live as long as the heap.
            let chunk = unsafe { chunk.as_ref() };
            for slot in &chunk.slots {
                if slot.is_used() {
                    sink.reference(slot.value.load(Relaxed));
                } else if slot.free_if_dead() {
                    push_free(&mut tables.free, slot);
                }
            }
            at = chunk.next;
        }
        let mut visitor = RootVisitor::new(sink);
        for range in &tables.ranges {
            // SAFETY: who registered the range keeps it readable, and the
            // world is stopped.
            unsafe { visitor.visit_range(range.start.as_ptr(), range.words, range.kind) };
        }
        if tables.callbacks.is_empty() {
            return;
        }
        let callbacks: Vec<HeapCallback> =
            tables.callbacks.iter().map(|entry| entry.1.clone()).collect();
        drop(tables);
        let _inside = crate::world::callback::enter();
        for callback in callbacks {
            callback(&mut visitor);
        }
    }
}

/// A free slot's value links it to the next.
fn push_free(free: &mut Option<NonNull<RootSlot>>, slot: &RootSlot) {
    let next = free.map_or(0, |next| next.as_ptr().expose_provenance());
    slot.value.store(next, Relaxed);
    *free = Some(NonNull::from(slot));
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RootSlot>() == 2 * WORD_SIZE);

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// A slot with a handle, and the table's lock.
    struct Model {
        slot: RootSlot,
        table: Mutex<()>,
        /// Written by who has the slot; loom reports when two have it.
        owner: UnsafeCell<usize>,
    }

    impl Model {
        fn own(&self, who: usize) {
            // SAFETY: loom checks that nobody else touches it meanwhile.
            self.owner.with_mut(|owner| unsafe { *owner = who });
        }
    }

    /// A handle is dropped without the lock, beside a cycle that reads the
    /// table and a thread that wants a slot: the slot changes hands once the
    /// first handle is done with it.
    #[test]
    fn loom_a_slot_is_used_again_after_its_last_use() {
        loom::model(|| {
            let slot = RootSlot { value: AtomicUsize::new(1), state: AtomicU32::new(SLOT_USED) };
            let (table, owner) = (Mutex::new(()), UnsafeCell::new(1));
            let model = Arc::new(Model { slot, table, owner });
            let first = model.clone();
            let first = thread::spawn(move || {
                first.own(1);
                assert_eq!(first.slot.get(), Address::new(1), "another's object");
                first.slot.release();
            });
            let cycle = model.clone();
            let cycle = thread::spawn(move || {
                let _table = cycle.table.lock().unwrap();
                if cycle.slot.is_used() {
                    let value = cycle.slot.get();
                    assert!([1, 2].contains(&value.as_usize()), "a free slot's link was a root");
                }
                cycle.slot.free_if_dead();
            });
            {
                let _table = model.table.lock().unwrap();
                model.slot.free_if_dead();
                // Free by this look, or by the cycle's.
                if model.slot.state.load(Relaxed) == SLOT_FREE {
                    model.own(2);
                    model.slot.set(Address::new(2));
                    model.slot.state.store(SLOT_USED, Relaxed);
                }
            }
            first.join().unwrap();
            cycle.join().unwrap();
            let used_again = model.slot.get() == Address::new(2);
            assert_eq!(used_again, model.slot.is_used(), "the new handle keeps its slot");
        });
    }
}
