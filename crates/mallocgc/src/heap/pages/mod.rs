//! The page allocator: which pages are free, and which of those are in memory.
//!
//! Two bits per page, in chunks of 512 (`bits`): free, and known to be zero. A tree
//! of summaries above the chunks (`tree`) finds the lowest free run of a length in some tens of
//! steps, whatever the size of the heap. Always taking the lowest keeps the heap's end
//! empty: new spans fill old holes, and what is given back to the system is far from
//! what is reused.
//!
//! A page is *used* (some span has it), *dirty* (free, with memory behind it), *zero*
//! (free, reads as zero, no memory behind it) or not grown yet. `take` makes it used,
//! `give_back` dirty, and `take_dirty` with a decommit and `give_back_clean` zero.
//!
//! Searches begin at a hint: for each power of two, a page below which no free run of so
//! many pages begins. Taking moves hints up, giving back moves them down.
//!
//! Protection: methods take `&mut Pages`, reached through the lock of rank `Pages`.
//!
//! Not here: spans (`span`), committing and decommitting (`space`), how much to
//! give back to the system and when (`scavenge`).

mod table;

mod summary;

mod bits;

mod tree;

use crate::base::PageId;
use crate::base::address::round_up;
use crate::os::OsError;

use bits::{CHUNK_PAGES, CHUNK_SHIFT, Chunk};
use table::Table;
use tree::Tree;

/// Hints, for runs of 1, 2, 4, … pages. Longer runs use the last: 256 MiB.
const HINTS: usize = 16;

/// Runs that are looked at for an aligned place before one so long is sought that it
/// must have one. Only crowds of unaligned runs of just the wanted length need it.
const ALIGNED_TRIES: usize = 64;

/// Pages that were taken, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRun {
    /// The first.
    pub first: PageId,
    /// How many.
    pub pages: usize,
    /// How many of them read as zero and have no memory behind them yet.
    pub zeroed_pages: usize,
    /// The others lie from this page of the run on, counted from its first,
    pub dirty_from: usize,
    /// to before this one. Both are 0 when all read as zero.
    pub dirty_to: usize,
}

/// The pages of one heap.
///
/// # Invariants
///
/// 1. No run of `1 << k` free pages begins below `hints[k]`.
/// 2. `dirty` has the bit of a chunk exactly when a page of it is free and not zero.
/// 3. `free` and `zero` count the bits of all chunks; `grown` is `free` and what
///    is used.
/// 4. The tree agrees with the chunks.
#[derive(Debug)]
pub struct Pages {
    chunks: Table<Chunk>,
    tree: Tree,
    /// A bit per chunk.
    dirty: Table<u64>,
    hints: [usize; HINTS],
    reserved: usize,
    /// One past the highest page ever grown.
    end: usize,
    grown: usize,
    free: usize,
    zero: usize,
    used_peak: usize,
}

impl Pages {
    /// An allocator for page ids below `reserved_pages`, none of them grown. Its own
    /// memory, three bits per page, is reserved now and committed as pages grow.
    ///
    /// # Errors
    ///
    /// When the system refuses the address space.
    ///
    /// # Panics
    ///
    /// When `reserved_pages` is 0 or has no `PageId` for its last page.
    pub fn new(reserved_pages: usize) -> Result<Pages, OsError> {
        assert!((1..=1 << 32).contains(&reserved_pages), "{reserved_pages} pages reserved");
        let chunks = reserved_pages.div_ceil(CHUNK_PAGES);
        Ok(Pages {
            chunks: Table::new(chunks)?,
            tree: Tree::new(chunks)?,
            dirty: Table::new(chunks.div_ceil(64))?,
            hints: [0; HINTS],
            reserved: reserved_pages,
            end: 0,
            grown: 0,
            free: 0,
            zero: 0,
            used_peak: 0,
        })
    }

