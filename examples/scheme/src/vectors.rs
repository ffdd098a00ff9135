//! Vectors, bytevectors, records: R7RS 6.8, 6.9, 5.5.

use crate::machine::Vm;
use crate::primitive::{ANY, Arguments, Primitive};
use crate::texts::range;
use crate::value::{
    Outcome, Record, RecordType, Value, Vector, bytes, elements, list, vector, wrong,
};
use mallocgc::typed::{Gc, Lock};

fn copy_to<'gc, T: Copy + mallocgc::typed::Trace<'gc>>(
    vm: &mut Vm<'gc, '_>,
    args: Arguments<'gc>,
    to: &'gc [Lock<T>],
    from: &'gc [Lock<T>],
) -> Outcome<'gc> {
    let (start, end) = range(args, 3, from.len())?;
    let at = args[1].get().index()?;
    if at > to.len() || to.len() - at < end - start {
        return Err(wrong("a place with room for the elements", args[1].get()));
    }
    let copied: Vec<T> = from[start..end].iter().map(|item| item.get()).collect();
    for (place, item) in to[at..].iter().zip(copied) {
        place.set(vm.cx, item);
    }
    Ok(Value::Unspecified)
}

fn part<'gc>(args: Arguments<'gc>) -> Outcome<'gc, Vec<Value<'gc>>> {
    let items = args[0].get().vector()?;
    let (start, end) = range(args, 1, items.len())?;
    Ok(items[start..end].iter().map(|item| item.get()).collect())
}

fn place<'gc>(args: Arguments<'gc>) -> Outcome<'gc, &'gc Lock<Value<'gc>>> {
    let items = args[0].get().vector()?;
    items.get(args[1].get().index()?).ok_or_else(|| wrong("an index of the vector", args[1].get()))
}

fn byte_place<'gc>(args: Arguments<'gc>) -> Outcome<'gc, &'gc Lock<u8>> {
    let items = args[0].get().bytes()?;
    let index = args[1].get();
    items.get(index.index()?).ok_or_else(|| wrong("an index of the bytevector", index))
}

fn byte(value: Value<'_>) -> Outcome<'_, u8> {
    match value {
        Value::Fixnum(n @ 0..=255) => Ok(n as u8),
        other => Err(wrong("a byte", other)),
    }
}

fn append<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let mut all = Vec::new();
    for arg in args {
        all.extend(arg.get().vector()?.iter().map(|item| item.get()));
    }
    vector(vm.cx, all)
}

fn append_bytes<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let mut all = Vec::new();
    for arg in args {
        all.extend(arg.get().bytes()?.iter().map(|item| item.get()));
    }
    bytes(vm.cx, all)
}

fn fill<'gc>(vm: &mut Vm<'gc, '_>, args: Arguments<'gc>) -> Outcome<'gc> {
    let items = args[0].get().vector()?;
    let (start, end) = range(args, 2, items.len())?;
    items[start..end].iter().for_each(|item| item.set(vm.cx, args[1].get()));
    Ok(Value::Unspecified)
}

fn record<'gc>(args: Arguments<'gc>) -> Outcome<'gc, Gc<'gc, Record<'gc>>> {
    match (args[0].get(), args[1].get()) {
        (Value::Record(record), Value::RecordType(kind)) if Gc::ptr_eq(record.kind, kind) => {
            Ok(record)
        }
        (other, Value::RecordType(kind)) => {
            Err(wrong(&format!("a record of type {}", crate::print::displayed(kind.name)), other))
        }
        (_, other) => Err(wrong("a record type", other)),
    }
}

fn record_place<'gc>(args: Arguments<'gc>) -> Outcome<'gc, &'gc Lock<Value<'gc>>> {
    let record = record(args)?;
    Ok(&record.as_ref().fields.as_ref()[args[2].get().index()?])
}

