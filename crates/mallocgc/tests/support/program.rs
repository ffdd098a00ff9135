//! Random programs on a heap, checked against a model.
//!
//! A [`Machine`] takes decisions from [`Dice`] (a seed, or the bytes of a
//! fuzzer), performs them on a heap, and keeps a graph of what the heap must
//! hold: objects, the references between them, roots. The model knows nothing of
//! spans or marks. It is compared with the heap
//!
//! - at every allocation: the object is zeroed, aligned and can be found;
//! - at every forced collection: what roots reach is intact, reference by
//!   reference and word by word; and, when the machine is alone on its heap, what
//!   they do not reach is gone, to the last object.
//!
//! A machine that is alone on a heap without automatic collection and background
//! threads can also set finalizers, cleanups and weak handles, and knows at which
//! collection each must act.
//!
//! Words that hold no reference hold the addresses of other objects in some
//! objects, so that a collector that reads too much keeps too much.
//!
//! Protection: a machine belongs to one thread. Several machines on one heap
//! exchange objects through an [`Exchange`].

use super::memory::{Object, byte, inside, number, object, set_byte, set_word, unlink, word};
use mallocgc::base::Address;
use mallocgc::layout::{ProgramBuilder, Tracer, TypeLayout};
use mallocgc::raw::{AllocFlags, Force, Heap, Layout, Mutator, Root, Step, Weak};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

/// Where decisions come from.
pub(crate) enum Dice<'b> {
    /// A generator, never used up.
    Seed(u64),
    /// Given bytes, used up at the end.
    Bytes(&'b [u8]),
}

impl Dice<'_> {
    /// A number below `n`; 0 when there is nothing left.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let raw = match self {
            Dice::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                mix(*state)
            }
            Dice::Bytes(bytes) => {
                let wanted = if n <= 256 { 1 } else { 4 };
                let (head, rest) = bytes.split_at(wanted.min(bytes.len()));
                *bytes = rest;
                head.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
            }
        };
        (raw % n.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn is_used_up(&self) -> bool {
        matches!(self, Dice::Bytes([]))
    }
}

/// A number scattered over all others (splitmix64's finish).
fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// How a machine runs.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Operations, fewer when the dice are used up.
    pub(crate) steps: usize,
    /// Objects the model keeps before it drops most roots.
    pub(crate) most_objects: usize,
    /// Whether nobody else uses the heap, so that absence can be checked.
    pub(crate) alone: bool,
    /// Whether objects get finalizers, cleanups and weak handles. Nothing but the
    /// machine may collect or run them.
    pub(crate) specials: bool,
    /// Whether no layout is conservative, so that the heap can be marked beside
    /// its mutators.
    pub(crate) precise: bool,
    /// Whether the machine is its heap's collector, in steps.
    pub(crate) steps_collector: bool,
    /// Largest object, in bytes.
    pub(crate) largest: usize,
    /// Forced collections: one in this many operations.
    pub(crate) collect_one_in: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            steps: 4000,
            most_objects: 1500,
            alone: true,
            specials: false,
            precise: false,
            steps_collector: false,
            largest: 300 << 10,
            collect_one_in: 60,
        }
    }
}

/// What one machine hands to another.
pub(crate) struct Exchanged {
    root: Root,
    bytes: usize,
    seed: u64,
}

/// Objects without references, offered to every machine of a heap.
pub(crate) type Exchange = Mutex<Vec<Exchanged>>;

/// How references are found in objects of a kind.
#[derive(Clone, Debug)]
enum Reading {
    /// As the layout says.
    Layout(TypeLayout),
    /// The first word counts the references behind it.
    Counted,
    /// Elements of a reference and a plain word, traced one by one.
    Pairs,
}

#[derive(Clone, Debug)]
struct Kind {
    layout: Layout,
    reading: Reading,
    /// Words an object has at least.
    least_words: usize,
    /// Any word may be a reference, so plain words must not look like one.
    ambiguous: bool,
    noscan: bool,
}

/// Traces what `Reading::Counted` says.
unsafe fn trace_counted(object: *mut u8, size: usize, tracer: &mut Tracer<'_>) {
    let words = object.cast::<usize>();
    // SAFETY: the caller passes an object of at least a word.
    let count = unsafe { words.read() };
    for index in 1..=count.min(size / 8 - 1) {
        // SAFETY: bounded by the object's size.
        tracer.visit(unsafe { words.add(index).cast::<*const u8>().read() });
    }
}

