//! What must not compile: every way that was thought of to take a reference where it may not go, or to hide one from
//! the collector. Each file of `compile-fail` says in its first line which rule it breaks; beside it is what the
//! compiler answers, which is read by people and hence part of the interface.
//!
//! The answers are those of Rust 1.95; another compiler may word them otherwise. `TRYBUILD=overwrite` writes them anew.

#![forbid(unsafe_code)]
// There, the compiler is allowed what is unstable, and says so in some of the answers.
#![cfg(not(mallocgc_asan))]

/// Fewer would mean that some were lost.
const AT_LEAST: usize = 110;

#[test]
fn misuse_does_not_compile() {
    let cases = std::fs::read_dir("tests/compile-fail").unwrap();
    let is_case = |path: &std::path::Path| path.extension().is_some_and(|kind| kind == "rs");
    let count = cases.filter(|case| is_case(&case.as_ref().unwrap().path())).count();
    assert!(count >= AT_LEAST, "{count} cases");
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
