//! `#[derive(Trace)]`: where the references of a type are, by its definition.
//!
//! The derived implementation names every field, so none can be forgotten. It refuses types that
//! implement `Drop`, since a destructor could look at objects that are gone, and what is marked
//! `#[gc(static)]` it requires to be `'static`, so that nothing of the heap can be hidden there.

#![forbid(unsafe_code)]

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Implements `mallocgc::typed::Trace` and `Family`.
///
/// A type with references has one lifetime parameter, that of the heap. Attributes:
///
/// * `#[gc(static)]` on a field: its type is `'static` and holds no reference, so that
///   it need not implement `Trace`;
/// * `#[gc(static)]` on the type: all of it is so, and it may implement `Drop`.
#[proc_macro_derive(Trace, attributes(gc))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
