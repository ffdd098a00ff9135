//! Events of running mutators: they balance, they name functions, and a
//! listener that enters the heap is refused.

mod support;

use mallocgc::base::Address;
use mallocgc::layout::LayoutId;
use mallocgc::observe::{Event, EventPrinter, LiveObjects};
use mallocgc::raw::{
    AllocClass, AllocError, AllocFlags, Config, Force, GcError, HeapError, Layout, Mutator,
    TypeLayout,
};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

fn gc(mutator: &Mutator) {
    mutator.gc(Force::NowAndSweep).expect("a collection");
}

/// A deterministic sequence of sizes and choices.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Allocates objects of all kinds and keeps some; returns how many are kept.
fn churn(mutator: &Mutator, layouts: &[Layout], seed: u64, objects: usize) -> usize {
    let mut sequence = Sequence(seed);
    for _ in 0..objects {
        let object = match sequence.below(10) {
            0..5 => {
                let size = 1 + sequence.below(600) as usize;
                mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY)
            }
            5..9 => mutator.new_object(layouts[sequence.below(layouts.len() as u64) as usize]),
            _ => mutator.raw_mem(30_000 + sequence.below(40_000) as usize),
        };
        let object = object.expect("memory");
        if sequence.below(4) == 0 {
            mutator.push_root(object);
        }
        mutator.poll();
        if sequence.below(500) == 0 {
            mutator.gc(Force::Now).expect("a collection");
        }
    }
    mutator.root_count()
}

#[test]
fn allocations_and_frees_of_several_threads_balance() {
    let heap = support::heap_with(Config { min_heap_bytes: 1 << 20, ..support::config() });
    let live = Arc::new(LiveObjects::new());
    heap.set_listener(Some(live.listener()));
    let layouts: Vec<Layout> =
        (2..20).map(|words| heap.layout(&TypeLayout::mask(words, 1)).expect("a layout")).collect();
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let (heap, layouts, live) = (&heap, &layouts, &live);
            scope.spawn(move || {
                let mutator = heap.attach().expect("a mutator");
                churn(&mutator, layouts, seed, 3000);
                for index in 0..mutator.root_count() {
                    let address = Address::from_ptr(mutator.root(index).as_ptr());
                    assert!(live.contains(address), "{address:?} lives");
                }
            });
        }
    });
    heap.gc(Force::NowAndSweep).expect("a collection");
    assert_eq!(live.check(), Ok(0), "the mutators are gone, and with them all roots");
    let (allocs, frees) = live.counts();
    assert_eq!((allocs, frees), (4 * 3000, 4 * 3000));
    let stats = heap.stats();
    assert_eq!((stats.mallocs, stats.frees), (allocs, frees));
    stats.check().expect("statistics agree");
}

#[test]
fn the_account_is_the_heap_s_own_at_every_quiet_moment() {
    let heap = support::heap();
    let live = Arc::new(LiveObjects::new());
    heap.set_listener(Some(live.listener()));
    let layout = heap.layout(&TypeLayout::mask(4, 0b1)).expect("a layout");
    let mutator = heap.attach().expect("a mutator");
    earn(&mutator, layout);
    gc(&mutator);
    for seed in 1..=5 {
        churn(&mutator, &[layout], seed, 500);
        // A death is told when it is decided, and counted when it is swept.
        gc(&mutator);
        let stats = heap.stats();
        assert_eq!(live.bytes() as u64, stats.heap_alloc);
        assert_eq!(live.check().map(|objects| objects as u64), Ok(stats.heap_objects));
    }
}

/// Allocates until objects of a layout have spans of their own, without a header
/// word in front.
fn earn(mutator: &Mutator, layout: Layout) {
    let bytes = |object: NonNull<u8>| {
        let info = mutator.heap().find_object(Address::from_ptr(object.as_ptr()));
        info.expect("an object").bytes
    };
    while bytes(mutator.new_object(layout).expect("memory")) != layout.size_bytes() {}
}

/// Objects by address: bytes and layout as told.
type Told = BTreeMap<Address, (usize, LayoutId)>;

