// Calls time.Now 100,000 times, and says how long that took.
package main

import (
	"fmt"
	"time"
)

const calls = 100000

func main() {
	begin := time.Now() // the first of them
	for i := 1; i < calls; i++ {
		time.Now()
	}
	took := time.Since(begin) // reads the clock, but not by time.Now
	fmt.Printf("calls %d ns %d\n", calls, took.Nanoseconds())
}
