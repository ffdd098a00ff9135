//! Forking: the child has one thread and can collect.
//!
//! Before a fork the lock is taken and the heap pauses, so that no thread is inside
//! it: a child inherits no lock that somebody else holds. In the child the other
//! threads' records go, and the one left gets its new number.
//!
//! Protection: the lock, from before the fork until after it.

use crate::state::{heap, is_ready, state};
use crate::{lock, stop, threads, tls};

use mallocgc::raw::Pause;

static mut PAUSE: Option<Pause<'static>> = None;

unsafe extern "C" fn prepare() {
    if is_ready() && state_wants() {
        GC_atfork_prepare();
    }
}

unsafe extern "C" fn parent() {
    if lock::is_mine() && is_ready() {
        GC_atfork_parent();
    }
}

unsafe extern "C" fn child() {
    if is_ready() && state_wants() {
        GC_atfork_child();
    }
}

static WANTED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(true);

fn state_wants() -> bool {
    WANTED.load(core::sync::atomic::Ordering::Relaxed)
}

pub unsafe fn install() {
    libc::pthread_atfork(Some(prepare), Some(parent), Some(child));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_prepare() {
    if is_ready() {
        lock::acquire();
        PAUSE = heap().pause();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_parent() {
    if is_ready() {
        let pause = &raw mut PAUSE;
        drop((*pause).take());
        lock::release();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_child() {
    if !is_ready() {
        return;
    }
    let own = tls::current();
    let tid = libc::syscall(libc::SYS_gettid) as u32;
    lock::reown(tid);
    if !own.is_null() {
        (*own).tid = tid;
        (*own).pthread = libc::pthread_self();
        if !(*own).is_main {
            // The only thread of a process is its main one, on the stack it has.
            (*own).is_main = true;
            set!(GC_stackbottom, (*own).base.get() as *mut libc::c_char);
        }
    }
    stop::forget_stop();
    let pause = &raw mut PAUSE;
    drop((*pause).take());
    let mut at = state().threads;
    while !at.is_null() {
        let next = (*at).next;
        if at != own {
            threads::remove(at);
        }
        at = next;
    }
    mallocgc::os::fence::prepare();
    lock::release();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_handle_fork(mode: libc::c_int) {
    // -1 and 1 are the same here; 0 leaves it to the program.
    WANTED.store(mode != 0, core::sync::atomic::Ordering::Relaxed);
}
