//! Programs made of a fuzzer's bytes, on a heap, against a model.
//!
//! The first byte says what kind of heap it is; the others are the decisions of
//! the interpreter that the random programs of the tests use, which checks the
//! heap against its model and panics where they differ. How to run it is in
//! `docs/design/fuzzing.md`.

#![no_main]

#[path = "../../crates/mallocgc/tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use mallocgc::raw::{Config, Heap};
use support::program::{Dice, Machine, Settings};

/// What the bits of the first byte turn on.
const EVERY_BOUNDARY: u8 = 1;
const VERIFY: u8 = 1 << 1;
const SPECIALS: u8 = 1 << 2;
const WORKERS: u8 = 1 << 3;
const SMALL: u8 = 1 << 4;
const PROFILE: u8 = 1 << 5;

/// The heap and the machine that the first byte asks for.
fn setting(first: u8) -> (Config, Settings) {
    let has = |bit| first & bit != 0;
    let either = |bit, yes, no| if has(bit) { yes } else { no };
    let config = Config {
        // A heap for each program: its memory should be made quickly.
        reserve_bytes: 256 << 20,
        min_heap_bytes: 128 << 10,
        background: false,
        clobber: support::CLOBBER,
        workers: either(WORKERS, 2, 1),
        verify: has(VERIFY),
        profile_rate: 512 * u64::from(has(PROFILE)),
        ..Config::default()
    };
    let settings = Settings {
        most_objects: 500,
        specials: has(SPECIALS),
        largest: either(SMALL, 2 << 10, 300 << 10),
        ..Settings::default()
    };
    // With specials nobody but the machine may collect.
    let config = match has(SPECIALS) {
        true => Config { gc_percent: None, ..config },
        false => Config { collect_every: u32::from(has(EVERY_BOUNDARY)), ..config },
    };
    (config, settings)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, program)) = bytes.split_first() else { return };
    let (config, settings) = setting(*first);
    let heap = Heap::new(config).expect("a heap is made");
    Machine::new(&heap, format!("{bytes:?}"), Dice::Bytes(program), settings).run();
});
