//! A mutator's cache: for each span class a cursor that bumps through runs of
//! free cells.
//!
//! The fast path compares two words and adds the cell size. Everything that
//! happens rarely is moved to the slow path by ending the open chunk early:
//! clearing memory ahead of the cursor, the next run, the next span, the cell
//! to be sampled, and single steps for debugging.
//!
//! Cells of at most `CLEAR_AHEAD_MAX` bytes are cleared chunk by chunk
//! while the lines are about to be used; larger ones when handed out, by the
//! caller, who knows whether zeroes were asked for.
//!
//! Protection: a cache belongs to one mutator and is used by its thread; the
//! collector flushes it while that thread is stopped. Cursors are relaxed
//! atomics because `find_object` and statistics read them from any thread.

use crate::base::Address;
use crate::base::random::Random;
use crate::base::size_class::{SIZE_CLASSES, SizeClass, TINY_SIZE};
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::heap::central::Popped;
use crate::heap::error::AllocError;
use crate::heap::join::Donor;
use crate::heap::open_chunk::OpenChunk;
use crate::heap::space::Space;
use crate::heap::span::{Span, SpanId};
use crate::heap::span_class::SpanClassId;
use crate::heap::sweep::Swept;
use crate::os::{OsError, Reservation, sanitizer};
use Ordering::{Acquire, Relaxed, Release};
use core::cell::{Cell, UnsafeCell};
use core::ops::Range;
use core::ptr::NonNull;

/// Cells up to this size are cleared ahead of the cursor.
pub(crate) const CLEAR_AHEAD_MAX: usize = 512;

/// Bytes cleared at a time: a few lines of the nearest cache.
const CLEAR_AHEAD_BYTES: usize = 4096;

/// Full spans a refill sweeps before it makes a new one.
const SWEEPS_PER_REFILL: usize = 100;

/// Spans of other classes swept in search of pages before the heap grows.
const SWEEPS_PER_SPAN: usize = 256;

/// Cursor flags.
const CELL_CLEARED: u32 = 1;
const SAMPLE_NEXT: u32 = 2;
const LISTED: u32 = 4;

/// Where a mutator takes its next cell of one span class.
///
/// All zero is a cursor with nothing to give.
#[repr(C)]
#[derive(Debug)]
pub struct Cursor {
    chunk: OpenChunk,
    cell_bytes: AtomicU32,
    span: AtomicU32,
    /// Class of the next cursor that has been used since the last flush.
    listed_next: AtomicU32,
    flags: AtomicU32,
}

/// Bytes of a cursor. It begins with its chunk's two words, which generated code
/// uses (`raw::window`).
pub(crate) const CURSOR_BYTES: usize = size_of::<Cursor>();

#[cfg(not(loom))]
const _: () = assert!(CURSOR_BYTES == 32 && core::mem::offset_of!(Cursor, chunk) == 0);

impl Cursor {
    /// The next cell of the open chunk. Called by the owner; objects of the class have
    /// `cell_bytes`.
    #[inline(always)]
    fn bump(&self, cell_bytes: usize) -> Option<Address> {
        let at = self.chunk.next();
        if at == self.chunk.limit() {
            return None;
        }
        self.chunk.advance(at + cell_bytes);
        Some(Address::new(at))
    }

    /// How many cells of its span are one object: mostly one.
    #[inline]
    fn joined(&self, span: &Span) -> usize {
        let (bytes, cell_bytes) = (self.cell_bytes.load(Relaxed) as usize, span.cell_bytes());
        // A division takes longer than all else on the way to a chunk.
        if bytes == cell_bytes { 1 } else { bytes / cell_bytes }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    fn set(&self, flag: u32, on: bool) {
        let flags = self.flags.load(Relaxed);
        self.flags.store(if on { flags | flag } else { flags & !flag }, Relaxed);
    }
}

/// The cursors of a cache, by span class. A mutator keeps them at hand: its
/// fast path needs nothing else of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursors(NonNull<Cursor>);

impl Cursors {
    /// The first of them.
    pub(crate) fn base(self) -> *mut Cursor {
        self.0.as_ptr()
    }

