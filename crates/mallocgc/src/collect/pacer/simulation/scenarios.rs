//! The nineteen simulations of Go's `mgcpacer_test.go`, by their names there and with
//! their bounds. The worlds have eight processors.
//!
//! What is random is drawn anew for each of [`SEEDS`], where Go has one sequence.

use core::ops::{Range, RangeInclusive};

use super::super::goal::{LIMIT_HEADROOM_BYTES, LIMIT_HEADROOM_PERCENT};
use super::super::workers::BACKGROUND_UTILIZATION;
use super::{Cycle, KIB, MIB, MIN_HEAP_BYTES, STEADY, Step, World, settings};
use crate::base::random::Random;

const SEEDS: Range<u64> = 0..20;

const MEMORY_LIMIT: u64 = 512 * MIB;
const NO_LIMIT: u64 = u64::MAX;
const ON_GOAL: RangeInclusive<f64> = 0.95..=1.05;
const HARDLY_ASSISTED: RangeInclusive<f64> = BACKGROUND_UTILIZATION..=0.3;

/// Half a percent of the processors.
const HALF_POINT: f64 = 0.005;

/// What remains of the limit for objects, in a world without anything else.
const LIMITED_GOAL: u64 = MEMORY_LIMIT - MEMORY_LIMIT * LIMIT_HEADROOM_PERCENT / 100;
const _: () = assert!(MEMORY_LIMIT * LIMIT_HEADROOM_PERCENT / 100 > LIMIT_HEADROOM_BYTES);

/// Growth that falls from `first` to 1 in so many cycles, and stays there.
fn growth(first: f64, cycles: usize, index: usize) -> f64 {
    first - (first - 1.0) * index.min(cycles) as f64 / cycles as f64
}

/// A number between `-amplitude` and `amplitude`.
pub(super) fn jitter(random: &mut Random, amplitude: f64) -> f64 {
    (random.below(1 << 53) as f64 / (1u64 << 52) as f64 - 1.0) * amplitude
}

/// A number of each cycle is within bounds.
#[track_caller]
fn assert_within(
    cycles: &[Cycle],
    indices: Range<usize>,
    number: impl Fn(&Cycle) -> f64,
    bounds: RangeInclusive<f64>,
) {
    for index in indices {
        let found = number(&cycles[index]);
        let last = &cycles[index.saturating_sub(1)..=index];
        assert!(bounds.contains(&found), "cycle {index}: {found} not in {bounds:?}: {last:#?}");
    }
}

#[track_caller]
fn assert_on_goal(cycles: &[Cycle], indices: Range<usize>, bounds: RangeInclusive<f64>) {
    assert_within(cycles, indices, Cycle::goal_ratio, bounds);
}

#[track_caller]
fn assert_utilization(cycles: &[Cycle], indices: Range<usize>, wanted: f64, error: f64) {
    assert_within(cycles, indices, |cycle| cycle.utilization, wanted - error..=wanted + error);
}

/// Utilization changes by no more than `error` from one cycle to the next.
#[track_caller]
fn assert_even(cycles: &[Cycle], indices: Range<usize>, error: f64) {
    for index in indices {
        assert_utilization(cycles, index..index + 1, cycles[index - 1].utilization, error);
    }
}

/// Nobody assists, every cycle is like the last, and ends at the goal.
#[track_caller]
fn assert_settled(cycles: &[Cycle]) {
    let indices = 24..cycles.len();
    assert_utilization(cycles, indices.clone(), BACKGROUND_UTILIZATION, HALF_POINT);
    assert_even(cycles, indices.clone(), HALF_POINT);
    assert_on_goal(cycles, indices, ON_GOAL);
}

fn world() -> World {
    World::new(settings(Some(100), NO_LIMIT))
}

#[test]
fn steady() {
    let cycles =
        world().run((0..50).map(|index| Step { growth: growth(2.0, 12, index), ..STEADY }));
    assert_settled(&cycles);
}

#[test]
fn steady_big_stacks() {
    let cycles = world().run((0..50).map(|index| Step {
        alloc_rate: 132.0,
        growth: growth(2.0, 12, index),
        // A multiple of 2 KiB, 128 MiB from the eighth cycle on.
        stack_bytes: (2 << 10) + index.min(8) as u64 * (16 << 20),
        ..STEADY
    }));
    assert_settled(&cycles);
}

