//! Computes the table of size classes and writes it as Rust source.
//!
//! The sizes are the origin's. They follow from four rules, applied in order:
//!
//! 1. Candidates start at 8 bytes and grow by [`spacing`]: an eighth of the
//!    size at most, so that rounding up to a class wastes little.
//! 2. A candidate's span is the fewest pages that leave at most an eighth of
//!    the span unused behind the last cell.
//! 3. A candidate that has as many cells in as many pages as the one before it
//!    replaces it: the smaller one would save nothing.
//! 4. A class grows while its cells still fit the span, in steps of 128 bytes,
//!    the resolution of the look-up table for large sizes.
//!
//! [`span_pages`] then makes our spans larger than the origin's.
//!
//! Not here: the tests of what the table promises (waste, alignment, division);
//! they are beside `base::size_class`, where the promises are used.

use std::fmt::Write;

/// Bytes of a page of the heap.
const PAGE_SIZE: usize = 8192;
/// Largest size that has a class.
const MAX_SMALL_SIZE: usize = 32768;
/// Sizes up to here are looked up in steps of [`FINE_STEP`], larger ones in
/// steps of [`COARSE_STEP`].
const FINE_LIMIT: usize = 1024;
const FINE_STEP: usize = 8;
const COARSE_STEP: usize = 128;

/// One size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Class {
    /// Bytes of a cell.
    pub(crate) cell_size: usize,
    /// Pages of the smallest span that keeps the tail's waste in bounds.
    pub(crate) base_pages: usize,
}

impl Class {
    fn base_cells(self) -> usize {
        self.base_pages * PAGE_SIZE / self.cell_size
    }

    fn span_cells(self) -> usize {
        span_pages(self) * PAGE_SIZE / self.cell_size
    }

    fn magic(self) -> u64 {
        (1u64 << 32).div_ceil(self.cell_size as u64)
    }
}

/// Distance from one candidate size to the next.
fn spacing(size: usize) -> usize {
    match size {
        ..32 => 8,
        32..128 => 16,
        128..2048 => (1 << size.ilog2()) / 8,
        _ => 256,
    }
}

/// The fewest pages that cells of `size` fill to at least seven eighths.
fn base_pages(size: usize) -> usize {
    (1..)
        .find(|pages| {
            let span_bytes = pages * PAGE_SIZE;
            span_bytes % size <= span_bytes / 8
        })
        .expect("enough pages make any tail small")
}

/// The classes 1 and up in ascending order of size.
pub(crate) fn classes() -> Vec<Class> {
    let candidates = std::iter::successors(Some(8), |size| Some(size + spacing(*size)))
        .take_while(|size| *size <= MAX_SMALL_SIZE)
        .map(|size| Class { cell_size: size, base_pages: base_pages(size) });

    let mut classes: Vec<Class> = Vec::new();
    for candidate in candidates {
        match classes.last_mut() {
            Some(last)
                if last.base_pages == candidate.base_pages
                    && last.base_cells() == candidate.base_cells() =>
            {
                *last = candidate;
            }
            _ => classes.push(candidate),
        }
    }
    for class in &mut classes {
        let room = class.base_pages * PAGE_SIZE / class.base_cells();
        class.cell_size = class.cell_size.max(room / COARSE_STEP * COARSE_STEP);
    }
    classes
}

/// Pages of our spans: the origin's page count, doubled while the span is
/// smaller than 8 KiB or has fewer than 8 cells, unless that made it larger
/// than 128 KiB.
///
/// A refill hands out a span's worth of runs, and every span costs a record, a
/// claim by the sweeper and a visit to its central list; twice the cells halve
/// that. Doubling never raises the share of the tail. The upper bound keeps a
/// nearly empty span from pinning much memory, and every offset in a span below
/// 2^17, where division by multiplication is exact.
pub(crate) fn span_pages(class: Class) -> usize {
    const MIN_SPAN_BYTES: usize = 8 << 10;
    const MAX_SPAN_BYTES: usize = 128 << 10;
    const MIN_CELLS: usize = 8;

    let mut pages = class.base_pages;
    loop {
        let bytes = pages * PAGE_SIZE;
        let enough = bytes >= MIN_SPAN_BYTES && bytes / class.cell_size >= MIN_CELLS;
        if enough || 2 * bytes > MAX_SPAN_BYTES {
            return pages;
        }
        pages *= 2;
    }
}

