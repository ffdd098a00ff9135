//! The right to change a place ends with the `run`.

use mallocgc::typed::{Gc, Heap, Lock};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| Gc::write(cx, Gc::new(cx, Lock::new(1u64))));
    kept.unlock().set(2);
}
