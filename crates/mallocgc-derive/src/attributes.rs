//! `#[gc(…)]`.

use syn::{Attribute, Error, Result};

/// What stands in the `gc` attributes of a type or a field.
#[derive(Default)]
pub(crate) struct GcAttributes {
    /// `static`: nothing of the heap is inside.
    pub(crate) is_static: bool,
}

impl GcAttributes {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<GcAttributes> {
        let mut read = GcAttributes::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("gc")) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("static") {
                    return Err(meta
                        .error("unknown; there is `#[gc(static)]`, for what holds no reference"));
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
        match attributes.iter().find(|attribute| attribute.path().is_ident("gc")) {
            Some(attribute) => {
                Err(Error::new_spanned(attribute, "`#[gc(…)]` belongs on a type or on a field"))
            }
            None => Ok(()),
        }
    }
}
