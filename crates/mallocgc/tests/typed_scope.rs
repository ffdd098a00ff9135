//! Scopes of local roots, and finalizers that are given the heap: the safe interface's own.

#![forbid(unsafe_code)]

use mallocgc::raw::{Config, FinalizerError};
use mallocgc::typed::{
    AllocError, Cx, Gc, Heap, LocalRoot, Mutator, RefLock, Root, Scope, SharedHeap, Slot, Trace,
};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

fn config() -> Config {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Config {
        collect_every: if zeal { 3 } else { 0 },
        clobber: 0xdead_beef_dead_beef,
        verify: true,
        ..Config::default()
    }
}

fn heap() -> Heap {
    Heap::new(config()).unwrap()
}

#[derive(Trace)]
struct Node<'gc> {
    number: u64,
    next: Slot<Option<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc>(cx: &Cx<'gc>, number: u64) -> Gc<'gc, Node<'gc>> {
    Gc::new(cx, Node { number, next: Slot::new(None) })
}

fn objects(heap: &Heap) -> u64 {
    heap.collect();
    heap.collect();
    heap.raw().stats().heap_objects
}

// --- scopes ------------------------------------------------------------------

#[test]
fn roots_of_a_scope_live_until_its_end() {
    let heap = heap();
    let result = heap.scope(|scope| {
        let first = heap.run(|cx| scope.root::<Node<'static>>(cx, node(cx, 1)));
        let second = scope.run(|cx| {
            let second = node(cx, 2);
            second.next.set(cx, Some(first.get(cx)));
            scope.root::<Node<'static>>(cx, second)
        });
        assert_eq!(objects(&heap), 2);
        let copy = second;
        heap.run(|cx| {
            assert!(Gc::ptr_eq(copy.get(cx).next.get().unwrap(), first.get(cx)));
            first.set(cx, node(cx, 3));
            second.get(cx).next.set(cx, None);
        });
        assert_eq!(objects(&heap), 2, "the first of all is dead");
        heap.run(|cx| first.get(cx).number * 10 + second.get(cx).number)
    });
    assert_eq!(result, 32);
    assert_eq!(objects(&heap), 0);
}

#[test]
fn a_root_may_be_of_a_slice() {
    let heap = heap();
    heap.scope(|scope| {
        let text = heap.run(|cx| scope.root::<str>(cx, Gc::from_str(cx, "kept")));
        let nodes = heap.run(|cx| {
            scope.root::<[Gc<'static, Node<'static>>]>(
                cx,
                Gc::from_iter(cx, (0..5u32).map(|n| node(cx, n.into()))),
            )
        });
        heap.collect();
        heap.run(|cx| {
            assert_eq!(&*text.get(cx), "kept");
            assert!(nodes.get(cx).iter().map(|node| node.number).eq(0..5));
        });
    });
}

/// Native recursion with a boundary at each step, to a depth at which it must not be quadratic.
#[test]
fn recursion_keeps_what_each_level_holds() {
    fn down(scope: &Scope<'_, mallocgc::typed::Local>, depth: u64) -> u64 {
        if depth == 0 {
            return 0;
        }
        scope.scope(|inner| {
            let own = inner.run(|cx| inner.root::<Node<'static>>(cx, node(cx, depth)));
            let below = down(inner, depth - 1);
            below + inner.run(|cx| own.get(cx).number)
        })
    }
    let heap = heap();
    let depth = if std::env::var_os("MALLOCGC_ZEAL").is_some() { 100 } else { 2000 };
    assert_eq!(heap.scope(|scope| down(scope, depth)), depth * (depth + 1) / 2);
    assert_eq!(objects(&heap), 0);
}

#[test]
fn a_scope_inside_a_run_has_no_boundary_and_ends_as_well() {
    let heap = heap();
    heap.run(|cx| {
        let held = node(cx, 1);
        let number = heap.scope(|scope| {
            let local = scope.root::<Node<'static>>(cx, held);
            heap.run(|inner| local.get(inner).number) + local.get(cx).number
        });
        assert_eq!((number, held.number), (2, 1));
    });
    assert_eq!(objects(&heap), 0);
}

#[test]
fn a_panic_ends_its_scopes() {
    let heap = heap();
    heap.scope(|outer| {
        let kept = heap.run(|cx| outer.root::<Node<'static>>(cx, node(cx, 5)));
        for inside in [false, true] {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                heap.scope(|inner| {
                    heap.run(|cx| {
                        inner.root::<Node<'static>>(cx, node(cx, 6));
                        assert!(!inside, "inside of run");
                    });
                    panic!("outside of run");
                })
            }));
            assert!(panicked.is_err());
            assert_eq!(objects(&heap), 1);
            // The outer one is the innermost again.
            heap.run(|cx| outer.root::<Node<'static>>(cx, kept.get(cx)));
        }
        heap.run(|cx| assert_eq!(kept.get(cx).number, 5));
    });
}

#[test]
fn misuse_of_scopes_is_told() {
    let (heap, other) = (heap(), heap());
    let told = |call: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("a panic");
        panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a message")).to_owned())
    };
    heap.scope(|outer| {
        let root = heap.run(|cx| outer.root::<Node<'static>>(cx, node(cx, 1)));
        let nested = || heap.scope(|_| heap.run(|cx| _ = outer.root::<u64>(cx, Gc::new(cx, 1))));
        assert!(told(&nested).contains("a scope inside this one is open"));
        let foreign = || other.run(|cx| _ = root.get(cx));
        assert!(told(&foreign).contains("of another mutator than the local root"));
        let foreign = || other.run(|cx| root.set(cx, node(cx, 2)));
        assert!(told(&foreign).contains("of another mutator than the local root"));
        let foreign = || other.run(|cx| _ = outer.root::<u64>(cx, Gc::new(cx, 1)));
        assert!(told(&foreign).contains("of another mutator than the scope"));
        heap.run(|cx| assert_eq!(root.get(cx).number, 1));
    });
    assert_eq!(objects(&heap), 0);
}

#[test]
fn scopes_of_several_threads_are_their_own() {
    let heap = SharedHeap::new(Config { concurrent_from_bytes: 1 << 20, ..config() }).unwrap();
    std::thread::scope(|threads| {
        for thread in 0..4u64 {
            let heap = &heap;
            threads.spawn(move || {
                let mutator = heap.attach().unwrap();
                mutator.scope(|scope| work(&mutator, scope, thread));
            });
        }
    });
    fn work<'s>(mutator: &Mutator, scope: &Scope<'s, mallocgc::typed::Shared>, thread: u64) {
        let new = |number| {
            mutator.run(|cx| {
                let node = Gc::new(cx, Node { number, next: Slot::new(None) });
                scope.root::<Node<'static>>(cx, node)
            })
        };
        let roots: Vec<LocalRoot<'s, Node<'static>>> =
            (0..50).map(|n| new((thread << 32) | n)).collect();
        for round in 0..if std::env::var_os("MALLOCGC_ZEAL").is_some() { 100 } else { 20_000u64 } {
            let root = roots[(round % 50) as usize];
            mutator.run(|cx| {
                let old = root.get(cx);
                assert_eq!(old.number, (thread << 32) | (round % 50));
                let next = Slot::new(Some(old));
                root.set(cx, Gc::new(cx, Node { number: old.number, next }));
                // Chains of two.
                old.next.set(cx, None);
            });
        }
    }
}

