//! What a reference leads to does not leave its `run`, either.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept: &u64 = heap.run(|cx| Gc::new(cx, 1u64).as_ref());
    println!("{kept}");
}
