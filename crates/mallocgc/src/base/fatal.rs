//! Last words: a message written without allocating, then `abort`.
//!
//! For a corrupt heap only. What a caller can act on is a `Result`; what a
//! caller did wrong is a panic.

use core::fmt::{self, Write};

/// Formats into standard error through a fixed buffer, flushing when full.
struct Stderr {
    buffer: [u8; 512],
    used: usize,
}

impl Stderr {
    fn flush(&mut self) {
        // tidy: allow layers: a corrupt heap must be able to say so from every layer
        crate::os::write_stderr(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Writes `message` and a newline to standard error without allocating.
pub fn print_unbuffered(message: fmt::Arguments<'_>) {
    let mut out = Stderr { buffer: [0; 512], used: 0 };
    // Writing to `Stderr` cannot fail.
    let _ = out.write_fmt(message);
    let _ = out.write_str("\n");
    out.flush();
}

/// Ends the process after `message`. Use through [`fatal!`](crate::fatal).
#[cold]
pub fn die(message: fmt::Arguments<'_>) -> ! {
    print_unbuffered(format_args!("mallocgc: fatal: {message}"));
    std::process::abort()
}

/// Reports a corrupt heap and aborts; never allocates, never unwinds.
#[macro_export]
macro_rules! fatal {
    ($($arg:tt)*) => { $crate::base::fatal::die(format_args!($($arg)*)) };
}
