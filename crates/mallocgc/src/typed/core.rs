//! What a thread's contexts stand on: its raw mutator, how deep it is in `run`, and the classes of the types it
//! allocates.

use crate::base::WORD_SIZE;
use crate::heap::error::AllocError as RawError;
use crate::raw::{self, AllocClass, AllocFlags, Force, Layout};
use crate::typed::plan::{self, Key, Plan};
use crate::typed::trace::Trace;
use ::core::cell::{Cell, RefCell};
use ::core::ptr::NonNull;
use std::fmt;

/// Kinds of objects whose class is at hand.
const CLASSES: usize = 64;

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
    /// There is none, though the heap was collected just before this `run`.
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

#[derive(Clone, Copy)]
struct Known {
    identity: (usize, usize, u8),
    layout: Layout,
    class: Option<AllocClass>,
}

/// A thread's part of a typed heap.
///
/// # Invariants
///
/// 1. The raw mutator is active exactly while `depth` is not 0.
/// 2. References exist on the thread's stack only while `depth` is not 0, and no boundary is
///    crossed meanwhile.
pub(super) struct Core {
    pub(super) raw: raw::Mutator,
    depth: Cell<usize>,
    shortage: Cell<Shortage>,
    /// The sweep generation at the last boundary: another one says that there was a cycle.
    generation: Cell<u32>,
    /// What is dropped and run at boundaries is being dropped and run.
    settling: Cell<bool>,
    known: RefCell<Box<[Option<Known>; CLASSES]>>,
}

impl Core {
    pub(super) fn new(raw: raw::Mutator) -> Core {
        raw.become_safe();
        Core {
            generation: Cell::new(raw.inner().space.sweep_generation()),
            raw,
            depth: Cell::new(0),
            shortage: Cell::new(Shortage::None),
            settling: Cell::new(false),
            known: RefCell::new(Box::new([None; CLASSES])),
        }
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
        if settle && self.raw.inner().space.sweep_generation() != self.generation.get() {
            self.settle();
        }
        result
    }

    /// The outermost `run` ends: the heap is collected if it is time, and the
    /// mutator becomes safe.
    #[inline]
    fn boundary(&self) {
        if self.shortage.get() == Shortage::None {
            self.raw.poll();
        } else {
            self.after_shortage();
        }
        self.raw.become_safe();
    }

