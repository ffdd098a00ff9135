//! Ephemerons: values live with their keys, and nothing else does.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::base::Address;
use mallocgc::base::random::Random;
use mallocgc::os::fault;
use mallocgc::raw::{
    AllocFlags, Config, Ephemeron, EphemeronError, Force, Heap, Layout, Mutator, Step, TypeLayout,
};
use std::ptr::NonNull;
use support::memory::Object;
use support::specials::{Log, Nodes, entries, gc, is_allocated, log_value, make, manual, refer};

fn ephemeron(m: &Mutator, key: Object, value: Object) -> Ephemeron {
    m.ephemeron(key, value.as_ptr()).expect("an ephemeron")
}

fn key(m: &Mutator, ephemeron: Ephemeron) -> Option<Object> {
    unsafe { ephemeron.key(m) }
}

fn value(m: &Mutator, ephemeron: Ephemeron) -> Option<Object> {
    unsafe { ephemeron.value(m) }
}

/// An array of references, as a root.
struct Table {
    array: Object,
}

impl Table {
    fn new(heap: &Heap, m: &Mutator, len: usize) -> Table {
        let layout = heap.layout(&TypeLayout::repeat(1, 1)).expect("a layout");
        let array = m.new_array(layout, len).expect("memory");
        m.push_root(array);
        Table { array }
    }

    fn set(&self, m: &Mutator, index: usize, object: Object) {
        refer(m, self.array, index, object);
    }

    fn clear(&self, m: &Mutator, index: usize) {
        support::memory::unlink(m, self.array, index);
    }
}

#[test]
fn a_value_lives_as_long_as_its_key() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let (k, v) = (make(&m, 48), make(&m, 64));
    let e = ephemeron(&m, k, v);
    m.push_root(e.as_ptr());
    m.push_root(k);
    for _ in 0..3 {
        gc(&m);
        assert_eq!((key(&m, e), value(&m, e)), (Some(k), Some(v)));
        assert!(is_allocated(&heap, v));
    }
    m.truncate_roots(1);
    assert_eq!(value(&m, e), Some(v), "nothing happens before a cycle");
    gc(&m);
    assert_eq!((key(&m, e), value(&m, e)), (None, None));
    assert!(!is_allocated(&heap, k) && !is_allocated(&heap, v));
    assert_eq!(heap.special_counts().ephemerons_cleared, 1);
    gc(&m);
    assert_eq!(heap.special_counts().ephemerons_cleared, 1, "cleared once");
}

#[test]
fn a_key_alone_keeps_no_value() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let (k, v) = (make(&m, 48), make(&m, 64));
    let e = ephemeron(&m, k, v);
    m.push_root(k);
    gc(&m);
    assert!(is_allocated(&heap, k));
    assert!(!is_allocated(&heap, v), "the ephemeron was unreachable");
    assert!(!is_allocated(&heap, e.as_ptr()));
    assert_eq!(heap.special_counts().ephemerons_cleared, 0, "dead ones are not cleared");
}

#[test]
fn a_value_that_leads_to_its_own_key_does_not_keep_it() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let (k, v) = (nodes.make(&m, 1), nodes.make(&m, 2));
    refer(&m, v, 0, k);
    let own = nodes.make(&m, 3);
    let (first, second) = (ephemeron(&m, k, v), ephemeron(&m, own, own));
    m.push_root(first.as_ptr());
    m.push_root(second.as_ptr());
    gc(&m);
    assert_eq!((value(&m, first), value(&m, second)), (None, None));
    assert_eq!(heap.special_counts().ephemerons_cleared, 2);
}

#[test]
fn ephemerons_in_a_cycle_keep_nothing() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let table = Table::new(&heap, &m, 100);
    let keys: Vec<Object> = (0..100).map(|_| make(&m, 48)).collect();
    for index in 0..100 {
        let e = ephemeron(&m, keys[index], keys[(index + 1) % 100]);
        table.set(&m, index, e.as_ptr());
    }
    m.push_root(keys[37]);
    gc(&m);
    assert!(keys.iter().all(|&key| is_allocated(&heap, key)), "one key leads to all");
    m.truncate_roots(1);
    gc(&m);
    assert!(!keys.iter().any(|&key| is_allocated(&heap, key)));
    assert_eq!(heap.special_counts().ephemerons_cleared, 100);
}

