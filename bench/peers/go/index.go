package main

import (
	"io"
	"os"
	"strings"
)

func init() { register("index", index) }

// ixNode is a trie node. Children are in ascending order of their byte. 40 bytes, four references.
type ixNode struct {
	parent, child, sibling *ixNode
	term                   *ixTerm
	label                  uint64
}

// ixTerm is a word of the inverted index: its text, its place in the trie and its posting list. 72 bytes,
// six references.
type ixTerm struct {
	chain       *ixTerm
	node        *ixNode
	first, last *ixPosting
	text        []byte
	hash, files uint64
}

// ixPosting is one term in one file. 56 bytes, five references.
type ixPosting struct {
	term       *ixTerm
	file       *ixFile
	prev, next *ixPosting
	positions  []uint32
}

// ixFile is one indexed file. 40 bytes, one reference.
type ixFile struct {
	postings []*ixPosting
	id       uint64
	tokens   uint64
}

// ixHit is one result of a query: 24 bytes, two references.
type ixHit struct {
	next  *ixHit
	file  *ixFile
	score uint64
}

// ixText is one result of a prefix query: 24 bytes, three references.
type ixText struct {
	next *ixText
	term *ixTerm
	text *byte
}

type ixIndex struct {
	root    *ixNode
	buckets []*ixTerm
	files   []*ixFile
	seen    []*ixPosting // by file, within one query
	terms   uint64
	nodes   uint64
	check   digest
	paths   []string
}

func ixHash(text []byte) uint64 {
	hash := uint64(0xCBF29CE484222325)
	for _, b := range text {
		hash = (hash ^ uint64(b)) * 0x100000001B3
	}
	return hash ^ hash>>32
}

func (x *ixIndex) bucket(hash uint64) **ixTerm {
	return &x.buckets[hash&uint64(len(x.buckets)-1)]
}

func (x *ixIndex) growTable() {
	old := x.buckets
	x.buckets = make([]*ixTerm, 2*len(old))
	for _, term := range old {
		for term != nil {
			next := term.chain
			bucket := x.bucket(term.hash)
			term.chain = *bucket
			*bucket = term
			term = next
		}
	}
}

// plant finds or makes the trie node of a text.
func (x *ixIndex) plant(text []byte) *ixNode {
	node := x.root
	for _, label := range text {
		link := &node.child
		for *link != nil && (*link).label < uint64(label) {
			link = &(*link).sibling
		}
		if *link == nil || (*link).label != uint64(label) {
			*link = &ixNode{parent: node, sibling: *link, label: uint64(label)}
			x.nodes++
		}
		node = *link
	}
	return node
}

// prune takes away a node and its ancestors as far as they lead nowhere.
func (x *ixIndex) prune(node *ixNode) {
	for node.parent != nil && node.term == nil && node.child == nil {
		parent := node.parent
		link := &parent.child
		for *link != node {
			link = &(*link).sibling
		}
		*link = node.sibling
		x.nodes--
		node = parent
	}
}

func (x *ixIndex) termOf(text []byte) *ixTerm {
	hash := ixHash(text)
	for term := *x.bucket(hash); term != nil; term = term.chain {
		if term.hash == hash && string(term.text) == string(text) {
			return term
		}
	}
	if x.terms == uint64(len(x.buckets)) {
		x.growTable()
	}
	own := make([]byte, len(text))
	copy(own, text)
	term := &ixTerm{text: own, hash: hash}
	bucket := x.bucket(hash)
	term.chain = *bucket
	*bucket = term
	x.terms++
	term.node = x.plant(own)
	term.node.term = term
	return term
}

