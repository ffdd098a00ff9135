//! The implementations that are derived.

use crate::attributes::GcAttributes;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Ident, Lifetime, Result, Type, WhereClause,
};

/// All that is derived for a type.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let whole = GcAttributes::of_type(&input.attrs)?;
    let variants = variants(input)?;
    for (_, fields) in &variants {
        for field in *fields {
            GcAttributes::of_field(&field.attrs)?;
        }
    }
    if whole.is_static {
        return all_static(input);
    }
    refuse_packed(input)?;
    let lifetime = heap_lifetime(input, &whole)?;
    let trace = trace(input, &variants, &lifetime, &whole)?;
    let no_drop = no_drop(input, &lifetime);
    let family = family(input, &lifetime);
    Ok(quote! { #trace #no_drop #family })
}

/// The variants of an enumeration, or the one of a structure, by the pattern that names it.
fn variants(input: &DeriveInput) -> Result<Vec<(TokenStream, &Fields)>> {
    match &input.data {
        Data::Struct(data) => Ok(vec![(quote!(Self), &data.fields)]),
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                GcAttributes::refuse(&variant.attrs)?;
                let name = &variant.ident;
                Ok((quote!(Self::#name), &variant.fields))
            })
            .collect(),
        Data::Union(data) => Err(Error::new(
            data.union_token.span(),
            "a union does not say which of its fields is valid; it cannot be traced",
        )),
    }
}

/// Fields of a packed type may lie anywhere, and tracing borrows them.
fn refuse_packed(input: &DeriveInput) -> Result<()> {
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("packed") {
                return Err(meta.error(
                    "a packed type is not traced, since its fields are not aligned; \
                     if it holds no `Gc`, mark the type `#[gc(static)]`",
                ));
            }
            // `align(8)`, `packed(2)`: the number is the compiler's.
            if meta.input.peek(syn::token::Paren) {
                let number;
                syn::parenthesized!(number in meta.input);
                number.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The lifetime of the heap: the type's own, or a new one for a type without references.
struct HeapLifetime {
    name: Lifetime,
    is_parameter: bool,
}

fn heap_lifetime(input: &DeriveInput, attributes: &GcAttributes) -> Result<HeapLifetime> {
    let mut lifetimes = input.generics.lifetimes();
    if let Some(named) = &attributes.lifetime {
        return match lifetimes.any(|parameter| parameter.lifetime == *named) {
            true => Ok(HeapLifetime { name: named.clone(), is_parameter: true }),
            false => Err(Error::new(named.span(), "the type has no such lifetime")),
        };
    }
    let Some(first) = lifetimes.next() else {
        let name = Lifetime::new("'__gc", Span::call_site());
        return Ok(HeapLifetime { name, is_parameter: false });
    };
    if let Some(second) = lifetimes.next() {
        return Err(Error::new(
            second.span(),
            "a traced type has one lifetime, that of the heap; it can borrow nothing else",
        ));
    }
    Ok(HeapLifetime { name: first.lifetime.clone(), is_parameter: true })
}

/// `impl<'gc, …>`'s parameters, with `'gc` added if the type has none.
fn impl_parameters(input: &DeriveInput, lifetime: &HeapLifetime) -> TokenStream {
    let mut generics = input.generics.clone();
    if !lifetime.is_parameter {
        let name = &lifetime.name;
        generics.params.insert(0, syn::parse_quote!(#name));
    }
    let (parameters, _, _) = generics.split_for_impl();
    quote!(#parameters)
}

fn where_clause(input: &DeriveInput) -> WhereClause {
    let mut generics = input.generics.clone();
    generics.make_where_clause().clone()
}

/// Whether a type parameter of the input occurs in a type.
fn mentions_parameter(input: &DeriveInput, of: &Type) -> bool {
    struct Search<'a> {
        input: &'a DeriveInput,
        found: bool,
    }
    impl<'ast> Visit<'ast> for Search<'_> {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            self.found |= self.input.generics.type_params().any(|param| {
                path.segments.first().is_some_and(|segment| segment.ident == param.ident)
            });
            visit::visit_path(self, path);
        }
    }
    let mut search = Search { input, found: false };
    search.visit_type(of);
    search.found
}

/// Whether a type names a lifetime.
fn mentions_lifetime(lifetime: &Lifetime, of: &Type) -> bool {
    struct Search<'a> {
        lifetime: &'a Lifetime,
        found: bool,
    }
    impl<'ast> Visit<'ast> for Search<'_> {
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.found |= lifetime == self.lifetime;
        }
    }
    let mut search = Search { lifetime, found: false };
    search.visit_type(of);
    search.found
}

