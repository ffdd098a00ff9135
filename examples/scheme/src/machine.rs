//! The state of a running program, and how calls, continuations and faults change it.
//!
//! Control lives in a stack segment, an array in the heap. When it is full, or when a continuation is taken, the segment is frozen
//! as a [`Continuation`] and another begins, at whose bottom lies a frame of the `underflow` procedure: to return into it
//! copies the topmost frames of the frozen segment back. So recursion is as deep as the heap is large, taking a continuation copies
//! what is in the current segment only, and a continuation may be entered any number of times.
//!
//! Between steps everything is in [`Registers`]; inside one the [`Vm`] has it at hand. A primitive, or an
//! instruction, changes nothing before its last allocation: one that has no memory is done again after the heap
//! was collected.

use crate::code::{Code, Op};
use crate::environment::Environment;
use crate::port::Port;
use crate::primitive::Run;
use crate::value::{
    Closure, Condition, Elements, Fault, Outcome, Report, ReturnTo, Symbol, Value, elements, fault,
    list, text,
};
use crate::value::{Kind, wrong};
use mallocgc::typed::{Cx, Gc, Lock, RefLock, Static, Trace};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;

/// Slots of a segment.
pub(crate) const SEGMENT_SLOTS: usize = 16 * 1024;
/// Slots at the bottom of a segment: the procedure to return into, and how.
const BOTTOM: usize = 2;
/// Slots that returning into a frozen segment copies, or the topmost frame if that has more.
const COPIED_SLOTS: usize = 256;
/// Bytes that are given up when memory is short, so that a handler has some.
const BALLAST_BYTES: usize = 256 * 1024;

/// A frozen segment, and what is below it.
#[derive(Trace)]
pub(crate) struct Continuation<'gc> {
    values: Elements<'gc>,
    /// Slots of it that belong to this one.
    count: usize,
    next: Option<Gc<'gc, Continuation<'gc>>>,
    dynamic: Value<'gc>,
    pub(crate) winders: Value<'gc>,
}

/// A place of a program in a step.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    at: (usize, usize, usize, Option<usize>),
    segment: usize,
    calls_left: usize,
}

impl Mark {
    /// Whether a program that was here has done something since and is at `now`. A call that is due and fails counts as one already.
    pub(crate) fn is_before(&self, now: Mark) -> bool {
        (self.at, self.segment) != (now.at, now.segment) || self.calls_left - now.calls_left > 1
    }
}

/// What a step leaves for the next.
#[derive(Clone, Copy, Trace)]
pub(crate) struct Registers<'gc> {
    stack: Elements<'gc>,
    sp: usize,
    fp: usize,
    pc: usize,
    /// A call with so many arguments is due.
    apply: Option<usize>,
    under: Option<Gc<'gc, Continuation<'gc>>>,
    /// Handlers and parameters: a pair of lists.
    dynamic: Value<'gc>,
    /// What `dynamic-wind` has entered: a list of pairs of procedures.
    winders: Value<'gc>,
}

/// Everything that outlives a step: the root.
#[derive(Trace)]
pub(crate) struct Machine<'gc> {
    pub(crate) registers: Lock<Registers<'gc>>,
    symbols: RefLock<HashMap<Box<str>, Gc<'gc, Symbol<'gc>>>>,
    pub(crate) libraries: RefLock<HashMap<Box<str>, Gc<'gc, Environment<'gc>>>>,
    pub(crate) system: Gc<'gc, Environment<'gc>>,
    pub(crate) program: Gc<'gc, Environment<'gc>>,
    halt: Gc<'gc, Closure<'gc>>,
    underflow: Gc<'gc, Closure<'gc>>,
    restore: Gc<'gc, Closure<'gc>>,
    receive: Gc<'gc, Closure<'gc>>,
    pub(crate) empty: Elements<'gc>,
    /// Procedures of the prelude that the machine calls.
    pub(crate) raise: Lock<Value<'gc>>,
    pub(crate) rewind: Lock<Value<'gc>>,
    out_of_memory: Value<'gc>,
    ballast: Lock<Value<'gc>>,
    pub(crate) input: Lock<Value<'gc>>,
    pub(crate) output: Lock<Value<'gc>>,
    pub(crate) error: Lock<Value<'gc>>,
    /// The result of the last form.
    pub(crate) result: Lock<Value<'gc>>,
    directory: RefCell<PathBuf>,
    pub(crate) tickets: Cell<u64>,
    /// Calls in a step at most.
    pub(crate) step_calls: Cell<usize>,
}

