// Does what is hard on whoever changes its text, and checks its own results: garbage collections, stacks
// that grow, panics, dumps of all stacks, a CPU profile of itself, goroutines and threads that come and go,
// children, more Ps than cores.
//
// Lines on stdin: "go" has it begin; "rest" has it stand still and say, as JSON, how often it has called
// time.Now since its start; "end" ends it. At its end it says how often a check failed: wrong.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var (
	calls, wrong, done int64
	resting            int32
	workers            sync.WaitGroup
)

func rests() bool { return atomic.LoadInt32(&resting) != 0 }

func check(right bool, what string) {
	if !right {
		atomic.AddInt64(&wrong, 1)
		fmt.Fprintln(os.Stderr, "churn: wrong:", what)
	}
}

func call(n int) {
	last := time.Now()
	for i := 1; i < n; i++ {
		now := time.Now()
		check(now.Sub(last) >= 0, "time goes back")
		last = now
	}
	atomic.AddInt64(&calls, int64(n))
}

//go:noinline
func descend(depth int, pad [96]byte) int {
	time.Now()
	pad[depth%96]++
	if depth == 0 {
		return int(pad[0])
	}
	return descend(depth-1, pad) + int(pad[depth%96])
}

func grow() {
	var sum sync.WaitGroup
	for i := 0; i < 4; i++ {
		sum.Add(1)
		go func() {
			defer sum.Done()
			var pad [96]byte
			// Each of the levels 0 to 95 counts one up, before it is read.
			check(descend(95, pad) == 96, "the sum of a deep stack")
			atomic.AddInt64(&calls, 96)
		}()
	}
	sum.Wait()
}

func panics() {
	defer func() {
		time.Now()
		check(recover() == "on purpose", "what was recovered")
		atomic.AddInt64(&calls, 1)
	}()
	var nothing []int
	defer func() {
		_, isError := recover().(runtime.Error)
		check(isError, "a fault's panic")
		panic("on purpose")
	}()
	nothing[len(os.Args)] = 1
}

func dump() {
	buffer := make([]byte, 1<<20)
	check(bytes.Contains(buffer[:runtime.Stack(buffer, true)], []byte("main.dump")), "a dump of all stacks")
	runtime.GC()
	debug.FreeOSMemory()
}

func threads() {
	var ended sync.WaitGroup
	for i := 0; i < 4; i++ {
		ended.Add(1)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with it
			call(10)
			ended.Done()
		}()
	}
	ended.Wait()
}

func children() {
	out, err := exec.Command("/bin/echo", "child").Output()
	check(err == nil && string(out) == "child\n", fmt.Sprint("a child: ", err, " ", string(out)))
}

func garbage() {
	kept := make([][]byte, 256)
	for i := range kept {
		kept[i] = bytes.Repeat([]byte{byte(i)}, 512)
	}
	call(50)
	for i := range kept {
		check(kept[i][0] == byte(i) && kept[i][511] == byte(i), "what was kept")
	}
}

func start(work func()) {
	workers.Add(1)
	go func() {
		for !rests() {
			work()
			atomic.AddInt64(&done, 1)
		}
		workers.Done()
	}()
}

func begin(extra int) {
	atomic.StoreInt32(&resting, 0)
	for i := 0; i < 3; i++ {
		start(func() { call(1000) })
	}
	for _, work := range []func(){grow, panics, dump, threads, children, garbage} {
		start(work)
	}
	for i := 0; i < extra; i++ { // threads, half of them at work
		start(func() {
			runtime.LockOSThread()
			call(100)
			time.Sleep(time.Millisecond)
			runtime.UnlockOSThread()
		})
	}
}

func main() {
	extra := 0
	if len(os.Args) > 1 {
		extra, _ = strconv.Atoi(os.Args[1])
	}
	runtime.GOMAXPROCS(8)
	runtime.SetCPUProfileRate(1000)
	_ = pprof.StartCPUProfile(io.Discard)
	fmt.Println("ready", os.Getpid())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "go":
			begin(extra)
		case "rest":
			atomic.StoreInt32(&resting, 1)
			workers.Wait()
			fmt.Printf("{\"calls\": %d, \"wrong\": %d, \"done\": %d}\n", calls, wrong, done)
		case "end":
			return
		}
	}
}
