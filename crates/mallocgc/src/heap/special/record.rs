//! Records on objects, and the memory they come from.
//!
//! A record is 40 bytes in a range of its own, named by a number of four
//! bytes. Records are handed out in chunks: the first slot of each 64 KiB is a
//! header, so that the address of a record alone leads to its heap; a weak
//! handle is one word for that reason.
//!
//! Each stripe (`special`) keeps a few records for itself and comes here for
//! [`BATCH`] more. The range is reserved with the first record: a heap without
//! specials pays nothing.
//!
//! Protection: a record in a table belongs to the lock of its stripe, one in a
//! queue to the lock of the queue, a free one to the stripe or pool that lists
//! it. The handle count of a weak record is the exception (`weak_count`).

use crate::base::Address;
use crate::base::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Lock, Ordering, Rank};
use crate::heap::meta::MetaError;
use crate::heap::special::weak_count::WeakCount;
use crate::os::{self, HugePages, Reservation};
use Ordering::{Acquire, Relaxed, Release};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::num::NonZeroU32;
use core::ptr::NonNull;

/// Log2 of the bytes of a chunk.
const CHUNK_SHIFT: u32 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_SHIFT;
/// Slots of a chunk; slot 0 is the header.
const CHUNK_SLOTS: u32 = (CHUNK_BYTES / size_of::<Record>()) as u32;
/// Bits of a record's number that say the slot.
const SLOT_BITS: u32 = 11;
/// Chunks of the range: 428 million records in 16 GiB of addresses.
const CHUNKS_MAX: usize = 1 << 18;
/// The range is halved when the system refuses it, down to this many chunks.
const CHUNKS_MIN: usize = 1 << 8;
/// From this many chunks on they are committed by the huge page: records of
/// objects in no particular order are read in none.
const HUGE_CHUNKS: usize = (2 << 20) >> CHUNK_SHIFT;
/// Records a stripe takes at a time.
pub(super) const BATCH: u32 = 64;

const _: () = {
    assert!(size_of::<Record>() == 40);
    assert!(size_of::<ChunkHeader>() <= size_of::<Record>());
    assert!(CHUNK_SLOTS <= 1 << SLOT_BITS);
    assert!(CHUNKS_MAX << SLOT_BITS <= 1 << 32);
};

/// What a record is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Runs when the object is unreachable, and keeps it until then.
    Finalizer = 1,
    /// Names the object without keeping it.
    Weak = 2,
    /// The object was sampled for the heap profile.
    Sample = 3,
    /// Runs after the object is gone.
    Cleanup = 4,
    /// As `Cleanup`; its second word is a root.
    CleanupWithArgument = 5,
    /// Has run, and keeps nothing alive.
    Through = 6,
    /// The object's payload is dropped in place before the cell is free.
    Drop = 7,
}

const KIND_SHIFT: u32 = 56;

/// What a record is for and whose it is: two records are the same if their
/// places are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u64);

impl Place {
    #[inline]
    pub(crate) fn new(kind: Kind, object: Address) -> Place {
        debug_assert!((object.as_usize() as u64) >> KIND_SHIFT == 0);
        Place(object.as_usize() as u64 | (kind as u64) << KIND_SHIFT)
    }

    #[inline]
    pub(crate) fn is(self, kind: Kind) -> bool {
        self.0 >> KIND_SHIFT == kind as u64
    }

    /// The address that was registered: in or at the object.
    #[inline]
    pub(crate) fn object(self) -> Address {
        Address::new((self.0 & ((1 << KIND_SHIFT) - 1)) as usize)
    }
}

/// Two words that mean something to who registered them. They may hold part
/// of a closure: pointers, padding, anything.
pub(crate) type Words = [MaybeUninit<u64>; 2];

/// The words of a weak record with one handle, in a table.
pub(super) const FIRST_HANDLE: Words = [MaybeUninit::new(WeakCount::FIRST), MaybeUninit::new(0)];

/// No words.
pub(crate) const NO_WORDS: Words = [MaybeUninit::new(0); 2];

/// What a record carries for the layer above.
#[derive(Clone, Copy)]
pub(crate) struct Payload {
    /// Says what `words` are.
    pub(crate) code: *const (),
    pub(crate) words: Words,
}

impl core::fmt::Debug for Payload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Payload").field("code", &self.code).finish_non_exhaustive()
    }
}

impl Payload {
    /// A payload of two numbers.
    pub(crate) fn numbers(words: [u64; 2]) -> Payload {
        Payload { code: core::ptr::null(), words: words.map(MaybeUninit::new) }
    }

