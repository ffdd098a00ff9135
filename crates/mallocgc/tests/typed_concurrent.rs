//! Heaps of the safe interface that are marked beside their mutators: random programs whose objects hold
//! references in every kind of cell, against a model.

#![forbid(unsafe_code)]

use mallocgc::base::random::Random;
use mallocgc::raw::Config;
use mallocgc::typed::{
    Cx, Gc, Heap, Lock, Mutator, OnceLock, RefLock, Root, Shared, SharedHeap, SharedLock, Slot,
    Trace,
};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn zeal() -> bool {
    std::env::var_os("MALLOCGC_ZEAL").is_some()
}

/// Marked beside its mutators however small it is, with delays.
fn beside(seed: u64) -> Config {
    Config {
        reserve_bytes: 8 << 30,
        concurrent_from_bytes: 0,
        min_heap_bytes: 128 << 10,
        mark_delay_seed: seed,
        clobber: 0xdead_beef_dead_beef,
        collect_every: if zeal() { 3 } else { 0 },
        verify: zeal(),
        ..Config::default()
    }
}

fn scaled(steps: u64) -> u64 {
    if zeal() { steps / 20 } else { steps }
}

/// Two words, of which one says what the other is.
#[derive(Clone, Copy, Trace)]
enum Value<'gc> {
    Number(u64),
    Node(Gc<'gc, Node<'gc>>),
}

/// References in every kind of cell, also where the object itself does not hold them.
#[derive(Trace)]
struct Node<'gc> {
    number: u64,
    name: String,
    #[gc(static)]
    _counted: Counted,
    slot: Slot<Option<Gc<'gc, Node<'gc>>>>,
    value: Lock<Value<'gc>>,
    list: RefLock<Vec<Gc<'gc, Node<'gc>>>>,
    map: RefLock<HashMap<u64, Value<'gc>>>,
    far: Box<Far<'gc>>,
    array: Gc<'gc, [Lock<Value<'gc>>]>,
    once: OnceLock<Gc<'gc, Node<'gc>>>,
}

/// Cells that lie outside of the heap.
#[derive(Trace)]
struct Far<'gc> {
    list: RefLock<Vec<Value<'gc>>>,
    locks: Vec<Lock<Value<'gc>>>,
}

const ARRAY: usize = 20;

/// Counts the values that exist.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Counted {
        count.set(count.get() + 1);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a node holds, by number.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
struct Expected {
    slot: Option<u64>,
    value: Option<u64>,
    list: Vec<u64>,
    map: BTreeMap<u64, u64>,
    far: Vec<u64>,
    far_locks: Vec<Option<u64>>,
    array: Vec<Option<u64>>,
    once: Option<u64>,
}

type Object<'gc> = Gc<'gc, Node<'gc>>;

fn number_of(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Number(number) => {
            assert_eq!(number, EMPTY, "a value that nobody stored");
            None
        }
        Value::Node(node) => Some(node.number),
    }
}

/// What values hold that are no references: it looks like one to who takes it for one.
const EMPTY: u64 = 0x7777_7777_7777;

/// A program in a heap of its own.
struct Program {
    random: Random,
    count: Rc<Cell<usize>>,
    roots: Vec<Root<Node<'static>>>,
    expected: Vec<Expected>,
}

