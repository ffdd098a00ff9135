//! With gc-arena's names as with ours: a traced type has no destructor.

use mallocgc::typed::Trace as Collect;

#[derive(Collect)]
#[collect(no_drop)]
struct Dropped {}

impl Drop for Dropped {
    fn drop(&mut self) {}
}

fn main() {}
