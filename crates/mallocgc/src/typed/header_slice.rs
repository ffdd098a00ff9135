//! A header and a slice in one object: vectors with a tag, closures with what they captured, strings with a hash.
//!
//! The reference is wide, as that of a slice: so a [`Gc`] of one is a `Gc` like others, with projections, weak
//! references, `unsize!` and pattern matching, and the header is what the program says and no word more. A thin one would
//! fit a [`Slot`](crate::typed::Slot), but it needs a type of its own for each of these; where a word must do, let an object
//! hold the wide reference, or put it into a [`Lock`](crate::typed::Lock).
//!
//! ```text
//! by mask      [ header | elements ]
//! by function  [ alive | header | elements ]
//! ```
//!
//! `alive` is one more than the number of elements, and 0 while they are written and from when a cycle
//! found the object dead, as in `plan`. It is there where references are not all words at fixed places, or where there are some and a
//! destructor too.

use crate::base::WORD_SIZE;
use crate::heap::error::AllocError as RawError;
use crate::layout::Tracer;
use crate::typed::context::Cx;
use crate::typed::core::{AllocError, Core};
use crate::typed::family::Family;
use crate::typed::gc::{Gc, no_memory};
use crate::typed::kind::{Accepts, Kind};
use crate::typed::plan::{Form, Key};
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::marker::PhantomData;
use ::core::mem::{forget, needs_drop, offset_of};
use ::core::ptr::{NonNull, slice_from_raw_parts_mut};

/// A header, and behind it a slice or a string, or an array that [`unsize!`](crate::typed::unsize!) makes a slice.
///
/// # Examples
///
/// A closure with what it captured:
///
/// ```
/// use mallocgc::typed::{Gc, HeaderSlice, Heap, Lock, Root, Trace};
///
/// #[derive(Clone, Copy, Trace)]
/// enum Value<'gc> {
///     Number(i64),
///     Closure(Closure<'gc>),
/// }
/// type Closure<'gc> = Gc<'gc, HeaderSlice<u32, [Lock<Value<'gc>>]>>;
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let captured = [Value::Number(1), Value::Number(2)];
///     let closure: Closure<'_> = HeaderSlice::from_iter(cx, 17, captured.map(Lock::new));
///     closure.slice[1].set(cx, Value::Closure(closure)); // a cycle
///     assert_eq!((closure.header, closure.slice.len()), (17, 2));
///     assert!(matches!(closure.slice[0].get(), Value::Number(1)));
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
///
/// A handle names it by its form for `'static`, and [`unsize!`](crate::typed::unsize!) makes one of an array:
///
/// ```
/// use mallocgc::typed::{Gc, HeaderSlice, Heap, Root, unsize};
///
/// let heap = Heap::new(Default::default())?;
/// let root: Root<HeaderSlice<u64, [Gc<'static, str>]>> = heap.run(|cx| {
///     let array = HeaderSlice { header: 7, slice: [Gc::from_str(cx, "a"), Gc::from_str(cx, "b")] };
///     cx.root(unsize!(Gc::new(cx, array) => HeaderSlice<u64, [Gc<'_, str>]>))
/// });
/// heap.collect();
/// heap.run(|cx| assert_eq!(&*root.get(cx).slice[1], "b"));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(C)]
pub struct HeaderSlice<H, S: ?Sized> {
    /// What comes first.
    pub header: H,
    /// What follows.
    pub slice: S,
}

// SAFETY: both fields are passed on, and in the shape at their places.
unsafe impl<'gc, H: Trace<'gc>, S: Trace<'gc>> Trace<'gc> for HeaderSlice<H, S> {
    const SHAPE: Shape = Shape::FREE
        .with(offset_of!(HeaderSlice<H, S>, header), H::SHAPE)
        .with(offset_of!(HeaderSlice<H, S>, slice), S::SHAPE);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.header.trace(tracer);
        self.slice.trace(tracer);
    }
}

// SAFETY: both fields are passed on. How many elements there are the shape does not know.
unsafe impl<'gc, H: Trace<'gc>, T: Trace<'gc>> Trace<'gc> for HeaderSlice<H, [T]> {
    const SHAPE: Shape = H::SHAPE.or(T::SHAPE);

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.header.trace(tracer);
        self.slice.trace(tracer);
    }
}

