//! Large objects: a span each, of whole pages.
//!
//! Clearing is the cost. Pages fresh from the system are zero and are not
//! touched, before and after the others too; those are cleared with stores that bypass the caches.

use crate::base::size_class::SizeClass;
use crate::base::sync::Ordering::Relaxed;
use crate::base::{Address, PAGE_SHIFT, PAGE_SIZE, address::checked_round_up};
use crate::heap::error::AllocError;
use crate::heap::layouts::LayoutRecord;
use crate::heap::space::Space;
use crate::heap::span_class::SpanClassId;
use crate::os::{self, sanitizer};

/// Spans looked at for pages before the heap grows by a large object.
const SWEEPS_PER_LARGE: usize = 1000;

/// Whether memory must be cleared before it is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// The object reads as zero.
    Yes,
    /// Its contents are unspecified.
    No,
}

impl Space {
    /// Makes a large object; returns its address and its size, `bytes`
    /// rounded up to pages.
    ///
    /// # Errors
    ///
    /// [`AllocError::TooLarge`] when the heap's range is smaller; else as
    /// `make_span`.
    pub(crate) fn alloc_large(
        &self,
        bytes: usize,
        layout: &LayoutRecord,
        clear: Clear,
    ) -> Result<(Address, usize), AllocError> {
        let rounded = checked_round_up(bytes, PAGE_SIZE)
            .filter(|&rounded| rounded <= self.reserved_bytes())
            .ok_or(AllocError::TooLarge { bytes })?;
        let class: SpanClassId = layout.span_class(self, SizeClass::new(0))?;
        self.reclaim(rounded / PAGE_SIZE, SWEEPS_PER_LARGE);
        let (id, run) = self.make_span_of_run(class, rounded)?;
        let span = self.span(id);
        sanitizer::unpoison(span.base(), rounded);
        if clear == Clear::Yes {
            let start = span.base().add(run.dirty_from << PAGE_SHIFT);
            let bytes = (run.dirty_to - run.dirty_from) << PAGE_SHIFT;
            // SAFETY: the span is ours, and these are pages of it.
            unsafe { os::zero_streaming(start.as_ptr(), bytes) };
        }
        span.set_taken(1);
        span.set_free_index(1);
        // Relaxed: a sum; the trigger is tested by the caller.
        self.live_bytes.fetch_add(rounded as u64, Relaxed);
        self.central(class).push(self, id);
        Ok((span.base(), rounded))
    }
}
