// A plugin has a copy of the runtime of its own, and of time.Now.
package main

import "time"

func Call(n int) {
	for i := 0; i < n; i++ {
		time.Now()
	}
}
