//! The operating system: memory, threads, clocks, fences. The only user of `libc`.
//!
//! Every call that the system may refuse passes [`fault`] first, so that a test
//! can refuse it in the system's place. What cannot be refused (releasing
//! memory, reading a clock) returns no error.
//!
//! Nothing here keeps state of a heap. The process-wide state is what the
//! system itself keeps per process: the registration for fences and, in tests,
//! the injected faults.

#[cfg(not(target_os = "linux"))]
compile_error!("mallocgc supports Linux; `os` is the layer to port");

pub mod backtrace;
pub mod census;
pub mod cgroup;
pub mod clock;
pub mod fault;
pub mod sanitizer;
pub mod fence;
pub mod memory;
pub mod zero;

pub use clock::{now_nanos, process_cpu_nanos, thread_cpu_nanos, wall_clock_nanos};
pub use fence::{full_fence, heavy_fence, is_asymmetric, light_fence};
pub use memory::{
    HugePages, Reservation, page_size, physical_memory_bytes, prefetch, resident_bytes,
};
pub use zero::{zero, zero_streaming};

use std::thread::JoinHandle;

/// A call that the system refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError {
    /// The name of the system call.
    pub call: &'static str,
    /// The system's error number.
    pub errno: i32,
}

impl OsError {
    /// The error that the last failed call of this thread left behind.
    fn last(call: &'static str) -> OsError {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        OsError { call, errno }
    }
}

impl core::fmt::Display for OsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.errno {
            libc::ENOMEM => "out of memory",
            libc::EAGAIN => "resource exhausted",
            libc::EINVAL => "invalid argument",
            libc::EPERM | libc::EACCES => "not permitted",
            libc::ENOSYS => "not supported",
            _ => "refused",
        };
        write!(f, "{}: {what} (errno {})", self.call, self.errno)
    }
}

impl core::error::Error for OsError {}

/// Writes to standard error, ignoring failure: there is nobody to tell.
pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: the pointer and the length come from one slice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Starts a thread. Its name is cut to the system's 15 bytes.
///
/// # Errors
///
/// When the system has no more threads (`EAGAIN`).
pub fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OsError> {
    fault::check("clone", libc::EAGAIN)?;
    std::thread::Builder::new().name(name.to_owned()).spawn(f).map_err(|error| OsError {
        call: "clone",
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
    })
}

/// As [`spawn`], for a thread that no program's signal handler should run on: all signals
/// that can be are blocked there, but those that a thread causes itself and the profiler's.
///
/// # Errors
///
/// As of [`spawn`].
pub fn spawn_undisturbed(
    name: &str,
    f: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OsError> {
    use libc::{SIG_SETMASK, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGPROF, SIGSEGV, SIGSYS, SIGTRAP};
    // SAFETY: the sets are filled before they are used; a new thread begins with the mask
    // of its maker, which gets its own back.
    unsafe {
        let mut blocked: libc::sigset_t = core::mem::zeroed();
        let mut before: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&mut blocked);
        for signal in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGPROF, SIGSEGV, SIGSYS, SIGTRAP] {
            libc::sigdelset(&mut blocked, signal);
        }
        libc::pthread_sigmask(SIG_SETMASK, &blocked, &mut before);
        let spawned = spawn(name, f);
        libc::pthread_sigmask(SIG_SETMASK, &before, core::ptr::null_mut());
        spawned
    }
}

/// The system's number of the calling thread; a system call each time.
pub fn thread_id() -> u32 {
    // SAFETY: takes no argument and cannot fail.
    let id = unsafe { libc::gettid() };
    id as u32
}

/// Processors this process may use at once, one at least: affinity mask and
/// control-group quota count. Reads files; ask once.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

/// A number that differs from call to call and from process to process.
pub fn random_seed() -> u64 {
    let mut seed = 0u64;
    let refused = fault::check("getrandom", libc::ENOSYS).is_err() || {
        // SAFETY: the pointer and the length describe `seed`.
        let filled = unsafe {
            libc::getrandom((&raw mut seed).cast(), size_of::<u64>(), libc::GRND_NONBLOCK)
        };
        filled != size_of::<u64>() as isize
    };
    if refused {
        // Good enough to spread samples and hash tables; spread the clock's low bits.
        let mixed = now_nanos() ^ (u64::from(thread_id()) << 40) ^ (&raw const seed).addr() as u64;
        seed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_even_when_the_system_gives_none() {
        assert_ne!(random_seed(), random_seed());
        let guard = fault::fail_nth(1);
        let without = random_seed();
        assert_eq!(guard.failed(), 1);
        drop(guard);
        assert_ne!(without, random_seed());
    }

    #[test]
    fn spawn_runs_under_its_name_and_reports_refusal() {
        let thread = spawn("mallocgc-test", || {
            assert_eq!(std::thread::current().name(), Some("mallocgc-test"));
            assert_ne!(thread_id(), 0);
        });
        thread.unwrap().join().unwrap();

        let _guard = fault::fail_nth(1);
        let error = spawn("mallocgc-test", || ()).unwrap_err();
        assert_eq!(error, OsError { call: "clone", errno: libc::EAGAIN });
        assert_eq!(error.to_string(), "clone: resource exhausted (errno 11)");
    }

    #[test]
    fn there_is_a_processor() {
        assert!(processors() >= 1);
    }
}