    /// The words of a payload made by [`numbers`](Payload::numbers), or those
    /// known to be numbers.
    ///
    /// # Safety
    ///
    /// Both words are initialised.
    pub(crate) unsafe fn as_numbers(&self) -> [u64; 2] {
        // SAFETY: the caller's promise.
        self.words.map(|word| unsafe { word.assume_init() })
    }
}

/// Number of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct RecordId(NonZeroU32);

impl RecordId {
    #[inline]
    pub(crate) fn new(number: u32) -> Option<RecordId> {
        NonZeroU32::new(number).map(RecordId)
    }

    #[inline]
    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

/// The number of a link that may be empty.
#[inline]
pub(crate) fn link(id: Option<RecordId>) -> u32 {
    id.map_or(0, RecordId::get)
}

/// A record on an object.
///
/// # Invariants
///
/// 1. A record is in one of: a table, a queue, the hands of who took it from
///    a queue, a free list; or it is a weak record whose object is gone and
///    whose handles are left.
/// 2. `words` of a `Weak` record hold its [`WeakCount`]; those of a
///    `CleanupWithArgument` a word of the layer above and the argument; those
///    of a `Sample` two numbers. Of the others nothing is known.
/// 3. `ticket` changes each time the record leaves a table.
#[repr(C)]
pub(crate) struct Record {
    place: AtomicU64,
    /// The payload's code; for a weak record the object, null when gone.
    code: AtomicPtr<()>,
    words: UnsafeCell<Words>,
    /// Next record of the cell, the queue or the free list.
    next: AtomicU32,
    ticket: AtomicU32,
}

impl Record {
    #[inline]
    pub(crate) fn place(&self) -> Place {
        // Relaxed: protected as the file says.
        Place(self.place.load(Relaxed))
    }

    #[inline]
    pub(crate) fn next(&self) -> Option<RecordId> {
        RecordId::new(self.next.load(Relaxed))
    }

    #[inline]
    pub(crate) fn set_next(&self, next: Option<RecordId>) {
        self.next.store(link(next), Relaxed);
    }

    /// Changes whenever the record is taken off its object.
    #[inline]
    pub(crate) fn ticket(&self) -> u32 {
        self.ticket.load(Relaxed)
    }

    /// The record leaves its table.
    #[inline]
    pub(super) fn retire_ticket(&self) {
        self.ticket.store(self.ticket().wrapping_add(1), Relaxed);
    }

    /// Fills a free record.
    #[inline]
    pub(super) fn fill(&self, place: Place, payload: Payload, next: Option<RecordId>) {
        self.place.store(place.0, Relaxed);
        self.code.store(payload.code.cast_mut(), Relaxed);
        // SAFETY: the record is free and in the hands of the caller
        // (invariant 1), so nobody reads the words.
        unsafe { *self.words.get() = payload.words };
        self.set_next(next);
    }

    /// What was taken from a queue has run: what it kept alive may die. The
    /// caller is who took it.
    pub(crate) fn set_through(&self) {
        let place = Place::new(Kind::Through, self.place().object());
        // Relaxed: the collector looks when the world has stopped.
        self.place.store(place.0, Relaxed);
    }

    /// What the record carries. Not for weak records.
    #[inline]
    pub(crate) fn payload(&self) -> Payload {
        // SAFETY: the words are written once, before the record is in a table
        // or queue, whose lock the caller has taken since.
        Payload { code: self.code.load(Relaxed), words: unsafe { *self.words.get() } }
    }

    /// The root a cleanup brings along.
    pub(crate) fn argument(&self) -> Option<Address> {
        self.place().is(Kind::CleanupWithArgument).then(|| {
            // SAFETY: by invariant 2 the second word is the argument.
            Address::new(unsafe { self.payload().words[1].assume_init() } as usize)
        })
    }

    /// The object of a weak record; null when it is gone.
    #[inline]
    pub(crate) fn weak_object(&self) -> *mut u8 {
        // Acquire: pairs with the Release in `clear_weak`; who sees null sees
        // what the collector did before.
        self.code.load(Acquire).cast()
    }

    /// Hides the object of a weak record from its handles: it is being made.
    pub(crate) fn hide_weak(&self) {
        self.clear_weak();
    }

    /// The object of a weak record is made.
    pub(crate) fn show_weak(&self, object: *mut u8) {
        // Release: pairs with the Acquire in `weak_object`; who sees the object sees
        // its value.
        self.code.store(object.cast(), Release);
    }

