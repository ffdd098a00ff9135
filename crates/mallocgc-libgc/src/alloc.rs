//! Allocation: `GC_malloc` and what is built of it, `GC_free`, `GC_realloc`.
//!
//! A request of up to 32 KiB, with a byte more while pointers may point behind
//! an object's last, is rounded up to 16 bytes and takes a cell of its size
//! class. On the fast path, up to 512 bytes, the thread enters the heap, bumps its
//! cursor, and leaves.
//!
//! A cell that is freed explicitly stays an object as far as the heap is concerned. It
//! goes to a list of its thread, from which the next request of its kind and
//! size is served; every collection drops all lists, and what was on them is dead
//! and swept as everything else. So nothing of the heap needs to know of it.
//!
//! Protection: a thread touches its lists and its mutator only while it is
//! inside the heap; a collection drops the lists when nobody is inside.

use crate::state::{heap, is_ready, state};
use crate::threads::{Thread, register_current};
use crate::{collect, data, init, lock, say, settings, statistics, tls};
use core::ffi::c_void;
use core::ptr::{null_mut, write_bytes};
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::{c_char, c_int};
use mallocgc::base::SizeClass;
use mallocgc::layout::TypeLayout;
use mallocgc::raw::{AllocClass, AllocError, AllocFlags, CellInfo, CellWords, Layout, QuickClass};

/// Kinds of the interface: without references, and any word may be one.
pub const ATOMIC: usize = 0;
pub const NORMAL: usize = 1;
/// Uncollectable objects, with and without references.
pub const UNCOLLECTABLE: usize = 2;
pub const ATOMIC_UNCOLLECTABLE: usize = 3;

/// Requests above are large: spans of their own.
pub const SMALL_MAX: usize = 32 << 10;
/// Cells up to this size are kept when freed explicitly.
const LISTED_MAX: usize = 2048;
const LISTS_PER_KIND: usize = LISTED_MAX / 16 + 1;
pub const FREE_LISTS: usize = 2 * LISTS_PER_KIND;

/// Bytes added to a request: one, while a pointer behind the last byte counts.
pub static EXTRA_BYTES: AtomicUsize = AtomicUsize::new(1);

/// The classes of cells without references, and of those where any word may
/// be one; written once, before `IS_READY`.
struct Classes([[Option<AllocClass>; 68]; 2]);
static mut CLASSES: Classes = Classes([[None; 68]; 2]);
/// The same for the shortest path: by kind, and size in units of 16 bytes.
static mut QUICK: [[QuickClass; LISTS_PER_KIND]; 2] = [[QuickClass::NONE; LISTS_PER_KIND]; 2];
static mut ANY_WORD: Option<Layout> = None;

pub unsafe fn make_classes(mutator: &mallocgc::raw::Mutator) -> Result<(), AllocError> {
    let any_word = heap().layout(&TypeLayout::conservative(0)).expect("a heap has room for one");
    ANY_WORD = Some(any_word);
    for class in 1..68 {
        let bytes = SizeClass::new(class).cell_size();
        for (kind, layout) in [(ATOMIC, Layout::NOSCAN), (NORMAL, any_word)] {
            CLASSES.0[kind][usize::from(class)] = Some(mutator.alloc_class(bytes, layout)?);
        }
    }
    for kind in [ATOMIC, NORMAL] {
        let quick = core::array::from_fn(|units| {
            let class = SizeClass::for_size((units * 16).max(16)).index();
            CLASSES.0[kind][class].map_or(QuickClass::NONE, QuickClass::of)
        });
        QUICK[kind] = quick;
    }
    Ok(())
}

pub unsafe fn any_word() -> Layout {
    ANY_WORD.expect("set with the classes")
}

/// The bytes a request takes; at least 16.
#[inline(always)]
fn rounded(bytes: usize) -> usize {
    // Relaxed: a setting made before the first allocation.
    ((bytes + EXTRA_BYTES.load(Relaxed)).max(1) + 15) & !15
}