#[test]
fn steady_big_globals() {
    let mut world = world();
    world.root_bytes = 128 * MIB;
    let cycles = world.run((0..50).map(|index| Step {
        alloc_rate: 132.0,
        growth: growth(2.0, 12, index),
        ..STEADY
    }));
    assert_settled(&cycles);
}

/// What comes before cycle 50 settles, and what comes after it settles again.
#[track_caller]
fn assert_settled_twice(cycles: &[Cycle]) {
    for indices in [24..49, 74..100] {
        assert_even(cycles, indices.clone(), HALF_POINT);
        assert_on_goal(cycles, indices, ON_GOAL);
    }
}

#[test]
fn step_alloc() {
    let cycles = world().run((0..100).map(|index| Step {
        alloc_rate: if index > 50 { 99.0 } else { 33.0 },
        growth: growth(2.0, 12, index),
        ..STEADY
    }));
    assert_settled_twice(&cycles);
}

#[test]
fn heavy_step_alloc() {
    let cycles = world().run((0..100).map(|index| Step {
        alloc_rate: if index > 50 { 363.0 } else { 33.0 },
        growth: growth(2.0, 12, index),
        ..STEADY
    }));
    assert_settled_twice(&cycles);
}

#[test]
fn step_scannable_frac() {
    let cycles = world().run((0..100).map(|index| Step {
        alloc_rate: 128.0,
        growth: growth(2.0, 12, index),
        scannable: if index == 50 { 0.7 } else { 0.2 },
        ..STEADY
    }));
    assert_settled_twice(&cycles);
}

/// In cycle 25 sixteen times as much lives as before. The cycle may pass its goal for
/// that, by what the next goal allows.
#[test]
fn high_gogc() {
    for seed in SEEDS {
        let mut random = Random::new(seed);
        let mut world = World::new(settings(Some(1500), NO_LIMIT));
        let cycles = world.run((0..50).map(|index| Step {
            alloc_rate: 165.0 + jitter(&mut random, 7.0),
            growth: growth(2.0, 12, index)
                + jitter(&mut random, 0.01)
                + if index == 25 { 14.0 } else { 0.0 },
            ..STEADY
        }));
        assert_on_goal(&cycles, 12..25, 0.90..=1.05);
        assert_on_goal(&cycles, 25..26, 0.90..=15.0);
        assert_on_goal(&cycles, 26..50, 0.90..=1.05);
        assert_utilization(&cycles, 12..50, BACKGROUND_UTILIZATION, 0.03);
        assert_even(&cycles, 12..50, 0.03);
    }
}

#[test]
fn osc_alloc() {
    let cycles = world().run((0..50).map(|index| Step {
        alloc_rate: 67.0 + 13.0 * (index as f64 / 8.0 * core::f64::consts::TAU).sin(),
        growth: growth(2.0, 12, index),
        ..STEADY
    }));
    assert_on_goal(&cycles, 12..50, ON_GOAL);
    assert_within(&cycles, 12..50, |cycle| cycle.utilization, HARDLY_ASSISTED);
}

/// An allocation rate and growth that are never the same.
fn jittery(seed: u64, alloc_rate: f64) -> Vec<Cycle> {
    let mut random = Random::new(seed);
    world().run((0..50).map(|index| Step {
        alloc_rate: alloc_rate + jitter(&mut random, alloc_rate / 10.0),
        growth: growth(2.0, 12, index) + jitter(&mut random, 0.01),
        ..STEADY
    }))
}

#[test]
fn jitter_alloc() {
    for seed in SEEDS {
        let cycles = jittery(seed, 132.0);
        assert_on_goal(&cycles, 12..50, ON_GOAL);
        assert_within(&cycles, 12..50, |cycle| cycle.utilization, HARDLY_ASSISTED);
    }
}

#[test]
fn heavy_jitter_alloc() {
    for seed in SEEDS {
        let cycles = jittery(seed, 330.0);
        assert_on_goal(&cycles, 13..50, ON_GOAL);
        assert_even(&cycles, 13..50, 0.05);
        assert_utilization(&cycles, 13..50, cycles[11].utilization, 0.05);
    }
}

