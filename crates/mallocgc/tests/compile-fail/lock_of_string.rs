//! A `Lock` copies its value: `RefLock` lends it.

use mallocgc::typed::Lock;

fn main() {
    let lock = Lock::new(String::new());
    lock.get();
}
