//! The heap profile of running mutators: the origin's profile tests, the bound
//! of the table, and a look through `go tool pprof`.

mod support;

use mallocgc::observe::{ProfileConfig, ProfileSnapshot, ProfileValues};
use mallocgc::raw::{AllocFlags, Config, Force, Heap, Layout, Mutator, Root, TypeLayout};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A heap that samples at this rate, collected and finalized on request.
fn heap_at(profile_rate: u64) -> Heap {
    support::heap_with(Config { profile_rate, background: false, ..support::manual() })
}

fn gc(mutator: &Mutator) {
    mutator.gc(Force::NowAndSweep).expect("a collection");
    mutator.heap().stats_at_rest().check().expect("statistics agree");
}

/// The estimates by size of objects.
fn by_size(profile: &ProfileSnapshot) -> BTreeMap<u64, ProfileValues> {
    let mut sums: BTreeMap<u64, ProfileValues> = BTreeMap::new();
    for record in &profile.records {
        let values = record.unskewed(profile.rate);
        let sum = sums.entry(record.alloc_bytes / record.allocs).or_default();
        sum.alloc_objects += values.alloc_objects;
        sum.alloc_bytes += values.alloc_bytes;
        sum.inuse_objects += values.inuse_objects;
        sum.inuse_bytes += values.inuse_bytes;
    }
    sums
}

// --- heapsampling ------------------------------------------------------------

const KIB: usize = 1 << 10;

/// The first size whose objects or bytes are estimated more than a tenth off.
fn first_off(profile: &ProfileSnapshot, sizes: &[usize], rounds: u64) -> Option<String> {
    let seen = by_size(profile);
    sizes.iter().find_map(|&size| {
        let values = seen.get(&(size as u64)).copied().unwrap_or_default();
        let objects = values.alloc_objects as f64 / rounds as f64;
        let bytes = values.alloc_bytes as f64 / (rounds * size as u64) as f64;
        let fits = (0.9..=1.1).contains(&objects) && (0.9..=1.1).contains(&bytes);
        (!fits).then(|| format!("{size} bytes: {objects} of the objects, {bytes} of the bytes"))
    })
}

/// One attempt fails by chance once in a hundred times at most; three do not.
fn estimates_are_unbiased(sizes: &[usize], rounds: u64, collect_every: u64) {
    let mut off = Vec::new();
    for _ in 0..3 {
        let heap = heap_at(16 * KIB as u64);
        let mutator = heap.attach().expect("a mutator");
        for round in 0..rounds {
            for &size in sizes {
                black_box(mutator.raw_mem(size).expect("memory"));
            }
            if round % collect_every == 0 {
                gc(&mutator);
            }
        }
        gc(&mutator);
        let profile = heap.profile();
        assert_eq!(profile.rate, 16 * KIB as u64);
        assert_eq!(profile.total().inuse_objects, 0, "nothing is alive");
        match first_off(&profile, sizes, rounds) {
            None => return,
            Some(message) => off.push(message),
        }
    }
    panic!("three attempts were off: {off:?}");
}

#[test]
fn heapsampling_interleaved_sizes_within_a_tenth() {
    let sizes = [64 * KIB, KIB, 32 * KIB, 512, 16 * KIB, 256];
    estimates_are_unbiased(&sizes, 50_000, 500);
}

#[test]
fn heapsampling_small_sizes_within_a_tenth() {
    estimates_are_unbiased(&[KIB, 512, 256], 50_000, 5_000);
}

/// Flushes in the middle of chunks throw gaps away and must not count twice.
#[test]
fn heapsampling_survives_a_flush_every_few_objects() {
    estimates_are_unbiased(&[512, 256], 50_000, 9);
}

// --- MemoryProfiler: rate 1 is exact -----------------------------------------

#[inline(never)]
fn allocate_persistent_32(mutator: &Mutator) {
    for _ in 0..32 {
        let object = mutator.mallocgc(32, Layout::NOSCAN, AllocFlags::NONE);
        mutator.push_root(object.expect("memory"));
    }
}