    /// Adds pages that were just committed: they are free, and zero.
    ///
    /// # Errors
    ///
    /// When the system refuses memory for the bits; nothing is added then.
    ///
    /// # Panics
    ///
    /// When the pages are not all below the reserved number. In debug builds when
    /// one is free already.
    pub fn grow(&mut self, first: PageId, pages: usize) -> Result<(), OsError> {
        let (start, end) = (first.index(), first.index() + pages);
        assert!(end <= self.reserved, "pages {start}+{pages} of {} reserved", self.reserved);
        if pages == 0 {
            return Ok(());
        }
        let chunks = end.div_ceil(CHUNK_PAGES);
        self.chunks.cover(chunks)?;
        self.dirty.cover(chunks.div_ceil(64))?;
        self.tree.cover(chunks)?;
        self.end = self.end.max(end);
        self.grown += pages;
        self.put(start, pages, Contents::Zero);
        Ok(())
    }

    /// Takes the lowest run of free pages that begins at a multiple of `align_pages`
    /// (a power of two; 1 for any). `None` when there is none. Among very many runs
    /// that are too short for their alignment it may be a higher one.
    ///
    /// # Panics
    ///
    /// When `pages` is 0 or `align_pages` not a power of two.
    pub fn take(&mut self, pages: usize, align_pages: usize) -> Option<PageRun> {
        assert!(pages > 0, "a run of no pages");
        assert!(align_pages.is_power_of_two(), "alignment {align_pages}");
        if pages > self.free {
            return None;
        }
        let start = if align_pages == 1 {
            let found = self.find(self.hints[hint_not_above(pages)], pages);
            // No run of `pages` begins before it, so no longer one does.
            let none_below = found.map_or(self.end, |start| start + pages);
            for hint in &mut self.hints[hint_not_below(pages)..] {
                *hint = none_below.max(*hint);
            }
            found?
        } else {
            self.find_aligned(pages, align_pages)?
        };
        let run = self.remove(start, pages);
        self.used_peak = self.used_peak.max(self.used_pages());
        Some(run)
    }

    fn find(&self, from: usize, pages: usize) -> Option<usize> {
        let chunks = self.end.div_ceil(CHUNK_PAGES);
        self.tree.find(&self.chunks.entries()[..chunks], from, pages)
    }

    fn find_aligned(&self, pages: usize, align: usize) -> Option<usize> {
        let mut from = round_up(self.hints[hint_not_above(pages)], align);
        let mut tries = 0;
        loop {
            let start = self.find(from, pages)?;
            from = round_up(start, align);
            if from == start {
                return Some(start);
            }
            tries += 1;
            if tries == ALIGNED_TRIES
                && let Some(roomy) = self.find(from, pages + align - 1)
            {
                return Some(round_up(roomy, align));
            }
        }
    }

    /// Gives used pages back. What they hold is lost.
    ///
    /// # Panics
    ///
    /// When one of them is not used.
    pub fn give_back(&mut self, first: PageId, pages: usize) {
        self.check_used(first, pages);
        self.put(first.index(), pages, Contents::Dirty);
    }

    /// Gives pages back that the caller decommitted: they read as zero.
    ///
    /// # Panics
    ///
    /// When one of them is not used.
    pub fn give_back_clean(&mut self, first: PageId, pages: usize) {
        self.check_used(first, pages);
        self.put(first.index(), pages, Contents::Zero);
    }

    fn check_used(&self, first: PageId, pages: usize) {
        let (start, end) = (first.index(), first.index() + pages);
        assert!(end <= self.end, "pages {start}+{pages} given back, of {} grown", self.end);
        for (chunk, offset, count) in parts(start, pages) {
            let free = self.chunks.entries()[chunk].free.count(offset, count);
            assert_eq!(free, 0, "pages {start}+{pages} given back, {free} of chunk {chunk} twice");
        }
    }

