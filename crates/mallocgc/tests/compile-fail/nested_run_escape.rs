//! A reference of an inner `run` is none of the outer one.

use mallocgc::typed::{Gc, Heap, RefLock};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|outer| {
        let kept = Gc::new(outer, RefLock::new(None));
        heap.run(|inner| *kept.borrow_mut(outer) = Some(Gc::new(inner, 1u64)));
    });
}
