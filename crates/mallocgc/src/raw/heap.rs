//! The heap as a value.
//!
//! [`Heap`] is a handle; the heap lives until the last handle, mutator, root
//! and weak handle is dropped. Threads of the heap hold the inner part only,
//! so that they do not keep it alive; dropping the outer part ends them.

use crate::base::Address;
use crate::base::sync::{AtomicU64, Lock, LockGuard, Ordering::Relaxed, Rank};
use crate::collect::ambiguous::AmbiguousMarker;
use crate::collect::concurrent::Concurrent;
use crate::collect::cycle::{Collector, CycleReport, Extensions, Parts, Request, WorkerCount};
use crate::collect::pacer::{self, PacerSettings};
use crate::collect::verify::{Fault, Verify};
use crate::heap::error::AllocError;
use crate::heap::object::Found;
use crate::heap::space::{Space, SpaceOptions};
use crate::heap::special::SpecialCounts;
use crate::layout::{LayoutError, TypeLayout};
use crate::observe::{BucketId, Event, EventSink, Profile, ProfileConfig};
use crate::os::{self, Reservation};
use crate::raw::concurrent::CollectorThread;
use crate::raw::config::Config;
use crate::raw::conservative::ConservativeClient;
use crate::raw::layout::{Layout, Layouts};
use crate::raw::limits::Limiting;
use crate::raw::mutator::Mutator;
use crate::raw::pacing::Pacing;
use crate::raw::pressure::PressureHooks;
use crate::raw::root::Root;
use crate::raw::runner::Runners;
use crate::raw::settings::ClearHooks;
use crate::raw::statistics::History;
use crate::raw::threads::{Threads, lock};
use crate::world::callback;
use crate::world::mutator::MutatorRecord;
use crate::world::roots::{RangeKind, RootVisitor, Roots};
use crate::world::stop::{StopTimedOut, World};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The most threads that mark, whatever is asked for.
const MOST_WORKERS: usize = 256;

/// Address range that must be left when a heap has been made: for mutators,
/// which take 130 MiB each, and for threads.
const ROOM_BYTES: usize = 512 << 20;

/// Why a heap could not be made, or a thread not attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeapError {
    /// The system refused memory or address range.
    OutOfMemory(AllocError),
    /// The thread is inside a callback of a heap.
    Reentrant,
    /// The thread is a mutator of this heap already.
    AlreadyAttached,
}

impl core::fmt::Display for HeapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            HeapError::OutOfMemory(error) => write!(f, "{error}"),
            HeapError::Reentrant => f.write_str("the heap was entered from one of its callbacks"),
            HeapError::AlreadyAttached => {
                f.write_str("the thread is a mutator of this heap already")
            }
        }
    }
}

impl std::error::Error for HeapError {}

impl From<AllocError> for HeapError {
    fn from(error: AllocError) -> HeapError {
        HeapError::OutOfMemory(error)
    }
}

/// Why a collection did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GcError {
    /// A mutator reached no boundary in time.
    StopTimedOut(StopTimedOut),
    /// The thread is inside a callback of a heap.
    Reentrant,
}

impl core::fmt::Display for GcError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            GcError::StopTimedOut(error) => write!(f, "{error}"),
            GcError::Reentrant => f.write_str("a collection was asked for inside a callback"),
        }
    }
}

impl std::error::Error for GcError {}

/// How strongly a collection is asked for (the origin's `force`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// Only if the heap has reached its trigger; who loses the race to begin
    /// the cycle looks again and goes on.
    IfNeeded,
    /// Whatever the heap's size, also with automatic collection off.
    Now,
    /// As `Now`, and everything is swept on return.
    NowAndSweep,
}