fn stub<'gc>(cx: &Cx<'gc>, op: Op, empty: Elements<'gc>) -> Outcome<'gc, Gc<'gc, Closure<'gc>>> {
    let code = Code {
        ops: Gc::try_from_iter(cx, [Static(op)])?,
        constants: Gc::try_from_iter(cx, [])?,
        captures: Gc::try_from_iter(cx, [])?,
        places: Gc::try_from_iter(cx, [])?,
        name: Value::Unspecified,
        required: 0,
        rest: false,
        slots: 8,
    };
    Ok(Gc::try_new(cx, Closure { code: Gc::try_new(cx, code)?, free: empty })?)
}

impl<'gc> Machine<'gc> {
    /// A machine without names.
    pub(crate) fn new(cx: &Cx<'gc>) -> Outcome<'gc, Machine<'gc>> {
        let empty = elements(cx, [])?;
        let message = text(cx, "out of memory")?;
        let (kind, irritants) = (Kind::OutOfMemory, Value::Nil);
        let condition = Condition { kind, message, irritants, line: 0, column: 0 };
        let dynamic = list(cx, &[Value::Nil])?;
        let registers = Registers {
            stack: elements(cx, vec![Value::Undefined; SEGMENT_SLOTS])?,
            sp: 0,
            fp: 0,
            pc: 0,
            apply: None,
            under: None,
            dynamic,
            winders: Value::Nil,
        };
        let port = |port: Port| -> Outcome<'gc, Lock<Value<'gc>>> {
            Ok(Lock::new(Value::Port(Gc::try_new(cx, port)?)))
        };
        Ok(Machine {
            registers: Lock::new(registers),
            symbols: RefLock::default(),
            libraries: RefLock::default(),
            system: Gc::try_new(cx, Environment::default())?,
            program: Gc::try_new(cx, Environment::default())?,
            halt: stub(cx, Op::Halt, empty)?,
            underflow: stub(cx, Op::Underflow, empty)?,
            restore: stub(cx, Op::RestoreDynamic, empty)?,
            receive: stub(cx, Op::Receive, empty)?,
            empty,
            raise: Lock::new(Value::Undefined),
            rewind: Lock::new(Value::Undefined),
            out_of_memory: Value::Condition(Gc::try_new(cx, condition)?),
            ballast: Lock::new(Value::Undefined),
            input: port(Port::standard_input())?,
            output: port(Port::standard_output())?,
            error: port(Port::standard_error())?,
            result: Lock::new(Value::Unspecified),
            directory: RefCell::new(PathBuf::new()),
            tickets: Cell::new(0),
            step_calls: Cell::new(20_000),
        })
    }

    /// The symbol of a name.
    pub(crate) fn symbol(&self, cx: &Cx<'gc>, name: &str) -> Outcome<'gc> {
        if let Some(&symbol) = self.symbols.borrow().get(name) {
            return Ok(Value::Symbol(symbol));
        }
        let number = self.symbols.borrow().len() as u32;
        let symbol = Symbol { name: Gc::try_from_str(cx, name)?, number };
        let symbol = Gc::try_new(cx, symbol)?;
        self.symbols.borrow_mut(cx).insert(name.into(), symbol);
        Ok(Value::Symbol(symbol))
    }

    /// Where files that are included are looked for.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.borrow().clone()
    }

    /// Sets where files that are included are looked for.
    pub(crate) fn set_directory(&self, directory: PathBuf) {
        self.directory.replace(directory);
    }
}

/// A machine inside a step.
pub(crate) struct Vm<'gc, 'a> {
    pub(crate) cx: &'a Cx<'gc>,
    pub(crate) machine: &'gc Machine<'gc>,
    pub(crate) stack: &'gc [Lock<Value<'gc>>],
    segment: Elements<'gc>,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
    pub(crate) pc: usize,
    pub(crate) apply: Option<usize>,
    under: Option<Gc<'gc, Continuation<'gc>>>,
    pub(crate) dynamic: Value<'gc>,
    pub(crate) winders: Value<'gc>,
    pub(crate) closure: Gc<'gc, Closure<'gc>>,
    /// Slots above this one have not been used in this step.
    pub(crate) high: usize,
    pub(crate) calls_left: usize,
}

