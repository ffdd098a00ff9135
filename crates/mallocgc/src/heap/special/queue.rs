//! Records whose time has come, in the order in which the collector found
//! them: one queue of finalizers, one of cleanups.
//!
//! What is queued is a root until it has run: the objects of finalizers, the
//! arguments of cleanups. Who takes records from the queue must root them
//! itself, before its next boundary.
//!
//! Protection: the queue lock. No user code runs under it.

use crate::base::Address;
use crate::base::sync::{Lock, Rank, Signal};
use crate::heap::special::record::{RecordId, Records};
use std::time::{Duration, Instant};

/// Longer than anybody waits.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[derive(Debug, Default)]
struct State {
    head: Option<RecordId>,
    tail: Option<RecordId>,
    len: usize,
    /// Records taken and not yet finished.
    running: usize,
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

    /// Takes up to as many records as `batch` has places, and passes each on;
    /// returns how many.
    pub(crate) fn take(&self, records: &Records, batch: &mut [Option<RecordId>]) -> usize {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < batch.len()
            && let Some(id) = state.head
        {
            batch[taken] = Some(id);
            state.head = records.get(id).next();
            taken += 1;
        }
        if state.head.is_none() {
            state.tail = None;
        }
        state.len -= taken;
        state.running += taken;
        taken
    }

    /// Reports that taken records are through, and how many of them panicked.
    pub(crate) fn finish(&self, count: usize, panicked: usize) {
        let mut state = self.state.lock();
        state.running -= count;
        state.executed += count as u64;
        state.panicked += panicked as u64;
        if state.running == 0 && state.len == 0 {
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

    /// Waits until nothing waits or runs; `false` when the time is over.
    pub(crate) fn wait_until_idle(&self, limit: Duration) -> bool {
        // A limit that no clock can hold is none: a century will do.
        let end = Instant::now() + limit.min(CENTURY);
        let mut state = self.state.lock();
        while state.len != 0 || state.running != 0 {
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
            pending: (state.len + state.running) as u64,
        }
    }

    /// Calls `visit` with what the records in the queue keep alive: of
    /// finalizers the object, of cleanups the argument.
    pub(super) fn for_each_root(&self, records: &Records, mut visit: impl FnMut(Address)) {
        let state = self.state.lock();
        let mut at = state.head;
        while let Some(id) = at {
            let record = records.get(id);
            if record.place().is(super::record::Kind::Finalizer) {
                visit(record.place().object());
            } else if let Some(argument) = record.argument() {
                visit(argument);
            }
            at = record.next();
        }
    }
}
