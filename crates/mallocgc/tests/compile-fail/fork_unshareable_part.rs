//! A reference to what is not `Sync` stays on its thread, though its heap be shared.

use mallocgc::typed::{Gc, SharedHeap};
use std::cell::Cell;
use std::sync::Mutex;

fn main() {
    let heap = SharedHeap::new(Default::default()).unwrap();
    heap.attach().unwrap().run(|cx| {
        let object = Gc::new(cx, Mutex::new(Cell::new(5u64)));
        let cell: Gc<'_, Cell<u64>> = Gc::map(object, |mutex| {
            let guard = Box::leak(Box::new(mutex.lock().unwrap()));
            &**guard
        });
        cx.fork(|fork| {
            let thread = fork.spawn(move |_| cell.set(6)).unwrap();
            cell.set(7);
            thread.join().unwrap();
        });
    });
}
