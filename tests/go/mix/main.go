// Calls time.Now from four places, 8 to 4 to 2 to 1 times, until its input ends; then prints the counts.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

var sink time.Time

//go:noinline
func spin(n int) int {
	x := 0
	for i := 0; i < n; i++ {
		x += i ^ x
	}
	return x
}

//go:noinline
func eight() { sink = time.Now() }

//go:noinline
func four() { sink = time.Now() }

//go:noinline
func two() { sink = time.Now() }

//go:noinline
func one() { sink = time.Now() }

func main() {
	var ended atomic.Bool
	var rounds, work int
	fmt.Println("ready", os.Getpid())
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	go func() {
		_, _ = in.ReadString('\n')
		ended.Store(true)
	}()
	for ; !ended.Load(); rounds++ {
		for i, call := range []func(){eight, four, two, one} {
			for k := 0; k < 8>>i; k++ {
				call()
				work += spin(2000)
			}
		}
	}
	sink = sink.Add(time.Duration(work))
	_ = json.NewEncoder(os.Stdout).Encode(map[string]int{"eight": 8 * rounds, "four": 4 * rounds,
		"two": 2 * rounds, "one": rounds})
}
