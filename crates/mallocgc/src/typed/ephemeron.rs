//! Values that live as long as their keys, and maps of them.
//!
//! An [`Ephemeron`] is a pair in the heap whose value counts only while something else
//! reaches the key: it may refer to its key, and both go together all the same. A
//! [`WeakMap`] has one for each entry, found by the key's identity, which is its
//! address, since objects do not move.
//!
//! The design is in `docs/design/ephemerons.md`; the collector's part in `raw::ephemeron`.

use crate::layout::Tracer;
use crate::raw;
use crate::typed::context::Mutation;
use crate::typed::core::AllocError;
use crate::typed::family::Family;
use crate::typed::gc::Gc;
use crate::typed::shape::Shape;
use crate::typed::trace::Trace;
use ::core::fmt;
use ::core::marker::PhantomData;
use std::collections::HashMap;

/// A key and what lives as long as it does. It keeps neither alive by itself; it lives as
/// long as something leads to it, and is copied like a reference.
///
/// # Invariants
///
/// 1. `object` is an ephemeron of the raw interface, in the heap of `'gc`, whose key and
///    value are those of a `Gc<'gc, K>` and a `Gc<'gc, V>`, or cleared.
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Ephemeron, Gc, Heap, Root};
///
/// let heap = Heap::new(Default::default())?;
/// let (key, pair): (Root<u64>, Root<Ephemeron<'static, u64, String>>) = heap.run(|cx| {
///     let key = Gc::new(cx, 7u64);
///     let pair = Ephemeron::new(cx, key, Gc::new(cx, String::from("seven")));
///     (cx.root(key), cx.root(Gc::new(cx, pair)))
/// });
/// heap.collect();
/// heap.run(|cx| assert_eq!(*pair.get(cx).value(cx).unwrap(), "seven"));
/// drop(key);
/// heap.collect();
/// heap.run(|cx| assert!(pair.get(cx).is_cleared() && pair.get(cx).value(cx).is_none()));
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct Ephemeron<'gc, K, V> {
    object: Gc<'gc, ()>,
    pair: PhantomData<(Gc<'gc, K>, Gc<'gc, V>)>,
}

impl<'gc, K, V> Ephemeron<'gc, K, V> {
    /// A pair.
    ///
    /// # Panics
    ///
    /// When there is no memory; [`try_new`](Ephemeron::try_new) does not.
    pub fn new(mutation: &Mutation<'gc>, key: Gc<'gc, K>, value: Gc<'gc, V>) -> Self {
        let made = Ephemeron::try_new(mutation, key, value);
        made.unwrap_or_else(|error| panic!("no memory for an ephemeron: {error}"))
    }

    /// A pair.
    ///
    /// # Errors
    ///
    /// As [`Gc::try_new`].
    pub fn try_new(
        mutation: &Mutation<'gc>,
        key: Gc<'gc, K>,
        value: Gc<'gc, V>,
    ) -> Result<Self, AllocError> {
        let core = mutation.core();
        let made =
            core.raw.ephemeron(key.as_non_null().cast(), value.as_non_null().as_ptr().cast());
        let made = made.map_err(|error| match error {
            raw::EphemeronError::OutOfMemory(error) => error,
            other => panic!("{other}"),
        });
        match core.raw.note(made) {
            Some(made) => {
                Ok(Ephemeron { object: Gc::from_pointer(made.as_ptr().cast()), pair: PhantomData })
            }
            None => Err(core.failed()),
        }
    }

    fn raw(self) -> raw::Ephemeron {
        // SAFETY: invariant 1.
        unsafe { raw::Ephemeron::from_ptr(self.object.as_non_null().cast()) }
    }

    /// The key, unless it is gone.
    pub fn key(self, mutation: &Mutation<'gc>) -> Option<Gc<'gc, K>> {
        // SAFETY: invariant 1; a reference leads to the object.
        let key = unsafe { self.raw().key(&mutation.core().raw) }?;
        Some(Gc::from_pointer(key.cast()))
    }

    /// The value, unless the key is gone.
    pub fn value(self, mutation: &Mutation<'gc>) -> Option<Gc<'gc, V>> {
        // SAFETY: as in `key`.
        let value = unsafe { self.raw().value(&mutation.core().raw) }?;
        Some(Gc::from_pointer(value.cast()))
    }

    /// Sets the value. `false` when the key is gone.
    pub fn set_value(self, mutation: &Mutation<'gc>, value: Gc<'gc, V>) -> bool {
        let place = value.as_non_null().as_ptr().cast();
        // SAFETY: as in `key`.
        match unsafe { self.raw().set_value(&mutation.core().raw, place) } {
            Ok(()) => true,
            Err(raw::EphemeronError::Cleared) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether the key is gone.
    pub fn is_cleared(self) -> bool {
        self.raw().is_cleared()
    }
}

impl<K, V> Clone for Ephemeron<'_, K, V> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Ephemeron<'_, K, V> {}

impl<K, V> fmt::Debug for Ephemeron<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_cleared() { "cleared" } else { "alive" };
        write!(f, "Ephemeron({:p}, {state})", self.object)
    }
}

// SAFETY: the reference is passed on, and is all there is; what it leads to is scanned
// by its own class.
unsafe impl<'gc, K, V> Trace<'gc> for Ephemeron<'gc, K, V> {
    const SHAPE: Shape = Shape::WORD;

    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.object.trace(tracer);
    }
}

