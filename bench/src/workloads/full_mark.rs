//! full-mark: forced full collections of a heap that does not change.
//!
//! | variant | objects | references |
//! | --- | --- | --- |
//! | list | 16 B | the one made before |
//! | shuffled-list | 16 B | the next in random order |
//! | graph | 40 B | 2i+1 and 2i+2 (so that all are reachable), and two random ones |
//! | wide-tree | 128 B | 15i+1 .. 15i+15 |
//! | map | 24 B entries in chains, 16 B boxes without references | next entry, box; one bucket a word |
//!
//! `objects` of them (of each kind in the map), `collections` collections, the first of which does not count: the
//! figures are the median CPU time of a collection per object, and its wall time. A traversal afterwards gives the
//! check value. Runtimes that free explicitly have nothing to do here.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{OrExhausted, Session, object};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use mallocgc::raw::{AllocClass, Force, Layout, Mutator, TypeLayout};

const CASE: Case = Case {
    name: "full-mark/list",
    about: "full collection of a list in allocation order",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::Metric("mark_cpu_ns_per_object"),
    set: None,
    peers: &[Runtime::Go, Runtime::Libgc],
    run,
};

pub(super) const CASES: &[Case] = &[
    CASE,
    Case {
        name: "full-mark/shuffled-list",
        about: "full collection of a list in random order",
        ..CASE
    },
    Case {
        name: "full-mark/graph",
        about: "full collection of a random graph",
        set: Some(Set::Representative),
        ..CASE
    },
    Case {
        name: "full-mark/wide-tree",
        about: "full collection of a tree with 15 children a node",
        ..CASE
    },
    Case {
        name: "full-mark/map",
        about: "full collection of a hash table with boxed values",
        ..CASE
    },
];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("objects", 1_000), ("collections", 2)],
        Scale::Quick => &[("objects", 1_000_000), ("collections", 6)],
        Scale::Full => &[("objects", 10_000_000), ("collections", 6)],
    }
}

#[repr(C)]
struct ListNode {
    next: *mut ListNode,
    value: u64,
}

#[repr(C)]
struct GraphNode {
    edges: [*mut GraphNode; 4],
    value: u64,
}

#[repr(C)]
struct WideNode {
    children: [*mut WideNode; 15],
    value: u64,
}

#[repr(C)]
struct MapBox {
    value: u64,
    key: u64,
}

#[repr(C)]
struct MapEntry {
    next: *mut MapEntry,
    key: u64,
    value: *mut MapBox,
}

const MAP_MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Nodes of all shapes end in their number.
trait Numbered {
    fn set_number(&mut self, value: u64);
}

impl Numbered for ListNode {
    fn set_number(&mut self, value: u64) {
        self.value = value;
    }
}

impl Numbered for GraphNode {
    fn set_number(&mut self, value: u64) {
        self.value = value;
    }
}

impl Numbered for WideNode {
    fn set_number(&mut self, value: u64) {
        self.value = value;
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let n = run.number("objects")? as usize;
    let session = Session::new()?;
    let builder = Builder { session: &session, mutator: &session.attach()? };
    let mut check = Digest::new();
    let figures = match run.variant() {
        shape @ ("list" | "shuffled-list") => {
            let head = match shape {
                "list" => builder.list(n)?,
                _ => builder.shuffled_list(n)?,
            };
            let figures = builder.force_collections(run, n)?;
            let mut node: *const ListNode = head;
            // SAFETY: the list is rooted.
            while let Some(n) = unsafe { node.as_ref() } {
                check.add(n.value);
                node = n.next;
            }
            figures
        }
        "graph" => {
            let root = builder.graph(n)?;
            let figures = builder.force_collections(run, n)?;
            traverse_graph(root, &mut check);
            figures
        }
        "wide-tree" => {
            let root = builder.wide_tree(n)?;
            let figures = builder.force_collections(run, n)?;
            traverse_wide_tree(root, &mut check);
            figures
        }
        _ => {
            let size = n.next_power_of_two();
            let buckets = builder.map(n, size)?;
            let figures = builder.force_collections(run, 2 * n)?;
            for i in 0..n as u64 {
                check.add(look_up(buckets, size, i.wrapping_mul(MAP_MULTIPLIER)));
            }
            figures
        }
    };
    let mut outcome = session.outcome(check.value());
    outcome.metric("mark_cpu_ns_per_object", figures.cpu_ns_per_object);
    outcome.metric("collection_wall_ms", figures.wall_ms);
    Ok(outcome)
}

struct Figures {
    cpu_ns_per_object: f64,
    wall_ms: f64,
}

/// Builds the shapes. What it returns is the only thing left on the root stack.
struct Builder<'s> {
    session: &'s Session,
    mutator: &'s Mutator,
}