impl Program {
    fn make<'gc>(&mut self, cx: &Cx<'gc>) -> Object<'gc> {
        let number = self.expected.len() as u64;
        self.expected.push(Expected {
            far_locks: vec![None; 3],
            array: vec![None; ARRAY],
            ..Expected::default()
        });
        let empty = || Lock::new(Value::Number(EMPTY));
        Gc::new(
            cx,
            Node {
                number,
                name: format!("node {number}"),
                _counted: Counted::new(&self.count),
                slot: Slot::default(),
                value: empty(),
                list: RefLock::default(),
                map: RefLock::default(),
                far: Box::new(Far {
                    list: RefLock::default(),
                    locks: (0..3).map(|_| empty()).collect(),
                }),
                array: Gc::from_iter(cx, (0..ARRAY).map(|_| empty())),
                once: OnceLock::new(),
            },
        )
    }

    /// All that a node refers to; checked against what it should.
    fn check<'gc>(&self, node: Object<'gc>) -> Vec<Object<'gc>> {
        assert_eq!(node.name, format!("node {}", node.number));
        let mut found = Vec::new();
        let mut note = |value: Value<'gc>| {
            if let Value::Node(node) = value {
                found.push(node);
            }
            number_of(value)
        };
        let actual = Expected {
            slot: node.slot.get().and_then(|node| note(Value::Node(node))),
            value: note(node.value.get()),
            list: node.list.borrow().iter().filter_map(|&node| note(Value::Node(node))).collect(),
            map: (node.map.borrow().iter())
                .filter_map(|(&key, &value)| Some((key, note(value)?)))
                .collect(),
            far: node.far.list.borrow().iter().filter_map(|&value| note(value)).collect(),
            far_locks: node.far.locks.iter().map(|place| note(place.get())).collect(),
            array: node.array.iter().map(|place| note(place.get())).collect(),
            once: node.once.get().and_then(|&node| note(Value::Node(node))),
        };
        assert_eq!(actual, self.expected[node.number as usize]);
        found
    }

    /// Some node that a root leads to.
    fn walk<'gc>(&mut self, cx: &Cx<'gc>) -> Object<'gc> {
        let root = self.random.below(self.roots.len() as u64) as usize;
        let mut node = self.roots[root].get(cx);
        for _ in 0..self.random.below(6) {
            let next = self.check(node);
            if next.is_empty() {
                break;
            }
            node = next[self.random.below(next.len() as u64) as usize];
        }
        node
    }

    /// Changes one node.
    fn change<'gc>(&mut self, cx: &Cx<'gc>) {
        let holder = self.walk(cx);
        let held = match self.random.below(3) {
            0 => self.make(cx),
            _ => self.walk(cx),
        };
        let keeps = self.random.below(5) > 1;
        let expected = &mut self.expected[holder.number as usize];
        let (number, value) = match keeps {
            true => (Some(held.number), Value::Node(held)),
            false => (None, Value::Number(EMPTY)),
        };
        match self.random.below(9) {
            0 => {
                holder.slot.set(cx, keeps.then_some(held));
                expected.slot = number;
            }
            1 => {
                holder.value.set(cx, value);
                expected.value = number;
            }
            2 => {
                let mut list = holder.list.borrow_mut(cx);
                if keeps {
                    list.push(held);
                    expected.list.push(held.number);
                } else if !list.is_empty() {
                    // The vector moves its memory.
                    list.remove(0);
                    list.shrink_to_fit();
                    expected.list.remove(0);
                }
            }
            3 => {
                let key = self.random.below(8);
                let mut map = holder.map.borrow_mut(cx);
                match keeps {
                    true => {
                        map.insert(key, value);
                        expected.map.insert(key, held.number);
                    }
                    false => {
                        map.remove(&key);
                        expected.map.remove(&key);
                    }
                }
            }
            4 => {
                let mut far = holder.far.list.borrow_mut(cx);
                if keeps {
                    far.insert(0, value);
                    expected.far.insert(0, held.number);
                } else {
                    *far = Vec::new();
                    expected.far.clear();
                }
            }
            5 => {
                let at = self.random.below(3) as usize;
                holder.far.locks[at].set(cx, value);
                expected.far_locks[at] = number;
            }
            6 => {
                if holder.once.set(cx, held).is_ok() {
                    expected.once = Some(held.number);
                }
            }
            7 if holder.number != held.number => {
                // One list to another place, with nothing behind.
                let list = std::mem::take(&mut *holder.list.borrow_mut(cx));
                held.list.borrow_mut(cx).extend(list);
                let list = std::mem::take(&mut expected.list);
                self.expected[held.number as usize].list.extend(list);
            }
            _ => {
                let at = self.random.below(ARRAY as u64) as usize;
                holder.array[at].set(cx, value);
                expected.array[at] = number;
            }
        }
        if holder.list.borrow().len() > 12 {
            holder.list.borrow_mut(cx).clear();
            self.expected[holder.number as usize].list.clear();
        }
    }

    fn change_roots<'gc>(&mut self, cx: &Cx<'gc>) {
        let node = match self.random.below(3) {
            0 => self.make(cx),
            _ => self.walk(cx),
        };
        let at = self.random.below(self.roots.len() as u64) as usize;
        match self.random.below(2) {
            0 => self.roots[at] = cx.root(node),
            _ => self.roots[at].set(cx, node),
        }
    }
}

