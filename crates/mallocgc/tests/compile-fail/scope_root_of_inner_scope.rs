//! A root of an inner scope is none of the outer one's.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.scope(|outer| {
        let mut place = heap.run(|cx| outer.root::<u64>(cx, Gc::new(cx, 1)));
        heap.scope(|inner| place = heap.run(|cx| inner.root::<u64>(cx, Gc::new(cx, 2))));
        heap.run(|cx| println!("{}", place.get(cx)));
    });
}
