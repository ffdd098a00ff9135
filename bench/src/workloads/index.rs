//! index: an inverted index and a trie over real text files, served while files change.
//!
//! Every file of a list is read and cut into words; the index has a posting for each word in a file, with the
//! positions; the trie's nodes point back to their parents and to the posting lists, postings to their neighbours,
//! their word and their file. Then `queries` queries are answered (the best files for a word, for two words,
//! for two words close to each other; the words with a common beginning), and at every 16th a file is dropped and
//! one dropped earlier is read again. All of it is on the heap, and most of it in cycles.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{Session, set};
use crate::host::Stopwatch;
use crate::random::{Digest, Random};
use crate::report::Outcome;
use crate::words::{Words, hash_of, near};
use mallocgc::raw::{AllocClass, AllocError, AllocFlags, Layout, Mutator, TypeLayout};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::ptr::{NonNull, null_mut};

pub(super) const CASES: &[Case] = &[Case {
    name: "index",
    about: "an inverted index and a trie over real text files, served while files change",
    threads: Threads::ONE,
    parameters,
    reads_input: true,
    measure: Measure::ProcessCpu,
    set: Some(Set::Representative),
    peers: &Runtime::HEAP_PEERS,
    run,
}];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("input_bytes", 200_000), ("queries", 400)],
        Scale::Quick => &[("input_bytes", 32 << 20), ("queries", 4_000)],
        Scale::Full => &[("input_bytes", 1 << 40), ("queries", 2_000)],
    }
}

/// Trie node; children in ascending order of their label.
#[repr(C)]
struct Node {
    parent: *mut Node,
    child: *mut Node,
    sibling: *mut Node,
    term: *mut Term,
    label: u64,
}

/// Word of the inverted index, with its posting list.
#[repr(C)]
struct Term {
    chain: *mut Term,
    node: *mut Node,
    first: *mut Posting,
    last: *mut Posting,
    text: *mut u8,
    length: u64,
    capacity: u64,
    hash: u64,
    files: u64,
}

/// One term in one file.
#[repr(C)]
struct Posting {
    term: *mut Term,
    file: *mut Document,
    prev: *mut Posting,
    next: *mut Posting,
    positions: *mut u32,
    count: u64,
    capacity: u64,
}

/// One file.
#[repr(C)]
struct Document {
    postings: *mut *mut Posting,
    count: u64,
    capacity: u64,
    id: u64,
    tokens: u64,
}

/// Result of a query.
#[repr(C)]
struct Hit {
    next: *mut Hit,
    file: *mut Document,
    score: u64,
}

/// Result of a prefix query.
#[repr(C)]
struct Found {
    next: *mut Found,
    term: *mut Term,
    text: *mut u8,
}

/// Classes of objects, resolved once.
struct Classes {
    node: AllocClass,
    term: AllocClass,
    posting: AllocClass,
    document: AllocClass,
    hit: AllocClass,
    found: AllocClass,
    references: Layout,
}

impl Classes {
    fn new(session: &Session, mutator: &Mutator) -> Result<Classes, RunError> {
        let class = |bytes: usize, mask| -> Result<AllocClass, RunError> {
            let layout = session.layout(&TypeLayout::mask(bytes / 8, mask))?;
            Ok(mutator.alloc_class(bytes, layout)?)
        };
        Ok(Classes {
            node: class(size_of::<Node>(), 0b1111)?,
            term: class(size_of::<Term>(), 0b1_1111)?,
            posting: class(size_of::<Posting>(), 0b1_1111)?,
            document: class(size_of::<Document>(), 0b1)?,
            hit: class(size_of::<Hit>(), 0b11)?,
            found: class(size_of::<Found>(), 0b111)?,
            references: session.references()?,
        })
    }
}