    /// The cursor of a class.
    ///
    /// # Safety
    ///
    /// The cache is alive.
    #[inline(always)]
    unsafe fn get<'c>(self, class: SpanClassId) -> &'c Cursor {
        // SAFETY: `Cache`, invariant 1; an id is a `u16`.
        unsafe { self.0.add(class.index()).as_ref() }
    }

    /// The next cell of the open chunk.
    ///
    /// # Safety
    ///
    /// The cache is alive, and this is its mutator's thread.
    #[inline(always)]
    pub(crate) unsafe fn bump(self, class: SpanClassId) -> Option<Address> {
        // SAFETY: passed on.
        let cursor = unsafe { self.get(class) };
        // Relaxed: only this thread writes cursors.
        cursor.bump(cursor.cell_bytes.load(Relaxed) as usize)
    }

    /// The cursor of a class, to be kept.
    pub(crate) fn class_cursor(self, class: SpanClassId) -> ClassCursor {
        // SAFETY: as in `get`.
        ClassCursor(unsafe { self.0.add(class.index()) }.as_ptr())
    }
}

/// One cursor, kept by who allocates of its class again and again. An optional one would be tested for null
/// at each allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassCursor(*const Cursor);

impl ClassCursor {
    /// One that must not be asked.
    pub(crate) const NONE: ClassCursor = ClassCursor(core::ptr::null());

    /// The next cell of the open chunk.
    ///
    /// # Safety
    ///
    /// The cursor is of a cache that is alive, this is its mutator's thread, and cells of the class
    /// have `cell_bytes`.
    #[inline(always)]
    pub(crate) unsafe fn bump(self, cell_bytes: usize) -> Option<Address> {
        // SAFETY: the caller's promise.
        unsafe { &*self.0 }.bump(cell_bytes)
    }
}

/// A cell from the slow path, and what else the caller must see to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handout {
    pub(crate) address: Address,
    /// The cell is one for the heap profile.
    pub(crate) sampled: bool,
}

/// The cells a mutator allocates from.
///
/// # Invariants
///
/// 1. `cursors` starts an array of one cursor for each span class id there
///    can be; it lives as long as the cache, and caches as long as the heap.
/// 2. A cursor with a span owns it (`Span`, invariant 3). The cells from
///    `next` to `limit` are free, below the span's `free_index` and, if the
///    class is cleared ahead, zero.
#[derive(Debug)]
pub struct Cache {
    cursors: Cursors,
    _memory: Reservation,
    /// First class of the list of used cursors, plus one.
    listed: AtomicU32,
    /// The rest of the block for tiny objects: from here to there.
    tiny_next: Cell<usize>,
    tiny_end: Cell<usize>,
    /// Tiny objects that shared a block: the hit path only counts.
    tiny_hits: AtomicU64,
    /// Cells of opened chunks, by size class, less what flushes returned.
    taken: [AtomicU64; SIZE_CLASSES],
    taken_large_bytes: AtomicU64,
    /// Bytes of spans and large objects taken since this was asked last.
    granted: Cell<u64>,
    /// Mean bytes between samples; 0 is never.
    sample_rate: Cell<u64>,
    /// Chunks of one cell, so that every allocation takes the slow path.
    single_step: Cell<bool>,
    random: UnsafeCell<Random>,
}

/// Counts a cache has made: what its mutator allocated.
#[derive(Clone, Copy, Debug)]
pub struct CacheCounts {
    /// Cells handed out, by size class; large objects at 0.
    pub cells: [u64; SIZE_CLASSES],
    /// Bytes of large objects.
    pub large_bytes: u64,
    /// Tiny objects that shared a block with an earlier one.
    pub tiny_hits: u64,
}

impl Default for CacheCounts {
    fn default() -> CacheCounts {
        CacheCounts { cells: [0; SIZE_CLASSES], large_bytes: 0, tiny_hits: 0 }
    }
}

