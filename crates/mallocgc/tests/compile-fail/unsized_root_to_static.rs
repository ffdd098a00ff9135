//! A handle to a slice lends its object for one `run`.

use mallocgc::typed::{Gc, Heap, Root};

fn main() {
    let heap = Heap::new(Default::default()).unwrap();
    let text: Root<str> = heap.run(|cx| cx.root(Gc::from_str(cx, "text")));
    let kept: &'static str = heap.run(|cx| text.get(cx).as_ref());
    assert_eq!(kept, "text");
}
