//! All memory of one heap: its address range, the tables beside it, spans.
//!
//! One reservation holds, in this order, the pages of the heap and the tables
//! about them, each committed as far as the heap has grown:
//!
//! | table | entry | indexed by |
//! |---|---|---|
//! | page info | [`PageInfo`], 4 bytes | page |
//! | page span | [`SpanId`], 4 bytes | page |
//! | two bitmaps | 16 words a page | cell number, from the span's first page |
//! | span records | [`Span`], 64 bytes | span id |
//! | class infos, centrals, layouts | | span class, layout |
//!
//! The two bitmaps change places at the end of every cycle. One holds the
//! survivors of the last cycle, which with the span's `free_index` says what
//! is allocated; the other is all zero outside a cycle and takes the marks of
//! the next. Bits are numbered by cell and not by address, so that the marks
//! of a span of 48-byte cells fill one cache line.
//!
//! Protection: page tables and span records are written under the pages lock
//! or by the span's owner; class tables under the classes lock; bitmaps by
//! whoever owns the span, and by markers with atomic operations.
//!
//! Not here: what is free in a span (`cache`), who is alive (`collect`).

use crate::base::size_class::{MAX_CELLS, SizeClass, TINY_SIZE};
use crate::base::stripes::Stripes;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Lock, Ordering, Rank};
use crate::base::{Address, PAGE_SHIFT, PAGE_SIZE, PageId, address::round_up};
use crate::heap::ambiguous::Ambiguous;
use crate::heap::central::{Central, Popped};
use crate::heap::error::AllocError;
use crate::heap::first_touch::{self, FirstTouch};
use crate::heap::layouts::{LAYOUT_LIMIT, LayoutRecord, MIXED_LAYOUT};
use crate::heap::limits::{Limits, Room};
use crate::heap::meta::Meta;
use crate::heap::newborn;
use crate::heap::object_claim::{CLAIM_OFFSET, ClaimWord, ObjectClaim};
use crate::heap::page_entry::PageEntry;
use crate::heap::pages::{PageRun, Pages};
use crate::heap::span::{PageInfo, Shape, Span, SpanId};
use crate::heap::span_class::{ClassInfo, Scan, SpanClassId};
use crate::heap::special::Specials;
use crate::heap::sweep_gate::SweepGate;
use crate::layout::LayoutId;
use crate::os::{HugePages, OsError, Reservation, sanitizer};
use Ordering::{Acquire, Relaxed, Release};
use core::ptr::NonNull;

/// Words of each bitmap for one page: a bit for each 8-byte cell.
pub(crate) const BITMAP_WORDS_PER_PAGE: usize = PAGE_SIZE / 8 / 64;

const _: () = assert!(MAX_CELLS.div_ceil(64) <= BITMAP_WORDS_PER_PAGE); // `Space::bits` counts on it

/// The smallest step in which the heap is committed.
const GROWTH_MIN_PAGES: usize = (4 << 20) / PAGE_SIZE;
/// The largest step, unless one object needs more.
const GROWTH_MAX_PAGES: usize = (64 << 20) / PAGE_SIZE;
/// A table is committed in steps of this many bytes.
const TABLE_STEP: usize = 64 << 10;
/// The heap asks for huge pages from this size on: below it, the tail of a
/// huge page would show in the resident size.
const HUGE_PAGES_FROM_BYTES: usize = 8 << 20;

/// One table in the reservation.
#[derive(Debug)]
struct Table {
    /// Offset of its first byte in the reservation.
    offset: usize,
    bytes: usize,
    /// Bytes committed, from the first.
    committed: AtomicUsize,
}

impl Table {
    fn new(at: &mut usize, bytes: usize) -> Table {
        let bytes = round_up(bytes, TABLE_STEP);
        let offset = *at;
        *at += bytes;
        Table { offset, bytes, committed: AtomicUsize::new(0) }
    }

    /// Commits the table up to `bytes`. The caller holds the lock that
    /// protects the table.
    fn cover(&self, reservation: &Reservation, bytes: usize) -> Result<(), OsError> {
        // Relaxed: read and written under one lock.
        let committed = self.committed.load(Relaxed);
        if bytes <= committed {
            return Ok(());
        }
        let end = round_up(bytes, TABLE_STEP).min(self.bytes);
        assert!(bytes <= end, "table of {} bytes asked for {bytes}", self.bytes);
        reservation.commit(self.offset + committed, end - committed)?;
        self.committed.store(end, Relaxed);
        Ok(())
    }
}

/// The pages and span records that no span uses, behind one lock.
#[derive(Debug)]
struct PageHeap {
    pages: Pages,
    /// Pages committed so far, from the first.
    committed: usize,
    /// Freed span records, linked.
    free_spans: Option<SpanId>,
    /// Records below this have been used.
    next_span: u32,
}