/// Everything a heap is, but for its lifetime.
pub(crate) struct Inner {
    /// For the threads it starts.
    pub(crate) this: Weak<Inner>,
    pub(crate) threads: Threads,
    pub(crate) runners: Runners,
    pub(crate) id: u64,
    pub(crate) config: Config,
    pub(crate) workers: WorkerCount,
    pub(crate) pacer: Lock<PacerSettings>,
    pub(crate) limiting: Limiting,
    pub(crate) pressure: PressureHooks,
    /// Who stops the threads of a conservative heap.
    pub(crate) client: OnceLock<&'static dyn ConservativeClient>,
    /// One cycle at a time.
    pub(crate) cycle: Lock<()>,
    pub(crate) collector: Collector,
    pub(crate) concurrent: Concurrent,
    pub(crate) collector_thread: CollectorThread,
    pub(crate) pacing: Pacing,
    pub(crate) roots: Roots,
    /// Ranges whose contents never die.
    pub(crate) statics: Mutex<Vec<(Address, usize)>>,
    pub(crate) layouts: Layouts,
    pub(crate) world: World,
    pub(crate) forced_cycles: AtomicU64,
    /// A cycle was given up; the next attempt waits until this time.
    pub(crate) retry_nanos: AtomicU64,
    pub(crate) events: EventSink,
    pub(crate) profile: Profile,
    /// Mean bytes between samples, as set last.
    pub(crate) profile_rate: AtomicU64,
    pub(crate) clear_hooks: Lock<ClearHooks>,
    pub(crate) zero_base: Address,
    pub(crate) history: History,
    pub(crate) space: Space,
}

/// Ends the heap's threads when the last handle goes.
pub(crate) struct Owner {
    pub(crate) inner: Arc<Inner>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.threads.end(|| {
            self.inner.close_queues();
            self.inner.collector_thread.wake();
        });
        self.inner.discard_specials();
    }
}

/// A garbage-collected heap. Clones are handles to the same heap.
#[derive(Clone)]
pub struct Heap {
    pub(crate) owner: Arc<Owner>,
}

impl core::fmt::Debug for Heap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Heap {}", self.inner().id)
    }
}

/// An object found by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// First byte of the object.
    pub base: Address,
    /// Usable bytes.
    pub bytes: usize,
}

impl Heap {
    /// Makes a heap. Nothing is resident but a few tables until objects are
    /// allocated.
    ///
    /// # Errors
    ///
    /// When the system refuses even 64 MiB of address range.
    pub fn new(config: Config) -> Result<Heap, HeapError> {
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let reserve_bytes = match config.reserve_bytes {
            0 => (4 * os::physical_memory_bytes()).next_power_of_two().max(64 << 30),
            bytes => bytes,
        };
        let options = SpaceOptions {
            reserve_bytes,
            limit_bytes: config.heap_limit_bytes,
            huge_pages: config.huge_pages,
        };
        let (space, collector) = Space::new(options, |space| {
            let collector = Collector::new(space.reserved_bytes())?;
            // Where address range is scarce the heap must not take all of it.
            drop(Reservation::reserve(ROOM_BYTES.min(space.reserved_bytes()), 4096)?);
            Ok(collector)
        })?;
        let layouts = Layouts::new(&space)?;
        let zero_base = layouts.zero_base(&space)?;
        let workers = match config.workers {
            0 => WorkerCount::Automatic { processors: os::processors() },
            workers => WorkerCount::Fixed(workers.min(MOST_WORKERS)),
        };
        let pacer = PacerSettings {
            gc_percent: config.gc_percent,
            min_heap_bytes: config.min_heap_bytes as u64,
            heap_limit_bytes: config.heap_limit_bytes as u64,
        };
        space.trigger_bytes.store(pacer.pace(0).trigger_bytes, Relaxed);
        space.clobber.store(config.clobber, Relaxed);
        let limiting = Limiting::new(&config);
        let profile_rate = AtomicU64::new(config.profile_rate);
        let id = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let profile = Profile::new(ProfileConfig {
            max_buckets: config.profile_max_buckets,
            max_depth: config.profile_max_frames,
        });
        let inner = Arc::new_cyclic(|this| Inner {
            this: this.clone(),
            threads: Threads::default(),
            runners: Runners::default(),
            id,
            config,
            workers,
            pacer: Lock::new(Rank::Observe, pacer),
            limiting,
            pressure: PressureHooks::new(),
            client: OnceLock::new(),
            cycle: Lock::new(Rank::Cycle, ()),
            collector,
            concurrent: Concurrent::default(),
            collector_thread: CollectorThread::default(),
            pacing: Pacing::new(pacer),
            roots: Roots::new(id),
            statics: Mutex::new(Vec::new()),
            layouts,
            world: World::new(os::random_seed()),
            forced_cycles: AtomicU64::new(0),
            retry_nanos: AtomicU64::new(0),
            events: EventSink::new(),
            profile,
            profile_rate,
            clear_hooks: Lock::new(Rank::Observe, ClearHooks::default()),
            zero_base,
            history: History::new(),
            space,
        });
        inner.apply_memory_limit();
        Ok(Heap { owner: Arc::new(Owner { inner }) })
    }

