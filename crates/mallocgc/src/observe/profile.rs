//! The sampled heap profile: who allocated what is in use, in bounded memory.
//!
//! A bucket counts the sampled objects of one size from one stack. The table
//! of buckets grows with what the program does, up to a bound that is part of
//! the configuration; samples that find it full are counted by power of two of
//! their size in the *other* buckets, so that totals stay right for ever.
//!
//! **Publication.** Between two cycles a program has allocated objects nobody
//! can tell dead yet. Were they shown at once, every profile would show the
//! garbage since the last cycle as in use. So counts wait in one of three
//! places: an allocation seen during cycle *c* is published with cycle *c* + 2,
//! and a free found by sweeping after cycle *c* with cycle *c* + 1. Both sides
//! of an object that lived for less than a cycle meet in one publication:
//!
//! ```text
//! cycle counter     0              1                2
//! object A          alloc → 2  ✝   freed → 2        published: both, together
//! object B          alloc → 2      marked           published: in use
//! ```
//!
//! Protection: counts are atomics in memory that never moves, so crediting a
//! free takes no lock and never allocates: the sweeper may do it on any thread,
//! with the world stopped or not. The table (lock of rank `Observe`) is for
//! [`record_alloc`](Profile::record_alloc), which may allocate and therefore
//! runs on mutators only, and for publications and snapshots, so that a
//! snapshot sees a publication whole or not at all.
//!
//! Not here: which allocations are sampled (`sample`), the file format (`pprof`).

use std::sync::OnceLock;

use crate::base::sync::{AtomicU64, Lock, Ordering::Relaxed, Rank, model};

use super::sample::unskew;

/// Bounds of a [`Profile`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileConfig {
    /// Most buckets the table holds. Default 16,384: about 5 MiB when stacks
    /// are 20 deep, 10 MiB at the very most.
    pub max_buckets: u32,
    /// Most frames of a stack that are kept, innermost first. Default 64.
    pub max_depth: usize,
}

impl Default for ProfileConfig {
    fn default() -> ProfileConfig {
        ProfileConfig { max_buckets: 16_384, max_depth: 64 }
    }
}

/// Names a bucket; kept by the special of a sampled object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BucketId(pub u32);

/// Buckets that have no stack of their own: one per power of two of the size.
/// Their ids come first.
const OTHER_BUCKETS: u32 = 64;

/// Buckets in one piece of memory.
const CHUNK: u32 = 64;

const _: () = assert!(CHUNK >= OTHER_BUCKETS, "the first chunk holds the other buckets");

/// Sampled allocations and frees by stack and size. One per heap.
///
/// ```
/// use mallocgc::observe::{Profile, ProfileConfig};
///
/// let profile = Profile::new(ProfileConfig::default());
/// let kept = profile.record_alloc(&[0x1000, 0x2000], 64);
/// let dropped = profile.record_alloc(&[0x1000, 0x2000], 64);
/// assert_eq!(kept, dropped);
///
/// profile.begin_cycle(); // marking finds one of them dead …
/// profile.publish();
/// profile.record_free(dropped, 64); // … sweeping frees it …
/// profile.begin_cycle();
/// profile.publish(); // … and the next cycle publishes both.
///
/// let seen = profile.snapshot(1);
/// assert_eq!(seen.records.len(), 1);
/// assert_eq!(seen.total().inuse_objects, 1);
/// assert_eq!(seen.total().alloc_objects, 2);
/// ```
#[derive(Debug)]
pub struct Profile {
    config: ProfileConfig,
    /// Cycles begun.
    cycle: AtomicU64,
    samples: AtomicU64,
    overflows: AtomicU64,
    /// Made by the first sample: a heap that does not profile pays nothing.
    buckets: OnceLock<Buckets>,
}

/// Counts and keys of all buckets.
#[derive(Debug)]
struct Buckets {
    /// Counts by bucket id, in pieces so that growing moves nothing.
    chunks: Box<[OnceLock<Box<[Bucket]>>]>,
    table: Lock<Table>,
}

