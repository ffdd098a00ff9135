//! Every workload at its smallest scale on our heap: the answer is the one that every runtime gives.
//!
//! The values were printed by all peers alike when a workload was added. A change here means that the work
//! changed, and that all peers must change with it.

use mallocgc_bench::{Case, Random, Run, Scale, catalogue};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const CHECKS: &[(&str, &str)] = &[
    ("binary-trees", "d56ef47fb4b9956c"),
    ("gcbench", "6048fee12eaaf330"),
    ("small-objects/pointer-free", "e16d42a97f6be19d"),
    ("small-objects/pointerful", "9ff98a563b55e1e2"),
    ("small-objects/pointer-free-live", "e16d42a97f6be19d"),
    ("small-objects/pointerful-live", "9ff98a563b55e1e2"),
    ("tiny-strings/garbage", "0000000000136cf8"),
    ("tiny-strings/churn", "0000000000136cf8"),
    ("tiny-strings/hold", "0000000000149f6c"),
    ("full-mark/list", "0c39072cbcdd6756"),
    ("full-mark/shuffled-list", "abacb199efa0c71a"),
    ("full-mark/graph", "7798bf139e91efe6"),
    ("full-mark/wide-tree", "c8246eb8e52bc287"),
    ("full-mark/map", "77609582664a2be9"),
    ("larson", "e519335f465a8603"),
    ("lru-server", "16cfa7b763eaa2ce"),
    ("large-objects", "167b01b937a14517"),
    ("finalizers", "a737a18891e2ffaf"),
    ("fragmentation", "03dc2cf2a296b523"),
    ("index", "0dfd388e92cbcdd0"),
    ("typed-trees", "d56ef47fb4b9956c"),
    ("typed-trees/scaling", "d56ef47fb4b9956c"),
    ("typed-trees/fork", "d56ef47fb4b9956c"),
    ("typed-mark/tree", "5e9e7daff6f46bcc"),
    ("typed-mark/graph", "5e9e7daff6f46bcc"),
    ("typed-bytes", "000000000000270f"),
    ("lisp", "9f98e3ac7e8efa3c"),
    ("lisp/boxed", "09b757186f5f6fdd"),
];

/// A run of the case as the command would ask for it.
fn request(case: &Case, scratch: &Path) -> Run {
    let sizes = (case.parameters)(Scale::Smoke).iter();
    let mut parameters: BTreeMap<String, String> =
        sizes.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    if case.reads_input {
        let list = write_texts(scratch);
        parameters.insert("list".to_owned(), list.to_str().expect("a plain path").to_owned());
    }
    Run { workload: case.name.to_owned(), threads: case.threads.default, parameters }
}

/// Forty files of words: some common, some rare, with capitals, digits, bytes beyond ASCII, words of one
/// letter and words too long. Returns the list of them.
fn write_texts(scratch: &Path) -> PathBuf {
    let mut random = Random::new(40);
    let mut list = String::new();
    for number in 0..40 {
        let mut text = String::new();
        for _ in 0..50 + 11 * number {
            let mut word = 1 + random.below(3_000);
            word = 1 + random.below(word);
            let first = if random.below(4) == 0 { b'A' } else { b'a' };
            while word > 0 {
                text.push(char::from(first + (word % 26) as u8));
                word /= 26;
            }
            match random.below(40) {
                0 => text.push_str("_2026"),
                1 => text.push_str("überlangundüber"),
                2 => text.push_str("antidisestablishmentarianismofallkinds"),
                _ => {}
            }
            text.push_str([" ", "\n", ", ", "--"][random.below(4) as usize]);
        }
        let path = scratch.join(format!("text-{number:02}"));
        std::fs::write(&path, text).expect("a file in a directory of our own");
        writeln!(list, "{}", path.display()).expect("a String takes everything");
    }
    let path = scratch.join("list");
    std::fs::write(&path, list).expect("a file in a directory of our own");
    path
}

#[test]
fn every_workload_gives_the_known_answer() {
    let scratch = std::env::temp_dir().join(format!("mallocgc-smoke-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a directory of our own");
    let names: Vec<&str> = catalogue().map(|case| case.name).collect();
    let known: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), known.len());
    for (name, check) in CHECKS {
        let case = catalogue().find(|case| case.name == *name).expect("a workload of this name");
        match request(case, &scratch).perform() {
            Ok(report) => assert_eq!(report.check, *check, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    std::fs::remove_dir_all(&scratch).expect("our own directory");
}
