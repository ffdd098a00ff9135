//! Cells: what may change inside an object, each with the barrier that marking needs.
//!
//! While the heap is marked beside its mutators, what a reference leads to must be noted before the reference is
//! overwritten, and the marker may be reading at any moment.
//!
//! | cell | what it refers to is noted | the marker and a change are kept apart by |
//! |---|---|---|
//! | one word | reference by reference | atomic loads and stores |
//! | [`Lock`] of more | at each change | a lock for some nanoseconds (`base::stripes`) |
//! | [`RefLock`], [`SharedLock`](crate::typed::SharedLock) | all of it, before the first change in a cycle | a claim (`base::claim`) |
//! | [`OnceLock`] | nothing is overwritten | its own state |

use crate::base::Address;
use crate::base::claim::ReadClaim;
use crate::layout::Tracer;
use crate::typed::context::Mutation;
use crate::typed::gc::Gc;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::cell::{Cell, UnsafeCell};
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::ops::{Deref, DerefMut};
use ::core::ptr::NonNull;
use ::core::sync::atomic::{AtomicPtr, Ordering};

mod sealed {
    pub trait Sealed {}
}

/// What fits a [`Slot`]: `Gc<T>` and `Option<Gc<T>>`, of sized `T`.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Mutation, Reference, Slot, Trace, rootless_mutate};
///
/// /// Exchanges what two slots hold, whether they may be empty or not.
/// fn exchange<'gc, R: Reference + Trace<'gc>>(cx: &Mutation<'gc>, a: &Slot<R>, b: &Slot<R>) {
///     let old = a.swap(cx, b.get());
///     b.set(cx, old);
/// }
/// rootless_mutate(|cx| {
///     let (a, b) = (Slot::new(Some(Gc::new(cx, 1u64))), Slot::new(None));
///     exchange(cx, &a, &b);
///     assert_eq!((a.get(), b.get().as_deref()), (None, Some(&1)));
/// });
/// ```
pub trait Reference: Copy + sealed::Sealed {
    #[doc(hidden)]
    fn into_word(self) -> *mut u8;
    #[doc(hidden)]
    /// # Safety
    ///
    /// The word is from `into_word`.
    unsafe fn from_word(word: *mut u8) -> Self;
}

impl<T> sealed::Sealed for Gc<'_, T> {}
impl<T> sealed::Sealed for Option<Gc<'_, T>> {}

impl<T> Reference for Gc<'_, T> {
    #[inline(always)]
    fn into_word(self) -> *mut u8 {
        self.as_non_null().as_ptr().cast()
    }

    #[inline(always)]
    unsafe fn from_word(word: *mut u8) -> Self {
        // SAFETY: the word of a `Gc` is not null.
        Gc::from_pointer(unsafe { NonNull::new_unchecked(word.cast()) })
    }
}

impl<T> Reference for Option<Gc<'_, T>> {
    #[inline(always)]
    fn into_word(self) -> *mut u8 {
        self.map_or(::core::ptr::null_mut(), Gc::into_word)
    }

    #[inline(always)]
    unsafe fn from_word(word: *mut u8) -> Self {
        NonNull::new(word.cast()).map(Gc::from_pointer)
    }
}

/// A reference that can be replaced. One word; threads may share it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Slot, Trace};
///
/// #[derive(Trace)]
/// struct Node<'gc> {
///     next: Slot<Option<Gc<'gc, Node<'gc>>>>,
/// }
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let node = Gc::new(cx, Node { next: Slot::new(None) });
///     node.next.set(cx, Some(node));
///     assert!(Gc::ptr_eq(node.next.get().unwrap(), node));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
///
/// A slot of one type is no slot of a supertype:
///
/// ```compile_fail
/// use mallocgc::typed::{Gc, Slot, Static};
/// type Any = Static<for<'a> fn(&'a str)>;
/// type Only = Static<fn(&'static str)>;
/// fn weaken<'s, 'gc>(slot: &'s Slot<Gc<'gc, Any>>) -> &'s Slot<Gc<'gc, Only>> {
///     slot
/// }
/// ```
#[repr(transparent)]
pub struct Slot<R> {
    word: AtomicPtr<u8>,
    /// Invariant, as what is set is also got: a slot that took a subtype of `R` for `R` could be set to
    /// what is no such subtype.
    value: PhantomData<Cell<R>>,
}

