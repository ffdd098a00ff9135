//! A type that is static altogether has no lifetime.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
#[gc(static)]
struct Holder<'gc> {
    hidden: Gc<'gc, u64>,
}

fn main() {}
