//! `Trace` by hand is a promise.

use mallocgc::typed::{Gc, Shape, Trace, Tracer};

struct Hidden<'gc>(Gc<'gc, u64>);

impl<'gc> Trace<'gc> for Hidden<'gc> {
    const SHAPE: Shape = Shape::FREE;
    fn trace(&self, _: &mut Tracer<'_>) {}
}

fn main() {}
