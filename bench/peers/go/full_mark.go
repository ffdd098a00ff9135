package main

import (
	"runtime"
	"slices"
)

func init() { register("full-mark", fullMark) }

type listNode struct {
	next  *listNode
	value uint64
}

type graphNode struct {
	edges [4]*graphNode
	value uint64
}

type wideNode struct {
	children [15]*wideNode
	value    uint64
}

type mapBox struct{ value, key uint64 }

type mapEntry struct {
	next *mapEntry
	key  uint64
	box  *mapBox
}

const mapMultiplier = 0x9E3779B97F4A7C15

func fullMark(r *run) outcome {
	n := r.number("objects")
	var o outcome
	check := newDigest()
	switch r.variant {
	case "list", "shuffled-list":
		var head *listNode
		if r.variant == "list" {
			head = buildList(n)
		} else {
			head = buildShuffledList(n)
		}
		forceCollections(r, &o, n)
		for node := head; node != nil; node = node.next {
			check.add(node.value)
		}
	case "graph":
		root := buildGraph(n)
		forceCollections(r, &o, n)
		root.traverse(&check)
	case "wide-tree":
		root := buildWideTree(n)
		forceCollections(r, &o, n)
		root.traverse(&check)
	case "map":
		buckets := buildMap(n)
		forceCollections(r, &o, 2*n)
		for i := range uint64(n) {
			key := i * mapMultiplier
			entry := buckets[key>>32&uint64(len(buckets)-1)]
			for entry.key != key {
				entry = entry.next
			}
			check.add(entry.box.value)
		}
	default:
		fail("there is no variant %q", r.variant)
	}
	o.check = uint64(check)
	return o
}

// forceCollections is the measurement: the median of all collections but the first.
func forceCollections(r *run, o *outcome, objects int) {
	var cpu, wall []uint64
	for i := range r.number("collections") {
		watch := startWatch()
		runtime.GC()
		if i > 0 {
			cpu = append(cpu, watch.cpu())
			wall = append(wall, watch.wall())
		}
	}
	slices.Sort(cpu)
	slices.Sort(wall)
	o.metric("mark_cpu_ns_per_object", float64(cpu[len(cpu)/2])/float64(objects))
	o.metric("collection_wall_ms", float64(wall[len(wall)/2])/1e6)
}

func buildList(n int) *listNode {
	var head *listNode
	for i := range n {
		head = &listNode{head, uint64(i)}
	}
	return head
}

func buildShuffledList(n int) *listNode {
	nodes := make([]*listNode, n)
	for i := range nodes {
		nodes[i] = &listNode{value: uint64(i)}
	}
	order := random{1}
	for i := n - 1; i > 0; i-- {
		j := order.below(uint64(i + 1))
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	for i := range n - 1 {
		nodes[i].next = nodes[i+1]
	}
	return nodes[0]
}

// buildGraph links node i to 2i+1 and 2i+2, so that all are reachable, and to two random ones.
func buildGraph(n int) *graphNode {
	nodes := make([]*graphNode, n)
	for i := range nodes {
		nodes[i] = &graphNode{value: uint64(i)}
	}
	edges := random{1}
	for i, node := range nodes {
		if 2*i+1 < n {
			node.edges[0] = nodes[2*i+1]
		}
		if 2*i+2 < n {
			node.edges[1] = nodes[2*i+2]
		}
		node.edges[2] = nodes[edges.below(uint64(n))]
		node.edges[3] = nodes[edges.below(uint64(n))]
	}
	return nodes[0]
}

func (g *graphNode) traverse(check *digest) {
	check.add(g.value)
	check.add(g.edges[2].value ^ g.edges[3].value<<32)
	if g.edges[0] != nil {
		g.edges[0].traverse(check)
	}
	if g.edges[1] != nil {
		g.edges[1].traverse(check)
	}
}

// buildWideTree gives node i the children 15i+1 .. 15i+15.
func buildWideTree(n int) *wideNode {
	nodes := make([]*wideNode, n)
	for i := range nodes {
		nodes[i] = &wideNode{value: uint64(i)}
	}
	for i, node := range nodes {
		for k := range node.children {
			if child := 15*i + 1 + k; child < n {
				node.children[k] = nodes[child]
			}
		}
	}
	return nodes[0]
}

func (w *wideNode) traverse(check *digest) {
	check.add(w.value)
	for _, child := range w.children {
		if child != nil {
			child.traverse(check)
		}
	}
}

// buildMap is a hash table with chains: entries with a boxed value each.
func buildMap(n int) []*mapEntry {
	size := 1
	for size < n {
		size *= 2
	}
	buckets := make([]*mapEntry, size)
	for i := range uint64(n) {
		key := i * mapMultiplier
		bucket := &buckets[key>>32&uint64(size-1)]
		box := &mapBox{value: i, key: key}
		*bucket = &mapEntry{next: *bucket, key: key, box: box}
	}
	return buckets
}
