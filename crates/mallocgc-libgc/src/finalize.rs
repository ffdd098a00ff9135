//! Finalizers, disappearing links, toggle references.
//!
//! When all that roots reach is marked, a cycle goes on in this order: toggle
//! references and links whose object is dead are cleared; what objects with finalizers
//! refer to is marked, each by its finalizer's order; those that are still dead
//! are queued and, with what they refer to, live until their function has run;
//! links inside dead objects are forgotten; long links whose object is
//! dead even so are cleared.
//!
//! Every table is visited once a cycle: the cost is one look at a mark for each entry.
//!
//! Protection: the lock. Functions of the program run without it.

use crate::data::{self, Hook};
use crate::state::{heap, is_ready, state};
use crate::threads::register_current;
use crate::{debug, init, lock, say};
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_int;
use mallocgc::raw::AmbiguousMarker;

pub type FinalizeFn = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

/// Which references of a finalizable object come first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All: an object is finalized before what it refers to.
    Normal,
    /// All but those to itself.
    IgnoreSelf,
    /// None.
    Any,
    /// None, and it is finalized only once nothing finalizable reaches it.
    Unreachable,
}

#[derive(Clone, Copy)]
pub struct Finalizer {
    pub function: FinalizeFn,
    pub data: *mut c_void,
    pub order: Order,
}

#[derive(Clone, Copy)]
pub struct Queued {
    pub object: usize,
    pub finalizer: Finalizer,
}

/// A link: the object it leads to, kept where nobody scans.
#[derive(Clone, Copy)]
pub struct Link {
    pub object: usize,
}

/// A reference that is strong or weak as the program's hook says.
#[derive(Clone, Copy)]
pub struct Toggle {
    pub object: usize,
    pub strong: bool,
}

/// There has been a finalizer or a link: freeing explicitly must look.
pub static HAS_ANY: AtomicUsize = AtomicUsize::new(0);

pub unsafe fn forget_object(object: usize) {
    let _held = lock::lock();
    state().finalizers.remove(object);
}

// --- in a cycle ----------------------------------------------------------

pub unsafe fn visit_roots(marker: &mut dyn AmbiguousMarker) {
    let state = state();
    state.finalizers.for_each(|_, finalizer| marker.visit(finalizer.data as usize));
    for queued in &state.queue.as_slice()[state.queue_taken..] {
        marker.visit(queued.object);
        marker.visit(queued.finalizer.data as usize);
    }
    let hook = data::TOGGLEREF_FUNC.load(Relaxed);
    if hook != 0 {
        let hook: unsafe extern "C" fn(*mut c_void) -> c_int = core::mem::transmute(hook);
        state.toggles.retain(|toggle| {
            let answer = hook(toggle.object as *mut c_void);
            toggle.strong = answer == 1;
            answer != 0
        });
    }
    for toggle in state.toggles.as_slice().iter().filter(|toggle| toggle.strong) {
        marker.visit(toggle.object);
    }
}

/// Everything reachable is marked.
pub unsafe fn decide(marker: &mut dyn AmbiguousMarker) {
    let state = state();
    state.toggles.retain(|toggle| toggle.strong || marker.is_marked(toggle.object));
    clear_links(&mut state.short_links, marker);
    let order_matters = |order| matches!(order, Order::Normal | Order::IgnoreSelf);
    state.finalizers.for_each(|object, finalizer| {
        if order_matters(finalizer.order) && !marker.is_marked(object) {
            scan(marker, object, finalizer.order);
        }
    });
    marker.drain();
    let begin = state.queue.len();
    let await_hook = data::AWAIT_FINALIZE_PROC.load(Relaxed);
    let queue = &mut state.queue;
    state.finalizers.retain(|object, finalizer| {
        if marker.is_marked(object) {
            return true;
        }
        if await_hook != 0 {
            let hook: unsafe extern "C" fn(*mut c_void) = core::mem::transmute(await_hook);
            hook(object as *mut c_void);
        }
        queue.push(Queued { object, finalizer: *finalizer });
        false
    });
    // What is queued lives, with all it refers to. First those that need not
    // be unreachable from others, so that the rest can be told.
    for queued in &queue.as_slice()[begin..] {
        if queued.finalizer.order != Order::Unreachable {
            marker.visit(queued.object);
        }
    }
    marker.drain();
    let mut at = begin;
    while at < queue.len() {
        let queued = queue.as_slice()[at];
        if queued.finalizer.order == Order::Unreachable {
            if marker.is_marked(queued.object) {
                state.finalizers.insert(queued.object, queued.finalizer);
                queue.swap_remove(at);
                continue;
            }
            marker.visit(queued.object);
            marker.drain();
        }
        at += 1;
    }
    forget_links(&mut state.short_links, marker);
    clear_links(&mut state.long_links, marker);
    forget_links(&mut state.long_links, marker);
}

