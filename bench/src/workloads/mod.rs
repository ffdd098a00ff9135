//! The catalogue, and each workload's work on our heap.
//!
//! One file a workload: its cases (name, sizes, what decides) and the work. Peers repeat the work
//! under the same name in `bench/peers/`.

mod binary_trees;
mod finalizers;
mod fragmentation;
mod full_mark;
mod gcbench;
mod index;
mod large_objects;
mod larson;
mod lisp;
mod lru_server;
mod small_objects;
mod tiny_strings;
mod typed_bytes;
mod typed_mark;
mod typed_trees;

use crate::case::Case;

/// All workloads' cases, in the order of tables.
const WORKLOADS: &[&[Case]] = &[
    binary_trees::CASES,
    gcbench::CASES,
    small_objects::CASES,
    tiny_strings::CASES,
    full_mark::CASES,
    larson::CASES,
    lru_server::CASES,
    large_objects::CASES,
    finalizers::CASES,
    fragmentation::CASES,
    index::CASES,
    typed_trees::CASES,
    typed_mark::CASES,
    typed_bytes::CASES,
    lisp::CASES,
];

/// Every case there is.
pub fn catalogue() -> impl Iterator<Item = &'static Case> {
    WORKLOADS.iter().copied().flatten()
}

/// The case of exactly this name.
pub fn find(name: &str) -> Option<&'static Case> {
    catalogue().find(|case| case.name == name)
}

/// The cases a user means: a case's full name, or a workload's name for all its variants. Empty when
/// there is none.
pub fn select(name: &str) -> Vec<&'static Case> {
    catalogue().filter(|case| case.name == name || case.workload() == name).collect()
}

#[cfg(test)]
mod tests {
    use crate::case::{Measure, Runtime, Scale};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_peers_are_peers() {
        let mut names = HashSet::new();
        for case in super::catalogue() {
            assert!(names.insert(case.name), "{} twice", case.name);
            assert!(!case.peers.contains(&Runtime::Mallocgc), "{}", case.name);
            assert!(case.threads.default <= case.threads.max, "{}", case.name);
            assert!(case.measure != Measure::Metric("cpu_nanos"), "{}", case.name);
            for scale in [Scale::Smoke, Scale::Quick, Scale::Full] {
                let parameters = (case.parameters)(scale);
                let unique: HashSet<_> = parameters.iter().map(|(name, _)| name).collect();
                assert_eq!(unique.len(), parameters.len(), "{}", case.name);
            }
        }
    }
}
