//! How far the heap may grow, and where on the way the next cycle begins.
//!
//! All bytes are of objects, dead or alive: what the last cycle marked, and what was
//! allocated since. *External bytes* count with them: memory elsewhere that is given
//! back when an object dies (the buffer of a vector, a texture).
//!
//! The goal is the smallest of three:
//!
//! * by percent: what was marked, and of that and of the stacks and roots the
//!   configured percentage; not below the minimum heap;
//! * by the memory limit: what the limit leaves when everything that is no object
//!   is taken off, less [`LIMIT_HEADROOM_PERCENT`]; not below what was marked;
//! * by the heap limit, on spans and external bytes together, 15 parts of 16; not below
//!   what was marked.
//!
//! A cycle takes time, in which mutators allocate. The trigger lies before the goal
//! by this *runway*, but never near either end of the way.
//!
//! After Go's `mgcpacer.go` (design #44167, memory limit #48409, headroom #57069).
//!
//! Not here: how long the runway is (`controller`).

#![forbid(unsafe_code)]

use super::assist::saturate;
use super::{Pace, PacerSettings};

/// Percent of the way from marked bytes to the goal before which no cycle
/// begins: a program that allocates very fast would else be marking always, and
/// what is allocated while marking survives.
pub const EARLIEST_TRIGGER_PERCENT: u64 = 70;

/// Percent of the way after which no cycle begins, unless
/// [`LATEST_TRIGGER_BYTES`] allows more.
pub const LATEST_TRIGGER_PERCENT: u64 = 95;

/// Bytes before the goal that are runway enough for a cycle with little to scan,
/// however large the heap: the minimum heap is chosen by the cost of such a cycle.
pub const LATEST_TRIGGER_BYTES: u64 = 4 << 20;

/// Bytes between the trigger and the goal at least, as long as no limit is in the way:
/// the assist ratio divides by this distance.
pub const MIN_RUNWAY_BYTES: u64 = 64 << 10;

/// Percent of the memory limit that the goal leaves free: a cycle may end late, and
/// allocation shall find free pages without giving others back first.
pub const LIMIT_HEADROOM_PERCENT: u64 = 3;

/// Bytes that it leaves free at least; small heaps are harder to predict.
pub const LIMIT_HEADROOM_BYTES: u64 = 1 << 20;

/// Bytes that are allocated between two cycles at least, however full a limit is: this,
/// and a part of what lives. Less is not worth a cycle.
pub const LEAST_WAY_BYTES: u64 = 64 << 10;

/// See [`LEAST_WAY_BYTES`].
pub const LEAST_WAY_PART: u64 = 64;

/// Settings of the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Percentage, minimum heap and hard limit.
    pub pacer: PacerSettings,
    /// Bytes of memory, external bytes included, that cycles try not to
    /// exceed; `u64::MAX` for no limit. Holds with `gc_percent` off, too.
    pub memory_limit_bytes: u64,
}

/// What memory is used for at one moment. The counters may be read one by one: where they
/// contradict each other, sums stop at zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemoryUse {
    /// Bytes that the heap has from the system and has not given back: objects, free pages,
    /// tables, records.
    pub mapped_bytes: u64,
    /// Bytes of them in free pages.
    pub free_bytes: u64,
    /// Bytes of them in cells and large objects that are in use, dead ones included until
    /// they are swept.
    pub allocated_bytes: u64,
    /// Bytes outside the heap that its objects keep, dead ones included until they are
    /// released. Not part of `mapped_bytes`.
    pub external_bytes: u64,
}

/// Bytes to scan, or scanned, in one cycle.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScanWork {
    /// In objects of the heap, up to their last reference.
    pub heap_bytes: u64,
    /// On stacks of mutators.
    pub stack_bytes: u64,
    /// In other roots: ranges, handles.
    pub root_bytes: u64,
}

impl ScanWork {
    /// The sum.
    pub fn total_bytes(&self) -> u64 {
        self.heap_bytes.saturating_add(self.stack_bytes).saturating_add(self.root_bytes)
    }
}

/// A goal, and whether it may be put off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// By percent: a little more memory does no harm.
    Soft(u64),
    /// By a limit: better assist more than grow.
    Firm(u64),
    /// No cycle begins by itself.
    Never(u64),
}

impl Settings {
    /// The goal after a cycle that left `marked_bytes`, external ones included, and
    /// whose roots were `roots`.
    pub(super) fn goal(&self, marked_bytes: u64, roots: &ScanWork, memory: &MemoryUse) -> Goal {
        let base = marked_bytes.saturating_add(roots.stack_bytes).saturating_add(roots.root_bytes);
        self.goal_by(marked_bytes, base, memory)
    }

