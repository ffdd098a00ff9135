//! From values to text. Chapter 2.

use crate::value::Value;
use std::fmt::Write;

/// How much of a value is written: it may be as large as the heap, or a cycle.
const ITEMS: usize = 1000;

/// A value as it is read.
pub fn written(value: Value<'_>) -> String {
    let mut printer = Printer { text: String::new(), left: ITEMS, quotes: Quotes::Yes };
    printer.print(value, 0);
    printer.text
}

/// A value as it is shown to people: strings without quotes.
pub fn displayed(value: Value<'_>) -> String {
    let mut printer = Printer { text: String::new(), left: ITEMS, quotes: Quotes::No };
    printer.print(value, 0);
    printer.text
}

enum Quotes {
    Yes,
    No,
}

struct Printer {
    text: String,
    left: usize,
    quotes: Quotes,
}

impl Printer {
    fn print(&mut self, value: Value<'_>, depth: usize) {
        if self.left == 0 || depth > ITEMS {
            self.text.push('…');
            return;
        }
        self.left -= 1;
        match value {
            Value::Nil => self.text.push_str("()"),
            Value::Nothing => self.text.push_str("#nothing"),
            Value::Bool(true) => self.text.push_str("#t"),
            Value::Bool(false) => self.text.push_str("#f"),
            Value::Number(number) => self.push(format_args!("{number}")),
            Value::Symbol(symbol) => self.text.push_str(&symbol.name),
            Value::Text(text) => match self.quotes {
                Quotes::Yes => self.push(format_args!("{:?}", text.text)),
                Quotes::No => self.text.push_str(&text.text),
            },
            Value::Pair(_) => self.list(value, depth),
            Value::Vector(vector) => {
                self.text.push_str("#(");
                for (index, item) in vector.items.iter().enumerate() {
                    if index > 0 {
                        self.text.push(' ');
                    }
                    self.print(item.get(), depth + 1);
                    if self.left == 0 {
                        break;
                    }
                }
                self.text.push(')');
            }
            Value::Primitive(primitive) => self.push(format_args!("#<{}>", primitive.name)),
            Value::Condition(condition) => {
                self.text.push_str(&condition.message);
                if !matches!(condition.culprit, Value::Nothing) {
                    self.push(format_args!(" {}", written(condition.culprit)));
                }
            }
            Value::Table(_) => self.text.push_str("#<table>"),
            Value::Closure(_) => self.text.push_str("#<procedure>"),
            Value::Continuation(_) => self.text.push_str("#<continuation>"),
            Value::Weak(_) => self.text.push_str("#<weak box>"),
            Value::Guardian(_) => self.text.push_str("#<guardian>"),
        }
    }

    fn list(&mut self, value: Value<'_>, depth: usize) {
        let (mut at, mut before) = (value, '(');
        while let Value::Pair(pair) = at {
            self.text.push(before);
            self.print(pair.first.get(), depth + 1);
            if self.left == 0 {
                break;
            }
            (at, before) = (pair.rest.get(), ' ');
        }
        if !matches!(at, Value::Nil) && self.left > 0 {
            self.text.push_str(" . ");
            self.print(at, depth + 1);
        }
        self.text.push(')');
    }

    fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.text.write_fmt(arguments).expect("a string takes everything");
    }
}
