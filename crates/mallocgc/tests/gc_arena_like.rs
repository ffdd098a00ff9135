//! Programs as gc-arena has them: the names its users know, and what they count on. `Trace` is imported as `Collect`.

#![forbid(unsafe_code)]

use mallocgc::raw::Config;
use mallocgc::typed::barrier::{Write, field, unlock};
use mallocgc::typed::{
    Arena, Cx, DynTrace, DynamicRoot, DynamicRootSet, Family, Gc, GcWeak, Heap, Lock, OnceLock,
    RefLock, Root, Rootable, Shape, SharedHeap, Slot, Static, Trace, Trace as Collect, dyn_trace,
    rootless_mutate, unsize,
};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

fn config() -> Config {
    let zeal = std::env::var_os("MALLOCGC_ZEAL").is_some();
    Config {
        collect_every: if zeal { 3 } else { 0 },
        clobber: 0xdead_beef_dead_beef,
        verify: zeal,
        ..Config::default()
    }
}

fn arena<F: Family>(make: impl for<'gc> FnOnce(&'gc Cx<'gc>) -> F::At<'gc>) -> Arena<F> {
    Arena::with_config(config(), make).unwrap()
}

/// Lives as long as objects with clones of it do.
#[derive(Clone, Collect)]
#[collect(require_static)]
struct Counter(Rc<()>);

impl Counter {
    fn new() -> Counter {
        Counter(Rc::new(()))
    }

    /// Clones in objects.
    fn alive(&self) -> usize {
        Rc::strong_count(&self.0) - 1
    }
}

// --- arenas and their roots ------------------------------------------------

#[test]
fn a_root_is_found_again() {
    #[derive(Collect)]
    #[collect(no_drop)]
    struct TheRoot<'gc> {
        number: Gc<'gc, i32>,
    }
    let mut arena = arena::<Rootable![TheRoot<'_>]>(|cx| TheRoot { number: Gc::new(cx, 42) });
    for _ in 0..3 {
        arena.mutate(|_, root| assert_eq!(*root.number, 42));
        arena.finish_cycle();
    }
    assert_eq!(arena.metrics().heap_objects, 2);
}

#[test]
fn a_root_is_changed_and_what_it_led_to_is_gone() {
    let counter = Counter::new();
    let mut arena =
        arena::<Rootable![[Gc<'_, Counter>; 2]]>(|cx| [0, 1].map(|_| Gc::new(cx, counter.clone())));
    arena.finish_cycle();
    assert_eq!(counter.alive(), 2);
    arena.mutate_root(|_, root| root[0] = root[1]);
    arena.finish_cycle();
    assert_eq!(counter.alive(), 1);
    arena.mutate(|_, root| assert!(Gc::ptr_eq(root[0], root[1])));
    // A panic leaves the root as it is.
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        arena.mutate_root(|cx, root| {
            root[0] = Gc::new(cx, counter.clone());
            panic!("expected by the test");
        })
    }));
    assert!(panicked.is_err());
    arena.finish_cycle();
    assert_eq!(counter.alive(), 2);
    drop(arena);
    assert_eq!(counter.alive(), 0);
}

#[test]
fn a_root_becomes_one_of_another_type() {
    #[derive(Collect)]
    struct Begin<'gc> {
        numbers: Vec<Gc<'gc, i32>>,
    }
    #[derive(Collect)]
    struct Middle<'gc> {
        begin: Begin<'gc>,
        chosen: Gc<'gc, i32>,
    }
    let arena =
        arena::<Begin<'static>>(|cx| Begin { numbers: vec![Gc::new(cx, 42), Gc::new(cx, 69)] });
    let mut arena = arena.map_root::<Middle<'static>>(|_, begin| {
        let chosen = begin.numbers[0];
        Middle { begin, chosen }
    });
    arena.finish_cycle();
    arena.mutate(|_, root| assert_eq!(*root.chosen, 42));
    let arena = arena.try_map_root::<Middle<'static>, ()>(|_, middle| {
        let chosen = middle.begin.numbers[1];
        Ok(Middle { begin: middle.begin, chosen })
    });
    let mut arena = arena.unwrap();
    arena.finish_cycle();
    arena.mutate(|_, root| assert_eq!(*root.chosen, 69));
    // Two numbers and the root; none of the roots before.
    assert_eq!(arena.metrics().heap_objects, 3);
    let error = arena.try_map_root::<Begin<'static>, _>(|_, _| Err("no"));
    assert_eq!(error.unwrap_err(), "no");
}

#[test]
fn an_arena_need_not_come_to_be() {
    let counter = Counter::new();
    let failed = Arena::<Rootable![Gc<'_, Counter>]>::try_new(|cx| {
        Gc::new(cx, counter.clone());
        Err::<Gc<'_, Counter>, _>("no")
    });
    assert_eq!(failed.unwrap_err(), "no");
    assert_eq!(counter.alive(), 0);
    let made = Arena::<Rootable![Gc<'_, u8>]>::try_new(|cx| Ok::<_, ()>(Gc::new(cx, 7)));
    made.unwrap().mutate(|_, root| assert_eq!(**root, 7));
}

