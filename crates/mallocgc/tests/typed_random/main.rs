//! Random programs through the safe interface, against a model (`machine`).
//!
//! The tests that run by themselves take some seconds together. A long run, of fourteen million operations:
//! `cargo test --release -p mallocgc --test typed_random -- --ignored`. `MALLOCGC_SEEDS=first..last` asks for other seeds.

#![forbid(unsafe_code)]

mod machine;
mod model;
mod world;

use machine::{Machine, Parcel, Settings};
use mallocgc::raw::Config;
use mallocgc::typed::{Cx, Gc, Heap, Mutator, Root, Shared, SharedHeap, Slot};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use world::shared::Cons;
use world::{Form, LocalWorld, SharedWorld};

fn zeal() -> bool {
    std::env::var_os("MALLOCGC_ZEAL").is_some()
}

/// Small heaps, so that cycles are many; dead cells are overwritten.
fn config() -> Config {
    Config {
        reserve_bytes: 8 << 30,
        min_heap_bytes: 128 << 10,
        clobber: 0xdead_beef_dead_beef,
        // Tests share processors with other tests: late is not stuck.
        stop_limit: Duration::from_secs(60),
        collect_every: if zeal() { 3 } else { 0 },
        verify: zeal(),
        ..Config::default()
    }
}

/// Marked beside the mutators whenever its types allow it.
fn beside(seed: u64) -> Config {
    Config { concurrent_from_bytes: 0, mark_delay_seed: seed, ..config() }
}

/// `MALLOCGC_SEEDS`, or some.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MALLOCGC_SEEDS") else { return default };
    let (first, last) = text.split_once("..").expect("first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

fn scaled(settings: Settings) -> Settings {
    let operations = settings.operations / if zeal() { 5 } else { 1 };
    Settings { operations, ..settings }
}

/// Many boundaries, few roots and much behind them; the marker is rarely waited for.
fn by_mask() -> Settings {
    Settings {
        forms: &Form::BY_MASK,
        batch: 10,
        most_objects: 1000,
        most_roots: 12,
        collect_one_in: 1000,
        check_every: 1000,
        ..Settings::default()
    }
}

// --- one thread ------------------------------------------------------------

fn run_local(config: Config, seed: u64, settings: Settings) {
    let heap = Heap::new(config).unwrap();
    let mut machine =
        Machine::<LocalWorld>::new(&heap, format!("seed {seed}"), seed, 0, scaled(settings));
    while !machine.is_done() {
        if machine.step() {
            check_local(&heap, &mut machine, seed);
        }
    }
    check_local(&heap, &mut machine, seed);
    // What is alive is dropped with the heap.
    let drops = machine.into_drops();
    drop(heap);
    assert!(drops.iter().all(|drops| drops.load(Relaxed) == 1), "seed {seed}");
}

fn check_local(heap: &Heap, machine: &mut Machine<'_, LocalWorld>, seed: u64) {
    heap.collect();
    machine.check_dead();
    // Cells of what was dropped.
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, machine.objects() as u64, "seed {seed}");
    machine.compare_all();
}

#[test]
fn a_program_of_one_thread_finds_what_its_model_says() {
    for seed in seeds(0..8) {
        run_local(config(), seed, Settings::default());
    }
}

#[test]
fn a_program_of_one_thread_survives_collection_at_every_boundary() {
    for seed in seeds(100..104) {
        let config = Config { collect_every: 1, verify: true, ..config() };
        let settings = Settings { operations: 5_000, most_objects: 200, ..Settings::default() };
        run_local(config, seed, settings);
    }
}

#[test]
fn a_program_of_one_thread_is_marked_by_several_workers() {
    for seed in seeds(200..203) {
        run_local(Config { workers: 3, ..config() }, seed, Settings::default());
    }
}

#[test]
fn a_program_of_one_thread_is_marked_beside_it() {
    for seed in seeds(300..304) {
        // The collector is asked for a cycle at every boundary, or at some.
        for collect_every in [1, 10] {
            let config = Config { collect_every, ..beside(seed) };
            run_local(config, seed, by_mask());
        }
    }
}

