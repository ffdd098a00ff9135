//! rust-peer: the workloads of the mallocgc benchmarks in Rust with explicit freeing, on mimalloc or on
//! the system's allocator (a feature each).
//!
//! ```text
//! rust-peer [RUNTIME] WORKLOAD --threads N name=value…
//! ```
//!
//! The runtime is `gc-arena` or `rc`; without one, objects are freed explicitly. It prints one line of JSON. Work, sizes and check values are those of `bench/src/workloads`.

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
mod typed_gc_arena;
mod typed_rc;
#[path = "../../../src/words.rs"]
mod words;

use host::Stopwatch;
use support::{Outcome, Run, fail};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXPLICIT: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "malloc" };
const GC_ARENA: &str = if cfg!(feature = "mimalloc") { "gc-arena-mimalloc" } else { "gc-arena" };

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

const OF_GC_ARENA: &[(&str, Workload)] = &[
    ("typed-trees", typed_gc_arena::trees),
    ("typed-mark", typed_gc_arena::mark),
    ("typed-bytes", typed_gc_arena::bytes),
];

const OF_RC: &[(&str, Workload)] =
    &[("typed-trees", typed_rc::trees), ("typed-bytes", typed_rc::bytes)];

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let (runtime, workloads) = match arguments.first().map(String::as_str) {
        Some("gc-arena") => (GC_ARENA, OF_GC_ARENA),
        Some("rc") => ("rc", OF_RC),
        _ => (EXPLICIT, WORKLOADS),
    };
    if runtime != EXPLICIT {
        arguments.remove(0);
    }
    let run = Run::from_arguments(arguments);
    let name = run.workload.split('/').next().unwrap_or("");
    let Some((_, work)) = workloads.iter().find(|(other, _)| *other == name) else {
        fail(&format!("there is no workload {}", run.workload));
    };
    let watch = Stopwatch::start();
    let outcome = work(&run);
    support::print_report(runtime, &run, &outcome, &watch);
}
