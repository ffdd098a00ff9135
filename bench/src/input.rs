//! Which files a workload on real input reads.
//!
//! The choice is made once, by the command, and handed to every program as a list: so all of them read the
//! same files in the same order.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file with a zero among so many first bytes is not text.
const SNIFF_BYTES: u64 = 8192;

/// Text files below `roots`, in the order of the roots and within one sorted by path, as long as their sizes
/// sum up to at most `limit_bytes`. A file that is too large for what is left is passed over; the search
/// ends when less than a 64th of the limit is left.
///
/// Left out are empty files, files with a zero byte near their beginning, names that begin with a dot or are
/// not one line of UTF-8, links, and directories with a `CACHEDIR.TAG` (build output).
pub fn text_files(roots: &[PathBuf], limit_bytes: u64) -> io::Result<Vec<PathBuf>> {
    let mut choice = Choice { paths: Vec::new(), left: limit_bytes, enough: limit_bytes / 64 };
    for root in roots {
        choice.visit(&fs::canonicalize(root)?)?;
    }
    Ok(choice.paths)
}

struct Choice {
    paths: Vec<PathBuf>,
    left: u64,
    enough: u64,
}

impl Choice {
    fn visit(&mut self, directory: &Path) -> io::Result<()> {
        if directory.join("CACHEDIR.TAG").exists() {
            return Ok(());
        }
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if self.left <= self.enough {
                break;
            }
            let (path, kind) = (entry.path(), entry.file_type()?);
            if path.to_str().is_none_or(|text| text.contains(['\n', '\r']))
                || entry.file_name().as_encoded_bytes().starts_with(b".")
            {
                continue;
            }
            if kind.is_dir() {
                self.visit(&path)?;
            } else if kind.is_file() {
                let bytes = entry.metadata()?.len();
                if 0 < bytes && bytes <= self.left && is_text(&path) {
                    self.left -= bytes;
                    self.paths.push(path);
                }
            }
        }
        Ok(())
    }
}

/// A file that cannot be read is no text either.
fn is_text(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SNIFF_BYTES).read_to_end(&mut start));
    read.is_ok() && !start.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::text_files;
    use std::fs;

    #[test]
    fn text_is_chosen_in_order_and_within_the_limit() {
        let root = std::env::temp_dir().join(format!("mallocgc-input-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for directory in ["b", "a", ".git", "target"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("target/CACHEDIR.TAG"), "Signature").unwrap();
        let sizes =
            [("b/2", 40), ("b/10", 50), ("a/z", 30), (".git/x", 5), ("target/y", 5), ("c", 1)];
        for (name, size) in sizes {
            fs::write(root.join(name), vec![b'x'; size]).unwrap();
        }
        fs::write(root.join("a/binary"), b"x\0x").unwrap();
        fs::write(root.join("a/empty"), b"").unwrap();
        let base = fs::canonicalize(&root).unwrap();
        let names = |limit| -> Vec<String> {
            let paths = text_files(std::slice::from_ref(&root), limit).unwrap();
            let short = |path: &std::path::PathBuf| {
                path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned()
            };
            paths.iter().map(short).collect()
        };
        assert_eq!(names(1 << 20), ["a/z", "b/10", "b/2", "c"]);
        assert_eq!(names(75), ["a/z", "b/2", "c"]);
        assert_eq!(names(64), ["a/z", "c"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
