//! The interpreter as its host sees it. Chapters 4, 5 and 9.

use crate::code::compile;
use crate::machine::{Machine, Now, Reserve, Run, State};
use crate::primitive;
use crate::print::{displayed, written};
use crate::reader::Reader;
use crate::recursive;
use crate::shared::{Board, Seat};
use crate::value::{Fault, Outcome, Value, condition};
use mallocgc::raw::{Config, HeapError};
use mallocgc::typed::{AllocError, Cx, Gc, Heap, Lock, RefLock, Root, Slot};
use std::fmt;
use std::ops::ControlFlow;

/// How an interpreter is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    pub heap: Config,
    /// Steps of the machine between two boundaries, at most.
    pub steps: usize,
    /// Whether arguments that are variables and constants are taken at once. Chapter 12.
    pub takes_at_once: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { heap: Config::default(), steps: 10_000, takes_at_once: true }
    }
}

/// Why a program ended early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// Nobody handled what it raised.
    Raised(String),
    OutOfMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Raised(value) => f.write_str(value),
            Error::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl std::error::Error for Error {}

/// An interpreter: a heap, and the root of all that is in it.
#[derive(Debug)]
pub struct Lisp {
    root: Root<Machine<'static>>,
    heap: Heap,
    steps: usize,
    seat: Option<Seat>,
}

/// A value that the host keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    root: Root<Lock<Value<'static>>>,
}

impl Lisp {
    /// An interpreter with the primitives and what is written in the Lisp itself.
    pub fn new(settings: Settings) -> Result<Lisp, HeapError> {
        let heap = Heap::new(settings.heap.clone())?;
        let root = heap.run(|cx| match machine(cx, &settings) {
            Ok(machine) => cx.root::<Machine<'static>>(machine),
            Err(_) => panic!("the heap's limit is too low for the interpreter itself"),
        });
        let lisp = Lisp { root, heap, steps: settings.steps.max(1), seat: None };
        if let Err(error) = lisp.eval(include_str!("prelude.lisp")) {
            panic!("the prelude failed: {error}");
        }
        Ok(lisp)
    }

    /// The same, with a board that it shares with others. Chapter 11.
    pub fn with_board(settings: Settings, board: &Board) -> Result<Lisp, HeapError> {
        Ok(Lisp { seat: Some(board.attach()?), ..Lisp::new(settings)? })
    }

    /// Runs a program; the value of its last form, as it is written.
    pub fn eval(&self, program: &str) -> Result<String, Error> {
        self.eval_with(program, |_, value| written(value))
    }

    /// Runs a program, and keeps the value of its last form.
    pub fn keep(&self, program: &str) -> Result<Kept, Error> {
        self.eval_with(program, |_, _| ())?;
        self.keep_value()
    }

    /// Runs a program; `last` makes something of the value of its last form.
    pub fn eval_with<R>(
        &self,
        program: &str,
        last: impl for<'gc> FnOnce(&Cx<'gc>, Value<'gc>) -> R,
    ) -> Result<R, Error> {
        let mut reader = Reader::new(program);
        loop {
            // A copy of the reader, in case that the form must be read again.
            let next = self.prepare(|run| {
                let mut reader = reader;
                let form = reader.read(run)?;
                if let Some(form) = form {
                    start(run, form)?;
                }
                Ok(form.is_some().then_some(reader))
            })?;
            match next {
                Some(next) => reader = next,
                None => return Ok(self.value(last)),
            }
            self.finish()?;
        }
    }

    /// Evaluates a form that a function makes; `last` makes something of its value.
    pub fn eval_form<R>(
        &self,
        mut form: impl for<'a, 'gc> FnMut(Run<'a, 'gc>) -> Outcome<'gc>,
        last: impl for<'gc> FnOnce(&Cx<'gc>, Value<'gc>) -> R,
    ) -> Result<R, Error> {
        self.prepare(|run| start(run, form(run)?))?;
        self.finish()?;
        Ok(self.value(last))
    }

    /// Runs a program by the evaluator of chapter 3, all in one run.
    pub fn eval_recursively(&self, program: &str) -> Result<String, Error> {
        self.prepare(|run| {
            let mut reader = Reader::new(program);
            let mut value = Value::Nothing;
            while let Some(form) = reader.read(run)? {
                value = recursive::eval(run, &*compile(run, form)?, None)?;
            }
            Ok(written(value))
        })
    }

    /// Calls a procedure, and keeps what it returns.
    pub fn call(&self, procedure: &Kept, arguments: &[Kept]) -> Result<Kept, Error> {
        self.prepare(|run| {
            let value = |kept: &Kept| kept.root.get(run.cx).get();
            let arguments: Vec<_> = arguments.iter().map(value).collect();
            let state = run.call(value(procedure), &arguments, None)?;
            run.machine.state.set(run.cx, state);
            Ok(())
        })?;
        self.finish()?;
        self.keep_value()
    }

    /// Keeps the value at the program's end.
    fn keep_value(&self) -> Result<Kept, Error> {
        self.prepare(|run| {
            let value = run.machine.state.get().end().unwrap_or(Value::Nothing);
            let cell = Gc::try_new(run.cx, Lock::new(value))?;
            Ok(Kept { root: run.cx.root(cell) })
        })
    }

    /// What a function makes of the value at the program's end.
    fn value<R>(&self, make: impl for<'gc> FnOnce(&Cx<'gc>, Value<'gc>) -> R) -> R {
        self.heap.run(|cx| {
            let end = self.root.get(cx).state.get().end();
            make(cx, end.unwrap_or(Value::Nothing))
        })
    }

    /// A kept value as it is written.
    pub fn show(&self, kept: &Kept) -> String {
        self.heap.run(|cx| written(kept.root.get(cx).get()))
    }

