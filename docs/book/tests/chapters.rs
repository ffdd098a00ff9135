//! The tests that the chapters show, and others of the same code.

#![forbid(unsafe_code)]

use book::machine::Frame;
use book::message::{Message, in_threads};
use book::print::written;
use book::shared::Board;
use book::value::{Pair, Text, Value, Variables, cons};
use book::{Error, Lisp, Settings};
use mallocgc::raw::Config;
use mallocgc::typed::{Gc, Heap, Lock, RefLock, Root, Trace};
use std::sync::{Arc, Mutex};

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

// --- the machine ------------------------------------------------------------

#[test]
fn a_collection_after_every_step_changes_nothing() {
    let heap = Config { collect_every: 1, verify: true, ..Config::default() };
    let lisp = Lisp::new(Settings { heap, steps: 1, ..Settings::default() }).unwrap();
    assert_eq!(lisp.eval("(fold + 0 (map (lambda (x) (* x x)) (iota 10)))").as_deref(), Ok("285"));
    let stats = lisp.heap().raw().stats();
    assert!(stats.num_gc > 500, "{}", stats.num_gc);
}

#[test]
fn forms_mean_what_they_should() {
    let lisp = lisp();
    let cases = [
        ("(if #f 1)", "#nothing"),
        ("(cond (#f 1) ((= 1 1) 2 3) (else 4))", "3"),
        ("(cond (#f 1))", "#nothing"),
        ("((lambda (a . rest) (list a rest)) 1 2 3)", "(1 (2 3))"),
        ("((lambda all all))", "()"),
        ("(let ((x 1) (y 2)) (set! x 5) (+ x y))", "7"),
        ("(define (f) (define a 1) (define (g) (set! a (+ a 1)) a) (g) (g)) (f)", "3"),
        ("(define x 1) (define (h) x) (set! x 2) (h)", "2"),
        ("(let ((if list)) (if 1 2 3))", "(1 2 3)"),
        ("(begin)", "#nothing"),
        ("(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))) (fib 15)", "610"),
    ];
    for (program, value) in cases {
        assert_eq!(lisp.eval(program).as_deref(), Ok(value), "{program}");
    }
    let errors = [
        ("(if)", "malformed: (if)"),
        ("(undefined)", "undefined: undefined"),
        ("(set! undefined 1)", "undefined: undefined"),
        ("((lambda (x) x))", "wrong number of arguments to #<procedure>"),
        ("(car)", "wrong number of arguments to #<car>"),
        ("(5 5)", "not a procedure: 5"),
        ("(lambda (x) (if x (define y 1)))", "a definition within an expression: y"),
        ("(apply + l)", "undefined: l"),
        ("(+ 1 9223372036854775807)", "no number is the result with 9223372036854775807"),
        ("(quotient 1 0)", "no number is the result with 0"),
    ];
    for (program, error) in errors {
        assert_eq!(lisp.eval(program), Err(Error::Raised(error.to_string())), "{program}");
    }
    lisp.eval("(define l (list 1 2)) (set-cdr! (cdr l) l)").unwrap();
    assert!(lisp.eval("(apply + l)").unwrap_err().to_string().starts_with("not a list:"));
}

// --- roots and cells ---------------------------------------------------------

#[test]
fn the_host_keeps_a_procedure_and_calls_it() {
    let lisp = lisp();
    let deposit = "((lambda (balance) (lambda (n) (set! balance (+ balance n)) balance)) 100)";
    let account = lisp.keep(deposit).unwrap();
    let five = lisp.keep("5").unwrap();
    for expected in ["105", "110", "115"] {
        lisp.heap().collect();
        let balance = lisp.call(&account, std::slice::from_ref(&five)).unwrap();
        assert_eq!(lisp.show(&balance), expected);
    }
    assert_eq!(
        lisp.call(&five, &[]).map(|_| ()),
        Err(Error::Raised("not a procedure: 5".to_string()))
    );
}

