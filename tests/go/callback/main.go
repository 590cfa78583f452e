// Calls time.Now from Go, and from callbacks that C makes on Go's threads and on threads of its own, a known number of
// times, and says how often.
//
//	callback N G       N calls of each kind on each of G goroutines or threads
//	... hold           waits for a line on stdin before it begins, and for another before it ends
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>

extern void callFromC(void);

static void call_back(long n)
{
	for (long i = 0; i < n; i++)
		callFromC();
}

static void *run(void *n)
{
	call_back((long)n);
	return NULL;
}

static int call_back_on_a_thread(long n)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, (void *)n);

	return error ? error : pthread_join(thread, NULL);
}
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var calls int64

//export callFromC
func callFromC() {
	time.Now()
	atomic.AddInt64(&calls, 1)
}

func all(n int) {
	for i := 0; i < n; i++ {
		time.Now()
	}
	atomic.AddInt64(&calls, int64(n))
	C.call_back(C.long(n))
	if C.call_back_on_a_thread(C.long(n)) != 0 {
		panic("no thread")
	}
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	g, _ := strconv.Atoi(os.Args[2])
	hold := len(os.Args) > 3
	input := bufio.NewReader(os.Stdin)
	if hold {
		fmt.Println("ready", os.Getpid())
		input.ReadString('\n')
	}
	var group sync.WaitGroup
	for i := 0; i < g; i++ {
		group.Add(1)
		go func() {
			all(n)
			group.Done()
		}()
	}
	group.Wait()
	fmt.Printf("{\"time.Now\": %d}\n", calls)
	if hold {
		input.ReadString('\n')
	}
}
