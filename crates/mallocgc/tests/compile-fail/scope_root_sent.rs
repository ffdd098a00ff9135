//! A local root stays on its thread.

use mallocgc::typed::{Gc, SharedHeap};

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.scope(|scope| {
        let root = mutator.run(|cx| scope.root::<u64>(cx, Gc::new(cx, 1)));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let other = heap.attach().unwrap();
                other.run(|cx| println!("{}", root.get(cx)));
            });
        });
    });
}
