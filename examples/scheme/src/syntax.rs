//! Names in programs, and `syntax-rules`.
//!
//! A macro that puts a name into a program puts in an [`Alias`] of it: a new identifier which, unless something in the
//! expansion binds it, means what the name means where the macro was defined. So a name that the macro binds captures none of
//! its user's, and a name that it uses is not captured by its user's bindings. Data are stripped of aliases.
//!
//! A place in a program is a [`Place`]: an environment, or a scope of the form that is being compiled. Aliases of scopes do not
//! outlive the compilation of their form, since macros defined inside do not.

use crate::compile::Compiler;
use crate::environment::{Binding, Environment};
use crate::equal::is_equal;
use crate::value::{self, Kind, Outcome, Symbol, Value, cons, fault};
use mallocgc::typed::{Gc, Trace};
use std::collections::HashSet;

/// Syntax that the compiler knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Trace)]
pub(crate) enum Special {
    Quote,
    Quasiquote,
    Unquote,
    UnquoteSplicing,
    Lambda,
    Define,
    DefineValues,
    DefineRecordType,
    DefineSyntax,
    LetSyntax,
    LetrecSyntax,
    SyntaxRules,
    SyntaxError,
    If,
    Set,
    Begin,
    Let,
    Letrec,
    CondExpand,
    Include,
    IncludeFolded,
    Import,
    DefineLibrary,
    Else,
    Arrow,
    Underscore,
    Ellipsis,
}

/// Names of [`Special`]s.
pub(crate) const SPECIALS: [(&str, Special); 28] = [
    ("quote", Special::Quote),
    ("quasiquote", Special::Quasiquote),
    ("unquote", Special::Unquote),
    ("unquote-splicing", Special::UnquoteSplicing),
    ("lambda", Special::Lambda),
    ("define", Special::Define),
    ("define-values", Special::DefineValues),
    ("define-record-type", Special::DefineRecordType),
    ("define-syntax", Special::DefineSyntax),
    ("let-syntax", Special::LetSyntax),
    ("letrec-syntax", Special::LetrecSyntax),
    ("syntax-rules", Special::SyntaxRules),
    ("syntax-error", Special::SyntaxError),
    ("if", Special::If),
    ("set!", Special::Set),
    ("begin", Special::Begin),
    ("let", Special::Let),
    ("letrec", Special::Letrec),
    ("letrec*", Special::Letrec),
    ("cond-expand", Special::CondExpand),
    ("include", Special::Include),
    ("include-ci", Special::IncludeFolded),
    ("import", Special::Import),
    ("define-library", Special::DefineLibrary),
    ("else", Special::Else),
    ("=>", Special::Arrow),
    ("_", Special::Underscore),
    ("...", Special::Ellipsis),
];

/// Uses of macros, and names that they put in, in one form.
const MOST_EXPANSIONS: usize = 4_000_000;

/// Where a name is looked up.
#[derive(Clone, Copy, Trace)]
pub(crate) enum Place<'gc> {
    Environment(Gc<'gc, Environment<'gc>>),
    /// A scope of the compiler, by its number.
    Scope(u32),
}

/// A name that a macro put into a program.
#[derive(Trace)]
pub(crate) struct Alias<'gc> {
    /// A symbol, or another alias.
    pub(crate) of: Value<'gc>,
    pub(crate) place: Place<'gc>,
}

/// What `syntax-rules` makes.
#[derive(Trace)]
pub(crate) struct Macro<'gc> {
    /// The identifier that is the ellipsis; unspecified if it is `...`.
    pub(crate) ellipsis: Value<'gc>,
    pub(crate) literals: Gc<'gc, [Value<'gc>]>,
    /// Patterns, without their first element, and templates.
    pub(crate) rules: Gc<'gc, [(Value<'gc>, Value<'gc>)]>,
    pub(crate) place: Place<'gc>,
}

