//! A weak reference belongs into objects; what outlives a `run` is a `Weak`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| Gc::downgrade(cx, Gc::new(cx, 1u64)));
    assert!(!kept.is_dropped());
}
