// Package demo runs an example: its records go to an embedded broker, and its results are printed once committed.
//
//	[]Record ──feed──► input topics ──► topology ──► output topic ──show──► standard output
//
// Main is called from the main goroutine of an example; the application runs on another one, which has ended when Main
// returns. Nothing is left behind on the disk. Package demotest runs the same records without a broker.
package demo