    /// The object of a drop is dead, or its value is about to be dropped: its trace function
    /// finds it empty from here on. The world is stopped, or cannot be.
    pub(super) fn clear_alive(&self) {
        debug_assert!(self.place().is(Kind::Drop));
        // SAFETY: the words of a drop are numbers (invariant 2).
        let [alive, _] = unsafe { self.payload().as_numbers() };
        if alive != 0 {
            let alive: *mut usize = Address::new(alive as usize).as_ptr();
            // SAFETY: a word of the object, whose cell is still there. Relaxed: read
            // when the world is stopped.
            unsafe { AtomicUsize::from_ptr(alive) }.store(0, Relaxed);
        }
    }

    pub(super) fn clear_weak(&self) {
        // Release: pairs with the Acquire in `weak_object`.
        self.code.store(core::ptr::null_mut(), Release);
    }

    /// The handles of a weak record.
    #[inline]
    pub(crate) fn weak_count(&self) -> &WeakCount {
        debug_assert!(self.place().is(Kind::Weak));
        // SAFETY: by invariant 2 the first word is one; while handles or the
        // table know the record it is accessed by this type only.
        unsafe { &*self.words.get().cast::<WeakCount>() }
    }
}

#[repr(C)]
struct ChunkHeader {
    /// What the layer above wants to find from a record.
    owner: AtomicPtr<()>,
}

#[derive(Debug)]
struct Pool {
    memory: Option<Reservation>,
    /// Chunks in use, and committed.
    chunks: usize,
    committed: usize,
    chunks_max: usize,
    huge_pages: bool,
    /// Number of the next record never used, in the chunk committed last.
    fresh: u32,
    /// Slots left there.
    fresh_left: u32,
    free: Option<RecordId>,
}

/// Records that a stripe keeps for itself.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    free: Option<RecordId>,
    fresh: u32,
    fresh_left: u32,
}

/// All records of a heap.
#[derive(Debug)]
pub(crate) struct Records {
    /// First byte of the range; 0 before the first record.
    base: AtomicUsize,
    committed_bytes: AtomicUsize,
    pool: Lock<Pool>,
}

impl Records {
    pub(super) const fn new(huge_pages: bool) -> Records {
        let pool = Pool {
            memory: None,
            chunks: 0,
            committed: 0,
            chunks_max: CHUNKS_MAX,
            huge_pages,
            fresh: 0,
            fresh_left: 0,
            free: None,
        };
        Records {
            base: AtomicUsize::new(0),
            committed_bytes: AtomicUsize::new(0),
            pool: Lock::new(Rank::Records, pool),
        }
    }

    /// The record with a number.
    #[inline]
    pub(crate) fn get(&self, id: RecordId) -> &Record {
        let number = id.get();
        let chunk = (number >> SLOT_BITS) as usize;
        let slot = (number & ((1 << SLOT_BITS) - 1)) as usize;
        // Relaxed: who has a number got it after the range was made.
        let base = self.base.load(Relaxed);
        let at = Address::new(base + (chunk << CHUNK_SHIFT) + slot * size_of::<Record>());
        // SAFETY: numbers come from `refill`, which committed the chunk;
        // zeroes are a valid record.
        unsafe { &*at.as_ptr::<Record>() }
    }

