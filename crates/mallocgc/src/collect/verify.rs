//! The verifier: is the heap what its invariants say? For debugging and tests.
//!
//! With [`Verify::EachPhase`] it runs after each phase of a
//! cycle and ends the process at the first fault; `Collector::verify` answers
//! with the fault instead. It walks every span and looks at
//!
//! - the page table against the span records, the counts against the bits;
//! - every reference of every object, one word at a time: null, outside the
//!   heap, or to an allocated object;
//! - after marking: what roots and marked objects refer to is marked;
//! - outside marking: no mark is left of an earlier cycle.
//!
//! It allocates nothing. Words that may be anything (conservative layouts and
//! ranges) are not references and are not looked at. Root callbacks and trace
//! functions are called once more than without it.
//!
//! Protection: the world is stopped and nobody sweeps.

use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::base::{Address, PAGE_SHIFT, PageId, WORD_SIZE};
use crate::heap::layouts::LayoutRecord;
use crate::heap::object::Found;
use crate::heap::space::Space;
use crate::heap::span::{PageInfo, Span, SpanId};
use crate::heap::span_class::Scan;
use crate::layout::LayoutId;
use crate::layout::Tracer;
use crate::os::sanitizer;
use crate::world::roots::{RootSink, Roots};
use crate::world::stop::Stopped;

/// Longest object whose layout is asked word by word; longer ones in one go,
/// since a program must be walked from its start each time.
const SLOW_WORDS_MAX: usize = 512;

/// The phases of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The world is stopped, nothing is marked.
    Stopped,
    /// Everything reachable is marked.
    Marked,
    /// The bitmaps have changed places.
    Flipped,
}

/// Whether the heap is checked after each phase of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    /// No.
    Off,
    /// Yes; the first fault ends the process.
    EachPhase,
}

impl Verify {
    /// Checks the heap after a phase, if asked to.
    pub(crate) fn after(self, phase: Phase, space: &Space, roots: &Roots, stopped: &Stopped<'_>) {
        if self == Verify::EachPhase
            && let Err(fault) = check(space, roots, stopped, phase)
        {
            crate::fatal!("{phase:?}: {fault}");
        }
    }
}

/// What the verifier found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A page names another span than the one it lies in, or another class.
    PageTable {
        /// First byte of the page.
        page: Address,
        /// First byte of the span.
        span: Address,
    },
    /// The spans found are not as many as are counted.
    SpanCount {
        /// Spans in the page table.
        found: usize,
        /// Spans counted.
        counted: usize,
    },
    /// The pages of the spans found are not as many as are counted.
    PageCount {
        /// Bytes of spans in the page table.
        found_bytes: usize,
        /// Bytes counted.
        counted_bytes: usize,
    },
    /// The objects of a span are not as many as its record says.
    Taken {
        /// First byte of the span.
        span: Address,
        /// Objects found.
        found: usize,
        /// Objects its record says.
        counted: usize,
    },
    /// A span was not swept although everything should have been.
    Unswept {
        /// First byte of the span.
        span: Address,
    },
    /// A span still belongs to a mutator's cache.
    Cached {
        /// First byte of the span.
        span: Address,
    },
    /// Marks are set outside marking, or behind the span's last cell.
    StrayMark {
        /// First byte of the span.
        span: Address,
        /// Number of the bit.
        index: usize,
    },
    /// A mark is set for a cell that holds no object.
    MarkedFree {
        /// First byte of the cell.
        cell: Address,
    },
    /// A reference leads to a cell, page or header word that is no object.
    PointerToFree {
        /// The object that holds the reference; null for a root.
        object: Address,
        /// Bytes from the object to the reference; 0 when a trace function
        /// reported it.
        offset: usize,
        /// Bytes of a cell of the object's class.
        cell_bytes: usize,
        /// The reference.
        value: Address,
        /// The free cell, if it leads to one, and its first word.
        free_cell: Option<(Address, usize)>,
    },
    /// A marked object, or a root, leads to an object that is not marked.
    Unmarked {
        /// The object that holds the reference; null for a root.
        object: Address,
        /// As in `PointerToFree`.
        offset: usize,
        /// The reference.
        value: Address,
    },
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Fault::PageTable { page, span } => {
                write!(f, "page {page:?} is not entered as one of the span at {span:?}")
            }
            Fault::SpanCount { found, counted } => {
                write!(f, "{found} spans in the page table, {counted} counted")
            }
            Fault::PageCount { found_bytes, counted_bytes } => {
                write!(f, "{found_bytes} bytes of spans in the page table, {counted_bytes} counted")
            }
            Fault::Taken { span, found, counted } => {
                write!(f, "{found} objects in the span at {span:?}, {counted} counted")
            }
            Fault::Unswept { span } => write!(f, "the span at {span:?} is not swept"),
            Fault::Cached { span } => write!(f, "the span at {span:?} is still in a cache"),
            Fault::StrayMark { span, index } => {
                write!(f, "mark {index} of the span at {span:?} should not be set")
            }
            Fault::MarkedFree { cell } => write!(f, "the free cell at {cell:?} is marked"),
            Fault::PointerToFree { object, offset, cell_bytes, value, free_cell } => {
                write!(f, "found pointer to free object: {value:?}")?;
                if let Some((cell, word)) = free_cell {
                    write!(f, " (cell {cell:?}, first word {word:#x})")?;
                }
                match object {
                    Address::NULL => write!(f, " in a root"),
                    _ => write!(f, " at byte {offset} of {object:?}, cell of {cell_bytes} bytes"),
                }
            }
            Fault::Unmarked { object: Address::NULL, value, .. } => {
                write!(f, "a root leads to {value:?}, which is not marked")
            }
            Fault::Unmarked { object, offset, value } => {
                write!(f, "{value:?}, at byte {offset} of {object:?}, is not marked")
            }
        }
    }
}

