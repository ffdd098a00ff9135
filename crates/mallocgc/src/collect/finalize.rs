//! What specials add to a cycle: roots before marking, verdicts after it.
//!
//! What an object with a finalizer refers to is marked like a root, and the
//! object itself is not. Three promises follow. When the object is found
//! unreachable, everything its finalizer may touch is still there. An object
//! that another one with a finalizer refers to is reachable, so finalizers
//! run in the order of dependency, one cycle for each. And an object that
//! refers to itself, over however many others, is always reachable.
//!
//! Not here: the records (`heap::special`), who runs them (`raw::runner`).

use crate::collect::mark::Marker;
use crate::heap::space::Space;
use crate::heap::span::Span;
use crate::heap::special::{Decided, Judge};

/// Visits what finalizers and cleanups keep alive.
pub(crate) fn visit_roots<const SHARED: bool>(space: &Space, marker: &mut Marker<'_, SHARED>) {
    space.specials.for_each_root(|object| marker.visit(object.as_usize()));
    space.specials.for_each_finalizable(space, |span, cell| marker.push_unmarked(span, cell));
}

/// After the mark stack overflowed: visits again what was pushed unmarked and
/// therefore is not found by its mark.
#[cold]
pub(crate) fn visit_roots_again<const SHARED: bool>(
    space: &Space,
    marker: &mut Marker<'_, SHARED>,
) {
    space.specials.for_each_finalizable(space, |span, cell| marker.scan_unmarked(span, cell));
}

/// Everything reachable is marked: decides about the specials of the rest.
pub(crate) fn decide<const SHARED: bool>(
    space: &Space,
    marker: &mut Marker<'_, SHARED>,
    sample_freed: &mut dyn FnMut([u64; 2]),
) -> Decided {
    space.specials.decide(space, &mut Verdict { marker, sample_freed })
}

struct Verdict<'v, 's, const SHARED: bool> {
    marker: &'v mut Marker<'s, SHARED>,
    sample_freed: &'v mut dyn FnMut([u64; 2]),
}

impl<const SHARED: bool> Judge for Verdict<'_, '_, SHARED> {
    fn keep(&mut self, span: &Span, cell: usize) {
        self.marker.mark_only(span, cell);
    }

    fn sample_freed(&mut self, numbers: [u64; 2]) {
        (self.sample_freed)(numbers);
    }
}