/// The source of `crates/mallocgc/src/base/size_class/table.rs`.
pub(crate) fn table_source() -> String {
    let classes = classes();
    let class_for = |size: usize| {
        1 + classes
            .iter()
            .position(|class| class.cell_size >= size)
            .expect("the last class is the largest small size")
    };

    let mut out = String::new();
    out.push_str(
        "//! The table of size classes.\n\
         //!\n\
         //! Written by `cargo xtask size-classes`; do not edit. The rules are in\n\
         //! `xtask/src/size_classes.rs`, what the table promises is tested in `super`.\n\
         //!\n\
         //! ```text\n\
         //! class   cell  pages  cells   tail  tail %   worst waste %\n",
    );
    let mut below = 0;
    for (index, class) in classes.iter().enumerate() {
        let pages = span_pages(*class);
        let span_bytes = pages * PAGE_SIZE;
        let cells = class.span_cells();
        let tail = span_bytes - cells * class.cell_size;
        // The worst object of a class is one byte larger than the class below.
        let wasted = span_bytes - cells * (below + 1);
        writeln!(
            out,
            "//! {:5} {:6} {:6} {:6} {:6} {:7.2} {:15.2}",
            index + 1,
            class.cell_size,
            pages,
            cells,
            tail,
            100.0 * tail as f64 / span_bytes as f64,
            100.0 * wasted as f64 / span_bytes as f64,
        )
        .expect("writing to a String cannot fail");
        below = class.cell_size;
    }
    out.push_str("//! ```\n");

    let with_large = |of: &dyn Fn(Class) -> u64| -> Vec<u64> {
        std::iter::once(0).chain(classes.iter().map(|class| of(*class))).collect()
    };
    array(
        &mut out,
        "Bytes of a cell.",
        "CELL_SIZE",
        "u16",
        &with_large(&|class| class.cell_size as u64),
    );
    array(
        &mut out,
        "Pages of a span.",
        "SPAN_PAGES",
        "u8",
        &with_large(&|class| span_pages(class) as u64),
    );
    array(
        &mut out,
        "Cells of a span.",
        "CELLS",
        "u16",
        &with_large(&|class| class.span_cells() as u64),
    );
    array(
        &mut out,
        "`ceil(2^32 / cell size)`, to divide by multiplying.",
        "MAGIC",
        "u32",
        &with_large(&|class| class.magic()),
    );
    let fine: Vec<u64> = (0..=FINE_LIMIT / FINE_STEP)
        .map(|index| class_for((index * FINE_STEP).max(1)) as u64)
        .collect();
    array(
        &mut out,
        "Class of sizes up to 1024, by `ceil(size / 8)`.",
        "CLASS_OF_FINE",
        "u8",
        &fine,
    );
    let coarse: Vec<u64> = (0..=(MAX_SMALL_SIZE - FINE_LIMIT) / COARSE_STEP)
        .map(|index| class_for(FINE_LIMIT + index * COARSE_STEP) as u64)
        .collect();
    array(
        &mut out,
        "Class of sizes from 1024, by `ceil((size - 1024) / 128)`.",
        "CLASS_OF_COARSE",
        "u8",
        &coarse,
    );
    out
}

/// Appends one array, wrapped at 96 columns.
fn array(out: &mut String, doc: &str, name: &str, element: &str, values: &[u64]) {
    write!(
        out,
        "\n/// {doc}\n#[rustfmt::skip]\npub(super) static {name}: [{element}; {}] = [",
        values.len(),
    )
    .expect("writing to a String cannot fail");
    let mut column = usize::MAX;
    for value in values {
        let text = format!(" {value},");
        if column.saturating_add(text.len()) > 96 {
            out.push_str("\n   ");
            column = 3;
        }
        column += text.len();
        out.push_str(&text);
    }
    out.push_str("\n];\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The origin's sizes, as published.
    const SIZES: [usize; 67] = [
        8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320,
        352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792,
        2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472,
        9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264,
        28672, 32768,
    ];

    #[test]
    fn the_rules_give_the_published_sizes() {
        let sizes: Vec<usize> = classes().iter().map(|class| class.cell_size).collect();
        assert_eq!(sizes, SIZES);
    }

    #[test]
    fn spans_are_a_power_of_two_times_the_base() {
        for class in classes() {
            let pages = span_pages(class);
            assert!((pages / class.base_pages).is_power_of_two(), "{class:?}");
            assert_eq!(pages % class.base_pages, 0, "{class:?}");
            assert!((1..=16).contains(&pages), "{class:?}: {pages} pages");
            // Few cells only where one more doubling would be too large.
            assert!(class.span_cells() >= 8 || pages > 8, "{class:?}: {pages} pages");
        }
    }

    #[test]
    fn the_source_is_the_same_every_time() {
        assert_eq!(table_source(), table_source());
    }
}
