//! A step does not break with a reference.

use mallocgc::typed::{Gc, Heap};
use std::ops::ControlFlow;

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let kept = heap.run_steps(|cx| ControlFlow::Break(Gc::new(cx, 1u64)));
    println!("{kept}");
}
