//! What `Arc` points at is shared with what is no object.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    hidden: std::sync::Arc<Gc<'gc, u64>>,
}

fn main() {}
