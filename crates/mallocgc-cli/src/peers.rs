//! The peers' programs: found, or built on demand from `bench/peers/` when their toolchain is there.
//!
//! Programs go to `peers/` in the target directory. `MALLOCGC_BENCH_GO`, `..._LIBGC`, `..._MIMALLOC`,
//! `..._MALLOC`, `..._GC_ARENA` and so on name ready programs to use instead, for machines without the toolchain;
//! `MALLOCGC_BENCH_MALLOCGC` names another build of this command to measure.

use crate::child;
use mallocgc_bench::Runtime;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How to start a runtime's program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Comes before the arguments that every program takes.
    pub(crate) subcommand: Option<&'static str>,
    /// Where it finds its libraries first.
    pub(crate) libraries: Option<PathBuf>,
}

impl Program {
    fn new(path: PathBuf, subcommand: Option<&'static str>) -> Program {
        Program { path, subcommand, libraries: None }
    }
}

/// Why a peer has no program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// Its toolchain or library is not on this machine.
    NotInstalled(String),
    /// The toolchain is there and failed.
    NotBuilt(String),
}

/// A build that takes longer hangs, most likely on the network.
const BUILD_LIMIT: Duration = Duration::from_secs(300);

/// The program of `runtime`, built if need be.
pub(crate) fn program(runtime: Runtime) -> Result<Program, Missing> {
    let exe = std::env::current_exe()
        .map_err(|error| Missing::NotBuilt(format!("own program not found: {error}")))?;
    let name = runtime.name().to_uppercase().replace('-', "_");
    let variable = format!("MALLOCGC_BENCH_{name}");
    let ready = std::env::var_os(variable).map(PathBuf::from);
    if runtime == Runtime::Mallocgc {
        return Ok(Program::new(ready.unwrap_or(exe), Some("bench-run")));
    }
    if let Some(path) = ready {
        return Ok(Program::new(path, None));
    }
    let sources = workspace().join("bench/peers");
    if !sources.is_dir() {
        return Err(Missing::NotBuilt("the project's sources are not there".to_owned()));
    }
    let target = target_directory(&exe).join("peers");
    std::fs::create_dir_all(&target)
        .map_err(|error| Missing::NotBuilt(format!("{}: {error}", target.display())))?;
    let path = match runtime {
        Runtime::Mallocgc => unreachable!("answered above"),
        Runtime::Go => build_go(&sources.join("go"), &target)?,
        Runtime::Libgc | Runtime::DropIn => build_libgc(&sources.join("libgc"), &target)?,
        Runtime::Mimalloc | Runtime::GcArenaMimalloc => {
            build_rust(&sources.join("rust"), &target, "mimalloc")?
        }
        Runtime::Malloc | Runtime::GcArena | Runtime::Rc => {
            build_rust(&sources.join("rust"), &target, "malloc")?
        }
    };
    let subcommand = match runtime {
        Runtime::GcArena | Runtime::GcArenaMimalloc => Some("gc-arena"),
        Runtime::Rc => Some("rc"),
        _ => None,
    };
    let libraries = match runtime {
        Runtime::DropIn => Some(own_libgc()?),
        _ => None,
    };
    Ok(Program { libraries, ..Program::new(path, subcommand) })
}

/// The directory of this project's `libgc.so.1`.
fn own_libgc() -> Result<PathBuf, Missing> {
    let missing = || Missing::NotInstalled("libgc.so.1 of ours: cargo xtask libgc".to_owned());
    crate::exec::find_library().ok_or_else(missing)
}

/// The workspace this command was compiled from.
pub(crate) fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The target directory this command lies in; the workspace's own when it was moved elsewhere.
fn target_directory(exe: &Path) -> PathBuf {
    match exe.ancestors().nth(2) {
        Some(directory) if directory.join("CACHEDIR.TAG").exists() => directory.to_owned(),
        _ => workspace().join("target"),
    }
}

fn build_go(sources: &Path, target: &Path) -> Result<PathBuf, Missing> {
    let output = target.join("go-peer");
    let mut command = Command::new("go");
    // The toolchain that is installed is the one we compare with.
    command.env("GOTOOLCHAIN", "local").current_dir(sources);
    command.arg("build").arg("-o").arg(&output).arg(".");
    build(command, "go")?;
    Ok(output)
}

fn build_libgc(sources: &Path, target: &Path) -> Result<PathBuf, Missing> {
    let output = target.join("libgc-peer");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut files: Vec<PathBuf> = std::fs::read_dir(sources)
        .map_err(|error| Missing::NotBuilt(format!("{}: {error}", sources.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    let mut command = Command::new(&compiler);
    command.args(["-std=gnu11", "-O2", "-g", "-pthread", "-o"]).arg(&output).args(&files);
    command.args(["-lgc", "-lm"]);
    match build(command, &compiler.to_string_lossy()) {
        Err(Missing::NotBuilt(error)) if error.contains("gc.h") || error.contains("-lgc") => {
            Err(Missing::NotInstalled("the Boehm collector's gc.h and libgc".to_owned()))
        }
        Err(missing) => Err(missing),
        Ok(()) => Ok(output),
    }
}

fn build_rust(sources: &Path, target: &Path, feature: &str) -> Result<PathBuf, Missing> {
    let target = target.join(format!("rust-{feature}"));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--quiet", "--locked", "--no-default-features"]);
    command.args(["--features", feature]);
    command.arg("--manifest-path").arg(sources.join("Cargo.toml"));
    command.arg("--target-dir").arg(&target);
    build(command, "cargo")?;
    Ok(target.join("release/rust-peer"))
}

fn build(command: Command, tool: &str) -> Result<(), Missing> {
    let finished = match child::run(command, BUILD_LIMIT) {
        Ok(finished) => finished,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Missing::NotInstalled(format!("{tool} is not on the path")));
        }
        Err(error) => return Err(Missing::NotBuilt(format!("{tool}: {error}"))),
    };
    if finished.timed_out {
        return Err(Missing::NotBuilt(format!("{tool} took more than {BUILD_LIMIT:?}")));
    }
    if finished.status.success() {
        return Ok(());
    }
    let error = finished.stderr.lines().find(|line| line.contains("error"));
    let line = error.or(finished.stderr.lines().next()).unwrap_or("no message");
    Err(Missing::NotBuilt(format!("{tool}: {}", line.trim())))
}
