// Calls time.Now at a pace, and shows its progress in a file that others map.
//
//	pace FILE THREADS RATE KIND
//
// KIND busy: on a CPU all the time, RATE calls a second in all while undisturbed; 0: as many as it can.
// KIND onoff: the same for 100 ms, then as much work without calls for 100 ms.
// KIND asleep: on for 100 ms, asleep for 100 ms.
// KIND step: as busy; each SIGUSR1 changes between RATE and as many as it can.
// FILE gets a cache line a thread: units of work done, and calls made; both only grow.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const line = 64

type progress struct {
	work, calls uint64
	_           [line - 16]byte
}

var sink uint64

//go:noinline
func spin(n int) uint64 {
	x := uint64(n)
	for i := 0; i < n; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

// How many turns of spin take so long: the best of some tries.
func turnsIn(ns float64) int {
	best := 1e9
	for i := 0; i < 50; i++ {
		start := time.Now()
		sink += spin(20000)
		if took := float64(time.Since(start).Nanoseconds()) / 20000; took < best {
			best = took
		}
	}
	return int(ns / best)
}

// 100 ms on, 100 ms off, by a clock that this does not read itself.
var phase uint32

func keepPhase() {
	for {
		syscall.Nanosleep(&syscall.Timespec{Nsec: 100e6}, nil)
		atomic.AddUint32(&phase, 1)
	}
}

// As many calls as it can, whatever the rate.
var unbridled uint32

func changeAt(signals chan os.Signal) {
	for range signals {
		atomic.StoreUint32(&unbridled, 1-atomic.LoadUint32(&unbridled))
	}
}

func run(p *progress, turns int, kind string) {
	runtime.LockOSThread()
	for {
		off := (kind == "onoff" || kind == "asleep") && atomic.LoadUint32(&phase)%2 == 1
		if off && kind == "asleep" {
			syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil)
			continue
		}
		if !off {
			time.Now()
			atomic.AddUint64(&p.calls, 1)
		}
		if turns > 0 && atomic.LoadUint32(&unbridled) == 0 {
			spin(turns)
		}
		atomic.AddUint64(&p.work, 1)
	}
}

func main() {
	threads, _ := strconv.Atoi(os.Args[2])
	rate, _ := strconv.ParseFloat(os.Args[3], 64)
	file, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	shared, err := syscall.Mmap(int(file.Fd()), 0, threads*line, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	runtime.GOMAXPROCS(threads + 1)
	turns := 0
	if rate > 0 {
		cpus := float64(threads)
		if cpus > float64(runtime.NumCPU()) {
			cpus = float64(runtime.NumCPU())
		}
		turns = turnsIn(1e9*cpus/rate) + 1
	}
	switch os.Args[4] {
	case "onoff", "asleep":
		go keepPhase()
	case "step":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGUSR1) // before "ready": a signal must not get lost
		go changeAt(signals)
	}
	for i := 0; i < threads; i++ {
		go run((*progress)(unsafe.Pointer(&shared[i*line])), turns, os.Args[4])
	}
	fmt.Println("ready", os.Getpid())
	os.Stdin.Read(make([]byte, 1)) // until whoever started it ends
}
