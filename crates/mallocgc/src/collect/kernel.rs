//! Which words of an object point into the heap: one question, several
//! instruction sets.
//!
//! Most reference words of wide objects are null, or are looked at only to
//! find that there is nothing to do. The kernels compare eight or four words
//! at a time with the heap's range and return the few that are left as bits.
//! The plain kernel is the reference the others are tested against.
//!
//! The marking loop is compiled once for each [`Level`], so that its kernel is inlined and the instructions that
//! find and count bits are the processor's own.

use crate::base::sync::{AtomicUsize, Ordering::Relaxed};

/// What a kernel looks for, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// First byte of the heap.
    pub(crate) base: usize,
    /// Bytes of it in use.
    pub(crate) extent: usize,
}

/// A way to ask the question.
pub(crate) trait Kernel {
    /// Bits of `mask` whose word at `object` points into the range.
    ///
    /// # Safety
    ///
    /// The words of `mask` are readable at `object`, nobody writes them meanwhile, and the processor has
    /// the kernel's instructions.
    unsafe fn filter(object: *const usize, mask: u64, range: Range) -> u64;

    /// As `filter`, of eight words at most.
    ///
    /// # Safety
    ///
    /// As `filter`.
    #[inline(always)]
    unsafe fn filter_short(object: *const usize, mask: u8, range: Range) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { Self::filter(object, mask.into(), range) }
    }
}

/// A set of instructions that the marking loop is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// What every processor has.
    Plain,
    /// AVX2 and the instructions on bits that came with it.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F besides.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The highest level of this processor.
    pub(crate) fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt") {
                return if has!("avx512f") { Level::Avx512 } else { Level::Avx2 };
            }
        }
        Level::Plain
    }
}

/// [`plain`] as a kernel.
pub(crate) struct Plain;

impl Kernel for Plain {
    #[inline(always)]
    unsafe fn filter(object: *const usize, mask: u64, range: Range) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { plain(object, mask, range) }
    }
}

/// [`avx2`] as a kernel.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Kernel for Avx2 {
    #[inline(always)]
    unsafe fn filter(object: *const usize, mask: u64, range: Range) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { avx2(object, mask, range) }
    }
}

/// [`avx512`] as a kernel.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Kernel for Avx512 {
    #[inline(always)]
    unsafe fn filter(object: *const usize, mask: u64, range: Range) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { avx512(object, mask, range) }
    }

    #[inline(always)]
    unsafe fn filter_short(object: *const usize, mask: u8, range: Range) -> u64 {
        // SAFETY: the caller's promise.
        u64::from(unsafe { avx512_short(object, mask, range) })
    }
}

/// One word at a time.
///
/// # Safety
///
/// As [`Kernel::filter`].
#[inline]
unsafe fn plain(object: *const usize, mask: u64, range: Range) -> u64 {
    let mut left = mask;
    let mut found = 0;
    while left != 0 {
        let word = left.trailing_zeros() as usize;
        left &= left - 1;
        // SAFETY: the caller's promise.
        let value = unsafe { (*object.add(word).cast::<AtomicUsize>()).load(Relaxed) };
        if value.wrapping_sub(range.base) < range.extent {
            found |= 1 << word;
        }
    }
    found
}

/// Eight words at a time; words outside the mask are not touched.
///
/// # Safety
///
/// As [`Kernel::filter`], on a processor with AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(object: *const usize, mask: u64, range: Range) -> u64 {
    let mut found = 0;
    let mut group = 0;
    while group < 64 && mask >> group != 0 {
        let lanes = (mask >> group) as u8;
        // SAFETY: the caller's promise.
        found |= u64::from(unsafe { avx512_short(object.add(group), lanes, range) }) << group;
        group += 8;
    }
    found
}

/// Eight words; those outside the mask are not touched.
///
/// # Safety
///
/// As [`Kernel::filter_short`], on a processor with AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn avx512_short(object: *const usize, lanes: u8, range: Range) -> u8 {
    use core::arch::x86_64::{
        _mm512_mask_cmplt_epu64_mask, _mm512_maskz_loadu_epi64, _mm512_set1_epi64, _mm512_sub_epi64,
    };
    let base = _mm512_set1_epi64(range.base as i64);
    let extent = _mm512_set1_epi64(range.extent as i64);
    // SAFETY: masked lanes are not read; the others are the caller's promise.
    let words = unsafe { _mm512_maskz_loadu_epi64(lanes, object.cast()) };
    _mm512_mask_cmplt_epu64_mask(lanes, _mm512_sub_epi64(words, base), extent)
}

