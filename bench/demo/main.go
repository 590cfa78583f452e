// Calls time.Now 100,000 times, and says how long that took.
package main

import (
	"fmt"
	"time"
)

const calls = 100000

func main() {
	begin := time.Now()
	for i := 0; i < calls; i++ {
		time.Now()
	}
	took := time.Since(begin)
	// The loop's calls, and the one that began it.
	fmt.Printf("calls %d ns %d\n", calls+1, took.Nanoseconds())
}
