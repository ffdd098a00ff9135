//! The interface as C programs see it: installed under a prefix, found by
//! pkg-config, compiled, linked both ways, and run.
//!
//! Without gcc, g++ or pkg-config the tests say so and pass.

use mallocgc_capi::alloc::{mallocgc_flags as Flags, mallocgc_site_head, mallocgc_window};
use mallocgc_capi::config::mallocgc_config;
use mallocgc_capi::error::mallocgc_error as Code;
use mallocgc_capi::handle::mallocgc_mutator_head;
use mallocgc_capi::heap::{MALLOCGC_VERSION, mallocgc_force as Force};
use mallocgc_capi::limits::{mallocgc_limit_kind as LimitKind, mallocgc_pressure};
use mallocgc_capi::mutator::mallocgc_progress as Progress;
use mallocgc_capi::observe::{
    mallocgc_cycle, mallocgc_delay as Delay, mallocgc_event, mallocgc_event_kind as Kind,
    mallocgc_stats,
};
use mallocgc_capi::root::mallocgc_range_kind as RangeKind;
use mallocgc_capi::walk::{mallocgc_walked, mallocgc_walked_kind as WalkedKind};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn has(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {command} is not installed");
    }
    found
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Installs once; the prefix.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = scratch("prefix");
        let mut install = Command::new(env!("CARGO"));
        install.current_dir(crate_dir().parent().and_then(Path::parent).expect("the workspace"));
        install.args(["run", "--quiet", "-p", "xtask", "--", "install", "--profile", "dev"]);
        succeed(install.arg("--prefix").arg(&prefix));
        prefix
    })
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    let output = succeed(command.args(arguments).arg("mallocgc"));
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().map(str::to_owned).collect()
}

#[derive(Clone, Copy, Debug)]
enum Language {
    C,
    Cpp,
    /// C++ with what the program itself does checked at every turn.
    SanitizedCpp,
}

/// C++ with sanitizers if the compiler has them.
fn sanitized() -> Language {
    match sanitizer_options() {
        Some(_) => Language::SanitizedCpp,
        None => Language::Cpp,
    }
}

/// What sanitizers are told: to look for leaks as well, if they can where this runs. `None` without
/// sanitizers.
fn sanitizer_options() -> Option<&'static str> {
    static OPTIONS: OnceLock<Option<&str>> = OnceLock::new();
    *OPTIONS.get_or_init(|| {
        let empty = scratch("sanitizers").join("empty.cpp");
        std::fs::write(&empty, "int main() { return 0; }\n").expect("written");
        let program = empty.with_extension("out");
        let mut command = Command::new("g++");
        command.args(SANITIZERS).arg(&empty).arg("-o").arg(&program);
        let runs_with = |options: &str| {
            let mut command = Command::new(&program);
            let output = command.env("ASAN_OPTIONS", options).output();
            output.is_ok_and(|output| output.status.success())
        };
        let built = command.output().expect("it starts").status.success();
        let options = ["detect_leaks=1", "detect_leaks=0"].into_iter();
        let options = options.filter(|_| built).find(|options| runs_with(options));
        if options.is_none() {
            eprintln!("skipped: g++ has no sanitizers");
        }
        options
    })
}

const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

fn compile(source: &Path, name: &str, linking: &str) -> PathBuf {
    compile_as(Language::C, source, name, linking)
}

/// Compiles a program against the installed library, shared or static.
fn compile_as(language: Language, source: &Path, name: &str, linking: &str) -> PathBuf {
    let program = scratch("programs").join(format!("{name}-{language:?}-{linking}"));
    let (compiler, arguments) = match language {
        Language::C => ("gcc", ["-std=c11", "-D_GNU_SOURCE", "-xc", "-O2"]),
        Language::Cpp => ("g++", ["-std=c++17", "-pthread", "-xc++", "-O2"]),
        Language::SanitizedCpp => ("g++", ["-std=c++17", "-pthread", "-xc++", "-O1"]),
    };
    let mut command = Command::new(compiler);
    command.args(arguments).arg("-g").args(WARNINGS).arg(source).arg("-xnone");
    if let Language::SanitizedCpp = language {
        command.args(SANITIZERS);
    }
    command.arg("-o").arg(&program);
    command.args(pkg_config(&["--cflags"]));
    match linking {
        "shared" => command.args(pkg_config(&["--libs"])),
        _ => {
            command.arg(prefix().join("lib/libmallocgc.a"));
            let all = pkg_config(&["--libs", "--static"]);
            command.args(all.iter().filter(|argument| *argument != "-lmallocgc"))
        }
    };
    succeed(&mut command);
    program
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("LD_LIBRARY_PATH", prefix().join("lib"));
    command.env("ASAN_OPTIONS", sanitizer_options().unwrap_or_default());
    String::from_utf8(succeed(&mut command).stdout).expect("text")
}

