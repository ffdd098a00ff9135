//! Weak handles: they name an object without keeping it alive.
//!
//! All handles to one place of an object are one record, so a handle is one
//! word and handles compare as the places did, also after the object's death.
//! The record is cleared when the object is gone, and before that when its
//! finalizer is queued: an object that the finalizer brings back has new weak
//! handles, different from the old. Handles on what never dies never clear.
//!
//! A record stays with its object, so that making a handle again is a look
//! into the table. It is reused once the object is gone and the last handle
//! dropped. While a record has handles it holds the heap.

use crate::base::Address;
use crate::heap::error::AllocError;
use crate::heap::special::AttachError;
use crate::heap::special::record::{self, Record};
use crate::heap::special::weak_count::LastHandle;
use crate::raw::finalizer::{Located, Placement};
use crate::raw::heap::Owner;
use crate::raw::mutator::Mutator;
use crate::world::callback;
use core::hash::{Hash, Hasher};
use core::ptr::NonNull;
use std::sync::Arc;

/// Why a weak handle was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WeakError {
    /// The pointer is in no object of this heap.
    NotAllocated {
        /// The pointer.
        address: Address,
    },
    /// The thread is inside a callback of a heap.
    Reentrant,
    /// There is no memory for the record.
    OutOfMemory(AllocError),
}

impl core::fmt::Display for WeakError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("weak: ")?;
        match self {
            Self::NotAllocated { address } => {
                write!(f, "pointer {address:?} is in no allocated object")
            }
            Self::Reentrant => f.write_str("called from inside a callback"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WeakError {}

/// A weak handle. May be sent, cloned and dropped on any thread; the default
/// is the handle of null, which names nothing.
///
/// # Invariants
///
/// 1. The record is a weak record that counts this handle, and whose chunk
///    names the heap's `Owner`. While it counts handles it owns one reference
///    to that owner.
#[derive(Default)]
pub struct Weak {
    record: Option<NonNull<Record>>,
}

const _: () = assert!(size_of::<Weak>() == size_of::<usize>());

// SAFETY: handles touch atomic words of the record only.
unsafe impl Send for Weak {}
// SAFETY: as for `Send`.
unsafe impl Sync for Weak {}

impl Weak {
    /// The object, or the place in it, unless it is gone. Root it before the
    /// mutator's next boundary.
    ///
    /// # Panics
    ///
    /// When the mutator is of another heap.
    #[inline]
    pub fn get(&self, mutator: &Mutator) -> Option<NonNull<u8>> {
        let record = self.record?;
        assert!(
            mutator.inner().space.specials.records.contains(record),
            "a weak handle was read with a mutator of another heap"
        );
        // SAFETY: invariant 1. No cycle clears it before the next boundary.
        let object = NonNull::new(unsafe { record.as_ref() }.weak_object())?;
        if mutator.is_marking() {
            // It need not have been reachable when marking began.
            mutator.shade(object.addr().get());
        }
        Some(object)
    }

    /// Whether the object is gone, as far as is known this moment. The handle
    /// of null names nothing and is cleared from the beginning.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, Weak};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let (weak, _) = mutator.weak(mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?)?;
    /// assert!(!weak.is_cleared());
    /// mutator.gc(Force::Now)?;
    /// assert!(weak.is_cleared() && Weak::default().is_cleared());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_cleared(&self) -> bool {
        // SAFETY: invariant 1.
        self.record.is_none_or(|record| unsafe { record.as_ref() }.weak_object().is_null())
    }
}

impl Weak {
    /// Lets no handle give the object out, until it is shown. Its maker alone knows it, and
    /// passes no boundary until then.
    pub(crate) fn hide(&self) {
        if let Some(record) = self.record {
            // SAFETY: invariant 1.
            unsafe { record.as_ref() }.hide_weak();
        }
    }

    /// Ends [`hide`](Weak::hide).
    pub(crate) fn show(&self, object: NonNull<u8>) {
        if let Some(record) = self.record {
            // SAFETY: invariant 1.
            unsafe { record.as_ref() }.show_weak(object.as_ptr());
        }
    }
}

impl Clone for Weak {
    fn clone(&self) -> Weak {
        if let Some(record) = self.record {
            // SAFETY: invariant 1.
            unsafe { record.as_ref() }.weak_count().add();
        }
        Weak { record: self.record }
    }
}

impl Drop for Weak {
    fn drop(&mut self) {
        let Some(record) = self.record else { return };
        // SAFETY: invariant 1.
        let last = unsafe { record.as_ref() }.weak_count().subtract();
        if last == LastHandle::No {
            return;
        }
        // SAFETY: invariant 1; the record's reference keeps the heap until
        // the end of this function.
        let owner: *const Owner = unsafe { record::owner_of(record) }.cast();
        if last == LastHandle::FreesRecord {
            // SAFETY: as above.
            let inner = unsafe { &(*owner).inner };
            let records = &inner.space.specials.records;
            // SAFETY: as above; the record was taken from these.
            let id = records.id_of(unsafe { record.as_ref() });
            records.recycle([id]);
        }
        // SAFETY: the reference that the first handle took (invariant 1).
        unsafe { Arc::decrement_strong_count(owner) };
    }
}

impl PartialEq for Weak {
    fn eq(&self, other: &Weak) -> bool {
        self.record == other.record
    }
}

impl Eq for Weak {}

impl Hash for Weak {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.hash(state);
    }
}

impl core::fmt::Debug for Weak {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = if self.is_cleared() { "cleared" } else { "alive" };
        write!(f, "Weak({:?}, {state})", self.record)
    }
}

impl Mutator {
    /// A weak handle to an object or a place in it, and where that lies: a
    /// tiny object's handle clears when its whole block is gone. Equal
    /// pointers to a living object get equal handles.
    ///
    /// # Errors
    ///
    /// [`WeakError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout};
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// let (weak, _) = mutator.weak(object)?;
    /// mutator.push_root(object);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(weak.get(&mutator), Some(object));
    /// mutator.truncate_roots(0);
    /// mutator.gc(Force::Now)?;
    /// assert_eq!(weak.get(&mutator), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn weak(&self, object: NonNull<u8>) -> Result<(Weak, Placement), WeakError> {
        if callback::is_inside() {
            return Err(WeakError::Reentrant);
        }
        let inner = self.inner();
        let specials = &inner.space.specials;
        let address = Address::from_ptr(object.as_ptr());
        let (made, placement) = match inner.locate(address) {
            None => return Err(WeakError::NotAllocated { address }),
            Some(Located::Immortal) => (specials.weak_immortal(address), Placement::Immortal),
            Some(Located::Object(found)) => (
                specials.weak(&inner.space, &found, address),
                inner.count_placement(&found, address),
            ),
        };
        let (record, only) = made.map_err(|error| match error {
            AttachError::Memory(error) => WeakError::OutOfMemory(AllocError::from_meta(0, error)),
            AttachError::AlreadySet => unreachable!("weak records are shared"),
        })?;
        let owner = Arc::as_ptr(&self.heap().owner);
        // SAFETY: the record is of this heap, which is here.
        unsafe { record::set_owner(record, owner.cast()) };
        if only {
            // The record's own reference, given up by the last handle.
            // SAFETY: the pointer is of a living `Arc`.
            unsafe { Arc::increment_strong_count(owner) };
        }
        Ok((Weak { record: Some(record) }, placement))
    }
}
