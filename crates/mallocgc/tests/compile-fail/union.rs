//! A union does not say which of its fields is valid.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
union Either<'gc> {
    reference: Gc<'gc, u64>,
    number: u64,
}

fn main() {}
