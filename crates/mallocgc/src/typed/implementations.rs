//! `Trace` for the types of the standard library.

use crate::layout::Tracer;
use crate::typed::family::Family;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::mem::{ManuallyDrop, offset_of};
use ::core::pin::Pin;
use ::core::sync::atomic;
use std::any::Any;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::error::Error;
use std::net;

/// Types that are 'static and hold no reference.
macro_rules! free {
    ($([$($parameter:ident)*] $of:ty),* $(,)?) => {$(
        // SAFETY: what is 'static holds no reference.
        #[diagnostic::do_not_recommend]
        unsafe impl<'gc, $($parameter: 'static + ?Sized),*> Trace<'gc> for $of {
            const SHAPE: Shape = Shape::FREE;
            #[inline]
            fn trace(&self, _: &mut Tracer<'_>) {}
        }
    )*};
}

/// Such types that have a size, and hence are families too.
macro_rules! plain {
    ($([$($parameter:ident)*] $of:ty),* $(,)?) => {
        free!($([$($parameter)*] $of),*);
        $(
            impl<$($parameter: 'static + ?Sized),*> Family for $of {
                type At<'gc> = $of;
            }
        )*
    };
}

plain! {
    [] crate::raw::External,
    [] (), [] bool, [] char, [] String,
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize,
    [] i8, [] i16, [] i32, [] i64, [] i128, [] isize,
    [] f32, [] f64,
    [] std::num::NonZeroU8, [] std::num::NonZeroU16, [] std::num::NonZeroU32,
    [] std::num::NonZeroU64, [] std::num::NonZeroU128, [] std::num::NonZeroUsize,
    [] std::num::NonZeroI8, [] std::num::NonZeroI16, [] std::num::NonZeroI32,
    [] std::num::NonZeroI64, [] std::num::NonZeroI128, [] std::num::NonZeroIsize,
    [] atomic::AtomicBool,
    [] atomic::AtomicU8, [] atomic::AtomicU16, [] atomic::AtomicU32, [] atomic::AtomicU64,
    [] atomic::AtomicI8, [] atomic::AtomicI16, [] atomic::AtomicI32, [] atomic::AtomicI64,
    [] atomic::AtomicUsize, [] atomic::AtomicIsize,
    [] std::cmp::Ordering, [] std::num::FpCategory, [] std::convert::Infallible,
    [] ::core::ops::RangeFull,
    [] std::time::Duration, [] std::time::Instant, [] std::time::SystemTime,
    [] std::path::PathBuf, [] std::ffi::CString, [] std::ffi::OsString,
    [] std::fs::File, [] std::any::TypeId, [] std::alloc::Layout,
    [] std::thread::ThreadId, [] std::thread::Thread,
    [] net::Ipv4Addr, [] net::Ipv6Addr, [] net::IpAddr,
    [] net::SocketAddrV4, [] net::SocketAddrV6, [] net::SocketAddr,
    [] net::TcpStream, [] net::TcpListener, [] net::UdpSocket,
    [] std::io::Error, [] std::io::ErrorKind, [] std::fmt::Error,
    [] std::str::Utf8Error, [] std::string::FromUtf8Error,
    [] std::num::ParseIntError, [] std::num::ParseFloatError,
    [] std::hash::RandomState, [] std::hash::DefaultHasher,
    [T] &'static T, [T] std::rc::Rc<T>, [T] std::sync::Arc<T>,
    [T] std::rc::Weak<T>, [T] std::sync::Weak<T>,
}

free! {
    [] str, [] std::path::Path, [] std::ffi::CStr, [] std::ffi::OsStr,
    [] dyn Any, [] dyn Any + Send, [] dyn Any + Send + Sync,
    [] dyn Error, [] dyn Error + Send, [] dyn Error + Send + Sync,
    [T] ::core::cell::RefCell<T>, [T] ::core::cell::Cell<T>,
    [T] std::sync::Mutex<T>, [T] std::sync::RwLock<T>,
}

/// Types of which only those of 'static parameters, which have sizes, are traced.
macro_rules! sized {
    ($([$($parameter:ident)*] $of:ty),* $(,)?) => {$(
        // SAFETY: what is 'static holds no reference.
        #[diagnostic::do_not_recommend]
        unsafe impl<'gc, $($parameter: 'static),*> Trace<'gc> for $of {
            const SHAPE: Shape = Shape::FREE;
            #[inline]
            fn trace(&self, _: &mut Tracer<'_>) {}
        }

        impl<$($parameter: 'static),*> Family for $of {
            type At<'gc> = $of;
        }
    )*};
}

