//! Walks over a heap's objects, and dumps.

use crate::error::{Outcome, guard, mallocgc_error, mallocgc_error as Code};
use crate::handle::{Data, mallocgc_heap, mallocgc_mutator};
use crate::observe::{Output, mallocgc_output_fn};
use crate::slot::checked;
use mallocgc::raw::{GcError, Walked, WalkedObject};
use std::ffi::c_void;
use std::io::{self, Write};

/// What a walk comes by.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum mallocgc_walked_kind {
    /// A root; several may lead to one object, or into it.
    Root = 0,
    /// An object.
    Object = 1,
    /// A reference of the object that came last.
    Reference = 2,
}

/// Something that a walk comes by. Valid during the call.
#[repr(C)]
pub struct mallocgc_walked {
    /// What; fields that are not said to be for it are 0.
    pub kind: mallocgc_walked_kind,
    /// OBJECT, REFERENCE: the number of the object's layout, as events tell it.
    pub layout: u32,
    /// OBJECT, REFERENCE: the object's first byte.
    pub object: *mut c_void,
    /// OBJECT, REFERENCE: the object's usable bytes.
    pub bytes: usize,
    /// REFERENCE: where in the object it is; 0 if a trace function reported it.
    pub offset: usize,
    /// ROOT, REFERENCE: where it leads: to or into an object.
    pub target: *mut c_void,
}

/// Is told of what a walk comes by: all roots, then the objects in the order of their addresses, each followed by its
/// references. The world is stopped; it must not enter a heap.
pub type mallocgc_walk_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, walked: *const mallocgc_walked)>;

/// Stops the world and tells `visit` of every root, every object and every reference that leads to an object. What has died since the last
/// cycle is still there: collect first to see what lives. A boundary.
///
/// @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_walk(
    mutator: *const mallocgc_mutator,
    visit: mallocgc_walk_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        let visitor = visitor(visit, Data(data))?;
        Ok(handle.at_boundary(|mutator| mutator.walk(visitor))??)
    })
}

/// As mallocgc_walk, from a thread that is no mutator of this heap.
///
/// @return mallocgc_error: STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_heap_walk(
    heap: *const mallocgc_heap,
    visit: mallocgc_walk_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let heap = unsafe { checked(heap) }?;
        Ok(heap.heap.walk(visitor(visit, Data(data))?)?)
    })
}

/// What calls a program's function.
fn visitor(visit: mallocgc_walk_fn, data: Data) -> Outcome<impl FnMut(Walked<'_>)> {
    let visit = visit.ok_or(Code::BadArgument)?;
    // SAFETY: the program's function, with the word it gave.
    let tell = move |walked: mallocgc_walked| unsafe { visit(data.get(), &walked) };
    let about = |object: &WalkedObject<'_>| mallocgc_walked {
        kind: mallocgc_walked_kind::Object,
        layout: object.layout().0,
        object: object.address().as_ptr(),
        bytes: object.bytes(),
        offset: 0,
        target: std::ptr::null_mut(),
    };
    Ok(move |walked: Walked<'_>| match walked {
        Walked::Root(target) => tell(mallocgc_walked {
            kind: mallocgc_walked_kind::Root,
            layout: 0,
            object: std::ptr::null_mut(),
            bytes: 0,
            offset: 0,
            target: target.as_ptr(),
        }),
        Walked::Object(object) => {
            tell(about(&object));
            object.for_each_reference(|offset, target| {
                let kind = mallocgc_walked_kind::Reference;
                tell(mallocgc_walked { kind, offset, target: target.as_ptr(), ..about(&object) });
            });
        }
        _ => {}
    })
}

/// Writes a dump of the heap, a line of text for each root, object and reference, numbers of addresses in
/// hexadecimal digits:
///
///     mallocgc dump 1
///     root TARGET
///     object ADDRESS BYTES LAYOUT
///      OFFSET TARGET
///
/// The last are references of the object above. Collect first to see only what lives. The world stands until
/// all is written; `write` must not enter a heap. A boundary.
///
/// @return mallocgc_error: IO, STOP_TIMED_OUT, REENTRANT, BAD_ARGUMENT, WRONG_THREAD, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocgc_write_dump(
    mutator: *const mallocgc_mutator,
    write: mallocgc_output_fn,
    data: *mut c_void,
) -> mallocgc_error {
    guard(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { checked(mutator) }?;
        let output = Output::new(write, Data(data))?;
        let mut output = io::BufWriter::with_capacity(1 << 16, output);
        let mut result = writeln!(output, "mallocgc dump 1");
        let walked: Result<(), GcError> = handle.at_boundary(|mutator| {
            mutator.walk(|walked| {
                if result.is_ok() {
                    result = write_walked(&mut output, walked);
                }
            })
        })?;
        walked?;
        let result = result.and_then(|()| output.flush());
        // What could not be written is not tried again.
        drop(output.into_parts());
        result.map_err(|_| Code::Io)
    })
}

fn write_walked(output: &mut impl Write, walked: Walked<'_>) -> io::Result<()> {
    match walked {
        Walked::Root(target) => writeln!(output, "root {:x}", target.as_usize()),
        Walked::Object(object) => {
            let (address, layout) = (object.address().as_usize(), object.layout().0);
            let mut result = writeln!(output, "object {address:x} {} {layout}", object.bytes());
            object.for_each_reference(|offset, target| {
                if result.is_ok() {
                    result = writeln!(output, " {offset} {:x}", target.as_usize());
                }
            });
            result
        }
        _ => Ok(()),
    }
}
