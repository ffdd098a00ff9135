//! `cargo xtask libgc`: the library under the name that programs ask for.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the library and puts it into the target folder's `libgc/`.
pub(crate) fn build(root: &Path) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args([
            "build",
            "--release",
            "--package",
            "mallocgc-libgc",
            "--lib",
            "--features",
            "profile",
        ])
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err("the library does not build".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join("libgc");
    let place = folder.join("libgc.so.1");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::copy(target.join("release/libmallocgc_libgc.so"), &place))
        .map_err(|error| format!("cannot write {}: {error}", place.display()))?;
    println!("{}", place.display());
    Ok(())
}
