package main

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
	"weak"
)

func init() { register("finalizers", finalizers) }

// mortal is an object whose death is told. 32 bytes, one reference.
type mortal struct {
	group  *mortal
	number uint64
	spare  [2]uint64
}

// deaths is what finalizers and cleanups add to.
type deaths struct {
	sum, count atomic.Uint64
}

var finalized, cleaned deaths

func (d *deaths) add(number uint64) {
	d.sum.Add(number)
	d.count.Add(1)
}

func finalizeMortal(m *mortal) { finalized.add(m.number) }

func cleanMortal(number uint64) { cleaned.add(number) }

// mortals runs one round: n objects with register called on each; collected alive, then dead, then all told.
func mortals(o *outcome, name string, n uint64, told *deaths, register func(*mortal)) {
	table := make([]*mortal, n)
	group := new(mortal)
	cpu := processCPU()
	for i := range table {
		m := &mortal{group: group, number: uint64(i)}
		register(m)
		table[i] = m
	}
	o.metric(name+"_register_nanos", float64(processCPU()-cpu)/float64(n))
	begin := time.Now()
	runtime.GC()
	o.metric(name+"_alive_nanos", float64(time.Since(begin)))
	runtime.KeepAlive(table)
	clear(table)
	begin = time.Now()
	runtime.GC()
	o.metric(name+"_dead_nanos", float64(time.Since(begin)))
	for told.count.Load() < n {
		time.Sleep(100 * time.Microsecond)
	}
	o.metric(name+"_told_nanos", float64(time.Since(begin)))
	runtime.GC()
}

// interned is a text of 24 bytes.
type interned [3]uint64

type internNode struct {
	next *internNode
	text weak.Pointer[interned]
	hash uint64
}

type internTable struct {
	buckets []*internNode
}

// intern finds the one living object with this text, or makes it. Nodes of dead ones go as they are met.
func (t *internTable) intern(text interned) *interned {
	link := &t.buckets[(text[0]>>32)&uint64(len(t.buckets)-1)]
	for *link != nil {
		node := *link
		object := node.text.Value()
		if object == nil {
			*link = node.next
			continue
		}
		if node.hash == text[0] && *object == text {
			return object
		}
		link = &node.next
	}
	object := new(interned)
	*object = text
	*link = &internNode{text: weak.Make(object), hash: text[0]}
	return object
}

func internOperations(o *outcome, keys, operations uint64, check *digest) {
	table := &internTable{make([]*internNode, 1<<bits.Len64(keys-1))}
	window := make([]*interned, keys/8)
	rnd := &random{10}
	cpu := processCPU()
	for i := range operations {
		key := rnd.below(keys)
		text := interned{randomOf(key), key, ^key}
		object := table.intern(text)
		check.add(object[1])
		if i%16 == 0 && table.intern(text) != object {
			check.add(i)
		}
		window[i%uint64(len(window))] = object
		if i%(operations/4) == operations/8 {
			runtime.GC()
		}
	}
	o.metric("weak_operation_nanos", float64(processCPU()-cpu)/float64(operations))
	clear(window)
	runtime.GC()
	var survivors int
	for _, node := range table.buckets {
		for ; node != nil; node = node.next {
			if node.text.Value() != nil {
				survivors++
			}
		}
	}
	o.metric("weak_survivors", float64(survivors))
}

func finalizers(r *run) (o outcome) {
	n := uint64(r.number("objects"))
	check := newDigest()
	mortals(&o, "finalizer", n, &finalized, func(m *mortal) { runtime.SetFinalizer(m, finalizeMortal) })
	check.add(finalized.sum.Load())
	mortals(&o, "cleanup", n, &cleaned, func(m *mortal) { runtime.AddCleanup(m, cleanMortal, m.number) })
	check.add(cleaned.sum.Load())
	internOperations(&o, uint64(r.number("keys")), uint64(r.number("operations")), &check)
	o.check = uint64(check)
	return o
}
