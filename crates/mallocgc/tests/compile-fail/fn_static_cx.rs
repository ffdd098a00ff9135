//! No `run` has a lifetime known outside of it.

use mallocgc::typed::{Cx, Gc, Heap};

fn work(cx: &Cx<'static>) {
    let kept: Gc<'static, u64> = Gc::new(cx, 1);
    println!("{kept}");
}

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(work);
}