/// Traces one element of `Reading::Pairs`.
unsafe fn trace_pair(object: *mut u8, size: usize, tracer: &mut Tracer<'_>) {
    assert_eq!(size, 16, "one element at a time");
    // SAFETY: the caller passes an element of two words.
    tracer.visit(unsafe { object.cast::<*const u8>().read() });
}

impl Kind {
    fn is_reference(&self, index: usize) -> bool {
        match &self.reading {
            Reading::Layout(layout) => layout.is_pointer(index),
            Reading::Counted => index > 0,
            Reading::Pairs => index.is_multiple_of(2),
        }
    }
}

/// A reference: which object, and how far into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edge {
    to: usize,
    offset: usize,
}

struct Node {
    address: usize,
    bytes: usize,
    /// Words that may hold references: some of them.
    slots: Vec<usize>,
    edges: BTreeMap<usize, Edge>,
    /// What fills the words without references.
    seed: u64,
    kind: Option<usize>,
    tiny: bool,
}

#[derive(Debug)]
enum Op {
    Alloc,
    Link,
    Unlink,
    Push,
    Truncate,
    SetRoot,
    AddHandle,
    DropHandle,
    SetHandle,
    Poll,
    Block,
    Step(Force, usize),
    Move,
    Collect(Force),
    Find,
    Check,
    AddKind,
    Export,
    Import,
    DropExport,
    SetFinalizer,
    ClearFinalizer,
    AddCleanup,
    AddWeak,
}

/// One random program and its model.
pub(crate) struct Machine<'a> {
    handles: Vec<(Root, Edge)>,
    mutator: Mutator,
    heap: Heap,
    dice: Dice<'a>,
    settings: Settings,
    exchange: Option<&'a Exchange>,
    name: String,
    kinds: Vec<Kind>,
    nodes: Vec<Node>,
    /// Nodes that have not been lost at a boundary.
    usable: Vec<usize>,
    stack: Vec<Edge>,
    /// Nodes lost that were not yet seen gone; with specials only.
    lingering: Vec<usize>,
    finalizable: BTreeSet<usize>,
    cleanups: Vec<usize>,
    weak: Vec<(Weak, Edge)>,
    /// Nodes whose finalizers and cleanups were called, in two lists.
    called: Arc<Mutex<[Vec<usize>; 2]>>,
    step: usize,
    log: VecDeque<String>,
}

/// Operations remembered for the report of a failure.
const LOG_LINES: usize = 24;

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("random program {}, failed at step {}, after:", self.name, self.step);
            for line in &self.log {
                eprintln!("  {line}");
            }
        }
    }
}

impl<'a> Machine<'a> {
    /// A machine on a heap. `name` is printed when it fails: the seed.
    pub(crate) fn new(heap: &Heap, name: String, dice: Dice<'a>, settings: Settings) -> Self {
        let mut machine = Machine {
            handles: Vec::new(),
            mutator: heap.attach().expect("a thread attaches"),
            heap: heap.clone(),
            dice,
            settings,
            exchange: None,
            name,
            kinds: Vec::new(),
            nodes: Vec::new(),
            usable: Vec::new(),
            stack: Vec::new(),
            lingering: Vec::new(),
            finalizable: BTreeSet::new(),
            cleanups: Vec::new(),
            weak: Vec::new(),
            called: Arc::default(),
            step: 0,
            log: VecDeque::new(),
        };
        for _ in 0..12 {
            machine.add_kind();
        }
        machine
    }

