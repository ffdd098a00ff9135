//! stub
use crate::base::sync::{Lock, Rank};
use crate::os::{OsError, Reservation};
use core::ptr::NonNull;
#[derive(Clone, Copy, Debug)]
pub enum MetaStat {
    Spans,
    Caches,
    Profile,
    Marking,
    Specials,
    Layouts,
    Other,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaError {
    ZeroSize,
    AlignNotPowerOfTwo(usize),
    AlignTooLarge(usize),
    OutOfMemory(OsError),
}
#[derive(Debug)]
pub struct Meta {
    lock: Lock<(Option<Reservation>, usize)>,
}
impl Meta {
    pub fn new() -> Meta {
        Meta { lock: Lock::new(Rank::Meta, (None, 0)) }
    }
    pub fn alloc(&self, bytes: usize, align: usize, _: MetaStat) -> Result<NonNull<u8>, MetaError> {
        let mut g = self.lock.lock();
        if g.0.is_none() {
            let r = Reservation::reserve(1 << 30, 4096).map_err(MetaError::OutOfMemory)?;
            r.commit(0, 1 << 30).map_err(MetaError::OutOfMemory)?;
            g.0 = Some(r);
        }
        let align = if align == 0 { 8 } else { align };
        let at = (g.1 + align - 1) & !(align - 1);
        g.1 = at + bytes;
        Ok(NonNull::new(g.0.as_ref().unwrap().base().add(at).as_ptr()).unwrap())
    }
}