    #[inline]
    pub(crate) fn inner(&self) -> &Inner {
        &self.owner.inner
    }

    /// Whether two handles are of the same heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let (heap, other) = (Heap::new(Config::default())?, Heap::new(Config::default())?);
    /// assert!(heap.is_same(&heap.clone()) && !heap.is_same(&other));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn is_same(&self, other: &Heap) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// A number that no other heap of the process has.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.inner().id
    }

    /// Makes the calling thread a mutator, until the mutator is dropped.
    ///
    /// # Errors
    ///
    /// When there is no memory for its cache, or inside a callback.
    pub fn attach(&self) -> Result<Mutator, HeapError> {
        if callback::is_inside() {
            return Err(HeapError::Reentrant);
        }
        Mutator::attach(self)
    }

    /// Registers a layout. Equal layouts get equal handles.
    ///
    /// # Errors
    ///
    /// When the heap knows 65,536 layouts, or has no memory for one more.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap, TypeLayout};
    /// let heap = Heap::new(Config::default())?;
    /// let node = heap.layout(&TypeLayout::mask(3, 0b110).named("Node"))?;
    /// assert_eq!((node.size_bytes(), node.is_noscan()), (24, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layout(&self, layout: &TypeLayout) -> Result<Layout, LayoutError> {
        self.inner().layouts.register(self.inner(), layout)
    }

    /// The address all objects of zero bytes have.
    pub fn zero_base(&self) -> NonNull<u8> {
        NonNull::new(self.inner().zero_base.as_ptr()).expect("the heap has a zero base")
    }

    /// The object that an address points at or into, if it is in this heap
    /// and allocated. Any number may be asked about.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::base::Address;
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(100, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let inside = Address::new(object.addr().get() + 50);
    /// let found = heap.find_object(inside).unwrap();
    /// assert_eq!(found.base.as_usize(), object.addr().get());
    /// assert!(found.bytes >= 100);
    /// assert!(heap.find_object(Address::new(12345)).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_object(&self, address: Address) -> Option<ObjectInfo> {
        self.inner().history.lookups.fetch_add(1, Relaxed);
        let found: Found = self.inner().space.find_object(address)?;
        Some(ObjectInfo { base: found.object, bytes: found.bytes })
    }

    /// Makes an object a root until the handle is dropped.
    ///
    /// # Errors
    ///
    /// When there is no memory for the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let root = heap.root(mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?)?;
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert!(heap.find_object(mallocgc::base::Address::from_ptr(root.get().as_ptr())).is_some());
    /// drop(root);
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().heap_objects, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root(&self, object: NonNull<u8>) -> Result<Root, AllocError> {
        Root::new(self, object)
    }

    /// Makes the words of a range roots until the number returned is given to
    /// [`remove_root_range`](Heap::remove_root_range).
    ///
    /// # Safety
    ///
    /// The range stays readable and aligned to words, and only mutators of
    /// this heap write it, between boundaries.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, RangeKind};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static TABLE: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// // SAFETY: a static is there for ever, and only this thread writes it.
    /// let range = unsafe { heap.add_root_range(TABLE.as_ptr().cast(), 8, RangeKind::References) };
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// TABLE[5].store(object.addr().get(), Ordering::Relaxed);
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().heap_objects, 1);
    /// assert!(heap.remove_root_range(range));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn add_root_range(&self, start: *const usize, words: usize, kind: RangeKind) -> u64 {
        self.inner().roots.add_range(Address::from_ptr(start), words, kind)
    }

    /// Forgets a root range; `false` when there is none of this number.
    pub fn remove_root_range(&self, id: u64) -> bool {
        self.inner().roots.remove_range(id)
    }

    /// Registers a callback that visits roots at every cycle, with the world
    /// stopped. It must not enter the heap: what it calls answers with an
    /// error.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    /// use std::sync::atomic::{AtomicPtr, Ordering};
    /// use std::sync::Arc;
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let newest = Arc::new(AtomicPtr::<u8>::default());
    /// let visited = newest.clone();
    /// let callback = heap.add_root_callback(move |visitor| visitor.visit(visited.load(Ordering::Relaxed)));
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// newest.store(object.as_ptr(), Ordering::Relaxed);
    /// mutator.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().heap_objects, 1);
    /// assert!(heap.remove_root_callback(callback));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_root_callback(
        &self,
        callback: impl Fn(&mut RootVisitor<'_>) + Send + Sync + 'static,
    ) -> u64 {
        self.inner().roots.add_callback(Arc::new(callback))
    }

    /// Forgets a root callback; `false` when there is none of this number.
    pub fn remove_root_callback(&self, id: u64) -> bool {
        self.inner().roots.remove_callback(id)
    }

    /// Declares that what lies in a range never dies, as the data segments of
    /// a program: finalizers, cleanups and weak handles on it are accepted and
    /// do nothing, or never clear. Root ranges count as such without it.
    pub fn register_static_range(&self, start: *const u8, bytes: usize) {
        lock(&self.inner().statics).push((Address::from_ptr(start), bytes));
    }

    /// Counts of finalizers, cleanups, weak handles and ephemerons.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let (weak, _) = mutator.weak(object)?;
    /// assert_eq!(heap.special_counts().weak_made, 1);
    /// # drop(weak);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn special_counts(&self) -> SpecialCounts {
        let inner = self.inner();
        let ephemerons_cleared = inner.collector.ephemerons_cleared();
        SpecialCounts { ephemerons_cleared, ..inner.space.specials.counts() }
    }

    /// Runs a collection from a thread that is no mutator of this heap.
    ///
    /// # Errors
    ///
    /// When a mutator reaches no boundary in time, or inside a callback.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Force, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// heap.gc(Force::NowAndSweep)?;
    /// assert_eq!(heap.stats().num_forced_gc, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gc(&self, force: Force) -> Result<(), GcError> {
        self.inner().collect(None, force).map(drop)
    }
}

