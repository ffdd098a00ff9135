//! Names for code addresses.
//!
//! With the feature `profile` names come from the debug information of this
//! program; without it there are none, and callers print numbers. Symbolising
//! allocates, reads files and takes a lock of its own: never while the world is stopped.

/// A function and a place in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(not(feature = "profile"), allow(dead_code, reason = "made with the feature only"))]
pub(super) struct Symbol {
    /// The function's name as a programmer knows it.
    pub(super) name: String,
    /// The function's name as the linker knows it.
    pub(super) linker_name: String,
    /// The source file, or nothing.
    pub(super) file: String,
    /// The line in it, or 0.
    pub(super) line: u32,
}

/// The functions that `return_address` lies in: more than one when the call was
/// made from an inlined function, the innermost first. Empty when unknown.
#[cfg(feature = "profile")]
pub(super) fn resolve(return_address: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    // The call is before the address it returns to; that may already belong to
    // another line, or another function.
    let call = core::ptr::without_provenance_mut(call_address(return_address));
    backtrace::resolve(call, |symbol| {
        let Some(name) = symbol.name() else { return };
        symbols.push(Symbol {
            // The alternate form leaves the compiler's hash out.
            name: format!("{name:#}"),
            linker_name: name.as_str().unwrap_or_default().to_owned(),
            file: symbol.filename().map(|file| file.display().to_string()).unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    symbols
}

/// As above: nothing is known.
#[cfg(not(feature = "profile"))]
pub(super) fn resolve(_return_address: usize) -> Vec<Symbol> {
    Vec::new()
}

/// An address inside the call that returns to `return_address`.
pub(super) fn call_address(return_address: usize) -> usize {
    return_address.saturating_sub(1)
}