    /// The goal where growth is a percentage of `base_bytes`.
    fn goal_by(&self, marked_bytes: u64, base_bytes: u64, memory: &MemoryUse) -> Goal {
        let pacer = &self.pacer;
        let most = (pacer.heap_limit_bytes - pacer.heap_limit_bytes / 16).max(marked_bytes);
        let limited = self.limit_goal(marked_bytes, memory).min(most);
        match pacer.gc_percent {
            None if self.memory_limit_bytes == u64::MAX => Goal::Never(most),
            None => Goal::Firm(limited),
            Some(percent) => {
                let soft = percent_goal(percent, pacer.min_heap_bytes, marked_bytes, base_bytes);
                if limited < soft { Goal::Firm(limited) } else { Goal::Soft(soft) }
            }
        }
    }

    /// The goal and the trigger where marking stops the world: nothing is allocated
    /// meanwhile, so they are one. Of `marked_bytes` external ones are a part; growth is a
    /// percentage of `base_bytes`, mostly the same.
    ///
    /// Where a limit is full of live objects, a cycle frees nothing and the next is due
    /// at once; [`LEAST_WAY_BYTES`] and a part of what lives must be allocated before it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::collect::pacer::goal::{MemoryUse, Settings};
    /// use mallocgc::collect::pacer::PacerSettings;
    /// let pacer = PacerSettings {
    ///     gc_percent: Some(100),
    ///     min_heap_bytes: 4 << 20,
    ///     heap_limit_bytes: u64::MAX,
    /// };
    /// let settings = Settings { pacer, memory_limit_bytes: 100 << 20 };
    /// let memory = MemoryUse::default();
    /// assert_eq!(settings.pace_stopped(30 << 20, 30 << 20, &memory).trigger_bytes, 60 << 20);
    /// assert_eq!(settings.pace_stopped(80 << 20, 80 << 20, &memory).trigger_bytes, 97 << 20);
    /// ```
    pub fn pace_stopped(&self, marked_bytes: u64, base_bytes: u64, memory: &MemoryUse) -> Pace {
        match self.goal_by(marked_bytes, base_bytes, memory) {
            Goal::Never(goal_bytes) => Pace { goal_bytes, trigger_bytes: u64::MAX },
            Goal::Soft(goal_bytes) => Pace { goal_bytes, trigger_bytes: goal_bytes },
            Goal::Firm(goal_bytes) => {
                let way = LEAST_WAY_BYTES.saturating_add(marked_bytes / LEAST_WAY_PART);
                let goal_bytes = goal_bytes.max(marked_bytes.saturating_add(way));
                Pace { goal_bytes, trigger_bytes: goal_bytes }
            }
        }
    }

    /// What the memory limit leaves to objects; `u64::MAX` without one.
    fn limit_goal(&self, marked_bytes: u64, memory: &MemoryUse) -> u64 {
        let limit = self.memory_limit_bytes;
        if limit == u64::MAX {
            return u64::MAX;
        }
        let counted = memory.mapped_bytes.saturating_add(memory.external_bytes);
        // Free pages are where objects will be, so they are not taken off.
        let others = memory
            .mapped_bytes
            .saturating_sub(memory.free_bytes)
            .saturating_sub(memory.allocated_bytes);
        // What is used beyond the limit is taken off once more: it has to come back.
        let excess = counted.saturating_sub(limit);
        let left = limit.saturating_sub(others).saturating_sub(excess);
        if left == 0 {
            return marked_bytes;
        }
        let headroom = percent_of(left, LIMIT_HEADROOM_PERCENT).max(LIMIT_HEADROOM_BYTES);
        // Of a limit of hardly more than the headroom something must remain.
        left.saturating_sub(headroom).max(headroom).max(marked_bytes)
    }
}

fn percent_goal(percent: u32, min_heap_bytes: u64, marked_bytes: u64, base_bytes: u64) -> u64 {
    let percent = u64::from(percent);
    let grown = marked_bytes.saturating_add(percent_of(base_bytes, percent));
    grown.max(percent_of(min_heap_bytes, percent))
}

pub(super) fn percent_of(bytes: u64, percent: u64) -> u64 {
    saturate(u128::from(bytes) * u128::from(percent) / 100)
}

/// Percent of what a cycle leaves that is allocated at least before the next one
/// begins, if nothing but the percentage asks for it.
const LEAST_GROWTH_PERCENT: u64 = 10;

