//! Forking: the child has one thread and can collect.
//!
//! Before a fork the lock is taken and the heap pauses, so that no thread is inside
//! it: a child inherits no lock that somebody else holds. In the child the other
//! threads' records go, and the one left gets its new number. The loader's lock is not
//! ours: whether it can still be had is found out by the child's first collection
//! (`roots`).
//!
//! Protection: the lock, from before the fork until after it.

use crate::state::{heap, is_ready, state};
use crate::{lock, roots, stop, threads, tls};

use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_int;
use mallocgc::raw::Pause;

static mut PAUSE: Option<Pause<'static>> = None;

unsafe extern "C" fn prepare() {
    if MODE.load(Relaxed) > 0 {
        before();
    }
}

unsafe extern "C" fn parent() {
    if MODE.load(Relaxed) > 0 {
        after_in_parent();
    }
}

unsafe extern "C" fn child() {
    if MODE.load(Relaxed) > 0 {
        after_in_child();
    }
}

/// Above zero the library's own handlers do it; else the program calls the
/// three functions around each fork.
static MODE: AtomicI32 = AtomicI32::new(1);

pub unsafe fn install() {
    libc::pthread_atfork(Some(prepare), Some(parent), Some(child));
}

unsafe fn before() {
    if is_ready() {
        lock::acquire();
        roots::refresh();
        PAUSE = heap().pause();
    }
}

unsafe fn after_in_parent() {
    if is_ready() && lock::is_mine() {
        let pause = &raw mut PAUSE;
        drop((*pause).take());
        lock::release();
    }
}

unsafe fn after_in_child() {
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
    roots::doubt_loader();
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
    lock::release();
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_prepare() {
    if MODE.load(Relaxed) <= 0 {
        before();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_parent() {
    if MODE.load(Relaxed) <= 0 {
        after_in_parent();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_atfork_child() {
    if MODE.load(Relaxed) <= 0 {
        after_in_child();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_handle_fork(mode: c_int) {
    MODE.store(mode, Relaxed);
}
