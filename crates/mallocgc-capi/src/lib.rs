//! The C interface: what `include/mallocgc.h` declares.
//!
//! The header is generated from these files, comments and all (`tests/header.rs`
//! fails when it is out of date). So what a comment on an exported item says is
//! written for who reads C. What is said once for all of them is in
//! `cbindgen.toml`, where it becomes the head of the header.
//!
//! Handles are pointers that stay known when they were freed (`slot`). A function checks what it can: null, freed handles, numbers
//! out of range, the thread of a mutator, a mutator that is in use further up the stack. Panics end in
//! [`guard`](error::guard) and become a code; where there is no code to
//! return the process ends with a message, since functions of C's calling convention
//! do not let panics through.
//!
//! Protection: nothing here is static but windows without a cell (`handle`), the memory of freed handles, and a thread's last error.

#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(clippy::missing_safety_doc, reason = "the head of the header says what callers owe")]

pub mod error;
pub mod trampoline;
mod registers;
mod slot;
pub mod handle;
pub mod config;
pub mod heap;
pub mod limits;
pub mod mutator;
pub mod layout;
pub mod alloc;
pub mod root;
pub mod stack;
pub mod finalizer;
pub mod weak;
pub mod observe;
pub mod walk;
