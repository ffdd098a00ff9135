//! Who changes an object shows the right to do so.

use mallocgc::typed::{Gc, Slot};

fn main() {
    let slot: Slot<Option<Gc<'_, u64>>> = Slot::new(None);
    slot.set((), None);
}