impl core::error::Error for Fault {}

/// Checks a heap after a phase.
pub(crate) fn check(
    space: &Space,
    roots: &Roots,
    stopped: &Stopped<'_>,
    phase: Phase,
) -> Result<(), Fault> {
    let verifier = Verifier { space, phase };
    verifier.spans()?;
    verifier.objects()?;
    verifier.roots(roots, stopped)
}

struct Verifier<'s> {
    space: &'s Space,
    phase: Phase,
}

impl Verifier<'_> {
    /// Calls `check` with each span until it finds a fault.
    fn each_span(
        &self,
        mut check: impl FnMut(SpanId, &Span) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        self.space.for_each_span(|id, span| {
            if result.is_ok() {
                result = check(id, span);
            }
        });
        result
    }

    fn spans(&self) -> Result<(), Fault> {
        let (mut found, mut found_bytes) = (0, 0);
        self.each_span(|id, span| {
            found += 1;
            found_bytes += span.pages() << PAGE_SHIFT;
            self.pages(id, span)?;
            self.bits(span)
        })?;
        let counted = self.space.span_count.load(Relaxed);
        if found != counted {
            return Err(Fault::SpanCount { found, counted });
        }
        let counted_bytes = self.space.used_bytes();
        if found_bytes != counted_bytes {
            return Err(Fault::PageCount { found_bytes, counted_bytes });
        }
        Ok(())
    }

    fn pages(&self, id: SpanId, span: &Span) -> Result<(), Fault> {
        let space = self.space;
        let first = span.base().offset_from(space.base()) >> PAGE_SHIFT;
        for back in 0..span.pages() {
            let page = PageId((first + back) as u32);
            let info = space.page_info(page);
            let large = space.class_info(span.class()).size.index() == 0;
            let right = space.span_of_page(page) == Some(id)
                && info.class() == span.class()
                && info.has(PageInfo::LARGE) == large
                && (large || info.pages_back() == back);
            if !right {
                return Err(Fault::PageTable { page: space.page_address(page), span: span.base() });
            }
        }
        Ok(())
    }

    fn bits(&self, span: &Span) -> Result<(), Fault> {
        let space = self.space;
        let base = span.base();
        for (bits, may_be_set) in [
            (space.survivor_bits(span), true),
            // After the flip these are the last cycle's survivors, until they are swept.
            (space.mark_bits(span), self.phase != Phase::Stopped),
        ] {
            for (number, word) in bits.iter().enumerate() {
                let cells_here = span.cells().saturating_sub(number * 64).min(64);
                let allowed = match (may_be_set, cells_here) {
                    (false, _) | (_, 0) => 0,
                    (true, cells) => u64::MAX >> (64 - cells),
                };
                let stray = word.load(Relaxed) & !allowed;
                if stray != 0 {
                    let index = number * 64 + stray.trailing_zeros() as usize;
                    return Err(Fault::StrayMark { span: base, index });
                }
            }
        }
        if self.phase == Phase::Flipped {
            return Ok(());
        }
        if space.is_unswept(span) {
            return Err(Fault::Unswept { span: base });
        }
        if span.cached_by.is_held() {
            return Err(Fault::Cached { span: base });
        }
        let found = (0..span.cells()).filter(|&index| space.is_allocated(span, index)).count();
        if found != span.taken() {
            return Err(Fault::Taken { span: base, found, counted: span.taken() });
        }
        Ok(())
    }

    /// The references of the objects this phase is about.
    fn objects(&self) -> Result<(), Fault> {
        let space = self.space;
        self.each_span(|_, span| {
            let scan = space.class_info(span.class()).scan;
            for index in 0..span.cells() {
                let marked = is_set(space, span, index);
                let concerned = match self.phase {
                    // Once flipped, who survived is who is allocated.
                    Phase::Stopped | Phase::Flipped => space.is_allocated(span, index),
                    Phase::Marked if marked && !space.is_allocated(span, index) => {
                        return Err(Fault::MarkedFree { cell: span.cell(index) });
                    }
                    Phase::Marked => marked,
                };
                if concerned && !matches!(scan, Scan::None | Scan::Conservative) {
                    self.object(span, index, scan)?;
                }
            }
            Ok(())
        })
    }

    fn object(&self, span: &Span, index: usize, scan: Scan) -> Result<(), Fault> {
        let space = self.space;
        let (mut object, mut bytes) = (span.cell(index), span.cell_bytes());
        let mut layout_id = space.class_info(span.class()).layout_id;
        if scan == Scan::Mixed {
            let header = load(object);
            if header == 0 {
                return Ok(());
            }
            layout_id = LayoutId(header as u32);
            object = object.add(WORD_SIZE);
            bytes -= WORD_SIZE;
        }
        let layout = space.layout(layout_id);
        let mut result = Ok(());
        let mut visit = |offset: usize, value: Address| {
            if result.is_ok() {
                result = self.reference(object, offset, span.cell_bytes(), value);
            }
        };
        for_each_reference(layout, object, bytes, &mut visit);
        result
    }

    /// Checks a reference that an object or, with a null object, a root holds.
    fn reference(
        &self,
        object: Address,
        offset: usize,
        cell_bytes: usize,
        value: Address,
    ) -> Result<(), Fault> {
        let space = self.space;
        if space.page_of(value).is_none() {
            return Ok(());
        }
        let cell: Option<Found> = space.find_cell(value);
        let allocated = cell.filter(|it| space.is_allocated(space.span(it.span), it.index));
        let Some(found) = allocated else {
            let free_cell = cell.map(|it| {
                // Dead cells may be poisoned; this one is the last to be read.
                sanitizer::unpoison(it.cell, WORD_SIZE);
                (it.cell, load(it.cell))
            });
            return Err(Fault::PointerToFree { object, offset, cell_bytes, value, free_cell });
        };
        if self.phase == Phase::Marked && !is_set(space, space.span(found.span), found.index) {
            return Err(Fault::Unmarked { object, offset, value });
        }
        Ok(())
    }

    fn roots(&self, roots: &Roots, stopped: &Stopped<'_>) -> Result<(), Fault> {
        if self.phase == Phase::Flipped {
            return Ok(());
        }
        let mut check = RootCheck { verifier: self, result: Ok(()) };
        stopped.visit_roots(roots, &mut check);
        // Arguments of cleanups may be any word.
        self.space.specials.for_each_root(|word| check.ambiguous(word.as_usize()));
        check.result
    }
}

