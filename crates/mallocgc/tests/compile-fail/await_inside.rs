//! Nothing waits inside `run`, which is no async function.

use mallocgc::typed::{Gc, Heap};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let _ = async {
        heap.run(|cx| {
            let object = Gc::new(cx, 1u64);
            std::future::ready(()).await;
            println!("{object}");
        });
    };
}