impl Builder<'_> {
    /// The measurement: the median of all collections but the first.
    fn force_collections(&self, run: &Run, objects: usize) -> Result<Figures, RunError> {
        let (mut cpu, mut wall) = (Vec::new(), Vec::new());
        for i in 0..run.number("collections")? {
            let clock = Stopwatch::start();
            self.mutator.gc(Force::NowAndSweep).map_err(RunError::failed("collection"))?;
            if i > 0 {
                cpu.push(clock.cpu_nanos());
                wall.push(clock.wall_nanos());
            }
        }
        cpu.sort();
        wall.sort();
        Ok(Figures {
            cpu_ns_per_object: cpu[cpu.len() / 2] as f64 / objects as f64,
            wall_ms: wall[wall.len() / 2] as f64 / 1e6,
        })
    }

    fn class<T>(&self, mask: u64) -> Result<AllocClass, RunError> {
        let layout = match mask {
            0 => Layout::NOSCAN,
            mask => self.session.layout(&TypeLayout::mask(size_of::<T>() / 8, mask))?,
        };
        self.mutator.alloc_class(size_of::<T>(), layout).map_err(RunError::failed("class"))
    }

    /// An array of references, on the root stack.
    fn array<T>(&self, count: usize) -> Result<*mut *mut T, RunError> {
        let layout = self.session.references()?;
        let array = self.mutator.new_array(layout, count).map_err(RunError::failed("array"))?;
        self.mutator.push_root(array);
        Ok(array.as_ptr().cast())
    }

    /// Nodes with their numbers, in an array on the root stack.
    fn nodes<T: Numbered>(&self, n: usize, mask: u64) -> Result<*mut *mut T, RunError> {
        let class = self.class::<T>(mask)?;
        let nodes = self.array::<T>(n)?;
        for i in 0..n {
            let node: *mut T = self.mutator.alloc(class).or_exhausted();
            // SAFETY: fresh, zeroed and of this type's layout; zeroes are a node.
            unsafe { &mut *node }.set_number(i as u64);
            // SAFETY: the array is rooted and has n slots.
            self.link(unsafe { nodes.add(i) }, node);
            self.mutator.poll();
        }
        Ok(nodes)
    }

    /// Stores a reference to a live object, or null.
    #[inline(always)]
    fn link<T>(&self, slot: *mut *mut T, value: *mut T) {
        // SAFETY: all callers pass reference words of rooted objects, or of objects made since
        // the last poll.
        unsafe { self.mutator.write(slot.cast(), value.cast()) }
    }

    /// Leaves nothing but `root` on the root stack.
    fn keep_only<T>(&self, root: *mut T) -> *mut T {
        self.mutator.truncate_roots(0);
        self.mutator.push_root(object(root));
        root
    }

    fn list(&self, n: usize) -> Result<*mut ListNode, RunError> {
        let class = self.class::<ListNode>(0b01)?;
        let mut head = std::ptr::null_mut();
        for i in 0..n {
            let node: *mut ListNode = self.mutator.alloc(class).or_exhausted();
            // SAFETY: fresh; the word is a plain number.
            unsafe { (*node).value = i as u64 };
            // SAFETY: fresh.
            self.link(unsafe { &raw mut (*node).next }, head);
            head = self.keep_only(node);
            self.mutator.poll();
        }
        Ok(head)
    }

    fn shuffled_list(&self, n: usize) -> Result<*mut ListNode, RunError> {
        let nodes = self.nodes::<ListNode>(n, 0b01)?;
        // SAFETY: the array is rooted and has n slots; all below stay inside.
        let node = |i: usize| unsafe { nodes.add(i).read() };
        let mut order = Random::new(1);
        for i in (1..n).rev() {
            let j = order.below(i as u64 + 1) as usize;
            let (a, b) = (node(i), node(j));
            // SAFETY: as above.
            self.link(unsafe { nodes.add(i) }, b);
            // SAFETY: as above.
            self.link(unsafe { nodes.add(j) }, a);
        }
        for i in 0..n - 1 {
            // SAFETY: nodes in the array are alive.
            self.link(unsafe { &raw mut (*node(i)).next }, node(i + 1));
        }
        Ok(self.keep_only(node(0)))
    }

    fn graph(&self, n: usize) -> Result<*mut GraphNode, RunError> {
        let nodes = self.nodes::<GraphNode>(n, 0b01111)?;
        // SAFETY: the array is rooted and has n slots; all below stay inside.
        let node = |i: usize| unsafe { nodes.add(i).read() };
        let mut random = Random::new(1);
        for i in 0..n {
            let set = |edge: usize, to: usize| {
                // SAFETY: nodes in the array are alive.
                self.link(unsafe { &raw mut (*node(i)).edges[edge] }, node(to));
            };
            if 2 * i + 1 < n {
                set(0, 2 * i + 1);
            }
            if 2 * i + 2 < n {
                set(1, 2 * i + 2);
            }
            set(2, random.below(n as u64) as usize);
            set(3, random.below(n as u64) as usize);
        }
        Ok(self.keep_only(node(0)))
    }

    fn wide_tree(&self, n: usize) -> Result<*mut WideNode, RunError> {
        let nodes = self.nodes::<WideNode>(n, 0x7FFF)?;
        // SAFETY: the array is rooted and has n slots; all below stay inside.
        let node = |i: usize| unsafe { nodes.add(i).read() };
        for i in 0..n {
            for k in 0..15 {
                let child = 15 * i + 1 + k;
                if child < n {
                    // SAFETY: nodes in the array are alive.
                    self.link(unsafe { &raw mut (*node(i)).children[k] }, node(child));
                }
            }
        }
        Ok(self.keep_only(node(0)))
    }

    /// A hash table of `size` chains.
    fn map(&self, n: usize, size: usize) -> Result<*mut *mut MapEntry, RunError> {
        let boxes = self.class::<MapBox>(0)?;
        let entries = self.class::<MapEntry>(0b101)?;
        let buckets = self.array::<MapEntry>(size)?;
        for i in 0..n as u64 {
            let key = i.wrapping_mul(MAP_MULTIPLIER);
            let value: *mut MapBox = self.mutator.alloc(boxes).or_exhausted();
            // SAFETY: fresh, and without references.
            unsafe { value.write(MapBox { value: i, key }) };
            let entry: *mut MapEntry = self.mutator.alloc(entries).or_exhausted();
            // SAFETY: fresh; the word is a plain number.
            unsafe { (*entry).key = key };
            // SAFETY: fresh.
            self.link(unsafe { &raw mut (*entry).value }, value);
            // SAFETY: the array is rooted and has a bucket for every key.
            let bucket = unsafe { buckets.add(bucket_of(key, size)) };
            // SAFETY: as above.
            let head = unsafe { bucket.read() };
            // SAFETY: fresh.
            self.link(unsafe { &raw mut (*entry).next }, head);
            self.link(bucket, entry);
            self.mutator.poll();
        }
        Ok(buckets)
    }
}

