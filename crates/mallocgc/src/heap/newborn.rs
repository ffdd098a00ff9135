//! Newborn objects: those allocated while marking runs beside the mutators.
//!
//! They survive the cycle unseen. No one marks them one by one: a span that a
//! cursor comes to while marking runs notes how far its cells were handed out
//! by then, and its pages get a flag. A cell from there on that is no survivor
//! is newborn, and the marker, which looks at the flag together with two others
//! it looks at anyway, passes it by. So mutators set no marks, and one marker
//! needs no atomic operation to set its own. When the span is swept its
//! newborns become survivors, a word at a time.
//!
//! A marker that has a reference to a newborn object knows the flag: it went
//! up before the object was handed out, and references are stored with
//! Release and loaded with Acquire.
//!
//! Survivors' bits do not change while marking runs: cells are not joined then
//! (`Space::pop_donor`), and nothing is swept.
//!
//! Protection: as for spans. `marking` changes while the world is stopped;
//! `loom_models` below has the sweeper beside somebody who asks about a cell.

use crate::base::claim::MarkingCycle;
use crate::base::sync::{
    Ordering::{Acquire, Relaxed, Release},
    model,
};
use crate::base::{Address, PageId};
use crate::heap::space::{BITMAP_WORDS_PER_PAGE, Space};
use crate::heap::span::{PageInfo, Span};

impl Space {
    /// Whether marking runs beside the mutators: what is allocated is newborn,
    /// and references that are overwritten are noted.
    #[inline(always)]
    pub(crate) fn is_marking(&self) -> bool {
        // Relaxed: it changes while the world is stopped, so that a mutator
        // learns of it by entering.
        self.marking.load(Relaxed) != 0
    }

    /// The cycle that marks beside the mutators, if one does.
    #[inline(always)]
    pub(crate) fn marking_cycle(&self) -> Option<MarkingCycle> {
        // Relaxed: as in `is_marking`.
        MarkingCycle::of_word(self.marking.load(Relaxed))
    }

    /// From here on what is allocated is newborn. The world is stopped, and no
    /// cursor has a span.
    pub(crate) fn begin_newborns(&self, cycle: MarkingCycle) {
        self.marking.store(cycle.word(), Relaxed);
    }

    /// Ends it. The world is stopped.
    pub(crate) fn end_newborns(&self) {
        self.marking.store(0, Relaxed);
    }

    /// A cursor comes to a span while marking runs: what it hands out from now
    /// on is newborn. The caller owns the span.
    pub(crate) fn note_newborns(&self, span: &Span) {
        if span.newborn_from().is_none() {
            span.set_newborn_from(Some(span.free_index()));
            self.set_page_flag(span, PageInfo::NEWBORN, true);
        }
    }

    /// A swept span has none any more. The caller owns it.
    pub(crate) fn clear_newborns(&self, span: &Span) {
        if span.newborn_from().is_some() {
            span.set_newborn_from(None);
            self.set_page_flag(span, PageInfo::NEWBORN, false);
        }
    }

    /// Newborns among the cells of a span's `word`-th bitmap word, from the
    /// flip until the span is swept.
    pub(crate) fn newborn_word(&self, span: &Span, word: usize) -> u64 {
        let Some(from) = span.newborn_from() else { return 0 };
        // Who survived the cycle before, which the end of this one calls the
        // marks of the next.
        let old =
            if self.is_unswept(span) { self.mark_bits(span) } else { self.survivor_bits(span) };
        // Relaxed: see the file's head. From any thread, so the span may have
        // become another meanwhile.
        let Some(old) = old.get(word) else { return 0 };
        below(span.free_index(), word) & !below(from, word) & !old.load(Relaxed)
    }

    /// Whether a cell is newborn.
    #[inline]
    pub(crate) fn is_newborn(&self, span: &Span, index: usize) -> bool {
        self.newborn_word(span, index / 64) >> (index % 64) & 1 != 0
    }

    /// Whether an address lies in a newborn object, as a mutator asks that has the
    /// object. `false` for addresses elsewhere.
    pub(crate) fn is_in_newborn(&self, address: Address) -> bool {
        let Some(page) = self.page_of(address) else { return false };
        if !self.page_info(page).has(PageInfo::NEWBORN) {
            return false;
        }
        self.find_cell(address)
            .is_some_and(|found| self.is_newborn(self.span(found.span), found.index))
    }

    /// Of 64 cells, those that are marked or newborn.
    pub(crate) fn outliving_word(&self, span: &Span, word: usize) -> u64 {
        // Relaxed: marking has ended, or the marker asks for a hint.
        self.mark_bits(span)[word].load(Relaxed) | self.newborn_word(span, word)
    }

    /// Whether what an address leads to may still have to be marked: `false` is
    /// certain.
    #[inline]
    pub(crate) fn may_be_unmarked(&self, address: Address) -> bool {
        let Some(page) = self.page_of(address) else { return false };
        let info = self.page_info(page);
        if info == PageInfo::NONE {
            return false;
        }
        if info.has(PageInfo::LARGE | PageInfo::JOINED | PageInfo::NEWBORN) {
            return true;
        }
        let class = self.class_info(info.class());
        let first = PageId(page.0 - info.pages_back() as u32);
        let from_first = address.offset_from(self.page_address(first));
        let index = ((from_first as u64 * u64::from(class.magic)) >> 32) as usize;
        // SAFETY: the bitmap covers committed pages, and the bits of a span's pages
        // are more than its cells.
        let word = unsafe {
            self.mark_table().add(first.index() * BITMAP_WORDS_PER_PAGE + index / 64).as_ref()
        };
        // Relaxed: the marker may set it this moment.
        word.load(Relaxed) >> (index % 64) & 1 == 0
    }

