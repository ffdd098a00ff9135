//! Marking for who knows no types: what a world without barriers adds to a
//! cycle.
//!
//! The layer above has stopped threads that are no mutators of ours while they
//! run, and hands over their stacks, registers and data, word by word. When
//! everything reachable is marked it may ask what is, and mark more: that is
//! how finalizers and links of its own kind are decided.
//!
//! Protection: called by the collecting thread while the world is stopped.

use crate::base::{Address, WORD_SIZE};
use crate::collect::mark::Marker;
use crate::collect::work::SharedWork;
use crate::heap::object::Found;
use crate::heap::space::Space;

/// What a client of a conservative heap may do while marking.
pub trait AmbiguousMarker {
    /// Marks the allocated object that `word` points into, wherever.
    fn visit(&mut self, word: usize);

    /// Visits each aligned word from `from` up to `to`.
    ///
    /// # Safety
    ///
    /// The words are readable.
    unsafe fn visit_range(&mut self, from: usize, to: usize);

    /// As `visit_range`, of words to which the rules of objects apply.
    ///
    /// # Safety
    ///
    /// As `visit_range`.
    unsafe fn visit_object_range(&mut self, from: usize, to: usize);

    /// Makes the next [`drain`](AmbiguousMarker::drain) mark everything that the object at
    /// `object` refers to, and all that is reachable from there, but not the object itself.
    fn scan(&mut self, object: usize);

    /// Marks the object at `object` and nothing it refers to.
    fn mark_only(&mut self, object: usize);

    /// Marks everything reachable from what was visited.
    fn drain(&mut self);

    /// Whether `word` points into an object that is marked.
    fn is_marked(&self, word: usize) -> bool;

    /// The first byte and the size of the allocated object that `word` points
    /// into.
    fn object(&self, word: usize) -> Option<(usize, usize)>;
}

/// A marker as its client sees it.
pub(crate) struct Client<'m, 's> {
    pub(crate) marker: &'m mut Marker<'s, false>,
    pub(crate) space: &'m Space,
    pub(crate) work: &'m SharedWork,
}

impl Client<'_, '_> {
    fn find(&self, word: usize) -> Option<Found> {
        self.space.find_object(Address::new(word))
    }
}

impl AmbiguousMarker for Client<'_, '_> {
    fn visit(&mut self, word: usize) {
        self.marker.visited_roots += 1;
        self.marker.visit_ambiguous(word);
    }

    unsafe fn visit_range(&mut self, from: usize, to: usize) {
        let from = from.next_multiple_of(WORD_SIZE);
        self.marker.visited_roots += (to.saturating_sub(from) / WORD_SIZE) as u64;
        if from < to {
            self.marker.scan_stack(from, to & !(WORD_SIZE - 1));
        }
    }

    unsafe fn visit_object_range(&mut self, from: usize, to: usize) {
        let from = from.next_multiple_of(WORD_SIZE);
        self.marker.visited_roots += (to.saturating_sub(from) / WORD_SIZE) as u64;
        if from < to {
            self.marker.scan_conservative(from, to & !(WORD_SIZE - 1));
        }
    }

    fn scan(&mut self, object: usize) {
        if let Some(found) = self.find(object) {
            let span = self.space.span(found.span);
            if self.space.class_info(span.class()).scan != crate::heap::span_class::Scan::None {
                self.marker.push_unmarked(span, found.index);
                if self.work.take_overflow() {
                    // There was no room for it. This needs none.
                    self.marker.scan_unmarked(span, found.index);
                    self.marker.drain();
                    self.marker.rescan();
                    self.drain();
                }
            }
        }
    }

    fn mark_only(&mut self, object: usize) {
        if let Some(found) = self.find(object) {
            self.marker.mark_only(self.space.span(found.span), found.index);
        }
    }

    fn drain(&mut self) {
        self.marker.drain();
        while self.work.take_overflow() {
            self.marker.rescan();
        }
    }

    fn is_marked(&self, word: usize) -> bool {
        self.marker.is_word_marked(word)
    }

    fn object(&self, word: usize) -> Option<(usize, usize)> {
        let found = self.find(word)?;
        Some((found.object.as_usize(), found.bytes))
    }
}
