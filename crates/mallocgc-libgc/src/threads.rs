//! Which threads there are: their records, bounds and sections.
//!
//! A thread is registered by the wrappers of `pthread`, by hand, or by its
//! first allocation. It ends with the last round of its key destructors, so
//! that destructors of the program may still allocate.
//!
//! Protection: the list and all records are behind the lock, but for what the
//! thread itself uses on the way to a cell (`mutator`, `free`), which it touches
//! between entering and leaving the heap only.

use crate::alloc::FREE_LISTS;
use crate::lock;
use crate::pthread::Start;
use crate::state::{heap, state};
use crate::{data, init, say, table, tls};
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicUsize};
use libc::c_int;
use mallocgc::raw::Mutator;

pub const SUCCESS: c_int = 0;
pub const DUPLICATE: c_int = 1;

/// `struct GC_stack_base` on this processor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StackBase {
    pub mem_base: *mut c_void,
}

/// The part of a stack that lies above a blocking section from which the
/// program called back.
#[derive(Clone, Copy)]
pub struct Section {
    /// Where the section stopped using the stack, and its end.
    pub sp: usize,
    pub base: usize,
    pub previous: *const Section,
}

/// One thread.
pub struct Thread {
    pub next: *mut Thread,
    pub mutator: MaybeUninit<Mutator>,
    /// Explicitly freed cells, by kind and size, linked through their first words.
    pub free: [*mut u8; FREE_LISTS],
    pub tid: u32,
    pub pthread: libc::pthread_t,
    /// The thread pointer.
    pub tp: usize,
    /// The cold end of the stack.
    pub base: Cell<usize>,
    /// The lowest byte the stack may have; 0 if unknown.
    pub lowest: usize,
    /// Where the thread stood when it stopped.
    pub sp: AtomicUsize,
    /// The stop it has answered.
    pub stopped: AtomicU32,
    /// In a blocking section; not signalled.
    pub blocked: Cell<bool>,
    /// Stopped by the program (`GC_suspend_thread`): asked for, and standing.
    pub suspend: AtomicU32,
    pub suspended: AtomicU32,
    pub sections: Cell<*const Section>,
    pub is_main: bool,
    pub in_finalizer: Cell<bool>,
    pub destructor_rounds: Cell<u32>,
    /// Of a thread that the wrapper started.
    pub start: *mut Start,
}

static KEY: AtomicU32 = AtomicU32::new(u32::MAX);

pub unsafe fn make_key() {
    let mut key = 0;
    if libc::pthread_key_create(&raw mut key, Some(at_exit)) == 0 {
        KEY.store(key, Relaxed);
    }
}

/// The last but one of the rounds in which destructors of keys run.
const LAST_ROUND: u32 = 3;

unsafe extern "C" fn at_exit(_value: *mut c_void) {
    let thread = tls::current();
    if thread.is_null() {
        return;
    }
    let round = (*thread).destructor_rounds.get();
    (*thread).destructor_rounds.set(round + 1);
    if round < LAST_ROUND {
        libc::pthread_setspecific(KEY.load(Relaxed), thread.cast());
    } else {
        unregister();
    }
}

/// The calling thread's stack: lowest byte if known, and cold end.
pub unsafe fn stack_bounds() -> (usize, usize) {
    if libc::syscall(libc::SYS_gettid) == libc::getpid().into() {
        unsafe extern "C" {
            static __libc_stack_end: *mut c_void;
        }
        let end = __libc_stack_end as usize;
        if end != 0 {
            return (0, end & !7);
        }
    }
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut bytes) = (null_mut(), 0);
    if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
        say::abort(format_args!("the bounds of a thread's stack are unknown"));
    }
    libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut bytes);
    libc::pthread_attr_destroy(attributes.as_mut_ptr());
    (low as usize, low as usize + bytes)
}

/// The calling thread's record, registered now if it is not.
#[cold]
pub unsafe fn register_current() -> *mut Thread {
    init::ensure();
    let thread = tls::current();
    if thread.is_null() {
        let (lowest, base) = stack_bounds();
        register(lowest, base);
    }
    tls::current()
}

