// Calls time.Now when it is told to, and says after each step how often it did.
//
//	steps G     prints "ready PID", then takes lines on stdin until its end:
//	    N       N calls on each of G goroutines; prints the calls and what one took
//	    go      calls on G goroutines until told otherwise; prints "going" when each has begun
//	    rest    ends that; prints the calls since "go"
//	    exec    executes itself anew
//	    spawn   has a child of the same program take the lines from now on
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var resting int32

// Takes the time of all the calls with two more, so a step is two calls more than it was told.
func step(n, g int) {
	var all sync.WaitGroup
	start := time.Now()
	for i := 0; i < g; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < n; j++ {
				time.Now()
			}
		}()
	}
	all.Wait()
	took := time.Now().Sub(start)
	fmt.Printf("{\"time.Now\": %d, \"ns\": %.1f}\n", n*g+2, float64(took)/float64(n*g))
}

type runners struct {
	begun, done sync.WaitGroup
	calls       int64
}

func (r *runners) run() {
	defer r.done.Done()
	time.Now()
	calls := int64(1)
	r.begun.Done()
	for ; atomic.LoadInt32(&resting) == 0; calls++ {
		time.Now()
	}
	atomic.AddInt64(&r.calls, calls)
}

func start(g int) *runners {
	r := new(runners)
	atomic.StoreInt32(&resting, 0)
	r.begun.Add(g)
	r.done.Add(g)
	for i := 0; i < g; i++ {
		go r.run()
	}
	r.begun.Wait()
	fmt.Println("going")
	return r
}

func (r *runners) rest() {
	atomic.StoreInt32(&resting, 1)
	r.done.Wait()
	fmt.Printf("{\"time.Now\": %d}\n", r.calls)
}

func spawn() {
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Run(); err != nil {
		panic(err)
	}
}

func main() {
	var r *runners
	g, _ := strconv.Atoi(os.Args[1])
	fmt.Println("ready", os.Getpid())
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		switch input.Text() {
		case "go":
			r = start(g)
		case "rest":
			r.rest()
		case "exec":
			panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
		case "spawn":
			spawn()
		default:
			n, _ := strconv.Atoi(input.Text())
			step(n, g)
		}
	}
}
