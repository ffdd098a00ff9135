//! The safe interface: what it promises about life, death and destructors.

#![forbid(unsafe_code)]

use mallocgc::raw::Config;
use mallocgc::typed::{
    AllocError, Gc, Heap, Lock, OnceLock, RefLock, Root, Shape, SharedHeap, SharedLock, Slot,
    Static, Trace, Weak, WeakMap,
};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn config() -> Config {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Config {
        collect_every: if zeal { 3 } else { 0 },
        clobber: if zeal { 0xdead_beef_dead_beef } else { 0 },
        verify: zeal,
        ..Config::default()
    }
}

fn heap() -> Heap {
    Heap::new(config()).unwrap()
}

#[derive(Trace)]
struct Pair<'gc> {
    first: Option<Gc<'gc, Pair<'gc>>>,
    second: Slot<Option<Gc<'gc, Pair<'gc>>>>,
}

#[derive(Trace)]
struct Graph<'gc> {
    name: String,
    edges: RefLock<Vec<Gc<'gc, Graph<'gc>>>>,
}

#[derive(Clone, Copy, Trace)]
enum Value<'gc> {
    Nil,
    Number(i64),
    Pair(Gc<'gc, (Value<'gc>, Lock<Value<'gc>>)>),
    Text(Gc<'gc, str>),
}

#[test]
fn shapes_are_constant_where_references_are_words() {
    assert_eq!(<Pair<'_> as Trace<'_>>::SHAPE.mask(), Some(0b11));
    assert_eq!(size_of::<Pair<'_>>(), 16);
    assert_eq!(<Graph<'_> as Trace<'_>>::SHAPE, Shape::FUNCTION);
    assert_eq!(<Value<'_> as Trace<'_>>::SHAPE, Shape::FUNCTION);
    assert_eq!(<[Option<Gc<'_, u64>>; 5] as Trace<'_>>::SHAPE.mask(), Some(0b11111));
    assert_eq!(<Lock<Option<Gc<'_, u64>>> as Trace<'_>>::SHAPE, Shape::WORD);
    assert_eq!(<Lock<(u8, u64)> as Trace<'_>>::SHAPE, Shape::FREE);
    assert_eq!(<HashMap<String, u32> as Trace<'_>>::SHAPE, Shape::FREE);
}

/// A macro's argument knows no name of the macro's own, nor of the derivation in it.
#[test]
fn a_type_in_a_macro_has_fields_of_its_arguments() {
    macro_rules! pair {
        ($name:ident: $first:ty, $cell:ident) => {
            #[derive(Trace)]
            struct $name<'gc>($first, $cell<Option<Gc<'gc, u64>>>);
        };
    }
    pair!(Named: String, Slot);
    let heap = heap();
    let root: Root<Named<'static>> = heap.run(|cx| {
        let named = Named("one".into(), Slot::new(Some(Gc::new(cx, 1u64))));
        cx.root(Gc::new(cx, named))
    });
    heap.collect();
    heap.run(|cx| {
        let named = root.get(cx);
        assert_eq!((named.0.as_str(), named.1.get().as_deref()), ("one", Some(&1)));
    });
}

#[test]
fn a_cons_cell_takes_sixteen_bytes() {
    let heap = heap();
    let before = heap.raw().stats().heap_alloc;
    let root: Root<Pair<'static>> = heap.run(|cx| {
        let list = (0..1000)
            .fold(None, |first, _| Some(Gc::new(cx, Pair { first, second: Slot::new(None) })));
        cx.root(list.unwrap())
    });
    assert_eq!(heap.raw().stats().heap_alloc - before, 16_000);
    drop(root);
}

