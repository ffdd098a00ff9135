//! The `bench` command from outside: arguments, reports, disagreement, failure, interruption.
//!
//! Peers are shell scripts that print what the test wants, so that nothing here needs Go, libgc or the
//! network.

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One test at a time: while one starts a process, that process holds the script that another is writing
/// open, and the system refuses to run it.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mallocgc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mallocgc"));
    let peers = ["GO", "LIBGC", "MIMALLOC", "MALLOC", "GC_ARENA", "GC_ARENA_MIMALLOC", "RC"];
    for runtime in std::iter::once("MALLOCGC").chain(peers) {
        command.env_remove(format!("MALLOCGC_BENCH_{runtime}"));
    }
    command
}

fn bench(arguments: &[&str]) -> Output {
    mallocgc().arg("bench").args(arguments).output().unwrap()
}

/// A directory for one test's scripts.
fn scratch(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A program that runs `body` in a shell.
fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    let path = directory.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    write!(file, "#!/bin/sh\n{body}\n").unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Prints a report with this check value.
fn reporter(directory: &Path, runtime: &str, check: &str) -> PathBuf {
    let body = format!(
        r#"echo '{{"workload":"binary-trees","runtime":"{runtime}","check":"{check}","collections":3,
"stop_max_nanos":20,"stop_p99_nanos":10,"resident_end_bytes":4096,"metrics":{{"ns":2.5}}}}'"#
    )
    .replace(",\n", ",");
    script(directory, runtime, &body)
}