/// What a heap's memory is made from.
#[derive(Clone, Copy, Debug)]
pub struct SpaceOptions {
    /// Bytes of address range for objects.
    pub reserve_bytes: usize,
    /// Bytes in spans, and outside, that allocation may not exceed.
    pub limit_bytes: usize,
    /// Whether large heaps ask for huge pages.
    pub huge_pages: bool,
}

/// All memory of one heap.
///
/// # Invariants
///
/// 1. `heap_base` starts `reserved_pages` pages of the reservation; those
///    below `PageHeap::committed` are committed, and so are the entries of
///    every page table for them.
/// 2. A page entry that is present names a span in use that contains it.
/// 3. Span records below `PageHeap::next_span`, class infos and centrals below
///    `class_count`, and layout records below `layout_count` are initialised
///    and never move.
#[derive(Debug)]
pub struct Space {
    heap_base: Address,
    page_info: NonNull<AtomicU32>,
    bitmaps: [NonNull<AtomicU64>; 2],
    /// Which bitmap holds the survivors; the other takes marks.
    parity: AtomicU32,
    /// Rises by one at the end of each cycle.
    sweep_generation: AtomicU32,
    /// Bytes from `heap_base` that spans may lie in.
    committed_bytes: AtomicUsize,
    spans: NonNull<Span>,
    infos: NonNull<ClassInfo>,
    centrals: NonNull<Central>,
    layouts: NonNull<LayoutRecord>,
    page_span: NonNull<AtomicU32>,
    reserved_pages: usize,

    /// Bytes of objects: marked in the last cycle and handed to caches since.
    pub(crate) live_bytes: AtomicU64,
    /// When `live_bytes` reaches this a cycle is due.
    pub(crate) trigger_bytes: AtomicU64,
    /// The marking word (`newborn`).
    pub(crate) marking: AtomicU32,
    /// Locks of small values in objects, for who changes or reads them while marking
    /// runs.
    pub(crate) stripes: Stripes,
    /// There is an object that the marker cannot read beside a mutator that
    /// writes it, since its layout is a function, or says nothing.
    pub(crate) has_opaque_objects: AtomicBool,
    /// An allocation failed for want of memory since the last cycle.
    pub(crate) short_of_memory: AtomicBool,
    /// Bytes of pages since the last cycle that were not in memory and went to
    /// spans, or went to large objects: what those take from the free pages
    /// in memory, others will not find there.
    pub(crate) fresh_bytes: AtomicU64,
    /// Pages in spans.
    used_pages: AtomicUsize,
    /// Spans the running sweep has not reached.
    pub(crate) unswept_spans: AtomicUsize,
    /// Swept spans in the lists of sparse ones.
    pub(crate) sparse_spans: AtomicUsize,
    /// Spans in use.
    pub(crate) span_count: AtomicUsize,
    /// Who may hold a span that is being swept.
    pub(crate) sweep_gate: SweepGate,
    /// Where `reclaim` looks next.
    pub(crate) reclaim_class: AtomicUsize,
    pub(crate) limits: Limits,
    class_count: AtomicUsize,
    layout_count: AtomicUsize,
    /// Cells freed, by size class.
    pub(crate) freed: [AtomicU64; crate::base::size_class::SIZE_CLASSES],
    /// Bytes of large objects freed.
    pub(crate) freed_large_bytes: AtomicU64,
    /// What a freed cell is overwritten with; zero for nothing.
    pub(crate) clobber: AtomicU64,

    /// Which words of objects are references, where nobody says so.
    pub(crate) ambiguous: Ambiguous,
    /// Records on objects.
    pub(crate) specials: Specials,
    huge_pages: bool,
    first_touch: FirstTouch,
    page_heap: Lock<PageHeap>,
    classes: Lock<()>,
    tables: Tables,
    meta: Meta,
    reservation: Reservation,
}

#[derive(Debug)]
struct Tables {
    page_info: Table,
    page_span: Table,
    bitmaps: [Table; 2],
    spans: Table,
    infos: Table,
    centrals: Table,
    layouts: Table,
}

// SAFETY: the pointers lead into the reservation, which lives as long as the
// space; what they point at is atomic, behind locks, or immutable once
// published (invariant 3).
unsafe impl Send for Space {}
// SAFETY: as for `Send`.
unsafe impl Sync for Space {}

