//! A small Lisp whose values all live in a heap of [`mallocgc`]: the code of the book in this folder.
//!
//! Each chapter is about a module or two and prints the code of them; `tests/book.rs` sees to it that what is
//! printed is what is here, and that the examples of the chapters are true.
//!
//! | module | chapter |
//! |---|---|
//! | `value` | 1 |
//! | `reader`, `print` | 2 |
//! | `code`, `scope`, `recursive` | 3 |
//! | `machine`, `primitive` | 4, 8, 9 |
//! | `lisp` | 4, 5, 9 |
//! | `table` | 7 |
//! | `weak` | 10 |
//! | `message`, `shared` | 11 |

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "the chapters say what names do not")]

pub mod value;
pub mod reader;
pub mod print;
pub mod code;
pub mod scope;
pub mod recursive;
pub mod machine;
pub mod primitive;
pub mod table;
pub mod weak;
pub mod lisp;
pub mod message;
pub mod shared;

pub use lisp::{Error, Kept, Lisp, Settings};
