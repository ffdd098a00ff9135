//! Ephemerons: objects of two references, of which the second counts only
//! while the first leads to something alive.
//!
//! An ephemeron is a cell of three words: the key, the value, and a link that
//! belongs to the collector. It lives and dies as any object does. A marker
//! that scans one looks at the key's mark first (`collect::ephemeron`).
//!
//! Protection: the words are atomics. Key and value are written by mutators
//! while they are active, and cleared while the world is stopped; the link is
//! the collector's, and null between cycles.

use crate::base::sync::{AtomicUsize, Ordering, model};
use crate::base::{Address, WORD_SIZE};
use crate::heap::object::Found;
use crate::heap::space::Space;
use Ordering::{Acquire, Relaxed, Release};

/// Bytes of an ephemeron.
pub(crate) const EPHEMERON_BYTES: usize = 3 * WORD_SIZE;

/// The words of an ephemeron.
///
/// # Invariants
///
/// 1. Without a key there is no value.
/// 2. A key leads into an allocated object or out of the heap, and so does a
///    value.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct EphemeronWords {
    key: AtomicUsize,
    value: AtomicUsize,
    /// Next of a list of the collector (`collect::pending`).
    pub(crate) link: model::AtomicUsize,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<EphemeronWords>() == EPHEMERON_BYTES);

impl EphemeronWords {
    /// The words at an address.
    ///
    /// # Safety
    ///
    /// An ephemeron begins there, and is not freed while the result is used.
    #[inline]
    pub(crate) unsafe fn at<'e>(address: Address) -> &'e EphemeronWords {
        // SAFETY: the caller's promise; cells of this size are aligned to words.
        unsafe { &*address.as_ptr::<EphemeronWords>() }
    }

    /// The key; null when it is dead or was taken away.
    #[inline]
    pub(crate) fn key(&self) -> Address {
        // Acquire: pairs with the Release in `fill`, so that who sees a key sees
        // its value, and both objects as their makers left them.
        Address::new(self.key.load(Acquire))
    }

    /// The value; null when there is none.
    #[inline]
    pub(crate) fn value(&self) -> Address {
        // Acquire: pairs with the Releases in `fill` and `set_value`.
        Address::new(self.value.load(Acquire))
    }

    /// Fills a fresh ephemeron.
    pub(crate) fn fill(&self, key: Address, value: Address) {
        // The value first: invariant 1.
        self.set_value(value);
        // Release: pairs with the Acquire in `key`.
        self.key.store(key.as_usize(), Release);
    }

    /// Exchanges the value.
    pub(crate) fn set_value(&self, value: Address) {
        // Release: pairs with the Acquire in `value`.
        self.value.store(value.as_usize(), Release);
    }

    /// Takes key and value away.
    pub(crate) fn clear(&self) {
        // Relaxed: nothing is published. The key first: invariant 1.
        self.key.store(0, Relaxed);
        self.value.store(0, Relaxed);
    }
}

/// What a marker knows of an ephemeron's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// Marked or newborn, or not of this heap: it lives.
    Alive,
    /// Not marked so far.
    Unmarked(Found),
    /// It leads to no cell, and never will.
    Nowhere,
}

impl Space {
    /// Whether a key is marked. While marking only.
    #[inline]
    pub(crate) fn key_state(&self, key: Address) -> Key {
        if self.page_of(key).is_none() {
            return Key::Alive;
        }
        let Some(found) = self.find_cell(key) else { return Key::Nowhere };
        // A mark not seen yet is seen at the end of the phase.
        let outliving = self.outliving_word(self.span(found.span), found.index / 64);
        match outliving >> (found.index % 64) & 1 {
            0 => Key::Unmarked(found),
            _ => Key::Alive,
        }
    }
}
