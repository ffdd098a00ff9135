//! A Scheme, R7RS-small, whose values all live in a heap of [`mallocgc`].
//!
//! It is an example of the safe interface: there is no `unsafe` here. A program is run in steps, each inside one
//! [`run`](mallocgc::typed::Mutator::run); between two of them the heap may be collected, and all that is needed to go on is in one
//! object, the `machine`'s, which is the only root. A step ends after some thousand calls, when the heap wants a
//! boundary, or when there is no memory: then the instruction that failed is done again after the collection.
//!
//! | module | |
//! |---|---|
//! | `value`, `code`, `environment`, `syntax`, `table` | objects |
//! | `reader`, `compile`, `quasiquote`, `rewrite`, `emit` | from text to instructions |
//! | `machine`, `run` | doing them |
//! | `arithmetic` and the others | primitives |

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what the names say, in a program and not a library")]

mod arithmetic;
mod code;
mod compile;
mod control;
mod emit;
mod environment;
mod equal;
mod lists;
mod machine;
mod number;
mod outside;
mod port;
mod primitive;
mod print;
mod quasiquote;
mod reader;
mod rewrite;
mod run;
mod syntax;
mod table;
mod texts;
mod value;
mod vectors;
mod weak;

use compile::Compiler;
use environment::{Binding, Environment};
use machine::{Machine, Vm};
use mallocgc::raw::{Config, HeapError};
use mallocgc::typed::{AllocError, Cx, Gc, Heap, Root};
use reader::Reader;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use value::{Closure, Fault, Kind, Outcome, Value};

/// Stack of a thread that runs an interpreter: the compiler recurses as deep as expressions are nested.
const THREAD_STACK_BYTES: usize = 512 << 20;

/// How an interpreter is set up.
#[derive(Clone, Debug)]
pub struct Options {
    pub heap: Config,
    /// Calls in a step at most.
    pub step_calls: usize,
    /// Whether what is written to the standard output is kept, for [`Interpreter::output`].
    pub keep_output: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { heap: Config::default(), step_calls: 20_000, keep_output: false }
    }
}

/// Why a program ended early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It raised something, or cannot be read or compiled. The text says where and what.
    Raised(String),
    /// It asked to end, with this status.
    Exit(i32),
    /// There is no memory, not even to raise that.
    OutOfMemory,
}

/// Where names of a program are looked up.
#[derive(Clone, Copy)]
enum In {
    System,
    Program,
}

/// A heap with a Scheme in it.
#[derive(Debug)]
pub struct Interpreter {
    root: Root<Machine<'static>>,
    heap: Heap,
    heap_limit_bytes: usize,
    /// Whether the heap was collected since a step last went on, because there was no memory.
    collected: Cell<bool>,
}

/// What became of reading and compiling a form.
enum Prepared {
    Ready,
    End,
    Again,
    Failed(Failure),
}

impl Interpreter {
    /// A new one, with all names of R7RS-small.
    ///
    /// # Errors
    ///
    /// When the system refuses memory for the heap.
    ///
    /// # Panics
    ///
    /// When the heap's limit is too low for the system itself.
    pub fn new(options: Options) -> Result<Interpreter, HeapError> {
        let heap_limit_bytes = options.heap.heap_limit_bytes;
        let heap = Heap::new(options.heap)?;
        let root = heap.run(|cx| match set_up(cx, options.keep_output) {
            Ok(machine) => cx.root::<Machine<'static>>(machine),
            Err(_) => panic!("no memory for the system"),
        });
        let collected = Cell::new(false);
        let interpreter = Interpreter { root, heap, heap_limit_bytes, collected };
        let prelude = interpreter.eval_in(include_str!("prelude.scm"), In::System, &mut |_| {});
        if let Err(failure) = prelude {
            panic!("the prelude failed: {failure:?}");
        }
        interpreter.heap.run(|cx| {
            let machine = interpreter.root.get(cx);
            for (_, binding) in machine.system.names.borrow().values() {
                if let Binding::Variable(global) = binding {
                    global.constant.set(cx, true);
                }
            }
            machine.program.copy_from(cx, &machine.system);
            machine.step_calls.set(options.step_calls.max(1));
        });
        Ok(interpreter)
    }

