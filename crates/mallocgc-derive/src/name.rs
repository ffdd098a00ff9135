//! Names for lifetimes that have none.

use proc_macro2::{Group, TokenStream, TokenTree};

/// The type behind a lifetime, with that lifetime in place of each `'_`.
pub(crate) fn name_lifetimes(input: TokenStream) -> TokenStream {
    let mut tokens = input.into_iter();
    // The quote and the identifier.
    let name: Vec<TokenTree> = tokens.by_ref().take(2).collect();
    named(tokens.collect(), &name)
}

fn named(tokens: TokenStream, name: &[TokenTree]) -> TokenStream {
    let mut out = Vec::<TokenTree>::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let mut inside = Group::new(group.delimiter(), named(group.stream(), name));
                inside.set_span(group.span());
                out.push(inside.into());
            }
            TokenTree::Ident(ident)
                if ident == "_"
                    && matches!(out.last(), Some(TokenTree::Punct(p)) if p.as_char() == '\'') =>
            {
                out.pop();
                out.extend(name.iter().cloned());
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_without_a_name_get_one_at_any_depth() {
        let input: TokenStream =
            "'a (Gc<'_, [_; 3]>, Vec<Gc<'b, dyn Fn(&'_ u8) -> B<'_>>>)".parse().unwrap();
        let expected: TokenStream =
            "(Gc<'a, [_; 3]>, Vec<Gc<'b, dyn Fn(&'a u8) -> B<'a>>>)".parse().unwrap();
        assert_eq!(name_lifetimes(input).to_string(), expected.to_string());
    }
}
