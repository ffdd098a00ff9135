//! Which pages the fresh memory of a large object should have: huge ones, while those come fast.
//!
//! The first touch of a huge page usually costs a quarter of what 512 small ones cost. But a system that runs on another
//! one may find that its whole free blocks of 2 MiB have no memory behind them any more, as the
//! host has taken them back; then one touch takes 2 to 7 ms, six times what the small pages cost, which come from
//! blocks that were broken up and used before. So the first huge page of a large object is touched on purpose now and
//! then, and the time decides for the objects that follow.
//!
//! Spans of small objects get huge pages all the same: they are walked at random for as long as they live, and
//! missed translations would cost more than the first touch saved.
//!
//! Protection: one relaxed counter. Two threads that decide at the same time may both look.

use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use crate::base::{Address, address::round_up};
use crate::os::{self, HugePages, sanitizer};

/// Bytes of a huge page.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Processor time of a first touch that small pages beat: 512 of them take 0.8 ms.
const SLOW_NANOS: u64 = 1_000_000;

/// Fresh bytes that get small pages after a slow touch, before the next look: one slow
/// touch then costs at most 0.03 ns a byte.
const LOOK_AGAIN_BYTES: u64 = 256 << 20;

/// What the last look said.
#[derive(Debug)]
pub(crate) struct FirstTouch {
    /// Bytes that will get small pages without a look.
    small_bytes: AtomicU64,
}

impl FirstTouch {
    pub(crate) const fn new() -> FirstTouch {
        FirstTouch { small_bytes: AtomicU64::new(0) }
    }

    /// Which pages `bytes` of fresh memory from `start` on should have; `touch` touches an address and says what
    /// processor time that took. `None` when there is no huge page to decide about.
    pub(crate) fn choose(
        &self,
        start: Address,
        bytes: usize,
        touch: impl FnOnce(Address) -> u64,
    ) -> Option<HugePages> {
        let huge = Address::new(round_up(start.as_usize(), HUGE_PAGE_BYTES));
        let head = huge.offset_from(start);
        if bytes < head + HUGE_PAGE_BYTES {
            return None;
        }
        // Relaxed here and below: an estimate.
        let small = self.small_bytes.load(Relaxed);
        if small != 0 {
            self.small_bytes.store(small.saturating_sub(bytes as u64), Relaxed);
            return Some(HugePages::Avoid);
        }
        if touch(huge) < SLOW_NANOS {
            return Some(HugePages::Prefer);
        }
        self.small_bytes.store(LOOK_AGAIN_BYTES, Relaxed);
        Some(HugePages::Avoid)
    }
}

/// Touches the page of a word of fresh memory that nobody uses yet. Returns the processor time it took,
/// which waiting for a turn does not lengthen.
pub(crate) fn touch_fresh(address: Address) -> u64 {
    let begin = os::thread_cpu_nanos();
    sanitizer::unpoison(address, size_of::<u64>());
    // SAFETY: callers own the page, which is committed. A read would map a shared page of zeros.
    unsafe { address.as_ptr::<u64>().write_volatile(0) };
    os::thread_cpu_nanos() - begin
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn at(bytes: usize) -> Address {
        Address::new((1 << 40) + bytes)
    }

    #[test]
    fn huge_pages_are_preferred_while_they_come_fast() {
        let touch = FirstTouch::new();
        for _ in 0..1000 {
            let choice = touch.choose(at(0), 64 * MIB, |_| SLOW_NANOS - 1);
            assert_eq!(choice, Some(HugePages::Prefer));
        }
    }

    #[test]
    fn a_slow_touch_decides_for_what_follows() {
        let touch = FirstTouch::new();
        let mut looks = 0;
        for object in 0..100 {
            let choice = touch.choose(at(object * 16 * MIB), 16 * MIB, |_| {
                looks += 1;
                SLOW_NANOS
            });
            assert_eq!(choice, Some(HugePages::Avoid), "object {object}");
        }
        // One in 17 looks: itself, and 256 MiB after it.
        assert_eq!(looks, 100usize.div_ceil(17));
        // Fast again: huge again, within 256 MiB.
        let until_huge =
            (0..17).position(|_| touch.choose(at(0), 16 * MIB, |_| 0) == Some(HugePages::Prefer));
        assert!(until_huge.is_some());
    }

    #[test]
    fn only_a_whole_huge_page_is_touched() {
        let touch = FirstTouch::new();
        for (start, bytes, expected) in [
            (0, 2 * MIB - 1, None),
            (0, 2 * MIB, Some(0)),
            (8192, 2 * MIB, None),
            (8192, 4 * MIB - 8192, Some(2 * MIB)),
            (3 * MIB, 3 * MIB, Some(4 * MIB)),
        ] {
            let mut touched = None;
            touch.choose(at(start), bytes, |address| {
                touched = Some(address);
                0
            });
            assert_eq!(touched, expected.map(at), "{bytes} bytes at {start}");
        }
    }
}
