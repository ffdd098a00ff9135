//! An object borrows nothing.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Borrower<'gc, 'a> {
    reference: Gc<'gc, u64>,
    text: &'a str,
}

fn main() {}
