//! The calling thread's record: one word, at a fixed distance from the thread
//! pointer.
//!
//! Declared in assembly because Rust would reach it by a call that may create
//! the block lazily, with `malloc`. Initial-exec storage is there from the
//! thread's start; eight bytes fit in what the loader keeps for libraries that
//! are opened late.

use crate::threads::Thread;
use core::arch::{asm, global_asm};

global_asm!(
    ".section .tbss.mallocgc_libgc_thread,\"awT\",@nobits",
    ".hidden mallocgc_libgc_thread",
    ".globl mallocgc_libgc_thread",
    ".type mallocgc_libgc_thread, @object",
    ".size mallocgc_libgc_thread, 8",
    ".balign 8",
    "mallocgc_libgc_thread:",
    ".zero 8",
    ".text",
);

/// The calling thread's record; null when it is not registered.
#[inline(always)]
pub fn current() -> *mut Thread {
    let thread: *mut Thread;
    // SAFETY: reads a word of this thread's static block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + mallocgc_libgc_thread@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) thread,
            options(nostack, preserves_flags, readonly),
        );
    }
    thread
}

pub fn set_current(thread: *mut Thread) {
    // SAFETY: writes that word.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + mallocgc_libgc_thread@GOTTPOFF]",
            "mov qword ptr fs:[{0}], {1}",
            out(reg) _,
            in(reg) thread,
            options(nostack, preserves_flags),
        );
    }
}

/// The thread pointer: the static blocks lie below it, its vector of blocks is
/// named behind it.
pub fn pointer() -> usize {
    let at: usize;
    // SAFETY: the word at the thread pointer is its own address.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", out(reg) at, options(nostack, preserves_flags, readonly))
    };
    at
}
