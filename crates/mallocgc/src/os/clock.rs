//! Clocks, in nanoseconds. A reading costs about 25 ns, of CPU time about 200 ns.

/// Nanoseconds since some moment in the past; never goes back.
#[inline]
pub fn now_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time of the calling thread, user and system.
pub fn thread_cpu_nanos() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of the process, user and system.
pub fn process_cpu_nanos() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds since 1970, for people; may jump.
pub fn wall_clock_nanos() -> u64 {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place; the four clocks exist on every Linux, so
    // that the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance() {
        let (now, thread, process) = (now_nanos(), thread_cpu_nanos(), process_cpu_nanos());
        let mut sum = 0u64;
        while thread_cpu_nanos() - thread < 2_000_000 {
            sum = core::hint::black_box(sum + 1);
        }
        assert!(now_nanos() - now >= 1_000_000);
        assert!(process_cpu_nanos() - process >= 1_000_000);
        // After 2024 and before 2100.
        assert!((1_704_000_000..4_102_000_000).contains(&(wall_clock_nanos() / 1_000_000_000)));
    }
}
