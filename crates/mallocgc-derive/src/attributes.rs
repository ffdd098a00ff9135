//! `#[gc(…)]`, and `#[collect(…)]` as gc-arena's programs have it.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Lifetime, LitStr, Result, WhereClause};

/// What stands in the `gc` attributes of a type or a field.
#[derive(Default)]
pub(crate) struct GcAttributes {
    /// `static`: nothing of the heap is inside.
    pub(crate) is_static: bool,
    /// `bound = "where …"`: what the implementation asks of the type's parameters. `None` inside: nothing.
    pub(crate) bound: Option<Option<WhereClause>>,
    /// `gc_lifetime = 'gc`: which of the type's lifetimes is the heap's.
    pub(crate) lifetime: Option<Lifetime>,
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("gc") || attribute.path().is_ident("collect")
}

impl GcAttributes {
    /// Those of a type.
    pub(crate) fn of_type(attributes: &[Attribute]) -> Result<GcAttributes> {
        GcAttributes::read(attributes, |read, meta| {
            if meta.path.is_ident("no_drop") {
                // It is so for all traced types.
                return Ok(());
            }
            if meta.path.is_ident("unsafe_drop") {
                return Err(meta.error(
                    "the destructor of an object could reach others that are gone; put what needs one \
                     into a field of a `'static` type, or use a cleanup",
                ));
            }
            if meta.path.is_ident("bound") {
                let text: LitStr = meta.value()?.parse()?;
                let clause = match text.value().trim() {
                    "" => None,
                    _ => Some(text.parse()?),
                };
                return once(&mut read.bound, clause, meta);
            }
            if meta.path.is_ident("gc_lifetime") {
                let lifetime = meta.value()?.parse()?;
                return once(&mut read.lifetime, lifetime, meta);
            }
            Err(meta.error(
                "unknown; there are `static` (or `require_static`) for types without references, `bound = \"where …\"`, \
                 `gc_lifetime = 'gc` and `no_drop`",
            ))
        })
    }

    /// Those of a field.
    pub(crate) fn of_field(attributes: &[Attribute]) -> Result<GcAttributes> {
        GcAttributes::read(attributes, |_, meta| {
            Err(meta.error("unknown; there is `#[gc(static)]`, for what holds no reference"))
        })
    }

    fn read(
        attributes: &[Attribute],
        other: impl Fn(&mut GcAttributes, &ParseNestedMeta<'_>) -> Result<()>,
    ) -> Result<GcAttributes> {
        let mut read = GcAttributes::default();
        for attribute in attributes.iter().filter(|attribute| is_ours(attribute)) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("static") && !meta.path.is_ident("require_static") {
                    return other(&mut read, &meta);
                }
                if read.is_static {
                    return Err(meta.error("`static` is given twice"));
                }
                read.is_static = true;
                Ok(())
            })?;
        }
        Ok(read)
    }

    /// An error if there are attributes where none has a meaning.
    pub(crate) fn refuse(attributes: &[Attribute]) -> Result<()> {
        match attributes.iter().find(|attribute| is_ours(attribute)) {
            Some(attribute) => {
                Err(Error::new_spanned(attribute, "`#[gc(…)]` belongs on a type or on a field"))
            }
            None => Ok(()),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    match place.replace(value) {
        Some(_) => Err(meta.error("given twice")),
        None => Ok(()),
    }
}
