//! Finalizers: every rule of the origin, each with a test of its own. Who runs
//! them, and when they cannot, is in `finalizer_queue.rs`.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::raw::{
    AllocFlags, Config, FinalizerError, Force, Layout, Mutator, Placement, TypeLayout,
};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use support::specials::{
    Log, Nodes, entries, gc, is_allocated, log_value, manual, refer, referent, value,
};

// --- the origin's own tests --------------------------------------------------

/// mallocfin: 250 pairs A → B; A's runs before B's, each once, all of them.
#[test]
fn mallocfin_pairs_run_a_before_b_once() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    for pair in 0..250 {
        let b = nodes.make(&m, 1000 + pair);
        let a = nodes.make(&m, pair);
        refer(&m, a, 0, b);
        m.set_finalizer(b, log_value(&log)).expect("b");
        m.set_finalizer(a, log_value(&log)).expect("a");
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 250);
    let mut first = entries(&log);
    first.sort_unstable();
    assert_eq!(first, (0..250).collect::<Vec<_>>(), "the As, and no B");
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 250);
    let mut second = entries(&log)[250..].to_vec();
    second.sort_unstable();
    assert_eq!(second, (1000..1250).collect::<Vec<_>>(), "then the Bs");
    gc(&m);
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0, "each ran once");
}

/// tinyfin: 100 tiny integers share blocks; each has its finalizer, which
/// sees the right value once.
#[test]
fn tinyfin_each_tiny_object_has_its_own() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let seen = Arc::new(Mutex::new(vec![0; 100]));
    for number in 0..100u32 {
        let object = m.mallocgc(4, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        unsafe { object.cast::<u32>().write(number) };
        let seen = seen.clone();
        let place = m.set_finalizer(object, move |_, object| {
            let value = unsafe { object.cast::<u32>().read() };
            assert_eq!(value, number);
            seen.lock().expect("no panic")[value as usize] += 1;
        });
        assert!(matches!(place, Ok(Placement::SharedBlock { offset, .. }) if offset % 4 == 0));
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 100);
    assert!(seen.lock().expect("no panic").iter().all(|&times| times == 1));
    assert_eq!(heap.special_counts().shared_blocks, 100);
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
}

/// ZeroSizedStruct: a finalizer on an object of no bytes does not crash, and
/// need not run.
#[test]
fn zero_sized_objects_accept_finalizers() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = m.mallocgc(0, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    assert_eq!(object, heap.zero_base());
    for _ in 0..2 {
        let dropped = Arc::new(());
        let held = dropped.clone();
        let placed = m.set_finalizer(object, move |_, _| drop(held));
        assert_eq!(placed, Ok(Placement::Immortal), "twice: it is never set");
        assert_eq!(Arc::strong_count(&dropped), 1, "the closure is dropped");
    }
    assert_eq!(m.clear_finalizer(object), Ok(false));
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0);
}

/// EmptySlice, EmptyString: an array of no elements is the zero base, so that
/// no pointer past an object's end exists that could hold its neighbour.
#[test]
fn empty_arrays_hold_no_neighbour() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let log = Arc::new(AtomicUsize::new(0));
    let elem = TypeLayout::mask(4, 0b0011);
    let array = heap.layout(&elem.array_of().expect("a layout")).expect("a layout");
    for _ in 0..64 {
        let full = m.new_array(array, 1).expect("memory");
        let log = log.clone();
        m.set_finalizer(full, move |_, _| {
            log.fetch_add(1, SeqCst);
        })
        .expect("set");
        let empty = m.new_array(array, 0).expect("memory");
        assert_eq!(empty, heap.zero_base());
        m.push_root(empty);
    }
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(log.load(SeqCst), 64);
}

/// OnGlobal: statics are accepted silently, whether registered as such or as
/// a root range.
#[test]
fn finalizers_on_statics_are_silent_no_ops() {
    static GLOBAL: [u64; 4] = [0; 4];
    static ROOTS: [usize; 2] = [0; 2];
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let global = NonNull::from(&GLOBAL[2]).cast::<u8>();
    let unregistered = m.set_finalizer(global, |_, _| ());
    assert!(matches!(unregistered, Err(FinalizerError::NotAllocated { .. })));
    heap.register_static_range((&raw const GLOBAL).cast(), size_of_val(&GLOBAL));
    assert_eq!(m.set_finalizer(global, |_, _| ()), Ok(Placement::Immortal));
    assert_eq!(m.clear_finalizer(global), Ok(false));
    let range = unsafe {
        heap.add_root_range(ROOTS.as_ptr(), ROOTS.len(), mallocgc::raw::RangeKind::References)
    };
    let root = NonNull::from(&ROOTS[1]).cast::<u8>();
    assert_eq!(m.set_finalizer(root, |_, _| ()), Ok(Placement::Immortal));
    heap.remove_root_range(range);
    assert!(m.set_finalizer(root, |_, _| ()).is_err());
}