    /// Takes free dirty pages for decommitting: the highest below `below`, `max_pages`
    /// at most and at most a chunk, with `min_pages` dirty ones at least. Where a 2 MiB block is
    /// free as a whole, all of it is taken, so a huge page is returned at once.
    ///
    /// They count as used until [`give_back_clean`](Pages::give_back_clean), or
    /// [`give_back`](Pages::give_back) when the system refused.
    ///
    /// A pass over the heap asks again with `below` at the last run's first page.
    pub fn take_dirty(
        &mut self,
        max_pages: usize,
        min_pages: usize,
        below: PageId,
    ) -> Option<PageRun> {
        if max_pages == 0 || max_pages < min_pages {
            return None;
        }
        let mut below = below.index().min(self.end);
        while below > 0 {
            let chunk = self.last_dirty_chunk((below - 1) >> CHUNK_SHIFT)?;
            let limit = (below - (chunk << CHUNK_SHIFT)).min(CHUNK_PAGES);
            let found = self.chunks.entries()[chunk].find_dirty(limit, min_pages, max_pages);
            if let Some((start, end)) = found {
                let (start, pages) = ((chunk << CHUNK_SHIFT) + start, end - start);
                return Some(self.remove(start, pages));
            }
            below = chunk << CHUNK_SHIFT;
        }
        None
    }

    /// The highest chunk with a dirty page, `last` or below.
    fn last_dirty_chunk(&self, last: usize) -> Option<usize> {
        let words = self.dirty.entries();
        let mut word = words[last / 64] & (u64::MAX >> (63 - last % 64));
        let mut index = last / 64;
        while word == 0 {
            index = index.checked_sub(1)?;
            word = words[index];
        }
        Some(index * 64 + word.ilog2() as usize)
    }

    /// Makes free pages used; tells which were zero.
    fn remove(&mut self, start: usize, pages: usize) -> PageRun {
        let mut run = PageRun {
            first: PageId(start as u32),
            pages,
            zeroed_pages: 0,
            dirty_from: 0,
            dirty_to: 0,
        };
        for (chunk, offset, count) in parts(start, pages) {
            let bits = &mut self.chunks.entries_mut()[chunk];
            if let Some((first, last)) = bits.zero.missing(offset, count) {
                let begin = chunk << CHUNK_SHIFT;
                if run.dirty_to == 0 {
                    run.dirty_from = begin + first - start;
                }
                run.dirty_to = begin + last + 1 - start;
            }
            run.zeroed_pages += bits.zero.remove(offset, count);
            let removed = bits.free.remove(offset, count);
            debug_assert_eq!(removed, count, "pages {start}+{pages} were not free");
            let summary = bits.free.summary();
            self.tree.set_chunk(chunk, summary);
            if self.is_dirty(chunk) && !self.chunks.entries()[chunk].has_dirty() {
                self.set_dirty(chunk, false);
            }
        }
        self.tree.update(start >> CHUNK_SHIFT, (start + pages - 1) >> CHUNK_SHIFT);
        self.free -= pages;
        self.zero -= run.zeroed_pages;
        run
    }

    /// Makes pages free.
    fn put(&mut self, start: usize, pages: usize, contents: Contents) {
        if pages == 0 {
            return;
        }
        for (chunk, offset, count) in parts(start, pages) {
            let bits = &mut self.chunks.entries_mut()[chunk];
            debug_assert_eq!(bits.free.count(offset, count), 0, "{start}+{pages} were free");
            bits.free.insert(offset, count);
            if contents == Contents::Zero {
                bits.zero.insert(offset, count);
            }
            let summary = bits.free.summary();
            self.tree.set_chunk(chunk, summary);
            if contents == Contents::Dirty {
                self.set_dirty(chunk, true);
            }
        }
        self.tree.update(start >> CHUNK_SHIFT, (start + pages - 1) >> CHUNK_SHIFT);
        self.free += pages;
        if contents == Contents::Zero {
            self.zero += pages;
        }
        for (log, hint) in self.hints.iter_mut().enumerate() {
            // A run may begin so far before these pages and reach into them.
            *hint = start.saturating_sub((1 << log) - 1).min(*hint);
        }
    }

    fn is_dirty(&self, chunk: usize) -> bool {
        self.dirty.entries()[chunk / 64] >> (chunk % 64) & 1 != 0
    }

    fn set_dirty(&mut self, chunk: usize, dirty: bool) {
        let word = &mut self.dirty.entries_mut()[chunk / 64];
        let bit = 1u64 << (chunk % 64);
        *word = if dirty { *word | bit } else { *word & !bit };
    }

