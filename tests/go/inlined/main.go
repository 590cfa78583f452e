// Calls a function that the compiler inlines everywhere, so that it has no code of its own.
package main

import (
	"fmt"
	"os"
)

var sum int

func everywhere(n int) {
	sum += n
}

//go:noinline
func caller(n int) {
	everywhere(n)
}

func main() {
	fmt.Println("ready", os.Getpid())
	for i := range make([]byte, 10) {
		caller(i)
	}
	os.Stdin.Read(make([]byte, 1))
}
