//! Memory for the heap's own records: the origin's `persistentalloc`, one per heap.
//!
//! [`Meta::alloc`] hands out zeroed memory and never takes any back. Small requests
//! are cut from chunks of 256 KiB; requests of 64 KiB and more get a mapping each.
//! Every byte obtained from the system is first charged to [`MetaStat::Other`]; what a request
//! takes is then moved to the counter it names. So the counters always add up to
//! what was obtained, and `Other` has the unused rest.
//!
//! [`Slab`] cuts records of one type from such memory, and reuses them.
//!
//! Why not malloc: behind a C interface a stopped thread may hold malloc's lock, and a
//! heap that is dropped must leave nothing behind.
//!
//! Protection: the chunk in use is under a lock of rank `Meta`, the last one, so that
//! records can be had under every other lock. Counters are written under it and
//! read without. A `Slab` is its owner's.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::base::address::round_up;
use crate::base::sync::{AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::base::{Address, PAGE_SIZE};
use crate::os::{OsError, Reservation};

/// What [`Meta`] obtains at a time for small requests.
pub const CHUNK_BYTES: usize = 256 << 10;

/// From this size on a request gets a mapping of its own.
pub const DIRECT_MIN_BYTES: usize = 64 << 10;

/// The alignment of requests that name none.
pub const DEFAULT_ALIGN: usize = 8;

/// The largest alignment: mappings begin at pages of the heap.
pub const MAX_ALIGN: usize = PAGE_SIZE;

const _: () = {
    // A small request always fits in a new chunk, however it is aligned.
    assert!(size_of::<Mapping>() + MAX_ALIGN + DIRECT_MIN_BYTES <= CHUNK_BYTES);
    assert!(align_of::<Mapping>() <= DEFAULT_ALIGN);
};

/// The counter that a request is charged to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MetaStat {
    /// Span records and what belongs to spans.
    Spans,
    /// Mutators' caches.
    Caches,
    /// Profile buckets and stacks.
    Profile,
    /// Mark work and bitmaps.
    Marking,
    /// Finalizers, cleanups, weak handles.
    Specials,
    /// Layouts and their cached masks.
    Layouts,
    /// All else, and what nobody has asked for yet.
    Other,
}

impl MetaStat {
    /// Every counter.
    pub const ALL: [MetaStat; 7] = [
        MetaStat::Spans,
        MetaStat::Caches,
        MetaStat::Profile,
        MetaStat::Marking,
        MetaStat::Specials,
        MetaStat::Layouts,
        MetaStat::Other,
    ];
}

/// Why a request got nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MetaError {
    /// A request for no bytes.
    ZeroSize,
    /// The alignment is not a power of two.
    AlignNotPowerOfTwo(usize),
    /// The alignment is larger than a page of the heap ([`MAX_ALIGN`]).
    AlignTooLarge(usize),
    /// The system refused.
    OutOfMemory(OsError),
}

impl core::fmt::Display for MetaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            MetaError::ZeroSize => write!(f, "a record of no bytes"),
            MetaError::AlignNotPowerOfTwo(align) => {
                write!(f, "alignment {align} is not a power of two")
            }
            MetaError::AlignTooLarge(align) => {
                write!(f, "alignment {align} is larger than {MAX_ALIGN}")
            }
            MetaError::OutOfMemory(cause) => write!(f, "no memory for records: {cause}"),
        }
    }
}

impl core::error::Error for MetaError {}

impl From<OsError> for MetaError {
    fn from(cause: OsError) -> MetaError {
        MetaError::OutOfMemory(cause)
    }
}

/// One mapping of a [`Meta`], in the list of all of them. For a chunk it is at the
/// chunk's beginning, for a mapping of its own it is in some chunk.
struct Mapping {
    older: Option<NonNull<Mapping>>,
    memory: Reservation,
}

