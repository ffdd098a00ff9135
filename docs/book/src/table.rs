//! Hash tables, in the heap and nowhere else. Chapter 7.

use crate::machine::Run;
use crate::primitive::Primitive;
use crate::value::{Outcome, Value, cons, wrong};
use mallocgc::typed::{Cx, Gc, Lock, Trace};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Keys and values. Keys are found by identity, texts by what they say.
#[derive(Trace)]
pub struct Table<'gc> {
    /// A power of two of them; a quarter is free at least.
    entries: Lock<Gc<'gc, [Lock<Entry<'gc>>]>>,
    /// Those not free, and those full.
    taken: Lock<usize>,
    full: Lock<usize>,
}

#[derive(Clone, Copy, Trace)]
enum Entry<'gc> {
    Free,
    /// Was full.
    Gone,
    Full(Value<'gc>, Value<'gc>),
}

/// Entries of a table that is new.
const LEAST: usize = 8;

fn hash(key: Value<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match key {
        Value::Number(number) => number.hash(&mut hasher),
        Value::Text(text) => text.text.hash(&mut hasher),
        // An object stays where it is, and the table keeps it alive.
        other => other.address().hash(&mut hasher),
    }
    hasher.finish()
}

fn same<'gc>(a: Value<'gc>, b: Value<'gc>) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.text == b.text,
        (a, b) => a.is(b),
    }
}

/// So many free entries.
fn entries<'gc>(cx: &Cx<'gc>, count: usize) -> Outcome<'gc, Gc<'gc, [Lock<Entry<'gc>>]>> {
    Ok(Gc::try_from_iter(cx, std::iter::repeat_with(|| Lock::new(Entry::Free)).take(count))?)
}

impl<'gc> Table<'gc> {
    pub fn new(cx: &Cx<'gc>) -> Outcome<'gc, Table<'gc>> {
        Ok(Table {
            entries: Lock::new(entries(cx, LEAST)?),
            taken: Lock::new(0),
            full: Lock::new(0),
        })
    }

    /// Where a key is, or else the first free place.
    fn find(entries: &[Lock<Entry<'gc>>], key: Value<'gc>) -> (usize, Option<Value<'gc>>) {
        let mask = entries.len() - 1;
        let mut at = hash(key) as usize & mask;
        loop {
            match entries[at].get() {
                Entry::Full(known, value) if same(known, key) => return (at, Some(value)),
                Entry::Free => return (at, None),
                _ => at = (at + 1) & mask,
            }
        }
    }

    pub fn get(&self, key: Value<'gc>) -> Option<Value<'gc>> {
        Table::find(self.entries.get().as_ref(), key).1
    }

    pub fn set(&self, cx: &Cx<'gc>, key: Value<'gc>, value: Value<'gc>) -> Outcome<'gc, ()> {
        let (mut at, known) = Table::find(self.entries.get().as_ref(), key);
        if known.is_none() {
            if (self.taken.get() + 1) * 4 > self.entries.get().len() * 3 {
                self.grow(cx)?;
                (at, _) = Table::find(self.entries.get().as_ref(), key);
            }
            self.taken.set(cx, self.taken.get() + 1);
            self.full.set(cx, self.full.get() + 1);
        }
        self.entries.get()[at].set(cx, Entry::Full(key, value));
        Ok(())
    }

    pub fn remove(&self, cx: &Cx<'gc>, key: Value<'gc>) {
        let entries = self.entries.get();
        if let (at, Some(_)) = Table::find(&entries, key) {
            entries[at].set(cx, Entry::Gone);
            self.full.set(cx, self.full.get() - 1);
        }
    }

    /// Makes room, and leaves behind what is gone. Nothing changes when there is no memory.
    fn grow(&self, cx: &Cx<'gc>) -> Outcome<'gc, ()> {
        let larger = entries(cx, ((self.full.get() + 1) * 2).next_power_of_two().max(LEAST))?;
        for (key, value) in self.pairs() {
            let (at, _) = Table::find(&larger, key);
            larger[at].set(cx, Entry::Full(key, value));
        }
        self.entries.set(cx, larger);
        self.taken.set(cx, self.full.get());
        Ok(())
    }

    fn pairs(&self) -> impl Iterator<Item = (Value<'gc>, Value<'gc>)> {
        self.entries.get().as_ref().iter().filter_map(|entry| match entry.get() {
            Entry::Full(key, value) => Some((key, value)),
            _ => None,
        })
    }
}

fn table<'gc>(value: Value<'gc>) -> Outcome<'gc, &'gc Table<'gc>> {
    match value {
        Value::Table(table) => Ok(table.as_ref()),
        other => wrong("not a table:", other),
    }
}

pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("make-table", 0, 0, |run, _| {
        Ok(Value::Table(Gc::try_new(run.cx, Table::new(run.cx)?)?))
    }),
    Primitive::plain("table-set!", 3, 3, |run, arguments| {
        table(arguments[0])?.set(run.cx, arguments[1], arguments[2])?;
        Ok(Value::Nothing)
    }),
    Primitive::plain("table-ref", 3, 3, |_, arguments| {
        Ok(table(arguments[0])?.get(arguments[1]).unwrap_or(arguments[2]))
    }),
    Primitive::plain("table-remove!", 2, 2, |run, arguments| {
        table(arguments[0])?.remove(run.cx, arguments[1]);
        Ok(Value::Nothing)
    }),
    Primitive::plain("table-count", 1, 1, |_, arguments| {
        Ok(Value::Number(table(arguments[0])?.full.get() as i64))
    }),
    Primitive::plain("table->list", 1, 1, |run, arguments| pairs(run, table(arguments[0])?)),
];

/// The keys and values as a list of pairs.
fn pairs<'gc>(run: Run<'_, 'gc>, table: &'gc Table<'gc>) -> Outcome<'gc> {
    table
        .pairs()
        .try_fold(Value::Nil, |rest, (key, value)| cons(run.cx, cons(run.cx, key, value)?, rest))
}
