//! `Trace` for the types of the standard library.

use crate::layout::Tracer;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::mem::offset_of;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};

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

free! {
    [] (), [] bool, [] char, [] str, [] String,
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize,
    [] i8, [] i16, [] i32, [] i64, [] i128, [] isize,
    [] f32, [] f64,
    [] std::num::NonZeroU8, [] std::num::NonZeroU16, [] std::num::NonZeroU32,
    [] std::num::NonZeroU64, [] std::num::NonZeroUsize,
    [] std::num::NonZeroI8, [] std::num::NonZeroI16, [] std::num::NonZeroI32,
    [] std::num::NonZeroI64, [] std::num::NonZeroIsize,
    [] std::sync::atomic::AtomicBool, [] std::sync::atomic::AtomicU8, [] std::sync::atomic::AtomicU32,
    [] std::sync::atomic::AtomicU64, [] std::sync::atomic::AtomicUsize,
    [] std::sync::atomic::AtomicI32, [] std::sync::atomic::AtomicI64, [] std::sync::atomic::AtomicIsize,
    [] std::time::Duration, [] std::time::Instant, [] std::time::SystemTime,
    [] std::path::PathBuf, [] std::path::Path, [] std::ffi::CString, [] std::ffi::OsString,
    [] std::fs::File, [] std::any::TypeId,
    [T] &'static T, [T] std::rc::Rc<T>, [T] std::sync::Arc<T>,
    [T] ::core::cell::RefCell<T>, [T] ::core::cell::Cell<T>,
    [T] std::sync::Mutex<T>, [T] std::sync::RwLock<T>,
}

// SAFETY: there is no value in it.
unsafe impl<'gc, T: ?Sized> Trace<'gc> for ::core::marker::PhantomData<T> {
    const SHAPE: Shape = Shape::FREE;
    #[inline]
    fn trace(&self, _: &mut Tracer<'_>) {}
}

/// Containers of values that lie elsewhere, and what iterates over them.
macro_rules! container {
    ($([$($parameter:ident)* $(; $hasher:ident)?] $of:ty, {$($part:ident)*} $element:tt;)*) => {$(
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
    )*};
}

container! {
    [T] Vec<T>, {element} element;
    [T] VecDeque<T>, {element} element;
    [T] LinkedList<T>, {element} element;
    [T] BTreeSet<T>, {element} element;
    [T] BinaryHeap<T>, {element} element;
    [T; S] HashSet<T, S>, {element} element;
    [K V] BTreeMap<K, V>, {key value} (key, value);
    [K V; S] HashMap<K, V, S>, {key value} (key, value);
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