/// What a name means to the compiler.
#[derive(Clone, Copy)]
pub(crate) enum Meaning<'gc> {
    /// A local variable, by its number.
    Local(usize),
    Macro(Gc<'gc, Macro<'gc>>),
    Special(Special),
    /// A global variable, perhaps not defined yet.
    Global(Gc<'gc, Symbol<'gc>>, Gc<'gc, Environment<'gc>>),
}

/// A mistake in a program.
pub(crate) fn syntax_error<'gc, T>(message: &str, form: Value<'gc>) -> Outcome<'gc, T> {
    // Aliases are written as their symbols, so the form can be shown as it is.
    Err(fault(Kind::Syntax, message, &[form]))
}

/// Whether a value is a symbol or an alias.
pub(crate) fn is_identifier(value: Value<'_>) -> bool {
    matches!(value, Value::Symbol(_) | Value::Alias(_))
}

/// The symbol that an identifier is or stands for.
pub(crate) fn base_symbol<'gc>(mut identifier: Value<'gc>) -> Outcome<'gc, Gc<'gc, Symbol<'gc>>> {
    while let Value::Alias(alias) = identifier {
        identifier = alias.of;
    }
    match identifier {
        Value::Symbol(symbol) => Ok(symbol),
        other => syntax_error("expected a name, got", other),
    }
}

/// What a pattern variable stands for.
enum Match<'gc> {
    One(Value<'gc>),
    /// As many as the form had, and how deep the pattern has it below ellipses.
    Many(Vec<Matches<'gc>>, usize),
}

type Matches<'gc> = Vec<(Value<'gc>, Match<'gc>)>;

fn find<'m, 'gc>(matches: &'m [&Matches<'gc>], name: Value<'gc>) -> Option<&'m Match<'gc>> {
    let all = matches.iter().rev().flat_map(|level| level.iter());
    all.filter(|(known, _)| known.is(name)).map(|(_, found)| found).next()
}