fn rows(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn bad_arguments_are_clap_errors() {
    let _turn = one_at_a_time();
    let cases: &[(&[&str], &str)] = &[
        (&["binary-tree"], "no such workload"),
        (&["--peers", "rust"], "invalid value"),
        (&["--peers", "auto,go"], "only by itself"),
        (&["--rounds", "0"], "0 is not in 1..=1000"),
        (&["--threads", "many"], "invalid digit"),
        (&["--scale", "huge"], "possible values: quick, full"),
        (&["--input", "/nonexistent"], "not a directory"),
        (&["binary-trees", "--input", "/"], "--input"),
        (&["--no-such-option"], "unexpected argument"),
    ];
    for (arguments, expected) in cases {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        let usage = stderr(&output).lines().find(|line| line.starts_with("Usage: "));
        let full = usage.is_none_or(|line| line.starts_with("Usage: mallocgc bench"));
        assert!(full, "{arguments:?}: {usage:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn conflicts_that_the_plan_finds_show_the_full_usage() {
    let _turn = one_at_a_time();
    for arguments in [["--peers", "auto,go"], ["binary-trees", "--input=/"]] {
        let output = bench(&arguments);
        assert!(stderr(&output).contains("Usage: mallocgc bench"), "{}", stderr(&output));
    }
}

#[test]
fn help_lists_every_workload() {
    let _turn = one_at_a_time();
    let output = bench(&["--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for case in mallocgc_bench::catalogue() {
        assert!(text.contains(case.name), "{}", case.name);
    }
    assert!(!text.contains("smoke"), "a scale for tests only");
}

#[test]
fn json_rows_have_stable_fields() {
    let _turn = one_at_a_time();
    let directory = scratch("json");
    let output = mallocgc()
        .args(["bench", "binary-trees", "--peers", "go,malloc", "--rounds", "2", "--json"])
        .env("MALLOCGC_BENCH_MALLOCGC", reporter(&directory, "mallocgc", "00000000000000ab"))
        .env("MALLOCGC_BENCH_GO", reporter(&directory, "go", "00000000000000ab"))
        .env("MALLOCGC_BENCH_MALLOC", reporter(&directory, "malloc", "00000000000000ab"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let rows = rows(&output);
    assert_eq!(rows.len(), 3);
    for (row, runtime) in rows.iter().zip(["mallocgc", "go", "malloc"]) {
        let mut fields: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "base",
                "check",
                "collections",
                "cpu_nanos",
                "measure",
                "measured",
                "metric_ratios",
                "metrics",
                "note",
                "parameters",
                "peak_rss_bytes",
                "peak_rss_ratio",
                "ratio",
                "ratios",
                "resident_end_bytes",
                "rounds",
                "runtime",
                "scale",
                "state",
                "stop_max_nanos",
                "stop_p99_nanos",
                "threads",
                "wall_nanos",
                "workload",
            ]
        );
        assert_eq!(row["runtime"], runtime);
        assert_eq!(row["workload"], "binary-trees");
        assert_eq!(row["state"], "ok");
        assert_eq!(row["check"], "00000000000000ab");
        assert_eq!((&row["rounds"], &row["threads"]), (&2.into(), &1.into()));
        assert_eq!((&row["scale"], &row["base"]), (&"quick".into(), &"go".into()));
        assert_eq!(row["parameters"]["depth"], "18");
        assert_eq!(row["metrics"]["ns"], 2.5);
        assert_eq!(row["metric_ratios"]["ns"], 1.0);
        assert!(row["wall_nanos"].as_u64().unwrap() > 0);
        assert!(row["peak_rss_bytes"].as_u64().unwrap() > 0);
        assert!(row["ratio"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn runtimes_must_agree() {
    let _turn = one_at_a_time();
    let directory = scratch("mismatch");
    let run = |json: &[&str]| {
        mallocgc()
            .args(["bench", "binary-trees", "--peers", "go,libgc", "--rounds", "1"])
            .args(json)
            .env("MALLOCGC_BENCH_MALLOCGC", reporter(&directory, "mallocgc", "0000000000000002"))
            .env("MALLOCGC_BENCH_GO", reporter(&directory, "go", "0000000000000001"))
            .env("MALLOCGC_BENCH_LIBGC", reporter(&directory, "libgc", "0000000000000001"))
            .output()
            .unwrap()
    };
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let states: Vec<_> = rows(&output).iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["mismatch", "ok", "ok"]);
    let line = "binary-trees: check values differ: go has 0000000000000001, mallocgc has \
                0000000000000002";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));

    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("MISMATCH"));
}

#[test]
fn one_failing_child_spoils_only_its_row() {
    let _turn = one_at_a_time();
    let directory = scratch("failure");
    let output = mallocgc()
        .args(["bench", "binary-trees", "--peers", "go,libgc,mimalloc,malloc", "--rounds", "2"])
        .arg("--json")
        .env("MALLOCGC_BENCH_MALLOCGC", reporter(&directory, "mallocgc", "01"))
        .env("MALLOCGC_BENCH_GO", reporter(&directory, "go", "01"))
        .env("MALLOCGC_BENCH_LIBGC", script(&directory, "libgc", "echo out of luck >&2; exit 7"))
        .env("MALLOCGC_BENCH_MIMALLOC", script(&directory, "mimalloc", "kill -SEGV $$"))
        .env("MALLOCGC_BENCH_MALLOC", script(&directory, "malloc", "echo not a report"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rows = rows(&output);
    let states: Vec<_> = rows.iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["ok", "ok", "failed", "failed", "failed"]);
    let note = |row: usize| rows[row]["note"].as_str().unwrap();
    assert!(note(2).contains("exit status: 7: out of luck"), "{}", note(2));
    assert!(note(3).contains("signal: 11"), "{}", note(3));
    assert!(note(4).contains("report"), "{}", note(4));
    assert!(stderr(&output).contains("binary-trees: libgc failed"), "{}", stderr(&output));
}

#[test]
fn a_missing_toolchain_is_a_row_and_no_failure() {
    let _turn = one_at_a_time();
    let directory = scratch("missing");
    let output = mallocgc()
        .args(["bench", "binary-trees", "--peers", "go,libgc", "--rounds", "1", "--json"])
        .env("MALLOCGC_BENCH_MALLOCGC", reporter(&directory, "mallocgc", "01"))
        .env("PATH", &directory)
        .env_remove("CC")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let states: Vec<_> = rows(&output).iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["ok", "not-installed", "not-installed"]);
    assert_eq!(rows(&output)[1]["note"], "go is not on the path");
}

#[test]
fn our_heap_does_every_workload() {
    let _turn = one_at_a_time();
    let mut arguments = vec!["--peers", "none", "--rounds", "1", "--scale", "smoke", "--json"];
    arguments.extend(mallocgc_bench::catalogue().map(|case| case.name));
    let output = bench(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for row in rows(&output) {
        assert!(row["state"] == "ok" || row["state"] == "not-available", "{row}");
    }
}

/// Starts a bench whose peer writes its process number to a file and sleeps; returns with that number.
fn start_sleeper(directory: &Path) -> (Child, i32) {
    let pid_file = directory.join("pid");
    let _ = std::fs::remove_file(&pid_file);
    let body = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid_file.display());
    let child = mallocgc()
        .args(["bench", "binary-trees", "--peers", "none", "--rounds", "1"])
        .env("MALLOCGC_BENCH_MALLOCGC", script(directory, "sleeper", &body))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = eventually(|| std::fs::read_to_string(&pid_file).ok()?.trim().parse().ok());
    (child, pid)
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "it never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: a call without memory; the process is a child of this test.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Whether it is gone, or a zombie that only waits for its new parent.
fn is_gone(pid: i32) -> Option<()> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => Some(()),
        Ok(stat) => stat.rsplit(") ").next()?.starts_with('Z').then_some(()),
    }
}

#[test]
fn an_interrupt_leaves_no_child() {
    let _turn = one_at_a_time();
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let (mut child, sleeper) = start_sleeper(&scratch("interrupt"));
        signal(child.id() as i32, number);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{status}");
        eventually(|| is_gone(sleeper));
    }
}

#[test]
fn sudden_death_leaves_no_child() {
    let _turn = one_at_a_time();
    let (mut child, sleeper) = start_sleeper(&scratch("death"));
    signal(child.id() as i32, libc::SIGKILL);
    child.wait().unwrap();
    eventually(|| is_gone(sleeper));
}

#[test]
fn a_set_is_its_workloads_with_a_ratio_to_each_peer() {
    let _turn = one_at_a_time();
    let directory = scratch("set");
    let mut command = mallocgc();
    command.args(["bench", "--set", "typed", "--peers", "gc-arena,rc", "--rounds", "1"]);
    command.env("MALLOCGC_BENCH_MALLOCGC", reporter(&directory, "mallocgc", "01"));
    for (variable, runtime) in [("GC_ARENA", "gc-arena"), ("RC", "rc")] {
        command.env(format!("MALLOCGC_BENCH_{variable}"), reporter(&directory, runtime, "01"));
    }
    let output = command.arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let rows = rows(&output);
    let workload = |row: &Value| row["workload"].as_str().unwrap().to_owned();
    assert!(rows.iter().all(|row| !workload(row).starts_with("binary-trees")));
    let trees = |row: &&Value| workload(row) == "typed-trees" && row["runtime"] == "mallocgc";
    let ratios = rows.iter().find(trees).unwrap()["ratios"].as_object().unwrap();
    assert_eq!(ratios.keys().collect::<Vec<_>>(), ["gc-arena", "rc"]);
    assert!(ratios.values().all(|ratio| ratio.as_f64().unwrap() > 0.0));

    let conflict = bench(&["typed-trees", "--set", "typed"]);
    assert_eq!(conflict.status.code(), Some(2));
    assert!(stderr(&conflict).contains("cannot be used with"), "{}", stderr(&conflict));
}
