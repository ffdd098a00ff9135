//! Records whose time has come, in the order in which the collector found
//! them: one queue of finalizers, one of cleanups.
//!
//! What is queued is a root until it has run: the objects of finalizers, the
//! arguments of cleanups. What was taken stays here, in the list of what runs,
//! until it is reported; so nothing that its function does to the mutator, and no
//! panic, takes an object from under another.
//!
//! Protection: the queue lock. No user code runs under it.

use crate::base::Address;
use crate::base::sync::{Lock, Rank, Signal};
use crate::heap::special::record::{Kind, RecordId, Records};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct State {
    head: Option<RecordId>,
    tail: Option<RecordId>,
    len: usize,
    /// Records taken and not yet finished, linked. What was taken at once is
    /// together: takers link before the head, and unlink what they linked.
    running: Option<RecordId>,
    running_len: usize,
    closed: bool,
    /// Ever appended, and ever finished.
    queued: u64,
    executed: u64,
    panicked: u64,
}

/// Counts of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    /// Records ever queued.
    pub queued: u64,
    /// Of those, the ones whose function has returned or panicked.
    pub executed: u64,
    /// Of those, the ones that panicked.
    pub panicked: u64,
    /// Waiting or running now.
    pub pending: u64,
}

impl core::ops::Add for QueueCounts {
    type Output = QueueCounts;

    fn add(self, other: QueueCounts) -> QueueCounts {
        QueueCounts {
            queued: self.queued + other.queued,
            executed: self.executed + other.executed,
            panicked: self.panicked + other.panicked,
            pending: self.pending + other.pending,
        }
    }
}

/// A queue of finalizers or cleanups.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Lock<State>,
    /// Something was queued, or the queue was closed.
    work: Signal,
    /// Nothing waits or runs any more.
    idle: Signal,
}

/// A list of records, linked.
#[derive(Debug, Default)]
pub(super) struct Chain {
    head: Option<RecordId>,
    tail: Option<RecordId>,
    len: usize,
}

impl Chain {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, records: &Records, id: RecordId) {
        records.get(id).set_next(None);
        match self.tail {
            Some(tail) => records.get(tail).set_next(Some(id)),
            None => self.head = Some(id),
        }
        self.tail = Some(id);
        self.len += 1;
    }
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            state: Lock::new(Rank::Queue, State::default()),
            work: Signal::new(),
            idle: Signal::new(),
        }
    }

    /// Appends a chain and wakes who waits for work.
    pub(super) fn append(&self, records: &Records, chain: Chain) {
        if chain.head.is_none() {
            return;
        }
        let mut state = self.state.lock();
        match state.tail {
            Some(tail) => records.get(tail).set_next(chain.head),
            None => state.head = chain.head,
        }
        state.tail = chain.tail;
        state.len += chain.len;
        state.queued += chain.len as u64;
        self.work.notify_one();
    }

    /// Takes up to as many records as `batch` has places; returns how many.
    pub(crate) fn take(&self, records: &Records, batch: &mut [Option<RecordId>]) -> usize {
        let mut state = self.state.lock();
        let (first, mut last) = (state.head, None);
        let mut taken = 0;
        while taken < batch.len()
            && let Some(id) = state.head
        {
            batch[taken] = Some(id);
            last = Some(id);
            state.head = records.get(id).next();
            taken += 1;
        }
        let Some(last) = last else { return 0 };
        if state.head.is_none() {
            state.tail = None;
        }
        records.get(last).set_next(state.running);
        state.running = first;
        state.len -= taken;
        state.running_len += taken;
        taken
    }

    /// Reports what became of all that was taken at once: the first `through`
    /// have run, of which `panicked` panicked; the others are queued again,
    /// before all else. What is through is the caller's.
    pub(crate) fn finish(
        &self,
        records: &Records,
        batch: &[Option<RecordId>],
        through: usize,
        panicked: usize,
    ) {
        let ([Some(first), .., Some(last)] | [Some(first @ last)]) = *batch else { return };
        let mut state = self.state.lock();
        let after = records.get(last).next();
        if state.running == Some(first) {
            state.running = after;
        } else {
            let mut at = state.running;
            while let Some(id) = at {
                at = records.get(id).next();
                if at == Some(first) {
                    records.get(id).set_next(after);
                    break;
                }
            }
            debug_assert!(at.is_some(), "what was taken is in the list of what runs");
        }
        if let Some(&left) = batch.get(through) {
            records.get(last).set_next(state.head);
            if state.head.is_none() {
                state.tail = Some(last);
            }
            state.head = left;
            state.len += batch.len() - through;
            self.work.notify_one();
        }
        state.running_len -= batch.len();
        state.executed += through as u64;
        state.panicked += panicked as u64;
        if state.running_len == 0 && state.len == 0 {
            self.idle.notify_all();
        }
    }

    /// Waits for work; `false` when the queue is closed.
    pub(crate) fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        while state.len == 0 && !state.closed {
            self.work.wait(&mut state);
        }
        !state.closed
    }

    /// Waits until nothing waits or runs; `false` when the time is over. A limit
    /// that no clock can hold is none.
    pub(crate) fn wait_until_idle(&self, limit: Duration) -> bool {
        let end = Instant::now().checked_add(limit);
        let mut state = self.state.lock();
        while state.len != 0 || state.running_len != 0 {
            let Some(end) = end else {
                self.idle.wait(&mut state);
                continue;
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.idle.wait_for(&mut state, left);
        }
        true
    }

    /// Ends the threads that wait for work.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// Counts since the heap was made.
    pub(crate) fn counts(&self) -> QueueCounts {
        let state = self.state.lock();
        QueueCounts {
            queued: state.queued,
            executed: state.executed,
            panicked: state.panicked,
            pending: (state.len + state.running_len) as u64,
        }
    }

    /// Calls `visit` with what the records that wait or run keep alive: of
    /// finalizers and drops the object, of cleanups the argument.
    pub(super) fn for_each_root(&self, records: &Records, mut visit: impl FnMut(Address)) {
        let state = self.state.lock();
        for list in [state.head, state.running] {
            let mut at = list;
            while let Some(id) = at {
                let record = records.get(id);
                if record.place().is(Kind::Finalizer) || record.place().is(Kind::Drop) {
                    visit(record.place().object());
                } else if let Some(argument) = record.argument() {
                    visit(argument);
                }
                at = record.next();
            }
        }
    }
}