    /// Pages that nobody has.
    pub fn free_pages(&self) -> usize {
        self.free
    }

    /// Free pages that are zero: without memory behind them.
    pub fn scavenged_pages(&self) -> usize {
        self.zero
    }

    /// Free pages with memory behind them, which could be given back to the system.
    pub fn dirty_pages(&self) -> usize {
        self.free - self.zero
    }

    /// Pages that were taken and not given back.
    pub fn used_pages(&self) -> usize {
        self.grown - self.free
    }

    /// Pages ever grown.
    pub fn grown_pages(&self) -> usize {
        self.grown
    }

    /// The most pages used at once since the last call.
    pub fn reset_used_peak(&mut self) -> usize {
        let used = self.used_pages();
        core::mem::replace(&mut self.used_peak, used).max(used)
    }

    /// Pages of the longest free run.
    pub fn longest_free(&self) -> usize {
        self.tree.longest()
    }

    /// Free pages just before page number `end`, without a gap: what growing there
    /// would extend.
    ///
    /// # Panics
    ///
    /// When `end` is above every grown page.
    pub fn free_at_end(&self, end: usize) -> usize {
        assert!(end <= self.end, "page {end} of {} grown", self.end);
        let (chunk, offset) = (end >> CHUNK_SHIFT, end % CHUNK_PAGES);
        let mut run = 0;
        if offset > 0 {
            run = self.chunks.entries()[chunk].free.ones_before(offset);
            if run < offset {
                return run;
            }
        }
        run + self.tree.run_before(chunk)
    }

    /// Whether a page is free.
    pub fn is_free(&self, page: PageId) -> bool {
        let page = page.index();
        page < self.end
            && self.chunks.entries()[page >> CHUNK_SHIFT].free.contains(page % CHUNK_PAGES)
    }

    /// Whether a page is free and zero.
    pub fn is_zero(&self, page: PageId) -> bool {
        let page = page.index();
        page < self.end
            && self.chunks.entries()[page >> CHUNK_SHIFT].zero.contains(page % CHUNK_PAGES)
    }

    /// Recounts everything: for tests, and for heaps that verify themselves.
    ///
    /// # Panics
    ///
    /// When an invariant does not hold.
    pub fn verify(&self) {
        let chunks = &self.chunks.entries()[..self.end.div_ceil(CHUNK_PAGES)];
        let (mut free, mut zero) = (0, 0);
        for (index, chunk) in chunks.iter().enumerate() {
            free += chunk.free.count(0, CHUNK_PAGES);
            zero += chunk.zero.count(0, CHUNK_PAGES);
            assert!(chunk.zero.without(&chunk.free).is_empty(), "used pages of {index} are zero");
            assert_eq!(self.is_dirty(index), chunk.has_dirty(), "the dirty bit of chunk {index}");
        }
        assert_eq!((self.free, self.zero), (free, zero), "counts of free and zero pages");
        assert!(self.free <= self.grown, "{} free of {}", self.free, self.grown);
        self.tree.verify(chunks);
        for (log, &hint) in self.hints.iter().enumerate() {
            let first = self.find(0, 1 << log).unwrap_or(usize::MAX);
            assert!(hint <= first, "hint {log} is {hint}, a run begins at {first}");
        }
    }
}

/// What given pages hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    Dirty,
    Zero,
}

/// The last hint for runs of `pages` or fewer.
fn hint_not_above(pages: usize) -> usize {
    (pages.ilog2() as usize).min(HINTS - 1)
}

/// The first hint for runs of `pages` or more; `HINTS` when there is none.
fn hint_not_below(pages: usize) -> usize {
    ((pages - 1).checked_ilog2().map_or(0, |log| log as usize + 1)).min(HINTS)
}

/// A range of pages by chunks: chunk, offset in it, pages of it.
#[inline]
fn parts(start: usize, pages: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = start + pages;
    let mut at = start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (chunk, offset) = (at >> CHUNK_SHIFT, at % CHUNK_PAGES);
        let count = (CHUNK_PAGES - offset).min(end - at);
        at += count;
        Some((chunk, offset, count))
    })
}

#[cfg(test)]
mod tests;
