//! A handle gives back the type that was stashed.

use mallocgc::typed::{DynamicRoot, DynamicRootSet, Gc, rootless_mutate};

fn main() {
    rootless_mutate(|cx| {
        let set = DynamicRootSet::new(cx);
        let handle: DynamicRoot<u64> = set.stash(cx, Gc::new(cx, 1u64));
        let text: Gc<'_, String> = set.fetch(cx, &handle);
        println!("{text}");
    });
}