// --- finalizers --------------------------------------------------------------

#[test]
fn a_finalizer_gets_the_object_and_all_it_refers_to() {
    let heap = heap();
    // Nothing here is `Send`.
    let seen = Rc::new(RefCell::new(Vec::new()));
    heap.run(|cx| {
        let object = node(cx, 1);
        object.next.set(cx, Some(node(cx, 2)));
        let seen = seen.clone();
        cx.set_finalizer::<Node<'static>, _>(object, move |cx, object| {
            let fresh = node(cx, 3);
            let next = object.next.get().unwrap();
            seen.borrow_mut().push((object.number, next.number, fresh.number));
        })
        .unwrap();
    });
    heap.collect();
    assert_eq!(*seen.borrow(), [(1, 2, 3)]);
    assert_eq!(Rc::strong_count(&seen), 1, "the closure is gone");
    assert_eq!(objects(&heap), 0);
    assert_eq!(seen.borrow().len(), 1, "once only");
    assert_eq!(heap.raw().special_counts().finalizers.executed, 1);
}

#[test]
fn finalizers_run_in_the_order_of_dependency_and_cycles_never() {
    let heap = heap();
    let order = Rc::new(RefCell::new(Vec::new()));
    fn set_in<'gc>(cx: &Cx<'gc>, object: Gc<'gc, Node<'gc>>, order: &Rc<RefCell<Vec<u64>>>) {
        let order = order.clone();
        cx.set_finalizer::<Node<'static>, _>(object, move |_, object| {
            order.borrow_mut().push(object.number);
        })
        .unwrap();
    }
    heap.run(|cx| {
        let chain: Vec<_> = (0..3).map(|n| node(cx, n)).collect();
        chain[0].next.set(cx, Some(chain[1]));
        chain[1].next.set(cx, Some(chain[2]));
        for &object in &chain {
            set_in(cx, object, &order);
        }
        let circle = node(cx, 100);
        circle.next.set(cx, Some(circle));
        set_in(cx, circle, &order);
    });
    for done in 1..=3 {
        heap.collect();
        if std::env::var_os("MALLOCGC_ZEAL").is_none() {
            assert_eq!(order.borrow().len(), done);
        }
    }
    heap.collect();
    assert_eq!(*order.borrow(), [0, 1, 2]);
    assert_eq!(objects(&heap), 1, "the circle stays");
}

