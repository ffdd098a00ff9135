//! Trait objects that hold references, in boxes.

use crate::layout::Tracer;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;

/// [`Trace`] for trait objects. It is a supertrait of traits whose objects lie in boxes inside objects of the heap; every
/// type that is traced has it. gc-arena calls it `DynCollect`. A `Gc<dyn …>` needs none of this: its object is traced as the type it was
/// made of.
///
/// # Safety
///
/// As [`Trace`]; it is implemented for all types that have that.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{DynTrace, Gc, Heap, Trace, dyn_trace};
///
/// trait Shape<'gc>: DynTrace<'gc> {
///     fn area(&self) -> u64;
/// }
/// dyn_trace!(dyn Shape<'gc>);
///
/// #[derive(Trace)]
/// struct Square<'gc>(Gc<'gc, u64>);
/// impl<'gc> Shape<'gc> for Square<'gc> {
///     fn area(&self) -> u64 {
///         *self.0 * *self.0
///     }
/// }
///
/// #[derive(Trace)]
/// struct Drawing<'gc> {
///     shapes: Vec<Box<dyn Shape<'gc> + 'gc>>,
/// }
///
/// let heap = Heap::new(Default::default())?;
/// let root = heap.run(|cx| {
///     let square = Square(Gc::new(cx, 3));
///     cx.root::<Drawing<'static>>(Gc::new(cx, Drawing { shapes: vec![Box::new(square)] }))
/// });
/// heap.collect();
/// heap.run(|cx| assert_eq!(root.get(cx).shapes[0].area(), 9));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub unsafe trait DynTrace<'gc> {
    /// [`Trace::trace`].
    fn dyn_trace(&self, tracer: &mut Tracer<'_>);
}

// SAFETY: the same.
unsafe impl<'gc, T: Trace<'gc>> DynTrace<'gc> for T {
    fn dyn_trace(&self, tracer: &mut Tracer<'_>) {
        self.trace(tracer);
    }
}

// SAFETY: the value is asked; a trait object's references are its value's.
unsafe impl<'gc, 'object> Trace<'gc> for dyn DynTrace<'gc> + 'object {
    const SHAPE: Shape = Shape::FUNCTION;

    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.dyn_trace(tracer);
    }
}

/// Implements [`Trace`](crate::typed::Trace) for objects of a trait with the supertrait [`DynTrace`](crate::typed::DynTrace), which has an example. The heap's lifetime is
/// `'gc`; further parameters come first: `dyn_trace!(<T> dyn Visitor<'gc, T> where T: Clone)`.
/// Without such, objects of the trait can have a [`Root`](crate::typed::Root), too: `Root<dyn Shape<'static>>`.
#[doc(inline)]
pub use crate::__dyn_trace as dyn_trace;

#[doc(hidden)]
#[macro_export]
macro_rules! __dyn_trace {
    (<$($parameter:ident),+ $(,)?> dyn $of:path $(where $($bounds:tt)+)?) => {
        // SAFETY: the value is asked, which is traced by `DynTrace`.
        unsafe impl<'gc, 'object, $($parameter),+> $crate::typed::Trace<'gc> for dyn $of + 'object
        $(where $($bounds)+)?
        {
            const SHAPE: $crate::typed::Shape = $crate::typed::Shape::FUNCTION;

            fn trace(&self, tracer: &mut $crate::typed::Tracer<'_>) {
                $crate::typed::DynTrace::<'gc>::dyn_trace(self, tracer);
            }
        }
    };
    (dyn $of:path) => {
        // SAFETY: the value is asked, which is traced by `DynTrace`.
        unsafe impl<'gc, 'object> $crate::typed::Trace<'gc> for dyn $of + 'object {
            const SHAPE: $crate::typed::Shape = $crate::typed::Shape::FUNCTION;

            fn trace(&self, tracer: &mut $crate::typed::Tracer<'_>) {
                $crate::typed::DynTrace::<'gc>::dyn_trace(self, tracer);
            }
        }

        const _: () = {
            type At<'gc> = dyn $of + 'gc;
            // SAFETY: the heap's lifetime is its only one.
            unsafe impl $crate::typed::Handled for At<'static> {
                type At<'gc> = At<'gc>;
                type Wide = $crate::typed::__Whole<At<'static>>;
            }
        };
    };
}
