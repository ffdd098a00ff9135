//! Small heaps, memory outside the heap, settings that change while marking runs, and
//! limits that cannot be met.

use super::super::controller::{Controller, CycleEnd, CycleStart, Progress, SWEEP_DISTANCE_BYTES};
use super::super::goal::{LIMIT_HEADROOM_BYTES, MIN_RUNWAY_BYTES, MemoryUse, ScanWork, Settings};
use super::super::limiter::Limiter;
use super::super::workers::{BACKGROUND_UTILIZATION, Reason};
use super::scenarios::jitter;
use super::{Cycle, KIB, MIB, MIN_HEAP_BYTES, PROCESSORS, STEADY, Step, World, settings};
use crate::base::random::Random;

const NO_LIMIT: u64 = u64::MAX;

/// A controller whose last cycle left so much.
fn after_a_cycle(settings: Settings, marked_bytes: u64, external_bytes: u64) -> Controller {
    let mut controller = Controller::new(settings);
    begin(&mut controller, marked_bytes);
    controller.finish_cycle(&CycleEnd {
        now_nanos: 1_000_000,
        live_bytes: marked_bytes,
        external_bytes,
        marked_bytes,
        marked_external_bytes: external_bytes,
        work: ScanWork { heap_bytes: marked_bytes, ..ScanWork::default() },
        assist_nanos: 0,
        idle_nanos: 0,
    });
    controller.finish_sweep();
    controller
}

/// Everything that is live might be scanned.
fn begin(controller: &mut Controller, live_bytes: u64) {
    controller.begin_cycle(&CycleStart {
        now_nanos: 0,
        processors: PROCESSORS,
        reason: Reason::Demand,
        live_bytes,
        external_bytes: 0,
        most_work: ScanWork { heap_bytes: live_bytes, ..ScanWork::default() },
    });
}

fn goal(controller: &Controller) -> u64 {
    controller.pace(&MemoryUse::default()).goal_bytes
}

#[test]
fn the_minimum_heap_is_scaled_by_the_percentage() {
    for percent in [1, 10, 50, 100, 400] {
        let minimum = MIN_HEAP_BYTES * u64::from(percent) / 100;
        for live in [0, 1, 10 << 10, MIB, 3 * MIB, 5 * MIB, 100 * MIB] {
            let controller = after_a_cycle(settings(Some(percent), NO_LIMIT), live, 0);
            let grown = live + live * u64::from(percent) / 100;
            assert_eq!(goal(&controller), grown.max(minimum), "{percent} %, {live}");
        }
    }
}

/// Of a program that keeps nothing, cycles come about as often as it allocates the minimum
/// heap, and each leaves mutators alone.
#[test]
fn a_heap_below_the_minimum_is_collected_at_the_minimum() {
    let mut world = World::new(settings(Some(100), NO_LIMIT));
    let cycles = world.run((0..50).map(|_| Step { scannable: 0.5, ..STEADY }));
    for cycle in &cycles[5..] {
        assert_eq!(cycle.goal_bytes, MIN_HEAP_BYTES);
        assert!(cycle.trigger_ratio() >= 0.7 && cycle.goal_ratio() <= 1.05, "{cycle:?}");
        assert!(cycle.utilization < BACKGROUND_UTILIZATION + 0.005, "{cycle:?}");
    }
}

/// With 0 percent a cycle begins where the last one left off, at once, and has some
/// room.
#[test]
fn zero_percent_always_collects() {
    let mut controller = after_a_cycle(settings(Some(0), NO_LIMIT), MIB, 0);
    let pace = controller.pace(&MemoryUse::default());
    assert_eq!((pace.goal_bytes, pace.trigger_bytes), (MIB, MIB));
    begin(&mut controller, MIB);
    assert_eq!(goal(&controller), MIB + MIN_RUNWAY_BYTES);
}