/// Counts of one bucket.
#[derive(Debug, Default)]
struct Bucket {
    /// What snapshots show.
    published: Counts,
    /// What waits, by cycle of publication modulo 3.
    waiting: [Counts; 3],
}

#[derive(Debug, Default)]
struct Counts {
    allocs: model::AtomicU64,
    alloc_bytes: model::AtomicU64,
    frees: model::AtomicU64,
    free_bytes: model::AtomicU64,
}

// Relaxed in all of these: the counts guard no other memory, and the lock of
// the table orders publications and snapshots.
impl Counts {
    fn add_alloc(&self, objects: u64, bytes: u64) {
        self.allocs.fetch_add(objects, Relaxed);
        self.alloc_bytes.fetch_add(bytes, Relaxed);
    }

    fn add_free(&self, objects: u64, bytes: u64) {
        self.frees.fetch_add(objects, Relaxed);
        self.free_bytes.fetch_add(bytes, Relaxed);
    }

    /// Moves all that is here to `other`.
    fn move_to(&self, other: &Counts) {
        // A look first: most buckets are idle, and writing costs a cache line.
        if self.allocs.load(Relaxed) | self.alloc_bytes.load(Relaxed) != 0 {
            other.add_alloc(self.allocs.swap(0, Relaxed), self.alloc_bytes.swap(0, Relaxed));
        }
        if self.frees.load(Relaxed) | self.free_bytes.load(Relaxed) != 0 {
            other.add_free(self.frees.swap(0, Relaxed), self.free_bytes.swap(0, Relaxed));
        }
    }
}

/// The keys: an open-addressing hash table from (stack, size) to bucket id.
#[derive(Debug, Default)]
struct Table {
    /// Index into `keys` plus 1, 0 for empty. A power of two long, at most half full.
    slots: Vec<u32>,
    /// By bucket id less [`OTHER_BUCKETS`].
    keys: Vec<Key>,
    /// The stacks of all keys, one after the other.
    frames: Vec<usize>,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    size: usize,
    /// Where its stack is in [`Table::frames`].
    start: u32,
    depth: u32,
}

/// The table has no room for another bucket.
struct Full;

impl From<std::collections::TryReserveError> for Full {
    fn from(_: std::collections::TryReserveError) -> Full {
        Full
    }
}

impl Profile {
    /// A profile without samples; takes memory with the first one.
    pub fn new(config: ProfileConfig) -> Profile {
        Profile {
            config,
            cycle: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
            buckets: OnceLock::new(),
        }
    }

    /// Counts a sampled object of `size` bytes allocated by `stack` (innermost
    /// frame first). The bucket goes with the object, and comes back to
    /// [`record_free`](Self::record_free).
    ///
    /// May allocate and takes the lock: not while the world is stopped, nor
    /// inside a sweep.
    pub fn record_alloc(&self, stack: &[usize], size: usize) -> BucketId {
        let stack = &stack[..stack.len().min(self.config.max_depth)];
        let buckets = self.buckets.get_or_init(|| Buckets::new(self.config.max_buckets));
        let found = buckets.find_or_add(stack, size, self.config.max_buckets);
        self.samples.fetch_add(1, Relaxed); // Relaxed: a statistic.
        let bucket = found.unwrap_or_else(|Full| {
            self.overflows.fetch_add(1, Relaxed); // Relaxed: a statistic.
            BucketId(size.checked_ilog2().unwrap_or(0))
        });
        // Relaxed: the counter moves with the world stopped only, and this thread
        // passed a boundary since.
        let cycle = self.cycle.load(Relaxed);
        buckets.get(bucket).waiting[(cycle + 2) as usize % 3].add_alloc(1, size as u64);
        bucket
    }

    /// Counts that a sampled object of `size` bytes, recorded in `bucket`, was
    /// found dead by the sweep. Takes no lock and never allocates.
    pub fn record_free(&self, bucket: BucketId, size: usize) {
        let buckets = self.buckets.get().expect("a bucket id comes from a recorded allocation");
        let cycle = self.cycle.load(Relaxed); // Relaxed: as in `record_alloc`.
        buckets.get(bucket).waiting[(cycle + 1) as usize % 3].add_free(1, size as u64);
    }

