// Calls functions of many shapes, each a known number of times, and says how often.
//
//	functions N
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
)

var (
	sink  int64
	truth = map[string]int{}
	nilT  *T
)

//go:noinline
func plain(i int) int { sink++; return i + 1 }

//go:noinline
func leaf(i int) int { return i*3 + 1 }

// --- methods

type T struct{ a, b int }

//go:noinline
func (t T) Val(i int) int { return t.a + i }

//go:noinline
func (t *T) Ptr(i int) int { t.b += i; return t.b }

// Faults at its first load when t is nil.
//
//go:noinline
func (t *T) Deref(i int) int { return plain(t.b) + i }

// The same in a leaf, in which nothing comes before the load but a branch does after it.
//
//go:noinline
func (t *T) DerefLeaf() int {
	if t.b > 3 {
		return t.a
	}
	return 7
}

type Outer struct {
	pad [3]int
	T
}

type PtrOuter struct {
	pad [3]int
	*T
}

type Doer interface{ Val(int) int }

// --- recursion

//go:noinline
func recurse(n int) int {
	if n == 0 {
		return 0
	}
	return recurse(n-1) + 1
}

//go:noinline
func even(n int) bool { return n == 0 || odd(n-1) }

//go:noinline
func odd(n int) bool { return n != 0 && even(n-1) }

//go:noinline
func tree(n int) int {
	if n < 2 {
		return 1
	}
	return tree(n-1) + tree(n-2)
}

// --- frames

//go:noinline
func variadic(all ...int) (sum int) {
	for _, one := range all {
		sum += one
	}
	return sum
}

//go:noinline
func frame4k(i int) byte {
	var a [5000]byte
	a[i%5000] = byte(plain(i))
	return a[(i*7)%5000]
}

//go:noinline
func frame100k(i int) byte {
	var a [100000]byte
	a[i%100000] = byte(plain(i))
	return a[(i*7)%100000]
}

//go:noinline
func fill(a *[120000]byte, i int) byte { a[i%120000]++; return a[(i*3)%120000] }

//go:noinline
func frame1m(i int) byte {
	var a, b, c, d, e, f, g, h, j, k [120000]byte
	return fill(&a, i) + fill(&b, i) + fill(&c, i) + fill(&d, i) + fill(&e, i) + fill(&f, i) +
		fill(&g, i) + fill(&h, i) + fill(&j, i) + fill(&k, i)
}

//go:noinline
func bigArguments(a [40]int, b string, c []int, d float64, e interface{}) int {
	return a[len(b)%40] + len(c) + int(d)
}

//go:nosplit
//go:noinline
func nosplit(i int) int { return i ^ int(sink) }

//go:nosplit
//go:noinline
func nosplitCalls(i int) int { return nosplit(i) + 1 }

// --- loops

// Its loop may begin at its entry.
//
//go:noinline
func loopLeaf(i uint) uint {
	for i&1 == 0 {
		i >>= 1
	}
	return i
}

//go:noinline
func loopCalls(i int) int {
	for plain(i)%7 != 0 {
		i++
	}
	return i
}

//go:noinline
func loopForever(i *int) {
	for {
		if *i <= 0 {
			return
		}
		*i--
	}
}

// --- jump tables

//go:noinline
func table(i int) int {
	switch i % 12 {
	case 0:
		return plain(1)
	case 1:
		return 17
	case 2:
		return plain(2) + 3
	case 3:
		return 11
	case 4:
		return plain(3) * 2
	case 5:
		return 5
	case 6:
		return 23
	case 7:
		return plain(i)
	case 8:
		return 1
	case 9:
		return 9
	case 10:
		return plain(7)
	}
	return 0
}

// A table whose entries lead back to the loop's head, which may be the function's entry.
//
//go:noinline
func tableLoop(p *[64]uint8) int {
	i := 0
	for {
		i++
		switch p[i&63] {
		case 0:
			continue
		case 1:
			return 7
		case 2:
			continue
		case 3:
			return 9
		case 4:
			continue
		case 5:
			return 11
		case 6:
			continue
		case 7:
			return 13
		case 8:
			continue
		case 9:
			return i
		}
	}
}

var cursor *uint8

//go:noinline
func tableLeaf() int {
	for {
		switch *cursor {
		case 0:
			*cursor = 1
			continue
		case 1:
			*cursor = 4
			continue
		case 2:
			continue
		case 3:
			return 5
		case 4:
			*cursor = 9
			continue
		case 5:
			continue
		case 6:
			continue
		case 7:
			return 1
		case 8:
			continue
		case 9:
			*cursor = 7
			continue
		}
	}
}

var state uint

// All that leads back to its head, which is its entry, is the table.
//
//go:noinline
func tableHead() int {
	for {
		state++
		switch state & 15 {
		case 0:
			continue
		case 1:
			continue
		case 2:
			continue
		case 3:
			continue
		case 4:
			continue
		case 5:
			return 11
		case 6:
			continue
		case 7:
			return 13
		case 8:
			continue
		case 9:
			return 17
		default:
			return 99
		}
	}
}

