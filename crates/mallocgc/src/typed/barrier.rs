//! Places inside an object, with the right to change their cells: how gc-arena's programs write.
//!
//! Cells here ask for the context themselves, so `object.field.set(cx, value)` does all that there is to do. These types carry
//! the context along, for functions that take a place which may be changed.

#![forbid(unsafe_code)]

use crate::typed::cell::{Lock, OnceLock, Ref, RefLock, RefMut, Reference, Slot};
use crate::typed::context::Mutation;
use crate::typed::gc::Gc;
use crate::typed::shared_lock::{SharedLock, SharedRef, SharedRefMut};
use crate::typed::trace::Trace;
use ::core::fmt;
use ::core::ops::Deref;

/// A place of an object of the heap `'gc`, or in its values, and the right to change the cells in it.
///
/// Where gc-arena has `&'a Write<T>`, this is `Write<'a, 'gc, T>`, by value.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::barrier::{Write, field, unlock};
/// use mallocgc::typed::{Gc, Heap, Lock, RefLock, Trace};
///
/// #[derive(Trace)]
/// struct Account<'gc> {
///     owner: Lock<Option<Gc<'gc, str>>>,
///     log: RefLock<Vec<u64>>,
/// }
///
/// fn pay<'gc>(account: Write<'_, 'gc, Account<'gc>>, sum: u64) {
///     unlock!(account, Account, log).borrow_mut().push(sum);
/// }
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let account = Gc::new(cx, Account { owner: Lock::new(None), log: RefLock::default() });
///     pay(Gc::write(cx, account), 5);
///     field!(Gc::write(cx, account), Account, owner).unlock().set(Some(Gc::from_str(cx, "A")));
///     assert_eq!((account.owner.get().as_deref(), account.log.borrow()[0]), (Some("A"), 5));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct Write<'a, 'gc, T: ?Sized> {
    value: &'a T,
    mutation: &'a Mutation<'gc>,
}

impl<T: ?Sized> Clone for Write<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Write<'_, '_, T> {}

impl<T: ?Sized> Deref for Write<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Write<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'a, 'gc, T: ?Sized> Write<'a, 'gc, T> {
    /// A place, in an object or elsewhere. Cells in it that have the heap's lifetime are of that heap.
    #[inline]
    pub fn new(mutation: &'a Mutation<'gc>, value: &'a T) -> Self {
        Write { value, mutation }
    }

    /// A part of the place. [`field!`] names one.
    #[inline]
    pub fn map<U: ?Sized>(self, part: impl FnOnce(&'a T) -> &'a U) -> Write<'a, 'gc, U> {
        Write { value: part(self.value), mutation: self.mutation }
    }

    /// What the place points to: a box's value, a vector's elements.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Lock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let cells = Gc::new(cx, vec![Lock::new(1), Lock::new(2)]);
    ///     Gc::write(cx, cells).as_deref().map(|cells| &cells[1]).unlock().set(5);
    ///     assert_eq!(cells[1].get(), 5);
    /// });
    /// ```
    #[inline]
    pub fn as_deref(self) -> Write<'a, 'gc, T::Target>
    where
        T: Deref,
    {
        self.map(|value| &**value)
    }

    /// The cell in the place, to be changed.
    #[inline]
    pub fn unlock(self) -> Unlocked<'a, 'gc, T>
    where
        T: Unlock,
    {
        Unlocked { cell: self.value, mutation: self.mutation }
    }
}

impl<'a, 'gc, T> Write<'a, 'gc, Option<T>> {
    /// The value, if there is one.
    #[inline]
    pub fn as_write(self) -> Option<Write<'a, 'gc, T>> {
        self.value.as_ref().map(|value| Write { value, mutation: self.mutation })
    }
}

impl<'a, 'gc, T, E> Write<'a, 'gc, Result<T, E>> {
    /// The value, or the error.
    ///
    /// # Errors
    ///
    /// The error, if there is one.
    #[inline]
    pub fn as_write(self) -> Result<Write<'a, 'gc, T>, Write<'a, 'gc, E>> {
        let mutation = self.mutation;
        match self.value {
            Ok(value) => Ok(Write { value, mutation }),
            Err(value) => Err(Write { value, mutation }),
        }
    }
}

/// The field of a [`Write`]: `field!(place, Type, field)`.
#[doc(inline)]
pub use crate::__field as field;

/// The cell in a field of a [`Write`], to be changed: `unlock!(place, Type, field)`.
#[doc(inline)]
pub use crate::__unlock as unlock;

#[doc(hidden)]
#[macro_export]
macro_rules! __field {
    ($place:expr, $of:path, $field:ident) => {
        // A pattern, so that the field is of the type itself, and not of what it derefs to.
        $crate::typed::barrier::Write::map($place, |$of { $field, .. }| $field)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __unlock {
    ($place:expr, $of:path, $field:ident) => {
        $crate::typed::barrier::field!($place, $of, $field).unlock()
    };
}

mod sealed {
    pub trait Sealed {}
}

/// The cells: [`Lock`], [`RefLock`], [`OnceLock`], [`Slot`] and [`SharedLock`].
pub trait Unlock: sealed::Sealed {}

macro_rules! cells {
    ($($cell:ident [$($unsized:tt)*])*) => {$(
        impl<T $($unsized)*> sealed::Sealed for $cell<T> {}
        impl<T $($unsized)*> Unlock for $cell<T> {}
    )*};
}

cells!(Lock[] RefLock[: ?Sized] OnceLock[] Slot[] SharedLock[]);

/// A cell, with the right to change it.
pub struct Unlocked<'a, 'gc, C: ?Sized> {
    cell: &'a C,
    mutation: &'a Mutation<'gc>,
}

impl<C: ?Sized> Clone for Unlocked<'_, '_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: ?Sized> Copy for Unlocked<'_, '_, C> {}

impl<C: ?Sized + fmt::Debug> fmt::Debug for Unlocked<'_, '_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(f)
    }
}

impl<'gc, T: Copy + Trace<'gc>> Unlocked<'_, 'gc, Lock<T>> {
    /// The value.
    #[inline]
    pub fn get(self) -> T {
        self.cell.get()
    }