/// What the lock protects.
///
/// # Invariants
///
/// 1. Bytes from `next` to `end` are committed, zero, and nobody else's.
/// 2. The list from `newest` has every mapping once, and each of its nodes lies
///    in a mapping of the list.
#[derive(Debug)]
struct Chunk {
    next: Address,
    end: Address,
    newest: Option<NonNull<Mapping>>,
}

// SAFETY: the list and the bytes are reached through this value only.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Cuts `bytes`, fewer than [`DIRECT_MIN_BYTES`], from the chunk or from a new one.
    /// `obtained` hears of a new chunk's size.
    fn cut(
        &mut self,
        bytes: usize,
        align: usize,
        obtained: &mut usize,
    ) -> Result<NonNull<u8>, OsError> {
        debug_assert!(bytes < DIRECT_MIN_BYTES && align <= MAX_ALIGN);
        let mut start = round_up(self.next.as_usize(), align);
        if start + bytes > self.end.as_usize() {
            // What is left of the old chunk stays unused, as in the origin.
            let memory = map(CHUNK_BYTES)?;
            *obtained += memory.bytes();
            let base = memory.base();
            self.next = base.add(size_of::<Mapping>());
            self.end = base.add(memory.bytes());
            self.link(pointer(base).cast(), memory);
            start = round_up(self.next.as_usize(), align);
        }
        let start = Address::new(start);
        self.next = start.add(bytes);
        Ok(pointer(start))
    }

    /// Enters a mapping in the list; `node` is a place of invariant 1 that was just cut.
    fn link(&mut self, node: NonNull<Mapping>, memory: Reservation) {
        let mapping = Mapping { older: self.newest, memory };
        // SAFETY: committed and ours by invariant 1; chunks begin at pages and
        // cuts for nodes are aligned.
        unsafe { node.write(mapping) };
        self.newest = Some(node);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // A node of a directly mapped request lies in a chunk that is older or
        // younger than itself. So two passes: first those whose node lies
        // elsewhere, unlinking them, then the chunks, each holding its own node.
        let mut chunks = None;
        let mut next = self.newest.take();
        while let Some(node) = next {
            // SAFETY: by invariant 2 the node is alive, and so it is until the
            // second pass; nobody else reads it.
            let Mapping { older, memory } = unsafe { node.read() };
            next = older;
            if memory.base() == Address::from_ptr(node.as_ptr()) {
                // SAFETY: the node lies in `memory`, which lives on in it.
                unsafe { node.write(Mapping { older: chunks, memory }) };
                chunks = Some(node);
            } else {
                drop(memory);
            }
        }
        while let Some(node) = chunks {
            // SAFETY: written above, and each is read once, before it is released.
            let Mapping { older, memory } = unsafe { node.read() };
            chunks = older;
            drop(memory);
        }
    }
}

fn map(bytes: usize) -> Result<Reservation, OsError> {
    let memory = Reservation::reserve(bytes, MAX_ALIGN)?;
    memory.commit(0, memory.bytes())?;
    Ok(memory)
}

fn pointer(address: Address) -> NonNull<u8> {
    NonNull::new(address.as_ptr()).expect("a mapping does not begin at address 0")
}

/// Gives every `Meta` a number of its own, so that a [`Slab`] knows its.
static NEXT_IDENTITY: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);

/// The source of records of one heap. Dropping it releases all of them.
#[derive(Debug)]
pub struct Meta {
    chunk: Lock<Chunk>,
    /// Bytes charged, by [`MetaStat`]. Written under the lock.
    charged: [AtomicU64; MetaStat::ALL.len()],
    /// Bytes obtained from the system. Written under the lock.
    obtained: AtomicU64,
    identity: u64,
}

impl Default for Meta {
    fn default() -> Meta {
        Meta::new()
    }
}

impl Meta {
    /// A source that has obtained nothing yet.
    pub fn new() -> Meta {
        let chunk = Chunk { next: Address::NULL, end: Address::NULL, newest: None };
        Meta {
            chunk: Lock::new(Rank::Meta, chunk),
            charged: core::array::from_fn(|_| AtomicU64::new(0)),
            obtained: AtomicU64::new(0),
            // Relaxed: only that each caller gets another number matters.
            identity: NEXT_IDENTITY.fetch_add(1, Relaxed),
        }
    }

