//! Many small locks for many small values: which one a value has is computed from
//! its address.
//!
//! Who changes or reads a few words that are not one, beside another thread, holds
//! the lock of their place for as long as that takes, some nanoseconds. It calls
//! nothing meanwhile that waits, so a thread holds one at a time and none is
//! ever waited for long, but when its holder is put to sleep.
//!
//! Protection: one atomic word a lock.

use super::address::Address;
use super::sync::Ordering::{Acquire, Relaxed, Release};
use super::sync::model::{AtomicU32, pause};

/// Enough that two threads rarely meet.
const COUNT: usize = if cfg!(loom) { 2 } else { 64 };

/// Bytes that have one lock: most objects, so that who reads one takes one.
const GRAIN_SHIFT: u32 = 8;

/// One lock, alone in its cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Stripe(AtomicU32);

/// The locks.
#[derive(Debug)]
pub struct Stripes([Stripe; COUNT]);

/// The lock of a place, held until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Held<'s> {
    stripe: &'s Stripe,
    place: Place,
}

/// What places have in common that share a lock, and some more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(usize);

impl Stripes {
    /// Locks that nobody holds.
    pub fn new() -> Stripes {
        Stripes(core::array::from_fn(|_| Stripe(AtomicU32::new(0))))
    }

    /// Waits for the lock of the value at an address, and holds it.
    pub fn hold(&self, address: Address) -> Held<'_> {
        let place = Place::of(address);
        let stripe = &self.0[place.number()];
        let mut attempt = 0;
        // Acquire: pairs with the Release in `drop`. Relaxed on failure: tried again.
        while stripe.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            pause(attempt);
            attempt = attempt.saturating_add(1);
        }
        Held { stripe, place }
    }
}

impl Default for Stripes {
    fn default() -> Stripes {
        Stripes::new()
    }
}

impl Held<'_> {
    /// Whether this is the lock of the value at an address.
    #[inline]
    pub fn covers(&self, address: Address) -> bool {
        self.place == Place::of(address)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `hold`.
        self.stripe.0.store(0, Release);
    }
}

impl Place {
    #[inline]
    fn of(address: Address) -> Place {
        Place(address.as_usize() >> GRAIN_SHIFT)
    }

    /// Neighbours have different locks.
    fn number(self) -> usize {
        self.0 % COUNT
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_covers_its_grain() {
        let stripes = Stripes::new();
        let held = stripes.hold(Address::new(0x1200));
        assert!(held.covers(Address::new(0x12ff)));
        assert!(!held.covers(Address::new(0x1300)));
        // Of the same number, and yet another place.
        assert!(!held.covers(Address::new(0x1200 + (COUNT << GRAIN_SHIFT))));
        let _other = stripes.hold(Address::new(0x1300));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A value of two words, which are one at any time, and a place beside it that
    /// has the same lock.
    struct Model {
        stripes: Stripes,
        value: UnsafeCell<(u32, u32)>,
    }

    /// Nobody sees half a change, nor reads while there is one.
    #[test]
    fn loom_a_value_is_not_read_while_it_is_changed() {
        loom::model(|| {
            let model = Arc::new(Model { stripes: Stripes::new(), value: UnsafeCell::new((0, 0)) });
            let place = Address::new(0x1200);
            let mutator = {
                let model = model.clone();
                thread::spawn(move || {
                    let _held = model.stripes.hold(place);
                    // SAFETY: loom checks that nobody else touches it meanwhile.
                    model.value.with_mut(|value| unsafe { *value = (1, 1) });
                })
            };
            {
                let _held = model.stripes.hold(place);
                // SAFETY: as above.
                let (one, other) = model.value.with(|value| unsafe { *value });
                assert_eq!(one, other);
            }
            mutator.join().unwrap();
        });
    }
}
