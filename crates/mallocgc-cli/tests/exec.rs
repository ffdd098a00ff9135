//! The `exec` command from outside, on a library of a few lines with libgc's name,
//! which writes statistics as `docs/exec.md` asks.
//!
//! Without gcc the tests say so and pass.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What stands in for the library: it writes a block when its process ends.
const LIBRARY: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int GC_fake_answer(void) { return 7; }

__attribute__((destructor)) static void at_end(void) {
    const char *path = getenv("MALLOCGC_EXEC_STATS");
    const char *limit = getenv("MALLOCGC_LIMIT"), *profile = getenv("MALLOCGC_PROFILE");
    const char *trace = getenv("MALLOCGC_TRACE");
    if (!path) return;
    char text[1024];
    int length = snprintf(text, sizeof text,
        "process %d\ncycles 3\nstops 4\nstopped_total_nanos 5000000\nstopped_max_nanos 2000000\n"
        "peak_bytes 9000000\nlive_bytes 1000000\nallocated_bytes 50000000\n"
        "gc_cpu_nanos 10000000\ncpu_nanos 40000000\nlimit_seen %s\ntrace_seen %s\n%s",
        (int)getpid(), limit ? limit : "0", trace ? trace : "0",
        profile ? "site 4096 2 make_node\n" : "");
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0 && write(file, text, (size_t)length) == length) close(file);
}
"#;

/// Does what its first argument says.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int GC_fake_answer(void);

static void on_term(int signal) { (void)signal; exit(33); }

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    if (GC_fake_answer() != 7) return 99;
    if (!strcmp(what, "exit")) return atoi(arguments[2]);
    if (!strcmp(what, "echo")) {
        char line[64];
        if (fgets(line, sizeof line, stdin)) printf("%s%s", line, arguments[2]);
        return 0;
    }
    if (!strcmp(what, "kill")) raise(atoi(arguments[2]));
    if (!strcmp(what, "wait")) {
        signal(SIGTERM, on_term);
        puts("ready");
        fflush(stdout);
        for (;;) pause();
    }
    if (!strcmp(what, "fork")) {
        if (fork() == 0) return 0;
        wait(NULL);
    }
    return 0;
}
"#;

struct Built {
    directory: PathBuf,
    program: PathBuf,
    plain: PathBuf,
}

fn gcc(arguments: &[&str]) {
    let output = Command::new("gcc").args(arguments).output().expect("gcc was found before");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The library and the programs, built once; `None` without gcc.
fn built() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        Command::new("gcc").arg("--version").output().ok()?;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exec");
        std::fs::create_dir_all(&directory).expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("text").to_owned()
        };
        let (library, source) = (write("library.c", LIBRARY), write("program.c", PROGRAM));
        let plain_source = write("plain.c", "int main(void) { return 5; }\n");
        let path = |name: &str| directory.join(name).to_str().expect("text").to_owned();
        let (so, program, plain) = (path("libgc.so.1"), path("program"), path("plain"));
        gcc(&["-shared", "-fPIC", "-Wl,-soname,libgc.so.1", &library, "-o", &so]);
        gcc(&[&source, &so, "-o", &program]);
        gcc(&[&plain_source, "-o", &plain]);
        Some(Built { program: program.into(), plain: plain.into(), directory })
    });
    if built.is_none() {
        eprintln!("skipped: gcc is not installed");
    }
    built.as_ref()
}