    /// Zeroed memory of `bytes` at a multiple of `align` (0: of 8), charged to
    /// `stat`; the caller's until the `Meta` is dropped.
    ///
    /// # Errors
    ///
    /// A request that breaks a rule gets its error, and nothing is obtained. When
    /// the system refuses, everything is as before.
    pub fn alloc(
        &self,
        bytes: usize,
        align: usize,
        stat: MetaStat,
    ) -> Result<NonNull<u8>, MetaError> {
        if bytes == 0 {
            return Err(MetaError::ZeroSize);
        }
        let align = match align {
            0 => DEFAULT_ALIGN,
            align if !align.is_power_of_two() => {
                return Err(MetaError::AlignNotPowerOfTwo(align));
            }
            align if align > MAX_ALIGN => return Err(MetaError::AlignTooLarge(align)),
            align => align,
        };
        let mut chunk = self.chunk.lock();
        let mut obtained = 0;
        let result = if bytes >= DIRECT_MIN_BYTES {
            Meta::alloc_direct(&mut chunk, bytes, &mut obtained)
        } else {
            chunk.cut(bytes, align, &mut obtained)
        };
        // Also on failure: a chunk may have been obtained for a node whose mapping
        // was then refused.
        self.charge(MetaStat::Other, obtained as i64);
        // Relaxed: a count.
        self.obtained.fetch_add(obtained as u64, Relaxed);
        let place = result?;
        self.charge(MetaStat::Other, -(bytes as i64));
        self.charge(stat, bytes as i64);
        Ok(place)
    }

    fn alloc_direct(
        chunk: &mut Chunk,
        bytes: usize,
        obtained: &mut usize,
    ) -> Result<NonNull<u8>, OsError> {
        let memory = map(bytes)?;
        let node = chunk.cut(size_of::<Mapping>(), align_of::<Mapping>(), obtained)?;
        *obtained += memory.bytes();
        let place = pointer(memory.base());
        chunk.link(node.cast(), memory);
        Ok(place)
    }

    fn charge(&self, stat: MetaStat, bytes: i64) {
        // Relaxed: a count, written under the lock.
        self.charged[stat as usize].fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes charged to `stat`.
    pub fn bytes(&self, stat: MetaStat) -> u64 {
        // Relaxed: a count.
        self.charged[stat as usize].load(Relaxed)
    }

    /// Bytes obtained from the system: the sum of all counters, when nobody is
    /// in [`alloc`](Meta::alloc).
    pub fn total_bytes(&self) -> u64 {
        // Relaxed: a count.
        self.obtained.load(Relaxed)
    }
}

/// The bytes a [`Slab`] asks for at a time, at least.
const SLAB_BYTES: usize = 16 << 10;

/// Records of one type, cut from a [`Meta`] and reused after [`free`](Slab::free).
///
/// Not for sharing: it is part of what some lock protects. Records are never
/// dropped, so `T` needs none.
///
/// # Invariants
///
/// 1. `free` is a list of records of this slab that nobody has; each begins with
///    the link to the next.
/// 2. Bytes from `next` to `end` are zero and nobody else's.
/// 3. All of it lies in the `Meta` whose identity is `owner`.
#[derive(Debug)]
pub struct Slab<T> {
    free: Option<NonNull<FreeRecord>>,
    next: Address,
    end: Address,
    owner: Option<u64>,
    stat: MetaStat,
    used: usize,
    records: PhantomData<T>,
}

#[derive(Debug)]
struct FreeRecord {
    next: Option<NonNull<FreeRecord>>,
}

// SAFETY: the slab reaches records that nobody has, and no `T` through them;
// who gets a record on another thread gets it as a pointer.
unsafe impl<T> Send for Slab<T> {}

impl<T> Slab<T> {
    /// Bytes from one record to the next.
    pub const RECORD_BYTES: usize = {
        assert!(!core::mem::needs_drop::<T>(), "records are not dropped");
        assert!(align_of::<T>() <= MAX_ALIGN);
        let bytes = if size_of::<T>() < size_of::<FreeRecord>() {
            size_of::<FreeRecord>()
        } else {
            size_of::<T>()
        };
        round_up(bytes, Self::ALIGN)
    };

