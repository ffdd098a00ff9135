//! Ports and input and output: R7RS 6.13.

use crate::machine::Vm;
use crate::outside::{count, make_room};
use crate::primitive::{Arguments, Primitive};
use crate::print::{Labels, Style, print};
use crate::reader::Reader;
use crate::texts::range;
use crate::value::{Fault, Kind, Outcome, Value, bytes, fault, text, text_of, to_string, wrong};
use mallocgc::raw::External;
use mallocgc::typed::{Gc, Trace};
use std::cell::{RefCell, RefMut};
use std::fs::File;
use std::io::{BufWriter, Read, Write};

/// What a port reads or writes.
enum Medium {
    /// A text, and how far it was read. The standard input's grows as it is needed.
    Text {
        chars: Vec<char>,
        at: usize,
        line: (u32, usize),
        is_standard: bool,
    },
    Bytes {
        bytes: Vec<u8>,
        at: usize,
    },
    TextOut(String),
    BytesOut(Vec<u8>),
    TextFile(BufWriter<File>),
    BytesFile(BufWriter<File>),
    StandardOutput,
    StandardError,
}

struct State {
    of: Medium,
    open: bool,
    /// Bytes of the text in memory; none of what the interpreter itself has.
    counted: Option<External>,
}

/// A port. What it is of lies outside of the heap, as the system's own things do.
#[derive(Trace)]
pub(crate) struct Port {
    state: RefCell<State>,
}

impl Port {
    fn new(of: Medium) -> Port {
        Port { state: RefCell::new(State { of, open: true, counted: None }) }
    }

    pub(crate) fn standard_input() -> Port {
        Port::new(Medium::Text { chars: Vec::new(), at: 0, line: (1, 0), is_standard: true })
    }

    pub(crate) fn standard_output() -> Port {
        Port::new(Medium::StandardOutput)
    }

    pub(crate) fn standard_error() -> Port {
        Port::new(Medium::StandardError)
    }

    /// A port whose text is kept.
    pub(crate) fn to_string() -> Port {
        Port::new(Medium::TextOut(String::new()))
    }

    /// The text that was written.
    pub(crate) fn text(&self) -> String {
        match &self.state.borrow().of {
            Medium::TextOut(text) => text.clone(),
            _ => String::new(),
        }
    }

    fn is_input(&self) -> bool {
        matches!(self.state.borrow().of, Medium::Text { .. } | Medium::Bytes { .. })
    }

    fn is_textual(&self) -> bool {
        let binary = |of: &Medium| {
            matches!(of, Medium::Bytes { .. } | Medium::BytesOut(_) | Medium::BytesFile(_))
        };
        !binary(&self.state.borrow().of)
    }

    /// Counts what is about to be written, if it stays in memory.
    fn make_room<'gc>(&self, vm: &Vm<'gc, '_>, more: usize) -> Outcome<'gc, ()> {
        let State { of, counted, .. } = &mut *self.state.borrow_mut();
        let bytes = match of {
            Medium::TextOut(text) => text.len(),
            Medium::BytesOut(bytes) => bytes.len(),
            _ => return Ok(()),
        };
        match counted {
            Some(counted) if bytes + more > counted.bytes() => {
                // As it grows, so that it is counted seldom.
                make_room(vm.cx, counted, (bytes + more).max(2 * bytes))
            }
            _ => Ok(()),
        }
    }

    /// Writes a text; whether it was possible.
    pub(crate) fn put(&self, text: &str) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.open {
            return false;
        }
        match &mut state.of {
            Medium::TextOut(all) => all.push_str(text),
            Medium::TextFile(file) => return file.write_all(text.as_bytes()).is_ok(),
            Medium::StandardOutput => return std::io::stdout().write_all(text.as_bytes()).is_ok(),
            Medium::StandardError => return std::io::stderr().write_all(text.as_bytes()).is_ok(),
            _ => return false,
        }
        true
    }

    fn put_bytes(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.open {
            return false;
        }
        match &mut state.of {
            Medium::BytesOut(all) => all.extend(bytes),
            Medium::BytesFile(file) => return file.write_all(bytes).is_ok(),
            _ => return false,
        }
        true
    }

    /// Writes what is still held back.
    pub(crate) fn flush(&self) {
        let result = match &mut self.state.borrow_mut().of {
            Medium::TextFile(file) | Medium::BytesFile(file) => file.flush(),
            Medium::StandardOutput => std::io::stdout().flush(),
            _ => Ok(()),
        };
        // Who wants to know asks the file.
        drop(result);
    }
}