/// Registers the calling thread; `DUPLICATE` when it is.
pub unsafe fn register(lowest: usize, base: usize) -> c_int {
    if !tls::current().is_null() {
        return DUPLICATE;
    }
    let tid = libc::syscall(libc::SYS_gettid) as u32;
    let held = lock::lock();
    forget_dead(tid);
    let mutator = match heap().attach() {
        Ok(mutator) => mutator,
        Err(error) => say::abort(format_args!("a thread cannot be registered: {error}")),
    };
    mutator.leave();
    let state = state();
    let mut record = state.free_threads;
    if record.is_null() {
        let per_page = 8;
        record = table::map(per_page * size_of::<Thread>()).cast();
        for at in 1..per_page {
            (*record.add(at)).next = state.free_threads;
            state.free_threads = record.add(at);
        }
    } else {
        state.free_threads = (*record).next;
    }
    let is_main = tid == libc::getpid() as u32;
    record.write(Thread {
        next: state.threads,
        mutator: MaybeUninit::new(mutator),
        free: [null_mut(); FREE_LISTS],
        tid,
        pthread: libc::pthread_self(),
        tp: tls::pointer(),
        base: Cell::new(base),
        lowest,
        sp: AtomicUsize::new(0),
        stopped: AtomicU32::new(0),
        blocked: Cell::new(false),
        suspend: AtomicU32::new(0),
        suspended: AtomicU32::new(0),
        sections: Cell::new(core::ptr::null()),
        is_main,
        in_finalizer: Cell::new(false),
        destructor_rounds: Cell::new(0),
        start: null_mut(),
    });
    // Known to the handler before the collector knows the thread.
    tls::set_current(record);
    core::sync::atomic::compiler_fence(Release);
    state.threads = record;
    if is_main && read!(GC_stackbottom).is_null() {
        set!(GC_stackbottom, base as *mut libc::c_char);
    }
    drop(held);
    if !is_main {
        libc::pthread_setspecific(KEY.load(Relaxed), record.cast());
    }
    crate::stop::unblock_signal();
    tell(record, 4);
    SUCCESS
}

/// A thread of this number has died unseen, since the number was given again.
unsafe fn forget_dead(tid: u32) {
    let mut at = state().threads;
    while !at.is_null() {
        let next = (*at).next;
        if (*at).tid == tid {
            remove(at);
        }
        at = next;
    }
}

/// Takes a thread out of the list: its own, or that of one that is gone.
pub unsafe fn remove(thread: *mut Thread) {
    let state = state();
    let mut at = &raw mut state.threads;
    while !(*at).is_null() && *at != thread {
        at = &raw mut (**at).next;
    }
    if (*at).is_null() {
        return;
    }
    *at = (*thread).next;
    (*thread).mutator.assume_init_drop();
    (*thread).next = state.free_threads;
    state.free_threads = thread;
}

/// Forgets the calling thread.
pub unsafe fn unregister() -> c_int {
    let thread = tls::current();
    if thread.is_null() {
        return SUCCESS;
    }
    tell(thread, 5);
    crate::pthread::finish((*thread).start);
    let held = lock::lock();
    // The lock's owner is found by the record; it is released under the same
    // number, asked of the system.
    tls::set_current(null_mut());
    remove(thread);
    drop(held);
    SUCCESS
}

