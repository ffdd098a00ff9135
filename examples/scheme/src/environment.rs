//! Global variables, and the environments that name them.

use crate::syntax::{Macro, Special};
use crate::value::{Outcome, Symbol, Value};
use mallocgc::typed::{Cx, Gc, Lock, RefLock, Trace};
use std::collections::HashMap;

/// A global variable. Environments that import it share it.
#[derive(Trace)]
pub(crate) struct Global<'gc> {
    pub(crate) value: Lock<Value<'gc>>,
    pub(crate) name: Gc<'gc, Symbol<'gc>>,
    /// The system's own: nobody sets it, so the compiler may believe its value.
    pub(crate) constant: Lock<bool>,
}

/// What a name means.
#[derive(Clone, Copy, Trace)]
pub(crate) enum Binding<'gc> {
    Variable(Gc<'gc, Global<'gc>>),
    Macro(Gc<'gc, Macro<'gc>>),
    Special(Special),
}

type Names<'gc> = HashMap<u32, (Gc<'gc, Symbol<'gc>>, Binding<'gc>)>;

/// A table of names, by the number of the symbol.
#[derive(Trace, Default)]
pub(crate) struct Environment<'gc> {
    pub(crate) names: RefLock<Names<'gc>>,
    /// Of a library: exported names by the names they have inside.
    pub(crate) exports: RefLock<Vec<(Gc<'gc, Symbol<'gc>>, Gc<'gc, Symbol<'gc>>)>>,
}

impl<'gc> Environment<'gc> {
    /// What a name means here.
    pub(crate) fn find(&self, name: Gc<'gc, Symbol<'gc>>) -> Option<Binding<'gc>> {
        self.names.borrow().get(&name.number).map(|&(_, binding)| binding)
    }

    /// Lets a name mean something.
    pub(crate) fn bind(&self, cx: &Cx<'gc>, name: Gc<'gc, Symbol<'gc>>, binding: Binding<'gc>) {
        self.names.borrow_mut(cx).insert(name.number, (name, binding));
    }

    /// The variable of a name, to be used: one that nobody has defined yet is made.
    pub(crate) fn variable(
        &self,
        cx: &Cx<'gc>,
        name: Gc<'gc, Symbol<'gc>>,
    ) -> Outcome<'gc, Gc<'gc, Global<'gc>>> {
        match self.find(name) {
            Some(Binding::Variable(global)) => Ok(global),
            _ => self.fresh(cx, name),
        }
    }

    /// The variable of a name, to be defined: it replaces a macro and what is the system's.
    pub(crate) fn to_define(
        &self,
        cx: &Cx<'gc>,
        name: Gc<'gc, Symbol<'gc>>,
    ) -> Outcome<'gc, Gc<'gc, Global<'gc>>> {
        match self.find(name) {
            Some(Binding::Variable(global)) if !global.constant.get() => Ok(global),
            _ => self.fresh(cx, name),
        }
    }

    fn fresh(
        &self,
        cx: &Cx<'gc>,
        name: Gc<'gc, Symbol<'gc>>,
    ) -> Outcome<'gc, Gc<'gc, Global<'gc>>> {
        let value = Lock::new(Value::Undefined);
        let global = Gc::try_new(cx, Global { value, name, constant: Lock::new(false) })?;
        self.bind(cx, name, Binding::Variable(global));
        Ok(global)
    }

    /// Takes over all names of another.
    pub(crate) fn copy_from(&self, cx: &Cx<'gc>, other: &Environment<'gc>) {
        let names = other.names.borrow();
        self.names.borrow_mut(cx).extend(names.iter().map(|(&number, &named)| (number, named)));
    }
}