#[test]
fn what_the_host_keeps_lives_as_long() {
    let lisp = lisp();
    lisp.eval("(define numbers (list 1 2)) (define box (make-weak numbers))").unwrap();
    let kept = lisp.keep("numbers").unwrap();
    lisp.eval("(set! numbers '())").unwrap();
    lisp.heap().collect();
    assert_eq!(lisp.eval("(weak-value box)").as_deref(), Ok("(1 2)"));
    drop(kept);
    lisp.eval("'other").unwrap();
    lisp.heap().collect();
    assert_eq!(lisp.eval("(weak-value box)").as_deref(), Ok("#f"));
}

#[test]
#[should_panic(expected = "the root is of another heap")]
fn a_value_of_one_interpreter_is_none_of_another() {
    let (one, other) = (lisp(), lisp());
    let kept = one.keep("'(1 2)").unwrap();
    other.show(&kept);
}

#[test]
fn values_with_destructors_take_a_cycle_more() {
    let heap = Heap::new(Config::default()).unwrap();
    heap.run(|cx| {
        Gc::new(cx, RefLock::new(String::from("has memory of its own")));
        Gc::from_str(cx, "is in the heap");
    });
    let objects = || heap.raw().stats().heap_objects;
    assert_eq!(objects(), 2);
    heap.collect(); // frees the one, drops the other's value
    assert_eq!(objects(), 1);
    heap.collect();
    assert_eq!(objects(), 0);
}

// --- data and control ----------------------------------------------------------

#[test]
fn a_table_agrees_with_a_map() {
    let lisp = lisp();
    lisp.eval("(define t (make-table))").unwrap();
    let mut map = std::collections::BTreeMap::new();
    let mut random = 12345u64;
    for _ in 0..2000 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (key, value) = ((random >> 33) % 50, random >> 50);
        if random >> 63 == 0 {
            map.insert(key, value);
            lisp.eval(&format!("(table-set! t {key} {value})")).unwrap();
        } else {
            map.remove(&key);
            lisp.eval(&format!("(table-remove! t {key})")).unwrap();
        }
    }
    assert_eq!(lisp.eval("(table-count t)").unwrap(), map.len().to_string());
    for key in 0..50 {
        let expected = map.get(&key).map_or("#f".to_string(), u64::to_string);
        assert_eq!(lisp.eval(&format!("(table-ref t {key} #f)")).unwrap(), expected, "{key}");
    }
    let pairs = lisp.eval("(length (table->list t))").unwrap();
    assert_eq!(pairs, map.len().to_string());
}

