//! What a slot takes is what it yields.

use mallocgc::typed::{Gc, Slot, Static};

type Any = Static<for<'a> fn(&'a str)>;
type Only = Static<fn(&'static str)>;

fn weaken<'s, 'gc>(slot: &'s Slot<Gc<'gc, Any>>) -> &'s Slot<Gc<'gc, Only>> {
    slot
}

fn main() {}
