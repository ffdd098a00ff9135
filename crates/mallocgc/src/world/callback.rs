//! Whether this thread runs a user function that must not enter the heap.
//!
//! Trace functions, root callbacks, clear hooks and event listeners run while
//! the heap's locks are held or the world is stopped. What they call on any
//! heap would wait for itself; so every entry that may wait asks here first
//! and answers with an error.

use std::cell::Cell;

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
}
