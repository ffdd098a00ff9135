//! tiny-strings: pointer-free strings of 1 to 15 bytes, behind one reference each.
//!
//! *garbage*: `strings` of them through a ring of 64. *churn*: each replaces a random one of `window`. *hold*: all
//! are kept, and what matters is how much memory becomes resident per byte of payload while they are
//! made (their slots are touched before). The first and the last byte of a string are written; old strings'
//! first bytes add up to the check value.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

const CASE: Case = Case {
    name: "tiny-strings/garbage",
    about: "strings of 1 to 15 bytes, garbage at once",
    threads: Threads::ONE,
    parameters: garbage,
    reads_input: false,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &Runtime::PEERS,
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "tiny-strings/churn",
        about: "strings of 1 to 15 bytes that replace each other at random",
        parameters: churn,
        representative: false,
        ..CASE
    },
    Case {
        name: "tiny-strings/hold",
        about: "strings of 1 to 15 bytes that all stay: memory per byte",
        parameters: hold,
        measure: Measure::Metric("resident_bytes_per_payload_byte"),
        representative: false,
        ..CASE
    },
];

fn garbage(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000)],
        Scale::Quick => &[("strings", 20_000_000)],
        Scale::Full => &[("strings", 200_000_000)],
    }
}

fn churn(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000), ("window", 1 << 10)],
        Scale::Quick => &[("strings", 4_000_000), ("window", 1 << 20)],
        Scale::Full => &[("strings", 40_000_000), ("window", 1 << 20)],
    }
}

fn hold(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("strings", 10_000)],
        Scale::Quick => &[("strings", 10_000_000)],
        Scale::Full => &[("strings", 40_000_000)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
