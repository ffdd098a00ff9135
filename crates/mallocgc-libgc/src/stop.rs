//! Stopping threads wherever they are, by signal.
//!
//! The collector raises the epoch to an odd number and signals every thread
//! that is not in a blocking section. A thread's handler notes where its stack
//! ends (the kernel has put its registers there), answers, and waits until the
//! epoch moves on. Answers are counted in a word that the collector waits for;
//! after a while it signals again those that have not answered, since a signal
//! can be lost or be swallowed by a debugger, and takes a thread for dead that the
//! system does not know.
//!
//! Protection: the collector has the lock. A thread in its handler uses its
//! record, two words and the futex call, nothing else.

use crate::lock::{wait, wake};
use crate::state::state;
use crate::threads::{Thread, remove};
use crate::{data, say, tls};
use core::arch::naked_asm;
use core::ffi::c_void;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use libc::c_int;

/// Odd while threads are stopped.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Answers so far; only ever compared for change.
static ANSWERS: AtomicU32 = AtomicU32::new(0);

/// Milliseconds until a signal is sent again.
const RESEND_MILLIS: u64 = 20;
/// Resends until the log says which thread does not answer.
const COMPLAIN_AFTER: u32 = 100;

/// Calls `function` with the callee-saved registers on the stack, and the
/// address of the lowest of them.
#[unsafe(naked)]
pub unsafe extern "C" fn with_registers(
    function: unsafe extern "C" fn(*mut c_void, usize),
    argument: *mut c_void,
) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rsp",
        "call rax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

pub fn suspend_signal() -> c_int {
    data::SUSPEND_SIGNAL.load(Relaxed)
}

pub unsafe fn install() {
    let mut action: libc::sigaction = core::mem::zeroed();
    action.sa_sigaction = on_suspend as *const () as usize;
    // On the stack in use, where the collector looks for the registers.
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
    libc::sigfillset(&raw mut action.sa_mask);
    for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
        libc::sigdelset(&raw mut action.sa_mask, fault);
    }
    if libc::sigaction(suspend_signal(), &raw const action, core::ptr::null_mut()) != 0 {
        say::abort(format_args!("the handler that stops threads cannot be installed"));
    }
    // Restarting needs no signal here, but programs may send the number they
    // are told; it must not kill them.
    action.sa_sigaction = on_restart as *const () as usize;
    libc::sigaction(data::RESTART_SIGNAL.load(Relaxed), &raw const action, core::ptr::null_mut());
    unblock_signal();
}

/// A thread that blocks the signal could not be stopped.
pub unsafe fn unblock_signal() {
    let mut set: libc::sigset_t = core::mem::zeroed();
    libc::sigemptyset(&raw mut set);
    libc::sigaddset(&raw mut set, suspend_signal());
    libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, core::ptr::null_mut());
}

unsafe extern "C" fn on_restart(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}

unsafe extern "C" fn on_suspend(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let errno = *libc::__errno_location();
    let thread = tls::current();
    if !thread.is_null() {
        with_registers(stand, thread.cast());
    }
    *libc::__errno_location() = errno;
}

/// Stands as long as the collector or the program says.
unsafe extern "C" fn stand(thread: *mut c_void, sp: usize) {
    let thread: &Thread = &*thread.cast::<Thread>();
    loop {
        // Acquire: pairs with the Release in `stop`.
        let epoch = EPOCH.load(Acquire);
        if epoch % 2 == 1 && thread.stopped.load(Relaxed) != epoch {
            thread.sp.store(sp, Relaxed);
            // Release: pairs with the Acquire in `has_answered`; what the
            // thread wrote is seen by the collector.
            thread.stopped.store(epoch, Release);
            ANSWERS.fetch_add(1, Release);
            wake(&ANSWERS, 1);
            // Acquire: pairs with the Release in `resume`.
            while EPOCH.load(Acquire) == epoch {
                wait(&EPOCH, epoch, 0);
            }
        } else if thread.suspend.load(Acquire) != 0 {
            thread.sp.store(sp, Relaxed);
            // Release: pairs with the Acquire in `stop`.
            thread.suspended.store(1, Release);
            ANSWERS.fetch_add(1, Release);
            wake(&ANSWERS, i32::MAX);
            while thread.suspend.load(Acquire) != 0 {
                wait(&thread.suspend, 1, 0);
            }
            thread.suspended.store(0, Release);
        } else {
            return;
        }
    }
}

unsafe fn signal(thread: *mut Thread) -> bool {
    let sent =
        libc::syscall(libc::SYS_tgkill, libc::getpid(), (*thread).tid as i32, suspend_signal());
    sent == 0 || *libc::__errno_location() != libc::ESRCH
}

fn has_answered(thread: &Thread, epoch: u32) -> bool {
    // Acquire: pairs with the Releases in `stand`.
    thread.stopped.load(Acquire) == epoch || thread.suspended.load(Acquire) != 0
}