/// A chain in which each value is the next key, in a table in an order that
/// reveals one at a time. Looked through once for each link it would take hours.
fn chain(config: Config, len: usize) {
    let heap = support::heap_with(config);
    let m = heap.attach().expect("a mutator");
    let table = Table::new(&heap, &m, len);
    let nodes = Nodes::new(&heap);
    let first = nodes.make(&m, 0);
    m.push_root(first);
    let mut last = first;
    for index in 0..len {
        let next = nodes.make(&m, index as u64 + 1);
        table.set(&m, index, ephemeron(&m, last, next).as_ptr());
        last = next;
    }
    gc(&m);
    assert!(is_allocated(&heap, last));
    assert_eq!(heap.special_counts().ephemerons_cleared, 0);
    let objects = heap.stats().heap_objects;
    assert_eq!(objects, 2 * len as u64 + 2, "keys, ephemerons, the table and the first");
    m.truncate_roots(1);
    gc(&m);
    assert_eq!(heap.special_counts().ephemerons_cleared, len as u64);
    assert_eq!(heap.stats().heap_objects, len as u64 + 1);
}

#[test]
fn a_long_chain_is_marked_in_linear_time() {
    chain(support::manual(), support::scaled(400_000));
}

#[test]
fn several_markers_agree_on_a_chain() {
    chain(Config { workers: 3, ..support::manual() }, support::scaled(400_000));
}

/// Each ephemeron is the value of the one before: they are found one by one
/// while their keys are watched already.
#[test]
fn ephemerons_that_only_values_lead_to_are_resolved() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let len = support::scaled(100_000);
    let last_value = nodes.make(&m, 7);
    m.push_root(last_value);
    let (mut value_of_next, mut key_of_next) = (last_value, None);
    let mut all = Vec::new();
    // From the end: an ephemeron leads to a node with the next ephemeron and its key.
    for index in 0..len {
        let k = nodes.make(&m, index as u64);
        let e = ephemeron(&m, k, value_of_next);
        let holder = nodes.make(&m, 0);
        refer(&m, holder, 0, e.as_ptr());
        if index % 2 == 0 {
            refer(&m, holder, 1, k);
        } else {
            // This key is the next holder's business.
            key_of_next = Some(k);
        }
        let outer = nodes.make(&m, 0);
        refer(&m, outer, 0, holder);
        if let Some(k) = key_of_next.take() {
            refer(&m, outer, 1, k);
        }
        all.push((k, e));
        value_of_next = outer;
    }
    m.truncate_roots(0);
    m.push_root(value_of_next);
    gc(&m);
    assert!(is_allocated(&heap, last_value));
    assert!(all.iter().all(|&(k, e)| key(&m, e) == Some(k)));
}

/// Keys of every kind of span: tiny, small, behind a header, joined or of any
/// class, large; with references and without; reached by their middle.
#[test]
fn keys_may_lie_anywhere() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let words = heap.layout(&TypeLayout::conservative(8)).expect("a layout");
    let masked = heap.layout(&TypeLayout::mask(3, 0b101)).expect("a layout");
    let mut keys = Vec::new();
    for size in [3, 8, 16, 24, 48, 300, 1024, 5000, 32 << 10, 40 << 10, 1 << 20] {
        keys.push(m.mallocgc(size, Layout::NOSCAN, AllocFlags::NO_TINY).expect("memory"));
        keys.push(m.mallocgc(size.max(8), words, AllocFlags::NONE).expect("memory"));
    }
    keys.push(m.mallocgc(3, Layout::NOSCAN, AllocFlags::NONE).expect("memory"));
    keys.push(m.new_object(masked).expect("memory"));
    // Every key comes alive through an ephemeron only: watching has to see it.
    let start = make(&m, 64);
    let table = Table::new(&heap, &m, keys.len() + 1);
    let mut before = start;
    for (index, &k) in keys.iter().enumerate() {
        let e = ephemeron(&m, before, unsafe { k.add(1) });
        table.set(&m, index, e.as_ptr());
        before = k;
    }
    let last = make(&m, 64);
    table.set(&m, keys.len(), ephemeron(&m, before, last).as_ptr());
    m.push_root(start);
    for _ in 0..3 {
        gc(&m);
        assert!(keys.iter().all(|&key| is_allocated(&heap, key)) && is_allocated(&heap, last));
    }
    m.truncate_roots(1);
    gc(&m);
    assert!(!keys.iter().any(|&key| is_allocated(&heap, key)) && !is_allocated(&heap, last));
}

