//! Joined cells: neighbouring free cells of a sparse span as one object of a
//! larger class.
//!
//! What survives in the spans of a size that a program has turned away from
//! keeps them, and their free cells fit nothing else. Two cells of 96 bytes
//! side by side are a cell of 192, though: before the heap grows, a refill of
//! a pointer-free class looks for a *donor*, a sparse span some of whose
//! cells, eight at most, are exactly one of its own.
//!
//! A bit for each cell, its *join*, says that the cell goes on with the object
//! of the cell before. Joins lie behind the span's bits in the first bitmap,
//! where cells of 16 bytes and more leave half of it unused, and mean
//! something only while the span and its pages say `JOINED`. Marks and
//! survivors' bits are the same for all cells of an object. Cells handed out
//! joined have their survivors' bits set at once, and `free_index` stays where
//! it is, so that the cells between them stay free for the span's own class.
//!
//! Protection: joins and the pages' flag are written by the span's owner;
//! markers and `find_object` read them.
//!
//! Not here: which spans are sparse (`sweep`), cutting a run (`cache`).

use crate::base::PageId;
use crate::base::size_class::{SIZE_CLASSES, SizeClass};
use crate::base::sync::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use crate::heap::space::{BITMAP_WORDS_PER_PAGE, Space};
use crate::heap::span::{Span, SpanId};
use crate::heap::span_class::SpanClassId;
use core::ops::Range;

/// Words from a span's first bit to its first join.
pub(crate) const JOIN_OFFSET: usize = BITMAP_WORDS_PER_PAGE / 2;

/// The most cells of one object. The more, the rarer they lie side by side;
/// eight instead of four took the peak of the fragmentation workload from 1.90
/// to 1.78 times what is live, with holes given back at once.
const MOST_CELLS: usize = 8;

/// A size class some of whose cells are one of another class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Donor {
    /// The class of the smaller cells.
    pub(crate) size: SizeClass,
    /// How many of them are one of the other.
    pub(crate) cells: usize,
}

/// The donors of each size class, fewest cells first.
const DONORS: [[Option<Donor>; MOST_CELLS - 1]; SIZE_CLASSES] = {
    let mut all = [[None; MOST_CELLS - 1]; SIZE_CLASSES];
    let mut class = 1;
    while class < SIZE_CLASSES {
        let bytes = SizeClass::new(class as u8).cell_size();
        let (mut cells, mut found) = (2, 0);
        while cells <= MOST_CELLS {
            let size = SizeClass::for_size(bytes / cells);
            if size.cell_size() * cells == bytes && size.cells() <= JOIN_OFFSET * 64 {
                all[class][found] = Some(Donor { size, cells });
                found += 1;
            }
            cells += 1;
        }
        class += 1;
    }
    all
};

/// Whether a size class is a donor of any.
const GIVES: [bool; SIZE_CLASSES] = {
    let mut gives = [false; SIZE_CLASSES];
    let mut class = 1;
    while class < SIZE_CLASSES {
        let mut number = 0;
        while number < MOST_CELLS - 1 {
            if let Some(donor) = &DONORS[class][number] {
                gives[donor.size.index()] = true;
            }
            number += 1;
        }
        class += 1;
    }
    gives
};

impl Donor {
    /// Whether cells of a span class can be joined to another's.
    pub(crate) fn gives(class: SpanClassId) -> bool {
        // The pointer-free classes are numbered like their sizes.
        GIVES.get(class.index()).is_some_and(|&gives| gives)
    }

    /// Objects begin at multiples of so many cells, so that they have the
    /// alignment of their class.
    pub(crate) fn step(bytes: usize, cell_bytes: usize) -> usize {
        let align = SizeClass::for_size(bytes).align();
        (align / SizeClass::for_size(cell_bytes).align()).max(1)
    }
}

impl Space {
    /// Takes a sparse span whose cells can be joined to those of `class`, and
    /// prepares it.
    pub(crate) fn pop_donor(&self, class: SpanClassId) -> Option<SpanId> {
        // Relaxed: a hint; the lists are behind their locks.
        // Nor while marking runs: survivors' bits stay as they are (`newborn`).
        if class.index() >= SIZE_CLASSES
            || self.sparse_spans.load(Relaxed) == 0
            || self.is_marking()
        {
            return None;
        }
        for donor in DONORS[class.index()].iter().flatten() {
            let central = self.central(SpanClassId::no_scan(donor.size));
            if let Some(id) = central.pop_sparse(self) {
                let span = self.span(id);
                debug_assert_eq!(span.free_index(), 0, "a sparse span that was allocated from");
                if !span.is_joined() {
                    for word in self.joins_of(span) {
                        word.store(0, Relaxed);
                    }
                    self.set_joined(span, true);
                }
                return Some(id);
            }
        }
        None
    }

