//! A reference in a packed type may not be aligned.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
#[repr(C, packed)]
struct Packed<'gc> {
    tag: u8,
    reference: Gc<'gc, u64>,
}

fn main() {}