sized! {
    [T] ::core::cell::OnceCell<T>, [T] std::sync::OnceLock<T>,
    [T F] std::cell::LazyCell<T, F>, [T F] std::sync::LazyLock<T, F>,
    [T] std::num::Wrapping<T>, [T] std::num::Saturating<T>,
    [T] ::core::ops::Range<T>, [T] ::core::ops::RangeInclusive<T>,
    [T] ::core::ops::RangeFrom<T>, [T] ::core::ops::RangeTo<T>,
    [T] ::core::ops::RangeToInclusive<T>, [T] ::core::ops::Bound<T>,
    [T] std::sync::mpsc::Sender<T>, [T] std::sync::mpsc::SyncSender<T>,
    [T] std::sync::mpsc::Receiver<T>, [T] std::thread::JoinHandle<T>,
}

impl<T: 'static> Family for ::core::cell::Cell<T> {
    type At<'gc> = ::core::cell::Cell<T>;
}

impl<T: 'static> Family for ::core::cell::RefCell<T> {
    type At<'gc> = ::core::cell::RefCell<T>;
}

impl<T: 'static> Family for std::sync::Mutex<T> {
    type At<'gc> = std::sync::Mutex<T>;
}

impl<T: 'static> Family for std::sync::RwLock<T> {
    type At<'gc> = std::sync::RwLock<T>;
}

// SAFETY: what is 'static holds no reference, and what owns the borrowed type is 'static with it.
#[diagnostic::do_not_recommend]
unsafe impl<'gc, T: ToOwned + ?Sized + 'static> Trace<'gc> for Cow<'static, T> {
    const SHAPE: Shape = Shape::FREE;
    #[inline]
    fn trace(&self, _: &mut Tracer<'_>) {}
}

impl<T: ToOwned + ?Sized + 'static> Family for Cow<'static, T> {
    type At<'gc> = Cow<'static, T>;
}

// SAFETY: there is no value in it.
unsafe impl<'gc, T: ?Sized> Trace<'gc> for ::core::marker::PhantomData<T> {
    const SHAPE: Shape = Shape::FREE;
    #[inline]
    fn trace(&self, _: &mut Tracer<'_>) {}
}

/// Containers of values that lie elsewhere, and what iterates over them.
macro_rules! container {
    ($([$($parameter:ident)* $(; $hasher:ident)?] $of:ty, $($container:ident)::+ {$($part:ident)*} $element:tt;)*) => {$(
        // SAFETY: every element is passed on; dropping the container drops its elements and
        // follows no reference.
        unsafe impl<'gc, $($parameter: Trace<'gc>,)* $($hasher: 'static)?> Trace<'gc> for $of {
            const SHAPE: Shape = Shape::FREE $(.or(<$parameter as Trace<'gc>>::SHAPE))*;
            #[inline]
            fn trace(&self, tracer: &mut Tracer<'_>) {
                if !<Self as Trace<'gc>>::SHAPE.is_free() {
                    for $element in self.iter() {
                        $($part.trace(tracer);)*
                    }
                }
            }
        }

        impl<$($parameter: Family,)* $($hasher: 'static)?> Family for $of {
            type At<'gc> = $($container)::+<$($parameter::At<'gc>,)* $($hasher)?>;
        }
    )*};
}

container! {
    [T] Vec<T>, Vec {element} element;
    [T] VecDeque<T>, VecDeque {element} element;
    [T] LinkedList<T>, LinkedList {element} element;
    [T] BTreeSet<T>, BTreeSet {element} element;
    [T] BinaryHeap<T>, BinaryHeap {element} element;
    [T; S] HashSet<T, S>, HashSet {element} element;
    [K V] BTreeMap<K, V>, BTreeMap {key value} (key, value);
    [K V; S] HashMap<K, V, S>, HashMap {key value} (key, value);
}

// With the allocator that they have if none is named: another one's memory might be an object's.
#[cfg(feature = "hashbrown")]
container! {
    [T] hashbrown::HashTable<T>, hashbrown::HashTable {element} element;
    [T; S] hashbrown::HashSet<T, S>, hashbrown::HashSet {element} element;
    [K V; S] hashbrown::HashMap<K, V, S>, hashbrown::HashMap {key value} (key, value);
}

#[cfg(feature = "indexmap")]
container! {
    [T; S] indexmap::IndexSet<T, S>, indexmap::IndexSet {element} element;
    [K V; S] indexmap::IndexMap<K, V, S>, indexmap::IndexMap {key value} (key, value);
}

// SAFETY: every element is passed on, wherever it lies; dropping the vector drops its elements and follows no
// reference.
#[cfg(feature = "smallvec")]
unsafe impl<'gc, A: smallvec::Array<Item: Trace<'gc>>> Trace<'gc> for smallvec::SmallVec<A> {
    const SHAPE: Shape = Shape::FREE.or(A::Item::SHAPE);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.as_slice().trace(tracer);
    }
}

