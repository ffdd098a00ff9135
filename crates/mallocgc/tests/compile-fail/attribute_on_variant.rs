//! A variant has no attribute; its fields have.

use mallocgc::typed::{Gc, Trace};

#[derive(Trace)]
enum Either<'gc> {
    Reference(Gc<'gc, u64>),
    #[gc(static)]
    Thread(std::thread::ThreadId),
}

fn main() {}
