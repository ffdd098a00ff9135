//! A static variable holds no reference.

use mallocgc::typed::{Gc, Heap};

static PLACE: std::sync::Mutex<Option<Gc<'static, u64>>> = std::sync::Mutex::new(None);

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    heap.run(|cx| *PLACE.lock().unwrap() = Some(Gc::new(cx, 1u64)));
}
