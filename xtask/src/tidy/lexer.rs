//! Rust source as tokens with line numbers: enough to find paths and names.
//!
//! Comments, strings and characters vanish, except that comments of the form
//! `// tidy: allow <rule>: <reason>` are kept as waivers. Code under
//! `#[cfg(test)]` can be cut out with [`without_tests`].
//!
//! Not a parser: macros and `use` trees are plain tokens here.

use std::collections::BTreeSet;

/// A token that is neither a comment nor a literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    /// An identifier, `::`, or one character of punctuation.
    pub(crate) text: String,
    /// Line in the file, from 1.
    pub(crate) line: usize,
}

/// A file's tokens and waivers.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    /// Lines a waiver speaks for, its own and the next one with code, by rule.
    waivers: BTreeSet<(usize, String)>,
}

impl Source {
    /// Whether a rule is waived on a line.
    pub(crate) fn waives(&self, line: usize, rule: &str) -> bool {
        self.waivers.contains(&(line, rule.to_string()))
    }
}

/// Splits a file into tokens.
pub(crate) fn tokens(text: &str) -> Source {
    let bytes = text.as_bytes();
    let mut source = Source::default();
    let mut comments: Vec<(usize, String)> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let byte = bytes[at];
        let start = at;
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            comments.push((line, text[start..at].to_string()));
        } else if rest.starts_with("/*") {
            at += block_comment(rest);
        } else if let Some(length) = string(rest) {
            at += length;
        } else if byte == b'\'' {
            at += character_or_lifetime(rest);
        } else if byte.is_ascii_alphanumeric() || byte == b'_' {
            let length =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            at += length;
            source.tokens.push(Token { text: rest[..length].to_string(), line });
        } else if rest.starts_with("::") {
            at += 2;
            source.tokens.push(Token { text: "::".to_string(), line });
        } else {
            let c = rest.chars().next().expect("not at the end");
            at += c.len_utf8();
            if !c.is_whitespace() {
                source.tokens.push(Token { text: c.to_string(), line });
            }
        }
        line += text[start..at].matches('\n').count();
    }
    for (line, comment) in comments {
        let Some(waiver) = comment.trim_start_matches('/').trim().strip_prefix("tidy: allow ")
        else {
            continue;
        };
        // A waiver without a reason waives nothing.
        let Some((rule, reason)) = waiver.split_once(':') else { continue };
        if reason.trim().is_empty() {
            continue;
        }
        let next = source.tokens.iter().map(|token| token.line).find(|next| *next >= line);
        for line in [Some(line), next].into_iter().flatten() {
            source.waivers.insert((line, rule.trim().to_string()));
        }
    }
    source
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().expect("not at the end").len_utf8();
        }
    }
    at
}

/// Length of the string literal at the start of `rest`, if there is one.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix) && rest[prefix.len()..].starts_with(['"', '#']))?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if !body[hashes..].starts_with('"') {
            // A raw identifier.
            return None;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let inner = &body[hashes + 1..];
        let end = inner.find(&close).map_or(inner.len(), |end| end + close.len());
        return Some(prefix.len() + hashes + 1 + end);
    }
    if !body.starts_with('"') {
        return None;
    }
    let mut escaped = false;
    for (index, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(prefix.len() + index + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// Length of the character literal, or of a lifetime's quote, at the start of
/// `rest`.
fn character_or_lifetime(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // The escaped character may be a quote.
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(rest.len(), |(index, _)| index + 1)
        }
        Some((_, _)) => match chars.next() {
            Some((index, '\'')) => index + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// The tokens outside items, fields and statements under a `cfg` that asks for
/// `test`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(end) = attribute_end(tokens, at) {
            if is_test_attribute(&tokens[at..end]) {
                at = item_end(tokens, end);
                continue;
            }
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The end of the outer attribute at `at`, if there is one.
fn attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    if tokens[at].text != "#" || tokens.get(at + 1)?.text != "[" {
        return None;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
        }
    }
    None
}

/// Whether an attribute is a `cfg` that asks for `test`, or `test` itself.
pub(crate) fn is_test_attribute(attribute: &[Token]) -> bool {
    let text = |index: usize| attribute.get(index).map_or("", |token| token.text.as_str());
    let asks_for_test = |index: usize| text(index) == "test" && text(index - 2) != "not";
    text(2) == "test" || text(2) == "cfg" && (4..attribute.len()).any(asks_for_test)
}

/// The end of the item, field or statement at `at`, with its attributes.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len()
        && let Some(end) = attribute_end(tokens, at)
    {
        at = end;
    }
    const ITEMS: [&str; 16] = [
        "fn",
        "mod",
        "use",
        "impl",
        "struct",
        "enum",
        "union",
        "const",
        "static",
        "unsafe",
        "extern",
        "type",
        "trait",
        "let",
        "macro_rules",
        "async",
    ];
    let first = tokens[at..]
        .iter()
        .find(|token| !["pub", "(", "crate", "super", ")", "in"].contains(&token.text.as_str()));
    let is_item = first.is_some_and(|token| ITEMS.contains(&token.text.as_str()));
    let is_block = |index: usize| tokens[index].text == "}";

    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            // The end of what surrounds a last field.
            ")" | "]" | "}" if depth == 0 => return index,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 && is_block(index) {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            "," if depth == 0 && !is_item => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> String {
        let tokens: Vec<String> =
            without_tests(&tokens(source).tokens).into_iter().map(|token| token.text).collect();
        tokens.join(" ")
    }

    #[test]
    fn comments_strings_and_characters_vanish() {
        assert_eq!(texts("a /* b /* c */ d */ e // f\ng"), "a e g");
        assert_eq!(
            texts(r##"x("a \" b", r#"c " d"#, b"e", 'f', '\'', '\u{41}') y"##),
            "x ( , , , , , ) y"
        );
        assert_eq!(texts("fn f<'a>(x: &'a str) {}"), "fn f < a > ( x : & a str ) { }");
        assert_eq!(texts("let r = r#type;"), "let r = r # type ;");
    }

    #[test]
    fn test_code_is_cut_out() {
        assert_eq!(texts("a; #[cfg(test)] mod tests { use x::{y}; } b;"), "a ; b ;");
        assert_eq!(texts("#[cfg(test)] mod tests; b;"), "b ;");
        assert_eq!(texts("#[cfg(test)] #[inline] fn f<A, B>(a: A, b: B) { c; } d"), "d");
        assert_eq!(texts("struct S { #[cfg(test)] a: Vec<u8>, b: u8 }"), "struct S { b : u8 }");
        assert_eq!(texts("struct S { b: u8, #[cfg(test)] a: u8 }"), "struct S { b : u8 , }");
        assert_eq!(texts("#[cfg(not(test))] fn f() {}"), "# [ cfg ( not ( test ) ) ] fn f ( ) { }");
        assert_eq!(texts("#[cfg(all(test, not(loom)))] mod m { } x"), "x");
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = tokens("a\n/* \n\n */ b \"\n\" c");
        let lines: Vec<usize> = source.tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 4, 5]);
    }

    #[test]
    fn waivers_need_a_reason() {
        let source = tokens("// tidy: allow layers: for a reason\nx;\n// tidy: allow layers:\ny;");
        assert!(source.waives(1, "layers") && source.waives(2, "layers"));
        assert!(!source.waives(2, "libc") && !source.waives(4, "layers"));
    }
}