/// A program for the compiler that says what Rust thinks of each structure and number.
fn layout_assertions() -> String {
    let mut text = String::from(
        "#include <mallocgc.h>\n#ifdef __cplusplus\n#define CHECK static_assert\n#else\n#define CHECK _Static_assert\n#endif\n",
    );
    macro_rules! structure {
        ($name:ident: $($field:ident)*) => {
            let size = size_of::<$name>();
            writeln!(text, "CHECK(sizeof({0}) == {size}, \"size of {0}\");", stringify!($name)).unwrap();
            $({
                let (offset, field) = (offset_of!($name, $field), stringify!($field));
                writeln!(text, "CHECK(offsetof({0}, {field}) == {offset}, \"{field} of {0}\");", stringify!($name)).unwrap();
            })*
        };
    }
    structure!(mallocgc_config: gc_percent min_heap_bytes heap_limit_bytes memory_limit_bytes
        concurrent_from_bytes reserve_bytes
        stop_limit_nanos profile_rate clobber mark_delay_seed cgroup_percent profile_max_buckets
        profile_max_frames workers collect_every trace_level background
        huge_pages verify cgroup_root log log_data);
    structure!(mallocgc_stats: heap_alloc_bytes heap_objects total_alloc_bytes total_freed_bytes
        mallocs frees sys_bytes heap_inuse_bytes heap_idle_bytes heap_released_bytes live_bytes
        trigger_bytes heap_limit_bytes cycles forced_cycles pause_total_nanos pause_max_nanos
        gc_cpu_nanos mutators finalizers_due finalizers_run cleanups_due cleanups_run weak_cleared
        ephemerons_cleared profile_samples goal_bytes memory_limit_bytes mapped_bytes external_bytes
        limit_errors held_cycles pressure_calls scavenged_bytes weak_handles profile_overflows);
    structure!(mallocgc_mutator_head: windows marking poll);
    structure!(mallocgc_site_head: window_offset cell_bytes);
    structure!(mallocgc_window: next limit);
    structure!(mallocgc_pressure: kind current_bytes limit_bytes);
    structure!(mallocgc_event: kind layout address bytes stack stack_depth cycle record mutators);
    structure!(mallocgc_cycle: stopped_nanos time_to_stop_nanos mark_nanos mark_cpu_nanos
        heap_start_bytes live_bytes marked_objects next_goal_bytes forced workers
        finish_sweep_nanos finalize_nanos goal_bytes root_bytes external_bytes finalizers_due
        cleanups_due weak_cleared first_stop_nanos last_stop_nanos assist_nanos beside mutators);
    structure!(mallocgc_walked: kind layout object bytes offset target);
    let mut number = |name: &str, value: u64| {
        writeln!(text, "CHECK({name} == {value}, \"{name}\");").unwrap();
    };
    number("MALLOCGC_VERSION", MALLOCGC_VERSION.into());
    number("sizeof(mallocgc_error)", size_of::<Code>() as u64);
    number("MALLOCGC_ERROR_NONE", Code::None as u64);
    number("MALLOCGC_ERROR_BAD_ARGUMENT", Code::BadArgument as u64);
    number("MALLOCGC_ERROR_BAD_HANDLE", Code::BadHandle as u64);
    number("MALLOCGC_FORCE_IF_NEEDED", Force::IfNeeded as u64);
    number("MALLOCGC_FORCE_NOW", Force::Now as u64);
    number("MALLOCGC_FORCE_NOW_AND_SWEEP", Force::NowAndSweep as u64);
    number("MALLOCGC_FLAGS_NONE", Flags::None as u64);
    number("MALLOCGC_FLAGS_NO_ZERO", Flags::NoZero as u64);
    number("MALLOCGC_FLAGS_SAFEPOINT", Flags::Safepoint as u64);
    number("MALLOCGC_FLAGS_NO_TINY", Flags::NoTiny as u64);
    number("MALLOCGC_RANGE_KIND_REFERENCES", RangeKind::References as u64);
    number("MALLOCGC_RANGE_KIND_AMBIGUOUS", RangeKind::Ambiguous as u64);
    number("MALLOCGC_LIMIT_KIND_HEAP", LimitKind::Heap as u64);
    number("MALLOCGC_LIMIT_KIND_MEMORY", LimitKind::Memory as u64);
    number("MALLOCGC_PROGRESS_IDLE", Progress::Idle as u64);
    number("MALLOCGC_PROGRESS_MARKING", Progress::Marking as u64);
    number("MALLOCGC_PROGRESS_FINISHED", Progress::Finished as u64);
    number("MALLOCGC_DELAY_PAUSE", Delay::Pause as u64);
    number("MALLOCGC_DELAY_ASSIST", Delay::Assist as u64);
    number("MALLOCGC_WALKED_KIND_ROOT", WalkedKind::Root as u64);
    number("MALLOCGC_WALKED_KIND_REFERENCE", WalkedKind::Reference as u64);
    number("MALLOCGC_EVENT_KIND_ALLOC", Kind::Alloc as u64);
    number("MALLOCGC_EVENT_KIND_OTHER", Kind::Other as u64);
    number("MALLOCGC_EVENT_KIND_DETACHED", Kind::Detached as u64);
    text.push_str("int main(void) { return 0; }\n");
    text
}

