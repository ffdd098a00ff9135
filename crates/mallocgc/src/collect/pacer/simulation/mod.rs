//! The pacer in a world made of numbers: processors that allocate and scan at given
//! rates, objects that survive in given parts, a clock that goes where it is told.
//!
//! A [`World`] runs cycle after cycle; a [`Step`] says what one is like. While marking, time
//! goes in [`Ticks`](TICK_NANOS). In a tick mutators assist as the ratio of its begin demands,
//! and are ideal at it: they share the processors with the workers such that what is
//! scanned is exactly `ratio` times what is allocated, or scan nothing if the workers
//! alone do more than that.

#![forbid(unsafe_code)]

mod changes;
mod edges;
mod scenarios;

use super::PacerSettings;
use super::controller::{Controller, CycleEnd, CycleStart, Progress};
use super::goal::{MemoryUse, ScanWork, Settings};
use super::limiter::{Limiter, Phase};
use super::workers::{BACKGROUND_UTILIZATION, Reason};

const KIB: f64 = 1024.0;
const MIB: u64 = 1 << 20;

const PROCESSORS: u32 = 8;
const TICK_NANOS: f64 = 500_000.0;
const FIRST_LIVE_BYTES: u64 = 256 << 10;
const MIN_HEAP_BYTES: u64 = 4 << 20;

/// What one cycle is like.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// KiB that a mutator allocates in a millisecond of its processor.
    alloc_rate: f64,
    /// KiB that a marker scans in a millisecond of its processor.
    scan_rate: f64,
    /// What lives, as a multiple of what lived in the cycle before.
    growth: f64,
    /// The part of bytes that is scanned.
    scannable: f64,
    /// The part of bytes that is outside the heap.
    external: f64,
    stack_bytes: u64,
}

const STEADY: Step = Step {
    alloc_rate: 33.0,
    scan_rate: 1024.0,
    growth: 1.0,
    scannable: 1.0,
    external: 0.0,
    stack_bytes: 8 << 10,
};

/// What one cycle was like.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    marked_bytes: u64,
    triggered_bytes: u64,
    goal_bytes: u64,
    peak_bytes: u64,
    utilization: f64,
}

impl Cycle {
    fn goal_ratio(&self) -> f64 {
        self.peak_bytes as f64 / self.goal_bytes as f64
    }

    fn runway_bytes(&self) -> f64 {
        (self.goal_bytes - self.triggered_bytes) as f64
    }

    /// Where on the way from marked bytes to the goal the cycle began.
    fn trigger_ratio(&self) -> f64 {
        let way = self.goal_bytes - self.marked_bytes;
        (self.triggered_bytes - self.marked_bytes) as f64 / way as f64
    }
}

struct World {
    controller: Controller,
    /// Kept to, if there is one.
    limiter: Option<Limiter>,
    root_bytes: u64,
    now_nanos: f64,
    /// What the last cycle found alive. What was allocated while it marked is not in it: that
    /// survived unasked.
    live_bytes: Option<u64>,
    scanned_heap_bytes: u64,
}

fn settings(gc_percent: Option<u32>, memory_limit_bytes: u64) -> Settings {
    Settings {
        pacer: PacerSettings {
            gc_percent,
            min_heap_bytes: MIN_HEAP_BYTES,
            heap_limit_bytes: u64::MAX,
        },
        memory_limit_bytes,
    }
}

impl World {
    fn new(settings: Settings) -> World {
        World {
            controller: Controller::new(settings),
            limiter: None,
            root_bytes: 32 << 10,
            now_nanos: 0.0,
            live_bytes: None,
            scanned_heap_bytes: 0,
        }
    }

    /// As many cycles as `steps` gives.
    fn run(&mut self, steps: impl IntoIterator<Item = Step>) -> Vec<Cycle> {
        steps.into_iter().map(|step| self.cycle(step, |_, _| {})).collect()
    }