#[inline(always)]
unsafe fn allocate<const KIND: usize>(bytes: usize) -> *mut c_void {
    let thread = tls::current();
    if !thread.is_null() && bytes < LISTED_MAX {
        // Relaxed: as in `rounded`.
        let units = (bytes + EXTRA_BYTES.load(Relaxed)).div_ceil(16);
        let mutator = (*thread).mutator.assume_init_ref();
        if mutator.enter_idle() {
            let list =
                (&raw mut (*thread).free).cast::<*mut u8>().add(KIND * LISTS_PER_KIND + units);
            let cell = *list;
            let place = if cell.is_null() {
                let made = mutator.quick(QUICK[KIND][units]);
                made.map_or(null_mut(), |place| place.as_ptr())
            } else {
                *list = *cell.cast::<*mut u8>();
                cell.cast::<[usize; 2]>().write([0; 2]);
                cell
            };
            mutator.leave();
            if !place.is_null() {
                return place.cast();
            }
        }
    }
    allocate_slow(bytes, KIND)
}

/// Puts a list of up to `count` cells of `bytes`, a multiple of 16, into `out`, linked
/// through their first words: as many as are at hand. Whether that is at least one.
///
/// `out` is written last: a client that empties its lists when it hears of a collection
/// must find this one as soon as it looks. Until then cells with references are kept by
/// their links; those without are not, and are thrown away if there was a collection.
pub unsafe fn list(kind: usize, bytes: usize, count: usize, out: *mut *mut c_void) -> bool {
    let thread = tls::current();
    if thread.is_null() || kind > NORMAL || bytes > LISTED_MAX {
        return false;
    }
    let mutator = (*thread).mutator.assume_init_ref();
    if !mutator.enter_idle() {
        return false;
    }
    let class = QUICK[kind][bytes / 16];
    let mut first = null_mut::<c_void>();
    let mut last = &raw mut first;
    for _ in 0..count {
        let Some(cell) = mutator.quick(class) else { break };
        *last = cell.as_ptr().cast();
        last = cell.as_ptr().cast();
    }
    *last = null_mut();
    let cycles = heap().cycles();
    mutator.leave();
    if kind == ATOMIC && heap().cycles() != cycles {
        return false;
    }
    out.write_volatile(first);
    !first.is_null()
}

/// A cell for `bytes`, rounded; null when there is none.
unsafe fn small(thread: &mut Thread, kind: usize, bytes: usize) -> *mut u8 {
    let mutator = thread.mutator.assume_init_ref();
    let class = CLASSES.0[kind][SizeClass::for_size(bytes).index()];
    let class = class.expect("made with the heap");
    mutator.enter();
    let made = mutator.alloc(class);
    mutator.leave();
    made.map_or(null_mut(), |place| place.as_ptr())
}

/// Where everything rare happens: set-up, registering, collecting, large
/// objects, running out.
#[cold]
#[inline(never)]
pub unsafe fn allocate_slow(bytes: usize, kind: usize) -> *mut c_void {
    let layout = || if kind == ATOMIC { Layout::NOSCAN } else { any_word() };
    let request = match bytes.checked_add(16 + 1) {
        Some(_) => rounded(bytes),
        None => return out_of_memory(bytes),
    };
    let thread = register_current();
    if request > LISTED_MAX && kind <= NORMAL {
        let place = take_freed(request, kind == ATOMIC);
        if !place.is_null() {
            return place.cast();
        }
    }
    obtain(thread, bytes, || {
        let place = match request <= SMALL_MAX {
            true => small(&mut *thread, kind, request),
            false => large(thread, request, layout(), kind == ATOMIC),
        };
        place.cast()
    })
}

