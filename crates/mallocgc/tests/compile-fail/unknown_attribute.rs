//! There is one attribute.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    #[gc(skip)]
    hidden: Gc<'gc, u64>,
}

fn main() {}
