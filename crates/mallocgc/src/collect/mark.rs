//! Marking: from the roots to everything reachable.
//!
//! An object is grey when its mark bit is set and its references are still to
//! be read. Grey objects wait on a stack; between the stack and the scan
//! stands a ring of [`RING`] objects whose first lines are being fetched, so
//! that a cache miss is waited for once and not once an object. Objects
//! without references are marked and never touched.
//!
//! A reference may point anywhere into an object. The page table gives the
//! span class; one multiplication gives the cell; its number is the number of
//! the mark bit, which one worker alone may set (`mail`).
//!
//! Objects of more than [`PIECE_BYTES`] are scanned in pieces, each a grey
//! entry of its own. When the stack cannot grow the entry is dropped, the
//! object stays marked, and [`Marker::rescan`] finds it again.
//!
//! Beside mutators (`concurrent`) one marker works in slices: when its budget
//! is used up, what is grey goes to the pool until the next. It passes over
//! newborn objects (`heap::newborn`).
//!
//! Protection: workers share nothing but the bitmaps, of which each writes parts of
//! its own, and the pool (`work`).
//! With mutators running there is one marker, which reads slots and page
//! entries with Acquire; what they refer to is not freed meanwhile.

use crate::base::claim::MarkingCycle;
use crate::base::sync::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed},
};
use crate::base::{Address, PAGE_SHIFT, PAGE_SIZE, PageId, WORD_SIZE};
use crate::collect::kernel::{self, Kernel, Level};
use crate::collect::mail::{Candidate, Mail};
use crate::collect::mark_word::MarkWord;
use crate::collect::watched_keys::WatchedKeys;
use crate::collect::work::{Grey, Segment, SharedWork, Stack, Top, Work};
use crate::heap::ephemeron::{EphemeronWords, Key};
use crate::heap::layouts::{LayoutRecord, TraceCall};
use crate::heap::object::Found;
use crate::heap::space::{BITMAP_WORDS_PER_PAGE, Space};
use crate::heap::span::{PageInfo, Span, SpanId};
use crate::heap::span_class::{ClassInfo, Scan};
use crate::layout::{Beside, Reader, Tracer};
use crate::os;
use core::ops::Range;
use core::ptr::NonNull;

/// Grey objects being fetched at a time: enough to hide a miss to memory.
pub(super) const RING: usize = 16;

/// Objects with more reference words than this go through a kernel first.
const SCALAR_WORDS_MAX: u32 = 4;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Bytes of a large object scanned at a time.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// Scans between two looks whether another worker is out of work.
pub(super) const SCANS_PER_LOOK: u32 = 64;

/// What a marker has marked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marked {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Of `bytes` those of objects without references; counted for ambiguous words only.
    pub(crate) plain_bytes: u64,
}

impl core::ops::AddAssign for Marked {
    fn add_assign(&mut self, more: Marked) {
        self.objects += more.objects;
        self.bytes += more.bytes;
        self.plain_bytes += more.plain_bytes;
    }
}

/// One worker of the mark phase. `SHARED` says whether there are others.
#[derive(Debug)]
pub(crate) struct Marker<'s, const SHARED: bool> {
    pub(super) base: usize,
    pub(super) extent: usize,
    page_info: NonNull<AtomicU32>,
    pub(super) infos: NonNull<ClassInfo>,
    marks: NonNull<MarkWord>,
    survivors: NonNull<MarkWord>,
    pub(super) level: Level,
    pub(super) stack: Stack<'s>,
    pub(super) mail: Mail<'s>,
    pub(crate) marked: Marked,
    /// Words of roots, for the trace.
    pub(crate) visited_roots: u64,
    /// Keys whose marks ephemerons wait for (`ephemeron::watch`).
    pub(crate) watched: Option<WatchedKeys>,
    /// The cycle, if mutators run.
    beside: Option<MarkingCycle>,
    /// Bytes of references that trace functions read elsewhere than in their objects.
    read_elsewhere_bytes: u64,
    pub(super) space: &'s Space,
    pub(super) shared: &'s SharedWork,
}

/// What the marking loop changes at every object, in registers while it runs.
///
/// Lifted out of the marker and lowered into it again around everything that
/// happens rarely: through memory each push would wait for the one before.
#[derive(Clone, Copy)]
pub(super) struct Hot {
    pub(super) top: Top,
    marked: Marked,
}

impl<'s> Marker<'s, false> {
    /// A marker that is alone.
    pub(crate) fn new(space: &'s Space, shared: &'s SharedWork) -> Marker<'s, false> {
        Marker::with_mail(space, shared, Mail::alone(shared))
    }

    /// A marker for the time in which mutators run.
    pub(crate) fn beside(space: &'s Space, shared: &'s SharedWork) -> Marker<'s, false> {
        Marker { beside: space.marking_cycle(), ..Marker::new(space, shared) }
    }
}

