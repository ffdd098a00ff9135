//! Runs a random program on a heap and on its model at once, and compares them.
//!
//! A step is a `run` of some operations, or something that is done between two. Inside, references are in `locals`; between, the
//! program has roots and weak handles. Whatever can be reached from a root must be as the model says at any time. `check`
//! collects, and then knows more: what is dead is gone, once.

use crate::model::{Id, Model, Node};
use crate::world::{Accepts, Changes, Form, Job, World};
use mallocgc::typed::{Cx, Mutator};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Numbers from a seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them, if there are any.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

/// Places of the array that a program keeps.
const TRUNK: usize = 64;

/// How long a program is and what it does.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Operations.
    pub(crate) operations: usize,
    /// Operations of a step, at most.
    pub(crate) batch: usize,
    /// Living objects from which on roots are dropped.
    pub(crate) most_objects: usize,
    /// Roots from which on some are.
    pub(crate) most_roots: usize,
    /// One in how many twelfths of the steps collects.
    pub(crate) collect_one_in: usize,
    /// Steps between two checks.
    pub(crate) check_every: usize,
    pub(crate) forms: &'static [Form],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            operations: 30_000,
            batch: 60,
            most_objects: 400,
            most_roots: 60,
            collect_one_in: 5,
            check_every: 40,
            forms: &Form::ALL,
        }
    }
}

/// Objects that go from one machine to another, with all that is known of them.
pub(crate) struct Parcel<W: World> {
    root: (W::Root, Id),
    nodes: Vec<(Id, Node)>,
    weaks: Vec<(W::Weak, Id)>,
    tables: Vec<(W::Weak, Id)>,
}

type Locals<'gc, W> = Vec<(<W as World>::Any<'gc>, Id)>;

/// A program on one thread.
pub(crate) struct Machine<'m, W: World> {
    mutator: &'m Mutator<W::Kind>,
    /// Who runs it, for failures.
    name: String,
    settings: Settings,
    pub(crate) dice: Dice,
    pub(crate) model: Model,
    roots: Vec<(W::Root, Id)>,
    weaks: Vec<(W::Weak, Id)>,
    /// Of all tables, which a check sweeps: not each can be reached by references, since the part of a row that is
    /// rooted keeps what the others lead to.
    tables: Vec<(W::Weak, Id)>,
    pub(crate) operations: usize,
    steps: usize,
    /// There are more objects than there should be.
    is_full: bool,
    /// Of dead objects, all dropped once.
    dropped: Vec<Arc<AtomicU32>>,
}

impl<'m, W: World> Machine<'m, W> {
    pub(crate) fn new(
        mutator: &'m Mutator<W::Kind>,
        name: String,
        seed: u64,
        first: u32,
        settings: Settings,
    ) -> Self {
        Machine {
            mutator,
            name,
            settings,
            dice: Dice::new(seed),
            model: Model::new(first),
            roots: Vec::new(),
            weaks: Vec::new(),
            tables: Vec::new(),
            operations: 0,
            steps: 0,
            is_full: false,
            dropped: Vec::new(),
        }
    }

    /// Whether it has done what it should.
    pub(crate) fn is_done(&self) -> bool {
        self.operations >= self.settings.operations
    }