    /// A cycle has marked: what is allocated from now on belongs to the next.
    /// Called with the world stopped, after all sweeping of the cycle before.
    pub fn begin_cycle(&self) {
        // Relaxed: whoever stops and starts the world orders this for the mutators.
        self.cycle.fetch_add(1, Relaxed);
    }

    /// Publishes what is due with the present cycle. Called once after each
    /// [`begin_cycle`](Self::begin_cycle), when the world runs again (it visits
    /// every bucket, and waits for snapshots being taken). When a call is left
    /// out, its counts are published three cycles later.
    pub fn publish(&self) {
        self.publish_due(0);
    }

    /// Publishes what would be due with the next cycle, for a forced collection
    /// that swept everything: all frees of this cycle are known then, so the
    /// profile is up to date as of its marking.
    pub fn publish_swept(&self) {
        self.publish_due(1);
    }

    fn publish_due(&self, ahead: u64) {
        let Some(buckets) = self.buckets.get() else { return };
        let place = (self.cycle.load(Relaxed) + ahead) as usize % 3; // Relaxed: as above.
        let _whole = buckets.table.lock();
        for bucket in buckets.all() {
            bucket.waiting[place].move_to(&bucket.published);
        }
    }

    /// The published counts. `rate` is the sampling rate the counts were taken
    /// at; if it was changed meanwhile, the estimates are as wrong as in the origin.
    pub fn snapshot(&self, rate: u64) -> ProfileSnapshot {
        let mut snapshot = ProfileSnapshot { rate, records: Vec::new() };
        let Some(buckets) = self.buckets.get() else { return snapshot };
        let table = buckets.table.lock();
        for (id, bucket) in buckets.all().enumerate() {
            let counts = &bucket.published;
            // Relaxed: writers of published counts hold the lock we hold.
            let record = ProfileRecord {
                stack: table.stack_of(id as u32),
                allocs: counts.allocs.load(Relaxed),
                alloc_bytes: counts.alloc_bytes.load(Relaxed),
                frees: counts.frees.load(Relaxed),
                free_bytes: counts.free_bytes.load(Relaxed),
            };
            if record.allocs != 0 || record.frees != 0 {
                snapshot.records.push(record);
            }
        }
        snapshot
    }

    /// Samples ever recorded.
    pub fn samples(&self) -> u64 {
        self.samples.load(Relaxed) // Relaxed: a statistic.
    }

    /// Samples that found the table full and went to the other buckets.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Relaxed) // Relaxed: a statistic.
    }

    /// Memory the profile takes, in bytes.
    pub fn bytes(&self) -> usize {
        let Some(buckets) = self.buckets.get() else { return 0 };
        let table = buckets.table.lock();
        let made = buckets.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        made * CHUNK as usize * size_of::<Bucket>()
            + size_of_val(&*buckets.chunks)
            + table.slots.capacity() * size_of::<u32>()
            + table.keys.capacity() * size_of::<Key>()
            + table.frames.capacity() * size_of::<usize>()
    }
}

impl Buckets {
    fn new(max_buckets: u32) -> Buckets {
        let chunks = (OTHER_BUCKETS as u64 + max_buckets as u64).div_ceil(CHUNK as u64);
        let chunks: Box<[_]> = (0..chunks).map(|_| OnceLock::new()).collect();
        chunks[0].get_or_init(new_chunk);
        Buckets { chunks, table: Lock::new(Rank::Observe, Table::default()) }
    }

    fn get(&self, id: BucketId) -> &Bucket {
        let chunk = self.chunks[(id.0 / CHUNK) as usize].get();
        &chunk.expect("an id is given out after its chunk is made")[(id.0 % CHUNK) as usize]
    }

    /// All buckets made so far, by id.
    fn all(&self) -> impl Iterator<Item = &Bucket> {
        self.chunks.iter().map_while(|chunk| chunk.get()).flatten()
    }

