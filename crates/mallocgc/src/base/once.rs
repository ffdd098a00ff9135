//! A word that is made once, by the first of the threads that need it.
//!
//! Three states: empty, busy, ready. Who turns empty into busy owns the making;
//! the others learn that somebody is at it, and either wait or do without: a
//! marker that finds a program busy walks it instead. A maker that gives up puts
//! the word back to empty.
//!
//! Protection: the state is one atomic word. What the word points to is written
//! before it is published, and read only after it was seen ready.
//!
//! Not here: locks and condition variables (`sync`). `std`'s once-types wait on
//! futexes and cannot be looked at without waiting, nor lie in zeroed memory.

use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::model::{AtomicUsize, pause};

const EMPTY: usize = 0;
const BUSY: usize = 1;

/// A word made at most once; see the [module](self).
///
/// Zeroed memory is an empty one.
///
/// # Invariants
///
/// 1. `state` is `EMPTY`, `BUSY`, or the value, which is neither.
/// 2. There is a [`Making`] of the word exactly while `state` is `BUSY`.
/// 3. A value never changes.
#[derive(Debug)]
#[repr(transparent)]
pub struct OnceWord {
    state: AtomicUsize,
}

/// What a thread finds when it needs the word.
#[derive(Debug)]
pub enum Claim<'a> {
    /// Nobody made it yet, and now it is this thread's to make.
    Mine(Making<'a>),
    /// Another thread is making it.
    Busy,
    /// Here it is.
    Ready(usize),
}

/// The right to make the word; dropped, it is given up.
#[derive(Debug)]
#[must_use]
pub struct Making<'a> {
    word: &'a OnceWord,
}

impl OnceWord {
    /// An empty word.
    #[cfg(not(loom))]
    pub const fn new() -> OnceWord {
        OnceWord { state: AtomicUsize::new(EMPTY) }
    }

    /// An empty word.
    #[cfg(loom)]
    pub fn new() -> OnceWord {
        OnceWord { state: AtomicUsize::new(EMPTY) }
    }

    /// The value, once it is made.
    #[inline]
    pub fn get(&self) -> Option<usize> {
        // Acquire: pairs with the Release in `Making::finish`, so that we see
        // what the value points to.
        let state = self.state.load(Acquire);
        (state > BUSY).then_some(state)
    }

    /// The value, the right to make it, or the news that another thread has that.
    /// Never waits.
    pub fn claim(&self) -> Claim<'_> {
        // Acquire on failure: pairs with the Release in `Making::finish`.
        // Acquire on success: pairs with the Release in `Making::drop`, so that
        // what the last maker undid stays before what we do.
        match self.state.compare_exchange(EMPTY, BUSY, Acquire, Acquire) {
            Ok(_) => Claim::Mine(Making { word: self }),
            Err(BUSY) => Claim::Busy,
            Err(value) => Claim::Ready(value),
        }
    }

    /// The value, made by `make` if nobody did; waits while another thread is at
    /// it.
    ///
    /// # Errors
    ///
    /// Those of `make`; then the word stays empty, and the next thread tries.
    ///
    /// # Panics
    ///
    /// As [`Making::finish`].
    pub fn get_or_make<E>(&self, make: impl FnOnce() -> Result<usize, E>) -> Result<usize, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let mut attempt = 0;
        loop {
            match self.claim() {
                Claim::Ready(value) => return Ok(value),
                Claim::Mine(making) => return Ok(making.finish(make()?)),
                Claim::Busy => pause(attempt),
            }
            attempt = attempt.saturating_add(1);
        }
    }
}

impl Default for OnceWord {
    fn default() -> OnceWord {
        OnceWord::new()
    }
}

