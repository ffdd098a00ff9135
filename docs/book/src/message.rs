//! Values that leave their heap. Chapter 11.

use crate::lisp::{Error, Lisp, Settings};
use crate::machine::Run;
use crate::value::{Outcome, Value, list, text, vector};

/// A copy of a value that is of no heap, and so may be sent to another thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Nothing,
    Bool(bool),
    Number(i64),
    Symbol(String),
    Text(String),
    List(Vec<Message>),
    Vector(Vec<Message>),
}

/// How deep a message may be nested, and of how many values it may be: cycles end here.
const DEPTH: usize = 1000;
const VALUES: usize = 1_000_000;

impl Message {
    /// A copy of a value, unless it makes sense in its heap only.
    pub fn of(value: Value<'_>) -> Option<Message> {
        Message::at_depth(value, 0, &mut VALUES.clone())
    }

    fn at_depth(value: Value<'_>, depth: usize, left: &mut usize) -> Option<Message> {
        *left = left.checked_sub(1)?;
        if depth > DEPTH {
            return None;
        }
        let mut part = |value| Message::at_depth(value, depth + 1, left);
        Some(match value {
            Value::Nil => Message::List(Vec::new()),
            Value::Nothing => Message::Nothing,
            Value::Bool(bool) => Message::Bool(bool),
            Value::Number(number) => Message::Number(number),
            Value::Symbol(symbol) => Message::Symbol(symbol.name.to_string()),
            Value::Text(text) => Message::Text(text.text.to_string()),
            Value::Pair(_) => {
                let values = value.list().ok()?;
                Message::List(values.into_iter().map(part).collect::<Option<_>>()?)
            }
            Value::Vector(vector) => {
                let items = vector.items.iter().map(|item| part(item.get()));
                Message::Vector(items.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// A value that says the same.
    pub fn value<'gc>(&self, run: Run<'_, 'gc>) -> Outcome<'gc> {
        let values = |messages: &[Message]| -> Outcome<'gc, Vec<Value<'gc>>> {
            messages.iter().map(|message| message.value(run)).collect()
        };
        match self {
            Message::Nothing => Ok(Value::Nothing),
            Message::Bool(bool) => Ok(Value::Bool(*bool)),
            Message::Number(number) => Ok(Value::Number(*number)),
            Message::Symbol(name) => run.symbol(name),
            Message::Text(content) => text(run.cx, content),
            Message::List(messages) => list(run.cx, &values(messages)?, Value::Nil),
            Message::Vector(messages) => vector(run.cx, values(messages)?),
        }
    }
}

impl Lisp {
    /// Evaluates a form that came from elsewhere; the value has to be one that can leave.
    pub fn eval_message(&self, form: &Message) -> Result<Message, Error> {
        let value = self.eval_form(|run| form.value(run), |_, value| Message::of(value))?;
        value.ok_or_else(|| Error::Raised("a value that cannot leave its heap".to_string()))
    }
}

/// Evaluates forms at the same time, each in a thread and a heap of its own.
pub fn in_threads(forms: &[Message], settings: &Settings) -> Vec<Result<Message, Error>> {
    std::thread::scope(|scope| {
        let start = |form| {
            scope.spawn(move || match Lisp::new(settings.clone()) {
                Ok(lisp) => lisp.eval_message(form),
                Err(error) => Err(Error::Raised(error.to_string())),
            })
        };
        let threads: Vec<_> = forms.iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread panicked")).collect()
    })
}
