//! Ephemerons: a value that lives as long as its key does.
//!
//! An ephemeron is an object of the heap, and dies as one: it holds its value
//! only while something reaches the ephemeron *and* something else reaches the
//! key. What only the value reaches does not keep the key, whatever chains and
//! cycles of other ephemerons lead there. So tables with weak keys are built
//! of them, in the heap, without a word to the collector.
//!
//! When the key is found dead, key and value are cleared together, in the
//! cycle that finds it; also when a finalizer brings the key back, as with weak
//! handles. A key that an object with a finalizer refers to is alive until that
//! has run.
//!
//! A tiny key shares its block: it dies with the last object of the block.

use crate::base::Address;
use crate::heap::ephemeron::{EPHEMERON_BYTES, EphemeronWords};
use crate::heap::error::AllocError;
use crate::heap::span_class::Scan;
use crate::raw::finalizer::Located;
use crate::raw::mutator::Mutator;
use crate::world::callback;
use core::ptr::NonNull;

/// Why an ephemeron was not made or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EphemeronError {
    /// The key or the value is in no object of this heap.
    NotAllocated {
        /// The pointer.
        address: Address,
    },
    /// The key is dead, or was taken away.
    Cleared,
    /// The thread is inside a callback of a heap.
    Reentrant,
    /// There is no memory for it.
    OutOfMemory(AllocError),
}