    /// Runs a program.
    ///
    /// # Errors
    ///
    /// When it does not come to its end.
    pub fn run(&self, program: &str) -> Result<(), Failure> {
        self.eval_in(program, In::Program, &mut |_| {})
    }

    /// Runs the program in a file; others that it names are looked for beside it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or the program does not come to its end.
    pub fn run_file(&self, path: &Path) -> Result<(), Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Raised(format!("{}: {error}", path.display())))?;
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        self.heap.run(|cx| self.root.get(cx).set_directory(directory));
        self.run(&text)
    }

    /// Runs forms and tells what each is, but for those without a value.
    ///
    /// # Errors
    ///
    /// At the first that does not come to its end.
    pub fn eval(&self, program: &str, tell: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        self.eval_in(program, In::Program, tell)
    }

    /// Whether a text has whole forms only.
    pub fn is_complete(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        self.heap.run(|cx| {
            let machine = self.root.get(cx);
            let mut reader = Reader::new(cx, machine.as_ref(), &chars, 0, (1, 0));
            loop {
                match reader.read() {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(Fault::Error(report)) => return !report.message.contains("end of input"),
                    Err(_) => return true,
                }
            }
        })
    }

    /// What was written to the standard output, if it is kept.
    pub fn output(&self) -> String {
        self.heap.run(|cx| match self.root.get(cx).output.get() {
            Value::Parameter(parameter) => match parameter.value.get() {
                Value::Port(port) => port.text(),
                _ => String::new(),
            },
            _ => String::new(),
        })
    }

    /// The heap, for statistics.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    fn eval_in(&self, program: &str, place: In, tell: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        let chars: Vec<char> = program.chars().collect();
        let (mut at, mut line, mut fold_case) = (0, (1, 0), false);
        loop {
            let prepared = self.heap.run(|cx| {
                let machine = self.root.get(cx).as_ref();
                let environment = match place {
                    In::System => machine.system,
                    In::Program => machine.program,
                };
                let mut reader = Reader::new(cx, machine, &chars, at, line);
                reader.fold_case = fold_case;
                if matches!(place, In::System) {
                    // Places are the program's.
                    reader.keep_places = false;
                }
                let result = prepare(cx, machine, environment, &mut reader);
                match result {
                    Ok(found) => {
                        (at, line, fold_case) = (reader.at, reader.line(), reader.fold_case);
                        if found { Prepared::Ready } else { Prepared::End }
                    }
                    Err(Fault::Alloc(AllocError::NeedsBoundary(_))) => Prepared::Again,
                    Err(Fault::Error(report)) => Prepared::Failed(describe(&report)),
                    Err(_) => Prepared::Failed(Failure::OutOfMemory),
                }
            });
            match prepared {
                Prepared::Ready => self.finish(tell)?,
                Prepared::End => return Ok(()),
                Prepared::Again => {}
                Prepared::Failed(failure) => return Err(failure),
            }
        }
    }

    /// Goes on until the form is done.
    fn finish(&self, tell: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        loop {
            let ended = self.heap.run_steps(|cx| self.step(cx));
            match ended {
                Ended::Value(Some(shown)) => {
                    tell(&shown);
                    return Ok(());
                }
                Ended::Value(None) => return Ok(()),
                Ended::Failed(failure) => return Err(failure),
                Ended::Collect => self.heap.collect(),
            }
        }
    }

    fn step<'gc>(&self, cx: &Cx<'gc>) -> ControlFlow<Ended> {
        let machine: &'gc Machine<'gc> = self.root.get(cx).as_ref();
        let mut vm = Vm::load(cx, machine);
        let begin = vm.mark();
        self.keep_ballast(&vm);
        loop {
            let ended = match vm.run() {
                Ok(Some(value)) => {
                    let shown = match value {
                        Value::Unspecified => None,
                        value => Some(print::written(value)),
                    };
                    Ended::Value(shown)
                }
                Ok(None) | Err(Fault::Alloc(AllocError::NeedsBoundary(_))) => {
                    vm.save();
                    return ControlFlow::Continue(());
                }
                Err(Fault::Alloc(_)) if begin.is_before(vm.mark()) => {
                    // The heap was collected before this step, and what is in the way may be garbage of the
                    // step itself. Only what fails first in one has no memory.
                    self.collected.set(false);
                    vm.save();
                    return ControlFlow::Continue(());
                }
                Err(Fault::Alloc(_)) => self.lack(&mut vm),
                Err(Fault::Error(report)) => match vm.condition(&report) {
                    Ok(condition) if vm.can_raise() => {
                        vm.raise(condition);
                        continue;
                    }
                    Ok(_) => Ended::Failed(describe(&report)),
                    Err(Fault::Alloc(AllocError::NeedsBoundary(_))) => {
                        vm.save();
                        return ControlFlow::Continue(());
                    }
                    Err(_) => self.lack(&mut vm),
                },
                Err(Fault::Uncaught(value)) => Ended::Failed(Failure::Raised(print::report(value))),
                Err(Fault::Exit(status)) => Ended::Failed(Failure::Exit(status)),
                Err(Fault::Collect) => Ended::Collect,
            };
            vm.save();
            return ControlFlow::Break(ended);
        }
    }

    /// There is no memory: the program is told, after a collection, without which what was set aside is not free. If
    /// nothing is set aside, a collection may let that be done.
    fn lack(&self, vm: &mut Vm<'_, '_>) -> Ended {
        if vm.raise_out_of_memory() {
            self.collected.set(false);
            return Ended::Collect;
        }
        match self.collected.replace(true) {
            false => Ended::Collect,
            true => Ended::Failed(Failure::OutOfMemory),
        }
    }

    /// Sets memory aside again once there is enough.
    fn keep_ballast(&self, vm: &Vm<'_, '_>) {
        if vm.has_ballast() {
            return;
        }
        let (limit, stats) = (self.heap_limit_bytes, self.heap.raw().stats());
        if limit == usize::MAX
            || ((stats.heap_alloc + stats.external_bytes) as usize) < limit / 4 * 3
        {
            // Without it the next shortage ends the program.
            drop(vm.keep_ballast());
        }
    }
}

