//! A context is no part of an object.

use mallocgc::typed::{Cx, Gc, Trace, rootless_mutate};

#[derive(Trace)]
struct Holder<'gc> {
    cx: &'gc Cx<'gc>,
}

fn main() {
    rootless_mutate(|cx| {
        Gc::new(cx, Holder { cx });
    });
}
