package main

import "unsafe"

func init() { register("tiny-strings", tinyStrings) }

func tinyStrings(r *run) outcome {
	switch r.variant {
	case "garbage":
		return tinyWindow(r, 64, false)
	case "churn":
		return tinyWindow(r, r.number("window"), true)
	case "hold":
		return tinyHold(r)
	}
	fail("there is no variant %q", r.variant)
	panic("unreachable")
}

// newString is a string of length bytes with number i in it.
func newString(length, i uint64) *byte {
	text := make([]byte, length)
	text[length-1] = byte(i >> 8)
	text[0] = byte(i)
	return unsafe.SliceData(text)
}

func tinyWindow(r *run, window int, atRandom bool) outcome {
	n := uint64(r.number("strings"))
	slots := make([]*byte, window)
	watch := startWatch()
	lengths, places := random{1}, random{2}
	sum := uint64(0)
	for i := range n {
		text := newString(1+lengths.below(15), i)
		place := i % uint64(window)
		if atRandom {
			place = places.below(uint64(window))
		}
		slot := &slots[place]
		if *slot != nil {
			sum += uint64(**slot)
		}
		*slot = text
	}
	o := outcome{}
	o.metric("ns_per_object", float64(watch.cpu())/float64(n))
	o.check = sum + sumStrings(slots)
	return o
}

func tinyHold(r *run) outcome {
	n := uint64(r.number("strings"))
	slots := make([]*byte, n)
	clear(slots)
	before := residentBytes()
	watch := startWatch()
	lengths := random{1}
	payload := uint64(0)
	for i := range n {
		length := 1 + lengths.below(15)
		payload += length
		slots[i] = newString(length, i)
	}
	o := outcome{residentEnd: residentBytes()}
	o.metric("ns_per_object", float64(watch.cpu())/float64(n))
	o.metric("resident_bytes_per_payload_byte", float64(o.residentEnd-before)/float64(payload))
	o.check = sumStrings(slots) + payload
	return o
}

func sumStrings(slots []*byte) uint64 {
	sum := uint64(0)
	for _, text := range slots {
		if text != nil {
			sum += uint64(*text)
		}
	}
	return sum
}
