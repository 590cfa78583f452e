// Reads the clock in every way that Go has, each a known number of times, and says how often each
// source was read.
//
//	clock N
//	clock N hold     waits for a line on stdin before it begins, and for another before it ends
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

//go:linkname nanotime runtime.nanotime
func nanotime() int64

//go:linkname now time.now
func now() (sec int64, nsec int32, mono int64)

var (
	sink  int64
	reads = map[string]int{}
)

// A zone of no transitions. Loading one looks up what holds at present.
var zone = append([]byte("TZif\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x04"),
	"\x00\x00\x00\x00\x00\x00ABC\x00"...)

func count(source string, n int) { reads[source] += n }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func values(n int, start time.Time) {
	wall := start.Round(0) // without its monotonic part
	for i := 0; i < n; i++ {
		time.Now()
		sink += int64(time.Since(wall))
		sink += int64(time.Until(wall))
		sec, _, _ := now() // by a name of the runtime's
		sink += sec
	}
	count("now", 4*n)
	for i := 0; i < n; i++ {
		sink += int64(time.Since(start))
		sink += int64(time.Until(start))
		sink += nanotime()
	}
	count("mono", 3*n)
}

func timers(n int) {
	for i := 0; i < n; i++ {
		timer := time.NewTimer(time.Hour) // mono
		timer.Reset(time.Hour)            // mono
		timer.Stop()
		ticker := time.NewTicker(time.Hour) // mono
		ticker.Reset(time.Hour)             // mono
		ticker.Stop()
		time.AfterFunc(time.Hour, func() {}).Stop() // mono
		<-time.NewTimer(0).C                        // mono; now, when it fires
		<-time.After(1)                             // the same
		done := make(chan bool)
		time.AfterFunc(0, func() { done <- true }) // mono; sends no time
		<-done
		time.Sleep(1) // the runtime's own read: none
	}
	count("mono", 8*n)
	count("now", 2*n)
	// One tick, with much time until the next.
	ticker := time.NewTicker(500 * time.Millisecond) // mono
	<-ticker.C                                       // now
	ticker.Stop()
	count("mono", 1)
	count("now", 1)
}

func deadlines(n int, at time.Time) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(err)
	defer conn.Close()
	for i := 0; i < n; i++ {
		must(conn.SetDeadline(at))      // mono
		must(conn.SetReadDeadline(at))  // mono
		must(conn.SetWriteDeadline(at)) // mono
		_, cancel := context.WithTimeout(context.Background(), time.Hour)
		cancel() // now, and mono twice
	}
	count("mono", 5*n)
	count("now", n)
}

func calls(n int) {
	var value syscall.Timeval
	var spec syscall.Timespec
	var seconds syscall.Time_t
	for i := 0; i < n; i++ {
		must(syscall.Gettimeofday(&value))
		_, err := syscall.Time(&seconds)
		must(err)
	}
	count("gettimeofday", 2*n)
	for i := 0; i < n; i++ {
		syscall.Syscall(228, 1, uintptr(unsafe.Pointer(&spec)), 0)
		syscall.Syscall(228, 0, uintptr(unsafe.Pointer(&spec)), 0)
		syscall.Syscall(96, uintptr(unsafe.Pointer(&value)), 0, 0)
		syscall.RawSyscall(201, 0, 0, 0)
	}
	count("syscall clock_gettime", 2*n)
	count("syscall gettimeofday", n)
	count("syscall time", n)
}

func runtimes(n int) {
	for i := 0; i < n; i++ {
		_, err := time.LoadLocationFromTZData("ABC", zone) // now
		must(err)
	}
	for i := 0; i < 3; i++ {
		runtime.GC() // now, at the end of a collection's marking
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	count("now", n+int(stats.NumGC))
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	input := bufio.NewReader(os.Stdin)
	debug.SetGCPercent(-1)
	if len(os.Args) > 2 {
		fmt.Println("ready", os.Getpid())
		input.ReadString('\n')
	} else {
		count("mono", 1) // package time's own, at its start
	}
	start := time.Now()
	count("now", 1)
	values(n, start)
	timers(n)
	deadlines(n, start.Add(time.Hour))
	calls(n)
	runtimes(n)
	text, _ := json.Marshal(reads)
	fmt.Println(string(text))
	if len(os.Args) > 2 {
		input.ReadString('\n')
	}
}
