//! A thread-local variable outlives every `run`.

use mallocgc::typed::{Gc, Heap};

thread_local! {
    static STASH: std::cell::Cell<Option<Gc<'static, u64>>> = const { std::cell::Cell::new(None) };
}

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| STASH.set(Some(Gc::new(cx, 1u64))));
}
