//! larson: packets of blocks handed between threads, so that blocks die elsewhere than they were made.
//!
//! Twice as many packets as threads wait in one queue. A turn takes a packet, replaces blocks in 10,000 of its 4,096
//! slots (chosen at random) by zeroed pointer-free ones of 16 to 512 bytes, tagged in the first word, and
//! gives the packet back. `turns` turns in all, shared evenly between the packets. Each packet has a random stream of
//! its own, so that the result does not depend on who works on it.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Threads};
use crate::report::Outcome;

pub(super) const CASES: &[Case] = &[Case {
    name: "larson",
    about: "blocks of 16 to 512 bytes handed between threads",
    threads: Threads { default: 2, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    representative: true,
    peers: &Runtime::PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("turns", 8)],
        Scale::Quick => &[("turns", 320)],
        Scale::Full => &[("turns", 3_200)],
    }
}

fn run(_run: &Run) -> Result<Outcome, RunError> {
    Err(RunError::NotAvailable)
}
