//! Where handles live, so that one which was freed is known as such.
//!
//! A handle is the address of a slot's value. Before the value lies a word that only a living handle of
//! this kind at this address has. A slot that is given back loses the word, and is kept a while before its memory is
//! freed: a program that uses or frees a handle again is told so, unless it has freed [`KEPT`] others
//! of the kind meanwhile.
//!
//! Protection: the word is atomic, and who takes it away owns the value; the slots that are kept are behind a lock. A
//! program that frees a handle while another of its threads uses it is not helped.

use crate::error::{Outcome, guard, mallocgc_error as Code};
use std::collections::VecDeque;
use std::mem::{MaybeUninit, offset_of};
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Slots of a kind that are kept after they were given back.
const KEPT: usize = 4096;

/// A kind of handle.
pub(crate) trait Handle: Sized + 'static {
    /// A number that no other kind has.
    const TAG: usize;

    /// The slots that were given back.
    fn graveyard() -> &'static Graveyard;

    /// The handle is about to be given back: what functions that do not look at the word read must
    /// say so.
    fn retire(&self) {}
}

/// Implements [`Handle`] for a kind.
macro_rules! handle {
    ($name:ty, $tag:literal $(, $retire:expr)?) => {
        impl $crate::slot::Handle for $name {
            const TAG: usize = $tag;
            fn graveyard() -> &'static $crate::slot::Graveyard {
                static GRAVEYARD: $crate::slot::Graveyard = $crate::slot::Graveyard::new();
                &GRAVEYARD
            }
            $(fn retire(&self) {
                let retire: fn(&$name) = $retire;
                retire(self);
            })?
        }
    };
}
pub(crate) use handle;

/// Nothing panics half-way under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Slots that were given back, the oldest first.
pub(crate) struct Graveyard(Mutex<VecDeque<Grave>>);

struct Grave(*mut u8);

// SAFETY: a slot that was given back has no value: it is memory, and nobody's.
unsafe impl Send for Grave {}

impl Graveyard {
    pub(crate) const fn new() -> Graveyard {
        Graveyard(Mutex::new(VecDeque::new()))
    }

    /// Keeps one more slot; the one that is to be freed for it.
    fn bury(&self, grave: *mut u8) -> Option<*mut u8> {
        let mut graves = lock(&self.0);
        graves.push_back(Grave(grave));
        if graves.len() > KEPT { graves.pop_front().map(|grave| grave.0) } else { None }
    }
}

/// # Invariants
///
/// 1. `value` is there while `word` is what [`word_of`] says.
#[repr(C)]
struct Slot<T> {
    word: AtomicUsize,
    value: MaybeUninit<T>,
}

impl<T> Slot<T> {
    /// Where the value is in every kind's slot: so the word is found before a handle of another kind, too.
    const VALUE: usize = {
        assert!(offset_of!(Slot<T>, value) == size_of::<AtomicUsize>());
        size_of::<AtomicUsize>()
    };
}

/// What a living handle's word is.
fn word_of<T: Handle>(handle: *const T) -> usize {
    handle.addr() ^ (T::TAG << 48 | 0x6d61)
}

/// The slot of a handle.
fn slot_of<T: Handle>(handle: *const T) -> *const Slot<T> {
    handle.wrapping_byte_sub(Slot::<T>::VALUE).cast()
}

/// The word before a value.
///
/// # Safety
///
/// `handle` came from [`give`], of whatever kind, and its slot is there.
unsafe fn word<'a, T: Handle>(handle: *const T) -> &'a AtomicUsize {
    // SAFETY: the caller's promise: slots of all kinds begin with their word.
    unsafe { &*slot_of(handle).cast::<AtomicUsize>() }
}

/// A handle for a value, until it is given to [`take`].
pub(crate) fn give<T: Handle>(value: T) -> *mut T {
    let slot = Slot { value: MaybeUninit::new(value), word: AtomicUsize::new(0) };
    let handle = Box::into_raw(Box::new(slot)).wrapping_byte_add(Slot::<T>::VALUE).cast::<T>();
    // SAFETY: just made. Relaxed: who gives the handle to another thread orders that.
    unsafe { word(handle) }.store(word_of(handle), Relaxed);
    handle
}