func (x *ixIndex) note(file *ixFile, term *ixTerm) {
	posting := term.last
	if posting == nil || posting.file != file {
		posting = &ixPosting{term: term, file: file, prev: term.last, positions: make([]uint32, 0, 4)}
		if term.last != nil {
			term.last.next = posting
		} else {
			term.first = posting
		}
		term.last = posting
		term.files++
		if len(file.postings) == cap(file.postings) {
			grown := make([]*ixPosting, len(file.postings), max(16, 2*cap(file.postings)))
			copy(grown, file.postings)
			file.postings = grown
		}
		file.postings = append(file.postings, posting)
	}
	if len(posting.positions) == cap(posting.positions) {
		grown := make([]uint32, len(posting.positions), 2*cap(posting.positions))
		copy(grown, posting.positions)
		posting.positions = grown
	}
	posting.positions = append(posting.positions, uint32(file.tokens))
	file.tokens++
}

// readFile is the content of a file; what cannot be read is empty.
func (x *ixIndex) readFile(id uint64) []byte {
	f, err := os.Open(x.paths[id])
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	content := make([]byte, info.Size())
	n, _ := io.ReadFull(f, content)
	return content[:n]
}

// ixFold has the lower case of the bytes that words are made of, and 0 for the others.
var ixFold = func() (fold [256]byte) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyz0123456789_") {
		fold[b] = b
	}
	for b := 'A'; b <= 'Z'; b++ {
		fold[b] = byte(b) + 32
	}
	return
}()

func (x *ixIndex) add(id uint64) {
	content := x.readFile(id)
	file := &ixFile{id: id}
	x.files[id] = file
	var word [32]byte
	length := 0
	for _, b := range content {
		if b = ixFold[b]; b != 0 {
			if length < 32 {
				word[length] = b
			}
			length++
			continue
		}
		if 2 <= length && length <= 32 {
			x.note(file, x.termOf(word[:length]))
		}
		length = 0
	}
	if 2 <= length && length <= 32 {
		x.note(file, x.termOf(word[:length]))
	}
}

func (x *ixIndex) drop(id uint64) {
	file := x.files[id]
	x.files[id] = nil
	for _, posting := range file.postings {
		term := posting.term
		if posting.prev != nil {
			posting.prev.next = posting.next
		} else {
			term.first = posting.next
		}
		if posting.next != nil {
			posting.next.prev = posting.prev
		} else {
			term.last = posting.prev
		}
		term.files--
		if term.files == 0 {
			link := x.bucket(term.hash)
			for *link != term {
				link = &(*link).chain
			}
			*link = term.chain
			x.terms--
			term.node.term = nil
			x.prune(term.node)
		}
	}
}

// ixTop keeps the ten best hits, best first: higher scores, then lower files.
type ixTop struct {
	first *ixHit
	count int
}

func (t *ixTop) offer(file *ixFile, score uint64) {
	link := &t.first
	place := 0
	for *link != nil && ((*link).score > score || (*link).score == score && (*link).file.id < file.id) {
		link = &(*link).next
		place++
	}
	if place == 10 {
		return
	}
	*link = &ixHit{next: *link, file: file, score: score}
	t.count++
	if t.count > 10 {
		for (*link).next != nil {
			link = &(*link).next
		}
		*link = nil
		t.count--
	}
}

func (x *ixIndex) answer(t *ixTop) {
	for hit := t.first; hit != nil; hit = hit.next {
		x.check.add(hit.file.id<<32 | hit.score)
	}
	x.check.add(uint64(t.count))
}

func (x *ixIndex) one(a *ixTerm) {
	var top ixTop
	for p := a.first; p != nil; p = p.next {
		top.offer(p.file, uint64(len(p.positions)))
	}
	x.answer(&top)
}

// near counts the positions of b that have one of a at most 8 words away.
func near(a, b []uint32) uint64 {
	var count uint64
	i := 0
	for _, at := range b {
		for i < len(a) && a[i]+8 < at {
			i++
		}
		if i < len(a) && a[i] <= at+8 {
			count++
		}
	}
	return count
}