impl CacheCounts {
    /// Adds another cache's counts.
    pub fn add(&mut self, other: &CacheCounts) {
        for (sum, cells) in self.cells.iter_mut().zip(other.cells) {
            *sum += cells;
        }
        self.large_bytes += other.large_bytes;
        self.tiny_hits += other.tiny_hits;
    }
}

impl Cache {
    /// A cache that holds nothing. `seed` decides what is sampled.
    ///
    /// # Errors
    ///
    /// When the system has no memory for the cursors.
    pub(crate) fn new(seed: u64) -> Result<Cache, OsError> {
        let bytes = SpanClassId::LIMIT * size_of::<Cursor>();
        let memory = Reservation::reserve(bytes, 4096)?;
        memory.commit(0, bytes)?;
        let cursors = NonNull::new(memory.base().as_ptr()).expect("a mapping is not at zero");
        let cursors = Cursors(cursors);
        Ok(Cache {
            cursors,
            _memory: memory,
            listed: AtomicU32::new(0),
            tiny_next: Cell::new(0),
            tiny_end: Cell::new(0),
            tiny_hits: AtomicU64::new(0),
            taken: [const { AtomicU64::new(0) }; SIZE_CLASSES],
            taken_large_bytes: AtomicU64::new(0),
            granted: Cell::new(0),
            sample_rate: Cell::new(0),
            single_step: Cell::new(false),
            random: UnsafeCell::new(Random::new(seed)),
        })
    }

    /// Mean bytes between heap profile samples from now on; 0 is never.
    pub(crate) fn set_sample_rate(&self, bytes: u64) {
        self.sample_rate.set(bytes);
    }

    /// Whether every allocation takes the slow path. From the call that turns
    /// it on, no chunk has a cell to give but in the middle of a refill.
    /// Called by the owner.
    pub(crate) fn set_single_step(&self, space: &Space, on: bool) {
        if on && !self.single_step.get() {
            self.flush(space);
        }
        self.single_step.set(on);
    }

    /// Runs `act` while this cache has nothing to give: as if all allocation
    /// ahead were a refill. Called by the owner.
    pub(crate) fn while_empty(&self, space: &Space, act: impl FnOnce()) {
        // The next refill sets it as it must be.
        self.set_single_step(space, true);
        let (next, end) = (self.tiny_next.replace(0), self.tiny_end.replace(0));
        act();
        self.tiny_next.set(next);
        self.tiny_end.set(end);
    }

    #[inline(always)]
    fn cursor(&self, class: SpanClassId) -> &Cursor {
        // SAFETY: invariant 1.
        unsafe { self.cursors.get(class) }
    }

    /// The next cell of the open chunk.
    #[inline(always)]
    fn bump(&self, class: SpanClassId) -> Option<Address> {
        // SAFETY: invariant 1.
        unsafe { self.cursors.bump(class) }
    }

    /// The cursors, for as long as the cache is.
    pub(crate) fn cursors(&self) -> Cursors {
        self.cursors
    }

    /// Whether the span the last cell came from may hold old bytes.
    #[inline(always)]
    pub(crate) fn needs_clearing(&self, class: SpanClassId) -> bool {
        !self.cursor(class).has(CELL_CLEARED)
    }

    /// A place in the current tiny block, by the origin's rules: aligned for
    /// the size, if what is left suffices.
    #[inline(always)]
    pub(crate) fn tiny(&self, bytes: usize) -> Option<Address> {
        // All bits from the alignment up: rounding down is an AND with them.
        let aligned = !(tiny_align(bytes) - 1);
        let at = self.tiny_next.get().wrapping_sub(aligned).wrapping_sub(1) & aligned;
        let end = at + bytes;
        if end > self.tiny_end.get() {
            return None;
        }
        self.tiny_next.set(end);
        // Relaxed: a count, written by this thread only.
        self.tiny_hits.store(self.tiny_hits.load(Relaxed) + 1, Relaxed);
        Some(Address::new(at))
    }

