//! The tree of summaries above the chunks, and the search in it.
//!
//! A [`Summary`] says of a stretch of pages how many are free at its start, at its
//! end, and in the longest run. Level 0 has one for each chunk; each level above has
//! one for eight of the level below; the top has eight or fewer. What was never
//! grown is all zero, which reads as "nothing free".
//!
//! A search begins at a page and looks at the right neighbours on each level before it
//! climbs, so it is short when the answer is near, and has at most `8 * 2 * levels`
//! summaries to look at (levels: six for 128 GiB, eight for 32 TiB).

use crate::os::OsError;

use super::bits::{CHUNK_PAGES, CHUNK_SHIFT, Chunk};
use super::summary::Summary;
use super::table::Table;

/// Log2 of [`FAN_OUT`].
const FAN_OUT_SHIFT: usize = 3;

/// Children of a node: two cache lines of summaries.
const FAN_OUT: usize = 1 << FAN_OUT_SHIFT;

/// Levels for 2^32 pages.
const MAX_LEVELS: usize = 8;

const _: () = {
    let top = MAX_LEVELS - 1;
    assert!((1usize << 32) >> (CHUNK_SHIFT + top * FAN_OUT_SHIFT) <= FAN_OUT);
    // A node's pages fit in a field of `Summary`.
    assert!(CHUNK_SHIFT + top * FAN_OUT_SHIFT < u32::BITS as usize);
};

