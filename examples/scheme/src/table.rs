//! Hash tables. All of one is in the heap, so that its memory counts against the limit and nothing has to be dropped.

use crate::equal::{hash, is_equal};
use crate::value::{Outcome, Value};
use mallocgc::typed::{Cx, Gc, Lock, Trace};

/// Keys are found by `eqv?` or by `equal?`.
#[derive(Trace)]
pub(crate) struct Table<'gc> {
    by_equal: bool,
    /// A power of two of them; a quarter is free at least.
    entries: Lock<Entries<'gc>>,
    /// Those that are not free, and those that are full.
    taken: Lock<usize>,
    full: Lock<usize>,
}

type Entries<'gc> = Gc<'gc, [Lock<Entry<'gc>>]>;

#[derive(Clone, Copy, Trace)]
enum Entry<'gc> {
    Free,
    /// Was full.
    Gone,
    Full(Full<'gc>),
}

#[derive(Clone, Copy, Trace)]
struct Full<'gc> {
    hash: u64,
    key: Value<'gc>,
    value: Value<'gc>,
}

/// Entries of a table that is new.
const LEAST_ENTRIES: usize = 8;

fn free<'gc>(cx: &Cx<'gc>, count: usize) -> Outcome<'gc, Entries<'gc>> {
    let entries = std::iter::repeat_n(Entry::Free, count).map(Lock::new);
    Ok(Gc::try_from_iter(cx, entries)?)
}

impl<'gc> Table<'gc> {
    pub(crate) fn new(cx: &Cx<'gc>, by_equal: bool) -> Outcome<'gc, Table<'gc>> {
        let entries = Lock::new(free(cx, LEAST_ENTRIES)?);
        Ok(Table { by_equal, entries, taken: Lock::new(0), full: Lock::new(0) })
    }

    /// Where a key is, or else where the search for it ends.
    fn find(&self, hash: u64, key: Value<'gc>) -> (usize, Option<Value<'gc>>) {
        let entries = self.entries.get().as_ref();
        let mask = entries.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match entries[at].get() {
                Entry::Full(full) if full.hash == hash && self.is_key(full.key, key) => {
                    return (at, Some(full.value));
                }
                Entry::Free => return (at, None),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn is_key(&self, a: Value<'gc>, b: Value<'gc>) -> bool {
        if self.by_equal { is_equal(a, b) } else { a.is_equivalent(b) }
    }

    pub(crate) fn count(&self) -> usize {
        self.full.get()
    }

    pub(crate) fn get(&self, key: Value<'gc>) -> Option<Value<'gc>> {
        self.find(hash(key, self.by_equal), key).1
    }

    /// Sets the value of a key. When there is no memory nothing has changed.
    pub(crate) fn set(&self, cx: &Cx<'gc>, key: Value<'gc>, value: Value<'gc>) -> Outcome<'gc, ()> {
        let hash = hash(key, self.by_equal);
        let (mut at, known) = self.find(hash, key);
        if known.is_none() {
            if (self.taken.get() + 1) * 4 > self.entries.get().len() * 3 {
                self.grow(cx)?;
                at = self.find(hash, key).0;
            }
            self.taken.set(cx, self.taken.get() + 1);
            self.full.set(cx, self.full.get() + 1);
        }
        self.entries.get()[at].set(cx, Entry::Full(Full { hash, key, value }));
        Ok(())
    }

    pub(crate) fn remove(&self, cx: &Cx<'gc>, key: Value<'gc>) {
        if let (at, Some(_)) = self.find(hash(key, self.by_equal), key) {
            self.entries.get()[at].set(cx, Entry::Gone);
            self.full.set(cx, self.full.get() - 1);
        }
    }

    pub(crate) fn clear(&self, cx: &Cx<'gc>) -> Outcome<'gc, ()> {
        self.entries.set(cx, free(cx, LEAST_ENTRIES)?);
        self.taken.set(cx, 0);
        self.full.set(cx, 0);
        Ok(())
    }

    /// Makes room, and leaves behind what is gone.
    fn grow(&self, cx: &Cx<'gc>) -> Outcome<'gc, ()> {
        let count = ((self.full.get() + 1) * 2).next_power_of_two().max(LEAST_ENTRIES);
        let larger = free(cx, count)?;
        let mask = count - 1;
        for full in self.all() {
            let mut at = full.hash as usize & mask;
            while !matches!(larger[at].get(), Entry::Free) {
                at = (at + 1) & mask;
            }
            larger[at].set(cx, Entry::Full(full));
        }
        self.entries.set(cx, larger);
        self.taken.set(cx, self.full.get());
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = Full<'gc>> {
        self.entries.get().as_ref().iter().filter_map(|entry| match entry.get() {
            Entry::Full(full) => Some(full),
            _ => None,
        })
    }

    /// Keys and values, in no order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (Value<'gc>, Value<'gc>)> {
        self.all().map(|full| (full.key, full.value))
    }
}
