//! The paths that a file names: those of its `use` trees, spelled out, and those
//! in its code.

use super::lexer::Token;

/// A path with two or more segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// All paths of a file, in order.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = is_name(&tokens[at]) && (at == 0 || tokens[at - 1].text != "::");
        if begins && tokens.get(at + 1).is_some_and(|token| token.text == "::") {
            at = tree(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Follows a path, through the braces of a `use` tree; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].line;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at].text != "}" {
                    if tokens[at].text == "," {
                        at += 1;
                    } else {
                        at = tree(tokens, at, &segments, found);
                    }
                }
                return at + 1;
            }
            "*" => {
                segments.push("*".to_string());
                at += 1;
                break;
            }
            // `self` in braces is the prefix itself.
            "self" if !prefix.is_empty() => at += 1,
            _ if is_name(&tokens[at]) => {
                segments.push(tokens[at].text.clone());
                at += 1;
                if tokens.get(at).is_none_or(|token| token.text != "::") {
                    break;
                }
            }
            _ => {
                // Turbofish and other things that only code has.
                at += usize::from(prefix.is_empty());
                break;
            }
        }
    }
    // A new name is of no interest, but has to be stepped over inside braces.
    if tokens.get(at).is_some_and(|token| token.text == "as") {
        at += 2;
    }
    found.push(Path { segments, line });
    if !prefix.is_empty() {
        // Whatever was not understood ends with this entry of the braces.
        while tokens.get(at).is_some_and(|token| !matches!(token.text.as_str(), "," | "}")) {
            at += 1;
        }
    }
    at
}

fn is_name(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

    fn found(source: &str) -> Vec<String> {
        paths(&tokens(source).tokens).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        assert_eq!(
            found("use crate::{base::{Address as A, sync::{self, Lock}}, os::*}; use super::x;"),
            [
                "crate::base::Address",
                "crate::base::sync",
                "crate::base::sync::Lock",
                "crate::os::*",
                "super::x"
            ]
        );
    }

    #[test]
    fn code_paths_are_found() {
        assert_eq!(
            found(
                "fn f() -> crate::os::OsError { crate::heap::Span::<u8>::new(a::B { c: d::e }) }"
            ),
            ["crate::os::OsError", "crate::heap::Span", "a::B", "d::e"]
        );
        assert_eq!(found("match x { A::B => 1, A::C { y } => 2 }"), ["A::B", "A::C"]);
    }
}