/// Hardly anything is allocated and there is hardly anything to scan: trigger and goal
/// come as near to each other as they may.
fn slow_alloc(first_growth: f64, growth_cycles: usize) -> Vec<Cycle> {
    let cycles = world().run((0..50).map(|index| Step {
        alloc_rate: 1.0,
        scan_rate: 2048.0,
        growth: growth(first_growth, growth_cycles, index),
        scannable: 0.01,
        ..STEADY
    }));
    assert_utilization(&cycles, 25..50, BACKGROUND_UTILIZATION, HALF_POINT);
    assert_even(&cycles, 25..50, 0.05);
    assert_utilization(&cycles, 25..50, cycles[11].utilization, 0.05);
    cycles
}

const LATE_TRIGGER: RangeInclusive<f64> = 0.925..=0.975;

#[test]
fn small_heap_slow_alloc() {
    let cycles = slow_alloc(2.0, 3);
    assert_on_goal(&cycles, 4..50, 0.925..=1.025);
    assert_within(&cycles, 4..50, Cycle::trigger_ratio, LATE_TRIGGER);
}

#[test]
fn medium_heap_slow_alloc() {
    let cycles = slow_alloc(2.0, 8);
    assert_on_goal(&cycles, 9..50, 0.925..=1.025);
    assert_within(&cycles, 9..50, Cycle::trigger_ratio, LATE_TRIGGER);
}

#[test]
fn large_heap_slow_alloc() {
    let cycles = slow_alloc(4.0, 12);
    assert_on_goal(&cycles, 13..50, ON_GOAL);
    let (runway, error) = (MIN_HEAP_BYTES as f64, 64.0 * KIB);
    assert_within(&cycles, 13..50, Cycle::runway_bytes, runway - error..=runway + error);
}

/// A world with the memory limit whose growth falls from `first_growth`.
fn limited(gc_percent: Option<u32>, first_growth: f64) -> Vec<Cycle> {
    let mut world = World::new(settings(gc_percent, MEMORY_LIMIT));
    world.run((0..50).map(|index| Step { growth: growth(first_growth, 12, index), ..STEADY }))
}

#[track_caller]
fn assert_goal_is_the_limit(cycles: &[Cycle]) {
    for (index, cycle) in cycles.iter().enumerate() {
        assert_eq!(cycle.goal_bytes, LIMITED_GOAL, "cycle {index}: {cycles:#?}");
    }
}

/// The limit is far away.
#[test]
fn steady_memory_limit() {
    let cycles = limited(Some(100), 2.0);
    assert!(cycles.iter().all(|cycle| cycle.peak_bytes < LIMITED_GOAL), "{cycles:#?}");
    assert_settled(&cycles);
}

#[test]
fn steady_memory_limit_no_gc_percent() {
    let cycles = limited(None, 2.0);
    assert_goal_is_the_limit(&cycles);
    assert_settled(&cycles);
}

/// Several times the limit is alive: the goal cannot be lower than that, and mutators do
/// nothing but assist. (In a heap the limiter prevents it.)
#[track_caller]
fn assert_exceeded(cycles: &[Cycle]) {
    for cycle in &cycles[12..] {
        assert_eq!(cycle.goal_bytes, cycle.marked_bytes, "{cycles:#?}");
    }
    assert_utilization(cycles, 24..50, 1.0, HALF_POINT);
    assert_even(cycles, 24..50, HALF_POINT);
}

#[test]
fn exceed_memory_limit() {
    assert_exceeded(&limited(Some(100), 3.5));
}

#[test]
fn exceed_memory_limit_no_gc_percent() {
    let cycles = limited(None, 3.5);
    assert_goal_is_the_limit(&cycles[..9]);
    assert_exceeded(&cycles);
}

/// Two thirds of the limit are alive.
#[test]
fn maintain_memory_limit() {
    let cycles = limited(Some(100), 3.0);
    assert_goal_is_the_limit(&cycles[12..]);
    assert_settled(&cycles);
}

#[test]
fn maintain_memory_limit_no_gc_percent() {
    let cycles = limited(None, 3.0);
    assert_goal_is_the_limit(&cycles);
    assert_settled(&cycles);
}
