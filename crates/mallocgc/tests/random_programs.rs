//! Random programs against a model of the heap (`support::program`).

mod support;

use mallocgc::raw::{Config, Force, Heap};
use std::sync::{Barrier, Mutex};
use support::program::{Dice, Exchange, Machine, Settings};

/// Seeds of one run; `MALLOCGC_SEEDS=first..last` asks for others.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MALLOCGC_SEEDS") else { return default };
    let (first, last) = text.split_once("..").expect("first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

/// Shorter programs with fewer objects in zeal mode.
fn scaled(settings: Settings) -> Settings {
    if !support::zeal() {
        return settings;
    }
    Settings {
        steps: settings.steps / 10,
        most_objects: settings.most_objects.min(300),
        ..settings
    }
}

fn run(config: Config, seed: u64, settings: Settings) {
    let heap = support::heap_with(config);
    let settings = scaled(settings);
    Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
}

#[test]
fn a_random_program_finds_what_its_model_says() {
    for seed in seeds(0..12) {
        run(support::config(), seed, Settings::default());
    }
}

#[test]
fn a_random_program_survives_collection_at_every_boundary() {
    for seed in seeds(100..104) {
        let config = Config {
            collect_every: 1,
            clobber: support::CLOBBER,
            verify: true,
            ..support::config()
        };
        run(config, seed, Settings { steps: 2000, most_objects: 600, ..Settings::default() });
    }
}

#[test]
fn a_random_program_of_small_objects_reuses_its_cells() {
    for seed in seeds(200..206) {
        let config = Config { min_heap_bytes: 256 << 10, ..support::config() };
        let settings = Settings { steps: 20_000, largest: 2048, ..Settings::default() };
        run(config, seed, settings);
    }
}

#[test]
fn a_random_program_is_marked_by_several_workers() {
    for seed in seeds(250..256) {
        let config = Config { workers: 3, clobber: support::CLOBBER, ..support::config() };
        let settings = Settings { most_objects: 6000, steps: 15_000, ..Settings::default() };
        run(config, seed, settings);
    }
}

#[test]
fn a_random_program_knows_when_finalizers_cleanups_and_weak_handles_act() {
    for seed in seeds(500..508) {
        for workers in [1, 2] {
            let config = Config { background: false, workers, ..support::manual() };
            let settings = scaled(Settings { specials: true, ..Settings::default() });
            let heap = support::heap_with(config);
            Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
            let counts = heap.special_counts();
            assert_ne!(counts.finalizers.executed, 0, "{counts:?}");
            assert_ne!(counts.cleanups.executed, 0, "{counts:?}");
        }
    }
}

#[test]
fn bytes_of_a_fuzzer_are_a_program() {
    let heap = support::heap();
    let mut state = 1u64;
    for length in [0, 1, 2, 5, 100, 3000] {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        Machine::new(&heap, format!("{length} bytes"), Dice::Bytes(&bytes), Settings::default())
            .run();
    }
}

/// Settings under which a heap is marked beside its mutators, however small.
fn beside(seed: u64) -> Config {
    Config {
        concurrent_from_bytes: 0,
        mark_delay_seed: seed,
        clobber: support::CLOBBER,
        ..support::config()
    }
}

/// Two collections leave nothing of what no root leads to.
fn check_empty(heap: &Heap, seed: u64) {
    for _ in 0..2 {
        heap.gc(Force::NowAndSweep).unwrap();
    }
    assert_eq!(heap.stats().heap_objects, 0, "seed {seed}");
}

#[test]
fn a_random_program_steps_its_own_collector() {
    for seed in seeds(600..616) {
        let config = Config { background: false, verify: seed % 2 == 0, ..beside(0) };
        let heap = support::heap_with(config);
        let settings = scaled(Settings {
            steps: 12_000,
            largest: 40 << 10,
            precise: true,
            steps_collector: true,
            ..Settings::default()
        });
        Machine::new(&heap, format!("seed {seed}"), Dice::Seed(seed), settings).run();
        check_empty(&heap, seed);
    }
}

#[test]
fn random_programs_are_marked_beside_their_threads() {
    for (seed, threads) in seeds(700..712).zip([2, 3, 4, 16].into_iter().cycle()) {
        let config = Config { min_heap_bytes: 256 << 10, ..beside(seed) };
        let heap = support::heap_with(config);
        let settings = Settings {
            steps: 24_000 / threads as usize,
            alone: false,
            precise: true,
            collect_one_in: 2000,
            most_objects: 600,
            largest: 20 << 10,
            ..Settings::default()
        };
        run_threads(&heap, threads, seed, settings);
        check_empty(&heap, seed);
    }
}

#[test]
fn random_programs_are_marked_beside_at_every_boundary() {
    for (seed, threads) in seeds(800..804).zip([2, 3, 5, 8].into_iter().cycle()) {
        // The collector is asked for a cycle at every boundary.
        let config = Config { collect_every: 1, verify: true, ..beside(seed) };
        let heap = support::heap_with(config);
        let settings = Settings {
            steps: 6000 / threads as usize,
            alone: false,
            precise: true,
            collect_one_in: 500,
            most_objects: 200,
            largest: 4 << 10,
            ..Settings::default()
        };
        run_threads(&heap, threads, seed, settings);
        check_empty(&heap, seed);
    }
}

/// Runs one machine on each of `threads` threads of one heap; afterwards
/// nothing is left.
fn run_threads(heap: &Heap, threads: u64, seed: u64, settings: Settings) {
    let settings = scaled(settings);
    let exchange: Exchange = Mutex::new(Vec::new());
    let begin = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (exchange, begin) = (&exchange, &begin);
            scope.spawn(move || {
                begin.wait();
                let name = format!("seed {seed} thread {number}");
                let dice = Dice::Seed(seed * 1000 + number);
                Machine::new(heap, name, dice, settings).exchanging(exchange).run();
            });
        }
    });
}

#[test]
fn random_programs_on_several_threads_share_a_heap() {
    for seed in seeds(300..303) {
        let config = Config { min_heap_bytes: 1 << 20, ..support::config() };
        let heap = support::heap_with(config);
        let settings = Settings { alone: false, collect_one_in: 200, ..Settings::default() };
        run_threads(&heap, 4, seed, settings);
    }
}

#[test]
fn random_programs_on_64_threads_share_a_heap() {
    let config = Config { min_heap_bytes: 4 << 20, ..support::config() };
    let heap = support::heap_with(config);
    let settings = Settings {
        steps: 400,
        most_objects: 200,
        alone: false,
        collect_one_in: 400,
        ..Settings::default()
    };
    run_threads(&heap, 64, 400, settings);
}
