//! Telling a listener of every allocation and every death.
//!
//! While somebody listens, every allocation takes the slow path (chunks of one
//! cell). Deaths are told at the end of marking, with the world stopped: what
//! was allocated and is not marked. So a cell's death comes before its next
//! life, whoever sweeps it.
//!
//! A listener must not allocate, and is refused by the slow path. So while it
//! runs, the cache of its thread's mutator has nothing to give.

use crate::base::sync::Ordering::Relaxed;
use crate::base::{Address, WORD_SIZE};
use crate::heap::cache::Cache;
use crate::heap::span_class::Scan;
use crate::layout::LayoutId;
use crate::observe::{Event, Interest, Listener};
use crate::os::backtrace;
use crate::raw::heap::{Heap, Inner};
use crate::world::mutator::MutatorRecord;

/// Frames of a stack that are told.
const FRAMES: usize = 32;

impl Inner {
    /// Tells of an allocation, if somebody listens. `cache` is the allocating
    /// mutator's.
    #[inline]
    pub(crate) fn tell_alloc(
        &self,
        cache: &Cache,
        address: Address,
        size: usize,
        layout: LayoutId,
    ) {
        if self.events.tells_objects() {
            self.tell_alloc_slow(cache, address, size, layout);
        }
    }

    #[cold]
    fn tell_alloc_slow(&self, cache: &Cache, address: Address, size: usize, layout: LayoutId) {
        let mut frames = [0; FRAMES];
        let depth = backtrace::capture(&mut frames, 3);
        let event = Event::Alloc { address, size, layout, stack: &frames[..depth] };
        cache.while_empty(&self.space, || self.events.send(&event));
    }

    /// Tells of a mutator that has come or goes, on its thread.
    pub(crate) fn tell_mutator(
        &self,
        own: &MutatorRecord,
        event: impl FnOnce(u64) -> Event<'static>,
    ) {
        if self.events.is_on() {
            let event = event(self.world.attached() as u64);
            own.cache.while_empty(&self.space, || self.events.send(&event));
        }
    }

    /// Tells of a cycle before the world is stopped, or instead. `own` is the
    /// calling thread's mutator. During a stop and until it goes on its cache is
    /// empty anyway.
    pub(crate) fn tell_cycle(&self, own: Option<&MutatorRecord>, event: &Event<'_>) {
        match own {
            _ if !self.events.is_on() => {}
            Some(own) => own.cache.while_empty(&self.space, || self.events.send(event)),
            None => self.events.send(event),
        }
    }

    /// Tells of every object that is not marked. The world is stopped and
    /// marking is complete.
    pub(crate) fn tell_frees(&self) {
        if !self.events.tells_objects() {
            return;
        }
        let space = &self.space;
        space.for_each_span(|_, span| {
            let marks = space.mark_bits(span);
            let mixed = space.class_info(span.class()).scan == Scan::Mixed;
            let header = if mixed { WORD_SIZE } else { 0 };
            for index in 0..span.cells() {
                // Relaxed: the world is stopped.
                let marked = marks[index / 64].load(Relaxed) >> (index % 64) & 1 != 0;
                if !marked && space.is_allocated(span, index) {
                    let cells = space.object_cells(span, index);
                    if cells.start != index {
                        continue;
                    }
                    let size = cells.len() * span.cell_bytes() - header;
                    let address = span.cell(index).add(header);
                    self.events.send(&Event::Free { address, size });
                }
            }
        });
    }

    /// Whether allocations must take the slow path one by one.
    pub(crate) fn steps_singly(&self) -> bool {
        self.config.collect_every != 0 || self.events.tells_objects()
    }
}

impl Heap {
    /// Sets who is told of every allocation, death and cycle; returns who was
    /// told before. A mutator that is already attached tells from its next
    /// refill on; to miss nothing, set the listener before threads attach.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::observe::LiveObjects;
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// use std::sync::Arc;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let live = Arc::new(LiveObjects::new());
    /// heap.set_listener(Some(live.listener()));
    /// let mutator = heap.attach()?;
    /// mutator.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE)?;
    /// assert_eq!(live.bytes(), 112);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(live.bytes(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_listener(&self, listener: Option<Listener>) -> Option<Listener> {
        self.inner().events.set(listener)
    }

    /// As [`set_listener`](Heap::set_listener), for a listener that is told of these events. One of
    /// [`Interest::Cycles`] leaves allocation as fast as it is. A heap has one listener of any kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::observe::{Event, Interest};
    /// use mallocgc::raw::{Config, Force, Heap};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let live = Arc::new(Mutex::new(None));
    /// let told = live.clone();
    /// let listener = move |event: &Event<'_>| {
    ///     if let Event::CycleEnd(record) = event {
    ///         *told.lock().unwrap() = Some(record.live_bytes);
    ///     }
    /// };
    /// heap.set_listener_for(Interest::Cycles, Some(Arc::new(listener)));
    /// heap.gc(Force::Now)?;
    /// assert_eq!(*live.lock().unwrap(), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_listener_for(
        &self,
        interest: Interest,
        listener: Option<Listener>,
    ) -> Option<Listener> {
        self.inner().events.set_for(interest, listener)
    }
}
