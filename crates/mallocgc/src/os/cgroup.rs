//! The memory limit of the control group that the process is in.
//!
//! A container's limit is a number in a file, and so is that of every group above it;
//! the smallest holds. `/proc/self/cgroup` names the group, `/proc/self/mountinfo` says
//! where its hierarchy is mounted and which part of it: in a container often only the
//! part below the container's own group. There are two versions of hierarchies, and
//! a system may have both.
//!
//! | version | line of `/proc/self/cgroup` | file |
//! |---|---|---|
//! | 1 | `4:memory:/a/b` | `memory.limit_in_bytes` |
//! | 2 | `0::/a/b` | `memory.max` |
//!
//! What cannot be read or understood limits nothing. The numbers may change while the
//! process runs; read them again if that matters. `memory.high`, beyond which the
//! system slows a group down, is no limit.
//!
//! Finding is apart from reading: `Mount::of` and `limit` are given texts.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Version 1 writes "no limit" as the largest multiple of the page size below 2^63;
/// pages have 64 KiB at most.
const V1_UNLIMITED: u64 = (1 << 63) - (64 << 10);

/// Bytes that the process's control groups allow it, the smallest if there are several;
/// `None` without a limit. Reads a few files.
pub fn memory_limit_bytes() -> Option<u64> {
    memory_limit_under(Path::new("/"))
}

/// The same in a system whose files are under `root`: one in a test, or the
/// host's, mounted elsewhere.
pub fn memory_limit_under(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let limits = [Version::V1, Version::V2].into_iter().filter_map(|version| {
        let group = version.group(&groups)?;
        let mount = Mount::of(version, &mounts)?;
        mount
            .ancestors(group)
            .filter_map(|directory| {
                let inside = directory.strip_prefix("/").unwrap_or(&directory);
                let text = fs::read_to_string(root.join(inside).join(version.file())).ok()?;
                limit(&text)
            })
            .min()
    });
    limits.min()
}

/// The number in a limit's file; `None` if it is none, or means no limit.
fn limit(text: &str) -> Option<u64> {
    // `max` is no number.
    text.trim().parse().ok().filter(|&bytes| bytes < V1_UNLIMITED)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V1,
    V2,
}

impl Version {
    fn file(self) -> &'static str {
        match self {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        }
    }

    /// The path of the process's group, from `/proc/self/cgroup`.
    fn group(self, text: &str) -> Option<&str> {
        text.lines().find_map(|line| {
            // A path may have colons.
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let found = match self {
                Version::V1 => controllers.split(',').any(|name| name == "memory"),
                Version::V2 => number == "0" && controllers.is_empty(),
            };
            found.then_some(path)
        })
    }
}

/// A mounted hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    /// The group that is seen at `point`.
    group: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// The hierarchy that limits memory, from `/proc/self/mountinfo`.
    fn of(version: Version, text: &str) -> Option<Mount> {
        text.lines().find_map(|line| {
            // id parent device group point options… - type source superoptions
            let (mount, system) = line.split_once(" - ")?;
            let mut system = system.split(' ');
            let (kind, options) = (system.next()?, system.nth(1)?);
            let found = match version {
                Version::V1 => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
                Version::V2 => kind == "cgroup2",
            };
            let mut mount = mount.split(' ').skip(3);
            let (group, point) = (mount.next()?, mount.next()?);
            found.then(|| Mount { group: unescape(group), point: unescape(point) })
        })
    }

    /// The directories of a group and of those above it, as far as they can be seen.
    fn ancestors(&self, group: &str) -> impl Iterator<Item = PathBuf> {
        // A group outside of what is mounted is of a namespace that cannot see it:
        // its own directory is then the mount point.
        let below = match Path::new(group).strip_prefix(&self.group) {
            Ok(below) if !below.starts_with("..") => below,
            _ => Path::new(""),
        };
        let directories: Vec<PathBuf> =
            below.ancestors().map(|below| self.point.join(below)).collect();
        directories.into_iter()
    }
}

