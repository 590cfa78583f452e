// Calls time.Now in a bubble of testing/synctest, where the time is made up.
//
//	bubble N
//
//go:debug asynctimerchan=0
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
	_ "unsafe"
)

//go:linkname run internal/synctest.Run
func run(f func())

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	run(func() {
		start := time.Now()
		if start.Year() != 2000 {
			panic("this is no bubble")
		}
		for i := 1; i < n; i++ {
			time.Now()
		}
		if n > 0 {
			time.Sleep(time.Hour)
		}
	})
	if n == 0 {
		n = 1
	}
	fmt.Printf("{\"time.Now\": %d}\n", n)
}
