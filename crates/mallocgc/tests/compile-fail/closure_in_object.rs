//! What a closure captures cannot be traced.

use mallocgc::typed::Trace;

#[derive(Trace)]
struct Holder<'gc> {
    hidden: Box<dyn Fn() -> u64 + 'gc>,
}

fn main() {}
