//! Weak handles: the origin's own tests of package weak, and our rules.

#![allow(missing_docs, clippy::undocumented_unsafe_blocks, reason = "tests on objects they made")]

mod support;

use mallocgc::base::Address;
use mallocgc::raw::{
    AllocFlags, Config, Force, Heap, Mutator, Placement, TypeLayout, Weak, WeakError,
};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::specials::{LONG, gc, make, manual};

fn weak(m: &Mutator, object: NonNull<u8>) -> Weak {
    m.weak(object).expect("a handle").0
}

/// Pointer: it gives the object while that lives, and nothing after.
#[test]
fn weak_pointer_clears_when_the_object_dies() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let object = make(&m, 48);
    let (handle, placement) = m.weak(object).expect("a handle");
    assert_eq!(placement, Placement::Own);
    m.push_root(object);
    for _ in 0..3 {
        gc(&m);
        assert_eq!(handle.get(&m), Some(object));
    }
    m.truncate_roots(0);
    assert_eq!(handle.get(&m), Some(object), "nothing happens before a cycle");
    gc(&m);
    assert_eq!(handle.get(&m), None);
    assert!(handle.is_cleared());
    let counts = heap.special_counts();
    assert_eq!((counts.weak_made, counts.weak_cleared), (1, 1));
}

/// PointerEquality: equal places, equal handles; per offset; after death too;
/// the default is the handle of null.
#[test]
fn weak_pointer_equality_survives_death() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let objects: Vec<_> = (0..10).map(|_| make(&m, 64)).collect();
    let offsets = [0, 8, 63];
    let at = |object: NonNull<u8>, offset| unsafe { object.add(offset) };
    let all = |m: &Mutator| -> Vec<Weak> {
        let places = objects.iter().flat_map(|&object| offsets.map(|offset| at(object, offset)));
        places.map(|place| weak(m, place)).collect()
    };
    let (first, second) = (all(&m), all(&m));
    let distinct = |handles: &[Weak]| handles.iter().cloned().collect::<HashSet<_>>().len();
    let check = |first: &[Weak], second: &[Weak]| {
        assert_eq!(first, second);
        assert_eq!(distinct(first), 30, "each place has a handle of its own");
        for (index, handle) in first.iter().enumerate() {
            assert_eq!(handle, &second[index].clone());
            assert_ne!(handle, &second[(index + 1) % second.len()]);
        }
    };
    check(&first, &second);
    for &object in &objects {
        m.push_root(object);
    }
    gc(&m);
    check(&first, &second);
    assert_eq!(first[1].get(&m), Some(at(objects[0], 8)), "the place, not the object");
    m.truncate_roots(0);
    gc(&m);
    assert!(first.iter().all(Weak::is_cleared));
    check(&first, &second);
    assert_eq!(Weak::default(), Weak::default());
    assert!(Weak::default().is_cleared() && Weak::default().get(&m).is_none());
    assert_ne!(first[0], Weak::default(), "a cleared handle is not that of null");
}

#[test]
fn a_record_with_handles_is_not_reused_and_one_without_is() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let mut dead = Vec::new();
    for _ in 0..1000 {
        dead.push(weak(&m, make(&m, 32)));
    }
    gc(&m);
    for _ in 0..1000 {
        let fresh = weak(&m, make(&m, 32));
        assert!(!dead.contains(&fresh));
    }
    gc(&m);
    dead.clear();
    let before = heap.special_counts().record_bytes;
    for _ in 0..20 {
        for _ in 0..1000 {
            drop(weak(&m, make(&m, 32)));
        }
        gc(&m);
    }
    let after = heap.special_counts().record_bytes;
    assert!(after <= before.max(128 << 10), "records are reused: {before} and {after} bytes");
}

/// PointerFinalizer: cleared once the finalizer is queued, also after the
/// object was brought back.
#[test]
fn weak_pointer_is_cleared_when_the_finalizer_is_queued() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let handle = weak(&m, object);
    let (sender, receiver) = mpsc::channel();
    let inner = handle.clone();
    m.set_finalizer(object, move |m, object| {
        assert_eq!(inner.get(m), None, "cleared before the finalizer runs");
        let again = weak(m, object);
        assert_ne!(again, inner, "a new handle is another one");
        assert_eq!(again.get(m), Some(object));
        sender.send((m.heap().root(object).expect("a root"), again)).expect("a receiver");
    })
    .expect("set");
    m.push_root(object);
    gc(&m);
    assert_eq!(handle.get(&m), Some(object));
    m.truncate_roots(0);
    gc(&m);
    assert_eq!(handle.get(&m), None, "queued");
    assert_eq!(m.run_finalizers(usize::MAX), 1);
    assert_eq!(heap.special_counts().finalizers.panicked, 0);
    let (root, again) = receiver.recv().expect("sent");
    gc(&m);
    assert_eq!(handle.get(&m), None, "for ever");
    assert_eq!(again.get(&m), Some(root.get()), "the object lives");
    drop(root);
    gc(&m);
    gc(&m);
    assert_eq!(again.get(&m), None);
}

