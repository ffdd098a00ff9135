//! A destructor could look at objects that are gone.

use mallocgc::typed::{Gc, Slot, Trace};

#[derive(Trace)]
struct Node<'gc> {
    next: Slot<Option<Gc<'gc, Node<'gc>>>>,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        println!("{}", self.next.get().is_some());
    }
}

fn main() {}
