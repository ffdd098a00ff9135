//! Programs in Scheme that check themselves, as they are and with a collection at nearly every boundary.

#![forbid(unsafe_code)]

use mallocgc::raw::Config;
use scheme::{Failure, Interpreter, Options, with_stack};
use std::path::Path;

/// How much a run asks of the collector.
#[derive(Clone, Copy)]
enum Pace {
    Usual,
    /// A collection every few boundaries, and steps of few calls; what is dead is overwritten and the heap checked.
    Zeal,
}

fn options(pace: Pace) -> Options {
    let zeal = matches!(pace, Pace::Zeal) || std::env::var_os("MALLOCGC_ZEAL").is_some();
    let heap = Config {
        collect_every: if zeal { 7 } else { 0 },
        clobber: if zeal { 0xdead_beef_dead_beef } else { 0 },
        verify: zeal,
        ..Config::default()
    };
    let step_calls = if zeal { 500 } else { Options::default().step_calls };
    Options { heap, step_calls, keep_output: true }
}

fn run(options: Options, program: &str) -> (Result<(), Failure>, String) {
    with_stack(|| {
        let scheme = Interpreter::new(options).unwrap();
        let result = scheme.run(program);
        (result, scheme.output())
    })
}

/// Runs a file behind `check.scm`; it must say that it made so many checks, and that none failed.
fn passes(name: &str, checks: usize, pace: Pace) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scm");
    let (result, output) = with_stack(|| {
        let scheme = Interpreter::new(options(pace)).unwrap();
        let result = scheme.run_file(&directory.join("check.scm"));
        (result.and_then(|()| scheme.run_file(&directory.join(name))), scheme.output())
    });
    assert_eq!(result, Ok(()), "{name}\n{output}");
    assert_eq!(output, format!("{checks} checks, 0 failures\n"), "{name}");
}

macro_rules! programs {
    ($($name:ident $checks:literal),* $(,)?) => {$(
        mod $name {
            use super::{Pace, passes};

            #[test]
            fn passes_its_checks() {
                passes(concat!(stringify!($name), ".scm"), $checks, Pace::Usual);
            }

            #[test]
            fn passes_its_checks_with_many_collections() {
                passes(concat!(stringify!($name), ".scm"), $checks, Pace::Zeal);
            }
        }
    )*};
}

programs! {
    expressions 78,
    macros 35,
    numbers 162,
    data 159,
    control 46,
    ports 65,
    memory 12,
    classics 15,
    names 330,
    report_numbers 196,
    report_data 221,
    report_control 126,
    report_macros 68,
}

/// Runs a program of `programs`, which ends with an error unless its results are right.
fn works(name: &str, pace: Pace) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let (result, output) = with_stack(|| {
        let scheme = Interpreter::new(options(pace)).unwrap();
        (scheme.run_file(&directory.join(name).with_extension("scm")), scheme.output())
    });
    assert_eq!(result, Ok(()), "{name}");
    assert_eq!(output, format!("{name}: ok\n"));
}

macro_rules! classics {
    ($($name:ident)*) => {
        const CLASSICS: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            works(stringify!($name), Pace::Usual);
            works(stringify!($name), Pace::Zeal);
        })*
    };
}

classics! {
    browse conform deriv destruct earley fft gcbench lattice mazefun meta nboyer paraffins peval pi puzzle takl
}

#[test]
fn no_program_is_forgotten() {
    let entries =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    names.sort();
    assert_eq!(names, CLASSICS);
}

/// Beside its libraries, which it imports and includes.
#[test]
fn libraries_in_files_pass_their_checks() {
    passes("lib/report_libraries.scm", 112, Pace::Usual);
    passes("lib/report_libraries.scm", 112, Pace::Zeal);
}

fn output_of(options: Options, program: &str) -> String {
    let (result, output) = run(options, program);
    assert_eq!(result, Ok(()), "{output}");
    output
}

fn limited(bytes: usize) -> Options {
    let mut options = options(Pace::Usual);
    options.heap.heap_limit_bytes = bytes;
    options
}

#[test]
fn a_million_calls_deep_and_ten_million_elements_long() {
    let program = "
        (define (count n) (if (= n 0) 0 (+ 1 (count (- n 1)))))
        (write (count 1000000)) (newline)
        (define l (iota 10000000))
        (write (length (map (lambda (x) (+ x 1)) l))) (newline)
        (write (apply + l)) (newline)";
    let mut options = options(Pace::Usual);
    // With a collection every few boundaries this takes minutes.
    options.heap.collect_every = 0;
    options.heap.verify = false;
    assert_eq!(output_of(options, program), "1000000\n10000000\n49999995000000\n");
}