/// Types of both sorts: a cycle is in one stop from the first of the other sort on.
#[test]
fn a_heap_that_may_no_longer_be_marked_beside_its_thread_is_not() {
    for seed in seeds(400..402) {
        run_local(beside(seed + 1), seed, Settings::default());
    }
}

// --- threads ---------------------------------------------------------------

/// A barrier at which everybody fails if one has.
#[derive(Default)]
struct Meeting {
    state: Mutex<(usize, usize)>,
    changed: Condvar,
    threads: usize,
}

/// The round of a meeting at which somebody has failed.
const FAILED: usize = usize::MAX;

impl Meeting {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        let (arrived, round) = &mut *state;
        assert_ne!(*round, FAILED, "another thread has failed");
        *arrived += 1;
        if *arrived == self.threads {
            (*arrived, *round) = (0, *round + 1);
            self.changed.notify_all();
            return;
        }
        let round = *round;
        while state.1 == round {
            state = self.changed.wait(state).unwrap();
        }
        assert_ne!(state.1, FAILED, "another thread has failed");
    }
}

/// Lets a meeting fail with its thread.
struct Attendance<'a>(&'a Meeting);

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().unwrap_or_else(PoisonError::into_inner).1 = FAILED;
            self.0.changed.notify_all();
        }
    }
}

type Board = Gc<'static, [Slot<Option<Gc<'static, Cons<'static>>>>]>;

/// Places of a board.
const PLACES: usize = 16;

/// What the threads share.
struct Common {
    heap: SharedHeap,
    /// Slots that everybody reads and writes: chains whose numbers fall by one, down to a multiple of eight.
    board: Root<Board>,
    parcels: Mutex<VecDeque<Parcel<SharedWorld>>>,
    meeting: Meeting,
    /// Cells that the threads' own objects take.
    objects: Mutex<usize>,
    /// How often objects were dropped.
    drops: Mutex<Vec<Arc<AtomicU32>>>,
}

/// Reads or writes places of the board.
fn use_board<'gc>(common: &Common, machine: &mut Machine<'_, SharedWorld>, cx: &Cx<'gc, Shared>) {
    let board: Gc<'gc, [_]> = *common.board.get(cx);
    for _ in 0..machine.dice.below(20) {
        let place = &board[machine.dice.below(PLACES)];
        let old = place.get();
        if let Some(chain) = old {
            check_chain(chain);
        }
        let chain = || {
            let first = machine.dice.below(1 << 20) as u64;
            let numbers = first & !7..=first;
            numbers.fold(None, |rest, number| Some(Gc::new(cx, Cons::new(number, rest))))
        };
        let chain = { chain }();
        match machine.dice.below(3) {
            0 => place.set(cx, None),
            1 => place.set(cx, chain),
            _ => {
                if let Err(Some(other)) = place.compare_exchange(cx, old, chain) {
                    check_chain(other);
                }
            }
        }
    }
}

fn check_chain<'gc>(chain: Gc<'gc, Cons<'gc>>) {
    let numbers = std::iter::successors(Some(chain), |cons| cons.fixed).map(|cons| cons.number);
    let expected = (chain.number & !7..=chain.number).rev();
    assert!(numbers.eq(expected), "a chain from {} is broken", chain.number);
}

fn board_objects(common: &Common, mutator: &Mutator) -> usize {
    mutator.run(|cx| {
        let board = *common.board.get(cx);
        let mut found = BTreeSet::new();
        for chain in board.iter().filter_map(Slot::get) {
            check_chain(chain);
            let conses = std::iter::successors(Some(chain), |cons| cons.fixed);
            found.extend(conses.map(|cons| Gc::as_ptr(cons).addr()));
        }
        // With the array, and with what refers to it.
        found.len() + 2
    })
}

