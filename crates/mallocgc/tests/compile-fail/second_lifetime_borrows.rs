//! A second lifetime may be in the type, but nothing is borrowed by it.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
#[gc(gc_lifetime = 'gc)]
struct Holder<'gc, 'a>(Gc<'gc, u64>, &'a u64);

fn main() {}