/// What an interpreter passes to all of its functions.
#[test]
fn a_context_is_copied_with_the_heap_and_the_root_in_it() {
    #[derive(Collect)]
    struct State<'gc> {
        globals: Gc<'gc, RefLock<HashMap<String, Gc<'gc, u64>>>>,
    }
    #[derive(Clone, Copy)]
    struct Context<'gc> {
        cx: &'gc Cx<'gc>,
        state: &'gc State<'gc>,
    }
    impl<'gc> State<'gc> {
        fn context(&'gc self, cx: &'gc Cx<'gc>) -> Context<'gc> {
            Context { cx, state: self }
        }
    }
    impl<'gc> Context<'gc> {
        fn set(self, name: &str, value: u64) -> Gc<'gc, u64> {
            let value = Gc::new(self.cx, value);
            self.state.globals.borrow_mut(self.cx).insert(name.to_string(), value);
            value
        }
        fn get(self, name: &str) -> Option<&'gc u64> {
            self.state.globals.borrow().get(name).copied().map(Gc::as_ref)
        }
    }
    let mut arena =
        arena::<State<'static>>(|cx| State { globals: Gc::new(cx, RefLock::default()) });
    arena.mutate(|cx, root| {
        let context = root.context(cx);
        let set = context.set("x", 5);
        assert!(std::ptr::eq(context.get("x").unwrap(), set.as_ref()));
    });
    arena.finish_cycle();
    arena.mutate(|cx, root| assert_eq!(root.context(cx).get("x"), Some(&5)));
}

// --- life and death --------------------------------------------------------

#[test]
fn all_is_dropped_with_the_arena() {
    type List = Rootable![Gc<'_, RefLock<Vec<Gc<'_, Counter>>>>];
    let counter = Counter::new();
    let arena = arena::<List>(|cx| Gc::new(cx, RefLock::default()));
    arena.mutate(|cx, root| {
        for _ in 0..100 {
            root.unlock(cx).borrow_mut().push(Gc::new(cx, counter.clone()));
        }
    });
    assert_eq!(counter.alive(), 100);
    drop(arena);
    assert_eq!(counter.alive(), 0);
}

#[test]
fn what_is_cleared_is_collected() {
    type List = Rootable![Gc<'_, RefLock<Vec<Gc<'_, Counter>>>>];
    let counter = Counter::new();
    let mut arena = arena::<List>(|cx| Gc::new(cx, RefLock::default()));
    arena.mutate(|cx, root| {
        let new = |_| Gc::new(cx, counter.clone());
        root.borrow_mut(cx).extend((0..100).map(new));
    });
    arena.finish_cycle();
    assert_eq!(counter.alive(), 100);
    arena.mutate(|cx, root| root.borrow_mut(cx).clear());
    arena.finish_cycle();
    assert_eq!(counter.alive(), 0);
}

#[test]
fn entries_of_a_map_come_and_go() {
    type Map = Rootable![Gc<'_, RefLock<HashMap<u64, Gc<'_, (u64, Counter)>>>>];
    let counter = Counter::new();
    let mut arena = arena::<Map>(|cx| Gc::new(cx, RefLock::default()));
    let mut state = 1u64;
    let mut key = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % 200
    };
    for _ in 0..50 {
        arena.mutate(|cx, root| {
            let mut map = root.borrow_mut(cx);
            for _ in 0..20 {
                let key = key();
                let old = map.insert(key, Gc::new(cx, (key, counter.clone())));
                assert!(old.is_none_or(|old| old.0 == key));
            }
            for _ in 0..20 {
                let key = key();
                assert!(map.remove(&key).is_none_or(|old| old.0 == key));
            }
        });
        arena.collect_debt();
    }
    arena.finish_cycle();
    let left = arena.mutate(|_, root| root.borrow().len());
    assert_eq!(counter.alive(), left);
}

#[test]
fn garbage_does_not_pile_up() {
    let config = Config { min_heap_bytes: 64 << 10, ..config() };
    let mut arena = Arena::<Rootable![[Gc<'_, [u8; 64]>; 32]]>::with_config(config, |cx| {
        std::array::from_fn(|_| Gc::new(cx, [0; 64]))
    })
    .unwrap();
    for _ in 0..500 {
        arena.mutate_root(|cx, root| *root = std::array::from_fn(|_| Gc::new(cx, [0; 64])));
        arena.mutate(|cx, _| _ = Gc::new(cx, [0u8; 64]));
        let metrics = arena.metrics();
        assert!(metrics.heap_alloc < 256 << 10, "{}", metrics.heap_alloc);
    }
}

#[test]
fn a_value_is_dropped_where_it_was_made() {
    macro_rules! check {
        ($($align:literal $size:literal)*) => {$({
            #[repr(align($align))]
            #[allow(dead_code, reason = "for its size")]
            struct Value([u8; $size], Rc<Cell<usize>>);
            impl Drop for Value {
                fn drop(&mut self) {
                    self.1.set(std::ptr::from_ref(self).addr());
                }
            }
            let dropped = Rc::new(Cell::new(0));
            let made = rootless_mutate(|cx| {
                Gc::as_ptr(Gc::new_static(cx, Value([1; $size], dropped.clone()))).addr()
            });
            assert_eq!((made & ($align - 1), dropped.get()), (0, made), "{} {}", $align, $size);
        })*};
    }
    check!(1 0 1 1 1 7 2 2 4 0 4 12 8 0 8 16 8 40 16 0 16 16 32 0 32 32 64 100 256 1);
}

