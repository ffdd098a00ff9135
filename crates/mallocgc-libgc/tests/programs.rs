//! C programs on the library: our own, built here and run on the distribution's
//! library as well where that is installed; and programs of the distribution,
//! which must print the same on both.
//!
//! Needs `gcc`; what is not installed is skipped with a line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The folder with our library under its own name.
fn library() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // target/PROFILE/deps/TEST, and the library two levels up or beside it.
        let deps = test.parent().expect("a folder");
        let profile = deps.parent().expect("a folder");
        let built = [profile, deps].map(|folder| folder.join("libmallocgc_libgc.so"));
        let built =
            built.iter().find(|path| path.exists()).expect("cargo builds the library first");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("libgc");
        std::fs::create_dir_all(&folder).expect("the folder of tests can be written");
        let copy = folder.join(format!("copy.{}", std::process::id()));
        std::fs::copy(built, &copy).expect("the library can be copied");
        std::fs::rename(copy, folder.join("libgc.so.1")).expect("and renamed");
        folder
    })
}

/// The folder of the distribution's library.
fn original() -> Option<&'static Path> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.map(Path::new).into_iter().find(|folder| folder.join("libgc.so.1").exists())
}

fn build(name: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
    static BUILT: AtomicU32 = AtomicU32::new(0);
    // Tests run side by side, and a program that runs cannot be written.
    let out = library().join(format!("{name}.{}", BUILT.fetch_add(1, Relaxed)));
    let status = Command::new("gcc")
        .args(["-O1", "-Wall", "-Werror", "-pthread"])
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(&out)
        .arg(library().join("libgc.so.1"))
        .status()
        .expect("gcc is installed");
    assert!(status.success(), "{name} does not build");
    out
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new("timeout")
        .arg("120")
        .arg(program)
        .args(arguments)
        .env("LD_LIBRARY_PATH", folder)
        .output()
        .expect("programs can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Builds a program and runs it on both libraries: it checks itself.
fn passes(name: &str, flags: &[&str]) {
    passes_on(&[Some(library()), original()], name, flags);
}

fn passes_on(folders: &[Option<&Path>], name: &str, flags: &[&str]) {
    let program = build(name, flags);
    for folder in folders.iter().flatten() {
        let output = run(&program, folder, &[]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{name} on {folder:?}: {:?}\n{said}", output.status);
        assert!(text(&output.stdout).starts_with(name), "{name} on {folder:?} printed nothing");
    }
}

#[test]
fn core() {
    passes("core", &[]);
}

#[test]
fn threads() {
    passes("threads", &[]);
}

/// The places a program allocates at, largest first, in its statistics, and a profile of them in a file.
#[test]
fn a_profile_tells_where_a_program_allocates() {
    let program = build("sites", &["-rdynamic", "-fno-optimize-sibling-calls"]);
    let folder = library().join(format!("profile.{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder of tests can be written");
    let (profile, statistics) = (folder.join("profile"), folder.join("statistics"));
    let profiled = |profile: &Path, arguments: &[&str]| {
        Command::new("timeout")
            .arg("120")
            .arg(&program)
            .args(arguments)
            .env("LD_LIBRARY_PATH", library())
            .env("MALLOCGC_PROFILE", profile)
            .env("MALLOCGC_PROFILE_RATE", "20000")
            .env("MALLOCGC_EXEC_STATS", &statistics)
            .output()
            .expect("programs can be run")
    };
    let output = profiled(&profile, &["with a child"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = std::fs::read_to_string(&statistics).expect("statistics were written");
    let blocks: Vec<&str> = said.split("process ").skip(1).collect();
    assert_eq!(blocks.len(), 2, "{said}");
    for block in blocks {
        let sites = block.lines().filter_map(|line| line.strip_prefix("site "));
        let sites: Vec<Vec<&str>> = sites.map(|line| line.splitn(3, ' ').collect()).collect();
        let names: Vec<&str> = sites.iter().take(3).map(|site| site[2]).collect();
        assert_eq!(names, ["make_most", "make_much", "make_some"], "{block}");
        // A child has what its parent had, and its own.
        for (site, expected) in sites.iter().zip([48.0e6, 24.0e6, 12.0e6]) {
            let bytes: f64 = site[0].parse().expect("a number");
            let times = bytes / expected;
            assert!((0.8..1.6).contains(&times) || (1.7..3.0).contains(&times), "{block}");
        }
    }
    let is_profile = |path: &Path| std::fs::metadata(path).is_ok_and(|it| it.len() > 500);
    assert!(is_profile(&profile), "nothing is in the profile");
    let children = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .filter(|file| {
            let name = file.as_ref().expect("a file").file_name();
            name.to_string_lossy().starts_with("profile.")
        })
        .count();
    assert_eq!(children, 1, "the child has a file of its own");
    // A file that cannot be written is told, and the program's result is its own.
    let output = profiled(&folder.join("missing/profile"), &[]);
    assert!(output.status.success() && text(&output.stdout) == "sites ok\n");
    assert!(
        text(&output.stderr).contains("no profile can be written to"),
        "{}",
        text(&output.stderr)
    );
}

/// The original loses cells of such lists, and with Whippet's `mt-gcbench` all of them.
#[test]
fn lists_that_are_forgotten_when_a_collection_begins() {
    passes_on(&[Some(library())], "lists", &[]);
}

#[test]
fn threads_with_values_of_keys_many_times() {
    let program = build("threads", &[]);
    for round in 0..10 {
        let output = run(&program, library(), &["keys"]);
        assert!(output.status.success(), "round {round}: {}", text(&output.stderr));
    }
}

#[test]
fn finalizers_and_links() {
    passes("finalize", &[]);
}

#[test]
fn roots() {
    passes("roots", &[]);
}

#[test]
fn variables_are_reached_by_copy_relocations() {
    passes("roots", &["-no-pie", "-fno-pic"]);
}

#[test]
fn thread_local_variables_are_roots() {
    let output = run(&build("roots", &[]), library(), &["local"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn kinds_and_typed_objects() {
    passes("kinds", &[]);
}

#[test]
fn forks() {
    passes("fork", &[]);
}

/// Everything at once, for a few seconds; `tests/c/soak.c` says how to let it run longer.
#[test]
fn threads_libraries_signals_and_forks_at_once() {
    let plugin = build("soak", &["-DPLUGIN", "-shared", "-fPIC"]);
    let program = build("soak", &["-ldl"]);
    let plugin = plugin.to_str().expect("a path in ASCII");
    for limit in [None, Some("12M")] {
        let output = Command::new("timeout")
            .args(["120", program.to_str().expect("a path in ASCII"), plugin, "3", "24"])
            .env("LD_LIBRARY_PATH", library())
            .envs(limit.map(|limit| ("GC_MAXIMUM_HEAP_SIZE", limit)))
            .output()
            .expect("programs can be run");
        let said = text(&output.stderr);
        assert!(output.status.success(), "limit {limit:?}: {:?}\n{said}", output.status);
        assert_eq!(text(&output.stdout), "ok\n", "{said}");
    }
}

#[test]
fn overruns_and_absurd_sizes() {
    passes("debug", &[]);
    let output = run(&build("debug", &[]), library(), &[]);
    let said = text(&output.stderr);
    assert!(said.contains("smashed") && said.contains("debug.c:9"), "{said}");
}

#[test]
fn wrong_frees_are_diagnosed() {
    let program = build("wrong", &[]);
    for (how, message) in [
        ("twice", "is free already"),
        ("large twice", "is free already"),
        ("inner", "GC_free: "),
        ("stack", "is not the first byte of an object"),
        ("realloc", "GC_realloc: "),
    ] {
        let output = run(&program, library(), &[how]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{how}: {said}");
        assert!(!text(&output.stdout).contains("went on"), "{how}");
    }
}

/// Every name that the original exports, and no other.
#[test]
fn exports_every_name() {
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library().join("libgc.so.1"))
        .output()
        .expect("nm is installed");
    let listing = text(&output.stdout);
    let mut names: Vec<&str> =
        listing.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    names.sort_unstable();
    let expected: Vec<&str> = include_str!("names.txt").lines().collect();
    assert_eq!(names, expected);
    assert_eq!(names.len(), 291);
}

/// Runs a program of the distribution on both libraries.
fn same_output(program: &str, arguments: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| p.exists());
    let (Some(found), Some(original)) = (found, original()) else {
        eprintln!("skipped: {program} is not installed");
        return;
    };
    let expected = run(&found, original, arguments);
    for round in 0..3 {
        let output = run(&found, library(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status, expected.status, "{program}, round {round}: {said}");
        assert_eq!(text(&output.stdout), text(&expected.stdout), "{program}, round {round}");
    }
}

fn file(name: &str, contents: &str) -> String {
    let path = library().join(name);
    std::fs::write(&path, contents).expect("the folder of tests can be written");
    path.to_str().expect("a path of ours").to_owned()
}

#[test]
fn w3m_prints_the_same() {
    let rows: String =
        (0..4000).map(|i| format!("<p>row {i} <b>bold</b><table><tr><td>{i}</table>")).collect();
    same_output("w3m", &["-dump", &file("page.html", &rows)]);
}

#[test]
fn guile_prints_the_same() {
    let program = "
        (use-modules (ice-9 threads))
        (define (tree d) (if (= d 0) '() (cons (tree (- d 1)) (tree (- d 1)))))
        (define (count t) (if (null? t) 1 (+ (count (car t)) (count (cdr t)))))
        (define keep (tree 14))
        (define h (make-weak-key-hash-table 10))
        (for-each (lambda (i) (hashq-set! h (list i) i)) (iota 1000))
        (display (map join-thread (map (lambda (i)
          (call-with-new-thread (lambda () (count (tree 12))))) (iota 4))))
        (display (count keep))
        (gc)
        (display (< (hash-fold (lambda (k v n) (+ n 1)) 0 h) 200))
        (display (modulo (expt 3 20000) 1000007))";
    same_output("guile-3.0", &["--no-auto-compile", &file("program.scm", program)]);
}

#[test]
fn ecl_prints_the_same() {
    let program = "
        (defun tree (d) (if (= d 0) nil (cons (tree (1- d)) (tree (1- d)))))
        (defun count-tree (x) (if (null x) 1 (+ (count-tree (car x)) (count-tree (cdr x)))))
        (defvar *keep* (tree 13))
        (print (loop repeat 20 sum (count-tree (tree 11))))
        (print (count-tree *keep*))
        (print (mod (expt 7 5000) 1000003))
        (ext:quit 0)";
    same_output("ecl", &["--norc", "--load", &file("program.lisp", program)]);
}

#[test]
fn nix_prints_the_same() {
    let program = "let f = n: if n < 2 then n else f (n - 1) + f (n - 2);
        in builtins.toString (f 20) + builtins.toString (builtins.length (builtins.genList (x: { v = x; }) 50000))";
    same_output("nix-instantiate", &["--eval", "--strict", &file("program.nix", program)]);
}