func (x *ixIndex) both(a, b *ixTerm, close bool) {
	for p := a.first; p != nil; p = p.next {
		x.seen[p.file.id] = p
	}
	var top ixTop
	for p := b.first; p != nil; p = p.next {
		if other := x.seen[p.file.id]; other != nil {
			score := uint64(len(p.positions) + len(other.positions))
			if close {
				score = near(other.positions, p.positions)
			}
			if score != 0 {
				top.offer(p.file, score)
			}
		}
	}
	for p := a.first; p != nil; p = p.next {
		x.seen[p.file.id] = nil
	}
	x.answer(&top)
}

// spell writes the text of a node from its way to the root.
func spell(node *ixNode) []byte {
	length := 0
	for n := node; n.parent != nil; n = n.parent {
		length++
	}
	text := make([]byte, length)
	for n := node; n.parent != nil; n = n.parent {
		length--
		text[length] = byte(n.label)
	}
	return text
}

// prefix lists up to 50 terms that begin like a does, the last one first.
func (x *ixIndex) prefix(a *ixTerm) {
	top := a.node
	for length := len(a.text); length > 3; length-- {
		top = top.parent
	}
	var results *ixText
	count := 0
	node := top
	for count < 50 {
		if node.term != nil {
			text := spell(node)
			results = &ixText{next: results, term: node.term, text: &text[0]}
			count++
		}
		if node.child != nil {
			node = node.child
			continue
		}
		for node != top && node.sibling == nil {
			node = node.parent
		}
		if node == top {
			break
		}
		node = node.sibling
	}
	for t := results; t != nil; t = t.next {
		x.check.add(ixHash(letters(t.text, len(t.term.text))) + t.term.files)
	}
	x.check.add(uint64(count))
}

func (x *ixIndex) pick(rnd *random) *ixTerm {
	file := x.files[rnd.below(uint64(len(x.files)))]
	choice := rnd.next() >> 32
	if file == nil || len(file.postings) == 0 {
		return nil
	}
	return file.postings[choice*uint64(len(file.postings))>>32].term
}

func (x *ixIndex) query(kind uint64, rnd *random) {
	a, b := x.pick(rnd), x.pick(rnd)
	if a == nil || b == nil {
		x.check.add(kind)
		return
	}
	switch kind {
	case 0:
		x.one(a)
	case 1:
		x.both(a, b, false)
	case 2:
		x.both(a, b, true)
	default:
		x.prefix(a)
	}
}

func (x *ixIndex) totals() {
	var files, postings, tokens uint64
	for _, file := range x.files {
		if file != nil {
			files++
			postings += uint64(len(file.postings))
			tokens += file.tokens
		}
	}
	for _, total := range []uint64{files, postings, tokens, x.terms, x.nodes} {
		x.check.add(total)
	}
}

func index(r *run) (o outcome) {
	list, err := os.ReadFile(r.parameters["list"])
	if err != nil {
		fail("%v", err)
	}
	paths := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	n := uint64(len(paths))
	x := &ixIndex{
		root:    new(ixNode),
		buckets: make([]*ixTerm, 1024),
		files:   make([]*ixFile, n),
		seen:    make([]*ixPosting, n),
		check:   newDigest(),
		paths:   paths,
	}
	cpu := processCPU()
	for id := range n {
		x.add(id)
	}
	o.metric("build_cpu_nanos", float64(processCPU()-cpu))
	x.totals()
	cpu = processCPU()
	rnd := &random{12}
	var dropped []uint64
	for q := range uint64(r.number("queries")) {
		if q%16 == 0 {
			id := rnd.below(n)
			absent := x.files[id] == nil
			if !absent {
				x.drop(id)
				dropped = append(dropped, id)
			}
			if absent || len(dropped) > 8 {
				x.add(dropped[0])
				dropped = dropped[1:]
			}
		}
		x.query(q%4, rnd)
	}
	o.metric("serve_cpu_nanos", float64(processCPU()-cpu))
	x.totals()
	o.check = uint64(x.check)
	return o
}
