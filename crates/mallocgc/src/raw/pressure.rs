//! Pressure: telling the program that a limit is near, while it can still do something.
//!
//! Three moments raise it, each once until the next cycle has ended:
//!
//! - a cycle, a changed limit or new external bytes show that what lives takes seven
//!   eighths of a limit;
//! - spans, dead objects included, take all but a thirty-second part of the heap limit: so it is where
//!   nothing collects in time;
//! - the heap limit has refused an allocation.
//!
//! Raised pressure is a note and a bit of the poll word; the hooks run at the next boundary of some
//! mutator, or before an allocation at a safepoint gives up. So no hook runs inside an allocation
//! that is no boundary, with the world stopped, or under a lock.
//!
//! Protection: the hooks and the note are behind locks, of which copies are taken.

use crate::base::sync::{AtomicBool, AtomicU64, Lock, Ordering::Relaxed, Rank};
use crate::raw::heap::{Heap, Inner};
use crate::raw::mutator::Mutator;
use crate::world::callback;
use std::sync::Arc;

/// A limit is near when this part of it is all that is left.
const NEAR_PART: u64 = 8;

/// Spans have all but filled the heap limit when this part of it is left.
const FULL_PART: u64 = 32;

/// Which limit is near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// The heap limit: allocation will fail.
    Heap,
    /// The memory limit: cycles will follow each other.
    Memory,
}

/// A limit that is near, and what counts against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Pressure {
    /// The limit.
    pub kind: LimitKind,
    /// Bytes that count against it.
    pub current_bytes: u64,
    /// Its bytes.
    pub limit_bytes: u64,
}

impl Pressure {
    fn is_near(&self) -> bool {
        self.current_bytes >= self.limit_bytes - self.limit_bytes / NEAR_PART
    }
}

/// Takes its hook back when given to [`Heap::remove_pressure_hook`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PressureHookId(u64);

type PressureHook = Arc<dyn Fn(&Pressure) + Send + Sync>;

#[derive(Default)]
struct Hooks {
    next: u64,
    hooks: Vec<(u64, PressureHook)>,
}

/// The pressure hooks of a heap, and the pressure they have not been told of.
pub(crate) struct PressureHooks {
    hooks: Lock<Hooks>,
    // Relaxed, these flags: each is a hint, after which a lock is taken.
    any: AtomicBool,
    /// Not raised since the last cycle.
    armed: AtomicBool,
    raised: AtomicBool,
    note: Lock<Option<Pressure>>,
    calls: AtomicU64,
    panics: AtomicU64,
}