    /// Fetches a record that will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, id: RecordId) {
        os::prefetch(Address::from_ptr(core::ptr::from_ref(self.get(id))));
    }

    /// The number of a record.
    pub(crate) fn id_of(&self, record: &Record) -> RecordId {
        let offset = core::ptr::from_ref(record).addr() - self.base.load(Relaxed);
        let slot = (offset & (CHUNK_BYTES - 1)) / size_of::<Record>();
        let number = (offset >> CHUNK_SHIFT << SLOT_BITS | slot) as u32;
        RecordId::new(number).expect("slot 0 is a header")
    }

    /// Whether a record is one of these.
    #[inline]
    pub(crate) fn contains(&self, record: NonNull<Record>) -> bool {
        // Relaxed: who has a record got it after the range was made.
        let base = Address::new(self.base.load(Relaxed));
        Address::new(record.addr().get()).offset_from(base) < self.committed_bytes()
    }

    /// Bytes of memory in use for records.
    pub(crate) fn committed_bytes(&self) -> usize {
        // Relaxed: a statistic.
        self.committed_bytes.load(Relaxed)
    }

    /// A record for a stripe.
    #[inline]
    pub(super) fn take(&self, reserve: &mut Reserve) -> Result<RecordId, MetaError> {
        if let Some(id) = reserve.free {
            reserve.free = self.get(id).next();
            return Ok(id);
        }
        if reserve.fresh_left == 0 {
            self.refill(reserve)?;
            if reserve.fresh_left == 0 {
                return self.take(reserve);
            }
        }
        let id = RecordId::new(reserve.fresh).expect("slot 0 is a header");
        reserve.fresh += 1;
        reserve.fresh_left -= 1;
        Ok(id)
    }

    /// Takes a record of a stripe back.
    #[inline]
    pub(super) fn give(&self, reserve: &mut Reserve, id: RecordId) {
        self.get(id).set_next(reserve.free);
        reserve.free = Some(id);
    }

    /// Takes a list of records back, from whoever has them.
    pub(crate) fn recycle(&self, list: impl IntoIterator<Item = RecordId>) {
        let mut pool = self.pool.lock();
        for id in list {
            self.get(id).set_next(pool.free);
            pool.free = Some(id);
        }
    }

    #[cold]
    fn refill(&self, reserve: &mut Reserve) -> Result<(), MetaError> {
        let mut pool = self.pool.lock();
        if pool.free.is_some() {
            for _ in 0..BATCH {
                let Some(id) = pool.free else { break };
                pool.free = self.get(id).next();
                self.give(reserve, id);
            }
            return Ok(());
        }
        if pool.fresh_left == 0 {
            self.commit_chunk(&mut pool)?;
        }
        let count = pool.fresh_left.min(BATCH);
        reserve.fresh = pool.fresh;
        reserve.fresh_left = count;
        pool.fresh += count;
        pool.fresh_left -= count;
        Ok(())
    }

    fn commit_chunk(&self, pool: &mut Pool) -> Result<(), MetaError> {
        if pool.memory.is_none() {
            let memory = loop {
                match Reservation::reserve(pool.chunks_max * CHUNK_BYTES, 2 << 20) {
                    Ok(memory) => break memory,
                    Err(_) if pool.chunks_max > CHUNKS_MIN => pool.chunks_max /= 2,
                    Err(error) => return Err(MetaError::OutOfMemory(error)),
                }
            };
            self.base.store(memory.base().as_usize(), Relaxed);
            pool.memory = Some(memory);
        }
        let memory = pool.memory.as_ref().expect("made above");
        if pool.chunks == pool.chunks_max {
            let cause = crate::os::OsError { call: "records", errno: 0 };
            return Err(MetaError::OutOfMemory(cause));
        }
        if pool.chunks == pool.committed {
            let huge = pool.chunks >= 2 * HUGE_CHUNKS && pool.huge_pages;
            let (offset, step) = (pool.chunks << CHUNK_SHIFT, if huge { HUGE_CHUNKS } else { 1 });
            memory.commit(offset, step << CHUNK_SHIFT).map_err(MetaError::OutOfMemory)?;
            if huge {
                memory.advise_huge(offset, step << CHUNK_SHIFT, HugePages::Prefer);
            }
            pool.committed += step;
            // Relaxed: a statistic.
            self.committed_bytes.store(pool.committed << CHUNK_SHIFT, Relaxed);
        }
        pool.fresh = ((pool.chunks as u32) << SLOT_BITS) + 1;
        pool.fresh_left = CHUNK_SLOTS - 1;
        pool.chunks += 1;
        Ok(())
    }
}

/// The header of the chunk a record is in.
///
/// # Safety
///
/// `record` came from [`Records::get`] of a heap that still is.
unsafe fn header_of<'r>(record: NonNull<Record>) -> &'r ChunkHeader {
    let at = record.as_ptr().map_addr(|address| address & !(CHUNK_BYTES - 1));
    // SAFETY: chunks are aligned to their size and start with a header; the
    // range's provenance is exposed, which covers the whole chunk.
    unsafe { &*Address::new(at.addr()).as_ptr::<ChunkHeader>() }
}

/// Notes what [`owner_of`] shall answer for a record and its neighbours; the
/// same for all of a heap.
///
/// # Safety
///
/// As [`owner_of`].
pub(crate) unsafe fn set_owner(record: NonNull<Record>, owner: *const ()) {
    // SAFETY: the caller's promise. Relaxed: handles are passed on with their
    // own synchronisation.
    unsafe { header_of(record) }.owner.store(owner.cast_mut(), Relaxed);
}

/// What [`set_owner`] noted for the record.
///
/// # Safety
///
/// The record came from a heap that still is.
#[inline]
pub(crate) unsafe fn owner_of(record: NonNull<Record>) -> *const () {
    // SAFETY: the caller's promise.
    unsafe { header_of(record) }.owner.load(Relaxed)
}