impl<'gc> Compiler<'_, 'gc> {
    /// What a name means at a place.
    pub(crate) fn meaning(
        &self,
        mut name: Value<'gc>,
        mut place: Place<'gc>,
    ) -> Outcome<'gc, Meaning<'gc>> {
        loop {
            let environment = loop {
                match place {
                    Place::Environment(environment) => break environment,
                    Place::Scope(number) => {
                        let scope = &self.scopes[number as usize];
                        if let Some(meaning) = scope.find(name) {
                            return Ok(meaning);
                        }
                        place = scope.parent;
                    }
                }
            };
            match name {
                Value::Alias(alias) => (name, place) = (alias.of, alias.place),
                Value::Symbol(symbol) => {
                    return Ok(match environment.find(symbol) {
                        Some(Binding::Macro(rules)) => Meaning::Macro(rules),
                        Some(Binding::Special(special)) => Meaning::Special(special),
                        _ => Meaning::Global(symbol, environment),
                    });
                }
                other => return syntax_error("expected a name, got", other),
            }
        }
    }

    /// What the first element of a form means, if it is a name.
    pub(crate) fn head(
        &self,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Option<Meaning<'gc>>> {
        match form {
            Value::Pair(pair) if is_identifier(pair.first.get()) => {
                Ok(Some(self.meaning(pair.first.get(), place)?))
            }
            _ => Ok(None),
        }
    }

    /// Whether a value is a name of the special.
    pub(crate) fn is_special(
        &self,
        value: Value<'gc>,
        place: Place<'gc>,
        special: Special,
    ) -> bool {
        is_identifier(value)
            && matches!(self.meaning(value, place), Ok(Meaning::Special(found)) if found == special)
    }

    /// Whether two names mean the same.
    fn same_meaning(
        &self,
        a: (Value<'gc>, Place<'gc>),
        b: (Value<'gc>, Place<'gc>),
    ) -> Outcome<'gc, bool> {
        Ok(match (self.meaning(a.0, a.1)?, self.meaning(b.0, b.1)?) {
            (Meaning::Local(a), Meaning::Local(b)) => a == b,
            (Meaning::Macro(a), Meaning::Macro(b)) => Gc::ptr_eq(a, b),
            (Meaning::Special(a), Meaning::Special(b)) => a == b,
            (Meaning::Global(a, here), Meaning::Global(b, there)) => {
                match (here.find(a), there.find(b)) {
                    (Some(Binding::Variable(a)), Some(Binding::Variable(b))) => Gc::ptr_eq(a, b),
                    (None, None) => Gc::ptr_eq(a, b),
                    // One was used before it was defined.
                    _ => Gc::ptr_eq(a, b) && Gc::ptr_eq(here, there),
                }
            }
            _ => false,
        })
    }

    /// The macro of a `(syntax-rules …)`, or the one that a name means.
    pub(crate) fn transformer(
        &mut self,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc, Binding<'gc>> {
        if is_identifier(form) {
            match self.meaning(form, place)? {
                Meaning::Macro(rules) => return Ok(Binding::Macro(rules)),
                Meaning::Special(special) => return Ok(Binding::Special(special)),
                _ => {}
            }
        }
        let parts = match self.head(form, place)? {
            Some(Meaning::Special(Special::SyntaxRules)) => form.list()?,
            _ => return syntax_error("expected syntax-rules, got", form),
        };
        let custom = parts.len() > 1 && is_identifier(parts[1]);
        let (ellipsis, from) = if custom { (parts[1], 2) } else { (Value::Unspecified, 1) };
        if parts.len() <= from {
            return syntax_error("syntax-rules without literals", form);
        }
        let literals = parts[from].list()?;
        let mut rules = Vec::new();
        for &rule in &parts[from + 1..] {
            match rule.list()?[..] {
                [Value::Pair(pattern), template] => rules.push((pattern.rest.get(), template)),
                _ => return syntax_error("malformed rule", rule),
            }
        }
        let rules = Macro {
            ellipsis,
            literals: Gc::try_from_iter(self.cx, literals)?,
            rules: Gc::try_from_iter(self.cx, rules)?,
            place,
        };
        for &(pattern, _) in rules.rules.iter() {
            self.check_pattern(&rules, pattern)?;
        }
        Ok(Binding::Macro(Gc::try_new(self.cx, rules)?))
    }

    /// A pattern has no variable twice, and no two ellipses in one list.
    fn check_pattern(&self, rules: &Macro<'gc>, pattern: Value<'gc>) -> Outcome<'gc, ()> {
        let mut names = Vec::new();
        self.variables(rules, pattern, 0, &mut names);
        names.retain(|&(name, _)| !self.is_special(name, rules.place, Special::Underscore));
        for (index, &(name, _)) in names.iter().enumerate() {
            if names[..index].iter().any(|(known, _)| known.is(name)) {
                return syntax_error("a variable is twice in a pattern", name);
            }
        }
        let mut rest = vec![pattern];
        while let Some(pattern) = rest.pop() {
            let (mut at, mut ellipses) = (pattern, 0);
            if let Value::Vector(vector) = pattern {
                let items: Vec<_> = vector.items.iter().map(|item| item.get()).collect();
                ellipses = items.iter().filter(|item| self.is_ellipsis(rules, **item)).count();
                rest.extend(items);
            }
            while let Value::Pair(pair) = at {
                let first = pair.first.get();
                ellipses += usize::from(self.is_ellipsis(rules, first));
                rest.push(first);
                at = pair.rest.get();
            }
            if ellipses > 1 {
                return syntax_error("two ellipses in one list of a pattern", pattern);
            }
        }
        Ok(())
    }

    /// What a use of a macro stands for.
    pub(crate) fn expand(
        &mut self,
        rules: Gc<'gc, Macro<'gc>>,
        form: Value<'gc>,
        place: Place<'gc>,
    ) -> Outcome<'gc> {
        self.expansions += 1;
        if self.expansions > MOST_EXPANSIONS {
            return syntax_error("macros expand without an end", form);
        }
        let arguments = form.pair()?.rest.get();
        for &(pattern, template) in rules.rules.iter() {
            let mut matches = Vec::new();
            if self.matches(&rules, pattern, arguments, place, &mut matches)? {
                let mut renamed = Vec::new();
                return self.fill(&rules, template, &[&matches], &mut renamed, Escaped::No);
            }
        }
        syntax_error("no rule of the macro fits", form)
    }

    fn is_ellipsis(&self, rules: &Macro<'gc>, value: Value<'gc>) -> bool {
        if !is_identifier(value) || rules.literals.iter().any(|literal| literal.is(value)) {
            return false;
        }
        match rules.ellipsis {
            Value::Unspecified => base_symbol(value).is_ok_and(|symbol| &*symbol.name == "..."),
            custom => custom.is(value),
        }
    }

    fn matches(
        &self,
        rules: &Macro<'gc>,
        mut pattern: Value<'gc>,
        mut form: Value<'gc>,
        place: Place<'gc>,
        found: &mut Matches<'gc>,
    ) -> Outcome<'gc, bool> {
        loop {
            if is_identifier(pattern) {
                if rules.literals.iter().any(|literal| literal.is(pattern)) {
                    return Ok(is_identifier(form)
                        && self.same_meaning((pattern, rules.place), (form, place))?);
                }
                if !self.is_special(pattern, rules.place, Special::Underscore) {
                    found.push((pattern, Match::One(form)));
                }
                return Ok(true);
            }
            match pattern {
                Value::Pair(pair) => {
                    let rest = pair.rest.get();
                    if let Value::Pair(next) = rest
                        && self.is_ellipsis(rules, next.first.get())
                    {
                        let after = next.rest.get();
                        return self.matches_many(
                            rules,
                            pair.first.get(),
                            after,
                            form,
                            place,
                            found,
                        );
                    }
                    let Value::Pair(element) = form else { return Ok(false) };
                    if !self.matches(rules, pair.first.get(), element.first.get(), place, found)? {
                        return Ok(false);
                    }
                    (pattern, form) = (rest, element.rest.get());
                }
                Value::Vector(items) => {
                    let Value::Vector(elements) = form else { return Ok(false) };
                    let list = |items: &[mallocgc::typed::Lock<Value<'gc>>]| {
                        let items: Vec<_> = items.iter().map(|item| item.get()).collect();
                        value::list(self.cx, &items)
                    };
                    (pattern, form) = (list(&items.items)?, list(&elements.items)?);
                }
                _ => return Ok(is_equal(pattern, form)),
            }
        }
    }

    /// Matches `element ... . after`.
    fn matches_many(
        &self,
        rules: &Macro<'gc>,
        element: Value<'gc>,
        after: Value<'gc>,
        mut form: Value<'gc>,
        place: Place<'gc>,
        found: &mut Matches<'gc>,
    ) -> Outcome<'gc, bool> {
        let pairs = |mut list: Value<'gc>| {
            let mut count = 0;
            while let Value::Pair(pair) = list {
                (list, count) = (pair.rest.get(), count + 1);
            }
            count
        };
        let Some(count) = usize::checked_sub(pairs(form), pairs(after)) else { return Ok(false) };
        let mut levels = Vec::with_capacity(count);
        for _ in 0..count {
            let pair = form.pair()?;
            let mut level = Vec::new();
            if !self.matches(rules, element, pair.first.get(), place, &mut level)? {
                return Ok(false);
            }
            levels.push(level);
            form = pair.rest.get();
        }
        // Each variable of the element stands for all of it; they find themselves by their names.
        let mut names = Vec::new();
        self.variables(rules, element, 1, &mut names);
        for (name, depth) in names {
            let column = levels.iter_mut().map(|level| {
                let at = level.iter().position(|(known, _)| known.is(name));
                at.map(|at| level.swap_remove(at)).into_iter().collect()
            });
            found.push((name, Match::Many(column.collect(), depth)));
        }
        self.matches(rules, after, form, place, found)
    }

    /// The variables of a pattern, or names of a template, with how many ellipses they are below.
    fn variables(
        &self,
        rules: &Macro<'gc>,
        pattern: Value<'gc>,
        depth: usize,
        names: &mut Vec<(Value<'gc>, usize)>,
    ) {
        let mut at = pattern;
        loop {
            match at {
                Value::Pair(pair) => {
                    at = pair.rest.get();
                    let mut below = depth;
                    while let Value::Pair(next) = at {
                        if !self.is_ellipsis(rules, next.first.get()) {
                            break;
                        }
                        (below, at) = (below + 1, next.rest.get());
                    }
                    self.variables(rules, pair.first.get(), below, names);
                }
                Value::Vector(vector) => {
                    let items: Vec<_> = vector.items.iter().map(|item| item.get()).collect();
                    for (index, &item) in items.iter().enumerate() {
                        let after = items[index + 1..].iter();
                        let below =
                            after.take_while(|next| self.is_ellipsis(rules, **next)).count();
                        self.variables(rules, item, depth + below, names);
                    }
                    return;
                }
                name if is_identifier(name)
                    && !self.is_ellipsis(rules, name)
                    && !rules.literals.iter().any(|literal| literal.is(name)) =>
                {
                    return names.push((name, depth));
                }
                _ => return,
            }
        }
    }

    /// A template with what its variables stand for.
    fn fill(
        &mut self,
        rules: &Macro<'gc>,
        template: Value<'gc>,
        matches: &[&Matches<'gc>],
        renamed: &mut Vec<(Value<'gc>, Value<'gc>)>,
        escaped: Escaped,
    ) -> Outcome<'gc> {
        if is_identifier(template) {
            return match find(matches, template) {
                Some(Match::One(value)) => Ok(*value),
                Some(Match::Many(..)) => syntax_error("a variable without its ellipsis", template),
                None => self.rename(template, rules.place, renamed),
            };
        }
        match template {
            Value::Pair(_) => self.fill_list(rules, template, matches, renamed, escaped),
            Value::Vector(vector) => {
                let items: Vec<_> = vector.items.iter().map(|item| item.get()).collect();
                let list = value::list(self.cx, &items)?;
                let filled = self.fill(rules, list, matches, renamed, escaped)?.list()?;
                value::vector(self.cx, filled)
            }
            other => Ok(other),
        }
    }

    fn fill_list(
        &mut self,
        rules: &Macro<'gc>,
        template: Value<'gc>,
        matches: &[&Matches<'gc>],
        renamed: &mut Vec<(Value<'gc>, Value<'gc>)>,
        escaped: Escaped,
    ) -> Outcome<'gc> {
        let mut done = Vec::new();
        let mut at = template;
        while let Value::Pair(pair) = at {
            let first = pair.first.get();
            let mut rest = pair.rest.get();
            if escaped == Escaped::No && self.is_ellipsis(rules, first) {
                // `(... template)`: the template with ellipses that are names.
                let inner = rest.pair()?.first.get();
                let tail = self.fill(rules, inner, matches, renamed, Escaped::Yes)?;
                return value::list_with_tail(self.cx, &done, tail);
            }
            let mut depth = 0;
            while let Value::Pair(next) = rest {
                if escaped == Escaped::Yes || !self.is_ellipsis(rules, next.first.get()) {
                    break;
                }
                (depth, rest) = (depth + 1, next.rest.get());
            }
            self.fill_many(rules, first, depth, matches, renamed, (escaped, &mut done))?;
            at = rest;
        }
        let tail = self.fill(rules, at, matches, renamed, escaped)?;
        value::list_with_tail(self.cx, &done, tail)
    }

    /// A template that `depth` ellipses follow.
    fn fill_many(
        &mut self,
        rules: &Macro<'gc>,
        template: Value<'gc>,
        depth: usize,
        matches: &[&Matches<'gc>],
        renamed: &mut Vec<(Value<'gc>, Value<'gc>)>,
        (escaped, done): (Escaped, &mut Vec<Value<'gc>>),
    ) -> Outcome<'gc, ()> {
        if depth == 0 {
            done.push(self.fill(rules, template, matches, renamed, escaped)?);
            return Ok(());
        }
        let mut names = Vec::new();
        self.variables(rules, template, depth, &mut names);
        let mut columns = Vec::new();
        for (name, below) in names {
            // One that is below more ellipses than its pattern had runs along the inner ones.
            if let Some(Match::Many(levels, of)) = find(matches, name)
                && *of >= below
            {
                columns.push(levels);
            }
        }
        let Some(count) = columns.iter().map(|levels| levels.len()).max() else {
            return syntax_error("an ellipsis without a variable", template);
        };
        for index in 0..count {
            let mut inner = matches.to_vec();
            for levels in &columns {
                match levels.get(index) {
                    Some(level) => inner.push(level),
                    None => return syntax_error("variables of different lengths", template),
                }
            }
            self.fill_many(rules, template, depth - 1, &inner, renamed, (escaped, done))?;
        }
        Ok(())
    }

    /// The alias of a name in this expansion.
    fn rename(
        &mut self,
        name: Value<'gc>,
        place: Place<'gc>,
        renamed: &mut Vec<(Value<'gc>, Value<'gc>)>,
    ) -> Outcome<'gc> {
        if let Some(&(_, alias)) = renamed.iter().find(|(known, _)| known.is(name)) {
            return Ok(alias);
        }
        let alias = self.alias(name, place)?;
        renamed.push((name, alias));
        Ok(alias)
    }

    /// A new name for what another means at a place.
    pub(crate) fn alias(&mut self, of: Value<'gc>, place: Place<'gc>) -> Outcome<'gc> {
        self.expansions += 1;
        Ok(Value::Alias(Gc::try_new(self.cx, Alias { of, place })?))
    }

    /// A datum without aliases.
    pub(crate) fn strip(&self, datum: Value<'gc>) -> Outcome<'gc> {
        if self.expansions == 0 || !has_alias(datum) {
            return Ok(datum);
        }
        Ok(match datum {
            Value::Alias(_) => Value::Symbol(base_symbol(datum)?),
            Value::Pair(_) => {
                let mut items = Vec::new();
                let mut at = datum;
                while let Value::Pair(pair) = at {
                    items.push(self.strip(pair.first.get())?);
                    at = pair.rest.get();
                }
                let tail = self.strip(at)?;
                items.into_iter().rev().try_fold(tail, |rest, first| cons(self.cx, first, rest))?
            }
            Value::Vector(vector) => {
                let items: Outcome<'gc, Vec<_>> =
                    vector.items.iter().map(|item| self.strip(item.get())).collect();
                value::vector(self.cx, items?)?
            }
            other => other,
        })
    }
}

/// Whether ellipses of a template are names.
#[derive(Clone, Copy, PartialEq)]
enum Escaped {
    No,
    Yes,
}

fn has_alias(datum: Value<'_>) -> bool {
    let mut seen = HashSet::new();
    let mut rest = vec![datum];
    while let Some(datum) = rest.pop() {
        match datum {
            Value::Alias(_) => return true,
            Value::Pair(pair) if seen.insert(Gc::as_ptr(pair).addr()) => {
                rest.push(pair.rest.get());
                rest.push(pair.first.get());
            }
            Value::Vector(vector) if seen.insert(Gc::as_ptr(vector).addr()) => {
                rest.extend(vector.items.iter().map(|item| item.get()));
            }
            _ => {}
        }
    }
    false
}
