//! index with explicit freeing: nodes, terms, postings and files are linked by raw pointers.
//!
//! # Invariants
//!
//! 1. Terms are reached from the table, nodes from the root, postings from their term and from their file,
//!    files from `files`. What is reached is good.
//! 2. Freed are: a posting when its file is dropped; a term with its last posting; a node that has neither
//!    term nor child; each after every pointer to it is gone.

use crate::host::process_cpu_nanos;
use crate::random::{Digest, Random};
use crate::support::{Outcome, Run, fail};
use crate::words::{Words, hash_of, near};
use std::collections::VecDeque;
use std::io::Read;
use std::ptr::null_mut;

/// Trie node; children in ascending order of their label.
struct Node {
    parent: *mut Node,
    child: *mut Node,
    sibling: *mut Node,
    term: *mut Term,
    label: u64,
}

/// Word of the inverted index, with its posting list.
struct Term {
    chain: *mut Term,
    node: *mut Node,
    first: *mut Posting,
    last: *mut Posting,
    text: Vec<u8>,
    hash: u64,
    files: u64,
}

/// One term in one file.
struct Posting {
    term: *mut Term,
    file: *mut File,
    prev: *mut Posting,
    next: *mut Posting,
    positions: Vec<u32>,
}

struct File {
    postings: Vec<*mut Posting>,
    id: u64,
    tokens: u64,
}

/// Result of a query.
struct Hit {
    next: Option<Box<Hit>>,
    file: *mut File,
    score: u64,
}

/// Result of a prefix query. The text's length is its term's.
struct Found {
    next: Option<Box<Found>>,
    term: *mut Term,
    text: Box<[u8]>,
}

const _: () = assert!(
    size_of::<Node>() == 40
        && size_of::<Term>() == 72
        && size_of::<Posting>() == 56
        && size_of::<File>() == 40
        && size_of::<Hit>() == 24
);

struct Index {
    root: *mut Node,
    buckets: Vec<*mut Term>,
    files: Vec<*mut File>,
    /// By file, within one query.
    seen: Vec<*mut Posting>,
    terms: u64,
    nodes: u64,
    check: Digest,
    paths: Vec<String>,
}

fn boxed<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

fn new_node(parent: *mut Node, sibling: *mut Node, label: u64) -> *mut Node {
    boxed(Node { parent, child: null_mut(), sibling, term: null_mut(), label })
}

// SAFETY of all unsafe functions here: by the invariants in the file's header; none keeps a reference to
// what it frees.
impl Index {
    fn bucket(&mut self, hash: u64) -> *mut *mut Term {
        let mask = self.buckets.len() as u64 - 1;
        &mut self.buckets[(hash & mask) as usize]
    }

    unsafe fn grow_table(&mut self) {
        let doubled = vec![null_mut(); 2 * self.buckets.len()];
        for mut term in std::mem::replace(&mut self.buckets, doubled) {
            while !term.is_null() {
                // SAFETY: see above.
                unsafe {
                    let next = (*term).chain;
                    let bucket = self.bucket((*term).hash);
                    (*term).chain = *bucket;
                    *bucket = term;
                    term = next;
                }
            }
        }
    }

    unsafe fn plant(&mut self, text: &[u8]) -> *mut Node {
        let mut node = self.root;
        for label in text {
            let label = u64::from(*label);
            // SAFETY: see above.
            unsafe {
                let mut link: *mut *mut Node = &mut (*node).child;
                while !(*link).is_null() && (**link).label < label {
                    link = &mut (**link).sibling;
                }
                if (*link).is_null() || (**link).label != label {
                    *link = new_node(node, *link, label);
                    self.nodes += 1;
                }
                node = *link;
            }
        }
        node
    }

    unsafe fn prune(&mut self, mut node: *mut Node) {
        // SAFETY: see above.
        unsafe {
            while !(*node).parent.is_null() && (*node).term.is_null() && (*node).child.is_null() {
                let parent = (*node).parent;
                let mut link: *mut *mut Node = &mut (*parent).child;
                while *link != node {
                    link = &mut (**link).sibling;
                }
                *link = (*node).sibling;
                drop(Box::from_raw(node));
                self.nodes -= 1;
                node = parent;
            }
        }
    }

    unsafe fn term_of(&mut self, text: &[u8]) -> *mut Term {
        let hash = hash_of(text);
        // SAFETY: see above.
        unsafe {
            let mut term = *self.bucket(hash);
            while !term.is_null() {
                if (*term).hash == hash && (&(*term).text)[..] == *text {
                    return term;
                }
                term = (*term).chain;
            }
            if self.terms == self.buckets.len() as u64 {
                self.grow_table();
            }
            let bucket = self.bucket(hash);
            let term = boxed(Term {
                chain: *bucket,
                node: null_mut(),
                first: null_mut(),
                last: null_mut(),
                text: text.to_vec(),
                hash,
                files: 0,
            });
            *bucket = term;
            self.terms += 1;
            let node = self.plant(text);
            (*term).node = node;
            (*node).term = term;
            term
        }
    }