    /// The joins of a span of so many cells that begins at page `first`.
    fn joins(&self, first: PageId, cells: usize) -> &[AtomicU64] {
        let words = cells.div_ceil(64);
        debug_assert!(words <= JOIN_OFFSET);
        // SAFETY: the bitmap covers every committed page (invariant 1), 16
        // words each, of which these are the upper half of the first page's.
        unsafe {
            let start = self.join_table().add(first.index() * BITMAP_WORDS_PER_PAGE + JOIN_OFFSET);
            core::slice::from_raw_parts(start.as_ptr(), words)
        }
    }

    fn joins_of(&self, span: &Span) -> &[AtomicU64] {
        let first = self.page_of(span.base()).expect("a span lies in the heap");
        self.joins(first, span.cells())
    }

    /// The cells of the object that a cell belongs to, in a span with joined
    /// cells.
    #[inline]
    pub(crate) fn joined_cells(&self, first: PageId, cells: usize, index: usize) -> Range<usize> {
        object_at(self.joins(first, cells), cells, index)
    }

    /// The cells of the object that a cell belongs to, or belonged if it is
    /// free: one, mostly.
    pub(crate) fn object_cells(&self, span: &Span, index: usize) -> Range<usize> {
        match self.page_of(span.base()) {
            Some(first) if span.is_joined() => self.joined_cells(first, span.cells(), index),
            _ => index..index + 1,
        }
    }

    /// Makes objects of `cells` free cells each, from `start` on, and takes
    /// them. The caller owns the span.
    pub(crate) fn join_cells(&self, span: &Span, start: usize, objects: usize, cells: usize) {
        let (joins, survivors) = (self.joins_of(span), self.survivor_bits(span));
        for index in start..start + objects * cells {
            set(survivors, index);
            if !(index - start).is_multiple_of(cells) {
                set(joins, index);
            }
        }
    }

    /// Takes the last call back for a range of cells.
    pub(crate) fn part_cells(&self, span: &Span, cells: Range<usize>) {
        let (joins, survivors) = (self.joins_of(span), self.survivor_bits(span));
        for index in cells {
            clear(survivors, index);
            clear(joins, index);
        }
    }

    /// Parts the dead objects of a swept span's joined cells and counts them
    /// as freed. Returns the cells they had.
    pub(crate) fn sweep_joins(&self, span: &Span) -> usize {
        let (joins, survivors) = (self.joins_of(span), self.survivor_bits(span));
        let (mut dead_cells, mut left) = (0, 0);
        for (number, (join, survivor)) in joins.iter().zip(survivors).enumerate() {
            // Relaxed: the sweeper owns the span.
            let mut begins = join.load(Relaxed) & !survivor.load(Relaxed);
            while begins != 0 {
                let index = number * 64 + begins.trailing_zeros() as usize;
                let object = object_at(joins, span.cells(), index);
                let size = SizeClass::for_size(object.len() * span.cell_bytes());
                // Release: as in `sweep_span`.
                self.freed[size.index()].fetch_add(1, Release);
                dead_cells += object.len();
                for index in object {
                    clear(joins, index);
                }
                begins &= join.load(Relaxed);
            }
            left |= join.load(Relaxed);
        }
        if left == 0 {
            self.set_joined(span, false);
        }
        dead_cells
    }
}

/// The cells around `index` that are joined.
fn object_at(joins: &[AtomicU64], cells: usize, index: usize) -> Range<usize> {
    // Relaxed: see the file's head. Bits that change meanwhile make a wrong
    // answer, as they do for `find_cell`, but one inside the span.
    let is_join = |index: usize| joins[index / 64].load(Relaxed) >> (index % 64) & 1 != 0;
    let (mut start, mut end) = (index, index + 1);
    while start > 0 && is_join(start) {
        start -= 1;
    }
    while end < cells && is_join(end) {
        end += 1;
    }
    start..end
}

/// Sets a bit that only this thread writes.
fn set(bits: &[AtomicU64], index: usize) {
    let word = &bits[index / 64];
    word.store(word.load(Relaxed) | 1 << (index % 64), Relaxed);
}