impl Space {
    /// Reserves the address range and builds the tables. Then makes `beside`
    /// what else takes address range in proportion to it. Both with half as
    /// often as the system refuses.
    ///
    /// # Errors
    ///
    /// When the system refuses even the smallest range (64 MiB).
    pub fn new<T>(
        options: SpaceOptions,
        beside: impl Fn(&Space) -> Result<T, OsError>,
    ) -> Result<(Space, T), AllocError> {
        const SMALLEST: usize = 64 << 20;
        let mut bytes =
            round_up(options.reserve_bytes.clamp(SMALLEST, 1 << 44), GROWTH_MAX_PAGES * PAGE_SIZE);
        loop {
            let made = Space::with_range(bytes, options).and_then(|space| {
                let beside = beside(&space).map_err(|error| AllocError::from_os(bytes, error))?;
                Ok((space, beside))
            });
            match made {
                Ok(made) => return Ok(made),
                Err(AllocError::OutOfMemory { .. }) if bytes / 2 >= SMALLEST => bytes /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    fn with_range(bytes: usize, options: SpaceOptions) -> Result<Space, AllocError> {
        let reserved_pages = bytes / PAGE_SIZE;
        let mut end = bytes;
        let tables = Tables {
            page_info: Table::new(&mut end, reserved_pages * 4),
            page_span: Table::new(&mut end, reserved_pages * 4),
            bitmaps: [
                Table::new(&mut end, reserved_pages * BITMAP_WORDS_PER_PAGE * 8),
                Table::new(&mut end, reserved_pages * BITMAP_WORDS_PER_PAGE * 8),
            ],
            spans: Table::new(&mut end, (reserved_pages + 1) * size_of::<Span>()),
            infos: Table::new(&mut end, SpanClassId::LIMIT * size_of::<ClassInfo>()),
            centrals: Table::new(&mut end, SpanClassId::LIMIT * size_of::<Central>()),
            layouts: Table::new(&mut end, LAYOUT_LIMIT * size_of::<LayoutRecord>()),
        };
        let os_error = |error| AllocError::from_os(end, error);
        let reservation = Reservation::reserve(end, 2 << 20).map_err(os_error)?;
        let base = reservation.base();
        let at = |table: &Table| base.add(table.offset).as_ptr::<u8>();
        let pages = Pages::new(reserved_pages).map_err(os_error)?;
        let page_heap = PageHeap { pages, committed: 0, free_spans: None, next_span: 1 };
        let space = Space {
            heap_base: base,
            page_info: pointer(at(&tables.page_info)),
            page_span: pointer(at(&tables.page_span)),
            bitmaps: [pointer(at(&tables.bitmaps[0])), pointer(at(&tables.bitmaps[1]))],
            parity: AtomicU32::new(0),
            sweep_generation: AtomicU32::new(0),
            committed_bytes: AtomicUsize::new(0),
            spans: pointer(at(&tables.spans)),
            infos: pointer(at(&tables.infos)),
            centrals: pointer(at(&tables.centrals)),
            layouts: pointer(at(&tables.layouts)),
            reserved_pages,
            live_bytes: AtomicU64::new(0),
            trigger_bytes: AtomicU64::new(u64::MAX),
            marking: AtomicU32::new(0),
            stripes: Stripes::new(),
            has_opaque_objects: AtomicBool::new(false),
            short_of_memory: AtomicBool::new(false),
            fresh_bytes: AtomicU64::new(0),
            used_pages: AtomicUsize::new(0),
            unswept_spans: AtomicUsize::new(0),
            sparse_spans: AtomicUsize::new(0),
            span_count: AtomicUsize::new(0),
            sweep_gate: SweepGate::new(),
            reclaim_class: AtomicUsize::new(0),
            limits: Limits::new(options.limit_bytes),
            class_count: AtomicUsize::new(0),
            layout_count: AtomicUsize::new(0),
            freed: [const { AtomicU64::new(0) }; crate::base::size_class::SIZE_CLASSES],
            freed_large_bytes: AtomicU64::new(0),
            clobber: AtomicU64::new(0),
            ambiguous: Ambiguous::new(),
            specials: Specials::new(options.huge_pages),
            huge_pages: options.huge_pages,
            first_touch: FirstTouch::new(),
            page_heap: Lock::new(Rank::Pages, page_heap),
            classes: Lock::new(Rank::SpanClasses, ()),
            tables,
            meta: Meta::new(),
            reservation,
        };
        space.register_built_in().map_err(os_error)?;
        Ok(space)
    }

    /// The classes every heap has: pointer-free and mixed, of each size.
    fn register_built_in(&self) -> Result<(), OsError> {
        for (layout_id, scan) in [(LayoutId::NOSCAN, Scan::None), (MIXED_LAYOUT, Scan::Mixed)] {
            for size in (0..crate::base::size_class::SIZE_CLASSES).map(|i| SizeClass::new(i as u8))
            {
                let info = ClassInfo {
                    mask: 0,
                    layout: core::ptr::null(),
                    magic: size.magic(),
                    cell_bytes: size.cell_size() as u32,
                    layout_id,
                    cells: size.cells() as u16,
                    scan,
                    size,
                };
                self.add_class(info)?.expect("the first ids are free");
            }
        }
        let tiny = SizeClass::for_size(TINY_SIZE);
        let info = ClassInfo {
            mask: 0,
            layout: core::ptr::null(),
            magic: tiny.magic(),
            cell_bytes: tiny.cell_size() as u32,
            layout_id: LayoutId::NOSCAN,
            cells: tiny.cells() as u16,
            scan: Scan::None,
            size: tiny,
        };
        let class = self.add_class(info)?;
        debug_assert_eq!(class, Some(SpanClassId::TINY));
        debug_assert_eq!(self.class_count(), SpanClassId::BUILT_IN);
        Ok(())
    }

    // --- addresses -------------------------------------------------------

    /// First byte of the heap's range.
    #[inline]
    pub fn base(&self) -> Address {
        self.heap_base
    }

    /// Bytes of the range that are in use or may be handed out.
    #[inline]
    pub fn committed_bytes(&self) -> usize {
        // Relaxed: only grows; whoever holds a pointer into the heap got it
        // from someone who saw the growth.
        self.committed_bytes.load(Relaxed)
    }

    /// Bytes of address range for objects.
    pub fn reserved_bytes(&self) -> usize {
        self.reserved_pages << PAGE_SHIFT
    }

    /// The page of an address, if it is in the heap's range in use.
    #[inline]
    pub fn page_of(&self, address: Address) -> Option<PageId> {
        let offset = address.offset_from(self.heap_base);
        (offset < self.committed_bytes()).then_some(PageId((offset >> PAGE_SHIFT) as u32))
    }

    /// First byte of a page.
    #[inline]
    pub fn page_address(&self, page: PageId) -> Address {
        self.heap_base.add(page.index() << PAGE_SHIFT)
    }

    /// The page table, for the marker: one entry a page up to
    /// [`committed_bytes`](Space::committed_bytes).
    #[inline]
    pub(crate) fn page_info_table(&self) -> NonNull<AtomicU32> {
        self.page_info
    }

    /// What the page table says of a page in use.
    #[inline]
    pub(crate) fn page_info(&self, page: PageId) -> PageInfo {
        self.page_entry(page).info()
    }

    /// The entry's place, for who changes flags in it.
    #[inline]
    pub(crate) fn page_info_place(&self, page: PageId) -> &AtomicU32 {
        debug_assert!(page.index() << PAGE_SHIFT < self.committed_bytes());
        // SAFETY: the page is committed (invariant 1).
        unsafe { self.page_info.add(page.index()).as_ref() }
    }

    #[inline]
    fn page_entry(&self, page: PageId) -> PageEntry<'_> {
        debug_assert!(page.index() << PAGE_SHIFT < self.committed_bytes());
        // SAFETY: invariant 1; callers have the page from `page_of` or a span.
        unsafe {
            PageEntry {
                info: self.page_info.cast().add(page.index()).as_ref(),
                span: self.page_span.cast().add(page.index()).as_ref(),
            }
        }
    }

    /// The span of a page in use.
    #[inline]
    pub fn span_of_page(&self, page: PageId) -> Option<SpanId> {
        self.page_entry(page).span()
    }

    // --- records ---------------------------------------------------------

    /// A span's record.
    #[inline]
    pub fn span(&self, id: SpanId) -> &Span {
        // SAFETY: ids come from `take_span`, so by invariant 3 the record is
        // initialised.
        unsafe { self.spans.add(id.get() as usize).as_ref() }
    }

    /// Span classes registered.
    #[inline]
    pub fn class_count(&self) -> usize {
        // Acquire: pairs with the Release in `add_class`.
        self.class_count.load(Acquire)
    }

    /// What the marker must know of a class.
    #[inline]
    pub fn class_info(&self, class: SpanClassId) -> &ClassInfo {
        debug_assert!(class.index() < self.class_count());
        // SAFETY: ids come from `add_class` by way of a layout record or a
        // page entry; invariant 3.
        unsafe { self.infos.add(class.index()).as_ref() }
    }

    /// The class table, for the marker.
    #[inline]
    pub(crate) fn class_info_table(&self) -> NonNull<ClassInfo> {
        self.infos
    }

    #[inline]
    pub(crate) fn central(&self, class: SpanClassId) -> &Central {
        debug_assert!(class.index() < self.class_count());
        // SAFETY: as in `class_info`.
        unsafe { self.centrals.add(class.index()).as_ref() }
    }

    /// A layout's record.
    #[inline]
    pub fn layout(&self, id: LayoutId) -> &LayoutRecord {
        assert!(id.index() < self.layout_count.load(Acquire), "layout {id:?} is not registered");
        // SAFETY: checked above; invariant 3.
        unsafe { self.layouts.add(id.index()).as_ref() }
    }

    /// Memory for the heap's own records.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Adds a span class; `None` when all ids are taken.
    pub(crate) fn add_class(&self, info: ClassInfo) -> Result<Option<SpanClassId>, OsError> {
        let _guard = self.classes.lock();
        // Relaxed: written under the same lock.
        let number = self.class_count.load(Relaxed);
        if number == SpanClassId::LIMIT {
            return Ok(None);
        }
        self.tables.infos.cover(&self.reservation, (number + 1) * size_of::<ClassInfo>())?;
        self.tables.centrals.cover(&self.reservation, (number + 1) * size_of::<Central>())?;
        // SAFETY: the entries are committed and, being at `class_count`,
        // nobody reads them yet.
        unsafe {
            self.infos.add(number).write(info);
            self.centrals.add(number).write(Central::new());
        }
        // Release: publishes the entries (pairs with Acquire in `class_count`,
        // and with the loads of the ids, stored with Release by the caller).
        self.class_count.store(number + 1, Release);
        Ok(Some(SpanClassId::new(number as u16)))
    }

    /// Adds a layout record; `None` when all ids are taken.
    pub(crate) fn add_layout(
        &self,
        make: impl FnOnce(LayoutId) -> LayoutRecord,
    ) -> Result<Option<LayoutId>, OsError> {
        let _guard = self.classes.lock();
        // Relaxed: written under the same lock.
        let number = self.layout_count.load(Relaxed);
        if number == LAYOUT_LIMIT {
            return Ok(None);
        }
        self.tables.layouts.cover(&self.reservation, (number + 1) * size_of::<LayoutRecord>())?;
        let id = LayoutId(number as u32);
        // SAFETY: as in `add_class`.
        unsafe { self.layouts.add(number).write(make(id)) };
        // Release: pairs with the Acquire in `layout`.
        self.layout_count.store(number + 1, Release);
        Ok(Some(id))
    }

    /// Layouts registered.
    pub fn layout_count(&self) -> usize {
        self.layout_count.load(Acquire)
    }

    // --- bitmaps ---------------------------------------------------------

    /// The sweep generation: how many cycles have ended.
    #[inline]
    pub fn sweep_generation(&self) -> u32 {
        // Relaxed: changes only while the world is stopped.
        self.sweep_generation.load(Relaxed)
    }

    #[inline]
    pub(crate) fn mark_table(&self) -> NonNull<AtomicU64> {
        self.bitmaps[1 - self.parity.load(Relaxed) as usize]
    }

    /// The bitmap of the last cycle's survivors.
    #[inline]
    pub(crate) fn survivor_table(&self) -> NonNull<AtomicU64> {
        self.bitmaps[self.parity.load(Relaxed) as usize]
    }

    /// The bitmap that has the joins, whatever the parity.
    #[inline]
    pub(crate) fn join_table(&self) -> NonNull<AtomicU64> {
        self.bitmaps[0]
    }

    #[inline]
    fn bits(&self, table: NonNull<AtomicU64>, span: &Span) -> &[AtomicU64] {
        let first = span.base().offset_from(self.heap_base) >> PAGE_SHIFT;
        let words = span.cells().div_ceil(64);
        // SAFETY: the bitmap covers every committed page (invariant 1), and a
        // span has at most 64 cells a word, 16 words a page. Whoever asks
        // beside the span's end may have the base of one and the cells of
        // another: a page's words suffice for the cells of any.
        unsafe {
            let start = table.add(first * BITMAP_WORDS_PER_PAGE);
            core::slice::from_raw_parts(start.as_ptr(), words)
        }
    }

    /// A bit for each cell that survived the last cycle.
    #[inline]
    pub(crate) fn survivor_bits(&self, span: &Span) -> &[AtomicU64] {
        self.bits(self.bitmaps[self.parity.load(Relaxed) as usize], span)
    }

    /// A bit for each cell marked in this cycle.
    #[inline]
    pub(crate) fn mark_bits(&self, span: &Span) -> &[AtomicU64] {
        self.bits(self.mark_table(), span)
    }

    /// The claim to an object of a span whose class has claims.
    pub(crate) fn object_claim(&self, span: &Span, index: usize) -> ObjectClaim<'_> {
        let [begun, ended] = self.claim_words(span).map(|words| {
            let word = NonNull::from(&words[index / 64]).cast::<ClaimWord>();
            // SAFETY: a word of the bitmap, which is all that a `ClaimWord` is.
            unsafe { word.as_ref() }
        });
        ObjectClaim { begun, ended, bit: 1 << (index % 64) }
    }

    /// Where the claims of a span's objects are: behind its bits.
    fn claim_words(&self, span: &Span) -> [&[AtomicU64]; 2] {
        debug_assert!(self.has_claims(span));
        self.bitmaps.map(|table| {
            // SAFETY: such spans have at most half as many cells as a page's words
            // have bits (`cell_bytes_for`), so that this many words more are there.
            let behind = unsafe { table.add(CLAIM_OFFSET) };
            self.bits(behind, span)
        })
    }

    /// Whether objects of a span may be claimed.
    fn has_claims(&self, span: &Span) -> bool {
        let info = self.class_info(span.class());
        match info.scan {
            Scan::Mixed => true,
            // SAFETY: a class with a function has a layout, whose record lives as long as the heap.
            Scan::Trace => unsafe { &*info.layout }.has_claims(),
            _ => false,
        }
    }

    /// Forgets who has read a span's objects. The caller owns the span.
    pub(crate) fn clear_claims(&self, span: &Span) {
        if self.has_claims(span) {
            for word in self.claim_words(span).into_iter().flatten() {
                word.store(0, Relaxed);
            }
        }
    }

    /// Ends marking: what is marked has survived. The world is stopped.
    pub(crate) fn flip(&self) {
        self.parity.fetch_xor(1, Relaxed);
        self.sweep_generation.fetch_add(1, Relaxed);
        self.unswept_spans.store(self.span_count.load(Relaxed), Relaxed);
        self.sparse_spans.store(0, Relaxed);
    }

    /// Whether a span has not been swept since the last cycle.
    #[inline]
    pub(crate) fn is_unswept(&self, span: &Span) -> bool {
        span.swept() != self.sweep_generation()
    }

    /// Lets all that was handed out since the last cycle look as if it had survived
    /// that, so that markers of ambiguous words need to look at one bit only. Caches
    /// are flushed, everything is swept, and the world is stopped.
    pub(crate) fn note_handed_out(&self) {
        self.for_each_span(|_, span| {
            let cells = span.free_index();
            if cells == 0 || span.is_joined() {
                return;
            }
            let bits = self.survivor_bits(span);
            for word in &bits[..cells / 64] {
                word.store(u64::MAX, Relaxed);
            }
            if !cells.is_multiple_of(64) {
                let word = &bits[cells / 64];
                word.store(word.load(Relaxed) | ((1 << (cells % 64)) - 1), Relaxed);
            }
        });
    }

    /// Whether a cell holds an object: it survived the last cycle, or was
    /// handed out since.
    pub(crate) fn is_allocated(&self, span: &Span, index: usize) -> bool {
        // From any thread, so the span may have become another meanwhile.
        let bits = self.survivor_bits(span);
        let Some(word) = bits.get(index / 64) else { return false };
        let survived = || word.load(Relaxed) >> (index % 64) & 1 != 0;
        let handed_out = || match self.is_unswept(span) {
            true => self.is_newborn(span, index),
            false => index < span.free_index(),
        };
        if !survived() && !handed_out() && !newborn::look_again(survived) {
            return false;
        }
        // The open chunk reaches to `free_index`, or has survivors' bits if its
        // cells are joined; from the cursor on they are not yet handed out.
        let cell = span.base().add(index.wrapping_mul(span.cell_bytes())).as_usize();
        // SAFETY: a cursor outlives its heap's spans (`cache`, invariant 1).
        !unsafe { span.cached_by.withholds(cell) }
    }

    // --- spans -----------------------------------------------------------

    /// Bytes in spans.
    pub fn used_bytes(&self) -> usize {
        self.used_pages.load(Relaxed) << PAGE_SHIFT
    }

    /// Adds external bytes; returns how many were added (`Limits::add_external`).
    ///
    /// # Errors
    ///
    /// [`AllocError::LimitReached`], if room is asked for.
    pub(crate) fn add_external(&self, bytes: usize, room: Room) -> Result<usize, AllocError> {
        let _pages = self.page_heap.lock();
        self.limits.add_external(self.used_bytes(), bytes, room)
    }

    /// Takes off external bytes that were added.
    pub(crate) fn remove_external(&self, added: usize) {
        let _pages = self.page_heap.lock();
        self.limits.remove_external(added);
    }

    /// Makes a span of `class`: of the size class's pages, or for a large
    /// object of `bytes` rounded up to pages.
    ///
    /// # Errors
    ///
    /// [`AllocError::LimitReached`], or [`AllocError::OutOfMemory`] when the
    /// system or the range has no more.
    pub(crate) fn make_span(&self, class: SpanClassId, bytes: usize) -> Result<SpanId, AllocError> {
        self.make_span_of_run(class, bytes).map(|(id, _)| id)
    }

    /// As [`make_span`](Space::make_span); tells too what its pages hold.
    ///
    /// # Errors
    ///
    /// As `make_span`.
    pub(crate) fn make_span_of_run(
        &self,
        class: SpanClassId,
        bytes: usize,
    ) -> Result<(SpanId, PageRun), AllocError> {
        let info = self.class_info(class);
        let large = info.size.index() == 0;
        let (pages, shape) = if large {
            let bytes = round_up(bytes, PAGE_SIZE);
            (bytes >> PAGE_SHIFT, Shape { cell_bytes: bytes, cells: 1 })
        } else {
            let pages = info.size.span_pages();
            let cells = info.size.cells() as u32;
            (pages, Shape { cell_bytes: info.size.cell_size(), cells })
        };
        // What an error names: an object's bytes, or those of a span for small ones.
        let asked = if large { bytes } else { pages << PAGE_SHIFT };
        let (id, run) = self.take_pages(pages, asked)?;
        let span = self.span(id);
        span.describe(self.page_address(run.first), pages, class, shape);
        span.set_swept(self.sweep_generation());
        span.set_needs_zero(run.zeroed_pages < run.pages);
        if run.zeroed_pages != 0 {
            self.limits.set_grown();
        }
        let fresh_pages = if large { run.pages } else { run.zeroed_pages };
        if fresh_pages != 0 {
            // Relaxed: a sum.
            self.fresh_bytes.fetch_add((fresh_pages << PAGE_SHIFT) as u64, Relaxed);
        }
        if large && self.huge_pages {
            // Mostly the end: the heap has grown by it.
            self.choose_pages(run.first.add(run.dirty_to), run.pages - run.dirty_to);
        }
        for table in self.bitmaps {
            for word in self.bits(table, span) {
                word.store(0, Relaxed);
            }
        }
        self.clear_claims(span);
        sanitizer::poison(span.base(), pages << PAGE_SHIFT);
        self.span_count.fetch_add(1, Relaxed);
        self.publish(id, run, class, large);
        Ok((id, run))
    }

    /// Asks the system for the pages that suit fresh memory of a large object.
    fn choose_pages(&self, first: PageId, pages: usize) {
        let (start, bytes) = (self.page_address(first), pages << PAGE_SHIFT);
        let choice = self.first_touch.choose(start, bytes, first_touch::touch_fresh);
        if choice == Some(HugePages::Avoid) {
            let offset = start.offset_from(self.heap_base);
            self.reservation.advise_huge(offset, bytes, HugePages::Avoid);
        }
    }

    /// Takes pages and a span record under the pages lock.
    fn take_pages(&self, pages: usize, bytes: usize) -> Result<(SpanId, PageRun), AllocError> {
        let mut heap = self.page_heap.lock();
        // Relaxed: written under this lock.
        let used = self.used_pages.load(Relaxed);
        self.limits.check(used << PAGE_SHIFT, pages << PAGE_SHIFT, bytes)?;
        let run = match heap.pages.take(pages, 1) {
            Some(run) => run,
            None => {
                self.grow(&mut heap, pages, bytes)?;
                heap.pages.take(pages, 1).ok_or(AllocError::OutOfMemory { bytes, cause: None })?
            }
        };
        match self.take_record(&mut heap) {
            Ok(id) => {
                self.used_pages.store(used + pages, Relaxed);
                Ok((id, run))
            }
            Err(error) => {
                heap.pages.give_back(run.first, run.pages);
                Err(AllocError::from_os(bytes, error))
            }
        }
    }

    fn take_record(&self, heap: &mut PageHeap) -> Result<SpanId, OsError> {
        if let Some(id) = heap.free_spans {
            heap.free_spans = self.span(id).next();
            return Ok(id);
        }
        let number = heap.next_span;
        self.tables.spans.cover(&self.reservation, (number as usize + 1) * size_of::<Span>())?;
        heap.next_span += 1;
        // A committed record is all zero, which is a valid span of nothing.
        Ok(SpanId::new(number).expect("numbers start at one"))
    }

    /// Commits more pages, `pages` at least.
    fn grow(&self, heap: &mut PageHeap, pages: usize, bytes: usize) -> Result<(), AllocError> {
        let committed = heap.committed;
        let free_at_end = heap.pages.free_at_end(committed);
        let needed = pages.saturating_sub(free_at_end);
        if needed > self.reserved_pages - committed {
            return Err(AllocError::OutOfMemory { bytes, cause: None });
        }
        // Whole steps keep the end aligned for huge pages.
        let step =
            round_up(committed / 8, GROWTH_MIN_PAGES).clamp(GROWTH_MIN_PAGES, GROWTH_MAX_PAGES);
        let wanted = round_up(needed, GROWTH_MIN_PAGES).max(step);
        let wanted = wanted.min(self.reserved_pages - committed);
        // When the system refuses the step, what is needed may still be had.
        let grown = self.commit_pages(heap, wanted).or_else(|_| self.commit_pages(heap, needed));
        grown.map_err(|error| AllocError::from_os(bytes, error))
    }

    fn commit_pages(&self, heap: &mut PageHeap, pages: usize) -> Result<(), OsError> {
        let (start, end) = (heap.committed, heap.committed + pages);
        let from = &self.reservation;
        self.tables.page_info.cover(from, end * 4)?;
        self.tables.page_span.cover(from, end * 4)?;
        for bitmap in &self.tables.bitmaps {
            bitmap.cover(from, end * BITMAP_WORDS_PER_PAGE * 8)?;
        }
        from.commit(start << PAGE_SHIFT, pages << PAGE_SHIFT)?;
        if self.huge_pages && end << PAGE_SHIFT > HUGE_PAGES_FROM_BYTES {
            from.advise_huge(start << PAGE_SHIFT, pages << PAGE_SHIFT, HugePages::Prefer);
        }
        heap.pages.grow(PageId(start as u32), pages)?;
        heap.committed = end;
        self.committed_bytes.store(end << PAGE_SHIFT, Relaxed);
        Ok(())
    }

    /// Enters a described span in the page tables.
    fn publish(&self, id: SpanId, run: PageRun, class: SpanClassId, large: bool) {
        let mut flags = PageInfo::PRESENT;
        match self.class_info(class).scan {
            Scan::None => flags |= PageInfo::NO_SCAN,
            Scan::Mixed => flags |= PageInfo::MIXED,
            _ => {}
        }
        if large {
            flags |= PageInfo::LARGE;
            if self.is_marking() {
                self.span(id).set_newborn_from(Some(0));
                flags |= PageInfo::NEWBORN;
            }
        }
        if self.ambiguous.is_on() {
            flags |= PageInfo::AMBIGUOUS;
        }
        for back in 0..run.pages {
            let page = run.first.add(back);
            let back = if large { 0 } else { (back as u32) << PageInfo::BACK_SHIFT };
            let entry = class.index() as u32 | back | flags;
            self.page_entry(page).publish(PageInfo(entry), id);
        }
    }

    /// Says in the record and the page table whether cells of a span may be
    /// joined. The caller owns the span.
    pub(crate) fn set_joined(&self, span: &Span, joined: bool) {
        span.set_joined(joined);
        self.set_page_flag(span, PageInfo::JOINED, joined);
    }

    /// Says in the page table whether marking a cell of a span must be told to
    /// ephemerons. The world is stopped and the caller marks alone.
    pub(crate) fn set_watched(&self, span: &Span, watched: bool) {
        let first = self.page_of(span.base()).expect("a span lies in the heap").index();
        let flag = if watched { PageInfo::WATCHED } else { 0 };
        for page in first..first + span.pages() {
            // SAFETY: the page is committed (invariant 1).
            let place = unsafe { self.page_info.add(page).as_ref() };
            // Relaxed: nobody else reads or writes it meanwhile.
            let entry = place.load(Relaxed);
            if entry & PageInfo::WATCHED == flag {
                // Pages of a span are written together.
                return;
            }
            place.store(entry & !PageInfo::WATCHED | flag, Relaxed);
        }
    }

    /// Gives a span's pages back. The caller owns the span, which holds no
    /// object and no special.
    pub(crate) fn free_span(&self, id: SpanId) {
        let span = self.span(id);
        // The cycle that found the last object dead took the table away.
        debug_assert!(span.specials.load(Relaxed).is_null(), "a freed span has specials");
        let first = self.page_of(span.base()).expect("a span lies in the heap");
        let pages = span.pages();
        for page in 0..pages {
            self.page_entry(first.add(page)).withdraw();
        }
        // Nobody's until they are handed out again; unmapping ends it as well.
        sanitizer::poison(span.base(), pages << PAGE_SHIFT);
        self.span_count.fetch_sub(1, Relaxed);
        let mut heap = self.page_heap.lock();
        heap.pages.give_back(first, pages);
        span.set_next(heap.free_spans);
        heap.free_spans = Some(id);
        let used = self.used_pages.load(Relaxed);
        self.used_pages.store(used - pages, Relaxed);
    }

    /// Calls `visit` with every span in use. No span may be made or freed
    /// meanwhile: the world is stopped and nobody sweeps.
    pub(crate) fn for_each_span(&self, mut visit: impl FnMut(SpanId, &Span)) {
        let end = self.committed_bytes() >> PAGE_SHIFT;
        let mut page = 0;
        while page < end {
            let Some(id) = self.span_of_page(PageId(page as u32)) else {
                page += 1;
                continue;
            };
            let span = self.span(id);
            visit(id, span);
            page += span.pages();
        }
    }

    /// Calls `act` with the page allocator, under its lock.
    pub(crate) fn with_pages<R>(&self, act: impl FnOnce(&mut Pages, &Reservation) -> R) -> R {
        let mut heap = self.page_heap.lock();
        act(&mut heap.pages, &self.reservation)
    }

    /// Pops a span of `class` from its central list.
    pub(crate) fn pop_span(&self, class: SpanClassId) -> Option<Popped> {
        self.central(class).pop(self)
    }

    /// Gives the memory of a part of the reservation back: of pages that the
    /// caller has, or what tables say of them.
    pub(crate) fn decommit_range(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        self.reservation.decommit(offset, bytes)
    }

    /// Where the bitmaps lie in the reservation.
    pub(crate) fn bitmap_offsets(&self) -> [usize; 2] {
        [self.tables.bitmaps[0].offset, self.tables.bitmaps[1].offset]
    }

    /// Bytes committed for tables.
    pub(crate) fn table_bytes(&self) -> TableBytes {
        let committed = |table: &Table| table.committed.load(Relaxed);
        let tables = &self.tables;
        TableBytes {
            pages: committed(&tables.page_info) + committed(&tables.page_span),
            bitmaps: committed(&tables.bitmaps[0]) + committed(&tables.bitmaps[1]),
            spans: committed(&tables.spans)
                + committed(&tables.infos)
                + committed(&tables.centrals)
                + committed(&tables.layouts),
            span_record: size_of::<Span>(),
        }
    }
}

/// Bytes committed for tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableBytes {
    pub(crate) pages: usize,
    pub(crate) bitmaps: usize,
    pub(crate) spans: usize,
    /// Bytes of one span record.
    pub(crate) span_record: usize,
}

#[inline]
fn pointer<T>(at: *mut u8) -> NonNull<T> {
    NonNull::new(at.cast()).expect("a reservation does not start at zero")
}
