//! The safe interface at its edges: types and projections with which a safe program could reach what is not
//! its own.

#![forbid(unsafe_code)]

use mallocgc::raw::{Config, Force};
use mallocgc::typed::{Family, Gc, Heap, RefLock, Root, SharedHeap, Static, Trace};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn heap() -> Heap {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Heap::new(Config {
        collect_every: if zeal { 3 } else { 0 },
        clobber: if zeal { 0xdead_beef_dead_beef } else { 0 },
        verify: zeal,
        ..Config::default()
    })
    .unwrap()
}

#[derive(Trace)]
struct Wide<'gc> {
    first: Gc<'gc, u64>,
    rest: [u64; 100],
}

/// Far more words than a mask has bits, with the references in the first of them.
#[test]
fn a_large_value_with_early_references_is_allocated_and_kept() {
    let heap = heap();
    let root: Root<Wide<'static>> = heap.run(|cx| {
        let first = Gc::new(cx, 7u64);
        cx.root(Gc::new(cx, Wide { first, rest: [3; 100] }))
    });
    heap.collect();
    heap.run(|cx| {
        let wide = root.get(cx);
        assert_eq!(*wide.first, 7);
        assert_eq!(wide.rest, [3; 100]);
    });
}

#[test]
fn an_array_of_large_values_is_allocated_and_kept() {
    #[derive(Trace)]
    struct Holder<'gc>(Gc<'gc, [Wide<'gc>]>);
    let heap = heap();
    let root: Root<Holder<'static>> = heap.run(|cx| {
        let make = |n: u32| Wide { first: Gc::new(cx, n.into()), rest: [n.into(); 100] };
        let array = Gc::from_iter(cx, (0..10).map(make));
        cx.root(Gc::new(cx, Holder(array)))
    });
    heap.collect();
    heap.run(|cx| {
        for (n, wide) in (0..10).zip(root.get(cx).0.iter()) {
            assert_eq!((*wide.first, wide.rest), (n, [n; 100]));
        }
    });
}

/// A reference to the place behind an object would keep its neighbour instead, or name a free cell.
#[test]
fn a_projection_to_the_end_of_an_object_is_inside_it() {
    #[derive(Trace)]
    struct Holder<'gc> {
        tail: Gc<'gc, [u64]>,
        unit: Gc<'gc, ()>,
    }
    let heap = heap();
    let roots: Vec<Root<Holder<'static>>> = (0..200)
        .map(|_| {
            heap.run(|cx| {
                let array = Gc::from_iter(cx, [1u64, 2, 3, 4]);
                let pair = Gc::new(cx, (5u64, ()));
                let tail = Gc::map(array, |array| &array[4..]);
                let unit = Gc::map(pair, |pair| &pair.1);
                cx.root(Gc::new(cx, Holder { tail, unit }))
            })
        })
        .collect();
    heap.collect();
    heap.collect();
    heap.run(|cx| assert!(roots.iter().all(|root| root.get(cx).tail.is_empty())));
    // An empty part keeps what it is of, and never what is beside it.
    let objects = heap.raw().stats().heap_objects;
    assert_eq!(objects, 600);
    heap.run(|cx| assert!(Gc::ptr_eq(roots[0].get(cx).unit, roots[0].get(cx).unit)));
}

#[test]
fn empty_values_and_arrays_are_aligned() {
    macro_rules! check {
        ($heap:ident: $($align:literal $supported:literal)*) => {$({
            #[derive(Trace)]
            #[repr(align($align))]
            struct Page([u8; $align]);
            #[derive(Trace)]
            #[repr(align($align))]
            struct Nothing;
            $heap.run(|cx| {
                let none = Gc::try_from_iter(cx, std::iter::empty::<Page>());
                let nothing = Gc::try_new(cx, Nothing);
                let page = Gc::try_new(cx, Page([1; $align]));
                assert_eq!((none.is_ok(), nothing.is_ok(), page.is_ok()), ($supported, $supported, $supported));
                let (Ok(none), Ok(nothing), Ok(page)) = (none, nothing, page) else { return };
                assert_eq!(none.as_ptr().addr() % $align, 0, "{none:p}");
                assert_eq!(Gc::as_ptr(nothing).addr() % $align, 0, "{nothing:p}");
                assert_eq!(Gc::as_ptr(page).addr() % $align, 0, "{page:p}");
                assert_eq!(page.0[$align - 1], 1);
                // Handles to nothing are made as to anything.
                let (root, weak) = (cx.root::<Nothing>(nothing), cx.downgrade::<Nothing>(nothing));
                assert!(Gc::ptr_eq(root.get(cx), weak.upgrade(cx).unwrap()));
            });
        })*};
    }
    let heap = heap();
    check!(heap: 8 true 4096 true 8192 false 16384 false);
}

