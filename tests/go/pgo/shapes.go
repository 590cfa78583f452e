package main

import "time"

type clock struct{ last int64 }

// Inlined itself, with time.Now in it.
func (c *clock) read() int64 { c.last = time.Now().UnixNano(); return c.last }

func nested() int64 { return time.Now().UnixNano() + 1 }

func generic[N int | int64](n N) int64 { return time.Now().UnixNano() + int64(n) }

//go:noinline
func nestedTwice(n int) {
	for i := 0; i < n; i++ {
		sink += nested()
		if i%3 == 0 {
			sink += nested()
		}
	}
}

//go:noinline
func generics(n int) {
	for i := 0; i < n; i++ {
		sink += generic(i) + generic(int64(i))
	}
}

//go:noinline
func closures(n int) {
	read := func() int64 { return time.Now().UnixNano() }
	for i := 0; i < n; i++ {
		sink += read()
	}
}

//go:noinline
func deferredOne() {
	start := time.Now()
	defer func() { sink += time.Since(start).Nanoseconds() }()
	sink += time.Now().UnixNano()
}

//go:noinline
func methods(n int) {
	c := new(clock)
	read := c.read
	for i := 0; i < n; i++ {
		sink += c.read() + read()
	}
}

//go:noinline
func loops(n int) {
	for i := 0; i < n; {
		for t := time.Now(); i < n && t.Unix() > 0; t = time.Now() {
			i++
		}
	}
}

func shapes(n int) int {
	nestedTwice(n)
	generics(n)
	closures(n)
	for i := 0; i < n; i++ {
		deferredOne()
	}
	methods(n)
	loops(n)
	return n + (n+2)/3 + 2*n + n + 2*n + 2*n + n + 1
}