/// Why steps end.
enum Ended {
    /// With a value, as it is written.
    Value(Option<String>),
    Failed(Failure),
    /// A collection is due, and then it goes on.
    Collect,
}

/// The text of a report.
fn describe(report: &value::Report<'_>) -> Failure {
    let mut text = format!("{}:{}: ", report.line, report.column);
    text.push_str(match report.kind {
        Kind::Read => "read error: ",
        Kind::Syntax => "syntax error: ",
        _ => "error: ",
    });
    text.push_str(&report.message);
    for &irritant in &report.irritants {
        text.push(' ');
        text.push_str(&print::written(irritant));
    }
    Failure::Raised(text)
}

/// Reads and compiles a form, and lets the machine begin with it; whether there was one.
fn prepare<'gc>(
    cx: &Cx<'gc>,
    machine: &'gc Machine<'gc>,
    environment: Gc<'gc, Environment<'gc>>,
    reader: &mut Reader<'_, 'gc>,
) -> Outcome<'gc, bool> {
    let Some(form) = reader.read()? else { return Ok(false) };
    let code = Compiler::compile(cx, machine, environment, form, &reader.places)?;
    let closure = Gc::try_new(cx, Closure { code, free: machine.empty })?;
    let mut vm = Vm::load(cx, machine);
    vm.start(Value::Closure(closure))?;
    vm.save();
    Ok(true)
}

/// A machine with the names of primitives and of syntax.
fn set_up<'gc>(cx: &Cx<'gc>, keep_output: bool) -> Outcome<'gc, Gc<'gc, Machine<'gc>>> {
    let machine = Gc::try_new(cx, Machine::new(cx)?)?;
    if keep_output {
        let port = Gc::try_new(cx, port::Port::to_string())?;
        machine.output.set(cx, Value::Port(port));
    }
    for (name, special) in syntax::SPECIALS {
        let name = machine.symbol(cx, name)?.symbol()?;
        machine.system.bind(cx, name, Binding::Special(special));
    }
    for primitive in primitive::all() {
        let name = machine.symbol(cx, primitive.name)?.symbol()?;
        let global = machine.system.variable(cx, name)?;
        global.value.set(cx, Value::Primitive(primitive));
        global.constant.set(cx, true);
    }
    Ok(machine)
}

/// Calls a function on a thread with a stack for programs that are nested deeply.
///
/// # Panics
///
/// When there is no thread, or the function panics.
pub fn with_stack<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
        let thread = thread.spawn_scoped(scope, f).expect("there is no thread to be had");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
