//! No number is too large: everything at the edges of `u64`.

use proptest::prelude::*;

use super::super::PacerSettings;
use super::super::controller::{Controller, CycleEnd, CycleStart, Progress};
use super::super::goal::{MemoryUse, ScanWork, Settings};
use super::super::limiter::{Limiter, Phase};
use super::super::workers::Reason;

/// Small, huge, or around a power of two.
fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3u64,
        (u64::MAX - 3)..=u64::MAX,
        (0..64u32, 0..3u64)
            .prop_map(|(bit, near)| (1u64 << bit).wrapping_add(near).wrapping_sub(1)),
        any::<u64>(),
    ]
}

fn work() -> impl Strategy<Value = ScanWork> {
    (edge(), edge(), edge()).prop_map(|(heap_bytes, stack_bytes, root_bytes)| ScanWork {
        heap_bytes,
        stack_bytes,
        root_bytes,
    })
}

fn memory() -> impl Strategy<Value = MemoryUse> {
    (edge(), edge(), edge(), edge()).prop_map(|(mapped, free, allocated, external)| MemoryUse {
        mapped_bytes: mapped,
        free_bytes: free,
        allocated_bytes: allocated,
        external_bytes: external,
    })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let percent = prop_oneof![Just(None), Just(Some(u32::MAX)), (0..1000u32).prop_map(Some)];
    (percent, edge(), edge(), edge()).prop_map(
        |(gc_percent, min_heap_bytes, heap_limit_bytes, memory_limit_bytes)| Settings {
            pacer: PacerSettings { gc_percent, min_heap_bytes, heap_limit_bytes },
            memory_limit_bytes,
        },
    )
}

/// A cycle of nonsense.
#[derive(Clone, Debug)]
struct Nonsense {
    settings: Settings,
    memory: MemoryUse,
    most_work: ScanWork,
    work: ScanWork,
    /// Everything else.
    numbers: [u64; 10],
}

fn nonsense() -> impl Strategy<Value = Nonsense> {
    let numbers = proptest::array::uniform10(edge());
    (any_settings(), memory(), work(), work(), numbers).prop_map(
        |(settings, memory, most_work, work, numbers)| Nonsense {
            settings,
            memory,
            most_work,
            work,
            numbers,
        },
    )
}

fn check_pace(controller: &Controller, memory: &MemoryUse) -> Result<(), TestCaseError> {
    let pace = controller.pace(memory);
    let marked = controller.marked_bytes();
    prop_assert!(pace.goal_bytes >= marked, "{pace:?}, marked {marked}");
    prop_assert!(pace.trigger_bytes >= marked, "{pace:?}, marked {marked}");
    let never = controller.settings().pacer.gc_percent.is_none()
        && controller.settings().memory_limit_bytes == u64::MAX;
    match never {
        true => prop_assert_eq!(pace.trigger_bytes, u64::MAX),
        false => prop_assert!(pace.trigger_bytes <= pace.goal_bytes, "{pace:?}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_controller_overflows_nowhere(cycles in proptest::collection::vec(nonsense(), 1..8)) {
        let mut controller = Controller::new(cycles[0].settings);
        for cycle in &cycles {
            let [now, live, external, then, peak, marked, kept, assisted, idle, processors] =
                cycle.numbers;
            controller.set_settings(cycle.settings);
            check_pace(&controller, &cycle.memory)?;
            let workers = controller.begin_cycle(&CycleStart {
                now_nanos: now,
                processors: processors as u32,
                reason: if processors % 2 == 0 { Reason::Demand } else { Reason::Timer },
                live_bytes: live,
                external_bytes: external,
                most_work: cycle.most_work,
            });
            prop_assert!(workers.dedicated + workers.idle_limit <= workers.processors);
            prop_assert!(workers.dedicated > 0 || workers.fractional_quarters > 0);
            workers.fractional_worker_is_due(assisted, then);
            workers.fractional_worker_is_done(assisted, then);
            check_pace(&controller, &cycle.memory)?;
            for (live_bytes, work) in [(live, ScanWork::default()), (peak, cycle.work)] {
                let ratio = controller.revise(&Progress { live_bytes, work, memory: cycle.memory });
                prop_assert!(ratio.work_per_byte() > 0.0 && ratio.work_per_byte().is_finite());
                prop_assert!(ratio.assist_work(kept) >= ratio.work_for(kept));
            }
            let report = controller.finish_cycle(&CycleEnd {
                now_nanos: then,
                live_bytes: peak,
                external_bytes: external,
                marked_bytes: marked,
                marked_external_bytes: kept,
                work: cycle.work,
                assist_nanos: assisted,
                idle_nanos: idle,
            });
            prop_assert!((0.25..=1.0).contains(&report.utilization));
            prop_assert!(report.cons_mark.is_none_or(|ratio| ratio.is_finite() && ratio >= 0.0));
            check_pace(&controller, &cycle.memory)?;
            controller.finish_sweep();
            check_pace(&controller, &cycle.memory)?;
        }
    }

    #[test]
    fn the_limiter_overflows_nowhere(
        steps in proptest::collection::vec((edge(), edge(), edge(), any::<u32>()), 1..20),
    ) {
        let mut limiter = Limiter::new(steps[0].0, steps[0].3);
        let mut next = Phase::Mark;
        for (now, assist, idle, processors) in steps {
            limiter.add_assist(assist);
            limiter.add_idle(idle);
            match processors % 3 {
                0 => limiter.update(now),
                1 => limiter.resize(now, processors),
                _ => {
                    limiter.begin_stop(now, next);
                    limiter.finish_stop(now.saturating_add(assist));
                    next = if next == Phase::Mark { Phase::Off } else { Phase::Mark };
                }
            }
            prop_assert!(limiter.fill_nanos() <= limiter.capacity_nanos());
            prop_assert!(!limiter.limiting() || limiter.fill_nanos() == limiter.capacity_nanos());
        }
    }
}