#[inline(never)]
fn allocate_transient_1k(mutator: &Mutator) {
    for _ in 0..1024 {
        black_box(mutator.mallocgc(KIB, Layout::NOSCAN, AllocFlags::NONE).expect("memory"));
    }
}

#[inline(never)]
fn allocate_transient_2m(mutator: &Mutator) {
    black_box(mutator.raw_mem(2 << 20).expect("memory"));
}

const NOTHING_IN_USE: ProfileValues =
    ProfileValues { alloc_objects: 0, alloc_bytes: 0, inuse_objects: 0, inuse_bytes: 0 };

#[test]
fn memory_profiler_rate_one_is_exact() {
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    allocate_persistent_32(&mutator);
    allocate_transient_1k(&mutator);
    allocate_transient_2m(&mutator);
    assert!(heap.profile().records.is_empty(), "nothing is shown before a collection");
    gc(&mutator);
    let seen = by_size(&heap.profile());
    let freed = |objects, bytes| ProfileValues {
        alloc_objects: objects,
        alloc_bytes: bytes,
        ..NOTHING_IN_USE
    };
    let kept = ProfileValues {
        alloc_objects: 32,
        alloc_bytes: 32 * 32,
        inuse_objects: 32,
        inuse_bytes: 32 * 32,
    };
    let expected = [(32, kept), (1024, freed(1024, 1 << 20)), (2 << 20, freed(1, 2 << 20))];
    assert_eq!(seen, expected.into());
    let stats = heap.stats();
    assert_eq!(stats.profile_samples, 32 + 1024 + 1);
    assert_eq!(stats.profile_overflows, 0);
    assert!(stats.bucket_hash_sys > 0);
    assert_eq!(heap.special_counts().samples, 32 + 1024 + 1);
}

#[test]
fn objects_freed_are_not_in_use_after_two_collections() {
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    allocate_transient_1k(&mutator);
    for _ in 0..2 {
        mutator.gc(Force::Now).expect("a collection");
    }
    let total = heap.profile().total();
    assert_eq!((total.alloc_objects, total.alloc_bytes), (1024, 1 << 20));
    assert_eq!((total.inuse_objects, total.inuse_bytes), (0, 0));
}

#[test]
fn tiny_objects_in_a_shared_block_are_one_sample() {
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    for _ in 0..1000 {
        mutator.mallocgc(8, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
    }
    assert_eq!(heap.stats().profile_samples, 500);
    assert_eq!(heap.stats().tiny_allocs, 500);
}

#[test]
fn objects_behind_a_header_word_are_sampled_and_freed() {
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    for words in 3..40 {
        let layout = heap.layout(&TypeLayout::mask(words, 1 << (words - 1))).expect("a layout");
        mutator.new_object(layout).expect("memory");
    }
    gc(&mutator);
    let total = heap.profile().total();
    assert_eq!((total.alloc_objects, total.inuse_objects), (37, 0));
}

// --- the rate ----------------------------------------------------------------

#[test]
fn a_changed_rate_is_noticed_at_the_next_refill() {
    let heap = heap_at(0);
    let mutator = heap.attach().expect("a mutator");
    let fill = || {
        for _ in 0..4096 {
            mutator.mallocgc(64, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        }
        heap.stats().profile_samples
    };
    assert_eq!(fill(), 0);
    assert_eq!(heap.stats().bucket_hash_sys, 0, "a heap that does not profile pays nothing");
    assert_eq!(heap.set_profile_rate(1), 0);
    let samples = fill();
    // What is left of a chunk of cells, a page at most, goes without.
    assert!((4096 - 128..=4096).contains(&samples), "{samples}");
    assert_eq!(heap.set_profile_rate(0), 1);
    assert_eq!(heap.profile_rate(), 0);
    let after = fill();
    assert!(after - samples <= 1, "{samples}, then {after}");
}

#[test]
fn mutators_sample_side_by_side() {
    let heap = heap_at(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mutator = heap.attach().expect("a mutator");
                for number in 0..2000 {
                    black_box(mutator.raw_mem(16 + number % 500).expect("memory"));
                    mutator.poll();
                    if number % 500 == 0 {
                        mutator.gc(Force::Now).expect("a collection");
                    }
                }
            });
        }
    });
    heap.gc(Force::NowAndSweep).expect("a collection");
    let total = heap.profile().total();
    assert_eq!((total.alloc_objects, total.inuse_objects), (4 * 2000, 0));
    heap.stats_at_rest().check().expect("statistics agree");
}

