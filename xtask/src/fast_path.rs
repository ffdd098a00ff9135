//! `cargo xtask fast-path`: how many instructions an allocation takes.
//!
//! Runs `examples/fast_path.rs` under callgrind with N and with 2 N
//! allocations, so that the difference is N allocations and nothing else. From
//! the profile it takes the inclusive cost of the function that allocates, and
//! of the slow paths in it: the difference of these two is the fast path. Counts
//! repeat exactly, on any machine of one architecture with one compiler.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a fast path may take.
const LIMIT: f64 = 25.0;

/// Allocations of the shorter run.
const COUNT: u64 = 100_000;

/// The ways to allocate: the example's name for one, the function, and what it is.
const PATHS: [(&str, &str, &str); 4] = [
    ("references", "path_references", "mallocgc, 16 B with references"),
    ("pointer-free", "path_pointer_free", "mallocgc, 32 B pointer-free"),
    ("tiny", "path_pointer_free", "mallocgc, 8 B tiny, every second one shares a block"),
    ("class", "path_class", "alloc, 16 B with references, class resolved before"),
];

/// The slow paths: what is called when a chunk of cells or a block is used up.
const SLOW: [&str; 4] = ["::tiny_block", "::slow", "::alloc_slow", "::refill"];

/// Counts, prints a table, and fails when a path is longer than the limit.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let program = build(root)?;
    let scratch = std::env::temp_dir().join(format!("fast-path-{}.out", std::process::id()));
    let mut too_long = Vec::new();
    println!("| allocation | fast path | with slow paths |");
    println!("| --- | --- | --- |");
    for (path, function, text) in PATHS {
        let once = measure(&program, path, function, COUNT, &scratch)?;
        let twice = measure(&program, path, function, 2 * COUNT, &scratch)?;
        let per_allocation = |cost: fn(&Costs) -> u64| {
            cost(&twice).saturating_sub(cost(&once)) as f64 / COUNT as f64
        };
        let total = per_allocation(|costs| costs.function);
        let fast = total - per_allocation(|costs| costs.slow);
        println!("| {text} | {fast:.1} | {total:.1} |");
        // The fraction is what a call of a slow path adds here.
        if fast.round() > LIMIT {
            too_long.push(format!("{path}: {fast:.1}"));
        }
    }
    match too_long.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more than {LIMIT} instructions on the fast path of {}",
            too_long.join(", ")
        )),
    }
}

/// Builds the example and says where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "mallocgc", "--example", "fast_path"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the example fast_path does not build".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| PathBuf::from("target"));
    Ok(root.join(target).join("release/examples/fast_path"))
}

fn measure(
    program: &Path,
    path: &str,
    function: &str,
    count: u64,
    scratch: &Path,
) -> Result<Costs, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", scratch.display()))
        .arg(program)
        .args([path, &count.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let profile = std::fs::read_to_string(scratch).map_err(|error| error.to_string())?;
    // What cannot be removed stays in the folder of temporary files.
    let _ = std::fs::remove_file(scratch);
    let costs = read(&profile, function);
    if costs.calls != count {
        return Err(format!("{path}: {} calls of {function}, not {count}", costs.calls));
    }
    if costs.slow == 0 {
        return Err(format!("{path}: the profile knows no slow path"));
    }
    Ok(costs)
}

/// Instructions of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Costs {
    /// Calls of the function that allocates.
    calls: u64,
    /// Instructions in it and in all it calls.
    function: u64,
    /// Instructions in slow paths and in all they call.
    slow: u64,
}

/// Reads callgrind's file: a call is a line `cfn=` with the callee, a line
/// `calls=` with how often, and a line with the place and what the calls cost.
/// Names are written once, `(number) name`, and by their number from then on.
fn read(profile: &str, function: &str) -> Costs {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut costs = Costs::default();
    let (mut caller, mut callee) = ("", "");
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some((key @ ("fn" | "cfn"), value)) = line.split_once('=') {
            let (number, name) = value.split_once(' ').unwrap_or((value, ""));
            let known = names.entry(number).or_insert(name);
            match key {
                "cfn" => callee = known,
                _ => caller = known,
            }
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let Some(cost) = lines.next().and_then(|line| line.split(' ').nth(1)) else { break };
            let cost: u64 = cost.parse().unwrap_or(0);
            if callee.contains(function) {
                let calls = calls.split(' ').next().unwrap_or_default();
                costs.calls += calls.parse().unwrap_or(0);
                costs.function += cost;
            } else if caller.contains(function) && is_slow(callee) {
                costs.slow += cost;
            }
        }
    }
    costs
}

/// Whether a function is one of the mutator's slow paths.
fn is_slow(function: &str) -> bool {
    function.contains("Mutator") && SLOW.iter().any(|name| function.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_by_name_and_by_number() {
        let profile = "events: Ir\n\
            fn=(1) main\n10 5\ncfn=(2) fast_path::path_class\ncalls=7 20\n11 700\n\
            fn=(2)\n20 70\ncfi=(9) mutator.rs\ncfn=(3) mallocgc::raw::mutator::Mutator::refill\n\
            calls=2 30\n21 300\n\
            fn=(3)\n30 40\ncfn=(4) mallocgc::heap::cache::Cache::refill\ncalls=2 40\n31 260\n\
            fn=(5) other\n50 1\ncfn=(2)\ncalls=3 20\n51 30\ncfn=(3)\ncalls=1 30\n52 9\n";
        let expected = Costs { calls: 10, function: 730, slow: 300 };
        assert_eq!(read(profile, "path_class"), expected);
    }
}