impl State {
    /// Lets the standard input's text have another line; whether there is one.
    fn more(&mut self) -> bool {
        if let Medium::Text { chars, is_standard: true, .. } = &mut self.of {
            let mut line = String::new();
            if matches!(std::io::stdin().read_line(&mut line), Ok(count) if count > 0) {
                chars.extend(line.chars());
                return true;
            }
        }
        false
    }

    /// The next character that is to be read.
    fn peek(&mut self) -> Option<char> {
        loop {
            match &self.of {
                Medium::Text { chars, at, .. } if *at < chars.len() => return Some(chars[*at]),
                Medium::Text { .. } => {}
                _ => return None,
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn advance(&mut self, by: usize) {
        match &mut self.of {
            Medium::Text { at, .. } | Medium::Bytes { at, .. } => *at += by,
            _ => {}
        }
    }
}

fn port<'gc>(value: Value<'gc>) -> Outcome<'gc, Gc<'gc, Port>> {
    match value {
        Value::Port(port) => Ok(port),
        other => Err(wrong("a port", other)),
    }
}

fn file_error<'gc>(error: &std::io::Error, name: Value<'gc>) -> Fault<'gc> {
    fault(Kind::File, error.to_string(), &[name])
}

/// The port that is an argument, or else the current one for output.
fn output<'gc>(vm: &Vm<'gc, '_>, args: Arguments<'gc>, at: usize) -> Outcome<'gc, Gc<'gc, Port>> {
    match args.get(at) {
        Some(arg) => port(arg.get()),
        None => port(vm.current(vm.machine.output.get())),
    }
}

fn input<'gc>(vm: &Vm<'gc, '_>, args: Arguments<'gc>, at: usize) -> Outcome<'gc, &'gc Port> {
    let port = match args.get(at) {
        Some(arg) => port(arg.get())?,
        None => port(vm.current(vm.machine.input.get()))?,
    };
    if !port.is_input() || !port.state.borrow().open {
        return Err(fault(Kind::Primitive, "the port cannot be read", &[Value::Port(port)]));
    }
    Ok(port.as_ref())
}

/// A port for input of characters.
fn text_input<'gc>(
    vm: &Vm<'gc, '_>,
    args: Arguments<'gc>,
    at: usize,
) -> Outcome<'gc, RefMut<'gc, State>> {
    let port = input(vm, args, at)?;
    match port.is_textual() {
        true => Ok(port.state.borrow_mut()),
        false => Err(fault(Kind::Primitive, "expected a textual port", &[])),
    }
}

/// A port for input of bytes.
fn byte_input<'gc>(
    vm: &Vm<'gc, '_>,
    args: Arguments<'gc>,
    at: usize,
) -> Outcome<'gc, RefMut<'gc, State>> {
    let port = input(vm, args, at)?;
    match port.is_textual() {
        true => Err(fault(Kind::Primitive, "expected a binary port", &[])),
        false => Ok(port.state.borrow_mut()),
    }
}

fn put<'gc>(vm: &Vm<'gc, '_>, port: Gc<'gc, Port>, text: &str) -> Outcome<'gc> {
    port.make_room(vm, text.len())?;
    match port.put(text) {
        true => Ok(Value::Unspecified),
        false => Err(fault(Kind::Primitive, "the port cannot be written", &[Value::Port(port)])),
    }
}

fn write_value<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    style: Style,
    labels: Labels,
) -> Outcome<'gc> {
    put(vm, output(vm, args, 1)?, &print(args[0].get(), style, labels))
}

fn new_port<'gc>(vm: &mut Vm<'gc, '_>, of: Medium) -> Outcome<'gc> {
    let bytes = match &of {
        Medium::Text { chars, .. } => size_of_val(&chars[..]),
        Medium::Bytes { bytes, .. } => bytes.len(),
        _ => 0,
    };
    let port = Port::new(of);
    port.state.borrow_mut().counted = Some(count(vm.cx, bytes)?);
    Ok(Value::Port(Gc::try_new(vm.cx, port)?))
}

fn open<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    make: fn(&str) -> std::io::Result<Medium>,
) -> Outcome<'gc> {
    let name = to_string(args[0].get().text()?);
    let of = make(&name).map_err(|error| file_error(&error, args[0].get()))?;
    new_port(vm, of)
}

