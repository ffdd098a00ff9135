//! Address space and the memory behind it.
//!
//! A [`Reservation`] is a range of addresses that costs nothing. Parts of it are
//! committed (usable, zero, still without memory until touched) and decommitted
//! (zero again, their memory returned). Dropping it releases the range.
//!
//! Not here: what the ranges are used for.

use crate::base::Address;

use super::{OsError, fault};

/// Bytes in a page of the processor: the unit of the calls here.
pub fn page_size() -> usize {
    sysconf(libc::_SC_PAGESIZE)
}

/// Bytes of memory in the machine.
pub fn physical_memory_bytes() -> usize {
    sysconf(libc::_SC_PHYS_PAGES).saturating_mul(page_size())
}

fn sysconf(name: libc::c_int) -> usize {
    // SAFETY: takes a number and reads the process's own constants.
    let value = unsafe { libc::sysconf(name) };
    usize::try_from(value).unwrap_or(0)
}

/// Bytes of memory the process occupies now; 0 when the system does not tell.
/// Reads a file of `/proc`, without allocating.
pub fn resident_bytes() -> usize {
    let mut text = [0u8; 128];
    let Some(text) = read_file(c"/proc/self/statm", &mut text) else { return 0 };
    // "size resident shared …", in pages.
    let field = text.split(|&byte| byte == b' ').nth(1).unwrap_or(&[]);
    let pages = field
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0usize, |sum, byte| sum * 10 + usize::from(byte - b'0'));
    pages * page_size()
}

fn read_file<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the path ends in a zero byte.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    // SAFETY: the pointer and the length come from one slice.
    let count = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
    // SAFETY: we opened `file` and nobody else knows it.
    unsafe { libc::close(file) };
    usize::try_from(count).ok().map(|count| &buffer[..count])
}

