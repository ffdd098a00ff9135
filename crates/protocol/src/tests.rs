//! The protocol in worlds small enough for a test, and the checker on models whose
//! answers are known.

use crate::checker::{End, Model, Search};
use crate::milestone::{Milestones, frees_garbage};
use crate::mutants::{ALTERNATIVES, MUTANTS, Mutant};
use crate::property::Violation;
use crate::protocol::Protocol;
use crate::scope::{BOTH, CLAIMED, FINALIZER, PLAIN, Present, ROOTED, Reads, Scope, WEAK};
use crate::state::{Phase, State};
use crate::step::Step;
use crate::symmetry;
use crate::variant::{SHIPPED, Variant};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

const MAX_STATES: usize = 20_000_000;

/// A world with two objects.
const fn with_two(scope: Scope) -> Scope {
    Scope { objects: 2, ..scope }
}

const SMALL: [Scope; 4] = [
    with_two(WEAK),
    with_two(FINALIZER),
    Scope { mutators: 1, ..ROOTED },
    Scope { weak: Present::No, ..with_two(CLAIMED) },
];

fn assert_holds(variant: Variant, scope: Scope) {
    let protocol = Protocol { variant, scope };
    let mut milestones = Milestones::default();
    let outcome = Search::new(&protocol, MAX_STATES).explore(|step| milestones.see(step));
    match outcome.end {
        End::Complete => {}
        End::Violation(violation, way) => panic!("{scope}: {violation}: {}", told(&way.steps)),
        End::Stuck(way) => panic!("{scope}: stuck: {}", told(&way.steps)),
        End::Found(_) | End::Full => panic!("{scope}: incomplete"),
    }
    let missing = milestones.missing(&protocol);
    assert!(missing.is_empty(), "{scope}: {missing:?}");
}

fn told(steps: &[(Step, State)]) -> String {
    steps.iter().map(|(step, _)| step.to_string()).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_ships_holds() {
    for scope in SMALL {
        assert_holds(SHIPPED, scope);
    }
}

#[test]
fn what_is_as_good_holds() {
    for Mutant { variant, .. } in ALTERNATIVES {
        assert_holds(variant, Scope { mutators: 1, ..ROOTED });
        assert_holds(variant, with_two(PLAIN));
    }
}

/// The smallest world that shows a mistake, and by what.
fn caught(mutant: &Mutant) -> Option<(Scope, Violation)> {
    mutant.scope.sizes().find_map(|scope| {
        let protocol = Protocol { variant: mutant.variant, scope };
        match Search::new(&protocol, MAX_STATES).explore(|_| {}).end {
            End::Violation(violation, _) => Some((scope, violation)),
            _ => None,
        }
    })
}

#[test]
fn every_mutant_is_caught() {
    let survivors: Vec<&str> = MUTANTS
        .iter()
        .filter(|mutant| caught(mutant).is_none())
        .map(|mutant| mutant.name)
        .collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

#[test]
fn names_are_distinct() {
    let names: BTreeSet<&str> =
        MUTANTS.iter().chain(&ALTERNATIVES).map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), MUTANTS.len() + ALTERNATIVES.len());
}

/// Greedy reading loses nothing: with every read as a step the same holds, and
/// the same mistakes show in worlds of the same size.
#[test]
fn reading_one_by_one_says_the_same() {
    let one_by_one = |scope: Scope| Scope { reads: Reads::OneByOne, ..scope };
    assert_holds(SHIPPED, one_by_one(with_two(PLAIN)));
    assert_holds(SHIPPED, one_by_one(Scope { mutators: 1, ..BOTH }));
    for mutant in MUTANTS {
        let small = Mutant { scope: Scope { mutators: 1, ..with_two(mutant.scope) }, ..mutant };
        let slow = Mutant { scope: one_by_one(small.scope), ..mutant };
        let size = |caught: Option<(Scope, Violation)>| caught.map(|(scope, _)| scope.objects);
        assert_eq!(size(caught(&small)), size(caught(&slow)), "{}", mutant.name);
    }
}

#[test]
fn a_second_cycle_frees_garbage() {
    let protocol = Protocol { variant: SHIPPED, scope: BOTH };
    let search = Search::new(&protocol, MAX_STATES);
    let mut state = State::EMPTY;
    for cycle in 1..=2 {
        let End::Found(way) = search.find(state, frees_garbage).end else {
            panic!("cycle {cycle} frees nothing");
        };
        state = way.steps.last().expect("a way to a step has steps").1;
        assert_eq!(state.phase, Phase::Idle);
    }
}

