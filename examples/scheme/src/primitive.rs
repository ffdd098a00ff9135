//! Primitives: procedures in Rust, in tables by subject.

use crate::machine::Vm;
use crate::value::{Outcome, Value};
use mallocgc::typed::Lock;

/// A primitive's arguments, on the stack.
pub(crate) type Arguments<'gc> = &'gc [Lock<Value<'gc>>];

/// How a primitive is run.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It has a value. It changes nothing before its last allocation.
    Plain(for<'gc, 'a, 'b> fn(&'b mut Vm<'gc, 'a>, Arguments<'gc>) -> Outcome<'gc>),
    /// It changes what runs. It gets the slot of the procedure; arguments are above.
    Control(for<'gc, 'a, 'b> fn(&'b mut Vm<'gc, 'a>, usize) -> Outcome<'gc, ()>),
}

/// A procedure in Rust.
pub(crate) struct Primitive {
    pub(crate) name: &'static str,
    min: u8,
    /// 255 is any number.
    max: u8,
    pub(crate) run: Run,
}

/// Any number of arguments.
pub(crate) const ANY: u8 = 255;

impl Primitive {
    pub(crate) const fn plain(
        name: &'static str,
        min: u8,
        max: u8,
        run: for<'gc, 'a, 'b> fn(&'b mut Vm<'gc, 'a>, Arguments<'gc>) -> Outcome<'gc>,
    ) -> Primitive {
        Primitive { name, min, max, run: Run::Plain(run) }
    }

    pub(crate) const fn control(
        name: &'static str,
        min: u8,
        max: u8,
        run: for<'gc, 'a, 'b> fn(&'b mut Vm<'gc, 'a>, usize) -> Outcome<'gc, ()>,
    ) -> Primitive {
        Primitive { name, min, max, run: Run::Control(run) }
    }

    /// Whether it takes so many arguments.
    pub(crate) fn takes(&self, count: usize) -> bool {
        count >= usize::from(self.min) && (self.max == ANY || count <= usize::from(self.max))
    }

    pub(crate) fn is_control(&self) -> bool {
        matches!(self.run, Run::Control(_))
    }
}

/// All tables. An instruction names a primitive by table and place.
static TABLES: [&[Primitive]; 12] = [
    crate::arithmetic::PRIMITIVES,
    crate::lists::PRIMITIVES,
    crate::lists::PATHS,
    crate::texts::PRIMITIVES,
    crate::texts::COMPARISONS[0],
    crate::texts::COMPARISONS[1],
    crate::texts::COMPARISONS[2],
    crate::texts::COMPARISONS[3],
    crate::vectors::PRIMITIVES,
    crate::control::PRIMITIVES,
    crate::port::PRIMITIVES,
    crate::weak::PRIMITIVES,
];

/// All primitives.
pub(crate) fn all() -> impl Iterator<Item = &'static Primitive> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The number of a primitive.
pub(crate) fn index_of(primitive: &'static Primitive) -> u16 {
    let find = |table: &[Primitive]| table.iter().position(|known| std::ptr::eq(known, primitive));
    let found = TABLES.iter().enumerate().find_map(|(t, table)| Some((t << 8) | find(table)?));
    found.expect("every primitive is in a table") as u16
}

/// The primitive with a number.
#[inline]
pub(crate) fn primitive_at(index: u16) -> &'static Primitive {
    &TABLES[usize::from(index >> 8)][usize::from(index & 255)]
}
