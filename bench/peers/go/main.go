// Command go-peer does the workloads of the mallocgc benchmarks on Go's heap.
//
//	go-peer WORKLOAD --threads N name=value...
//
// It prints one line of JSON. Each workload is a file of its own that registers itself; work, sizes and check
// values are those of bench/src/workloads.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// run is one request.
type run struct {
	workload   string
	variant    string // behind the slash of the workload's name
	threads    int
	parameters map[string]string
}

// number is the numeric parameter name.
func (r *run) number(name string) int {
	value, err := strconv.Atoi(r.parameters[name])
	if err != nil {
		fail("parameter %s=%q is not usable", name, r.parameters[name])
	}
	return value
}

// outcome is what a workload hands back.
type outcome struct {
	check       uint64
	residentEnd uint64 // 0: measured when the workload returns
	metrics     map[string]float64
}

func (o *outcome) metric(name string, value float64) {
	if o.metrics == nil {
		o.metrics = map[string]float64{}
	}
	o.metrics[name] = value
}

var workloads = map[string]func(*run) outcome{}

// register is called by each workload's init.
func register(name string, f func(*run) outcome) { workloads[name] = f }

type report struct {
	Workload    string             `json:"workload"`
	Runtime     string             `json:"runtime"`
	Check       string             `json:"check"`
	CPU         uint64             `json:"cpu_nanos"`
	Wall        uint64             `json:"wall_nanos"`
	PeakRSS     uint64             `json:"peak_rss_bytes"`
	ResidentEnd uint64             `json:"resident_end_bytes"`
	Collections uint64             `json:"collections"`
	StopMax     uint64             `json:"stop_max_nanos"`
	StopP99     uint64             `json:"stop_p99_nanos"`
	Metrics     map[string]float64 `json:"metrics"`
}

func main() {
	r := parse(os.Args[1:])
	f := workloads[strings.SplitN(r.workload, "/", 2)[0]]
	if f == nil {
		fail("there is no workload %q", r.workload)
	}
	watch := startWatch()
	o := f(r)
	if o.residentEnd == 0 {
		o.residentEnd = residentBytes()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	longest, p99 := stops()
	if o.metrics == nil {
		o.metrics = map[string]float64{}
	}
	line, err := json.Marshal(report{
		Workload: r.workload, Runtime: "go", Check: fmt.Sprintf("%016x", o.check),
		CPU: watch.cpu(), Wall: watch.wall(), PeakRSS: peakResidentBytes(), ResidentEnd: o.residentEnd,
		Collections: uint64(stats.NumGC), StopMax: longest, StopP99: p99, Metrics: o.metrics,
	})
	if err != nil {
		fail("%v", err)
	}
	fmt.Println(string(line))
}

func parse(args []string) *run {
	r := &run{threads: 1, parameters: map[string]string{}}
	for i := 0; i < len(args); i++ {
		name, value, found := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--threads" && i+1 < len(args):
			i++
			threads, err := strconv.Atoi(args[i])
			if err != nil || threads < 1 {
				fail("--threads %q is not usable", args[i])
			}
			r.threads = threads
		case found:
			r.parameters[name] = value
		case r.workload == "":
			r.workload = args[i]
		default:
			fail("unexpected argument %q", args[i])
		}
	}
	_, r.variant, _ = strings.Cut(r.workload, "/")
	return r
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// random is splitmix64.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9E3779B97F4A7C15
	z := r.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func (r *random) below(bound uint64) uint64 { return (r.next() >> 32) * bound >> 32 }

// digest is a running digest of numbers, in order.
type digest uint64

func newDigest() digest { return 0xCBF29CE484222325 }

func (d *digest) add(value uint64) {
	x := uint64(*d) ^ value
	*d = digest((x<<29 | x>>35) * 0x9E3779B97F4A7C15)
}

// stopwatch measures CPU time of the whole process, and wall time.
type stopwatch struct {
	cpuStart  uint64
	wallStart time.Time
}

func startWatch() stopwatch { return stopwatch{processCPU(), time.Now()} }

func (w stopwatch) cpu() uint64  { return processCPU() - w.cpuStart }
func (w stopwatch) wall() uint64 { return uint64(time.Since(w.wallStart)) }

// processCPU is CLOCK_PROCESS_CPUTIME_ID in nanoseconds.
func processCPU() uint64 {
	var t syscall.Timespec
	const clockProcessCPUTime = 2
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPUTime, uintptr(unsafe.Pointer(&t)), 0)
	return uint64(t.Nano())
}

func residentBytes() uint64 {
	text, _ := os.ReadFile("/proc/self/statm")
	var size, resident uint64
	fmt.Sscan(string(text), &size, &resident)
	return resident * uint64(os.Getpagesize())
}

func peakResidentBytes() uint64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, " kB")), 10, 64)
			return kib * 1024
		}
	}
	return 0
}

// stops is the longest and the 99th percentile of the collector's stops, as upper bounds of the runtime's
// histogram buckets.
func stops() (longest, p99 uint64) {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0, 0
	}
	h := sample[0].Value.Float64Histogram()
	var total, seen uint64
	for _, count := range h.Counts {
		total += count
	}
	for i, count := range h.Counts {
		if count == 0 {
			continue
		}
		bound := h.Buckets[i+1]
		if math.IsInf(bound, 1) {
			bound = h.Buckets[i]
		}
		if seen*100 < total*99 {
			p99 = uint64(bound * 1e9)
		}
		seen += count
		longest = uint64(bound * 1e9)
	}
	return longest, p99
}