fn bucket_of(key: u64, size: usize) -> usize {
    (key >> 32) as usize & (size - 1)
}

fn look_up(buckets: *mut *mut MapEntry, size: usize, key: u64) -> u64 {
    // SAFETY: the array is rooted and has a bucket for every key.
    let mut entry = unsafe { buckets.add(bucket_of(key, size)).read() };
    loop {
        // SAFETY: entries of a rooted table are alive, and the key is in it.
        let e = unsafe { &*entry };
        if e.key == key {
            // SAFETY: its box is alive, too.
            return unsafe { (*e.value).value };
        }
        entry = e.next;
    }
}

fn traverse_graph(node: *const GraphNode, check: &mut Digest) {
    // SAFETY: the graph is rooted.
    let node = unsafe { &*node };
    // SAFETY: every node has its random edges.
    let (a, b) = unsafe { ((*node.edges[2]).value, (*node.edges[3]).value) };
    check.add(node.value);
    check.add(a ^ (b << 32));
    for &child in &node.edges[..2] {
        if !child.is_null() {
            traverse_graph(child, check);
        }
    }
}

fn traverse_wide_tree(node: *const WideNode, check: &mut Digest) {
    // SAFETY: the tree is rooted.
    let node = unsafe { &*node };
    check.add(node.value);
    for &child in &node.children {
        if !child.is_null() {
            traverse_wide_tree(child, check);
        }
    }
}
