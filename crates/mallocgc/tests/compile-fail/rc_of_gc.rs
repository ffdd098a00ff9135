//! What `Rc` points at is shared with what is no object.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: std::rc::Rc<Gc<'gc, u64>>,
}

fn main() {}
