//! Workloads shared by the command, the benches and the tests.
//!
//! A [`Case`] names a piece of deterministic work and its sizes; [`Run`] is one request to do it; the
//! [`RunReport`] it ends in is one line of JSON. Our heap does the work in this crate
//! (`workloads`), the peers do the same work in their own programs under `bench/peers/`. All of them
//! are started with the same arguments,
//!
//! ```text
//! PROGRAM WORKLOAD --threads N name=value…
//! ```
//!
//! and print the same line, so that the catalogue here is the one place where sizes are decided
//! and the check values can be compared.
//!
//! Not here: starting processes, peers, rounds and tables (the `mallocgc` command).

mod case;
mod embed;
mod host;
mod input;
mod latency;
mod random;
mod report;
mod words;
mod workloads;

pub use case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
pub use host::{Stopwatch, resident_bytes};
pub use input::text_files;
pub use latency::{Histogram, OpenLoop};
pub use random::{Digest, Random};
pub use report::{Outcome, RunReport};
pub use workloads::{catalogue, find, select};
