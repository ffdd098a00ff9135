//! The kinds of objects that a thread has allocated, with what an allocation needs to know of each.
//!
//! A table with open addressing. At which place a search for a kind begins is a constant where references are described by a
//! mask, so that an allocation mostly is one comparison, of a word at a known place. The table does not grow: of what comes when it
//! is nearly full the layout is looked up in the heap each time.

use crate::heap::cache::ClassCursor;
use crate::heap::layouts::LayoutRecord;
use crate::raw::Layout;
use crate::typed::plan::{Identity, Key};
use ::core::cell::Cell;

/// Places of the table.
const PLACES: usize = 256;

/// One kind, in a heap.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) identity: Identity,
    /// That of the class, if objects are not too large for one; else it must not be asked.
    pub(super) cursor: ClassCursor,
    record: *const LayoutRecord,
}

impl Known {
    const NONE: Known =
        Known { identity: Identity::NONE, cursor: ClassCursor::NONE, record: ::core::ptr::null() };

    pub(super) fn new(identity: Identity, cursor: ClassCursor, layout: Layout) -> Known {
        Known { identity, cursor, record: layout.record }
    }

    /// The layout, whose size nobody asks for.
    #[inline(always)]
    pub(super) fn layout(&self, heap: u64) -> Layout {
        let heap = if self.record.is_null() { Layout::NOSCAN.heap } else { heap };
        Layout::of_parts(self.record, heap)
    }
}

/// The table.
pub(super) struct Kinds {
    places: Box<[Cell<Known>; PLACES]>,
    count: Cell<usize>,
}

impl Kinds {
    pub(super) fn new() -> Kinds {
        Kinds { places: Box::new([const { Cell::new(Known::NONE) }; PLACES]), count: Cell::new(0) }
    }

    /// A kind, if it is where it is looked for first: nearly always.
    #[inline(always)]
    pub(super) fn at_once(&self, key: &Key) -> Option<Known> {
        let known = self.places[key.hash() % PLACES].get();
        key.is(known.identity).then_some(known)
    }

    /// A kind, wherever it is.
    pub(super) fn find(&self, key: &Key) -> Option<Known> {
        let mut place = key.hash() % PLACES;
        loop {
            let known = self.places[place].get();
            if key.is(known.identity) {
                return Some(known);
            }
            if known.identity == Identity::NONE {
                return None;
            }
            place = (place + 1) % PLACES;
        }
    }

    /// Takes a kind in that is not there, if there is room.
    pub(super) fn insert(&self, key: &Key, known: Known) {
        // Searches end at a free place, and soon.
        if self.count.get() == PLACES / 4 * 3 {
            return;
        }
        self.count.set(self.count.get() + 1);
        let mut place = key.hash() % PLACES;
        while self.places[place].get().identity != Identity::NONE {
            place = (place + 1) % PLACES;
        }
        self.places[place].set(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::plan::Form;

    #[test]
    fn kinds_are_found_until_the_table_is_full() {
        let kinds = Kinds::new();
        let key = |i: usize| Key { form: Form::Mask(i as u64), bytes: 512 };
        let room = PLACES / 4 * 3;
        for i in 0..PLACES {
            assert!(kinds.find(&key(i)).is_none());
            let known = Known::new(key(i).identity(), ClassCursor::NONE, Layout::NOSCAN);
            kinds.insert(&key(i), known);
            assert_eq!(kinds.find(&key(i)).is_some(), i < room, "{i}");
        }
        let at_once = |i: &usize| kinds.at_once(&key(*i)).is_some();
        assert!((0..room).all(|i| kinds.find(&key(i)).is_some()));
        assert!((0..room).filter(at_once).count() > room / 4);
        assert!(!(room..PLACES).any(|i| at_once(&i)));
    }
}