fn work(common: &Common, thread: u32, seed: u64, settings: Settings) {
    let _attendance = Attendance(&common.meeting);
    let mutator = common.heap.attach().unwrap();
    let name = format!("seed {seed}, thread {thread}");
    let mut machine = Machine::<SharedWorld>::new(
        &mutator,
        name.clone(),
        seed << 8 | u64::from(thread),
        thread,
        settings,
    );
    while !machine.is_done() {
        let due = machine.step();
        match machine.dice.below(8) {
            0 => {
                if let Some(parcel) = machine.pack() {
                    common.parcels.lock().unwrap().push_back(parcel);
                }
            }
            1 => {
                let parcel = common.parcels.lock().unwrap().pop_front();
                if let Some(parcel) = parcel {
                    machine.unpack(parcel);
                }
            }
            2 => mutator.run(|cx| use_board(common, &mut machine, cx)),
            _ => {}
        }
        if due {
            machine.compare_all();
        }
    }
    // Nobody is on the way.
    common.meeting.wait();
    while let Some(parcel) = { common.parcels.lock().unwrap().pop_front() } {
        machine.unpack(parcel);
    }
    common.meeting.wait();
    if thread == 0 {
        mutator.collect();
    }
    common.meeting.wait();
    machine.check_dead();
    machine.compare_all();
    *common.objects.lock().unwrap() += machine.objects();
    common.meeting.wait();
    if thread == 0 {
        mutator.collect();
        mutator.collect();
        let expected = *common.objects.lock().unwrap() + board_objects(common, &mutator);
        assert_eq!(common.heap.raw().stats().heap_objects, expected as u64, "{name}");
    }
    common.meeting.wait();
    machine.compare_all();
    common.drops.lock().unwrap().extend(machine.into_drops());
}

fn run_shared(config: Config, seed: u64, threads: u32, settings: Settings) {
    let heap = SharedHeap::new(config).unwrap();
    let board = heap.attach().unwrap().run(|cx| {
        let places = (0..PLACES).map(|_| Slot::new(None));
        let places: Gc<'_, [Slot<Option<Gc<'_, Cons<'_>>>>]> = Gc::from_iter(cx, places);
        cx.root(Gc::new(cx, places))
    });
    let meeting = Meeting { threads: threads as usize, ..Meeting::default() };
    let (parcels, objects, drops) = Default::default();
    let common = Common { heap, board, parcels, meeting, objects, drops };
    let settings = scaled(settings);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (common, settings) = (&common, settings.clone());
            scope.spawn(move || work(common, thread, seed, settings));
        }
    });
    // The last mutator and the last handle: what is alive is dropped.
    let drops = std::mem::take(&mut *common.drops.lock().unwrap());
    drop(common);
    assert!(drops.iter().all(|drops| drops.load(Relaxed) == 1), "seed {seed}");
}

fn few() -> Settings {
    Settings { operations: 16_000, most_objects: 500, ..Settings::default() }
}

#[test]
fn programs_of_threads_find_what_their_models_say() {
    for (seed, threads) in seeds(500..504).zip([2, 3, 5, 8].into_iter().cycle()) {
        run_shared(config(), seed, threads, few());
    }
}

/// Fourteen million operations, on larger heaps.
#[test]
#[ignore = "two minutes in a release build"]
fn long_programs() {
    let settings = |operations, forms| Settings {
        operations,
        most_objects: 20_000,
        most_roots: 500,
        batch: 60,
        collect_one_in: 40,
        check_every: 400,
        forms,
    };
    for seed in seeds(1000..1002) {
        for config in [config(), Config { workers: 3, ..config() }, beside(0), beside(seed)] {
            run_local(config.clone(), seed, settings(200_000, &Form::ALL));
            run_local(config.clone(), seed, settings(200_000, &Form::BY_MASK));
            for threads in [2, 4, 8] {
                run_shared(config.clone(), seed, threads, settings(50_000, &Form::ALL));
                run_shared(config.clone(), seed, threads, settings(50_000, &Form::BY_MASK));
            }
        }
    }
}

#[test]
fn programs_of_threads_are_marked_beside_them() {
    for (seed, threads) in seeds(600..604).zip([2, 3, 5, 8].into_iter().cycle()) {
        let settings = Settings { operations: 60_000 / threads as usize, ..by_mask() };
        run_shared(Config { collect_every: 1, ..beside(seed) }, seed, threads, settings);
    }
}
