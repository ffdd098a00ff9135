//! Families by a type with a lifetime left open, after gc-arena.

#![forbid(unsafe_code)]

use crate::typed::family::Family;
use crate::typed::trace::Trace;
use ::core::marker::PhantomData;

/// What [`Rootable!`] makes: a type for each lifetime.
pub trait Rootable<'gc> {
    /// The type in a heap of this lifetime.
    type Root: Trace<'gc>;
}

/// A family whose type is told by a trait object, of which there is none.
#[doc(hidden)]
#[derive(Debug)]
pub struct DynRootable<T: ?Sized>(PhantomData<fn(Box<T>) -> Box<T>>);

impl<T: ?Sized + for<'gc> Rootable<'gc> + 'static> Family for DynRootable<T> {
    type At<'gc> = <T as Rootable<'gc>>::Root;
}

/// A [`Family`](crate::typed::Family) from a type whose heap lifetime is `'_`, or a name of one's own: for types that do not derive `Trace`, generic ones, and programs that
/// come from gc-arena. `Node<'static>` names the family of a type that derives it.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, Root, Rootable};
///
/// type Pair = Rootable![(Gc<'_, u64>, Vec<Gc<'_, str>>)];
/// type Same = Rootable!['gc => (Gc<'gc, u64>, Vec<Gc<'gc, str>>)];
///
/// let heap = Heap::new(Default::default())?;
/// let pair: Root<Pair> =
///     heap.run(|cx| cx.root(Gc::new(cx, (Gc::new(cx, 1), vec![Gc::from_str(cx, "one")]))));
/// heap.run(|cx| assert_eq!(*pair.get(cx).0, 1));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[doc(inline)]
pub use crate::__rootable as Rootable;

#[doc(hidden)]
#[macro_export]
macro_rules! __rootable {
    ($gc:lifetime => $of:ty) => {
        $crate::typed::__DynRootable::<dyn for<$gc> $crate::typed::Rootable<$gc, Root = $of>>
    };
    ($of:ty) => {
        $crate::typed::Rootable!['__gc => $crate::typed::__name_lifetimes!('__gc $of)]
    };
}
