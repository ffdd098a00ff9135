//! Spans of one span class that no cache holds.
//!
//! Four lists: spans not yet swept in this cycle, swept spans with free
//! cells, sparse ones among them that nobody has allocated from, swept spans
//! without free cells. A span is in one of them, in a cache, or with
//! the sweeper that popped it. A cycle turns every list into the unswept one
//! without visiting it: the lists carry the sweep generation they were made
//! in, and the first to look at them in a new one moves them together.
//!
//! Protection: the lists are behind the central lock; a popped span belongs
//! to who popped it.

use crate::base::sync::{Lock, LockGuard, Ordering::Relaxed, Rank};
use crate::heap::space::Space;
use crate::heap::span::{Span, SpanId};

/// A list of spans linked through their records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanList {
    head: Option<SpanId>,
    tail: Option<SpanId>,
}

impl SpanList {
    pub(crate) const EMPTY: SpanList = SpanList { head: None, tail: None };

    pub(crate) fn push(&mut self, space: &Space, id: SpanId) {
        space.span(id).set_next(None);
        match self.tail {
            Some(tail) => space.span(tail).set_next(Some(id)),
            None => self.head = Some(id),
        }
        self.tail = Some(id);
    }

    pub(crate) fn pop(&mut self, space: &Space) -> Option<SpanId> {
        let id = self.head?;
        self.head = space.span(id).next();
        if self.head.is_none() {
            self.tail = None;
        }
        Some(id)
    }

    fn append(&mut self, space: &Space, other: &mut SpanList) {
        let Some(head) = other.head else { return };
        match self.tail {
            Some(tail) => space.span(tail).set_next(Some(head)),
            None => self.head = Some(head),
        }
        self.tail = other.tail;
        *other = SpanList::EMPTY;
    }

    fn iter<'s>(&self, space: &'s Space) -> impl Iterator<Item = (SpanId, &'s Span)> {
        let mut at = self.head;
        core::iter::from_fn(move || {
            let id = at?;
            let span = space.span(id);
            at = span.next();
            Some((id, span))
        })
    }
}

#[derive(Debug)]
pub(crate) struct Lists {
    generation: u32,
    unswept: SpanList,
    partial: SpanList,
    sparse: SpanList,
    full: SpanList,
}

/// Spans of one span class that no cache holds.
#[repr(align(64))]
#[derive(Debug)]
pub struct Central {
    lists: Lock<Lists>,
}

/// A span taken from a central list, and whether it still must be swept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Popped {
    Swept(SpanId),
    Unswept(SpanId),
}

impl Central {
    pub(crate) fn new() -> Central {
        let lists = Lists {
            generation: 0,
            unswept: SpanList::EMPTY,
            partial: SpanList::EMPTY,
            sparse: SpanList::EMPTY,
            full: SpanList::EMPTY,
        };
        Central { lists: Lock::new(Rank::Central, lists) }
    }

    /// The lists, as of this sweep generation.
    #[inline(always)]
    fn lock<'c>(&'c self, space: &Space) -> LockGuard<'c, Lists> {
        let mut lists = self.lists.lock();
        let now = space.sweep_generation();
        if lists.generation != now {
            let Lists { unswept, partial, sparse, full, .. } = &mut *lists;
            // A cycle begins only when the last one's sweep is finished.
            debug_assert!(unswept.head.is_none(), "a span missed a cycle's sweep");
            unswept.append(space, partial);
            unswept.append(space, sparse);
            unswept.append(space, full);
            lists.generation = now;
        }
        lists
    }

    /// A span that has free cells, or may have when swept.
    pub(crate) fn pop(&self, space: &Space) -> Option<Popped> {
        let mut lists = self.lock(space);
        if let Some(id) = lists.partial.pop(space) {
            return Some(Popped::Swept(id));
        }
        if let Some(id) = pop_sparse(&mut lists, space) {
            return Some(Popped::Swept(id));
        }
        lists.unswept.pop(space).map(Popped::Unswept)
    }

    /// A span not yet swept in this cycle.
    pub(crate) fn pop_unswept(&self, space: &Space) -> Option<SpanId> {
        self.lock(space).unswept.pop(space)
    }

    /// A span that the class has turned away from: few of its cells are taken,
    /// and none was in this cycle.
    pub(crate) fn pop_sparse(&self, space: &Space) -> Option<SpanId> {
        pop_sparse(&mut self.lock(space), space)
    }

    /// Takes such a span back, just swept.
    pub(crate) fn push_sparse(&self, space: &Space, id: SpanId) {
        let mut lists = self.lock(space);
        lists.sparse.push(space, id);
        // Relaxed, here and below: a hint, exact under no lock.
        space.sparse_spans.fetch_add(1, Relaxed);
    }

    /// Takes a swept span back.
    pub(crate) fn push(&self, space: &Space, id: SpanId) {
        let span = space.span(id);
        debug_assert_eq!(span.swept(), space.sweep_generation());
        let mut lists = self.lock(space);
        if span.taken() < span.cells() {
            lists.partial.push(space, id);
        } else {
            lists.full.push(space, id);
        }
    }

    /// Calls `visit` with every span in the lists, under the lock.
    pub(crate) fn for_each(&self, space: &Space, mut visit: impl FnMut(SpanId, &Span)) {
        let lists = self.lock(space);
        for list in [&lists.unswept, &lists.partial, &lists.sparse, &lists.full] {
            for (id, span) in list.iter(space) {
                visit(id, span);
            }
        }
    }
}

fn pop_sparse(lists: &mut Lists, space: &Space) -> Option<SpanId> {
    let id = lists.sparse.pop(space)?;
    space.sparse_spans.fetch_sub(1, Relaxed);
    Some(id)
}
