package main

import "sync"

func init() { register("binary-trees", binaryTrees) }

type treeNode struct{ left, right *treeNode }

func newTree(depth int) *treeNode {
	if depth == 0 {
		return &treeNode{}
	}
	return &treeNode{newTree(depth - 1), newTree(depth - 1)}
}

func (n *treeNode) count() uint64 {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func binaryTrees(r *run) outcome {
	depth := r.number("depth")
	check := newDigest()
	check.add(newTree(depth + 1).count())
	longLived := newTree(depth)
	for d := 4; d <= depth; d += 2 {
		trees := 1 << (depth - d + 4)
		counts := make([]uint64, r.threads)
		var group sync.WaitGroup
		for thread := range r.threads {
			group.Add(1)
			go func() {
				defer group.Done()
				sum := uint64(0)
				for i := thread; i < trees; i += r.threads {
					sum += newTree(d).count()
				}
				counts[thread] = sum
			}()
		}
		group.Wait()
		sum := uint64(0)
		for _, count := range counts {
			sum += count
		}
		check.add(sum)
	}
	check.add(longLived.count())
	return outcome{check: uint64(check)}
}
