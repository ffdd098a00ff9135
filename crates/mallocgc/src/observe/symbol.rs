//! Names for code addresses, and which of them are this library's.
//!
//! With the feature `profile` names come from the debug information of this
//! program; without it there are none, and callers print numbers. Symbolising
//! allocates, reads files and takes a lock of its own: never while the world is stopped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Crates whose functions call back and forth between this library's.
const BETWEEN: [&str; 3] = ["core", "alloc", "std"];

/// A function and a place in it.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl Symbol {
    /// A function of which nothing but the name is known.
    pub(super) fn unplaced(name: &str) -> Symbol {
        Symbol { name: name.to_owned(), linker_name: String::new(), file: String::new(), line: 0 }
    }
}

/// As `function at file:line`, as far as known.
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.file.is_empty() {
            write!(f, " at {}:{}", self.file, self.line)?;
        }
        Ok(())
    }
}

/// What answers for an address.
type Resolver = Box<dyn FnMut(usize) -> Vec<Symbol> + Send>;

/// Symbols by return address, each looked up once.
pub(super) struct Symbols {
    known: HashMap<usize, Arc<[Symbol]>>,
    resolver: Resolver,
}

impl Symbols {
    /// Knows nothing yet, and asks the debug information.
    pub(super) fn new() -> Symbols {
        Symbols::from_resolver(resolve)
    }

    /// Knows nothing yet, and asks `resolver`.
    pub(super) fn from_resolver(
        resolver: impl FnMut(usize) -> Vec<Symbol> + Send + 'static,
    ) -> Symbols {
        Symbols { known: HashMap::new(), resolver: Box::new(resolver) }
    }

    /// The functions that `return_address` lies in, innermost first.
    pub(super) fn of(&mut self, return_address: usize) -> Arc<[Symbol]> {
        let symbols = self.known.entry(return_address);
        symbols.or_insert_with(|| (self.resolver)(return_address).into()).clone()
    }

    /// How many innermost frames of `stack` are this library's, and how many
    /// innermost functions of the frame after them, inlined there. A stack
    /// that has nothing else keeps all its frames.
    pub(super) fn own_frames(&mut self, stack: &[usize]) -> (usize, usize) {
        let (frames, functions) = self.count_own_frames(stack);
        if frames == stack.len() { (0, 0) } else { (frames, functions) }
    }

    fn count_own_frames(&mut self, stack: &[usize]) -> (usize, usize) {
        let mut own = (0, 0);
        for (frame, &return_address) in stack.iter().enumerate() {
            let symbols = self.of(return_address);
            for (function, symbol) in symbols.iter().enumerate() {
                match origin(&symbol.name) {
                    Origin::Own if function + 1 == symbols.len() => own = (frame + 1, 0),
                    Origin::Own => own = (frame, function + 1),
                    Origin::Between => {}
                    Origin::Program => return own,
                }
            }
            if symbols.is_empty() {
                return own;
            }
        }
        own
    }
}

/// The name of the innermost function that a return address lies in, as a programmer knows it. `None` when it is not
/// known, as always without the feature `profile`. Reads files and allocates.
///
/// # Examples
///
/// ```
/// let mut frames = [0; 8];
/// let depth = mallocgc::os::backtrace::capture(&mut frames, 0);
/// let name = mallocgc::observe::function_name(frames[..depth][0]);
/// assert_eq!(name.is_some(), cfg!(feature = "profile"));
/// ```
pub fn function_name(return_address: usize) -> Option<String> {
    resolve(return_address).into_iter().next().map(|symbol| symbol.name)
}

/// Whose code a function is.
#[derive(PartialEq, Eq, Debug)]
enum Origin {
    /// This library's.
    Own,
    /// The standard library's.
    Between,
    /// Anybody else's.
    Program,
}

/// Tells by a function's name, such as `<core::…::Iter as …>::next`, whose it is.
fn origin(name: &str) -> Origin {
    let path = name.trim_start_matches(['<', '&']);
    let (krate, rest) = path.split_once("::").unwrap_or((path, ""));
    // The library's own tests are programs.
    if krate == "mallocgc" && !rest.contains("::tests::") {
        Origin::Own
    } else if BETWEEN.contains(&krate) {
        Origin::Between
    } else {
        Origin::Program
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_frames_end_where_the_program_begins() {
        let names = |return_address: usize| -> &[&str] {
            match return_address {
                1 => &["mallocgc::os::backtrace::capture"],
                2 => &["core::ops::function::FnOnce::call_once"],
                3 => &["<mallocgc::raw::Mutator>::mallocgc_slow"],
                4 => &["<mallocgc::raw::Mutator>::mallocgc", "program::work"],
                5 => &["mallocgc::raw::Mutator::blocking"],
                6 => &["program::main"],
                7 => &["mallocgc::observe::pprof::tests::this"],
                _ => &[],
            }
        };
        let mut symbols = Symbols::from_resolver(move |return_address| {
            names(return_address).iter().map(|name| Symbol::unplaced(name)).collect()
        });
        // User code inside `blocking` stays, and so does `blocking` itself.
        assert_eq!(symbols.own_frames(&[1, 2, 3, 4, 5, 6]), (3, 1));
        assert_eq!(symbols.own_frames(&[1, 2, 3, 6]), (3, 0));
        assert_eq!(symbols.own_frames(&[2, 6]), (0, 0), "the standard library called itself");
        assert_eq!(symbols.own_frames(&[1, 7]), (1, 0));
        assert_eq!(symbols.own_frames(&[1, 3]), (0, 0), "a stack is never empty");
        assert_eq!(symbols.own_frames(&[99, 1, 6]), (0, 0), "unknown functions are kept");
    }

    #[test]
    #[cfg(feature = "profile")]
    fn this_function_is_found() {
        let mut frames = [0; 4];
        crate::os::backtrace::capture(&mut frames, 0);
        let symbols = Symbols::new().of(frames[0]);
        let here = symbols.last().expect("tests have debug information");
        assert!(here.name.contains("symbol::tests::this_function_is_found"), "{here}");
        assert!(here.file.ends_with("symbol.rs") && here.line > 100, "{here}");
    }
}