#[test]
fn what_lives_by_the_events_is_what_allocation_returned() {
    let heap = support::heap();
    let told = Arc::new(Mutex::new(Told::new()));
    let account = told.clone();
    heap.set_listener(Some(Arc::new(move |event| {
        let mut account = account.lock().unwrap();
        match *event {
            Event::Alloc { address, size, layout, .. } => {
                assert_eq!(account.insert(address, (size, layout)), None);
            }
            Event::Free { address, size } => {
                let (allocated, _) = account.remove(&address).expect("it lives");
                assert_eq!(allocated, size);
            }
            _ => {}
        }
    })));
    let mutator = heap.attach().expect("a mutator");
    // Those of one mask would be one layout.
    let layouts = [(2, 0b10), (4, 0b110), (16, 0b1010), (64, 0b1110)]
        .map(|(words, mask)| heap.layout(&TypeLayout::mask(words, mask)).expect("a layout"));
    let large = heap.layout(&TypeLayout::repeat(2, 0b10)).expect("a layout");
    let mut ids: Option<Vec<LayoutId>> = None;
    // First the layouts are rare, then they have earned spans.
    for round in ["rare", "earned"] {
        let mut made: Vec<NonNull<u8>> = Vec::new();
        for &layout in &layouts {
            made.push(mutator.new_object(layout).expect("memory"));
        }
        made.push(mutator.mallocgc(100_000, large, AllocFlags::NONE).expect("memory"));
        let scanned = made.len();
        for size in [3, 16, 600, 5000, 100_000] {
            made.push(mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY).expect("memory"));
        }
        made.push(mutator.mallocgc(8, Layout::NOSCAN, AllocFlags::NONE).expect("memory"));
        for &object in &made {
            mutator.push_root(object);
        }
        gc(&mutator);
        let live = told.lock().unwrap().clone();
        let mut returned = Told::new();
        let mut seen = Vec::new();
        for (index, object) in made.iter().enumerate() {
            let address = Address::from_ptr(object.as_ptr());
            let bytes = heap.find_object(address).expect("an object").bytes;
            let (_, layout) = live[&address];
            assert_eq!(index >= scanned, layout == LayoutId::NOSCAN, "{round} object {index}");
            seen.push(layout);
            returned.insert(address, (bytes, layout));
        }
        assert_eq!(live, returned, "{round}");
        let distinct: BTreeSet<u32> = seen[..scanned].iter().map(|id| id.0).collect();
        assert_eq!(distinct.len(), scanned, "each layout has a number of its own: {seen:?}");
        assert_eq!(*ids.get_or_insert_with(|| seen.clone()), seen, "{round}");
        mutator.truncate_roots(0);
        layouts.iter().for_each(|&layout| earn(&mutator, layout));
        gc(&mutator);
        assert!(told.lock().unwrap().is_empty(), "{round}");
    }
}

