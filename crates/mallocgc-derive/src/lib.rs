//! `#[derive(Trace)]`: where the references of a type are, by its definition.
//!
//! The derived implementation names every field, so none can be forgotten. It refuses types that
//! implement `Drop`, since a destructor could look at objects that are gone, and what is marked
//! `#[gc(static)]` it requires to be `'static`, so that nothing of the heap can be hidden there.

#![forbid(unsafe_code)]

mod attributes;
mod expand;
mod name;

use proc_macro::TokenStream;

/// Implements `mallocgc::typed::Trace` and `Family`.
///
/// A type with references has one lifetime parameter, that of the heap. Attributes:
///
/// * `#[gc(static)]` on a field: its type is `'static` and holds no reference, so that
///   it need not implement `Trace`;
/// * `#[gc(static)]` on the type: all of it is so, and it may implement `Drop`;
/// * `#[gc(bound = "where …")]` on the type: what the implementation asks of its parameters, instead of `Trace` for the
///   types of the fields in which they occur;
/// * `#[gc(gc_lifetime = 'gc)]` on a type with several lifetimes: which of them is the heap's. It has no `Family`.
///
/// As in gc-arena the attribute may be called `collect`, `require_static` means `static`, and `no_drop` may be said, though it always
/// holds.
#[proc_macro_derive(Trace, attributes(gc, collect))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Gives the lifetimes `'_` of a type a name: `name_lifetimes!('name Type)`. A part of `Rootable!`.
#[doc(hidden)]
#[proc_macro]
pub fn name_lifetimes(input: TokenStream) -> TokenStream {
    name::name_lifetimes(input.into()).into()
}
