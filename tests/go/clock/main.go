// Reads the clock in every way that Go has, each a known number of times, and says how often each
// source was read.
//
//	clock N
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	_ "unsafe"
)

//go:linkname nanotime runtime.nanotime
func nanotime() int64

var sink int64

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	start := time.Now()
	wall := start.Round(0) // without its monotonic part
	var value syscall.Timeval

	for i := 0; i < n; i++ {
		time.Now()                       // now
		sink += int64(time.Since(start)) // mono
		sink += int64(time.Until(start)) // mono
		sink += int64(time.Since(wall))  // now
		time.AfterFunc(time.Hour, func() {}).Stop() // mono
		<-time.NewTimer(0).C                        // mono; now, when it fires
		_, cancel := context.WithTimeout(context.Background(), time.Hour)
		cancel()                     // now, and mono twice
		syscall.Gettimeofday(&value) // gettimeofday
		sink += nanotime()           // mono, by a name of the runtime's
		time.Sleep(1)                // the runtime's own read: none
	}
	// One of each at the start: the program's, and package time's own.
	fmt.Printf("{\"now\": %d, \"mono\": %d, \"gettimeofday\": %d}\n", 4*n+1, 7*n+1, n)
}
