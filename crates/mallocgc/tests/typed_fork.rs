//! Threads inside one `run`: they allocate side by side, and what each made is good for all.

#![forbid(unsafe_code)]

use mallocgc::raw::{AllocError as Cause, Config, External, Force, GcError, HeapError};
use mallocgc::typed::{
    AllocError, Cx, Gc, GcWeak, HeaderSlice, OnceLock, Root, Shared, SharedHeap, SharedLock, Slot,
    Static, Trace, Weak,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

fn zeal() -> bool {
    std::env::var_os("MALLOCGC_ZEAL").is_some()
}

fn config() -> Config {
    Config {
        reserve_bytes: 8 << 30,
        min_heap_bytes: 256 << 10,
        collect_every: if zeal() { 3 } else { 0 },
        clobber: 0xdead_beef_dead_beef,
        verify: zeal(),
        // Tests share processors with other tests: late is not stuck.
        stop_limit: Duration::from_secs(60),
        ..Config::default()
    }
}

/// Marked beside the mutators.
fn beside(seed: u64) -> Config {
    Config { concurrent_from_bytes: 0, mark_delay_seed: seed, ..config() }
}

fn heap() -> SharedHeap {
    SharedHeap::new(config()).unwrap()
}

#[derive(Trace)]
struct Tree<'gc> {
    number: u64,
    left: Slot<Option<Gc<'gc, Tree<'gc>>>>,
    right: Slot<Option<Gc<'gc, Tree<'gc>>>>,
}

fn leaf<'gc>(cx: &Cx<'gc, Shared>, number: u64) -> Gc<'gc, Tree<'gc>> {
    Gc::new(cx, Tree { number, left: Slot::default(), right: Slot::default() })
}

/// The tree of the numbers `first..first + 2^depth - 1`, in order.
fn tree<'gc>(cx: &Cx<'gc, Shared>, first: u64, depth: u32) -> Option<Gc<'gc, Tree<'gc>>> {
    if depth == 0 {
        return None;
    }
    let half = (1 << (depth - 1)) - 1;
    let node = leaf(cx, first + half);
    node.left.set(cx, tree(cx, first, depth - 1));
    node.right.set(cx, tree(cx, first + half + 1, depth - 1));
    Some(node)
}

/// As `tree`, with a thread for one half of it at each of the first `forks` levels.
fn forked_tree<'gc>(
    cx: &Cx<'gc, Shared>,
    first: u64,
    depth: u32,
    forks: u32,
) -> Option<Gc<'gc, Tree<'gc>>> {
    if forks == 0 || depth == 0 {
        return tree(cx, first, depth);
    }
    let half = (1 << (depth - 1)) - 1;
    let node = leaf(cx, first + half);
    cx.fork(|fork| {
        let right =
            fork.spawn(move |cx| forked_tree(cx, first + half + 1, depth - 1, forks - 1)).unwrap();
        node.left.set(cx, forked_tree(cx, first, depth - 1, forks - 1));
        node.right.set(cx, right.join().unwrap());
    });
    Some(node)
}

/// Checks that a tree is that of the numbers from `first` on; how many.
fn check(tree: Option<Gc<'_, Tree<'_>>>, first: u64) -> u64 {
    let Some(tree) = tree else { return 0 };
    let left = check(tree.left.get(), first);
    assert_eq!(tree.number, first + left);
    left + 1 + check(tree.right.get(), first + left + 1)
}