fn clear(bits: &[AtomicU64], index: usize) {
    let word = &bits[index / 64];
    word.store(word.load(Relaxed) & !(1 << (index % 64)), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::heap::space::SpaceOptions;

    fn donors() -> impl Iterator<Item = (SizeClass, Donor)> {
        let of = |size: SizeClass| DONORS[size.index()].iter().flatten().map(move |&d| (size, d));
        SizeClass::all().flat_map(of)
    }

    #[test]
    fn donors_cells_make_exactly_one_of_the_class() {
        for (size, donor) in donors() {
            assert_eq!(donor.size.cell_size() * donor.cells, size.cell_size());
            assert!(donor.size.cells().div_ceil(64) <= JOIN_OFFSET, "{donor:?}");
        }
        let of = |bytes| {
            let class = SizeClass::for_size(bytes);
            let found = donors().filter(|(size, _)| *size == class);
            found.map(|(_, donor)| donor.size.cell_size()).collect::<Vec<_>>()
        };
        assert_eq!(of(192), [96, 64, 48, 32, 24]);
        assert_eq!(of(144), [48, 24]);
        assert!(of(176).is_empty());
        assert_eq!(of(1024), [512, 256, 128]);
        for size in SizeClass::all() {
            let gives = donors().any(|(_, donor)| donor.size == size);
            assert_eq!(Donor::gives(SpanClassId::no_scan(size)), gives, "{size:?}");
            assert!(!Donor::gives(SpanClassId::mixed(size)));
        }
        assert!(!Donor::gives(SpanClassId::TINY));
    }

    #[test]
    fn joined_objects_have_the_alignment_of_their_class() {
        for (size, donor) in donors() {
            let cell_bytes = donor.size.cell_size();
            let step = Donor::step(size.cell_size(), cell_bytes);
            for start in (0..donor.size.cells()).step_by(step) {
                assert_eq!(start * cell_bytes % size.align(), 0, "{size:?} of {donor:?}");
            }
            assert_eq!(size.cell_size() % size.align(), 0);
        }
    }

    /// A span, a model of its objects by first cell, and what both do.
    #[test]
    fn joins_agree_with_a_list_of_objects() {
        let options =
            SpaceOptions { reserve_bytes: 64 << 20, limit_bytes: usize::MAX, huge_pages: false };
        let (space, ()) = Space::new(options, |_| Ok(())).expect("a space");
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let size = SizeClass::for_size([16, 48, 96, 128, 1152][seed as usize % 5]);
            let id = space.make_span(SpanClassId::no_scan(size), 0).expect("a span");
            let span = space.span(id);
            let cells = span.cells();
            space.set_joined(span, true);
            let mut objects: Vec<Range<usize>> = Vec::new();
            let mut at = 0;
            while at + 4 <= cells {
                let (length, count) = (1 + random.below(4) as usize, random.below(3) as usize);
                let end = at + length * count;
                if end > cells {
                    break;
                }
                space.join_cells(span, at, count, length);
                objects.extend((0..count).map(|n| at + n * length..at + (n + 1) * length));
                at = end + random.below(3) as usize;
            }
            // What was not handed out of the last chunk is parted again.
            if let Some(last) = objects.pop() {
                space.part_cells(span, last);
            }
            let check = |objects: &[Range<usize>]| {
                for index in 0..cells {
                    let object = objects.iter().find(|object| object.contains(&index));
                    let expected = object.cloned().unwrap_or(index..index + 1);
                    assert_eq!(space.object_cells(span, index), expected, "seed {seed}");
                    assert_eq!(space.is_allocated(span, index), object.is_some());
                    let inner = span.cell(index).add(random_inner(span));
                    let found = space.find_object(inner).map(|it| (it.index, it.bytes));
                    let bytes = object.map(|it| (it.start, it.len() * span.cell_bytes()));
                    assert_eq!(found, bytes, "seed {seed}");
                }
            };
            check(&objects);
            let (dead, live): (Vec<_>, Vec<_>) =
                objects.into_iter().partition(|_| random.below(2) == 0);
            for index in dead.iter().cloned().flatten() {
                clear(space.survivor_bits(span), index);
            }
            let freed = |size: usize| space.freed[SizeClass::for_size(size).index()].load(Relaxed);
            let lengths = [2, 3, 4].map(|length| length * span.cell_bytes());
            let before = lengths.map(freed);
            let joined = dead.iter().filter(|object| object.len() > 1);
            assert_eq!(space.sweep_joins(span), joined.map(Range::len).sum::<usize>());
            for (bytes, before) in lengths.into_iter().zip(before) {
                let died = dead.iter().filter(|it| it.len() * span.cell_bytes() == bytes).count();
                // Lengths whose sum is the cell of no class are not made by a heap.
                if SizeClass::for_size(bytes).cell_size() == bytes {
                    assert_eq!(freed(bytes) - before, died as u64, "seed {seed}, {bytes}");
                }
            }
            check(&live);
            assert_eq!(span.is_joined(), live.iter().any(|object| object.len() > 1));
        }
    }

    fn random_inner(span: &Span) -> usize {
        span.cell_bytes() * 2 / 3
    }
}
