//! The reader: text to data, with where each list began.
//!
//! Lists of any length are read without recursion; nesting is limited. A text is read datum by datum, so that
//! positions, kept by the address of the list's first pair, are of objects that this step holds.

use crate::machine::Machine;
use crate::number;
use crate::value::{self, Kind, Outcome, Value, cons, fault, list_with_tail};
use mallocgc::typed::Cx;
use std::collections::HashMap;

/// How deep data may be nested.
const MAX_DEPTH: usize = 10_000;

/// Reads one text.
pub(crate) struct Reader<'a, 'gc> {
    cx: &'a Cx<'gc>,
    machine: &'a Machine<'gc>,
    chars: &'a [char],
    /// How far it has come.
    pub(crate) at: usize,
    pub(crate) fold_case: bool,
    labels: HashMap<u64, Value<'gc>>,
    /// Line and column of lists, by the address of their first pair.
    pub(crate) places: HashMap<usize, (u32, u32)>,
    /// Whether `places` is kept.
    pub(crate) keep_places: bool,
    /// Line at `counted_to`, and where it begins.
    line: (u32, usize),
    counted_to: usize,
}

/// What follows in the text.
enum Token<'gc> {
    Datum(Value<'gc>),
    Close,
    Dot,
    End,
}

impl<'a, 'gc> Reader<'a, 'gc> {
    /// A reader that begins at a place of the text, which is in a line that has a number and a begin.
    pub(crate) fn new(
        cx: &'a Cx<'gc>,
        machine: &'a Machine<'gc>,
        chars: &'a [char],
        at: usize,
        line: (u32, usize),
    ) -> Self {
        Reader {
            cx,
            machine,
            chars,
            at,
            fold_case: false,
            labels: HashMap::new(),
            places: HashMap::new(),
            keep_places: true,
            line,
            counted_to: at,
        }
    }

    /// The line that has been reached, and where it begins.
    pub(crate) fn line(&mut self) -> (u32, usize) {
        self.place(self.at);
        self.line
    }

    fn place(&mut self, at: usize) -> (u32, u32) {
        for index in self.counted_to..at.min(self.chars.len()) {
            if self.chars[index] == '\n' {
                self.line = (self.line.0 + 1, index + 1);
            }
        }
        self.counted_to = self.counted_to.max(at);
        (self.line.0, (at.saturating_sub(self.line.1) + 1) as u32)
    }