fn text_of_file(name: &str) -> std::io::Result<Medium> {
    let chars = std::fs::read_to_string(name)?.chars().collect();
    Ok(Medium::Text { chars, at: 0, line: (1, 0), is_standard: false })
}

fn bytes_of_file(name: &str) -> std::io::Result<Medium> {
    let mut bytes = Vec::new();
    File::open(name)?.read_to_end(&mut bytes)?;
    Ok(Medium::Bytes { bytes, at: 0 })
}

fn close<'gc>(_: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let port = port(args[0].get())?;
    port.flush();
    port.state.borrow_mut().open = false;
    Ok(Value::Unspecified)
}

fn read_char<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>, by: usize) -> Outcome<'gc> {
    let mut state = text_input(vm, args, 0)?;
    let Some(c) = state.peek() else { return Ok(Value::Eof) };
    state.advance(by);
    Ok(Value::from(c))
}

fn read_line<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let mut state = text_input(vm, args, 0)?;
    if state.peek().is_none() {
        return Ok(Value::Eof);
    }
    let Medium::Text { chars, at, .. } = &state.of else { return Ok(Value::Eof) };
    let line: Vec<char> = chars[*at..].iter().copied().take_while(|&c| c != '\n').collect();
    let count = line.len() + 1;
    // Read only when there is memory for it.
    let line = text_of(vm.cx, line)?;
    let left = chars.len() - at;
    state.advance(count.min(left));
    Ok(line)
}

fn read_string<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let count = args[0].get().index()?;
    let mut state = text_input(vm, args, 1)?;
    if count == 0 {
        return text(vm.cx, "");
    }
    if state.peek().is_none() {
        return Ok(Value::Eof);
    }
    let Medium::Text { chars, at, .. } = &state.of else { return Ok(Value::Eof) };
    let part: Vec<char> = chars[*at..].iter().copied().take(count).collect();
    let count = part.len();
    let part = text_of(vm.cx, part)?;
    state.advance(count);
    Ok(part)
}

fn read_u8<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>, by: usize) -> Outcome<'gc> {
    let mut state = byte_input(vm, args, 0)?;
    let byte = match &state.of {
        Medium::Bytes { bytes, at } => bytes.get(*at).copied(),
        _ => None,
    };
    let Some(byte) = byte else { return Ok(Value::Eof) };
    state.advance(by);
    Ok(Value::Fixnum(i64::from(byte)))
}

fn read_bytevector<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let count = args[0].get().index()?;
    let mut state = byte_input(vm, args, 1)?;
    let part: Vec<u8> = match &state.of {
        Medium::Bytes { bytes, at } => bytes[*at..].iter().copied().take(count).collect(),
        _ => Vec::new(),
    };
    if part.is_empty() && count > 0 {
        return Ok(Value::Eof);
    }
    let count = part.len();
    let part = bytes(vm.cx, part)?;
    state.advance(count);
    Ok(part)
}

fn read_into<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let to = args[0].get().bytes()?;
    let (start, end) = range(args, 2, to.len())?;
    let mut state = byte_input(vm, args, 1)?;
    let part: Vec<u8> = match &state.of {
        Medium::Bytes { bytes, at } => bytes[*at..].iter().copied().take(end - start).collect(),
        _ => Vec::new(),
    };
    if part.is_empty() && end > start {
        return Ok(Value::Eof);
    }
    state.advance(part.len());
    for (place, byte) in to[start..].iter().zip(&part) {
        place.set(vm.cx, *byte);
    }
    Ok(Value::Fixnum(part.len() as i64))
}

fn read<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let mut state = text_input(vm, args, 0)?;
    state.peek();
    loop {
        let result = {
            let Medium::Text { chars, at, line, .. } = &mut state.of else {
                return Ok(Value::Eof);
            };
            let mut reader = Reader::new(vm.cx, vm.machine, chars, *at, *line);
            let datum = reader.read();
            let (end, reached) = (reader.at, reader.line());
            if datum.is_ok() {
                (*at, *line) = (end, reached);
            }
            datum.map_err(|fault| (fault, end >= chars.len()))
        };
        match result {
            Ok(datum) => return Ok(datum.unwrap_or(Value::Eof)),
            // It is read again after the boundary, from where it begins.
            Err((fault @ Fault::Alloc(_), _)) => return Err(fault),
            // A datum may go on in the next line.
            Err((_, true)) if state.more() => {}
            Err((fault, _)) => {
                state.advance(1);
                return Err(fault);
            }
        }
    }
}