#[test]
fn objects_that_share_a_block_make_the_block_s_events() {
    let heap = support::heap();
    let live = Arc::new(LiveObjects::new());
    heap.set_listener(Some(live.listener()));
    let mutator = heap.attach().expect("a mutator");
    for _ in 0..10 {
        mutator.mallocgc(8, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    }
    mutator.mallocgc(0, Layout::NOSCAN, AllocFlags::NONE).expect("the shared address");
    assert_eq!(live.counts(), (5, 0));
    gc(&mutator);
    assert_eq!(live.counts(), (5, 5));
}

#[test]
fn cycles_begin_and_end_in_pairs() {
    let heap = support::heap();
    let seen: Arc<Mutex<Vec<(u64, char)>>> = Arc::default();
    let log = seen.clone();
    heap.set_listener(Some(Arc::new(move |event| match event {
        Event::CycleBegin { number } => log.lock().unwrap().push((*number, 'b')),
        Event::CycleEnd(record) => log.lock().unwrap().push((record.number, 'e')),
        _ => {}
    })));
    let mutator = heap.attach().expect("a mutator");
    for _ in 0..5 {
        gc(&mutator);
    }
    std::thread::scope(|scope| {
        let mut mutator = mutator;
        scope.spawn(|| {
            for _ in 0..5 {
                heap.gc(Force::Now).expect("a collection");
            }
        });
        mutator.blocking(|| std::thread::sleep(Duration::from_millis(50)));
        for _ in 0..5 {
            gc(&mutator);
        }
    });
    let expected: Vec<(u64, char)> = (1..=15).flat_map(|n| [(n, 'b'), (n, 'e')]).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(heap.stats().num_gc, 15);
}

#[test]
fn a_cycle_that_is_put_off_says_so() {
    let heap = support::heap_with(Config {
        stop_limit: Duration::from_millis(10),
        log: Arc::new(|_| {}),
        ..support::manual()
    });
    let seen: Arc<Mutex<Vec<(u64, char)>>> = Arc::default();
    let log = seen.clone();
    heap.set_listener(Some(Arc::new(move |event| match event {
        Event::CycleBegin { number } => log.lock().unwrap().push((*number, 'b')),
        Event::CyclePutOff { number } => log.lock().unwrap().push((*number, 'p')),
        Event::CycleEnd(record) => log.lock().unwrap().push((record.number, 'e')),
        _ => {}
    })));
    let mutator = heap.attach().expect("a mutator");
    let other = heap.clone();
    let put_off = std::thread::spawn(move || other.gc(Force::Now)).join().expect("no panic");
    assert!(matches!(put_off, Err(GcError::StopTimedOut(_))));
    gc(&mutator);
    assert_eq!(*seen.lock().unwrap(), [(1, 'b'), (1, 'p'), (1, 'b'), (1, 'e')]);
}

thread_local! {
    /// What the next test's listener allocates with; the test keeps it alive.
    static ALLOCATING: Cell<*const (Mutator, [Layout; 3], AllocClass)> =
        const { Cell::new(std::ptr::null()) };
}

/// Every way to allocate, inside a listener.
fn every_allocation_is_refused(event: &Event<'_>) {
    // SAFETY: the test, on this thread, keeps it alive until it sets null.
    let Some((mutator, layouts, class)) = (unsafe { ALLOCATING.get().as_ref() }) else { return };
    let refused = |answer: Result<NonNull<u8>, AllocError>, what: &str| {
        assert_eq!(answer, Err(AllocError::Reentrant), "{what} in {event:?}");
    };
    for size in [1, 2, 8, 16, 100, 600, 5000, 100_000] {
        for flags in [AllocFlags::NONE, AllocFlags::NO_TINY, AllocFlags::SAFEPOINT] {
            refused(mutator.mallocgc(size, Layout::NOSCAN, flags), &format!("{size} {flags:?}"));
        }
        refused(mutator.raw_mem(size), &format!("raw {size}"));
        let aligned = mutator.mallocgc_aligned(size, 64, Layout::NOSCAN, AllocFlags::NONE);
        refused(aligned, &format!("aligned {size}"));
    }
    for &layout in layouts {
        refused(mutator.new_object(layout), "an object");
    }
    refused(mutator.new_array(layouts[2], 10_000), "an array");
    refused(mutator.alloc(*class), "a class");
}

#[test]
fn a_listener_set_late_allocates_nothing() {
    let heap = support::heap();
    let mutator = heap.attach().expect("a mutator");
    let rare = heap.layout(&TypeLayout::mask(6, 0b10)).expect("a layout");
    let earned = heap.layout(&TypeLayout::mask(4, 0b10)).expect("a layout");
    let repeats = heap.layout(&TypeLayout::repeat(2, 0b10)).expect("a layout");
    earn(&mutator, earned);
    let class = mutator.alloc_class(64, Layout::NOSCAN).expect("a class");
    let pair = (mutator, [rare, earned, repeats], class);
    let mutator = &pair.0;
    // Chunks and a tiny block are open when the listener comes.
    let fill = || {
        for size in [2, 8, 16, 100, 600, 5000] {
            mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        }
        for layout in pair.1 {
            mutator.new_object(layout).expect("memory");
        }
        mutator.alloc(class).expect("memory");
    };
    let seen = Arc::new([const { AtomicUsize::new(0) }; 4]);
    for round in 0..4 {
        heap.set_listener(None);
        gc(mutator);
        fill();
        fill();
        let before = heap.stats();
        let counts = seen.clone();
        heap.set_listener(Some(Arc::new(move |event| {
            every_allocation_is_refused(event);
            let kind = match event {
                Event::Alloc { .. } => 0,
                Event::Free { .. } => 1,
                Event::CycleBegin { .. } => 2,
                _ => 3,
            };
            // A listener that panics is not counted.
            counts[kind].fetch_add(1, Relaxed);
        })));
        ALLOCATING.set(&raw const pair);
        let expected = match round {
            // The first event is of a cell, a large object, a cycle.
            0 => mutator.mallocgc(2000, Layout::NOSCAN, AllocFlags::NONE).map(|_| 1),
            1 => mutator.mallocgc(100_000, Layout::NOSCAN, AllocFlags::NONE).map(|_| 1),
            2 => mutator.mallocgc(2000, rare, AllocFlags::NONE).map(|_| 1),
            _ => Ok(0),
        };
        let expected = expected.expect("memory");
        assert_eq!(seen[0].swap(0, Relaxed), expected, "round {round}");
        let after = heap.stats();
        after.check().expect("statistics agree");
        assert_eq!(after.mallocs - before.mallocs, expected as u64, "a flush counts nothing");
        // What was open when the listener came serves the thread afterwards.
        fill();
        seen[0].store(0, Relaxed);
        gc(mutator);
        assert_eq!(heap.stats().heap_objects, 0);
        assert!(seen[1].swap(0, Relaxed) > 10);
        let cycles = [seen[2].swap(0, Relaxed), seen[3].swap(0, Relaxed)];
        assert_eq!(cycles, [1, 1], "round {round}");
        ALLOCATING.set(std::ptr::null());
    }
    heap.set_listener(None);
}

#[test]
fn a_listener_that_enters_the_heap_is_refused_and_nothing_hangs() {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        listener_enters_the_heap();
        done.send(()).expect("the test waits");
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the heap hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

fn listener_enters_the_heap() {
    thread_local! {
        /// The mutator of the thread, for the listener.
        static MUTATOR: OnceLock<Mutator> = const { OnceLock::new() };
    }
    let heap = support::heap();
    let refused = Arc::new(AtomicUsize::new(0));
    let (inside, count) = (heap.clone(), refused.clone());
    heap.set_listener(Some(Arc::new(move |_| {
        assert!(matches!(inside.attach(), Err(HeapError::Reentrant)));
        assert!(matches!(inside.gc(Force::Now), Err(GcError::Reentrant)));
        let _ = inside.stats();
        MUTATOR.with(|mutator| {
            let Some(mutator) = mutator.get() else { return };
            // While somebody listens no chunk has a second cell.
            for size in [1, 16, 1000, 100_000] {
                let answer = mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE);
                assert_eq!(answer, Err(AllocError::Reentrant), "{size} bytes");
            }
            assert!(matches!(mutator.gc(Force::Now), Err(GcError::Reentrant)));
            mutator.poll();
        });
        count.fetch_add(1, Relaxed);
    })));
    MUTATOR.with(|own| {
        let mutator = own.get_or_init(|| heap.attach().expect("a mutator"));
        for size in [16, 1000, 100_000] {
            mutator.mallocgc(size, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        }
        gc(mutator);
    });
    // Three allocations, two ends of a cycle, three deaths; a listener that
    // panics is not counted.
    assert_eq!(refused.load(Relaxed), 8);
    // The mutator goes with its thread, and so must the cycle of handles.
    heap.set_listener(None);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[inline(never)]
fn asks_for_memory(mutator: &Mutator) {
    black_box(mutator.mallocgc(48, Layout::NOSCAN, AllocFlags::NONE).expect("memory"));
}

/// allocfreetrace: every allocation with its stack, every free, every cycle.
#[test]
fn allocfreetrace_prints_stacks_with_function_names() {
    let heap = support::heap();
    let out = Shared::default();
    heap.set_listener(Some(EventPrinter::new(out.clone()).into_listener()));
    let mutator = heap.attach().expect("a mutator");
    asks_for_memory(&mutator);
    gc(&mutator);
    heap.set_listener(None);
    let text = String::from_utf8(out.0.lock().expect("no panic").clone()).expect("text");
    let events: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let [alloc, begin, free, end] = events[..] else { panic!("four events, not\n{text}") };
    let address = alloc.split(' ').nth(1).expect("an address");
    assert_eq!(alloc, format!("alloc {address} 48 bytes layout 0"));
    assert_eq!(begin, "gc 1 begins");
    assert_eq!(free, format!("free {address} 48 bytes"));
    assert!(end.starts_with("gc 1 @"), "{text}");
    let frame = text.lines().nth(1).expect("a frame");
    if cfg!(feature = "profile") {
        assert!(frame.contains("asks_for_memory at "), "{text}");
    } else {
        assert!(frame.trim_start().starts_with("0x"), "{text}");
    }
}
