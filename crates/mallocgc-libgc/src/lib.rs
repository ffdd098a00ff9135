//! `libgc.so.1`: the binary interface of the Boehm collector on a mallocgc heap.
//!
//! Programs linked against the distribution's library run on this one by
//! `LD_LIBRARY_PATH`. What each name does is in `docs/libgc.md`; why it is built
//! this way, in `docs/design/libgc.md`.
//!
//! One heap serves the process. A thread is inside the heap only while it
//! allocates; a collection closes the gate, waits for those inside, then stops
//! every thread by signal, wherever it is, and scans stacks, registers, data
//! segments and thread-local blocks.
//!
//! Protection: everything but allocation is under one lock (`lock`), which a
//! collection keeps from begin to end. While threads are stopped nothing here
//! calls `malloc`, waits for a lock of libc, or touches a thread-local for the
//! first time; tables are mappings of their own (`table`).
//!
//! Unsafe: each exported function is C's, and what its callers owe is the
//! interface's own contract, so the functions are `unsafe` as a whole and say in
//! comments only what goes beyond that.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
#![allow(missing_docs, unreachable_pub)] // the names are the interface's, documented there
#![allow(non_snake_case, non_upper_case_globals, non_camel_case_types)]

#[macro_use]
mod data;
mod table;
mod lock;
mod tls;
mod say;
mod state;
mod threads;
mod roots;
mod kinds;
mod finalize;
mod alloc;
mod collect;
mod stop;
mod pthread;
mod typed;
mod debug;
mod disclaim;
mod settings;
mod profile;
mod statistics;
mod fork;
mod init;
mod variadic;