    /// Replaces the value.
    #[inline]
    pub fn set(self, value: T) {
        self.cell.set(self.mutation, value);
    }

    /// Replaces the value and returns the old one.
    #[inline]
    pub fn replace(self, value: T) -> T {
        self.cell.replace(self.mutation, value)
    }

    /// Leaves the default and returns the value.
    #[inline]
    pub fn take(self) -> T
    where
        T: Default,
    {
        self.replace(T::default())
    }
}

impl<'gc, R: Reference + Trace<'gc>> Unlocked<'_, 'gc, Slot<R>> {
    /// The reference.
    #[inline]
    pub fn get(self) -> R {
        self.cell.get()
    }

    /// Replaces the reference.
    #[inline]
    pub fn set(self, value: R) {
        self.cell.set(self.mutation, value);
    }
}

impl<'a, 'gc, T: ?Sized + Trace<'gc>> Unlocked<'a, 'gc, RefLock<T>> {
    /// The value, to read.
    ///
    /// # Panics
    ///
    /// While it is borrowed to be changed.
    #[inline]
    #[track_caller]
    pub fn borrow(self) -> Ref<'a, T> {
        self.cell.borrow()
    }

    /// The value, to change.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn borrow_mut(self) -> RefMut<'a, T> {
        self.cell.borrow_mut(self.mutation)
    }

    /// The value, to read, unless it is borrowed to be changed.
    #[inline]
    pub fn try_borrow(self) -> Option<Ref<'a, T>> {
        self.cell.try_borrow()
    }

    /// The value, to change, unless it is borrowed.
    #[inline]
    pub fn try_borrow_mut(self) -> Option<RefMut<'a, T>> {
        self.cell.try_borrow_mut(self.mutation)
    }
}

impl<'a, 'gc, T: Trace<'gc>> Unlocked<'a, 'gc, OnceLock<T>> {
    /// The value, if it was set.
    #[inline]
    pub fn get(self) -> Option<&'a T> {
        self.cell.get()
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// The value, if there is one already.
    pub fn set(self, value: T) -> Result<(), T> {
        self.cell.set(self.mutation, value)
    }

    /// The value, which is made if there is none.
    pub fn get_or_init(self, make: impl FnOnce() -> T) -> &'a T {
        self.cell.get_or_init(self.mutation, make)
    }
}

impl<'a, 'gc, T: Trace<'gc>> Unlocked<'a, 'gc, SharedLock<T>> {
    /// The value, to read.
    pub fn read(self) -> SharedRef<'a, T> {
        self.cell.read()
    }

    /// The value, to change.
    pub fn write(self) -> SharedRefMut<'a, T> {
        self.cell.write(self.mutation)
    }
}

impl<'gc, T: ?Sized + 'gc> Gc<'gc, T> {
    /// The object, with the right to change the cells in it.
    #[inline]
    pub fn write<'a>(mutation: &'a Mutation<'gc>, this: Gc<'gc, T>) -> Write<'a, 'gc, T>
    where
        'gc: 'a,
    {
        Write { value: this.as_ref(), mutation }
    }

    /// The cell that the object is, to be changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap, RefLock};
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let list = Gc::new(cx, RefLock::new(vec![1u8]));
    ///     list.unlock(cx).borrow_mut().push(2);
    ///     assert_eq!(*list.borrow(), [1, 2]);
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[inline]
    pub fn unlock<'a>(self, mutation: &'a Mutation<'gc>) -> Unlocked<'a, 'gc, T>
    where
        'gc: 'a,
        T: Unlock,
    {
        Gc::write(mutation, self).unlock()
    }
}

/// Objects that are cells: what they lend lives as long as the `run` does, and not only as the reference is borrowed.
impl<'gc, T: ?Sized + 'gc> Gc<'gc, RefLock<T>> {
    /// [`RefLock::borrow`].
    #[inline]
    #[track_caller]
    pub fn borrow(self) -> Ref<'gc, T> {
        self.as_ref().borrow()
    }

    /// [`RefLock::try_borrow`].
    #[inline]
    pub fn try_borrow(self) -> Option<Ref<'gc, T>> {
        self.as_ref().try_borrow()
    }

    /// [`RefLock::borrow_mut`].
    #[inline]
    #[track_caller]
    pub fn borrow_mut(self, mutation: &Mutation<'gc>) -> RefMut<'gc, T>
    where
        T: Trace<'gc>,
    {
        self.as_ref().borrow_mut(mutation)
    }

    /// [`RefLock::try_borrow_mut`].
    #[inline]
    pub fn try_borrow_mut(self, mutation: &Mutation<'gc>) -> Option<RefMut<'gc, T>>
    where
        T: Trace<'gc>,
    {
        self.as_ref().try_borrow_mut(mutation)
    }
}