#[test]
fn what_never_dies_keeps_its_value() {
    static OUTSIDE: [u8; 16] = [0; 16];
    let heap = manual();
    heap.register_static_range(OUTSIDE.as_ptr(), OUTSIDE.len());
    let m = heap.attach().expect("a mutator");
    let outside = NonNull::from(&OUTSIDE[3]);
    let zero = m.mallocgc(0, Layout::NOSCAN, AllocFlags::NONE).expect("an address");
    for k in [outside, zero] {
        let v = make(&m, 64);
        let e = ephemeron(&m, k, v);
        m.push_root(e.as_ptr());
        gc(&m);
        assert_eq!((key(&m, e), value(&m, e)), (Some(k), Some(v)));
        assert!(is_allocated(&heap, v));
    }
}

/// The key's finalizer brings it back: it is cleared all the same, as a weak
/// handle would be, and a new ephemeron holds.
#[test]
fn a_key_brought_back_by_its_finalizer_is_gone_for_the_ephemeron() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let (k, v) = (nodes.make(&m, 5), nodes.make(&m, 6));
    let back = heap.root(k).expect("a root");
    let dummy = nodes.make(&m, 0);
    back.set(dummy);
    let e = ephemeron(&m, k, v);
    m.push_root(e.as_ptr());
    m.set_finalizer(k, move |_, object| {
        back.set(object);
        std::mem::forget(back);
    })
    .expect("a finalizer");
    gc(&m);
    assert_eq!((key(&m, e), value(&m, e)), (None, None));
    assert!(is_allocated(&heap, k) && !is_allocated(&heap, v));
    assert_eq!(m.run_finalizers(10), 1);
    gc(&m);
    assert!(is_allocated(&heap, k), "the finalizer made it a root");
    let again = nodes.make(&m, 7);
    let e = ephemeron(&m, k, again);
    m.push_root(e.as_ptr());
    gc(&m);
    assert_eq!(value(&m, e), Some(again));
}

/// What a finalizer may touch is alive until it has run, keys among it; and
/// ephemerons, with their values.
#[test]
fn what_a_finalizer_refers_to_is_alive() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let (finalized, k, v, w) =
        (nodes.make(&m, 1), nodes.make(&m, 2), nodes.make(&m, 3), nodes.make(&m, 4));
    let (outer, inner) = (ephemeron(&m, k, v), ephemeron(&m, v, w));
    refer(&m, finalized, 0, k);
    refer(&m, finalized, 1, inner.as_ptr());
    m.push_root(outer.as_ptr());
    m.set_finalizer(finalized, log_value(&log)).expect("a finalizer");
    gc(&m);
    assert_eq!((value(&m, outer), value(&m, inner)), (Some(v), Some(w)));
    assert_eq!(m.run_finalizers(10), 1);
    assert_eq!(entries(&log), [1]);
    gc(&m);
    assert_eq!(value(&m, outer), None);
    assert!(!is_allocated(&heap, v) && !is_allocated(&heap, w));
}

#[test]
fn a_finalizer_of_a_value_runs_when_the_key_dies() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let log = Log::default();
    let (k, v) = (nodes.make(&m, 1), nodes.make(&m, 2));
    let e = ephemeron(&m, k, v);
    m.set_finalizer(v, log_value(&log)).expect("a finalizer");
    m.set_finalizer(e.as_ptr(), |_, _| {}).expect("an ephemeron is an object");
    m.push_root(e.as_ptr());
    m.push_root(k);
    gc(&m);
    assert_eq!(m.run_finalizers(10), 0);
    m.truncate_roots(0);
    // The ephemeron keeps itself for its finalizer; its key is dead.
    gc(&m);
    assert_eq!(m.run_finalizers(10), 2);
    assert_eq!(entries(&log), [2]);
}