#[test]
fn off_and_without_a_limit_no_cycle_begins() {
    let controller = after_a_cycle(settings(None, NO_LIMIT), MIB, 0);
    assert_eq!(controller.pace(&MemoryUse::default()).trigger_bytes, u64::MAX);
}

#[test]
fn stacks_and_roots_make_the_way_longer() {
    let mut controller = Controller::new(settings(Some(50), NO_LIMIT));
    let work = ScanWork { heap_bytes: 6 * MIB, stack_bytes: MIB, root_bytes: 3 * MIB };
    controller.begin_cycle(&CycleStart {
        now_nanos: 0,
        processors: 1,
        reason: Reason::Demand,
        live_bytes: 0,
        external_bytes: 0,
        most_work: ScanWork { stack_bytes: 5 * MIB, ..work },
    });
    controller.finish_cycle(&CycleEnd {
        now_nanos: 0,
        live_bytes: 6 * MIB,
        external_bytes: 0,
        marked_bytes: 6 * MIB,
        marked_external_bytes: 0,
        work,
        assist_nanos: 0,
        idle_nanos: 0,
    });
    assert_eq!(goal(&controller), 6 * MIB + (6 + 1 + 3) * MIB / 2);
}

/// Until all is swept the trigger leaves allocation room to sweep in, even where the goal
/// would be nearer; not so under a limit.
#[test]
fn sweeping_has_room() {
    let finish = |memory_limit| {
        let mut controller = after_a_cycle(settings(Some(1), memory_limit), 32 * MIB, 0);
        begin(&mut controller, 32 * MIB);
        let end = CycleEnd {
            now_nanos: 0,
            live_bytes: 32 * MIB,
            external_bytes: 0,
            marked_bytes: 32 * MIB,
            marked_external_bytes: 0,
            work: ScanWork::default(),
            assist_nanos: 0,
            idle_nanos: 0,
        };
        controller.finish_cycle(&end);
        controller
    };
    let mut controller = finish(NO_LIMIT);
    let pace = controller.pace(&MemoryUse::default());
    assert_eq!(pace.trigger_bytes, 32 * MIB + SWEEP_DISTANCE_BYTES);
    assert_eq!(pace.goal_bytes, pace.trigger_bytes);
    controller.finish_sweep();
    assert!(goal(&controller) < pace.goal_bytes);
    assert_eq!(goal(&finish(16 * MIB)), 32 * MIB);
}

/// What is outside the heap counts like what is in it, but for scanning.
#[test]
fn external_bytes_grow_the_goal_and_reach_the_trigger() {
    let controller = after_a_cycle(settings(Some(100), NO_LIMIT), 2 * MIB, 98 * MIB);
    let pace = controller.pace(&MemoryUse::default());
    assert_eq!(pace.goal_bytes, 200 * MIB);
    assert!(pace.trigger_bytes < pace.goal_bytes);
}

/// The same world, with its bytes elsewhere: the same cycles.
#[test]
fn external_bytes_pace_as_bytes_of_the_heap_do() {
    let run = |external| {
        let mut world = World::new(settings(Some(100), NO_LIMIT));
        let growth = |index: usize| if index < 10 { 1.8 } else { 1.0 };
        let step = |index| Step { growth: growth(index), scannable: 0.1, external, ..STEADY };
        world.run((0..50).map(step))
    };
    let (inside, outside) = (run(0.0), run(0.9));
    for (index, (inside, outside)) in inside.iter().zip(&outside).enumerate() {
        let same = |one: u64, other: u64| one.abs_diff(other) <= 16;
        assert!(
            same(inside.goal_bytes, outside.goal_bytes)
                && same(inside.triggered_bytes, outside.triggered_bytes)
                && same(inside.peak_bytes, outside.peak_bytes),
            "cycle {index}: {inside:?} {outside:?}"
        );
    }
}

