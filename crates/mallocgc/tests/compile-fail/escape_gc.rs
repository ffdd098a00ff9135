//! A reference does not leave its `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| Gc::new(cx, 1u64));
    println!("{kept}");
}
