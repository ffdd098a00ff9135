//! `cargo xtask fast-path`: how many instructions an allocation takes, and a store.
//!
//! Runs `examples/fast_path.rs` under callgrind with N and with 2 N
//! calls, so that the difference is N calls and nothing else. From
//! the profile it takes the inclusive cost of the function that allocates or stores, and
//! of the slow paths in it: the difference of these two is the fast path. Counts
//! repeat exactly, on any machine of one architecture with one compiler.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Calls in the shorter run.
const COUNT: u64 = 100_000;

/// One thing to count.
struct Counted {
    /// What the example calls it.
    name: &'static str,
    function: &'static str,
    text: &'static str,
    /// Instructions it may take.
    limit: f64,
    /// Whether it allocates, and so takes a slow path at times.
    allocates: bool,
}

const fn allocation(name: &'static str, function: &'static str, text: &'static str) -> Counted {
    Counted { name, function, text, limit: 25.0, allocates: true }
}

const PATHS: [Counted; 7] = [
    allocation("references", "path_references", "`mallocgc`, 16 B with references"),
    allocation("pointer-free", "path_pointer_free", "`mallocgc`, 32 B pointer-free"),
    allocation(
        "tiny",
        "path_pointer_free",
        "`mallocgc`, 8 B tiny, every second one shares a block",
    ),
    allocation("class", "path_class", "`alloc`, 16 B with references, class resolved before"),
    Counted {
        limit: 20.0,
        ..allocation("typed-cell", "path_typed_cell", "`Gc::new`, two references in slots")
    },
    Counted {
        limit: 30.0,
        ..allocation("typed-choice", "path_typed_choice", "`Gc::new`, 16 B with a trace function")
    },
    Counted {
        name: "typed-store",
        function: "path_typed_store",
        text: "`Slot::set`",
        limit: 8.0,
        allocates: false,
    },
];

/// The slow paths: what is called when a chunk of cells or a block is used up.
const SLOW: [&str; 5] = ["::tiny_block", "::slow", "::alloc_slow", "::refill", "::allocate_small"];

/// Counts, prints a table, and fails when a path is longer than the limit.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let program = build(root)?;
    let scratch = std::env::temp_dir().join(format!("fast-path-{}.out", std::process::id()));
    let mut too_long = Vec::new();
    println!("| allocation or store | fast path | with slow paths |");
    println!("| --- | --- | --- |");
    for path in PATHS {
        let once = measure(&program, &path, COUNT, &scratch)?;
        let twice = measure(&program, &path, 2 * COUNT, &scratch)?;
        let per_call = |cost: fn(&Costs) -> u64| {
            cost(&twice).saturating_sub(cost(&once)) as f64 / COUNT as f64
        };
        let total = per_call(|costs| costs.function);
        let fast = total - per_call(|costs| costs.slow);
        println!("| {} | {fast:.1} | {total:.1} |", path.text);
        // The fraction is what a call of a slow path adds here.
        if fast.round() > path.limit {
            too_long.push(format!("{}: {fast:.1}, limit {}", path.name, path.limit));
        }
    }
    match too_long.is_empty() {
        true => Ok(()),
        false => Err(format!("too many instructions on the fast path: {}", too_long.join("; "))),
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

fn measure(program: &Path, path: &Counted, count: u64, scratch: &Path) -> Result<Costs, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", scratch.display()))
        .arg(program)
        .args([path.name, &count.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let profile = std::fs::read_to_string(scratch).map_err(|error| error.to_string())?;
    // What cannot be removed stays in the folder of temporary files.
    let _ = std::fs::remove_file(scratch);
    let costs = read(&profile, path.function);
    // Some calls are made beside those that are counted.
    if costs.calls < count || costs.calls > count + 2 {
        let calls = costs.calls;
        return Err(format!("{}: {calls} calls of {}, not {count}", path.name, path.function));
    }
    if path.allocates != (costs.slow != 0) {
        return Err(format!("{}: the profile's slow paths are not as expected", path.name));
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

/// Whether a function is one of the slow paths, of a mutator or of what a typed one stands on.
fn is_slow(function: &str) -> bool {
    (function.contains("Mutator") || function.contains("Core"))
        && SLOW.iter().any(|name| function.ends_with(name))
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