/// Collects if that is due, and tries until there is memory or no hope.
pub unsafe fn obtain(
    thread: *mut Thread,
    bytes: usize,
    mut attempt: impl FnMut() -> *mut c_void,
) -> *mut c_void {
    let mutator = (*thread).mutator.assume_init_ref();
    let is_due = mutator.enter();
    mutator.leave();
    // Relaxed: a setting.
    if is_due && settings::NOT_AUTOMATIC.load(Relaxed) == 0 {
        collect::collect(collect::Why::Due);
    }
    let place = attempt();
    if !place.is_null() {
        return place;
    }
    for _ in 0..2 {
        collect::collect(collect::Why::Short);
        let place = attempt();
        if !place.is_null() {
            return place;
        }
    }
    out_of_memory(bytes)
}

unsafe fn large(thread: *mut Thread, bytes: usize, layout: Layout, is_plain: bool) -> *mut u8 {
    if is_over_limit(bytes) {
        return null_mut();
    }
    let mutator = (*thread).mutator.assume_init_ref();
    mutator.enter();
    let flags = if is_plain { AllocFlags::NO_ZERO } else { AllocFlags::NONE };
    let made = mutator.mallocgc_aligned(bytes, 16, layout, flags);
    mutator.leave();
    made.map_or(null_mut(), |place| place.as_ptr())
}

/// Whether a request can never be met: the heap's own test is of whole spans.
unsafe fn is_over_limit(bytes: usize) -> bool {
    bytes > heap().range().1 / 2
}

/// An object of a described layout; zeroed.
pub unsafe fn described(bytes: usize, layout: Layout) -> *mut c_void {
    let Some(request) = bytes.checked_add(17).map(|_| rounded(bytes)) else {
        return out_of_memory(bytes);
    };
    let thread = register_current();
    obtain(thread, bytes, || {
        if request > SMALL_MAX {
            return large(thread, request, layout, layout.is_noscan()).cast();
        }
        let mutator = (*thread).mutator.assume_init_ref();
        mutator.enter();
        let made = mutator.alloc_class(request, layout).and_then(|class| mutator.alloc(class));
        mutator.leave();
        made.map_or(null_mut(), |place| place.as_ptr().cast())
    })
}

#[cold]
unsafe fn out_of_memory(bytes: usize) -> *mut c_void {
    match read!(GC_oom_fn) {
        Some(hook) => hook(bytes),
        None => null_mut(),
    }
}

/// Larger objects that were freed since the last cycle, to be used again before it.
///
/// Protection: the lock; the count is read without it.
static mut FREED_LARGE: [Freed; FREED_MOST] = [Freed::NONE; FREED_MOST];
static FREED_COUNT: AtomicUsize = AtomicUsize::new(0);
const FREED_MOST: usize = 64;

#[derive(Clone, Copy)]
struct Freed {
    object: *mut u8,
    bytes: usize,
    is_plain: bool,
}

impl Freed {
    const NONE: Freed = Freed { object: null_mut(), bytes: 0, is_plain: false };
}

unsafe fn freed() -> &'static mut [Freed] {
    let freed = &raw mut FREED_LARGE;
    // Relaxed: the caller has the lock.
    &mut (&mut *freed)[..FREED_COUNT.load(Relaxed)]
}

/// Notes a freed object, which reads as zero if it may hold references. Of too many the one noted last is
/// left to the next cycle.
unsafe fn keep_freed(object: *mut u8, bytes: usize, is_plain: bool) {
    let _held = lock::lock();
    if freed().iter().any(|freed| freed.object == object) {
        say::abort(format_args!("GC_free: {object:p} is free already"));
    }
    let count = FREED_COUNT.load(Relaxed).min(FREED_MOST - 1);
    FREED_COUNT.store(count + 1, Relaxed);
    freed()[count] = Freed { object, bytes, is_plain };
}

