//! Each rule catches its violation in a small tree of files.

use super::*;

/// What `check` finds in a tree of files, one line each.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    check(root.path()).expect("readable files").iter().map(|found| found.to_string()).collect()
}

/// The same, in the library, with the given root.
fn found_in_library(files: &[(&str, &str)]) -> Vec<String> {
    let paths: Vec<String> =
        files.iter().map(|(path, _)| format!("crates/mallocgc/src/{path}")).collect();
    let files: Vec<(&str, &str)> =
        paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)).collect();
    found(&files).into_iter().map(|line| line.replace("crates/mallocgc/src/", "")).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn headers_are_missed() {
    assert_eq!(
        found(&[("a/src/lib.rs", "fn f() {}"), ("target/x.rs", "bad"), ("b.rs", "//! Good.")]),
        ["a/src/lib.rs:1: the file does not open with `//!` (header)"]
    );
}

#[test]
fn left_overs_are_found_even_in_tests() {
    assert_eq!(
        found(&[("a.rs", "//! A.\n#[cfg(test)]\nmod tests { fn f() { todo!() } }\n// todo!()")]),
        ["a.rs:3: `todo!` is left over (left-over)"]
    );
}

#[test]
fn layers_are_used_downwards_only() {
    let root = ("lib.rs", "//! R.\npub mod base;\npub mod os;\npub mod heap;\n");
    assert_eq!(
        found_in_library(&[
            root,
            ("base/mod.rs", "//! B.\nuse crate::os::now;\n"),
            ("os/mod.rs", "//! O.\nuse crate::base::Address;\nfn f() { super::heap::g() }\n"),
            ("heap/mod.rs", "//! H.\nuse crate::{base::Address, os};\n"),
        ]),
        [
            "base/mod.rs:2: layer `base` uses `os`, which is declared after it (layers)",
            "os/mod.rs:3: layer `os` uses `heap`, which is declared after it (layers)",
        ]
    );
    assert_eq!(
        found_in_library(&[
            root,
            (
                "base/mod.rs",
                "//! B.\n#[cfg(test)]\nmod tests { use crate::os::now; }\n\
                 // tidy: allow layers: last words need the terminal\nuse crate::os::write;\n"
            ),
        ]),
        NONE
    );
}

#[test]
fn the_root_declares_layers_in_order() {
    assert_eq!(
        found_in_library(&[("lib.rs", "//! R.\nmod os;\nmod base;\nmod misc;\n")]),
        [
            "lib.rs:1: `base` is declared after `os` (layers)",
            "lib.rs:1: `misc` is no layer (layers)"
        ]
    );
}

#[test]
fn modules_use_those_declared_before_them() {
    let files = [
        ("lib.rs", "//! R.\npub mod base;\npub mod heap;\n"),
        (
            "heap/mod.rs",
            "//! H.\nmod meta;\nmod span;\nmod tiny;\npub use span::{Span, Kind as K};\n",
        ),
        ("heap/meta.rs", "//! M.\nuse super::Span;\nuse crate::heap::tiny::Tiny;\n"),
        ("heap/span.rs", "//! S.\nuse super::meta::Meta;\nuse super::Span;\n"),
        ("heap/tiny/mod.rs", "//! C.\nmod list;\nuse super::Span;\nuse list::List;\n"),
        ("heap/tiny/list.rs", "//! L.\nuse super::super::Span;\nmod m { use super::super::x; }\n"),
    ];
    assert_eq!(
        found_in_library(&files),
        [
            "heap/meta.rs:2: module `meta` uses `span`, which is declared after it (layers)",
            "heap/meta.rs:3: module `meta` uses `tiny`, which is declared after it (layers)",
        ]
    );
}

#[test]
fn knots_are_tied_inside_only() {
    let files = [
        ("heap/mod.rs", "//! H.\nmod span;\nmod space;\nmod sweep;\n"),
        ("heap/span.rs", "//! S.\nuse super::space::Space;\nuse super::sweep::Swept;\n"),
    ];
    assert_eq!(
        found_in_library(&files),
        ["heap/span.rs:3: module `span` uses `sweep`, which is declared after it (layers)"]
    );
}

#[test]
fn heap_and_collector_do_not_allocate() {
    assert_eq!(
        found_in_library(&[
            ("heap/mod.rs", "//! H.\nfn f() -> Vec<u8> { vec![1] }\n#[cfg(test)]\nmod tests;\n"),
            ("heap/tests.rs", "//! T.\nfn f() -> Vec<u8> { vec![1] }\n"),
            ("collect/mod.rs", "//! C.\n// Vec\nfn f() { x.to_string(); }\n"),
            ("layout/mod.rs", "//! L.\n#![forbid(unsafe_code)]\nfn f() -> Vec<u8> { x() }\n"),
        ]),
        [
            "collect/mod.rs:3: `to_string` allocates; records come from `heap::meta` (allocation)",
            "heap/mod.rs:2: `Vec` allocates; records come from `heap::meta` (allocation)",
            "heap/mod.rs:2: `vec` allocates; records come from `heap::meta` (allocation)",
        ]
    );
}

#[test]
fn libc_is_for_os_only() {
    assert_eq!(
        found_in_library(&[
            ("os/mod.rs", "//! O.\nuse libc::mmap;\n"),
            ("heap/mod.rs", "//! H.\nfn f() { unsafe { libc::getpid() }; }\n"),
        ]),
        ["heap/mod.rs:2: only `os` uses `libc` (libc)"]
    );
}

#[test]
fn safe_modules_say_so() {
    assert_eq!(
        found_in_library(&[
            ("layout/mod.rs", "//! L.\n#![forbid(unsafe_code)]\n"),
            ("observe/mod.rs", "//! O.\n"),
            ("collect/pacer.rs", "//! P.\n// #![forbid(unsafe_code)]\n"),
        ]),
        [
            "collect/pacer.rs:1: `#![forbid(unsafe_code)]` is missing (forbid-unsafe)",
            "observe/mod.rs:1: `#![forbid(unsafe_code)]` is missing (forbid-unsafe)",
        ]
    );
}