/// Asks the processor to bring the line of `address` into its caches. A hint: any
/// number is allowed.
#[inline(always)]
pub fn prefetch(address: Address) {
    let pointer = core::ptr::without_provenance::<i8>(address.as_usize());
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and reads nothing the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch never faults and reads nothing the program sees.
    unsafe {
        core::arch::asm!(
            "prfm pldl1keep, [{0}]",
            in(reg) pointer,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = pointer;
}

/// What a range would like its pages to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePages {
    /// 2 MiB pages: the first touch costs a quarter per byte, and fewer
    /// translations are missed; a touched byte may cost 2 MiB.
    Prefer,
    /// Small pages only.
    Avoid,
}

/// A range of addresses that belongs to the holder; released when dropped.
///
/// The provenance of the whole mapping is exposed, so that
/// [`Address::as_ptr`](crate::base::Address::as_ptr) is right for every address in it.
///
/// # Invariants
///
/// 1. `base` and `bytes` describe one mapping, or a part of one that this value
///    alone knows. `bytes` is a multiple of the page size and not 0.
#[derive(Debug)]
pub struct Reservation {
    base: Address,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` (rounded up to whole pages), beginning at a multiple of `align`.
    /// No byte may be touched until it is committed.
    ///
    /// # Errors
    ///
    /// When the system refuses so much address space.
    ///
    /// # Panics
    ///
    /// When `bytes` is 0 or `align` is not a power of two.
    pub fn reserve(bytes: usize, align: usize) -> Result<Reservation, OsError> {
        assert!(bytes != 0, "a reservation of no bytes");
        assert!(align.is_power_of_two(), "alignment {align} is not a power of two");
        let too_large = OsError { call: "mmap", errno: libc::ENOMEM };
        let page = page_size();
        let bytes = bytes.checked_next_multiple_of(page).ok_or(too_large)?;
        let whole = Reservation::map(bytes)?;
        if whole.base.is_aligned(align) {
            return Ok(whole);
        }
        // Once more, with room to cut an aligned piece out.
        drop(whole);
        let room = bytes.checked_add(align - page).ok_or(too_large)?;
        let whole = core::mem::ManuallyDrop::new(Reservation::map(room)?);
        let end = whole.base.add(whole.bytes);
        let skip = whole.base.as_usize().wrapping_neg() & (align - 1);
        let base = whole.base.add(skip);
        // SAFETY: head and tail are parts of the mapping just made, of which
        // nobody has learned yet.
        unsafe { unmap(whole.base, skip) };
        let after = base.add(bytes);
        // SAFETY: as above.
        unsafe { unmap(after, end.offset_from(after)) };
        Ok(Reservation { base, bytes })
    }

    fn map(bytes: usize) -> Result<Reservation, OsError> {
        fault::check("mmap", libc::ENOMEM)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: without an address and without MAP_FIXED the system picks a
        // range that nobody has.
        let start =
            unsafe { libc::mmap(core::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(OsError::last("mmap"));
        }
        Ok(Reservation { base: Address::from_ptr(start), bytes })
    }

    /// The first address.
    #[inline]
    pub fn base(&self) -> Address {
        self.base
    }

    /// The size of the range.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes `bytes` from `offset` on readable and writable, in whole pages. They
    /// are zero, and have no memory until touched; committing a committed part
    /// again changes nothing.
    ///
    /// # Errors
    ///
    /// When the system refuses to promise the memory, or has too many mappings.
    ///
    /// # Panics
    ///
    /// When the part is not inside the range, or `offset` not at a page.
    pub fn commit(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        let (start, bytes) = self.part(offset, bytes);
        fault::check("mprotect", libc::ENOMEM)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: by `part` and invariant 1 these pages are ours; more access
        // breaks nothing.
        if unsafe { libc::mprotect(start, bytes, access) } != 0 {
            return Err(OsError::last("mprotect"));
        }
        Ok(())
    }

    /// Returns the memory of `bytes` from `offset` on. They stay committed and
    /// read as zero. The caller must not need what they held.
    ///
    /// # Errors
    ///
    /// When the system refuses (locked memory); the bytes are then as before.
    ///
    /// # Panics
    ///
    /// When the part is not inside the range, or does not begin and end at pages.
    pub fn decommit(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        assert!(bytes.is_multiple_of(page_size()), "{bytes} bytes are not whole pages");
        let (start, bytes) = self.part(offset, bytes);
        fault::check("madvise", libc::ENOMEM)?;
        // SAFETY: by `part` and invariant 1 these pages are ours, and the caller
        // gives their contents up.
        if unsafe { libc::madvise(start, bytes, libc::MADV_DONTNEED) } != 0 {
            return Err(OsError::last("madvise"));
        }
        Ok(())
    }

    /// Says which pages the system should use for `bytes` from `offset` on. A refusal
    /// is ignored. Parts with different advice are separate mappings to the system.
    ///
    /// # Panics
    ///
    /// When the part is not inside the range, or `offset` not at a page.
    pub fn advise_huge(&self, offset: usize, bytes: usize, advice: HugePages) {
        let (start, bytes) = self.part(offset, bytes);
        let advice = match advice {
            HugePages::Prefer => libc::MADV_HUGEPAGE,
            HugePages::Avoid => libc::MADV_NOHUGEPAGE,
        };
        // SAFETY: by `part` and invariant 1 these pages are ours; the advice
        // changes no contents.
        unsafe { libc::madvise(start, bytes, advice) };
    }

    /// Checks a part of the range and rounds its end up to a page.
    fn part(&self, offset: usize, bytes: usize) -> (*mut libc::c_void, usize) {
        let page = page_size();
        let end = offset.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(page));
        assert!(
            offset.is_multiple_of(page) && end.is_some_and(|end| end <= self.bytes),
            "bytes {offset}+{bytes} of a reservation of {}",
            self.bytes
        );
        (self.base.add(offset).as_ptr(), bytes.next_multiple_of(page))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: by invariant 1 nobody else has the range, and this value ends.
        unsafe { unmap(self.base, self.bytes) };
    }
}

/// Releases a range of addresses.
///
/// # Safety
///
/// The range is made of whole mapped pages, and nobody uses it any more.
unsafe fn unmap(base: Address, bytes: usize) {
    if bytes == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let result = unsafe { libc::munmap(base.as_ptr(), bytes) };
    // It fails for a bad range only, or when splitting a mapping would make too
    // many of them; then the range stays reserved, which harms nobody.
    debug_assert_eq!(result, 0, "munmap of {bytes} bytes at {base:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(memory: &Reservation, offset: usize) -> *mut u8 {
        memory.base().add(offset).as_ptr()
    }

    #[test]
    fn reservation_is_aligned_and_costs_no_memory() {
        for align in [1, 4096, 8192, 1 << 16, 2 << 20, 1 << 30] {
            let memory = Reservation::reserve(3 << 20, align).unwrap();
            assert!(memory.base().is_aligned(align));
            assert_eq!(memory.bytes(), 3 << 20);
        }
        let before = resident_bytes();
        let memory = Reservation::reserve(64 << 30, 2 << 20).unwrap();
        memory.commit(0, 1 << 30).unwrap();
        assert!(resident_bytes() < before + (64 << 20));
    }

    #[test]
    fn too_much_address_space_is_refused() {
        assert!(Reservation::reserve(1 << 50, 4096).is_err());
        assert!(Reservation::reserve(usize::MAX, 4096).is_err());
        assert!(Reservation::reserve(usize::MAX - 4095, 1 << 30).is_err());
    }

    #[test]
    fn decommitted_memory_is_zero_and_usable() {
        let page = page_size();
        let memory = Reservation::reserve(16 * page, 1).unwrap();
        memory.commit(page, 8 * page).unwrap();
        for offset in page..9 * page {
            // SAFETY: committed above.
            unsafe { assert_eq!(byte(&memory, offset).replace(7), 0) };
        }
        memory.decommit(3 * page, 2 * page).unwrap();
        memory.commit(page, 8 * page).unwrap();
        for offset in page..9 * page {
            let expected = if (3 * page..5 * page).contains(&offset) { 0 } else { 7 };
            // SAFETY: committed above.
            unsafe { assert_eq!(byte(&memory, offset).replace(9), expected, "{offset}") };
        }
        memory.advise_huge(0, 16 * page, HugePages::Prefer);
        memory.advise_huge(0, page, HugePages::Avoid);
    }

    #[test]
    #[should_panic(expected = "of a reservation of")]
    fn committing_outside_panics() {
        let memory = Reservation::reserve(4 * page_size(), 1).unwrap();
        let _ = memory.commit(2 * page_size(), 2 * page_size() + 1);
    }

    #[test]
    fn faults_replace_the_system_errors() {
        let step = || -> Result<(), OsError> {
            let memory = Reservation::reserve(1 << 20, 1)?;
            memory.commit(0, 1 << 20)?;
            memory.decommit(0, 1 << 20)
        };
        for (n, call) in [(1, "mmap"), (2, "mprotect"), (3, "madvise")] {
            let _guard = fault::fail_nth(n);
            assert_eq!(step(), Err(OsError { call, errno: libc::ENOMEM }));
        }
        let guard = fault::fail_nth(4);
        assert_eq!((step(), guard.calls()), (Ok(()), 3));
    }

    #[test]
    fn resident_bytes_follow_touches() {
        let bytes = 64 << 20;
        let memory = Reservation::reserve(bytes, 1).unwrap();
        memory.commit(0, bytes).unwrap();
        let before = resident_bytes();
        assert!(before > 0 && before < physical_memory_bytes());
        for offset in (0..bytes).step_by(page_size()) {
            // SAFETY: committed above.
            unsafe { byte(&memory, offset).write(1) };
        }
        let touched = resident_bytes();
        assert!(touched > before + bytes / 2, "{before} then {touched}");
        memory.decommit(0, bytes).unwrap();
        let after = resident_bytes();
        assert!(after < touched - bytes / 2, "{touched} then {after}");
    }

    #[test]
    fn prefetch_takes_any_number() {
        for number in [0, 1, usize::MAX, 1 << 47, 1 << 63] {
            prefetch(Address::new(number));
        }
    }
}
