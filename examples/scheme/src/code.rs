//! Compiled procedures: instructions, constants, and where in the text calls stand.
//!
//! A frame is a run of stack slots: the closure at `fp - 1`, its arguments and temporaries from `fp`. Below the
//! closure lies a [`Value::Return`]. Distances in it are relative, so that frames can be
//! moved to another stack.

use crate::primitive::Primitive;
use crate::value::Value;
use mallocgc::typed::{Gc, Static, Trace};
use std::cmp::Ordering;

/// An instruction. "Push" is onto the stack, "pop" from it; numbers name slots of the frame,
/// captured values, or constants. Operands are on the stack if the name does not say where else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Constant(u32),
    Fixnum(i32),
    Local(u32),
    /// The same, of a variable that may not be initialized yet.
    LocalChecked(u32),
    LocalBoxed(u32),
    Free(u32),
    FreeBoxed(u32),
    Global(u32),
    SetLocal(u32),
    SetLocalBoxed(u32),
    SetFreeBoxed(u32),
    SetGlobal(u32),
    DefineGlobal(u32),
    /// Puts the value of a slot into a box.
    Box(u32),
    /// Pushes a closure of the code that is this constant.
    Closure(u32),
    /// Sets a captured value of the closure in a slot to the value of another slot.
    Patch {
        closure: u16,
        free: u16,
        from: u16,
    },
    Jump(u32),
    JumpIfFalse(u32),
    /// `Unless…` goes there if a test does not hold.
    UnlessNull(u32),
    UnlessNullLocal {
        slot: u16,
        to: u32,
    },
    UnlessPair(u32),
    UnlessPairLocal {
        slot: u16,
        to: u32,
    },
    UnlessEq(u32),
    Unless {
        order: Orders,
        to: u32,
    },
    UnlessFixnum {
        order: Orders,
        n: i32,
        to: u32,
    },
    UnlessLocalFixnum {
        order: Orders,
        slot: u16,
        n: i32,
        to: u32,
    },
    UnlessLocals {
        order: Orders,
        a: u16,
        b: u16,
        to: u32,
    },
    /// Pushes where to go on after the call.
    Frame(u32),
    /// The same, and then a global variable, the procedure.
    FrameGlobal {
        to: u32,
        index: u32,
    },
    Call(u32),
    TailCall(u32),
    Return,
    ReturnLocal(u32),
    Pop,
    /// Removes so many slots below the top.
    Slide(u32),
    /// Calls a primitive that cannot be another by now.
    Primitive {
        index: u16,
        count: u8,
    },
    Car,
    CarLocal(u32),
    Cdr,
    CdrLocal(u32),
    Cons,
    Add,
    AddFixnum(i32),
    AddLocalFixnum {
        slot: u16,
        n: i32,
    },
    AddLocals {
        a: u16,
        b: u16,
    },
    Subtract,
    SubtractLocals {
        a: u16,
        b: u16,
    },
    Compare(Orders),
    Eq,
    IsNull,
    IsPair,
    Not,
    VectorRef,
    // --- ends of what the machine itself does ---
    /// The bottom of a computation.
    Halt,
    /// The bottom of a stack segment.
    Underflow,
    /// Restores the dynamic environment in the first slot.
    RestoreDynamic,
    /// Calls the procedure in the first slot with the values on top.
    Receive,
}

const _: () = assert!(size_of::<Op>() == 12);

/// Orders of two numbers in which a comparison holds: a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Orders(u8);

impl Orders {
    const LESS: u8 = 1;
    const EQUAL: u8 = 2;
    const GREATER: u8 = 4;

    /// Those of a primitive that compares numbers.
    pub(crate) fn of(name: &str) -> Option<Orders> {
        Some(Orders(match name {
            "<" => Orders::LESS,
            "=" => Orders::EQUAL,
            ">" => Orders::GREATER,
            "<=" => Orders::LESS | Orders::EQUAL,
            ">=" => Orders::GREATER | Orders::EQUAL,
            _ => return None,
        }))
    }

    /// Those of the same comparison with its operands the other way round.
    pub(crate) fn turned(self) -> Orders {
        Orders(
            (self.0 & Orders::EQUAL)
                | (self.0 & Orders::LESS) << 2
                | (self.0 & Orders::GREATER) >> 2,
        )
    }

    /// Whether the comparison holds.
    #[inline(always)]
    pub(crate) fn has(self, order: Ordering) -> bool {
        self.0 & (1 << (order as i8 + 1)) != 0
    }
}

/// Where a closure finds a value that it captures: a slot of the frame that makes it, or what that captured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Capture {
    Local(u32),
    Free(u32),
}

/// From this instruction on, the text is at a line and column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) pc: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A procedure without what it captures.
#[derive(Trace)]
pub(crate) struct Code<'gc> {
    pub(crate) ops: Gc<'gc, [Static<Op>]>,
    pub(crate) constants: Gc<'gc, [Value<'gc>]>,
    pub(crate) captures: Gc<'gc, [Static<Capture>]>,
    pub(crate) places: Gc<'gc, [Static<Place>]>,
    pub(crate) name: Value<'gc>,
    /// Arguments it must have.
    pub(crate) required: u32,
    /// Whether it takes more, as a list.
    pub(crate) rest: bool,
    /// Slots that a frame needs at most.
    pub(crate) slots: u32,
}

impl<'gc> Code<'gc> {
    /// Line and column of an instruction; 0 if unknown.
    pub(crate) fn place(&self, pc: usize) -> (u32, u32) {
        let after = self.places.partition_point(|place| place.pc as usize <= pc);
        match after.checked_sub(1) {
            Some(index) => (self.places[index].line, self.places[index].column),
            None => (0, 0),
        }
    }
}

/// The instruction for a primitive with so many arguments, if there is one of its own.
pub(crate) fn special_op(primitive: &Primitive, count: usize) -> Option<Op> {
    Some(match (primitive.name, count) {
        ("car", 1) => Op::Car,
        ("cdr", 1) => Op::Cdr,
        ("cons", 2) => Op::Cons,
        ("+", 2) => Op::Add,
        ("-", 2) => Op::Subtract,
        (name @ ("<" | ">" | "<=" | ">=" | "="), 2) => Op::Compare(Orders::of(name)?),
        ("eq?", 2) => Op::Eq,
        ("null?", 1) => Op::IsNull,
        ("pair?", 1) => Op::IsPair,
        ("not", 1) => Op::Not,
        ("vector-ref", 2) => Op::VectorRef,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_in_their_orders() {
        for (a, b) in [(1, 2), (2, 2), (3, 2)] {
            let holds = |name: &str| Orders::of(name).unwrap().has(a.cmp(&b));
            let turned = |name: &str| Orders::of(name).unwrap().turned().has(b.cmp(&a));
            let expected = [a < b, a == b, a > b, a <= b, a >= b];
            assert_eq!(["<", "=", ">", "<=", ">="].map(holds), expected);
            assert_eq!(["<", "=", ">", "<=", ">="].map(turned), expected);
        }
        assert_eq!(Orders::of("eq?"), None);
    }
}