#[test]
fn what_a_finalizer_stores_lives_on_and_may_be_finalized_again() {
    let heap = heap();
    let times = Rc::new(Cell::new(0));
    let saved: Root<Slot<Option<Gc<'static, Node<'static>>>>> =
        heap.run(|cx| cx.root(Gc::new(cx, Slot::new(None))));
    fn arm<'gc>(
        cx: &Cx<'gc>,
        object: Gc<'gc, Node<'gc>>,
        saved: &Root<Slot<Option<Gc<'static, Node<'static>>>>>,
        times: &Rc<Cell<u32>>,
    ) {
        let (saved, times) = (saved.clone(), times.clone());
        cx.set_finalizer::<Node<'static>, _>(object, move |cx, object| {
            times.set(times.get() + 1);
            saved.get(cx).set(cx, Some(object));
            arm(cx, object, &saved, &times);
        })
        .unwrap();
    }
    heap.run(|cx| arm(cx, node(cx, 9), &saved, &times));
    for round in 1..=5 {
        heap.collect();
        assert_eq!(times.get(), round);
        heap.run(|cx| {
            assert_eq!(saved.get(cx).get().unwrap().number, 9);
            saved.get(cx).set(cx, None);
        });
    }
}

#[test]
fn refusals_are_errors_and_panics_are_counted() {
    let heap = heap();
    let dropped = Rc::new(());
    heap.run(|cx| {
        let object = node(cx, 1);
        let held = dropped.clone();
        cx.set_finalizer::<Node<'static>, _>(object, move |_, _| drop(held)).unwrap();
        let held = dropped.clone();
        let again = cx.set_finalizer::<Node<'static>, _>(object, move |_, _| drop(held));
        assert!(matches!(again, Err(FinalizerError::AlreadySet { .. })), "{again:?}");
        assert_eq!(Rc::strong_count(&dropped), 2, "what was refused is dropped");
        assert_eq!(cx.clear_finalizer(object), Ok(true));
        assert_eq!(Rc::strong_count(&dropped), 1);
        assert_eq!(cx.clear_finalizer(object), Ok(false));
        cx.set_finalizer::<Node<'static>, _>(object, |_, _| panic!("on purpose")).unwrap();
        let held = dropped.clone();
        cx.set_finalizer::<Node<'static>, _>(node(cx, 2), move |_, _| drop(held)).unwrap();
        // It never dies.
        cx.set_finalizer::<(), _>(Gc::new(cx, ()), |_, _| unreachable!()).unwrap();
    });
    heap.collect();
    let counts = heap.raw().special_counts().finalizers;
    assert_eq!((counts.executed, counts.panicked, counts.pending), (2, 1, 0));
    assert_eq!(Rc::strong_count(&dropped), 1);
    assert_eq!(objects(&heap), 0);
}

/// The payload is dropped after the finalizer has seen it whole.
#[test]
fn a_destructor_comes_after_the_finalizer() {
    struct Noted(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.borrow_mut().push("dropped");
        }
    }
    #[derive(Trace)]
    struct Holder<'gc> {
        #[gc(static)]
        noted: Noted,
        list: RefLock<Vec<Gc<'gc, u64>>>,
    }
    let events = Rc::new(RefCell::new(Vec::new()));
    let heap = heap();
    heap.run(|cx| {
        let list = RefLock::new(vec![Gc::new(cx, 1), Gc::new(cx, 2)]);
        let holder = Gc::new(cx, Holder { noted: Noted(events.clone()), list });
        cx.set_finalizer::<Holder<'static>, _>(holder, |_, holder| {
            let sum: u64 = holder.list.borrow().iter().map(|number| **number).sum();
            holder.noted.0.borrow_mut().push(if sum == 3 { "finalized" } else { "broken" });
        })
        .unwrap();
    });
    heap.collect();
    heap.collect();
    assert_eq!(*events.borrow(), ["finalized", "dropped"]);
}

#[test]
fn nothing_runs_because_a_heap_ends() {
    let held = Rc::new(());
    let heap = heap();
    heap.run(|cx| {
        let held = held.clone();
        cx.set_finalizer::<Node<'static>, _>(node(cx, 1), move |_, _| {
            let _held = held;
            unreachable!("the heap ended")
        })
        .unwrap();
    });
    drop(heap);
    assert_eq!(Rc::strong_count(&held), 1, "it was dropped");
}

