//! The free runs of a stretch of pages, in three numbers.

use super::table::Zeroed;

/// Free runs of a stretch of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Summary {
    /// Free pages at its start.
    pub(super) start: u32,
    /// Pages of its longest free run.
    pub(super) longest: u32,
    /// Free pages at its end.
    pub(super) end: u32,
}

impl Summary {
    const EMPTY: Summary = Summary { start: 0, longest: 0, end: 0 };

    /// Of stretches of `pages` pages each, side by side.
    #[inline]
    pub(super) fn of<const N: usize>(parts: &[Summary; N], pages: u32) -> Summary {
        let mut whole = Summary::EMPTY;
        let mut at_start = true;
        for part in parts {
            // `end` is the run that reaches the part from the left.
            let joined = whole.end + part.start;
            whole.longest = whole.longest.max(joined).max(part.longest);
            if at_start {
                whole.start = joined;
            }
            let full = part.start == pages;
            at_start &= full;
            whole.end = if full { joined } else { part.end };
        }
        whole
    }
}

// SAFETY: integers only; zeros say that nothing is free.
unsafe impl Zeroed for Summary {}