/// The memory limit is on all memory, external included: of 64 MiB tables take four; what is
/// left, less the headroom, is for objects and what they keep outside.
#[test]
fn external_bytes_count_against_the_memory_limit() {
    let memory = MemoryUse {
        mapped_bytes: 18 * MIB,
        free_bytes: 4 * MIB,
        allocated_bytes: 10 * MIB,
        external_bytes: 40 * MIB,
    };
    let controller = after_a_cycle(settings(None, 64 * MIB), 10 * MIB, 40 * MIB);
    let left = 60 * MIB;
    let headroom = left * 3 / 100;
    assert!(headroom > LIMIT_HEADROOM_BYTES);
    assert_eq!(controller.pace(&memory).goal_bytes, left - headroom);

    // Some of it is given back: objects may take its place.
    let memory = MemoryUse { external_bytes: 20 * MIB, ..memory };
    assert_eq!(controller.pace(&memory).goal_bytes, left - headroom);
    // Twenty MiB above the limit: so much should come back, but what lives lives.
    let memory = MemoryUse { external_bytes: 66 * MIB, ..memory };
    assert_eq!(controller.pace(&memory).goal_bytes, 50 * MIB);
}

#[test]
fn a_buffer_that_shrinks_while_marking_gives_runway_back() {
    let mut controller = after_a_cycle(settings(Some(100), NO_LIMIT), 50 * MIB, 50 * MIB);
    begin(&mut controller, 180 * MIB);
    let ratio = |external_bytes| {
        let memory = MemoryUse { external_bytes, ..MemoryUse::default() };
        let progress = Progress { live_bytes: 100 * MIB, memory, ..Progress::default() };
        controller.revise(&progress).work_per_byte()
    };
    assert!(ratio(40 * MIB) < ratio(80 * MIB));
    assert!(ratio(0) < ratio(40 * MIB));
}

/// The settings of the 30th cycle change when half of it is done.
fn change_in_mid_cycle(first: Settings, then: Settings) -> Vec<Cycle> {
    let mut world = World::new(first);
    let step = |index| Step { growth: if index < 10 { 1.9 } else { 1.0 }, ..STEADY };
    (0..60)
        .map(|index| {
            world.cycle(step(index), |done, controller| {
                if index == 30 && done >= 0.5 {
                    controller.set_settings(then);
                }
            })
        })
        .collect()
}

/// Lower, and the cycle already running assists to end below the new goal; the heap
/// keeps to it from then on.
#[test]
fn a_limit_lowered_in_mid_cycle_holds_at_once() {
    let unlimited = settings(Some(400), NO_LIMIT);
    let before = change_in_mid_cycle(unlimited, unlimited);
    let at_rest = before[59].peak_bytes;
    let limit =
        before[30].triggered_bytes + 3 * (before[30].peak_bytes - before[30].triggered_bytes) / 5;
    let cycles = change_in_mid_cycle(unlimited, settings(Some(400), limit));
    assert!(cycles[29].peak_bytes > limit, "{:?}", cycles[29]);
    assert!(cycles[30].goal_bytes < limit, "{:?}", cycles[30]);
    assert!(cycles[30].utilization > before[30].utilization + 0.01, "{:?}", cycles[30]);
    for cycle in &cycles[31..] {
        assert!(cycle.peak_bytes <= limit && at_rest > limit, "{cycle:?}");
    }
    assert!(cycles[59].utilization < BACKGROUND_UTILIZATION + 0.005, "{:?}", cycles[59]);
}

#[test]
fn a_limit_raised_in_mid_cycle_ends_assists() {
    let (tight, wide) = (settings(Some(100), 165 * MIB), settings(Some(100), NO_LIMIT));
    let before = change_in_mid_cycle(tight, tight);
    let cycles = change_in_mid_cycle(tight, wide);
    assert!(cycles[30].goal_bytes > before[30].goal_bytes, "{:?}", cycles[30]);
    for cycle in &cycles[35..] {
        assert!((0.95..=1.05).contains(&cycle.goal_ratio()), "{cycle:?}");
        assert!(cycle.goal_bytes > 165 * MIB, "{cycle:?}");
    }
}

