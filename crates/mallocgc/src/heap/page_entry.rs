//! What the page tables say of one page: in four bytes what a marker wants to
//! know, in four more the span's record.
//!
//! Anyone may ask about any page while spans come and go. Who reads an entry
//! sees the record that it names described, by this span or by a later one
//! that took the record over; never as memory that was not a span yet. The two
//! entries may speak of two spans, one gone and one that came after it, and so
//! may the fields of a record: an asker who does not know that an object keeps
//! the span must be content with a wrong answer, and memory-safe with it.
//!
//! Protection: written by whoever makes or frees the span; atomics only, and
//! `loom_models` below has every order of events. A marker runs while nobody
//! makes or frees spans, and reads the table plainly (`Space::page_info_table`).

use crate::base::sync::Ordering::{Acquire, Relaxed, Release};
use crate::base::sync::model::AtomicU32;
use crate::heap::span::{PageInfo, SpanId};

/// The two entries of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageEntry<'t> {
    pub(crate) info: &'t AtomicU32,
    pub(crate) span: &'t AtomicU32,
}

impl PageEntry<'_> {
    /// Enters a span whose record is described.
    pub(crate) fn publish(self, info: PageInfo, id: SpanId) {
        // Release, both: pair with the Acquires below. The second is needed
        // for readers who still see the information of the span before.
        self.span.store(id.get(), Release);
        self.info.store(info.0, Release);
    }

    /// Says that the page is in no span.
    pub(crate) fn withdraw(self) {
        // Relaxed: who still sees the span may see it for a while.
        self.info.store(PageInfo::NONE.0, Relaxed);
    }

    /// What a marker wants to know.
    #[inline]
    pub(crate) fn info(self) -> PageInfo {
        // Acquire: pairs with the Release in `publish`.
        PageInfo(self.info.load(Acquire))
    }

    /// The span's record, if the page is in a span.
    #[inline]
    pub(crate) fn span(self) -> Option<SpanId> {
        if self.info() == PageInfo::NONE {
            return None;
        }
        // Acquire: pairs with the Release in `publish`.
        SpanId::new(self.span.load(Acquire))
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use crate::base::sync::model::AtomicUsize;
    use loom::sync::Arc;
    use loom::thread;

    /// One page, and two span records; a field that is zero until described.
    struct Model {
        info: AtomicU32,
        span: AtomicU32,
        bases: [AtomicUsize; 2],
    }

    impl Model {
        fn new() -> Arc<Model> {
            Arc::new(Model {
                info: AtomicU32::new(0),
                span: AtomicU32::new(0),
                bases: [AtomicUsize::new(0), AtomicUsize::new(0)],
            })
        }

        fn entry(&self) -> PageEntry<'_> {
            PageEntry { info: &self.info, span: &self.span }
        }

        fn make_span(&self, record: usize, base: usize) {
            // Relaxed: as `Span::describe`.
            self.bases[record].store(base, Relaxed);
            let id = SpanId::new(record as u32 + 1).unwrap();
            self.entry().publish(PageInfo(PageInfo::PRESENT), id);
        }

        /// The base of the page's span.
        fn look(&self) -> Option<usize> {
            let id = self.entry().span()?;
            Some(self.bases[id.get() as usize - 1].load(Relaxed))
        }
    }

    /// A page changes hands beside somebody who asks: it sees no record before
    /// it was described.
    #[test]
    fn loom_a_page_names_described_spans_only() {
        loom::model(|| {
            let model = Model::new();
            let asker = model.clone();
            let asker = thread::spawn(move || asker.look());
            model.make_span(0, 7);
            model.entry().withdraw();
            model.make_span(1, 8);
            let seen = asker.join().unwrap();
            assert!(matches!(seen, None | Some(7 | 8)), "{seen:?}");
        });
    }
}
