//! What is no cell does not change.

use mallocgc::typed::{Gc, rootless_mutate};

fn main() {
    rootless_mutate(|cx| {
        Gc::new(cx, 1u64).unlock(cx);
    });
}
