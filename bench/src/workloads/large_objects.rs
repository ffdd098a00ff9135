//! large-objects: blocks of 64 KiB to 64 MiB, 16 of them live, and what stays resident after them.
//!
//! `operations` times a random slot of 16 gets a new zeroed block; a word of each of its pages is written, another
//! one read, which must find zero. Then the blocks are dropped and collected, the program is idle for `idle_millis`
//! milliseconds, and at last asks for everything to be given back: after each step resident memory is a figure.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{Session, collect, set};
use crate::host::resident_bytes;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocFlags, Layout, Mutator, TypeLayout};
use std::ptr::null_mut;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[Case {
    name: "large-objects",
    about: "blocks of 64 KiB to 64 MiB, and what stays resident after them",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("operations", 6), ("idle_millis", 1)],
        Scale::Quick => &[("operations", 100), ("idle_millis", 3_000)],
        Scale::Full => &[("operations", 1_000), ("idle_millis", 3_000)],
    }
}

const SLOTS: usize = 16;
const PAGE_WORDS: usize = 4096 / 8;

/// The slots, as an object: references, then sizes.
#[repr(C)]
struct Slots {
    blocks: [*mut u64; SLOTS],
    pages: [usize; SLOTS],
}

/// Empties a slot; what the pages of its block say goes to `check`.
///
/// # Safety
///
/// `slots` is alive, and blocks in it have as many pages as stands beside them.
unsafe fn drop_block(mutator: &Mutator, slots: *mut Slots, slot: usize, check: &mut Digest) {
    // SAFETY: the caller's promise.
    unsafe {
        let block = (*slots).blocks[slot];
        if block.is_null() {
            return;
        }
        let words = (0..(*slots).pages[slot]).map(|page| *block.add(page * PAGE_WORDS));
        check.add(words.fold(0u64, u64::wrapping_add));
        set(mutator, &raw mut (*slots).blocks[slot], null_mut());
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let session = Session::new()?;
    let mut mutator = session.attach()?;
    let layout = session.layout(&TypeLayout::mask(2 * SLOTS, 0xFFFF))?;
    let slots = mutator.new_object(layout)?;
    mutator.push_root(slots);
    let slots = slots.cast::<Slots>().as_ptr();
    let mut check = Digest::new();
    let mut random = Random::new(8);
    for operation in 0..run.number("operations")? {
        let slot = random.below(SLOTS as u64) as usize;
        let base = (64u64 << 10) << random.below(10);
        let pages = (base / 4096 + random.below(base / 4096 + 1)) as usize;
        // SAFETY: `slots` is a root, filled below.
        unsafe { drop_block(&mutator, slots, slot, &mut check) };
        let block = mutator.mallocgc(pages * 4096, Layout::NOSCAN, AllocFlags::NONE)?;
        let block = block.cast::<u64>().as_ptr();
        let mut dirt = 0;
        // SAFETY: the block is new and has these pages; `slots` is a root.
        unsafe {
            for page in 0..pages {
                block.add(page * PAGE_WORDS).write((operation << 20) + page as u64);
                dirt |= *block.add(page * PAGE_WORDS + PAGE_WORDS / 2);
            }
            set(&mutator, &raw mut (*slots).blocks[slot], block);
            (*slots).pages[slot] = pages;
        }
        check.add(dirt);
        mutator.poll();
    }
    let live = resident_bytes();
    for slot in 0..SLOTS {
        // SAFETY: `slots` is a root, filled above.
        unsafe { drop_block(&mutator, slots, slot, &mut check) };
    }
    collect(&mutator)?;
    let collected = resident_bytes();
    let rest = Duration::from_millis(run.number("idle_millis")?);
    mutator.blocking(|| std::thread::sleep(rest));
    let idle = resident_bytes();
    session.heap.release_memory();
    let trimmed = resident_bytes();
    let mut outcome = session.outcome(check.value());
    outcome.metric("resident_live_bytes", live as f64);
    outcome.metric("resident_collected_bytes", collected as f64);
    outcome.metric("resident_idle_bytes", idle as f64);
    outcome.metric("resident_trimmed_bytes", trimmed as f64);
    Ok(outcome)
}