/// Makes what a dead object refers to be marked, and not itself.
unsafe fn scan(marker: &mut dyn AmbiguousMarker, object: usize, order: Order) {
    if order == Order::Normal {
        return marker.scan(object);
    }
    let Some((base, bytes)) = marker.object(object) else { return };
    for at in (base..base + bytes / 8 * 8).step_by(8) {
        let word = *(at as *const usize);
        if word.wrapping_sub(base) >= bytes {
            marker.visit_object_range((&raw const word) as usize, (&raw const word) as usize + 8);
        }
    }
}

/// Clears links whose object is dead.
unsafe fn clear_links(links: &mut crate::table::Map<Link>, marker: &mut dyn AmbiguousMarker) {
    links.retain(|place, link| {
        let alive = marker.is_marked(link.object);
        if !alive {
            *(place as *mut usize) = 0;
        }
        alive
    });
}

/// Forgets links that lie in dead objects.
unsafe fn forget_links(links: &mut crate::table::Map<Link>, marker: &mut dyn AmbiguousMarker) {
    links.retain(|place, _| marker.is_marked(place) || marker.object(place).is_none());
}

// --- running -------------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_should_invoke_finalizers() -> c_int {
    if !is_ready() {
        return 0;
    }
    let _held = lock::lock();
    c_int::from(state().queue_taken < state().queue.len())
}

