//! The bits of one chunk of 512 pages.
//!
//! [`Bits`] is a set of page numbers below 512. [`Chunk`] has two of them: the free pages, and
//! those among them known to be zero. All that is known of a page otherwise, its span has.

use super::summary::Summary;
use super::table::Zeroed;

/// Log2 of [`CHUNK_PAGES`].
pub(super) const CHUNK_SHIFT: usize = 9;

/// Pages in a chunk: 4 MiB. Its bits are one cache line.
pub(super) const CHUNK_PAGES: usize = 1 << CHUNK_SHIFT;

/// Pages in a huge page of the system: 2 MiB, half a chunk.
pub(super) const HUGE_PAGES: usize = 256;

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = CHUNK_PAGES / WORD_BITS;

/// A set of numbers below [`CHUNK_PAGES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub(super) struct Bits([u64; WORDS]);

/// The ones of a word in which a run of `length` ones begins; `length` is 1 to 64.
#[inline]
fn starts_of_runs(word: u64, length: usize) -> u64 {
    debug_assert!((1..=WORD_BITS).contains(&length));
    let mut starts = word;
    // `starts` has the runs of `have` ones; each step doubles `have` at most.
    let mut have = 1;
    while have < length {
        let step = have.min(length - have);
        starts &= starts >> step;
        have += step;
    }
    starts
}

/// Where the first run of `length` ones of a word begins.
#[inline]
fn find_in_word(word: u64, length: usize) -> Option<usize> {
    let starts = starts_of_runs(word, length);
    if starts == 0 { None } else { Some(starts.trailing_zeros() as usize) }
}

/// The ones from bit `start` on, `count` of them; `start + count` is 64 at most and
/// `count` is not 0.
#[inline]
fn mask(start: usize, count: usize) -> u64 {
    (u64::MAX >> (WORD_BITS - count)) << start
}

impl Bits {
    #[cfg(test)]
    const EMPTY: Bits = Bits([0; WORDS]);

    /// Calls `visit` with each word of a range and the mask of the range's bits in it.
    #[inline]
    fn for_words(start: usize, count: usize, mut visit: impl FnMut(usize, u64)) {
        debug_assert!(start + count <= CHUNK_PAGES);
        let (mut at, end) = (start, start + count);
        while at < end {
            let word = at / WORD_BITS;
            let stop = end.min((word + 1) * WORD_BITS);
            visit(word, mask(at % WORD_BITS, stop - at));
            at = stop;
        }
    }