#[test]
fn cycles_live_as_long_as_their_root_and_no_longer() {
    let heap = heap();
    let root: Root<Graph<'static>> = heap.run(|cx| {
        let make = |name: &str| Gc::new(cx, Graph { name: name.into(), edges: RefLock::default() });
        let (a, b) = (make("a"), make("b"));
        a.edges.borrow_mut(cx).push(b);
        b.edges.borrow_mut(cx).push(a);
        cx.root(a)
    });
    for _ in 0..3 {
        heap.collect();
        heap.run(|cx| {
            let a = root.get(cx);
            assert_eq!(a.name, "a");
            let b = a.edges.borrow()[0];
            assert_eq!(b.name, "b");
            assert!(Gc::ptr_eq(b.edges.borrow()[0], a));
        });
    }
    assert_eq!(heap.raw().stats().heap_objects, 2);
    drop(root);
    // One cycle finds them dead and drops their values, the next frees the cells.
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn values_are_dropped_once_on_the_owners_thread_after_death() {
    struct Noisy(Rc<Cell<usize>>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let heap = heap();
    let root: Root<Static<Noisy>> = heap.run(|cx| {
        for _ in 0..100 {
            Gc::new(cx, Static(Noisy(dropped.clone())));
        }
        cx.root(Gc::new(cx, Static(Noisy(dropped.clone()))))
    });
    heap.collect();
    assert_eq!(dropped.get(), 100);
    heap.collect();
    assert_eq!(dropped.get(), 100);
    heap.run(|cx| Gc::new(cx, Static(Noisy(dropped.clone()))).0.0.get());
    // The rest with the heap, though a root is left.
    drop(heap);
    assert_eq!(dropped.get(), 102);
    drop(root);
    assert_eq!(dropped.get(), 102);
    assert_eq!(Rc::strong_count(&dropped), 1);
}

#[test]
fn values_with_references_and_destructors_survive_many_cycles_of_dying() {
    // What a dead value refers to may be gone before it is dropped.
    #[derive(Trace)]
    struct Holder<'gc> {
        items: Vec<Gc<'gc, Holder<'gc>>>,
        text: String,
    }
    let heap =
        Heap::new(Config { verify: true, clobber: 0xfefe_fefe_fefe_fefe, ..config() }).unwrap();
    for round in 0..50u64 {
        let root: Root<Holder<'static>> = heap.run(|cx| {
            let mut all: Vec<Gc<'_, Holder<'_>>> = Vec::new();
            for index in 0..200usize {
                let items = all.iter().rev().take(index % 7).copied().collect();
                all.push(Gc::new(cx, Holder { items, text: format!("{round} {index}") }));
            }
            cx.root(all[150])
        });
        heap.collect();
        heap.run(|cx| {
            let mut at = root.get(cx);
            while let Some(&next) = at.items.last() {
                assert!(next.text.starts_with(&format!("{round} ")));
                at = next;
            }
        });
    }
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn a_panicking_destructor_harms_no_other() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Relaxed) == 1 {
                panic!("expected by the test");
            }
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let heap = heap();
    heap.run(|cx| {
        for _ in 0..5 {
            Gc::new(cx, Static(Bomb(count.clone())));
        }
    });
    heap.collect();
    assert_eq!(count.load(Relaxed), 5);
}

#[test]
fn an_empty_array_leads_to_no_neighbour() {
    // Where elements are counted, those of an empty array would begin where the next object does.
    #[derive(Trace)]
    struct Holder<'gc> {
        values: Gc<'gc, [Value<'gc>]>,
    }
    let heap = Heap::new(Config { verify: true, ..config() }).unwrap();
    let _root: Root<Vec<Holder<'static>>> = heap.run(|cx| {
        let empty = || Gc::<[Value<'_>]>::from_iter(cx, []);
        let kept = (0..1000).map(|_| Holder { values: (empty(), empty()).0 }).collect::<Vec<_>>();
        assert!(kept.iter().all(|holder| holder.values.is_empty()));
        cx.root(Gc::new(cx, kept))
    });
    heap.collect();
    heap.collect();
    // The vector; an empty array takes nothing.
    assert_eq!(heap.raw().stats().heap_objects, 1);
}

