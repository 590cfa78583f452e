// Calls time.Now from ten places, 1, 3, 6, 10, 15 … 55 times a round and well mixed, until its input ends; then prints
// the counts.
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
func one() { sink = time.Now() }

//go:noinline
func two() { sink = time.Now() }

//go:noinline
func three() { sink = time.Now() }

//go:noinline
func four() { sink = time.Now() }

//go:noinline
func five() { sink = time.Now() }

//go:noinline
func six() { sink = time.Now() }

//go:noinline
func seven() { sink = time.Now() }

//go:noinline
func eight() { sink = time.Now() }

//go:noinline
func nine() { sink = time.Now() }

//go:noinline
func ten() { sink = time.Now() }

var places = [...]struct {
	name string
	call func()
}{
	{"one", one},
	{"two", two},
	{"three", three},
	{"four", four},
	{"five", five},
	{"six", six},
	{"seven", seven},
	{"eight", eight},
	{"nine", nine},
	{"ten", ten},
}

// calls is how often a place calls in a round.
func calls(place int) int { return (place + 1) * (place + 2) / 2 }

// order is a round's: each place as far apart from itself as can be.
func order() (round []func()) {
	var due [len(places)]int
	total := 0
	for i := range places {
		total += calls(i)
	}
	for range make([]byte, total) {
		next := 0
		for i := range due {
			due[i] += calls(i)
			if due[i] > due[next] {
				next = i
			}
		}
		due[next] -= total
		round = append(round, places[next].call)
	}
	return round
}

func main() {
	round := order()
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
		for _, call := range round {
			call()
			work += spin(2000)
		}
	}
	sink = sink.Add(time.Duration(work))
	counts := map[string]int{}
	for i, place := range places {
		counts[place.name] = calls(i) * rounds
	}
	_ = json.NewEncoder(os.Stdout).Encode(counts)
}