/// The index.
///
/// # Invariants
///
/// 1. `root`, `buckets`, `files` and `seen` are objects, kept by places of the mutator's root stack;
///    `buckets` has `bucket_count` references, `files` and `seen` have one for each path.
/// 2. All other objects are reached from these, from a place of the root stack, or were made since the
///    last poll. Polls are in `add`, between words, and between queries only.
/// 3. Counts in objects are true: a term's text has `length` bytes; `positions` and `postings` have room for
///    `capacity` and hold `count`.
struct Index<'s> {
    mutator: &'s Mutator,
    classes: Classes,
    paths: Vec<String>,
    root: *mut Node,
    buckets: *mut *mut Term,
    buckets_root: usize,
    bucket_count: u64,
    files: *mut *mut Document,
    seen: *mut *mut Posting,
    terms: u64,
    nodes: u64,
    check: Digest,
}

// SAFETY of the unsafe blocks below, where nothing else is said: objects are alive by invariants 1 and 2, and
// accesses stay inside them by invariants 1 and 3.
impl<'s> Index<'s> {
    fn new(
        session: &Session,
        mutator: &'s Mutator,
        paths: Vec<String>,
    ) -> Result<Index<'s>, RunError> {
        let classes = Classes::new(session, mutator)?;
        let rooted = |object: NonNull<u8>| (object, mutator.push_root(object));
        let references = classes.references;
        let (root, _) = rooted(mutator.alloc(classes.node)?);
        let (buckets, buckets_root) = rooted(mutator.new_array(references, 1024)?);
        let (files, _) = rooted(mutator.new_array(references, paths.len())?);
        let (seen, _) = rooted(mutator.new_array(references, paths.len())?);
        Ok(Index {
            mutator,
            classes,
            paths,
            root: root.cast().as_ptr(),
            buckets: buckets.cast().as_ptr(),
            buckets_root,
            bucket_count: 1024,
            files: files.cast().as_ptr(),
            seen: seen.cast().as_ptr(),
            terms: 0,
            nodes: 0,
            check: Digest::new(),
        })
    }

    fn make<T>(&self, class: AllocClass) -> Result<*mut T, AllocError> {
        Ok(self.mutator.alloc(class)?.cast().as_ptr())
    }

    fn bucket(&self, hash: u64) -> *mut *mut Term {
        // SAFETY: invariant 1.
        unsafe { self.buckets.add((hash & (self.bucket_count - 1)) as usize) }
    }

    fn file(&self, id: u64) -> *mut Document {
        assert!(id < self.paths.len() as u64);
        // SAFETY: invariant 1 and the line above.
        unsafe { *self.files.add(id as usize) }
    }

    fn grow_table(&mut self) -> Result<(), AllocError> {
        let (old, count) = (self.buckets, self.bucket_count);
        let grown = self.mutator.new_array(self.classes.references, 2 * count as usize)?;
        self.mutator.set_root(self.buckets_root, grown);
        self.buckets = grown.cast().as_ptr();
        self.bucket_count = 2 * count;
        for i in 0..count as usize {
            // SAFETY: invariants 1 and 2; the old table lives until the next poll.
            unsafe {
                let mut term = *old.add(i);
                while !term.is_null() {
                    let next = (*term).chain;
                    let bucket = self.bucket((*term).hash);
                    set(self.mutator, &raw mut (*term).chain, *bucket);
                    set(self.mutator, bucket, term);
                    term = next;
                }
            }
        }
        Ok(())
    }

    /// Finds or makes the trie node of a text.
    fn plant(&mut self, text: &[u8]) -> Result<*mut Node, AllocError> {
        let mut node = self.root;
        for label in text {
            let label = u64::from(*label);
            // SAFETY: invariants 1 and 2.
            unsafe {
                let mut link = &raw mut (*node).child;
                while !(*link).is_null() && (**link).label < label {
                    link = &raw mut (**link).sibling;
                }
                if (*link).is_null() || (**link).label != label {
                    let made: *mut Node = self.make(self.classes.node)?;
                    set(self.mutator, &raw mut (*made).parent, node);
                    set(self.mutator, &raw mut (*made).sibling, *link);
                    (*made).label = label;
                    set(self.mutator, link, made);
                    self.nodes += 1;
                }
                node = *link;
            }
        }
        Ok(node)
    }

    /// Takes away a node and its ancestors as far as they lead nowhere.
    fn prune(&mut self, mut node: *mut Node) {
        // SAFETY: invariants 1 and 2.
        unsafe {
            while !(*node).parent.is_null() && (*node).term.is_null() && (*node).child.is_null() {
                let parent = (*node).parent;
                let mut link = &raw mut (*parent).child;
                while *link != node {
                    link = &raw mut (**link).sibling;
                }
                set(self.mutator, link, (*node).sibling);
                self.nodes -= 1;
                node = parent;
            }
        }
    }

    fn term_of(&mut self, text: &[u8]) -> Result<*mut Term, AllocError> {
        let hash = hash_of(text);
        let length = text.len() as u64;
        // SAFETY: invariants 1, 2 and 3; what is made here is not polled away before it is linked.
        unsafe {
            let mut term = *self.bucket(hash);
            while !term.is_null() {
                if (*term).hash == hash && text_of(term) == text {
                    return Ok(term);
                }
                term = (*term).chain;
            }
            if self.terms == self.bucket_count {
                self.grow_table()?;
            }
            let own = self.mutator.mallocgc(text.len(), Layout::NOSCAN, AllocFlags::NONE)?.as_ptr();
            own.copy_from_nonoverlapping(text.as_ptr(), text.len());
            let term: *mut Term = self.make(self.classes.term)?;
            set(self.mutator, &raw mut (*term).text, own);
            (*term).length = length;
            (*term).capacity = length;
            (*term).hash = hash;
            let bucket = self.bucket(hash);
            set(self.mutator, &raw mut (*term).chain, *bucket);
            set(self.mutator, bucket, term);
            self.terms += 1;
            let node = self.plant(text)?;
            set(self.mutator, &raw mut (*term).node, node);
            set(self.mutator, &raw mut (*node).term, term);
            Ok(term)
        }
    }

    /// Adds the next word of a file.
    fn note(&mut self, file: *mut Document, term: *mut Term) -> Result<(), AllocError> {
        let mutator = self.mutator;
        // SAFETY: invariants 2 and 3.
        unsafe {
            let mut p = (*term).last;
            if p.is_null() || (*p).file != file {
                p = self.make(self.classes.posting)?;
                set(mutator, &raw mut (*p).term, term);
                set(mutator, &raw mut (*p).file, file);
                set(mutator, &raw mut (*p).prev, (*term).last);
                let positions = mutator.mallocgc(16, Layout::NOSCAN, AllocFlags::NONE)?;
                set(mutator, &raw mut (*p).positions, positions.cast().as_ptr());
                (*p).capacity = 4;
                if (*term).last.is_null() {
                    set(mutator, &raw mut (*term).first, p);
                } else {
                    set(mutator, &raw mut (*(*term).last).next, p);
                }
                set(mutator, &raw mut (*term).last, p);
                (*term).files += 1;
                if (*file).count == (*file).capacity {
                    let capacity = (2 * (*file).capacity).max(16);
                    let grown = mutator.new_array(self.classes.references, capacity as usize)?;
                    let grown = grown.cast::<*mut Posting>().as_ptr();
                    for i in 0..(*file).count as usize {
                        set(mutator, grown.add(i), *(*file).postings.add(i));
                    }
                    set(mutator, &raw mut (*file).postings, grown);
                    (*file).capacity = capacity;
                }
                set(mutator, (*file).postings.add((*file).count as usize), p);
                (*file).count += 1;
            }
            if (*p).count == (*p).capacity {
                let bytes = 8 * (*p).capacity as usize;
                let grown = mutator.mallocgc(bytes, Layout::NOSCAN, AllocFlags::NONE)?;
                let grown = grown.cast::<u32>().as_ptr();
                grown.copy_from_nonoverlapping((*p).positions, (*p).count as usize);
                set(mutator, &raw mut (*p).positions, grown);
                (*p).capacity *= 2;
            }
            (*p).positions.add((*p).count as usize).write((*file).tokens as u32);
            (*p).count += 1;
            (*file).tokens += 1;
        }
        Ok(())
    }

    /// The content of a file, as an object; what cannot be read is empty.
    fn read(&self, path: &str) -> Result<(NonNull<u8>, usize), AllocError> {
        let nothing = Ok((self.mutator.heap().zero_base(), 0));
        let Ok(mut file) = File::open(path) else { return nothing };
        let Ok(info) = file.metadata() else { return nothing };
        let bytes = info.len() as usize;
        let object = self.mutator.mallocgc(bytes, Layout::NOSCAN, AllocFlags::NONE)?;
        // SAFETY: the object is new and has so many bytes.
        let content = unsafe { std::slice::from_raw_parts_mut(object.as_ptr(), bytes) };
        let mut length = 0;
        while length < bytes {
            match file.read(&mut content[length..]) {
                Ok(n) if n > 0 => length += n,
                _ => break,
            }
        }
        Ok((object, length))
    }

    fn add(&mut self, id: u64) -> Result<(), AllocError> {
        let (object, bytes) = self.read(&self.paths[id as usize])?;
        let depth = self.mutator.push_root(object);
        let file: *mut Document = self.make(self.classes.document)?;
        // SAFETY: invariants 1 and 2; `id` is a path's number.
        unsafe {
            (*file).id = id;
            set(self.mutator, self.files.add(id as usize), file);
        }
        // SAFETY: the object is a root until the end, and nobody writes it any more.
        let content = unsafe { std::slice::from_raw_parts(object.as_ptr(), bytes) };
        let mut words = Words::of(content);
        while let Some(word) = words.next() {
            let term = self.term_of(word)?;
            self.note(file, term)?;
            self.mutator.poll();
        }
        self.mutator.truncate_roots(depth);
        Ok(())
    }

    fn drop_file(&mut self, id: u64) {
        let mutator = self.mutator;
        let file = self.file(id);
        // SAFETY: invariants 1, 2 and 3; no poll is on the way.
        unsafe {
            set(mutator, self.files.add(id as usize), null_mut());
            for i in 0..(*file).count as usize {
                let p = *(*file).postings.add(i);
                let (term, prev, next) = ((*p).term, (*p).prev, (*p).next);
                if prev.is_null() {
                    set(mutator, &raw mut (*term).first, next);
                } else {
                    set(mutator, &raw mut (*prev).next, next);
                }
                if next.is_null() {
                    set(mutator, &raw mut (*term).last, prev);
                } else {
                    set(mutator, &raw mut (*next).prev, prev);
                }
                (*term).files -= 1;
                if (*term).files == 0 {
                    let mut link = self.bucket((*term).hash);
                    while *link != term {
                        link = &raw mut (**link).chain;
                    }
                    set(mutator, link, (*term).chain);
                    self.terms -= 1;
                    let node = (*term).node;
                    set(mutator, &raw mut (*node).term, null_mut());
                    self.prune(node);
                }
            }
        }
    }

    fn answer(&mut self, top: &Top<'_>) {
        let mut hit = top.first;
        while !hit.is_null() {
            // SAFETY: hits were made since the last poll.
            unsafe {
                self.check.add((*(*hit).file).id << 32 | (*hit).score);
                hit = (*hit).next;
            }
        }
        self.check.add(top.count);
    }

    fn top(&self) -> Top<'s> {
        Top { mutator: self.mutator, class: self.classes.hit, first: null_mut(), count: 0 }
    }

    /// The best files for a word.
    fn one(&mut self, a: *mut Term) -> Result<(), AllocError> {
        let mut top = self.top();
        // SAFETY: invariant 2.
        unsafe {
            let mut p = (*a).first;
            while !p.is_null() {
                top.offer((*p).file, (*p).count)?;
                p = (*p).next;
            }
        }
        self.answer(&top);
        Ok(())
    }

    /// The best files with two words, anywhere or close to each other.
    fn both(&mut self, a: *mut Term, b: *mut Term, place: Place) -> Result<(), AllocError> {
        let mut top = self.top();
        // SAFETY: invariants 1, 2 and 3.
        unsafe {
            let mut p = (*a).first;
            while !p.is_null() {
                set(self.mutator, self.seen.add((*(*p).file).id as usize), p);
                p = (*p).next;
            }
            let mut p = (*b).first;
            while !p.is_null() {
                let other = *self.seen.add((*(*p).file).id as usize);
                if !other.is_null() {
                    let score = match place {
                        Place::Anywhere => (*p).count + (*other).count,
                        Place::Close => near(positions(other), positions(p)),
                    };
                    if score != 0 {
                        top.offer((*p).file, score)?;
                    }
                }
                p = (*p).next;
            }
            let mut p = (*a).first;
            while !p.is_null() {
                set(self.mutator, self.seen.add((*(*p).file).id as usize), null_mut());
                p = (*p).next;
            }
        }
        self.answer(&top);
        Ok(())
    }

    /// The text of a node, written from its way to the root.
    fn spell(&self, node: *mut Node) -> Result<*mut u8, AllocError> {
        // SAFETY: invariant 2; the text has as many bytes as the way has nodes.
        unsafe {
            let mut length = 0;
            let mut n = node;
            while !(*n).parent.is_null() {
                length += 1;
                n = (*n).parent;
            }
            let text = self.mutator.mallocgc(length, Layout::NOSCAN, AllocFlags::NONE)?.as_ptr();
            let mut n = node;
            while !(*n).parent.is_null() {
                length -= 1;
                text.add(length).write((*n).label as u8);
                n = (*n).parent;
            }
            Ok(text)
        }
    }

    /// Up to 50 words that begin with the same three letters, the last one first.
    fn prefix(&mut self, a: *mut Term) -> Result<(), AllocError> {
        let mut results: *mut Found = null_mut();
        let mut count = 0;
        // SAFETY: invariants 2 and 3; what is made here is used up before the next poll.
        unsafe {
            let mut top = (*a).node;
            for _ in 3..(*a).length {
                top = (*top).parent;
            }
            let mut node = top;
            while count < 50 {
                if !(*node).term.is_null() {
                    let text = self.spell(node)?;
                    let found: *mut Found = self.make(self.classes.found)?;
                    set(self.mutator, &raw mut (*found).next, results);
                    set(self.mutator, &raw mut (*found).term, (*node).term);
                    set(self.mutator, &raw mut (*found).text, text);
                    results = found;
                    count += 1;
                }
                if !(*node).child.is_null() {
                    node = (*node).child;
                    continue;
                }
                while node != top && (*node).sibling.is_null() {
                    node = (*node).parent;
                }
                if node == top {
                    break;
                }
                node = (*node).sibling;
            }
            while !results.is_null() {
                let term = (*results).term;
                let text = std::slice::from_raw_parts((*results).text, (*term).length as usize);
                self.check.add(hash_of(text).wrapping_add((*term).files));
                results = (*results).next;
            }
        }
        self.check.add(count);
        Ok(())
    }

    /// A random word of a random file.
    fn pick(&self, random: &mut Random) -> Option<*mut Term> {
        let file = self.file(random.below(self.paths.len() as u64));
        let choice = random.next() >> 32;
        // SAFETY: invariants 2 and 3.
        unsafe {
            if file.is_null() || (*file).count == 0 {
                return None;
            }
            Some((**(*file).postings.add(((choice * (*file).count) >> 32) as usize)).term)
        }
    }

    fn query(&mut self, kind: u64, random: &mut Random) -> Result<(), AllocError> {
        match (kind, self.pick(random), self.pick(random)) {
            (0, Some(a), Some(_)) => self.one(a)?,
            (1, Some(a), Some(b)) => self.both(a, b, Place::Anywhere)?,
            (2, Some(a), Some(b)) => self.both(a, b, Place::Close)?,
            (_, Some(a), Some(_)) => self.prefix(a)?,
            _ => self.check.add(kind),
        }
        Ok(())
    }

    fn totals(&mut self) {
        let (mut files, mut postings, mut tokens) = (0, 0, 0);
        for id in 0..self.paths.len() as u64 {
            let file = self.file(id);
            if !file.is_null() {
                files += 1;
                // SAFETY: invariant 2.
                unsafe {
                    postings += (*file).count;
                    tokens += (*file).tokens;
                }
            }
        }
        for total in [files, postings, tokens, self.terms, self.nodes] {
            self.check.add(total);
        }
    }
}