//go:noinline
func strings(s string) int {
	switch s {
	case "a":
		return 1
	case "bb":
		return 2
	case "cc":
		return plain(3)
	case "dd":
		return 4
	case "eee":
		return plain(5)
	case "fff":
		return 6
	case "ggg":
		return 7
	case "hhh":
		return 8
	}
	return 0
}

//go:noinline
func types(v interface{}) int {
	switch v := v.(type) {
	case int:
		return v
	case string:
		return len(v)
	case []int:
		return len(v)
	case float64:
		return int(v)
	case T:
		return v.a
	case *T:
		return v.b
	}
	return 0
}

// --- defer, recover, panic

//go:noinline
func deferring(i int) (result int) {
	defer func() { result++ }()
	return plain(i)
}

//go:noinline
func recovering(i int) (result int) {
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return panicking(i)
}

//go:noinline
func panicking(i int) int {
	if i%2 == 0 {
		panic("even")
	}
	return i
}

//go:noinline
func deferLoop(i int) (result int) {
	for j := 0; j < 3; j++ {
		defer func() { result += j }()
	}
	return i
}

//go:noinline
func bounds(a []int, i int) int { return a[i] + plain(i) }

//go:noinline
func divide(a, b int) int { return a/b + plain(a) }

func survive(f func()) {
	defer func() { _ = recover() }()
	f()
}

// --- generics

type number interface{ ~int | ~float64 | ~uint8 }

//go:noinline
func Gen[E any](e E, i int) int { _ = any(e); return plain(i) }

//go:noinline
func Sum[N number](all []N) (sum N) {
	for _, one := range all {
		sum += one
	}
	return sum
}

type List[E any] struct{ all []E }

//go:noinline
func (l *List[E]) Push(e E) { l.all = append(l.all[:0], e) }

//go:noinline
func genClosure[E any](e E) func() E { return func() E { sink++; return e } }

// --- inlined ones

func inlinedCall(i int) int { return plain(i) + 1 }

func InlinedAndCalled(i int) int { return plain(i) + 2 }

func inlinedBranch(on bool) {
	if on {
		plain(1)
	}
}

var asValue = inlinedBranch

// Where on is known, nothing or only the call is left of it.
func InlinedPhi(on bool) {
	if on {
		plain(2)
	}
}

//go:noinline
func holdsPhi(i int) {
	on := false
	if i%4 == 0 {
		sink += 3
		on = true
	}
	InlinedPhi(on)
}

func inlinedConstant(on bool) {
	if on {
		plain(3)
	}
}

func genInlined[E any](e E) int { return plain(7) }

//go:noinline
func holdsGenInts(i int) int { return genInlined(i) + genInlined(i) }

//go:noinline
func holdsGenString(s string) int { return genInlined(s) }

func empty() {}

func emptyOf(bool) {}

func ofEmpty(string) int { return 0 }

var emptyValue = empty

func (t T) Inlined(i int) int { return plain(t.a + i) }

type inliner interface{ Inlined(int) int }

// --- assembly

func asmLeaf(i int) int
func asmLoop(i int) int
func asmTail(i int) int
func asmFrame(i int) int
func asmCallsGo(i int) int
func asmNosplit(i int) int

//go:noinline
func calledFromAsm(i int) int { return plain(i) }

func makeCounter() func() int {
	n := 0
	return func() int { n++; sink++; return n }
}

//go:noinline
func outParameters(i int) (a, b, c int, err error) { return i, i + 1, i + 2, nil }

//go:noinline
func floats(a, b float64, c float32) float64 { return a*b + float64(c) }

//go:noinline
func goroutine(done *sync.WaitGroup) { sink2(); done.Done() }

//go:noinline
func sink2() {}

//go:noinline
func grows(depth int, pad [64]byte) byte {
	if depth == 0 {
		return pad[0]
	}
	return grows(depth-1, pad) + pad[depth%64]
}

func disturb(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			runtime.GC()
		}
	}
}

func count(name string, calls int) { truth["main."+name] += calls }