/// Four words at a time; words outside the mask are not touched.
///
/// # Safety
///
/// As [`Kernel::filter`], on a processor with AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2(object: *const usize, mask: u64, range: Range) -> u64 {
    use core::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_cmpgt_epi64,
        _mm256_maskload_epi64, _mm256_movemask_pd, _mm256_set1_epi64x, _mm256_setr_epi64x,
        _mm256_sub_epi64, _mm256_xor_si256,
    };
    // The comparison is signed: flipping the top bit of both sides makes it
    // one of unsigned numbers.
    let flip = _mm256_set1_epi64x(i64::MIN);
    let base = _mm256_set1_epi64x(range.base as i64);
    let extent = _mm256_xor_si256(_mm256_set1_epi64x(range.extent as i64), flip);
    let bits = _mm256_setr_epi64x(1, 2, 4, 8);
    let mut found = 0;
    let mut group = 0;
    while group < 64 && mask >> group != 0 {
        let lanes = (mask >> group) as i64 & 0xf;
        let wanted: __m256i =
            _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(lanes), bits), bits);
        // SAFETY: masked lanes are not read; the others are the caller's
        // promise.
        let words = unsafe { _mm256_maskload_epi64(object.add(group).cast(), wanted) };
        let offsets = _mm256_xor_si256(_mm256_sub_epi64(words, base), flip);
        let inside = _mm256_and_si256(_mm256_cmpgt_epi64(extent, offsets), wanted);
        found |= (_mm256_movemask_pd(_mm256_castsi256_pd(inside)) as u64) << group;
        group += 4;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn agrees_with_plain<K: Kernel>() {
        let range = Range { base: 0x7f00_0000_0000, extent: 1 << 30 };
        let edges = [
            0,
            1,
            range.base - 1,
            range.base,
            range.base + range.extent - 1,
            range.base + range.extent,
            usize::MAX,
            1 << 63,
        ];
        let mut random = Random::new(11);
        for round in 0..20_000 {
            let words: Vec<usize> = (0..64)
                .map(|_| match random.below(3) {
                    0 => 0,
                    1 => edges[random.below(edges.len() as u64) as usize],
                    _ => random.next() as usize,
                })
                .collect();
            let mask = match random.below(4) {
                0 => u64::MAX,
                1 => random.next() & random.next(),
                2 => random.next() >> random.below(64),
                _ => 1 << random.below(64),
            };
            // SAFETY: 64 words; the caller has checked the processor.
            let (found, expected) = unsafe {
                (K::filter(words.as_ptr(), mask, range), plain(words.as_ptr(), mask, range))
            };
            assert_eq!(found, expected, "round {round}, mask {mask:#x}");
            // SAFETY: as above.
            let short = unsafe { K::filter_short(words.as_ptr(), mask as u8, range) };
            assert_eq!(short, expected & 0xff, "round {round}, mask {mask:#x}");
        }
    }

    #[test]
    fn every_kernel_agrees_with_the_plain_one() {
        agrees_with_plain::<Plain>();
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            agrees_with_plain::<Avx2>();
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            agrees_with_plain::<Avx512>();
        }
    }

    #[test]
    fn kernels_read_no_word_outside_the_mask() {
        let range = Range { base: 4096, extent: 4096 };
        let one = [5000usize];
        // Reading a second word would leave the array; the sanitizer and
        // valgrind see it.
        // SAFETY: one word, one bit.
        assert_eq!(unsafe { Plain::filter(one.as_ptr(), 1, range) }, 1);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: as above; the processor has been asked.
            assert_eq!(unsafe { Avx2::filter(one.as_ptr(), 1, range) }, 1);
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: as above.
            assert_eq!(unsafe { Avx512::filter(one.as_ptr(), 1, range) }, 1);
        }
    }
}
