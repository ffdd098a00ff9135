//! A plain `RefCell` has no barrier: `RefLock` has.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: std::cell::RefCell<Vec<Gc<'gc, u64>>>,
}

fn main() {}