    /// Takes a fresh tiny block into use for objects after the first, which
    /// has `bytes`: only if it leaves more room than the current one.
    #[inline]
    pub(crate) fn offer_tiny_block(&self, block: Address, bytes: usize) {
        let (next, end) = (self.tiny_next.get(), self.tiny_end.get());
        // As likely as not, so no branch: all ones to replace, zero to keep.
        let replace = usize::from(TINY_SIZE - bytes > end - next).wrapping_neg();
        self.tiny_next.set(next ^ (next ^ (block.as_usize() + bytes)) & replace);
        self.tiny_end.set(end ^ (end ^ (block.as_usize() + TINY_SIZE)) & replace);
    }

    /// Counts a large object.
    pub(crate) fn count_large(&self, bytes: usize) {
        add(&self.taken[0], 1);
        add(&self.taken_large_bytes, bytes as u64);
        self.granted.set(self.granted.get() + bytes as u64);
    }

    /// Bytes of spans and large objects taken since the last call. Called by the
    /// owner, or by the collector while that is stopped.
    pub(crate) fn take_granted(&self) -> u64 {
        self.granted.replace(0)
    }

    /// Whether a large object of `bytes` is one for the heap profile.
    pub(crate) fn sample_large(&self, bytes: usize) -> bool {
        self.gap().is_some_and(|gap| gap < bytes as u64)
    }

    /// Bytes until the next sample, drawn anew: the process has no memory.
    fn gap(&self) -> Option<u64> {
        match self.sample_rate.get() {
            0 => None,
            1 => Some(0),
            // SAFETY: only this thread uses the generator, here only.
            rate => Some(unsafe { &mut *self.random.get() }.exponential(rate)),
        }
    }

    /// A cell of `class` when the open chunk is used up; `None` when there is
    /// none, with the error of [`Space::make_span`] in `failure`.
    #[cold]
    #[inline(never)]
    pub(crate) fn refill(
        &self,
        space: &Space,
        class: SpanClassId,
        failure: &Cell<AllocError>,
    ) -> Option<Handout> {
        let cursor = self.cursor(class);
        if !cursor.has(LISTED) {
            self.list(class, cursor);
        }
        loop {
            if let Some(id) = SpanId::new(cursor.span.load(Relaxed)) {
                if let Some(sampled) = self.open_chunk(space, cursor, space.span(id)) {
                    let address = self.bump(class).expect("an open chunk has a cell");
                    return Some(Handout { address, sampled });
                }
                self.release(space, cursor);
            }
            self.acquire(space, class, cursor).map_err(|error| failure.set(error)).ok()?;
        }
    }

    fn list(&self, class: SpanClassId, cursor: &Cursor) {
        let info_free = cursor.cell_bytes.load(Relaxed) == 0;
        debug_assert!(info_free || cursor.span.load(Relaxed) == 0);
        // Release, both: pair with the Acquires in `counts`, which may not have
        // seen the class being registered.
        cursor.listed_next.store(self.listed.load(Relaxed), Release);
        self.listed.store(class.index() as u32 + 1, Release);
        cursor.set(LISTED, true);
    }

