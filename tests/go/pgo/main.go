// Calls time.Now from hot functions, into which a build with a profile inlines it.
//
//	pgo N               N calls in each of two places, and in loops, closures, deferring functions …
//	pgo N profile FILE  writes a profile of such calls
package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"time"
)

var sink int64

//go:noinline
func straight(n int) {
	for i := 0; i < n; i++ {
		sink += time.Now().UnixNano()
	}
}

//go:noinline
func branching(n int) {
	for i := 0; i < n; i++ {
		if i%2 == 0 {
			sink += time.Now().UnixNano()
		} else {
			sink += time.Now().Unix()
		}
	}
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	if len(os.Args) > 3 {
		file, _ := os.Create(os.Args[3])
		pprof.StartCPUProfile(file)
		straight(n)
		branching(n)
		shapes(n)
		pprof.StopCPUProfile()
		file.Close()
		return
	}
	straight(n)
	branching(n)
	fmt.Printf("{\"time.Now\": %d}\n", 2*n+shapes(n))
}
