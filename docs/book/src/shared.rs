//! What interpreters in several threads share. Chapter 11.

use crate::machine::Run;
use crate::message::Message;
use crate::primitive::Primitive;
use crate::value::{Outcome, Value, wrong};
use mallocgc::raw::{Config, HeapError};
use mallocgc::typed::{AllocError, Cx, Gc, Mutator, Root, Shared, SharedHeap, SharedLock, Trace};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Names and what is noted under them, in a heap that threads share.
#[derive(Clone, Debug)]
pub struct Board {
    heap: SharedHeap,
    notes: Root<Notes<'static>>,
}

#[derive(Trace)]
struct Notes<'gc> {
    by_name: SharedLock<HashMap<String, Gc<'gc, Datum<'gc>>>>,
}

/// A value that does not change, and so needs no lock.
#[derive(Trace)]
enum Datum<'gc> {
    Nothing,
    Bool(bool),
    Number(i64),
    Symbol(Gc<'gc, str>),
    Text(Gc<'gc, str>),
    List(Data<'gc>),
    Vector(Data<'gc>),
}

type Data<'gc> = Gc<'gc, [Gc<'gc, Datum<'gc>>]>;

/// A thread's place before a board.
#[derive(Debug)]
pub struct Seat {
    mutator: Mutator<Shared>,
    notes: Root<Notes<'static>>,
}

impl Board {
    pub fn new(config: Config) -> Result<Board, HeapError> {
        let heap = SharedHeap::new(config)?;
        let notes = heap.attach()?.run(|cx| {
            let notes = Notes { by_name: SharedLock::default() };
            cx.root::<Notes<'static>>(Gc::new(cx, notes))
        });
        Ok(Board { heap, notes })
    }

    /// A place for the calling thread.
    pub fn attach(&self) -> Result<Seat, HeapError> {
        Ok(Seat { mutator: self.heap.attach()?, notes: self.notes.clone() })
    }
}

impl Seat {
    /// Notes something under a name.
    pub fn set(&self, name: &str, message: &Message) -> Result<(), AllocError> {
        self.with_memory(|cx| {
            let datum = datum(cx, message)?;
            self.notes.get(cx).by_name.write(cx).insert(name.to_string(), datum);
            Ok(())
        })
    }

    /// What is noted under a name.
    pub fn get(&self, name: &str) -> Option<Message> {
        self.mutator.run(|cx| {
            let datum = *self.notes.get(cx).by_name.read().get(name)?;
            Some(message(&datum))
        })
    }

    /// Adds to a number in one step, and returns the sum; `None` when there is no number.
    pub fn add(&self, name: &str, number: i64) -> Result<Option<i64>, AllocError> {
        self.with_memory(|cx| {
            let mut notes = self.notes.get(cx).as_ref().by_name.write(cx);
            let Some(place) = notes.get_mut(name) else { return Ok(None) };
            let Datum::Number(old) = **place else { return Ok(None) };
            let Some(sum) = old.checked_add(number) else { return Ok(None) };
            *place = Gc::try_new(cx, Datum::Number(sum))?;
            Ok(Some(sum))
        })
    }

    /// Does what takes memory of the board's heap, again after a boundary if need be.
    fn with_memory<R>(
        &self,
        mut action: impl for<'gc> FnMut(&Cx<'gc, Shared>) -> Result<R, AllocError>,
    ) -> Result<R, AllocError> {
        self.mutator.run_steps(|cx| match action(cx) {
            Err(AllocError::NeedsBoundary(_)) => ControlFlow::Continue(()),
            result => ControlFlow::Break(result),
        })
    }
}

fn datum<'gc>(cx: &Cx<'gc, Shared>, message: &Message) -> Result<Gc<'gc, Datum<'gc>>, AllocError> {
    let data = |messages: &[Message]| -> Result<Data<'gc>, AllocError> {
        let all: Result<Vec<_>, _> = messages.iter().map(|message| datum(cx, message)).collect();
        Gc::try_from_iter(cx, all?)
    };
    let datum = match message {
        Message::Nothing => Datum::Nothing,
        Message::Bool(bool) => Datum::Bool(*bool),
        Message::Number(number) => Datum::Number(*number),
        Message::Symbol(name) => Datum::Symbol(Gc::try_from_str(cx, name)?),
        Message::Text(text) => Datum::Text(Gc::try_from_str(cx, text)?),
        Message::List(messages) => Datum::List(data(messages)?),
        Message::Vector(messages) => Datum::Vector(data(messages)?),
    };
    Gc::try_new(cx, datum)
}

fn message(datum: &Datum<'_>) -> Message {
    let messages = |data: &Data<'_>| data.iter().map(|datum| message(datum)).collect();
    match datum {
        Datum::Nothing => Message::Nothing,
        Datum::Bool(bool) => Message::Bool(*bool),
        Datum::Number(number) => Message::Number(*number),
        Datum::Symbol(name) => Message::Symbol(name.to_string()),
        Datum::Text(text) => Message::Text(text.to_string()),
        Datum::List(data) => Message::List(messages(data)),
        Datum::Vector(data) => Message::Vector(messages(data)),
    }
}

fn seat<'a, 'gc>(run: Run<'a, 'gc>) -> Outcome<'gc, &'a Seat> {
    match run.seat {
        Some(seat) => Ok(seat),
        None => wrong("there is no board", Value::Nothing),
    }
}

pub(crate) const PRIMITIVES: &[Primitive] = &[
    Primitive::plain("board-set!", 2, 2, |run, arguments| {
        let Some(message) = Message::of(arguments[1]) else {
            return wrong("cannot leave its heap:", arguments[1]);
        };
        seat(run)?.set(arguments[0].text()?, &message)?;
        Ok(Value::Nothing)
    }),
    Primitive::plain("board-ref", 1, 1, |run, arguments| {
        match seat(run)?.get(arguments[0].text()?) {
            Some(message) => message.value(run),
            None => Ok(Value::Bool(false)),
        }
    }),
    Primitive::plain("board-add!", 2, 2, |run, arguments| {
        match seat(run)?.add(arguments[0].text()?, arguments[1].number()?)? {
            Some(sum) => Ok(Value::Number(sum)),
            None => wrong("no number on the board:", arguments[0]),
        }
    }),
];