#[test]
fn values_change_and_bad_arguments_are_refused() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let (k, v, w) = (make(&m, 48), make(&m, 64), make(&m, 64));
    let e = ephemeron(&m, k, v);
    m.push_root(e.as_ptr());
    m.push_root(k);
    unsafe { e.set_value(&m, w.as_ptr()) }.expect("it lives");
    gc(&m);
    assert!(!is_allocated(&heap, v) && is_allocated(&heap, w));
    let stray = Address::new(0x1000);
    let refused = Err(EphemeronError::NotAllocated { address: stray });
    assert_eq!(unsafe { e.set_value(&m, stray.as_ptr()) }, refused);
    assert_eq!(m.ephemeron(k, stray.as_ptr()).map(drop), refused);
    assert_eq!(m.ephemeron(NonNull::new(stray.as_ptr()).unwrap(), k.as_ptr()).map(drop), refused);
    assert_eq!(value(&m, e), Some(w), "nothing changed");
    unsafe { e.set_value(&m, std::ptr::null_mut()) }.expect("null is no value");
    gc(&m);
    assert_eq!((key(&m, e), value(&m, e)), (Some(k), None));
    unsafe { e.clear(&m) };
    assert_eq!(unsafe { e.set_value(&m, k.as_ptr()) }, Err(EphemeronError::Cleared));
    let address = |object: Object| Address::from_ptr(object.as_ptr());
    assert_eq!(m.find_ephemeron(address(e.as_ptr())), Some(e));
    assert_eq!(m.find_ephemeron(address(k)), None);
    assert_eq!(m.find_ephemeron(address(e.as_ptr()).add(8)), None);
    assert_eq!(m.find_ephemeron(stray), None);
}

/// Marking needs no memory: neither for the table of keys nor for its stack.
#[test]
fn without_memory_the_same_live() {
    for n in [1, 2, 3, 5] {
        let heap = manual();
        let m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let len = 2000;
        let table = Table::new(&heap, &m, len + 1);
        let mut last = nodes.make(&m, 0);
        let first = heap.root(last).expect("a root");
        for index in 0..len {
            let next = nodes.make(&m, 1);
            table.set(&m, index, ephemeron(&m, last, next).as_ptr());
            last = next;
        }
        let guard = fault::fail_from(n);
        gc(&m);
        drop(guard);
        assert!(is_allocated(&heap, last), "refused from call {n} on");
        drop(first);
        let guard = fault::fail_from(n);
        gc(&m);
        drop(guard);
        assert_eq!(heap.special_counts().ephemerons_cleared, len as u64);
        table.clear(&m, 0);
    }
}

