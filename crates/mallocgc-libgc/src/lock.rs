//! The one lock: registries, tables, settings, and a collection from begin to
//! end.
//!
//! A futex and not a lock of libc, so that a stopped thread can hold it only if
//! it called out under it. The owner may take it again: hooks called under the
//! lock ask for statistics.
//!
//! Protection: `owner` is the system's number of the thread that has the lock.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WAITED: u32 = 2;

static WORD: AtomicU32 = AtomicU32::new(FREE);
static OWNER: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Waits until `word` is no longer `value`, a wake, or `millis`; 0 is for ever.
pub fn wait(word: &AtomicU32, value: u32, millis: u64) {
    let limit = libc::timespec {
        tv_sec: (millis / 1000) as i64,
        tv_nsec: (millis % 1000 * 1_000_000) as i64,
    };
    let limit = if millis == 0 { core::ptr::null() } else { &raw const limit };
    // SAFETY: the word outlives the call, and so does the limit.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value,
            limit,
        )
    };
}

/// Wakes up to `count` threads that wait for `word`.
pub fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: an address to compare with, no more.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
        )
    };
}

pub fn current_tid() -> u32 {
    let thread = crate::tls::current();
    if !thread.is_null() {
        // SAFETY: a registered thread's record lives until it unregisters.
        return unsafe { (*thread).tid };
    }
    // SAFETY: takes no argument and cannot fail.
    (unsafe { libc::syscall(libc::SYS_gettid) }) as u32
}

pub fn acquire() {
    let own = current_tid();
    // Relaxed: nobody but this thread writes its own number there.
    if OWNER.load(Relaxed) == own {
        DEPTH.store(DEPTH.load(Relaxed) + 1, Relaxed);
        return;
    }
    // Acquire, here and below: pairs with the Release in `release`.
    if WORD.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
        while WORD.swap(WAITED, Acquire) != FREE {
            wait(&WORD, WAITED, 0);
        }
    }
    OWNER.store(own, Relaxed);
}

pub fn release() {
    let depth = DEPTH.load(Relaxed);
    if depth != 0 {
        DEPTH.store(depth - 1, Relaxed);
        return;
    }
    OWNER.store(0, Relaxed);
    // Release: pairs with the Acquire in `acquire`.
    if WORD.swap(FREE, Release) == WAITED {
        wake(&WORD, 1);
    }
}

/// Whether the calling thread has the lock.
pub fn is_mine() -> bool {
    OWNER.load(Relaxed) == current_tid()
}

/// In the child of a fork: the forking thread has the lock, under a new number.
pub fn reown(tid: u32) {
    OWNER.store(tid, Relaxed);
}

/// Has the lock until it is dropped.
pub struct Held(());

pub fn lock() -> Held {
    acquire();
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        release();
    }
}
