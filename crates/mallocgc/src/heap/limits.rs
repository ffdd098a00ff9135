//! The limits of a heap, and what counts against them beside its pages.
//!
//! Two limits. The *heap limit* is hard: spans and external bytes together do not
//! exceed it, and who would make them gets an error. The *memory limit* is soft:
//! all memory the heap has from the system, and external bytes, are kept below it by
//! collecting earlier and by giving free pages back, as far as that goes.
//!
//! *External bytes* are memory elsewhere that goes when an object goes. Nobody but the
//! program knows them; it adds and takes them off.
//!
//! Protection: limits and external bytes are atomics, so that anybody may read them.
//! External bytes are changed under the pages lock, as used pages are: what the heap
//! limit leaves is then decided by one thread at a time.
//!
//! Not here: when to collect (`collect::pacer`), what to give back (`scavenge`, `release`).

use crate::base::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use crate::heap::error::AllocError;

/// The most external bytes that are told apart: no machine has as many, and sums with
/// other counts stay far from overflowing.
pub(crate) const EXTERNAL_MOST_BYTES: usize = isize::MAX as usize;

/// Whether external bytes may exceed the heap limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// They exist already: they count, whatever the limit.
    Taken,
    /// They are about to be made, if the limit leaves room.
    Asked,
}

/// The limits of one heap.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Bytes in spans and outside that allocation may not exceed.
    heap_bytes: AtomicUsize,
    /// Bytes of memory, and outside, that cycles try not to exceed.
    memory_bytes: AtomicUsize,
    external_bytes: AtomicUsize,
    /// Spans took pages that were not in memory, or external bytes grew, since
    /// somebody looked.
    grown: AtomicBool,
    /// Allocations and external bytes refused by the heap limit.
    refused: AtomicU64,
    /// Bytes given back to the system.
    scavenged_bytes: AtomicU64,
}

// Relaxed everywhere: counts and settings, none of which publishes other memory. Where
// two must be seen together the pages lock orders them.
impl Limits {
    pub(crate) fn new(heap_bytes: usize) -> Limits {
        Limits {
            heap_bytes: AtomicUsize::new(heap_bytes),
            memory_bytes: AtomicUsize::new(usize::MAX),
            external_bytes: AtomicUsize::new(0),
            grown: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            scavenged_bytes: AtomicU64::new(0),
        }
    }

    /// The heap limit.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes.load(Relaxed)
    }

    pub(crate) fn set_heap_bytes(&self, bytes: usize) {
        self.heap_bytes.store(bytes, Relaxed);
    }

    /// The memory limit.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Relaxed)
    }

    pub(crate) fn set_memory_bytes(&self, bytes: usize) {
        self.memory_bytes.store(bytes, Relaxed);
    }

    /// External bytes.
    #[inline]
    pub(crate) fn external_bytes(&self) -> usize {
        self.external_bytes.load(Relaxed)
    }

    /// Allocations and external bytes refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Bytes given back to the system so far.
    pub(crate) fn scavenged_bytes(&self) -> u64 {
        self.scavenged_bytes.load(Relaxed)
    }

    pub(crate) fn count_scavenged(&self, bytes: usize) {
        self.scavenged_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Whether memory in use grew since the last call.
    pub(crate) fn take_grown(&self) -> bool {
        self.grown.load(Relaxed) && self.grown.swap(false, Relaxed)
    }

    pub(crate) fn set_grown(&self) {
        self.grown.store(true, Relaxed);
    }

    /// Whether the heap limit leaves room for `more` bytes beside `used_bytes` in spans.
    /// The caller holds the pages lock.
    ///
    /// # Errors
    ///
    /// [`AllocError::LimitReached`], for a request of `bytes`.
    pub(crate) fn check(
        &self,
        used_bytes: usize,
        more: usize,
        bytes: usize,
    ) -> Result<(), AllocError> {
        let limit_bytes = self.heap_bytes();
        let wanted = used_bytes.saturating_add(self.external_bytes()).saturating_add(more);
        if wanted > limit_bytes {
            self.refused.fetch_add(1, Relaxed);
            return Err(AllocError::LimitReached { bytes, limit_bytes });
        }
        Ok(())
    }

    /// Adds external bytes and returns how many were added: fewer than asked for when the
    /// sum would pass [`EXTERNAL_MOST_BYTES`]. The caller holds the pages lock.
    ///
    /// # Errors
    ///
    /// As [`check`](Limits::check), if room is asked for.
    pub(crate) fn add_external(
        &self,
        used_bytes: usize,
        bytes: usize,
        room: Room,
    ) -> Result<usize, AllocError> {
        if room == Room::Asked {
            self.check(used_bytes, bytes, bytes)?;
        }
        let now = self.external_bytes();
        let added = bytes.min(EXTERNAL_MOST_BYTES - now);
        self.external_bytes.store(now + added, Relaxed);
        if added != 0 {
            self.set_grown();
        }
        Ok(added)
    }

    /// Takes off external bytes that [`add_external`](Limits::add_external) added. The
    /// caller holds the pages lock.
    pub(crate) fn remove_external(&self, added: usize) {
        let now = self.external_bytes();
        assert!(added <= now, "{added} of {now} external bytes taken off");
        self.external_bytes.store(now - added, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn the_heap_limit_is_on_spans_and_external_bytes_together() {
        let limits = Limits::new(100);
        assert_eq!(limits.check(60, 40, 7), Ok(()));
        let refused = Err(AllocError::LimitReached { bytes: 7, limit_bytes: 100 });
        assert_eq!(limits.check(60, 41, 7), refused);
        assert_eq!(limits.add_external(60, 30, Room::Asked), Ok(30));
        assert!(limits.add_external(60, 11, Room::Asked).is_err());
        assert_eq!(limits.add_external(60, 11, Room::Taken), Ok(11), "it exists already");
        assert_eq!(limits.check(0, 59, 7), Ok(()));
        assert_eq!(limits.check(0, 60, 7), refused);
        assert_eq!(limits.refused(), 3);
        assert!(limits.take_grown() && !limits.take_grown());
    }

    #[test]
    fn nothing_overflows_and_everything_comes_back() {
        let limits = Limits::new(usize::MAX);
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut added: Vec<usize> = Vec::new();
            for _ in 0..50 {
                if random.below(3) == 0 && !added.is_empty() {
                    let at = random.below(added.len() as u64) as usize;
                    limits.remove_external(added.swap_remove(at));
                    continue;
                }
                let bytes = match random.below(4) {
                    0 => usize::MAX,
                    1 => usize::MAX >> random.below(8),
                    2 => 0,
                    _ => random.below(1 << 40) as usize,
                };
                added.push(limits.add_external(usize::MAX, bytes, Room::Asked).unwrap());
                let sum: u128 = added.iter().map(|&bytes| bytes as u128).sum();
                assert_eq!(sum, limits.external_bytes() as u128, "seed {seed}");
                assert!(sum <= EXTERNAL_MOST_BYTES as u128, "seed {seed}");
            }
            added.drain(..).for_each(|bytes| limits.remove_external(bytes));
            assert_eq!(limits.external_bytes(), 0, "seed {seed}");
        }
    }
}