/// What a cycle beside mutators leaves, as the next goal counts it: `marked_bytes`, and
/// of `newborn_bytes`, which survived unseen, the part that survived of what there was
/// when it began, `begin_bytes`. Counted in full, garbage of a program that
/// allocates fast would double the heap.
///
/// Not so little that the next cycle would begin at once.
///
/// # Examples
///
/// ```
/// use mallocgc::collect::pacer::goal::lasting_bytes;
/// // A quarter of the heap was alive.
/// assert_eq!(lasting_bytes(10 << 20, 2 << 20, 40 << 20, Some(100)), (10 << 20) + (2 << 18));
/// // All of it.
/// assert_eq!(lasting_bytes(40 << 20, 8 << 20, 40 << 20, Some(100)), 48 << 20);
/// ```
pub fn lasting_bytes(
    marked_bytes: u64,
    newborn_bytes: u64,
    begin_bytes: u64,
    gc_percent: Option<u32>,
) -> u64 {
    let all = marked_bytes.saturating_add(newborn_bytes);
    let lasting = u128::from(newborn_bytes) * u128::from(marked_bytes.min(begin_bytes))
        / u128::from(begin_bytes.max(1));
    let percent = u64::from(gc_percent.unwrap_or(100));
    // The earliest trigger is at so many percent of what counts.
    let earliest = 100 + percent_of(percent, EARLIEST_TRIGGER_PERCENT);
    let least = u128::from(all) * u128::from(100 + LEAST_GROWTH_PERCENT) / u128::from(earliest);
    marked_bytes.saturating_add(saturate(lasting)).max(saturate(least)).min(all)
}

/// Where a cycle begins.
pub(super) struct Way {
    /// What the last cycle left.
    pub(super) marked_bytes: u64,
    /// Bytes that will be allocated while marking runs, as far as can be told.
    pub(super) runway_bytes: u64,
    /// Not before this, so that sweeping has been finished by allocation.
    pub(super) sweep_floor_bytes: u64,
    /// Where the running cycle began.
    pub(super) triggered_bytes: Option<u64>,
}