/// `mountinfo` writes blanks and backslashes as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| {
            let digits = core::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const MIB: u64 = 1 << 20;

    const V1_MOUNT: &str =
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
    const V2_MOUNT: &str = "41 31 0:38 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
    const OTHERS: &str = "22 27 0:21 / /proc rw - proc proc rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\nnonsense\n\n";

    /// A directory that is gone at the end.
    struct Root(PathBuf);

    impl Root {
        fn new(files: &[(&str, &str)]) -> Root {
            // Relaxed: the numbers need only differ.
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("mallocgc-cgroup-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
            let root = Root(std::env::temp_dir().join(name));
            for (path, text) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            root
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn assert_limit(wanted: Option<u64>, groups: &str, mounts: &str, files: &[(&str, &str)]) {
        let mut all = vec![("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)];
        all.extend(files);
        let root = Root::new(&all);
        assert_eq!(memory_limit_under(&root.0), wanted, "{groups} {mounts} {files:?}");
    }

    #[test]
    fn the_smallest_limit_of_all_ancestors_holds() {
        let mounts = [OTHERS, V2_MOUNT].concat();
        for (outer, inner, wanted) in [
            ("max\n", "max\n", None),
            ("max\n", "1048576\n", Some(MIB)),
            ("1048576\n", "max\n", Some(MIB)),
            ("1048576\n", "2097152\n", Some(MIB)),
            ("2097152\n", "1048576\n", Some(MIB)),
            ("0\n", "1048576\n", Some(0)),
        ] {
            let files = [
                ("sys/fs/cgroup/a/memory.max", outer),
                ("sys/fs/cgroup/a/b/memory.max", inner),
                ("sys/fs/cgroup/a/b/memory.high", "1\n"),
                ("sys/fs/cgroup/other/memory.max", "1\n"),
            ];
            assert_limit(wanted, "0::/a/b\n", &mounts, &files);
        }
    }

    #[test]
    fn version_1_is_read_and_its_word_for_no_limit() {
        let mounts = [OTHERS, V1_MOUNT].concat();
        let groups = "9:name=systemd:/x\n4:cpu,memory:/a:b\n1:cpu:/\n";
        for (text, wanted) in [
            ("9223372036854771712\n", None),
            ("9223372036854710272\n", None),
            ("18446744073709551615\n", None),
            ("1048576\n", Some(MIB)),
        ] {
            let files = [
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", text),
            ];
            assert_limit(wanted, groups, &mounts, &files);
        }
    }

    #[test]
    fn of_two_hierarchies_the_smaller_limit_holds() {
        let mounts = "1 1 0:1 / /one rw - cgroup x rw,memory\n1 1 0:1 / /two rw - cgroup2 x rw\n";
        let groups = "4:memory:/a\n0::/b\n";
        for (first, second) in [("5000\n", "7000\n"), ("7000\n", "5000\n"), ("5000\n", "max\n")] {
            let files = [("one/a/memory.limit_in_bytes", first), ("two/b/memory.max", second)];
            assert_limit(Some(5000), groups, mounts, &files);
        }
    }

    /// A container may see its own group only, at the mount point, under the name that it has
    /// outside, or under none.
    #[test]
    fn a_container_sees_its_own_group() {
        let files = [("sys/fs/cgroup/memory.max", "5000\n")];
        let mounts = V2_MOUNT.replace(" / /", " /docker/f00 /");
        for group in ["/docker/f00", "/docker/f00/inner", "/elsewhere"] {
            assert_limit(Some(5000), &format!("0::{group}\n"), &mounts, &files);
        }
        assert_limit(Some(5000), "0::/../../other\n", V2_MOUNT, &files);
        assert_limit(Some(5000), "0::/\n", V2_MOUNT, &files);
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(memory_limit_under(Path::new("/nowhere")), None);
        assert_limit(None, "", "", &[]);
        assert_limit(None, "0::/a\n", OTHERS, &[]);
        assert_limit(None, "0\n0:\n::\n", V2_MOUNT, &[]);
        let file = |text| [("sys/fs/cgroup/a/memory.max", text)];
        for text in ["", "much", "-1", "1e6", "99999999999999999999999"] {
            assert_limit(None, "0::/a\n", V2_MOUNT, &file(text));
        }
    }

    #[test]
    fn escapes_in_mount_points_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(r"/a\04"), Path::new(r"/a\04"));
        assert_eq!(unescape(r"/a\999"), Path::new(r"/a\999"));
        let mounts = r"1 1 0:1 / /my\040groups rw - cgroup2 x rw";
        assert_limit(Some(9), "0::/\n", mounts, &[("my groups/memory.max", "9\n")]);
    }

    /// Whatever this machine says, it is not a limit below what runs.
    #[test]
    fn this_process_is_within_its_limit() {
        if let Some(bytes) = memory_limit_bytes() {
            assert!(bytes > MIB, "{bytes}");
        }
    }
}