    /// One step; whether a check is due.
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        match self.dice.below(12) {
            0 => {
                if let Some((root, id)) = self.dice.pick(&self.roots).cloned() {
                    self.roots.push((root, id));
                }
            }
            1 if self.roots.len() > self.settings.most_roots => {
                (0..8).for_each(|_| self.drop_root())
            }
            2 if self.dice.one_in(self.settings.collect_one_in) => self.mutator.collect(),
            _ => self.mutator.run(|cx| self.batch(cx)),
        }
        if self.steps.is_multiple_of(20) && self.reachable().len() > self.settings.most_objects {
            self.is_full = true;
            for _ in 0..self.roots.len() / 2 {
                self.drop_root();
            }
        }
        self.steps.is_multiple_of(self.settings.check_every)
    }

    fn drop_root(&mut self) {
        // The first is the trunk.
        if self.roots.len() > 1 {
            let index = 1 + self.dice.below(self.roots.len() - 1);
            self.roots.swap_remove(index);
        }
    }

    fn batch<'gc>(&mut self, cx: &Cx<'gc, W::Kind>) {
        let mut locals = Locals::<'gc, W>::new();
        self.load_trunk(cx, &mut locals);
        for _ in 0..self.dice.below(4) {
            self.load(cx, &mut locals);
        }
        for _ in 0..1 + self.dice.below(self.settings.batch) {
            self.operations += 1;
            self.operation(cx, &mut locals);
            if cx.wants_boundary() && self.dice.one_in(4) {
                return;
            }
        }
    }

    fn operation<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        match self.dice.below(22) {
            0..2 => self.load(cx, locals),
            2..6 => self.follow(locals),
            6..11 => self.make(cx, locals),
            11..13 => self.change(cx, locals),
            13 => self.carry(cx, locals),
            14 => self.take_part(locals),
            15 => self.resize(cx, locals),
            16 => {
                let roots = self.roots.len();
                // What is rooted already is not what others are rooted for.
                let Some(&(any, id)) = self.dice.pick(&locals[locals.len() / 2..]) else { return };
                let known = self.roots.iter().any(|(_, other)| *other == id);
                if !self.model.node(id).form.has_handles()
                    || (known && !self.dice.one_in(8))
                    || (self.model.edges(id).is_empty() && !self.dice.one_in(8))
                    || roots >= self.settings.most_roots
                {
                    return;
                }
                let other = self.dice.below(roots);
                if other > 0 && self.dice.one_in(12) && W::set_root(cx, &self.roots[other].0, any) {
                    // Clones of it name what they named.
                    self.roots[other].1 = id;
                } else {
                    self.roots.push((W::root(cx, any), id));
                }
            }
            17 => {
                let Some(&(any, id)) = self.dice.pick(locals) else { return };
                if self.model.node(id).form.has_handles() && self.weaks.len() < 100 {
                    self.weaks.push((W::weak(cx, any), id));
                }
            }
            18 => {
                let Some((weak, id)) = self.dice.pick(&self.weaks) else { return };
                if let Some(any) = W::upgrade(cx, weak) {
                    // What no root leads to may live again.
                    self.same(any, *id);
                    locals.push((any, *id));
                }
            }
            19 => self.enter(cx, locals),
            20 if self.dice.one_in(8) => self.make_apart(cx, locals),
            _ => {
                let Some(&(any, id)) = self.dice.pick(locals) else { return };
                self.compare(any, id, 20);
                self.compare_pairs(cx, any, id, locals);
                if let Some(target) = self.weak_target(cx, any, id) {
                    locals.push(target);
                }
            }
        }
    }

    /// What a loose object leads to.
    fn weak_target<'gc>(
        &self,
        cx: &Cx<'gc, W::Kind>,
        any: W::Any<'gc>,
        id: Id,
    ) -> Option<(W::Any<'gc>, Id)> {
        let weak = self.model.node(id).weak?;
        let target = W::weak_target(cx, any)?;
        self.same(target, weak);
        Some((target, weak))
    }

    /// The first root is kept, and leads to an array with room for others, of which some are thrown away
    /// when there are too many.
    fn load_trunk<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        if self.roots.is_empty() {
            let words = self.add(cx, Form::Words, 0, &[None; TRUNK]);
            let text = self.add(cx, Form::Text, 1, &[]);
            let shown = self.add(cx, Form::Shown, 1, &[None]);
            let case = [Some(words), Some(text), Some(shown), None, None];
            let (trunk, id) = self.add(cx, Form::Case, 1, &case);
            self.roots.push((W::root(cx, trunk), id));
        }
        let (root, id) = &self.roots[0];
        let trunk = W::get(cx, root);
        let (words, words_id) = (self.same(trunk, *id)[0], self.model.edges(*id)[0]);
        let words = (words.expect("it is required"), words_id.expect("it is required"));
        locals.push(words);
        if std::mem::take(&mut self.is_full) {
            for edge in 0..TRUNK / 2 {
                self.set(cx, words, edge, None);
            }
        }
    }

    fn load<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        if let Some((root, id)) = self.dice.pick(&self.roots) {
            locals.push((W::get(cx, root), *id));
        }
    }

    /// Goes from an object to one that it refers to.
    fn follow<'gc>(&mut self, locals: &mut Locals<'gc, W>) {
        let Some(&(any, id)) = self.dice.pick(locals) else { return };
        let edges = self.same(any, id);
        let known = self.model.edges(id);
        let there: Vec<usize> = (0..edges.len()).filter(|&edge| edges[edge].is_some()).collect();
        let Some(&edge) = self.dice.pick(&there) else { return };
        locals.push((edges[edge].unwrap(), known[edge].unwrap()));
    }

    /// An object that an edge may lead to.
    fn target<'gc>(
        &mut self,
        form: Form,
        edge: usize,
        locals: &Locals<'gc, W>,
    ) -> Option<(W::Any<'gc>, Id)> {
        let accepts = |found: Form| match form.accepts(edge) {
            Accepts::Any => true,
            Accepts::Only(only) => only == found,
        };
        let from = if locals.is_empty() { 0 } else { self.dice.below(locals.len()) };
        let (before, after) = locals.split_at(from);
        let mut all = after.iter().chain(before);
        all.find(|(_, id)| accepts(self.model.node(*id).form)).copied()
    }

    /// Form, number and edges of a new object, if there is what it needs.
    #[allow(clippy::type_complexity)]
    fn choose<'gc>(
        &mut self,
        locals: &Locals<'gc, W>,
    ) -> Option<(Form, u64, Vec<Option<(W::Any<'gc>, Id)>>)> {
        let form = *self.dice.pick(self.settings.forms)?;
        let count = match form.edges() {
            Some(count) => count,
            None if self.dice.one_in(50) => self.dice.below(3000),
            None => self.dice.below(30),
        };
        let mut edges = Vec::new();
        for edge in 0..count {
            if form.requires(edge) || !self.dice.one_in(4) {
                edges.push(self.target(form, edge, locals));
            } else {
                edges.push(None);
            }
            if form.requires(edge) && edges[edge].is_none() {
                return None;
            }
        }
        let number = if form.has_number() { self.dice.next() >> 8 } else { 0 };
        // That of the empty string is zero.
        let empty = form == Form::Text && number.is_multiple_of(8);
        Some((form, if empty { 0 } else { number }, edges))
    }

    fn make<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        if let Some((form, number, edges)) = self.choose(locals) {
            let new = self.add(cx, form, number, &edges);
            self.take_in(cx, new, locals);
        }
    }

    /// Makes several objects, on several threads if the heap has such.
    fn make_apart<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        let chosen: Vec<_> = (0..9).filter_map(|_| self.choose(locals)).collect();
        let jobs: Vec<_> = chosen
            .iter()
            .map(|&(form, number, ref edges)| Job {
                form,
                number,
                edges: edges.iter().map(|edge| edge.map(|(any, _)| any)).collect(),
                drops: Arc::default(),
            })
            .collect();
        let drops: Vec<_> = jobs.iter().map(|job| job.drops.clone()).collect();
        let made = W::make_apart(cx, jobs);
        assert_eq!(made.len(), chosen.len());
        for ((any, drops), (form, number, edges)) in made.into_iter().zip(drops).zip(chosen) {
            let new = self.note(cx, any, form, number, &edges, drops);
            self.take_in(cx, new, locals);
        }
    }

    /// Lets what is new become part of something, mostly.
    fn take_in<'gc>(
        &mut self,
        cx: &Cx<'gc, W::Kind>,
        new: (W::Any<'gc>, Id),
        locals: &mut Locals<'gc, W>,
    ) {
        locals.push(new);
        for _ in 0..4 {
            let holder = locals[self.dice.below(locals.len())];
            let edges = self.model.edges(holder.1);
            if let Some(free) = edges.iter().position(Option::is_none) {
                self.set(cx, holder, free, Some(new));
            }
        }
    }

    fn add<'gc>(
        &mut self,
        cx: &Cx<'gc, W::Kind>,
        form: Form,
        number: u64,
        edges: &[Option<(W::Any<'gc>, Id)>],
    ) -> (W::Any<'gc>, Id) {
        let drops = Arc::default();
        let known: Vec<_> = edges.iter().map(|edge| edge.map(|(any, _)| any)).collect();
        let any = W::make(cx, form, number, &known, &drops);
        self.note(cx, any, form, number, edges, drops)
    }

    /// What was made comes into the model.
    fn note<'gc>(
        &mut self,
        cx: &Cx<'gc, W::Kind>,
        any: W::Any<'gc>,
        form: Form,
        number: u64,
        edges: &[Option<(W::Any<'gc>, Id)>],
        drops: Arc<AtomicU32>,
    ) -> (W::Any<'gc>, Id) {
        let known = edges.iter().map(|edge| edge.map(|(_, id)| id)).collect();
        let seen = W::look(any);
        let id = self.model.add_object(&seen, known, drops);
        assert_eq!((seen.form, seen.number), (form, number), "{}: just made", self.name);
        self.same(any, id);
        if form == Form::Table {
            self.tables.push((W::weak(cx, any), id));
        }
        (any, id)
    }

    /// Enters something into a table, gives a pair another value, or takes something out.
    fn enter<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        let forms = [Form::Table, Form::Pair];
        let holders = locals.iter().filter(|(_, id)| forms.contains(&self.model.node(*id).form));
        let holders: Vec<_> = holders.copied().collect();
        let conses = locals.iter().filter(|(_, id)| self.model.node(*id).form == Form::Cons);
        let conses: Vec<_> = conses.copied().collect();
        let Some(&(any, id)) = self.dice.pick(&holders) else { return };
        let (Some(&key), Some(&value)) = (self.dice.pick(&conses), self.dice.pick(&conses)) else {
            return;
        };
        let known = self.model.node(id).pairs.iter().any(|(known, _)| *known == key.1);
        let is_pair = self.model.node(id).form == Form::Pair;
        if is_pair && !known {
            return;
        }
        let value = (is_pair || !known || !self.dice.one_in(3)).then_some(value);
        W::enter(cx, any, key.0, value.map(|(any, _)| any));
        self.model.enter(id, key.1, value.map(|(_, id)| id));
        self.compare_pairs(cx, any, id, locals);
    }

    /// Compares the pairs of an object, if it is one of those: all are known, and all whose keys are in hand are there.
    fn compare_pairs<'gc>(
        &self,
        cx: &Cx<'gc, W::Kind>,
        any: W::Any<'gc>,
        id: Id,
        locals: &mut Locals<'gc, W>,
    ) {
        let node = self.model.node(id);
        if !matches!(node.form, Form::Pair | Form::Table) {
            return;
        }
        let pairs = W::pairs(cx, any);
        let (mut found, mut first) = (BTreeSet::new(), None);
        for &(key, value) in &pairs {
            let seen = W::look(key);
            let is_key = |known: &Id| {
                self.model
                    .nodes
                    .get(known)
                    .is_some_and(|node| (node.address, node.number) == (seen.address, seen.number))
            };
            let known = node.pairs.iter().find(|(known, _)| is_key(known));
            let Some(&(key_id, value_id)) = known else {
                panic!("{}, operation {}: {id} has {key:?}", self.name, self.operations)
            };
            self.same(key, key_id);
            self.same(value, value_id);
            found.insert(key_id);
            first.get_or_insert(((key, key_id), (value, value_id)));
        }
        let hand: BTreeSet<Id> = locals.iter().map(|(_, id)| *id).collect();
        for (key, _) in &node.pairs {
            let lost = hand.contains(key) && !found.contains(key);
            assert!(!lost, "{}, operation {}: {id} lost {key}", self.name, self.operations);
        }
        if let Some((key, value)) = first {
            locals.extend([key, value]);
        }
    }

    /// Lets an edge lead elsewhere, or nowhere.
    fn change<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        let Some(&(any, id)) = self.dice.pick(locals) else { return };
        let form = self.model.node(id).form;
        let count = self.model.edges(id).len();
        if count == 0 {
            return;
        }
        let edge = self.dice.below(count);
        if self.model.edges(id)[edge].is_none() || self.dice.one_in(4) {
            let to = if self.dice.one_in(8) { None } else { self.target(form, edge, locals) };
            self.set(cx, (any, id), edge, to);
        }
    }

    /// Lets an edge of one object lead where that of another did, which leads nowhere then.
    fn carry<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        let (Some(&from), Some(&to)) = (self.dice.pick(locals), self.dice.pick(locals)) else {
            return;
        };
        let edges = self.same(from.0, from.1);
        let known = self.model.edges(from.1).to_vec();
        let there: Vec<usize> = (0..edges.len()).filter(|&edge| edges[edge].is_some()).collect();
        let Some(&edge) = self.dice.pick(&there) else { return };
        let target = (edges[edge].unwrap(), known[edge].unwrap());
        self.set(cx, from, edge, None);
        let places = self.model.edges(to.1).len();
        if places != 0 {
            let place = self.dice.below(places);
            self.set(cx, to, place, Some(target));
        }
        locals.push(target);
    }

    /// Sets an edge if it may be set so.
    fn set<'gc>(
        &mut self,
        cx: &Cx<'gc, W::Kind>,
        (any, id): (W::Any<'gc>, Id),
        edge: usize,
        to: Option<(W::Any<'gc>, Id)>,
    ) {
        let form = self.model.node(id).form;
        let accepted = match (form.accepts(edge), to) {
            (Accepts::Only(only), Some((_, to))) => self.model.node(to).form == only,
            _ => true,
        };
        let changes = match form.changes(edge) {
            Changes::Always => true,
            Changes::Once => to.is_some() && self.model.edges(id)[edge].is_none(),
            Changes::Never => false,
        };
        if accepted && changes {
            W::set(cx, any, edge, to.map(|(any, _)| any));
            self.model.set_edge(id, edge, to.map(|(_, id)| id));
            self.same(any, id);
        }
    }

    fn take_part<'gc>(&mut self, locals: &mut Locals<'gc, W>) {
        let Some(&(any, id)) = self.dice.pick(locals) else { return };
        let count = self.model.edges(id).len();
        if self.model.node(id).form != Form::Row || count == 0 {
            return;
        }
        let edge = self.dice.below(count);
        let part = W::part(any, edge);
        let part_id = self.model.add_part(&W::look(part), id, edge);
        self.same(part, part_id);
        locals.push((part, part_id));
    }

    fn resize<'gc>(&mut self, cx: &Cx<'gc, W::Kind>, locals: &mut Locals<'gc, W>) {
        let Some(&(any, id)) = self.dice.pick(locals) else { return };
        if self.model.node(id).form == Form::Bag {
            let count = self.dice.below(40);
            W::resize(cx, any, count);
            self.model.resize(id, count);
            self.same(any, id);
        }
    }

    /// Compares one object; its edges.
    #[track_caller]
    fn same<'gc>(&self, any: W::Any<'gc>, id: Id) -> Vec<Option<W::Any<'gc>>> {
        let seen = W::look(any);
        if let Err(difference) = self.model.check(id, &seen) {
            panic!("{}, operation {}: {difference}", self.name, self.operations);
        }
        seen.edges
    }

    /// Compares what can be reached from an object, some objects of it.
    #[track_caller]
    fn compare<'gc>(&self, any: W::Any<'gc>, id: Id, most: usize) {
        let mut found = BTreeMap::new();
        self.compare_new(any, id, &mut found, most);
    }

    #[track_caller]
    fn compare_new<'gc>(
        &self,
        any: W::Any<'gc>,
        id: Id,
        found: &mut BTreeMap<Id, W::Any<'gc>>,
        most: usize,
    ) {
        let mut open = vec![(any, id)];
        while let Some((any, id)) = open.pop() {
            if found.len() < most && found.insert(id, any).is_none() {
                let edges = self.same(any, id);
                let known = self.model.edges(id).iter().flatten().copied();
                open.extend(edges.into_iter().flatten().zip(known));
            }
        }
    }

    /// What roots lead to.
    pub(crate) fn reachable(&self) -> BTreeSet<Id> {
        self.model.reachable(self.roots.iter().map(|(_, id)| *id))
    }

    /// How many cells of the heap that takes.
    pub(crate) fn objects(&self) -> usize {
        self.model.objects(&self.reachable())
    }

    /// Compares all that roots lead to.
    pub(crate) fn compare_all(&self) {
        self.mutator.run(|cx| {
            let mut found = BTreeMap::new();
            for (root, id) in &self.roots {
                self.compare_new(W::get(cx, root), *id, &mut found, usize::MAX);
            }
        });
    }

    /// After a collection: a loose object leads to what is alive.
    fn check_loose(&self, alive: &BTreeSet<Id>) {
        self.mutator.run(|cx| {
            let mut found = BTreeMap::new();
            for (root, id) in &self.roots {
                self.compare_new(W::get(cx, root), *id, &mut found, usize::MAX);
            }
            for (&id, &any) in &found {
                if let Some(weak) = self.model.node(id).weak {
                    let there = self.weak_target(cx, any, id).is_some();
                    assert_eq!(there, alive.contains(&weak), "{}: {weak}, of {id}", self.name);
                }
                let node = self.model.node(id);
                if matches!(node.form, Form::Pair | Form::Table) {
                    let expected = node.pairs.iter().filter(|(key, _)| alive.contains(key));
                    let expected: BTreeSet<usize> =
                        expected.map(|(key, _)| self.model.node(*key).address).collect();
                    let there = W::pairs(cx, any).into_iter().map(|(key, _)| W::look(key).address);
                    let there: BTreeSet<usize> = there.collect();
                    assert_eq!(there, expected, "{}: pairs of {id}", self.name);
                }
            }
        });
    }

    /// After a collection that began when the roots were these: weak handles tell who is alive, and what is dead was
    /// dropped. Forgets the dead.
    pub(crate) fn check_dead(&mut self) {
        let alive = self.reachable();
        let name = format!("{}, operation {}", self.name, self.operations);
        for drops in &self.dropped {
            assert_eq!(drops.load(Relaxed), 1, "{name}: of an object that died long ago");
        }
        for (weak, id) in &self.weaks {
            let lives = alive.contains(&self.model.whole(*id));
            assert_eq!(W::is_dead(weak), !lives, "{name}: a weak handle of {id}");
        }
        self.mutator.run(|cx| {
            for (weak, id) in &self.weaks {
                match W::upgrade(cx, weak) {
                    Some(any) => _ = self.same(any, *id),
                    None => assert!(!alive.contains(id), "{name}: {id} is alive"),
                }
            }
        });
        self.check_loose(&alive);
        self.tables.retain(|(_, id)| alive.contains(id));
        self.mutator.run(|cx| {
            for (table, _) in &self.tables {
                W::sweep(cx, W::upgrade(cx, table).expect("the table is alive"));
            }
        });
        let weaks: BTreeSet<Id> = self.weaks.iter().map(|(_, id)| *id).collect();
        let dropped = &mut self.dropped;
        let whole: Vec<Id> = self.model.nodes.keys().map(|&id| self.model.whole(id)).collect();
        let mut whole = whole.into_iter();
        self.model.nodes.retain(|id, node| {
            let lives = alive.contains(&whole.next().expect("one for each"));
            let expected = u32::from(!lives && node.form.drops());
            assert_eq!(node.drops.load(Relaxed), expected, "{name}: drops of {id}, {node:x?}");
            if !lives && node.form.drops() && dropped.len() < 10_000 {
                dropped.push(node.drops.clone());
            }
            // Nobody asks any more for a part that is not kept, though its row may be alive.
            alive.contains(id) || (lives && weaks.contains(id))
        });
        for node in self.model.nodes.values_mut() {
            node.pairs.retain(|(key, _)| alive.contains(key));
        }
        if self.weaks.len() > 50 {
            self.weaks.drain(..25);
        }
    }

    /// Gives up the program: only destructors are left to count.
    pub(crate) fn into_drops(mut self) -> Vec<Arc<AtomicU32>> {
        let nodes = std::mem::take(&mut self.model.nodes).into_values();
        self.dropped.extend(nodes.filter(|node| node.form.drops()).map(|node| node.drops));
        self.dropped
    }

    /// Takes out what one root leads to, if no other leads there.
    pub(crate) fn pack(&mut self) -> Option<Parcel<W>> {
        let index = 1 + self.dice.below(self.roots.len().max(1));
        let id = self.roots.get(index)?.1;
        let inside = self.model.reachable([id]);
        let others = self.roots.iter().enumerate().filter(|(other, _)| *other != index);
        let outside = self.model.reachable(others.map(|(_, (_, id))| *id));
        if !inside.is_disjoint(&outside) || self.model.is_crossed(&inside) {
            return None;
        }
        let root = self.roots.swap_remove(index);
        // Who has a weak handle to what leads inside could come in by it.
        let (inner, outer): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.weaks).into_iter().partition(|(_, id)| inside.contains(id));
        self.weaks = outer;
        let (tables, outer): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tables).into_iter().partition(|(_, id)| inside.contains(id));
        self.tables = outer;
        let model = &self.model;
        self.weaks.retain(|(_, id)| {
            !model.nodes.contains_key(id) || model.reachable([*id]).is_disjoint(&inside)
        });
        // Dead objects may lead there still; nobody asks them.
        let nodes = &mut self.model.nodes;
        let nodes = inside.into_iter().map(|id| (id, nodes.remove(&id).expect("it was reached")));
        Some(Parcel { root, nodes: nodes.collect(), weaks: inner, tables })
    }

    /// Puts in what another has packed.
    pub(crate) fn unpack(&mut self, parcel: Parcel<W>) {
        self.roots.push(parcel.root);
        self.model.nodes.extend(parcel.nodes);
        self.weaks.extend(parcel.weaks);
        self.tables.extend(parcel.tables);
    }
}
