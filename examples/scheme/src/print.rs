//! What values look like: `write`, `display`, and labels for data that are circular or shared.

use crate::number;
use crate::reader::CHARACTER_NAMES;
use crate::syntax::base_symbol;
use crate::value::{Kind, Value, to_string};
use std::collections::{HashMap, HashSet};

/// Which objects get labels.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Labels {
    /// Those that contain themselves.
    Circular,
    /// All that are met twice.
    Shared,
    None,
}

/// Whether strings and characters look as in a program.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    Write,
    Display,
}

/// What `write` writes.
pub(crate) fn written(value: Value<'_>) -> String {
    print(value, Style::Write, Labels::Circular)
}

/// What `display` writes.
pub(crate) fn displayed(value: Value<'_>) -> String {
    print(value, Style::Display, Labels::Circular)
}

/// What is left to be written.
enum Item<'gc> {
    Value(Value<'gc>),
    /// The rest of a list.
    Rest(Value<'gc>),
    Text(&'static str),
}

/// The value as a text.
pub(crate) fn print(value: Value<'_>, style: Style, labels: Labels) -> String {
    let labelled = match (value, labels) {
        (Value::Pair(_) | Value::Vector(_), Labels::Circular | Labels::Shared) => {
            find_labelled(value, labels)
        }
        _ => HashSet::new(),
    };
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    let mut out = String::new();
    let mut waiting = vec![Item::Value(value)];
    while let Some(item) = waiting.pop() {
        let value = match item {
            Item::Text(text) => {
                out.push_str(text);
                continue;
            }
            Item::Rest(Value::Nil) => {
                out.push(')');
                continue;
            }
            Item::Rest(value @ Value::Pair(pair)) if !labelled.contains(&address(value)) => {
                out.push(' ');
                waiting.push(Item::Rest(pair.rest.get()));
                pair.first.get()
            }
            Item::Rest(other) => {
                out.push_str(" . ");
                waiting.push(Item::Text(")"));
                other
            }
            Item::Value(value) => value,
        };
        if labelled.contains(&address(value)) {
            let next = numbers.len();
            if let Some(number) = numbers.get(&address(value)) {
                out.push_str(&format!("#{number}#"));
                continue;
            }
            numbers.insert(address(value), next);
            out.push_str(&format!("#{next}="));
        }
        match value {
            Value::Pair(pair) => {
                if let Some((prefix, quoted)) = abbreviation(value)
                    && !labelled.contains(&address(pair.rest.get()))
                {
                    out.push_str(prefix);
                    waiting.push(Item::Value(quoted));
                    continue;
                }
                out.push('(');
                waiting.push(Item::Rest(pair.rest.get()));
                waiting.push(Item::Value(pair.first.get()));
            }
            Value::Vector(vector) => {
                out.push_str("#(");
                waiting.push(Item::Text(")"));
                for (index, item) in vector.items.iter().enumerate().rev() {
                    waiting.push(Item::Value(item.get()));
                    if index > 0 {
                        waiting.push(Item::Text(" "));
                    }
                }
            }
            other => atom(other, style, &mut out),
        }
    }
    out
}

fn address(value: Value<'_>) -> usize {
    value.address().unwrap_or(0)
}

/// `'x` for `(quote x)`, and its kin.
fn abbreviation(value: Value<'_>) -> Option<(&'static str, Value<'_>)> {
    let Value::Pair(pair) = value else { return None };
    let (Value::Symbol(name), Value::Pair(rest)) = (pair.first.get(), pair.rest.get()) else {
        return None;
    };
    let prefix = match &*name.name {
        "quote" => "'",
        "quasiquote" => "`",
        "unquote" => ",",
        "unquote-splicing" => ",@",
        _ => return None,
    };
    matches!(rest.rest.get(), Value::Nil).then(|| (prefix, rest.first.get()))
}

/// Addresses of what needs a label.
fn find_labelled(value: Value<'_>, labels: Labels) -> HashSet<usize> {
    enum Visit<'gc> {
        Enter(Value<'gc>),
        Leave(usize),
    }
    let mut found = HashSet::new();
    // Whether an object is being walked.
    let mut seen: HashMap<usize, bool> = HashMap::new();
    let mut waiting = vec![Visit::Enter(value)];
    while let Some(visit) = waiting.pop() {
        let value = match visit {
            Visit::Leave(address) => {
                seen.insert(address, false);
                continue;
            }
            Visit::Enter(value) => value,
        };
        if !matches!(value, Value::Pair(_) | Value::Vector(_)) {
            continue;
        }
        let address = address(value);
        if let Some(&inside) = seen.get(&address) {
            if inside || labels == Labels::Shared {
                found.insert(address);
            }
            continue;
        }
        seen.insert(address, true);
        waiting.push(Visit::Leave(address));
        match value {
            Value::Pair(pair) => {
                waiting.push(Visit::Enter(pair.rest.get()));
                waiting.push(Visit::Enter(pair.first.get()));
            }
            Value::Vector(vector) => {
                waiting.extend(vector.items.iter().map(|item| Visit::Enter(item.get())));
            }
            _ => {}
        }
    }
    found
}

fn quoted(text: &str, quote: char, out: &mut String) {
    out.push(quote);
    for c in text.chars() {
        match c {
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            c if c.is_control() => out.push_str(&format!("\\x{:x};", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn symbol(name: &str, style: Style, out: &mut String) {
    let plain = !name.is_empty()
        && name != "."
        && !name.starts_with('#')
        && number::parse(name, 10).is_none()
        && !name
            .contains(|c: char| c.is_whitespace() || c.is_control() || "()\";'`,|\\".contains(c));
    if plain || style == Style::Display { out.push_str(name) } else { quoted(name, '|', out) }
}

fn character(c: char, out: &mut String) {
    out.push_str("#\\");
    match CHARACTER_NAMES.iter().find(|(_, known)| *known == c) {
        Some((name, _)) => out.push_str(name),
        None if c.is_control() => out.push_str(&format!("x{:x}", c as u32)),
        None => out.push(c),
    }
}

fn atom(value: Value<'_>, style: Style, out: &mut String) {
    let named = |out: &mut String, kind: &str, name: Value<'_>| match name {
        Value::Symbol(name) => out.push_str(&format!("#<{kind} {}>", &*name.name)),
        _ => out.push_str(&format!("#<{kind}>")),
    };
    match value {
        Value::Nil => out.push_str("()"),
        Value::True => out.push_str("#t"),
        Value::False => out.push_str("#f"),
        Value::Char(c) if style == Style::Write => character(c.get(), out),
        Value::Char(c) => out.push(c.get()),
        Value::Symbol(name) => symbol(&name.name, style, out),
        Value::Alias(_) => {
            if let Ok(name) = base_symbol(value) {
                symbol(&name.name, style, out);
            }
        }
        Value::Text(text) if style == Style::Write => quoted(&to_string(text), '"', out),
        Value::Text(text) => out.push_str(&to_string(text)),
        Value::Bytes(bytes) => {
            let all: Vec<String> = bytes.items.iter().map(|b| b.get().to_string()).collect();
            out.push_str(&format!("#u8({})", all.join(" ")));
        }
        Value::Fixnum(_) | Value::Flonum(_) | Value::Big(_) | Value::Ratio(_) => {
            if let Ok(n) = number::number(value) {
                out.push_str(&number::to_string(&n, 10));
            }
        }
        Value::Closure(closure) => named(out, "procedure", closure.code.name),
        Value::Primitive(primitive) => out.push_str(&format!("#<procedure {}>", primitive.name)),
        Value::RecordType(kind) => named(out, "record-type", kind.name),
        Value::Record(record) => {
            named(out, "record", record.kind.name);
        }
        Value::Condition(condition) => {
            let message = print(condition.message, Style::Display, Labels::None);
            out.push_str(&format!("#<error {message}>"));
        }
        Value::Values(values) => {
            let all: Vec<String> = values.items.iter().map(|v| written(v.get())).collect();
            out.push_str(&all.join(" "));
        }
        Value::Eof => out.push_str("#<eof>"),
        Value::Unspecified => out.push_str("#<unspecified>"),
        Value::Undefined => out.push_str("#<undefined>"),
        Value::Continuation(_) => out.push_str("#<continuation>"),
        Value::Parameter(_) => out.push_str("#<parameter>"),
        Value::Promise(_) => out.push_str("#<promise>"),
        Value::Port(_) => out.push_str("#<port>"),
        Value::Environment(_) => out.push_str("#<environment>"),
        Value::WeakPair(_) => out.push_str("#<weak-pair>"),
        Value::Guardian(_) => out.push_str("#<guardian>"),
        Value::Table(_) => out.push_str("#<hash-table>"),
        Value::Pair(_)
        | Value::Vector(_)
        | Value::Boxed(_)
        | Value::Global(_)
        | Value::Code(_)
        | Value::Return(..) => {
            out.push_str("#<internal>");
        }
    }
}

/// What somebody sees of something that was raised and not handled.
pub(crate) fn report(value: Value<'_>) -> String {
    let Value::Condition(condition) = value else {
        return format!("uncaught: {}", written(value));
    };
    let mut out = String::new();
    if condition.line > 0 {
        out.push_str(&format!("{}:{}: ", condition.line, condition.column));
    }
    let kind = match condition.kind {
        Kind::User | Kind::Primitive => "error",
        Kind::File => "file error",
        Kind::Read => "read error",
        Kind::Syntax => "syntax error",
        Kind::OutOfMemory => "error",
    };
    out.push_str(&format!("{kind}: {}", displayed(condition.message)));
    let mut at = condition.irritants;
    while let Value::Pair(pair) = at {
        out.push_str(&format!(" {}", written(pair.first.get())));
        at = pair.rest.get();
    }
    out
}
