//! The operating system: memory, threads, clock. The only user of `libc`.

pub mod backtrace;

use crate::base::Address;

/// Writes to standard error, ignoring failure: there is nobody to tell.
pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: the pointer and the length come from one slice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError {
    pub call: &'static str,
    pub errno: i32,
}
impl core::fmt::Display for OsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.call, self.errno)
    }
}
impl std::error::Error for OsError {}
#[derive(Debug)]
pub struct Reservation {
    base: Address,
    bytes: usize,
    map: usize,
    map_bytes: usize,
}
pub enum HugePages {
    Prefer,
    Avoid,
}
fn err(call: &'static str) -> OsError {
    OsError { call, errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}
impl Reservation {
    pub fn reserve(bytes: usize, align: usize) -> Result<Reservation, OsError> {
        let map_bytes = bytes + align;
        let p = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                map_bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(err("mmap"));
        }
        let map = p.expose_provenance();
        Ok(Reservation {
            base: Address::new((map + align - 1) & !(align - 1)),
            bytes,
            map,
            map_bytes,
        })
    }
    pub fn base(&self) -> Address {
        self.base
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn commit(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        if unsafe {
            libc::mprotect(
                self.base.add(offset).as_ptr(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        } != 0
        {
            return Err(err("mprotect"));
        }
        Ok(())
    }
    pub fn decommit(&self, offset: usize, bytes: usize) -> Result<(), OsError> {
        if unsafe { libc::madvise(self.base.add(offset).as_ptr(), bytes, libc::MADV_DONTNEED) } != 0
        {
            return Err(err("madvise"));
        }
        Ok(())
    }
    pub fn advise_huge(&self, offset: usize, bytes: usize, _: HugePages) {
        unsafe { libc::madvise(self.base.add(offset).as_ptr(), bytes, libc::MADV_HUGEPAGE) };
    }
}
impl Drop for Reservation {
    fn drop(&mut self) {
        unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(self.map), self.map_bytes) };
    }
}
fn clock(id: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(id, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
pub fn now_nanos() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}
pub fn thread_cpu_nanos() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}
pub fn process_cpu_nanos() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}
pub fn wall_clock_nanos() -> u64 {
    clock(libc::CLOCK_REALTIME)
}
pub fn thread_id() -> u32 {
    unsafe { libc::gettid() as u32 }
}
pub fn random_seed() -> u64 {
    now_nanos()
}
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
pub fn physical_memory_bytes() -> usize {
    unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) as usize * 4096 }
}
pub fn spawn(
    name: &str,
    f: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, OsError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(f)
        .map_err(|e| OsError { call: "clone", errno: e.raw_os_error().unwrap_or(0) })
}
#[inline(always)]
pub fn light_fence() {
    crate::base::sync::fence(crate::base::sync::Ordering::SeqCst)
}
pub fn heavy_fence() {
    crate::base::sync::fence(crate::base::sync::Ordering::SeqCst)
}
#[inline(always)]
pub fn prefetch(address: Address) {
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.as_ptr())
    }
}
pub unsafe fn zero_streaming(at: *mut u8, bytes: usize) {
    unsafe { core::ptr::write_bytes(at, 0, bytes) }
}