    #[inline]
    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / WORD_BITS] >> (number % WORD_BITS) & 1 != 0
    }

    /// Adds `count` numbers from `start` on.
    #[inline]
    pub(super) fn insert(&mut self, start: usize, count: usize) {
        Bits::for_words(start, count, |word, mask| self.0[word] |= mask);
    }

    /// Takes `count` numbers from `start` on out, and tells how many there were.
    #[inline]
    pub(super) fn remove(&mut self, start: usize, count: usize) -> usize {
        let mut removed = 0;
        Bits::for_words(start, count, |word, mask| {
            removed += (self.0[word] & mask).count_ones() as usize;
            self.0[word] &= !mask;
        });
        removed
    }

    /// How many of `count` numbers from `start` on are in the set.
    #[inline]
    pub(super) fn count(&self, start: usize, count: usize) -> usize {
        let mut sum = 0;
        Bits::for_words(start, count, |word, mask| {
            sum += (self.0[word] & mask).count_ones() as usize;
        });
        sum
    }

    /// The lowest and the highest of `count` numbers from `start` on that are not in the set.
    pub(super) fn missing(&self, start: usize, count: usize) -> Option<(usize, usize)> {
        let mut found: Option<(usize, usize)> = None;
        Bits::for_words(start, count, |word, mask| {
            let missing = !self.0[word] & mask;
            if missing != 0 {
                let (low, high) = (missing.trailing_zeros(), missing.ilog2());
                let at = word * WORD_BITS;
                let first = found.map_or(at + low as usize, |(first, _)| first);
                found = Some((first, at + high as usize));
            }
        });
        found
    }

    /// The members that are not in `other`.
    #[inline]
    pub(super) fn without(&self, other: &Bits) -> Bits {
        Bits(core::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// The lowest number from `from` on at which `length` members begin.
    pub(super) fn find_run(&self, from: usize, length: usize) -> Option<usize> {
        let first = from / WORD_BITS;
        let mut run = 0;
        for index in first..WORDS {
            let mut word = self.0[index];
            if index == first {
                word &= u64::MAX << (from % WORD_BITS);
            }
            // A run that began in an earlier word goes on here.
            if run + word.trailing_ones() as usize >= length {
                return Some(index * WORD_BITS - run);
            }
            if word == u64::MAX {
                run += WORD_BITS;
                continue;
            }
            if length <= WORD_BITS
                && let Some(at) = find_in_word(word, length)
            {
                return Some(index * WORD_BITS + at);
            }
            run = word.leading_ones() as usize;
        }
        None
    }

    /// The highest run of members that ends at or below `limit`, cut there, and is
    /// `shortest` long at least: its start and end.
    pub(super) fn find_run_below(&self, limit: usize, shortest: usize) -> Option<(usize, usize)> {
        let mut end = limit;
        loop {
            end = self.last_below(end)? + 1;
            let start = end - self.ones_before(end);
            if end - start >= shortest {
                return Some((start, end));
            }
            end = start;
        }
    }

    /// The highest member below `limit`.
    fn last_below(&self, limit: usize) -> Option<usize> {
        let mut end = limit;
        while end > 0 {
            let word = (end - 1) / WORD_BITS;
            let ones = self.0[word] & mask(0, end - word * WORD_BITS);
            if ones != 0 {
                return Some(word * WORD_BITS + ones.ilog2() as usize);
            }
            end = word * WORD_BITS;
        }
        None
    }

    /// How many members end just below `end`, without a gap.
    pub(super) fn ones_before(&self, end: usize) -> usize {
        let mut at = end;
        while at > 0 {
            let word = (at - 1) / WORD_BITS;
            let used = at - word * WORD_BITS;
            let ones = (self.0[word] << (WORD_BITS - used)).leading_ones() as usize;
            if ones < used {
                return end - (at - ones);
            }
            at = word * WORD_BITS;
        }
        end
    }

    /// The runs of members, for the level above.
    pub(super) fn summary(&self) -> Summary {
        let mut start = None;
        let mut longest = 0usize;
        let mut run = 0usize;
        for &word in &self.0 {
            if word == u64::MAX {
                run += WORD_BITS;
                continue;
            }
            run += word.trailing_ones() as usize;
            start = start.or(Some(run));
            longest = longest.max(run);
            if word == 0 {
                run = 0;
                continue;
            }
            // Runs inside the word, as long as they are longer than what was found. Each
            // step of the loop asks for one page more.
            if longest < WORD_BITS {
                let mut starts = starts_of_runs(word, longest + 1);
                while starts != 0 {
                    longest += 1;
                    starts &= starts >> 1;
                }
            }
            run = word.leading_ones() as usize;
        }
        longest = longest.max(run);
        Summary { start: start.unwrap_or(run) as u32, longest: longest as u32, end: run as u32 }
    }
}

/// What is known of 512 pages.
///
/// # Invariants
///
/// 1. `zero` is a subset of `free`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    /// Pages that nobody has.
    pub(super) free: Bits,
    /// Those of them that read as zero and have no memory: never touched, or
    /// decommitted since.
    pub(super) zero: Bits,
}

// SAFETY: integers only; zeros say that nothing is free.
unsafe impl Zeroed for Chunk {}

impl Chunk {
    /// Whether a free page has memory that could be returned.
    #[inline]
    pub(super) fn has_dirty(&self) -> bool {
        !self.free.without(&self.zero).is_empty()
    }

