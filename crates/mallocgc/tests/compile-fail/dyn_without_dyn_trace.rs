//! A trait object that holds references says where they are, by a supertrait.

use mallocgc::typed::{Gc, Trace, dyn_trace, rootless_mutate};

trait Shape<'gc> {}
dyn_trace!(dyn Shape<'gc>);

#[derive(Trace)]
struct Square<'gc>(Gc<'gc, u64>);

impl<'gc> Shape<'gc> for Square<'gc> {}

fn main() {
    rootless_mutate(|cx| {
        let square: Box<dyn Shape<'_>> = Box::new(Square(Gc::new(cx, 1)));
        Gc::new(cx, square);
    });
}
