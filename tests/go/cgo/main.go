// Reads the clock from Go and from C.
//
//	cgo N
package main

/*
#include <time.h>

static void read_clock(long n)
{
	struct timespec now;

	for (long i = 0; i < n; i++)
		clock_gettime(CLOCK_MONOTONIC, &now);
}
*/
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	C.read_clock(C.long(3 * n))
	for i := 0; i < n; i++ {
		time.Now()
	}
	fmt.Printf("{\"now\": %d, \"c\": %d}\n", n, 3*n)
}
