//! small-objects: zeroed objects of 14 sizes, 64 live in a ring, the rest garbage at once.
//!
//! Per size and thread, min(`objects`, `bytes` / size) objects. Pointer-free objects carry their number in the first
//! word, pointerful ones a reference to one anchor; the last word is read while fresh, which must find
//! zero. The `-live` variants do the same beside `live_bytes` of pointer-free memory that stay. The figures
//! are CPU nanoseconds of the process per object: per size, and geometric means over ranges of sizes.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

const CASE: Case = Case {
    name: "small-objects/pointer-free",
    about: "garbage of 8 B to 32 KiB without references",
    threads: Threads { default: 1, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::Metric("ns_per_object_geomean"),
    representative: true,
    peers: &Runtime::PEERS,
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "small-objects/pointerful",
        about: "garbage of 8 B to 32 KiB with a reference each",
        representative: false,
        ..CASE
    },
    Case {
        name: "small-objects/pointer-free-live",
        about: "the same as pointer-free, beside a large live heap",
        representative: false,
        ..CASE
    },
    Case {
        name: "small-objects/pointerful-live",
        about: "the same as pointerful, beside a large live heap",
        representative: false,
        ..CASE
    },
];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 1_000), ("bytes", 1 << 20), ("live_bytes", 1 << 20)],
        Scale::Quick => &[("objects", 2_500_000), ("bytes", 128 << 20), ("live_bytes", 256 << 20)],
        Scale::Full => &[("objects", 10_000_000), ("bytes", 512 << 20), ("live_bytes", 256 << 20)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
