//! A reference becomes one of a trait that its type has.

use mallocgc::typed::{Gc, rootless_mutate, unsize};

fn main() {
    rootless_mutate(|cx| {
        unsize!(Gc::new(cx, Some('x')) => dyn std::error::Error);
    });
}