impl<H: Family, S: Family> Family for HeaderSlice<H, S> {
    type At<'gc> = HeaderSlice<H::At<'gc>, S::At<'gc>>;
}

impl<H: Family, F: Family> Family for Gc<'static, HeaderSlice<H, [F]>> {
    type At<'gc> = Gc<'gc, HeaderSlice<H::At<'gc>, [F::At<'gc>]>>;
}

impl<H: Family> Family for Gc<'static, HeaderSlice<H, str>> {
    type At<'gc> = Gc<'gc, HeaderSlice<H::At<'gc>, str>>;
}

/// How such objects lie in the heap: all of it constants.
struct Plan<H, T>(PhantomData<(H, T)>);

impl<'gc, H: Trace<'gc>, T: Trace<'gc>> Plan<H, T> {
    const DROPS: bool = needs_drop::<H>() || needs_drop::<T>();
    const FREE: bool = H::SHAPE.is_free() && T::SHAPE.is_free();
    const ALIGN: usize = align_of::<HeaderSlice<H, [T; 0]>>();
    /// Where elements begin in the value.
    const SLICE_OFFSET: usize = offset_of!(HeaderSlice<H, [T; 0]>, slice);
    /// The form of objects without `alive`.
    const MASK: Option<Form> = Self::mask();
    /// Whether objects have `alive`.
    const HAS_ALIVE: bool = !Self::FREE && (Self::DROPS || Self::MASK.is_none());
    /// Where the value begins.
    const OFFSET: usize = match Self::HAS_ALIVE {
        true if Self::ALIGN > WORD_SIZE => Self::ALIGN,
        true => WORD_SIZE,
        false => 0,
    };

    const KEY: Key = match Self::MASK {
        Some(form) if !Self::HAS_ALIVE => Key {
            form,
            bytes: match form {
                Form::RepeatedMask(_) => size_of::<T>(),
                _ => WORD_SIZE,
            },
        },
        _ => Key { form: Form::Function(trace_parts::<H, T>), bytes: size_of::<T>() },
    };

    const fn mask() -> Option<Form> {
        if Self::FREE {
            return Some(Form::Mask(0));
        }
        let (Some(header), Some(element)) = (H::SHAPE.mask(), T::SHAPE.mask()) else { return None };
        let whole = Self::SLICE_OFFSET.is_multiple_of(WORD_SIZE)
            && size_of::<T>().is_multiple_of(WORD_SIZE);
        if element == 0 {
            return Form::head(header, u64::BITS as usize, 0, 0);
        }
        if !whole {
            return None;
        }
        if Self::SLICE_OFFSET == 0 {
            return Some(Form::RepeatedMask(element));
        }
        let (header_words, element_words) =
            (Self::SLICE_OFFSET / WORD_SIZE, size_of::<T>() / WORD_SIZE);
        Form::head(header, header_words, element, element_words)
    }

    /// Bytes of a value with so many elements.
    fn value_bytes(count: usize) -> Option<usize> {
        let bytes = size_of::<T>().checked_mul(count)?.checked_add(Self::SLICE_OFFSET)?;
        let bytes = bytes.checked_next_multiple_of(Self::ALIGN)?;
        // One more than the count is a number, too.
        (bytes <= isize::MAX as usize && count < usize::MAX).then_some(bytes)
    }
}

/// A pointer to a value at a place.
fn wide<H, T>(place: NonNull<u8>, count: usize) -> NonNull<HeaderSlice<H, [T]>> {
    let wide = slice_from_raw_parts_mut(place.as_ptr().cast::<T>(), count);
    // SAFETY: the address of `place`.
    unsafe { NonNull::new_unchecked(wide as *mut HeaderSlice<H, [T]>) }
}

/// Traces the value of an object with `alive`.
unsafe fn trace_parts<'gc, H: Trace<'gc>, T: Trace<'gc>>(
    object: *mut u8,
    _: usize,
    tracer: &mut Tracer<'_>,
) {
    // SAFETY: the word is the object's first, and written while the world is stopped, or before the first
    // boundary after the object was made, when no marker reads it.
    let alive = unsafe { object.cast::<usize>().read() };
    let Some(count) = alive.checked_sub(1) else { return };
    // SAFETY: the value lies there; objects are not at zero.
    let place = unsafe { NonNull::new_unchecked(object.add(Plan::<H, T>::OFFSET)) };
    // SAFETY: header and so many elements were written; what mutators may be changing in them is in cells.
    let value = unsafe { wide::<H, T>(place, count).as_ref() };
    value.trace(tracer);
}

