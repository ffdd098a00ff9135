//! Sixty-four mark bits.
//!
//! Setting one is a load and a store, a seventh of the time of an atomic OR
//! (`docs/design/marking.md`), since each word has one writer at a time: the
//! only marker, or of several the owner of the block (`mail`).
//!
//! Protection: one atomic word, which others may read meanwhile.

use crate::base::sync::{AtomicU64, Ordering::Relaxed};

/// A word of the bitmap that takes marks.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct MarkWord(AtomicU64);

const _: () = assert!(size_of::<MarkWord>() == size_of::<u64>()); // the bitmap counts on it

impl MarkWord {
    /// Whether one of the bits is set.
    #[inline(always)]
    pub(crate) fn has(&self, bit: u64) -> bool {
        // Relaxed: who looks has set it itself, or will claim it.
        self.0.load(Relaxed) & bit != 0
    }

    /// Sets `bit`; `false` when it was set.
    #[inline(always)]
    pub(crate) fn claim(&self, bit: u64) -> bool {
        // Relaxed: only this thread writes, and a mark orders nothing. Marks are
        // read by others after the phase, whose end publishes all of them; the
        // object was made before the phase began, or is handed over behind a lock.
        let now = self.0.load(Relaxed);
        if now & bit != 0 {
            return false;
        }
        self.0.store(now | bit, Relaxed);
        true
    }
}