/// Stops every registered thread but the calling one. The caller has the lock.
pub unsafe fn stop() {
    let own = tls::current();
    // Release: pairs with the Acquire in `stand`.
    let epoch = EPOCH.fetch_add(1, Release) + 1;
    let mut at = state().threads;
    while !at.is_null() {
        let next = (*at).next;
        if at != own && needs_signal(&*at) && !signal(at) {
            bury(at);
        }
        at = next;
    }
    let mut resends = 0;
    loop {
        let answers = ANSWERS.load(Acquire);
        let Some(missing) = first_missing(own, epoch) else { return };
        wait(&ANSWERS, answers, RESEND_MILLIS);
        if ANSWERS.load(Acquire) != answers {
            continue;
        }
        resends += 1;
        if resends == COMPLAIN_AFTER {
            say::error(format_args!(
                "mallocgc libgc: thread {} does not stop (is signal {} blocked?)",
                (*missing).tid,
                suspend_signal()
            ));
        }
        let mut at = state().threads;
        while !at.is_null() {
            let next = (*at).next;
            if at != own && needs_signal(&*at) && !has_answered(&*at, epoch) && !signal(at) {
                bury(at);
            }
            at = next;
        }
    }
}

fn needs_signal(thread: &Thread) -> bool {
    !thread.blocked.get() && thread.suspended.load(Acquire) == 0
}

unsafe fn first_missing(own: *mut Thread, epoch: u32) -> Option<*mut Thread> {
    let mut at = state().threads;
    while !at.is_null() {
        if at != own && !(*at).blocked.get() && !has_answered(&*at, epoch) {
            return Some(at);
        }
        at = (*at).next;
    }
    None
}

/// A thread that ended without saying so. Its mutator stays attached until the
/// next registration: detaching waits for the world, which stands.
unsafe fn bury(thread: *mut Thread) {
    (*thread).blocked.set(true);
    (*thread).sp.store(0, Relaxed);
    (*thread).pthread = 0;
}

/// Takes out what `bury` found. The world runs.
pub unsafe fn remove_buried() {
    let mut at = state().threads;
    while !at.is_null() {
        let next = (*at).next;
        if (*at).pthread == 0 && (*at).blocked.get() {
            remove(at);
        }
        at = next;
    }
}

/// Lets all go on.
pub unsafe fn resume() {
    // Release: pairs with the Acquire in `stand`.
    EPOCH.fetch_add(1, Release);
    wake(&EPOCH, i32::MAX);
}

/// In the child of a fork nobody else stands.
pub fn forget_stop() {
    if EPOCH.load(Relaxed) % 2 == 1 {
        EPOCH.fetch_add(1, Relaxed);
    }
}

// --- the interface -------------------------------------------------------

unsafe fn find(pthread: libc::pthread_t) -> *mut Thread {
    let mut at = state().threads;
    while !at.is_null() && libc::pthread_equal((*at).pthread, pthread) == 0 {
        at = (*at).next;
    }
    at
}

/// Notes it with a thread that begins or has ended, and nobody has joined.
unsafe fn set_suspended(pthread: libc::pthread_t, suspended: bool) {
    if let Some(&mut start) = state().joinable.get(pthread as usize) {
        (*start).suspended = suspended;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_suspend_thread(pthread: libc::pthread_t) {
    let thread = {
        let _held = crate::lock::lock();
        let thread = find(pthread);
        set_suspended(pthread, true);
        if thread.is_null() || (*thread).suspend.swap(1, Release) != 0 {
            return;
        }
        if (*thread).blocked.get() {
            return;
        }
        if thread != tls::current() && !signal(thread) {
            return;
        }
        thread
    };
    if thread == tls::current() {
        libc::raise(suspend_signal());
        return;
    }
    while (*thread).suspend.load(Acquire) != 0 && (*thread).suspended.load(Acquire) == 0 {
        let answers = ANSWERS.load(Acquire);
        if (*thread).suspended.load(Acquire) == 0 {
            wait(&ANSWERS, answers, RESEND_MILLIS);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_resume_thread(pthread: libc::pthread_t) {
    let _held = crate::lock::lock();
    let thread = find(pthread);
    set_suspended(pthread, false);
    if !thread.is_null() {
        // Release: pairs with the Acquire in `stand`.
        (*thread).suspend.store(0, Release);
        wake(&(*thread).suspend, i32::MAX);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_thread_suspended(pthread: libc::pthread_t) -> c_int {
    let _held = crate::lock::lock();
    let thread = find(pthread);
    let suspended = match state().joinable.get(pthread as usize) {
        Some(&mut start) if thread.is_null() => (*start).suspended,
        _ => !thread.is_null() && (*thread).suspend.load(Relaxed) != 0,
    };
    c_int::from(suspended)
}
