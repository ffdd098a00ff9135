//! References to objects.

use crate::layout::Tracer;
use crate::raw;
use crate::typed::context::{Cx, Mutation};
use crate::typed::core::{AllocError, Core};
use crate::typed::kind::{Accepts, Kind};
use crate::typed::shape::Shape;
use crate::typed::trace::{Static, Trace};
use ::core::borrow::Borrow;
use ::core::cmp::Ordering;
use ::core::fmt;
use ::core::hash::{Hash, Hasher};
use ::core::marker::PhantomData;
use ::core::ops::Deref;
use ::core::ptr::NonNull;

/// A reference to an object of the heap with the lifetime `'gc`: a pointer that can be copied and
/// followed freely.
///
/// # Invariants
///
/// 1. It points at or into an object of that heap, or at what is never freed; at a valid `T`, which lives at least
///    as long as `'gc` and from then on as long as the object is reachable at boundaries.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Slot, Trace};
///
/// #[derive(Trace)]
/// struct Cons<'gc> {
///     value: u64,
///     next: Option<Gc<'gc, Cons<'gc>>>,
/// }
///
/// let heap = Heap::new(Default::default())?;
/// let sum = heap.run(|cx| {
///     let list = (1..=10).fold(None, |next, value| Some(Gc::new(cx, Cons { value, next })));
///     std::iter::successors(list, |cons| cons.next).map(|cons| cons.value).sum::<u64>()
/// });
/// assert_eq!(sum, 55);
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct Gc<'gc, T: ?Sized> {
    pointer: NonNull<T>,
    brand: PhantomData<(::core::cell::Cell<&'gc ()>, *const T)>,
}

// SAFETY: a shared reference to a `T`, and no right to end it.
unsafe impl<T: ?Sized + Send + Sync> Send for Gc<'_, T> {}
// SAFETY: as for `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for Gc<'_, T> {}

impl<'gc, T: Trace<'gc>> Gc<'gc, T> {
    /// Puts a value into the heap.
    ///
    /// # Panics
    ///
    /// When there is no memory; [`try_new`](Gc::try_new) does not.
    #[inline(always)]
    pub fn new<K: Kind + Accepts<T>>(cx: &Cx<'gc, K>, value: T) -> Gc<'gc, T> {
        match Gc::put(cx.core(), value) {
            Some(object) => object,
            None => out_of_memory(cx.core()),
        }
    }

    /// Puts a value into the heap.
    ///
    /// # Errors
    ///
    /// [`AllocError::NeedsBoundary`] when a collection may help, which cannot be here;
    /// [`AllocError::Failed`] when it did not. The value is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let object = Gc::try_new(cx, String::from("text"))?;
    ///     assert_eq!(object.len(), 4);
    ///     Ok::<(), mallocgc::typed::AllocError>(())
    /// })?;
    /// # Ok::<(), mallocgc::typed::AllocError>(())
    /// ```
    #[inline(always)]
    pub fn try_new<K: Kind + Accepts<T>>(
        cx: &Cx<'gc, K>,
        value: T,
    ) -> Result<Gc<'gc, T>, AllocError> {
        Gc::try_place(cx, value)
    }

    /// As [`try_new`](Gc::try_new), into a heap that takes the type.
    #[inline(always)]
    pub(super) fn try_place(mutation: &Mutation<'gc>, value: T) -> Result<Gc<'gc, T>, AllocError> {
        Gc::put(mutation.core(), value).ok_or_else(|| mutation.core().failed())
    }

    /// Puts a value into the heap; `None` as `Core::allocate`.
    #[inline(always)]
    fn put(core: &Core, value: T) -> Option<Gc<'gc, T>> {
        // SAFETY: the value is written below.
        let pointer = unsafe { core.allocate::<T>() }?;
        // SAFETY: memory for a `T`, ours alone.
        unsafe { pointer.write(value) };
        Some(Gc::from_pointer(pointer))
    }
}

