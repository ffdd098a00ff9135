//! Pressure hooks: told before a limit bites, at a boundary, once a cycle, and harmless.

use crate::support;
use crate::{MIB, block, kept};
use mallocgc::raw::{
    AllocError, AllocFlags, Config, Force, GcError, Heap, HeapError, Layout, LimitKind, Pressure,
    Root,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const NONE: AllocFlags = AllocFlags::NONE;
const SAFEPOINT: AllocFlags = AllocFlags::SAFEPOINT;
const LIMIT: usize = 16 * MIB;

fn limited(gc_percent: Option<u32>) -> Heap {
    let config = Config { gc_percent, heap_limit_bytes: LIMIT, ..support::manual() };
    support::heap_with(config)
}

/// What a heap's hook was told.
type Told = Arc<Mutex<Vec<Pressure>>>;

fn listen(heap: &Heap) -> Told {
    let told = Told::default();
    let kept = told.clone();
    heap.add_pressure_hook(move |pressure| kept.lock().unwrap().push(*pressure));
    told
}

thread_local! {
    /// Whether this thread is inside an allocation that is no boundary.
    static ALLOCATING: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn the_hook_is_told_before_the_limit_bites() {
    for gc_percent in [None, Some(100)] {
        for bytes in [1000, 100_000] {
            let heap = limited(gc_percent);
            let m = heap.attach().unwrap();
            let told = listen(&heap);
            heap.add_pressure_hook(|_| assert!(!ALLOCATING.get(), "inside an allocation"));
            let mut quiet = 0;
            loop {
                ALLOCATING.set(true);
                let made = kept(&m, bytes, NONE);
                ALLOCATING.set(false);
                if made.is_err() {
                    break;
                }
                m.poll();
                if told.lock().unwrap().is_empty() {
                    quiet += bytes;
                }
            }
            let first = told.lock().unwrap()[0];
            assert_eq!((first.kind, first.limit_bytes), (LimitKind::Heap, LIMIT as u64));
            assert!(first.current_bytes <= LIMIT as u64, "{first:?}");
            assert!(first.current_bytes >= LIMIT as u64 / 8 * 7, "{first:?}");
            assert!(quiet >= LIMIT / 10 * 8, "told too early: {quiet}");
            let stats = heap.stats();
            stats.check().unwrap();
            assert_eq!(stats.pressure_panicked, 0);
            assert!(stats.pressure_calls >= 2);
        }
    }
}

#[test]
fn garbage_is_no_pressure() {
    let heap = limited(Some(100));
    let m = heap.attach().unwrap();
    let told = listen(&heap);
    for _ in 0..8 {
        kept(&m, MIB, NONE).unwrap();
    }
    for _ in 0..2000 {
        block(&m, 100_000, SAFEPOINT).unwrap();
    }
    assert!(heap.stats().num_gc > 10);
    assert_eq!(*told.lock().unwrap(), [], "half of the limit lives");
}

#[test]
fn what_a_hook_drops_saves_the_allocation_at_a_safepoint() {
    let heap = limited(None);
    let m = heap.attach().unwrap();
    let pool: Arc<Mutex<Vec<Root>>> = Arc::default();
    let dropped = pool.clone();
    heap.add_pressure_hook(move |_| dropped.lock().unwrap().clear());
    for round in 0..10 {
        for _ in 0..12 {
            let object = m.mallocgc(MIB, Layout::NOSCAN, NONE).unwrap();
            pool.lock().unwrap().push(heap.root(object).unwrap());
        }
        // More than is left: no boundary came before it.
        block(&m, 8 * MIB, SAFEPOINT).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(pool.lock().unwrap().is_empty());
        m.gc(Force::NowAndSweep).unwrap();
    }
    assert_eq!(heap.stats().pressure_calls, 10);
}

#[test]
fn a_hook_runs_once_for_each_cycle() {
    let heap = limited(None);
    let m = heap.attach().unwrap();
    let told = listen(&heap);
    for _ in 0..16 {
        kept(&m, MIB, NONE).unwrap();
        m.poll();
    }
    assert_eq!(told.lock().unwrap().len(), 1);
    (0..100).for_each(|_| m.poll());
    assert_eq!(told.lock().unwrap().len(), 1);
    m.gc(Force::Now).unwrap();
    assert_eq!(told.lock().unwrap().len(), 2, "still near after another cycle");
    m.truncate_roots(4);
    m.gc(Force::Now).unwrap();
    m.poll();
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn a_hook_that_enters_the_heap_gets_errors() {
    let heap = limited(None);
    let m = heap.attach().unwrap();
    // The thread's own chunks are open.
    block(&m, 16, NONE).unwrap();
    block(&m, 5, NONE).unwrap();
    let object = m.mallocgc(64, Layout::NOSCAN, NONE).unwrap();
    let root = heap.root(object).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let (counted, inner) = (seen.clone(), heap.clone());
    // A hook gets no mutator; one that has another way to the thread's is as good.
    let own = &raw const m as usize;
    heap.add_pressure_hook(move |_| {
        assert_eq!(inner.gc(Force::Now), Err(GcError::Reentrant));
        assert!(matches!(inner.attach(), Err(HeapError::Reentrant)));
        assert_eq!(inner.verify(), Err(GcError::Reentrant));
        assert_eq!(inner.release_memory(), 0);
        // SAFETY: the hook runs on the mutator's thread, while that lives.
        let m = unsafe { &*std::ptr::with_exposed_provenance::<mallocgc::raw::Mutator>(own) };
        for bytes in [1, 5, 16, 1000, 100_000] {
            for flags in [NONE, SAFEPOINT] {
                let made = m.mallocgc(bytes, Layout::NOSCAN, flags);
                assert_eq!(made, Err(AllocError::Reentrant), "{bytes} bytes");
            }
        }
        m.poll();
        assert_eq!(m.gc(Force::Now), Err(GcError::Reentrant));
        // Reading and dropping is allowed.
        assert!(
            inner.find_object(mallocgc::base::Address::from_ptr(root.get().as_ptr())).is_some()
        );
        counted.fetch_add(1, Relaxed);
    });
    let exposed = (&raw const m).expose_provenance();
    assert_eq!(exposed, own);
    for _ in 0..15 {
        kept(&m, MIB, NONE).unwrap();
    }
    kept(&m, MIB / 2, NONE).unwrap();
    m.poll();
    let stats = heap.stats();
    assert_eq!((seen.load(Relaxed), stats.pressure_calls, stats.pressure_panicked), (1, 1, 0));
    block(&m, 16, NONE).unwrap();
    assert_eq!(m.verify().unwrap(), None);
}

#[test]
fn a_panic_is_contained_and_counted() {
    let heap = limited(None);
    let m = heap.attach().unwrap();
    heap.add_pressure_hook(|_| panic!("a hook's own fault"));
    let told = listen(&heap);
    for _ in 0..16 {
        kept(&m, MIB, NONE).unwrap();
    }
    m.poll();
    let stats = heap.stats();
    stats.check().unwrap();
    assert_eq!((stats.pressure_calls, stats.pressure_panicked), (2, 1));
    assert_eq!(told.lock().unwrap().len(), 1, "the next hook runs");
    m.truncate_roots(0);
    m.gc(Force::NowAndSweep).unwrap();
    block(&m, MIB, NONE).unwrap();
}

#[test]
fn a_removed_hook_is_told_nothing() {
    let heap = limited(None);
    let other = limited(None);
    let m = heap.attach().unwrap();
    let told = Told::default();
    let kept_told = told.clone();
    let hook = heap.add_pressure_hook(move |pressure| kept_told.lock().unwrap().push(*pressure));
    let elsewhere = other.add_pressure_hook(|_| ());
    assert!(!heap.remove_pressure_hook(elsewhere), "another heap's");
    for _ in 0..16 {
        kept(&m, MIB, NONE).unwrap();
    }
    assert!(heap.remove_pressure_hook(hook));
    assert!(!heap.remove_pressure_hook(hook));
    m.poll();
    assert_eq!(*told.lock().unwrap(), []);
    assert_eq!(Arc::strong_count(&told), 1, "its captures are dropped");
}

#[test]
fn a_changed_limit_and_external_bytes_raise_pressure() {
    let heap = limited(None);
    let m = heap.attach().unwrap();
    let told = listen(&heap);
    for _ in 0..8 {
        kept(&m, MIB, NONE).unwrap();
    }
    m.gc(Force::Now).unwrap();
    assert_eq!(*told.lock().unwrap(), []);
    let outside = heap.external(7 * MIB);
    m.poll();
    let seen = told.lock().unwrap().clone();
    assert_eq!((seen.len(), seen[0].kind), (1, LimitKind::Heap));
    assert!((15 * MIB as u64..LIMIT as u64).contains(&seen[0].current_bytes), "{seen:?}");
    drop(outside);
    m.gc(Force::Now).unwrap();
    assert_eq!(told.lock().unwrap().len(), 1);
    heap.set_memory_limit_bytes(8 * MIB);
    m.poll();
    let last = *told.lock().unwrap().last().unwrap();
    assert_eq!((last.kind, last.limit_bytes), (LimitKind::Memory, 8 * MIB as u64));
    assert!(last.current_bytes >= 8 * MIB as u64);
    heap.set_memory_limit_bytes(usize::MAX);
    m.gc(Force::Now).unwrap();
    let before = told.lock().unwrap().len();
    heap.set_heap_limit_bytes(8 * MIB);
    m.poll();
    assert_eq!(told.lock().unwrap().len(), before + 1);
}

#[test]
fn hooks_of_many_threads_are_told_once() {
    let heap = limited(Some(100));
    let told = listen(&heap);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let m = heap.attach().unwrap();
                while kept(&m, 50_000, SAFEPOINT).is_ok() {
                    m.poll();
                }
                m.truncate_roots(0);
            });
        }
    });
    let (calls, cycles) = (told.lock().unwrap().len() as u64, heap.stats().num_gc);
    assert!((1..=cycles + 1).contains(&calls), "{calls} calls in {cycles} cycles");
}
