//! Size classes: which sizes cells have, and which class holds a request.
//!
//! Requests of 1 byte to 32 KiB are rounded up to one of 67 cell sizes; class 0
//! stands for everything larger, which gets pages of its own. Two byte tables
//! find the class: one in steps of 8 bytes up to 1 KiB, one in steps of 128
//! bytes above. The tables are generated (`cargo xtask size-classes`).
//!
//! Cells start at multiples of the cell size from the span's first page, so a
//! cell's alignment is the largest power of two that divides its size, at most
//! a page.
//!
//! Protection: constants only.
//!
//! Not here: the rules behind the table (`xtask/src/size_classes.rs`), spans
//! (`heap::span`), tiny objects (`heap::tiny`).

mod table;

use super::address::{PAGE_SHIFT, PAGE_SIZE, checked_round_up};

/// Number of size classes, counting class 0, the large objects.
pub const SIZE_CLASSES: usize = 68;

/// Largest size that has a class of its own.
pub const MAX_SMALL_SIZE: usize = 32768;

/// Bytes of the block that pointer-free objects smaller than it share.
pub const TINY_SIZE: usize = 16;

/// Largest number of cells in a span of any class.
pub const MAX_CELLS: usize = 1024;

/// Largest number of pages in a span of cells.
pub const MAX_SPAN_PAGES: usize = 16;

const FINE_STEP: usize = 8;
const FINE_LIMIT: usize = 1024;
const COARSE_STEP: usize = 128;

const _: () = {
    assert!(table::CELL_SIZE.len() == SIZE_CLASSES);
    assert!(table::CLASS_OF_FINE.len() == FINE_LIMIT / FINE_STEP + 1);
    assert!(table::CLASS_OF_COARSE.len() == (MAX_SMALL_SIZE - FINE_LIMIT) / COARSE_STEP + 1);
    let mut index = 1;
    while index < SIZE_CLASSES {
        assert!(table::CELLS[index] as usize <= MAX_CELLS);
        assert!(table::SPAN_PAGES[index] as usize <= MAX_SPAN_PAGES);
        index += 1;
    }
};

/// One of the sizes that cells have; 0 means large.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The class of objects larger than [`MAX_SMALL_SIZE`], which have spans of
    /// their own: its cell size, pages and cells are all 0.
    pub const LARGE: SizeClass = SizeClass(0);

    /// The class with number `number`.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    #[inline]
    pub const fn new(number: u8) -> SizeClass {
        assert!((number as usize) < SIZE_CLASSES, "no such size class");
        SizeClass(number)
    }

    /// The class whose cells fit `size` bytes best; sizes above
    /// [`MAX_SMALL_SIZE`] are large.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::base::SizeClass;
    /// assert_eq!(SizeClass::for_size(33).cell_size(), 48);
    /// ```
    #[inline]
    pub const fn for_size(size: usize) -> SizeClass {
        debug_assert!(size != 0, "an object of no bytes has no cell");
        if size <= FINE_LIMIT {
            SizeClass(table::CLASS_OF_FINE[size.div_ceil(FINE_STEP)])
        } else if size <= MAX_SMALL_SIZE {
            SizeClass(table::CLASS_OF_COARSE[(size - FINE_LIMIT).div_ceil(COARSE_STEP)])
        } else {
            SizeClass::LARGE
        }
    }

    /// The smallest class whose cells fit `size` bytes and are all aligned to
    /// `align`, a power of two. `None` when no class does: then the object
    /// needs a span of its own.
    pub const fn for_size_align(size: usize, align: usize) -> Option<SizeClass> {
        debug_assert!(align.is_power_of_two());
        // A cell aligned to `align` has a size that is a multiple of it.
        let rounded = match checked_round_up(if size == 0 { 1 } else { size }, align) {
            Some(rounded) if rounded <= MAX_SMALL_SIZE && align <= PAGE_SIZE => rounded,
            _ => return None,
        };
        let mut class = SizeClass::for_size(rounded);
        // Ends: 32768 is a multiple of every alignment up to a page.
        while class.align() < align {
            class = SizeClass(class.0 + 1);
        }
        Some(class)
    }

    /// All classes with cells, smallest first; not [`SizeClass::LARGE`].
    pub fn all() -> impl DoubleEndedIterator<Item = SizeClass> + ExactSizeIterator {
        (1..SIZE_CLASSES as u8).map(SizeClass)
    }

    /// The class's number as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether objects of this class have spans of their own.
    #[inline]
    pub const fn is_large(self) -> bool {
        self.0 == 0
    }

    /// Bytes of a cell.
    #[inline]
    pub const fn cell_size(self) -> usize {
        table::CELL_SIZE[self.index()] as usize
    }

    /// Pages of a span.
    #[inline]
    pub const fn span_pages(self) -> usize {
        table::SPAN_PAGES[self.index()] as usize
    }

    /// Bytes of a span.
    #[inline]
    pub const fn span_bytes(self) -> usize {
        self.span_pages() << PAGE_SHIFT
    }

    /// Cells of a span.
    #[inline]
    pub const fn cells(self) -> usize {
        table::CELLS[self.index()] as usize
    }

    /// `ceil(2^32 / cell_size)`; see [`cell_index`].
    #[inline]
    pub const fn magic(self) -> u32 {
        table::MAGIC[self.index()]
    }

    /// Alignment that every cell has, at most a page.
    #[inline]
    pub const fn align(self) -> usize {
        if self.is_large() {
            return PAGE_SIZE;
        }
        let natural = 1 << self.cell_size().trailing_zeros();
        if natural < PAGE_SIZE { natural } else { PAGE_SIZE }
    }
}

