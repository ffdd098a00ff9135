//! Finalizers for values with types known at run time: the origin's
//! `SetFinalizer` with all of its checks.
//!
//! A runtime describes its types by [`TypeDescriptor`]s that live for the
//! program, one for each type: two types are the same if their descriptors
//! are the same place in memory.

use crate::base::Address;
use crate::raw::finalizer::{FinalizerError, Interior, Placement};
use crate::raw::mutator::Mutator;
use core::ptr::NonNull;

/// Pointer-free elements smaller than this may lie inside a shared block.
const TINY_SIZE: usize = crate::base::size_class::TINY_SIZE;

/// A type of a language on this heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeDescriptor {
    /// For messages.
    pub name: &'static str,
    /// Whether the type was declared with a name, or is written out.
    pub named: bool,
    /// Bytes of a value.
    pub size_bytes: usize,
    /// Whether a value holds references.
    pub has_references: bool,
    /// Methods that a value of the type has.
    pub methods: &'static [&'static str],
    /// What kind of type it is.
    pub kind: TypeKind,
}

/// What kind of type a [`TypeDescriptor`] describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeKind {
    /// None of the others: numbers, structures, arrays.
    Other,
    /// A pointer.
    Pointer {
        /// What it points to.
        elem: Option<&'static TypeDescriptor>,
    },
    /// A function.
    Function {
        /// Types of the parameters.
        params: &'static [&'static TypeDescriptor],
        /// Whether the last one stands for any number.
        variadic: bool,
        /// Types of the results, which a finalizer's caller ignores.
        results: &'static [&'static TypeDescriptor],
    },
    /// An interface: any value with these methods.
    Interface {
        /// The methods.
        methods: &'static [&'static str],
    },
}

/// What a finalizer set by [`Mutator::set_finalizer_dynamic`] gets.
#[derive(Clone, Copy, Debug)]
pub enum FinalizerArgument {
    /// Its parameter is a pointer type.
    Pointer(NonNull<u8>),
    /// Its parameter is an interface type: the value and the value's type.
    Interface {
        /// The pointer the interface holds.
        value: NonNull<u8>,
        /// Its type.
        value_type: &'static TypeDescriptor,
        /// The parameter's type.
        interface: &'static TypeDescriptor,
    },
}

/// A function for [`Mutator::set_finalizer_dynamic`].
pub type DynamicFinalizer = Box<dyn FnOnce(&mut Mutator, FinalizerArgument) + Send>;

fn same(a: &TypeDescriptor, b: &TypeDescriptor) -> bool {
    core::ptr::eq(a, b)
}

impl Mutator {
    /// Sets or removes a finalizer as the origin's `SetFinalizer`: `object` is
    /// the first argument with its type, `None` for nil; `finalizer` the
    /// second, `None` to remove.
    ///
    /// # Errors
    ///
    /// [`FinalizerError`], for each of the origin's checks one of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use mallocgc::raw::{AllocFlags, Config, FinalizerError, Heap, Layout, TypeDescriptor, TypeKind};
    ///
    /// static FILE: TypeDescriptor = TypeDescriptor {
    ///     name: "File",
    ///     kind: TypeKind::Other,
    ///     size_bytes: 64,
    ///     has_references: false,
    ///     named: true,
    ///     methods: &[],
    /// };
    ///
    /// let heap = Heap::new(Config::default())?;
    /// let mutator = heap.attach()?;
    /// let object = mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE)?;
    /// // A value is no pointer.
    /// let refused = mutator.set_finalizer_dynamic(Some((&FILE, object.as_ptr())), None);
    /// assert_eq!(refused, Err(FinalizerError::FirstArgumentNotPointer { argument: "File" }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_finalizer_dynamic(
        &self,
        object: Option<(&'static TypeDescriptor, *mut u8)>,
        finalizer: Option<(&'static TypeDescriptor, DynamicFinalizer)>,
    ) -> Result<Placement, FinalizerError> {
        let (argument, pointer) = object.ok_or(FinalizerError::FirstArgumentNil)?;
        let TypeKind::Pointer { elem } = argument.kind else {
            return Err(FinalizerError::FirstArgumentNotPointer { argument: argument.name });
        };
        let Some(elem) = elem else {
            return Err(FinalizerError::NoElementType { argument: argument.name });
        };
        let address = Address::from_ptr(pointer);
        let pointer = NonNull::new(pointer).ok_or(FinalizerError::NotAllocated { address })?;
        // As the origin does, by the type and not by the place: a small field
        // of a larger object will do.
        let interior = match !elem.has_references && elem.size_bytes < TINY_SIZE {
            true => Interior::Any,
            false => Interior::None,
        };
        // The checks of the place come before those of the function.
        let Some(_) = self.find_for_finalizer(address, interior)? else {
            return Ok(Placement::Immortal);
        };
        let Some((function, finalizer)) = finalizer else {
            self.clear_finalizer_checked(pointer, interior)?;
            return Ok(self.placement_of(address));
        };
        let parameter = check_function(argument, elem, function)?;
        let pass = match parameter.kind {
            TypeKind::Interface { .. } => Some(parameter),
            _ => None,
        };
        self.set_finalizer_checked(pointer, interior, move |mutator, value| {
            let argument = match pass {
                Some(interface) => {
                    FinalizerArgument::Interface { value, value_type: argument, interface }
                }
                None => FinalizerArgument::Pointer(value),
            };
            finalizer(mutator, argument);
        })
    }
}

/// Checks that a finalizer of type `function` takes an `argument`, which
/// points to an `elem`; the type of its parameter.
fn check_function(
    argument: &'static TypeDescriptor,
    elem: &'static TypeDescriptor,
    function: &'static TypeDescriptor,
) -> Result<&'static TypeDescriptor, FinalizerError> {
    let (argument_name, finalizer) = (argument.name, function.name);
    let TypeKind::Function { params, variadic, .. } = function.kind else {
        return Err(FinalizerError::NotAFunction { finalizer });
    };
    if variadic {
        return Err(FinalizerError::Variadic { argument: argument_name, finalizer });
    }
    let &[parameter] = params else {
        let count = params.len();
        return Err(FinalizerError::ParameterCount { argument: argument_name, finalizer, count });
    };
    let assignable = same(parameter, argument)
        || match parameter.kind {
            TypeKind::Pointer { elem: Some(other) } => {
                same(other, elem) && !(parameter.named && argument.named)
            }
            TypeKind::Interface { methods } => {
                methods.iter().all(|method| argument.methods.contains(method))
            }
            _ => false,
        };
    match assignable {
        true => Ok(parameter),
        false => Err(FinalizerError::NotAssignable {
            argument: argument_name,
            finalizer,
            parameter: parameter.name,
        }),
    }
}