#[test]
fn values_of_enumerations_are_traced() {
    let heap = heap();
    type Cell<'gc> = (Value<'gc>, Lock<Value<'gc>>);
    let root: Root<(Value<'static>, Lock<Value<'static>>)> = heap.run(|cx| {
        let text = Gc::from_str(cx, "end");
        let mut list: Gc<'_, Cell<'_>> = Gc::new(cx, (Value::Text(text), Lock::new(Value::Nil)));
        for n in 0..1000 {
            list = Gc::new(cx, (Value::Number(n), Lock::new(Value::Pair(list))));
        }
        cx.root(list)
    });
    heap.collect();
    heap.run(|cx| {
        let (mut at, mut sum) = (root.get(cx), 0);
        while let Value::Pair(next) = at.1.get() {
            if let Value::Number(n) = at.0 {
                sum += n;
            }
            at = next;
        }
        assert_eq!(sum, 499_500);
        assert!(matches!(at.0, Value::Text(text) if &*text == "end"));
    });
}

#[test]
fn arrays_of_all_kinds() {
    let heap = heap();
    type Kept = (Gc<'static, u64>, RefLock<BTreeMap<String, Gc<'static, u64>>>);
    let root: Root<Kept> = heap.run(|cx| {
        let words = Gc::from_iter(cx, (0..100u32).map(|n| Some(Gc::new(cx, u64::from(n)))));
        let values = Gc::from_iter(cx, (0..100i32).map(|n| Value::Number(n.into())));
        let texts = Gc::from_iter(cx, (0..100).map(|n| n.to_string()));
        let empty: Gc<'_, [Value<'_>]> = Gc::from_iter(cx, []);
        assert_eq!(words.iter().flatten().map(|n| **n).sum::<u64>(), 4950);
        assert!(values.iter().all(|value| matches!(value, Value::Number(_))));
        assert_eq!(texts[42], "42");
        assert!(empty.is_empty());
        let map = texts.iter().zip(words.iter()).map(|(k, v)| (k.clone(), v.unwrap())).collect();
        cx.root(Gc::new(cx, (Gc::new(cx, 5), RefLock::new(map))))
    });
    heap.collect();
    heap.run(|cx| assert_eq!(*root.get(cx).1.borrow()["77"], 77));
}

#[test]
fn alignments_from_1_to_4096_and_no_size() {
    macro_rules! check {
        ($heap:ident: $($align:literal)*) => {$({
            #[derive(Trace)]
            #[gc(static)]
            #[repr(align($align))]
            struct Aligned([u8; 3]);
            $heap.run(|cx| {
                for _ in 0..20 {
                    let object = Gc::new(cx, Aligned([1, 2, 3]));
                    assert!(Gc::as_ptr(object).addr().is_multiple_of($align));
                    assert_eq!(object.0, [1, 2, 3]);
                    let array = Gc::from_iter(cx, (0..3).map(|n| Aligned([n; 3])));
                    assert!(array.as_ptr().addr().is_multiple_of($align));
                    assert_eq!(array[2].0, [2; 3]);
                }
            });
        })*};
    }
    let heap = heap();
    check!(heap: 1 2 4 8 16 32 64 128 256 512 1024 2048 4096);
    heap.run(|cx| {
        assert!(Gc::ptr_eq(Gc::new(cx, ()), Gc::new(cx, ())));
    });
}

#[test]
fn weak_handles_clear_and_keep_their_identity() {
    let heap = heap();
    let (root, weak): (Root<u64>, Weak<u64>) = heap.run(|cx| {
        let object = Gc::new(cx, 1);
        (cx.root(object), cx.downgrade(object))
    });
    heap.collect();
    let again = heap.run(|cx| {
        assert_eq!(weak.upgrade(cx).as_deref(), Some(&1));
        cx.downgrade::<u64>(root.get(cx))
    });
    assert!(weak == again);
    drop(root);
    heap.collect();
    assert!(weak.is_dead() && weak == again);
    assert!(heap.run(|cx| weak.upgrade(cx).is_none()));
}

#[test]
fn roots_of_another_heap_are_told_apart() {
    let (one, other) = (heap(), heap());
    let root: Root<u64> = one.run(|cx| cx.root(Gc::new(cx, 1)));
    assert!(other.run(|cx| root.try_get(cx).is_none()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        other.run(|cx| *root.get(cx));
    }));
    assert!(panicked.is_err());
    // Both are as before.
    assert_eq!(one.run(|cx| *root.get(cx)), 1);
    other.collect();
    assert_eq!(other.run(|cx| *Gc::new(cx, 2)), 2);
}