/// Random graphs against a fixpoint that is written as the definition reads.
#[test]
fn random_graphs_agree_with_the_definition() {
    const NODES: usize = 60;
    for seed in 0..support::scaled(400) as u64 {
        let mut random = Random::new(seed);
        let workers = 1 + (seed % 2) as usize;
        let config = Config { background: false, workers, ..support::manual() };
        let heap = support::heap_with(config);
        let m = heap.attach().expect("a mutator");
        let nodes = Nodes::new(&heap);
        let count = 1 + random.below(NODES as u64) as usize;
        let pick = |random: &mut Random| random.below(count as u64) as usize;
        let objects: Vec<Object> = (0..count).map(|at| nodes.make(&m, at as u64)).collect();
        let mut edges = Vec::new();
        for _ in 0..pick(&mut random) {
            // One of two slots: the last store counts.
            let (from, slot, to) = (pick(&mut random), random.below(2), pick(&mut random));
            refer(&m, objects[from], slot as usize, objects[to]);
            edges.retain(|&(f, s, _)| (f, s) != (from, slot));
            edges.push((from, slot, to));
        }
        // All ephemerons are reachable.
        let table = Table::new(&heap, &m, count);
        let mut ephemerons = Vec::new();
        for at in 0..pick(&mut random) {
            let (k, v) = (pick(&mut random), pick(&mut random));
            let e = ephemeron(&m, objects[k], objects[v]);
            table.set(&m, at, e.as_ptr());
            ephemerons.push((e, k, v));
        }
        let roots: Vec<usize> = (0..random.below(4)).map(|_| pick(&mut random)).collect();
        for &root in &roots {
            m.push_root(objects[root]);
        }
        let mut alive = vec![false; count];
        for &root in &roots {
            alive[root] = true;
        }
        loop {
            let before = alive.clone();
            for &(from, _, to) in &edges {
                alive[to] |= alive[from];
            }
            for &(_, k, v) in &ephemerons {
                alive[v] |= alive[k];
            }
            if alive == before {
                break;
            }
        }
        gc(&m);
        for at in 0..count {
            assert_eq!(is_allocated(&heap, objects[at]), alive[at], "node {at}, seed {seed}");
        }
        for &(e, k, v) in &ephemerons {
            let expected = alive[k].then_some((objects[k], objects[v]));
            assert_eq!(key(&m, e).zip(value(&m, e)), expected, "seed {seed}");
        }
        assert_eq!(m.verify(), Ok(None), "seed {seed}");
    }
}

/// Settings under which the test marks step by step, beside itself.
fn stepped() -> Heap {
    let config = Config { concurrent_from_bytes: 0, background: false, ..support::manual() };
    support::heap_with(config)
}

fn finish(m: &Mutator) {
    while m.step(Force::NowAndSweep, 1 << 20).expect("a step") != Step::Finished {}
}

/// What an ephemeron gives away while marking runs was perhaps not reachable when it
/// began, and lives all the same.
#[test]
fn what_is_read_while_marking_runs_lives() {
    let heap = stepped();
    let m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let pair = || (nodes.make(&m, 1), nodes.make(&m, 2));
    let [(k, v), (read_key, read_value), (cleared_key, cleared), (lost_key, lost)] =
        [(); 4].map(|()| pair());
    let holders = [(k, v), (read_key, read_value), (cleared_key, cleared), (lost_key, lost)]
        .map(|(k, v)| ephemeron(&m, k, v));
    for holder in holders {
        m.push_root(holder.as_ptr());
    }
    // What is pushed from here on is no root of this cycle.
    assert_eq!(m.step(Force::Now, 1), Ok(Step::Marking));
    m.push_root(key(&m, holders[0]).expect("a key"));
    m.push_root(value(&m, holders[1]).expect("a value"));
    m.push_root(value(&m, holders[2]).expect("a value"));
    unsafe { holders[2].clear(&m) };
    finish(&m);
    assert_eq!((key(&m, holders[0]), value(&m, holders[0])), (Some(k), Some(v)));
    assert!(is_allocated(&heap, v), "its key was read");
    assert_eq!(value(&m, holders[1]), None, "its key was not");
    assert!(is_allocated(&heap, read_value) && !is_allocated(&heap, read_key));
    assert!(is_allocated(&heap, cleared) && !is_allocated(&heap, cleared_key));
    assert!(!is_allocated(&heap, lost) && !is_allocated(&heap, lost_key));
    assert_eq!(m.verify(), Ok(None));
}