/// What a finalizable object refers to is alive for weak handles as well.
#[test]
fn weak_handles_below_a_finalizable_object_clear_with_it() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).expect("a layout");
    let above = m.mallocgc(16, pair, AllocFlags::NONE).expect("memory");
    let below = make(&m, 64);
    unsafe { m.write(above.cast().as_ptr(), below.as_ptr()) };
    m.set_finalizer(above, |_, _| ()).expect("set");
    let handle = weak(&m, below);
    gc(&m);
    assert_eq!(handle.get(&m), Some(below));
    m.run_finalizers(usize::MAX);
    gc(&m);
    assert_eq!(handle.get(&m), None);
}

/// PointerCleanup: cleared when the cleanup is queued.
#[test]
fn weak_pointer_is_cleared_before_the_cleanup_runs() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    let handle = weak(&m, object);
    let inner = handle.clone();
    m.add_cleanup(object.as_ptr(), move |m| assert_eq!(inner.get(m), None)).expect("added");
    gc(&m);
    assert_eq!(handle.get(&m), None);
    assert_eq!(m.run_cleanups(usize::MAX), 1);
    assert_eq!(heap.special_counts().cleanups.panicked, 0);
}

/// PointerSize: one word.
#[test]
fn weak_pointer_is_one_word() {
    assert_eq!(size_of::<Weak>(), size_of::<usize>());
    assert_eq!(size_of::<Option<[Weak; 2]>>(), 3 * size_of::<usize>());
}

/// Issue69210: weak handles made, dropped and turned strong while cycles run.
#[test]
fn weak_handles_turned_strong_beside_cycles_never_lie() {
    const WRITERS: usize = 4;
    let time = Duration::from_millis(700);
    let heap = Heap::new(Config { clobber: 0xdead_dead, ..support::config() }).expect("a heap");
    let end = Instant::now() + time;
    let upgrades = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..WRITERS as u64 {
            let (heap, upgrades) = (heap.clone(), &upgrades);
            scope.spawn(move || {
                let m = heap.attach().expect("a mutator");
                let mut round = 0;
                while Instant::now() < end {
                    let object = make(&m, 64);
                    let mark = thread << 32 | round;
                    unsafe { object.cast::<u64>().write(mark) };
                    let handle = weak(&m, object);
                    if round % 3 == 0 {
                        m.push_root(object);
                    }
                    for _ in 0..(round % 7) {
                        m.poll();
                    }
                    if let Some(object) = handle.get(&m) {
                        assert_eq!(unsafe { object.cast::<u64>().read() }, mark);
                        unsafe { object.cast::<u64>().add(7).write(round) };
                        upgrades.fetch_add(1, SeqCst);
                    } else {
                        assert_ne!(round % 3, 0, "a rooted object's handle cleared");
                    }
                    m.truncate_roots(0);
                    round += 1;
                }
            });
        }
        let heap = heap.clone();
        scope.spawn(move || {
            let m = heap.attach().expect("a mutator");
            while Instant::now() < end {
                m.gc(Force::Now).expect("a collection");
                m.poll();
            }
        });
    });
    assert!(upgrades.load(SeqCst) > 0);
}

/// Issue70739: a place far inside a large object.
#[test]
fn weak_handles_far_inside_a_large_object() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let object = make(&m, 4 << 20);
    let far = unsafe { object.add((4 << 20) - 1) };
    let beyond = unsafe { object.add((512 << 10) + 24) };
    let (first, second, third) = (weak(&m, beyond), weak(&m, far), weak(&m, object));
    assert_ne!(first, second);
    m.push_root(beyond);
    gc(&m);
    assert_eq!(first.get(&m), Some(beyond));
    assert_eq!(second.get(&m), Some(far));
    assert_eq!(third.get(&m), Some(object));
    assert_eq!(weak(&m, far), second);
    m.truncate_roots(0);
    gc(&m);
    assert!(first.is_cleared() && second.is_cleared() && third.is_cleared());
}

