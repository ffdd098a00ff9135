//! The table of one span's records: which cells have some, and where the
//! records of a cell begin.
//!
//! ```text
//! header | a bit a cell: has records | a bit a cell: has a finalizer | head of the cell's list, 4 bytes a cell
//! ```
//!
//! So a cell's records are found by its number, and the dead among the cells
//! with records by one AND a word of marks.
//!
//! Tables come in powers of two from a free list a size.
//!
//! Protection: the lock of the table's stripe; see [`Table`].

use crate::base::sync::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::heap::meta::{Meta, MetaError, MetaStat};
use crate::heap::span::SpanId;
use crate::heap::special::record::{RecordId, link};
use core::ptr::NonNull;

/// Log2 of the smallest and largest table.
const SHIFT_MIN: u32 = 7;
const SHIFT_MAX: u32 = 15;

#[repr(C)]
struct Header {
    /// Next table of the stripe, or of the free list.
    next: AtomicPtr<u8>,
    span: AtomicU32,
    cells: u32,
    /// Records in the table.
    records: AtomicU32,
    /// Records whose argument is a root.
    arguments: AtomicU32,
    /// Cells with a finalizer.
    finalizable: AtomicU32,
    /// Log2 of the table's bytes.
    shift: u32,
}

/// A span's table.
///
/// # Invariants
///
/// 1. The pointer starts a table of `2^shift` bytes as the file shows it,
///    which lives as long as the heap.
/// 2. It is used under the lock of its stripe, or while in nobody's hands.
///    While the world is stopped the collector reads the header and the bits
///    of finalizers without the lock: no one but a mutator writes the bits.
/// 3. A cell's head is meaningful if its bit is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Table(NonNull<u8>);

// SAFETY: invariant 2.
unsafe impl Send for Table {}

/// Words of one bitmap of a table of so many cells.
#[inline]
fn words(cells: u32) -> usize {
    cells.div_ceil(64) as usize
}

/// Bytes of a table of so many cells.
fn table_bytes(cells: u32) -> usize {
    size_of::<Header>() + 16 * words(cells) + 4 * cells as usize
}

const _: () = {
    let cells = crate::base::size_class::MAX_CELLS;
    assert!(size_of::<Header>() + 16 * cells.div_ceil(64) + 4 * cells <= 1 << SHIFT_MAX);
};

impl Table {
    #[inline]
    pub(super) fn from_raw(pointer: *mut u8) -> Option<Table> {
        NonNull::new(pointer).map(Table)
    }

    #[inline]
    pub(super) fn as_raw(self) -> *mut u8 {
        self.0.as_ptr()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: invariant 1; `cells` and `shift` are written in nobody's
        // hands only, the rest is atomic. Relaxed throughout: invariant 2.
        unsafe { self.0.cast().as_ref() }
    }

    pub(super) fn next(&self) -> Option<Table> {
        Table::from_raw(self.header().next.load(Relaxed))
    }

    pub(super) fn set_next(&self, next: Option<Table>) {
        self.header().next.store(next.map_or(core::ptr::null_mut(), Table::as_raw), Relaxed);
    }

    pub(super) fn span(&self) -> SpanId {
        SpanId::new(self.header().span.load(Relaxed)).expect("a table in use has a span")
    }

    #[inline]
    pub(super) fn cells(&self) -> usize {
        self.header().cells as usize
    }

    /// Records in the table.
    #[inline]
    pub(super) fn records(&self) -> u32 {
        self.header().records.load(Relaxed)
    }

    /// Records whose argument is a root.
    pub(super) fn arguments(&self) -> u32 {
        self.header().arguments.load(Relaxed)
    }

    /// Cells with a finalizer.
    pub(super) fn finalizable(&self) -> u32 {
        self.header().finalizable.load(Relaxed)
    }

    /// Bits of 64 cells that have records.
    #[inline]
    pub(super) fn special_word(&self, word: usize) -> u64 {
        self.bits(0)[word]
    }

    /// Bits of 64 cells that have a finalizer.
    #[inline]
    pub(super) fn finalizer_word(&self, word: usize) -> u64 {
        self.bits(1)[word]
    }

    /// Words of a bitmap.
    #[inline]
    pub(super) fn words(&self) -> usize {
        words(self.header().cells)
    }

    #[inline]
    fn bits(&self, map: usize) -> &[u64] {
        let words = self.words();
        // SAFETY: invariants 1 and 2; the bitmaps follow the header.
        unsafe {
            let first = self.0.add(size_of::<Header>()).cast::<u64>().add(map * words);
            core::slice::from_raw_parts(first.as_ptr(), words)
        }
    }

    #[inline]
    fn bits_mut(&mut self, map: usize) -> &mut [u64] {
        let words = self.words();
        // SAFETY: as in `bits`.
        unsafe {
            let first = self.0.add(size_of::<Header>()).cast::<u64>().add(map * words);
            core::slice::from_raw_parts_mut(first.as_ptr(), words)
        }
    }

    #[inline]
    fn head_slot(&self, cell: usize) -> NonNull<u32> {
        assert!(cell < self.cells(), "cell {cell} of {}", self.cells());
        // SAFETY: checked; the heads follow the bitmaps (invariant 1).
        unsafe { self.0.add(size_of::<Header>() + 16 * self.words()).cast::<u32>().add(cell) }
    }

    /// The first record of a cell.
    #[inline]
    pub(super) fn head(&self, cell: usize) -> Option<RecordId> {
        let slot = self.head_slot(cell);
        if self.bits(0)[cell / 64] >> (cell % 64) & 1 == 0 {
            return None;
        }
        // SAFETY: `head_slot` is inside the table; invariants 2 and 3.
        RecordId::new(unsafe { slot.read() })
    }

