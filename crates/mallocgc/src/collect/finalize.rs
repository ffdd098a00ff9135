//! What specials add to a cycle: roots before marking, verdicts after it.
//!
//! What an object with a finalizer refers to is marked like a root, and the
//! object itself is not. Three promises follow. When the object is found
//! unreachable, everything its finalizer may touch is still there. An object
//! that another one with a finalizer refers to is reachable, so finalizers
//! run in the order of dependency, one cycle for each. And an object that
//! refers to itself, over however many others, is always reachable.
//!
//! This comes after what the other roots reach is marked. What those reach
//! has its references marked already, so that living objects with finalizers
//! cost no second visit.
//!
//! Not here: the records (`heap::special`), who runs them (`raw::runner`).

use crate::collect::mark::Marker;
use crate::heap::space::Space;
use crate::heap::span::Span;
use crate::heap::special::{Decided, Judge};

/// Visits the objects of queued and running finalizers and the arguments of cleanups.
pub(crate) fn visit_roots(space: &Space, marker: &mut Marker<'_, false>) {
    // Arguments come from safe functions and may be anything.
    space.specials.for_each_root(|word| marker.visit_ambiguous(word.as_usize()));
}

/// What the roots reach is marked: makes grey what is not and has a
/// finalizer. Whether there was any.
pub(crate) fn push_finalizable(space: &Space, marker: &mut Marker<'_, false>) -> bool {
    let mut any = false;
    space.specials.for_each_finalizable(space, |span, cell| {
        marker.push_unmarked(span, cell);
        any = true;
    });
    any
}

/// After the mark stack overflowed: scans again what was pushed unmarked and
/// therefore is not found by its mark.
#[cold]
pub(crate) fn scan_finalizable(space: &Space, marker: &mut Marker<'_, false>) {
    space.specials.for_each_finalizable(space, |span, cell| marker.scan_unmarked(span, cell));
}

/// Everything reachable is marked: decides about the specials of the rest.
pub(crate) fn decide(
    space: &Space,
    marker: &mut Marker<'_, false>,
    sample_freed: &mut dyn FnMut([u64; 2]),
) -> Decided {
    space.specials.decide(space, &mut Verdict { marker, sample_freed })
}

struct Verdict<'v, 's> {
    marker: &'v mut Marker<'s, false>,
    sample_freed: &'v mut dyn FnMut([u64; 2]),
}

impl Judge for Verdict<'_, '_> {
    fn keep(&mut self, span: &Span, cell: usize) {
        self.marker.mark_only(span, cell);
    }

    fn sample_freed(&mut self, numbers: [u64; 2]) {
        (self.sample_freed)(numbers);
    }
}
