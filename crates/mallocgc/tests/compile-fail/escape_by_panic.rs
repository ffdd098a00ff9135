//! A panic carries no reference out of `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| std::panic::panic_any(Gc::new(cx, 1u64)));
}
