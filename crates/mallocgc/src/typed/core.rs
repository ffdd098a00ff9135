//! What a thread's contexts stand on: its raw mutator, how deep it is in `run`, and the classes of the types it
//! allocates.

use crate::base::WORD_SIZE;
use crate::heap::cache::ClassCursor;
use crate::heap::error::AllocError as RawError;
use crate::raw::{self, AllocFlags, Force, Layout};
use crate::typed::kinds::{Kinds, Known};
use crate::typed::plan::{self, Key, Plan};
use crate::typed::trace::Trace;
use ::core::cell::Cell;
use ::core::ptr::NonNull;
use std::fmt;

/// What the place of the raw heap's objects of zero bytes is aligned to.
const ZERO_BASE_ALIGN: usize = 4096;

/// Why an object was not allocated.
///
/// # Examples
///
/// ```
/// use mallocgc::raw::Config;
/// use mallocgc::typed::{AllocError, Gc, Heap};
///
/// let heap = Heap::new(Config { heap_limit_bytes: 8 << 20, ..Config::default() })?;
/// // Beyond the limit, whatever is collected.
/// let result = heap.run(|cx| Gc::try_from_iter(cx, (0..16u32 << 20).map(|_| 0u8)).map(|_| ()));
/// match result {
///     Err(AllocError::NeedsBoundary(cause)) => println!("again, please: {cause}"),
///     Err(AllocError::Failed(cause)) => println!("no: {cause}"),
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllocError {
    /// There is no memory before the next boundary, where the heap is collected: return from
    /// [`run`](crate::typed::Mutator::run) and try again in the next.
    NeedsBoundary(RawError),
    /// There is none, though the heap was collected just before this `run`, and there would be none without what the
    /// run itself has allocated; or there never can be.
    Failed(RawError),
}

impl AllocError {
    /// The error of the heap.
    pub fn cause(&self) -> RawError {
        let (AllocError::NeedsBoundary(cause) | AllocError::Failed(cause)) = *self;
        cause
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::NeedsBoundary(cause) => write!(f, "{cause}; a boundary may help"),
            AllocError::Failed(cause) => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for AllocError {}

/// What an allocation that failed has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shortage {
    None,
    /// In this run; the boundary at its end collects.
    Met,
    /// The boundary before this run has collected for its sake.
    Collected,
}

/// A thread's part of a typed heap.
///
/// # Invariants
///
/// 1. The raw mutator is active exactly while `depth` is not 0.
/// 2. References exist on the thread's stack only while `depth` is not 0, and no boundary is
///    crossed meanwhile. That of a core from `fork` never is.
/// 3. The cursors of `kinds` are the raw mutator's, each of its kind's class.
pub(super) struct Core {
    pub(super) raw: raw::Mutator,
    depth: Cell<usize>,
    shortage: Cell<Shortage>,
    /// Bytes in use when the boundary had collected for a shortage's sake.
    collected_bytes: Cell<usize>,
    /// Whether the next boundary has something to do that nobody else knows of.
    busy_boundary: Cell<bool>,
    /// The sweep generation at the last boundary: another one says that there was a cycle.
    generation: Cell<u32>,
    /// Scopes of roots that are open.
    scopes: Cell<usize>,
    /// What is dropped and run at boundaries is being dropped and run.
    settling: Cell<bool>,
    kinds: Kinds,
}

impl Core {
    pub(super) fn new(raw: raw::Mutator) -> Core {
        raw.become_safe();
        Core::at(raw, 0, Shortage::None)
    }

    fn at(raw: raw::Mutator, depth: usize, shortage: Shortage) -> Core {
        Core {
            generation: Cell::new(raw.inner().space.sweep_generation()),
            busy_boundary: Cell::new(raw.counts_polls()),
            raw,
            depth: Cell::new(depth),
            shortage: Cell::new(shortage),
            collected_bytes: Cell::new(0),
            scopes: Cell::new(0),
            settling: Cell::new(false),
            kinds: Kinds::new(),
        }
    }