impl<'s> Marker<'s, true> {
    /// One of several that run now.
    pub(crate) fn worker(space: &'s Space, shared: &'s SharedWork) -> Marker<'s, true> {
        Marker::with_mail(space, shared, Mail::of_worker(shared))
    }
}

impl<'s, const SHARED: bool> Marker<'s, SHARED> {
    #[inline(always)]
    pub(super) fn lift(&self) -> Hot {
        Hot { top: self.stack.top, marked: self.marked }
    }

    #[inline(always)]
    pub(super) fn lower(&mut self, hot: Hot) {
        self.stack.top = hot.top;
        self.marked = hot.marked;
    }

    fn with_mail(space: &'s Space, shared: &'s SharedWork, mail: Mail<'s>) -> Marker<'s, SHARED> {
        Marker {
            base: space.base().as_usize(),
            extent: space.committed_bytes(),
            page_info: space.page_info_table(),
            infos: space.class_info_table(),
            marks: space.mark_table().cast(),
            survivors: space.survivor_table().cast(),
            level: Level::best(),
            stack: Stack::new(shared),
            mail,
            marked: Marked::default(),
            visited_roots: 0,
            watched: None,
            beside: None,
            read_elsewhere_bytes: 0,
            space,
            shared,
        }
    }

    /// Marks the object that `value` points into, if it points into one, and
    /// makes it grey if it has references.
    pub(crate) fn visit(&mut self, value: usize) {
        let mut hot = self.lift();
        self.visit_hot(&mut hot, value);
        self.lower(hot);
    }

    #[inline(always)]
    fn visit_hot(&mut self, hot: &mut Hot, value: usize) {
        let offset = value.wrapping_sub(self.base);
        // Null is below every heap and ends here too.
        if offset >= self.extent {
            return;
        }
        let page = offset >> PAGE_SHIFT;
        // SAFETY: the page is committed, so the table has its entry (`Space`,
        // invariant 1). Acquire: pairs with the Release in
        // `Space::set_page_flag`, so that who sees the flag of newborns sees from
        // which cell on.
        let info = PageInfo(unsafe { self.page_info.add(page).as_ref() }.load(Acquire));
        const PLAIN: u32 = PageInfo::PRESENT
            | PageInfo::LARGE
            | PageInfo::JOINED
            | PageInfo::NEWBORN
            | PageInfo::WATCHED
            | PageInfo::AMBIGUOUS;
        if info.0 & PLAIN != PageInfo::PRESENT {
            self.lower(*hot);
            self.visit_rare(offset, info);
            *hot = self.lift();
            return;
        }
        let class = info.class().index();
        let first = page - info.pages_back();
        if self.passes_on(first, || Candidate::reference(value)) {
            return;
        }
        // SAFETY: a present page names a registered class (invariants 2, 3).
        let class_info = unsafe { self.infos.add(class).as_ref() };
        let from_first = offset - (first << PAGE_SHIFT);
        let index = ((from_first as u64 * u64::from(class_info.magic)) >> 32) as usize;
        if index >= usize::from(class_info.cells) {
            // The tail of the span, too short for a cell.
            return;
        }
        if !self.set_mark(first, index) {
            return;
        }
        let cell_bytes = class_info.cell_bytes as usize;
        hot.marked.objects += 1;
        hot.marked.bytes += cell_bytes as u64;
        if info.has(PageInfo::NO_SCAN) {
            return;
        }
        let address = self.base + (first << PAGE_SHIFT) + index * cell_bytes;
        let grey = Grey::new(address, class);
        if !hot.top.push(grey) {
            self.lower(*hot);
            self.stack.push(grey);
            *hot = self.lift();
        }
    }

    /// Sets a mark bit; `false` when it was set.
    #[inline(always)]
    fn set_mark(&mut self, first: usize, index: usize) -> bool {
        // SAFETY: the bitmap covers committed pages, and a span's cells are
        // fewer than the bits of its pages.
        let word = unsafe { self.marks.add(first * BITMAP_WORDS_PER_PAGE + index / 64).as_ref() };
        debug_assert!(!SHARED || self.mail.owns(self.mail.owner_of(first)));
        word.claim(1u64 << (index % 64))
    }

    /// Sends a candidate to the owner of the span that begins at this page, unless
    /// that is this worker.
    #[inline(always)]
    fn passes_on(&mut self, first: usize, candidate: impl FnOnce() -> Candidate) -> bool {
        if !SHARED {
            return false;
        }
        let owner = self.mail.owner_of(first);
        if self.mail.owns(owner) {
            return false;
        }
        self.mail.send(owner, candidate());
        true
    }

    /// The page that a span begins at.
    fn first_page(&self, span: &Span) -> usize {
        span.base().offset_from(self.space.base()) >> PAGE_SHIFT
    }

    /// A pointer into a large object, into joined cells, among newborns, into a
    /// watched span, or into no object at all.
    #[cold]
    fn visit_rare(&mut self, offset: usize, info: PageInfo) {
        if info == PageInfo::NONE {
            // A free page: the slot holds something that is not a reference
            // into this heap any more. `verify` reports such slots.
            return;
        }
        if info.has(PageInfo::AMBIGUOUS) {
            return self.visit_word(self.base + offset);
        }
        let Some(id) = self.space.span_of_page(PageId((offset >> PAGE_SHIFT) as u32)) else {
            return;
        };
        let span = self.space.span(id);
        let value = self.base + offset;
        if self.passes_on(self.first_page(span), || Candidate::reference(value)) {
            return;
        }
        if info.has(PageInfo::NEWBORN) && self.is_newborn(span, offset, info) {
            return;
        }
        if info.has(PageInfo::WATCHED) {
            return self.visit_watched(span, offset, info);
        }
        self.visit_unwatched(span, offset, info);
    }

    /// A pointer that takes the rare path for another reason than its span
    /// being watched.
    fn visit_unwatched(&mut self, span: &Span, offset: usize, info: PageInfo) {
        if info.is_joined() {
            return self.visit_joined(offset, info);
        }
        if !info.has(PageInfo::LARGE) {
            return self.visit_in_span(span, offset, info);
        }
        if !self.set_mark(self.first_page(span), 0) {
            return;
        }
        self.marked.objects += 1;
        self.marked.bytes += span.cell_bytes() as u64;
        if !info.has(PageInfo::NO_SCAN) {
            self.push_large(span);
        }
    }

    /// A pointer into a span with keys that ephemerons wait for: those of the
    /// object it leads to are grey then, too.
    fn visit_watched(&mut self, span: &Span, offset: usize, info: PageInfo) {
        let Some(found) = self.space.find_cell(Address::new(self.base + offset)) else { return };
        if Self::is_marked(self.space, span, found.index) {
            return;
        }
        self.visit_unwatched(span, offset, info);
        let bytes = found.object.offset_from(found.cell) + found.bytes;
        while let Some(ephemeron) =
            self.watched.as_mut().and_then(|keys| keys.take(found.cell, bytes))
        {
            self.push_again(ephemeron);
        }
    }

    /// Makes an ephemeron grey that was scanned before.
    pub(crate) fn push_again(&mut self, ephemeron: Address) {
        let page = self.space.page_of(ephemeron).expect("ephemerons are in the heap");
        let class = self.space.page_info(page).class();
        self.stack.push(Grey::new(ephemeron.as_usize(), class.index()));
    }

    /// An ephemeron: its value counts if its key is marked; else it waits.
    fn scan_ephemeron(&mut self, address: usize) {
        // SAFETY: the caller's cell is of a class of ephemerons, and allocated.
        let ephemeron = unsafe { EphemeronWords::at(Address::new(address)) };
        let key = ephemeron.key();
        if key == Address::NULL {
            return;
        }
        match self.space.key_state(key) {
            Key::Alive => self.visit(ephemeron.value().as_usize()),
            Key::Unmarked(_) | Key::Nowhere => {
                self.shared.pending.push(&ephemeron.link, address);
            }
        }
    }

    /// The cell of a span that is not large.
    fn cell_index(&self, offset: usize, info: PageInfo) -> (&'s ClassInfo, usize, usize) {
        // SAFETY: a present page names a registered class.
        let class_info = unsafe { self.infos.add(info.class().index()).as_ref() };
        let first = (offset >> PAGE_SHIFT) - info.pages_back();
        let from_first = offset - (first << PAGE_SHIFT);
        let index = ((from_first as u64 * u64::from(class_info.magic)) >> 32) as usize;
        (class_info, first, index)
    }

    /// Whether a pointer leads to a newborn object: survives, and is not read.
    fn is_newborn(&self, span: &Span, offset: usize, info: PageInfo) -> bool {
        let index = if info.has(PageInfo::LARGE) { 0 } else { self.cell_index(offset, info).2 };
        self.space.is_newborn(span, index)
    }

    /// A pointer to an object of a span that has newborn ones, or is watched.
    fn visit_in_span(&mut self, span: &Span, offset: usize, info: PageInfo) {
        let (class_info, first, index) = self.cell_index(offset, info);
        if index >= usize::from(class_info.cells) || !self.set_mark(first, index) {
            return;
        }
        self.marked.objects += 1;
        self.marked.bytes += u64::from(class_info.cell_bytes);
        if !info.has(PageInfo::NO_SCAN) {
            self.stack.push(Grey::new(span.cell(index).as_usize(), info.class().index()));
        }
    }

    /// A pointer into a span with joined cells: all of an object's are marked.
    /// They hold no references.
    fn visit_joined(&mut self, offset: usize, info: PageInfo) {
        debug_assert!(info.has(PageInfo::NO_SCAN));
        let (class_info, first, index) = self.cell_index(offset, info);
        let cells = usize::from(class_info.cells);
        if index < cells {
            let object = self.space.joined_cells(PageId(first as u32), cells, index);
            let bytes = self.mark_cells(first, object, class_info.cell_bytes as usize);
            self.marked.plain_bytes += bytes;
        }
    }

    /// Marks the cells of one object. How many bytes that were, now for the first time.
    fn mark_cells(&mut self, first: usize, mut cells: Range<usize>, cell_bytes: usize) -> u64 {
        let bytes = (cells.len() * cell_bytes) as u64;
        // Who marks the first marks the others.
        if !cells.next().is_some_and(|index| self.set_mark(first, index)) {
            return 0;
        }
        cells.for_each(|index| {
            self.set_mark(first, index);
        });
        self.marked.objects += 1;
        self.marked.bytes += bytes;
        bytes
    }

    /// Makes a large object grey, piece by piece.
    fn push_large(&mut self, span: &Span) {
        for piece in pieces(self.space, span).rev() {
            self.stack.push(piece);
        }
    }

    /// Scans until nothing is grey here; with other workers, until nothing is
    /// grey anywhere.
    pub(crate) fn drain(&mut self) {
        loop {
            self.drain_own();
            if !SHARED {
                return;
            }
            let work = match self.mail.take() {
                Some(segment) => Work::Mail(segment),
                None => {
                    self.mail.post_all();
                    let Some(work) = self.mail.wait() else { return };
                    work
                }
            };
            match work {
                Work::Grey(segment) => self.stack.begin_with(segment),
                Work::Mail(segment) => self.read_mail(segment),
            }
        }
    }

    /// What a worker does for the others now and then.
    #[cold]
    pub(super) fn look_around(&mut self) {
        if self.mail.has_arrived()
            && let Some(segment) = self.mail.take()
        {
            self.read_mail(segment);
        }
        if self.shared.is_hungry() {
            self.mail.post_all();
            self.stack.share();
        }
    }

    /// Marks what others have found in this worker's blocks.
    fn read_mail(&mut self, segment: NonNull<Segment>) {
        // SAFETY: who takes a segment out of an inbox has it alone.
        for bits in unsafe { segment.as_ref() }.words() {
            let candidate = Candidate::from_bits(bits);
            if candidate.is_doubtful() {
                let mut hot = self.lift();
                self.visit_word_hot::<false>(&mut hot, candidate.value());
                self.lower(hot);
            } else {
                self.visit(candidate.value());
            }
        }
        self.shared.give_free(segment);
    }

    /// Scans for a while: `budget` bytes, of which what was scanned is taken off.
    /// Whether nothing is grey any more; else the rest is in the pool. Mutators
    /// may run: words are read by atomic loads alone.
    pub(crate) fn drain_for(&mut self, budget: &mut u64) -> bool {
        loop {
            let empty = match self.level {
                Level::Plain => self.drain_with::<kernel::Plain, true>(budget),
                // SAFETY: `Level::best` has asked the processor.
                #[cfg(target_arch = "x86_64")]
                _ => unsafe { self.drain_sliced_avx2(budget) },
            };
            if !empty {
                self.stack.offer_all();
                return false;
            }
            if !self.stack.take_back() {
                return true;
            }
        }
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn drain_sliced_avx2(&mut self, budget: &mut u64) -> bool {
        self.drain_with::<kernel::Plain, true>(budget)
    }

    /// Bytes that scanning an entry reads.
    #[inline]
    fn scan_bytes(&self, grey: Grey) -> u64 {
        // SAFETY: grey entries name registered classes.
        match unsafe { self.infos.add(grey.class()).as_ref() }.cell_bytes {
            0 => PIECE_BYTES as u64,
            bytes => u64::from(bytes),
        }
    }

    /// Scans until nothing is grey here.
    pub(crate) fn drain_own(&mut self) {
        if self.space.ambiguous.is_on() {
            return self.drain_ambiguous();
        }
        match self.level {
            Level::Plain => _ = self.drain_with::<kernel::Plain, false>(&mut 0),
            // SAFETY: `Level::best` has asked the processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.drain_avx2() },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.drain_avx512() },
        }
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn drain_avx2(&mut self) {
        self.drain_with::<kernel::Avx2, false>(&mut 0);
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn drain_avx512(&mut self) {
        self.drain_with::<kernel::Avx512, false>(&mut 0);
    }

    /// Scans until nothing is grey here or, when `SLICED`, the budget is used
    /// up; whether nothing is grey.
    #[inline(always)]
    fn drain_with<K: Kernel, const SLICED: bool>(&mut self, budget: &mut u64) -> bool {
        let mut ring = [Grey(0); RING];
        let mut head = 0usize;
        let mut waiting = 0usize;
        let mut scans = 0u32;
        let mut hot = self.lift();
        loop {
            while waiting < RING {
                let Some(grey) = hot.top.pop() else { break };
                self.prefetch(grey);
                ring[(head + waiting) % RING] = grey;
                waiting += 1;
            }
            if waiting == 0 {
                // The segment below, or the end.
                self.lower(hot);
                let popped = self.stack.pop();
                hot = self.lift();
                let Some(grey) = popped else { return true };
                ring[head] = grey;
                waiting = 1;
            }
            if SLICED && *budget == 0 {
                self.lower(hot);
                for at in (head..head + waiting).rev() {
                    self.stack.push(ring[at % RING]);
                }
                return false;
            }
            let grey = ring[head];
            head = (head + 1) % RING;
            waiting -= 1;
            self.scan_hot::<K>(&mut hot, grey);
            if SLICED {
                let elsewhere = core::mem::take(&mut self.read_elsewhere_bytes);
                *budget = budget.saturating_sub(self.scan_bytes(grey) + elsewhere);
            }
            if SHARED {
                scans += 1;
                if scans.is_multiple_of(SCANS_PER_LOOK)
                    && (self.shared.is_hungry() || self.mail.has_arrived())
                {
                    self.lower(hot);
                    self.look_around();
                    hot = self.lift();
                }
            }
        }
    }

    /// Fetches the lines a scan will read first.
    #[inline(always)]
    fn prefetch(&self, grey: Grey) {
        let address = Address::new(grey.address());
        os::prefetch(address);
        // SAFETY: grey entries name registered classes.
        let info = unsafe { self.infos.add(grey.class()).as_ref() };
        // Longer cells need not begin at a line: the last reference is on the second as often as not.
        let last = (info.mask | 1).ilog2() as usize * WORD_SIZE;
        if info.cell_bytes > 16 {
            os::prefetch(address.add(last));
        }
        if last > LINE_BYTES {
            os::prefetch(address.add(LINE_BYTES));
        }
    }

    /// Visits the references of a grey object, or of a piece of one.
    pub(super) fn scan(&mut self, grey: Grey) {
        let mut hot = self.lift();
        self.scan_hot::<kernel::Plain>(&mut hot, grey);
        self.lower(hot);
    }

    #[inline(always)]
    fn scan_hot<K: Kernel>(&mut self, hot: &mut Hot, grey: Grey) {
        // SAFETY: grey entries name registered classes.
        let info = unsafe { self.infos.add(grey.class()).as_ref() };
        if info.scan == Scan::Mask {
            self.scan_mask::<K>(hot, grey.address(), info.mask);
        } else if info.scan == Scan::Conservative && info.cell_bytes != 0 {
            self.scan_words::<K, false>(hot, grey.address(), info.cell_bytes as usize);
        } else {
            self.lower(*hot);
            self.scan_rare(grey, info);
            *hot = self.lift();
        }
    }

    /// Visits the words of an object whose bits are set in `mask`.
    #[inline(always)]
    fn scan_mask<K: Kernel>(&mut self, hot: &mut Hot, address: usize, mut mask: u64) {
        if mask.count_ones() > SCALAR_WORDS_MAX {
            let range = kernel::Range { base: self.base, extent: self.extent };
            // SAFETY: the words of the layout's mask lie in the cell, the world
            // is stopped, and `drain_own` chose a kernel of this processor.
            mask = unsafe { K::filter(Address::new(address).as_ptr(), mask, range) };
        }
        while mask != 0 {
            let word = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let value = self.load(address + word * WORD_SIZE);
            self.visit_hot(hot, value);
        }
    }

    /// Visits the words of an object of which any may be a reference, or those of
    /// a range that may point `ANYWHERE` into an object.
    #[inline(always)]
    fn scan_words<K: Kernel, const ANYWHERE: bool>(
        &mut self,
        hot: &mut Hot,
        address: usize,
        bytes: usize,
    ) {
        let range = kernel::Range { base: self.base, extent: self.extent };
        let words = bytes / WORD_SIZE;
        let mut from = 0;
        while from < words {
            let lanes = u8::MAX >> (8 - (words - from).min(8));
            let start = address + from * WORD_SIZE;
            // SAFETY: the words lie in the cell or range, the world is stopped, and
            // `drain_own` or `scan_range` chose a kernel of this processor.
            let mut mask = unsafe { K::filter_short(Address::new(start).as_ptr(), lanes, range) };
            while mask != 0 {
                let word = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let value = self.load(start + word * WORD_SIZE);
                self.visit_word_hot::<ANYWHERE>(hot, value);
            }
            from += 8;
        }
    }

    /// As `visit_hot` for a word that may be no reference: only an allocated
    /// cell counts, and only at a distance that the heap takes (`ambiguous`).
    #[inline(always)]
    pub(super) fn visit_word_hot<const ANYWHERE: bool>(&mut self, hot: &mut Hot, value: usize) {
        let offset = value.wrapping_sub(self.base);
        if offset >= self.extent {
            return;
        }
        let page = offset >> PAGE_SHIFT;
        // SAFETY: as in `visit_hot`.
        let info = PageInfo(unsafe { self.page_info.add(page).as_ref() }.load(Relaxed));
        const SIMPLE: u32 = PageInfo::PRESENT | PageInfo::LARGE | PageInfo::JOINED;
        if info.0 & (SIMPLE | PageInfo::MIXED) != PageInfo::PRESENT {
            self.lower(*hot);
            if ANYWHERE {
                self.visit_ambiguous(value);
            } else {
                self.visit_word(value);
            }
            *hot = self.lift();
            return;
        }
        let class = info.class().index();
        let first = page - info.pages_back();
        // Words that may point anywhere are of roots, which one marker reads alone.
        debug_assert!(!(SHARED && ANYWHERE));
        if self.passes_on(first, || Candidate::word(value)) {
            return;
        }
        // SAFETY: a present page names a registered class (invariants 2, 3).
        let class_info = unsafe { self.infos.add(class).as_ref() };
        let from_first = offset - (first << PAGE_SHIFT);
        let index = ((from_first as u64 * u64::from(class_info.magic)) >> 32) as usize;
        if index >= usize::from(class_info.cells) {
            return;
        }
        let cell_bytes = class_info.cell_bytes as usize;
        let at = first * BITMAP_WORDS_PER_PAGE + index / 64;
        let bit = 1u64 << (index % 64);
        // SAFETY: as in `set_mark`, of both bitmaps.
        let (marks, survivors) =
            unsafe { (self.marks.add(at).as_ref(), self.survivors.add(at).as_ref()) };
        if marks.has(bit) {
            return;
        }
        // Who was handed out since has such a bit, too (`note_handed_out`).
        if !survivors.has(bit) {
            return;
        }
        let distance = from_first - index * cell_bytes;
        if !ANYWHERE && distance != 0 && !self.space.ambiguous.takes(distance) {
            return;
        }
        if !marks.claim(bit) {
            return;
        }
        hot.marked.objects += 1;
        hot.marked.bytes += cell_bytes as u64;
        if info.has(PageInfo::NO_SCAN) {
            hot.marked.plain_bytes += cell_bytes as u64;
            return;
        }
        let grey = Grey::new(value - distance, class);
        if !hot.top.push(grey) {
            self.lower(*hot);
            self.stack.push(grey);
            *hot = self.lift();
        }
    }

    /// A word of an object.
    #[inline(always)]
    pub(super) fn load(&self, address: usize) -> usize {
        // SAFETY: the word lies in a cell of a span in use (invariant 1 of
        // `Span`), at a place that layouts keep aligned.
        // Acquire: pairs with the Release in `Mutator::write`.
        unsafe { (*Address::new(address).as_ptr::<AtomicUsize>()).load(Acquire) }
    }

    #[cold]
    #[inline(never)]
    fn scan_rare(&mut self, grey: Grey, info: &'s ClassInfo) {
        let address = grey.address();
        let large = info.size.index() == 0;
        let (object, bytes) = if large {
            let span = self.large_span(address);
            (span.base().as_usize(), span.cell_bytes())
        } else {
            (address, info.cell_bytes as usize)
        };
        let piece = address - object;
        let end = if large { bytes.min(piece + PIECE_BYTES) } else { bytes };
        if info.scan == Scan::Conservative {
            return self.scan_conservative(object + piece, object + end);
        }
        if info.scan == Scan::Mixed {
            return self.scan_mixed(object, bytes);
        }
        if info.scan == Scan::Ephemeron {
            return self.scan_ephemeron(object);
        }
        // SAFETY: a class with references of its own has a layout, whose
        // record lives as long as the heap.
        let layout = unsafe { &*info.layout };
        self.scan_layout(layout, object, bytes, piece, end);
    }

    fn large_span(&self, address: usize) -> &'s Span {
        let page = self.space.page_of(Address::new(address)).expect("grey objects are in the heap");
        let id: SpanId = self.space.span_of_page(page).expect("grey objects are in a span");
        self.space.span(id)
    }

    /// An object behind a header word that names its layout.
    fn scan_mixed(&mut self, cell: usize, bytes: usize) {
        let header = self.load(cell);
        if header == 0 {
            // Not yet handed out with a layout.
            return;
        }
        let layout = self.space.layout(crate::layout::LayoutId(header as u32));
        self.scan_layout(layout, cell + WORD_SIZE, bytes - WORD_SIZE, 0, bytes - WORD_SIZE);
    }

    /// The references between `from` and `to` of an object of some layout.
    fn scan_layout(
        &mut self,
        layout: &LayoutRecord,
        object: usize,
        bytes: usize,
        from: usize,
        to: usize,
    ) {
        if let Some(function) = layout.trace_function() {
            return match self.beside {
                Some(_) if layout.has_claims() => self.trace_claimed(function, object, bytes),
                _ => self.trace(function, object, bytes),
            };
        }
        if layout.is_conservative() {
            return self.scan_conservative(object + from, object + to);
        }
        layout.for_each_reference(from / WORD_SIZE, to / WORD_SIZE, |word| {
            let value = self.load(object + word * WORD_SIZE);
            self.visit(value);
        });
    }

    /// An object that a mutator may want to change.
    fn trace_claimed(&mut self, function: TraceCall, object: usize, bytes: usize) {
        let found = self.space.find_cell(Address::new(object)).expect("grey objects are in a cell");
        let claim = self.space.object_claim(self.space.span(found.span), found.index);
        claim.read_if_free(|| self.trace(function, object, bytes));
    }

    /// Visits the references that a layout's function reports.
    fn trace(&mut self, function: TraceCall, object: usize, bytes: usize) {
        let (space, beside) = (self.space, self.beside);
        let mut read_bytes = 0;
        let mut visit = |value: Address| {
            read_bytes += WORD_SIZE as u64;
            self.visit(value.as_usize());
        };
        let mut tracer = match beside {
            None => Tracer::new(&mut visit),
            Some(cycle) => {
                Tracer::beside(&mut visit, Beside::new(cycle, Reader::Marker, &space.stripes))
            }
        };
        // SAFETY: whoever registered the function promised that it reads objects of
        // this layout, which this is.
        unsafe { function.trace(object, bytes, &mut tracer) };
        drop(tracer);
        self.read_elsewhere_bytes += read_bytes.saturating_sub(bytes as u64);
    }

    /// Visits every word of a range that names an allocated cell. The world is
    /// stopped.
    pub(crate) fn scan_conservative(&mut self, from: usize, to: usize) {
        self.scan_range::<false>(from, to);
    }

    /// As `scan_conservative`, for words that may point anywhere into an object.
    pub(crate) fn scan_stack(&mut self, from: usize, to: usize) {
        self.scan_range::<true>(from, to);
    }

    pub(super) fn scan_range<const ANYWHERE: bool>(&mut self, from: usize, to: usize) {
        let bytes = to.saturating_sub(from);
        match self.level {
            Level::Plain => self.scan_range_with::<kernel::Plain, ANYWHERE>(from, bytes),
            // SAFETY: `Level::best` has asked the processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.scan_range_avx2::<ANYWHERE>(from, bytes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.scan_range_avx512::<ANYWHERE>(from, bytes) },
        }
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn scan_range_avx2<const ANYWHERE: bool>(&mut self, from: usize, bytes: usize) {
        self.scan_range_with::<kernel::Avx2, ANYWHERE>(from, bytes);
    }

    /// # Safety
    ///
    /// The processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn scan_range_avx512<const ANYWHERE: bool>(&mut self, from: usize, bytes: usize) {
        self.scan_range_with::<kernel::Avx512, ANYWHERE>(from, bytes);
    }

    #[inline(always)]
    fn scan_range_with<K: Kernel, const ANYWHERE: bool>(&mut self, from: usize, bytes: usize) {
        let mut hot = self.lift();
        self.scan_words::<K, ANYWHERE>(&mut hot, from, bytes);
        self.lower(hot);
    }

    /// Marks the object that a word of an object points into, if there is one
    /// and the heap takes pointers to this place of it.
    fn visit_word(&mut self, value: usize) {
        let Some(found) = self.space.find_object(Address::new(value)) else { return };
        let rules = &self.space.ambiguous;
        if !rules.is_on() || rules.takes(value - found.object.as_usize()) {
            self.mark_found(found);
        }
    }

    /// Marks the object `value` points into if it is allocated.
    pub(crate) fn visit_ambiguous(&mut self, value: usize) {
        if let Some(found) = self.space.find_object(Address::new(value)) {
            self.mark_found(found);
        }
    }

    /// Marks an object, and makes it grey if it has references.
    pub(crate) fn mark_found(&mut self, found: Found) {
        let span = self.space.span(found.span);
        let class = span.class();
        let info = self.space.class_info(class);
        let first = self.first_page(span);
        // Its first byte is a place that every heap takes pointers to.
        if self.passes_on(first, || Candidate::word(found.object.as_usize())) {
            return;
        }
        if span.is_joined() {
            let cells = self.space.object_cells(span, found.index);
            self.marked.plain_bytes += self.mark_cells(first, cells, span.cell_bytes());
            return;
        }
        if !self.set_mark(first, found.index) {
            return;
        }
        self.marked.objects += 1;
        self.marked.bytes += span.cell_bytes() as u64;
        if info.scan == Scan::None {
            self.marked.plain_bytes += span.cell_bytes() as u64;
            return;
        }
        if info.size.index() == 0 {
            self.push_large(span);
        } else {
            self.stack.push(Grey::new(found.cell.as_usize(), class.index()));
        }
    }

    /// Makes an object grey without marking it: what it refers to will be
    /// marked, and not it.
    pub(crate) fn push_unmarked(&mut self, span: &Span, index: usize) {
        let class = span.class();
        if self.space.class_info(class).size.index() == 0 {
            self.push_large(span);
        } else {
            self.stack.push(Grey::new(span.cell(index).as_usize(), class.index()));
        }
    }

    /// Scans an object without marking it, and all that it makes grey. Needs
    /// no room on the stack.
    pub(crate) fn scan_unmarked(&mut self, span: &Span, index: usize) {
        let class = span.class();
        if self.space.class_info(class).size.index() == 0 {
            self.scan_large(span);
        } else {
            self.scan(Grey::new(span.cell(index).as_usize(), class.index()));
            self.drain_own();
        }
    }

    fn scan_large(&mut self, span: &Span) {
        for piece in pieces(self.space, span) {
            self.scan(piece);
            self.drain_own();
        }
    }

    /// Marks an object whose references are marked already.
    pub(crate) fn mark_only(&mut self, span: &Span, index: usize) {
        let first = self.first_page(span);
        self.mark_cells(first, self.space.object_cells(span, index), span.cell_bytes());
    }

    /// Hands everything grey over to the workers that begin now.
    pub(crate) fn offer_all(&mut self) {
        self.stack.offer_all();
    }

    /// Whether `word` points into a marked object.
    pub(crate) fn is_word_marked(&self, word: usize) -> bool {
        let offset = word.wrapping_sub(self.base);
        if offset >= self.extent {
            return false;
        }
        // SAFETY: as in `visit_hot`.
        let info =
            PageInfo(unsafe { self.page_info.add(offset >> PAGE_SHIFT).as_ref() }.load(Relaxed));
        const SIMPLE: u32 = PageInfo::PRESENT | PageInfo::LARGE | PageInfo::JOINED;
        if info.0 & (SIMPLE | PageInfo::MIXED) != PageInfo::PRESENT {
            return self.space.find_object(Address::new(word)).is_some_and(|found| {
                Self::is_marked(self.space, self.space.span(found.span), found.index)
            });
        }
        let (class_info, first, index) = self.cell_index(offset, info);
        if index >= usize::from(class_info.cells) {
            return false;
        }
        // SAFETY: as in `set_mark`.
        let marks = unsafe { self.marks.add(first * BITMAP_WORDS_PER_PAGE + index / 64).as_ref() };
        marks.has(1 << (index % 64))
    }

    /// Whether the object's mark is set.
    pub(crate) fn is_marked(space: &Space, span: &Span, index: usize) -> bool {
        space.mark_bits(span)[index / 64].load(Relaxed) >> (index % 64) & 1 != 0
    }

    /// After an overflow: scans every marked object again, since any of them
    /// may be one whose references were never read.
    #[cold]
    pub(crate) fn rescan(&mut self) {
        let end = self.extent >> PAGE_SHIFT;
        let mut page = 0;
        while page < end {
            let Some(id) = self.space.span_of_page(PageId(page as u32)) else {
                page += 1;
                continue;
            };
            let span = self.space.span(id);
            page += span.pages();
            let class = span.class();
            let info = self.space.class_info(class);
            if info.scan == Scan::None {
                continue;
            }
            if info.size.index() == 0 {
                if Self::is_marked(self.space, span, 0) {
                    self.scan_large(span);
                }
                continue;
            }
            for index in 0..span.cells() {
                if Self::is_marked(self.space, span, index) {
                    self.scan(Grey::new(span.cell(index).as_usize(), class.index()));
                    self.drain_own();
                }
            }
        }
    }
}

/// The grey entries of a large object.
fn pieces(space: &Space, span: &Span) -> impl DoubleEndedIterator<Item = Grey> + use<> {
    let class = span.class();
    let base = span.base().as_usize();
    let bytes = match space.class_info(class).scan {
        // A trace function sees the whole object.
        Scan::Trace => 1,
        _ => span.cell_bytes(),
    };
    let pieces = bytes.div_ceil(PIECE_BYTES);
    (0..pieces).map(move |piece| Grey::new(base + piece * PIECE_BYTES, class.index()))
}

const _: () = assert!(PIECE_BYTES.is_multiple_of(PAGE_SIZE));
