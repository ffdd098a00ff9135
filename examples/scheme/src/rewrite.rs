//! Syntax that is rewritten to simpler syntax, and libraries.
//!
//! Names that rewriting puts in are aliases in the system's environment, as those of a macro would be.

use crate::compile::{Compiler, Node, sequence};
use crate::environment::{Binding, Environment};
use crate::reader::Reader;
use crate::syntax::{Place, Special, base_symbol, is_identifier, syntax_error};
use crate::value::{Kind, Outcome, Symbol, Value, cons, fault, list, list_with_tail, vector};
use mallocgc::typed::Gc;

/// What `cond-expand` and `features` know.
pub(crate) const FEATURES: [&str; 8] = [
    "r7rs",
    "exact-closed",
    "exact-complex-none",
    "ieee-float",
    "full-unicode",
    "ratios",
    "mallocgc",
    "guardians",
];

/// Whether names are read as if they were written in small letters.
#[derive(Clone, Copy)]
enum Case {
    Kept,
    Folded,
}

/// Names of an import: what they mean under which name.
type Imports<'gc> = Vec<(Gc<'gc, Symbol<'gc>>, Binding<'gc>)>;

impl<'gc> Compiler<'_, 'gc> {
    fn symbol(&self, name: &str) -> Outcome<'gc> {
        self.machine.symbol(self.cx, name)
    }

    /// A name as it is in the system's environment.
    fn system_name(&mut self, name: &str) -> Outcome<'gc> {
        let place = Place::Environment(self.machine.system);
        let symbol = self.symbol(name)?;
        self.alias(symbol, place)
    }

    /// A form `(name argument ...)`, its name the system's.
    fn form(&mut self, name: &str, arguments: &[Value<'gc>]) -> Outcome<'gc> {
        let name = self.system_name(name)?;
        cons(self.cx, name, list(self.cx, arguments)?)
    }

    /// What a special stands for.
    pub(crate) fn rewrite(&mut self, special: Special, form: Value<'gc>) -> Outcome<'gc> {
        match special {
            Special::DefineRecordType => self.record_type(form),
            Special::DefineValues => self.define_values(form),
            Special::CondExpand => {
                let clauses = form.pair()?.rest.get().list()?;
                let forms = self.cond_expand(&clauses)?;
                let begin = self.system_name("begin")?;
                cons(self.cx, begin, forms)
            }
            Special::IncludeFolded => self.include(form, Case::Folded),
            _ => self.include(form, Case::Kept),
        }
    }

    fn record_type(&mut self, form: Value<'gc>) -> Outcome<'gc> {
        let parts = form.list()?;
        let [_, name, constructor, predicate, fields @ ..] = &parts[..] else {
            return syntax_error("malformed define-record-type", form);
        };
        let name = match name {
            Value::Pair(pair) => pair.first.get(),
            name => *name,
        };
        let mut names = Vec::new();
        for field in fields {
            names.push(match field {
                Value::Pair(pair) => pair.first.get(),
                name => *name,
            });
        }
        let field_names = vector(self.cx, names.iter().copied())?;
        let (quoted, quoted_fields) =
            (self.form("quote", &[name])?, self.form("quote", &[field_names])?);
        let make = self.form("%make-record-type", &[quoted, quoted_fields])?;
        let mut all = vec![self.form("define", &[name, make])?];
        if !matches!(constructor, Value::False) {
            let (constructor, arguments) = match constructor {
                Value::Pair(pair) => (pair.first.get(), pair.rest.get().list()?),
                name => (*name, names.clone()),
            };
            let mut record = vec![name];
            for field in &names {
                record.push(match arguments.iter().any(|argument| argument.is(*field)) {
                    true => *field,
                    false => Value::False,
                });
            }
            if !arguments.iter().all(|argument| names.iter().any(|name| name.is(*argument))) {
                return syntax_error("the constructor has an argument that is no field", form);
            }
            let record = self.form("%record", &record)?;
            let head = cons(self.cx, constructor, list(self.cx, &arguments)?)?;
            all.push(self.form("define", &[head, record])?);
        }
        let (x, y) = (self.system_name("x")?, self.system_name("y")?);
        if is_identifier(*predicate) {
            let test = self.form("%record?", &[x, name])?;
            let head = list(self.cx, &[*predicate, x])?;
            all.push(self.form("define", &[head, test])?);
        }
        for (index, field) in fields.iter().enumerate() {
            let Value::Pair(_) = field else { continue };
            let field = field.list()?;
            let index = Value::Fixnum(index as i64);
            if let Some(&accessor) = field.get(1) {
                let body = self.form("%record-ref", &[x, name, index])?;
                let head = list(self.cx, &[accessor, x])?;
                all.push(self.form("define", &[head, body])?);
            }
            if let Some(&modifier) = field.get(2) {
                let body = self.form("%record-set!", &[x, name, index, y])?;
                let head = list(self.cx, &[modifier, x, y])?;
                all.push(self.form("define", &[head, body])?);
            }
        }
        self.form("begin", &all)
    }

    fn define_values(&mut self, form: Value<'gc>) -> Outcome<'gc> {
        let [_, formals, expression] = form.list()?[..] else {
            return syntax_error("malformed define-values", form);
        };
        let (mut all, mut temporaries, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = formals;
        let tail = loop {
            let (name, next) = match at {
                Value::Pair(pair) => (pair.first.get(), Some(pair.rest.get())),
                Value::Nil => break Value::Nil,
                name => (name, None),
            };
            let temporary = self.system_name("t")?;
            all.push(self.form("define", &[name, Value::False])?);
            sets.push(self.form("set!", &[name, temporary])?);
            match next {
                Some(next) => {
                    temporaries.push(temporary);
                    at = next;
                }
                None => break temporary,
            }
        };
        sets.push(Value::False);
        let parameters = list_with_tail(self.cx, &temporaries, tail)?;
        let mut receiver = vec![parameters];
        receiver.extend(sets);
        let receiver = self.form("lambda", &receiver)?;
        let producer = self.form("lambda", &[Value::Nil, expression])?;
        all.push(self.form("call-with-values", &[producer, receiver])?);
        self.form("begin", &all)
    }

    /// The forms of the first clause whose requirement holds.
    fn cond_expand(&mut self, clauses: &[Value<'gc>]) -> Outcome<'gc> {
        for clause in clauses {
            let clause = clause.pair()?;
            if self.holds(clause.first.get())? {
                return Ok(clause.rest.get());
            }
        }
        Ok(Value::Nil)
    }

    fn holds(&mut self, requirement: Value<'gc>) -> Outcome<'gc, bool> {
        if is_identifier(requirement) {
            let name = base_symbol(requirement)?.name;
            return Ok(&*name == "else" || FEATURES.contains(&&*name));
        }
        let parts = requirement.list()?;
        let Some(&head) = parts.first() else {
            return syntax_error("malformed requirement", requirement);
        };
        match &*base_symbol(head)?.name {
            "and" => {
                for &part in &parts[1..] {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            "or" => {
                for &part in &parts[1..] {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            "not" if parts.len() == 2 => Ok(!self.holds(parts[1])?),
            "library" if parts.len() == 2 => {
                Ok(self.library(parts[1])?.is_some() || self.library_path(parts[1])?.is_file())
            }
            _ => syntax_error("malformed requirement", requirement),
        }
    }

    fn include(&mut self, form: Value<'gc>, case: Case) -> Outcome<'gc> {
        let mut all = Vec::new();
        for name in form.pair()?.rest.get().list()? {
            let path = crate::value::to_string(name.text()?);
            let directory = self.beside.clone().unwrap_or_else(|| self.machine.directory());
            all.extend(self.read_file(&directory.join(path), name, case)?);
        }
        self.form("begin", &all)
    }

    fn read_file(
        &self,
        path: &std::path::Path,
        name: Value<'gc>,
        case: Case,
    ) -> Outcome<'gc, Vec<Value<'gc>>> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| fault(Kind::File, error.to_string(), &[name]))?;
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader::new(self.cx, self.machine, &chars, 0, (1, 0));
        reader.fold_case = matches!(case, Case::Folded);
        let mut all = Vec::new();
        while let Some(datum) = reader.read()? {
            all.push(datum);
        }
        Ok(all)
    }

    // --- libraries ---------------------------------------------------------

    /// The environment of a library that is known.
    fn library(&self, name: Value<'gc>) -> Outcome<'gc, Option<Gc<'gc, Environment<'gc>>>> {
        let name = self.strip(name)?;
        let shown = crate::print::written(name);
        if let Some(&library) = self.machine.libraries.borrow().get(shown.as_str()) {
            return Ok(Some(library));
        }
        let standard = STANDARD.contains(&shown.as_str());
        Ok(standard.then_some(self.machine.system))
    }

    /// The file that a library would be in.
    fn library_path(&self, name: Value<'gc>) -> Outcome<'gc, std::path::PathBuf> {
        let mut path = self.machine.directory();
        for part in name.list()? {
            path.push(crate::print::displayed(part));
        }
        path.as_mut_os_string().push(".sld");
        Ok(path)
    }

    /// `(import …)`: the names mean from now on what they mean in the libraries. Libraries that are in files are
    /// compiled, and run by the node.
    pub(crate) fn import_form(
        &mut self,
        form: Value<'gc>,
        environment: Gc<'gc, Environment<'gc>>,
    ) -> Outcome<'gc, Node<'gc>> {
        let mut nodes = Vec::new();
        for set in form.pair()?.rest.get().list()? {
            for (name, binding) in self.import_set(set, &mut nodes)? {
                environment.bind(self.cx, name, binding);
            }
        }
        Ok(sequence(nodes))
    }

    fn import_set(
        &mut self,
        set: Value<'gc>,
        nodes: &mut Vec<Node<'gc>>,
    ) -> Outcome<'gc, Imports<'gc>> {
        let parts = set.list()?;
        let modifier = match parts[..] {
            [head, Value::Pair(_), ..] if is_identifier(head) => Some(base_symbol(head)?.name),
            _ => None,
        };
        let modifier = modifier.as_deref().unwrap_or("");
        if !matches!(modifier, "only" | "except" | "prefix" | "rename") {
            return self.import_library(set, nodes);
        }
        let mut names = self.import_set(parts[1], nodes)?;
        let find = |names: &Imports<'gc>, wanted: Value<'gc>| {
            let wanted = base_symbol(wanted)?;
            match names.iter().position(|(name, _)| Gc::ptr_eq(*name, wanted)) {
                Some(at) => Ok(at),
                None => syntax_error("the library has no such name", Value::Symbol(wanted)),
            }
        };
        match modifier {
            "only" => {
                let chosen: Outcome<'gc, Imports<'gc>> =
                    parts[2..].iter().map(|&name| Ok(names[find(&names, name)?])).collect();
                return chosen;
            }
            "except" => {
                for &name in &parts[2..] {
                    let at = find(&names, name)?;
                    names.swap_remove(at);
                }
            }
            "prefix" => {
                let prefix = base_symbol(*parts.get(2).unwrap_or(&Value::Nil))?;
                for (name, _) in &mut names {
                    let long = format!("{}{}", &*prefix.name, &*name.name);
                    *name = self.symbol(&long)?.symbol()?;
                }
            }
            _ => {
                let mut renamed = Vec::new();
                for pair in &parts[2..] {
                    let [from, to] = pair.list()?[..] else {
                        return syntax_error("malformed rename", *pair);
                    };
                    renamed.push((find(&names, from)?, base_symbol(to)?));
                }
                for (at, name) in renamed {
                    names[at].0 = name;
                }
            }
        }
        Ok(names)
    }

    fn import_library(
        &mut self,
        name: Value<'gc>,
        nodes: &mut Vec<Node<'gc>>,
    ) -> Outcome<'gc, Imports<'gc>> {
        let library = match self.library(name)? {
            Some(library) => library,
            None => {
                let path = self.library_path(name)?;
                let beside = path.parent().map(std::path::Path::to_path_buf);
                let outer = std::mem::replace(&mut self.beside, beside);
                for form in self.read_file(&path, name, Case::Kept)? {
                    nodes.push(self.define_library(form)?);
                }
                self.beside = outer;
                match self.library(name)? {
                    Some(library) => library,
                    None => return syntax_error("the file does not define the library", name),
                }
            }
        };
        if Gc::ptr_eq(library, self.machine.system) {
            let names = library.names.borrow();
            // What begins with % is the system's own.
            return Ok(names
                .values()
                .filter(|(name, _)| !name.name.starts_with('%'))
                .copied()
                .collect());
        }
        let mut all = Vec::new();
        for &(inside, outside) in library.exports.borrow().iter() {
            let binding = match library.find(inside) {
                Some(binding) => binding,
                None => Binding::Variable(library.variable(self.cx, inside)?),
            };
            all.push((outside, binding));
        }
        Ok(all)
    }

    /// `(define-library …)`: a node that runs its bodies.
    pub(crate) fn define_library(&mut self, form: Value<'gc>) -> Outcome<'gc, Node<'gc>> {
        let parts = form.list()?;
        let [_, name, declarations @ ..] = &parts[..] else {
            return syntax_error("malformed define-library", form);
        };
        let environment = Gc::try_new(self.cx, Environment::default())?;
        let mut nodes = Vec::new();
        self.declarations(declarations, environment, &mut nodes)?;
        let name = crate::print::written(self.strip(*name)?);
        self.libraries.push(name.as_str().into());
        self.machine.libraries.borrow_mut(self.cx).insert(name.into_boxed_str(), environment);
        Ok(sequence(nodes))
    }

    fn declarations(
        &mut self,
        declarations: &[Value<'gc>],
        environment: Gc<'gc, Environment<'gc>>,
        nodes: &mut Vec<Node<'gc>>,
    ) -> Outcome<'gc, ()> {
        for &declaration in declarations {
            let parts = declaration.list()?;
            let Some(&head) = parts.first() else {
                return syntax_error("malformed declaration", declaration);
            };
            match &*base_symbol(head)?.name {
                "export" => {
                    for &export in &parts[1..] {
                        let (inside, outside) = match export {
                            Value::Pair(_) => match export.list()?[..] {
                                [_, inside, outside] => (inside, outside),
                                _ => return syntax_error("malformed export", export),
                            },
                            name => (name, name),
                        };
                        let names = (base_symbol(inside)?, base_symbol(outside)?);
                        environment.exports.borrow_mut(self.cx).push(names);
                    }
                }
                "import" => nodes.push(self.import_form(declaration, environment)?),
                "begin" => {
                    for &form in &parts[1..] {
                        nodes.push(self.top_level(form, environment)?);
                    }
                }
                name @ ("include" | "include-ci") => {
                    let case = if name == "include" { Case::Kept } else { Case::Folded };
                    let forms = self.include(declaration, case)?;
                    for form in forms.pair()?.rest.get().list()? {
                        nodes.push(self.top_level(form, environment)?);
                    }
                }
                "include-library-declarations" => {
                    let forms = self.include(declaration, Case::Kept)?;
                    let forms = forms.pair()?.rest.get().list()?;
                    self.declarations(&forms, environment, nodes)?;
                }
                "cond-expand" => {
                    let chosen = self.cond_expand(&parts[1..])?.list()?;
                    self.declarations(&chosen, environment, nodes)?;
                }
                _ => return syntax_error("unknown declaration", declaration),
            }
        }
        Ok(())
    }
}

/// Libraries of R7RS; each has all that the system has.
const STANDARD: [&str; 17] = [
    "(scheme base)",
    "(scheme case-lambda)",
    "(scheme char)",
    "(scheme cxr)",
    "(scheme eval)",
    "(scheme file)",
    "(scheme inexact)",
    "(scheme lazy)",
    "(scheme load)",
    "(scheme process-context)",
    "(scheme r5rs)",
    "(scheme read)",
    "(scheme repl)",
    "(scheme time)",
    "(scheme write)",
    "(mallocgc)",
    "(srfi 69)",
];
