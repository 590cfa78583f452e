// Calls time.Now, assembly functions or, with the tag cgocalls, a C function on several goroutines at once, on each a
// number of times of its own, and says how often each goroutine did, by the id that the runtime prints.
//
//	goroutines N G [hold]    N calls on the first of G goroutines, 2 N on the second, and so on; hold: waits for a line
//	                         on stdin before it begins, and for another before it ends
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const timers = 3

var (
	lock  sync.Mutex
	calls = map[string]map[string]int{}
)

// id is the running goroutine's, as in "goroutine 7 [running]:".
func id() string {
	text := make([]byte, 64)
	return string(bytes.Fields(text[:runtime.Stack(text, false)])[1])
}

func note(id, function string, n int) {
	lock.Lock()
	if calls[id] == nil {
		calls[id] = map[string]int{}
	}
	calls[id][function] += n
	lock.Unlock()
}

func noteNow(id string, n int) {
	note(id, "time.Now", n)
	note(id, "time.now", n)
}

// grow calls from deep in a stack that has been copied.
//
//go:noinline
func grow(depth int) byte {
	var room [256]byte
	room[depth] = byte(depth)
	if depth > 0 {
		return room[depth] + grow(depth-1)
	}
	time.Now()
	return room[0]
}

func all(n int) {
	var value syscall.Timeval
	me := id()
	for i := 0; i < n; i++ {
		time.Now()
		syscall.Gettimeofday(&value)
		other(i)
		runtime.Gosched() // mostly goes on on another thread
	}
	grow(100)
	noteNow(me, n+1)
	note(me, "syscall.gettimeofday", n)
	noteOther(me, n)
	if id() != me {
		panic("another goroutine")
	}
}

// wait has the runtime read the clock, when it sends the time on its own stack.
func wait() {
	for i := 0; i < timers; i++ {
		timer := time.NewTimer(time.Microsecond)
		<-timer.C
	}
	noteNow("0", timers)
}

func main() {
	debug.SetGCPercent(-1) // it reads the clock, on whatever goroutine
	n, _ := strconv.Atoi(os.Args[1])
	g, _ := strconv.Atoi(os.Args[2])
	hold := len(os.Args) > 3
	input := bufio.NewReader(os.Stdin)
	if hold {
		fmt.Println("ready", os.Getpid())
		input.ReadString('\n')
	}
	var group sync.WaitGroup
	for i := 1; i <= g; i++ {
		group.Add(1)
		go func(n int) {
			all(n)
			group.Done()
		}(n * i)
	}
	all(n)
	group.Wait()
	wait()
	told, _ := json.Marshal(calls)
	fmt.Printf("%s\n", told)
	if hold {
		input.ReadString('\n')
	}
}