/// Runs a program; how many nodes it made.
fn run(seed: u64, config: Config, steps: u64) -> usize {
    let heap = Heap::new(config).unwrap();
    let mut program = Program {
        random: Random::new(seed),
        count: Rc::default(),
        roots: Vec::new(),
        expected: Vec::new(),
    };
    for _ in 0..8 {
        let root = heap.run(|cx| cx.root(program.make(cx)));
        program.roots.push(root);
    }
    for _ in 0..scaled(steps) {
        heap.run(|cx| {
            for _ in 0..program.random.below(20) {
                program.change(cx);
            }
            if program.random.below(4) == 0 {
                program.change_roots(cx);
            }
        });
    }
    // What it holds is as it should be, and all the rest goes.
    let alive = heap.run(|cx| {
        let mut todo: Vec<Object<'_>> = program.roots.iter().map(|root| root.get(cx)).collect();
        let mut seen = std::collections::HashSet::new();
        while let Some(node) = todo.pop() {
            if seen.insert(node.number) {
                todo.extend(program.check(node));
            }
        }
        seen.len()
    });
    heap.collect();
    heap.collect();
    assert_eq!(program.count.get(), alive, "seed {seed}");
    let beside = heap.raw().marking_utilization() != 0.0;
    assert!(zeal() || beside, "seed {seed}: no cycle was beside the program");
    program.roots.clear();
    heap.collect();
    heap.collect();
    assert_eq!(program.count.get(), 0, "seed {seed}");
    assert_eq!(heap.raw().stats().heap_objects, 0, "seed {seed}");
    program.expected.len()
}

#[test]
fn a_program_of_every_cell_is_marked_beside() {
    for seed in 1..7 {
        let made = run(seed, beside(seed), 3000);
        assert!(made > scaled(3000) as usize, "seed {seed}: {made} nodes");
    }
}

#[test]
fn a_program_of_every_cell_is_marked_beside_at_every_boundary() {
    for seed in 11..14 {
        run(seed, Config { collect_every: 1, verify: true, ..beside(seed) }, 400);
    }
}

/// As `Node`, for threads.
#[derive(Trace)]
struct Meeting<'gc> {
    number: u64,
    name: String,
    #[gc(static)]
    _alive: Alive,
    slot: Slot<Option<Gc<'gc, Meeting<'gc>>>>,
    list: SharedLock<Vec<Gc<'gc, Meeting<'gc>>>>,
    map: SharedLock<BTreeMap<u64, Gc<'gc, Meeting<'gc>>>>,
    once: OnceLock<Box<Gc<'gc, Meeting<'gc>>>>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn meeting<'gc>(
    cx: &Cx<'gc, Shared>,
    number: u64,
    alive: &Arc<AtomicUsize>,
) -> Gc<'gc, Meeting<'gc>> {
    alive.fetch_add(1, Relaxed);
    Gc::new(
        cx,
        Meeting {
            number,
            name: format!("meeting {number}"),
            _alive: Alive(alive.clone()),
            slot: Slot::default(),
            list: SharedLock::default(),
            map: SharedLock::default(),
            once: OnceLock::new(),
        },
    )
}