fn exec(built: &Built) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mallocgc"));
    command.env("MALLOCGC_LIBGC", &built.directory).env_remove("LD_LIBRARY_PATH").arg("exec");
    command
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn the_program_runs_on_our_library_and_the_end_tells() {
    let Some(built) = built() else { return };
    let output = exec(built).arg("--").arg(&built.program).args(["exit", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    let text = stderr(&output);
    for part in [
        "3 cycles, 4 stops of 5.00 ms in all and 2.00 ms at most",
        "9.0 MB at its peak",
        "1.0 MB live",
        "50.0 MB allocated",
        "collector 25.0% of 40.00 ms CPU",
        "the process had",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("does not name"), "{text}");
}

#[test]
fn exit_codes_and_streams_are_the_programs() {
    let Some(built) = built() else { return };
    for code in [0, 1, 77, 255] {
        let text = code.to_string();
        let output = exec(built).arg(&built.program).args(["exit", &text]).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
    }
    let input = built.directory.join("input");
    std::fs::write(&input, "first\n").unwrap();
    let output = exec(built)
        .arg(&built.program)
        .args(["echo", "--limit"])
        .stdin(std::fs::File::open(input).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"first\n--limit");
}

#[test]
fn signals_pass_both_ways() {
    let Some(built) = built() else { return };
    for signal in [libc::SIGKILL, libc::SIGABRT, libc::SIGTERM] {
        let text = signal.to_string();
        let output = exec(built).arg(&built.program).args(["kill", &text]).output().unwrap();
        assert_eq!(output.status.signal(), Some(signal), "{}", stderr(&output));
        assert!(stderr(&output).contains("no statistics"), "{}", stderr(&output));
    }
    // A signal to the command is the program's, which ends in its own way.
    let mut child = exec(built)
        .arg(&built.program)
        .arg("wait")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    // SAFETY: a call without memory; the child is unreaped.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(33), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 cycles"), "{}", stderr(&output));
}

#[test]
fn a_program_without_libgc_is_told_so_before_and_after() {
    let Some(built) = built() else { return };
    let output = exec(built).arg(&built.plain).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let text = stderr(&output);
    assert!(text.contains("does not name libgc.so.1"), "{text}");
    assert!(text.contains("no statistics"), "{text}");
    // A library of the program's may name it.
    let source = built.directory.join("middle.c");
    std::fs::write(
        &source,
        "int GC_fake_answer(void); int middle(void) { return GC_fake_answer(); }",
    )
    .unwrap();
    let main = built.directory.join("through.c");
    std::fs::write(&main, "int middle(void); int main(void) { return middle(); }").unwrap();
    let path = |name: &str| built.directory.join(name).to_str().unwrap().to_owned();
    let origin = "-Wl,-rpath,$ORIGIN";
    gcc(&["-shared", "-fPIC", &path("middle.c"), &path("libgc.so.1"), "-o", &path("libmiddle.so")]);
    gcc(&[
        &path("through.c"),
        "-L",
        &path(""),
        "-lmiddle",
        origin,
        "-Wl,--allow-shlib-undefined",
        "-o",
        &path("through"),
    ]);
    let output = exec(built).arg(path("through")).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(!stderr(&output).contains("does not name"), "{}", stderr(&output));
}

#[test]
fn options_reach_the_library_and_statistics_a_file() {
    let Some(built) = built() else { return };
    let (stats, profile) = (built.directory.join("stats.json"), built.directory.join("profile"));
    let output = exec(built)
        .args(["--trace", "--limit", "64M"])
        .arg("--stats")
        .arg(&stats)
        .arg("--profile")
        .arg(&profile)
        .arg("--")
        .arg(&built.program)
        .arg("fork")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(&stats).unwrap();
    let blocks: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(blocks.len(), 2, "the program and its child");
    assert_eq!(blocks[1]["values"]["limit_seen"], 64 << 20);
    assert_eq!(blocks[1]["values"]["trace_seen"], 1);
    let text = stderr(&output);
    assert!(text.contains("2 processes ran"), "{text}");
    assert!(text.contains("in 2 objects: make_node"), "{text}");
    assert!(text.contains("wrote no profile"), "this library does not: {text}");
}

#[test]
fn what_cannot_be_run_is_said() {
    let Some(built) = built() else { return };
    let output = exec(built).arg("no-such-program").output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", stderr(&output));
    let output = exec(built).arg(built.directory.join("program.c")).output().unwrap();
    assert_eq!(output.status.code(), Some(126), "{}", stderr(&output));
    let mut without = exec(built);
    without.env("MALLOCGC_LIBGC", "/nonexistent");
    let output = without.arg(&built.program).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("there is no libgc.so.1"), "{}", stderr(&output));
    for arguments in [&["--limit", "much", "x"][..], &["--limit", "0", "x"], &[]] {
        assert_eq!(exec(built).args(arguments).output().unwrap().status.code(), Some(2));
    }
}