#[test]
fn nested_threads_build_one_tree() {
    for config in [config(), beside(3)] {
        let heap = SharedHeap::new(config).unwrap();
        let mutator = heap.attach().unwrap();
        let mut roots: Vec<Root<Tree<'static>>> = Vec::new();
        // 1, 2, 4 and 8 threads.
        for round in 0..12 {
            let root = mutator.run(|cx| {
                let tree = forked_tree(cx, round, 10, round as u32 % 4);
                assert_eq!(check(tree, round), 1023);
                cx.root(tree.unwrap())
            });
            roots.push(root);
            if round % 3 == 2 {
                mutator.collect();
            }
            mutator.run(|cx| {
                for (first, root) in roots.iter().enumerate() {
                    assert_eq!(check(Some(root.get(cx)), first as u64), 1023);
                }
            });
        }
        assert_eq!(heap.raw().stats().mutators, 1);
        drop(roots);
        mutator.collect();
        mutator.collect();
        assert_eq!(heap.raw().stats().heap_objects, 0);
    }
}

#[test]
fn threads_change_one_graph_while_it_is_marked() {
    #[derive(Trace)]
    struct Graph<'gc> {
        slots: Gc<'gc, [Slot<Gc<'gc, u64>>]>,
        list: SharedLock<Vec<Gc<'gc, u64>>>,
        first: OnceLock<Gc<'gc, u64>>,
    }
    const SLOTS: usize = 64;
    for threads in [1, 2, 5, 8] {
        let heap = SharedHeap::new(beside(threads)).unwrap();
        let mutator = heap.attach().unwrap();
        let root: Root<Graph<'static>> = mutator.run(|cx| {
            let slots = Gc::from_iter(cx, (0..SLOTS).map(|n| Slot::new(Gc::new(cx, n as u64))));
            cx.root(Gc::new(
                cx,
                Graph { slots, list: SharedLock::default(), first: OnceLock::new() },
            ))
        });
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Another mutator wants collections all the time.
            scope.spawn(|| {
                let mutator = heap.attach().unwrap();
                while !stop.load(Relaxed) {
                    mutator.run(|cx| (0..1000).for_each(|n| _ = Gc::new(cx, n)));
                    mutator.collect();
                }
            });
            let mut sum = 0;
            for round in 0..if zeal() { 20 } else { 100u64 } {
                mutator.run(|cx| {
                    let shared = root.get(cx);
                    let made: u64 = cx.fork(|fork| {
                        let forked: Vec<_> = (0..threads)
                            .map(|thread| {
                                fork.spawn(move |cx| {
                                    let mut sum = 0;
                                    for n in 0..100 {
                                        let at = (thread * 17 + n * 7) as usize % SLOTS;
                                        // Old references go from here to there.
                                        let old = shared.slots[at].get();
                                        let new = Gc::new(cx, *old + 1);
                                        let old = shared.slots[at].swap(cx, new);
                                        shared.slots[(at + 1) % SLOTS].set(cx, old);
                                        if n % 10 == 0 {
                                            shared.list.write(cx).push(old);
                                            sum += *old;
                                        }
                                        (0..20).for_each(|_| _ = Gc::new(cx, u64::MAX));
                                    }
                                    let first = Gc::new(cx, round);
                                    assert!(**shared.first.get_or_init(cx, || first) <= round);
                                    sum
                                })
                                .unwrap()
                            })
                            .collect();
                        forked.into_iter().map(|thread| thread.join().unwrap()).sum()
                    });
                    sum += made;
                });
                mutator.run(|cx| {
                    let shared = root.get(cx);
                    let list: u64 = shared.list.read().iter().map(|number| **number).sum();
                    assert_eq!(list, sum);
                    assert!(shared.slots.iter().all(|slot| *slot.get() < 1 << 32));
                    assert_eq!(**shared.first.get().unwrap(), 0);
                    if round % 8 == 7 {
                        shared.list.write(cx).clear();
                        sum = 0;
                    }
                });
            }
            stop.store(true, Relaxed);
        });
        assert!(heap.raw().stats().num_gc > 5);
    }
}