// --- finprofiled -------------------------------------------------------------

/// Samples and finalizers on the same blocks: as in the origin every third of
/// many objects of four bytes has a finalizer that keeps it, so every block
/// stays, and every block is in the profile.
#[test]
fn finprofiled_blocks_with_finalizers_stay_in_the_profile() {
    const OBJECTS: usize = 1 << 16;
    let heap = heap_at(1);
    let mut mutator = heap.attach().expect("a mutator");
    let held: Arc<Mutex<Vec<Root>>> = Arc::default();
    for number in 0..OBJECTS {
        let object = mutator.mallocgc(4, Layout::NOSCAN, AllocFlags::NONE).expect("memory");
        if number % 3 == 0 {
            let held = held.clone();
            let keep = move |mutator: &mut Mutator, object| {
                let root = mutator.heap().root(object).expect("a handle");
                held.lock().expect("no panic").push(root);
            };
            mutator.set_finalizer(object, keep).expect("a finalizer");
        }
    }
    for _ in 0..3 {
        gc(&mutator);
        mutator.run_finalizers(usize::MAX);
    }
    assert_eq!(held.lock().expect("no panic").len(), OBJECTS.div_ceil(3));
    gc(&mutator);
    let total = heap.profile().total();
    assert_eq!(total.inuse_bytes, 4 * OBJECTS as u64);
    held.lock().expect("no panic").clear();
    gc(&mutator);
    assert_eq!(heap.profile().total().inuse_bytes, 0);
}

// --- the bound ---------------------------------------------------------------

/// Allocates from a stack that no other `path` gives: one bit of it decides at
/// each turn which of two functions is called.
#[inline(never)]
fn by_path(mutator: &Mutator, path: u32, turns: u32) -> usize {
    match (turns, path & 1) {
        (0, _) => mutator.raw_mem(64).expect("memory").as_ptr().addr(),
        (_, 0) => turn::<3>(mutator, path >> 1, turns - 1),
        _ => turn::<5>(mutator, path >> 1, turns - 1),
    }
}

/// The result is used after the call, or that would be a jump.
#[inline(never)]
fn turn<const MARK: usize>(mutator: &Mutator, path: u32, turns: u32) -> usize {
    MARK ^ black_box(by_path(mutator, path, turns))
}

#[test]
fn the_table_is_bounded_and_totals_stay_right() {
    const PATH_BITS: u32 = 15;
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    for path in 0..1 << PATH_BITS {
        black_box(by_path(&mutator, path, PATH_BITS));
    }
    let stats = heap.stats();
    let bound = u64::from(ProfileConfig::default().max_buckets);
    assert_eq!(stats.profile_samples, 1 << PATH_BITS);
    assert_eq!(stats.profile_overflows, (1 << PATH_BITS) - bound);
    assert!(stats.bucket_hash_sys < 16 << 20, "{} bytes", stats.bucket_hash_sys);
    gc(&mutator);
    let profile = heap.profile();
    assert_eq!(profile.records.len() as u64, bound + 1);
    assert_eq!(profile.total().alloc_objects, 1 << PATH_BITS);
    assert_eq!(profile.total().inuse_objects, 0);
    let others = profile.records.iter().find(|record| record.stack.is_none());
    assert_eq!(others.map(|record| record.allocs), Some(stats.profile_overflows));
}

