//! A profile of where the program allocates, written when it ends.
//!
//! MALLOCGC_PROFILE names the file. Allocations are sampled, one in half a mebibyte or as MALLOCGC_PROFILE_RATE says in
//! bytes; the stack of each is walked by unwind tables, inside the heap and so with no thread stopped, and needs no lock of the
//! loader's where the C library finds tables without (glibc from 2.35 on). The file is in pprof's format, without the library's own
//! frames. Children of the process that is profiled have files of their own, with their number behind the name.
//!
//! Protection: written at exit by one thread; what others allocate meanwhile may be in it or not.

use crate::collect::{self, Why};
use crate::say;
use crate::state::heap;
use core::ffi::{CStr, c_char};
use core::fmt::Write as _;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Relaxed;
use mallocgc::observe::{ProfileSnapshot, function_name};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Mean bytes between samples.
pub const RATE: usize = 512 << 10;
/// Sites that the statistics tell.
const SITES: usize = 10;
/// The process that has the file's name for itself, in the environment of its children.
const OWNER: &CStr = c"MALLOCGC_PROFILE_PROCESS";

/// The file's name; null when nothing is profiled.
static FILE: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Looks whether the program is to be profiled.
pub unsafe fn init() -> bool {
    let file = libc::getenv(c"MALLOCGC_PROFILE".as_ptr());
    if file.is_null() || *file == 0 {
        return false;
    }
    FILE.store(libc::strdup(file), Relaxed);
    let own = say::Text::new(format_args!("{}\0", libc::getpid()));
    libc::setenv(OWNER.as_ptr(), own.as_bytes().as_ptr().cast(), 0);
    true
}

/// The file of this process.
unsafe fn path() -> Option<PathBuf> {
    let file = FILE.load(Relaxed);
    if file.is_null() {
        return None;
    }
    let mut path = OsStr::from_bytes(CStr::from_ptr(file).to_bytes()).to_owned();
    let owner = libc::getenv(OWNER.as_ptr());
    if !owner.is_null() && libc::atoi(owner) != libc::getpid() {
        path.push(format!(".{}", libc::getpid()));
    }
    Some(path.into())
}

/// Writes the profile, and the lines of the statistics that tell the sites with most bytes.
pub unsafe fn at_exit(lines: &mut String) {
    let Some(path) = path() else { return };
    // What was allocated since the last cycle is told by two more.
    collect::collect(Why::Short);
    collect::collect(Why::Short);
    let mut snapshot = heap().profile();
    for record in &mut snapshot.records {
        if let Some(stack) = &mut record.stack {
            let own = stack.iter().take_while(|&&address| is_own(address)).count();
            // A stack of ours alone is of a thread that the library has made.
            if own < stack.len() {
                stack.drain(..own);
            }
        }
    }
    let written = std::fs::File::create(&path).and_then(|mut file| snapshot.write_pprof(&mut file));
    if let Err(error) = written {
        say::log(format_args!("no profile can be written to {}: {error}", path.display()));
    }
    for (name, [bytes, objects]) in sites(&snapshot) {
        let _ = writeln!(lines, "site {bytes} {objects} {name}");
    }
}

/// Bytes and objects allocated by each innermost function of the program, the largest first.
unsafe fn sites(snapshot: &ProfileSnapshot) -> Vec<(String, [u64; 2])> {
    let mut sums = HashMap::<String, [u64; 2]>::new();
    let mut names = HashMap::<usize, String>::new();
    for record in &snapshot.records {
        let values = record.unskewed(snapshot.rate);
        let name = match record.stack.as_deref() {
            Some(&[address, ..]) => names.entry(address).or_insert_with(|| name_of(address)),
            _ => &mut "?".to_owned(),
        };
        let sum = sums.entry(name.clone()).or_default();
        sum[0] += values.alloc_bytes;
        sum[1] += values.alloc_objects;
    }
    let mut sites: Vec<_> = sums.into_iter().collect();
    sites.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sites.truncate(SITES);
    sites
}

/// What the loader knows of an address: the file's begin and name, and the exported symbol before it.
unsafe fn loaded(address: usize) -> Option<libc::Dl_info> {
    let mut info = core::mem::zeroed::<libc::Dl_info>();
    (libc::dladdr(address as *const _, &raw mut info) != 0).then_some(info)
}

/// Whether code is this library's.
unsafe fn is_own(address: usize) -> bool {
    let own = loaded(is_own as *const () as usize);
    let base = |info: libc::Dl_info| info.dli_fbase;
    own.map(base) == loaded(address - 1).map(base)
}

/// A function's name, or its place in its file.
unsafe fn name_of(address: usize) -> String {
    let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
    // The call lies before the address it returns to.
    match (function_name(address), loaded(address - 1)) {
        (Some(name), _) => name,
        (None, Some(info)) if !info.dli_sname.is_null() => text(info.dli_sname),
        (None, Some(info)) if !info.dli_fname.is_null() => {
            let file = text(info.dli_fname);
            let file = file.rsplit('/').next().unwrap_or_default();
            format!("{file}+{:#x}", address - info.dli_fbase as usize)
        }
        (None, _) => format!("{address:#x}"),
    }
}