#[test]
fn a_percentage_changed_in_mid_cycle_moves_the_goal() {
    let first = settings(Some(100), NO_LIMIT);
    for percent in [Some(20), Some(300), None] {
        let cycles = change_in_mid_cycle(first, settings(percent, 300 * MIB));
        for cycle in &cycles[34..] {
            let wanted = match percent {
                Some(20) => cycle.marked_bytes * 6 / 5..cycle.marked_bytes * 5 / 4,
                _ => 300 * MIB * 97 / 100..300 * MIB,
            };
            assert!(wanted.contains(&cycle.goal_bytes), "{percent:?} {cycle:?}");
            assert!((0.93..=1.05).contains(&cycle.goal_ratio()), "{percent:?} {cycle:?}");
        }
    }
}

/// By a mean of five, or the last alone, it would be a fifth of the cycles.
#[test]
fn a_noisy_ratio_makes_mutators_assist_in_few_cycles() {
    let mut assisted = 0;
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut world = World::new(settings(Some(100), NO_LIMIT));
        let cycles = world.run((0..60).map(|index| Step {
            growth: if index < 12 { 1.7 } else { 1.0 },
            alloc_rate: 132.0 + jitter(&mut random, 13.2),
            ..STEADY
        }));
        let assists = |cycle: &&Cycle| cycle.utilization > BACKGROUND_UTILIZATION + 0.01;
        assisted += cycles[20..].iter().filter(assists).count();
    }
    assert!(assisted < 50 * 40 / 20, "{assisted} of {}", 50 * 40);
}

/// One cycle in which much was allocated is remembered for as many as are kept.
#[test]
fn a_burst_is_remembered_for_five_cycles() {
    let mut world = World::new(settings(Some(100), NO_LIMIT));
    let step = |index| Step {
        growth: if index < 10 { 2.0 } else { 1.0 },
        alloc_rate: if index == 20 { 80.0 } else { 10.0 },
        ..STEADY
    };
    let cycles = world.run((0..30).map(step));
    let runways: Vec<f64> = cycles.iter().map(Cycle::runway_bytes).collect();
    for (index, &runway) in runways.iter().enumerate().skip(12) {
        let long = runway > 2.0 * runways[12];
        assert_eq!(long, (21..=25).contains(&index), "cycle {index}: {runways:?}");
    }
}

/// Idle workers scan in time that mutators may want the next time.
#[test]
fn the_ratio_counts_idle_workers_as_markers() {
    let ratio = |assist_nanos, idle_nanos| {
        let mut controller = after_a_cycle(settings(Some(100), NO_LIMIT), 8 * MIB, 0);
        begin(&mut controller, 16 * MIB);
        let report = controller.finish_cycle(&CycleEnd {
            now_nanos: 1000,
            live_bytes: 18 * MIB,
            external_bytes: 0,
            marked_bytes: 8 * MIB,
            marked_external_bytes: 0,
            work: ScanWork { heap_bytes: 8 * MIB, ..ScanWork::default() },
            assist_nanos,
            idle_nanos,
        });
        (report.utilization, report.cons_mark.unwrap())
    };
    // Eight processors for 1000 ns. Two MiB allocated, eight scanned.
    assert_eq!(ratio(0, 0), (0.25, (2.0 / 0.75) / (8.0 / 0.25)));
    assert_eq!(ratio(2000, 0), (0.5, (2.0 / 0.5) / (8.0 / 0.5)));
    assert_eq!(ratio(0, 2000), (0.25, (2.0 / 0.75) / (8.0 / 0.5)));
}