impl<'gc, T: 'static> Gc<'gc, T> {
    /// Puts a value into the heap that holds no reference, of a type that may know nothing of heaps.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// struct Foreign(u8);
    /// rootless_mutate(|cx| assert_eq!(Gc::new_static(cx, Foreign(7)).0, 7));
    /// ```
    #[inline]
    pub fn new_static<K: Kind + Accepts<Static<T>>>(cx: &Cx<'gc, K>, value: T) -> Gc<'gc, T> {
        Gc::from_pointer(Gc::new(cx, Static(value)).pointer.cast())
    }
}

#[cold]
#[inline(never)]
fn out_of_memory(core: &Core) -> ! {
    no_memory(core.failed())
}

#[cold]
#[inline(never)]
pub(super) fn no_memory(error: AllocError) -> ! {
    panic!("no memory for an object: {error}")
}

impl<'gc, T: Trace<'gc>> Gc<'gc, [T]> {
    /// An array of what an iterator yields.
    ///
    /// # Errors
    ///
    /// As [`Gc::try_new`].
    ///
    /// # Panics
    ///
    /// When the iterator yields fewer elements than its length said.
    pub fn try_from_iter<K, I>(cx: &Cx<'gc, K>, elements: I) -> Result<Gc<'gc, [T]>, AllocError>
    where
        K: Kind + Accepts<T>,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        /// Drops the elements that were written, if the iterator panics.
        struct Written<T> {
            first: NonNull<T>,
            count: usize,
        }
        impl<T> Drop for Written<T> {
            fn drop(&mut self) {
                let written = NonNull::slice_from_raw_parts(self.first, self.count);
                // SAFETY: these were written, and nobody has them.
                unsafe { written.drop_in_place() };
            }
        }
        let elements = elements.into_iter();
        let count = elements.len();
        let core = cx.core();
        let first = core.allocate_array::<T>(count).ok_or_else(|| core.failed())?;
        let mut written = Written { first, count: 0 };
        for element in elements.take(count) {
            // SAFETY: there is room for `count`.
            unsafe { first.add(written.count).write(element) };
            written.count += 1;
        }
        assert_eq!(written.count, count, "an iterator yielded fewer elements than it said");
        // SAFETY: all are written. An error leaves them to `written`.
        unsafe { core.finish_array(first, count) }.ok_or_else(|| core.failed())?;
        ::core::mem::forget(written);
        Ok(Gc::from_pointer(NonNull::slice_from_raw_parts(first, count)))
    }

    /// An array of what an iterator yields.
    ///
    /// # Panics
    ///
    /// As [`try_from_iter`](Gc::try_from_iter), and when there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let squares = Gc::from_iter(cx, (0..5u32).map(|n| n * n));
    ///     assert_eq!(squares[..], [0, 1, 4, 9, 16]);
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[allow(clippy::should_implement_trait)]
    pub fn from_iter<K, I>(cx: &Cx<'gc, K>, elements: I) -> Gc<'gc, [T]>
    where
        K: Kind + Accepts<T>,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        Gc::try_from_iter(cx, elements).unwrap_or_else(|error| no_memory(error))
    }
}

impl<'gc> Gc<'gc, str> {
    /// A copy of a string in the heap.
    ///
    /// # Errors
    ///
    /// As [`Gc::try_new`].
    pub fn try_from_str<K: Kind + Accepts<u8>>(
        cx: &Cx<'gc, K>,
        text: &str,
    ) -> Result<Gc<'gc, str>, AllocError> {
        let core = cx.core();
        let first = core.allocate_array::<u8>(text.len()).ok_or_else(|| core.failed())?;
        // SAFETY: fresh memory for so many bytes.
        unsafe { first.copy_from_nonoverlapping(NonNull::from(text).cast(), text.len()) };
        let bytes = NonNull::slice_from_raw_parts(first, text.len());
        // SAFETY: not null. The bytes are those of a string.
        Ok(Gc::from_pointer(unsafe { NonNull::new_unchecked(bytes.as_ptr() as *mut str) }))
    }

    /// A copy of a string in the heap.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| assert_eq!(&*Gc::from_str(cx, "hello"), "hello"));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    #[allow(clippy::should_implement_trait)]
    pub fn from_str<K: Kind + Accepts<u8>>(cx: &Cx<'gc, K>, text: &str) -> Gc<'gc, str> {
        Gc::try_from_str(cx, text).unwrap_or_else(|error| no_memory(error))
    }
}

