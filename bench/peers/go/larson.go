package main

import (
	"sync"
	"unsafe"
)

func init() { register("larson", larson) }

const (
	packetSlots      = 4096
	turnReplacements = 10_000
)

type packet struct {
	slots     *[packetSlots]*uint64
	random    random
	sum       uint64
	turnsLeft int
}

// turn replaces blocks of the packet by new ones of 16 to 512 bytes.
func (p *packet) turn() {
	for range turnReplacements {
		tag := p.random.next()
		size := 16 + (tag>>32)*497>>32
		block := (*uint64)(unsafe.Pointer(unsafe.SliceData(make([]byte, size))))
		slot := &p.slots[tag%packetSlots]
		if *slot != nil {
			p.sum += **slot
		}
		*block += tag
		*slot = block
	}
	p.turnsLeft--
}

// packetQueue hands packets from thread to thread.
type packetQueue struct {
	lock    sync.Mutex
	changed sync.Cond
	packets []*packet // those that wait
	left    int       // packets that still have turns
}

// take waits for a packet; nil when no turns are left.
func (q *packetQueue) take() *packet {
	q.lock.Lock()
	defer q.lock.Unlock()
	for len(q.packets) == 0 && q.left > 0 {
		q.changed.Wait()
	}
	if q.left == 0 {
		return nil
	}
	p := q.packets[0]
	copy(q.packets, q.packets[1:])
	q.packets = q.packets[:len(q.packets)-1]
	return p
}

func (q *packetQueue) giveBack(p *packet) {
	q.lock.Lock()
	if p.turnsLeft > 0 {
		q.packets = append(q.packets, p)
	} else {
		q.left--
	}
	q.changed.Broadcast()
	q.lock.Unlock()
}

func larson(r *run) outcome {
	packets := make([]*packet, 2*r.threads)
	turns := r.number("turns") / len(packets)
	queue := packetQueue{left: len(packets)}
	queue.changed.L = &queue.lock
	for i := range packets {
		packets[i] = &packet{slots: new([packetSlots]*uint64), random: random{uint64(i)}, turnsLeft: turns}
		queue.packets = append(queue.packets, packets[i])
	}
	watch := startWatch()
	var group sync.WaitGroup
	for range r.threads {
		group.Add(1)
		go func() {
			defer group.Done()
			for p := queue.take(); p != nil; p = queue.take() {
				p.turn()
				queue.giveBack(p)
			}
		}()
	}
	group.Wait()
	var o outcome
	o.metric("ns_per_replacement", float64(watch.cpu())/float64(turns*len(packets)*turnReplacements))
	check := newDigest()
	for _, p := range packets {
		for _, block := range p.slots {
			if block != nil {
				p.sum += *block
			}
		}
		check.add(p.sum)
	}
	o.check = uint64(check)
	return o
}
