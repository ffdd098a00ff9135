//! An attribute is given once.

use mallocgc::typed::Trace;

#[derive(Trace)]
struct Holder {
    #[gc(static, static)]
    thread: std::thread::ThreadId,
}

fn main() {}