/// Whether a bound of a type parameter names a lifetime.
fn bounds_mention(input: &DeriveInput, lifetime: &Lifetime) -> bool {
    let bounds = input.generics.type_params().map(|param| &param.bounds);
    let tokens: TokenStream = bounds.map(|bounds| quote!((#bounds))).collect();
    // As tokens: bounds may be of any form.
    tokens.to_string().contains(&lifetime.to_string())
}

/// Answers here what the compiler could say of the implementation only.
fn check_field(lifetime: &HeapLifetime, of: &Type, is_static: bool) -> Result<()> {
    if is_static && mentions_lifetime(&lifetime.name, of) {
        return Err(Error::new_spanned(
            of,
            "`#[gc(static)]` is for what holds no reference, but this type has the heap's lifetime",
        ));
    }
    match of {
        Type::Reference(borrow) if borrow.lifetime.as_ref() == Some(&lifetime.name) => {
            Err(Error::new_spanned(
                of,
                "a borrow does not keep its object alive; objects hold `Gc` in its place",
            ))
        }
        _ => Ok(()),
    }
}

fn trace(
    input: &DeriveInput,
    variants: &[(TokenStream, &Fields)],
    lifetime: &HeapLifetime,
    attributes: &GcAttributes,
) -> Result<TokenStream> {
    let name = &input.ident;
    let gc = &lifetime.name;
    let parameters = impl_parameters(input, lifetime);
    let (_, arguments, _) = input.generics.split_for_impl();
    let mut bounds = where_clause(input);
    if let Some(Some(clause)) = &attributes.bound {
        bounds.predicates.extend(clause.predicates.iter().cloned());
    }
    let mut arms = Vec::new();
    // A field's type may be of a macro that knows no name of the place where the field is.
    let tracer = Ident::new("tracer", Span::mixed_site());
    let mut shape = quote!(::mallocgc::typed::Shape::FREE);
    for (pattern, fields) in variants {
        let mut bindings = Vec::new();
        let mut calls = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let of = &field.ty;
            let span = of.span();
            let is_static = GcAttributes::of_field(&field.attrs)?.is_static;
            check_field(lifetime, of, is_static)?;
            let member = match &field.ident {
                Some(ident) => quote!(#ident),
                None => {
                    let index = syn::Index::from(index);
                    quote!(#index)
                }
            };
            if is_static {
                bounds.predicates.push(syn::parse_quote_spanned!(span=> #of: 'static));
                bindings.push(quote!(#member: _));
                continue;
            }
            if attributes.bound.is_none() && mentions_parameter(input, of) {
                bounds
                    .predicates
                    .push(syn::parse_quote_spanned!(span=> #of: ::mallocgc::typed::Trace<#gc>));
            }
            // A constant of this name elsewhere is another.
            let binding = format_ident!("field_{index}", span = Span::mixed_site());
            bindings.push(quote!(#member: #binding));
            calls.push(quote_spanned! {span=>
                <#of as ::mallocgc::typed::Trace<#gc>>::trace(#binding, #tracer);
            });
            let part = quote_spanned!(span=> <#of as ::mallocgc::typed::Trace<#gc>>::SHAPE);
            shape = match &input.data {
                Data::Struct(_) => quote! {
                    #shape.with(::core::mem::offset_of!(Self, #member), #part)
                },
                _ => quote!(#shape.or(#part)),
            };
        }
        // No `..`: a field that a macro adds after this one has looked is an error, not a reference that is missed.
        arms.push(quote!(#pattern { #(#bindings,)* } => { #(#calls)* }));
    }
    let body =
        if arms.is_empty() { quote!(match *self {}) } else { quote!(match self { #(#arms)* }) };
    Ok(quote! {
        #[automatically_derived]
        // SAFETY: every field is named, or 'static by the where clause, and nothing of
        // this type implements `Drop`.
        unsafe impl #parameters ::mallocgc::typed::Trace<#gc> for #name #arguments #bounds {
            const SHAPE: ::mallocgc::typed::Shape = #shape;

            #[inline]
            #[allow(unused_variables)]
            fn trace(&self, #tracer: &mut ::mallocgc::typed::Tracer<'_>) {
                #body
            }
        }
    })
}

/// Conflicts with an implementation of `Drop`. The name is what the compiler prints.
fn no_drop(input: &DeriveInput, lifetime: &HeapLifetime) -> TokenStream {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    if !lifetime.is_parameter {
        generics = input.generics.clone();
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    quote! {
        const _: () = {
            #[allow(non_camel_case_types)]
            trait ATracedTypeMustNotImplementDrop_UseACleanupOrMarkItStatic {}
            #[allow(drop_bounds)]
            impl<__T: ::core::ops::Drop> ATracedTypeMustNotImplementDrop_UseACleanupOrMarkItStatic for __T {}
            #[automatically_derived]
            impl #parameters ATracedTypeMustNotImplementDrop_UseACleanupOrMarkItStatic for #name #arguments #bounds {}
        };
    }
}

/// `Name<'static>` stands for `Name<'gc>` of every heap.
fn family(input: &DeriveInput, lifetime: &HeapLifetime) -> TokenStream {
    let name = &input.ident;
    let mut parameters = Vec::new();
    let (mut at_static, mut at_heap) = (Vec::new(), Vec::new());
    let mut bounds = where_clause(input);
    for param in &input.generics.params {
        match param {
            GenericParam::Lifetime(_) => {
                at_static.push(quote!('static));
                at_heap.push(quote!('__at));
            }
            GenericParam::Type(param) => {
                let ident = &param.ident;
                let of = &param.bounds;
                parameters.push(quote!(#ident: #of));
                bounds.predicates.push(syn::parse_quote!(#ident: 'static));
                bounds
                    .predicates
                    .push(syn::parse_quote!(#ident: for<'__any> ::mallocgc::typed::Trace<'__any>));
                at_static.push(quote!(#ident));
                at_heap.push(quote!(#ident));
            }
            GenericParam::Const(param) => {
                let (ident, of) = (&param.ident, &param.ty);
                parameters.push(quote!(const #ident: #of));
                at_static.push(quote!(#ident));
                at_heap.push(quote!(#ident));
            }
        }
    }
    // Bounds that name the heap's lifetime cannot be carried over.
    let names_lifetime = lifetime.is_parameter
        && (input.generics.where_clause.is_some() || bounds_mention(input, &lifetime.name));
    if names_lifetime || input.generics.lifetimes().count() > 1 {
        return TokenStream::new();
    }
    quote! {
        #[automatically_derived]
        impl<#(#parameters),*> ::mallocgc::typed::Family for #name<#(#at_static),*> #bounds {
            type At<'__at> = #name<#(#at_heap),*>;
        }
    }
}

/// A type that holds nothing of a heap.
fn all_static(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Err(Error::new(lifetime.span(), "a `#[gc(static)]` type borrows nothing"));
    }
    let name = &input.ident;
    let lifetime = Lifetime::new("'__gc", Span::call_site());
    let parameters =
        impl_parameters(input, &HeapLifetime { name: lifetime.clone(), is_parameter: false });
    let (own_parameters, arguments, _) = input.generics.split_for_impl();
    let mut bounds = where_clause(input);
    bounds.predicates.push(syn::parse_quote!(Self: 'static));
    Ok(quote! {
        #[automatically_derived]
        // SAFETY: a 'static type holds no reference into a heap.
        unsafe impl #parameters ::mallocgc::typed::Trace<#lifetime> for #name #arguments #bounds {
            const SHAPE: ::mallocgc::typed::Shape = ::mallocgc::typed::Shape::FREE;

            #[inline]
            fn trace(&self, _: &mut ::mallocgc::typed::Tracer<'_>) {}
        }
        #[automatically_derived]
        impl #own_parameters ::mallocgc::typed::Family for #name #arguments #bounds {
            type At<'__at> = Self;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(item: &str) -> std::result::Result<String, String> {
        let input = syn::parse_str(item).unwrap();
        expand(&input).map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_is_in_the_pattern() {
        let text = expanded("struct S<'gc> { a: Gc<'gc, u8>, #[gc(static)] b: T, c: u8 }").unwrap();
        assert!(text.contains("Self { a : field_0 , b : _ , c : field_2 , } =>"), "{text}");
        let text =
            expanded("enum E<'gc> { A(Gc<'gc, u8>, #[gc(static)] T), B { c: u8 }, D }").unwrap();
        for arm in ["A { 0 : field_0 , 1 : _ , } =>", "B { c : field_0 , } =>", "D { } =>"] {
            assert!(text.contains(arm), "{arm}: {text}");
        }
        assert!(!text.contains(" .. "), "{text}");
    }

    #[test]
    fn packed_types_are_refused_however_they_are_written() {
        for repr in ["packed", "packed(2)", "C, packed", "align(8), C, packed(4)"] {
            let error = expanded(&format!("#[repr({repr})] struct S(u8);")).unwrap_err();
            assert!(error.starts_with("a packed type"), "{repr}: {error}");
        }
        for repr in ["C", "align(8)", "C, align(4096)", "u8", "transparent"] {
            assert!(expanded(&format!("#[repr({repr})] struct S(u8);")).is_ok(), "{repr}");
        }
        assert!(expanded("#[gc(static)] #[repr(packed)] struct S(u8);").is_ok());
    }
}
