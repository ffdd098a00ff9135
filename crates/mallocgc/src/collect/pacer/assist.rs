//! What a mutator must scan for what it allocates while marking runs.
//!
//! Background workers have a quarter of the processors. If a program allocates
//! faster than they can scan, the heap would pass its goal before marking ends.
//! So allocation has a price in scan work, the *assist ratio*: remaining work over
//! remaining bytes. A mutator in debt first takes credit that background
//! workers left, then scans.
//!
//! After `assistWorkPerByte` of Go's `mgcpacer.go` (issues #11970 and #44167). A
//! ratio is kept as the pair of numbers it was made from: exact, and never zero.
//!
//! Not here: how the ratio is found (`controller`), who holds credit.

#![forbid(unsafe_code)]

use core::num::NonZeroU64;

/// Bytes that an assist scans at least, so that its cost of starting counts little; what it
/// does too much is credit for later allocations. Go's `gcOverAssistWork`.
pub const ASSIST_MIN_WORK: u64 = 64 << 10;

/// Bytes of scan work that a worker may do before it publishes them as credit.
/// Go's `gcCreditSlack`.
pub const CREDIT_SLACK: u64 = 2000;

/// Bytes of scan work for bytes of allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssistRatio {
    work: NonZeroU64,
    runway: NonZeroU64,
}

impl AssistRatio {
    /// `work_bytes` are left to scan while `runway_bytes` may be allocated. Zero counts
    /// as one byte.
    pub const fn new(work_bytes: u64, runway_bytes: u64) -> AssistRatio {
        AssistRatio { work: at_least_one(work_bytes), runway: at_least_one(runway_bytes) }
    }

    /// Bytes of scan work that pay for `allocated_bytes`, rounded up.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::collect::pacer::assist::AssistRatio;
    /// let ratio = AssistRatio::new(3 << 20, 2 << 20);
    /// assert_eq!(ratio.work_for(4096), 6144);
    /// assert_eq!(ratio.bytes_for(6144), 4096);
    /// ```
    pub fn work_for(self, allocated_bytes: u64) -> u64 {
        let product = u128::from(allocated_bytes) * u128::from(self.work.get());
        saturate(product.div_ceil(u128::from(self.runway.get())))
    }

    /// Bytes that may be allocated for `work_bytes` of scan work, rounded down.
    pub fn bytes_for(self, work_bytes: u64) -> u64 {
        let product = u128::from(work_bytes) * u128::from(self.runway.get());
        saturate(product / u128::from(self.work.get()))
    }

    /// Bytes that a mutator scans which owes for `debt_bytes` of allocation and
    /// found no credit.
    pub fn assist_work(self, debt_bytes: u64) -> u64 {
        self.work_for(debt_bytes).max(ASSIST_MIN_WORK)
    }

    /// The bytes of work that the ratio was made from.
    pub fn work_bytes(self) -> u64 {
        self.work.get()
    }

    /// The bytes of allocation that it was made from.
    pub fn runway_bytes(self) -> u64 {
        self.runway.get()
    }

    /// The ratio as one number, for traces.
    pub fn work_per_byte(self) -> f64 {
        self.work.get() as f64 / self.runway.get() as f64
    }
}

const fn at_least_one(bytes: u64) -> NonZeroU64 {
    match NonZeroU64::new(bytes) {
        Some(bytes) => bytes,
        None => NonZeroU64::MIN,
    }
}

pub(super) fn saturate(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_assist_is_worth_starting() {
        let ratio = AssistRatio::new(1 << 20, 1 << 20);
        assert_eq!(ratio.assist_work(24), ASSIST_MIN_WORK);
        assert_eq!(ratio.assist_work(1 << 20), 1 << 20);
    }

    proptest! {
        #[test]
        fn paying_and_being_paid_agree(work: u64, runway: u64, bytes: u64) {
            let ratio = AssistRatio::new(work, runway);
            let price = ratio.work_for(bytes);
            prop_assert!(price >= 1 || bytes == 0);
            // Rounding is in the collector's favour, but by less than a byte of work.
            prop_assert!(price == u64::MAX || ratio.bytes_for(price) >= bytes);
            prop_assert!(price == 0 || ratio.bytes_for(price - 1) <= bytes);
        }
    }
}