impl Heap {
    /// Stops the world and checks every structure of the heap, object by
    /// object; returns the first fault, which a correct program never sees.
    /// For debugging and tests. From a thread that is no mutator of this heap.
    ///
    /// # Errors
    ///
    /// As [`gc`](Heap::gc).
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{Config, Heap};
    /// let heap = Heap::new(Config::default())?;
    /// assert!(heap.verify()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Result<Option<Fault>, GcError> {
        self.inner().verify(None)
    }
}

impl Inner {
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts { space: &self.space, world: &self.world, roots: &self.roots }
    }

    /// Whether the heap has reached its trigger.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        // Relaxed: decided again under the cycle lock.
        let trigger = self.space.trigger_bytes.load(Relaxed);
        let heap_bytes = self.heap_bytes();
        (heap_bytes >= trigger && !self.is_held(heap_bytes))
            || self.space.short_of_memory.load(Relaxed)
            || (trigger != u64::MAX && !self.space.is_marking() && self.is_cheap_to_collect())
    }

    /// Whether a cycle costs less than the fresh memory it may save.
    fn is_cheap_to_collect(&self) -> bool {
        let fresh = self.space.fresh_bytes.load(Relaxed);
        let live = self.history.live_bytes();
        fresh != 0 && pacer::cheaper_than_faults(fresh, live, self.history.last_mark_nanos())
    }

    /// Runs a cycle if `force` and the heap's size say so. `own` is the
    /// calling thread's mutator, active.
    pub(crate) fn collect(
        &self,
        own: Option<&MutatorRecord>,
        force: Force,
    ) -> Result<Option<CycleReport>, GcError> {
        if callback::is_inside() {
            return Err(GcError::Reentrant);
        }
        // While waiting for the lock this thread must not keep the world
        // from stopping.
        let _safe = own.map(|record| SafeSection::begin(self, record));
        let report = self.collect_safe(own, force)?;
        if report.is_some() {
            self.after_cycle(force);
        } else if self.world.has_abandoned() {
            self.world.detach_abandoned(&self.space);
        }
        Ok(report)
    }

    /// What follows a cycle when its lock was given up.
    pub(crate) fn after_cycle(&self, force: Force) {
        if self.world.has_abandoned() {
            self.world.detach_abandoned(&self.space);
        }
        if force == Force::NowAndSweep {
            self.space.finish_sweep();
            self.profile.publish_swept();
        }
        self.keep_to_memory_limit();
        self.arm_pressure();
        self.kick_background();
    }

    /// Checks the whole heap; the first fault.
    pub(crate) fn verify(&self, own: Option<&MutatorRecord>) -> Result<Option<Fault>, GcError> {
        if callback::is_inside() {
            return Err(GcError::Reentrant);
        }
        let _safe = own.map(|record| SafeSection::begin(self, record));
        let _cycle = self.lock_cycle();
        self.finish_open_cycle(own)?;
        let limit = self.config.stop_limit;
        self.collector.verify(self.parts(), own, limit).map_err(GcError::StopTimedOut)
    }

    /// Ends a cycle that marks beside the mutators, under the cycle lock.
    pub(crate) fn finish_open_cycle(&self, own: Option<&MutatorRecord>) -> Result<(), GcError> {
        if self.concurrent.is_open() {
            let mut report = self.finish_beside(own).map_err(|error| {
                self.put_off(own, error);
                GcError::StopTimedOut(error)
            })?;
            self.note_cycle(&mut report, false);
        }
        Ok(())
    }

    /// Takes the cycle lock. The collector thread hurries meanwhile.
    pub(crate) fn lock_cycle(&self) -> LockGuard<'_, ()> {
        // Relaxed: a hint.
        self.collector_thread.waiting.fetch_add(1, Relaxed);
        let cycle = self.cycle.lock();
        self.collector_thread.waiting.fetch_sub(1, Relaxed);
        cycle
    }

    fn collect_safe(
        &self,
        own: Option<&MutatorRecord>,
        force: Force,
    ) -> Result<Option<CycleReport>, GcError> {
        let _cycle = self.lock_cycle();
        let forced = force != Force::IfNeeded;
        // Who lost the race finds the heap small again; after an attempt that
        // was given up everyone waits a little.
        if !forced && (!self.is_due() || os::now_nanos() < self.retry_nanos.load(Relaxed)) {
            self.world.withdraw_cycle();
            return Ok(None);
        }
        self.run_cycles(own, forced).map(Some).map_err(|error| {
            self.put_off(own, error);
            GcError::StopTimedOut(error)
        })
    }

    /// Ends an open cycle and, unless that will do, runs another. The caller
    /// holds the cycle lock.
    fn run_cycles(
        &self,
        own: Option<&MutatorRecord>,
        forced: bool,
    ) -> Result<CycleReport, StopTimedOut> {
        if self.concurrent.is_open() {
            let mut report = self.finish_beside(own)?;
            self.note_cycle(&mut report, false);
            // What died since it began is left for the next.
            if !forced {
                return Ok(report);
            }
        }
        // A mutator that is alone would only wait for itself twice.
        let others = self.world.attached() > usize::from(own.is_some());
        let mut report = if others && self.marks_beside() {
            self.begin_beside(own)?;
            self.finish_beside(own)?
        } else {
            self.collect_stopped(own)?
        };
        self.note_cycle(&mut report, forced);
        Ok(report)
    }

    /// A cycle in one stop. The caller holds the cycle lock.
    pub(crate) fn collect_stopped(
        &self,
        own: Option<&MutatorRecord>,
    ) -> Result<CycleReport, StopTimedOut> {
        let number = self.collector.cycles() + 1;
        self.tell_cycle(own, &Event::CycleBegin { number });
        let mut extensions = CycleExtensions { inner: self };
        self.collector.run(self.parts(), own, self.request(), &mut extensions)
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            pacer: *self.pacer.lock(),
            stop_limit: self.config.stop_limit,
            workers: self.workers,
            verify: match self.config.verify {
                false => Verify::Off,
                true => Verify::EachPhase,
            },
        }
    }

    /// A cycle has ended.
    pub(crate) fn note_cycle(&self, report: &mut CycleReport, forced: bool) {
        if forced {
            self.forced_cycles.fetch_add(1, Relaxed);
        }
        self.finish_pacing(report);
        let limits = self.finish_cycle_limits(report);
        self.record_cycle(report, &limits, forced);
        self.profile.publish();
    }

    /// A mutator did not stop in time: nobody tries again for a while.
    pub(crate) fn put_off(&self, own: Option<&MutatorRecord>, error: StopTimedOut) {
        self.world.withdraw_cycle();
        let wait = self.config.stop_limit.as_nanos() as u64;
        self.retry_nanos.store(os::now_nanos() + wait, Relaxed);
        let number = self.collector.cycles() + 1;
        self.tell_cycle(own, &Event::CyclePutOff { number });
        self.log(format_args!("mallocgc: collection put off: {error}"));
    }
}