#[test]
fn references_go_from_thread_to_thread() {
    let heap = heap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        let given = Gc::new(cx, vec![1u64, 2]);
        let sum = cx.fork(|fork| {
            let (sender, receiver) = mpsc::channel::<Gc<'_, u64>>();
            let maker = fork
                .spawn(move |cx| {
                    (0..1000).for_each(|n| sender.send(Gc::new(cx, n + given[0])).unwrap());
                    Gc::from_str(cx, "made")
                })
                .unwrap();
            let reader = fork.spawn(move |_| receiver.iter().map(|number| *number).sum::<u64>());
            assert_eq!(&*maker.join().unwrap(), "made");
            reader.unwrap().join().unwrap()
        });
        assert_eq!(sum, 1000 + 999 * 1000 / 2);
    });
}

#[test]
fn everything_that_a_context_makes_is_made_in_threads() {
    #[derive(Trace)]
    struct Widget {
        this: Weak<Widget>,
        #[gc(static)]
        _external: External,
        drops: Arc<AtomicUsize>,
    }
    struct Droppable(Arc<AtomicUsize>);
    impl Drop for Droppable {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let heap = heap();
    let mutator = heap.attach().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, cleaned) = mpsc::channel();
    let (roots, weak) = mutator.run(|cx| {
        cx.fork(|fork| {
            let forked: Vec<_> = (0..4u64)
                .map(|n| {
                    let (drops, sender) = (drops.clone(), sender.clone());
                    fork.spawn(move |cx| {
                        Gc::new(cx, Static(Droppable(drops.clone())));
                        HeaderSlice::from_fn(cx, n, 3, |_| Static(Droppable(drops.clone())));
                        let widget = cx.new_cyclic::<Widget>(|this| Widget {
                            this: this.clone(),
                            _external: cx.external(1000),
                            drops: drops.clone(),
                        });
                        assert!(Gc::ptr_eq(widget.this.upgrade(cx).unwrap(), widget));
                        let cleanup = move || sender.send(n).unwrap();
                        cx.add_cleanup(Gc::new(cx, [n; 4]), cleanup).unwrap();
                        let weak: GcWeak<'_, u64> = Gc::downgrade(cx, Gc::new(cx, n));
                        (cx.root::<Widget>(widget), weak)
                    })
                    .unwrap()
                })
                .collect();
            let made: Vec<_> = forked.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!((0..4).all(|n| *made[n].1.upgrade(cx).unwrap() == n as u64));
            let weak: Weak<u64> = cx.downgrade(made[0].1.upgrade(cx).unwrap());
            (made.into_iter().map(|(root, _)| root).collect::<Vec<_>>(), weak)
        })
    });
    assert_eq!(heap.raw().stats().external_bytes, 4000);
    mutator.collect();
    assert!(weak.is_dead());
    assert_eq!(drops.load(Relaxed), 4 * 4);
    let mut all: Vec<u64> = (0..4).map(|_| cleaned.recv().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    mutator.run(|cx| assert!(roots.iter().all(|root| root.get(cx).this.upgrade(cx).is_some())));
    mutator.run(|cx| assert_eq!(Arc::strong_count(&roots[0].get(cx).drops), 5));
    assert_eq!(heap.raw().stats().external_bytes, 4000);
}

#[test]
fn a_stop_that_is_waiting_does_not_keep_threads_from_beginning() {
    let heap = heap();
    let mutator = heap.attach().unwrap();
    let collected = AtomicBool::new(false);
    let begun = Barrier::new(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            begun.wait();
            let done = heap.raw().gc(Force::Now);
            collected.store(true, Relaxed);
            done
        });
        mutator.run(|cx| {
            begun.wait();
            // Until the other's stop waits for this `run`.
            while !cx.wants_boundary() {
                std::thread::yield_now();
            }
            for _ in 0..5 {
                let tree = forked_tree(cx, 5, 8, 3);
                assert_eq!(check(tree, 5), 255);
            }
            assert!(!collected.load(Relaxed));
        });
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_panic_is_the_threads_own_if_it_is_joined_and_the_runs_if_not() {
    let heap = heap();
    let mutator = heap.attach().unwrap();
    let others = Arc::new(AtomicUsize::new(0));
    mutator.run(|cx| {
        let text = cx.fork(|fork| {
            let thread = fork.spawn(|cx| {
                Gc::new(cx, 1u64);
                panic!("in a thread")
            });
            let error = thread.unwrap().join().unwrap_err();
            *error.downcast::<&str>().unwrap()
        });
        assert_eq!(text, "in a thread");
    });
    for panics_itself in [false, true] {
        let result = catch_unwind(AssertUnwindSafe(|| {
            mutator.run(|cx| {
                cx.fork(|fork| {
                    for n in 0..4 {
                        let others = others.clone();
                        let thread = fork.spawn(move |cx| {
                            if n == 1 && !panics_itself {
                                panic!("not joined");
                            }
                            std::thread::sleep(Duration::from_millis(20));
                            assert_eq!(check(tree(cx, 0, 8), 0), 255);
                            others.fetch_add(1, Relaxed);
                        });
                        drop(thread.unwrap());
                    }
                    assert!(!panics_itself, "the run itself");
                });
            });
        }));
        assert!(result.is_err());
    }
    assert_eq!(others.load(Relaxed), 3 + 4);
    assert_eq!(heap.raw().stats().mutators, 1);
    // The heap goes on.
    mutator.collect();
    mutator.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn memory_that_lacks_in_a_thread_is_its_error_and_collected_for() {
    let heap = SharedHeap::new(Config { heap_limit_bytes: 16 << 20, collect_every: 0, ..config() })
        .unwrap();
    let mutator = heap.attach().unwrap();
    let fill = |cx: &Cx<'_, Shared>| loop {
        if let Err(error) = Gc::try_new(cx, [0u8; 4096]) {
            return error;
        }
    };
    for _ in 0..3 {
        let errors: Vec<AllocError> = mutator.run(|cx| {
            cx.fork(|fork| {
                // Nested, so that the shortage is told twice.
                let one =
                    fork.spawn(move |cx| cx.fork(|fork| fork.spawn(fill).unwrap().join().unwrap()));
                let other = fork.spawn(fill).unwrap();
                vec![one.unwrap().join().unwrap(), other.join().unwrap()]
            })
        });
        let helps = |error: &AllocError| {
            matches!(error, AllocError::NeedsBoundary(Cause::LimitReached { .. }))
        };
        assert!(errors.iter().all(helps), "{errors:?}");
        // The boundary has collected.
        assert!(heap.raw().stats().heap_objects < 100);
        mutator.run(|cx| {
            let made =
                cx.fork(|fork| fork.spawn(|cx| Gc::try_new(cx, [1u8; 4096])).unwrap().join());
            assert_eq!(made.unwrap().unwrap()[7], 1);
        });
    }
}

#[test]
fn what_needs_a_boundary_is_refused_in_a_thread() {
    let heap = heap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        assert_eq!(mutator.try_collect(), Err(GcError::Reentrant));
        cx.fork(|fork| {
            let heap = &heap;
            // It is a mutator already.
            let attached = fork.spawn(move |_| heap.attach().map(|_| ()).unwrap_err()).unwrap();
            assert_eq!(attached.join().unwrap(), HeapError::AlreadyAttached);
        });
    });
}

#[test]
fn many_threads_come_and_go_in_one_run() {
    let heap = SharedHeap::new(beside(9)).unwrap();
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| {
        let all = Gc::new(cx, SharedLock::new(Vec::new()));
        for round in 0..if zeal() { 10 } else { 60 } {
            cx.fork(|fork| {
                for thread in 0..4 {
                    let thread = fork.spawn(move |cx| {
                        let number = Gc::new(cx, round * 4 + thread);
                        all.write(cx).push(number);
                    });
                    drop(thread.unwrap());
                }
            });
            assert_eq!(heap.raw().stats().mutators, 1);
        }
        let mut all: Vec<u64> = all.read().iter().map(|number| **number).collect();
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..all.len() as u64));
    });
}