// --- order, cycles, resurrection ---------------------------------------------

#[test]
fn a_chain_runs_in_order_of_dependency_one_per_cycle() {
    const LENGTH: u64 = 12;
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let mut before: Option<NonNull<u8>> = None;
    for number in (0..LENGTH).rev() {
        let node = nodes.make(&m, number);
        if let Some(before) = before {
            refer(&m, node, 1, before);
        }
        m.set_finalizer(node, log_value(&log)).expect("set");
        before = Some(node);
    }
    for number in 0..LENGTH {
        gc(&m);
        assert_eq!(m.run_finalizers(usize::MAX), 1);
        assert_eq!(entries(&log), (0..=number).collect::<Vec<_>>());
    }
}

#[test]
fn order_holds_through_objects_without_finalizers() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let (a, between, b) = (nodes.make(&m, 1), nodes.make(&m, 2), nodes.make(&m, 3));
    refer(&m, a, 0, between);
    refer(&m, between, 1, b);
    m.set_finalizer(a, log_value(&log)).expect("set");
    m.set_finalizer(b, log_value(&log)).expect("set");
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log), [1]);
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log), [1, 3]);
}

#[test]
fn cycles_of_finalizable_objects_are_never_finalized() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let itself = nodes.make(&m, 1);
    refer(&m, itself, 0, itself);
    let (a, b) = (nodes.make(&m, 2), nodes.make(&m, 3));
    refer(&m, a, 0, b);
    refer(&m, b, 0, a);
    // A cycle with one finalizer, reached over an object without.
    let (c, d) = (nodes.make(&m, 4), nodes.make(&m, 5));
    refer(&m, c, 0, d);
    refer(&m, d, 0, c);
    for node in [itself, a, b, c] {
        m.set_finalizer(node, log_value(&log)).expect("set");
    }
    for _ in 0..4 {
        gc(&m);
        assert_eq!(m.run_finalizers(usize::MAX), 0);
    }
    for node in [itself, a, b, c, d] {
        assert!(is_allocated(&heap, node), "what refers to itself is kept");
    }
    assert_eq!(m.clear_finalizer(itself), Ok(true));
    gc(&m);
    assert!(!is_allocated(&heap, itself), "without a finalizer a cycle is garbage");
}

#[test]
fn an_object_lives_one_more_cycle_with_all_it_refers_to() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let (object, below, deep) = (nodes.make(&m, 1), nodes.make(&m, 2), nodes.make(&m, 3));
    refer(&m, object, 0, below);
    refer(&m, below, 0, deep);
    let (sender, receiver) = mpsc::channel();
    m.set_finalizer(object, move |_, object| {
        let below = referent(object, 0);
        let deep = referent(below, 0);
        sender.send([value(object), value(below), value(deep)]).expect("a receiver");
    })
    .expect("set");
    gc(&m);
    assert!(is_allocated(&heap, object) && is_allocated(&heap, deep));
    assert_eq!(m.run_finalizers(usize::MAX), 1);
    assert_eq!(receiver.recv(), Ok([1, 2, 3]));
    gc(&m);
    for object in [object, below, deep] {
        assert!(!is_allocated(&heap, object), "the second cycle frees it");
    }
}

#[test]
fn queued_finalizers_keep_their_objects_until_they_run() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    for number in 0..1000 {
        let (object, below) = (nodes.make(&m, number), nodes.make(&m, number + 5000));
        refer(&m, object, 0, below);
        let log = log.clone();
        m.set_finalizer(object, move |_, object| {
            assert_eq!(value(referent(object, 0)), value(object) + 5000);
            log.lock().expect("no panic").push(value(object));
        })
        .expect("set");
    }
    for _ in 0..5 {
        gc(&m);
        for number in 0..2000 {
            nodes.make(&m, number + 90_000);
        }
    }
    assert_eq!(m.run_finalizers(300), 300, "at most as many as asked for");
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 700);
    let mut seen = entries(&log);
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
}

