//! Breadth-first search of every state a model can get into.
//!
//! Each state is kept as one word, in the order in which it was found, beside the
//! number of the state it was found from; a table finds a word's number. Since nearer
//! states are found first, the way to a bad state is a shortest one.
//!
//! Nothing is left out: words are compared, not hashes, and a search that runs out of room says so.

use rustc_hash::FxHashSet;
use std::time::{Duration, Instant};

/// Something that moves in steps from state to state.
pub(crate) trait Model {
    type State: Copy;
    type Step: Copy;
    type Violation;

    fn initial(&self) -> Self::State;

    /// Every step that can be taken, with the state it leads to.
    fn steps(&self, state: &Self::State, found: &mut Vec<(Self::Step, Self::State)>);

    /// What is wrong with a step; asked of every step.
    fn wrong_step(&self, before: &Self::State, step: &Self::Step) -> Option<Self::Violation>;

    /// What is wrong with a state; asked of every state once.
    fn wrong_state(&self, state: &Self::State) -> Option<Self::Violation>;

    /// Packs a state. States with the same word are the same to the search, so
    /// they must differ in names only.
    fn encode(&self, state: &Self::State) -> u64;

    /// A state with this word.
    fn decode(&self, word: u64) -> Self::State;
}

/// A way through a model: what was done, and where it led.
pub(crate) struct Way<M: Model> {
    pub(crate) steps: Vec<(M::Step, M::State)>,
}

/// How a search ended.
pub(crate) enum End<M: Model> {
    /// Every state was seen, and nothing is wrong with any.
    Complete,
    Violation(M::Violation, Way<M>),
    /// A state from which nothing can be done.
    Stuck(Way<M>),
    /// The step that was looked for.
    Found(Way<M>),
    /// There are more states than the search may keep.
    Full,
}

/// What a search saw.
pub(crate) struct Outcome<M: Model> {
    pub(crate) end: End<M>,
    pub(crate) states: usize,
    pub(crate) steps: u64,
    /// Steps to the furthest state seen.
    pub(crate) depth: usize,
    pub(crate) time: Duration,
}

/// A search.
pub(crate) struct Search<'m, M> {
    model: &'m M,
    max_states: usize,
}

impl<'m, M: Model> Search<'m, M> {
    /// A search that keeps at most so many states.
    pub(crate) fn new(model: &'m M, max_states: usize) -> Search<'m, M> {
        assert!(max_states < u32::MAX as usize, "states are numbered in 32 bits");
        Search { model, max_states }
    }

    /// Explores everything from the initial state; `see` is told of every step.
    pub(crate) fn explore(&self, mut see: impl FnMut(&M::Step)) -> Outcome<M> {
        self.run(self.model.initial(), |step| {
            see(step);
            false
        })
    }

    /// Looks for the nearest step of some kind from a state.
    pub(crate) fn find(&self, from: M::State, wanted: impl FnMut(&M::Step) -> bool) -> Outcome<M> {
        self.run(from, wanted)
    }

    fn run(&self, from: M::State, mut wanted: impl FnMut(&M::Step) -> bool) -> Outcome<M> {
        let began = Instant::now();
        let mut seen = Seen::default();
        seen.insert(self.model.encode(&from), 0);
        let mut found = Vec::new();
        let (mut steps, mut depth, mut level_end) = (0, 0, 1);
        let mut number = 0;
        let end = 'search: loop {
            if number == level_end {
                if number == seen.words.len() {
                    break End::Complete;
                }
                depth += 1;
                level_end = seen.words.len();
            }
            let state = self.model.decode(seen.words[number]);
            found.clear();
            self.model.steps(&state, &mut found);
            if found.is_empty() {
                break End::Stuck(self.way(from, &seen, number, None));
            }
            for (step, after) in &found {
                steps += 1;
                let word = self.model.encode(after);
                let way = |seen: &Seen| self.way(from, seen, number, Some(word));
                if let Some(violation) = self.model.wrong_step(&state, step) {
                    break 'search End::Violation(violation, way(&seen));
                }
                if wanted(step) {
                    break 'search End::Found(way(&seen));
                }
                if !seen.insert(word, number) {
                    continue;
                }
                if let Some(violation) = self.model.wrong_state(after) {
                    break 'search End::Violation(violation, way(&seen));
                }
            }
            if seen.words.len() > self.max_states {
                break End::Full;
            }
            number += 1;
        };
        Outcome { end, states: seen.words.len(), steps, depth, time: began.elapsed() }
    }

    /// The way to the state of a number, and on to a word if there is one.
    ///
    /// The words say which states it passes, up to names. Walking it once more from
    /// the beginning gives every state in the names of the first.
    fn way(&self, from: M::State, seen: &Seen, number: usize, last: Option<u64>) -> Way<M> {
        let mut words: Vec<u64> = last.into_iter().collect();
        let mut at = number;
        while at != 0 {
            words.push(seen.words[at]);
            at = seen.parents[at] as usize;
        }
        let mut steps = Vec::new();
        let mut state = from;
        let mut found = Vec::new();
        for &word in words.iter().rev() {
            found.clear();
            self.model.steps(&state, &mut found);
            let step = found.iter().find(|(_, after)| self.model.encode(after) == word);
            let &(step, after) = step.expect("a state that was found can be found again");
            steps.push((step, after));
            state = after;
        }
        Way { steps }
    }
}

/// The states seen so far.
#[derive(Default)]
struct Seen {
    words: Vec<u64>,
    /// By number: the state it was found from.
    parents: Vec<u32>,
    set: FxHashSet<u64>,
}

impl Seen {
    /// Notes a state; whether it is new.
    fn insert(&mut self, word: u64, parent: usize) -> bool {
        let new = self.set.insert(word);
        if new {
            self.words.push(word);
            self.parents.push(parent as u32);
        }
        new
    }
}
