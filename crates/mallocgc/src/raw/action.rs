//! Closures in the words of a special: what a finalizer or cleanup does.
//!
//! A closure of at most two words (one, when the other is an argument) lies
//! in the record itself; a larger one in a box whose pointer does. Beside it
//! is the address of an [`Action`], which knows how to run or drop it.

use crate::heap::special::record::{NO_WORDS, Payload, Words};
use crate::raw::mutator::Mutator;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// How to use a packed closure.
struct Action {
    run: unsafe fn(Words, &mut Mutator, *mut u8),
    drop: unsafe fn(Words),
}

/// The action of closures `F` packed into `WORDS` words.
struct Packed<F, const WORDS: usize>(PhantomData<F>);

impl<F, const WORDS: usize> Packed<F, WORDS>
where
    F: FnOnce(&mut Mutator, *mut u8) + Send + 'static,
{
    const ACTION: &'static Action = &Action { run: Self::run, drop: Self::drop };
    const INLINE: bool =
        size_of::<F>() <= WORDS * size_of::<u64>() && align_of::<F>() <= align_of::<u64>();

    fn pack(closure: F) -> Words {
        let mut words = NO_WORDS;
        let place = words.as_mut_ptr();
        if Self::INLINE {
            // SAFETY: by `INLINE` the closure fits and the words are aligned
            // for it.
            unsafe { place.cast::<F>().write(closure) };
        } else {
            // SAFETY: a pointer is a word.
            unsafe { place.cast::<*mut F>().write(Box::into_raw(Box::new(closure))) };
        }
        words
    }

    /// # Safety
    ///
    /// `words` came from `pack` of this type and are unpacked once.
    unsafe fn unpack(words: Words) -> F {
        let place = words.as_ptr();
        if Self::INLINE {
            // SAFETY: `pack` wrote a closure here.
            unsafe { place.cast::<F>().read() }
        } else {
            // SAFETY: `pack` wrote the pointer of a box here.
            *unsafe { Box::from_raw(place.cast::<*mut F>().read()) }
        }
    }

    unsafe fn run(words: Words, mutator: &mut Mutator, pointer: *mut u8) {
        // SAFETY: passed on.
        let closure = unsafe { Self::unpack(words) };
        closure(mutator, pointer);
    }

    unsafe fn drop(words: Words) {
        // SAFETY: passed on.
        drop(unsafe { Self::unpack(words) });
    }
}

/// Packs a closure into both words.
pub(crate) fn pack<F>(closure: F) -> Payload
where
    F: FnOnce(&mut Mutator, *mut u8) + Send + 'static,
{
    let words = Packed::<F, 2>::pack(closure);
    Payload { code: core::ptr::from_ref(Packed::<F, 2>::ACTION).cast(), words }
}

/// Packs a closure into the first word; the second is free for an argument.
pub(crate) fn pack_first<F>(closure: F) -> Payload
where
    F: FnOnce(&mut Mutator, *mut u8) + Send + 'static,
{
    let words = Packed::<F, 1>::pack(closure);
    Payload { code: core::ptr::from_ref(Packed::<F, 1>::ACTION).cast(), words }
}

/// What a finalizer does that the heap's users run, in place of a closure.
pub(crate) trait OwnedFinalizer {
    /// Runs it for an object. `user` is what the runner was given.
    ///
    /// # Safety
    ///
    /// It is as those who set it say, the object is what it was set on, and the thread one that
    /// it may run on.
    unsafe fn run(self: Box<Self>, user: *const (), object: NonNull<u8>);
}

type Owned = Box<dyn OwnedFinalizer>;

/// The action of those: never run as a closure is.
static OWNED: Action = Action {
    run: |_, _, _| unreachable!("the heap's users run it"),
    // SAFETY: only `pack_owned` makes such payloads, each is used once.
    drop: |words| drop(unsafe { unpack_owned(words) }),
};

/// The code of payloads from [`pack_owned`].
pub(crate) fn owned_code() -> *const () {
    core::ptr::from_ref(&OWNED).cast()
}

/// Packs such a finalizer.
pub(crate) fn pack_owned(finalizer: Owned) -> Payload {
    let mut words = NO_WORDS;
    // SAFETY: a pointer is a word.
    unsafe { words.as_mut_ptr().cast::<*mut Owned>().write(Box::into_raw(Box::new(finalizer))) };
    Payload { code: owned_code(), words }
}

/// # Safety
///
/// `words` are of a payload from [`pack_owned`], and used once.
pub(crate) unsafe fn unpack_owned(words: Words) -> Owned {
    // SAFETY: `pack_owned` wrote the pointer of a box here.
    *unsafe { Box::from_raw(words.as_ptr().cast::<*mut Owned>().read()) }
}

/// Runs a packed closure and drops it.
///
/// # Safety
///
/// The payload came from `pack` or `pack_first`, and this is its only use.
pub(crate) unsafe fn run(payload: Payload, mutator: &mut Mutator, pointer: *mut u8) {
    // SAFETY: the code of a packed closure is the address of its action.
    let action = unsafe { &*payload.code.cast::<Action>() };
    // SAFETY: passed on.
    unsafe { (action.run)(payload.words, mutator, pointer) }
}

/// Drops a packed closure. A panic of what it captured ends here.
///
/// # Safety
///
/// As [`run`].
pub(crate) unsafe fn discard(payload: Payload) {
    // SAFETY: as in `run`.
    let action = unsafe { &*payload.code.cast::<Action>() };
    let dropping = || {
        // SAFETY: passed on.
        unsafe { (action.drop)(payload.words) }
    };
    // What the panic was has been printed by its hook.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(dropping));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{Config, Heap};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn run_and_discard<const N: usize>(pack: fn(&Arc<AtomicUsize>, [u64; N]) -> Payload) {
        let heap = Heap::new(Config::default()).expect("a heap");
        let mut mutator = heap.attach().expect("a mutator");
        let count = Arc::new(AtomicUsize::new(0));
        let values = core::array::from_fn(|i| i as u64 + 1);
        let payload = pack(&count, values);
        assert_eq!(Arc::strong_count(&count), 2);
        // SAFETY: packed above, used once.
        unsafe { run(payload, &mut mutator, core::ptr::null_mut()) };
        assert_eq!(count.load(Relaxed) as u64, values.iter().sum::<u64>());
        assert_eq!(Arc::strong_count(&count), 1, "running drops the closure");
        // SAFETY: packed here, used once.
        unsafe { discard(pack(&count, values)) };
        assert_eq!(Arc::strong_count(&count), 1, "discarding drops the closure");
    }

    #[test]
    fn closures_of_every_size_run_and_drop_once() {
        macro_rules! sizes {
            ($pack:ident: $($words:literal)*) => {$(
                run_and_discard::<$words>(|count, values| {
                    let count = count.clone();
                    $pack(move |_: &mut Mutator, _: *mut u8| {
                        count.store(values.iter().sum::<u64>() as usize, Relaxed);
                    })
                });
            )*};
        }
        sizes!(pack: 0 1 2 9);
        sizes!(pack_first: 0 1 2 9);
    }
}
