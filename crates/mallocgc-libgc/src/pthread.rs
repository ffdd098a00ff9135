//! Wrappers of `pthread` and of the loader that programs are redirected to.
//!
//! A new thread registers itself before its function runs. What it is given is
//! kept in an uncollectable object until then, so that the argument is a root all the time.
//!
//! Protection: none of its own.

use crate::threads::{register, stack_bounds};
use crate::{alloc, init, stop};
use core::ffi::c_void;

use libc::{c_char, c_int, pthread_attr_t, pthread_t, sigset_t};

struct Start {
    function: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
}

extern "C" fn start(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `GC_pthread_create`, for this thread alone.
    unsafe {
        let (lowest, base) = stack_bounds();
        register(lowest, base);
        let Start { function, argument } = start.cast::<Start>().read();
        alloc::GC_free(start);
        let result = function(argument);
        // Its key destructors may still allocate: `threads::at_exit` ends it.
        result
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_create(
    out: *mut pthread_t,
    attributes: *const pthread_attr_t,
    function: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    init::ensure();
    let given = alloc::GC_malloc_uncollectable(size_of::<Start>()).cast::<Start>();
    if given.is_null() {
        return libc::ENOMEM;
    }
    given.write(Start { function, argument });
    let result = libc::pthread_create(out, attributes, start, given.cast());
    if result != 0 {
        alloc::GC_free(given.cast());
    }
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_join(thread: pthread_t, out: *mut *mut c_void) -> c_int {
    // Signals restart it.
    libc::pthread_join(thread, out)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_detach(thread: pthread_t) -> c_int {
    libc::pthread_detach(thread)
}

unsafe extern "C" {
    fn pthread_exit(result: *mut c_void) -> !;
    fn pthread_cancel(thread: pthread_t) -> c_int;
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn GC_pthread_exit(result: *mut c_void) -> ! {
    pthread_exit(result)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_cancel(thread: pthread_t) -> c_int {
    pthread_cancel(thread)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_sigmask(
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    if set.is_null() || how == libc::SIG_UNBLOCK {
        return libc::pthread_sigmask(how, set, old);
    }
    // A thread that blocked the signal could not be stopped.
    let mut without = *set;
    libc::sigdelset(&raw mut without, stop::suspend_signal());
    libc::pthread_sigmask(how, &raw const without, old)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_dlopen(path: *const c_char, mode: c_int) -> *mut c_void {
    libc::dlopen(path, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_stop_world_external() {
    init::ensure();
    crate::threads::register_current();
    crate::lock::acquire();
    stop::stop();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_start_world_external() {
    stop::resume();
    crate::lock::release();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_alloc_lock() {
    init::ensure();
    crate::lock::acquire();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_alloc_unlock() {
    crate::lock::release();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_alloc_lock(
    function: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> *mut c_void {
    init::ensure();
    let _held = crate::lock::lock();
    function(argument)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_start_mark_threads() {
    // One thread marks.
}