/// An object freed since the last cycle that is large enough and wastes little; null when there is none.
unsafe fn take_freed(bytes: usize, is_plain: bool) -> *mut u8 {
    // Relaxed: a hint.
    if FREED_COUNT.load(Relaxed) == 0 {
        return null_mut();
    }
    let _held = lock::lock();
    let fits = |freed: &Freed| {
        freed.is_plain == is_plain
            && freed.bytes >= bytes
            && freed.bytes - bytes <= bytes / 8 + 4096
    };
    let all = freed();
    let Some(at) = all.iter().position(fits) else { return null_mut() };
    let found = all[at];
    all[at] = all[all.len() - 1];
    FREED_COUNT.fetch_sub(1, Relaxed);
    found.object
}

/// Nobody is inside the heap: what is on the lists is dead.
pub unsafe fn drop_free_cells() {
    // Relaxed: the collection has the lock.
    FREED_COUNT.store(0, Relaxed);
    let mut at = state().threads;
    while !at.is_null() {
        (*at).free = [null_mut(); FREE_LISTS];
        at = (*at).next;
    }
}

// --- freeing -------------------------------------------------------------

/// What a freed cell's second word is, exclusive-or its address: so that
/// freeing it again is noticed.
const FREED: usize = 0x6d61_6c66_7265_6564;

unsafe fn find(object: *mut c_void, name: &str) -> CellInfo {
    if is_ready()
        && let Some(cell) = heap().cell(object as usize)
        && (cell.base == object as usize)
    {
        return cell;
    }
    say::abort(format_args!("{name}: {object:p} is not the first byte of an object"))
}

