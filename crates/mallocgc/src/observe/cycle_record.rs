//! What one collection did, and the last 256 pauses.
//!
//! A [`CycleRecord`] is filled in by the collector while it works and handed
//! up when sweeping has begun; trace lines (`gctrace`), statistics (`stats`)
//! and events (`events`) are made from it. Plain values: whoever holds them
//! owns them. The [`PauseRing`] of a heap is written under the cycle lock.

/// Facts about one collection of one heap.
///
/// Durations are nanoseconds. Points in time are nanoseconds since the heap was
/// made, so that a record says nothing about the machine's clock.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CycleRecord {
    /// Number of the cycle, counted from 1.
    pub number: u64,
    /// Somebody asked for it; otherwise the trigger was reached.
    pub forced: bool,
    /// When the cycle began (before the world was asked to stop), since the heap was made.
    pub start_nanos: u64,

    /// Sweeping what the cycle before left unswept; mutators run.
    pub finish_sweep_nanos: u64,
    /// From asking the world to stop until the last mutator had.
    pub time_to_stop_nanos: u64,
    /// From roots to the last grey object.
    pub mark_nanos: u64,
    /// Deciding finalizers, weak handles and cleanups, including the marking they cause.
    pub finalize_nanos: u64,
    /// From asking the world to stop until it ran again: what a mutator could feel.
    pub stopped_nanos: u64,
    /// Sweeping done before the mutators were let go (eager sweeping only).
    pub eager_sweep_nanos: u64,
    /// CPU time all workers spent marking and deciding.
    pub mark_cpu_nanos: u64,
    /// Share of the process's CPU time since the heap was made that this heap's
    /// collector used, 0 to 1, including this cycle.
    pub gc_cpu_fraction: f64,

    /// What is known only of a cycle beside the mutators.
    pub beside: Option<BesideRecord>,

    /// Threads that marked.
    pub workers: u32,
    /// Mutators attached when the world stopped.
    pub mutators: u32,

    /// Bytes in objects when the cycle began, dead ones included.
    pub heap_start_bytes: u64,
    /// Bytes in objects when marking ended; equals the start while marking stops the world.
    pub heap_end_bytes: u64,
    /// Bytes in objects the cycle found alive.
    pub live_bytes: u64,
    /// Heap bytes at which this cycle was to begin.
    pub trigger_bytes: u64,
    /// Heap bytes this cycle was not to exceed.
    pub goal_bytes: u64,
    /// Goal of the next cycle.
    pub next_goal_bytes: u64,
    /// Bytes of the reservation in use by spans when the cycle ended.
    pub spans_bytes: u64,
    /// Bytes reached from roots directly: ranges scanned and handles visited.
    pub root_bytes: u64,

    /// Objects marked.
    pub marked_objects: u64,
    /// Spans that hold objects.
    pub spans: u64,
    /// Finalizers whose objects were found dead, now queued.
    pub finalizers_queued: u64,
    /// Cleanups now queued.
    pub cleanups_queued: u64,
    /// Weak handles that were cleared.
    pub weak_cleared: u64,

    /// External bytes when it ended.
    pub external_bytes: u64,
    /// The memory limit, if the next goal is smaller by it; else 0.
    pub memory_limit_bytes: u64,
    /// For how long the cycle was due and held, because cycles had taken half of the time.
    pub held_nanos: u64,
    /// Bytes given back to the system since the cycle before.
    pub scavenged_bytes: u64,
}

/// Facts about a collection that marked beside the mutators.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BesideRecord {
    /// From asking the world to stop until it ran again: the first stop.
    pub flip_nanos: u64,
    /// The same, of the last stop.
    pub end_nanos: u64,
    /// Stops that found too much left to mark, and had mutators go on.
    pub rounds: u64,
    /// Processor time of mutators that marked for what they allocated.
    pub assist_nanos: u64,
    /// Share of the processors that marking and assists had, 0 to 1.
    pub utilization: f64,
}

/// One stop of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Pause {
    /// How long the world stood, in nanoseconds.
    pub nanos: u64,
    /// When it ran again: wall clock, nanoseconds since 1970.
    pub end_nanos: u64,
}

/// Pauses a [`PauseRing`] remembers.
pub const PAUSE_RING: usize = 256;

/// The last [`PAUSE_RING`] pauses, the sum of all, and how many there were.
///
/// ```
/// use mallocgc::observe::{Pause, PauseRing};
///
/// let mut pauses = PauseRing::new();
/// pauses.record(Pause { nanos: 40_000, end_nanos: 1_000_000 });
/// pauses.record(Pause { nanos: 25_000, end_nanos: 2_000_000 });
/// assert_eq!(pauses.newest().map(|pause| pause.nanos), Some(25_000));
/// assert_eq!(pauses.total_nanos(), 65_000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PauseRing {
    entries: [Pause; PAUSE_RING],
    count: u64,
    total_nanos: u64,
}

impl PauseRing {
    /// A ring without pauses.
    pub const fn new() -> PauseRing {
        let entries = [Pause { nanos: 0, end_nanos: 0 }; PAUSE_RING];
        PauseRing { entries, count: 0, total_nanos: 0 }
    }

    /// Notes a pause; forgets the oldest one when full.
    pub fn record(&mut self, pause: Pause) {
        self.entries[self.count as usize % PAUSE_RING] = pause;
        self.count += 1;
        self.total_nanos += pause.nanos;
    }

    /// Pauses ever recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all pauses ever recorded, in nanoseconds.
    pub fn total_nanos(&self) -> u64 {
        self.total_nanos
    }

    /// The last pause.
    pub fn newest(&self) -> Option<Pause> {
        self.newest_first().next()
    }

    /// The remembered pauses, the last one first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = Pause> + '_ {
        let remembered = self.count.min(PAUSE_RING as u64) as usize;
        // `count` may have passed the ring's size any number of times.
        let last = self.count as usize + PAUSE_RING - 1;
        (0..remembered).map(move |age| self.entries[(last - age) % PAUSE_RING])
    }
}

impl Default for PauseRing {
    fn default() -> PauseRing {
        PauseRing::new()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for PauseRing {
    /// As the list of remembered pauses, the last one first.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.newest_first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn ring_agrees_with_a_queue() {
        let mut ring = PauseRing::new();
        let mut queue = VecDeque::new();
        assert_eq!(ring.newest(), None);
        for number in 1..=3 * PAUSE_RING as u64 + 7 {
            let pause = Pause { nanos: number * 3, end_nanos: number * 100 };
            ring.record(pause);
            queue.push_front(pause);
            queue.truncate(PAUSE_RING);
            assert!(ring.newest_first().eq(queue.iter().copied()), "after {number}");
            assert_eq!(ring.newest(), Some(pause));
            assert_eq!(ring.count(), number);
            assert_eq!(ring.total_nanos(), 3 * number * (number + 1) / 2);
        }
    }
}