// SAFETY: an atomic word that stands for an `R`, which is handed out by value on any thread.
unsafe impl<R: Send + Sync> Send for Slot<R> {}
// SAFETY: as for `Send`.
unsafe impl<R: Send + Sync> Sync for Slot<R> {}

impl<R: Reference> Slot<R> {
    /// A slot with a reference.
    #[inline]
    pub fn new(value: R) -> Slot<R> {
        Slot { word: AtomicPtr::new(value.into_word()), value: PhantomData }
    }

    /// The reference.
    #[inline(always)]
    pub fn get(&self) -> R {
        // Acquire: pairs with the Release in `set`, so that the object is seen as its maker left it.
        // SAFETY: all words stored here are from `into_word`.
        unsafe { R::from_word(self.word.load(Ordering::Acquire)) }
    }

    /// Replaces the reference.
    #[inline(always)]
    pub fn set<'gc>(&self, mutation: &Mutation<'gc>, value: R)
    where
        R: Trace<'gc>,
    {
        mutation.before_write(self.word.as_ptr());
        // Release: pairs with the Acquire in `get` and in the marker's load.
        self.word.store(value.into_word(), Ordering::Release);
    }

    /// Replaces the reference and returns the old one.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Slot, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let slot = Slot::new(Some(Gc::new(cx, 1u64)));
    ///     assert_eq!(slot.swap(cx, None).as_deref(), Some(&1));
    ///     assert!(slot.get().is_none());
    /// });
    /// ```
    pub fn swap<'gc>(&self, mutation: &Mutation<'gc>, value: R) -> R
    where
        R: Trace<'gc>,
    {
        mutation.before_write(self.word.as_ptr());
        // AcqRel: as in `set` and `get`.
        let old = self.word.swap(value.into_word(), Ordering::AcqRel);
        // SAFETY: as in `get`.
        unsafe { R::from_word(old) }
    }

    /// Replaces the reference if it is still `expected`.
    ///
    /// # Errors
    ///
    /// The reference that is there instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Slot, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let (one, two) = (Gc::new(cx, 1u64), Gc::new(cx, 2));
    ///     let slot = Slot::new(one);
    ///     assert!(slot.compare_exchange(cx, one, two).is_ok());
    ///     // It is the second by now.
    ///     assert!(Gc::ptr_eq(slot.compare_exchange(cx, one, one).unwrap_err(), two));
    /// });
    /// ```
    pub fn compare_exchange<'gc>(
        &self,
        mutation: &Mutation<'gc>,
        expected: R,
        value: R,
    ) -> Result<R, R>
    where
        R: Trace<'gc>,
    {
        mutation.before_write(self.word.as_ptr());
        let (expected, value) = (expected.into_word(), value.into_word());
        // AcqRel, Acquire: as in `set` and `get`.
        self.word
            .compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire)
            // SAFETY: as in `get`.
            .map(|word| unsafe { R::from_word(word) })
            // SAFETY: as in `get`.
            .map_err(|word| unsafe { R::from_word(word) })
    }
}

impl<R: Reference + Default> Default for Slot<R> {
    fn default() -> Self {
        Slot::new(R::default())
    }
}

impl<R: Reference + fmt::Debug> fmt::Debug for Slot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

// SAFETY: it is one reference, or null, at its begin.
unsafe impl<'gc, R: Reference + Trace<'gc>> Trace<'gc> for Slot<R> {
    const SHAPE: Shape = Shape::WORD;

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.get().trace(tracer);
    }
}

/// A `Copy` value that can be replaced, as in `Cell`.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Lock, Trace};
///
/// #[derive(Clone, Copy, Trace)]
/// enum Value<'gc> {
///     Number(i64),
///     Text(Gc<'gc, str>),
/// }
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let place = Gc::new(cx, Lock::new(Value::Number(1)));
///     place.set(cx, Value::Text(Gc::from_str(cx, "one")));
///     assert!(matches!(place.get(), Value::Text(text) if &*text == "one"));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[repr(transparent)]
#[derive(Default)]
pub struct Lock<T> {
    value: UnsafeCell<T>,
}

