//! From text to values. Chapter 2.

use crate::machine::Run;
use crate::value::{Outcome, Symbol, Value, cons, list, text, wrong};
use mallocgc::typed::{Gc, Lock};

/// How deep lists may be nested: the reader recurses, on a stack that is not the heap's.
const DEPTH: usize = 1000;

/// What is not read as a part of a name.
const ENDS: &str = "()'\";";

/// A text, and how far it has been read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader { rest: text, depth: 0 }
    }

    /// Reads the next value, if there is one.
    pub fn read<'gc>(&mut self, run: Run<'_, 'gc>) -> Outcome<'gc, Option<Value<'gc>>> {
        self.skip();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let value = match first {
            '(' => self.inside(run, Reader::list)?,
            ')' => return wrong("a parenthesis too many", Value::Nothing),
            '\'' => {
                let quoted = self.inside(run, Reader::value)?;
                list(run.cx, &[run.symbol("quote")?, quoted], Value::Nil)?
            }
            '"' => self.text(run)?,
            _ => self.atom(run)?,
        };
        Ok(Some(value))
    }

    /// Reads what begins with one character, a level deeper.
    fn inside<'gc>(
        &mut self,
        run: Run<'_, 'gc>,
        read: fn(&mut Self, Run<'_, 'gc>) -> Outcome<'gc>,
    ) -> Outcome<'gc> {
        if self.depth == DEPTH {
            return wrong("nested too deeply", Value::Nothing);
        }
        self.rest = &self.rest[1..];
        self.depth += 1;
        let value = read(self, run)?;
        self.depth -= 1;
        Ok(value)
    }

    fn value<'gc>(&mut self, run: Run<'_, 'gc>) -> Outcome<'gc> {
        match self.read(run)? {
            Some(value) => Ok(value),
            None => wrong("the text ends too early", Value::Nothing),
        }
    }

    /// Reads the rest of a list.
    fn list<'gc>(&mut self, run: Run<'_, 'gc>) -> Outcome<'gc> {
        let mut values = Vec::new();
        let mut tail = Value::Nil;
        loop {
            self.skip();
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                return list(run.cx, &values, tail);
            }
            if !matches!(tail, Value::Nil) {
                return wrong("more than one value behind the dot", tail);
            }
            let value = self.value(run)?;
            match value {
                Value::Symbol(symbol) if &*symbol.name == "." => tail = self.value(run)?,
                value => values.push(value),
            }
        }
    }

    fn text<'gc>(&mut self, run: Run<'_, 'gc>) -> Outcome<'gc> {
        let mut content = String::new();
        let mut chars = self.rest[1..].chars();
        while let Some(char) = chars.next() {
            match char {
                '"' => {
                    self.rest = chars.as_str();
                    return text(run.cx, &content);
                }
                '\\' => match chars.next() {
                    Some('n') => content.push('\n'),
                    Some(other) => content.push(other),
                    None => break,
                },
                other => content.push(other),
            }
        }
        wrong("the text ends too early", Value::Nothing)
    }

    /// Reads a number, `#t`, `#f` or a name.
    fn atom<'gc>(&mut self, run: Run<'_, 'gc>) -> Outcome<'gc> {
        let is_end = |char: char| char.is_whitespace() || ENDS.contains(char);
        let (atom, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        match atom {
            "#t" => Ok(Value::Bool(true)),
            "#f" => Ok(Value::Bool(false)),
            _ => match atom.parse() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => run.symbol(atom),
            },
        }
    }

    /// Skips spaces and comments.
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with(';') {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        }
    }
}

impl<'gc> Run<'_, 'gc> {
    /// The symbol of a name.
    pub fn symbol(self, name: &str) -> Outcome<'gc> {
        if let Some(&symbol) = self.machine.symbols.borrow().get(name) {
            return Ok(Value::Symbol(symbol));
        }
        let symbol = Symbol { name: Gc::try_from_str(self.cx, name)?, global: Lock::new(None) };
        let symbol = Gc::try_new(self.cx, symbol)?;
        self.machine.symbols.borrow_mut(self.cx).insert(name.to_string(), symbol);
        Ok(Value::Symbol(symbol))
    }

    /// A form that begins with a name.
    pub fn form(self, name: &str, rest: Value<'gc>) -> Outcome<'gc> {
        cons(self.cx, self.symbol(name)?, rest)
    }
}
