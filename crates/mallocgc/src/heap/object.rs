//! Object lookup: which object an address lies in, if any (the origin's
//! `findObject`).
//!
//! Any number may be asked about, from any thread. An object that a mutator
//! has is found, whatever others do meanwhile. Of what nobody has, and for
//! threads that do not keep a cycle away, the answer is that of some moment: a
//! cell being handed out may be reported either way, and so may one of a span
//! being swept.

use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::base::{Address, PageId, WORD_SIZE};
use crate::heap::space::Space;
use crate::heap::span::{PageInfo, SpanId};
use crate::heap::span_class::Scan;
use crate::layout::LayoutId;

/// Where an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The span.
    pub span: SpanId,
    /// The cell's number in the span; of joined cells the first's.
    pub index: usize,
    /// First byte of the cell.
    pub cell: Address,
    /// First byte of the object: the cell, or behind its header word.
    pub object: Address,
    /// Usable bytes from there on.
    pub bytes: usize,
}

impl Space {
    /// The allocated object that `address` points at or into.
    ///
    /// The header word of a mixed span's cell belongs to no object.
    pub fn find_object(&self, address: Address) -> Option<Found> {
        let found = self.find_cell(address)?;
        self.is_allocated(self.span(found.span), found.index).then_some(found)
    }

    /// The layout of an object that somebody has.
    pub(crate) fn layout_of(&self, found: &Found) -> LayoutId {
        let class = self.class_info(self.span(found.span).class());
        if class.scan != Scan::Mixed {
            return class.layout_id;
        }
        // SAFETY: the first word of a mixed cell is its header. Relaxed: who has the
        // object sees it.
        LayoutId(unsafe { (*found.cell.as_ptr::<AtomicUsize>()).load(Relaxed) } as u32)
    }

    /// The cell that `address` points at or into, allocated or not.
    ///
    /// The span may be freed and its pages used again meanwhile; then the
    /// answer is wrong, as any would be, but an object that contains the
    /// address.
    pub(crate) fn find_cell(&self, address: Address) -> Option<Found> {
        let page = self.page_of(address)?;
        let info = self.page_info(page);
        let id = self.span_of_page(page)?;
        let span = self.span(id);
        let (base, cell_bytes) = (span.base(), span.cell_bytes());
        let index = if info.has(PageInfo::LARGE) {
            0
        } else {
            let class = self.class_info(info.class());
            let from_base = address.offset_from(base);
            ((from_base as u64).wrapping_mul(u64::from(class.magic)) >> 32) as usize
        };
        if index >= span.cells() {
            // The tail of the span, too short for a cell.
            return None;
        }
        let cells = if info.is_joined() {
            let back = info.pages_back();
            self.joined_cells(PageId(page.0.wrapping_sub(back as u32)), span.cells(), index)
        } else {
            index..index + 1
        };
        let (index, cell_bytes) = (cells.start, cells.len().wrapping_mul(cell_bytes));
        let cell = base.add(index.wrapping_mul(span.cell_bytes()));
        let header = if info.has(PageInfo::MIXED) { WORD_SIZE } else { 0 };
        let inner = address.offset_from(cell);
        if inner < header || inner >= cell_bytes {
            return None;
        }
        let bytes = cell_bytes - header;
        Some(Found { span: id, index, cell, object: cell.add(header), bytes })
    }
}