#[test]
fn a_slice_is_finalized_with_its_length() {
    let heap = heap();
    let seen = Rc::new(Cell::new(0));
    heap.run(|cx| {
        let seen = seen.clone();
        let numbers = Gc::from_iter(cx, (1..11u32).map(u64::from));
        cx.set_finalizer::<[u64], _>(numbers, move |_, numbers| {
            seen.set(numbers.iter().sum());
        })
        .unwrap();
    });
    heap.collect();
    assert_eq!(seen.get(), 55);
}

#[test]
fn the_threads_of_a_heap_run_finalizers_between_them() {
    let heap = SharedHeap::new(config()).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let kept: Arc<Mutex<Vec<Root<Node<'static>>>>> = Arc::default();
    let (threads, each) = (4, if std::env::var_os("MALLOCGC_ZEAL").is_some() { 20 } else { 2000 });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (heap, ran, kept) = (&heap, &ran, &kept);
            scope.spawn(move || {
                let mutator = heap.attach().unwrap();
                for number in 0..each {
                    mutator.run(|cx| {
                        let node = Gc::new(cx, Node { number, next: Slot::new(None) });
                        let (ran, kept) = (ran.clone(), kept.clone());
                        cx.set_finalizer::<Node<'static>, _>(node, move |cx, node| {
                            ran.fetch_add(1, Relaxed);
                            if node.number == 7 {
                                kept.lock().unwrap().push(cx.root(node));
                            }
                        })
                        .unwrap();
                    });
                    if number % 100 == 0 {
                        mutator.collect();
                    }
                }
            });
        }
    });
    let mutator = heap.attach().unwrap();
    mutator.collect();
    mutator.collect();
    assert_eq!(ran.load(Relaxed), threads * each as usize);
    let kept = kept.lock().unwrap();
    assert_eq!(kept.len(), threads);
    mutator.run(|cx| assert!(kept.iter().all(|root| root.get(cx).number == 7)));
}

/// The raw interface and the heap's thread leave these alone: they are not theirs to run or to drop.
#[test]
fn raw_users_do_not_touch_typed_finalizers() {
    let heap = heap();
    let ran = Rc::new(Cell::new(false));
    let place = heap.run(|cx| {
        let ran = ran.clone();
        let object = node(cx, 1);
        cx.set_finalizer::<Node<'static>, _>(object, move |_, _| ran.set(true)).unwrap();
        std::ptr::NonNull::from(&*object).cast::<u8>().addr()
    });
    let raw = heap.raw().clone();
    std::thread::spawn(move || {
        let mutator = raw.attach().unwrap();
        let place = std::ptr::NonNull::without_provenance(place);
        assert_eq!(mutator.clear_finalizer(place), Ok(false));
        let refused = mutator.set_finalizer(place, |_, _| ());
        assert!(matches!(refused, Err(FinalizerError::AlreadySet { .. })));
    })
    .join()
    .unwrap();
    heap.collect();
    assert!(ran.get());
}

// --- what an allocation error says -------------------------------------------

/// A run that fills the heap with garbage after the boundary that collected is told so.
#[test]
fn the_garbage_of_a_run_is_told_apart_from_what_is_alive() {
    let heap =
        Heap::new(Config { heap_limit_bytes: 4 << 20, gc_percent: None, ..config() }).unwrap();
    let fill = || {
        heap.run(|cx| {
            for _ in 0..100_000 {
                match Gc::try_new(cx, [0u64; 128]) {
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
            unreachable!("100 MB in 4")
        })
    };
    for round in 0..4 {
        let error = fill();
        assert!(matches!(error, AllocError::NeedsBoundary(_)), "round {round}: {error}");
    }
    // Beyond the limit whatever is free, and with garbage or without.
    for garbage in [0, 1, 0] {
        let error = heap.run(|cx| {
            for _ in 0..garbage {
                Gc::new(cx, [0u64; 128]);
            }
            Gc::try_from_iter(cx, (0..6u32 << 20).map(|_| 0u8)).map(|_| ()).unwrap_err()
        });
        assert!(matches!(error, AllocError::Failed(_)), "{error}");
    }
    // Three of four megabytes, beside two of the run's own: not now, but after a boundary.
    let large =
        |cx: &Cx<'_>| Gc::try_from_iter(cx, (0..3u32 << 20).map(|_| 1u8)).map(|made| made.len());
    for _ in 0..3 {
        let error = heap.run(|cx| {
            for _ in 0..2000 {
                Gc::new(cx, [0u64; 128]);
            }
            large(cx).unwrap_err()
        });
        assert!(matches!(error, AllocError::NeedsBoundary(_)), "{error}");
        assert_eq!(heap.run(|cx| large(cx)), Ok(3 << 20));
        heap.collect();
    }
}
