//! A root is of the type of its object.

use mallocgc::typed::{Gc, Heap, Root};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let root: Root<String> = heap.run(|cx| cx.root(Gc::new(cx, 1u64)));
    drop(root);
}