    fn error<T>(&mut self, message: &str) -> Outcome<'gc, T> {
        let (line, column) = self.place(self.at);
        let mut error = fault(Kind::Read, message, &[]);
        if let value::Fault::Error(report) = &mut error {
            (report.line, report.column) = (line, column);
        }
        Err(error)
    }

    /// The next datum; `None` at the end of the text.
    pub(crate) fn read(&mut self) -> Outcome<'gc, Option<Value<'gc>>> {
        match self.token(0)? {
            Token::Datum(datum) => Ok(Some(datum)),
            Token::End => Ok(None),
            Token::Close => self.error("unexpected )"),
            Token::Dot => self.error("unexpected ."),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn datum(&mut self, depth: usize) -> Outcome<'gc> {
        match self.token(depth)? {
            Token::Datum(datum) => Ok(datum),
            Token::End => self.error("unexpected end of input"),
            Token::Close => self.error("unexpected )"),
            Token::Dot => self.error("unexpected ."),
        }
    }

    /// Skips white space and comments.
    fn skip(&mut self, depth: usize) -> Outcome<'gc, ()> {
        while let Some(c) = self.peek() {
            match (c, self.ahead(1)) {
                (';', _) => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                ('#', Some('|')) => {
                    let mut nested = 0;
                    loop {
                        match (self.peek(), self.ahead(1)) {
                            (Some('#'), Some('|')) => (nested, self.at) = (nested + 1, self.at + 2),
                            (Some('|'), Some('#')) => (nested, self.at) = (nested - 1, self.at + 2),
                            (Some(_), _) => self.at += 1,
                            (None, _) => return self.error("unexpected end of input in a comment"),
                        }
                        if nested == 0 {
                            break;
                        }
                    }
                }
                ('#', Some(';')) => {
                    self.at += 2;
                    self.datum(depth + 1)?;
                }
                ('#', Some('!')) => {
                    let at_begin = self.at == 0;
                    self.at += 2;
                    match self.word().as_str() {
                        "fold-case" => self.fold_case = true,
                        "no-fold-case" => self.fold_case = false,
                        "eof" => self.at = self.chars.len(),
                        _ if !at_begin => return self.error("unknown directive"),
                        // As in the first line of a script.
                        _ => {
                            while self.peek().is_some_and(|c| c != '\n') {
                                self.at += 1;
                            }
                        }
                    }
                }
                (c, _) if c.is_whitespace() => self.at += 1,
                _ => break,
            }
        }
        Ok(())
    }

    fn word(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(|c| !c.is_whitespace() && !"()\";'`,|".contains(c)) {
            self.at += 1;
        }
        self.chars[from..self.at].iter().collect()
    }

    fn token(&mut self, depth: usize) -> Outcome<'gc, Token<'gc>> {
        if depth > MAX_DEPTH {
            return self.error("data nested too deeply");
        }
        self.skip(depth)?;
        let Some(c) = self.peek() else { return Ok(Token::End) };
        let from = self.at;
        self.at += 1;
        let datum = match c {
            '(' | '[' => self.list(from, depth)?,
            ')' | ']' => return Ok(Token::Close),
            '\'' => self.quotation("quote", from, depth)?,
            '`' => self.quotation("quasiquote", from, depth)?,
            ',' if self.peek() == Some('@') => {
                self.at += 1;
                self.quotation("unquote-splicing", from, depth)?
            }
            ',' => self.quotation("unquote", from, depth)?,
            '"' => {
                let text = self.delimited('"')?;
                value::text(self.cx, &text)?
            }
            '#' => self.hash(depth)?,
            _ => {
                self.at = from;
                return self.atom();
            }
        };
        Ok(Token::Datum(datum))
    }

    /// A number, a symbol or a dot.
    fn atom(&mut self) -> Outcome<'gc, Token<'gc>> {
        let mut name = String::new();
        let mut quoted = false;
        loop {
            name += &self.word();
            if self.peek() != Some('|') {
                break;
            }
            self.at += 1;
            name += &self.delimited('|')?;
            quoted = true;
        }
        if !quoted {
            if name == "." {
                return Ok(Token::Dot);
            }
            if let Some(number) = number::parse(&name, 10) {
                return Ok(Token::Datum(number.value(self.cx)?));
            }
            if name.is_empty() {
                self.at += 1;
                return self.error("unexpected character");
            }
            if self.fold_case {
                name = name.to_lowercase();
            }
        }
        Ok(Token::Datum(self.machine.symbol(self.cx, &name)?))
    }

    fn list(&mut self, from: usize, depth: usize) -> Outcome<'gc> {
        let place = self.place(from);
        let mut items = Vec::new();
        let mut tail = Value::Nil;
        loop {
            match self.token(depth + 1)? {
                Token::Datum(datum) => items.push(datum),
                Token::Close => break,
                Token::Dot if !items.is_empty() => {
                    tail = self.datum(depth + 1)?;
                    match self.token(depth + 1)? {
                        Token::Close => break,
                        _ => return self.error("expected ) after the datum behind ."),
                    }
                }
                Token::Dot => return self.error("unexpected ."),
                Token::End => return self.error("unexpected end of input in a list"),
            }
        }
        let list = list_with_tail(self.cx, &items, tail)?;
        if let (Some(address), true) = (list.address(), self.keep_places) {
            self.places.insert(address, place);
        }
        Ok(list)
    }

    fn quotation(&mut self, name: &str, from: usize, depth: usize) -> Outcome<'gc> {
        let place = self.place(from);
        let datum = self.datum(depth + 1)?;
        let rest = cons(self.cx, datum, Value::Nil)?;
        let all = cons(self.cx, self.machine.symbol(self.cx, name)?, rest)?;
        if let (Some(address), true) = (all.address(), self.keep_places) {
            self.places.insert(address, place);
        }
        Ok(all)
    }

    /// What stands before a closing quote or bar, with escapes.
    fn delimited(&mut self, end: char) -> Outcome<'gc, String> {
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return self.error("unexpected end of input in a string");
            };
            self.at += 1;
            match c {
                c if c == end => return Ok(text),
                '\\' => {
                    let Some(escape) = self.peek() else { continue };
                    self.at += 1;
                    match escape {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        'r' => text.push('\r'),
                        'a' => text.push('\x07'),
                        'b' => text.push('\x08'),
                        'x' | 'X' => {
                            let from = self.at;
                            while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                                self.at += 1;
                            }
                            let digits: String = self.chars[from..self.at].iter().collect();
                            let code = u32::from_str_radix(&digits, 16).ok();
                            match (code.and_then(char::from_u32), self.peek()) {
                                (Some(c), Some(';')) => text.push(c),
                                _ => return self.error("malformed \\x escape"),
                            }
                            self.at += 1;
                        }
                        c if c.is_whitespace() => self.line_continuation(c),
                        other => text.push(other),
                    }
                }
                c => text.push(c),
            }
        }
    }

    /// A backslash, spaces, a line's end, spaces: all nothing.
    fn line_continuation(&mut self, first: char) {
        let blank = |c: char| c == ' ' || c == '\t';
        if blank(first) {
            while self.peek().is_some_and(blank) {
                self.at += 1;
            }
            if self.peek() == Some('\n') {
                self.at += 1;
            }
        }
        while self.peek().is_some_and(blank) {
            self.at += 1;
        }
    }

    /// What begins with `#`, which has been read.
    fn hash(&mut self, depth: usize) -> Outcome<'gc> {
        match self.peek() {
            Some('(') => {
                let from = self.at;
                self.at += 1;
                let items = self.list(from, depth)?.list()?;
                value::vector(self.cx, items)
            }
            Some('\\') => self.character(),
            Some('u') if self.ahead(1) == Some('8') && self.ahead(2) == Some('(') => {
                let from = self.at + 2;
                self.at += 3;
                let items = self.list(from, depth)?.list()?;
                let mut bytes = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Value::Fixnum(n @ 0..=255) => bytes.push(n as u8),
                        _ => return self.error("a bytevector has bytes"),
                    }
                }
                value::bytes(self.cx, bytes)
            }
            Some(c) if c.is_ascii_digit() => self.label(depth),
            _ => {
                let word = self.word();
                match word.as_str() {
                    "t" | "true" => Ok(Value::True),
                    "f" | "false" => Ok(Value::False),
                    _ => match number::parse(&format!("#{word}"), 10) {
                        Some(number) => number.value(self.cx),
                        None => self.error(&format!("unknown syntax #{word}")),
                    },
                }
            }
        }
    }

    fn character(&mut self) -> Outcome<'gc> {
        self.at += 1;
        let Some(first) = self.peek() else { return self.error("unexpected end of input") };
        self.at += 1;
        let rest = self.word();
        if rest.is_empty() {
            return Ok(Value::from(first));
        }
        let name = format!("{first}{rest}");
        if let Some(digits) = name.strip_prefix(['x', 'X'])
            && let Some(c) = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
        {
            return Ok(Value::from(c));
        }
        match CHARACTER_NAMES.iter().find(|(known, _)| *known == name.to_lowercase()) {
            Some(&(_, c)) => Ok(Value::from(c)),
            None => self.error(&format!("unknown character #\\{name}")),
        }
    }

    /// `#n=` or `#n#`.
    fn label(&mut self, depth: usize) -> Outcome<'gc> {
        let mut number = 0u64;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        let kind = self.peek();
        self.at += 1;
        match kind {
            Some('#') => match self.labels.get(&number) {
                Some(&value) => Ok(value),
                None => self.error("a reference to an unknown label"),
            },
            Some('=') => {
                // A pair that nobody else has stands for the datum until it is there.
                let stand_in = cons(self.cx, Value::Undefined, Value::Nil)?;
                self.labels.insert(number, stand_in);
                let datum = self.datum(depth + 1)?;
                self.labels.insert(number, datum);
                self.replace(datum, stand_in, datum);
                Ok(datum)
            }
            _ => self.error("malformed label"),
        }
    }

    /// Puts `new` wherever `old` is in a datum.
    fn replace(&mut self, datum: Value<'gc>, old: Value<'gc>, new: Value<'gc>) {
        let mut seen = std::collections::HashSet::new();
        let mut rest = vec![datum];
        while let Some(datum) = rest.pop() {
            if !datum.address().is_some_and(|address| seen.insert(address)) {
                continue;
            }
            let mut visit = |place: &mallocgc::typed::Lock<Value<'gc>>| {
                if place.get().is(old) {
                    place.set(self.cx, new);
                } else {
                    rest.push(place.get());
                }
            };
            match datum {
                Value::Pair(pair) => {
                    visit(&pair.first);
                    visit(&pair.rest);
                }
                Value::Vector(vector) => vector.items.iter().for_each(visit),
                _ => {}
            }
        }
    }
}

/// Characters with names.
pub(crate) const CHARACTER_NAMES: [(&str, char); 10] = [
    ("space", ' '),
    ("newline", '\n'),
    ("tab", '\t'),
    ("return", '\r'),
    ("null", '\0'),
    ("nul", '\0'),
    ("alarm", '\x07'),
    ("backspace", '\x08'),
    ("delete", '\x7f'),
    ("escape", '\x1b'),
];