// --- weak references -------------------------------------------------------

#[test]
fn a_weak_reference_ends_with_its_object() {
    #[derive(Collect)]
    #[collect(no_drop)]
    struct TheRoot<'gc> {
        strong: Gc<'gc, RefLock<Option<Gc<'gc, i32>>>>,
        weak: GcWeak<'gc, i32>,
    }
    let mut arena = arena::<Rootable![TheRoot<'_>]>(|cx| {
        let object = Gc::new(cx, 42);
        let weak = Gc::downgrade(cx, object);
        assert!(Gc::ptr_eq(weak.upgrade(cx).unwrap(), object));
        TheRoot { strong: Gc::new(cx, RefLock::new(Some(object))), weak }
    });
    for _ in 0..3 {
        arena.finish_cycle();
        arena.mutate(|cx, root| {
            let strong = root.strong.borrow().unwrap();
            assert!(Gc::ptr_eq(root.weak.upgrade(cx).unwrap(), strong));
            assert!(!root.weak.is_dropped());
        });
    }
    arena.mutate(|cx, root| *root.strong.unlock(cx).borrow_mut() = None);
    arena.finish_cycle();
    arena.mutate(|cx, root| {
        assert!(root.weak.is_dropped());
        assert!(root.weak.upgrade(cx).is_none());
    });
    // The root, its cell, and what the weak reference keeps: not the number.
    assert_eq!(arena.metrics().heap_objects, 3);
    arena.mutate_root(|cx, root| root.weak = Gc::downgrade(cx, Gc::new(cx, 1)));
    arena.finish_cycle();
    assert_eq!(arena.metrics().heap_objects, 3);
}

#[test]
fn weak_references_are_copied_into_cells_and_compared() {
    type Kept = Rootable![(Gc<'_, u64>, Lock<Option<GcWeak<'_, u64>>>)];
    let mut arena = arena::<Kept>(|cx| {
        let object = Gc::new(cx, 7);
        (object, Lock::new(Some(Gc::downgrade(cx, object))))
    });
    arena.finish_cycle();
    arena.mutate(|cx, (object, cell)| {
        let (a, b) = (cell.get().unwrap(), Gc::downgrade(cx, *object));
        assert!(GcWeak::ptr_eq(a, b) && a.as_ptr() == Gc::as_ptr(*object));
        let other = Gc::downgrade(cx, Gc::new(cx, 7));
        assert!(!GcWeak::ptr_eq(a, other));
        cell.set(cx, Some(other));
        assert!(format!("{other:?}").contains("alive"));
    });
    arena.finish_cycle();
    arena.mutate(|cx, (_, cell)| assert!(cell.get().unwrap().upgrade(cx).is_none()));
}

#[test]
fn weak_references_to_strings_slices_and_trait_objects() {
    type Weaks = Rootable![(
        GcWeak<'_, str>,
        GcWeak<'_, [Gc<'_, u8>]>,
        GcWeak<'_, dyn Display>,
        RefLock<Vec<Gc<'_, ()>>>,
    )];
    let mut arena = arena::<Weaks>(|cx| {
        let text = Gc::from_str(cx, "text");
        let slice = Gc::from_iter(cx, [Gc::new(cx, 1u8), Gc::new(cx, 2)]);
        let shown = unsize!(Gc::new(cx, 3u64) => dyn Display);
        let kept = [Gc::erase(text), Gc::erase(slice), Gc::erase(shown)];
        let weaks = (Gc::downgrade(cx, text), Gc::downgrade(cx, slice), Gc::downgrade(cx, shown));
        (weaks.0, weaks.1, weaks.2, RefLock::new(kept.to_vec()))
    });
    arena.finish_cycle();
    arena.mutate(|cx, (text, slice, shown, kept)| {
        assert_eq!(&*text.upgrade(cx).unwrap(), "text");
        assert_eq!(slice.upgrade(cx).unwrap().iter().map(|n| **n).sum::<u8>(), 3);
        assert_eq!(shown.upgrade(cx).unwrap().to_string(), "3");
        kept.borrow_mut(cx).clear();
    });
    arena.finish_cycle();
    arena.mutate(|_, weaks| {
        assert!(weaks.0.is_dropped() && weaks.1.is_dropped() && weaks.2.is_dropped());
    });
}