#[test]
fn a_panic_ends_a_run_like_a_return() {
    let heap = heap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        heap.run(|cx| {
            Gc::new(cx, 1u64);
            panic!("expected by the test");
        })
    }));
    assert!(panicked.is_err());
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn nested_runs_have_their_boundary_at_the_end_of_the_outermost() {
    let heap = heap();
    heap.run(|cx| {
        let object = Gc::new(cx, 7u64);
        heap.run(|inner| {
            Gc::new(inner, 8u64);
        });
        assert!(heap.try_collect().is_err(), "there are references on the stack");
        assert_eq!(*object, 7);
    });
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 0);
}

#[test]
fn a_limit_answers_with_an_error_and_a_boundary_makes_room() {
    let heap =
        Heap::new(Config { heap_limit_bytes: 16 << 20, gc_percent: None, ..config() }).unwrap();
    // Garbage: a boundary helps.
    let mut needed = 0;
    for _ in 0..8 {
        needed += usize::from(heap.run(|cx| {
            for _ in 0..10_000 {
                match Gc::try_new(cx, [0u64; 128]) {
                    Ok(_) => {}
                    Err(AllocError::NeedsBoundary(_)) => return true,
                    Err(error) => panic!("{error}"),
                }
            }
            false
        }));
    }
    assert!(needed >= 3, "{needed}");
    // All of it alive: nothing helps, and the heap works on.
    let list: Root<RefLock<Vec<Gc<'static, [u64; 128]>>>> =
        heap.run(|cx| cx.root(Gc::new(cx, RefLock::default())));
    let failed = heap.run_steps(|cx| {
        let list = list.get(cx);
        loop {
            match Gc::try_new(cx, [1u64; 128]) {
                Ok(object) => list.borrow_mut(cx).push(object),
                Err(AllocError::NeedsBoundary(_)) => return ControlFlow::Continue(()),
                Err(error) => return ControlFlow::Break(error),
            }
        }
    });
    assert!(matches!(failed, AllocError::Failed(_)));
    heap.run(|cx| list.get(cx).borrow_mut(cx).clear());
    heap.collect();
    heap.run(|cx| assert_eq!(Gc::new(cx, [2u64; 128])[5], 2));
}

#[test]
fn a_leaked_guard_does_not_disturb_the_collector() {
    let heap = heap();
    let root: Root<RefLock<Vec<Gc<'static, u64>>>> =
        heap.run(|cx| cx.root(Gc::new(cx, RefLock::new(vec![Gc::new(cx, 3u64)]))));
    heap.run(|cx| std::mem::forget(root.get(cx).as_ref().borrow_mut(cx)));
    heap.collect();
    heap.run(|cx| assert!(root.get(cx).try_borrow().is_none()));
}

#[test]
fn interior_references_keep_the_whole() {
    let heap = heap();
    #[derive(Trace)]
    struct Wide<'gc> {
        part: [Gc<'gc, u64>; 3],
        text: String,
    }
    let root: Root<[Gc<'static, u64>; 3]> = heap.run(|cx| {
        let part = [1, 2, 3].map(|n| Gc::new(cx, n));
        let wide = Gc::new(cx, Wide { part, text: "kept".into() });
        cx.root(Gc::map(wide, |wide| &wide.part))
    });
    heap.collect();
    heap.collect();
    assert_eq!(heap.raw().stats().heap_objects, 4);
    heap.run(|cx| assert_eq!(root.get(cx).map(|n| *n), [1, 2, 3]));
}

#[test]
fn a_projection_out_of_the_object_is_refused() {
    let heap = heap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        heap.run(|cx| {
            let list = Gc::new(cx, vec![1u64]);
            // The element lies in the vector's own memory, which a reference would not keep.
            Gc::map(list, |list| &list[0]);
        })
    }));
    assert!(panicked.is_err());
}

