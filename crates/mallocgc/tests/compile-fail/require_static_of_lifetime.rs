//! What is said to be `'static` is.

use mallocgc::typed::Trace as Collect;

struct Borrow<'a>(&'a bool);

#[derive(Collect)]
#[collect(no_drop)]
struct Holder<'a> {
    #[collect(require_static)]
    field: Borrow<'a>,
}

fn main() {}