    /// Makes the next run of free cells, or the beginning of it, available.
    /// `None` when the span has no more; otherwise whether the first cell is
    /// one for the profile.
    fn open_chunk(&self, space: &Space, cursor: &Cursor, span: &Span) -> Option<bool> {
        let survivors = space.survivor_bits(span);
        // Of an object, which may be some joined cells.
        let cell_bytes = cursor.cell_bytes.load(Relaxed) as usize;
        let joined = cursor.joined(span);
        let (start, mut count) = if joined == 1 {
            let (start, end) = next_clear_run(survivors, span.free_index(), span.cells())?;
            (start, end - start)
        } else {
            let step = Donor::step(cell_bytes, span.cell_bytes());
            let from = (cursor.chunk.limit() - span.base().as_usize()) / span.cell_bytes();
            next_joinable_run(survivors, from..span.cells(), joined, step)?
        };
        let clear_ahead = cell_bytes <= CLEAR_AHEAD_MAX;
        if clear_ahead {
            count = count.min(CLEAR_AHEAD_BYTES / cell_bytes);
        }
        if self.single_step.get() {
            count = 1;
        }
        let mut sampled = cursor.has(SAMPLE_NEXT) && self.sample_rate.get() != 0;
        cursor.set(SAMPLE_NEXT, false);
        if sampled {
            count = 1;
        } else if let Some(gap) = self.gap()
            && gap < (count * cell_bytes) as u64
        {
            // End the chunk before the cell that holds the sampled byte.
            let before = gap as usize / cell_bytes;
            sampled = before == 0;
            count = before.max(1);
            cursor.set(SAMPLE_NEXT, !sampled);
        }
        let first = span.cell(start);
        sanitizer::unpoison(first, count * cell_bytes);
        if clear_ahead && span.needs_zero() {
            // SAFETY: the cells are free (invariant 2) and inside the span.
            unsafe { core::ptr::write_bytes(first.as_ptr::<u8>(), 0, count * cell_bytes) };
        }
        if joined == 1 {
            span.set_free_index(start + count);
        } else {
            space.join_cells(span, start, count, joined);
        }
        span.set_taken(span.taken() + count * joined);
        add(&self.taken[SizeClass::for_size(cell_bytes).index()], count as u64);
        if space.ambiguous.is_on() {
            // Relaxed: a sum, as in `acquire`. A span at a time would be too coarse
            // for heaps as small as many a program's that runs for moments.
            space.live_bytes.fetch_add((count * cell_bytes) as u64, Relaxed);
        }
        cursor.chunk.open(first.as_usize(), first.as_usize() + count * cell_bytes);
        Some(sampled)
    }

    /// Puts a span with free cells behind the cursor.
    fn acquire(
        &self,
        space: &Space,
        class: SpanClassId,
        cursor: &Cursor,
    ) -> Result<(), AllocError> {
        let id = self.find_span(space, class)?;
        let span = space.span(id);
        let free = (span.cells() - span.taken()) * span.cell_bytes();
        if !space.ambiguous.is_on() {
            // Relaxed: a sum; the trigger is tested by the caller.
            space.live_bytes.fetch_add(free as u64, Relaxed);
        }
        self.granted.set(self.granted.get() + free as u64);
        let cell_bytes = space.class_info(class).cell_bytes;
        cursor.cell_bytes.store(cell_bytes, Relaxed);
        let cleared = !span.needs_zero() || cell_bytes as usize <= CLEAR_AHEAD_MAX;
        cursor.set(CELL_CLEARED, cleared);
        // No chunk is open; where the search for joinable cells begins.
        cursor.chunk.open(span.base().as_usize(), span.base().as_usize());
        if space.is_marking() {
            space.note_newborns(span);
        }
        span.set_released(false);
        span.set_sparse_sweeps(0);
        cursor.span.store(id.get(), Relaxed);
        span.cached_by.hold(&cursor.chunk);
        Ok(())
    }

    fn find_span(&self, space: &Space, class: SpanClassId) -> Result<SpanId, AllocError> {
        {
            let pass = space.sweep_gate.begin();
            debug_assert!(pass.is_some(), "a mutator runs in a stopped world");
            for _ in 0..SWEEPS_PER_REFILL {
                match space.pop_span(class) {
                    Some(Popped::Swept(id)) => return Ok(id),
                    Some(Popped::Unswept(id)) => {
                        let swept = space.sweep_span(id);
                        let span = space.span(id);
                        if swept == Swept::Empty || span.taken() < span.cells() {
                            return Ok(id);
                        }
                        space.central(class).push(space, id);
                    }
                    None => break,
                }
            }
        }
        let pages = space.class_info(class).size.span_pages();
        // The heap does not grow past garbage it could sweep, nor past holes.
        if space.reclaim(pages, SWEEPS_PER_SPAN) < pages
            && let Some(donor) = space.pop_donor(class)
        {
            return Ok(donor);
        }
        space.make_span(class, 0)
    }

