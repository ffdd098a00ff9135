//! The command: its arguments, what it says where, and how it ends.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::{Command, Stdio};

/// What a run of the command wrote, to its output and to its errors, and its status.
fn scheme(arguments: &[&str], input: &str) -> (String, String, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scheme"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has ended already does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn it_talks() {
    let input = "(define x 3)\n(* x\n   14)\n(car 5)\n\"s\"\n(values 1 2)\n(error \"bad\" x)\n(exit 7)\n'no";
    let (output, errors, status) = scheme(&[], input);
    assert_eq!(output, "42\n\"s\"\n1 2\n");
    assert_eq!(errors, "1:1: error: expected a pair, got 5\nerror: bad 3\n");
    assert_eq!(status, 7);
    assert_eq!(scheme(&[], "(display 'end)"), ("end".to_string(), String::new(), 0));
}

#[test]
fn it_evaluates_forms() {
    assert_eq!(scheme(&["-e", "(+ 1 2) (if #f #f) 'x"], "").0, "3\nx\n");
    let (_, errors, status) = scheme(&["-e", "(vector-ref #(1 2) 2)"], "");
    assert!(errors.starts_with("1:1: error:"), "{errors}");
    assert_eq!(status, 70);
}

#[test]
fn it_runs_files_with_arguments() {
    let directory = std::env::temp_dir().join(format!("mallocgc-scheme-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("program.scm");
    std::fs::write(&file, "#!/usr/bin/env scheme\n(write (cdr (command-line)))\n(exit #f)")
        .unwrap();
    let file = file.to_str().unwrap();
    let (output, errors, status) = scheme(&[file, "--stats", "2"], "");
    assert!(output.ends_with("program.scm\" \"--stats\" \"2\")"), "{output}");
    assert_eq!((errors.as_str(), status), ("", 1));
    std::fs::remove_dir_all(&directory).unwrap();
    let (_, errors, status) = scheme(&[file], "");
    assert!(errors.contains("No such file"), "{errors}");
    assert_eq!(status, 70);
}

#[test]
fn it_keeps_to_a_limit_and_tells_what_the_heap_did() {
    let forever = "(define (f l) (f (cons 1 l))) (f '())";
    let (_, errors, status) = scheme(&["--heap-limit", "8M", "-e", forever], "");
    assert_eq!((errors.as_str(), status), ("error: out of memory\n", 70));
    let caught = "(guard (e ((out-of-memory? e) 'caught)) (define (f l) (f (cons 1 l))) (f '()))";
    assert_eq!(scheme(&["--heap-limit", "8M", "-e", caught], "").0, "caught\n");
    let (output, errors, status) = scheme(&["--stats", "-e", "(length (iota 100000))"], "");
    assert_eq!((output.as_str(), status), ("100000\n", 0));
    for word in ["heap: ", "allocated: ", "collections: ", "pauses: "] {
        assert!(errors.contains(word), "{errors}");
    }
}

#[test]
fn it_says_how_it_is_called() {
    for arguments in [&["--unknown"][..], &["--heap-limit"], &["--heap-limit", "x"], &["-e"]] {
        let (_, errors, status) = scheme(arguments, "");
        assert!(errors.starts_with("usage: "), "{errors}");
        assert_eq!(status, 64);
    }
}