#[test]
fn later_values_are_traced() {
    let heap = heap();
    let root: Root<OnceLock<Gc<'static, u64>>> = heap.run(|cx| {
        let place = Gc::new(cx, OnceLock::new());
        assert!(place.set(cx, Gc::new(cx, 9)).is_ok());
        cx.root(place)
    });
    heap.collect();
    heap.run(|cx| assert_eq!(root.get(cx).get().map(|n| **n), Some(9)));
}

#[test]
fn threads_build_and_read_one_graph() {
    #[derive(Trace)]
    struct Shared<'gc> {
        next: Slot<Option<Gc<'gc, Shared<'gc>>>>,
        all: SharedLock<Vec<Gc<'gc, u64>>>,
    }
    const THREADS: u64 = 4;
    const EACH: u64 = 2_000;
    let heap = SharedHeap::new(config()).unwrap();
    let root: Root<Shared<'static>> = heap.attach().unwrap().run(|cx| {
        cx.root(Gc::new(cx, Shared { next: Slot::default(), all: SharedLock::default() }))
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (heap, root) = (heap.clone(), root.clone());
            scope.spawn(move || {
                let mutator = heap.attach().unwrap();
                for n in 0..EACH {
                    mutator.run(|cx| {
                        let shared = root.get(cx);
                        shared.all.write(cx).push(Gc::new(cx, thread * EACH + n));
                        // Garbage, and a chain that is replaced.
                        let new = Gc::new(
                            cx,
                            Shared { next: Slot::default(), all: SharedLock::default() },
                        );
                        shared.next.set(cx, Some(new));
                    });
                    if n % 500 == 0 {
                        mutator.collect();
                    }
                }
            });
        }
    });
    let mutator = heap.attach().unwrap();
    mutator.collect();
    mutator.run(|cx| {
        let mut all: Vec<u64> = root.get(cx).all.read().iter().map(|n| **n).collect();
        all.sort_unstable();
        assert_eq!(all, (0..THREADS * EACH).collect::<Vec<_>>());
    });
}

#[test]
fn cleanups_run_after_death() {
    let heap = heap();
    let (sender, gone) = std::sync::mpsc::channel();
    heap.run(|cx| {
        let object = Gc::new(cx, 1u64);
        cx.add_cleanup(object, move || sender.send("gone").unwrap()).unwrap();
    });
    heap.collect();
    assert_eq!(gone.recv().unwrap(), "gone");
}

#[test]
fn an_object_can_hold_a_handle_to_itself() {
    #[derive(Trace)]
    struct Node {
        this: Weak<Static<Node>>,
        made: u64,
    }
    let heap = heap();
    let (root, outer) = heap.run(|cx| {
        let mut outer = None;
        let node = cx.new_cyclic::<Static<Node>>(|this| {
            assert!(this.upgrade(cx).is_none() && this.is_dead(), "it is not there yet");
            outer = Some(this.clone());
            Static(Node { this: this.clone(), made: 7 })
        });
        (cx.root::<Static<Node>>(node), outer.unwrap())
    });
    heap.collect();
    heap.run(|cx| {
        let node = outer.upgrade(cx).expect("rooted");
        assert_eq!(node.0.made, 7);
        assert!(Gc::ptr_eq(node.0.this.upgrade(cx).unwrap(), node));
    });
    drop(root);
    heap.collect();
    heap.run(|cx| assert!(outer.upgrade(cx).is_none(), "a weak handle keeps nothing"));
}

#[test]
fn a_panic_in_the_making_leaves_a_handle_that_leads_nowhere() {
    struct Loud(std::rc::Rc<std::cell::Cell<u32>>);
    impl Drop for Loud {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let heap = heap();
    let dropped = std::rc::Rc::new(std::cell::Cell::new(0));
    let kept = heap.run(|cx| {
        let mut kept = None;
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cx.new_cyclic::<Static<Loud>>(|this| {
                kept = Some(this.clone());
                panic!("no value")
            })
        }));
        assert!(made.is_err());
        kept.unwrap()
    });
    heap.collect();
    heap.run(|cx| {
        assert!(kept.upgrade(cx).is_none());
        cx.new_cyclic::<Static<Loud>>(|_| Static(Loud(dropped.clone())));
    });
    heap.collect();
    heap.collect();
    assert_eq!(dropped.get(), 1, "once, and nothing for the value that never was");
}

