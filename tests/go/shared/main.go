// Reads the clock when the program that loaded this object asks for it.
package main

import "C"

import (
	"syscall"
	"time"
)

var (
	start = time.Now()
	sink  int64
)

// Ready returns when all packages are initialised.
//
//export Ready
func Ready() {}

//export Read
func Read(n C.long) {
	var value syscall.Timeval
	for i := C.long(0); i < n; i++ {
		time.Now()
		sink += int64(time.Since(start))
		sink += int64(time.Until(start))
		syscall.Gettimeofday(&value)
	}
}

func main() {}
