// Loads a plugin; then both call time.Now.
//
//	host PLUGIN N hold
package main

import (
	"bufio"
	"fmt"
	"os"
	"plugin"
	"strconv"
	"time"
)

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	call, _ := loaded.Lookup("Call")
	input := bufio.NewReader(os.Stdin)
	fmt.Println("ready", os.Getpid())
	input.ReadString('\n')
	for i := 0; i < n; i++ {
		time.Now()
	}
	call.(func(int))(2 * n)
	fmt.Printf("{\"time.Now\": %d}\n", 3*n)
	input.ReadString('\n')
}