/// In a heap that is marked beside its thread.
#[test]
fn a_weak_reference_that_is_followed_keeps_its_object_while_marking() {
    #[derive(Trace)]
    struct Node<'gc> {
        /// To the newest, which nothing else leads to.
        newest: Slot<Option<Gc<'gc, Holder<'gc>>>>,
        rest: Slot<Option<Gc<'gc, Node<'gc>>>>,
        number: u64,
    }
    #[derive(Trace)]
    struct Holder<'gc>(GcWeak<'gc, Node<'gc>>);
    assert!(<Holder<'_> as Trace<'_>>::SHAPE.mask().is_some());

    let config = Config {
        concurrent_from_bytes: 0,
        // A cycle is asked for at every other boundary.
        collect_every: 2,
        mark_delay_seed: 7,
        ..config()
    };
    let heap = Heap::new(config).unwrap();
    fn node<'gc>(rest: Option<Gc<'gc, Node<'gc>>>, number: u64) -> Node<'gc> {
        Node { newest: Slot::new(None), rest: Slot::new(rest), number }
    }
    let root: Root<Node<'static>> = heap.run(|cx| cx.root(Gc::new(cx, node(None, 0))));
    let mut followed = 0;
    for number in 1..3000 {
        heap.run(|cx| {
            let root = root.get(cx);
            let found = root.newest.get().and_then(|holder| holder.0.upgrade(cx));
            followed += usize::from(found.is_some());
            let new = Gc::new(cx, node(found, number));
            // All that it leads to is there, without a gap.
            let numbers = std::iter::successors(Some(new), |node| node.rest.get());
            let numbers: Vec<u64> = numbers.map(|node| node.number).collect();
            let count = numbers.len() as u64;
            assert!(numbers.iter().copied().eq((number + 1 - count..=number).rev()), "{numbers:?}");
            if count > 20 {
                new.rest.set(cx, None);
            }
            root.newest.set(cx, Some(Gc::new(cx, Holder(Gc::downgrade(cx, new)))));
        });
    }
    assert!(followed > 0);
    heap.collect();
    heap.run(|cx| assert!(root.get(cx).newest.get().unwrap().0.is_dropped()));
}

#[test]
fn threads_share_weak_references() {
    #[derive(Trace)]
    struct Shared<'gc> {
        weak: OnceLock<GcWeak<'gc, u64>>,
        strong: Slot<Option<Gc<'gc, u64>>>,
    }
    let heap = SharedHeap::new(config()).unwrap();
    let root: Root<Shared<'static>> = heap.attach().unwrap().run(|cx| {
        let object = Gc::new(cx, 7);
        let shared = Shared { weak: OnceLock::new(), strong: Slot::new(Some(object)) };
        assert!(shared.weak.set(cx, Gc::downgrade(cx, object)).is_ok());
        cx.root(Gc::new(cx, shared))
    });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mutator = heap.attach().unwrap();
                mutator.collect();
                mutator.run(|cx| {
                    let shared = root.get(cx);
                    let weak = shared.weak.get().unwrap();
                    assert_eq!(*weak.upgrade(cx).unwrap(), 7);
                });
            });
        }
    });
    let mutator = heap.attach().unwrap();
    mutator.run(|cx| root.get(cx).strong.set(cx, None));
    mutator.collect();
    mutator.run(|cx| assert!(root.get(cx).weak.get().unwrap().upgrade(cx).is_none()));
}

// --- slices, strings, trait objects ----------------------------------------

#[test]
fn a_slice_of_an_array_keeps_and_drops_its_elements() {
    let counter = Counter::new();
    let mut arena = arena::<Rootable![Gc<'_, [Gc<'_, Counter>]>]>(|cx| {
        let array: [_; 10] = std::array::from_fn(|_| Gc::new(cx, counter.clone()));
        unsize!(Gc::new(cx, array) => [_])
    });
    arena.finish_cycle();
    assert_eq!(counter.alive(), 10);
    arena.mutate(|_, root| assert_eq!(root.len(), 10));
    arena.mutate_root(|cx, root| *root = unsize!(Gc::new(cx, []) => [_]));
    arena.finish_cycle();
    assert_eq!(counter.alive(), 0);
}

#[test]
fn values_become_trait_objects() {
    rootless_mutate(|cx| {
        let text: Gc<'_, String> = Gc::new(cx, "hello".into());
        let weak = unsize!(Gc::downgrade(cx, text) => dyn Display);
        let shown = unsize!(text => dyn Display);
        assert_eq!(shown.to_string(), "hello");
        assert_eq!(weak.upgrade(cx).unwrap().to_string(), "hello");
        assert!(Gc::ptr_eq(Gc::erase(shown), Gc::erase(text)));
        // Inside a cell.
        let cell = unsize!(Gc::new(cx, RefLock::new(12345)) => RefLock<dyn Display>);
        assert_eq!(cell.borrow().to_string(), "12345");
        let weak =
            unsize!(Gc::downgrade(cx, Gc::new(cx, RefLock::new('x'))) => RefLock<dyn Display>);
        assert_eq!(weak.upgrade(cx).unwrap().borrow().to_string(), "x");
    });
}