func calls(n int) {
	t := &T{1, 2}
	var doer Doer = T{3, 4}
	outer := Outer{T: T{5, 6}}
	pointer := PtrOuter{T: t}
	var promoted Doer = &outer
	var promotedPtr Doer = pointer
	bound := t.Ptr
	boundVal := t.Val
	table64 := [64]uint8{1: 0, 2: 2, 3: 4, 4: 6, 5: 8, 6: 9}
	counter := makeCounter()
	genInt, genString := genClosure(1), genClosure("x")
	ints, list, strs := []int{1, 2, 3}, List[int]{}, List[string]{}
	value := reflect.ValueOf(leaf)
	var done sync.WaitGroup
	var inl inliner = T{1, 1}
	for i := 0; i < n; i++ {
		sink += int64(leaf(i))
		doer.Val(i)
		t.Val(i)
		promoted.Val(i)
		promotedPtr.Val(i)
		boundVal(i)
		T.Val(*t, i)
		(*T).Val(t, i)
		t.Ptr(i)
		pointer.Ptr(i)
		bound(i)
		t.Deref(i)
		survive(func() { nilT.Deref(i) })
		t.DerefLeaf()
		survive(func() { nilT.DerefLeaf() })
		recurse(20)
		even(9)
		tree(7)
		variadic(1, 2, 3)
		variadic()
		frame4k(i)
		frame100k(i)
		frame1m(i)
		bigArguments([40]int{}, "x", ints, 1.5, t)
		nosplit(i)
		nosplitCalls(i)
		loopLeaf(uint(i+1) << 7)
		loopCalls(i)
		forever := 9
		loopForever(&forever)
		table(i)
		tableLoop(&table64)
		at := uint8(0)
		cursor = &at
		tableLeaf()
		tableHead()
		strings("eee")
		types(t)
		deferring(i)
		recovering(2 * i)
		recovering(2*i + 1)
		deferLoop(i)
		bounds(ints, i%3)
		survive(func() { bounds(ints, 3) })
		divide(7, 3)
		survive(func() { divide(7, int(sink)-int(sink)) })
		Gen(1, i)
		Gen("x", i)
		Gen(t, i)
		Sum([]int{1, 2})
		Sum([]float64{1, 2})
		list.Push(i)
		strs.Push("x")
		genInt()
		genString()
		inlinedCall(i)
		InlinedAndCalled(i)
		holdsPhi(i)
		inlinedConstant(true)
		inlinedConstant(false)
		inlinedBranch(i%3 == 0)
		holdsGenInts(i)
		holdsGenString("x")
		empty()
		t.Inlined(i)
		inl.Inlined(i)
		asmLeaf(i)
		asmLoop(5)
		asmTail(i)
		asmFrame(i)
		asmCallsGo(i)
		asmNosplit(i)
		counter()
		outParameters(i)
		floats(1, 2, 3)
		done.Add(1)
		go goroutine(&done)
		defer sink2()
		value.Call([]reflect.Value{reflect.ValueOf(i)})
	}
	indirect, phi, ofString := InlinedAndCalled, InlinedPhi, genInlined[string]
	if n > 1000000 {
		indirect, phi, ofString = leaf, emptyOf, ofEmpty
	}
	indirect(1)
	phi(true)
	ofString("x")
	done.Wait()
	for i := 0; i < n/20; i++ {
		done.Add(1)
		go func() { grows(99, [64]byte{}); done.Done() }()
		done.Wait()
	}
	more(n)
}

func tell(n int) {
	for name, times := range map[string]int{
		"leaf": 2, "T.Val": 7, "(*T).Ptr": 3, "(*T).Deref": 2, "recurse": 21, "even": 5, "odd": 5, "tree": 41,
		"variadic": 2, "frame4k": 1, "frame100k": 1, "frame1m": 1, "fill": 10, "bigArguments": 1,
		"nosplit": 2, "nosplitCalls": 1, "loopLeaf": 1, "loopCalls": 1, "loopForever": 1, "table": 1,
		"tableLoop": 1, "tableLeaf": 1, "strings": 1, "types": 1, "deferring": 1, "deferring.func1": 1,
		"recovering": 2, "recovering.func1": 2, "panicking": 2, "deferLoop": 1, "deferLoop.func1": 3,
		"bounds": 2, "divide": 2, "survive": 4, "(*T).DerefLeaf": 2, "tableHead": 1, "Gen[...]": 3, "Sum[...]": 2, "(*List[...]).Push": 2,
		"genClosure[...].func1": 2, "inlinedCall": 1, "InlinedAndCalled": 1, "InlinedPhi": 1, "holdsPhi": 1,
		"inlinedConstant": 2, "inlinedBranch": 1, "genInlined[...]": 3, "holdsGenInts": 1, "empty": 1,
		"T.Inlined": 2, "asmLeaf": 1, "asmLoop": 1, "asmTail": 1, "asmFrame": 1, "asmCallsGo": 1,
		"asmNosplit": 2, "calledFromAsm": 1, "makeCounter.func1": 1, "outParameters": 1, "floats": 1,
		"goroutine": 1, "sink2": 2,
	} {
		count(name, times*n)
	}
	count("InlinedAndCalled", 1)
	count("InlinedPhi", 1)
	count("genInlined[...]", 1)
	count("makeCounter", 1)
	count("genClosure[...]", 2)
	count("grows", n/20*100)
	count("calls", 1)
	count("tell", 1)
	text, _ := json.Marshal(truth)
	fmt.Println(string(text))
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	debug.SetGCPercent(5)
	stop := make(chan struct{})
	go disturb(stop)
	calls(n)
	stop <- struct{}{}
	tell(n)
}
