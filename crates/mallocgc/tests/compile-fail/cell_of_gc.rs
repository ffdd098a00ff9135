//! A plain `Cell` has no barrier: `Slot` and `Lock` have.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: std::cell::Cell<Option<Gc<'gc, u64>>>,
}

fn main() {}