#[test]
fn a_cell_of_a_trait_object_is_changed_through_it_and_traced() {
    trait Stack<'gc>: Trace0<'gc> {
        fn push(&mut self, value: Gc<'gc, u64>);
        fn sum(&self) -> u64;
    }
    /// A supertrait, so that the object is traced as what it is.
    trait Trace0<'gc>: DynTrace<'gc> {}
    impl<'gc, T: DynTrace<'gc>> Trace0<'gc> for T {}
    dyn_trace!(dyn Stack<'gc>);

    #[derive(Collect)]
    struct Numbers<'gc>(Vec<Gc<'gc, u64>>);
    impl<'gc> Stack<'gc> for Numbers<'gc> {
        fn push(&mut self, value: Gc<'gc, u64>) {
            self.0.push(value);
        }
        fn sum(&self) -> u64 {
            self.0.iter().map(|n| **n).sum()
        }
    }
    type Kept = Rootable!['gc => Gc<'gc, RefLock<dyn Stack<'gc> + 'gc>>];
    let mut arena = arena::<Kept>(
        |cx| unsize!(Gc::new(cx, RefLock::new(Numbers(vec![]))) => RefLock<dyn Stack<'_>>),
    );
    for n in 1..=10 {
        arena.mutate(|cx, root| root.borrow_mut(cx).push(Gc::new(cx, n)));
        arena.finish_cycle();
    }
    arena.mutate(|_, root| assert_eq!(root.borrow().sum(), 55));
}

#[test]
fn boxes_of_trait_objects_are_traced() {
    trait Value<'gc>: DynTrace<'gc> {
        fn number(&self) -> u64;
    }
    dyn_trace!(dyn Value<'gc>);
    trait Generic<'gc, T: Clone>: DynTrace<'gc> {
        fn value(&self) -> T;
    }
    dyn_trace!(<T> dyn Generic<'gc, T> where T: Clone);

    #[derive(Collect)]
    #[collect(no_drop)]
    struct Holder<'gc> {
        value: Box<dyn Value<'gc> + 'gc>,
        values: RefLock<Vec<Box<dyn Generic<'gc, u64> + 'gc>>>,
        any: Box<dyn DynTrace<'gc> + 'gc>,
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    struct Number<'gc>(Gc<'gc, u64>);
    impl<'gc> Value<'gc> for Number<'gc> {
        fn number(&self) -> u64 {
            *self.0
        }
    }
    impl<'gc> Generic<'gc, u64> for Number<'gc> {
        fn value(&self) -> u64 {
            *self.0
        }
    }
    assert_eq!(<Box<dyn Value<'static>> as Trace<'static>>::SHAPE, Shape::FUNCTION);
    let mut arena = arena::<Holder<'static>>(|cx| {
        let number = |n| Box::new(Number(Gc::new(cx, n)));
        let values: Vec<Box<dyn Generic<'_, u64>>> = vec![number(2), number(3)];
        Holder { value: number(1), values: RefLock::new(values), any: number(4) }
    });
    arena.finish_cycle();
    // The root and four numbers.
    assert_eq!(arena.metrics().heap_objects, 5);
    arena.mutate(|_, root| {
        let sum = root.values.borrow().iter().map(|value| value.value()).sum::<u64>();
        assert_eq!((root.value.number(), sum), (1, 5));
        let _: &dyn DynTrace<'_> = &*root.any;
    });
}

#[test]
fn references_are_keys_by_what_they_lead_to() {
    rootless_mutate(|cx| {
        let words = ["one", "two", "three"].map(|word| Gc::from_str(cx, word));
        let map: HashMap<Gc<'_, str>, usize> = words.into_iter().zip(1..).collect();
        assert_eq!((map["two"], map.get("four")), (2, None));
        let sorted: BTreeMap<Gc<'_, str>, ()> = words.into_iter().map(|word| (word, ())).collect();
        assert!(sorted.keys().map(|word| word.as_ref()).eq(["one", "three", "two"]));
        let same = Gc::from_str(cx, "one");
        assert!(same == words[0] && !Gc::ptr_eq(same, words[0]));
        assert!(HashSet::from([same]).contains(&words[0]));
        assert_eq!(format!("{same} {same:?}"), "one \"one\"");
    });
}

#[test]
fn what_takes_no_memory_takes_none() {
    rootless_mutate(|cx| {
        let before = cx.heap().stats().heap_objects;
        for _ in 0..10 {
            assert!(Gc::ptr_eq(Gc::new(cx, ()), Gc::new(cx, ())));
            assert!(Gc::from_str(cx, "").is_empty());
        }
        assert_eq!(cx.heap().stats().heap_objects, before);
        // It never dies.
        assert!(Gc::downgrade(cx, Gc::new(cx, ())).upgrade(cx).is_some());
    });
    assert_eq!(size_of::<Gc<'_, u8>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Gc<'_, u8>>>(), size_of::<usize>());
}

// --- cells and places ------------------------------------------------------

#[test]
fn old_objects_take_new_ones_in() {
    #[derive(Collect)]
    struct Node<'gc> {
        by_lock: Lock<Option<Gc<'gc, Node<'gc>>>>,
        by_cell: RefLock<Option<Gc<'gc, Node<'gc>>>>,
        once: OnceLock<Gc<'gc, Node<'gc>>>,
        number: u64,
    }
    impl<'gc> Node<'gc> {
        fn new(cx: &Cx<'gc>, number: u64) -> Gc<'gc, Node<'gc>> {
            let (by_lock, by_cell, once) = Default::default();
            Gc::new(cx, Node { by_lock, by_cell, once, number })
        }
    }
    let mut arena = arena::<Rootable![Gc<'_, Node<'_>>]>(|cx| Node::new(cx, 0));
    for round in 0..5 {
        arena.finish_cycle();
        arena.mutate(|cx, root| {
            root.by_lock.set(cx, Some(Node::new(cx, round)));
            *root.by_cell.borrow_mut(cx) = Some(Node::new(cx, 10 + round));
            assert_eq!(root.once.set(cx, Node::new(cx, 20)).is_ok(), round == 0);
        });
        arena.finish_cycle();
        arena.mutate(|_, root| {
            assert_eq!(root.by_lock.get().unwrap().number, round);
            assert_eq!(root.by_cell.borrow().unwrap().number, 10 + round);
            assert_eq!(root.once.get().unwrap().number, 20);
        });
        assert_eq!(arena.metrics().heap_objects, 5);
    }
}

