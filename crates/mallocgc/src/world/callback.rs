//! Whether this thread runs a user function that must not enter the heap.
//!
//! Trace functions, root callbacks, clear hooks and event listeners run while
//! the heap's locks are held or the world is stopped. What they call on any
//! heap would wait for itself; so every entry that may wait asks here first
//! and answers with an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many such functions are running on this thread, one in another.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is inside a callback of a heap.
#[inline]
pub fn is_inside() -> bool {
    // A thread past its thread-locals runs no callback.
    DEPTH.try_with(Cell::get).unwrap_or(0) != 0
}

/// This thread is inside a callback until this is dropped.
#[derive(Debug)]
pub struct Inside(());

/// Enters a callback.
pub fn enter() -> Inside {
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
    Inside(())
}

/// Runs a callback whose panic must not leave it; whether it panicked. The
/// panic's hook has printed what it was.
pub(crate) fn contain(call: impl FnOnce()) -> bool {
    let inside = enter();
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { return false };
    // Dropping what was thrown may panic in turn.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        core::mem::forget(second);
    }
    drop(inside);
    true
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_nest_and_unwind() {
        assert!(!is_inside());
        let _ = std::panic::catch_unwind(|| {
            let _outer = enter();
            let _inner = enter();
            panic!("leaves both");
        });
        assert!(!is_inside());
    }

    #[test]
    fn a_contained_panic_does_not_leave_its_callback() {
        struct Thrown;
        impl Drop for Thrown {
            fn drop(&mut self) {
                assert!(is_inside());
                panic!("what was thrown panics");
            }
        }
        assert!(!contain(|| assert!(is_inside())));
        assert!(contain(|| std::panic::panic_any(Thrown)));
        assert!(!is_inside());
    }
}