#[cfg(feature = "smallvec")]
impl<F: Family, const N: usize> Family for smallvec::SmallVec<[F; N]> {
    type At<'gc> = smallvec::SmallVec<[F::At<'gc>; N]>;
}

/// Values around one other, which lies in them.
macro_rules! wrapper {
    ($($of:ident at $offset:expr, $inner:pat => $value:expr;)*) => {$(
        // SAFETY: the value is passed on, and is all there is, at its offset.
        unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for $of<T> {
            const SHAPE: Shape = Shape::FREE.with($offset, T::SHAPE);
            #[inline]
            fn trace(&self, tracer: &mut Tracer<'_>) {
                let $inner = self;
                $value.trace(tracer);
            }
        }

        impl<F: Family> Family for $of<F> {
            type At<'gc> = $of<F::At<'gc>>;
        }
    )*};
}

wrapper! {
    Reverse at offset_of!(Reverse<T>, 0), Reverse(value) => value;
    // It is transparent.
    ManuallyDrop at 0, value => (**value);
}

// SAFETY: the value is passed on.
unsafe impl<'gc, T: Trace<'gc> + ?Sized> Trace<'gc> for Pin<Box<T>> {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        (**self).trace(tracer);
    }
}

impl<F: Family> Family for Pin<Box<F>> {
    type At<'gc> = Pin<Box<F::At<'gc>>>;
}

// SAFETY: the value is passed on.
unsafe impl<'gc, T: Trace<'gc> + ?Sized> Trace<'gc> for Box<T> {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        (**self).trace(tracer);
    }
}

// SAFETY: every element is passed on. The shape is that of elements, whose number it does not know.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for [T] {
    const SHAPE: Shape = Shape::FREE.or(T::SHAPE);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if !T::SHAPE.is_free() {
            self.iter().for_each(|element| element.trace(tracer));
        }
    }
}

// SAFETY: every element is passed on, and in the shape at its place.
unsafe impl<'gc, T: Trace<'gc>, const N: usize> Trace<'gc> for [T; N] {
    const SHAPE: Shape = T::SHAPE.repeated(size_of::<T>(), N);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.as_slice().trace(tracer);
    }
}

// SAFETY: the value is passed on. A shape of one word is that of a reference, which is not null.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for Option<T> {
    const SHAPE: Shape = T::SHAPE.optional(size_of::<T>(), size_of::<Option<T>>());
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if let Some(value) = self {
            value.trace(tracer);
        }
    }
}

// SAFETY: whichever there is is passed on.
unsafe impl<'gc, T: Trace<'gc>, E: Trace<'gc>> Trace<'gc> for Result<T, E> {
    const SHAPE: Shape = T::SHAPE.or(E::SHAPE);
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        match self {
            Ok(value) => value.trace(tracer),
            Err(error) => error.trace(tracer),
        }
    }
}

impl<F: Family, E: Family> Family for Result<F, E> {
    type At<'gc> = Result<F::At<'gc>, E::At<'gc>>;
}

macro_rules! tuple {
    ($($name:ident $index:tt)*) => { tuple!(@ ($($name,)*) $($name $index)*); };
    (@ $all:tt $($name:ident $index:tt)*) => {
        // SAFETY: every field is passed on, and in the shape at its place.
        unsafe impl<'gc, $($name: Trace<'gc>),*> Trace<'gc> for ($($name,)*) {
            const SHAPE: Shape =
                Shape::FREE $(.with(offset_of!($all, $index), <$name as Trace<'gc>>::SHAPE))*;
            #[inline]
            fn trace(&self, tracer: &mut Tracer<'_>) {
                $(self.$index.trace(tracer);)*
            }
        }

        impl<$($name: Family),*> Family for ($($name,)*) {
            type At<'gc> = ($($name::At<'gc>,)*);
        }
    };
}

tuple!(A 0);
tuple!(A 0 B 1);
tuple!(A 0 B 1 C 2);
tuple!(A 0 B 1 C 2 D 3);
tuple!(A 0 B 1 C 2 D 3 E 4);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 L 10);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 L 10 M 11);

/// Functions: whatever they take or return, they hold nothing.
macro_rules! function {
    ($($argument:ident)*) => {
        // SAFETY: there is no value in it.
        unsafe impl<'gc, Z, $($argument),*> Trace<'gc> for fn($($argument),*) -> Z {
            const SHAPE: Shape = Shape::FREE;
            #[inline]
            fn trace(&self, _: &mut Tracer<'_>) {}
        }
    };
}

function!();
function!(A);
function!(A B);
function!(A B C);
function!(A B C D);
function!(A B C D E);
function!(A B C D E F);