impl<'gc, T: ?Sized> Gc<'gc, T> {
    /// Callers keep invariant 1.
    #[inline(always)]
    pub(super) fn from_pointer(pointer: NonNull<T>) -> Gc<'gc, T> {
        Gc { pointer, brand: PhantomData }
    }

    #[inline(always)]
    pub(super) fn as_non_null(self) -> NonNull<T> {
        self.pointer
    }

    /// A reference to the same object that does not know its type.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let (text, pair) = (Gc::from_str(cx, "kept"), Gc::new(cx, (1, 2)));
    ///     let kept: Vec<Gc<'_, ()>> = vec![Gc::erase(text), Gc::erase(pair)];
    ///     assert!(!Gc::ptr_eq(kept[0], kept[1]));
    /// });
    /// ```
    #[inline]
    pub fn erase(this: Gc<'gc, T>) -> Gc<'gc, ()> {
        Gc::from_pointer(this.pointer.cast())
    }

    /// The reference of a pointer from [`as_ptr`](Gc::as_ptr).
    ///
    /// # Safety
    ///
    /// 1. The pointer is from `as_ptr`, of an object of the heap `'gc`, or a cast of such.
    /// 2. The object is alive, and a value of this type is at the pointer.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// #[repr(C)]
    /// struct Whole {
    ///     prefix: u64,
    ///     rest: [u64; 3],
    /// }
    /// rootless_mutate(|cx| {
    ///     let whole = Gc::new_static(cx, Whole { prefix: 1, rest: [2; 3] });
    ///     // SAFETY: the object is alive, and begins with its prefix.
    ///     let prefix: Gc<'_, u64> = unsafe { Gc::from_ptr(Gc::as_ptr(whole).cast()) };
    ///     assert_eq!((*prefix, whole.rest[2]), (1, 2));
    /// });
    /// ```
    #[inline]
    pub unsafe fn from_ptr(pointer: *const T) -> Gc<'gc, T> {
        // SAFETY: objects are not at zero.
        Gc::from_pointer(unsafe { NonNull::new_unchecked(pointer.cast_mut()) })
    }

    /// The address.
    #[inline]
    pub fn as_ptr(this: Gc<'gc, T>) -> *const T {
        this.pointer.as_ptr()
    }

    /// Whether both lead to the same place.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let (a, b) = (Gc::new(cx, 1u64), Gc::new(cx, 1u64));
    ///     assert!(a == b && !Gc::ptr_eq(a, b) && Gc::ptr_eq(a, a));
    /// });
    /// ```
    #[inline]
    pub fn ptr_eq(a: Gc<'gc, T>, b: Gc<'gc, T>) -> bool {
        ::core::ptr::addr_eq(a.pointer.as_ptr(), b.pointer.as_ptr())
    }
}