    /// Replaces the first record of a cell.
    #[inline]
    pub(super) fn set_head(&mut self, cell: usize, head: Option<RecordId>) {
        // SAFETY: as in `head`.
        unsafe { self.head_slot(cell).write(link(head)) };
        let bit = 1 << (cell % 64);
        let word = &mut self.bits_mut(0)[cell / 64];
        match head {
            Some(_) => *word |= bit,
            None => *word &= !bit,
        }
    }

    /// Whether the cell has a finalizer.
    #[inline]
    pub(super) fn set_finalizable(&mut self, cell: usize, now: bool) {
        let bit = 1 << (cell % 64);
        let word = &mut self.bits_mut(1)[cell / 64];
        let before = *word & bit != 0;
        match now {
            true => *word |= bit,
            false => *word &= !bit,
        }
        if before != now {
            adjust(&self.header().finalizable, now);
        }
    }

    /// Counts a record that came, and whether its argument is a root.
    #[inline]
    pub(super) fn count(&self, has_argument: bool) {
        adjust(&self.header().records, true);
        if has_argument {
            adjust(&self.header().arguments, true);
        }
    }

    /// Counts a record that went.
    #[inline]
    pub(super) fn uncount(&self, has_argument: bool) {
        adjust(&self.header().records, false);
        if has_argument {
            adjust(&self.header().arguments, false);
        }
    }
}

/// One more, or one less, of a count that only the lock's holder writes.
#[inline]
fn adjust(count: &AtomicU32, more: bool) {
    let now = count.load(Relaxed);
    count.store(if more { now + 1 } else { now - 1 }, Relaxed);
}

/// Free tables by size.
#[derive(Debug)]
pub(super) struct Tables {
    free: [Option<Table>; (SHIFT_MAX - SHIFT_MIN + 1) as usize],
}

impl Tables {
    pub(super) const fn new() -> Tables {
        Tables { free: [None; (SHIFT_MAX - SHIFT_MIN + 1) as usize] }
    }

    /// A table without records for a span of so many cells.
    pub(super) fn take(
        &mut self,
        meta: &Meta,
        span: SpanId,
        cells: usize,
    ) -> Result<Table, MetaError> {
        let cells = cells as u32;
        let shift = table_bytes(cells).next_power_of_two().trailing_zeros().max(SHIFT_MIN);
        let list = &mut self.free[(shift - SHIFT_MIN) as usize];
        let table = match *list {
            Some(table) => {
                *list = table.next();
                table
            }
            None => Table(meta.alloc(1 << shift, 8, MetaStat::Specials)?),
        };
        // SAFETY: the table is in nobody's hands and long enough for this.
        unsafe {
            table.0.cast().write(Header {
                next: AtomicPtr::new(core::ptr::null_mut()),
                span: AtomicU32::new(span.get()),
                cells,
                records: AtomicU32::new(0),
                arguments: AtomicU32::new(0),
                finalizable: AtomicU32::new(0),
                shift,
            });
            table.0.add(size_of::<Header>()).write_bytes(0, 16 * words(cells));
        }
        Ok(table)
    }

    /// Takes a table without records back.
    pub(super) fn give(&mut self, table: Table) {
        debug_assert_eq!(table.records(), 0);
        let list = &mut self.free[(table.header().shift - SHIFT_MIN) as usize];
        table.set_next(*list);
        table.header().span.store(0, Relaxed);
        *list = Some(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_given_back_comes_again_empty_for_another_shape() {
        let meta = Meta::new();
        let mut tables = Tables::new();
        let span = SpanId::new(7).expect("not zero");
        let mut first = tables.take(&meta, span, 300).expect("memory");
        for cell in [0, 63, 64, 299] {
            first.set_head(cell, RecordId::new(cell as u32 + 1));
            first.set_finalizable(cell, true);
        }
        assert_eq!(first.finalizable(), 4);
        assert_eq!(first.special_word(0), 1 | 1 << 63);
        assert_eq!(first.finalizer_word(1), 1);
        assert_eq!(first.head(299), RecordId::new(300));
        for cell in [0, 63, 64, 299] {
            first.set_head(cell, None);
            first.set_finalizable(cell, false);
        }
        let raw = first.as_raw();
        tables.give(first);
        // More cells in the same power of two: bitmaps lie where heads were.
        let again = tables.take(&meta, span, 400).expect("memory");
        assert_eq!(again.as_raw(), raw, "the table is reused");
        assert_eq!(again.cells(), 400);
        for word in 0..again.words() {
            assert_eq!(again.special_word(word) | again.finalizer_word(word), 0, "word {word}");
        }
    }

    #[test]
    fn the_first_and_last_cell_of_every_shape_have_places_of_their_own() {
        let meta = Meta::new();
        let mut tables = Tables::new();
        for class in crate::base::size_class::SizeClass::all() {
            let span = SpanId::new(1).expect("not zero");
            let cells = class.cells();
            let mut table = tables.take(&meta, span, cells).expect("memory");
            for cell in [0, cells - 1] {
                table.set_head(cell, RecordId::new(9));
                table.set_finalizable(cell, true);
            }
            assert_eq!(table.head(cells - 1), RecordId::new(9), "{class:?}");
            assert_eq!(table.cells(), cells);
            assert_eq!(
                table.header().shift,
                table_bytes(cells as u32).next_power_of_two().trailing_zeros().max(SHIFT_MIN)
            );
            for cell in [0, cells - 1] {
                table.set_head(cell, None);
                table.set_finalizable(cell, false);
            }
            tables.give(table);
        }
    }
}