#[test]
fn the_header_compiles_and_agrees_with_rust() {
    if !has("gcc") || !has("g++") {
        return;
    }
    let directory = scratch("layout");
    let text = layout_assertions();
    for (compiler, standard, file) in
        [("gcc", "-std=c11", "check.c"), ("g++", "-std=c++17", "check.cpp")]
    {
        let source = directory.join(file);
        std::fs::write(&source, &text).expect("written");
        let mut command = Command::new(compiler);
        command.args([standard, "-fsyntax-only"]).args(WARNINGS);
        succeed(command.arg("-I").arg(crate_dir().join("include")).arg(&source));
    }
}

/// Functions that the header declares.
fn declared() -> BTreeSet<String> {
    let text = std::fs::read_to_string(crate_dir().join("include/mallocgc.h")).expect("a header");
    let mut names = BTreeSet::new();
    let mut comment = false;
    for line in text.lines() {
        comment |= line.trim_start().starts_with("/*");
        let code = !comment && !line.starts_with("typedef") && !line.starts_with("static");
        comment &= !line.contains("*/");
        if let Some(at) = line.find("mallocgc_").filter(|_| code)
            && let Some(open) = line.find('(')
            && line.starts_with(|first: char| first.is_ascii_lowercase())
        {
            let name = line[at..open].rsplit([' ', '*']).next().expect("a part");
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_library_exports_what_the_header_declares() {
    if !has("nm") || !has("readelf") {
        return;
    }
    let library = prefix().join("lib/libmallocgc.so");
    let output = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let text = String::from_utf8(output.stdout).expect("text");
    let exported: BTreeSet<String> =
        text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    let declared = declared();
    assert!(declared.len() > 80, "{declared:?}");
    assert_eq!(exported, declared);
    let output = succeed(Command::new("readelf").arg("-d").arg(&library));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("soname: [libmallocgc.so.0]"), "{text}");
}

/// Compiles and runs a test program as C, and as C++ under the compiler's sanitizers if it has them.
fn chapter(name: &str) {
    if !has("gcc") || !has("g++") || !has("pkg-config") {
        return;
    }
    let source = crate_dir().join("tests/c").join(name).with_extension("c");
    for language in [Language::C, sanitized()] {
        let program = compile_as(language, &source, name, "shared");
        assert_eq!(run(&program, &[]), "ok\n", "{language:?}");
    }
}

macro_rules! chapters {
    ($($name:ident)*) => {
        /// A program for each part of the header, of its name.
        mod chapters {
            $(#[test] fn $name() { super::chapter(stringify!($name)); })*
        }
        const CHAPTERS: &[&str] = &[$(stringify!($name)),*];
    };
}

chapters!(settings layouts alloc inline barrier roots stacks finalizers weak threads limits observe misuse
    whippet);

#[test]
fn a_back_end_of_whippet_is_thin() {
    let port = crate_dir().join("tests/c/whippet.h");
    let port = std::fs::read_to_string(port).expect("the port");
    let lines = port.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 175, "{lines} lines");
    let table = crate_dir().join("../../docs/c-interface.md");
    let table = std::fs::read_to_string(table).expect("the table");
    for line in port.lines().filter(|line| line.starts_with("static inline")) {
        let name = line.split('(').next().and_then(|head| head.rsplit([' ', '*']).next());
        let name = name.expect("a function");
        let private = ["gc_visit", "gc_attach"].contains(&name);
        assert!(private || table.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}

#[test]
fn every_function_is_called_by_a_chapter() {
    let programs = CHAPTERS.iter().map(|name| {
        let source = crate_dir().join("tests/c").join(name).with_extension("c");
        std::fs::read_to_string(source).expect("a program")
    });
    let text: String = programs.collect();
    for name in declared() {
        assert!(text.contains(&format!("{name}(")), "no program calls {name}");
    }
    for code in Code::ALL {
        // Mistakes of the library, and what this processor, heap or system never says.
        let told_elsewhere = [
            Code::None,
            Code::Panic,
            Code::Unsupported,
            Code::Corrupt,
            Code::NoThread,
            Code::AlreadySet,
        ];
        let name = error_name(code);
        assert!(
            told_elsewhere.contains(&code) || text.contains(&format!("({name}, ")),
            "no program provokes {name}"
        );
    }
}

/// `BadArgument` as a program writes it.
fn error_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn the_static_library_does_as_well() {
    if !has("gcc") || !has("pkg-config") {
        return;
    }
    let source = crate_dir().join("tests/c/finalizers.c");
    assert_eq!(run(&compile(&source, "finalizers", "static"), &[]), "ok\n");
}

/// Instructions of the inline paths, with the return of the function each is in, counted under callgrind.
#[test]
fn inline_functions_are_short() {
    if !has("gcc") || !has("pkg-config") || !has("valgrind") {
        return;
    }
    let program = compile(&crate_dir().join("tests/c/cost.c"), "cost", "shared");
    let counts = scratch("counts").join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--dump-line=no"])
        .env("LD_LIBRARY_PATH", prefix().join("lib"));
    command.arg(format!("--callgrind-out-file={}", counts.display())).arg(program);
    succeed(&mut command);
    let profile = std::fs::read_to_string(counts).expect("a profile");
    for (path, most) in
        [("path_alloc", 10), ("path_window", 9), ("path_write", 7), ("path_poll", 6)]
    {
        let calls = calls_of(&profile, path);
        assert!(calls >= 100_000, "{path} was called {calls} times");
        let each = own_cost(&profile, path) as f64 / calls as f64;
        println!("{path}: {each:.2} instructions");
        // The fraction is what calls of the library add.
        assert!(each.round() <= f64::from(most), "{path}: {each:.2} instructions");
    }
}

/// A function's number in a profile, which is how it is named but for the first time.
fn number_of<'p>(profile: &'p str, function: &str) -> &'p str {
    let suffix = format!(" {function}");
    let named = profile.lines().filter_map(|line| line.strip_suffix(&suffix));
    let mut numbers = named.filter_map(|line| line.split_once("fn=").map(|parts| parts.1));
    numbers.next().unwrap_or_else(|| panic!("{function} is not in the profile"))
}

/// Instructions in a function, without what it calls.
fn own_cost(profile: &str, function: &str) -> u64 {
    let number = number_of(profile, function);
    let (mut inside, mut of_call, mut cost) = (false, false, 0);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            inside = name.split(' ').next() == Some(number);
        } else if line.starts_with("calls=") {
            of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let counted = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
            if inside && !of_call {
                cost += counted.unwrap_or(0);
            }
            of_call = false;
        }
    }
    cost
}

