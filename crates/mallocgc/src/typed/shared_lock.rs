//! A lock for what threads change in objects of a shared heap.

use crate::layout::Tracer;
use crate::typed::context::Mutation;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::cell::UnsafeCell;
use ::core::fmt;
use ::core::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A value that threads may read together or change one at a time, as in `RwLock`. A panic of
/// who changes it does not poison it.
///
/// Who waits for it inside `run` keeps the heap from being collected, and so does who holds it: hold it shortly.
///
/// # Invariants
///
/// 1. `value` is read by who holds `lock` or is tracing, and written by who holds it alone.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, SharedHeap, SharedLock};
/// let heap = SharedHeap::new(Default::default())?;
/// heap.attach()?.run(|cx| {
///     let list = Gc::new(cx, SharedLock::new(Vec::new()));
///     std::thread::scope(|scope| {
///         scope.spawn(move || assert!(list.read().is_empty()));
///     });
///     list.write(cx).push(Gc::new(cx, 1u64));
///     assert_eq!(*list.read()[0], 1);
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Default)]
pub struct SharedLock<T> {
    lock: RwLock<()>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is owned.
unsafe impl<T: Send> Send for SharedLock<T> {}
// SAFETY: by invariant 1, as for `RwLock`.
unsafe impl<T: Send + Sync> Sync for SharedLock<T> {}

impl<T> SharedLock<T> {
    /// A lock with a value.
    pub const fn new(value: T) -> SharedLock<T> {
        SharedLock { lock: RwLock::new(()), value: UnsafeCell::new(value) }
    }

    /// The value, to read.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, SharedLock, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let list = Gc::new(cx, SharedLock::new(vec![1]));
    ///     list.write(cx).push(2);
    ///     assert_eq!(*list.read(), [1, 2]);
    /// });
    /// ```
    pub fn read(&self) -> SharedRef<'_, T> {
        let guard = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: invariant 1.
        SharedRef { value: unsafe { &*self.value.get() }, _guard: guard }
    }

    /// The value, to change.
    pub fn write<'gc>(&self, _: &Mutation<'gc>) -> SharedRefMut<'_, T>
    where
        T: Trace<'gc>,
    {
        let guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: invariant 1.
        SharedRefMut { value: unsafe { &mut *self.value.get() }, _guard: guard }
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedLock").field(&*self.read()).finish()
    }
}

// SAFETY: the value is passed on, in a stop, when no function that writes it runs: a guard that is
// there has been leaked.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for SharedLock<T> {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        // SAFETY: nobody writes it, as above.
        unsafe { &*self.value.get() }.trace(tracer);
    }
}

/// The value of a [`SharedLock`], to read.
#[derive(Debug)]
pub struct SharedRef<'a, T> {
    value: &'a T,
    _guard: RwLockReadGuard<'a, ()>,
}

impl<T> Deref for SharedRef<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

/// The value of a [`SharedLock`], to change.
#[derive(Debug)]
pub struct SharedRefMut<'a, T> {
    value: &'a mut T,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl<T> Deref for SharedRefMut<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for SharedRefMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}
