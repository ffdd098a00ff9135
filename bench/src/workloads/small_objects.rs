//! small-objects: zeroed objects of 14 sizes, 64 live in a ring, the rest garbage at once.
//!
//! Per size and thread, min(`objects`, `bytes` / size) objects. Pointer-free objects carry their number in the first
//! word, pointerful ones a reference to one anchor; the last word is read while fresh, which must find
//! zero. The `-live` variants do the same beside `live_bytes` of pointer-free memory that stay. The figures
//! are CPU nanoseconds of the process per object: per size, and geometric means over ranges of sizes.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session, object};
use crate::host::Stopwatch;
use crate::random::Digest;
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, AllocFlags, Layout, Mutator, TypeLayout};
use std::ops::RangeInclusive;

const CASE: Case = Case {
    name: "small-objects/pointer-free",
    about: "garbage of 8 B to 32 KiB without references",
    threads: Threads { default: 1, max: 64 },
    parameters,
    reads_input: false,
    measure: Measure::Metric("ns_per_object_geomean"),
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "small-objects/pointerful",
        about: "garbage of 8 B to 32 KiB with a reference each",
        set: None,
        ..CASE
    },
    Case {
        name: "small-objects/pointer-free-live",
        about: "the same as pointer-free, beside a large live heap",
        set: None,
        ..CASE
    },
    Case {
        name: "small-objects/pointerful-live",
        about: "the same as pointerful, beside a large live heap",
        set: None,
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

const SIZES: [usize; 14] = [8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048, 8192, 32768];

const RING_SLOTS: usize = 64;

/// Means over neighbouring sizes, by name.
const GROUPS: [(&str, RangeInclusive<usize>); 5] = [
    ("geomean", 0..=usize::MAX),
    ("8_to_32", 8..=32),
    ("48_to_128", 48..=128),
    ("256_to_2k", 256..=2048),
    ("8k_to_32k", 8192..=32768),
];

/// One size's work.
#[derive(Clone, Copy)]
struct Job {
    class: AllocClass,
    ring: Layout,
    words: usize,
    objects: usize,
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let objects = run.number("objects")? as usize;
    let bytes = run.number("bytes")? as usize;
    let session = Session::new()?;
    let mut mutator = session.attach()?;
    if run.variant().ends_with("-live") {
        let live_bytes = run.number("live_bytes")? as usize;
        let live = mutator
            .mallocgc(live_bytes, Layout::NOSCAN, AllocFlags::NONE)
            .map_err(RunError::failed("live heap"))?;
        mutator.push_root(live);
    }
    let pointerful = run.variant().starts_with("pointerful");
    let work = if pointerful { pointerful_garbage } else { pointer_free_garbage };
    let ring = session.layout(&TypeLayout::mask(RING_SLOTS, !0))?;

    let mut check = Digest::new();
    let mut nanos = Vec::new();
    for size in SIZES {
        let layout = if pointerful {
            let one_reference = TypeLayout::mask(1, 1);
            let layout = one_reference.with_size_bytes(size).map_err(RunError::failed("layout"))?;
            session.layout(&layout)?
        } else {
            Layout::NOSCAN
        };
        let class = mutator.alloc_class(size, layout).map_err(RunError::failed("class"))?;
        let job = Job { class, ring, words: size / 8, objects: objects.min(bytes / size) };
        let clock = Stopwatch::start();
        let sums = session.on_threads(&mut mutator, run.threads, |mutator, _| work(mutator, job));
        nanos.push(clock.cpu_nanos() as f64 / (job.objects * run.threads as usize) as f64);
        for sum in sums {
            check.add(sum);
        }
    }
    let mut outcome = session.outcome(check.value());
    for (size, nanos) in SIZES.iter().zip(&nanos) {
        outcome.metric(format!("ns_per_object_{size}"), *nanos);
    }
    for (name, range) in GROUPS {
        let sizes = SIZES.iter().zip(&nanos).filter(|(size, _)| range.contains(size));
        let logs: Vec<f64> = sizes.map(|(_, nanos)| nanos.ln()).collect();
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        outcome.metric(format!("ns_per_object_{name}"), mean);
    }
    Ok(outcome)
}

/// A ring of references to objects of words, on the root stack.
fn new_ring(mutator: &Mutator, job: Job) -> *mut *mut u64 {
    let ring: *mut *mut u64 = mutator
        .mallocgc(RING_SLOTS * size_of::<*mut u64>(), job.ring, AllocFlags::NONE)
        .or_exhausted();
    mutator.push_root(object(ring));
    ring
}

/// Makes the objects of a job and lets `fill` write and `read` read their first words.
#[inline(always)]
fn make_garbage(
    mutator: &Mutator,
    job: Job,
    fill: impl Fn(*mut u64, u64),
    read: impl Fn(*mut u64) -> u64,
) -> u64 {
    let ring = new_ring(mutator, job);
    let mut sum = 0;
    for i in 0..job.objects {
        let p: *mut u64 = mutator.alloc(job.class).or_exhausted();
        // SAFETY: the object has so many words, all zero.
        sum += unsafe { p.add(job.words - 1).read() };
        fill(p, i as u64);
        // SAFETY: the ring is rooted and has so many slots.
        let slot = unsafe { ring.add(i % RING_SLOTS) };
        // SAFETY: as above.
        let old = unsafe { slot.read() };
        if !old.is_null() {
            sum += read(old);
        }
        // SAFETY: the slot is a reference of a live object.
        unsafe { mutator.write(slot.cast(), p.cast()) };
        mutator.poll();
    }
    for i in 0..RING_SLOTS {
        // SAFETY: as above.
        let old = unsafe { ring.add(i).read() };
        if !old.is_null() {
            sum += read(old);
        }
    }
    sum
}

/// The number i + 1 in each object.
fn pointer_free_garbage(mutator: &mut Mutator, job: Job) -> u64 {
    let base = mutator.root_count();
    let sum = make_garbage(
        mutator,
        job,
        // SAFETY: fresh, and its first word is a plain number.
        |p, i| unsafe { p.write(i + 1) },
        // SAFETY: in the ring, so alive.
        |p| unsafe { p.read() },
    );
    mutator.truncate_roots(base);
    sum
}

/// A reference to the anchor in each object.
fn pointerful_garbage(mutator: &mut Mutator, job: Job) -> u64 {
    let base = mutator.root_count();
    let anchor: *mut u64 = mutator.mallocgc(8, Layout::NOSCAN, AllocFlags::NONE).or_exhausted();
    mutator.push_root(object(anchor));
    // SAFETY: fresh, a word long.
    unsafe { anchor.write(3) };
    let sum = make_garbage(
        mutator,
        job,
        // SAFETY: fresh, and its first word is a reference.
        |p, _| unsafe { mutator.write(p.cast(), anchor.cast()) },
        // SAFETY: in the ring, so alive; its first word is the anchor.
        |p| unsafe { **p.cast::<*mut u64>() },
    );
    mutator.truncate_roots(base);
    sum
}
