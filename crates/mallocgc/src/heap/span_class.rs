//! Span classes: what the cells of a span are.
//!
//! A span class is a size class together with a layout. Everything the
//! marker must know of a cell it reads from the class's [`ClassInfo`], 32
//! bytes that stay in the nearest cache; what the allocator must know is in
//! the class's `Central`. Ids 0 to 67 are the pointer-free classes, by size
//! class; 68 to 135 the mixed ones, whose cells carry a header; 136 the blocks of
//! tiny objects; the rest are
//! made when a layout earns spans of its own.
//!
//! Protection: entries are written once, before their id is published with
//! Release in the layout record (or the page table), and never change.

use crate::base::size_class::{SIZE_CLASSES, SizeClass};
use crate::heap::layouts::LayoutRecord;
use crate::layout::LayoutId;

/// Number of a span class within its heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct SpanClassId(u16);

impl SpanClassId {
    /// Ids are below this.
    pub const LIMIT: usize = 1 << 16;

    /// The id with this number.
    #[inline]
    pub const fn new(number: u16) -> SpanClassId {
        SpanClassId(number)
    }

    /// The number, as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The pointer-free class of a size class.
    #[inline]
    pub const fn no_scan(size: SizeClass) -> SpanClassId {
        SpanClassId(size.index() as u16)
    }

    /// The mixed class of a size class.
    #[inline]
    pub const fn mixed(size: SizeClass) -> SpanClassId {
        SpanClassId((SIZE_CLASSES + size.index()) as u16)
    }

    /// Classes that every heap has.
    pub(crate) const BUILT_IN: usize = 2 * SIZE_CLASSES + 1;

    /// The blocks that tiny objects share: a class of its own, so that it is
    /// known of an address whether its cell is shared.
    pub const TINY: SpanClassId = SpanClassId(2 * SIZE_CLASSES as u16);
}

/// How the marker finds the references of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Scan {
    /// There are none.
    None,
    /// Bits of [`ClassInfo::mask`]: cells of at most 64 words.
    Mask,
    /// The layout's encoding, for longer cells.
    Encoded,
    /// A function of the layout.
    Trace,
    /// A key and a value (`ephemeron`).
    Ephemeron,
    /// Any word may be one.
    Conservative,
    /// The header word names the layout.
    Mixed,
}

/// What the marker must know of a cell, in one half of a cache line.
#[repr(C)]
#[derive(Debug)]
pub struct ClassInfo {
    /// Reference words, for [`Scan::Mask`].
    pub mask: u64,
    /// The layout; null for built-in classes, whose `scan` says all.
    pub layout: *const LayoutRecord,
    /// Multiplier that divides an offset within the span by the cell size.
    pub magic: u32,
    /// Bytes of a cell; zero for large objects, whose span knows.
    pub cell_bytes: u32,
    /// The layout's id.
    pub layout_id: LayoutId,
    /// Cells of a span; 0 for large objects.
    pub cells: u16,
    /// How references are found.
    pub scan: Scan,
    /// The size class; 0 for large objects.
    pub size: SizeClass,
}

const _: () = assert!(size_of::<ClassInfo>() == 32);
