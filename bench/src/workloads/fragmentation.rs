//! fragmentation: few survivors everywhere, and sizes that grow.
//!
//! `rounds` times: pointer-free objects are added until `live_bytes` are live, of sizes from 64 bytes (doubled every
//! round) to just below the double; then each object is freed with a probability of nine in ten, and runtimes that
//! collect do so. The figures are peak resident memory over the most live bytes, and the mean of resident
//! memory over live bytes after each freeing.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{Session, collect, set};
use crate::host::{peak_resident_bytes, resident_bytes};
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocFlags, Layout};
use std::ptr::null_mut;

pub(super) const CASES: &[Case] = &[Case {
    name: "fragmentation",
    about: "fill, free nine of ten at random, double the sizes, six times",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("peak_over_live"),
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("live_bytes", 400_000), ("rounds", 6)],
        Scale::Quick => &[("live_bytes", 100_000_000), ("rounds", 6)],
        Scale::Full => &[("live_bytes", 400_000_000), ("rounds", 6)],
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let (target, rounds) = (run.number("live_bytes")?, run.number("rounds")?);
    let session = Session::new()?;
    let mutator = session.attach()?;
    let references = session.references()?;
    let table = mutator.new_array(references, (target / 64 + 1) as usize)?;
    mutator.push_root(table);
    let table = table.cast::<*mut u64>().as_ptr();
    let mut check = Digest::new();
    let mut random = Random::new(11);
    let (mut count, mut live, mut peak, mut number) = (0, 0, 0, 0);
    let mut overhead = 0.0;
    for round in 0..rounds {
        let least = 64u64 << round;
        while live < target {
            let size = (least + random.below(least)) & !7;
            let object = mutator.mallocgc(size as usize, Layout::NOSCAN, AllocFlags::NONE)?;
            let object = object.cast::<u64>().as_ptr();
            // SAFETY: the object is new and has at least 64 bytes; as no object has fewer, the table has a place.
            unsafe {
                object.write(size);
                object.add(1).write(number);
                object.add((size / 8 - 1) as usize).write(number);
                set(&mutator, table.add(count), object);
            }
            number += 1;
            count += 1;
            live += size;
            mutator.poll();
        }
        peak = peak.max(live);
        let mut kept = 0;
        for i in 0..count {
            // SAFETY: the first `count` places of the table, which is a root, hold objects as written above.
            unsafe {
                let object = *table.add(i);
                set(&mutator, table.add(i), null_mut());
                if random.below(10) == 0 {
                    set(&mutator, table.add(kept), object);
                    kept += 1;
                    continue;
                }
                let size = *object;
                check.add(*object.add(1) ^ (*object.add((size / 8 - 1) as usize) << 32));
                live -= size;
            }
        }
        count = kept;
        check.add(live);
        collect(&mutator)?;
        overhead += resident_bytes() as f64 / live as f64;
    }
    let mut outcome = session.outcome(check.value());
    outcome.metric("peak_over_live", peak_resident_bytes() as f64 / peak as f64);
    outcome.metric("freed_over_live", overhead / rounds as f64);
    Ok(outcome)
}