impl<'gc, T: ?Sized + 'gc> Gc<'gc, T> {
    /// The object for as long as the `run` lasts, and not only as the reference is borrowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, rootless_mutate};
    /// fn name<'gc>(object: Gc<'gc, (String, u64)>) -> &'gc str {
    ///     &object.as_ref().0
    /// }
    /// rootless_mutate(|cx| assert_eq!(name(Gc::new(cx, ("a".into(), 1))), "a"));
    /// ```
    #[inline(always)]
    #[allow(clippy::should_implement_trait)]
    pub fn as_ref(self) -> &'gc T {
        // SAFETY: invariant 1.
        unsafe { self.pointer.as_ref() }
    }

    /// A reference to a part of the object, which keeps all of it alive; or to the object as a trait's.
    ///
    /// # Panics
    ///
    /// When what `project` returns is no part of the object.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// use std::fmt::Display;
    ///
    /// let heap = Heap::new(Default::default())?;
    /// heap.run(|cx| {
    ///     let pair = Gc::new(cx, (1u64, 2u64));
    ///     let second: Gc<'_, u64> = Gc::map(pair, |pair| &pair.1);
    ///     let shown: Gc<'_, dyn Display> = Gc::map(second, |number| number as &dyn Display);
    ///     assert_eq!(shown.to_string(), "2");
    /// });
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn map<U: ?Sized>(
        this: Gc<'gc, T>,
        project: impl for<'a> FnOnce(&'a T) -> &'a U,
    ) -> Gc<'gc, U> {
        let whole = this.as_ref();
        let part = project(whole);
        let from_begin = NonNull::from(part).addr().get().wrapping_sub(this.pointer.addr().get());
        let inside =
            from_begin.checked_add(size_of_val(part)).is_some_and(|end| end <= size_of_val(whole));
        assert!(inside, "a projection returned what is no part of the object");
        let mut pointer = NonNull::from(part);
        let (bytes, align) = (size_of_val(whole), align_of_val(part));
        if bytes != 0 && from_begin == bytes {
            // An empty part at the end, where the next object begins. What has no bytes may lie at any aligned
            // place; this one is inside.
            assert!(align <= bytes, "a part of {bytes} bytes is not aligned to {align}");
            // SAFETY: the object begins so far before it, or farther.
            pointer = unsafe { pointer.byte_sub(align) };
        }
        Gc::from_pointer(pointer)
    }
}

impl<'gc, K: Kind> Cx<'gc, K> {
    /// Lets a function run after an object is gone, on a thread of the heap.
    ///
    /// It is `'static`, so that it cannot hold the object.
    ///
    /// # Errors
    ///
    /// When there is no memory or no thread for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, Heap};
    /// let heap = Heap::new(Default::default())?;
    /// let (sender, gone) = std::sync::mpsc::channel();
    /// heap.run(|cx| {
    ///     let object = Gc::new(cx, 7u64);
    ///     cx.add_cleanup(object, move || sender.send("gone").unwrap()).unwrap();
    /// });
    /// heap.collect();
    /// assert_eq!(gone.recv(), Ok("gone"));
    /// # Ok::<(), mallocgc::raw::HeapError>(())
    /// ```
    pub fn add_cleanup<T: ?Sized>(
        &self,
        object: Gc<'gc, T>,
        cleanup: impl FnOnce() + Send + 'static,
    ) -> Result<raw::Cleanup, raw::CleanupError> {
        let place = object.as_non_null().cast::<u8>().as_ptr();
        self.core().raw.add_cleanup(place, move |_| cleanup())
    }
}

impl<T: ?Sized> Clone for Gc<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Gc<'_, T> {}

impl<T: ?Sized> Deref for Gc<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1.
        unsafe { self.pointer.as_ref() }
    }
}

impl<T: ?Sized> Borrow<T> for Gc<'_, T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized> AsRef<T> for Gc<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

// SAFETY: it is a reference, in its first word: of a wide one the other is no address.
unsafe impl<'gc, T: ?Sized> Trace<'gc> for Gc<'gc, T> {
    const SHAPE: Shape = Shape::WORD;

    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        tracer.visit(self.pointer.as_ptr().cast_const().cast::<u8>());
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> fmt::Pointer for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Gc<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq> Eq for Gc<'_, T> {}

impl<T: ?Sized + PartialOrd> PartialOrd for Gc<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: ?Sized + Ord> Ord for Gc<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: ?Sized + Hash> Hash for Gc<'_, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