    /// The core of another thread inside this one's `run`: it meets no boundary.
    ///
    /// # Safety
    ///
    /// This one's `run` does not end before the other is dropped, which happens before for all threads.
    pub(super) unsafe fn fork(&self) -> Result<Core, raw::HeapError> {
        assert_ne!(self.depth.get(), 0, "a thread is added outside of `run`");
        // SAFETY: the caller's promise, and invariant 1.
        let raw = unsafe { self.raw.attach_within() }?;
        Ok(Core::at(raw, 1, self.shortage.get()))
    }

    /// Whether the boundary at the end is to collect for an allocation that failed.
    pub(super) fn has_shortage(&self) -> bool {
        self.shortage.get() == Shortage::Met
    }

    /// Another thread inside this `run` had an allocation that failed.
    pub(super) fn take_over_shortage(&self) {
        self.set_shortage(Shortage::Met);
    }

    // --- boundaries --------------------------------------------------------

    /// Calls `f` with the mutator active.
    #[inline]
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Core);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let depth = self.0.depth.get() - 1;
                if depth == 0 {
                    self.0.boundary();
                }
                self.0.depth.set(depth);
            }
        }
        let depth = self.depth.get();
        if depth == 0 {
            self.raw.become_active();
        }
        self.depth.set(depth + 1);
        let leave = Leave(self);
        let result = f();
        let settle = depth == 0;
        drop(leave);
        if settle && self.raw.space().sweep_generation() != self.generation.get() {
            self.settle();
        }
        result
    }

    /// The outermost `run` ends: the heap is collected if it is time, and the
    /// mutator becomes safe.
    #[inline(always)]
    fn boundary(&self) {
        if self.raw.become_safe() | self.busy_boundary.get() {
            self.boundary_slow();
        }
    }

    /// There is something to do at this boundary.
    #[cold]
    #[inline(never)]
    fn boundary_slow(&self) {
        self.raw.become_active();
        if self.shortage.get() == Shortage::None {
            self.raw.poll();
        } else {
            self.after_shortage();
        }
        self.raw.become_safe();
    }

    fn set_shortage(&self, shortage: Shortage) {
        self.shortage.set(shortage);
        self.busy_boundary.set(shortage != Shortage::None || self.raw.counts_polls());
    }

    #[cold]
    fn after_shortage(&self) {
        match self.shortage.get() {
            Shortage::Met => {
                // A mutator that does not come puts the cycle off; it is in the log.
                let _ = self.raw.gc(Force::NowAndSweep);
                self.collected_bytes.set(self.limited_bytes());
                self.set_shortage(Shortage::Collected);
            }
            _ => {
                self.set_shortage(Shortage::None);
                self.raw.poll();
            }
        }
    }

    /// There was a cycle: drops what it found dead. Outside of every `run`.
    #[cold]
    fn settle(&self) {
        self.generation.set(self.raw.inner().space.sweep_generation());
        if self.settling.replace(true) {
            return;
        }
        // SAFETY: finalizers of a heap are set by contexts of its kind, and take the core of one of its threads. A heap that
        // takes what is not `Send` has no other thread than this.
        unsafe { self.raw.inner().run_owned_finalizers(::core::ptr::from_ref(self).cast()) };
        self.raw.inner().run_drops();
        self.settling.set(false);
    }

    /// Collects now; whether it was possible.
    pub(super) fn collect(&self) -> Result<(), raw::GcError> {
        if self.depth.get() != 0 {
            return Err(raw::GcError::Reentrant);
        }
        let done = self.enter(|| self.raw.gc(Force::NowAndSweep));
        // Its payloads are dropped; what they were in is freed by the next.
        self.settle();
        done
    }

    /// Whether a boundary is wanted soon.
    #[inline]
    pub(super) fn wants_boundary(&self) -> bool {
        self.has_shortage() || self.raw.is_asked()
    }

    // --- scopes ------------------------------------------------------------

    /// Opens a scope of roots: its number, and how many roots there are before it.
    pub(super) fn begin_scope(&self) -> (usize, usize) {
        self.scopes.set(self.scopes.get() + 1);
        (self.scopes.get(), self.raw.root_count())
    }

    /// How many scopes are open.
    #[inline]
    pub(super) fn open_scopes(&self) -> usize {
        self.scopes.get()
    }

    /// Ends the scope opened last, before which there were so many roots.
    pub(super) fn end_scope(&self, roots: usize) {
        self.scopes.set(self.scopes.get() - 1);
        if self.raw.root_count() == roots {
            return;
        }
        // The collector reads the stack of a mutator that is safe.
        let is_outside = self.depth.get() == 0;
        if is_outside {
            self.raw.become_active();
        }
        self.raw.truncate_roots(roots);
        if is_outside {
            // What a boundary has to do, the next one does.
            self.raw.become_safe();
        }
    }

    // --- allocation --------------------------------------------------------

    /// A kind, as this heap has it; `None` after an error, which is the raw mutator's last failure.
    #[inline(never)]
    fn known(&self, key: &Key) -> Option<Known> {
        self.kinds.find(key).or_else(|| self.learn(key))
    }

    #[cold]
    fn learn(&self, key: &Key) -> Option<Known> {
        let layout = key.layout().and_then(|layout| self.raw.heap().layout(&layout));
        let none = |_| RawError::OutOfMemory { bytes: 0, cause: None };
        let layout = self.raw.note(layout.map_err(none))?;
        // Larger objects have no class, nor have those of no bytes.
        let class = self.raw.alloc_class(key.bytes, layout);
        let cursor = class.map_or(ClassCursor::NONE, |class| self.raw.class_cursor(class));
        let known = Known::new(key.identity(), cursor, layout);
        self.kinds.insert(key, known);
        Some(known)
    }

    fn layout_of(&self, known: Known) -> Layout {
        known.layout(self.raw.heap_id())
    }

    /// Memory for an object with one value of a type, zeroed; `None` after an error, which is
    /// [`failed`](Core::failed)'s to tell. If the type has a destructor, it will run.
    ///
    /// # Safety
    ///
    /// The value is written before the next boundary.
    #[inline(always)]
    pub(super) unsafe fn allocate<'gc, T: Trace<'gc>>(&self) -> Option<NonNull<T>> {
        if Plan::<T>::BYTES == 0 && !Plan::<T>::DROPS {
            return self.nothing();
        }
        let key = const { &Plan::<T>::KEY };
        let place = if Plan::<T>::SMALL_CELL != 0 {
            let place = match self.kinds.at_once(key) {
                // SAFETY: invariant 3; the core belongs to the mutator's thread, and keeps its heap.
                Some(known) => unsafe { known.cursor.bump(Plan::<T>::SMALL_CELL) },
                None => None,
            };
            match place {
                // SAFETY: cells are not at address zero.
                Some(place) => unsafe { NonNull::new_unchecked(place.as_ptr::<u8>()) },
                None => self.allocate_small(key)?,
            }
        } else {
            self.allocate_other(key, align_of::<T>())?
        };
        if Plan::<T>::DROPS {
            // SAFETY: passed on.
            self.raw.note(unsafe { self.let_drop::<T>(place) })?;
        }
        Some(place.cast())
    }

    /// Why the last allocation failed, and that it is made good at the next boundary.
    #[cold]
    pub(super) fn failed(&self) -> AllocError {
        let error = self.raw.last_failure();
        let is_too_much = match error {
            RawError::LimitReached { bytes, limit_bytes } => bytes > limit_bytes,
            _ => !error.may_succeed_later(),
        };
        let was_collected = self.shortage.get() == Shortage::Collected;
        if is_too_much || was_collected && !self.is_own_doing(error) {
            return AllocError::Failed(error);
        }
        self.set_shortage(Shortage::Met);
        AllocError::NeedsBoundary(error)
    }

    /// What the heap's limit limits.
    fn limited_bytes(&self) -> usize {
        let space = self.raw.space();
        space.used_bytes() + space.limits.external_bytes()
    }

    /// The boundary before this `run` has collected: whether the request would have succeeded there, so that
    /// it can at the next, when what the run has left behind is gone.
    fn is_own_doing(&self, error: RawError) -> bool {
        let before = self.collected_bytes.get();
        match error {
            RawError::LimitReached { bytes, limit_bytes } => {
                before.saturating_add(bytes) <= limit_bytes
            }
            // What the system would have said is not known: there is at least as much to free.
            RawError::OutOfMemory { bytes, .. } => {
                bytes != 0 && self.limited_bytes().saturating_sub(before) >= bytes
            }
            _ => false,
        }
    }

    /// An error that is known without asking the heap.
    #[cold]
    pub(super) fn refuse(&self, error: RawError) -> AllocError {
        self.raw.note(Err::<(), _>(error));
        self.failed()
    }

    /// An object of a kind whose cursor has none, or which is not where it is looked for first.
    #[cold]
    #[inline(never)]
    fn allocate_small(&self, key: &Key) -> Option<NonNull<u8>> {
        let layout = self.layout_of(self.known(key)?);
        let class = self.raw.alloc_class(key.bytes, layout);
        self.raw.note(class.and_then(|class| self.raw.alloc(class)))
    }

    /// An object of a kind that has no small cells.
    #[inline(never)]
    fn allocate_other(&self, key: &Key, align: usize) -> Option<NonNull<u8>> {
        let layout = self.layout_of(self.known(key)?);
        let bytes = key.bytes.max(1);
        self.raw.note(self.raw.mallocgc_aligned(bytes, align, layout, AllocFlags::NO_TINY))
    }

    /// A place for no bytes, to which handles can be made.
    #[inline(always)]
    pub(super) fn nothing<T>(&self) -> Option<NonNull<T>> {
        if align_of::<T>() <= ZERO_BASE_ALIGN {
            return Some(self.raw.heap().zero_base().cast());
        }
        self.byte_for()
    }

    /// An object of its own for values without bytes.
    #[inline(never)]
    pub(super) fn byte_for<T>(&self) -> Option<NonNull<T>> {
        let (align, flags) = (align_of::<T>(), AllocFlags::NO_TINY);
        let made = self.raw.mallocgc_aligned(1, align, Layout::NOSCAN, flags);
        self.raw.note(made).map(NonNull::cast)
    }

    /// As [`allocate`](Core::allocate), of an object of its own even if the value has no
    /// bytes, and whose destructor does not run before [`finish`](Core::finish).
    ///
    /// # Safety
    ///
    /// As `allocate`, unless nobody ever gets the place.
    #[inline(never)]
    pub(super) unsafe fn begin<'gc, T: Trace<'gc>>(&self) -> Option<NonNull<T>> {
        if Plan::<T>::BYTES == 0 {
            return self.byte_for();
        }
        let key = const { &Plan::<T>::KEY };
        let place = match Plan::<T>::SMALL_CELL {
            0 => self.allocate_other(key, align_of::<T>()),
            _ => self.allocate_small(key),
        };
        place.map(NonNull::cast)
    }

    /// The value is written: its destructor will run. `None` as `allocate`.
    ///
    /// # Safety
    ///
    /// The place is from [`begin`](Core::begin), and holds a value.
    pub(super) unsafe fn finish<'gc, T: Trace<'gc>>(&self, place: NonNull<T>) -> Option<()> {
        if !Plan::<T>::DROPS {
            return Some(());
        }
        // SAFETY: passed on.
        self.raw.note(unsafe { self.let_drop::<T>(place.cast()) })
    }

    /// # Safety
    ///
    /// As for [`allocate`](Core::allocate).
    unsafe fn let_drop<'gc, T: Trace<'gc>>(&self, place: NonNull<u8>) -> Result<(), RawError> {
        let alive = Plan::<T>::HAS_ALIVE.then(|| {
            // SAFETY: `alive` is part of the object.
            unsafe { place.byte_add(Plan::<T>::ALIVE_OFFSET) }.cast::<usize>()
        });
        // SAFETY: the caller's promise; the value is dropped once.
        unsafe { self.raw.add_drop(place, plan::drop_value::<T>, alive, 1)? };
        if let Some(alive) = alive {
            // SAFETY: as above.
            unsafe { alive.write(1) };
        }
        Ok(())
    }

    /// Memory for an array of `count` elements, zeroed; returns where they are to be
    /// written, or `None` as [`allocate`](Core::allocate). [`finish_array`](Core::finish_array) must follow.
    #[inline]
    pub(super) fn allocate_array<'gc, T: Trace<'gc>>(&self, count: usize) -> Option<NonNull<T>> {
        let bytes = size_of::<T>().checked_mul(count);
        let bytes = bytes.and_then(|bytes| bytes.checked_add(Plan::<T>::ELEMENTS_OFFSET));
        let bytes = self.raw.note(bytes.ok_or(RawError::TooLarge { bytes: usize::MAX }))?;
        // No count either: behind it, the elements of an empty array would begin where another object does.
        if count == 0 || bytes == 0 && !Plan::<T>::DROPS {
            return self.nothing();
        }
        if bytes == 0 {
            // Values without bytes, and with destructors: an object of their own, that dies.
            return self.byte_for();
        }
        let key = const { &Plan::<T>::ARRAY_KEY };
        let place = self.allocate_bytes(key, bytes, align_of::<T>())?;
        // SAFETY: so many bytes lie before the elements.
        Some(unsafe { place.byte_add(Plan::<T>::ELEMENTS_OFFSET) }.cast())
    }

    /// An object of a kind, with as many bytes as are asked for; `None` as [`allocate`](Core::allocate).
    #[inline]
    pub(super) fn allocate_bytes(
        &self,
        key: &Key,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let known = match self.kinds.at_once(key) {
            Some(known) => known,
            None => self.known(key)?,
        };
        let layout = self.layout_of(known);
        match align.max(WORD_SIZE) {
            WORD_SIZE => self.raw.alloc_whole(bytes, layout),
            align => {
                let flags = AllocFlags::NO_TINY;
                self.raw.note(self.raw.mallocgc_aligned(bytes, align, layout, flags))
            }
        }
    }

    /// The array's elements are written.
    ///
    /// # Safety
    ///
    /// `elements` is from [`allocate_array`](Core::allocate_array), and so many are written.
    pub(super) unsafe fn finish_array<'gc, T: Trace<'gc>>(
        &self,
        elements: NonNull<T>,
        count: usize,
    ) -> Option<()> {
        if count == 0 {
            return Some(());
        }
        // SAFETY: the elements lie so far from the object's begin.
        let object = unsafe { elements.cast::<u8>().byte_sub(Plan::<T>::ELEMENTS_OFFSET) };
        let counter = Plan::<T>::HAS_COUNT.then_some(object.cast::<usize>());
        if Plan::<T>::DROPS {
            let drop_elements = plan::drop_elements::<T>;
            // SAFETY: the caller's promise.
            let added = unsafe { self.raw.add_drop(object, drop_elements, counter, count) };
            self.raw.note(added)?;
        }
        if let Some(counter) = counter {
            // SAFETY: the count is the object's first word.
            unsafe { counter.write(count) };
        }
        Some(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The raw mutator detaches active, as one inside another's `run` is.
        if self.depth.get() == 0 {
            self.raw.become_active();
        }
    }
}
