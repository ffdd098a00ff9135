//! From values to code that need not look at names any more. Chapter 3.

use crate::machine::Run;
use crate::value::{Outcome, Symbol, Value, list, wrong};
use mallocgc::typed::{Gc, Trace};

/// What can be evaluated.
#[derive(Trace)]
pub enum Code<'gc> {
    Constant(Value<'gc>),
    /// A variable of the call, or of a call so many levels outside of it.
    Local(Place),
    Global(Gc<'gc, Symbol<'gc>>),
    SetLocal(Place, Gc<'gc, Code<'gc>>),
    SetGlobal(Gc<'gc, Symbol<'gc>>, Gc<'gc, Code<'gc>>),
    Define(Gc<'gc, Symbol<'gc>>, Gc<'gc, Code<'gc>>),
    /// Condition, consequence, alternative.
    If(Gc<'gc, Code<'gc>>, Gc<'gc, Code<'gc>>, Gc<'gc, Code<'gc>>),
    Sequence(Codes<'gc>),
    Lambda(Gc<'gc, Lambda<'gc>>),
    /// A procedure and its arguments.
    Call(Codes<'gc>),
}

/// Some code after other.
pub type Codes<'gc> = Gc<'gc, [Gc<'gc, Code<'gc>>]>;

/// Where a variable is: so many calls up, and there the so many-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Trace)]
pub struct Place {
    pub up: u32,
    pub index: u32,
}

/// What all closures of one `lambda` have in common.
#[derive(Trace)]
pub struct Lambda<'gc> {
    /// How many arguments it needs.
    pub required: u32,
    /// Whether it takes more, as a list.
    pub takes_rest: bool,
    /// How many variables a call has: arguments, and what is defined in the body.
    pub variables: u32,
    pub body: Gc<'gc, Code<'gc>>,
}

/// The names that are known where code stands, innermost first.
#[derive(Clone, Copy)]
pub struct Names<'a, 'gc> {
    names: &'a [Gc<'gc, Symbol<'gc>>],
    outer: Option<&'a Names<'a, 'gc>>,
}

impl<'gc> Names<'_, 'gc> {
    fn find(&self, symbol: Gc<'gc, Symbol<'gc>>) -> Option<Place> {
        let mut at = Some(self);
        let mut up = 0;
        while let Some(names) = at {
            if let Some(index) = names.names.iter().rposition(|&name| Gc::ptr_eq(name, symbol)) {
                return Some(Place { up, index: index as u32 });
            }
            (at, up) = (names.outer, up + 1);
        }
        None
    }
}

/// A compiler of one form.
#[derive(Clone, Copy)]
struct Compiler<'a, 'gc> {
    run: Run<'a, 'gc>,
    names: Option<&'a Names<'a, 'gc>>,
}

/// Compiles a form of the program.
pub fn compile<'gc>(run: Run<'_, 'gc>, form: Value<'gc>) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
    Compiler { run, names: None }.compile(form)
}

