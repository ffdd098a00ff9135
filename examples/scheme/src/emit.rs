//! The compiler's second half: from the tree to instructions.
//!
//! A variable that is set anywhere lives in a box, so that closures and continuations share it; so does a variable of a body that a
//! closure captures, unless it is a procedure that nobody sets: those are made first, all of them, and then patched with
//! each other. All other variables are slots of the frame, at places known here.

use crate::code::{Capture, Code, Op, Orders, Place, special_op};
use crate::compile::{At, Compiler, Lambda, Node};
use crate::primitive::{Primitive, index_of};
use crate::value::{Kind, Outcome, Value, fault};
use mallocgc::typed::{Gc, Static};
use std::collections::{HashMap, HashSet};

/// What the machine may push besides what the code does.
const SPARE_SLOTS: usize = 8;

/// Where a value is needed.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Push,
    /// It is the result of the procedure.
    Tail,
}

/// Makes the instructions of one procedure.
pub(crate) struct Emitter<'c, 'gc> {
    compiler: &'c Compiler<'c, 'gc>,
    function: usize,
    ops: Vec<Static<Op>>,
    constants: Vec<Value<'gc>>,
    known: HashMap<usize, u32>,
    places: Vec<Static<Place>>,
    slots: HashMap<usize, u32>,
    /// Variables of bodies that are procedures nobody sets.
    fixed: HashSet<usize>,
    depth: usize,
    deepest: usize,
}

