//! Messages: warnings by the program's hook, others to the log's descriptor.

use crate::data;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use libc::c_char;

/// Where `GC_log_printf` writes.
pub static LOG_FD: AtomicI32 = AtomicI32::new(2);

/// Text in a buffer on the stack.
pub struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Text {
    pub fn new(arguments: fmt::Arguments<'_>) -> Text {
        let mut text = Text { bytes: [0; 512], len: 0 };
        // Writing to `Text` cannot fail: it cuts.
        let _ = text.write_fmt(arguments);
        text
    }

    pub fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays zero.
        let count = text.len().min(self.bytes.len() - 1 - self.len);
        self.bytes[self.len..self.len + count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        Ok(())
    }
}

pub fn write(fd: i32, bytes: &[u8]) {
    // SAFETY: the pointer and the length come from one slice.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

/// A line on standard error.
pub fn error(arguments: fmt::Arguments<'_>) {
    let text = Text::new(format_args!("{arguments}\n"));
    write(2, text.as_bytes());
}

/// A line in the log.
pub fn log(arguments: fmt::Arguments<'_>) {
    let text = Text::new(format_args!("{arguments}\n"));
    write(LOG_FD.load(Relaxed), text.as_bytes());
}

/// Says loudly, once for each place, that a name has no real behaviour.
pub fn unsupported(name: &str) {
    error(format_args!("mallocgc libgc: {name} has no effect here (docs/libgc.md)"));
}

/// Ends the process as the interface does: the program's hook first.
pub fn abort(arguments: fmt::Arguments<'_>) -> ! {
    let text = Text::new(format_args!("{arguments}"));
    let hook = data::on_abort();
    if let Some(hook) = hook {
        // SAFETY: the program's own, of this type.
        unsafe { hook(text.as_ptr()) };
    } else {
        error(format_args!("{arguments}"));
    }
    // SAFETY: takes no argument.
    unsafe { libc::abort() }
}