/// Drops the value of an object.
///
/// # Safety
///
/// There is one with `count` elements, and nobody uses it any more.
unsafe fn drop_parts<'gc, H: Trace<'gc>, T: Trace<'gc>>(object: *mut u8, count: usize) {
    // SAFETY: the value lies there; objects are not at zero.
    let place = unsafe { NonNull::new_unchecked(object.add(Plan::<H, T>::OFFSET)) };
    // SAFETY: the caller's promise.
    unsafe { wide::<H, T>(place, count).drop_in_place() };
}

/// The same of a value without bytes.
///
/// # Safety
///
/// As `drop_parts`.
unsafe fn drop_nothing<H, T>(object: *mut u8, count: usize) {
    // SAFETY: objects are not at zero.
    let place = unsafe { NonNull::new_unchecked(object) };
    // SAFETY: the caller's promise.
    unsafe { wide::<H, T>(place, count).drop_in_place() };
}

/// The elements of an object that is being made: drops them if it is not finished.
///
/// # Invariants
///
/// 1. There is room for `count` elements from `first` on.
/// 2. The first `written` of them hold values that nobody else has.
struct Elements<T> {
    first: NonNull<T>,
    count: usize,
    written: usize,
}

impl<T> Elements<T> {
    fn push(&mut self, element: T) {
        assert!(self.written < self.count, "room for {} elements", self.count);
        // SAFETY: by the check and invariant 1.
        unsafe { self.first.add(self.written).write(element) };
        self.written += 1;
    }

    fn copy(&mut self, elements: &[T])
    where
        T: Copy,
    {
        assert!(elements.len() <= self.count - self.written, "room for {} elements", self.count);
        let from = NonNull::from(elements).cast::<T>();
        // SAFETY: by the check and invariant 1; the room is ours alone.
        unsafe { self.first.add(self.written).copy_from_nonoverlapping(from, elements.len()) };
        self.written += elements.len();
    }
}

impl<T> Drop for Elements<T> {
    fn drop(&mut self) {
        let written = NonNull::slice_from_raw_parts(self.first, self.written);
        // SAFETY: invariant 2.
        unsafe { written.drop_in_place() };
    }
}

/// Makes an object of a header and `count` elements, which `fill` writes. Whatever fails or panics, what was
/// made is dropped, and nobody sees the place.
fn make<'gc, H: Trace<'gc>, T: Trace<'gc>>(
    core: &Core,
    header: H,
    count: usize,
    fill: impl FnOnce(&mut Elements<T>),
) -> Result<NonNull<HeaderSlice<H, [T]>>, AllocError> {
    let bytes = Plan::<H, T>::value_bytes(count);
    let all = bytes.and_then(|bytes| bytes.checked_add(Plan::<H, T>::OFFSET));
    let (Some(bytes), Some(all)) = (bytes, all) else {
        return Err(core.refuse(RawError::TooLarge { bytes: usize::MAX }));
    };
    // What has no bytes has no references either, and no `alive`: behind it another object would begin.
    let (object, offset) = match bytes {
        0 if Plan::<H, T>::DROPS => {
            (core.byte_for::<HeaderSlice<H, [T; 0]>>().map(NonNull::cast), 0)
        }
        0 => (core.nothing::<HeaderSlice<H, [T; 0]>>().map(NonNull::cast), 0),
        _ => {
            let key = const { &Plan::<H, T>::KEY };
            let align = Plan::<H, T>::ALIGN;
            (core.allocate_bytes(key, all, align), Plan::<H, T>::OFFSET)
        }
    };
    let object: NonNull<u8> = object.ok_or_else(|| core.failed())?;
    // SAFETY: the value begins so far behind the object's begin.
    let place = unsafe { object.byte_add(offset) };
    // SAFETY: by `value_bytes` that is in the object, or at its end if there are no elements.
    let first = unsafe { place.byte_add(Plan::<H, T>::SLICE_OFFSET) }.cast::<T>();
    let mut elements = Elements { first, count, written: 0 };
    fill(&mut elements);
    assert_eq!(elements.written, count, "an iterator yielded fewer elements than it said");
    let alive = (Plan::<H, T>::HAS_ALIVE && bytes != 0).then_some(object.cast::<usize>());
    if Plan::<H, T>::DROPS {
        let drop = if bytes == 0 { drop_nothing::<H, T> } else { drop_parts::<H, T> };
        // SAFETY: the header is written below, and nothing but an error, which drops all, comes before.
        let added = unsafe { core.raw.add_drop(object, drop, alive, count) };
        core.raw.note(added).ok_or_else(|| core.failed())?;
    }
    // From here on nothing fails.
    forget(elements);
    // SAFETY: the value begins with its header, whose place is ours alone.
    unsafe { place.cast::<H>().write(header) };
    if let Some(alive) = alive {
        // SAFETY: the object's first word. All of the value is written.
        unsafe { alive.write(count + 1) };
    }
    Ok(wide(place, count))
}