impl Way {
    /// The trigger on the way to `goal`; it is never above the goal.
    pub(super) fn pace(&self, goal: Goal) -> Pace {
        let marked = self.marked_bytes;
        let (goal_bytes, floor) = match goal {
            Goal::Never(goal_bytes) => return Pace { goal_bytes, trigger_bytes: u64::MAX },
            Goal::Firm(goal) => (goal, marked),
            Goal::Soft(goal) => {
                let begun = self.triggered_bytes.map(|at| at.saturating_add(MIN_RUNWAY_BYTES));
                let goal = goal.max(self.sweep_floor_bytes).max(begun.unwrap_or(0));
                (goal, self.sweep_floor_bytes.max(marked))
            }
        };
        if marked >= goal_bytes {
            return Pace { goal_bytes, trigger_bytes: goal_bytes };
        }
        let part = |percent| marked + percent_of(goal_bytes - marked, percent);
        let earliest = part(EARLIEST_TRIGGER_PERCENT).max(floor);
        let latest = part(LATEST_TRIGGER_PERCENT)
            .max(goal_bytes.saturating_sub(LATEST_TRIGGER_BYTES))
            .max(earliest);
        let wanted = goal_bytes.saturating_sub(self.runway_bytes);
        Pace { goal_bytes, trigger_bytes: wanted.clamp(earliest, latest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn settings(heap_limit_bytes: u64, memory_limit_bytes: u64) -> Settings {
        let pacer =
            PacerSettings { gc_percent: Some(100), min_heap_bytes: 4 * MIB, heap_limit_bytes };
        Settings { pacer, memory_limit_bytes }
    }

    fn goal(settings: Settings, marked_bytes: u64, external_bytes: u64) -> Goal {
        let memory = MemoryUse { external_bytes, ..MemoryUse::default() };
        settings.goal(marked_bytes, &ScanWork::default(), &memory)
    }

    #[test]
    fn what_lasts_is_between_what_was_marked_and_all_of_it() {
        for percent in [0, 10, 50, 100, 400, 10_000] {
            for (marked, newborn, begin) in [
                (0, 0, 0),
                (0, MIB, 0),
                (8 * MIB, 8 * MIB, 40 * MIB),
                (8 * MIB, 800 * MIB, 16 * MIB),
                (100 * MIB, 1, 100 * MIB),
                (u64::MAX / 2, u64::MAX / 2, u64::MAX),
                (u64::MAX, u64::MAX, 1),
            ] {
                let lasting = lasting_bytes(marked, newborn, begin, Some(percent));
                let all = marked.saturating_add(newborn);
                assert!((marked..=all).contains(&lasting), "{percent}: {marked} {newborn} {begin}");
                // The next cycle has some way to go, unless all that is left counts.
                let grown = u128::from(lasting) * u128::from(100 + percent) / 100;
                let way = grown >= u128::from(all) * 105 / 100 || lasting == all;
                assert!(way, "{percent}: {lasting} of {all}");
            }
        }
    }

    #[test]
    fn the_heap_limit_bounds_the_heap_and_what_is_outside() {
        let settings = settings(64 * MIB, u64::MAX);
        assert_eq!(goal(settings, 20 * MIB, 0), Goal::Soft(40 * MIB));
        assert_eq!(goal(settings, 50 * MIB, 0), Goal::Firm(60 * MIB));
        assert_eq!(goal(settings, 50 * MIB, 7 * MIB), Goal::Firm(60 * MIB));
        assert_eq!(goal(settings, 63 * MIB, 0), Goal::Firm(63 * MIB));
    }

    #[test]
    fn a_small_memory_limit_is_not_all_headroom() {
        for (limit, wanted) in [
            (100 * MIB, 97 * MIB),
            (20 * MIB, 19 * MIB),
            (3 * MIB, 2 * MIB),
            (2 * MIB, MIB),
            (MIB, MIB),
            (1, MIB),
            (0, 0),
        ] {
            assert_eq!(settings(u64::MAX, limit).limit_goal(0, &MemoryUse::default()), wanted);
        }
    }

    #[test]
    fn a_full_limit_leaves_something_between_two_cycles() {
        let memory = MemoryUse::default();
        let trigger = |settings: Settings, marked| {
            let pace = settings.pace_stopped(marked, marked, &memory);
            assert_eq!(pace.goal_bytes, pace.trigger_bytes);
            pace.trigger_bytes
        };
        for full in [settings(64 * MIB, u64::MAX), settings(u64::MAX, 64 * MIB)] {
            assert_eq!(trigger(full, 20 * MIB), 40 * MIB);
            assert!((60 * MIB..64 * MIB).contains(&trigger(full, 50 * MIB)));
            assert_eq!(trigger(full, 64 * MIB), 65 * MIB + LEAST_WAY_BYTES);
            assert_eq!(trigger(full, 640 * MIB), 650 * MIB + LEAST_WAY_BYTES);
            assert_eq!(trigger(full, u64::MAX), u64::MAX);
        }
        for none in [settings(0, u64::MAX), settings(u64::MAX, 0)] {
            assert!((LEAST_WAY_BYTES..=MIB).contains(&trigger(none, 0)));
        }
        let off = |memory_limit_bytes| Settings {
            pacer: PacerSettings { gc_percent: None, ..settings(u64::MAX, 0).pacer },
            memory_limit_bytes,
        };
        assert_eq!(off(u64::MAX).pace_stopped(MIB, MIB, &memory).trigger_bytes, u64::MAX);
        assert_eq!(trigger(off(100 * MIB), MIB), 97 * MIB, "a limit holds with collection off");
    }

    #[test]
    fn the_trigger_keeps_away_from_both_ends() {
        let way = |runway_bytes| Way {
            marked_bytes: 100,
            runway_bytes,
            sweep_floor_bytes: 0,
            triggered_bytes: None,
        };
        let trigger = |runway, goal| way(runway).pace(Goal::Soft(goal)).trigger_bytes;
        for (runway, wanted) in [(0, 195), (5, 195), (6, 194), (29, 171), (30, 170), (1000, 170)] {
            assert_eq!(trigger(runway, 200), wanted, "runway {runway}");
        }
        // Of a large heap five percent would be too much.
        assert_eq!(trigger(0, 1 << 30), (1 << 30) - LATEST_TRIGGER_BYTES);
    }

    #[test]
    fn a_limit_allows_no_way_beyond_it() {
        let way = Way {
            marked_bytes: 100,
            runway_bytes: 10,
            sweep_floor_bytes: 500,
            triggered_bytes: Some(190),
        };
        let firm = way.pace(Goal::Firm(200));
        assert_eq!((firm.goal_bytes, firm.trigger_bytes), (200, 190));
        let soft = way.pace(Goal::Soft(200));
        assert_eq!(soft.goal_bytes, 190 + MIN_RUNWAY_BYTES);
        assert!(soft.trigger_bytes >= 500);
    }
}