/// The procedures.
pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("vector?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Vector(_))))
    }),
    Primitive::plain("make-vector", 1, 2, |vm, args| {
        let fill = args.get(1).map_or(Value::Unspecified, |arg| arg.get());
        let count = args[0].get().index()?;
        let items = elements(vm.cx, std::iter::repeat_n(fill, count))?;
        Ok(Value::Vector(Gc::try_new(vm.cx, Vector { items })?))
    }),
    Primitive::plain("vector", 0, ANY, |vm, args| vector(vm.cx, args.iter().map(|arg| arg.get()))),
    Primitive::plain("vector-length", 1, 1, |_, args| {
        Ok(Value::Fixnum(args[0].get().vector()?.len() as i64))
    }),
    Primitive::plain("vector-ref", 2, 2, |_, args| Ok(place(args)?.get())),
    Primitive::plain("vector-set!", 3, 3, |vm, args| {
        place(args)?.set(vm.cx, args[2].get());
        Ok(Value::Unspecified)
    }),
    Primitive::plain("vector->list", 1, 3, |vm, args| list(vm.cx, &part(args)?)),
    Primitive::plain("list->vector", 1, 1, |vm, args| vector(vm.cx, args[0].get().list()?)),
    Primitive::plain("vector-copy", 1, 3, |vm, args| vector(vm.cx, part(args)?)),
    Primitive::plain("vector-copy!", 3, 5, |vm, args| {
        copy_to(vm, args, args[0].get().vector()?, args[2].get().vector()?)
    }),
    Primitive::plain("vector-append", 0, ANY, append),
    Primitive::plain("vector-fill!", 2, 4, fill),
    Primitive::plain("bytevector?", 1, 1, |_, args| {
        Ok(Value::from(matches!(args[0].get(), Value::Bytes(_))))
    }),
    Primitive::plain("make-bytevector", 1, 2, |vm, args| {
        let fill = args.get(1).map_or(Ok(0), |arg| byte(arg.get()))?;
        bytes(vm.cx, std::iter::repeat_n(fill, args[0].get().index()?))
    }),
    Primitive::plain("bytevector", 0, ANY, |vm, args| {
        let all: Outcome<'_, Vec<u8>> = args.iter().map(|arg| byte(arg.get())).collect();
        bytes(vm.cx, all?)
    }),
    Primitive::plain("bytevector-length", 1, 1, |_, args| {
        Ok(Value::Fixnum(args[0].get().bytes()?.len() as i64))
    }),
    Primitive::plain("bytevector-u8-ref", 2, 2, |_, args| {
        Ok(Value::Fixnum(i64::from(byte_place(args)?.get())))
    }),
    Primitive::plain("bytevector-u8-set!", 3, 3, |vm, args| {
        byte_place(args)?.set(vm.cx, byte(args[2].get())?);
        Ok(Value::Unspecified)
    }),
    Primitive::plain("bytevector-copy", 1, 3, |vm, args| {
        let items = args[0].get().bytes()?;
        let (start, end) = range(args, 1, items.len())?;
        bytes(vm.cx, items[start..end].iter().map(|item| item.get()))
    }),
    Primitive::plain("bytevector-copy!", 3, 5, |vm, args| {
        copy_to(vm, args, args[0].get().bytes()?, args[2].get().bytes()?)
    }),
    Primitive::plain("bytevector-append", 0, ANY, append_bytes),
    Primitive::plain("%make-record-type", 2, 2, |vm, args| {
        let fields = elements(vm.cx, args[1].get().vector()?.iter().map(|field| field.get()))?;
        Ok(Value::RecordType(Gc::try_new(vm.cx, RecordType { name: args[0].get(), fields })?))
    }),
    Primitive::plain("%record", 1, ANY, |vm, args| {
        let Value::RecordType(kind) = args[0].get() else {
            return Err(wrong("a record type", args[0].get()));
        };
        let fields = elements(vm.cx, args[1..].iter().map(|arg| arg.get()))?;
        Ok(Value::Record(Gc::try_new(vm.cx, Record { kind, fields })?))
    }),
    Primitive::plain("%record?", 2, 2, |_, args| Ok(Value::from(record(args).is_ok()))),
    Primitive::plain("%record-ref", 3, 3, |_, args| Ok(record_place(args)?.get())),
    Primitive::plain("%record-set!", 4, 4, |vm, args| {
        record_place(args)?.set(vm.cx, args[3].get());
        Ok(Value::Unspecified)
    }),
];