    /// Marks all newborns, for those who look at marks alone. The world is
    /// stopped and marking has ended.
    pub(crate) fn mark_newborns(&self) {
        self.for_each_span(|_, span| {
            if span.newborn_from().is_some() {
                for (word, marks) in self.mark_bits(span).iter().enumerate() {
                    marks.store(marks.load(Relaxed) | self.newborn_word(span, word), Relaxed);
                }
            }
        });
    }

    /// Forgets all marks and which objects are newborn: marking begins anew.
    /// The world is stopped.
    pub(crate) fn forget_marks(&self) {
        self.for_each_span(|_, span| {
            self.clear_newborns(span);
            for marks in self.mark_bits(span) {
                marks.store(0, Relaxed);
            }
        });
    }

    /// Sets or clears a flag of a span's pages. The caller owns the span.
    pub(crate) fn set_page_flag(&self, span: &Span, flag: u32, on: bool) {
        let first = self.page_of(span.base()).expect("a span lies in the heap");
        for page in first.index()..first.index() + span.pages() {
            let place = self.page_info_place(PageId(page as u32));
            // Relaxed load: the owner alone writes it.
            let entry = place.load(Relaxed) & !flag;
            // Release: pairs with the Acquire in `page_info`, and in the marker's.
            place.store(if on { entry | flag } else { entry }, Release);
        }
    }
}

/// A bit for each cell of a word below the cell of this number.
fn below(cell: usize, word: usize) -> u64 {
    match cell.saturating_sub(word * 64) {
        cells @ 0..64 => (1 << cells) - 1,
        _ => u64::MAX,
    }
}

/// Between making newborns survivors and anything by which they were known as
/// newborn: who sees the latter gone sees the former.
#[inline]
pub(crate) fn fence_before_forgetting() {
    // Pairs with the fence in `look_again`.
    model::fence(Release);
}

/// Asks once more whether a cell survived, after it was found to be neither
/// survivor nor newborn: it may have changed from one to the other.
#[inline]
pub(crate) fn look_again(survived: impl FnOnce() -> bool) -> bool {
    // Pairs with the fence in `fence_before_forgetting`.
    model::fence(Acquire);
    survived()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_below_a_number_are_the_first() {
        for cell in 0..200 {
            for word in 0..3 {
                let expected = (0..64)
                    .filter(|bit| word * 64 + bit < cell)
                    .fold(0, |bits: u64, bit| bits | 1 << bit);
                assert_eq!(below(cell, word), expected, "cell {cell}, word {word}");
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use crate::base::sync::model::AtomicU64;
    use loom::sync::Arc;
    use loom::thread;

    /// One span with one newborn cell: the words by which it is known.
    struct Model {
        survivors: AtomicU64,
        free_index: AtomicU64,
    }

    impl Model {
        /// As `Space::sweep_span`.
        fn sweep(&self) {
            self.survivors.store(1, Relaxed);
            fence_before_forgetting();
            self.free_index.store(0, Relaxed);
        }

        /// As `Space::is_allocated`.
        fn is_allocated(&self) -> bool {
            let survived = || self.survivors.load(Relaxed) & 1 != 0;
            survived() || self.free_index.load(Relaxed) > 0 || look_again(survived)
        }
    }

    /// An object that somebody has is found while its span is swept.
    #[test]
    fn loom_a_newborn_is_found_while_it_becomes_a_survivor() {
        loom::model(|| {
            let model =
                Arc::new(Model { survivors: AtomicU64::new(0), free_index: AtomicU64::new(1) });
            let sweeper = model.clone();
            let sweeper = thread::spawn(move || sweeper.sweep());
            assert!(model.is_allocated());
            sweeper.join().unwrap();
        });
    }

    /// The way a newborn comes to the marker: what its span notes, the flag of its
    /// page, the slot that refers to it.
    struct Published {
        from: AtomicU64,
        flag: AtomicU64,
        slot: AtomicU64,
    }

    impl Published {
        /// As `note_newborns`, allocation, and `Mutator::write`.
        fn allocate_and_store(&self) {
            self.from.store(7, Relaxed);
            self.flag.store(1, Release);
            self.slot.store(1, Release);
        }

        /// As `Marker::visit`: from which cell on there are newborns, as the
        /// marker sees it, if it has the reference.
        fn visit(&self) -> Option<u64> {
            if self.slot.load(Acquire) == 0 {
                return None;
            }
            assert_eq!(self.flag.load(Acquire), 1, "a newborn is taken for an old object");
            Some(self.from.load(Relaxed))
        }
    }

    /// Whoever has a reference to a newborn knows it for one; a second mutator
    /// that passes it on changes nothing.
    #[test]
    fn loom_a_marker_knows_a_newborn() {
        loom::model(|| {
            let word = || AtomicU64::new(0);
            let model = Arc::new(Published { from: word(), flag: word(), slot: word() });
            let passed_on = Arc::new(AtomicU64::new(0));
            let mutator = {
                let model = model.clone();
                thread::spawn(move || model.allocate_and_store())
            };
            let other = {
                let (model, passed_on) = (model.clone(), passed_on.clone());
                thread::spawn(move || {
                    if model.slot.load(Acquire) != 0 {
                        passed_on.store(1, Release);
                    }
                })
            };
            assert!(matches!(model.visit(), None | Some(7)));
            if passed_on.load(Acquire) != 0 {
                assert_eq!(model.visit(), Some(7), "found in the other's slot");
            }
            mutator.join().unwrap();
            other.join().unwrap();
        });
    }
}