impl<'c, 'gc> Emitter<'c, 'gc> {
    /// The code of a procedure.
    pub(crate) fn code(
        compiler: &'c Compiler<'c, 'gc>,
        lambda: &Lambda<'gc>,
    ) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        Emitter::procedure(compiler, lambda, &HashSet::new(), Vec::new())
    }

    fn procedure(
        compiler: &'c Compiler<'c, 'gc>,
        lambda: &Lambda<'gc>,
        fixed: &HashSet<usize>,
        captures: Vec<Static<Capture>>,
    ) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let count = lambda.parameters.len();
        let mut emitter = Emitter {
            compiler,
            function: lambda.function,
            ops: Vec::new(),
            constants: Vec::new(),
            known: HashMap::new(),
            places: Vec::new(),
            slots: HashMap::new(),
            fixed: fixed.clone(),
            depth: count,
            deepest: count,
        };
        for (slot, &variable) in lambda.parameters.iter().enumerate() {
            emitter.place_variable(variable, slot);
        }
        emitter.emit(&lambda.body, Use::Tail)?;
        let cx = compiler.cx;
        let code = Code {
            ops: Gc::try_from_iter(cx, emitter.ops)?,
            constants: Gc::try_from_iter(cx, emitter.constants)?,
            captures: Gc::try_from_iter(cx, captures)?,
            places: Gc::try_from_iter(cx, emitter.places)?,
            name: lambda.name,
            required: (count - usize::from(lambda.rest)) as u32,
            rest: lambda.rest,
            slots: (emitter.deepest + SPARE_SLOTS) as u32,
        };
        Ok(Gc::try_new(cx, code)?)
    }

    // --- parts -------------------------------------------------------------

    fn op(&mut self, op: Op) {
        self.ops.push(Static(op));
    }

    fn here(&self) -> u32 {
        self.ops.len() as u32
    }

    fn patch(&mut self, at: u32) {
        let here = self.here();
        match &mut self.ops[at as usize].0 {
            Op::Jump(to)
            | Op::JumpIfFalse(to)
            | Op::UnlessNull(to)
            | Op::UnlessNullLocal { to, .. }
            | Op::UnlessPair(to)
            | Op::UnlessPairLocal { to, .. }
            | Op::UnlessEq(to)
            | Op::Unless { to, .. }
            | Op::UnlessFixnum { to, .. }
            | Op::UnlessLocalFixnum { to, .. }
            | Op::UnlessLocals { to, .. }
            | Op::Frame(to)
            | Op::FrameGlobal { to, .. } => *to = here,
            other => unreachable!("{other:?} goes nowhere"),
        }
    }

    fn grow(&mut self, by: usize) {
        self.depth += by;
        self.deepest = self.deepest.max(self.depth);
    }

    fn constant(&mut self, value: Value<'gc>) -> u32 {
        if let Some(&known) = value.address().and_then(|address| self.known.get(&address)) {
            return known;
        }
        let index = self.constants.len() as u32;
        self.constants.push(value);
        if let Some(address) = value.address() {
            self.known.insert(address, index);
        }
        index
    }

    fn at(&mut self, (line, column): At) {
        let pc = self.here();
        if self.places.last().is_none_or(|last| (last.line, last.column) != (line, column)) {
            self.places.push(Static(Place { pc, line, column }));
        }
    }

    fn is_boxed(&self, variable: usize) -> bool {
        let about = &self.compiler.variables[variable];
        about.assigned || (about.defined && about.captured && !self.fixed.contains(&variable))
    }

    /// The variable is in a slot from now on.
    fn place_variable(&mut self, variable: usize, slot: usize) {
        self.slots.insert(variable, slot as u32);
        if self.is_boxed(variable) {
            self.op(Op::Box(slot as u32));
        }
    }

    fn captured(&self, variable: usize) -> u32 {
        let captures = &self.compiler.functions[self.function].captures;
        captures.iter().position(|&known| known == variable).expect("it is captured") as u32
    }

    fn slot16(slot: u32) -> Outcome<'gc, u16> {
        let too_many = |_| fault(Kind::Syntax, "a procedure has too many variables", &[]);
        u16::try_from(slot).map_err(too_many)
    }

    /// The slot of a variable that can be read without further ado.
    fn plain_slot(&self, node: &Node<'gc>) -> Option<u16> {
        let Node::Local(variable) = node else { return None };
        let may_be_early =
            self.compiler.variables[*variable].defined && !self.fixed.contains(variable);
        let slot = *self.slots.get(variable)?;
        let slot = (!may_be_early && !self.is_boxed(*variable)).then_some(slot)?;
        u16::try_from(slot).ok()
    }

    // --- expressions -------------------------------------------------------

    fn emit(&mut self, node: &Node<'gc>, how: Use) -> Outcome<'gc, ()> {
        if let (Some(slot), Use::Tail) = (self.plain_slot(node), how) {
            self.op(Op::ReturnLocal(slot.into()));
            self.grow(1);
            return Ok(());
        }
        match node {
            Node::Constant(Value::Fixnum(n)) if i32::try_from(*n).is_ok() => {
                self.op(Op::Fixnum(*n as i32));
                self.grow(1);
            }
            Node::Constant(value) => {
                let index = self.constant(*value);
                self.op(Op::Constant(index));
                self.grow(1);
            }
            Node::Local(variable) => {
                let defined = self.compiler.variables[*variable].defined;
                let op = match (self.slots.get(variable), self.is_boxed(*variable)) {
                    (Some(&slot), true) => Op::LocalBoxed(slot),
                    (Some(&slot), false) if defined && !self.fixed.contains(variable) => {
                        Op::LocalChecked(slot)
                    }
                    (Some(&slot), false) => Op::Local(slot),
                    (None, true) => Op::FreeBoxed(self.captured(*variable)),
                    (None, false) => Op::Free(self.captured(*variable)),
                };
                self.op(op);
                self.grow(1);
            }
            Node::Global(global, at) => {
                self.at(*at);
                let index = self.constant(Value::Global(*global));
                self.op(Op::Global(index));
                self.grow(1);
            }
            Node::SetLocal(variable, value) => {
                self.emit(value, Use::Push)?;
                let op = match self.slots.get(variable) {
                    Some(&slot) => Op::SetLocalBoxed(slot),
                    None => Op::SetFreeBoxed(self.captured(*variable)),
                };
                self.op(op);
                self.replace_by_nothing();
            }
            Node::SetGlobal(global, value, at) => {
                self.emit(value, Use::Push)?;
                self.at(*at);
                let index = self.constant(Value::Global(*global));
                self.op(Op::SetGlobal(index));
                self.replace_by_nothing();
            }
            Node::DefineGlobal(global, value) => {
                self.emit(value, Use::Push)?;
                let index = self.constant(Value::Global(*global));
                self.op(Op::DefineGlobal(index));
                self.replace_by_nothing();
            }
            Node::If(parts) => return self.conditional(parts, how),
            Node::Lambda(lambda) => self.closure(lambda)?,
            Node::Sequence(nodes) => {
                let (last, before) = nodes.split_last().expect("a sequence has expressions");
                for node in before {
                    self.effect(node)?;
                }
                return self.emit(last, how);
            }
            Node::Let(values, body) => {
                let base = self.depth;
                for (_, value) in values {
                    self.emit(value, Use::Push)?;
                }
                for (index, (variable, _)) in values.iter().enumerate() {
                    self.place_variable(*variable, base + index);
                }
                self.emit(body, how)?;
                self.slide(values.len(), how);
                return Ok(());
            }
            Node::Body(items) => return self.body(items, how),
            Node::Call(callee, arguments, at) => return self.call(callee, arguments, *at, how),
            Node::Primitive(primitive, arguments, at) => {
                self.primitive(primitive, arguments, *at)?;
            }
        }
        if how == Use::Tail {
            self.op(Op::Return);
        }
        Ok(())
    }

    /// An instruction has consumed the top; an unspecified value takes its place.
    fn replace_by_nothing(&mut self) {
        let index = self.constant(Value::Unspecified);
        self.op(Op::Constant(index));
    }

    fn effect(&mut self, node: &Node<'gc>) -> Outcome<'gc, ()> {
        self.emit(node, Use::Push)?;
        self.op(Op::Pop);
        self.depth -= 1;
        Ok(())
    }

    fn slide(&mut self, count: usize, how: Use) {
        if how == Use::Push && count > 0 {
            self.op(Op::Slide(count as u32));
        }
        self.depth -= count;
    }

    fn conditional(&mut self, parts: &[Node<'gc>; 3], how: Use) -> Outcome<'gc, ()> {
        let [test, then, other] = parts;
        if let Node::Primitive(primitive, arguments, _) = test
            && primitive.name == "not"
            && arguments.len() == 1
        {
            return self.branch(&arguments[0], other, then, how);
        }
        self.branch(test, then, other, how)
    }

    fn branch(
        &mut self,
        test: &Node<'gc>,
        then: &Node<'gc>,
        other: &Node<'gc>,
        how: Use,
    ) -> Outcome<'gc, ()> {
        let to_other = self.test(test)?;
        let depth = self.depth;
        self.emit(then, how)?;
        let to_end = self.here();
        if how == Use::Push {
            self.op(Op::Jump(0));
        }
        self.patch(to_other);
        self.depth = depth;
        self.emit(other, how)?;
        if how == Use::Push {
            self.patch(to_end);
        }
        self.depth = depth + 1;
        Ok(())
    }

    /// Goes on only if a test holds; returns the instruction that must be told where to go else.
    fn test(&mut self, test: &Node<'gc>) -> Outcome<'gc, u32> {
        let depth = self.depth;
        let op = match test {
            Node::Primitive(primitive, arguments, at) => {
                let op = self.test_op(primitive, arguments, *at)?;
                // Where it fails is where its operands are.
                self.at(*at);
                op
            }
            _ => {
                self.emit(test, Use::Push)?;
                Op::JumpIfFalse(0)
            }
        };
        self.depth = depth;
        self.op(op);
        Ok(self.here() - 1)
    }

    /// The instruction that tests what a primitive would return; pushes its operands.
    fn test_op(
        &mut self,
        primitive: &'static Primitive,
        arguments: &[Node<'gc>],
        at: At,
    ) -> Outcome<'gc, Op> {
        let to = 0;
        let slot = |emitter: &Self, argument: usize| emitter.plain_slot(&arguments[argument]);
        match (primitive.name, arguments.len(), Orders::of(primitive.name)) {
            ("null?", 1, _) => {
                if let Some(slot) = slot(self, 0) {
                    return Ok(Op::UnlessNullLocal { slot, to });
                }
                self.emit(&arguments[0], Use::Push)?;
                Ok(Op::UnlessNull(to))
            }
            ("pair?", 1, _) => {
                if let Some(slot) = slot(self, 0) {
                    return Ok(Op::UnlessPairLocal { slot, to });
                }
                self.emit(&arguments[0], Use::Push)?;
                Ok(Op::UnlessPair(to))
            }
            ("eq?", 2, _) => {
                self.emit(&arguments[0], Use::Push)?;
                self.emit(&arguments[1], Use::Push)?;
                Ok(Op::UnlessEq(to))
            }
            (_, 2, Some(order)) => {
                let (mut order, mut a, mut b) = (order, &arguments[0], &arguments[1]);
                if fixnum(a).is_some() {
                    (order, a, b) = (order.turned(), b, a);
                }
                match (self.plain_slot(a), fixnum(b), self.plain_slot(b)) {
                    (Some(slot), Some(n), _) => Ok(Op::UnlessLocalFixnum { order, slot, n, to }),
                    (Some(a), _, Some(b)) => Ok(Op::UnlessLocals { order, a, b, to }),
                    (_, Some(n), _) => {
                        self.emit(a, Use::Push)?;
                        Ok(Op::UnlessFixnum { order, n, to })
                    }
                    _ => {
                        self.emit(a, Use::Push)?;
                        self.emit(b, Use::Push)?;
                        Ok(Op::Unless { order, to })
                    }
                }
            }
            _ => {
                self.primitive(primitive, arguments, at)?;
                Ok(Op::JumpIfFalse(to))
            }
        }
    }

    fn call(
        &mut self,
        callee: &Node<'gc>,
        arguments: &[Node<'gc>],
        at: At,
        how: Use,
    ) -> Outcome<'gc, ()> {
        let depth = self.depth;
        let frame = self.here();
        match (how, callee) {
            (Use::Push, Node::Global(global, at)) => {
                self.at(*at);
                let index = self.constant(Value::Global(*global));
                self.op(Op::FrameGlobal { to: 0, index });
                self.grow(2);
            }
            (Use::Push, _) => {
                self.op(Op::Frame(0));
                self.grow(1);
                self.emit(callee, Use::Push)?;
            }
            (Use::Tail, _) => self.emit(callee, Use::Push)?,
        }
        for argument in arguments {
            self.emit(argument, Use::Push)?;
        }
        self.at(at);
        let count = arguments.len() as u32;
        match how {
            Use::Push => {
                self.op(Op::Call(count));
                self.patch(frame);
            }
            Use::Tail => self.op(Op::TailCall(count)),
        }
        self.depth = depth;
        self.grow(1);
        Ok(())
    }

    fn primitive(
        &mut self,
        primitive: &'static Primitive,
        arguments: &[Node<'gc>],
        at: At,
    ) -> Outcome<'gc, ()> {
        let depth = self.depth;
        if let Some(op) = self.operation_on_locals(primitive, arguments) {
            self.at(at);
            self.op(op);
            self.grow(1);
            return Ok(());
        }
        if let Some((value, n)) = sum_with_fixnum(primitive, arguments) {
            self.emit(value, Use::Push)?;
            self.at(at);
            self.op(Op::AddFixnum(n));
            return Ok(());
        }
        for argument in arguments {
            self.emit(argument, Use::Push)?;
        }
        self.at(at);
        let count = arguments.len();
        let general = Op::Primitive { index: index_of(primitive), count: count as u8 };
        self.op(special_op(primitive, count).unwrap_or(general));
        self.depth = depth;
        self.grow(1);
        Ok(())
    }

    /// The instruction for a primitive whose operands are variables in slots, if it has one.
    fn operation_on_locals(&self, primitive: &Primitive, arguments: &[Node<'gc>]) -> Option<Op> {
        if let Some((value, n)) = sum_with_fixnum(primitive, arguments) {
            return Some(Op::AddLocalFixnum { slot: self.plain_slot(value)?, n });
        }
        match (primitive.name, arguments) {
            ("car", [list]) => Some(Op::CarLocal(self.plain_slot(list)?.into())),
            ("cdr", [list]) => Some(Op::CdrLocal(self.plain_slot(list)?.into())),
            ("+", [a, b]) => Some(Op::AddLocals { a: self.plain_slot(a)?, b: self.plain_slot(b)? }),
            ("-", [a, b]) => {
                Some(Op::SubtractLocals { a: self.plain_slot(a)?, b: self.plain_slot(b)? })
            }
            _ => None,
        }
    }

    // --- procedures --------------------------------------------------------

    /// Pushes a closure.
    fn closure(&mut self, lambda: &Lambda<'gc>) -> Outcome<'gc, ()> {
        let captures: Vec<_> = self.compiler.functions[lambda.function]
            .captures
            .iter()
            .map(|variable| match self.slots.get(variable) {
                Some(&slot) => Static(Capture::Local(slot)),
                None => Static(Capture::Free(self.captured(*variable))),
            })
            .collect();
        let code = Emitter::procedure(self.compiler, lambda, &self.fixed, captures)?;
        let index = self.constant(Value::Code(code));
        self.op(Op::Closure(index));
        self.grow(1);
        Ok(())
    }

    /// Definitions and expressions: first all variables, then the procedures among them, then the rest in
    /// order.
    fn body(&mut self, items: &[(Option<usize>, Node<'gc>)], how: Use) -> Outcome<'gc, ()> {
        let mut variables: Vec<usize> = Vec::new();
        let mut twice = HashSet::new();
        for variable in items.iter().filter_map(|&(variable, _)| variable) {
            if variables.contains(&variable) {
                twice.insert(variable);
            } else {
                variables.push(variable);
            }
        }
        let is_fixed = |emitter: &Self, variable: usize, node: &Node<'gc>| {
            matches!(node, Node::Lambda(_))
                && !emitter.compiler.variables[variable].assigned
                && !twice.contains(&variable)
        };
        for (variable, node) in items {
            if let Some(variable) = variable
                && is_fixed(self, *variable, node)
            {
                self.fixed.insert(*variable);
            }
        }
        for &variable in &variables {
            let index = self.constant(Value::Undefined);
            self.op(Op::Constant(index));
            let slot = self.depth;
            self.grow(1);
            self.place_variable(variable, slot);
        }
        self.procedures(items)?;
        let (last, before) = items.split_last().expect("a body has expressions");
        for (variable, node) in before {
            self.item(*variable, node)?;
        }
        match last {
            (None, node) => self.emit(node, how)?,
            (variable, node) => {
                self.item(*variable, node)?;
                self.emit(&Node::Constant(Value::Unspecified), how)?;
            }
        }
        self.slide(variables.len(), how);
        Ok(())
    }

    fn item(&mut self, variable: Option<usize>, node: &Node<'gc>) -> Outcome<'gc, ()> {
        let Some(variable) = variable else { return self.effect(node) };
        if self.fixed.contains(&variable) {
            return Ok(());
        }
        self.emit(node, Use::Push)?;
        let slot = self.slots[&variable];
        match self.is_boxed(variable) {
            true => self.op(Op::SetLocalBoxed(slot)),
            false => self.op(Op::SetLocal(slot)),
        }
        self.depth -= 1;
        Ok(())
    }

    /// Makes the procedures of a body and lets them know each other.
    fn procedures(&mut self, items: &[(Option<usize>, Node<'gc>)]) -> Outcome<'gc, ()> {
        let mut made: Vec<(usize, usize)> = Vec::new();
        for (variable, node) in items {
            if let (Some(variable), Node::Lambda(lambda)) = (variable, node)
                && self.fixed.contains(variable)
            {
                self.closure(lambda)?;
                let slot = self.slots[variable];
                self.op(Op::SetLocal(slot));
                self.depth -= 1;
                made.push((*variable, lambda.function));
            }
        }
        for &(variable, function) in &made {
            for (free, captured) in self.compiler.functions[function].captures.iter().enumerate() {
                if made.iter().any(|(other, _)| other == captured) {
                    let closure = Self::slot16(self.slots[&variable])?;
                    let from = Self::slot16(self.slots[captured])?;
                    self.op(Op::Patch { closure, free: Self::slot16(free as u32)?, from });
                }
            }
        }
        Ok(())
    }
}

/// A number that fits an instruction.
fn fixnum(node: &Node<'_>) -> Option<i32> {
    match node {
        Node::Constant(Value::Fixnum(n)) => i32::try_from(*n).ok(),
        _ => None,
    }
}

/// The sum that a primitive makes of a value and a number.
fn sum_with_fixnum<'n, 'gc>(
    primitive: &Primitive,
    arguments: &'n [Node<'gc>],
) -> Option<(&'n Node<'gc>, i32)> {
    match (primitive.name, arguments) {
        ("+", [a, b]) => match (fixnum(a), fixnum(b)) {
            (_, Some(n)) => Some((a, n)),
            (Some(n), None) => Some((b, n)),
            _ => None,
        },
        ("-", [a, b]) => Some((a, fixnum(b)?.checked_neg()?)),
        _ => None,
    }
}