    /// The highest free pages below `limit` that are worth decommitting in one call: its
    /// start and end. `shortest` dirty pages at least lie in it, `most` pages at most are it.
    ///
    /// Pages of a 2 MiB block that is free as a whole go together, those known to be
    /// zero included, so that a huge page is returned and not broken up.
    pub(super) fn find_dirty(
        &self,
        limit: usize,
        shortest: usize,
        most: usize,
    ) -> Option<(usize, usize)> {
        let dirty = self.free.without(&self.zero);
        let (run_start, run_end) = dirty.find_run_below(limit, shortest.max(1))?;
        let plain = (run_start.max(run_end.saturating_sub(most)), run_end);
        let block_start = (run_end - 1) / HUGE_PAGES * HUGE_PAGES;
        let block_end = block_start + HUGE_PAGES;
        let whole =
            |first: usize| most >= HUGE_PAGES && self.free.count(first, HUGE_PAGES) == HUGE_PAGES;
        let (start, end) = if block_end <= limit && whole(block_start) {
            // The block that the run ends in; with it the run's part below, or all of the
            // block below if that is free as a whole too.
            let start = if run_start < block_start && whole(0) { 0 } else { run_start };
            let start = start.min(block_start);
            (if block_end - start > most { block_start } else { start }, block_end)
        } else if plain.0 > run_start && plain.0 < block_start && whole(0) {
            // The whole block below stays for the next call.
            (block_start, run_end)
        } else {
            plain
        };
        let enough = dirty.count(start, end - start) >= shortest;
        Some(if enough { (start, end) } else { plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const SEEDS: u64 = 1000;

    fn from_bools(bools: &[bool]) -> Bits {
        let mut bits = Bits::EMPTY;
        for (number, _) in bools.iter().enumerate().filter(|&(_, &member)| member) {
            bits.insert(number, 1);
        }
        bits
    }

    /// Bits of all densities, in runs of all lengths.
    fn random(seed: u64) -> (Bits, Vec<bool>) {
        let mut random = Random::new(seed);
        let mut bools = Vec::new();
        let mean = 1 << random.below(9);
        let mut value = random.below(2) == 0;
        while bools.len() < CHUNK_PAGES {
            let run = 1 + random.exponential(mean) as usize;
            bools.resize((bools.len() + run).min(CHUNK_PAGES), value);
            value = !value;
        }
        (from_bools(&bools), bools)
    }

    fn some_range(random: &mut Random) -> (usize, usize) {
        let start = random.below(CHUNK_PAGES as u64) as usize;
        (start, random.below((CHUNK_PAGES - start) as u64 + 1) as usize)
    }

    fn naive_summary(bools: &[bool]) -> Summary {
        let run = |bools: &mut dyn Iterator<Item = &bool>| bools.take_while(|&&b| b).count() as u32;
        let longest = (0..bools.len()).map(|i| run(&mut bools[i..].iter())).max().unwrap_or(0);
        Summary { start: run(&mut bools.iter()), longest, end: run(&mut bools.iter().rev()) }
    }

    fn naive_find(bools: &[bool], from: usize, length: usize) -> Option<usize> {
        (from..=bools.len().checked_sub(length)?).find(|&i| bools[i..i + length].iter().all(|&b| b))
    }

    #[test]
    fn mpallocbits_alloc_range() {
        // The origin's named cases: one bit, a word, across words, all.
        let cases =
            [(0, 1), (63, 1), (64, 1), (0, 64), (20, 10), (60, 8), (0, 512), (511, 1), (129, 300)];
        let mut random = Random::new(1);
        let more: Vec<_> = (0..SEEDS).map(|_| some_range(&mut random)).collect();
        for (start, count) in cases.into_iter().chain(more) {
            let mut bits = Bits::EMPTY;
            bits.insert(start, count);
            for number in 0..CHUNK_PAGES {
                let inside = (start..start + count).contains(&number);
                assert_eq!(bits.contains(number), inside, "{number} of {start}+{count}");
            }
            assert_eq!(bits.remove(start, count), count);
            assert!(bits.is_empty());
        }
    }

    #[test]
    fn mpallocbits_popcnt_range() {
        for seed in 0..SEEDS {
            let (bits, bools) = random(seed);
            let (start, count) = some_range(&mut Random::new(!seed));
            let naive = bools[start..start + count].iter().filter(|&&b| b).count();
            assert_eq!(bits.count(start, count), naive, "seed {seed}");
            assert_eq!(bits.count(0, CHUNK_PAGES), bools.iter().filter(|&&b| b).count());
        }
    }

    #[test]
    fn mpallocbits_summarize() {
        let fixed: [&[(usize, usize)]; 8] = [
            &[],
            &[(0, 512)],
            &[(0, 1)],
            &[(511, 1)],
            &[(0, 1), (511, 1)],
            &[(1, 510)],
            &[(0, 64), (65, 64), (130, 62)],
            &[(10, 50), (100, 200), (505, 7)],
        ];
        for ranges in fixed {
            let mut bools = [false; CHUNK_PAGES];
            for &(start, count) in ranges {
                bools[start..start + count].fill(true);
            }
            assert_eq!(from_bools(&bools).summary(), naive_summary(&bools), "{ranges:?}");
        }
        for seed in 0..SEEDS {
            let (bits, bools) = random(seed);
            assert_eq!(bits.summary(), naive_summary(&bools), "seed {seed}");
        }
    }

    #[test]
    fn mpallocbits_alloc() {
        for seed in 0..SEEDS {
            let (bits, bools) = random(seed);
            let mut random = Random::new(!seed);
            for _ in 0..20 {
                let from = random.below(CHUNK_PAGES as u64) as usize;
                let length = 1 + random.exponential(30) as usize % CHUNK_PAGES;
                assert_eq!(
                    bits.find_run(from, length),
                    naive_find(&bools, from, length),
                    "seed {seed}: {length} from {from}"
                );
            }
        }
        let mut full = Bits::EMPTY;
        full.insert(0, CHUNK_PAGES);
        assert_eq!(full.find_run(0, CHUNK_PAGES), Some(0));
        assert_eq!(full.find_run(1, CHUNK_PAGES), None);
        assert_eq!(Bits::EMPTY.find_run(0, 1), None);
    }

    #[test]
    fn mpallocbits_free() {
        // Taken runs come back in another order, and the set is as before.
        for seed in 0..SEEDS / 10 {
            let (before, _) = random(seed);
            let (mut bits, mut taken) = (before, Vec::new());
            let mut random = Random::new(!seed);
            loop {
                let length = 1 + random.below(9) as usize;
                let Some(start) = bits.find_run(0, length) else { break };
                assert_eq!(bits.remove(start, length), length, "seed {seed}");
                taken.push((start, length));
            }
            while !taken.is_empty() {
                let (start, length) = taken.swap_remove(random.below(taken.len() as u64) as usize);
                assert_eq!(bits.count(start, length), 0, "seed {seed}");
                bits.insert(start, length);
            }
            assert_eq!(bits, before, "seed {seed}");
        }
    }

    #[test]
    fn mpallocbits_find_bit_range_64() {
        let naive = |word: u64, length: usize| {
            (0..=WORD_BITS - length).find(|&at| word >> at & mask(0, length) == mask(0, length))
        };
        let check = |word: u64| {
            for length in 1..=WORD_BITS {
                assert_eq!(find_in_word(word, length), naive(word, length), "{word:#x} {length}");
            }
        };
        for word in [0, u64::MAX, 1, 1 << 63, 0x8000_0000_0000_0001, 0x5555_5555_5555_5555] {
            check(word);
        }
        let mut random = Random::new(7);
        for _ in 0..SEEDS {
            let (a, b) = (random.next(), random.next());
            for word in [a, a | b, a & b, a | b | random.next()] {
                check(word);
            }
        }
    }

    #[test]
    fn runs_are_found_from_above() {
        for seed in 0..SEEDS {
            let (bits, bools) = random(seed);
            let mut random = Random::new(!seed);
            for _ in 0..20 {
                let limit = random.below(CHUNK_PAGES as u64 + 1) as usize;
                let shortest = 1 + random.exponential(20) as usize;
                let ones = bools[..limit].iter().rev().take_while(|&&b| b).count();
                assert_eq!(bits.ones_before(limit), ones, "seed {seed}");
                let mut best = None;
                let mut at = 0;
                while at < limit {
                    let run = bools[at..limit].iter().take_while(|&&b| b).count();
                    if run >= shortest {
                        best = Some((at, at + run));
                    }
                    at += run + 1;
                }
                assert_eq!(bits.find_run_below(limit, shortest), best, "seed {seed}");
            }
        }
    }

    #[test]
    fn palloc_data_find_scavenge_candidate() {
        let chunk = |free: &[(usize, usize)], zero: &[(usize, usize)]| {
            let mut chunk = Chunk { free: Bits::EMPTY, zero: Bits::EMPTY };
            free.iter().for_each(|&(start, count)| chunk.free.insert(start, count));
            zero.iter().for_each(|&(start, count)| chunk.zero.insert(start, count));
            chunk
        };
        let all = &[(0, 512)];
        // (free, zero, limit, shortest, most) and the answer.
        type Ranges = &'static [(usize, usize)];
        type Case = (Ranges, Ranges, usize, usize, usize, Option<(usize, usize)>);
        let cases: [Case; 19] = [
            (&[], &[], 512, 1, 512, None),
            (all, all, 512, 1, 512, None),
            (all, &[], 512, 1, 512, Some((0, 512))),
            (all, &[], 512, 1, 256, Some((256, 512))),
            (all, &[], 512, 1, 300, Some((256, 512))),
            (all, &[], 512, 1, 100, Some((412, 512))),
            (all, &[], 300, 1, 512, Some((0, 300))),
            (all, &[], 300, 1, 256, Some((256, 300))),
            (all, &[], 300, 64, 256, Some((44, 300))),
            (all, &[], 0, 1, 512, None),
            (&[(10, 5)], &[], 512, 1, 512, Some((10, 15))),
            (&[(10, 5)], &[], 512, 6, 512, None),
            (&[(10, 5)], &[], 13, 1, 512, Some((10, 13))),
            (&[(10, 50), (100, 5)], &[], 512, 1, 512, Some((100, 105))),
            (&[(10, 50), (100, 5)], &[], 512, 8, 512, Some((10, 60))),
            (&[(10, 50)], &[(30, 10)], 512, 1, 512, Some((40, 60))),
            // A block that is free as a whole goes as a whole.
            (&[(0, 300)], &[(8, 292)], 512, 1, 512, Some((0, 256))),
            (all, &[(0, 500)], 512, 1, 256, Some((256, 512))),
            (all, &[(0, 200), (300, 212)], 512, 1, 512, Some((0, 512))),
        ];
        for (free, zero, limit, shortest, most, expected) in cases {
            assert_eq!(
                chunk(free, zero).find_dirty(limit, shortest, most),
                expected,
                "free {free:?} zero {zero:?} below {limit}, {shortest} to {most}"
            );
        }
        for seed in 0..SEEDS {
            let (free, _) = random(seed);
            let (other, _) = random(!seed);
            let chunk = Chunk { free, zero: free.without(&other) };
            let mut random = Random::new(seed);
            let limit = random.below(513) as usize;
            let shortest = 1 + random.below(40) as usize;
            let most = shortest + random.below(500) as usize;
            let dirty = chunk.free.without(&chunk.zero);
            let found = chunk.find_dirty(limit, shortest, most);
            let Some((start, end)) = found else {
                assert_eq!(dirty.find_run_below(limit, shortest), None, "seed {seed}");
                continue;
            };
            assert!(start < end && end <= limit && end - start <= most, "seed {seed}: {found:?}");
            assert_eq!(free.count(start, end - start), end - start, "seed {seed}: {found:?}");
            assert!(dirty.count(start, end - start) >= shortest, "seed {seed}: {found:?}");
            assert_eq!(dirty.find_run_below(limit, shortest).map(|run| run.1 <= end), Some(true));
        }
    }
}
