//! A local root does not leave its scope.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.scope(|scope| heap.run(|cx| scope.root::<u64>(cx, Gc::new(cx, 1))));
    let mut stored = None;
    heap.scope(|scope| stored = Some(heap.run(|cx| scope.root::<u64>(cx, Gc::new(cx, 1)))));
    println!("{kept:?} {stored:?}");
}
