//! Quasiquotation: a template becomes the calls that build it; what is constant in it stays data.

use crate::compile::{Compiler, Node};
use crate::syntax::{Place, Special};
use crate::value::{Outcome, Value, cons, list};

impl<'gc> Compiler<'_, 'gc> {
    /// A call of a system primitive.
    fn primitive(&self, name: &str, arguments: Vec<Node<'gc>>) -> Outcome<'gc, Node<'gc>> {
        let symbol = self.machine.symbol(self.cx, name)?.symbol()?;
        let global = self.machine.system.variable(self.cx, symbol)?;
        match global.value.get() {
            Value::Primitive(primitive) => Ok(Node::Primitive(primitive, arguments, self.at)),
            _ => Ok(Node::Call(Box::new(Node::Global(global, self.at)), arguments, self.at)),
        }
    }

    /// The node of a template that so many quasiquotes are around.
    pub(crate) fn quasiquote(
        &mut self,
        template: Value<'gc>,
        depth: usize,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        match template {
            Value::Vector(vector) => {
                let items: Vec<_> = vector.items.iter().map(|item| item.get()).collect();
                let items = list(self.cx, &items)?;
                let node = self.quasiquote(items, depth, place)?;
                match node {
                    Node::Constant(items) => {
                        Ok(Node::Constant(crate::value::vector(self.cx, items.list()?)?))
                    }
                    node => self.primitive("list->vector", vec![node]),
                }
            }
            Value::Pair(_) => self.quasiquote_list(template, depth, place),
            other => Ok(Node::Constant(self.strip(other)?)),
        }
    }

    fn quasiquote_list(
        &mut self,
        template: Value<'gc>,
        depth: usize,
        place: Place<'gc>,
    ) -> Outcome<'gc, Node<'gc>> {
        // Elements, each with whether it is spliced, and then the tail.
        let mut elements = Vec::new();
        let mut at = template;
        let tail = loop {
            let Value::Pair(pair) = at else { break self.quasiquote(at, depth, place)? };
            let first = pair.first.get();
            if self.is_special(first, place, Special::Unquote)
                && let [_, form] = at.list()?[..]
            {
                if depth == 1 {
                    break self.expression(form, place)?;
                }
                let inner = self.quasiquote(pair.rest.get(), depth - 1, place)?;
                break self.cons_quoted(first, inner)?;
            }
            if self.is_special(first, place, Special::Quasiquote) && at.list().is_ok() {
                let inner = self.quasiquote(pair.rest.get(), depth + 1, place)?;
                break self.cons_quoted(first, inner)?;
            }
            let mut spliced = false;
            let mut node = None;
            if let Value::Pair(inner) = first
                && self.is_special(inner.first.get(), place, Special::UnquoteSplicing)
            {
                if depth == 1 {
                    let form = inner.rest.get().pair()?.first.get();
                    (node, spliced) = (Some(self.expression(form, place)?), true);
                } else {
                    let below = self.quasiquote(inner.rest.get(), depth - 1, place)?;
                    node = Some(self.cons_quoted(inner.first.get(), below)?);
                }
            }
            let node = match node {
                Some(node) => node,
                None => self.quasiquote(first, depth, place)?,
            };
            elements.push((node, spliced));
            at = pair.rest.get();
        };
        let mut all = tail;
        for (node, spliced) in elements.into_iter().rev() {
            all = match (spliced, node, all) {
                (true, node, Node::Constant(Value::Nil)) => node,
                (true, node, rest) => self.primitive("append", vec![node, rest])?,
                (false, Node::Constant(first), Node::Constant(rest)) => {
                    Node::Constant(cons(self.cx, first, rest)?)
                }
                (false, node, rest) => self.primitive("cons", vec![node, rest])?,
            };
        }
        Ok(all)
    }

    fn cons_quoted(&self, name: Value<'gc>, rest: Node<'gc>) -> Outcome<'gc, Node<'gc>> {
        let name = self.strip(name)?;
        match rest {
            Node::Constant(rest) => Ok(Node::Constant(cons(self.cx, name, rest)?)),
            rest => self.primitive("cons", vec![Node::Constant(name), rest]),
        }
    }
}