#[test]
fn a_finalizer_can_bring_its_object_back() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let object = nodes.make(&m, 7);
    let kept: Arc<Mutex<Option<mallocgc::raw::Root>>> = Arc::default();
    let keep = kept.clone();
    m.set_finalizer(object, move |m, object| {
        *keep.lock().expect("no panic") = Some(m.heap().root(object).expect("a root"));
    })
    .expect("set");
    gc(&m);
    m.run_finalizers(usize::MAX);
    gc(&m);
    gc(&m);
    assert_eq!(value(kept.lock().expect("no panic").as_ref().expect("kept").get()), 7);
    // Without a finalizer now; a new one can be set.
    let log = Log::default();
    m.set_finalizer(object, log_value(&log)).expect("set again");
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0);
    *kept.lock().expect("no panic") = None;
    gc(&m);
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log), [7]);
}

#[test]
fn a_finalizer_can_allocate_collect_and_register_again() {
    type Next = Box<dyn FnOnce(&mut Mutator, NonNull<u8>) + Send>;
    fn again(left: u32, log: Log) -> impl FnOnce(&mut Mutator, NonNull<u8>) + Send + 'static {
        move |m: &mut Mutator, node| {
            let before = value(node);
            let nodes = Nodes::new(m.heap());
            for number in 0..500 {
                nodes.make(m, number);
            }
            m.gc(Force::NowAndSweep).expect("a collection inside a finalizer");
            assert_eq!(value(node), before, "the argument lives for the call");
            log.lock().expect("no panic").push(before);
            if left > 0 {
                // Boxed, as the type would contain itself.
                let next: Next = Box::new(again(left - 1, log));
                m.set_finalizer(node, next).expect("set in a finalizer");
            }
        }
    }
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    m.set_finalizer(nodes.make(&m, 9), again(3, log.clone())).expect("set");
    for runs in 1..=4 {
        gc(&m);
        assert_eq!(m.run_finalizers(1), 1);
        assert_eq!(entries(&log).len(), runs);
    }
    gc(&m);
    assert_eq!(m.run_finalizers(1), 0);
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
}

#[test]
fn the_argument_is_collectable_right_after_its_call() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let ran: Arc<Mutex<Vec<NonNullSend>>> = Arc::default();
    for number in 0..4 {
        let ran = ran.clone();
        m.set_finalizer(nodes.make(&m, number), move |m, object| {
            gc(m);
            let mut ran = ran.lock().expect("no panic");
            for before in ran.iter() {
                assert!(!is_allocated(m.heap(), before.0), "an argument outlived its call");
            }
            assert!(is_allocated(m.heap(), object));
            ran.push(NonNullSend(object));
        })
        .expect("set");
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 4);
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
}

struct NonNullSend(NonNull<u8>);
unsafe impl Send for NonNullSend {}

// --- setting, clearing -------------------------------------------------------

#[test]
fn setting_twice_is_an_error_and_the_first_still_runs_once() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let object = nodes.make(&m, 5);
    m.set_finalizer(object, log_value(&log)).expect("set");
    let held = Arc::new(());
    let second = held.clone();
    let error = m.set_finalizer(object, move |_, _| drop(second)).expect_err("set twice");
    assert!(matches!(error, FinalizerError::AlreadySet { .. }));
    assert_eq!(Arc::strong_count(&held), 1, "the refused closure is dropped");
    gc(&m);
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log), [5]);
}

#[test]
fn set_clear_set() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let (first, second) = (Log::default(), Log::default());
    let object = nodes.make(&m, 6);
    assert_eq!(m.clear_finalizer(object), Ok(false));
    m.set_finalizer(object, log_value(&first)).expect("set");
    assert_eq!(Arc::strong_count(&first), 2);
    assert_eq!(m.clear_finalizer(object), Ok(true));
    assert_eq!(Arc::strong_count(&first), 1, "clearing drops the closure");
    m.set_finalizer(object, log_value(&second)).expect("set again");
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!((entries(&first), entries(&second)), (vec![], vec![6]));
}

#[test]
fn clearing_lets_the_object_be_freed_at_once() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let objects: Vec<_> = (0..500).map(|number| nodes.make(&m, number)).collect();
    for &object in &objects {
        m.set_finalizer(object, |_, _| panic!("cleared")).expect("set");
    }
    for &object in &objects {
        assert_eq!(m.clear_finalizer(object), Ok(true));
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0);
    assert!(objects.iter().all(|&object| !is_allocated(&heap, object)));
}

