//! A borrow of an object keeps nothing alive, so that no object holds one.

use mallocgc::typed::Trace;

#[derive(Trace)]
struct Holder<'gc> {
    hidden: &'gc u64,
}

fn main() {}