impl<'gc, H: Trace<'gc>, T: Trace<'gc>> HeaderSlice<H, [T]> {
    /// An object of a header and what an iterator yields.
    ///
    /// # Errors
    ///
    /// As [`Gc::try_new`]; [`TooLarge`](crate::raw::AllocError::TooLarge) when so many elements have no size. Header and
    /// elements are dropped.
    ///
    /// # Panics
    ///
    /// When the iterator yields fewer elements than its length said; when it panics itself. Header and elements are
    /// dropped then too.
    pub fn try_from_iter<K, I>(
        cx: &Cx<'gc, K>,
        header: H,
        elements: I,
    ) -> Result<Gc<'gc, HeaderSlice<H, [T]>>, AllocError>
    where
        K: Kind + Accepts<H> + Accepts<T>,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        let elements = elements.into_iter();
        let count = elements.len();
        let made = make(cx.core(), header, count, |room| {
            elements.take(count).for_each(|element| room.push(element));
        });
        made.map(Gc::from_pointer)
    }

    /// An object of a header and what an iterator yields.
    ///
    /// # Panics
    ///
    /// As [`try_from_iter`](HeaderSlice::try_from_iter), and when there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{HeaderSlice, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let squares = HeaderSlice::from_iter(cx, "squares", (0..4u32).map(|n| n * n));
    ///     assert_eq!((squares.header, &squares.slice), ("squares", &[0, 1, 4, 9][..]));
    /// });
    /// ```
    pub fn from_iter<K, I>(cx: &Cx<'gc, K>, header: H, elements: I) -> Gc<'gc, HeaderSlice<H, [T]>>
    where
        K: Kind + Accepts<H> + Accepts<T>,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        HeaderSlice::try_from_iter(cx, header, elements).unwrap_or_else(|error| no_memory(error))
    }

    /// An object of a header and `count` elements, each made from its index.
    ///
    /// # Errors
    ///
    /// As [`try_from_iter`](HeaderSlice::try_from_iter).
    pub fn try_from_fn<K>(
        cx: &Cx<'gc, K>,
        header: H,
        count: usize,
        mut element: impl FnMut(usize) -> T,
    ) -> Result<Gc<'gc, HeaderSlice<H, [T]>>, AllocError>
    where
        K: Kind + Accepts<H> + Accepts<T>,
    {
        let made = make(cx.core(), header, count, |room| {
            (0..count).for_each(|index| room.push(element(index)));
        });
        made.map(Gc::from_pointer)
    }

    /// An object of a header and `count` elements, each made from its index.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, HeaderSlice, Slot, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let zero = Gc::new(cx, 0u64);
    ///     let places = HeaderSlice::from_fn(cx, (), 3, |_| Slot::new(zero));
    ///     places.slice[2].set(cx, Gc::new(cx, 5));
    ///     assert_eq!(places.slice.iter().map(|place| *place.get()).sum::<u64>(), 5);
    /// });
    /// ```
    pub fn from_fn<K>(
        cx: &Cx<'gc, K>,
        header: H,
        count: usize,
        element: impl FnMut(usize) -> T,
    ) -> Gc<'gc, HeaderSlice<H, [T]>>
    where
        K: Kind + Accepts<H> + Accepts<T>,
    {
        let made = HeaderSlice::try_from_fn(cx, header, count, element);
        made.unwrap_or_else(|error| no_memory(error))
    }

    /// An object of a header and a copy of a slice.
    ///
    /// # Errors
    ///
    /// As [`try_from_iter`](HeaderSlice::try_from_iter).
    pub fn try_copy_from_slice<K>(
        cx: &Cx<'gc, K>,
        header: H,
        elements: &[T],
    ) -> Result<Gc<'gc, HeaderSlice<H, [T]>>, AllocError>
    where
        K: Kind + Accepts<H> + Accepts<T>,
        T: Copy,
    {
        let made = make(cx.core(), header, elements.len(), |room| room.copy(elements));
        made.map(Gc::from_pointer)
    }

    /// An object of a header and a copy of a slice.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{HeaderSlice, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let bytes = HeaderSlice::copy_from_slice(cx, 3u8, b"GIF");
    ///     assert_eq!((bytes.header, &bytes.slice), (3, &b"GIF"[..]));
    /// });
    /// ```
    pub fn copy_from_slice<K>(
        cx: &Cx<'gc, K>,
        header: H,
        elements: &[T],
    ) -> Gc<'gc, HeaderSlice<H, [T]>>
    where
        K: Kind + Accepts<H> + Accepts<T>,
        T: Copy,
    {
        let made = HeaderSlice::try_copy_from_slice(cx, header, elements);
        made.unwrap_or_else(|error| no_memory(error))
    }
}

