//! A span: a run of pages cut into cells of one span class.
//!
//! Records live in a table of the heap's reservation, indexed by [`SpanId`],
//! so that a page names its span in four bytes and a record never moves.
//! Which cells are taken is not in the record: the bits of the last cycle's
//! survivors are in a side table (`space`), and every cell below
//! `free_index` has been handed out since.
//!
//! Protection: all fields are relaxed atomics, because `find_object` reads
//! them from any thread; invariant 3 says who may write.

use crate::base::Address;
use crate::base::size_class::MAX_CELLS;
use crate::base::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::heap::open_chunk::ChunkHolder;
use crate::heap::span_class::SpanClassId;
use core::num::NonZeroU32;

/// Number of a span record; never zero, so that an empty link costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct SpanId(NonZeroU32);

const _: () = assert!(size_of::<Option<SpanId>>() == 4); // the page table counts on it

impl SpanId {
    /// The id with this number; `None` for zero.
    #[inline]
    pub fn new(number: u32) -> Option<SpanId> {
        NonZeroU32::new(number).map(SpanId)
    }

    /// The number.
    #[inline]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The number of a link that may be empty.
#[inline]
pub(crate) fn link(id: Option<SpanId>) -> u32 {
    id.map_or(0, SpanId::get)
}

/// Bit of [`Span::flags`]: the cells may hold old bytes and must be cleared
/// before they are handed out as zero.
pub(crate) const NEEDS_ZERO: u32 = 1;

/// Bit of [`Span::flags`]: pages without survivors have been given back.
const RELEASED: u32 = 2;

/// Upper byte of [`Span::flags`]: sweeps in a row that found the span sparse.
const SPARSE_SHIFT: u32 = 24;

/// Bit of [`Span::flags`]: cells may be joined, as the pages say as well.
const JOINED: u32 = 4;

/// Bits of [`Span::flags`]: one more than the number of the first cell that was
/// handed out while marking ran, or zero.
const NEWBORN_SHIFT: u32 = 8;
const NEWBORN_MASK: u32 = 0xfff << NEWBORN_SHIFT;

const _: () = assert!(MAX_CELLS < 0xfff && NEWBORN_MASK < 1 << SPARSE_SHIFT);

/// A run of pages cut into cells of one size and one layout.
///
/// # Invariants
///
/// 1. `base` starts `pages * PAGE_SIZE` committed bytes that no other span in
///    use has; `cells * cell_bytes` fit in them.
/// 2. `base`, `pages`, `class`, `cells` and `cell_bytes` change only while no
///    page entry names the span.
/// 3. The other fields are written by the span's owner only: the cache that
///    holds it, the sweeper that popped it from a central list, the central
///    list under its lock, or the collector while the world is stopped.
/// 4. Cells at and above `free_index` are handed out only by opening a chunk,
///    which moves `free_index` past them first.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Span {
    base: AtomicUsize,
    cell_bytes: AtomicUsize,
    pages: AtomicU32,
    class: AtomicU32,
    cells: AtomicU32,
    /// The sweep generation in which the span was last swept or made.
    swept: AtomicU32,
    free_index: AtomicU32,
    /// Cells handed out or surviving.
    taken: AtomicU32,
    flags: AtomicU32,
    /// Next span of the same list.
    next: AtomicU32,
    /// The chunk of the cache that holds the span, or none.
    pub(crate) cached_by: ChunkHolder,
    /// Table of the records on this span's objects, or null (`special`).
    pub(crate) specials: AtomicPtr<u8>,
}

impl Span {
    /// Makes a record describe a new span, with nothing taken.
    pub(crate) fn describe(&self, base: Address, pages: usize, class: SpanClassId, shape: Shape) {
        self.base.store(base.as_usize(), Relaxed);
        self.cell_bytes.store(shape.cell_bytes, Relaxed);
        self.pages.store(pages as u32, Relaxed);
        self.class.store(class.index() as u32, Relaxed);
        self.cells.store(shape.cells, Relaxed);
        self.free_index.store(0, Relaxed);
        self.taken.store(0, Relaxed);
        self.flags.store(0, Relaxed);
        self.next.store(0, Relaxed);
        self.cached_by.clear();
        self.specials.store(core::ptr::null_mut(), Relaxed);
    }

    /// First byte.
    #[inline]
    pub fn base(&self) -> Address {
        Address::new(self.base.load(Relaxed))
    }

    /// Bytes of one cell.
    #[inline]
    pub fn cell_bytes(&self) -> usize {
        self.cell_bytes.load(Relaxed)
    }

    /// Pages of the run.
    #[inline]
    pub fn pages(&self) -> usize {
        self.pages.load(Relaxed) as usize
    }

    /// What the cells are.
    #[inline]
    pub fn class(&self) -> SpanClassId {
        SpanClassId::new(self.class.load(Relaxed) as u16)
    }

    /// Number of cells.
    #[inline]
    pub fn cells(&self) -> usize {
        self.cells.load(Relaxed) as usize
    }

    /// Address of a cell.
    ///
    /// # Panics
    ///
    /// When the span has no such cell.
    #[inline]
    pub fn cell(&self, index: usize) -> Address {
        assert!(index < self.cells(), "cell {index} of {}", self.cells());
        self.base().add(index * self.cell_bytes())
    }

    /// Cells below this one have been handed out, or are taken by survivors.
    #[inline]
    pub fn free_index(&self) -> usize {
        self.free_index.load(Relaxed) as usize
    }