/// More is scanned than the last cycle lets expect: the goal gives way, but no further than
/// the next one will be. Then a jump beyond that, and a tenth more has to do.
#[test]
fn overshoot_is_capped() {
    let mut controller = after_a_cycle(settings(Some(100), NO_LIMIT), 100 * MIB, 0);
    let triggered = 180 * MIB;
    begin(&mut controller, triggered);
    let ratio = |live_bytes, scanned_bytes| {
        let work = ScanWork { heap_bytes: scanned_bytes, ..ScanWork::default() };
        let progress = Progress { live_bytes, work, memory: MemoryUse::default() };
        controller.revise(&progress).work_per_byte()
    };
    let close = |found: f64, wanted: f64| {
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found}, not {wanted}");
    };
    // As expected: 100 MiB to scan in the 20 before the goal.
    close(ratio(triggered, 0), 5.0);
    // All 180 MiB seem to be alive: 80 more to scan, 36 of runway from the trigger.
    close(ratio(triggered, 100 * MIB + 1), 80.0 / 36.0);
    // Beyond the runway so extended there is a tenth of it all.
    close(ratio(217 * MIB, 100 * MIB + 1), 80.0 / (216.0 * 1.1 - 217.0));
    // And in the end a cycle that cannot keep up makes allocation cost a scan of all.
    close(ratio(400 * MIB, 0), 180.0 * MIB as f64);
    // Nearly done is never for nothing.
    close(ratio(190 * MIB, 180 * MIB), 1000.0 / (26.0 * MIB as f64));
}

/// However much more there is to scan, the goal is not put off further than to the goal
/// after the next.
#[test]
fn the_extended_goal_is_bounded_by_the_next() {
    let mut controller = after_a_cycle(settings(Some(50), NO_LIMIT), 100 * MIB, 0);
    controller.begin_cycle(&CycleStart {
        now_nanos: 0,
        processors: PROCESSORS,
        reason: Reason::Demand,
        live_bytes: 140 * MIB,
        external_bytes: 0,
        most_work: ScanWork { heap_bytes: 10_000 * MIB, ..ScanWork::default() },
    });
    let work = ScanWork { heap_bytes: 101 * MIB, ..ScanWork::default() };
    let progress = Progress { live_bytes: 140 * MIB, work, memory: MemoryUse::default() };
    let runway = controller.revise(&progress).bytes_for(9_899 * MIB);
    assert_eq!(runway, 225 * MIB - 140 * MIB);
}

/// A limit far below what lives, and an allocation rate that would fill it at once.
/// Without the limiter mutators would only assist. With it, and its bucket being eight
/// processor seconds, the collector has half of the time.
#[test]
fn the_limiter_ends_a_death_spiral() {
    for gc_percent in [Some(100), None] {
        let mut world = World::new(settings(gc_percent, 64 * MIB));
        world.limiter = Some(Limiter::new(0, PROCESSORS));
        let step = |index| Step { growth: if index < 10 { 2.0 } else { 1.0 }, ..STEADY };
        let mut collected_nanos = 0.0;
        let mut allocated_bytes = 0;
        for index in 0..400 {
            let begun_nanos = world.now_nanos;
            let cycle = world.cycle(step(index), |_, _| {});
            allocated_bytes += cycle.peak_bytes - cycle.marked_bytes;
            collected_nanos += (world.now_nanos - begun_nanos) * cycle.utilization;
        }
        // Seconds of the wall clock: half of the time, and the bucket.
        let (seconds, collected) = (world.now_nanos / 1e9, collected_nanos / 1e9);
        assert!(seconds > 10.0, "{seconds} s");
        assert!(collected <= seconds / 2.0 + 1.1, "{collected} of {seconds} s");
        // So mutators have the other half to allocate in.
        let rate = STEADY.alloc_rate * KIB * 1000.0 * f64::from(PROCESSORS);
        let allocated = allocated_bytes as f64 / rate;
        assert!(allocated >= seconds / 2.0 - 1.1, "{allocated} of {seconds} s");
    }
}