impl<'gc, 'a> Vm<'gc, 'a> {
    /// Takes up the machine's state.
    pub(crate) fn load(cx: &'a Cx<'gc>, machine: &'gc Machine<'gc>) -> Vm<'gc, 'a> {
        let Registers { stack, sp, fp, pc, apply, under, dynamic, winders } =
            machine.registers.get();
        let mut vm = Vm {
            cx,
            machine,
            stack: stack.as_ref(),
            segment: stack,
            sp,
            fp,
            pc,
            apply,
            under,
            dynamic,
            winders,
            closure: machine.halt,
            high: sp,
            calls_left: machine.step_calls.get(),
        };
        if fp > 0
            && let Value::Closure(closure) = vm.stack[fp - 1].get()
        {
            vm.closure = closure;
        }
        vm
    }

    /// Where the program is, to tell whether it has come further.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            at: (self.pc, self.sp, self.fp, self.apply),
            segment: Gc::as_ptr(self.segment).addr(),
            calls_left: self.calls_left,
        }
    }

    /// Leaves the state to the machine. Slots that are not in use let go of what they had.
    pub(crate) fn save(self) {
        let end = self.high.max(self.fp + self.closure.code.slots as usize).min(self.stack.len());
        for slot in self.stack.get(self.sp..end).unwrap_or_default() {
            slot.set(self.cx, Value::Undefined);
        }
        let Vm { segment: stack, sp, fp, pc, apply, under, dynamic, winders, .. } = self;
        let registers = Registers { stack, sp, fp, pc, apply, under, dynamic, winders };
        self.machine.registers.set(self.cx, registers);
    }

    /// Lets the next step begin with a call of a procedure without arguments, on an empty stack.
    pub(crate) fn start(&mut self, procedure: Value<'gc>) -> Outcome<'gc, ()> {
        self.dynamic = list(self.cx, &[Value::Nil])?;
        self.winders = Value::Nil;
        self.under = None;
        self.put_bottom(self.machine.halt);
        self.put(BOTTOM, procedure);
        (self.sp, self.apply) = (BOTTOM + 1, Some(0));
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn put(&self, slot: usize, value: Value<'gc>) {
        self.stack[slot].set(self.cx, value);
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, value: Value<'gc>) {
        self.stack[self.sp].set(self.cx, value);
        self.sp += 1;
    }

    #[inline(always)]
    pub(crate) fn top(&self) -> Value<'gc> {
        self.stack[self.sp - 1].get()
    }

    fn put_bottom(&self, closure: Gc<'gc, Closure<'gc>>) {
        self.put(0, Value::Closure(closure));
        self.put(1, Value::Return(ReturnTo::new(0, 0)));
    }

    // --- calls -------------------------------------------------------------

    /// Goes on where the record below the top says, with a value.
    #[inline(always)]
    pub(crate) fn return_value(&mut self, value: Value<'gc>) {
        let at = self.sp - 1;
        let Value::Return(to) = self.stack[at].get() else { unreachable!("no place to return to") };
        self.put(at, value);
        self.fp = at - to.back();
        let Value::Closure(closure) = self.stack[self.fp - 1].get() else {
            unreachable!("a frame is of a closure")
        };
        self.closure = closure;
        self.pc = to.pc();
    }

    /// Does the call that is due, or begins it.
    pub(crate) fn call(&mut self, count: usize) -> Outcome<'gc, ()> {
        let base = self.sp - count - 1;
        match self.stack[base].get() {
            Value::Closure(closure) => self.enter(closure, base, count),
            Value::Primitive(primitive) => {
                if !primitive.takes(count) {
                    return Err(arity(self.stack[base].get(), count));
                }
                match primitive.run {
                    Run::Plain(run) => {
                        let value = run(self, &self.stack[base + 1..self.sp])?;
                        (self.sp, self.apply) = (base, None);
                        self.return_value(value);
                        Ok(())
                    }
                    Run::Control(run) => run(self, base),
                }
            }
            Value::Continuation(continuation) => {
                let arguments = self.arguments(base);
                if continuation.winders.is(self.winders) {
                    let value = self.several(&arguments)?;
                    self.throw(continuation, value);
                    return Ok(());
                }
                let arguments = list(self.cx, &arguments)?;
                let callee = self.stack[base].get();
                self.put(base, self.machine.rewind.get());
                (self.sp, self.apply) = (base + 1, Some(2));
                self.push(callee);
                self.push(arguments);
                Ok(())
            }
            Value::Parameter(parameter) if count == 0 => {
                let value = match self.parameter(Gc::as_ptr(parameter).addr()) {
                    Some(value) => value,
                    None => parameter.value.get(),
                };
                (self.sp, self.apply) = (base, None);
                self.return_value(value);
                Ok(())
            }
            Value::Guardian(guardian) => {
                let value = crate::weak::call_guardian(self, guardian, &self.arguments(base))?;
                (self.sp, self.apply) = (base, None);
                self.return_value(value);
                Ok(())
            }
            other => Err(wrong("a procedure", other)),
        }
    }

    /// What a parameter is in the dynamic environment.
    pub(crate) fn parameter(&self, address: usize) -> Option<Value<'gc>> {
        let Value::Pair(dynamic) = self.dynamic else { return None };
        let mut at = dynamic.rest.get();
        while let Value::Pair(pair) = at {
            if let Value::Pair(binding) = pair.first.get()
                && binding.first.get().address() == Some(address)
            {
                return Some(binding.rest.get());
            }
            at = pair.rest.get();
        }
        None
    }

    #[inline(always)]
    fn enter(
        &mut self,
        closure: Gc<'gc, Closure<'gc>>,
        base: usize,
        count: usize,
    ) -> Outcome<'gc, ()> {
        let code = closure.as_ref().code.as_ref();
        let required = code.required as usize;
        if count != required && (count < required || !code.rest) {
            return Err(arity(Value::Closure(closure), count));
        }
        let end = base + 1 + code.slots as usize;
        if end > self.stack.len() {
            self.freeze(base, code.slots as usize)?;
            return Ok(());
        }
        if code.rest {
            let rest: Vec<_> =
                self.stack[base + 1 + required..self.sp].iter().map(|slot| slot.get()).collect();
            let rest = list(self.cx, &rest)?;
            // Above it are arguments that are in the list; the step's end lets go of them.
            self.high = self.high.max(self.sp);
            self.put(base + 1 + required, rest);
            self.sp = base + 2 + required;
        }
        self.high = self.high.max(end);
        self.fp = base + 1;
        self.closure = closure;
        (self.pc, self.apply) = (0, None);
        Ok(())
    }

    /// The arguments of the call whose procedure is in a slot.
    pub(crate) fn arguments(&self, base: usize) -> Vec<Value<'gc>> {
        self.stack[base + 1..self.sp].iter().map(|slot| slot.get()).collect()
    }

    /// One value, or several as one.
    pub(crate) fn several(&self, values: &[Value<'gc>]) -> Outcome<'gc> {
        match values {
            [value] => Ok(*value),
            values => {
                let items = elements(self.cx, values.iter().copied())?;
                Ok(Value::Values(Gc::try_new(self.cx, crate::value::Vector { items })?))
            }
        }
    }

    /// Replaces the call whose procedure is in a slot by another.
    pub(crate) fn call_instead(
        &mut self,
        base: usize,
        procedure: Value<'gc>,
        arguments: &[Value<'gc>],
    ) -> Outcome<'gc, ()> {
        let mut base = base;
        if base + arguments.len() + 16 > self.stack.len() {
            self.freeze(base, arguments.len() + 32)?;
            base = BOTTOM;
        }
        self.put(base, procedure);
        self.sp = base + 1;
        for &argument in arguments {
            self.push(argument);
        }
        self.high = self.high.max(self.sp);
        self.apply = Some(arguments.len());
        Ok(())
    }

    /// Replaces the call in a slot by one of a procedure without arguments, after which a frame of `then`, with a
    /// value in its first slot, goes on.
    fn call_then(
        &mut self,
        base: usize,
        then: Gc<'gc, Closure<'gc>>,
        kept: Value<'gc>,
        thunk: Value<'gc>,
    ) {
        self.put(base, Value::Closure(then));
        self.put(base + 1, kept);
        self.put(base + 2, Value::Return(ReturnTo::new(0, 1)));
        self.put(base + 3, thunk);
        (self.sp, self.apply) = (base + 4, Some(0));
        self.high = self.high.max(self.sp);
    }

    /// Calls a procedure with what another returns.
    pub(crate) fn call_with_values(&mut self, base: usize) {
        let (producer, consumer) = (self.stack[base + 1].get(), self.stack[base + 2].get());
        self.call_then(base, self.machine.receive, consumer, producer);
    }

    /// Calls a procedure in another dynamic environment.
    pub(crate) fn call_with_dynamic(&mut self, base: usize) {
        let (dynamic, thunk) = (self.stack[base + 1].get(), self.stack[base + 2].get());
        let old = std::mem::replace(&mut self.dynamic, dynamic);
        self.call_then(base, self.machine.restore, old, thunk);
    }

    // --- continuations -----------------------------------------------------

    /// Freezes the segment below the call in a slot, and moves the call to a new one that has room for so many slots.
    fn freeze(&mut self, base: usize, slots: usize) -> Outcome<'gc, ()> {
        let moved = self.sp - base;
        let size = SEGMENT_SLOTS.max(moved + slots + 64);
        let segment = elements(self.cx, std::iter::repeat_n(Value::Undefined, size))?;
        let frozen = Continuation {
            values: self.segment,
            count: base,
            next: self.under,
            dynamic: self.dynamic,
            winders: self.winders,
        };
        self.under = Some(Gc::try_new(self.cx, frozen)?);
        for index in 0..moved {
            segment[BOTTOM + index].set(self.cx, self.stack[base + index].get());
            self.stack[base + index].set(self.cx, Value::Undefined);
        }
        // What is above has been used and left.
        for slot in &self.stack[self.sp..self.high.clamp(self.sp, self.stack.len())] {
            slot.set(self.cx, Value::Undefined);
        }
        (self.segment, self.stack) = (segment, segment.as_ref());
        self.put_bottom(self.machine.underflow);
        self.sp = BOTTOM + moved;
        self.high = self.sp;
        Ok(())
    }

    /// The continuation of the call in a slot; the call is then at the bottom of the segment.
    pub(crate) fn capture(&mut self, base: usize) -> Outcome<'gc, Value<'gc>> {
        let bottom = self.stack[0].get();
        let is_empty = base == BOTTOM && bottom.is(Value::Closure(self.machine.underflow));
        let count = if is_empty { 0 } else { base };
        let values = match count {
            0 => self.machine.empty,
            count => {
                let slots: Vec<_> = self.stack[..count].iter().map(|slot| slot.get()).collect();
                elements(self.cx, slots)?
            }
        };
        let (dynamic, winders) = (self.dynamic, self.winders);
        let frozen = Continuation { values, count, next: self.under, dynamic, winders };
        let frozen = Gc::try_new(self.cx, frozen)?;
        if !is_empty {
            self.high = self.high.max(self.sp);
            self.under = Some(frozen);
            let moved = self.sp - base;
            for index in 0..moved {
                self.put(BOTTOM + index, self.stack[base + index].get());
            }
            self.put_bottom(self.machine.underflow);
            self.sp = BOTTOM + moved;
        }
        Ok(Value::Continuation(frozen))
    }

    /// Leaves what runs and gives a value to a continuation.
    pub(crate) fn throw(&mut self, continuation: Gc<'gc, Continuation<'gc>>, value: Value<'gc>) {
        self.high = self.high.max(self.sp);
        self.under = Some(continuation);
        self.dynamic = continuation.dynamic;
        self.winders = continuation.winders;
        self.closure = self.machine.underflow;
        self.put_bottom(self.closure);
        self.put(BOTTOM, value);
        (self.sp, self.fp, self.pc, self.apply) = (BOTTOM + 1, 1, 0, None);
    }

    /// The bottom of the segment was reached with a value on top: copies frames back.
    pub(crate) fn underflow(&mut self) -> Outcome<'gc, ()> {
        let value = self.top();
        let mut frozen = self.under.expect("a segment is above another");
        while frozen.count == 0 {
            frozen = frozen.next.expect("an empty segment is above another");
        }
        let values = frozen.values.as_ref();
        let end = frozen.count;
        let below = |end: usize| match values[end - 1].get() {
            // The frame's closure is a slot below its first.
            Value::Return(to) => end - 2 - to.back(),
            _ => unreachable!("a segment ends with a place to return to"),
        };
        let mut start = below(end);
        while start > 0 && end - start < COPIED_SLOTS {
            start = below(start);
        }
        let under = match start {
            0 => frozen.next,
            count => {
                let Continuation { values, next, dynamic, winders, .. } = *frozen;
                Some(Gc::try_new(self.cx, Continuation { values, count, next, dynamic, winders })?)
            }
        };
        // The topmost frame goes on, and may need all its slots.
        let back = match values[end - 1].get() {
            Value::Return(to) => to.back(),
            _ => 0,
        };
        let slots = match values[end - 2 - back].get() {
            Value::Closure(closure) => closure.code.slots as usize,
            _ => 0,
        };
        let size = BOTTOM + (end - start) + slots + 16;
        if size > self.stack.len() {
            let segment = elements(self.cx, std::iter::repeat_n(Value::Undefined, size))?;
            (self.segment, self.stack) = (segment, segment.as_ref());
        }
        self.under = under;
        // The value lay where the bottom says how to return.
        self.put_bottom(self.machine.underflow);
        for (index, slot) in values[start..end].iter().enumerate() {
            self.put(BOTTOM + index, slot.get());
        }
        self.sp = BOTTOM + end - start;
        self.high = self.high.max(self.sp + slots);
        self.return_value(value);
        Ok(())
    }

    // --- faults ------------------------------------------------------------

    /// Where the program is: line and column of the innermost call that has one, as those of the prelude do not.
    pub(crate) fn place(&self) -> (u32, u32) {
        let mut place = (0, 0);
        let mut end = match self.apply {
            Some(count) => self.sp - count - 1,
            None => {
                place = self.closure.code.place(self.pc);
                self.fp - 1
            }
        };
        while place.0 == 0 && end > BOTTOM {
            let Value::Return(to) = self.stack[end - 1].get() else { break };
            end -= to.back() + 2;
            if let Value::Closure(closure) = self.stack[end].get() {
                place = closure.code.place(to.pc().saturating_sub(1));
            }
        }
        place
    }

    /// The condition that a report tells of.
    pub(crate) fn condition(&self, report: &Report<'gc>) -> Outcome<'gc> {
        let (line, column) = match report.line {
            0 => self.place(),
            line => (line, report.column),
        };
        let message = text(self.cx, &report.message)?;
        let irritants = list(self.cx, &report.irritants)?;
        let condition = Condition { kind: report.kind, message, irritants, line, column };
        Ok(Value::Condition(Gc::try_new(self.cx, condition)?))
    }

    /// Lets the program raise a value in place of what failed.
    pub(crate) fn raise(&mut self, value: Value<'gc>) {
        let raise = self.machine.raise.get();
        if let Some(count) = self.apply {
            self.high = self.high.max(self.sp);
            self.sp -= count + 1;
        } else {
            let back = (self.sp - self.fp) as u32;
            // Nobody goes on behind what failed, but the frame is the caller's.
            self.push(Value::Return(ReturnTo::new(self.pc as u32, back)));
        }
        self.push(raise);
        self.push(value);
        self.apply = Some(1);
    }

    /// There is no memory: lets the program raise the condition that says so. False when it did so already, and
    /// there has been none since.
    pub(crate) fn raise_out_of_memory(&mut self) -> bool {
        if matches!(self.machine.ballast.get(), Value::Undefined) {
            return false;
        }
        self.machine.ballast.set(self.cx, Value::Undefined);
        self.raise(self.machine.out_of_memory);
        true
    }

    /// Whether there is a procedure that raises: not while the prelude is loaded.
    pub(crate) fn can_raise(&self) -> bool {
        !matches!(self.machine.raise.get(), Value::Undefined)
    }

    /// Whether memory is set aside.
    pub(crate) fn has_ballast(&self) -> bool {
        !matches!(self.machine.ballast.get(), Value::Undefined)
    }

    /// Sets memory aside for the next time, if there is enough.
    pub(crate) fn keep_ballast(&self) -> Outcome<'gc, ()> {
        if matches!(self.machine.ballast.get(), Value::Undefined) {
            let ballast = crate::value::bytes(self.cx, std::iter::repeat_n(0, BALLAST_BYTES))?;
            self.machine.ballast.set(self.cx, ballast);
        }
        Ok(())
    }
}

/// The call has a wrong number of arguments.
#[cold]
fn arity<'gc>(callee: Value<'gc>, count: usize) -> Fault<'gc> {
    fault(Kind::Primitive, format!("wrong number of arguments, {count}, to"), &[callee])
}
