//! A type for all lifetimes at once.

#![forbid(unsafe_code)]

use crate::typed::cell::{Lock, OnceLock, RefLock, Reference, Slot};
use crate::typed::gc::Gc;
use crate::typed::shared_lock::SharedLock;
use crate::typed::trace::{Static, Trace};

/// Names a type for any heap by its form for `'static`: `Root<Node<'static>>` holds a `Node<'gc>` in each context.
///
/// Derived with [`Trace`](derive@crate::typed::Trace); after gc-arena's `Rootable`, without its macro.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Family, Gc, Trace};
/// #[derive(Trace)]
/// struct Node<'gc>(Gc<'gc, u64>);
/// fn same<'gc>(node: Node<'gc>) -> <Node<'static> as Family>::At<'gc> {
///     node
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a type of all heaps",
    label = "a handle outlives every heap lifetime, so that it needs such a name",
    note = "derive `Trace` for the type, and write `'static` where it has the heap's lifetime"
)]
pub trait Family: 'static {
    /// The type in a heap of this lifetime.
    type At<'gc>: Trace<'gc>;
}

impl<T: 'static> Family for Static<T> {
    type At<'gc> = Static<T>;
}

impl<F: Family> Family for Gc<'static, F> {
    type At<'gc> = Gc<'gc, F::At<'gc>>;
}

impl<F: Family> Family for Gc<'static, [F]> {
    type At<'gc> = Gc<'gc, [F::At<'gc>]>;
}

impl Family for Gc<'static, str> {
    type At<'gc> = Gc<'gc, str>;
}

impl<F: Family, const N: usize> Family for [F; N] {
    type At<'gc> = [F::At<'gc>; N];
}

macro_rules! wrapper {
    ($($of:ident)*) => {$(
        impl<F: Family> Family for $of<F> {
            type At<'gc> = $of<F::At<'gc>>;
        }
    )*};
}

wrapper!(Option Box RefLock SharedLock OnceLock);

impl<F: Family> Family for Lock<F>
where
    for<'gc> F::At<'gc>: Copy,
{
    type At<'gc> = Lock<F::At<'gc>>;
}

impl<F: Family> Family for Slot<F>
where
    for<'gc> F::At<'gc>: Reference,
{
    type At<'gc> = Slot<F::At<'gc>>;
}