    fn find_or_add(&self, stack: &[usize], size: usize, limit: u32) -> Result<BucketId, Full> {
        let mut table = self.table.lock();
        let hash = hash(stack, size);
        if let Some(key) = table.find(hash, stack, size) {
            return Ok(BucketId(OTHER_BUCKETS + key));
        }
        if table.keys.len() >= limit as usize {
            return Err(Full);
        }
        let id = BucketId(OTHER_BUCKETS + table.add(hash, stack, size)?);
        self.chunks[(id.0 / CHUNK) as usize].get_or_init(new_chunk);
        Ok(id)
    }
}

fn new_chunk() -> Box<[Bucket]> {
    (0..CHUNK).map(|_| Bucket::default()).collect()
}

/// Mixes a stack and a size into a number whose low bits are good.
fn hash(stack: &[usize], size: usize) -> u64 {
    let mix = |hash: u64, word: usize| {
        let wide = u128::from(hash ^ word as u64) * 0x9e37_79b9_7f4a_7c15;
        (wide >> 64) as u64 ^ wide as u64
    };
    stack.iter().fold(mix(0x243f_6a88_85a3_08d3, size), |hash, &frame| mix(hash, frame))
}

impl Table {
    /// The index of the key, if it is there.
    fn find(&self, hash: u64, stack: &[usize], size: usize) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        // Ends at an empty slot: at least half of them are.
        while let Some(index) = self.slots[slot].checked_sub(1) {
            let key = &self.keys[index as usize];
            if key.hash == hash && key.size == size && self.frames(key) == stack {
                return Some(index);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Adds a key that is not there.
    fn add(&mut self, hash: u64, stack: &[usize], size: usize) -> Result<u32, Full> {
        if (self.keys.len() + 1) * 2 > self.slots.len() {
            self.grow()?;
        }
        self.keys.try_reserve(1)?;
        self.frames.try_reserve(stack.len())?;
        let start = u32::try_from(self.frames.len()).map_err(|_| Full)?;
        let index = self.keys.len() as u32;
        self.frames.extend_from_slice(stack);
        self.keys.push(Key { hash, size, start, depth: stack.len() as u32 });
        insert(&mut self.slots, hash, index);
        Ok(index)
    }

    /// Doubles the slots.
    fn grow(&mut self) -> Result<(), Full> {
        let length = (self.slots.len() * 2).max(64);
        let mut slots = Vec::new();
        slots.try_reserve_exact(length)?;
        slots.resize(length, 0);
        for (index, key) in self.keys.iter().enumerate() {
            insert(&mut slots, key.hash, index as u32);
        }
        self.slots = slots;
        Ok(())
    }

    fn frames(&self, key: &Key) -> &[usize] {
        &self.frames[key.start as usize..][..key.depth as usize]
    }

    fn stack_of(&self, id: u32) -> Option<Vec<usize>> {
        let key = self.keys.get(id.checked_sub(OTHER_BUCKETS)? as usize)?;
        Some(self.frames(key).to_vec())
    }
}

/// Puts `index` into the first free slot from where its hash points.
fn insert(slots: &mut [u32], hash: u64, index: u32) {
    let mask = slots.len() - 1;
    let mut slot = hash as usize & mask;
    while slots[slot] != 0 {
        slot = (slot + 1) & mask;
    }
    slots[slot] = index + 1;
}

/// Published counts of a [`Profile`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileSnapshot {
    /// Mean bytes between samples; 1 and 0: the counts are exact.
    pub rate: u64,
    /// The buckets that counted something.
    pub records: Vec<ProfileRecord>,
}

/// Counts of one bucket, as sampled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileRecord {
    /// Return addresses, innermost first; `None` for samples that found the table full.
    pub stack: Option<Vec<usize>>,
    /// Sampled objects.
    pub allocs: u64,
    /// Their bytes.
    pub alloc_bytes: u64,
    /// Those of the sampled objects that died.
    pub frees: u64,
    /// Their bytes.
    pub free_bytes: u64,
}

/// Estimates of what was allocated and is in use: the four values of a heap profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProfileValues {
    /// Objects allocated.
    pub alloc_objects: u64,
    /// Bytes allocated.
    pub alloc_bytes: u64,
    /// Objects in use.
    pub inuse_objects: u64,
    /// Bytes in use.
    pub inuse_bytes: u64,
}