/// Every state of a world, with the numbers of those that follow.
fn graph(protocol: &Protocol) -> (Vec<State>, Vec<Vec<u32>>) {
    let mut states = vec![State::EMPTY];
    let mut numbers = FxHashMap::default();
    numbers.insert(protocol.encode(&State::EMPTY), 0);
    let mut next = Vec::new();
    let mut found = Vec::new();
    while next.len() < states.len() {
        found.clear();
        protocol.steps(&states[next.len()], &mut found);
        let after = found.iter().map(|(_, after)| {
            *numbers.entry(protocol.encode(after)).or_insert_with(|| {
                states.push(*after);
                states.len() as u32 - 1
            })
        });
        let after: Vec<u32> = after.collect();
        next.push(after);
    }
    (states, next)
}

/// From wherever it is, a cycle can come to its end: nobody waits for what
/// cannot happen.
#[test]
fn every_cycle_can_end() {
    for scope in [with_two(WEAK), Scope { mutators: 1, ..with_two(CLAIMED) }] {
        let (states, next) = graph(&Protocol { variant: SHIPPED, scope });
        let mut ends: Vec<bool> = states.iter().map(|state| state.phase == Phase::Idle).collect();
        loop {
            let mut changed = false;
            // Later states are nearer to the end.
            for number in (0..states.len()).rev() {
                if !ends[number] && next[number].iter().any(|&after| ends[after as usize]) {
                    ends[number] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let lost = ends.iter().position(|ends| !ends);
        assert!(lost.is_none(), "{scope}: {:?}", lost.map(|number| states[number]));
    }
}

#[test]
fn states_are_packed_without_loss() {
    for scope in [Scope { mutators: 1, ..ROOTED }, with_two(CLAIMED)] {
        for state in graph(&Protocol { variant: SHIPPED, scope }).0 {
            assert_eq!(State::decode(state.encode()), state);
        }
    }
}

/// Packing a state and unpacking it names things anew, and changes nothing else:
/// it has the same word, and as many steps, which lead to the same words.
#[test]
fn names_make_no_difference() {
    let scope = with_two(PLAIN);
    let protocol = Protocol { variant: SHIPPED, scope };
    let words_after = |state: &State| {
        let mut found = Vec::new();
        protocol.steps(state, &mut found);
        let mut words: Vec<u64> = found.iter().map(|(_, after)| protocol.encode(after)).collect();
        words.sort_unstable();
        words
    };
    for state in graph(&protocol).0.iter().step_by(7) {
        let word = symmetry::canonical(state, &scope);
        let renamed = State::decode(word);
        assert_eq!(symmetry::canonical(&renamed, &scope), word);
        assert_eq!(words_after(state), words_after(&renamed), "{state:?}");
    }
}

/// Two jugs, of five and of three litres, and a tap.
struct Jugs {
    /// What neither jug may hold.
    forbidden: Option<u64>,
}

impl Model for Jugs {
    type State = [u64; 2];
    type Step = &'static str;
    type Violation = u64;

    fn initial(&self) -> [u64; 2] {
        [0, 0]
    }

    fn steps(&self, &[five, three]: &[u64; 2], found: &mut Vec<(&'static str, [u64; 2])>) {
        found.push(("fill five", [5, three]));
        found.push(("fill three", [five, 3]));
        found.push(("empty five", [0, three]));
        found.push(("empty three", [five, 0]));
        let poured = five.min(3 - three);
        found.push(("pour five into three", [five - poured, three + poured]));
        let poured = three.min(5 - five);
        found.push(("pour three into five", [five + poured, three - poured]));
    }

    fn wrong_step(&self, _: &[u64; 2], _: &&'static str) -> Option<u64> {
        None
    }

    fn wrong_state(&self, state: &[u64; 2]) -> Option<u64> {
        self.forbidden.filter(|litres| state.contains(litres))
    }

    fn encode(&self, state: &[u64; 2]) -> u64 {
        state[0] << 32 | state[1]
    }

    fn decode(&self, word: u64) -> [u64; 2] {
        [word >> 32, word & 0xffff_ffff]
    }
}

#[test]
fn the_checker_sees_every_state() {
    let outcome = Search::new(&Jugs { forbidden: None }, 100).explore(|_| {});
    assert!(matches!(outcome.end, End::Complete));
    // One jug is always empty or full.
    assert_eq!(outcome.states, 16);
    assert_eq!(outcome.steps, 16 * 6);
}

#[test]
fn the_checker_finds_a_shortest_way() {
    let outcome = Search::new(&Jugs { forbidden: Some(4) }, 100).explore(|_| {});
    let End::Violation(4, way) = outcome.end else { panic!("four litres can be measured") };
    let steps: Vec<&str> = way.steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(
        steps,
        [
            "fill five",
            "pour five into three",
            "empty three",
            "pour five into three",
            "fill five",
            "pour five into three",
        ]
    );
}

#[test]
fn the_checker_says_when_it_gives_up() {
    let outcome = Search::new(&Jugs { forbidden: None }, 8).explore(|_| {});
    assert!(matches!(outcome.end, End::Full));
}
