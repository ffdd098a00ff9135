//! A plain `Mutex` has no barrier: `SharedLock` has.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: std::sync::Mutex<Option<Gc<'gc, u64>>>,
}

fn main() {}