impl core::fmt::Debug for SizeClass {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SizeClass({}: {} B)", self.0, self.cell_size())
    }
}

/// `offset / cell_size` for a byte offset in a span, by the class's
/// [`magic`](SizeClass::magic).
///
/// Exact: the magic exceeds `2^32 / cell_size` by less than 1, so the product is
/// too large by less than `offset`, and `offset < 2^17` while the next quotient
/// is at least `2^32 / cell_size >= 2^17` away.
#[inline]
pub const fn cell_index(offset: usize, magic: u32) -> usize {
    debug_assert!(offset < MAX_SPAN_PAGES << PAGE_SHIFT);
    ((offset as u64 * magic as u64) >> 32) as usize
}

/// Bytes that an allocation of `size` bytes can use: its cell's size, or for
/// large objects its pages. A size so large that rounding it would overflow is
/// returned as it is; allocating it fails anyway.
///
/// Objects of up to 512 bytes with references are an exception while their
/// layout is rare. They lie behind a header word, so that they can use
/// `round_up_size(size + 8) - 8` bytes: never less than `size`, but 504 bytes
/// for 500, not 512. `find_object` tells of each object what it is.
///
/// # Examples
///
/// ```
/// use mallocgc::base::round_up_size;
/// assert_eq!(round_up_size(100), 112);
/// assert_eq!(round_up_size(40_000), 40_960);
/// assert_eq!(round_up_size(usize::MAX), usize::MAX);
/// ```
#[inline]
pub const fn round_up_size(size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    if size <= MAX_SMALL_SIZE {
        return SizeClass::for_size(size).cell_size();
    }
    match checked_round_up(size, PAGE_SIZE) {
        Some(rounded) => rounded,
        None => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slow way: the smallest class that fits.
    fn reference_class(size: usize) -> SizeClass {
        SizeClass::all().find(|class| class.cell_size() >= size).unwrap_or(SizeClass::LARGE)
    }

    #[test]
    fn the_table_has_the_published_sizes() {
        let sizes: Vec<usize> = SizeClass::all().map(SizeClass::cell_size).collect();
        assert_eq!(
            sizes,
            [
                8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
                288, 320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280,
                1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528,
                6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432,
                19072, 20480, 21760, 24576, 27264, 28672, 32768
            ]
        );
        assert_eq!(sizes.len() + 1, SIZE_CLASSES, "class 0 is the large objects");
    }

    #[test]
    fn lookup_agrees_with_the_smallest_class_that_fits() {
        for size in 1..=MAX_SMALL_SIZE + 1 {
            assert_eq!(SizeClass::for_size(size), reference_class(size), "size {size}");
        }
        assert_eq!(SizeClass::for_size(usize::MAX), SizeClass::LARGE);
    }

    #[test]
    fn usable_size_is_the_cells_for_every_small_size() {
        for size in 1..=MAX_SMALL_SIZE {
            let usable = round_up_size(size);
            assert_eq!(usable, reference_class(size).cell_size(), "size {size}");
            assert_eq!(round_up_size(usable), usable, "size {size}");
        }
        assert_eq!(round_up_size(0), 0);
    }

    #[test]
    fn usable_size_above_the_classes_is_whole_pages() {
        for size in MAX_SMALL_SIZE + 1..MAX_SMALL_SIZE + 4 * PAGE_SIZE {
            let usable = round_up_size(size);
            assert!(usable >= size && usable - size < PAGE_SIZE, "size {size}: {usable}");
            assert_eq!(usable % PAGE_SIZE, 0, "size {size}");
        }
    }

    #[test]
    fn sizes_that_overflow_are_returned_as_they_are() {
        let last_page = usize::MAX - (PAGE_SIZE - 1);
        assert_eq!(round_up_size(last_page - PAGE_SIZE), last_page - PAGE_SIZE);
        assert_eq!(round_up_size(last_page - 1), last_page);
        for size in [last_page, last_page + 1, usize::MAX - 1, usize::MAX] {
            assert_eq!(round_up_size(size), size);
        }
    }

    #[test]
    fn waste_is_bounded() {
        let mut below = 0;
        for class in SizeClass::all() {
            let bytes = class.span_bytes();
            let tail = bytes - class.cells() * class.cell_size();
            assert!(tail <= bytes / 8, "{class:?}: tail of {tail} in {bytes}");
            assert!(tail < class.cell_size(), "{class:?}: room for another cell");

            // Rounding up an object one byte larger than the class below.
            let wasted = class.cell_size() - (below + 1);
            let percent = 100.0 * wasted as f64 / class.cell_size() as f64;
            let bound = match class.cell_size() {
                8 => 87.5,
                16 => 43.8,
                24..=48 => 31.5,
                64..=512 => 24.0,
                _ => 16.7,
            };
            assert!(percent <= bound, "{class:?}: {percent} % wasted in a cell");
            below = class.cell_size();
        }
    }

    #[test]
    fn spans_are_of_the_intended_sizes() {
        for class in SizeClass::all() {
            assert!((1..=MAX_SPAN_PAGES).contains(&class.span_pages()), "{class:?}");
            assert_eq!(class.cells(), class.span_bytes() / class.cell_size(), "{class:?}");
            assert!(class.cells() >= 8 || class.span_pages() > MAX_SPAN_PAGES / 2, "{class:?}");
        }
        let pages_and_cells = |size| {
            let class = SizeClass::for_size(size);
            (class.span_pages(), class.cells())
        };
        assert_eq!(pages_and_cells(8), (1, 1024));
        assert_eq!(pages_and_cells(48), (1, 170));
        assert_eq!(pages_and_cells(2048), (2, 8));
        assert_eq!(pages_and_cells(4096), (4, 8));
        assert_eq!(pages_and_cells(9472), (14, 12));
        assert_eq!(pages_and_cells(27264), (10, 3));
        assert_eq!(pages_and_cells(32768), (16, 4));
    }

    #[test]
    fn cells_have_their_class_alignment() {
        for class in SizeClass::all() {
            assert!(class.align().is_power_of_two());
            for cell in 0..class.cells() {
                assert_eq!(cell * class.cell_size() % class.align(), 0, "{class:?} cell {cell}");
            }
            let size = class.cell_size();
            if size.is_power_of_two() {
                assert_eq!(class.align(), size.min(PAGE_SIZE));
            }
            assert!(size < 32 || class.align() >= 16, "{class:?}");
            assert!(size < 1024 || class.align() >= 128, "{class:?}");
        }
    }

    #[test]
    fn division_is_exact_at_every_offset() {
        for class in SizeClass::all() {
            for offset in 0..class.span_bytes() {
                assert_eq!(
                    cell_index(offset, class.magic()),
                    offset / class.cell_size(),
                    "{class:?}, offset {offset}"
                );
            }
        }
    }

    #[test]
    fn aligned_lookup_finds_the_smallest_fitting_class() {
        for align_log in 0..=PAGE_SHIFT {
            let align = 1 << align_log;
            for size in (0..=MAX_SMALL_SIZE + 1).step_by(7).chain([1, MAX_SMALL_SIZE]) {
                let expected = SizeClass::all()
                    .find(|class| class.cell_size() >= size && class.align() >= align);
                assert_eq!(
                    SizeClass::for_size_align(size, align),
                    expected,
                    "size {size}, align {align}"
                );
            }
        }
        assert_eq!(SizeClass::for_size_align(8, 2 * PAGE_SIZE), None);
        assert_eq!(SizeClass::for_size_align(usize::MAX, 4096), None);
    }
}