/// A heap whose settings bound its profile, after allocations on many paths.
fn bounded(profile_max_buckets: u32, profile_max_frames: usize) -> (Heap, u64) {
    const BITS: u32 = 9;
    let config = Config { background: false, profile_rate: 1, ..support::manual() };
    let heap = support::heap_with(Config { profile_max_buckets, profile_max_frames, ..config });
    let mutator = heap.attach().expect("a mutator");
    for path in 0..1 << BITS {
        black_box(by_path(&mutator, path, BITS));
    }
    gc(&mutator);
    drop(mutator);
    (heap, 1 << BITS)
}

#[test]
fn settings_bound_the_table_and_what_overflows_is_told() {
    for max_buckets in [0, 1, 100] {
        let (heap, samples) = bounded(max_buckets, 64);
        let (stats, profile) = (heap.stats(), heap.profile());
        let kept = u64::from(max_buckets);
        assert_eq!((stats.profile_samples, stats.profile_overflows), (samples, samples - kept));
        assert!(stats.bucket_hash_sys < 256 << 10, "{} bytes", stats.bucket_hash_sys);
        let with_stack = profile.records.iter().filter(|record| record.stack.is_some());
        assert_eq!(with_stack.count() as u64, kept);
        assert_eq!(profile.total().alloc_objects, samples, "and no sample is lost");
    }
}

#[test]
fn settings_bound_the_stacks() {
    // So few frames are the same on all paths: one bucket has them all.
    let (heap, samples) = bounded(16_384, 1);
    assert_eq!(heap.stats().profile_overflows, 0);
    let records = heap.profile().records;
    assert_eq!((records.len(), records[0].allocs), (1, samples));
    assert_eq!(records[0].stack.as_ref().map(Vec::len), Some(1));
    for (max_frames, deepest) in [(0, 0), (6, 6), (usize::MAX, 128)] {
        let (heap, _) = bounded(16_384, max_frames);
        let depths = heap.profile().records.into_iter().map(|it| it.stack.unwrap().len());
        assert!(depths.max() <= Some(deepest), "at most {max_frames}");
    }
}

// --- through pprof -----------------------------------------------------------

/// What `go tool pprof` says of a profile; `None` where it is missing.
fn pprof(arguments: &[&str], profile: &ProfileSnapshot, name: &str) -> Option<String> {
    let file = std::env::temp_dir().join(format!("mallocgc-{name}-{}.pprof", std::process::id()));
    let mut out = std::fs::File::create(&file).expect("a file");
    profile.write_pprof(&mut out).expect("written");
    drop(out);
    let output = Command::new("go").args(["tool", "pprof"]).args(arguments).arg(&file).output();
    std::fs::remove_file(&file).expect("removed");
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("no such tool") => {
            eprintln!("skipped: this go has no pprof");
            return None;
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            eprintln!("skipped: go is not installed");
            return None;
        }
    };
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn pprof_top_names_the_functions_that_allocate() {
    let heap = heap_at(1);
    let mutator = heap.attach().expect("a mutator");
    allocate_persistent_32(&mutator);
    allocate_transient_1k(&mutator);
    allocate_transient_2m(&mutator);
    gc(&mutator);
    let profile = heap.profile();
    let line = |text: &str, function: &str| {
        let found = text.lines().find(|line| line.contains(function));
        found.unwrap_or_else(|| panic!("no {function} in\n{text}")).to_owned()
    };
    let Some(space) = pprof(&["-top", "-sample_index=alloc_space"], &profile, "space") else {
        return;
    };
    let Some(in_use) = pprof(&["-top", "-sample_index=inuse_space"], &profile, "in-use") else {
        return;
    };
    let (space_1k, space_2m) =
        (line(&space, "allocate_transient_1k"), line(&space, "allocate_transient_2m"));
    let kept = line(&in_use, "allocate_persistent_32");
    if cfg!(feature = "profile") {
        // Frames of the library are cut off, so the flat column is theirs.
        assert!(space_1k.trim_start().starts_with("1MB"), "{space}");
        assert!(space_2m.trim_start().starts_with("2MB"), "{space}");
        assert!(kept.trim_start().starts_with("1kB"), "{in_use}");
    }
    assert!(!in_use.contains("allocate_transient"), "{in_use}");
}
