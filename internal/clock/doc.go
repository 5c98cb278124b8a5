// Package clock is the one door to wall-clock time, so that tests, the test driver and simulations can own it: nothing
// that decides anything asks the time package itself.
//
//	System() ──┐
//	           ├──► Clock ──► app, worker, restorer, stores (as a function that returns milliseconds)
//	Fixed(f) ──┘
//
// A Clock is a value and safe for concurrent use if the function behind it is. The task core takes no Clock at all:
// time comes in as a value with each step.
package clock
