package main

import "unsafe"

// words is the block of count numbers whose first one is given. Structures keep one word for a block, as the
// other programs do, not the three of a slice.
func words(first *uint64, count uint64) []uint64 { return unsafe.Slice(first, count) }

// letters is the same for bytes.
func letters(first *byte, count int) []byte { return unsafe.Slice(first, count) }

// randomOf is the first number of the stream that belongs to seed.
func randomOf(seed uint64) uint64 {
	r := random{seed}
	return r.next()
}