/// Counts what a search looks at, in tests.
#[derive(Debug, Default)]
pub(super) struct Visits(#[cfg(test)] core::sync::atomic::AtomicU64);

impl Visits {
    #[inline(always)]
    pub(super) fn add(&self, #[cfg_attr(not(test), expect(unused))] count: u64) {
        #[cfg(test)]
        self.0.fetch_add(count, core::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, core::sync::atomic::Ordering::Relaxed)
    }
}

/// The summaries of all levels.
#[derive(Debug)]
pub(super) struct Tree {
    /// Top level first, level 0 last, so that committing from the front grows
    /// level 0 only. Each level begins at a multiple of `FAN_OUT`.
    summaries: Table<Summary>,
    /// Where each level begins.
    offsets: [usize; MAX_LEVELS],
    /// Nodes of the top level.
    top_nodes: usize,
    levels: usize,
    pub(super) visits: Visits,
}

/// The children of one node, which begin `summaries`.
#[inline]
fn children(summaries: &[Summary]) -> &[Summary; FAN_OUT] {
    summaries.first_chunk().expect("levels have whole groups of nodes")
}

/// Pages below a node.
#[inline]
const fn node_pages(level: usize) -> usize {
    CHUNK_PAGES << (level * FAN_OUT_SHIFT)
}

impl Tree {
    /// A tree for so many chunks, none of them grown.
    pub(super) fn new(chunks: usize) -> Result<Tree, OsError> {
        let nodes = |level: usize| chunks.div_ceil(1 << (level * FAN_OUT_SHIFT));
        let levels = 1 + (0..MAX_LEVELS).take_while(|&level| nodes(level) > FAN_OUT).count();
        let mut offsets = [0; MAX_LEVELS];
        let mut entries = 0;
        for level in (0..levels).rev() {
            offsets[level] = entries;
            entries += nodes(level).next_multiple_of(FAN_OUT);
        }
        let mut summaries = Table::new(entries)?;
        summaries.cover(offsets[0])?;
        let top_nodes = nodes(levels - 1);
        Ok(Tree { summaries, offsets, top_nodes, levels, visits: Visits::default() })
    }

    /// Makes place for the summaries of the first `chunks` chunks.
    pub(super) fn cover(&mut self, chunks: usize) -> Result<(), OsError> {
        self.summaries.cover(self.offsets[0] + chunks.next_multiple_of(FAN_OUT))
    }

    #[inline]
    fn node(&self, level: usize, index: usize) -> Summary {
        self.visits.add(1);
        self.summaries.entries()[self.offsets[level] + index]
    }

    /// The summary of a chunk.
    #[inline]
    pub(super) fn chunk(&self, index: usize) -> Summary {
        self.node(0, index)
    }

    /// Sets the summary of a chunk; [`update`](Tree::update) is due.
    #[inline]
    pub(super) fn set_chunk(&mut self, index: usize, summary: Summary) {
        let at = self.offsets[0] + index;
        self.summaries.entries_mut()[at] = summary;
    }

    /// Brings the levels above chunks `first` to `last` up to date.
    pub(super) fn update(&mut self, first: usize, last: usize) {
        let (mut first, mut last) = (first, last);
        for level in 1..self.levels {
            let (below, here) = (self.offsets[level - 1], self.offsets[level]);
            first >>= FAN_OUT_SHIFT;
            last >>= FAN_OUT_SHIFT;
            let entries = self.summaries.entries_mut();
            let mut changed = false;
            for index in first..=last {
                let parts = children(&entries[below + index * FAN_OUT..]);
                let summary = Summary::of(parts, node_pages(level - 1) as u32);
                let entry = &mut entries[here + index];
                changed |= *entry != summary;
                *entry = summary;
            }
            if !changed {
                return;
            }
        }
    }

    /// The lowest page from `from` on at which `pages` free pages begin.
    pub(super) fn find(&self, chunks: &[Chunk], from: usize, pages: usize) -> Option<usize> {
        let (mut level, mut index) = (0, from >> CHUNK_SHIFT);
        if index >= chunks.len() {
            return None;
        }
        // Free pages just before the next node.
        let mut run = 0;
        let offset = from % CHUNK_PAGES;
        if offset != 0 {
            let summary = self.chunk(index);
            if summary.longest as usize >= pages {
                self.visits.add(1);
                if let Some(found) = chunks[index].free.find_run(offset, pages) {
                    return Some((index << CHUNK_SHIFT) + found);
                }
            }
            run = (summary.end as usize).min(CHUNK_PAGES - offset);
            index += 1;
        }
        let top = self.levels - 1;
        loop {
            // Where a node begins with its parent, the parent tells more at once.
            while index.is_multiple_of(FAN_OUT) && level < top {
                index >>= FAN_OUT_SHIFT;
                level += 1;
            }
            if level == top && index >= self.top_nodes {
                return None;
            }
            match self.step(level, index, run, pages) {
                Step::Found(page) => return Some(page),
                Step::Inside => return Some(self.descend(chunks, level, index, pages)),
                Step::Next { run: next } => {
                    run = next;
                    index += 1;
                }
            }
        }
    }

    /// Looks at one node, which `run` free pages reach from the left.
    #[inline]
    fn step(&self, level: usize, index: usize, run: usize, pages: usize) -> Step {
        let node = self.node(level, index);
        let size = node_pages(level);
        if run + node.start as usize >= pages {
            Step::Found(index * size - run)
        } else if node.longest as usize >= pages {
            Step::Inside
        } else if node.start as usize == size {
            Step::Next { run: run + size }
        } else {
            Step::Next { run: node.end as usize }
        }
    }

    /// The first run inside a node that has one.
    fn descend(&self, chunks: &[Chunk], level: usize, index: usize, pages: usize) -> usize {
        let (mut level, mut index) = (level, index);
        while level > 0 {
            level -= 1;
            index <<= FAN_OUT_SHIFT;
            let end = index + FAN_OUT;
            let mut run = 0;
            loop {
                assert!(index < end, "a summary promises {pages} pages that are not below it");
                match self.step(level, index, run, pages) {
                    Step::Found(page) => return page,
                    Step::Inside => break,
                    Step::Next { run: next } => {
                        run = next;
                        index += 1;
                    }
                }
            }
        }
        self.visits.add(1);
        let found = chunks[index].free.find_run(0, pages);
        (index << CHUNK_SHIFT) + found.expect("the chunk's summary promises a run")
    }

    /// Free pages in front of chunk `index`, without a gap.
    pub(super) fn run_before(&self, index: usize) -> usize {
        let (mut level, mut index, mut run) = (0, index, 0);
        while index > 0 {
            while index.is_multiple_of(FAN_OUT) && level < self.levels - 1 {
                index >>= FAN_OUT_SHIFT;
                level += 1;
            }
            let node = self.node(level, index - 1);
            run += node.end as usize;
            if (node.end as usize) < node_pages(level) {
                break;
            }
            index -= 1;
        }
        run
    }

    /// The longest free run of all.
    pub(super) fn longest(&self) -> usize {
        let (mut longest, mut run) = (0, 0usize);
        let top = self.levels - 1;
        for index in 0..self.top_nodes {
            let node = self.node(top, index);
            let joined = run + node.start as usize;
            longest = longest.max(joined).max(node.longest as usize);
            let full = node.start as usize == node_pages(top);
            run = if full { joined } else { node.end as usize };
        }
        longest
    }

    /// Checks every node above `chunks` against its children.
    ///
    /// # Panics
    ///
    /// When one does not agree.
    pub(super) fn verify(&self, chunks: &[Chunk]) {
        for (index, chunk) in chunks.iter().enumerate() {
            assert_eq!(self.chunk(index), chunk.free.summary(), "summary of chunk {index}");
        }
        let mut nodes = chunks.len();
        for level in 1..self.levels {
            nodes = nodes.div_ceil(FAN_OUT);
            for index in 0..nodes {
                let first = self.offsets[level - 1] + index * FAN_OUT;
                let parts = children(&self.summaries.entries()[first..]);
                let expected = Summary::of(parts, node_pages(level - 1) as u32);
                assert_eq!(self.node(level, index), expected, "node {index} of level {level}");
            }
        }
    }
}

enum Step {
    /// The run begins at this page.
    Found(usize),
    /// It lies in the node.
    Inside,
    /// Not here; so many free pages reach the next node.
    Next { run: usize },
}