impl<T: Copy> Lock<T> {
    /// A cell with a value.
    #[inline]
    pub const fn new(value: T) -> Lock<T> {
        Lock { value: UnsafeCell::new(value) }
    }

    /// The value.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: only this thread writes it, and hands out no reference to it.
        unsafe { self.value.get().read() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set<'gc>(&self, mutation: &Mutation<'gc>, value: T)
    where
        T: Trace<'gc>,
    {
        let place = self.value.get();
        if T::SHAPE.is_free() {
            // SAFETY: as in `get`; nobody traces it.
            unsafe { place.write(value) };
        } else if is_word::<T>() {
            mutation.before_write(place.cast());
            // SAFETY: by its shape a `T` is one word, a reference or null, and so is the place.
            let word = unsafe { (&raw const value).cast::<*mut u8>().read() };
            // SAFETY: as above. Release: pairs with the Acquire in the marker's load.
            unsafe { AtomicPtr::from_ptr(place.cast()) }.store(word, Ordering::Release);
        } else if mutation.may_write_plainly() {
            // SAFETY: as in `get`; whoever traces it does so in a stop.
            unsafe { place.write(value) };
        } else {
            let read = |tracer: &mut Tracer<'_>| self.get().trace(tracer);
            // SAFETY: as in `get`; the marker reads it under the same lock.
            mutation.change_apart(place.cast(), &read, &mut || unsafe { place.write(value) });
        }
    }

    /// Replaces the value and returns the old one.
    #[inline]
    pub fn replace<'gc>(&self, mutation: &Mutation<'gc>, value: T) -> T
    where
        T: Trace<'gc>,
    {
        let old = self.get();
        self.set(mutation, value);
        old
    }

    /// Leaves the default and returns the value.
    #[inline]
    pub fn take<'gc>(&self, mutation: &Mutation<'gc>) -> T
    where
        T: Trace<'gc> + Default,
    {
        self.replace(mutation, T::default())
    }

    /// Replaces the value by what a function makes of it, and returns that.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Lock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let list = Lock::new((Gc::new(cx, 1u64), 1u32));
    ///     assert_eq!(list.update(cx, |(object, count)| (object, count + 1)).1, 2);
    ///     assert_eq!(list.replace(cx, (Gc::new(cx, 5), 0)).1, 2);
    ///     assert_eq!(*list.get().0, 5);
    /// });
    /// ```
    #[inline]
    pub fn update<'gc>(&self, mutation: &Mutation<'gc>, change: impl FnOnce(T) -> T) -> T
    where
        T: Trace<'gc>,
    {
        let new = change(self.get());
        self.set(mutation, new);
        new
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// Whether a value is a reference or null and nothing else.
const fn is_word<'gc, T: Trace<'gc>>() -> bool {
    matches!(T::SHAPE.mask(), Some(1)) && size_of::<T>() == size_of::<usize>()
}

impl<T: Copy + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lock").field(&self.get()).finish()
    }
}

impl<T: Copy + PartialEq> PartialEq for Lock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

// SAFETY: the value is passed on; its shape is told where it is stored in one step.
unsafe impl<'gc, T: Copy + Trace<'gc>> Trace<'gc> for Lock<T> {
    const SHAPE: Shape = match is_word::<T>() {
        true => Shape::WORD,
        false => Shape::FREE.or(T::SHAPE),
    };

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        let place = self.value.get();
        if T::SHAPE.is_free() {
        } else if is_word::<T>() {
            // SAFETY: as in `set`. Acquire: pairs with the Release there.
            let word = unsafe { AtomicPtr::<u8>::from_ptr(place.cast()) }.load(Ordering::Acquire);
            tracer.visit(word);
        } else {
            tracer.keep_writers_off(Address::from_ptr(place));
            self.get().trace(tracer);
        }
    }
}

/// How a [`RefLock`] is borrowed: readers, or -1.
type Borrows = Cell<i32>;

