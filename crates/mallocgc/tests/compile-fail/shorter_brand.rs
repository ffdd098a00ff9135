//! The lifetime of a heap cannot be shortened.

use mallocgc::typed::Gc;

fn shorten<'long: 'short, 'short>(object: Gc<'long, u64>) -> Gc<'short, u64> {
    object
}

fn main() {}