#[test]
fn living_objects_keep_their_finalizers_over_many_cycles() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    for number in 0..3000 {
        let node = nodes.make(&m, number);
        m.set_finalizer(node, log_value(&log)).expect("set");
        if number % 3 == 0 {
            m.push_root(node);
        }
    }
    for _ in 0..4 {
        gc(&m);
        m.run_finalizers(usize::MAX);
        assert_eq!(entries(&log).len(), 2000);
    }
    assert!(entries(&log).iter().all(|number| number % 3 != 0));
    m.truncate_roots(0);
    gc(&m);
    m.run_finalizers(usize::MAX);
    let mut all = entries(&log);
    all.sort_unstable();
    assert_eq!(all, (0..3000).collect::<Vec<_>>());
}

#[test]
fn every_kind_of_span_takes_finalizers() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).expect("a layout");
    let words = heap.layout(&TypeLayout::repeat(1, 1)).expect("a layout");
    let count = Arc::new(AtomicUsize::new(0));
    let mut expected = 0;
    let mut set = |m: &Mutator, object: NonNull<u8>| {
        let below = m.mallocgc(24, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        unsafe { below.cast::<u64>().write(object.addr().get() as u64) };
        unsafe { m.write(object.cast::<*mut u8>().as_ptr(), below.as_ptr()) };
        let count = count.clone();
        m.set_finalizer(object, move |_, object| {
            let below = referent(object, 0);
            assert_eq!(unsafe { below.cast::<u64>().read() }, object.addr().get() as u64);
            count.fetch_add(1, SeqCst);
        })
        .expect("set");
        expected += 1;
    };
    // The first objects of a layout lie in mixed spans, later ones do not.
    for _ in 0..4000 {
        set(&m, m.mallocgc(16, pair, AllocFlags::NONE).expect("memory"));
    }
    for size in [64, 512, 1024, 8192, 32768, 40_000, 300_000] {
        for _ in 0..3 {
            set(&m, m.mallocgc(size, words, AllocFlags::NONE).expect("memory"));
        }
    }
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(count.load(SeqCst), expected);
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0);
}

/// The mark stack overflows in every possible place; what was to be visited
/// without being marked is not forgotten.
#[test]
fn references_survive_an_overflow_of_the_mark_stack() {
    use mallocgc::os::fault;
    const OBJECTS: usize = 20_000;
    for n in 1.. {
        let config = Config { workers: 1, background: false, ..support::manual() };
        let heap = support::heap_with(config);
        let mut m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let words = heap.layout(&TypeLayout::repeat(1, 1)).expect("a layout");
        let whole = Arc::new(AtomicUsize::new(0));
        for number in 0..OBJECTS as u64 {
            let (object, below, deep) =
                (nodes.make(&m, number), nodes.make(&m, 1), nodes.make(&m, number + 7));
            refer(&m, object, 1, below);
            refer(&m, below, 0, deep);
            let whole = whole.clone();
            m.set_finalizer(object, move |_, object| {
                let deep = referent(referent(object, 1), 0);
                whole.fetch_add(usize::from(value(deep) == value(object) + 7), SeqCst);
            })
            .expect("set");
        }
        // One that is scanned in pieces, with something below the last.
        let large = m.mallocgc(400_000, words, AllocFlags::NONE).expect("memory");
        refer(&m, large, 49_000, nodes.make(&m, 4321));
        let seen = whole.clone();
        m.set_finalizer(large, move |_, large| {
            assert_eq!(value(referent(large, 49_000)), 4321);
            seen.fetch_add(1, SeqCst);
        })
        .expect("set");
        let failed = {
            let guard = fault::fail_from(n);
            m.gc(Force::NowAndSweep).expect("a collection needs no memory");
            guard.failed()
        };
        m.run_finalizers(usize::MAX);
        assert!(n > 1 || failed > 0, "the stack grows at least once");
        assert_eq!(whole.load(SeqCst), OBJECTS + 1, "with the calls from {n} on refused");
        if failed == 0 {
            break;
        }
    }
}