    #[cold]
    fn after_shortage(&self) {
        match self.shortage.get() {
            Shortage::Met => {
                // A mutator that does not come puts the cycle off; it is in the log.
                let _ = self.raw.gc(Force::NowAndSweep);
                self.shortage.set(Shortage::Collected);
            }
            _ => {
                self.shortage.set(Shortage::None);
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
        self.shortage.get() == Shortage::Met || self.raw.wants_boundary()
    }

    // --- allocation --------------------------------------------------------

    #[inline(always)]
    fn known(&self, key: &Key) -> Option<Known> {
        let identity = key.identity();
        // Constant for a type but for the address of a function.
        let slot = slot_of(identity);
        let known = self.known.borrow();
        match known[slot] {
            Some(known) if known.identity == identity => Some(known),
            _ => None,
        }
    }

    #[cold]
    fn learn(&self, key: &Key) -> Result<Known, RawError> {
        let identity = key.identity();
        let layout = key.layout().and_then(|layout| self.raw.heap().layout(&layout));
        let layout = layout.map_err(|_| RawError::OutOfMemory { bytes: 0, cause: None })?;
        // Larger ones have none.
        let class = self.raw.alloc_class(key.bytes, layout).ok();
        let known = Known { identity, layout, class };
        self.known.borrow_mut()[slot_of(identity)] = Some(known);
        Ok(known)
    }

    /// Memory for an object with one value of a type, zeroed. If the type has a destructor, it
    /// will run.
    ///
    /// # Safety
    ///
    /// The value is written before the next boundary.
    #[inline(always)]
    pub(super) unsafe fn allocate<'gc, T: Trace<'gc>>(&self) -> Result<NonNull<T>, RawError> {
        if Plan::<T>::BYTES == 0 && !Plan::<T>::DROPS {
            return self.nothing();
        }
        let key = Plan::<T>::key();
        let known = match self.known(&key) {
            Some(known) => known,
            None => self.learn(&key)?,
        };
        let place = match known.class {
            Some(class) if align_of::<T>() <= WORD_SIZE => self.raw.alloc(class)?,
            _ => self.allocate_other(Plan::<T>::BYTES.max(1), align_of::<T>(), known.layout)?,
        };
        if Plan::<T>::DROPS {
            // SAFETY: passed on.
            unsafe { self.let_drop::<T>(place)? };
        }
        Ok(place.cast())
    }

    /// A place for no bytes, to which handles can be made.
    #[inline(always)]
    fn nothing<T>(&self) -> Result<NonNull<T>, RawError> {
        if align_of::<T>() <= ZERO_BASE_ALIGN {
            return Ok(self.raw.heap().zero_base().cast());
        }
        Ok(self.allocate_other(1, align_of::<T>(), Layout::NOSCAN)?.cast())
    }

    #[cold]
    fn allocate_other(
        &self,
        bytes: usize,
        align: usize,
        layout: Layout,
    ) -> Result<NonNull<u8>, RawError> {
        self.raw.mallocgc_aligned(bytes, align, layout, AllocFlags::NO_TINY)
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
    /// written. [`finish_array`](Core::finish_array) must follow.
    pub(super) fn allocate_array<'gc, T: Trace<'gc>>(
        &self,
        count: usize,
    ) -> Result<NonNull<T>, RawError> {
        let too_large = RawError::TooLarge { bytes: usize::MAX };
        let bytes = size_of::<T>().checked_mul(count).ok_or(too_large)?;
        let bytes = bytes.checked_add(Plan::<T>::ELEMENTS_OFFSET).ok_or(too_large)?;
        // No count either: behind it, the elements of an empty array would begin where another object does.
        if bytes == 0 || count == 0 {
            return self.nothing();
        }
        let key = Plan::<T>::array_key();
        let layout = match self.known(&key) {
            Some(known) => known.layout,
            None => self.learn(&key)?.layout,
        };
        let align = align_of::<T>().max(WORD_SIZE);
        let place = self.raw.mallocgc_aligned(bytes, align, layout, AllocFlags::NO_TINY)?;
        // SAFETY: so many bytes lie before the elements.
        Ok(unsafe { place.byte_add(Plan::<T>::ELEMENTS_OFFSET) }.cast())
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
    ) -> Result<(), RawError> {
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the elements lie so far from the object's begin.
        let object = unsafe { elements.cast::<u8>().byte_sub(Plan::<T>::ELEMENTS_OFFSET) };
        let counter = Plan::<T>::HAS_COUNT.then_some(object.cast::<usize>());
        if Plan::<T>::DROPS && count != 0 && size_of::<T>() != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.raw.add_drop(object, plan::drop_elements::<T>, counter, count)? };
        }
        if let Some(counter) = counter {
            // SAFETY: the count is the object's first word.
            unsafe { counter.write(count) };
        }
        Ok(())
    }

    /// What a failed allocation means, and that it is made good at the next boundary.
    #[cold]
    pub(super) fn failed(&self, error: RawError) -> AllocError {
        if !error.may_succeed_later() || self.shortage.get() == Shortage::Collected {
            return AllocError::Failed(error);
        }
        self.shortage.set(Shortage::Met);
        AllocError::NeedsBoundary(error)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The raw mutator detaches active.
        self.raw.become_active();
    }
}

fn slot_of((what, bytes, form): (usize, usize, u8)) -> usize {
    let mixed = (what ^ (what >> 7) ^ (bytes << 3) ^ form as usize).wrapping_mul(0x9E37_79B9);
    (mixed >> 8) % CLASSES
}