    /// What the program has printed since it was asked last.
    pub fn take_output(&self) -> String {
        self.heap.run(|cx| std::mem::take(&mut *self.root.get(cx).output.borrow_mut(cx)))
    }

    /// The heap, for settings and statistics.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    fn inside<'a, 'gc>(&'a self, cx: &'a Cx<'gc>) -> Run<'a, 'gc> {
        Run { cx, machine: self.root.get(cx).as_ref(), seat: self.seat.as_ref() }
    }

    /// Makes the state from which the machine starts, or something else that takes memory. When there is none it is
    /// made again after the boundary.
    fn prepare<R>(
        &self,
        mut make: impl for<'a, 'gc> FnMut(Run<'a, 'gc>) -> Outcome<'gc, R>,
    ) -> Result<R, Error> {
        self.heap.run_steps(|cx| {
            let run = self.inside(cx);
            let error = match make(run) {
                Ok(result) => return ControlFlow::Break(Ok(result)),
                Err(Fault::Memory(AllocError::NeedsBoundary(_))) => {
                    return ControlFlow::Continue(());
                }
                Err(Fault::Wrong(message, Value::Nothing)) => Error::Raised(message),
                Err(Fault::Wrong(message, culprit)) => {
                    Error::Raised(format!("{message} {}", written(culprit)))
                }
                Err(Fault::Raised(value)) => Error::Raised(displayed(value)),
                Err(Fault::Memory(_) | Fault::Collect(_)) => Error::OutOfMemory,
            };
            ControlFlow::Break(Err(error))
        })
    }

    /// Lets the machine go on until the program is at its end.
    fn finish(&self) -> Result<(), Error> {
        loop {
            match self.heap.run_steps(|cx| self.steps(self.inside(cx))) {
                Pause::End(result) => return result,
                Pause::Collect => self.heap.collect(),
            }
        }
    }

    /// Makes steps until a boundary is due.
    fn steps(&self, run: Run<'_, '_>) -> ControlFlow<Pause> {
        self.keep_reserve(run);
        let mut state = run.machine.state.get();
        let mut flow = ControlFlow::Continue(());
        for count in 0..self.steps {
            match run.step(state) {
                Ok(next) => state = next,
                // What is in the way may be garbage of this run: the step is made again behind the boundary.
                Err(Fault::Memory(_)) if count > 0 => break,
                Err(fault) => {
                    (state, flow) = self.handle(run, state, fault);
                    break;
                }
            }
            if state.end().is_some() {
                flow = ControlFlow::Break(Pause::End(Ok(())));
                break;
            }
            if run.cx.wants_boundary() {
                break;
            }
        }
        run.machine.state.set(run.cx, state);
        flow
    }

    /// How it goes on after a step that failed.
    fn handle<'gc>(
        &self,
        run: Run<'_, 'gc>,
        state: State<'gc>,
        fault: Fault<'gc>,
    ) -> (State<'gc>, ControlFlow<Pause>) {
        let value = match fault {
            Fault::Collect(next) => return (next, ControlFlow::Break(Pause::Collect)),
            fault => match run.raised(fault) {
                Ok(value) => value,
                // The step is made again.
                Err(_) => return (state, ControlFlow::Continue(())),
            },
        };
        match run.raise(value, state.then) {
            Some(next) => (next, ControlFlow::Continue(())),
            None => {
                let error = match value.is(run.machine.no_memory) {
                    true => Error::OutOfMemory,
                    false => Error::Raised(displayed(value)),
                };
                (State::of(Value::Nothing), ControlFlow::Break(Pause::End(Err(error))))
            }
        }
    }

    /// Sets memory aside again, once there is enough.
    fn keep_reserve(&self, run: Run<'_, '_>) {
        if run.machine.reserve.get().is_some() {
            return;
        }
        let stats = self.heap.raw().stats();
        if stats.heap_alloc < stats.heap_limit / 4 * 3
            && let Ok(reserve) = reserve(run.cx)
        {
            run.machine.reserve.set(run.cx, Some(reserve));
        }
    }
}

/// Why the machine stands.
enum Pause {
    End(Result<(), Error>),
    /// The program asked for a collection.
    Collect,
}

/// Lets the machine begin with a form.
fn start<'gc>(run: Run<'_, 'gc>, form: Value<'gc>) -> Outcome<'gc, ()> {
    let now = Now::Eval(compile(run, form)?, None);
    run.machine.state.set(run.cx, State { now, then: None });
    Ok(())
}

/// Memory to be given up when there is none.
fn reserve<'gc>(cx: &Cx<'gc>) -> Outcome<'gc, Gc<'gc, Reserve>> {
    Ok(Gc::try_new(cx, [0; size_of::<Reserve>() / size_of::<u64>()])?)
}

/// A machine that knows the primitives.
fn machine<'gc>(cx: &Cx<'gc>, settings: &Settings) -> Outcome<'gc, Gc<'gc, Machine<'gc>>> {
    let machine = Machine {
        symbols: RefLock::default(),
        state: Lock::new(State::of(Value::Nothing)),
        output: RefLock::default(),
        no_memory: condition(cx, "out of memory", Value::Nothing)?,
        reserve: Slot::new(Some(reserve(cx)?)),
        takes_at_once: settings.takes_at_once,
    };
    let machine = Gc::try_new(cx, machine)?;
    let run = Run { cx, machine: machine.as_ref(), seat: None };
    for primitive in primitive::all() {
        let symbol = run.symbol(primitive.name)?.symbol()?;
        symbol.global.set(cx, Some(Value::Primitive(primitive)));
    }
    Ok(machine)
}