    /// Gives the cursor's span back: to its central list, with what was not
    /// handed out.
    fn release(&self, space: &Space, cursor: &Cursor) {
        let Some(id) = SpanId::new(cursor.span.load(Relaxed)) else { return };
        let span = space.span(id);
        let open = cursor.chunk.limit() - cursor.chunk.next();
        let cell_bytes = cursor.cell_bytes.load(Relaxed) as usize;
        let joined = cursor.joined(span);
        let unused = open / cell_bytes;
        // The gap is thrown away and drawn anew, whatever it said of the next
        // cell: to keep only those that say "sample" would sample too often.
        cursor.set(SAMPLE_NEXT, false);
        if joined == 1 {
            span.set_free_index(span.free_index() - unused);
        } else {
            let cell = |at: usize| (at - span.base().as_usize()) / span.cell_bytes();
            space.part_cells(span, cell(cursor.chunk.next())..cell(cursor.chunk.limit()));
        }
        span.set_taken(span.taken() - unused * joined);
        subtract(&self.taken[SizeClass::for_size(cell_bytes).index()], unused as u64);
        let free = match space.ambiguous.is_on() {
            true => open,
            false => (span.cells() - span.taken()) * span.cell_bytes(),
        };
        space.live_bytes.fetch_sub(free as u64, Relaxed);
        span.cached_by.release();
        cursor.span.store(0, Relaxed);
        cursor.chunk.close();
        space.central(span.class()).push(space, id);
    }

    /// Gives every span back and drops the tiny block. Called by the owner at
    /// a boundary, or by the collector while the owner is stopped.
    pub(crate) fn flush(&self, space: &Space) {
        self.tiny_next.set(0);
        self.tiny_end.set(0);
        let mut at = self.listed.swap(0, Relaxed);
        while at != 0 {
            let cursor = self.cursor(SpanClassId::new((at - 1) as u16));
            self.release(space, cursor);
            cursor.set(LISTED, false);
            at = cursor.listed_next.load(Relaxed);
        }
    }

    /// What the mutator has allocated: the cells of its chunks, less those
    /// still to be handed out. Exact while the mutator allocates nothing; else
    /// perhaps some cells too few or too many, those of a chunk in the making.
    pub(crate) fn counts(&self, space: &Space) -> CacheCounts {
        let mut counts = self.chunk_counts();
        // Acquire, here and below: pairs with the Releases in `list`.
        let mut at = self.listed.load(Acquire);
        while at != 0 {
            let class = SpanClassId::new((at - 1) as u16);
            let cursor = self.cursor(class);
            let open = cursor.chunk.limit().saturating_sub(cursor.chunk.next());
            let size = space.class_info(class).size;
            // A reader beside the owner may see the ends of two chunks.
            let cells = (open / size.cell_size()).min(size.cells()) as u64;
            let count = &mut counts.cells[size.index()];
            *count = count.saturating_sub(cells);
            at = cursor.listed_next.load(Acquire);
        }
        counts
    }

    fn chunk_counts(&self) -> CacheCounts {
        let mut counts = CacheCounts::default();
        for (count, taken) in counts.cells.iter_mut().zip(&self.taken) {
            // Relaxed here and below: counts, each complete in itself.
            *count = taken.load(Relaxed);
        }
        counts.large_bytes = self.taken_large_bytes.load(Relaxed);
        counts.tiny_hits = self.tiny_hits.load(Relaxed);
        counts
    }
}

/// Alignment of a tiny object: the largest power of two that divides its size,
/// which is below 16.
#[inline(always)]
const fn tiny_align(bytes: usize) -> usize {
    bytes & bytes.wrapping_neg()
}

/// Adds to a count that only this thread writes.
#[inline]
fn add(count: &AtomicU64, more: u64) {
    // Relaxed: readers want some recent value, not an order.
    count.store(count.load(Relaxed) + more, Relaxed);
}

fn subtract(count: &AtomicU64, less: u64) {
    count.store(count.load(Relaxed) - less, Relaxed);
}