#[derive(Collect)]
struct Record<'gc> {
    name: Lock<Option<Gc<'gc, str>>>,
    list: RefLock<Vec<u64>>,
    link: Slot<Option<Gc<'gc, Record<'gc>>>>,
    late: OnceLock<Gc<'gc, u64>>,
    inner: Inner<'gc>,
    maybe: Option<Inner<'gc>>,
    either: Result<Inner<'gc>, RefLock<String>>,
    boxed: Box<Inner<'gc>>,
    many: Vec<Lock<Option<Gc<'gc, u64>>>>,
}

#[derive(Collect, Default)]
struct Inner<'gc> {
    cell: Lock<Option<Gc<'gc, u64>>>,
}

impl<'gc> Record<'gc> {
    fn new(cx: &Cx<'gc>) -> Gc<'gc, Record<'gc>> {
        Gc::new(
            cx,
            Record {
                name: Lock::new(None),
                list: RefLock::default(),
                link: Slot::new(None),
                late: OnceLock::new(),
                inner: Inner::default(),
                maybe: Some(Inner::default()),
                either: Err(RefLock::default()),
                boxed: Box::default(),
                many: vec![Lock::new(None), Lock::new(None)],
            },
        )
    }
}

#[test]
fn cells_are_unlocked_by_field() {
    rootless_mutate(|cx| {
        let record = Record::new(cx);
        let place = Gc::write(cx, record);
        unlock!(place, Record, name).set(Some(Gc::from_str(cx, "name")));
        unlock!(place, Record, list).borrow_mut().extend([1, 2]);
        unlock!(place, Record, link).set(Some(record));
        assert!(unlock!(place, Record, late).set(Gc::new(cx, 3)).is_ok());
        assert_eq!(**unlock!(place, Record, late).get_or_init(|| unreachable!()), 3);
        assert_eq!(record.name.get().as_deref(), Some("name"));
        assert_eq!(*record.list.borrow(), [1, 2]);
        assert!(Gc::ptr_eq(record.link.get().unwrap(), record));
        assert_eq!(record.late.get().map(|n| **n), Some(3));
        // What they held is given back.
        let name = field!(place, Record, name).unlock();
        assert_eq!(name.replace(None).as_deref(), Some("name"));
        assert!(name.take().is_none() && name.get().is_none());
        let list = field!(place, Record, list).unlock();
        assert!(list.try_borrow_mut().is_some() && list.borrow().len() == 2);
        assert_eq!(record.list.take(cx), [1, 2]);
        assert_eq!(record.list.replace(cx, vec![9]), []);
    });
}

#[test]
fn places_lead_to_fields_options_results_boxes_and_elements() {
    fn set<'gc>(cx: &Cx<'gc>, inner: Write<'_, 'gc, Inner<'gc>>, number: u64) {
        unlock!(inner, Inner, cell).set(Some(Gc::new(cx, number)));
    }
    rootless_mutate(|cx| {
        let record = Record::new(cx);
        let place = Gc::write(cx, record);
        set(cx, field!(place, Record, inner), 1);
        set(cx, field!(place, Record, maybe).as_write().unwrap(), 2);
        set(cx, field!(place, Record, boxed).as_deref(), 3);
        match field!(place, Record, either).as_write() {
            Ok(inner) => set(cx, inner, 4),
            Err(text) => text.unlock().borrow_mut().push('4'),
        }
        for (index, number) in [5, 6].into_iter().enumerate() {
            let cell = field!(place, Record, many).as_deref().map(|many| &many[index]);
            cell.unlock().set(Some(Gc::new(cx, number)));
        }
        let number = |inner: &Inner<'_>| *inner.cell.get().unwrap();
        assert_eq!(number(&record.inner), 1);
        assert_eq!(number(record.maybe.as_ref().unwrap()), 2);
        assert_eq!(number(&record.boxed), 3);
        assert_eq!(*record.either.as_ref().err().unwrap().borrow(), "4");
        assert_eq!(record.many.iter().map(|cell| *cell.get().unwrap()).sum::<u64>(), 11);
        assert!(std::ptr::eq(&*place, record.as_ref()));
    });
}

