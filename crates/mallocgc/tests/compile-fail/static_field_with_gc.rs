//! `#[gc(static)]` hides no reference.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    #[gc(static)]
    hidden: Gc<'gc, u64>,
}

fn main() {}
