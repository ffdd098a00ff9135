//! Whether a program loads libgc: what its dynamic section names, and what those
//! libraries name in turn.
//!
//! The loader's search is followed as far as files tell: RPATH and RUNPATH with
//! `$ORIGIN`, LD_LIBRARY_PATH, the directories of `/etc/ld.so.conf`, the usual ones. A library
//! opened while the program runs cannot be known beforehand.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The name programs know the library by.
pub(super) const SONAME: &str = "libgc.so.1";

/// What the files say of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Loads {
    /// It names libgc, or a library it names does.
    Libgc,
    /// Nothing names it.
    Nothing,
    /// It is a script, of which only the interpreter is known.
    Script(PathBuf),
    /// It is no program of this system, or cannot be read.
    Unknown,
}

/// Where a program is that was given as on a command line.
pub(super) fn find_program(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| {
        file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}

/// Looks whether a program loads libgc.
pub(super) fn loads(program: &Path) -> Loads {
    let Ok(bytes) = std::fs::read(program) else { return Loads::Unknown };
    if let Some(line) = bytes.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|it| !it.is_empty());
        return match words.next() {
            Some(interpreter) => Loads::Script(PathBuf::from(OsStr::from_bytes(interpreter))),
            None => Loads::Unknown,
        };
    }
    let Some(first) = Dynamic::read(&bytes) else { return Loads::Unknown };
    let mut seen = BTreeSet::new();
    let mut open = vec![(program.to_path_buf(), first)];
    while let Some((file, dynamic)) = open.pop() {
        for name in &dynamic.needed {
            if name == SONAME {
                return Loads::Libgc;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let found = directories(&file, &dynamic).into_iter().find_map(|directory| {
                let path = directory.join(name);
                let bytes = std::fs::read(&path).ok()?;
                Some((path, Dynamic::read(&bytes)?))
            });
            open.extend(found);
        }
    }
    Loads::Nothing
}

/// What a dynamic section says.
struct Dynamic {
    needed: Vec<String>,
    paths: Vec<String>,
}

impl Dynamic {
    /// That of a file of this machine's kind; without one nothing is needed.
    fn read(bytes: &[u8]) -> Option<Dynamic> {
        let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, bytes).ok()?;
        let mut dynamic = Dynamic { needed: Vec::new(), paths: Vec::new() };
        let Some((entries, link)) = sections.dynamic(endian, bytes).ok()? else {
            return Some(dynamic);
        };
        let strings = sections.strings(endian, bytes, link).ok()?;
        for entry in entries {
            let tag = entry.tag(endian);
            let list = match tag {
                DT_NEEDED => &mut dynamic.needed,
                DT_RPATH | DT_RUNPATH => &mut dynamic.paths,
                _ => continue,
            };
            if let Ok(text) = entry.string(endian, strings) {
                list.push(String::from_utf8_lossy(text).into_owned());
            }
        }
        Some(dynamic)
    }
}

/// Where the loader looks for what `file` needs.
fn directories(file: &Path, dynamic: &Dynamic) -> Vec<PathBuf> {
    let origin = file.parent().unwrap_or(Path::new(".")).to_string_lossy().into_owned();
    let mut found = Vec::new();
    for path in dynamic.paths.iter().flat_map(|paths| paths.split(':')) {
        found.push(PathBuf::from(path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
    }
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        found.extend(std::env::split_paths(&paths));
    }
    let mut configurations = vec![PathBuf::from("/etc/ld.so.conf")];
    if let Ok(entries) = std::fs::read_dir("/etc/ld.so.conf.d") {
        configurations.extend(entries.flatten().map(|entry| entry.path()));
    }
    for configuration in configurations {
        let text = std::fs::read_to_string(configuration).unwrap_or_default();
        found.extend(text.lines().filter(|line| line.starts_with('/')).map(PathBuf::from));
    }
    found.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
    found
}
