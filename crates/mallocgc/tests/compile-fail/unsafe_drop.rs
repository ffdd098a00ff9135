//! There is no way to have a destructor beside references.

use mallocgc::typed::{Gc, Trace as Collect};

#[derive(Collect)]
#[collect(unsafe_drop)]
struct Dropped<'gc>(Gc<'gc, u64>);

fn main() {}
