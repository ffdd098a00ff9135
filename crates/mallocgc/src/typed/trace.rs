//! Types that may be in a heap.

use crate::layout::Tracer;
use crate::typed::shape::Shape;
use ::core::ops::{Deref, DerefMut};

/// A type whose values may be in a heap of lifetime `'gc`, and which says where its references are.
///
/// Derive it. The name of gc-arena's trait for the same is `Collect`.
///
/// `Cell`, `RefCell`, `Rc` and the like are traced only if what they hold is `'static`, as they have no barrier and may be
/// shared with what is no object. Around a `Gc` the compiler answers that `'gc` must outlive `'static`.
///
/// # Safety
///
/// 1. `SHAPE` and `trace` name every reference of lifetime `'gc` in the value: if the shape has a mask, those in
///    its words and no other word of the value is named; `trace` in any case.
/// 2. `trace` writes nothing, does not unwind, and may be called on any thread, also while the value's threads
///    use it through a shared reference. So what may change behind such a reference it reads by tracing the cells of
///    this module alone.
/// 3. If the type has references, dropping a value follows none of them.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Shape, Slot, Trace};
///
/// #[derive(Trace)]
/// struct Pair<'gc> {
///     first: Gc<'gc, u64>,
///     number: u64,
///     second: Slot<Option<Gc<'gc, Pair<'gc>>>>,
/// }
///
/// assert_eq!(<Pair<'_> as Trace<'_>>::SHAPE.mask().unwrap().count_ones(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a garbage-collected heap",
    label = "this type does not say where its references are",
    note = "derive `Trace` for it, or, if it holds no `Gc`, put it into `Static` or mark the field `#[gc(static)]`"
)]
pub unsafe trait Trace<'gc> {
    /// Where the references are.
    const SHAPE: Shape;

    /// Passes each reference to the tracer.
    fn trace(&self, tracer: &mut Tracer<'_>);
}

/// A value without references, of a type that does not implement [`Trace`].
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Static};
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| {
///     let place = Gc::new(cx, Static(std::thread::current().id()));
///     assert_eq!(**place, std::thread::current().id());
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Static<T>(pub T);

impl<T> Deref for Static<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Static<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

// SAFETY: what is 'static holds no reference.
unsafe impl<'gc, T: 'static> Trace<'gc> for Static<T> {
    const SHAPE: Shape = Shape::FREE;
    #[inline]
    fn trace(&self, _: &mut Tracer<'_>) {}
}
