//! A closure that holds a reference does not leave `run`.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        Box::new(move || *object) as Box<dyn Fn() -> u64>
    });
    println!("{}", kept());
}