    unsafe fn note(&mut self, file: *mut File, term: *mut Term) {
        // SAFETY: see above.
        unsafe {
            let mut posting = (*term).last;
            if posting.is_null() || (*posting).file != file {
                let positions = Vec::with_capacity(4);
                let prev = (*term).last;
                posting = boxed(Posting { term, file, prev, next: null_mut(), positions });
                *(if prev.is_null() { &mut (*term).first } else { &mut (*prev).next }) = posting;
                (*term).last = posting;
                (*term).files += 1;
                let postings = &mut (*file).postings;
                if postings.len() == postings.capacity() {
                    postings.reserve_exact(postings.len().max(16));
                }
                postings.push(posting);
            }
            (*posting).positions.push((*file).tokens as u32);
            (*file).tokens += 1;
        }
    }

    unsafe fn add(&mut self, id: u64) {
        let content = read_file(&self.paths[id as usize]);
        let file = boxed(File { postings: Vec::new(), id, tokens: 0 });
        self.files[id as usize] = file;
        let mut words = Words::of(&content);
        while let Some(word) = words.next() {
            // SAFETY: see above.
            unsafe {
                let term = self.term_of(word);
                self.note(file, term);
            }
        }
    }

    unsafe fn drop_file(&mut self, id: u64) {
        let file = std::mem::replace(&mut self.files[id as usize], null_mut());
        // SAFETY: see above; the file is unreachable once its postings are.
        unsafe {
            let file = Box::from_raw(file);
            for posting in file.postings {
                let (term, prev, next) = ((*posting).term, (*posting).prev, (*posting).next);
                *(if prev.is_null() { &mut (*term).first } else { &mut (*prev).next }) = next;
                *(if next.is_null() { &mut (*term).last } else { &mut (*next).prev }) = prev;
                drop(Box::from_raw(posting));
                (*term).files -= 1;
                if (*term).files == 0 {
                    let mut link = self.bucket((*term).hash);
                    while *link != term {
                        link = &mut (**link).chain;
                    }
                    *link = (*term).chain;
                    self.terms -= 1;
                    let node = (*term).node;
                    (*node).term = null_mut();
                    drop(Box::from_raw(term));
                    self.prune(node);
                }
            }
        }
    }

    unsafe fn answer(&mut self, top: Top) {
        let mut hit = &top.first;
        while let Some(this) = hit {
            // SAFETY: see above.
            let id = unsafe { (*this.file).id };
            self.check.add(id << 32 | this.score);
            hit = &this.next;
        }
        self.check.add(top.count);
    }

    unsafe fn one(&mut self, a: *mut Term) {
        let mut top = Top { first: None, count: 0 };
        // SAFETY: see above.
        unsafe {
            let mut p = (*a).first;
            while !p.is_null() {
                top.offer((*p).file, (&(*p).positions).len() as u64);
                p = (*p).next;
            }
            self.answer(top);
        }
    }

    unsafe fn both(&mut self, a: *mut Term, b: *mut Term, close: bool) {
        let mut top = Top { first: None, count: 0 };
        // SAFETY: see above.
        unsafe {
            let mut p = (*a).first;
            while !p.is_null() {
                self.seen[(*(*p).file).id as usize] = p;
                p = (*p).next;
            }
            let mut p = (*b).first;
            while !p.is_null() {
                let other = self.seen[(*(*p).file).id as usize];
                if !other.is_null() {
                    let (ours, theirs) = (&(*p).positions, &(*other).positions);
                    let score =
                        if close { near(theirs, ours) } else { (ours.len() + theirs.len()) as u64 };
                    if score != 0 {
                        top.offer((*p).file, score);
                    }
                }
                p = (*p).next;
            }
            let mut p = (*a).first;
            while !p.is_null() {
                self.seen[(*(*p).file).id as usize] = null_mut();
                p = (*p).next;
            }
            self.answer(top);
        }
    }

