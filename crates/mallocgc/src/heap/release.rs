//! Giving free pages back to the system.
//!
//! Pages are taken like any others, so that nobody allocates them meanwhile, given
//! back without a lock held, and returned clean. With them goes their part of the
//! bitmaps, which reads as zero again: no span lies there.
//!
//! Not here: how much and when (`scavenge`), who does it (`raw`).

use crate::base::{PAGE_SHIFT, PAGE_SIZE, PageId, address::round_up};
use crate::heap::pages::PageRun;
use crate::heap::scavenge::Reading;
use crate::heap::space::{BITMAP_WORDS_PER_PAGE, Space};
use crate::os::{self, OsError};

/// Pages given back by one system call: bounded, since they cannot be
/// allocated meanwhile.
const DECOMMIT_STEP_PAGES: usize = (16 << 20) / PAGE_SIZE;
/// Pages of a huge page: fewer are given back only when no more such are free.
const DECOMMIT_BLOCK_PAGES: usize = (2 << 20) / PAGE_SIZE;

/// Memory of a heap at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    /// Bytes of pages with memory behind them, or in spans.
    pub(crate) page_bytes: usize,
    /// Those of them in no span.
    pub(crate) free_bytes: usize,
    /// Bytes of tables and records; of the bitmaps the part of those pages.
    pub(crate) record_bytes: usize,
}

/// Bytes of both bitmaps for so many pages. Clean pages' are not in memory, but for
/// what they share a page of the system with.
pub(crate) fn bitmap_bytes(pages: usize) -> usize {
    2 * pages * BITMAP_WORDS_PER_PAGE * size_of::<u64>()
}

impl Space {
    /// What the heap has from the system and has not given back.
    pub(crate) fn mapped(&self) -> Mapped {
        let tables = self.table_bytes();
        let records = self.meta().total_bytes() as usize + self.specials.records.committed_bytes();
        self.with_pages(|pages, _| {
            let clean = pages.scavenged_pages();
            let bitmaps = tables.bitmaps.saturating_sub(bitmap_bytes(clean));
            Mapped {
                page_bytes: (pages.grown_pages() - clean) << PAGE_SHIFT,
                free_bytes: pages.dirty_pages() << PAGE_SHIFT,
                record_bytes: tables.pages + bitmaps + tables.spans + records,
            }
        })
    }

    /// Bytes of free pages that are in memory.
    pub(crate) fn free_dirty_bytes(&self) -> usize {
        self.with_pages(|pages, _| pages.dirty_pages()) << PAGE_SHIFT
    }

    /// Bytes of free pages that are not in memory.
    pub(crate) fn released_bytes(&self) -> u64 {
        (self.with_pages(|pages, _| pages.scavenged_pages()) * PAGE_SIZE) as u64
    }

    /// What the scavenger decides on. Starts a new peak.
    pub(crate) fn scavenge_reading(&self, now_nanos: u64) -> Reading {
        self.with_pages(|pages, _| Reading {
            now_nanos,
            in_use_bytes: pages.used_pages() << PAGE_SHIFT,
            in_use_peak_bytes: pages.reset_used_peak() << PAGE_SHIFT,
            dirty_bytes: pages.dirty_pages() << PAGE_SHIFT,
        })
    }

    /// Gives free pages back to the system, about `bytes`: whole huge pages
    /// first, from the highest down. Returns the bytes given back. The pages
    /// lock is not held during the system call: the pages are taken meanwhile.
    pub(crate) fn decommit_free(&self, bytes: usize) -> usize {
        let mut done = 0;
        for min_pages in [DECOMMIT_BLOCK_PAGES, 1] {
            done += self.decommit_runs(bytes.saturating_sub(done), min_pages);
        }
        done
    }

    /// Gives back pages inside a span.
    pub(crate) fn decommit_holes(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        self.decommit_range(offset, bytes)?;
        self.limits.count_scavenged(bytes);
        Ok(())
    }

    fn decommit_runs(&self, bytes: usize, min_pages: usize) -> usize {
        let mut below = PageId((self.committed_bytes() >> PAGE_SHIFT) as u32);
        let mut done = 0;
        while done < bytes {
            let left = (bytes - done).div_ceil(PAGE_SIZE).max(DECOMMIT_BLOCK_PAGES);
            let run = self.with_pages(|pages, _| {
                pages.take_dirty(left.min(DECOMMIT_STEP_PAGES), min_pages, below)
            });
            let Some(run) = run else { break };
            let offset = run.first.index() << PAGE_SHIFT;
            let given = self.decommit_range(offset, run.pages << PAGE_SHIFT);
            if given.is_ok() {
                self.decommit_bitmaps(&run);
            }
            self.with_pages(|pages, _| match given {
                Ok(()) => pages.give_back_clean(run.first, run.pages),
                Err(_) => pages.give_back(run.first, run.pages),
            });
            if given.is_err() {
                break;
            }
            let bytes = (run.pages - run.zeroed_pages) << PAGE_SHIFT;
            self.limits.count_scavenged(bytes);
            done += bytes;
            below = run.first;
        }
        done
    }

    /// Gives back what the bitmaps have for pages in no span, as far as it is whole pages of
    /// the system. They are 3 percent of what a heap once was: more than the slack.
    fn decommit_bitmaps(&self, run: &PageRun) {
        let each = BITMAP_WORDS_PER_PAGE * size_of::<u64>();
        let page = os::page_size();
        let start = round_up(run.first.index() * each, page);
        let end = (run.first.index() + run.pages) * each / page * page;
        if start >= end {
            return;
        }
        for offset in self.bitmap_offsets() {
            // Refused, it stays in memory as it is: whoever makes a span there
            // clears its bits.
            let _ = self.decommit_range(offset + start, end - start);
        }
    }
}
