package main

func init() {
	register("typed-trees", typedTrees)
	register("typed-bytes", typedBytes)
	register("typed-mark", typedMark)
}

func typedTrees(r *run) outcome {
	if r.variant != "scaling" {
		return binaryTrees(r)
	}
	times := func(threads int) (wall, cpu float64, check uint64) {
		watch := startWatch()
		o := binaryTrees(&run{threads: threads, parameters: r.parameters})
		return float64(watch.wall()), float64(watch.cpu()), o.check
	}
	wall, cpu, checkOfOne := times(1)
	wallOfTwo, cpuOfTwo, check := times(2)
	if check != checkOfOne {
		fail("the trees are not the same")
	}
	o := outcome{check: check}
	o.metric("wall_two_to_one", wallOfTwo/wall)
	o.metric("cpu_two_to_one", cpuOfTwo/cpu)
	return o
}

type bytesNode struct{ next, first *bytesNode }

func typedBytes(r *run) outcome {
	objects := r.number("objects")
	before := residentBytes()
	watch := startWatch()
	last := &bytesNode{}
	for range objects - 1 {
		first := last.first
		if first == nil {
			first = last
		}
		last = &bytesNode{last, first}
	}
	o := outcome{residentEnd: residentBytes()}
	o.metric("ns_per_object", float64(watch.cpu())/float64(objects))
	o.metric("resident_bytes_per_object", float64(o.residentEnd-before)/float64(objects))
	for node := last; node != nil; node = node.next {
		if node.first == last.first && node.first != nil {
			o.check++
		}
	}
	return o
}

func typedMark(r *run) outcome {
	n := r.number("objects")
	var root *treeNode
	if r.variant == "tree" {
		root = newTreeBelow(0, n)
	} else {
		root = newStrewnTree(n)
	}
	var o outcome
	forceCollections(r, &o, n)
	o.metrics["collection_cpu_ns_per_object"] = o.metrics["mark_cpu_ns_per_object"]
	delete(o.metrics, "mark_cpu_ns_per_object")
	delete(o.metrics, "collection_wall_ms")
	check := newDigest()
	check.add(root.nodes())
	o.check = uint64(check)
	return o
}

// newTreeBelow is the part of a complete tree of n nodes below node i, made depth first.
func newTreeBelow(i, n int) *treeNode {
	if i >= n {
		return nil
	}
	node := &treeNode{}
	node.left = newTreeBelow(2*i+1, n)
	node.right = newTreeBelow(2*i+2, n)
	return node
}

// newStrewnTree is the same tree of nodes that lie anywhere.
func newStrewnTree(n int) *treeNode {
	nodes := make([]*treeNode, n)
	for i := range nodes {
		nodes[i] = &treeNode{}
	}
	order := random{1}
	for i := n - 1; i > 0; i-- {
		j := order.below(uint64(i + 1))
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	for i, node := range nodes {
		if 2*i+1 < n {
			node.left = nodes[2*i+1]
		}
		if 2*i+2 < n {
			node.right = nodes[2*i+2]
		}
	}
	return nodes[0]
}

func (n *treeNode) nodes() uint64 {
	if n == nil {
		return 0
	}
	return 1 + n.left.nodes() + n.right.nodes()
}
