//! What the heap must hold: a graph of numbers.

use crate::world::{Form, Seen, text};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Names an object, for ever.
pub(crate) type Id = u64;

/// What is known of an object.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) form: Form,
    pub(crate) number: u64,
    pub(crate) address: usize,
    /// Where they lead; those of a part are the whole's.
    edges: Vec<Option<Id>>,
    /// What it leads to without keeping it.
    pub(crate) weak: Option<Id>,
    /// Its keys, each with what lives as long.
    pub(crate) pairs: Vec<(Id, Id)>,
    /// The row that a cell is a part of, and which it is.
    part_of: Option<(Id, usize)>,
    /// How often the object was dropped.
    pub(crate) drops: Arc<AtomicU32>,
}

impl Node {
    /// How many cells of the heap it takes.
    fn cells(&self) -> usize {
        match self.form {
            _ if self.part_of.is_some() => 0,
            Form::Words | Form::Row => usize::from(!self.edges.is_empty()),
            Form::Text => usize::from(!text(self.number).is_empty()),
            // With what its weak reference consists of.
            Form::Loose => 2,
            // An object for each.
            Form::Pair => 2,
            Form::Table => 1 + self.pairs.len(),
            _ => 1,
        }
    }
}

/// The graph.
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<Id, Node>,
    next: Id,
}

impl Model {
    /// Models with other `first`s have other names, as long as they make no more than 2^32 objects.
    pub(crate) fn new(first: u32) -> Model {
        Model { nodes: BTreeMap::new(), next: u64::from(first) << 32 }
    }

    fn add(&mut self, node: Node) -> Id {
        self.next += 1;
        self.nodes.insert(self.next, node);
        self.next
    }

    pub(crate) fn add_object<A>(
        &mut self,
        seen: &Seen<A>,
        mut edges: Vec<Option<Id>>,
        drops: Arc<AtomicU32>,
    ) -> Id {
        let Seen { form, address, number, .. } = *seen;
        let weak = match form {
            Form::Loose => edges.pop().flatten(),
            // Itself.
            Form::Widget => Some(self.next + 1),
            _ => None,
        };
        let pairs = match form {
            Form::Pair => edges.drain(..2).flatten().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let pairs = pairs.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        self.add(Node { form, number, address, edges, weak, pairs, part_of: None, drops })
    }

    pub(crate) fn add_part<A>(&mut self, seen: &Seen<A>, row: Id, edge: usize) -> Id {
        let Seen { form, address, number, .. } = *seen;
        let part_of = Some((row, edge));
        let drops = Arc::default();
        let (edges, pairs) = (Vec::new(), Vec::new());
        self.add(Node { form, number, address, edges, weak: None, pairs, part_of, drops })
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        self.nodes.get(&id).unwrap_or_else(|| panic!("no object {id}"))
    }

    /// Where an object's edges lead.
    pub(crate) fn edges(&self, id: Id) -> &[Option<Id>] {
        let node = self.node(id);
        match node.part_of {
            Some((row, edge)) => &self.node(row).edges[edge..=edge],
            None => &node.edges,
        }
    }

    pub(crate) fn set_edge(&mut self, id: Id, edge: usize, to: Option<Id>) {
        let (whole, edge) = self.node(id).part_of.unwrap_or((id, edge));
        self.nodes.get_mut(&whole).expect("a whole outlives its parts").edges[edge] = to;
    }

    pub(crate) fn resize(&mut self, id: Id, edges: usize) {
        self.nodes.get_mut(&id).expect("the object is known").edges.resize(edges, None);
    }

    /// What lives and dies with what: a part with its row.
    pub(crate) fn whole(&self, id: Id) -> Id {
        self.nodes.get(&id).and_then(|node| node.part_of).map_or(id, |(row, _)| row)
    }

    /// What can be reached from some objects, these among them.
    pub(crate) fn reachable(&self, from: impl IntoIterator<Item = Id>) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Id> = from.into_iter().collect();
        // Of objects that were found.
        let mut pairs = Vec::new();
        loop {
            while let Some(id) = open.pop() {
                if found.insert(id) {
                    let node = self.node(id);
                    open.extend(node.part_of.map(|(row, _)| row));
                    open.extend(node.edges.iter().flatten());
                    pairs.extend(&node.pairs);
                }
            }
            // A value is found with its key.
            pairs.retain(|(key, value)| {
                let reached = found.contains(key);
                if reached {
                    open.push(*value);
                }
                !reached
            });
            if open.is_empty() {
                return found;
            }
        }
    }

    /// Enters a value for a key, or takes the key out.
    pub(crate) fn enter(&mut self, id: Id, key: Id, value: Option<Id>) {
        let node = self.nodes.get_mut(&id).expect("the object is known");
        node.pairs.retain(|(known, _)| *known != key);
        node.pairs.extend(value.map(|value| (key, value)));
    }

    /// Whether a weak reference leads from what is inside to what is outside, or the other way.
    pub(crate) fn is_crossed(&self, inside: &BTreeSet<Id>) -> bool {
        self.nodes.iter().any(|(id, node)| {
            let crosses = |other: &Id| inside.contains(id) != inside.contains(other);
            node.weak.is_some_and(|weak| crosses(&weak))
                || node.pairs.iter().any(|(key, value)| crosses(key) || crosses(value))
        })
    }

    /// How many cells some objects take.
    pub(crate) fn objects(&self, among: &BTreeSet<Id>) -> usize {
        among.iter().map(|&id| self.node(id).cells()).sum()
    }

    /// Compares one object with what is known of it.
    pub(crate) fn check<A: fmt::Debug>(&self, id: Id, seen: &Seen<A>) -> Result<(), String> {
        let node = self.node(id);
        let edges = self.edges(id);
        let same = (node.form, node.number, node.address) == (seen.form, seen.number, seen.address)
            && edges.len() == seen.edges.len()
            && edges.iter().zip(&seen.edges).all(|(a, b)| a.is_some() == b.is_some());
        let drops = node.drops.load(Relaxed);
        match same && drops == 0 {
            true => Ok(()),
            false => Err(format!("object {id} is {node:x?}, found {seen:x?}, dropped {drops}")),
        }
    }
}
