//! The files that a workload on real input reads, as a list on disk that every program is given.

use crate::peers;
use mallocgc_bench::text_files;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file with one path a line. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct FileList {
    path: PathBuf,
}

impl FileList {
    /// Lists text files of up to `limit_bytes` in all below `directory`; by default below the workspace and the
    /// toolchain's installed documentation.
    pub(crate) fn make(directory: Option<&Path>, limit_bytes: u64) -> io::Result<FileList> {
        let roots = match directory {
            Some(directory) => vec![directory.to_owned()],
            None => [peers::workspace()].into_iter().chain(documentation()).collect(),
        };
        let files = text_files(&roots, limit_bytes)?;
        if files.is_empty() {
            return Err(io::Error::other(format!("no text files in {}", roots[0].display())));
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only that numbers differ matters.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mallocgc-bench-{}-{number}.list", std::process::id());
        let list = FileList { path: std::env::temp_dir().join(name) };
        let lines = files.iter().map(|file| format!("{}\n", file.display()));
        std::fs::write(&list.path, lines.collect::<String>())?;
        Ok(list)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileList {
    fn drop(&mut self) {
        // A temporary file left behind harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the toolchain keeps its documentation, if it has any.
fn documentation() -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let directory = Path::new(sysroot.trim()).join("share/doc");
    directory.is_dir().then_some(directory)
}
