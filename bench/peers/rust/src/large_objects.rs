//! large-objects with explicit freeing.

use crate::host::resident_bytes;
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run};
use std::time::Duration;

const SLOTS: usize = 16;
const PAGE_WORDS: u64 = 4096 / 8;

fn add_pages(block: &[u64], check: &mut Digest) {
    check.add(
        block.iter().step_by(PAGE_WORDS as usize).fold(0, |sum, word| sum.wrapping_add(*word)),
    );
}

fn churn(slots: &mut [Option<Vec<u64>>; SLOTS], operations: u64, check: &mut Digest) {
    let mut random = Random::new(8);
    for operation in 0..operations {
        let slot = &mut slots[random.below(SLOTS as u64) as usize];
        let base = (64 << 10) << random.below(10);
        let pages = base / 4096 + random.below(base / 4096 + 1);
        if let Some(old) = slot.take() {
            add_pages(&old, check);
        }
        let mut block = vec![0u64; (pages * PAGE_WORDS) as usize];
        let mut dirt = 0;
        for page in 0..pages {
            block[(page * PAGE_WORDS) as usize] = (operation << 20) + page;
            dirt |= block[(page * PAGE_WORDS + PAGE_WORDS / 2) as usize];
        }
        check.add(dirt);
        *slot = Some(block);
    }
}

/// Asks the allocator for what it can give back.
fn trim() {
    #[cfg(feature = "mimalloc")]
    {
        unsafe extern "C" {
            safe fn mi_collect(force: bool);
        }
        mi_collect(true);
    }
    #[cfg(not(feature = "mimalloc"))]
    // SAFETY: may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

pub fn run(run: &Run) -> Outcome {
    let mut check = Digest::new();
    let mut slots = [const { None }; SLOTS];
    churn(&mut slots, run.number("operations"), &mut check);
    let mut outcome = Outcome::default();
    outcome.metric("resident_live_bytes", resident_bytes() as f64);
    for slot in &mut slots {
        if let Some(old) = slot.take() {
            add_pages(&old, &mut check);
        }
    }
    outcome.metric("resident_collected_bytes", resident_bytes() as f64);
    std::thread::sleep(Duration::from_millis(run.number("idle_millis")));
    outcome.metric("resident_idle_bytes", resident_bytes() as f64);
    trim();
    outcome.metric("resident_trimmed_bytes", resident_bytes() as f64);
    outcome.check = check.value();
    outcome
}
