//! fragmentation with explicit freeing: an object is one pointer, its size is in its first word.

use crate::host::{peak_resident_bytes, resident_bytes};
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run, fail};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::null_mut;

fn layout(size: u64) -> Layout {
    Layout::from_size_align(size as usize, 8).unwrap_or_else(|_| fail("size"))
}

pub fn run(run: &Run) -> Outcome {
    let (target, rounds) = (run.number("live_bytes"), run.number("rounds"));
    let mut check = Digest::new();
    let mut random = Random::new(11);
    let mut table: Vec<*mut u64> = vec![null_mut(); (target / 64 + 1) as usize];
    let (mut count, mut live, mut peak, mut number) = (0, 0, 0, 0);
    let mut overhead = 0.0;
    for round in 0..rounds {
        let least = 64u64 << round;
        while live < target {
            let size = (least + random.below(least)) & !7;
            // SAFETY: the size is at least 64, so these words are the object's own.
            unsafe {
                let object = alloc_zeroed(layout(size)).cast::<u64>();
                if object.is_null() {
                    fail("out of memory");
                }
                *object = size;
                *object.add(1) = number;
                *object.add((size / 8 - 1) as usize) = number;
                table[count] = object;
            }
            number += 1;
            count += 1;
            live += size;
        }
        peak = peak.max(live);
        let mut kept = 0;
        for i in 0..count {
            let object = std::mem::replace(&mut table[i], null_mut());
            if random.below(10) == 0 {
                table[kept] = object;
                kept += 1;
                continue;
            }
            // SAFETY: made above with this size, and in the table no more.
            unsafe {
                let size = *object;
                check.add(*object.add(1) ^ (*object.add((size / 8 - 1) as usize) << 32));
                dealloc(object.cast(), layout(size));
                live -= size;
            }
        }
        count = kept;
        check.add(live);
        overhead += resident_bytes() as f64 / live as f64;
    }
    let mut outcome = Outcome::default();
    outcome.metric("peak_over_live", peak_resident_bytes() as f64 / peak as f64);
    outcome.metric("freed_over_live", overhead / rounds as f64);
    outcome.check = check.value();
    outcome
}
