//! What kinds of heaps there are, and what they take.

#![forbid(unsafe_code)]

mod sealed {
    pub trait Sealed {}
}

/// What a heap takes: [`Local`] or [`Shared`].
pub trait Kind: sealed::Sealed + Sized + 'static {}

/// The kind of heaps of one thread, which take any type.
#[derive(Debug)]
pub enum Local {}

/// The kind of heaps of many threads, which take what these may share.
#[derive(Debug)]
pub enum Shared {}

impl sealed::Sealed for Local {}
impl sealed::Sealed for Shared {}
impl Kind for Local {}
impl Kind for Shared {}

/// Says that heaps of a kind take a type.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Accepts, Cx, Gc, Heap, Kind, SharedHeap};
///
/// fn make<'gc, K: Kind + Accepts<String>>(cx: &Cx<'gc, K>) -> Gc<'gc, String> {
///     Gc::new(cx, String::from("in any heap"))
/// }
///
/// let heap = Heap::new(Default::default())?;
/// heap.run(|cx| assert_eq!(make(cx).len(), 11));
/// let shared = SharedHeap::new(Default::default())?;
/// shared.attach()?.run(|cx| assert_eq!(make(cx).len(), 11));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be in a heap that threads share",
    label = "objects of a `SharedHeap` are `Send` and `Sync`",
    note = "use `Slot` and `SharedLock` in place of `Lock` and `RefLock`, or a `Heap`, which one thread has for itself"
)]
pub trait Accepts<T: ?Sized>: Kind {}

impl<T: ?Sized> Accepts<T> for Local {}
#[diagnostic::do_not_recommend]
impl<T: ?Sized + Send + Sync> Accepts<T> for Shared {}
