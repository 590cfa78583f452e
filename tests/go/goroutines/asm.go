//go:build !cgocalls

package main

// touch is called through the compiler's wrapper, which sets R14 again behind it.
func touch(i int) int

// touchThrough makes R14 something else, and calls touch.
func touchThrough(i int) int

func other(i int) {
	touch(i)
	touchThrough(i)
}

func noteOther(me string, n int) {
	note(me, "main.touch", 2*n)
	note(me, "main.touchThrough", n)
}
