package main

import (
	"math/bits"
	"time"
)

func init() { register("lru-server", lruServer) }

// lruEntry is one cached value. 48 bytes, four references.
type lruEntry struct {
	chain, prev, next *lruEntry
	value             *uint64 // first of words numbers
	key, words        uint64
}

// lruPart is one part of a response. 32 bytes, two references.
type lruPart struct {
	next          *lruPart
	text          *uint64 // first of words numbers
	offset, words uint64
}

type lruCache struct {
	buckets     []*lruEntry
	head, tail  *lruEntry
	count, most uint64
}

func lruHash(key uint64) uint64 { return randomOf(key) }

func (c *lruCache) bucket(hash uint64) **lruEntry {
	return &c.buckets[(hash>>32)&uint64(len(c.buckets)-1)]
}

func (c *lruCache) unlink(e *lruEntry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.tail = e.prev
	}
}

func (c *lruCache) pushFront(e *lruEntry) {
	e.prev, e.next = nil, c.head
	if c.head != nil {
		c.head.prev = e
	} else {
		c.tail = e
	}
	c.head = e
}

func (c *lruCache) find(key, hash uint64) *lruEntry {
	e := *c.bucket(hash)
	for e != nil && e.key != key {
		e = e.chain
	}
	return e
}

func (c *lruCache) evict() {
	e := c.tail
	c.unlink(e)
	link := c.bucket(lruHash(e.key))
	for *link != e {
		link = &(*link).chain
	}
	*link = e.chain
	c.count--
}

func (c *lruCache) insert(key, hash uint64) *lruEntry {
	if c.count == c.most {
		c.evict()
	}
	words := 32 + (hash & 63)
	value := make([]uint64, words)
	for i := range value {
		value[i] = hash + uint64(i)
	}
	e := &lruEntry{value: &value[0], key: key, words: words}
	bucket := c.bucket(hash)
	e.chain = *bucket
	*bucket = e
	c.pushFront(e)
	c.count++
	return e
}

// respond builds six parts with six texts copied from the value, the last one first.
func respond(e *lruEntry, seed uint64) *lruPart {
	value := words(e.value, e.words)
	var first *lruPart
	for i := 5; i >= 0; i-- {
		count := 2 + (seed>>(4*i))&7
		offset := (seed >> (24 + 4*i)) & 15
		text := make([]uint64, count)
		copy(text, value[offset:offset+count])
		first = &lruPart{next: first, text: &text[0], offset: offset, words: count}
	}
	return first
}

func (c *lruCache) serve(key, seed uint64) (answer uint64, hit bool) {
	hash := lruHash(key)
	e := c.find(key, hash)
	hit = e != nil
	if hit {
		c.unlink(e)
		c.pushFront(e)
	} else {
		e = c.insert(key, hash)
	}
	for part := respond(e, seed); part != nil; part = part.next {
		for _, word := range words(part.text, part.words) {
			answer = answer*31 + word
		}
		answer += part.offset
	}
	return answer, hit
}

// histogram counts times in buckets of a 32nd of a power of two.
type histogram struct {
	counts [2048]uint64
	total  uint64
	max    uint64
}

func (h *histogram) add(value uint64) {
	index := value
	if value >= 64 {
		shift := uint64(bits.Len64(value)) - 6
		index = (shift+1)*32 + (value>>shift - 32)
	}
	h.counts[index]++
	h.total++
	h.max = max(h.max, value)
}

// quantile is the least value of the bucket in which the share per million of all values is reached.
func (h *histogram) quantile(perMillion uint64) float64 {
	rank := (h.total*perMillion + 999_999) / 1_000_000
	var seen uint64
	for i, count := range h.counts {
		seen += count
		if seen >= rank {
			index := uint64(i)
			if index < 64 {
				return float64(index)
			}
			return float64((index%32 + 32) << (index/32 - 1))
		}
	}
	return float64(h.max)
}

// queue is a single server that requests reach at fixed intervals.
type queue struct {
	interval, arrival, free uint64
	latency                 histogram
}

func (q *queue) add(service uint64) {
	q.free = max(q.free, q.arrival) + service
	q.latency.add(q.free - q.arrival)
	q.arrival += q.interval
}

func lruServer(r *run) (o outcome) {
	entries, requests := uint64(r.number("entries")), uint64(r.number("requests"))
	c := &lruCache{most: entries, buckets: make([]*lruEntry, 1<<bits.Len64(entries-1))}
	for key := range entries {
		c.insert(key, lruHash(key))
	}
	check := newDigest()
	rnd := &random{6}
	service := new(histogram)
	queues := []*queue{{interval: 4_000}, {interval: 10_000}}
	var hits uint64
	cpu := processCPU()
	begin := time.Now()
	var last time.Duration
	for range requests {
		key := rnd.below(entries + entries/3)
		answer, hit := c.serve(key, rnd.next())
		check.add(answer)
		if hit {
			hits++
		}
		now := time.Since(begin)
		nanos := uint64(now - last)
		last = now
		service.add(nanos)
		for _, q := range queues {
			q.add(nanos)
		}
	}
	o.metric("request_cpu_nanos", float64(processCPU()-cpu)/float64(requests))
	check.add(hits)
	for e := c.head; e != nil; e = e.next {
		check.add(e.key)
	}
	o.metric("service_p50_nanos", service.quantile(500_000))
	o.metric("service_p99_nanos", service.quantile(990_000))
	o.metric("service_p999_nanos", service.quantile(999_000))
	o.metric("service_max_nanos", float64(service.max))
	o.metric("open_4us_p99_nanos", queues[0].latency.quantile(990_000))
	o.metric("open_4us_max_nanos", float64(queues[0].latency.max))
	o.metric("open_10us_p99_nanos", queues[1].latency.quantile(990_000))
	o.metric("open_10us_max_nanos", float64(queues[1].latency.max))
	o.check = uint64(check)
	return o
}