#[test]
fn cells_have_the_methods_of_those_of_the_standard_library() {
    rootless_mutate(|cx| {
        let (one, two) = (Gc::new(cx, 1u64), Gc::new(cx, 2u64));
        let lock = Lock::from(one);
        assert_eq!(*lock.update(cx, |_| two), 2);
        assert_eq!(*lock.into_inner(), 2);
        let slot = Slot::from(Some(one));
        assert!(Gc::ptr_eq(slot.swap(cx, Some(two)).unwrap(), one));
        assert_eq!(slot.get().as_deref(), Some(&2));
        let mut cell = RefLock::from(vec![one]);
        cell.get_mut().push(two);
        assert_eq!(cell.into_inner().len(), 2);
        let mut once = OnceLock::new();
        assert_eq!(**once.get_or_init(cx, || one), 1);
        *once.get_mut().unwrap() = two;
        assert_eq!(once.into_inner().as_deref(), Some(&2));
        assert_eq!(OnceLock::from(one).get().map(|n| **n), Some(1));
    });
}

// --- dynamic roots ---------------------------------------------------------

type Set = Rootable![DynamicRootSet<'_>];

#[test]
fn a_handle_keeps_its_object_as_long_as_a_clone_of_it_is_there() {
    let (a, b) = (Rc::new(12), Rc::new("hello".to_string()));
    let mut arena = arena::<Set>(|cx| DynamicRootSet::new(cx));
    let root_a: DynamicRoot<Rc<i32>> =
        arena.mutate(|cx, set| set.stash(cx, Gc::new(cx, a.clone())));
    let root_b: DynamicRoot<Rc<String>> =
        arena.mutate(|cx, set| set.stash(cx, Gc::new(cx, b.clone())));
    let counts = || (Rc::strong_count(&a), Rc::strong_count(&b));
    arena.finish_cycle();
    assert_eq!(counts(), (2, 2));
    let again = arena.mutate(|cx, set| {
        assert_eq!(**set.fetch(cx, &root_a), 12);
        assert_eq!(set.fetch(cx, &root_b).as_str(), "hello");
        set.stash::<Rc<String>>(cx, set.fetch(cx, &root_b))
    });
    let clones = (root_a.clone(), root_b.clone());
    drop((root_a, root_b));
    arena.finish_cycle();
    assert_eq!(counts(), (2, 2));
    drop(clones);
    arena.finish_cycle();
    assert_eq!(counts(), (1, 2), "the second was stashed twice");
    drop(again);
    arena.finish_cycle();
    assert_eq!(counts(), (1, 1));
}

#[test]
fn many_handles_come_and_go() {
    let counter = Counter::new();
    let mut arena = arena::<Set>(|cx| DynamicRootSet::new(cx));
    let mut handles: Vec<DynamicRoot<(usize, Counter)>> = Vec::new();
    for round in 0..50 {
        arena.mutate(|cx, set| {
            for n in 0..20 {
                handles.push(set.stash(cx, Gc::new(cx, (n + 20 * round, counter.clone()))));
            }
        });
        handles =
            handles.into_iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|h| h.1).collect();
        arena.finish_cycle();
        assert_eq!(counter.alive(), handles.len());
        arena.mutate(|cx, set| {
            let numbers: Vec<_> = handles.iter().map(|handle| set.fetch(cx, handle).0).collect();
            assert!(numbers.is_sorted());
        });
    }
    drop(arena);
    assert_eq!(counter.alive(), 0, "handles keep nothing without their set");
}

#[test]
fn a_handle_of_another_set_is_told_apart() {
    let (one, other) =
        (arena::<Set>(|cx| DynamicRootSet::new(cx)), arena::<Set>(|cx| DynamicRootSet::new(cx)));
    let handle: DynamicRoot<i32> = one.mutate(|cx, set| set.stash(cx, Gc::new(cx, 44)));
    other.mutate(|cx, set| {
        assert!(!set.contains(&handle));
        assert!(set.try_fetch(cx, &handle).is_none());
        let fetched = catch_unwind(AssertUnwindSafe(|| *set.fetch(cx, &handle)));
        assert!(fetched.is_err());
    });
    // Two sets of one heap are two as well.
    one.mutate(|cx, set| {
        assert!(DynamicRootSet::new(cx).try_fetch(cx, &handle).is_none());
        assert_eq!(*set.fetch(cx, &handle), 44);
    });
}

/// With a `Root` in its place the coroutine would keep itself.
#[test]
fn a_set_that_its_handles_lead_to_dies_with_them() {
    #[derive(Collect)]
    struct Coroutine<'gc> {
        roots: DynamicRootSet<'gc>,
        locals: RefLock<Static<Vec<DynamicRoot<Coroutine<'static>>>>>,
        counter: Counter,
    }
    let counter = Counter::new();
    let mut arena = arena::<Rootable![Lock<Option<Gc<'_, Coroutine<'_>>>>]>(|cx| {
        let (roots, locals) = (DynamicRootSet::new(cx), RefLock::new(Static(Vec::new())));
        let coroutine = Gc::new(cx, Coroutine { roots, locals, counter: counter.clone() });
        let itself = coroutine.roots.stash(cx, coroutine);
        coroutine.locals.borrow_mut(cx).push(itself);
        Lock::new(Some(coroutine))
    });
    arena.finish_cycle();
    assert_eq!(counter.alive(), 1);
    arena.mutate(|cx, root| {
        let coroutine = root.get().unwrap();
        let found = coroutine.roots.fetch(cx, &coroutine.locals.borrow()[0]);
        assert!(Gc::ptr_eq(found, coroutine));
        root.set(cx, None);
    });
    arena.finish_cycle();
    assert_eq!(counter.alive(), 0);
}