    unsafe fn prefix(&mut self, a: *mut Term) {
        let mut results: Option<Box<Found>> = None;
        let mut count = 0;
        // SAFETY: see above.
        unsafe {
            let mut top = (*a).node;
            for _ in 3..(&(*a).text).len() {
                top = (*top).parent;
            }
            let mut node = top;
            while count < 50 {
                if !(*node).term.is_null() {
                    let text = spell(node);
                    results = Some(Box::new(Found { next: results, term: (*node).term, text }));
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
            while let Some(found) = results {
                self.check.add(hash_of(&found.text).wrapping_add((*found.term).files));
                results = found.next;
            }
        }
        self.check.add(count);
    }

    unsafe fn pick(&self, random: &mut Random) -> Option<*mut Term> {
        let file = self.files[random.below(self.files.len() as u64) as usize];
        let choice = random.next() >> 32;
        if file.is_null() {
            return None;
        }
        // SAFETY: see above.
        unsafe {
            let postings = &(*file).postings;
            let posting = postings.get((choice * postings.len() as u64 >> 32) as usize)?;
            Some((**posting).term)
        }
    }

    unsafe fn query(&mut self, kind: u64, random: &mut Random) {
        // SAFETY: see above.
        unsafe {
            match (kind, self.pick(random), self.pick(random)) {
                (0, Some(a), Some(_)) => self.one(a),
                (1, Some(a), Some(b)) => self.both(a, b, false),
                (2, Some(a), Some(b)) => self.both(a, b, true),
                (_, Some(a), Some(_)) => self.prefix(a),
                _ => self.check.add(kind),
            }
        }
    }

    unsafe fn totals(&mut self) {
        let (mut files, mut postings, mut tokens) = (0, 0, 0);
        for file in &self.files {
            // SAFETY: see above.
            if let Some(file) = unsafe { file.as_ref() } {
                files += 1;
                postings += file.postings.len() as u64;
                tokens += file.tokens;
            }
        }
        for total in [files, postings, tokens, self.terms, self.nodes] {
            self.check.add(total);
        }
    }
}

unsafe fn spell(node: *mut Node) -> Box<[u8]> {
    // SAFETY: the way to the root is good.
    unsafe {
        let mut length = 0;
        let mut n = node;
        while !(*n).parent.is_null() {
            length += 1;
            n = (*n).parent;
        }
        let mut text = vec![0; length].into_boxed_slice();
        let mut n = node;
        for place in text.iter_mut().rev() {
            *place = (*n).label as u8;
            n = (*n).parent;
        }
        text
    }
}

/// The content of a file; what cannot be read is empty.
fn read_file(path: &str) -> Vec<u8> {
    let Ok(mut file) = std::fs::File::open(path) else { return Vec::new() };
    let Ok(info) = file.metadata() else { return Vec::new() };
    let mut content = vec![0; info.len() as usize];
    let mut length = 0;
    while length < content.len() {
        match file.read(&mut content[length..]) {
            Ok(n) if n > 0 => length += n,
            _ => break,
        }
    }
    content.truncate(length);
    content
}

/// The ten best hits, best first: higher scores, then lower files.
struct Top {
    first: Option<Box<Hit>>,
    count: u64,
}

impl Top {
    unsafe fn offer(&mut self, file: *mut File, score: u64) {
        // SAFETY: files of postings are good.
        let id = |file: *mut File| unsafe { (*file).id };
        let mut link = &mut self.first;
        let mut place = 0;
        while let Some(hit) = link
            && (hit.score > score || hit.score == score && id(hit.file) < id(file))
        {
            link = &mut link.as_mut().expect("seen above").next;
            place += 1;
        }
        if place == 10 {
            return;
        }
        *link = Some(Box::new(Hit { next: link.take(), file, score }));
        self.count += 1;
        if self.count > 10 {
            while link.as_ref().is_some_and(|hit| hit.next.is_some()) {
                link = &mut link.as_mut().expect("seen above").next;
            }
            *link = None;
            self.count -= 1;
        }
    }
}

pub fn run(run: &Run) -> Outcome {
    let list = std::fs::read_to_string(run.text("list")).unwrap_or_else(|e| fail(&e.to_string()));
    let paths: Vec<String> = list.lines().map(str::to_owned).collect();
    let files = paths.len();
    let mut index = Index {
        root: new_node(null_mut(), null_mut(), 0),
        buckets: vec![null_mut(); 1024],
        files: vec![null_mut(); files],
        seen: vec![null_mut(); files],
        terms: 0,
        nodes: 0,
        check: Digest::new(),
        paths,
    };
    let mut outcome = Outcome::default();
    let cpu = process_cpu_nanos();
    for id in 0..files as u64 {
        // SAFETY: see `Index`.
        unsafe { index.add(id) };
    }
    outcome.metric("build_cpu_nanos", (process_cpu_nanos() - cpu) as f64);
    // SAFETY: see `Index`.
    unsafe { index.totals() };
    let cpu = process_cpu_nanos();
    let mut random = Random::new(12);
    let mut dropped = VecDeque::new();
    for q in 0..run.number("queries") {
        if q % 16 == 0 {
            let id = random.below(files as u64);
            let absent = index.files[id as usize].is_null();
            if !absent {
                // SAFETY: see `Index`.
                unsafe { index.drop_file(id) };
                dropped.push_back(id);
            }
            if absent || dropped.len() > 8 {
                let oldest = dropped.pop_front().expect("one is absent");
                // SAFETY: see `Index`.
                unsafe { index.add(oldest) };
            }
        }
        // SAFETY: see `Index`.
        unsafe { index.query(q % 4, &mut random) };
    }
    outcome.metric("serve_cpu_nanos", (process_cpu_nanos() - cpu) as f64);
    // SAFETY: see `Index`.
    unsafe { index.totals() };
    outcome.check = index.check.value();
    outcome
}
