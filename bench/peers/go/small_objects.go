package main

//go:generate go run small_objects_gen.go

import (
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

func init() { register("small-objects", smallObjects) }

type smallSize struct {
	bytes      int
	free, refs func(n int) uint64
}

var (
	published     any
	publishedLock sync.Mutex
)

// publish makes sure that a ring is on the heap and not on a stack.
func publish(ring any) {
	publishedLock.Lock()
	published = ring
	publishedLock.Unlock()
}

func newAnchor() *uint64 {
	anchor := new(uint64)
	publish(anchor)
	*anchor = 3
	return anchor
}

func smallObjects(r *run) outcome {
	maxObjects, maxBytes, liveBytes := r.number("objects"), r.number("bytes"), r.number("live_bytes")
	var live []byte
	if liveBytes > 0 && strings.HasSuffix(r.variant, "-live") {
		live = make([]byte, liveBytes)
		publish(live)
	}
	var o outcome
	check := newDigest()
	var logs float64
	group := sizeGroups{}
	for _, size := range smallSizes {
		work := size.free
		if strings.HasPrefix(r.variant, "pointerful") {
			work = size.refs
		}
		n := min(maxObjects, maxBytes/size.bytes)
		watch := startWatch()
		sums := make([]uint64, r.threads)
		var threads sync.WaitGroup
		for thread := range r.threads {
			threads.Add(1)
			go func() {
				defer threads.Done()
				sums[thread] = work(n)
			}()
		}
		threads.Wait()
		nanos := float64(watch.cpu()) / float64(n*r.threads)
		for _, sum := range sums {
			check.add(sum)
		}
		o.metric("ns_per_object_"+strconv.Itoa(size.bytes), nanos)
		logs += math.Log(nanos)
		group.add(size.bytes, nanos)
	}
	o.metric("ns_per_object_geomean", math.Exp(logs/float64(len(smallSizes))))
	group.report(&o)
	runtime.KeepAlive(live)
	o.check = uint64(check)
	return o
}

// sizeGroups are the geometric means over neighbouring sizes.
type sizeGroups [4]struct{ logs, count float64 }

func (g *sizeGroups) add(bytes int, nanos float64) {
	i := 3
	for k, limit := range []int{32, 128, 2048} {
		if bytes <= limit {
			i = k
			break
		}
	}
	g[i].logs += math.Log(nanos)
	g[i].count++
}

func (g *sizeGroups) report(o *outcome) {
	for i, name := range []string{"8_to_32", "48_to_128", "256_to_2k", "8k_to_32k"} {
		o.metric("ns_per_object_"+name, math.Exp(g[i].logs/g[i].count))
	}
}
