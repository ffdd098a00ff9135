package main

func init() { register("gcbench", gcbench) }

type benchNode struct {
	left, right *benchNode
	i, j        uint32
}

func benchTreeSize(depth int) int { return 1<<(depth+1) - 1 }

// populate builds top-down, into a node that exists.
func populate(depth int, n *benchNode) {
	n.i = uint32(depth)
	if depth == 0 {
		return
	}
	n.left = &benchNode{}
	n.right = &benchNode{}
	populate(depth-1, n.left)
	populate(depth-1, n.right)
}

// bottomUp builds the children before their parent.
func bottomUp(depth int) *benchNode {
	if depth == 0 {
		return &benchNode{}
	}
	left, right := bottomUp(depth-1), bottomUp(depth-1)
	return &benchNode{left: left, right: right, i: uint32(depth)}
}

// spine adds up a tree's left edge.
func (n *benchNode) spine() uint64 {
	sum := uint64(0)
	for ; n != nil; n = n.left {
		sum += uint64(n.i) + 1
	}
	return sum
}

func (n *benchNode) count() uint64 {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

var benchArray []float64

func gcbench(r *run) outcome {
	depth, doubles := r.number("depth"), r.number("doubles")
	check := newDigest()
	check.add(bottomUp(depth + 2).spine())
	longLived := &benchNode{}
	populate(depth, longLived)
	benchArray = make([]float64, doubles)
	for i := range doubles / 2 {
		benchArray[i] = 1 / float64(i+1)
	}
	for d := 4; d <= depth; d += 2 {
		trees := 2 * benchTreeSize(depth+2) / benchTreeSize(d)
		sum := uint64(0)
		for range trees {
			root := &benchNode{}
			populate(d, root)
			sum += root.spine()
		}
		for range trees {
			sum += bottomUp(d).spine()
		}
		check.add(sum)
	}
	check.add(longLived.count())
	check.add(uint64(1 / benchArray[doubles/4]))
	return outcome{check: uint64(check)}
}
