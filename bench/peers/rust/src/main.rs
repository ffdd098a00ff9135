//! rust-peer: the workloads of the mallocgc benchmarks in Rust with explicit freeing, on mimalloc or on
//! the system's allocator (a feature each).
//!
//! ```text
//! rust-peer WORKLOAD --threads N name=value…
//! ```
//!
//! It prints one line of JSON. Work, sizes and check values are those of `bench/src/workloads`.

mod binary_trees;
mod blob;
mod fragmentation;
mod gcbench;
#[path = "../../../src/host.rs"]
#[allow(dead_code, reason = "shared with the library, which uses all of it")]
mod host;
mod index;
mod large_objects;
#[path = "../../../src/latency.rs"]
#[allow(dead_code, reason = "shared with the library, which uses all of it")]
mod latency;
mod larson;
mod lru_server;
#[path = "../../../src/random.rs"]
#[allow(dead_code, reason = "shared with the library, which uses all of it")]
mod random;
mod small_objects;
mod support;
mod tiny_strings;
#[path = "../../../src/words.rs"]
mod words;

use host::Stopwatch;
use support::{Outcome, Run, fail};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNTIME: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "malloc" };

type Workload = fn(&Run) -> Outcome;

const WORKLOADS: &[(&str, Workload)] = &[
    ("binary-trees", binary_trees::run),
    ("gcbench", gcbench::run),
    ("larson", larson::run),
    ("small-objects", small_objects::run),
    ("tiny-strings", tiny_strings::run),
    ("lru-server", lru_server::run),
    ("large-objects", large_objects::run),
    ("fragmentation", fragmentation::run),
    ("index", index::run),
];

fn main() {
    let run = Run::from_arguments();
    let name = run.workload.split('/').next().unwrap_or("");
    let Some((_, work)) = WORKLOADS.iter().find(|(other, _)| *other == name) else {
        fail(&format!("there is no workload {}", run.workload));
    };
    let watch = Stopwatch::start();
    let outcome = work(&run);
    support::print_report(RUNTIME, &run, &outcome, &watch);
}