    /// Offers and takes objects.
    pub(crate) fn exchanging(mut self, exchange: &'a Exchange) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// Runs the program. Nothing is left in the heap but what was exported.
    pub(crate) fn run(mut self) {
        while self.step < self.settings.steps && !self.dice.is_used_up() {
            let op = self.choose();
            if self.log.len() == LOG_LINES {
                self.log.pop_front();
            }
            self.log.push_back(format!("{}: {op:?}", self.step));
            self.perform(op);
            self.step += 1;
        }
        self.drop_roots();
        self.collect(Force::NowAndSweep);
        assert!(self.usable.is_empty());
        // A chain of finalizers takes a cycle for each; cycles of them stay, and
        // are cut here.
        for index in std::mem::take(&mut self.finalizable) {
            let place = object(self.nodes[index].address);
            assert_eq!(self.mutator.clear_finalizer(place), Ok(true));
        }
        self.collect(Force::NowAndSweep);
        assert!(self.lingering.is_empty() && self.cleanups.is_empty());
    }

    fn note(&mut self, text: String) {
        if let Some(line) = self.log.back_mut() {
            line.push_str("; ");
            line.push_str(&text);
        }
    }

    fn choose(&mut self) -> Op {
        if self.dice.one_in(self.settings.collect_one_in) {
            return Op::Collect(match self.dice.below(3) {
                0 => Force::IfNeeded,
                1 => Force::Now,
                _ => Force::NowAndSweep,
            });
        }
        if self.settings.specials && self.dice.one_in(8) {
            return match self.dice.below(8) {
                0..3 => Op::SetFinalizer,
                3 => Op::ClearFinalizer,
                4..6 => Op::AddCleanup,
                _ => Op::AddWeak,
            };
        }
        if self.settings.steps_collector && self.dice.one_in(4) {
            // Mostly a few objects; now and then all there are.
            let budget = 1 << self.dice.below(18);
            return Op::Step([Force::IfNeeded, Force::Now][self.dice.below(2)], budget);
        }
        if self.settings.precise && self.dice.one_in(8) {
            return Op::Move;
        }
        match self.dice.below(100) {
            0..40 => Op::Alloc,
            40..60 => Op::Link,
            60..66 => Op::Unlink,
            66..71 => Op::Push,
            71..74 => Op::Truncate,
            74..76 => Op::SetRoot,
            76..79 => Op::AddHandle,
            79..82 => Op::DropHandle,
            82..83 => Op::SetHandle,
            83..88 => Op::Poll,
            88..89 => Op::Block,
            89..93 => Op::Find,
            93..96 => Op::Check,
            96..97 => Op::AddKind,
            97..98 => Op::Export,
            98..99 => Op::Import,
            _ => Op::DropExport,
        }
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Alloc => self.alloc(),
            Op::Link => {
                if let (Some(from), Some(to)) = (self.pick(), self.pick_edge()) {
                    self.link(from, to);
                }
            }
            Op::Unlink => self.unlink(),
            Op::Push => {
                if let Some(edge) = self.pick_edge() {
                    self.push(edge);
                }
            }
            Op::Truncate => {
                let len = self.stack.len() - self.dice.below(self.stack.len().min(20) + 1);
                self.stack.truncate(len);
                self.mutator.truncate_roots(len);
            }
            Op::SetRoot => {
                if let (Some(edge), false) = (self.pick_edge(), self.stack.is_empty()) {
                    let index = self.dice.below(self.stack.len());
                    self.stack[index] = edge;
                    self.mutator.set_root(index, self.place(edge));
                }
            }
            Op::AddHandle => {
                if let Some(edge) = self.pick_edge() {
                    let root = self.heap.root(self.place(edge)).expect("memory for a handle");
                    self.handles.push((root, edge));
                }
            }
            Op::DropHandle => {
                if !self.handles.is_empty() {
                    let index = self.dice.below(self.handles.len());
                    drop(self.handles.swap_remove(index));
                }
            }
            Op::SetHandle => {
                if let (Some(edge), false) = (self.pick_edge(), self.handles.is_empty()) {
                    let index = self.dice.below(self.handles.len());
                    let place = self.place(edge);
                    self.handles[index].0.set(place);
                    self.handles[index].1 = edge;
                }
            }
            Op::Poll => {
                self.lose_unreachable();
                self.mutator.poll();
            }
            Op::Block => {
                self.lose_unreachable();
                self.mutator.blocking(std::thread::yield_now);
            }
            Op::Step(force, budget) => {
                self.lose_unreachable();
                let step = self.mutator.step(force, budget).expect("nobody else is there");
                assert!(force == Force::IfNeeded || step != Step::Idle);
            }
            Op::Move => self.move_references(),
            Op::Collect(force) => self.collect(force),
            Op::Find => self.find(),
            Op::Check => {
                if let Some(node) = self.pick() {
                    self.check(node);
                }
            }
            Op::AddKind => {
                if self.kinds.len() < 120 {
                    self.add_kind();
                }
            }
            Op::Export => self.export(),
            Op::Import => self.import(),
            Op::SetFinalizer => self.set_finalizer(),
            Op::ClearFinalizer => {
                if let Some(node) = self.pick_own_cell() {
                    let set = self.finalizable.remove(&node);
                    let place = object(self.nodes[node].address);
                    assert_eq!(self.mutator.clear_finalizer(place), Ok(set));
                }
            }
            Op::AddCleanup => self.add_cleanup(),
            Op::AddWeak => {
                if let (Some(edge), true) = (self.pick_edge(), self.weak.len() < 200) {
                    let (weak, _) = self.mutator.weak(self.place(edge)).expect("a weak handle");
                    assert_eq!(weak.get(&self.mutator), Some(self.place(edge)));
                    self.weak.push((weak, edge));
                }
            }
            Op::DropExport => {
                if let Some(exchange) = self.exchange {
                    let mut offers = exchange.lock().unwrap();
                    if !offers.is_empty() {
                        let index = self.dice.below(offers.len());
                        drop(offers.swap_remove(index));
                    }
                }
            }
        }
    }

