//! `docs/origin.md` names tests: they exist, and so do the divergences it names.

use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_test_named_for_the_origin_exists() {
    let text = read("../../docs/origin.md");
    let mut named = 0;
    for name in text.split('`').filter(|name| name.contains(".rs::")) {
        let (path, test) = name.split_once("::").expect("filtered above");
        let source = read(path);
        let found = source.match_indices(&format!("fn {test}(")).next();
        let (at, _) = found.unwrap_or_else(|| panic!("{path} has no test {test}"));
        let before = &source[at.saturating_sub(200)..at];
        assert!(before.contains("#[test]"), "{name} is no test");
        named += 1;
    }
    assert!(named > 100, "{named} tests are named");
}

#[test]
fn every_divergence_named_for_the_origin_is_told() {
    let divergences = read("../../docs/divergences.md");
    let text = read("../../docs/origin.md");
    let table = text.split("## The origin's own tests").next().expect("the first section");
    let mut told = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains("::")) {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or("").trim();
        // Names may have commas of their own.
        let whole = |name: &str| divergences.to_lowercase().contains(&format!("**{name}"));
        for name in cell.split(", ").filter(|name| !name.is_empty()) {
            assert!(whole(&name.to_lowercase()) || whole(cell), "{name} is not explained");
            told += 1;
        }
    }
    assert!(told > 20, "{told} divergences are named");
}
