//! Settings that change while a heap runs, and memory given back on request.

use crate::collect::pacer::Pace;
use crate::raw::heap::{Heap, Inner};
use crate::world::callback;

/// Takes its hook back when given to [`Heap::remove_clear_hook`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClearHookId(u64);

/// A clear hook.
pub(crate) type ClearHook = std::sync::Arc<dyn Fn() + Send + Sync>;

/// The clear hooks of a heap.
#[derive(Default)]
pub(crate) struct ClearHooks {
    next: u64,
    hooks: Vec<(u64, ClearHook)>,
}

impl Heap {
    /// Sets the growth that starts a cycle, in percent of the live bytes;
    /// `None` turns automatic collection off. Returns the old setting. If the
    /// heap is already larger, the next boundary collects.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// assert_eq!(heap.set_gc_percent(Some(50)), Some(100));
    /// assert_eq!(heap.set_gc_percent(None), Some(50));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn set_gc_percent(&self, percent: Option<u32>) -> Option<u32> {
        let inner = self.inner();
        let old = {
            let mut pacer = inner.pacer.lock();
            core::mem::replace(&mut pacer.gc_percent, percent)
        };
        inner.pace_again();
        old
    }

    /// Sets the bytes below which no cycle starts at 100 percent. Returns the
    /// old setting.
    pub fn set_min_heap_bytes(&self, bytes: usize) -> usize {
        let inner = self.inner();
        let old = {
            let mut pacer = inner.pacer.lock();
            core::mem::replace(&mut pacer.min_heap_bytes, bytes as u64)
        };
        inner.pace_again();
        old as usize
    }

    /// Sets the bytes in spans, and external ones, that allocation never exceeds. Returns the
    /// old limit. A limit below what is in use makes every allocation fail that needs a new
    /// span, until enough has been freed; cells of spans in use can still be had.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocError, AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// assert_eq!(heap.set_heap_limit_bytes(1 << 20), usize::MAX);
    /// let refused = mutator.mallocgc(2 << 20, Layout::NOSCAN, AllocFlags::NONE);
    /// assert!(matches!(refused, Err(AllocError::LimitReached { .. })));
    /// heap.set_heap_limit_bytes(usize::MAX);
    /// mutator.mallocgc(2 << 20, Layout::NOSCAN, AllocFlags::NONE)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_heap_limit_bytes(&self, bytes: usize) -> usize {
        let inner = self.inner();
        let old = inner.space.limits.heap_bytes();
        inner.space.limits.set_heap_bytes(bytes);
        inner.pacer.lock().heap_limit_bytes = bytes as u64;
        inner.pace_again();
        inner.look_for_pressure();
        old
    }

    /// The goal and the trigger in force.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config { min_heap_bytes: 8 << 20, ..Config::default() })?;
    /// assert!(heap.heap_bytes() < heap.pace().trigger_bytes);
    /// assert!(heap.pace().trigger_bytes <= 8 << 20);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn pace(&self) -> Pace {
        self.inner().paces().0
    }

    /// Bytes of objects, counted in whole spans as they are handed to
    /// mutators, and external bytes: what is compared with the trigger.
    pub fn heap_bytes(&self) -> u64 {
        self.inner().heap_bytes()
    }

    /// Registers a function that runs at the start of every cycle with the
    /// world stopped, before roots are read: the place to drop what pools
    /// keep. It must not enter the heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Force, Heap};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let pool = Arc::new(Mutex::new(vec![0u8; 100]));
    /// let kept = pool.clone();
    /// let hook = heap.add_clear_hook(move || kept.lock().unwrap().clear());
    /// heap.gc(Force::Now)?;
    /// assert!(pool.lock().unwrap().is_empty());
    /// assert!(heap.remove_clear_hook(hook));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_clear_hook(&self, hook: impl Fn() + Send + Sync + 'static) -> ClearHookId {
        let mut hooks = self.inner().clear_hooks.lock();
        hooks.next += 1;
        // One heap's ids name nothing in another.
        let id = self.inner().id << 32 | hooks.next;
        hooks.hooks.push((id, std::sync::Arc::new(hook)));
        ClearHookId(id)
    }

    /// Forgets a clear hook; `false` when it was forgotten before.
    pub fn remove_clear_hook(&self, id: ClearHookId) -> bool {
        let removed = {
            let mut hooks = self.inner().clear_hooks.lock();
            let at = hooks.hooks.iter().position(|entry| entry.0 == id.0);
            at.map(|at| hooks.hooks.swap_remove(at))
        };
        removed.is_some()
    }

    /// Sweeps what is unswept and gives every free page back to the system.
    /// Returns the bytes given back. Collect first to free what is dead. Inside
    /// a callback of a heap it does nothing and returns 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// mutator.mallocgc(64 << 20, Layout::NOSCAN, AllocFlags::NONE)?;
    /// mutator.gc(Force::NowAndSweep)?;
    /// heap.release_memory();
    /// let stats = heap.stats();
    /// assert!(stats.heap_released >= 64 << 20, "{}", stats.heap_released);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_memory(&self) -> usize {
        if callback::is_inside() {
            return 0;
        }
        let space = &self.inner().space;
        space.finish_sweep();
        space.decommit_free(usize::MAX)
    }
}

impl Inner {
    /// Runs the clear hooks.
    pub(crate) fn clear_pools(&self) {
        let hooks: Vec<ClearHook> = {
            let hooks = self.clear_hooks.lock();
            hooks.hooks.iter().map(|entry| entry.1.clone()).collect()
        };
        for hook in hooks {
            hook();
        }
    }
}