unsafe fn take() -> Option<Queued> {
    let _held = lock::lock();
    let state = state();
    let queued = state.queue.as_slice().get(state.queue_taken).copied()?;
    state.queue_taken += 1;
    if state.queue_taken == state.queue.len() {
        state.queue.truncate(0);
        state.queue_taken = 0;
    }
    Some(queued)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_invoke_finalizers() -> c_int {
    if !is_ready() {
        return 0;
    }
    let mut count = 0;
    while let Some(queued) = take() {
        if let Some(function) = queued.finalizer.function {
            function(queued.object as *mut c_void, queued.finalizer.data);
        }
        core::hint::black_box(queued.object);
        count += 1;
    }
    count
}

/// After a cycle, without the lock: runs what is due, or tells the program.
pub unsafe fn notify() {
    if GC_should_invoke_finalizers() == 0 {
        return;
    }
    if read!(GC_finalize_on_demand) == 0 {
        let thread = register_current();
        // A finalizer that allocates does not run others inside itself.
        if !(*thread).in_finalizer.replace(true) {
            GC_invoke_finalizers();
            (*thread).in_finalizer.set(false);
        }
        return;
    }
    let hook: Hook = read!(GC_finalizer_notifier);
    if let Some(hook) = hook {
        let is_new = {
            let _held = lock::lock();
            let now = read!(GC_gc_no);
            core::mem::replace(&mut state().announced, now) != now
        };
        if is_new {
            hook();
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_finalize_all() {
    loop {
        {
            let _held = lock::lock();
            let state = state();
            let queue = &mut state.queue;
            state.finalizers.retain(|object, finalizer| {
                queue.push(Queued { object, finalizer: *finalizer });
                false
            });
            if state.queue_taken == state.queue.len() {
                return;
            }
        }
        GC_invoke_finalizers();
    }
}

// --- registering ---------------------------------------------------------

pub unsafe fn register(
    object: *mut c_void,
    finalizer: Finalizer,
    old_function: *mut FinalizeFn,
    old_data: *mut *mut c_void,
) {
    init::ensure();
    HAS_ANY.store(1, Relaxed);
    let _held = lock::lock();
    let known = heap().cell(object as usize).is_some_and(|cell| cell.base == object as usize);
    let old = if !known {
        // Not an object of the heap: never dead.
        None
    } else if finalizer.function.is_some() {
        state().finalizers.insert(object as usize, finalizer)
    } else {
        state().finalizers.remove(object as usize)
    };
    if !old_function.is_null() {
        *old_function = old.and_then(|old| old.function);
    }
    if !old_data.is_null() {
        *old_data = old.map_or(null_mut(), |old| old.data);
    }
}

macro_rules! register_functions {
    ($($name:ident, $debug:ident, $order:ident;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            object: *mut c_void,
            function: FinalizeFn,
            data: *mut c_void,
            old_function: *mut FinalizeFn,
            old_data: *mut *mut c_void,
        ) {
            let finalizer = Finalizer { function, data, order: Order::$order };
            register(object, finalizer, old_function, old_data);
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $debug(
            object: *mut c_void,
            function: FinalizeFn,
            data: *mut c_void,
            old_function: *mut FinalizeFn,
            old_data: *mut *mut c_void,
        ) {
            let finalizer = Finalizer { function, data, order: Order::$order };
            debug::register_finalizer(object, finalizer, old_function, old_data);
        }
    )* };
}

register_functions! {
    GC_register_finalizer, GC_debug_register_finalizer, Normal;
    GC_register_finalizer_ignore_self, GC_debug_register_finalizer_ignore_self, IgnoreSelf;
    GC_register_finalizer_no_order, GC_debug_register_finalizer_no_order, Any;
    GC_register_finalizer_unreachable, GC_debug_register_finalizer_unreachable, Unreachable;
}

const DUPLICATE: c_int = 1;
const NOT_FOUND: c_int = 4;

#[derive(Clone, Copy)]
enum Length {
    Short,
    Long,
}

unsafe fn links(length: Length) -> &'static mut crate::table::Map<Link> {
    match length {
        Length::Short => &mut state().short_links,
        Length::Long => &mut state().long_links,
    }
}

unsafe fn register_link(place: *mut *mut c_void, object: *const c_void, length: Length) -> c_int {
    init::ensure();
    if !(place as usize).is_multiple_of(8) || place.is_null() {
        say::abort(format_args!("a disappearing link at {place:p}, which is not aligned"));
    }
    let _held = lock::lock();
    if heap().cell(object as usize).is_none() {
        // Never dead, so never cleared.
        return 0;
    }
    let link = Link { object: object as usize };
    match links(length).insert(place as usize, link) {
        Some(_) => DUPLICATE,
        None => 0,
    }
}

unsafe fn unregister_link(place: *mut *mut c_void, length: Length) -> c_int {
    if !is_ready() || !(place as usize).is_multiple_of(8) {
        return 0;
    }
    let _held = lock::lock();
    c_int::from(links(length).remove(place as usize).is_some())
}

unsafe fn move_link(place: *mut *mut c_void, new_place: *mut *mut c_void, length: Length) -> c_int {
    if !is_ready() {
        return NOT_FOUND;
    }
    let _held = lock::lock();
    let links = links(length);
    let Some(&mut link) = links.get(place as usize) else { return NOT_FOUND };
    if place == new_place {
        return 0;
    }
    if links.get(new_place as usize).is_some() {
        return DUPLICATE;
    }
    links.remove(place as usize);
    links.insert(new_place as usize, link);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_disappearing_link(place: *mut *mut c_void) -> c_int {
    let object = crate::alloc::GC_base(place.cast());
    if object.is_null() {
        say::abort(format_args!("a disappearing link at {place:p}, which is in no object"));
    }
    register_link(place, object, Length::Short)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_general_register_disappearing_link(
    place: *mut *mut c_void,
    object: *const c_void,
) -> c_int {
    register_link(place, object, Length::Short)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_unregister_disappearing_link(place: *mut *mut c_void) -> c_int {
    unregister_link(place, Length::Short)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_disappearing_link(
    place: *mut *mut c_void,
    new_place: *mut *mut c_void,
) -> c_int {
    move_link(place, new_place, Length::Short)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_register_long_link(
    place: *mut *mut c_void,
    object: *const c_void,
) -> c_int {
    register_link(place, object, Length::Long)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_unregister_long_link(place: *mut *mut c_void) -> c_int {
    unregister_link(place, Length::Long)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_move_long_link(
    place: *mut *mut c_void,
    new_place: *mut *mut c_void,
) -> c_int {
    move_link(place, new_place, Length::Long)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_toggleref_add(object: *mut c_void, strong: c_int) -> c_int {
    init::ensure();
    let _held = lock::lock();
    if data::TOGGLEREF_FUNC.load(Relaxed) != 0 {
        state().toggles.push(Toggle { object: object as usize, strong: strong != 0 });
    }
    0
}