unsafe fn free_cell(object: *mut c_void, cell: CellInfo) {
    let thread = register_current();
    if cell.bytes > LISTED_MAX || cell.words == CellWords::Described {
        // References in it keep nothing alive.
        if cell.words != CellWords::Plain {
            write_bytes(object.cast::<u8>(), 0, cell.bytes);
        }
        // What is described is swept by the next collection.
        if cell.words != CellWords::Described {
            keep_freed(object.cast(), cell.bytes, cell.words == CellWords::Plain);
        }
        return;
    }
    let kind = if cell.words == CellWords::Plain { ATOMIC } else { NORMAL };
    let words = object.cast::<[usize; 2]>();
    let tag = FREED ^ object as usize;
    let mutator = (*thread).mutator.assume_init_ref();
    mutator.enter();
    let list = &mut (*thread).free[kind * LISTS_PER_KIND + cell.bytes / 16];
    let mut is_twice = false;
    if (*words)[1] == tag {
        let mut at = *list;
        while !at.is_null() && !is_twice {
            is_twice = at == object.cast();
            at = *at.cast::<*mut u8>();
        }
    }
    if !is_twice {
        if kind == NORMAL {
            write_bytes(object.cast::<u8>(), 0, cell.bytes);
        }
        *words = [*list as usize, tag];
        *list = object.cast();
    }
    mutator.leave();
    if is_twice {
        say::abort(format_args!("GC_free: {object:p} is free already"));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_free(object: *mut c_void) {
    if object.is_null() {
        return;
    }
    let cell = find(object, "GC_free");
    let mut freed = cell.bytes;
    if HAS_UNCOLLECTABLE.load(Relaxed) != 0 {
        let _held = lock::lock();
        if state().uncollectable.remove(object as usize).is_some() {
            let bytes = read!(GC_non_gc_bytes);
            set!(GC_non_gc_bytes, bytes.saturating_sub(cell.bytes));
            freed = cell.bytes;
        }
    }
    // Relaxed: a count.
    FREED_BYTES.fetch_add(freed, Relaxed);
    if crate::finalize::HAS_ANY.load(Relaxed) != 0 {
        crate::finalize::forget_object(object as usize);
    }
    if crate::disclaim::HAS_ANY.load(Relaxed) != 0 {
        crate::disclaim::forget_object(object as usize);
    }
    free_cell(object, cell);
}

/// Uncollectable objects ever made; freed bytes since the last cycle.
static HAS_UNCOLLECTABLE: AtomicUsize = AtomicUsize::new(0);
pub static FREED_BYTES: AtomicUsize = AtomicUsize::new(0);

// --- the interface -------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc(bytes: usize) -> *mut c_void {
    allocate::<NORMAL>(bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_atomic(bytes: usize) -> *mut c_void {
    allocate::<ATOMIC>(bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_ignore_off_page(bytes: usize) -> *mut c_void {
    allocate::<NORMAL>(bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_atomic_ignore_off_page(bytes: usize) -> *mut c_void {
    allocate::<ATOMIC>(bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_stubborn(bytes: usize) -> *mut c_void {
    allocate::<NORMAL>(bytes)
}

unsafe fn uncollectable(object: *mut c_void) -> *mut c_void {
    if !object.is_null() {
        // Relaxed: who frees the object has it from here.
        HAS_UNCOLLECTABLE.store(1, Relaxed);
        let bytes = GC_size(object);
        let _held = lock::lock();
        state().uncollectable.insert(object as usize, ());
        let sum = read!(GC_non_gc_bytes);
        set!(GC_non_gc_bytes, sum + bytes);
    }
    object
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_uncollectable(bytes: usize) -> *mut c_void {
    uncollectable(allocate::<NORMAL>(bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_atomic_uncollectable(bytes: usize) -> *mut c_void {
    uncollectable(allocate::<ATOMIC>(bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_generic_malloc_uncollectable(bytes: usize, kind: c_int) -> *mut c_void {
    uncollectable(crate::kinds::GC_generic_malloc(bytes, kind))
}

unsafe fn is_uncollectable(object: *mut c_void) -> bool {
    if HAS_UNCOLLECTABLE.load(Relaxed) == 0 {
        return false;
    }
    let _held = lock::lock();
    state().uncollectable.get(object as usize).is_some()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_realloc(object: *mut c_void, bytes: usize) -> *mut c_void {
    if object.is_null() {
        return GC_malloc(bytes);
    }
    if bytes == 0 {
        GC_free(object);
        return null_mut();
    }
    let cell = find(object, "GC_realloc");
    let extra = EXTRA_BYTES.load(Relaxed);
    let fits = bytes.checked_add(extra).is_some_and(|bytes| bytes <= cell.bytes);
    if fits && bytes >= cell.bytes / 2 {
        // In place; what is cut off keeps nothing alive.
        if cell.words != CellWords::Plain {
            write_bytes(object.cast::<u8>().add(bytes), 0, cell.bytes - bytes);
        }
        return object;
    }
    let is_uncollectable = is_uncollectable(object);
    let made = match (cell.words, is_uncollectable) {
        (CellWords::Plain, false) => GC_malloc_atomic(bytes),
        (CellWords::Plain, true) => GC_malloc_atomic_uncollectable(bytes),
        (CellWords::Ambiguous, true) => GC_malloc_uncollectable(bytes),
        (CellWords::Ambiguous, false) => GC_malloc(bytes),
        (CellWords::Described, _) => crate::kinds::allocate_like(object, bytes),
    };
    if !made.is_null() {
        core::ptr::copy_nonoverlapping(object.cast::<u8>(), made.cast(), bytes.min(cell.bytes));
        GC_free(object);
    }
    made
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_strdup(text: *const c_char) -> *mut c_char {
    if text.is_null() {
        return null_mut();
    }
    let bytes = libc::strlen(text) + 1;
    let copy = GC_malloc_atomic(bytes);
    if copy.is_null() {
        *libc::__errno_location() = libc::ENOMEM;
    } else {
        core::ptr::copy_nonoverlapping(text.cast::<u8>(), copy.cast(), bytes);
    }
    copy.cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_strndup(text: *const c_char, most: usize) -> *mut c_char {
    let bytes = libc::strnlen(text, most);
    let copy = GC_malloc_atomic(bytes + 1).cast::<u8>();
    if copy.is_null() {
        *libc::__errno_location() = libc::ENOMEM;
    } else {
        core::ptr::copy_nonoverlapping(text.cast::<u8>(), copy, bytes);
        *copy.add(bytes) = 0;
    }
    copy.cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_memalign(align: usize, bytes: usize) -> *mut c_void {
    if align <= 16 {
        return GC_malloc(bytes);
    }
    if !align.is_power_of_two() || bytes >= usize::MAX / 2 || align > usize::MAX / 4 {
        return out_of_memory(bytes);
    }
    if align <= 4096 {
        let request = rounded(bytes);
        let thread = register_current();
        return obtain(thread, bytes, || {
            let mutator = (*thread).mutator.assume_init_ref();
            mutator.enter();
            // A size that its class aligns: a layout's first objects may lie
            // behind header words otherwise.
            let made = mutator.mallocgc_aligned(request, align, any_word(), AllocFlags::NONE);
            mutator.leave();
            made.map_or(null_mut(), |place| place.as_ptr().cast())
        });
    }
    // Larger alignments point into an object, which interior pointers keep.
    let object = GC_malloc(bytes + align - 1);
    let place = (object as usize).next_multiple_of(align);
    if place != object as usize && read!(GC_all_interior_pointers) == 0 {
        heap().ambiguous().register(place - object as usize);
    }
    place as *mut c_void
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_posix_memalign(
    out: *mut *mut c_void,
    align: usize,
    bytes: usize,
) -> c_int {
    if !align.is_power_of_two() || align < 8 {
        return libc::EINVAL;
    }
    let place = GC_memalign(align, bytes);
    if place.is_null() {
        return libc::ENOMEM;
    }
    *out = place;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_base(place: *mut c_void) -> *mut c_void {
    if !is_ready() {
        return null_mut();
    }
    heap().cell(place as usize).map_or(null_mut(), |cell| cell.base as *mut c_void)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_is_heap_ptr(place: *const c_void) -> c_int {
    let (low, high) = (read!(GC_least_plausible_heap_addr), read!(GC_greatest_plausible_heap_addr));
    let place = place as usize;
    if place < low as usize || place >= high as usize || !is_ready() {
        return 0;
    }
    c_int::from(place - heap().range().0.as_usize() < heap().committed_bytes())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_size(object: *const c_void) -> usize {
    if object.is_null() || !is_ready() {
        return 0;
    }
    heap().cell(object as usize).map_or(0, |cell| cell.bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_malloc_many(bytes: usize) -> *mut c_void {
    let mut list = null_mut();
    crate::kinds::many(rounded(bytes), NORMAL as c_int, &raw mut list);
    list
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_expand_hp(bytes: usize) -> c_int {
    init::ensure();
    // Address range is reserved already and memory is taken when it is used: what a larger
    // heap means is that there is a collection only when it is full.
    let _held = lock::lock();
    let expanded = statistics::GC_get_heap_size().saturating_add(bytes);
    let limit = state().max_heap_bytes;
    if expanded > heap().range().1 || (limit != 0 && expanded > limit) {
        return 0;
    }
    // Relaxed: it changes under the lock.
    statistics::EXPANDED_BYTES.store(expanded, Relaxed);
    // The heap's minimum is meant for growth by 100 percent.
    heap().set_min_heap_bytes((expanded as u128 * 100 / u128::from(init::percent())) as usize);
    1
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_abort_on_oom() {
    say::abort(format_args!("out of memory"));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_set_oom_fn(hook: data::OomFn) {
    set!(GC_oom_fn, hook);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn GC_get_oom_fn() -> data::OomFn {
    read!(GC_oom_fn)
}

/// An object without references that reads as zero.
pub unsafe fn GC_malloc_atomic_zeroed(bytes: usize) -> *mut c_void {
    let object = GC_malloc_atomic(bytes);
    if !object.is_null() {
        write_bytes(object.cast::<u8>(), 0, bytes);
    }
    object
}