/// Immortal: handles on statics and on the zero base never clear.
#[test]
fn weak_handles_on_immortals_never_clear() {
    static GLOBALS: [u64; 256] = [0; 256];
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let global = NonNull::from(&GLOBALS).cast::<u8>();
    let address = Address::from_ptr(global.as_ptr());
    assert_eq!(m.weak(global).expect_err("foreign"), WeakError::NotAllocated { address });
    heap.register_static_range(global.as_ptr(), size_of_val(&GLOBALS));
    let places: Vec<_> = (0..256).map(|word| unsafe { global.add(word * 8) }).collect();
    let handles: Vec<_> = places.iter().map(|&place| m.weak(place).expect("a handle")).collect();
    let zero = m.weak(heap.zero_base()).expect("a handle");
    assert_eq!(zero.1, Placement::Immortal);
    for _ in 0..2 {
        gc(&m);
        for (&place, (handle, placement)) in places.iter().zip(&handles) {
            assert_eq!((handle.get(&m), *placement), (Some(place), Placement::Immortal));
            assert_eq!(&weak(&m, place), handle);
        }
        assert_eq!(zero.0.get(&m), Some(heap.zero_base()));
    }
    let distinct: HashSet<_> = handles.iter().map(|(handle, _)| handle.clone()).collect();
    assert_eq!(distinct.len(), 256);
}

/// Tiny: of a thousand handles on tiny objects most clear, here all.
#[test]
fn weak_handles_on_tiny_objects_clear_with_the_block() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let handles: Vec<_> = (0..1000u64)
        .map(|_| {
            let (handle, placement) = m.weak(make(&m, 8)).expect("a handle");
            assert!(matches!(placement, Placement::SharedBlock { .. }));
            handle
        })
        .collect();
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 1000, "each has its own");
    let kept = handles[500].get(&m).expect("alive");
    m.push_root(kept);
    gc(&m);
    let alive = handles.iter().filter(|handle| !handle.is_cleared()).count();
    assert!((1..=2).contains(&alive), "one block of two lives, not {alive} objects");
    assert_eq!(handles[500].get(&m), Some(kept));
    assert_eq!(heap.special_counts().shared_blocks, 1000);
}

/// WeakToStrongMarkTermination: turning handles strong while cycles end.
#[test]
fn weak_to_strong_beside_ending_cycles() {
    const HANDLES: usize = 2048;
    let heap = support::heap_with(support::config());
    let done = Arc::new(AtomicBool::new(false));
    let cycles = Arc::new(AtomicUsize::new(0));
    let collector = {
        let (heap, done, cycles) = (heap.clone(), done.clone(), cycles.clone());
        std::thread::spawn(move || {
            let m = heap.attach().expect("a mutator");
            while !done.load(SeqCst) {
                m.gc(Force::Now).expect("a collection");
                cycles.fetch_add(1, SeqCst);
            }
        })
    };
    let m = heap.attach().expect("a mutator");
    let pair = heap.layout(&TypeLayout::mask(2, 0b11)).expect("a layout");
    let handles: Vec<_> = (0..HANDLES)
        .map(|_| {
            let object = m.mallocgc(16, pair, AllocFlags::NONE).expect("memory");
            m.push_root(object);
            m.poll();
            weak(&m, object)
        })
        .collect();
    let mut round = 0;
    while cycles.load(SeqCst) < 20 {
        round += 1;
        for (index, handle) in handles.iter().enumerate() {
            let object = handle.get(&m).expect("rooted");
            assert_eq!(object, m.root(index));
            let other = handles[(index + round) % HANDLES].get(&m).expect("rooted");
            unsafe { m.write(object.cast().as_ptr(), other.as_ptr()) };
            m.poll();
        }
    }
    done.store(true, SeqCst);
    let mut m = m;
    m.blocking(|| collector.join().expect("no panic"));
}

#[test]
fn handles_may_be_cloned_and_dropped_on_any_thread_at_any_time() {
    let heap = support::heap_with(support::config());
    let mut m = heap.attach().expect("a mutator");
    let (sender, receiver) = mpsc::channel::<Weak>();
    let dropper = std::thread::spawn(move || {
        // Not a mutator: it drops handles also while the world is stopped.
        receiver.iter().map(|handle| drop((handle.clone(), handle))).count()
    });
    for number in 0..20_000 {
        let object = make(&m, 32);
        let handle = weak(&m, object);
        sender.send(handle.clone()).expect("a receiver");
        if number % 2 == 0 {
            sender.send(handle).expect("a receiver");
        }
        m.poll();
        if number % 1000 == 0 {
            m.gc(Force::Now).expect("a collection");
        }
    }
    drop(sender);
    assert_eq!(m.blocking(|| dropper.join().expect("no panic")), 30_000);
    gc(&m);
    gc(&m);
    let counts = heap.special_counts();
    assert_eq!(counts.weak_made, counts.weak_cleared);
    for _ in 0..20_000 {
        drop(weak(&m, make(&m, 32)));
    }
    let bytes = heap.special_counts().record_bytes;
    assert!(bytes < 30_000 * 40, "the first 20,000 records came back: {bytes} bytes");
}

