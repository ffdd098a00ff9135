//! The compiler's first half: from data to a tree in which all names are resolved.
//!
//! The tree is of one form of the top level and lives in one step of the machine. `emit` makes instructions of it.

use crate::code::Code;
use crate::emit::Emitter;
use crate::environment::{Binding, Environment, Global};
use crate::machine::Machine;
use crate::primitive::Primitive;
use crate::syntax::{Meaning, Place, Special, base_symbol, is_identifier, syntax_error};
use crate::value::{self, Fault, Kind, Outcome, Value, cons, fault, list};
use mallocgc::typed::{Cx, Gc};
use std::collections::HashMap;
use std::path::PathBuf;

/// How deep expressions may be nested.
const MAX_DEPTH: usize = 10_000;

/// An expression.
pub(crate) enum Node<'gc> {
    Constant(Value<'gc>),
    Local(usize),
    Global(Gc<'gc, Global<'gc>>, At),
    SetLocal(usize, Box<Node<'gc>>),
    SetGlobal(Gc<'gc, Global<'gc>>, Box<Node<'gc>>, At),
    DefineGlobal(Gc<'gc, Global<'gc>>, Box<Node<'gc>>),
    If(Box<[Node<'gc>; 3]>),
    Lambda(Box<Lambda<'gc>>),
    Sequence(Vec<Node<'gc>>),
    Let(Vec<(usize, Node<'gc>)>, Box<Node<'gc>>),
    /// Definitions and expressions in order; all variables are known in all.
    Body(Vec<(Option<usize>, Node<'gc>)>),
    Call(Box<Node<'gc>>, Vec<Node<'gc>>, At),
    Primitive(&'static Primitive, Vec<Node<'gc>>, At),
}

/// Line and column.
pub(crate) type At = (u32, u32);

/// A procedure.
pub(crate) struct Lambda<'gc> {
    pub(crate) name: Value<'gc>,
    /// Required arguments, then the one for the rest.
    pub(crate) parameters: Vec<usize>,
    pub(crate) rest: bool,
    pub(crate) body: Node<'gc>,
    pub(crate) function: usize,
}

/// A local variable.
pub(crate) struct Variable {
    /// The function that has it.
    pub(crate) function: usize,
    pub(crate) assigned: bool,
    pub(crate) captured: bool,
    /// It is defined in a body, so that it may be used too early.
    pub(crate) defined: bool,
}

/// A function that is being compiled.
pub(crate) struct Function {
    parent: Option<usize>,
    /// Variables of others that it uses.
    pub(crate) captures: Vec<usize>,
}

/// Names that a form binds.
pub(crate) struct Scope<'gc> {
    pub(crate) parent: Place<'gc>,
    names: Vec<(Value<'gc>, Meaning<'gc>)>,
}

impl<'gc> Scope<'gc> {
    /// What a name means, if it is bound here.
    pub(crate) fn find(&self, name: Value<'gc>) -> Option<Meaning<'gc>> {
        self.names.iter().rev().find(|(known, _)| known.is(name)).map(|&(_, meaning)| meaning)
    }
}

impl Scope<'_> {
    /// Whether no name is bound twice.
    fn is_distinct(&self) -> bool {
        let before = |index: usize, name: Value<'_>| {
            self.names[..index].iter().any(|(known, _)| known.address() == name.address())
        };
        !self.names.iter().enumerate().any(|(index, &(name, _))| before(index, name))
    }
}

/// Compiles one form.
pub(crate) struct Compiler<'a, 'gc> {
    pub(crate) cx: &'a Cx<'gc>,
    pub(crate) machine: &'a Machine<'gc>,
    pub(crate) scopes: Vec<Scope<'gc>>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) functions: Vec<Function>,
    pub(crate) expansions: usize,
    places: &'a HashMap<usize, At>,
    pub(crate) at: At,
    /// Where included files are looked for, in a library that is in a file.
    pub(crate) beside: Option<PathBuf>,
    /// Libraries that this form has defined.
    pub(crate) libraries: Vec<Box<str>>,
    function: usize,
    depth: usize,
}

impl<'a, 'gc> Compiler<'a, 'gc> {
    /// Compiles a form to a procedure without arguments.
    pub(crate) fn compile(
        cx: &'a Cx<'gc>,
        machine: &'a Machine<'gc>,
        environment: Gc<'gc, Environment<'gc>>,
        form: Value<'gc>,
        places: &'a HashMap<usize, At>,
    ) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let mut compiler = Compiler {
            cx,
            machine,
            scopes: Vec::new(),
            variables: Vec::new(),
            functions: vec![Function { parent: None, captures: Vec::new() }],
            expansions: 0,
            places,
            at: (0, 0),
            beside: None,
            libraries: Vec::new(),
            function: 0,
            depth: 0,
        };
        let compiled = compiler.whole(form, environment);
        if compiled.is_err() {
            // What would run their bodies is lost, so they are to be defined again.
            let mut known = machine.libraries.borrow_mut(cx);
            known.retain(|name, _| !compiler.libraries.contains(name));
        }
        compiled
    }

    fn whole(
        &mut self,
        form: Value<'gc>,
        environment: Gc<'gc, Environment<'gc>>,
    ) -> Outcome<'gc, Gc<'gc, Code<'gc>>> {
        let body = self.top_level(form, environment).map_err(|fault| self.locate(fault))?;
        let name = Value::Unspecified;
        let lambda = Lambda { name, parameters: Vec::new(), rest: false, body, function: 0 };
        Emitter::code(self, &lambda)
    }

    /// Tells a fault where it is.
    fn locate(&self, mut fault: Fault<'gc>) -> Fault<'gc> {
        if let Fault::Error(report) = &mut fault
            && report.line == 0
        {
            (report.line, report.column) = self.at;
        }
        fault
    }

    // --- the top level -----------------------------------------------------

    /// A form of a program or of a library's body.
    pub(crate) fn top_level(
        &mut self,
        form: Value<'gc>,
        environment: Gc<'gc, Environment<'gc>>,
    ) -> Outcome<'gc, Node<'gc>> {
        let place = Place::Environment(environment);
        let mut form = form;
        loop {
            self.note_place(form);
            return match self.head(form, place)? {
                Some(Meaning::Macro(rules)) => {
                    form = self.expand(rules, form, place)?;
                    continue;
                }
                Some(Meaning::Special(Special::Begin)) => {
                    let forms = form.pair()?.rest.get().list()?;
                    let all: Outcome<'gc, Vec<_>> =
                        forms.into_iter().map(|form| self.top_level(form, environment)).collect();
                    Ok(sequence(all?))
                }
                Some(Meaning::Special(Special::Define)) => {
                    let (name, value) = self.definition(form)?;
                    let symbol = base_symbol(name)?;
                    let global = environment.to_define(self.cx, symbol)?;
                    let value = self.defined_value(name, value, place)?;
                    Ok(Node::DefineGlobal(global, Box::new(value)))
                }
                Some(Meaning::Special(Special::DefineSyntax)) => {
                    let (name, rules) = self.syntax_definition(form, place)?;
                    environment.bind(self.cx, base_symbol(name)?, rules);
                    Ok(Node::Constant(Value::Unspecified))
                }
                Some(Meaning::Special(
                    special @ (Special::DefineRecordType
                    | Special::DefineValues
                    | Special::CondExpand
                    | Special::Include
                    | Special::IncludeFolded),
                )) => {
                    form = self.rewrite(special, form)?;
                    continue;
                }
                Some(Meaning::Special(Special::Import)) => self.import_form(form, environment),
                Some(Meaning::Special(Special::DefineLibrary)) => self.define_library(form),
                _ => self.expression(form, place),
            };
        }
    }

    /// Name and value of a `define`; the value is a form, or parameters and a body.
    fn definition(&mut self, form: Value<'gc>) -> Outcome<'gc, (Value<'gc>, Defined<'gc>)> {
        let rest = form.pair()?.rest.get();
        let Value::Pair(pair) = rest else { return syntax_error("malformed define", form) };
        let (mut target, body) = (pair.first.get(), pair.rest.get());
        if is_identifier(target) {
            return match body.list()?[..] {
                [] => Ok((target, Defined::Form(Value::Unspecified))),
                [value] => Ok((target, Defined::Form(value))),
                _ => syntax_error("malformed define", form),
            };
        }
        let mut body = body;
        // A curried define makes a procedure that returns one.
        while let Value::Pair(inner) = target {
            if is_identifier(inner.first.get()) {
                return Ok((inner.first.get(), Defined::Procedure(inner.rest.get(), body)));
            }
            let system = Place::Environment(self.machine.system);
            let lambda = self.alias(self.machine.symbol(self.cx, "lambda")?, system)?;
            let parameters = cons(self.cx, inner.rest.get(), body)?;
            let lambda = cons(self.cx, lambda, parameters)?;
            body = list(self.cx, &[lambda])?;
            target = inner.first.get();
        }
        syntax_error("malformed define", form)
    }

    fn defined_value(
        &mut self,
        name: Value<'gc>,
        value: Defined<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        match value {
            Defined::Form(form) => self.named_expression(name, form, place),
            Defined::Procedure(parameters, body) => self.lambda(name, parameters, body, place),
        }
    }

    /// An expression; if it is a lambda it gets the name.
    fn named_expression(
        &mut self,
        name: Value<'gc>,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let mut node = self.expression(form, place)?;
        if let Node::Lambda(lambda) = &mut node
            && matches!(lambda.name, Value::Unspecified)
        {
            lambda.name = Value::Symbol(base_symbol(name)?);
        }
        Ok(node)
    }

    fn syntax_definition(
        &mut self,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, (Value<'gc>, Binding<'gc>)> {
        match form.list()?[..] {
            [_, name, rules] if is_identifier(name) => Ok((name, self.transformer(rules, place)?)),
            _ => syntax_error("malformed define-syntax", form),
        }
    }

    // --- expressions -------------------------------------------------------

    fn note_place(&mut self, form: Value<'gc>) {
        if let Some(&at) = form.address().and_then(|address| self.places.get(&address)) {
            self.at = at;
        }
    }

    /// An expression at a place.
    pub(crate) fn expression(
        &mut self,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return syntax_error("expressions nested too deeply", Value::Nil);
        }
        let at = self.at;
        let node = self.expression_inside(form, place)?;
        self.at = at;
        self.depth -= 1;
        Ok(node)
    }

    fn expression_inside(
        &mut self,
        mut form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        loop {
            self.note_place(form);
            if is_identifier(form) {
                return self.reference(form, place);
            }
            if !matches!(form, Value::Pair(_)) {
                return match form {
                    Value::Nil => syntax_error("() is no expression", form),
                    other => Ok(Node::Constant(self.strip(other)?)),
                };
            }
            return match self.head(form, place)? {
                Some(Meaning::Macro(rules)) => {
                    form = self.expand(rules, form, place)?;
                    continue;
                }
                Some(Meaning::Special(
                    special @ (Special::CondExpand | Special::Include | Special::IncludeFolded),
                )) => {
                    form = self.rewrite(special, form)?;
                    continue;
                }
                Some(Meaning::Special(special)) => self.special(special, form, place),
                _ => self.call(form, place),
            };
        }
    }

    fn reference(&mut self, name: Value<'gc>, place: Place<'gc>) -> Outcome<'gc, Node<'gc>> {
        match self.meaning(name, place)? {
            Meaning::Local(variable) => {
                self.use_variable(variable);
                Ok(Node::Local(variable))
            }
            Meaning::Global(symbol, environment) => {
                Ok(Node::Global(environment.variable(self.cx, symbol)?, self.at))
            }
            _ => syntax_error("syntax is no value", name),
        }
    }

    /// Notes that the current function uses a variable.
    fn use_variable(&mut self, variable: usize) {
        let owner = self.variables[variable].function;
        let mut function = self.function;
        while function != owner {
            self.variables[variable].captured = true;
            if !self.functions[function].captures.contains(&variable) {
                self.functions[function].captures.push(variable);
            }
            function =
                self.functions[function].parent.expect("a variable is of an enclosing function");
        }
    }

    fn call(&mut self, form: Value<'gc>, place: Place<'gc>) -> Outcome<'gc, Node<'gc>> {
        let at = self.at;
        let Ok(parts) = form.list() else { return syntax_error("malformed call", form) };
        let callee = self.expression(parts[0], place)?;
        let arguments: Outcome<'gc, Vec<_>> =
            parts[1..].iter().map(|&part| self.expression(part, place)).collect();
        let arguments = arguments?;
        if let Node::Global(global, _) = &callee
            && let (true, Value::Primitive(primitive)) = (global.constant.get(), global.value.get())
            && primitive.takes(arguments.len())
            && !primitive.is_control()
        {
            return Ok(Node::Primitive(primitive, arguments, at));
        }
        Ok(Node::Call(Box::new(callee), arguments, at))
    }

    fn special(
        &mut self,
        special: Special,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let Ok(parts) = form.list() else { return syntax_error("malformed syntax", form) };
        match (special, &parts[1..]) {
            (Special::Quote, &[datum]) => Ok(Node::Constant(self.strip(datum)?)),
            (Special::Quasiquote, &[template]) => self.quasiquote(template, 1, place),
            (Special::If, &[test, then]) => {
                let nodes = [self.expression(test, place)?, self.expression(then, place)?];
                let [test, then] = nodes;
                Ok(Node::If(Box::new([test, then, Node::Constant(Value::Unspecified)])))
            }
            (Special::If, &[test, then, other]) => {
                let test = self.expression(test, place)?;
                let then = self.expression(then, place)?;
                let other = self.expression(other, place)?;
                Ok(Node::If(Box::new([test, then, other])))
            }
            (Special::Set, &[name, value]) => self.assignment(name, value, place),
            (Special::Begin, []) => Ok(Node::Constant(Value::Unspecified)),
            (Special::Begin, forms) => {
                let nodes: Outcome<'gc, Vec<_>> =
                    forms.iter().map(|&form| self.expression(form, place)).collect();
                Ok(sequence(nodes?))
            }
            (Special::Lambda, &[parameters, _, ..]) => {
                let body = form.pair()?.rest.get().pair()?.rest.get();
                self.lambda(Value::Unspecified, parameters, body, place)
            }
            (Special::Let, &[name, bindings, _, ..]) if is_identifier(name) => {
                let rest = form.pair()?.rest.get().pair()?.rest.get();
                self.named_let(name, bindings, rest.pair()?.rest.get(), place)
            }
            (Special::Let, &[bindings, _, ..]) => {
                let body = form.pair()?.rest.get().pair()?.rest.get();
                self.plain_let(bindings, body, place)
            }
            (Special::Letrec, &[bindings, _, ..]) => {
                let scope = self.scope(place);
                let mut items = Vec::new();
                for (name, value) in bindings_of(bindings)? {
                    let variable = self.bind(name, scope);
                    self.variables[variable].defined = true;
                    items.push((variable, name, value));
                }
                if !self.scopes[scope as usize].is_distinct() {
                    return syntax_error("a name is bound twice in", bindings);
                }
                let inside = Place::Scope(scope);
                let mut nodes = Vec::new();
                for (variable, name, value) in items {
                    nodes.push((Some(variable), self.named_expression(name, value, inside)?));
                }
                let body = form.pair()?.rest.get().pair()?.rest.get();
                nodes.push((None, self.body(body, inside)?));
                Ok(Node::Body(nodes))
            }
            (Special::SyntaxError, &[Value::Text(message), ref irritants @ ..]) => {
                Err(fault(Kind::Syntax, value::to_string(message), irritants))
            }
            (Special::LetSyntax | Special::LetrecSyntax, &[bindings, _, ..]) => {
                let scope = self.scope(place);
                let inside = Place::Scope(scope);
                let rules_see = if special == Special::LetSyntax { place } else { inside };
                for (name, rules) in bindings_of(bindings)? {
                    let rules = self.transformer(rules, rules_see)?;
                    self.bind_syntax(name, rules, scope);
                }
                let body = form.pair()?.rest.get().pair()?.rest.get();
                self.body(body, inside)
            }
            _ => syntax_error("malformed or misplaced syntax", form),
        }
    }

    fn assignment(
        &mut self,
        name: Value<'gc>,
        value: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let value = Box::new(self.expression(value, place)?);
        match self.meaning(name, place)? {
            Meaning::Local(variable) => {
                self.use_variable(variable);
                self.variables[variable].assigned = true;
                Ok(Node::SetLocal(variable, value))
            }
            Meaning::Global(symbol, environment) => {
                let global = environment.variable(self.cx, symbol)?;
                if global.constant.get() {
                    return syntax_error("an imported variable cannot be set", name);
                }
                Ok(Node::SetGlobal(global, value, self.at))
            }
            _ => syntax_error("syntax cannot be set", name),
        }
    }

    // --- binding -----------------------------------------------------------

    fn scope(&mut self, parent: Place<'gc>) -> u32 {
        self.scopes.push(Scope { parent, names: Vec::new() });
        (self.scopes.len() - 1) as u32
    }

    fn bind(&mut self, name: Value<'gc>, scope: u32) -> usize {
        let function = self.function;
        let variable = Variable { function, assigned: false, captured: false, defined: false };
        self.variables.push(variable);
        let number = self.variables.len() - 1;
        self.scopes[scope as usize].names.push((name, Meaning::Local(number)));
        number
    }

    fn define_local(&mut self, name: Value<'gc>, scope: u32) -> usize {
        if let Some(Meaning::Local(variable)) = self.scopes[scope as usize].find(name) {
            return variable;
        }
        let variable = self.bind(name, scope);
        self.variables[variable].defined = true;
        variable
    }

    fn bind_syntax(&mut self, name: Value<'gc>, rules: Binding<'gc>, scope: u32) {
        let meaning = match rules {
            Binding::Macro(rules) => Meaning::Macro(rules),
            Binding::Special(special) => Meaning::Special(special),
            Binding::Variable(_) => return,
        };
        self.scopes[scope as usize].names.push((name, meaning));
    }

    /// A procedure.
    pub(crate) fn lambda(
        &mut self,
        name: Value<'gc>,
        parameters: Value<'gc>,
        body: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let name = match is_identifier(name) {
            true => Value::Symbol(base_symbol(name)?),
            false => name,
        };
        let outer = self.function;
        self.functions.push(Function { parent: Some(outer), captures: Vec::new() });
        let function = self.functions.len() - 1;
        self.function = function;
        let scope = self.scope(place);
        let mut variables = Vec::new();
        let mut at = parameters;
        while let Value::Pair(pair) = at {
            if !is_identifier(pair.first.get()) {
                return syntax_error("a parameter is no name", parameters);
            }
            variables.push(self.bind(pair.first.get(), scope));
            at = pair.rest.get();
        }
        let rest = !matches!(at, Value::Nil);
        if rest {
            if !is_identifier(at) {
                return syntax_error("a parameter is no name", parameters);
            }
            variables.push(self.bind(at, scope));
        }
        if !self.scopes[scope as usize].is_distinct() {
            return syntax_error("a parameter has the name of another", parameters);
        }
        let body = self.body(body, Place::Scope(scope))?;
        self.function = outer;
        Ok(Node::Lambda(Box::new(Lambda { name, parameters: variables, rest, body, function })))
    }

    fn plain_let(
        &mut self,
        bindings: Value<'gc>,
        body: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let mut values = Vec::new();
        for (name, value) in bindings_of(bindings)? {
            values.push((name, self.named_expression(name, value, place)?));
        }
        let scope = self.scope(place);
        let values =
            values.into_iter().map(|(name, node)| (self.bind(name, scope), node)).collect();
        if !self.scopes[scope as usize].is_distinct() {
            return syntax_error("a name is bound twice in", bindings);
        }
        let body = self.body(body, Place::Scope(scope))?;
        Ok(Node::Let(values, Box::new(body)))
    }

    fn named_let(
        &mut self,
        name: Value<'gc>,
        bindings: Value<'gc>,
        body: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        let at = self.at;
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (variable, value) in bindings_of(bindings)? {
            names.push(variable);
            values.push(self.expression(value, place)?);
        }
        let scope = self.scope(place);
        let variable = self.define_local(name, scope);
        let parameters = list(self.cx, &names)?;
        let lambda = self.lambda(name, parameters, body, Place::Scope(scope))?;
        let call = Node::Call(Box::new(Node::Local(variable)), values, at);
        Ok(Node::Body(vec![(Some(variable), lambda), (None, call)]))
    }

    /// A body: definitions, then expressions.
    pub(crate) fn body(&mut self, forms: Value<'gc>, place: Place<'gc>) -> Outcome<'gc, Node<'gc>> {
        let scope = self.scope(place);
        let inside = Place::Scope(scope);
        let mut waiting = forms.list()?;
        if waiting.is_empty() {
            return syntax_error("a body without expressions", forms);
        }
        waiting.reverse();
        let mut items = Vec::new();
        let outer = self.at;
        while let Some(form) = waiting.pop() {
            self.note_place(form);
            match self.head(form, inside)? {
                Some(Meaning::Macro(rules)) => {
                    let at = self.at;
                    let expanded = self.expand(rules, form, inside)?;
                    self.at = at;
                    waiting.push(expanded);
                }
                Some(Meaning::Special(Special::Begin)) => {
                    let forms = form.pair()?.rest.get().list()?;
                    waiting.extend(forms.into_iter().rev());
                }
                Some(Meaning::Special(Special::Define)) => {
                    let (name, value) = self.definition(form)?;
                    let variable = self.define_local(name, scope);
                    items.push((Some((variable, name)), value, self.at));
                }
                Some(Meaning::Special(Special::DefineSyntax)) => {
                    let (name, rules) = self.syntax_definition(form, inside)?;
                    self.bind_syntax(name, rules, scope);
                }
                Some(Meaning::Special(
                    special @ (Special::DefineRecordType
                    | Special::DefineValues
                    | Special::CondExpand
                    | Special::Include
                    | Special::IncludeFolded),
                )) => waiting.push(self.rewrite(special, form)?),
                _ => items.push((None, Defined::Form(form), self.at)),
            }
        }
        let mut nodes = Vec::new();
        for (target, value, at) in items {
            self.at = at;
            nodes.push(match (target, value) {
                (Some((variable, name)), value) => {
                    (Some(variable), self.defined_value(name, value, inside)?)
                }
                (None, Defined::Form(form)) => (None, self.expression(form, inside)?),
                (None, Defined::Procedure(..)) => continue,
            });
        }
        self.at = outer;
        if nodes.iter().all(|(variable, _)| variable.is_none()) {
            return Ok(sequence(nodes.into_iter().map(|(_, node)| node).collect()));
        }
        Ok(Node::Body(nodes))
    }
}

/// What a `define` defines its name as.
enum Defined<'gc> {
    Form(Value<'gc>),
    Procedure(Value<'gc>, Value<'gc>),
}

/// Expressions one after the other.
pub(crate) fn sequence<'gc>(mut nodes: Vec<Node<'gc>>) -> Node<'gc> {
    match nodes.len() {
        0 => Node::Constant(Value::Unspecified),
        1 => nodes.remove(0),
        _ => Node::Sequence(nodes),
    }
}

/// The names and forms of a `let`.
fn bindings_of<'gc>(bindings: Value<'gc>) -> Outcome<'gc, Vec<(Value<'gc>, Value<'gc>)>> {
    let mut all = Vec::new();
    for binding in bindings.list()? {
        match binding.list()?[..] {
            [name, value] if is_identifier(name) => all.push((name, value)),
            _ => return syntax_error("malformed binding", binding),
        }
    }
    Ok(all)
}
