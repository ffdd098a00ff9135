//! Handles may be sent to any thread of a shared heap, so that its sets take what threads may share.

use mallocgc::typed::{Cx, DynamicRootSet, Gc, Shared};

fn stash<'gc>(cx: &Cx<'gc, Shared>, set: DynamicRootSet<'gc>, object: Gc<'gc, std::cell::Cell<u8>>) {
    set.stash::<std::cell::Cell<u8>>(cx, object);
}

fn main() {}
