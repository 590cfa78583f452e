// Tells what runtime.CallersFrames says of its own code: frames MAIN_ADDRESS, and addresses in hex on stdin, all as
// linked. For each a line: the address, the innermost function, its file and line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
)

func main() {
	linked, err := strconv.ParseUint(os.Args[1], 16, 64)
	if err != nil {
		panic(err)
	}
	bias := reflect.ValueOf(main).Pointer() - uintptr(linked)
	out := bufio.NewWriter(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		address, err := strconv.ParseUint(in.Text(), 16, 64)
		if err != nil {
			panic(err)
		}
		// It takes return addresses.
		frame, _ := runtime.CallersFrames([]uintptr{uintptr(address) + bias + 1}).Next()
		fmt.Fprintf(out, "%x\t%s\t%s\t%d\n", address, frame.Function, frame.File, frame.Line)
	}
	out.Flush()
}
