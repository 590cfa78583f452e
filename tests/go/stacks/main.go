// Calls time.Now by 2^BITS different stacks, by each ROUNDS times, and says how often.
//
//	stacks BITS ROUNDS     waits for a line on stdin before it begins, and for another before it ends
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

// The path's bits choose between two places to call from.
//
//go:noinline
func walk(bits, path int) int {
	if bits == 0 {
		time.Now()
		return 1
	}
	if path&1 == 0 {
		return walk(bits-1, path>>1)
	}
	calls := walk(bits-1, path>>1)
	return calls
}

func main() {
	bits, _ := strconv.Atoi(os.Args[1])
	rounds, _ := strconv.Atoi(os.Args[2])
	input := bufio.NewReader(os.Stdin)
	fmt.Println("ready", os.Getpid())
	_, _ = input.ReadString('\n')
	calls := 0
	for i := 0; i < rounds; i++ {
		for path := 0; path < 1<<bits; path++ {
			calls += walk(bits, path)
		}
	}
	fmt.Printf("{\"time.Now\": %d}\n", calls)
	_, _ = input.ReadString('\n')
}
