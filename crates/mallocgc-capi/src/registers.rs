//! Registers put on the stack, for who scans it.

/// Whether [`with_registers`] knows this processor.
pub(crate) const SUPPORTED: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Calls `body` with the address of a place on the stack: what the callers of
/// this function have in registers lies at or above it until `body` returns.
///
/// Only registers that a callee must keep can hold something that a caller still
/// needs. They are stored here, or were by a function between that caller and this, higher on the stack.
#[inline(never)]
pub(crate) fn with_registers<R>(body: impl FnOnce(usize) -> R) -> R {
    let mut saved = [0usize; 12];
    let place = saved.as_mut_ptr();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: six words are written, of twelve.
    unsafe {
        core::arch::asm!(
            "mov [{0}], rbx",
            "mov [{0} + 8], rbp",
            "mov [{0} + 16], r12",
            "mov [{0} + 24], r13",
            "mov [{0} + 32], r14",
            "mov [{0} + 40], r15",
            in(reg) place,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: eleven words are written, of twelve.
    unsafe {
        core::arch::asm!(
            "stp x19, x20, [{0}]",
            "stp x21, x22, [{0}, 16]",
            "stp x23, x24, [{0}, 32]",
            "stp x25, x26, [{0}, 48]",
            "stp x27, x28, [{0}, 64]",
            "str x29, [{0}, 80]",
            in(reg) place,
            options(nostack, preserves_flags),
        );
    }
    let result = body(place.expose_provenance());
    // The place must be there until now.
    std::hint::black_box(&mut saved);
    result
}