struct RootCheck<'v> {
    verifier: &'v Verifier<'v>,
    result: Result<(), Fault>,
}

impl RootSink for RootCheck<'_> {
    fn reference(&mut self, value: usize) {
        if self.result.is_ok() {
            self.result = self.verifier.reference(Address::NULL, 0, 0, Address::new(value));
        }
    }

    fn ambiguous(&mut self, value: usize) {
        // Free cells are no fault here; objects must be marked.
        if self.verifier.space.find_object(Address::new(value)).is_some() {
            self.reference(value);
        }
    }
}

/// Whether a cell's mark is set.
fn is_set(space: &Space, span: &Span, index: usize) -> bool {
    space.mark_bits(span)[index / 64].load(Relaxed) >> (index % 64) & 1 != 0
}

fn load(address: Address) -> usize {
    // SAFETY: callers pass words of cells of spans in use, aligned by layout.
    unsafe { (*address.as_ptr::<AtomicUsize>()).load(Relaxed) }
}

/// Calls `visit` with the offset and value of each reference of an object, but
/// of conservative ones; the offset is 0 where a trace function reported it. The world is stopped.
pub(crate) fn for_each_reference(
    layout: &LayoutRecord,
    object: Address,
    bytes: usize,
    visit: &mut dyn FnMut(usize, Address),
) {
    if let Some(function) = layout.trace_function() {
        let mut report = |value: Address| visit(0, value);
        // SAFETY: this is an object of this layout, and the world stands.
        return unsafe {
            function.trace(object.as_usize(), bytes, &mut Tracer::new(&mut report));
        };
    }
    if layout.is_conservative() {
        return;
    }
    let words = bytes / WORD_SIZE;
    let step = if words <= SLOW_WORDS_MAX { 1 } else { words };
    for from in (0..words).step_by(step) {
        layout.for_each_reference(from, (from + step).min(words), |word| {
            visit(word * WORD_SIZE, Address::new(load(object.add(word * WORD_SIZE))));
        });
    }
}
