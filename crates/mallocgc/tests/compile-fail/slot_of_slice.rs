//! A slot is one word, and a reference to a slice two.

use mallocgc::typed::{Gc, Slot};

fn take(slot: Slot<Gc<'_, [u64]>>) -> usize {
    slot.get().len()
}

fn main() {}