#[test]
fn a_weak_handle_keeps_the_heap_and_the_last_one_ends_it() {
    let held = Arc::new(());
    let handle = {
        let heap = manual();
        let m = heap.attach().expect("a mutator");
        let object = make(&m, 64);
        let held = held.clone();
        m.set_finalizer(object, move |_, _| drop(held)).expect("set");
        weak(&m, object)
    };
    assert_eq!(Arc::strong_count(&held), 2, "the heap is there");
    let second = handle.clone();
    assert!(!second.is_cleared());
    drop(handle);
    std::thread::spawn(move || drop(second)).join().expect("no panic");
    assert_eq!(Arc::strong_count(&held), 1, "the heap is gone");
}

#[test]
fn a_handle_made_again_after_the_last_was_dropped_is_counted_anew() {
    let heap = manual();
    let m = heap.attach().expect("a mutator");
    let object = make(&m, 64);
    m.push_root(object);
    for _ in 0..3 {
        let first = weak(&m, object);
        let second = weak(&m, object);
        assert_eq!(first, second);
        drop(first);
        drop(second);
        gc(&m);
    }
    assert_eq!(heap.special_counts().weak_made, 1, "the record stays with its object");
    let handle = weak(&m, object);
    m.truncate_roots(0);
    gc(&m);
    assert!(handle.is_cleared());
}

#[test]
#[should_panic(expected = "mutator of another heap")]
fn a_handle_is_read_with_a_mutator_of_its_heap() {
    let (heap, other) = (manual(), manual());
    let (m, stranger) = (heap.attach().expect("a mutator"), other.attach().expect("a mutator"));
    let handle = weak(&m, make(&m, 64));
    let _ = handle.get(&stranger);
}

/// A table of shared strings, as the origin's package unique: equal values
/// have equal handles while somebody uses them.
#[test]
fn a_weak_intern_table_empties() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let mut table: Vec<Option<Weak>> = vec![None; 64];
    let mut intern = |m: &Mutator, value: u64| {
        let slot = &mut table[value as usize % 64];
        if let Some(object) = slot.as_ref().and_then(|handle| handle.get(m)) {
            return object;
        }
        let object = make(m, 24);
        unsafe { object.cast::<u64>().write(value) };
        *slot = Some(weak(m, object));
        object
    };
    for round in 0..10 {
        let first: Vec<_> = (0..64).map(|value| intern(&m, value)).collect();
        let second: Vec<_> = (0..64).map(|value| intern(&m, value)).collect();
        assert_eq!(first, second, "round {round}");
        gc(&m);
    }
    assert!(m.wait_finalizers(LONG));
    assert!(table.iter().flatten().all(Weak::is_cleared));
    assert_eq!(heap.special_counts().weak_cleared, 640);
}

/// The statistics show what became of finalizers, cleanups and weak handles.
#[test]
fn statistics_count_what_became_due() {
    let heap = manual();
    let mut m = heap.attach().expect("a mutator");
    let (dies, stays) = (make(&m, 48), make(&m, 48));
    m.push_root(stays);
    let _handles = [weak(&m, dies), weak(&m, stays)];
    m.set_finalizer(dies, |_, _| panic!("a panic is counted")).expect("a finalizer");
    m.add_cleanup(dies.as_ptr(), |_| {}).expect("a cleanup");
    gc(&m);
    let stats = heap.stats();
    assert_eq!((stats.finalizers_queued, stats.finalizers_executed), (1, 0));
    assert_eq!((stats.weak_handles, stats.weak_cleared), (1, 1));
    assert_eq!(m.run_finalizers(10), 1);
    gc(&m);
    assert_eq!(m.run_cleanups(10), 1);
    let stats = heap.stats();
    assert_eq!((stats.finalizers_executed, stats.finalizers_panicked), (1, 1));
    assert_eq!(
        (stats.cleanups_queued, stats.cleanups_executed, stats.cleanups_panicked),
        (1, 1, 0)
    );
    stats.check().expect("the sums hold");
}