impl PressureHooks {
    pub(crate) fn new() -> PressureHooks {
        PressureHooks {
            hooks: Lock::new(Rank::Observe, Hooks::default()),
            any: AtomicBool::new(false),
            armed: AtomicBool::new(true),
            raised: AtomicBool::new(false),
            note: Lock::new(Rank::Observe, None),
            calls: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    pub(crate) fn has_hooks(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Calls of hooks, and those of them that panicked.
    pub(crate) fn counts(&self) -> (u64, u64) {
        // The smaller first: it never overtakes the other.
        let panics = self.panics.load(Relaxed);
        (self.calls.load(Relaxed).max(panics), panics)
    }
}

impl Heap {
    /// Registers a function that is told when a limit is near: the place to drop what can be
    /// made again. It runs on a mutator's thread at a boundary, at most once for each cycle, and may
    /// read and drop objects; what it asks of a heap that allocates or collects is
    /// refused as in any callback. Its panic is contained and counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config { heap_limit_bytes: 64 << 20, ..Config::default() })?;
    /// let hook = heap.add_pressure_hook(|pressure| {
    ///     eprintln!("{} of {} bytes", pressure.current_bytes, pressure.limit_bytes);
    /// });
    /// assert!(heap.remove_pressure_hook(hook));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn add_pressure_hook(
        &self,
        hook: impl Fn(&Pressure) + Send + Sync + 'static,
    ) -> PressureHookId {
        let inner = self.inner();
        let id = {
            let mut hooks = inner.pressure.hooks.lock();
            hooks.next += 1;
            // One heap's ids name nothing in another.
            let id = inner.id << 32 | hooks.next;
            hooks.hooks.push((id, Arc::new(hook)));
            inner.pressure.any.store(true, Relaxed);
            id
        };
        inner.update_watch();
        inner.look_for_pressure();
        PressureHookId(id)
    }

    /// Forgets a pressure hook; `false` when it was forgotten before.
    pub fn remove_pressure_hook(&self, id: PressureHookId) -> bool {
        let inner = self.inner();
        // The hook itself is dropped after the lock.
        let removed = {
            let mut hooks = inner.pressure.hooks.lock();
            let at = hooks.hooks.iter().position(|entry| entry.0 == id.0);
            let removed = at.map(|at| hooks.hooks.swap_remove(at));
            inner.pressure.any.store(!hooks.hooks.is_empty(), Relaxed);
            removed
        };
        inner.update_watch();
        removed.is_some()
    }
}

impl Inner {
    /// What lives, as far as is known, against the limit that is nearest.
    fn nearest_limit(&self) -> Option<Pressure> {
        let limits = &self.space.limits;
        let external = limits.external_bytes() as u64;
        let kept = self.history.live_bytes() + self.limiting.gaps_bytes();
        let kept = kept.saturating_add(external);
        let of = |kind, limit: usize, current_bytes| match limit {
            usize::MAX => None,
            limit => Some(Pressure { kind, current_bytes, limit_bytes: limit as u64 }),
        };
        let memory = limits.memory_bytes();
        let records = match memory {
            usize::MAX => 0,
            _ => self.space.mapped().record_bytes as u64,
        };
        let heap = of(LimitKind::Heap, limits.heap_bytes(), kept);
        let memory = of(LimitKind::Memory, memory, kept.saturating_add(records));
        // Of two that are near, the one that makes allocation fail.
        heap.filter(Pressure::is_near).or(memory.filter(Pressure::is_near))
    }

    /// Raises pressure if what lives is near a limit.
    pub(crate) fn look_for_pressure(&self) {
        if self.pressure.has_hooks()
            && let Some(pressure) = self.nearest_limit()
        {
            self.raise_pressure(pressure);
        }
    }

    /// Raises pressure if spans have all but filled the heap limit.
    pub(crate) fn look_for_full_limit(&self) {
        let limits = &self.space.limits;
        let limit_bytes = limits.heap_bytes() as u64;
        if limits.heap_bytes() == usize::MAX {
            return;
        }
        let current_bytes =
            (self.space.used_bytes() as u64).saturating_add(limits.external_bytes() as u64);
        if current_bytes >= limit_bytes - limit_bytes / FULL_PART {
            self.raise_pressure(Pressure { kind: LimitKind::Heap, current_bytes, limit_bytes });
        }
    }

    /// Raises pressure after the heap limit has refused an allocation.
    pub(crate) fn raise_refused(&self) {
        let limits = &self.space.limits;
        let used = self.space.used_bytes() as u64;
        self.raise_pressure(Pressure {
            kind: LimitKind::Heap,
            current_bytes: used.saturating_add(limits.external_bytes() as u64),
            limit_bytes: limits.heap_bytes() as u64,
        });
    }

    fn raise_pressure(&self, pressure: Pressure) {
        let hooks = &self.pressure;
        if !hooks.has_hooks() || !hooks.armed.load(Relaxed) || !hooks.armed.swap(false, Relaxed) {
            return;
        }
        *hooks.note.lock() = Some(pressure);
        hooks.raised.store(true, Relaxed);
        // The next boundary looks at the poll word.
        self.world.announce_cycle();
    }

    /// A cycle has ended: pressure may be raised again.
    pub(crate) fn arm_pressure(&self) {
        self.pressure.armed.store(true, Relaxed);
        self.look_for_pressure();
    }

    /// Runs the hooks if pressure was raised, at a boundary of the calling thread's mutator.
    /// Whether it was.
    pub(crate) fn relieve_pressure(&self, mutator: &Mutator) -> bool {
        if !self.pressure.raised.load(Relaxed) || callback::is_inside() {
            return false;
        }
        self.pressure.raised.store(false, Relaxed);
        let Some(pressure) = self.pressure.note.lock().take() else { return false };
        let hooks: Vec<PressureHook> = {
            let hooks = self.pressure.hooks.lock();
            hooks.hooks.iter().map(|entry| entry.1.clone()).collect()
        };
        // Open chunks would give a hook its cells unasked.
        mutator.record().cache.flush(&self.space);
        for hook in hooks {
            self.pressure.calls.fetch_add(1, Relaxed);
            if callback::contain(|| hook(&pressure)) {
                self.pressure.panics.fetch_add(1, Relaxed);
            }
        }
        true
    }
}