/// How often a function was called.
fn calls_of(profile: &str, function: &str) -> u64 {
    let number = number_of(profile, function);
    let mut calls = 0;
    let mut callee = "";
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = name.split(' ').next().unwrap_or_default();
        } else if let Some(count) = line.strip_prefix("calls=").filter(|_| callee == number) {
            calls +=
                count.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    calls
}

#[test]
fn an_interpreter_in_c_runs_on_the_heap() {
    if !has("gcc") || !has("pkg-config") {
        return;
    }
    let source = crate_dir().join("../../examples/c/lisp.c");
    let program = compile(&source, "lisp", "shared");
    let output = run(
        &program,
        &["(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
        (print (fib 20))
        (define (count n acc) (if (< n 1) acc (count (- n 1) (cons n acc))))
        (define (sum l) (if (null? l) 0 (+ (car l) (sum (cdr l)))))
        (print (sum (count 200 (quote ()))))
        (print (count 3 (quote ())))"],
    );
    assert_eq!(output, "6765\n20100\n(1 2 3)\n");
    // The marks of what is glue are in the source; the issue asks for less than 60 lines.
    let text = std::fs::read_to_string(&source).expect("the program");
    let glue = text
        .split("/* heap glue */")
        .nth(1)
        .and_then(|rest| rest.split("/* end of heap glue */").next());
    let lines = glue.expect("marked").lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 60, "{lines} lines of heap glue");
}