    const ALIGN: usize =
        if align_of::<T>() < DEFAULT_ALIGN { DEFAULT_ALIGN } else { align_of::<T>() };

    /// A slab without records, that charges to `stat`.
    pub const fn new(stat: MetaStat) -> Slab<T> {
        Slab {
            free: None,
            next: Address::NULL,
            end: Address::NULL,
            owner: None,
            stat,
            used: 0,
            records: PhantomData,
        }
    }

    /// A record, all its bytes zero; the caller's until it is freed or `meta` dropped.
    ///
    /// # Errors
    ///
    /// When the system has no memory for more of them.
    ///
    /// # Panics
    ///
    /// When an earlier call came with another `Meta`.
    pub fn alloc(&mut self, meta: &Meta) -> Result<NonNull<T>, MetaError> {
        let owner = *self.owner.get_or_insert(meta.identity);
        assert_eq!(owner, meta.identity, "a slab takes from one Meta");
        if let Some(record) = self.free {
            // SAFETY: a free record (invariant 1) in memory that is alive, since
            // we hold its `Meta` (invariant 3).
            self.free = unsafe { record.read() }.next;
            let place = record.cast::<u8>();
            // SAFETY: as above; the record has so many bytes.
            unsafe { place.write_bytes(0, Self::RECORD_BYTES) };
            self.used += 1;
            return Ok(place.cast());
        }
        if self.next == self.end {
            let bytes = SLAB_BYTES.next_multiple_of(Self::RECORD_BYTES);
            let start = Address::from_ptr(meta.alloc(bytes, Self::ALIGN, self.stat)?.as_ptr());
            self.next = start;
            self.end = start.add(bytes);
        }
        let place = pointer(self.next);
        self.next = self.next.add(Self::RECORD_BYTES);
        self.used += 1;
        Ok(place.cast())
    }

    /// Takes a record back.
    ///
    /// # Safety
    ///
    /// The record came from this slab, was not freed since, nobody uses it any
    /// more, and its `Meta` is alive.
    pub unsafe fn free(&mut self, record: NonNull<T>) {
        let record = record.cast::<FreeRecord>();
        // SAFETY: by the caller's promise the record is ours to write; its size and
        // alignment are enough by `RECORD_BYTES`.
        unsafe { record.write(FreeRecord { next: self.free }) };
        self.free = Some(record);
        self.used -= 1;
    }

    /// Records handed out and not freed.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Bytes in them.
    pub fn used_bytes(&self) -> usize {
        self.used * Self::RECORD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fault;

    fn sum(meta: &Meta) -> u64 {
        MetaStat::ALL.iter().map(|&stat| meta.bytes(stat)).sum()
    }

    fn bytes_of(place: NonNull<u8>, bytes: usize) -> &'static mut [u8] {
        // SAFETY: the tests keep the `Meta` while they look, and each place is
        // looked at by one of them.
        unsafe { core::slice::from_raw_parts_mut(place.as_ptr(), bytes) }
    }

    #[test]
    fn persistent_alloc_checks_size_and_alignment() {
        let meta = Meta::new();
        let alloc = |bytes, align| meta.alloc(bytes, align, MetaStat::Other).map(|_| ());
        assert_eq!(alloc(0, 0), Err(MetaError::ZeroSize));
        for align in [3, 5, 6, 12, 8191, usize::MAX] {
            assert_eq!(alloc(8, align), Err(MetaError::AlignNotPowerOfTwo(align)));
        }
        for align in [2 * MAX_ALIGN, 1 << 20, 1 << 63] {
            assert_eq!(alloc(8, align), Err(MetaError::AlignTooLarge(align)));
            assert_eq!(alloc(DIRECT_MIN_BYTES, align), Err(MetaError::AlignTooLarge(align)));
        }
        assert_eq!(meta.total_bytes(), 0, "a refused request obtains nothing");
    }