/// What a pointer of C points to.
///
/// # Safety
///
/// It is null, or came from [`give`], and if it was given back, fewer than [`KEPT`] of its kind were since.
#[inline]
pub(crate) unsafe fn checked<'a, T: Handle>(handle: *const T) -> Outcome<&'a T> {
    if handle.is_null() || !handle.is_aligned() {
        return Err(Code::BadArgument);
    }
    // SAFETY: the caller's promise. Relaxed: as in `give`.
    if unsafe { word(handle) }.load(Relaxed) != word_of(handle) {
        return Err(Code::BadHandle);
    }
    // SAFETY: invariant 1.
    Ok(unsafe { &*handle })
}

/// Takes a handle back, and its value out of it.
///
/// # Safety
///
/// As for [`checked`], and nobody else uses the handle.
pub(crate) unsafe fn take<T: Handle>(handle: *mut T) -> Outcome<T> {
    // SAFETY: the caller's promise.
    let (value, word) = unsafe { (checked(handle)?, word(handle)) };
    // Acquire: as the owner of what others may have done with it. Relaxed on failure: somebody
    // else has it.
    if word.compare_exchange(word_of(handle), 0, Acquire, Relaxed).is_err() {
        return Err(Code::BadHandle);
    }
    value.retire();
    // SAFETY: invariant 1, and the word, which was ours, is gone.
    let value = unsafe { handle.read() };
    if let Some(grave) = T::graveyard().bury(slot_of(handle).cast_mut().cast()) {
        // SAFETY: made by `give` for this kind; the value was taken out.
        drop(unsafe { Box::from_raw(grave.cast::<Slot<T>>()) });
    }
    Ok(value)
}

/// As [`take`], of a function that answers nothing; null is allowed.
///
/// # Safety
///
/// As for `take`.
pub(crate) unsafe fn free<T: Handle>(handle: *mut T) {
    if !handle.is_null() {
        guard(|| {
            // SAFETY: the caller's promise.
            drop(unsafe { take(handle) }?);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(#[allow(dead_code, reason = "what is dropped")] Vec<u8>);
    handle!(Thing, 99);

    struct Other(#[allow(dead_code, reason = "its place")] u8);
    handle!(Other, 98);

    #[test]
    fn a_handle_is_known_until_it_was_freed_and_not_after() {
        let handle = give(Thing(vec![1, 2, 3]));
        // SAFETY: handles of this test, of which none is older than `KEPT`.
        unsafe {
            assert!(checked(handle).is_ok());
            assert_eq!(checked(handle.cast::<Other>()).err(), Some(Code::BadHandle));
            assert_eq!(take(handle).map(|thing| thing.0), Ok(vec![1, 2, 3]));
            assert_eq!(checked(handle).err(), Some(Code::BadHandle));
            assert_eq!(take(handle).err(), Some(Code::BadHandle));
            for _ in 0..KEPT - 1 {
                assert!(take(give(Thing(vec![0; 10]))).is_ok());
            }
            assert_eq!(take(handle).err(), Some(Code::BadHandle));
            assert_eq!(checked(std::ptr::null::<Thing>()).err(), Some(Code::BadArgument));
        }
    }

    #[test]
    fn of_two_threads_one_frees() {
        for _ in 0..200 {
            let handle = give(Thing(vec![1])).expose_provenance();
            let takers = [(); 2].map(|()| {
                std::thread::spawn(move || {
                    let handle = std::ptr::with_exposed_provenance_mut::<Thing>(handle);
                    // SAFETY: the word decides which of both has it.
                    unsafe { take(handle) }.is_ok()
                })
            });
            let took = takers.map(|taker| taker.join().expect("no panic"));
            assert!(took[0] != took[1], "{took:?}");
        }
    }
}