/// A value that can be borrowed to read or to change, as in `RefCell`.
///
/// A guard that is leaked leaves it borrowed for ever; the collector does not mind.
///
/// # Invariants
///
/// 1. `borrows` counts the [`Ref`]s, or is -1 while there is a [`RefMut`].
/// 2. While marking runs beside the mutators, `claim` says that this cycle has read `value` before there is a
///    [`RefMut`], and the marker reads `value` only under the claim.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, RefLock};
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let list = Gc::new(cx, RefLock::new(Vec::new()));
///     list.borrow_mut(cx).push(Gc::new(cx, 1u64));
///     assert_eq!(*list.borrow()[0], 1);
///     let reading = list.borrow();
///     assert!(list.try_borrow_mut(cx).is_none());
/// #   drop(reading);
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Default)]
pub struct RefLock<T: ?Sized> {
    borrows: Borrows,
    claim: ReadClaim,
    value: UnsafeCell<T>,
}

impl<T> RefLock<T> {
    /// A cell with a value.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> RefLock<T> {
        RefLock { borrows: Cell::new(0), claim: ReadClaim::new(), value: UnsafeCell::new(value) }
    }

    /// A cell with a value.
    #[cfg(loom)]
    pub fn new(value: T) -> RefLock<T> {
        RefLock { borrows: Cell::new(0), claim: ReadClaim::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Replaces the value and returns the old one.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, RefLock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let list = RefLock::new(vec![Gc::new(cx, 1u64)]);
    ///     assert_eq!(list.replace(cx, vec![]).len(), 1);
    ///     assert!(list.take(cx).is_empty());
    /// });
    /// ```
    #[track_caller]
    pub fn replace<'gc>(&self, mutation: &Mutation<'gc>, value: T) -> T
    where
        T: Trace<'gc>,
    {
        ::core::mem::replace(&mut self.borrow_mut(mutation), value)
    }

    /// Leaves the default and returns the value.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[track_caller]
    pub fn take<'gc>(&self, mutation: &Mutation<'gc>) -> T
    where
        T: Trace<'gc> + Default,
    {
        self.replace(mutation, T::default())
    }
}

impl<T: ?Sized> RefLock<T> {
    /// The value, of who has the cell for itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, though it may be counted as borrowed.
    ///
    /// # Safety
    ///
    /// Nobody changes it as long as the result is used.
    #[inline]
    pub(super) unsafe fn peek(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &*self.value.get() }
    }

    /// The value, to read.
    ///
    /// # Panics
    ///
    /// While it is borrowed to be changed.
    #[inline]
    #[track_caller]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.try_borrow().expect("the value is borrowed to be changed")
    }

    /// The value, to read, unless it is borrowed to be changed.
    #[inline]
    pub fn try_borrow(&self) -> Option<Ref<'_, T>> {
        let borrows = self.borrows.get();
        if borrows < 0 {
            return None;
        }
        self.borrows.set(borrows.checked_add(1).expect("so many borrows at once"));
        // SAFETY: by invariant 1 nobody changes it while this is counted.
        Some(Ref { value: unsafe { &*self.value.get() }, borrows: &self.borrows })
    }

    /// The value, to change.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn borrow_mut<'gc>(&self, mutation: &Mutation<'gc>) -> RefMut<'_, T>
    where
        T: Trace<'gc>,
    {
        self.try_borrow_mut(mutation).expect("the value is borrowed")
    }

    /// The value, to change, unless it is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{RefLock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let text = RefLock::new(String::from("a"));
    ///     let reading = text.borrow();
    ///     assert!(text.try_borrow_mut(cx).is_none());
    ///     drop(reading);
    ///     text.try_borrow_mut(cx).unwrap().push('b');
    ///     assert_eq!(*text.borrow(), "ab");
    /// });
    /// ```
    #[inline]
    pub fn try_borrow_mut<'gc>(&self, mutation: &Mutation<'gc>) -> Option<RefMut<'_, T>>
    where
        T: Trace<'gc>,
    {
        if self.borrows.get() != 0 {
            return None;
        }
        if !T::SHAPE.is_free() {
            // SAFETY: nobody changes it, by invariant 1.
            let read = |tracer: &mut Tracer<'_>| unsafe { &*self.value.get() }.trace(tracer);
            mutation.before_change(&self.claim, &read);
        }
        self.borrows.set(-1);
        // SAFETY: by invariants 1 and 2 nobody else has it.
        Some(RefMut { value: unsafe { &mut *self.value.get() }, borrows: &self.borrows })
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RefLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_borrow() {
            Some(value) => f.debug_tuple("RefLock").field(&&*value).finish(),
            None => f.write_str("RefLock(borrowed)"),
        }
    }
}