    /// Cells handed out or surviving.
    #[inline]
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed) as usize
    }

    /// The sweep generation in which the span was last swept or made.
    #[inline]
    pub(crate) fn swept(&self) -> u32 {
        self.swept.load(Relaxed)
    }

    pub(crate) fn set_swept(&self, generation: u32) {
        self.swept.store(generation, Relaxed);
    }

    pub(crate) fn set_free_index(&self, index: usize) {
        self.free_index.store(index as u32, Relaxed);
    }

    pub(crate) fn set_taken(&self, cells: usize) {
        self.taken.store(cells as u32, Relaxed);
    }

    /// Whether cells must be cleared before they are handed out as zero.
    #[inline]
    pub(crate) fn needs_zero(&self) -> bool {
        self.flags.load(Relaxed) & NEEDS_ZERO != 0
    }

    pub(crate) fn set_needs_zero(&self, needed: bool) {
        self.set_flag(NEEDS_ZERO, needed);
    }

    /// Whether pages without survivors have been given back since a cache
    /// last held the span.
    pub(crate) fn is_released(&self) -> bool {
        self.flags.load(Relaxed) & RELEASED != 0
    }

    pub(crate) fn set_released(&self, released: bool) {
        self.set_flag(RELEASED, released);
    }

    /// How many sweeps in a row, 255 at most, have found the span sparse while
    /// no cache held it.
    pub(crate) fn sparse_sweeps(&self) -> u8 {
        (self.flags.load(Relaxed) >> SPARSE_SHIFT) as u8
    }

    pub(crate) fn set_sparse_sweeps(&self, sweeps: u8) {
        let others = self.flags.load(Relaxed) & !(0xff << SPARSE_SHIFT);
        self.flags.store(others | u32::from(sweeps) << SPARSE_SHIFT, Relaxed);
    }

    /// Whether cells may be joined to objects of a larger class (`join`).
    #[inline]
    pub(crate) fn is_joined(&self) -> bool {
        self.flags.load(Relaxed) & JOINED != 0
    }

    /// For `Space::set_joined`.
    pub(crate) fn set_joined(&self, joined: bool) {
        self.set_flag(JOINED, joined);
    }

    /// From which cell on those that did not survive the last cycle are newborn
    /// (`newborn`), if any are.
    #[inline]
    pub(crate) fn newborn_from(&self) -> Option<usize> {
        ((self.flags.load(Relaxed) & NEWBORN_MASK) >> NEWBORN_SHIFT)
            .checked_sub(1)
            .map(|at| at as usize)
    }

    /// For `Space::note_newborns`.
    pub(crate) fn set_newborn_from(&self, cell: Option<usize>) {
        let others = self.flags.load(Relaxed) & !NEWBORN_MASK;
        let number = cell.map_or(0, |cell| cell as u32 + 1);
        self.flags.store(others | number << NEWBORN_SHIFT, Relaxed);
    }

    fn set_flag(&self, flag: u32, on: bool) {
        let flags = self.flags.load(Relaxed);
        self.flags.store(if on { flags | flag } else { flags & !flag }, Relaxed);
    }

    /// Next span of the same list.
    pub(crate) fn next(&self) -> Option<SpanId> {
        SpanId::new(self.next.load(Relaxed))
    }

    pub(crate) fn set_next(&self, next: Option<SpanId>) {
        self.next.store(link(next), Relaxed);
    }
}

/// How a span is cut.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of one cell.
    pub cell_bytes: usize,
    /// Number of cells.
    pub cells: u32,
}

/// What the page table says of a page, in four bytes: the span class, how far
/// back the span begins, and what the marker wants to know first.
///
/// Zero is a page in no span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct PageInfo(pub(crate) u32);

impl PageInfo {
    /// In no span.
    pub const NONE: PageInfo = PageInfo(0);
    pub(crate) const BACK_SHIFT: u32 = 16;
    /// Set for every page of a span.
    pub(crate) const PRESENT: u32 = 1 << 24;
    /// The span is one large object; its begin is in its record.
    pub(crate) const LARGE: u32 = 1 << 25;
    /// No cell holds a reference.
    pub(crate) const NO_SCAN: u32 = 1 << 26;
    /// Each cell begins with a header word naming its layout.
    pub(crate) const MIXED: u32 = 1 << 27;
    /// Cells may be joined to objects of a larger class (`join`).
    pub(crate) const JOINED: u32 = 1 << 28;
    /// Some cells may be newborn (`newborn`).
    pub(crate) const NEWBORN: u32 = 1 << 29;
    /// Some cell is the key of an ephemeron that waits for it to be marked. Set
    /// during a part of marking only (`collect::ephemeron`).
    pub(crate) const WATCHED: u32 = 1 << 30;
    /// What points here may be no reference (`ambiguous`): the marker checks.
    pub(crate) const AMBIGUOUS: u32 = 1 << 31;

    /// The span class, meaningless for [`PageInfo::NONE`].
    #[inline]
    pub fn class(self) -> SpanClassId {
        SpanClassId::new(self.0 as u16)
    }

    /// Pages back to the span's first; zero for large objects.
    #[inline]
    pub fn pages_back(self) -> usize {
        (self.0 >> Self::BACK_SHIFT & 0xff) as usize
    }

    /// Whether cells of the span may be joined.
    #[inline]
    pub(crate) fn is_joined(self) -> bool {
        self.has(Self::JOINED)
    }

    /// Whether one of the flags is set.
    #[inline]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}
