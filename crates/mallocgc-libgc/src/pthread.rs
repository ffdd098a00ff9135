//! Wrappers of `pthread` and of the loader that programs are redirected to.
//!
//! A new thread registers itself before its function runs. What it is given is
//! kept in an uncollectable object until then, so that the argument is a root all the time.
//!
//! Protection: none of its own.

use crate::state::{heap, is_ready, state};
use crate::threads::{register, stack_bounds};
use crate::{alloc, init, lock, stop, tls};
use core::ffi::c_void;

use libc::{c_char, c_int, pthread_attr_t, pthread_t, sigset_t};

/// What a new thread is given, and then its result, until it is joined: both
/// are roots by it.
pub struct Start {
    function: extern "C" fn(*mut c_void) -> *mut c_void,
    /// The argument; later the result.
    value: *mut c_void,
    /// Nobody will join: the thread frees this itself.
    detached: bool,
    finished: bool,
    /// The program has suspended a thread that is not there yet, or no more.
    pub suspended: bool,
}

extern "C" fn start(start: *mut c_void) -> *mut c_void {
    // SAFETY: made by `GC_pthread_create`, for this thread.
    unsafe {
        let start = start.cast::<Start>();
        let (lowest, base) = stack_bounds();
        register(lowest, base);
        let thread = tls::current();
        (*thread).start = start;
        let suspended = {
            let _held = lock::lock();
            (*start).suspended
        };
        if suspended {
            stop::GC_suspend_thread((*thread).pthread);
        }
        // Its key destructors may still allocate: `threads::at_exit` ends it.
        let result = ((*start).function)((*start).value);
        (*start).value = result;
        result
    }
}

/// The thread of a record ends: what is left of its start goes with it, or
/// waits for who joins.
pub unsafe fn finish(start: *mut Start) {
    if start.is_null() {
        return;
    }
    let detached = {
        let _held = lock::lock();
        (*start).finished = true;
        (*start).detached
    };
    if detached {
        alloc::GC_free(start.cast());
    }
}

unsafe fn take_joinable(thread: pthread_t) -> Option<*mut Start> {
    let _held = lock::lock();
    state().joinable.remove(thread as usize)
}

/// Starts the threads that mark, while nobody is stopped: the lock keeps collections away, which would stop this thread
/// as well, with the record of those threads in its hands.
unsafe fn prepare_markers() {
    let _held = lock::lock();
    heap().prepare_workers();
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
    prepare_markers();
    let mut mode = libc::PTHREAD_CREATE_JOINABLE;
    if !attributes.is_null() {
        pthread_attr_getdetachstate(attributes, &raw mut mode);
    }
    let detached = mode == libc::PTHREAD_CREATE_DETACHED;
    given.write(Start { function, value: argument, detached, finished: false, suspended: false });
    let result = {
        // The thread waits for it before it registers, so that it is known by its
        // number from the beginning, and not when it has been joined.
        let _held = lock::lock();
        let result = libc::pthread_create(out, attributes, start, given.cast());
        if result == 0 && !detached {
            state().joinable.insert(*out as usize, given);
        }
        result
    };
    if result != 0 {
        alloc::GC_free(given.cast());
    }
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_join(thread: pthread_t, out: *mut *mut c_void) -> c_int {
    // Looked up first: once the thread is joined another may have its number.
    let start = {
        let _held = lock::lock();
        state().joinable.get(thread as usize).copied()
    };
    // Signals restart it.
    let result = libc::pthread_join(thread, out);
    if result == 0
        && let Some(start) = start
    {
        {
            let _held = lock::lock();
            if state().joinable.get(thread as usize).is_some_and(|now| *now == start) {
                state().joinable.remove(thread as usize);
            }
        }
        alloc::GC_free(start.cast());
    }
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_pthread_detach(thread: pthread_t) -> c_int {
    let start = take_joinable(thread);
    let result = libc::pthread_detach(thread);
    if let Some(start) = start {
        let finished = {
            let _held = lock::lock();
            (*start).detached = true;
            (*start).finished
        };
        if finished {
            alloc::GC_free(start.cast());
        }
    }
    result
}

unsafe extern "C" {
    fn pthread_attr_getdetachstate(attributes: *const pthread_attr_t, out: *mut c_int) -> c_int;
    fn pthread_exit(result: *mut c_void) -> !;
    fn pthread_cancel(thread: pthread_t) -> c_int;
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn GC_pthread_exit(result: *mut c_void) -> ! {
    let thread = tls::current();
    if !thread.is_null() && !(*thread).start.is_null() {
        (*(*thread).start).value = result;
    }
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
    if is_ready() {
        prepare_markers();
    }
}
