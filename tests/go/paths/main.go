// Calls time.Now on 20 paths, on each a known number of times, and says for each how often, and what
// runtime.CallersFrames tells of it, innermost first.
//
//	paths N [hold]      N calls on the first path, 2 N on the second, and so on; hold: waits for a line on stdin
//	                    before it begins, and for another before it ends
package main

/*
extern void callFromC(long n);

static void call_back(long n)
{
	callFromC(n);
}
*/
import "C"

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

type path struct {
	Name    string  `json:"name"`
	Calls   int     `json:"calls"`
	Inlined string  `json:"inlined"` // functions that stand before the frames, each at its mark in this file
	Frames  []frame `json:"frames"`
}

var (
	lock  sync.Mutex
	paths []path
)

// note tells of a path at its first call; it stands in the line of the call.
//
//go:noinline
func note(i int, name string, n int, inlined string) struct{} {
	if i != 0 {
		return struct{}{}
	}
	pcs := make([]uintptr, 400)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	told := path{Name: name, Calls: n, Inlined: inlined}
	for {
		f, more := frames.Next()
		told.Frames = append(told.Frames, frame{f.Function, f.File, f.Line})
		if !more {
			break
		}
	}
	lock.Lock()
	paths = append(paths, told)
	lock.Unlock()
	return struct{}{}
}

func both(struct{}, time.Time) {}

//go:noinline
func plain(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "plain", n, ""), time.Now())
	}
}

//go:noinline
func two(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "first of two", n, ""), time.Now())
	}
	for i := 0; i < 2*n; i++ {
		both(note(i, "second of two", 2*n, ""), time.Now())
	}
}

func inlined() time.Time {
	return time.Now() // mark: main.inlined
}

func outer() time.Time {
	return inlined() // mark: main.outer
}

//go:noinline
func intoOne(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "inlined", n, "main.inlined"), inlined())
	}
}

//go:noinline
func intoTwo(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "inlined twice", n, "main.inlined main.outer"), outer())
	}
}

//go:noinline
func generic[T any](n int, _ T) {
	for i := 0; i < n; i++ {
		both(note(i, "generic "+strconv.Itoa(n), n, ""), time.Now())
	}
}

type list[T any] struct{ item T }

//go:noinline
func (l *list[T]) method(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "generic method", n, ""), time.Now())
	}
}

type value struct{ a, b int }

//go:noinline
func (v value) method(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "method of a value", n, ""), time.Now())
	}
}

//go:noinline
func (v *value) pointer(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "method of a pointer", n, ""), time.Now())
	}
}

type caller interface{ call(n int) }

type called struct{ value }

//go:noinline
func (c called) call(n int) {
	for i := 0; i < n; i++ {
		both(note(i, "by an interface", n, ""), time.Now())
	}
}

//go:noinline
func through(c caller, n int) {
	c.call(n)
}

//go:noinline
func closure(n int) func() {
	return func() {
		for i := 0; i < n; i++ {
			both(note(i, "closure", n, ""), time.Now())
		}
	}
}

//go:noinline
func closures(n int) func() {
	return func() {
		func() {
			for i := 0; i < n; i++ {
				both(note(i, "closure in a closure", n, ""), time.Now())
			}
		}()
	}
}

//go:noinline
func deferred(n int) {
	defer func() {
		for i := 0; i < n; i++ {
			both(note(i, "deferred", n, ""), time.Now())
		}
	}()
}

//go:noinline
func panicking(n int) {
	defer func() {
		_ = recover()
		for i := 0; i < n; i++ {
			both(note(i, "while it panics", n, ""), time.Now())
		}
	}()
	panic("expected")
}

//go:noinline
func deep(depth, n int, name string) {
	if depth > 0 {
		deep(depth-1, n, name)
		return
	}
	for i := 0; i < n; i++ {
		both(note(i, name, n, ""), time.Now())
	}
}

//export callFromC
func callFromC(n C.long) {
	for i := 0; i < int(n); i++ {
		both(note(i, "callback from C", int(n), ""), time.Now())
	}
}

func goroutine(n int, name string, done *sync.WaitGroup) {
	for i := 0; i < n; i++ {
		both(note(i, name, n, ""), time.Now())
	}
	done.Done()
}

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	in := bufio.NewReader(os.Stdin)
	if len(os.Args) > 2 {
		fmt.Println("ready", os.Getpid())
		_, _ = in.ReadString('\n')
	}
	var done sync.WaitGroup
	plain(n)
	two(2 * n)
	intoOne(5 * n)
	intoTwo(6 * n)
	generic(7*n, 1)
	generic(8*n, "text")
	(&list[int]{}).method(9 * n)
	value{}.method(10 * n)
	(&value{}).pointer(11 * n)
	through(called{}, 12*n)
	closure(13 * n)()
	closures(14 * n)()
	deferred(15 * n)
	panicking(16 * n)
	deep(30, 17*n, "deep recursion")
	deep(200, 18*n, "recursion deeper than what is recorded")
	C.call_back(C.long(19 * n))
	done.Add(2)
	go goroutine(20*n, "goroutine", &done)
	go func() {
		goroutine(21*n, "called by a goroutine", &done)
	}()
	done.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(paths); err != nil {
		panic(err)
	}
	if len(os.Args) > 2 {
		_, _ = in.ReadString('\n')
	}
}
