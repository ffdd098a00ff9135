//! A field is one of the type that is named: neither of what a reference leads to, nor of another type.

use mallocgc::typed::Gc;
use mallocgc::typed::barrier::{Write, field};

struct Fields<'gc> {
    number: i32,
    real: f64,
    borrowed: &'static u32,
    reference: Gc<'gc, u32>,
}

fn before_1<'a, 'gc>(place: Write<'a, 'gc, &'a Fields<'gc>>) -> Write<'a, 'gc, i32> {
    field!(place, Fields, number)
}

fn before_2<'a, 'gc>(place: Write<'a, 'gc, Gc<'gc, Fields<'gc>>>) -> Write<'a, 'gc, i32> {
    field!(place, Fields, number)
}

fn after<'a, 'gc>(place: Write<'a, 'gc, Fields<'gc>>) -> Write<'a, 'gc, u32> {
    field!(place, Fields, reference)
}

fn other_type<'a, 'gc>(place: Write<'a, 'gc, Fields<'gc>>) -> Write<'a, 'gc, i64> {
    field!(place, Fields, real)
}

fn main() {}
