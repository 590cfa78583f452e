//go:build go1.23

package main

import "iter"

//go:noinline
func yields(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

//go:noinline
func ranges(n int) (sum int) {
	for i := range yields(n) {
		sum += plain(i)
	}
	return sum
}

func more(n int) {
	for i := 0; i < n; i++ {
		ranges(4)
	}
	count("ranges", n)
	count("ranges-range1", 4*n)
	count("yields", n)
	count("yields.func1", n)
}
