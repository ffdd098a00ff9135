//! Bounds that are told replace those that are found, and are not believed.

use mallocgc::typed::Trace;

#[derive(Trace)]
#[gc(bound = "")]
struct Holder<T>(T);

fn main() {}
