//! The operating system: memory, threads, clock. The only user of `libc`.

/// Writes to standard error, ignoring failure: there is nobody to tell.
pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: the pointer and the length come from one slice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}