impl<'gc, H: Trace<'gc>> HeaderSlice<H, str> {
    /// An object of a header and a copy of a string.
    ///
    /// # Errors
    ///
    /// As [`Gc::try_new`].
    pub fn try_from_str<K>(
        cx: &Cx<'gc, K>,
        header: H,
        text: &str,
    ) -> Result<Gc<'gc, HeaderSlice<H, str>>, AllocError>
    where
        K: Kind + Accepts<H>,
    {
        let made = make(cx.core(), header, text.len(), |room| room.copy(text.as_bytes()))?;
        // SAFETY: not null.
        let text = unsafe { NonNull::new_unchecked(made.as_ptr() as *mut HeaderSlice<H, str>) };
        // The bytes are those of a string.
        Ok(Gc::from_pointer(text))
    }

    /// An object of a header and a copy of a string.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, HeaderSlice, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let hash = 0xfeed_u64;
    ///     let name: Gc<'_, HeaderSlice<u64, str>> = HeaderSlice::from_str(cx, hash, "name");
    ///     assert_eq!((name.header, &name.slice), (hash, "name"));
    /// });
    /// ```
    pub fn from_str<K>(cx: &Cx<'gc, K>, header: H, text: &str) -> Gc<'gc, HeaderSlice<H, str>>
    where
        K: Kind + Accepts<H>,
    {
        HeaderSlice::try_from_str(cx, header, text).unwrap_or_else(|error| no_memory(error))
    }
}

impl<'gc, H: 'gc, S: ?Sized + 'gc> Gc<'gc, HeaderSlice<H, S>> {
    /// The header; it keeps all of the object alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::typed::{Gc, HeaderSlice, rootless_mutate};
    /// rootless_mutate(|cx| {
    ///     let object = HeaderSlice::copy_from_slice(cx, 1u64, &[2u8, 3]);
    ///     let (header, slice) = (Gc::header(object), Gc::slice(object));
    ///     let second: Gc<'_, u8> = Gc::map(slice, |slice| &slice[1]);
    ///     assert_eq!((*header, slice.len(), *second), (1, 2, 3));
    /// });
    /// ```
    #[inline]
    pub fn header(this: Gc<'gc, HeaderSlice<H, S>>) -> Gc<'gc, H> {
        Gc::map(this, |object| &object.header)
    }

    /// What follows the header; it keeps all of the object alive.
    #[inline]
    pub fn slice(this: Gc<'gc, HeaderSlice<H, S>>) -> Gc<'gc, S> {
        Gc::map(this, |object| &object.slice)
    }
}
