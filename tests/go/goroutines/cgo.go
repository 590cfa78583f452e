//go:build cgocalls

package main

/*
extern void callFromC(void);

static __thread long calls; // beside Go's own in the threads' memory

__attribute__((noinline)) static long touch_c(long n)
{
	__asm__ volatile("");
	calls++;
	callFromC();
	return calls + n;
}

static long touch(long n)
{
	return touch_c(n) + 1;
}
*/
import "C"

import "time"

//export callFromC
func callFromC() {
	time.Now()
}

func other(i int) {
	C.touch(C.long(i))
}

func noteOther(me string, n int) {
	noteNow(me, n)
	note("0", "touch_c", n)
}
