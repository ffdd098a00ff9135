//! A pair of fences of unequal weight.
//!
//! Two sides each write their own word, then read the other's, and one at least
//! must see the other's write (Dekker). With a SeqCst fence between write and
//! read on both sides each pays about 20 ns. Here the frequent side runs
//! [`light_fence`], which only keeps the compiler from reordering, and the rare
//! side runs [`heavy_fence`], which makes every running thread of the process
//! execute a full barrier (`membarrier`, 1.2 µs).
//!
//! Why it is right: whatever instruction a thread of the frequent side is at when the
//! barrier hits it, its accesses before that instruction are then visible, and those
//! after it happen after the barrier. So its write is seen by the rare side's
//! later read, or its read comes after the rare side's earlier write.
//!
//! Where the system has no `membarrier`, both sides run a full fence: the frequent
//! side asks [`is_asymmetric`] once and remembers (`world::gate`). The choice is
//! made once, by whoever asks first.

#[cfg(not(loom))]
use super::{OsError, fault};
#[cfg(not(loom))]
use crate::fatal;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, Ordering::Relaxed, compiler_fence};
#[cfg(not(loom))]
use core::sync::atomic::{Ordering::SeqCst, fence};

/// Nobody asked the system yet.
#[cfg(not(loom))]
const UNKNOWN: u8 = 0;
/// The process is registered: light fences are the compiler's only.
#[cfg(not(loom))]
const REGISTERED: u8 = 1;
/// The system refused: light fences are too weak, for ever.
#[cfg(not(loom))]
const REFUSED: u8 = 2;

/// The process's choice.
#[cfg(not(loom))]
static FENCE: Pair = Pair { choice: AtomicU8::new(UNKNOWN) };

/// The frequent side's fence, after its write and before its read, where
/// [`is_asymmetric`]; elsewhere that side runs [`full_fence`].
#[inline(always)]
pub fn light_fence() {
    #[cfg(not(loom))]
    compiler_fence(SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}

/// What the frequent side runs where light fences are too weak.
pub fn full_fence() {
    #[cfg(not(loom))]
    fence(SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}

/// Whether a heavy fence makes up for light ones, from now on and for ever. Asked
/// first, it registers with the system, which costs some microseconds when the
/// process has several threads.
pub fn is_asymmetric() -> bool {
    #[cfg(not(loom))]
    return FENCE.choose() == REGISTERED;
    #[cfg(loom)]
    return true;
}

/// The rare side's fence: after its write, before its read.
pub fn heavy_fence() {
    #[cfg(not(loom))]
    FENCE.heavy();
    #[cfg(loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}

#[cfg(not(loom))]
struct Pair {
    choice: AtomicU8,
}

#[cfg(not(loom))]
impl Pair {
    fn heavy(&self) {
        if self.choose() == REGISTERED {
            // The call is a full barrier for this thread too.
            if let Err(error) = membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
                // Registered, yet refused: light sides already rely on it.
                fatal!("{error} after registration");
            }
        } else {
            fence(SeqCst);
        }
    }

    fn choose(&self) -> u8 {
        // Relaxed: the choice is about the system, not about memory.
        match self.choice.load(Relaxed) {
            UNKNOWN => self.choose_slow(),
            choice => choice,
        }
    }

    #[cold]
    fn choose_slow(&self) -> u8 {
        let registered = fault::check("membarrier", libc::ENOSYS)
            .and_then(|()| membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
        let choice = if registered.is_ok() { REGISTERED } else { REFUSED };
        // Two threads may both come here; the first choice stands, so that
        // there is one.
        match self.choice.compare_exchange(UNKNOWN, choice, Relaxed, Relaxed) {
            Ok(_) => choice,
            Err(first) => first,
        }
    }
}

#[cfg(not(loom))]
fn membarrier(command: libc::c_int) -> Result<(), OsError> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if result == 0 { Ok(()) } else { Err(OsError::last("membarrier")) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU32;

    /// Store buffering: both sides missing the other's write is the failure.
    fn dekker(pair: &Pair, rounds: u32) {
        let turn = [AtomicU32::new(0), AtomicU32::new(0)];
        let flag = [AtomicU32::new(0), AtomicU32::new(0)];
        let seen = [AtomicU32::new(0), AtomicU32::new(0)];
        let meet = |side: usize, round: u32| {
            turn[side].store(round, SeqCst);
            let mut spins = 0u32;
            while turn[1 - side].load(SeqCst) < round {
                spins += 1;
                if spins.is_multiple_of(64) {
                    std::thread::yield_now();
                } else {
                    core::hint::spin_loop();
                }
            }
        };
        let side = |me: usize| {
            for round in 1..=rounds {
                meet(me, 2 * round - 1);
                flag[me].store(round, Relaxed);
                if me == 0 {
                    match pair.choose() {
                        REGISTERED => light_fence(),
                        _ => full_fence(),
                    }
                } else {
                    pair.heavy()
                }
                seen[me].store(flag[1 - me].load(Relaxed), Relaxed);
                meet(me, 2 * round);
                if me == 0 {
                    let both = [seen[0].load(Relaxed), seen[1].load(Relaxed)];
                    assert!(both.contains(&round), "round {round}: {both:?}");
                }
            }
        };
        std::thread::scope(|s| {
            s.spawn(|| side(0));
            s.spawn(|| side(1));
        });
    }

    #[test]
    fn one_side_sees_the_other() {
        let pair = Pair { choice: AtomicU8::new(UNKNOWN) };
        dekker(&pair, 3000);
        assert_ne!(pair.choice.load(Relaxed), UNKNOWN);
    }

    #[test]
    fn without_membarrier_both_sides_are_full_fences() {
        let pair = Pair { choice: AtomicU8::new(UNKNOWN) };
        {
            let guard = fault::fail_nth(1);
            pair.heavy();
            assert_eq!(guard.failed(), 1);
        }
        assert_eq!(pair.choice.load(Relaxed), REFUSED);
        dekker(&pair, 3000);
    }

    #[test]
    fn the_processwide_pair_works() {
        assert_eq!(is_asymmetric(), is_asymmetric());
        light_fence();
        heavy_fence();
    }
}
