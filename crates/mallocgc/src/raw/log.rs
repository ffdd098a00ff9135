//! A heap's messages, one call of the log function for each line.
//!
//! The log function is the user's: it is called as a callback, so that what it
//! asks of a heap is refused, and its panic ends there.
//!
//! Text of several lines is cut at their ends, in a buffer on the stack and not
//! one from the allocator: behind a C interface this thread may have stopped one
//! that holds the allocator's lock.

use crate::raw::config::LogFn;
use crate::raw::heap::Inner;
use crate::world::callback;
use core::fmt::{self, Write};

/// Bytes of a line, the mark included. Lines of the trace have about a hundred.
const LINE_BYTES: usize = 256;

/// Ends a line of which something was cut.
const MARK: &str = "\u{2026}";

impl Inner {
    /// Logs one line.
    pub(crate) fn log(&self, line: fmt::Arguments<'_>) {
        send(&self.config.log, line);
    }

    /// Logs each line that `write` writes.
    pub(crate) fn log_lines(&self, write: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        let mut lines = Lines::new(&self.config.log);
        // `Lines` takes everything.
        let _ = write(&mut lines);
        lines.finish();
    }
}

/// A panic is not counted: the hook has printed it, and there is no other place
/// to tell of it than the log.
fn send(log: &LogFn, line: fmt::Arguments<'_>) {
    let _ = callback::contain(|| log(line));
}

/// Collects fragments of text to lines.
struct Lines<'l> {
    log: &'l LogFn,
    /// The first `used` bytes are text: whole characters.
    bytes: [u8; LINE_BYTES],
    used: usize,
    /// Something of this line did not fit.
    cut: bool,
}

impl<'l> Lines<'l> {
    fn new(log: &'l LogFn) -> Lines<'l> {
        Lines { log, bytes: [0; LINE_BYTES], used: 0, cut: false }
    }

    fn push(&mut self, text: &str) {
        if self.cut {
            return;
        }
        let room = LINE_BYTES - MARK.len() - self.used;
        let fits = text.floor_char_boundary(room);
        self.bytes[self.used..self.used + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.used += fits;
        self.cut = fits < text.len();
    }

    fn end_line(&mut self) {
        if self.cut {
            self.bytes[self.used..self.used + MARK.len()].copy_from_slice(MARK.as_bytes());
            self.used += MARK.len();
        }
        let line = core::str::from_utf8(&self.bytes[..self.used]).expect("whole characters");
        send(self.log, format_args!("{line}"));
        (self.used, self.cut) = (0, false);
    }

    /// Sends a last line that has no end.
    fn finish(&mut self) {
        if self.used != 0 {
            self.end_line();
        }
    }
}

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            let line = part.strip_suffix('\n');
            self.push(line.unwrap_or(part));
            if line.is_some() {
                self.end_line();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn lines_of(write: impl FnOnce(&mut Lines<'_>)) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let log: LogFn = Arc::new(move |line| kept.lock().unwrap().push(line.to_string()));
        let mut lines = Lines::new(&log);
        write(&mut lines);
        lines.finish();
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[test]
    fn fragments_become_lines() {
        let lines = lines_of(|out| {
            writeln!(out, "gc {} of {:>5}", 1, 2).unwrap();
            out.write_str("a\nb\n\nc").unwrap();
            out.write_char('d').unwrap();
        });
        assert_eq!(lines, ["gc 1 of     2", "a", "b", "", "cd"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_marked() {
        let full = "x".repeat(LINE_BYTES - MARK.len());
        let lines = lines_of(|out| {
            writeln!(out, "{full}").unwrap();
            writeln!(out, "{full}y{}z", 1).unwrap();
            writeln!(out, "{}\u{e9}z", &full[1..]).unwrap();
            writeln!(out, "short").unwrap();
        });
        let cut = [format!("{full}{MARK}"), format!("{}{MARK}", &full[1..])];
        assert_eq!(lines, [full.as_str(), &cut[0], &cut[1], "short"]);
    }
}
