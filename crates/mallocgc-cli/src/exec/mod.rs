//! `mallocgc exec`: runs a program that was linked against libgc on our heap.
//!
//! The loader finds our library first, by LD_LIBRARY_PATH. What the heap
//! should do it learns from the environment, and what it did it writes to a file at the
//! program's end (`docs/exec.md`). The program has our standard streams, and gets our
//! signals (`signal`); the command ends as it ended. All messages go to standard error.

mod elf;
mod signal;
mod statistics;

use crate::args::Exec;
use elf::{Loads, SONAME};
use statistics::Statistics;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The shell's codes for a program that is not there, or cannot be run; and of this
/// command for all else that keeps it from running one.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
const FAILED: u8 = 125;

/// Runs the program.
pub(crate) fn run(exec: &Exec) -> ExitCode {
    let Some(library) = find_library() else {
        eprintln!(
            "mallocgc: there is no {SONAME} beside this command; `cargo xtask libgc` builds it"
        );
        return ExitCode::from(FAILED);
    };
    let name = &exec.program[0];
    if let Some(program) = elf::find_program(name) {
        warn_before(&program);
    }
    let file = StatisticsFile::new();
    let mut command = Command::new(name);
    command.args(&exec.program[1..]);
    command.env("LD_LIBRARY_PATH", library_path(&library));
    command.env("MALLOCGC_EXEC_STATS", &file.0);
    if exec.trace {
        command.env("MALLOCGC_TRACE", "1");
    }
    if let Some(limit) = exec.limit {
        command.env("MALLOCGC_LIMIT", limit.to_string());
    }
    if let Some(profile) = &exec.profile {
        // The program may change its directory.
        let path = std::path::absolute(profile).unwrap_or_else(|_| profile.clone());
        command.env("MALLOCGC_PROFILE", path);
    }
    signal::hold();
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("mallocgc: {}: {error}", Path::new(name).display());
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return ExitCode::from(if missing { NOT_FOUND } else { NOT_EXECUTABLE });
        }
    };
    let process = child.id();
    signal::pass_to(process);
    let end = match signal::wait(process) {
        Ok(end) => end,
        Err(error) => {
            eprintln!("mallocgc: waiting for the program: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let blocks = file.read();
    drop(file);
    tell(exec, process, &blocks, end.peak_bytes);
    end.follow()
}

/// Says before the start what the files say.
fn warn_before(program: &Path) {
    let name = program.display();
    match elf::loads(program) {
        Loads::Libgc | Loads::Unknown => {}
        Loads::Nothing => eprintln!(
            "mallocgc: {name} does not name {SONAME}, nor does a library it names: unless it opens \
             one while it runs, it runs as it always does"
        ),
        Loads::Script(interpreter) => {
            if elf::loads(&interpreter) == Loads::Nothing {
                eprintln!(
                    "mallocgc: {name} is a script, and its interpreter does not name {SONAME}: what \
                     it starts may"
                );
            }
        }
    }
}

/// Says at the end what the heap did.
fn tell(exec: &Exec, process: u32, blocks: &[Statistics], peak_bytes: u64) {
    let own = blocks.iter().rfind(|block| block.process == process);
    match own.or(blocks.last()) {
        Some(block) => {
            eprint!("{}", block.report());
            eprintln!("mallocgc: the process had {:.1} MB at most", peak_bytes as f64 / 1e6);
            if blocks.len() > 1 {
                eprintln!("mallocgc: {} processes ran on this heap's library", blocks.len());
            }
        }
        None => eprintln!(
            "mallocgc: no statistics: the program did not load {SONAME}, or ended before it could write them"
        ),
    }
    if let Some(path) = exec.profile.as_ref().filter(|path| !path.exists()) {
        eprintln!("mallocgc: the library wrote no profile to {}", path.display());
    }
    if let Some(path) = &exec.stats {
        let json = serde_json::to_string_pretty(blocks).expect("statistics are plain data");
        if let Err(error) = std::fs::write(path, json + "\n") {
            eprintln!("mallocgc: {}: {error}", path.display());
        }
    }
}

/// The directory of our library: named by MALLOCGC_LIBGC, beside the command, or where it is built and
/// installed.
pub(crate) fn find_library() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("MALLOCGC_LIBGC") {
        let directory = PathBuf::from(directory);
        return directory.join(SONAME).is_file().then_some(directory);
    }
    let command = std::env::current_exe().ok()?;
    let beside = command.parent()?;
    ["", "libgc", "../libgc", "../lib/mallocgc"]
        .into_iter()
        .map(|place| beside.join(place))
        .find(|directory| directory.join(SONAME).is_file())
}

/// The loader's path with our directory in front.
fn library_path(library: &Path) -> std::ffi::OsString {
    let mut path = library.as_os_str().to_owned();
    if let Some(old) = std::env::var_os("LD_LIBRARY_PATH").filter(|old| !old.is_empty()) {
        path.push(":");
        path.push(old);
    }
    path
}

/// The file the library writes to; gone when this is.
struct StatisticsFile(PathBuf);

impl StatisticsFile {
    fn new() -> StatisticsFile {
        let name = format!("mallocgc-exec-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a command of the same number left.
        let _ = std::fs::remove_file(&path);
        StatisticsFile(path)
    }

    fn read(&self) -> Vec<Statistics> {
        std::fs::read_to_string(&self.0)
            .map_or_else(|_| Vec::new(), |text| Statistics::parse(&text))
    }
}

impl Drop for StatisticsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