/// Calls the hook for events of threads: 4 registered, 5 unregistered.
unsafe fn tell(thread: *mut Thread, event: c_int) {
    let hook = data::THREAD_EVENT.load(Relaxed);
    if hook != 0 {
        let hook: unsafe extern "C" fn(c_int, *mut c_void) = core::mem::transmute(hook);
        hook(event, (*thread).pthread as *mut c_void);
    }
}

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_allow_register_threads() {
    init::ensure();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_my_thread(base: *const StackBase) -> c_int {
    init::ensure();
    let (lowest, own_base) = stack_bounds();
    let given = (*base).mem_base as usize;
    // A bound inside the stack is taken at its word; one that is nowhere near
    // leaves the system's.
    let base = if given != 0 { given } else { own_base };
    register(lowest, base)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_unregister_my_thread() -> c_int {
    let thread = tls::current();
    if !thread.is_null() && !(*thread).is_main {
        return unregister();
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_thread_is_registered() -> c_int {
    c_int::from(!tls::current().is_null())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_stack_base(base: *mut StackBase) -> c_int {
    (*base).mem_base = stack_bounds().1 as *mut c_void;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_my_stackbottom(base: *mut StackBase) -> *mut c_void {
    let thread = register_current();
    let own = if (*thread).is_main {
        read!(GC_stackbottom).cast()
    } else {
        (*thread).base.get() as *mut c_void
    };
    (*base).mem_base = own;
    thread.cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_stackbottom(handle: *mut c_void, base: *const StackBase) {
    let bottom = (*base).mem_base;
    if !crate::state::is_ready() {
        set!(GC_stackbottom, bottom.cast());
        return;
    }
    let thread = if handle.is_null() { register_current() } else { handle.cast() };
    (*thread).base.set(bottom as usize);
    if (*thread).is_main {
        set!(GC_stackbottom, bottom.cast());
    }
}

type StackBaseFn = unsafe extern "C" fn(*mut StackBase, *mut c_void) -> *mut c_void;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_stack_base(
    function: StackBaseFn,
    argument: *mut c_void,
) -> *mut c_void {
    let mut base = StackBase { mem_base: null_mut() };
    base.mem_base = (&raw mut base).cast();
    let result = function(&raw mut base, argument);
    core::hint::black_box(&base);
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_altstack(_: *mut c_void, _: usize, _: *mut c_void, _: usize) {
    // A stack pointer outside the thread's stack is recognised without.
}

type BlockingFn = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

struct Call {
    function: BlockingFn,
    argument: *mut c_void,
    result: *mut c_void,
}

/// Runs with the registers on the stack above `sp`.
unsafe extern "C" fn run_blocking(call: *mut c_void, sp: usize) {
    let call: *mut Call = call.cast();
    let thread = tls::current();
    {
        let _held = lock::lock();
        (*thread).sp.store(sp, Relaxed);
        (*thread).blocked.set(true);
    }
    (*call).result = ((*call).function)((*call).argument);
    // Waits while the world is stopped.
    let _held = lock::lock();
    (*thread).blocked.set(false);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_do_blocking(
    function: BlockingFn,
    argument: *mut c_void,
) -> *mut c_void {
    let thread = register_current();
    if (*thread).blocked.get() {
        return function(argument);
    }
    let mut call = Call { function, argument, result: null_mut() };
    crate::stop::with_registers(run_blocking, (&raw mut call).cast());
    call.result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_call_with_gc_active(
    function: BlockingFn,
    argument: *mut c_void,
) -> *mut c_void {
    let thread = register_current();
    let mut marker = 0usize;
    let here = (&raw mut marker) as usize;
    if !(*thread).blocked.get() {
        // A base too low by mistake is put right, as in the original.
        if !(*thread).is_main && (*thread).base.get() < here {
            (*thread).base.set(here);
        } else if (*thread).is_main && (read!(GC_stackbottom) as usize) < here {
            set!(GC_stackbottom, here as *mut libc::c_char);
        }
        return function(argument);
    }
    let section;
    {
        let _held = lock::lock();
        section = Section {
            sp: (*thread).sp.load(Relaxed),
            base: here,
            previous: (*thread).sections.get(),
        };
        (*thread).sections.set(&raw const section);
        (*thread).blocked.set(false);
    }
    let result = function(argument);
    let _held = lock::lock();
    (*thread).sections.set(section.previous);
    (*thread).sp.store(section.sp, Relaxed);
    (*thread).blocked.set(true);
    core::hint::black_box(marker);
    result
}
