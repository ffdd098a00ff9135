//! A ring of 64 live objects; the rest is freed at once.

use crate::host::Stopwatch;
use crate::random::Digest;
use crate::support::{Outcome, Run};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::hint::black_box;

struct Object<const BYTES: usize>(*mut u64);

impl<const BYTES: usize> Object<BYTES> {
    const LAYOUT: Layout = match Layout::from_size_align(BYTES, 8) {
        Ok(layout) => layout,
        Err(_) => panic!("sizes are small"),
    };

    fn zeroed() -> Self {
        // SAFETY: the size is not zero.
        let p = unsafe { alloc_zeroed(Self::LAYOUT) }.cast();
        Object(p)
    }

    fn word(&self, index: usize) -> u64 {
        assert!(index < BYTES / 8);
        // SAFETY: inside the object, which was zeroed.
        unsafe { self.0.add(index).read() }
    }

    fn set(&self, value: u64) {
        // SAFETY: the object has a first word.
        unsafe { self.0.write(value) }
    }
}

impl<const BYTES: usize> Drop for Object<BYTES> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.0.cast(), Self::LAYOUT) }
    }
}

/// The number i + 1 in each object.
fn pointer_free<const BYTES: usize>(n: u64) -> u64 {
    let mut ring: Box<[Option<Object<BYTES>>; 64]> = black_box(Box::new([const { None }; 64]));
    let mut sum = 0;
    for i in 0..n {
        let object = Object::zeroed();
        sum += object.word(BYTES / 8 - 1);
        object.set(i + 1);
        let slot = &mut ring[(i & 63) as usize];
        if let Some(old) = slot {
            sum += old.word(0);
        }
        *slot = Some(object);
    }
    sum + ring.iter().flatten().map(|old| old.word(0)).sum::<u64>()
}

/// A reference to the anchor in each object.
fn pointerful<const BYTES: usize>(n: u64) -> u64 {
    let mut ring: Box<[Option<Object<BYTES>>; 64]> = black_box(Box::new([const { None }; 64]));
    let anchor: Box<u64> = black_box(Box::new(3));
    let anchor_bits = (&raw const *anchor).expose_provenance() as u64;
    let follow = |object: &Object<BYTES>| -> u64 {
        let p: *const u64 = std::ptr::with_exposed_provenance(object.word(0) as usize);
        // SAFETY: it is the anchor, which lives until we return.
        unsafe { *p }
    };
    let mut sum = 0;
    for i in 0..n {
        let object = Object::zeroed();
        sum += object.word(BYTES / 8 - 1);
        object.set(anchor_bits);
        let slot = &mut ring[(i & 63) as usize];
        if let Some(old) = slot {
            sum += follow(old);
        }
        *slot = Some(object);
    }
    sum + ring.iter().flatten().map(follow).sum::<u64>()
}

type Loop = fn(u64) -> u64;

macro_rules! sizes {
    ($($bytes:literal)*) => {
        [$(($bytes, pointer_free::<$bytes> as Loop, pointerful::<$bytes> as Loop)),*]
    };
}

const SIZES: [(u64, Loop, Loop); 14] = sizes!(8 16 24 32 48 64 96 128 256 512 1024 2048 8192 32768);

pub fn run(run: &Run) -> Outcome {
    let (objects, bytes) = (run.number("objects"), run.number("bytes"));
    let live_bytes = if run.variant().ends_with("-live") { run.number("live_bytes") } else { 0 };
    let live: Vec<u8> = black_box(Vec::with_capacity(live_bytes as usize));
    let mut outcome = Outcome::default();
    let mut check = Digest::new();
    let mut all = Vec::new();
    for (size, free, refs) in SIZES {
        let work = if run.variant().starts_with("pointerful") { refs } else { free };
        let n = objects.min(bytes / size);
        let watch = Stopwatch::start();
        let sums: Vec<u64> = if run.threads == 1 {
            vec![work(n)]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..run.threads).map(|_| scope.spawn(move || work(n))).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            })
        };
        let nanos = watch.cpu_nanos() as f64 / (n * run.threads as u64) as f64;
        for sum in sums {
            check.add(sum);
        }
        outcome.metric(format!("ns_per_object_{size}"), nanos);
        all.push((size, nanos));
    }
    drop(live);
    let mut group = |name: &str, range: std::ops::RangeInclusive<u64>| {
        let logs: Vec<f64> =
            all.iter().filter(|(size, _)| range.contains(size)).map(|(_, n)| n.ln()).collect();
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        outcome.metric(format!("ns_per_object_{name}"), mean);
    };
    group("geomean", 0..=u64::MAX);
    group("8_to_32", 8..=32);
    group("48_to_128", 48..=128);
    group("256_to_2k", 256..=2048);
    group("8k_to_32k", 8192..=32768);
    outcome.check = check.value();
    outcome
}