impl ProfileRecord {
    /// What these samples stand for at a sampling rate of `rate`.
    ///
    /// ```
    /// use mallocgc::observe::ProfileRecord;
    ///
    /// let record =
    ///     ProfileRecord { stack: None, allocs: 4, alloc_bytes: 4096, frees: 0, free_bytes: 0 };
    /// let values = record.unskewed(512 << 10);
    /// assert_eq!((values.alloc_objects, values.alloc_bytes), (2050, 2_099_200));
    /// ```
    pub fn unskewed(&self, rate: u64) -> ProfileValues {
        let estimate = |objects: u64, bytes: u64| {
            // One size per bucket; in the others, sizes within a factor of two.
            let scale = unskew(bytes.checked_div(objects).unwrap_or(0), rate);
            ((objects as f64 * scale) as u64, (bytes as f64 * scale) as u64)
        };
        let (alloc_objects, alloc_bytes) = estimate(self.allocs, self.alloc_bytes);
        // A snapshot shows frees with their allocations; saturate in case a
        // publication was left out.
        let (inuse_objects, inuse_bytes) = estimate(
            self.allocs.saturating_sub(self.frees),
            self.alloc_bytes.saturating_sub(self.free_bytes),
        );
        ProfileValues { alloc_objects, alloc_bytes, inuse_objects, inuse_bytes }
    }
}

