//! Tables in mappings of their own: a growing array and a hash map.
//!
//! They call no allocator, so that they may grow while threads are stopped. A
//! mapping is replaced by one of twice the size and never shrinks. The map is
//! open addressing with linear probing; removed entries leave a mark until the
//! next growth, or until there are no others.
//!
//! Protection: the caller's; all are behind the one lock.

use core::ptr;

/// Key of a slot never used. Keys are addresses.
const EMPTY: usize = 0;
/// Key of a slot whose entry was removed.
const REMOVED: usize = 1;

/// A zeroed mapping; the process ends when there is none, since a table that
/// cannot grow would lose a root.
pub unsafe fn map(bytes: usize) -> *mut u8 {
    let place = libc::mmap(
        ptr::null_mut(),
        bytes,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
        0,
    );
    if place == libc::MAP_FAILED {
        crate::say::abort(format_args!("no memory for a table of {bytes} bytes"));
    }
    place.cast()
}

/// A growing array of plain values.
pub struct Array<T> {
    items: *mut T,
    len: usize,
    capacity: usize,
}

impl<T: Copy> Array<T> {
    pub const fn new() -> Array<T> {
        Array { items: ptr::null_mut(), len: 0, capacity: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_slice(&self) -> &[T] {
        match self.len {
            0 => &[],
            // SAFETY: `len` items have been written.
            len => unsafe { core::slice::from_raw_parts(self.items, len) },
        }
    }

    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match self.len {
            0 => &mut [],
            // SAFETY: as above.
            len => unsafe { core::slice::from_raw_parts_mut(self.items, len) },
        }
    }

    pub fn push(&mut self, item: T) {
        if self.len == self.capacity {
            self.grow();
        }
        // SAFETY: there is room for one more.
        unsafe { self.items.add(self.len).write(item) };
        self.len += 1;
    }

    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.len - 1;
        let slice = self.as_mut_slice();
        slice.swap(index, last);
        let item = slice[last];
        self.len = last;
        item
    }

    /// Keeps the items for which `keep` says so, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut kept = 0;
        for at in 0..self.len {
            let mut item = self.as_slice()[at];
            if keep(&mut item) {
                self.as_mut_slice()[kept] = item;
                kept += 1;
            }
        }
        self.len = kept;
    }

    fn grow(&mut self) {
        let capacity = (self.capacity * 2).max(4096 / size_of::<T>()).max(1);
        // SAFETY: the new mapping is larger; the old one is this array's.
        unsafe {
            let items: *mut T = map(capacity * size_of::<T>()).cast();
            if self.capacity != 0 {
                ptr::copy_nonoverlapping(self.items, items, self.len);
                libc::munmap(self.items.cast(), self.capacity * size_of::<T>());
            }
            self.items = items;
        }
        self.capacity = capacity;
    }
}

#[derive(Clone, Copy)]
struct Slot<V> {
    key: usize,
    value: V,
}

/// A map from addresses to plain values.
pub struct Map<V> {
    slots: *mut Slot<V>,
    /// A power of two, or zero.
    capacity: usize,
    len: usize,
    /// Slots used or removed.
    filled: usize,
}

impl<V: Copy> Map<V> {
    pub const fn new() -> Map<V> {
        Map { slots: ptr::null_mut(), capacity: 0, len: 0, filled: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn slots(&mut self) -> &mut [Slot<V>] {
        match self.capacity {
            0 => &mut [],
            // SAFETY: the mapping holds this many slots; zero is a valid one.
            capacity => unsafe { core::slice::from_raw_parts_mut(self.slots, capacity) },
        }
    }

    /// Where the key is, or the first place for it.
    fn find(&mut self, key: usize) -> Result<usize, usize> {
        let mask = self.capacity.wrapping_sub(1);
        let mut at = (key >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & mask;
        let mut free = None;
        let slots = self.slots();
        loop {
            match slots[at].key {
                EMPTY => return Err(free.unwrap_or(at)),
                REMOVED => {
                    free.get_or_insert(at);
                }
                found if found == key => return Ok(at),
                _ => {}
            }
            at = (at + 1) & mask;
        }
    }

    pub fn get(&mut self, key: usize) -> Option<&mut V> {
        if self.len == 0 {
            return None;
        }
        let at = self.find(key).ok()?;
        Some(&mut self.slots()[at].value)
    }

    /// Sets the value of a key and returns the old one.
    pub fn insert(&mut self, key: usize, value: V) -> Option<V> {
        debug_assert!(key > REMOVED);
        if self.filled * 4 >= self.capacity * 3 {
            self.grow();
        }
        match self.find(key) {
            Ok(at) => Some(core::mem::replace(&mut self.slots()[at].value, value)),
            Err(at) => {
                let fresh = self.slots()[at].key == EMPTY;
                self.slots()[at] = Slot { key, value };
                self.len += 1;
                self.filled += usize::from(fresh);
                None
            }
        }
    }

    pub fn remove(&mut self, key: usize) -> Option<V> {
        if self.len == 0 {
            return None;
        }
        let at = self.find(key).ok()?;
        self.slots()[at].key = REMOVED;
        self.len -= 1;
        Some(self.slots()[at].value)
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &mut V) -> bool) {
        let mut left = self.len;
        let mut removed = 0;
        for slot in self.slots() {
            if left == 0 {
                break;
            }
            if slot.key > REMOVED {
                left -= 1;
                if !keep(slot.key, &mut slot.value) {
                    slot.key = REMOVED;
                    removed += 1;
                }
            }
        }
        self.len -= removed;
        if self.len == 0 && self.filled != 0 {
            self.filled = 0;
            // SAFETY: zeroes are empty slots.
            unsafe { ptr::write_bytes(self.slots, 0, self.capacity) };
        }
    }

    pub fn for_each(&mut self, mut visit: impl FnMut(usize, &mut V)) {
        self.retain(|key, value| {
            visit(key, value);
            true
        });
    }

    fn grow(&mut self) {
        let capacity = (self.len * 2 + 1).next_power_of_two().max(64);
        // SAFETY: a fresh mapping of zeroes is a table of empty slots; the old
        // one is this map's.
        unsafe {
            let mut larger = Map {
                slots: map(capacity * size_of::<Slot<V>>()).cast(),
                capacity,
                len: 0,
                filled: 0,
            };
            self.for_each(|key, value| {
                larger.insert(key, *value);
            });
            if self.capacity != 0 {
                libc::munmap(self.slots.cast(), self.capacity * size_of::<Slot<V>>());
            }
            *self = larger;
        }
    }
}
