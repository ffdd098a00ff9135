//! Child processes: one at a time, in a process group of its own, never left behind.
//!
//! The terminal's Ctrl-C does not reach a child in its own group; the thread that [`watch_signals`] starts
//! kills that group instead. When this process dies without a chance to do so, the system kills the
//! child (its parent-death signal). What a child cost is what `wait4` says.
//!
//! Protection: `CURRENT` names the group that may be killed. It is emptied, under its lock, while the child is
//! a zombie, so a number that the system has given to somebody else is never signalled.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

static CURRENT: Mutex<Option<i32>> = Mutex::new(None);
/// The signal that asked us to end, or zero.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How a child ended, what it printed and what it cost.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) cpu_nanos: u64,
    pub(crate) wall_nanos: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) timed_out: bool,
}

/// From now on SIGINT, SIGTERM and SIGHUP kill the running child.
///
/// They are blocked for this thread and those it starts, and one thread waits for them, so that what
/// they do need not be safe in a signal handler. A child starts with none blocked: the standard library
/// sees to it.
pub(crate) fn watch_signals() {
    // SAFETY: all zero is a value of this plain struct.
    let mut watched: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours for the call.
    unsafe { libc::sigemptyset(&mut watched) };
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: as above.
        unsafe { libc::sigaddset(&mut watched, number) };
    }
    // SAFETY: the set is ours for the call; nobody wants the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &watched, std::ptr::null_mut()) };
    let wait = move || {
        let mut number = 0;
        // SAFETY: both are this thread's. It fails only for a set that is not one.
        while unsafe { libc::sigwait(&watched, &mut number) } == 0 {
            // SeqCst, with the load in `run`: either `run` sees the number after it has filled
            // CURRENT, or we see what it filled in.
            SIGNAL.store(number, Ordering::SeqCst);
            kill_current();
        }
    };
    if std::thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
        // Then they end us as they end everybody, and the child has its parent-death signal.
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &watched, std::ptr::null_mut()) };
    }
}

/// The signal that asked us to end.
pub(crate) fn ending_signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|&number| number != 0)
}

fn current() -> std::sync::MutexGuard<'static, Option<i32>> {
    CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn kill_current() {
    if let Some(group) = *current() {
        // SAFETY: a call without memory; `group` is our unreaped child's, by the file's rule.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Runs `command` to its end, or kills it after `limit`.
pub(crate) fn run(mut command: Command, limit: Duration) -> io::Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let parent = std::process::id();
    // SAFETY: between fork and exec only two system calls are made, both async-signal-safe, and
    // nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // The parent may have died before the call above.
            if libc::getppid() as u32 != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let start = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id() as i32;
    *current() = Some(pid);
    if ending_signal().is_some() {
        kill_current();
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || read_all(stdout));
        let stderr = scope.spawn(move || read_all(stderr));
        let timed_out = wait_for_end(pid, start + limit);
        let wall_nanos = start.elapsed().as_nanos() as u64;
        // Whatever the child started and left shares its group and our pipes.
        kill_current();
        *current() = None;
        let (status, usage) = reap(&child)?;
        Ok(Finished {
            status,
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
            cpu_nanos: nanos(usage.ru_utime) + nanos(usage.ru_stime),
            wall_nanos,
            peak_rss_bytes: usage.ru_maxrss as u64 * 1024,
            timed_out,
        })
    })
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn nanos(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000
}

/// Waits until the child has ended, without reaping it. True when it had to be killed at `deadline`.
fn wait_for_end(pid: i32, deadline: Instant) -> bool {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let left = deadline.saturating_duration_since(Instant::now());
            // Any answer but a time-out means that the child ended.
            let late =
                is_done.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if late {
                kill_current();
            }
            late
        });
        loop {
            // SAFETY: all zero is a value of this plain struct.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: `info` is ours for the call; WNOWAIT leaves the child a zombie.
            let result = unsafe {
                libc::waitid(libc::P_PID, pid as u32, &mut info, libc::WEXITED | libc::WNOWAIT)
            };
            // It fails with EINTR only: the child is ours and unreaped.
            if result == 0 {
                break;
            }
        }
        drop(done);
        watchdog.join().unwrap_or(false)
    })
}

/// Takes the ended child's status and costs. Nobody may call `child.wait` any more.
fn reap(child: &Child) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    // SAFETY: all zero is a value of this plain struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both out-parameters are ours for the call.
    let result = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((ExitStatus::from_raw(status), usage))
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::Command;
    use std::time::Duration;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    // One test, because there is one current child.
    #[test]
    fn children_end() {
        let long = Duration::from_secs(60);
        let finished = run(shell("echo out; echo err >&2; exit 7"), long).unwrap();
        assert_eq!(finished.status.code(), Some(7));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert!(finished.peak_rss_bytes > 0);
        assert!(!finished.timed_out);

        // A grandchild that holds our pipes is killed with the group.
        let finished = run(shell("sleep 600 & exit 0"), long).unwrap();
        assert!(finished.status.success());
        assert!(finished.wall_nanos < 30_000_000_000);

        let finished = run(shell("sleep 600"), Duration::from_millis(50)).unwrap();
        assert!(finished.timed_out);
        assert!(!finished.status.success());

        assert!(run(Command::new("/nonexistent/program"), long).is_err());
    }
}