impl ProfileSnapshot {
    /// The estimates of all records together.
    pub fn total(&self) -> ProfileValues {
        self.records.iter().map(|record| record.unskewed(self.rate)).fold(
            ProfileValues::default(),
            |sum, values| ProfileValues {
                alloc_objects: sum.alloc_objects + values.alloc_objects,
                alloc_bytes: sum.alloc_bytes + values.alloc_bytes,
                inuse_objects: sum.inuse_objects + values.inuse_objects,
                inuse_bytes: sum.inuse_bytes + values.inuse_bytes,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use std::collections::BTreeMap;

    fn small(max_buckets: u32) -> Profile {
        Profile::new(ProfileConfig { max_buckets, max_depth: 4 })
    }

    fn cycle(profile: &Profile) {
        profile.begin_cycle();
        profile.publish();
    }

    #[test]
    fn convert_mem_profile() {
        let record = |allocs, alloc_bytes| ProfileRecord {
            stack: Some(vec![1]),
            allocs,
            alloc_bytes,
            frees: 0,
            free_bytes: 0,
        };
        let values = record(4, 4 * 1024).unskewed(512 << 10);
        assert_eq!((values.alloc_objects, values.alloc_bytes), (2050, 2_099_200));
        assert_eq!((values.inuse_objects, values.inuse_bytes), (2050, 2_099_200));
        let values = record(1, 512 << 10).unskewed(512 << 10);
        assert_eq!((values.alloc_objects, values.alloc_bytes), (1, 829_411));
        let values = record(3, 300).unskewed(1);
        assert_eq!((values.alloc_objects, values.alloc_bytes), (3, 300));
    }

    #[test]
    fn allocations_and_their_frees_appear_together() {
        let profile = small(10);
        let bucket = profile.record_alloc(&[1, 2], 32);
        assert!(profile.snapshot(1).records.is_empty());
        cycle(&profile);
        assert!(profile.snapshot(1).records.is_empty(), "nobody knows yet whether it lives");
        profile.record_free(bucket, 32);
        assert!(profile.snapshot(1).records.is_empty());
        cycle(&profile);
        let seen = profile.snapshot(1);
        assert_eq!(seen.records.len(), 1);
        assert_eq!((seen.records[0].allocs, seen.records[0].frees), (1, 1));
        assert_eq!(seen.total().inuse_objects, 0);
    }

    #[test]
    fn a_forced_collection_publishes_what_it_swept() {
        let profile = small(10);
        let dead = profile.record_alloc(&[1], 32);
        profile.record_alloc(&[2], 48);
        cycle(&profile);
        profile.record_free(dead, 32);
        profile.record_alloc(&[3], 64); // after marking: not in the profile yet
        profile.publish_swept();
        let seen = profile.snapshot(1);
        assert_eq!(seen.total().inuse_objects, 1);
        assert_eq!(seen.total().inuse_bytes, 48);
        cycle(&profile);
        assert_eq!(profile.snapshot(1), seen, "nothing was published twice");
        cycle(&profile);
        assert_eq!(profile.snapshot(1).total().inuse_bytes, 48 + 64);
    }

    /// Random programs against a map of live objects: after two cycles without
    /// allocation, what is in use is what lives; at no time is more freed than allocated.
    #[test]
    fn in_use_agrees_with_the_live_objects() {
        for seed in 1..30u64 {
            let profile = small(if seed % 2 == 0 { 1000 } else { 3 });
            let mut random = Random::new(seed);
            let mut live: Vec<(BucketId, usize)> = Vec::new();
            let mut dead: Vec<(BucketId, usize)> = Vec::new();
            let mut allocated = BTreeMap::<usize, u64>::new();
            for _ in 0..300 {
                match random.below(8) {
                    0 => {
                        profile.begin_cycle();
                        profile.publish();
                        for (bucket, size) in dead.drain(..) {
                            profile.record_free(bucket, size);
                        }
                        for record in profile.snapshot(1).records {
                            assert!(record.frees <= record.allocs, "seed {seed}: {record:?}");
                        }
                    }
                    1 | 2 if !live.is_empty() => {
                        let index = random.below(live.len() as u64) as usize;
                        dead.push(live.swap_remove(index));
                    }
                    _ => {
                        let size = 16 << random.below(6);
                        let stack = [random.below(5) as usize, 7];
                        live.push((profile.record_alloc(&stack, size), size));
                        *allocated.entry(size).or_default() += 1;
                    }
                }
            }
            for _ in 0..3 {
                profile.begin_cycle();
                profile.publish();
                dead.drain(..).for_each(|(bucket, size)| profile.record_free(bucket, size));
            }
            let total = profile.snapshot(1).total();
            assert_eq!(total.inuse_objects, live.len() as u64, "seed {seed}");
            assert_eq!(total.inuse_bytes, live.iter().map(|&(_, size)| size as u64).sum::<u64>());
            assert_eq!(total.alloc_objects, allocated.values().sum::<u64>());
            assert_eq!(profile.samples(), total.alloc_objects);
        }
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound() {
        let profile = small(100);
        let mut ids = Vec::new();
        for stack in 0..5000usize {
            let size = 16 + stack % 3 * 2000;
            ids.push((profile.record_alloc(&[stack, 1], size), size));
            if stack == 100 {
                ids.push((profile.record_alloc(&[5, 1], 16 + 2 * 2000), 16 + 2 * 2000));
            }
        }
        let bytes = profile.bytes();
        assert_eq!(profile.overflows(), 4900);
        assert!(ids.iter().all(|(id, _)| id.0 < OTHER_BUCKETS + 100));
        for stack in 0..5000usize {
            profile.record_alloc(&[stack, 2], 64);
        }
        assert_eq!(profile.bytes(), bytes);
        cycle(&profile);
        cycle(&profile);
        let seen = profile.snapshot(1);
        assert_eq!(seen.total().inuse_objects, 10_001);
        let others: Vec<_> = seen.records.iter().filter(|record| record.stack.is_none()).collect();
        assert!(others.len() <= 5, "sizes of few powers of two: {others:?}");
        for record in others {
            let mean = record.alloc_bytes / record.allocs;
            assert!([16, 64, 2016, 4016].contains(&mean), "{record:?}");
        }
    }

    #[test]
    fn stacks_are_cut_to_the_depth_and_told_apart() {
        let profile = small(100);
        let deep = profile.record_alloc(&[1, 2, 3, 4, 5], 16);
        assert_eq!(deep, profile.record_alloc(&[1, 2, 3, 4, 6], 16), "cut at four frames");
        let others = [
            profile.record_alloc(&[1, 2, 3], 16),
            profile.record_alloc(&[1, 2, 3, 4], 32),
            profile.record_alloc(&[], 16),
            profile.record_alloc(&[4, 3, 2, 1], 16),
        ];
        for (index, id) in others.iter().enumerate() {
            assert!(*id != deep && !others[..index].contains(id), "{others:?}");
        }
    }

    #[test]
    fn a_profile_without_samples_takes_nothing() {
        let profile = Profile::new(ProfileConfig::default());
        cycle(&profile);
        assert_eq!((profile.bytes(), profile.samples(), profile.overflows()), (0, 0, 0));
        assert!(profile.snapshot(512).records.is_empty());
        let full = small(0);
        full.record_alloc(&[1], 100);
        assert_eq!(full.overflows(), 1);
    }

    #[test]
    fn sampling_and_unskewing_estimate_the_program() {
        let rate = 16 << 10;
        let profile = small(100);
        let mut random = Random::new(11);
        let mut gap = random.exponential(rate);
        let sizes = [(1usize, 1024usize), (2, 512), (3, 16 << 10)];
        for _ in 0..100_000 {
            for (stack, size) in sizes {
                if gap < size as u64 {
                    profile.record_alloc(&[stack], size);
                    gap = random.exponential(rate);
                } else {
                    gap -= size as u64;
                }
            }
        }
        cycle(&profile);
        cycle(&profile);
        for record in profile.snapshot(rate).records {
            let stack = record.stack.as_ref().expect("the table has room")[0];
            let size = sizes[stack - 1].1 as f64;
            let values = record.unskewed(rate);
            assert!((values.inuse_objects as f64 / 100_000.0 - 1.0).abs() < 0.1, "{record:?}");
            assert!((values.inuse_bytes as f64 / (100_000.0 * size) - 1.0).abs() < 0.1);
        }
    }

    #[test]
    fn threads_record_beside_publications() {
        let profile = small(1000);
        std::thread::scope(|scope| {
            for thread in 0..3usize {
                let profile = &profile;
                scope.spawn(move || {
                    for number in 0..2000 {
                        let bucket = profile.record_alloc(&[thread, number % 50], 64);
                        profile.record_free(bucket, 64);
                    }
                });
            }
            for _ in 0..50 {
                cycle(&profile);
                profile.snapshot(1);
            }
        });
        (0..3).for_each(|_| cycle(&profile));
        let total = profile.snapshot(1).total();
        assert_eq!((total.alloc_objects, total.inuse_objects), (6000, 0));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A bucket: what waits, and what is published.
    type Pair = Arc<(Counts, Counts)>;

    fn frees(counts: &Counts) -> (u64, u64) {
        (counts.frees.load(Relaxed), counts.free_bytes.load(Relaxed))
    }

    /// Frees credited beside a publication are in it or wait for the next: none
    /// is lost, none counts twice.
    #[test]
    fn loom_a_publication_loses_no_free() {
        loom::model(|| {
            let bucket: Pair = Arc::default();
            let sweeper = Arc::clone(&bucket);
            let sweeper = thread::spawn(move || {
                sweeper.0.add_free(1, 32);
                sweeper.0.add_free(1, 32);
            });
            bucket.0.move_to(&bucket.1);
            sweeper.join().unwrap();
            let ((waiting, _), (published, _)) = (frees(&bucket.0), frees(&bucket.1));
            assert_eq!(waiting + published, 2);
            bucket.0.move_to(&bucket.1);
            assert_eq!((frees(&bucket.0), frees(&bucket.1)), ((0, 0), (2, 64)));
        });
    }

    /// A forced collection may publish beside a sweeper and another publisher.
    #[test]
    fn loom_two_publications_publish_once() {
        loom::model(|| {
            let bucket: Pair = Arc::default();
            bucket.0.add_free(1, 32);
            let other = Arc::clone(&bucket);
            let other = thread::spawn(move || other.0.move_to(&other.1));
            bucket.0.move_to(&bucket.1);
            other.join().unwrap();
            assert_eq!((frees(&bucket.0), frees(&bucket.1)), ((0, 0), (1, 32)));
        });
    }
}