impl<K: Family, V: Family> Family for Ephemeron<'static, K, V> {
    type At<'gc> = Ephemeron<'gc, K::At<'gc>, V::At<'gc>>;
}

/// A map from objects, by identity, to values that live as long as they do. An entry whose key
/// is gone is as if it had been removed; its memory follows when the map grows, or on
/// [`sweep`](WeakMap::sweep).
///
/// A plain container: inside objects it is in a [`RefLock`](crate::typed::RefLock) or
/// [`SharedLock`](crate::typed::SharedLock).
///
/// # Examples
///
/// ```
/// use mallocgc::typed::{Gc, Heap, RefLock, Root, WeakMap};
///
/// type Names<'gc> = RefLock<WeakMap<'gc, u64, String>>;
/// let heap = Heap::new(Default::default())?;
/// let (one, names): (Root<u64>, Root<Names<'static>>) = heap.run(|cx| {
///     let names: Gc<'_, Names<'_>> = Gc::new(cx, RefLock::new(WeakMap::new()));
///     let (one, two) = (Gc::new(cx, 1u64), Gc::new(cx, 2u64));
///     names.borrow_mut(cx).insert(cx, one, Gc::new(cx, "one".to_string()));
///     names.borrow_mut(cx).insert(cx, two, Gc::new(cx, "two".to_string()));
///     (cx.root(one), cx.root(names))
/// });
/// heap.collect();
/// heap.run(|cx| {
///     let names = names.get(cx).borrow();
///     assert_eq!(*names.get(cx, one.get(cx)).unwrap(), "one");
///     assert_eq!(names.iter(cx).count(), 1, "nobody had the other");
/// });
/// # Ok::<(), mallocgc::raw::HeapError>(())
/// ```
pub struct WeakMap<'gc, K, V> {
    /// By the key's address. Of entries that are cleared the address may be another object's.
    entries: HashMap<usize, Ephemeron<'gc, K, V>>,
    /// Entries from which on cleared ones are looked for.
    look_at: usize,
}

/// Cleared entries of small maps are left alone.
const LOOK_MIN: usize = 16;

impl<'gc, K, V> WeakMap<'gc, K, V> {
    /// A map without entries.
    pub fn new() -> Self {
        WeakMap { entries: HashMap::new(), look_at: LOOK_MIN }
    }

    fn address(key: Gc<'gc, K>) -> usize {
        key.as_non_null().addr().get()
    }

    /// The entry of a key that is alive, since it is here.
    fn entry(&self, key: Gc<'gc, K>) -> Option<Ephemeron<'gc, K, V>> {
        self.entries.get(&Self::address(key)).copied().filter(|entry| !entry.is_cleared())
    }

    /// Sets the value of a key, and returns the one before.
    ///
    /// # Panics
    ///
    /// When there is no memory.
    pub fn insert(
        &mut self,
        mutation: &Mutation<'gc>,
        key: Gc<'gc, K>,
        value: Gc<'gc, V>,
    ) -> Option<Gc<'gc, V>> {
        if let Some(entry) = self.entry(key) {
            let old = entry.value(mutation);
            entry.set_value(mutation, value);
            return old;
        }
        if self.entries.len() >= self.look_at {
            self.sweep();
        }
        self.entries.insert(Self::address(key), Ephemeron::new(mutation, key, value));
        None
    }

    /// The value of a key.
    pub fn get(&self, mutation: &Mutation<'gc>, key: Gc<'gc, K>) -> Option<Gc<'gc, V>> {
        self.entry(key)?.value(mutation)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: Gc<'gc, K>) -> bool {
        self.entry(key).is_some()
    }

    /// Takes an entry out; its value.
    pub fn remove(&mut self, mutation: &Mutation<'gc>, key: Gc<'gc, K>) -> Option<Gc<'gc, V>> {
        self.entry(key)?;
        self.entries.remove(&Self::address(key))?.value(mutation)
    }

    /// The entries whose keys are alive, in no order.
    pub fn iter<'m>(
        &'m self,
        mutation: &'m Mutation<'gc>,
    ) -> impl Iterator<Item = (Gc<'gc, K>, Gc<'gc, V>)> + 'm {
        let pairs = self.entries.values();
        pairs.filter_map(move |entry| Some((entry.key(mutation)?, entry.value(mutation)?)))
    }

    /// Gives back the memory of entries whose keys are gone.
    pub fn sweep(&mut self) {
        self.entries.retain(|_, entry| !entry.is_cleared());
        self.look_at = LOOK_MIN.max(2 * self.entries.len());
    }

    /// Takes all entries out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

impl<K, V> Default for WeakMap<'_, K, V> {
    fn default() -> Self {
        WeakMap::new()
    }
}

impl<K, V> fmt::Debug for WeakMap<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakMap({} entries)", self.entries.len())
    }
}

// SAFETY: every ephemeron is passed on; dropping the map follows no reference.
unsafe impl<'gc, K, V> Trace<'gc> for WeakMap<'gc, K, V> {
    const SHAPE: Shape = Shape::FUNCTION;

    fn trace(&self, tracer: &mut Tracer<'_>) {
        for entry in self.entries.values() {
            entry.trace(tracer);
        }
    }
}

impl<K: Family, V: Family> Family for WeakMap<'static, K, V> {
    type At<'gc> = WeakMap<'gc, K::At<'gc>, V::At<'gc>>;
}