#[test]
fn elements_without_bytes_have_destructors_too() {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    struct Token;
    impl Drop for Token {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    #[derive(Trace)]
    struct Holder<'gc> {
        tokens: Gc<'gc, [Static<Token>]>,
    }
    let heap = heap();
    let root = heap.run(|cx| {
        let array = Gc::from_iter(cx, (0..5).map(|_| Static(Token)));
        assert_eq!(array.len(), 5);
        Gc::from_iter(cx, (0..0).map(|_| Static(Token)));
        cx.new_cyclic::<Static<Token>>(|_| Static(Token));
        let tokens = Gc::from_iter(cx, (0..3).map(|_| Static(Token)));
        cx.root::<Holder<'static>>(Gc::new(cx, Holder { tokens }))
    });
    heap.collect();
    heap.run(|cx| assert_eq!(root.get(cx).tokens.len(), 3));
    assert_eq!(DROPPED.load(Relaxed), 6);
    drop(root);
    heap.collect();
    assert_eq!(DROPPED.load(Relaxed), 9);
}

#[test]
fn memory_that_payloads_keep_elsewhere_makes_cycles_come() {
    #[derive(Trace)]
    struct Texture {
        external: mallocgc::raw::External,
    }
    let heap = heap();
    for _ in 0..64 {
        heap.run(|cx| {
            Gc::new(cx, Texture { external: cx.external(8 << 20) });
        });
    }
    let sum = heap.run(|cx| cx.heap().stats().external_bytes);
    assert!(sum < 256 << 20, "{sum} bytes are kept by objects of a few words");
    heap.collect();
    assert_eq!(heap.run(|cx| cx.heap().stats().external_bytes), 0);
}

#[test]
fn entries_of_weak_maps_go_with_their_keys_though_values_refer_to_them() {
    #[derive(Trace)]
    struct Key {
        number: u64,
    }
    #[derive(Trace)]
    struct Value<'gc> {
        key: Gc<'gc, Key>,
        squared: u64,
    }
    type Table<'gc> = RefLock<WeakMap<'gc, Key, Value<'gc>>>;
    for concurrent_from_bytes in [usize::MAX, 0] {
        let heap = Heap::new(Config { concurrent_from_bytes, ..config() }).unwrap();
        let table: Root<Table<'static>> =
            heap.run(|cx| cx.root(Gc::new(cx, RefLock::new(WeakMap::new()))));
        let mut kept: Vec<Root<Key>> = Vec::new();
        for round in 0..40u64 {
            heap.run(|cx| {
                let mut table = table.get(cx).as_ref().borrow_mut(cx);
                for at in 0..25 {
                    let number = round * 25 + at;
                    let key = Gc::new(cx, Key { number });
                    let value = Value { key, squared: number * number };
                    assert!(table.insert(cx, key, Gc::new(cx, value)).is_none());
                    if number % 10 == 0 {
                        kept.push(cx.root(key));
                    }
                }
            });
            if round % 8 == 7 {
                heap.collect();
            }
        }
        heap.collect();
        heap.collect();
        heap.run(|cx| {
            let mut table = table.get(cx).as_ref().borrow_mut(cx);
            assert_eq!(table.iter(cx).count(), kept.len());
            for key in &kept {
                let key = key.get(cx);
                let value = table.get(cx, key).expect("its key is rooted");
                assert!(Gc::ptr_eq(value.key, key) && value.squared == key.number * key.number);
            }
            let (first, second) = (kept[0].get(cx), kept[1].get(cx));
            assert_eq!(table.remove(cx, first).unwrap().squared, 0);
            assert!(!table.contains_key(first) && table.remove(cx, first).is_none());
            let old = table.insert(cx, second, Gc::new(cx, Value { key: second, squared: 1 }));
            assert_eq!(old.unwrap().squared, second.number * second.number);
            assert_eq!(table.get(cx, second).unwrap().squared, 1);
        });
        drop(kept);
        heap.collect();
        heap.run(|cx| assert_eq!(table.get(cx).borrow().iter(cx).count(), 0));
    }
}