    #[test]
    fn persistent_alloc_aligns_zeroes_and_never_overlaps() {
        let meta = Meta::new();
        let mut end_of_last = 0;
        for round in 0..4 {
            for align in [0, 1, 2, 4, 8, 16, 64, 4096, 8192] {
                for bytes in [1, 3, 8, 100, 5000, DIRECT_MIN_BYTES - 1, DIRECT_MIN_BYTES, 200_000] {
                    let place = meta.alloc(bytes, align, MetaStat::Spans).unwrap();
                    let start = place.as_ptr().addr();
                    let expected = if align == 0 { DEFAULT_ALIGN } else { align };
                    assert!(start.is_multiple_of(expected), "{start:#x} for {align}");
                    let memory = bytes_of(place, bytes);
                    assert!(memory.iter().all(|&byte| byte == 0), "round {round}");
                    memory.fill(0xFF);
                    end_of_last = end_of_last.max(start + bytes);
                }
            }
        }
        assert_eq!(sum(&meta), meta.total_bytes());
    }

    #[test]
    fn persistent_alloc_moves_the_charge_from_other() {
        let meta = Meta::new();
        meta.alloc(100, 0, MetaStat::Profile).unwrap();
        assert_eq!(meta.bytes(MetaStat::Profile), 100);
        assert_eq!(meta.bytes(MetaStat::Other), CHUNK_BYTES as u64 - 100);
        assert_eq!(meta.total_bytes(), CHUNK_BYTES as u64);

        // Padding stays with `Other`.
        meta.alloc(8, 4096, MetaStat::Caches).unwrap();
        assert_eq!(meta.bytes(MetaStat::Caches), 8);
        assert_eq!(meta.total_bytes(), CHUNK_BYTES as u64);

        // A request of its own mapping costs no chunk.
        meta.alloc(DIRECT_MIN_BYTES, 0, MetaStat::Marking).unwrap();
        assert_eq!(meta.bytes(MetaStat::Marking), DIRECT_MIN_BYTES as u64);
        assert_eq!(meta.total_bytes(), (CHUNK_BYTES + DIRECT_MIN_BYTES) as u64);
        // Rounding to pages stays with `Other` too.
        meta.alloc(DIRECT_MIN_BYTES + 1, 0, MetaStat::Marking).unwrap();
        assert_eq!(meta.bytes(MetaStat::Marking), 2 * DIRECT_MIN_BYTES as u64 + 1);

        // Charged to `Other` it stays there.
        let (other, total) = (meta.bytes(MetaStat::Other), meta.total_bytes());
        meta.alloc(64, 0, MetaStat::Other).unwrap();
        assert_eq!((meta.bytes(MetaStat::Other), meta.total_bytes()), (other, total));
        assert_eq!(sum(&meta), total);
    }

    #[test]
    fn persistent_alloc_takes_a_chunk_when_the_last_is_full() {
        let meta = Meta::new();
        for _ in 0..CHUNK_BYTES / 32_768 - 1 {
            meta.alloc(32_768, 0, MetaStat::Spans).unwrap();
        }
        assert_eq!(meta.total_bytes(), CHUNK_BYTES as u64);
        meta.alloc(32_768, 0, MetaStat::Spans).unwrap();
        assert_eq!(meta.total_bytes(), 2 * CHUNK_BYTES as u64);
    }

