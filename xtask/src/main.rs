//! Generators and checks of the workspace: `cargo xtask <command>`.

mod fast_path;
mod install;
mod libgc;
mod size_classes;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Generators and checks of the mallocgc workspace")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Computes the size classes and writes their table.
    SizeClasses {
        /// Write nothing; fail when the table is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Checks the project's own rules: layers, headers, allocation, unsafe.
    Tidy,
    /// Builds the C interface and puts header, libraries and mallocgc.pc under a prefix.
    Install {
        /// Where to: DIR/include, DIR/lib.
        #[arg(long, value_name = "DIR")]
        prefix: PathBuf,
        /// Cargo's profile to build with.
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// Builds `libgc.so.1` into `target/libgc/`.
    Libgc,
    /// Counts the instructions of an allocation under callgrind; fails above 25.
    FastPath,
}

fn main() -> ExitCode {
    let root = workspace_root();
    let result = match Arguments::parse().command {
        Command::SizeClasses { check: false } => write_size_classes(&root),
        Command::SizeClasses { check: true } => check_size_classes(&root),
        Command::Tidy => check_tidy(&root),
        Command::Install { prefix, profile } => install::run(&root, &prefix, &profile),
        Command::Libgc => libgc::build(&root),
        Command::FastPath => fast_path::run(&root),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The folder above this crate's.
fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_path_buf()
}

fn table_path(root: &Path) -> PathBuf {
    root.join("crates/mallocgc/src/base/size_class/table.rs")
}

fn write_size_classes(root: &Path) -> Result<(), String> {
    let path = table_path(root);
    std::fs::write(&path, size_classes::table_source())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn check_size_classes(root: &Path) -> Result<(), String> {
    let path = table_path(root);
    match std::fs::read_to_string(&path) {
        Ok(text) if text == size_classes::table_source() => Ok(()),
        Ok(_) => Err(format!("{} is out of date: run `cargo xtask size-classes`", path.display())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn check_tidy(root: &Path) -> Result<(), String> {
    let found = tidy::check(root)?;
    for violation in &found {
        eprintln!("{violation}");
    }
    check_size_classes(root)?;
    match found.len() {
        0 => Ok(()),
        count => Err(format!("{count} rules broken; they are listed in xtask/src/tidy/mod.rs")),
    }
}
