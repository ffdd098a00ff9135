//! The three functions with any number of arguments.
//!
//! Rust cannot define such functions, so each is a stub in assembly that lays
//! its registers out as the platform's argument list and calls one that takes
//! a list.
//!
//! Protection: none; text is cut at 1023 bytes.

use crate::say;
use core::arch::naked_asm;
use core::ffi::c_void;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_char;

unsafe extern "C" {
    fn vsnprintf(out: *mut c_char, bytes: usize, format: *const c_char, list: *mut c_void) -> i32;
    fn snprintf(out: *mut c_char, bytes: usize, format: *const c_char, ...) -> i32;
}

unsafe fn print(fd: i32, format: *const c_char, list: *mut c_void) {
    let mut text = [0u8; 1024];
    let len = vsnprintf(text.as_mut_ptr().cast(), text.len(), format, list);
    say::write(fd, &text[..(len.max(0) as usize).min(text.len() - 1)]);
}

unsafe extern "C" fn print_out(format: *const c_char, list: *mut c_void) {
    print(1, format, list);
}

unsafe extern "C" fn print_err(format: *const c_char, list: *mut c_void) {
    print(2, format, list);
}

unsafe extern "C" fn print_log(format: *const c_char, list: *mut c_void) {
    print(say::LOG_FD.load(Relaxed), format, list);
}

/// The default warning hook's text: a format with one word.
pub unsafe fn GC_err_printf_word(format: *const c_char, word: usize) {
    let mut text = [0u8; 1024];
    let len = snprintf(text.as_mut_ptr().cast(), text.len(), format, word);
    say::write(2, &text[..(len.max(0) as usize).min(text.len() - 1)]);
}

/// A function whose arguments behind the first become a list for `$print`.
///
/// The frame, from the stack pointer up: the list (24 bytes: offsets of the
/// next general and vector register, the arguments on the stack, the saved
/// registers), padding, and 176 bytes of saved registers.
macro_rules! variadic {
    ($($name:ident => $print:ident;)*) => { $(
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "sub rsp, 216",
                "mov [rsp + 40], rsi",
                "mov [rsp + 48], rdx",
                "mov [rsp + 56], rcx",
                "mov [rsp + 64], r8",
                "mov [rsp + 72], r9",
                "test al, al",
                "je 2f",
                "movaps [rsp + 80], xmm0",
                "movaps [rsp + 96], xmm1",
                "movaps [rsp + 112], xmm2",
                "movaps [rsp + 128], xmm3",
                "movaps [rsp + 144], xmm4",
                "movaps [rsp + 160], xmm5",
                "movaps [rsp + 176], xmm6",
                "movaps [rsp + 192], xmm7",
                "2:",
                "mov dword ptr [rsp], 8",
                "mov dword ptr [rsp + 4], 48",
                "lea rax, [rsp + 224]",
                "mov [rsp + 8], rax",
                "lea rax, [rsp + 32]",
                "mov [rsp + 16], rax",
                "mov rsi, rsp",
                "call {print}",
                "add rsp, 216",
                "ret",
                print = sym $print,
            )
        }
    )* };
}

variadic! {
    GC_printf => print_out;
    GC_err_printf => print_err;
    GC_log_printf => print_log;
}