#[test]
fn threads_stash_in_one_set() {
    let heap = SharedHeap::new(config()).unwrap();
    let set: Root<DynamicRootSet<'static>> =
        heap.attach().unwrap().run(|cx| cx.root(Gc::new(cx, DynamicRootSet::new(cx))));
    let handles: Vec<DynamicRoot<u64>> = std::thread::scope(|scope| {
        let threads = [0u64, 1, 2].map(|thread| {
            let (heap, set) = (&heap, &set);
            scope.spawn(move || {
                let mutator = heap.attach().unwrap();
                let stash = |n| mutator.run(|cx| set.get(cx).stash(cx, Gc::new(cx, n)));
                (0..100).map(|n| stash(100 * thread + n)).collect::<Vec<_>>()
            })
        });
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mutator = heap.attach().unwrap();
    mutator.collect();
    mutator.run(|cx| {
        let found = handles.iter().map(|handle| *set.get(cx).fetch(cx, handle));
        assert!(found.eq(0..300));
    });
}

// --- derivation ------------------------------------------------------------

#[test]
fn types_are_derived_as_there() {
    fn shape<'gc, T: Trace<'gc>>() -> Shape {
        T::SHAPE
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    struct Two<'gc> {
        a: i32,
        b: Gc<'gc, i32>,
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    struct Plain {
        a: i32,
        b: i32,
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    enum Either<'gc> {
        B(Gc<'gc, i32>),
        A(i32),
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    enum One {
        A(i32),
    }
    #[derive(Collect)]
    #[collect(no_drop, gc_lifetime = 'gc)]
    #[allow(dead_code, reason = "for its shape")]
    struct Borrowing<'gc, 'a>(Gc<'gc, &'a i32>);
    #[allow(dead_code, reason = "for its shape")]
    struct Unknown(u8);
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    struct WithUnknown {
        #[collect(require_static)]
        field: Unknown,
    }
    #[derive(Collect)]
    #[collect(no_drop)]
    #[allow(dead_code, reason = "for its shape")]
    enum EnumWithUnknown {
        First {
            #[collect(require_static)]
            field: Unknown,
        },
    }
    assert!(!shape::<Two<'_>>().is_free());
    assert!(shape::<Plain>().is_free());
    assert_eq!(shape::<Either<'_>>(), Shape::FUNCTION);
    assert!(shape::<One>().is_free());
    assert_eq!(shape::<Borrowing<'_, '_>>(), Shape::WORD);
    assert!(shape::<WithUnknown>().is_free());
    assert!(shape::<EnumWithUnknown>().is_free());
}

#[test]
fn bounds_may_be_told() {
    #[derive(Trace)]
    #[gc(bound = "where T: Trace<'gc>")]
    struct Told<'gc, T>(Gc<'gc, T>, T);
    #[derive(Trace)]
    #[gc(bound = "")]
    struct Where<'gc, T>(Gc<'gc, ()>, T)
    where
        T: Trace<'gc>;
    #[derive(Trace)]
    struct Inline<'gc, T: Trace<'gc>>(Gc<'gc, T>, T);
    #[derive(Trace)]
    #[gc(bound = "")]
    struct Hidden<'gc, T>(Gc<'gc, T>, std::marker::PhantomData<T>);

    type Kept =
        Rootable![(Told<'_, u64>, Where<'_, String>, Inline<'_, Gc<'_, u64>>, Hidden<'_, u8>)];
    let mut arena = arena::<Kept>(|cx| {
        let number = Gc::new(cx, 1u64);
        let unit = Gc::new(cx, ());
        (
            Told(number, 2),
            Where(unit, "three".into()),
            Inline(Gc::new(cx, number), number),
            Hidden(Gc::new(cx, 4), std::marker::PhantomData),
        )
    });
    arena.finish_cycle();
    arena.mutate(|_, (told, clause, inline, hidden)| {
        assert_eq!((*told.0, told.1, clause.1.as_str()), (1, 2, "three"));
        assert_eq!((**inline.0, *inline.1, *hidden.0), (1, 1, 4));
        let _ = (clause.0, hidden.1);
    });
}

#[test]
fn a_prefix_is_referred_to_by_projection() {
    #[derive(Collect)]
    struct Base<'gc> {
        name: Gc<'gc, str>,
    }
    #[derive(Collect)]
    struct Derived<'gc> {
        base: Base<'gc>,
        rest: [u64; 10],
    }
    type Kept = Rootable![Gc<'_, Base<'_>>];
    let mut arena = arena::<Kept>(|cx| {
        let base = Base { name: Gc::from_str(cx, "derived") };
        Gc::map(Gc::new(cx, Derived { base, rest: [7; 10] }), |derived| &derived.base)
    });
    arena.finish_cycle();
    // The root, the whole object and its name.
    assert_eq!(arena.metrics().heap_objects, 3);
    arena.mutate(|_, base| assert_eq!(&*base.name, "derived"));
    rootless_mutate(|cx| {
        let base = Base { name: Gc::from_str(cx, "") };
        assert_eq!(Gc::new(cx, Derived { base, rest: [7; 10] }).rest[9], 7);
    });
}