impl Making<'_> {
    /// Publishes the value, and returns it.
    ///
    /// # Panics
    ///
    /// When the value is 0 or 1, which stand for the other states.
    pub fn finish(self, value: usize) -> usize {
        assert!(value > BUSY, "{value} cannot be told from a state");
        // Release: pairs with the Acquire in `get` and `claim`.
        self.word.state.store(value, Release);
        value
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // Relaxed: only this thread writes while the state is busy (invariant 2),
        // so we see `BUSY`, or the value that `finish` stored.
        if self.word.state.load(Relaxed) == BUSY {
            // Release: pairs with the Acquire in `claim`.
            self.word.state.store(EMPTY, Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::{Encoding, ProgramBuilder, TypeLayout};
    use core::sync::atomic::AtomicU32;
    use std::sync::Barrier;

    #[test]
    fn a_word_is_made_once() {
        let word = OnceWord::new();
        assert_eq!(word.get(), None);
        assert_eq!(word.get_or_make(|| Ok::<_, ()>(7)), Ok(7));
        assert_eq!(word.get_or_make(|| Ok::<_, ()>(8)), Ok(7));
        assert_eq!(word.get(), Some(7));
        assert!(matches!(word.claim(), Claim::Ready(7)));
    }

    #[test]
    fn a_failure_leaves_the_word_empty() {
        let word = OnceWord::new();
        assert_eq!(word.get_or_make(|| Err("no memory")), Err("no memory"));
        assert!(matches!(word.claim(), Claim::Mine(_)), "given up at once");
        assert_eq!(word.get_or_make(|| Ok::<_, ()>(7)), Ok(7));
    }

    #[test]
    fn others_see_that_somebody_is_at_it() {
        let word = OnceWord::new();
        let Claim::Mine(making) = word.claim() else { panic!("the word is new") };
        assert!(matches!(word.claim(), Claim::Busy));
        assert_eq!(word.get(), None);
        making.finish(2);
        assert_eq!(word.get(), Some(2));
    }

    #[test]
    #[should_panic(expected = "1 cannot be told from a state")]
    fn states_are_no_values() {
        let _ = OnceWord::new().get_or_make(|| Ok::<_, ()>(1));
    }

    #[test]
    fn a_program_is_unrolled_once_by_racing_threads() {
        let mut program = ProgramBuilder::new();
        program.repeat(20_000, |body| {
            body.literal(5, 0b01001);
        });
        let layout = TypeLayout::program(&program.finish().unwrap()).unwrap();
        let mut bits = vec![0; layout.bits_words()];
        layout.write_bits(&mut bits);
        let Some(unrolled @ Encoding::LongMask { .. }) = layout.encoding().unrolled() else {
            panic!("20,000 repeats are few enough to unroll")
        };

        for _ in 0..20 {
            let word = OnceWord::new();
            let (made, start) = (AtomicU32::new(0), Barrier::new(2));
            let unroll = || {
                made.fetch_add(1, Relaxed);
                let mut out = vec![0; unrolled.bits_words()].into_boxed_slice();
                layout.encoding().unroll(&bits, &mut out);
                let place = Box::into_raw(out).cast::<u64>();
                Ok::<_, ()>(place.expose_provenance())
            };
            let use_it = || {
                start.wait();
                let place = word.get_or_make(unroll).unwrap();
                let place = core::ptr::with_exposed_provenance::<u64>(place);
                // SAFETY: `unroll` made this many words, which are freed after both
                // threads have ended.
                let mask = unsafe { core::slice::from_raw_parts(place, unrolled.bits_words()) };
                unrolled.pointer_words(mask, 0, 100_000).eq(layout.pointer_words(100_000))
            };
            let agreed = std::thread::scope(|scope| {
                [scope.spawn(use_it), scope.spawn(use_it)].map(|t| t.join())
            });
            assert!(agreed.into_iter().all(|agreed| agreed.unwrap()));
            assert_eq!(made.load(Relaxed), 1, "unrolled once");

            let place = core::ptr::with_exposed_provenance_mut::<u64>(word.get().unwrap());
            let all = core::ptr::slice_from_raw_parts_mut(place, unrolled.bits_words());
            // SAFETY: made by `Box::into_raw` in `unroll`, and no longer used.
            drop(unsafe { Box::from_raw(all) });
        }
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A word, and the bitmap it speaks of: `made` counts how often it was written.
    struct Cached {
        word: OnceWord,
        bitmap: UnsafeCell<u32>,
        tries: AtomicUsize,
    }

    // SAFETY: loom checks that the bitmap is not written while it is read.
    unsafe impl Sync for Cached {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for Cached {}

    impl Cached {
        fn new() -> Arc<Cached> {
            let (word, bitmap) = (OnceWord::new(), UnsafeCell::new(0));
            Arc::new(Cached { word, bitmap, tries: AtomicUsize::new(0) })
        }

        fn unroll(&self) -> usize {
            // SAFETY: loom fails the model when another thread is in the bitmap.
            self.bitmap.with_mut(|bitmap| unsafe { *bitmap += 1 });
            42
        }

        fn read(&self) -> u32 {
            // SAFETY: as in `unroll`.
            self.bitmap.with(|bitmap| unsafe { *bitmap })
        }
    }

    /// A type's program is unrolled once, with two threads racing the first use.
    #[test]
    fn loom_two_threads_race_the_first_use() {
        loom::model(|| {
            let cached = Cached::new();
            let other = Arc::clone(&cached);
            let thread = thread::spawn(move || {
                assert_eq!(other.word.get_or_make(|| Ok::<_, ()>(other.unroll())), Ok(42));
                assert_eq!(other.read(), 1);
            });
            assert_eq!(cached.word.get_or_make(|| Ok::<_, ()>(cached.unroll())), Ok(42));
            assert_eq!(cached.read(), 1);
            thread.join().unwrap();
        });
    }

    /// A marker that finds the program busy does without and never waits.
    #[test]
    fn loom_a_busy_word_can_be_done_without() {
        loom::model(|| {
            let cached = Cached::new();
            let users: Vec<_> = (0..2)
                .map(|_| {
                    let cached = Arc::clone(&cached);
                    thread::spawn(move || match cached.word.claim() {
                        Claim::Mine(making) => {
                            making.finish(cached.unroll());
                            assert_eq!(cached.read(), 1);
                        }
                        Claim::Busy => {}
                        Claim::Ready(value) => assert_eq!((value, cached.read()), (42, 1)),
                    })
                })
                .collect();
            users.into_iter().for_each(|user| user.join().unwrap());
            assert_eq!((cached.word.get(), cached.read()), (Some(42), 1));
        });
    }

    /// The first maker fails (out of memory), undoing what it began; whoever comes
    /// next makes the word.
    #[test]
    fn loom_a_failed_maker_leaves_no_trace() {
        loom::model(|| {
            let cached = Cached::new();
            let make = |cached: &Cached| {
                let first = cached.tries.fetch_add(1, Relaxed) == 0;
                let value = cached.unroll();
                if first {
                    // SAFETY: as in `unroll`.
                    cached.bitmap.with_mut(|bitmap| unsafe { *bitmap -= 1 });
                    return Err(());
                }
                Ok(value)
            };
            let other = Arc::clone(&cached);
            let thread = thread::spawn(move || other.word.get_or_make(|| make(&other)).is_ok());
            let mine = cached.word.get_or_make(|| make(&cached)).is_ok();
            let theirs = thread.join().unwrap();
            assert!(mine != theirs, "one fails, the other makes it");
            assert_eq!((cached.word.get(), cached.read()), (Some(42), 1));
        });
    }
}
