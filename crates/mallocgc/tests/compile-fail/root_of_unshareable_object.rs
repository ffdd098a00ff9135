//! A handle may go to any thread, and what it leads to must allow it, of whatever type it was.

use mallocgc::typed::{Gc, Root, SharedHeap, Unsized, unsize};
use std::fmt::Debug;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        let object = unsize!(Gc::new(cx, 1u64) => dyn Debug);
        let _: Root<Unsized<dyn Debug>> = cx.root(object);
    });
}
