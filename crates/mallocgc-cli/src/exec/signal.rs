//! Signals to the command reach the program, and the program's end becomes the command's.
//!
//! Protection: the handler touches two atomics and makes one system call. They are sequentially
//! consistent: of a signal and the program's start one sees the other.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};

/// The program; 0 before it runs and after it ended.
static PROGRAM: AtomicI32 = AtomicI32::new(0);
/// A signal that came before the program was known.
static EARLY: AtomicI32 = AtomicI32::new(0);

/// Signals that somebody may send to the command and mean the program.
const PASSED: [i32; 7] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCONT,
];

extern "C" fn pass_on(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // What the terminal sends, its whole group gets.
    // SAFETY: the system passes a filled structure.
    let from_terminal = unsafe { (*info).si_code } > 0;
    if from_terminal {
        return;
    }
    EARLY.store(signal, Ordering::SeqCst);
    let program = PROGRAM.load(Ordering::SeqCst);
    if program > 0 {
        EARLY.store(0, Ordering::SeqCst);
        // SAFETY: a call without memory; the program is our unreaped child.
        unsafe { libc::kill(program, signal) };
    }
}

/// From now on signals wait for the program. Called before it starts, which makes them its default
/// again.
pub(super) fn hold() {
    for signal in PASSED {
        // SAFETY: zeroes are a valid action, and the handler is async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = pass_on as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// From now on signals reach the program.
pub(super) fn pass_to(program: u32) {
    PROGRAM.store(program as i32, Ordering::SeqCst);
    let early = EARLY.swap(0, Ordering::SeqCst);
    if early != 0 {
        // SAFETY: a call without memory; the program is our unreaped child.
        unsafe { libc::kill(program as i32, early) };
    }
}

/// How the program ended.
pub(super) struct End {
    status: i32,
    /// The most memory it had.
    pub(super) peak_bytes: u64,
}

/// Waits for the program.
pub(super) fn wait(program: u32) -> std::io::Result<End> {
    let mut status = 0;
    // SAFETY: zeroes are a valid structure, and both places are ours.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let mut info: libc::siginfo_t = std::mem::zeroed();
        // First without reaping it, so that its number stays its own until the handler is told.
        while libc::waitid(libc::P_PID, program, &mut info, libc::WEXITED | libc::WNOWAIT) != 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
        PROGRAM.store(0, Ordering::SeqCst);
        (libc::wait4(program as i32, &mut status, 0, &mut usage), usage)
    };
    if reaped < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(End { status, peak_bytes: usage.ru_maxrss as u64 * 1024 })
}

impl End {
    /// Ends the command as the program ended: by its exit code, or by its signal.
    pub(super) fn follow(&self) -> ExitCode {
        if libc::WIFSIGNALED(self.status) {
            let signal = libc::WTERMSIG(self.status);
            // SAFETY: calls without memory of ours but a structure on the stack; a core of the
            // program is enough.
            unsafe {
                let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::setrlimit(libc::RLIMIT_CORE, &none);
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            // The signal was blocked.
            return ExitCode::from(128 + signal as u8);
        }
        ExitCode::from(libc::WEXITSTATUS(self.status) as u8)
    }
}
