//! The tests that the chapters show, and others of the same code.

#![forbid(unsafe_code)]

use book::print::written;
use book::value::{Pair, Text, Value, Variables, cons};
use book::{Error, Lisp, Settings};
use mallocgc::raw::Config;
use mallocgc::typed::{Gc, Heap, Lock, Root, Trace};

/// Settings for tests: many boundaries and collections if `MALLOCGC_ZEAL` asks for them.
fn settings() -> Settings {
    let mut settings = Settings::default();
    if std::env::var_os("MALLOCGC_ZEAL").is_some() {
        settings.steps = 50;
        settings.heap = Config { collect_every: 3, verify: true, ..Config::default() };
    }
    settings
}

fn lisp() -> Lisp {
    Lisp::new(settings()).unwrap()
}

#[test]
fn a_root_outlives_the_run() {
    let heap = Heap::new(Config::default()).unwrap();
    let root: Root<Pair<'static>> = heap.run(|cx| {
        let rest = cons(cx, Value::Number(2), Value::Nil).ok().unwrap();
        let pair = Pair { first: Lock::new(Value::Number(1)), rest: Lock::new(rest) };
        cx.root(Gc::new(cx, pair))
    });
    heap.collect();
    heap.run(|cx| assert_eq!(written(Value::Pair(root.get(cx))), "(1 2)"));
}

#[test]
fn values_are_two_words_and_objects_say_where_their_references_are() {
    assert_eq!(size_of::<Value<'_>>(), 16);
    assert_eq!(size_of::<Pair<'_>>(), 32);
    assert_eq!(size_of::<Gc<'_, Text<'_>>>(), 8);
    assert_eq!(size_of::<Gc<'_, [Lock<Value<'_>>]>>(), 16);

    // A bit for each word that is a reference, or a function that must be asked.
    let text = <Text<'_> as Trace<'_>>::SHAPE;
    assert_eq!(text.mask(), Some(0b1));
    let variables = <Variables<'_> as Trace<'_>>::SHAPE;
    assert_eq!(variables.mask().map(u64::count_ones), Some(2));
    assert_eq!(<Value<'_> as Trace<'_>>::SHAPE.mask(), None);
    assert_eq!(<Pair<'_> as Trace<'_>>::SHAPE.mask(), None);
}

// --- the reader -------------------------------------------------------------

#[test]
fn what_is_written_can_be_read() {
    let lisp = lisp();
    for text in ["()", "#t", "-7", "name", "\"a\\n\\\"b\"", "(1 (2 . 3) \"x\" y . z)", "#nothing"] {
        let quoted = format!("(quote {text})");
        assert_eq!(lisp.eval(&quoted).as_deref(), Ok(text));
    }
    assert_eq!(lisp.eval("; nothing\n 'a ; and 'b\n").as_deref(), Ok("a"));
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_the_end() {
    let lisp = lisp();
    let raised = |text: &str| Err(Error::Raised(text.to_string()));
    assert_eq!(lisp.eval("(1 (2"), raised("the text ends too early"));
    assert_eq!(lisp.eval("\"abc"), raised("the text ends too early"));
    assert_eq!(lisp.eval("'"), raised("the text ends too early"));
    assert_eq!(lisp.eval("(1 . 2 3)"), raised("more than one value behind the dot 2"));
    assert_eq!(lisp.eval(")"), raised("a parenthesis too many"));
    assert_eq!(lisp.eval(&"(".repeat(100_000)), raised("nested too deeply"));
    assert_eq!(lisp.eval("(car 5)"), raised("not a pair: 5"));
}

#[test]
fn a_cycle_is_written_to_some_length() {
    let lisp = lisp();
    lisp.eval("(define l (list 1 2)) (set-cdr! (cdr l) l)").unwrap();
    assert_eq!(lisp.eval("l").unwrap().matches("1 2").count(), 499);
    lisp.eval("(define v (vector 1)) (vector-set! v 0 v)").unwrap();
    assert!(lisp.eval("v").unwrap().starts_with("#(#(#("));
}

// --- closures ---------------------------------------------------------------

#[test]
fn the_recursive_evaluator_knows_closures() {
    let lisp = lisp();
    let program = "((lambda (make) ((make 3) 4)) (lambda (n) (lambda (m) (* n m))))";
    assert_eq!(lisp.eval_recursively(program).as_deref(), Ok("12"));
    assert_eq!(lisp.eval(program).as_deref(), Ok("12"));
}

/// A hundred thousand lists of ten, all garbage at once.
const LISTS: &str = "
    (define (ten f) (f) (f) (f) (f) (f) (f) (f) (f) (f) (f))
    (define (lists) (list 1 2 3 4 5 6 7 8 9 10))
    (ten (lambda () (ten (lambda () (ten (lambda () (ten (lambda () (ten lists)))))))))";

#[test]
fn the_recursive_evaluator_keeps_the_dead_and_the_machine_does_not() {
    let recursive = Lisp::new(Settings::default()).unwrap();
    recursive.eval_recursively(LISTS).unwrap();
    let machine = Lisp::new(Settings::default()).unwrap();
    machine.eval(LISTS).unwrap();

    let [recursive, machine] = [recursive, machine].map(|lisp| lisp.heap().raw().stats());
    assert!(recursive.heap_sys > 32 << 20, "{}", recursive.heap_sys);
    assert_eq!(recursive.num_gc, 1); // behind the last call
    assert!(machine.heap_sys < 16 << 20, "{}", machine.heap_sys);
    assert!(machine.num_gc > 5, "{}", machine.num_gc);
}
