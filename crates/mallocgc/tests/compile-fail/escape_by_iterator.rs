//! A lazy iterator over objects does not leave `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| Gc::from_iter(cx, [1u64, 2]).as_ref().iter());
    println!("{}", kept.sum::<u64>());
}