/// Keys and values that are made while marking runs, and a chain that is worked off at its end.
#[test]
fn newborns_may_be_keys_and_values() {
    let heap = stepped();
    let m = heap.attach().expect("a mutator");
    let nodes = Nodes::new(&heap);
    let len = support::scaled(20_000);
    let table = Table::new(&heap, &m, 2 * len);
    let first = nodes.make(&m, 0);
    m.push_root(first);
    let mut last = first;
    for index in 0..len {
        let next = nodes.make(&m, 1);
        table.set(&m, index, ephemeron(&m, last, next).as_ptr());
        last = next;
    }
    let old = ephemeron(&m, first, first);
    m.push_root(old.as_ptr());
    assert_eq!(m.step(Force::Now, 1), Ok(Step::Marking));
    let newborn = nodes.make(&m, 2);
    unsafe { old.set_value(&m, newborn.as_ptr()) }.expect("it lives");
    for index in len..2 * len {
        let next = nodes.make(&m, 3);
        table.set(&m, index, ephemeron(&m, last, next).as_ptr());
        last = next;
        if index % 1000 == 0 {
            m.step(Force::Now, 4096).expect("a step");
        }
    }
    finish(&m);
    assert!(is_allocated(&heap, last) && value(&m, old) == Some(newborn));
    assert_eq!(m.verify(), Ok(None));
    m.truncate_roots(1);
    finish(&m);
    finish(&m);
    assert_eq!(heap.special_counts().ephemerons_cleared, 2 * len as u64);
    assert_eq!(heap.stats().heap_objects, 2 * len as u64 + 1, "the table and its ephemerons");
}

/// Mutators read, exchange and clear what a marker looks at on a thread of its own. Every object
/// carries a word that only a living one has.
#[test]
fn mutators_use_ephemerons_beside_the_marker() {
    const ALIVE: u64 = 0xa11e;
    let len = 2000;
    let config = Config {
        concurrent_from_bytes: 0,
        min_heap_bytes: 1 << 20,
        mark_delay_seed: 7,
        verify: true,
        clobber: support::CLOBBER,
        gc_percent: Some(50),
        ..support::config()
    };
    let heap = support::heap_with(config);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let heap = &heap;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let m = heap.attach().expect("a mutator");
                let nodes = Nodes::new(heap);
                let (keys, table) = (Table::new(heap, &m, len), Table::new(heap, &m, len));
                let at = |table: &Table, index| support::memory::reference(table.array, index);
                for _ in 0..support::scaled(60_000) {
                    let index = random.below(len as u64) as usize;
                    let base = m.root_count();
                    let held = at(&table, index).map(|e| unsafe { Ephemeron::from_ptr(e) });
                    match (random.below(8), held) {
                        (0..3, _) | (_, None) => {
                            let (k, v) = (nodes.make(&m, ALIVE), nodes.make(&m, ALIVE));
                            table.set(&m, index, ephemeron(&m, k, v).as_ptr());
                            keys.set(&m, index, k);
                        }
                        // The key is dead from here on, unless somebody reads it.
                        (3, _) => keys.clear(&m, index),
                        (4, Some(e)) => {
                            if let Some(k) = key(&m, e) {
                                m.push_root(k);
                                m.poll();
                                assert_eq!(support::specials::value(k), ALIVE, "seed {seed}");
                                let held = value(&m, e).expect("the key lives");
                                assert_eq!(support::specials::value(held), ALIVE, "seed {seed}");
                            }
                        }
                        (5, Some(e)) => {
                            if let Some(v) = value(&m, e) {
                                m.push_root(v);
                                unsafe { e.clear(&m) };
                                m.poll();
                                assert_eq!(support::specials::value(v), ALIVE, "seed {seed}");
                            }
                        }
                        (_, Some(e)) => {
                            let v = nodes.make(&m, ALIVE);
                            if unsafe { e.set_value(&m, v.as_ptr()) }.is_ok() {
                                // A value that leads to another ephemeron and its own key.
                                refer(&m, v, 0, e.as_ptr());
                                key(&m, e).inspect(|&k| refer(&m, v, 1, k));
                            }
                        }
                    }
                    m.truncate_roots(base);
                    m.poll();
                }
                // The keys that are left have died, and the table still has the ephemerons.
                (0..len).for_each(|index| keys.clear(&m, index));
                m.gc(Force::Now).expect("a collection");
            });
        }
    });
    assert_eq!(heap.verify(), Ok(None));
    heap.gc(Force::NowAndSweep).expect("a collection");
    heap.gc(Force::NowAndSweep).expect("a collection");
    assert_eq!(heap.stats().heap_objects, 0, "nobody holds anything");
    assert!(heap.special_counts().ephemerons_cleared > 0);
}