/// What the raw interface adds to a cycle.
pub(crate) struct CycleExtensions<'h> {
    pub(crate) inner: &'h Inner,
}

impl Extensions for CycleExtensions<'_> {
    fn clear(&mut self) {
        if let Some(client) = self.inner.client.get() {
            client.stop();
        }
        self.inner.clear_pools();
    }

    fn roots(&mut self, marker: &mut dyn AmbiguousMarker) {
        if let Some(client) = self.inner.client.get() {
            client.roots(marker);
        }
    }

    fn reached(&mut self, marker: &mut dyn AmbiguousMarker) {
        if let Some(client) = self.inner.client.get() {
            client.reached(marker);
        }
    }

    fn resume(&mut self) {
        if let Some(client) = self.inner.client.get() {
            client.resume();
        }
    }

    fn marked(&mut self) {
        self.inner.profile.begin_cycle();
    }

    fn sample_freed(&mut self, [bucket, bytes]: [u64; 2]) {
        // As `Inner::sample` registered them.
        self.inner.profile.record_free(BucketId(bucket as u32), bytes as usize);
    }

    fn decided(&mut self) {
        self.inner.tell_frees();
    }

    fn looks_at_marks(&self) -> bool {
        self.inner.events.tells_objects()
    }
}

/// A mutator is safe until this is dropped.
pub(crate) struct SafeSection<'w> {
    inner: &'w Inner,
    record: &'w MutatorRecord,
}

impl<'w> SafeSection<'w> {
    pub(crate) fn begin(inner: &'w Inner, record: &'w MutatorRecord) -> SafeSection<'w> {
        inner.world.leave(record);
        SafeSection { inner, record }
    }
}

impl Drop for SafeSection<'_> {
    fn drop(&mut self) {
        let waited = self.inner.world.enter(self.record);
        self.inner.history.note_blocked(waited);
    }
}
