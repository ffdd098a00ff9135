//! What the process holds of the system: support for tests that look for leaks.

/// A count of the things a process can leak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Census {
    /// Mappings: lines of `/proc/self/maps`. The system merges neighbours with
    /// equal access, and malloc has mappings of its own, so allow some noise.
    pub mappings: usize,
    /// Bytes of address space in them.
    pub mapped_bytes: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Census {
    /// Counts now; `None` when `/proc` cannot be read.
    pub fn take() -> Option<Census> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mapped_bytes = maps.lines().filter_map(line_bytes).sum();
        // The directory being read is one descriptor too many.
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count() - 1;
        let threads = std::fs::read_dir("/proc/self/task").ok()?.count();
        Some(Census { mappings: maps.lines().count(), mapped_bytes, descriptors, threads })
    }
}

/// The size of the mapping that a line "start-end access …" describes.
fn line_bytes(line: &str) -> Option<usize> {
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    number(end)?.checked_sub(number(start)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Reservation;

    #[test]
    fn census_sees_a_mapping_and_a_descriptor() {
        // Other tests run beside this one, so only what is too large to be
        // theirs is asserted.
        let before = Census::take().unwrap();
        assert!(before.mappings > 5 && before.threads >= 1 && before.descriptors >= 1);
        let memory = Reservation::reserve(1 << 44, 1).unwrap();
        let during = Census::take().unwrap();
        assert!(during.mapped_bytes > before.mapped_bytes + (1 << 43));
        drop(memory);
        assert!(Census::take().unwrap().mapped_bytes < during.mapped_bytes - (1 << 43));
    }
}
