package main

import (
	"runtime"
)

func init() { register("fragmentation", fragmentation) }

// fragmentation keeps its objects as pointers to their first word: size, number, then zeroes, and the
// number again in the last word.
func fragmentation(r *run) (o outcome) {
	target, rounds := uint64(r.number("live_bytes")), uint64(r.number("rounds"))
	check := newDigest()
	rnd := &random{11}
	table := make([]*uint64, target/64+1)
	var count, live, peak, number uint64
	var overhead float64
	for round := range rounds {
		least := uint64(64) << round
		for live < target {
			size := (least + rnd.below(least)) &^ 7
			object := make([]uint64, size/8)
			object[0], object[1], object[size/8-1] = size, number, number
			number++
			table[count] = &object[0]
			count++
			live += size
		}
		peak = max(peak, live)
		var kept uint64
		for i := range count {
			first := table[i]
			table[i] = nil
			if rnd.below(10) == 0 {
				table[kept] = first
				kept++
				continue
			}
			object := words(first, *first/8)
			check.add(object[1] ^ object[len(object)-1]<<32)
			live -= object[0]
		}
		count = kept
		check.add(live)
		runtime.GC()
		overhead += float64(residentBytes()) / float64(live)
	}
	o.metric("peak_over_live", float64(peakResidentBytes())/float64(peak))
	o.metric("freed_over_live", overhead/float64(rounds))
	runtime.KeepAlive(table)
	o.check = uint64(check)
	return o
}
