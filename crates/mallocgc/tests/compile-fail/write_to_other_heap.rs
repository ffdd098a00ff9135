//! A place of one heap is not changed with another's context: the reference would be of that heap.

use mallocgc::typed::{Gc, Heap, Lock};

fn main() {
    let (heap, other) = (Heap::new(Default::default()).unwrap(), Heap::new(Default::default()).unwrap());
    heap.run(|cx| {
        let place = Gc::new(cx, Lock::new(None));
        other.run(|inner| Gc::write(cx, place).unlock().set(Some(Gc::new(inner, 1u64))));
    });
}