#[test]
fn frames_are_small_and_continuations_die() {
    assert_eq!(size_of::<Frame<'_>>(), 48);
    let program = "
        (define (many n) (if (= n 0) 'done (begin (call/cc (lambda (k) k)) (many (- n 1)))))
        (many 200000)";
    let lisp = Lisp::new(Settings::default()).unwrap();
    assert_eq!(lisp.eval(program).as_deref(), Ok("done"));
    assert!(lisp.heap().raw().stats().heap_sys < 16 << 20);
}

// --- errors and limits ----------------------------------------------------------

#[test]
fn an_interpreter_without_memory_is_still_good() {
    let mut settings = Settings::default();
    settings.heap.heap_limit_bytes = 4 << 20;
    let lisp = Lisp::new(settings).unwrap();
    lisp.eval("(define (fill l) (fill (cons l l)))").unwrap();
    assert_eq!(lisp.eval("(fill '())"), Err(Error::OutOfMemory));
    assert_eq!(lisp.eval("(+ 1 2)").as_deref(), Ok("3"));
    let stats = lisp.heap().raw().stats();
    assert!(stats.heap_inuse <= 4 << 20);
}

#[test]
fn garbage_of_the_same_run_is_no_lack_of_memory() {
    let mut settings = Settings::default();
    settings.heap.heap_limit_bytes = 4 << 20;
    let lisp = Lisp::new(settings).unwrap();
    // Two of these do not fit beside each other.
    let program = "
        (define (loop n) (if (= n 0) 'done (begin (make-vector 100000 n) (loop (- n 1)))))
        (loop 50)";
    assert_eq!(lisp.eval(program).as_deref(), Ok("done"));
    assert_eq!(lisp.eval("(make-vector 300000 0)"), Err(Error::OutOfMemory));
}

#[test]
fn an_inner_handler_that_has_no_memory_leaves_it_to_the_outer() {
    let mut settings = Settings::default();
    settings.heap.heap_limit_bytes = 4 << 20;
    let lisp = Lisp::new(settings).unwrap();
    let program = "
        (define kept '())
        (define (keep) (set! kept (cons (make-vector 100 0) kept)) (keep))
        (define (inner) (try keep (lambda (e) (iota 100000))))
        (define (outer) (try inner (lambda (e) (set! kept '()) (list 'outer (message e)))))";
    lisp.eval(program).unwrap();
    for _ in 0..3 {
        assert_eq!(lisp.eval("(outer)").as_deref(), Ok("(outer \"out of memory\")"));
    }
}

// --- weak boxes, guardians, threads ----------------------------------------------

#[test]
fn a_guardian_tells_what_is_gone() {
    let lisp = lisp();
    lisp.eval("(define guardian (make-guardian)) (define file (list 'file))").unwrap();
    lisp.eval("(guardian file '(file is closed))").unwrap();
    lisp.heap().collect();
    assert_eq!(lisp.eval("(guardian)").as_deref(), Ok("#f"));
    lisp.eval("(set! file '())").unwrap();
    lisp.heap().collect();
    let mut closed = "#f".to_string();
    while closed == "#f" {
        std::thread::yield_now();
        closed = lisp.eval("(guardian)").unwrap();
    }
    assert_eq!(closed, "(file is closed)");
    let error = lisp.eval("(guardian 5 5)");
    assert_eq!(error, Err(Error::Raised("nothing that dies: 5".to_string())));
}

#[test]
fn every_kind_of_object_can_be_named_weakly() {
    let lisp = lisp();
    for object in ["(list 1)", "\"text\"", "(vector 1)", "(make-table)", "(lambda () 1)"] {
        lisp.eval(&format!("(define object {object}) (define box (make-weak object))")).unwrap();
        // The code of the form has the text.
        lisp.eval("(collect)").unwrap();
        assert_eq!(lisp.eval("(eq? object (weak-value box))").as_deref(), Ok("#t"), "{object}");
        lisp.eval("(set! object 0)").unwrap();
        lisp.eval("(collect)").unwrap();
        assert_eq!(lisp.eval("(weak-value box)").as_deref(), Ok("#f"), "{object}");
    }
}

#[test]
fn forms_are_evaluated_in_threads() {
    let lisp = lisp();
    let forms = lisp.eval_with(
        "'((fold + 0 (iota 1000)) (car 5) (lambda (x) x) (list 1 (vector 'a \"b\")))",
        |_, value| Message::of(value),
    );
    let Ok(Some(Message::List(forms))) = forms else { panic!("{forms:?}") };
    let results = in_threads(&forms, &settings());
    assert_eq!(results[0], Ok(Message::Number(499500)));
    assert_eq!(results[1], Err(Error::Raised("not a pair: 5".to_string())));
    assert!(results[2].is_err()); // a procedure cannot leave its heap

    let vector = Message::Vector(vec![Message::Symbol("a".into()), Message::Text("b".into())]);
    assert_eq!(results[3], Ok(Message::List(vec![Message::Number(1), vector])));
    for cycle in ["(define l (list 1)) (set-cdr! l l) l", "(define l (list 1)) (set-car! l l) l"] {
        assert_eq!(lisp.eval_with(cycle, |_, value| Message::of(value)), Ok(None));
    }
}

#[test]
fn interpreters_share_a_board() {
    let board = Board::new(Config { min_heap_bytes: 1 << 20, ..Config::default() }).unwrap();
    std::thread::scope(|scope| {
        let main = Lisp::with_board(settings(), &board).unwrap();
        main.eval("(board-set! \"sum\" 0)").unwrap();
        for _ in 0..3 {
            scope.spawn(|| {
                let lisp = Lisp::with_board(settings(), &board).unwrap();
                lisp.eval("(for-each (lambda (n) (board-add! \"sum\" n)) (iota 1000))").unwrap();
            });
        }
    });
    let lisp = Lisp::with_board(settings(), &board).unwrap();
    assert_eq!(lisp.eval("(board-ref \"sum\")").as_deref(), Ok("1498500"));

    lisp.eval("(board-set! \"data\" '(1 \"two\" (three) #t))").unwrap();
    assert_eq!(lisp.eval("(board-ref \"data\")").as_deref(), Ok("(1 \"two\" (three) #t)"));
    assert_eq!(lisp.eval("(board-ref \"other\")").as_deref(), Ok("#f"));
    for (program, error) in [
        ("(board-add! \"data\" 1)", "no number on the board: \"data\""),
        ("(board-set! \"f\" car)", "cannot leave its heap: #<car>"),
    ] {
        assert_eq!(lisp.eval(program), Err(Error::Raised(error.to_string())));
    }
    assert!(self::lisp().eval("(board-ref \"x\")").is_err());
}

// --- measuring --------------------------------------------------------------------

/// Objects and bytes that one of so many calls allocates.
fn per_call(lisp: &Lisp, program: &str, calls: u64) -> (u64, u64) {
    let before = lisp.heap().raw().stats();
    lisp.eval(program).unwrap();
    let after = lisp.heap().raw().stats();
    ((after.mallocs - before.mallocs) / calls, (after.total_alloc - before.total_alloc) / calls)
}

#[test]
fn a_call_allocates_so_much() {
    let program = "(define (loop n) (if (= n 0) 0 (loop (- n 1)))) (loop 10000)";
    let slow = Settings { takes_at_once: false, ..Settings::default() };
    let slow = Lisp::new(slow).unwrap();
    assert_eq!(per_call(&slow, program, 10_000), (16, 640));

    let fast = Lisp::new(Settings::default()).unwrap();
    assert_eq!(per_call(&fast, program, 10_000), (9, 304));
}

#[test]
fn both_ways_of_evaluating_arguments_agree() {
    let slow = Lisp::new(Settings { takes_at_once: false, ..settings() }).unwrap();
    let fast = lisp();
    let programs = [
        "(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))) (fib 12)",
        "(list 1 (call/cc (lambda (k) (k 2))) 3)",
        "(try (lambda () (list (car '()) (undefined))) (lambda (e) (message e)))",
        "(let ((n 0)) (list n (begin (set! n 1) n) n))",
        "((lambda all all) (iota 3) 4 (map (lambda (x) (+ x 1)) '(1 2)))",
    ];
    for program in programs {
        assert_eq!(slow.eval(program), fast.eval(program), "{program}");
    }
}

#[test]
fn cycles_are_told_of() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let heap = Config {
        trace_level: 1,
        log: Arc::new(move |line| log.lock().unwrap().push(line.to_string())),
        ..Config::default()
    };
    let lisp = Lisp::new(Settings { heap, ..Settings::default() }).unwrap();
    lisp.eval("(define (loop n) (if (= n 0) 0 (loop (- n 1)))) (loop 100000)").unwrap();
    lisp.heap().collect();

    let heap = lisp.heap().raw();
    let stats = heap.stats();
    let pauses = heap.pause_histogram();
    assert_eq!(pauses.count(), stats.num_gc);
    assert!(pauses.quantile(0.5) <= pauses.quantile(0.99));
    assert!(stats.live_bytes <= stats.heap_sys);
    assert!((0.0..=1.0).contains(&stats.gc_cpu_fraction));

    let lines = lines.lock().unwrap();
    assert_eq!(lines.len() as u64, stats.num_gc);
    assert!(lines.len() > 4 && lines[0].starts_with("gc 1 @"), "{}", lines[0]);
    assert!(lines.last().unwrap().ends_with("(forced)"));
}

#[test]
fn a_profile_shows_what_is_kept() {
    let heap = Config { profile_rate: 1, ..Config::default() };
    let lisp = Lisp::new(Settings { heap, ..Settings::default() }).unwrap();
    let program = "
        (define kept (make-vector 100000 0))
        (for-each (lambda (n) (list n)) (iota 1000))";
    lisp.eval(program).unwrap();
    lisp.heap().collect();
    let profile = lisp.heap().raw().profile();
    let (allocated, kept) = (profile.total().alloc_bytes, profile.total().inuse_bytes);
    assert!(kept > 1_600_000 && kept < allocated, "{kept} of {allocated}");
    let mut file = Vec::new();
    profile.write_pprof(&mut file).unwrap();
    assert!(file.len() > 100);
}
