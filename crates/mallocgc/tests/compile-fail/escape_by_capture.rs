//! A variable outside of `run` takes no reference.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let mut kept = None;
    heap.run(|cx| kept = Some(Gc::new(cx, 1u64)));
    println!("{kept:?}");
}
