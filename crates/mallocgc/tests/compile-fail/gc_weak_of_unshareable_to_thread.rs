//! A weak reference is no way to another thread for what threads may not share.

use mallocgc::typed::{Gc, Lock, rootless_mutate};

fn main() {
    rootless_mutate(|cx| {
        let weak = Gc::downgrade(cx, Gc::new(cx, Lock::new(1u64)));
        std::thread::scope(|scope| _ = scope.spawn(move || weak.is_dropped()));
    });
}