/// The text of a term.
///
/// # Safety
///
/// The term is alive, and so is the text until the next poll.
unsafe fn text_of<'t>(term: *mut Term) -> &'t [u8] {
    // SAFETY: the caller's promise, and invariant 3.
    unsafe { std::slice::from_raw_parts((*term).text, (*term).length as usize) }
}

/// The positions of a posting.
///
/// # Safety
///
/// The posting is alive, and nothing is added to it as long as the slice is used.
unsafe fn positions<'p>(p: *mut Posting) -> &'p [u32] {
    // SAFETY: the caller's promise, and invariant 3.
    unsafe { std::slice::from_raw_parts((*p).positions, (*p).count as usize) }
}

/// Where two words must be.
#[derive(Clone, Copy)]
enum Place {
    Anywhere,
    Close,
}

/// The ten best hits, best first: higher scores, then lower files. Lives between two polls.
struct Top<'m> {
    mutator: &'m Mutator,
    class: AllocClass,
    first: *mut Hit,
    count: u64,
}

impl Top<'_> {
    fn offer(&mut self, file: *mut Document, score: u64) -> Result<(), AllocError> {
        let mut link = &raw mut self.first;
        let mut place = 0;
        // SAFETY: hits were made since the last poll, and `file` is alive.
        unsafe {
            let before = |hit: *mut Hit| {
                (*hit).score > score || (*hit).score == score && (*(*hit).file).id < (*file).id
            };
            while !(*link).is_null() && before(*link) {
                link = &raw mut (**link).next;
                place += 1;
            }
            if place == 10 {
                return Ok(());
            }
            let hit = self.mutator.alloc(self.class)?.cast::<Hit>().as_ptr();
            set(self.mutator, &raw mut (*hit).next, *link);
            set(self.mutator, &raw mut (*hit).file, file);
            (*hit).score = score;
            self.put(link, hit);
            self.count += 1;
            if self.count > 10 {
                while !(**link).next.is_null() {
                    link = &raw mut (**link).next;
                }
                self.put(link, null_mut());
                self.count -= 1;
            }
        }
        Ok(())
    }

    /// Writes a link: the first one is this struct's, the others are fields of objects.
    ///
    /// # Safety
    ///
    /// `link` is `self.first` or the `next` of a hit made since the last poll.
    unsafe fn put(&mut self, link: *mut *mut Hit, hit: *mut Hit) {
        if std::ptr::eq(link, &self.first) {
            self.first = hit;
        } else {
            // SAFETY: the caller's promise.
            unsafe { set(self.mutator, link, hit) };
        }
    }
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let list = std::fs::read_to_string(run.text("list")?).map_err(RunError::failed("list"))?;
    let queries = run.number("queries")?;
    let session = Session::new()?;
    let mutator = session.attach()?;
    let mut index = Index::new(&session, &mutator, list.lines().map(str::to_owned).collect())?;
    let files = index.paths.len() as u64;
    let clock = Stopwatch::start();
    for id in 0..files {
        index.add(id)?;
    }
    let build_cpu_nanos = clock.cpu_nanos();
    index.totals();
    let clock = Stopwatch::start();
    let mut random = Random::new(12);
    let mut dropped = VecDeque::new();
    for q in 0..queries {
        if q % 16 == 0 {
            let id = random.below(files);
            let absent = index.file(id).is_null();
            if !absent {
                index.drop_file(id);
                dropped.push_back(id);
            }
            if absent || dropped.len() > 8 {
                let oldest = dropped.pop_front().expect("one is absent");
                index.add(oldest)?;
            }
        }
        index.query(q % 4, &mut random)?;
        mutator.poll();
    }
    let serve_cpu_nanos = clock.cpu_nanos();
    index.totals();
    let mut outcome = session.outcome(index.check.value());
    outcome.metric("build_cpu_nanos", build_cpu_nanos as f64);
    outcome.metric("serve_cpu_nanos", serve_cpu_nanos as f64);
    Ok(outcome)
}
