//! Words of objects that may be references or not: which places count.
//!
//! In a heap whose objects nobody describes, a word of an object keeps another
//! alive if it points to its first byte, to a registered distance from that,
//! or, if the heap is told so, anywhere into it. Only allocated cells count.
//!
//! Protection: settings, changed before the first object or between cycles;
//! markers read them while the world is stopped.

use crate::base::sync::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Distances that can be registered lie below this.
pub const MAX_DISTANCE: usize = 4096;

/// What a word of an object must look like to count as a reference.
#[derive(Debug)]
pub struct Ambiguous {
    on: AtomicBool,
    interior: AtomicBool,
    distances: [AtomicU64; MAX_DISTANCE / 64],
}

impl Ambiguous {
    pub(crate) fn new() -> Ambiguous {
        let distances = [const { AtomicU64::new(0) }; MAX_DISTANCE / 64];
        distances[0].store(1, Relaxed);
        Ambiguous { on: AtomicBool::new(false), interior: AtomicBool::new(true), distances }
    }

    /// Whether words of objects are ambiguous in this heap.
    // Relaxed, here and below: settings that stand still while marking runs.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// From the next span on, words of objects are ambiguous.
    pub(crate) fn turn_on(&self) {
        self.on.store(true, Relaxed);
    }

    /// Whether a word may point anywhere into an object.
    #[inline]
    pub fn takes_interior(&self) -> bool {
        self.interior.load(Relaxed)
    }

    /// Lets words point anywhere into objects, or to registered places only.
    pub fn set_interior(&self, interior: bool) {
        self.interior.store(interior, Relaxed);
    }

    /// Whether a word may point so far behind an object's first byte.
    #[inline]
    pub fn takes(&self, distance: usize) -> bool {
        self.takes_interior()
            || self
                .distances
                .get(distance / 64)
                .is_some_and(|word| word.load(Relaxed) >> (distance % 64) & 1 != 0)
    }

    /// Lets words point so far behind an object's first byte; `false` when
    /// that is too far.
    pub fn register(&self, distance: usize) -> bool {
        let Some(word) = self.distances.get(distance / 64) else { return false };
        word.fetch_or(1 << (distance % 64), Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_distances_count_without_interior_pointers() {
        let rules = Ambiguous::new();
        assert!(rules.takes(1) && rules.takes(100_000), "the default takes all");
        rules.set_interior(false);
        assert!(rules.takes(0) && !rules.takes(1));
        assert!(rules.register(1) && rules.register(MAX_DISTANCE - 1));
        assert!(rules.takes(1) && rules.takes(MAX_DISTANCE - 1) && !rules.takes(2));
        assert!(!rules.register(MAX_DISTANCE) && !rules.takes(MAX_DISTANCE));
    }
}