// SAFETY: the value is passed on: in a stop, when no function that borrows it runs, so that a guard
// that is there has been leaked; beside mutators under the claim, or, once a mutator has noted what it
// refers to, not at all.
unsafe impl<'gc, T: ?Sized + Trace<'gc>> Trace<'gc> for RefLock<T> {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if !T::SHAPE.is_free() {
            // SAFETY: nobody writes it, as above, and by invariant 2.
            tracer.read_claimed(&self.claim, |tracer| unsafe { &*self.value.get() }.trace(tracer));
        }
    }
}

/// The value of a [`RefLock`], to read.
#[derive(Debug)]
pub struct Ref<'a, T: ?Sized> {
    value: &'a T,
    borrows: &'a Borrows,
}

impl<'a, T: ?Sized> Ref<'a, T> {
    /// A part of the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Ref, RefLock};
    /// let pair = RefLock::new((1, "two"));
    /// let second: Ref<'_, str> = Ref::map(pair.borrow(), |pair| pair.1);
    /// assert_eq!(&*second, "two");
    /// ```
    pub fn map<U: ?Sized>(this: Ref<'a, T>, part: impl FnOnce(&T) -> &U) -> Ref<'a, U> {
        let mapped = Ref { value: part(this.value), borrows: this.borrows };
        ::core::mem::forget(this);
        mapped
    }
}

impl<T: ?Sized> Deref for Ref<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: ?Sized> Drop for Ref<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.borrows.set(self.borrows.get() - 1);
    }
}

/// The value of a [`RefLock`], to change.
#[derive(Debug)]
pub struct RefMut<'a, T: ?Sized> {
    value: &'a mut T,
    borrows: &'a Borrows,
}

impl<T: ?Sized> Deref for RefMut<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: ?Sized> DerefMut for RefMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}

impl<T: ?Sized> Drop for RefMut<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.borrows.set(0);
    }
}

/// A value that is set once, after the object was made. Threads may share it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, OnceLock};
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let place = Gc::new(cx, OnceLock::new());
///     assert!(place.get().is_none());
///     assert!(place.set(cx, 1u64).is_ok());
///     assert_eq!(place.set(cx, 2), Err(2));
///     assert_eq!(place.get(), Some(&1));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Debug)]
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    /// A cell without a value.
    pub const fn new() -> OnceLock<T> {
        OnceLock { value: std::sync::OnceLock::new() }
    }

    /// The value, if it was set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// The value, if there is one already.
    pub fn set<'gc>(&self, _: &Mutation<'gc>, value: T) -> Result<(), T>
    where
        T: Trace<'gc>,
    {
        self.value.set(value)
    }

    /// The value, which is made if there is none. To ask for the same cell's value while it is made is
    /// an error of the program, as in the standard library.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, OnceLock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let place = OnceLock::new();
    ///     assert_eq!(**place.get_or_init(cx, || Gc::new(cx, 1u64)), 1);
    ///     assert_eq!(**place.get_or_init(cx, || unreachable!()), 1);
    /// });
    /// ```
    pub fn get_or_init<'gc>(&self, _: &Mutation<'gc>, make: impl FnOnce() -> T) -> &T
    where
        T: Trace<'gc>,
    {
        self.value.get_or_init(make)
    }

    /// The value, if it was set, of who has the cell for itself.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// The value, if it was set.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: Copy> From<T> for Lock<T> {
    fn from(value: T) -> Lock<T> {
        Lock::new(value)
    }
}

impl<T> From<T> for RefLock<T> {
    fn from(value: T) -> RefLock<T> {
        RefLock::new(value)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        OnceLock { value: value.into() }
    }
}

impl<R: Reference> From<R> for Slot<R> {
    fn from(value: R) -> Slot<R> {
        Slot::new(value)
    }
}

// SAFETY: the value is passed on if it is there.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for OnceLock<T> {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if let Some(value) = self.value.get() {
            value.trace(tracer);
        }
    }
}
