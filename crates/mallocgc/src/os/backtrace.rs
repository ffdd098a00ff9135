//! Stacks of the calling thread, and the files their addresses come from.
//!
//! Stacks are walked by the unwinder that `std` links for panics, so they come
//! from unwind tables and need no frame pointers; a frame costs a fifth of a
//! microsecond. The walk takes no lock of ours and does not allocate, but the
//! unwinder may take the loader's lock: never while threads are stopped by signal.

use core::ffi::{c_int, c_void};

/// The unwinder's state at a frame; only it looks inside.
#[repr(C)]
struct Context {
    opaque: [u8; 0],
}

/// What the unwinder calls for each frame, innermost first.
type Step = extern "C" fn(context: *mut Context, walk: *mut c_void) -> c_int;

/// Go on to the caller's frame.
const CONTINUE: c_int = 0;
/// Stop here; what "end of stack" is called in the unwinder's interface.
const STOP: c_int = 5;

unsafe extern "C" {
    fn _Unwind_Backtrace(step: Step, walk: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut Context) -> usize;
}

/// A walk on its way up.
struct Walk<'a> {
    frames: &'a mut [usize],
    used: usize,
    skip: usize,
}

extern "C" fn step(context: *mut Context, walk: *mut c_void) -> c_int {
    // SAFETY: `capture` passed its `Walk`, which nobody else touches until the
    // unwinder returns.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    // SAFETY: the unwinder gave us this context for the duration of the call.
    let address = unsafe { _Unwind_GetIP(context) };
    if address == 0 {
        return STOP;
    }
    if walk.skip > 0 {
        walk.skip -= 1;
        return CONTINUE;
    }
    match walk.frames.get_mut(walk.used) {
        Some(frame) => {
            *frame = address;
            walk.used += 1;
            CONTINUE
        }
        None => STOP,
    }
}

/// Fills `frames` with the return addresses of this thread's stack, innermost
/// first, leaving out `skip` frames; frame 0 is the caller of this function.
/// Returns how many were filled in.
///
/// ```
/// let mut frames = [0; 16];
/// let depth = mallocgc::os::backtrace::capture(&mut frames, 0);
/// assert!(depth > 0 && frames[..depth].iter().all(|&address| address != 0));
/// ```
#[inline(never)]
pub fn capture(frames: &mut [usize], skip: usize) -> usize {
    // The unwinder begins with this function itself.
    let mut walk = Walk { frames, used: 0, skip: skip + 1 };
    // SAFETY: `step` takes the `Walk` it is given here, and does not unwind.
    unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
    walk.used
}

/// A file whose code is mapped into this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub limit: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file, or the kernel's name for the mapping in brackets.
    pub path: String,
}

/// The executable mappings of this process, ascending; none when the system
/// does not tell. Allocates.
pub fn executable_mappings() -> Vec<Mapping> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines().filter_map(parse_mapping).collect()
}

/// Reads a line of `/proc/self/maps`, if it is an executable mapping with a name:
/// `start-limit permissions offset device inode path`.
fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let (field, tail) = rest.trim_start().split_once(' ')?;
        rest = tail;
        Some(field)
    };
    let (range, permissions, offset) = (field()?, field()?, field()?);
    let (_device, _inode) = (field()?, field()?);
    let (start, limit) = range.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let mapping = Mapping {
        start: number(start)?,
        limit: number(limit)?,
        offset: number(offset)?,
        path: rest.trim().to_owned(),
    };
    (permissions.contains('x') && !mapping.path.is_empty()).then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn inner(frames: &mut [usize], skip: usize) -> usize {
        std::hint::black_box(capture(frames, skip))
    }

    #[inline(never)]
    fn outer(frames: &mut [usize], skip: usize) -> usize {
        std::hint::black_box(inner(frames, skip))
    }

    #[test]
    fn skipping_drops_the_innermost_frames() {
        let (mut all, mut rest) = ([0; 64], [0; 64]);
        let mut depths = [0; 2];
        // One call site, so that both stacks have the same frames above `outer`.
        for (depth, (frames, skip)) in depths.iter_mut().zip([(&mut all, 0), (&mut rest, 2)]) {
            *depth = outer(frames, skip);
        }
        assert!(depths[0] > 3);
        assert_eq!(all[2..depths[0]], rest[..depths[1]]);
    }

    #[test]
    fn stacks_are_cut_where_the_room_ends() {
        let (mut all, mut few) = ([0; 64], [0; 3]);
        let mut depths = [0; 2];
        for (depth, frames) in depths.iter_mut().zip([&mut all[..], &mut few[..]]) {
            *depth = inner(frames, 0);
        }
        assert_eq!(depths[1], 3);
        assert_eq!(all[..3], few);
        assert_eq!(inner(&mut [], 0), 0);
        assert_eq!(inner(&mut all, 10_000), 0);
    }

    #[test]
    fn own_code_is_in_an_executable_mapping() {
        let mut frames = [0; 1];
        assert_eq!(inner(&mut frames, 0), 1);
        let here = frames[0] as u64;
        let mappings = executable_mappings();
        let mine = mappings.iter().find(|mapping| (mapping.start..mapping.limit).contains(&here));
        let path = &mine.expect("this code is mapped from its program").path;
        let program = std::env::current_exe().expect("the test has a program");
        assert_eq!(path, program.to_str().expect("its path is text"));
    }

    #[test]
    fn lines_of_the_map_are_read() {
        let line = "55d0a000-55d0b000 r-xp 00002000 08:01 1311 /opt/my prog (deleted)";
        let mapping = parse_mapping(line).expect("an executable mapping");
        assert_eq!(
            (mapping.start, mapping.limit, mapping.offset),
            (0x55d0_a000, 0x55d0_b000, 0x2000)
        );
        assert_eq!(mapping.path, "/opt/my prog (deleted)");
        for other in [
            "7f00-7f01 r--p 00000000 08:01 1311       /lib/x.so",
            "7f00-7f01 rwxp 00000000 00:00 0 ",
            "7f00-7f01 r-xp",
            "",
        ] {
            assert_eq!(parse_mapping(other), None, "{other:?}");
        }
    }
}