#[test]
fn several_marking_threads_decide_as_one_does() {
    const TREES: u64 = 40;
    let heap = support::heap_with(Config { workers: 3, background: false, ..support::manual() });
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    fn tree(m: &Mutator, nodes: &Nodes, depth: u32) -> NonNull<u8> {
        let node = nodes.make(m, u64::from(depth));
        if depth > 0 {
            refer(m, node, 0, tree(m, nodes, depth - 1));
            refer(m, node, 1, tree(m, nodes, depth - 1));
        }
        node
    }
    fn count(node: NonNull<u8>) -> u64 {
        match value(node) {
            0 => 1,
            _ => 1 + count(referent(node, 0)) + count(referent(node, 1)),
        }
    }
    let log = Log::default();
    for number in 0..TREES {
        // A finalizable object above a tree, and one within it that must wait.
        let (top, tree) = (nodes.make(&m, number), tree(&m, &nodes, 8));
        refer(&m, top, 0, tree);
        m.set_finalizer(referent(tree, 1), log_value(&log)).expect("set");
        let counts = log.clone();
        m.set_finalizer(top, move |_, top| {
            counts.lock().expect("no panic").push(1000 + count(referent(top, 0)));
        })
        .expect("set");
        if number % 2 == 0 {
            m.push_root(top);
        }
    }
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log), [1511; TREES as usize / 2], "the dead tops, their trees whole");
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(entries(&log)[TREES as usize / 2..], [7; TREES as usize / 2]);
    m.truncate_roots(0);
    for _ in 0..2 {
        gc(&m);
        m.run_finalizers(usize::MAX);
    }
    assert_eq!(entries(&log).len() as u64, 2 * TREES);
}

#[test]
fn an_object_with_a_trace_function_keeps_what_it_traces() {
    unsafe fn trace(object: *mut u8, _bytes: usize, tracer: &mut mallocgc::layout::Tracer<'_>) {
        // The reference is stored upside down, as only the function knows.
        let hidden = unsafe { object.cast::<usize>().read() };
        tracer.visit(std::ptr::without_provenance::<u8>(!hidden));
    }
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let layout = TypeLayout::trace(16, trace);
    let layout = heap.layout(&layout).expect("a layout");
    let object = m.mallocgc(16, layout, AllocFlags::NONE).expect("memory");
    let below = m.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    unsafe { below.cast::<u64>().write(77) };
    unsafe { object.cast::<usize>().write(!below.expose_provenance().get()) };
    let (sender, receiver) = mpsc::channel();
    m.set_finalizer(object, move |_, object| {
        let at = !unsafe { object.cast::<usize>().read() };
        let below: *const u64 = std::ptr::with_exposed_provenance(at);
        sender.send(unsafe { below.read() }).expect("a receiver");
    })
    .expect("set");
    gc(&m);
    m.run_finalizers(usize::MAX);
    assert_eq!(receiver.recv(), Ok(77));
}

// --- tiny objects ------------------------------------------------------------

#[test]
fn interior_pointers_are_for_tiny_objects_only() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let node = nodes.make(&m, 1);
    let inside = unsafe { node.add(8) };
    assert!(matches!(
        m.set_finalizer(inside, |_, _| ()),
        Err(FinalizerError::NotAtBeginning { .. })
    ));
    let sixteen = m.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    let inside = unsafe { sixteen.add(4) };
    assert!(matches!(
        m.set_finalizer(inside, |_, _| ()),
        Err(FinalizerError::NotAtBeginning { .. })
    ));
    assert_eq!(m.set_finalizer(sixteen, |_, _| ()), Ok(Placement::Own), "16 bytes are not tiny");
    m.mallocgc(2, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    let tiny = m.mallocgc(2, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    assert!(matches!(m.set_finalizer(tiny, |_, _| ()), Ok(Placement::SharedBlock { .. })));
    let no_tiny = m.mallocgc(2, Layout::NOSCAN, AllocFlags::NO_TINY).expect("memory");
    assert_eq!(m.set_finalizer(no_tiny, |_, _| ()), Ok(Placement::Own));
    assert_eq!(heap.special_counts().shared_blocks, 1);
}

#[test]
fn a_block_of_tiny_objects_runs_all_its_finalizers_when_the_last_dies() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let log = Log::default();
    let mut block = None;
    for number in 0..8u8 {
        let object = m.mallocgc(2, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        unsafe { object.write(number) };
        let log = log.clone();
        let placement = m.set_finalizer(object, move |_, object| {
            log.lock().expect("no panic").push(u64::from(unsafe { object.read() }));
        });
        let Ok(Placement::SharedBlock { block: first, offset }) = placement else {
            panic!("{placement:?} is not a shared block");
        };
        assert_eq!(offset, 2 * number as usize);
        assert_eq!(*block.get_or_insert(first), first);
        if number == 3 {
            m.push_root(object);
        }
    }
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 0, "one lives, so all do");
    m.truncate_roots(0);
    gc(&m);
    assert_eq!(m.run_finalizers(usize::MAX), 8);
    let mut seen = entries(&log);
    seen.sort_unstable();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}
