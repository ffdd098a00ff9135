//! One way to allocate, again and again: what `cargo xtask fast-path` counts
//! the instructions of. `fast_path PATH COUNT`.
//!
//! Each way is a function that is not inlined, takes everything as arguments,
//! and is what an embedder would write.

use mallocgc::raw::{
    AllocClass, AllocError, AllocFlags, Config, Heap, Layout, Mutator, TypeLayout,
};
use std::error::Error;
use std::hint::black_box;
use std::ptr::{NonNull, null_mut};

fn address(made: Result<NonNull<u8>, AllocError>) -> *mut u8 {
    made.map_or(null_mut(), NonNull::as_ptr)
}

#[inline(never)]
fn path_references(mutator: &Mutator, size: usize, layout: Layout) -> *mut u8 {
    address(mutator.mallocgc(size, layout, AllocFlags::NONE))
}

#[inline(never)]
fn path_pointer_free(mutator: &Mutator, size: usize) -> *mut u8 {
    address(mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE))
}

#[inline(never)]
fn path_class(mutator: &Mutator, class: AllocClass) -> *mut u8 {
    address(mutator.alloc(class))
}

fn repeat(count: usize, allocate: impl Fn() -> *mut u8) {
    for _ in 0..count {
        assert!(!black_box(allocate()).is_null(), "there is memory");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &arguments[..] else { return Err("usage: fast_path PATH COUNT".into()) };
    let count: usize = count.parse()?;
    let heap = Heap::new(Config {
        gc_percent: None,
        background: false,
        // Little, since this runs under valgrind.
        reserve_bytes: 1 << 30,
        ..Config::default()
    })?;
    let mutator = heap.attach()?;
    let pair = heap.layout(&TypeLayout::mask(2, 0b11))?;
    // Nothing is known to the compiler, as in a runtime.
    let (mutator, pair, class) = black_box((&mutator, pair, mutator.alloc_class(16, pair)?));
    let (two_words, four_words, one_word) = black_box((16, 32, 8));
    match path.as_str() {
        "references" => repeat(count, || path_references(mutator, two_words, pair)),
        "pointer-free" => repeat(count, || path_pointer_free(mutator, four_words)),
        "tiny" => repeat(count, || path_pointer_free(mutator, one_word)),
        "class" => repeat(count, || path_class(mutator, class)),
        other => return Err(format!("no path {other}").into()),
    }
    Ok(())
}
