//! Every field says where its references are.

use mallocgc::typed::{Gc, Trace};

struct Plain(u64);

#[derive(Trace)]
struct Holder<'gc> {
    plain: Plain,
    hidden: Option<Gc<'gc, Plain>>,
}

fn main() {}