#[test]
fn the_end_of_memory_is_a_condition_that_a_program_survives() {
    let program = "
        (define (try thunk) (guard (e ((out-of-memory? e) 'caught)) (thunk)))
        (define (fill l) (fill (cons l l)))
        (define (vectors l) (vectors (cons (make-vector 1000 0) l)))
        (define (deep n) (+ 1 (deep n)))
        (do ((i 0 (+ i 1))) ((= i 5))
          (write (try (lambda () (fill '()))))
          (write (try (lambda () (vectors '()))))
          (write (try (lambda () (make-vector 1000000000 0))))
          (write (try (lambda () (deep 0))))
          (newline))
        (write (length (iota 100000)))";
    let expected = "caughtcaughtcaughtcaught\n".repeat(5) + "100000";
    assert_eq!(output_of(limited(64 << 20), program), expected);
}

#[test]
fn tables_count_against_the_limit() {
    let program = "
        (define t (make-equal-hash-table))
        (define (fill n) (hash-table-set! t n n) (fill (+ n 1)))
        (write (guard (e ((out-of-memory? e) 'caught)) (fill 0)))
        (define count (hash-table-count t))
        (write (and (> count 1000) (= (hash-table-ref t (- count 1)) (- count 1))))
        (hash-table-clear! t)
        (write (list (hash-table-count t) (length (iota 100000))))";
    assert_eq!(output_of(limited(16 << 20), program), "caught#t(0 100000)");
}

#[test]
fn digits_and_texts_of_ports_count_against_the_limit() {
    let program = "
        (define (try thunk) (guard (e ((out-of-memory? e) 'caught)) (thunk)))
        (define (powers l) (powers (cons (expt 3 20000) l)))
        (define (halves l) (halves (cons (+ 1/2 (expt 3 5000)) l)))
        (define (text p) (write-string \"0123456789\" p) (text p))
        (define (bytes p) (write-bytevector #u8(1 2 3 4 5 6 7 8) p) (bytes p))
        (define long (make-string 100000 #\\a))
        (define (ports l) (ports (cons (open-input-string long) l)))
        (write (map try (list (lambda () (powers '())) (lambda () (halves '()))
                              (lambda () (text (open-output-string)))
                              (lambda () (bytes (open-output-bytevector)))
                              (lambda () (ports '())))))
        ;; As garbage they are found.
        (do ((i 0 (+ i 1))) ((= i 2000)) (expt 7 (+ 10000 (modulo i 7))))
        (write 'done)";
    assert_eq!(output_of(limited(8 << 20), program), "(caught caught caught caught caught)done");
    let failure = run(options(Pace::Usual), "(expt 10 10000000000)").0;
    assert!(matches!(failure, Err(Failure::Raised(text)) if text.contains("too large a power")));
    assert_eq!(output_of(options(Pace::Usual), "(write (expt 1 10000000000))"), "1");
}

#[test]
fn a_program_with_garbage_only_runs_in_little_memory() {
    let program = "
        (define (loop n) (if (> n 0) (begin (vector n (list n) (number->string n)) (loop (- n 1)))))
        (loop 500000)
        (write 'done)";
    assert_eq!(output_of(limited(16 << 20), program), "done");
}

#[test]
fn what_nobody_handles_ends_the_program_and_says_where() {
    let failure = |program: &str| match run(options(Pace::Usual), program).0 {
        Err(Failure::Raised(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure("1\n  (car 5)"), "2:3: error: expected a pair, got 5");
    assert_eq!(failure("(define (f x)\n  (+ 1 (error \"bad\" x)))\n(f 2)"), "2:8: error: bad 2");
    assert_eq!(failure("(raise 'thing)"), "uncaught: thing");
    assert_eq!(failure("\n(1 2"), "2:5: read error: unexpected end of input in a list");
    assert_eq!(failure("(let ((x)) x)"), "1:1: syntax error: malformed binding (x)");
    assert_eq!(failure("1 (car 2)"), "1:3: error: expected a pair, got 2");
    assert_eq!(failure("(list 1 #!unknown)"), "1:18: read error: unknown directive");
}

#[test]
fn to_exit_leaves_what_was_entered() {
    let program = "
        (define (out x) (lambda () (write x)))
        (dynamic-wind (out 1) (lambda () (dynamic-wind (out 2) (lambda () (exit 3)) (out 4))) (out 5))";
    let (result, output) = run(options(Pace::Usual), program);
    assert_eq!((result, output.as_str()), (Err(Failure::Exit(3)), "1245"));
    let (result, output) = run(options(Pace::Usual), &program.replace("exit", "emergency-exit"));
    assert_eq!((result, output.as_str()), (Err(Failure::Exit(3)), "12"));
    for (form, status) in [("(exit)", 0), ("(exit #t)", 0), ("(exit #f)", 1)] {
        assert_eq!(run(options(Pace::Usual), form).0, Err(Failure::Exit(status)), "{form}");
    }
}

#[test]
fn a_macro_without_an_end_is_an_error() {
    let program = "(define-syntax forever (syntax-rules () ((_ x) (forever (x))))) (forever 1)";
    match run(limited(256 << 20), program).0 {
        Err(Failure::Raised(text)) => assert!(text.contains("without an end"), "{text}"),
        other => assert_eq!(other, Err(Failure::OutOfMemory)),
    }
}

#[test]
fn reading_goes_on_where_it_was_when_memory_was_short() {
    // A datum takes a third of the heap, and the one before is garbage that is not found yet.
    let program = "
        (define items (apply string-append (make-list 30000 \"(1 2) \")))
        (define text (string-append \"(\" items \") end\"))
        (do ((i 0 (+ i 1))) ((= i 10))
          (let* ((port (open-input-string text)) (data (read port)) (end (read port)))
            (write (list (length data) (list-ref data 29999) end))))";
    assert_eq!(output_of(limited(12 << 20), program), "(30000 (1 2) end)".repeat(10));
}

#[test]
fn values_are_told_form_by_form() {
    with_stack(|| {
        let scheme = Interpreter::new(options(Pace::Usual)).unwrap();
        let mut told = Vec::new();
        let program = "(define x 2) (* x 21) \"s\" (values 1 2)";
        assert_eq!(scheme.eval(program, &mut |value| told.push(value.to_string())), Ok(()));
        assert_eq!(told, ["42", "\"s\"", "1 2"]);
        assert!(scheme.is_complete("(+ 1 2)"));
        assert!(!scheme.is_complete("(+ 1 (f \"a)"));
        assert!(scheme.is_complete(")"));
    });
}