    #[test]
    fn persistent_alloc_reports_exhaustion_and_works_on() {
        for bytes in [16, DIRECT_MIN_BYTES] {
            for n in 1.. {
                let meta = Meta::new();
                let guard = fault::fail_nth(n);
                let result = meta.alloc(bytes, 0, MetaStat::Spans);
                let refused = guard.failed() == 1;
                drop(guard);
                assert_eq!(sum(&meta), meta.total_bytes());
                if !refused {
                    result.unwrap();
                    break;
                }
                assert!(matches!(result, Err(MetaError::OutOfMemory(_))), "{result:?}");
                assert_eq!(meta.bytes(MetaStat::Spans), 0);
                meta.alloc(bytes, 0, MetaStat::Spans).unwrap();
            }
        }
        let meta = Meta::new();
        let error = meta.alloc(1 << 60, 0, MetaStat::Spans).unwrap_err();
        assert_eq!(error.to_string(), "no memory for records: mmap: out of memory (errno 12)");
    }

    #[test]
    fn threads_get_separate_memory() {
        let meta = Meta::new();
        std::thread::scope(|s| {
            for thread in 0..4u8 {
                let meta = &meta;
                s.spawn(move || {
                    let places: Vec<_> = (0..2000)
                        .map(|i| {
                            let bytes = 1 + i % 200;
                            let place = meta.alloc(bytes, 1, MetaStat::Specials).unwrap();
                            bytes_of(place, bytes).fill(thread);
                            (place, bytes)
                        })
                        .collect();
                    for (place, bytes) in places {
                        assert!(bytes_of(place, bytes).iter().all(|&byte| byte == thread));
                    }
                });
            }
        });
        assert_eq!(sum(&meta), meta.total_bytes());
    }

    #[test]
    fn slab_reuses_records_zeroed() {
        let meta = Meta::new();
        let mut slab = Slab::<[u64; 5]>::new(MetaStat::Specials);
        let mut records = Vec::new();
        for i in 0..2000 {
            let record = slab.alloc(&meta).unwrap();
            // SAFETY: ours, and a value of its type when zero.
            unsafe { assert_eq!(record.replace([i; 5]), [0; 5]) };
            records.push(record);
        }
        let distinct: std::collections::BTreeSet<_> = records.iter().collect();
        assert_eq!((distinct.len(), slab.used()), (2000, 2000));
        let total = meta.bytes(MetaStat::Specials);
        assert!(total >= slab.used_bytes() as u64 && total < slab.used_bytes() as u64 + 17_000);
        for (i, &record) in records.iter().enumerate() {
            // SAFETY: not freed yet; each is freed once.
            unsafe {
                assert_eq!(record.read(), [i as u64; 5]);
                slab.free(record);
            }
        }
        for _ in 0..2000 {
            let record = slab.alloc(&meta).unwrap();
            assert!(distinct.contains(&record));
            // SAFETY: ours, and a value of its type when zero.
            unsafe { assert_eq!(record.replace([9; 5]), [0; 5]) };
        }
        assert_eq!(meta.bytes(MetaStat::Specials), total);
    }

    #[test]
    fn slab_holds_small_and_wide_types() {
        #[repr(align(128))]
        struct Wide(#[expect(dead_code, reason = "for its size")] u8);
        assert_eq!((Slab::<u8>::RECORD_BYTES, Slab::<Wide>::RECORD_BYTES), (8, 128));
        assert_eq!(Slab::<[u64; 9000]>::RECORD_BYTES, 72_000);
        let meta = Meta::new();
        let mut wide = Slab::<Wide>::new(MetaStat::Other);
        let mut huge = Slab::<[u64; 9000]>::new(MetaStat::Other);
        for _ in 0..300 {
            let record = wide.alloc(&meta).unwrap();
            assert!(record.as_ptr().addr().is_multiple_of(128));
        }
        let record = huge.alloc(&meta).unwrap();
        // SAFETY: ours, and a value of its type when zero.
        assert!(unsafe { record.as_ref() }.iter().all(|&word| word == 0));
    }

    #[test]
    #[should_panic(expected = "a slab takes from one Meta")]
    fn slab_refuses_another_source() {
        let mut slab = Slab::<u64>::new(MetaStat::Other);
        slab.alloc(&Meta::new()).unwrap();
        let _ = slab.alloc(&Meta::new());
    }
}