/// The first run of clear bits at or after `from`, below `end`.
#[inline(always)]
fn next_clear_run(bits: &[AtomicU64], from: usize, end: usize) -> Option<(usize, usize)> {
    let start = next_bit(bits, from, end, 0)?;
    let stop = next_bit(bits, start, end, u64::MAX).unwrap_or(end);
    Some((start, stop))
}

/// The first run of clear bits in a range that has room for objects of
/// `cells` bits, each of which begins at a multiple of `step`: its first
/// such place, and how many objects.
#[cold]
fn next_joinable_run(
    bits: &[AtomicU64],
    range: Range<usize>,
    cells: usize,
    step: usize,
) -> Option<(usize, usize)> {
    let mut from = range.start;
    loop {
        let (start, end) = next_clear_run(bits, from, range.end)?;
        let objects = end.saturating_sub(start.next_multiple_of(step)) / cells;
        if objects != 0 {
            return Some((start.next_multiple_of(step), objects));
        }
        from = end;
    }
}

/// The first bit at or after `from`, below `end`, that is set in the words as
/// they are (`invert` all ones) or clear (`invert` zero).
#[inline]
fn next_bit(bits: &[AtomicU64], from: usize, end: usize, invert: u64) -> Option<usize> {
    if from >= end {
        return None;
    }
    let mut index = from / 64;
    // Relaxed: the span's owner alone changes survivor bits.
    let mut word = !(bits[index].load(Relaxed) ^ invert) & (!0 << (from % 64));
    while word == 0 {
        index += 1;
        if index * 64 >= end {
            return None;
        }
        word = !(bits[index].load(Relaxed) ^ invert);
    }
    let found = index * 64 + word.trailing_zeros() as usize;
    (found < end).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_alignment_follows_the_size() {
        let expected = [1, 2, 1, 4, 1, 2, 1, 8, 1, 2, 1, 4, 1, 2, 1];
        for (bytes, align) in (1..).zip(expected) {
            assert_eq!(tiny_align(bytes), align, "{bytes} bytes");
        }
    }

    #[test]
    fn clear_runs_agree_with_a_walk() {
        let mut random = Random::new(7);
        for round in 0..2000 {
            let end = 1 + random.below(200) as usize;
            let words: Vec<u64> = (0..4)
                .map(|_| match random.below(3) {
                    0 => 0,
                    1 => u64::MAX,
                    _ => random.next() & random.next(),
                })
                .collect();
            let bits: Vec<AtomicU64> = words.iter().map(|&word| AtomicU64::new(word)).collect();
            let is_set = |i: usize| words[i / 64] >> (i % 64) & 1 != 0;
            let from = random.below(end as u64 + 1) as usize;
            let start = (from..end).find(|&i| !is_set(i));
            let expected =
                start.map(|start| (start, (start..end).find(|&i| is_set(i)).unwrap_or(end)));
            assert_eq!(next_clear_run(&bits, from, end), expected, "round {round}");
        }
    }

    #[test]
    fn joinable_runs_agree_with_a_walk() {
        let mut random = Random::new(8);
        for round in 0..2000 {
            let end = 1 + random.below(190) as usize;
            let words: Vec<u64> =
                (0..3).map(|_| random.next() & random.next() & random.next()).collect();
            let bits: Vec<AtomicU64> = words.iter().map(|&word| AtomicU64::new(word)).collect();
            let is_free = |i: usize| i < end && words[i / 64] >> (i % 64) & 1 == 0;
            let (cells, step) = (2 + random.below(3) as usize, 1 << random.below(3));
            let from = random.below(end as u64 + 1) as usize;
            let fits = |start: usize| (start..start + cells).all(is_free);
            let start = (from..end).find(|&start| start % step == 0 && fits(start));
            let expected = start.map(|start| {
                let objects = (0..).take_while(|n| fits(start + n * cells)).count();
                (start, objects)
            });
            let found = next_joinable_run(&bits, from..end, cells, step);
            assert_eq!(found, expected, "round {round}");
        }
    }
}
