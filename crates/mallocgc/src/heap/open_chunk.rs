//! The open chunk of a cursor, and whether a cell is still in it.
//!
//! Cells below a span's `free_index` have been handed out, all but those in
//! the open chunk of the cursor that holds the span. Its owner moves on at any
//! time, within the span or to another one, while others ask about a cell. So
//! who asks reads the holder, then the chunk, and then the holder again: if it
//! is another, what was read may be the ends of two chunks, of which neither
//! is on this span. Within a span chunks only move up, over survivors too. So the
//! begin of a chunk is written before its end and read after it: of the ends of two
//! chunks nothing lies between. Thus of a cell that the asker has the answer is exact,
//! whether it was handed out from here or survived.
//!
//! Protection: written by the owner of the cache, or by the collector while
//! that is stopped; `loom_models` below has every order of events.

use crate::base::sync::Ordering::{Acquire, Relaxed, Release};
use crate::base::sync::model::{AtomicPtr, AtomicUsize, fence};

/// Cells that are cut off but not handed out: from `next` to `limit`.
///
/// All zero is one with nothing to give.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct OpenChunk {
    next: AtomicUsize,
    limit: AtomicUsize,
}

impl OpenChunk {
    /// Where the next cell is.
    #[inline(always)]
    pub(crate) fn next(&self) -> usize {
        // Relaxed, here and below: for the owner there is no other writer;
        // others validate what they read (`ChunkHolder`).
        self.next.load(Relaxed)
    }

    /// Where the cells end.
    #[inline(always)]
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Whether a cell is among those to be handed out, as anybody may ask.
    #[inline]
    fn contains(&self, cell: usize) -> bool {
        // Acquire: pairs with the Release in `open`: who sees a chunk's end sees its begin, or a
        // later one.
        let limit = self.limit.load(Acquire);
        self.next.load(Relaxed) <= cell && cell < limit
    }

    /// Hands out the cells below `next`.
    #[inline(always)]
    pub(crate) fn advance(&self, next: usize) {
        self.next.store(next, Relaxed);
    }

    /// Opens the cells from `first` to `limit`.
    pub(crate) fn open(&self, first: usize, limit: usize) {
        self.next.store(first, Relaxed);
        // Release: pairs with the Acquire in `contains`.
        self.limit.store(limit, Release);
    }

    /// Leaves nothing to give.
    pub(crate) fn close(&self) {
        self.open(0, 0);
    }
}

/// In a span's record: the open chunk that is on the span, if there is one.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct ChunkHolder(AtomicPtr<OpenChunk>);

impl ChunkHolder {
    /// Nobody holds the span: it is new.
    pub(crate) fn clear(&self) {
        // Relaxed: what publishes the record publishes this.
        self.0.store(core::ptr::null_mut(), Relaxed);
    }

    /// Whether a cursor holds the span.
    pub(crate) fn is_held(&self) -> bool {
        !self.0.load(Relaxed).is_null()
    }

    /// A closed chunk comes to the span.
    pub(crate) fn hold(&self, chunk: &OpenChunk) {
        // Release: pairs with the Acquire in `withholds`, so that the chunk is
        // seen as it was when it came here, or later.
        self.0.store(core::ptr::from_ref(chunk).cast_mut(), Release);
    }

    /// The chunk leaves the span; only then it is changed.
    pub(crate) fn release(&self) {
        self.0.store(core::ptr::null_mut(), Relaxed);
        // Pairs with the fence in `withholds`: who reads any later value of
        // the chunk sees that it has left.
        fence(Release);
    }

    /// Whether a cell below the span's `free_index` is still to be handed out.
    ///
    /// # Safety
    ///
    /// Chunks that ever held the span are still there.
    pub(crate) unsafe fn withholds(&self, cell: usize) -> bool {
        loop {
            // Acquire: pairs with the Release in `hold`.
            let holder = self.0.load(Acquire);
            // SAFETY: the caller's promise.
            let Some(chunk) = (unsafe { holder.as_ref() }) else { return false };
            let is_withheld = chunk.contains(cell);
            // Pairs with the fence in `release`.
            fence(Acquire);
            // Relaxed: ordered by the fence.
            if self.0.load(Relaxed) == holder {
                return is_withheld;
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A cursor's chunk and two spans of two cells; the second lies below the
    /// first, and there is nothing else.
    struct Model {
        chunk: OpenChunk,
        holders: [ChunkHolder; 2],
    }

    const FIRST: usize = 0x300;
    const SECOND: usize = 0x100;

    impl Model {
        fn new() -> Arc<Model> {
            let chunk = OpenChunk { next: AtomicUsize::new(0), limit: AtomicUsize::new(0) };
            let holder = || ChunkHolder(AtomicPtr::new(core::ptr::null_mut()));
            Arc::new(Model { chunk, holders: [holder(), holder()] })
        }

        fn take(&self) {
            assert_ne!(self.chunk.next(), self.chunk.limit());
            self.chunk.advance(self.chunk.next() + 1);
        }

        fn move_on(&self) {
            self.holders[0].release();
            self.chunk.close();
            self.holders[1].hold(&self.chunk);
            self.chunk.open(SECOND, SECOND + 2);
            self.take();
        }

        fn withholds(&self, span: usize, cell: usize) -> bool {
            // SAFETY: the chunk is in the model.
            unsafe { self.holders[span].withholds(cell) }
        }
    }

    /// An object is one for whoever has it, while its allocator goes on: in the
    /// same chunk, in the next, in another span.
    #[test]
    fn loom_an_object_is_found_beside_its_allocator() {
        loom::model(|| {
            let model = Model::new();
            model.holders[0].hold(&model.chunk);
            model.chunk.open(FIRST, FIRST + 2);
            model.take();
            let asker = model.clone();
            let asker = thread::spawn(move || {
                assert!(!asker.withholds(0, FIRST), "an object was taken for a free cell");
            });
            model.take();
            model.chunk.open(FIRST + 2, FIRST + 3);
            model.take();
            model.move_on();
            asker.join().unwrap();
        });
    }

    /// A survivor between two holes is none of the cells that are handed out around it.
    #[test]
    fn loom_a_survivor_is_found_while_a_chunk_passes_it() {
        loom::model(|| {
            let model = Model::new();
            model.holders[0].hold(&model.chunk);
            model.chunk.open(FIRST, FIRST + 1);
            let asker = model.clone();
            let asker = thread::spawn(move || {
                assert!(!asker.withholds(0, FIRST + 1), "a survivor was taken for a free cell");
            });
            model.take();
            // The next hole begins behind the survivor.
            model.chunk.open(FIRST + 2, FIRST + 3);
            model.take();
            model.move_on();
            asker.join().unwrap();
        });
    }

    /// What nobody can have yet is withheld, unless the chunk has left.
    #[test]
    fn loom_a_cell_ahead_of_the_cursor_is_withheld() {
        loom::model(|| {
            let model = Model::new();
            model.holders[0].hold(&model.chunk);
            model.chunk.open(FIRST, FIRST + 2);
            let asker = model.clone();
            let asker = thread::spawn(move || assert!(asker.withholds(0, FIRST + 1)));
            model.take();
            asker.join().unwrap();
        });
    }
}