impl<'gc> Meeting<'gc> {
    /// One it refers to, checked.
    fn next(&self, random: &mut Random) -> Option<Gc<'gc, Meeting<'gc>>> {
        let next = match random.below(4) {
            0 => self.slot.get(),
            1 => {
                let list = self.list.read();
                (!list.is_empty()).then(|| list[random.below(list.len() as u64) as usize])
            }
            2 => {
                let map = self.map.read();
                map.iter().for_each(|(&key, node)| assert_eq!(key, node.number));
                map.values().next().copied()
            }
            _ => self.once.get().map(|node| **node),
        };
        next.inspect(|node| assert_eq!(node.name, format!("meeting {}", node.number)))
    }

    fn change(&self, cx: &Cx<'gc, Shared>, other: Gc<'gc, Meeting<'gc>>, random: &mut Random) {
        match random.below(16) {
            0 => self.slot.set(cx, Some(other)),
            1 => self.slot.set(cx, None),
            2..6 => self.list.write(cx).push(other),
            6..10 => {
                // To another place, with nothing behind.
                let list = std::mem::take(&mut *self.list.write(cx));
                other.list.write(cx).extend(list.into_iter().take(200));
            }
            10..13 => {
                self.map.write(cx).insert(other.number, other);
            }
            13 | 14 => {
                self.map.write(cx).pop_first();
            }
            _ => {
                let _ = self.once.set(cx, Box::new(other));
            }
        }
    }
}

/// One thread of a program.
fn meet(mutator: &Mutator, roots: &[Root<Meeting<'static>>], seed: u64, alive: &Arc<AtomicUsize>) {
    let mut random = Random::new(seed);
    for step in 0..scaled(3000) {
        mutator.run(|cx| {
            for _ in 0..10 {
                let mut walk = || {
                    let at = random.below(roots.len() as u64) as usize;
                    let mut node = roots[at].get(cx);
                    for _ in 0..random.below(8) {
                        node = node.next(&mut random).unwrap_or(node);
                    }
                    node
                };
                let (holder, mut other) = (walk(), walk());
                if random.below(3) == 0 {
                    other = meeting(cx, seed << 32 | step, alive);
                }
                holder.change(cx, other, &mut random);
            }
        });
    }
}

#[test]
fn threads_share_locked_values_while_they_are_marked() {
    for (seed, threads) in [(21, 2), (22, 3), (23, 4)] {
        // The collector is asked for a cycle at every boundary.
        let config = Config { collect_every: 1, ..beside(seed) };
        let heap = SharedHeap::new(config).unwrap();
        let alive = Arc::new(AtomicUsize::new(0));
        let mutator = heap.attach().unwrap();
        let roots: Vec<Root<Meeting<'static>>> =
            (0..6).map(|number| mutator.run(|cx| cx.root(meeting(cx, number, &alive)))).collect();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (heap, roots, alive) = (&heap, &roots, &alive);
                scope.spawn(move || {
                    meet(&heap.attach().unwrap(), roots, seed * 100 + thread, alive);
                });
            }
        });
        assert!(zeal() || heap.raw().marking_utilization() != 0.0, "seed {seed}");
        drop(roots);
        // What died while the first was marking is left for the second, and values go after a cycle.
        for _ in 0..3 {
            mutator.collect();
        }
        assert_eq!(alive.load(Relaxed), 0, "seed {seed}");
        assert_eq!(heap.raw().stats().heap_objects, 0, "seed {seed}");
    }
}

/// A heap may go while it is being marked; its values go with it, on its own thread.
#[test]
fn a_heap_is_dropped_while_it_is_marked() {
    for seed in 31..41 {
        let heap = Heap::new(Config { collect_every: 7, ..beside(seed) }).unwrap();
        let mut program = Program {
            random: Random::new(seed),
            count: Rc::default(),
            roots: Vec::new(),
            expected: Vec::new(),
        };
        let root = heap.run(|cx| cx.root(program.make(cx)));
        program.roots.push(root);
        for _ in 0..60 {
            heap.run(|cx| {
                for _ in 0..20 {
                    program.change(cx);
                }
            });
        }
        drop(heap);
        assert_eq!(program.count.get(), 0, "seed {seed}");
        drop(program.roots);
    }
}