impl core::fmt::Display for EphemeronError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ephemeron: ")?;
        match self {
            Self::NotAllocated { address } => {
                write!(f, "pointer {address:?} is in no allocated object")
            }
            Self::Cleared => f.write_str("the key is gone"),
            Self::Reentrant => f.write_str("called from inside a callback"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for EphemeronError {}

/// A reference to an ephemeron, an object of a heap. As any reference it may
/// be stored in objects and roots, and must be in one before a boundary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct Ephemeron(NonNull<u8>);

impl Ephemeron {
    /// The object.
    #[inline]
    pub fn as_ptr(self) -> NonNull<u8> {
        self.0
    }

    /// The ephemeron an object is.
    ///
    /// # Safety
    ///
    /// [`as_ptr`](Ephemeron::as_ptr) of an ephemeron gave this pointer.
    #[inline]
    pub unsafe fn from_ptr(object: NonNull<u8>) -> Ephemeron {
        Ephemeron(object)
    }

    /// Whether the key is gone. The ephemeron is alive.
    pub(crate) fn is_cleared(self) -> bool {
        self.words().key() == Address::NULL
    }

    fn words<'e>(self) -> &'e EphemeronWords {
        // SAFETY: callers of the unsafe methods below promise that it lives.
        unsafe { EphemeronWords::at(Address::from_ptr(self.0.as_ptr())) }
    }

    /// The key, or `None` when it is dead or was taken away. Root it before the
    /// mutator's next boundary.
    ///
    /// # Safety
    ///
    /// The ephemeron is alive, and of the mutator's heap.
    pub unsafe fn key(self, mutator: &Mutator) -> Option<NonNull<u8>> {
        handed_out(mutator, self.words().key())
    }

    /// The value; `None` when it is null or the key is dead.
    ///
    /// # Safety
    ///
    /// As [`key`](Ephemeron::key).
    pub unsafe fn value(self, mutator: &Mutator) -> Option<NonNull<u8>> {
        handed_out(mutator, self.words().value())
    }

    /// Exchanges the value; null is none.
    ///
    /// # Safety
    ///
    /// As [`key`](Ephemeron::key).
    ///
    /// # Errors
    ///
    /// When the key is gone, or the value no object; nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let make = || mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE);
    /// let (key, first, second) = (make()?, make()?, make()?);
    /// let ephemeron = mutator.ephemeron(key, first.as_ptr())?;
    /// // SAFETY: it was just made.
    /// unsafe {
    ///     ephemeron.set_value(&mutator, second.as_ptr())?;
    ///     assert_eq!((ephemeron.key(&mutator), ephemeron.value(&mutator)), (Some(key), Some(second)));
    ///     ephemeron.clear(&mutator);
    ///     assert_eq!((ephemeron.key(&mutator), ephemeron.value(&mutator)), (None, None));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn set_value(self, mutator: &Mutator, value: *mut u8) -> Result<(), EphemeronError> {
        let value = mutator.ephemeron_referent(value)?;
        let words = self.words();
        if words.key() == Address::NULL {
            return Err(EphemeronError::Cleared);
        }
        words.set_value(value);
        Ok(())
    }

    /// Takes key and value away, as if the key had died.
    ///
    /// # Safety
    ///
    /// As [`key`](Ephemeron::key).
    pub unsafe fn clear(self, _mutator: &Mutator) {
        self.words().clear();
    }
}

/// What an ephemeron holds, on its way to a mutator.
///
/// Here is the only barrier that ephemerons need. What one holds need not have been reachable when
/// marking began, so it is noted when somebody gets it. What is stored into one needs no note, as
/// everywhere; and what is overwritten or cleared needs none, since who still has it got it here.
fn handed_out(mutator: &Mutator, held: Address) -> Option<NonNull<u8>> {
    if mutator.is_marking() && held != Address::NULL {
        mutator.shade(held.as_usize());
    }
    NonNull::new(held.as_ptr())
}

impl Mutator {
    /// Makes an ephemeron: as long as it and `key` live, so does `value`, which
    /// may be null. Both may point into their objects. No boundary.
    ///
    /// # Errors
    ///
    /// [`EphemeronError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let key = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let value = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let ephemeron = mutator.ephemeron(key, value.as_ptr())?;
    /// mutator.push_root(ephemeron.as_ptr());
    /// mutator.push_root(key);
    /// mutator.gc(Force::Now)?;
    /// // SAFETY: the ephemeron is a root.
    /// assert_eq!(unsafe { ephemeron.value(&mutator) }, Some(value));
    /// mutator.truncate_roots(1);
    /// mutator.gc(Force::Now)?;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { ephemeron.value(&mutator) }, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ephemeron(&self, key: NonNull<u8>, value: *mut u8) -> Result<Ephemeron, EphemeronError> {
        if callback::is_inside() {
            return Err(EphemeronError::Reentrant);
        }
        let key = self.ephemeron_referent(key.as_ptr())?;
        let value = self.ephemeron_referent(value)?;
        let inner = self.inner();
        let layout = inner.layouts.ephemeron(inner).map_err(EphemeronError::OutOfMemory)?;
        let class =
            self.alloc_class(EPHEMERON_BYTES, layout).map_err(EphemeronError::OutOfMemory)?;
        let object = self.alloc(class).map_err(EphemeronError::OutOfMemory)?;
        let ephemeron = Ephemeron(object);
        ephemeron.words().fill(key, value);
        Ok(ephemeron)
    }

    /// The ephemeron that begins at an address, if there is one. Any address may
    /// be asked about.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::base::Address;
    /// use mallocgc::raw::{AllocFlags, Config, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let key = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let ephemeron = mutator.ephemeron(key, std::ptr::null_mut())?;
    /// let address = Address::from_ptr(ephemeron.as_ptr().as_ptr());
    /// assert_eq!(mutator.find_ephemeron(address), Some(ephemeron));
    /// assert_eq!(mutator.find_ephemeron(Address::from_ptr(key.as_ptr())), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_ephemeron(&self, address: Address) -> Option<Ephemeron> {
        let space = &self.inner().space;
        let found = space.find_object(address)?;
        let class = space.span(found.span).class();
        let is_one = found.object == address && space.class_info(class).scan == Scan::Ephemeron;
        is_one.then(|| NonNull::new(address.as_ptr()).map(Ephemeron))?
    }

    /// Checks what an ephemeron is to refer to.
    fn ephemeron_referent(&self, pointer: *mut u8) -> Result<Address, EphemeronError> {
        let address = Address::from_ptr(pointer);
        if address == Address::NULL {
            return Ok(address);
        }
        match self.inner().locate(address) {
            Some(Located::Object(_) | Located::Immortal) => Ok(address),
            None => Err(EphemeronError::NotAllocated { address }),
        }
    }
}

const _: () = assert!(size_of::<Option<Ephemeron>>() == size_of::<usize>());