    // --- kinds and sizes -----------------------------------------------------

    fn add_kind(&mut self) {
        let dice = &mut self.dice;
        let mut words = 1 + dice.below(64);
        let mask = |dice: &mut Dice<'_>, words: usize| {
            let random = mix(dice.below(1 << 30) as u64);
            random & (u64::MAX >> (64 - words)) | 1
        };
        let choice = dice.below(10);
        let choice = if self.settings.precise && choice == 7 { 5 } else { choice };
        let (layout, reading) = match choice {
            0 => {
                let layout = TypeLayout::mask(words, mask(dice, words));
                (layout.clone(), Reading::Layout(layout))
            }
            1 => {
                // Odd numbers of words are the demanding ones.
                let elem = [1, 3, 5, 7, 11, 33, 63][dice.below(7)];
                let layout = TypeLayout::repeat(elem, mask(dice, elem));
                words = elem;
                (layout.clone(), Reading::Layout(layout))
            }
            2 => {
                let head = dice.below(9);
                let elem = 1 + dice.below(9);
                let head_bits = [if head == 0 { 0 } else { mask(dice, head) }];
                let head_bits = &head_bits[..usize::from(head > 0)];
                let layout =
                    TypeLayout::repeat_bits(head, head_bits, elem, &[mask(dice, elem)]).unwrap();
                words = head + elem;
                (layout.clone(), Reading::Layout(layout))
            }
            3 => {
                words = 65 + dice.below(3000);
                let mut bits: Vec<u64> =
                    (0..words.div_ceil(64)).map(|_| mix(dice.below(1 << 30) as u64)).collect();
                let last = bits.len() - 1;
                bits[last] &= u64::MAX >> (bits.len() * 64 - words);
                let layout = TypeLayout::mask_bits(words, &bits).unwrap();
                (layout.clone(), Reading::Layout(layout))
            }
            4 => {
                let mut builder = ProgramBuilder::new();
                let times = 1 + dice.below(1500);
                let plain = dice.below(5);
                let (elem, literal) = (1 + dice.below(7), mask(dice, 7) & 0x7f);
                builder.plain(plain).repeat(times, |body| {
                    body.references(1).plain(elem).literal(7, literal);
                });
                if dice.below(2) == 0 {
                    builder.repeat_to_end(|body| {
                        body.plain(1).references(2);
                    });
                }
                let program = builder.finish().expect("a well-formed program");
                words = program.expanded_words() + program.tail_words();
                let layout = TypeLayout::program(&program).unwrap();
                (layout.clone(), Reading::Layout(layout))
            }
            5 => (TypeLayout::trace(words * 8, trace_counted), Reading::Counted),
            6 => {
                words = 2;
                let pair = TypeLayout::trace(16, trace_pair);
                (pair.array_of().unwrap(), Reading::Pairs)
            }
            7 => {
                let layout = TypeLayout::conservative(words * 8);
                (layout.clone(), Reading::Layout(layout))
            }
            _ => {
                words = 1;
                (TypeLayout::noscan(8), Reading::Layout(TypeLayout::noscan(8)))
            }
        };
        let kind = Kind {
            layout: self.heap.layout(&layout).expect("room for a layout"),
            reading,
            least_words: words,
            ambiguous: layout == TypeLayout::conservative(0),
            noscan: layout.is_noscan(),
        };
        self.kinds.push(kind);
    }

    /// A size of at least `least` bytes: often small, sometimes of any class,
    /// now and then large.
    fn size(&mut self, least: usize) -> usize {
        let dice = &mut self.dice;
        let extra = match dice.below(16) {
            0..10 => dice.below(16) * 8,
            10..13 => dice.below(128) * 8,
            13..15 => dice.below(4096) * 8,
            _ if dice.one_in(4) => dice.below(self.settings.largest / 8) * 8,
            _ => 0,
        };
        least + extra
    }

    // --- allocation ----------------------------------------------------------

    fn alloc(&mut self) {
        if self.usable.len() >= self.settings.most_objects {
            self.drop_roots();
            self.lose_unreachable();
            self.mutator.poll();
        }
        let kind_index = self.dice.below(self.kinds.len());
        let kind = self.kinds[kind_index].clone();
        let mut bytes = self.size(kind.least_words * 8);
        let mut flags = AllocFlags::NONE;
        if matches!(kind.reading, Reading::Pairs) {
            // An element cut off by the object's end would reach into the slack.
            bytes &= !15;
        }
        if kind.noscan {
            // Any number of bytes; half of them tiny.
            bytes = if self.dice.one_in(2) { bytes + self.dice.below(8) } else { 1 + bytes % 40 };
            if self.dice.one_in(8) {
                flags = flags | AllocFlags::NO_ZERO;
            }
            if self.dice.one_in(8) {
                flags = flags | AllocFlags::NO_TINY;
            }
        }
        if self.dice.one_in(20) {
            flags = flags | AllocFlags::SAFEPOINT;
            self.lose_unreachable();
        }
        let align = if self.dice.one_in(10) { 1 << self.dice.below(13) } else { 1 };
        let made = match align {
            1 => self.mutator.mallocgc(bytes, kind.layout, flags),
            align => self.mutator.mallocgc_aligned(bytes, align, kind.layout, flags),
        };
        let made = made.expect("the machine stays far below any limit");
        let address = number(made);
        self.note(format!("{bytes} bytes of {:?} at {address:#x}", kind.reading));
        assert!(address.is_multiple_of(align), "{address:#x} is not aligned to {align}");
        let tiny = kind.noscan && bytes < 16;
        let least_align = if bytes >= 8 && !tiny { 8 } else { 1 << bytes.trailing_zeros().min(3) };
        assert!(address.is_multiple_of(least_align), "{bytes} bytes at {address:#x}");
        let found = self.heap.find_object(Address::new(address)).expect("a new object is found");
        if tiny {
            assert!(found.base.as_usize() <= address);
            assert!(address + bytes <= found.base.as_usize() + found.bytes);
        } else {
            assert_eq!(found.base.as_usize(), address);
            assert!(found.bytes >= bytes, "{} usable bytes of {bytes}", found.bytes);
        }
        if flags == AllocFlags::NONE {
            let zeroed = if tiny { bytes } else { found.bytes };
            if let Some(dirty) = (0..zeroed).find(|&index| byte(made, index) != 0) {
                panic!("byte {dirty} of {zeroed} is {:#x}", byte(made, dirty));
            }
        }
        let node = self.describe(address, bytes, kind_index, tiny);
        self.write_plain(&node);
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.usable.push(index);
        if self.dice.one_in(2) {
            self.push(Edge { to: index, offset: 0 });
        } else if let Some(from) = self.pick() {
            self.link(from, Edge { to: index, offset: 0 });
        }
    }

    fn describe(&mut self, address: usize, bytes: usize, kind_index: usize, tiny: bool) -> Node {
        let kind = &self.kinds[kind_index];
        let ambiguous = kind.ambiguous;
        let words = bytes / 8;
        let all: Vec<usize> =
            sampled_words(words).filter(|&index| kind.is_reference(index)).collect();
        let mut slots = Vec::new();
        if let (Some(&first), Some(&last)) = (all.first(), all.last()) {
            slots.extend([first, last]);
            for _ in 0..4 {
                slots.push(all[self.dice.below(all.len())]);
            }
            slots.sort_unstable();
            slots.dedup();
        }
        let seed = match self.pick() {
            // Plain words name this object. Even: see `plain_word`.
            Some(other) if !ambiguous && self.dice.one_in(3) => {
                self.nodes[other].address as u64 & !1
            }
            _ => self.dice.below(1 << 30) as u64 | 1 | 1 << 63,
        };
        Node { address, bytes, slots, edges: BTreeMap::new(), seed, kind: Some(kind_index), tiny }
    }

    fn write_plain(&self, node: &Node) {
        let place = object(node.address);
        self.for_each_plain_word(node, |index, value| set_word(place, index, value));
        for index in node.bytes & !7..node.bytes {
            set_byte(place, index, tail_byte(node.seed, index));
        }
    }

    /// Calls `visit` with the words that hold no reference, and what they hold.
    fn for_each_plain_word(&self, node: &Node, mut visit: impl FnMut(usize, usize)) {
        let kind = node.kind.map(|index| &self.kinds[index]);
        let words = node.bytes / 8;
        if !node.address.is_multiple_of(8) {
            // Tiny objects are shorter than a word then.
            return;
        }
        for index in sampled_words(words) {
            let counts = kind.is_some_and(|kind| matches!(kind.reading, Reading::Counted));
            let reference = kind.is_some_and(|kind| kind.is_reference(index));
            // An ambiguous word is a reference only when the model made it one.
            let ambiguous = kind.is_some_and(|kind| kind.ambiguous);
            if counts && index == 0 {
                visit(0, words - 1);
            } else if !reference || ambiguous && !node.slots.contains(&index) {
                visit(index, plain_word(node.seed, index));
            }
        }
    }

    // --- references ----------------------------------------------------------

    fn pick(&mut self) -> Option<usize> {
        match self.usable.len() {
            0 => None,
            count => Some(self.usable[self.dice.below(count)]),
        }
    }

    /// A reference to some object, sometimes to its inside.
    fn pick_edge(&mut self) -> Option<Edge> {
        let to = self.pick()?;
        let inner = self.dice.one_in(4);
        let offset = if inner { self.dice.below(self.nodes[to].bytes) } else { 0 };
        Some(Edge { to, offset })
    }

    fn place(&self, edge: Edge) -> Object {
        inside(object(self.nodes[edge.to].address), edge.offset)
    }

    fn link(&mut self, from: usize, to: Edge) {
        if self.nodes[from].slots.is_empty() {
            return;
        }
        let choice = self.dice.below(self.nodes[from].slots.len());
        let slot = self.nodes[from].slots[choice];
        let place = self.place(to);
        self.before_change(from);
        super::memory::link(&self.mutator, object(self.nodes[from].address), slot, place);
        self.nodes[from].edges.insert(slot, to);
    }

    /// The barrier for an object whose references only a function finds.
    fn before_change(&self, node: usize) {
        let node = &self.nodes[node];
        let traced =
            node.kind.is_some_and(|kind| !matches!(self.kinds[kind].reading, Reading::Layout(_)));
        if traced {
            // SAFETY: an object that the model knows to be alive.
            unsafe { self.mutator.pre_write_object(object(node.address), 0..node.bytes) };
        }
    }

    /// Hides references from whoever reads objects in some order: takes what an
    /// object refers to, cuts it off there, and puts it into another.
    fn move_references(&mut self) {
        let (Some(from), Some(to)) = (self.pick(), self.pick()) else { return };
        let Some((&slot, &edge)) = self.nodes[from].edges.iter().next_back() else { return };
        if self.nodes[to].slots.is_empty() {
            return;
        }
        self.before_change(from);
        if self.dice.one_in(2) {
            // By the object's form of the barrier, and a store of another kind.
            let address = object(self.nodes[from].address);
            super::memory::unlink_after_barrier(&self.mutator, address, slot);
            self.nodes[from].edges.remove(&slot);
        } else {
            unlink(&self.mutator, object(self.nodes[from].address), slot);
            self.nodes[from].edges.remove(&slot);
        }
        self.link(to, edge);
    }

    fn unlink(&mut self) {
        let Some(from) = self.pick() else { return };
        self.before_change(from);
        if let Some((slot, _)) = self.nodes[from].edges.pop_last() {
            unlink(&self.mutator, object(self.nodes[from].address), slot);
        }
    }

    fn push(&mut self, edge: Edge) {
        self.mutator.push_root(self.place(edge));
        self.stack.push(edge);
    }

    fn drop_roots(&mut self) {
        self.stack.clear();
        self.mutator.truncate_roots(0);
        self.handles.clear();
    }

    fn export(&mut self) {
        let (Some(exchange), Some(index)) = (self.exchange, self.pick()) else { return };
        let node = &self.nodes[index];
        let noscan = node.kind.is_none_or(|kind| self.kinds[kind].noscan);
        if !noscan || node.tiny || node.bytes > 4096 {
            return;
        }
        let root = self.heap.root(object(node.address)).expect("memory for a handle");
        let offer = Exchanged { root, bytes: node.bytes, seed: node.seed };
        exchange.lock().unwrap().push(offer);
    }

    fn import(&mut self) {
        let Some(exchange) = self.exchange else { return };
        let offers = exchange.lock().unwrap();
        if offers.is_empty() {
            return;
        }
        let choice = self.dice.below(offers.len());
        let offer = &offers[choice];
        let node = Node {
            address: number(offer.root.get()),
            bytes: offer.bytes,
            slots: Vec::new(),
            edges: BTreeMap::new(),
            seed: offer.seed,
            kind: None,
            tiny: false,
        };
        // The root lives until we have one of our own.
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.usable.push(index);
        self.push(Edge { to: index, offset: 0 });
        drop(offers);
    }

    // --- specials ------------------------------------------------------------

    /// A usable object that shares its cell with nobody.
    fn pick_own_cell(&mut self) -> Option<usize> {
        self.pick().filter(|&index| !self.nodes[index].tiny)
    }

    fn set_finalizer(&mut self) {
        let Some(node) = self.pick_own_cell() else { return };
        let address = self.nodes[node].address;
        let called = self.called.clone();
        let set = self.mutator.set_finalizer(object(address), move |_, object| {
            // Another number would be missed.
            let right = number(object) == address;
            called.lock().unwrap()[0].push(if right { node } else { usize::MAX });
        });
        assert_eq!(set.is_ok(), self.finalizable.insert(node), "one finalizer an object");
    }

    fn add_cleanup(&mut self) {
        let Some(node) = self.pick_own_cell() else { return };
        let place = self.nodes[node].address;
        let called = self.called.clone();
        let note = move |_: &mut Mutator| called.lock().unwrap()[1].push(node);
        self.mutator.add_cleanup(object(place).as_ptr(), note).expect("a cleanup");
        self.cleanups.push(node);
    }

    /// What a collection marks: what roots reach, and what finalizable objects
    /// refer to, themselves not.
    fn marked(&self) -> Vec<bool> {
        let held = self.finalizable.iter().flat_map(|&index| self.nodes[index].edges.values());
        self.reached_from(self.roots().chain(held.map(|edge| edge.to)).collect())
    }

    /// After a collection of a machine with specials: `marked` was marked.
    fn check_specials(&mut self, marked: &[bool]) {
        let queued: Vec<usize> =
            self.finalizable.iter().copied().filter(|&index| !marked[index]).collect();
        let lives = |index: usize| marked[index] || self.finalizable.contains(&index);
        let lingering = std::mem::take(&mut self.lingering);
        let (kept, gone): (Vec<usize>, Vec<usize>) =
            lingering.into_iter().partition(|&index| lives(index));
        kept.iter().for_each(|&index| self.check(index));
        let gone = self.check_gone(gone, &kept);
        self.lingering = kept;
        // Finalizers run once, those of this cycle and no others.
        self.mutator.run_finalizers(usize::MAX);
        let mut called = std::mem::take(&mut self.called.lock().unwrap()[0]);
        called.sort_unstable();
        assert_eq!(called, queued, "finalizers called, and due");
        queued.iter().for_each(|index| assert!(self.finalizable.remove(index)));
        // Cleanups run when their object is gone, as often as they were added.
        self.mutator.run_cleanups(usize::MAX);
        let mut called = std::mem::take(&mut self.called.lock().unwrap()[1]);
        called.sort_unstable();
        let (mut due, waiting): (Vec<usize>, Vec<usize>) =
            self.cleanups.iter().partition(|index| gone.contains(index));
        due.sort_unstable();
        assert_eq!(called, due, "cleanups called, and due");
        self.cleanups = waiting;
        let usable: HashSet<usize> = self.usable.iter().copied().collect();
        for (weak, edge) in std::mem::take(&mut self.weak) {
            let found = weak.get(&self.mutator);
            if usable.contains(&edge.to) {
                assert_eq!(found, Some(self.place(edge)), "a weak handle to what lives");
                self.weak.push((weak, edge));
            } else if gone.contains(&edge.to) {
                assert_eq!(found, None, "a weak handle to what is gone");
            }
        }
    }

    // --- the model against the heap ------------------------------------------

    /// Which nodes roots reach.
    fn reachable(&self) -> Vec<bool> {
        self.reached_from(self.roots().collect())
    }

    fn roots(&self) -> impl Iterator<Item = usize> {
        self.stack.iter().chain(self.handles.iter().map(|(_, edge)| edge)).map(|edge| edge.to)
    }

    fn reached_from(&self, mut waiting: Vec<usize>) -> Vec<bool> {
        let mut seen = vec![false; self.nodes.len()];
        while let Some(index) = waiting.pop() {
            if !std::mem::replace(&mut seen[index], true) {
                waiting.extend(self.nodes[index].edges.values().map(|edge| edge.to));
            }
        }
        seen
    }

    /// At a boundary everything else may vanish; returns what did.
    fn lose_unreachable(&mut self) -> Vec<usize> {
        let reachable = self.reachable();
        let (kept, lost): (_, Vec<usize>) =
            self.usable.iter().partition(|&&index| reachable[index]);
        self.usable = kept;
        if self.settings.specials {
            self.lingering.extend(&lost);
        }
        lost
    }

    fn collect(&mut self, force: Force) {
        let lost = self.lose_unreachable();
        let marked = if self.settings.specials { self.marked() } else { Vec::new() };
        self.mutator.gc(force).expect("every thread comes to a boundary");
        for at in 0..self.usable.len() {
            self.check(self.usable[at]);
        }
        if force == Force::IfNeeded || !self.settings.alone {
            return;
        }
        if self.settings.specials {
            self.check_specials(&marked);
        } else {
            self.check_gone(lost, &[]);
        }
    }

    /// Checks that the heap does not know these nodes any more; returns those it
    /// must not know. `kept` are nodes that live without being usable.
    fn check_gone(&mut self, lost: Vec<usize>, kept: &[usize]) -> HashSet<usize> {
        // A tiny block lives as long as any object in it.
        let living = self.usable.iter().chain(kept);
        let blocks: HashSet<usize> = living.map(|&index| self.nodes[index].address & !15).collect();
        let mut gone = HashSet::new();
        for index in lost {
            let node = &self.nodes[index];
            if !node.tiny || !blocks.contains(&(node.address & !15)) {
                let found = self.heap.find_object(Address::new(node.address));
                assert_eq!(found, None, "an unreachable object of {} bytes is kept", node.bytes);
                gone.insert(index);
            }
        }
        gone
    }

    /// Compares an object with its model.
    fn check(&self, index: usize) {
        let node = &self.nodes[index];
        let place = object(node.address);
        self.for_each_plain_word(node, |word_index, expected| {
            let actual = word(place, word_index);
            let (bytes, address) = (node.bytes, node.address);
            assert_eq!(
                actual, expected,
                "plain word {word_index} of {bytes} bytes at {address:#x}: {actual:#x}"
            );
        });
        for index in node.bytes & !7..node.bytes {
            assert_eq!(byte(place, index), tail_byte(node.seed, index), "byte {index}");
        }
        for &slot in &node.slots {
            let expected = node.edges.get(&slot).map_or(0, |&edge| number(self.place(edge)));
            let (actual, address) = (word(place, slot), node.address);
            assert_eq!(actual, expected, "reference {slot} of the object at {address:#x}");
        }
    }

    /// Asks for a byte of some object, and for an address that may be anything.
    fn find(&mut self) {
        if let Some(edge) = self.pick_edge() {
            let address = Address::new(number(self.place(edge)));
            let found = self.heap.find_object(address).expect("a usable object is found");
            assert!(address.offset_from(found.base) < found.bytes);
            if !self.nodes[edge.to].tiny {
                assert_eq!(found.base.as_usize(), self.nodes[edge.to].address);
            }
        }
        if !self.nodes.is_empty() {
            let address = self.nodes[self.dice.below(self.nodes.len())].address;
            let strange = address.wrapping_add(self.dice.below(1 << 28)).wrapping_sub(1 << 20);
            let found = self.heap.find_object(Address::new(strange));
            if let Some(found) = found {
                assert!(Address::new(strange).offset_from(found.base) < found.bytes);
            }
        }
    }
}

/// The words that are written and compared: all of a small object, the ends and
/// some of the middle of a large one.
fn sampled_words(words: usize) -> impl Iterator<Item = usize> {
    let whole = if words <= 1024 { words } else { 64 };
    let middle = (whole..words.saturating_sub(64)).step_by(61);
    let end = words.saturating_sub(64).max(whole)..words;
    (0..whole).chain(middle.filter(move |_| words > 1024)).chain(end)
}

/// What a plain word holds: the same address in all of them when the seed is
/// one, otherwise a number that is no address.
fn plain_word(seed: u64, index: usize) -> usize {
    match seed & 1 {
        0 => seed as usize,
        _ => (mix(seed ^ index as u64) | 1 << 63) as usize,
    }
}

fn tail_byte(seed: u64, index: usize) -> u8 {
    mix(seed ^ (index as u64) << 40) as u8
}
