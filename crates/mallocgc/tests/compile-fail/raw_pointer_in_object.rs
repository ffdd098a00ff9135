//! A raw pointer keeps nothing alive.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: *const Gc<'gc, u64>,
}

fn main() {}