impl<'gc> Compiler<'_, 'gc> {
    fn code(self, code: Code<'gc>) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        Ok(Gc::try_new(self.run.cx, code)?)
    }

    fn find(self, symbol: Gc<'gc, Symbol<'gc>>) -> Option<Place> {
        self.names.and_then(|names| names.find(symbol))
    }

    fn compile(self, form: Value<'gc>) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        match form {
            Value::Symbol(symbol) => self.code(match self.find(symbol) {
                Some(place) => Code::Local(place),
                None => Code::Global(symbol),
            }),
            Value::Pair(pair) => {
                let parts = pair.rest.get().list()?;
                if let Value::Symbol(symbol) = pair.first.get()
                    && self.find(symbol).is_none()
                    && let Some(code) = self.special(&symbol.name, &parts, form)?
                {
                    return Ok(code);
                }
                let mut all = vec![pair.first.get()];
                all.extend(parts);
                self.code(Code::Call(self.all(&all)?))
            }
            constant => self.code(Code::Constant(constant)),
        }
    }

    fn all(self, forms: &[Value<'gc>]) -> Outcome<'gc, Codes<'gc>> {
        let codes: Result<Vec<_>, _> = forms.iter().map(|&form| self.compile(form)).collect();
        Ok(Gc::try_from_iter(self.run.cx, codes?)?)
    }

    /// The code of a form that begins with such a name, if that is a word of the language.
    fn special(
        self,
        name: &str,
        parts: &[Value<'gc>],
        form: Value<'gc>,
    ) -> Outcome<'gc, Option<Gc<'gc, Code<'gc>>>> {
        let code = match (name, parts) {
            ("quote", &[value]) => self.code(Code::Constant(value)),
            ("if", &[test, yes]) => self.choice(test, yes, Value::Nothing),
            ("if", &[test, yes, no]) => self.choice(test, yes, no),
            ("cond", clauses) => self.clauses(clauses),
            ("begin", forms) => self.sequence(forms),
            ("lambda", [names, body @ ..]) => self.lambda(*names, body),
            ("let", [bindings, body @ ..]) => self.bind(*bindings, body),
            ("define", [target, rest @ ..]) => self.define(*target, rest),
            ("set!", &[name, value]) => {
                let (symbol, value) = (name.symbol()?, self.compile(value)?);
                self.code(match self.find(symbol) {
                    Some(place) => Code::SetLocal(place, value),
                    None => Code::SetGlobal(symbol, value),
                })
            }
            ("quote" | "if" | "lambda" | "let" | "define" | "set!", _) => wrong("malformed:", form),
            _ => return Ok(None),
        };
        code.map(Some)
    }

    fn choice(
        self,
        test: Value<'gc>,
        yes: Value<'gc>,
        no: Value<'gc>,
    ) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let (test, yes, no) = (self.compile(test)?, self.compile(yes)?, self.compile(no)?);
        self.code(Code::If(test, yes, no))
    }

    /// `(cond (test form …) … (else form …))`
    fn clauses(self, clauses: &[Value<'gc>]) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let mut code = self.code(Code::Constant(Value::Nothing))?;
        for &clause in clauses.iter().rev() {
            let [test, body @ ..] = &clause.list()?[..] else {
                return wrong("malformed clause:", clause);
            };
            let body = self.sequence(body)?;
            code = match *test {
                Value::Symbol(symbol) if &*symbol.name == "else" => body,
                test => self.code(Code::If(self.compile(test)?, body, code))?,
            };
        }
        Ok(code)
    }

    fn sequence(self, forms: &[Value<'gc>]) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        match forms {
            [] => self.code(Code::Constant(Value::Nothing)),
            &[form] => self.compile(form),
            forms => self.code(Code::Sequence(self.all(forms)?)),
        }
    }

    /// `(define name form)` and `(define (name argument …) form …)`
    fn define(self, target: Value<'gc>, rest: &[Value<'gc>]) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let symbol = defined(target)?;
        let value = match (target, rest) {
            (Value::Pair(pair), body) => self.lambda(pair.rest.get(), body)?,
            (_, &[value]) => self.compile(value)?,
            _ => return wrong("malformed definition of", target),
        };
        self.code(match self.names {
            None => Code::Define(symbol, value),
            // The body was searched for definitions.
            Some(names) => match names.find(symbol) {
                Some(place) if place.up == 0 => Code::SetLocal(place, value),
                _ => return wrong("a definition within an expression:", target),
            },
        })
    }

    fn lambda(self, names: Value<'gc>, body: &[Value<'gc>]) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let mut symbols = Vec::new();
        let mut at = names;
        while let Value::Pair(pair) = at {
            symbols.push(pair.first.get().symbol()?);
            at = pair.rest.get();
        }
        let required = symbols.len() as u32;
        let takes_rest = !matches!(at, Value::Nil);
        if takes_rest {
            symbols.push(at.symbol()?);
        }
        for &form in body {
            if let Value::Pair(pair) = form
                && matches!(pair.first.get(), Value::Symbol(symbol) if &*symbol.name == "define")
                && let Value::Pair(rest) = pair.rest.get()
            {
                symbols.push(defined(rest.first.get())?);
            }
        }
        let inner = Names { names: &symbols, outer: self.names };
        let body = Compiler { run: self.run, names: Some(&inner) }.sequence(body)?;
        let variables = symbols.len() as u32;
        let lambda = Lambda { required, takes_rest, variables, body };
        self.code(Code::Lambda(Gc::try_new(self.run.cx, lambda)?))
    }

    /// `(let ((name form) …) form …)` is `((lambda (name …) form …) form …)`.
    fn bind(self, bindings: Value<'gc>, body: &[Value<'gc>]) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let (mut names, mut codes) = (Vec::new(), Vec::new());
        for binding in bindings.list()? {
            let &[name, value] = &binding.list()?[..] else {
                return wrong("malformed binding:", binding);
            };
            names.push(name);
            codes.push(self.compile(value)?);
        }
        let names = list(self.run.cx, &names, Value::Nil)?;
        codes.insert(0, self.lambda(names, body)?);
        self.code(Code::Call(Gc::try_from_iter(self.run.cx, codes)?))
    }
}

/// The name that a definition defines.
fn defined<'gc>(target: Value<'gc>) -> Outcome<'gc, Gc<'gc, Symbol<'gc>>> {
    match target {
        Value::Pair(pair) => pair.first.get().symbol(),
        other => other.symbol(),
    }
}
