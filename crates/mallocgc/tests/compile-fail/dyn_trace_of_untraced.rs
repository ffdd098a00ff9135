//! Only what is traced is behind a trait whose objects are traced.

use mallocgc::typed::{DynTrace, Gc, dyn_trace};

trait Shape<'gc>: DynTrace<'gc> {}
dyn_trace!(dyn Shape<'gc>);

struct Square<'gc>(Gc<'gc, u64>);

impl<'gc> Shape<'gc> for Square<'gc> {}

fn main() {}