/// The heap's thread drops its values with it; a collection by who still has the memory must not look into them.
#[test]
fn a_collection_after_the_owner_is_gone_traces_no_dropped_value() {
    #[derive(Trace)]
    struct List<'gc> {
        items: RefLock<Vec<Gc<'gc, u64>>>,
        count: Static<Counted>,
    }
    struct Counted(Rc<Cell<usize>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let owner = heap();
    let memory = owner.raw().clone();
    let root: Root<List<'static>> = owner.run(|cx| {
        let items = (0..1000u64).map(|n| Gc::new(cx, n)).collect();
        let count = Static(Counted(dropped.clone()));
        cx.root(Gc::new(cx, List { items: RefLock::new(items), count }))
    });
    drop(owner);
    assert_eq!(dropped.get(), 1);
    let mutator = memory.attach().unwrap();
    for _ in 0..3 {
        mutator.gc(Force::NowAndSweep).unwrap();
    }
    // The list is rooted; what its vector held is not looked for in memory that is the system's again.
    assert_eq!(memory.stats().heap_objects, 1);
    assert_eq!(dropped.get(), 1);
    drop(root);
    drop(mutator);
}

/// A program may name its own types' families; a wrong one is an error when it compiles, and a family that is right
/// needs no derivation.
#[test]
fn a_family_by_hand_gives_back_what_was_put_in() {
    struct Names;
    impl Family for Names {
        type At<'gc> = (String, RefLock<Vec<Gc<'gc, String>>>);
    }
    let heap = heap();
    let root: Root<Names> = heap.run(|cx| {
        let names = vec![Gc::new(cx, "b".to_string())];
        cx.root(Gc::new(cx, ("a".to_string(), RefLock::new(names))))
    });
    heap.collect();
    heap.run(|cx| {
        let names = root.get(cx);
        assert_eq!((names.0.as_str(), names.1.borrow()[0].as_str()), ("a", "b"));
    });
}

/// A panic while an array is filled drops what was written, once, and leaves the heap usable.
#[test]
fn an_iterator_that_panics_leaves_nothing_behind() {
    let heap = heap();
    let rc = Rc::new(());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        heap.run(|cx| {
            Gc::from_iter(
                cx,
                (0..10).map(|n| {
                    assert!(n < 5, "enough");
                    rc.clone()
                }),
            );
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(Rc::strong_count(&rc), 1);
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

/// A weak handle keeps its heap, and so does a root: in an object of that heap they must not keep it for ever.
#[test]
fn a_shared_heap_ends_though_its_objects_have_handles_to_it() {
    #[derive(Trace)]
    struct Node {
        weak: mallocgc::typed::Weak<u64>,
        root: Static<Root<u64>>,
        count: Static<Counted>,
    }
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let heap = SharedHeap::new(Config::default()).unwrap();
    let mutator = heap.attach().unwrap();
    let outside: Root<Node> = mutator.run(|cx| {
        let number = Gc::new(cx, 7u64);
        let (weak, root) = (cx.downgrade(number), Static(cx.root(number)));
        cx.root(Gc::new(cx, Node { weak, root, count: Static(Counted(dropped.clone())) }))
    });
    mutator.run(|cx| {
        assert_eq!(*outside.get(cx).weak.upgrade(cx).unwrap(), *outside.get(cx).root.0.get(cx))
    });
    drop(heap);
    mutator.collect();
    assert_eq!(dropped.load(Relaxed), 0, "a mutator keeps the heap");
    drop(mutator);
    assert_eq!(dropped.load(Relaxed), 1);
    drop(outside);
    assert_eq!(dropped.load(Relaxed), 1);
}