/// Closes a port for input, or one for output.
fn close_one<'gc>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    is_right: fn(&Port) -> bool,
) -> Outcome<'gc> {
    match is_right(port(args[0].get())?.as_ref()) {
        true => close(vm, args),
        false => Err(wrong("a port of the other direction", args[0].get())),
    }
}

fn is_open<'gc>(args: Arguments<'gc>, is_right: fn(&Port) -> bool) -> Outcome<'gc> {
    let port = port(args[0].get())?;
    match is_right(&port) {
        true => Ok(Value::from(port.state.borrow().open)),
        false => Err(wrong("a port of the other direction", args[0].get())),
    }
}

fn is_port<'gc>(args: Arguments<'gc>, holds: fn(&Port) -> bool) -> Outcome<'gc> {
    Ok(Value::from(matches!(args[0].get(), Value::Port(port) if holds(&port))))
}

impl<'gc> Vm<'gc, '_> {
    /// The port that a parameter, or a port that nobody has bound, is now.
    fn current(&self, standard: Value<'gc>) -> Value<'gc> {
        match standard {
            Value::Parameter(parameter) => self
                .parameter(Gc::as_ptr(parameter).addr())
                .unwrap_or_else(|| parameter.value.get()),
            port => port,
        }
    }
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("write", 1, 2, |vm, args| {
        write_value(vm, args, Style::Write, Labels::Circular)
    }),
    Primitive::plain("write-shared", 1, 2, |vm, args| {
        write_value(vm, args, Style::Write, Labels::Shared)
    }),
    Primitive::plain("write-simple", 1, 2, |vm, args| {
        write_value(vm, args, Style::Write, Labels::None)
    }),
    Primitive::plain("display", 1, 2, |vm, args| {
        write_value(vm, args, Style::Display, Labels::Circular)
    }),
    Primitive::plain("newline", 0, 1, |vm, args| put(vm, output(vm, args, 0)?, "\n")),
    Primitive::plain("write-char", 1, 2, |vm, args| {
        let c = args[0].get().char()?;
        put(vm, output(vm, args, 1)?, c.encode_utf8(&mut [0; 4]))
    }),
    Primitive::plain("write-string", 1, 4, |vm, args| {
        let text: Vec<char> = to_string(args[0].get().text()?).chars().collect();
        let (start, end) = range(args, 2, text.len())?;
        let part: String = text[start..end].iter().collect();
        put(vm, output(vm, args, 1)?, &part)
    }),
    Primitive::plain("write-u8", 1, 2, |vm, args| match args[0].get() {
        Value::Fixnum(n @ 0..=255) => {
            let port = output(vm, args, 1)?;
            port.make_room(vm, 1)?;
            match port.put_bytes(&[n as u8]) {
                true => Ok(Value::Unspecified),
                false => Err(wrong("a binary port", Value::Port(port))),
            }
        }
        other => Err(wrong("a byte", other)),
    }),
    Primitive::plain("write-bytevector", 1, 4, |vm, args| {
        let items = args[0].get().bytes()?;
        let (start, end) = range(args, 2, items.len())?;
        let part: Vec<u8> = items[start..end].iter().map(|b| b.get()).collect();
        let port = output(vm, args, 1)?;
        port.make_room(vm, part.len())?;
        match port.put_bytes(&part) {
            true => Ok(Value::Unspecified),
            false => Err(wrong("a binary port", Value::Port(port))),
        }
    }),
    Primitive::plain("flush-output-port", 0, 1, |vm, args| {
        output(vm, args, 0)?.flush();
        Ok(Value::Unspecified)
    }),
    Primitive::plain("read", 0, 1, read),
    Primitive::plain("read-char", 0, 1, |vm, args| read_char(vm, args, 1)),
    Primitive::plain("peek-char", 0, 1, |vm, args| read_char(vm, args, 0)),
    Primitive::plain("char-ready?", 0, 1, |vm, args| {
        input(vm, args, 0)?;
        Ok(Value::True)
    }),
    Primitive::plain("u8-ready?", 0, 1, |vm, args| {
        input(vm, args, 0)?;
        Ok(Value::True)
    }),
    Primitive::plain("read-line", 0, 1, read_line),
    Primitive::plain("read-string", 1, 2, read_string),
    Primitive::plain("read-u8", 0, 1, |vm, args| read_u8(vm, args, 1)),
    Primitive::plain("peek-u8", 0, 1, |vm, args| read_u8(vm, args, 0)),
    Primitive::plain("read-bytevector", 1, 2, read_bytevector),
    Primitive::plain("read-bytevector!", 1, 4, read_into),
    Primitive::plain("open-input-string", 1, 1, |vm, args| {
        let chars = to_string(args[0].get().text()?).chars().collect();
        new_port(vm, Medium::Text { chars, at: 0, line: (1, 0), is_standard: false })
    }),
    Primitive::plain("open-output-string", 0, 0, |vm, _| {
        new_port(vm, Medium::TextOut(String::new()))
    }),
    Primitive::plain("get-output-string", 1, 1, |vm, args| {
        let port = port(args[0].get())?;
        match &port.state.borrow().of {
            Medium::TextOut(all) => text(vm.cx, all),
            _ => Err(wrong("a string port", args[0].get())),
        }
    }),
    Primitive::plain("open-input-bytevector", 1, 1, |vm, args| {
        let bytes = args[0].get().bytes()?.iter().map(|b| b.get()).collect();
        new_port(vm, Medium::Bytes { bytes, at: 0 })
    }),
    Primitive::plain("open-output-bytevector", 0, 0, |vm, _| {
        new_port(vm, Medium::BytesOut(Vec::new()))
    }),
    Primitive::plain("get-output-bytevector", 1, 1, |vm, args| {
        let port = port(args[0].get())?;
        match &port.state.borrow().of {
            Medium::BytesOut(all) => bytes(vm.cx, all.iter().copied()),
            _ => Err(wrong("a bytevector port", args[0].get())),
        }
    }),
    Primitive::plain("open-input-file", 1, 1, |vm, args| open(vm, args, text_of_file)),
    Primitive::plain("open-binary-input-file", 1, 1, |vm, args| open(vm, args, bytes_of_file)),
    Primitive::plain("open-output-file", 1, 1, |vm, args| {
        open(vm, args, |name| Ok(Medium::TextFile(BufWriter::new(File::create(name)?))))
    }),
    Primitive::plain("open-binary-output-file", 1, 1, |vm, args| {
        open(vm, args, |name| Ok(Medium::BytesFile(BufWriter::new(File::create(name)?))))
    }),
    Primitive::plain("close-port", 1, 1, close),
    Primitive::plain("close-input-port", 1, 1, |vm, args| close_one(vm, args, Port::is_input)),
    Primitive::plain("close-output-port", 1, 1, |vm, args| {
        close_one(vm, args, |port| !port.is_input())
    }),
    Primitive::plain("file-exists?", 1, 1, |_, args| {
        let name = to_string(args[0].get().text()?);
        Ok(Value::from(std::path::Path::new(&name).exists()))
    }),
    Primitive::plain("delete-file", 1, 1, |_, args| {
        let name = to_string(args[0].get().text()?);
        match std::fs::remove_file(name) {
            Ok(()) => Ok(Value::Unspecified),
            Err(error) => Err(file_error(&error, args[0].get())),
        }
    }),
    Primitive::plain("port?", 1, 1, |_, args| is_port(args, |_| true)),
    Primitive::plain("input-port?", 1, 1, |_, args| is_port(args, Port::is_input)),
    Primitive::plain("output-port?", 1, 1, |_, args| is_port(args, |port| !port.is_input())),
    Primitive::plain("textual-port?", 1, 1, |_, args| is_port(args, Port::is_textual)),
    Primitive::plain("binary-port?", 1, 1, |_, args| is_port(args, |port| !port.is_textual())),
    Primitive::plain("input-port-open?", 1, 1, |_, args| is_open(args, Port::is_input)),
    Primitive::plain("output-port-open?", 1, 1, |_, args| is_open(args, |port| !port.is_input())),
    Primitive::plain("eof-object", 0, 0, |_, _| Ok(Value::Eof)),
    Primitive::plain("eof-object?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Eof)))
    }),
    Primitive::plain("%standard-port", 1, 1, |vm, args| {
        Ok(match args[0].get() {
            Value::Fixnum(0) => vm.machine.input.get(),
            Value::Fixnum(1) => vm.machine.output.get(),
            _ => vm.machine.error.get(),
        })
    }),
    Primitive::plain("%set-standard-ports!", 3, 3, |vm, args| {
        vm.machine.input.set(vm.cx, args[0].get());
        vm.machine.output.set(vm.cx, args[1].get());
        vm.machine.error.set(vm.cx, args[2].get());
        Ok(Value::Unspecified)
    }),
];
