//! A guard of a cell does not leave `run`.

use mallocgc::typed::{Gc, Heap, RefLock};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| Gc::new(cx, RefLock::new(1u64)).as_ref().borrow());
    println!("{}", *kept);
}
