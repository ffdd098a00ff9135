//! `cargo xtask install --prefix DIR`: the C interface under a prefix.
//!
//! ```text
//! DIR/include/mallocgc.h
//! DIR/lib/libmallocgc.so.0.1.0   and the links libmallocgc.so.0 (the soname), libmallocgc.so
//! DIR/lib/libmallocgc.a
//! DIR/lib/pkgconfig/mallocgc.pc
//! ```
//!
//! What is there already is replaced by renaming, so that programs that run
//! keep the library they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds the libraries and puts everything under `prefix`.
pub(crate) fn run(root: &Path, prefix: &Path, profile: &str) -> Result<(), String> {
    let prefix = std::path::absolute(prefix).map_err(|error| format!("the prefix: {error}"))?;
    let built = build(root, profile)?;
    let source = root.join("crates/mallocgc-capi");
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let pkgconfig = lib.join("pkgconfig");
    for directory in [&include, &lib, &pkgconfig] {
        fs::create_dir_all(directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    }
    put(&source.join("include/mallocgc.h"), &include.join("mallocgc.h"))?;
    put(&built.join("libmallocgc_capi.a"), &lib.join("libmallocgc.a"))?;
    let versioned = format!("libmallocgc.so.{VERSION}");
    put(&built.join("libmallocgc_capi.so"), &lib.join(&versioned))?;
    link(&versioned, &lib.join("libmallocgc.so.0"))?;
    link("libmallocgc.so.0", &lib.join("libmallocgc.so"))?;
    let template = fs::read_to_string(source.join("mallocgc.pc.in"))
        .map_err(|error| format!("cannot read mallocgc.pc.in: {error}"))?;
    let prefix_text = prefix.to_str().ok_or("the prefix is no text")?;
    let text = template.replace("@PREFIX@", prefix_text).replace("@VERSION@", VERSION);
    fs::write(pkgconfig.join("mallocgc.pc"), text)
        .map_err(|error| format!("cannot write mallocgc.pc: {error}"))?;
    println!("installed mallocgc {VERSION} under {}", prefix.display());
    Ok(())
}

/// Builds the crate; the directory its libraries are in.
fn build(root: &Path, profile: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "-p", "mallocgc-capi", "--features", "profile", "--profile", profile])
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build failed: {status}"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    Ok(target.join(if profile == "dev" { "debug" } else { profile }))
}

/// Copies a file beside its place and renames it into it.
fn put(from: &Path, to: &Path) -> Result<(), String> {
    let beside = to.with_extension("new");
    fs::copy(from, &beside)
        .and_then(|_| fs::rename(&beside, to))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

/// Makes a link in the same directory, in place of what was there.
fn link(target: &str, place: &Path) -> Result<(), String> {
    let beside = place.with_extension("new");
    let _ = fs::remove_file(&beside);
    std::os::unix::fs::symlink(target, &beside)
        .and_then(|()| fs::rename(&beside, place))
        .map_err(|error| format!("cannot link {}: {error}", place.display()))
}
