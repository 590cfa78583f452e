// Calls time.Now a known number of times, and says how often.
//
//	truth loop N G      N calls on each of G goroutines
//	truth deep N G      N calls on each of G goroutines, from stacks that grow, under collections and
//	                    preemption
//	truth pressed N G   as loop, with little memory, more Ps than cores, and garbage in each round
//	... hold            waits for a line on stdin before it begins, and for another before it ends
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var calls int64

func loop(n int) {
	for i := 0; i < n; i++ {
		time.Now()
	}
	atomic.AddInt64(&calls, int64(n))
}

var garbage [64][]byte

func pressed(n int) {
	for i := 0; i < n; i++ {
		time.Now()
		garbage[i%64] = make([]byte, 1024)
	}
	atomic.AddInt64(&calls, int64(n))
}

// Each level has a frame of another size, so that the stack's end falls everywhere.
//
//go:noinline
func descend(depth int, pad [64]byte) byte {
	time.Now()
	if depth == 0 {
		return pad[0]
	}
	return descend(depth-1, pad) + pad[depth%64]
}

func deep(n int) {
	const depth = 100
	for left := n; left > 0; left -= depth {
		var inner sync.WaitGroup
		inner.Add(1)
		levels := depth
		if left < depth {
			levels = left
		}
		go func() { // a fresh goroutine has a small stack
			descend(levels-1, [64]byte{})
			inner.Done()
		}()
		inner.Wait()
	}
	atomic.AddInt64(&calls, int64(n))
}

// Preempts and moves everybody, all the time.
func disturb(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			runtime.GC()
		}
	}
}

func main() {
	mode := os.Args[1]
	n, _ := strconv.Atoi(os.Args[2])
	g, _ := strconv.Atoi(os.Args[3])
	hold := len(os.Args) > 4
	input := bufio.NewReader(os.Stdin)
	if hold {
		fmt.Println("ready", os.Getpid())
		input.ReadString('\n')
	}
	work := loop
	stop := make(chan struct{})
	switch mode {
	case "deep":
		work = deep
	case "pressed":
		work = pressed
		debug.SetGCPercent(1)
		runtime.GOMAXPROCS(4 * runtime.NumCPU())
	}
	if mode != "loop" {
		go disturb(stop)
	}
	var all sync.WaitGroup
	for i := 0; i < g; i++ {
		all.Add(1)
		go func() {
			work(n)
			all.Done()
		}()
	}
	all.Wait()
	if mode != "loop" {
		stop <- struct{}{}
	}
	fmt.Printf("{\"time.Now\": %d}\n", calls)
	if hold {
		input.ReadString('\n')
	}
}
