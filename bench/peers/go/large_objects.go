package main

import (
	"runtime"
	"runtime/debug"
	"time"
)

func init() { register("large-objects", largeObjects) }

const largeSlots = 16

const wordsPerPage = 4096 / 8

// dropLarge adds what every page of a block says.
func dropLarge(block []uint64, check *digest) {
	var sum uint64
	for i := 0; i < len(block); i += wordsPerPage {
		sum += block[i]
	}
	check.add(sum)
}

func churnLarge(slots *[largeSlots][]uint64, operations uint64, check *digest) {
	rnd := &random{8}
	for op := range operations {
		slot := rnd.below(largeSlots)
		base := uint64(64<<10) << rnd.below(10)
		pages := base/4096 + rnd.below(base/4096+1)
		if slots[slot] != nil {
			dropLarge(slots[slot], check)
			slots[slot] = nil
		}
		block := make([]uint64, pages*wordsPerPage)
		var dirt uint64
		for page := range pages {
			block[page*wordsPerPage] = op<<20 + page
			dirt |= block[page*wordsPerPage+wordsPerPage/2]
		}
		check.add(dirt)
		slots[slot] = block
	}
}

func largeObjects(r *run) (o outcome) {
	check := newDigest()
	slots := new([largeSlots][]uint64)
	churnLarge(slots, uint64(r.number("operations")), &check)
	o.metric("resident_live_bytes", float64(residentBytes()))
	for slot := range slots {
		if slots[slot] != nil {
			dropLarge(slots[slot], &check)
			slots[slot] = nil
		}
	}
	runtime.GC()
	o.metric("resident_collected_bytes", float64(residentBytes()))
	time.Sleep(time.Duration(uint64(r.number("idle_millis"))) * time.Millisecond)
	o.metric("resident_idle_bytes", float64(residentBytes()))
	debug.FreeOSMemory()
	o.metric("resident_trimmed_bytes", float64(residentBytes()))
	o.check = uint64(check)
	return o
}
