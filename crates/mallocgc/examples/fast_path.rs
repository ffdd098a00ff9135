//! One way to allocate or store, again and again: what `cargo xtask fast-path`
//! counts the instructions of. `fast_path PATH COUNT`.
//!
//! Each way is a function that is not inlined, takes everything as arguments,
//! and is what an embedder would write.

use mallocgc::raw::{
    AllocClass, AllocError, AllocFlags, Config, Heap, Layout, Mutator, TypeLayout,
};
use mallocgc::typed::{self, Cx, Gc, Slot, Trace};
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

/// An object of the safe interface, two words.
#[derive(Trace)]
struct Cell<'gc> {
    first: Slot<Link<'gc>>,
    second: Slot<Link<'gc>>,
}

type Link<'gc> = Option<Gc<'gc, Cell<'gc>>>;

#[inline(never)]
fn path_typed_cell<'gc>(cx: &Cx<'gc>, first: Link<'gc>, second: Link<'gc>) -> Gc<'gc, Cell<'gc>> {
    Gc::new(cx, Cell { first: Slot::new(first), second: Slot::new(second) })
}

/// Of a type whose references a function names.
#[derive(Trace)]
enum Choice<'gc> {
    Number(u64),
    Cell(Gc<'gc, Cell<'gc>>),
}

#[inline(never)]
fn path_typed_choice<'gc>(cx: &Cx<'gc>, choice: Choice<'gc>) -> Gc<'gc, Choice<'gc>> {
    Gc::new(cx, choice)
}

#[inline(never)]
fn path_typed_store<'gc>(cx: &Cx<'gc>, cell: Gc<'gc, Cell<'gc>>, link: Link<'gc>) {
    cell.first.set(cx, link);
}

fn repeat_typed(path: &str, count: usize, heap: &typed::Heap) {
    heap.run(|cx| {
        let cell = path_typed_cell(cx, None, None);
        let (cx, cell) = black_box((cx, cell));
        for number in 0..count as u64 {
            match path {
                "typed-cell" => {
                    black_box(path_typed_cell(cx, Some(cell), None));
                }
                "typed-choice" => {
                    let choice = black_box(Choice::Number(number));
                    let made = black_box(path_typed_choice(cx, choice));
                    assert!(matches!(*made, Choice::Number(made) if made == number));
                }
                _ => path_typed_store(cx, cell, Some(cell)),
            }
        }
        // Both kinds are there.
        let kept = path_typed_choice(cx, Choice::Cell(cell));
        assert!(matches!(*kept, Choice::Cell(kept) if kept.second.get().is_none()));
    });
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
    let config = Config {
        gc_percent: None,
        background: false,
        // Little, since this runs under valgrind.
        reserve_bytes: 1 << 30,
        ..Config::default()
    };
    if let "typed-cell" | "typed-choice" | "typed-store" = path.as_str() {
        repeat_typed(path, count, &typed::Heap::new(config)?);
        return Ok(());
    }
    let heap = Heap::new(config)?;
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
