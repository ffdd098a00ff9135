//! What a function inside [`run`](crate::typed::Mutator::run) has of the heap.

use crate::base::Address;
use crate::base::claim::ReadClaim;
use crate::layout::Tracer;
use crate::raw;
use crate::typed::core::Core;
use crate::typed::kind::{Kind, Local};
use ::core::marker::PhantomData;
use ::core::ops::Deref;

/// Makes a lifetime invariant: neither longer nor shorter will do.
pub(super) type Brand<'gc> = PhantomData<::core::cell::Cell<&'gc ()>>;

/// The right to change objects of one heap, as cells ask for it. Every [`Cx`] is one.
///
/// gc-arena's type of this name allocates, too; here [`Cx`] does, which knows whether the heap is shared.
pub struct Mutation<'gc> {
    core: *const Core,
    brand: Brand<'gc>,
}

impl<'gc> Mutation<'gc> {
    #[inline(always)]
    pub(super) fn core(&self) -> &Core {
        // SAFETY: `Cx::with` made this for as long as it borrows the core, or `Cx::within`, whose caller promised it.
        unsafe { &*self.core }
    }

    /// Whether the heap wants the thread at a boundary: it is time for a cycle, another thread waits, or memory was
    /// short. A load or two; for the loops of interpreters.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// let made = heap.run(|cx| {
    ///     let mut made = 0u64;
    ///     while !cx.wants_boundary() {
    ///         Gc::new(cx, made);
    ///         made += 1;
    ///     }
    ///     made
    /// });
    /// assert!(made > 100_000);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    pub fn wants_boundary(&self) -> bool {
        self.core().wants_boundary()
    }

    /// The barrier before the reference in a slot is overwritten.
    #[inline(always)]
    pub(super) fn before_write(&self, slot: *mut *mut u8) {
        // SAFETY: cells pass their own word, in an object of this heap or elsewhere.
        unsafe { self.core().raw.pre_write(slot) };
    }

    /// The barrier before a value is changed that its claim guards.
    #[inline(always)]
    pub(super) fn before_change(&self, claim: &ReadClaim, read: &dyn Fn(&mut Tracer<'_>)) {
        self.core().raw.before_change(claim, read);
    }

    /// Whether a small value may be written without more.
    #[inline(always)]
    pub(super) fn may_write_plainly(&self) -> bool {
        !self.core().raw.is_marking()
    }

    /// Changes a small value, apart from the marker's reading it.
    #[cold]
    pub(super) fn change_apart(
        &self,
        place: *const (),
        read: &dyn Fn(&mut Tracer<'_>),
        write: &mut dyn FnMut(),
    ) {
        self.core().raw.change_apart(Address::from_ptr(place), read, write);
    }

    /// The heap itself, for settings and statistics.
    pub fn heap(&self) -> &raw::Heap {
        self.core().raw.heap()
    }
}

impl Mutation<'_> {
    /// Says that an object keeps `bytes` outside the heap, which exist already: cycles come as if they were
    /// the heap's. The statement is kept where the memory is, mostly in the object; dropping it takes the bytes off.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::External;
    /// use mallocgc::typed::{Gc, Heap, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Image {
    ///     pixels: Vec<u8>,
    ///     external: External,
    /// }
    ///
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let pixels = vec![0; 1 << 20];
    ///     let external = cx.external(pixels.len());
    ///     Gc::new(cx, Image { pixels, external });
    /// });
    /// assert_eq!(heap.run(|cx| cx.heap().stats().external_bytes), 1 << 20);
    /// heap.collect();
    /// assert_eq!(heap.run(|cx| cx.heap().stats().external_bytes), 0);
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn external(&self, bytes: usize) -> raw::External {
        self.heap().external(bytes)
    }

    /// As [`external`](Mutation::external), for memory that is about to be made.
    ///
    /// # Errors
    ///
    /// [`LimitReached`](raw::AllocError::LimitReached) when the heap limit leaves no room for it.
    pub fn try_external(&self, bytes: usize) -> Result<raw::External, raw::AllocError> {
        self.heap().try_external(bytes)
    }
}

impl ::core::fmt::Debug for Mutation<'_> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "Mutation of {:?}", self.heap())
    }
}

/// The heap, to the functions inside [`run`](crate::typed::Mutator::run). `K` says what it takes: anything,
/// or what threads may share.
///
/// A context cannot be sent, kept, or used for another heap's objects: its lifetime is unlike any other.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Accepts, Cx, Gc, Heap, Kind, Mutation, Slot};
///
/// /// Allocates, in a heap of either kind.
/// fn pair<'gc, K: Kind + Accepts<(u64, u64)>>(cx: &Cx<'gc, K>) -> Gc<'gc, (u64, u64)> {
///     Gc::new(cx, (1, 2))
/// }
///
/// /// Changes what is there: a `Cx` is a `Mutation`.
/// fn clear<'gc>(mutation: &Mutation<'gc>, place: &Slot<Option<Gc<'gc, (u64, u64)>>>) {
///     place.set(mutation, None);
/// }
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let place = Slot::new(Some(pair(cx)));
///     clear(cx, &place);
///     assert!(place.get().is_none());
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct Cx<'gc, K = Local> {
    mutation: Mutation<'gc>,
    kind: PhantomData<K>,
}

impl<'gc, K> Deref for Cx<'gc, K> {
    type Target = Mutation<'gc>;

    #[inline(always)]
    fn deref(&self) -> &Mutation<'gc> {
        &self.mutation
    }
}

impl<K> ::core::fmt::Debug for Cx<'_, K> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "Cx of {:?}", self.heap())
    }
}

impl<'gc, K: Kind> Cx<'gc, K> {
    /// Calls `f` with a context of a core whose mutator is active.
    #[inline]
    pub(super) fn with<R>(core: &Core, f: impl for<'any> FnOnce(&'any Cx<'any, K>) -> R) -> R {
        let mutation = Mutation { core, brand: PhantomData };
        f(&Cx { mutation, kind: PhantomData })
    }

    /// A context of a core for another thread, inside this `run`.
    ///
    /// # Safety
    ///
    /// The core is from `Core::fork` of a context of the heap `'gc`, outlives the context, and belongs to this thread.
    pub(super) unsafe fn within(core: &Core) -> Cx<'gc, K> {
        Cx { mutation: Mutation { core, brand: PhantomData }, kind: PhantomData }
    }
}