    /// One cycle, from mutators alone to everything swept. Before each tick `change`
    /// is called with the part of marking that is done.
    fn cycle(&mut self, step: Step, mut change: impl FnMut(f64, &mut Controller)) -> Cycle {
        let memory = |bytes: u64| MemoryUse {
            external_bytes: (bytes as f64 * step.external) as u64,
            ..MemoryUse::default()
        };
        let marked_bytes = self.controller.marked_bytes();
        let pace = self.controller.pace(&memory(marked_bytes));
        let triggered_bytes = pace.trigger_bytes.max(marked_bytes);
        let mut heap = Heap { bytes: triggered_bytes, memory: memory(triggered_bytes) };

        let allocated = (triggered_bytes - marked_bytes) as f64;
        self.now_nanos += allocated / (step.alloc_rate * KIB * f64::from(PROCESSORS)) * 1e6;
        self.stop(Phase::Mark);

        let live_bytes = match self.live_bytes {
            None => FIRST_LIVE_BYTES,
            Some(live_bytes) => (live_bytes as f64 * step.growth) as u64,
        };
        let todo = ScanWork {
            heap_bytes: (live_bytes as f64 * step.scannable) as u64,
            stack_bytes: step.stack_bytes,
            root_bytes: self.root_bytes,
        };
        let scannable_bytes = self.scanned_heap_bytes + (allocated * step.scannable) as u64;
        let begun_nanos = self.now_nanos;
        self.controller.begin_cycle(&CycleStart {
            now_nanos: begun_nanos as u64,
            processors: PROCESSORS,
            reason: Reason::Demand,
            live_bytes: heap.objects(),
            external_bytes: heap.memory.external_bytes,
            most_work: ScanWork { heap_bytes: scannable_bytes, ..todo },
        });

        let mut done = ScanWork::default();
        let mut assist_nanos = 0.0;
        while done != todo {
            let total = todo.total_bytes();
            change(done.total_bytes() as f64 / total as f64, &mut self.controller);
            let progress = Progress { live_bytes: heap.objects(), work: done, memory: heap.memory };
            let utilization = self.utilization(&step, &progress);

            let tick_millis = TICK_NANOS / 1e6 * f64::from(PROCESSORS);
            let can_scan = (step.scan_rate * KIB * tick_millis * utilization) as u64;
            let scanned = can_scan.min(total - done.total_bytes());
            let part = scanned as f64 / can_scan as f64;
            let elapsed_nanos = TICK_NANOS * part;
            let can_allocate = step.alloc_rate * KIB * tick_millis * (1.0 - utilization);

            done = scan(&done, &todo, scanned);
            heap.bytes += (can_allocate * part) as u64;
            heap.memory = memory(heap.bytes);
            let assists = utilization - BACKGROUND_UTILIZATION;
            let assisted_nanos = elapsed_nanos * f64::from(PROCESSORS) * assists;
            assist_nanos += assisted_nanos;
            self.now_nanos += elapsed_nanos;
            if let Some(limiter) = &mut self.limiter {
                limiter.add_assist(assisted_nanos as u64);
                limiter.update(self.now_nanos as u64);
            }
        }
        self.stop(Phase::Off);

        let black_bytes = heap.bytes - triggered_bytes;
        let mut cycle = Cycle {
            marked_bytes,
            triggered_bytes,
            goal_bytes: self.controller.pace(&heap.memory).goal_bytes,
            peak_bytes: heap.bytes,
            utilization: 0.0,
        };
        let survived = live_bytes + black_bytes;
        let external = memory(survived).external_bytes;
        let report = self.controller.finish_cycle(&CycleEnd {
            now_nanos: self.now_nanos as u64,
            live_bytes: heap.objects(),
            external_bytes: heap.memory.external_bytes,
            marked_bytes: survived - external,
            marked_external_bytes: external,
            work: done,
            assist_nanos: assist_nanos as u64,
            idle_nanos: 0,
        });
        cycle.utilization = report.utilization;
        self.controller.finish_sweep();
        self.live_bytes = Some(live_bytes);
        self.scanned_heap_bytes = done.heap_bytes;
        cycle
    }

    /// The part of all processors that marks in this tick.
    fn utilization(&self, step: &Step, progress: &Progress) -> f64 {
        if self.limiter.as_ref().is_some_and(|limiter| limiter.limiting()) {
            return BACKGROUND_UTILIZATION;
        }
        // With the part `u` marking, scan_rate * u is scanned and alloc_rate * (1 - u)
        // allocated. The former shall be `ratio` times the latter.
        let ratio = self.controller.revise(progress).work_per_byte();
        let price = ratio * step.alloc_rate;
        (price / (price + step.scan_rate)).max(BACKGROUND_UTILIZATION)
    }

    fn stop(&mut self, next: Phase) {
        let now_nanos = self.now_nanos as u64;
        if let Some(limiter) = &mut self.limiter {
            limiter.begin_stop(now_nanos, next);
            limiter.finish_stop(now_nanos);
        }
    }
}

struct Heap {
    /// All bytes, external ones included.
    bytes: u64,
    memory: MemoryUse,
}

impl Heap {
    fn objects(&self) -> u64 {
        self.bytes - self.memory.external_bytes
    }
}

/// Scans some more: roots, then stacks, then objects.
fn scan(done: &ScanWork, todo: &ScanWork, scanned_bytes: u64) -> ScanWork {
    let reached = done.total_bytes() + scanned_bytes;
    let root_bytes = reached.min(todo.root_bytes);
    let stack_bytes = (reached - root_bytes).min(todo.stack_bytes);
    ScanWork { root_bytes, stack_bytes, heap_bytes: reached - root_bytes - stack_bytes }
}
